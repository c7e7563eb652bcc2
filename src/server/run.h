/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* run - one agent process from its settings to its exit code. */
#ifndef SERVER_RUN_H
#define SERVER_RUN_H

#include "base/arena.h"
#include "health/damp.h"
#include "local/op.h"
#include "loop/tls_psk.h"
#include "server/dns_live.h"
#include "store/store.h"

enum {
    RUN_ADDRESSES_MAX = 8,                         /* of one port */
    RUN_LISTENERS_MAX = 2 * RUN_ADDRESSES_MAX + 2, /* those of peers */
};

/* Where HTTP listens. */
struct run_listener {
    const char *address; /* or unix:///path */
    int port;
    bool tls;
    bool peers; /* for servers and agents, settings.peers */
};

/* Other servers and agents. */
struct run_peers {
    struct bytes secret;     /* encrypt; empty: plain HTTP, on loopback only */
    struct tls_psk psk;      /* of the secret */
    struct tls_server *tls;  /* NULL without */
    const char *const *join; /* HOST:PORT, in order */
    size_t join_count;
    size_t start_count; /* so many of them must answer at the first try: one */
    uint64_t retry_ms;
    uint64_t attempts_max; /* 0: no limit */
    uint64_t expect;       /* bootstrap_expect */
    uint64_t quota;        /* of an etcd of our own, bytes */
    bool bootstrap;
    bool wan;                /* there is a listener for other datacenters */
    const char *address_wan; /* told them */
    const char *const *join_wan;
    size_t join_wan_count;
    uint64_t retry_wan_ms;
};

/* What is kept of other datacenters (mirrors.h). */
struct run_mirror {
    bool off;                    /* nothing */
    const char *const *services; /* names and prefixes ("web-*"); none, and
                                  * no tags: all */
    size_t service_count;
    const char *const *tags; /* and services with one of these */
    size_t tag_count;
    size_t bytes_max; /* of all together */
    uint64_t age_max_ms, failover_age_max_ms;
};

/* Everything that configuration and command line decide; strings live as long
 * as the process. */
struct settings {
    const char *node_name, *node_id, *datacenter, *domain;
    struct dns_plan dns;  /* dns_live.h */
    const char *data_dir; /* NULL: in memory */
    const char *bind_addr, *advertise_addr;
    struct run_listener listeners[RUN_LISTENERS_MAX];
    size_t listener_count;
    struct run_peers peers;
    struct run_mirror mirror;
    struct tls_server *https; /* NULL: nothing listens with TLS */
    unsigned unix_mode;
    const char *unix_user, *unix_group;
    struct bytes tagged; /* packed pairs, by name */
    uint32_t tagged_count;
    int http_port, https_port, dns_port, grpc_port, serf_lan_port,
        serf_wan_port, server_port; /* -1: off */
    bool is_server, is_dev, ui;
    struct bytes node_meta; /* packed pairs (catalog/record.h) */
    uint32_t node_meta_count;

    bool scripts_allowed, scripts_allowed_local;
    struct tls_files check_tls;
    const char *docker_host; /* NULL: the usual socket */
    struct damp_rule damping;
    uint64_t reconnect_ms;   /* until a failed node is removed */
    uint64_t mirror_idle_ms; /* of an agent */
    uint64_t check_update_interval_ms;
    size_t output_max;
    bool discard_output;
    enum guard_mode guard;
    uint64_t guard_window_ms;

    bool leave_on_terminate, skip_leave_on_interrupt;
    const char *pid_file;

    uint32_t http_max_conns, http_max_conns_per_client;
    uint32_t handshake_ms;
    size_t http_max_body_bytes, http_max_header_bytes;
    const char *store; /* etcd://...; NULL: in the data directory */
    struct store_etcd store_etcd;

    uint64_t block_default_ms, block_max_ms;
    bool allow_unprintable;
    struct bytes *block_endpoints;
    size_t block_endpoint_count;
    struct net *write_from;
    size_t write_from_count;
    struct bytes response_head; /* api_self's */
    bool prometheus;

    int threads; /* serving; 0: one per core */

    struct watch_def *watches;
    size_t watch_count;

    /* Services and checks of the configuration, as ops. */
    struct agent_op **ops;
    size_t op_count;

    /* Reads the configuration again, with all its checks. drop frees what it
     * made, and the ops that are left in it. */
    enum err (*read)(struct settings **ret, struct errtext *t);
    void (*drop)(struct settings *take);
    /* Logs in what s differs from what runs, and applies what is the process's
     * alone (log level). */
    void (*changed)(const struct settings *s);
};

/* First of all: from here on until run_agent watches for it, a SIGHUP waits
 * instead of ending the process. */
void run_hold_hangup(void);

/* Runs until a signal or an unrecoverable error; the exit code. */
int run_agent(struct settings *s);

#endif
