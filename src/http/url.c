/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/request.h"

#include "http/chars.h"

/* The byte that raw[i], raw[i + 1], raw[i + 2] stand for; -1: no escape. */
static int escaped(struct bytes raw, size_t i)
{
    if (raw.n - i < 3)
        return -1;

    int hi = hex_digit(raw.p[i + 1]);
    int lo = hex_digit(raw.p[i + 2]);

    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

enum err http_decode(struct arena *a, struct bytes raw, bool plus_is_space,
                     struct bytes *ret)
{
    char *out = arena_alloc(a, raw.n + 1);
    size_t n = 0;

    if (!out)
        return ERR_NOMEM;
    for (size_t i = 0; i < raw.n; i++) {
        int c = (unsigned char)raw.p[i];
        if (c == '%') {
            c = escaped(raw, i);
            if (c < 0)
                return ERR_BAD;
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[n++] = (char)c;
    }
    out[n] = '\0';
    *ret = bytes_of(out, n);
    return ERR_OK;
}

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == '~';
}

void http_encode(struct buf *out, struct bytes raw)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < raw.n; i++) {
        unsigned char c = (unsigned char)raw.p[i];
        if (unreserved((char)c)) {
            buf_putc(out, (char)c);
        } else {
            char esc[3] = {'%', digits[c >> 4], digits[c & 15]};
            buf_put_n(out, esc, sizeof esc);
        }
    }
}

/* Drops the last segment of out[0..n), which begins with '/'. */
static size_t drop_segment(const char *out, size_t n)
{
    while (n > 0 && out[n - 1] != '/')
        n--;
    return n > 0 ? n - 1 : 0;
}

bool http_clean_path(struct arena *a, struct bytes path, struct bytes *ret)
{
    char *out = arena_alloc(a, path.n + 2);
    size_t n = 0;

    if (!out)
        return false; /* the path as it came is a safe answer */

    for (size_t i = 0; i < path.n;) {
        size_t len = bytes_find(bytes_skip(path, i), '/');
        struct bytes seg = bytes_of(path.p + i, len);

        if (bytes_is(seg, "..")) {
            n = drop_segment(out, n);
        } else if (len && !bytes_is(seg, ".")) {
            out[n++] = '/';
            memcpy(out + n, seg.p, len);
            n += len;
        }
        i += len + 1;
    }
    if (n == 0 || (path.n && path.p[path.n - 1] == '/'))
        out[n++] = '/';

    struct bytes clean = bytes_of(out, n);
    if (bytes_eq(clean, path))
        return false;
    *ret = clean;
    return true;
}
