/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/peer_serve.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/net.h"
#include "duty/liveness.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "http/response.h"
#include "loop/peer.h"
#include "server/drain_peer.h"
#include "server/events.h"
#include "server/gate.h"
#include "server/guard.h"
#include "server/presence.h"
#include "server/subscribers.h"

struct peers *serving_peers(struct serving *s)
{
    if (!s->peers && peers_new(&s->loop, s->process->psk, &s->peers) != ERR_OK)
        s->peers = NULL;
    return s->peers;
}

void peer_answer(struct serving *s, struct conn *c, struct api_call *call)
{
    serving_answer_call(s, c, call, 1, false);
    api_call_fini(call);
}

struct peer_wait *peer_wait_begin(struct serving *s, struct conn *c,
                                  struct api_call *call)
{
    struct peer_wait *p = calloc(1, sizeof *p);

    if (!p) {
        api_error(call, 500, "out of memory");
        peer_answer(s, c, call);
        return NULL;
    }
    *p = (struct peer_wait){.serving = s, .conn = c, .call = *call};
    ((struct conn_state *)conn_user(c))->peer_wait = p;
    return p;
}

void peer_wait_end(struct peer_wait *p)
{
    if (p->conn) {
        ((struct conn_state *)conn_user(p->conn))->peer_wait = NULL;
        serving_answer_call(p->serving, p->conn, &p->call, 1, false);
    }
    api_call_fini(&p->call);
    free(p);
}

static void refuse(struct serving *s, struct conn *c, struct api_call *call,
                   const char *text)
{
    api_error(call, 400, "%s", text);
    peer_answer(s, c, call);
}

/* --- Beats --------------------------------------------------------------- */

enum { BEATEN_AGE_MS = 100 };

struct beat_in {
    struct bytes node, address;
    int64_t port;
    bool patient;
};

/* clang-format off */
static const struct json_field beat_fields[] = {
    {"Node", NULL, FIELD_STRING, offsetof(struct beat_in, node), NULL, JSON_NO_FLAG},
    {"Address", NULL, FIELD_STRING, offsetof(struct beat_in, address), NULL, JSON_NO_FLAG},
    {"Port", NULL, FIELD_INT, offsetof(struct beat_in, port), NULL, JSON_NO_FLAG},
    {"Patient", NULL, FIELD_BOOL, offsetof(struct beat_in, patient), NULL, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table beat_table = {beat_fields, 4,
                                             sizeof(struct beat_in)};

static void put_beaten(struct json_out *j, uint64_t next_ms, uint64_t age_ms)
{
    json_open(j, '{');
    json_member_u64(j, "BeatMs", next_ms);
    json_member_u64(j, "AgeMs", age_ms);
    json_close(j, '}');
}

/* The answer of almost all; where there are many it is made once for all that
 * are read together, and tells an age that is rounded up: never too young. */
static struct shared *beaten(struct serving *s, uint64_t next_ms)
{
    struct buf head = {0}, body = {0};
    struct json_out j = json_out(&body);
    bool known, many = next_ms > PRESENCE_BEAT_MS;
    uint64_t age_ms = contact_ms(s->process, &known);

    if (many)
        age_ms = (age_ms / BEATEN_AGE_MS + 1) * BEATEN_AGE_MS;
    if (many && s->beaten && s->beaten_age_ms == age_ms)
        return shared_ref(s->beaten);
    put_beaten(&j, next_ms, age_ms);
    http_head_begin(&head, 200);
    http_head_line(&head, "Content-Type", bytes_str("application/json"));
    http_head_end(&head, body.n, true, false);
    buf_put(&head, buf_bytes(&body));
    struct shared *text =
        head.bad || body.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    buf_fini(&body);
    if (text && many) {
        shared_unref(s->beaten);
        s->beaten = shared_ref(text);
        s->beaten_age_ms = age_ms;
    }
    return text;
}

/* Where there are few, an answer at once tells how far away the server is. */
static uint64_t take_beat(struct serving *s, struct conn *c,
                          const struct beat_in *in)
{
    uint64_t next =
        presence_heard(s->process->presence, in->node, uv_now(&s->loop));

    if (in->patient && next > PRESENCE_BEAT_MS)
        conn_doze(c);
    return next;
}

bool peer_beat(struct serving *s, struct conn *c, const struct http_request *r)
{
    struct errtext t = {{0}};
    struct beat_in in;

    if (!bytes_is(r->path, "/v1/peer/beat") || r->method != HTTP_PUT ||
        !conn_is_peer(c) || !conn_keep_alive(c) || conn_http_1_0(c) ||
        !s->process->self.is_server ||
        json_decode(r->body, &beat_table, &in, r->arena, &t) != ERR_OK ||
        !in.node.n || in.node.n > LIVENESS_NAME_MAX)
        return false;
    uint64_t next = take_beat(s, c, &in);
    struct shared *text = next ? beaten(s, next) : NULL;
    if (text)
        conn_answer(c, text, NULL);
    return text != NULL;
}

/* Those that peer_beat leaves. */
static void beat(struct serving *s, struct conn *c, struct api_call *call)
{
    const struct http_request *r = call->request;
    struct errtext t = {{0}};
    struct beat_in in;

    if (!s->env.self->is_server) {
        refuse(s, c, call, "This is an agent, not a server");
        return;
    }
    if (json_decode(r->body, &beat_table, &in, call->arena, &t) != ERR_OK ||
        !in.node.n) {
        refuse(s, c, call, t.s[0] ? t.s : "A beat without Node");
        return;
    }
    if (in.node.n > LIVENESS_NAME_MAX) {
        api_error(call, 400,
                  "A beat of a Node whose name has %zu bytes, more than %d",
                  in.node.n, LIVENESS_NAME_MAX);
        peer_answer(s, c, call);
        return;
    }
    uint64_t next = take_beat(s, c, &in);
    if (next == 0) {
        api_error(call, 429, "Beats of more than %d agents", PRESENCE_MAX);
        peer_answer(s, c, call);
        return;
    }
    struct json_out j = json_out(&call->body);
    bool known;
    put_beaten(&j, next, contact_ms(s->process, &known));
    peer_json(call);
    peer_answer(s, c, call);
}

static void heard(struct serving *s, struct conn *c, struct api_call *call)
{
    uint64_t after = 0;

    if (bytes_u64(http_param_value(call->request, "after"), &after) != ERR_OK)
        after = 0;
    presence_write(s->process->presence, after, uv_now(&s->loop), &call->body);
    guard_put_beats(s->process, uv_now(&s->loop), &call->body);
    call->status = 200;
    call->content_type = "text/plain; charset=utf-8";
    peer_answer(s, c, call);
}

/* --- Probes -------------------------------------------------------------- */

static const char *verdict(const struct fetch_result *r)
{
    switch (r->err) {
    case ERR_OK:
        return "reached";
    case ERR_REFUSED:
        return "refused";
    default:
        return "unreachable";
    }
}

/* Whether another agent can be reached from here. */
static void probed(void *ctx, const struct fetch_result *r)
{
    struct peer_wait *p = ctx;
    struct json_out j = json_out(&p->call.body);

    json_open(&j, '{');
    json_key(&j, "Verdict");
    json_str(&j, bytes_str(verdict(r)));
    json_close(&j, '}');
    peer_json(&p->call);
    peer_wait_end(p);
}

static void probe(struct serving *s, struct conn *c, struct api_call *call)
{
    struct errtext t = {{0}};
    struct beat_in in;
    char to[300];

    if (json_decode(call->request->body, &beat_table, &in, call->arena, &t) !=
            ERR_OK ||
        !in.address.n || in.address.n > 255 || in.port < 1 || in.port > 65535) {
        refuse(s, c, call, t.s[0] ? t.s : "A probe without Address and Port");
        return;
    }
    net_host_port(to, sizeof to, in.address, (uint64_t)in.port);
    struct peers *peers = serving_peers(s);
    struct peer_wait *p = peer_wait_begin(s, c, call);
    const struct peer_request q = {
        .to = to, .target = "/v1/peer/hello", .timeout_ms = PEER_PROBE_MS};
    if (!p)
        return;
    if (!peers || peer_ask(peers, &q, probed, p, NULL) != ERR_OK) {
        api_error(&p->call, 500, "out of memory");
        peer_wait_end(p);
    }
}

/* --- Who is behind a stream ---------------------------------------------- */

static const char *behind_refusal(enum ack_result r)
{
    return r == ACK_NOBODY  ? "No stream has this id"
           : r == ACK_NEVER ? "An event with this id was never sent to it"
           : r == ACK_FULL  ? "The table has no room for its rows"
                            : "out of memory";
}

static void behind(struct serving *s, struct conn *c, struct api_call *call)
{
    struct errtext t = {{0}};
    struct behind b;
    enum err e = behind_read(call->request->body, call->arena, &b, &t);

    if (e != ERR_OK) {
        api_error(call, e == ERR_LIMIT ? 413 : err_http_status(e), "%s",
                  t.s[0] ? t.s : err_text(e));
        peer_answer(s, c, call);
        return;
    }
    enum ack_result r = subscribers_behind(s->process->subscribers, &b);
    if (r == ACK_TAKEN) {
        buf_puts(&call->body, "{}");
        peer_json(call);
    } else {
        api_error(call,
                  r == ACK_FULL    ? 429
                  : r == ACK_NOMEM ? 500
                                   : 409,
                  "%s", behind_refusal(r));
    }
    peer_answer(s, c, call);
}

/* --- Which --------------------------------------------------------------- */

void peer_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct bytes path = call->request->path;

    if (bytes_is(path, "/v1/peer/beat"))
        beat(s, c, call);
    else if (bytes_is(path, "/v1/peer/behind"))
        behind(s, c, call);
    else if (bytes_starts(path, bytes_str("/v1/peer/drain/"))) {
        drains_answer(s, call);
        peer_answer(s, c, call);
    } else if (bytes_is(path, "/v1/peer/dns"))
        peer_dns_begin(s, c, call);
    else if (bytes_is(path, "/v1/peer/event"))
        events_begin(s, c, call);
    else if (bytes_is(path, "/v1/peer/heard"))
        heard(s, c, call);
    else if (bytes_is(path, "/v1/peer/probe"))
        probe(s, c, call);
    else
        peer_sync_begin(s, c, call);
}

void peer_gone(struct conn_state *st)
{
    if (st->peer_wait)
        st->peer_wait->conn = NULL;
    st->peer_wait = NULL;
    if (st->sync)
        peer_sync_gone(st->sync);
    st->sync = NULL;
}
