/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connections that speak TLS, against OpenSSL's client in the same loop. */
#include "loop/conn.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/un.h>

#include "loop_certs.h"
#include "loop_server.h"

static struct {
    char folder[64];
    struct cert ca, server, next, client, stranger;
} certs;

struct world {
    struct server *s;
    int tls_port;
};

static struct tls_server *context(const struct cert *own, bool verify)
{
    struct tls_server_options o = {
        .files = {.ca_file = certs.ca.cert,
                  .cert_file = own->cert,
                  .key_file = own->key},
        .verify_clients = verify,
        .min_minor = 2,
    };
    struct tls_server *ret = NULL;
    struct errtext t = {0};

    if (tls_server_new(&o, &ret, &t) != ERR_OK)
        fail_msg("%s", t.s);
    return ret;
}

static struct world world_start(bool verify, uint32_t handshake_ms)
{
    struct world w = {.s = server_start()};
    struct errtext t = {0};
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    int fd;

    w.s->limits.handshake_ms = handshake_ms;
    assert_ok(http_server_tls(w.s->http, context(&certs.server, verify)));
    assert_ok(listen_tcp("127.0.0.1", 0, 1, &fd, &t));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    w.tls_port = ntohs(a.sin_port);
    assert_ok(http_server_listen_tls(w.s->http, fd));
    return w;
}

static int raw_open(struct world *w)
{
    int plain = w->s->port;

    w->s->port = w->tls_port;
    int fd = client_open(w->s);
    w->s->port = plain;
    return fd;
}

/* --- A client ------------------------------------------------------------- */

struct client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    bool failed;
};

static struct client client_on(int fd, const struct cert *show)
{
    struct client c = {.ctx = SSL_CTX_new(TLS_client_method()), .fd = fd};

    assert_non_null(c.ctx);
    assert_int_equal(SSL_CTX_load_verify_file(c.ctx, certs.ca.cert), 1);
    SSL_CTX_set_verify(c.ctx, SSL_VERIFY_PEER, NULL);
    if (show) {
        assert_int_equal(
            SSL_CTX_use_certificate_file(c.ctx, show->cert, SSL_FILETYPE_PEM),
            1);
        assert_int_equal(
            SSL_CTX_use_PrivateKey_file(c.ctx, show->key, SSL_FILETYPE_PEM), 1);
    }
    SSL_CTX_set_mode(c.ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    c.ssl = SSL_new(c.ctx);
    assert_non_null(c.ssl);
    assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
    SSL_set_connect_state(c.ssl);
    return c;
}

static struct client client_new(struct world *w, const struct cert *show)
{
    return client_on(raw_open(w), show);
}

static void client_fini(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    (void)close(c->fd);
}

/* True: try again. */
static bool client_waits(struct world *w, struct client *c, int rc)
{
    int e = SSL_get_error(c->ssl, rc);

    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
        turn(w->s, c->fd, e == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
        return true;
    }
    c->failed = e != SSL_ERROR_ZERO_RETURN;
    return false;
}

static void client_say(struct world *w, struct client *c, const char *p,
                       size_t n)
{
    while (n > 0) {
        ERR_clear_error();
        int k = SSL_write(c->ssl, p, (int)n);
        if (k <= 0) {
            if (!client_waits(w, c, k))
                return;
            continue;
        }
        p += k;
        n -= (size_t)k;
    }
}

/* 0: the end, in order or (failed) not. */
static size_t client_hear(struct world *w, struct client *c, char *p, size_t n)
{
    for (;;) {
        ERR_clear_error();
        int k = SSL_read(c->ssl, p, (int)n);
        if (k > 0)
            return (size_t)k;
        if (!client_waits(w, c, k))
            return 0;
    }
}

/* The body of one answer with a Content-Length. */
static struct bytes client_body(struct world *w, struct client *c,
                                struct buf *b)
{
    size_t head = 0, length = 0;

    buf_reset(b);
    while (head == 0 || b->n < head + length) {
        size_t want = head ? head + length - b->n : 1;
        char *p = buf_room(b, want);
        assert_non_null(p);
        size_t k = client_hear(w, c, p, want);
        if (k == 0)
            return (struct bytes){0};
        b->n += k;
        if (head == 0 && bytes_ends(buf_bytes(b), bytes_str("\r\n\r\n"))) {
            head = b->n;
            buf_putc(b, 0);
            b->n--;
            const char *l = strstr(b->p, "Content-Length: ");
            length = l ? strtoul(l + 16, NULL, 10) : 0;
        }
    }
    return bytes_of(b->p + head, length);
}

static void client_expect(struct world *w, struct client *c,
                          const char *request, const char *body)
{
    struct buf b = {0};

    client_say(w, c, request, strlen(request));
    assert_bytes(client_body(w, c, &b), body);
    buf_fini(&b);
}

/* --- Requests ------------------------------------------------------------- */

static void requests_are_answered_one_after_the_other(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client c = client_new(&w, NULL);
    int64_t before = metric_get(METRIC_HTTP_TLS_HANDSHAKES);
    char p[16];

    client_expect(&w, &c, GET("/a"), "GET /a 0 #1");
    client_expect(&w, &c, GET("/b"), "GET /b 0 #2");
    assert_int_equal(strncmp(w.s->last_peer, "127.0.0.1:", 10), 0);
    assert_int_equal(metric_get(METRIC_HTTP_TLS_HANDSHAKES), before + 1);
    client_expect(&w, &c,
                  "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                  "GET /c 0 #3");
    /* The end is said, so that nobody can have cut it short. */
    assert_int_equal(client_hear(&w, &c, p, sizeof p), 0);
    assert_false(c.failed);
    client_fini(&c);
    server_stop(w.s);
}

static void a_request_may_wait_for_those_of_others(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client c = client_new(&w, NULL);

    client_expect(&w, &c, GET("/doze"), "GET /doze 0 #1");
    client_expect(&w, &c, GET("/doze"), "GET /doze 0 #2");
    client_expect(&w, &c, GET("/a"), "GET /a 0 #3");
    client_expect(&w, &c, GET("/doze"), "GET /doze 0 #4");
    client_fini(&c);
    run_until(w.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(w.s);
}

static void tls_1_2_is_spoken_and_1_1_is_not(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    int64_t failed = metric_get(METRIC_HTTP_TLS_FAILED);
    struct client c = client_new(&w, NULL);

    assert_int_equal(SSL_set_max_proto_version(c.ssl, TLS1_2_VERSION), 1);
    client_expect(&w, &c, GET("/a"), "GET /a 0 #1");
    client_fini(&c);
    c = client_new(&w, NULL);
    SSL_set_security_level(c.ssl, 0);
    assert_int_equal(SSL_set_min_proto_version(c.ssl, TLS1_1_VERSION), 1);
    assert_int_equal(SSL_set_max_proto_version(c.ssl, TLS1_1_VERSION), 1);
    client_say(&w, &c, GET("/a"), 4);
    assert_true(c.failed);
    run_until(w.s, metric_get(METRIC_HTTP_TLS_FAILED) == failed + 1);
    client_fini(&c);
    server_stop(w.s);
}

enum { PIPELINED = 500 };

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client c = client_new(&w, NULL);
    struct buf all = {0}, b = {0};

    for (int i = 1; i <= PIPELINED; i++)
        buf_puts(&all, i % 2 ? GET("/hold") : GET("/b"));
    assert_false(all.bad);
    client_say(&w, &c, all.p, all.n);
    for (int i = 1; i <= PIPELINED; i++) {
        char want[64] = "x";
        if (i % 2) {
            run_until(w.s, w.s->held_count == 1);
            answer_text(take_held(w.s), 200, bytes_str("x"));
        } else {
            (void)snprintf(want, sizeof want, "GET /b 0 #%d", i);
        }
        assert_bytes(client_body(&w, &c, &b), want);
    }
    buf_fini(&all);
    buf_fini(&b);
    client_fini(&c);
    server_stop(w.s);
}

static void a_long_answer_reaches_a_slow_reader_whole(void **state)
{
    enum { BYTES = 20 * 1000 * 1000 };
    (void)state;
    struct world w = world_start(false, 0);
    struct client c = client_new(&w, NULL);
    struct buf b = {0};

    client_say(&w, &c, GET("/fixed/20000000") GET("/after"),
               sizeof GET("/fixed/20000000") GET("/after") - 1);
    struct bytes body = client_body(&w, &c, &b);
    assert_int_equal(body.n, BYTES);
    for (size_t i = 0; i < body.n; i++)
        if (body.p[i] != fixed_byte(i))
            fail_msg("byte %zu is wrong", i);
    assert_bytes(client_body(&w, &c, &b), "GET /after 0 #2");
    buf_fini(&b);
    client_fini(&c);
    server_stop(w.s);
}

static void one_who_leaves_is_noticed_while_his_answer_is_due(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client a = client_new(&w, NULL), b = client_new(&w, NULL);

    client_say(&w, &a, GET("/park"), sizeof GET("/park") - 1);
    client_say(&w, &b, GET("/park"), sizeof GET("/park") - 1);
    run_until(w.s, w.s->held_count == 2);
    (void)SSL_shutdown(a.ssl);
    run_until(w.s, w.s->gone == 1);
    client_fini(&a);
    client_fini(&b);
    run_until(w.s, w.s->gone == 2);
    server_stop(w.s);
}

/* --- Handshakes ----------------------------------------------------------- */

static void a_certificate_of_the_client_is_asked_for(void **state)
{
    (void)state;
    struct world w = world_start(true, 0);
    const struct {
        const struct cert *show;
        const char *alert;
    } bad[] = {{NULL, "certificate required"}, {&certs.stranger, "unknown ca"}};

    struct client c = client_new(&w, &certs.client);
    client_expect(&w, &c, GET("/a"), "GET /a 0 #1");
    client_fini(&c);
    for (size_t i = 0; i < 2; i++) {
        int64_t failed = metric_get(METRIC_HTTP_TLS_FAILED);
        char p[16];
        c = client_new(&w, bad[i].show);
        client_say(&w, &c, GET("/a"), sizeof GET("/a") - 1);
        assert_int_equal(client_hear(&w, &c, p, sizeof p), 0);
        assert_true(c.failed);
        const char *said = ERR_reason_error_string(ERR_peek_last_error());
        if (!said || !strstr(said, bad[i].alert))
            fail_msg("%s, want %s", said ? said : "nothing", bad[i].alert);
        assert_int_equal(metric_get(METRIC_HTTP_TLS_FAILED), failed + 1);
        client_fini(&c);
    }
    assert_int_equal(w.s->requests, 1);
    run_until(w.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(w.s);
}

static void plain_http_is_told_that_it_is_wrong_here(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct buf b = {0};
    int fd = raw_open(&w);

    client_send(w.s, fd, GET("/a"));
    assert_true(client_rest(w.s, fd, &b));
    expect_refusal(&b, 400, "Client sent an HTTP request to an HTTPS server.");
    assert_int_equal(w.s->requests, 0);
    buf_fini(&b);
    (void)close(fd);
    server_stop(w.s);
}

static void a_slow_handshake_is_cut(void **state)
{
    (void)state;
    struct world w = world_start(false, 20);
    int64_t failed = metric_get(METRIC_HTTP_TLS_FAILED);
    int silent = raw_open(&w), half = raw_open(&w);
    struct buf b = {0};

    client_send_n(w.s, half, "\x16\x03\x01\x02\x00\x01", 6);
    (void)client_rest(w.s, silent, &b);
    (void)client_rest(w.s, half, &b);
    assert_int_equal(b.n, 0);
    assert_int_equal(metric_get(METRIC_HTTP_TLS_FAILED), failed + 2);
    buf_fini(&b);
    (void)close(silent);
    (void)close(half);
    server_stop(w.s);
}

static void a_finished_handshake_is_not_limited_any_more(void **state)
{
    (void)state;
    struct world w = world_start(false, 100);
    struct client c = client_new(&w, NULL);
    int silent;

    client_expect(&w, &c, GET("/a"), "GET /a 0 #1");
    silent = raw_open(&w); /* its limit ends after the other's would have */
    client_end(w.s, silent);
    client_expect(&w, &c, GET("/b"), "GET /b 0 #2");
    client_fini(&c);
    (void)close(silent);
    server_stop(w.s);
}

enum { MANY = 60 };

/* More than one turn may do; they wait and are all served. */
static void many_handshakes_at_once_take_turns(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client c[MANY];

    for (int i = 0; i < MANY; i++) {
        c[i] = client_new(&w, NULL);
        (void)SSL_do_handshake(c[i].ssl);
    }
    for (int i = 0; i < MANY; i++)
        client_say(&w, &c[i], GET("/a"), sizeof GET("/a") - 1);
    for (int i = 0; i < MANY; i++) {
        client_expect(&w, &c[i], "", "GET /a 0 #1");
        client_fini(&c[i]);
    }
    server_stop(w.s);
}

/* Whatever it is, the connection ends and nothing is left of it. */
static void garbage_ends_the_connection(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    int64_t failed = metric_get(METRIC_HTTP_TLS_FAILED);
    unsigned seed = 1;

    for (int i = 0; i < 300; i++) {
        char p[600];
        struct buf b = {0};
        int fd = raw_open(&w);
        for (size_t k = 0; k < sizeof p; k++)
            p[k] = (char)(seed = seed * 1103515245 + 12345, seed >> 16);
        if (p[0] >= 'A' && p[0] <= 'Z')
            p[0] = 'a';
        if (i % 2) /* a record of a handshake, with anything in it */
            memcpy(p,
                   i % 4 == 1 ? "\x16\x03\x01\x02\x00"
                              : "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                   i % 4 == 1 ? 5 : 11);
        client_send_n(w.s, fd, p, sizeof p);
        (void)shutdown(fd, SHUT_WR);
        (void)client_rest(w.s, fd, &b);
        buf_fini(&b);
        (void)close(fd);
    }
    assert_int_equal(metric_get(METRIC_HTTP_TLS_FAILED), failed + 300);
    assert_int_equal(w.s->requests, 0);
    run_until(w.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    server_stop(w.s);
}

/* Another listener: between unix sockets the kernel keeps little. */
static int unix_open(struct world *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct errtext t = {0};
    int listener, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(a.sun_path, sizeof a.sun_path, "%s/socket", certs.folder);
    assert_ok(listen_unix(a.sun_path, 0, &listener, &t));
    assert_ok(http_server_listen_tls(w->s->http, listener));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(unlink(a.sun_path), 0);
    return fd;
}

/* Each asks for an answer that is never read: what waits is bounded. */
static void key_updates_without_end_end_the_connection(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client c = client_on(unix_open(&w), NULL);

    client_expect(&w, &c, GET("/a"), "GET /a 0 #1");
    for (long i = 0; !c.failed; i++) {
        assert_true(i < 5 * 1000 * 1000);
        assert_int_equal(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        int rc;
        do {
            ERR_clear_error();
            rc = SSL_do_handshake(c.ssl);
        } while (rc != 1 && client_waits(&w, &c, rc));
        (void)uv_run(&w.s->loop, UV_RUN_NOWAIT);
    }
    run_until(w.s, metric_get(METRIC_HTTP_CONNECTIONS) == 0);
    client_fini(&c);
    server_stop(w.s);
}

/* --- Another certificate -------------------------------------------------- */

static void expect_name(struct client *c, const char *name)
{
    X509 *x = SSL_get1_peer_certificate(c->ssl);

    assert_non_null(x);
    assert_int_equal(X509_check_host(x, name, 0, 0, NULL), 1);
    X509_free(x);
}

static void a_new_certificate_is_for_those_who_come_later(void **state)
{
    (void)state;
    struct world w = world_start(false, 0);
    struct client old = client_new(&w, NULL);

    client_expect(&w, &old, GET("/a"), "GET /a 0 #1");
    expect_name(&old, "server");
    assert_ok(http_server_tls(w.s->http, context(&certs.next, true)));
    struct client now = client_new(&w, &certs.client);
    client_expect(&w, &now, GET("/a"), "GET /a 0 #1");
    expect_name(&now, "next");
    client_expect(&w, &old, GET("/b"), "GET /b 0 #2");
    client_fini(&old);
    client_fini(&now);
    server_stop(w.s);
}

/* --- */

static int make_certs(void **state)
{
    char *folder = certs.folder;

    (void)state;
    (void)snprintf(folder, sizeof certs.folder, "/tmp/muster-tls-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    certs.ca = cert_make(folder, "ca", "ca", NULL, -DAY_S, DAY_S);
    certs.server =
        cert_make(folder, "server", "server", &certs.ca, -DAY_S, DAY_S);
    certs.next = cert_make(folder, "next", "next", &certs.ca, -DAY_S, DAY_S);
    certs.client =
        cert_make(folder, "client", "client", &certs.ca, -DAY_S, DAY_S);
    certs.stranger =
        cert_make(folder, "stranger", "stranger", NULL, -DAY_S, DAY_S);
    return 0;
}

static int drop_certs(void **state)
{
    (void)state;
    cert_fini(&certs.ca);
    cert_fini(&certs.server);
    cert_fini(&certs.next);
    cert_fini(&certs.client);
    cert_fini(&certs.stranger);
    return rmdir(certs.folder);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(requests_are_answered_one_after_the_other),
    cmocka_unit_test(a_request_may_wait_for_those_of_others),
    cmocka_unit_test(tls_1_2_is_spoken_and_1_1_is_not),
    cmocka_unit_test(pipelined_requests_are_answered_in_order),
    cmocka_unit_test(a_long_answer_reaches_a_slow_reader_whole),
    cmocka_unit_test(one_who_leaves_is_noticed_while_his_answer_is_due),
    cmocka_unit_test(a_certificate_of_the_client_is_asked_for),
    cmocka_unit_test(plain_http_is_told_that_it_is_wrong_here),
    cmocka_unit_test(a_slow_handshake_is_cut),
    cmocka_unit_test(a_finished_handshake_is_not_limited_any_more),
    cmocka_unit_test(many_handshakes_at_once_take_turns),
    cmocka_unit_test(garbage_ends_the_connection),
    cmocka_unit_test(key_updates_without_end_end_the_connection),
    cmocka_unit_test(a_new_certificate_is_for_those_who_come_later),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, make_certs, drop_certs);
}
