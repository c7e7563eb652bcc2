/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What servers of different datacenters tell each other. */
#include "api/impl.h"
#include "api/table.h"

struct wan_in {
    struct bytes node, id, datacenter, address, version;
    int64_t port, server_port;
    struct bytes coord; /* JSON text */
};

struct word_in {
    int64_t protocol;
    struct wan_in *from;
    struct json_list members; /* of wan_in */
    bool leaving;
};

/* clang-format off */
static const struct json_field wan_fields[] = {
    FIELD(wan_in, "Node", NULL, FIELD_STRING, node),
    FIELD(wan_in, "ID", NULL, FIELD_STRING, id),
    FIELD(wan_in, "Datacenter", NULL, FIELD_STRING, datacenter),
    FIELD(wan_in, "Address", NULL, FIELD_STRING, address),
    FIELD(wan_in, "Port", NULL, FIELD_INT, port),
    FIELD(wan_in, "ServerPort", NULL, FIELD_INT, server_port),
    FIELD(wan_in, "Version", NULL, FIELD_STRING, version),
    FIELD(wan_in, "Coord", NULL, FIELD_RAW, coord),
};
static const struct json_table wan_table = TABLE(wan_fields, wan_in);

static const struct json_field word_fields[] = {
    FIELD(word_in, "Protocol", NULL, FIELD_INT, protocol),
    FIELD_OF(word_in, "From", NULL, FIELD_OBJECT, from, &wan_table),
    FIELD(word_in, "Leaving", NULL, FIELD_BOOL, leaving),
    FIELD_OF(word_in, "Members", NULL, FIELD_LIST, members, &wan_table),
};
static const struct json_table word_table = TABLE(word_fields, word_in);
/* clang-format on */

/* --- In ------------------------------------------------------------------ */

/* Too long for its place: none, which wan_check refuses by name. */
static void take_text(char *to, size_t cap, struct bytes text)
{
    size_t n = text.n < cap ? text.n : 0;

    if (n)
        memcpy(to, text.p, n);
    to[n] = 0;
}

static void take_who(const struct wan_in *in, struct arena *a,
                     struct wan_who *ret)
{
    struct errtext ignored;

    *ret = (struct wan_who){
        .port = in->port < 1 || in->port > 65535 ? 0 : (int)in->port,
        .server_port = in->server_port < 1 || in->server_port > 65535
                           ? 0
                           : (int)in->server_port,
        .at = coordinate_origin(),
    };
    take_text(ret->node, sizeof ret->node, in->node);
    take_text(ret->id, sizeof ret->id, in->id);
    take_text(ret->datacenter, sizeof ret->datacenter, in->datacenter);
    take_text(ret->address, sizeof ret->address, in->address);
    take_text(ret->version, sizeof ret->version, in->version);
    if (in->coord.n &&
        coordinate_from_json(in->coord, a, &ret->at, &ignored) != ERR_OK)
        ret->at = coordinate_origin();
}

enum err api_wan_parse(struct bytes body, struct arena *a,
                       struct api_wan_word *ret, struct errtext *t)
{
    struct word_in in;
    enum err e = json_decode(body, &word_table, &in, a, t);

    if (e != ERR_OK)
        return e;
    if (in.protocol != API_PEER_PROTOCOL || !in.from) {
        errtext_set(t,
                    "servers here speak protocol %d among datacenters, this "
                    "one %lld: update the older ones",
                    API_PEER_PROTOCOL, (long long)in.protocol);
        return ERR_BAD;
    }
    *ret = (struct api_wan_word){.leaving = in.leaving};
    take_who(in.from, a, &ret->from);
    const struct wan_in *v = in.members.v;
    if (in.members.n > WAN_MEMBERS_MAX) {
        errtext_set(t, "%zu servers are told of, the limit is %d", in.members.n,
                    WAN_MEMBERS_MAX);
        return ERR_LIMIT;
    }
    ret->others = arena_alloc(a, (in.members.n + 1) * sizeof *ret->others);
    if (!ret->others)
        return ERR_NOMEM;
    for (size_t i = 0; i < in.members.n; i++)
        take_who(&v[i], a, &ret->others[ret->count++]);
    return wan_check(&ret->from, t);
}

/* --- Out ----------------------------------------------------------------- */

static void put_who(struct json_out *j, const struct wan_who *w)
{
    json_open(j, '{');
    json_member_str(j, "Node", bytes_str(w->node));
    json_member_str(j, "ID", bytes_str(w->id));
    json_member_str(j, "Datacenter", bytes_str(w->datacenter));
    json_member_str(j, "Address", bytes_str(w->address));
    json_key(j, "Port");
    json_i64(j, w->port);
    json_key(j, "ServerPort");
    json_i64(j, w->server_port);
    json_member_str(j, "Version", bytes_str(w->version));
    json_key(j, "Coord");
    encode_coordinate(j, &w->at);
    json_close(j, '}');
}

/* Only those that live: the others speak for themselves, or nobody knows. */
void api_wan_put(struct buf *out, const struct wan_who *self,
                 const struct wan_member *others, size_t n, bool leaving)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    json_key(&j, "Protocol");
    json_i64(&j, API_PEER_PROTOCOL);
    json_key(&j, "From");
    put_who(&j, self);
    json_key(&j, "Leaving");
    json_bool(&j, leaving);
    json_key(&j, "Members");
    json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        if (others[i].alive)
            put_who(&j, &others[i].who);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* --- The route ----------------------------------------------------------- */

const struct api_dc *api_wan_dc(const struct api_wan *w, struct bytes name)
{
    for (size_t i = 0; w && i < w->dc_count; i++)
        if (bytes_eq(w->dcs[i].name, name))
            return &w->dcs[i];
    return NULL;
}

static bool is_of(const struct wan_member *m, struct bytes dc, bool alive)
{
    return m->alive == alive && bytes_is(dc, m->who.datacenter);
}

size_t api_wan_count(const struct api_wan *w, struct bytes dc, bool alive)
{
    size_t n = 0;

    for (size_t i = 0; w && i < w->count; i++)
        n += is_of(&w->members[i], dc, alive);
    return n;
}

void api_wan_address(const struct api_wan *w, struct bytes dc, bool alive,
                     size_t nth, char ret[API_WAN_ADDRESS_MAX])
{
    for (size_t i = 0; i < w->count; i++) {
        const struct wan_member *m = &w->members[i];
        if (!is_of(m, dc, alive) || nth--)
            continue;
        net_host_port(ret, API_WAN_ADDRESS_MAX, bytes_str(m->who.address),
                      (uint64_t)m->who.port);
        return;
    }
}

static bool is_same_name(const struct wan_who *a, const struct wan_who *b)
{
    return strcmp(a->datacenter, b->datacenter) == 0 &&
           bytes_eq_fold(bytes_str(a->node), bytes_str(b->node));
}

/* Of the own datacenter, and none of its servers: somebody else gave his the same
 * name. */
static bool is_stranger(const struct api_env *env, const struct wan_who *who)
{
    if (!bytes_is(env->self->datacenter, who->datacenter))
        return false;
    const struct cat_node *n = snapshot_node(env->cat, bytes_str(who->node));
    return !n || !cat_node_service(n, bytes_str("consul"));
}

static enum err may_join(const struct api_env *env, const struct wan_who *who,
                         struct errtext *t)
{
    const struct wan_who *self = env->wan->self;

    if (strcmp(self->id, who->id) == 0)
        return ERR_OK;
    if (is_same_name(self, who)) {
        errtext_set(t,
                    "two servers call themselves \"%.64s.%.64s\": ID %s and ID "
                    "%s; give one another node_name, or its datacenter another "
                    "name",
                    who->node, who->datacenter, self->id, who->id);
        return ERR_CONFLICT;
    }
    if (is_stranger(env, who)) {
        errtext_set(t,
                    "this server's datacenter and that of \"%.64s\" (ID %s) "
                    "are both called \"%.64s\", and it is none of its servers: "
                    "give one of them another name",
                    who->node, who->id, who->datacenter);
        return ERR_CONFLICT;
    }
    return ERR_OK;
}

/* One whom all threads have in their list already. */
static bool is_known(const struct api_wan *w, const struct wan_who *who)
{
    for (size_t i = 0; i < w->count; i++)
        if (w->members[i].alive && strcmp(w->members[i].who.id, who->id) == 0)
            return true;
    return strcmp(w->self->id, who->id) == 0;
}

enum api_next peer_wan_hear(struct api_call *c, const struct api_env *env,
                            struct agent_op **ret)
{
    (void)env;
    return peer_pass_on(c, AGENT_HEAR_WAN, ret);
}

enum api_next prepare_peer_wan(struct api_call *c, const struct api_env *env)
{
    struct api_wan_word *w = arena_zalloc(c->arena, sizeof *w);
    struct errtext t = {{0}};

    if (!env->wan) {
        api_error(c, 503,
                  "this server joins no datacenters: ports.serf_wan is "
                  "off, or bind_addr is open and there is no key");
        return API_ANSWER;
    }
    enum err e =
        w ? api_wan_parse(c->request->body, c->arena, w, &t) : ERR_NOMEM;
    if (e == ERR_OK)
        e = may_join(env, &w->from, &t);
    if (e != ERR_OK) {
        api_error(c, e == ERR_CONFLICT ? 409 : err_http_status(e), "%s",
                  t.s[0] ? t.s : err_text(e));
        return API_ANSWER;
    }
    if (!w->leaving && !is_known(env->wan, &w->from))
        return API_READ; /* on the core thread: peer_wan_hear */
    api_json(c);
    api_wan_put(&c->body, env->wan->self, env->wan->members, env->wan->count,
                false);
    c->wan_word = w;
    return API_READ;
}
