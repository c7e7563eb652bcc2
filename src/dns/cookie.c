/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "dns/cookie.h"

enum {
    VERSION = 1,
    HEAD_BYTES = 8, /* version, reserved, time */
    TIME_AT = DNS_COOKIE_CLIENT + 4,
    HASH_AT = DNS_COOKIE_CLIENT + HEAD_BYTES,
    ADDRESS_MAX = 16,
};

/* --- SipHash-2-4 ------------------------------------------------------------- */

static uint64_t read_le64(const uint8_t *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static uint64_t turn(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static void rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turn(v[1], 13) ^ v[0];
        v[3] = turn(v[3], 16) ^ v[2];
        v[0] = turn(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turn(v[1], 17) ^ v[2];
        v[3] = turn(v[3], 21) ^ v[0];
        v[2] = turn(v[2], 32);
    }
}

static void take(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

uint64_t dns_siphash(const struct dns_key *key, const uint8_t *p, size_t n)
{
    uint64_t k0 = read_le64(key->p, 8), k1 = read_le64(key->p + 8, 8);
    uint64_t v[4] = {
        k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
        k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t i;

    for (i = 0; i + 8 <= n; i += 8)
        take(v, read_le64(p + i, 8));
    take(v, read_le64(p + i, n - i) | (uint64_t)n << 56);
    v[2] ^= 0xff;
    rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* --- Cookies -------------------------------------------------------------------- */

/* Of a cookie whose head is written. */
static uint64_t hash_of(const struct dns_key *key, struct bytes client,
                        const uint8_t *cookie)
{
    uint8_t text[HASH_AT + ADDRESS_MAX];
    size_t n = client.n < ADDRESS_MAX ? client.n : ADDRESS_MAX;

    memcpy(text, cookie, HASH_AT);
    if (n)
        memcpy(text + HASH_AT, client.p, n);
    return dns_siphash(key, text, HASH_AT + n);
}

static uint32_t time_of(const uint8_t *cookie)
{
    const uint8_t *p = cookie + TIME_AT;

    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 |
           p[3];
}

/* Times are compared around their wrap (RFC 1982). */
static bool is_ours(const struct dns_key *key, struct bytes client,
                    uint32_t now_s, const struct dns_cookie *c)
{
    if (c->n != DNS_COOKIE_MADE || c->p[DNS_COOKIE_CLIENT] != VERSION)
        return false;
    int32_t age = (int32_t)(now_s - time_of(c->p));
    return age <= DNS_COOKIE_GOOD_S && age >= -DNS_COOKIE_AHEAD_S &&
           read_le64(c->p + HASH_AT, 8) == hash_of(key, client, c->p);
}

bool dns_cookie_answer(const struct dns_key *key, struct bytes client,
                       uint32_t now_s, struct dns_cookie *c)
{
    bool ours = is_ours(key, client, now_s, c);

    if (ours && (int32_t)(now_s - time_of(c->p)) < DNS_COOKIE_FRESH_S)
        return true;
    uint8_t *p = c->p + DNS_COOKIE_CLIENT;
    memset(p, 0, HEAD_BYTES);
    p[0] = VERSION;
    for (int i = 0; i < 4; i++)
        c->p[TIME_AT + i] = (uint8_t)(now_s >> (24 - 8 * i));
    uint64_t hash = hash_of(key, client, c->p);
    for (int i = 0; i < 8; i++)
        c->p[HASH_AT + i] = (uint8_t)(hash >> 8 * i);
    c->n = DNS_COOKIE_MADE;
    return ours;
}
