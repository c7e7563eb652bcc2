/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* upkeep - history is a window: when to drop what.
 *
 * Marks say at what wall time, and after how many bytes of feed, a revision was
 * the newest. They are taken sixty-four times in the age that is kept, or
 * sixteen times in the bytes, and written with a group under the key "t", so
 * that a store that restarts often also forgets. One mark per line:
 *
 *     <revision> <wall ms> <bytes fed>
 *
 * Compaction goes to the newest mark that is old enough; or, when more than the
 * bytes allowed have been fed since the last one, to the mark that leaves half.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/impl.h"

enum {
    MARKS_PER_AGE = 64,
    MARKS_PER_BYTES = 16,
    TICK_MIN_MS = 10,
    TICK_MAX_MS = 60 * 1000,
    EVENT_BYTES = 32, /* of an event beside its key and value */
};

/* --- Marks --------------------------------------------------------------- */

static const struct revision_mark *last_mark(const struct store *s)
{
    return s->mark_count ? &s->marks[s->mark_count - 1] : NULL;
}

static void drop_marks(struct store *s, size_t n)
{
    s->mark_count -= n;
    memmove(s->marks, s->marks + n, s->mark_count * sizeof *s->marks);
}

static void add_mark(struct store *s, struct revision_mark m)
{
    if (s->mark_count == MARKS_MAX) { /* every second one is enough */
        for (size_t i = 0; i < MARKS_MAX / 2; i++)
            s->marks[i] = s->marks[i * 2 + 1];
        s->mark_count = MARKS_MAX / 2;
    }
    s->marks[s->mark_count++] = m;
}

static bool mark_due(const struct store *s, uint64_t wall_ms)
{
    const struct revision_mark *m = last_mark(s);

    if (!m)
        return true;
    if (s->delivered <= m->revision)
        return false;
    return wall_ms >= m->wall_ms + s->options.compact_age_ms / MARKS_PER_AGE ||
           s->bytes_fed - m->bytes >=
               s->options.compact_bytes / MARKS_PER_BYTES;
}

bool upkeep_clock_due(struct store *s, uint64_t wall_ms, struct buf *clock)
{
    const struct revision_mark *m = last_mark(s);

    if (!mark_due(s, wall_ms))
        return false;
    /* A clock that was set back must not make later marks look older. */
    if (m && wall_ms < m->wall_ms)
        wall_ms = m->wall_ms;
    add_mark(s, (struct revision_mark){s->delivered, wall_ms, s->bytes_fed});
    buf_reset(clock);
    for (size_t i = 0; i < s->mark_count; i++)
        buf_printf(clock, "%llu %llu %llu\n",
                   (unsigned long long)s->marks[i].revision,
                   (unsigned long long)s->marks[i].wall_ms,
                   (unsigned long long)s->marks[i].bytes);
    return !clock->bad;
}

static bool parse_mark(struct bytes line, struct revision_mark *ret)
{
    uint64_t *field[3] = {&ret->revision, &ret->wall_ms, &ret->bytes};

    for (int i = 0; i < 3; i++) {
        size_t n = bytes_find(line, ' ');

        if (bytes_u64(bytes_head(line, n), field[i]) != ERR_OK)
            return false;
        line = bytes_skip(line, n + 1);
    }
    return line.n == 0;
}

/* A damaged record only makes history stay longer. */
void upkeep_loaded(struct store *s, struct bytes clock)
{
    struct revision_mark m;

    if (s->mark_count)
        return; /* ours are newer */
    while (clock.n) {
        size_t n = bytes_find(clock, '\n');

        if (!parse_mark(bytes_head(clock, n), &m) || m.revision > s->load_rev ||
            (s->mark_count && (m.revision <= last_mark(s)->revision ||
                               m.bytes < last_mark(s)->bytes)))
            break;
        add_mark(s, m);
        clock = bytes_skip(clock, n + 1);
    }
    if (s->mark_count) {
        s->bytes_fed = last_mark(s)->bytes;
        s->bytes_dropped = s->marks[0].bytes;
    }
}

void upkeep_fell(struct store *s)
{
    while (s->mark_count && last_mark(s)->revision > s->load_rev)
        s->mark_count--;
    s->compact_to = 0;
}

/* --- When ---------------------------------------------------------------- */

static void compact_to_mark(struct store *s, size_t at)
{
    uint64_t revision = s->marks[at].revision;

    s->bytes_dropped = s->marks[at].bytes;
    drop_marks(s, at + 1);
    upkeep_compact(s, revision_out(s, revision));
}

static void compact_by_age(struct store *s)
{
    uint64_t now = engine_wall_ms();
    size_t n = 0;

    while (n < s->mark_count &&
           s->marks[n].wall_ms + s->options.compact_age_ms <= now)
        n++;
    if (n)
        compact_to_mark(s, n - 1);
}

static void compact_by_bytes(struct store *s)
{
    uint64_t keep = s->options.compact_bytes / 2;
    size_t n = 0;

    while (n < s->mark_count && s->bytes_fed - s->marks[n].bytes > keep)
        n++;
    if (n)
        compact_to_mark(s, n - 1);
}

void upkeep_fed(struct store *s, const struct store_event *events, size_t count)
{
    for (size_t i = 0; i < count; i++)
        s->bytes_fed += events[i].key.n + events[i].value.n + EVENT_BYTES;
    if (s->bytes_fed - s->bytes_dropped > s->options.compact_bytes)
        compact_by_bytes(s);
}

void upkeep_tick(struct store *s)
{
    uint64_t period = s->options.compact_age_ms / MARKS_PER_AGE;

    period = period < TICK_MIN_MS ? TICK_MIN_MS : period;
    period = period > TICK_MAX_MS ? TICK_MAX_MS : period;
    if (s->ended)
        return;
    compact_by_age(s);
    timer_set(&s->timers, &s->upkeep, period);
}

/* --- Compaction ---------------------------------------------------------- */

void upkeep_compact(struct store *s, uint64_t revision)
{
    uint64_t plain = revision_plain(revision);

    if (revision_epoch(revision) != s->epoch)
        return;
    if (plain > s->delivered)
        plain = s->delivered;
    if (plain > s->compact_to)
        s->compact_to = plain;
    engine_kick(s);
}

void upkeep_resume(struct store *s)
{
    uint64_t oldest = s->backend->ops->oldest(s->backend);

    if (s->compact_to < oldest)
        s->compact_to = oldest;
}

static void on_compacted(void *ctx, enum err e, uint64_t revision)
{
    struct store *s = ctx;

    (void)revision;
    s->compacting = false;
    if (s->ended)
        return;
    engine_set_oldest(s);
    if (e == ERR_AGAIN) {
        engine_kick(s);
        return;
    }
    s->compact_to = 0;
    if (e == ERR_OK) {
        metric_add(METRIC_STORE_COMPACTIONS, 1);
    } else { /* the next mark brings the next attempt */
        metric_add(METRIC_STORE_ERRORS, 1);
        log_warn("store", "history could not be dropped: %s", err_text(e));
    }
}

void upkeep_step(struct store *s)
{
    if (!s->compact_to || s->compacting)
        return;
    /* Whose outcome is being found out needs the state before him. */
    if (groups_unsettled(s))
        return;
    if (!s->compacts) {
        if (s->backend->ops->compacted)
            s->backend->ops->compacted(s->backend, s->compact_to);
        s->compact_to = 0;
        engine_set_oldest(s);
        return;
    }
    s->compacting = true;
    s->backend->ops->compact(s->backend, s->compact_to, on_compacted, s);
}

/* --- Room ---------------------------------------------------------------- */

void room_start(struct store *s, struct store_room *r)
{
    if (s->backend->ops->room) {
        s->backend->ops->room(s->backend, r);
        return;
    }
    errtext_set(&r->text, "this store is not kept in etcd");
    r->done(r, ERR_BAD);
}
