/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/metric.h"
#include "base/reader.h"
#include "http/json_out.h"
#include "http/sse.h"
#include "server/push.h"

enum {
    CALL_ARENA_MAX = 1 << 20, /* a target's parameters */
    LOOK_AT_CLOCK_EVERY = 8,  /* entries */
};

/* The group's call, for the length of one step. */
struct step {
    struct serving *s;
    struct push_group *g;
    struct push_build *b;
    struct api_env env;
    struct arena arena;
    struct api_call call;
    struct buf data, key;
    bool failed; /* no memory, or no mirror any more */
};

static void step_end(struct step *st)
{
    api_call_fini(&st->call);
    arena_fini(&st->arena);
    buf_fini(&st->data);
    buf_fini(&st->key);
}

static bool step_begin(struct step *st, struct serving *s, struct push_group *g)
{
    *st = (struct step){.s = s, .g = g, .b = &g->build};
    bool there = serving_env_of(s, g->follow.of, &st->env);
    arena_init(&st->arena, CALL_ARENA_MAX);
    api_call_init(&st->call);
    buf_init(&st->data, 0);
    buf_init(&st->key, 0);
    return there && api_from_canonical(&st->call, &st->env, g->follow.target,
                                       &st->arena) == ERR_OK;
}

static uint64_t key_index(const struct step *st)
{
    return serving_key_index(&st->env, st->call.watch);
}

static uint64_t hash_of(struct step *st, const struct entry *e)
{
    buf_reset(&st->key);
    entry_key(e, &st->key);
    st->failed |= st->key.bad;
    uint64_t h = bytes_hash(buf_bytes(&st->key), st->s->pushes.seed);
    return h ? h : 1;
}

/* --- Texts --------------------------------------------------------------- */

static struct push_text *text_new(struct serving *s, struct push_group *g)
{
    struct push_text *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->group = g;
    t->refs = 1;
    t->made_ms = uv_now(&s->loop);
    list_add(&s->pushes.texts, &t->link);
    return t;
}

void push_text_unref(struct pushes *ss, struct push_text *t)
{
    if (!t || --t->refs > 0)
        return;
    for (uint32_t i = 0; i < t->n; i++)
        shared_unref(t->pieces[i]);
    shared_unref(t->last_plain);
    free(t->pieces);
    list_del(&t->link);
    ss->text_bytes -= t->bytes;
    metric_add(METRIC_STREAM_BYTES, -(int64_t)t->bytes);
    free(t);
}

static bool text_add(struct pushes *ss, struct push_text *t, struct bytes piece)
{
    if (t->n == t->cap) {
        uint32_t cap = t->cap ? 2 * t->cap : 1;
        struct shared **pieces = realloc(t->pieces, cap * sizeof *pieces);
        if (!pieces)
            return false;
        t->pieces = pieces;
        t->cap = cap;
    }
    struct shared *p = shared_copy(piece);
    if (!p)
        return false;
    t->pieces[t->n++] = p;
    t->bytes += p->n;
    ss->text_bytes += p->n;
    metric_add(METRIC_STREAM_BYTES, (int64_t)p->n);
    return true;
}

static void flush(struct step *st)
{
    struct buf *out = &st->b->out;
    st->failed |=
        out->bad || !text_add(&st->s->pushes, st->b->text, buf_bytes(out));
    buf_reset(out);
}

/* The last event gets its id. */
static void close_text(struct step *st)
{
    struct push_build *b = st->b;
    struct push_text *t = b->text;
    if (b->out.n) {
        b->out.n--; /* the empty line */
        t->id_at = b->out.n;
        sse_id(&b->out, b->to_id);
        t->id_n = b->out.n - t->id_at;
        sse_end(&b->out);
        flush(st);
    }
    t->to = b->to;
    t->id = b->to_id;
}

static struct shared *plain_of(struct push_text *t)
{
    const struct shared *last = t->pieces[t->n - 1];
    if (!t->last_plain) {
        t->last_plain = shared_new(last->n - t->id_n);
        if (!t->last_plain)
            return NULL;
        memcpy(t->last_plain->data, last->data, t->id_at);
        memcpy(t->last_plain->data + t->id_at, last->data + t->id_at + t->id_n,
               last->n - t->id_at - t->id_n);
    }
    return shared_ref(t->last_plain);
}

bool push_is_current(const struct push_sub *sub)
{
    const struct push *st = sub->push;
    if (push_has_news(sub->group) ||
        (sub->text && sub->text->to != sub->group->at))
        return false;
    for (uint32_t i = 0; i < st->sub_count; i++) {
        const struct push_sub *o = &st->subs[i];
        if (o != sub && (o->state != SUB_LIVE || push_has_news(o->group)))
            return false;
    }
    return true;
}

struct shared *push_id_event(uint64_t id)
{
    struct buf b;
    buf_init(&b, 0);
    sse_event(&b, "current");
    sse_data(&b, bytes_str("{}"));
    sse_id(&b, id);
    sse_end(&b);
    struct shared *piece = b.bad ? NULL : shared_copy(buf_bytes(&b));
    buf_fini(&b);
    return piece;
}

/* Its event id is the store's index, of all subscriptions together. */
static struct shared *piece_for_many(struct serving *s, struct push_sub *sub)
{
    struct push_text *t = sub->text;
    struct shared *plain = plain_of(t), *own = NULL;
    struct buf id;
    sub->push->owes_id = true;
    if (!plain || !push_is_current(sub))
        return plain;
    sub->push->owes_id = false;
    uint64_t seen = push_seen_of(&s->pushes, sub->push->of)->revision;
    push_told(sub->push, seen);
    buf_init(&id, 0);
    sse_id(&id, seen);
    if (!id.bad)
        own = shared_new(plain->n + id.n);
    if (own) {
        memcpy(own->data, plain->data, t->id_at);
        memcpy(own->data + t->id_at, id.p, id.n);
        memcpy(own->data + t->id_at + id.n, plain->data + t->id_at,
               plain->n - t->id_at);
    }
    buf_fini(&id);
    shared_unref(plain);
    return own;
}

struct shared *push_piece(struct serving *s, struct push_sub *sub)
{
    const struct push_text *t = sub->text;
    if (sub->next + 1 == t->n && sub->push->sub_count > 1)
        return piece_for_many(s, sub);
    return shared_ref(t->pieces[sub->next]);
}

/* --- Events -------------------------------------------------------------- */

/* Room for another event, which is whole in its piece. */
static struct buf *event_room(struct step *st)
{
    if (st->b->out.n >= STREAM_PIECE_BYTES)
        flush(st);
    metric_add(METRIC_STREAM_EVENTS, 1);
    return &st->b->out;
}

static void event(struct step *st, const char *name)
{
    struct buf *out = event_room(st);
    sse_event(out, name);
    sse_data(out, buf_bytes(&st->data));
    sse_end(out);
    st->failed |= st->data.bad || out->bad;
}

static struct json_out event_data(struct step *st)
{
    struct json_out j;
    buf_reset(&st->data);
    j = json_out(&st->data);
    json_open(&j, '{');
    return j;
}

static void put_event(struct step *st, const struct entry *e)
{
    struct json_out j = event_data(st);
    struct entry shown = *e;
    shown.name = (struct bytes){NULL, 0}; /* the entry tells it */
    entry_names(e, &j);
    api_stream_subject(&st->call, &shown, &j);
    json_key(&j, "Entry");
    json_raw(&j, buf_bytes(&st->call.body));
    json_close(&j, '}');
    st->failed |= st->call.body.bad;
    event(st, "put");
    st->b->entries++;
}

static void remove_event(struct step *st, const struct entry *e,
                         const char *why)
{
    struct json_out j = event_data(st);
    entry_names(e, &j);
    api_stream_subject(&st->call, e, &j);
    json_key(&j, "Why");
    json_str(&j, bytes_str(why));
    json_close(&j, '}');
    event(st, "remove");
    st->b->entries++;
}

static void snapshot_event(struct step *st, const char *phase)
{
    struct json_out j = event_data(st);
    json_key(&j, "Phase");
    json_str(&j, bytes_str(phase));
    api_stream_subject(&st->call, NULL, &j);
    if (st->b->entries || bytes_is(bytes_str(phase), "end")) {
        json_key(&j, "Entries");
        json_u64(&j, st->b->entries);
    }
    json_close(&j, '}');
    event(st, "snapshot");
}

static void current_event(struct step *st)
{
    struct json_out j = event_data(st);
    api_stream_subject(&st->call, NULL, &j);
    json_close(&j, '}');
    event(st, "current");
}

/* --- Looking at entries -------------------------------------------------- */

static void look_delta(struct step *st, const struct entry *e)
{
    struct entry_table *told = &st->g->told;
    uint64_t h = hash_of(st, e), before = 0;
    bool was = entry_table_get(told, h, &before);
    const char *why;
    if (entry_read(&st->call, &st->env, e, &why)) {
        if (was && before == st->call.digest)
            return;
        put_event(st, e);
        st->failed |= entry_table_put(told, h, st->call.digest) != ERR_OK;
    } else if (was || !st->g->told_all) {
        remove_event(st, e, why);
        entry_table_del(told, h);
    }
}

static void look_late(struct step *st, const struct entry *e)
{
    const char *why;
    if (entry_read(&st->call, &st->env, e, &why))
        put_event(st, e);
    else
        remove_event(st, e, why);
}

/* What is walked while nothing has changed since `at` is what live ones have. */
static void look_snapshot(struct step *st, const struct entry *e)
{
    const char *why;
    if (!entry_read(&st->call, &st->env, e, &why))
        return;
    put_event(st, e);
    if (st->b->filled)
        st->failed |= entry_table_put(&st->g->told, hash_of(st, e),
                                      st->call.digest) != ERR_OK;
}

static void keep_entry(struct buf *out, const struct entry *e)
{
    buf_putc(out, (char)(e->kind << 1 | e->reaped));
    buf_lp(out, e->a);
    buf_lp(out, e->b);
    buf_lp(out, e->name);
}

static struct entry kept_entry(struct bytes kept, size_t *at)
{
    struct reader r = reader_over(bytes_skip(kept, *at));
    uint8_t kind = read_u8(&r);
    struct entry e = {.kind = (enum entry_kind)(kind >> 1), .reaped = kind & 1};
    e.a = read_lp(&r);
    e.b = read_lp(&r);
    e.name = read_lp(&r);
    *at = kept.n - reader_left(&r);
    return e;
}

static void add_todo(void *ctx, const struct entry *e)
{
    struct step *st = ctx;
    struct push_build *b = st->b;
    uint64_t h = hash_of(st, e), unused;
    if (entry_table_get(&b->seen, h, &unused))
        return;
    st->failed |= entry_table_put(&b->seen, h, 0) != ERR_OK;
    keep_entry(&b->todo, e);
    st->failed |= b->todo.bad;
}

static void add_touched(void *ctx, const struct cat_change *ch)
{
    struct step *st = ctx;
    entries_touched(&st->call, &st->env, ch, add_todo, st);
}

/* False: the journal does not reach back so far. */
static bool add_changes(struct step *st, uint64_t from)
{
    if (key_index(st) <= from && from >= snapshot_floor(st->env.cat))
        return true;
    return snapshot_changes(st->env.cat, from, add_touched, st) == ERR_OK;
}

/* True: there was one. */
static bool next_todo(struct step *st)
{
    struct push_build *b = st->b;
    if (b->todo_at == b->todo.n)
        return false;
    struct entry e = kept_entry(buf_bytes(&b->todo), &b->todo_at);
    if (b->kind == BUILD_DELTA)
        look_delta(st, &e);
    else
        look_late(st, &e);
    return true;
}

static bool next_walked(struct step *st)
{
    struct push_build *b = st->b;
    struct entry after, e;
    size_t at = 0;
    bool begun = b->after.n > 0;
    if (begun)
        after = kept_entry(buf_bytes(&b->after), &at);
    if (!entry_next(&st->call, &st->env, begun ? &after : NULL, &e))
        return false;
    look_snapshot(st, &e);
    buf_reset(&b->after);
    keep_entry(&b->after, &e);
    st->failed |= b->after.bad;
    return true;
}

/* --- A build ------------------------------------------------------------- */

void push_build_end(struct push_group *g)
{
    struct push_build *b = &g->build;
    push_text_unref(g->pushes, b->text);
    buf_fini(&b->out);
    buf_fini(&b->todo);
    buf_fini(&b->after);
    entry_table_fini(&b->seen);
    *b = (struct push_build){0};
}

static bool begin(struct step *st, enum push_build_kind kind, uint64_t from)
{
    struct push_group *g = st->g;
    struct push_build *b = st->b;
    *b = (struct push_build){.kind = kind, .to = g->at, .to_id = g->id};
    b->text = text_new(st->s, g);
    if (!b->text)
        return false;
    b->text->from = from;
    switch (kind) {
    case BUILD_NOTHING:
        return true;
    case BUILD_SNAPSHOT:
        b->text->snapshot = true;
        b->filled = !g->told_all;
        metric_add(METRIC_STREAM_SNAPSHOTS, 1);
        snapshot_event(st, "begin");
        return true;
    case BUILD_DELTA:
        b->to = snapshot_revision(st->env.cat);
        b->to_id = serving_index(&st->env, key_index(st), 0);
        return add_changes(st, from);
    case BUILD_LATE:
        return add_changes(st, from);
    }
    return true;
}

bool push_build_begin(struct serving *s, struct push_group *g,
                      enum push_build_kind kind, uint64_t from)
{
    struct step st;
    bool ok = step_begin(&st, s, g) && begin(&st, kind, from) && !st.failed;
    step_end(&st);
    if (!ok)
        push_build_end(g);
    return ok;
}

/* True: nothing is left to look at. */
static bool look_on(struct step *st, uint64_t deadline_ns)
{
    bool walk = st->b->kind == BUILD_SNAPSHOT;
    for (unsigned i = 1;; i++) {
        if (!(walk ? next_walked(st) : next_todo(st)))
            return true;
        if (st->failed)
            return true;
        if (i % LOOK_AT_CLOCK_EVERY == 0 && uv_hrtime() >= deadline_ns)
            return false;
    }
}

static void finish(struct step *st)
{
    struct push_build *b = st->b;
    if (b->kind == BUILD_SNAPSHOT)
        snapshot_event(st, "end");
    else if (b->kind == BUILD_LATE)
        current_event(st);
    close_text(st);
    if (b->kind == BUILD_SNAPSHOT && b->filled)
        st->g->told_all = true;
}

enum push_built push_build_step(struct serving *s, struct push_group *g,
                                uint64_t deadline_ns,
                                struct push_text **ret_text)
{
    struct step st;
    struct push_build *b = &g->build;
    *ret_text = NULL;
    st.failed = !step_begin(&st, s, g);
    if (b->filled && key_index(&st) > g->at)
        b->filled = false;
    bool done = st.failed || look_on(&st, deadline_ns);
    if (done && !st.failed)
        finish(&st);
    if (done && !st.failed && b->text->n) {
        b->text->refs++;
        *ret_text = b->text;
    }
    step_end(&st);
    return st.failed ? BUILT_FAILED : done ? BUILT_ALL : BUILT_PART;
}
