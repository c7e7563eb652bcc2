/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Answers of etcd's gateway. The first byte says of what: 'r' a range, 't' a
 * transaction, 'w' a line of a watch, 'e' an error; the rest is the text.
 * Properties: rows have keys; what base64 gives is written back as it was read;
 * a watch tells revisions upwards, each event under its own. */
#include <stdint.h>
#include <stdlib.h>

#include "store/etcd_message.h"

static void need(bool x)
{
    if (!x)
        abort();
}

static void round_trip(struct bytes v)
{
    struct buf quoted = {0}, back = {0};

    buf_putc(&quoted, '"');
    text_put_base64(&quoted, v);
    buf_putc(&quoted, '"');
    struct text t = text_over(buf_bytes(&quoted));
    text_base64(&t, &back);
    need(text_end(&t) && bytes_eq(buf_bytes(&back), v));
    buf_fini(&quoted);
    buf_fini(&back);
}

static void on_row(void *ctx, const struct backend_row *row)
{
    size_t *rows = ctx;

    need(row->key.n > 0);
    round_trip(row->key);
    round_trip(row->value);
    ++*rows;
}

static void range(struct bytes b)
{
    struct etcd_range r = {0};
    size_t rows = 0;
    enum err e = etcd_range_read(b, &r, on_row, &rows);

    need(e == ERR_OK || e == ERR_CORRUPT);
    need(rows == r.rows);
    etcd_range_fini(&r);
}

static void on_held(void *ctx, size_t at, bool held)
{
    (void)held;
    *(size_t *)ctx = at;
}

static void txn(struct bytes b)
{
    struct etcd_txn t = {0};
    size_t last = 0;
    enum err e = etcd_txn_read(b, &t, on_held, &last);

    need(e == ERR_OK || e == ERR_CORRUPT);
    need(e != ERR_OK || last == 0 || last < t.responses);
    etcd_txn_fini(&t);
}

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    uint64_t *last = ctx;

    (void)wall_ms;
    need(revision > *last && count > 0);
    *last = revision;
    for (size_t i = 0; i < count; i++) {
        need(events[i].mod_rev == revision && events[i].key.n > 0);
        round_trip(events[i].value);
    }
}

static void watch(struct bytes b)
{
    struct etcd_events ev = {0};
    uint64_t told = 0, last = 0;
    struct backend_sink to = {.revision = on_revision, .ctx = &told};

    while (b.n) {
        struct etcd_watched w = {0};
        size_t n = bytes_find(b, '\n');

        if (etcd_watch_read(bytes_head(b, n), &w, &ev) != ERR_OK)
            break;
        b = bytes_skip(b, n + 1);
        if (w.fragment)
            continue;
        if (etcd_events_tell(&ev, last, &to, &last) != ERR_OK)
            break;
        need(last >= told);
    }
    etcd_events_fini(&ev);
}

static void others(struct bytes b)
{
    uint64_t n;
    struct bytes s = etcd_error_read(b);

    need(s.n <= b.n);
    if (etcd_number_read(b, "result", "TTL", &n) == ERR_OK &&
        etcd_string_read(b, "token", &s) == ERR_OK)
        need(s.n <= b.n);
    (void)etcd_marker_ms(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct bytes rest = bytes_skip(bytes_of(p, n), 1);

    switch (n ? p[0] : 0) {
    case 'r':
        range(rest);
        break;
    case 't':
        txn(rest);
        break;
    case 'w':
        watch(rest);
        break;
    default:
        others(rest);
        break;
    }
    return 0;
}
