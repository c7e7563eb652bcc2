/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Members and their order are those of Consul's HealthCheckDefinition. This
 * folder does not see src/http: the few lines of JSON it needs are its own. */
#include "base/duration.h"
#include "health/check_def.h"
#include "health/text.h"

struct object {
    struct buf *out;
    bool open;
};

/* As Go's encoder: < > & and U+2028/9 escaped too. */
static void put_quoted(struct buf *out, struct bytes v)
{
    buf_putc(out, '"');
    while (v.n) {
        size_t n = utf8_sequence(v);
        unsigned char c = (unsigned char)v.p[0];
        if (n == 0)
            buf_puts(out, "\\ufffd");
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == '<' || c == '>' || c == '&')
            buf_printf(out, "\\u%04x", c);
        else if (n == 3 && c == 0xe2 && v.p[1] == '\x80' &&
                 (v.p[2] & ~1) == '\xa8')
            buf_puts(out, v.p[2] & 1 ? "\\u2029" : "\\u2028");
        else
            buf_put_n(out, v.p, n);
        v = bytes_skip(v, n ? n : 1);
    }
    buf_putc(out, '"');
}

static void put_key(struct object *o, const char *name)
{
    buf_printf(o->out, "%s\"%s\":", o->open ? "," : "{", name);
    o->open = true;
}

static void put_text(struct object *o, const char *name, struct bytes v)
{
    if (v.n == 0)
        return;
    put_key(o, name);
    put_quoted(o->out, v);
}

static void put_flag(struct object *o, const char *name, bool v)
{
    if (!v)
        return;
    put_key(o, name);
    buf_puts(o->out, "true");
}

static void put_number(struct object *o, const char *name, int64_t v)
{
    if (v == 0)
        return;
    put_key(o, name);
    buf_i64(o->out, v);
}

static void put_duration(struct object *o, const char *name, int64_t ns)
{
    if (ns == 0)
        return;
    put_key(o, name);
    buf_putc(o->out, '"');
    duration_print(o->out, ns);
    buf_putc(o->out, '"');
}

static void put_list(struct object *o, const char *name, const struct bytes *v,
                     size_t n)
{
    if (n == 0)
        return;
    put_key(o, name);
    for (size_t i = 0; i < n; i++) {
        buf_putc(o->out, i ? ',' : '[');
        put_quoted(o->out, v[i]);
    }
    buf_putc(o->out, ']');
}

static bool named_before(const struct check_def *d, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (bytes_eq(d->headers[k].name, d->headers[i].name))
            return true;
    return false;
}

/* Lines of one name are one list, wherever they stand. Quadratic in
 * CHECK_HEADERS_MAX. */
static void put_headers(struct object *o, const struct check_def *d)
{
    if (d->header_count == 0)
        return;
    put_key(o, "Header");
    for (size_t i = 0; i < d->header_count; i++) {
        if (named_before(d, i))
            continue;
        buf_putc(o->out, i ? ',' : '{');
        put_quoted(o->out, d->headers[i].name);
        buf_puts(o->out, ":[");
        put_quoted(o->out, d->headers[i].value);
        for (size_t k = i + 1; k < d->header_count; k++) {
            if (!bytes_eq(d->headers[k].name, d->headers[i].name))
                continue;
            buf_putc(o->out, ',');
            put_quoted(o->out, d->headers[k].value);
        }
        buf_putc(o->out, ']');
    }
    buf_putc(o->out, '}');
}

static void put_targets(struct object *o, const struct check_def *d)
{
    put_text(o, "HTTP", d->http);
    put_text(o, "TLSServerName", d->tls_server_name);
    put_flag(o, "TLSSkipVerify", d->tls_skip_verify);
    put_headers(o, d);
    put_text(o, "Method", d->method);
    put_text(o, "Body", d->body);
    put_flag(o, "DisableRedirects", d->disable_redirects);
    put_text(o, "TCP", d->tcp);
    put_flag(o, "TCPUseTLS", d->tcp_use_tls);
    put_text(o, "UDP", d->udp);
    put_text(o, "OSService", d->os_service);
    put_list(o, "ScriptArgs", d->args, d->arg_count);
    put_text(o, "DockerContainerID", d->docker_container_id);
    put_text(o, "Shell", d->shell);
    put_text(o, "H2PING", d->h2ping);
    put_flag(o, "H2PingUseTLS", d->h2ping_use_tls);
    put_text(o, "GRPC", d->grpc);
    put_flag(o, "GRPCUseTLS", d->grpc_use_tls);
    put_text(o, "AliasNode", d->alias_node);
    put_text(o, "AliasService", d->alias_service);
    put_number(o, "TTL", d->ttl_ns);
    put_text(o, "Damping", d->damping);
}

void check_def_json(struct buf *out, const struct check_def *d)
{
    struct object o = {out, false};

    put_duration(&o, "Interval", d->interval_ns);
    put_number(&o, "OutputMaxSize", d->output_max);
    put_duration(&o, "Timeout", d->timeout_ns);
    put_duration(&o, "DeregisterCriticalServiceAfter", d->deregister_after_ns);
    put_targets(&o, d);
    put_number(&o, "SuccessBeforePassing", d->success_before_passing);
    put_number(&o, "FailuresBeforeCritical", d->failures_before_critical);
    if (d->failures_before_warning >= 0 &&
        d->failures_before_warning != d->failures_before_critical) {
        put_key(&o, "FailuresBeforeWarning");
        buf_i64(out, d->failures_before_warning);
    }
    if (o.open)
        buf_putc(out, '}');
}
