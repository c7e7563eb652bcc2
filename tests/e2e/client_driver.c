/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* client_driver - libmuster at the other end of a pipe, for tests in Python. One
 * command a line, one answer a line; `error N text` where something fails.
 *
 *     set OPTION VALUE                                (of what is made next)
 *     open SERVERS CACHE_DIR HOLD_MS thread|loop      ("-": none)
 *     watch NAME POLICY     wait MS     pick KEY     run N KEYS
 *     report ok|failed|unreachable     copy     status     each     token TEXT
 *     datacenters
 *     register NAME ID PORT TTL_MS WEIGHT     registered MS
 *     health passing|warning|critical         deregister MS     load MS
 *     fork     spin MS     process     threads     inherited     close        */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <muster.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct muster *m;
static struct muster_service *s;
static struct muster_ticket ticket;
static struct muster_registration *registration;
static int changes,
    busy; /* of callbacks, on the handle's thread: see read_int */

/* What "set" gave; NULL or 0: as usual. */
enum { SETTINGS = 32 };
static struct {
    char name[32], value[512];
} given[SETTINGS];

static int read_int(const int *n)
{
    return __atomic_load_n(n, __ATOMIC_RELAXED);
}

static const char *setting(const char *name)
{
    for (int i = 0; i < SETTINGS; i++)
        if (strcmp(given[i].name, name) == 0)
            return given[i].value;
    return NULL;
}

static unsigned number(const char *name, unsigned usual)
{
    const char *text = setting(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : usual;
}

static void answer(int e, const char *why)
{
    if (e == MUSTER_OK)
        printf("ok\n");
    else
        printf("error %d %s\n", e, why && *why ? why : muster_error_text(e));
}

static void do_set(void)
{
    char *name = strtok(NULL, " "), *value = strtok(NULL, "");
    int i = 0;

    while (i < SETTINGS - 1 && given[i].name[0] && strcmp(given[i].name, name))
        i++;
    snprintf(given[i].name, sizeof given[i].name, "%s", name);
    snprintf(given[i].value, sizeof given[i].value, "%s", value ? value : "");
    answer(MUSTER_OK, NULL);
}

static void count_one(void *ctx, const struct muster_instance *i)
{
    *(size_t *)ctx += i->size == sizeof *i;
}

/* A callback may call anything but muster_close. */
static int all_but_close(struct muster_service *which)
{
    struct muster_status st;
    struct muster_ticket t;
    struct muster_service *more;
    size_t n = 0;

    muster_status_init(&st, sizeof st);
    return muster_close(m) == MUSTER_EBUSY &&
           muster_wait(which, 1) == MUSTER_EBUSY &&
           muster_status(which, &st) == MUSTER_OK &&
           muster_each(which, count_one, &n) == MUSTER_OK &&
           n == st.instances && muster_pick(which, NULL, &t) != MUSTER_EBUSY &&
           muster_set_token(m, setting("token")) == MUSTER_OK &&
           (!number("inside", 0) ||
            muster_watch(m, "inside", NULL, &more, NULL) == MUSTER_OK);
}

static void changed(void *ctx, struct muster_service *which)
{
    __atomic_fetch_add((int *)ctx, 1, __ATOMIC_RELAXED);
    if (number("inside", 0) && read_int(&changes) > 1)
        return; /* it would never end: each new token asks again */
    __atomic_fetch_add(&busy,
                       number("inside", 0) ? all_but_close(which)
                                           : muster_close(m) == MUSTER_EBUSY,
                       __ATOMIC_RELAXED);
}

static void log_line(void *ctx, enum muster_log_level level, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%d %s\n", (int)level, text);
}

static void do_open(void)
{
    char *servers = strtok(NULL, " "), *dir = strtok(NULL, " ");
    char *hold = strtok(NULL, " "), *loop = strtok(NULL, " ");
    char why[MUSTER_TEXT] = "";
    struct muster_options o;

    muster_options_init(&o, sizeof o);
    o.servers = strcmp(servers, "-") ? servers : NULL;
    o.cache_dir = strcmp(dir, "-") ? dir : NULL;
    o.hold_ms = strtoull(hold, NULL, 10);
    o.own_loop = strcmp(loop, "loop") == 0;
    o.log = log_line;
    o.agent = setting("agent");
    o.token = setting("token");
    o.ca_file = setting("ca_file");
    o.ca_path = setting("ca_path");
    o.cert_file = setting("cert_file");
    o.key_file = setting("key_file");
    o.tls_server_name = setting("tls_server_name");
    o.tls_skip_verify = (int)number("tls_skip_verify", 0);
    o.http_auth = setting("http_auth");
    o.datacenter = setting("datacenter");
    o.failover = setting("failover");
    o.failover_max_age_ms = number("failover_max_age_ms", 60000);
    o.cache_max_age_ms = number("cache_max_age_ms", 86400000);
    answer(muster_open(&o, &m, why), why);
}

static void do_watch(void)
{
    char *name = strtok(NULL, " "), *policy = strtok(NULL, " ");
    char why[MUSTER_TEXT] = "";
    struct muster_watch_options o;

    muster_watch_options_init(&o, sizeof o);
    o.policy = policy;
    o.zone = setting("zone");
    o.tag = setting("tag");
    o.filter = setting("filter");
    o.subset_size = number("subset_size", 0);
    o.slow_start_ms = number("slow_start_ms", 0);
    o.panic_percent = number("panic_percent", o.panic_percent);
    o.overprovision_percent =
        number("overprovision_percent", o.overprovision_percent);
    o.zone_min_hosts = number("zone_min_hosts", o.zone_min_hosts);
    o.outlier_consecutive =
        number("outlier_consecutive", o.outlier_consecutive);
    o.return_ms = number("return_ms", o.return_ms);
    o.failover = setting("watch_failover");
    o.changed = changed;
    o.ctx = &changes;
    answer(muster_watch(m, name, &o, &s, why), why);
}

static int pick(const char *key)
{
    struct muster_ask ask = {sizeof ask, key, key ? strlen(key) : 0, NULL, 0};

    return muster_pick(s, &ask, &ticket);
}

static void do_pick(void)
{
    int e = pick(strtok(NULL, " "));

    if (e == MUSTER_OK)
        printf("ok %s %u\n", ticket.address, (unsigned)ticket.port);
    else
        answer(e, NULL);
}

/* How often each port is picked. */
static void do_run(void)
{
    static unsigned count[65536];
    long n = strtol(strtok(NULL, " "), NULL, 10);
    long keys = strtol(strtok(NULL, " "), NULL, 10);
    int e = MUSTER_OK;

    memset(count, 0, sizeof count);
    for (long i = 0; i < n && e == MUSTER_OK; i++) {
        char key[32];
        snprintf(key, sizeof key, "key-%ld", i % keys);
        e = pick(key);
        if (e == MUSTER_OK) {
            count[ticket.port]++;
            e = muster_report(s, &ticket, MUSTER_SUCCESS, 1000);
        }
    }
    if (e != MUSTER_OK) {
        answer(e, NULL);
        return;
    }
    printf("ok");
    for (unsigned p = 0; p < 65536; p++)
        if (count[p])
            printf(" %u=%u", p, count[p]);
    printf("\n");
}

static void do_report(void)
{
    char *what = strtok(NULL, " ");
    enum muster_outcome o = MUSTER_SUCCESS;

    if (strcmp(what, "failed") == 0)
        o = MUSTER_FAILURE;
    else if (strcmp(what, "unreachable") == 0)
        o = MUSTER_UNREACHABLE;
    answer(muster_report(s, &ticket, o, 1000), NULL);
}

static void do_status(void)
{
    struct muster_status st;
    int e;

    muster_status_init(&st, sizeof st);
    e = muster_status(s, &st);
    if (e != MUSTER_OK) {
        answer(e, NULL);
        return;
    }
    printf("ok source=%d connected=%d age=%llu index=%llu instances=%u "
           "healthy=%u held=%u ejected=%u unreachable=%u panic=%d answers=%llu "
           "failures=%llu bad=%llu written=%llu cache_failed=%llu ignored=%llu "
           "changes=%d busy=%d cluster=%s slow=%u draining=%u zoned=%d "
           "ranked=%d elsewhere=%u returning=%d error=%s\n",
           (int)st.source, st.connected, (unsigned long long)st.age_ms,
           (unsigned long long)st.index, (unsigned)st.instances,
           (unsigned)st.healthy, (unsigned)st.held, (unsigned)st.ejected,
           (unsigned)st.unreachable, st.panic, (unsigned long long)st.answers,
           (unsigned long long)st.failures, (unsigned long long)st.bad_answers,
           (unsigned long long)st.cache_written,
           (unsigned long long)st.cache_failed,
           (unsigned long long)st.cache_ignored, read_int(&changes),
           read_int(&busy), st.cluster, (unsigned)st.slow_starting,
           (unsigned)st.draining, st.zoned, st.ranked,
           (unsigned)st.elsewhere_percent, st.returning, st.last_error);
}

static void each(void *ctx, const struct muster_instance *i)
{
    (void)ctx;
    printf(" %s/%s@%s:%u,w=%u,p=%u,z=%s%s%s%s%s%s%s%s", i->node, i->id,
           i->address, (unsigned)i->port, (unsigned)i->weight,
           (unsigned)i->priority, i->zone, i->critical ? ",critical" : "",
           i->out ? ",out" : "", i->held ? ",held" : "",
           i->draining ? ",draining" : "", i->guarded ? ",guarded" : "",
           *i->datacenter ? ",dc=" : "", i->datacenter);
}

static void do_each(void)
{
    printf("ok");
    if (muster_each(s, each, NULL) != MUSTER_OK)
        printf(" none");
    printf("\n");
}

static void each_datacenter(void *ctx, const struct muster_datacenter *d)
{
    (void)ctx;
    printf(" %s:reachable=%d,used=%d,instances=%u,healthy=%u,guarded=%u,"
           "share=%.2f,order=%u",
           *d->name ? d->name : "own", d->reachable, d->used,
           (unsigned)d->instances, (unsigned)d->healthy, (unsigned)d->guarded,
           d->share, (unsigned)d->order);
}

static void do_datacenters(void)
{
    printf("ok");
    if (muster_each_datacenter(s, each_datacenter, NULL) != MUSTER_OK)
        printf(" none");
    printf("\n");
}

/* What a child may do with its parent's handle. */
static void do_fork(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        struct muster *own = NULL;
        int well =
            pick("k") == MUSTER_EFORK &&
            muster_report(s, &ticket, MUSTER_SUCCESS, 1) == MUSTER_EFORK &&
            muster_wait(s, 10) == MUSTER_EFORK &&
            muster_process(m) == MUSTER_EFORK &&
            muster_set_token(m, "x") == MUSTER_EFORK &&
            (!registration ||
             (muster_set_health(registration, MUSTER_CRITICAL) ==
                  MUSTER_EFORK &&
              muster_deregister(registration, 10) == MUSTER_EFORK)) &&
            muster_close(m) == MUSTER_OK && muster_close(m) == MUSTER_ECLOSED &&
            muster_open(NULL, &own, NULL) == MUSTER_OK &&
            muster_watch(own, "web", NULL, &s, NULL) == MUSTER_OK &&
            muster_close(own) == MUSTER_OK;
        _exit(well ? 0 : 1);
    }
    waitpid(child, &status, 0);
    printf(WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "ok\n" : "error\n");
}

/* The caller's loop, for so many ms. */
static void do_spin(void)
{
    long ms = strtol(strtok(NULL, " "), NULL, 10);
    struct timespec t;
    int e = MUSTER_OK;

    clock_gettime(CLOCK_MONOTONIC, &t);
    long until = t.tv_sec * 1000 + t.tv_nsec / 1000000 + ms, now = until - ms;
    while (now < until && e == MUSTER_OK) {
        struct pollfd p = {muster_fd(m), POLLIN, 0};
        if (poll(&p, 1, (int)(until - now)) > 0)
            e = muster_process(m);
        clock_gettime(CLOCK_MONOTONIC, &t);
        now = t.tv_sec * 1000 + t.tv_nsec / 1000000;
    }
    answer(e, NULL);
}

/* NAME ID PORT TTL_MS WEIGHT */
static void do_register(void)
{
    char why[MUSTER_TEXT] = "";
    struct muster_register_options o;

    muster_register_options_init(&o, sizeof o);
    o.name = strtok(NULL, " ");
    o.id = strtok(NULL, " ");
    o.address = "127.0.0.1";
    o.port = (uint16_t)strtoul(strtok(NULL, " "), NULL, 10);
    o.ttl_ms = strtoull(strtok(NULL, " "), NULL, 10);
    o.weight = (uint32_t)strtoul(strtok(NULL, " "), NULL, 10);
    o.node = setting("node");
    o.priority = number("priority", 0);
    o.zone = setting("zone");
    answer(muster_register(m, &o, &registration, why), why);
}

static void do_registered(void)
{
    char why[MUSTER_TEXT] = "";
    int e = muster_register_wait(registration,
                                 strtoull(strtok(NULL, " "), NULL, 10), why);

    answer(e, why);
}

static void do_health(void)
{
    char *what = strtok(NULL, " ");
    enum muster_health h = MUSTER_CRITICAL;

    if (strcmp(what, "passing") == 0)
        h = MUSTER_PASSING;
    else if (strcmp(what, "warning") == 0)
        h = MUSTER_WARNING;
    answer(muster_set_health(registration, h), NULL);
}

/* A connection on which the instance says something first. */
static int call(const struct muster_ticket *t)
{
    struct sockaddr_in x = {.sin_family = AF_INET, .sin_port = htons(t->port)};
    char c;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int well = fd >= 0 && inet_pton(AF_INET, t->address, &x.sin_addr) == 1 &&
               connect(fd, (struct sockaddr *)&x, sizeof x) == 0 &&
               read(fd, &c, 1) == 1;

    if (fd >= 0)
        close(fd);
    return well;
}

/* Up to three attempts; how many it took, 0: all failed. */
static int request(void)
{
    uint64_t tried[3];
    struct muster_ask ask = {.size = sizeof ask, .exclude = tried};
    struct muster_ticket t;

    while (ask.exclude_n < 3 && muster_pick(s, &ask, &t) == MUSTER_OK) {
        int well = call(&t);
        tried[ask.exclude_n++] = t.id;
        muster_report(s, &t, well ? MUSTER_SUCCESS : MUSTER_UNREACHABLE, 300);
        if (well)
            return (int)ask.exclude_n;
    }
    return 0;
}

/* Real requests, one after the other, for so many ms. */
static void do_load(void)
{
    long ms = strtol(strtok(NULL, " "), NULL, 10), until = 0, now;
    unsigned long requests = 0, failed = 0, retried = 0;
    const struct timespec pause = {0, 1000000};
    struct timespec t;

    do {
        int attempts = request();
        requests++;
        failed += attempts == 0;
        retried += attempts > 1;
        nanosleep(&pause, NULL); /* sleep: a load, not a wait */
        clock_gettime(CLOCK_MONOTONIC, &t);
        now = t.tv_sec * 1000 + t.tv_nsec / 1000000;
        until = until ? until : now + ms;
    } while (now < until);
    printf("ok requests=%lu failed=%lu retried=%lu\n", requests, failed,
           retried);
}

static void do_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    printf("ok %d\n", n - 2);
}

static void do_wait(void)
{
    answer(muster_wait(s, strtoull(strtok(NULL, " "), NULL, 10)), NULL);
}

static void do_token(void)
{
    answer(muster_set_token(m, strtok(NULL, " ")), NULL);
}

static void do_deregister(void)
{
    answer(
        muster_deregister(registration, strtoull(strtok(NULL, " "), NULL, 10)),
        NULL);
}

static void do_close(void)
{
    answer(muster_close(m), NULL);
}

/* A copy of the ticket that was picked last, reported before it. */
static void do_copy(void)
{
    struct muster_ticket copy = ticket;

    answer(muster_report(s, &copy, MUSTER_SUCCESS, 1), NULL);
}

/* One muster_process; how many times `changed` came meanwhile. */
static void do_process(void)
{
    struct pollfd p = {muster_fd(m), POLLIN, 0};
    int before = changes, e = poll(&p, 1, 100) < 0 ? -1 : muster_process(m);

    if (e != MUSTER_OK)
        answer(e, NULL);
    else
        printf("ok %d\n", changes - before);
}

/* Descriptors that a program started from here would inherit. */
static void do_inherited(void)
{
    int n = 0;

    for (int fd = 3; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        n += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    printf("ok %d\n", n);
}

static int run_command(char *line)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } commands[] = {
        {"set", do_set},
        {"open", do_open},
        {"watch", do_watch},
        {"wait", do_wait},
        {"pick", do_pick},
        {"run", do_run},
        {"report", do_report},
        {"copy", do_copy},
        {"status", do_status},
        {"each", do_each},
        {"datacenters", do_datacenters},
        {"token", do_token},
        {"fork", do_fork},
        {"spin", do_spin},
        {"process", do_process},
        {"register", do_register},
        {"registered", do_registered},
        {"health", do_health},
        {"deregister", do_deregister},
        {"load", do_load},
        {"threads", do_threads},
        {"inherited", do_inherited},
        {"close", do_close},
    };
    char *what = strtok(line, " \n");

    for (size_t i = 0; what && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(what, commands[i].name) == 0) {
            commands[i].run();
            return 0;
        }
    printf("error no such command\n");
    return 0;
}

int main(void)
{
    char line[4096];

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        run_command(line);
    }
    return 0;
}
