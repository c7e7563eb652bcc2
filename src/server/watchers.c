/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the table of subscribers answers: /v1/muster/watchers/:name,
 * /v1/muster/ack. */
#include "server/watchers.h"

#include "api/entries.h"
#include "http/json_out.h"
#include "server/mirrors.h"
#include "server/subscribers.h"

/* --- Rows ---------------------------------------------------------------- */

struct rows {
    struct json_out *j;
    struct bytes server;
    size_t most, n, more;
};

void watchers_put(struct json_out *j, struct bytes server,
                  const struct watcher *w)
{
    json_open(j, '{');
    json_key(j, "Server");
    json_str(j, server);
    if (w->via) {
        json_key(j, "Agent");
        json_str(j, bytes_str(w->via));
    }
    json_key(j, "Subscriber");
    json_str(j, bytes_str(w->id));
    json_key(j, "Kind");
    json_str(j, bytes_str(w->stream ? "stream" : "poll"));
    json_key(j, "Label");
    json_str(j, bytes_str(w->label));
    json_key(j, "Zone");
    json_str(j, bytes_str(w->zone));
    json_key(j, "Peer");
    json_str(j, bytes_str(w->peer));
    json_key(j, "Target");
    json_str(j, bytes_str(w->target));
    json_key(j, "AppliedIndex");
    json_u64(j, w->applied);
    if (w->stream) {
        json_key(j, "Connected");
        json_bool(j, w->connected);
        json_key(j, "Behind");
        json_bool(j, w->behind);
        json_key(j, "SentIndex");
        json_u64(j, w->told);
    }
    json_key(j, "SinceMs");
    json_u64(j, w->since_ms);
    json_key(j, "HeardMs");
    json_u64(j, w->seen_ms);
    json_key(j, "LagMs");
    json_u64(j, w->lag_ms);
    json_key(j, "MaxLagMs");
    json_u64(j, w->max_lag_ms);
    json_close(j, '}');
}

static void put_watcher(void *ctx, const struct watcher *w)
{
    struct rows *r = ctx;
    if (r->n < r->most)
        watchers_put(r->j, r->server, w);
    else
        r->more++;
    r->n++;
}

size_t watchers_put_all(struct process *p, struct bytes name, size_t most,
                        struct json_out *j)
{
    struct rows r = {.j = j, .server = p->self.node_name, .most = most};
    subscribers_of(p->subscribers, name, put_watcher, &r);
    return r.more;
}

void watchers_put_reader(struct json_out *j, struct bytes server,
                         const struct unproven *u)
{
    json_open(j, '{');
    json_key(j, "Server");
    json_str(j, server);
    if (*u->agent) {
        json_key(j, "Agent");
        json_str(j, bytes_str(u->agent));
    }
    json_key(j, "Peer");
    json_str(j, bytes_str(u->peer));
    json_key(j, "HeardMs");
    json_u64(j, u->seen_ms);
    json_close(j, '}');
}

static void put_reader(void *ctx, const struct unproven *u)
{
    struct rows *r = ctx;
    if (r->n++ < r->most)
        watchers_put_reader(r->j, r->server, u);
}

bool watchers_put_readers(struct process *p, struct bytes name, size_t most,
                          struct json_out *j)
{
    struct rows r = {.j = j, .server = p->self.node_name, .most = most};
    bool all = subscribers_unproven(p->subscribers, name, put_reader, &r);
    return all && r.n <= most;
}

/* --- Routes -------------------------------------------------------------- */

struct json_out watchers_begin(struct api_call *call)
{
    struct json_out j = json_out(&call->body);
    call->status = 200;
    call->content_type = "application/json";
    json_open(&j, '{');
    return j;
}

void watchers_end(struct api_call *call, struct json_out *j)
{
    struct buf indented;
    json_close(j, '}');
    if (!call->pretty)
        return;
    buf_init(&indented, call->body.max);
    json_pretty(&indented, buf_bytes(&call->body));
    buf_fini(&call->body);
    call->body = indented;
}

void watchers_answer(struct process *p, struct api_call *call)
{
    struct json_out j = watchers_begin(call);
    size_t most =
        http_param(call->request, "top") ? WATCHERS_TOLD_MAX : SIZE_MAX;
    json_key(&j, "Server");
    json_str(&j, p->self.node_name);
    json_key(&j, "Service");
    json_str(&j, call->arg);
    json_key(&j, "Complete");
    json_bool(&j, subscribers_unknown_ms(p->subscribers) == 0);
    json_key(&j, "Subscribers");
    json_open(&j, '[');
    size_t more = watchers_put_all(p, call->arg, most, &j);
    json_close(&j, ']');
    json_key(&j, "SubscribersMore");
    json_u64(&j, more);
    json_key(&j, "Unproven");
    json_open(&j, '[');
    bool all = watchers_put_readers(p, call->arg, most, &j);
    json_close(&j, ']');
    json_key(&j, "UnprovenComplete");
    json_bool(&j, all);
    watchers_end(call, &j);
}

static const char *refusal(enum ack_result r)
{
    return r == ACK_NOBODY ? "no stream has this id"
                           : "an event with this id was never sent to it";
}

/* A stream is of this catalog, or of a mirror of another. */
static enum ack_result take_ack(struct process *p, const struct api_ack *a)
{
    enum ack_result r =
        subscribers_ack(p->subscribers, a->subscriber, a->index, a->gone);
    for (size_t i = 0; r == ACK_NOBODY && i < mirrors_count(p); i++)
        r = subscribers_ack(mirrors_readers(p, i), a->subscriber, a->index,
                            a->gone);
    return r;
}

/* All are looked at; those that are refused are told, and make it a 409. */
void ack_answer(struct process *p, struct api_call *call)
{
    struct json_out j = watchers_begin(call);
    size_t taken = 0;
    json_key(&j, "Refused");
    json_open(&j, '[');
    for (size_t i = 0; i < call->ack_count; i++) {
        const struct api_ack *a = &call->acks[i];
        enum ack_result r = take_ack(p, a);
        if (r == ACK_TAKEN) {
            taken++;
            continue;
        }
        json_open(&j, '{');
        json_key(&j, "Subscriber");
        json_str(&j, bytes_head(a->subscriber, SUBSCRIBER_ID_BYTES));
        json_key(&j, "Index");
        json_u64(&j, a->index);
        json_key(&j, "Why");
        json_str(&j, bytes_str(refusal(r)));
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_key(&j, "Taken");
    json_u64(&j, taken);
    watchers_end(call, &j);
    if (taken < call->ack_count)
        call->status = 409;
}

/* --- Readers -------------------------------------------------------------- */

enum { READER_TOLD_MS = 5000 /* who reads without id is told so often */ };

/* Of those who read the catalog that this connection's answer is from. */
static struct subscribers *table_of(struct serving *s, struct conn *c)
{
    struct conn_state *st = conn_user(c);
    return st->mirror ? dc_mirror_readers(st->mirror) : s->process->subscribers;
}

static void note_reader(struct serving *s, struct conn *c, struct bytes name)
{
    struct conn_state *st = conn_user(c);
    struct subscribers *ss = table_of(s, c);
    uint64_t hash = bytes_hash(name, (uintptr_t)ss), now = uv_now(&s->loop);
    if (hash == st->reader_hash && now - st->reader_ms < READER_TOLD_MS)
        return;
    st->reader_hash = hash;
    st->reader_ms = now;
    subscribers_read(ss, name, conn_peer(c));
}

void watchers_note(struct serving *s, struct conn *c,
                   const struct api_call *call, struct bytes target)
{
    struct conn_state *st = conn_user(c);
    struct subscribers *ss = table_of(s, c);
    enum watch_kind kind = call->watch.kind;
    if (kind != WATCH_SERVICE && kind != WATCH_SERVICE_HEALTH)
        return;
    if (!entries_has(call) || http_param(call->request, "look"))
        return; /* nobody takes an address from that */
    struct bytes id = http_header(call->request, "X-Muster-Subscriber-Id");
    struct subscriber_labels l = {
        .label = http_header(call->request, "X-Muster-Subscriber"),
        .zone = http_header(call->request, "X-Muster-Zone"),
    };
    if (id.n || l.label.n) {
        l.peer = conn_peer(c);
        subscribers_polled(ss, id, &l, target, call->watch.name, call->index,
                           st->subscriber);
        return;
    }
    note_reader(s, c, call->watch.name);
}

void watchers_note_given(struct serving *s, struct conn *c,
                         const struct api_call *call)
{
    if (call->given.n && !http_param(call->request, "look"))
        note_reader(s, c, call->given);
}
