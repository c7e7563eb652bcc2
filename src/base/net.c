/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/net.h"

#include <stdio.h>

#include <arpa/inet.h>

static bool parse_address(struct bytes text, uint8_t out[16], bool *ret_v4)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char s[INET6_ADDRSTRLEN];

    if (text.n == 0 || text.n >= sizeof s)
        return false;
    memcpy(s, text.p, text.n);
    s[text.n] = 0;
    *ret_v4 = inet_pton(AF_INET, s, out + 12) == 1;
    if (*ret_v4)
        memcpy(out, mapped, sizeof mapped);
    return *ret_v4 || inet_pton(AF_INET6, s, out) == 1;
}

static bool parse_bits(struct bytes text, unsigned most, uint8_t *ret)
{
    unsigned n = 0;

    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0'))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        n = n * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret = (uint8_t)(n + 128 - most);
    return n <= most;
}

/* The bits of byte i that belong to the network. */
static uint8_t mask(const struct net *n, size_t i)
{
    size_t before = i * 8;
    size_t in = n->bits > before ? n->bits - before : 0;

    return (uint8_t)(in >= 8 ? 0xff : 0xff00 >> in);
}

enum err net_parse(struct bytes text, struct net *ret)
{
    struct net n = {0};
    bool v4 = false;
    size_t slash = bytes_find(text, '/');

    if (slash == text.n ||
        !parse_address(bytes_head(text, slash), n.address, &v4) ||
        !parse_bits(bytes_skip(text, slash + 1), v4 ? 32 : 128, &n.bits))
        return ERR_BAD;
    for (size_t i = 0; i < sizeof n.address; i++)
        n.address[i] &= mask(&n, i);
    *ret = n;
    return ERR_OK;
}

enum err net_parse_host(struct bytes text, struct net *ret)
{
    struct net n = {.bits = 128};
    bool v4;

    if (net_parse(text, ret) == ERR_OK)
        return ERR_OK;
    if (!parse_address(text, n.address, &v4))
        return ERR_BAD;
    *ret = n;
    return ERR_OK;
}

bool net_has_bytes(const struct net *n, const uint8_t a[16])
{
    for (size_t i = 0; i < sizeof n->address; i++)
        if ((a[i] & mask(n, i)) != n->address[i])
            return false;
    return true;
}

bool net_has(const struct net *n, struct bytes address)
{
    uint8_t a[16] = {0};
    bool v4;

    return parse_address(address, a, &v4) && net_has_bytes(n, a);
}

void net_host_port(char *ret, size_t n, struct bytes host, uint64_t port)
{
    bool v6 = bytes_find(host, ':') < host.n;

    (void)snprintf(ret, n, v6 ? "[%.*s]:%llu" : "%.*s:%llu", BYTES_ARG(host),
                   (unsigned long long)port);
}
