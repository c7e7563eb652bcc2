/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* How many small changes a second go through store_submit, the log and done.
 *
 *     store FILE|-|ETCD CHANGES IN_FLIGHT [VALUE_BYTES [KEYS]]   ("-": memory)
 *
 * Fixed work and seed. Each change puts one key and guards another; IN_FLIGHT
 * of them are under way at any time, the next is submitted when one is done
 * (from the store thread, as a serving thread's answer would lead to the next
 * request). Prints one JSON line; latency is from submit to done. Afterwards
 * the file is opened again: how long until the first load is there.
 *
 * ETCD is etcd://HOST:PORT: there a change is what a registration commits (two
 * puts; guards on both keys and on the node's record, which is there), without
 * HTTP, catalog and other servers: what is left is the store's and etcd's. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "store/store.h"

enum { KEY_BYTES = 48, VALUE_BYTES_MAX = 4096, ETCD_NODES = 100 };

struct slot {
    struct store_change change;
    struct store_guard guard[3];
    struct store_op op[2];
    char key[KEY_BYTES], guarded[KEY_BYTES], check[KEY_BYTES];
    uint64_t sent_ns;
};

struct bench {
    struct store *store;
    size_t changes, keys, started, done;
    uint32_t *took_us;
    char value[VALUE_BYTES_MAX];
    size_t value_n;
    size_t rows;
    bool etcd;
    pthread_mutex_t mutex;
    pthread_cond_t over;
    bool loaded, finished;
};

static struct bench b;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "store: %s: %s\n", what, why);
    exit(1);
}

/* Spread, so that the tree in memory is walked as it is in life. */
static size_t scatter(size_t i)
{
    return (size_t)((uint64_t)i * 2654435761U % b.keys); /* a prime */
}

static void submit(struct slot *s)
{
    struct errtext t = {{0}};

    s->sent_ns = now_ns();
    if (store_submit(b.store, &s->change, &t) != ERR_OK)
        fail("submit", t.s);
}

static struct bytes key_text(char *to, const char *kind, size_t i)
{
    int n = snprintf(to, KEY_BYTES, "%s/node-%zu/service-%zu", kind,
                     i % ETCD_NODES, i);

    return bytes_of(to, (size_t)n);
}

/* The first of them write the nodes' records. */
static void start_registration(struct slot *s, size_t i)
{
    struct bytes value = bytes_of(b.value, b.value_n);
    int n =
        snprintf(s->guarded, sizeof s->guarded, "n/node-%zu", i % ETCD_NODES);
    struct bytes node = bytes_of(s->guarded, (size_t)n);
    bool first = i < ETCD_NODES;

    if (first) {
        s->guard[0] = (struct store_guard){GUARD_ABSENT, node, 0};
        s->op[0] = (struct store_op){OP_PUT, node, value};
    } else {
        struct bytes service = key_text(s->key, "s", i);
        struct bytes check = key_text(s->check, "c", i);

        s->guard[0] = (struct store_guard){GUARD_PRESENT, node, 0};
        s->guard[1] = (struct store_guard){GUARD_ABSENT, service, 0};
        s->guard[2] = (struct store_guard){GUARD_ABSENT, check, 0};
        s->op[0] = (struct store_op){OP_PUT, check, value};
        s->op[1] = (struct store_op){OP_PUT, service, value};
    }
    s->change.guard_count = first ? 1 : 3;
    s->change.op_count = first ? 1 : 2;
    submit(s);
}

static void start_one(struct slot *s)
{
    size_t i = b.started++;

    if (b.etcd) {
        start_registration(s, i);
        return;
    }
    int n = snprintf(s->key, sizeof s->key, "s/node-%zu/service-%zu",
                     scatter(i) / 16, scatter(i));
    int g =
        snprintf(s->guarded, sizeof s->guarded, "n/node-%zu", scatter(i) / 16);
    s->guard[0] =
        (struct store_guard){GUARD_ABSENT, bytes_of(s->guarded, (size_t)g), 0};
    s->op[0] = (struct store_op){OP_PUT, bytes_of(s->key, (size_t)n),
                                 bytes_of(b.value, b.value_n)};
    submit(s);
}

static void done(struct store_change *c, const struct store_outcome *o)
{
    struct slot *s = container_of(c, struct slot, change);

    if (o->verdict != STORE_COMMITTED)
        fail("commit", o->text.s);
    b.took_us[b.done++] = (uint32_t)((now_ns() - s->sent_ns) / 1000);
    if (b.started < b.changes) {
        start_one(s);
    } else if (b.done == b.changes) {
        pthread_mutex_lock(&b.mutex);
        b.finished = true;
        pthread_cond_signal(&b.over);
        pthread_mutex_unlock(&b.mutex);
    }
}

static void on_batch(void *ctx, struct store_batch *take)
{
    (void)ctx;
    if (take->kind == BATCH_LOAD_ROWS)
        b.rows += take->count;
    if (take->kind == BATCH_LOAD_END) {
        pthread_mutex_lock(&b.mutex);
        b.loaded = true;
        pthread_cond_signal(&b.over);
        pthread_mutex_unlock(&b.mutex);
    }
    store_batch_free(take);
}

static void wait_for(bool *flag)
{
    pthread_mutex_lock(&b.mutex);
    while (!*flag)
        pthread_cond_wait(&b.over, &b.mutex);
    pthread_mutex_unlock(&b.mutex);
}

static uint64_t open_store(const char *path)
{
    struct store_options o = {
        .kind = b.etcd                   ? STORE_ETCD
                : strcmp(path, "-") == 0 ? STORE_MEMORY
                                         : STORE_SQLITE,
        .path = path,
        .server_id = "bench",
        .on_batch = on_batch,
    };
    struct errtext t = {{0}};
    uint64_t start = now_ns();

    b.loaded = false;
    b.rows = 0;
    if (store_open(&o, &b.store, &t) != ERR_OK)
        fail("open", t.s);
    wait_for(&b.loaded);
    return now_ns() - start;
}

static int by_value(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, c = *(const uint32_t *)y;

    return (a > c) - (a < c);
}

static double cpu_s(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long rss_anon_kb(void)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    long kb = -1;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "RssAnon: %ld", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

struct starter {
    struct store_barrier barrier;
    struct slot *slots;
    size_t n;
};

/* On the store thread, where done() runs: one owner of the counters. */
static void start_all(struct store_barrier *barrier, enum err e, uint64_t rev)
{
    struct starter *s = container_of(barrier, struct starter, barrier);

    (void)rev;
    if (e != ERR_OK)
        fail("barrier", err_text(e));
    for (size_t i = 0; i < s->n; i++)
        start_one(&s->slots[i]);
}

static void run(size_t in_flight)
{
    struct starter s = {
        .barrier = {.done = start_all},
        .slots = calloc(in_flight, sizeof *s.slots),
        .n = in_flight,
    };

    for (size_t i = 0; i < in_flight; i++)
        s.slots[i].change = (struct store_change){
            .guards = s.slots[i].guard,
            .guard_count = 1,
            .ops = s.slots[i].op,
            .op_count = 1,
            .meta = bytes_str("PUT /v1/catalog/register"),
            .done = done,
        };
    if (store_barrier_begin(b.store, &s.barrier) != ERR_OK)
        fail("barrier", "refused");
    wait_for(&b.finished);
    free(s.slots);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr,
                "usage: store FILE|-|etcd://HOST:PORT CHANGES IN_FLIGHT "
                "[VALUE_BYTES [KEYS]]\n");
        return 2;
    }
    b.changes = strtoul(argv[2], NULL, 10);
    size_t in_flight = strtoul(argv[3], NULL, 10);
    b.value_n = argc > 4 ? strtoul(argv[4], NULL, 10) : 200;
    b.keys = argc > 5 ? strtoul(argv[5], NULL, 10) : b.changes;
    if (b.value_n > VALUE_BYTES_MAX || !b.changes || !b.keys ||
        in_flight > b.changes)
        fail("arguments", "out of range");
    memset(b.value, 'v', b.value_n);
    b.took_us = calloc(b.changes, sizeof *b.took_us);
    pthread_mutex_init(&b.mutex, NULL);
    pthread_cond_init(&b.over, NULL);

    b.etcd = strncmp(argv[1], "etcd://", 7) == 0;
    (void)open_store(argv[1]);
    double cpu = cpu_s();
    uint64_t start = now_ns();
    run(in_flight);
    uint64_t ns = now_ns() - start;
    cpu = cpu_s() - cpu;
    long kb = rss_anon_kb();
    store_close(b.store);
    uint64_t load_ns = strcmp(argv[1], "-") == 0 ? 0 : open_store(argv[1]);
    if (load_ns)
        store_close(b.store);

    qsort(b.took_us, b.changes, sizeof b.took_us[0], by_value);
    printf(
        "{\"bench\":\"store\",\"n\":%zu,\"in_flight\":%zu,\"value_bytes\":%zu,"
        "\"per_s\":%.0f,\"cpu_us_each\":%.2f,\"p50_us\":%u,\"p99_us\":%u,"
        "\"max_us\":%u,\"rss_anon_kb\":%ld,\"rows\":%zu,\"reopen_ms\":%.1f}\n",
        b.changes, in_flight, b.value_n, (double)b.changes * 1e9 / (double)ns,
        cpu * 1e6 / (double)b.changes, b.took_us[b.changes / 2],
        b.took_us[b.changes * 99 / 100], b.took_us[b.changes - 1], kb, b.rows,
        (double)load_ns / 1e6);
    free(b.took_us);
    return 0;
}
