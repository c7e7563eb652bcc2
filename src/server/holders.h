/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* holders - who, of those that this server knows of, may still give an instance
 * to somebody.
 *
 *   holders_new     before the instance is drained: which of the targets that are
 *                   followed here have it?
 *   holders_look    after that: which subscribers have not applied an index that
 *                   has not, and how long may DNS answers be kept?
 *
 * Made when the instance is drained already (asked again, or by a server that
 * could not be asked before) it holds too: who had it has been told something
 * that he has not acknowledged, or will be (stream_mark), or asks with an older
 * index.
 *
 * Not locked; any thread, one at a time. Times are monotonic milliseconds. */
#ifndef SERVER_HOLDERS_H
#define SERVER_HOLDERS_H

#include "http/json_out.h"
#include "server/process.h"

enum {
    HOLDERS_TARGETS_MAX = 4096, /* further ones count as having it */
    HOLDERS_TOLD_MAX = 200,     /* rows of one server in an answer */
};

struct holders;

/* NULL: no memory. Pinned. */
struct holders *holders_new(struct process *p, const struct api_env *env,
                            struct bytes node, struct bytes name,
                            struct bytes id);
void holders_free(struct holders *h);

struct holders_state {
    uint64_t index; /* what all here have seen */
    bool reached;   /* that is what is needed */
    size_t holding;
    size_t unproven;        /* readers who do not say what they have */
    bool unproven_complete; /* there are no more of those */
    uint64_t unknown_ms;    /* until this server knows of all; 0: it does */
    uint64_t dns_left_ms;   /* DNS answers with it may be kept */
};

/* need: the index of the service since which it is drained. */
void holders_look(struct holders *h, struct process *p, uint64_t need,
                  struct holders_state *ret);

/* Rows of those that hold it, at most HOLDERS_TOLD_MAX, each named after this
 * server; and of the readers of whom nothing is proven. *ret_more: so many were
 * left out. */
void holders_put(struct holders *h, struct process *p, uint64_t need,
                 struct json_out *waiting, struct json_out *unproven,
                 size_t *ret_more);

/* The index since which the instance is drained; 0: the catalog here does not say
 * so yet. Pinned. */
uint64_t holders_need(const struct process *p, const struct api_env *env,
                      struct bytes node, struct bytes name, struct bytes id);

#endif
