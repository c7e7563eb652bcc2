/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/agent_parts.h"

#include <math.h>
#include <stdio.h>

#include "base/net.h"
#include "config/keys.h"

enum {
    META_PAIRS_MAX = 64, /* these three are Consul's */
    META_KEY_MAX = 128,
    META_VALUE_MAX = 512,
    NODE_NAME_MAX = 255,
    RECONNECT_MIN_MS = 8 * 3600 * 1000,
    MIRROR_IDLE_MIN_MS = 1000,
    DAMPING_MAX_MS = 3600 * 1000,
    GUARD_WINDOW_MIN_MS = 1000,
    GUARD_WINDOW_MAX_MS = 3600 * 1000,
};

enum err agent_config_fail(const struct agent_config *c, const char *key,
                           struct errtext *t, const char *fmt, ...)
{
    const struct config_pos *pos = agent_config_where(c, key);
    char what[sizeof t->s];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (pos)
        config_fail(t, pos, "%s", what);
    else
        errtext_set(t, "%s", what);
    return ERR_BAD;
}

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static bool is_meta_key(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* How much of s consists of such characters. */
static size_t span(const char *s, bool (*is)(char c))
{
    size_t n = 0;

    while (s[n] && is(s[n]))
        n++;
    return n;
}

static enum err check_datacenter(struct agent_config *c, struct errtext *t)
{
    struct buf lower = {0};

    buf_put_fold(&lower, bytes_str(c->datacenter));
    char *s = lower.bad ? NULL : arena_str(c->arena, buf_bytes(&lower));
    buf_fini(&lower);
    if (!s)
        return ERR_NOMEM;
    if (s[span(s, is_lower)] || strlen(s) > 63)
        return agent_config_fail(c, "datacenter", t,
                                 "datacenter cannot be %s. Please use only "
                                 "[a-z0-9-_], at most 63 of them",
                                 config_quote(bytes_str(c->datacenter)).s);
    c->datacenter = s;
    return ERR_OK;
}

static const char *pair_fault(const struct config_pair *p)
{
    size_t n = strlen(p->key);

    if (n == 0)
        return "Key cannot be blank";
    if (p->key[span(p->key, is_meta_key)])
        return "Key contains invalid characters";
    if (n > META_KEY_MAX)
        return "Key is too long (limit: 128 characters)";
    if (strncmp(p->key, "consul-", 7) == 0)
        return "Key prefix 'consul-' is reserved for internal use";
    if (strlen(p->value) > META_VALUE_MAX)
        return "Value is too long (limit: 512 characters)";
    return NULL;
}

static enum err check_node(struct agent_config *c, struct errtext *t)
{
    if (c->node_name && strlen(c->node_name) > NODE_NAME_MAX)
        return agent_config_fail(c, "node_name", t,
                                 "node_name is longer than %d bytes",
                                 NODE_NAME_MAX);
    if (c->node_id && !bytes_uuid(bytes_str(c->node_id)))
        return agent_config_fail(c, "node_id", t,
                                 "node_id %s is not a UUID; leave it out to "
                                 "have one made",
                                 config_quote(bytes_str(c->node_id)).s);
    if (c->node_meta.n > META_PAIRS_MAX)
        return agent_config_fail(c, "node_meta", t,
                                 "node_meta invalid: Node metadata cannot "
                                 "contain more than %d key/value pairs",
                                 META_PAIRS_MAX);
    for (size_t i = 0; i < c->node_meta.n; i++) {
        const struct config_pair *p = &c->node_meta.v[i];
        const char *fault = pair_fault(p);
        if (fault)
            return agent_config_fail(c, "node_meta", t,
                                     "node_meta invalid: %s: %s",
                                     config_quote(bytes_str(p->key)).s, fault);
    }
    return ERR_OK;
}

static enum err check_mode(struct agent_config *c, struct errtext *t)
{
    if (!c->data_dir && !c->dev_mode)
        return agent_config_fail(c, "data_dir", t, "data_dir cannot be empty");
    if (c->store && strncmp(c->store, "etcd://", 7) != 0)
        return agent_config_fail(c, "store", t,
                                 "store: %s is not etcd://HOST:PORT,...; leave "
                                 "it out to keep the catalog in data_dir",
                                 config_quote(bytes_str(c->store)).s);
    if (!c->store_etcd.cert_file != !c->store_etcd.key_file)
        return agent_config_fail(
            c, c->store_etcd.cert_file ? "store_cert_file" : "store_key_file",
            t, "store_cert_file and store_key_file belong together");
    if (!c->store_etcd.user != !c->store_etcd.password)
        return agent_config_fail(
            c, c->store_etcd.user ? "store_user" : "store_password", t,
            "store_user and store_password belong together");
    if (c->bootstrap && !c->server)
        return agent_config_fail(c, "bootstrap", t,
                                 "'bootstrap = true' requires 'server = true'");
    if (c->bootstrap_expect > 0 && !c->server)
        return agent_config_fail(
            c, "bootstrap_expect", t,
            "'bootstrap_expect > 0' requires 'server = true'");
    if (c->bootstrap_expect > 0 && c->dev_mode)
        return agent_config_fail(c, "bootstrap_expect", t,
                                 "'bootstrap_expect > 0' not allowed in dev "
                                 "mode");
    if (c->bootstrap_expect > 0 && c->bootstrap)
        return agent_config_fail(c, "bootstrap_expect", t,
                                 "'bootstrap_expect > 0' and 'bootstrap = "
                                 "true' are mutually exclusive");
    if (c->bootstrap_expect == 1)
        c->bootstrap = true;
    if (!agent_config_where(c, "leave_on_terminate"))
        c->leave_on_terminate = !c->server;
    if (!agent_config_where(c, "skip_leave_on_interrupt"))
        c->skip_leave_on_interrupt = c->server;
    return ERR_OK;
}

static enum err check_unix_mode(struct agent_config *c, struct errtext *t)
{
    const char *s = c->unix_sockets.mode;
    int mode = 0;

    c->unix_mode = -1;
    if (!s)
        return ERR_OK;
    for (size_t i = 0; s[i]; i++) {
        if (s[i] < '0' || s[i] > '7' || mode > 07777)
            return agent_config_fail(c, "unix_sockets.mode", t,
                                     "unix_sockets.mode %s is not an octal "
                                     "mode such as \"0700\"",
                                     config_quote(bytes_str(s)).s);
        mode = mode * 8 + (s[i] - '0');
    }
    if (mode > 0777)
        return agent_config_fail(c, "unix_sockets.mode", t,
                                 "unix_sockets.mode %s is over 0777",
                                 config_quote(bytes_str(s)).s);
    c->unix_mode = mode;
    return ERR_OK;
}

static bool is_token(char c)
{
    return is_meta_key(c) || (c && strchr("!#$%&'*+.^`|~", c));
}

static enum err check_http(struct agent_config *c, struct errtext *t)
{
    const struct config_strings *from = &c->http_config.allow_write_http_from;
    const struct config_pairs *headers = &c->http_config.response_headers;
    struct net net;

    for (size_t i = 0; i < from->n; i++)
        if (net_parse(bytes_str(from->v[i]), &net) != ERR_OK)
            return agent_config_fail(
                c, "http_config.allow_write_http_from", t,
                "http_config.allow_write_http_from: %s is not a network such "
                "as \"10.0.0.0/8\"",
                config_quote(bytes_str(from->v[i])).s);
    for (size_t i = 0; i < headers->n; i++) {
        const char *name = headers->v[i].key;
        if (name[0] == 0 || name[span(name, is_token)])
            return agent_config_fail(
                c, "http_config.response_headers", t,
                "http_config.response_headers: %s is not a header's name",
                config_quote(bytes_str(name)).s);
    }
    return ERR_OK;
}

/* As in health/damp.h, which this folder does not see. */
static enum err check_damping(struct agent_config *c, struct errtext *t)
{
    const char *mode = c->damping.mode;

    if (strcmp(mode, "observe") != 0 && strcmp(mode, "suppress") != 0 &&
        strcmp(mode, "off") != 0)
        return agent_config_fail(
            c, "damping.mode", t,
            "damping.mode %s is not observe, suppress or off",
            config_quote(bytes_str(mode)).s);
    if (c->damping.half_life_ms == 0)
        return agent_config_fail(c, "damping.half_life", t,
                                 "damping.half_life must be over 0s");
    if (c->damping.max_ms < c->damping.half_life_ms ||
        c->damping.max_ms > DAMPING_MAX_MS)
        return agent_config_fail(
            c, "damping.max", t,
            "damping.max must be from damping.half_life to "
            "1h0m0s");
    if (c->damping.suppress <= c->damping.reuse)
        return agent_config_fail(
            c, "damping.suppress", t,
            "damping.suppress %lld must be over damping.reuse %lld",
            (long long)c->damping.suppress, (long long)c->damping.reuse);
    /* Penalties above it would take longer than max to decay. */
    double ceiling =
        (double)c->damping.reuse *
        exp2((double)c->damping.max_ms / (double)c->damping.half_life_ms);
    if (ceiling <= (double)c->damping.suppress)
        return agent_config_fail(
            c, "damping.suppress", t,
            "damping.suppress %lld is never reached: what has to decay to "
            "damping.reuse within damping.max cannot be over %.0f; lower "
            "damping.suppress, or raise damping.reuse or damping.max",
            (long long)c->damping.suppress, ceiling);
    return ERR_OK;
}

/* RFC 3164 4.1.1, by their usual names. */
static enum err check_syslog(struct agent_config *c, struct errtext *t)
{
    static const char *const names[] = {
        "KERN",   "USER",   "MAIL",   "DAEMON", "AUTH",     "SYSLOG",
        "LPR",    "NEWS",   "UUCP",   "CRON",   "AUTHPRIV", "FTP",
        NULL,     NULL,     NULL,     NULL,     "LOCAL0",   "LOCAL1",
        "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6",   "LOCAL7",
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] &&
            bytes_eq_fold(bytes_str(names[i]), bytes_str(c->syslog_facility))) {
            c->syslog_facility_code = (int)i;
            return ERR_OK;
        }
    }
    return agent_config_fail(c, "syslog_facility", t,
                             "invalid syslog facility: %s (there are LOCAL0 to "
                             "LOCAL7, DAEMON, USER, SYSLOG, ...)",
                             config_quote(bytes_str(c->syslog_facility)).s);
}

static enum err check_guard(struct agent_config *c, struct errtext *t)
{
    if (!guard_mode_parse(bytes_str(c->guard.mode_name), &c->guard.mode))
        return agent_config_fail(
            c, "guard.mode", t,
            "Invalid guard mode: %s. Valid modes are: silence, all, off",
            config_quote(bytes_str(c->guard.mode_name)).s);
    if (c->guard.window_ms < GUARD_WINDOW_MIN_MS ||
        c->guard.window_ms > GUARD_WINDOW_MAX_MS)
        return agent_config_fail(c, "guard.window", t,
                                 "guard.window must be 1s to 1h");
    return ERR_OK;
}

static enum err check_rest(struct agent_config *c, struct errtext *t)
{
    if (log_level_parse(c->log_level_name, &c->log_level) != ERR_OK)
        return agent_config_fail(c, "log_level", t,
                                 "Invalid log level: %s. Valid log levels are: "
                                 "trace, debug, info, warn, error",
                                 config_quote(bytes_str(c->log_level_name)).s);
    if (c->mirror_idle_ms < MIRROR_IDLE_MIN_MS)
        return agent_config_fail(c, "mirror_idle", t,
                                 "mirror_idle must be at least 1s");
    if (c->reconnect_timeout_ms < RECONNECT_MIN_MS)
        return agent_config_fail(c, "reconnect_timeout", t,
                                 "reconnect_timeout must be >= 8h0m0s");
    if (c->max_query_time_ms == 0)
        return agent_config_fail(c, "max_query_time", t,
                                 "max_query_time must be over 0s");
    if (c->default_query_time_ms == 0 ||
        c->default_query_time_ms > c->max_query_time_ms)
        c->default_query_time_ms = c->max_query_time_ms;
    if (c->log_rotate_ms == 0)
        c->log_rotate_ms = 24 * 3600 * 1000;
    enum err e = check_syslog(c, t);
    return e == ERR_OK ? check_unix_mode(c, t) : e;
}

enum err agent_config_validate(struct agent_config *c, struct errtext *t)
{
    enum err e = check_mode(c, t);

    if (e == ERR_OK)
        e = check_datacenter(c, t);
    if (e == ERR_OK)
        e = check_node(c, t);
    if (e == ERR_OK)
        e = check_damping(c, t);
    if (e == ERR_OK)
        e = check_rest(c, t);
    if (e == ERR_OK)
        e = check_guard(c, t);
    if (e == ERR_OK)
        e = check_http(c, t);
    if (e == ERR_OK)
        e = agent_config_tls(c, t);
    if (e == ERR_OK)
        e = agent_config_dns(c, t);
    if (e == ERR_OK)
        e = agent_config_listen(c, t);
    if (e == ERR_OK)
        e = agent_config_join(c, t);
    if (e == ERR_NOMEM)
        errtext_set(t, "%s", err_text(e));
    return e;
}
