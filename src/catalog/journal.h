/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* journal - which records changed since a revision: the catalog's memory of its
 * latest changes, for those who send what changed and no more.
 *
 * A snapshot shows what is; the journal names what was put, changed or taken
 * out on the way there, so that who has the state of an older revision learns
 * what to look at again: a change names an entry, the snapshot tells what has
 * become of it. The same entry may be named several times.
 *
 * Bounded: at most JOURNAL_CHANGES_MAX changes and JOURNAL_BYTES_MAX bytes are
 * kept, the oldest versions go first. What happened before
 * snapshot_journal_floor cannot be told any more.
 *
 * Written by the catalog's writer, one immutable block per version; readers
 * walk from their pinned snapshot, newest block first, without a lock. */
#ifndef CATALOG_JOURNAL_H
#define CATALOG_JOURNAL_H

#include "catalog/catalog.h"

enum {
    JOURNAL_CHANGES_MAX = 65536,
    JOURNAL_BYTES_MAX = 4 << 20,
};

/* Names are folded or not, as the record had them: compare folded. */
struct cat_change {
    uint64_t revision;
    enum record_kind kind; /* NODE, SERVICE, CHECK; GUARD: of all instances of
                              the name, which are in may have changed */
    struct bytes node;
    struct bytes service_id; /* SERVICE; CHECK: empty for the node's own */
    struct bytes check_id;   /* CHECK */
    struct bytes name;       /* of the service, then; empty: none, unknown */
    bool reaped; /* SERVICE: removed by muster itself (catalog_context) */
};

/* Whoever has the state of this revision or a newer one can be told what
 * changed since. */
uint64_t snapshot_journal_floor(const struct snapshot *s);

/* All changes after revision `since`, in no order; each view is valid as long
 * as the snapshot is pinned. ERR_COMPACTED: not all of them are kept any more
 * (some may have been told nevertheless). */
MUST_USE enum err snapshot_changes(const struct snapshot *s, uint64_t since,
                                   void (*each)(void *ctx,
                                                const struct cat_change *ch),
                                   void *ctx);

#endif
