/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Sidecars: a proxy that was registered with a service (Connect.SidecarService)
 * is a second op, done after the first, and goes with it. One without a port is
 * given the lowest free one.
 *
 * A sidecar is told from other proxies by what it says itself: its ID, and whom
 * it is for. So nothing more has to be kept than the two services. */
#include <stdio.h>

#include "agent/impl.h"
#include "http/json_in.h"

enum { PROXY_BYTES_MAX = 16 << 20 /* decoded */ };

struct proxy_in {
    struct bytes service_id;
};

static const struct json_field proxy_fields[] = {
    {"DestinationServiceID", "destination_service_id", FIELD_STRING,
     offsetof(struct proxy_in, service_id), NULL, JSON_NO_FLAG},
};
static const struct json_table proxy_table = {proxy_fields, 1,
                                              sizeof(struct proxy_in)};

static bool is_sidecar_of(const struct local_service *v, struct bytes id)
{
    struct proxy_in p;
    struct arena arena;
    if (!v || !bytes_is(v->view.kind, "connect-proxy") || v->view.proxy.n == 0)
        return false;
    arena_init(&arena, PROXY_BYTES_MAX);
    bool is =
        json_decode(v->view.proxy, &proxy_table, &p, &arena, NULL) == ERR_OK &&
        bytes_eq_fold(p.service_id, id);
    arena_fini(&arena);
    return is;
}

/* --- Ports --------------------------------------------------------------- */

static bool is_taken(const struct local_snapshot *s, int64_t port)
{
    struct tree_iter it;
    local_services(s, &it);
    for (const struct local_service *v; (v = local_next_service(&it));)
        if (v->view.port == port)
            return true;
    return false;
}

static bool is_sidecar_port(int64_t port)
{
    return port >= AGENT_SIDECAR_PORT && port <= AGENT_SIDECAR_PORT_LAST;
}

/* 0: none is left. Ports that others are about to register are not in the
 * snapshot yet: while there are such, the search goes on behind the last. */
static int64_t free_port(struct agent *a, const struct agent_op *op)
{
    const struct local_snapshot *s = local_current(a->o.local);
    const struct local_service *old = local_service(s, op->service.id);
    if (old && is_sidecar_port(old->view.port))
        return old->view.port;
    int64_t from =
        a->sidecars_under_way ? a->sidecar_port + 1 : AGENT_SIDECAR_PORT;
    for (int64_t port = from; is_sidecar_port(port); port++)
        if (!is_taken(s, port))
            return port;
    return 0;
}

static bool assign_port(struct agent *a, struct agent_op *op)
{
    int64_t port = free_port(a, op);
    if (port == 0)
        return false;
    a->sidecar_port = port;
    op->service.port = port;
    if (op->port_address.n) { /* the check that it listens */
        bool v6 = bytes_find(op->port_address, ':') < op->port_address.n;
        const char *text =
            arena_printf(&op->arena, v6 ? "[%.*s]:%d" : "%.*s:%d",
                         BYTES_ARG(op->port_address), (int)port);
        require(text != NULL);
        op->checks[0].tcp = bytes_str(text);
    }
    return true;
}

/* --- Ops ----------------------------------------------------------------- */

static void add_deregistration(struct agent *a, struct agent_op *op)
{
    struct agent_op *then = agent_op_new(AGENT_DEREGISTER_SERVICE);
    require(then != NULL);
    char *id = arena_printf(&then->arena, "%.*s" AGENT_SIDECAR_SUFFIX,
                            BYTES_ARG(op->id));
    require(id != NULL);
    then->id = bytes_str(id);
    then->meta = arena_copy(&then->arena, op->meta);
    then->from_config = op->from_config;
    if (is_sidecar_of(local_service(local_current(a->o.local), then->id),
                      op->id))
        op->then = then;
    else
        agent_op_free(then);
}

bool sidecar_prepare(struct agent *a, struct agent_op *op)
{
    if (op->kind == AGENT_DEREGISTER_SERVICE && !op->then)
        add_deregistration(a, op);
    if (op->kind != AGENT_REGISTER_SERVICE || !op->then)
        return true;
    if (op->then->service.port == 0 && !assign_port(a, op->then))
        return false;
    a->sidecars_under_way++;
    op->sidecar_counted = true;
    return true;
}

static void end(struct agent *a, struct agent_op *op)
{
    if (op->sidecar_counted)
        a->sidecars_under_way--;
    op->done(op);
}

static void then_done(struct agent_op *then)
{
    struct agent_op *op = then->ctx;
    if (op->kind == AGENT_REGISTER_SERVICE && then->http_status != 200) {
        op->http_status = then->http_status;
        op->text = then->text;
    }
    op->pending |= then->pending;
    end(op->agent, op);
}

void sidecar_finish(struct agent *a, struct agent_op *op)
{
    struct agent_op *then = op->then;
    if (!then || op->http_status != 200) {
        end(a, op);
        return;
    }
    op->agent = a;
    then->done = then_done;
    then->ctx = op;
    agent_submit(a, then);
}
