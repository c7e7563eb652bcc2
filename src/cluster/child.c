/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The etcd of this server: started, its log taken into ours, its end told, and
 * started again after 0.2 s, doubled each time it does not last, up to 30 s.
 *
 * It must not outlive us: between fork and exec a copy of this program
 * (child_become) asks the kernel to kill it when its parent's thread ends. Where
 * libuv leaves no room for that in between, the copy is there. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "cluster/become.h"
#include "cluster/impl.h"
#include "loop/tls_issue.h"

enum {
    AGAIN_FIRST_MS = 200,
    AGAIN_MAX_MS = 30 * 1000,
    LASTED_MS = 10 * 1000, /* so long: the next wait is the first again */
    KILL_MS = 4000,        /* after SIGTERM */
    WORDS_MAX = 64,
};

extern char **environ;

int child_become(int argc, char **argv)
{
    if (argc < 4 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        return 127;
    /* It may have ended before that. */
    if (getppid() != (pid_t)strtol(argv[2], NULL, 10))
        return 127;
    execvp(argv[3], argv + 3);
    fprintf(stderr, "%s: %s\n", argv[3], strerror(errno));
    return 127;
}

/* --- Its words ------------------------------------------------------------ */

struct words {
    char *v[WORDS_MAX + 1];
    size_t n;
};

static void word(struct words *w, const char *fmt, ...)
{
    struct buf b = {0};
    char room[INITIAL_MAX + 64];
    va_list args;

    require(w->n < WORDS_MAX);
    va_start(args, fmt);
    (void)vsnprintf(room, sizeof room, fmt, args);
    va_end(args);
    buf_puts(&b, room);
    buf_putc(&b, '\0');
    w->v[w->n++] = buf_take(&b, NULL);
    require(w->v[w->n - 1]);
}

static void words_fini(struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->v[i]);
}

static void url_of(char *ret, size_t n, const char *scheme, const char *host,
                   int port)
{
    char at[300];

    net_host_port(at, sizeof at, bytes_str(host), (uint64_t)port);
    (void)snprintf(ret, n, "%s://%s", scheme, at);
}

static void tls_words(struct words *w)
{
    word(w, "--peer-client-cert-auth");
    word(w, "--peer-trusted-ca-file=ca.pem");
    word(w, "--peer-cert-file=cert.pem");
    word(w, "--peer-key-file=key.pem");
    /* A certificate proves that somebody belongs to the cluster, not by which
     * of his addresses he calls. */
    word(w, "--experimental-peer-skip-client-san-verification");
}

/* Limits as the store wants them (ARCHITECTURE.md, The store on etcd). */
static void limit_words(struct words *w, uint64_t quota)
{
    word(w, "--max-txn-ops=1024");
    word(w, "--max-request-bytes=1572864");
    word(w, "--quota-backend-bytes=%llu", (unsigned long long)quota);
    /* Entries kept in memory for members that lag; each may be a megabyte. */
    word(w, "--snapshot-count=10000");
    /* Each transaction copies what has not been flushed to the file yet, and the
     * flush holds up all of them: 100 ms by default, and the reason for a write's
     * tail. Much less would sync a slow disk more than the log does. */
    word(w, "--backend-batch-interval=40ms");
    word(w, "--heartbeat-interval=50");
    word(w, "--election-timeout=500");
    word(w, "--pre-vote");
}

static void make_words(const struct cluster *c, struct words *w)
{
    const struct cluster_options *o = &c->options;
    const struct record *r = &c->record;
    const char *scheme = o->secret.n ? "https" : "http";
    char listen[320], peer[320];

    url_of(listen, sizeof listen, scheme, o->bind_addr, o->server_port);
    url_of(peer, sizeof peer, "http", o->address, o->peer_port);
    word(w, "muster");
    word(w, BECOME);
    word(w, "%d", (int)getpid());
    word(w, "etcd");
    word(w, "--name=%s", o->node_id);
    word(w, "--data-dir=data");
    word(w, "--listen-client-urls=unix://client:0");
    /* Nobody calls it: so it tells the others where we listen. */
    word(w, "--advertise-client-urls=%s", peer);
    word(w, "--listen-peer-urls=%s", listen);
    word(w, "--initial-advertise-peer-urls=%s", c->url);
    word(w, "--initial-cluster=%s", r->initial);
    word(w, "--initial-cluster-state=%s", r->existing ? "existing" : "new");
    word(w, "--initial-cluster-token=%s", r->token);
    word(w, "--logger=zap");
    word(w, "--log-outputs=stderr");
    word(w, "--log-level=info");
    limit_words(w, o->quota);
    if (child_is_to_recover(c))
        word(w, "--force-new-cluster");
    if (o->secret.n)
        tls_words(w);
    w->v[w->n] = NULL;
}

/* An operator has given up the other members (docs/clusters.md). */
bool child_is_to_recover(const struct cluster *c)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/recover", c->folder);
    return access(path, F_OK) == 0;
}

/* Once: started so again, it would throw out who has joined since. */
void child_recovered(struct cluster *c)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/recover", c->folder);
    if (unlink(path) == 0)
        log_warn("cluster",
                 "this server goes on alone with what it had, and others can "
                 "join it: now make a new epoch (muster snapshot save, muster "
                 "snapshot restore)");
    else
        log_error("cluster", "%s: %s: remove it before the next start", path,
                  strerror(errno));
}

/* Settings in the environment would go before ours. Go's heap may grow to three
 * times what lives before it is cleaned up, not twice: under many writes that was
 * a tenth of etcd's CPU. */
static char **environment(void)
{
    static char gc[] = "GOGC=200";
    size_t n = 0, kept = 0;
    bool said = false;

    while (environ[n])
        n++;
    char **all = xmalloc((n + 2) * sizeof *all);
    for (size_t i = 0; i < n; i++) {
        said |= strncmp(environ[i], "GOGC=", 5) == 0;
        if (strncmp(environ[i], "ETCD_", 5) != 0 ||
            strncmp(environ[i], "ETCD_UNSUPPORTED_ARCH=", 22) == 0)
            all[kept++] = environ[i];
    }
    if (!said)
        all[kept++] = gc;
    all[kept] = NULL;
    return all;
}

bool child_is_installed(void)
{
    const char *path = getenv("PATH");
    struct bytes rest = bytes_str(path ? path : "/usr/bin:/bin");

    while (rest.n) {
        char file[4096];
        size_t n = bytes_find(rest, ':');

        (void)snprintf(file, sizeof file, "%.*s/etcd", (int)n, rest.p);
        if (access(file, X_OK) == 0)
            return true;
        rest = bytes_skip(rest, n + 1);
    }
    return false;
}

/* --- Its log -------------------------------------------------------------- */

static enum log_level level_of(struct bytes line)
{
    static const struct {
        const char *begin;
        enum log_level level;
    } levels[] = {
        {"{\"level\":\"debug\"", LOG_TRACE}, {"{\"level\":\"info\"", LOG_DEBUG},
        {"{\"level\":\"warn\"", LOG_INFO},   {"{\"level\":\"error\"", LOG_WARN},
        {"{\"level\":\"fatal\"", LOG_ERR},   {"{\"level\":\"panic\"", LOG_ERR},
    };

    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (bytes_starts(line, bytes_str(levels[i].begin)))
            return levels[i].level;
    return LOG_WARN;
}

/* Message and fields, as they stand. */
static struct bytes said(struct bytes line)
{
    static const char mark[] = "\"msg\":";
    char *at = line.n ? memmem(line.p, line.n, mark, sizeof mark - 1) : NULL;

    if (!at)
        return line;
    struct bytes rest =
        bytes_skip(line, (size_t)(at - line.p) + sizeof mark - 1);
    if (rest.n && rest.p[rest.n - 1] == '}')
        rest.n--;
    return rest;
}

/* It warns of that too, without an end: where it would have liked more. */
static bool says_no_room(struct bytes line)
{
    static const char *const texts[] = {"no space left on device",
                                        "disk quota exceeded"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (memmem(line.p, line.n, texts[i], strlen(texts[i])))
            return true;
    return false;
}

static void take_line(struct child *ch)
{
    struct bytes line = bytes_of(ch->line, ch->line_n);
    enum log_level level = level_of(line);
    struct bytes text = said(line);

    if (line.n == 0)
        return;
    if (memmem(line.p, line.n, "permanently removed", 19))
        ch->removed = true;
    if (level >= LOG_WARN && says_no_room(line))
        ch->no_room = true;
    if (level >= LOG_WARN)
        (void)text_take(ch->last, sizeof ch->last, text);
    log_if(level, "etcd", "%.*s%s", BYTES_ARG(text),
           ch->line_over ? " ..." : "");
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    static char room[16 * 1024]; /* of one thread, used up at once */

    (void)h;
    (void)suggested;
    *ret = uv_buf_init(room, sizeof room);
}

static void handle_closed(uv_handle_t *h);

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct child *ch = stream->data;

    for (ssize_t i = 0; i < n; i++) {
        if (buf->base[i] == '\n') {
            take_line(ch);
            ch->line_n = 0;
            ch->line_over = false;
        } else if (ch->line_n < sizeof ch->line) {
            ch->line[ch->line_n++] = buf->base[i];
        } else {
            ch->line_over = true;
        }
    }
    if (n < 0 && !uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, handle_closed);
}

/* --- Its end -------------------------------------------------------------- */

static void on_again(struct timer *t)
{
    struct child *ch = container_of(t, struct child, again);

    child_start(ch->cluster);
}

/* All of it is over, its last words too. */
static void ended(struct cluster *c)
{
    struct child *ch = &c->child;
    uint64_t lasted = cluster_now(c) - ch->started_ms;

    c->store.answered = false;
    if (c->left) {
        leave_forget(c);
        c->phase = REMOVED;
    }
    if (c->stopping) {
        timers_close(c->timers);
        return;
    }
    if (c->phase == REMOVED)
        return;
    if (ch->removed) {
        log_error("cluster",
                  "this server was removed from the cluster and keeps no data "
                  "of it any more: to join anew, stop it, remove %s and %s, "
                  "start it",
                  c->record_path, c->folder);
        c->phase = REMOVED;
        cluster_changed(c);
        return;
    }
    disk_ended(c, ch->no_room);
    ch->wait_ms = lasted >= LASTED_MS || ch->wait_ms == 0 ? AGAIN_FIRST_MS
                  : ch->wait_ms * 2 < AGAIN_MAX_MS        ? ch->wait_ms * 2
                                                          : AGAIN_MAX_MS;
    log_warn("cluster", "etcd is started again in %llu ms",
             (unsigned long long)ch->wait_ms);
    timer_set(c->timers, &ch->again, ch->wait_ms);
    cluster_changed(c);
}

static void handle_closed(uv_handle_t *h)
{
    struct child *ch = h->data;

    if (--ch->open == 0)
        ended(ch->cluster);
}

static void on_exit_of(uv_process_t *p, int64_t status, int signal)
{
    struct child *ch = p->data;
    bool meant = ch->stopping || ch->cluster->stopping;

    ch->running = false;
    timer_clear(ch->cluster->timers, &ch->kill);
    if (signal)
        log_if(meant ? LOG_INFO : LOG_ERR, "cluster",
               "etcd ended: signal=%s last=%s", strsignal(signal), ch->last);
    else
        log_if(meant ? LOG_INFO : LOG_ERR, "cluster",
               "etcd ended: status=%lld last=%s", (long long)status, ch->last);
    uv_close((uv_handle_t *)p, handle_closed);
}

static void on_kill(struct timer *t)
{
    struct child *ch = container_of(t, struct child, kill);

    if (ch->running)
        (void)uv_process_kill(&ch->process, SIGKILL);
}

void child_stop(struct cluster *c)
{
    struct child *ch = &c->child;

    timer_clear(c->timers, &ch->again);
    if (!ch->running)
        return;
    ch->stopping = true;
    (void)uv_process_kill(&ch->process, SIGTERM);
    timer_set(c->timers, &ch->kill, KILL_MS);
}

/* --- Its beginning -------------------------------------------------------- */

static bool write_file(const struct cluster *c, const char *name,
                       struct bytes text)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/%s", c->folder, name);
    (void)unlink(path);
    FILE *f = fopen(path, "wxe");
    bool ok =
        f && chmod(path, 0600) == 0 && fwrite(text.p, 1, text.n, f) == text.n;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        log_error("cluster", "%s: %s", path, strerror(errno));
    return ok;
}

static bool write_certificates(const struct cluster *c)
{
    struct tls_issued made;

    if (c->options.secret.n == 0)
        return true;
    if (tls_issue(c->options.secret, c->options.address, c->options.node_id,
                  &made) != ERR_OK)
        return false;
    bool ok = write_file(c, "ca.pem", buf_bytes(&made.authority)) &&
              write_file(c, "cert.pem", buf_bytes(&made.cert)) &&
              write_file(c, "key.pem", buf_bytes(&made.key));
    tls_issued_fini(&made);
    return ok;
}

static int spawn(struct cluster *c)
{
    struct child *ch = &c->child;
    struct words w = {0};
    char **env = environment();
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE,
         .data.stream = (uv_stream_t *)&ch->err},
    };
    make_words(c, &w);
    const uv_process_options_t o = {
        .exit_cb = on_exit_of,
        .file = "/proc/self/exe",
        .args = w.v,
        .env = env,
        .cwd = c->folder,
        .stdio_count = 3,
        .stdio = stdio,
        .flags = UV_PROCESS_DETACHED, /* a terminal's ^C is ours to pass on */
    };
    int e = uv_pipe_init(c->loop, &ch->err, 0);
    ch->err.data = ch->process.data = ch;
    ch->open = 1;
    if (e == 0) {
        e = uv_spawn(c->loop, &ch->process, &o);
        ch->process.data = ch;
        ch->open = 2; /* after a failure, too */
    }
    if (e == 0)
        e = uv_read_start((uv_stream_t *)&ch->err, on_alloc, on_read);
    free(env);
    words_fini(&w);
    return e;
}

/* What it needs cannot be written: at once when there is room, else by and by. */
static void start_later(struct cluster *c)
{
    disk_ended(c, false);
    timer_set(c->timers, &c->child.again, AGAIN_MAX_MS);
}

void child_start(struct cluster *c)
{
    struct child *ch = &c->child;

    if (c->stopping || ch->running || ch->open)
        return;
    ch->cluster = c;
    ch->again.fire = on_again;
    ch->kill.fire = on_kill;
    ch->started_ms = cluster_now(c);
    ch->line_n = 0;
    ch->last[0] = 0;
    ch->no_room = false;
    if (mkdir(c->folder, 0700) != 0 && errno != EEXIST) {
        log_error("cluster", "%s: %s", c->folder, strerror(errno));
        start_later(c);
        return;
    }
    if (!write_certificates(c)) {
        start_later(c);
        return;
    }
    (void)unlink(c->socket); /* of one that was killed: etcd leaves it be */
    int e = spawn(c);
    if (e == 0) {
        ch->running = true;
        log_info("cluster", "etcd is started: pid=%d folder=%s",
                 (int)ch->process.pid, c->folder);
        return;
    }
    log_error("cluster", "etcd cannot be started: %s", uv_strerror(e));
    uv_close((uv_handle_t *)&ch->err, handle_closed);
    uv_close((uv_handle_t *)&ch->process, handle_closed);
}
