/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Alias checks: evaluated when anything they can look at has changed, and once
 * a minute. An alias can look at another one, so a pass that changes a status
 * is followed by another; two that look at each other would hand their texts
 * back and forth for ever, so only a bounded number follow. */
#include "agent/impl.h"

enum { ALIAS_PASSES_MAX = 16 };

static void on_alias(struct agent *a, struct deadline *d)
{
    a->alias_due = true;
    deadline_set(a, d, AGENT_ALIAS_MS);
}

void aliases_start(struct agent *a)
{
    list_init(&a->aliases);
    a->alias.fire = on_alias;
}

/* True: its status is another one now. */
static bool evaluate(struct running *r, struct buf *text)
{
    struct agent *a = r->agent;
    const struct local_snapshot *l = local_current(a->o.local);
    const struct local_check *k = local_check(l, bytes_of(r->id, r->id_n));
    struct buf cut = {0};

    if (!k)
        return false;
    enum check_cause cause;
    enum status now = local_alias_status(l, catalog_current(a->o.catalog),
                                         &a->o.me, &k->def, text, &cause);
    require(!text->bad);
    output_tail(&cut, bytes_head(buf_bytes(text), a->o.output_max), text->n,
                a->o.output_max, false);
    bool changed = running_follow(r, now, cause, buf_bytes(&cut));
    buf_fini(&cut);
    return changed;
}

void aliases_evaluate(struct agent *a)
{
    struct buf text = {0};
    bool changed = true;

    if (!a->alias_due || !a->loaded || list_empty(&a->aliases))
        return;
    if (!a->alias.item.in)
        deadline_set(a, &a->alias, AGENT_ALIAS_MS);
    for (int pass = 0; changed && pass < ALIAS_PASSES_MAX; pass++) {
        changed = false;
        list_each (it, &a->aliases) {
            struct running *r = container_of(it, struct running, alias_link);
            changed |= evaluate(r, &text);
        }
        agent_publish(a);
    }
    /* What the passes themselves have changed is no reason for one. */
    a->alias_due = false;
    buf_fini(&text);
}

/* The two indexes that tell whether another node's checks or services changed.
 */
static bool node_changed(struct running *r, struct bytes node)
{
    const struct snapshot *s = catalog_current(r->agent->o.catalog);
    uint64_t now[2] = {
        snapshot_index(s, (struct watch_key){WATCH_NODE, node}),
        snapshot_index(s, (struct watch_key){WATCH_NODE_CHECKS, node}),
    };
    bool changed = memcmp(now, r->alias_index, sizeof now) != 0;
    memcpy(r->alias_index, now, sizeof now);
    return changed;
}

void aliases_catalog_changed(struct agent *a)
{
    list_each (it, &a->aliases) {
        struct running *r = container_of(it, struct running, alias_link);
        const struct local_check *k =
            local_check(local_current(a->o.local), bytes_of(r->id, r->id_n));
        if (k && k->def.alias_node.n && node_changed(r, k->def.alias_node))
            a->alias_due = true;
    }
}
