/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/etcd_message.h"

#include <stdlib.h>

#include "base/alloc.h"

static enum err verdict(const struct text *t)
{
    return t->bad ? ERR_CORRUPT : ERR_OK;
}

/* Numbers of fields: rpc.proto and kv.proto. */
static void read_header(struct wire *from, struct etcd_header *ret)
{
    struct wire w = wire_enter(from);

    while (wire_next(&w)) {
        switch (w.field) {
        case 1:
            ret->cluster = wire_u64(&w);
            break;
        case 3:
            ret->revision = wire_u64(&w);
            break;
        case 4:
            ret->term = wire_u64(&w);
            break;
        default:
            wire_skip(&w);
        }
    }
    wire_leave(from, &w);
}

struct kv {
    struct backend_row row;
    uint64_t lease;
};

static void read_kv(struct wire *from, struct kv *ret)
{
    struct wire w = wire_enter(from);

    *ret = (struct kv){0};
    while (wire_next(&w)) {
        switch (w.field) {
        case 1:
            ret->row.key = wire_bytes(&w);
            break;
        case 2:
            ret->row.create_rev = wire_u64(&w);
            break;
        case 3:
            ret->row.mod_rev = wire_u64(&w);
            break;
        case 5:
            ret->row.value = wire_bytes(&w);
            break;
        case 6:
            ret->lease = wire_u64(&w);
            break;
        default:
            wire_skip(&w);
        }
    }
    w.r.bad |= ret->row.key.n == 0;
    wire_leave(from, &w);
}

/* --- Range --------------------------------------------------------------- */

static void read_range(struct wire *w, struct etcd_range *ret,
                       backend_row_fn row, void *ctx, struct kv *ret_last)
{
    while (wire_next(w)) {
        switch (w->field) {
        case 1:
            read_header(w, &ret->header);
            break;
        case 2:
            read_kv(w, ret_last);
            if (w->r.bad)
                return;
            ret->rows++;
            ret->last_key = ret_last->row.key;
            if (row)
                row(ctx, &ret_last->row);
            break;
        case 3:
            ret->more = wire_bool(w);
            break;
        default:
            wire_skip(w);
        }
    }
}

enum err etcd_range_read(struct bytes message, struct etcd_range *ret,
                         backend_row_fn row, void *ctx)
{
    struct wire w = wire_over(message);
    struct kv last;

    read_range(&w, ret, row, ctx, &last);
    return w.r.bad ? ERR_CORRUPT : ERR_OK;
}

/* --- Txn ----------------------------------------------------------------- */

static bool read_nested(struct wire *from)
{
    struct wire w = wire_enter(from);
    bool succeeded = false;

    while (wire_next(&w)) {
        if (w.field == 2)
            succeeded = wire_bool(&w);
        else
            wire_skip(&w);
    }
    wire_leave(from, &w);
    return succeeded;
}

static void read_txn_range(struct wire *from, struct etcd_txn *ret)
{
    struct wire w = wire_enter(from);
    struct etcd_range r = {0};
    struct kv last = {0};

    read_range(&w, &r, NULL, NULL, &last);
    wire_leave(from, &w);
    ret->range_count += r.rows;
    if (r.rows) {
        ret->row_key = last.row.key;
        ret->row_value = last.row.value;
        ret->row_rev = last.row.mod_rev;
        ret->row_lease = last.lease;
    }
}

static void read_response(struct wire *from, struct etcd_txn *ret,
                          void (*held)(void *ctx, size_t at, bool held),
                          void *ctx)
{
    struct wire w = wire_enter(from);

    while (wire_next(&w)) {
        if (w.field == 1) {
            read_txn_range(&w, ret);
        } else if (w.field == 4) {
            bool succeeded = read_nested(&w);

            if (held && !w.r.bad)
                held(ctx, ret->responses, succeeded);
        } else {
            wire_skip(&w);
        }
    }
    wire_leave(from, &w);
    ret->responses++;
}

enum err etcd_txn_read(struct bytes message, struct etcd_txn *ret,
                       void (*held)(void *ctx, size_t at, bool held), void *ctx)
{
    struct wire w = wire_over(message);

    while (wire_next(&w)) {
        switch (w.field) {
        case 1:
            read_header(&w, &ret->header);
            break;
        case 2:
            ret->succeeded = wire_bool(&w);
            break;
        case 3:
            read_response(&w, ret, held, ctx);
            break;
        default:
            wire_skip(&w);
        }
    }
    return w.r.bad ? ERR_CORRUPT : ERR_OK;
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

static void read_event(struct wire *from, struct etcd_events *ev)
{
    struct wire w = wire_enter(from);
    bool is_delete = false;
    struct kv kv = {0};

    while (wire_next(&w)) {
        if (w.field == 1)
            is_delete = wire_u64(&w) == 1;
        else if (w.field == 2)
            read_kv(&w, &kv);
        else
            wire_skip(&w);
    }
    w.r.bad |= kv.row.key.n == 0;
    wire_leave(from, &w);
    if (from->r.bad)
        return;
    *event_add(ev) = (struct etcd_event){
        .key_at = ev->bytes.n,
        .key_n = kv.row.key.n,
        .value_n = kv.row.value.n,
        .create_rev = is_delete ? 0 : kv.row.create_rev,
        .mod_rev = kv.row.mod_rev,
        .is_delete = is_delete,
    };
    buf_put(&ev->bytes, kv.row.key);
    buf_put(&ev->bytes, kv.row.value);
}

enum err etcd_watch_read(struct bytes message, struct etcd_watched *ret,
                         struct etcd_events *ev)
{
    struct wire w = wire_over(message);

    while (wire_next(&w)) {
        switch (w.field) {
        case 1:
            read_header(&w, &ret->header);
            break;
        case 3:
            ret->created = wire_bool(&w);
            break;
        case 4:
            ret->canceled = wire_bool(&w);
            break;
        case 5:
            ret->compact_revision = wire_u64(&w);
            break;
        case 6:
            ret->reason = wire_bytes(&w);
            break;
        case 7:
            ret->fragment = wire_bool(&w);
            break;
        case 11:
            read_event(&w, ev);
            break;
        default:
            wire_skip(&w);
        }
    }
    if (ev->bytes.bad)
        return ERR_NOMEM;
    return w.r.bad ? ERR_CORRUPT : ERR_OK;
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

/* How many come before the last revision, which may go on. */
static size_t before_last(const struct etcd_events *ev)
{
    size_t n = ev->n;
    uint64_t last = n ? ev->event[n - 1].mod_rev : 0;

    if (n && ev->event[0].mod_rev == last)
        return 0; /* at once, however many fragments it has */
    while (n > 0 && ev->event[n - 1].mod_rev == last)
        n--;
    return n;
}

static void drop_first(struct etcd_events *ev, size_t n)
{
    if (n == 0)
        return;
    size_t at = n < ev->n ? ev->event[n].key_at : ev->bytes.n;

    ev->n -= n;
    memmove(ev->event, ev->event + n, ev->n * sizeof *ev->event);
    for (size_t i = 0; i < ev->n; i++)
        ev->event[i].key_at -= at;
    ev->bytes.n -= at;
    memmove(ev->bytes.p, ev->bytes.p + at, ev->bytes.n);
}

enum err etcd_events_tell(struct etcd_events *ev, bool more, uint64_t after,
                          const struct backend_sink *to, uint64_t *ret_last)
{
    enum err e = ERR_OK;
    size_t end = more ? before_last(ev) : ev->n;

    *ret_last = after;
    if (end > ev->out_cap) {
        ev->out_cap = end;
        ev->out = xrealloc(ev->out, ev->out_cap * sizeof *ev->out);
    }
    for (size_t i = 0, n; i < end && e == ERR_OK; i += n) {
        uint64_t revision = ev->event[i].mod_rev;

        for (n = 0; i + n < end && ev->event[i + n].mod_rev == revision; n++)
            ev->out[n] = view_of(ev, &ev->event[i + n]);
        if (revision <= ev->told) {
            e = ERR_CORRUPT;
        } else if (revision > after) { /* else it is known already */
            to->revision(to->ctx, revision, ev->wall_ms, ev->out, n);
            *ret_last = ev->told = revision;
        }
    }
    if (more && e == ERR_OK)
        drop_first(ev, end);
    else
        etcd_events_reset(ev);
    return e;
}

size_t etcd_events_bytes(const struct etcd_events *ev)
{
    return ev->bytes.n + ev->n * sizeof *ev->event;
}

void etcd_events_reset(struct etcd_events *ev)
{
    ev->n = 0;
    ev->told = 0;
    buf_reset(&ev->bytes);
}

void etcd_events_fini(struct etcd_events *ev)
{
    free(ev->event);
    free(ev->out);
    buf_fini(&ev->bytes);
    *ev = (struct etcd_events){0};
}

/* --- Small ones, as JSON ------------------------------------------------- */

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

struct bytes etcd_error_read(struct bytes text)
{
    struct text t = text_over(text);
    struct bytes name, message = {0};

    for (text_object(&t); text_member(&t, &name);) {
        if (bytes_is(name, "error"))
            read_error(&t, &message);
        else if (bytes_is(name, "message"))
            message = text_string(&t);
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
    return verdict(&t);
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
    return verdict(&t);
}
