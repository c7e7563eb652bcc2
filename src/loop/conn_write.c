/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way out. The socket usually takes everything at once, and
 * nothing is allocated; else a small block holds the references until it has.
 *
 * A long answer goes out in slices, one per turn of the loop, so that a hundred
 * connections that take megabytes do not keep a short answer waiting. */
#include "loop/conn_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/response.h"

enum {
    PARTS_MAX = 3,
    SLICE_BYTES = 128 << 10,
    /* Sealed bytes are a copy, and cost time to make. */
    TLS_SLICE_BYTES = 64 << 10,
};

struct write {
    uv_write_t req;
    struct conn *conn;
    struct shared *a, *b;
    char *sealed;             /* what uv_write has, with TLS */
    uv_buf_t left[PARTS_MAX]; /* not given to uv_write yet */
    unsigned n_left;
};

/* Bytes in the first parts of bufs, up to max: how many parts that is, the last
 * of them cut. */
static unsigned cut(const uv_buf_t *bufs, unsigned n, size_t max, uv_buf_t *ret)
{
    unsigned k = 0;

    for (; k < n && max > 0; k++) {
        ret[k] = bufs[k];
        if (ret[k].len > max)
            ret[k].len = max;
        max -= ret[k].len;
    }
    return k;
}

/* Without the first n bytes. */
static unsigned skip(uv_buf_t *bufs, unsigned n, size_t bytes)
{
    unsigned k = 0;

    while (k < n && bytes >= bufs[k].len)
        bytes -= bufs[k++].len;
    memmove(bufs, bufs + k, (n - k) * sizeof *bufs);
    if (k < n) {
        bufs[0].base += bytes;
        bufs[0].len -= bytes;
    }
    return n - k;
}

static size_t total(const uv_buf_t *bufs, unsigned n)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < n; i++)
        bytes += bufs[i].len;
    return bytes;
}

static void on_written(uv_write_t *req, int status);

/* A copy of sealed bytes goes to uv_write. */
static bool write_sealed(struct write *w, struct bytes sealed)
{
    struct conn *c = w->conn;

    free(w->sealed);
    w->sealed = malloc(sealed.n ? sealed.n : 1);
    if (!w->sealed)
        return false;
    memcpy(w->sealed, sealed.p, sealed.n);
    uv_buf_t b = uv_buf_init(w->sealed, (unsigned)sealed.n);
    if (uv_write(&w->req, &c->uv.stream, &b, 1, on_written) != 0)
        return false;
    c->queued_bytes += sealed.n;
    return true;
}

static bool write_tls_slice(struct write *w, size_t max)
{
    struct conn *c = w->conn;
    struct buf *out = conn_tls_out(c);
    uv_buf_t slice[PARTS_MAX];
    unsigned n = cut(w->left, w->n_left,
                     max < TLS_SLICE_BYTES ? max : TLS_SLICE_BYTES, slice);

    w->n_left = skip(w->left, w->n_left, total(slice, n));
    bool ok = conn_tls_seal(c, slice, n) && write_sealed(w, buf_bytes(out));
    buf_reset(out);
    return ok;
}

static bool write_slice(struct write *w, size_t max)
{
    if (w->conn->tls)
        return write_tls_slice(w, max);

    struct conn *c = w->conn;
    uv_buf_t slice[PARTS_MAX];
    unsigned n = cut(w->left, w->n_left, max, slice);
    size_t bytes = total(slice, n);

    w->n_left = skip(w->left, w->n_left, bytes);
    if (uv_write(&w->req, &c->uv.stream, slice, n, on_written) != 0)
        return false;
    c->queued_bytes += bytes;
    return true;
}

static void write_free(struct write *w)
{
    shared_unref(w->a);
    shared_unref(w->b);
    free(w->sealed);
    free(w);
}

static void stream_drained(struct conn *c)
{
    const struct http_server_events *e = &c->server->events;

    conn_stream_drained(c);
    if (e->drained)
        e->drained(e->ctx, c);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = container_of(req, struct write, req);
    struct conn *c = w->conn;

    if (status == 0 && w->n_left && c->state != CONN_CLOSED) {
        if (write_slice(w, SLICE_BYTES))
            return;
        status = UV_ENOMEM;
    }
    write_free(w);
    c->writes--;
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        conn_lost(c);
    } else if (c->writes == 0) {
        if (c->state == CONN_WRITING)
            conn_answered(c, true);
        else if (c->state == CONN_STREAMING)
            stream_drained(c);
    }
}

/* What the socket did not take: sealed bytes, then bufs. sliced: nothing else is
 * sent before it is all out. */
static bool queue_rest(struct conn *c, struct bytes sealed,
                       const uv_buf_t *bufs, unsigned n, bool sliced,
                       struct shared *take_a, struct shared *take_b)
{
    struct write *w = malloc(sizeof *w);

    if (!w) {
        shared_unref(take_a);
        shared_unref(take_b);
        return false;
    }
    *w = (struct write){.conn = c, .a = take_a, .b = take_b, .n_left = n};
    memcpy(w->left, bufs, n * sizeof *bufs);
    if (sealed.n ? !write_sealed(w, sealed)
                 : !write_slice(w, sliced ? SLICE_BYTES : SIZE_MAX)) {
        write_free(w);
        return false;
    }
    if (c->writes++ == 0) {
        c->taken_bytes =
            c->queued_bytes - uv_stream_get_write_queue_size(&c->uv.stream);
        conn_stall_due(c);
    }
    return true;
}

static bool send_tls(struct conn *c, uv_buf_t *bufs, unsigned n, bool sliced,
                     struct shared *take_a, struct shared *take_b)
{
    struct buf *out = conn_tls_out(c);
    uv_buf_t slice[PARTS_MAX];
    unsigned k = cut(bufs, n, sliced ? TLS_SLICE_BYTES : SIZE_MAX, slice);
    bool ok = conn_tls_seal(c, slice, k);
    struct bytes sealed = buf_bytes(out);

    n = skip(bufs, n, total(slice, k));
    if (ok && c->writes == 0 && sealed.n) {
        uv_buf_t b = uv_buf_init(out->p, (unsigned)sealed.n);
        int rc = uv_try_write(&c->uv.stream, &b, 1);
        ok = rc >= 0 || rc == UV_EAGAIN;
        sealed = bytes_skip(sealed, rc > 0 ? (size_t)rc : 0);
    }
    if (ok && (sealed.n > 0 || n > 0)) {
        if (sealed.n == 0)
            buf_reset(out); /* the next slice begins there */
        ok = queue_rest(c, sealed, bufs, n, sliced, take_a, take_b);
    } else {
        shared_unref(take_a);
        shared_unref(take_b);
    }
    buf_reset(out);
    return ok;
}

/* Sends a, b (either may be NULL) and tail (static). False: the connection
 * cannot be used any more. */
static bool conn_send(struct conn *c, struct shared *take_a,
                      struct shared *take_b, const char *tail, bool sliced)
{
    uv_buf_t bufs[PARTS_MAX], slice[PARTS_MAX];
    unsigned n = 0;

    if (take_a && take_a->n)
        bufs[n++] = (uv_buf_t){take_a->data, take_a->n};
    if (take_b && take_b->n)
        bufs[n++] = (uv_buf_t){take_b->data, take_b->n};
    if (tail)
        bufs[n++] = (uv_buf_t){(char *)tail, strlen(tail)};

    if (c->tls)
        return send_tls(c, bufs, n, sliced, take_a, take_b);
    int rc = 0;
    if (c->writes == 0 && n > 0) {
        unsigned k = cut(bufs, n, sliced ? SLICE_BYTES : SIZE_MAX, slice);
        rc = uv_try_write(&c->uv.stream, slice, k);
    }
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc >= 0)
        n = skip(bufs, n, (size_t)rc);
    if (rc >= 0 && n > 0)
        return queue_rest(c, (struct bytes){0}, bufs, n, sliced, take_a,
                          take_b);
    shared_unref(take_a);
    shared_unref(take_b);
    return rc >= 0;
}

static void finish(struct conn *c, struct shared *take_a, struct shared *take_b,
                   const char *tail)
{
    c->state = CONN_WRITING;
    if (!conn_send(c, take_a, take_b, tail, true))
        conn_close(c);
    else if (c->writes == 0)
        conn_answered(c, false);
}

void conn_answer(struct conn *c, struct shared *take_head,
                 struct shared *take_body)
{
    require(c->state == CONN_BUSY);
    if (!c->running)
        conn_release_request(c);
    if (!take_head) {
        shared_unref(take_body);
        conn_close(c);
        return;
    }
    finish(c, take_head, take_body, NULL);
}

/* --- Streams -------------------------------------------------------------- */

static void stream_failed(struct conn *c)
{
    c->broken = true;
    conn_later(c);
}

void conn_stream_begin(struct conn *c, struct shared *take_head)
{
    require(c->state == CONN_BUSY);
    if (!c->running)
        conn_release_request(c);
    c->state = CONN_STREAMING;
    if (c->eof || !take_head || !conn_send(c, take_head, NULL, NULL, false))
        stream_failed(c);
}

enum err conn_stream_piece(struct conn *c, struct shared *take_piece,
                           size_t max_bytes)
{
    require(c->state == CONN_STREAMING);
    if (c->broken)
        return ERR_CLOSED;
    if (uv_stream_get_write_queue_size(&c->uv.stream) > max_bytes)
        return ERR_FULL;
    if (take_piece->n == 0) { /* an empty chunk would end the body */
        shared_unref(take_piece);
        return ERR_OK;
    }
    struct shared *size = NULL;
    if (!c->http_1_0) {
        char text[24];
        int n = snprintf(text, sizeof text, "%zx\r\n", take_piece->n);
        size = shared_copy(bytes_of(text, (size_t)n));
        if (!size)
            return ERR_NOMEM;
    }
    if (!conn_send(c, size, take_piece, c->http_1_0 ? NULL : "\r\n", false))
        stream_failed(c);
    return ERR_OK;
}

void conn_stream_end(struct conn *c)
{
    require(c->state == CONN_STREAMING);
    if (c->broken) {
        conn_close(c);
        return;
    }
    c->keep_alive &= !c->http_1_0; /* its body ends with the connection */
    finish(c, NULL, NULL, c->http_1_0 ? NULL : "0\r\n\r\n");
}

/* --- Our own answers ------------------------------------------------------ */

size_t conn_refusal_text(char *ret, size_t n, int status, const char *text)
{
    int k = snprintf(ret, n,
                     "HTTP/1.1 %d %s\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\n"
                     "Connection: close\r\n\r\n%s",
                     status, http_reason(status), strlen(text), text);
    return k < 0 ? 0 : (size_t)k < n ? (size_t)k : n - 1;
}

void conn_refuse(struct conn *c, int status, const char *text)
{
    char answer[1024];
    size_t n = conn_refusal_text(answer, sizeof answer, status, text);
    struct shared *s = shared_copy(bytes_of(answer, n));

    require(c->state == CONN_READING);
    c->keep_alive = false;
    c->linger = true;
    c->due_ms = 0;
    if (s)
        finish(c, s, NULL, NULL);
    else
        conn_close(c);
}

void conn_write_continue(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    /* All earlier answers have been taken, so there is room; a socket that
     * takes half of it now would take half of nothing else either. */
    if (!conn_send(c, NULL, NULL, text, false))
        conn_close(c);
}
