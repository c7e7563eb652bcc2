/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* gather - how servers without data agree on who of them forms the cluster.
 *
 * Pure: it is told what the others said last, and says what to do. Whoever asks
 * around, keeps locks on the disk and starts the store is server/managed.h.
 *
 *     gathering    each asks all it knows who they are and whom they see. Once
 *                  `expect` of them see each other the one with the lowest ID
 *                  proposes the set: the lowest `expect` IDs.
 *     locked       it locks the set on its own disk, then asks each member to do
 *                  the same. Who is locked takes no other set.
 *     agreed       all members have locked it: each finds that out by asking, so
 *                  that anybody carries on what one began.
 *
 * A proposer that is refused (a member is locked to another set) lets go of its
 * own lock; members let go when the proposer does not stand by it any more.
 * Since each member but the proposer locks only what the proposer asks of it,
 * and it asks nobody again after a refusal, "all have locked" is final. */
#ifndef DUTY_GATHER_H
#define DUTY_GATHER_H

#include "base/bytes.h"

enum {
    GATHER_EXPECT_MAX = 9, /* servers in a first set; more may join later */
    GATHER_SEEN_MAX = 64,
    GATHER_ID_BYTES = 37, /* UUID and NUL */
    GATHER_NAME_BYTES = 256,
};

enum gather_phase {
    GATHER_UNKNOWN, /* it has not answered lately */
    GATHER_FRESH,   /* waits, without a lock */
    GATHER_LOCKED,
    GATHER_MEMBER, /* of a cluster that exists, or is about to */
};

/* A server, as it said itself. */
struct gather_server {
    char id[GATHER_ID_BYTES];
    char node[GATHER_NAME_BYTES], address[GATHER_NAME_BYTES];
    uint16_t peer_port, server_port;
    uint64_t expect;
    enum gather_phase phase;
    char token[GATHER_ID_BYTES]; /* LOCKED, MEMBER: of its set */
    bool ready;                  /* MEMBER: takes part now */
    size_t sees_count;           /* IDs of others that wait */
    char sees[GATHER_SEEN_MAX][GATHER_ID_BYTES];
};

enum gather_next {
    GATHER_WAIT,    /* why says for what */
    GATHER_PROPOSE, /* the set */
    GATHER_JOIN,    /* a cluster exists: whom */
};

struct gather_plan {
    enum gather_next next;
    const struct gather_server *set[GATHER_EXPECT_MAX]; /* by ID */
    size_t set_count;
    const struct gather_server *whom;
    struct errtext why;
};

/* What self (FRESH) should do; others: who has answered, in any order, self not
 * among them. Pointers in the plan are the caller's. */
void gather_decide(const struct gather_server *self,
                   const struct gather_server *others, size_t count,
                   struct gather_plan *ret);

enum gather_lock {
    LOCK_WAIT,
    LOCK_AGREED, /* all of the set hold it: final */
    LOCK_DROP,   /* the proposer does not stand by it */
};

/* What a member that holds the lock `token` should do. set: the other members,
 * as they said last; proposer: which of them proposed it, NULL: self. */
enum gather_lock gather_locked(const char *token,
                               const struct gather_server *const *set,
                               size_t count,
                               const struct gather_server *proposer);

#endif
