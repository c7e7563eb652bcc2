/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_server.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "loop/tls_files.h"
#include "loop/tls_psk.h"

struct tls_server {
    SSL_CTX *ctx;
    _Atomic uint32_t refs;
};

/* --- Names ---------------------------------------------------------------- */

/* OpenSSL's name of a suite; NULL: there is none of that name. The standard's
 * names of ChaCha20 suites end in _SHA256, Go's older ones do not. */
static const char *cipher_name(struct bytes iana)
{
    char name[96];

    if (iana.n == 0 || iana.n + sizeof "_SHA256" > sizeof name)
        return NULL;
    memcpy(name, iana.p, iana.n);
    name[iana.n] = 0;
    if (bytes_ends(iana, bytes_str("_CHACHA20_POLY1305")))
        memcpy(name + iana.n, "_SHA256", sizeof "_SHA256");
    const char *found = OPENSSL_cipher_name(name);
    return strcmp(found, "(NONE)") == 0 ? NULL : found;
}

static struct bytes trimmed(struct bytes b)
{
    while (b.n && b.p[0] == ' ')
        b = bytes_skip(b, 1);
    while (b.n && b.p[b.n - 1] == ' ')
        b.n--;
    return b;
}

static enum err set_ciphers(SSL_CTX *ctx, const char *suites, struct errtext *t)
{
    struct bytes rest = bytes_str(suites);
    struct buf list = {0};
    enum err e = ERR_OK;

    while (e == ERR_OK && rest.n) {
        const char *comma = memchr(rest.p, ',', rest.n);
        size_t n = comma ? (size_t)(comma - rest.p) : rest.n;
        struct bytes one = trimmed(bytes_head(rest, n));
        const char *name = cipher_name(one);

        rest = bytes_skip(rest, comma ? n + 1 : n);
        if (!name) {
            errtext_set(t, "tls_cipher_suites: unsupported cipher \"%.*s\"",
                        (int)(one.n < 64 ? one.n : 64), one.p);
            e = ERR_BAD;
        } else {
            buf_puts(&list, list.n ? ":" : "");
            buf_puts(&list, name);
        }
    }
    buf_putc(&list, 0);
    if (e == ERR_OK && list.bad)
        e = ERR_NOMEM;
    if (e == ERR_OK && SSL_CTX_set_cipher_list(ctx, list.p) != 1) {
        errtext_set(t, "tls_cipher_suites: this OpenSSL offers none of them");
        e = ERR_BAD;
    }
    buf_fini(&list);
    return e;
}

/* --- The protocol above --------------------------------------------------- */

/* Whoever names protocols, and ours is not among them, is told so (RFC 7301 3.2)
 * instead of getting answers that he cannot read. */
static int choose_protocol(SSL *s, const unsigned char **ret,
                           unsigned char *ret_n, const unsigned char *offered,
                           unsigned n, void *ctx)
{
    static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
    unsigned char *found;

    (void)s;
    (void)ctx;
    if (SSL_select_next_proto(&found, ret_n, ours, sizeof ours - 1, offered,
                              n) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = found;
    return SSL_TLSEXT_ERR_OK;
}

/* --- Contexts ------------------------------------------------------------- */

/* Tells clients whose certificates are welcome, as some choose by it. */
static enum err name_authorities(SSL_CTX *ctx, const struct tls_files *f)
{
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();

    if (!names)
        return ERR_NOMEM;
    /* The files have been read before: what is missing now is only not named.
     */
    if (f->ca_file)
        (void)SSL_add_file_cert_subjects_to_stack(names, f->ca_file);
    if (f->ca_path)
        (void)SSL_add_dir_cert_subjects_to_stack(names, f->ca_path);
    ERR_clear_error();
    SSL_CTX_set_client_CA_list(ctx, names); /* takes them */
    return ERR_OK;
}

static enum err ask_clients(SSL_CTX *ctx, const struct tls_server_options *o,
                            struct errtext *t)
{
    static const unsigned char id[] = "muster";
    enum err e = ERR_OK;

    if (SSL_CTX_set_session_id_context(ctx, id, sizeof id - 1) != 1)
        return ERR_NOMEM;
    if (!o->verify_clients)
        return ERR_OK;
    e = tls_files_trust(ctx, &o->files, t);
    if (e == ERR_OK)
        e = name_authorities(ctx, &o->files);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    return e;
}

static void fill_common(SSL_CTX *ctx)
{
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* An idle connection gives its record buffers (33 kB) back. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    /* Tickets only: nothing is remembered of who was here. */
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
}

static enum err fill(SSL_CTX *ctx, const struct tls_server_options *o,
                     struct errtext *t)
{
    fill_common(ctx);
    if (o->prefer_server_ciphers)
        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (o->min_minor < 2)
        SSL_CTX_set_security_level(ctx, 0);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION + o->min_minor) != 1)
        return ERR_NOMEM;
    enum err e =
        o->cipher_suites ? set_ciphers(ctx, o->cipher_suites, t) : ERR_OK;
    if (e == ERR_OK)
        e = tls_files_show(ctx, &o->files, t);
    if (e == ERR_OK)
        e = ask_clients(ctx, o, t);
    return e;
}

enum err tls_server_new(const struct tls_server_options *o,
                        struct tls_server **ret, struct errtext *t)
{
    struct tls_server *s = calloc(1, sizeof *s);
    enum err e = ERR_NOMEM;

    require(o->files.cert_file && o->files.key_file);
    require(o->min_minor >= 0 && o->min_minor <= 3);
    errtext_set(t, "out of memory for TLS");
    ERR_clear_error();
    if (s)
        s->ctx = SSL_CTX_new(TLS_server_method());
    if (s && s->ctx)
        e = fill(s->ctx, o, t);
    if (e != ERR_OK) {
        if (s)
            SSL_CTX_free(s->ctx);
        free(s);
        return e;
    }
    atomic_init(&s->refs, 1);
    *ret = s;
    return ERR_OK;
}

enum err tls_server_new_psk(const struct tls_psk *psk, struct tls_server **ret)
{
    struct tls_server *s = calloc(1, sizeof *s);

    if (s)
        s->ctx = SSL_CTX_new(TLS_server_method());
    if (s && s->ctx)
        fill_common(s->ctx);
    if (!s || !s->ctx || !tls_psk_server(s->ctx, psk)) {
        if (s)
            SSL_CTX_free(s->ctx);
        free(s);
        ERR_clear_error();
        return ERR_NOMEM;
    }
    atomic_init(&s->refs, 1);
    *ret = s;
    return ERR_OK;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_server_unref(struct tls_server *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(s->ctx);
    free(s);
}

struct ssl_ctx_st *tls_server_context(const struct tls_server *s)
{
    return s->ctx;
}
