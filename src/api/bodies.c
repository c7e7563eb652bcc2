/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The bodies that clients send, as tables, and the way from them to views. */
#include "api/impl.h"
#include "api/table.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/marks.h"
#include "health/damp.h"

/* clang-format off */
static const struct json_field weights_fields[] = {
    FIELD(weights_in, "Passing", NULL, FIELD_INT, passing),
    FIELD(weights_in, "Warning", NULL, FIELD_INT, warning),
};
static const struct json_table weights_table = TABLE(weights_fields, weights_in);

static const struct json_field tagged_fields[] = {
    FIELD(tagged_in, "Address", NULL, FIELD_STRING, address),
    FIELD(tagged_in, "Port", NULL, FIELD_INT, port),
};
static const struct json_table tagged_table = TABLE(tagged_fields, tagged_in);

#define CHECK_FIELDS                                                                                   \
    FIELD(check_in, "Namespace", NULL, FIELD_STRING, tenancy.ns),                                       \
    FIELD(check_in, "Partition", NULL, FIELD_STRING, tenancy.partition),                                \
    FIELD(check_in, "Node", NULL, FIELD_STRING, node),                                                  \
    FIELD(check_in, "ID", NULL, FIELD_STRING, id),                                                      \
    FIELD(check_in, "CheckID", "check_id", FIELD_STRING, check_id),                                     \
    FIELD(check_in, "Name", NULL, FIELD_STRING, name),                                                  \
    FIELD(check_in, "Notes", NULL, FIELD_STRING, notes),                                                \
    FIELD(check_in, "Output", NULL, FIELD_STRING, output),                                              \
    FIELD(check_in, "Status", NULL, FIELD_STRING, status),                                              \
    FIELD(check_in, "ServiceID", "service_id", FIELD_STRING, service_id),                               \
    FIELD(check_in, "Type", NULL, FIELD_STRING, type),                                                  \
    FIELD(check_in, "HTTP", NULL, FIELD_STRING, http),                                                  \
    FIELD(check_in, "Header", NULL, FIELD_HEADERS, header),                                             \
    FIELD(check_in, "Method", NULL, FIELD_STRING, method),                                              \
    FIELD(check_in, "Body", NULL, FIELD_STRING, body),                                                  \
    FIELD(check_in, "DisableRedirects", "disable_redirects", FIELD_BOOL, disable_redirects),            \
    FIELD(check_in, "TLSServerName", "tls_server_name", FIELD_STRING, tls_server_name),                 \
    FIELD(check_in, "TLSSkipVerify", "tls_skip_verify", FIELD_BOOL, tls_skip_verify),                   \
    FIELD(check_in, "TCP", NULL, FIELD_STRING, tcp),                                                    \
    FIELD(check_in, "TCPUseTLS", "tcp_use_tls", FIELD_BOOL, tcp_use_tls),                               \
    FIELD(check_in, "UDP", NULL, FIELD_STRING, udp),                                                    \
    FIELD(check_in, "GRPC", NULL, FIELD_STRING, grpc),                                                  \
    FIELD(check_in, "GRPCUseTLS", "grpc_use_tls", FIELD_BOOL, grpc_use_tls),                            \
    FIELD(check_in, "H2PING", "h2ping", FIELD_STRING, h2ping),                                          \
    FIELD_SET(check_in, "H2PingUseTLS", "h2ping_use_tls", FIELD_BOOL, h2ping_use_tls, h2ping_use_tls_set), \
    FIELD(check_in, "OSService", "os_service", FIELD_STRING, os_service),                               \
    FIELD(check_in, "Args", "ScriptArgs,script_args", FIELD_STRINGS, args),                             \
    FIELD(check_in, "DockerContainerID", "docker_container_id", FIELD_STRING, docker_container_id),     \
    FIELD(check_in, "Shell", NULL, FIELD_STRING, shell),                                                \
    FIELD(check_in, "AliasNode", "alias_node", FIELD_STRING, alias_node),                               \
    FIELD(check_in, "AliasService", "alias_service", FIELD_STRING, alias_service),                      \
    FIELD(check_in, "Damping", NULL, FIELD_STRING, damping),                                            \
    FIELD(check_in, "Interval", "IntervalDuration", FIELD_DURATION, interval_ns),                       \
    FIELD(check_in, "Timeout", "TimeoutDuration", FIELD_DURATION, timeout_ns),                          \
    FIELD(check_in, "TTL", NULL, FIELD_DURATION, ttl_ns),                                               \
    FIELD(check_in, "DeregisterCriticalServiceAfter",                                                  \
          "deregister_critical_service_after,DeregisterCriticalServiceAfterDuration",                  \
          FIELD_DURATION, deregister_after_ns),                                                         \
    FIELD(check_in, "OutputMaxSize", "output_max_size", FIELD_INT, output_max),                         \
    FIELD(check_in, "SuccessBeforePassing", "success_before_passing", FIELD_INT, success_before_passing), \
    FIELD(check_in, "FailuresBeforeCritical", "failures_before_critical", FIELD_INT, failures_before_critical), \
    FIELD_SET(check_in, "FailuresBeforeWarning", "failures_before_warning", FIELD_INT,                  \
              failures_before_warning, failures_before_warning_set)

static const struct json_field definition_fields[] = {CHECK_FIELDS};
static const struct json_table definition_table = TABLE(definition_fields, check_in);

static const struct json_field check_fields[] = {
    CHECK_FIELDS,
    FIELD_OF(check_in, "Definition", NULL, FIELD_OBJECT, definition, &definition_table),
};
const struct json_table check_table = TABLE(check_fields, check_in);

#define SERVICE_FIELDS                                                                                 \
    FIELD(service_in, "Namespace", NULL, FIELD_STRING, tenancy.ns),                                     \
    FIELD(service_in, "Partition", NULL, FIELD_STRING, tenancy.partition),                              \
    FIELD(service_in, "Kind", NULL, FIELD_STRING, kind),                                                \
    FIELD(service_in, "ID", NULL, FIELD_STRING, id),                                                    \
    FIELD(service_in, "Tags", NULL, FIELD_STRINGS, tags),                                               \
    FIELD(service_in, "Address", NULL, FIELD_STRING, address),                                          \
    FIELD_OF(service_in, "TaggedAddresses", "tagged_addresses", FIELD_NAMED, tagged, &tagged_table),    \
    FIELD(service_in, "Meta", NULL, FIELD_MAP, meta),                                                   \
    FIELD(service_in, "Port", NULL, FIELD_INT, port),                                                   \
    FIELD_OF(service_in, "Weights", NULL, FIELD_OBJECT, weights, &weights_table),                       \
    FIELD(service_in, "EnableTagOverride", "enable_tag_override", FIELD_BOOL, enable_tag_override),     \
    FIELD(service_in, "Token", NULL, FIELD_STRING, token),                                              \
    FIELD(service_in, "Proxy", NULL, FIELD_RAW, proxy),                                                 \
    FIELD(service_in, "Connect", NULL, FIELD_RAW, connect),                                             \
    FIELD(service_in, "SocketPath", "socket_path", FIELD_STRING, socket_path),                          \
    FIELD(service_in, "Locality", NULL, FIELD_RAW, locality),                                           \
    FIELD(service_in, "Ports", NULL, FIELD_RAW, ports),                                                 \
    FIELD(service_in, "AI", NULL, FIELD_RAW, ai)

static const struct json_field agent_service_fields[] = {
    SERVICE_FIELDS,
    FIELD(service_in, "Name", NULL, FIELD_STRING, name),
    FIELD(service_in, "Guard", NULL, FIELD_STRING, guard),
    FIELD_OF(service_in, "Check", NULL, FIELD_OBJECT, check, &check_table),
    FIELD_OF(service_in, "Checks", NULL, FIELD_LIST, checks, &check_table),
};
const struct json_table agent_service_table = TABLE(agent_service_fields, service_in);

static const struct json_field catalog_service_fields[] = {
    SERVICE_FIELDS,
    FIELD(service_in, "Service", NULL, FIELD_STRING, name),
};
static const struct json_table catalog_service_table = TABLE(catalog_service_fields, service_in);

static const struct json_field register_fields[] = {
    FIELD(register_in, "Namespace", NULL, FIELD_STRING, tenancy.ns),
    FIELD(register_in, "Partition", NULL, FIELD_STRING, tenancy.partition),
    FIELD(register_in, "Datacenter", NULL, FIELD_STRING, datacenter),
    FIELD(register_in, "ID", NULL, FIELD_STRING, id),
    FIELD(register_in, "Node", NULL, FIELD_STRING, node),
    FIELD(register_in, "Address", NULL, FIELD_STRING, address),
    FIELD(register_in, "TaggedAddresses", NULL, FIELD_MAP, tagged),
    FIELD(register_in, "NodeMeta", NULL, FIELD_MAP, node_meta),
    FIELD_OF(register_in, "Service", NULL, FIELD_OBJECT, service, &catalog_service_table),
    FIELD_OF(register_in, "Check", NULL, FIELD_OBJECT, check, &check_table),
    FIELD_OF(register_in, "Checks", NULL, FIELD_LIST, checks, &check_table),
    FIELD(register_in, "SkipNodeUpdate", NULL, FIELD_BOOL, skip_node_update),
};
const struct json_table register_table = TABLE(register_fields, register_in);

static const struct json_field deregister_fields[] = {
    FIELD(deregister_in, "Namespace", NULL, FIELD_STRING, tenancy.ns),
    FIELD(deregister_in, "Partition", NULL, FIELD_STRING, tenancy.partition),
    FIELD(deregister_in, "Datacenter", NULL, FIELD_STRING, datacenter),
    FIELD(deregister_in, "Node", NULL, FIELD_STRING, node),
    FIELD(deregister_in, "ServiceID", NULL, FIELD_STRING, service_id),
    FIELD(deregister_in, "CheckID", NULL, FIELD_STRING, check_id),
};
const struct json_table deregister_table = TABLE(deregister_fields, deregister_in);

static const struct json_field update_fields[] = {
    FIELD(update_in, "Status", NULL, FIELD_STRING, status),
    FIELD(update_in, "Output", NULL, FIELD_STRING, output),
};
const struct json_table update_table = TABLE(update_fields, update_in);
/* clang-format on */

/* --- Packing ------------------------------------------------------------- */

static bool packed_from(struct arena *a, struct buf *b, size_t n,
                        struct packed *ret)
{
    struct bytes copy =
        b->bad ? (struct bytes){0} : arena_copy(a, buf_bytes(b));
    bool ok = !b->bad && (copy.p || b->n == 0);
    buf_fini(b);
    *ret = (struct packed){copy, (uint32_t)n};
    return ok;
}

bool pack_strings(struct arena *a, const struct json_strings *in,
                  struct packed *ret)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < in->n; i++)
        packed_put(&b, in->v[i]);
    return packed_from(a, &b, in->n, ret);
}

bool pack_map(struct arena *a, const struct json_map *in, struct packed *ret)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < in->n; i++)
        packed_put_pair(&b, in->v[i].key, in->v[i].value);
    return packed_from(a, &b, in->n, ret);
}

static bool pack_tagged(struct arena *a, const struct json_named *in,
                        struct packed *ret)
{
    struct buf b;
    const struct tagged_in *v = in->v;
    buf_init(&b, 0);
    for (size_t i = 0; i < in->n; i++)
        packed_put_tagged(&b, in->names[i], v[i].address, v[i].port);
    return packed_from(a, &b, in->n, ret);
}

/* Newer members, kept as JSON text and given back as they came. */
static bool extra_from(struct arena *a, const struct service_in *in,
                       struct bytes *ret)
{
    struct buf b;
    buf_init(&b, 0);
    struct json_out j = json_out(&b);
    if (in->socket_path.n) {
        json_key(&j, "SocketPath");
        json_str(&j, in->socket_path);
    }
    if (in->locality.n) {
        json_key(&j, "Locality");
        json_raw(&j, in->locality);
    }
    if (in->ports.n) {
        json_key(&j, "Ports");
        json_raw(&j, in->ports);
    }
    if (in->ai.n) {
        json_key(&j, "AI");
        json_raw(&j, in->ai);
    }
    struct packed p;
    bool ok = packed_from(a, &b, 0, &p);
    *ret = p.data;
    return ok;
}

bool service_from(struct arena *a, const struct service_in *in,
                  struct service_view *v)
{
    /* The agent has refused bad ones by now; the catalog takes none instead. */
    bool weighed = in->weights && weights_validate(in->weights, NULL) == ERR_OK;
    *v = (struct service_view){
        .kind = in->kind,
        .id = in->id.n ? in->id : in->name,
        .name = in->name,
        .address = in->address,
        .meta_set = in->meta.set,
        .port = in->port,
        .weight_passing = weighed ? in->weights->passing : 1,
        .weight_warning = weighed ? in->weights->warning : 1,
        .enable_tag_override = in->enable_tag_override,
        .proxy = in->proxy,
        .connect = in->connect,
    };
    return pack_strings(a, &in->tags, &v->tags) &&
           pack_map(a, &in->meta, &v->meta) &&
           pack_tagged(a, &in->tagged, &v->tagged) &&
           extra_from(a, in, &v->extra);
}

static bool headers_from(struct arena *a, const struct json_headers *in,
                         struct check_def *d)
{
    size_t n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += in->v[i].values.n;
    if (n == 0)
        return true;
    d->headers = arena_alloc(a, n * sizeof *d->headers);
    if (!d->headers)
        return false;
    for (size_t i = 0; i < in->n; i++)
        for (size_t k = 0; k < in->v[i].values.n; k++)
            d->headers[d->header_count++] =
                (struct check_header){in->v[i].name, in->v[i].values.v[k]};
    return true;
}

bool check_from(struct arena *a, const struct check_in *in, struct check_def *d)
{
    *d = (struct check_def){
        .id = in->check_id.n ? in->check_id : in->id,
        .name = in->name,
        .notes = in->notes,
        .status = in->status,
        .service_id = in->service_id,
        .http = in->http,
        .method = in->method,
        .body = in->body,
        .tls_server_name = in->tls_server_name,
        .tls_skip_verify = in->tls_skip_verify,
        .disable_redirects = in->disable_redirects,
        .tcp = in->tcp,
        .udp = in->udp,
        .grpc = in->grpc,
        .h2ping = in->h2ping,
        .os_service = in->os_service,
        .tcp_use_tls = in->tcp_use_tls,
        .grpc_use_tls = in->grpc_use_tls,
        .h2ping_use_tls = in->h2ping_use_tls,
        .h2ping_use_tls_set = in->h2ping_use_tls_set,
        .args = in->args.v,
        .arg_count = in->args.n,
        .docker_container_id = in->docker_container_id,
        .shell = in->shell,
        .alias_node = in->alias_node,
        .alias_service = in->alias_service,
        .damping = in->damping,
        .interval_ns = in->interval_ns,
        .timeout_ns = in->timeout_ns,
        .ttl_ns = in->ttl_ns,
        .deregister_after_ns = in->deregister_after_ns,
        .output_max = in->output_max,
        .success_before_passing = in->success_before_passing,
        .failures_before_critical = in->failures_before_critical,
        /* -1 is what is not given; given, it is as bad as the others. */
        .failures_before_warning = !in->failures_before_warning_set ? -1
                                   : in->failures_before_warning == -1
                                       ? -2
                                       : in->failures_before_warning,
    };
    return headers_from(a, &in->header, d);
}

/* --- Validation ---------------------------------------------------------- */

enum { META_PAIRS_MAX = 64, META_KEY_MAX = 128, META_VALUE_MAX = 512 };

/* What muster itself reads: a typing error would go unnoticed until the day on
 * which it matters. */
static const char *own_meta_fault(struct bytes key, struct bytes value)
{
    enum damp_mode damping;
    enum guard_mode guard;
    uint64_t ttl_ms;

    if (bytes_is(key, "muster-damping") && !damp_mode_of(value, &damping))
        return "must be observe, suppress or off";
    if (bytes_is(key, BEATS_META) && beats_ttl(value, &ttl_ms) != ERR_OK)
        return "must be a time of 5s or more";
    if (bytes_is(key, "muster-guard") && !guard_mode_parse(value, &guard))
        return "must be silence, all or off";
    return NULL;
}

static const char *meta_pair_fault(struct bytes key, struct bytes value)
{
    if (key.n == 0)
        return "Key cannot be blank";
    for (size_t i = 0; i < key.n; i++) {
        char ch = key.p[i];
        bool ok = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                  (ch >= '0' && ch <= '9') || ch == '_' || ch == '-';
        if (!ok)
            return "Key contains invalid characters";
    }
    if (key.n > META_KEY_MAX)
        return "Key is too long (limit: 128 characters)";
    if (bytes_starts(key, bytes_str("consul-")))
        return "Key prefix 'consul-' is reserved for internal use";
    if (value.n > META_VALUE_MAX)
        return "Value is too long (limit: 512 characters)";
    return own_meta_fault(key, value);
}

enum err meta_validate(const struct json_map *m, struct errtext *t)
{
    if (m->n > META_PAIRS_MAX) {
        errtext_set(t,
                    "Node metadata cannot contain more than %d key/value "
                    "pairs",
                    META_PAIRS_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < m->n; i++) {
        struct bytes key = m->v[i].key, value = m->v[i].value;
        const char *fault = meta_pair_fault(key, value);
        if (!fault)
            continue;
        /* Long ones are cut, or the reason would be. */
        errtext_set(t, "Couldn't load metadata pair ('%.*s', '%.*s'): %s",
                    BYTES_ARG(bytes_head(key, 24)),
                    BYTES_ARG(bytes_head(value, 24)), fault);
        return ERR_BAD;
    }
    return ERR_OK;
}

/* Guard into Meta, in the order of keys; an entry that is there is replaced. */
enum err guard_into_meta(struct arena *a, struct service_in *in,
                         struct errtext *t)
{
    struct bytes key = bytes_str("muster-guard");
    enum guard_mode mode;
    size_t at = 0;
    if (in->guard.n == 0)
        return ERR_OK;
    if (!guard_mode_parse(in->guard, &mode)) {
        errtext_set(t, "Invalid Guard \"%.*s\": must be silence, all or off",
                    BYTES_ARG(bytes_head(in->guard, 24)));
        return ERR_BAD;
    }
    struct json_pair *v = arena_alloc(a, (in->meta.n + 1) * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    while (at < in->meta.n && bytes_cmp(in->meta.v[at].key, key) < 0)
        at++;
    bool there = at < in->meta.n && bytes_eq(in->meta.v[at].key, key);
    size_t after = in->meta.n - at - there;
    if (at)
        memcpy(v, in->meta.v, at * sizeof *v);
    v[at] = (struct json_pair){.key = key, .value = in->guard};
    if (after)
        memcpy(v + at + 1, in->meta.v + at + there, after * sizeof *v);
    in->meta = (struct json_map){v, at + 1 + after, true};
    return ERR_OK;
}

enum err tenancy_validate(const struct tenancy_in *in, struct errtext *t)
{
    bool ns = in->ns.n && !bytes_is(in->ns, "default");
    bool partition = in->partition.n && !bytes_is(in->partition, "default");
    if (!ns && !partition)
        return ERR_OK;
    errtext_set(
        t,
        "Bad request: Invalid field: \"%s\" - %s are a Consul Enterprise "
        "feature",
        ns ? "Namespace" : "Partition", ns ? "Namespaces" : "Partitions");
    return ERR_BAD;
}

enum err weights_validate(const struct weights_in *w, struct errtext *t)
{
    const char *fault = NULL;
    if (!w)
        return ERR_OK;
    if (w->passing < 1)
        fault = "Passing must be greater than 0";
    else if (w->warning < 0)
        fault = "Warning must be greater or equal than 0";
    else if (w->passing > 65535 || w->warning > 65535)
        fault = "DNS Weight must be between 0 and 65535";
    if (!fault)
        return ERR_OK;
    errtext_set(t, "Invalid Weights: %s", fault);
    return ERR_BAD;
}

enum err tagged_validate(const struct json_named *tagged, struct errtext *t)
{
    const struct tagged_in *v = tagged->v;
    for (size_t i = 0; i < tagged->n; i++) {
        struct bytes name = tagged->names[i];
        bool v4 = bytes_is(name, "lan_ipv4") || bytes_is(name, "wan_ipv4");
        bool v6 = bytes_is(name, "lan_ipv6") || bytes_is(name, "wan_ipv6");
        char text[INET6_ADDRSTRLEN];
        unsigned char address[16];
        if (!v4 && !v6)
            continue;
        size_t n = v[i].address.n;
        bool ok = n > 0 && n < sizeof text;
        if (ok) {
            memcpy(text, v[i].address.p, n);
            text[n] = 0;
            ok = inet_pton(v4 ? AF_INET : AF_INET6, text, address) == 1;
        }
        if (!ok) {
            errtext_set(t,
                        "Service tagged address \"%.*s\" must be a valid "
                        "%s address",
                        BYTES_ARG(name), v4 ? "ipv4" : "ipv6");
            return ERR_BAD;
        }
    }
    return ERR_OK;
}

bool address_is_any(struct bytes a)
{
    return bytes_is(a, "0.0.0.0") || bytes_is(a, "::") || bytes_is(a, "[::]");
}
