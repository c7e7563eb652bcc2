/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* gate - the shared barrier before reads, where the store is not this
 * process's alone.
 *
 * Another server may have answered a write that our catalog does not show yet.
 * A read that must not miss it waits for a barrier (store/store.h) begun after
 * it came, and until the catalog has reached that barrier's revision: about a
 * millisecond. Each serving thread has one barrier in flight; who comes
 * meanwhile shares the next. While barriers fail they are begun again, until a
 * request has waited for GATE_HOLD_MS: then 500 "No cluster leader". A read that
 * an agent passed on waits only as long as the agent says (API_HOLD_HEADER), so
 * that the next server can be asked within the same time.
 *
 * Writes come here, too: those that have nothing to commit (the answer depends
 * on a catalog that may be old), and those whose store was not reachable.
 *
 * With a store in this process all is current, and nothing ever waits. */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include "loop/timers.h"
#include "server/process.h"

enum {
    GATE_HOLD_MS = 7000,    /* Consul's rpc_hold_timeout */
    GATE_RETRY_MS = 50,     /* after a barrier that failed */
    GATE_LOOK_MS = 200,     /* who has waited too long? */
    CONTACT_BEAT_MS = 300,  /* a barrier at least so often */
    CONTACT_LOST_MS = 1000, /* none answered for so long: no leader is known */
    CONTACT_LINK_LOST_MS = 5000, /* the same of an agent's beats */
};

struct gate {
    struct list waiting; /* for the next barrier */
    struct list flying;  /* for the one in flight */
    struct list sent;    /* writes that the store has; for their deadline */
    bool in_flight, watching;
    struct timer retry, look;
};

/* In whatever waits. */
struct gate_item {
    struct list link;  /* initialised; alone: does not wait */
    uint64_t until_ms; /* of the loop's clock */
    /* ok: go on with the catalog as it is now. Else the time is over. The item
     * does not wait any more. */
    void (*pass)(struct serving *s, struct gate_item *it, bool ok);
};

void gate_init(struct serving *s);

/* Is there anything to wait for at all? */
bool gate_is_open(const struct serving *s);

/* Its time starts: GATE_HOLD_MS, or most_ms if that is less; 0: not told. */
void gate_begin(struct serving *s, struct gate_item *it, uint32_t most_ms);
void gate_wait(struct serving *s, struct gate_item *it);
void gate_sent(struct serving *s, struct gate_item *it);
void gate_leave(struct gate_item *it);
void gate_answered(struct serving *s, struct letter *take);

/* What all waits for is over: the thread closes. */
void gate_close(struct serving *s);

/* Any thread: how old what is here can be, in ms; known: somebody leads. */
uint64_t contact_ms(const struct process *p, bool *ret_known);

/* A barrier that was begun then (of uv_hrtime, in ms) has been reached. */
void contact_made(struct process *p, uint64_t started_ms);

/* The core thread's: barriers while nobody reads. */
struct contact;
struct core;
void contact_begin(struct core *c);
void contact_published(struct core *c);
void contact_end(struct core *c); /* after the store has closed */

#endif
