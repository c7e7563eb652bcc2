/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_etcd - a real etcd for the store's tests: one child of the test's
 * process on loopback ports, emptied between tests. It ends with the process.
 */
#ifndef STORE_ETCD_CHILD_H
#define STORE_ETCD_CHILD_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop/fetch.h"
#include "store/etcd_message.h"
#include "unit/store_world.h"

struct etcd_child {
    pid_t pid;
    int client_port, peer_port;
    char dir[128];
    char url[64];  /* etcd://... */
    char http[64]; /* http://... */
};

static struct etcd_child etcd_child;

static inline bool etcd_installed(void)
{
    return system("command -v etcd >/dev/null 2>&1") == 0;
}

/* Free a moment ago. */
static inline int etcd_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}

/* One request in this thread; NULL: it did not answer 200. Free it. */
static inline char *etcd_ask(const struct etcd_child *c, const char *path,
                             const char *body)
{
    char url[128];
    int status = 0;
    char *answer = NULL;
    size_t n;
    struct errtext t;

    snprintf(url, sizeof url, "%s%s", c->http, path);
    struct fetch_options o = {
        .method = body ? "POST" : "GET",
        .url = url,
        .body = bytes_str(body),
        .timeout_ms = 10000,
        .body_keep_bytes = 1 << 20,
    };

    if (fetch_wait(&o, &status, &answer, &n, &t) != ERR_OK)
        return NULL;
    if (status == 200)
        return answer;
    free(answer);
    return NULL;
}

static inline void etcd_wait_ready(const struct etcd_child *c)
{
    for (int i = 0; i < PATIENCE_S * 50; i++) {
        char *answer = etcd_ask(c, "/health", NULL);
        bool ready = answer && strstr(answer, "\"true\"");

        free(answer);
        if (ready)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* sleep: a
                                      process that tells nobody when it is ready */
    }
    fail_msg("etcd does not become ready: %s/log", c->dir);
}

static inline void etcd_exec(const struct etcd_child *c, const char *more)
{
    char peer[64], cluster[80], data[160], log[160];
    int fd;

    snprintf(peer, sizeof peer, "http://127.0.0.1:%d", c->peer_port);
    snprintf(cluster, sizeof cluster, "a=%s", peer);
    snprintf(data, sizeof data, "%s/data", c->dir);
    snprintf(log, sizeof log, "%s/log", c->dir);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    (void)dup2(fd, 1);
    (void)dup2(fd, 2);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("etcd", "etcd", "--name", "a", "--data-dir", data,
           "--listen-client-urls", c->http, "--advertise-client-urls", c->http,
           "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
           "--initial-cluster", cluster, "--max-txn-ops=1024", more,
           (char *)NULL);
    _exit(127);
}

/* Again in the same directory, on the same ports. */
static inline void etcd_run(struct etcd_child *c, const char *more)
{
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0)
        etcd_exec(c, more);
    etcd_wait_ready(c);
}

static inline void etcd_kill(struct etcd_child *c, int sig)
{
    int status;

    if (c->pid <= 0)
        return;
    kill(c->pid, sig);
    (void)waitpid(c->pid, &status, 0);
    c->pid = 0;
}

/* more: a flag; may be NULL. */
static inline void etcd_begin(struct etcd_child *c, const char *more)
{
    struct stat st;

    /* Its log syncs at each write, and nothing here is about disks. */
    snprintf(c->dir, sizeof c->dir, "%s/muster-etcd-XXXXXX",
             stat("/dev/shm", &st) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(c->dir));
    c->client_port = etcd_port();
    c->peer_port = etcd_port();
    snprintf(c->url, sizeof c->url, "etcd://127.0.0.1:%d", c->client_port);
    snprintf(c->http, sizeof c->http, "http://127.0.0.1:%d", c->client_port);
    etcd_run(c, more);
}

static inline void etcd_end(struct etcd_child *c)
{
    if (!c->dir[0])
        return;
    etcd_kill(c, SIGKILL);
    world_rmdir(c->dir);
    c->dir[0] = '\0';
}

/* As if new, but for its revision: history is gone, too. */
static inline void etcd_wipe(const struct etcd_child *c)
{
    char body[64];
    uint64_t revision = 0;
    char *answer = etcd_ask(c, "/v3/kv/deleterange",
                            "{\"key\":\"AA==\",\"range_end\":\"AA==\"}");

    assert_non_null(answer);
    assert_ok(
        etcd_number_read(bytes_str(answer), "header", "revision", &revision));
    free(answer);
    snprintf(body, sizeof body, "{\"revision\":\"%llu\"}",
             (unsigned long long)revision);
    free(etcd_ask(c, "/v3/kv/compaction", body));
}

/* The test's process's, empty. */
static inline const char *etcd_fresh(void)
{
    if (!etcd_child.dir[0])
        etcd_begin(&etcd_child, NULL);
    else
        etcd_wipe(&etcd_child);
    return etcd_child.url;
}

static inline void needs_etcd(void **state)
{
    (void)state;
    skip_because("etcd is not installed (Debian: etcd-server)");
}

#endif
