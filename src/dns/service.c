/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The instances of a name as an entry: records of the type asked for, without the
 * question's spelling and without an order. */
#include "dns/impl.h"

enum { SRV_PRIORITY = 1, PORT_MAX = 65535, WEIGHT_MAX = 65535 };

/* --- Health --------------------------------------------------------------------- */

static uint32_t weight_of(const struct service_view *v, enum standing s)
{
    int64_t w = s == STANDS_PASSING   ? v->weight_passing
                : s == STANDS_WARNING ? v->weight_warning
                                      : 1;

    return w < 0 ? 0 : w > WEIGHT_MAX ? WEIGHT_MAX : (uint32_t)w;
}

/* --- Addresses -------------------------------------------------------------------- */

static struct bytes tagged(const struct service_view *v, const char *name)
{
    struct bytes value = packed_find(v->tagged, bytes_str(name)), text;
    int64_t port;

    if (value.p && tagged_address(value, &text, &port))
        return text;
    return (struct bytes){NULL, 0};
}

static void service_address(const struct service_view *v,
                            enum address_want want, struct address *ret)
{
    struct bytes text = {NULL, 0};

    if (v->tagged.n && want != WANT_V4)
        text = tagged(v, "lan_ipv6");
    if (v->tagged.n && text.n == 0 && want != WANT_V6)
        text = tagged(v, "lan_ipv4");
    address_of(text.n ? text : v->address, ret);
}

/* A service that gives its own name as its address means its node's. */
static bool is_question(const struct dns_query *q, struct bytes text)
{
    struct dns_name name = {.n = 0};

    dns_name_text(&name, text);
    dns_name_end(&name);
    return !name.bad && dns_name_eq(name.p, name.n, q->fold, q->name_n);
}

/* Of the instance; *ret_own: its own and not the node's. */
static void instance_address(const struct dns_query *q,
                             const struct service_view *v,
                             const struct node_view *n, enum address_want want,
                             struct address *ret, bool *ret_own)
{
    *ret_own = false;
    if (v->address.n) {
        service_address(v, want, ret);
        *ret_own = ret->n || !is_question(q, ret->text);
    }
    if (!*ret_own)
        node_address(n, want, ret);
}

/* --- Building ----------------------------------------------------------------------- */

struct builder {
    struct ask *a;
    struct dns_entry *e;
    struct dns_out o; /* the whole block */
    struct membership members;
    uint32_t ttl;
    enum address_want want;
    size_t seen_mask;
    size_t told;                /* instances, of whatever type */
    struct bytes alias;         /* the first host name; empty: none */
    struct query_filter filter; /* of a prepared query */
};

static void begin(struct builder *b, struct ask *a, const struct form *f)
{
    struct bytes name = f->name;
    struct dns_entry *e = (struct dns_entry *)(void *)a->w->entry;
    const struct snapshot *cat = a->cat;
    struct watch_key key = {WATCH_SERVICE_HEALTH, name};

    b->e = e;
    *e = (struct dns_entry){
        .hash = dns_cache_hash(&a->q),
        .revision = snapshot_revision(cat),
        .index = snapshot_index(cat, key),
        .watch = watch_hash(key),
        .floor = snapshot_floor(cat),
        .generation = entry_generation(a->env),
        .life = a->life,
        .made_s = a->env->now_s,
        .type = a->q.type,
        .key_n = a->q.name_n,
        .keep = true,
    };
    b->o = (struct dns_out){a->w->entry, sizeof *e, ENTRY_BYTES_MAX, false};
    dns_put(&b->o, a->q.fold, a->q.name_n);
    /* The name stands in the key: as a label, or behind a '_'. */
    for (size_t i = 0; i < a->q.labels; i++) {
        struct bytes label = dns_label(&a->q, i);
        bool under = label.n == name.n + 1 && label.p[0] == '_';
        if (under)
            label = bytes_skip(label, 1);
        if (bytes_eq(label, name))
            e->name_at = (uint8_t)(a->q.at[i] + 1 + under);
    }
    e->name_n = (uint8_t)name.n;
    e->dc_n = (uint8_t)f->dc.n; /* a label of the key too */
    if (f->dc.n)
        e->dc_at = (uint8_t)(f->dc.p - (const char *)a->q.fold);
}

static void align(struct dns_out *o, size_t to)
{
    static const uint8_t zeros[8];

    dns_put(o, zeros, (to - o->n % to) % to);
}

/* Its place in the table, with a hash or free. */
static struct seen *seen_at(struct builder *b, uint64_t hash)
{
    struct seen *v = b->a->w->seen;
    size_t i = hash & b->seen_mask;

    while (v[i].hash && v[i].hash != hash)
        i = (i + 1) & b->seen_mask;
    return &v[i];
}

/* False: what hashes so is told already; then its weight grows if add. */
static bool is_new(struct builder *b, uint64_t hash, uint32_t weight, bool add)
{
    struct dns_worker *w = b->a->w;
    struct seen *s = seen_at(b, hash | 1);

    if (s->hash) {
        struct dns_endpoint *p =
            (struct dns_endpoint *)(void *)(w->entry + w->at[s->endpoint]);
        if (add && p->weight + weight <= WEIGHT_MAX)
            p->weight += weight;
        return false;
    }
    *s = (struct seen){hash | 1, b->e->count};
    return true;
}

static struct dns_endpoint *open_endpoint(struct builder *b, uint32_t weight)
{
    struct dns_endpoint p = {.weight = weight};

    align(&b->o, sizeof(uint64_t));
    b->a->w->at[b->e->count] = (uint32_t)b->o.n;
    dns_put(&b->o, &p, sizeof p);
    if (b->o.full)
        return NULL;
    return (struct dns_endpoint *)(void *)(b->o.p + b->o.n - sizeof p);
}

static void put_head(struct builder *b, unsigned type, size_t rdata_n)
{
    dns_put_16(&b->o, type);
    dns_put_16(&b->o, CLASS_IN);
    dns_put_32(&b->o, b->ttl);
    dns_put_16(&b->o, (unsigned)rdata_n);
}

/* Without room the entry ends before this one. */
static void close_endpoint(struct builder *b, uint64_t hash, uint32_t weight)
{
    if (b->o.full) {
        b->o.n = b->a->w->at[b->e->count];
        return;
    }
    b->e->count++;
    b->e->content += bytes_hash(bytes_of(&hash, sizeof hash), weight);
}

static void add_address(struct builder *b, const struct address *at,
                        uint32_t weight)
{
    uint64_t hash = bytes_hash(bytes_of(at->ip, at->n), at->n);

    if (!is_new(b, hash, weight, true))
        return;
    struct dns_endpoint *p = open_endpoint(b, weight);
    if (!p)
        return;
    put_head(b, at->n == 4 ? DNS_A : DNS_AAAA, at->n);
    dns_put(&b->o, at->ip, at->n);
    p->answer_n = (uint16_t)(10 + at->n);
    close_endpoint(b, hash, weight);
}

/* --- Aliases ------------------------------------------------------------------------- */

static uint8_t count_bodies(const uint8_t *p, size_t n)
{
    uint8_t count = 0;

    for (size_t i = 0; i < n; count++)
        i += 2 + ((size_t)p[i] << 8 | p[i + 1]);
    return count;
}

/* Addresses of an inner name belong to the entry, which then depends on more than
 * its service. */
static void put_inner(struct builder *b, struct dns_endpoint *p,
                      const struct dns_name *target)
{
    uint8_t inner[INNER_BYTES_MAX];
    bool is_inner;
    size_t n =
        inner_addresses(b->a, target, b->ttl, inner, sizeof inner, &is_inner);

    if (is_inner)
        b->e->keep = false;
    dns_put(&b->o, inner, n);
    p->addresses_n = (uint16_t)n;
    p->address_count = count_bodies(inner, n);
}

static void add_alias(struct builder *b)
{
    struct dns_name target = {.n = 0};

    dns_name_text(&target, b->alias);
    dns_name_end(&target);
    struct dns_endpoint *p = target.bad ? NULL : open_endpoint(b, 1);
    if (!p)
        return;
    put_head(b, DNS_CNAME, target.n);
    dns_put(&b->o, target.p, target.n);
    p->answer_n = (uint16_t)(10 + target.n);
    p->target_n = target.n;
    put_inner(b, p, &target);
    b->e->in_answer = true;
    close_endpoint(b, bytes_hash(b->alias, 0), 1);
}

/* --- SRV ------------------------------------------------------------------------------ */

/* The target's name; false: none can be written. */
static bool srv_target(const struct builder *b, const struct node_view *n,
                       const struct address *at, bool own, struct dns_name *ret)
{
    ret->n = 0;
    ret->bad = false;
    if (at->n == 0) {
        dns_name_text(ret, at->text);
        dns_name_end(ret);
        return !ret->bad;
    }
    if (!own && bytes_eq(at->text, n->address)) {
        node_name(b->a, n->name, ret);
        if (!ret->bad)
            return true;
        *ret = (struct dns_name){.n = 0}; /* its node's name is no name */
    }
    address_name(b->a, at, ret);
    return !ret->bad;
}

static void put_srv_texts(struct builder *b, struct dns_endpoint *p,
                          const struct node_view *n,
                          const struct dns_name *target)
{
    uint8_t texts[TEXT_BYTES_MAX];
    struct dns_name owner = {.n = 0};
    size_t start = b->o.n, all, at = 0;

    if (!b->a->env->set->node_texts || n->meta.n == 0)
        return;
    all = node_texts(n, texts, sizeof texts);
    node_name(b->a, n->name, &owner);
    if (owner.bad || all == 0)
        return;
    if (!dns_name_eq(owner.p, owner.n, target->p, target->n)) {
        p->text_owner_n = owner.n;
        dns_put(&b->o, owner.p, owner.n);
    }
    while (at < all) {
        size_t k = (size_t)texts[at] << 8 | texts[at + 1];
        dns_put_16(&b->o, (unsigned)k + 10);
        put_head(b, DNS_TXT, k);
        dns_put(&b->o, texts + at + 2, k);
        at += 2 + k;
    }
    p->texts_n = (uint16_t)(b->o.n - start);
}

static void add_srv(struct builder *b, const struct service_view *v,
                    const struct node_view *n, const struct address *at,
                    bool own, uint32_t weight)
{
    struct dns_name target;
    uint64_t hash = bytes_hash(n->name, (uint64_t)v->port);

    hash = bytes_hash(at->text, hash);
    if (!srv_target(b, n, at, own, &target) || !is_new(b, hash, weight, false))
        return;
    struct dns_endpoint *p = open_endpoint(b, weight);
    if (!p)
        return;
    put_head(b, DNS_SRV, 6u + target.n);
    dns_put_16(&b->o, SRV_PRIORITY);
    dns_put_16(&b->o, weight);
    dns_put_16(&b->o, (unsigned)v->port & PORT_MAX);
    dns_put(&b->o, target.p, target.n);
    p->answer_n = (uint16_t)(16 + target.n);
    p->target_n = target.n;
    if (at->n) {
        uint8_t body[32];
        size_t k = address_body(at, b->ttl, body, sizeof body);
        dns_put(&b->o, body, k);
        p->addresses_n = (uint16_t)k;
        p->address_count = 1;
    } else {
        put_inner(b, p, &target);
    }
    put_srv_texts(b, p, n, &target);
    close_endpoint(b, hash, weight);
}

/* --- Instances ------------------------------------------------------------------------- */

static bool is_asked(const struct form *f, const struct service_view *v)
{
    return f->tag.n == 0 || packed_has_fold(v->tags, f->tag);
}

static bool is_address_type(uint16_t type)
{
    return type == DNS_A || type == DNS_AAAA || type == DNS_ANY ||
           type == DNS_TXT;
}

/* Is the instance told, and how does it stand? */
static bool is_told(struct builder *b, const struct form *f,
                    const struct cat_instance *i, struct query_pick *ret)
{
    const struct ask *a = b->a;
    struct service_view v;

    if (f->query)
        return query_filter_has(&b->filter, i, ret);
    cat_service_view(i->service, &v);
    *ret = (struct query_pick){.node = snapshot_node_of(a->cat, i)};
    if (!is_asked(f, &v) || !ret->node)
        return false;
    ret->standing = instance_standing(&b->members, ret->node, i);
    return ret->standing != STANDS_OUT &&
           (ret->standing == STANDS_PASSING ||
            !(f->passing || a->env->set->only_passing));
}

static void add_pick(struct builder *b, const struct cat_instance *i,
                     const struct query_pick *pick)
{
    struct ask *a = b->a;
    struct service_view v;
    struct node_view n;
    struct address at;
    bool own;

    b->told++;
    cat_service_view(i->service, &v);
    cat_node_view(pick->node->record, &n);
    instance_address(&a->q, &v, &n, b->want, &at, &own);
    if (a->q.type == DNS_SRV)
        add_srv(b, &v, &n, &at, own, weight_of(&v, pick->standing));
    else if (at.n == 0) /* an alias is one for every type */
        b->alias = b->alias.n ? b->alias : at.text;
    else if (address_is(&at, b->want) && is_address_type(a->q.type))
        add_address(b, &at, weight_of(&v, pick->standing));
}

static void add_instance(struct builder *b, const struct form *f,
                         const struct cat_instance *i)
{
    struct query_pick pick;

    if (is_told(b, f, i, &pick))
        add_pick(b, i, &pick);
}

/* More instances than a message holds: each by chance, others the next time. */
static bool is_skipped(struct builder *b, size_t all)
{
    if (all <= ENDPOINTS_MAX)
        return false;
    b->e->sampled = true;
    return (random_next(&b->a->random) >> 32) * all >> 32 >=
           ENDPOINTS_MAX - ENDPOINTS_MAX / 16;
}

/* --- The end ---------------------------------------------------------------------------- */

/* Weight 0 means: only if there is nothing else. */
static void drop_weightless(struct builder *b)
{
    struct dns_worker *w = b->a->w;
    uint16_t n = 0;
    bool any = false;

    for (size_t i = 0; i < b->e->count; i++)
        any |=
            ((struct dns_endpoint *)(void *)(w->entry + w->at[i]))->weight > 0;
    for (size_t i = 0; any && i < b->e->count; i++) {
        const struct dns_endpoint *p =
            (const struct dns_endpoint *)(void *)(w->entry + w->at[i]);
        if (p->weight)
            w->at[n++] = w->at[i];
    }
    if (any)
        b->e->count = n;
}

/* at[] and the running sums of weights. False: no room. */
static bool finish(struct builder *b)
{
    struct dns_worker *w = b->a->w;
    struct dns_entry *e = b->e;

    b->o.full = false;
    drop_weightless(b);
    align(&b->o, sizeof(uint64_t));
    e->at_at = (uint32_t)b->o.n;
    dns_put(&b->o, w->at, e->count * sizeof *w->at);
    e->even = true;
    for (size_t i = 0; i < e->count; i++) {
        const struct dns_endpoint *p =
            (const struct dns_endpoint *)(void *)(w->entry + w->at[i]);
        const struct dns_endpoint *first =
            (const struct dns_endpoint *)(void *)(w->entry + w->at[0]);
        e->weight_sum += p->weight;
        e->even = e->even && p->weight == first->weight;
        uint32_t sum = (uint32_t)e->weight_sum;
        dns_put(&b->o, &sum, sizeof sum);
    }
    e->size = (uint32_t)b->o.n;
    e->soa = e->count == 0;
    e->is_address = e->type != DNS_SRV && e->type != DNS_CNAME;
    return !b->o.full;
}

static void clear_seen(struct builder *b, size_t instances)
{
    size_t n = 2;

    while (n < 2 * instances && n < 2 * ENDPOINTS_MAX)
        n *= 2;
    memset(b->a->w->seen, 0, n * sizeof *b->a->w->seen);
    b->seen_mask = n - 1;
}

bool service_entry(struct ask *a, const struct form *f, struct dns_entry **ret)
{
    const struct cat_name *name = snapshot_name(a->cat, f->name);
    struct builder b = {.a = a,
                        .want = a->q.type == DNS_A      ? WANT_V4
                                : a->q.type == DNS_AAAA ? WANT_V6
                                                        : WANT_ANY};
    const struct cat_instance *i;
    struct tree_iter it;
    uint32_t ttl_s;

    if (!name)
        return false;
    begin(&b, a, f);
    membership_begin(&b.members, a->cat, name);
    if (f->query) {
        (void)query_filter_begin(&b.filter, a->cat, f->query);
        b.e->keep = false;
    }
    b.ttl = f->query && query_ttl_s(f->query, &ttl_s)
                ? ttl_s
                : dns_service_ttl(a->env->set, f->name);
    b.e->least_ttl_s = b.e->ttl_s = b.ttl;
    clear_seen(&b, name->instances.n);
    b.e->ordered = f->picks != NULL;
    for (size_t k = 0; f->picks && k < f->pick_count; k++)
        if (b.e->count < ENDPOINTS_MAX && !b.o.full)
            add_pick(&b, f->picks[k].instance, &f->picks[k]);
    tree_first(&name->instances, &it);
    while (!f->picks && (i = tree_next(&it)) && b.e->count < ENDPOINTS_MAX &&
           !b.o.full)
        if (!is_skipped(&b, name->instances.n))
            add_instance(&b, f, i);
    if (b.told == 0)
        return false;
    if (b.e->count == 0 && b.alias.n)
        add_alias(&b);
    *ret = b.e;
    if (!finish(&b))
        return false;
    ttl_begin(a, b.e);
    return true;
}

/* --- Inner names ------------------------------------------------------------------------ */

static size_t put_inner_address(const struct address *at, uint32_t ttl,
                                uint8_t *to, size_t cap, size_t n)
{
    return at->n ? n + address_body(at, ttl, to + n, cap - n) : n;
}

/* What the name would be answered from: the own catalog, wherever it was found,
 * unless it names a datacenter itself. */
static const struct snapshot *inner_catalog(const struct ask *a,
                                            const struct form *f)
{
    const struct dns_zones *zones = a->env->zones;
    struct dns_zone z;

    if (f->dc.n == 0)
        return a->env->cat;
    struct bytes service =
        f->kind == FORM_SERVICE ? f->name : (struct bytes){NULL, 0};
    if (!zones || !zones->find(zones, f->dc, service, &z) ||
        z.age_ms > zones->max_age_ms)
        return NULL;
    return z.cat;
}

static size_t inner_service(const struct snapshot *cat,
                            const struct dns_query *q, const struct form *f,
                            uint32_t ttl, uint8_t *to, size_t cap)
{
    const struct cat_name *name = snapshot_name(cat, f->name);
    const struct cat_instance *i;
    struct membership members;
    struct tree_iter it;
    size_t n = 0;

    if (!name)
        return 0;
    membership_begin(&members, cat, name);
    tree_first(&name->instances, &it);
    for (int k = 0; k < INSTANCES_LOOKED_AT && (i = tree_next(&it)); k++) {
        const struct cat_node *node = snapshot_node_of(cat, i);
        struct service_view v;
        struct node_view nv;
        struct address at;
        bool own;
        cat_service_view(i->service, &v);
        if (!node || !is_asked(f, &v) ||
            instance_standing(&members, node, i) == STANDS_OUT)
            continue;
        cat_node_view(node->record, &nv);
        instance_address(q, &v, &nv, WANT_ANY, &at, &own);
        n = put_inner_address(&at, ttl, to, cap, n);
    }
    return n;
}

size_t inner_addresses(const struct ask *a, const struct dns_name *name,
                       uint32_t ttl, uint8_t *to, size_t cap, bool *ret_inner)
{
    const struct dns_settings *set = a->env->set;
    struct dns_query q;
    struct form f;
    struct node_view v;
    struct address at;

    bool inner = dns_name_query(name, &q);
    size_t within = inner ? dns_name_within(&q, &set->domain) : SIZE_MAX;
    if (inner && within == SIZE_MAX)
        within = dns_name_within(&q, &set->alt);
    if (ret_inner)
        *ret_inner = within != SIZE_MAX;
    if (within == SIZE_MAX)
        return 0;
    q.type = DNS_A;
    form_of(set, &q, within, &f);
    if (f.kind == FORM_ADDR && hex_address(f.name, &at))
        return put_inner_address(&at, ttl, to, cap, 0);
    const struct snapshot *cat = inner_catalog(a, &f);
    if (cat && f.kind == FORM_SERVICE)
        return inner_service(cat, &q, &f, ttl, to, cap);
    const struct cat_node *n =
        cat && f.kind == FORM_NODE ? snapshot_node(cat, f.name) : NULL;
    if (!n)
        return 0;
    cat_node_view(n->record, &v);
    node_address(&v, WANT_ANY, &at);
    return put_inner_address(&at, ttl, to, cap, 0);
}
