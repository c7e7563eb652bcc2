/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* User events on the streams of agents (?user-events=LIFE.SEQ), events "user" with
 * a batch of them (api/event_batch.h). LIFE and SEQ are of the last batch that the
 * agent was sent: from this process it gets all that came since; if it had none,
 * what comes from now on; if it was another process, what is young, of which it has
 * some already (it knows by their IDs).
 *
 * There may be thousands of agents: some at a time, the loop's other work in
 * between. Whoever takes nothing now is told when he does, of what is still kept
 * (HEARD_EVENTS_MAX). */
#include "api/event_batch.h"
#include "http/sse.h"
#include "server/events.h"
#include "server/push.h"

enum { AGENTS_PER_TURN = 64 };

static const struct heard_snapshot *carried(const struct serving *s)
{
    return heard_current(s->process->carried);
}

static uint64_t newest(const struct heard_snapshot *h)
{
    return h->event_count ? h->events[h->event_count - 1]->number : 0;
}

/* All behind this one; NULL: no memory. Pinned. */
static struct shared *text_from(const struct process *p,
                                const struct heard_snapshot *h, uint64_t number)
{
    struct event_batch b = {
        .from = p->self.node_name,
        .ltime = atomic_load(&p->event_clock),
        .life = p->life,
        .seq = newest(h),
    };
    struct buf data, out;

    for (size_t i = 0; i < h->event_count; i++)
        if (h->events[i]->number > number)
            b.v[b.n++] = h->events[i];
    buf_init(&data, 0);
    buf_init(&out, 0);
    event_batch_put(&data, &b, process_now_ms());
    sse_event(&out, "user");
    sse_data(&out, buf_bytes(&data));
    sse_end(&out);
    struct shared *ret =
        data.bad || out.bad ? NULL : shared_copy(buf_bytes(&out));
    buf_fini(&data);
    buf_fini(&out);
    return ret;
}

/* Brings it to this number. */
static void give(struct push *st, struct shared *piece, uint64_t number)
{
    struct serving *s = st->serving;

    list_del(&st->hears);
    list_add(&s->pushes.hearers, &st->hears);
    if (st->full || !piece)
        return; /* push_hear_again; or with the next event */
    if (conn_stream_piece(st->conn, shared_ref(piece),
                          STREAM_QUEUE_BYTES_MAX) == ERR_OK) {
        st->heard_number = number;
        return;
    }
    shared_unref(piece);
    st->full = true;
}

/* Nearly all have the same: one text. */
static void on_hear(struct timer *t)
{
    struct serving *s = container_of(t, struct serving, pushes.hear);
    struct pushes *ss = &s->pushes;
    struct shared *piece = NULL;
    uint64_t from = 0;

    serving_pin(s);
    const struct heard_snapshot *h = carried(s); /* the core thread goes on */
    for (int i = 0; i < AGENTS_PER_TURN && !list_empty(&ss->deaf); i++) {
        struct push *st = container_of(ss->deaf.next, struct push, hears);
        if (!piece || from != st->heard_number) {
            shared_unref(piece);
            from = st->heard_number;
            piece = text_from(s->process, h, from);
        }
        give(st, piece, newest(h));
    }
    shared_unref(piece);
    serving_unpin(s);
    if (!list_empty(&ss->deaf))
        timer_set(&s->timers, &ss->hear, 1);
}

static void tell_soon(struct push *st)
{
    struct serving *s = st->serving;

    list_del(&st->hears);
    list_add(&s->pushes.deaf, &st->hears);
    if (!s->pushes.hear.item.in)
        timer_set(&s->timers, &s->pushes.hear, 1);
}

void push_hear(struct serving *s)
{
    struct pushes *ss = &s->pushes;

    if (ss->hear_number == newest(carried(s)))
        return;
    ss->hear_number = newest(carried(s));
    if (list_empty(&ss->hearers))
        return;
    list_move_all(&ss->deaf, &ss->hearers);
    if (!ss->hear.item.in)
        timer_set(&s->timers, &ss->hear, 1);
}

void push_hear_again(struct push *st)
{
    if (!st->hears_events)
        return;
    serving_pin(st->serving);
    if (st->heard_number != newest(carried(st->serving)))
        tell_soon(st);
    serving_unpin(st->serving);
}

/* What an agent has, of ours; else what is young is told again. */
static uint64_t had(const struct serving *s, struct bytes value)
{
    const struct heard_snapshot *h = carried(s);
    uint64_t now = process_now_ms(), life = 0, seq = 0;
    size_t dot = bytes_find(value, '.');

    if (bytes_u64(bytes_head(value, dot), &life) == ERR_OK &&
        bytes_u64(bytes_skip(value, dot + 1), &seq) == ERR_OK &&
        life == s->process->life && seq <= newest(h))
        return seq;
    if (life == 0)
        return newest(h); /* it has just begun */
    for (size_t i = 0; i < h->event_count; i++)
        if (h->events[i]->fired_ms + EVENTS_KEPT_MS >= now)
            return h->events[i]->number - 1;
    return newest(h);
}

void push_hear_begin(struct push *st, const struct api_call *call)
{
    const struct http_param *p = http_param(call->request, "user-events");

    if (!p)
        return;
    st->hears_events = true;
    st->heard_number = had(st->serving, p->value);
    tell_soon(st); /* of what there is, or only of the clock */
}

void push_hear_end(struct push *st)
{
    list_del(&st->hears);
}

void push_hear_init(struct pushes *ss)
{
    list_init(&ss->hearers);
    list_init(&ss->deaf);
    ss->hear.fire = on_hear;
}

void push_hear_close(struct serving *s)
{
    timer_clear(&s->timers, &s->pushes.hear);
}
