/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Those who read through somebody else (behind.h): as a server is told of them,
 * and as somebody who answers for them tells it. */
#include "server/subscribers_impl.h"

#include "catalog/catalog.h"

/* What was said last, with its texts. */
struct behind_kept {
    struct arena arena;
    struct behind said; /* rows' seen_ms: monotonic here */
    uint64_t unknown_until_ms;
};

enum { AGO_MAX_MS = 1 << 30 }; /* what is said of longer ago is cut to that */

/* --- Told ---------------------------------------------------------------- */

void behind_kept_free(struct subscribers *ss, struct behind_kept *take)
{
    if (!take)
        return;
    ss->behind_rows -= take->said.row_count;
    arena_fini(&take->arena);
    free(take);
}

static bool copy(struct arena *a, struct bytes *text)
{
    *text = arena_copy(a, text->n ? *text : bytes_str(""));
    return text->p != NULL;
}

static uint64_t moment(uint64_t now, uint64_t ago)
{
    ago = ago < AGO_MAX_MS ? ago : AGO_MAX_MS;
    return now > ago ? now - ago : 1;
}

static bool copy_rows(struct behind_kept *k, const struct behind *b,
                      uint64_t now)
{
    struct arena *a = &k->arena;
    size_t n = b->row_count;
    struct behind_row *v = arena_alloc(a, (n + 1) * sizeof *v);
    bool ok = v != NULL;

    for (size_t i = 0; ok && i < n; i++) {
        struct behind_row *r = &v[i];
        *r = b->rows[i];
        r->seen_ms = moment(now, r->seen_ms);
        ok = copy(a, &r->id) && copy(a, &r->label) && copy(a, &r->zone) &&
             copy(a, &r->peer) && copy(a, &r->target) && copy(a, &r->service);
    }
    k->said.rows = v;
    k->said.row_count = ok ? n : 0;
    return ok;
}

static struct behind_kept *kept_new(const struct behind *b, uint64_t now)
{
    struct behind_kept *k = calloc(1, sizeof *k);
    size_t n = b->dns_count;

    if (!k)
        return NULL;
    arena_init(&k->arena, 0);
    k->said.agent = b->agent;
    k->said.dns = arena_alloc(&k->arena, (n + 1) * sizeof *k->said.dns);
    bool ok =
        k->said.dns && copy(&k->arena, &k->said.agent) && copy_rows(k, b, now);
    for (size_t i = 0; ok && i < n; i++) {
        k->said.dns[i] = b->dns[i];
        ok = copy(&k->arena, &k->said.dns[i].service);
    }
    k->said.dns_count = n;
    k->unknown_until_ms =
        now + (b->unknown_ms < AGO_MAX_MS ? b->unknown_ms : AGO_MAX_MS);
    if (ok)
        return k;
    arena_fini(&k->arena);
    free(k);
    return NULL;
}

static void take_readers(struct subscribers *ss, const struct behind *b,
                         uint64_t now)
{
    for (size_t i = 0; i < b->reader_count; i++) {
        const struct behind_reader *r = &b->readers[i];
        char space[512];
        readers_seen(&ss->readers,
                     subscribers_fold(r->service, space, sizeof space), r->peer,
                     b->agent, moment(now, r->seen_ms));
    }
    if (b->lost_ms)
        readers_lost(&ss->readers, moment(now, b->lost_ms));
}

/* Takes k. */
static enum ack_result keep(struct subscribers *ss, const struct behind *b,
                            struct behind_kept *k, uint64_t now)
{
    struct subscriber *s = map_get(&ss->by_id, b->subscriber);
    enum ack_result result = ACK_TAKEN;
    size_t had = s && s->behind ? s->behind->said.row_count : 0;

    if (!s || !s->stream)
        result = ACK_NOBODY;
    else if (b->index > atomic_load(&s->flow.told))
        result = ACK_NEVER;
    else if (ss->behind_rows - had + b->row_count > BEHIND_ALL_MAX)
        result = ACK_FULL;
    ss->behind_rows += b->row_count;
    if (result != ACK_TAKEN) {
        behind_kept_free(ss, k);
        return result;
    }
    behind_kept_free(ss, s->behind);
    s->behind = k;
    take_readers(ss, b, now);
    if (b->index)
        subscribers_applied(ss, s, b->index);
    return result;
}

enum ack_result subscribers_behind(struct subscribers *ss,
                                   const struct behind *b)
{
    uint64_t now = process_now_ms();
    struct behind_kept *k = kept_new(b, now);

    if (!k)
        return ACK_NOMEM;
    uv_mutex_lock(&ss->mutex);
    enum ack_result result = keep(ss, b, k, now);
    uv_mutex_unlock(&ss->mutex);
    return result;
}

/* --- Shown --------------------------------------------------------------- */

void behind_kept_show(const struct subscriber *s, struct bytes name,
                      uint64_t now_ms, struct watcher *row)
{
    const struct behind_kept *k = s->behind;

    if (!k)
        return;
    if (k->unknown_until_ms > now_ms)
        row->unknown_ms = k->unknown_until_ms - now_ms;
    for (size_t i = 0; i < k->said.dns_count; i++)
        if ((k->said.dns[i].service.n == 0 ||
             bytes_eq_fold(k->said.dns[i].service, name)) &&
            row->dns_ms < k->said.dns[i].ttl_ms)
            row->dns_ms = k->said.dns[i].ttl_ms;
}

void behind_kept_each(const struct subscriber *s, struct bytes name,
                      uint64_t now_ms,
                      void (*each)(void *ctx, const struct watcher *w),
                      void *ctx)
{
    const struct behind_kept *k = s->behind;

    for (size_t i = 0; k && i < k->said.row_count; i++) {
        const struct behind_row *r = &k->said.rows[i];
        if (r->service.n && !bytes_eq_fold(r->service, name))
            continue;
        uint64_t ago = now_ms > r->seen_ms ? now_ms - r->seen_ms : 0;
        struct watcher row = {
            .id = r->id.p,
            .label = r->label.p,
            .zone = r->zone.p,
            .peer = r->peer.p,
            .target = r->target.p,
            .via = k->said.agent.p,
            .stream = r->stream,
            .connected = r->connected,
            .behind = true,
            .at = MARK_CLEAN,
            .applied = r->applied,
            .told = r->sent,
            .since_ms = ago,
            .seen_ms = ago,
        };
        each(ctx, &row);
    }
}

/* --- Told by whoever answers for them ------------------------------------ */

/* Who follows an answer that shows no checks is never told of a drain. */
static bool shows_no_checks(const char *target)
{
    return bytes_starts(bytes_str(target), bytes_str("/v1/catalog/"));
}

static bool is_behind(const struct watch *w, const struct snapshot *cat,
                      uint64_t seen)
{
    const struct subscriber *s = w->subscriber;
    struct bytes name = bytes_of(w->name, w->name_n);
    bool no_checks = name.n && shows_no_checks(w->target);

    if (no_checks)
        return true;
    if (s->stream) {
        uint64_t at = w->mark ? atomic_load(&w->mark->at) : MARK_CLEAN;
        return !s->connected || at < seen || atomic_load(&s->flow.behind) > 0 ||
               s->applied < atomic_load(&s->flow.told);
    }
    struct watch_key k = {WATCH_SERVICE_HEALTH, name};
    return w->applied < snapshot_index(cat, k);
}

struct collect {
    struct arena *arena;
    struct behind *to;
    uint64_t now_ms;
    size_t reader_max;
    bool failed;
};

/* Cut so that it is nobody else's. */
static struct bytes target_of(struct arena *a, const char *target)
{
    struct bytes t = bytes_str(target);

    if (t.n <= BEHIND_TEXT_MAX)
        return arena_copy(a, t);
    char *cut = arena_printf(a, "%.*s...", BEHIND_TEXT_MAX - 3, target);
    return cut ? bytes_str(cut) : (struct bytes){NULL, 0};
}

static void add_row(struct collect *c, const struct watch *w)
{
    const struct subscriber *s = w->subscriber;
    struct arena *a = c->arena;

    if (c->to->row_count >= BEHIND_ROWS_MAX) {
        c->failed = true;
        return;
    }
    struct behind_row *r = &c->to->rows[c->to->row_count];
    *r = (struct behind_row){
        .id = arena_copy(a, bytes_str(s->id)),
        .label = arena_copy(a, bytes_str(s->label)),
        .zone = arena_copy(a, bytes_str(s->zone)),
        .peer = arena_copy(a, bytes_str(s->peer)),
        .target = target_of(a, w->target),
        .service = arena_copy(a, bytes_of(w->name, w->name_n)),
        .stream = s->stream,
        .connected = s->connected,
        .applied = s->stream ? s->applied : w->applied,
        .sent = atomic_load(&s->flow.told),
        .seen_ms = s->stream && s->connected ? 0 : c->now_ms - s->seen_ms,
    };
    c->failed |= !r->target.p || !r->service.p || !r->peer.p;
    c->to->late |= s->connected && !shows_no_checks(w->target);
    c->to->row_count++;
}

static void add_reader(void *ctx, struct bytes service, const char *host,
                       uint64_t seen_ms)
{
    struct collect *c = ctx;

    if (c->to->reader_count >= c->reader_max)
        return;
    c->to->readers[c->to->reader_count++] = (struct behind_reader){
        arena_copy(c->arena, service), arena_copy(c->arena, bytes_str(host)),
        c->now_ms > seen_ms ? c->now_ms - seen_ms : 0};
}

bool subscribers_collect(struct subscribers *ss, const struct snapshot *cat,
                         uint64_t seen, uint64_t since_ms, struct arena *a,
                         struct behind *ret)
{
    struct collect c = {.arena = a, .to = ret, .now_ms = process_now_ms()};

    *ret = (struct behind){
        .rows = arena_alloc(a, BEHIND_ROWS_MAX * sizeof *ret->rows),
        .unknown_ms = subscribers_unknown_ms(ss),
    };
    uv_mutex_lock(&ss->mutex);
    subscribers_forget(ss);
    list_each (it, &ss->all) {
        struct subscriber *s = container_of(it, struct subscriber, link);
        list_each (at, &s->watches) {
            struct watch *w = container_of(at, struct watch, link);
            if (ret->rows && is_behind(w, cat, seen))
                add_row(&c, w);
        }
    }
    c.reader_max = ss->readers.by_key.n;
    ret->readers = arena_alloc(a, (c.reader_max + 1) * sizeof *ret->readers);
    if (ret->readers)
        readers_since(&ss->readers, since_ms, add_reader, &c);
    if (ss->readers.lost_ms && c.now_ms - ss->readers.lost_ms < ss->memory_ms)
        ret->lost_ms = c.now_ms - ss->readers.lost_ms + 1;
    uv_mutex_unlock(&ss->mutex);
    return ret->rows && ret->readers && !c.failed;
}
