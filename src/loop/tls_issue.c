/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_issue.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "loop/tls_psk.h"

enum { SEED_BYTES = 32, SERIAL_BYTES = 16 };

/* RFC 5280 4.1.2.5.2. */
static const char from[] = "20200101000000Z", until[] = "21200101000000Z";

static bool extend(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;

    X509_EXTENSION_free(e);
    return ok;
}

static bool put_serial(X509 *x, const unsigned char *random)
{
    unsigned char bytes[SERIAL_BYTES];

    memcpy(bytes, random, sizeof bytes);
    bytes[0] = (bytes[0] & 0x3f) | 0x40; /* positive, always as long */
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

    BN_free(n);
    return ok;
}

static bool put_name(X509_NAME *to, const char *name)
{
    return to && X509_NAME_add_entry_by_txt(to, "CN", MBSTRING_UTF8,
                                            (const unsigned char *)name, -1, -1,
                                            0) == 1;
}

static X509 *blank(const char *subject, const char *issuer, EVP_PKEY *key,
                   const unsigned char *serial)
{
    X509 *x = X509_new();

    if (x && X509_set_version(x, X509_VERSION_3) == 1 &&
        put_serial(x, serial) && put_name(X509_get_subject_name(x), subject) &&
        put_name(X509_get_issuer_name(x), issuer) &&
        ASN1_TIME_set_string(X509_getm_notBefore(x), from) == 1 &&
        ASN1_TIME_set_string(X509_getm_notAfter(x), until) == 1 &&
        X509_set_pubkey(x, key) == 1)
        return x;
    X509_free(x);
    return NULL;
}

/* Ed25519 takes no separate digest. */
static bool sign(X509 *x, EVP_PKEY *key)
{
    return X509_sign(x, key, NULL) > 0;
}

static const char authority_name[] = "muster cluster";

static X509 *authority(EVP_PKEY *key, struct bytes secret)
{
    unsigned char serial[SERIAL_BYTES];
    X509 *x = NULL;

    if (tls_derive(secret, "muster cluster, CA serial", serial, sizeof serial))
        x = blank(authority_name, authority_name, key, serial);
    if (x &&
        extend(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        extend(x, x, NID_key_usage, "critical,keyCertSign") &&
        extend(x, x, NID_subject_key_identifier, "hash") && sign(x, key))
        return x;
    X509_free(x);
    return NULL;
}

static bool alt_name(X509 *x, X509 *ca, const char *host)
{
    unsigned char address[16];
    char text[300];
    bool ip = inet_pton(AF_INET, host, address) == 1 ||
              inet_pton(AF_INET6, host, address) == 1;

    (void)snprintf(text, sizeof text, "%s:%s", ip ? "IP" : "DNS", host);
    return extend(x, ca, NID_subject_alt_name, text);
}

static X509 *own(EVP_PKEY *key, EVP_PKEY *ca_key, X509 *ca, const char *host,
                 const char *name)
{
    unsigned char serial[SERIAL_BYTES];
    X509 *x = NULL;

    if (RAND_bytes(serial, sizeof serial) == 1)
        x = blank(name, authority_name, key, serial);
    if (x && extend(x, ca, NID_basic_constraints, "critical,CA:FALSE") &&
        extend(x, ca, NID_key_usage, "critical,digitalSignature") &&
        extend(x, ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
        extend(x, ca, NID_authority_key_identifier, "keyid:always") &&
        alt_name(x, ca, host) && sign(x, ca_key))
        return x;
    X509_free(x);
    return NULL;
}

static bool take_bio(BIO *b, struct buf *ret)
{
    char *p;
    long n = BIO_get_mem_data(b, &p);

    buf_init(ret, 0);
    buf_put_n(ret, p, n > 0 ? (size_t)n : 0);
    return n > 0 && !ret->bad;
}

static bool put_cert(X509 *x, struct buf *ret)
{
    BIO *b = BIO_new(BIO_s_mem());
    bool ok = b && PEM_write_bio_X509(b, x) == 1 && take_bio(b, ret);

    BIO_free(b);
    return ok;
}

static bool put_key(EVP_PKEY *key, struct buf *ret)
{
    BIO *b = BIO_new(BIO_s_secmem());
    bool ok =
        b && PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) == 1 &&
        take_bio(b, ret);

    BIO_free(b);
    return ok;
}

enum err tls_issue(struct bytes secret, const char *host, const char *name,
                   struct tls_issued *ret)
{
    unsigned char seed[SEED_BYTES];
    EVP_PKEY *ca_key = NULL, *key = NULL;
    X509 *ca = NULL, *x = NULL;
    struct tls_issued made = {0};

    if (tls_derive(secret, "muster cluster, CA key", seed, sizeof seed))
        ca_key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed,
                                              sizeof seed);
    if (ca_key)
        ca = authority(ca_key, secret);
    key = ca ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : NULL;
    if (key)
        x = own(key, ca_key, ca, host, name);
    bool ok = x && put_cert(ca, &made.authority) && put_cert(x, &made.cert) &&
              put_key(key, &made.key);
    OPENSSL_cleanse(seed, sizeof seed);
    X509_free(x);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
    if (!ok) {
        ERR_clear_error();
        tls_issued_fini(&made);
        return ERR_NOMEM;
    }
    *ret = made;
    return ERR_OK;
}

void tls_issued_fini(struct tls_issued *i)
{
    buf_fini(&i->authority);
    buf_fini(&i->cert);
    if (i->key.p)
        OPENSSL_cleanse(i->key.p, i->key.n);
    buf_fini(&i->key);
}
