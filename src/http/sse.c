/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/sse.h"

static void field(struct buf *out, const char *name, struct bytes value)
{
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_put(out, value);
    buf_putc(out, '\n');
}

void sse_event(struct buf *out, const char *name)
{
    field(out, "event", bytes_str(name));
}

static size_t line_end(struct bytes b)
{
    size_t n = 0;
    while (n < b.n && b.p[n] != '\n' && b.p[n] != '\r')
        n++;
    return n;
}

void sse_data(struct buf *out, struct bytes data)
{
    for (;;) {
        size_t n = line_end(data);
        field(out, "data", bytes_head(data, n));
        if (n == data.n)
            return;
        bool both =
            data.p[n] == '\r' && n + 1 < data.n && data.p[n + 1] == '\n';
        data = bytes_skip(data, n + (both ? 2 : 1));
    }
}

void sse_id(struct buf *out, uint64_t id)
{
    buf_puts(out, "id: ");
    buf_u64(out, id);
    buf_putc(out, '\n');
}

void sse_retry(struct buf *out, uint64_t ms)
{
    buf_puts(out, "retry: ");
    buf_u64(out, ms);
    buf_putc(out, '\n');
}

void sse_end(struct buf *out)
{
    buf_putc(out, '\n');
}

void sse_comment(struct buf *out, const char *text)
{
    buf_puts(out, ": ");
    buf_puts(out, text);
    buf_puts(out, "\n\n");
}
