/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog_rows - random rows of every kind, by a seed. */
#ifndef CATALOG_ROWS_H
#define CATALOG_ROWS_H

#include <stdio.h>

#include "catalog_world.h"

enum {
    NODES = 4,
    SERVICES = 5, /* IDs on a node */
    CHECKS = 6,
    NAMES = 3,
};

static const char *const node_names[NODES][2] = {
    {"alpha", "Alpha"}, {"n/1 %x", "N/1 %X"}, {"node-2", "NODE-2"}, {"z", "Z"}};
static const char *const service_ids[SERVICES][2] = {{"web", "Web"},
                                                     {"web-1", "WEB-1"},
                                                     {"a b", "A b"},
                                                     {"db", "DB"},
                                                     {"x/y", "X/Y"}};
static const char *const names[NAMES][2] = {
    {"web", "Web"}, {"db", "dB"}, {"cache", "CACHE"}};
static const char *const check_ids[CHECKS][2] = {{"c1", "C1"},
                                                 {"serfHealth", "serfhealth"},
                                                 {"service:web", "Service:web"},
                                                 {"ttl", "TTL"},
                                                 {"zz", "Zz"},
                                                 {"0", "0"}};
static const char *const states[] = {"passing", "warning", "critical", "weird",
                                     "odd"};

static inline struct bytes pick(uint64_t *seed, const char *const pair[2])
{
    return bytes_str(pair[chance(seed, 10)]);
}

static inline struct packed one_pair(struct buf *space, uint64_t *seed)
{
    buf_reset(space);
    if (chance(seed, 60))
        return (struct packed){0};
    packed_put_pair(space, bytes_str("zone"),
                    bytes_str(chance(seed, 50) ? "a" : "b"));
    return (struct packed){buf_bytes(space), 1};
}

static inline void node_value(struct buf *out, size_t n, uint64_t *seed)
{
    struct buf meta = {0};
    char id[40];

    (void)snprintf(id, sizeof id, "00%zu%zu0000-0000-4000-8000-000000000000", n,
                   below(seed, 2));
    struct node_view v = {
        .name = pick(seed, node_names[n]),
        .id = bytes_str(chance(seed, 50) ? id : ""),
        .address = bytes_str(chance(seed, 50) ? "10.0.0.1" : "10.0.0.2"),
        .meta = one_pair(&meta, seed),
        .tagged_set = chance(seed, 20),
    };
    record_put_node(out, &v);
    buf_fini(&meta);
}

static inline void service_value(struct buf *out, size_t id, uint64_t *seed)
{
    static const char *const at[] = {"", "10.0.0.2", "10.0.0.3", "FD00::1"};
    struct buf tags = {0}, meta = {0};
    struct service_view v = {
        .address = bytes_str(at[below(seed, 4)]),
        .id = pick(seed, service_ids[id]),
        .name = pick(seed, names[below(seed, NAMES)]),
        .port = (int64_t)below(seed, 3),
        .weight_passing = 1,
        .weight_warning = (int64_t)below(seed, 2),
        .meta = one_pair(&meta, seed),
    };
    if (chance(seed, 50)) {
        packed_put(&tags, bytes_str("v1"));
        v.tags = (struct packed){buf_bytes(&tags), 1};
    }
    record_put_service(out, &v);
    buf_fini(&tags);
    buf_fini(&meta);
}

static inline void random_marks(struct check_marks *m, uint64_t *seed)
{
    *m = (struct check_marks){
        .cause = (enum check_cause)below(seed, 3),
        .held = chance(seed, 50),
        .damped = chance(seed, 50),
        .since_ms = below(seed, 3),
        .damped_until_ms = below(seed, 3),
    };
}

static inline void check_value(struct buf *out, size_t id, uint64_t *seed)
{
    struct check_view v = {
        .id = pick(seed, check_ids[id]),
        .name = bytes_str(chance(seed, 90) ? "a check" : "another"),
        .status = bytes_str(states[below(seed, 5)]),
        .output = bytes_str(chance(seed, 50) ? "" : "HTTP GET: 200"),
        .notes = bytes_str(chance(seed, 90) ? "" : "note"),
    };
    if (chance(seed, 70))
        v.service_id = pick(seed, service_ids[below(seed, SERVICES)]);
    if (chance(seed, 20))
        random_marks(&v.marks, seed);
    record_put_check(out, &v);
}

static inline void guard_value(struct buf *out, size_t name, uint64_t *seed)
{
    struct buf list = {0};
    struct guard_view v = {.name = bytes_str(names[name][0]),
                           .base = (uint32_t)below(seed, 4),
                           .left = (uint32_t)below(seed, 2)};

    if (chance(seed, 50)) {
        packed_put_out(&list, bytes_str("alpha/web"), below(seed, 2));
        v.out = (struct packed){buf_bytes(&list), 1};
    }
    record_put_guard(out, &v);
    buf_fini(&list);
}

/* A key, and a value for it; half of the time the value it has, with little
 * changed or nothing. */
static inline void random_row(struct world *w, struct buf *key,
                              struct buf *value, uint64_t *seed)
{
    size_t n = below(seed, NODES), kind = below(seed, 11);
    struct bytes node = pick(seed, node_names[n]);

    if (kind < 2) {
        key_node(key, node);
        node_value(value, n, seed);
    } else if (kind < 5) {
        size_t id = below(seed, SERVICES);
        key_service(key, node, bytes_str(service_ids[id][0]));
        service_value(value, id, seed);
    } else if (kind == 10) {
        size_t name = below(seed, NAMES);
        key_guard(key, bytes_str(names[name][0]));
        guard_value(value, name, seed);
    } else {
        size_t id = below(seed, CHECKS);
        key_check(key, node, bytes_str(check_ids[id][0]));
        check_value(value, id, seed);
    }
    const struct row *r = world_key(w, buf_bytes(key));
    if (!r || chance(seed, 50))
        return;
    buf_reset(value);
    if (r->kind == RECORD_CHECK && chance(seed, 70)) {
        struct check_view v = r->c; /* as most changes are */
        if (chance(seed, 50))
            v.output = bytes_str("timed out");
        else if (chance(seed, 50))
            random_marks(&v.marks, seed);
        else
            v.status = bytes_str(states[below(seed, 5)]);
        record_put_check(value, &v);
        return;
    }
    buf_put(value, row_value(r));
}

#endif
