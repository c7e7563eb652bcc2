/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "local/item.h"
#include "local/local.h"
#include "local/same.h"

/* --- Comparing ----------------------------------------------------------- */

bool same_node(const struct node_view *a, const struct node_view *b)
{
    return bytes_eq(a->name, b->name) && bytes_eq(a->id, b->id) &&
           bytes_eq(a->address, b->address) &&
           packed_eq(a->tagged, b->tagged) && packed_eq(a->meta, b->meta);
}

bool same_service(const struct service_view *a, const struct service_view *b)
{
    return bytes_eq(a->id, b->id) && bytes_eq(a->name, b->name) &&
           bytes_eq(a->kind, b->kind) && bytes_eq(a->address, b->address) &&
           packed_eq(a->tagged, b->tagged) && packed_eq(a->meta, b->meta) &&
           a->meta_set == b->meta_set && a->port == b->port &&
           a->weight_passing == b->weight_passing &&
           a->weight_warning == b->weight_warning &&
           a->enable_tag_override == b->enable_tag_override &&
           bytes_eq(a->proxy, b->proxy) && bytes_eq(a->connect, b->connect) &&
           bytes_eq(a->extra, b->extra);
}

/* Without its definition, as Consul's agents: URLs, headers and arguments hold
 * passwords, and everybody reads the catalog. */
struct check_view check_as_view(const struct local_check *k)
{
    return (struct check_view){
        .id = k->def.id,
        .name = k->def.name,
        .status = bytes_str(status_name(k->status)),
        .notes = k->def.notes,
        .output = k->output,
        .service_id = k->def.service_id,
        .type = bytes_str(check_type_name(k->type)),
        .marks = k->marks,
    };
}

static bool is_critical(const struct check_view *v)
{
    return bytes_is(v->status, "critical");
}

/* What is silent here may be there for a stronger cause, or held: nobody's
 * word takes back what was evidence. But for a time-out, which a starved prober
 * does take back. And evidence ends silence, so that the guard lets go. */
static bool cause_stands(enum check_cause here, enum check_cause there)
{
    switch (here) {
    case CAUSE_SILENCE:
        return there != CAUSE_TIMEOUT;
    case CAUSE_EVIDENCE:
    case CAUSE_TIMEOUT:
        break;
    }
    return there != CAUSE_SILENCE;
}

static bool same_marks(const struct check_view *here,
                       const struct check_view *there)
{
    return here->marks.damped == there->marks.damped &&
           (!is_critical(here) ||
            cause_stands(here->marks.cause, there->marks.cause));
}

bool same_check(const struct check_view *here, const struct check_view *there)
{
    return bytes_eq(here->id, there->id) && bytes_eq(here->name, there->name) &&
           bytes_eq(here->status, there->status) &&
           bytes_eq(here->notes, there->notes) &&
           bytes_eq(here->service_id, there->service_id) &&
           bytes_eq(here->type, there->type) &&
           bytes_eq(here->definition, there->definition) &&
           same_marks(here, there);
}

/* --- Planning ------------------------------------------------------------ */

struct diff {
    struct plan *p;
    const struct local_snapshot *l;
    const struct snapshot *s;
    const struct local_identity *me;
    const struct cat_node *node; /* NULL: not in the catalog */
    bool with_output;
    struct errtext *t;
};

static struct registration registration_of(const struct diff *d)
{
    return (struct registration){
        .node = d->me->node,
        /* Its own difference, repaired on its own. */
        .skip_node_update = d->node != NULL,
        .wall_ms = d->me->wall_ms,
        .guard = d->me->guard,
    };
}

/* What the check should be in the catalog; false: it is so already. */
static bool check_wanted(const struct diff *d, const struct local_check *k,
                         struct check_view *ret)
{
    const struct cat_record *r =
        d->node ? cat_node_check(d->node, k->def.id) : NULL;
    struct check_view there;

    *ret = check_as_view(k);
    if (!r)
        return true;
    cat_check_view(r, &there);
    bool same = same_check(ret, &there);
    /* Only the output: the marks stay as they are there. */
    if (same)
        ret->marks = there.marks;
    return !same || (d->with_output && !bytes_eq(ret->output, there.output));
}

static enum err put_check(const struct diff *d, const struct local_check *k)
{
    struct registration r = registration_of(d);
    struct check_view v;

    if (!check_wanted(d, k, &v))
        return ERR_OK;
    r.checks = &v;
    r.check_count = 1;
    return plan_register(d->p, d->s, &r, d->t);
}

static enum err drop_check(const struct diff *d, struct bytes id)
{
    if (bytes_eq_fold(id, d->me->keep_check))
        return ERR_OK;
    return plan_deregister(d->p, d->s, d->me->node.name, (struct bytes){0}, id,
                           d->t);
}

static enum err drop_service(const struct diff *d, struct bytes id)
{
    if (bytes_eq_fold(id, d->me->keep_service))
        return ERR_OK;
    return plan_deregister(d->p, d->s, d->me->node.name, id, (struct bytes){0},
                           d->t);
}

/* A service that the catalog does not have, with its first checks: a check can
 * only be planned with its service or after it. */
static enum err put_new_service(const struct diff *d,
                                const struct local_service *v, bool *ret_more)
{
    struct registration r = registration_of(d);
    struct check_view *checks = xmalloc(LOCAL_DIFF_CHECKS_MAX * sizeof *checks);
    struct tree_iter it;

    local_checks_of(d->l, v->view.id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, v->view.id));) {
        if (r.check_count == LOCAL_DIFF_CHECKS_MAX) {
            *ret_more = true;
            break;
        }
        checks[r.check_count++] = check_as_view(k);
    }
    r.service = &v->view;
    r.checks = checks;
    enum err e = plan_register(d->p, d->s, &r, d->t);
    free(checks);
    return e;
}

static enum err put_checks_of(const struct diff *d, struct bytes service_id,
                              size_t *left, bool *ret_more)
{
    struct tree_iter it;
    enum err e = ERR_OK;

    local_checks_of(d->l, service_id, &it);
    for (const struct local_check *k;
         e == ERR_OK && (k = local_next_check_of(&it, service_id));) {
        struct check_view v;
        if (!check_wanted(d, k, &v))
            continue;
        if (*left == 0) {
            *ret_more = true;
            break;
        }
        --*left;
        e = put_check(d, k);
    }
    return e;
}

static enum err drop_checks_of(const struct diff *d,
                               const struct cat_instance *i, size_t *left,
                               bool *ret_more)
{
    enum err e = ERR_OK;

    for (uint32_t n = 0; e == ERR_OK && n < i->check_count; n++) {
        struct check_view v;
        cat_check_view(i->checks[n], &v);
        if (local_check(d->l, v.id))
            continue;
        if (*left == 0) {
            *ret_more = true;
            break;
        }
        --*left;
        e = drop_check(d, v.id);
    }
    return e;
}

static enum err put_service(const struct diff *d, const struct local_service *v,
                            const struct cat_instance *i, bool *ret_more)
{
    struct service_view there;
    size_t left = LOCAL_DIFF_CHECKS_MAX;
    enum err e = ERR_OK;

    cat_service_view(i->service, &there);
    if (!same_service(&v->view, &there) ||
        !packed_eq(v->view.tags, there.tags)) {
        struct registration r = registration_of(d);
        r.service = &v->view;
        e = plan_register(d->p, d->s, &r, d->t);
    }
    if (e == ERR_OK)
        e = put_checks_of(d, v->view.id, &left, ret_more);
    if (e == ERR_OK)
        e = drop_checks_of(d, i, &left, ret_more);
    return e;
}

enum err local_diff_service(struct plan *p, const struct local_snapshot *l,
                            const struct snapshot *s,
                            const struct local_identity *me,
                            struct bytes service_id, bool with_output,
                            bool *ret_more, struct errtext *t)
{
    const struct cat_node *node = snapshot_node(s, me->node.name);
    const struct diff d = {p, l, s, me, node, with_output, t};
    const struct local_service *v = local_service(l, service_id);
    const struct cat_instance *i =
        node ? cat_node_service(node, service_id) : NULL;

    *ret_more = false;
    if (v && i)
        return put_service(&d, v, i, ret_more);
    if (v)
        return put_new_service(&d, v, ret_more);
    return i ? drop_service(&d, service_id) : ERR_OK;
}

enum err local_diff_check(struct plan *p, const struct local_snapshot *l,
                          const struct snapshot *s,
                          const struct local_identity *me,
                          struct bytes check_id, bool with_output,
                          struct errtext *t)
{
    const struct cat_node *node = snapshot_node(s, me->node.name);
    const struct diff d = {p, l, s, me, node, with_output, t};
    const struct local_check *k = local_check(l, check_id);

    if (k)
        return put_check(&d, k);
    return node && cat_node_check(node, check_id) ? drop_check(&d, check_id)
                                                  : ERR_OK;
}

enum err local_diff_node(struct plan *p, const struct snapshot *s,
                         const struct local_identity *me, struct errtext *t)
{
    const struct registration r = {.node = me->node};
    return plan_register(p, s, &r, t);
}
