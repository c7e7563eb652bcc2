/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/entries.h"

#include "api/impl.h"

static const struct bytes none = {NULL, 0};

bool entries_has(const struct api_call *c)
{
    return c->route && c->route->set != SET_NONE;
}

/* --- Which there may be -------------------------------------------------- */

static struct entry of_node(const struct cat_node *n)
{
    struct node_view v;
    cat_node_view(n->record, &v);
    return (struct entry){.kind = ENTRY_NODE, .a = v.name};
}

static struct entry of_instance(const struct cat_instance *i)
{
    struct service_view v;
    cat_service_view(i->service, &v);
    return (struct entry){
        .kind = ENTRY_INSTANCE, .a = v.node, .b = v.id, .name = v.name};
}

static struct entry of_check(const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    return (struct entry){.kind = ENTRY_CHECK, .a = v.node, .b = v.id};
}

static bool next_node(const struct api_env *env, const struct entry *after,
                      const struct cat_node **ret)
{
    struct tree_iter it;
    if (after)
        snapshot_nodes_after(env->cat, after->a, &it);
    else
        snapshot_nodes(env->cat, &it);
    *ret = snapshot_next_node(&it);
    return *ret != NULL;
}

static struct entry of_name(struct bytes name)
{
    return (struct entry){.kind = ENTRY_NAME, .a = name};
}

static bool next_name(const struct api_env *env, const struct entry *after,
                      struct entry *ret)
{
    struct tree_iter it;
    if (after)
        snapshot_names_after(env->cat, after->a, &it);
    else
        snapshot_names(env->cat, &it);
    const struct cat_name *n = snapshot_next_name(&it);
    if (n)
        *ret = of_name(bytes_of(n->name, n->name_len));
    return n != NULL;
}

static bool next_of_name(const struct cat_name *name, const struct entry *after,
                         struct entry *ret)
{
    struct tree_iter it;
    if (!name)
        return false;
    if (after)
        cat_instances_after(name, after->a, after->b, &it);
    else
        tree_first(&name->instances, &it);
    const struct cat_instance *i = tree_next(&it);
    if (i)
        *ret = of_instance(i);
    return i != NULL;
}

/* A service or a check of this node, behind `after` (empty: the first). */
static bool next_on(const struct cat_node *n, bool checks, struct bytes after,
                    struct entry *ret)
{
    struct tree_iter it;
    if (checks)
        cat_checks_after(n, after, &it);
    else
        cat_services_after(n, after, &it);
    const void *item = tree_next(&it);
    if (!item)
        return false;
    *ret = checks ? of_check(item) : of_instance(item);
    return true;
}

static bool next_anywhere(const struct api_env *env, bool checks,
                          const struct entry *after, struct entry *ret)
{
    const struct cat_node *n = after ? snapshot_node(env->cat, after->a) : NULL;
    struct entry at;
    if (n && next_on(n, checks, after->b, ret))
        return true;
    while (next_node(env, after, &n)) {
        if (next_on(n, checks, none, ret))
            return true;
        at = of_node(n);
        after = &at;
    }
    return false;
}

/* The instance's first check behind `from`, if it comes before *best. */
static void better_check(const struct cat_instance *i, struct bytes from,
                         const struct cat_record **best)
{
    struct check_view v, b;
    for (uint32_t k = 0; k < i->check_count; k++) {
        cat_check_view(i->checks[k], &v);
        if (bytes_cmp_fold(v.id, from) <= 0)
            continue;
        if (*best)
            cat_check_view(*best, &b);
        if (!*best || bytes_cmp_fold(v.id, b.id) < 0)
            *best = i->checks[k];
        return; /* they are in order */
    }
}

/* In order of node, then of check ID, as if the node had no other checks. */
static bool next_check_of_name(const struct cat_name *name,
                               const struct entry *after, struct entry *ret)
{
    struct tree_iter it;
    struct bytes node = none;
    const struct cat_record *best = NULL;
    if (!name)
        return false;
    cat_instances_after(name, after ? after->a : none, none, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct entry at = of_instance(i);
        if (node.p && !bytes_eq_fold(at.a, node) && best)
            break;
        node = at.a;
        bool same = after && bytes_eq_fold(at.a, after->a);
        better_check(i, same ? after->b : none, &best);
    }
    if (best)
        *ret = of_check(best);
    return best != NULL;
}

static bool next_of_node(const struct cat_node *n, const struct entry *after,
                         struct entry *ret)
{
    if (!n)
        return false;
    if (after)
        return next_on(n, false,
                       after->kind == ENTRY_INSTANCE ? after->b : none, ret);
    *ret = of_node(n);
    return true;
}

bool entry_next(const struct api_call *c, const struct api_env *env,
                const struct entry *after, struct entry *ret)
{
    const struct cat_node *n;
    switch (c->route->set) {
    case SET_NONE:
        return false;
    case SET_NODES:
        if (!next_node(env, after, &n))
            return false;
        *ret = of_node(n);
        return true;
    case SET_NAMES:
        return next_name(env, after, ret);
    case SET_OF_NAME:
        return next_of_name(snapshot_name(env->cat, c->arg), after, ret);
    case SET_OF_NODE:
        return next_of_node(find_node(c, env), after, ret);
    case SET_INSTANCES:
        return next_anywhere(env, false, after, ret);
    case SET_CHECKS_OF_NODE:
        n = snapshot_node(env->cat, c->arg);
        return n && next_on(n, true, after ? after->b : none, ret);
    case SET_CHECKS_OF_NAME:
        return next_check_of_name(snapshot_name(env->cat, c->arg), after, ret);
    case SET_CHECKS:
        return next_anywhere(env, true, after, ret);
    }
    return false;
}

/* --- Which a change may concern ------------------------------------------ */

struct touched {
    struct api_call *c;
    const struct api_env *env;
    const struct cat_change *ch;
    void (*each)(void *ctx, const struct entry *e);
    void *ctx;
};

static void tell(const struct touched *t, enum entry_kind kind, struct bytes a,
                 struct bytes b)
{
    struct entry e = {.kind = kind, .a = a, .b = b};
    t->each(t->ctx, &e);
}

/* Unless its service is none of those that are asked for. */
static void tell_instance(const struct touched *t, const struct entry *e)
{
    struct bytes prefix = t->c->prefix;
    if (prefix.n && e->name.n &&
        !bytes_eq_fold(bytes_head(e->name, prefix.n), prefix))
        return;
    t->each(t->ctx, e);
}

static void tell_changed(const struct touched *t)
{
    struct entry e = {.kind = ENTRY_INSTANCE,
                      .a = t->ch->node,
                      .b = t->ch->service_id,
                      .name = t->ch->name,
                      .reaped = t->ch->reaped};
    tell_instance(t, &e);
}

static void tell_checks_of(const struct touched *t,
                           const struct cat_instance *i)
{
    for (uint32_t k = 0; i && k < i->check_count; k++) {
        struct entry e = of_check(i->checks[k]);
        t->each(t->ctx, &e);
    }
}

/* All instances of the name on the change's node, or their checks. */
static void tell_name_on_node(const struct touched *t, bool checks)
{
    const struct cat_name *name = snapshot_name(t->env->cat, t->c->arg);
    struct tree_iter it;
    if (!name)
        return;
    cat_instances_after(name, t->ch->node, none, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct entry e = of_instance(i);
        if (!bytes_eq_fold(e.a, t->ch->node))
            return;
        if (checks)
            tell_checks_of(t, i);
        else
            t->each(t->ctx, &e);
    }
}

/* All instances of the change's node, or their names, or its checks. */
static void tell_all_on_node(const struct touched *t, enum entry_kind kind)
{
    const struct cat_node *n = snapshot_node(t->env->cat, t->ch->node);
    struct tree_iter it;
    struct service_view v;
    if (!n)
        return;
    tree_first(kind == ENTRY_CHECK ? &n->checks : &n->services, &it);
    for (const void *item; (item = tree_next(&it));) {
        struct entry e =
            kind == ENTRY_CHECK ? of_check(item) : of_instance(item);
        if (kind == ENTRY_NAME) {
            cat_service_view(((const struct cat_instance *)item)->service, &v);
            e = of_name(v.name);
        }
        tell_instance(t, &e);
    }
}

/* Damping and the guard judge the instances of a name together: with one of
 * them others may come or go, or be told otherwise. */
static bool judged_together(const struct touched *t)
{
    return t->c->route->rows == FILTER_HEALTH &&
           (t->ch->kind == RECORD_GUARD ||
            snapshot_marked_count(t->env->cat) > 0);
}

/* All of them, once. */
static void tell_whole_name(const struct touched *t, struct bytes text)
{
    const struct cat_name *name = snapshot_name(t->env->cat, text);
    struct tree_iter it;
    if (!name || t->c->told_whole)
        return;
    t->c->told_whole = t->c->route->set == SET_OF_NAME;
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct entry e = of_instance(i);
        tell_instance(t, &e);
    }
}

static void touch_instances(const struct touched *t)
{
    const struct cat_change *ch = t->ch;
    bool one_name = t->c->route->set == SET_OF_NAME;
    bool own_name = !one_name || bytes_eq_fold(ch->name, t->c->arg);
    bool out_moved = t->c->rows && ch->kind == RECORD_GUARD;
    if (ch->name.n && own_name && (out_moved || judged_together(t)))
        tell_whole_name(t, ch->name);
    if (ch->kind == RECORD_GUARD)
        return;
    if (one_name && !ch->name.n && judged_together(t)) /* of a node */
        tell_whole_name(t, t->c->arg);
    if (ch->service_id.n == 0) { /* a node, or a check of it */
        if (one_name)
            tell_name_on_node(t, false);
        else
            tell_all_on_node(t, ENTRY_INSTANCE);
        return;
    }
    if (own_name)
        tell_changed(t);
}

static void touch_checks(const struct touched *t)
{
    const struct cat_change *ch = t->ch;
    if (ch->kind == RECORD_GUARD)
        return;
    bool one_name = t->c->route->set == SET_CHECKS_OF_NAME;
    const struct cat_node *n;
    switch (ch->kind) {
    case RECORD_NODE:
        if (one_name)
            tell_name_on_node(t, true);
        else
            tell_all_on_node(t, ENTRY_CHECK);
        break;
    case RECORD_SERVICE:
        n = snapshot_node(t->env->cat, ch->node);
        if (n)
            tell_checks_of(t, cat_node_service(n, ch->service_id));
        break;
    case RECORD_CHECK:
        if (!one_name || ch->name.n == 0 || bytes_eq_fold(ch->name, t->c->arg))
            tell(t, ENTRY_CHECK, ch->node, ch->check_id);
        break;
    default:
        break;
    }
}

static void touch_names(const struct touched *t)
{
    if (t->ch->kind == RECORD_SERVICE)
        tell(t, ENTRY_NAME, t->ch->name, none);
    else if (t->ch->kind == RECORD_NODE && (t->c->meta_count || t->c->filter))
        tell_all_on_node(t, ENTRY_NAME);
}

void entries_touched(struct api_call *c, const struct api_env *env,
                     const struct cat_change *ch,
                     void (*each)(void *ctx, const struct entry *e), void *ctx)
{
    struct touched t = {c, env, ch, each, ctx};
    bool own = bytes_eq_fold(ch->node, c->watch.name);
    switch (c->route->set) {
    case SET_NONE:
        break;
    case SET_NODES:
        if (ch->kind == RECORD_NODE)
            tell(&t, ENTRY_NODE, ch->node, none);
        break;
    case SET_NAMES:
        touch_names(&t);
        break;
    case SET_OF_NAME:
    case SET_INSTANCES:
        touch_instances(&t);
        break;
    case SET_OF_NODE:
        if (own && ch->kind == RECORD_NODE)
            tell(&t, ENTRY_NODE, ch->node, none);
        else if (own && ch->kind == RECORD_SERVICE)
            tell_changed(&t);
        break;
    case SET_CHECKS_OF_NODE:
        if (own)
            touch_checks(&t);
        break;
    case SET_CHECKS_OF_NAME:
    case SET_CHECKS:
        touch_checks(&t);
        break;
    }
}

/* --- Reading one --------------------------------------------------------- */

bool entry_find(const struct api_call *c, const struct api_env *env,
                const struct entry *e, struct row_of *of)
{
    struct service_view v;
    *of = (struct row_of){0};
    if (e->kind == ENTRY_NAME) {
        of->name = snapshot_name(env->cat, e->a);
        return of->name != NULL;
    }
    of->node = snapshot_node(env->cat, e->a);
    if (!of->node)
        return false;
    if (e->kind == ENTRY_CHECK) {
        of->check = cat_node_check(of->node, e->b);
        return of->check != NULL;
    }
    if (e->kind == ENTRY_NODE)
        return true;
    of->instance = cat_node_service(of->node, e->b);
    if (!of->instance || c->route->set != SET_OF_NAME)
        return of->instance != NULL;
    cat_service_view(of->instance->service, &v);
    return bytes_eq_fold(v.name, c->arg);
}

/* The worst of what does not pass; the order is that of the words. */
enum why { WHY_PASSES, WHY_WARNING, WHY_SILENCE, WHY_CRITICAL, WHY_MEANT };

struct verdict {
    enum why why;
    const char *text;
};

static void judge(const struct cat_record *r, struct verdict *worst)
{
    struct check_view v;
    struct verdict is = {WHY_CRITICAL, "critical"};
    cat_check_view(r, &v);
    if (bytes_is(v.status, "passing"))
        return;
    if (local_is_drain(v.id))
        is = (struct verdict){WHY_MEANT, "drained"};
    else if (local_is_maintenance(v.id))
        is = (struct verdict){WHY_MEANT, "maintenance"};
    else if (bytes_is(v.status, "warning"))
        is = (struct verdict){WHY_WARNING, "warning"};
    else if (v.marks.cause == CAUSE_SILENCE)
        is = (struct verdict){WHY_SILENCE, "silence"};
    if (is.why > worst->why)
        *worst = is;
}

static const char *why_not(const struct api_call *c, const struct row_of *of)
{
    struct verdict worst = {WHY_PASSES, "filter"};
    if (!c->passing || !of->instance)
        return worst.text;
    const struct cat_node_checks *own = of->node->own;
    for (uint32_t k = 0; own && k < own->n; k++)
        judge(own->v[k], &worst);
    for (uint32_t k = 0; k < of->instance->check_count; k++)
        judge(of->instance->checks[k], &worst);
    if (worst.why == WHY_PASSES && member_damped(of->node, of->instance))
        worst.text = "damped";
    return worst.text;
}

bool entry_read(struct api_call *c, const struct api_env *env,
                const struct entry *e, const char **ret_why)
{
    struct row_of of;
    buf_reset(&c->body);
    *ret_why = e->reaped ? "reaped" : "deregistered";
    if (!entry_find(c, env, e, &of))
        return false;
    c->want_digest = true;
    struct encoder enc = encoder(c, env, c->route->volatile_text);
    bool in = true;
    if (c->rows) {
        enc.skip_volatile = false;
        in = !of.instance || stream_has(c, of.instance);
        if (in)
            row_as_stored(&enc, c, &of);
    } else {
        in = c->route->row(c, &enc, &of);
    }
    encoder_end(&enc, c);
    *ret_why = in ? NULL : why_not(c, &of);
    return in;
}

/* --- Naming one ---------------------------------------------------------- */

void entry_key(const struct entry *e, struct buf *out)
{
    size_t at = out->n;
    switch (e->kind) {
    case ENTRY_NODE:
        key_node(out, e->a);
        break;
    case ENTRY_NAME: /* escaped in the same way, of another kind */
        key_node(out, e->a);
        if (!out->bad)
            out->p[at] = 'v';
        break;
    case ENTRY_INSTANCE:
        key_service(out, e->a, e->b);
        break;
    case ENTRY_CHECK:
        key_check(out, e->a, e->b);
        break;
    }
}

void entry_names(const struct entry *e, struct json_out *j)
{
    struct buf key;
    buf_init(&key, 0);
    entry_key(e, &key);
    json_key(j, "Key");
    json_str(j, buf_bytes(&key));
    j->out->bad |= key.bad;
    buf_fini(&key);
    json_key(j, e->kind == ENTRY_NAME ? "Service" : "Node");
    json_str(j, e->a);
    if (!e->b.n)
        return;
    json_key(j, e->kind == ENTRY_CHECK ? "CheckID" : "ServiceID");
    json_str(j, e->b);
}
