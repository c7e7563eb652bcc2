/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* /v1/internal/ui: what Consul's web page and some exporters read. Checks are
 * counted by their true status, held by the guard or not. */
#include "api/impl.h"
#include "api/text_set.h"

enum { PROXY_BYTES_MAX = 16 << 20 };

/* --- Nodes --------------------------------------------------------------- */

static void ui_node(struct api_call *c, struct encoder *e,
                    const struct cat_node *n)
{
    struct node_view nv;
    struct tree_iter it;
    struct json_out *j = &e->j;
    cat_node_view(n->record, &nv);
    json_open(j, '{');
    json_key(j, "ID");
    json_str(j, nv.id);
    json_key(j, "Node");
    json_str(j, nv.name);
    json_key(j, "Address");
    json_str(j, nv.address);
    json_key(j, "TaggedAddresses");
    encode_map_or_null(j, nv.tagged, nv.tagged_set);
    json_key(j, "Meta");
    encode_map_or_null(j, nv.meta, nv.meta_set);
    json_key(j, "Services");
    json_open(j, '[');
    tree_first(&n->services, &it);
    for (const struct cat_instance *i;
         api_spend(c, COST_SERVICE) && (i = tree_next(&it));) {
        struct service_view v;
        cat_service_view(i->service, &v);
        encode_node_service(e, &v);
    }
    json_close(j, ']');
    json_key(j, "Checks");
    json_open(j, '[');
    tree_first(&n->checks, &it);
    for (const struct cat_record *r;
         api_spend(c, COST_CHECK) && (r = tree_next(&it));) {
        struct check_view v;
        struct bytes name;
        struct packed tags;
        cat_check_view(r, &v);
        check_service(n, &v, &name, &tags);
        encode_check(e, nv.name, &v, name, &tags);
    }
    json_close(j, ']');
    json_close(j, '}');
}

void read_ui_nodes(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct tree_iter it;
    json_open(&e.j, '[');
    snapshot_nodes(env->cat, &it);
    struct filter_row row = filter_row(env);
    for (const struct cat_node *n;
         api_spend(c, COST_NODE) && (n = snapshot_next_node(&it));) {
        cat_node_view(n->record, &row.node);
        if (filter_match(c->filter, &row))
            ui_node(c, &e, n);
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

void read_ui_node(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_node *n = snapshot_node(env->cat, c->arg);
    if (n) {
        ui_node(c, &e, n);
        encoder_end(&e, c);
        return;
    }
    c->consul_headers = false;
    c->status = 404;
    c->content_type = NULL;
}

/* --- Services ------------------------------------------------------------ */

struct summary {
    struct text_set tags, nodes, targets, sources;
    struct bytes kind;
    uint64_t instances, passing, warning, critical;
    struct arena arena; /* of the targets' names */
};

static void count(struct summary *s, const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    s->passing += bytes_is(v.status, "passing");
    s->warning += bytes_is(v.status, "warning");
    s->critical += bytes_is(v.status, "critical");
}

static void sum_instance(struct api_call *c, const struct api_env *env,
                         struct summary *s, const struct cat_node *n,
                         const struct cat_instance *i)
{
    struct filter_row row = filter_row(env);
    struct service_view v;
    struct bytes rest, tag;
    cat_node_view(n->record, &row.node);
    cat_service_view(i->service, &v);
    row.service = v;
    row.node_checks = n->own;
    row.instance = i;
    if (!filter_match(c->filter, &row))
        return;
    s->instances++;
    s->kind = v.kind;
    rest = v.tags.data;
    while (packed_next(&rest, &tag))
        text_set_add(&s->tags, tag);
    text_set_add(&s->nodes, row.node.name);
    struct bytes target = proxy_target(&v, &s->arena);
    if (target.n)
        text_set_add(&s->targets, target);
    struct bytes source = packed_find(v.meta, bytes_str("external-source"));
    if (source.n)
        text_set_add(&s->sources, source);
    for (uint32_t k = 0; n->own && k < n->own->n; k++)
        count(s, n->own->v[k]);
    for (uint32_t k = 0; k < i->check_count; k++)
        count(s, i->checks[k]);
}

static void set_or_null(struct json_out *j, const char *key, struct text_set *s)
{
    json_key(j, key);
    if (s->n)
        text_set_put(j, s);
    else
        json_nil(j);
}

static void number(struct json_out *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

static void put_summary(struct json_out *j, const struct cat_name *name,
                        struct summary *s)
{
    json_open(j, '{');
    if (s->kind.n) {
        json_key(j, "Kind");
        json_str(j, s->kind);
    }
    json_key(j, "Name");
    json_str(j, bytes_of(name->name, name->name_len));
    set_or_null(j, "Tags", &s->tags);
    set_or_null(j, "Nodes", &s->nodes);
    number(j, "InstanceCount", s->instances);
    if (s->targets.n)
        set_or_null(j, "ProxyFor", &s->targets);
    number(j, "ChecksPassing", s->passing);
    number(j, "ChecksWarning", s->warning);
    number(j, "ChecksCritical", s->critical);
    set_or_null(j, "ExternalSources", &s->sources);
    json_key(j, "GatewayConfig");
    json_raw(j, bytes_str("{}"));
    json_close(j, '}');
}

static void summary_reset(struct summary *s)
{
    s->kind = (struct bytes){0};
    s->instances = s->passing = s->warning = s->critical = 0;
    text_set_reset(&s->tags);
    text_set_reset(&s->nodes);
    text_set_reset(&s->targets);
    text_set_reset(&s->sources);
    arena_reset(&s->arena);
}

static bool sum_name(struct api_call *c, const struct api_env *env,
                     const struct cat_name *name, struct summary *s)
{
    struct tree_iter it;
    summary_reset(s);
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct cat_node *n = snapshot_node_of(env->cat, i);
        if (!api_spend(c, COST_CHECK))
            return false;
        if (n)
            sum_instance(c, env, s, n, i);
    }
    return s->instances > 0;
}

void read_ui_services(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct summary s = {0};
    struct tree_iter it;
    arena_init(&s.arena, PROXY_BYTES_MAX);
    json_open(&e.j, '[');
    snapshot_names(env->cat, &it);
    for (const struct cat_name *n;
         api_spend(c, COST_SKIP) && (n = snapshot_next_name(&it));)
        if (sum_name(c, env, n, &s))
            put_summary(&e.j, n, &s);
    json_close(&e.j, ']');
    encoder_end(&e, c);
    bool failed =
        s.tags.failed || s.nodes.failed || s.targets.failed || s.sources.failed;
    text_set_fini(&s.tags);
    text_set_fini(&s.nodes);
    text_set_fini(&s.targets);
    text_set_fini(&s.sources);
    arena_fini(&s.arena);
    if (failed)
        api_error(c, 500, "out of memory for the answer");
}
