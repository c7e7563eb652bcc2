/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/event_batch.h"

#include "base/base64.h"
#include "http/json_in.h"
#include "http/json_out.h"

/* --- Writing ------------------------------------------------------------- */

static void put_one(struct json_out *j, const struct heard_event *e,
                    uint64_t now_ms)
{
    json_open(j, '{');
    api_event_members(j, e, e->ltime);
    json_member_u64(j, "Age", now_ms > e->fired_ms ? now_ms - e->fired_ms : 0);
    json_member_u64(j, "Hops", e->hops + 1);
    json_close(j, '}');
}

void event_batch_put(struct buf *out, const struct event_batch *b,
                     uint64_t now_ms)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    json_key(&j, "From");
    json_str(&j, b->from);
    json_member_u64(&j, "LTime", b->ltime);
    json_member_u64(&j, "Life", b->life);
    json_member_u64(&j, "To", b->to);
    json_member_u64(&j, "Seq", b->seq);
    json_key(&j, "Events");
    json_open(&j, '[');
    for (size_t i = 0; i < b->n; i++)
        put_one(&j, b->v[i], now_ms);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* --- Reading ------------------------------------------------------------- */

struct event_in {
    struct bytes id, name, payload, node_filter, service_filter, tag_filter;
    int64_t ltime, age, hops;
};

struct batch_in {
    struct bytes from;
    int64_t ltime, life, to, seq;
    struct json_list events;
};

/* clang-format off */
#define FIELD(s, name, kind, member) {name, NULL, kind, offsetof(struct s, member), NULL, JSON_NO_FLAG}
static const struct json_field event_fields[] = {
    FIELD(event_in, "ID", FIELD_STRING, id),
    FIELD(event_in, "Name", FIELD_STRING, name),
    FIELD(event_in, "Payload", FIELD_STRING, payload),
    FIELD(event_in, "NodeFilter", FIELD_STRING, node_filter),
    FIELD(event_in, "ServiceFilter", FIELD_STRING, service_filter),
    FIELD(event_in, "TagFilter", FIELD_STRING, tag_filter),
    FIELD(event_in, "LTime", FIELD_INT, ltime),
    FIELD(event_in, "Age", FIELD_INT, age),
    FIELD(event_in, "Hops", FIELD_INT, hops),
};
static const struct json_table event_table = {
    event_fields, sizeof event_fields / sizeof *event_fields, sizeof(struct event_in)};
static const struct json_field batch_fields[] = {
    FIELD(batch_in, "From", FIELD_STRING, from),
    FIELD(batch_in, "LTime", FIELD_INT, ltime),
    FIELD(batch_in, "Life", FIELD_INT, life),
    FIELD(batch_in, "To", FIELD_INT, to),
    FIELD(batch_in, "Seq", FIELD_INT, seq),
    {"Events", NULL, FIELD_LIST, offsetof(struct batch_in, events), &event_table, JSON_NO_FLAG},
};
static const struct json_table batch_table = {
    batch_fields, sizeof batch_fields / sizeof *batch_fields, sizeof(struct batch_in)};
/* clang-format on */

static uint64_t positive(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static enum err payload_of(struct bytes text, struct arena *a,
                           struct bytes *ret, struct errtext *t)
{
    struct buf b;

    buf_init(&b, 0);
    enum err e = base64_get(text, &b);
    if (e == ERR_BAD)
        errtext_set(t, "a Payload that is no base64");
    if (e == ERR_OK && b.bad)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        *ret = arena_copy(a, buf_bytes(&b));
    if (e == ERR_OK && b.n && !ret->p)
        e = ERR_NOMEM;
    buf_fini(&b);
    return e;
}

static enum err take_one(const struct event_in *in, struct bytes from,
                         struct arena *a, uint64_t now_ms,
                         const struct heard_event **ret, struct errtext *t)
{
    uint64_t age = positive(in->age);
    struct heard_event *e = arena_zalloc(a, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    *ret = e;
    if (!bytes_uuid(in->id) || in->name.n == 0) {
        errtext_set(t, "an event without ID (a UUID) or Name");
        return ERR_BAD;
    }
    memcpy(e->id, in->id.p, sizeof e->id - 1);
    e->name = in->name;
    e->node_filter = in->node_filter;
    e->service_filter = in->service_filter;
    e->tag_filter = in->tag_filter;
    e->from = from;
    e->ltime = positive(in->ltime);
    e->hops =
        in->hops > 0 && in->hops < UINT16_MAX ? (uint32_t)in->hops : UINT16_MAX;
    e->fired_ms = now_ms > age ? now_ms - age : 0;
    return payload_of(in->payload, a, &e->payload, t);
}

enum err event_batch_get(struct bytes json, struct arena *a, uint64_t now_ms,
                         struct event_batch *ret, struct errtext *t)
{
    struct batch_in in;
    enum err e = json_decode(json, &batch_table, &in, a, t);

    *ret = (struct event_batch){0};
    if (e != ERR_OK)
        return e;
    if (in.events.n > EVENT_BATCH_MAX) {
        errtext_set(t, "%zu events in one batch, more than %d", in.events.n,
                    EVENT_BATCH_MAX);
        return ERR_LIMIT;
    }
    ret->from = in.from;
    ret->ltime = positive(in.ltime);
    ret->life = positive(in.life);
    ret->to = positive(in.to);
    ret->seq = positive(in.seq);
    const struct event_in *v = in.events.v;
    for (; ret->n < in.events.n && e == ERR_OK; ret->n++)
        e = take_one(&v[ret->n], in.from, a, now_ms, &ret->v[ret->n], t);
    return e;
}
