/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/behind.h"

#include "http/json_in.h"
#include "http/json_out.h"

/* --- Reading ------------------------------------------------------------- */

struct row_in {
    struct bytes id, label, zone, peer, target, service;
    bool stream, connected;
    int64_t applied, sent, heard_ms;
};

struct reader_in {
    struct bytes service, peer;
    int64_t heard_ms;
};

struct dns_in {
    struct bytes service;
    int64_t ttl_ms;
};

struct behind_in {
    struct bytes subscriber, agent;
    int64_t index, unknown_ms, lost_ms;
    struct json_list rows, readers, dns;
};

/* clang-format off */
#define MEMBER(type, name, kind, member) {name, NULL, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG}
#define LIST(name, member, table) {name, NULL, FIELD_LIST, offsetof(struct behind_in, member), table, JSON_NO_FLAG}
#define TABLE_OF(fields, type) {fields, sizeof fields / sizeof *fields, sizeof(struct type)}
static const struct json_field row_fields[] = {
    MEMBER(row_in, "Subscriber", FIELD_STRING, id),
    MEMBER(row_in, "Label", FIELD_STRING, label),
    MEMBER(row_in, "Zone", FIELD_STRING, zone),
    MEMBER(row_in, "Peer", FIELD_STRING, peer),
    MEMBER(row_in, "Target", FIELD_STRING, target),
    MEMBER(row_in, "Service", FIELD_STRING, service),
    MEMBER(row_in, "Stream", FIELD_BOOL, stream),
    MEMBER(row_in, "Connected", FIELD_BOOL, connected),
    MEMBER(row_in, "Applied", FIELD_INT, applied),
    MEMBER(row_in, "Sent", FIELD_INT, sent),
    MEMBER(row_in, "HeardMs", FIELD_INT, heard_ms),
};
static const struct json_table row_table = TABLE_OF(row_fields, row_in);
static const struct json_field reader_fields[] = {
    MEMBER(reader_in, "Service", FIELD_STRING, service),
    MEMBER(reader_in, "Peer", FIELD_STRING, peer),
    MEMBER(reader_in, "HeardMs", FIELD_INT, heard_ms),
};
static const struct json_table reader_table = TABLE_OF(reader_fields, reader_in);
static const struct json_field dns_fields[] = {
    MEMBER(dns_in, "Service", FIELD_STRING, service),
    MEMBER(dns_in, "TtlMs", FIELD_INT, ttl_ms),
};
static const struct json_table dns_table = TABLE_OF(dns_fields, dns_in);
static const struct json_field behind_fields[] = {
    MEMBER(behind_in, "Subscriber", FIELD_STRING, subscriber),
    MEMBER(behind_in, "Agent", FIELD_STRING, agent),
    MEMBER(behind_in, "Index", FIELD_INT, index),
    MEMBER(behind_in, "UnknownMs", FIELD_INT, unknown_ms),
    MEMBER(behind_in, "LostMs", FIELD_INT, lost_ms),
    LIST("Behind", rows, &row_table),
    LIST("Readers", readers, &reader_table),
    LIST("Dns", dns, &dns_table),
};
static const struct json_table behind_table = TABLE_OF(behind_fields, behind_in);
/* clang-format on */

static uint64_t number(int64_t v)
{
    return v > 0 ? (uint64_t)v : 0;
}

static enum err check(const struct behind_in *in, struct errtext *t)
{
    if (!in->subscriber.n || !in->agent.n || in->agent.n > BEHIND_TEXT_MAX) {
        errtext_set(t, "Subscriber is missing, or Agent has not 1 to %d bytes",
                    BEHIND_TEXT_MAX);
        return ERR_BAD;
    }
    if (in->rows.n > BEHIND_ROWS_MAX || in->readers.n > BEHIND_READERS_MAX ||
        in->dns.n > BEHIND_DNS_MAX) {
        errtext_set(t,
                    "%zu, %zu and %zu of Behind, Readers and Dns: the limits "
                    "are %d, %d and %d",
                    in->rows.n, in->readers.n, in->dns.n, BEHIND_ROWS_MAX,
                    BEHIND_READERS_MAX, BEHIND_DNS_MAX);
        return ERR_LIMIT;
    }
    return ERR_OK;
}

static bool make_room(struct behind *b, const struct behind_in *in,
                      struct arena *a)
{
    b->row_count = in->rows.n;
    b->dns_count = in->dns.n;
    b->reader_count = in->readers.n;
    b->rows = arena_zalloc(a, (b->row_count + 1) * sizeof *b->rows);
    b->dns = arena_zalloc(a, (b->dns_count + 1) * sizeof *b->dns);
    b->readers = arena_zalloc(a, (b->reader_count + 1) * sizeof *b->readers);
    return b->rows && b->dns && b->readers;
}

static void take(struct behind *b, const struct behind_in *in)
{
    const struct row_in *r = in->rows.v;
    const struct dns_in *d = in->dns.v;
    const struct reader_in *u = in->readers.v;

    for (size_t i = 0; i < b->row_count; i++)
        b->rows[i] = (struct behind_row){
            .id = r[i].id,
            .label = r[i].label,
            .zone = r[i].zone,
            .peer = r[i].peer,
            .target = bytes_head(r[i].target, BEHIND_TEXT_MAX),
            .service = r[i].service,
            .stream = r[i].stream,
            .connected = r[i].connected,
            .applied = number(r[i].applied),
            .sent = number(r[i].sent),
            .seen_ms = number(r[i].heard_ms),
        };
    for (size_t i = 0; i < b->dns_count; i++)
        b->dns[i] = (struct behind_dns){d[i].service, number(d[i].ttl_ms)};
    for (size_t i = 0; i < b->reader_count; i++)
        b->readers[i] = (struct behind_reader){u[i].service, u[i].peer,
                                               number(u[i].heard_ms)};
}

enum err behind_read(struct bytes text, struct arena *a, struct behind *ret,
                     struct errtext *t)
{
    struct behind_in in;
    enum err e = json_decode(text, &behind_table, &in, a, t);

    if (e == ERR_OK)
        e = check(&in, t);
    if (e != ERR_OK)
        return e;
    *ret = (struct behind){
        .subscriber = in.subscriber,
        .agent = in.agent,
        .index = number(in.index),
        .unknown_ms = number(in.unknown_ms),
        .lost_ms = number(in.lost_ms),
    };
    if (!make_room(ret, &in, a))
        return ERR_NOMEM;
    take(ret, &in);
    return ERR_OK;
}

/* --- Writing ------------------------------------------------------------- */

static void put_row(struct json_out *j, const struct behind_row *r)
{
    json_open(j, '{');
    json_member_str(j, "Subscriber", r->id);
    json_member_str(j, "Label", r->label);
    json_member_str(j, "Zone", r->zone);
    json_member_str(j, "Peer", r->peer);
    json_member_str(j, "Target", r->target);
    json_member_str(j, "Service", r->service);
    json_key(j, "Stream");
    json_bool(j, r->stream);
    json_key(j, "Connected");
    json_bool(j, r->connected);
    json_member_u64(j, "Applied", r->applied);
    json_member_u64(j, "Sent", r->sent);
    json_member_u64(j, "HeardMs", r->seen_ms);
    json_close(j, '}');
}

static void open_list(struct json_out *j, const char *key)
{
    json_key(j, key);
    json_open(j, '[');
}

void behind_write(struct buf *out, const struct behind *b)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    json_member_str(&j, "Subscriber", b->subscriber);
    json_member_str(&j, "Agent", b->agent);
    json_member_u64(&j, "Index", b->index);
    json_member_u64(&j, "UnknownMs", b->unknown_ms);
    json_member_u64(&j, "LostMs", b->lost_ms);
    open_list(&j, "Behind");
    for (size_t i = 0; i < b->row_count; i++)
        put_row(&j, &b->rows[i]);
    json_close(&j, ']');
    open_list(&j, "Readers");
    for (size_t i = 0; i < b->reader_count; i++) {
        json_open(&j, '{');
        json_member_str(&j, "Service", b->readers[i].service);
        json_member_str(&j, "Peer", b->readers[i].peer);
        json_member_u64(&j, "HeardMs", b->readers[i].seen_ms);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    open_list(&j, "Dns");
    for (size_t i = 0; i < b->dns_count; i++) {
        json_open(&j, '{');
        json_member_str(&j, "Service", b->dns[i].service);
        json_member_u64(&j, "TtlMs", b->dns[i].ttl_ms);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
}

uint64_t behind_hash(const struct behind *b)
{
    uint64_t h = b->row_count + 1;

    for (size_t i = 0; i < b->row_count; i++) {
        const struct behind_row *r = &b->rows[i];
        const uint64_t v[] = {h, r->applied, r->sent, (uint64_t)r->connected};
        h = bytes_hash(bytes_of((const char *)v, sizeof v),
                       bytes_hash(r->id, bytes_hash(r->target, 0)));
    }
    for (size_t i = 0; i < b->dns_count; i++)
        h = bytes_hash(b->dns[i].service, h + b->dns[i].ttl_ms);
    return h;
}

/* --- What was said ------------------------------------------------------- */

bool behind_is_new(const struct behind_said *s, const struct behind *b)
{
    return b->index > s->taken.index || behind_hash(b) != s->taken.hash ||
           b->reader_count > 0 || (b->unknown_ms != 0) != s->taken.unknown;
}

void behind_say(struct behind_said *s, const struct behind *b,
                uint64_t since_ms, struct buf *out)
{
    behind_write(out, b);
    if (out->n > BEHIND_BYTES_MAX) { /* names as long as they can be */
        const struct behind less = {.subscriber = b->subscriber,
                                    .agent = b->agent,
                                    .unknown_ms = b->unknown_ms,
                                    .lost_ms = 1};
        buf_reset(out);
        behind_write(out, &less);
    }
    s->saying = (struct behind_words){
        .index = b->index > s->taken.index ? b->index : s->taken.index,
        .hash = behind_hash(b),
        .since_ms = since_ms,
        .unknown = b->unknown_ms != 0,
    };
}

void behind_heard(struct behind_said *s, bool taken)
{
    s->taken = taken ? s->saying : (struct behind_words){0};
}
