/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Texts on their way to their readers. */
#include "base/metric.h"
#include "server/push.h"

enum { PIECES_PER_TURN = 4 /* to one reader, then the next one's turn */ };

/* --- Lists --------------------------------------------------------------- */

static struct list *list_of(struct push_group *g, enum push_state state)
{
    switch (state) {
    case SUB_FRESH:
        return &g->fresh;
    case SUB_LATE:
        return &g->late;
    case SUB_SENDING:
        return &g->sending;
    case SUB_STALLED:
        return &g->stalled;
    case SUB_LIVE:
        return &g->live;
    }
    return NULL;
}

void push_put(struct push_sub *sub, enum push_state state)
{
    list_del(&sub->link);
    if (sub->push->flow && (sub->state == SUB_LIVE) != (state == SUB_LIVE))
        atomic_fetch_add(&sub->push->flow->behind,
                         state == SUB_LIVE ? UINT32_MAX : 1);
    if (sub->state == SUB_STALLED)
        metric_add(METRIC_STREAM_STALLED, -1);
    if (state == SUB_STALLED)
        metric_add(METRIC_STREAM_STALLED, 1);
    sub->state = (uint8_t)state;
    /* Not even if a snapshot that it is sent is taken away again: what it had may
     * be of another store, and it has half of that snapshot. */
    if (state == SUB_FRESH)
        sub->have = 0;
    list_add(list_of(sub->group, state), &sub->link);
}

void push_schedule(struct push_group *g)
{
    if (list_empty(&g->work))
        list_add(&g->pushes->work, &g->work);
}

void push_drop_text(struct push_sub *sub)
{
    push_text_unref(sub->group->pushes, sub->text);
    sub->text = NULL;
    sub->next = 0;
}

/* --- Sending ------------------------------------------------------------- */

static void to_wait(struct push_sub *sub)
{
    push_put(sub, sub->have ? SUB_LATE : SUB_FRESH);
    push_schedule(sub->group);
}

void push_attach(struct push_sub *sub, struct push_text *t)
{
    t->refs++;
    sub->text = t;
    sub->next = 0;
    push_put(sub, sub->push->full ? SUB_STALLED : SUB_SENDING);
}

static void sent_all(struct push_sub *sub)
{
    struct push_group *g = sub->group;
    sub->have = sub->text->to;
    push_drop_text(sub);
    metric_add(METRIC_STREAM_SENT, 1);
    if (sub->have == g->at) {
        push_put(sub, SUB_LIVE);
        return;
    }
    metric_add(METRIC_STREAM_COLLAPSED, 1);
    to_wait(sub);
}

/* False: the socket takes no more now. */
static bool send_piece(struct serving *s, struct push_sub *sub)
{
    struct push *st = sub->push;
    struct shared *piece = st->full ? NULL : push_piece(s, sub);
    if (!st->full && !piece)
        st->full = st->dead = true;
    if (st->full)
        return false;
    /* Before: he may acknowledge it at once. */
    if (st->sub_count == 1 && sub->next + 1 == sub->text->n)
        push_told(st, sub->text->id);
    enum err e = conn_stream_piece(st->conn, piece, STREAM_QUEUE_BYTES_MAX);
    if (e == ERR_OK) {
        sub->next++;
        return true;
    }
    shared_unref(piece);
    st->full = true;
    st->dead |= e == ERR_NOMEM;
    return false;
}

void push_send(struct serving *s, struct push_sub *sub)
{
    for (int i = 0; i < PIECES_PER_TURN; i++) {
        if (!send_piece(s, sub)) {
            push_put(sub, SUB_STALLED);
            return;
        }
        if (sub->next == sub->text->n) {
            sent_all(sub);
            return;
        }
    }
    push_put(sub, SUB_SENDING); /* behind the others */
}

void push_unstall(struct push *st)
{
    st->full = false;
    for (uint32_t i = 0; i < st->sub_count; i++) {
        struct push_sub *sub = &st->subs[i];
        if (sub->state != SUB_STALLED)
            continue;
        if (sub->text)
            push_put(sub, SUB_SENDING);
        else
            to_wait(sub);
        push_schedule(sub->group);
    }
    push_pay_id(&st->subs[0]);
}

/* --- Too many texts ------------------------------------------------------ */

static void take_away_from(struct list *l, const struct push_text *t)
{
    list_each (it, l) {
        struct push_sub *sub = container_of(it, struct push_sub, link);
        if (sub->text != t)
            continue;
        push_drop_text(sub);
        metric_add(METRIC_STREAM_COLLAPSED, 1);
        if (sub->state == SUB_SENDING)
            to_wait(sub);
    }
}

/* Whoever holds it goes on from the last text that he has whole. */
static void take_away(struct push_text *t)
{
    struct push_group *g = t->group;
    t->refs++;
    if (g->snapshot == t) {
        g->snapshot = NULL;
        push_text_unref(g->pushes, t);
    }
    take_away_from(&g->sending, t);
    take_away_from(&g->stalled, t);
    push_text_unref(g->pushes, t);
}

/* Who follows all of a large catalog is sent texts that may each be as large as
 * the bound. Taken away from each other, none of them would ever arrive where
 * the network is slower than they are made. */
static size_t bound_of(const struct pushes *ss)
{
    size_t largest = 0;
    list_each (it, &ss->texts) {
        const struct push_text *t = container_of(it, struct push_text, link);
        largest = t->bytes > largest ? t->bytes : largest;
    }
    size_t most = largest * STREAM_TEXTS_LARGEST;
    return most > STREAM_TEXT_BYTES_MAX ? most : STREAM_TEXT_BYTES_MAX;
}

void push_bound_texts(struct pushes *ss)
{
    if (ss->text_bytes <= STREAM_TEXT_BYTES_MAX)
        return;
    size_t most = bound_of(ss);
    struct list *it = ss->texts.next;
    while (ss->text_bytes > most && it != &ss->texts &&
           it->next != &ss->texts) {
        struct push_text *t = container_of(it, struct push_text, link);
        it = it->next;
        if (t->group->build.text != t)
            take_away(t);
    }
}
