/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Registration bodies of all four kinds, coordinates, events, and addresses to
 * join. Property: nothing crashes; what is
 * refused is a 4xx or 5xx with a text; what is accepted has a name and, for
 * catalog registrations, a plan that can be read back from its own stored
 * values; what it says of its mesh is JSON, also as it is kept. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "http/json_in.h"

static struct pin_domain pins;
static struct catalog *catalog;
static struct local *local;
static struct heard *heard;

static void need(bool x)
{
    if (!x)
        abort();
}

static void open_once(void)
{
    if (catalog)
        return;
    pin_init(&pins);
    catalog = catalog_new(&pins);
    local = local_new(&pins);
    heard = heard_new(&pins);
    need(catalog && local && heard);
}

/* What a plan writes must be readable by whoever loads it. */
static void check_plan(const struct plan *p)
{
    for (size_t i = 0; i < p->op_count; i++) {
        const struct store_op *op = &p->ops[i];
        enum record_kind kind;
        struct bytes a, b;
        char scratch[65536];
        if (op->kind != OP_PUT || op->key.n > sizeof scratch)
            continue;
        need(key_parse(op->key, scratch, &kind, &a, &b) == ERR_OK);
        struct node_view n;
        struct service_view s;
        struct check_view c;
        need(kind != RECORD_NODE || record_get_node(op->value, &n) == ERR_OK);
        need(kind != RECORD_SERVICE ||
             record_get_service(op->value, &s) == ERR_OK);
        need(kind != RECORD_CHECK || record_get_check(op->value, &c) == ERR_OK);
    }
}

static void check_service(const struct service_view *v)
{
    const struct bytes kept[] = {v->proxy, v->connect};
    struct errtext t;
    need(v->name.n > 0);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        need(kept[i].n == 0 || json_bound(kept[i], &t) == ERR_OK);
}

static void check_op(const struct agent_op *op)
{
    if (op->kind != AGENT_REGISTER_SERVICE)
        return;
    check_service(&op->service);
    if (op->then)
        check_service(&op->then->service);
}

static void one(const char *path, struct bytes body)
{
    struct api_self self = {.datacenter = bytes_str("dc1"), .is_server = true};
    struct api_env env = {.self = &self,
                          .cat = catalog_current(catalog),
                          .local = local_current(local),
                          .heard = heard_current(heard),
                          .ready = true};
    struct arena arena;
    struct api_call call;
    struct plan plan;
    struct agent_op *op = NULL;
    arena_init(&arena, 64 << 20);
    api_call_init(&call);
    struct http_request r = {
        .method = HTTP_PUT,
        .method_name = bytes_str("PUT"),
        .raw_path = bytes_str(path),
        .path = bytes_str(path),
        .body = body,
        .arena = &arena,
    };
    enum api_next next = api_begin(&call, &env, &r);
    if (next == API_WRITE) {
        plan_init(&plan, &arena);
        next = api_write(&call, &env, &plan);
        if (next == API_WRITE)
            check_plan(&plan);
    } else if (next == API_AGENT) {
        next = api_agent(&call, &env, &op);
        if (next == API_AGENT) {
            check_op(op);
            agent_op_free(op);
        }
    }
    /* A path may be none of ours, or one that is cleaned first: no text. */
    if (next == API_ANSWER && body.p)
        need(call.status == 200 || (call.status >= 400 && call.body.n > 0));
    api_call_fini(&call);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {
        "/v1/agent/service/register", "/v1/agent/check/register",
        "/v1/catalog/register",       "/v1/catalog/deregister",
        "/v1/coordinate/update",      "/v1/event/fire/x"};
    open_once();
    struct bytes body = bytes_of(data, size);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        one(paths[i], body);

    char path[1024];
    if (size < 900 && !memchr(data, 0, size)) {
        snprintf(path, sizeof path, "/v1/agent/join/%.*s", (int)size,
                 (const char *)data);
        one(path, (struct bytes){0});
    }
    return 0;
}
