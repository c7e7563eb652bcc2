/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Anti-entropy: the whole own node is compared with the catalog at start, every
 * minute or so, and when somebody else changed it; a step at a time. What
 * differs becomes an item of sync.c. And the reaper. */
#include "agent/impl.h"

/* --- Comparing ----------------------------------------------------------- */

static void adopt_tags(struct agent *a, struct bytes id)
{
    const struct local_service *v =
        local_service(local_current(a->o.local), id);
    const struct cat_node *n =
        snapshot_node(catalog_current(a->o.catalog), a->o.me.node.name);
    const struct cat_instance *i = n ? cat_node_service(n, id) : NULL;
    struct service_view there;

    if (!v || !i)
        return;
    cat_service_view(i->service, &there);
    log_info("agent", "tags taken over from the catalog: service=%.*s",
             BYTES_ARG(id));
    op_adopt_tags(a, v, there.tags);
}

static void differs(void *ctx, enum local_difference what, struct bytes id)
{
    struct agent *a = ctx;

    switch (what) {
    case LOCAL_DIFF_NODE:
        (void)sync_touch(a, SYNC_NODE, (struct bytes){0}, false);
        break;
    case LOCAL_DIFF_SERVICE:
        (void)sync_touch(a, SYNC_SERVICE, id, false);
        break;
    case LOCAL_DIFF_CHECK:
        (void)sync_touch(a, SYNC_CHECK, id, false);
        break;
    case LOCAL_DIFF_TAGS:
        /* On its way to the catalog: then ours are newer. */
        if (!sync_busy(a, SYNC_SERVICE, id))
            adopt_tags(a, id);
        break;
    }
}

/* Agents that were started together do not stay together. */
static uint64_t next_scan_ms(const struct agent *a)
{
    struct bytes seed = a->o.me.node.id.n ? a->o.me.node.id : a->o.me.node.name;
    return AGENT_SCAN_MS + schedule_first_ms(seed, AGENT_SCAN_MS);
}

static void begin(struct agent *a)
{
    if (a->scanning) {
        a->rescan = true;
        return;
    }
    a->scanning = true;
    deadline_set(a, &a->scan_step, 0);
}

static void on_step(struct agent *a, struct deadline *d)
{
    if (!a->loaded || !a->catalog_ready) {
        a->scanning = false;
        return;
    }
    a->scanning = true;
    agent_publish(a);
    if (!local_scan(&a->scan, local_current(a->o.local),
                    catalog_current(a->o.catalog), &a->o.me, AGENT_SCAN_STEP,
                    differs, a)) {
        deadline_set(a, d, 1); /* others first */
        return;
    }
    a->scanning = false;
    a->scanned = true;
    deadline_set(a, d, next_scan_ms(a));
    if (a->rescan) {
        a->rescan = false;
        begin(a);
    }
}

/* --- Changes by others --------------------------------------------------- */

static bool is_own(const struct agent *a, uint64_t revision)
{
    for (size_t i = 0; i < OWN_REVISIONS; i++)
        if (a->own_revisions[i] == revision)
            return true;
    return false;
}

static void on_repair(struct agent *a, struct deadline *d)
{
    bool by_others = a->suspect_n == SUSPECTS_MAX;

    (void)d;
    for (size_t i = 0; !by_others && i < a->suspect_n; i++)
        by_others = !is_own(a, a->suspects[i]);
    a->suspect_n = 0;
    if (by_others)
        begin(a);
}

/* Nearly all changes of the own node are our own: comparing all of it each time
 * would cost more than they do. Their revisions are known a moment later; what
 * shares a revision with one of ours is found by the next full comparison. */
void scan_own_node_changed(struct agent *a)
{
    const struct snapshot *s = catalog_current(a->o.catalog);
    struct bytes name = a->o.me.node.name;
    uint64_t node = snapshot_index(s, (struct watch_key){WATCH_NODE, name});
    uint64_t checks =
        snapshot_index(s, (struct watch_key){WATCH_NODE_CHECKS, name});

    if (a->suspect_n < SUSPECTS_MAX)
        a->suspects[a->suspect_n++] = node > checks ? node : checks;
    if (!a->repair.item.in)
        deadline_set(a, &a->repair, AGENT_REPAIR_MS);
}

/* --- Reaper -------------------------------------------------------------- */

static bool is_overdue(const struct running *r, uint64_t now)
{
    return r->reap_ms && r->run.status == STATUS_CRITICAL &&
           now - r->run.since_ms > r->reap_ms;
}

static void on_reap(struct agent *a, struct deadline *d)
{
    uint64_t now = agent_now(a);
    size_t at = 0;
    void *value;

    deadline_set(a, d, AGENT_REAP_MS);
    agent_publish(a);
    while (map_next(&a->checks, &at, NULL, &value)) {
        const struct running *r = value;
        if (!is_overdue(r, now))
            continue;
        const struct local_check *k =
            local_check(local_current(a->o.local), bytes_of(r->id, r->id_n));
        if (!k || k->def.service_id.n == 0 ||
            !local_service(local_current(a->o.local), k->def.service_id))
            continue;
        if (r->run.cause == CAUSE_SILENCE) {
            reap_silent(a, k->def.service_id);
            continue;
        }
        log_warn("agent",
                 "deregistered, critical for too long: service=%.*s "
                 "check=%.*s",
                 BYTES_ARG(k->def.service_id), BYTES_ARG(k->def.id));
        op_reap(a, k->def.service_id);
    }
    reap_submit(a);
}

/* --- Start --------------------------------------------------------------- */

static void start_once(struct agent *a)
{
    if (a->scan_step.fire)
        return;
    a->scan_step.fire = on_step;
    a->repair.fire = on_repair;
    a->reap.fire = on_reap;
    deadline_set(a, &a->reap, AGENT_REAP_MS);
}

void scan_start(struct agent *a)
{
    if (!a->loaded || !a->catalog_ready)
        return;
    start_once(a);
    begin(a);
}

void agent_catalog_published(struct agent *a, bool own_node_changed)
{
    bool first = !a->catalog_ready;

    a->catalog_ready = true;
    sync_catalog_published(a);
    aliases_catalog_changed(a);
    if (first)
        scan_start(a);
    else if (own_node_changed && a->loaded)
        scan_own_node_changed(a);
    agent_wake(a);
}

bool agent_in_sync(const struct agent *a)
{
    return a->loaded && a->catalog_ready && a->scanned && a->items.n == 0;
}
