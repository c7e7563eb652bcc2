/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent_config - every setting of an agent, from defaults, files and flags.
 *
 *     agent_config_init        Consul's defaults, or those of -dev
 *     agent_config_apply       one parsed file after the other, then the trees
 *                              made from flags (flags.h); a later one overrides
 *                              scalars, adds to lists, replaces single pairs
 *     agent_config_validate    what can only be judged at the end, and what
 *                              follows from other settings
 *
 * A SIGHUP reads all of it again into a new struct. All memory is the arena's,
 * the one the trees were read into; the struct itself is the caller's. Times
 * are milliseconds. Nothing here touches a file, a clock or the network: names
 * of hosts, address templates ({{ GetPrivateIP }}) and users are kept as text.
 */
#ifndef CONFIG_AGENT_CONFIG_H
#define CONFIG_AGENT_CONFIG_H

#include "base/log.h"
#include "base/marks.h"
#include "config/value.h"

enum {
    CONFIG_KEYS_MAX = 640,     /* rows of the table in keys.c */
    CONFIG_PAIRS_MAX = 256,    /* of one map (node_meta, response_headers) */
    CONFIG_ADDRESSES_MAX = 16, /* of one listener */
};

struct config_strings {
    const char **v;
    size_t n, cap;
};

struct config_pair {
    const char *key, *value;
};

struct config_pairs {
    struct config_pair *v;
    size_t n, cap;
};

/* Objects as they were written, to be printed by config_value_to_json and read
 * like a request to the HTTP API. */
struct config_values {
    const struct config_value **v;
    size_t n, cap;
};

/* NULL: not said. */
struct config_tls {
    const char *ca_file, *ca_path, *cert_file, *key_file;
    const char *min_version, *cipher_suites;
    bool verify_incoming, prefer_server_ciphers;
};

/* Strings: "" in a file means not said. `NULL:` tells what that gives; the
 * others have a default and are never NULL. */
struct agent_config {
    struct arena *arena;
    /* By row of the key table: what said it last; NULL: nobody. */
    const struct config_value *said[CONFIG_KEYS_MAX];

    const char *datacenter; /* dc1; lower case */
    const char *node_name;  /* NULL: the host's name */
    const char *node_id;    /* NULL: make one and keep it */
    struct config_pairs node_meta;
    const char *data_dir; /* NULL with dev_mode only */
    const char *store;    /* NULL: in data_dir, or memory */
    struct {
        const char *ca_file, *cert_file, *key_file, *server_name;
        const char *user, *password;
    } store_etcd;        /* NULL: not said */
    int64_t store_quota; /* bytes, of an etcd that servers keep themselves */
    bool dev_mode;       /* in memory, pretty JSON */
    bool server;
    bool bootstrap; /* also by bootstrap_expect = 1 */
    int64_t bootstrap_expect;
    struct {
        const char *encrypt; /* base64; NULL: none */
        struct config_strings retry, start;
        uint64_t interval_ms;
        int64_t attempts_max; /* 0: no limit */
        /* After validation: start, then retry, each HOST:PORT or [V6]:PORT. */
        struct config_strings all;
        struct bytes key; /* of encrypt, 16 to 32 bytes; empty: none */
        /* Others may reach ports.serf_lan: bind_addr is loopback, or there is
         * a key. */
        bool safe;
        /* Servers of other datacenters, HOST:PORT; in all_wan too. */
        struct config_strings start_wan, retry_wan, all_wan;
        uint64_t interval_wan_ms;
    } join;

    struct {
        struct config_strings services; /* none, and no tags: all */
        struct config_strings tags;     /* with these, too */
        int64_t max_bytes;
        uint64_t max_age_ms, failover_max_age_ms;
        bool off; /* after validation: services is "none" */
    } mirror;     /* of other datacenters */

    const char *bind_addr;          /* 0.0.0.0 */
    const char *advertise_addr;     /* NULL: from bind_addr or the interfaces */
    const char *advertise_addr_wan; /* NULL: advertise_addr */
    struct config_pairs tagged_addresses;
    const char *client_addr; /* as written; see listen */
    struct {
        const char *http, *https, *dns, *grpc,
            *grpc_tls; /* NULL: client_addr */
    } addresses;
    struct {
        int dns, http, https, grpc, grpc_tls, serf_lan, serf_wan, server;
    } ports; /* -1: off */
    /* After validation, of each listener: IP addresses without brackets,
     * templates "{{ ... }}", "unix:///path" (not for dns). Never empty. */
    struct {
        struct config_strings http, https, dns, grpc, grpc_tls;
    } listen;
    struct {
        const char *user, *group; /* names or numbers; NULL: as the process */
        const char *mode;         /* octal; NULL: as umask has it */
    } unix_sockets;
    int unix_mode; /* after validation: of mode, -1 if that is NULL */

    struct {
        struct config_tls flat, defaults, https;
        bool verify_incoming_https;
    } tls; /* as written */
    /* After validation: what the agent shows to others (used by checks, and
     * only with enable_agent_tls_for_checks), and the HTTPS listener. */
    struct config_tls own_tls, https_tls;
    int https_tls_minor; /* TLS 1.x at least */
    bool enable_agent_tls_for_checks;
    bool enable_script_checks, enable_local_script_checks;
    struct {
        const char *mode; /* after validation: observe, suppress or off */
        uint64_t half_life_ms, max_ms;
        int64_t suppress, reuse; /* penalties */
    } damping;
    uint64_t check_update_interval_ms;
    int64_t check_output_max_size; /* bytes */
    bool discard_check_output;
    struct {
        const char *mode_name;
        enum guard_mode mode; /* after validation */
        uint64_t window_ms;
    } guard;
    struct config_values services, checks, watches;

    bool leave_on_terminate;      /* default: not server */
    bool skip_leave_on_interrupt; /* default: server */
    uint64_t reconnect_timeout_ms;
    uint64_t mirror_idle_ms; /* of an agent: until it drops a service */

    const char *log_level_name;
    enum log_level log_level; /* after validation */
    bool log_json;
    const char *log_file, *pid_file; /* NULL: none */
    int64_t log_rotate_bytes;        /* <= 0: no limit */
    uint64_t log_rotate_ms;          /* after validation > 0 */
    int64_t log_rotate_max_files;    /* 0: all, < 0: none */
    bool enable_syslog;
    const char *syslog_facility;
    int syslog_facility_code; /* after validation; RFC 3164 4.1.1 */
    bool enable_debug;

    struct {
        int64_t http_max_conns_per_client; /* 0: no limit */
        int64_t http_max_conns;            /* 0: as many as files may be open */
        int64_t http_max_body_bytes, http_max_header_bytes;
        uint64_t https_handshake_timeout_ms; /* 0: no limit of its own */
    } limits;
    struct {
        struct config_pairs response_headers;
        struct config_strings block_endpoints, allow_write_http_from;
        bool use_cache;
    } http_config;
    bool disable_http_unprintable_char_filter;
    uint64_t max_query_time_ms, default_query_time_ms;
    struct {
        uint64_t prometheus_retention_time_ms; /* 0: no such format */
        bool disable_hostname;
        const char *metrics_prefix;
    } telemetry;

    const char *domain, *alt_domain; /* consul. ; NULL: none */
    struct {
        const char *recursor; /* NULL: none; the older way to say one */
        struct config_strings recursors; /* IP, IP:port, [IP]:port */
        uint64_t recursor_timeout_ms;
        uint64_t max_stale_ms;
        const char *recursor_strategy; /* sequential, random */
        uint64_t node_ttl_ms;
        struct config_pairs service_ttl; /* name, prefix*, * -> duration */
        uint64_t service_ttl_calm_ms;    /* grow to that; 0: do not */
        int64_t soa_refresh, soa_retry, soa_expire, soa_min_ttl; /* seconds */
        bool only_passing, enable_truncate, disable_compression, node_meta_txt;
        int64_t udp_answer_limit, a_record_limit;
        int64_t rrl_rate, rrl_slip;       /* 0: no limit; never TC */
        struct config_strings rrl_exempt; /* addresses and networks */
        const char *order;                /* random, sticky */
        int64_t threads;                  /* 0: one per core */
    } dns;
    bool ui;            /* ui or ui_config.enabled */
    const char *ui_dir; /* NULL: the built-in page */
    const char *ui_content_path;
};

/* A key that Consul documents and muster does not act on. */
struct config_notice {
    const char *key; /* "performance.raft_multiplier"; static */
    const struct config_pos *pos;
    bool protects; /* it would have protected something (ACLs, TLS,
                    * encryption): worth a warning */
};

typedef void (*config_notice_fn)(void *ctx, const struct config_notice *n);

void agent_config_init(struct agent_config *c, struct arena *arena, bool dev);

/* Takes over what `tree` (an object) says. The tree must live as long as c.
 * notice (may be NULL) is called once for each key that has no effect here,
 * however often it is said; not for protection that is switched off.
 *
 * ERR_BAD    "file:line:column: ..." in t: a key no Consul release knows (with
 *            the nearest one that exists), a value of the wrong kind or out of
 *            range; c is then of no use
 * ERR_LIMIT  CONFIG_PAIRS_MAX
 * ERR_NOMEM */
MUST_USE enum err agent_config_apply(struct agent_config *c,
                                     const struct config_value *tree,
                                     config_notice_fn notice, void *ctx,
                                     struct errtext *t);

/* Once, after the last apply. ERR_BAD: "data_dir cannot be empty" and the like,
 * with the place where the setting was said; ERR_NOMEM. */
MUST_USE enum err agent_config_validate(struct agent_config *c,
                                        struct errtext *t);

/* One setting that is not as it was. Texts as in a file, lists and maps as
 * JSON; what is secret is "(hidden)". */
struct config_change {
    const char *key; /* static */
    const char *was, *is;
    bool live; /* a reload applies it */
};

typedef void (*config_change_fn)(void *ctx, const struct config_change *ch);

/* Calls fn for each setting in which two validated configurations differ, but
 * for services, checks and watches. Texts are in is's arena. ERR_NOMEM. */
MUST_USE enum err agent_config_compare(const struct agent_config *was,
                                       const struct agent_config *is,
                                       config_change_fn fn, void *ctx);

/* Where a key ("ports.http") was said last; NULL: nowhere, or no such key. */
const struct config_pos *agent_config_where(const struct agent_config *c,
                                            const char *key);

#endif
