/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What any thread may call: picks, reports, questions. */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/impl.h"
#include "lb/draw.h"

/* Each thread draws from a sequence of its own. */
static uint64_t draw(void)
{
    static _Thread_local uint64_t state;

    if (state == 0 && getrandom(&state, sizeof state, GRND_NONBLOCK) < 0)
        state = mono_ms() ^ (uintptr_t)&state;
    return lb_draw(&state);
}

static bool ask_of(const struct muster_ask *ask, struct lb_ask *ret)
{
    if (!ask)
        return true;
    /* Its members stand since the first version. */
    if (ask->size < sizeof *ask || (ask->key_bytes && !ask->key) ||
        (ask->exclude_n && !ask->exclude))
        return false;
    ret->key = bytes_of(ask->key, ask->key_bytes);
    ret->exclude = ask->exclude;
    ret->exclude_n = ask->exclude_n;
    return true;
}

int muster_pick(struct muster_service *s, const struct muster_ask *ask,
                struct muster_ticket *ret)
{
    struct lb_ask mine = {.now_ms = mono_ms(), .random = draw()};
    struct lb_ticket t;
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    if (!ret || !ask_of(ask, &mine))
        return MUSTER_EINVAL;
    e = error_of(lb_pick(s->lb, &mine, &t));
    if (e != MUSTER_OK)
        return e;
    /* A first attempt earns a share of a retry. */
    if (mine.exclude_n == 0)
        lb_budget_request(lb_budget_of(s->lb), mine.now_ms);
    ret->id = t.id;
    ret->picked_ms = t.picked_ms;
    ret->number = t.number;
    ret->slot = t.slot;
    ret->tag = t.tag;
    ret->port = t.port;
    (void)memccpy(ret->address, t.address, '\0', sizeof ret->address);
    return MUSTER_OK;
}

static int report(struct muster_service *s, struct muster_ticket *t,
                  enum lb_outcome o, uint32_t latency_us)
{
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    if (!t)
        return MUSTER_EINVAL;
    struct lb_ticket mine = {.id = t->id,
                             .picked_ms = t->picked_ms,
                             .number = t->number,
                             .slot = t->slot,
                             .tag = t->tag};
    t->id = 0;
    /* Gone for long is fine: it said that the instance is none of ours. */
    return lb_report(s->lb, &mine, o, latency_us, mono_ms()) == ERR_BAD
               ? MUSTER_EVOID
               : MUSTER_OK;
}

int muster_report(struct muster_service *s, struct muster_ticket *t,
                  enum muster_outcome outcome, uint32_t latency_us)
{
    switch (outcome) {
    case MUSTER_SUCCESS:
        return report(s, t, LB_OK, latency_us);
    case MUSTER_FAILURE:
        return report(s, t, LB_FAILED, 0);
    case MUSTER_UNREACHABLE:
        return report(s, t, LB_REFUSED, 0);
    }
    return MUSTER_EINVAL;
}

int muster_cancel(struct muster_service *s, struct muster_ticket *t)
{
    return report(s, t, LB_CANCELED, 0);
}

int muster_retry(struct muster_service *s)
{
    return service_check(s) == MUSTER_OK &&
           lb_budget_retry(lb_budget_of(s->lb), mono_ms());
}

uint32_t muster_hedge_us(struct muster_service *s)
{
    return service_check(s) == MUSTER_OK ? lb_latency_us(s->lb, 95) : 0;
}

/* --- Status -------------------------------------------------------------- */

void muster_status_init(struct muster_status *st, size_t size)
{
    const struct muster_status usual = {.source = MUSTER_NOTHING};

    sized_init(st, size, &usual, sizeof usual);
}

/* Of picks; home's levels may be in the balancer's reserve. */
static double share_elsewhere(const struct muster_service *s)
{
    return lb_share_of(s->lb, ORIGIN_LEVELS, LB_RESERVE_FROM - 1) +
           lb_share_of(s->lb, LB_RESERVE_FROM + ORIGIN_LEVELS,
                       LB_PRIORITIES_MAX - 1);
}

int muster_status(struct muster_service *s, struct muster_status *ret)
{
    struct lb_state b;
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    if (!ret)
        return MUSTER_EINVAL;
    lb_get_state(s->lb, &b);
    uint64_t confirmed = atomic_load(&s->home.confirmed_ms), now = mono_ms();
    struct muster_status mine = {
        .source = (enum muster_source)atomic_load(&s->home.source),
        .connected = atomic_load(&s->home.connected),
        .age_ms = confirmed && now > confirmed ? now - confirmed : 0,
        .index = atomic_load(&s->home.index),
        .instances = b.listed,
        .healthy = b.healthy,
        .held = atomic_load(&s->held),
        .ejected = b.ejected,
        .unreachable = b.unreachable,
        .panic = b.panic,
        .slow_starting = b.slow_starting,
        .zoned = b.zoned,
        .ranked = b.ranked,
        .draining = atomic_load(&s->draining),
        .elsewhere_percent = (uint32_t)(100 * share_elsewhere(s) + .5),
        .returning = b.returning,
        .answers = atomic_load(&s->stats.answers),
        .failures = atomic_load(&s->stats.failures),
        .bad_answers = atomic_load(&s->stats.bad_answers),
        .cache_written = atomic_load(&s->stats.cache_written),
        .cache_failed = atomic_load(&s->stats.cache_failed),
        .cache_ignored = atomic_load(&s->stats.cache_ignored),
    };
    pthread_mutex_lock(&s->text_mutex);
    memcpy(mine.last_error, s->last_error, sizeof mine.last_error);
    memcpy(mine.cluster, s->home.cluster, sizeof mine.cluster);
    pthread_mutex_unlock(&s->text_mutex);
    return sized_give(ret, &mine, sizeof mine) ? MUSTER_OK : MUSTER_EINVAL;
}

/* --- Each ---------------------------------------------------------------- */

struct each_call {
    struct call call;
    struct muster_service *s;
    void (*each)(void *ctx, const struct muster_instance *i);
    void (*each_datacenter)(void *ctx, const struct muster_datacenter *d);
    void *ctx;
    bool marked[FAILOVER_MAX + 1]; /* by order */
};

static const char *text_of(struct bytes b, char *space)
{
    size_t n = b.n < LB_TEXT_MAX ? b.n : LB_TEXT_MAX;

    if (n)
        memcpy(space, b.p, n);
    space[n] = '\0';
    return space;
}

/* What the list says beyond what the balancer knows. */
static struct roster_entry marks_of(const struct roster *r,
                                    const struct lb_endpoint_state *e)
{
    for (size_t i = 0; r && i < r->n; i++)
        if (bytes_eq(r->v[i].id, e->service_id) &&
            bytes_eq(r->v[i].node, e->node))
            return r->v[i];
    return (struct roster_entry){.held_ms = 0};
}

/* Only where one of them may have a mark: each is looked for. */
static bool has_marks(const struct origin *o)
{
    const struct roster *r = o->roster;
    bool guarded = false;

    for (size_t i = 0; r && !guarded && i < r->n; i++)
        guarded = r->v[i].guarded;
    return r && (r->held || r->draining || guarded);
}

/* Another datacenter's zones are named after it in the balancer. */
static struct bytes zone_of(const struct origin *o, struct bytes zone)
{
    size_t n = strlen(o->datacenter) + 1;

    return o->order && zone.n > n ? bytes_skip(zone, n) : zone;
}

static void each_one(void *ctx, const struct lb_endpoint_state *e)
{
    struct each_call *c = ctx;
    char space[4][LB_TEXT_MAX + 1];
    const struct origin *o = origin_of(c->s, e->priority);
    struct roster_entry marks = {.held_ms = 0};

    if (!o)
        return;
    if (c->marked[o->order])
        marks = marks_of(o->roster, e);
    struct muster_instance i = {
        .size = sizeof i,
        .priority = e->priority % ORIGIN_LEVELS,
        .chosen = e->chosen,
        .node = text_of(e->node, space[0]),
        .id = text_of(e->service_id, space[1]),
        .address = text_of(e->address, space[2]),
        .zone = text_of(zone_of(o, e->zone), space[3]),
        .port = e->port,
        .weight = e->weight,
        .critical = e->critical,
        .out = e->out,
        .held = marks.held_ms != 0,
        .draining = marks.draining,
        .ejected = e->ejected,
        .unreachable = e->unreachable,
        .active = e->active,
        .successes = e->ok,
        .failures = e->failed,
        .refusals = e->refused,
        .datacenter = o->datacenter,
        .guarded = marks.guarded,
    };

    c->each(c->ctx, &i);
}

static void each_run(struct muster *m, struct call *c)
{
    struct each_call *e = container_of(c, struct each_call, call);

    for (size_t i = 0; i <= e->s->away_n; i++)
        e->marked[i] = has_marks(origin_at(e->s, i));
    m->callbacks++;
    lb_each(e->s->lb, mono_ms(), each_one, e);
    m->callbacks--;
    c->result = MUSTER_OK;
}

int muster_each(struct muster_service *s,
                void (*each)(void *ctx, const struct muster_instance *i),
                void *ctx)
{
    struct each_call c = {
        .call = {.run = each_run}, .s = s, .each = each, .ctx = ctx};
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    return each ? handle_call(s->m, &c.call) : MUSTER_EINVAL;
}

static double share_of(struct muster_service *s, size_t order)
{
    size_t first = order * ORIGIN_LEVELS, last = first + ORIGIN_LEVELS - 1;

    return lb_share_of(s->lb, first, last) +
           lb_share_of(s->lb, LB_RESERVE_FROM + first, LB_RESERVE_FROM + last);
}

static void each_datacenter_run(struct muster *m, struct call *c)
{
    struct each_call *e = container_of(c, struct each_call, call);

    m->callbacks++;
    for (size_t i = 0; i <= e->s->away_n; i++) {
        struct muster_datacenter d = {.size = sizeof d,
                                      .share = share_of(e->s, i)};
        origin_tell(origin_at(e->s, i), &d);
        e->each_datacenter(e->ctx, &d);
    }
    m->callbacks--;
    c->result = MUSTER_OK;
}

int muster_each_datacenter(struct muster_service *s,
                           void (*each)(void *ctx,
                                        const struct muster_datacenter *d),
                           void *ctx)
{
    struct each_call c = {.call = {.run = each_datacenter_run},
                          .s = s,
                          .each_datacenter = each,
                          .ctx = ctx};
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    return each ? handle_call(s->m, &c.call) : MUSTER_EINVAL;
}
