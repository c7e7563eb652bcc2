/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/impl.h"

#include <stdio.h>

enum { ANSWER_BYTES_MAX = 1 << 30 /* one body; beyond: 500 */ };

void api_call_init(struct api_call *c)
{
    *c = (struct api_call){.status = 200, .max_stale_ms = UINT64_MAX};
    buf_init(&c->body, ANSWER_BYTES_MAX);
    buf_init(&c->extra_head, 16 * 1024);
}

void api_call_fini(struct api_call *c)
{
    buf_fini(&c->body);
    buf_fini(&c->extra_head);
    buf_fini(&c->near_rows);
    buf_fini(&c->failover_body);
    buf_fini(&c->failover_params);
}

void api_error(struct api_call *c, int status, const char *fmt, ...)
{
    va_list ap;
    char text[1024];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_reset(&c->body);
    buf_puts(&c->body, text);
    c->status = status;
    c->content_type = "text/plain; charset=utf-8";
}

void api_json(struct api_call *c)
{
    c->status = 200;
    c->content_type = "application/json";
}

static void consul_lines(const struct api_call *c, struct buf *out,
                         uint64_t index, bool known_leader,
                         uint64_t last_contact_ms)
{
    if (c->consistency)
        http_head_line(out, "X-Consul-Effective-Consistency",
                       bytes_str(c->consistency));
    http_head_u64(out, "X-Consul-Index", index);
    /* An answer of nobody's knows of no leader. */
    http_head_line(
        out, "X-Consul-Knownleader",
        bytes_str(known_leader && c->status != 500 ? "true" : "false"));
    http_head_u64(out, "X-Consul-Lastcontact", last_contact_ms);
}

void api_head(const struct api_call *c, const struct api_self *self,
              struct buf *out, uint64_t index, bool known_leader,
              uint64_t last_contact_ms, bool gzip, size_t n, bool keep_alive,
              bool http_1_0)
{
    http_head_begin(out, c->status);
    if (c->content_type && n > 0)
        http_head_line(out, "Content-Type", bytes_str(c->content_type));
    if (gzip)
        http_head_line(out, "Content-Encoding", bytes_str("gzip"));
    if (!c->unrouted || gzip)
        http_head_line(out, "Vary", bytes_str("Accept-Encoding"));
    if (c->consul_headers)
        consul_lines(c, out, index, known_leader, last_contact_ms);
    if (c->held) {
        char text[32];
        (void)snprintf(text, sizeof text, "held=%u", c->held);
        http_head_line(out, "X-Muster-Guard", bytes_str(text));
    }
    buf_put(out, buf_bytes(&c->extra_head));
    buf_put(out, self->response_head);
    http_head_end(out, n, keep_alive, http_1_0);
}

void api_stream_head(const struct api_call *c, const struct api_self *self,
                     struct buf *out, bool http_1_0)
{
    http_head_begin(out, 200);
    http_head_line(out, "Content-Type",
                   bytes_str(c->content_type ? c->content_type
                                             : "text/plain; charset=utf-8"));
    http_head_line(out, "Vary", bytes_str("Accept-Encoding"));
    buf_put(out, buf_bytes(&c->extra_head));
    buf_put(out, self->response_head);
    buf_puts(out, http_1_0 ? "Connection: close\r\n\r\n"
                           : "Transfer-Encoding: chunked\r\n\r\n");
}
