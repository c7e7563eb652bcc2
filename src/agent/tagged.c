/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "agent/impl.h"

enum family { FAMILY_NONE, FAMILY_V4, FAMILY_V6 };

/* As Go's net.ParseIP and To4: an IPv4 address in IPv6 clothes is IPv4. */
static enum family family_of(struct bytes address)
{
    char text[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;

    if (address.n == 0 || address.n >= sizeof text)
        return FAMILY_NONE;
    memcpy(text, address.p, address.n);
    text[address.n] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return FAMILY_V4;
    if (inet_pton(AF_INET6, text, &v6) != 1)
        return FAMILY_NONE;
    return IN6_IS_ADDR_V4MAPPED(&v6) ? FAMILY_V4 : FAMILY_V6;
}

struct merge {
    const struct service_view *v;
    struct buf out;
    uint32_t n;
};

static void put(struct merge *m, struct bytes name, struct bytes address,
                int64_t port)
{
    packed_put_tagged(&m->out, name, address, port);
    m->n++;
}

/* Everything that is given and sorts before `name`; true: it is given itself.
 */
static bool put_before(struct merge *m, struct bytes *rest, const char *name)
{
    struct bytes left = *rest, key, value, address;
    int64_t port;

    while (packed_next_pair(&left, &key, &value)) {
        int order = bytes_cmp(key, bytes_str(name));
        if (order >= 0)
            return order == 0;
        if (tagged_address(value, &address, &port))
            put(m, key, address, port);
        *rest = left;
    }
    return false;
}

struct packed tagged_with_defaults(const struct service_view *v,
                                   struct arena *a)
{
    static const char *const names[][2] = {
        [FAMILY_V4] = {"lan_ipv4", "wan_ipv4"},
        [FAMILY_V6] = {"lan_ipv6", "wan_ipv6"},
    };
    enum family f = family_of(v->address);
    struct merge m = {.v = v};
    struct bytes rest = v->tagged.data, key, value, address;
    int64_t port;

    if (f == FAMILY_NONE)
        return v->tagged;
    for (int i = 0; i < 2; i++)
        if (!put_before(&m, &rest, names[f][i]))
            put(&m, bytes_str(names[f][i]), v->address, v->port);
    while (packed_next_pair(&rest, &key, &value))
        if (tagged_address(value, &address, &port))
            put(&m, key, address, port);
    struct packed ret = {arena_copy(a, buf_bytes(&m.out)), m.n};
    require(!m.out.bad && ret.data.p);
    buf_fini(&m.out);
    return ret;
}
