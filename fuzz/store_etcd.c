/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Answers of etcd. The first byte says of what: 'r' a range, 't' a transaction,
 * 'w' frames of a watch, the rest is bytes; else an answer of the gateway, which is
 * text. Properties: rows have keys and are views of the input; a watch tells
 * revisions upwards, each event under its own, wherever its pieces end. */
#include <stdint.h>
#include <stdlib.h>

#include "store/etcd_message.h"

static void need(bool x)
{
    if (!x)
        abort();
}

struct seen {
    struct bytes all;
    size_t rows;
};

static void need_within(struct bytes v, struct bytes all)
{
    need(v.n == 0 || (v.p >= all.p && v.p + v.n <= all.p + all.n));
}

static void on_row(void *ctx, const struct backend_row *row)
{
    struct seen *s = ctx;

    need(row->key.n > 0);
    need_within(row->key, s->all);
    need_within(row->value, s->all);
    s->rows++;
}

static void range(struct bytes b)
{
    struct etcd_range r = {0};
    struct seen s = {.all = b};
    enum err e = etcd_range_read(b, &r, on_row, &s);

    need(e == ERR_OK || e == ERR_CORRUPT);
    need(s.rows == r.rows);
    need_within(r.last_key, b);
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
    need_within(t.row_key, b);
    need_within(t.row_value, b);
}

static void on_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                        const struct store_event *events, size_t count)
{
    uint64_t *last = ctx;

    (void)wall_ms;
    need(revision > *last && count > 0);
    *last = revision;
    for (size_t i = 0; i < count; i++)
        need(events[i].mod_rev == revision && events[i].key.n > 0);
}

static void watch(struct bytes b)
{
    struct etcd_events ev = {0};
    uint64_t told = 0, last = 0;
    struct backend_sink to = {.revision = on_revision, .ctx = &told};

    struct bytes message;
    bool bad;

    while (wire_frame(b, &message, &bad)) {
        struct etcd_watched w = {0};

        need_within(message, b);
        if (etcd_watch_read(message, &w, &ev) != ERR_OK)
            break;
        b = bytes_skip(b, WIRE_FRAME_BYTES + message.n);
        if (etcd_events_tell(&ev, w.fragment, last, &to, &last) != ERR_OK)
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
