/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a pick costs, and what a new list costs.
 *
 *     lb [PICKS]                                             (1,000,000)
 *
 * Fixed work and seed. One JSON line per policy and number of hosts: ns of the
 * policy's table alone with the key's hash given (as published figures are
 * taken), of a whole pick with its report (grace section, ticket, requests in
 * flight, outcome) on one thread and on two at once, ms until a changed list of so
 * many hosts is in use, and the memory of list, counters and table. All time is
 * the CPU's, not the clock's. Rendezvous looks at every host: fewer picks. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lb/balancer.h"
#include "lb/draw.h"
#include "lb/policy.h"

enum { HOSTS_MAX = 10000, KEYS = 4096, REBUILDS = 5, THREADS = 2 };

static struct lb_endpoint endpoint[HOSTS_MAX];
static char address[HOSTS_MAX][32], id[HOSTS_MAX][32], key[KEYS][24];
static struct lb_host host[HOSTS_MAX];
static struct lb_member member[HOSTS_MAX];
static uint64_t picks = 1000000;
static volatile uint64_t sink; /* so that nothing is optimised away */

/* Of this thread: other work on the machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static double heap_used(void)
{
    struct mallinfo2 m = mallinfo2();

    return (double)(m.uordblks + m.hblkhd);
}

static void require_ok(enum err e)
{
    if (e == ERR_OK)
        return;
    fprintf(stderr, "lb: %s\n", err_text(e));
    exit(1);
}

/* Weights 1, 2 and 3, so that no policy takes a short cut. */
static void make_hosts(void)
{
    for (size_t i = 0; i < HOSTS_MAX; i++) {
        (void)snprintf(address[i], sizeof address[i], "10.1.%zu.%zu", i / 256,
                       i % 256);
        (void)snprintf(id[i], sizeof id[i], "web-%zu", i);
        endpoint[i] = (struct lb_endpoint){.node = bytes_str("node"),
                                           .service_id = bytes_str(id[i]),
                                           .address = bytes_str(address[i]),
                                           .port = 8080,
                                           .weight = (uint32_t)(i % 3 + 1)};
        host[i].name = host[i].key = endpoint[i].address;
        host[i].hash = bytes_hash(host[i].name, 0);
        member[i] = (struct lb_member){&host[i], endpoint[i].weight};
    }
    for (size_t i = 0; i < KEYS; i++)
        (void)snprintf(key[i], sizeof key[i], "customer/%zu", i);
}

static double table_ns(const struct lb_policy *p, size_t n, uint64_t k)
{
    struct lb_tuning tuning = {.choices = 2, .bias = 1, .decay_ms = 10000};
    struct lb_list list = {.v = member, .n = n, .tuning = &tuning, .seed = 1};
    struct lb_walk w = {
        .members = member, .n = (uint32_t)n, .typical_us = 1000};
    void *table = NULL;
    uint64_t state = 1, t = 0;

    require_ok(p->build(&list, &table));
    for (uint64_t i = 0; i < k + k / 4; i++) {
        if (i == k / 4)
            t = cpu_ns();
        w.key = w.draw = lb_draw(&state);
        sink += p->first(table, &w);
    }
    t = cpu_ns() - t;
    free(table);
    return (double)t / (double)k;
}

struct picker {
    struct lb *b;
    uint64_t k, seed;
    double ns;
    pthread_t thread;
};

static void *pick_all(void *arg)
{
    struct picker *p = arg;
    uint64_t random = p->seed, t = cpu_ns();
    struct lb_ticket ticket;

    for (uint64_t i = 0; i < p->k; i++) {
        struct lb_ask ask = {.key = bytes_str(key[i % KEYS]),
                             .now_ms = 1000000 + i / 1000,
                             .random = lb_draw(&random)};
        require_ok(lb_pick(p->b, &ask, &ticket));
        require_ok(lb_report(p->b, &ticket, LB_OK, 1000, ask.now_ms));
    }
    p->ns = (double)(cpu_ns() - t) / (double)p->k;
    return NULL;
}

static double threads_ns(struct lb *b, size_t n, uint64_t k)
{
    struct picker p[THREADS];
    double sum = 0;

    for (size_t i = 0; i < n; i++) {
        p[i] = (struct picker){.b = b, .k = k, .seed = i};
        if (pthread_create(&p[i].thread, NULL, pick_all, &p[i]))
            exit(1);
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(p[i].thread, NULL);
        sum += p[i].ns;
    }
    return sum / (double)n;
}

/* One host leaves and comes back: the median of a few. */
static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double rebuild_ms(struct lb *b, size_t n)
{
    double ms[REBUILDS];
    struct errtext text;

    for (size_t i = 0; i < REBUILDS; i++) {
        uint64_t t = cpu_ns();
        require_ok(lb_update(b, endpoint, n - i % 2, 1000000, &text));
        ms[i] = (double)(cpu_ns() - t) / 1e6;
    }
    require_ok(lb_update(b, endpoint, n, 1000000, &text));
    qsort(ms, REBUILDS, sizeof *ms, by_value);
    return ms[REBUILDS / 2];
}

static void measure(const struct lb_policy *p, size_t n)
{
    struct lb_options o;
    struct errtext text;
    struct lb *b = NULL;
    uint64_t k = p == &lb_rendezvous ? picks * 10 / n + 100 : picks;

    lb_options_init(&o);
    o.policy = bytes_str(p->name);
    require_ok(lb_new(&o, &b, &text));
    double heap = heap_used();
    double ms = rebuild_ms(b, n);
    heap = heap_used() - heap;
    (void)threads_ns(b, 1, k / 4);
    printf(
        "{\"bench\":\"lb\",\"policy\":\"%s\",\"hosts\":%zu,\"table_ns\":%.1f,"
        "\"pick_ns\":%.1f,\"pick_2_threads_ns\":%.1f,\"rebuild_ms\":%.3f,"
        "\"bytes_per_host\":%.0f}\n",
        p->name, n, table_ns(p, n, k), threads_ns(b, 1, k),
        threads_ns(b, THREADS, k), ms, heap / (double)n);
    lb_free(b);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        picks = strtoull(argv[1], NULL, 10);
    if (picks == 0) {
        fprintf(stderr, "usage: %s [PICKS]\n", argv[0]);
        return 2;
    }
    make_hosts();
    for (size_t p = 0; lb_policies[p]; p++)
        for (size_t n = 10; n <= HOSTS_MAX; n *= 10)
            measure(lb_policies[p], n);
    return 0;
}
