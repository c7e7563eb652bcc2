/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/ghosts - nodes without a living owner, and what is registered on
 * them: no agent ever said that it is theirs (no serfHealth check), or it is not
 * heard any more. When a service was last confirmed is known since this server was
 * started (local/beats.h); who registered it, as long as history goes back (the
 * archivist looks it up). */
#include "api/impl.h"
#include "base/map.h"

/* NULL: its agent lives. */
static const char *why_ghost(const struct cat_node *n)
{
    const struct cat_record *serf = cat_node_check(n, bytes_str("serfHealth"));
    struct check_view v;
    if (!serf)
        return "no agent";
    cat_check_view(serf, &v);
    return bytes_is(v.status, "critical") ? "agent silent" : NULL;
}

static void put_author(struct json_out *j, const struct api_env *env,
                       const struct buf *key)
{
    const struct map *all = env->past ? env->past->authors : NULL;
    const struct api_author *a = all ? map_get(all, buf_bytes(key)) : NULL;
    json_key(j, "RegisteredBy");
    json_str(j, a ? a->by : (struct bytes){0});
    encode_moment(j, "Registered", a ? a->ms : 0);
}

static void put_service(struct json_out *j, const struct api_env *env,
                        const struct cat_instance *i)
{
    struct service_view v;
    cat_service_view(i->service, &v);
    const struct beat *b =
        env->beats ? beats_of(env->beats, v.node, v.id) : NULL;
    uint64_t confirmed_ms =
        b ? atomic_load_explicit(&b->wall_ms, memory_order_relaxed) : 0;
    json_open(j, '{');
    json_key(j, "ServiceID");
    json_str(j, v.id);
    json_key(j, "Service");
    json_str(j, v.name);
    json_key(j, "Port");
    json_i64(j, v.port);
    json_key(j, "TTLMs");
    json_u64(j, b ? b->ttl_ms : 0);
    struct buf key = {0};
    key_service(&key, v.node, v.id);
    put_author(j, env, &key);
    buf_fini(&key);
    encode_moment(j, "LastConfirmed", confirmed_ms);
    encode_moment(j, "Expires",
                  b && b->ttl_ms && confirmed_ms ? confirmed_ms + b->ttl_ms
                                                 : 0);
    json_key(j, "Checks");
    json_u64(j, i->check_count);
    json_key(j, "CreateIndex");
    json_u64(j, v.create_rev);
    json_key(j, "ModifyIndex");
    json_u64(j, v.modify_rev);
    json_close(j, '}');
}

static void put_node(struct json_out *j, const struct api_env *env,
                     const struct cat_node *n, const char *why)
{
    struct node_view v;
    struct tree_iter it;
    cat_node_view(n->record, &v);
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, v.name);
    json_key(j, "Address");
    json_str(j, v.address);
    json_key(j, "Why");
    json_str(j, bytes_str(why));
    struct buf key = {0};
    key_node(&key, v.name);
    put_author(j, env, &key);
    buf_fini(&key);
    json_key(j, "CreateIndex");
    json_u64(j, v.create_rev);
    json_key(j, "ModifyIndex");
    json_u64(j, v.modify_rev);
    json_key(j, "Checks");
    json_u64(j, n->own ? n->own->n : 0);
    json_key(j, "Services");
    json_open(j, '[');
    tree_first(&n->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        put_service(j, env, i);
    json_close(j, ']');
    json_close(j, '}');
}

void api_ghosts_each(const struct api_env *env,
                     void (*each)(void *ctx, struct bytes key,
                                  uint64_t create_rev),
                     void *ctx)
{
    struct buf key = {0};
    struct tree_iter it, of;
    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));) {
        struct node_view v;
        if (!why_ghost(n))
            continue;
        cat_node_view(n->record, &v);
        buf_reset(&key);
        key_node(&key, v.name);
        each(ctx, buf_bytes(&key), v.create_rev);
        tree_first(&n->services, &of);
        for (const struct cat_instance *i; (i = tree_next(&of));) {
            struct service_view sv;
            cat_service_view(i->service, &sv);
            buf_reset(&key);
            key_service(&key, sv.node, sv.id);
            each(ctx, buf_bytes(&key), sv.create_rev);
        }
    }
    buf_fini(&key);
}

void read_ghosts(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct tree_iter it;
    json_open(&j, '{');
    json_key(&j, "Nodes");
    json_open(&j, '[');
    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));) {
        const char *why = why_ghost(n);
        if (why)
            put_node(&j, env, n, why);
    }
    json_close(&j, ']');
    json_close(&j, '}');
}
