/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What Go's mitchellh/hashstructure computes over api.AgentService: 64-bit
 * FNV-1, not 1a; pairs and lists chained, maps and structs as the XOR of their
 * pairs. (G. Fowler, L. C. Noll, K.-P. Vo, 1991; consul-api 2.4.) */
#include "local/hash.h"

static uint64_t fnv1(const void *p, size_t n)
{
    const uint8_t *b = p;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = h * UINT64_C(0x100000001b3) ^ b[i];
    return h;
}

static uint64_t of_bytes(struct bytes b)
{
    return fnv1(b.p, b.n);
}

static void put_le64(uint8_t to[8], uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t of_int(int64_t v)
{
    uint8_t b[8];
    put_le64(b, (uint64_t)v);
    return fnv1(b, sizeof b);
}

static uint64_t of_bool(bool v)
{
    uint8_t b = v;
    return fnv1(&b, 1);
}

static uint64_t pair(uint64_t a, uint64_t b)
{
    uint8_t both[16];
    put_le64(both, a);
    put_le64(both + 8, b);
    return fnv1(both, sizeof both);
}

static uint64_t field(const char *name, uint64_t value)
{
    return pair(of_bytes(bytes_str(name)), value);
}

static uint64_t of_list(struct packed p)
{
    uint64_t h = 0;
    struct bytes rest = p.data, item;

    while (packed_next(&rest, &item))
        h = pair(h, of_bytes(item));
    return h;
}

static uint64_t of_map(struct packed p)
{
    uint64_t h = 0;
    struct bytes rest = p.data, key, value;

    while (packed_next_pair(&rest, &key, &value))
        h ^= pair(of_bytes(key), of_bytes(value));
    return h;
}

static uint64_t of_tagged(struct packed p)
{
    uint64_t h = 0;
    struct bytes rest = p.data, key, value;

    while (packed_next_pair(&rest, &key, &value)) {
        struct bytes address = {0};
        int64_t port = 0;
        if (!tagged_address(value, &address, &port))
            continue;
        h ^= pair(of_bytes(key), of_bytes(bytes_str("ServiceAddress")) ^
                                     field("Address", of_bytes(address)) ^
                                     field("Port", of_int(port)));
    }
    return h;
}

static uint64_t of_weights(const struct service_view *v)
{
    return of_bytes(bytes_str("AgentWeights")) ^
           field("Passing", of_int(v->weight_passing)) ^
           field("Warning", of_int(v->weight_warning));
}

/* A nil pointer is hashed as the number 0. What proxies hash to is nobody's
 * contract; it only has to differ when they do. */
static uint64_t of_json(struct bytes json)
{
    return json.n ? of_bytes(json) : of_int(0);
}

uint64_t service_content_hash(const struct service_view *v)
{
    uint64_t h = of_bytes(bytes_str("AgentService"));

    h ^= field("Kind", of_bytes(v->kind));
    h ^= field("ID", of_bytes(v->id));
    h ^= field("Service", of_bytes(v->name));
    h ^= field("Tags", of_list(v->tags));
    h ^= field("Meta", of_map(v->meta));
    h ^= field("Port", of_int(v->port));
    h ^= field("Address", of_bytes(v->address));
    h ^= field("TaggedAddresses", of_tagged(v->tagged));
    h ^= field("Weights", of_weights(v));
    h ^= field("EnableTagOverride", of_bool(v->enable_tag_override));
    h ^= field("CreateIndex", of_int(0));
    h ^= field("ModifyIndex", of_int(0));
    h ^= field("ContentHash", of_bytes((struct bytes){0}));
    h ^= field("Proxy", of_json(v->proxy));
    h ^= field("Connect", of_json(v->connect));
    /* Members that 1.8.7 does not know count only where they are used. */
    if (v->extra.n)
        h ^= field("Extra", of_bytes(v->extra));
    return h;
}
