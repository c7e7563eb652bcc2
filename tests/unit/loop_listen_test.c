/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets of loop/conn.h. */
#include "loop/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "test.h"

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof a;

    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)&a)->sin6_port
                     : ((struct sockaddr_in *)&a)->sin_port);
}

static void close_all(const int *fds, int n)
{
    for (int i = 0; i < n; i++)
        (void)close(fds[i]);
}

static void every_thread_gets_a_socket_of_the_same_port(void **state)
{
    struct errtext t = {0};
    int fds[4];

    (void)state;
    assert_ok(listen_tcp("127.0.0.1", 0, 4, fds, &t));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(port_of(fds[i]), port_of(fds[0]));
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    close_all(fds, 4);
}

/* As a second process would: without this, both would get half of the clients.
 */
static void a_taken_port_is_seen(void **state)
{
    struct errtext t = {0};
    char want[80];
    int fds[2], more[2];

    (void)state;
    assert_ok(listen_tcp("127.0.0.1", 0, 2, fds, &t));
    int port = port_of(fds[0]);
    assert_int_equal(listen_tcp("127.0.0.1", port, 2, more, &t), ERR_LOCKED);
    (void)snprintf(want, sizeof want,
                   "listen on 127.0.0.1:%d: address already in use", port);
    assert_string_equal(t.s, want);
    assert_int_equal(listen_tcp("0.0.0.0", port, 1, more, &t), ERR_LOCKED);
    close_all(fds, 2);
    assert_ok(listen_tcp("127.0.0.1", port, 2, more, &t));
    close_all(more, 2);
}

static void an_ipv6_socket_takes_ipv4_too(void **state)
{
    struct errtext t = {0};
    int fds[2];

    (void)state;
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 lo = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_v6 =
        probe >= 0 && bind(probe, (struct sockaddr *)&lo, sizeof lo) == 0;
    (void)close(probe);
    if (!has_v6)
        skip();

    assert_ok(listen_tcp("::1", 0, 2, fds, &t));
    int port = port_of(fds[0]);
    int again;
    char want[80];
    assert_int_equal(listen_tcp("::1", port, 1, &again, &t), ERR_LOCKED);
    (void)snprintf(want, sizeof want,
                   "listen on [::1]:%d: address already in use", port);
    assert_string_equal(t.s, want);
    close_all(fds, 2);

    assert_ok(listen_tcp("::", 0, 1, fds, &t));
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port_of(fds[0])),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    (void)close(fd);
    close_all(fds, 1);
}

static void what_cannot_be_listened_on_is_named(void **state)
{
    struct errtext t = {0};
    int fd = -1;

    (void)state;
    assert_int_equal(listen_tcp("localhost", 1, 1, &fd, &t), ERR_BAD);
    assert_string_equal(t.s,
                        "listen on \"localhost\": not an IPv4 or IPv6 address");
    assert_int_equal(listen_tcp("127.0.0.1", 65536, 1, &fd, &t), ERR_BAD);
    assert_string_equal(
        t.s, "listen on 127.0.0.1: port 65536 is not within 0..65535");
    assert_int_equal(listen_tcp("192.0.2.1", 8500, 1, &fd, &t), ERR_BAD);
    assert_string_equal(
        t.s, "listen on 192.0.2.1:8500: Cannot assign requested address");
    assert_int_equal(fd, -1);
}

/* --- Unix sockets --------------------------------------------------------- */

static void socket_path(char *ret, size_t n)
{
    (void)snprintf(ret, n, "/tmp/muster-listen-test-%d.sock", (int)getpid());
    (void)unlink(ret);
}

static void a_unix_socket_has_its_mode_and_replaces_a_stale_one(void **state)
{
    struct errtext t = {0};
    char path[64];
    struct stat st;
    int fd, again;

    (void)state;
    socket_path(path, sizeof path);
    assert_ok(listen_unix(path, 0620, &fd, &t));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0620);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

    assert_int_equal(listen_unix(path, 0, &again, &t), ERR_LOCKED);
    assert_non_null(strstr(t.s, path));
    assert_non_null(strstr(t.s, "another process listens there"));

    (void)close(fd); /* the file stays behind, as after kill -9 */
    assert_ok(listen_unix(path, 0, &fd, &t));
    (void)close(fd);
    (void)unlink(path);
}

static void a_unix_socket_replaces_nothing_else(void **state)
{
    struct errtext t = {0};
    char path[64], longer[200];
    int fd;

    (void)state;
    socket_path(path, sizeof path);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(listen_unix(path, 0, &fd, &t), ERR_EXISTS);
    assert_non_null(strstr(t.s, "not a socket"));
    assert_int_equal(unlink(path), 0);

    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(listen_unix(longer, 0, &fd, &t), ERR_BAD);
    assert_non_null(strstr(t.s, "199 bytes, allowed are 1..107"));
    assert_int_equal(listen_unix("", 0, &fd, &t), ERR_BAD);
    assert_int_equal(listen_unix("/nonexistent/x", 0, &fd, &t), ERR_IO);
    assert_string_equal(t.s,
                        "listen on /nonexistent/x: No such file or directory");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_thread_gets_a_socket_of_the_same_port),
    cmocka_unit_test(a_taken_port_is_seen),
    cmocka_unit_test(an_ipv6_socket_takes_ipv4_too),
    cmocka_unit_test(what_cannot_be_listened_on_is_named),
    cmocka_unit_test(a_unix_socket_has_its_mode_and_replaces_a_stale_one),
    cmocka_unit_test(a_unix_socket_replaces_nothing_else),
};

RUN_TESTS(tests)
