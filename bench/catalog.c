/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the catalog costs without store and HTTP.
 *
 *     catalog [INSTANCES [VERSIONS]]           (50,000 and 100,000)
 *
 * Fixed work and seed: 500 names on 100 nodes, one check, two tags and one meta
 * pair per instance, rows fed in the order of a hash. One JSON line per figure:
 * memory of what was loaded (heap in use, resident), rows a second of a load
 * and of one large version, versions a second that change one check's status,
 * what a node-level check costs, nanoseconds per lookup and per instance
 * walked. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "catalog/catalog.h"

enum { NODES = 100, NAMES = 500, LOOKUPS = 1000000 };

static struct pin_domain pins;
static size_t instances = 50000;

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void print(const char *what, double value, const char *unit)
{
    printf("{\"bench\":\"catalog\",\"instances\":%zu,\"figure\":\"%s\","
           "\"value\":%.1f,\"unit\":\"%s\"}\n",
           instances, what, value, unit);
}

static void require_ok(enum err e)
{
    if (e == ERR_OK)
        return;
    fprintf(stderr, "catalog: %s\n", err_text(e));
    exit(1);
}

/* Every number below n once, scattered. */
static size_t scatter(size_t i, size_t n)
{
    return (size_t)((uint64_t)i * 2654435761U % n); /* a prime */
}

/* --- Rows ---------------------------------------------------------------- */

struct row {
    struct buf key, value;
};

static void put(struct catalog *c, struct row *r, uint64_t rev)
{
    require_ok(catalog_put(c, buf_bytes(&r->key), buf_bytes(&r->value), rev,
                           rev, NULL));
    buf_reset(&r->key);
    buf_reset(&r->value);
}

static struct bytes text(char space[64], const char *format, size_t n)
{
    int len = snprintf(space, 64, format, n);
    return bytes_of(space, (size_t)len);
}

static void put_node(struct catalog *c, struct row *r, size_t n, uint64_t rev)
{
    char name[64], id[64];
    struct node_view v = {
        .name = text(name, "node-%zu", n),
        .id = text(id, "00000000-0000-4000-8000-%012zu", n),
        .address = bytes_str("10.123.45.67"),
    };

    key_node(&r->key, v.name);
    record_put_node(&r->value, &v);
    put(c, r, rev);
}

static void put_service(struct catalog *c, struct row *r, size_t i,
                        uint64_t rev)
{
    char node[64], id[64], name[64];
    struct buf tags = {0}, meta = {0};

    packed_put(&tags, bytes_str("primary"));
    packed_put(&tags, bytes_str("v1.2.3"));
    packed_put_pair(&meta, bytes_str("version"), bytes_str("1.2.3"));
    struct service_view v = {
        .id = text(id, "service-%zu-instance", i),
        .name = text(name, "service-%zu", i % NAMES),
        .tags = {buf_bytes(&tags), 2},
        .meta = {buf_bytes(&meta), 1},
        .meta_set = true,
        .address = bytes_str("10.123.45.67"),
        .port = 8080,
        .weight_passing = 1,
        .weight_warning = 1,
    };
    key_service(&r->key, text(node, "node-%zu", i / NAMES % NODES), v.id);
    record_put_service(&r->value, &v);
    put(c, r, rev);
    buf_fini(&tags);
    buf_fini(&meta);
}

static void put_check(struct catalog *c, struct row *r, size_t i,
                      const char *status, uint64_t rev)
{
    char node[64], id[64], service[64];
    struct check_view v = {
        .id = text(id, "service:service-%zu-instance", i),
        .name = bytes_str("Service 'web' check"),
        .service_id = text(service, "service-%zu-instance", i),
        .status = bytes_str(status),
        .output = bytes_str("HTTP GET http://10.123.45.67:8080/: 200 OK"),
        .type = bytes_str("http"),
    };

    key_check(&r->key, text(node, "node-%zu", i / NAMES % NODES), v.id);
    record_put_check(&r->value, &v);
    put(c, r, rev);
}

static void put_all(struct catalog *c, struct row *r)
{
    size_t n = 2 * instances;

    for (size_t i = 0; i < NODES; i++)
        put_node(c, r, i, 1);
    for (size_t k = 0; k < n; k++) {
        size_t i = scatter(k, n);
        if (i < instances)
            put_service(c, r, i, 1);
        else
            put_check(c, r, i - instances, "passing", 1);
    }
}

/* --- Figures ------------------------------------------------------------- */

static double resident_mb(void)
{
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f && fscanf(f, "%ld %ld", &pages, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static size_t heap_used(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static double per_s(size_t n, uint64_t ns)
{
    return (double)n * 1e9 / (double)ns;
}

static void memory(const char *how, size_t heap_before, double mb_before)
{
    char what[64];
    double bytes = (double)(heap_used() - heap_before);

    (void)snprintf(what, sizeof what, "%s_bytes_per_instance", how);
    print(what, bytes / (double)instances, "B");
    (void)snprintf(what, sizeof what, "%s_heap", how);
    print(what, bytes / 1e6, "MB");
    (void)snprintf(what, sizeof what, "%s_resident", how);
    print(what, resident_mb() - mb_before, "MB");
}

static void load(struct catalog *c, struct row *r)
{
    size_t heap = heap_used();
    double mb = resident_mb();
    uint64_t t = now_ns();

    catalog_load_begin(c);
    put_all(c, r);
    uint64_t before_end = now_ns();
    catalog_load_end(c, 1);
    uint64_t end = now_ns();
    print("load_rows", per_s(2 * instances, end - t), "1/s");
    print("load_end", (double)(end - before_end) / 1e6, "ms");
    memory("loaded", heap, mb);
}

static void feed(struct row *r)
{
    struct catalog *c = catalog_new(&pins);
    size_t heap = heap_used();
    double mb = resident_mb();
    uint64_t t = now_ns();

    put_all(c, r);
    catalog_commit(c, 1);
    print("one_version_rows", per_s(2 * instances, now_ns() - t), "1/s");
    memory("fed", heap, mb);
    catalog_free(c);
}

/* Each row its own version, as registrations one after the other would come. */
static void feed_slowly(struct row *r)
{
    struct catalog *c = catalog_new(&pins);
    size_t heap = heap_used();
    double mb = resident_mb();
    uint64_t t = now_ns(), rev = 0;

    for (size_t i = 0; i < NODES; i++) {
        put_node(c, r, i, ++rev);
        catalog_commit(c, rev);
    }
    for (size_t k = 0; k < instances; k++) {
        size_t i = scatter(k, instances);
        put_service(c, r, i, ++rev);
        put_check(c, r, i, "passing", rev);
        catalog_commit(c, rev);
    }
    print("registrations", per_s(instances, now_ns() - t), "1/s");
    memory("registered", heap, mb);
    catalog_free(c);
}

static void versions(struct catalog *c, struct row *r, size_t n)
{
    uint64_t t = now_ns();

    for (size_t i = 0; i < n; i++) {
        put_check(c, r, scatter(i, instances), i % 2 ? "passing" : "critical",
                  i + 2);
        catalog_commit(c, i + 2);
    }
    print("status_versions", per_s(n, now_ns() - t), "1/s");
}

static void node_check(struct catalog *c, struct row *r, uint64_t rev)
{
    enum { TIMES = 200 };
    uint64_t t = now_ns();

    for (uint64_t i = 0; i < TIMES; i++) {
        struct check_view v = {.id = bytes_str("serfHealth"),
                               .status = bytes_str(i % 2 ? "passing" : "no")};
        key_check(&r->key, bytes_str("node-7"), v.id);
        record_put_check(&r->value, &v);
        put(c, r, rev + i);
        catalog_commit(c, rev + i);
    }
    print("node_check_version", (double)(now_ns() - t) / 1e3 / TIMES, "us");
}

/* What an answer about health reads of each instance. */
static size_t walk(const struct snapshot *s, const struct cat_name *n)
{
    struct tree_iter it;
    size_t seen = 0;

    tree_first(&n->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct service_view sv;
        struct check_view cv;
        struct node_view nv;
        cat_node_view(snapshot_node_of(s, i)->record, &nv);
        cat_service_view(i->service, &sv);
        cat_check_view(i->checks[0], &cv);
        seen += nv.name.n && sv.port && cv.status.n;
    }
    return seen;
}

static void walk_all(const struct snapshot *s)
{
    struct tree_iter names;
    size_t seen = 0;
    uint64_t t = now_ns();

    snapshot_names(s, &names);
    for (const struct cat_name *n; (n = snapshot_next_name(&names));)
        seen += walk(s, n);
    print("instance_viewed_cold", (double)(now_ns() - t) / (double)seen, "ns");
}

static void walk_one(const struct snapshot *s)
{
    const struct cat_name *n = snapshot_name(s, bytes_str("service-7"));
    size_t seen = 0;
    uint64_t t = now_ns();

    while (seen < LOOKUPS)
        seen += walk(s, n);
    print("instance_viewed_again", (double)(now_ns() - t) / (double)seen, "ns");
}

static void lookups(const struct snapshot *s)
{
    char names[NAMES][64];
    uint64_t found = 0, t;

    for (size_t i = 0; i < NAMES; i++)
        (void)text(names[i], "Service-%zu", i);
    t = now_ns();
    for (size_t i = 0; i < LOOKUPS; i++)
        found += snapshot_name(s, bytes_str(names[scatter(i, NAMES)])) != NULL;
    print("name_lookup", (double)(now_ns() - t) / LOOKUPS, "ns");

    walk_all(s);
    walk_one(s);
    if (found != LOOKUPS)
        fprintf(stderr, "catalog: names are missing\n");
}

int main(int argc, char **argv)
{
    size_t n = 100000;
    struct row r = {0};

    if (argc > 1)
        instances = strtoul(argv[1], NULL, 10);
    if (argc > 2)
        n = strtoul(argv[2], NULL, 10);
    if (instances == 0) {
        fprintf(stderr, "usage: %s [INSTANCES [VERSIONS]]\n", argv[0]);
        return 2;
    }
    pin_init(&pins);
    struct catalog *c = catalog_new(&pins);
    load(c, &r);
    lookups(catalog_current(c));
    versions(c, &r, n);
    node_check(c, &r, n + 2);
    catalog_free(c);
    feed(&r);
    feed_slowly(&r);
    pin_fini(&pins);
    buf_fini(&r.key);
    buf_fini(&r.value);
    return 0;
}
