/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Parameters that many routes share (consul-compatible texts). */
#include "api/impl.h"
#include "base/duration.h"

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

/* "true" by presence, or by its value if it has one. */
static enum err flag(const struct http_request *r, const char *name, bool *ret)
{
    const struct http_param *p = http_param(r, name);
    *ret = p != NULL;
    if (!p || p->value.n == 0)
        return ERR_OK;
    return bytes_bool(p->value, ret);
}

static enum api_next blocking(struct api_call *c, const struct api_env *env)
{
    const struct http_request *r = c->request;
    struct bytes index = http_param_value(r, "index");
    struct bytes wait = http_param_value(r, "wait");
    struct bytes hash = http_param_value(r, "hash");
    const struct api_self *self = env->self;
    uint64_t most = self->block_max_ms ? self->block_max_ms : API_BLOCK_MAX_MS;
    uint64_t usual =
        self->block_default_ms ? self->block_default_ms : API_BLOCK_DEFAULT_MS;
    int64_t ns = 0;
    if (index.n && bytes_u64(index, &c->index) != ERR_OK)
        return refuse(c, 400, "Invalid index");
    if (wait.n && duration_parse(wait, &ns, NULL) != ERR_OK)
        return refuse(c, 400, "Invalid wait time");
    c->wait_ms = ns > 0 ? (uint64_t)ns / NS_PER_MS : usual;
    if (c->wait_ms > most)
        c->wait_ms = most;
    if (hash.n && hash.n <= 16) {
        c->has_hash = true;
        for (size_t i = 0; i < hash.n; i++) {
            char ch = hash.p[i];
            unsigned digit = ch >= '0' && ch <= '9' ? (unsigned)(ch - '0')
                             : ch >= 'a' && ch <= 'f'
                                 ? (unsigned)(ch - 'a' + 10)
                                 : 99u;
            if (digit == 99u)
                c->has_hash = false;
            c->asked_hash = c->asked_hash << 4 | (digit & 15);
        }
    }
    return API_READ;
}

static enum api_next consistency(struct api_call *c)
{
    const struct http_request *r = c->request;
    c->stale = http_param(r, "stale") != NULL;
    c->consistent = http_param(r, "consistent") != NULL;
    c->cached = http_param(r, "cached") != NULL;
    struct bytes max = http_param_value(r, "max_stale");
    if (max.n) {
        int64_t ns;
        if (duration_parse(max, &ns, NULL) != ERR_OK) {
            api_error(c, 400, "Invalid max_stale value \"%.*s\"",
                      BYTES_ARG(max));
            return API_ANSWER;
        }
        if (ns > 0) {
            c->stale = true;
            c->max_stale_ms = (uint64_t)ns / 1000000;
        }
    }
    if (c->stale && c->consistent)
        return refuse(c, 400,
                      "Cannot specify ?stale with ?consistent, "
                      "conflicting semantics.");
    if (c->cached && c->consistent)
        return refuse(c, 400,
                      "Cannot specify ?cached with ?consistent, "
                      "conflicting semantics.");
    return API_READ;
}

static struct bytes without_blanks(struct bytes b)
{
    while (b.n && b.p[0] == ' ')
        b = bytes_skip(b, 1);
    while (b.n && b.p[b.n - 1] == ' ')
        b = bytes_head(b, b.n - 1);
    return b;
}

static bool is_number(struct bytes b)
{
    uint64_t v;
    if (b.n > 1 && (b.p[0] == '-' || b.p[0] == '+'))
        b = bytes_skip(b, 1);
    return bytes_u64(b, &v) == ERR_OK;
}

/* Only the values that take a number can be wrong; none has an effect, because
 * every answer is fresh. */
static enum api_next cache_control(struct api_call *c)
{
    static const char *const timed[] = {"max-age=", "stale-if-error="};
    struct bytes rest = http_header(c->request, "Cache-Control");
    while (rest.n) {
        size_t end = bytes_find(rest, ',');
        struct bytes one = without_blanks(bytes_head(rest, end));
        rest = bytes_skip(rest, end + 1);
        for (size_t i = 0; i < sizeof timed / sizeof timed[0]; i++) {
            struct bytes name = bytes_str(timed[i]);
            if (bytes_starts(one, name) && !is_number(bytes_skip(one, name.n)))
                return refuse(c, 400, "Invalid Cache-Control header.");
        }
    }
    return API_READ;
}

static bool is_default(struct bytes v)
{
    return v.n == 0 || bytes_is(v, "default");
}

/* There is one namespace and one partition, "default"; who asks for another
 * must not be shown this one. */
static enum api_next tenancy(struct api_call *c)
{
    static const struct {
        const char *param, *header, *what;
    } kinds[] = {
        {"ns", "X-Consul-Namespace", "Namespaces"},
        {"partition", "X-Consul-Partition", "Partitions"},
        {"ap", NULL, "Partitions"},
    };
    const struct http_request *r = c->request;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        bool param = !is_default(http_param_value(r, kinds[i].param));
        bool header =
            kinds[i].header && !is_default(http_header(r, kinds[i].header));
        if (!param && !header)
            continue;
        api_error(c, 400,
                  "Bad request: Invalid %s: \"%s\" - %s are a Consul "
                  "Enterprise feature",
                  param ? "query parameter" : "header",
                  param ? kinds[i].param : kinds[i].header, kinds[i].what);
        return API_ANSWER;
    }
    return API_READ;
}

bool datacenter_is_known(const struct api_call *c, const struct api_env *env,
                         struct bytes dc)
{
    /* Whoever forwards knows where to: it is not passed on once more. An agent's
     * servers know the datacenters that it does not. */
    if (c->request->from_peer &&
        http_header(c->request, API_FORWARDED_HEADER).n > 0)
        return false;
    return !env->self->is_server || api_wan_dc(env->wan, dc);
}

static enum api_next datacenter(struct api_call *c, const struct api_env *env)
{
    struct bytes dc = http_param_value(c->request, "dc");
    if (dc.n == 0 || bytes_eq(dc, env->self->datacenter))
        return API_READ;
    if (datacenter_is_known(c, env, dc)) {
        c->forward = dc;
        c->forward_stream = c->route->kind == API_STREAM ||
                            (c->route->set != SET_NONE && stream_is_wanted(c));
        return API_FORWARD;
    }
    c->consul_headers =
        c->route->consul_headers && c->request->method == HTTP_GET;
    return refuse(c, 500, "No path to datacenter");
}

static enum api_next repeated(struct api_call *c)
{
    const struct http_request *r = c->request;
    for (size_t i = 0; i < r->param_count; i++) {
        bool tag = bytes_is(r->params[i].name, "tag");
        if (!tag && !bytes_is(r->params[i].name, "node-meta"))
            continue;
        size_t *n = tag ? &c->tag_count : &c->meta_count;
        if (*n >= API_TAGS_MAX) {
            api_error(c, 400, "More than %d parameters \"%s\"", API_TAGS_MAX,
                      tag ? "tag" : "node-meta");
            return API_ANSWER;
        }
        (tag ? c->tags : c->meta)[(*n)++] = r->params[i].value;
    }
    return API_READ;
}

static enum api_next filter(struct api_call *c)
{
    struct errtext t = {0};
    c->filter_text = http_param_value(c->request, "filter");
    if (c->route->rows == FILTER_NONE || c->filter_text.n == 0) {
        c->filter_text = (struct bytes){0};
        return API_READ;
    }
    enum err e =
        filter_parse(c->filter_text, c->route->rows, c->arena, &c->filter, &t);
    if (e == ERR_OK)
        return API_READ;
    api_error(c, err_http_status(e),
              "Failed to create boolean expression evaluator: %s",
              t.s[0] ? t.s : err_text(e));
    return API_ANSWER;
}

/* What a route has no use for is not looked at, as in Consul. */
static enum api_next of_route(struct api_call *c, const struct api_env *env)
{
    const struct http_request *r = c->request;
    const struct api_route *route = c->route;
    bool remote_read = route->kind == API_READ && !route->local;

    /* Of the agent and the servers themselves, not of what is registered. */
    bool untenanted = route->kind == API_READ && route->watch == WATCH_NONE;
    if (!untenanted && tenancy(c) == API_ANSWER)
        return API_ANSWER;
    if (route->blocking != API_BLOCK_NONE && blocking(c, env) == API_ANSWER)
        return API_ANSWER;
    if (remote_read &&
        (consistency(c) == API_ANSWER || cache_control(c) == API_ANSWER))
        return API_ANSWER;
    /* Consul looks at nothing else of it. */
    if (route->kind == API_SNAPSHOT && r->method == HTTP_GET)
        c->stale = http_param(r, "stale") != NULL;
    if (past_params(c) == API_ANSWER)
        return API_ANSWER;
    near_param(c, env);
    c->tell_cache = route->cached && http_param(r, "cached");
    if (route->missing && c->arg.n == 0)
        return refuse(c, 400, route->missing);
    if ((route->passing || route->watch == WATCH_SERVICE_HEALTH) &&
        flag(r, "passing", &c->passing) != ERR_OK)
        return refuse(c, 400, "Invalid value for ?passing");
    enum api_next next = route->local ? API_READ : datacenter(c, env);
    return next == API_READ ? filter(c) : next;
}

/* A user's means nothing. */
static enum api_next hold(struct api_call *c)
{
    struct bytes text = http_header(c->request, API_HOLD_HEADER);
    uint64_t ms = 0;

    if (!c->request->from_peer || text.n == 0)
        return API_READ;
    if (bytes_u64(text, &ms) != ERR_OK || ms < 1 || ms > API_HOLD_MAX_MS) {
        api_error(c, 400,
                  "Invalid " API_HOLD_HEADER
                  " \"%.*s\": milliseconds, from 1 to %d",
                  BYTES_ARG(text), API_HOLD_MAX_MS);
        return API_ANSWER;
    }
    c->hold_ms = (uint32_t)ms;
    return API_READ;
}

enum api_next api_params(struct api_call *c, const struct api_env *env)
{
    const struct http_request *r = c->request;
    if (r->query_bad)
        return refuse(c, 400, "Malformed percent escape in the query string");
    if (hold(c) == API_ANSWER)
        return API_ANSWER;
    c->pretty = env->self->pretty || http_param(r, "pretty") != NULL;
    enum api_next next = of_route(c, env);
    return next == API_READ ? repeated(c) : next;
}
