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

int muster_status(struct muster_service *s, struct muster_status *ret)
{
    struct lb_state b;
    int e = service_check(s);

    if (e != MUSTER_OK)
        return e;
    if (!ret)
        return MUSTER_EINVAL;
    lb_get_state(s->lb, &b);
    uint64_t confirmed = atomic_load(&s->confirmed_ms), now = mono_ms();
    struct muster_status mine = {
        .source = (enum muster_source)atomic_load(&s->source),
        .connected = atomic_load(&s->connected),
        .age_ms = confirmed && now > confirmed ? now - confirmed : 0,
        .index = atomic_load(&s->index),
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
        .answers = atomic_load(&s->stats.answers),
        .failures = atomic_load(&s->stats.failures),
        .bad_answers = atomic_load(&s->stats.bad_answers),
        .cache_written = atomic_load(&s->stats.cache_written),
        .cache_failed = atomic_load(&s->stats.cache_failed),
        .cache_ignored = atomic_load(&s->stats.cache_ignored),
    };
    pthread_mutex_lock(&s->text_mutex);
    memcpy(mine.last_error, s->last_error, sizeof mine.last_error);
    memcpy(mine.cluster, s->cluster, sizeof mine.cluster);
    pthread_mutex_unlock(&s->text_mutex);
    return sized_give(ret, &mine, sizeof mine) ? MUSTER_OK : MUSTER_EINVAL;
}

/* --- Each ---------------------------------------------------------------- */

struct each_call {
    struct call call;
    struct muster_service *s;
    void (*each)(void *ctx, const struct muster_instance *i);
    void *ctx;
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
    for (size_t i = 0; r && (r->held || r->draining) && i < r->n; i++)
        if (bytes_eq(r->v[i].id, e->service_id) &&
            bytes_eq(r->v[i].node, e->node))
            return r->v[i];
    return (struct roster_entry){.held_ms = 0};
}

static void each_one(void *ctx, const struct lb_endpoint_state *e)
{
    struct each_call *c = ctx;
    char space[4][LB_TEXT_MAX + 1];
    struct roster_entry marks = marks_of(c->s->roster, e);
    struct muster_instance i = {
        .size = sizeof i,
        .priority = e->priority,
        .chosen = e->chosen,
        .node = text_of(e->node, space[0]),
        .id = text_of(e->service_id, space[1]),
        .address = text_of(e->address, space[2]),
        .zone = text_of(e->zone, space[3]),
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
    };

    c->each(c->ctx, &i);
}

static void each_run(struct muster *m, struct call *c)
{
    struct each_call *e = container_of(c, struct each_call, call);

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
