/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "lb/balancer.h"

#include <stdlib.h>
#include <string.h>

#include "lb/draw.h"
#include "lb/impl.h"

enum { SLOW_START_STEP_MS = 1000 };

static void list_policies(struct bytes given, struct errtext *t)
{
    char names[256] = "";
    size_t n = 0;

    for (size_t i = 0; lb_policies[i]; i++) {
        size_t k = strlen(lb_policies[i]->name);
        if (n + k + 3 > sizeof names)
            break;
        memcpy(names + n, lb_policies[i]->name, k);
        n += k;
        names[n++] = ' ';
    }
    errtext_set(t, "no policy \"%.*s\"; there are: %.*s",
                BYTES_ARG(bytes_head(given, 40)), (int)(n ? n - 1 : 0), names);
}

static void start(struct lb *b, const struct lb_options *o)
{
    b->o = *o;
    if (o->zone.n)
        memcpy(b->zone_text, o->zone.p, o->zone.n);
    b->o.zone = bytes_of(b->zone_text, o->zone.n);
    b->o.policy = bytes_str(b->policy->name);
    b->tuning = (struct lb_tuning){.choices = o->choices,
                                   .bias = o->bias,
                                   .decay_ms = o->decay_ms,
                                   .maglev_size = o->maglev_size};
    b->budget.percent = o->budget_percent;
    b->budget.per_second = o->budget_per_second;
    atomic_init(&b->typical_us, 1000); /* until the first is measured */
}

enum err lb_new(const struct lb_options *o, struct lb **ret, struct errtext *t)
{
    const struct lb_policy *policy = lb_policy_by_name(o->policy);

    if (!policy) {
        list_policies(o->policy, t);
        return ERR_BAD;
    }
    enum err e = lb_options_check(o, t);
    if (e != ERR_OK)
        return e;

    struct lb *b = calloc(1, sizeof *b);
    if (!b)
        return ERR_NOMEM;
    b->policy = policy;
    start(b, o);
    e = lb_update(b, NULL, 0, 0, t); /* so that there always is a view */
    if (e != ERR_OK) {
        lb_free(b);
        return e;
    }
    *ret = b;
    return ERR_OK;
}

void lb_free(struct lb *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->slots_n; i++)
        if (b->slots[i])
            lb_grace_retire(&b->grace, &b->slots[i]->junk);
    while (b->gone) {
        struct lb_junk *j = b->gone;
        b->gone = j->next;
        lb_grace_retire(&b->grace, j);
    }
    lb_view_free(atomic_load(&b->view));
    lb_grace_fini(&b->grace);
    map_fini(&b->hosts);
    free(b->slots);
    free(b->roll);
    free(b);
}

/* --- The owner ----------------------------------------------------------- */

static void publish(struct lb *b, struct lb_view *v)
{
    struct lb_view *old = atomic_exchange(&b->view, v);

    if (old)
        lb_grace_retire(&b->grace, &old->junk);
    while (b->gone) {
        struct lb_junk *j = b->gone;
        b->gone = j->next;
        lb_grace_retire(&b->grace, j);
    }
    atomic_fetch_add(&b->views, 1);
    lb_grace_sweep(&b->grace);
}

enum err lb_update(struct lb *b, const struct lb_endpoint *v, size_t n,
                   uint64_t now_ms, struct errtext *t)
{
    struct lb_roll *roll = NULL, *old = b->roll;
    struct lb_view *view = NULL;
    enum err e = lb_roll_new(b, v, n, &roll, t);

    if (e != ERR_OK)
        return e;
    (void)lb_linger_end(b, now_ms);
    atomic_store(&b->dirty, false);
    e = lb_roll_enter(b, roll);
    if (e == ERR_OK)
        e = lb_view_new(b, roll, now_ms, &view);
    if (e != ERR_OK) {
        lb_roll_undo(b, roll);
        atomic_store(&b->dirty, true);
        return e;
    }
    b->roll = roll;
    b->slow_ms = now_ms;
    publish(b, view);
    lb_roll_settle(b, old, now_ms);
    return ERR_OK;
}

enum err lb_set_callers(struct lb *b, const struct lb_callers *v, size_t n)
{
    if (n > LB_ZONES_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < n; i++) {
        b->caller_zone[i] = bytes_hash(v[i].zone, 0);
        b->caller_share[i] = v[i].share > 0 ? v[i].share : 0;
    }
    b->callers_n = n;
    atomic_store(&b->dirty, true);
    return ERR_OK;
}

void lb_set_rank(struct lb *b, uint32_t rank)
{
    if (b->o.ranked && b->rank == rank)
        return;
    b->rank = rank;
    b->o.ranked = true;
    atomic_store(&b->ranked, b->o.subset_size > 0);
    atomic_store(&b->dirty, true);
}

bool lb_wants_tick(const struct lb *b)
{
    return atomic_load_explicit(&b->dirty, memory_order_relaxed);
}

enum err lb_tick(struct lb *b, uint64_t now_ms)
{
    enum err e = lb_outlier_tick(b, now_ms);
    bool slow =
        (atomic_load(&b->slow_starting) || atomic_load(&b->returning)) &&
        now_ms >= b->slow_ms + SLOW_START_STEP_MS;
    bool left = lb_linger_end(b, now_ms);
    struct lb_view *view = NULL;

    lb_grace_sweep(&b->grace);
    if (e != ERR_OK)
        return e;
    if (!atomic_exchange(&b->dirty, false) && !slow && !left)
        return ERR_OK;
    e = lb_view_new(b, b->roll, now_ms, &view);
    if (e != ERR_OK) {
        atomic_store(&b->dirty, true);
        return e;
    }
    b->slow_ms = now_ms;
    publish(b, view);
    return ERR_OK;
}

/* --- Questions ----------------------------------------------------------- */

void lb_get_state(const struct lb *b, struct lb_state *ret)
{
    *ret = (struct lb_state){
        .listed = atomic_load(&b->listed),
        .usable = atomic_load(&b->usable),
        .healthy = atomic_load(&b->healthy),
        .ejected = atomic_load(&b->ejected),
        .unreachable = atomic_load(&b->unreachable),
        .slow_starting = atomic_load(&b->slow_starting),
        .panic = atomic_load(&b->panic),
        .zoned = atomic_load(&b->zoned),
        .ranked = atomic_load(&b->ranked),
        .returning = atomic_load(&b->returning),
        .views = atomic_load(&b->views),
    };
}

double lb_share_of(const struct lb *b, size_t first, size_t last)
{
    uint64_t sum = 0;

    for (size_t p = first; p <= last && p < LB_PRIORITIES_MAX; p++)
        sum += atomic_load(&b->share_ppm[p]);
    return (double)sum / 1e6;
}

static struct lb_endpoint_state
state_of(const struct lb *b, const struct lb_entry *e, uint64_t now_ms)
{
    const struct lb_host *h = e->host;

    return (struct lb_endpoint_state){
        .id = h->id,
        .node = h->node,
        .service_id = h->service_id,
        .address = h->address,
        .zone = e->zone,
        .port = h->port,
        .priority = e->priority,
        .weight = e->weight,
        .critical = e->critical,
        .out = e->out,
        .ejected = lb_blocked(h) & LB_EJECTED,
        .unreachable = lb_blocked(h) & LB_UNREACHABLE,
        .chosen = e->chosen,
        .active = lb_flight_count(&h->flight, lb_flight_tag(now_ms)),
        .ok = atomic_load(&h->ok) + atomic_load(&h->tally[0].ok) +
              atomic_load(&h->tally[1].ok),
        .failed = atomic_load(&h->failed),
        .refused = atomic_load(&h->refused),
        .cost_us = lb_ewma_cost(h, (uint32_t)now_ms, b->tuning.decay_ms),
    };
}

void lb_each(const struct lb *b, uint64_t now_ms,
             void (*each)(void *ctx, const struct lb_endpoint_state *e),
             void *ctx)
{
    for (size_t i = 0; i < b->roll->n; i++) {
        struct lb_endpoint_state s = state_of(b, &b->roll->entry[i], now_ms);
        each(ctx, &s);
    }
}
