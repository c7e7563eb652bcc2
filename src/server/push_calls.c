/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Streams of callers: event `callers`, at the beginning and when something
 * changed, each at most once in CALLERS_EVERY_MS. */
#include "http/json_out.h"
#include "http/sse.h"
#include "server/push.h"

enum { TOLD_PER_TURN = 128 };

static struct shared *text_for(struct push *st)
{
    struct buf data, out;
    struct shared *piece = NULL;
    buf_init(&data, 0);
    buf_init(&out, 0);
    struct json_out j = json_out(&data);
    json_open(&j, '{');
    json_key(&j, "Service");
    json_str(&j, st->subs[0].group->watch.name);
    if (subscribers_callers(st->serving->process->subscribers, st->caller,
                            &j)) {
        json_close(&j, '}');
        sse_event(&out, "callers");
        sse_data(&out, buf_bytes(&data));
        sse_end(&out);
        if (!data.bad && !out.bad)
            piece = shared_copy(buf_bytes(&out));
    }
    buf_fini(&data);
    buf_fini(&out);
    return piece;
}

/* Who has not taken what he was sent is asked again later. */
static void tell(struct push *st)
{
    struct pushes *ss = &st->serving->pushes;
    struct shared *piece = st->full ? NULL : text_for(st);
    list_del(&st->calls);
    list_add(&ss->callers, &st->calls);
    st->calls_ms = uv_now(&st->serving->loop) + CALLERS_EVERY_MS;
    if (piece &&
        conn_stream_piece(st->conn, piece, STREAM_QUEUE_BYTES_MAX) != ERR_OK)
        shared_unref(piece);
}

static void set_timer(struct serving *s)
{
    struct pushes *ss = &s->pushes;
    uint64_t now = uv_now(&s->loop);
    if (list_empty(&ss->callers))
        return;
    uint64_t due = container_of(ss->callers.next, struct push, calls)->calls_ms;
    timer_set(&s->timers, &ss->calls, due > now ? due - now : 1);
}

static void on_timer(struct timer *t)
{
    struct pushes *ss = container_of(t, struct pushes, calls);
    struct serving *s = container_of(ss, struct serving, pushes);
    uint64_t now = uv_now(&s->loop);
    for (int i = 0; i < TOLD_PER_TURN && !list_empty(&ss->callers); i++) {
        struct push *st = container_of(ss->callers.next, struct push, calls);
        if (st->calls_ms > now)
            break;
        tell(st);
    }
    set_timer(s);
}

void push_calls_init(struct pushes *ss)
{
    list_init(&ss->callers);
    ss->calls.fire = on_timer;
}

void push_calls_begin(struct push *st, const struct api_call *call)
{
    struct serving *s = st->serving;
    struct subscriber_labels l = {call->subscriber, call->zone,
                                  conn_peer(st->conn)};
    st->caller =
        subscribers_calls(s->process->subscribers,
                          st->subs[0].group->watch.name, &l, call->calls_rank);
    if (!st->caller)
        return; /* no memory: the stream itself is what matters */
    tell(st);
    if (!s->pushes.calls.item.in)
        set_timer(s);
}

void push_calls_end(struct push *st)
{
    list_del(&st->calls);
    if (st->caller)
        subscribers_called(st->serving->process->subscribers, st->caller);
    st->caller = NULL;
}
