/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/core.h"

#include "server/coordinates.h"
#include "server/events.h"
#include "server/members.h"
#include "server/wan.h"

static void client_left(void *ctx)
{
    struct core *c = ctx;
    members_leave(c, c->options.left, c->options.ctx);
}

void core_leave(struct core *c)
{
    own_leave(c, client_left, c);
}

/* Answered before it is done, as Consul does: the process ends right after. */
static void leave(struct core *c, struct agent_op *op)
{
    if (!members_may_leave(c, &op->text)) {
        op->http_status = 500;
        op->done(op);
        return;
    }
    op->http_status = 200;
    op->done(op);
    wan_leaves(c);
    core_leave(c);
}

/* What is not for the agent itself. */
static bool run_op(struct core *c, struct agent_op *op)
{
    switch (op->kind) {
    case AGENT_LEAVE:
        leave(c, op);
        return true;
    case AGENT_RELOAD:
        c->options.reload(c->options.ctx, op);
        return true;
    case AGENT_EVENT:
        events_fire(c, op);
        return true;
    case AGENT_JOIN_WAN:
        wan_join(c, op);
        return true;
    case AGENT_HEAR_WAN:
        wan_hear(c, op);
        return true;
    case AGENT_FORCE_WAN:
        wan_force_out(c, op);
        return true;
    case AGENT_COORDINATE:
        coordinates_hear(c, op);
        return true;
    case AGENT_PEER_LOCK:
    case AGENT_PEER_JOIN:
    case AGENT_PEER_DEFRAGMENT:
    case AGENT_RAFT_REMOVE:
        members_op(c, op);
        return true;
    case AGENT_REGISTER_SERVICE:
    case AGENT_DEREGISTER_SERVICE:
    case AGENT_REGISTER_CHECK:
    case AGENT_DEREGISTER_CHECK:
    case AGENT_TTL:
    case AGENT_SERVICE_MAINTENANCE:
    case AGENT_NODE_MAINTENANCE:
        return false;
    }
    return false;
}

void core_ops(void *core, struct list *ops)
{
    struct core *c = core;
    while (!list_empty(ops)) {
        struct agent_op *op = container_of(ops->next, struct agent_op, link);
        list_del(&op->link);
        if (!run_op(c, op))
            agent_submit(c->agent, op);
    }
}
