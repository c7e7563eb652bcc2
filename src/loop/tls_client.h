/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tls_client - whom an outgoing TLS connection trusts, and what it shows of
 * itself; and what went wrong, in the words that Go's programs use. */
#ifndef LOOP_TLS_CLIENT_H
#define LOOP_TLS_CLIENT_H

#include <stdbool.h>

#include "base/err.h"

struct ssl_st;

struct tls_files {
    const char *ca_file, *ca_path;    /* both NULL: those of the system */
    const char *cert_file, *key_file; /* PEM; NULL: none is shown */
};

struct tls_client;

/* Reads the files. ERR_BAD: t says which one and what is wrong with it. */
MUST_USE enum err tls_client_new(const struct tls_files *files,
                                 struct tls_client **ret, struct errtext *t);
void tls_client_free(struct tls_client *c); /* NULL is fine */

/* The client's side of a connection on fd, which stays the caller's. name is
 * what the certificate has to be valid for: a host name or an address in digits.
 * alpn: the only protocol offered; NULL: none. NULL: out of memory. */
struct ssl_st *tls_client_session(const struct tls_client *c, int fd,
                                  const char *name, bool skip_verify,
                                  const char *alpn);

/* Why a call on s failed that gave SSL_ERROR_SSL or SSL_ERROR_SYSCALL. */
void tls_client_error(const struct ssl_st *s, const char *name,
                      struct errtext *ret);

/* X509_V_... other than OK. */
void tls_verify_text(long verify, const char *name, struct errtext *ret);

/* Of OpenSSL's reasons: it was something else than TLS that the peer sent. */
bool tls_is_other_protocol(const char *reason);

#endif
