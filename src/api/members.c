/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Members: the own node, and those in the catalog that have an agent (its port
 * for peers is in their meta), alive or failed as their check serfHealth says.
 * Who has left is none any more: his node goes with him. */
#include <stdio.h>

#include "api/impl.h"

enum { MEMBER_ALIVE = 1, MEMBER_FAILED = 4 };

static void member_bytes(struct json_out *j, const char *key,
                         struct bytes value)
{
    json_key(j, key);
    json_str(j, value);
}

struct packed_map {
    struct buf b;
    uint32_t n;
};

static void tag(struct packed_map *tags, const char *name, struct bytes value)
{
    packed_put_pair(&tags->b, bytes_str(name), value);
    tags->n++;
}

static void tag_text(struct packed_map *tags, const char *name,
                     const char *value)
{
    tag(tags, name, bytes_str(value));
}

static void tag_int(struct packed_map *tags, const char *name, int v)
{
    char text[24];
    snprintf(text, sizeof text, "%d", v);
    tag_text(tags, name, text);
}

/* Sorted by name. Among servers of all datacenters the port to join by is the
 * member's own. */
static void member_tags(const struct api_self *self, bool wan,
                        struct packed_map *tags)
{
    char build[128];
    snprintf(build, sizeof build, "%.*s:", BYTES_ARG(self->version));
    tag_text(tags, "acls", "0");
    if (self->is_server)
        tag_text(tags, "bootstrap", "1");
    tag_text(tags, "build", build);
    tag(tags, "dc", self->datacenter);
    if (self->is_server)
        tag_text(tags, "ft_fs", "1");
    tag(tags, "id", self->node_id);
    if (self->is_server) {
        tag_int(tags, "port", self->server_port);
        tag_text(tags, "raft_vsn", "3");
    }
    tag_text(tags, "role", self->is_server ? "consul" : "node");
    tag_text(tags, "segment", "");
    tag_text(tags, "vsn", "2");
    tag_text(tags, "vsn_max", "3");
    tag_text(tags, "vsn_min", "2");
    if (self->is_server && !wan)
        tag_int(tags, "wan_join_port", self->serf_wan_port);
}

static void put_member(struct json_out *j, const struct filter_member *m)
{
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"Status", m->status},
        {"ProtocolMin", m->protocol_min},
        {"ProtocolMax", m->protocol_max},
        {"ProtocolCur", m->protocol_cur},
        {"DelegateMin", m->delegate_min},
        {"DelegateMax", m->delegate_max},
        {"DelegateCur", m->delegate_cur},
    };
    json_open(j, '{');
    member_bytes(j, "Name", m->name);
    member_bytes(j, "Addr", m->address);
    json_key(j, "Port");
    json_i64(j, m->port);
    json_key(j, "Tags");
    encode_map(j, m->tags);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        json_key(j, numbers[i].key);
        json_i64(j, numbers[i].value);
    }
    json_close(j, '}');
}

/* With its tags, which are freed, and what Consul 1.8 says of its gossip. */
static void put_if_wanted(struct json_out *j, struct filter *f,
                          struct filter_row *row, struct packed_map *tags)
{
    struct filter_member *m = &row->member;

    m->protocol_min = 1;
    m->protocol_max = 5;
    m->protocol_cur = 2;
    m->delegate_min = 2;
    m->delegate_max = 5;
    m->delegate_cur = 4;
    m->tags = (struct packed){buf_bytes(&tags->b), tags->n};
    if (filter_match(f, row))
        put_member(j, m);
    j->out->bad |= tags->b.bad;
    buf_fini(&tags->b);
}

void put_self(struct json_out *j, const struct api_env *env, bool wan,
              struct filter *f)
{
    const struct api_self *self = env->self;
    struct filter_row row = filter_row(env);
    struct filter_member *m = &row.member;
    struct packed_map tags = {0};
    struct buf name = {0};
    buf_put(&name, self->node_name);
    if (wan) {
        buf_putc(&name, '.');
        buf_put(&name, self->datacenter);
    }
    member_tags(self, wan, &tags);
    *m = (struct filter_member){
        .name = buf_bytes(&name),
        .address = self->advertise_address,
        .port = wan ? self->serf_wan_port : self->serf_lan_port,
        .status = MEMBER_ALIVE,
    };
    put_if_wanted(j, f, &row, &tags);
    j->out->bad |= name.bad;
    buf_fini(&name);
}

/* NULL, or the port at which its agent listens for peers. */
static const struct cat_record *
member_of_node(const struct cat_node *n, uint64_t *ret_port, bool *ret_server)
{
    struct node_view v;
    struct service_view s;
    const struct cat_instance *i = cat_node_service(n, bytes_str("consul"));
    struct packed meta;

    cat_node_view(n->record, &v);
    meta = v.meta;
    *ret_server = false;
    if (i && !packed_find(meta, bytes_str(API_PEER_PORT)).p) {
        cat_service_view(i->service, &s);
        meta = s.meta;
        *ret_server = true;
    }
    if (!packed_find(meta, bytes_str(API_PEER_PORT)).p)
        return NULL;
    *ret_port = api_peer_port(meta);
    return cat_node_check(n, bytes_str("serfHealth"));
}

static bool has_failed(const struct cat_record *check)
{
    struct check_view v;

    cat_check_view(check, &v);
    return bytes_is(v.status, "critical");
}

static void put_other(struct json_out *j, const struct api_env *env,
                      const struct cat_node *n, struct filter *f)
{
    struct filter_row row = filter_row(env);
    struct filter_member *m = &row.member;
    struct packed_map tags = {0};
    struct node_view v;
    uint64_t port;
    bool server;
    const struct cat_record *check = member_of_node(n, &port, &server);

    cat_node_view(n->record, &v);
    if (!check || bytes_eq_fold(v.name, env->self->node_name))
        return;
    struct api_self is = {
        .node_id = v.id,
        .datacenter = env->self->datacenter,
        .version = env->self->version,
        .is_server = server,
        .server_port = env->self->server_port,
        .serf_wan_port = env->self->serf_wan_port,
    };
    member_tags(&is, false, &tags);
    *m = (struct filter_member){
        .name = v.name,
        .address = v.address,
        .port = (int64_t)port,
        .status = has_failed(check) ? MEMBER_FAILED : MEMBER_ALIVE,
    };
    put_if_wanted(j, f, &row, &tags);
}

static void put_others(struct json_out *j, const struct api_env *env,
                       struct filter *f)
{
    struct tree_iter it;

    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));)
        put_other(j, env, n, f);
}

/* A server that this one knows from what it says itself. */
static void put_wan_member(struct json_out *j, const struct api_env *env,
                           const struct wan_member *m, struct filter *f)
{
    const struct wan_who *w = &m->who;
    struct filter_row row = filter_row(env);
    struct packed_map tags = {0};
    struct buf name = {0};
    const struct api_self it = {
        .is_server = true,
        .datacenter = bytes_str(w->datacenter),
        .node_id = bytes_str(w->id),
        .server_port = w->server_port,
        .version = env->self->version,
    };
    buf_printf(&name, "%s.%s", w->node, w->datacenter);
    member_tags(&it, true, &tags);
    row.member = (struct filter_member){
        .name = buf_bytes(&name),
        .address = bytes_str(w->address),
        .port = w->port,
        .status = m->alive ? MEMBER_ALIVE : MEMBER_FAILED,
    };
    put_if_wanted(j, f, &row, &tags);
    j->out->bad |= name.bad;
    buf_fini(&name);
}

void read_agent_members(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    bool wan = http_param_value(c->request, "wan").n > 0;
    struct bytes segment = http_param_value(c->request, "segment");
    /* _all is what Consul's command line asks for. */
    if (segment.n && !bytes_is(segment, "_all")) {
        api_error(c, wan ? 400 : 500, "%s",
                  wan ? "Cannot provide a segment with wan=true"
                      : "Network segments are not supported in this version "
                        "of Consul");
        return;
    }
    if (wan && !env->self->is_server) {
        json_nil(&j);
        return;
    }
    json_open(&j, '[');
    put_self(&j, env, wan, c->filter);
    if (!wan)
        put_others(&j, env, c->filter);
    for (size_t i = 0; wan && env->wan && i < env->wan->count; i++)
        put_wan_member(&j, env, &env->wan->members[i], c->filter);
    json_close(&j, ']');
}

/* --- Force-leave --------------------------------------------------------- */

static enum api_next done(struct api_call *c)
{
    c->status = 200;
    c->content_type = NULL;
    return API_ANSWER;
}

/* NAME or NAME.DATACENTER. */
static struct bytes without_datacenter(const struct api_env *env,
                                       struct bytes name)
{
    struct bytes dc = env->self->datacenter;

    if (name.n > dc.n + 1 && bytes_ends(name, dc) &&
        name.p[name.n - dc.n - 1] == '.')
        return bytes_head(name, name.n - dc.n - 1);
    return name;
}

/* A failed member is taken out, with all that its node has; of one that lives it
 * is nothing, as in Consul, where that one would object. */
enum api_next write_force_leave(struct api_call *c, const struct api_env *env,
                                struct plan *p)
{
    enum { NAME_SHOWN_BYTES = 128 };
    struct errtext t = {{0}};
    struct bytes name = without_datacenter(env, c->arg);
    const struct cat_node *n = snapshot_node(env->cat, name);
    uint64_t port;
    bool server;

    if (bytes_eq_fold(name, env->self->node_name))
        return done(c);
    const struct cat_record *check =
        n ? member_of_node(n, &port, &server) : NULL;
    if (!check) {
        api_error(c, 500, "agent: No node found with name '%.*s'",
                  BYTES_ARG(bytes_head(c->arg, NAME_SHOWN_BYTES)));
        return API_ANSWER;
    }
    if (!has_failed(check))
        return done(c);
    enum err e = plan_deregister(p, env->cat, name, (struct bytes){0},
                                 (struct bytes){0}, &t);
    if (e != ERR_OK) {
        api_error(c, 500, "%s", t.s[0] ? t.s : err_text(e));
        return API_ANSWER;
    }
    (void)done(c);
    return p->op_count ? API_WRITE : API_ANSWER;
}
