/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* https of loop/fetch.h, against `openssl s_server` with certificates made
 * here. */
#include "loop/fetch.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop_certs.h"

extern char **environ;

struct tls_peer {
    char folder[64];
    struct cert own;
    pid_t pid;
    FILE *says;
    int port;
};

/* False: there is no openssl command. */
static bool spawn_server(struct tls_peer *p)
{
    char *argv[] = {"openssl",   "s_server", "-accept",  "127.0.0.1:0", "-cert",
                    p->own.cert, "-key",     p->own.key, "-www",        NULL};
    posix_spawn_file_actions_t actions;
    int pipe_fds[2];
    char line[256];

    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], 1),
                     0);
    assert_int_equal(
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0),
        0);
    int e = posix_spawnp(&p->pid, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(pipe_fds[1]);
    if (e != 0) {
        (void)close(pipe_fds[0]);
        return false;
    }
    p->says = fdopen(pipe_fds[0], "r");
    assert_non_null(p->says);
    while (fgets(line, sizeof line, p->says))
        if (sscanf(line, "ACCEPT 127.0.0.1:%d", &p->port) == 1)
            return true;
    fail_msg("openssl s_server does not say where it listens");
    return false;
}

static bool peer_start(struct tls_peer *p, const char *name, long from_s,
                       long to_s)
{
    *p = (struct tls_peer){.folder = "/tmp/muster-tls-test-XXXXXX"};
    assert_non_null(mkdtemp(p->folder));
    p->own = cert_make(p->folder, "own", name, NULL, from_s, to_s);
    return spawn_server(p);
}

static void peer_stop(struct tls_peer *p)
{
    if (p->says) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
        (void)fclose(p->says);
    }
    cert_fini(&p->own);
    (void)rmdir(p->folder);
}

static enum err ask(const struct tls_peer *p, struct fetch_options o,
                    const char *host, int *ret_status, struct errtext *t)
{
    char url[128];
    char *body = NULL;
    size_t n;

    (void)snprintf(url, sizeof url, "https://%s:%d/", host, p->port);
    o.url = url;
    o.timeout_ms = 60 * 1000;
    o.body_keep_bytes = 1000;
    *ret_status = 0;
    enum err e = fetch_wait(&o, ret_status, &body, &n, t);
    if (e == ERR_OK)
        free(body);
    return e;
}

static void certificates_are_verified(void **state)
{
    struct tls_peer p;
    struct errtext t = {0};
    int status;

    (void)state;
    if (!peer_start(&p, "localhost", -DAY_S, DAY_S)) {
        peer_stop(&p);
        skip();
    }
    struct fetch_options o = {0};
    assert_int_equal(ask(&p, o, "localhost", &status, &t), ERR_IO);
    assert_string_equal(t.s, "x509: certificate signed by unknown authority");

    o.ca_file = p.own.cert;
    assert_ok(ask(&p, o, "localhost", &status, &t));
    assert_int_equal(status, 200);

    assert_int_equal(ask(&p, o, "127.0.0.1", &status, &t), ERR_IO);
    assert_string_equal(t.s, "x509: certificate is not valid for 127.0.0.1");

    o.tls_server_name = "localhost";
    assert_ok(ask(&p, o, "127.0.0.1", &status, &t));
    assert_int_equal(status, 200);
    o.tls_server_name = "elsewhere";
    assert_int_equal(ask(&p, o, "127.0.0.1", &status, &t), ERR_IO);
    assert_string_equal(t.s, "x509: certificate is not valid for elsewhere");

    o = (struct fetch_options){.tls_skip_verify = true};
    assert_ok(ask(&p, o, "127.0.0.1", &status, &t));
    assert_int_equal(status, 200);

    o = (struct fetch_options){.ca_file = "/nonexistent/ca"};
    assert_int_equal(ask(&p, o, "localhost", &status, &t), ERR_IO);
    assert_non_null(strstr(t.s, "/nonexistent/ca"));
    peer_stop(&p);
}

static void an_expired_certificate_is_refused(void **state)
{
    struct tls_peer p;
    struct errtext t = {0};
    int status;

    (void)state;
    if (!peer_start(&p, "localhost", -2 * DAY_S, -DAY_S)) {
        peer_stop(&p);
        skip();
    }
    struct fetch_options o = {.ca_file = p.own.cert};
    assert_int_equal(ask(&p, o, "localhost", &status, &t), ERR_IO);
    assert_string_equal(t.s,
                        "x509: certificate has expired or is not yet valid");
    peer_stop(&p);
}

static void a_malformed_url_with_a_server_name_is_refused(void **state)
{
    struct fetch_options o = {.url = "https://[::1/",
                              .tls_server_name = "localhost"};
    struct errtext t = {0};
    char *body;
    size_t n;
    int status;

    (void)state;
    assert_int_equal(fetch_wait(&o, &status, &body, &n, &t), ERR_BAD);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(certificates_are_verified),
    cmocka_unit_test(an_expired_certificate_is_refused),
    cmocka_unit_test(a_malformed_url_with_a_server_name_is_refused),
};

RUN_TESTS(tests)
