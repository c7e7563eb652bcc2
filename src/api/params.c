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
    if (c->stale && c->consistent)
        return refuse(c, 400,
                      "Cannot specify ?stale with ?consistent, "
                      "conflicting semantics.");
    if (c->cached && c->consistent)
        return refuse(c, 400,
                      "Cannot specify ?cached with ?consistent, "
                      "conflicting semantics.");
    struct bytes max = http_param_value(r, "max_stale");
    if (max.n) {
        int64_t ns;
        if (duration_parse(max, &ns, NULL) != ERR_OK) {
            api_error(c, 400, "Invalid max_stale value \"%.*s\"",
                      BYTES_ARG(max));
            return API_ANSWER;
        }
        if (ns > 0)
            c->stale = !c->consistent;
    }
    return API_READ;
}

static enum api_next places(struct api_call *c, const struct api_env *env)
{
    static const char *const tenancy[] = {"ns", "partition", "ap"};
    const struct http_request *r = c->request;
    for (size_t i = 0; i < sizeof tenancy / sizeof tenancy[0]; i++) {
        struct bytes v = http_param_value(r, tenancy[i]);
        if (v.n && !bytes_is(v, "default")) {
            api_error(c, 400,
                      "Bad request: Invalid query parameter: \"%s\" - "
                      "Namespaces are a Consul Enterprise feature",
                      tenancy[i]);
            return API_ANSWER;
        }
    }
    struct bytes dc = http_param_value(r, "dc");
    if (!c->route->local && dc.n && !bytes_eq(dc, env->self->datacenter)) {
        c->consul_headers = c->route->consul_headers;
        return refuse(c, 500, "No path to datacenter");
    }
    struct bytes filter = http_param_value(r, "filter");
    if (filter.n)
        return refuse(c, 400,
                      "Parameter \"filter\" is not supported by this "
                      "version of muster: leave it out");
    return API_READ;
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

enum api_next api_params(struct api_call *c, const struct api_env *env)
{
    const struct http_request *r = c->request;
    if (r->query_bad)
        return refuse(c, 400, "Malformed percent escape in the query string");
    c->pretty = env->self->pretty || http_param(r, "pretty") != NULL;
    if (flag(r, "passing", &c->passing) != ERR_OK)
        return refuse(c, 400, "Invalid value for ?passing");
    if (blocking(c, env) == API_ANSWER || consistency(c) == API_ANSWER ||
        places(c, env) == API_ANSWER || repeated(c) == API_ANSWER)
        return API_ANSWER;
    return API_READ;
}
