/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Maglev (Eisenbud and others: Maglev, a fast and reliable software network load
 * balancer, NSDI 2016, 3.4): each member goes through the slots of a table in an
 * order of its own, and in turns takes the next one that is free. A lookup is
 * one read. With weights a member takes part in weight / greatest weight of the
 * turns, as in Envoy. */
#include <stdlib.h>
#include <string.h>

#include "lb/draw.h"
#include "lb/policy.h"

enum { FREE = 65535 /* no member: LB_MEMBERS_MAX are below it */ };

struct maglev {
    uint32_t size;
    uint16_t slot[];
};

struct taker {
    uint32_t at, skip;
    uint64_t owed; /* turns times weight it needs before it takes again */
};

/* Ten slots a member at least, or shares get coarse. All are prime. */
static uint32_t size_for(const struct lb_list *l)
{
    static const uint32_t sizes[] = {65537, 655373, 5000011};
    size_t i = 0;

    if (l->tuning && l->tuning->maglev_size > l->n)
        return l->tuning->maglev_size;
    while (i < 2 && sizes[i] < 10 * l->n)
        i++;
    return sizes[i];
}

static uint32_t start(const struct lb_list *l, uint32_t size, struct taker *t)
{
    uint32_t greatest = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct bytes name = l->v[i].host->name;
        t[i].at = (uint32_t)(bytes_hash(name, 1) % size);
        t[i].skip = (uint32_t)(bytes_hash(name, 2) % (size - 1)) + 1;
        t[i].owed = 0;
        greatest = l->v[i].weight > greatest ? l->v[i].weight : greatest;
    }
    return greatest;
}

static void take(struct maglev *m, struct taker *t, uint16_t member)
{
    while (m->slot[t->at] != FREE) {
        t->at += t->skip;
        if (t->at >= m->size)
            t->at -= m->size;
    }
    m->slot[t->at] = member;
}

static void fill(struct maglev *m, const struct lb_list *l, struct taker *t)
{
    uint32_t greatest = start(l, m->size, t), taken = 0;

    for (uint64_t turn = 1;; turn++)
        for (size_t i = 0; i < l->n; i++) {
            if (turn * l->v[i].weight < t[i].owed)
                continue;
            t[i].owed += greatest;
            take(m, &t[i], (uint16_t)i);
            if (++taken == m->size)
                return;
        }
}

static enum err maglev_build(const struct lb_list *l, void **ret_table)
{
    uint32_t size = size_for(l);
    struct maglev *m = malloc(sizeof *m + size * sizeof m->slot[0]);
    struct taker *t = malloc(l->n * sizeof *t);

    if (!m || !t) {
        free(m);
        free(t);
        return ERR_NOMEM;
    }
    m->size = size;
    memset(m->slot, 0xff, size * sizeof m->slot[0]);
    fill(m, l, t);
    free(t);
    *ret_table = m;
    return ERR_OK;
}

static uint64_t key_hash(struct bytes key)
{
    return bytes_hash(key, 0);
}

static uint32_t maglev_first(const void *table, struct lb_walk *w)
{
    const struct maglev *m = table;

    w->place = lb_below(w->key, m->size);
    return m->slot[w->place];
}

static uint32_t maglev_next(const void *table, struct lb_walk *w)
{
    const struct maglev *m = table;

    w->place = w->place + 1 < m->size ? w->place + 1 : 0;
    return m->slot[w->place];
}

const uint16_t *lb_maglev_slots(const void *table, size_t *ret_n)
{
    const struct maglev *m = table;

    *ret_n = m->size;
    return m->slot;
}

const struct lb_policy lb_maglev = {
    .name = "maglev",
    .hashes = true,
    .weighted = true,
    .build = maglev_build,
    .hash = key_hash,
    .first = maglev_first,
    .next = maglev_next,
};
