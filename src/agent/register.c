/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Registrations: services with their checks, and single checks. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/impl.h"

/* --- Values -------------------------------------------------------------- */

static struct bytes service_value(struct job *j, const struct service_view *v,
                                  struct bytes token)
{
    struct buf b = {0};
    local_service_put(&b, v, token);
    struct bytes value = arena_copy(&j->arena, buf_bytes(&b));
    require(!b.bad && value.p);
    buf_fini(&b);
    return value;
}

static struct bytes check_value(struct job *j, const struct check_def *d)
{
    struct buf b = {0};
    check_def_put(&b, d);
    struct bytes value = arena_copy(&j->arena, buf_bytes(&b));
    require(!b.bad && value.p);
    buf_fini(&b);
    return value;
}

/* --- Refusals ------------------------------------------------------------ */

static bool refuse_id(struct job *j, const char *field, struct bytes id)
{
    char text[120];

    if (id.n <= AGENT_ID_MAX)
        return false;
    (void)snprintf(text, sizeof text, "%s of %zu bytes, the limit is %d", field,
                   id.n, AGENT_ID_MAX);
    job_finish(j, 400, text);
    return true;
}

static bool is_script(const struct check_def *d)
{
    enum check_type t = check_def_type(d);
    return t == CHECK_SCRIPT || t == CHECK_DOCKER;
}

static bool refuse_check(struct job *j, const struct check_def *d)
{
    const struct agent_options *o = &j->agent->o;

    if (refuse_id(j, "CheckID", d->id))
        return true;
    if (!is_script(d) || o->scripts_allowed ||
        (j->op->from_config && o->scripts_allowed_local))
        return false;
    job_finish(j, 500,
               j->op->from_config
                   ? "Scripts are disabled on this agent; to enable, configure "
                     "'enable_script_checks' or "
                     "'enable_local_script_checks' to true"
                   : "Scripts are disabled on this agent from remote calls; to "
                     "enable, configure 'enable_script_checks' to true");
    return true;
}

static bool is_in_op(const struct agent_op *op, struct bytes check_id)
{
    for (size_t i = 0; i < op->check_count; i++)
        if (bytes_eq_fold(op->checks[i].id, check_id))
            return true;
    return false;
}

/* Checks of the service that the op leaves alone, and those it replaces. */
static bool goes(const struct agent_op *op, const struct local_check *k)
{
    /* Who put a service into maintenance, or drained it, did not mean until its next restart.
     */
    return op->replace_checks && !is_in_op(op, k->def.id) &&
           !local_is_maintenance(k->def.id) && !local_is_drain(k->def.id) &&
           (!op->from_config || k->from_config);
}

static bool refuse_count(struct job *j, struct bytes service_id)
{
    const struct agent_op *op = j->op;
    size_t n = op->check_count;
    struct tree_iter it;
    char text[160];

    local_checks_of(local_current(j->agent->o.local), service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));)
        n += !is_in_op(op, k->def.id) && !goes(op, k);
    if (n <= AGENT_SERVICE_CHECKS_MAX)
        return false;
    (void)snprintf(text, sizeof text,
                   "the service would have %zu checks, the limit is %d: "
                   "deregister some, or register with "
                   "replace-existing-checks",
                   n, AGENT_SERVICE_CHECKS_MAX);
    job_finish(j, 400, text);
    return true;
}

/* --- Checks -------------------------------------------------------------- */

/* State and output of a check that exists are kept: only its definition is
 * written, and only if it differs. */
static void plan_check(struct job *j, const struct check_def *d)
{
    const struct local_check *old =
        local_check(local_current(j->agent->o.local), d->id);
    struct bytes value = check_value(j, d);

    if (j->op->from_config) {
        if (old && !old->from_config)
            job_delete(j, LOCAL_KEY_CHECK, d->id);
        return;
    }
    if (!old || old->from_config || !bytes_eq(value, check_value(j, &old->def)))
        job_put(j, LOCAL_KEY_CHECK, d->id, value);
}

/* No key is written twice in one change. */
static bool is_last_of_its_id(const struct agent_op *op, size_t i)
{
    for (size_t k = i + 1; k < op->check_count; k++)
        if (bytes_eq_fold(op->checks[k].id, op->checks[i].id))
            return false;
    return true;
}

void plan_check_removal(struct job *j, const struct local_check *k)
{
    if (!k->from_config)
        job_delete(j, LOCAL_KEY_CHECK, k->def.id);
    job_delete(j, LOCAL_KEY_STATE, k->def.id);
}

bool plan_register_check(struct job *j)
{
    struct check_def *d = &j->op->checks[0];

    if (refuse_check(j, d))
        return false;
    if (d->service_id.n) {
        const struct local_service *v =
            local_service(local_current(j->agent->o.local), d->service_id);
        if (!v) {
            char text[160];
            (void)snprintf(text, sizeof text,
                           "ServiceID \"%.*s\" does not exist",
                           BYTES_ARG(bytes_head(d->service_id, 100)));
            job_finish(j, 500, text);
            return false;
        }
        d->service_id = arena_copy(&j->op->arena, v->view.id);
        require(d->service_id.p != NULL);
        if (refuse_count(j, d->service_id))
            return false;
        if (!v->from_config)
            job_guard(j, GUARD_PRESENT, LOCAL_KEY_SERVICE, v->view.id);
    }
    plan_check(j, d);
    /* A guard alone is no change. */
    if (j->change.op_count == 0)
        j->change.guard_count = 0;
    return true;
}

/* --- Services ------------------------------------------------------------ */

static void plan_replaced(struct job *j, struct bytes service_id)
{
    struct tree_iter it;

    local_checks_of(local_current(j->agent->o.local), service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));)
        if (goes(j->op, k))
            plan_check_removal(j, k);
}

static void plan_service(struct job *j, const struct service_view *v)
{
    const struct local_service *old =
        local_service(local_current(j->agent->o.local), v->id);

    if (j->op->from_config) {
        if (old && !old->from_config)
            job_delete(j, LOCAL_KEY_SERVICE, v->id);
        return;
    }
    struct bytes value = service_value(j, v, j->op->token);
    if (!old || old->from_config ||
        !bytes_eq(value, service_value(j, &old->view, old->token)))
        job_put(j, LOCAL_KEY_SERVICE, v->id, value);
}

bool plan_register_service(struct job *j)
{
    struct agent_op *op = j->op;

    if (refuse_id(j, "ServiceID", op->service.id))
        return false;
    for (size_t i = 0; i < op->check_count; i++)
        if (refuse_check(j, &op->checks[i]))
            return false;
    if (refuse_count(j, op->service.id))
        return false;
    op->service.tagged = tagged_with_defaults(&op->service, &op->arena);
    plan_service(j, &op->service);
    for (size_t i = 0; i < op->check_count; i++)
        if (is_last_of_its_id(op, i))
            plan_check(j, &op->checks[i]);
    plan_replaced(j, op->service.id);
    return true;
}

/* --- What configuration defines ------------------------------------------ */

static void drop_replaced_config(struct job *j)
{
    struct agent *a = j->agent;
    struct bytes service_id = j->op->service.id;
    struct tree_iter it;

    local_checks_of(local_current(a->o.local), service_id, &it);
    for (const struct local_check *k;
         (k = local_next_check_of(&it, service_id));) {
        if (!k->from_config || !goes(j->op, k))
            continue;
        buf_lp(&a->touched, k->def.id);
        local_drop_config_check(a->o.local, k->def.id);
    }
}

/* Puts it into the snapshot itself: no feed does. */
void register_config(struct job *j)
{
    struct agent *a = j->agent;
    struct agent_op *op = j->op;

    if (op->kind == AGENT_REGISTER_SERVICE) {
        drop_replaced_config(j);
        require(local_put_config_service(a->o.local, &op->service) == ERR_OK);
    }
    for (size_t i = 0; i < op->check_count; i++) {
        require(local_put_config_check(a->o.local, &op->checks[i]) == ERR_OK);
        buf_lp(&a->touched, op->checks[i].id);
    }
    require(!a->touched.bad);
    agent_publish(a);
}
