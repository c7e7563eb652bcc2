/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of mirror share.
 *
 *   mirror.c  subscriptions, events
 *   show.c    versions, in slices
 *   digest.c  from an old state to the newest without a snapshot
 *   rows.c    rows and entries: who has what
 *   sweep.c   who is not used any more
 *   outs.c    guard records, put together from what entries say
 *
 * Lack of memory ends the process, as in the catalog. */
#ifndef MIRROR_IMPL_H
#define MIRROR_IMPL_H

#include "base/list.h"
#include "base/map.h"
#include "http/sse_in.h"
#include "mirror/mirror.h"

struct row {
    struct list dirty; /* in rows.dirty, or alone */
    size_t refs;       /* entries that have it */
    char *value;
    size_t value_n;
    uint64_t create_rev, mod_rev;
    struct list let;   /* in rows.let, or alone: a service's row */
    uint32_t let_in_s; /* catalog_let_in */
    uint64_t shown;    /* mod_rev as it is in the catalog; 0: it is not */
    size_t key_n;
    char key[];
};

struct entry {
    uint64_t out;     /* as in the service's guard record; 0: none */
    struct row *name; /* the service's row; NULL: it has none */
    size_t key_n;
    char *key;
    size_t n;
    struct row *rows[];
};

struct rows {
    struct map by_key; /* struct row */
    struct list dirty;
    struct list let; /* services whose let_in_s is to be shown */
    size_t bytes;    /* of rows, keys and entries */
};

/* One service's guard record, as far as answers depend on it. */
struct outs {
    struct map since; /* struct out by instance's key */
    bool shown, dirty;
    size_t name_n;
    char name[]; /* folded */
};

struct sub {
    enum mirror_kind kind;
    struct map entries; /* struct entry by key */
    struct map next;    /* of the snapshot that is coming */
    bool in_snapshot;
    bool ended; /* its first snapshot has come, and no id since */
    bool whole;
    bool leaving;       /* mirror_sweep */
    uint64_t left_used; /* when it was used last, as far as known then */
    size_t key_n;
    char key[]; /* the kind, and the name, folded */
};

/* They have no name. */
static inline bool is_of_all(enum mirror_kind kind)
{
    return kind == MIRROR_ALL || kind == MIRROR_NODES || kind == MIRROR_CHECKS;
}

static inline struct bytes sub_name(const struct sub *s)
{
    return bytes_of(s->key + 1, s->key_n - 1);
}

enum show_stage {
    SHOW_NOTHING, /* what is here is published */
    SHOW_ROWS,    /* what is dirty, or all, goes to the catalog */
    SHOW_BUILD,   /* a load is built */
    SHOW_LET_IN,
};

struct beat {
    bool is_due;
    uint64_t at_ms, age_ms;
};

/* A version on its way to the catalog. */
struct show {
    size_t slice; /* rows */
    enum show_stage stage;
    bool load; /* all rows anew */
    uint64_t revision;
    size_t at;        /* of the rows, in a load */
    struct beat beat; /* behind it */
};

struct mirror {
    struct catalog *catalog;
    struct mirror_events events;
    struct sse_in in;
    struct sub *subs[MIRROR_SUBSCRIPTIONS_MAX];
    size_t sub_count;
    struct map by_key;      /* of subs */
    size_t names_bytes;     /* of their names, as they are sent */
    size_t bytes_max;       /* of rows */
    size_t snapshots, ends; /* subs with in_snapshot; with ended */
    struct rows rows;
    struct map outs; /* struct outs by name */
    uint64_t revision;
    char subscriber[40];
    size_t damaged;
    struct errtext last_damage;
    struct errtext *text; /* of the push under way */
    bool again;           /* the server is behind */
    enum mirror_way digested;
    bool renewed; /* another store: what is shown is the last one's */
    struct show show;
    struct buf held; /* of the stream, until what is on its way is published */
    size_t held_at;
};

/* --- mirror.c ------------------------------------------------------------ */

void sub_remove(struct mirror *m, size_t at); /* with its entries; freed */

void mirror_drop_held(struct mirror *m);

/* --- show.c -------------------------------------------------------------- */

/* The origin's state at this revision is here. True: it is published, or there was
 * nothing new; false: show_some is due. */
bool show_begin(struct mirror *m, uint64_t revision);

/* So many rows of it. True: it is published. */
bool show_some(struct mirror *m, size_t rows);

/* All of what is on its way, if anything. */
void show_finish(struct mirror *m);

/* What is dirty goes to the catalog. */
void show_dirty(struct mirror *m, uint64_t revision);

/* --- rows.c -------------------------------------------------------------- */

struct row_in {
    struct bytes key, value; /* base64 */
    int64_t create, modify;
};

void rows_init(struct rows *r);
void rows_fini(struct rows *r); /* all entries are gone */

/* An entry of these rows, each of which has it now. ERR_BAD: a value is no
 * base64, or a revision below 1. */
MUST_USE enum err entry_new(struct rows *r, struct bytes key,
                            const struct row_in *v, size_t n,
                            struct entry **ret, struct errtext *t);
void entry_free(struct rows *r, struct entry *e);

/* Under its key; what was there is freed. */
void entries_put(struct rows *r, struct map *to, struct entry *take);
void entries_del(struct rows *r, struct map *from, struct bytes key);
void entries_clear(struct rows *r, struct map *m);

/* Of the entry's service. */
void row_let_in(struct rows *r, struct entry *e, uint32_t let_in_s);

void rows_free_unused(struct rows *r); /* before a load */

void row_forget_let_in(struct rows *r, struct row *w);

void row_soil(struct rows *r, struct row *w);
/* It is not in the catalog and nobody has it. */
void row_free(struct rows *r, struct row *w);

/* It has this row no more. */
void entry_let_go(struct rows *r, struct entry *e, size_t i);

/* --- mirror.c ------------------------------------------------------------ */

void mirror_drop(struct mirror *m, struct sub *s, struct bytes key);

/* --- digest.c ------------------------------------------------------------ */

struct sums_in {
    int64_t seed, buckets;
    struct bytes sums;
};

void mirror_forget_half(struct mirror *m); /* of the last connection */

enum err digest_begin(struct mirror *m, struct bytes way, bool forgot);

/* All that is too much is gone, or m->digested says that it is not known. */
enum err digest_sums(struct mirror *m, const struct sums_in *in);

/* --- outs.c -------------------------------------------------------------- */

/* The guard record of the entry's service says so of it (0: nothing). */
void outs_tell(struct mirror *m, const struct entry *e, uint64_t since);
void outs_commit(struct mirror *m, uint64_t revision, bool all);
void outs_clear(struct mirror *m);
void outs_forget(struct mirror *m, struct bytes name); /* nothing is in it */

#endif
