/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* loop_certs - certificates for the tests of TLS, made on the spot. */
#ifndef TESTS_UNIT_LOOP_CERTS_H
#define TESTS_UNIT_LOOP_CERTS_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"

enum { DAY_S = 24 * 3600 };

struct cert {
    char cert[80], key[80]; /* files */
    X509 *x;
    EVP_PKEY *pkey;
};

static inline void cert_extend(X509 *x, int what, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, what, value);

    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static inline void cert_put_name(X509 *x, const char *name)
{
    char text[128];

    X509_NAME *n = X509_get_subject_name(x);
    assert_int_equal(X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC,
                                                (const unsigned char *)name, -1,
                                                -1, 0),
                     1);
    (void)snprintf(text, sizeof text, "DNS:%s", name);
    cert_extend(x, NID_subject_alt_name, text);
}

static inline void cert_write(const struct cert *c)
{
    FILE *f = fopen(c->cert, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, c->x), 1);
    (void)fclose(f);
    f = fopen(c->key, "w");
    assert_non_null(f);
    assert_int_equal(
        PEM_write_PrivateKey(f, c->pkey, NULL, NULL, 0, NULL, NULL), 1);
    (void)fclose(f);
}

/* In files folder/file.crt and .key. by NULL: self-signed, so that it is its own
 * authority. */
static inline struct cert cert_make(const char *folder, const char *file,
                                    const char *name, const struct cert *by,
                                    long from_s, long to_s)
{
    static long serial;
    struct cert c = {.x = X509_new(), .pkey = EVP_EC_gen("P-256")};

    assert_non_null(c.pkey);
    assert_non_null(c.x);
    (void)snprintf(c.cert, sizeof c.cert, "%s/%s.crt", folder, file);
    (void)snprintf(c.key, sizeof c.key, "%s/%s.key", folder, file);
    assert_int_equal(X509_set_version(c.x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(c.x), from_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(c.x), to_s));
    assert_int_equal(X509_set_pubkey(c.x, c.pkey), 1);
    cert_put_name(c.x, name);
    if (!by)
        cert_extend(c.x, NID_basic_constraints, "critical,CA:TRUE");
    assert_int_equal(
        X509_set_issuer_name(c.x, X509_get_subject_name(by ? by->x : c.x)), 1);
    assert_true(X509_sign(c.x, by ? by->pkey : c.pkey, EVP_sha256()) > 0);
    cert_write(&c);
    return c;
}

/* The files go, too. */
static inline void cert_fini(struct cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->pkey);
    (void)unlink(c->cert);
    (void)unlink(c->key);
}

#endif
