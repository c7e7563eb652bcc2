/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* index - every live key of a one-process backend: its revisions and where its
 * value is. Guards are evaluated here, in memory, before anything is written.
 *
 * One heap block per key, with the key inside, in an ordered tree: about 60
 * bytes beside the key. Used by the thread that owns the backend. */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "base/bytes.h"
#include "base/change.h"
#include "base/tree.h"

struct index_entry {
    uint64_t create_rev, mod_rev;
    uint64_t row;   /* the backend's: row id or pointer */
    uint16_t key_n; /* physical keys stay far below 64 kB */
    bool staged;    /* written by the group being looked at (stage.c) */
    char key[];
};

struct index {
    struct tree tree;
};

void index_init(struct index *x);
void index_fini(struct index *x);

static inline size_t index_count(const struct index *x)
{
    return x->tree.n;
}

static inline struct bytes index_key(const struct index_entry *e)
{
    return bytes_of(e->key, e->key_n);
}

struct index_entry *index_get(const struct index *x, struct bytes key);

/* An entry outside the index; free() it or index_add it. */
struct index_entry *index_entry_new(struct bytes key);

/* The key must not be in. */
void index_add(struct index *x, struct index_entry *take);

/* An empty index from n entries in any order (taken, items cleared). False: two
 * have the same key, and nothing was taken. */
struct index_item {
    uint64_t chunk; /* scratch */
    struct index_entry *entry;
};

MUST_USE bool index_fill(struct index *x, struct index_item *items, size_t n);

/* Takes it out; it is the caller's to free. */
void index_remove(struct index *x, struct index_entry *e);

/* In order of keys, those that start with prefix (kept by view). A change of
 * the index ends the iteration; a change of an entry's fields does not. */
struct index_iter {
    struct tree_iter at;
    struct bytes prefix;
};

void index_seek(const struct index *x, struct bytes prefix,
                struct index_iter *it);
/* The same behind a key that starts with prefix, be it there or not. */
void index_seek_after(const struct index *x, struct bytes prefix,
                      struct bytes key, struct index_iter *it);
struct index_entry *index_next(struct index_iter *it);

/* GUARD_QUIET costs the number of keys under its prefix. */
bool index_guard_holds(const struct index *x, const struct store_guard *g);

#endif
