/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Which selectors there are for which rows, by tables of the C structs that hold
 * them; what Consul 1.8.7 knows, no more. */
#include "api/filter_impl.h"

enum { SHOWN_BYTES_MAX = 120 /* of a pattern, so that the reason fits */ };

struct record;

struct field {
    const char *name;
    enum filter_type type;
    size_t offset;
    const struct record *of; /* STRUCT, LIST */
    enum filter_source source;
};

struct record {
    const struct field *fields;
    size_t n;
};

#define RECORD(name, table)                                                    \
    static const struct record name = {table, sizeof table / sizeof table[0]}

/* clang-format off */

/* --- Of the mesh ---------------------------------------------------------- */

#define AT(member) offsetof(struct upstream_in, member), NULL, FILTER_OF_UPSTREAMS
static const struct field upstream_gateway_fields[] = {
    {"Mode", FILTER_STRING, AT(mode)},
};
RECORD(upstream_gateway, upstream_gateway_fields);

static const struct field upstream_fields[] = {
    {"Datacenter", FILTER_STRING, AT(datacenter)},
    {"DestinationName", FILTER_STRING, AT(name)},
    {"DestinationNamespace", FILTER_STRING, AT(namespace)},
    {"DestinationType", FILTER_STRING, AT(type)},
    {"LocalBindAddress", FILTER_STRING, AT(address)},
    {"LocalBindPort", FILTER_INT, AT(port)},
    {"MeshGateway", FILTER_STRUCT, 0, &upstream_gateway, FILTER_OF_UPSTREAMS},
};
RECORD(upstream, upstream_fields);
#undef AT

#define AT(member) offsetof(struct expose_path_in, member), NULL, FILTER_OF_PATHS
static const struct field path_fields[] = {
    {"ListenerPort", FILTER_INT, AT(listener_port)},
    {"LocalPathPort", FILTER_INT, AT(local_path_port)},
    {"ParsedFromCheck", FILTER_BOOL, AT(parsed_from_check)},
    {"Path", FILTER_STRING, AT(path)},
    {"Protocol", FILTER_STRING, AT(protocol)},
};
RECORD(path, path_fields);
#undef AT

#define AT(member) offsetof(struct proxy_in, member), NULL, FILTER_OF_PROXY
static const struct field gateway_fields[] = {{"Mode", FILTER_STRING, AT(mode)}};
RECORD(gateway, gateway_fields);

static const struct field expose_fields[] = {
    {"Checks", FILTER_BOOL, AT(expose_checks)},
    {"Paths", FILTER_LIST, offsetof(struct proxy_in, paths), &path, FILTER_OF_PATHS},
};
RECORD(expose, expose_fields);

static const struct field proxy_fields[] = {
    {"DestinationServiceID", FILTER_STRING, AT(service_id)},
    {"DestinationServiceName", FILTER_STRING, AT(service_name)},
    {"Expose", FILTER_STRUCT, 0, &expose, FILTER_OF_PROXY},
    {"LocalServiceAddress", FILTER_STRING, AT(local_address)},
    {"LocalServicePort", FILTER_INT, AT(local_port)},
    {"MeshGateway", FILTER_STRUCT, 0, &gateway, FILTER_OF_PROXY},
    {"Upstreams", FILTER_LIST, offsetof(struct proxy_in, upstreams), &upstream, FILTER_OF_UPSTREAMS},
};
RECORD(proxy, proxy_fields);

static const struct field connect_fields[] = {{"Native", FILTER_BOOL, AT(native)}};
RECORD(connect, connect_fields);
#undef AT

/* --- Nodes, services, checks ---------------------------------------------- */

#define AT(member) offsetof(struct filter_row, member), NULL, FILTER_OF_ROW
static const struct field weights_fields[] = {
    {"Passing", FILTER_INT, AT(service.weight_passing)},
    {"Warning", FILTER_INT, AT(service.weight_warning)},
};
RECORD(weights, weights_fields);

static const struct field node_fields[] = {
    {"Address", FILTER_STRING, AT(node.address)},
    {"Datacenter", FILTER_STRING, AT(datacenter)},
    {"ID", FILTER_STRING, AT(node.id)},
    {"Meta", FILTER_MAP, AT(node.meta)},
    {"Node", FILTER_STRING, AT(node.name)},
    {"TaggedAddresses", FILTER_MAP, AT(node.tagged)},
};
RECORD(node, node_fields);

static const struct field service_fields[] = {
    {"Address", FILTER_STRING, AT(service.address)},
    {"Connect", FILTER_STRUCT, 0, &connect, FILTER_OF_ROW},
    {"EnableTagOverride", FILTER_BOOL, AT(service.enable_tag_override)},
    {"ID", FILTER_STRING, AT(service.id)},
    {"Kind", FILTER_STRING, AT(service.kind)},
    {"Meta", FILTER_MAP, AT(service.meta)},
    {"Port", FILTER_INT, AT(service.port)},
    {"Proxy", FILTER_STRUCT, 0, &proxy, FILTER_OF_ROW},
    {"Service", FILTER_STRING, AT(service.name)},
    {"TaggedAddresses", FILTER_TAGGED, AT(service.tagged)},
    {"Tags", FILTER_STRINGS, AT(service.tags)},
    {"Weights", FILTER_STRUCT, 0, &weights, FILTER_OF_ROW},
};
RECORD(service, service_fields);

static const struct field service_node_fields[] = {
    {"Address", FILTER_STRING, AT(node.address)},
    {"Datacenter", FILTER_STRING, AT(datacenter)},
    {"ID", FILTER_STRING, AT(node.id)},
    {"Node", FILTER_STRING, AT(node.name)},
    {"NodeMeta", FILTER_MAP, AT(node.meta)},
    {"ServiceAddress", FILTER_STRING, AT(service.address)},
    {"ServiceConnect", FILTER_STRUCT, 0, &connect, FILTER_OF_ROW},
    {"ServiceEnableTagOverride", FILTER_BOOL, AT(service.enable_tag_override)},
    {"ServiceID", FILTER_STRING, AT(service.id)},
    {"ServiceKind", FILTER_STRING, AT(service.kind)},
    {"ServiceMeta", FILTER_MAP, AT(service.meta)},
    {"ServiceName", FILTER_STRING, AT(service.name)},
    {"ServicePort", FILTER_INT, AT(service.port)},
    {"ServiceProxy", FILTER_STRUCT, 0, &proxy, FILTER_OF_ROW},
    {"ServiceTaggedAddresses", FILTER_TAGGED, AT(service.tagged)},
    {"ServiceTags", FILTER_STRINGS, AT(service.tags)},
    {"ServiceWeights", FILTER_STRUCT, 0, &weights, FILTER_OF_ROW},
    {"TaggedAddresses", FILTER_MAP, AT(node.tagged)},
};
RECORD(service_node, service_node_fields);

/* The member's own names are those that its JSON has. */
static const struct field member_fields[] = {
    {"Addr", FILTER_STRING, AT(member.address)},
    {"DelegateCur", FILTER_INT, AT(member.delegate_cur)},
    {"DelegateMax", FILTER_INT, AT(member.delegate_max)},
    {"DelegateMin", FILTER_INT, AT(member.delegate_min)},
    {"Name", FILTER_STRING, AT(member.name)},
    {"Port", FILTER_INT, AT(member.port)},
    {"ProtocolCur", FILTER_INT, AT(member.protocol_cur)},
    {"ProtocolMax", FILTER_INT, AT(member.protocol_max)},
    {"ProtocolMin", FILTER_INT, AT(member.protocol_min)},
    {"Status", FILTER_INT, AT(member.status)},
    {"Tags", FILTER_MAP, AT(member.tags)},
};
RECORD(member, member_fields);
#undef AT

/* One table for the check that is the row and for each of a row's checks. */
#define CHECK_FIELDS(at, from) \
    {"CheckID", FILTER_STRING, at(check.id), NULL, from}, \
    {"Name", FILTER_STRING, at(check.name), NULL, from}, \
    {"Node", FILTER_STRING, at(node_name), NULL, from}, \
    {"Notes", FILTER_STRING, at(check.notes), NULL, from}, \
    {"Output", FILTER_STRING, at(check.output), NULL, from}, \
    {"ServiceID", FILTER_STRING, at(check.service_id), NULL, from}, \
    {"ServiceName", FILTER_STRING, at(service_name), NULL, from}, \
    {"ServiceTags", FILTER_STRINGS, at(service_tags), NULL, from}, \
    {"Status", FILTER_STRING, at(check.status), NULL, from}, \
    {"Type", FILTER_STRING, at(check.type), NULL, from},

#define IN_ROW(member)  offsetof(struct filter_row, check.member)
#define IN_LIST(member) offsetof(struct filter_check, member)
static const struct field check_fields[] = {CHECK_FIELDS(IN_ROW, FILTER_OF_ROW)};
RECORD(check, check_fields);
static const struct field listed_fields[] = {CHECK_FIELDS(IN_LIST, FILTER_OF_CHECKS)};
RECORD(listed, listed_fields);

static const struct field health_fields[] = {
    {"Checks", FILTER_LIST, 0, &listed, FILTER_OF_CHECKS},
    {"Node", FILTER_STRUCT, 0, &node, FILTER_OF_ROW},
    {"Service", FILTER_STRUCT, 0, &service, FILTER_OF_ROW},
};
RECORD(health, health_fields);
/* clang-format on */

static const struct record *record_of(enum filter_rows rows)
{
    switch (rows) {
    case FILTER_NODES:
        return &node;
    case FILTER_SERVICES:
        return &service;
    case FILTER_SERVICE_NODES:
        return &service_node;
    case FILTER_CHECKS:
        return &check;
    case FILTER_HEALTH:
        return &health;
    case FILTER_MEMBERS:
        return &member;
    case FILTER_NONE:
        break;
    }
    return NULL;
}

/* --- Errors --------------------------------------------------------------- */

/* "Service.Meta.version": the first n parts, quoted. */
static void put_name(const struct filter_term *term, size_t n, struct buf *out)
{
    struct buf plain = {0};
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(&plain, '.');
        buf_put(&plain, term->parts[i]);
    }
    filter_quote(out, buf_bytes(&plain));
    buf_fini(&plain);
}

static enum err not_valid(const struct filter_term *term, size_t n,
                          struct errtext *t)
{
    struct buf b;
    buf_init(&b, 0);
    put_name(term, n, &b);
    errtext_set(t, "Selector %.*s is not valid", BYTES_ARG(buf_bytes(&b)));
    buf_fini(&b);
    return ERR_BAD;
}

static enum err bad_operator(const struct filter_term *term, struct errtext *t)
{
    static const char *const names[][2] = {
        [FILTER_EQUAL] = {"Equal", "Not Equal"},
        [FILTER_IN] = {"In", "Not In"},
        [FILTER_MATCHES] = {"Matches", "Not Matches"},
        [FILTER_IS_EMPTY] = {"Is Empty", "Is Not Empty"},
    };
    struct buf b;
    buf_init(&b, 0);
    put_name(term, term->part_count, &b);
    errtext_set(t, "Invalid match operator \"%s\" for selector %.*s",
                names[term->op][term->negated], BYTES_ARG(buf_bytes(&b)));
    buf_fini(&b);
    return ERR_BAD;
}

static enum err bad_value(const struct filter_term *term, const char *function,
                          const char *why, struct errtext *t)
{
    struct buf b, q;
    buf_init(&b, 0);
    buf_init(&q, 0);
    put_name(term, term->part_count, &b);
    filter_quote(&q, term->value);
    errtext_set(t,
                "Failed to coerce value %.*s for selector %.*s: "
                "strconv.%s: parsing %.*s: %s",
                BYTES_ARG(buf_bytes(&q)), BYTES_ARG(buf_bytes(&b)), function,
                BYTES_ARG(buf_bytes(&q)), why);
    buf_fini(&b);
    buf_fini(&q);
    return ERR_BAD;
}

/* --- Resolving ------------------------------------------------------------ */

static const struct field *find(const struct record *r, struct bytes name)
{
    for (size_t i = 0; r && i < r->n; i++)
        if (bytes_is(name, r->fields[i].name))
            return &r->fields[i];
    return NULL;
}

/* The parts after the name of a map: its key, then what an entry has. */
static bool resolve_entry(struct filter_term *term, size_t at)
{
    size_t left = term->part_count - at;
    if (left == 0)
        return true;
    term->key = term->parts[at];
    term->part = FILTER_ENTRY;
    if (term->type == FILTER_MAP) {
        term->type = FILTER_STRING;
        return left == 1;
    }
    if (left == 1) {
        term->type = FILTER_STRUCT;
        return true;
    }
    bool port = bytes_is(term->parts[at + 1], "Port");
    if (!port && !bytes_is(term->parts[at + 1], "Address"))
        return false;
    term->part = port ? FILTER_PORT : FILTER_ADDRESS;
    term->type = port ? FILTER_INT : FILTER_STRING;
    return left == 2;
}

/* How many parts the name of the first invalid selector has; 0: all is well. */
static size_t resolve_name(struct filter_term *term, const struct record *r)
{
    for (size_t i = 0; i < term->part_count; i++) {
        const struct field *f = find(r, term->parts[i]);
        if (!f)
            return i + 1;
        term->type = f->type;
        term->source = f->source;
        term->offset = f->offset;
        r = f->of;
        if (f->type != FILTER_MAP && f->type != FILTER_TAGGED)
            continue;
        bool tagged = f->type == FILTER_TAGGED;
        if (resolve_entry(term, i + 1))
            return 0;
        return i + (tagged && term->part == FILTER_ENTRY ? 3 : tagged ? 4 : 3);
    }
    return 0;
}

static bool has_operator(const struct filter_term *term)
{
    switch (term->type) {
    case FILTER_STRING:
        return term->op != FILTER_IS_EMPTY;
    case FILTER_INT:
    case FILTER_BOOL:
        return term->op == FILTER_EQUAL;
    case FILTER_STRINGS:
    case FILTER_MAP:
    case FILTER_TAGGED:
        return term->op == FILTER_IN || term->op == FILTER_IS_EMPTY;
    case FILTER_LIST:
        return term->op == FILTER_IS_EMPTY;
    case FILTER_STRUCT:
        return false;
    }
    return false;
}

static enum err convert(struct filter_term *term, struct errtext *t)
{
    bool flag = false;
    if (term->op != FILTER_EQUAL)
        return ERR_OK;
    if (term->type == FILTER_BOOL) {
        if (bytes_bool(term->value, &flag) != ERR_OK)
            return bad_value(term, "ParseBool", "invalid syntax", t);
        term->number = flag;
    } else if (term->type == FILTER_INT) {
        enum err e = filter_int(term->value, &term->number);
        if (e != ERR_OK)
            return bad_value(
                term, "ParseInt",
                e == ERR_LIMIT ? "value out of range" : "invalid syntax", t);
    }
    return ERR_OK;
}

static enum err compile(struct filter_term *term, struct arena *a,
                        struct errtext *t)
{
    struct errtext why = {0};
    struct buf q;
    enum err e = filter_regex_new(term->value, a, &term->regex, &why);
    if (e == ERR_OK || e == ERR_NOMEM)
        return e;
    buf_init(&q, 0);
    filter_quote(&q, bytes_head(term->value, SHOWN_BYTES_MAX));
    errtext_set(t, "Failed to compile regular expression %.*s%s: %s",
                BYTES_ARG(buf_bytes(&q)),
                term->value.n > SHOWN_BYTES_MAX ? "..." : "", why.s);
    buf_fini(&q);
    return e;
}

enum err filter_resolve(struct filter_term *term, enum filter_rows rows,
                        struct arena *a, struct errtext *t)
{
    size_t bad = resolve_name(term, record_of(rows));
    if (bad)
        return not_valid(term, bad, t);
    if (!has_operator(term))
        return bad_operator(term, t);
    if (term->op == FILTER_MATCHES)
        return compile(term, a, t);
    return convert(term, t);
}
