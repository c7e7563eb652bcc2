/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/fetch.h"

#include <sys/un.h>

#include "loop_server.h"

/* --- A peer that says what the test wants -----------------------------------
 */

enum peer_end { PEER_CLOSES, PEER_RESETS, PEER_WAITS };

/* Answers each connection with `says`, `times` times over, once a whole head
 * has come. */
struct peer {
    uv_tcp_t listener;
    int port;
    const char *says;
    size_t times;
    enum peer_end end;
    int served;
};

struct peer_conn {
    uv_tcp_t tcp;
    uv_write_t write;
    struct peer *peer;
    char head[4096];
    size_t n, said;
    bool closing;
};

static void peer_conn_closed(uv_handle_t *h)
{
    free(h->data);
}

static void peer_conn_end(struct peer_conn *c)
{
    if (c->closing)
        return;
    c->closing = true;
    if (c->peer->end != PEER_RESETS ||
        uv_tcp_close_reset(&c->tcp, peer_conn_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, peer_conn_closed);
}

static void peer_say(struct peer_conn *c);

static void peer_said(uv_write_t *w, int status)
{
    struct peer_conn *c = w->data;

    if (status < 0)
        peer_conn_end(c);
    else
        peer_say(c);
}

static void peer_say(struct peer_conn *c)
{
    struct peer *p = c->peer;
    uv_buf_t b = {(char *)p->says, strlen(p->says)};

    if (c->said++ < p->times && b.len > 0) {
        c->write.data = c;
        assert_int_equal(
            uv_write(&c->write, (uv_stream_t *)&c->tcp, &b, 1, peer_said), 0);
    } else if (p->end != PEER_WAITS) {
        peer_conn_end(c);
    }
}

static void peer_alloc(uv_handle_t *h, size_t n, uv_buf_t *ret)
{
    struct peer_conn *c = h->data;

    (void)n;
    if (c->n == sizeof c->head)
        c->n = 0;
    *ret = uv_buf_init(c->head + c->n, (unsigned)(sizeof c->head - c->n));
}

static void peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    struct peer_conn *c = s->data;

    (void)b;
    if (n < 0) {
        peer_conn_end(c);
        return;
    }
    c->n += (size_t)n;
    if (c->said == 0 && memmem(c->head, c->n, "\r\n\r\n", 4)) {
        c->peer->served++;
        peer_say(c);
    }
}

static void peer_accept(uv_stream_t *s, int status)
{
    struct peer_conn *c = calloc(1, sizeof *c);

    assert_int_equal(status, 0);
    assert_non_null(c);
    c->peer = s->data;
    assert_int_equal(uv_tcp_init(s->loop, &c->tcp), 0);
    c->tcp.data = c;
    assert_int_equal(uv_accept(s, (uv_stream_t *)&c->tcp), 0);
    assert_int_equal(
        uv_read_start((uv_stream_t *)&c->tcp, peer_alloc, peer_read), 0);
}

static void peer_open(uv_loop_t *loop, struct peer *p)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int n = sizeof a;

    assert_int_equal(uv_tcp_init(loop, &p->listener), 0);
    p->listener.data = p;
    assert_int_equal(uv_tcp_bind(&p->listener, (const struct sockaddr *)&a, 0),
                     0);
    assert_int_equal(uv_listen((uv_stream_t *)&p->listener, 8, peer_accept), 0);
    assert_int_equal(
        uv_tcp_getsockname(&p->listener, (struct sockaddr *)&a, &n), 0);
    p->port = ntohs(a.sin_port);
}

/* --- Asking -----------------------------------------------------------------
 */

struct asked {
    int done;
    enum err err;
    struct errtext text;
    int status;
    char status_line[128];
    char *body;
    size_t n;
    uint64_t total, index;
};

static void on_done(void *ctx, const struct fetch_result *r)
{
    struct asked *a = ctx;

    a->done++;
    a->err = r->err;
    a->text = r->text;
    a->status = r->status;
    a->total = r->body_total_bytes;
    a->index = r->consul_index;
    (void)snprintf(a->status_line, sizeof a->status_line, "%.*s",
                   BYTES_ARG(r->status_line));
    free(a->body);
    a->n = r->body.n;
    a->body = malloc(a->n + 1);
    assert_non_null(a->body);
    if (a->n)
        memcpy(a->body, r->body.p, a->n);
    a->body[a->n] = '\0';
}

static void url(char *ret, size_t n, int port, const char *path)
{
    (void)snprintf(ret, n, "http://127.0.0.1:%d%s", port, path);
}

/* Asks with the server's loop until it is answered. */
static void ask(struct server *s, struct fetcher *f,
                const struct fetch_options *o, struct asked *a)
{
    a->done = 0;
    assert_ok(fetch_start(f, o, on_done, a, NULL));
    assert_int_equal(a->done, 0);
    run_until(s, a->done);
    assert_int_equal(a->done, 1);
}

struct asking {
    struct server *s;
    struct fetcher *f;
    struct asked a;
    char url[128];
    struct fetch_options o;
};

static struct asking asking_begin(const char *path)
{
    struct asking q = {.s = server_start()};

    assert_ok(fetcher_new(&q.s->loop, &q.f));
    url(q.url, sizeof q.url, q.s->port, path);
    q.o = (struct fetch_options){.timeout_ms = 60 * 1000,
                                 .body_keep_bytes = 4096};
    return q;
}

static void asking_end(struct asking *q)
{
    fetcher_close(q->f);
    free(q->a.body);
    server_stop(q->s);
}

static void go(struct asking *q)
{
    if (!q->o.url)
        q->o.url = q->url;
    ask(q->s, q->f, &q->o, &q->a);
}

static void an_answer_comes_with_status_and_body(void **state)
{
    (void)state;
    struct asking q = asking_begin("/some/where");

    go(&q);
    assert_int_equal(q.a.err, ERR_OK);
    assert_int_equal(q.a.status, 200);
    assert_string_equal(q.a.status_line, "200 OK");
    assert_string_equal(q.a.body, "GET /some/where 0 #1");
    assert_int_equal(q.a.total, q.a.n);
    assert_int_equal(q.a.index, 0);
    asking_end(&q);
}

static void method_headers_and_body_arrive(void **state)
{
    const struct fetch_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    static const char *methods[] = {"PUT", "POST", "DELETE", "PATCH"};
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.headers = headers;
    q.o.header_count = 2;
    for (size_t i = 0; i < 4; i++) {
        char want[64];
        q.o.method = methods[i];
        q.o.body = bytes_of("a\0b", 3);
        go(&q);
        (void)snprintf(want, sizeof want, "%s /x 3 #1", methods[i]);
        assert_string_equal(q.a.body, want);
        assert_memory_equal(q.s->last_body.p, "a\0b", 3);
    }
    q.o.method = "POST";
    q.o.body = bytes_str(NULL);
    go(&q);
    assert_string_equal(q.a.body, "POST /x 0 #1");
    asking_end(&q);
}

/* The peer shows the head it got. */
static void the_head_is_what_was_asked_for(void **state)
{
    const struct fetch_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    struct peer p = {.says = "HTTP/1.1 200 OK\r\nX-Consul-Index: 42\r\n"
                             "Content-Length: 0\r\n\r\n",
                     .times = 1};
    struct buf head = {0};
    (void)state;
    struct asking q = asking_begin("/x");

    /* By hand, to see what was sent. */
    int fds[1];
    struct errtext t;
    assert_ok(listen_tcp("127.0.0.1", 0, 1, fds, &t));
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&a, &n), 0);
    url(q.url, sizeof q.url, ntohs(a.sin_port), "/p?q=1");
    q.o.url = q.url;
    q.o.method = "PUT";
    q.o.body = bytes_str("{}");
    q.o.headers = headers;
    q.o.header_count = 2;
    q.a.done = 0;
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    int fd = -1;
    while (fd < 0) {
        turn(q.s, fds[0], POLLIN);
        fd = accept4(fds[0], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    while (!bytes_ends(buf_bytes(&head), bytes_str("{}"))) {
        char *room = buf_room(&head, 100);
        ssize_t k = client_recv(q.s, fd, room, 100);
        assert_true(k > 0);
        head.n += (size_t)k;
    }
    char want[300];
    (void)snprintf(want, sizeof want,
                   "PUT /p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                   "Accept: */*\r\nX-One: 1\r\nX-Empty:\r\n"
                   "Connection: close\r\nContent-Length: 2\r\n\r\n{}",
                   ntohs(a.sin_port));
    assert_bytes(buf_bytes(&head), want);
    client_send(q.s, fd, p.says);
    run_until(q.s, q.a.done);
    assert_int_equal(q.a.index, 42);
    (void)close(fd);
    (void)close(fds[0]);
    buf_fini(&head);
    asking_end(&q);
}

static void a_header_cannot_smuggle_another(void **state)
{
    static const struct fetch_header bad[] = {{"X", "1\r\nY: 2"},
                                              {"X\r\nY", "1"},
                                              {"X:", "1"},
                                              {"", "1"},
                                              {"a b", "1"}};
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = q.url;
    q.o.header_count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        q.o.headers = &bad[i];
        assert_int_equal(fetch_start(q.f, &q.o, on_done, &q.a, NULL), ERR_BAD);
    }
    assert_int_equal(q.a.done, 0);
    asking_end(&q);
}

static void a_connection_is_reused_only_if_wanted(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    go(&q);
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    q.o.keep_connection = true;
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #2");
    asking_end(&q);
}

static void a_unix_socket_can_be_asked(void **state)
{
    char path[64];
    struct errtext t = {0};
    int fd;
    (void)state;
    struct asking q = asking_begin("/x");

    (void)snprintf(path, sizeof path, "/tmp/muster-fetch-test-%d.sock",
                   (int)getpid());
    q.o.unix_path = path;
    go(&q);
    assert_int_equal(q.a.err, ERR_UNAVAILABLE);
    char want[160];
    (void)snprintf(want, sizeof want,
                   "dial unix %s: connect: no such file or directory", path);
    assert_string_equal(q.a.text.s, want);

    assert_ok(listen_unix(path, 0600, &fd, &t));
    assert_ok(http_server_listen(q.s->http, fd));
    go(&q);
    assert_string_equal(q.a.body, "GET /x 0 #1");
    assert_string_equal(q.s->last_peer, "unix");
    (void)unlink(path);
    asking_end(&q);
}

/* --- Bounds -----------------------------------------------------------------
 */

static void only_the_end_of_a_long_body_is_kept(void **state)
{
    enum { BYTES = 3000001 };
    static const size_t keep[] = {1, 100, 4096, 70000, 2000000, 3000001};
    (void)state;
    struct asking q = asking_begin("/fixed/3000001");

    for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++) {
        q.o.body_keep_bytes = keep[i];
        go(&q);
        assert_int_equal(q.a.err, ERR_OK);
        assert_int_equal(q.a.total, BYTES);
        assert_int_equal(q.a.n, keep[i]);
        for (size_t k = 0; k < keep[i]; k++)
            if (q.a.body[k] != fixed_byte(BYTES - keep[i] + k))
                fail_msg("keep %zu: byte %zu is wrong", keep[i], k);
    }
    q.o.body_keep_bytes = 0;
    go(&q);
    assert_int_equal(q.a.total, BYTES);
    assert_int_equal(q.a.n, 0);
    q.o.body_keep_bytes = 4000000;
    go(&q);
    assert_int_equal(q.a.n, BYTES);
    asking_end(&q);
}

static void a_larger_body_is_refused_where_that_is_wanted(void **state)
{
    (void)state;
    struct asking q = asking_begin("/fixed/1000");

    q.o.body_refuse_larger = true;
    q.o.body_keep_bytes = 1000;
    go(&q);
    assert_int_equal(q.a.err, ERR_OK);
    assert_int_equal(q.a.n, 1000);
    q.o.body_keep_bytes = 999;
    go(&q);
    assert_int_equal(q.a.err, ERR_LIMIT);
    assert_string_equal(q.a.text.s,
                        "response body of more than 999 bytes, the limit");
    asking_end(&q);
}

/* --- Peers that misbehave ---------------------------------------------------
 */

static void ask_peer(struct asking *q, const char *says, size_t times,
                     enum peer_end end, enum err err, const char *text)
{
    struct peer p = {.says = says, .times = times, .end = end};

    peer_open(&q->s->loop, &p);
    url(q->url, sizeof q->url, p.port, "/x");
    go(q);
    if (q->a.err != err || strcmp(q->a.text.s, text) != 0)
        fail_msg("%s: got %s \"%s\", want %s \"%s\"", says, err_text(q->a.err),
                 q->a.text.s, err_text(err), text);
    uv_close((uv_handle_t *)&p.listener, NULL);
    (void)uv_run(&q->s->loop, UV_RUN_NOWAIT);
}

static void endless_answers_are_cut_off(void **state)
{
    static const char too_many[] =
        "net/http: server response headers exceeded 262144 bytes; aborted";
    static char line[64 * 1024];
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "HTTP/1.1 100 Continue\r\n\r\n", SIZE_MAX, PEER_WAITS,
             ERR_LIMIT, too_many);
    ask_peer(&q, "HTTP/1.1 200 a:b\r\n", SIZE_MAX, PEER_WAITS, ERR_LIMIT,
             too_many);
    memset(line, 'x', sizeof line - 1); /* no line end, ever */
    memcpy(line, "HTTP/1.1 200 ", 13);
    ask_peer(&q, line, SIZE_MAX, PEER_WAITS, ERR_LIMIT,
             "response header line of more than 100 kB, or out of memory");
    asking_end(&q);
}

static void broken_answers_are_told_apart(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "", 0, PEER_CLOSES, ERR_IO, "EOF");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 1,
             PEER_CLOSES, ERR_IO, "unexpected EOF");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
             1, PEER_CLOSES, ERR_IO, "unexpected EOF");
    ask_peer(&q, "SSH-2.0-OpenSSH_9.2\r\n", 1, PEER_WAITS, ERR_IO,
             "net/http: HTTP/1.x transport connection broken: malformed HTTP "
             "response");
    asking_end(&q);
}

static void a_reset_names_the_connection(void **state)
{
    struct peer p = {.says = "", .end = PEER_RESETS};
    char want[128];
    (void)state;
    struct asking q = asking_begin("/x");

    peer_open(&q.s->loop, &p);
    url(q.url, sizeof q.url, p.port, "/x");
    go(&q);
    (void)snprintf(want, sizeof want,
                   "read tcp 127.0.0.1:%d: read: connection reset by peer",
                   p.port);
    assert_int_equal(q.a.err, ERR_IO);
    assert_string_equal(q.a.text.s, want);
    uv_close((uv_handle_t *)&p.listener, NULL);
    asking_end(&q);
}

static void time_is_limited(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.timeout_ms = 30;
    ask_peer(&q, "", 0, PEER_WAITS, ERR_TIMEOUT,
             "context deadline exceeded (Client.Timeout exceeded while "
             "awaiting headers)");
    ask_peer(&q, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", 1,
             PEER_WAITS, ERR_TIMEOUT,
             "context deadline exceeded (Client.Timeout or context "
             "cancellation while reading body)");
    asking_end(&q);
}

static void an_answer_without_a_reason_gets_one(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    ask_peer(&q, "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", 1, PEER_CLOSES,
             ERR_OK, "");
    assert_int_equal(q.a.status, 503);
    assert_string_equal(q.a.status_line, "503 Service Unavailable");
    ask_peer(&q, "HTTP/1.1 404 Not here\r\n\r\ntill the end", 1, PEER_CLOSES,
             ERR_OK, "");
    assert_string_equal(q.a.status_line, "404 Not here");
    assert_string_equal(q.a.body, "till the end");
    asking_end(&q);
}

static void where_nobody_listens_is_named(void **state)
{
    struct peer p = {.says = ""};
    char want[128];
    (void)state;
    struct asking q = asking_begin("/x");

    peer_open(&q.s->loop, &p);
    uv_close((uv_handle_t *)&p.listener, NULL);
    (void)uv_run(&q.s->loop, UV_RUN_NOWAIT);
    url(q.url, sizeof q.url, p.port, "/x");
    go(&q);
    (void)snprintf(want, sizeof want,
                   "dial tcp 127.0.0.1:%d: connect: connection refused",
                   p.port);
    assert_int_equal(q.a.err, ERR_UNAVAILABLE);
    assert_string_equal(q.a.text.s, want);

    q.o.url = "http://no-such-host.invalid:81/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_UNAVAILABLE);
    assert_string_equal(q.a.text.s,
                        "dial tcp: lookup no-such-host.invalid: no such host");
    asking_end(&q);
}

static void only_http_is_spoken(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = "ftp://127.0.0.1/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_string_equal(q.a.text.s, "unsupported protocol scheme \"ftp\"");
    q.o.url = "file:///etc/passwd";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_string_equal(q.a.text.s, "unsupported protocol scheme \"file\"");
    q.o.url = "http://[::1/x";
    go(&q);
    assert_int_equal(q.a.err, ERR_BAD);
    assert_int_equal(strncmp(q.a.text.s, "malformed URL", 13), 0);
    asking_end(&q);
}

/* --- Redirects --------------------------------------------------------------
 */

static void redirects_are_followed_only_if_wanted(void **state)
{
    char says[160];
    (void)state;
    struct asking q = asking_begin("/x");

    (void)snprintf(says, sizeof says,
                   "HTTP/1.1 302 Found\r\nX-Consul-Index: 7\r\n"
                   "Content-Length: 3\r\n"
                   "Location: http://127.0.0.1:%d/there\r\n\r\nold",
                   q.s->port);
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_int_equal(q.a.status, 302);
    assert_string_equal(q.a.body, "old");
    assert_int_equal(q.a.index, 7);

    q.o.follow_redirects = true;
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_int_equal(q.a.status, 200);
    assert_string_equal(q.a.body, "GET /there 0 #1");
    assert_int_equal(q.a.index, 0);

    q.o.method = "POST"; /* becomes a GET, as in browsers */
    q.o.body = bytes_str("hello");
    ask_peer(&q, says, 1, PEER_CLOSES, ERR_OK, "");
    assert_string_equal(q.a.body, "GET /there 0 #1");
    asking_end(&q);
}

static void redirects_have_an_end(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.follow_redirects = true;
    ask_peer(&q,
             "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n",
             1, PEER_CLOSES, ERR_IO, "stopped after 10 redirects");
    ask_peer(&q,
             "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
             "Location: file:///etc/passwd\r\n\r\n",
             1, PEER_CLOSES, ERR_BAD, "unsupported protocol scheme \"file\"");
    asking_end(&q);
}

/* --- Many, and their ends ---------------------------------------------------
 */

static void many_run_at_once(void **state)
{
    enum { N = 200 };
    static struct asked a[N];
    (void)state;
    struct asking q = asking_begin("/x");

    q.o.url = q.url;
    memset(a, 0, sizeof a);
    for (int i = 0; i < N; i++)
        assert_ok(fetch_start(q.f, &q.o, on_done, &a[i], NULL));
    for (int i = 0; i < N; i++) {
        run_until(q.s, a[i].done);
        assert_string_equal(a[i].body, "GET /x 0 #1");
        free(a[i].body);
        a[i].body = NULL;
    }
    assert_int_equal(q.s->requests, N);
    asking_end(&q);
}

static void what_is_cancelled_is_not_told(void **state)
{
    struct fetch *x, *y;
    (void)state;
    struct asking q = asking_begin("/hold");

    q.o.url = q.url;
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &x));
    fetch_cancel(x); /* before anything has happened */
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &x));
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &y));
    run_until(q.s, q.s->held_count == 2);
    fetch_cancel(x);
    fetch_cancel(y);
    /* A request whose memory is still ours is taken to wait: it is answered
     * in vain. */
    while (q.s->held_count > 0)
        answer_text(take_held(q.s), 200, bytes_str("late"));
    run_until(q.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    assert_int_equal(q.a.done, 0);
    asking_end(&q);
}

struct pair {
    struct fetcher *f;
    struct fetch *other;
    int done;
    bool close;
};

static void cancel_other(void *ctx, const struct fetch_result *r)
{
    struct pair *p = ctx;

    assert_int_equal(r->err, ERR_OK);
    p->done++;
    if (p->close)
        fetcher_close(p->f);
    else
        fetch_cancel(p->other);
}

static void done_may_cancel_and_close(void **state)
{
    (void)state;
    struct asking q = asking_begin("/park");

    for (int close = 0; close < 2; close++) {
        struct pair p = {.f = q.f, .close = close};
        struct fetch_options o = q.o;
        char other[64];

        url(other, sizeof other, q.s->port, "/x");
        o.url = other;
        q.o.url = q.url;
        assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, &p.other));
        run_until(q.s, q.s->held_count == 1);
        assert_ok(fetch_start(q.f, &o, cancel_other, &p, NULL));
        run_until(q.s, q.s->gone == close + 1);
        assert_int_equal(p.done, 1);
    }
    assert_int_equal(q.a.done, 0);
    server_stop(q.s);
}

struct chain {
    struct fetcher *f;
    const struct fetch_options *o;
    int left;
};

static void start_next(void *ctx, const struct fetch_result *r)
{
    struct chain *c = ctx;

    assert_int_equal(r->err, ERR_OK);
    if (--c->left > 0)
        assert_ok(fetch_start(c->f, c->o, start_next, c, NULL));
}

static void done_may_start_the_next(void **state)
{
    (void)state;
    struct asking q = asking_begin("/x");
    struct chain c = {.f = q.f, .o = &q.o, .left = 50};

    q.o.url = q.url;
    q.o.keep_connection = true;
    assert_ok(fetch_start(q.f, &q.o, start_next, &c, NULL));
    run_until(q.s, c.left == 0);
    assert_int_equal(q.s->requests, 50);
    asking_end(&q);
}

static void closing_cancels_what_runs(void **state)
{
    struct fetcher *unused;
    (void)state;
    struct asking q = asking_begin("/park");

    assert_ok(fetcher_new(&q.s->loop, &unused));
    fetcher_close(unused);
    q.o.url = q.url;
    for (int i = 0; i < 10; i++)
        assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    run_until(q.s, q.s->held_count == 10);
    assert_ok(fetch_start(q.f, &q.o, on_done, &q.a, NULL));
    asking_end(&q);
    assert_int_equal(q.a.done, 0);
}

/* --- In this thread ---------------------------------------------------------
 */

struct served {
    struct server *s;
    uv_async_t stop;
    bool stopped;
};

static void on_stop(uv_async_t *async)
{
    struct served *v = async->data;

    v->stopped = true;
    uv_close((uv_handle_t *)async, NULL);
}

static void serve(void *arg)
{
    struct served *v = arg;

    while (!v->stopped)
        (void)uv_run(&v->s->loop, UV_RUN_ONCE);
}

static void one_request_can_be_waited_for(void **state)
{
    struct served v = {.s = server_start()};
    struct errtext t = {0};
    uv_thread_t thread;
    char *body = NULL, where[64];
    size_t n = 0;
    int status = 0;

    (void)state;
    assert_int_equal(uv_async_init(&v.s->loop, &v.stop, on_stop), 0);
    v.stop.data = &v;
    assert_int_equal(uv_thread_create(&thread, serve, &v), 0);
    url(where, sizeof where, v.s->port, "/w");
    struct fetch_options o = {
        .url = where, .timeout_ms = 60000, .body_keep_bytes = 100};
    assert_ok(fetch_wait(&o, &status, &body, &n, &t));
    assert_int_equal(status, 200);
    assert_string_equal(body, "GET /w 0 #1");
    assert_int_equal(n, strlen(body));
    free(body);

    o.url = "gopher://x";
    assert_int_equal(fetch_wait(&o, &status, &body, &n, &t), ERR_BAD);
    assert_string_equal(t.s, "unsupported protocol scheme \"gopher\"");
    (void)uv_async_send(&v.stop);
    (void)uv_thread_join(&thread);
    server_stop(v.s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answer_comes_with_status_and_body),
    cmocka_unit_test(method_headers_and_body_arrive),
    cmocka_unit_test(the_head_is_what_was_asked_for),
    cmocka_unit_test(a_header_cannot_smuggle_another),
    cmocka_unit_test(a_connection_is_reused_only_if_wanted),
    cmocka_unit_test(a_unix_socket_can_be_asked),
    cmocka_unit_test(only_the_end_of_a_long_body_is_kept),
    cmocka_unit_test(a_larger_body_is_refused_where_that_is_wanted),
    cmocka_unit_test(endless_answers_are_cut_off),
    cmocka_unit_test(broken_answers_are_told_apart),
    cmocka_unit_test(a_reset_names_the_connection),
    cmocka_unit_test(time_is_limited),
    cmocka_unit_test(an_answer_without_a_reason_gets_one),
    cmocka_unit_test(where_nobody_listens_is_named),
    cmocka_unit_test(only_http_is_spoken),
    cmocka_unit_test(redirects_are_followed_only_if_wanted),
    cmocka_unit_test(redirects_have_an_end),
    cmocka_unit_test(many_run_at_once),
    cmocka_unit_test(what_is_cancelled_is_not_told),
    cmocka_unit_test(done_may_cancel_and_close),
    cmocka_unit_test(done_may_start_the_next),
    cmocka_unit_test(closing_cancels_what_runs),
    cmocka_unit_test(one_request_can_be_waited_for),
};

/* A proxy in the environment must make no difference. */
int main(void)
{
    (void)setenv("http_proxy", "http://127.0.0.1:1", 1);
    (void)setenv("all_proxy", "http://127.0.0.1:1", 1);
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
