/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* One call of grpc.health.v1.Health/Check, on a connection of its own. */
#include <stdio.h>
#include <stdlib.h>

#include "health/grpc.h"
#include "probe/h2.h"

enum { TEXT_MAX = 1024 }; /* of grpc-message and content-type */

struct grpc {
    struct check *check;
    struct h2 *h2;
    struct grpc_answer answer;
    struct buf message, content_type, body;
};

static void grpc_free(struct grpc *g)
{
    buf_fini(&g->message);
    buf_fini(&g->content_type);
    buf_fini(&g->body);
    free(g);
}

static void end(struct grpc *g, enum status s, enum run_kind kind,
                struct buf *text)
{
    struct check *c = g->check;

    grpc_free(g);
    check_done(c, s, kind, text);
}

/* --- The call ------------------------------------------------------------- */

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static void on_open(void *ctx)
{
    struct grpc *g = ctx;
    const struct check *c = g->check;
    struct bytes service, target = grpc_target(c->def.grpc, &service);
    struct buf body = {0};
    char authority[NAMES_HOST_MAX + 16], timeout[24];

    if (target.n && target.p[0] == ':')
        (void)snprintf(authority, sizeof authority, "localhost%.*s",
                       BYTES_ARG(target));
    else
        (void)snprintf(authority, sizeof authority, "%.*s", BYTES_ARG(target));
    /* At most 8 digits. */
    (void)snprintf(timeout, sizeof timeout, "%llum",
                   (unsigned long long)(c->timeout_ms < 99999999 ? c->timeout_ms
                                                                 : 99999999));
    const nghttp2_nv headers[] = {
        header(":method", "POST"),
        header(":scheme", c->def.grpc_use_tls ? "https" : "http"),
        header(":path", GRPC_HEALTH_PATH),
        header(":authority", authority),
        header("content-type", "application/grpc"),
        header("user-agent", "muster/" MUSTER_VERSION),
        header("te", "trailers"),
        header("grpc-timeout", timeout),
    };
    grpc_request(&body, service);
    require(!body.bad);
    require(h2_request(g->h2, headers, sizeof headers / sizeof headers[0],
                       buf_bytes(&body)) == ERR_OK);
    buf_fini(&body);
}

static void keep(struct buf *b, struct bytes v, size_t max)
{
    buf_reset(b);
    buf_put(b, bytes_head(v, max));
    require(!b->bad);
}

static void on_header(void *ctx, struct bytes name, struct bytes value)
{
    struct grpc *g = ctx;

    if (bytes_is(name, ":status"))
        g->answer.http_status = grpc_status_of(value);
    else if (bytes_is(name, "grpc-status"))
        g->answer.status = grpc_status_of(value);
    else if (bytes_is(name, "grpc-message"))
        keep(&g->message, value, TEXT_MAX);
    else if (bytes_is(name, "content-type"))
        keep(&g->content_type, value, TEXT_MAX);
}

static void fail(struct grpc *g, int status, enum run_kind kind,
                 const char *reason)
{
    struct buf text = {0};

    grpc_error(&text, status, bytes_str(reason));
    end(g, STATUS_CRITICAL, kind, &text);
}

static void on_data(void *ctx, struct bytes b)
{
    struct grpc *g = ctx;

    if (g->body.n + b.n <= GRPC_ANSWER_MAX) {
        buf_put(&g->body, b);
        require(!g->body.bad);
        return;
    }
    h2_close(g->h2);
    fail(g, 13, RUN_ANSWERED,
         "the answer is longer than a HealthCheckResponse can be");
}

static void on_answered(void *ctx, uint32_t error_code)
{
    struct grpc *g = ctx;
    struct buf text = {0};

    h2_close(g->h2);
    if (error_code != NGHTTP2_NO_ERROR && g->answer.status == GRPC_NO_STATUS) {
        char reason[120];
        (void)snprintf(reason, sizeof reason,
                       "the server reset the request: %s",
                       nghttp2_http2_strerror(error_code));
        fail(g, GRPC_UNAVAILABLE, RUN_ANSWERED, reason);
        return;
    }
    g->answer.message = buf_bytes(&g->message);
    g->answer.content_type = buf_bytes(&g->content_type);
    g->answer.body = buf_bytes(&g->body);
    enum status s = grpc_judge(&g->answer, g->check->def.grpc, &text);
    /* A server that took too long says so itself: that is an answer. */
    end(g, s, RUN_ANSWERED, &text);
}

static bool is_tls(const char *text)
{
    return bytes_starts(bytes_str(text), bytes_str("tls: ")) ||
           bytes_starts(bytes_str(text), bytes_str("x509: "));
}

static void on_over(void *ctx, enum err why, const char *text)
{
    struct grpc *g = ctx;

    if (why == ERR_TIMEOUT) {
        fail(g, GRPC_DEADLINE_EXCEEDED, RUN_TIMED_OUT,
             "context deadline exceeded");
        return;
    }
    struct errtext reason;
    errtext_set(&reason, "connection error: desc = \"transport: %s%s\"",
                bytes_starts(bytes_str(text), bytes_str("dial "))
                    ? "Error while dialing "
                : is_tls(text) ? "authentication handshake failed: "
                               : "",
                text);
    fail(g, GRPC_UNAVAILABLE, check_kind(why), reason.s);
}

static void cancel(void *run)
{
    struct grpc *g = run;
    struct check *c = g->check;

    h2_close(g->h2);
    grpc_free(g);
    lane_left(c->prober, c->lane);
}

void grpc_run(struct check *c)
{
    static const struct h2_events events = {
        .open = on_open,
        .header = on_header,
        .data = on_data,
        .answered = on_answered,
        .over = on_over,
    };
    struct grpc *g = xzalloc(sizeof *g);
    struct bytes service;

    g->check = c;
    g->answer.status = GRPC_NO_STATUS;
    if (h2_open(c, grpc_target(c->def.grpc, &service), c->def.grpc_use_tls,
                &events, g, &g->h2)) {
        c->run = g;
        c->cancel = cancel;
    } else {
        grpc_free(g);
    }
}
