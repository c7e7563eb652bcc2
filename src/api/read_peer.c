/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What servers and agents ask each other, on the listener for peers only.
 *
 * GET /v1/peer/hello says who this is and to what it belongs. Whoever asks
 * compares that with what he expects, and names both sides if it differs; of
 * what is not known yet the members are empty, and members may be added. */
#include "api/impl.h"

#include <stdio.h>

/* What a server tells of itself beside its service "consul". */
uint64_t api_peer_port(struct packed meta)
{
    uint64_t port = 0;

    if (bytes_u64(packed_find(meta, bytes_str(API_PEER_PORT)), &port) !=
            ERR_OK ||
        port > 65535)
        return 0;
    return port;
}

/* Its place in the set is known, and it has none any more. */
static bool was_removed(const struct api_cluster *cl, struct bytes id,
                        const struct cat_node *node)
{
    const struct cat_record *check =
        cat_node_check(node, bytes_str("serfHealth"));
    struct check_view v;

    if (!cl || !cl->managed || cl->fresh || cl->server_count == 0 || !check)
        return false;
    for (size_t i = 0; i < cl->server_count; i++)
        if (bytes_eq_fold(cl->servers[i].id, id))
            return false;
    cat_check_view(check, &v);
    return bytes_is(v.status, "critical");
}

void api_each_server(const struct api_env *env,
                     void (*each)(void *ctx, const struct api_peer *p),
                     void *ctx)
{
    const struct cat_name *name = snapshot_name(env->cat, bytes_str("consul"));
    struct tree_iter it;

    if (!name)
        return;
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct cat_node *node = snapshot_node_of(env->cat, i);
        struct service_view s;
        struct node_view n;
        if (!node || !node->record)
            continue;
        cat_service_view(i->service, &s);
        cat_node_view(node->record, &n);
        const struct api_peer p = {n.name, n.id, n.address,
                                   api_peer_port(s.meta),
                                   s.port > 0 ? (uint64_t)s.port : 0};
        if (!was_removed(env->cluster, n.id, node))
            each(ctx, &p);
    }
}

static void count_server(void *ctx, const struct api_peer *p)
{
    (void)p;
    ++*(size_t *)ctx;
}

size_t api_count_servers(const struct api_env *env, char *text)
{
    size_t n = 0;

    api_each_server(env, count_server, &n);
    text[0] = '\0';
    if (n > API_SERVERS_MAX)
        (void)snprintf(
            text, API_CROWD_TEXT,
            "there are %zu servers, and %d is the limit: %zu of them are not "
            "heard of and told of by all others, so that their agents may be "
            "suspected, get no user events and leave a drain unknown; start "
            "the further ones as agents (without -server), and remove those "
            "that are gone (muster force-leave)",
            n, API_SERVERS_MAX, n - API_SERVERS_MAX);
    return n;
}

static void put_reachable(void *ctx, const struct api_peer *p)
{
    struct json_out *j = ctx;

    if (p->port == 0)
        return;
    json_open(j, '{');
    json_member_str(j, "Node", p->node);
    json_member_str(j, "ID", p->id);
    json_member_str(j, "Address", p->address);
    json_member_u64(j, "PeerPort", p->port);
    json_member_u64(j, "ServerPort", p->server_port);
    json_close(j, '}');
}

static void put_unreachable(void *ctx, const struct api_peer *p)
{
    if (p->port == 0)
        json_str(ctx, p->node);
}

/* Those in the catalog: that peers can reach, and that have no listener for
 * them. */
static void put_servers(struct json_out *j, const struct api_env *env)
{
    json_key(j, "Servers");
    json_open(j, '[');
    if (env->ready)
        api_each_server(env, put_reachable, j);
    json_close(j, ']');
    json_key(j, "Unreachable");
    json_open(j, '[');
    if (env->ready)
        api_each_server(env, put_unreachable, j);
    json_close(j, ']');
}

/* Other servers that wait, too; so that all see the same ones. */
static void put_seen(struct json_out *j, const struct api_cluster *cl)
{
    json_key(j, "Sees");
    json_open(j, '[');
    for (size_t i = 0; i < cl->server_count; i++) {
        const struct api_server *s = &cl->servers[i];
        json_open(j, '{');
        json_member_str(j, "Node", s->node);
        json_member_str(j, "ID", s->id);
        json_member_str(j, "Address", s->address);
        json_member_u64(j, "PeerPort", (uint64_t)s->peer_port);
        json_member_u64(j, "ServerPort", (uint64_t)s->server_port);
        json_close(j, '}');
    }
    json_close(j, ']');
}

void read_peer_hello(struct api_call *c, const struct api_env *env)
{
    static const struct api_cluster alone = {0};
    const struct api_self *self = env->self;
    const struct api_cluster *cl = env->cluster ? env->cluster : &alone;
    struct json_out j = json_out(&c->body);
    uint64_t revision = snapshot_revision(env->cat);

    json_open(&j, '{');
    json_member_str(&j, "Node", self->node_name);
    json_member_str(&j, "ID", self->node_id);
    json_member_str(&j, "Datacenter", self->datacenter);
    json_member_str(&j, "Version", bytes_str(MUSTER_VERSION));
    json_member_str(&j, "APIVersion", self->version);
    json_member_u64(&j, "Protocol", API_PEER_PROTOCOL);
    json_member_bool(&j, "Server", self->is_server);
    json_member_str(&j, "Address", self->advertise_address);
    json_member_u64(&j, "PeerPort",
                    self->serf_lan_port > 0 ? (uint64_t)self->serf_lan_port
                                            : 0);
    json_member_u64(&j, "ServerPort",
                    self->server_port > 0 ? (uint64_t)self->server_port : 0);
    json_member_bool(&j, "Ready", env->ready && !env->leaderless);
    json_member_str(&j, "ClusterID", cl->id);
    json_member_u64(&j, "Epoch", revision >> API_EPOCH_SHIFT);
    json_member_u64(&j, "Index", revision);
    json_member_u64(&j, "BootstrapExpect", cl->expect);
    json_member_str(&j, "Phase", bytes_str(cl->phase));
    json_member_bool(&j, "Fresh", cl->fresh);
    json_member_str(&j, "Token", cl->token);
    json_member_u64(&j, "StoreIndex", cl->store_index);
    json_member_u64(&j, "StoreTerm", cl->store_term);
    json_member_u64(&j, "StoreSize", cl->store_size);
    json_member_u64(&j, "StoreUsed", cl->store_used);
    if (cl->disk_free || cl->disk_full)
        json_member_u64(&j, "DiskFree", cl->disk_free);
    if (cl->disk_full)
        json_member_bool(&j, "DiskFull", true);
    if (env->place) {
        json_key(&j, "Coord");
        encode_coordinate(&j, env->place);
    }
    put_servers(&j, env);
    if (cl->fresh)
        put_seen(&j, cl);
    json_close(&j, '}');
}

/* For mirrors: by which clock their beats tell the time. */
void read_peer_clock(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);

    json_open(&j, '{');
    json_member_u64(&j, "UptimeMs", env->uptime_ms);
    json_close(&j, '}');
}

/* --- Changes --------------------------------------------------------------- */

enum api_next peer_pass_on(struct api_call *c, enum agent_op_kind kind,
                           struct agent_op **ret)
{
    *ret = agent_op_new(kind);
    if (*ret)
        (*ret)->output = arena_copy(&(*ret)->arena, c->request->body);
    if (*ret && (c->request->body.n == 0 || (*ret)->output.p))
        return API_AGENT;
    agent_op_free(*ret);
    api_error(c, 500, "out of memory");
    return API_ANSWER;
}

enum api_next peer_lock(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret)
{
    (void)env;
    return peer_pass_on(c, AGENT_PEER_LOCK, ret);
}

enum api_next peer_join(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret)
{
    (void)env;
    return peer_pass_on(c, AGENT_PEER_JOIN, ret);
}

enum api_next peer_defragment(struct api_call *c, const struct api_env *env,
                              struct agent_op **ret)
{
    (void)env;
    return peer_pass_on(c, AGENT_PEER_DEFRAGMENT, ret);
}

enum api_next raft_remove(struct api_call *c, const struct api_env *env,
                          struct agent_op **ret)
{
    struct bytes id = http_param_value(c->request, "id");
    struct bytes address = http_param_value(c->request, "address");

    (void)env;
    if ((id.n == 0) == (address.n == 0)) {
        api_error(c, 400, "%s",
                  id.n ? "Must specify either ?id with the server's ID or "
                         "?address with IP:port of peer to remove, not both"
                       : "Must specify either ?id with the server's ID or "
                         "?address with IP:port of peer to remove");
        return API_ANSWER;
    }
    *ret = agent_op_new(AGENT_RAFT_REMOVE);
    if (*ret) {
        (*ret)->id = arena_copy(&(*ret)->arena, id);
        (*ret)->reason = arena_copy(&(*ret)->arena, address);
        return API_AGENT;
    }
    api_error(c, 500, "out of memory");
    return API_ANSWER;
}
