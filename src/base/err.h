/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* err - every way in which something can fail, in one table.
 *
 * All front ends (HTTP, command line, later DNS) take text, status and exit
 * code from here, so they agree by construction. A function that can fail
 * returns enum err and is MUST_USE. struct errtext is added only where a human
 * reads it; it names the thing, the value, the limit and the way out. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdarg.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* X(name, text, HTTP status, exit code) */
/* clang-format off */
#define ERR_TABLE(X)                                                     \
    X(ERR_OK,          "ok",                                 200, 0)     \
    X(ERR_NOMEM,       "out of memory",                      500, 1)     \
    X(ERR_BAD,         "malformed or not allowed",           400, 1)     \
    X(ERR_LIMIT,       "over a limit",                       400, 1)     \
    X(ERR_NOT_FOUND,   "not found",                          404, 1)     \
    X(ERR_EXISTS,      "already there",                      409, 1)     \
    X(ERR_CONFLICT,    "changed meanwhile",                  409, 1)     \
    X(ERR_AGAIN,       "not yet; call again",                503, 1)     \
    X(ERR_FULL,        "queue or buffer full",               429, 1)     \
    X(ERR_CLOSED,      "closed",                             503, 1)     \
    X(ERR_LOCKED,      "in use by another process",          500, 1)     \
    X(ERR_TIMEOUT,     "timed out",                          500, 1)     \
    X(ERR_REFUSED,     "connection refused",                 500, 1)     \
    X(ERR_UNAVAILABLE, "store not reachable",                500, 1)     \
    X(ERR_UNKNOWN,     "outcome unknown",                    500, 1)     \
    X(ERR_COMPACTED,   "older than what is retained",        410, 1)     \
    X(ERR_NOSPACE,     "no space left on device",            500, 1)     \
    X(ERR_IO,          "input/output error",                 500, 1)     \
    X(ERR_CORRUPT,     "damaged data",                       500, 1)
/* clang-format on */

enum err {
#define X(name, text, http, code) name,
    ERR_TABLE(X)
#undef X
};

/* Static text, never NULL. */
const char *err_text(enum err e);

int err_http_status(enum err e);

/* A message for people. Zero-initialised means empty. */
struct errtext {
    char s[320]; /* a path, what is wrong with it and the way out */
};

/* Replaces the text; too long is cut and ends in "...". t may be NULL (then
 * nothing happens), so that callers who want no text need no branch. */
void errtext_set(struct errtext *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Puts a prefix before the text: each layer adds what it knows. */
void errtext_prefix(struct errtext *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
