/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* op - what a client asks of its own agent, checked for form, not yet for
 * state.
 *
 * Made by a serving thread (api), carried out by the agent on the core thread,
 * answered through done. One heap block tree: the op owns its arena, and all
 * views in it point there. */
#ifndef LOCAL_OP_H
#define LOCAL_OP_H

#include "base/arena.h"
#include "base/list.h"
#include "catalog/record.h"
#include "health/check_def.h"
#include "local/heard.h"

enum agent_op_kind {
    AGENT_REGISTER_SERVICE,    /* service, checks, replace_checks */
    AGENT_DEREGISTER_SERVICE,  /* id */
    AGENT_REGISTER_CHECK,      /* checks[0] */
    AGENT_DEREGISTER_CHECK,    /* id */
    AGENT_TTL,                 /* id, status, output */
    AGENT_SERVICE_MAINTENANCE, /* id, enable, reason */
    AGENT_NODE_MAINTENANCE,    /* enable, reason */
    /* Carried out by the server, not by src/agent. */
    AGENT_LEAVE,
    AGENT_RELOAD,
    AGENT_EVENT,      /* event: what the client says of it */
    AGENT_COORDINATE, /* coordinate */
    AGENT_PEER_LOCK,  /* output: the body */
    AGENT_PEER_JOIN,  /* the same */
    AGENT_PEER_DEFRAGMENT,
    AGENT_RAFT_REMOVE, /* id, or reason: the address */
    AGENT_JOIN_WAN,    /* id: HOST:PORT of a server */
    AGENT_HEAR_WAN,    /* output: the body, a server's word */
    AGENT_FORCE_WAN,   /* id: NODE.DATACENTER of a failed one */
};

#define AGENT_SIDECAR_SUFFIX "-sidecar-proxy"

enum { AGENT_CHECKS_MAX = 64 /* checks in one registration */ };

struct agent;

struct agent_op {
    enum agent_op_kind kind;
    struct arena arena;
    struct bytes meta; /* who and by which route, for history */

    struct service_view service; /* id and name set; node unset */
    struct check_def *checks;    /* id, name and service_id set */
    size_t check_count;
    struct bytes token; /* of the service, kept with it */
    bool replace_checks;
    bool from_config; /* defined by configuration: not durable in agent.db. Of
                       * a deregistration: only if that is so */

    struct heard_event event;
    struct coordinate_view coordinate;

    struct bytes id;
    struct bytes status, output;
    bool enable;
    bool drain; /* SERVICE_MAINTENANCE: drained instead */
    struct bytes reason;

    /* To be done after this one, if that went well; its own. (A service's
     * sidecar: with port 0 it is given one, and checks[0] tries that port at
     * port_address, if set.) */
    struct agent_op *then;
    struct bytes port_address;
    bool sidecar_counted; /* of src/agent */
    struct agent *agent;  /* the same */

    /* Result. 200: body empty. Others: text. */
    int http_status;
    struct errtext text;
    struct bytes answer; /* JSON, with 200; empty: no body */
    bool pending; /* durable here, not yet in the catalog (X-Muster-Pending) */

    void (*done)(
        struct agent_op *op); /* on the core thread; ownership returns */
    struct list link;
    void *ctx;
};

/* NULL: out of memory. */
struct agent_op *agent_op_new(enum agent_op_kind kind);
void agent_op_free(struct agent_op *op);

#endif
