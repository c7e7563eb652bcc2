/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* One row at a time: a walk over the expression's tree, which stops where the result
 * is clear. A term over a list (Checks, Upstreams) holds if it holds for any of its
 * items, also with a "!=" in it, as in Consul: "not Checks.Status == critical" says
 * none. */
#include "api/filter_impl.h"

/* What things take, about. */
enum {
    TERM_NS = 30,
    PROXY_NS = 5000,
    REGEX_NS = 200,
    REGEX_BYTE_NS = 70,
    COST_NS = 100
};

enum { PROXY_BYTES_MAX = 4 * 1024 * 1024 /* decoded, of one service */ };

struct evaluation {
    struct filter *filter;
    const struct filter_row *row;
    struct proxy_in proxy;
    struct arena arena; /* of the proxy */
    bool proxy_known;
};

/* --- The mesh's JSON texts ------------------------------------------------ */

#define F(type, name, alias, kind, member)                                     \
    {                                                                          \
        name, alias, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG   \
    }
#define OF(type, name, alias, kind, member, table)                             \
    {                                                                          \
        name, alias, kind, offsetof(struct type, member), &(table),            \
            JSON_NO_FLAG                                                       \
    }
#define TABLE(fields, type)                                                    \
    {                                                                          \
        fields, sizeof fields / sizeof fields[0], sizeof(struct type)          \
    }

/* clang-format off */
static const struct json_field gateway_fields[] = {
    F(mesh_gateway_in, "Mode", NULL, FIELD_STRING, mode),
};
static const struct json_table gateway_table = TABLE(gateway_fields, mesh_gateway_in);

static const struct json_field upstream_fields[] = {
    F(upstream_in, "Datacenter", NULL, FIELD_STRING, datacenter),
    F(upstream_in, "DestinationName", "destination_name", FIELD_STRING, name),
    F(upstream_in, "DestinationNamespace", "destination_namespace", FIELD_STRING, namespace),
    F(upstream_in, "DestinationType", "destination_type", FIELD_STRING, type),
    F(upstream_in, "LocalBindAddress", "local_bind_address", FIELD_STRING, address),
    F(upstream_in, "LocalBindPort", "local_bind_port", FIELD_INT, port),
    OF(upstream_in, "MeshGateway", "mesh_gateway", FIELD_OBJECT, gateway, gateway_table),
};
static const struct json_table upstream_table = TABLE(upstream_fields, upstream_in);

static const struct json_field path_fields[] = {
    F(expose_path_in, "ListenerPort", "listener_port", FIELD_INT, listener_port),
    F(expose_path_in, "LocalPathPort", "local_path_port", FIELD_INT, local_path_port),
    F(expose_path_in, "ParsedFromCheck", NULL, FIELD_BOOL, parsed_from_check),
    F(expose_path_in, "Path", NULL, FIELD_STRING, path),
    F(expose_path_in, "Protocol", NULL, FIELD_STRING, protocol),
};
static const struct json_table path_table = TABLE(path_fields, expose_path_in);

static const struct json_field expose_fields[] = {
    F(expose_in, "Checks", NULL, FIELD_BOOL, checks),
    OF(expose_in, "Paths", NULL, FIELD_LIST, paths, path_table),
};
static const struct json_table expose_table = TABLE(expose_fields, expose_in);

static const struct json_field proxy_fields[] = {
    F(proxy_in, "DestinationServiceID", "destination_service_id", FIELD_STRING, service_id),
    F(proxy_in, "DestinationServiceName", "destination_service_name", FIELD_STRING, service_name),
    OF(proxy_in, "Expose", NULL, FIELD_OBJECT, expose, expose_table),
    F(proxy_in, "LocalServiceAddress", "local_service_address", FIELD_STRING, local_address),
    F(proxy_in, "LocalServicePort", "local_service_port", FIELD_INT, local_port),
    OF(proxy_in, "MeshGateway", "mesh_gateway", FIELD_OBJECT, gateway, gateway_table),
    OF(proxy_in, "Upstreams", NULL, FIELD_LIST, upstreams, upstream_table),
};
static const struct json_table proxy_table = TABLE(proxy_fields, proxy_in);

struct connect_in {
    bool native;
};
static const struct json_field connect_fields[] = {
    F(connect_in, "Native", NULL, FIELD_BOOL, native),
};
static const struct json_table connect_table = TABLE(connect_fields, connect_in);
/* clang-format on */

/* A text that does not have this shape says nothing: it leaves all unset. */
static void decode_proxy(const struct service_view *v, struct arena *a,
                         struct proxy_in *p)
{
    struct connect_in c = {0};
    *p = (struct proxy_in){0};
    if (v->proxy.n && json_decode(v->proxy, &proxy_table, p, a, NULL) != ERR_OK)
        *p = (struct proxy_in){0};
    if (v->connect.n &&
        json_decode(v->connect, &connect_table, &c, a, NULL) == ERR_OK)
        p->native = c.native;
    if (p->gateway)
        p->mode = p->gateway->mode;
    if (p->expose) {
        p->expose_checks = p->expose->checks;
        p->paths = p->expose->paths;
    }
    struct upstream_in *u = p->upstreams.v;
    for (size_t i = 0; i < p->upstreams.n; i++)
        if (u[i].gateway)
            u[i].mode = u[i].gateway->mode;
}

static const struct proxy_in *proxy_of(struct evaluation *e)
{
    if (!e->proxy_known) {
        arena_init(&e->arena, PROXY_BYTES_MAX);
        decode_proxy(&e->row->service, &e->arena, &e->proxy);
        e->proxy_known = true;
        e->filter->spent_ns += PROXY_NS;
    }
    return &e->proxy;
}

/* --- One value ------------------------------------------------------------ */

static bool has_text(struct bytes in, struct bytes what)
{
    return what.n == 0 ||
           (in.n >= what.n && memmem(in.p, in.n, what.p, what.n));
}

static bool string_holds(struct evaluation *e, const struct filter_term *t,
                         struct bytes v)
{
    switch (t->op) {
    case FILTER_EQUAL:
        return bytes_eq(v, t->value) != t->negated;
    case FILTER_IN:
        return has_text(v, t->value) != t->negated;
    case FILTER_MATCHES:
        e->filter->spent_ns += REGEX_NS + v.n * REGEX_BYTE_NS;
        switch (filter_regex_search(t->regex, v, &e->filter->allowance)) {
        case FILTER_FOUND:
            return !t->negated;
        case FILTER_NOT_FOUND:
            return t->negated;
        case FILTER_TOO_MANY_STEPS:
            e->filter->overrun = t->value;
            return false;
        }
        return false;
    case FILTER_IS_EMPTY:
        break;
    }
    return false;
}

static bool number_holds(const struct filter_term *t, int64_t v)
{
    return (v == t->number) != t->negated;
}

/* What is not there equals nothing and holds nothing; for "matches" Consul says
 * yes either way, and so it is here. */
static bool absent_holds(const struct filter_term *t)
{
    return t->op == FILTER_MATCHES || t->negated;
}

static bool packed_holds(const struct filter_term *t, struct packed p)
{
    bool holds = p.n == 0;
    if (t->op == FILTER_IN)
        holds = t->type == FILTER_STRINGS ? packed_has(p, t->value)
                                          : packed_find(p, t->value).p != NULL;
    return holds != t->negated;
}

static bool entry_holds(struct evaluation *e, const struct filter_term *t,
                        struct packed map)
{
    struct bytes v = packed_find(map, t->key), address = {0};
    int64_t port = 0;
    if (!v.p)
        return absent_holds(t);
    if (t->part == FILTER_ENTRY)
        return string_holds(e, t, v);
    if (!tagged_address(v, &address, &port))
        return absent_holds(t);
    return t->part == FILTER_PORT ? number_holds(t, port)
                                  : string_holds(e, t, address);
}

static bool value_holds(struct evaluation *e, const struct filter_term *t,
                        const void *in)
{
    const void *v = (const char *)in + t->offset;
    if (t->part != FILTER_WHOLE)
        return entry_holds(e, t, *(const struct packed *)v);
    switch (t->type) {
    case FILTER_STRING:
        return string_holds(e, t, *(const struct bytes *)v);
    case FILTER_INT:
        return number_holds(t, *(const int64_t *)v);
    case FILTER_BOOL:
        return number_holds(t, *(const bool *)v);
    case FILTER_STRINGS:
    case FILTER_MAP:
    case FILTER_TAGGED:
        return packed_holds(t, *(const struct packed *)v);
    case FILTER_STRUCT:
    case FILTER_LIST:
        break;
    }
    return false;
}

/* --- Lists ---------------------------------------------------------------- */

static bool check_holds(struct evaluation *e, const struct filter_term *t,
                        const struct cat_record *r, bool of_service)
{
    const struct service_view *s = &e->row->service;
    struct filter_check c = {.node_name = e->row->node.name};
    cat_check_view(r, &c.check);
    if (e->row->held)
        c.check.status = bytes_str("passing");
    if (of_service) {
        c.service_name = s->name;
        c.service_tags = s->tags;
    }
    return value_holds(e, t, &c);
}

static bool checks_hold(struct evaluation *e, const struct filter_term *t)
{
    const struct cat_node_checks *own = e->row->node_checks;
    const struct cat_instance *i = e->row->instance;
    uint32_t own_n = own ? own->n : 0, n = i ? i->check_count : 0;
    if (t->type == FILTER_LIST)
        return (own_n + n == 0) != t->negated;
    for (uint32_t k = 0; k < own_n; k++)
        if (check_holds(e, t, own->v[k], false))
            return true;
    for (uint32_t k = 0; k < n; k++)
        if (check_holds(e, t, i->checks[k], true))
            return true;
    return false;
}

static bool items_hold(struct evaluation *e, const struct filter_term *t,
                       const struct json_list *list, size_t size)
{
    if (t->type == FILTER_LIST)
        return (list->n == 0) != t->negated;
    for (size_t i = 0; i < list->n; i++)
        if (value_holds(e, t, (const char *)list->v + i * size))
            return true;
    return false;
}

static bool term_holds(struct evaluation *e, const struct filter_term *t)
{
    e->filter->spent_ns += TERM_NS;
    switch (t->source) {
    case FILTER_OF_ROW:
        return value_holds(e, t, e->row);
    case FILTER_OF_CHECKS:
        return checks_hold(e, t);
    case FILTER_OF_PROXY:
        return value_holds(e, t, proxy_of(e));
    case FILTER_OF_UPSTREAMS:
        return items_hold(e, t, &proxy_of(e)->upstreams,
                          sizeof(struct upstream_in));
    case FILTER_OF_PATHS:
        return items_hold(e, t, &proxy_of(e)->paths,
                          sizeof(struct expose_path_in));
    }
    return false;
}

/* --- The tree ------------------------------------------------------------- */

/* As deep as FILTER_DEPTH_MAX lets it be. */
static bool node_holds(struct evaluation *e, const struct filter_node *n)
{
    bool holds = n->kind == FILTER_AND;
    if (n->kind == FILTER_TERM)
        return term_holds(e, n->term) != n->negated;
    for (const struct filter_node *o = n->first; o; o = o->next)
        if (node_holds(e, o) != holds) {
            holds = !holds;
            break;
        }
    return holds != n->negated;
}

bool filter_match(struct filter *f, const struct filter_row *row)
{
    if (!f)
        return true;
    struct evaluation e = {.filter = f, .row = row};
    bool holds = node_holds(&e, f->root);
    if (e.proxy_known)
        arena_fini(&e.arena);
    return holds;
}

uint32_t filter_take_cost(struct filter *f)
{
    uint32_t cost = f ? (uint32_t)(f->spent_ns / COST_NS) : 0;
    if (f)
        f->spent_ns %= COST_NS;
    return cost;
}

/* --- Printing ------------------------------------------------------------- */

static bool is_word(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        char c = b.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && (i == 0 || !((c >= '0' && c <= '9') || c == '_')))
            return false;
    }
    return b.n > 0;
}

/* Double quotes cannot hold a double quote: it is escaped by its number. */
static void print_string(struct buf *out, struct bytes text)
{
    struct buf q;
    buf_init(&q, 0);
    filter_quote(&q, text);
    buf_putc(out, '"');
    for (size_t i = 1; i + 1 < q.n; i++) {
        if (q.p[i] == '\\' && q.p[i + 1] == '"')
            buf_puts(out, "\\x22");
        else
            buf_put_n(out, q.p + i, q.p[i] == '\\' ? 2 : 1);
        i += q.p[i] == '\\';
    }
    buf_putc(out, '"');
    out->bad |= q.bad;
    buf_fini(&q);
}

static void print_selector(struct buf *out, const struct filter_term *t)
{
    for (size_t i = 0; i < t->part_count; i++) {
        if (is_word(t->parts[i])) {
            buf_puts(out, i ? "." : "");
            buf_put(out, t->parts[i]);
        } else {
            buf_putc(out, '[');
            print_string(out, t->parts[i]);
            buf_putc(out, ']');
        }
    }
}

static void print_term(struct buf *out, const struct filter_term *t)
{
    if (t->op == FILTER_IN) {
        print_string(out, t->value);
        buf_puts(out, t->negated ? " not in " : " in ");
        print_selector(out, t);
        return;
    }
    print_selector(out, t);
    if (t->op == FILTER_IS_EMPTY) {
        buf_puts(out, t->negated ? " is not empty" : " is empty");
        return;
    }
    if (t->op == FILTER_EQUAL)
        buf_puts(out, t->negated ? " != " : " == ");
    else
        buf_puts(out, t->negated ? " not matches " : " matches ");
    print_string(out, t->value);
}

/* Parentheses only where reading back wants them: there are never more, one in
 * another, than were read. */
static void print_node(struct buf *out, const struct filter_node *n,
                       const struct filter_node *up)
{
    if (n->negated)
        buf_puts(out, "not ");
    if (n->kind == FILTER_TERM) {
        print_term(out, n->term);
        return;
    }
    bool group =
        n->negated || (up && (n->kind == FILTER_OR || up->kind == FILTER_AND));
    if (group)
        buf_putc(out, '(');
    for (const struct filter_node *o = n->first; o; o = o->next) {
        print_node(out, o, n);
        if (o->next)
            buf_puts(out, n->kind == FILTER_AND ? " and " : " or ");
    }
    if (group)
        buf_putc(out, ')');
}

void filter_print(const struct filter *f, struct buf *out)
{
    print_node(out, f->root, NULL);
}
