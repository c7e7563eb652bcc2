/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What etcd's members have of their quota, and what makes room, as it is asked
 * of us (struct store_room; duty/room.h decides). A look asks, one after the
 * other,
 *
 *     /metrics             the quota, of whichever member answers, now and then
 *     maintenance/alarm    who is short of space
 *     maintenance/status   each member: its file, and what of it is in use
 *
 * A member that cannot be reached is left out. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/etcd_impl.h"

enum {
    DEFRAGMENT_MS = 60 * 1000,
    QUOTA_MS = 60 * 1000, /* until it is asked for again */
};

struct room_call {
    struct etcd_call call;
    struct store_room *room;
    size_t at; /* status: whose turn it is */
};

static void end(struct room_call *rc, enum err e, const struct errtext *t)
{
    struct store_room *r = rc->room;

    if (t)
        r->text = *t;
    rc->call.drop = NULL;
    etcd_call_free(&rc->call);
    r->done(r, e);
}

static void on_drop(struct etcd_call *c)
{
    struct store_room *r = container_of(c, struct room_call, call)->room;

    r->done(r, ERR_CLOSED);
}

/* member: one plus its place; 0: any. */
static struct room_call *
room_call(struct etcd *x, struct store_room *r, const char *path, size_t member,
          void (*done)(struct etcd_call *, const struct etcd_answer *))
{
    struct room_call *rc = etcd_call_new(x, sizeof *rc, path, done);

    rc->room = r;
    rc->call.only = member;
    rc->call.drop = on_drop;
    return rc;
}

/* The room goes on in another call. */
static void passed_on(struct etcd_call *c)
{
    c->drop = NULL;
    etcd_call_free(c);
}

/* --- A look --------------------------------------------------------------- */

static void ask_status(struct etcd *x, struct store_room *r, size_t at);

static void on_status(struct etcd_call *c, const struct etcd_answer *a)
{
    struct room_call *rc = container_of(c, struct room_call, call);
    struct store_room *r = rc->room;
    struct etcd *x = c->etcd;
    struct store_room_member m = {0};
    uint64_t leader = 0;
    enum err e = a->why;

    if (e == ERR_OK)
        e = etcd_number_read(a->body, "header", "member_id", &m.id);
    if (e == ERR_OK)
        e = etcd_number_read(a->body, NULL, "leader", &leader);
    if (e == ERR_OK)
        e = etcd_number_read(a->body, NULL, "dbSize", &m.size);
    if (e == ERR_OK)
        e = etcd_number_read(a->body, NULL, "dbSizeInUse", &m.in_use);
    m.leader = leader == m.id;
    if (e == ERR_OK && m.id && r->count < STORE_ROOM_MEMBERS_MAX)
        r->members[r->count++] = m;
    if (e != ERR_OK)
        r->text = a->text;
    size_t next = rc->at + 1;
    if (next < x->member_n) {
        passed_on(c);
        ask_status(x, r, next);
        return;
    }
    end(rc, r->count ? ERR_OK : e, NULL);
}

static void ask_status(struct etcd *x, struct store_room *r, size_t at)
{
    struct room_call *rc =
        room_call(x, r, "maintenance/status", at + 1, on_status);

    rc->at = at;
    buf_puts(&rc->call.body, "{}");
    etcd_call_start(rc);
}

static void alarm_take(struct text *t, struct store_room *r)
{
    struct bytes name;
    uint64_t member = 0;
    bool full = false;

    for (text_object(t); text_member(t, &name);) {
        if (bytes_is(name, "memberID"))
            member = text_u64(t);
        else if (bytes_is(name, "alarm"))
            full = bytes_is(text_string(t), "NOSPACE");
        else
            text_skip(t);
    }
    if (full && member && r->alarm_count < STORE_ROOM_MEMBERS_MAX)
        r->alarms[r->alarm_count++] = member;
}

static enum err alarms_read(struct bytes body, struct store_room *r)
{
    struct text t = text_over(body);
    struct bytes name;

    for (text_object(&t); text_member(&t, &name);) {
        if (!bytes_is(name, "alarms")) {
            text_skip(&t);
            continue;
        }
        for (text_array(&t); text_item(&t);)
            alarm_take(&t, r);
    }
    return t.bad ? ERR_CORRUPT : ERR_OK;
}

static void on_alarms(struct etcd_call *c, const struct etcd_answer *a)
{
    struct room_call *rc = container_of(c, struct room_call, call);
    struct store_room *r = rc->room;
    struct etcd *x = c->etcd;
    enum err e = a->why == ERR_OK ? alarms_read(a->body, r) : a->why;

    if (e != ERR_OK) {
        end(rc, e, &a->text);
        return;
    }
    passed_on(c);
    ask_status(x, r, 0);
}

static void ask_alarms(struct etcd *x, struct store_room *r)
{
    struct room_call *rc = room_call(x, r, "maintenance/alarm", 0, on_alarms);

    buf_puts(&rc->call.body, "{\"action\":\"GET\"}");
    etcd_call_start(rc);
}

/* "etcd_server_quota_backend_bytes 2.147483648e+09", a line of many. */
static uint64_t quota_read(struct bytes text)
{
    static const char key[] = "\netcd_server_quota_backend_bytes ";
    const char *at =
        text.n ? memmem(text.p, text.n, key, sizeof key - 1) : NULL;
    char number[40];

    if (!at)
        return 0;
    struct bytes rest =
        bytes_skip(text, (size_t)(at - text.p) + sizeof key - 1);
    struct bytes line = bytes_head(rest, bytes_find(rest, '\n'));
    if (line.n == 0 || line.n >= sizeof number)
        return 0;
    memcpy(number, line.p, line.n);
    number[line.n] = 0;
    double v = strtod(number, NULL);
    return v >= 1 && v < 1e18 ? (uint64_t)v : 0;
}

static void on_metrics(struct etcd_call *c, const struct etcd_answer *a)
{
    struct store_room *r = container_of(c, struct room_call, call)->room;
    struct etcd *x = c->etcd;

    if (a->why == ERR_OK) {
        x->quota = quota_read(a->body);
        x->quota_ms = uv_now(x->loop);
    }
    r->quota = x->quota;
    passed_on(c);
    ask_alarms(x, r);
}

/* --- What is asked -------------------------------------------------------- */

static void on_done(struct etcd_call *c, const struct etcd_answer *a)
{
    end(container_of(c, struct room_call, call), a->why, &a->text);
}

static void on_found(struct etcd_call *c, const struct etcd_answer *a)
{
    struct room_call *rc = container_of(c, struct room_call, call);
    struct store_room *r = rc->room;
    struct etcd *x = c->etcd;
    size_t at = rc->at;
    uint64_t id = 0;

    if (a->why == ERR_OK &&
        etcd_number_read(a->body, "header", "member_id", &id) == ERR_OK &&
        id == r->member) {
        passed_on(c);
        rc = room_call(x, r, "maintenance/defragment", at + 1, on_done);
        rc->call.timeout_ms = DEFRAGMENT_MS;
        rc->call.once = true;
        buf_puts(&rc->call.body, "{}");
        etcd_call_start(rc);
        return;
    }
    if (++at == x->member_n) {
        struct errtext t;
        errtext_set(&t, "that member of etcd is not reached from here");
        end(rc, ERR_UNAVAILABLE, &t);
        return;
    }
    passed_on(c);
    rc = room_call(x, r, "maintenance/status", at + 1, on_found);
    rc->at = at;
    buf_puts(&rc->call.body, "{}");
    etcd_call_start(rc);
}

void etcd_room(struct backend *b, struct store_room *r)
{
    struct etcd *x = etcd_of(b);
    struct room_call *rc = NULL;

    switch (r->what) {
    case STORE_ROOM_LOOK:
        r->count = r->alarm_count = 0;
        r->quota = x->quota;
        if (x->quota && uv_now(x->loop) - x->quota_ms < QUOTA_MS) {
            ask_alarms(x, r);
            return;
        }
        rc = room_call(x, r, "metrics", 0, on_metrics);
        rc->call.get = true;
        break;
    case STORE_ROOM_DEFRAGMENT: /* whoever it is: its place may be another */
        rc = room_call(x, r, "maintenance/status", 1, on_found);
        buf_puts(&rc->call.body, "{}");
        break;
    case STORE_ROOM_DISARM:
        rc = room_call(x, r, "maintenance/alarm", 0, on_done);
        buf_printf(&rc->call.body,
                   "{\"action\":\"DEACTIVATE\",\"memberID\":\"%llu\","
                   "\"alarm\":\"NOSPACE\"}",
                   (unsigned long long)r->member);
        break;
    }
    etcd_call_start(rc);
}
