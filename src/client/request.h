/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* request - one request to one server: its name looked up, the token and TLS
 * files of the handle. On the handle's loop. Internal. */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "client/impl.h"

struct request {
    struct muster *m;
    const struct server *server;
    const char *method, *target;
    struct bytes body; /* the caller's, until done */
    uint32_t timeout_ms;
    /* err of r: the server's name or a connection; else an answer. The request
     * may be started again from within. */
    void (*done)(struct request *r, const struct fetch_result *result);

    struct fetch *fetch;
    struct lookup lookup;
    bool busy;
};

/* done may be called before it returns (an address that cannot be asked). Not
 * while busy. */
void request_start(struct request *r);

/* done is not called. Fine if nothing runs. */
void request_stop(struct request *r);

#endif
