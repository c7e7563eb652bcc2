/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Proxies by what they are in front of: /catalog/connect, /health/connect. Who
 * asks for them gets the instances whose Proxy names the service, and those
 * that speak for themselves (Connect.Native).
 *
 * There is no index of them: all instances are walked, because they are few and
 * rarely asked for, and an index would cost every registration. */
#include "api/impl.h"
#include "api/table.h"

enum { PROXY_BYTES_MAX = 16 << 20 /* decoded, of one service */ };

struct target_in {
    struct bytes name;
};

/* clang-format off */
static const struct json_field target_fields[] = {
    FIELD(target_in, "DestinationServiceName", "destination_service_name", FIELD_STRING, name),
};
static const struct json_table target_table = TABLE(target_fields, target_in);
/* clang-format on */

struct bytes proxy_target(const struct service_view *v, struct arena *a)
{
    struct target_in t;
    if (!bytes_is(v->kind, "connect-proxy") || v->proxy.n == 0 ||
        json_decode(v->proxy, &target_table, &t, a, NULL) != ERR_OK)
        return (struct bytes){0};
    return t.name;
}

static bool is_native(const struct service_view *v)
{
    return v->connect.n && memmem(v->connect.p, v->connect.n, "true", 4);
}

static bool speaks_for(const struct service_view *v, struct bytes service,
                       struct arena *a)
{
    if (is_native(v) && bytes_eq_fold(v->name, service))
        return true;
    struct bytes target = proxy_target(v, a);
    return target.n && bytes_eq_fold(target, service);
}

/* Goes on to the next row that is asked for; false: no more. */
struct walk {
    struct api_call *c;
    const struct api_env *env;
    struct tree_iter nodes, instances;
    bool inside, tags_count;
    struct arena arena;
    const struct cat_node *node;
    const struct cat_instance *instance;
    struct filter_row row;
};

static void walk_begin(struct walk *w, struct api_call *c,
                       const struct api_env *env, bool tags_count)
{
    *w = (struct walk){
        .c = c, .env = env, .tags_count = tags_count, .row = filter_row(env)};
    arena_init(&w->arena, PROXY_BYTES_MAX);
    snapshot_nodes(env->cat, &w->nodes);
}

static bool is_asked_for(struct walk *w)
{
    struct api_call *c = w->c;
    cat_service_view(w->instance->service, &w->row.service);
    if (!w->row.service.proxy.n && !w->row.service.connect.n)
        return false;
    arena_reset(&w->arena);
    w->row.node_checks = w->node->own;
    w->row.instance = w->instance;
    return speaks_for(&w->row.service, c->arg, &w->arena) &&
           answered_row(c, w->env,
                        snapshot_name(w->env->cat, w->row.service.name),
                        w->node, w->instance, &w->row) &&
           node_meta_matches(c, &w->row.node) &&
           (!w->tags_count || tags_match(c, &w->row.service)) &&
           filter_match(c->filter, &w->row);
}

static bool walk_next(struct walk *w)
{
    for (;;) {
        while (w->inside && (w->instance = tree_next(&w->instances))) {
            if (!api_spend(w->c, COST_SKIP))
                return false;
            if (is_asked_for(w))
                return true;
        }
        w->node = snapshot_next_node(&w->nodes);
        if (!w->node)
            return false;
        cat_node_view(w->node->record, &w->row.node);
        tree_first(&w->node->services, &w->instances);
        w->inside = true;
    }
}

/* The walk, at this row alone; false: it is not asked for. */
static bool walk_at(struct walk *w, struct api_call *c, struct encoder *e,
                    const struct row_of *of, bool tags_count)
{
    walk_begin(w, c, e->env, tags_count);
    w->node = of->node;
    w->instance = of->instance;
    cat_node_view(w->node->record, &w->row.node);
    bool asked_for = is_asked_for(w);
    arena_fini(&w->arena);
    return asked_for;
}

bool row_of_connect(struct api_call *c, struct encoder *e,
                    const struct row_of *of)
{
    struct walk w;
    if (!walk_at(&w, c, e, of, false))
        return false;
    encode_service_node(e, &w.row.node, &w.row.service);
    return true;
}

bool row_of_health_connect(struct api_call *c, struct encoder *e,
                           const struct row_of *of)
{
    struct walk w;
    if (!walk_at(&w, c, e, of, true))
        return false;
    c->held += w.row.held;
    put_health_entry(e, &w.row);
    return true;
}

void read_catalog_connect(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct walk w;
    json_open(&e.j, '[');
    walk_begin(&w, c, env, false); /* ?tag is ignored, as in Consul */
    while (walk_next(&w)) {
        c->cost += COST_NODE + COST_SERVICE;
        near_row(c, env, w.row.node.name);
        encode_service_node(&e, &w.row.node, &w.row.service);
    }
    arena_fini(&w.arena);
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

void read_health_connect(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, true);
    struct walk w;
    json_open(&e.j, '[');
    walk_begin(&w, c, env, true);
    while (walk_next(&w)) {
        c->cost +=
            COST_NODE + COST_SERVICE + COST_CHECK * w.instance->check_count;
        c->held += w.row.held;
        near_row(c, env, w.row.node.name);
        put_health_entry(&e, &w.row);
    }
    arena_fini(&w.arena);
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* --- What a server without a mesh says of it ----------------------------- */

void read_none(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    (void)env;
    json_open(&j, '[');
    json_close(&j, ']');
}

void read_null(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    (void)env;
    json_nil(&j);
}

void read_connect_off(struct api_call *c, const struct api_env *env)
{
    (void)env;
    api_error(c, 500, "Connect must be enabled in order to use this endpoint");
}

void read_intentions(struct api_call *c, const struct api_env *env)
{
    if (c->request->method == HTTP_GET)
        read_none(c, env);
    else
        read_unsupported(c, env);
}

/* No intention is stored, so each service has none. */
void read_intention_match(struct api_call *c, const struct api_env *env)
{
    const struct http_request *r = c->request;
    struct bytes by = http_param_value(r, "by");
    (void)env;
    if (!http_param(r, "by")) {
        api_error(c, 500, "required query parameter 'by' not set");
        return;
    }
    if (!bytes_is(by, "source") && !bytes_is(by, "destination")) {
        api_error(c, 500,
                  "'by' parameter must be one of 'source' or 'destination'");
        return;
    }
    if (!http_param(r, "name")) {
        api_error(c, 500, "required query parameter 'name' not set");
        return;
    }
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    for (size_t i = 0; i < r->param_count; i++)
        if (bytes_is(r->params[i].name, "name")) {
            json_key_bytes(&j, r->params[i].value);
            json_nil(&j);
        }
    json_close(&j, '}');
}

/* Without ACLs, what no intention forbids is allowed. */
void read_intention_check(struct api_call *c, const struct api_env *env)
{
    static const char *const needed[] = {"source", "destination"};
    (void)env;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (!http_param(c->request, needed[i])) {
            api_error(c, 500, "required query parameter '%s' not set",
                      needed[i]);
            return;
        }
    buf_puts(&c->body, "{\"Allowed\":true}");
}

/* No config entry is stored. */
void read_config_entry(struct api_call *c, const struct api_env *env)
{
    if (c->request->method != HTTP_GET) {
        read_unsupported(c, env);
        return;
    }
    size_t slash = bytes_find(c->arg, '/');
    struct bytes name = bytes_skip(c->arg, slash + 1);
    if (name.n == 0) {
        read_none(c, env);
        return;
    }
    api_error(c, 404, "Config entry not found for \"%.*s\" / \"%.*s\"",
              BYTES_ARG(bytes_head(c->arg, slash)), BYTES_ARG(name));
}
