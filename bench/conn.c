/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What loop/conn.h can carry: /300 and /30k are answered with that many bytes
 * from memory, so that nothing but connections and parsing is measured. Compare
 * with nginx serving files of the same size:
 *
 *     make build/bench/conn
 *     build/bench/conn 8765 [threads] &
 *     wrk -t1 -c32 -d10 http://127.0.0.1:8765/300
 *
 * GET /idle prints the bytes of heap per open connection, parked or idle, as
 * JSON; GET /park is never answered. */
#include "loop/conn.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/response.h"

enum { THREADS_MAX = 64, USER_BYTES = 64 };

struct worker {
    uv_thread_t thread;
    uv_loop_t loop;
    struct timers timers;
    struct http_server *http;
    struct shared *head[2], *body[2];
    size_t heap_at_start;
    int fd;
};

static struct conn_limits limits;

static struct shared *make_head(const struct conn *c, size_t n)
{
    struct buf b = {0};

    http_head_begin(&b, 200);
    http_head_line(&b, "Content-Type", bytes_str("application/json"));
    http_head_line(&b, "X-Consul-Index", bytes_str("1234567"));
    http_head_line(&b, "X-Consul-Knownleader", bytes_str("true"));
    http_head_line(&b, "X-Consul-Lastcontact", bytes_str("0"));
    http_head_end(&b, n, !c || conn_keep_alive(c), c && conn_http_1_0(c));
    struct shared *s = b.bad ? NULL : shared_copy(buf_bytes(&b));
    buf_fini(&b);
    return s;
}

static void answer_fixed(struct worker *w, struct conn *c, int which)
{
    struct shared *body = shared_ref(w->body[which]);

    if (conn_keep_alive(c) && !conn_http_1_0(c))
        conn_answer(c, shared_ref(w->head[which]), body);
    else
        conn_answer(c, make_head(c, body->n), body);
}

/* Of one thread only: start it with one. */
static void answer_idle(struct worker *w, struct conn *c)
{
    char text[160];
    uint32_t conns = atomic_load(&limits.conns);
    size_t heap = mallinfo2().uordblks - w->heap_at_start;
    int n = snprintf(text, sizeof text,
                     "{\"conns\":%u,\"heap_bytes\":%zu,\"per_conn\":%zu}\n",
                     conns, heap, heap / conns);
    struct shared *body = shared_copy(bytes_of(text, (size_t)n));

    conn_answer(c, make_head(c, (size_t)n), body);
}

static void on_request(void *ctx, struct conn *c, struct http_request *r)
{
    struct worker *w = ctx;

    if (bytes_is(r->path, "/30k"))
        answer_fixed(w, c, 1);
    else if (bytes_is(r->path, "/idle"))
        answer_idle(w, c);
    else if (bytes_is(r->path, "/park"))
        conn_forget_request(c);
    else
        answer_fixed(w, c, 0);
}

static void on_gone(void *ctx, struct conn *c)
{
    (void)ctx;
    (void)c;
}

static void run(void *arg)
{
    struct worker *w = arg;

    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
}

static enum err start(struct worker *w)
{
    static const size_t sizes[2] = {300, 30000};
    struct http_server_events events = {
        .request = on_request,
        .gone = on_gone,
        .ctx = w,
        .user_bytes = USER_BYTES,
    };

    for (int i = 0; i < 2; i++) {
        w->head[i] = make_head(NULL, sizes[i]);
        w->body[i] = shared_new(sizes[i]);
        if (!w->head[i] || !w->body[i])
            return ERR_NOMEM;
        memset(w->body[i]->data, 'x', sizes[i]);
    }
    if (uv_loop_init(&w->loop) != 0)
        return ERR_NOMEM;
    enum err e = timers_init(&w->timers, &w->loop);
    if (e == ERR_OK)
        e = http_server_new(&w->loop, &w->timers, &limits, &events, &w->http);
    if (e == ERR_OK)
        e = http_server_listen(w->http, w->fd);
    w->heap_at_start = mallinfo2().uordblks;
    return e;
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS_MAX];
    int fds[THREADS_MAX];
    int port = argc > 1 ? atoi(argv[1]) : 8765;
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    struct errtext t = {0};

    if (threads < 1 || threads > THREADS_MAX)
        threads = 1;
    (void)signal(SIGPIPE, SIG_IGN);
    if (listen_tcp("127.0.0.1", port, threads, fds, &t) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", t.s);
        return 1;
    }
    for (int i = 0; i < threads; i++) {
        workers[i].fd = fds[i];
        if (start(&workers[i]) != ERR_OK)
            return 1;
    }
    for (int i = 1; i < threads; i++)
        if (uv_thread_create(&workers[i].thread, run, &workers[i]) != 0)
            return 1;
    run(&workers[0]);
    return 0;
}
