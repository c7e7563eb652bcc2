/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "catalog/guard.h"
#include "catalog/member.h"
#include "duty/impl.h"

/* Instances in one plan; each may rewrite the record's list of those let out. */
enum { RELEASE_MAX = 128 };

/* --- Services ------------------------------------------------------------ */

static struct service *service_need(struct duty *d, struct bytes name)
{
    struct buf folded;

    buf_init(&folded, 0);
    buf_put_fold(&folded, name);
    require(!folded.bad);
    struct service *s = map_get(&d->services, buf_bytes(&folded));
    if (!s) {
        s = xzalloc(sizeof *s + folded.n);
        memcpy(s + 1, folded.p, folded.n);
        s->name = bytes_of(s + 1, folded.n);
        s->since_ms = d->now_ms;
        require(map_put(&d->services, s->name, s) == ERR_OK);
    }
    buf_fini(&folded);
    if (s->look != d->look) {
        s->look = d->look;
        s->held = 0;
        s->recorded = false;
    }
    return s;
}

/* A window begins when the record is first seen to count somebody; what is not
 * one is as old as it is. */
static void set_counts(struct duty *d, struct service *s, bool counts)
{
    if (s->counts == counts)
        return;
    s->counts = counts;
    if (counts)
        s->since_ms = d->now_ms;
}

static void look_at_record(struct duty *d, const struct cat_record *r)
{
    struct guard_view v;

    cat_guard_view(r, &v);
    struct service *s = service_need(d, v.name);
    s->recorded = true;
    set_counts(d, s, v.left + v.reg_left > 0);
}

/* --- Holds --------------------------------------------------------------- */

static void unprobe(struct duty *d, struct hold *h)
{
    if (!h->probing)
        return;
    h->probing = false;
    d->counts.probed--;
    d->o.unprobe(d->o.ctx, h->key);
}

static void hold_drop(struct duty *d, struct hold *h)
{
    unprobe(d, h);
    (void)map_del(&d->holds, h->key);
    free(h);
}

static struct hold *hold_new(struct bytes key, const struct service_view *v)
{
    struct hold *h = xzalloc(sizeof *h + key.n + v->node.n + v->id.n);
    char *at = (char *)(h + 1);

    memcpy(at, key.p, key.n);
    h->key = bytes_of(at, key.n);
    memcpy(at + key.n, v->node.p, v->node.n);
    h->node = bytes_of(at + key.n, v->node.n);
    memcpy(at + key.n + v->node.n, v->id.p, v->id.n);
    h->id = bytes_of(at + key.n + v->node.n, v->id.n);
    return h;
}

static void probe(struct duty *d, struct hold *h, const struct cat_node *node,
                  const struct service_view *v)
{
    struct node_view n;

    h->portless = v->port <= 0;
    if (h->portless) {
        h->by[0] = DUTY_UNREACHABLE; /* nobody can be asked */
        return;
    }
    if (h->probing || d->counts.probed >= DUTY_PROBES_MAX)
        return;
    cat_node_view(node->record, &n);
    h->probing = true;
    d->counts.probed++;
    d->o.probe(d->o.ctx, h->key, v->address.n ? v->address : n.address,
               v->port);
}

/* The oldest of what holds it; whether that is of the instance itself. */
static void read_marks(struct hold *h, const struct cat_node *node,
                       const struct cat_instance *i)
{
    struct check_view v;

    h->of_node = true;
    h->held_ms = UINT64_MAX;
    for (uint32_t k = 0; node->own && k < node->own->n; k++) {
        cat_check_view(node->own->v[k], &v);
        if (v.marks.held && v.marks.held_ms < h->held_ms)
            h->held_ms = v.marks.held_ms;
    }
    for (uint32_t k = 0; k < i->check_count; k++) {
        cat_check_view(i->checks[k], &v);
        h->of_node &= !v.marks.held;
        if (v.marks.held && v.marks.held_ms < h->held_ms)
            h->held_ms = v.marks.held_ms;
    }
}

static void look_at_instance(struct duty *d, const struct cat_node *node,
                             const struct cat_instance *i)
{
    const struct snapshot *s = duty_snapshot(d);
    struct service_view v;
    struct membership m;
    struct buf key;

    cat_service_view(i->service, &v);
    const struct cat_name *name = snapshot_name(s, v.name);
    if (!name)
        return;
    membership_begin(&m, s, name);
    if (member_of(&m, node, i) != MEMBER_HELD)
        return;
    buf_init(&key, 0);
    key_instance(&key, v.node, v.id);
    require(!key.bad);
    struct hold *h = map_get(&d->holds, buf_bytes(&key));
    if (!h) {
        h = hold_new(buf_bytes(&key), &v);
        require(map_put(&d->holds, h->key, h) == ERR_OK);
    }
    buf_fini(&key);
    if (h->look == d->look)
        return;
    h->look = d->look;
    h->service = service_need(d, v.name);
    h->service->held++;
    read_marks(h, node, i);
    probe(d, h, node, &v);
}

static void look_at_check(struct duty *d, const struct cat_record *r)
{
    struct check_view v;
    struct tree_iter it;

    cat_check_view(r, &v);
    const struct cat_node *node = snapshot_node(duty_snapshot(d), v.node);
    if (!v.marks.held || !node)
        return;
    if (v.service_id.n) {
        const struct cat_instance *i = cat_node_service(node, v.service_id);
        if (i)
            look_at_instance(d, node, i);
        return;
    }
    tree_first(&node->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        look_at_instance(d, node, i);
}

/* --- The look ------------------------------------------------------------ */

/* Those that this look did not see; maps move when something is taken out, so
 * that each is looked for anew. */
static struct hold *stale_hold(const struct duty *d)
{
    size_t at = 0;
    void *value;

    while (map_next(&d->holds, &at, NULL, &value))
        if (((struct hold *)value)->look != d->look)
            return value;
    return NULL;
}

static struct service *stale_service(const struct duty *d)
{
    size_t at = 0;
    void *value;

    while (map_next(&d->services, &at, NULL, &value))
        if (((struct service *)value)->look != d->look)
            return value;
    return NULL;
}

static void tell(struct duty *d, struct service *s)
{
    const struct cat_name *name = snapshot_name(duty_snapshot(d), s->name);

    if (s->held && !s->told)
        log_warn("guard",
                 "instances fell silent, too many at once to believe it; they "
                 "are held in the answers of ?passing until they are heard of "
                 "again, refuse connections or stay unreachable: service=%.*s "
                 "held=%zu registered=%zu; `muster guard -service %.*s` shows "
                 "them, `muster guard release` lets them go",
                 BYTES_ARG(s->name), s->held,
                 name ? (size_t)name->instances.n : 0, BYTES_ARG(s->name));
    if (!s->held && s->told)
        log_info("guard", "nobody is held any more: service=%.*s",
                 BYTES_ARG(s->name));
    s->told = s->held > 0;
}

void holds_look(struct duty *d)
{
    const struct snapshot *s = duty_snapshot(d);
    struct tree_iter it;
    size_t at = 0;
    void *value;

    d->look++;
    snapshot_guards(s, &it);
    for (const struct cat_record *r; (r = snapshot_next_guard(&it));)
        look_at_record(d, r);
    snapshot_marked(s, &it);
    for (const struct cat_record *r; (r = snapshot_next_marked(&it));)
        look_at_check(d, r);
    for (struct hold *h; (h = stale_hold(d));)
        hold_drop(d, h);
    while (map_next(&d->services, &at, NULL, &value)) {
        struct service *k = value;
        if (k->look != d->look)
            k->held = 0;
        else if (!k->recorded)
            set_counts(d, k, false);
        tell(d, k);
    }
    for (struct service *k; (k = stale_service(d));) {
        (void)map_del(&d->services, k->name);
        free(k);
    }
    d->counts.held = d->holds.n;
}

void holds_clear(struct duty *d)
{
    d->look++;
    for (struct hold *h; (h = stale_hold(d));)
        hold_drop(d, h);
    for (struct service *k; (k = stale_service(d));) {
        (void)map_del(&d->services, k->name);
        free(k);
    }
    d->counts.held = 0;
}

/* --- Plans --------------------------------------------------------------- */

/* Which held instances of a service, or of any (NULL). */
struct pick {
    const struct service *service;
    bool (*wanted)(const struct hold *h);
    struct hold *v[RELEASE_MAX];
    size_t n;
};

static bool is_refused(const struct hold *h)
{
    for (size_t i = 0; i < DUTY_WITNESSES; i++)
        if (h->by[i] != DUTY_REFUSED)
            return false;
    return true;
}

static bool is_unreachable(const struct hold *h)
{
    for (size_t i = 0; i < DUTY_WITNESSES; i++)
        if (h->by[i] != DUTY_UNREACHABLE)
            return false;
    return true;
}

static bool is_fresh_of_node(const struct hold *h)
{
    return h->of_node && !h->asked;
}

static int by_age(const void *a, const void *b)
{
    const struct hold *const *x = a, *const *y = b;

    if ((*x)->held_ms != (*y)->held_ms)
        return (*x)->held_ms < (*y)->held_ms ? -1 : 1;
    return bytes_cmp((*x)->key, (*y)->key);
}

/* The oldest RELEASE_MAX of one service: that of the first found if none is
 * given. */
static void pick(struct duty *d, struct pick *p)
{
    size_t at = 0, n = 0;
    struct hold **all = xmalloc((d->holds.n + 1) * sizeof(struct hold *));
    void *value;

    while (map_next(&d->holds, &at, NULL, &value)) {
        struct hold *h = value;
        if (!p->wanted(h) || (p->service && h->service != p->service))
            continue;
        p->service = h->service;
        all[n++] = h;
    }
    qsort(all, n, sizeof(struct hold *), by_age);
    p->n = n < RELEASE_MAX ? n : RELEASE_MAX;
    memcpy(p->v, all, p->n * sizeof(struct hold *));
    free(all);
}

/* How many are done; *ret_under_way. */
static size_t release(struct duty *d, const struct pick *p,
                      enum guard_release why, const char *what,
                      bool *ret_under_way)
{
    struct guard_who who[RELEASE_MAX];
    struct errtext t = {{0}};
    size_t done = 0;
    bool bound;

    for (size_t i = 0; i < p->n; i++)
        who[i] = (struct guard_who){p->v[i]->node, p->v[i]->id};
    duty_begin_plan(d);
    enum err e = plan_guard_release(&d->plan, duty_snapshot(d), who, p->n, why,
                                    d->o.guard, &done, &bound, &t);
    *ret_under_way = duty_submit(d, e, &t, what);
    return done;
}

static bool plan_refused(struct duty *d)
{
    struct pick p = {.wanted = is_refused};
    bool under_way;

    pick(d, &p);
    if (p.n == 0)
        return false;
    size_t n = release(d, &p, RELEASE_EVIDENCE, "guard: connection refused",
                       &under_way);
    if (under_way)
        d->counts.refused += n;
    return under_way;
}

/* Held by a check of their node: the bounds are asked at once, as they are for
 * any other silence. */
static bool plan_of_node(struct duty *d)
{
    for (;;) {
        struct pick p = {.wanted = is_fresh_of_node};
        bool under_way;
        pick(d, &p);
        if (p.n == 0)
            return false;
        (void)release(d, &p, RELEASE_TIME, "guard: node silent", &under_way);
        /* Those done are held no more; of the others it is known now. */
        for (size_t i = 0; i < p.n; i++)
            p.v[i]->asked = true;
        if (under_way)
            return true;
    }
}

static bool plan_window(struct duty *d, struct service *s)
{
    struct errtext t = {{0}};

    s->ending = false;
    s->since_ms = d->now_ms;
    s->releasing = s->held > 0;
    duty_begin_plan(d);
    enum err e = plan_guard_window(&d->plan, duty_snapshot(d), s->name, &t);
    if (s->counts)
        d->counts.windows++;
    return duty_submit(d, e, &t, "guard: end of window");
}

static bool plan_time(struct duty *d, struct service *s)
{
    struct pick p = {.service = s, .wanted = is_unreachable};
    bool under_way;

    s->releasing = false;
    pick(d, &p);
    if (p.n == 0)
        return false;
    size_t n = release(d, &p, RELEASE_TIME, "guard: unreachable", &under_way);
    /* The bounds may allow more than fits into one plan. */
    s->releasing = under_way && n == RELEASE_MAX;
    if (under_way) {
        d->counts.by_time += n;
        log_warn("guard",
                 "held instances stay silent and unreachable, the oldest leave "
                 "the answers: service=%.*s count=%zu held=%zu",
                 BYTES_ARG(s->name), n, s->held);
    }
    return under_way;
}

static uint64_t due_ms(const struct duty *d, const struct service *s)
{
    return s->since_ms + d->o.window_ms;
}

bool holds_plan(struct duty *d)
{
    size_t at = 0;
    void *value;

    if (plan_refused(d) || plan_of_node(d))
        return true;
    while (map_next(&d->services, &at, NULL, &value)) {
        struct service *s = value;
        if (d->now_ms >= due_ms(d, s))
            s->ending = true;
        if (s->ending && plan_window(d, s))
            return true;
        if (s->releasing && plan_time(d, s))
            return true;
    }
    return false;
}

uint64_t holds_due(const struct duty *d)
{
    uint64_t due = UINT64_MAX;
    size_t at = 0;
    void *value;

    while (map_next(&d->services, &at, NULL, &value)) {
        const struct service *s = value;
        if (due_ms(d, s) < due)
            due = due_ms(d, s);
    }
    return due;
}
