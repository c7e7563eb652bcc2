/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/run.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cli/cli.h"
#include "server/archive.h"
#include "server/core.h"
#include "server/drain_peer.h"
#include "server/link.h"
#include "server/live.h"
#include "server/members.h"
#include "server/mirrors.h"
#include "server/monitor.h"
#include "server/notify.h"
#include "server/place.h"
#include "server/presence.h"
#include "server/reload.h"
#include "server/serving.h"
#include "server/sockets.h"
#include "server/subscribers.h"
#include "server/wan.h"
#include "server/watches.h"
#include "server/zones.h"

enum {
    STOP_LIMIT_MS = 8000, /* then the process ends as it is */
    DESCRIPTORS_SPARE = 64,
};

static struct run {
    struct settings *settings;
    struct process process;
    struct core core;
    struct reload reload;
    uv_loop_t *loop;
    uv_signal_t signals[6];
    size_t signal_count;
    struct core_letter idle[SERVING_THREADS_MAX];
    _Atomic int idle_count;
    int serving_left;
    struct timer end;
    bool stopping;
    int exit_code;
    uint32_t dns_conns, dns_forwarded; /* of a thread */
    char *catalog_path, *agent_path;
    char boot_id[64];
} run; /* one per process: signal handlers and the atexit path need it */

/* --- Process-wide settings ----------------------------------------------- */

static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r); /* the old limit still serves */
    }
}

static int core_count(int most)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    return cores < 1 ? 1 : cores > most ? most : (int)cores;
}

static int dns_threads(const struct settings *s)
{
    return s->dns.threads ? s->dns.threads : core_count(DNSD_THREADS_MAX);
}

static bool set_limits(const struct settings *s, struct errtext *t)
{
    struct rlimit r = {.rlim_cur = 1024};
    struct conn_limits *l = &run.process.conn_limits;
    (void)getrlimit(RLIMIT_NOFILE, &r);
    uint32_t most =
        r.rlim_cur > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)r.rlim_cur;
    l->max_conns = s->http_max_conns;
    l->max_conns_per_peer = s->http_max_conns_per_client;
    l->http.body_bytes = s->http_max_body_bytes;
    l->http.large_path = "/v1/snapshot";
    l->http.large_bytes = SNAPSHOT_BODY_MAX;
    l->http.header_bytes = s->http_max_header_bytes;
    l->handshake_ms = s->handshake_ms;
    if (most <= DESCRIPTORS_SPARE) {
        errtext_set(t,
                    "this process may open only %u files, it needs more than "
                    "%d: raise the limit (ulimit -n)",
                    most, DESCRIPTORS_SPARE);
        return false;
    }
    /* DNS gets a quarter, or what HTTP was told not to take. */
    uint32_t left = most - DESCRIPTORS_SPARE, share = left;
    if (l->max_conns && l->max_conns < left && left - l->max_conns < left / 4)
        share = 4 * (left - l->max_conns);
    uint32_t dns = dns_descriptors(&s->dns, dns_threads(s), share,
                                   &run.dns_conns, &run.dns_forwarded);
    left -= dns < left ? dns : left - 1;
    if (l->max_conns == 0)
        l->max_conns = left;
    if (l->max_conns > left) {
        errtext_set(t,
                    "limits.http_max_conns is %u, but this process may open "
                    "only %u files, %u of them for DNS: raise the limit "
                    "(ulimit -n) or lower it",
                    l->max_conns, most, dns);
        return false;
    }
    /* More than there can be is no limit at all. */
    if (l->max_conns_per_peer == 0 || l->max_conns_per_peer > l->max_conns)
        l->max_conns_per_peer = l->max_conns;
    return true;
}

static void read_boot_id(void)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (!f)
        return; /* unknown: then nothing is taken over from before */
    if (fgets(run.boot_id, sizeof run.boot_id, f))
        run.boot_id[strcspn(run.boot_id, "\n")] = 0;
    fclose(f);
}

static bool write_pid_file(const char *path, struct errtext *t)
{
    FILE *f = path ? fopen(path, "we") : NULL;
    if (!path)
        return true;
    bool ok = f && fprintf(f, "%d", getpid()) > 0;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        errtext_set(t, "pid_file %s: %s", path, strerror(errno));
    return ok;
}

/* --- Data directory ------------------------------------------------------ */

static bool open_data_dir(const struct settings *s, struct errtext *t)
{
    if (!s->data_dir)
        return true;
    if (mkdir(s->data_dir, 0750) != 0 && errno != EEXIST) {
        errtext_set(t, "data_dir %s: cannot be made: %s", s->data_dir,
                    strerror(errno));
        return false;
    }
    if (access(s->data_dir, W_OK | X_OK) != 0) {
        errtext_set(t, "data_dir %s: not writable: %s", s->data_dir,
                    strerror(errno));
        return false;
    }
    if (asprintf(&run.catalog_path, "%s/catalog.db", s->data_dir) < 0 ||
        asprintf(&run.agent_path, "%s/agent.db", s->data_dir) < 0) {
        errtext_set(t, "out of memory");
        return false;
    }
    return true;
}

/* The node's ID: as configured, or made once and kept in the data directory. */
static bool node_id(const struct settings *s, char out[37], struct errtext *t)
{
    uint8_t random[16];
    char path[4096];
    if (s->node_id) {
        snprintf(out, 37, "%s", s->node_id);
        return true;
    }
    snprintf(path, sizeof path, "%s/node-id", s->data_dir ? s->data_dir : "");
    FILE *f = s->data_dir ? fopen(path, "re") : NULL;
    if (f) {
        bool ok = fread(out, 1, 36, f) == 36;
        fclose(f);
        out[36] = 0;
        if (ok && bytes_uuid(bytes_of(out, 36)))
            return true;
        errtext_set(t, "%s: holds no node ID: remove it to get a new one",
                    path);
        return false;
    }
    if (getentropy(random, sizeof random) != 0) {
        errtext_set(t, "node ID: no random bytes: %s", strerror(errno));
        return false;
    }
    uuid_format(random, out);
    if (!s->data_dir)
        return true;
    f = fopen(path, "we");
    bool ok = f && fprintf(f, "%s\n", out) > 0 && fflush(f) == 0 &&
              fsync(fileno(f)) == 0;
    if (f && fclose(f) != 0)
        ok = false;
    if (!ok)
        errtext_set(t, "%s: %s", path, strerror(errno));
    return ok;
}

/* --- What answers show of this process ----------------------------------- */

static void fill_self(const struct settings *s, const char *id)
{
    struct api_self *self = &run.process.self;
    struct bytes address = bytes_str(s->advertise_addr);
    *self = (struct api_self){
        .node_name = bytes_str(s->node_name),
        .node_id = bytes_str(id),
        .datacenter = bytes_str(s->datacenter),
        .version = bytes_str(CLI_API_VERSION),
        .domain = bytes_str(s->domain),
        .bind_address = bytes_str(s->bind_addr),
        .advertise_address = address,
        .http_port = s->http_port,
        .https_port = s->https_port,
        .dns_port = s->dns_port,
        .serf_lan_port = s->serf_lan_port,
        .serf_wan_port = s->serf_wan_port,
        .server_port = s->server_port,
        .grpc_port = s->grpc_port,
        .is_server = s->is_server,
        .is_dev = s->is_dev,
        .ui = s->ui,
        .scripts_allowed = s->scripts_allowed,
        .tagged = {s->tagged, s->tagged_count},
        .pretty = s->is_dev,
    };
}

/* --- Listening ----------------------------------------------------------- */

/* Each address gives every thread a socket. */
static bool listen_all(const struct settings *s, int threads,
                       int fds[][RUN_LISTENERS_MAX], struct errtext *t)
{
    int one[SERVING_THREADS_MAX];
    for (size_t a = 0; a < s->listener_count; a++) {
        const struct run_listener *l = &s->listeners[a];
        const char *where = l->address;
        enum err e;
        if (strncmp(where, "unix://", 7) == 0) {
            e = listen_unix(where + 7, s->unix_mode, &one[0], t);
            if (e == ERR_OK)
                e = sockets_own(where + 7, s->unix_user, s->unix_group, t);
            for (int i = 1; e == ERR_OK && i < threads; i++)
                one[i] = fcntl(one[0], F_DUPFD_CLOEXEC, 0);
        } else {
            e = listen_tcp(where, l->port, threads, one, t);
        }
        if (e != ERR_OK)
            return false;
        for (int i = 0; i < threads; i++)
            fds[i][a] = one[i];
        if (l->peers)
            log_info("peers", "listens: address=%s port=%d encrypted=%s", where,
                     l->port, s->peers.tls ? "true" : "false");
        else
            log_info("server", "%s listens: address=%s port=%d",
                     l->tls ? "HTTPS" : "HTTP", where, l->port);
    }
    return true;
}

static void post_to_serving(struct serving *s, enum letter_kind kind)
{
    struct letter *l = xzalloc(sizeof *l);
    list_init(&l->link);
    l->kind = kind;
    serving_post(s, l);
}

/* All serving threads are idle: only now, because one's write in flight is
 * published to the others. */
static void end(struct timer *t)
{
    (void)t;
    struct process *p = &run.process;
    for (int i = 0; i < p->serving_count; i++) {
        post_to_serving(p->serving[i], LETTER_END);
        serving_join(p->serving[i]);
        p->serving[i] = NULL;
    }
    drafter_join(p);
    archivist_join(p);
    dnsd_stop(p->dnsd);
    p->dnsd = NULL;
    for (size_t i = 0; i < run.signal_count; i++) {
        /* A SIGHUP must not end the process while its stores are closed; told
         * to stop once more, it may end at once. */
        if (run.signals[i].signum == SIGHUP)
            uv_unref((uv_handle_t *)&run.signals[i]);
        else
            uv_close((uv_handle_t *)&run.signals[i], NULL);
    }
    core_stop(&run.core);
}

/* The end comes from a timer: here, further letters may wait on the stack. */
static void serving_idle_on_core(struct core *c, struct core_letter *l)
{
    (void)l;
    if (--run.serving_left > 0)
        return;
    run.end.fire = end;
    timer_set(&c->timers, &run.end, 0);
}

/* On the serving thread that has nothing left to do. */
static void serving_idle(struct process *p)
{
    (void)p;
    struct core_letter *l = &run.idle[atomic_fetch_add(&run.idle_count, 1)];
    list_init(&l->link);
    l->run = serving_idle_on_core;
    core_post(&run.core, l);
}

/* Before anybody publishes or serves. */
static bool start_subscribers(struct process *p, struct errtext *t)
{
    p->subscribers = subscribers_new();
    p->drains = drains_new();
    if (!p->subscribers || !p->drains)
        errtext_set(t, "start: no memory");
    return p->subscribers && p->drains;
}

static bool start_dns(const struct settings *s, struct errtext *t)
{
    struct process *p = &run.process;

    zones_init(p);
    if (s->dns.port < 0)
        return true;
    return dns_start(p, &s->dns, dns_threads(s), run.dns_conns,
                     run.dns_forwarded, t) == ERR_OK;
}

/* Nobody is told that nothing is registered here while agent.db is being read:
 * until then who connects waits. */
static void wait_for_agent(void)
{
    while (!agent_is_loaded(run.core.agent) && !run.stopping)
        uv_run(run.loop, UV_RUN_ONCE);
    if (run.stopping) /* nothing has been served or written yet */
        _exit(run.exit_code);
}

static bool start_serving(const struct settings *s, struct errtext *t)
{
    struct process *p = &run.process;
    int threads = s->threads ? s->threads : core_count(SERVING_THREADS_MAX);
    if (threads > SERVING_THREADS_MAX)
        threads = SERVING_THREADS_MAX;
    static int fds[SERVING_THREADS_MAX][RUN_LISTENERS_MAX];
    if (!listen_all(s, threads, fds, t) || !start_dns(s, t))
        return false;
    wait_for_agent();
    if (drafter_start(p, t) != ERR_OK || archivist_start(p, t) != ERR_OK)
        return false;
    p->serving_count = threads;
    p->serving_idle = serving_idle;
    run.serving_left = threads;
    for (int i = 0; i < threads; i++)
        if (serving_start(p, i, s, fds[i], &p->serving[i], t) != ERR_OK)
            return false;
    return true;
}

/* --- The end ------------------------------------------------------------- */

static void stop_limit(int sig)
{
    (void)sig;
    static const char text[] = "muster: did not stop in time, ending now\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(3);
    _exit(2);
}

static void begin_stop(int exit_code)
{
    if (run.stopping) { /* asked twice */
        _exit(exit_code ? exit_code : 1);
    }
    run.stopping = true;
    run.exit_code = exit_code;
    reload_close(&run.reload);
    notify_manager("STOPPING=1");
    signal(SIGALRM, stop_limit);
    alarm(STOP_LIMIT_MS / 1000);
    monitor_flush(&run.core); /* the last line that readers get says why */
    for (int i = 0; i < run.process.serving_count; i++)
        post_to_serving(run.process.serving[i], LETTER_CLOSE);
    core_serving_ends(&run.core);
}

/* Servers do not leave when they are told to stop: they come back (Consul's
 * behaviour, and its exit codes). */
static void on_left(void *ctx)
{
    (void)ctx;
    log_info("server", "left; stopping");
    if (!run.stopping) /* he who leaves may be told to stop meanwhile */
        begin_stop(0);
}

static void on_give_up(void *ctx, const char *why)
{
    (void)ctx;
    log_error("agent", "%s", why);
    fprintf(stderr, "==> %s\n", why);
    if (!run.stopping)
        begin_stop(1);
}

static void on_signal(uv_signal_t *h, int sig)
{
    (void)h;
    const struct settings *s = run.settings;
    bool leave = sig == SIGINT    ? !s->skip_leave_on_interrupt
                 : sig == SIGTERM ? s->leave_on_terminate
                                  : false;
    if (sig == SIGHUP) {
        if (!run.stopping && !run.core.leaving)
            reload_ask(&run.reload, NULL);
        return;
    }
    log_info("server", "stopping: signal=%s leave=%s", strsignal(sig),
             leave ? "true" : "false");
    if (leave && !run.core.leaving)
        core_leave(&run.core);
    else
        begin_stop(leave ? 0 : 1);
}

static void hangup(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(how, &set, NULL);
}

void run_hold_hangup(void)
{
    hangup(SIG_BLOCK);
}

static void watch_signals(void)
{
    static const int which[] = {SIGINT, SIGTERM, SIGHUP};
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof which / sizeof which[0]; i++) {
        uv_signal_t *h = &run.signals[run.signal_count++];
        uv_signal_init(run.loop, h);
        uv_signal_start(h, on_signal, which[i]);
    }
    hangup(SIG_UNBLOCK);
}

/* --- Life ---------------------------------------------------------------- */

static void on_ready(void *ctx)
{
    (void)ctx;
    notify_manager("READY=1");
    reload_begin(&run.reload, run.settings);
}

static void on_reload(void *ctx, struct agent_op *take)
{
    (void)ctx;
    reload_ask(&run.reload, take);
}

static bool start(const struct settings *s, char id[37], struct errtext *t)
{
    if (!set_limits(s, t) || !open_data_dir(s, t) || !node_id(s, id, t))
        return false;
    read_boot_id();
    fill_self(s, id);
    struct process *p = &run.process;
    pin_init(&p->pins);
    if (!start_subscribers(p, t))
        return false;
    live_publish(p, s);
    p->catalog = catalog_new(&p->pins);
    p->local = local_new(&p->pins);
    p->heard = heard_new(&p->pins);
    p->beats = beats_new(&p->pins);
    p->cache_bytes = CACHE_BYTES_DEFAULT;
    p->data_dir = s->data_dir;
    p->presence = presence_new();
    p->psk = s->peers.secret.n ? &s->peers.psk : NULL;
    p->started_ms = process_now_ms();
    p->core = &run.core;
    if (members_open(s, p, t) != ERR_OK)
        return false;
    struct core_options o = {
        .catalog_path = run.catalog_path,
        .etcd_url = p->members ? "etcd://localhost" : s->store,
        .etcd = p->members ? (struct store_etcd){.unix_path =
                                                     cluster_socket(p->members)}
                           : s->store_etcd,
        .agent_path = run.agent_path,
        .peer_port = members_peer_port(s),
        .scripts_allowed = s->scripts_allowed,
        .scripts_allowed_local = s->scripts_allowed_local,
        .check_tls = s->check_tls,
        .docker_host = s->docker_host,
        .damping = s->damping,
        .reconnect_ms = s->reconnect_ms,
        .mirror_idle_ms = s->mirror_idle_ms,
        .join = s->is_server || !s->peers.join_count ? NULL : s->peers.join,
        .join_count = s->peers.join_count,
        .join_rule = members_join_rule(s),
        .check_update_interval_ms = s->check_update_interval_ms,
        .output_max = s->output_max,
        .discard_output = s->discard_output,
        .boot_id = run.boot_id,
        .ready = on_ready,
        .left = on_left,
        .give_up = on_give_up,
        .reload = on_reload,
    };
    watch_signals();
    /* The pid file last: a second process on the same data directory or port
     * must not have written over the first one's when it is refused. */
    return core_start(&run.core, p, &o, run.loop, t) == ERR_OK &&
           wan_open(&run.core, s, t) == ERR_OK &&
           mirrors_open(&run.core, s, t) == ERR_OK && start_serving(s, t) &&
           write_pid_file(s->pid_file, t);
}

int run_agent(struct settings *s)
{
    struct errtext t = {{0}};
    char id[37];
    run.settings = s;
    reload_init(&run.reload, &run.core);
    run.reload.read = s->read;
    run.reload.drop = s->drop;
    run.reload.changed = s->changed;
    run.loop = uv_default_loop();
    raise_descriptor_limit();
    /* A few threads share the heap; more arenas only spread memory. */
    mallopt(M_ARENA_MAX, 2);
    if (!start(s, id, &t)) {
        sockets_remove();
        log_error("agent", "Error starting agent: error=\"%s\"", t.s);
        fprintf(stderr, "==> Error starting agent: %s\n", t.s);
        fflush(NULL);
        _exit(1); /* threads may run already: nothing is torn down */
    }
    /* One of several may have to wait for the others: it runs all the same. */
    if (run.process.members)
        notify_manager("READY=1");
    log_info("server", "node=%s id=%s datacenter=%s server=%s", s->node_name,
             id, s->datacenter, s->is_server ? "true" : "false");
    uv_run(run.loop, UV_RUN_DEFAULT);

    mirrors_end(&run.process);
    wan_end(&run.process);
    place_end(&run.process);
    drains_free(run.process.drains);
    subscribers_free(run.process.subscribers);
    catalog_free(run.process.catalog);
    local_free(run.process.local);
    watches_free(run.core.watches);
    heard_free(run.process.heard);
    beats_free(run.process.beats);
    members_fini(&run.process);
    presence_free(run.process.presence);
    live_fini(&run.process);
    pin_fini(&run.process.pins);
    sockets_remove();
    free(run.catalog_path);
    free(run.agent_path);
    if (s->pid_file && unlink(s->pid_file) != 0)
        log_warn("server", "pid_file %s: %s", s->pid_file, strerror(errno));
    uv_loop_close(run.loop);
    log_info("server", "stopped");
    return run.exit_code;
}
