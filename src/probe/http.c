/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/buf.h"
#include "health/judge.h"
#include "probe/impl.h"

enum { HEADERS_MAX = CHECK_HEADERS_MAX + 3 };

/* What a check's request always has, unless the definition says otherwise. */
static const struct fetch_header defaults[] = {
    {"User-Agent", "Consul Health Check"},
    {"Accept", "text/plain, text/*, */*"},
};

static bool defines(const struct check_def *d, const char *name)
{
    for (size_t i = 0; i < d->header_count; i++)
        if (bytes_eq_fold(d->headers[i].name, bytes_str(name)))
            return true;
    return false;
}

static size_t headers(const struct check_def *d, struct arena *a,
                      struct fetch_header *out)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
        if (!defines(d, defaults[i].name))
            out[n++] = defaults[i];
    for (size_t i = 0; i < d->header_count && n < HEADERS_MAX; i++) {
        const char *name = arena_str(a, d->headers[i].name);
        const char *value = arena_str(a, d->headers[i].value);
        if (name && value)
            out[n++] = (struct fetch_header){name, value};
    }
    return n;
}

static enum status status_of_http(int code)
{
    return code >= 200 && code < 300 ? STATUS_PASSING
           : code == 429             ? STATUS_WARNING
                                     : STATUS_CRITICAL;
}

static struct bytes method_of(const struct check_def *d)
{
    return d->method.n ? d->method : bytes_str("GET");
}

static void answered(void *ctx, const struct fetch_result *r)
{
    struct check *k = ctx;
    struct buf out;
    enum status status = STATUS_CRITICAL;
    buf_init(&out, 0);
    if (r->err == ERR_OK) {
        status = status_of_http(r->status);
        buf_printf(&out, "HTTP %.*s %.*s: %.*s Output: ",
                   BYTES_ARG(method_of(&k->def)), BYTES_ARG(k->def.http),
                   BYTES_ARG(r->status_line));
        output_tail(&out, r->body, r->body_total_bytes, k->output_max, false);
    } else {
        buf_puts(&out, r->text.s[0] ? r->text.s : err_text(r->err));
    }
    check_finished(k, status, buf_bytes(&out));
    buf_fini(&out);
}

void http_begin(struct check *k)
{
    const struct check_def *d = &k->def;
    struct fetch_header lines[HEADERS_MAX];
    struct arena a;
    arena_init(&a, 0);
    struct fetch_options o = {
        .method = arena_str(&a, method_of(d)),
        .url = arena_str(&a, d->http),
        .headers = lines,
        .header_count = headers(d, &a, lines),
        .body = d->body,
        .timeout_ms = (uint32_t)k->timeout_ms,
        .follow_redirects = !d->disable_redirects,
        .tls_skip_verify = d->tls_skip_verify,
        .tls_server_name =
            d->tls_server_name.n ? arena_str(&a, d->tls_server_name) : NULL,
        .body_keep_bytes = k->output_max,
    };
    struct fetch *x = NULL;
    enum err e = o.method && o.url
                     ? fetch_start(k->prober->fetcher, &o, answered, k, &x)
                     : ERR_NOMEM;
    arena_fini(&a);
    k->run = x;
    if (e != ERR_OK)
        check_finished(k, STATUS_CRITICAL, bytes_str(err_text(e)));
}

void http_cancel(struct check *k)
{
    fetch_cancel(k->run);
    check_finished(k, STATUS_CRITICAL, (struct bytes){0});
}
