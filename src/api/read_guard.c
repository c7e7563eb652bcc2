/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/guard - whom the guard holds, what it has let go in each window,
 * which checks are damped; PUT /v1/muster/guard/release/:service - an operator's
 * word that held instances are dead indeed. */
#include "api/impl.h"
#include "catalog/guard.h"
#include "catalog/plan_guard.h"

#include <stdlib.h>

/* --- Whom ---------------------------------------------------------------- */

/* A walk over the instances that have a held or damped check of their own or of
 * their node: each once, in order of node. */
struct marked {
    const struct api_env *env;
    struct bytes service; /* only instances of it; empty: all */
    struct tree_iter checks, services;
    const struct cat_node *node; /* of a check of the node in hand */
    struct membership m;
    const struct cat_name *asked; /* whose that is */
    /* What was found. */
    const struct cat_node *of;
    const struct cat_instance *instance;
    const struct cat_name *name;
    enum member is;
};

static const struct cat_record *first_marked(const struct cat_record *const *v,
                                             uint32_t n)
{
    struct check_view k;
    for (uint32_t i = 0; i < n; i++) {
        cat_check_view(v[i], &k);
        if (k.marks.held || k.marks.damped)
            return v[i];
    }
    return NULL;
}

static const struct cat_record *own_marked(const struct cat_node *n)
{
    return n->own ? first_marked(n->own->v, n->own->n) : NULL;
}

/* The instance, if the check is the one by which it is found. */
static const struct cat_instance *found_by(struct marked *m,
                                           const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    const struct cat_node *n = snapshot_node(m->env->cat, v.node);
    if (!n)
        return NULL;
    m->of = n;
    if (v.service_id.n == 0) {
        if (own_marked(n) == r) {
            m->node = n;
            tree_first(&n->services, &m->services);
        }
        return NULL;
    }
    const struct cat_instance *i =
        own_marked(n) ? NULL : cat_node_service(n, v.service_id);
    return i && first_marked(i->checks, i->check_count) == r ? i : NULL;
}

static const struct cat_instance *next_instance(struct marked *m, bool *ret_end)
{
    const struct cat_instance *i;
    const struct cat_record *r;
    *ret_end = false;
    if (m->node) {
        if ((i = tree_next(&m->services))) {
            m->of = m->node;
            return i;
        }
        m->node = NULL;
    }
    r = snapshot_next_marked(&m->checks);
    *ret_end = r == NULL;
    return r ? found_by(m, r) : NULL;
}

static void marked_begin(struct marked *m, const struct api_env *env,
                         struct bytes service)
{
    *m = (struct marked){.env = env, .service = service};
    snapshot_marked(env->cat, &m->checks);
}

static bool marked_next(struct marked *m)
{
    bool end;
    for (;;) {
        struct service_view v;
        m->instance = next_instance(m, &end);
        if (end)
            return false;
        if (!m->instance)
            continue;
        cat_service_view(m->instance->service, &v);
        m->name = snapshot_name(m->env->cat, v.name);
        if (!m->name || (m->service.n && !bytes_eq_fold(v.name, m->service)))
            continue;
        if (m->asked != m->name)
            membership_begin(&m->m, m->env->cat, m->name);
        m->asked = m->name;
        m->is = member_of(&m->m, m->of, m->instance);
        return true;
    }
}

/* --- The read ------------------------------------------------------------ */

static void put_held_check(struct json_out *j, const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    json_open(j, '{');
    json_key(j, "CheckID");
    json_str(j, v.id);
    json_key(j, "OfNode");
    json_bool(j, v.service_id.n == 0);
    json_key(j, "Cause");
    json_str(j, bytes_str(cause_text(&v)));
    encode_moment(j, "Since", v.marks.since_ms);
    encode_moment(j, "HeldSince", v.marks.held_ms);
    json_key(j, "Output");
    json_str(j, v.output);
    json_close(j, '}');
}

static void put_who(struct json_out *j, const struct marked *m)
{
    struct node_view nv;
    struct service_view sv;
    cat_node_view(m->of->record, &nv);
    cat_service_view(m->instance->service, &sv);
    json_key(j, "Service");
    json_str(j, sv.name);
    json_key(j, "Node");
    json_str(j, nv.name);
    json_key(j, "ServiceID");
    json_str(j, sv.id);
    json_key(j, "Address");
    json_str(j, sv.address.n ? sv.address : nv.address);
    json_key(j, "Port");
    json_i64(j, sv.port);
}

static void put_held(struct json_out *j, const struct marked *m)
{
    const struct cat_node_checks *own = m->of->own;
    json_open(j, '{');
    put_who(j, m);
    json_key(j, "Checks");
    json_open(j, '[');
    for (uint32_t k = 0; own && k < own->n; k++)
        if (member_check_held(&m->m, m->instance, own->v[k]))
            put_held_check(j, own->v[k]);
    for (uint32_t k = 0; k < m->instance->check_count; k++)
        if (member_check_held(&m->m, m->instance, m->instance->checks[k]))
            put_held_check(j, m->instance->checks[k]);
    json_close(j, ']');
    json_close(j, '}');
}

static void put_damped(struct json_out *j, const struct marked *m,
                       const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    json_open(j, '{');
    put_who(j, m);
    json_key(j, "CheckID");
    json_str(j, v.id);
    json_key(j, "Penalty");
    json_u64(j, v.marks.penalty);
    encode_moment(j, "Until", v.marks.damped_until_ms);
    json_key(j, "Suppressed");
    json_bool(j, m->is == MEMBER_SUPPRESSED);
    json_close(j, '}');
}

static void number(struct json_out *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

static void put_window(struct json_out *j, const struct cat_record *r)
{
    struct guard_view g;
    cat_guard_view(r, &g);
    json_open(j, '{');
    json_key(j, "Service");
    json_str(j, g.name);
    number(j, "Answered", g.base);
    number(j, "Left", g.left);
    number(j, "MayLeave", guard_leaves_allowed(g.reg_base, g.base));
    number(j, "Registered", g.reg_base);
    number(j, "Removed", g.reg_left);
    number(j, "MayBeRemoved", guard_removals_allowed(g.reg_base));
    number(j, "LetOut", g.out.n);
    json_key(j, "ModifyIndex");
    json_u64(j, g.modify_rev);
    json_close(j, '}');
}

static void put_windows(struct json_out *j, const struct api_env *env,
                        struct bytes service)
{
    struct tree_iter it;
    json_key(j, "Windows");
    json_open(j, '[');
    snapshot_guards(env->cat, &it);
    for (const struct cat_record *r; (r = snapshot_next_guard(&it));) {
        struct guard_view g;
        cat_guard_view(r, &g);
        if (service.n == 0 || bytes_eq_fold(g.name, service))
            put_window(j, r);
    }
    json_close(j, ']');
}

void read_guard(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct bytes service = http_param_value(c->request, "service");
    struct marked m;
    json_open(&j, '{');
    json_key(&j, "Mode");
    json_str(&j, bytes_str(guard_mode_name(env->self->guard)));
    json_key(&j, "WindowMs");
    json_u64(&j, env->self->guard_window_ms);
    json_key(&j, "Held");
    json_open(&j, '[');
    marked_begin(&m, env, service);
    while (marked_next(&m))
        if (m.is == MEMBER_HELD)
            put_held(&j, &m);
    json_close(&j, ']');
    json_key(&j, "Damped");
    json_open(&j, '[');
    marked_begin(&m, env, service);
    while (marked_next(&m)) {
        const struct cat_record *r = member_damped(m.of, m.instance);
        if (r)
            put_damped(&j, &m, r);
    }
    json_close(&j, ']');
    put_windows(&j, env, service);
    json_close(&j, '}');
}

/* --- The write ----------------------------------------------------------- */

/* Of the service the held ones that are asked for. */
struct asked {
    struct guard_who *v;
    size_t n, cap;
};

static bool asked_add(struct arena *a, struct asked *w, struct bytes node,
                      struct bytes id)
{
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16;
        struct guard_who *v = arena_alloc(a, cap * sizeof *v);
        if (!v)
            return false;
        if (w->n)
            memcpy(v, w->v, w->n * sizeof *v);
        w->v = v;
        w->cap = cap;
    }
    w->v[w->n++] = (struct guard_who){node, id};
    return true;
}

static bool find_asked(struct api_call *c, const struct api_env *env,
                       struct asked *w)
{
    struct bytes node = http_param_value(c->request, "node");
    struct bytes id = http_param_value(c->request, "id");
    struct marked m;
    marked_begin(&m, env, c->arg);
    while (marked_next(&m)) {
        struct service_view sv;
        cat_service_view(m.instance->service, &sv);
        if (m.is != MEMBER_HELD || (node.n && !bytes_eq_fold(node, sv.node)) ||
            (id.n && !bytes_eq_fold(id, sv.id)))
            continue;
        if (!asked_add(c->arena, w, sv.node, sv.id))
            return false;
    }
    return true;
}

static void put_released(struct api_call *c, size_t done, size_t of)
{
    struct json_out j = json_out(&c->body);
    c->status = 200;
    c->content_type = "application/json";
    json_open(&j, '{');
    json_key(&j, "Service");
    json_str(&j, c->arg);
    number(&j, "Released", done);
    number(&j, "Remaining",
           of - done); /* more than a change holds: ask again */
    json_close(&j, '}');
}

enum api_next write_guard_release(struct api_call *c, const struct api_env *env,
                                  struct plan *p)
{
    struct asked w = {0};
    struct errtext t = {{0}};
    size_t done;
    bool bound;
    if (!find_asked(c, env, &w)) {
        api_error(c, 500, "out of memory");
        return API_ANSWER;
    }
    if (w.n == 0) {
        api_error(c, 404,
                  "no instance of service \"%.*s\" that was asked for is held; "
                  "GET /v1/muster/guard lists those that are",
                  BYTES_ARG(bytes_head(c->arg, 80)));
        return API_ANSWER;
    }
    enum err e = plan_guard_release(p, env->cat, w.v, w.n, RELEASE_OPERATOR,
                                    env->self->guard, &done, &bound, &t);
    if (e != ERR_OK) {
        api_error(c, 500, "%s", t.s[0] ? t.s : err_text(e));
        return API_ANSWER;
    }
    put_released(c, done, w.n);
    return p->op_count ? API_WRITE : API_ANSWER;
}
