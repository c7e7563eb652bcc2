/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* follows - groups of those who follow the same answer, found by its canonical
 * target, and by the hash of its watch key when something was published. Long
 * polls (park.c) and event streams (push.h) embed a struct follow in what they
 * keep of a group. One thread's own. */
#ifndef SERVER_FOLLOWS_H
#define SERVER_FOLLOWS_H

#include "base/list.h"
#include "base/map.h"
#include "server/process.h"

struct follow {
    struct bytes target;        /* canonical; lives as long as the group */
    uint64_t hash;              /* of the watch key */
    const struct dc_mirror *of; /* whose catalog; NULL: the own */
    struct list same_hash;      /* ring of groups under one hash */
};

struct follows {
    struct map by_target;
    struct map by_hash; /* 8 bytes of hash -> the first of the ring */
};

void follows_fini(struct follows *fs);

struct follow *follows_find(const struct follows *fs, struct bytes target);
struct follow *follows_any(const struct follows *fs); /* NULL: there is none */

/* target and hash are set. ERR_NOMEM: it is not in. */
MUST_USE enum err follows_add(struct follows *fs, struct follow *f);
void follows_del(struct follows *fs, struct follow *f);

/* All of them; each must not add or delete any. */
void follows_each(const struct follows *fs,
                  void (*each)(void *ctx, struct follow *f), void *ctx);

/* Those of the catalog that was published whose answers may have changed; each must not add or delete any. */
void follows_touched(const struct follows *fs, const struct published *pub,
                     void (*each)(void *ctx, struct follow *f), void *ctx);

#endif
