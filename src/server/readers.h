/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* readers - who read a service without saying what he has applied: hosts, and
 * when they were heard of last. Nothing is proven of them. Not locked: the
 * owner's mutex. Times are monotonic milliseconds. */
#ifndef SERVER_READERS_H
#define SERVER_READERS_H

#include "base/list.h"
#include "base/map.h"

enum { UNPROVEN_MAX = 4096 /* readers remembered */ };

struct readers {
    struct map by_key;
    struct list all;  /* the longest unheard first */
    uint64_t lost_ms; /* when one was not remembered last; 0: never */
};

struct unproven {
    const char *peer;  /* its host */
    const char *agent; /* at which it read; empty: here */
    uint64_t seen_ms;  /* ago */
};

void readers_init(struct readers *rs);
void readers_fini(struct readers *rs);

/* name: the service, folded. agent: the name of one at which it read, or empty.
 * now_ms: when that was; it may have been before what was seen last. */
void readers_seen(struct readers *rs, struct bytes name, struct bytes host,
                  struct bytes agent, uint64_t now_ms);
/* There were some that cannot be remembered. */
void readers_lost(struct readers *rs, uint64_t now_ms);
void readers_forget(struct readers *rs, uint64_t now_ms, uint64_t after_ms);

/* All that were seen at since_ms or later, here and not at agents; service is
 * folded. */
void readers_since(const struct readers *rs, uint64_t since_ms,
                   void (*each)(void *ctx, struct bytes service,
                                const char *host, uint64_t seen_ms),
                   void *ctx);

/* False: within memory_ms there were more than could be remembered. */
bool readers_each(const struct readers *rs, struct bytes name, uint64_t now_ms,
                  uint64_t memory_ms,
                  void (*each)(void *ctx, const struct unproven *u), void *ctx);

#endif
