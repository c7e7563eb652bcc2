/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "probe/impl.h"

struct http {
    struct check *check;
    struct fetch *fetch;
};

enum { DEFAULT_HEADERS = 2 };

static const struct fetch_header defaults[DEFAULT_HEADERS] = {
    {"User-Agent", "Consul Health Check"},
    {"Accept", "text/plain, text/*, */*"},
};

static struct bytes method_of(const struct check_def *d)
{
    return d->method.n ? d->method : bytes_str("GET");
}

static enum status status_of_answer(int status)
{
    if (status >= 200 && status < 300)
        return STATUS_PASSING;
    return status == 429 ? STATUS_WARNING : STATUS_CRITICAL;
}

/* As Go's url.Error: Get "http://h/": what went wrong */
static void put_failure(struct buf *out, const struct check_def *d,
                        const char *text)
{
    struct bytes method = method_of(d);

    buf_put(out, bytes_head(method, 1));
    buf_put_fold(out, bytes_skip(method, 1));
    buf_puts(out, " \"");
    buf_put(out, d->http);
    buf_puts(out, "\": ");
    buf_puts(out, text);
}

static void put_answer(struct buf *out, const struct check *c,
                       const struct fetch_result *r)
{
    buf_puts(out, "HTTP ");
    buf_put(out, method_of(&c->def));
    buf_putc(out, ' ');
    buf_put(out, c->def.http);
    buf_puts(out, ": ");
    output_tail(out, r->status_line, r->status_line.n, r->status_line.n, false);
    buf_puts(out, " Output: ");
    output_tail(out, r->body, r->body_total_bytes, c->output_max, false);
}

static void on_done(void *ctx, const struct fetch_result *r)
{
    struct http *h = ctx;
    struct check *c = h->check;
    struct buf text = {0};
    enum status s = STATUS_CRITICAL;

    free(h);
    if (r->err == ERR_OK) {
        s = status_of_answer(r->status);
        put_answer(&text, c, r);
    } else {
        put_failure(&text, &c->def, r->text.s);
    }
    check_done(c, s, check_kind(r->err), &text);
}

static void cancel(void *run)
{
    struct http *h = run;
    struct prober *p = h->check->prober;
    struct lane *lane = h->check->lane;

    fetch_cancel(h->fetch);
    free(h);
    lane_left(p, lane);
}

static bool has_header(const struct check_def *d, const char *name)
{
    for (size_t i = 0; i < d->header_count; i++)
        if (bytes_eq_fold(d->headers[i].name, bytes_str(name)))
            return true;
    return false;
}

static size_t headers_of(const struct check_def *d, struct arena *a,
                         struct fetch_header *headers)
{
    size_t n = 0;

    for (size_t i = 0; i < d->header_count; i++)
        headers[n++] = (struct fetch_header){arena_str(a, d->headers[i].name),
                                             arena_str(a, d->headers[i].value)};
    for (size_t i = 0; i < DEFAULT_HEADERS; i++)
        if (!has_header(d, defaults[i].name))
            headers[n++] = defaults[i];
    return n;
}

static enum err begin(struct http *h)
{
    const struct check *c = h->check;
    const struct check_def *d = &c->def;
    struct fetch_header headers[CHECK_HEADERS_MAX + DEFAULT_HEADERS];
    struct arena a;

    arena_init(&a, 0);
    const struct fetch_options o = {
        .method = arena_str(&a, method_of(d)),
        .url = arena_str(&a, d->http),
        .headers = headers,
        .header_count = headers_of(d, &a, headers),
        .body = d->body,
        .timeout_ms = check_fetch_ms(c->timeout_ms),
        /* A new one for each run only where the definition asks for it. */
        .keep_connection = !has_header(d, "Connection"),
        .follow_redirects = !d->disable_redirects,
        .tls_skip_verify = d->tls_skip_verify,
        .tls_server_name =
            d->tls_server_name.n ? arena_str(&a, d->tls_server_name) : NULL,
        .ca_file = c->prober->o.tls.ca_file,
        .ca_pem = buf_bytes(&c->prober->ca_pem),
        .cert_file = c->prober->o.tls.cert_file,
        .key_file = c->prober->o.tls.key_file,
        .body_keep_bytes = c->output_max,
    };
    enum err e = fetch_start(c->prober->fetcher, &o, on_done, h, &h->fetch);
    arena_fini(&a);
    return e;
}

void http_run(struct check *c)
{
    struct http *h = xzalloc(sizeof *h);
    struct buf text = {0};

    h->check = c;
    enum err e = begin(h);
    if (e == ERR_OK) {
        c->run = h;
        c->cancel = cancel;
        return;
    }
    free(h);
    put_failure(&text, &c->def, err_text(e));
    check_done(c, STATUS_CRITICAL, RUN_ANSWERED, &text);
}
