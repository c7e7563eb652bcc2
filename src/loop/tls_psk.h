/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tls_psk - TLS between those who share a key: no certificates, both sides
 * proven, everything encrypted, and the key itself never sent.
 *
 * TLS 1.3 with an external pre-shared key and an ephemeral exchange beside it
 * (RFC 8446 2.2, 4.2.11, psk_dhe_ke), so that a key that leaks later opens
 * nothing that was recorded before. What is derived from the configured secret
 * is derived by HKDF (RFC 5869) under a label for each use. A server has no
 * certificate at all: who does not know the key cannot end a handshake; a
 * client accepts none, so that a server without the key cannot either.
 *
 * The struct is a value; whoever is given its address needs it to stay. */
#ifndef LOOP_TLS_PSK_H
#define LOOP_TLS_PSK_H

#include "base/bytes.h"
#include "loop/tls_server.h"

enum { TLS_PSK_BYTES = 32 };

struct tls_psk {
    unsigned char key[TLS_PSK_BYTES];
};

/* n bytes that depend on secret and label, and tell nothing of either. False:
 * no memory. */
MUST_USE bool tls_derive(struct bytes secret, const char *label,
                         unsigned char *ret, size_t n);

MUST_USE bool tls_psk_from(struct bytes secret, struct tls_psk *ret);

/* Makes a context of OpenSSL's a client that speaks only with those who know
 * psk. False: no memory. */
MUST_USE bool tls_psk_client(struct ssl_ctx_st *ctx, const struct tls_psk *psk);

bool tls_psk_server(struct ssl_ctx_st *ctx, const struct tls_psk *psk);

/* A session of such a context; then what became of a handshake that failed with
 * this reason of OpenSSL's. */
bool tls_psk_is_used(const struct ssl_st *s);
const char *tls_psk_why(const char *reason);

/* For tls_client_session, whose name and skip_verify then mean nothing. */
MUST_USE enum err tls_client_new_psk(const struct tls_psk *psk,
                                     struct tls_client **ret);

/* The listener's side. psk stays as long as the context. ERR_NOMEM. */
MUST_USE enum err tls_server_new_psk(const struct tls_psk *psk,
                                     struct tls_server **ret);

#endif
