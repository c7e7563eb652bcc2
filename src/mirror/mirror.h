/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirror - a part of another catalog, or all of it, kept as a catalog of one's own
 * from the origin's event stream (docs/api.md, with ?rows: api/stored.c). What is
 * mirrored is read by the code that reads any catalog, so that an answer from
 * here is, byte for byte, the origin's.
 *
 * What is asked for are subscriptions: a service, a node, a node's checks; or all
 * instances, all nodes, all checks, which together are the whole catalog. Each
 * has entries, an entry is made of rows, and a row may be in many of them (a node
 * in all that run there): it stays as long as one entry has it, in its newest
 * state.
 *
 *     bytes -> events -> entries of a subscription -> rows, some of them dirty
 *     an event with an id: what is dirty goes to the catalog as one version
 *
 * So the catalog moves from one state that the origin had, as far as it is
 * mirrored, to another such state, and its revisions are the origin's. A cut
 * connection changes nothing; the next one goes on from the id, or brings
 * snapshots, and what those do not have any more is taken out then: nothing is
 * ever missing meanwhile.
 *
 * A subscription that is new joins those that are there by the next connection,
 * on which they go on and it begins. When its snapshot is in, the catalog is told
 * that the name (or node) is whole (catalog_renew_name): clients may come with an
 * index of before, and would wait for what happened without us. If all was asked
 * for, the catalog is loaded instead, with its floor.
 *
 * A service that nobody asks for any more is dropped in two steps (mirror_sweep),
 * so that nobody is ever told that its instances are gone. First its name is no
 * longer whole: who comes from then on waits until it is wanted again, while all
 * of it is still here and kept current for who looks at an older version. Once
 * nobody can, and nobody has used it since, its entries go. If it is wanted
 * later, it begins like a new one, at the revision of then: an index that a
 * client has kept is not above that, so that he is shown what there is.
 *
 * There have to be two subscriptions at least: with one alone the stream's ids
 * would be those of its answer, not of the store.
 *
 * Not thread-safe: the catalog's writer owns it. No clock, no socket. */
#ifndef MIRROR_MIRROR_H
#define MIRROR_MIRROR_H

#include "catalog/catalog.h"

enum {
    MIRROR_SUBSCRIPTIONS_MAX = 4096,    /* of one connection (api/entries.h) */
    MIRROR_NAMES_BYTES_MAX = 512 << 10, /* of all of them, as in a URL */
    MIRROR_CROWDED_SHARE = 10,  /* crowded: idle after that part of the time */
    MIRROR_LINE_MAX = 16 << 20, /* bytes of one event */
    MIRROR_NAME_MAX = 512,
    MIRROR_KEY_MAX = 4096,     /* of a stored row */
    MIRROR_HELD_MAX = 8 << 20, /* bytes that wait for a version's slices */
    MIRROR_HELD_SLICE = 64 << 10,
};

enum mirror_kind {
    MIRROR_SERVICE,     /* a service's instances, with all that health shows */
    MIRROR_NODE,        /* a node's record and services, without checks */
    MIRROR_NODE_CHECKS, /* all checks on a node */
    MIRROR_ALL,         /* all instances, as of a service */
    MIRROR_NODES,       /* all nodes' records */
    MIRROR_CHECKS,      /* all checks */
    MIRROR_PREFIX,      /* instances whose service's name begins so */
};

struct mirror;

/* Views live during the call. */
struct mirror_origin {
    struct bytes datacenter, cluster;
    uint64_t index, at_ms;
};

struct mirror_events {
    void (*committed)(void *ctx); /* the catalog has another version */
    /* May be NULL. A connection has begun: who is at the other end, as far as it
     * says; at_ms: by its clock. Not ERR_OK: not from him (t says why). */
    enum err (*begun)(void *ctx, const struct mirror_origin *o,
                      struct errtext *t);
    /* May be NULL. All that was published when the origin's clock showed at_ms
     * is here; what it knew then was age_ms old. */
    void (*beat)(void *ctx, uint64_t at_ms, uint64_t age_ms);
    /* May be NULL. What an event "user" brought: none of the catalog's. */
    void (*user_events)(void *ctx, struct bytes data);
    void *ctx;
};

/* NULL: no memory. The catalog is empty, and written by nobody else. */
struct mirror *mirror_new(struct catalog *c, const struct mirror_events *e);
void mirror_free(struct mirror *m); /* before the catalog */

/* Bytes that rows may take until it is full; SIZE_MAX at first. Those that are
 * subscribed to may grow beyond: what is used stays. */
void mirror_bound(struct mirror *m, size_t bytes_max);

/* A version of more than so many rows is made in slices (mirror_step), of about so
 * many each; SIZE_MAX, all at once, at first. It is published when it is whole, as
 * any: nobody sees a part of it. What comes of the stream meanwhile waits, and past
 * MIRROR_HELD_MAX it is made at once after all. */
void mirror_slice(struct mirror *m, size_t rows);

/* Subscribes; the kinds of all have no name. ERR_FULL: there are
 * MIRROR_SUBSCRIPTIONS_MAX, or too many bytes; ERR_LIMIT: the name is too long.
 * ERR_EXISTS: it is subscribed to already; one that was being dropped is not any
 * more (committed was called). Only a new connection brings what it has. */
MUST_USE enum err mirror_want(struct mirror *m, enum mirror_kind kind,
                              struct bytes name);

/* The services that are subscribed to, folded. */
void mirror_services(const struct mirror *m,
                     void (*each)(void *ctx, struct bytes name), void *ctx);

/* Drops services that were not used for idle_ms; those without an instance, and
 * all while there is little room, after a part of that. used: when was the
 * service (folded) used last? Monotonic, as now_ms. Between two calls everybody
 * must have told of what he still follows, as of a version that the first one
 * left behind. How many are gone: the next connection is without them. */
struct mirror_idle {
    uint64_t now_ms, idle_ms;
    uint64_t (*used)(void *ctx, struct bytes name);
    void *ctx;
};
size_t mirror_sweep(struct mirror *m, const struct mirror_idle *idle);

size_t mirror_subscriptions(const struct mirror *m);

/* All that was asked for is here. */
bool mirror_is_whole(const struct mirror *m);

/* The catalog's revision; 0: nothing has come yet. */
uint64_t mirror_revision(const struct mirror *m);

/* A connection begins: its target is written, *ret_id is what to send as
 * Last-Event-ID (0: nothing). What the last one has left half done is dropped. */
void mirror_connect(struct mirror *m, struct buf *target, uint64_t *ret_id);

/* ERR_AGAIN: the server is behind what was shown here already: ask another one,
 * or this one later; nothing has changed. ERR_BAD, ERR_LIMIT: that is no such
 * stream, t says why. After any error another mirror_connect is due. */
MUST_USE enum err mirror_push(struct mirror *m, struct bytes piece,
                              struct errtext *t);

/* True: something waits to be shown, or to be read, and mirror_step does a slice of
 * it, with the errors of mirror_push. Calls that need all of it (mirror_connect,
 * mirror_digest, mirror_renew, seldom mirror_want) do the rest at once. */
bool mirror_is_busy(const struct mirror *m);
MUST_USE enum err mirror_step(struct mirror *m, struct errtext *t);

/* After a long cut the stream would bring snapshots. This asks for what has
 * changed first: an answer to GET target is pushed as the stream's pieces are, and
 * then the stream is asked for in either case. False: there is nothing to start
 * from, or it is no mirror of everything. seed: random. */
bool mirror_digest(struct mirror *m, bool fine, uint64_t seed,
                   struct buf *target);

enum mirror_way {
    MIRROR_BY_STREAM, /* no need, or no sense in it */
    MIRROR_DONE,      /* the newest state is shown */
    MIRROR_FINER,     /* so much was removed that it takes a finer one */
};

/* What came of it, when the answer has ended. */
enum mirror_way mirror_digested(const struct mirror *m);

/* The id under which the server lists this connection; "": not told yet. */
const char *mirror_subscriber(const struct mirror *m);

/* Rows that no catalog takes, so far, and the last one. */
size_t mirror_damaged(const struct mirror *m, const struct errtext **ret);

/* Another store is at the other end, whose revisions have nothing to do with
 * those of before: everything is forgotten but what is subscribed to, the catalog
 * is empty, at revision 0. */
void mirror_reset(struct mirror *m);

/* The same, but what was shown stays until all that is subscribed to has come
 * from the other store; with that the catalog's floor begins anew. For mirrors of
 * a whole catalog. */
void mirror_renew(struct mirror *m);

/* Bytes of memory that rows and entries take; the catalog takes about as many
 * again. */
size_t mirror_bytes(const struct mirror *m);

#endif
