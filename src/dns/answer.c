/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "dns/dns.h"

#include <stdlib.h>

#include "dns/impl.h"

enum { DNS_CD = 0x0010 };

/* --- Workers -------------------------------------------------------------------- */

enum err dns_worker_new(size_t cache_bytes, struct dns_worker **ret)
{
    struct dns_worker *w = calloc(1, sizeof *w);

    if (!w)
        return ERR_NOMEM;
    w->entry = calloc(1, ENTRY_BYTES_MAX);
    if (!w->entry || dns_cache_init(&w->cache, cache_bytes) != ERR_OK) {
        free(w->entry);
        free(w);
        return ERR_NOMEM;
    }
    *ret = w;
    return ERR_OK;
}

void dns_worker_free(struct dns_worker *w)
{
    if (!w)
        return;
    dns_cache_fini(&w->cache);
    free(w->entry);
    free(w);
}

/* --- Messages -------------------------------------------------------------------- */

size_t most_bytes(const struct dns_query *q, enum dns_transport t, size_t cap)
{
    size_t most = DNS_UDP_PLAIN;

    if (t == DNS_OVER_TCP)
        most = DNS_TCP_MOST;
    else if (q->edns && q->udp_size > most)
        most = q->udp_size < DNS_UDP_MOST ? q->udp_size : DNS_UDP_MOST;
    return most < cap ? most : cap;
}

/* Header without flags and counts; question; room kept for OPT. */
static void begin(struct ask *a, uint8_t *out, size_t cap)
{
    static const uint8_t counts[8] = {0, 1};

    a->limit = most_bytes(&a->q, a->env->transport, cap) - dns_opt_bytes(&a->q);
    a->out = (struct dns_out){out, 0, a->limit, false};
    a->answers = a->authority = a->additional = 0;
    a->rcode = DNS_NOERROR;
    a->truncated = a->recursion = a->authoritative = false;
    a->ede = (struct dns_ede){NULL, 0};
    a->alias_at = 0;
    dns_put_16(&a->out, a->q.id);
    dns_put_16(&a->out, 0);
    dns_put(&a->out, counts, sizeof counts);
    dns_put(&a->out, a->q.name, a->q.name_n);
    dns_put_16(&a->out, a->q.type);
    dns_put_16(&a->out, a->q.class);
}

static size_t end(struct ask *a, struct dns_told *told)
{
    bool tc = a->truncated && a->env->transport == DNS_OVER_UDP &&
              (a->env->set->truncate || a->answers == 0);
    unsigned flags = DNS_QR | (a->q.flags & (DNS_RD | DNS_CD)) | a->rcode;

    if (a->authoritative)
        flags |= DNS_AA;
    if (tc)
        flags |= DNS_TC;
    if (a->env->set->recursors || a->recursion)
        flags |= DNS_RA;
    a->out.cap += dns_opt_bytes(&a->q);
    dns_put_opt(&a->out, &a->q, &a->ede);
    dns_patch_16(&a->out, FLAGS_AT, flags);
    dns_patch_16(&a->out, ANSWERS_AT, a->answers);
    dns_patch_16(&a->out, ANSWERS_AT + 2, a->authority);
    dns_patch_16(&a->out, ANSWERS_AT + 4, a->additional + a->q.edns);
    told->rcode = (uint8_t)a->rcode;
    told->truncated = tc;
    if (a->env->set->recursors && dns_follow_type(a->q.type))
        told->alias_at = (uint16_t)a->alias_at;
    return a->out.n;
}

/* Twelve bytes for what cannot be answered better. */
static size_t bare(const struct dns_query *q, enum dns_rcode rcode,
                   uint8_t *out)
{
    struct dns_out o = {out, 0, DNS_HEADER_BYTES, false};

    dns_put_16(&o, q->id);
    dns_put_16(&o, DNS_QR | (q->flags & (DNS_OPCODE | DNS_RD)) | rcode);
    dns_put_32(&o, 0);
    dns_put_32(&o, 0);
    return o.n;
}

/* True: the packet is no query of a name; *ret_n bytes say so, 0: nothing. */
static bool not_a_question(enum dns_parsed p, const struct dns_query *q,
                           uint8_t *out, size_t *ret_n, struct dns_told *told)
{
    told->rcode = p == DNS_OTHER_OPCODE ? DNS_NOTIMP : DNS_FORMERR;
    *ret_n = 0;
    if (p == DNS_MALFORMED || p == DNS_OTHER_OPCODE)
        *ret_n = bare(q, told->rcode, out);
    return p != DNS_PARSED;
}

/* --- Services ------------------------------------------------------------------------- */

static bool is_current(struct ask *a, struct dns_entry *e)
{
    struct bytes name = bytes_of(dns_entry_key(e) + e->name_at, e->name_n);
    struct watch_key k = {WATCH_SERVICE_HEALTH, name};

    if (e->generation != entry_generation(a->env) ||
        (e->sampled && e->made_s != a->env->now_s))
        return false;
    if (e->dc_n &&
        datacenter_enter(a, bytes_of(dns_entry_key(e) + e->dc_at, e->dc_n),
                         name) != DC_HERE)
        return false;
    const struct snapshot *cat = a->cat;
    if (e->life != a->life)
        return false;
    if (e->revision == snapshot_revision(cat))
        return true;
    if (a->changes && dns_changes_none(a->changes, e->watch, e->revision,
                                       snapshot_revision(cat))) {
        e->revision = snapshot_revision(cat);
        return true;
    }
    if (e->floor != snapshot_floor(cat) || e->index != snapshot_index(cat, k))
        return false;
    e->revision = snapshot_revision(cat);
    return true;
}

static void note_use(const struct ask *a, uint64_t watch)
{
    if (a->env->uses)
        uses_touch(a->env->uses, watch, a->env->now_us / 1000);
}

static bool answer_cached(struct ask *a)
{
    struct dns_entry *e =
        dns_cache_find(&a->w->cache, dns_cache_hash(&a->q), &a->q);

    if (!e || !is_current(a, e))
        return false;
    note_use(a, e->watch);
    ttl_adapt(a, e);
    emit_entry(a, e);
    return true;
}

void answer_nothing(struct ask *a)
{
    a->rcode = DNS_NXDOMAIN;
    answer_soa_authority(a);
}

void explain_none(struct ask *a, const struct form *f)
{
    const struct cat_name *name = snapshot_name(a->cat, f->name);

    if (!name || name->instances.n == 0)
        return;
    a->ede.code = DNS_EDE_OTHER;
    a->ede.text = f->query   ? "the query selects no instance"
                  : f->tag.n ? "no healthy instance has this tag"
                             : "all instances are unhealthy";
}

bool answer_instances(struct ask *a, const struct form *f)
{
    struct dns_entry *e;

    if (!service_entry(a, f, &e))
        return false;
    ttl_adapt(a, e);
    if (e->keep)
        dns_cache_put(&a->w->cache, e);
    emit_entry(a, e);
    return true;
}

void answer_service(struct ask *a, const struct form *f)
{
    if (answer_instances(a, f))
        return;
    explain_none(a, f);
    answer_nothing(a);
}

/* --- A part of the catalog ------------------------------------------------------------ */

/* Only services that are mirrored as a whole can be answered for; of nodes nothing
 * is known but the own one, which is not worth telling apart. */
static bool is_elsewhere(const struct ask *a, const struct form *f,
                         struct dns_told *told)
{
    if (!a->env->partial)
        return false;
    switch (f->kind) {
    case FORM_SERVICE:
        note_use(a,
                 watch_hash((struct watch_key){WATCH_SERVICE_HEALTH, f->name}));
        if (snapshot_is_whole(a->env->cat, f->name))
            return false;
        if (f->name.n <= sizeof told->wanted) {
            told->wanted_n = (uint8_t)f->name.n;
            memcpy(told->wanted, f->name.p, f->name.n);
        }
        return true;
    case FORM_NODE:
    case FORM_QUERY:
        return true;
    case FORM_ADDR:
    case FORM_NONE:
        return false;
    }
    return false;
}

/* --- Another datacenter ---------------------------------------------------------------- */

/* True: there is no more to be said here; *ret_elsewhere: a server is to be asked. */
static bool ends_at_datacenter(struct ask *a, const struct form *f,
                               struct dns_told *told, bool *ret_elsewhere)
{
    static const struct bytes all = {NULL, 0};

    *ret_elsewhere = a->env->partial; /* which have mirrors */
    if (*ret_elsewhere)
        return true;
    switch (f->kind == FORM_QUERY /* stands there, and there alone */
                ? datacenter_ask(a, f->dc)
                : datacenter_enter(a, f->dc,
                                   f->kind == FORM_SERVICE ? f->name : all)) {
    case DC_HERE:
        return false;
    case DC_UNKNOWN:
        answer_nothing(a);
        break;
    case DC_LOST:
        a->rcode = DNS_SERVFAIL;
        break;
    case DC_ASK:
        *ret_elsewhere = told->there = true;
        told->wanted_n = (uint8_t)f->dc.n;
        memcpy(told->wanted, f->dc.p, f->dc.n);
        break;
    }
    return true;
}

/* --- The front ------------------------------------------------------------------------- */

/* False: a server is to be asked. */
static bool answer_inside(struct ask *a, struct dns_told *told)
{
    struct form f;
    bool elsewhere;

    a->authoritative = true;
    if (a->q.type == DNS_AXFR || a->q.type == DNS_IXFR) {
        a->rcode = DNS_NOTIMP;
        return true;
    }
    if (a->q.type == DNS_NS || a->q.type == DNS_SOA) {
        answer_zone(a);
        return true;
    }
    if (a->env->too_old) {
        a->authoritative = false;
        a->rcode = DNS_SERVFAIL;
        a->ede = (struct dns_ede){
            "what is known here is older than dns_config.max_stale",
            DNS_EDE_NO_REACHABLE_AUTHORITY};
        return true;
    }
    told->cached = answer_cached(a);
    if (told->cached)
        return true;
    datacenter_own(a);
    form_of(a->env->set, &a->q, a->domain_at, &f);
    if (f.dc.n && f.kind != FORM_NONE &&
        ends_at_datacenter(a, &f, told, &elsewhere))
        return !elsewhere;
    if (is_elsewhere(a, &f, told))
        return false;
    switch (f.kind) {
    case FORM_SERVICE:
        answer_service(a, &f);
        break;
    case FORM_QUERY:
        answer_query(a, &f);
        break;
    case FORM_NODE:
        answer_node(a, &f);
        break;
    case FORM_ADDR:
        answer_addr(a, &f);
        break;
    case FORM_NONE:
        answer_nothing(a);
        break;
    }
    return true;
}

static bool is_reverse(const struct dns_query *q)
{
    if (q->labels < 2 || !bytes_is(dns_label(q, q->labels - 1u), "arpa"))
        return false;
    struct bytes kind = dns_label(q, q->labels - 2u);
    return bytes_is(kind, "in-addr") || bytes_is(kind, "ip6");
}

/* False: a recursor is to be asked. Reverse names of nobody's are SERVFAIL without
 * one, as Consul says: others may know them. */
static bool answer_outside(struct ask *a)
{
    bool reverse = is_reverse(&a->q);

    a->authoritative = reverse && answer_reverse(a);
    if (a->authoritative)
        return true;
    if (a->env->set->recursors)
        return false;
    a->rcode = reverse ? DNS_SERVFAIL : DNS_REFUSED;
    a->recursion = reverse;
    a->ede = (struct dns_ede){"no recursors are configured",
                              DNS_EDE_NOT_AUTHORITATIVE};
    return true;
}

static void find_domain(struct ask *a)
{
    const struct dns_settings *set = a->env->set;

    a->domain = &set->domain;
    a->domain_at = dns_name_within(&a->q, a->domain);
    if (a->domain_at != SIZE_MAX)
        return;
    a->domain = &set->alt;
    a->domain_at = dns_name_within(&a->q, a->domain);
    if (a->domain_at == SIZE_MAX)
        a->domain = NULL;
}

/* --- Limits ------------------------------------------------------------------------ */

/* A client whose cookie we gave is where it says it is. */
static bool is_over_limit(const struct dns_env *env, bool known)
{
    const struct dns_settings *set = env->set;

    return env->limits && set->rrl_rate && !known &&
           env->transport == DNS_OVER_UDP &&
           !dns_limit_exempt(env->client, set->rrl_exempt,
                             set->rrl_exempt_count) &&
           !dns_limit_take(env->limits, env->client, set->rrl_rate,
                           env->now_us);
}

/* TC without a record is no longer than the query: who really asks comes over TCP,
 * who is only made to have asked is not flooded. */
static enum dns_verdict slip(struct ask *a, uint8_t *out, size_t cap,
                             size_t *ret_n, struct dns_told *told)
{
    uint32_t one_in = a->env->set->rrl_slip;

    told->limited = true;
    if (one_in == 0 || random_next(&a->random) % one_in)
        return DNS_SILENCE;
    begin(a, out, cap);
    a->truncated = true;
    *ret_n = end(a, told);
    return DNS_ANSWERED;
}

static bool take_cookie(const struct dns_env *env, struct dns_query *q)
{
    if (q->cookie.n && env->key)
        return dns_cookie_answer(env->key, env->client, env->now_s, &q->cookie);
    q->cookie.n = 0;
    return false;
}

enum dns_verdict dns_answer(struct dns_worker *w, const struct dns_env *env,
                            struct bytes packet, uint8_t *out, size_t cap,
                            size_t *ret_n, struct dns_told *ret_told)
{
    struct ask a;

    a.env = env;
    a.w = w;
    a.random = env->random;
    *ret_told = (struct dns_told){0};
    enum dns_parsed parsed = dns_query_parse(packet, &a.q);
    bool known = parsed == DNS_PARSED && take_cookie(env, &a.q);
    bool limited = parsed != DNS_NOT_A_QUERY && is_over_limit(env, known);
    if (limited && parsed == DNS_PARSED)
        return slip(&a, out, cap, ret_n, ret_told);
    if (not_a_question(parsed, &a.q, out, ret_n, ret_told)) {
        ret_told->limited = limited;
        return *ret_n && !limited ? DNS_ANSWERED : DNS_SILENCE;
    }
    ret_told->type = a.q.type;
    begin(&a, out, cap);
    datacenter_own(&a);
    find_domain(&a);
    if (a.domain) {
        if (!answer_inside(&a, ret_told))
            return DNS_ELSEWHERE;
    } else if (env->partial && is_reverse(&a.q)) {
        return DNS_ELSEWHERE; /* nobody's there: a recursor's, if it has any */
    } else if (!answer_outside(&a)) {
        return DNS_FORWARD;
    }
    datacenter_tell(&a);
    *ret_n = end(&a, ret_told);
    return DNS_ANSWERED;
}

size_t dns_refuse(struct bytes packet, enum dns_rcode rcode,
                  const struct dns_ede *why, bool recursors, uint8_t *out,
                  size_t cap)
{
    struct dns_settings set = {.recursors = recursors};
    struct dns_env env = {.set = &set, .transport = DNS_OVER_UDP};
    struct dns_told told = {0};
    struct ask a = {.env = &env};
    size_t n;

    if (not_a_question(dns_query_parse(packet, &a.q), &a.q, out, &n, &told))
        return n;
    a.q.cookie.n = 0;
    begin(&a, out, cap);
    a.rcode = rcode;
    if (why)
        a.ede = *why;
    return end(&a, &told);
}
