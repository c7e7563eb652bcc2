/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Format: a kind byte, the node's name, then
 *     register    flags, guard mode, wall_ms, the node's record; with WITH_SERVICE
 *                 the service's; a count, and so many checks'
 *     deregister  service ID, check ID
 *     reap        service ID, guard mode
 * Texts and records with their length before them, numbers as varints. */
#include "catalog/wish.h"

#include <stdio.h>

#include "base/reader.h"
#include "catalog/plan_impl.h"

enum wish_kind { WISH_REGISTER = 'r', WISH_DEREGISTER = 'd', WISH_REAP = 'x' };

enum wish_flag {
    SKIP_NODE_UPDATE = 1,
    WITH_SERVICE = 2,
    REPLACE_CHECKS = 4,
    ALL_FLAGS = 7
};

/* --- Out ----------------------------------------------------------------- */

void wishes_begin(struct plan *p, struct arena *a)
{
    plan_init(p, a);
    p->wishes = true;
}

static void put_head(struct buf *b, enum wish_kind kind, struct bytes node)
{
    buf_putc(b, (char)kind);
    buf_lp(b, node);
}

static void put_record(struct buf *out, struct buf *record)
{
    buf_lp(out, buf_bytes(record));
    out->bad |= record->bad;
    buf_reset(record);
}

/* The buffer is freed. */
static enum err add(struct plan *plan, const struct snapshot *s,
                    struct buf *take, struct errtext *t)
{
    struct planner p;
    char key[32];

    snprintf(key, sizeof key, "w/%zu", plan->op_count);
    planner_begin(&p, plan, s, t);
    if (take->bad)
        planner_fail(&p, ERR_NOMEM, "out of memory");
    else
        planner_put(&p, arena_copy(plan->arena, bytes_str(key)),
                    buf_bytes(take));
    enum err e = planner_end(&p);
    buf_fini(take);
    return e;
}

static void put_registration(struct buf *b, const struct registration *r)
{
    unsigned flags = (r->skip_node_update ? SKIP_NODE_UPDATE : 0u) |
                     (r->service ? WITH_SERVICE : 0u) |
                     (r->replace_checks ? REPLACE_CHECKS : 0u);
    struct buf record = {0};

    put_head(b, WISH_REGISTER, r->node.name);
    buf_putc(b, (char)flags);
    buf_putc(b, (char)r->guard);
    buf_varint(b, r->wall_ms);
    record_put_node(&record, &r->node);
    put_record(b, &record);
    if (r->service) {
        record_put_service(&record, r->service);
        put_record(b, &record);
    }
    buf_varint(b, r->check_count);
    for (size_t i = 0; i < r->check_count; i++) {
        record_put_check(&record, &r->checks[i]);
        put_record(b, &record);
    }
    buf_fini(&record);
}

/* What would write nothing, as far as can be seen from here, is no wish. */
enum err wish_register(struct plan *plan, const struct snapshot *s,
                       const struct registration *r, struct errtext *t)
{
    struct plan probe;
    struct buf b = {0};

    plan_init(&probe, plan->arena);
    enum err e = plan_register(&probe, s, r, t);
    if (e != ERR_OK || probe.op_count == 0)
        return e;
    put_registration(&b, r);
    return add(plan, s, &b, t);
}

enum err wish_deregister(struct plan *plan, const struct snapshot *s,
                         struct bytes node, struct bytes service_id,
                         struct bytes check_id, struct errtext *t)
{
    struct plan probe;
    struct buf b = {0};

    plan_init(&probe, plan->arena);
    enum err e = plan_deregister(&probe, s, node, service_id, check_id, t);
    if (e != ERR_OK || probe.op_count == 0)
        return e;
    put_head(&b, WISH_DEREGISTER, node);
    buf_lp(&b, service_id);
    buf_lp(&b, check_id);
    return add(plan, s, &b, t);
}

enum err wish_reap(struct plan *plan, const struct snapshot *s,
                   const struct guard_who *who, enum guard_mode guard,
                   struct errtext *t)
{
    const struct cat_node *n = snapshot_node(s, who->node);
    struct buf b = {0};

    if (!n || !cat_node_service(n, who->service_id))
        return ERR_OK;
    put_head(&b, WISH_REAP, who->node);
    buf_lp(&b, who->service_id);
    buf_putc(&b, (char)guard);
    return add(plan, s, &b, t);
}

/* --- In ------------------------------------------------------------------ */

static enum err refuse(struct errtext *t, const char *why)
{
    errtext_set(t, "a wish that cannot be read: %s", why);
    return ERR_BAD;
}

static bool read_guard(struct reader *r, enum guard_mode *ret)
{
    unsigned v = read_u8(r);

    *ret = (enum guard_mode)v;
    return v <= GUARD_MODE_OFF;
}

static enum err read_checks(struct reader *r, struct registration *g,
                            struct arena *a)
{
    uint64_t n = read_varint(r);

    if (r->bad || n > WISH_CHECKS_MAX)
        return ERR_BAD;
    struct check_view *v = arena_zalloc(a, (n + 1) * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    for (uint64_t i = 0; i < n; i++)
        if (record_get_check(read_lp(r), &v[i]) != ERR_OK)
            return ERR_BAD;
    g->checks = v;
    g->check_count = (size_t)n;
    return ERR_OK;
}

static enum err plan_registration(struct plan *p, const struct snapshot *s,
                                  struct reader *r, struct bytes node,
                                  struct errtext *t)
{
    struct registration g = {0};
    struct service_view service = {0};
    unsigned flags = read_u8(r);

    if ((flags & ~(unsigned)ALL_FLAGS) || !read_guard(r, &g.guard))
        return refuse(t, "flags");
    g.wall_ms = read_varint(r);
    if (record_get_node(read_lp(r), &g.node) != ERR_OK ||
        !bytes_eq_fold(g.node.name, node))
        return refuse(t, "the node");
    if (flags & WITH_SERVICE) {
        if (record_get_service(read_lp(r), &service) != ERR_OK)
            return refuse(t, "the service");
        g.service = &service;
    }
    enum err e = read_checks(r, &g, p->arena);
    if (e != ERR_OK || r->bad || reader_left(r))
        return e == ERR_NOMEM ? e : refuse(t, "its checks");
    g.skip_node_update = flags & SKIP_NODE_UPDATE;
    g.replace_checks = flags & REPLACE_CHECKS;
    return plan_register(p, s, &g, t);
}

static enum err plan_reaping(struct plan *p, const struct snapshot *s,
                             struct reader *r, struct bytes node,
                             bool *ret_wait, struct errtext *t)
{
    struct guard_who who = {node, read_lp(r)};
    enum guard_mode guard;

    if (!read_guard(r, &guard) || r->bad || reader_left(r))
        return refuse(t, "who is to go");
    return plan_reap(p, s, &who, guard, ret_wait, t);
}

enum err wish_plan(struct plan *p, const struct snapshot *s, struct bytes wish,
                   struct bytes node, bool *ret_wait, struct errtext *t)
{
    struct reader r = reader_over(wish);
    unsigned kind = read_u8(&r);
    struct bytes of = read_lp(&r);

    *ret_wait = false;
    if (r.bad || !of.n)
        return refuse(t, "it is too short");
    if (!bytes_eq_fold(of, node)) {
        errtext_set(t, "a wish about node \"%.*s\", sent for node \"%.*s\"",
                    BYTES_ARG(bytes_head(of, 64)),
                    BYTES_ARG(bytes_head(node, 64)));
        return ERR_BAD;
    }
    switch (kind) {
    case WISH_REGISTER:
        return plan_registration(p, s, &r, node, t);
    case WISH_DEREGISTER: {
        struct bytes service = read_lp(&r), check = read_lp(&r);
        if (r.bad || reader_left(&r))
            return refuse(t, "what is to go");
        return plan_deregister(p, s, node, service, check, t);
    }
    case WISH_REAP:
        return plan_reaping(p, s, &r, node, ret_wait, t);
    default:
        return refuse(t, "its kind");
    }
}
