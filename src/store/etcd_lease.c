/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/etcd_impl.h"

enum { COMPACT_MS = 60 * 1000 };

struct lease_call {
    struct etcd_call call;
    void (*granted)(void *ctx, enum err e, uint64_t lease);
    backend_done_fn done;
    void *ctx;
    uint64_t revision; /* compaction */
};

static struct lease_call *lease_call(struct backend *b, const char *path,
                                     void (*done)(struct etcd_call *,
                                                  const struct etcd_answer *),
                                     void *ctx)
{
    struct lease_call *l = etcd_call_new(etcd_of(b), sizeof *l, path, done);

    l->ctx = ctx;
    return l;
}

/* --- Leases -------------------------------------------------------------- */

static void on_granted(struct etcd_call *c, const struct etcd_answer *a)
{
    struct lease_call *l = container_of(c, struct lease_call, call);
    void (*granted)(void *ctx, enum err e, uint64_t lease) = l->granted;
    void *ctx = l->ctx;
    uint64_t lease = 0;
    enum err e = a->why;

    if (e == ERR_OK)
        e = etcd_number_read(a->body, NULL, "ID", &lease);
    if (e == ERR_OK && lease == 0)
        e = ERR_CORRUPT;
    etcd_call_free(c);
    granted(ctx, e, lease);
}

void etcd_lease_grant(struct backend *b, uint32_t ttl_ms,
                      void (*granted)(void *ctx, enum err e, uint64_t lease),
                      void *ctx)
{
    struct lease_call *l = lease_call(b, "lease/grant", on_granted, ctx);

    l->granted = granted;
    buf_putc(&l->call.body, '{');
    /* Whole seconds; longer than asked is what the holder need not know: he
     * gives up by his own clock. */
    text_put_u64(&l->call.body, "TTL", ttl_ms / 1000 + (ttl_ms % 1000 != 0));
    buf_putc(&l->call.body, '}');
    etcd_call_start(l);
}

static void put_id(struct lease_call *l, uint64_t lease)
{
    buf_putc(&l->call.body, '{');
    text_put_u64(&l->call.body, "ID", lease);
    buf_putc(&l->call.body, '}');
}

static void on_kept(struct etcd_call *c, const struct etcd_answer *a)
{
    struct lease_call *l = container_of(c, struct lease_call, call);
    backend_done_fn done = l->done;
    void *ctx = l->ctx;
    uint64_t ttl = 0;
    enum err e = a->why;

    if (e == ERR_OK)
        e = etcd_number_read(a->body, "result", "TTL", &ttl);
    if (e == ERR_OK && ttl == 0)
        e = ERR_NOT_FOUND;
    etcd_call_free(c);
    done(ctx, e, 0);
}

void etcd_lease_keep(struct backend *b, uint64_t lease, backend_done_fn done,
                     void *ctx)
{
    struct lease_call *l = lease_call(b, "lease/keepalive", on_kept, ctx);

    l->done = done;
    put_id(l, lease);
    etcd_call_start(l);
}

static void on_revoked(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;

    if (a->why != ERR_OK && a->why != ERR_NOT_FOUND)
        log_debug("store", "a lease runs out by itself: %s", a->text.s);
    etcd_call_free(c);
    x->revokes--;
    if (x->closing && x->revokes == 0)
        etcd_closed(x);
}

void etcd_lease_revoke(struct backend *b, uint64_t lease)
{
    struct lease_call *l = lease_call(b, "kv/lease/revoke", on_revoked, NULL);

    put_id(l, lease);
    etcd_of(b)->revokes++;
    etcd_call_start(l);
}

/* --- Compaction ---------------------------------------------------------- */

static void on_compacted(struct etcd_call *c, const struct etcd_answer *a)
{
    struct lease_call *l = container_of(c, struct lease_call, call);
    backend_done_fn done = l->done;
    void *ctx = l->ctx;
    struct etcd *x = c->etcd;
    enum err e = a->why == ERR_COMPACTED ? ERR_OK : a->why;

    if (e == ERR_OK && x->oldest < l->revision)
        x->oldest = l->revision;
    etcd_call_free(c);
    done(ctx, e, x->oldest);
}

/* To one below: etcd may drop what was deleted in the very revision that it
 * compacts to, and a history from `revision` on must still tell of it. Physical:
 * what is only marked as dropped leaves no room yet. */
void etcd_compact(struct backend *b, uint64_t revision, backend_done_fn done,
                  void *ctx)
{
    struct etcd *x = etcd_of(b);

    if (revision > x->newest)
        revision = x->newest;
    if (revision <= x->oldest) {
        done(ctx, ERR_OK, x->oldest);
        return;
    }
    struct lease_call *l = lease_call(b, "kv/compaction", on_compacted, ctx);

    l->done = done;
    l->revision = revision;
    l->call.timeout_ms = COMPACT_MS;
    buf_putc(&l->call.body, '{');
    text_put_u64(&l->call.body, "revision", revision - 1);
    buf_puts(&l->call.body, ",\"physical\":true}");
    etcd_call_start(l);
}

void etcd_compacted(struct backend *b, uint64_t revision)
{
    struct etcd *x = etcd_of(b);

    if (x->assumed < revision && revision <= x->newest)
        x->assumed = revision;
}
