/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What each op means. Texts and statuses are Consul's (consul-api 1.1): 1.8.7's
 * where it has one, those of later releases where 1.8.7 accepted what was not
 * there. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/impl.h"
#include "catalog/plan_guard.h"

static const struct local_snapshot *here(const struct job *j)
{
    return local_current(j->agent->o.local);
}

static bool refuse(struct job *j, int status, const char *fmt, struct bytes id)
{
    struct errtext t;
    /* The formats are the literals below: one %.*s each. */
    (void)snprintf(t.s, sizeof t.s, fmt, BYTES_ARG(bytes_head(id, 60)));
    job_finish(j, status, t.s);
    return false;
}

/* --- Lanes --------------------------------------------------------------- */

static void put_lane(struct buf *out, char kind, struct bytes id)
{
    buf_putc(out, kind);
    buf_put_fold(out, id);
}

static void put_check_lane(struct agent *a, struct bytes id,
                           struct bytes service_id, struct buf *out)
{
    const struct local_check *k = local_check(local_current(a->o.local), id);

    if (service_id.n == 0 && k)
        service_id = k->def.service_id;
    if (service_id.n)
        put_lane(out, SYNC_SERVICE, service_id);
    else
        put_lane(out, SYNC_CHECK, id);
}

void op_lane(struct agent *a, const struct agent_op *op, struct buf *out)
{
    switch (op->kind) {
    case AGENT_REGISTER_SERVICE:
        put_lane(out, SYNC_SERVICE, op->service.id);
        break;
    case AGENT_DEREGISTER_SERVICE:
    case AGENT_SERVICE_MAINTENANCE:
        put_lane(out, SYNC_SERVICE, op->id);
        break;
    case AGENT_REGISTER_CHECK:
        put_check_lane(a, op->checks[0].id, op->checks[0].service_id, out);
        break;
    case AGENT_DEREGISTER_CHECK:
    case AGENT_TTL:
        put_check_lane(a, op->id, (struct bytes){0}, out);
        break;
    case AGENT_NODE_MAINTENANCE:
        put_lane(out, SYNC_CHECK, bytes_str(LOCAL_NODE_MAINTENANCE));
        break;
    case AGENT_LEAVE:
    case AGENT_RELOAD:
    case AGENT_EVENT:
    case AGENT_COORDINATE:
    case AGENT_PEER_LOCK:
    case AGENT_PEER_JOIN:
    case AGENT_PEER_DEFRAGMENT:
    case AGENT_RAFT_REMOVE:
    case AGENT_JOIN_WAN:
    case AGENT_HEAR_WAN:
    case AGENT_FORCE_WAN:
        put_lane(out, SYNC_NODE, (struct bytes){0});
        break;
    }
}

/* --- Deregistration ------------------------------------------------------ */

static bool plan_deregister_service(struct job *j)
{
    const struct agent_op *op = j->op;
    const struct local_service *v = local_service(here(j), op->id);
    struct tree_iter it;

    if (!v)
        return refuse(j, 404,
                      "Unknown service ID \"%.*s\". Ensure that the service ID "
                      "is passed, not the service name.",
                      op->id);
    if (op->from_config && !v->from_config) { /* a client's by now */
        job_finish(j, 200, "");
        return false;
    }
    if (!v->from_config)
        job_delete(j, LOCAL_KEY_SERVICE, v->view.id);
    local_checks_of(here(j), op->id, &it);
    for (const struct local_check *k; (k = local_next_check_of(&it, op->id));)
        plan_check_removal(j, k);
    return true;
}

static void drop_config_service(struct job *j, struct bytes id)
{
    struct agent *a = j->agent;
    struct tree_iter it;

    local_checks_of(here(j), id, &it);
    for (const struct local_check *k; (k = local_next_check_of(&it, id));) {
        if (!k->from_config)
            continue;
        buf_lp(&a->touched, k->def.id);
        local_drop_config_check(a->o.local, k->def.id);
    }
    local_drop_config_service(a->o.local, id);
    agent_publish(a);
}

static bool plan_deregister_check(struct job *j)
{
    const struct local_check *k = local_check(here(j), j->op->id);

    if (!k)
        return refuse(j, 404,
                      "Unknown check ID \"%.*s\". Ensure that the check ID is "
                      "passed, not the check name.",
                      j->op->id);
    if (j->op->from_config && !k->from_config) {
        job_finish(j, 200, "");
        return false;
    }
    /* Kept, because the check itself is gone when agent.db has answered. */
    j->op->checks = arena_zalloc(&j->op->arena, sizeof *j->op->checks);
    require(j->op->checks != NULL);
    j->op->checks->service_id = arena_copy(&j->op->arena, k->def.service_id);
    plan_check_removal(j, k);
    return true;
}

static void deregister_check_stored(struct job *j)
{
    struct agent *a = j->agent;
    struct bytes service_id = j->op->checks->service_id, id = j->op->id;

    buf_lp(&a->touched, id);
    local_drop_config_check(a->o.local, id);
    agent_publish(a);
    if (service_id.n)
        job_sync(j, SYNC_SERVICE, service_id);
    else
        job_sync(j, SYNC_CHECK, id);
}

/* --- TTL checks ---------------------------------------------------------- */

static struct bytes ttl_output(struct job *j, const struct check_def *d)
{
    const struct agent_options *o = &j->agent->o;
    size_t max = o->output_max;
    struct buf b = {0};

    if (o->discard_output)
        return (struct bytes){0};
    if (d->output_max > 0 && (uint64_t)d->output_max < max)
        max = (size_t)d->output_max;
    output_head(&b, j->op->output, max);
    struct bytes ret = arena_copy(&j->arena, buf_bytes(&b));
    require(!b.bad);
    buf_fini(&b);
    return ret;
}

static bool plan_ttl(struct job *j)
{
    struct agent_op *op = j->op;
    const struct local_check *k = local_check(here(j), op->id);
    struct running *r = running_find(j->agent, op->id);
    struct buf state = {0};

    if (!k)
        return refuse(j, 404,
                      "Unknown check ID \"%.*s\". Ensure that the check ID is "
                      "passed, not the check name.",
                      op->id);
    if (!r || r->type != CHECK_TTL)
        return refuse(j, 500, "CheckID \"%.*s\" does not have associated TTL",
                      op->id);
    struct bytes output = ttl_output(j, &k->def);
    enum status status = status_of(op->status);
    running_beat(r);
    if (status == r->run.status) {
        running_told(r, status, output, false);
        job_finish(j, 200, "");
        return false;
    }
    running_told_state(r, status, output, &state);
    struct bytes value = arena_copy(&j->arena, buf_bytes(&state));
    require(!state.bad && value.p);
    buf_fini(&state);
    if (!k->from_config)
        job_guard(j, GUARD_PRESENT, LOCAL_KEY_CHECK, k->def.id);
    job_put(j, LOCAL_KEY_STATE, k->def.id, value);
    r->word = j;
    return true;
}

void op_left(const struct job *j)
{
    struct running *r =
        j->op->kind == AGENT_TTL ? running_find(j->agent, j->op->id) : NULL;
    if (r && r->word == j)
        r->word = NULL;
}

static void sync_check_of(struct job *j, const struct local_check *k)
{
    if (!k)
        job_answer(j, 200, false, "%s", "");
    else if (k->def.service_id.n)
        job_sync(j, SYNC_SERVICE, k->def.service_id);
    else
        job_sync(j, SYNC_CHECK, k->def.id);
}

static void ttl_stored(struct job *j)
{
    struct running *r = running_find(j->agent, j->op->id);
    const struct local_check *k = local_check(here(j), j->op->id);

    if (r && k) {
        running_told(r, status_of(j->op->status), ttl_output(j, &k->def), true);
        state_by_word(r);
        agent_publish(j->agent);
    }
    sync_check_of(j, local_check(here(j), j->op->id));
}

/* --- Maintenance --------------------------------------------------------- */

static const char no_node_reason[] =
    "Maintenance mode is enabled for this node, but no reason was provided. "
    "This is a default message.";
static const char no_service_reason[] =
    "Maintenance mode is enabled for this service, but no reason was "
    "provided. This is a default message.";

static const char no_drain_reason[] =
    "Draining: who finds services here shall let go of this instance.";

static bool plan_maintenance(struct job *j, struct bytes id, const char *name,
                             const char *default_reason,
                             struct bytes service_id)
{
    struct agent_op *op = j->op;
    const struct local_check *k = local_check(here(j), id);

    op->checks = arena_zalloc(&op->arena, sizeof *op->checks);
    require(op->checks != NULL);
    op->check_count = 1;
    op->checks[0] = (struct check_def){
        .id = id,
        .name = bytes_str(name),
        .notes = op->reason.n ? op->reason : bytes_str(default_reason),
        .status = bytes_str("critical"),
        .service_id = service_id,
        .failures_before_warning = -1,
    };
    if (!op->enable) {
        if (k)
            plan_check_removal(j, k);
        return true;
    }
    return k ? true : plan_register_check(j);
}

static bool plan_service_maintenance(struct job *j)
{
    struct agent_op *op = j->op;
    const struct local_service *v = local_service(here(j), op->id);

    if (!v)
        return refuse(j, 404, "No service registered with ID \"%.*s\"", op->id);
    struct bytes service_id = arena_copy(&op->arena, v->view.id);
    struct bytes id = bytes_str(
        arena_printf(&op->arena, "%s%.*s",
                     op->drain ? LOCAL_DRAIN : LOCAL_SERVICE_MAINTENANCE,
                     BYTES_ARG(service_id)));
    require(id.p && service_id.p);
    if (op->drain)
        return plan_maintenance(j, id, "Drained", no_drain_reason, service_id);
    return plan_maintenance(j, id, "Service Maintenance Mode",
                            no_service_reason, service_id);
}

/* --- All of them --------------------------------------------------------- */

bool op_plan(struct job *j)
{
    switch (j->op->kind) {
    case AGENT_REGISTER_SERVICE:
        return plan_register_service(j);
    case AGENT_DEREGISTER_SERVICE:
        return plan_deregister_service(j);
    case AGENT_REGISTER_CHECK:
        return plan_register_check(j);
    case AGENT_DEREGISTER_CHECK:
        return plan_deregister_check(j);
    case AGENT_TTL:
        return plan_ttl(j);
    case AGENT_SERVICE_MAINTENANCE:
        return plan_service_maintenance(j);
    case AGENT_NODE_MAINTENANCE:
        return plan_maintenance(j, bytes_str(LOCAL_NODE_MAINTENANCE),
                                "Node Maintenance Mode", no_node_reason,
                                (struct bytes){0});
    case AGENT_LEAVE:
    case AGENT_RELOAD:
    case AGENT_EVENT:
    case AGENT_COORDINATE:
    case AGENT_PEER_LOCK:
    case AGENT_PEER_JOIN:
    case AGENT_PEER_DEFRAGMENT:
    case AGENT_RAFT_REMOVE:
    case AGENT_JOIN_WAN:
    case AGENT_HEAR_WAN:
    case AGENT_FORCE_WAN:
        job_finish(j, 500, "this is the server's business");
        return false;
    }
    return false;
}

/* Registering again is a sign of life, and perhaps a new process. */
static void beat_again(struct job *j)
{
    const struct agent_op *op = j->op;

    for (size_t i = 0; i < op->check_count; i++) {
        struct running *r = running_find(j->agent, op->checks[i].id);
        if (!r)
            continue;
        if (r->type == CHECK_TTL && r->run.expires_ms != RUN_NEVER)
            running_beat(r);
        run_again(&r->run, agent_now(j->agent));
    }
    if (op->kind == AGENT_REGISTER_SERVICE)
        running_again(j->agent, op->service.id);
}

static void sync_first_check(struct job *j)
{
    const struct check_def *d = &j->op->checks[0];

    if (d->service_id.n)
        job_sync(j, SYNC_SERVICE, d->service_id);
    else
        job_sync(j, SYNC_CHECK, d->id);
}

void op_stored(struct job *j)
{
    struct agent_op *op = j->op;

    switch (op->kind) {
    case AGENT_REGISTER_SERVICE:
    case AGENT_REGISTER_CHECK:
        if (op->from_config)
            register_config(j);
        beat_again(j);
        if (op->kind == AGENT_REGISTER_SERVICE)
            job_sync(j, SYNC_SERVICE, op->service.id);
        else
            sync_first_check(j);
        break;
    case AGENT_DEREGISTER_SERVICE:
        drop_config_service(j, op->id);
        job_sync(j, SYNC_SERVICE, op->id);
        break;
    case AGENT_DEREGISTER_CHECK:
        deregister_check_stored(j);
        break;
    case AGENT_TTL:
        ttl_stored(j);
        break;
    case AGENT_SERVICE_MAINTENANCE:
    case AGENT_NODE_MAINTENANCE:
        sync_first_check(j);
        break;
    case AGENT_LEAVE:
    case AGENT_RELOAD:
    case AGENT_EVENT:
    case AGENT_COORDINATE:
    case AGENT_PEER_LOCK:
    case AGENT_PEER_JOIN:
    case AGENT_PEER_DEFRAGMENT:
    case AGENT_RAFT_REMOVE:
    case AGENT_JOIN_WAN:
    case AGENT_HEAR_WAN:
    case AGENT_FORCE_WAN:
        break;
    }
}

/* --- Ops of the agent's own ---------------------------------------------- */

void op_reap(struct agent *a, struct bytes service_id)
{
    struct agent_op *op = agent_op_new(AGENT_DEREGISTER_SERVICE);

    require(op != NULL);
    op->id = arena_copy(&op->arena, service_id);
    op->meta = bytes_str(META_REAPED_CRITICAL);
    op->done = agent_op_free;
    require(op->id.p != NULL);
    agent_submit(a, op);
}

void op_adopt_tags(struct agent *a, const struct local_service *v,
                   struct packed tags)
{
    struct agent_op *op = agent_op_new(AGENT_REGISTER_SERVICE);
    struct buf b = {0};

    require(op != NULL);
    /* Through its stored form: the op needs its own copy of everything. */
    record_put_service(&b, &v->view);
    struct bytes copy = arena_copy(&op->arena, buf_bytes(&b));
    require(!b.bad && copy.p &&
            record_get_service(copy, &op->service) == ERR_OK);
    op->service.tags =
        (struct packed){arena_copy(&op->arena, tags.data), tags.n};
    op->token = arena_copy(&op->arena, v->token);
    op->from_config = v->from_config;
    op->meta = bytes_str("agent: tags of the catalog");
    op->done = agent_op_free;
    buf_fini(&b);
    agent_submit(a, op);
}
