/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Beats: a comment now and then, which tells that the connection lives and how old
 * the data may be.
 *
 * A mirror in another datacenter has to know that to a second, and has no other way
 * to tell an idle origin from one that it cannot hear. Its beats are events, once a
 * second, and come only while nothing is on its way to it: their id is the revision
 * up to which it has all there is. They carry the clock of this machine, because a
 * link may hold bytes back for any time. */
#include <stdio.h>

#include "http/json_out.h"
#include "http/sse.h"
#include "server/gate.h"
#include "server/push.h"

uint64_t push_clock_ms(const struct serving *s)
{
    return process_now_ms() - s->process->started_ms;
}

static struct shared *text_of(struct buf *b)
{
    struct shared *piece = b->bad ? NULL : shared_copy(buf_bytes(b));

    buf_fini(b);
    return piece;
}

static struct shared *beat_text(uint64_t age_ms)
{
    char text[64];
    struct buf b;

    buf_init(&b, 0);
    snprintf(text, sizeof text, "beat age=%llums", (unsigned long long)age_ms);
    sse_comment(&b, text);
    return text_of(&b);
}

/* A reader who has not taken what was sent has no use for a beat. */
static void send_beat(struct push *st, struct shared *of_own)
{
    bool said = !st->of_agent || ++st->beats % STREAM_AGENT_BEATS == 0;
    struct serving *s = st->serving;
    struct shared *piece = st->of   ? beat_text(dc_mirror_age_ms(st->of))
                           : of_own ? shared_ref(of_own)
                                    : NULL;

    list_del(&st->link);
    list_add(&s->pushes.all, &st->link);
    st->beat_ms = uv_now(&s->loop) + STREAM_BEAT_MS;
    if (st->dead)
        push_end(st);
    else if (said && !st->full && piece &&
             conn_stream_piece(st->conn, shared_ref(piece), 0) != ERR_OK)
        shared_unref(piece);
    shared_unref(piece);
}

static void on_beat(struct timer *t)
{
    struct pushes *ss = container_of(t, struct pushes, beat);
    struct serving *s = container_of(ss, struct serving, pushes);
    uint64_t now = uv_now(&s->loop);
    bool known;
    struct shared *piece = beat_text(contact_ms(s->process, &known));

    for (int i = 0; i < STREAM_BEATS_PER_TURN && !list_empty(&ss->all); i++) {
        struct push *st = container_of(ss->all.next, struct push, link);
        if (st->beat_ms > now + STREAM_BEAT_EARLY_MS)
            break;
        send_beat(st, piece);
    }
    shared_unref(piece);
    if (list_empty(&ss->all))
        return;
    uint64_t due = container_of(ss->all.next, struct push, link)->beat_ms;
    timer_set(&s->timers, &ss->beat, due > now ? due - now : 1);
}

/* --- Mirrors ------------------------------------------------------------- */

/* What is published and not sent yet would be older than the beat says. */
static bool has_all(const struct push *st)
{
    if (st->full || st->owes_id)
        return false;
    for (uint32_t i = 0; i < st->sub_count; i++) {
        const struct push_sub *sub = &st->subs[i];
        if (sub->state != SUB_LIVE || push_has_news(sub->group))
            return false;
    }
    return true;
}

static struct shared *mirror_text(const struct serving *s, uint64_t age_ms)
{
    struct buf data, out;

    buf_init(&data, 0);
    buf_init(&out, 0);
    struct json_out j = json_out(&data);
    json_open(&j, '{');
    json_key(&j, "At");
    json_u64(&j, push_clock_ms(s));
    json_key(&j, "Age");
    json_u64(&j, age_ms);
    json_close(&j, '}');
    sse_event(&out, "beat");
    sse_data(&out, buf_bytes(&data));
    sse_id(&out, s->pushes.own.revision);
    sse_end(&out);
    out.bad |= data.bad;
    buf_fini(&data);
    return text_of(&out);
}

static void tell_mirror(struct push *st, struct shared *piece)
{
    if (st->dead) {
        push_end(st);
        return;
    }
    if (!piece || !has_all(st))
        return;
    push_told(st, st->serving->pushes.own.revision);
    if (conn_stream_piece(st->conn, shared_ref(piece),
                          STREAM_QUEUE_BYTES_MAX) == ERR_OK)
        return;
    shared_unref(piece);
    st->full = true;
}

static void on_mirror_beat(struct timer *t)
{
    struct pushes *ss = container_of(t, struct pushes, mirror_beat);
    struct serving *s = container_of(ss, struct serving, pushes);
    const struct catalog *cat = s->process->catalog;
    bool known;
    uint64_t age_ms = contact_ms(s->process, &known);

    serving_pin(s);
    bool told = snapshot_revision(catalog_current(cat)) == ss->own.revision;
    serving_unpin(s);
    /* What was published just now is in the inbox: the next beat, then. */
    struct shared *piece = told ? mirror_text(s, age_ms) : NULL;
    struct list *it = ss->mirrors.next;
    while (it != &ss->mirrors) {
        struct push *st = container_of(it, struct push, link);
        it = it->next;
        tell_mirror(st, piece);
    }
    shared_unref(piece);
    if (!list_empty(&ss->mirrors))
        timer_set(&s->timers, &ss->mirror_beat,
                  told ? STREAM_MIRROR_BEAT_MS : STREAM_MIRROR_BEAT_MS / 10);
}

/* --- Life ---------------------------------------------------------------- */

void push_beats_begin(struct push *st, bool mirror)
{
    struct serving *s = st->serving;
    struct pushes *ss = &s->pushes;

    if (mirror) {
        list_add(&ss->mirrors, &st->link);
        if (!ss->mirror_beat.item.in)
            timer_set(&s->timers, &ss->mirror_beat, 1);
        return;
    }
    st->beat_ms = uv_now(&s->loop) + STREAM_BEAT_MS;
    list_add(&ss->all, &st->link);
    if (!ss->beat.item.in)
        timer_set(&s->timers, &ss->beat, STREAM_BEAT_MS);
}

void push_beats_init(struct pushes *ss)
{
    list_init(&ss->all);
    list_init(&ss->mirrors);
    ss->beat.fire = on_beat;
    ss->mirror_beat.fire = on_mirror_beat;
}

void push_beats_close(struct serving *s)
{
    timer_clear(&s->timers, &s->pushes.beat);
    timer_clear(&s->timers, &s->pushes.mirror_beat);
}
