/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/fetch_impl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- The body ------------------------------------------------------------- */

enum { TAIL_FIRST_BYTES = 1024 };

static bool tail_room(struct fetch_tail *t, size_t keep, size_t n)
{
    size_t most = keep * 2, cap = t->cap ? t->cap : TAIL_FIRST_BYTES;

    if (t->cap - t->n >= n)
        return true;
    if (t->n + n > most) { /* no growing: drop what is old */
        size_t old = t->n + n > keep ? t->n + n - keep : 0;
        old = old < t->n ? old : t->n;
        memmove(t->p, t->p + old, t->n - old);
        t->n -= old;
    }
    while (cap < t->n + n)
        cap *= 2;
    if (cap > most)
        cap = most;
    if (cap <= t->cap)
        return true;
    char *p = realloc(t->p, cap);
    if (!p)
        return false;
    t->p = p;
    t->cap = cap;
    return true;
}

/* At most `keep` of the newest bytes count. */
static bool tail_put(struct fetch_tail *t, size_t keep, struct bytes b)
{
    if (b.n >= keep) {
        b = bytes_skip(b, b.n - keep);
        t->n = 0;
    }
    if (b.n == 0)
        return true;
    if (!tail_room(t, keep, b.n))
        return false;
    memcpy(t->p + t->n, b.p, b.n);
    t->n += b.n;
    return true;
}

static bool answered_200(const struct fetch *x)
{
    long status = 0;
    (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
}

static size_t on_body(char *p, size_t size, size_t count, void *arg)
{
    struct fetch *x = arg;
    size_t n = size * count;

    x->body_bytes += n;
    if (x->on_piece && answered_200(x)) {
        x->on_piece(x->piece_ctx, bytes_of(p, n));
        return x->stop ? CURL_WRITEFUNC_ERROR : n;
    }
    x->body_over = x->refuse_larger && x->body_bytes > x->keep_bytes;
    if (x->body_over)
        return CURL_WRITEFUNC_ERROR;
    x->no_memory = !tail_put(&x->tail, x->keep_bytes, bytes_of(p, n));
    return x->no_memory ? CURL_WRITEFUNC_ERROR : n;
}

struct bytes fetch_body(const struct fetch *x)
{
    struct bytes all = bytes_of(x->tail.p, x->tail.n);
    return bytes_skip(all, all.n > x->keep_bytes ? all.n - x->keep_bytes : 0);
}

/* --- The head ------------------------------------------------------------- */

static struct bytes trim(struct bytes b)
{
    while (b.n && (b.p[0] == ' ' || b.p[0] == '\t'))
        b = bytes_skip(b, 1);
    while (b.n && (unsigned char)b.p[b.n - 1] <= ' ')
        b.n--;
    return b;
}

/* A status line: of the answer, or of one before it (1xx, a redirect). */
static void begin_answer(struct fetch *x, struct bytes line)
{
    struct bytes rest = trim(bytes_skip(line, bytes_find(line, ' ')));

    rest = bytes_head(rest, sizeof x->status_line - 1);
    memcpy(x->status_line, rest.p, rest.n);
    x->status_line[rest.n] = '\0';
    x->consul_index = 0;
    buf_reset(&x->head);
}

struct bytes fetch_head(const struct fetch *x)
{
    return buf_bytes(&x->head);
}

struct bytes fetch_head_line(struct bytes head, const char *name)
{
    while (head.n) {
        size_t end = bytes_find(head, '\n');
        struct bytes line = bytes_head(head, end);
        size_t colon = bytes_find(line, ':');
        struct bytes value = bytes_skip(line, colon + 1);
        head = bytes_skip(head, end + 1);
        if (!bytes_eq_fold(bytes_head(line, colon), bytes_str(name)))
            continue;
        while (value.n && strchr(" \t", value.p[0]))
            value = bytes_skip(value, 1);
        while (value.n && strchr(" \t\r", value.p[value.n - 1]))
            value.n--;
        return value;
    }
    return bytes_of("", 0);
}

static void note_header(struct fetch *x, struct bytes line)
{
    static const char index[] = "X-Consul-Index";
    size_t colon = bytes_find(line, ':');
    uint64_t value;

    if (x->keep_head && colon < line.n)
        buf_put(&x->head, line);
    if (bytes_eq_fold(bytes_head(line, colon), bytes_str(index)) &&
        bytes_u64(trim(bytes_skip(line, colon + 1)), &value) == ERR_OK)
        x->consul_index = value;
}

/* libcurl keeps all headers: without a bound here a peer could fill the memory
 * with them. */
static size_t on_header(char *p, size_t size, size_t count, void *arg)
{
    struct fetch *x = arg;
    size_t n = size * count;
    struct bytes line = bytes_of(p, n);

    x->header_bytes += n;
    x->headers_over = x->header_bytes > FETCH_HEADER_BYTES_MAX;
    if (x->headers_over)
        return 0;
    if (bytes_starts(line, bytes_str("HTTP/")))
        begin_answer(x, line);
    else
        note_header(x, line);
    return n;
}

/* --- The connection ------------------------------------------------------- */

static void note_dialed(struct fetch *x, const struct sockaddr *a)
{
    char host[INET6_ADDRSTRLEN];
    size_t n = sizeof x->dialed;

    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)a;
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        (void)snprintf(x->dialed, n, "tcp %s:%d", host, ntohs(v4->sin_port));
    } else if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const void *)a;
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        (void)snprintf(x->dialed, n, "tcp [%s]:%d", host, ntohs(v6->sin6_port));
    } else if (a->sa_family == AF_UNIX) {
        const struct sockaddr_un *u = (const void *)a;
        (void)snprintf(x->dialed, n, "unix %.107s", u->sun_path);
    }
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose,
                                    struct curl_sockaddr *a)
{
    struct fetch *x = arg;

    (void)purpose;
    note_dialed(x, &a->addr);
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

enum err fetch_set_answer(struct fetch *x)
{
    CURL *c = x->easy;

    if (curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_WRITEDATA, x) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_HEADERDATA, x) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open_socket) !=
            CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->why) != CURLE_OK ||
        curl_easy_setopt(c, CURLOPT_PRIVATE, x) != CURLE_OK)
        return ERR_NOMEM;
    return ERR_OK;
}

void fetch_free_answer(struct fetch *x)
{
    free(x->tail.p);
    buf_fini(&x->head);
}
