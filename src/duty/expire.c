/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "catalog/journal.h"
#include "catalog/plan_guard.h"
#include "duty/impl.h"

enum {
    EXPIRE_MS = 1000, /* between looks at who expired */
    EXPIRE_MAX = 64,  /* instances removed in one plan */
    EXPIRE_OPS_MAX = 256,
};

/* --- Who is from outside ------------------------------------------------- */

/* One that an agent's own serfHealth check stands beside is not. */
static bool from_outside(const struct duty *d, const struct cat_node *node,
                         struct bytes node_name)
{
    return !bytes_eq_fold(node_name, d->o.own_node) &&
           !cat_node_check(node, bytes_str("serfHealth"));
}

static uint64_t ttl_of(const struct service_view *v)
{
    struct bytes text = packed_find(v->meta, bytes_str(BEATS_META));
    uint64_t ms;

    return text.p && beats_ttl(text, &ms) == ERR_OK ? ms : 0;
}

static void look_at(struct duty *d, const struct cat_node *node,
                    const struct cat_instance *i)
{
    struct service_view v;

    cat_service_view(i->service, &v);
    if (!from_outside(d, node, v.node)) {
        beats_drop(d->o.beats, v.node, v.id);
        return;
    }
    if (beats_put(d->o.beats, v.node, v.id, ttl_of(&v), d->now_ms) == ERR_OK ||
        d->beats_limit_told)
        return;
    d->beats_limit_told = true;
    log_warn("guard",
             "%d services from outside are watched, which is the limit: the "
             "others never expire (first: node=%.*s service=%.*s)",
             BEATS_MAX, BYTES_ARG(v.node), BYTES_ARG(v.id));
}

static void look_at_node(struct duty *d, const struct cat_node *node)
{
    struct tree_iter it;

    tree_first(&node->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        look_at(d, node, i);
}

static void look_at_all(struct duty *d)
{
    struct tree_iter it;

    beats_clear(d->o.beats);
    snapshot_nodes(duty_snapshot(d), &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));)
        look_at_node(d, n);
}

static void look_at_change(void *ctx, const struct cat_change *ch)
{
    struct duty *d = ctx;
    const struct cat_node *node = snapshot_node(duty_snapshot(d), ch->node);

    if (ch->kind == RECORD_SERVICE) {
        const struct cat_instance *i =
            node ? cat_node_service(node, ch->service_id) : NULL;
        if (i)
            look_at(d, node, i);
        else
            beats_drop(d->o.beats, ch->node, ch->service_id);
    } else if (ch->kind == RECORD_CHECK && node && ch->service_id.n == 0 &&
               bytes_eq_fold(ch->check_id, bytes_str("serfHealth"))) {
        look_at_node(d, node); /* an agent has come, or gone */
    }
}

/* The journal tells what changed; a node that went took its services along, each
 * of which is told too. */
void expire_look(struct duty *d)
{
    const struct snapshot *s = duty_snapshot(d);

    if (d->beats_revision == 0 ||
        snapshot_changes(s, d->beats_revision, look_at_change, d) != ERR_OK)
        look_at_all(d);
    d->beats_revision = snapshot_revision(s);
    if (beats_publish(d->o.beats) && d->expire_ms > d->now_ms + EXPIRE_MS)
        d->expire_ms = d->now_ms + EXPIRE_MS;
}

void expire_excuse(struct duty *d)
{
    size_t at = 0;

    for (struct beat *e; (e = beats_next(d->o.beats, &at));)
        e->seen_ms = d->now_ms;
}

/* --- Who expired --------------------------------------------------------- */

static bool is_expired(const struct duty *d, const struct beat *e)
{
    return e->ttl_ms && d->now_ms >= e->seen_ms + e->ttl_ms;
}

static void tell(const struct beat *e, bool waits)
{
    if (waits)
        log_warn("guard",
                 "registered from outside and expired, but kept: too many of "
                 "its service fell silent at once: node=%.*s service=%.*s",
                 BYTES_ARG(e->node), BYTES_ARG(e->id));
    else
        log_warn("guard",
                 "registered from outside and expired, removed: node=%.*s "
                 "service=%.*s ttl_ms=%llu",
                 BYTES_ARG(e->node), BYTES_ARG(e->id),
                 (unsigned long long)e->ttl_ms);
}

/* The removal of those that expired, as far as the bounds allow. */
bool expire_plan(struct duty *d)
{
    struct errtext t = {{0}};
    enum err err = ERR_OK;
    size_t at = 0, n = 0;

    if (d->now_ms < d->expire_ms)
        return false;
    d->expire_ms = UINT64_MAX; /* nobody can */
    duty_begin_plan(d);
    for (struct beat *e; err == ERR_OK && n < EXPIRE_MAX &&
                         d->plan.op_count < EXPIRE_OPS_MAX &&
                         (e = beats_next(d->o.beats, &at));) {
        const struct guard_who who = {e->node, e->id};
        bool waits;
        if (e->ttl_ms)
            d->expire_ms = d->now_ms + EXPIRE_MS;
        if (!is_expired(d, e))
            continue;
        size_t ops = d->plan.op_count;
        err =
            plan_reap(&d->plan, duty_snapshot(d), &who, d->o.guard, &waits, &t);
        bool removed = err == ERR_OK && d->plan.op_count > ops;
        if (removed || (waits && !e->waits))
            tell(e, waits);
        e->waits = waits;
        n += removed;
    }
    if (n)
        d->expire_ms = d->now_ms; /* perhaps there are more */
    bool under_way = duty_submit(d, err, &t, META_REAPED_EXPIRED);
    if (under_way)
        d->counts.expired += n;
    return under_way;
}
