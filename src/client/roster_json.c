/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* An answer of /v1/health/service into a roster. Instance by instance: the whole
 * body may have more values than json_in takes at once. */
#include <stdlib.h>

#include "base/rfc3339.h"
#include "client/impl.h"
#include "http/json_in.h"
#include "http/json_scan.h"

struct weights_in {
    int64_t passing, warning;
    bool passing_set, warning_set;
};

struct locality_in {
    struct bytes region, zone;
};

struct service_in {
    struct bytes id, address;
    int64_t port;
    struct json_map meta;
    struct weights_in *weights;
    struct locality_in *locality;
};

struct node_in {
    struct bytes name, address, datacenter;
    struct json_map meta;
};

struct check_in {
    struct bytes id, status;
};

struct entry_in {
    struct node_in *node;
    struct service_in *service;
    struct json_list checks;
    struct bytes damped_until, ready_since; /* muster's; absent on a Consul */
    bool held, draining;
};

/* clang-format off */
#define FIELD(type, name, kind, member) {name, NULL, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG}
#define FIELD_IN(type, name, kind, member, table) {name, NULL, kind, offsetof(struct type, member), table, JSON_NO_FLAG}
#define FIELD_SEEN(type, name, kind, member, seen) {name, NULL, kind, offsetof(struct type, member), NULL, offsetof(struct type, seen)}
#define TABLE(fields, type) {fields, sizeof fields / sizeof fields[0], sizeof(struct type)}

static const struct json_field weights_fields[] = {
    FIELD_SEEN(weights_in, "Passing", FIELD_INT, passing, passing_set),
    FIELD_SEEN(weights_in, "Warning", FIELD_INT, warning, warning_set),
};
static const struct json_table weights_table = TABLE(weights_fields, weights_in);

static const struct json_field locality_fields[] = {
    FIELD(locality_in, "Region", FIELD_STRING, region),
    FIELD(locality_in, "Zone", FIELD_STRING, zone),
};
static const struct json_table locality_table = TABLE(locality_fields, locality_in);

static const struct json_field service_fields[] = {
    FIELD(service_in, "ID", FIELD_STRING, id),
    FIELD(service_in, "Address", FIELD_STRING, address),
    FIELD(service_in, "Port", FIELD_INT, port),
    FIELD(service_in, "Meta", FIELD_MAP, meta),
    FIELD_IN(service_in, "Weights", FIELD_OBJECT, weights, &weights_table),
    FIELD_IN(service_in, "Locality", FIELD_OBJECT, locality, &locality_table),
};
static const struct json_table service_table = TABLE(service_fields, service_in);

static const struct json_field node_fields[] = {
    FIELD(node_in, "Node", FIELD_STRING, name),
    FIELD(node_in, "Address", FIELD_STRING, address),
    FIELD(node_in, "Datacenter", FIELD_STRING, datacenter),
    FIELD(node_in, "Meta", FIELD_MAP, meta),
};
static const struct json_table node_table = TABLE(node_fields, node_in);

static const struct json_field check_fields[] = {
    FIELD(check_in, "CheckID", FIELD_STRING, id),
    FIELD(check_in, "Status", FIELD_STRING, status),
};
static const struct json_table check_table = TABLE(check_fields, check_in);

static const struct json_field entry_fields[] = {
    FIELD_IN(entry_in, "Node", FIELD_OBJECT, node, &node_table),
    FIELD_IN(entry_in, "Service", FIELD_OBJECT, service, &service_table),
    FIELD_IN(entry_in, "Checks", FIELD_LIST, checks, &check_table),
    FIELD(entry_in, "Held", FIELD_BOOL, held),
    FIELD(entry_in, "DampedUntil", FIELD_STRING, damped_until),
    FIELD(entry_in, "Draining", FIELD_BOOL, draining),
    FIELD(entry_in, "ReadySince", FIELD_STRING, ready_since),
};
static const struct json_table entry_table = TABLE(entry_fields, entry_in);
/* clang-format on */

static struct bytes map_find(const struct json_map *m, const char *key)
{
    for (size_t i = 0; i < m->n; i++)
        if (bytes_is(m->v[i].key, key))
            return m->v[i].value;
    return bytes_of("", 0);
}

static struct bytes zone_of(const struct entry_in *in)
{
    const struct service_in *s = in->service;
    struct bytes zone = bytes_of("", 0);

    if (s->locality)
        zone = s->locality->zone.n ? s->locality->zone : s->locality->region;
    if (!zone.n)
        zone = map_find(&s->meta, "zone");
    return zone.n ? zone : map_find(&in->node->meta, "zone");
}

/* What is no number, or too great a one, is the last level: a slip of the pen
 * must not draw traffic. */
static uint8_t priority_of(const struct service_in *s)
{
    struct bytes text = map_find(&s->meta, "priority");
    uint64_t n = 0;

    if (!text.n)
        return 0;
    if (bytes_u64(text, &n) != ERR_OK || n >= ROSTER_PRIORITIES)
        n = ROSTER_PRIORITIES - 1;
    return (uint8_t)n;
}

static uint32_t weight_of(const struct service_in *s, bool warning)
{
    const struct weights_in *w = s->weights;
    int64_t v = 1;

    if (w && warning && w->warning_set)
        v = w->warning;
    else if (w && !warning && w->passing_set)
        v = w->passing;
    return v < 0                        ? 0
           : v > LB_ENDPOINT_WEIGHT_MAX ? LB_ENDPOINT_WEIGHT_MAX
                                        : (uint32_t)v;
}

/* The worst check counts, as everywhere. */
static void judge(const struct entry_in *in, struct roster_entry *e)
{
    const struct check_in *c = in->checks.v;
    bool warning = false;

    for (size_t i = 0; i < in->checks.n; i++) {
        if (bytes_is(c[i].id, "_node_maintenance") ||
            bytes_starts(c[i].id, bytes_str("_service_maintenance:")))
            e->out = true;
        if (bytes_is(c[i].status, "warning"))
            warning = true;
        else if (!bytes_is(c[i].status, "passing"))
            e->critical = true;
    }
    e->weight = weight_of(in->service, warning);
    /* The registry's own word about who is in its answers. */
    e->guarded = in->held;
    if (in->held)
        e->critical = false;
    else if (in->damped_until.n)
        e->critical = true;
    e->draining = in->draining;
    e->out = e->out || in->draining;
    if (in->ready_since.n &&
        rfc3339_parse(in->ready_since, &e->ready_since_ms) != ERR_OK)
        e->ready_since_ms = 0;
}

static bool usable(const struct entry_in *in, struct bytes address)
{
    return in->service->port > 0 && in->service->port <= UINT16_MAX &&
           address.n && address.n <= ROSTER_TEXT_MAX &&
           in->node->name.n <= ROSTER_TEXT_MAX &&
           in->service->id.n <= ROSTER_TEXT_MAX &&
           zone_of(in).n <= ROSTER_TEXT_MAX;
}

static enum err put_entry(struct roster *r, const struct entry_in *in)
{
    if (!in->node || !in->service) {
        r->skipped++;
        return ERR_OK;
    }

    struct bytes address =
        in->service->address.n ? in->service->address : in->node->address;
    if (!usable(in, address)) {
        r->skipped++;
        return ERR_OK;
    }
    struct roster_entry e = {
        .node = arena_copy(&r->arena, in->node->name),
        .id = arena_copy(&r->arena, in->service->id),
        .address = arena_copy(&r->arena, address),
        .zone = arena_copy(&r->arena, zone_of(in)),
        .port = (uint16_t)in->service->port,
        .priority = priority_of(in->service),
    };
    if (!e.node.p || !e.id.p || !e.address.p || !e.zone.p)
        return ERR_NOMEM;
    judge(in, &e);
    r->draining += e.draining;
    r->v[r->n++] = e;
    if (!r->datacenter.n) {
        r->datacenter = arena_copy(&r->arena, in->node->datacenter);
        if (!r->datacenter.p)
            return ERR_NOMEM;
    }
    return ERR_OK;
}

/* From '[' to ']' and nothing behind it but blanks. json_take trusts that the
 * text was checked, which it was not as a whole (that is bounded, see above): it
 * never leaves the view it is given, but may take nothing off it for ever. Each
 * instance is checked when it is decoded. */
static enum err list_inside(struct bytes body, struct bytes *ret,
                            struct errtext *t)
{
    static const char blanks[] = " \t\r\n";

    while (body.n && strchr(blanks, body.p[0]))
        body = bytes_skip(body, 1);
    while (body.n && strchr(blanks, body.p[body.n - 1]))
        body.n--;
    if (body.n < 2 || body.p[0] != '[' || body.p[body.n - 1] != ']') {
        errtext_set(t, "the answer is not a list of instances (%zu bytes)",
                    body.n);
        return ERR_BAD;
    }
    *ret = json_inside(body);
    return ERR_OK;
}

/* How many there are. ERR_BAD: a bracket that closes nothing. */
static enum err count_all(struct bytes inside, size_t *ret, struct errtext *t)
{
    struct bytes item;

    *ret = 0;
    while (json_take(&inside, &item)) {
        if (item.n == 0) {
            errtext_set(t, "the answer is no JSON: '%c' closes nothing",
                        inside.p[0]);
            return ERR_BAD;
        }
        ++*ret;
    }
    return ERR_OK;
}

static enum err put_all(struct roster *r, struct bytes inside,
                        struct errtext *t)
{
    struct arena scratch;
    struct bytes item;
    enum err e = ERR_OK;

    arena_init(&scratch, 0);
    while (e == ERR_OK && json_take(&inside, &item)) {
        struct entry_in in;
        arena_reset(&scratch);
        e = json_decode(item, &entry_table, &in, &scratch, t);
        if (e == ERR_OK)
            e = put_entry(r, &in);
    }
    arena_fini(&scratch);
    return e;
}

enum err roster_parse(struct bytes body, struct roster **ret, struct errtext *t)
{
    struct bytes inside;
    enum err e = list_inside(body, &inside, t);

    if (e != ERR_OK)
        return e;
    size_t n = 0;
    e = count_all(inside, &n, t);
    if (e != ERR_OK)
        return e;
    if (n > ROSTER_INSTANCES_MAX) {
        errtext_set(t, "%zu instances; at most %d are taken: use a filter", n,
                    ROSTER_INSTANCES_MAX);
        return ERR_LIMIT;
    }
    struct roster *r = roster_new(n);
    if (!r)
        return ERR_NOMEM;
    e = put_all(r, inside, t);
    if (e != ERR_OK) {
        roster_free(r);
        return e;
    }
    *ret = r;
    return ERR_OK;
}
