/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Rendezvous and jump: consistent hashing without a table.
 *
 * Rendezvous (Thaler, Ravishankar: Using name-based mappings to increase hit
 * rates, 1998): each member has a score for the key, the best one takes it; with
 * weights -w / ln(u) (Schindelhauer, Schomaker, 2005). A pick looks at all, so it
 * is for tens of members.
 *
 * Jump: hardly any memory and very even, but members are only numbers: one that
 * leaves anywhere but at the end of the order (by name) renumbers those behind
 * it. Weights are not looked at. */
#include <math.h>
#include <stdlib.h>

#include "lb/draw.h"
#include "lb/policy.h"

/* What a pick reads of each member, side by side. */
struct contender {
    uint64_t hash;
    double weight;
};

struct contest {
    bool equal; /* all weights: then no logarithm is needed to compare */
    struct contender who[];
};

static enum err contest_build(const struct lb_list *l, void **ret_table)
{
    struct contest *c = malloc(sizeof *c + l->n * sizeof c->who[0]);

    if (!c)
        return ERR_NOMEM;
    c->equal = true;
    for (size_t i = 0; i < l->n; i++) {
        c->who[i] = (struct contender){l->v[i].host->hash, l->v[i].weight};
        c->equal = c->equal && l->v[i].weight == l->v[0].weight;
    }
    *ret_table = c;
    return ERR_OK;
}

static enum err nothing_build(const struct lb_list *l, void **ret_table)
{
    (void)l;
    *ret_table = NULL;
    return ERR_OK;
}

static uint64_t key_hash(struct bytes key)
{
    return bytes_hash(key, 0);
}

/* Smaller is better. u is in (0, 1]; 1 - u is in the order of -ln(u). */
static double score(const struct contest *c, uint32_t i, uint64_t mixed_key)
{
    double u = lb_unit(lb_mix(c->who[i].hash + mixed_key)) + 0x1p-54;

    return c->equal ? 1 - u : -log(u) / c->who[i].weight;
}

static bool better(double score, uint32_t i, double than, uint32_t j)
{
    return score < than || (score == than && i < j);
}

static uint32_t rendezvous_first(const void *table, struct lb_walk *w)
{
    uint64_t key = lb_mix(w->key);
    double best = HUGE_VAL;

    w->at = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        double s = score(table, i, key);
        if (s < best) {
            best = s;
            w->at = i;
        }
    }
    return w->at;
}

/* The best of those that are worse than the last one given. */
static uint32_t rendezvous_next(const void *table, struct lb_walk *w)
{
    uint64_t key = lb_mix(w->key);
    double floor = score(table, w->at, key), best = HUGE_VAL;
    uint32_t found = w->at;

    for (uint32_t i = 0; i < w->n; i++) {
        double s = score(table, i, key);
        if (better(floor, w->at, s, i) && better(s, i, best, found)) {
            best = s;
            found = i;
        }
    }
    w->at = found;
    return found;
}

uint32_t lb_jump_hash(uint64_t key, uint32_t buckets)
{
    int64_t b = -1, j = 0;

    while (j < buckets) {
        b = j;
        key = key * 2862933555777941757u + 1;
        j = (int64_t)((double)(b + 1) *
                      ((double)(1LL << 31) / (double)((key >> 33) + 1)));
    }
    return (uint32_t)b;
}

static uint32_t jump_first(const void *table, struct lb_walk *w)
{
    (void)table;
    w->place = w->key;
    return lb_jump_hash(w->key, w->n);
}

/* Another number for the same key, the same each time. */
static uint32_t jump_next(const void *table, struct lb_walk *w)
{
    (void)table;
    return lb_jump_hash(lb_draw(&w->place), w->n);
}

const struct lb_policy lb_rendezvous = {
    .name = "rendezvous",
    .hashes = true,
    .weighted = true,
    .build = contest_build,
    .hash = key_hash,
    .first = rendezvous_first,
    .next = rendezvous_next,
};

const struct lb_policy lb_jump = {
    .name = "jump",
    .hashes = true,
    .build = nothing_build,
    .hash = key_hash,
    .first = jump_first,
    .next = jump_next,
};
