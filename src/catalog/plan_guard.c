/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The one place where an instance that fell silent is let go or held. */
#include "catalog/plan_guard.h"

#include "base/check.h"
#include "catalog/guard.h"
#include "catalog/member.h"
#include "catalog/plan_impl.h"

static const struct bytes none = {NULL, 0};

enum {
    /* Of one change's values: what a group of the store takes, and room for
     * its neighbours. */
    PLAN_BYTES_MAX = 512 * 1024,
    /* A release's own operations beside those on checks: the record. */
    RECORD_OPS = 1,
};

/* --- The record ---------------------------------------------------------- */

/* A service's window, as far as this plan knows. */
struct window {
    struct bytes key;
    const struct cat_name *name;
    const struct cat_record *record; /* NULL: none yet */
    struct guard_view v;
    size_t planned; /* left by what this plan has so far */
};

static struct window window_of(struct planner *p, const struct cat_name *name)
{
    struct bytes text = name_text(name);
    struct window w = {
        .key = planner_key(p, RECORD_GUARD, text, none),
        .name = name,
        .record = snapshot_guard(p->s, text),
    };
    const struct store_op *op = planner_op(p, w.key);
    uint32_t left_before = 0;

    if (w.record) {
        cat_guard_view(w.record, &w.v);
        left_before = w.v.left;
    }
    if (op && op->kind == OP_PUT) {
        enum err e = record_get_guard(op->value, &w.v);
        require(e == ERR_OK); /* this plan wrote it */
        w.planned = w.v.left > left_before ? w.v.left - left_before : 0;
    }
    /* A window begins with the first one that goes. */
    if (w.v.left == 0 && w.v.reg_left == 0) {
        w.v.base = (uint32_t)member_candidates(p->s, name, NULL, SIZE_MAX);
        w.v.reg_base = (uint32_t)name->instances.n;
    }
    return w;
}

static void window_write(struct planner *p, const struct window *w)
{
    struct buf folded = {0};
    struct guard_view v = w->v;

    buf_put_fold(&folded, name_text(w->name));
    v.name = buf_bytes(&folded);
    buf_reset(&p->value);
    record_put_guard(&p->value, &v);
    p->value.bad |= folded.bad;
    planner_write(p, w->key, w->record);
    buf_fini(&folded);
}

/* Nobody else counts while this is on its way. */
static void window_guard(struct planner *p, const struct window *w)
{
    planner_guard_mod(p, w->key, w->record);
}

/* --- Admission ----------------------------------------------------------- */

/* Nothing that keeps the instance in the answers has changed since. */
static void guard_answered(struct planner *p, const struct cat_node *node,
                           const struct cat_instance *i)
{
    struct bytes name = cat_record_node(i->service);
    uint32_t own = node->own ? node->own->n : 0;

    planner_guard_mod(
        p, planner_key(p, RECORD_SERVICE, name, cat_record_id(i->service)),
        i->service);
    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        planner_guard_mod(
            p, planner_key(p, RECORD_CHECK, name, cat_record_id(r)), r);
    }
}

/* Beside this instance one at least stays in the answers: also if it gives
 * evidence of its own while this is on its way, hence the guards. */
static bool others_stay(struct planner *p, const struct window *w,
                        const struct cat_instance *i)
{
    struct tree_iter it;

    tree_first(&w->name->instances, &it);
    for (const struct cat_instance *k; (k = tree_next(&it));) {
        const struct cat_node *node = k == i ? NULL : snapshot_node_of(p->s, k);
        if (!node || !planner_answered(p, node, k, none))
            continue;
        guard_answered(p, node, k);
        return true;
    }
    return false;
}

static const struct cat_name *name_of(const struct planner *p,
                                      const struct cat_instance *i)
{
    return snapshot_name(p->s, cat_service_name(i->service));
}

enum guard_mode mode_of_instance(const struct cat_instance *i,
                                 enum guard_mode configured)
{
    struct service_view v;

    cat_service_view(i->service, &v);
    return guard_mode_of(v.meta, configured);
}

static bool admit_leave(struct planner *p, struct window *w,
                        const struct cat_instance *i)
{
    size_t allowed = guard_leaves_allowed(w->v.reg_base, w->v.base);

    if (w->v.left >= allowed || !others_stay(p, w, i))
        return false;
    w->v.left++;
    return true;
}

bool planner_admit(struct planner *p, const struct cat_instance *i,
                   enum guard_mode mode, bool recall)
{
    const struct cat_name *name = name_of(p, i);

    if (mode == GUARD_MODE_OFF || !name || name->instances.n == 1)
        return true;
    if (recall)
        return false;
    struct window w = window_of(p, name);
    if (!admit_leave(p, &w, i)) {
        sometimes(true);
        window_guard(p, &w);
        return false;
    }
    window_write(p, &w);
    return true;
}

/* The check as the plan so far leaves it; false: it is gone. */
static bool check_in_plan(struct planner *p, const struct cat_record *r,
                          bool *ret_passes, bool *ret_held)
{
    const struct store_op *op = planner_op(
        p, planner_key(p, RECORD_CHECK, cat_record_node(r), cat_record_id(r)));
    struct check_view v;

    *ret_passes = cat_check_passes(r);
    *ret_held = r->held;
    if (!op)
        return true;
    if (op->kind != OP_PUT)
        return false;
    if (record_get_check(op->value, &v) != ERR_OK)
        return false;
    *ret_passes = bytes_is(v.status, "passing");
    *ret_held = v.marks.held;
    return true;
}

/* A plan that leans on a check's being as it is. */
static void lean_on(struct planner *p, const struct cat_record *check)
{
    planner_guard_mod(p,
                      planner_key(p, RECORD_CHECK, cat_record_node(check),
                                  cat_record_id(check)),
                      check);
}

bool planner_answered(struct planner *p, const struct cat_node *node,
                      const struct cat_instance *i, struct bytes but_check)
{
    struct membership m;
    const struct cat_name *name = name_of(p, i);
    uint32_t own = node->own ? node->own->n : 0;

    if (!name)
        return false;
    membership_begin(&m, p->s, name);
    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        bool passes, held;
        if (bytes_eq_fold(cat_record_id(r), but_check) ||
            !check_in_plan(p, r, &passes, &held) || passes)
            continue;
        if (!held || (r->held && !member_check_held(&m, i, r))) {
            lean_on(p, r);
            return false;
        }
    }
    return true;
}

/* --- Reaping ------------------------------------------------------------- */

/* Some check of the instance, or of its node, is critical, and not by silence. */
static bool critical_by_evidence(struct planner *p, const struct cat_node *node,
                                 const struct cat_instance *i)
{
    uint32_t own = node->own ? node->own->n : 0;

    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        struct check_view v;
        cat_check_view(r, &v);
        if (bytes_is(v.status, "critical") && v.marks.cause != CAUSE_SILENCE) {
            lean_on(p, r);
            return true;
        }
    }
    return false;
}

/* Counts the removal; false: not now. */
static bool admit_removal(struct planner *p, const struct cat_node *node,
                          const struct cat_instance *i)
{
    const struct cat_name *name = name_of(p, i);

    if (!name || name->instances.n == 1)
        return true;
    struct window w = window_of(p, name);
    if (w.v.reg_left >= guard_removals_allowed(w.v.reg_base))
        return false;
    if (planner_answered(p, node, i, none) && !admit_leave(p, &w, i))
        return false;
    w.v.reg_left++;
    window_write(p, &w);
    return true;
}

enum err plan_reap(struct plan *plan, const struct snapshot *s,
                   const struct guard_who *who, enum guard_mode configured,
                   bool *ret_wait, struct errtext *t)
{
    const struct cat_node *node = snapshot_node(s, who->node);
    const struct cat_instance *i =
        node ? cat_node_service(node, who->service_id) : NULL;
    struct planner p;

    *ret_wait = false;
    if (plan->wishes)
        return wish_reap(plan, s, who, configured, t);
    planner_begin(&p, plan, s, t);
    if (i && mode_of_instance(i, configured) != GUARD_MODE_OFF &&
        !critical_by_evidence(&p, node, i))
        *ret_wait = !admit_removal(&p, node, i);
    if (i && !*ret_wait)
        planner_delete_instance(&p, i);
    return planner_end(&p);
}

/* --- The end of a window ------------------------------------------------- */

static bool any_held(const struct cat_node *node, const struct cat_instance *i)
{
    uint32_t own = node->own ? node->own->n : 0;

    for (uint32_t k = 0; k < own + i->check_count; k++)
        if ((k < own ? node->own->v[k] : i->checks[k - own])->held)
            return true;
    return false;
}

static bool holds_any(const struct snapshot *s, const struct cat_name *name)
{
    struct tree_iter it;

    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct cat_node *node = snapshot_node_of(s, i);
        if (node && any_held(node, i))
            return true;
    }
    return false;
}

/* Is a check of the node held since then, and the instance one of the name? */
static bool entry_is_due(struct planner *p, const struct cat_name *name,
                         struct bytes key, struct bytes value)
{
    char *scratch = arena_alloc(p->plan->arena, key.n + sizeof "s/");
    char *full = arena_alloc(p->plan->arena, key.n + sizeof "s/");
    enum record_kind kind;
    struct bytes node_name, id;
    uint64_t since_ms;

    if (!scratch || !full) {
        planner_fail(p, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
        return false;
    }
    memcpy(full, "s/", 2);
    memcpy(full + 2, key.p, key.n);
    if (key_parse(bytes_of(full, key.n + 2), scratch, &kind, &node_name, &id) !=
            ERR_OK ||
        !guard_out_since(value, &since_ms))
        return false;
    const struct cat_node *node = snapshot_node(p->s, node_name);
    const struct cat_instance *i = node ? cat_node_service(node, id) : NULL;
    if (!i || !bytes_eq_fold(cat_service_name(i->service), name_text(name)))
        return false;
    for (uint32_t k = 0; node->own && k < node->own->n; k++) {
        struct check_view v;
        cat_check_view(node->own->v[k], &v);
        if (v.marks.held && v.marks.since_ms == since_ms)
            return true;
    }
    return false;
}

static void purge_out(struct planner *p, struct window *w, struct buf *kept)
{
    struct bytes rest = w->v.out.data, key, value;
    uint32_t n = 0;

    while (packed_next_pair(&rest, &key, &value)) {
        if (!entry_is_due(p, w->name, key, value))
            continue;
        packed_put_pair(kept, key, value);
        n++;
    }
    if (kept->bad)
        planner_fail(p, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    w->v.out = (struct packed){buf_bytes(kept), n};
}

static void begin_window(struct planner *p, const struct cat_name *name)
{
    struct window w = window_of(p, name);
    struct buf kept = {0};
    struct guard_view had = {0};

    if (w.record)
        cat_guard_view(w.record, &had);
    w.v.base = (uint32_t)member_candidates(p->s, name, NULL, SIZE_MAX);
    w.v.reg_base = (uint32_t)name->instances.n;
    w.v.left = w.v.reg_left = 0;
    purge_out(p, &w, &kept);
    bool same = w.record && had.left == 0 && had.reg_left == 0 &&
                packed_eq(had.out, w.v.out);
    if (!same)
        window_write(p, &w);
    buf_fini(&kept);
}

enum err plan_guard_window(struct plan *plan, const struct snapshot *s,
                           struct bytes name_asked, struct errtext *t)
{
    const struct cat_record *record = snapshot_guard(s, name_asked);
    const struct cat_name *name = snapshot_name(s, name_asked);
    struct planner p;

    planner_begin(&p, plan, s, t);
    if (name && holds_any(s, name)) {
        begin_window(&p, name);
    } else if (record) {
        struct bytes key = planner_key(&p, RECORD_GUARD, name_asked, none);
        planner_guard_mod(&p, key, record);
        planner_delete(&p, OP_DELETE, key);
    }
    return planner_end(&p);
}

/* --- Releases ------------------------------------------------------------ */

/* The check is not held any more. */
static void unhold(struct planner *p, const struct cat_record *r,
                   enum guard_release why)
{
    struct check_view v;

    cat_check_view(r, &v);
    v.marks.held = false;
    v.marks.held_ms = 0;
    if (why == RELEASE_EVIDENCE)
        v.marks.cause = CAUSE_EVIDENCE;
    buf_reset(&p->value);
    record_put_check(&p->value, &v);
    planner_write(p, planner_key(p, RECORD_CHECK, v.node, cat_record_id(r)), r);
}

/* In the order of the keys, in the place of an older entry. */
static void put_out(struct window *w, struct buf *list, struct bytes key,
                    uint64_t since_ms)
{
    struct bytes rest = w->v.out.data, k, v;
    bool done = false;
    uint32_t n = 0;

    while (packed_next_pair(&rest, &k, &v)) {
        int c = bytes_cmp(k, key);
        if (!done && c >= 0) {
            packed_put_out(list, key, since_ms);
            done = true;
            n++;
        }
        if (c != 0) {
            packed_put_pair(list, k, v);
            n++;
        }
    }
    if (!done) {
        packed_put_out(list, key, since_ms);
        n++;
    }
    w->v.out = (struct packed){buf_bytes(list), n};
}

/* The instance is let go although this check of its node is held. */
static void let_go(struct planner *p, const struct cat_instance *i,
                   const struct cat_record *check)
{
    struct window w = window_of(p, name_of(p, i));
    struct buf key = {0}, list = {0};
    struct check_view v;

    cat_check_view(check, &v);
    key_instance(&key, cat_record_node(i->service), cat_record_id(i->service));
    put_out(&w, &list, buf_bytes(&key), v.marks.since_ms);
    p->value.bad |= key.bad || list.bad;
    if (key.bad || list.bad)
        planner_fail(p, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    else
        window_write(p, &w);
    buf_fini(&key);
    buf_fini(&list);
}

static void release(struct planner *p, const struct membership *m,
                    const struct cat_node *node, const struct cat_instance *i,
                    enum guard_release why)
{
    const struct cat_record *of_node = NULL;

    for (uint32_t k = 0; k < i->check_count; k++)
        if (i->checks[k]->held)
            unhold(p, i->checks[k], why);
    for (uint32_t k = 0; !of_node && node->own && k < node->own->n; k++)
        if (member_check_held(m, i, node->own->v[k]))
            of_node = node->own->v[k];
    if (of_node)
        let_go(p, i, of_node);
}

static size_t plan_bytes(const struct plan *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->op_count; i++)
        n += p->ops[i].value.n;
    return n;
}

/* What a release of the instance adds, at most. */
static bool fits(const struct plan *p, const struct window *w,
                 const struct cat_instance *i)
{
    size_t ops = p->op_count + i->check_count + RECORD_OPS;
    size_t guards = p->guard_count + i->check_count + RECORD_OPS;
    size_t bytes = plan_bytes(p);

    for (uint32_t k = 0; k < i->check_count; k++)
        bytes += cat_value(i->checks[k]).n;
    return ops < PLAN_OPS_MAX && guards < PLAN_OPS_MAX &&
           (bytes < PLAN_BYTES_MAX || p->op_count == 0) &&
           w->v.out.n < GUARD_OUT_MAX;
}

/* By time alone. The last one that is held stays even where it has become the
 * only one: that others were removed says nothing about it. */
static bool may_go(struct planner *p, const struct cat_name *name,
                   const struct cat_instance *i, enum guard_mode configured)
{
    enum guard_mode mode = mode_of_instance(i, configured);
    bool held_itself = false;

    for (uint32_t k = 0; k < i->check_count; k++)
        held_itself |= i->checks[k]->held;
    if (held_itself && name->instances.n == 1 && mode != GUARD_MODE_OFF)
        return false;
    return planner_admit(p, i, mode, false);
}

enum err plan_guard_release(struct plan *plan, const struct snapshot *s,
                            const struct guard_who *who, size_t n,
                            enum guard_release why, enum guard_mode configured,
                            size_t *ret_n, bool *ret_bound, struct errtext *t)
{
    struct planner p;
    size_t done = 0;

    *ret_bound = false;
    planner_begin(&p, plan, s, t);
    for (; done < n && p.e == ERR_OK; done++) {
        const struct cat_node *node = snapshot_node(s, who[done].node);
        const struct cat_instance *i =
            node ? cat_node_service(node, who[done].service_id) : NULL;
        const struct cat_name *name = i ? name_of(&p, i) : NULL;
        struct membership m;
        if (!name)
            continue;
        membership_begin(&m, s, name);
        if (!any_held(node, i) || !planner_answered(&p, node, i, none))
            continue;
        struct window w = window_of(&p, name);
        if (!fits(plan, &w, i))
            break;
        bool counts = why == RELEASE_TIME ||
                      (why == RELEASE_EVIDENCE &&
                       mode_of_instance(i, configured) == GUARD_MODE_ALL);
        if (counts && !may_go(&p, name, i, configured)) {
            *ret_bound = true;
            break;
        }
        release(&p, &m, node, i, why);
    }
    *ret_n = done;
    return planner_end(&p);
}

/* --- Fence --------------------------------------------------------------- */

enum err plan_fence(struct plan *plan, const struct snapshot *s,
                    const struct store_guard *fence, struct errtext *t)
{
    struct planner p;

    if (plan->op_count == 0)
        return ERR_OK;
    planner_begin(&p, plan, s, t);
    planner_guard(&p, fence->kind, fence->key, fence->rev);
    p.wrote = true; /* earlier: its guards stay */
    return planner_end(&p);
}
