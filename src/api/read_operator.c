/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What operators' tools ask of the servers: who there are, who leads, how they
 * are. */
#include "api/impl.h"

#include <stdio.h>
#include <time.h>

#include "base/duration.h"

static bool leads(const struct api_env *env)
{
    return env->ready && !env->leaderless;
}

static void address(struct json_out *j, const struct api_server *s)
{
    struct buf b;
    buf_init(&b, 512);
    api_put_address(&b, s->address, s->server_port);
    json_member_str(j, "Address", buf_bytes(&b));
    buf_fini(&b);
}

/* One that is alone is all there is. */
const struct api_server *api_servers(const struct api_env *env,
                                     struct api_server *room, size_t *ret_n)
{
    const struct api_self *self = env->self;
    const struct api_cluster *cl = env->cluster;

    if (cl && cl->managed) {
        *ret_n = cl->fresh ? 0 : cl->server_count;
        return cl->servers;
    }
    *room = (struct api_server){
        .id = self->node_id,
        .node = self->node_name,
        .version = self->version,
        .address = self->advertise_address,
        .server_port = self->server_port > 0 ? (uint16_t)self->server_port : 0,
        .self = true,
        .leader = leads(env),
        .voter = true,
        .alive = true,
        .store_index = snapshot_revision(env->cat),
        .store_term = 1,
    };
    *ret_n = 1;
    return room;
}

void read_raft_configuration(struct api_call *c, const struct api_env *env)
{
    struct api_server room;
    size_t n;
    const struct api_server *v = api_servers(env, &room, &n);
    struct json_out j = json_out(&c->body);

    /* Just started, and its etcd has not said yet who there is. */
    if (n == 0 && !env->cluster->fresh) {
        api_error(c, 500, "No cluster leader");
        return;
    }
    json_open(&j, '{');
    json_key(&j, "Servers");
    json_open(&j, '[');
    for (size_t i = 0; i < n; i++) {
        json_open(&j, '{');
        json_member_str(&j, "ID", v[i].id);
        json_member_str(&j, "Node", v[i].node);
        address(&j, &v[i]);
        json_member_bool(&j, "Leader", v[i].leader && leads(env));
        json_member_str(&j, "ProtocolVersion", bytes_str("3"));
        json_member_bool(&j, "Voter", v[i].voter);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_member_u64(&j, "Index", 0);
    json_close(&j, '}');
}

/* What it decides is Consul's to decide: shown as it is there by default. */
void read_autopilot_configuration(struct api_call *c, const struct api_env *env)
{
    if (c->request->method != HTTP_GET) {
        read_unsupported(c, env);
        return;
    }
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    json_member_bool(&j, "CleanupDeadServers", true);
    json_member_str(&j, "LastContactThreshold", bytes_str("200ms"));
    json_member_u64(&j, "MaxTrailingLogs", 250);
    json_member_u64(&j, "MinQuorum", 0);
    json_member_str(&j, "ServerStabilizationTime", bytes_str("10s"));
    json_member_str(&j, "RedundancyZoneTag", (struct bytes){0});
    json_member_bool(&j, "DisableUpgradeMigration", false);
    json_member_str(&j, "UpgradeVersionTag", (struct bytes){0});
    json_member_u64(&j, "CreateIndex", 0);
    json_member_u64(&j, "ModifyIndex", 0);
    json_close(&j, '}');
}

static void stable_since(struct json_out *j, const struct api_env *env)
{
    time_t t = (time_t)((env->wall_ms - env->uptime_ms) / 1000);
    struct tm tm;
    char text[40];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    json_member_str(j, "StableSince", bytes_str(text));
}

/* As Go prints a time.Duration. */
static void last_contact(struct json_out *j, const struct api_server *s)
{
    struct buf b = {0};

    duration_print(&b, (int64_t)s->contact_ms * 1000000);
    json_member_str(j, "LastContact", buf_bytes(&b));
    buf_fini(&b);
}

static bool is_well(const struct api_env *env, const struct api_server *s)
{
    return s->alive && leads(env);
}

static void server_health(struct json_out *j, const struct api_env *env,
                          const struct api_server *s, bool state)
{
    bool leader = s->leader && leads(env);

    json_open(j, '{');
    json_member_str(j, "ID", s->id);
    json_member_str(j, "Name", s->node);
    address(j, s);
    json_member_str(j, state ? "NodeStatus" : "SerfStatus",
                    bytes_str(s->alive ? "alive" : "failed"));
    json_member_str(j, "Version", s->self ? env->self->version : s->version);
    json_member_str(j, "MusterVersion",
                    s->self ? bytes_str(MUSTER_VERSION) : s->muster_version);
    if (s->disk_free || s->disk_full) {
        json_member_u64(j, "MusterDiskFree", s->disk_free);
        json_member_bool(j, "MusterDiskFull", s->disk_full);
    }
    if (!state)
        json_member_bool(j, "Leader", leader);
    last_contact(j, s);
    json_member_u64(j, "LastTerm", s->store_term);
    json_member_u64(j, "LastIndex", s->store_index);
    json_member_bool(j, "Healthy", is_well(env, s));
    if (!state)
        json_member_bool(j, "Voter", s->voter);
    stable_since(j, env);
    if (state) {
        json_member_str(j, "Status",
                        bytes_str(leader     ? "leader"
                                  : s->voter ? "voter"
                                             : "non-voter"));
        json_key(j, "Meta");
        json_raw(j, bytes_str("{}"));
        json_member_str(j, "NodeType", bytes_str("voter"));
    }
    json_close(j, '}');
}

/* How many more may be lost before nobody can write. */
static uint64_t tolerance(const struct api_env *env, const struct api_server *v,
                          size_t n, bool *ret_healthy)
{
    size_t voters = 0, well = 0;

    *ret_healthy = leads(env);
    for (size_t i = 0; i < n; i++) {
        voters += v[i].voter;
        well += v[i].voter && is_well(env, &v[i]);
        *ret_healthy &= is_well(env, &v[i]);
    }
    size_t quorum = voters / 2 + 1;
    return well > quorum ? well - quorum : 0;
}

/* 429 when unhealthy, with the same body. */
void read_autopilot_health(struct api_call *c, const struct api_env *env)
{
    struct api_server room;
    char crowd[API_CROWD_TEXT];
    size_t n;
    bool healthy;
    const struct api_server *v = api_servers(env, &room, &n);
    uint64_t more = tolerance(env, v, n, &healthy);
    struct json_out j = json_out(&c->body);

    json_open(&j, '{');
    json_member_bool(&j, "Healthy", healthy);
    json_member_u64(&j, "FailureTolerance", more);
    json_key(&j, "Servers");
    json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        server_health(&j, env, &v[i], false);
    json_close(&j, ']');
    api_count_servers(env, crowd);
    if (crowd[0])
        json_member_str(&j, "MusterWarning", bytes_str(crowd));
    json_close(&j, '}');
    if (!healthy)
        c->status = 429;
}

void read_autopilot_state(struct api_call *c, const struct api_env *env)
{
    struct api_server room;
    struct bytes leader = {0};
    size_t n;
    bool healthy;
    const struct api_server *v = api_servers(env, &room, &n);
    uint64_t more = tolerance(env, v, n, &healthy);
    struct json_out j = json_out(&c->body);

    json_open(&j, '{');
    json_member_bool(&j, "Healthy", healthy);
    json_member_u64(&j, "FailureTolerance", more);
    json_member_u64(&j, "OptimisticFailureTolerance", more);
    json_key(&j, "Servers");
    json_open(&j, '{');
    for (size_t i = 0; i < n; i++) {
        json_key_bytes(&j, v[i].id);
        server_health(&j, env, &v[i], true);
        if (v[i].leader && leads(env))
            leader = v[i].id;
    }
    json_close(&j, '}');
    json_member_str(&j, "Leader", leader);
    json_key(&j, "Voters");
    json_open(&j, '[');
    for (size_t i = 0; i < n; i++)
        if (v[i].voter)
            json_str(&j, v[i].id);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* In Consul's words: there is no gossip, so there is nothing to encrypt. */
void read_keyring(struct api_call *c, const struct api_env *env)
{
    const struct api_self *self = env->self;
    bool list = c->request->method == HTTP_GET;
    const char *why = list ? "Keyring is empty (encryption not enabled)"
                           : "No keyring to modify (encryption not enabled)";
    api_error(c, 500,
              "4 errors occurred:\n"
              "\t* WAN error: 1/1 nodes reported failure\n"
              "\t* %.*s.%.*s: %s\n"
              "\t* %.*s (LAN) error: 1/1 nodes reported failure\n"
              "\t* %.*s: %s\n\n",
              BYTES_ARG(self->node_name), BYTES_ARG(self->datacenter), why,
              BYTES_ARG(self->datacenter), BYTES_ARG(self->node_name), why);
}

void read_agent_version(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    json_member_str(&j, "SHA", (struct bytes){0});
    json_member_str(&j, "BuildDate", bytes_str("0001-01-01T00:00:00Z"));
    json_member_str(&j, "HumanVersion", env->self->version);
    json_member_str(&j, "FIPS", (struct bytes){0});
    json_member_str(&j, "MusterVersion", bytes_str(MUSTER_VERSION));
    json_close(&j, '}');
}

void api_cluster_member(const struct api_env *env, struct json_out *j)
{
    char hex[24];

    (void)snprintf(hex, sizeof hex, "etcd-%016llx",
                   (unsigned long long)env->store_id);
    json_member_str(j, "Cluster",
                    env->store_id ? bytes_str(hex) : env->self->node_id);
}

void read_muster_id(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    api_cluster_member(env, &j);
    json_member_str(&j, "Datacenter", env->self->datacenter);
    json_member_str(&j, "Version", bytes_str(MUSTER_VERSION));
    json_close(&j, '}');
}
