/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the process says of itself: leader, peers, members, self, metrics. */
#include "api/impl.h"

#include <stdio.h>
#include <time.h>

#include "base/metric.h"

/* "127.0.0.1:8300", brackets around IPv6. */
void api_put_address(struct buf *out, struct bytes host, int port)
{
    bool v6 = bytes_find(host, ':') < host.n;
    if (v6)
        buf_putc(out, '[');
    buf_put(out, host);
    if (v6)
        buf_putc(out, ']');
    buf_printf(out, ":%d", port);
}

static void address_value(struct json_out *j, const char *scheme,
                          struct bytes host, int port)
{
    struct buf b;
    buf_init(&b, 512);
    buf_puts(&b, scheme);
    api_put_address(&b, host, port);
    json_str(j, buf_bytes(&b));
    buf_fini(&b);
}

static void member(struct json_out *j, const char *key, const char *value)
{
    json_key(j, key);
    json_str(j, bytes_str(value));
}

static void member_bytes(struct json_out *j, const char *key,
                         struct bytes value)
{
    json_key(j, key);
    json_str(j, value);
}

static void member_int(struct json_out *j, const char *key, int64_t v)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)v);
    member(j, key, text);
}

/* NULL: nobody leads, or nobody knows. */
static const struct api_server *leader_of(const struct api_env *env,
                                          struct api_server *room)
{
    size_t n;
    const struct api_server *v = api_servers(env, room, &n);

    if (!env->ready || env->leaderless || !env->self->is_server)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (v[i].leader)
            return &v[i];
    return NULL;
}

void read_status_leader(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct api_server room;
    const struct api_server *s = leader_of(env, &room);

    if (s)
        address_value(&j, "", s->address, s->server_port);
    else
        json_str(&j, (struct bytes){0});
}

void read_status_peers(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct api_server room;
    size_t n;
    const struct api_server *v = api_servers(env, &room, &n);

    json_open(&j, '[');
    for (size_t i = 0; i < n && env->self->is_server; i++)
        if (v[i].voter)
            address_value(&j, "", v[i].address, v[i].server_port);
    json_close(&j, ']');
}

/* --- Self ---------------------------------------------------------------- */

/* Go's client decodes every top-level value as an object: nothing else may
 * stand there. */
static void put_config(struct json_out *j, const struct api_self *self)
{
    json_open(j, '{');
    member_bytes(j, "Datacenter", self->datacenter);
    member_bytes(j, "PrimaryDatacenter", self->datacenter);
    member_bytes(j, "NodeName", self->node_name);
    member_bytes(j, "NodeID", self->node_id);
    member(j, "Revision", "");
    json_key(j, "Server");
    json_bool(j, self->is_server);
    member_bytes(j, "Version", self->version);
    member(j, "MusterVersion", MUSTER_VERSION);
    json_close(j, '}');
}

static void put_debug_config(struct json_out *j, const struct api_self *self)
{
    json_open(j, '{');
    json_key(j, "SerfAdvertiseAddrLAN");
    address_value(j, "tcp://", self->advertise_address, self->serf_lan_port);
    json_key(j, "SerfAdvertiseAddrWAN");
    address_value(j, "tcp://", self->advertise_address, self->serf_wan_port);
    json_key(j, "HTTPAddrs");
    json_open(j, '[');
    if (self->http_port > 0)
        address_value(j, "tcp://", self->bind_address, self->http_port);
    json_close(j, ']');
    json_key(j, "DNSAddrs");
    json_open(j, '[');
    if (self->dns_port > 0) {
        address_value(j, "tcp://", self->bind_address, self->dns_port);
        address_value(j, "udp://", self->bind_address, self->dns_port);
    }
    json_close(j, ']');
    member_bytes(j, "DNSDomain", self->domain);
    member_bytes(j, "Datacenter", self->datacenter);
    member_bytes(j, "NodeName", self->node_name);
    member_bytes(j, "NodeID", self->node_id);
    json_key(j, "ServerMode");
    json_bool(j, self->is_server);
    json_key(j, "DevMode");
    json_bool(j, self->is_dev);
    json_key(j, "TaggedAddresses");
    encode_map(j, self->tagged);
    json_key(j, "NodeMeta");
    encode_map(j, self->node_meta);
    json_close(j, '}');
}

static void put_stats_agent(struct json_out *j, const struct api_env *env)
{
    struct tree_iter it;
    int64_t services = 0, checks = 0, ttls = 0, monitors = 0;

    local_services(env->local, &it);
    while (local_next_service(&it))
        services++;
    local_checks(env->local, &it);
    for (const struct local_check *k; (k = local_next_check(&it)); checks++) {
        ttls += k->type == CHECK_TTL;
        monitors += k->type == CHECK_SCRIPT;
    }
    json_key(j, "agent");
    json_open(j, '{');
    member_int(j, "check_monitors", monitors);
    member_int(j, "check_ttls", ttls);
    member_int(j, "checks", checks);
    member_int(j, "services", services);
    json_close(j, '}');
}

static void put_stats_consul(struct json_out *j, const struct api_env *env)
{
    const struct api_self *self = env->self;
    struct api_server room;
    const struct api_server *leader = leader_of(env, &room);
    bool leads = leader && leader->self;

    json_key(j, self->is_server ? "consul" : "client");
    json_open(j, '{');
    member(j, "acl", "disabled");
    member(j, "bootstrap", self->is_server ? "true" : "false");
    member(j, "known_datacenters", "1");
    member(j, "leader", leads ? "true" : "false");
    json_key(j, "leader_addr");
    if (leader)
        address_value(j, "", leader->address, leader->server_port);
    else
        json_str(j, (struct bytes){0});
    member(j, "server", self->is_server ? "true" : "false");
    json_close(j, '}');
}

static void put_stats(struct json_out *j, const struct api_env *env)
{
    json_open(j, '{');
    put_stats_agent(j, env);
    json_key(j, "build");
    json_open(j, '{');
    member(j, "prerelease", "");
    member(j, "revision", "");
    member_bytes(j, "version", env->self->version);
    member(j, "muster", MUSTER_VERSION);
    json_close(j, '}');
    put_stats_consul(j, env);
    json_key(j, "catalog");
    json_open(j, '{');
    member_int(j, "revision", (int64_t)snapshot_revision(env->cat));
    member_int(j, "floor", (int64_t)snapshot_floor(env->cat));
    member_int(j, "nodes", (int64_t)snapshot_node_count(env->cat));
    member_int(j, "services", (int64_t)snapshot_name_count(env->cat));
    member_int(j, "instances", (int64_t)snapshot_instance_count(env->cat));
    member_int(j, "checks", (int64_t)snapshot_check_count(env->cat));
    json_close(j, '}');
    json_key(j, "runtime");
    json_open(j, '{');
    member(j, "arch", "amd64");
    member(j, "os", "linux");
    member_int(j, "threads", (int64_t)env->threads);
    member_int(j, "uptime_s", (int64_t)(env->uptime_ms / 1000));
    member_int(j, "alloc_bytes", (int64_t)env->alloc_bytes);
    json_close(j, '}');
    json_close(j, '}');
}

void read_agent_self(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    json_key(&j, "Config");
    put_config(&j, env->self);
    json_key(&j, "DebugConfig");
    put_debug_config(&j, env->self);
    json_key(&j, "Coord");
    json_raw(&j, bytes_str("{\"Vec\":[0,0,0,0,0,0,0,0],\"Error\":1.5,"
                           "\"Adjustment\":0,\"Height\":0.00001}"));
    json_key(&j, "Member");
    put_self(&j, env, false, NULL);
    json_key(&j, "Stats");
    put_stats(&j, env);
    json_key(&j, "Meta");
    encode_map(&j, env->self->node_meta);
    json_close(&j, '}');
}

/* --- Metrics ------------------------------------------------------------- */

struct runtime_gauge {
    const char *name;
    uint64_t value;
};

enum { RUNTIME_GAUGES = 3 };

static void runtime_gauges(const struct api_env *env,
                           struct runtime_gauge out[RUNTIME_GAUGES])
{
    out[0] = (struct runtime_gauge){"runtime.alloc_bytes", env->alloc_bytes};
    out[1] = (struct runtime_gauge){"runtime.sys_bytes", env->sys_bytes};
    out[2] =
        (struct runtime_gauge){"runtime.uptime_seconds", env->uptime_ms / 1000};
}

static void json_gauge(struct json_out *j, const char *name, int64_t value)
{
    char full[96];
    snprintf(full, sizeof full, "consul.%s", name);
    json_open(j, '{');
    member(j, "Name", full);
    json_key(j, "Value");
    json_i64(j, value);
    json_key(j, "Labels");
    json_raw(j, bytes_str("{}"));
    json_close(j, '}');
}

static void json_counter(struct json_out *j, const char *name, int64_t value)
{
    char full[96];
    snprintf(full, sizeof full, "consul.%s", name);
    json_open(j, '{');
    member(j, "Name", full);
    json_key(j, "Count");
    json_i64(j, value);
    json_key(j, "Sum");
    json_i64(j, value);
    json_key(j, "Labels");
    json_raw(j, bytes_str("{}"));
    json_close(j, '}');
}

/* "2026-11-23 08:06:20 +0000 UTC" */
static void timestamp(struct json_out *j, uint64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
    member(j, "Timestamp", text);
}

static void metrics_json(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct runtime_gauge gauges[RUNTIME_GAUGES];
    runtime_gauges(env, gauges);
    json_open(&j, '{');
    timestamp(&j, env->wall_ms);
    json_key(&j, "Gauges");
    json_open(&j, '[');
    for (int i = 0; i < RUNTIME_GAUGES; i++)
        json_gauge(&j, gauges[i].name, (int64_t)gauges[i].value);
    for (int m = 0; m < METRIC_COUNT; m++)
        if (metric_kind_of((enum metric)m) == METRIC_GAUGE)
            json_gauge(&j, metric_name((enum metric)m),
                       metric_get((enum metric)m));
    json_close(&j, ']');
    json_key(&j, "Points");
    json_raw(&j, bytes_str("[]"));
    json_key(&j, "Counters");
    json_open(&j, '[');
    for (int m = 0; m < METRIC_COUNT; m++)
        if (metric_kind_of((enum metric)m) == METRIC_COUNTER)
            json_counter(&j, metric_name((enum metric)m),
                         metric_get((enum metric)m));
    json_close(&j, ']');
    json_key(&j, "Samples");
    json_raw(&j, bytes_str("[]"));
    json_close(&j, '}');
}

/* Text exposition format 0.0.4; dots become underscores. */
static void prometheus_line(struct buf *out, const char *name, const char *help,
                            const char *type, int64_t value)
{
    char flat[96];
    snprintf(flat, sizeof flat, "muster_%s", name);
    for (char *p = flat; *p; p++)
        if (*p == '.')
            *p = '_';
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s %lld\n", flat, help, flat,
               type, flat, (long long)value);
}

static void metrics_prometheus(struct api_call *c, const struct api_env *env)
{
    struct runtime_gauge gauges[RUNTIME_GAUGES];
    runtime_gauges(env, gauges);
    c->want_lags = true;
    c->content_type = "text/plain; version=0.0.4; charset=utf-8";
    for (int i = 0; i < RUNTIME_GAUGES; i++)
        prometheus_line(&c->body, gauges[i].name, "of the process", "gauge",
                        (int64_t)gauges[i].value);
    for (int m = 0; m < METRIC_COUNT; m++)
        prometheus_line(
            &c->body, metric_name((enum metric)m), metric_help((enum metric)m),
            metric_kind_of((enum metric)m) == METRIC_GAUGE ? "gauge"
                                                           : "counter",
            metric_get((enum metric)m));
}

/* There is nothing to retain here: only who says 0 does without it. */
void read_agent_metrics(struct api_call *c, const struct api_env *env)
{
    struct bytes accept = http_header(c->request, "Accept");
    bool text =
        bytes_is(http_param_value(c->request, "format"), "prometheus") ||
        bytes_starts(accept, bytes_str("application/openmetrics-text"));
    if (bytes_starts(accept, bytes_str("text/plain")) &&
        memmem(accept.p, accept.n, "version=0.0.4", 13))
        text = true;
    if (text && !env->self->prometheus)
        api_error(c, 415,
                  "Prometheus is not enabled since its retention time is not "
                  "positive");
    else if (text)
        metrics_prometheus(c, env);
    else
        metrics_json(c, env);
}
