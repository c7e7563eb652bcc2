/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* tls_issue - certificates for programs that want certificates, out of a shared
 * secret: who knows it has the same authority, without a file that is passed
 * around.
 *
 * The authority's key (Ed25519, RFC 8032) is derived from the secret, and its
 * certificate is the same wherever it is made. Under it each host makes itself
 * one with a key of its own. Validity has no clock in it: hosts whose clocks
 * differ must still find each other. */
#ifndef LOOP_TLS_ISSUE_H
#define LOOP_TLS_ISSUE_H

#include "base/buf.h"

struct tls_issued {
    struct buf authority, cert, key; /* PEM */
};

/* For host (an address in digits, or a name), named `name`. ERR_NOMEM (*ret then
 * holds nothing). */
MUST_USE enum err tls_issue(struct bytes secret, const char *host,
                            const char *name, struct tls_issued *ret);
void tls_issued_fini(struct tls_issued *i);

#endif
