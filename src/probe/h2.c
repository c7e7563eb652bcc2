/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe/h2.h"

#include <stdlib.h>

enum { SHOWN_MAX = 24 };

struct h2 {
    struct h2_events events;
    void *ctx;
    struct stream *stream;
    nghttp2_session *session;
    bool plain;
    bool heard;  /* a frame that was one */
    bool closed; /* while a callback of nghttp2's runs */
    bool inside; /* nghttp2 */
    char first[SHOWN_MAX];
    size_t first_n;
    struct buf body;
    size_t body_at;
};

static void h2_free(struct h2 *h)
{
    nghttp2_session_del(h->session);
    buf_fini(&h->body);
    free(h);
}

/* nghttp2 does not like to be ended from within. */
void h2_close(struct h2 *h)
{
    if (h->stream)
        stream_close(h->stream);
    h->stream = NULL;
    h->closed = true;
    if (!h->inside)
        h2_free(h);
}

static void over(struct h2 *h, enum err why, const char *text)
{
    struct h2_events events = h->events;
    struct errtext copy;
    void *ctx = h->ctx;

    errtext_set(&copy, "%s", text);
    h2_close(h);
    events.over(ctx, why, copy.s);
}

/* --- Frames --------------------------------------------------------------- */

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
                    void *ctx)
{
    struct h2 *h = ctx;

    (void)session;
    h->heard = true;
    if (h->closed)
        return 0;
    if (frame->hd.type == NGHTTP2_PING &&
        (frame->hd.flags & NGHTTP2_FLAG_ACK) && h->events.pong)
        h->events.pong(h->ctx);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_n, const uint8_t *value,
                     size_t value_n, uint8_t flags, void *ctx)
{
    struct h2 *h = ctx;

    (void)session;
    (void)frame;
    (void)flags;
    if (!h->closed && h->events.header)
        h->events.header(h->ctx, bytes_of(name, name_n),
                         bytes_of(value, value_n));
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                   const uint8_t *p, size_t n, void *ctx)
{
    struct h2 *h = ctx;

    (void)session;
    (void)flags;
    (void)id;
    if (!h->closed && h->events.data)
        h->events.data(h->ctx, bytes_of(p, n));
    return 0;
}

static int on_stream_end(nghttp2_session *session, int32_t id,
                         uint32_t error_code, void *ctx)
{
    struct h2 *h = ctx;

    (void)session;
    (void)id;
    if (!h->closed && h->events.answered)
        h->events.answered(h->ctx, error_code);
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *p,
                         size_t n, uint32_t *flags, nghttp2_data_source *source,
                         void *ctx)
{
    struct h2 *h = ctx;
    struct bytes left = bytes_skip(buf_bytes(&h->body), h->body_at);

    (void)session;
    (void)id;
    (void)source;
    left = bytes_head(left, n);
    if (left.n)
        memcpy(p, left.p, left.n);
    h->body_at += left.n;
    if (h->body_at == h->body.n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left.n;
}

static bool new_session(struct h2 *h)
{
    nghttp2_session_callbacks *c;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, 16 * 1024},
    };

    if (nghttp2_session_callbacks_new(&c) != 0)
        return false;
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_end);
    int e = nghttp2_session_client_new(&h->session, c, h);
    nghttp2_session_callbacks_del(c);
    return e == 0 && nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE,
                                             settings, 2) == 0;
}

/* --- The connection ------------------------------------------------------- */

/* What nghttp2 has to say goes out, in one piece: a server that closes after its
 * first read has then read all, and its last word is not lost to a reset. False:
 * gone. */
static bool flush(struct h2 *h)
{
    struct buf out = {0};
    const uint8_t *p;
    ssize_t n = 0;
    enum err e = ERR_OK;

    h->inside = true;
    while (!h->closed && (n = nghttp2_session_mem_send(h->session, &p)) > 0)
        buf_put(&out, bytes_of(p, (size_t)n));
    h->inside = false;
    if (!h->closed && n == 0 && out.n)
        e = out.bad ? ERR_NOMEM : stream_write(h->stream, buf_bytes(&out));
    buf_fini(&out);
    if (h->closed)
        h2_free(h);
    else if (n < 0)
        over(h, ERR_IO, nghttp2_strerror((int)n));
    else if (e != ERR_OK)
        over(h, e,
             e == ERR_FULL ? "the server takes no more bytes"
                           : "out of memory");
    else
        return true;
    return false;
}

/* "HTTP/1.1 400 Bad" and the like tell more than any code. */
static void put_first(const struct h2 *h, struct buf *out)
{
    for (size_t i = 0; i < h->first_n; i++) {
        unsigned char c = (unsigned char)h->first[i];
        if (c >= ' ' && c < 0x7f && c != '"' && c != '\\')
            buf_putc(out, (char)c);
        else
            buf_printf(out, "\\x%02x", c);
    }
}

static void not_http2(struct h2 *h, const char *error)
{
    struct buf text = {0};
    struct errtext copy;

    if (!h->heard && h->first_n) {
        buf_puts(&text, "the server does not speak HTTP/2: it began with \"");
        put_first(h, &text);
        buf_puts(&text, "\"");
        if (h->first[0] == 0x15 || h->first[0] == 0x16)
            buf_puts(&text, " (that looks like TLS)");
    } else if (!h->heard && h->plain) {
        buf_printf(&text,
                   "%s before any HTTP/2 frame; a server that wants TLS "
                   "does so too",
                   error);
    } else {
        buf_puts(&text, error);
    }
    errtext_set(&copy, "%.*s", BYTES_ARG(buf_bytes(&text)));
    buf_fini(&text);
    over(h, ERR_IO, copy.s);
}

static void on_open(void *ctx)
{
    struct h2 *h = ctx;

    h->events.open(h->ctx);
    (void)flush(h);
}

static void on_bytes(void *ctx, struct bytes b)
{
    struct h2 *h = ctx;

    if (h->first_n < sizeof h->first) {
        struct bytes head = bytes_head(b, sizeof h->first - h->first_n);
        memcpy(h->first + h->first_n, head.p, head.n);
        h->first_n += head.n;
    }
    h->inside = true;
    ssize_t n = nghttp2_session_mem_recv(h->session, (const uint8_t *)b.p, b.n);
    h->inside = false;
    if (h->closed)
        h2_free(h);
    else if (n < 0)
        not_http2(h, nghttp2_strerror((int)n));
    else if (flush(h) && !nghttp2_session_want_read(h->session))
        not_http2(h, "the server broke the HTTP/2 protocol, or ended the "
                     "connection with GOAWAY");
}

static void on_over(void *ctx, enum err why, const char *text)
{
    struct h2 *h = ctx;

    h->stream = NULL;
    if (why == ERR_CLOSED)
        not_http2(h, "the server closed the connection");
    else if (why == ERR_IO && bytes_starts(bytes_str(text), bytes_str("read ")))
        not_http2(h, text);
    else
        over(h, why, text);
}

/* --- For checks ----------------------------------------------------------- */

enum err h2_ping(struct h2 *h)
{
    static const uint8_t opaque[8] = "muster";
    return nghttp2_submit_ping(h->session, NGHTTP2_FLAG_NONE, opaque) == 0
               ? ERR_OK
               : ERR_NOMEM;
}

enum err h2_request(struct h2 *h, const nghttp2_nv *headers, size_t n,
                    struct bytes body)
{
    const nghttp2_data_provider provider = {.read_callback = read_body};

    buf_put(&h->body, body);
    if (h->body.bad || nghttp2_submit_request(h->session, NULL, headers, n,
                                              &provider, NULL) < 0)
        return ERR_NOMEM;
    return ERR_OK;
}

bool h2_open(struct check *c, struct bytes target, bool use_tls,
             const struct h2_events *events, void *ctx, struct h2 **ret)
{
    static const struct stream_events stream_events = {on_open, on_bytes,
                                                       on_over};
    struct h2 *h = xzalloc(sizeof *h);

    h->events = *events;
    h->ctx = ctx;
    h->plain = !use_tls;
    require(new_session(h)); /* out of memory, or wrong options of ours */
    if (check_stream(c, target, use_tls, "h2", &stream_events, h, &h->stream)) {
        *ret = h;
        return true;
    }
    h2_free(h);
    return false;
}
