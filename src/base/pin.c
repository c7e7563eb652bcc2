/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Why this is safe. S is the single order of all seq_cst operations.
 *
 *   writer                              reader
 *   P   pointer = new data              R1  v = version
 *   V   version = u          seq_cst    R2  slot = v          seq_cst
 *   C   scan: read slot      seq_cst    R3  w = version       seq_cst
 *   F   free garbage <= every pin       R4  slot = w, if newer
 *                                       R5  read pointer, use data
 *
 * Garbage of u is what u's pointer cannot reach, so F harms only a reader whose
 * R5 found a pointer older than u's. It did not if w >= u: R3 then read what V
 * of u or a later V wrote, and that makes P visible to R5. Take the scan C
 * before F:
 *
 * - C before R2 in S: V before C before R2 before R3, so w >= u.
 * - C after R2 in S: C reads v, or w, or what the same reader wrote after it
 * had let go. If it is below u, F does not happen; if not, w >= u, as w >= v.
 *
 * So R3 need not be a loop: a pin that is lower than it could be delays freeing
 * and protects as well. What a reader read before leaving happens before F,
 * because each store to a slot is a release and C an acquire. A slot that C
 * does not look at, because it was taken later, is the first case. */
#include "base/pin.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"

enum { PIN_BAG_NOTES = 59 }; /* 512 bytes of heap */

/* Notes of one version; a version with many has several bags. */
struct pin_bag {
    struct pin_bag *next; /* newer, or of the same version */
    uint64_t version;     /* from this one on nobody can reach them */
    size_t bytes;
    size_t n;
    void *note[PIN_BAG_NOTES];
};

void pin_init(struct pin_domain *d)
{
    atomic_init(&d->version, 1);
    for (int i = 0; i < PIN_SLOTS_MAX; i++)
        atomic_init(&d->slot[i], 0);
    atomic_init(&d->taken, 0);
    atomic_init(&d->garbage_bytes, 0);
    d->oldest = d->newest = NULL;
}

static void free_oldest(struct pin_domain *d)
{
    struct pin_bag *bag = d->oldest;

    for (size_t i = 0; i < bag->n; i++)
        free(bag->note[i]);
    atomic_fetch_sub_explicit(&d->garbage_bytes, bag->bytes,
                              memory_order_relaxed);
    d->oldest = bag->next;
    if (!d->oldest)
        d->newest = NULL;
    free(bag);
}

void pin_fini(struct pin_domain *d)
{
    while (d->oldest)
        free_oldest(d);
}

enum err pin_slot(struct pin_domain *d, int *ret_slot)
{
    uint32_t n = atomic_load(&d->taken);

    do {
        if (n == PIN_SLOTS_MAX)
            return ERR_LIMIT;
    } while (!atomic_compare_exchange_weak(&d->taken, &n, n + 1));
    *ret_slot = (int)n;
    return ERR_OK;
}

void pin_enter(struct pin_domain *d, int slot)
{
    _Atomic uint64_t *pin = &d->slot[slot];
    uint64_t v = atomic_load_explicit(&d->version, memory_order_relaxed);

    require(atomic_load_explicit(pin, memory_order_relaxed) == 0);
    atomic_store(pin, v);                  /* R2 */
    uint64_t w = atomic_load(&d->version); /* R3 */
    if (w != v)
        atomic_store(pin, w);
}

void pin_leave(struct pin_domain *d, int slot)
{
    atomic_store_explicit(&d->slot[slot], 0, memory_order_release);
}

static struct pin_bag *bag_for(struct pin_domain *d, uint64_t version)
{
    struct pin_bag *bag = d->newest;

    if (bag && bag->version == version && bag->n < PIN_BAG_NOTES)
        return bag;
    bag = xmalloc(sizeof *bag);
    bag->next = NULL;
    bag->version = version;
    bag->bytes = bag->n = 0;
    if (d->newest)
        d->newest->next = bag;
    else
        d->oldest = bag;
    d->newest = bag;
    return bag;
}

static uint64_t being_built(struct pin_domain *d)
{
    return atomic_load_explicit(&d->version, memory_order_relaxed) + 1;
}

void pin_retire(struct pin_domain *d, void *take_p, size_t n)
{
    struct pin_bag *bag = bag_for(d, being_built(d));

    bag->note[bag->n++] = take_p;
    bag->bytes += n;
    atomic_fetch_add_explicit(&d->garbage_bytes, n, memory_order_relaxed);
}

/* The lowest pin, or `newest` if there is none. */
static uint64_t lowest_pin(struct pin_domain *d, uint64_t newest)
{
    uint32_t n = atomic_load(&d->taken);
    uint64_t low = newest;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t pin = atomic_load(&d->slot[i]); /* C */
        if (pin && pin < low)
            low = pin;
    }
    return low;
}

void pin_publish(struct pin_domain *d)
{
    uint64_t newest = being_built(d);

    atomic_store(&d->version, newest); /* V */
    if (!d->oldest)
        return;
    uint64_t low = lowest_pin(d, newest);
    while (d->oldest && d->oldest->version <= low)
        free_oldest(d);
}
