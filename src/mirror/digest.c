/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* From the state of a revision that the origin's journal does not reach any more to
 * the one it has now, without a snapshot (api/read_digest.c): it tells all entries
 * of which something is newer, and the sums (base/digest.h) of all that there is.
 * With the entries put, what is here is all of that, and what was removed meanwhile
 * beside it: where sums differ, what is too much is what makes the difference.
 * Nothing is shown before all sums agree. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/digest.h"
#include "mirror/impl.h"

enum {
    COARSE = 1, /* buckets for sixteen elements */
    FINE = 32,
};

/* No row, but told beside them: what the guard says. */
#define OUT SIZE_MAX

/* A row of an entry, or that. */
struct element {
    uint64_t hash;
    struct sub *sub;
    struct entry *entry;
    size_t row;
    bool whole; /* the entry's own row, without which it is not there */
};

struct digest {
    struct mirror *m;
    uint64_t seed;
    const unsigned char *sums; /* of the origin */
    size_t buckets;
    uint64_t *left;    /* sums of here, less those */
    struct element *v; /* those in buckets that differ */
    size_t n, cap;
};

void mirror_forget_half(struct mirror *m)
{
    show_finish(m);
    mirror_drop_held(m);
    sse_in_reset(&m->in);
    for (size_t i = 0; i < m->sub_count; i++) {
        struct sub *s = m->subs[i];
        entries_clear(&m->rows, &s->next);
        s->in_snapshot = false;
        /* Without an id behind it, its snapshot is nothing to go on from. */
        s->ended = false;
    }
    m->snapshots = m->ends = 0;
}

/* When somebody was let in last, as far as it was told. */
static uint32_t newest_let_in(const struct mirror *m)
{
    uint32_t newest = 0;
    size_t at = 0;
    void *p;

    while (map_next(&m->rows.by_key, &at, NULL, &p))
        if (((struct row *)p)->let_in_s > newest)
            newest = ((struct row *)p)->let_in_s;
    return newest;
}

/* As the origin walks it; of single services there is not so much. */
static bool is_of_everything(const struct mirror *m)
{
    bool all = m->sub_count == 3;

    for (size_t i = 0; i < m->sub_count; i++) {
        enum mirror_kind k = m->subs[i]->kind;
        all &= k == MIRROR_ALL || k == MIRROR_NODES || k == MIRROR_CHECKS;
    }
    return all;
}

bool mirror_digest(struct mirror *m, bool fine, uint64_t seed,
                   struct buf *target)
{
    show_finish(m);
    m->digested = MIRROR_BY_STREAM;
    if (m->revision == 0 || !mirror_is_whole(m) || !is_of_everything(m))
        return false;
    mirror_forget_half(m);
    buf_printf(target, "/v1/peer/digest/%llu-%llu-%d-%u",
               (unsigned long long)m->revision, (unsigned long long)(seed >> 1),
               fine ? FINE : COARSE, newest_let_in(m));
    return true;
}

enum mirror_way mirror_digested(const struct mirror *m)
{
    return m->digested;
}

/* --- Elements ------------------------------------------------------------ */

static uint64_t hash_of(const struct digest *d, const struct entry *e, size_t i)
{
    struct bytes key = bytes_of(e->key, e->key_n);

    if (i == OUT)
        return digest_element(key, bytes_str("out"), e->out, d->seed);
    return digest_element(key, bytes_of(e->rows[i]->key, e->rows[i]->key_n),
                          e->rows[i]->mod_rev, d->seed);
}

static bool is_own_row(const struct entry *e, size_t i)
{
    return bytes_eq(bytes_of(e->rows[i]->key, e->rows[i]->key_n),
                    bytes_of(e->key, e->key_n));
}

static void each_element(struct digest *d,
                         void (*tell)(struct digest *d,
                                      const struct element *e))
{
    for (size_t k = 0; k < d->m->sub_count; k++) {
        struct sub *s = d->m->subs[k];
        size_t at = 0;
        void *p;
        while (map_next(&s->entries, &at, NULL, &p)) {
            struct entry *e = p;
            for (size_t i = 0; i < e->n; i++)
                tell(d, &(struct element){hash_of(d, e, i), s, e, i,
                                          is_own_row(e, i)});
            if (e->out)
                tell(d,
                     &(struct element){hash_of(d, e, OUT), s, e, OUT, false});
        }
    }
}

static void add(struct digest *d, const struct element *e)
{
    d->left[digest_bucket(e->hash, d->buckets)] += e->hash;
}

static void take_away(struct digest *d)
{
    for (size_t i = 0; i < d->buckets; i++)
        for (int k = 0; k < 8; k++)
            d->left[i] -= (uint64_t)d->sums[8 * i + (size_t)k] << 8 * k;
}

static void keep(struct digest *d, const struct element *e)
{
    if (d->left[digest_bucket(e->hash, d->buckets)] == 0)
        return;
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->v = xrealloc(d->v, d->cap * sizeof *d->v);
    }
    d->v[d->n++] = *e;
}

/* --- What is too much ---------------------------------------------------- */

static int by_bucket(const void *a, const void *b, void *ctx)
{
    const struct digest *d = ctx;
    const struct element *x = a, *y = b;
    size_t i = digest_bucket(x->hash, d->buckets),
           k = digest_bucket(y->hash, d->buckets);

    return i < k ? -1 : i > k;
}

/* Of one entry its last row first, so that the others' places stay. */
static int by_place(const void *a, const void *b)
{
    const struct element *x = a, *y = b;

    return x->row < y->row ? 1 : x->row > y->row ? -1 : 0;
}

/* Moves what is too much in the bucket of the n elements to the front of `to`. */
static bool too_much(struct digest *d, const struct element *v, size_t n,
                     struct element *to, size_t *ret_n)
{
    uint64_t *hashes = xmalloc(n * sizeof *hashes);
    size_t extra[DIGEST_EXTRA_MAX], k;

    for (size_t i = 0; i < n; i++)
        hashes[i] = v[i].hash;
    bool found = digest_extra(
        hashes, n, d->left[digest_bucket(v->hash, d->buckets)], extra, &k);
    free(hashes);
    if (!found)
        return false;
    bool all = k > DIGEST_EXTRA_MAX;
    for (size_t i = 0; i < (all ? n : k); i++)
        to[i] = v[all ? i : extra[i]];
    *ret_n = all ? n : k;
    return true;
}

/* All buckets are looked at before anything is removed. */
static bool find_all(struct digest *d)
{
    size_t kept = 0, buckets = 0, n;

    for (size_t i = 0; i < d->buckets; i++)
        buckets += d->left[i] != 0;
    if (d->n)
        qsort_r(d->v, d->n, sizeof *d->v, by_bucket, d);
    for (size_t i = 0; i < d->n; i += n) {
        size_t bucket = digest_bucket(d->v[i].hash, d->buckets), found;
        for (n = 1; i + n < d->n &&
                    digest_bucket(d->v[i + n].hash, d->buckets) == bucket;)
            n++;
        struct element *of = xmalloc(n * sizeof *of);
        bool ok = too_much(d, d->v + i, n, of, &found);
        if (ok)
            memcpy(d->v + kept, of, found * sizeof *of);
        free(of);
        if (!ok)
            return false;
        kept += found;
        buckets--;
    }
    d->n = kept;
    return buckets == 0; /* else something is there and not here */
}

static void remove_all(struct digest *d)
{
    struct mirror *m = d->m;

    if (d->n)
        qsort(d->v, d->n, sizeof *d->v, by_place);
    for (size_t i = 0; i < d->n; i++) {
        struct element *e = &d->v[i];
        if (e->row == OUT) {
            outs_tell(m, e->entry, 0);
            e->entry->out = 0;
        } else if (!e->whole) {
            entry_let_go(&m->rows, e->entry, e->row);
        }
    }
    for (size_t i = 0; i < d->n; i++) {
        const struct entry *e = d->v[i].entry;
        if (d->v[i].whole)
            mirror_drop(m, d->v[i].sub, bytes_of(e->key, e->key_n));
    }
}

/* --- The sums have come -------------------------------------------------- */

static enum err bad_sums(struct mirror *m, const char *what)
{
    errtext_set(m->text, "an event \"sums\" with %s", what);
    return ERR_BAD;
}

static void compare(struct digest *d)
{
    d->left = xzalloc(d->buckets * sizeof *d->left);
    each_element(d, add);
    take_away(d);
    each_element(d, keep);
    if (find_all(d)) {
        remove_all(d);
        d->m->digested = MIRROR_DONE;
    } else {
        d->m->digested = MIRROR_FINER;
    }
    free(d->left);
    free(d->v);
}

enum err digest_sums(struct mirror *m, const struct sums_in *in)
{
    struct digest d = {.m = m, .seed = (uint64_t)in->seed};
    struct buf raw = {0};
    enum err e = ERR_OK;

    if (in->buckets < DIGEST_BUCKETS_MIN || in->buckets > DIGEST_BUCKETS_MAX ||
        (in->buckets & (in->buckets - 1)) != 0)
        return bad_sums(m, "Buckets that are no power of two within bounds");
    d.buckets = (size_t)in->buckets;
    if (base64_get(in->sums, &raw) != ERR_OK || raw.n != 8 * d.buckets)
        e = bad_sums(m, "Sums that are not 8 bytes for each of the Buckets");
    d.sums = (const unsigned char *)raw.p;
    if (e == ERR_OK)
        compare(&d);
    buf_fini(&raw);
    return e;
}

enum err digest_begin(struct mirror *m, struct bytes way, bool forgot)
{
    size_t at = 0;
    void *p;

    m->digested = MIRROR_BY_STREAM;
    if (!bytes_is(way, "changes"))
        return ERR_OK;
    m->digested = MIRROR_FINER; /* until its end has come */
    while (forgot && map_next(&m->rows.by_key, &at, NULL, &p))
        row_forget_let_in(&m->rows, p);
    return ERR_OK;
}
