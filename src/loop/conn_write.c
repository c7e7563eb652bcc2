/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Answers on their way out. The socket usually takes everything at once, and
 * nothing is allocated; else a small block holds the references until it has.
 */
#include "loop/conn_impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/response.h"

enum { PARTS_MAX = 3 };

struct write {
    uv_write_t req;
    struct conn *conn;
    struct shared *a, *b;
};

static void on_written(uv_write_t *req, int status)
{
    struct write *w = container_of(req, struct write, req);
    struct conn *c = w->conn;

    shared_unref(w->a);
    shared_unref(w->b);
    free(w);
    c->writes--;
    if (c->state == CONN_CLOSED)
        return;
    if (status < 0) {
        conn_lost(c);
    } else if (c->writes == 0) {
        if (c->state == CONN_WRITING)
            conn_answered(c, true);
        else if (c->state == CONN_STREAMING)
            conn_stream_drained(c);
    }
}

/* What the socket did not take, first_n bytes less than bufs. */
static bool queue_rest(struct conn *c, uv_buf_t *bufs, unsigned n, size_t taken,
                       struct shared *take_a, struct shared *take_b)
{
    struct write *w = malloc(sizeof *w);
    size_t bytes = 0;

    if (!w)
        goto fail;
    while (taken >= bufs->len) {
        taken -= bufs->len;
        bufs++;
        n--;
    }
    bufs->base += taken;
    bufs->len -= taken;
    for (unsigned i = 0; i < n; i++)
        bytes += bufs[i].len;
    *w = (struct write){.conn = c, .a = take_a, .b = take_b};
    if (uv_write(&w->req, &c->uv.stream, bufs, n, on_written) != 0)
        goto fail;
    c->queued_bytes += bytes;
    if (c->writes++ == 0) {
        c->taken_bytes =
            c->queued_bytes - uv_stream_get_write_queue_size(&c->uv.stream);
        conn_stall_due(c);
    }
    return true;

fail:
    free(w);
    shared_unref(take_a);
    shared_unref(take_b);
    return false;
}

/* Sends a, b (either may be NULL) and tail (static). False: the connection
 * cannot be used any more. */
static bool conn_send(struct conn *c, struct shared *take_a,
                      struct shared *take_b, const char *tail)
{
    uv_buf_t bufs[PARTS_MAX];
    unsigned n = 0;
    size_t bytes = 0;

    if (take_a && take_a->n)
        bufs[n++] = (uv_buf_t){take_a->data, take_a->n};
    if (take_b && take_b->n)
        bufs[n++] = (uv_buf_t){take_b->data, take_b->n};
    if (tail)
        bufs[n++] = (uv_buf_t){(char *)tail, strlen(tail)};
    for (unsigned i = 0; i < n; i++)
        bytes += bufs[i].len;

    int rc = 0;
    if (c->writes == 0 && bytes > 0)
        rc = uv_try_write(&c->uv.stream, bufs, n);
    if (rc == UV_EAGAIN)
        rc = 0;
    if (rc >= 0 && (size_t)rc < bytes)
        return queue_rest(c, bufs, n, (size_t)rc, take_a, take_b);
    shared_unref(take_a);
    shared_unref(take_b);
    return rc >= 0;
}

static void finish(struct conn *c, struct shared *take_a, struct shared *take_b,
                   const char *tail)
{
    c->state = CONN_WRITING;
    if (!conn_send(c, take_a, take_b, tail))
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
    if (c->eof || !take_head || !conn_send(c, take_head, NULL, NULL))
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
    if (!conn_send(c, size, take_piece, c->http_1_0 ? NULL : "\r\n"))
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
    if (!conn_send(c, NULL, NULL, text))
        conn_close(c);
}
