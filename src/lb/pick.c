/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Picks and reports: what any thread runs. Everything is read from one view,
 * which stays until the section is left (grace.h). */
#include <string.h>

#include "lb/draw.h"
#include "lb/impl.h"

enum { TRIES = 8 /* of the policy, before every member is looked at */ };

struct choice {
    struct lb *b;
    const struct lb_ask *ask;
    struct lb_walk walk;
    uint32_t bound_active; /* requests in flight, of all; bounded load */
    bool last_resort;      /* ejected ones and full ones are taken, too */
};

static bool excluded(const struct lb_ask *ask, uint64_t id)
{
    size_t n =
        ask->exclude_n < LB_EXCLUDE_MAX ? ask->exclude_n : LB_EXCLUDE_MAX;

    for (size_t i = 0; i < n; i++)
        if (ask->exclude[i] == id)
            return true;
    return false;
}

/* Mirrokni, Thorup, Zadimoghaddam: Consistent hashing with bounded loads, 2016:
 * nobody has more than c times the mean, this request included. */
static bool over_bound(const struct choice *c, const struct lb_group *g,
                       const struct lb_member *m)
{
    uint64_t percent = c->b->o.bounded_percent;
    uint64_t whole = g->weight_sum * 100;
    /* Within 64 bits: percent < 2^17, active < 2^32; a weight is cut below. */
    double cap =
        (double)percent * (c->bound_active + 1.0) * m->weight / (double)whole;
    uint32_t active = lb_flight_count(&m->host->flight, c->walk.tag);

    /* active + 1 <= ceil(cap) */
    return active >= cap;
}

static bool acceptable(const struct choice *c, const struct lb_group *g,
                       uint32_t i)
{
    const struct lb_member *m = &g->members[i];

    if (c->ask->exclude_n && excluded(c->ask, m->host->id))
        return false;
    if (c->last_resort)
        return true;
    if (!g->panic && lb_blocked(m->host))
        return false;
    return !c->b->o.bounded_percent || !c->b->policy->hashes ||
           !over_bound(c, g, m);
}

/* From a place that the key (or chance) gives, so that not all go to one. */
static const struct lb_member *look_at_all(const struct choice *c,
                                           const struct lb_group *g)
{
    uint64_t from = c->b->policy->hashes ? lb_mix(c->walk.key) : c->walk.draw;
    uint32_t i = lb_below(lb_mix(from), g->n);

    for (uint32_t k = 0; k < g->n; k++, i = i + 1 < g->n ? i + 1 : 0)
        if (acceptable(c, g, i))
            return &g->members[i];
    return NULL;
}

static const struct lb_member *choose(struct choice *c,
                                      const struct lb_group *g)
{
    const struct lb_policy *p = c->b->policy;

    c->walk.members = g->members;
    c->walk.n = g->n;
    uint32_t i = p->first(g->table, &c->walk);
    for (int k = 0; !acceptable(c, g, i); k++) {
        if (k == TRIES)
            return look_at_all(c, g);
        i = p->next(g->table, &c->walk);
    }
    return &g->members[i];
}

/* The group that the draw falls into. */
static size_t group_at(const struct lb_view *v, struct choice *c)
{
    size_t i = 0;

    if (v->groups < 2)
        return 0;
    uint64_t draw =
        c->b->policy->hashes ? lb_mix(c->walk.key + 1) : lb_draw(&c->walk.draw);
    while (i + 1 < v->groups && draw >> 32 >= v->group[i].share_end)
        i++;
    return i;
}

/* The group drawn, then the others in order. */
static const struct lb_member *search(struct choice *c, const struct lb_view *v)
{
    size_t first = group_at(v, c);

    for (size_t k = 0; k < v->groups; k++) {
        size_t i = k == 0 ? first : k <= first ? k - 1 : k;
        const struct lb_member *m = choose(c, &v->group[i]);
        if (m)
            return m;
    }
    return NULL;
}

static void fill(struct choice *c, struct lb_host *h, struct lb_ticket *t)
{
    t->id = h->id;
    t->slot = h->slot;
    t->port = h->port;
    t->picked_ms = c->ask->now_ms;
    t->number = lb_once_number(&c->b->once);
    memcpy(t->address, h->address.p, h->address.n);
    t->address[h->address.n] = '\0';
    t->tag = lb_flight_add(&h->flight, c->walk.tag);
    if (c->b->o.bounded_percent)
        (void)lb_flight_add(&c->b->flight, t->tag);
}

static struct choice choice_of(struct lb *b, const struct lb_ask *ask)
{
    struct choice c = {.b = b, .ask = ask};

    c.walk.draw = ask->random;
    c.walk.tag = lb_flight_tag(ask->now_ms);
    c.walk.now = (uint32_t)ask->now_ms;
    c.walk.typical_us =
        atomic_load_explicit(&b->typical_us, memory_order_relaxed);
    if (b->policy->hashes)
        c.walk.key = b->policy->hash(ask->key);
    if (b->o.bounded_percent)
        c.bound_active = lb_flight_count(&b->flight, c.walk.tag);
    return c;
}

enum err lb_pick(struct lb *b, const struct lb_ask *ask, struct lb_ticket *ret)
{
    if (b->policy->hashes && ask->key.n == 0)
        return ERR_BAD;

    struct choice c = choice_of(b, ask);
    _Atomic uint64_t *section = lb_grace_enter(&b->grace);
    const struct lb_view *v = atomic_load(&b->view);
    const struct lb_member *m = search(&c, v);
    if (!m) {
        /* All ejected since the view was made, or all full. */
        c.last_resort = true;
        m = search(&c, v);
    }
    if (m)
        fill(&c, m->host, ret);
    lb_grace_leave(section);
    return m ? ERR_OK : ERR_NOT_FOUND;
}

/* --- Reports ------------------------------------------------------------- */

/* Cells of a quarter of an octave: 0-3 us, then 4, 5, 6, 7, 8, 10, 12, ... */
static uint32_t latency_cell(uint32_t us)
{
    if (us < 4)
        return us;
    uint32_t octave = 31 - (uint32_t)__builtin_clz(us);
    return octave * 4 - 4 + (us >> (octave - 2) & 3);
}

static uint32_t latency_of_cell(uint32_t cell)
{
    if (cell < 4)
        return cell;
    uint32_t octave = cell / 4 + 1;
    return (4 + cell % 4) << (octave - 2);
}

uint32_t lb_latency_us(const struct lb *b, uint32_t percent)
{
    enum { FEW = 20 };
    uint64_t sum = 0, below = 0;

    for (int i = 0; i < LB_LATENCY_CELLS; i++)
        sum += atomic_load_explicit(&b->latency[i], memory_order_relaxed);
    if (sum < FEW)
        return 0;
    for (uint32_t i = 0; i < LB_LATENCY_CELLS; i++) {
        below += atomic_load_explicit(&b->latency[i], memory_order_relaxed);
        if (below * 100 >= sum * percent)
            return latency_of_cell(i + 1); /* the cell's upper end */
    }
    return UINT32_MAX;
}

/* NULL: gone, or its slot has another one now. */
static struct lb_host *find(const struct lb_view *v, uint64_t id)
{
    for (size_t i = 0; i < v->slots; i++)
        if (v->slot[i] && v->slot[i]->id == id)
            return v->slot[i];
    return NULL;
}

static void count(struct lb *b, struct lb_host *h, const struct lb_ticket *t,
                  enum lb_outcome o, uint32_t latency_us, uint64_t now_ms)
{
    (void)lb_flight_sub(&h->flight, t->tag);
    if (o == LB_OK) {
        uint32_t cell = latency_cell(latency_us);
        atomic_fetch_add_explicit(&b->latency[cell], 1, memory_order_relaxed);
        if (b->policy == &lb_peak_ewma)
            lb_ewma_sample(h, latency_us, (uint32_t)now_ms, b->tuning.decay_ms);
    }
    lb_outlier_report(b, h, o, latency_us, now_ms);
}

enum err lb_report(struct lb *b, struct lb_ticket *ticket,
                   enum lb_outcome outcome, uint32_t latency_us,
                   uint64_t now_ms)
{
    if (ticket->id == 0 || !lb_once_take(&b->once, ticket->number)) {
        ticket->id = 0;
        return ERR_BAD;
    }

    _Atomic uint64_t *section = lb_grace_enter(&b->grace);
    const struct lb_view *v = atomic_load(&b->view);
    struct lb_host *h = ticket->slot < v->slots ? v->slot[ticket->slot] : NULL;
    bool known = h && h->id == ticket->id;
    if (known)
        count(b, h, ticket, outcome, latency_us, now_ms);
    lb_grace_leave(section);

    if (b->o.bounded_percent)
        (void)lb_flight_sub(&b->flight, ticket->tag);
    ticket->id = 0;
    return known ? ERR_OK : ERR_NOT_FOUND;
}

void lb_reachable(struct lb *b, uint64_t id, uint64_t now_ms)
{
    _Atomic uint64_t *section = lb_grace_enter(&b->grace);
    struct lb_host *h = find(atomic_load(&b->view), id);

    (void)now_ms;
    if (h) {
        atomic_store_explicit(&h->refusals, 0, memory_order_relaxed);
        lb_unblock(b, h, LB_UNREACHABLE);
    }
    lb_grace_leave(section);
}

struct lb_budget *lb_budget_of(struct lb *b)
{
    return &b->budget;
}
