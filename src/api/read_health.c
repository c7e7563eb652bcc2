/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/impl.h"

#include <stdlib.h>

/* --- /health/service ----------------------------------------------------- */

bool answered_row(struct api_call *c, const struct api_env *env,
                  const struct cat_name *name, const struct cat_node *n,
                  const struct cat_instance *i, struct filter_row *row)
{
    row->held = false;
    row->is = MEMBER_OUT;
    if (!name)
        return !c->passing;
    struct answered *a = &c->answered;
    if (a->name != name || a->revision != snapshot_revision(env->cat)) {
        membership_begin(&a->m, env->cat, name);
        if (name->damped) /* all of them were looked at */
            c->cost += COST_CHECK * (uint32_t)name->instances.n;
        a->name = name;
        a->revision = snapshot_revision(env->cat);
    }
    row->is = member_of(&a->m, n, i);
    row->held = c->passing && row->is == MEMBER_HELD;
    return !c->passing || member_is_in(row->is);
}

static void put_check(struct encoder *e, const struct filter_row *row,
                      const struct cat_record *r, bool of_node)
{
    const struct service_view *sv = &row->service;
    struct check_view v;
    cat_check_view(r, &v);
    if (row->held)
        v.status = bytes_str("passing");
    encode_check(e, row->node.name, &v, of_node ? (struct bytes){0} : sv->name,
                 of_node ? NULL : &sv->tags);
}

void put_checks(struct encoder *e, const struct filter_row *row)
{
    const struct cat_node_checks *own = row->node_checks;
    const struct cat_instance *i = row->instance;
    json_open(&e->j, '[');
    for (uint32_t k = 0; own && k < own->n; k++)
        put_check(e, row, own->v[k], true);
    for (uint32_t k = 0; k < i->check_count; k++)
        put_check(e, row, i->checks[k], false);
    json_close(&e->j, ']');
}

static bool is_draining(const struct cat_instance *i)
{
    struct check_view v;
    for (uint32_t k = 0; k < i->check_count; k++) {
        cat_check_view(i->checks[k], &v);
        if (local_is_drain(v.id) && !bytes_is(v.status, "passing"))
            return true;
    }
    return false;
}

/* What Consul's answers cannot say: why the instance is in the answers of
 * ?passing, or out of them, against its checks; nothing where there is nothing
 * to say. To be held changes nothing in those answers, and wakes nobody. */
static void put_membership(struct encoder *e, const struct filter_row *row)
{
    const struct cat_node *n = snapshot_node_of(e->env->cat, row->instance);
    struct json_out *j = &e->j;
    struct check_view v;
    uint64_t ready_ms = 0;
    if (member_is_in(row->is))
        ready_ms = member_ready_ms(n, row->instance);
    encode_aside_begin(e);
    if (row->is == MEMBER_HELD) {
        json_key(j, "Held");
        json_bool(j, true);
    }
    if (ready_ms)
        encode_moment(j, "ReadySince", ready_ms);
    encode_aside_end(e);
    if (row->is == MEMBER_SUPPRESSED) {
        cat_check_view(member_damped(n, row->instance), &v);
        encode_moment(j, "DampedUntil", v.marks.damped_until_ms);
    }
    if (is_draining(row->instance)) {
        json_key(j, "Draining");
        json_bool(j, true);
    }
}

void put_health_entry(struct encoder *e, const struct filter_row *row)
{
    json_open(&e->j, '{');
    json_key(&e->j, "Node");
    encode_node(e, &row->node);
    json_key(&e->j, "Service");
    encode_node_service(e, &row->service);
    json_key(&e->j, "Checks");
    put_checks(e, row);
    put_membership(e, row);
    json_close(&e->j, '}');
}

bool row_of_health(struct api_call *c, struct encoder *e,
                   const struct row_of *of)
{
    const struct cat_node *n = of->node;
    const struct cat_instance *i = of->instance;
    struct filter_row row = filter_row(e->env);
    const struct cat_name *name = of->name;
    if (!name) {
        cat_service_view(i->service, &row.service);
        name = snapshot_name(e->env->cat, row.service.name);
    }
    if (!answered_row(c, e->env, name, n, i, &row))
        return false;
    cat_node_view(n->record, &row.node);
    cat_service_view(i->service, &row.service);
    row.node_checks = n->own;
    row.instance = i;
    if (!node_meta_matches(c, &row.node) || !tags_match(c, &row.service) ||
        !row_is_wanted(c, &row))
        return false;
    c->cost += COST_NODE + COST_SERVICE + COST_CHECK * i->check_count;
    c->held += row.held;
    near_row(c, e->env, row.node.name);
    put_health_entry(e, &row);
    return true;
}

void read_health_service(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, true);
    const struct cat_name *name = snapshot_name(env->cat, c->arg);
    json_open(&e.j, '[');
    if (name) {
        struct tree_iter it;
        tree_first(&name->instances, &it);
        for (const struct cat_instance *i; (i = tree_next(&it));) {
            const struct cat_node *n = snapshot_node_of(env->cat, i);
            if (!api_spend(c, COST_SKIP))
                break;
            if (n)
                (void)row_of_health(c, &e,
                                    &(struct row_of){n, i, .name = name});
        }
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* --- Lists of checks ----------------------------------------------------- */

static bool put_check_of_node(struct encoder *e, struct api_call *c,
                              const struct cat_node *n, struct bytes node_name,
                              const struct cat_record *r)
{
    struct filter_row row = filter_row(e->env);
    struct filter_check *k = &row.check;
    k->node_name = node_name;
    cat_check_view(r, &k->check);
    check_service(n, &k->check, &k->service_name, &k->service_tags);
    if (!row_is_wanted(c, &row))
        return false;
    near_row(c, e->env, node_name);
    encode_check(e, node_name, &k->check, k->service_name, &k->service_tags);
    return true;
}

/* One check of the three lists below. */
bool row_of_check(struct api_call *c, struct encoder *e,
                  const struct row_of *of)
{
    struct node_view nv;
    struct check_view v;
    struct bytes service = {0};
    struct packed tags;
    cat_node_view(of->node->record, &nv);
    cat_check_view(of->check, &v);
    switch (c->watch.kind) {
    case WATCH_NODE_CHECKS: /* ?node-meta is not looked at there */
        break;
    case WATCH_SERVICE_CHECKS:
        check_service(of->node, &v, &service, &tags);
        if (!bytes_eq_fold(service, c->arg) || !node_meta_matches(c, &nv))
            return false;
        break;
    default:
        if (!bytes_is(c->arg, "any") && !bytes_eq(v.status, c->arg))
            return false;
        if (!node_meta_matches(c, &nv))
            return false;
    }
    return put_check_of_node(e, c, of->node, nv.name, of->check);
}

void read_health_node(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_node *n = snapshot_node(env->cat, c->arg);
    json_open(&e.j, '[');
    if (n) {
        struct node_view nv;
        struct tree_iter it;
        cat_node_view(n->record, &nv);
        tree_first(&n->checks, &it);
        for (const struct cat_record *r;
             api_spend(c, COST_CHECK) && (r = tree_next(&it));)
            (void)put_check_of_node(&e, c, n, nv.name, r);
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* Checks of several instances on one node come in order of check ID: they are
 * collected and sorted node by node. */
struct found_check {
    const struct cat_record *record;
    struct bytes id;
};

struct found_checks {
    struct found_check *v;
    size_t n, cap;
    bool failed;
};

static int by_check_id(const void *a, const void *b)
{
    return bytes_cmp_fold(((const struct found_check *)a)->id,
                          ((const struct found_check *)b)->id);
}

static void found_add(struct found_checks *f, const struct cat_record *r)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 32;
        struct found_check *v = realloc(f->v, cap * sizeof *v);
        if (!v) {
            f->failed = true;
            return;
        }
        f->v = v;
        f->cap = cap;
    }
    struct check_view v;
    cat_check_view(r, &v);
    f->v[f->n++] = (struct found_check){r, v.id};
}

static void found_put(struct encoder *e, struct api_call *c,
                      struct found_checks *f, const struct cat_node *n)
{
    struct node_view nv;
    if (f->n == 0 || !n)
        return;
    cat_node_view(n->record, &nv);
    if (node_meta_matches(c, &nv)) {
        qsort(f->v, f->n, sizeof *f->v, by_check_id);
        for (size_t i = 0; i < f->n; i++)
            (void)put_check_of_node(e, c, n, nv.name, f->v[i].record);
    }
    f->n = 0;
}

void read_health_checks(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_name *name = snapshot_name(env->cat, c->arg);
    struct found_checks found = {0};
    const struct cat_node *at = NULL;
    json_open(&e.j, '[');
    if (name) {
        struct tree_iter it;
        tree_first(&name->instances, &it);
        for (const struct cat_instance *i; (i = tree_next(&it));) {
            const struct cat_node *n = snapshot_node_of(env->cat, i);
            if (!api_spend(c, COST_SKIP + COST_CHECK * i->check_count))
                break;
            if (n != at)
                found_put(&e, c, &found, at);
            at = n;
            for (uint32_t k = 0; n && k < i->check_count; k++)
                found_add(&found, i->checks[k]);
        }
        found_put(&e, c, &found, at);
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
    free(found.v);
    if (found.failed)
        api_error(c, 500, "out of memory for the answer");
}

void read_health_state(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    bool any = bytes_is(c->arg, "any");
    struct tree_iter nodes;
    json_open(&e.j, '[');
    snapshot_nodes(env->cat, &nodes);
    for (const struct cat_node *n; (n = snapshot_next_node(&nodes));) {
        struct node_view nv;
        struct tree_iter it;
        cat_node_view(n->record, &nv);
        if (!api_spend(c, COST_SKIP))
            break;
        if (!node_meta_matches(c, &nv))
            continue;
        tree_first(&n->checks, &it);
        for (const struct cat_record *r; (r = tree_next(&it));) {
            struct check_view v;
            cat_check_view(r, &v);
            if (!any && !bytes_eq(v.status, c->arg)) {
                c->cost++;
                continue;
            }
            c->cost += COST_CHECK;
            (void)put_check_of_node(&e, c, n, nv.name, r);
        }
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}
