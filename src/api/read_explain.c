/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/explain/health/service/:name - why each instance is in the
 * answer of /v1/health/service/:name with the same parameters, or is not.
 *
 * The rules are tried in the order in which the health route applies them; the
 * first that leaves an instance out is the one that is told. */
#include <arpa/inet.h>

#include "api/impl.h"
#include "local/local.h"

enum { DNS_TELLS = 4096 }; /* of one service (dns/impl.h) */

struct reason {
    const char *rule; /* of those in docs/api.md */
    struct bytes detail;
    const struct cat_record *check; /* the one that does not pass, or is damped;
                                       or NULL */
};

/* Whom to ask about, and what is known of him. */
struct candidate {
    const struct membership *m;
    const struct cat_node *node;
    const struct cat_instance *instance;
    enum member is;
};

static bool passes(const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    return bytes_is(v.status, "passing");
}

/* Maintenance is told before other checks: it is meant. What keeps the instance
 * out is told before what is held. */
static unsigned weight(const struct candidate *k, const struct cat_record *r)
{
    struct check_view v;
    if (passes(r))
        return 0;
    cat_check_view(r, &v);
    if (local_is_maintenance(v.id))
        return 3;
    return member_check_held(k->m, k->instance, r) ? 1 : 2;
}

static const struct cat_record *first_failing(const struct candidate *k)
{
    const struct cat_node_checks *own = k->node->own;
    uint32_t own_n = own ? own->n : 0;
    const struct cat_record *worst = NULL;
    unsigned most = 0;
    for (uint32_t i = 0; i < own_n + k->instance->check_count; i++) {
        const struct cat_record *r =
            i < own_n ? own->v[i] : k->instance->checks[i - own_n];
        unsigned w = weight(k, r);
        if (w > most) {
            worst = r;
            most = w;
        }
    }
    return worst;
}

static struct bytes missing_tag(const struct api_call *c,
                                const struct service_view *v)
{
    for (size_t i = 0; i < c->tag_count; i++)
        if (!packed_has_fold(v->tags, c->tags[i]))
            return c->tags[i];
    return (struct bytes){0};
}

static const char *out_by_health(const struct candidate *k, struct reason *r)
{
    struct check_view check;
    switch (k->is) {
    case MEMBER_PLAIN:
    case MEMBER_HELD:
        return NULL;
    case MEMBER_SUPPRESSED:
        r->check = member_damped(k->node, k->instance);
        return "damped";
    case MEMBER_OUT:
        break;
    }
    cat_check_view(r->check, &check);
    return local_is_maintenance(check.id)      ? "maintenance"
           : bytes_is(check.status, "warning") ? "warning"
                                               : "critical";
}

/* NULL: it is in. */
static const char *left_out(struct api_call *c, const struct filter_row *row,
                            const struct candidate *k, struct reason *r)
{
    const char *by_health = c->passing ? out_by_health(k, r) : NULL;
    if (by_health)
        return by_health;
    if (!node_meta_matches(c, &row->node))
        return "node-meta";
    if (!tags_match(c, &row->service)) {
        r->detail = missing_tag(c, &row->service);
        return "tag";
    }
    if (!row_is_wanted(c, row))
        return "filter";
    return NULL;
}

static const char *why_in(const struct api_call *c, const struct candidate *k,
                          const struct reason *r)
{
    if (!r->check)
        return "passing";
    return c->passing && k->is == MEMBER_HELD ? "held"
                                              : "asked without passing";
}

/* What is known beside the status. */
static void put_marks(struct json_out *j, const struct check_view *v)
{
    const struct check_marks *m = &v->marks;
    encode_moment(j, "Since", m->since_ms);
    json_key(j, "Cause");
    json_str(j, bytes_str(cause_text(v)));
    json_key(j, "Held");
    json_bool(j, m->held);
    if (m->held)
        encode_moment(j, "HeldSince", m->held_ms);
    json_key(j, "Damped");
    json_bool(j, m->damped);
    if (m->damped)
        encode_moment(j, "DampedUntil", m->damped_until_ms);
    json_key(j, "Penalty");
    json_u64(j, m->penalty);
}

static void put_check(struct json_out *j, const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    json_key(j, "Check");
    json_open(j, '{');
    json_key(j, "CheckID");
    json_str(j, v.id);
    json_key(j, "Name");
    json_str(j, v.name);
    json_key(j, "Status");
    json_str(j, v.status);
    json_key(j, "Notes");
    json_str(j, v.notes);
    json_key(j, "Output");
    json_str(j, v.output);
    json_key(j, "OfNode");
    json_bool(j, v.service_id.n == 0);
    put_marks(j, &v);
    json_key(j, "ModifyIndex");
    json_u64(j, v.modify_rev);
    json_close(j, '}');
}

static void put_detail(struct json_out *j, const struct api_call *c,
                       const struct reason *r)
{
    if (r->detail.p) {
        json_key(j, "Missing");
        json_str(j, r->detail);
    }
    if (bytes_is(bytes_str(r->rule), "node-meta")) {
        json_key(j, "Asked");
        json_open(j, '[');
        for (size_t i = 0; i < c->meta_count; i++)
            json_str(j, c->meta[i]);
        json_close(j, ']');
    }
    if (r->check)
        put_check(j, r->check);
}

/* Its check with the greatest penalty, also while damping only observes. As of
 * the check's last change: it decays, and nothing is written for that. */
static void put_flaps(struct json_out *j, const struct cat_instance *i)
{
    struct check_view v = {0};

    for (uint32_t n = 0; n < i->check_count; n++) {
        struct check_view next;
        cat_check_view(i->checks[n], &next);
        if (next.marks.penalty > v.marks.penalty)
            v = next;
    }
    if (v.marks.penalty == 0)
        return;
    json_key(j, "Flaps");
    json_open(j, '{');
    json_key(j, "CheckID");
    json_str(j, v.id);
    json_key(j, "Penalty");
    json_u64(j, v.marks.penalty);
    encode_moment(j, "Since", v.marks.since_ms);
    json_key(j, "Damped");
    json_bool(j, v.marks.damped);
    if (v.marks.damped_until_ms)
        encode_moment(j, "Until", v.marks.damped_until_ms);
    json_close(j, '}');
}

static bool put_instance(struct encoder *e, struct api_call *c,
                         const struct candidate *k)
{
    struct json_out *j = &e->j;
    struct filter_row row = filter_row(e->env);
    const struct node_view *nv = &row.node;
    const struct service_view *sv = &row.service;
    struct reason r = {.check = first_failing(k)};
    cat_node_view(k->node->record, &row.node);
    cat_service_view(k->instance->service, &row.service);
    row.node_checks = k->node->own;
    row.instance = k->instance;
    row.held = c->passing && k->is == MEMBER_HELD;
    const char *out = left_out(c, &row, k, &r);
    r.rule = out ? out : why_in(c, k, &r);
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, nv->name);
    json_key(j, "ServiceID");
    json_str(j, sv->id);
    json_key(j, "Address");
    json_str(j, sv->address.n ? sv->address : nv->address);
    json_key(j, "Port");
    json_i64(j, sv->port);
    json_key(j, "In");
    json_bool(j, !out);
    json_key(j, "Rule");
    json_str(j, bytes_str(r.rule));
    put_detail(j, c, &r);
    put_flaps(j, k->instance);
    json_close(j, '}');
    return !out;
}

/* A critical check that is not held keeps an instance out of DNS; warnings stay. */
static bool is_in_dns(const struct candidate *k)
{
    struct check_view v;
    if (k->is != MEMBER_OUT)
        return k->is != MEMBER_SUPPRESSED;
    const struct cat_node_checks *own = k->node->own;
    uint32_t own_n = own ? own->n : 0;
    for (uint32_t i = 0; i < own_n + k->instance->check_count; i++) {
        const struct cat_record *r =
            i < own_n ? own->v[i] : k->instance->checks[i - own_n];
        cat_check_view(r, &v);
        if (bytes_is(v.status, "critical") &&
            !member_check_held(k->m, k->instance, r))
            return false;
    }
    return true;
}

/* What DNS answers are drawn from (src/dns), and what they cannot tell. */
struct in_dns {
    uint64_t told, passing;
    uint64_t weightless; /* left out while others have a weight */
    uint64_t named;      /* with a host name: A and AAAA hold addresses */
};

static bool is_ip(struct bytes text)
{
    char s[INET6_ADDRSTRLEN];
    uint8_t ip[16];

    if (text.n >= sizeof s)
        return false;
    memcpy(s, text.p, text.n);
    s[text.n] = 0;
    return inet_pton(AF_INET, s, ip) == 1 || inet_pton(AF_INET6, s, ip) == 1;
}

static void add_to_dns(struct in_dns *d, const struct candidate *k)
{
    struct service_view s;
    struct node_view n;

    if (!is_in_dns(k))
        return;
    bool passing = member_is_in(k->is);
    cat_service_view(k->instance->service, &s);
    cat_node_view(k->node->record, &n);
    d->told++;
    d->passing += passing;
    d->weightless += (passing ? s.weight_passing : s.weight_warning) <= 0;
    d->named += !is_ip(s.address.n ? s.address : n.address);
}

static void put_left_out(struct json_out *j, const char *reason, uint64_t n)
{
    if (n == 0)
        return;
    json_open(j, '{');
    json_key(j, "Reason");
    json_str(j, bytes_str(reason));
    json_key(j, "Count");
    json_u64(j, n);
    json_close(j, '}');
}

/* How many fit into an answer is the transport's matter. */
static void put_dns(struct json_out *j, const struct in_dns *d)
{
    bool all_weightless = d->weightless == d->told;
    bool all_named = d->named == d->told;

    json_key(j, "DNS");
    json_open(j, '{');
    json_key(j, "Service");
    json_u64(j, d->told);
    json_key(j, "Passing");
    json_u64(j, d->passing);
    json_key(j, "LeftOut");
    json_open(j, '[');
    put_left_out(j, "weight 0", all_weightless ? 0 : d->weightless);
    put_left_out(j, "host name, not an address (A, AAAA)",
                 all_named ? 0 : d->named);
    put_left_out(j, "one host name is told (A, AAAA)",
                 all_named && d->told ? d->told - 1 : 0);
    put_left_out(j, "more than DNS tells: another part each second",
                 d->told > DNS_TELLS ? d->told - DNS_TELLS : 0);
    json_close(j, ']');
    json_close(j, '}');
}

void read_explain_service(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct json_out *j = &e.j;
    const struct cat_name *name = snapshot_name(env->cat, c->arg);
    struct tree_iter it;
    struct membership m;
    struct in_dns dns = {0};
    uint64_t in = 0, out = 0;
    json_open(j, '{');
    json_key(j, "Service");
    json_str(j, c->arg);
    json_key(j, "Known");
    json_bool(j, name != NULL);
    json_key(j, "Instances");
    json_open(j, '[');
    if (name) {
        membership_begin(&m, env->cat, name);
        tree_first(&name->instances, &it);
    }
    for (const struct cat_instance *i; name &&
                                       api_spend(c, COST_NODE + COST_SERVICE) &&
                                       (i = tree_next(&it));) {
        const struct cat_node *n = snapshot_node_of(env->cat, i);
        if (!n)
            continue;
        const struct candidate k = {&m, n, i, member_of(&m, n, i)};
        *(put_instance(&e, c, &k) ? &in : &out) += 1;
        add_to_dns(&dns, &k);
    }
    json_close(j, ']');
    past_put_departed(&e, c);
    json_key(j, "In");
    json_u64(j, in);
    json_key(j, "Out");
    json_u64(j, out);
    if (name && env->self->dns_port > 0)
        put_dns(j, &dns);
    json_close(j, '}');
    encoder_end(&e, c);
}
