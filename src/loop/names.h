/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* names - host names to addresses, any number at once, on a libuv loop.
 *
 * libuv and libcurl have getaddrinfo do it on threads, of which a name server
 * that does not answer takes one for each name, for half a minute. c-ares asks
 * by itself: /etc/hosts and the servers of /etc/resolv.conf (no other NSS
 * module), which is read again when it has changed.
 *
 * Who asks for a name that is being asked for waits for the same answer. An
 * answer is kept for its TTL, but at least NAMES_KEEP_MIN_MS (many checks of
 * one host in a row) and at most NAMES_KEEP_MAX_MS. */
#ifndef LOOP_NAMES_H
#define LOOP_NAMES_H

#include <sys/socket.h>

#include "base/list.h"
#include "loop/timers.h"

enum {
    NAMES_HOST_MAX = 255, /* bytes of a name */
    NAMES_ADDRESSES_MAX = 16,
    NAMES_KEPT_MAX = 4096,
    NAMES_KEEP_MIN_MS = 1000,
    NAMES_KEEP_MAX_MS = 30 * 1000,
    NAMES_RELOAD_MS = 5000, /* looks whether resolv.conf has changed */
};

struct names;

struct names_answer {
    const char *error; /* NULL: n > 0; e.g. "no such host" */
    const struct sockaddr_storage *addresses; /* port 0 */
    size_t n;
};

/* Who waits; in the caller's memory. */
struct lookup {
    struct list link;
    void (*done)(struct lookup *l, const struct names_answer *a);
};

MUST_USE enum err names_new(uv_loop_t *loop, struct timers *timers,
                            struct names **ret);

/* Nobody waits any more. Frees itself. */
void names_close(struct names *n);

/* The answer if it is known at once: an address in digits, "" (this host), a
 * name kept; it lives until the caller returns to the loop. Else NULL, and
 * l->done is called once, unless names_forget comes first. */
const struct names_answer *names_ask(struct names *n, const char *host,
                                     struct lookup *l);

/* Harmless on one that was answered, if it was initialised by list_init. */
void names_forget(struct lookup *l);

#endif
