/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What operators' tools ask of the servers: there is one, and it leads. */
#include "api/impl.h"

#include <stdio.h>
#include <time.h>

static bool leads(const struct api_env *env)
{
    return env->ready && !env->leaderless;
}

static void member(struct json_out *j, const char *key, struct bytes v)
{
    json_key(j, key);
    json_str(j, v);
}

static void flag(struct json_out *j, const char *key, bool v)
{
    json_key(j, key);
    json_bool(j, v);
}

static void number(struct json_out *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

static void address(struct json_out *j, const struct api_self *self)
{
    struct buf b;
    buf_init(&b, 512);
    api_put_address(&b, self->advertise_address, self->server_port);
    member(j, "Address", buf_bytes(&b));
    buf_fini(&b);
}

void read_raft_configuration(struct api_call *c, const struct api_env *env)
{
    const struct api_self *self = env->self;
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    json_key(&j, "Servers");
    json_open(&j, '[');
    json_open(&j, '{');
    member(&j, "ID", self->node_id);
    member(&j, "Node", self->node_name);
    address(&j, self);
    flag(&j, "Leader", leads(env));
    member(&j, "ProtocolVersion", bytes_str("3"));
    flag(&j, "Voter", true);
    json_close(&j, '}');
    json_close(&j, ']');
    number(&j, "Index", 0);
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
    flag(&j, "CleanupDeadServers", true);
    member(&j, "LastContactThreshold", bytes_str("200ms"));
    number(&j, "MaxTrailingLogs", 250);
    number(&j, "MinQuorum", 0);
    member(&j, "ServerStabilizationTime", bytes_str("10s"));
    member(&j, "RedundancyZoneTag", (struct bytes){0});
    flag(&j, "DisableUpgradeMigration", false);
    member(&j, "UpgradeVersionTag", (struct bytes){0});
    number(&j, "CreateIndex", 0);
    number(&j, "ModifyIndex", 0);
    json_close(&j, '}');
}

static void stable_since(struct json_out *j, const struct api_env *env)
{
    time_t t = (time_t)((env->wall_ms - env->uptime_ms) / 1000);
    struct tm tm;
    char text[40];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    member(j, "StableSince", bytes_str(text));
}

static void server_health(struct json_out *j, const struct api_env *env,
                          bool state)
{
    const struct api_self *self = env->self;
    json_open(j, '{');
    member(j, "ID", self->node_id);
    member(j, "Name", self->node_name);
    address(j, self);
    member(j, state ? "NodeStatus" : "SerfStatus", bytes_str("alive"));
    member(j, "Version", self->version);
    if (!state)
        flag(j, "Leader", leads(env));
    member(j, "LastContact", bytes_str("0s"));
    number(j, "LastTerm", 1);
    number(j, "LastIndex", snapshot_revision(env->cat));
    flag(j, "Healthy", leads(env));
    if (!state)
        flag(j, "Voter", true);
    stable_since(j, env);
    if (state) {
        member(j, "Status", bytes_str(leads(env) ? "leader" : "voter"));
        json_key(j, "Meta");
        json_raw(j, bytes_str("{}"));
        member(j, "NodeType", bytes_str("voter"));
    }
    json_close(j, '}');
}

/* 429 when unhealthy, with the same body. */
void read_autopilot_health(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    flag(&j, "Healthy", leads(env));
    number(&j, "FailureTolerance", 0);
    json_key(&j, "Servers");
    json_open(&j, '[');
    server_health(&j, env, false);
    json_close(&j, ']');
    json_close(&j, '}');
    if (!leads(env))
        c->status = 429;
}

void read_autopilot_state(struct api_call *c, const struct api_env *env)
{
    const struct api_self *self = env->self;
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    flag(&j, "Healthy", leads(env));
    number(&j, "FailureTolerance", 0);
    number(&j, "OptimisticFailureTolerance", 0);
    json_key(&j, "Servers");
    json_open(&j, '{');
    json_key_bytes(&j, self->node_id);
    server_health(&j, env, true);
    json_close(&j, '}');
    member(&j, "Leader", leads(env) ? self->node_id : (struct bytes){0});
    json_key(&j, "Voters");
    json_open(&j, '[');
    json_str(&j, self->node_id);
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
    member(&j, "SHA", (struct bytes){0});
    member(&j, "BuildDate", bytes_str("0001-01-01T00:00:00Z"));
    member(&j, "HumanVersion", env->self->version);
    member(&j, "FIPS", (struct bytes){0});
    member(&j, "MusterVersion", bytes_str(MUSTER_VERSION));
    json_close(&j, '}');
}

void api_cluster_member(const struct api_env *env, struct json_out *j)
{
    char hex[24];

    (void)snprintf(hex, sizeof hex, "etcd-%016llx",
                   (unsigned long long)env->store_id);
    member(j, "Cluster", env->store_id ? bytes_str(hex) : env->self->node_id);
}

void read_muster_id(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '{');
    api_cluster_member(env, &j);
    member(&j, "Datacenter", env->self->datacenter);
    member(&j, "Version", bytes_str(MUSTER_VERSION));
    json_close(&j, '}');
}
