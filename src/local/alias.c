/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Consul's CheckAlias: warning while none is critical, the first critical one
 * found gives the text, and a service without checks must at least exist. It is
 * critical by silence only if all that are critical are. */
#include "local/item.h"
#include "local/local.h"

struct alias {
    const struct check_def *def;
    enum status status;
    enum check_cause cause;
    bool any, service_found;
    struct buf *output;
};

static void say_failing(struct alias *a, struct bytes name, struct bytes output)
{
    buf_reset(a->output);
    buf_puts(a->output, "Aliased check \"");
    buf_put(a->output, name);
    buf_puts(a->output, "\" failing: ");
    buf_put(a->output, output);
}

/* False: nothing can make it worse. */
static bool add(struct alias *a, struct bytes name, enum status status,
                enum check_cause cause, struct bytes output)
{
    a->any = true;
    switch (status) {
    case STATUS_PASSING:
    case STATUS_OTHER:
        return true;
    case STATUS_WARNING:
        if (a->status == STATUS_PASSING)
            say_failing(a, name, output);
        if (a->status != STATUS_CRITICAL)
            a->status = STATUS_WARNING;
        return true;
    case STATUS_CRITICAL:
    case STATUS_MAINTENANCE:
        break;
    }
    if (a->status != STATUS_CRITICAL) {
        say_failing(a, name, output);
        a->cause = cause;
    }
    a->status = STATUS_CRITICAL;
    if (cause < a->cause)
        a->cause = cause;
    return a->cause != CAUSE_EVIDENCE;
}

static bool add_local(struct alias *a, const struct local_snapshot *l,
                      struct bytes service_id)
{
    struct tree_iter it;

    local_checks_of(l, service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));) {
        if (bytes_eq_fold(k->def.id, a->def->id))
            continue;
        if (service_id.n)
            a->service_found = true;
        if (!add(a, k->def.name, k->status, k->marks.cause, k->output))
            return false;
    }
    return true;
}

static bool add_record(struct alias *a, const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    return add(a, v.name, status_of(v.status), v.marks.cause, v.output);
}

static void add_remote(struct alias *a, const struct cat_node *n)
{
    const struct cat_instance *i =
        n ? cat_node_service(n, a->def->alias_service) : NULL;
    bool go_on = true;

    a->service_found = i != NULL;
    for (uint32_t k = 0; n && n->own && go_on && k < n->own->n; k++)
        go_on = add_record(a, n->own->v[k]);
    for (uint32_t k = 0; i && go_on && k < i->check_count; k++)
        go_on = add_record(a, i->checks[k]);
}

enum status local_alias_status(const struct local_snapshot *l,
                               const struct snapshot *s,
                               const struct local_identity *me,
                               const struct check_def *d, struct buf *output,
                               enum check_cause *ret_cause)
{
    struct alias a = {.def = d, .output = output};
    bool here =
        d->alias_node.n == 0 || bytes_eq_fold(d->alias_node, me->node.name);

    buf_reset(output);
    *ret_cause = CAUSE_EVIDENCE;
    if (here) {
        if (add_local(&a, l, (struct bytes){0}) && d->alias_service.n)
            (void)add_local(&a, l, d->alias_service);
        if (d->alias_service.n && local_service(l, d->alias_service))
            a.service_found = true;
    } else {
        add_remote(&a, snapshot_node(s, d->alias_node));
    }
    if (d->alias_service.n && !a.service_found) {
        buf_reset(output);
        buf_puts(output, "Service ");
        buf_put(output, d->alias_service);
        buf_puts(output, " could not be found on node ");
        buf_put(output, d->alias_node);
        return STATUS_CRITICAL;
    }
    if (a.status == STATUS_PASSING)
        buf_puts(output, a.any ? "All checks passing." : "No checks found.");
    *ret_cause = a.cause;
    return a.status;
}
