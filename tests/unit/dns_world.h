/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* dns_world - a catalog, questions to it, and answers as text:
 *
 *     NOERROR aa
 *     answer web.service.consul. 0 A 10.0.0.1
 *     additional n1.node.dc1.consul. 0 TXT "k=v"
 *
 * The reader of answers is written on its own: it follows compression, and fails
 * on anything that is not whole. */
#ifndef DNS_WORLD_H
#define DNS_WORLD_H

#include <arpa/inet.h>
#include <stdio.h>

#include "catalog_world.h"
#include "dns/dns.h"

struct asked {
    uint8_t query[1024];
    size_t query_n;
    uint8_t answer[DNS_TCP_MOST];
    size_t answer_n;
    enum dns_verdict verdict;
    struct dns_told told;
    char text[1 << 20];
    size_t records[3];
    unsigned flags;
};

struct dns_world {
    struct world *w;
    struct dns_settings set;
    struct dns_worker *worker;
    struct dns_env env;
    struct dns_changes changes;
    int edns; /* bytes; 0: none */
    struct asked a;
};

/* --- The world ----------------------------------------------------------- */

static inline void put_name(struct dns_name *to, const char *text)
{
    *to = (struct dns_name){.n = 0};
    dns_name_text(to, bytes_str(text));
    dns_name_end(to);
}

static inline int setup(void **state)
{
    struct dns_world *d = xzalloc(sizeof *d);

    d->w = world_new();
    put_name(&d->set.domain, "consul");
    d->set.generation = 1;
    d->set.datacenter = bytes_str("dc1");
    d->set.truncate = d->set.compress = d->set.node_texts = true;
    d->set.udp_answer_limit = 3;
    d->env.now_s = 1000;
    d->env.random = 1;
    d->env.changes = &d->changes;
    assert_ok(dns_worker_new(1 << 16, &d->worker));
    (void)world_commit(d->w);
    *state = d;
    return 0;
}

static inline int teardown(void **state)
{
    struct dns_world *d = *state;

    dns_worker_free(d->worker);
    world_free(d->w);
    free(d);
    return 0;
}

/* What the server's core thread does after each version. */
static inline void tell_changes(struct dns_world *d)
{
    dns_changes_tell(&d->changes,
                     snapshot_revision(catalog_current(d->w->catalog)),
                     catalog_changes(d->w->catalog));
}

static inline void commit(struct dns_world *d)
{
    (void)world_commit(d->w);
    tell_changes(d);
}

static inline void put_node(struct dns_world *d, const char *name,
                            const char *address)
{
    struct node_view v = {.name = bytes_str(name),
                          .address = bytes_str(address)};

    d->w->revision++;
    world_put_node(d->w, &v);
    commit(d);
}

static inline void put_service(struct dns_world *d, const char *node,
                               const char *name, const char *address,
                               int64_t port, const char *tag, int64_t weight)
{
    struct buf tags = {0};
    char id[64];

    (void)snprintf(id, sizeof id, "%s-%lld", name, (long long)port);
    if (*tag)
        packed_put(&tags, bytes_str(tag));
    struct service_view v = {.id = bytes_str(id),
                             .name = bytes_str(name),
                             .address = bytes_str(address),
                             .port = port,
                             .tags = {buf_bytes(&tags), *tag != 0},
                             .weight_passing = weight,
                             .weight_warning = 1};
    d->w->revision++;
    world_put_service(d->w, node, &v);
    commit(d);
    buf_fini(&tags);
}

static inline void put_check(struct dns_world *d, const char *node,
                             const char *service_id, const char *status)
{
    struct check_view v = {.id = bytes_str(*service_id ? service_id : "own"),
                           .name = bytes_str("c"),
                           .status = bytes_str(status),
                           .service_id = bytes_str(service_id)};

    d->w->revision++;
    world_put_check(d->w, node, &v);
    commit(d);
}

/* --- Reading answers ------------------------------------------------------ */

struct answer_reader {
    const uint8_t *p;
    size_t n, at;
    struct buf *to;
};

static inline unsigned get(struct answer_reader *r, int bytes)
{
    unsigned v = 0;

    while (bytes-- > 0) {
        assert_true(r->at < r->n);
        v = v << 8 | r->p[r->at++];
    }
    return v;
}

/* Pointers lead backwards only. */
static inline void get_name(struct answer_reader *r)
{
    size_t back = SIZE_MAX, limit = r->at + 1;
    unsigned len;

    if (r->p[r->at] == 0)
        buf_puts(r->to, ".");
    while ((len = get(r, 1))) {
        if (len >= 0xc0) {
            size_t to = (len & 0x3f) << 8 | get(r, 1);
            assert_true(to < limit - 1);
            limit = to + 1;
            back = back == SIZE_MAX ? r->at : back;
            r->at = to;
            continue;
        }
        assert_true(len < 64 && r->at + len <= r->n);
        buf_put(r->to, bytes_of(r->p + r->at, len));
        buf_puts(r->to, ".");
        r->at += len;
    }
    if (back != SIZE_MAX)
        r->at = back;
}

static inline void get_rdata(struct answer_reader *r, unsigned type, size_t n)
{
    size_t end = r->at + n;
    char ip[INET6_ADDRSTRLEN];

    assert_true(end <= r->n);
    if (type == DNS_A || type == DNS_AAAA) {
        assert_int_equal(n, type == DNS_A ? 4 : 16);
        (void)inet_ntop(type == DNS_A ? AF_INET : AF_INET6, r->p + r->at, ip,
                        sizeof ip);
        buf_printf(r->to, "%s %s", type == DNS_A ? "A" : "AAAA", ip);
        r->at = end;
    } else if (type == DNS_SRV) {
        unsigned priority = get(r, 2), weight = get(r, 2), port = get(r, 2);
        buf_printf(r->to, "SRV %u %u %u ", priority, weight, port);
        get_name(r);
    } else if (type == DNS_CNAME || type == DNS_NS || type == DNS_PTR) {
        buf_puts(r->to, type == DNS_CNAME ? "CNAME "
                        : type == DNS_NS  ? "NS "
                                          : "PTR ");
        get_name(r);
    } else if (type == DNS_SOA) {
        buf_puts(r->to, "SOA ");
        get_name(r);
        buf_puts(r->to, " ");
        get_name(r);
        for (int i = 0; i < 5; i++)
            buf_printf(r->to, " %u", get(r, 4));
    } else if (type == DNS_TXT) {
        buf_puts(r->to, "TXT");
        while (r->at < end) {
            unsigned len = get(r, 1);
            buf_printf(r->to, " \"%.*s\"", (int)len,
                       (const char *)r->p + r->at);
            r->at += len;
        }
    } else {
        buf_printf(r->to, "type %u", type);
        r->at = end;
    }
    assert_int_equal(r->at, end);
}

static inline void get_record(struct answer_reader *r, const char *section)
{
    buf_printf(r->to, "%s ", section);
    get_name(r);
    unsigned type = get(r, 2), class = get(r, 2), ttl = get(r, 4);
    unsigned n = get(r, 2);
    if (type == DNS_OPT) {
        buf_printf(r->to, " OPT %u ", class);
        for (unsigned i = 0; i < n; i++)
            buf_printf(r->to, "%02x", get(r, 1));
    } else {
        assert_int_equal(class, 1);
        buf_printf(r->to, " %u ", ttl);
        get_rdata(r, type, n);
    }
    buf_puts(r->to, "\n");
}

static inline void read_answer(struct asked *a)
{
    static const char *const rcodes[] = {"NOERROR",  "FORMERR", "SERVFAIL",
                                         "NXDOMAIN", "NOTIMP",  "REFUSED"};
    static const char *const sections[] = {"answer", "authority", "additional"};
    struct buf b = {0};
    struct answer_reader r = {a->answer, a->answer_n, 0, &b};

    assert_int_equal(get(&r, 2), a->query[0] << 8 | a->query[1]);
    a->flags = get(&r, 2);
    unsigned questions = get(&r, 2);
    for (int i = 0; i < 3; i++)
        a->records[i] = get(&r, 2);
    assert_true(a->flags & DNS_QR);
    buf_printf(&b, "%s%s%s%s%s\n", rcodes[a->flags & 15],
               a->flags & DNS_AA ? " aa" : "", a->flags & DNS_TC ? " tc" : "",
               a->flags & DNS_RD ? " rd" : "", a->flags & DNS_RA ? " ra" : "");
    if (questions) {
        struct buf question = {0};
        r.to = &question;
        assert_memory_equal(a->answer + 12, a->query + 12, 5);
        get_name(&r);
        (void)get(&r, 4);
        buf_fini(&question);
        r.to = &b;
    }
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < a->records[i]; k++)
            get_record(&r, sections[i]);
    assert_int_equal(r.at, r.n);
    assert_true(b.n < sizeof a->text);
    memcpy(a->text, b.p, b.n);
    a->text[b.n] = 0;
    buf_fini(&b);
}

/* --- Asking ---------------------------------------------------------------- */

static inline void write_query(struct dns_world *d, const char *name,
                               unsigned type)
{
    struct dns_out o = {d->a.query, 0, sizeof d->a.query, false};
    struct dns_name wire;

    put_name(&wire, name);
    assert_false(wire.bad);
    dns_put_16(&o, 0x1234);
    dns_put_16(&o, 0);
    dns_put_16(&o, 1);
    dns_put_32(&o, 0);
    dns_put_16(&o, d->edns > 0);
    dns_put(&o, wire.p, wire.n);
    dns_put_16(&o, type);
    dns_put_16(&o, 1);
    if (d->edns) {
        dns_put(&o, "", 1);
        dns_put_16(&o, DNS_OPT);
        dns_put_16(&o, (unsigned)d->edns);
        dns_put_32(&o, 0);
        dns_put_16(&o, 0);
    }
    d->a.query_n = o.n;
}

static inline void send_query(struct dns_world *d, size_t cap)
{
    struct asked *a = &d->a;

    a->text[0] = 0;
    a->answer_n = 0;
    d->env.cat = catalog_current(d->w->catalog);
    d->env.set = &d->set;
    d->env.random += UINT64_C(0x9e3779b97f4a7c15);
    a->verdict = dns_answer(d->worker, &d->env, bytes_of(a->query, a->query_n),
                            a->answer, cap, &a->answer_n, &a->told);
    if (a->verdict == DNS_ANSWERED)
        read_answer(a);
}

static inline const char *ask(struct dns_world *d, const char *name,
                              unsigned type)
{
    write_query(d, name, type);
    send_query(d,
               d->env.transport == DNS_OVER_TCP ? DNS_TCP_MOST : DNS_UDP_MOST);
    return d->a.text;
}

/* The lines behind the first, in order of bytes: sections are random. */
static inline int by_line(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline const char *ask_sorted(struct dns_world *d, const char *name,
                                     unsigned type)
{
    static char sorted[1 << 16];
    char *lines[1024], *save = NULL;
    size_t n = 0;

    (void)ask(d, name, type);
    char *head = strtok_r(d->a.text, "\n", &save);
    for (char *l; n < 1024 && (l = strtok_r(NULL, "\n", &save));)
        lines[n++] = l;
    qsort(lines, n, sizeof *lines, by_line);
    int at = snprintf(sorted, sizeof sorted, "%s\n", head ? head : "");
    for (size_t i = 0; i < n; i++)
        at +=
            snprintf(sorted + at, sizeof sorted - (size_t)at, "%s\n", lines[i]);
    return sorted;
}

#endif
