/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/item.h"
#include "local/local.h"
#include "local/same.h"

/* The walk: the node's record; local services, each with its checks; local
 * checks of the node; then, in one go, what only the catalog has: that is
 * looked for only if the numbers tell that there is something. */
enum phase { PHASE_NODE, PHASE_SERVICES, PHASE_CHECKS, PHASE_STRANGERS };

struct walk {
    struct local_scan *c;
    const struct local_snapshot *l;
    const struct local_identity *me;
    const struct cat_node *node; /* NULL: not in the catalog */
    void (*differs)(void *ctx, enum local_difference what, struct bytes id);
    void *ctx;
};

void local_scan_fini(struct local_scan *c)
{
    buf_fini(&c->after);
}

static void found(const struct walk *w, enum local_difference what,
                  struct bytes id)
{
    w->differs(w->ctx, what, id);
}

static void next_phase(struct local_scan *c)
{
    c->phase++;
    buf_reset(&c->after);
}

static void remember(struct local_scan *c, struct bytes id)
{
    buf_reset(&c->after);
    buf_put(&c->after, id);
}

static void look_at_node(const struct walk *w)
{
    struct node_view there;

    if (w->node)
        cat_node_view(w->node->record, &there);
    if (!w->node || !same_node(&w->me->node, &there))
        found(w, LOCAL_DIFF_NODE, w->me->node.name);
}

/* Whether the catalog has the check as it is here. */
static bool check_is_there(const struct walk *w, const struct local_check *k)
{
    const struct cat_record *r =
        w->node ? cat_node_check(w->node, k->def.id) : NULL;
    struct check_view there, here = check_as_view(k);

    if (!r)
        return false;
    w->c->checks++;
    cat_check_view(r, &there);
    return same_check(&here, &there);
}

static bool checks_are_there(const struct walk *w, struct bytes service_id)
{
    struct tree_iter it;
    bool same = true;

    local_checks_of(w->l, service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));)
        if (!check_is_there(w, k))
            same = false;
    return same;
}

static void look_at_service(const struct walk *w, const struct local_service *v)
{
    const struct cat_instance *i =
        w->node ? cat_node_service(w->node, v->view.id) : NULL;
    struct service_view there;
    bool same = checks_are_there(w, v->view.id);

    if (!i) {
        found(w, LOCAL_DIFF_SERVICE, v->view.id);
        return;
    }
    w->c->services++;
    cat_service_view(i->service, &there);
    bool tags = packed_eq(v->view.tags, there.tags);
    if (!tags && v->view.enable_tag_override)
        found(w, LOCAL_DIFF_TAGS, v->view.id);
    else if (!same || !tags || !same_service(&v->view, &there))
        found(w, LOCAL_DIFF_SERVICE, v->view.id);
}

/* True: all services have been seen. */
static bool look_at_services(const struct walk *w, size_t *left)
{
    struct local_scan *c = w->c;
    struct bytes after = buf_bytes(&c->after);
    struct tree_iter it;

    tree_seek(&w->l->services, &local_service_type,
              (struct tree_key){.a = after}, &it);
    for (const struct local_service *v; (v = local_next_service(&it));) {
        if (after.n && bytes_eq_fold(v->view.id, after))
            continue;
        if (*left == 0)
            return false;
        --*left;
        look_at_service(w, v);
        remember(c, v->view.id);
        after = (struct bytes){0};
    }
    return true;
}

static bool look_at_checks(const struct walk *w, size_t *left)
{
    struct local_scan *c = w->c;
    struct bytes after = buf_bytes(&c->after), none = {0};
    struct tree_iter it;

    tree_seek(&w->l->by_service, &local_check_of_type,
              (struct tree_key){none, after}, &it);
    for (const struct local_check *k; (k = local_next_check_of(&it, none));) {
        if (after.n && bytes_eq_fold(k->def.id, after))
            continue;
        if (*left == 0)
            return false;
        --*left;
        if (!check_is_there(w, k))
            found(w, LOCAL_DIFF_CHECK, k->def.id);
        remember(c, k->def.id);
        after = none;
    }
    return true;
}

static void look_for_services(const struct walk *w)
{
    struct tree_iter it;
    struct service_view v;

    tree_first(&w->node->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        cat_service_view(i->service, &v);
        if (!local_service(w->l, v.id) &&
            !bytes_eq_fold(v.id, w->me->keep_service))
            found(w, LOCAL_DIFF_SERVICE, v.id);
    }
}

static void look_for_checks(const struct walk *w)
{
    struct tree_iter it;
    struct check_view v;

    tree_first(&w->node->checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));) {
        cat_check_view(r, &v);
        if (local_check(w->l, v.id) || bytes_eq_fold(v.id, w->me->keep_check))
            continue;
        /* A check of a service goes with it, or in its plan. */
        if (v.service_id.n && local_service(w->l, v.service_id))
            found(w, LOCAL_DIFF_SERVICE, v.service_id);
        else if (!v.service_id.n || !cat_node_service(w->node, v.service_id))
            found(w, LOCAL_DIFF_CHECK, v.id);
    }
}

static void look_for_strangers(const struct walk *w)
{
    if (!w->node)
        return;
    if (w->node->services.n != w->c->services)
        look_for_services(w);
    if (w->node->checks.n != w->c->checks)
        look_for_checks(w);
}

static bool one_phase(const struct walk *w, size_t *left)
{
    switch ((enum phase)w->c->phase) {
    case PHASE_NODE:
        look_at_node(w);
        return true;
    case PHASE_SERVICES:
        return look_at_services(w, left);
    case PHASE_CHECKS:
        return look_at_checks(w, left);
    case PHASE_STRANGERS:
        look_for_strangers(w);
        return true;
    }
    return true;
}

bool local_scan(struct local_scan *c, const struct local_snapshot *l,
                const struct snapshot *s, const struct local_identity *me,
                size_t max,
                void (*differs)(void *ctx, enum local_difference what,
                                struct bytes id),
                void *ctx)
{
    const struct walk w = {c,       l,  me, snapshot_node(s, me->node.name),
                           differs, ctx};
    while (c->phase <= PHASE_STRANGERS) {
        if (!one_phase(&w, &max))
            return false;
        next_phase(c);
    }
    c->phase = PHASE_NODE;
    c->services = c->checks = 0;
    return true;
}
