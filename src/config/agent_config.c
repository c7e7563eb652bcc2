/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/agent_config.h"

#include "config/agent_parts.h"
#include "config/keys.h"

enum { SECOND_MS = 1000, HOUR_MS = 3600 * SECOND_MS };

/* Consul's, but for http_max_conns_per_client (200 there: too few for a proxy
 * that holds a long poll per service), dns_config.enable_truncate (false there:
 * three of thirty look complete) and the retention time of metrics for
 * Prometheus (0 there: none; here they cost nothing). */
const struct agent_config agent_defaults = {
    .datacenter = "dc1",
    .bind_addr = "0.0.0.0",
    .client_addr = "127.0.0.1",
    .ports = {.dns = 8600,
              .http = 8500,
              .https = -1,
              .grpc = -1,
              .grpc_tls = -1,
              .serf_lan = 8301,
              .serf_wan = 8302,
              .server = 8300},
    .store_quota = INT64_C(4) << 30,
    .join = {.interval_ms = 30 * SECOND_MS, .interval_wan_ms = 30 * SECOND_MS},
    .mirror = {.max_bytes = INT64_C(512) << 20,
               .max_age_ms = HOUR_MS,
               .failover_max_age_ms = 60 * SECOND_MS},
    .unix_mode = -1,
    .damping = {.mode = "observe",
                .half_life_ms = 60 * SECOND_MS,
                .max_ms = 300 * SECOND_MS,
                .suppress = 2500,
                .reuse = 750},
    .check_update_interval_ms = 300 * SECOND_MS,
    .check_output_max_size = 4096,
    .guard = {.mode_name = "silence", .window_ms = 30 * SECOND_MS},
    .reconnect_timeout_ms = 72 * HOUR_MS,
    .mirror_idle_ms = 600 * SECOND_MS,
    .log_level_name = "info",
    .log_level = LOG_INFO,
    .syslog_facility = "LOCAL0",
    .limits = {.http_max_conns_per_client = 4000,
               .http_max_body_bytes = 1 << 20,
               .http_max_header_bytes = 16 * 1024,
               .https_handshake_timeout_ms = 5 * SECOND_MS},
    .http_config = {.use_cache = true},
    .max_query_time_ms = 600 * SECOND_MS,
    .default_query_time_ms = 300 * SECOND_MS,
    .telemetry = {.prometheus_retention_time_ms = 24 * HOUR_MS,
                  .metrics_prefix = "consul"},
    .domain = "consul.",
    .ui = true,
    .dns = {.rrl_slip = 2,
            .recursor_timeout_ms = 2 * SECOND_MS,
            .max_stale_ms = UINT64_C(87600) * 3600 * SECOND_MS,
            .recursor_strategy = "sequential",
            .soa_refresh = 3600,
            .soa_retry = 600,
            .soa_expire = 86400,
            .enable_truncate = true,
            .node_meta_txt = true,
            .udp_answer_limit = 3,
            .order = "random"},
    .ui_content_path = "/ui/",
};

void agent_config_init(struct agent_config *c, struct arena *arena, bool dev)
{
    *c = agent_defaults;
    c->arena = arena;
    if (!dev)
        return;
    c->dev_mode = true;
    c->server = true;
    c->bootstrap = true;
    c->bind_addr = "127.0.0.1";
    c->log_level_name = "debug";
    c->enable_debug = true;
    c->ports.grpc = 8502;
}

const struct config_pos *agent_config_where(const struct agent_config *c,
                                            const char *key)
{
    const struct config_key *row = config_key_find(bytes_str(key));
    const struct config_value *v = row ? c->said[row - config_keys] : NULL;

    return v ? &v->pos : NULL;
}
