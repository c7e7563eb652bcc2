/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* TLS between the socket and the rest of a connection.
 *
 *     socket -> on_read -> conn_tls_input -> SSL_read  -> conn_input (plain)
 *     socket <- uv_write <- conn_write.c  <- conn_tls_seal (SSL_write)
 *
 * OpenSSL never touches the socket: its reads take from what was just read, its
 * writes gather in the thread's `sealed`, which whoever called sends at once,
 * before anything of another connection is sealed. So sealed bytes go out in
 * the order in which they were made.
 *
 * A handshake costs about a millisecond of this thread. Only a few are done per
 * turn, the others wait in `ahead` with their reading paused: however many
 * clients come at once, those who are connected are served between them. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/metric.h"
#include "loop/conn_impl.h"
#include "loop/tls_files.h"
#include "loop/tls_psk.h"

enum {
    RECORD_BYTES = 16 * 1024, /* RFC 8446 5.1 */
    HANDSHAKES_PER_TURN = 4,  /* steps of them */
    /* What OpenSSL has to say by itself (tickets, answers to key updates) while
     * the peer takes nothing. */
    CONTROL_BYTES_MAX = 64 * 1024,
    PEER_COMPLAIN_MS = 5 * 1000, /* of a thread */
};

struct conn_tls {
    SSL *ssl;
    struct bytes in;  /* sealed, and not read by OpenSSL yet */
    uint32_t control; /* bytes of OpenSSL's own that wait to be taken */
    bool seen;        /* a first byte came */
    bool handshaking;
    bool failed; /* nothing may be sealed any more */
};

/* Of a thread; one connection uses it at a time. */
struct tls_io {
    BIO_METHOD *method;
    struct buf sealed;
    uint64_t turn_ms; /* of the loop's clock; handshakes are counted in it */
    unsigned handshakes;
    char plain[RECORD_BYTES];
    char gathered[RECORD_BYTES];
};

/* --- The two ends that OpenSSL sees --------------------------------------- */

static int on_bio_read(BIO *b, char *to, size_t n, size_t *ret)
{
    struct conn_tls *t = ((struct conn *)BIO_get_data(b))->tls;

    BIO_clear_retry_flags(b);
    if (t->in.n == 0) {
        BIO_set_retry_read(b);
        return 0;
    }
    *ret = n < t->in.n ? n : t->in.n;
    memcpy(to, t->in.p, *ret);
    t->in = bytes_skip(t->in, *ret);
    return 1;
}

static int on_bio_write(BIO *b, const char *p, size_t n, size_t *ret)
{
    struct conn *c = BIO_get_data(b);
    struct buf *out = &c->server->tls_io->sealed;

    BIO_clear_retry_flags(b);
    buf_put_n(out, p, n);
    *ret = n;
    return !out->bad;
}

static long on_bio_ctrl(BIO *b, int what, long n, void *p)
{
    (void)b;
    (void)n;
    (void)p;
    return what == BIO_CTRL_FLUSH;
}

static struct tls_io *io_new(void)
{
    struct tls_io *io = calloc(1, sizeof *io);
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "muster connection");

    if (!io || !m || BIO_meth_set_read_ex(m, on_bio_read) != 1 ||
        BIO_meth_set_write_ex(m, on_bio_write) != 1 ||
        BIO_meth_set_ctrl(m, on_bio_ctrl) != 1) {
        BIO_meth_free(m);
        free(io);
        return NULL;
    }
    io->method = m;
    return io;
}

/* --- The server's side ---------------------------------------------------- */

enum err server_tls_init(struct http_server *s)
{
    if (!s->tls_io)
        s->tls_io = io_new();
    return s->tls_io ? ERR_OK : ERR_NOMEM;
}

enum err http_server_tls(struct http_server *s, struct tls_server *take)
{
    if (server_tls_init(s) != ERR_OK) {
        tls_server_unref(take);
        return ERR_NOMEM;
    }
    tls_server_unref(s->tls);
    s->tls = take;
    return ERR_OK;
}

void server_tls_fini(struct http_server *s)
{
    tls_server_unref(s->tls);
    tls_server_unref(s->peer_tls);
    if (!s->tls_io)
        return;
    buf_fini(&s->tls_io->sealed);
    BIO_meth_free(s->tls_io->method);
    free(s->tls_io);
}

/* --- Beginning and end ---------------------------------------------------- */

enum err conn_tls_begin(struct conn *c)
{
    struct http_server *s = c->server;
    struct conn_tls *t = calloc(1, sizeof *t);
    BIO *bio = BIO_new(s->tls_io->method);
    SSL *ssl = SSL_new(tls_server_context(c->from_peer ? s->peer_tls : s->tls));

    if (!t || !bio || !ssl) {
        free(t);
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return ERR_NOMEM;
    }
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio); /* takes it, once for both */
    SSL_set_accept_state(ssl);
    t->ssl = ssl;
    t->handshaking = true;
    c->tls = t;
    conn_handshake_due(c);
    return ERR_OK;
}

void conn_tls_free(struct conn *c)
{
    if (!c->tls)
        return;
    SSL_free(c->tls->ssl);
    free(c->tls);
    c->tls = NULL;
}

bool conn_tls_is_new(const struct conn *c)
{
    return c->tls && c->tls->handshaking;
}

void conn_tls_bye(struct conn *c)
{
    struct conn_tls *t = c->tls;

    if (!t || t->handshaking || t->failed || c->writes > 0)
        return;
    t->failed = true;
    struct buf *out = &c->server->tls_io->sealed;
    buf_reset(out);
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    uv_buf_t b = uv_buf_init(out->p, (unsigned)out->n);
    if (out->n > 0 && !out->bad)
        (void)uv_try_write(&c->uv.stream, &b, 1); /* a courtesy */
    buf_reset(out);
}

/* --- Out ------------------------------------------------------------------ */

struct buf *conn_tls_out(struct conn *c)
{
    return &c->server->tls_io->sealed;
}

/* Small parts share a record. */
bool conn_tls_seal(struct conn *c, const uv_buf_t *bufs, unsigned n)
{
    struct tls_io *io = c->server->tls_io;
    size_t have = 0;

    if (c->tls->failed)
        return false;
    ERR_clear_error();
    for (unsigned i = 0; i < n; i++) {
        size_t at = 0;
        while (at < bufs[i].len) {
            size_t left = bufs[i].len - at, room = RECORD_BYTES - have;
            size_t k = left < room ? left : room;
            memcpy(io->gathered + have, bufs[i].base + at, k);
            at += k;
            have += k;
            bool last = i + 1 == n && at == bufs[i].len;
            if (have < RECORD_BYTES && !last)
                continue;
            if (SSL_write(c->tls->ssl, io->gathered, (int)have) != (int)have) {
                c->tls->failed = true;
                ERR_clear_error();
                return false;
            }
            have = 0;
        }
    }
    return !io->sealed.bad;
}

struct control {
    uv_write_t req;
    struct conn *conn;
    char bytes[];
};

static void on_control_written(uv_write_t *req, int status)
{
    struct control *w = container_of(req, struct control, req);
    struct conn *c = w->conn;

    free(w);
    (void)status; /* the next read or write fails as well */
    if (c->tls && uv_stream_get_write_queue_size(&c->uv.stream) == 0)
        c->tls->control = 0;
}

static bool queue_control(struct conn *c, struct bytes rest)
{
    struct control *w = NULL;

    if (rest.n <= CONTROL_BYTES_MAX - c->tls->control)
        w = malloc(sizeof *w + rest.n);
    if (!w)
        return false;
    w->conn = c;
    memcpy(w->bytes, rest.p, rest.n);
    uv_buf_t b = uv_buf_init(w->bytes, (unsigned)rest.n);
    if (uv_write(&w->req, &c->uv.stream, &b, 1, on_control_written) != 0) {
        free(w);
        return false;
    }
    c->tls->control += (uint32_t)rest.n;
    c->queued_bytes += rest.n;
    return true;
}

/* Sends what OpenSSL said by itself. False: the connection is of no use. */
static bool flush(struct conn *c)
{
    struct buf *out = conn_tls_out(c);
    bool ok = !out->bad;

    if (ok && out->n > 0) {
        uv_buf_t b = uv_buf_init(out->p, (unsigned)out->n);
        int rc = uv_try_write(&c->uv.stream, &b, 1);
        size_t sent = rc > 0 ? (size_t)rc : 0;
        ok = rc >= 0 || rc == UV_EAGAIN;
        if (ok && sent < out->n)
            ok = queue_control(c, bytes_skip(buf_bytes(out), sent));
    }
    buf_reset(out);
    return ok;
}

/* --- The handshake -------------------------------------------------------- */

static bool may_handshake(struct http_server *s)
{
    struct tls_io *io = s->tls_io;
    uint64_t now_ms = uv_now(s->loop);

    if (io->turn_ms != now_ms) {
        io->turn_ms = now_ms;
        io->handshakes = 0;
    }
    return io->handshakes++ < HANDSHAKES_PER_TURN;
}

void conn_complain_of_peer(struct conn *c, const char *why)
{
    struct http_server *s = c->server;
    uint64_t now_ms = uv_now(s->loop);

    if (s->peer_complained_ms &&
        now_ms - s->peer_complained_ms < PEER_COMPLAIN_MS)
        return;
    s->peer_complained_ms = now_ms ? now_ms : 1;
    log_warn("peers", "a connection was refused: peer=%s why=\"%s\"",
             conn_peer(c), why);
}

void conn_tls_count_failure(struct conn *c, const char *why)
{
    if (c->from_peer && *why)
        conn_complain_of_peer(c, tls_psk_why(why));
    metric_add(METRIC_HTTP_TLS_FAILED, 1);
    log_debug("http", "TLS handshake failed: peer=%s error=\"%s\"",
              conn_peer(c), *why ? why : "the peer has left");
}

static void handshake_failed(struct conn *c)
{
    long verify = SSL_get_verify_result(c->tls->ssl);
    const char *why = verify == X509_V_OK
                          ? tls_last_reason()
                          : X509_verify_cert_error_string(verify);

    conn_tls_count_failure(c, *why ? why : "protocol error");
    ERR_clear_error();
    c->tls->failed = true;
    /* The alert is out; a peer who is still sending must not lose it. */
    if (flush(c))
        conn_linger(c);
    else
        conn_close(c);
}

/* True: it is over, and what follows is for us. */
static bool handshake(struct conn *c)
{
    struct conn_tls *t = c->tls;

    ERR_clear_error();
    int rc = SSL_do_handshake(t->ssl);
    int e = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, rc);
    if (e != SSL_ERROR_NONE && e != SSL_ERROR_WANT_READ) {
        handshake_failed(c);
        return false;
    }
    if (!flush(c)) {
        conn_close(c);
        return false;
    }
    if (e != SSL_ERROR_NONE)
        return false;
    t->handshaking = false;
    metric_add(METRIC_HTTP_TLS_HANDSHAKES, 1);
    conn_idle_due(c);
    return true;
}

/* --- In ------------------------------------------------------------------- */

static bool takes_input(const struct conn *c)
{
    return c->state != CONN_CLOSED && c->state != CONN_LINGERING;
}

static void read_all(struct conn *c)
{
    struct tls_io *io = c->server->tls_io;
    struct conn_tls *t = c->tls;

    while (takes_input(c)) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, io->plain, RECORD_BYTES);
        int e = n > 0 ? SSL_ERROR_NONE : SSL_get_error(t->ssl, n);
        bool ok = flush(c);
        if (ok && e == SSL_ERROR_NONE) {
            conn_input(c, bytes_of(io->plain, (size_t)n));
            continue;
        }
        if (ok && e == SSL_ERROR_ZERO_RETURN) {
            conn_on_eof(c);
        } else if (!ok || e != SSL_ERROR_WANT_READ) {
            t->failed = true;
            conn_lost(c);
        }
        ERR_clear_error();
        return;
    }
}

static void take_in(struct conn *c, struct bytes in)
{
    c->tls->in = in;
    if (!c->tls->handshaking || handshake(c))
        read_all(c);
    if (c->tls)
        c->tls->in = (struct bytes){0};
}

/* A letter begins the name of a method, and no record of TLS. */
static bool is_plain_http(struct bytes in)
{
    return in.p[0] >= 'A' && in.p[0] <= 'Z';
}

void conn_tls_input(struct conn *c, struct bytes in)
{
    struct conn_tls *t = c->tls;

    if (!t->seen && is_plain_http(in)) {
        conn_tls_count_failure(c, "http request");
        conn_tls_free(c);
        conn_refuse(c, 400,
                    c->from_peer
                        ? "This port is for servers and agents of one "
                          "cluster, which have its key (encrypt).\n"
                        : "Client sent an HTTP request to an HTTPS server.\n");
        return;
    }
    t->seen = true;
    if (!t->handshaking || (!c->ahead && may_handshake(c->server))) {
        take_in(c, in);
        return;
    }
    if (conn_keep_ahead(c, in)) {
        conn_pause_reading(c);
        conn_later(c);
    }
}

void conn_tls_later(struct conn *c)
{
    char *kept = c->ahead;
    struct bytes in = bytes_of(c->ahead, c->ahead_n);

    if (!kept)
        return;
    if (!may_handshake(c->server)) {
        conn_later(c);
        return;
    }
    c->ahead = NULL;
    c->ahead_n = 0;
    conn_resume_reading(c);
    if (takes_input(c))
        take_in(c, in);
    free(kept);
}
