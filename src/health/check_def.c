/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/check_def.h"

#include "base/check.h"
#include "base/duration.h"
#include "health/damp.h"
#include "health/docker.h"
#include "health/grpc.h"
#include "health/judge.h"

/* --- Types --------------------------------------------------------------- */

static bool is_alias(const struct check_def *d)
{
    return d->alias_node.n || d->alias_service.n;
}

static bool has_type(const struct check_def *d, enum check_type t)
{
    switch (t) {
    case CHECK_GRPC:
        return d->grpc.n;
    case CHECK_HTTP:
        return d->http.n;
    case CHECK_TTL:
        return d->ttl_ns != 0;
    case CHECK_TCP:
        return d->tcp.n;
    case CHECK_UDP:
        return d->udp.n;
    case CHECK_H2PING:
        return d->h2ping.n;
    case CHECK_ALIAS:
        return is_alias(d);
    case CHECK_DOCKER:
        return d->arg_count && d->docker_container_id.n;
    case CHECK_SCRIPT:
        return d->arg_count && !d->docker_container_id.n;
    case CHECK_OS_SERVICE:
        return d->os_service.n;
    case CHECK_NONE:
    case CHECK_MAINTENANCE:
        break;
    }
    return false;
}

/* The enum stands in Consul's order of precedence. */
static enum check_type next_type(const struct check_def *d, int above)
{
    for (int t = above + 1; t <= CHECK_OS_SERVICE; t++)
        if (has_type(d, (enum check_type)t))
            return (enum check_type)t;
    return CHECK_NONE;
}

enum check_type check_def_type(const struct check_def *d)
{
    return next_type(d, CHECK_NONE);
}

const char *check_type_name(enum check_type t)
{
    static const char *const names[] = {
        [CHECK_NONE] = "",
        [CHECK_GRPC] = "grpc",
        [CHECK_HTTP] = "http",
        [CHECK_TTL] = "ttl",
        [CHECK_TCP] = "tcp",
        [CHECK_UDP] = "udp",
        [CHECK_H2PING] = "h2ping",
        [CHECK_ALIAS] = "alias",
        [CHECK_DOCKER] = "docker",
        [CHECK_SCRIPT] = "script",
        [CHECK_OS_SERVICE] = "os_service",
        [CHECK_MAINTENANCE] = "maintenance",
    };
    require((size_t)t < sizeof names / sizeof names[0]);
    return names[t];
}

/* --- Validation ---------------------------------------------------------- */

static enum err bad(struct errtext *t, const char *text)
{
    errtext_set(t, "%s", text);
    return ERR_BAD;
}

/* Texts and order of Consul's CheckType.Validate (consul-api 1.1.3). */
static enum err validate_times(const struct check_def *d, struct errtext *t)
{
    if (d->docker_container_id.n && !d->arg_count)
        return bad(t, "DockerContainerID needs Args, the command to run in "
                      "the container");

    bool probed = d->grpc.n || d->http.n || d->tcp.n || d->udp.n ||
                  d->h2ping.n || d->os_service.n || d->arg_count;

    if (d->interval_ns > 0 && d->ttl_ns > 0)
        return bad(t, "Interval and TTL cannot both be specified");
    if (probed && d->interval_ns <= 0)
        return bad(t, "Interval must be > 0 for Script, HTTP, or TCP checks");
    if (is_alias(d) && probed)
        return bad(t, "Interval cannot be set for Alias checks");
    if (is_alias(d) && d->ttl_ns > 0)
        return bad(t, "TTL must be not be set for Alias checks");
    if (!probed && !is_alias(d) && d->ttl_ns <= 0)
        return bad(t, "TTL must be > 0 for TTL checks");
    if (d->output_max < 0)
        return bad(t, "MaxOutputMaxSize must be positive");
    if (d->ttl_ns < 0)
        return bad(t, "TTL must be > 0 for TTL checks");
    if (d->timeout_ns < 0)
        return bad(t, "Timeout must not be negative");
    if (d->deregister_after_ns < 0)
        return bad(t, "DeregisterCriticalServiceAfter must not be negative");
    return ERR_OK;
}

/* As they will be, after the minimum of intervals. A default may be longer than
 * the interval: then no two runs overlap, and nobody asked for more. */
static enum err validate_timeout(const struct check_def *d, struct errtext *t)
{
    uint64_t timeout = check_timeout_ms(d), interval = check_interval_ms(d);
    struct buf b = {0};

    if (d->interval_ns <= 0 || d->timeout_ns <= 0 || timeout <= interval)
        return ERR_OK;
    buf_puts(&b, "Timeout ");
    duration_print(&b, d->timeout_ns);
    buf_puts(&b, " must not be over Interval ");
    duration_print(&b, (int64_t)interval * NS_PER_MS);
    buf_puts(&b, ": raise Interval or lower Timeout");
    errtext_set(t, "%.*s", BYTES_ARG(buf_bytes(&b)));
    buf_fini(&b);
    return ERR_BAD;
}

static enum err validate_damping(const struct check_def *d, struct errtext *t)
{
    enum damp_mode mode;

    if (d->damping.n == 0 || damp_mode_of(d->damping, &mode))
        return ERR_OK;
    errtext_set(t, "Damping \"%.*s\" is not observe, suppress or off",
                BYTES_ARG(bytes_head(d->damping, 80)));
    return ERR_BAD;
}

static enum err validate_thresholds(const struct check_def *d,
                                    struct errtext *t)
{
    if (d->success_before_passing < 0)
        return bad(t, "SuccessBeforePassing must not be negative");
    if (d->failures_before_critical < 0)
        return bad(t, "FailuresBeforeCritical must not be negative");
    if (d->failures_before_warning < -1)
        return bad(t, "FailuresBeforeWarning must not be negative");
    if (d->failures_before_warning > d->failures_before_critical)
        return bad(t, "FailuresBeforeWarning can't be higher than "
                      "FailuresBeforeCritical");
    return ERR_OK;
}

/* Consul runs the first by precedence and says nothing of the rest: a check
 * that never runs is found out too late. */
static enum err validate_one_type(const struct check_def *d, struct errtext *t)
{
    enum check_type first = check_def_type(d);
    enum check_type second = next_type(d, (int)first);

    if (first == CHECK_NONE || second == CHECK_NONE)
        return ERR_OK;
    errtext_set(t,
                "one check cannot be of type %s and of type %s: register "
                "two checks",
                check_type_name(first), check_type_name(second));
    return ERR_BAD;
}

/* --- Addresses ----------------------------------------------------------- */

static bool is_port(struct bytes b)
{
    uint64_t port;
    return b.n <= 5 && bytes_u64(b, &port) == ERR_OK && port >= 1 &&
           port <= 65535;
}

/* Nothing that ends a line or a word: it could not be a part of a name or a
 * URL, and must not end up in a request head. */
static bool is_plain(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if ((unsigned char)b.p[i] <= ' ' || b.p[i] == 0x7f)
            return false;
    return b.n > 0;
}

static size_t find_last(struct bytes b, char c)
{
    size_t at = b.n;
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] == c)
            at = i;
    return at;
}

/* host:port, [v6]:port, :port (this host). */
static bool is_host_port(struct bytes b)
{
    size_t colon = find_last(b, ':');
    struct bytes host = bytes_head(b, colon);

    if (colon == b.n || !is_plain(b) || !is_port(bytes_skip(b, colon + 1)))
        return false;
    if (bytes_starts(host, bytes_str("[")))
        return bytes_ends(host, bytes_str("]")) && host.n > 2;
    return bytes_find(host, ':') == host.n;
}

/* Host and optional port as they stand in a URL. */
static bool is_authority(struct bytes b)
{
    size_t at = find_last(b, '@');
    if (at < b.n)
        b = bytes_skip(b, at + 1);
    size_t close = bytes_starts(b, bytes_str("[")) ? bytes_find(b, ']') : 0;
    if (b.n == 0 || close == b.n)
        return false;
    struct bytes rest = bytes_skip(b, close);
    size_t colon = bytes_find(rest, ':');
    if (close == 0 && colon == 0)
        return false;
    return colon == rest.n || colon + 1 == rest.n ||
           is_port(bytes_skip(rest, colon + 1));
}

static bool is_url(struct bytes b)
{
    static const char *const schemes[] = {"http://", "https://"};

    for (size_t i = 0; i < 2; i++) {
        struct bytes scheme = bytes_str(schemes[i]);
        if (!bytes_eq_fold(bytes_head(b, scheme.n), scheme))
            continue;
        struct bytes rest = bytes_skip(b, scheme.n);
        size_t end = 0;
        while (end < rest.n && !strchr("/?#", rest.p[end]))
            end++;
        return is_plain(b) && is_authority(bytes_head(rest, end));
    }
    return false;
}

static enum err bad_value(struct errtext *t, const char *field,
                          struct bytes value, const char *want)
{
    errtext_set(t, "%s \"%.*s\" is not %s", field,
                BYTES_ARG(bytes_head(value, 80)), want);
    return ERR_BAD;
}

static enum err validate_addresses(const struct check_def *d, struct errtext *t)
{
    /* gRPC: a service name may follow the port. */
    struct bytes grpc = bytes_head(d->grpc, bytes_find(d->grpc, '/'));

    if (d->http.n && !is_url(d->http))
        return bad_value(t, "HTTP", d->http, "an http:// or https:// URL");
    if (d->tcp.n && !is_host_port(d->tcp))
        return bad_value(t, "TCP", d->tcp, "host:port");
    if (d->udp.n && !is_host_port(d->udp))
        return bad_value(t, "UDP", d->udp, "host:port");
    if (d->h2ping.n && !is_host_port(d->h2ping))
        return bad_value(t, "H2PING", d->h2ping, "host:port");
    if (d->grpc.n && !is_host_port(grpc))
        return bad_value(t, "GRPC", d->grpc, "host:port or host:port/service");
    return ERR_OK;
}

/* --- HTTP requests and scripts ------------------------------------------- */

/* RFC 9110 5.6.2. */
static bool is_token(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        char c = b.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return b.n > 0;
}

static bool is_header_value(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] == '\0' || b.p[i] == '\r' || b.p[i] == '\n')
            return false;
    return true;
}

static bool has_nul(struct bytes b)
{
    return bytes_find(b, '\0') < b.n;
}

static enum err validate_request(const struct check_def *d, struct errtext *t)
{
    if (d->method.n && !is_token(d->method))
        return bad_value(t, "Method", d->method, "an HTTP method");
    if (d->header_count > CHECK_HEADERS_MAX) {
        errtext_set(t, "Header has %zu lines, the limit is %d", d->header_count,
                    CHECK_HEADERS_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < d->header_count; i++) {
        const struct check_header *h = &d->headers[i];
        if (!is_token(h->name))
            return bad_value(t, "Header", h->name, "a header name");
        if (!is_header_value(h->value))
            return bad_value(t, "Header", h->name,
                             "free of line ends in its value");
    }
    return ERR_OK;
}

static enum err validate_args(const struct check_def *d, struct errtext *t)
{
    if (d->arg_count > CHECK_ARGS_MAX) {
        errtext_set(t, "Args has %zu items, the limit is %d", d->arg_count,
                    CHECK_ARGS_MAX);
        return ERR_LIMIT;
    }
    if (d->arg_count && d->args[0].n == 0)
        return bad(t, "Args[0] names no program");
    for (size_t i = 0; i < d->arg_count; i++)
        if (has_nul(d->args[i]))
            return bad_value(t, "Args", d->args[i], "free of NUL bytes");
    return ERR_OK;
}

/* As systemd has them: letters, digits and ":-_.\\@". */
static bool is_unit_name(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++) {
        char c = b.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');
        if (!alnum && (c == '\0' || !strchr(":-_.\\@", c)))
            return false;
    }
    return b.n > 0 && b.n <= 255;
}

static enum err validate_targets(const struct check_def *d, struct errtext *t)
{
    struct bytes service;

    if (d->docker_container_id.n && !docker_name_ok(d->docker_container_id))
        return bad_value(t, "DockerContainerID", d->docker_container_id,
                         "a container's name or ID");
    if (d->os_service.n && !is_unit_name(d->os_service))
        return bad_value(t, "OSService", d->os_service, "a systemd unit name");
    if (d->tls_server_name.n &&
        (!is_plain(d->tls_server_name) || d->tls_server_name.n > 253 ||
         bytes_find(d->tls_server_name, '/') < d->tls_server_name.n))
        return bad_value(t, "TLSServerName", d->tls_server_name,
                         "a host name or an address");
    (void)grpc_target(d->grpc, &service);
    if (service.n && !bytes_utf8(service))
        return bad_value(t, "GRPC", d->grpc, "UTF-8");
    return ERR_OK;
}

enum err check_def_validate(const struct check_def *d, struct errtext *t)
{
    enum err e = validate_times(d, t);
    if (e == ERR_OK)
        e = validate_thresholds(d, t);
    if (e == ERR_OK)
        e = validate_one_type(d, t);
    if (e == ERR_OK)
        e = validate_timeout(d, t);
    if (e == ERR_OK)
        e = validate_damping(d, t);
    if (e == ERR_OK)
        e = validate_addresses(d, t);
    if (e == ERR_OK)
        e = validate_targets(d, t);
    if (e == ERR_OK)
        e = validate_request(d, t);
    if (e == ERR_OK)
        e = validate_args(d, t);
    return e;
}
