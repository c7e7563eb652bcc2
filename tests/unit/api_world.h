/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* api_world - a catalog, an agent and one request at a time, without any thread
 * or socket. */
#ifndef API_WORLD_H
#define API_WORLD_H

#include <stdio.h>

#include "api/api.h"
#include "test.h"

struct world {
    struct pin_domain pins;
    struct catalog *catalog;
    struct local *local;
    struct heard *heard;
    struct api_self self;
    struct arena arena;
    struct api_call call;
    uint64_t revision;
    uint64_t random;  /* of the last env: 1, 2, ... */
    const char *peer; /* who asks; NULL: a unix socket */
    const char *hold; /* X-Muster-Hold; NULL: none */
    bool from_peer, forwarded;
    const struct api_cluster *cluster;
    const struct api_wan *wan;
};

static inline int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pin_init(&w->pins);
    w->catalog = catalog_new(&w->pins);
    w->local = local_new(&w->pins);
    w->heard = heard_new(&w->pins);
    w->self = (struct api_self){.node_name = bytes_str("own"),
                                .datacenter = bytes_str("dc1"),
                                .advertise_address = bytes_str("127.0.0.1"),
                                .server_port = 8300,
                                .is_server = true};
    w->revision = 1;
    arena_init(&w->arena, 0);
    api_call_init(&w->call);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    api_call_fini(&w->call);
    arena_fini(&w->arena);
    catalog_free(w->catalog);
    local_free(w->local);
    heard_free(w->heard);
    pin_fini(&w->pins);
    free(w);
    return 0;
}

static inline struct api_env env_of(struct world *w)
{
    return (struct api_env){.self = &w->self,
                            .cat = catalog_current(w->catalog),
                            .local = local_current(w->local),
                            .heard = heard_current(w->heard),
                            .cluster = w->cluster,
                            .wan = w->wan,
                            .random = {++w->random, w->random},
                            .ready = true};
}

/* Through the real parser, so that decoding is part of what is tested. */
static inline struct http_request *request(struct world *w, const char *method,
                                           const char *target, const char *body)
{
    static struct http_limits limits;
    char *text = arena_printf(&w->arena,
                              "%s %s HTTP/1.1\r\nHost: x\r\n"
                              "Content-Length: %zu\r\n\r\n%s",
                              method, target, strlen(body), body);
    struct http_in *in = http_in_new(&limits);
    http_in_feed(in, bytes_str(text));
    assert_int_equal(http_in_state(in), HTTP_IN_DONE);
    struct http_request *r = arena_alloc(&w->arena, sizeof *r);
    *r = *http_in_request(in); /* the parser is leaked into the test's arena: */
    r->arena = &w->arena;      /* its memory must outlive the call */
    r->target = arena_copy(&w->arena, r->target);
    r->path = arena_copy(&w->arena, r->path);
    r->raw_path = arena_copy(&w->arena, r->raw_path);
    r->raw_query = arena_copy(&w->arena, r->raw_query);
    r->body = arena_copy(&w->arena, r->body);
    r->method_name = arena_copy(&w->arena, r->method_name);
    struct http_param *params =
        arena_alloc(&w->arena, (r->param_count + 1) * sizeof *params);
    for (size_t i = 0; i < r->param_count; i++) {
        params[i] = r->params[i];
        params[i].name = arena_copy(&w->arena, r->params[i].name);
        params[i].value = arena_copy(&w->arena, r->params[i].value);
    }
    r->params = params;
    static struct http_header headers[2];
    r->headers = headers;
    r->header_count = 0;
    if (w->forwarded)
        headers[r->header_count++] = (struct http_header){
            bytes_str("X-Muster-Forwarded"), bytes_str("1")};
    if (w->hold)
        headers[r->header_count++] = (struct http_header){
            bytes_str("X-Muster-Hold"), bytes_str(w->hold)};
    r->from_peer = w->from_peer;
    r->peer = w->peer ? bytes_str(w->peer) : (struct bytes){0};
    http_in_free(in);
    return r;
}

static inline enum api_next begin(struct world *w, const char *method,
                                  const char *target, const char *body)
{
    struct api_env env = env_of(w);
    api_call_fini(&w->call);
    api_call_init(&w->call);
    return api_begin(&w->call, &env, request(w, method, target, body));
}

static inline struct bytes get(struct world *w, const char *target)
{
    struct api_env env = env_of(w);
    if (begin(w, "GET", target, "") == API_READ)
        api_read(&w->call, &env);
    return buf_bytes(&w->call.body);
}

static inline void apply_plan(struct world *w, const struct plan *p)
{
    w->revision++;
    for (size_t i = 0; i < p->op_count; i++) {
        struct store_op *op = &p->ops[i];
        if (op->kind == OP_PUT)
            assert_ok(catalog_put(w->catalog, op->key, op->value, 2,
                                  w->revision, NULL));
        else if (op->kind == OP_DELETE)
            catalog_delete(w->catalog, op->key, w->revision);
    }
    catalog_commit(w->catalog, w->revision);
}

/* Plans the write and applies what it wants; the answer's status. */
static inline int write_as(struct world *w, const char *method,
                           const char *target, const char *body)
{
    struct plan p;
    struct api_env env = env_of(w);
    if (begin(w, method, target, body) != API_WRITE)
        return w->call.status;
    plan_init(&p, &w->arena);
    if (api_write(&w->call, &env, &p) == API_ANSWER)
        return w->call.status;
    apply_plan(w, &p);
    return w->call.status;
}

static inline int put(struct world *w, const char *target, const char *body)
{
    return write_as(w, "PUT", target, body);
}

static inline int status_of_get(struct world *w, const char *target)
{
    (void)get(w, target);
    return w->call.status;
}

static inline void add(struct world *w, const char *node, const char *service)
{
    char body[1024];
    snprintf(body, sizeof body,
             "{\"Node\":\"%s\",\"Address\":\"1.2.3.4\",\"Service\":%s}", node,
             service);
    assert_int_equal(put(w, "/v1/catalog/register", body), 200);
}

static inline bool has(struct bytes in, const char *text)
{
    return memmem(in.p, in.n, text, strlen(text)) != NULL;
}

static inline struct agent_op *op_of(struct world *w, const char *target,
                                     const char *body)
{
    struct api_env env = env_of(w);
    struct agent_op *op = NULL;
    assert_int_equal(begin(w, "PUT", target, body), API_AGENT);
    enum api_next next = api_agent(&w->call, &env, &op);
    assert_int_equal(next, op ? API_AGENT : API_ANSWER);
    return op;
}

#endif
