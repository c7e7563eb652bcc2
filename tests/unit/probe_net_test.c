/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe_world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/arena.h"

enum { REQUEST_MAX = 4096 };

/* --- A server: the path says what it answers ----------------------------- */

struct server {
    int fd, port;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t left;
    int visitors;
    char request[REQUEST_MAX]; /* the last one */
};

static void answer(int fd, const char *path)
{
    static const char big[] = "0123456789";
    char head[256];

    if (strcmp(path, "/hang") == 0)
        return;
    if (strcmp(path, "/redirect") == 0) {
        dprintf(fd, "HTTP/1.1 302 Found\r\nLocation: /200\r\n"
                    "Content-Length: 0\r\n\r\n");
        return;
    }
    if (strcmp(path, "/big") == 0) {
        dprintf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
        for (int i = 0; i < 1000; i++)
            dprintf(fd, "%s", big);
        return;
    }
    if (strcmp(path, "/rubbish") == 0) {
        dprintf(fd, "\x01\x02\x03\r\n\r\n");
        return;
    }
    int status = atoi(path + 1);
    (void)snprintf(head, sizeof head,
                   "HTTP/1.1 %d Text\r\nContent-Length: 4\r\n\r\nbody", status);
    dprintf(fd, "%s", head);
}

static void serve(struct server *s, int fd)
{
    char request[REQUEST_MAX], path[64] = "";
    size_t n = 0;
    ssize_t k;

    while (n + 1 < sizeof request &&
           (k = read(fd, request + n, sizeof request - 1 - n)) > 0) {
        n += (size_t)k;
        request[n] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        if (end && (!strstr(request, "PUT") || strstr(end, "ping")))
            break;
    }
    request[n] = '\0';
    (void)sscanf(request, "%*s %63s", path);
    pthread_mutex_lock(&s->mutex);
    memcpy(s->request, request, n + 1);
    pthread_mutex_unlock(&s->mutex);
    answer(fd, path);
    if (strcmp(path, "/hang") == 0) /* until the other side has enough */
        while (read(fd, request, sizeof request) > 0)
            ;
    close(fd);
}

struct visitor {
    struct server *server;
    int fd;
};

static void *visitor_main(void *arg)
{
    struct visitor v = *(struct visitor *)arg;
    free(arg);
    serve(v.server, v.fd);
    pthread_mutex_lock(&v.server->mutex);
    v.server->visitors--;
    pthread_cond_signal(&v.server->left);
    pthread_mutex_unlock(&v.server->mutex);
    return NULL;
}

static void *server_main(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct visitor *v = malloc(sizeof *v);
        pthread_t t;
        *v = (struct visitor){s, fd};
        pthread_mutex_lock(&s->mutex);
        s->visitors++;
        pthread_mutex_unlock(&s->mutex);
        assert_int_equal(pthread_create(&t, NULL, visitor_main, v), 0);
        pthread_detach(t);
    }
    return NULL;
}

static void server_start(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 128), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->left, NULL);
    s->visitors = 0;
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    pthread_mutex_lock(&s->mutex);
    while (s->visitors > 0)
        pthread_cond_wait(&s->left, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    pthread_cond_destroy(&s->left);
    pthread_mutex_destroy(&s->mutex);
}

/* A port that nobody listens on. */
static int free_port(void)
{
    struct server s;
    server_start(&s);
    server_stop(&s);
    return s.port;
}

struct bench {
    struct world w;
    struct server s;
    struct arena a;
};

static void setup(struct bench *b)
{
    memset(b, 0, sizeof *b);
    arena_init(&b->a, 0);
    server_start(&b->s);
    world_setup(&b->w, 64);
}

static void teardown(struct bench *b)
{
    world_teardown(&b->w);
    server_stop(&b->s);
    arena_fini(&b->a);
}

static const char *url(struct bench *b, const char *path)
{
    return arena_printf(&b->a, "http://127.0.0.1:%d%s", b->s.port, path);
}

static void assert_request_has(struct bench *b, const char *text)
{
    pthread_mutex_lock(&b->s.mutex);
    bool has = strstr(b->s.request, text) != NULL;
    pthread_mutex_unlock(&b->s.mutex);
    if (!has)
        fail_msg("no \"%s\" in:\n%s", text, b->s.request);
}

static void assert_http(struct bench *b, const char *path, enum status status,
                        const char *text)
{
    struct check_def d = {.http = bytes_str(url(b, path))};
    world_assert(&b->w, &d, status,
                 arena_printf(&b->a, "HTTP GET %s: %s", url(b, path), text));
}

/* --- HTTP ---------------------------------------------------------------- */

static void the_answers_status_decides(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    assert_http(&b, "/200", STATUS_PASSING, "200 Text Output: body");
    assert_http(&b, "/299", STATUS_PASSING, "299 Text Output: body");
    assert_http(&b, "/429", STATUS_WARNING, "429 Text Output: body");
    assert_http(&b, "/400", STATUS_CRITICAL, "400 Text Output: body");
    assert_http(&b, "/503", STATUS_CRITICAL, "503 Text Output: body");
    teardown(&b);
}

static void requests_look_like_those_of_consul(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    assert_http(&b, "/200", STATUS_PASSING, "200 Text Output: body");
    assert_request_has(&b, "GET /200 HTTP/1.1\r\n");
    assert_request_has(&b, "\r\nUser-Agent: Consul Health Check\r\n");
    assert_request_has(&b, "\r\nAccept: text/plain, text/*, */*\r\n");
    assert_request_has(
        &b, arena_printf(&b.a, "\r\nHost: 127.0.0.1:%d\r\n", b.s.port));
    teardown(&b);
}

static void requests_carry_what_was_configured(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct check_header headers[] = {
        {bytes_str("Host"), bytes_str("web.example.org")},
        {bytes_str("X-A"), bytes_str("one")},
        {bytes_str("X-A"), bytes_str("two")},
        {bytes_str("user-agent"), bytes_str("mine")},
        {bytes_str("Connection"), bytes_str("close")},
    };
    struct check_def d = {.http = bytes_str(url(&b, "/200")),
                          .method = bytes_str("PUT"),
                          .body = bytes_str("ping"),
                          .headers = headers,
                          .header_count = 5};
    world_assert(&b.w, &d, STATUS_PASSING,
                 arena_printf(&b.a, "HTTP PUT %s: 200 Text Output: body",
                              url(&b, "/200")));
    assert_request_has(&b, "PUT /200 HTTP/1.1\r\n");
    assert_request_has(&b, "\r\nHost: web.example.org\r\n");
    assert_request_has(&b, "\r\nX-A: one\r\n");
    assert_request_has(&b, "\r\nX-A: two\r\n");
    assert_request_has(&b, "\r\nuser-agent: mine\r\n");
    assert_request_has(&b, "\r\nConnection: close\r\n");
    assert_request_has(&b, "\r\nContent-Length: 4\r\n");
    assert_request_has(&b, "\r\n\r\nping");
    teardown(&b);
}

static void the_end_of_a_long_body_is_kept(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    assert_http(&b, "/big", STATUS_PASSING,
                "200 OK Output: 6789012345678901234567890123456789"
                "012345678901234567890123456789");
    struct check_def d = {.http = bytes_str(url(&b, "/big")), .output_max = 4};
    world_assert(&b.w, &d, STATUS_PASSING,
                 arena_printf(&b.a, "HTTP GET %s: 200 OK Output: 6789",
                              url(&b, "/big")));
    teardown(&b);
}

static void redirects_are_followed_unless_told_not_to(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    assert_http(&b, "/redirect", STATUS_PASSING, "200 Text Output: body");
    struct check_def d = {.http = bytes_str(url(&b, "/redirect")),
                          .disable_redirects = true};
    world_assert(&b.w, &d, STATUS_CRITICAL,
                 arena_printf(&b.a, "HTTP GET %s: 302 Found Output: ",
                              url(&b, "/redirect")));
    teardown(&b);
}

static void a_failed_request_says_why(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    int port = free_port();
    struct check_def d = {
        .http = bytes_str(arena_printf(&b.a, "http://127.0.0.1:%d/x", port))};
    world_assert(&b.w, &d, STATUS_CRITICAL,
                 arena_printf(&b.a,
                              "Get \"http://127.0.0.1:%d/x\": dial tcp "
                              "127.0.0.1:%d: connect: connection refused",
                              port, port));
    d = (struct check_def){.http = bytes_str(url(&b, "/rubbish"))};
    world_start(&b.w, &d);
    struct probe_result *r = world_next(&b.w);
    assert_int_equal(r->status, STATUS_CRITICAL);
    free(r);
    teardown(&b);
}

static void a_hanging_target_delays_no_other(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct check_def hang = {.id = bytes_str("hang"),
                             .http = bytes_str(url(&b, "/hang")),
                             .timeout_ns = 3600 * INT64_C(1000000000)};
    world_start(&b.w, &hang);
    assert_http(&b, "/200", STATUS_PASSING, "200 Text Output: body");
    hang.timeout_ns = 50 * 1000000;
    world_start(&b.w, &hang); /* instead of the first */
    struct probe_result *r = world_next(&b.w);
    assert_bytes(result_id(r), "hang");
    assert_int_equal(r->status, STATUS_CRITICAL);
    assert_bytes(result_output(r),
                 arena_printf(&b.a,
                              "Get \"%s\": context deadline exceeded "
                              "(Client.Timeout exceeded while awaiting "
                              "headers)",
                              url(&b, "/hang")));
    free(r);
    teardown(&b);
}

/* --- TCP ----------------------------------------------------------------- */

static void a_connection_is_enough(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    static const char *const hosts[] = {"127.0.0.1", "localhost", ""};
    for (size_t i = 0; i < 3; i++) {
        const char *target = arena_printf(&b.a, "%s:%d", hosts[i], b.s.port);
        struct check_def d = {.tcp = bytes_str(target)};
        world_assert(&b.w, &d, STATUS_PASSING,
                     arena_printf(&b.a, "TCP connect %s: Success", target));
    }
    teardown(&b);
}

static void a_refused_connection_says_so(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    int port = free_port();
    struct check_def d = {
        .tcp = bytes_str(arena_printf(&b.a, "127.0.0.1:%d", port))};
    world_assert(&b.w, &d, STATUS_CRITICAL,
                 arena_printf(&b.a,
                              "dial tcp 127.0.0.1:%d: connect: connection "
                              "refused",
                              port));
    d.tcp = bytes_str(arena_printf(&b.a, "nosuchhost.invalid:%d", port));
    world_start(&b.w, &d);
    struct probe_result *r = world_next(&b.w);
    assert_int_equal(r->status, STATUS_CRITICAL);
    assert_true(bytes_starts(result_output(r),
                             bytes_str("dial tcp: lookup nosuchhost.invalid"
                                       ": ")));
    free(r);
    teardown(&b);
}

static void a_target_that_swallows_packets_times_out(void **state)
{
    (void)state;
    struct bench b;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fillers[8];
    setup(&b);
    /* A full backlog swallows them. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    for (int i = 0; i < 8; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&a, sizeof a);
    }
    struct check_def d = {
        .tcp = bytes_str(arena_printf(&b.a, "127.0.0.1:%d", ntohs(a.sin_port))),
        .timeout_ns = 50 * 1000000};
    world_assert(&b.w, &d, STATUS_CRITICAL,
                 arena_printf(&b.a, "dial tcp 127.0.0.1:%d: i/o timeout",
                              ntohs(a.sin_port)));
    for (int i = 0; i < 8; i++)
        close(fillers[i]);
    close(fd);
    teardown(&b);
}

/* --- How it failed ------------------------------------------------------- */

static enum run_kind kind_of(struct bench *b, const struct check_def *d)
{
    world_start(&b->w, d);
    struct probe_result *r = world_next(&b->w);
    enum run_kind kind = r->kind;
    assert_int_equal(r->lag_ms, 0);
    free(r);
    return kind;
}

static void a_refusal_is_told_from_a_time_out_and_from_an_answer(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct bytes closed = bytes_str("127.0.0.1:1");
    const struct {
        struct check_def d;
        enum run_kind want;
    } cases[] = {
        {{.http = bytes_str(url(&b, "/200"))}, RUN_ANSWERED},
        {{.http = bytes_str(url(&b, "/500"))}, RUN_ANSWERED},
        {{.http = bytes_str(url(&b, "/hang")), .timeout_ns = 50 * 1000000},
         RUN_TIMED_OUT},
        {{.http = bytes_str("http://127.0.0.1:1/")}, RUN_REFUSED},
        {{.http = bytes_str("http://no-such-host.invalid/")}, RUN_TIMED_OUT},
        {{.tcp = closed}, RUN_REFUSED},
        {{.tcp = bytes_str("no-such-host.invalid:1")}, RUN_TIMED_OUT},
        {{.udp = closed}, RUN_REFUSED},
        {{.grpc = closed}, RUN_REFUSED},
        {{.h2ping = closed}, RUN_REFUSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(kind_of(&b, &cases[i].d), cases[i].want);
    teardown(&b);
}

static void until_asked(struct server *s)
{
    for (bool asked = false; !asked; (void)usleep(1000)) {
        pthread_mutex_lock(&s->mutex);
        asked = s->request[0] != '\0';
        pthread_mutex_unlock(&s->mutex);
    }
}

/* Another process lets it go on. */
static void stop_myself_for(useconds_t us)
{
    pid_t me = getpid(), other = fork();

    assert_true(other >= 0);
    if (other == 0) {
        (void)usleep(us);
        (void)kill(me, SIGCONT);
        _exit(0);
    }
    assert_int_equal(raise(SIGSTOP), 0);
    assert_int_equal(waitpid(other, NULL, 0), other);
}

static void a_time_out_while_the_loop_was_late_says_so(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct check_def d = {.http = bytes_str(url(&b, "/hang")),
                          .timeout_ns = 1000 * 1000000};
    world_start(&b.w, &d);
    until_asked(&b.s);
    stop_myself_for(2300 * 1000);
    struct probe_result *r = world_next(&b.w);
    assert_int_equal(r->kind, RUN_TIMED_OUT);
    assert_true(r->lag_ms > PROBE_LAG_MS);
    free(r);
    /* The next run knows nothing of it. */
    assert_int_equal(kind_of(&b, &d), RUN_TIMED_OUT);
    teardown(&b);
}

/* --- Schedules ----------------------------------------------------------- */

static void a_check_runs_again_after_its_interval(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct check_def d = {.http = bytes_str(url(&b, "/200")), .interval_ns = 1};
    world_start(&b.w, &d);
    for (int i = 0; i < 2; i++) {
        struct probe_result *r = world_next(&b.w);
        assert_int_equal(r->status, STATUS_PASSING);
        free(r);
    }
    teardown(&b);
}

static void a_stopped_check_reports_no_more(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    struct check_def hang = {.id = bytes_str("hang"),
                             .http = bytes_str(url(&b, "/hang")),
                             .timeout_ns = 30 * 1000000};
    struct check_def tcp = {
        .id = bytes_str("tcp"),
        .tcp = bytes_str(arena_printf(&b.a, "localhost:%d", b.s.port))};
    for (int i = 0; i < 50; i++) {
        world_start(&b.w, &hang);
        world_start(&b.w, &tcp);
        probe_stop(b.w.p, hang.id);
        probe_stop(b.w.p, tcp.id);
    }
    probe_stop(b.w.p, bytes_str("never there"));
    assert_http(&b, "/200", STATUS_PASSING, "200 Text Output: body");
    teardown(&b);
}

static void many_checks_take_turns(void **state)
{
    (void)state;
    enum { N = 2 * PROBE_RUNNING_MAX };
    struct bench b;
    bool seen[N] = {false};
    setup(&b);
    int port = free_port();
    for (int i = 0; i < N; i++) {
        struct check_def d = {
            .id = bytes_str(arena_printf(&b.a, "%d", i)),
            .tcp = bytes_str(arena_printf(&b.a, "127.0.0.1:%d", port))};
        world_start(&b.w, &d);
    }
    for (int i = 0; i < N; i++) {
        struct probe_result *r = world_next(&b.w);
        uint64_t id;
        assert_ok(bytes_u64(result_id(r), &id));
        assert_false(seen[id]);
        seen[id] = true;
        free(r);
    }
    teardown(&b);
}

static void it_ends_with_everything_under_way(void **state)
{
    (void)state;
    struct bench b;
    setup(&b);
    for (int i = 0; i < 20; i++) {
        struct check_def d = {
            .id = bytes_str(arena_printf(&b.a, "h%d", i)),
            .http = bytes_str(url(&b, "/hang")),
        };
        world_start(&b.w, &d);
        d.id = bytes_str(arena_printf(&b.a, "t%d", i));
        d.http = (struct bytes){0};
        d.tcp = bytes_str(arena_printf(&b.a, "localhost:%d", b.s.port));
        world_start(&b.w, &d);
    }
    teardown(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_answers_status_decides),
    cmocka_unit_test(requests_look_like_those_of_consul),
    cmocka_unit_test(requests_carry_what_was_configured),
    cmocka_unit_test(the_end_of_a_long_body_is_kept),
    cmocka_unit_test(redirects_are_followed_unless_told_not_to),
    cmocka_unit_test(a_failed_request_says_why),
    cmocka_unit_test(a_refusal_is_told_from_a_time_out_and_from_an_answer),
    cmocka_unit_test(a_time_out_while_the_loop_was_late_says_so),
    cmocka_unit_test(a_hanging_target_delays_no_other),
    cmocka_unit_test(a_connection_is_enough),
    cmocka_unit_test(a_refused_connection_says_so),
    cmocka_unit_test(a_target_that_swallows_packets_times_out),
    cmocka_unit_test(a_check_runs_again_after_its_interval),
    cmocka_unit_test(a_stopped_check_reports_no_more),
    cmocka_unit_test(many_checks_take_turns),
    cmocka_unit_test(it_ends_with_everything_under_way),
};

RUN_TESTS(tests)
