/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/journal.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/reader.h"
#include "catalog/impl.h"

/* Of one version. Changes are packed one behind the other: revision, kind << 1
 * | reaped, the four texts. */
struct journal_block {
    struct journal_block *_Atomic older; /* cut when that one is dropped */
    struct journal_block *newer;         /* the writer's */
    uint64_t after, upto;                /* of the revisions in between */
    size_t changes, bytes;
    char data[];
};

/* --- Readers ------------------------------------------------------------- */

uint64_t snapshot_journal_floor(const struct snapshot *s)
{
    return s->journal_floor;
}

static void walk_block(const struct journal_block *b, uint64_t since,
                       void (*each)(void *ctx, const struct cat_change *ch),
                       void *ctx)
{
    struct reader r = reader_over(bytes_of(b->data, b->bytes));
    for (size_t i = 0; i < b->changes; i++) {
        struct cat_change ch = {.revision = read_varint(&r)};
        uint64_t kind = read_varint(&r);
        ch.kind = (enum record_kind)(kind >> 1);
        ch.reaped = kind & 1;
        ch.node = read_lp(&r);
        ch.service_id = read_lp(&r);
        ch.check_id = read_lp(&r);
        ch.name = read_lp(&r);
        if (ch.revision > since)
            each(ctx, &ch);
    }
}

enum err snapshot_changes(const struct snapshot *s, uint64_t since,
                          void (*each)(void *ctx, const struct cat_change *ch),
                          void *ctx)
{
    const struct journal_block *b = s->journal;
    uint64_t told = s->revision; /* what came after it */

    if (since < s->journal_floor)
        return ERR_COMPACTED;
    if (!b || b->upto <= since)
        return ERR_OK;
    for (; b && b->upto > since;
         told = b->after,
         b = atomic_load_explicit(&b->older, memory_order_acquire))
        walk_block(b, since, each, ctx);
    /* An older block may have been dropped since this snapshot was made. */
    return told <= since || b ? ERR_OK : ERR_COMPACTED;
}

/* --- The writer ---------------------------------------------------------- */

enum { JOURNAL_KEPT_BYTES = 64 << 10 /* room kept for the next version */ };

void journal_note(struct catalog *c, enum record_kind kind, struct bytes node,
                  struct bytes service_id, struct bytes check_id,
                  struct bytes name, uint64_t rev)
{
    struct buf *b = &c->journal.next;

    if (c->loading)
        return;
    buf_varint(b, rev);
    buf_varint(b, (uint64_t)kind << 1 | c->reaped);
    buf_lp(b, node);
    buf_lp(b, service_id);
    buf_lp(b, check_id);
    buf_lp(b, name);
    c->journal.next_changes++;
}

static void drop_oldest(struct catalog *c)
{
    struct journal *j = &c->journal;
    struct journal_block *b = j->oldest;

    c->next.journal_floor = b->upto;
    j->oldest = b->newer;
    if (b->newer)
        atomic_store_explicit(&b->newer->older, NULL, memory_order_release);
    else
        c->next.journal = NULL;
    j->changes -= b->changes;
    j->bytes -= b->bytes;
    garbage_add(c, b);
}

static struct journal_block *take_next(struct journal *j, uint64_t after,
                                       uint64_t revision)
{
    struct journal_block *b = xmalloc(sizeof *b + j->next.n);

    *b = (struct journal_block){
        .after = after,
        .upto = revision,
        .changes = j->next_changes,
        .bytes = j->next.n,
    };
    memcpy(b->data, j->next.p, j->next.n);
    return b;
}

static void forget_next(struct journal *j)
{
    if (j->next.cap > JOURNAL_KEPT_BYTES)
        buf_fini(&j->next);
    buf_reset(&j->next);
    j->next_changes = 0;
}

void journal_publish(struct catalog *c, uint64_t revision)
{
    struct journal *j = &c->journal;

    if (j->next_changes && !j->next.bad) {
        uint64_t after =
            c->next.journal ? c->next.journal->upto : c->next.journal_floor;
        struct journal_block *b = take_next(j, after, revision);
        atomic_init(&b->older, c->next.journal);
        if (c->next.journal)
            c->next.journal->newer = b;
        else
            j->oldest = b;
        c->next.journal = b;
        j->changes += b->changes;
        j->bytes += b->bytes;
    } else if (j->next.bad) {
        journal_clear(c, revision); /* a hole: nobody is told less than all */
    }
    forget_next(j);
    while (j->oldest &&
           (j->changes > JOURNAL_CHANGES_MAX || j->bytes > JOURNAL_BYTES_MAX))
        drop_oldest(c);
}

void journal_clear(struct catalog *c, uint64_t floor)
{
    while (c->journal.oldest)
        drop_oldest(c);
    c->next.journal = NULL;
    c->next.journal_floor = floor;
    forget_next(&c->journal);
}

void journal_fini(struct catalog *c)
{
    struct journal_block *b = c->journal.oldest;

    while (b) {
        struct journal_block *newer = b->newer;
        free(b);
        b = newer;
    }
    buf_fini(&c->journal.next);
}
