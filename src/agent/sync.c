/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Differences to the catalog. Each service (with its checks), each check of the
 * node and the node's record is an item while it may differ:
 *
 *     touched -> READY -> planned on the newest snapshots -> FLYING (the store)
 *        ^                 | nothing to do                     |
 *        |                 v                                   v
 *      again <---------- done <--- AWAITING (until the catalog shows it)
 *                                    or, not written: planned again
 *
 * One plan of an item at a time: so an older plan can never be committed after
 * a newer one, and the catalog ends with what is true here. Jobs wait in the
 * item for the plan that was made after them. */
#include <stdlib.h>

#include "agent/impl.h"

/* --- Items --------------------------------------------------------------- */

static void on_retry(struct agent *a, struct deadline *d);

void sync_start(struct agent *a)
{
    list_init(&a->ready);
    list_init(&a->awaiting);
    list_init(&a->blocked);
    list_init(&a->counters);
    a->retry.fire = on_retry;
    a->retry_ms = AGENT_RETRY_MS;
}

static struct bytes item_key(const struct item *i)
{
    return bytes_of(i->key, i->key_n);
}

static struct bytes item_id(const struct item *i)
{
    return bytes_skip(item_key(i), 1);
}

static void move_to(struct item *i, enum item_state state, struct list *list)
{
    list_del(&i->link);
    i->state = state;
    if (list)
        list_add(list, &i->link);
}

static struct item *find(const struct agent *a, enum sync_kind kind,
                         struct bytes id)
{
    size_t n;
    char *key = agent_key((char)kind, id, &n);
    struct item *i = map_get(&a->items, bytes_of(key, n));
    free(key);
    return i;
}

static struct item *item_new(struct agent *a, enum sync_kind kind,
                             struct bytes id)
{
    size_t n;
    char *key = agent_key((char)kind, id, &n);
    struct item *i = xzalloc(sizeof *i + n);

    i->agent = a;
    i->key_n = n;
    memcpy(i->key, key, n);
    free(key);
    list_init(&i->link);
    list_init(&i->waiting);
    list_init(&i->flying);
    arena_init(&i->arena, 0);
    i->letter.kind = LETTER_SYNC;
    require(map_put(&a->items, item_key(i), i) == ERR_OK);
    move_to(i, ITEM_READY, &a->ready);
    return i;
}

struct item *sync_touch(struct agent *a, enum sync_kind kind, struct bytes id,
                        bool with_output)
{
    struct item *i = find(a, kind, id);

    if (!i)
        i = item_new(a, kind, id);
    i->again = true;
    i->with_output |= with_output;
    agent_wake(a);
    return i;
}

struct item *sync_touch_check(struct agent *a, const struct local_check *k,
                              bool with_output)
{
    return k->def.service_id.n
               ? sync_touch(a, SYNC_SERVICE, k->def.service_id, with_output)
               : sync_touch(a, SYNC_CHECK, k->def.id, with_output);
}

bool sync_busy(const struct agent *a, enum sync_kind kind, struct bytes id)
{
    return find(a, kind, id) != NULL;
}

static void answer_all(struct list *jobs, bool pending)
{
    while (!list_empty(jobs)) {
        struct job *j = container_of(jobs->next, struct job, link);
        job_answer(j, 200, pending, "%s", "");
    }
}

/* --- One count at a time --------------------------------------------------
 *
 * Many services that fall silent at once all count in the same record, whose mod
 * revision their plans guard: of those made of one snapshot one gets in. So one is
 * under way, the others wait; as soon as one of them needs no count (it is held,
 * say), all go. */

static bool plan_counts(const struct plan *p)
{
    for (size_t k = 0; k < p->op_count; k++)
        if (p->ops[k].key.p[0] == 'g')
            return true;
    return false;
}

static void count_over(struct item *i)
{
    struct agent *a = i->agent;

    if (a->counting != i)
        return;
    a->counting = NULL;
    if (list_empty(&a->counters))
        return;
    move_to(container_of(a->counters.next, struct item, link), ITEM_READY,
            &a->ready);
    agent_wake(a);
}

static void all_may_count(struct agent *a)
{
    if (a->counting || list_empty(&a->counters))
        return;
    list_move_all(&a->ready, &a->counters);
    agent_wake(a);
}

/* Frees the item, or makes it ready again if it was touched meanwhile. */
static void item_done(struct item *i)
{
    struct agent *a = i->agent;

    count_over(i);
    i->attempts = 0;
    answer_all(&i->flying, false);
    if (i->again) {
        move_to(i, ITEM_READY, &a->ready);
        return;
    }
    require(list_empty(&i->waiting));
    list_del(&i->link);
    (void)map_del(&a->items, item_key(i));
    arena_fini(&i->arena);
    free(i);
}

/* --- Not now ------------------------------------------------------------- */

static void on_retry(struct agent *a, struct deadline *d)
{
    (void)d;
    list_each (it, &a->blocked) {
        struct item *i = container_of(it, struct item, link);
        move_to(i, ITEM_READY, &a->ready);
    }
}

static void block(struct item *i)
{
    struct agent *a = i->agent;

    count_over(i);
    i->attempts = 0;
    i->again = true;
    list_move_all(&i->flying, &i->waiting);
    list_move_all(&i->waiting, &i->flying);
    move_to(i, ITEM_BLOCKED, &a->blocked);
    if (a->retry.item.in)
        return;
    deadline_set(a, &a->retry, a->retry_ms);
    a->retry_ms = a->retry_ms * 2 < AGENT_RETRY_MAX_MS ? a->retry_ms * 2
                                                       : AGENT_RETRY_MAX_MS;
}

static void catalog_is_down(struct item *i)
{
    struct agent *a = i->agent;
    const struct store_outcome *o = &i->outcome;

    if (!a->catalog_down)
        log_warn("agent",
                 "the catalog cannot be written, what changes here is kept and "
                 "sent later: %s: %s",
                 err_text(o->why), o->text.s);
    a->catalog_down = true;
    block(i);
    /* Nobody waits for what is known to be down. */
    answer_all(&i->waiting, true);
}

static void catalog_is_up(struct agent *a)
{
    if (a->catalog_down)
        log_info("agent", "the catalog is written again");
    a->catalog_down = false;
    a->retry_ms = AGENT_RETRY_MS;
    if (!list_empty(&a->blocked))
        on_retry(a, &a->retry);
    deadline_clear(a, &a->retry);
}

static void answer_all_waiting(struct agent *a)
{
    size_t at = 0;
    void *value;

    while (map_next(&a->items, &at, NULL, &value))
        answer_all(&((struct item *)value)->waiting, true);
}

void agent_catalog_reachable(struct agent *a, bool up, const char *why)
{
    if (up) {
        catalog_is_up(a);
        agent_wake(a);
        return;
    }
    if (!a->catalog_down)
        log_warn("agent",
                 "no server can be reached, what changes here is kept and "
                 "sent later: %s",
                 why);
    a->catalog_down = true;
    answer_all_waiting(a);
}

/* The catalog will not take it as it is; a full comparison tries again. */
static void give_up(struct item *i, const char *text)
{
    log_error("agent", "not in the catalog: item=%.*s error=\"%s\"",
              BYTES_ARG(item_key(i)), text);
    answer_all(&i->flying, true);
    item_done(i);
}

/* --- Planning ------------------------------------------------------------ */

void sync_plan_init(struct agent *a, struct plan *p, struct arena *arena)
{
    if (a->o.submit_wishes)
        wishes_begin(p, arena);
    else
        plan_init(p, arena);
}

enum err sync_submit(struct agent *a, struct store_change *c, struct errtext *t)
{
    return a->o.submit_wishes ? a->o.submit_wishes(a->o.ctx, c, t)
                              : store_submit(a->o.catalog_store, c, t);
}

static enum err plan(struct item *i, struct errtext *t)
{
    struct agent *a = i->agent;
    const struct local_snapshot *l = local_current(a->o.local);
    const struct snapshot *s = catalog_current(a->o.catalog);
    struct local_identity me = a->o.me;

    me.wall_ms = agent_wall_now(a);
    arena_reset(&i->arena);
    sync_plan_init(a, &i->plan, &i->arena);
    i->again = false;
    i->replan = false;
    i->output_planned |= i->with_output;
    i->with_output = false;
    switch ((enum sync_kind)i->key[0]) {
    case SYNC_SERVICE:
        return local_diff_service(&i->plan, l, s, &me, item_id(i),
                                  i->output_planned, &i->replan, t);
    case SYNC_CHECK:
        return local_diff_check(&i->plan, l, s, &me, item_id(i),
                                i->output_planned, t);
    case SYNC_NODE:
        return local_diff_node(&i->plan, s, &me, t);
    }
    return ERR_OK;
}

/* On the catalog store's thread. */
static void on_committed(struct store_change *c, const struct store_outcome *o)
{
    struct item *i = container_of(c, struct item, change);
    struct agent *a = i->agent;

    i->outcome = *o;
    agent_post(a, &i->letter);
    uv_sem_post(&a->landed);
}

static struct bytes meta_of(const struct item *i)
{
    if (list_empty(&i->flying))
        return bytes_str("agent: sync");
    const struct job *j = container_of(i->flying.next, struct job, link);
    struct bytes meta = arena_copy((struct arena *)&i->arena, j->op->meta);
    return bytes_head(meta, STORE_META_MAX);
}

static void submit(struct item *i)
{
    struct agent *a = i->agent;

    i->change = (struct store_change){
        .guards = i->plan.guards,
        .guard_count = i->plan.guard_count,
        .ops = i->plan.ops,
        .op_count = i->plan.op_count,
        .meta = meta_of(i),
        .done = on_committed,
    };
    list_init(&i->change.link);
    i->outcome = (struct store_outcome){0};
    enum err e = sync_submit(a, &i->change, &i->outcome.text);
    if (e == ERR_OK) {
        move_to(i, ITEM_FLYING, NULL);
        a->flying++;
        metric_add(METRIC_AGENT_SYNCS, 1);
    } else if (e == ERR_LIMIT) {
        give_up(i, i->outcome.text.s);
    } else if (e == ERR_FULL) {
        block(i); /* busy, not down */
    } else {
        i->outcome.why = e;
        catalog_is_down(i);
    }
}

static void run(struct item *i)
{
    struct agent *a = i->agent;
    struct errtext t = {{0}};

    list_move_all(&i->flying, &i->waiting);
    enum err e = plan(i, &t);
    bool counts = e == ERR_OK && plan_counts(&i->plan);
    if (counts && a->counting) {
        i->again = true; /* planned anew */
        move_to(i, ITEM_READY, &a->counters);
        return;
    }
    if (counts)
        a->counting = i;
    else
        all_may_count(a);
    if (e != ERR_OK) {
        give_up(i, t.s);
    } else if (i->plan.op_count == 0) {
        i->output_planned = false;
        item_done(i);
    } else {
        submit(i);
    }
}

void sync_run(struct agent *a)
{
    if (!a->loaded || !a->catalog_ready || a->closing)
        return;
    /* Those that become ready on the way wait for the next turn. */
    struct list now;
    list_init(&now);
    list_move_all(&now, &a->ready);
    while (!list_empty(&now) && a->flying < AGENT_FLYING_MAX) {
        struct item *i = container_of(now.next, struct item, link);
        run(i);
    }
    if (!list_empty(&now)) { /* first in line next time */
        list_move_all(&now, &a->ready);
        list_move_all(&a->ready, &now);
    }
}

/* --- Outcomes ------------------------------------------------------------ */

static void remember_revision(struct agent *a, uint64_t revision)
{
    a->own_revisions[a->own_revision_at++ % OWN_REVISIONS] = revision;
}

/* Its revision can be seen. */
static void arrived(struct item *i)
{
    count_over(i);
    if (!i->replan) {
        i->output_planned = false;
        item_done(i);
        return;
    }
    move_to(i, ITEM_READY, &i->agent->ready);
    agent_wake(i->agent);
}

static void await(struct item *i)
{
    struct agent *a = i->agent;

    i->revision = i->outcome.revision;
    if (snapshot_revision(catalog_current(a->o.catalog)) >= i->revision)
        arrived(i);
    else
        move_to(i, ITEM_AWAITING, &a->awaiting);
}

static void conflicted(struct item *i)
{
    i->replan = true;
    if (++i->attempts < AGENT_ATTEMPTS_MAX) {
        await(i);
        return;
    }
    log_warn("agent", "changed by others %u times in a row, pausing: item=%.*s",
             i->attempts, BYTES_ARG(item_key(i)));
    block(i);
}

void sync_answered(struct item *i)
{
    struct agent *a = i->agent;

    if (a->closing)
        return;
    a->flying--;
    uv_sem_wait(&a->landed);
    switch (i->outcome.verdict) {
    case STORE_COMMITTED:
        remember_revision(a, i->outcome.revision);
        catalog_is_up(a);
        await(i);
        return;
    case STORE_CONFLICT:
        catalog_is_up(a);
        conflicted(i);
        return;
    case STORE_REFUSED:
        if (i->outcome.why != ERR_NOSPACE) {
            give_up(i, i->outcome.text.s);
            return;
        }
        break;
    case STORE_UNAVAILABLE:
        break;
    }
    catalog_is_down(i);
}

void sync_catalog_published(struct agent *a)
{
    uint64_t revision = snapshot_revision(catalog_current(a->o.catalog));
    /* Of another store (mirror_reset), which knows nothing of what the one before
     * has taken, and may never reach the revision that is waited for. */
    bool another = revision < a->catalog_revision;

    a->catalog_revision = revision;
    list_each (it, &a->awaiting) {
        struct item *i = container_of(it, struct item, link);
        i->replan |= another;
        if (another || i->revision <= revision)
            arrived(i);
    }
}

void sync_free_all(struct agent *a)
{
    size_t at = 0;
    void *value;

    while (map_next(&a->items, &at, NULL, &value)) {
        struct item *i = value;
        answer_all(&i->waiting, true);
        answer_all(&i->flying, true);
        arena_fini(&i->arena);
        free(i);
    }
    map_fini(&a->items);
}
