/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Lines and events as in the HTML standard, 9.2.6: "field: value" lines, an empty
 * line dispatches, a line that begins with a colon is a comment. */
#include "client/feed.h"

#include <stdlib.h>
#include <string.h>

#include "client/impl.h"
#include "http/json_in.h"
#include "http/json_scan.h"

/* In one block with its texts: there may be thousands, and most stay. */
struct feed_entry {
    struct roster_entry one;
    struct bytes datacenter;
    bool callable;           /* one is set: somebody can call it */
    struct feed_entry *next; /* in lost */
    size_t key_n;
    char text[]; /* the key first */
};

struct event_in {
    struct bytes key, phase, entry, why, cluster, zones;
    int64_t rank, size;
};

/* clang-format off */
static const struct json_field event_fields[] = {
    {"Key", NULL, FIELD_STRING, offsetof(struct event_in, key), NULL, JSON_NO_FLAG},
    {"Phase", NULL, FIELD_STRING, offsetof(struct event_in, phase), NULL, JSON_NO_FLAG},
    {"Entry", NULL, FIELD_RAW, offsetof(struct event_in, entry), NULL, JSON_NO_FLAG},
    {"Why", NULL, FIELD_STRING, offsetof(struct event_in, why), NULL, JSON_NO_FLAG},
    {"Cluster", NULL, FIELD_STRING, offsetof(struct event_in, cluster), NULL, JSON_NO_FLAG},
    {"Zones", NULL, FIELD_RAW, offsetof(struct event_in, zones), NULL, JSON_NO_FLAG},
    {"Rank", NULL, FIELD_INT, offsetof(struct event_in, rank), NULL, JSON_NO_FLAG},
    {"Size", NULL, FIELD_INT, offsetof(struct event_in, size), NULL, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table event_table = {
    event_fields, sizeof event_fields / sizeof event_fields[0],
    sizeof(struct event_in)};

static void clear(struct map *m)
{
    size_t at = 0;
    void *e;

    while (map_next(m, &at, NULL, &e))
        free(e);
    map_fini(m);
}

void client_feed_init(struct feed *f)
{
    *f = (struct feed){0};
    buf_init(&f->line, FEED_LINE_MAX);
    buf_init(&f->data, FEED_LINE_MAX);
}

static void forget_lost(struct feed *f)
{
    while (f->lost) {
        struct feed_entry *e = f->lost;
        f->lost = e->next;
        free(e);
    }
    f->lost_n = 0;
}

void client_feed_fini(struct feed *f)
{
    forget_lost(f);
    free(f->callers);
    f->callers = NULL;
    clear(&f->entries);
    clear(&f->next);
    buf_fini(&f->line);
    buf_fini(&f->data);
}

static void next_event(struct feed *f)
{
    buf_reset(&f->data);
    f->event[0] = '\0';
    f->has_id = false;
}

void client_feed_again(struct feed *f)
{
    clear(&f->next);
    buf_reset(&f->line);
    f->in_snapshot = false;
    next_event(f);
}

/* --- Events -------------------------------------------------------------- */

static struct bytes move(struct bytes from, char **at)
{
    struct bytes to = bytes_of(*at, from.n);

    if (from.n)
        memcpy(*at, from.p, from.n);
    *at += from.n;
    return to;
}

/* NULL: out of memory. */
static struct feed_entry *entry_new(struct bytes key, const struct roster *r)
{
    struct roster_entry x = r->n ? r->v[0] : (struct roster_entry){.port = 0};
    struct feed_entry *e = malloc(sizeof *e + key.n + x.node.n + x.id.n +
                                  x.address.n + x.zone.n + r->datacenter.n);
    if (!e)
        return NULL;

    char *at = e->text;
    e->key_n = move(key, &at).n;
    x.node = move(x.node, &at);
    x.id = move(x.id, &at);
    x.address = move(x.address, &at);
    x.zone = move(x.zone, &at);
    e->datacenter = move(r->datacenter, &at);
    e->one = x;
    e->callable = r->n > 0;
    return e;
}

static enum err entry_parse(const struct event_in *in, struct feed_entry **ret,
                            struct errtext *t)
{
    struct roster *r = NULL;
    struct buf list;

    buf_init(&list, 0);
    buf_putc(&list, '[');
    buf_put(&list, in->entry);
    buf_putc(&list, ']');
    enum err e = list.bad ? ERR_NOMEM : roster_parse(buf_bytes(&list), &r, t);
    buf_fini(&list);
    if (e != ERR_OK)
        return e;
    *ret = entry_new(in->key, r);
    roster_free(r);
    return *ret ? ERR_OK : ERR_NOMEM;
}

static enum err put(struct feed *f, const struct event_in *in,
                    struct errtext *t)
{
    struct map *m = f->in_snapshot ? &f->next : &f->entries;
    struct feed_entry *e = NULL;
    enum err err = entry_parse(in, &e, t);

    if (err != ERR_OK)
        return err;
    if (m->n >= ROSTER_INSTANCES_MAX) {
        errtext_set(t, "more than %d instances", ROSTER_INSTANCES_MAX);
        free(e);
        return ERR_LIMIT;
    }
    struct feed_entry *old = map_del(m, in->key);
    err = map_put(m, bytes_of(e->text, e->key_n), e);
    free(old);
    if (err != ERR_OK)
        free(e);
    return err;
}

/* Nobody said that it leaves, and nothing proved that it is gone. */
static bool by_silence(struct bytes why)
{
    return bytes_is(why, "silence") || bytes_is(why, "reaped") ||
           bytes_is(why, "expired");
}

static void remove_key(struct feed *f, const struct event_in *in)
{
    struct feed_entry *e =
        map_del(f->in_snapshot ? &f->next : &f->entries, in->key);

    if (e && by_silence(in->why) && f->lost_n < ROSTER_INSTANCES_MAX) {
        e->next = f->lost;
        f->lost = e;
        f->lost_n++;
    } else {
        free(e);
    }
}

static void keep_cluster(struct feed *f, struct bytes name)
{
    if (name.n > FEED_CLUSTER_MAX)
        name.n = FEED_CLUSTER_MAX;
    if (f->based && f->cluster[0] && name.n &&
        !bytes_eq(name, bytes_str(f->cluster)))
        f->foreign = true;
    if (name.n)
        memcpy(f->cluster, name.p, name.n);
    f->cluster[name.n] = '\0';
}

static void snapshot(struct feed *f, struct bytes phase)
{
    if (bytes_is(phase, "begin")) {
        clear(&f->next);
        f->in_snapshot = true;
    } else if (bytes_is(phase, "end") && f->in_snapshot) {
        clear(&f->entries);
        f->entries = f->next;
        f->next = (struct map){0};
        f->in_snapshot = false;
        f->based = f->replaced = true;
    }
}

/* A name that is written with an escape counts as no zone. */
static void take_zone(struct feed_callers *c, struct bytes name, struct bytes n)
{
    uint64_t callers;

    if (c->zones == LB_ZONES_MAX || bytes_u64(n, &callers) != ERR_OK)
        return;
    name = name.n >= 2 ? bytes_of(name.p + 1, name.n - 2) : name;
    if (name.n > LB_TEXT_MAX || bytes_find(name, '\\') < name.n)
        name.n = 0;
    if (name.n)
        memcpy(c->zone[c->zones].name, name.p, name.n);
    c->zone[c->zones].name[name.n] = '\0';
    c->zone[c->zones++].callers = callers;
}

static enum err keep_callers(struct feed *f, const struct event_in *in)
{
    struct bytes inside, name, n;

    if (!f->callers && !(f->callers = malloc(sizeof *f->callers)))
        return ERR_NOMEM;
    f->callers->zones = 0;
    f->callers->ranked = in->size > 0 && in->rank >= 0 && in->rank < in->size &&
                         in->size < UINT32_MAX;
    f->callers->rank = (uint32_t)in->rank;
    f->callers_told = true;
    if (in->zones.n < 2 || in->zones.p[0] != '{')
        return ERR_OK;
    inside = json_inside(in->zones);
    while (json_take(&inside, &name) && name.n && json_take(&inside, &n) && n.n)
        take_zone(f->callers, name, n);
    return ERR_OK;
}

static enum err apply(struct feed *f, const struct event_in *in,
                      struct errtext *t)
{
    struct bytes name = bytes_str(f->event);

    if (bytes_is(name, "snapshot")) {
        snapshot(f, in->phase);
    } else if (bytes_is(name, "put")) {
        if (!in->key.n || !in->entry.n) {
            errtext_set(t, "an event \"put\" without Key or Entry");
            return ERR_BAD;
        }
        return put(f, in, t);
    } else if (bytes_is(name, "remove")) {
        remove_key(f, in);
    } else if (bytes_is(name, "subscriber")) {
        keep_cluster(f, in->cluster);
    } else if (bytes_is(name, "callers")) {
        return keep_callers(f, in);
    }
    return ERR_OK; /* others say nothing about instances */
}

static enum err dispatch(struct feed *f, struct errtext *t)
{
    struct event_in in;
    struct arena a;
    enum err e = ERR_OK;

    if (f->data.bad)
        return ERR_NOMEM;
    if (f->data.n) {
        arena_init(&a, 0);
        e = json_decode(buf_bytes(&f->data), &event_table, &in, &a, t);
        if (e == ERR_OK)
            e = apply(f, &in, t);
        arena_fini(&a);
    }
    if (e == ERR_OK && f->has_id && !f->in_snapshot && f->based) {
        f->id = f->event_id;
        f->whole = true;
    }
    next_event(f);
    return e;
}

/* --- Lines --------------------------------------------------------------- */

/* ": beat age=1500ms": how old the data may be that the server shows. */
static void take_comment(struct feed *f, struct bytes text)
{
    static const char beat[] = "beat age=";
    uint64_t ms;

    if (!bytes_starts(text, bytes_str(beat)))
        return;
    text = bytes_skip(text, sizeof beat - 1);
    text = bytes_head(text, bytes_find(text, ' '));
    if (!bytes_ends(text, bytes_str("ms")))
        return;
    text.n -= 2;
    if (bytes_u64(text, &ms) == ERR_OK) {
        f->age_ms = ms;
        f->age_told = true;
    }
}

static enum err take_line(struct feed *f, struct bytes line, struct errtext *t)
{
    size_t colon = bytes_find(line, ':');
    struct bytes field = bytes_head(line, colon);
    struct bytes value = bytes_skip(line, colon + 1);

    if (line.n == 0)
        return dispatch(f, t);
    if (value.n && value.p[0] == ' ')
        value = bytes_skip(value, 1);
    if (colon == 0) {
        take_comment(f, value);
    } else if (bytes_is(field, "data")) {
        if (f->data.n)
            buf_putc(&f->data, '\n');
        buf_put(&f->data, value);
    } else if (bytes_is(field, "event") && value.n < sizeof f->event) {
        memcpy(f->event, value.p, value.n);
        f->event[value.n] = '\0';
    } else if (bytes_is(field, "id")) {
        f->has_id = bytes_u64(value, &f->event_id) == ERR_OK;
    }
    return ERR_OK;
}

enum err client_feed_push(struct feed *f, struct bytes piece, struct errtext *t)
{
    while (piece.n && !f->foreign) {
        size_t end = bytes_find(piece, '\n');
        struct bytes part = bytes_head(piece, end);
        bool whole = end < piece.n;

        buf_put(&f->line, part);
        if (f->line.bad) {
            errtext_set(t, "a line of over %d bytes", FEED_LINE_MAX);
            return ERR_LIMIT;
        }
        piece = bytes_skip(piece, end + 1);
        if (!whole)
            return ERR_OK;
        if (f->line.n && f->line.p[f->line.n - 1] == '\r')
            f->line.n--;
        enum err e = take_line(f, buf_bytes(&f->line), t);
        if (e != ERR_OK)
            return e;
        buf_reset(&f->line);
    }
    return ERR_OK;
}

/* --- The list ------------------------------------------------------------ */

static enum err copy_one(struct roster *to, const struct feed_entry *from)
{
    if (!from->callable) {
        to->skipped++;
        return ERR_OK;
    }
    if (!roster_copy_entry(to, &from->one, 0))
        return ERR_NOMEM;
    if (!to->datacenter.n && from->datacenter.n) {
        to->datacenter = arena_copy(&to->arena, from->datacenter);
        if (!to->datacenter.p)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

static enum err copy_lost(struct roster *r, const struct feed *f)
{
    size_t n = r->n, held = r->held;
    struct roster_entry *v = r->v;
    enum err e = ERR_OK;

    r->lost = arena_alloc(&r->arena, f->lost_n * sizeof *r->lost);
    if (!r->lost)
        return ERR_NOMEM;
    r->v = r->lost;
    r->n = 0;
    for (struct feed_entry *x = f->lost; x && e == ERR_OK; x = x->next)
        if (x->callable && !roster_copy_entry(r, &x->one, 0))
            e = ERR_NOMEM;
    r->lost_n = r->n;
    r->v = v;
    r->n = n;
    r->held = held;
    return e;
}

enum err client_feed_roster(struct feed *f, struct roster **ret)
{
    struct roster *r = roster_new(f->entries.n);
    size_t at = 0;
    void *p;
    enum err e = r ? ERR_OK : ERR_NOMEM;

    while (e == ERR_OK && map_next(&f->entries, &at, NULL, &p))
        e = copy_one(r, p);
    if (e == ERR_OK && f->lost)
        e = copy_lost(r, f);
    if (e != ERR_OK) {
        roster_free(r);
        return e;
    }
    f->whole = f->replaced = false;
    forget_lost(f);
    *ret = r;
    return ERR_OK;
}
