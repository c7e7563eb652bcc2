/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* check_def - the definition of a health check: what to run, how often, and
 * when a result counts. A plain value; strings point into whoever made it.
 *
 * Units: nanoseconds, as Go's API has them; 0 means not given. */
#ifndef HEALTH_CHECK_DEF_H
#define HEALTH_CHECK_DEF_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"

enum {
    CHECK_ARGS_MAX = 64,
    CHECK_HEADERS_MAX = 64,
    CHECK_INTERVAL_MIN_MS = 1000, /* smaller intervals are raised to it */
    CHECK_TIMEOUT_DEFAULT_MS = 10 * 1000,
    CHECK_SCRIPT_TIMEOUT_DEFAULT_MS = 30 * 1000,
    CHECK_REAP_MIN_MS = 60 * 1000, /* DeregisterCriticalServiceAfter at least */
    CHECK_OUTPUT_MAX_DEFAULT = 4096,
};

enum check_type {
    CHECK_NONE,
    CHECK_GRPC,
    CHECK_HTTP,
    CHECK_TTL,
    CHECK_TCP,
    CHECK_UDP,
    CHECK_H2PING,
    CHECK_ALIAS,
    CHECK_DOCKER,
    CHECK_SCRIPT,
    CHECK_OS_SERVICE,
    CHECK_MAINTENANCE, /* made by us, never by a definition */
};

struct check_header {
    struct bytes name, value; /* a name may come several times */
};

struct check_def {
    struct bytes id, name, notes;
    struct bytes status;     /* initial; empty: critical */
    struct bytes service_id; /* empty: of the node */

    struct bytes http, method, body, tls_server_name;
    struct check_header *headers;
    size_t header_count;
    bool tls_skip_verify, disable_redirects;
    struct bytes tcp, udp, grpc, h2ping, os_service;
    bool tcp_use_tls, grpc_use_tls, h2ping_use_tls, h2ping_use_tls_set;
    struct bytes *args;
    size_t arg_count;
    struct bytes docker_container_id, shell;
    struct bytes alias_node, alias_service;
    struct bytes damping; /* health/damp.h's mode; empty: not given */

    int64_t interval_ns, timeout_ns, ttl_ns, deregister_after_ns;
    int64_t output_max; /* bytes; 0: the agent's */
    int64_t success_before_passing, failures_before_critical;
    int64_t failures_before_warning; /* -1: not given (= critical's) */
};

/* By Consul's precedence: grpc, http, ttl, tcp, udp, h2ping, alias, docker,
 * script, os_service; NONE if nothing is set. */
enum check_type check_def_type(const struct check_def *d);

/* H2PING is over TLS unless H2PingUseTLS says no. */
static inline bool check_def_h2ping_tls(const struct check_def *d)
{
    return d->h2ping_use_tls || !d->h2ping_use_tls_set;
}

/* "http", "ttl", ...; "" for NONE. */
const char *check_type_name(enum check_type t);

/* Consul's validation: t is its text, e.g. "Interval must be > 0 for Script,
 * HTTP, or TCP checks" (callers prefix "Invalid check: "). Two types at once, a
 * timeout that cannot be, an unparsable address are refused too. A definition
 * that was stored by an older version may say more: it runs all the same. */
MUST_USE enum err check_def_validate(const struct check_def *d,
                                     struct errtext *t);

/* Stored form (agent.db); get points into value and allocates lists from a. */
void check_def_put(struct buf *out, const struct check_def *d);
MUST_USE enum err check_def_get(struct bytes value, struct check_def *d,
                                struct arena *a);

/* "Definition" as catalog and health routes show it: a JSON object text without
 * members that are not set ({} stays empty bytes). */
void check_def_json(struct buf *out, const struct check_def *d);

#endif
