/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "duty/room.h"

#include <string.h>

static uint64_t part(uint64_t quota, unsigned percent)
{
    return quota / 100 * percent;
}

/* --- Marks ---------------------------------------------------------------- */

static void add_mark(struct room *r, const struct room_look *l)
{
    if (r->mark_count && r->marks[r->mark_count - 1].revision >= l->revision)
        return;
    if (r->mark_count == ROOM_MARKS_MAX) { /* every second one is enough */
        for (size_t i = 0; i < ROOM_MARKS_MAX / 2; i++)
            r->marks[i] = r->marks[i * 2 + 1];
        r->mark_count = ROOM_MARKS_MAX / 2;
    }
    r->marks[r->mark_count++] = (struct room_mark){l->now_ms, l->revision};
}

/* The newest mark at least so old, and all before it, are history's end. */
static bool drop_before(struct room *r, uint64_t now_ms, uint64_t keep_ms,
                        struct room_plan *ret)
{
    size_t n = 0;

    while (n < r->mark_count && now_ms - r->marks[n].ms >= keep_ms)
        n++;
    if (n == 0)
        return false;
    ret->next = ROOM_COMPACT;
    ret->revision = r->marks[n - 1].revision;
    ret->keep_ms = now_ms - r->marks[n - 1].ms;
    r->mark_count -= n;
    memmove(r->marks, r->marks + n, r->mark_count * sizeof *r->marks);
    return true;
}

/* --- Members -------------------------------------------------------------- */

static bool tried_lately(const struct room *r, uint64_t id, uint64_t now_ms)
{
    for (size_t i = 0; i < ROOM_MEMBERS_MAX; i++)
        if (r->tried[i].id == id && r->tried[i].ms &&
            now_ms - r->tried[i].ms < ROOM_AGAIN_MS)
            return true;
    return false;
}

static void note_tried(struct room *r, uint64_t id, uint64_t now_ms)
{
    size_t at = 0;

    for (size_t i = 0; i < ROOM_MEMBERS_MAX; i++) {
        if (r->tried[i].id == id) {
            at = i;
            break;
        }
        if (r->tried[i].ms < r->tried[at].ms)
            at = i;
    }
    r->tried[at].id = id;
    r->tried[at].ms = now_ms ? now_ms : 1;
}

static bool worth_it(const struct room *r, const struct room_look *l,
                     const struct room_member *m, uint64_t least_free)
{
    return m->known && m->size >= m->in_use &&
           m->size - m->in_use >= least_free &&
           !tried_lately(r, m->id, l->now_ms);
}

/* The leader last: a stop of his holds up all. */
static bool defragment(struct room *r, const struct room_look *l,
                       uint64_t least_size, uint64_t least_free,
                       struct room_plan *ret)
{
    for (int leaders = 0; leaders < 2; leaders++) {
        for (size_t i = 0; i < l->count; i++) {
            const struct room_member *m = &l->members[i];

            if (m->leader != (leaders == 1) || m->size < least_size ||
                !worth_it(r, l, m, least_free))
                continue;
            note_tried(r, m->id, l->now_ms);
            ret->next = ROOM_DEFRAGMENT;
            ret->member = i;
            return true;
        }
    }
    return false;
}

/* --- Decisions ------------------------------------------------------------ */

static void at_an_alarm(struct room *r, const struct room_look *l,
                        struct room_plan *ret)
{
    size_t alarmed = l->count;
    bool fits = true;

    ret->in_ms = ROOM_LOOK_MIN_MS;
    if (!r->dropped) {
        r->dropped = true;
        r->dropped_ms = l->now_ms;
        r->dropped_to = l->revision;
        r->mark_count = 0;
        ret->next = ROOM_COMPACT;
        ret->revision = l->revision;
        return;
    }
    if (l->oldest < r->dropped_to && l->now_ms - r->dropped_ms < ROOM_EFFECT_MS)
        return;
    if (defragment(r, l, part(l->quota, ROOM_DISARM_PERCENT), 0, ret))
        return;
    for (size_t i = 0; i < l->count; i++) {
        const struct room_member *m = &l->members[i];

        fits &= !m->known || !l->quota ||
                m->size < part(l->quota, ROOM_DISARM_PERCENT);
        if (m->alarmed && alarmed == l->count)
            alarmed = i;
    }
    if (fits) {
        ret->next = ROOM_DISARM;
        ret->member = alarmed;
        return;
    }
    ret->full = true;
    ret->in_ms = ROOM_LOOK_MS;
}

/* How soon: four looks until what is in use would have grown by a tenth of the
 * quota, as fast as it did lately. That room was just made does not mean that
 * nobody fills it any more: the pace slows down by and by. Near the quota less
 * than a second may be left, however it looked the last time. */
static uint64_t next_look(struct room *r, const struct room_look *l,
                          uint64_t use, unsigned percent)
{
    uint64_t step = part(l->quota, 10) / 4, ms = ROOM_LOOK_MS;

    if (r->last_ms && use > r->last_use)
        ms = step * (l->now_ms - r->last_ms) / (use - r->last_use);
    if (r->pace_ms && ms > r->pace_ms * 2)
        ms = r->pace_ms * 2;
    if (ms < ROOM_LOOK_MIN_MS || percent >= ROOM_TIGHT_PERCENT)
        ms = ROOM_LOOK_MIN_MS;
    if (ms > ROOM_LOOK_MS)
        ms = ROOM_LOOK_MS;
    r->pace_ms = ms;
    return ms;
}

static bool too_much(struct room *r, const struct room_look *l,
                     struct room_plan *ret)
{
    uint64_t floor = ret->percent >= ROOM_LAST_PERCENT    ? ROOM_LAST_KEEP_MS
                     : ret->percent >= ROOM_TIGHT_PERCENT ? ROOM_TIGHT_KEEP_MS
                                                          : ROOM_EARLY_KEEP_MS;
    uint64_t half = r->mark_count ? (l->now_ms - r->marks[0].ms) / 2 : 0;

    if (ret->percent < ROOM_EARLY_PERCENT)
        return false;
    if (ret->percent >= ROOM_TIGHT_PERCENT)
        half = 0;
    return drop_before(r, l->now_ms, half > floor ? half : floor, ret);
}

void room_decide(struct room *r, const struct room_look *l,
                 struct room_plan *ret)
{
    uint64_t use = 0;
    bool alarm = false;

    *ret = (struct room_plan){.in_ms = ROOM_LOOK_MS};
    for (size_t i = 0; i < l->count; i++) {
        const struct room_member *m = &l->members[i];

        alarm |= m->alarmed;
        if (m->known && m->in_use > use)
            use = m->in_use;
    }
    if (l->quota)
        ret->percent = (unsigned)(use >= l->quota ? 100 : use * 100 / l->quota);
    add_mark(r, l);
    if (alarm) {
        at_an_alarm(r, l, ret);
    } else if (l->quota) {
        r->dropped = false;
        ret->in_ms = next_look(r, l, use, ret->percent);
        if (!too_much(r, l, ret) &&
            !defragment(r, l, part(l->quota, ROOM_EARLY_PERCENT),
                        part(l->quota, ROOM_FREE_PERCENT), ret))
            ret->full = ret->percent >= ROOM_TIGHT_PERCENT;
    }
    if (ret->next != ROOM_WAIT && ret->in_ms > ROOM_LOOK_MIN_MS)
        ret->in_ms = ROOM_LOOK_MIN_MS;
    r->last_ms = l->now_ms;
    r->last_use = use;
}
