/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_psk.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* Who has another key sends the same name: so the key is what is wrong, and
 * the log can say that. */
static const char identity[] = "muster";

/* Where a context keeps the address of its key. */
static uv_once_t slot_once = UV_ONCE_INIT;
static int slot = -1;

static void make_slot(void)
{
    slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

/* A key goes with one hash (RFC 8446 4.2.11), and the suite is chosen first. */
static const char suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

static bool prepare(SSL_CTX *ctx, const struct tls_psk *psk)
{
    uv_once(&slot_once, make_slot);
    return slot >= 0 &&
           SSL_CTX_set_ex_data(ctx, slot, (void *)(uintptr_t)psk) == 1 &&
           SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
           SSL_CTX_set_ciphersuites(ctx, suites) == 1;
}

bool tls_psk_is_used(const SSL *s)
{
    return slot >= 0 && SSL_CTX_get_ex_data(SSL_get_SSL_CTX(s), slot);
}

/* The other side says no more than that a parameter is wrong (RFC 8446 4.2.11:
 * a binder that does not fit). */
const char *tls_psk_why(const char *reason)
{
    if (tls_is_other_protocol(reason))
        return "it speaks plain HTTP: encrypt is set here, and not there";
    if (strstr(reason, "alert illegal parameter") ||
        strstr(reason, "binder does not verify") ||
        strstr(reason, "decryption failed"))
        return "encrypt is another key there";
    if (strstr(reason, "certificate verify failed") ||
        strstr(reason, "no suitable signature algorithm") ||
        strstr(reason, "no shared cipher") ||
        strstr(reason, "unsupported protocol") ||
        strstr(reason, "alert handshake failure") ||
        strstr(reason, "alert protocol version"))
        return "it is no member of a cluster, or has no key (encrypt)";
    return reason;
}

/* --- Deriving ------------------------------------------------------------- */

bool tls_derive(struct bytes secret, const char *label, unsigned char *ret,
                size_t n)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret.p, secret.n),
        OSSL_PARAM_construct_octet_string(
            OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)label, strlen(label)),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx && EVP_KDF_derive(ctx, ret, n, params) == 1;

    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    if (!ok)
        ERR_clear_error();
    return ok;
}

bool tls_psk_from(struct bytes secret, struct tls_psk *ret)
{
    return tls_derive(secret, "muster peers, TLS 1.3 PSK", ret->key,
                      sizeof ret->key);
}

/* --- Sessions ------------------------------------------------------------- */

/* As if of an earlier connection. */
static SSL_SESSION *session(SSL *ssl)
{
    static const unsigned char aes_128_gcm_sha256[] = {0x13, 0x01};
    const struct tls_psk *psk = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), slot);
    const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
    SSL_SESSION *s = psk && cipher ? SSL_SESSION_new() : NULL;

    if (!s)
        return NULL;
    if (SSL_SESSION_set1_master_key(s, psk->key, sizeof psk->key) == 1 &&
        SSL_SESSION_set_cipher(s, cipher) == 1 &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) == 1)
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

/* Without a key to look at the handshake ends for want of a certificate. */
static int on_find(SSL *ssl, const unsigned char *id, size_t id_n,
                   SSL_SESSION **ret)
{
    *ret = NULL;
    if (id_n == sizeof identity - 1 && memcmp(id, identity, id_n) == 0)
        *ret = session(ssl);
    return 1;
}

static int on_use(SSL *ssl, const EVP_MD *md, const unsigned char **id,
                  size_t *id_n, SSL_SESSION **ret)
{
    *id = (const unsigned char *)identity;
    *id_n = sizeof identity - 1;
    *ret = NULL;
    /* After a HelloRetryRequest only a session of this hash may be used. */
    if (md && EVP_MD_get_size(md) != 32)
        return 1;
    *ret = session(ssl);
    return *ret != NULL;
}

static int refuse(X509_STORE_CTX *ctx, void *arg)
{
    (void)arg;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
}

bool tls_psk_client(SSL_CTX *ctx, const struct tls_psk *psk)
{
    if (!prepare(ctx, psk))
        return false;
    SSL_CTX_set_psk_use_session_callback(ctx, on_use);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, refuse, NULL);
    return true;
}

bool tls_psk_server(SSL_CTX *ctx, const struct tls_psk *psk)
{
    if (!prepare(ctx, psk))
        return false;
    SSL_CTX_set_psk_find_session_callback(ctx, on_find);
    /* The key opens the next connection as well as a ticket would. */
    return SSL_CTX_set_num_tickets(ctx, 0) == 1;
}
