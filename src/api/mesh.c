/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a registration says about its proxy, its ports and its place. There is
 * no mesh here: it is kept for those who ask for it, as text in the form in
 * which Consul gives it back. That form is made when it comes in, because one
 * registration with a member of another type would make the whole list of a
 * service unreadable for typed clients.
 *
 * Members whose names are not in these tables are dropped, as in Consul. */
#include "api/impl.h"
#include "api/table.h"

struct mode_in {
    struct bytes mode;
};

struct transparent_in {
    int64_t outbound_listener_port;
    bool dialed_directly;
};

struct expose_path_in {
    int64_t listener_port, local_path_port;
    struct bytes path, protocol;
    bool parsed_from_check;
};

struct expose_in {
    bool checks;
    struct json_list paths; /* of expose_path_in */
};

struct access_logs_in {
    bool enabled, disable_listener_logs;
    struct bytes type, path, json_format, text_format;
};

struct extension_in {
    struct bytes name, arguments, consul_version, envoy_version;
    bool required;
};

struct upstream_in {
    struct bytes type, partition, ns, peer, name, port, datacenter;
    struct bytes bind_address, socket_path, socket_mode, config;
    int64_t bind_port;
    struct mode_in *gateway;
    bool centrally_configured;
};

struct port_in {
    struct bytes name;
    int64_t port;
    bool is_default;
};

struct proxy_in {
    struct json_list extensions;  /* of extension_in */
    struct json_list local_ports; /* of port_in */
    struct json_list upstreams;   /* of upstream_in */
    struct bytes service_name, service_id, local_address, local_socket;
    struct bytes mode, config;
    int64_t local_port;
    struct transparent_in *transparent;
    struct mode_in *gateway;
    struct expose_in *expose;
    struct access_logs_in *logs;
};

struct connect_in {
    bool native;
    struct bytes sidecar;
};

struct locality_in {
    struct bytes region, zone;
};

/* clang-format off */
static const struct json_field mode_fields[] = {
    FIELD(mode_in, "Mode", NULL, FIELD_STRING, mode),
};
static const struct json_table mode_table = TABLE(mode_fields, mode_in);

static const struct json_field transparent_fields[] = {
    FIELD(transparent_in, "OutboundListenerPort", "outbound_listener_port", FIELD_INT, outbound_listener_port),
    FIELD(transparent_in, "DialedDirectly", "dialed_directly", FIELD_BOOL, dialed_directly),
};
static const struct json_table transparent_table = TABLE(transparent_fields, transparent_in);

static const struct json_field expose_path_fields[] = {
    FIELD(expose_path_in, "ListenerPort", "listener_port", FIELD_INT, listener_port),
    FIELD(expose_path_in, "Path", NULL, FIELD_STRING, path),
    FIELD(expose_path_in, "LocalPathPort", "local_path_port", FIELD_INT, local_path_port),
    FIELD(expose_path_in, "Protocol", NULL, FIELD_STRING, protocol),
    FIELD(expose_path_in, "ParsedFromCheck", NULL, FIELD_BOOL, parsed_from_check),
};
static const struct json_table expose_path_table = TABLE(expose_path_fields, expose_path_in);

static const struct json_field expose_fields[] = {
    FIELD(expose_in, "Checks", NULL, FIELD_BOOL, checks),
    FIELD_OF(expose_in, "Paths", NULL, FIELD_LIST, paths, &expose_path_table),
};
static const struct json_table expose_table = TABLE(expose_fields, expose_in);

static const struct json_field access_logs_fields[] = {
    FIELD(access_logs_in, "Enabled", NULL, FIELD_BOOL, enabled),
    FIELD(access_logs_in, "DisableListenerLogs", "disable_listener_logs", FIELD_BOOL, disable_listener_logs),
    FIELD(access_logs_in, "Type", NULL, FIELD_STRING, type),
    FIELD(access_logs_in, "Path", NULL, FIELD_STRING, path),
    FIELD(access_logs_in, "JSONFormat", "json_format", FIELD_STRING, json_format),
    FIELD(access_logs_in, "TextFormat", "text_format", FIELD_STRING, text_format),
};
static const struct json_table access_logs_table = TABLE(access_logs_fields, access_logs_in);

static const struct json_field extension_fields[] = {
    FIELD(extension_in, "Name", NULL, FIELD_STRING, name),
    FIELD(extension_in, "Required", NULL, FIELD_BOOL, required),
    FIELD(extension_in, "Arguments", NULL, FIELD_RAW, arguments),
    FIELD(extension_in, "ConsulVersion", "consul_version", FIELD_STRING, consul_version),
    FIELD(extension_in, "EnvoyVersion", "envoy_version", FIELD_STRING, envoy_version),
};
static const struct json_table extension_table = TABLE(extension_fields, extension_in);

static const struct json_field upstream_fields[] = {
    FIELD(upstream_in, "DestinationType", "destination_type", FIELD_STRING, type),
    FIELD(upstream_in, "DestinationPartition", "destination_partition", FIELD_STRING, partition),
    FIELD(upstream_in, "DestinationNamespace", "destination_namespace", FIELD_STRING, ns),
    FIELD(upstream_in, "DestinationPeer", "destination_peer", FIELD_STRING, peer),
    FIELD(upstream_in, "DestinationName", "destination_name", FIELD_STRING, name),
    FIELD(upstream_in, "DestinationPort", "destination_port", FIELD_STRING, port),
    FIELD(upstream_in, "Datacenter", NULL, FIELD_STRING, datacenter),
    FIELD(upstream_in, "LocalBindAddress", "local_bind_address", FIELD_STRING, bind_address),
    FIELD(upstream_in, "LocalBindPort", "local_bind_port", FIELD_INT, bind_port),
    FIELD(upstream_in, "LocalBindSocketPath", "local_bind_socket_path", FIELD_STRING, socket_path),
    FIELD(upstream_in, "LocalBindSocketMode", "local_bind_socket_mode", FIELD_STRING, socket_mode),
    FIELD(upstream_in, "Config", NULL, FIELD_RAW, config),
    FIELD_OF(upstream_in, "MeshGateway", "mesh_gateway", FIELD_OBJECT, gateway, &mode_table),
    FIELD(upstream_in, "CentrallyConfigured", NULL, FIELD_BOOL, centrally_configured),
};
static const struct json_table upstream_table = TABLE(upstream_fields, upstream_in);

static const struct json_field port_fields[] = {
    FIELD(port_in, "Name", NULL, FIELD_STRING, name),
    FIELD(port_in, "Port", NULL, FIELD_INT, port),
    FIELD(port_in, "Default", NULL, FIELD_BOOL, is_default),
};
static const struct json_table port_table = TABLE(port_fields, port_in);

static const struct json_field proxy_fields[] = {
    FIELD_OF(proxy_in, "EnvoyExtensions", "envoy_extensions", FIELD_LIST, extensions, &extension_table),
    FIELD(proxy_in, "DestinationServiceName", "destination_service_name", FIELD_STRING, service_name),
    FIELD(proxy_in, "DestinationServiceID", "destination_service_id", FIELD_STRING, service_id),
    FIELD(proxy_in, "LocalServiceAddress", "local_service_address", FIELD_STRING, local_address),
    FIELD(proxy_in, "LocalServicePort", "local_service_port", FIELD_INT, local_port),
    FIELD_OF(proxy_in, "LocalServicePorts", "local_service_ports", FIELD_LIST, local_ports, &port_table),
    FIELD(proxy_in, "LocalServiceSocketPath", "local_service_socket_path", FIELD_STRING, local_socket),
    FIELD(proxy_in, "Mode", NULL, FIELD_STRING, mode),
    FIELD_OF(proxy_in, "TransparentProxy", "transparent_proxy", FIELD_OBJECT, transparent, &transparent_table),
    FIELD(proxy_in, "Config", NULL, FIELD_RAW, config),
    FIELD_OF(proxy_in, "Upstreams", NULL, FIELD_LIST, upstreams, &upstream_table),
    FIELD_OF(proxy_in, "MeshGateway", "mesh_gateway", FIELD_OBJECT, gateway, &mode_table),
    FIELD_OF(proxy_in, "Expose", NULL, FIELD_OBJECT, expose, &expose_table),
    FIELD_OF(proxy_in, "AccessLogs", "access_logs", FIELD_OBJECT, logs, &access_logs_table),
};
static const struct json_table proxy_table = TABLE(proxy_fields, proxy_in);

static const struct json_field connect_fields[] = {
    FIELD(connect_in, "Native", NULL, FIELD_BOOL, native),
    FIELD(connect_in, "SidecarService", "sidecar_service", FIELD_RAW, sidecar),
};
static const struct json_table connect_table = TABLE(connect_fields, connect_in);

static const struct json_field locality_fields[] = {
    FIELD(locality_in, "Region", NULL, FIELD_STRING, region),
    FIELD(locality_in, "Zone", NULL, FIELD_STRING, zone),
};
static const struct json_table locality_table = TABLE(locality_fields, locality_in);
/* clang-format on */

static bool is_null(struct bytes raw)
{
    return raw.n == 0 || bytes_is(raw, "null");
}

/* Free-form members are maps to typed clients. */
static enum err want_map(struct bytes *raw, const char *field,
                         struct errtext *t)
{
    if (is_null(*raw) || bytes_is(*raw, "{}"))
        *raw = (struct bytes){0};
    if (raw->n == 0 || raw->p[0] == '{')
        return ERR_OK;
    const char *type = raw->p[0] == '['                       ? "array"
                       : raw->p[0] == '"'                     ? "string"
                       : raw->p[0] == 't' || raw->p[0] == 'f' ? "bool"
                                                              : "number";
    errtext_set(t,
                "json: cannot unmarshal %s into Go struct field .%s of type "
                "map[string]interface {}",
                type, field);
    return ERR_BAD;
}

static enum err maps_of_proxy(struct proxy_in *p, struct errtext *t)
{
    static struct mode_in no_mode;
    static struct expose_in no_expose;
    struct upstream_in *u = p->upstreams.v;
    struct extension_in *x = p->extensions.v;
    enum err e = want_map(&p->config, "Config", t);
    for (size_t i = 0; e == ERR_OK && i < p->upstreams.n; i++) {
        e = want_map(&u[i].config, "Upstreams.Config", t);
        if (!u[i].gateway)
            u[i].gateway = &no_mode; /* Consul always shows it */
    }
    for (size_t i = 0; e == ERR_OK && i < p->extensions.n; i++)
        e = want_map(&x[i].arguments, "EnvoyExtensions.Arguments", t);
    if (!p->gateway)
        p->gateway = &no_mode;
    if (!p->expose)
        p->expose = &no_expose;
    return e;
}

static enum err again(struct arena *a, const struct json_table *table,
                      const void *in, struct bytes *raw)
{
    struct buf b;
    buf_init(&b, 0);
    struct json_out j = json_out(&b);
    table_encode(&j, table, in);
    *raw = b.bad ? (struct bytes){0} : arena_copy(a, buf_bytes(&b));
    buf_fini(&b);
    return raw->p ? ERR_OK : ERR_NOMEM;
}

static enum err take_proxy(struct arena *a, struct service_in *in,
                           struct errtext *t)
{
    struct proxy_in p;
    if (is_null(in->proxy)) {
        in->proxy = (struct bytes){0};
        return ERR_OK;
    }
    enum err e = json_decode(in->proxy, &proxy_table, &p, a, t);
    if (e == ERR_OK)
        e = maps_of_proxy(&p, t);
    if (e != ERR_OK)
        return e;
    return again(a, &proxy_table, &p, &in->proxy);
}

enum err mesh_sidecar(struct arena *a, struct service_in *in,
                      const struct service_in *of, struct errtext *t)
{
    struct proxy_in p = {0};
    enum err e = ERR_OK;
    if (!is_null(in->proxy))
        e = json_decode(in->proxy, &proxy_table, &p, a, t);
    if (e == ERR_OK)
        e = maps_of_proxy(&p, t);
    if (e != ERR_OK)
        return e;
    if (p.service_name.n == 0)
        p.service_name = of->name;
    if (p.service_id.n == 0)
        p.service_id = of->id.n ? of->id : of->name;
    if (p.local_address.n == 0)
        p.local_address = bytes_str("127.0.0.1");
    if (p.local_port < 1)
        p.local_port = of->port;
    in->proxy_local_address = p.local_address;
    return again(a, &proxy_table, &p, &in->proxy);
}

/* A sidecar is a service of its own: it goes out of the text. */
static enum err take_connect(struct arena *a, struct service_in *in,
                             struct errtext *t)
{
    struct connect_in c;
    struct bytes raw = in->connect;
    in->connect = (struct bytes){0};
    if (is_null(raw))
        return ERR_OK;
    enum err e = json_decode(raw, &connect_table, &c, a, t);
    if (e != ERR_OK)
        return e;
    if (c.native)
        in->connect = bytes_str("{\"Native\":true}");
    if (!is_null(c.sidecar))
        in->sidecar = c.sidecar;
    return ERR_OK;
}

static enum err take_ports(struct arena *a, struct service_in *in,
                           struct errtext *t)
{
    struct json_list ports;
    struct buf b;
    if (is_null(in->ports)) {
        in->ports = (struct bytes){0};
        return ERR_OK;
    }
    enum err e = json_decode_list(in->ports, &port_table, &ports, a, t);
    in->ports = (struct bytes){0};
    if (e != ERR_OK || ports.n == 0)
        return e;
    buf_init(&b, 0);
    struct json_out j = json_out(&b);
    json_open(&j, '[');
    for (size_t i = 0; i < ports.n; i++)
        table_encode(&j, &port_table, (struct port_in *)ports.v + i);
    json_close(&j, ']');
    in->ports = b.bad ? (struct bytes){0} : arena_copy(a, buf_bytes(&b));
    buf_fini(&b);
    return in->ports.p ? ERR_OK : ERR_NOMEM;
}

static enum err take_locality(struct arena *a, struct service_in *in,
                              struct errtext *t)
{
    struct locality_in l;
    if (is_null(in->locality)) {
        in->locality = (struct bytes){0};
        return ERR_OK;
    }
    enum err e = json_decode(in->locality, &locality_table, &l, a, t);
    return e == ERR_OK ? again(a, &locality_table, &l, &in->locality) : e;
}

/* Only its being an object is looked at: the shape is young. */
static enum err take_ai(struct arena *a, struct service_in *in,
                        struct errtext *t)
{
    (void)a;
    return want_map(&in->ai, "AI", t);
}

static enum err take_sidecar(struct arena *a, struct service_in *in,
                             struct errtext *t)
{
    struct service_in s;
    if (in->sidecar.n == 0)
        return ERR_OK;
    enum err e = json_decode(in->sidecar, &agent_service_table, &s, a, t);
    if (e != ERR_OK) {
        errtext_prefix(t, "SidecarService: ");
        return e;
    }
    return mesh_take(a, &s, t);
}

enum err mesh_take(struct arena *a, struct service_in *in, struct errtext *t)
{
    static const struct {
        const char *name;
        enum err (*take)(struct arena *a, struct service_in *in,
                         struct errtext *t);
    } parts[] = {{"Proxy: ", take_proxy}, {"Connect: ", take_connect},
                 {"Ports: ", take_ports}, {"Locality: ", take_locality},
                 {"", take_ai},           {"", take_sidecar}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        enum err e = parts[i].take(a, in, t);
        if (e == ERR_OK)
            continue;
        errtext_prefix(t, "%s", parts[i].name);
        return e;
    }
    return ERR_OK;
}
