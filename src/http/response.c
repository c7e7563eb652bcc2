/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/response.h"

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Entity"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

void http_head_begin(struct buf *out, int status)
{
    if (status == 200) {
        buf_puts(out, "HTTP/1.1 200 OK\r\n");
        return;
    }
    buf_puts(out, "HTTP/1.1 ");
    buf_i64(out, status);
    buf_putc(out, ' '); /* stays without a reason too (RFC 9112 4) */
    buf_puts(out, http_reason(status));
    buf_puts(out, "\r\n");
}

static bool control_byte(char c)
{
    return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

void http_head_line(struct buf *out, const char *name, struct bytes value)
{
    size_t from = 0;

    buf_puts(out, name);
    buf_puts(out, ": ");
    for (size_t i = 0; i < value.n; i++) {
        if (!control_byte(value.p[i]))
            continue;
        buf_put_n(out, value.p + from, i - from);
        from = i + 1;
    }
    buf_put(out, bytes_skip(value, from));
    buf_puts(out, "\r\n");
}

void http_head_u64(struct buf *out, const char *name, uint64_t value)
{
    buf_puts(out, name);
    buf_puts(out, ": ");
    buf_u64(out, value);
    buf_puts(out, "\r\n");
}

void http_head_end(struct buf *out, size_t content_length, bool keep_alive,
                   bool http_1_0)
{
    http_head_u64(out, "Content-Length", content_length);
    /* Each version has its own default; only the other needs saying. */
    if (!keep_alive)
        buf_puts(out, "Connection: close\r\n");
    else if (http_1_0)
        buf_puts(out, "Connection: keep-alive\r\n");
    buf_puts(out, "\r\n");
}
