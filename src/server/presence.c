/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/presence.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/map.h"
#include "http/request.h"

struct present {
    uint64_t heard_ms;
    bool told; /* in some report since it came */
    size_t name_n;
    char name[];
};

struct presence {
    pthread_mutex_t mutex;
    struct map nodes; /* struct present by name */
    uint64_t seq;     /* of the last report */
};

struct presence *presence_new(void)
{
    struct presence *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    pthread_mutex_init(&p->mutex, NULL);
    /* No number of an earlier life must look like one of this. */
    if (getentropy(&p->seq, sizeof p->seq) != 0)
        p->seq = 0;
    p->seq >>= 16;
    return p;
}

void presence_free(struct presence *p)
{
    size_t at = 0;
    void *x;

    if (!p)
        return;
    while (map_next(&p->nodes, &at, NULL, &x))
        free(x);
    map_fini(&p->nodes);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

static struct present *add(struct presence *p, struct bytes node)
{
    struct present *x =
        p->nodes.n < PRESENCE_MAX ? calloc(1, sizeof *x + node.n) : NULL;

    if (!x)
        return NULL;
    x->name_n = node.n;
    memcpy(x->name, node.p, node.n);
    if (map_put(&p->nodes, bytes_of(x->name, x->name_n), x) != ERR_OK) {
        free(x);
        return NULL;
    }
    return x;
}

uint64_t presence_heard(struct presence *p, struct bytes node, uint64_t now_ms)
{
    pthread_mutex_lock(&p->mutex);
    struct present *x = map_get(&p->nodes, node);
    if (!x)
        x = add(p, node);
    if (x)
        x->heard_ms = now_ms;
    uint64_t next = !x                           ? 0
                    : p->nodes.n > PRESENCE_MANY ? PRESENCE_BEAT_MANY_MS
                                                 : PRESENCE_BEAT_MS;
    pthread_mutex_unlock(&p->mutex);
    return next;
}

enum { FORGOTTEN_AT_ONCE = 64 };

static void put_line(struct buf *out, const struct present *x, uint64_t ago)
{
    buf_u64(out, ago);
    buf_putc(out, ' ');
    http_encode(out, bytes_of(x->name, x->name_n));
    buf_putc(out, '\n');
}

static void put_gone(struct buf *out, const struct present *x)
{
    buf_puts(out, "- ");
    http_encode(out, bytes_of(x->name, x->name_n));
    buf_putc(out, '\n');
}

static void put_first(struct presence *p, bool rest, struct buf *out)
{
    p->seq++;
    buf_puts(out, rest ? "rest " : "all ");
    buf_u64(out, p->seq);
    if (rest) {
        buf_putc(out, ' ');
        buf_u64(out, PRESENCE_LATE_MS);
    }
    buf_putc(out, '\n');
}

static uint64_t ago_of(const struct present *x, uint64_t now_ms)
{
    return now_ms > x->heard_ms ? now_ms - x->heard_ms : 0;
}

/* At the most: a number, a name of which each byte is escaped. */
static size_t line_bytes(const struct present *x)
{
    return 22 + 3 * x->name_n;
}

/* What those take whom a rest must name, because they are known and late. */
static size_t late_bytes(const struct presence *p, uint64_t now_ms)
{
    size_t at = 0, n = 0;
    void *v;

    while (map_next(&p->nodes, &at, NULL, &v)) {
        const struct present *x = v;
        if (x->told && ago_of(x, now_ms) > PRESENCE_LATE_MS)
            n += line_bytes(x);
    }
    return n;
}

/* One that is not known there. It is late: its silence is told as well by silence,
 * if there is little room. */
static void put_new(struct buf *out, struct present *x, uint64_t ago,
                    size_t *room, bool *more)
{
    bool late = ago > PRESENCE_LATE_MS;

    x->told = line_bytes(x) <= *room &&
              (!late || *room - line_bytes(x) >= PRESENCE_REPORT_BYTES / 2);
    if (x->told) {
        *room -= line_bytes(x);
        put_line(out, x, ago);
    }
    *more |= !x->told && !late;
}

void presence_write(struct presence *p, uint64_t after, uint64_t now_ms,
                    struct buf *out)
{
    struct present *old[FORGOTTEN_AT_ONCE];
    size_t n = 0, at = 0;
    void *v;

    pthread_mutex_lock(&p->mutex);
    size_t room = PRESENCE_REPORT_BYTES, late = late_bytes(p, now_ms);
    bool rest = after != 0 && after == p->seq && late <= room / 2, more = false;
    if (rest)
        room -= late;
    put_first(p, rest, out);
    while (map_next(&p->nodes, &at, NULL, &v)) {
        struct present *x = v;
        uint64_t ago = ago_of(x, now_ms);
        if (ago > PRESENCE_KEPT_MS && n < FORGOTTEN_AT_ONCE)
            old[n++] = x;
        else if (!rest || !x->told)
            put_new(out, x, ago, &room, &more);
        else if (ago > PRESENCE_LATE_MS)
            put_line(out, x, ago);
    }
    for (size_t i = 0; i < n; i++) {
        (void)map_del(&p->nodes, bytes_of(old[i]->name, old[i]->name_n));
        put_gone(out, old[i]);
        free(old[i]);
    }
    if (more)
        buf_puts(out, "more\n");
    pthread_mutex_unlock(&p->mutex);
}

void presence_each(struct presence *p, uint64_t now_ms, presence_each_fn each,
                   void *ctx)
{
    size_t at = 0;
    void *v;

    pthread_mutex_lock(&p->mutex);
    while (map_next(&p->nodes, &at, NULL, &v)) {
        const struct present *x = v;
        if (ago_of(x, now_ms) <= PRESENCE_KEPT_MS)
            each(ctx, bytes_of(x->name, x->name_n), ago_of(x, now_ms));
    }
    pthread_mutex_unlock(&p->mutex);
}

/* --- A copy ---------------------------------------------------------------- */

struct copied {
    uint64_t named; /* in the report of this round */
    size_t name_n;
    char name[];
};

static void forget(struct presence_copy *c, struct bytes name)
{
    free(map_del(&c->names, name));
}

void presence_copy_fini(struct presence_copy *c)
{
    size_t at = 0;
    void *v;

    while (map_next(&c->names, &at, NULL, &v))
        free(v);
    map_fini(&c->names);
    *c = (struct presence_copy){0};
}

/* False: no memory, or too many; then the copy is not whole. */
static bool note(struct presence_copy *c, struct bytes name)
{
    struct copied *x = map_get(&c->names, name);

    if (!x && c->names.n < PRESENCE_MAX) {
        x = calloc(1, sizeof *x + name.n);
        if (!x)
            return false;
        x->name_n = name.n;
        memcpy(x->name, name.p, name.n);
        if (map_put(&c->names, bytes_of(x->name, x->name_n), x) != ERR_OK) {
            free(x);
            return false;
        }
    }
    if (x)
        x->named = c->round;
    return x != NULL;
}

/* Whoever was not named: is heard all the same, or is not there any more. */
static void unnamed(struct presence_copy *c, bool rest, uint64_t late_ms,
                    presence_each_fn each, void *ctx)
{
    struct presence_copy kept = {0};
    size_t at = 0;
    void *v;
    bool whole = true;

    while (map_next(&c->names, &at, NULL, &v)) {
        struct copied *x = v;
        struct bytes name = bytes_of(x->name, x->name_n);
        if (x->named == c->round)
            continue;
        if (rest)
            each(ctx, name, late_ms);
        else
            whole = false;
    }
    if (whole)
        return;
    for (at = 0; map_next(&c->names, &at, NULL, &v);) {
        struct copied *x = v;
        if (x->named != c->round ||
            map_put(&kept.names, bytes_of(x->name, x->name_n), x) != ERR_OK)
            free(x);
    }
    map_fini(&c->names);
    c->names = kept.names;
}

/* "all SEQ", "rest SEQ LATE": true, the line is taken off. */
static bool first_line(struct bytes *text, bool *ret_rest, uint64_t *ret_seq,
                       uint64_t *ret_late)
{
    size_t end = bytes_find(*text, '\n');
    struct bytes line = bytes_head(*text, end);

    *ret_rest = bytes_starts(line, bytes_str("rest "));
    if (!*ret_rest && !bytes_starts(line, bytes_str("all ")))
        return false;
    line = bytes_skip(line, bytes_find(line, ' ') + 1);
    size_t space = bytes_find(line, ' ');
    if (bytes_u64(bytes_head(line, space), ret_seq) != ERR_OK ||
        (*ret_rest &&
         bytes_u64(bytes_skip(line, space + 1), ret_late) != ERR_OK))
        return false;
    *text = bytes_skip(*text, end + 1);
    return true;
}

/* One line each. False: not all of them could be noted. */
static bool read_lines(struct presence_copy *c, bool part, struct bytes text,
                       presence_each_fn each, void *ctx)
{
    struct arena a;
    bool whole = true;

    arena_init(&a, 0);
    while (text.n) {
        size_t end = bytes_find(text, '\n');
        struct bytes line = bytes_head(text, end), name;
        size_t space = bytes_find(line, ' ');
        struct bytes word = bytes_head(line, space);
        uint64_t ago;

        text = bytes_skip(text, end + 1);
        arena_reset(&a);
        if (bytes_is(line, "more")) {
            c->more = !part;
            continue;
        }
        if (http_decode(&a, bytes_skip(line, space + 1), false, &name) !=
                ERR_OK ||
            !name.n)
            continue;
        if (bytes_is(word, "-")) {
            if (!part)
                forget(c, name);
        } else if (bytes_u64(word, &ago) == ERR_OK) {
            whole &= part || note(c, name);
            each(ctx, name, ago);
        }
    }
    arena_fini(&a);
    return whole;
}

void presence_read(struct presence_copy *c, uint64_t after, struct bytes text,
                   presence_each_fn each, void *ctx)
{
    bool rest = false;
    uint64_t seq = 0, late_ms = 0;

    c->more = false;
    if (!first_line(&text, &rest, &seq, &late_ms))
        rest = false, seq = 0;
    if (rest && (after == 0 || after != c->seq)) {
        (void)read_lines(c, true, text, each, ctx);
        return;
    }
    c->round++;
    bool whole = read_lines(c, false, text, each, ctx);
    unnamed(c, rest, late_ms, each, ctx);
    c->seq = whole ? seq : 0; /* else all is asked for again */
    c->more &= c->seq != 0;
}
