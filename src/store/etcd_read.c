/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Rows come in pages, all at the revision of the first. A page is asked for by
 * number of rows but should come to ETCD_PAGE_BYTES: each tells how large the
 * next may be, and one that is larger than any answer may be is asked for again
 * with fewer rows. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/etcd_impl.h"

/* --- Keys ---------------------------------------------------------------- */

void etcd_put_range(struct buf *out, unsigned key_field, unsigned end_field,
                    struct bytes prefix, struct bytes from)
{
    char end[STORE_KEY_MAX + 64];
    size_t n = prefix.n < sizeof end ? prefix.n : sizeof end;

    if (n)
        memcpy(end, prefix.p, n);
    while (n && (unsigned char)end[n - 1] == 0xff)
        n--;
    if (n)
        end[n - 1]++;
    wire_put_bytes(out, key_field,
                   from.n     ? from
                   : prefix.n ? prefix
                              : bytes_of("\0", 1));
    wire_put_bytes(out, end_field, n ? bytes_of(end, n) : bytes_of("\0", 1));
}

enum { /* fields: rpc.proto */
       RANGE_KEY = 1,
       RANGE_END = 2,
       RANGE_LIMIT = 3,
       RANGE_REVISION = 4,
       RANGE_ORDER = 5,
       RANGE_TARGET = 6,
       RANGE_KEYS_ONLY = 8,
       ORDER_DESCEND = 2,
       TARGET_MOD = 3,
};

/* --- Pages --------------------------------------------------------------- */

struct page_call {
    struct etcd_call call;
    struct buf prefix, from;
    uint64_t at; /* 0: the newest, until the first page has come */
    uint64_t limit;
    backend_row_fn row;
    void *row_ctx;
    backend_done_fn done;
    void *ctx;
    struct backend_walk *walk; /* one page of it; NULL: all pages */
};

static void page_drop(struct etcd_call *c)
{
    struct page_call *p = container_of(c, struct page_call, call);

    buf_fini(&p->prefix);
    buf_fini(&p->from);
}

static void page_end(struct page_call *p, enum err e)
{
    backend_done_fn done = p->done;
    void *ctx = p->ctx;
    uint64_t at = p->at;

    etcd_call_free(p);
    done(ctx, e, at);
}

static void ask_page(struct page_call *p)
{
    struct buf *out = &p->call.body;

    wire_frame_begin(out);
    etcd_put_range(out, RANGE_KEY, RANGE_END, buf_bytes(&p->prefix),
                   buf_bytes(&p->from));
    wire_put_u64(out, RANGE_LIMIT, p->limit);
    wire_put_u64(out, RANGE_REVISION, p->at);
    etcd_call_start(p);
}

static uint64_t next_limit(size_t rows, size_t bytes)
{
    uint64_t limit = ETCD_PAGE_ROWS;

    if (rows && bytes / rows)
        limit = ETCD_PAGE_BYTES / (bytes / rows);
    if (limit > ETCD_PAGE_ROWS)
        limit = ETCD_PAGE_ROWS;
    return limit ? limit : 1;
}

struct walk_state {
    struct buf from;
    uint64_t limit;
};

/* The walk goes on behind this page, in a call of its own. */
static void keep_place(struct page_call *p)
{
    struct walk_state *k = p->walk->state;

    if (!k)
        k = p->walk->state = xzalloc(sizeof *k);
    buf_reset(&k->from);
    buf_put(&k->from, buf_bytes(&p->from));
    k->limit = p->limit;
}

static void on_page(struct etcd_call *c, const struct etcd_answer *a)
{
    struct page_call *p = container_of(c, struct page_call, call);
    struct etcd_range r = {0};
    enum err e = a->why;

    if (e == ERR_LIMIT && p->limit > 1) {
        p->limit = p->limit / 8 + 1;
        ask_page(p);
        return;
    }
    if (e == ERR_OK)
        e = etcd_range_read(a->body, &r, p->row, p->row_ctx);
    if (e == ERR_OK && !etcd_heard(c->etcd, c->member, &r.header))
        e = ERR_UNAVAILABLE;
    if (e == ERR_OK && p->at == 0)
        p->at = r.header.revision;
    if (e == ERR_OK && r.more && r.rows == 0)
        e = ERR_CORRUPT; /* it would never end */
    bool more = e == ERR_OK && r.more;

    if (more) {
        buf_reset(&p->from);
        buf_put(&p->from, r.last_key);
        buf_putc(&p->from, '\0');
        p->limit = next_limit(r.rows, a->body.n);
        e = p->from.bad ? ERR_NOMEM : ERR_OK;
    }
    if (e == ERR_OK && more && !p->walk) {
        ask_page(p);
        return;
    }
    if (e == ERR_OK && more) {
        keep_place(p);
        e = ERR_AGAIN;
    } else if (p->walk) {
        etcd_walk_end(&c->etcd->backend, p->walk);
    }
    page_end(p, e);
}

static struct page_call *page_new(struct etcd *x, struct bytes prefix,
                                  uint64_t at, backend_done_fn done, void *ctx)
{
    struct page_call *p = etcd_call_new(x, sizeof *p, ETCD_RANGE, on_page);

    p->call.drop = page_drop;
    p->at = at;
    p->limit = ETCD_PAGE_ROWS / 8;
    p->done = done;
    p->ctx = ctx;
    buf_put(&p->prefix, prefix);
    return p;
}

/* Whoever is told may ask at once and begin another try: the rest waits for it. */
static void tried(struct etcd *x, void *arg, enum err e)
{
    (void)arg;
    while (!list_empty(&x->to_try) && !x->try_done) {
        struct page_call *p =
            container_of(x->to_try.next, struct page_call, call.link);

        list_del(&p->call.link);
        if (e == ERR_OK)
            ask_page(p);
        else
            page_end(p, e);
    }
}

void etcd_range(struct backend *b, struct bytes prefix, uint64_t at,
                backend_row_fn row, backend_done_fn done, void *ctx)
{
    struct etcd *x = etcd_of(b);
    struct page_call *p = page_new(x, prefix, at, done, ctx);

    p->row = row;
    p->row_ctx = ctx;
    /* The first call of all is a range; after a gap it may be several, of groups
     * whose outcome is looked for. */
    if (x->tried) {
        ask_page(p);
        return;
    }
    list_add(&x->to_try, &p->call.link);
    if (!x->try_done)
        etcd_try(x, tried, NULL);
}

void etcd_walk(struct backend *b, struct backend_walk *w, backend_done_fn done,
               void *ctx)
{
    struct etcd *x = etcd_of(b);
    struct walk_state *k = w->state;

    if (w->at < x->oldest) {
        etcd_walk_end(b, w);
        done(ctx, ERR_COMPACTED, w->at);
        return;
    }
    struct page_call *p = page_new(x, w->prefix, w->at, done, ctx);

    p->walk = w;
    p->row = w->row;
    p->row_ctx = w->ctx;
    if (k) {
        buf_put(&p->from, buf_bytes(&k->from));
        p->limit = k->limit;
    }
    ask_page(p);
}

void etcd_walk_end(struct backend *b, struct backend_walk *w)
{
    struct walk_state *k = w->state;

    (void)b;
    if (k)
        buf_fini(&k->from);
    free(k);
    w->state = NULL;
}

/* --- Barrier ------------------------------------------------------------- */

struct barrier_call {
    struct etcd_call call;
    uint64_t fed; /* when it began: what comes meanwhile may overtake it */
    backend_done_fn done;
    void *ctx;
};

static void on_barrier(struct etcd_call *c, const struct etcd_answer *a)
{
    struct barrier_call *p = container_of(c, struct barrier_call, call);
    backend_done_fn done = p->done;
    void *ctx = p->ctx;
    struct etcd *x = c->etcd;
    struct etcd_range r = {0};
    enum err e = a->why;
    uint64_t fed = p->fed;
    size_t member = c->member;

    if (e == ERR_OK)
        e = etcd_range_read(a->body, &r, NULL, NULL);
    etcd_call_free(c);
    if (e == ERR_OK && !etcd_heard(x, member, &r.header))
        e = ERR_UNAVAILABLE;
    /* Read with a majority and still older than what we had been told before:
     * another life of etcd, restored from a backup under the same name. */
    if (e == ERR_OK && r.header.revision < fed) {
        if (x->feeding)
            etcd_feed_gap(x);
        e = ERR_UNAVAILABLE;
    }
    done(ctx, e, r.header.revision);
}

void etcd_barrier(struct backend *b, backend_done_fn done, void *ctx)
{
    struct barrier_call *p =
        etcd_call_new(etcd_of(b), sizeof *p, ETCD_RANGE, on_barrier);

    p->call.timeout_ms = ETCD_BARRIER_MS;
    p->fed = etcd_of(b)->fed;
    p->done = done;
    p->ctx = ctx;
    wire_put_bytes(&p->call.body, RANGE_KEY, bytes_str("E"));
    wire_put_u64(&p->call.body, RANGE_KEYS_ONLY, 1);
    etcd_call_start(p);
}

/* --- When ---------------------------------------------------------------- *
 *
 * As of any revision the newest marker tells when that was. A binary search: of
 * [lo + 1, hi] the greatest that was not written after wall_ms; lo is good. */

struct moment_call {
    struct etcd_call call;
    uint64_t lo, hi, mid;
    uint64_t first; /* lo below it: none is good */
    uint64_t wall_ms, found_ms;
    uint64_t seen_ms; /* of mid */
    backend_moment_fn done;
    void *ctx;
};

static void moment_end(struct moment_call *m, enum err e)
{
    backend_moment_fn done = m->done;
    void *ctx = m->ctx;
    uint64_t revision = m->lo, ms = m->found_ms;

    etcd_call_free(m);
    done(ctx, e, revision, ms);
}

static void moment_step(struct moment_call *m)
{
    struct buf *out = &m->call.body;

    if (m->lo == m->hi) {
        moment_end(m, m->lo < m->first ? ERR_COMPACTED : ERR_OK);
        return;
    }
    m->mid = m->lo + (m->hi - m->lo + 1) / 2;
    m->seen_ms = 0;
    wire_frame_begin(out);
    etcd_put_range(out, RANGE_KEY, RANGE_END, bytes_str("m/"),
                   (struct bytes){0});
    wire_put_u64(out, RANGE_LIMIT, 1);
    wire_put_u64(out, RANGE_REVISION, m->mid);
    wire_put_u64(out, RANGE_ORDER, ORDER_DESCEND);
    wire_put_u64(out, RANGE_TARGET, TARGET_MOD);
    etcd_call_start(m);
}

static void moment_row(void *ctx, const struct backend_row *row)
{
    ((struct moment_call *)ctx)->seen_ms = etcd_marker_ms(row->value);
}

static void on_moment(struct etcd_call *c, const struct etcd_answer *a)
{
    struct moment_call *m = container_of(c, struct moment_call, call);
    struct etcd_range r = {0};
    enum err e = a->why;

    if (e == ERR_OK)
        e = etcd_range_read(a->body, &r, moment_row, m);
    if (e != ERR_OK) {
        moment_end(m, e);
        return;
    }
    if (m->seen_ms <= m->wall_ms) {
        m->lo = m->mid;
        m->found_ms = m->seen_ms;
    } else {
        m->hi = m->mid - 1;
    }
    moment_step(m);
}

void etcd_moment(struct backend *b, uint64_t revision, uint64_t wall_ms,
                 backend_moment_fn done, void *ctx)
{
    struct etcd *x = etcd_of(b);
    struct moment_call *m = etcd_call_new(x, sizeof *m, ETCD_RANGE, on_moment);

    m->first = x->oldest;
    m->hi = revision < x->newest ? revision : x->newest;
    /* Without a time all are good: only when the last was is asked for. */
    m->lo = wall_ms == UINT64_MAX ? m->hi - 1 : x->oldest - 1;
    m->wall_ms = wall_ms;
    m->done = done;
    m->ctx = ctx;
    if (m->hi < x->oldest)
        moment_end(m, ERR_COMPACTED);
    else
        moment_step(m);
}
