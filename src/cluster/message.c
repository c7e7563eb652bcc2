/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* JSON that other servers, the own etcd and an earlier run of ours wrote. None
 * of it is trusted: sizes are bounded, IDs are UUIDs, ports are ports. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/impl.h"
#include "http/json_in.h"
#include "http/json_out.h"

#define FIELD(type, name, kind, member)                                        \
    {                                                                          \
        name, NULL, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG    \
    }
#define LIST(type, name, member, table)                                        \
    {                                                                          \
        name, NULL, FIELD_LIST, offsetof(struct type, member), &(table),       \
            JSON_NO_FLAG                                                       \
    }
#define TABLE(fields, type)                                                    \
    {                                                                          \
        fields, sizeof(fields) / sizeof(fields)[0], sizeof(struct type)        \
    }

bool text_take(char *ret, size_t n, struct bytes v)
{
    size_t k = v.n < n ? v.n : n - 1;

    if (k)
        memcpy(ret, v.p, k);
    ret[k] = 0;
    return k == v.n && (k == 0 || !memchr(ret, 0, k));
}

static enum err bad(struct errtext *t, const char *what)
{
    errtext_set(t, "%s is missing or wrong", what);
    return ERR_BAD;
}

/* Letters that a URL and etcd's list of members take as they are. */
static bool is_host(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++) {
        bool ok = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
                  (*s >= '0' && *s <= '9') || strchr(".-_:", *s);
        if (!ok)
            return false;
    }
    return true;
}

static bool is_port(int64_t v)
{
    return v > 0 && v < 65536;
}

/* --- A server in a list --------------------------------------------------- */

struct server_in {
    struct bytes node, id, address;
    int64_t peer_port, server_port;
};

static const struct json_field server_fields[] = {
    FIELD(server_in, "Node", FIELD_STRING, node),
    FIELD(server_in, "ID", FIELD_STRING, id),
    FIELD(server_in, "Address", FIELD_STRING, address),
    FIELD(server_in, "PeerPort", FIELD_INT, peer_port),
    FIELD(server_in, "ServerPort", FIELD_INT, server_port),
};
static const struct json_table server_table = TABLE(server_fields, server_in);

static bool server_take(const struct server_in *in, struct set_server *ret)
{
    *ret = (struct set_server){.peer_port = (uint16_t)in->peer_port,
                               .server_port = (uint16_t)in->server_port};
    return bytes_uuid(in->id) && text_take(ret->id, sizeof ret->id, in->id) &&
           text_take(ret->node, sizeof ret->node, in->node) && ret->node[0] &&
           text_take(ret->address, sizeof ret->address, in->address) &&
           is_host(ret->address) && is_port(in->peer_port) &&
           is_port(in->server_port);
}

static enum err servers_take(const struct json_list *in, size_t max,
                             struct set_server *ret, size_t *ret_n,
                             struct errtext *t)
{
    const struct server_in *v = in->v;

    if (in->n > max) {
        errtext_set(t, "a list of %zu servers, the limit is %zu", in->n, max);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < in->n; i++)
        if (!server_take(&v[i], &ret[i]))
            return bad(t, "a server's Node, ID, Address or port");
    *ret_n = in->n;
    return ERR_OK;
}

static void server_put(struct json_out *j, const struct set_server *s)
{
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, bytes_str(s->node));
    json_key(j, "ID");
    json_str(j, bytes_str(s->id));
    json_key(j, "Address");
    json_str(j, bytes_str(s->address));
    json_key(j, "PeerPort");
    json_u64(j, s->peer_port);
    json_key(j, "ServerPort");
    json_u64(j, s->server_port);
    json_close(j, '}');
}

static void set_put(struct json_out *j, const struct record *r)
{
    json_key(j, "Set");
    json_open(j, '[');
    for (size_t i = 0; i < r->set_count; i++)
        server_put(j, &r->set[i]);
    json_close(j, ']');
}

static void text_put(struct json_out *j, const char *key, const char *value)
{
    json_key(j, key);
    json_str(j, bytes_str(value));
}

static void u64_put(struct json_out *j, const char *key, uint64_t value)
{
    json_key(j, key);
    json_u64(j, value);
}

/* --- hello ---------------------------------------------------------------- */

struct hello_in {
    struct hello h;
    struct json_list sees;
};

static const struct json_field hello_fields[] = {
    FIELD(hello_in, "Node", FIELD_STRING, h.node),
    FIELD(hello_in, "ID", FIELD_STRING, h.id),
    FIELD(hello_in, "Datacenter", FIELD_STRING, h.datacenter),
    FIELD(hello_in, "Address", FIELD_STRING, h.address),
    FIELD(hello_in, "Phase", FIELD_STRING, h.phase),
    FIELD(hello_in, "Token", FIELD_STRING, h.token),
    FIELD(hello_in, "Version", FIELD_STRING, h.version),
    FIELD(hello_in, "ClusterID", FIELD_STRING, h.cluster_id),
    FIELD(hello_in, "Protocol", FIELD_INT, h.protocol),
    FIELD(hello_in, "PeerPort", FIELD_INT, h.peer_port),
    FIELD(hello_in, "ServerPort", FIELD_INT, h.server_port),
    FIELD(hello_in, "BootstrapExpect", FIELD_INT, h.expect),
    FIELD(hello_in, "StoreIndex", FIELD_INT, h.store_index),
    FIELD(hello_in, "StoreTerm", FIELD_INT, h.store_term),
    FIELD(hello_in, "StoreSize", FIELD_INT, h.store_size),
    FIELD(hello_in, "StoreUsed", FIELD_INT, h.store_used),
    FIELD(hello_in, "DiskFree", FIELD_INT, h.disk_free),
    FIELD(hello_in, "DiskFull", FIELD_BOOL, h.disk_full),
    FIELD(hello_in, "APIVersion", FIELD_STRING, h.api_version),
    FIELD(hello_in, "Server", FIELD_BOOL, h.server),
    FIELD(hello_in, "Ready", FIELD_BOOL, h.ready),
    FIELD(hello_in, "Fresh", FIELD_BOOL, h.fresh),
    LIST(hello_in, "Sees", sees, server_table),
};
static const struct json_table hello_table = TABLE(hello_fields, hello_in);

enum err hello_read(struct bytes text, struct arena *a, struct hello *ret,
                    struct errtext *t)
{
    struct hello_in in;
    enum err e = json_decode(text, &hello_table, &in, a, t);

    if (e != ERR_OK)
        return e;
    *ret = in.h;
    if (!bytes_uuid(ret->id) || ret->node.n == 0)
        return bad(t, "Node or ID");
    if (in.sees.n > GATHER_SEEN_MAX)
        in.sees.n = GATHER_SEEN_MAX;
    ret->sees = arena_alloc(a, (in.sees.n + 1) * sizeof *ret->sees);
    return ret->sees ? servers_take(&in.sees, GATHER_SEEN_MAX, ret->sees,
                                    &ret->sees_count, t)
                     : ERR_NOMEM;
}

/* --- Locks ---------------------------------------------------------------- */

struct proposal_in {
    struct bytes token, proposer, datacenter;
    int64_t expect;
    struct json_list set;
};

static const struct json_field proposal_fields[] = {
    FIELD(proposal_in, "Token", FIELD_STRING, token),
    FIELD(proposal_in, "Proposer", FIELD_STRING, proposer),
    FIELD(proposal_in, "Datacenter", FIELD_STRING, datacenter),
    FIELD(proposal_in, "Expect", FIELD_INT, expect),
    LIST(proposal_in, "Set", set, server_table),
};
static const struct json_table proposal_table =
    TABLE(proposal_fields, proposal_in);

enum err proposal_read(struct bytes text, struct arena *a, struct proposal *ret,
                       struct errtext *t)
{
    struct proposal_in in;
    enum err e = json_decode(text, &proposal_table, &in, a, t);

    if (e != ERR_OK)
        return e;
    *ret = (struct proposal){in.token, in.proposer, in.datacenter, in.expect};
    if (!bytes_uuid(in.token) || !bytes_uuid(in.proposer))
        return bad(t, "Token or Proposer");
    return servers_take(&in.set, GATHER_EXPECT_MAX, ret->set, &ret->set_count,
                        t);
}

void proposal_put(struct buf *out, const struct cluster *c)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    text_put(&j, "Token", c->record.token);
    text_put(&j, "Proposer", c->record.proposer);
    text_put(&j, "Datacenter", c->options.datacenter);
    u64_put(&j, "Expect", c->options.expect);
    set_put(&j, &c->record);
    json_close(&j, '}');
}

/* --- Who joins ------------------------------------------------------------ */

static const struct json_field joiner_fields[] = {
    FIELD(joiner, "Node", FIELD_STRING, node),
    FIELD(joiner, "ID", FIELD_STRING, id),
    FIELD(joiner, "Datacenter", FIELD_STRING, datacenter),
    FIELD(joiner, "Address", FIELD_STRING, address),
    FIELD(joiner, "Version", FIELD_STRING, version),
    FIELD(joiner, "Protocol", FIELD_INT, protocol),
    FIELD(joiner, "PeerPort", FIELD_INT, peer_port),
    FIELD(joiner, "ServerPort", FIELD_INT, server_port),
};
static const struct json_table joiner_table = TABLE(joiner_fields, joiner);

enum err joiner_read(struct bytes text, struct arena *a, struct joiner *ret,
                     struct errtext *t)
{
    struct set_server s;
    enum err e = json_decode(text, &joiner_table, ret, a, t);

    if (e != ERR_OK)
        return e;
    if (!server_take(&(struct server_in){ret->node, ret->id, ret->address,
                                         ret->peer_port, ret->server_port},
                     &s))
        return bad(t, "Node, ID, Address, PeerPort or ServerPort");
    return ERR_OK;
}

void joiner_put(struct buf *out, const struct cluster *c)
{
    const struct cluster_options *o = &c->options;
    struct json_out j = json_out(out);

    json_open(&j, '{');
    text_put(&j, "Node", o->node_name);
    text_put(&j, "ID", o->node_id);
    text_put(&j, "Datacenter", o->datacenter);
    text_put(&j, "Address", o->address);
    text_put(&j, "Version", o->version);
    u64_put(&j, "Protocol", CLUSTER_PROTOCOL);
    u64_put(&j, "PeerPort", (uint64_t)o->peer_port);
    u64_put(&j, "ServerPort", (uint64_t)o->server_port);
    json_close(&j, '}');
}

struct joined_in {
    struct bytes token, initial;
};

static const struct json_field joined_fields[] = {
    FIELD(joined_in, "Token", FIELD_STRING, token),
    FIELD(joined_in, "Initial", FIELD_STRING, initial),
};
static const struct json_table joined_table = TABLE(joined_fields, joined_in);

enum err joined_read(struct bytes text, struct arena *a,
                     struct bytes *ret_token, struct bytes *ret_initial,
                     struct errtext *t)
{
    struct joined_in in;
    enum err e = json_decode(text, &joined_table, &in, a, t);

    if (e != ERR_OK)
        return e;
    if (!bytes_uuid(in.token) || in.initial.n == 0 ||
        in.initial.n >= INITIAL_MAX)
        return bad(t, "Token or Initial");
    *ret_token = in.token;
    *ret_initial = in.initial;
    return ERR_OK;
}

void joined_put(struct buf *out, const char *token, const char *initial)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    text_put(&j, "Token", token);
    text_put(&j, "Initial", initial);
    json_close(&j, '}');
}

/* --- The own record ------------------------------------------------------- */

struct record_in {
    int64_t format;
    struct bytes state, node_id, node, datacenter, token, proposer, url,
        initial;
    bool existing, ran;
    struct json_list set;
};

static const struct json_field record_fields[] = {
    FIELD(record_in, "Format", FIELD_INT, format),
    FIELD(record_in, "State", FIELD_STRING, state),
    FIELD(record_in, "ID", FIELD_STRING, node_id),
    FIELD(record_in, "Node", FIELD_STRING, node),
    FIELD(record_in, "Datacenter", FIELD_STRING, datacenter),
    FIELD(record_in, "Token", FIELD_STRING, token),
    FIELD(record_in, "Proposer", FIELD_STRING, proposer),
    FIELD(record_in, "URL", FIELD_STRING, url),
    FIELD(record_in, "Initial", FIELD_STRING, initial),
    FIELD(record_in, "Existing", FIELD_BOOL, existing),
    FIELD(record_in, "Ran", FIELD_BOOL, ran),
    LIST(record_in, "Set", set, server_table),
};
static const struct json_table record_table = TABLE(record_fields, record_in);

enum { RECORD_FORMAT = 1 };

static enum err record_take(const struct record_in *in, struct record *ret,
                            struct errtext *t)
{
    if (in->format != RECORD_FORMAT) {
        errtext_set(t, "has format %lld, this version knows %d",
                    (long long)in->format, RECORD_FORMAT);
        return ERR_BAD;
    }
    if (!bytes_is(in->state, "member") && !bytes_is(in->state, "locked"))
        return bad(t, "State");
    *ret = (struct record){
        .state = bytes_is(in->state, "member") ? RECORD_MEMBER : RECORD_LOCKED,
        .existing = in->existing,
        .ran = in->ran,
    };
    if (!bytes_uuid(in->node_id) || !bytes_uuid(in->token) ||
        !text_take(ret->node_id, sizeof ret->node_id, in->node_id) ||
        !text_take(ret->node, sizeof ret->node, in->node) ||
        !text_take(ret->datacenter, sizeof ret->datacenter, in->datacenter) ||
        !text_take(ret->token, sizeof ret->token, in->token) ||
        !text_take(ret->proposer, sizeof ret->proposer, in->proposer) ||
        !text_take(ret->url, sizeof ret->url, in->url) ||
        !text_take(ret->initial, sizeof ret->initial, in->initial))
        return bad(t, "a member");
    return servers_take(&in->set, GATHER_EXPECT_MAX, ret->set, &ret->set_count,
                        t);
}

enum err record_from(struct bytes text, struct record *ret, struct errtext *t)
{
    struct record_in in;
    struct arena a;

    arena_init(&a, 1 << 20);
    enum err e = json_decode(text, &record_table, &in, &a, t);
    if (e == ERR_OK)
        e = record_take(&in, ret, t);
    arena_fini(&a);
    return e;
}

void record_put(struct buf *out, const struct record *r)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    u64_put(&j, "Format", RECORD_FORMAT);
    text_put(&j, "State", r->state == RECORD_MEMBER ? "member" : "locked");
    text_put(&j, "ID", r->node_id);
    text_put(&j, "Node", r->node);
    text_put(&j, "Datacenter", r->datacenter);
    text_put(&j, "Token", r->token);
    text_put(&j, "Proposer", r->proposer);
    text_put(&j, "URL", r->url);
    text_put(&j, "Initial", r->initial);
    json_key(&j, "Existing");
    json_bool(&j, r->existing);
    json_key(&j, "Ran");
    json_bool(&j, r->ran);
    set_put(&j, r);
    json_close(&j, '}');
    buf_putc(out, '\n');
}
