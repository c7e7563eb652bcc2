/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What clients ask of the agent as a process and as a member: reload, join,
 * force-leave. One server is a cluster of one: joining itself works, and there
 * is nobody else to join or to throw out. */
#include "api/impl.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { ADDRESS_SHOWN_BYTES = 200 };

static enum api_next done(struct api_call *c)
{
    buf_reset(&c->body);
    c->status = 200;
    c->content_type = NULL;
    return API_ANSWER;
}

enum api_next agent_reload(struct api_call *c, const struct api_env *env,
                           struct agent_op **ret)
{
    (void)env;
    *ret = agent_op_new(AGENT_RELOAD);
    if (*ret)
        return API_AGENT;
    api_error(c, 500, "out of memory");
    return API_ANSWER;
}

/* "host:port", "[v6]:port", or without a port. */
static void split_address(struct bytes in, int default_port,
                          struct bytes *ret_host, uint64_t *ret_port)
{
    size_t colon = in.n;
    while (colon > 0 && in.p[colon - 1] != ':' && in.p[colon - 1] != ']')
        colon--;
    bool one = bytes_find(in, ':') == colon - 1;
    *ret_port = (uint64_t)default_port;
    *ret_host = in;
    if (colon > 0 && in.p[colon - 1] == ':' &&
        (one || (colon > 1 && in.p[colon - 2] == ']')) &&
        bytes_u64(bytes_skip(in, colon), ret_port) == ERR_OK)
        *ret_host = bytes_head(in, colon - 1);
    if (ret_host->n > 1 && ret_host->p[0] == '[' &&
        ret_host->p[ret_host->n - 1] == ']')
        *ret_host = bytes_of(ret_host->p + 1, ret_host->n - 2);
}

static bool is_ip(struct bytes host)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    if (host.n == 0 || host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = 0;
    return inet_pton(AF_INET, text, address) == 1 ||
           inet_pton(AF_INET6, text, address) == 1;
}

static bool is_own(const struct api_self *self, struct bytes host)
{
    bool loopback = bytes_is(host, "127.0.0.1") || bytes_is(host, "::1") ||
                    bytes_is(host, "localhost");
    return bytes_eq(host, self->advertise_address) ||
           bytes_eq(host, self->bind_address) ||
           bytes_eq(host, self->node_name) ||
           (loopback && (bytes_starts(self->bind_address, bytes_str("127.")) ||
                         bytes_is(self->bind_address, "0.0.0.0") ||
                         bytes_is(self->bind_address, "::")));
}

static enum api_next wan_op(struct api_call *c, enum agent_op_kind kind,
                            struct bytes id, struct agent_op **ret)
{
    *ret = agent_op_new(kind);
    if (*ret)
        (*ret)->id = arena_copy(&(*ret)->arena, id);
    if (!*ret || (id.n && !(*ret)->id.p)) {
        agent_op_free(*ret);
        *ret = NULL;
        api_error(c, 500, "out of memory");
        return API_ANSWER;
    }
    return API_AGENT;
}

static enum api_next join_wan(struct api_call *c, struct bytes host,
                              uint64_t port, struct agent_op **ret)
{
    bool v6 = bytes_find(host, ':') < host.n;
    char *to =
        arena_printf(c->arena, v6 ? "[%.*s]:%llu" : "%.*s:%llu",
                     BYTES_ARG(host), (unsigned long long)(port ? port : 8302));

    return wan_op(c, AGENT_JOIN_WAN, bytes_str(to), ret);
}

enum api_next agent_join(struct api_call *c, const struct api_env *env,
                         struct agent_op **ret)
{
    const struct api_self *self = env->self;
    bool wan = http_param_value(c->request, "wan").n > 0;
    int own = wan ? self->serf_wan_port : self->serf_lan_port;
    struct bytes host, shown = bytes_head(c->arg, ADDRESS_SHOWN_BYTES);
    uint64_t port;
    (void)ret;
    split_address(shown, own, &host, &port);
    if (is_own(self, host) && own > 0 && port == (uint64_t)own)
        return done(c);
    if (wan && env->wan)
        return join_wan(c, host, port, ret);
    if (!is_ip(host) && !is_own(self, host))
        api_error(c, 500,
                  "1 error occurred:\n\t* Failed to resolve %.*s: lookup "
                  "%.*s: no such host\n\n",
                  BYTES_ARG(shown), BYTES_ARG(host));
    else
        api_error(c, 500,
                  "1 error occurred:\n\t* Failed to join %.*s: dial tcp "
                  "%.*s:%llu: connect: connection refused\n\n",
                  BYTES_ARG(host), BYTES_ARG(host), (unsigned long long)port);
    return API_ANSWER;
}

/* The whole of what "?wan" is about: servers of all datacenters, by
 * NODE.DATACENTER. */
enum api_next agent_force_leave_wan(struct api_call *c,
                                    const struct api_env *env,
                                    struct agent_op **ret)
{
    if (env->wan)
        return wan_op(c, AGENT_FORCE_WAN, c->arg, ret);
    api_error(c, 500, "agent: No node found with name '%.*s'",
              BYTES_ARG(bytes_head(c->arg, ADDRESS_SHOWN_BYTES)));
    return API_ANSWER;
}

/* --- The log ------------------------------------------------------------- */

enum api_next prepare_metrics_stream(struct api_call *c,
                                     const struct api_env *env)
{
    (void)env;
    c->metrics = true;
    c->content_type = "application/json";
    return API_READ;
}

enum api_next prepare_monitor(struct api_call *c, const struct api_env *env)
{
    struct bytes level = http_param_value(c->request, "loglevel");
    char name[16];
    (void)env;
    c->monitor_level = LOG_INFO;
    c->monitor_json = http_param(c->request, "logjson") != NULL;
    if (level.n == 0)
        return API_MONITOR;
    snprintf(name, sizeof name, "%.*s", BYTES_ARG(level));
    if (level.n < sizeof name && strlen(name) == level.n &&
        log_level_parse(name, &c->monitor_level) == ERR_OK)
        return API_MONITOR;
    api_error(c, 400, "Bad request: Unknown log level: %.*s",
              BYTES_ARG(bytes_head(level, ADDRESS_SHOWN_BYTES)));
    return API_ANSWER;
}
