/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_message.h"

#include <stdlib.h>

#include "base/alloc.h"

static enum err verdict(const struct text *t, const struct buf *b)
{
    if (b && b->bad)
        return ERR_NOMEM;
    return t->bad ? ERR_CORRUPT : ERR_OK;
}

static void read_header(struct text *t, struct etcd_header *ret)
{
    struct bytes name;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "cluster_id"))
            ret->cluster = text_u64(t);
        else if (bytes_is(name, "revision"))
            ret->revision = text_u64(t);
        else
            text_skip(t);
    }
}

struct kv {
    size_t key_at, key_n, value_at, value_n;
    uint64_t create_rev, mod_rev, lease;
};

static void read_kv(struct text *t, struct buf *out, struct kv *ret)
{
    struct bytes name;

    *ret = (struct kv){.key_at = out->n};
    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "key")) {
            ret->key_at = out->n;
            text_base64(t, out);
            ret->key_n = out->n - ret->key_at;
        } else if (bytes_is(name, "value")) {
            ret->value_at = out->n;
            text_base64(t, out);
            ret->value_n = out->n - ret->value_at;
        } else if (bytes_is(name, "create_revision")) {
            ret->create_rev = text_u64(t);
        } else if (bytes_is(name, "mod_revision")) {
            ret->mod_rev = text_u64(t);
        } else if (bytes_is(name, "lease")) {
            ret->lease = text_u64(t);
        } else {
            text_skip(t);
        }
    }
    /* As etcd writes it; a value without a key, or before it, is not etcd's. */
    if (ret->key_n == 0 ||
        (ret->value_n && ret->value_at != ret->key_at + ret->key_n))
        t->bad = true;
}

/* --- Range --------------------------------------------------------------- */

static void read_rows(struct text *t, struct etcd_range *r, backend_row_fn row,
                      void *ctx)
{
    struct kv kv;

    for (text_array(t); text_item(t);) {
        buf_reset(&r->row);
        read_kv(t, &r->row, &kv);
        if (t->bad || r->row.bad)
            return;
        r->rows++;
        r->row_key_n = kv.key_n;
        r->lease = kv.lease;
        struct backend_row out = {
            .key = bytes_of(r->row.p, kv.key_n),
            .value = bytes_of(r->row.p + kv.key_n, kv.value_n),
            .create_rev = kv.create_rev,
            .mod_rev = kv.mod_rev,
        };

        if (row)
            row(ctx, &out);
    }
}

static void read_range(struct text *t, struct etcd_range *ret,
                       backend_row_fn row, void *ctx)
{
    struct bytes name;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "header"))
            read_header(t, &ret->header);
        else if (bytes_is(name, "kvs"))
            read_rows(t, ret, row, ctx);
        else if (bytes_is(name, "more"))
            ret->more = text_bool(t);
        else if (bytes_is(name, "count"))
            ret->count = text_u64(t);
        else
            text_skip(t);
        if (ret->row.bad)
            t->bad = true;
    }
}

enum err etcd_range_read(struct bytes text, struct etcd_range *ret,
                         backend_row_fn row, void *ctx)
{
    struct text t = text_over(text);

    read_range(&t, ret, row, ctx);
    if (!text_end(&t))
        t.bad = true;
    return verdict(&t, &ret->row);
}

void etcd_range_fini(struct etcd_range *r)
{
    buf_fini(&r->row);
}

/* --- Txn ----------------------------------------------------------------- */

static void note_row(void *ctx, const struct backend_row *row)
{
    ((struct etcd_txn *)ctx)->row_rev = row->mod_rev;
}

static void read_nested(struct text *t, bool *ret_succeeded)
{
    struct bytes name;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "succeeded"))
            *ret_succeeded = text_bool(t);
        else
            text_skip(t);
    }
}

static void read_responses(struct text *t, struct etcd_txn *ret,
                           void (*held)(void *ctx, size_t at, bool held),
                           void *ctx)
{
    struct bytes name;

    for (text_array(t); text_item(t); ret->responses++) {
        for (text_object(t); text_member(t, &name);) {
            if (bytes_is(name, "response_txn")) {
                bool succeeded = false;

                read_nested(t, &succeeded);
                if (held && !t->bad)
                    held(ctx, ret->responses, succeeded);
            } else if (bytes_is(name, "response_range")) {
                struct etcd_range r = {.row = ret->row};

                read_range(t, &r, note_row, ret);
                ret->row = r.row;
                if (r.rows) {
                    ret->row_key_n = r.row_key_n;
                    ret->row_lease = r.lease;
                }
                ret->range_count += r.rows;
            } else {
                text_skip(t);
            }
        }
    }
}

enum err etcd_txn_read(struct bytes text, struct etcd_txn *ret,
                       void (*held)(void *ctx, size_t at, bool held), void *ctx)
{
    struct text t = text_over(text);
    struct bytes name;

    for (text_object(&t); text_member(&t, &name);) {
        if (bytes_is(name, "header"))
            read_header(&t, &ret->header);
        else if (bytes_is(name, "succeeded"))
            ret->succeeded = text_bool(&t);
        else if (bytes_is(name, "responses"))
            read_responses(&t, ret, held, ctx);
        else
            text_skip(&t);
    }
    if (!text_end(&t))
        t.bad = true;
    return verdict(&t, &ret->row);
}

void etcd_txn_fini(struct etcd_txn *t)
{
    buf_fini(&t->row);
}

/* --- Watch --------------------------------------------------------------- */

static struct etcd_event *event_add(struct etcd_events *ev)
{
    if (ev->n == ev->cap) {
        ev->cap = ev->cap ? ev->cap * 2 : 64;
        ev->event = xrealloc(ev->event, ev->cap * sizeof *ev->event);
    }
    return &ev->event[ev->n++];
}

static void read_event(struct text *t, struct etcd_events *ev)
{
    bool is_delete = false, seen = false;
    struct kv kv = {0};
    struct bytes name;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "type"))
            is_delete = bytes_is(text_string(t), "DELETE");
        else if (bytes_is(name, "kv") && !seen)
            read_kv(t, &ev->bytes, &kv), seen = true;
        else
            text_skip(t);
    }
    if (!seen)
        t->bad = true;
    if (t->bad)
        return;
    *event_add(ev) = (struct etcd_event){
        .key_at = kv.key_at,
        .key_n = kv.key_n,
        .value_n = kv.value_n,
        .create_rev = is_delete ? 0 : kv.create_rev,
        .mod_rev = kv.mod_rev,
        .is_delete = is_delete,
    };
}

static void read_result(struct text *t, struct etcd_watched *ret,
                        struct etcd_events *ev)
{
    struct bytes name;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "header"))
            read_header(t, &ret->header);
        else if (bytes_is(name, "created"))
            ret->created = text_bool(t);
        else if (bytes_is(name, "canceled"))
            ret->canceled = text_bool(t);
        else if (bytes_is(name, "fragment"))
            ret->fragment = text_bool(t);
        else if (bytes_is(name, "compact_revision"))
            ret->compact_revision = text_u64(t);
        else if (bytes_is(name, "cancel_reason"))
            ret->reason = text_string(t);
        else if (bytes_is(name, "events"))
            for (text_array(t); text_item(t);)
                read_event(t, ev);
        else
            text_skip(t);
    }
}

static void read_error(struct text *t, struct bytes *ret)
{
    struct bytes name;

    if (t->p < t->end && *t->p == '"') {
        *ret = text_string(t);
        return;
    }
    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "message"))
            *ret = text_string(t);
        else
            text_skip(t);
    }
}

enum err etcd_watch_read(struct bytes line, struct etcd_watched *ret,
                         struct etcd_events *ev)
{
    struct text t = text_over(line);
    struct bytes name;

    for (text_object(&t); text_member(&t, &name);) {
        if (bytes_is(name, "result"))
            read_result(&t, ret, ev);
        else if (bytes_is(name, "error"))
            read_error(&t, &ret->error);
        else
            text_skip(&t);
    }
    if (!text_end(&t))
        t.bad = true;
    return verdict(&t, &ev->bytes);
}

/* Also the wall time, which a group's marker tells. */
static struct store_event view_of(struct etcd_events *ev,
                                  const struct etcd_event *x)
{
    struct store_event out = {
        .is_delete = x->is_delete,
        .key = bytes_of(ev->bytes.p + x->key_at, x->key_n),
        .value = bytes_of(ev->bytes.p + x->key_at + x->key_n, x->value_n),
        .create_rev = x->create_rev,
        .mod_rev = x->mod_rev,
    };

    if (!out.is_delete && bytes_starts(out.key, bytes_str("m/"))) {
        uint64_t ms = etcd_marker_ms(out.value);
        ev->wall_ms = ms ? ms : ev->wall_ms;
    }
    return out;
}

enum err etcd_events_tell(struct etcd_events *ev, uint64_t after,
                          const struct backend_sink *to, uint64_t *ret_last)
{
    enum err e = ERR_OK;

    *ret_last = after;
    if (ev->n > ev->out_cap) {
        ev->out_cap = ev->n;
        ev->out = xrealloc(ev->out, ev->out_cap * sizeof *ev->out);
    }
    for (size_t i = 0, n; i < ev->n && e == ERR_OK; i += n) {
        uint64_t revision = ev->event[i].mod_rev;

        for (n = 0; i + n < ev->n && ev->event[i + n].mod_rev == revision; n++)
            ev->out[n] = view_of(ev, &ev->event[i + n]);
        if (revision <= after)
            continue; /* known already */
        if (revision <= *ret_last)
            e = ERR_CORRUPT;
        else
            to->revision(to->ctx, revision, ev->wall_ms, ev->out, n);
        *ret_last = revision;
    }
    etcd_events_reset(ev);
    return e;
}

void etcd_events_reset(struct etcd_events *ev)
{
    ev->n = 0;
    buf_reset(&ev->bytes);
}

void etcd_events_fini(struct etcd_events *ev)
{
    free(ev->event);
    free(ev->out);
    buf_fini(&ev->bytes);
    *ev = (struct etcd_events){0};
}

/* --- Small ones ---------------------------------------------------------- */

struct bytes etcd_error_read(struct bytes text)
{
    struct text t = text_over(text);
    struct bytes name, message = {0};

    for (text_object(&t); text_member(&t, &name);) {
        if (bytes_is(name, "error"))
            read_error(&t, &message);
        else
            text_skip(&t);
    }
    return t.bad ? (struct bytes){0} : message;
}

uint64_t etcd_marker_ms(struct bytes value)
{
    static const char name[] = ",\"ms\":";
    const char *p =
        value.n ? memmem(value.p, value.n, name, sizeof name - 1) : NULL;
    uint64_t ms = 0;

    if (!p)
        return 0;
    for (p += sizeof name - 1; p < value.p + value.n; p++) {
        if (*p < '0' || *p > '9' || ms > UINT64_MAX / 20)
            break;
        ms = ms * 10 + (uint64_t)(*p - '0');
    }
    return ms;
}

enum err etcd_number_read(struct bytes text, const char *inside,
                          const char *want, uint64_t *ret)
{
    struct text t = text_over(text);
    struct bytes name;

    *ret = 0;
    for (text_object(&t); text_member(&t, &name);) {
        if (!inside && bytes_is(name, want)) {
            *ret = text_u64(&t);
        } else if (inside && bytes_is(name, inside)) {
            for (text_object(&t); text_member(&t, &name);) {
                if (bytes_is(name, want))
                    *ret = text_u64(&t);
                else
                    text_skip(&t);
            }
        } else {
            text_skip(&t);
        }
    }
    return verdict(&t, NULL);
}

enum err etcd_string_read(struct bytes text, const char *want,
                          struct bytes *ret)
{
    struct text t = text_over(text);
    struct bytes name;

    *ret = (struct bytes){0};
    for (text_object(&t); text_member(&t, &name);) {
        if (bytes_is(name, want))
            *ret = text_string(&t);
        else
            text_skip(&t);
    }
    return verdict(&t, NULL);
}
