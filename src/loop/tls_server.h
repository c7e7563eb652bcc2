/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tls_server - what a listener that speaks TLS shows of itself and asks of its
 * clients: certificate, trusted authorities, versions, ciphers.
 *
 * Immutable once made, counted, shared by all threads; a reload makes a new one
 * and gives it to each server (conn.h). A session's ticket is good for the one
 * that issued it only, so nobody resumes past a change of authorities. */
#ifndef LOOP_TLS_SERVER_H
#define LOOP_TLS_SERVER_H

#include "loop/tls_client.h"

struct tls_server_options {
    struct tls_files files; /* cert_file and key_file are needed */
    /* Clients must show a certificate that ca_file or ca_path signed. */
    bool verify_clients;
    /* TLS 1.min_minor, 0 to 3, is the oldest that is spoken. Those before 1.2
     * bring OpenSSL's security level down to 0: they sign with SHA-1. */
    int min_minor;
    /* IANA's names with commas between, for TLS up to 1.2 (1.3 has its own,
     * all of them good); NULL: OpenSSL's default. */
    const char *cipher_suites;
    bool prefer_server_ciphers;
};

struct tls_server;
struct ssl_ctx_st;

/* Reads the files. ERR_BAD: t says which one and what is wrong with it, or which
 * cipher suite is not known; ERR_NOMEM. */
MUST_USE enum err tls_server_new(const struct tls_server_options *o,
                                 struct tls_server **ret, struct errtext *t);
struct tls_server *tls_server_ref(struct tls_server *s); /* returns s */
void tls_server_unref(struct tls_server *s);             /* NULL is fine */

/* Without a new reference. */
struct ssl_ctx_st *tls_server_context(const struct tls_server *s);

#endif
