/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "loop/tls_files.h"
#include "loop/tls_psk.h"

struct tls_client {
    SSL_CTX *ctx;
    bool psk; /* nobody shows a certificate, so no name is looked for */
};

/* --- Errors --------------------------------------------------------------- */

void tls_verify_text(long verify, const char *name, struct errtext *ret)
{
    switch (verify) {
    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED: /* not looked at: the name did not fit */
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        errtext_set(ret, "x509: certificate is not valid for %s", name);
        return;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        errtext_set(ret, "x509: certificate has expired or is not yet valid");
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        errtext_set(ret, "x509: certificate signed by unknown authority");
        return;
    default:
        errtext_set(ret, "x509: %s", X509_verify_cert_error_string(verify));
        return;
    }
}

bool tls_is_other_protocol(const char *reason)
{
    return strstr(reason, "wrong version number") ||
           strstr(reason, "packet length too long") ||
           strstr(reason, "http request");
}

void tls_client_error(const struct ssl_st *s, const char *name,
                      struct errtext *ret)
{
    int e = errno;
    long verify = SSL_get_verify_result(s);
    const char *reason = tls_last_reason();

    if (*reason && tls_psk_is_used(s))
        errtext_set(ret, "tls: %s", tls_psk_why(reason));
    else if (verify != X509_V_OK && strstr(reason, "certificate verify failed"))
        tls_verify_text(verify, name, ret);
    else if (tls_is_other_protocol(reason))
        errtext_set(ret, "tls: first record does not look like a TLS "
                         "handshake");
    else if (strstr(reason, "unexpected eof"))
        errtext_set(ret, "EOF");
    else if (*reason)
        errtext_set(ret, "tls: %s", reason);
    else if (e == ECONNRESET)
        errtext_set(ret, "connection reset by peer");
    else
        errtext_set(ret, "EOF");
    ERR_clear_error();
}

/* --- Contexts ------------------------------------------------------------- */

static void set_mode(SSL_CTX *ctx)
{
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

enum err tls_client_new(const struct tls_files *files, struct tls_client **ret,
                        struct errtext *t)
{
    struct tls_client *c = calloc(1, sizeof *c);
    enum err e = ERR_NOMEM;

    errtext_set(t, "out of memory for TLS");
    ERR_clear_error();
    if (c)
        c->ctx = SSL_CTX_new(TLS_client_method());
    if (c && c->ctx)
        e = tls_files_trust(c->ctx, files, t);
    if (e == ERR_OK)
        e = tls_files_show(c->ctx, files, t);
    if (e != ERR_OK) {
        tls_client_free(c);
        return e;
    }
    set_mode(c->ctx);
    *ret = c;
    return ERR_OK;
}

enum err tls_client_new_psk(const struct tls_psk *psk, struct tls_client **ret)
{
    struct tls_client *c = calloc(1, sizeof *c);

    if (c)
        c->ctx = SSL_CTX_new(TLS_client_method());
    if (!c || !c->ctx || !tls_psk_client(c->ctx, psk)) {
        tls_client_free(c);
        ERR_clear_error();
        return ERR_NOMEM;
    }
    c->psk = true;
    set_mode(c->ctx);
    *ret = c;
    return ERR_OK;
}

void tls_client_free(struct tls_client *c)
{
    if (!c)
        return;
    SSL_CTX_free(c->ctx);
    free(c);
}

/* --- Sessions ------------------------------------------------------------- */

static bool expect_name(SSL *s, const char *name)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, name, address) == 1 ||
        inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s), name) == 1;
    return SSL_set_tlsext_host_name(s, name) == 1 &&
           SSL_set1_host(s, name) == 1;
}

static bool offer(SSL *s, const char *alpn)
{
    unsigned char list[64];
    size_t n = strlen(alpn);

    if (n + 1 > sizeof list)
        return false;
    list[0] = (unsigned char)n;
    memcpy(list + 1, alpn, n);
    return SSL_set_alpn_protos(s, list, (unsigned)n + 1) == 0;
}

struct ssl_st *tls_client_session(const struct tls_client *c, int fd,
                                  const char *name, bool skip_verify,
                                  const char *alpn)
{
    SSL *s = SSL_new(c->ctx);

    if (!s)
        return NULL;
    if (!c->psk)
        SSL_set_verify(s, skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    SSL_set_connect_state(s);
    if ((!c->psk && !expect_name(s, name)) || (alpn && !offer(s, alpn)) ||
        SSL_set_fd(s, fd) != 1) {
        SSL_free(s);
        return NULL;
    }
    return s;
}
