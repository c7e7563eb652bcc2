/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "config/watch_def.h"

#include "base/duration.h"
#include "config/agent_parts.h"

struct parse {
    struct watch_def *w;
    struct arena *arena;
    struct errtext *t;
    const char *datacenter;
    const char *type, *handler, *handler_type;
    const struct config_value *http;
};

static enum err refuse(struct parse *p, const struct config_value *v,
                       const char *fmt, const char *what)
{
    config_fail(p->t, &v->pos, fmt, what);
    return ERR_BAD;
}

/* --- Kinds of values ------------------------------------------------------ */

static enum err wanted(struct parse *p, const struct config_value *v,
                       const char *kind)
{
    config_fail(p->t, &v->pos, "watches: %s: found %s, wanted %s",
                config_quote(v->key).s, config_kind_text(v->kind), kind);
    return ERR_BAD;
}

static enum err get_string(struct parse *p, const struct config_value *v,
                           const char **ret)
{
    if (v->kind != CONFIG_STRING)
        return wanted(p, v, "a string");
    *ret = v->string.n ? v->string.p : NULL;
    return ERR_OK;
}

static enum err get_bool(struct parse *p, const struct config_value *v,
                         bool *ret)
{
    if (v->kind != CONFIG_BOOL)
        return wanted(p, v, "true or false");
    *ret = v->boolean;
    return ERR_OK;
}

/* A string counts as a list of one, as in Consul. */
static enum err get_strings(struct parse *p, const struct config_value *v,
                            struct config_strings *ret)
{
    if (v->kind == CONFIG_STRING)
        return config_strings_add(p->arena, ret, v->string.p);
    if (v->kind != CONFIG_LIST)
        return wanted(p, v, "a list of strings");
    config_each(item, v)
    {
        if (item->kind != CONFIG_STRING)
            return wanted(p, v, "a list of strings");
        if (ret->n == WATCH_ARGS_MAX) {
            config_fail(p->t, &v->pos, "watches: %s: more than %d",
                        config_quote(v->key).s, WATCH_ARGS_MAX);
            return ERR_BAD;
        }
        if (config_strings_add(p->arena, ret, item->string.p) != ERR_OK)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err get_timeout(struct parse *p, const struct config_value *v,
                            uint64_t *ret)
{
    struct errtext why = {0};
    int64_t ns = 0;

    if (v->kind != CONFIG_STRING)
        return wanted(p, v, "a duration such as \"10s\"");
    if (duration_parse(v->string, &ns, &why) != ERR_OK)
        return refuse(p, v, "watches: timeout: %s", why.s);
    if (ns < NS_PER_MS)
        return refuse(p, v, "watches: timeout: %s is not over 0",
                      config_quote(v->string).s);
    *ret = (uint64_t)(ns / NS_PER_MS);
    return ERR_OK;
}

/* --- http_handler_config -------------------------------------------------- */

static enum err add_header(struct parse *p, struct bytes name,
                           const struct config_value *v)
{
    struct config_pairs *h = &p->w->http.headers;

    if (v->kind != CONFIG_STRING)
        return refuse(p, v, "watches: header %s: wanted a list of strings",
                      config_quote(name).s);
    if (h->n == h->cap) /* the cap was counted */
        return refuse(p, v, "watches: header %s: too many",
                      config_quote(name).s);
    h->v[h->n++] = (struct config_pair){name.p, v->string.p};
    return ERR_OK;
}

static enum err get_headers(struct parse *p, const struct config_value *v)
{
    struct config_pairs *h = &p->w->http.headers;
    enum err e = ERR_OK;

    if (v->kind != CONFIG_OBJECT)
        return wanted(p, v, "an object of lists of strings");
    h->cap = WATCH_ARGS_MAX;
    h->n = 0;
    h->v = arena_alloc(p->arena, h->cap * sizeof *h->v);
    if (!h->v)
        return ERR_NOMEM;
    config_each(member, v)
    {
        if (member->kind != CONFIG_LIST) {
            e = add_header(p, member->key, member);
        } else {
            config_each(item, member)
            {
                if (e == ERR_OK)
                    e = add_header(p, member->key, item);
            }
        }
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err get_http_member(struct parse *p, const struct config_value *v)
{
    struct watch_def *w = p->w;

    if (v->kind == CONFIG_NULL)
        return ERR_OK;
    if (bytes_eq_fold(v->key, bytes_str("path")))
        return get_string(p, v, &w->http.url);
    if (bytes_eq_fold(v->key, bytes_str("method")))
        return get_string(p, v, &w->http.method);
    if (bytes_eq_fold(v->key, bytes_str("timeout")))
        return get_timeout(p, v, &w->timeout_ms);
    if (bytes_eq_fold(v->key, bytes_str("header")))
        return get_headers(p, v);
    if (bytes_eq_fold(v->key, bytes_str("tls_skip_verify")))
        return get_bool(p, v, &w->http.tls_skip_verify);
    return refuse(p, v, "watches: http_handler_config has no %s",
                  config_quote(v->key).s);
}

static enum err get_http(struct parse *p, const struct config_value *v)
{
    enum err e = ERR_OK;

    if (v->kind == CONFIG_LIST && v->items.n == 1)
        v = v->items.first;
    if (v->kind != CONFIG_OBJECT)
        return wanted(p, v, "an object");
    p->http = v;
    config_each(member, v)
    {
        if (e == ERR_OK)
            e = get_http_member(p, member);
    }
    return e;
}

/* --- Types ---------------------------------------------------------------- */

static enum err set_type(struct parse *p, const struct config_value *v)
{
    static const char *const names[] = {
        [WATCH_DEF_SERVICES] = "services",
        [WATCH_DEF_NODES] = "nodes",
        [WATCH_DEF_SERVICE] = "service",
        [WATCH_DEF_CHECKS] = "checks",
        [WATCH_DEF_AGENT_SERVICE] = "agent_service",
        [WATCH_DEF_EVENT] = "event",
    };
    static const struct {
        const char *name, *why;
    } absent[] = {
        {"key", "there is no key-value store"},
        {"keyprefix", "there is no key-value store"},
        {"connect_roots", "there is no service mesh"},
        {"connect_leaf", "there is no service mesh"},
    };

    if (!p->type)
        return refuse(p, v, "watches: %s", "Watch type must be specified");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(p->type, names[i]) == 0) {
            p->w->type = (enum watch_def_type)i;
            return ERR_OK;
        }
    }
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        if (strcmp(p->type, absent[i].name) == 0) {
            config_fail(p->t, &v->pos, "watches: type %s: %s", p->type,
                        absent[i].why);
            return ERR_BAD;
        }
    }
    return refuse(p, v,
                  "watches: Unsupported watch type: %s (there are services, "
                  "nodes, service, checks, agent_service, event)",
                  config_quote(bytes_str(p->type)).s);
}

static enum err check_parameters(struct parse *p, const struct config_value *v)
{
    const struct watch_def *w = p->w;
    bool service = w->type == WATCH_DEF_SERVICE;
    bool checks = w->type == WATCH_DEF_CHECKS;
    bool agent = w->type == WATCH_DEF_AGENT_SERVICE;
    const char *extra = w->service && !service && !checks       ? "service"
                        : w->state && !checks                   ? "state"
                        : w->service_id && !agent               ? "service_id"
                        : w->name && w->type != WATCH_DEF_EVENT ? "name"
                        : w->tags.n && !service                 ? "tag"
                        : w->passing && !service                ? "passingonly"
                                                                : NULL;

    if (extra)
        return refuse(p, v, "watches: Invalid parameters: [%s]", extra);
    if (service && !w->service)
        return refuse(p, v, "watches: %s",
                      "Must specify a single service to watch");
    if (agent && !w->service_id)
        return refuse(p, v, "watches: %s",
                      "Must specify a single service ID to watch");
    if (checks && w->service && w->state)
        return refuse(p, v, "watches: %s", "Cannot specify service and state");
    return ERR_OK;
}

/* --- Handlers ------------------------------------------------------------- */

static enum err set_handler(struct parse *p, const struct config_value *v)
{
    struct watch_def *w = p->w;
    bool http = p->http != NULL;

    if ((w->args.n > 0) + (p->handler != NULL) + http > 1)
        return refuse(p, v, "watches: %s",
                      "only one of args, handler and http_handler_config");
    if (p->handler) { /* Consul's older form: a line for the shell */
        if (config_strings_add(p->arena, &w->args, "/bin/sh") != ERR_OK ||
            config_strings_add(p->arena, &w->args, "-c") != ERR_OK ||
            config_strings_add(p->arena, &w->args, p->handler) != ERR_OK)
            return ERR_NOMEM;
    }
    if (p->handler_type && strcmp(p->handler_type, http ? "http" : "script"))
        return refuse(p, v, "watches: handler_type %s does not fit the handler",
                      config_quote(bytes_str(p->handler_type)).s);
    if (!http && w->args.n == 0)
        return refuse(p, v, "watches: %s",
                      "a handler is missing: args, or http_handler_config");
    if (w->args.n && w->args.v[0][0] == '\0')
        return refuse(p, v, "watches: %s", "args: the program has no name");
    if (http && (!w->http.url || (strncmp(w->http.url, "http://", 7) != 0 &&
                                  strncmp(w->http.url, "https://", 8) != 0)))
        return refuse(p, p->http, "watches: %s",
                      "http_handler_config: path must be an http:// or "
                      "https:// URL");
    if (!w->http.method)
        w->http.method = "POST";
    if (!w->timeout_ms)
        w->timeout_ms = http ? WATCH_HTTP_TIMEOUT_MS : WATCH_SCRIPT_TIMEOUT_MS;
    return ERR_OK;
}

static enum err get_datacenter(struct parse *p, const struct config_value *v)
{
    const char *name = NULL;
    enum err e = get_string(p, v, &name);

    if (e == ERR_OK && name &&
        !bytes_eq_fold(bytes_str(name), bytes_str(p->datacenter)))
        return refuse(p, v, "watches: No path to datacenter: %s",
                      config_quote(bytes_str(name)).s);
    return e;
}

static enum err get_member(struct parse *p, const struct config_value *v)
{
    struct watch_def *w = p->w;
    const struct {
        const char *key;
        const char **to;
    } strings[] = {
        {"type", &p->type},
        {"handler", &p->handler},
        {"handler_type", &p->handler_type},
        {"service", &w->service},
        {"state", &w->state},
        {"service_id", &w->service_id},
        {"name", &w->name},
    };
    const char *unused;
    bool ignored;

    if (v->kind == CONFIG_NULL)
        return ERR_OK;
    for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++)
        if (bytes_eq_fold(v->key, bytes_str(strings[i].key)))
            return get_string(p, v, strings[i].to);
    if (bytes_eq_fold(v->key, bytes_str("tag")))
        return get_strings(p, v, &w->tags);
    if (bytes_eq_fold(v->key, bytes_str("args")))
        return get_strings(p, v, &w->args);
    if (bytes_eq_fold(v->key, bytes_str("passingonly")))
        return get_bool(p, v, &w->passing);
    if (bytes_eq_fold(v->key, bytes_str("timeout")))
        return get_timeout(p, v, &w->timeout_ms);
    if (bytes_eq_fold(v->key, bytes_str("http_handler_config")))
        return get_http(p, v);
    if (bytes_eq_fold(v->key, bytes_str("datacenter")))
        return get_datacenter(p, v);
    /* Reads here need none, and are never stale. */
    if (bytes_eq_fold(v->key, bytes_str("token")))
        return get_string(p, v, &unused);
    if (bytes_eq_fold(v->key, bytes_str("stale")))
        return get_bool(p, v, &ignored);
    return refuse(p, v, "watches: Invalid parameters: [%s]",
                  config_quote(v->key).s);
}

/* Of a type that is not watched here the other parameters are not looked at. */
static enum err find_type(struct parse *p, const struct config_value *v)
{
    enum err e = ERR_OK;

    config_each(member, v)
    {
        if (e == ERR_OK && member->kind != CONFIG_NULL &&
            bytes_eq_fold(member->key, bytes_str("type")))
            e = get_string(p, member, &p->type);
    }
    return e == ERR_OK ? set_type(p, v) : e;
}

enum err watch_def_parse(const struct config_value *v, const char *datacenter,
                         struct arena *arena, struct watch_def *ret,
                         struct errtext *t)
{
    struct parse p = {
        .w = ret, .arena = arena, .t = t, .datacenter = datacenter};
    struct buf text = {0};

    *ret = (struct watch_def){.pos = &v->pos};
    enum err e = find_type(&p, v);
    config_each(member, v)
    {
        if (e == ERR_OK)
            e = get_member(&p, member);
    }
    if (e == ERR_OK)
        e = check_parameters(&p, v);
    if (e == ERR_OK)
        e = set_handler(&p, v);
    if (e == ERR_OK) {
        config_value_to_json(&text, v);
        ret->text = arena_copy(arena, buf_bytes(&text));
        if (text.bad || !ret->text.p)
            e = ERR_NOMEM;
    }
    buf_fini(&text);
    if (e == ERR_NOMEM)
        errtext_set(t, "%s", err_text(e));
    return e;
}
