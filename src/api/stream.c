/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Requests for event streams: any route whose answer is a list of entries, with
 * ?stream or Accept: text/event-stream, and GET /v1/muster/stream, which has
 * several subscriptions. */
#include "api/entries.h"
#include "api/impl.h"

static bool accepts_events(const struct http_request *r)
{
    struct bytes a = http_header(r, "Accept");
    static const char type[] = "text/event-stream";
    return a.n && memmem(a.p, a.n, type, sizeof type - 1);
}

bool stream_is_wanted(const struct api_call *c)
{
    const struct http_request *r = c->request;
    const struct http_param *p = http_param(r, "stream");
    bool value = true;
    if (p && p->value.n && bytes_bool(p->value, &value) != ERR_OK)
        value = true; /* stream_begin refuses it */
    return p ? value : accepts_events(r);
}

static bool printable(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f)
            return false;
    return bytes_utf8(b);
}

/* By header; a browser's EventSource can only set parameters. */
static enum api_next label(struct api_call *c, const char *header,
                           const char *param, size_t max, struct bytes *ret)
{
    *ret = http_header(c->request, header);
    if (!ret->n)
        *ret = http_param_value(c->request, param);
    if (ret->n > max)
        api_error(c, 400, "%s is %zu bytes long, more than %zu", header, ret->n,
                  max);
    else if (!printable(*ret))
        api_error(c, 400, "%s must be printable UTF-8", header);
    else
        return API_STREAM;
    return API_ANSWER;
}

static enum api_next resume(struct api_call *c)
{
    struct bytes last = http_header(c->request, "Last-Event-ID");
    struct bytes first = http_param_value(c->request, "resume");
    uint64_t count = UINT64_MAX;
    c->resume_index = c->index;
    if (first.n && bytes_u64(first, &count) != ERR_OK) {
        api_error(c, 400,
                  "resume=%.*s is no number: say how many of the "
                  "subscriptions, the first ones, go on from the id",
                  BYTES_ARG(bytes_head(first, 64)));
        return API_ANSWER;
    }
    c->resume_count = (size_t)count;
    if (last.n && bytes_u64(last, &c->resume_index) != ERR_OK) {
        api_error(c, 400,
                  "Last-Event-ID \"%.*s\" is no index: send an event's id, or "
                  "nothing",
                  BYTES_ARG(bytes_head(last, 64)));
        return API_ANSWER;
    }
    return API_STREAM;
}

static bool note_subscriptions(struct api_call *c, size_t n);

static enum api_next subscriptions(struct api_call *c)
{
    size_t n = api_stream_count(c);
    if (n == 0) {
        api_error(c, 400,
                  "Nothing to stream: name services (service=), prefixes of "
                  "names (prefix=), or all (all)");
        return API_ANSWER;
    }
    size_t most = c->request->from_peer ? API_PEER_SUBSCRIPTIONS_MAX
                                        : API_STREAM_SUBSCRIPTIONS_MAX;
    if (n > most) {
        api_error(c, 400,
                  "%zu subscriptions on one connection, more than %zu: ask for "
                  "a prefix or for all, or open another connection",
                  n, most);
        return API_ANSWER;
    }
    if (note_subscriptions(c, n))
        return API_STREAM;
    api_error(c, 500, "out of memory");
    return API_ANSWER;
}

/* ?callers, or ?callers=RANK */
static enum api_next callers(struct api_call *c)
{
    const struct http_param *p = http_param(c->request, "callers");
    uint64_t rank = UINT32_MAX;
    if (!p)
        return API_STREAM;
    if (c->route->set != SET_OF_NAME)
        api_error(c, 400, "?callers is for streams of one service");
    else if (p->value.n && (bytes_u64(p->value, &rank) != ERR_OK ||
                            rank > API_CALLERS_RANK_MAX))
        api_error(c, 400,
                  "Invalid value for ?callers: nothing, or the rank that you "
                  "had, at most %d",
                  API_CALLERS_RANK_MAX);
    else {
        c->calls = true;
        c->calls_rank = (uint32_t)rank;
        return API_STREAM;
    }
    return API_ANSWER;
}

enum api_next stream_begin(struct api_call *c)
{
    const struct http_param *p = http_param(c->request, "stream");
    bool value;
    if (p && p->value.n && bytes_bool(p->value, &value) != ERR_OK) {
        api_error(c, 400, "Invalid value for ?stream");
        return API_ANSWER;
    }
    if (http_param_value(c->request, "near").n) {
        api_error(c, 400, "?near sorts a list; a stream has no order");
        return API_ANSWER;
    }
    c->pretty = c->stale = c->consistent = false; /* one line, one state */
    c->rows = http_param(c->request, "rows") != NULL;
    if (c->rows && (c->passing || c->tag_count || c->meta_count || c->filter)) {
        api_error(c, 400,
                  "?rows streams all that is stored: leave passing, tag, "
                  "node-meta and filter out");
        return API_ANSWER;
    }
    if (resume(c) == API_ANSWER || subscriptions(c) == API_ANSWER ||
        callers(c) == API_ANSWER)
        return API_ANSWER;
    if (label(c, "X-Muster-Subscriber", "subscriber", API_SUBSCRIBER_LABEL_MAX,
              &c->subscriber) == API_ANSWER)
        return API_ANSWER;
    return label(c, "X-Muster-Zone", "zone", API_ZONE_LABEL_MAX, &c->zone);
}

/* --- /v1/muster/stream --------------------------------------------------- */

static bool is_many(const struct api_call *c)
{
    return c->route->kind == API_STREAM;
}

enum api_next prepare_stream(struct api_call *c, const struct api_env *env)
{
    (void)env;
    c->prefix = http_param_value(c->request, "prefix");
    c->watch.name = (struct bytes){0};
    return API_READ;
}

void read_stream_only(struct api_call *c, const struct api_env *env)
{
    (void)env;
    api_error(c, 406, "This route answers event streams only");
}

bool stream_has(const struct api_call *c, const struct cat_instance *i)
{
    struct service_view v;
    cat_service_view(i->service, &v);
    return v.name.n >= c->prefix.n &&
           bytes_eq_fold(bytes_head(v.name, c->prefix.n), c->prefix);
}

bool row_of_stream(struct api_call *c, struct encoder *e,
                   const struct row_of *of)
{
    return stream_has(c, of->instance) && row_of_health(c, e, of);
}

/* What one parameter subscribes to. Those without a route are instances of this
 * route, by a prefix of their services' names. */
struct kind {
    const char *param;
    bool named;        /* its value is needed */
    bool of_rows;      /* only with ?rows */
    const char *route; /* NULL: this one */
    const char *arg;   /* NULL: the value */
};

static const struct kind kinds[] = {
    {"service", true, false, "/v1/health/service/", NULL},
    {"prefix", false, false, NULL, NULL},
    {"all", false, false, NULL, NULL},
    {"node", true, true, "/v1/catalog/node-services/", NULL},
    {"node-checks", true, true, "/v1/health/node/", NULL},
    {"nodes", false, true, "/v1/catalog/nodes", ""},
    {"checks", false, true, "/v1/health/state/any", "any"},
};

static const struct kind *kind_of(const struct api_call *c,
                                  const struct http_param *p)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct kind *k = &kinds[i];
        if (bytes_is(p->name, k->param))
            return (k->named && !p->value.n) || (k->of_rows && !c->rows) ? NULL
                                                                         : k;
    }
    return NULL;
}

/* The i-th parameter that is a subscription; NULL: there are fewer. */
static const struct http_param *subscription(const struct api_call *c, size_t i,
                                             size_t *ret_count)
{
    const struct http_request *r = c->request;
    const struct http_param *found = NULL;
    *ret_count = c->sub_count;
    if (c->subs)
        return i < c->sub_count ? c->subs[i] : NULL;
    for (size_t k = 0; k < r->param_count; k++) {
        if (!kind_of(c, &r->params[k]))
            continue;
        if ((*ret_count)++ == i)
            found = &r->params[k];
    }
    return found;
}

size_t api_stream_count(const struct api_call *c)
{
    size_t n = 1;
    if (is_many(c) && c->subs)
        n = c->sub_count;
    else if (is_many(c))
        (void)subscription(c, 0, &n);
    return n;
}

/* Found once: there may be thousands. */
static bool note_subscriptions(struct api_call *c, size_t n)
{
    struct http_request *r = c->request;
    if (!is_many(c))
        return true;
    c->subs = arena_alloc(c->arena, n * sizeof *c->subs);
    for (size_t k = 0; c->subs && k < r->param_count; k++)
        if (kind_of(c, &r->params[k]))
            c->subs[c->sub_count++] = &r->params[k];
    return c->subs != NULL;
}

void api_stream_target(const struct api_call *c, size_t i, struct buf *out)
{
    struct api_call one = *c;
    size_t n;
    if (!is_many(c)) {
        api_canonical(c, out);
        return;
    }
    const struct http_param *p = subscription(c, i, &n);
    const struct kind *k = kind_of(c, p);
    one.prefix = (struct bytes){NULL, 0};
    if (k->route) {
        struct bytes rest;
        one.route = api_route_find(bytes_str(k->route), &rest);
        one.arg = k->arg ? rest : p->value;
    } else {
        one.prefix = bytes_is(p->name, "prefix") && p->value.n ? p->value
                                                               : bytes_str("");
    }
    api_canonical(&one, out);
}

bool api_stream_is_many(const struct api_call *c)
{
    return is_many(c);
}

bool api_stream_services(const struct api_call *c,
                         bool (*each)(void *ctx, struct bytes name), void *ctx)
{
    size_t n = api_stream_count(c), unused;
    for (size_t i = 0; i < n; i++) {
        const struct http_param *p = subscription(c, i, &unused);
        if (!bytes_is(p->name, "service") || !each(ctx, p->value))
            return false;
    }
    return n > 0;
}

void api_stream_subject(const struct api_call *c, const struct entry *e,
                        struct json_out *j)
{
    if (c->rows) {
        stored_subject(c, j);
        return;
    }
    switch (c->route->set) {
    case SET_OF_NAME:
    case SET_CHECKS_OF_NAME:
        json_key(j, "Service");
        json_str(j, c->arg);
        break;
    case SET_OF_NODE:
    case SET_CHECKS_OF_NODE:
        if (e)
            break;
        json_key(j, "Node");
        json_str(j, c->arg);
        break;
    case SET_INSTANCES:
        if (!is_many(c) || (e && e->name.n)) {
            json_key(j, "Service");
            json_str(j, is_many(c) ? e->name : c->arg);
        }
        if (is_many(c)) {
            json_key(j, "Prefix");
            json_str(j, c->prefix);
        }
        break;
    case SET_CHECKS:
        if (e)
            break;
        json_key(j, "State");
        json_str(j, c->arg);
        break;
    case SET_NODES:
    case SET_NAMES:
    case SET_NONE:
        break;
    }
}
