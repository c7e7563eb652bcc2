/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/mirror.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "http/json_in.h"
#include "http/request.h"
#include "mirror/impl.h"

static const char *const kind_names[] = {[MIRROR_SERVICE] = "service",
                                         [MIRROR_NODE] = "node",
                                         [MIRROR_NODE_CHECKS] = "node-checks",
                                         [MIRROR_ALL] = "all",
                                         [MIRROR_NODES] = "nodes",
                                         [MIRROR_CHECKS] = "checks",
                                         [MIRROR_PREFIX] = "prefix"};

/* --- Life ---------------------------------------------------------------- */

struct mirror *mirror_new(struct catalog *c, const struct mirror_events *e)
{
    struct mirror *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->catalog = c;
    m->events = *e;
    m->bytes_max = SIZE_MAX;
    m->show.slice = SIZE_MAX;
    sse_in_init(&m->in, MIRROR_LINE_MAX);
    rows_init(&m->rows);
    return m;
}

static void forget_entries(struct mirror *m)
{
    for (size_t i = 0; i < m->sub_count; i++) {
        struct sub *s = m->subs[i];
        entries_clear(&m->rows, &s->entries);
        entries_clear(&m->rows, &s->next);
        s->in_snapshot = s->ended = s->whole = s->leaving = false;
    }
    m->snapshots = m->ends = 0;
    m->show.stage = SHOW_NOTHING;
    m->show.beat = (struct beat){0};
    mirror_drop_held(m);
    outs_clear(m);
    rows_fini(&m->rows);
    rows_init(&m->rows);
}

void mirror_free(struct mirror *m)
{
    if (!m)
        return;
    forget_entries(m);
    for (size_t i = 0; i < m->sub_count; i++)
        free(m->subs[i]);
    map_fini(&m->by_key);
    sse_in_fini(&m->in);
    free(m);
}

void mirror_reset(struct mirror *m)
{
    forget_entries(m);
    m->revision = 0;
    catalog_load_anew(m->catalog);
    catalog_load_end(m->catalog, 0);
    m->events.committed(m->events.ctx);
}

void mirror_renew(struct mirror *m)
{
    show_finish(m);
    forget_entries(m);
    m->revision = 0;
    m->renewed = true;
}

size_t mirror_bytes(const struct mirror *m)
{
    return m->rows.bytes + m->held.n;
}

/* --- Subscriptions ------------------------------------------------------- */

/* The kind and the folded name. */
static void key_of(enum mirror_kind kind, struct bytes name, struct buf *out)
{
    buf_putc(out, (char)('a' + (int)kind));
    buf_put_fold(out, name);
}

static struct sub *find(const struct mirror *m, enum mirror_kind kind,
                        struct bytes name)
{
    char space[1 + MIRROR_NAME_MAX];
    struct buf key = {.p = space, .cap = sizeof space, .max = sizeof space};

    if (name.n > MIRROR_NAME_MAX)
        return NULL;
    key_of(kind, name, &key);
    return map_get(&m->by_key, buf_bytes(&key));
}

static size_t sent_bytes(const struct sub *s)
{
    struct buf out = {0};

    http_encode(&out, sub_name(s));
    size_t n = out.n + strlen(kind_names[s->kind]) + sizeof "&=";
    buf_fini(&out);
    return n;
}

void mirror_bound(struct mirror *m, size_t bytes_max)
{
    m->bytes_max = bytes_max;
}

void mirror_slice(struct mirror *m, size_t rows)
{
    m->show.slice = rows;
}

size_t mirror_subscriptions(const struct mirror *m)
{
    return m->sub_count;
}

static struct sub *sub_new(enum mirror_kind kind, struct bytes name)
{
    struct buf key = {0};

    key_of(kind, name, &key);
    struct sub *s = xzalloc(sizeof *s + key.n);
    s->kind = kind;
    s->key_n = key.n;
    memcpy(s->key, key.p, key.n);
    buf_fini(&key);
    return s;
}

/* All of it is here, and somebody wants it: it was being dropped, or its
 * tombstone made room for others. */
static void show_again(struct mirror *m, struct sub *s)
{
    bool shown = s->kind != MIRROR_SERVICE || !s->whole ||
                 snapshot_is_whole(catalog_current(m->catalog), sub_name(s));

    s->leaving = false;
    if (shown)
        return;
    show_finish(m);
    catalog_set_whole(m->catalog, sub_name(s), true);
    catalog_commit(m->catalog, m->revision);
    m->events.committed(m->events.ctx);
}

enum err mirror_want(struct mirror *m, enum mirror_kind kind, struct bytes name)
{
    struct sub *s = find(m, kind, name);

    if (s) {
        show_again(m, s);
        return ERR_EXISTS;
    }
    if (name.n > MIRROR_NAME_MAX)
        return ERR_LIMIT;
    if (m->sub_count == MIRROR_SUBSCRIPTIONS_MAX ||
        m->rows.bytes > m->bytes_max)
        return ERR_FULL;
    s = sub_new(kind, name);
    size_t sent = sent_bytes(s);
    if (m->names_bytes + sent > MIRROR_NAMES_BYTES_MAX) {
        free(s);
        return ERR_FULL;
    }
    bool memory = map_put(&m->by_key, bytes_of(s->key, s->key_n), s) == ERR_OK;
    require(memory);
    m->names_bytes += sent;
    m->subs[m->sub_count++] = s;
    return ERR_OK;
}

void mirror_services(const struct mirror *m,
                     void (*each)(void *ctx, struct bytes name), void *ctx)
{
    for (size_t i = 0; i < m->sub_count; i++)
        if (m->subs[i]->kind == MIRROR_SERVICE)
            each(ctx, sub_name(m->subs[i]));
}

void sub_remove(struct mirror *m, size_t at)
{
    struct sub *s = m->subs[at];

    m->names_bytes -= sent_bytes(s);
    m->snapshots -= s->in_snapshot;
    m->ends -= s->ended;
    (void)map_del(&m->by_key, bytes_of(s->key, s->key_n));
    /* In their order: resume= counts them. */
    m->sub_count--;
    memmove(&m->subs[at], &m->subs[at + 1],
            (m->sub_count - at) * sizeof(m->subs[0]));
    entries_clear(&m->rows, &s->entries);
    entries_clear(&m->rows, &s->next);
    free(s);
}

bool mirror_is_whole(const struct mirror *m)
{
    for (size_t i = 0; i < m->sub_count; i++)
        if (!m->subs[i]->whole)
            return false;
    return true;
}

uint64_t mirror_revision(const struct mirror *m)
{
    return m->revision;
}

const char *mirror_subscriber(const struct mirror *m)
{
    return m->subscriber;
}

size_t mirror_damaged(const struct mirror *m, const struct errtext **ret)
{
    *ret = &m->last_damage;
    return m->damaged;
}

static size_t put_subs(const struct mirror *m, bool whole, struct buf *target)
{
    size_t n = 0;

    for (size_t i = 0; i < m->sub_count; i++) {
        const struct sub *s = m->subs[i];
        if (s->whole != whole)
            continue;
        n++;
        buf_putc(target, '&');
        buf_puts(target, kind_names[s->kind]);
        if (is_of_all(s->kind))
            continue;
        buf_putc(target, '=');
        http_encode(target, sub_name(s));
    }
    return n;
}

void mirror_connect(struct mirror *m, struct buf *target, uint64_t *ret_id)
{
    mirror_forget_half(m);
    m->again = false;
    m->subscriber[0] = '\0';
    buf_puts(target, "/v1/muster/stream?rows");
    size_t n = put_subs(m, true, target);
    (void)put_subs(m, false, target);
    buf_puts(target, "&resume=");
    buf_u64(target, n);
    *ret_id = n ? m->revision : 0;
}

/* --- Events -------------------------------------------------------------- */

struct entry_in {
    struct json_list rows; /* of row_in */
    int64_t out, let_in;
};

struct event_in {
    struct bytes of, name, key, phase, subscriber, datacenter, cluster;
    struct bytes way;
    bool forgot;
    struct entry_in *entry;
    int64_t index, at, age;
    struct sums_in sums;
};

/* clang-format off */
#define FIELD(s, name, kind, member) {name, NULL, kind, offsetof(struct s, member), NULL, JSON_NO_FLAG}

static const struct json_field row_fields[] = {
    FIELD(row_in, "Key", FIELD_STRING, key),
    FIELD(row_in, "Value", FIELD_STRING, value),
    FIELD(row_in, "Create", FIELD_INT, create),
    FIELD(row_in, "Modify", FIELD_INT, modify),
};
static const struct json_table row_table = {row_fields, 4, sizeof(struct row_in)};
static const struct json_field entry_fields[] = {
    {"Rows", NULL, FIELD_LIST, offsetof(struct entry_in, rows), &row_table, JSON_NO_FLAG},
    FIELD(entry_in, "Out", FIELD_INT, out),
    FIELD(entry_in, "LetIn", FIELD_INT, let_in),
};
static const struct json_table entry_table = {entry_fields, 3, sizeof(struct entry_in)};
static const struct json_field event_fields[] = {
    FIELD(event_in, "Of", FIELD_STRING, of),
    FIELD(event_in, "Name", FIELD_STRING, name),
    FIELD(event_in, "Key", FIELD_STRING, key),
    FIELD(event_in, "Phase", FIELD_STRING, phase),
    {"Entry", NULL, FIELD_OBJECT, offsetof(struct event_in, entry), &entry_table, JSON_NO_FLAG},
    FIELD(event_in, "Index", FIELD_INT, index),
    FIELD(event_in, "Subscriber", FIELD_STRING, subscriber),
    FIELD(event_in, "Datacenter", FIELD_STRING, datacenter),
    FIELD(event_in, "Cluster", FIELD_STRING, cluster),
    FIELD(event_in, "At", FIELD_INT, at),
    FIELD(event_in, "Age", FIELD_INT, age),
    FIELD(event_in, "Way", FIELD_STRING, way),
    FIELD(event_in, "Forgot", FIELD_BOOL, forgot),
    FIELD(event_in, "Seed", FIELD_INT, sums.seed),
    FIELD(event_in, "Buckets", FIELD_INT, sums.buckets),
    FIELD(event_in, "Sums", FIELD_STRING, sums.sums),
};
static const struct json_table event_table = {
    event_fields, sizeof event_fields / sizeof *event_fields, sizeof(struct event_in)};
/* clang-format on */

static struct sub *sub_of(const struct mirror *m, const struct event_in *in)
{
    for (size_t k = 0; k < sizeof kind_names / sizeof kind_names[0]; k++)
        if (bytes_is(in->of, kind_names[k]))
            return find(m, (enum mirror_kind)k,
                        is_of_all((enum mirror_kind)k) ? (struct bytes){0}
                                                       : in->name);
    return NULL;
}

/* Guard records are put together from those who have all of a service. */
static bool tells_outs(const struct sub *s)
{
    return s->kind == MIRROR_SERVICE || s->kind == MIRROR_ALL ||
           s->kind == MIRROR_PREFIX;
}

static enum err put(struct mirror *m, struct sub *s, const struct event_in *in)
{
    struct entry *e;

    if (!in->key.n || !in->entry) {
        errtext_set(m->text, "an event \"put\" without Key or Entry");
        return ERR_BAD;
    }
    enum err err = entry_new(&m->rows, in->key, in->entry->rows.v,
                             in->entry->rows.n, &e, m->text);
    if (err != ERR_OK)
        return err;
    e->out = in->entry->out > 0 ? (uint64_t)in->entry->out : 0;
    row_let_in(&m->rows, e, (uint32_t)(in->entry->let_in & UINT32_MAX));
    if (tells_outs(s))
        outs_tell(m, e, e->out);
    entries_put(&m->rows, s->in_snapshot ? &s->next : &s->entries, e);
    return ERR_OK;
}

void mirror_drop(struct mirror *m, struct sub *s, struct bytes key)
{
    struct map *from = s->in_snapshot ? &s->next : &s->entries;
    const struct entry *e = map_get(from, key);

    if (e && tells_outs(s))
        outs_tell(m, e, 0);
    entries_del(&m->rows, from, key);
}

/* What the snapshot does not have any more is let go by nobody. */
static void drop_outs(struct mirror *m, const struct sub *s)
{
    size_t at = 0;
    struct bytes key;
    void *e;

    while (tells_outs(s) && map_next(&s->entries, &at, &key, &e))
        if (!map_get(&s->next, key))
            outs_tell(m, e, 0);
}

static void snapshot(struct mirror *m, struct sub *s, struct bytes phase)
{
    if (bytes_is(phase, "begin")) {
        entries_clear(&m->rows, &s->next);
        m->snapshots += !s->in_snapshot;
        s->in_snapshot = true;
    } else if (bytes_is(phase, "end") && s->in_snapshot) {
        drop_outs(m, s);
        struct map old = s->entries;
        s->entries = s->next;
        s->next = (struct map){0};
        entries_clear(&m->rows, &old);
        s->in_snapshot = false;
        m->snapshots--;
        m->ends += !s->ended;
        s->ended = true;
    }
}

static enum err behind(struct mirror *m, uint64_t index)
{
    errtext_set(m->text, "the server is at %llu, and this agent at %llu",
                (unsigned long long)index, (unsigned long long)m->revision);
    return ERR_AGAIN;
}

static enum err begin(struct mirror *m, const struct event_in *in)
{
    struct bytes id = bytes_head(in->subscriber, sizeof m->subscriber - 1);
    const struct mirror_origin o = {
        .datacenter = in->datacenter,
        .cluster = in->cluster,
        .index = in->index > 0 ? (uint64_t)in->index : 0,
        .at_ms = in->at > 0 ? (uint64_t)in->at : 0,
    };
    enum err e =
        m->events.begun ? m->events.begun(m->events.ctx, &o, m->text) : ERR_OK;

    if (e != ERR_OK)
        return e;
    if (in->index < 0 || (uint64_t)in->index < m->revision)
        return behind(m, (uint64_t)in->index);
    memcpy(m->subscriber, id.p ? id.p : "", id.n);
    m->subscriber[id.n] = '\0';
    return ERR_OK;
}

static enum err apply(struct mirror *m, const struct sse_got *got,
                      const struct event_in *in)
{
    if (bytes_is(got->name, "subscriber"))
        return begin(m, in);
    if (bytes_is(got->name, "digest"))
        return digest_begin(m, in->way, in->forgot);
    if (bytes_is(got->name, "sums"))
        return digest_sums(m, &in->sums);
    struct sub *s = sub_of(m, in);
    if (!s)
        return ERR_OK; /* of the whole stream, or of a later version */
    if (bytes_is(got->name, "snapshot"))
        snapshot(m, s, in->phase);
    else if (bytes_is(got->name, "put"))
        return put(m, s, in);
    else if (bytes_is(got->name, "remove"))
        mirror_drop(m, s, in->key);
    return ERR_OK;
}

static enum err on_event(void *ctx, const struct sse_got *got)
{
    struct mirror *m = ctx;
    struct event_in in = {0};
    struct arena a;
    enum err e = ERR_OK;

    if (bytes_is(got->name, "user") && m->events.user_events) {
        m->events.user_events(m->events.ctx, got->data);
        return ERR_OK;
    }
    if (got->data.n) {
        arena_init(&a, 0);
        e = json_decode(got->data, &event_table, &in, &a, m->text);
        if (e == ERR_OK)
            e = apply(m, got, &in);
        arena_fini(&a);
    }
    if (e != ERR_OK || !got->has_id || m->snapshots)
        return e;
    if (got->id < m->revision)
        return behind(m, got->id);
    if (bytes_is(got->name, "sums") && m->digested != MIRROR_DONE)
        return ERR_OK; /* put, but not to be shown: something may be too much */
    if (bytes_is(got->name, "beat") && in.at > 0)
        m->show.beat = (struct beat){true, (uint64_t)in.at,
                                     in.age > 0 ? (uint64_t)in.age : 0};
    m->in.stop = !show_begin(m, got->id);
    return ERR_OK;
}

/* --- Pieces --------------------------------------------------------------- */

/* What has been taken is not kept for long. */
static void hold(struct mirror *m, struct bytes piece)
{
    size_t rest = m->held.n - m->held_at;

    if (m->held_at > rest) {
        memmove(m->held.p, m->held.p + m->held_at, rest);
        m->held.n = rest;
        m->held_at = 0;
    }
    buf_put(&m->held, piece);
    require(!m->held.bad);
}

void mirror_drop_held(struct mirror *m)
{
    buf_fini(&m->held);
    m->held = (struct buf){0};
    m->held_at = 0;
}

static enum err take_held(struct mirror *m)
{
    struct bytes all = bytes_skip(buf_bytes(&m->held), m->held_at);
    struct bytes some = bytes_head(all, MIRROR_HELD_SLICE), rest = some;
    enum err e = sse_in_take(&m->in, &rest, on_event, m, m->text);

    m->held_at += some.n - rest.n;
    if (m->held_at == m->held.n)
        mirror_drop_held(m);
    return e;
}

static enum err step(struct mirror *m, size_t rows)
{
    if (m->show.stage == SHOW_NOTHING)
        return take_held(m);
    (void)show_some(m, rows);
    return ERR_OK;
}

bool mirror_is_busy(const struct mirror *m)
{
    return m->show.stage != SHOW_NOTHING || m->held.n > m->held_at;
}

enum err mirror_step(struct mirror *m, struct errtext *t)
{
    m->text = t;
    return mirror_is_busy(m) ? step(m, m->show.slice) : ERR_OK;
}

enum err mirror_push(struct mirror *m, struct bytes piece, struct errtext *t)
{
    enum err e = ERR_OK;

    m->text = t;
    if (!mirror_is_busy(m))
        e = sse_in_take(&m->in, &piece, on_event, m, t);
    if (e == ERR_OK && piece.n)
        hold(m, piece);
    while (e == ERR_OK && m->held.n - m->held_at > MIRROR_HELD_MAX)
        e = step(m, SIZE_MAX);
    return e;
}
