/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/bytes.h"

#include <endian.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static int by_length(struct bytes a, struct bytes b)
{
    return (a.n > b.n) - (a.n < b.n);
}

int bytes_cmp(struct bytes a, struct bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    return c ? c : by_length(a, b);
}

static unsigned fold(char c)
{
    unsigned u = (unsigned char)c;
    return u - 'A' < 26 ? u | 0x20 : u;
}

/* Eight bytes as one big-endian number: numbers compare as the bytes do. */
static uint64_t load8(const char *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return be64toh(w);
}

/* A-Z in it folded. Adding to the low seven bits of each byte carries into its
 * top bit from 'A' on and from beyond 'Z' on; bytes over 127 are left alone. */
static uint64_t fold8(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = w & (0x7f * ones);
    uint64_t from_a = low + (0x80 - 'A') * ones;
    uint64_t past_z = low + (0x7f - 'Z') * ones;
    uint64_t upper = (from_a ^ past_z) & ~w & (0x80 * ones);
    return w | upper >> 2;
}

int bytes_cmp_fold(struct bytes a, struct bytes b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        uint64_t x = fold8(load8(a.p + i));
        uint64_t y = fold8(load8(b.p + i));
        if (x != y)
            return x < y ? -1 : 1;
    }
    for (; i < n; i++) {
        unsigned x = fold(a.p[i]);
        unsigned y = fold(b.p[i]);
        if (x != y)
            return x < y ? -1 : 1;
    }
    return by_length(a, b);
}

bool bytes_eq_fold(struct bytes a, struct bytes b)
{
    return a.n == b.n && bytes_cmp_fold(a, b) == 0;
}

uint64_t bytes_eight(struct bytes b, size_t at, bool fold)
{
    size_t left = b.n - at;
    uint64_t w = 0;

    if (left >= 8)
        w = load8(b.p + at);
    else if (left == 0)
        return 0;
    else if (b.n >= 8)
        w = load8(b.p + b.n - 8) << 8 * (8 - left);
    else
        for (size_t i = 0; i < left; i++)
            w |= (uint64_t)(unsigned char)b.p[at + i] << (56 - 8 * i);
    return fold ? fold8(w) : w;
}

size_t bytes_common(struct bytes a, struct bytes b, bool fold)
{
    size_t n = a.n < b.n ? a.n : b.n;

    for (size_t i = 0; i < n; i += 8) {
        uint64_t x = bytes_eight(a, i, fold) ^ bytes_eight(b, i, fold);
        if (x) {
            i += (size_t)__builtin_clzll(x) / 8;
            return i < n ? i : n;
        }
    }
    return n;
}

bool bytes_starts(struct bytes b, struct bytes prefix)
{
    return b.n >= prefix.n && bytes_eq(bytes_head(b, prefix.n), prefix);
}

bool bytes_ends(struct bytes b, struct bytes suffix)
{
    return b.n >= suffix.n && bytes_eq(bytes_skip(b, b.n - suffix.n), suffix);
}

size_t bytes_find(struct bytes b, char c)
{
    const char *at = b.n ? memchr(b.p, c, b.n) : NULL;
    return at ? (size_t)(at - b.p) : b.n;
}

enum err bytes_u64(struct bytes b, uint64_t *ret)
{
    uint64_t v = 0;
    bool over = false;

    if (b.n == 0)
        return ERR_BAD;
    for (size_t i = 0; i < b.n; i++) {
        unsigned digit = (unsigned)(unsigned char)b.p[i] - '0';
        if (digit > 9)
            return ERR_BAD;
        over |= __builtin_mul_overflow(v, 10u, &v);
        over |= __builtin_add_overflow(v, digit, &v);
    }
    if (over)
        return ERR_LIMIT;
    *ret = v;
    return ERR_OK;
}

enum err bytes_bool(struct bytes b, bool *ret)
{
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};

    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (bytes_is(b, yes[i])) {
            *ret = true;
            return ERR_OK;
        }
        if (bytes_is(b, no[i])) {
            *ret = false;
            return ERR_OK;
        }
    }
    return ERR_BAD;
}

/* Length of the sequence at p (RFC 3629, section 4), or 0. The range of the
 * second byte is what excludes overlong forms, surrogates and > U+10FFFF. */
static size_t utf8_sequence(const unsigned char *p, size_t n)
{
    unsigned low = 0x80, high = 0xbf;
    size_t len;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool bytes_utf8(struct bytes b)
{
    const unsigned char *p = (const unsigned char *)b.p;
    size_t i = 0;

    while (i < b.n) {
        uint64_t w;
        if (b.n - i >= sizeof w) {
            memcpy(&w, p + i, sizeof w);
            if ((w & 0x8080808080808080u) == 0) {
                i += sizeof w;
                continue;
            }
        }
        size_t len = utf8_sequence(p + i, b.n - i);
        if (len == 0)
            return false;
        i += len;
    }
    return true;
}

uint64_t bytes_hash(struct bytes b, uint64_t seed)
{
    return XXH3_64bits_withSeed(b.p, b.n, seed);
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (fold(c) >= 'a' && fold(c) <= 'f');
}

bool bytes_uuid(struct bytes b)
{
    if (b.n != 36)
        return false;
    for (size_t i = 0; i < b.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? b.p[i] != '-' : !is_hex(b.p[i]))
            return false;
    }
    return true;
}

void uuid_format(const uint8_t random[16], char ret[37])
{
    static const char hex[] = "0123456789abcdef";
    size_t at = 0;

    for (size_t i = 0; i < 16; i++) {
        unsigned v = random[i];
        if (i == 6) /* version 4: RFC 4122, section 4.4 */
            v = 0x40 | (v & 0x0f);
        else if (i == 8) /* variant 10 */
            v = 0x80 | (v & 0x3f);
        if (i == 4 || i == 6 || i == 8 || i == 10)
            ret[at++] = '-';
        ret[at++] = hex[v >> 4];
        ret[at++] = hex[v & 0x0f];
    }
    ret[at] = '\0';
}
