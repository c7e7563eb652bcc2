/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* pin - when may memory of an old version be freed?
 *
 * One writer publishes versions 1, 2, 3, ... (a counter here; the pointer to
 * the data is the caller's, swapped with one atomic store). A reader pins
 * before it loads that pointer and unpins when it has let go; the writer frees
 * garbage of version v once every pin is >= v. Nobody waits for anybody
 * (epoch-based reclamation; K. Fraser, Practical lock-freedom, 2004).
 *
 * Garbage retired while building version v is unreachable from v on: readers
 * that pinned v or later cannot see it. Several structures of one writer may
 * share a domain, if none publishes between another's first retire and its
 * publish: that would put the garbage one version too low. */
#ifndef BASE_PIN_H
#define BASE_PIN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PIN_SLOTS_MAX = 64 };

struct pin_domain {
    _Atomic uint64_t version;             /* newest published */
    _Atomic uint64_t slot[PIN_SLOTS_MAX]; /* pinned version; 0: none */
    _Atomic uint32_t taken;               /* slots given out */
    struct pin_bag *oldest, *newest;      /* writer's; garbage by version */
    _Atomic uint64_t garbage_bytes;
};

void pin_init(struct pin_domain *d);

/* Frees all garbage: only when no reader is left. */
void pin_fini(struct pin_domain *d);

/* A slot for one reader (a thread, or an answer that outlives a turn). Never
 * given back. ERR_LIMIT: all PIN_SLOTS_MAX taken. Any thread. */
MUST_USE enum err pin_slot(struct pin_domain *d, int *ret_slot);

/* Reader: from here to unpin, whatever was current stays valid. Wait-free. One
 * pin per slot at a time. */
void pin_enter(struct pin_domain *d, int slot);
void pin_leave(struct pin_domain *d, int slot);

/* Writer: p (malloc memory of about n bytes) is not reachable from the version
 * being built. Aborts when out of memory for the note itself. */
void pin_retire(struct pin_domain *d, void *take_p, size_t n);

/* Writer: the version being built is current now (call after the pointer was
 * stored); frees what nobody can see any more. */
void pin_publish(struct pin_domain *d);

#endif
