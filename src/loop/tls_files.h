/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tls_files - authorities, certificates and keys from PEM files into a context
 * of OpenSSL; both sides of TLS need the same. */
#ifndef LOOP_TLS_FILES_H
#define LOOP_TLS_FILES_H

#include "base/buf.h"
#include "loop/tls_client.h"

struct ssl_ctx_st;

enum {
    TLS_CA_PATH_FILES_MAX = 4096,
    TLS_CA_BYTES_MAX = 16 << 20, /* of all authorities as text */
};

/* Trusts what ca_file and every file of ca_path hold, under whatever name (as
 * Consul does; OpenSSL's own wants names that are hashes); without both what
 * the system trusts. ERR_BAD, ERR_LIMIT: t says which file; ERR_NOMEM. */
MUST_USE enum err tls_files_trust(struct ssl_ctx_st *ctx,
                                  const struct tls_files *f, struct errtext *t);

/* The text of the same files, one after the other, for libcurl: *ret is made,
 * and left empty on an error. ERR_LIMIT: TLS_CA_BYTES_MAX. */
MUST_USE enum err tls_files_pem(const struct tls_files *f, struct buf *ret,
                                struct errtext *t);

/* Shows cert_file (with its chain), if there is one. ERR_BAD: t says which file,
 * or that the key is another certificate's. */
MUST_USE enum err tls_files_show(struct ssl_ctx_st *ctx,
                                 const struct tls_files *f, struct errtext *t);

/* OpenSSL's word for the last thing that failed; "" if nothing did. */
const char *tls_last_reason(void);

#endif
