/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"
#include "health/judge.h"
#include "health/text.h"

size_t utf8_sequence(struct bytes b)
{
    for (size_t n = 1; n <= 4 && n <= b.n; n++)
        if (bytes_utf8(bytes_head(b, n)))
            return n;
    return 0;
}

/* Every byte that belongs to no sequence becomes U+FFFD, as in Go. */
static void put_utf8(struct buf *out, struct bytes v)
{
    if (bytes_utf8(v)) {
        buf_put(out, v);
        return;
    }
    while (v.n) {
        size_t n = utf8_sequence(v);
        if (n)
            buf_put_n(out, v.p, n);
        else
            buf_puts(out, "\xef\xbf\xbd");
        v = bytes_skip(v, n ? n : 1);
    }
}

void output_tail(struct buf *out, struct bytes tail, uint64_t total, size_t max,
                 bool marker)
{
    if (tail.n > max)
        tail = bytes_skip(tail, tail.n - max);
    if (marker && total > tail.n)
        buf_printf(out, "Captured %zu of %llu bytes\n...\n", tail.n,
                   (unsigned long long)total);
    put_utf8(out, tail);
}

void output_head(struct buf *out, struct bytes text, size_t max)
{
    put_utf8(out, bytes_head(text, max));
    if (text.n > max)
        buf_printf(out, " ... (captured %zu of %zu bytes)", max, text.n);
}
