/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Which endpoints are told, and in which order.
 *
 * By weight without putting back: each endpoint draws a key, -log(u)/weight with u
 * from (0, 1], and the smallest keys come first (P. Efraimidis, P. Spirakis,
 * Weighted random sampling with a reservoir, 2006). Where few of many are wanted,
 * drawing by the running sum of weights until so many different ones have come is
 * quicker than a key for each.
 *
 * Sticky: u is a hash of who asks and of the record, so each client has an order
 * of its own that changes as little as can be when an instance comes or goes
 * (rendezvous hashing; D. Thaler, C. Ravishankar, 1998). */
#include <math.h>

#include "dns/impl.h"

enum {
    FEW = 4,   /* wanted of one in so many: draw, no keys */
    MANY = 64, /* from here on */
    SUBNET_BYTES_V4 = 3,
    SUBNET_BYTES_V6 = 7,
};

/* splitmix64 (G. Steele, D. Lea, C. Flood, 2014). */
uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* --- Drawing ---------------------------------------------------------------- */

static size_t draw_one(struct ask *a, const struct dns_entry *e)
{
    uint64_t r = random_next(&a->random);

    if (e->even)
        return (size_t)((r >> 32) * e->count >> 32);
    /* The running sums are what at[] is followed by. */
    const uint32_t *sums = dns_entry_at(e) + e->count;
    uint32_t at = (uint32_t)((r >> 32) * e->weight_sum >> 32);
    size_t lo = 0, hi = e->count - 1u;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (sums[mid] > at)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static bool is_drawn(const struct dns_worker *w, size_t n, size_t i)
{
    for (size_t k = 0; k < n; k++)
        if (w->order[k] == i)
            return true;
    return false;
}

/* False: the weights are so uneven that others hardly come. */
static bool draw(struct ask *a, const struct dns_entry *e, size_t want)
{
    size_t n = 0;

    for (size_t tries = 0; n < want && tries < MANY + 8 * want; tries++) {
        size_t i = draw_one(a, e);
        if (!is_drawn(a->w, n, i))
            a->w->order[n++] = (uint16_t)i;
    }
    return n == want;
}

/* --- Keys ------------------------------------------------------------------- */

static uint64_t subnet_hash(const struct ask *a)
{
    const struct dns_ecs *ecs = &a->q.ecs;
    struct bytes who = a->env->client;

    if (a->q.edns && ecs->set && ecs->n)
        who = bytes_of(ecs->address, ecs->n);
    return bytes_hash(
        bytes_head(who, who.n > 4 ? SUBNET_BYTES_V6 : SUBNET_BYTES_V4), 1);
}

static uint64_t endpoint_hash(const struct dns_entry *e, size_t i,
                              uint64_t seed)
{
    const struct dns_endpoint *p = dns_entry_endpoint(e, i);
    return bytes_hash(bytes_of(p + 1, p->answer_n), seed);
}

static void make_keys(struct ask *a, const struct dns_entry *e)
{
    bool sticky = a->env->set->sticky;
    uint64_t who = sticky ? subnet_hash(a) : 0;

    for (size_t i = 0; i < e->count; i++) {
        uint64_t r =
            sticky ? endpoint_hash(e, i, who) : random_next(&a->random);
        uint32_t weight = dns_entry_endpoint(e, i)->weight;
        a->w->order[i] = (uint16_t)i;
        a->w->keys[i] = (float)(r >> 40);
        if (e->even)
            continue;
        float u = ((float)(r >> 40) + 1) / (float)(1 << 24);
        a->w->keys[i] = -logf(u) / (float)(weight ? weight : 1);
    }
}

static void swap(struct dns_worker *w, size_t i, size_t k)
{
    uint16_t was = w->order[i];
    w->order[i] = w->order[k];
    w->order[k] = was;
}

/* The smaller keys go down: a heap whose top is the largest of n. */
static void sift(struct dns_worker *w, size_t i, size_t n)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n &&
            w->keys[w->order[child + 1]] > w->keys[w->order[child]])
            child++;
        if (w->keys[w->order[i]] >= w->keys[w->order[child]])
            return;
        swap(w, i, child);
    }
}

/* The `want` smallest, sorted, to the front of order. */
static void sort_smallest(struct dns_worker *w, size_t count, size_t want)
{
    for (size_t i = want / 2; i-- > 0;)
        sift(w, i, want);
    for (size_t i = want; i < count; i++) {
        if (w->keys[w->order[i]] < w->keys[w->order[0]]) {
            swap(w, i, 0);
            sift(w, 0, want);
        }
    }
    for (size_t n = want; n > 1; n--) {
        swap(w, 0, n - 1);
        sift(w, 0, n - 1);
    }
}

/* All alike, as most are: no keys for those (R. Durstenfeld, 1964). */
static void shuffle(struct ask *a, size_t count, size_t want)
{
    for (size_t i = 0; i < count; i++)
        a->w->order[i] = (uint16_t)i;
    for (size_t i = 0; i < want && i + 1 < count; i++) {
        uint64_t left = count - i;
        swap(a->w, i,
             i + (size_t)((random_next(&a->random) >> 32) * left >> 32));
    }
}

void order_draw(struct ask *a, const struct dns_entry *e, size_t want)
{
    bool sticky = a->env->set->sticky;

    if (want == 0)
        return;
    if (e->ordered) {
        for (size_t i = 0; i < want; i++)
            a->w->order[i] = (uint16_t)i;
        return;
    }
    if (!sticky && e->count > MANY && want < e->count / FEW && draw(a, e, want))
        return;
    if (!sticky && e->even) {
        shuffle(a, e->count, want);
        return;
    }
    make_keys(a, e);
    sort_smallest(a->w, e->count, want);
}
