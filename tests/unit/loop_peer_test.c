/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Those who share a key, and those who do not: loop/peer.h against the listener
 * for peers of loop/conn.h, in one loop. */
#include "loop/peer.h"

#include "loop_server.h"

enum { LIMIT_MS = 60 * 1000 };

struct world {
    struct server *s;
    struct tls_psk psk; /* the listener's */
    char to[32];
    int port;
};

static struct tls_psk key_of(const char *secret)
{
    struct tls_psk psk;

    assert_true(tls_psk_from(bytes_str(secret), &psk));
    return psk;
}

static void start(struct world *w, const char *secret)
{
    struct sockaddr_in a;
    socklen_t n = sizeof a;
    struct tls_server *tls = NULL;
    struct errtext t = {{0}};
    int fd;

    *w = (struct world){.s = server_start()};
    if (secret) {
        w->psk = key_of(secret);
        assert_ok(tls_server_new_psk(&w->psk, &tls));
    }
    assert_ok(listen_tcp("127.0.0.1", 0, 1, &fd, &t));
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    w->port = ntohs(a.sin_port);
    (void)snprintf(w->to, sizeof w->to, "127.0.0.1:%d", w->port);
    assert_ok(http_server_listen_peers(w->s->http, fd, tls));
}

struct told {
    bool done;
    enum err err;
    int status;
    struct errtext text;
    char body[512];
};

static void on_answer(void *ctx, const struct fetch_result *r)
{
    struct told *t = ctx;

    t->done = true;
    t->err = r->err;
    t->status = r->status;
    t->text = r->text;
    (void)snprintf(t->body, sizeof t->body, "%.*s", BYTES_ARG(r->body));
}

static struct told ask_with(struct world *w, const char *secret,
                            const struct peer_request *q)
{
    struct tls_psk psk = secret ? key_of(secret) : (struct tls_psk){{0}};
    struct told t = {0};
    struct peers *p = NULL;
    struct peer_request full = *q;

    full.to = w->to;
    full.timeout_ms = LIMIT_MS;
    assert_ok(peers_new(&w->s->loop, secret ? &psk : NULL, &p));
    assert_ok(peer_ask(p, &full, on_answer, &t, NULL));
    run_until(w->s, t.done);
    peers_close(p);
    return t;
}

static struct told ask(struct world *w, const char *secret)
{
    return ask_with(w, secret, &(struct peer_request){.target = "/v1/x"});
}

static void who_has_the_key_is_answered(void **state)
{
    struct world w;

    (void)state;
    start(&w, "0123456789abcdef");
    struct told t = ask(&w, "0123456789abcdef");
    assert_ok(t.err);
    assert_int_equal(t.status, 200);
    assert_string_equal(t.body, "GET /v1/x 0 #1");
    t = ask_with(&w, "0123456789abcdef",
                 &(struct peer_request){.method = "PUT",
                                        .target = "/v1/y?z",
                                        .body = bytes_str("{}")});
    assert_ok(t.err);
    assert_string_equal(t.body, "PUT /v1/y 2 #1");
    server_stop(w.s);
}

static void many_questions_share_a_connection(void **state)
{
    struct world w;
    struct peers *p = NULL;
    struct tls_psk psk = key_of("k");

    (void)state;
    start(&w, "k");
    assert_ok(peers_new(&w.s->loop, &psk, &p));
    for (int i = 1; i <= 3; i++) {
        struct told t = {0};
        char want[32];

        assert_ok(peer_ask(p,
                           &(struct peer_request){.to = w.to,
                                                  .target = "/a",
                                                  .timeout_ms = LIMIT_MS},
                           on_answer, &t, NULL));
        run_until(w.s, t.done);
        (void)snprintf(want, sizeof want, "GET /a 0 #%d", i);
        assert_string_equal(t.body, want);
    }
    peers_close(p);
    server_stop(w.s);
}

static void another_key_is_refused_and_called_that(void **state)
{
    struct world w;

    (void)state;
    start(&w, "0123456789abcdef");
    struct told t = ask(&w, "0123456789abcdeF");
    assert_int_equal(t.err, ERR_IO);
    assert_string_equal(t.text.s, "tls: encrypt is another key there");
    assert_int_equal(w.s->requests, 0);
    server_stop(w.s);
}

static void who_has_no_key_is_told_what_the_port_is(void **state)
{
    struct world w;

    (void)state;
    start(&w, "k");
    struct told t = ask(&w, NULL);
    assert_ok(t.err);
    assert_int_equal(t.status, 400);
    assert_non_null(strstr(t.body, "have its key (encrypt)"));
    assert_int_equal(w.s->requests, 0);
    server_stop(w.s);
}

/* He must not say anything before the other has proven the key. */
static void who_has_a_key_does_not_speak_without(void **state)
{
    struct world w;

    (void)state;
    start(&w, NULL);
    struct told t = ask(&w, "k");
    assert_int_equal(t.err, ERR_IO);
    assert_int_equal(w.s->requests, 0);
    server_stop(w.s);
}

static void without_keys_it_is_plain_http(void **state)
{
    struct world w;

    (void)state;
    start(&w, NULL);
    struct told t = ask(&w, NULL);
    assert_ok(t.err);
    assert_string_equal(t.body, "GET /v1/x 0 #1");
    server_stop(w.s);
}

static void garbage_ends_the_connection_only(void **state)
{
    static const char *const texts[] = {
        "\x16\x03\x01\x00\x05hello",
        "\x16\x03\x01\xff\xff",
        "\0\0\0\0\0\0\0\0",
        "SSH-2.0-OpenSSH\r\n",
    };
    struct world w;

    (void)state;
    for (int encrypted = 0; encrypted < 2; encrypted++) {
        start(&w, encrypted ? "k" : NULL);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            int plain = w.s->port;
            struct buf b = {0};

            w.s->port = w.port;
            int fd = client_open(w.s);
            w.s->port = plain;
            client_send_n(w.s, fd, texts[i], i == 2 ? 8 : strlen(texts[i]));
            (void)shutdown(fd, SHUT_WR);
            (void)client_rest(w.s, fd, &b);
            (void)close(fd);
            buf_fini(&b);
        }
        assert_int_equal(w.s->requests, 0);
        struct told t = ask(&w, encrypted ? "k" : NULL);
        assert_ok(t.err);
        server_stop(w.s);
    }
}

static void nobody_there_is_said_so(void **state)
{
    struct world w;

    (void)state;
    start(&w, NULL);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    (void)snprintf(w.to, sizeof w.to, "127.0.0.1:%d", ntohs(a.sin_port));
    struct told t = ask(&w, "k");
    assert_int_equal(t.err, ERR_REFUSED);
    (void)close(fd);
    server_stop(w.s);
}

static void what_is_derived_depends_on_secret_and_label(void **state)
{
    unsigned char a[32], b[32], again[32];

    (void)state;
    assert_true(tls_derive(bytes_str("s"), "x", a, sizeof a));
    assert_true(tls_derive(bytes_str("s"), "x", again, sizeof again));
    assert_memory_equal(a, again, sizeof a);
    assert_true(tls_derive(bytes_str("s"), "y", b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
    assert_true(tls_derive(bytes_str("t"), "x", b, sizeof b));
    assert_memory_not_equal(a, b, sizeof a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_has_the_key_is_answered),
    cmocka_unit_test(many_questions_share_a_connection),
    cmocka_unit_test(another_key_is_refused_and_called_that),
    cmocka_unit_test(who_has_no_key_is_told_what_the_port_is),
    cmocka_unit_test(who_has_a_key_does_not_speak_without),
    cmocka_unit_test(without_keys_it_is_plain_http),
    cmocka_unit_test(garbage_ends_the_connection_only),
    cmocka_unit_test(nobody_there_is_said_so),
    cmocka_unit_test(what_is_derived_depends_on_secret_and_label),
};

RUN_TESTS(tests)
