/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog - which nodes, services and checks exist (and queries and coordinates
 * beside them): an immutable snapshot per version, built from the store's feed.
 *
 * One writer (the core thread) applies revisions; each commit publishes a version
 * with one atomic pointer. Readers pin (base/pin.h), load the pointer, read without
 * locks, unpin. Versions share what did not change (base/tree.h).
 *
 * Nothing here reads a clock, a socket or a file: equal feeds give equal
 * catalogs.
 *
 *   snapshot
 *     nodes    tree of cat_node by folded name   (also those just deleted, empty:
 *     names    tree of cat_name by folded name    tombstones that keep an index)
 *     ids      tree of the nodes' records by node ID
 *     guards   tree of guard records by folded service name
 *     marked   tree of the checks that are held or damped
 *     addresses  tree of nodes' and services' records by their Address
 *     queries, query_names  prepared queries by ID, and by name
 *     coordinates  tree of coordinates by node
 *   cat_node:  record, its instances (tree by folded service ID), its checks (tree
 *              by folded check ID), the node-level checks among them as an array
 *   cat_name:  its instances (tree by folded node, folded service ID)
 *   cat_instance: the service's record and its checks, in order of check ID; one
 *              object, in both trees
 *
 * Indexes. Each watch key (watch.h) has its own, never falling. Deleted nodes and
 * names leave a tombstone with their index; at most CATALOG_TOMBSTONES_MAX, dropping
 * the oldest raises the floor to its index. After a load the floor is the loaded
 * revision: what was deleted before cannot be seen any more. */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include "base/pin.h"
#include "base/tree.h"
#include "catalog/record.h"
#include "catalog/watch.h"

enum { CATALOG_TOMBSTONES_MAX = 16384 };

struct cat_record; /* one stored value and its revisions; opaque */

struct cat_instance {
    const struct cat_record *service;
    uint32_t check_count;
    /* Unix time at which it was let in by what left no trace in a record: it
     * was registered, or a check that did not pass was removed. 0: unknown, it
     * was so at the load. */
    uint32_t let_in_s;
    const struct cat_record *checks[]; /* by folded check ID */
};

struct cat_node {
    const struct cat_record
        *record;                 /* NULL: a tombstone, or its rows came first */
    struct tree services;        /* of struct cat_instance */
    struct tree checks;          /* of struct cat_record */
    struct cat_node_checks *own; /* node-level checks; NULL: none */
    uint64_t node_index;         /* record or services changed */
    uint64_t checks_index;
    uint64_t edit;     /* of the writer */
    uint32_t let_in_s; /* one of own was removed, as in cat_instance */
};

struct cat_node_checks {
    uint32_t n;
    const struct cat_record *v[];
};

struct cat_name {
    struct tree instances; /* of struct cat_instance; empty: a tombstone */
    uint64_t service_index, health_index, checks_index;
    uint64_t edit;
    uint32_t damped; /* checks of its instances, not those of their nodes */
    bool whole;      /* catalog_renew_name: no instance is missing */
    size_t name_len;
    char name[]; /* as first registered */
};

struct snapshot;
struct catalog;

struct catalog *catalog_new(struct pin_domain *pins);
void catalog_free(struct catalog *c); /* no reader left */

/* --- Writer ---------------------------------------------------------------- */

/* Forget everything; load_end publishes what was put since, with floor =
 * revision (or higher, if the floor already was). */
void catalog_load_begin(struct catalog *c);
/* The same, and the floor is forgotten too: what comes is of another store. */
void catalog_load_anew(struct catalog *c);
void catalog_load_end(struct catalog *c, uint64_t revision);

/* What load_end does before it publishes, in slices: at most *left rows, which are
 * taken from it. True: load_end has only to publish. Nothing is put or deleted once
 * it has begun; catalog_let_in and catalog_set_whole may be called when it is done.
 */
MUST_USE bool catalog_load_build(struct catalog *c, uint64_t revision,
                                 size_t *left);

/* ERR_BAD, ERR_CORRUPT: a key or value that is none of ours; the entry is left
 * out, the rest goes on (t names the key). Keys may come in any order: a check
 * before its service, a service before its node. */
MUST_USE enum err catalog_put(struct catalog *c, struct bytes key,
                              struct bytes value, uint64_t create_rev,
                              uint64_t mod_rev, struct errtext *t);
void catalog_delete(struct catalog *c, struct bytes key, uint64_t mod_rev);

/* About what is put and deleted from here on: the wall time of whoever
 * committed it (0: unknown), and whether it is muster that removes, because
 * nobody spoke for it any more. Of no influence on what the catalog holds but
 * let_in_s and the journal's reaped. A load begins with neither. */
void catalog_context(struct catalog *c, uint64_t wall_ms, bool reaped);

/* When the instance was let in (cat_instance), if somebody else saw it. */
void catalog_let_in(struct catalog *c, struct bytes node,
                    struct bytes service_id, uint32_t let_in_s);

/* A catalog that holds a part of another one (src/mirror) has begun to hold all
 * of this service name, or of this node: what was shown under their watch keys
 * up to this revision nobody told of, so that their indexes move there, and
 * whoever waits looks again. */
void catalog_renew_name(struct catalog *c, struct bytes name, uint64_t rev);
void catalog_renew_node(struct catalog *c, struct bytes node, uint64_t rev);

/* And before it holds no more of the name: snapshot_is_whole says no (or yes
 * again) from the next version on, while all of it is still there. Once nobody
 * can be looking at an older version, its instances go, and forget takes the
 * rest: no tombstone is kept, as catalog_renew_name comes before it is shown
 * again. Nobody is woken. */
void catalog_set_whole(struct catalog *c, struct bytes name, bool whole);
void catalog_forget_name(struct catalog *c, struct bytes name);

/* Publishes the version of this revision. What it touched is in
 * catalog_changes until the next put. */
void catalog_commit(struct catalog *c, uint64_t revision);
const struct watch_set *catalog_changes(const struct catalog *c);

/* --- Readers (pinned, or the writer's thread) -------------------------------- */

const struct snapshot *catalog_current(const struct catalog *c);

uint64_t snapshot_revision(const struct snapshot *s);
uint64_t snapshot_floor(const struct snapshot *s);
size_t snapshot_node_count(const struct snapshot *s);
size_t snapshot_name_count(const struct snapshot *s);
size_t snapshot_instance_count(const struct snapshot *s);
size_t snapshot_check_count(const struct snapshot *s);

/* The index of a watch key; 0 if it was never seen. LOCAL kinds are not ours. */
uint64_t snapshot_index(const struct snapshot *s, struct watch_key k);

/* For keeping encoded answers: the revision that last changed anything shown
 * under the key, check Output included. It is >= snapshot_index and moves without
 * waking anybody; an answer made at one text index is the answer as long as that
 * stays. (Node-level Output counts for all names: rather too often than per
 * name.) */
uint64_t snapshot_text_index(const struct snapshot *s, struct watch_key k);

/* catalog_renew_name has been called for it, whether or not it has instances. */
bool snapshot_is_whole(const struct snapshot *s, struct bytes name);

/* NULL: none, or only a tombstone. Names in any case. */
const struct cat_node *snapshot_node(const struct snapshot *s,
                                     struct bytes name);
const struct cat_node *snapshot_node_by_id(const struct snapshot *s,
                                           struct bytes uuid);
/* The only node whose ID starts with these >= 2 hex digits; NULL: none, several. */
const struct cat_node *snapshot_node_by_id_prefix(const struct snapshot *s,
                                                  struct bytes hex);
const struct cat_name *snapshot_name(const struct snapshot *s,
                                     struct bytes name);
const struct cat_instance *cat_node_service(const struct cat_node *n,
                                            struct bytes service_id);
const struct cat_record *cat_node_check(const struct cat_node *n,
                                        struct bytes check_id);

/* Whose Address this is, as text (IPv6 in the form of RFC 5952): a node's, else a
 * service's; of one of them if of several. *ret_name: of the node, or of the
 * service. False: nobody's. */
bool snapshot_address(const struct snapshot *s, struct bytes address,
                      struct bytes *ret_name, bool *ret_service);

/* In order of folded name; tombstones left out. */
void snapshot_nodes(const struct snapshot *s, struct tree_iter *it);
const struct cat_node *snapshot_next_node(struct tree_iter *it);
void snapshot_names(const struct snapshot *s, struct tree_iter *it);
const struct cat_name *snapshot_next_name(struct tree_iter *it);

/* The guard record of a service name in any case; NULL: none. */
const struct cat_record *snapshot_guard(const struct snapshot *s,
                                        struct bytes name);
void snapshot_guards(const struct snapshot *s, struct tree_iter *it);
const struct cat_record *snapshot_next_guard(struct tree_iter *it);

/* All checks that are held or damped, in order of folded node and check ID. The
 * node may be without a record. */
void snapshot_marked(const struct snapshot *s, struct tree_iter *it);
const struct cat_record *snapshot_next_marked(struct tree_iter *it);
size_t snapshot_marked_count(const struct snapshot *s);

/* Prepared queries: by ID; by name in any case, templates too; the template
 * whose name is the longest beginning of this one. NULL: none. */
const struct cat_record *snapshot_query(const struct snapshot *s,
                                        struct bytes id);
const struct cat_record *snapshot_query_named(const struct snapshot *s,
                                              struct bytes name);
const struct cat_record *snapshot_query_template(const struct snapshot *s,
                                                 struct bytes name);
void snapshot_queries(const struct snapshot *s, struct tree_iter *it);
size_t snapshot_query_count(const struct snapshot *s);
bool cat_query_is_template(const struct cat_record *r);

/* Where a node is; NULL: nobody has said so. The node may be gone. */
const struct cat_record *snapshot_coordinate(const struct snapshot *s,
                                             struct bytes node);
void snapshot_coordinates(const struct snapshot *s, struct tree_iter *it);

/* Of either. */
const struct cat_record *snapshot_next_aside(struct tree_iter *it);

/* The same from behind this key on, which need not be there (any case); a
 * walk goes on there in a later version. */
void snapshot_nodes_after(const struct snapshot *s, struct bytes name,
                          struct tree_iter *it);
void snapshot_names_after(const struct snapshot *s, struct bytes name,
                          struct tree_iter *it);
void cat_instances_after(const struct cat_name *n, struct bytes node,
                         struct bytes service_id, struct tree_iter *it);
void cat_services_after(const struct cat_node *n, struct bytes service_id,
                        struct tree_iter *it);
void cat_checks_after(const struct cat_node *n, struct bytes check_id,
                      struct tree_iter *it);

/* Views of records: cannot fail, the record was checked when it was put. */
void cat_node_view(const struct cat_record *r, struct node_view *v);
void cat_service_view(const struct cat_record *r, struct service_view *v);
void cat_check_view(const struct cat_record *r, struct check_view *v);
void cat_guard_view(const struct cat_record *r, struct guard_view *v);
void cat_query_view(const struct cat_record *r, struct query_view *v);
void cat_coordinate_view(const struct cat_record *r, struct coordinate_view *v);

/* A record as it is stored. */
struct cat_stored {
    struct bytes value;
    uint64_t create_rev, mod_rev;
};

void cat_stored(const struct cat_record *r, struct cat_stored *ret);

/* The node of an instance (service_view.node names it). */
const struct cat_node *snapshot_node_of(const struct snapshot *s,
                                        const struct cat_instance *i);

#endif
