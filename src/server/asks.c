/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/asks.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/net.h"
#include "http/json_in.h"
#include "loop/peer.h"
#include "server/link.h"

/* --- Who ----------------------------------------------------------------- */

static struct asked *find(const struct asks *a, struct bytes node)
{
    for (size_t i = 0; i < a->n; i++)
        if (bytes_eq_fold(a->v[i]->node, node))
            return a->v[i];
    return NULL;
}

static struct asked *add(struct asks *a, struct bytes node)
{
    struct asked *x =
        a->n < API_SERVERS_MAX ? calloc(1, sizeof *x + node.n + 1) : NULL;

    if (!x) {
        a->too_many = true;
        return NULL;
    }
    memcpy(x->text, node.p, node.n);
    x->node = bytes_of(x->text, node.n);
    x->asks = a;
    x->gap_ms = ASKS_GAP_MIN_MS;
    errtext_set(&x->why, "it has not answered yet");
    a->v[a->n++] = x;
    return x;
}

static void drop(struct asked *x)
{
    if (x->fetch)
        fetch_cancel(x->fetch);
    buf_fini(&x->waiting);
    buf_fini(&x->unproven);
    free(x);
}

/* There is such a server. port 0: nobody can ask it. */
static void server_is(struct asks *a, struct bytes node, struct bytes address,
                      uint64_t port)
{
    struct asked *x = find(a, node);

    if (!x)
        x = add(a, node);
    if (!x)
        return;
    x->listed = true;
    if (port)
        net_host_port(x->to, sizeof x->to, bytes_head(address, 255), port);
    else
        x->to[0] = '\0';
}

static void peer_is(void *ctx, const struct api_peer *p)
{
    struct asks *a = ctx;

    if (!bytes_eq_fold(p->node, a->serving->process->self.node_name))
        server_is(a, p->node, p->address, p->port);
}

static void forget_unlisted(struct asks *a)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->n; i++) {
        if (a->v[i]->listed)
            a->v[kept++] = a->v[i];
        else
            drop(a->v[i]);
    }
    a->n = kept;
}

/* Those that the catalog names now. */
static void list_servers(struct asks *a)
{
    struct api_env env = serving_env(a->serving);

    for (size_t i = 0; i < a->n; i++)
        a->v[i]->listed = false;
    api_each_server(&env, peer_is, a);
    forget_unlisted(a);
}

void asks_init(struct asks *a, struct serving *s, struct bytes node,
               struct bytes name, struct bytes id)
{
    *a = (struct asks){.serving = s, .node = node, .name = name, .id = id};
}

void asks_fini(struct asks *a)
{
    asks_hurry(a);
    for (size_t i = 0; i < a->n; i++)
        drop(a->v[i]);
    a->n = 0;
}

void asks_hurry(struct asks *a)
{
    a->ready = NULL;
    if (a->list)
        fetch_cancel(a->list);
    a->list = NULL;
}

static void one_less(struct asks *a)
{
    void (*ready)(void *ctx) = a->ready;

    if (--a->outstanding > 0 || !ready)
        return;
    a->ready = NULL;
    ready(a->ctx);
}

/* --- Answers ------------------------------------------------------------- */

struct answer_in {
    struct bytes node, drain, waiting, unproven;
    int64_t index, holding, readers, unknown_ms, dns_ms, more;
    bool complete;
};

/* clang-format off */
#define ANSWER(name, kind, member) {name, NULL, kind, offsetof(struct answer_in, member), NULL, JSON_NO_FLAG}
static const struct json_field answer_fields[] = {
    ANSWER("Node", FIELD_STRING, node),
    ANSWER("Drain", FIELD_STRING, drain),
    ANSWER("Index", FIELD_INT, index),
    ANSWER("Holding", FIELD_INT, holding),
    ANSWER("Readers", FIELD_INT, readers),
    ANSWER("UnprovenComplete", FIELD_BOOL, complete),
    ANSWER("UnknownMs", FIELD_INT, unknown_ms),
    ANSWER("DnsMs", FIELD_INT, dns_ms),
    ANSWER("WaitingMore", FIELD_INT, more),
    ANSWER("Waiting", FIELD_RAW, waiting),
    ANSWER("Unproven", FIELD_RAW, unproven),
};
/* clang-format on */
static const struct json_table answer_table = {
    answer_fields, sizeof answer_fields / sizeof *answer_fields,
    sizeof(struct answer_in)};

/* Never less than what it says. */
static uint64_t count_of(int64_t v)
{
    return v < 0 ? UINT64_MAX : (uint64_t)v;
}

static void take_rows(struct buf *to, struct bytes list)
{
    buf_reset(to);
    if (list.n > 2 && list.p[0] == '[')
        buf_put(to, bytes_of(list.p + 1, list.n - 2));
}

static void failed(struct asked *x, const char *why)
{
    x->answered = false;
    x->failed = true;
    errtext_set(&x->why, "%s", why);
    x->gap_ms = ASKS_GAP_MAX_MS;
}

/* False: it is none, and why is set. */
static bool read_answer(struct asked *x, const struct fetch_result *r,
                        struct answer_in *in, struct arena *arena)
{
    struct errtext t = {{0}};
    char why[200];

    if (r->err != ERR_OK) {
        failed(x, r->text.s);
    } else if (r->status == 404 && x->handle[0]) {
        failed(x, "it has been started again meanwhile");
        x->handle[0] = '\0';
        x->gap_ms = ASKS_GAP_MIN_MS;
    } else if (r->status != 200) {
        snprintf(why, sizeof why, "it answers %d: %.*s", r->status,
                 BYTES_ARG(bytes_head(r->body, 120)));
        failed(x, why);
    } else if (json_decode(r->body, &answer_table, in, arena, &t) != ERR_OK) {
        failed(x, "it answers something else than a server does");
    } else if (!bytes_eq_fold(in->node, x->node)) {
        snprintf(why, sizeof why, "at its address %.80s answers \"%.*s\"",
                 x->to, BYTES_ARG(bytes_head(in->node, 64)));
        failed(x, why);
    } else {
        return true;
    }
    return false;
}

static void take_answer(struct asked *x, const struct answer_in *in)
{
    if (in->drain.n) {
        struct bytes id = bytes_head(in->drain, sizeof x->handle - 1);
        memcpy(x->handle, id.p, id.n);
        x->handle[id.n] = '\0';
        x->gap_ms = ASKS_GAP_MIN_MS;
        return;
    }
    x->answered = true;
    x->state = (struct holders_state){
        .index = in->index > 0 ? (uint64_t)in->index : 0,
        .holding = count_of(in->holding),
        .unproven = count_of(in->readers),
        .unproven_complete = in->complete,
        .unknown_ms = count_of(in->unknown_ms),
        .dns_left_ms = count_of(in->dns_ms),
    };
    x->more = count_of(in->more);
    take_rows(&x->waiting, in->waiting);
    take_rows(&x->unproven, in->unproven);
    x->gap_ms =
        x->gap_ms * 2 < ASKS_GAP_MAX_MS ? x->gap_ms * 2 : ASKS_GAP_MAX_MS;
}

static void told(void *ctx, const struct fetch_result *r)
{
    struct asked *x = ctx;
    struct answer_in in;
    struct arena arena;

    x->fetch = NULL;
    arena_init(&arena, 0);
    if (read_answer(x, r, &in, &arena))
        take_answer(x, &in);
    arena_fini(&arena);
    x->next_ms = uv_now(&x->asks->serving->loop) + x->gap_ms;
    one_less(x->asks);
}

/* --- Questions ----------------------------------------------------------- */

static void put_instance(struct json_out *j, const struct asks *a)
{
    json_key(j, "Node");
    json_str(j, a->node);
    json_key(j, "Name");
    json_str(j, a->name);
    json_key(j, "ID");
    json_str(j, a->id);
}

/* need 0: to look who has it now. */
static void ask(struct asked *x, uint64_t need)
{
    struct peers *peers = serving_peers(x->asks->serving);
    char target[64] = "/v1/peer/drain/";
    struct buf body = {0};
    struct json_out j = json_out(&body);
    bool looks = need && x->handle[0];

    json_open(&j, '{');
    if (looks) {
        json_key(&j, "Need");
        json_u64(&j, need);
    } else {
        put_instance(&j, x->asks);
    }
    json_close(&j, '}');
    if (looks)
        snprintf(target + strlen(target), sizeof target - strlen(target), "%s",
                 x->handle);
    const struct peer_request q = {
        .to = x->to,
        .method = "PUT",
        .target = target,
        .body = buf_bytes(&body),
        .timeout_ms = looks ? ASKS_LOOK_MS : ASKS_BEGIN_MS,
    };
    if (!peers || body.bad ||
        peer_ask(peers, &q, told, x, &x->fetch) != ERR_OK) {
        failed(x, "out of memory");
        x->next_ms = uv_now(&x->asks->serving->loop) + x->gap_ms;
    } else {
        x->asks->outstanding++;
    }
    buf_fini(&body);
}

static void ask_due(struct asks *a, uint64_t need)
{
    uint64_t now = uv_now(&a->serving->loop);

    for (size_t i = 0; i < a->n; i++) {
        struct asked *x = a->v[i];
        if (x->fetch || now < x->next_ms)
            continue;
        if (x->to[0])
            ask(x, need);
        else
            failed(x, "it has no listener for peers (ports.serf_lan)");
    }
}

/* --- Agents -------------------------------------------------------------- */

struct server_in {
    struct bytes node, address;
    int64_t port;
};

struct servers_in {
    struct json_list servers;
    struct json_strings unreachable;
    bool ready;
};

/* clang-format off */
static const struct json_field server_fields[] = {
    {"Node", NULL, FIELD_STRING, offsetof(struct server_in, node), NULL, JSON_NO_FLAG},
    {"Address", NULL, FIELD_STRING, offsetof(struct server_in, address), NULL, JSON_NO_FLAG},
    {"PeerPort", NULL, FIELD_INT, offsetof(struct server_in, port), NULL, JSON_NO_FLAG},
};
static const struct json_table server_table = {server_fields, 3, sizeof(struct server_in)};
static const struct json_field servers_fields[] = {
    {"Servers", NULL, FIELD_LIST, offsetof(struct servers_in, servers), &server_table, JSON_NO_FLAG},
    {"Unreachable", NULL, FIELD_STRINGS, offsetof(struct servers_in, unreachable), NULL, JSON_NO_FLAG},
    {"Ready", NULL, FIELD_BOOL, offsetof(struct servers_in, ready), NULL, JSON_NO_FLAG},
};
static const struct json_table servers_table = {servers_fields, 3, sizeof(struct servers_in)};
/* clang-format on */

static bool take_list(struct asks *a, struct bytes text)
{
    struct servers_in in;
    struct errtext t = {{0}};
    struct arena arena;

    arena_init(&arena, 0);
    bool ok = json_decode(text, &servers_table, &in, &arena, &t) == ERR_OK &&
              in.ready && in.servers.n + in.unreachable.n > 0;
    const struct server_in *v = in.servers.v;
    for (size_t i = 0; ok && i < in.servers.n; i++)
        server_is(a, v[i].node, v[i].address,
                  v[i].port > 0 && v[i].port <= 65535 ? (uint64_t)v[i].port
                                                      : 0);
    for (size_t i = 0; ok && i < in.unreachable.n; i++)
        server_is(a, in.unreachable.v[i], (struct bytes){NULL, 0}, 0);
    arena_fini(&arena);
    return ok;
}

static void list_told(void *ctx, const struct fetch_result *r)
{
    struct asks *a = ctx;

    a->list = NULL;
    a->listed = r->err == ERR_OK && r->status == 200 && take_list(a, r->body);
    if (a->listed) {
        ask_due(a, 0);
    } else {
        a->list_failed = true;
        a->list_at++;
        a->list_next_ms = uv_now(&a->serving->loop) + ASKS_GAP_MAX_MS;
        errtext_set(&a->list_why, "%s",
                    r->err != ERR_OK ? r->text.s : "it has no leader");
    }
    one_less(a);
}

static void ask_list(struct asks *a)
{
    struct peers *peers = serving_peers(a->serving);
    const struct server_list *l = atomic_load(&a->serving->process->servers);

    if (a->list || uv_now(&a->serving->loop) < a->list_next_ms)
        return;
    errtext_set(&a->list_why, "no server is known");
    a->list_failed = true;
    if (!peers || !l || l->n == 0)
        return;
    const struct peer_request q = {.to = l->v[a->list_at % l->n],
                                   .target = "/v1/peer/hello",
                                   .timeout_ms = ASKS_BEGIN_MS};
    if (peer_ask(peers, &q, list_told, a, &a->list) != ERR_OK)
        return;
    a->list_failed = false;
    a->outstanding++;
}

/* --- When ---------------------------------------------------------------- */

bool asks_begin(struct asks *a, void (*ready)(void *ctx), void *ctx)
{
    a->ready = ready;
    a->ctx = ctx;
    if (a->serving->process->link) {
        ask_list(a);
    } else {
        list_servers(a);
        ask_due(a, 0);
    }
    if (a->outstanding == 0)
        a->ready = NULL;
    return a->outstanding > 0;
}

void asks_round(struct asks *a, uint64_t need)
{
    if (!a->serving->process->link)
        list_servers(a);
    else if (!a->listed)
        ask_list(a);
    ask_due(a, need);
}
