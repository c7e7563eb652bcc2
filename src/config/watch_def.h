/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watch_def - one item of `watches`: what to look at, and what to run when it
 * has changed. Values only; nothing is looked at here. */
#ifndef CONFIG_WATCH_DEF_H
#define CONFIG_WATCH_DEF_H

#include "config/agent_config.h"

enum {
    WATCH_DEFS_MAX = 256,
    WATCH_ARGS_MAX = 64,
    WATCH_HTTP_TIMEOUT_MS = 10 * 1000,   /* Consul's */
    WATCH_SCRIPT_TIMEOUT_MS = 60 * 1000, /* Consul has none: see timeout */
};

enum watch_def_type {
    WATCH_DEF_SERVICES,
    WATCH_DEF_NODES,
    WATCH_DEF_SERVICE,
    WATCH_DEF_CHECKS,
    WATCH_DEF_AGENT_SERVICE,
    WATCH_DEF_EVENT,
};

struct watch_def {
    enum watch_def_type type;
    const char *service, *state, *service_id, *name; /* NULL: not said */
    struct config_strings tags;
    bool passing;

    struct config_strings args; /* a program; empty: http */
    uint64_t timeout_ms;        /* of either */
    struct {
        const char *url, *method;
        struct config_pairs headers; /* a name may stand more than once */
        bool tls_skip_verify;
    } http;

    struct bytes text; /* all of it as JSON: equal text, equal watch */
    const struct config_pos *pos;
};

/* v is an object; all of *ret is in arena or in v. ERR_BAD "file:line:column:
 * ..." in t: a type that Consul has not or muster cannot watch, a parameter
 * that the type has not, no handler, or two; ERR_NOMEM. */
MUST_USE enum err watch_def_parse(const struct config_value *v,
                                  const char *datacenter, struct arena *arena,
                                  struct watch_def *ret, struct errtext *t);

#endif
