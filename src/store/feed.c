/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* feed - the backend's rows and revisions, as batches for the store's user.
 *
 * A load reads the pointer (which epoch is current, as of which revision), then
 * everything as of that revision. What the feed brings meanwhile is held and
 * handed out behind it. Another epoch's pointer, or a gap, starts a new load.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/impl.h"
#include "store/marker.h"

void data_prefix(uint32_t epoch, char ret[DATA_PREFIX_BYTES + 1])
{
    snprintf(ret, DATA_PREFIX_BYTES + 1, "k%04x/", epoch & 0xffffU);
}

/* --- Out ----------------------------------------------------------------- */

static void emit(void *ctx, struct store_batch *take)
{
    struct store *s = ctx;

    s->options.on_batch(s->options.ctx, take);
}

static void emit_mark(struct store *s, enum store_batch_kind kind,
                      uint64_t revision)
{
    char *room;
    struct store_batch *b = batch_new(kind, 0, 0, &room);

    b->revision = revision;
    emit(s, b);
}

/* --- Revisions ----------------------------------------------------------- */

static bool parse_epoch(struct bytes value, uint32_t *ret)
{
    uint64_t n;

    if (bytes_u64(value, &n) != ERR_OK || n > EPOCH_MAX)
        return false;
    *ret = (uint32_t)n;
    return true;
}

/* Keys of the engine's own. True: the epoch has changed. */
static bool own_event(struct store *s, const struct store_event *ev)
{
    bool flipped = false;

    switch (ev->key.n ? ev->key.p[0] : 0) {
    case 'E':
        /* While it is asked for, none that is known is newer. */
        flipped = bytes_is(ev->key, "E") &&
                  ((s->loading && s->load_step == LOAD_POINTER) ||
                   ev->mod_rev > s->pointer_rev);
        break;
    case 'm':
        if (!ev->is_delete)
            group_marker_seen(s, ev->key, ev->mod_rev);
        break;
    case 'd':
        if (ev->is_delete)
            duty_key_deleted(s, ev->key);
        break;
    default:
        break;
    }
    return flipped;
}

static void hand_out(struct store *s, struct store_batch *take)
{
    s->delivered = revision_plain(take->revision);
    metric_set(METRIC_STORE_REVISION, (int64_t)take->revision);
    emit(s, take);
}

/* Who deleted something is told: to those who follow it, a removal by somebody
 * is another than one by time. True: there is something to tell. */
static bool deleters(const struct store *s, const struct store_event *events,
                     size_t count, struct marker *m)
{
    bool any = false;

    for (size_t i = 0; i < count && !any; i++)
        any =
            events[i].is_delete && bytes_starts(events[i].key, store_prefix(s));
    for (size_t i = 0; i < count && any; i++)
        if (!events[i].is_delete &&
            bytes_starts(events[i].key, bytes_str("m/")))
            marker_read(m, events[i].value);
    return any;
}

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    struct store *s = ctx;
    bool flipped = false;

    if (s->ended)
        return;
    /* A feed that lags behind a load tells what the load has shown. */
    if (s->ready && !s->loading && revision <= s->delivered)
        return;
    upkeep_fed(s, events, count);
    for (size_t i = 0; i < count; i++)
        flipped |= own_event(s, &events[i]);
    if (flipped) {
        /* What is held, and what follows until the load, is in the load. */
        feed_load(s);
        return;
    }
    struct marker who = {0};
    bool tell = deleters(s, events, count, &who);
    struct store_batch *b = batch_of_revision(s, revision, wall_ms, events,
                                              count, tell ? &who : NULL);

    marker_fini(&who);
    if (s->loading) {
        list_add(&s->held, &b->link);
    } else {
        hand_out(s, b);
        groups_delivered(s);
        duties_delivered(s);
    }
}

static void on_gap(void *ctx)
{
    struct store *s = ctx;

    if (s->ended)
        return;
    s->feed_stopped = true;
    feed_load(s);
}

static void on_state(void *ctx, bool up, enum err why, const char *text)
{
    struct store *s = ctx;

    if (s->ready && !s->ended)
        engine_state(s, up, why, text);
}

/* --- Load ---------------------------------------------------------------- */

static void held_drop(struct store *s)
{
    list_each (it, &s->held) {
        list_del(it);
        store_batch_free(container_of(it, struct store_batch, link));
    }
}

static void load_failed(struct store *s, enum err e, const char *what)
{
    char text[96];

    snprintf(text, sizeof text, "cannot load %s: %s", what, err_text(e));
    if (!s->options.on_state && s->up != 0) /* else it says so */
        log_error("store", "%s", text);
    s->load_step = LOAD_FAILED;
    engine_state(s, false, e, text);
    engine_retry_later(s);
}

static void note_garbage(struct store *s, uint32_t epoch)
{
    for (size_t i = 0; i < s->garbage_count; i++) {
        if (s->garbage[i] == epoch)
            return;
    }
    if (s->garbage_count < GARBAGE_MAX)
        s->garbage[s->garbage_count++] = epoch;
}

/* A row of another epoch: an older one's is left over; a newer one's belongs to
 * an import under way. */
static void other_epoch_row(struct store *s, struct bytes key)
{
    char hex[5] = "";

    if (key.n < DATA_PREFIX_BYTES)
        return;
    memcpy(hex, key.p + 1, 4);
    uint32_t epoch = (uint32_t)strtoul(hex, NULL, 16);
    if (epoch < s->epoch)
        note_garbage(s, epoch);
}

/* A receiver that is slower than the disk would otherwise have all rows of a
 * large store in its queue at once. */
static void emit_rows(void *ctx, struct store_batch *take)
{
    struct store *s = ctx;

    window_enter(s->window, take, &s->closing);
    emit(s, take);
}

static void load_row(void *ctx, const struct backend_row *row)
{
    struct store *s = ctx;
    struct backend_row r = *row;

    switch (row->key.n ? row->key.p[0] : 0) {
    case 'k':
        if (bytes_starts(row->key, store_prefix(s))) {
            r.key = bytes_skip(row->key, DATA_PREFIX_BYTES);
            chunk_add(s, &s->load_chunk, &r, emit_rows, s);
        } else {
            other_epoch_row(s, row->key);
        }
        break;
    case 'm':
        group_marker_seen(s, row->key, row->mod_rev);
        break;
    case 't':
        if (bytes_is(row->key, "t"))
            upkeep_loaded(s, row->value);
        break;
    default:
        break;
    }
}

static void start_feed(struct store *s)
{
    struct backend_sink sink = {on_revision, on_gap, on_state, s};

    s->feed_stopped = false;
    s->backend->ops->start(s->backend, &sink, s->load_rev);
}

/* Everything held behind the load, in order; then life goes on. */
static void load_ended(struct store *s)
{
    bool first = !s->ready;

    if (s->load_rev < s->delivered) {
        log_warn("store",
                 "revisions fell, as of a store put back to a backup: "
                 "had=%llu has=%llu",
                 (unsigned long long)s->delivered,
                 (unsigned long long)s->load_rev);
        groups_fell(s);
        upkeep_fell(s);
    }
    s->delivered = s->load_rev;
    emit_mark(s, BATCH_LOAD_END, revision_out(s, s->load_rev));
    metric_set(METRIC_STORE_REVISION, (int64_t)revision_out(s, s->load_rev));
    engine_set_oldest(s);
    s->loading = false;
    s->ready = true;
    list_each (it, &s->held) {
        struct store_batch *b = container_of(it, struct store_batch, link);

        list_del(it);
        if (revision_plain(b->revision) > s->load_rev)
            hand_out(s, b);
        else
            store_batch_free(b);
    }
    engine_state(s, true, ERR_OK, "");
    if (first || s->feed_stopped)
        start_feed(s);
    if (first) {
        upkeep_resume(s);
        engine_ready(s);
    }
    groups_delivered(s);
    duties_delivered(s);
    for (size_t i = 0; i < s->garbage_count; i++)
        import_clean(s, s->garbage[i]);
    s->garbage_count = 0;
    engine_kick(s);
}

static void pointer_read(struct store *s);

static void rows_done(void *ctx, enum err e, uint64_t revision)
{
    struct store *s = ctx;

    (void)revision;
    chunk_flush(&s->load_chunk, emit_rows, s);
    if (s->ended)
        return;
    if (s->load_again || e == ERR_COMPACTED)
        pointer_read(s);
    else if (e != ERR_OK)
        load_failed(s, e, "the rows");
    else
        load_ended(s);
}

static void pointer_row(void *ctx, const struct backend_row *row)
{
    struct store *s = ctx;

    if (!bytes_is(row->key, "E"))
        return;
    s->found_pointer = row->mod_rev;
    if (!parse_epoch(row->value, &s->found_epoch))
        s->pointer_bad = true;
}

static void pointer_done(void *ctx, enum err e, uint64_t revision)
{
    struct store *s = ctx;

    if (s->ended)
        return;
    if (e == ERR_OK && s->pointer_bad)
        e = ERR_CORRUPT;
    if (e != ERR_OK) {
        load_failed(s, e, "the epoch");
        return;
    }
    s->epoch = s->found_epoch;
    s->pointer_rev = s->found_pointer;
    data_prefix(s->epoch, s->prefix);
    /* What came before this answer was taken for the other epoch's. It is in
     * what is read from now on. */
    if (s->epoch != s->load_epoch && !list_empty(&s->held)) {
        pointer_read(s);
        return;
    }
    s->load_rev = revision;
    s->load_step = LOAD_ROWS;
    emit_mark(s, BATCH_LOAD_BEGIN, revision_out(s, revision));
    /* At revision 0 there is nothing yet, and 0 would mean the newest. */
    if (revision == 0)
        load_ended(s);
    else
        s->backend->ops->range(s->backend, bytes_str(""), revision, load_row,
                               rows_done, s);
}

static void pointer_read(struct store *s)
{
    s->load_step = LOAD_POINTER;
    s->load_again = false;
    s->pointer_bad = false;
    s->load_epoch = s->epoch;
    /* No row: epoch 0, also where there was one before (a backup). */
    s->found_epoch = 0;
    s->found_pointer = 0;
    groups_forget_markers(s);
    held_drop(s);
    s->backend->ops->range(s->backend, bytes_str("E"), 0, pointer_row,
                           pointer_done, s);
}

void feed_load(struct store *s)
{
    if (s->loading) { /* the one under way is out of date */
        s->load_again = true;
        held_drop(s);
        return;
    }
    s->loading = true;
    s->load_step = LOAD_WANTED;
    engine_kick(s);
}

void feed_continue(struct store *s)
{
    if (s->load_step == LOAD_WANTED)
        pointer_read(s);
}

void feed_retry(struct store *s)
{
    if (s->load_step == LOAD_FAILED)
        pointer_read(s);
}

void feed_fini(struct store *s)
{
    held_drop(s);
    window_leave(s->window);
    store_batch_free(s->load_chunk.batch);
}
