/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* member - which instances of a service the answers of ?passing have.
 *
 *     plain       all its checks, and those of its node, pass
 *     held        each of those that do not pass is held by the guard; one of the
 *                 node holds unless this service's guard record let the instance
 *                 go (`out`)
 *     candidates  plain or held
 *     suppressed  candidates with a damped check: those damped longest from now
 *                 first (then by node, ID), a third of the candidates at most
 *                 (rounded down: so never the last). If every candidate is
 *                 damped, the flapping is not theirs: nobody is suppressed.
 *
 * In the answers are the candidates that are not suppressed.
 *
 * Cost: membership_begin O(1) for a name without damped checks, else a walk over
 * its instances. member_of: the instance's checks and those of its node. */
#ifndef CATALOG_MEMBER_H
#define CATALOG_MEMBER_H

#include "catalog/catalog.h"

enum member {
    MEMBER_OUT,
    MEMBER_PLAIN,
    MEMBER_HELD,
    MEMBER_SUPPRESSED,
};

static inline bool member_is_in(enum member m)
{
    return m == MEMBER_PLAIN || m == MEMBER_HELD;
}

struct membership {
    const struct snapshot *s;
    struct packed out; /* of the guard record */
    /* The last one that is suppressed; NULL: nobody is. */
    const struct cat_instance *cut;
    uint64_t cut_until_ms;
};

void membership_begin(struct membership *m, const struct snapshot *s,
                      const struct cat_name *name);

/* node: the instance's (snapshot_node_of). */
enum member member_of(const struct membership *m, const struct cat_node *node,
                      const struct cat_instance *i);

/* What the worst check of an instance and its node makes of it, for DNS and
 * prepared queries. Held checks count as passing; a text that is no status of
 * Consul's is no reason to leave anything out; who is suppressed is out. */
enum standing { STANDS_OUT, STANDS_WARNING, STANDS_OTHER, STANDS_PASSING };

/* ignored: IDs of checks that do not count. *ret_held (may be NULL): some check
 * is held. */
enum standing member_standing(const struct membership *m,
                              const struct cat_node *node,
                              const struct cat_instance *i,
                              struct packed ignored, bool *ret_held);

/* The check does not pass and is held, for this instance. */
bool member_check_held(const struct membership *m, const struct cat_instance *i,
                       const struct cat_record *check);

/* The damped check of the instance, or of its node, that lasts longest; NULL:
 * none. */
const struct cat_record *member_damped(const struct cat_node *node,
                                       const struct cat_instance *i);

/* Since when all checks of the instance and of its node have passed, those that
 * do; wall time, 0: unknown (it was so before the catalog was loaded). */
uint64_t member_ready_ms(const struct cat_node *node,
                         const struct cat_instance *i);

/* Candidates among the instances, without one (NULL: all of them); stops at
 * limit. O(instances). */
size_t member_candidates(const struct snapshot *s, const struct cat_name *name,
                         const struct cat_instance *without, size_t limit);

#endif
