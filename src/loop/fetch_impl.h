/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* fetch_impl - one request under way, as the files of loop/fetch.h see it.
 *
 * fetch.c          starting, running, ending; libcurl's sockets on libuv
 * fetch_options.c  a request's options in libcurl's words
 * fetch_answer.c   what comes back, in bounded memory
 * fetch_error.c    what went wrong, in the words that Go's programs use */
#ifndef LOOP_FETCH_IMPL_H
#define LOOP_FETCH_IMPL_H

#include <curl/curl.h>
#include <netinet/in.h>

#include "base/buf.h"
#include "base/list.h"
#include "loop/fetch.h"

enum {
    FETCH_REDIRECTS_MAX = 10,            /* as Go's client */
    FETCH_HEADER_BYTES_MAX = 256 * 1024, /* of all answers to one request */
    FETCH_STATUS_LINE_MAX = 128,
    FETCH_CONNECTIONS_KEPT = 256, /* idle ones, for the next request */
    FETCH_SMALL_BYTES = 4096,
    FETCH_EASIES_KEPT = 32,
};

/* The last bytes of a body: up to twice what is kept, so that moving it to the
 * front costs each byte once. */
struct fetch_tail {
    char *p;
    size_t n, cap;
};

struct fetch {
    struct list link; /* in fetcher->fetches */
    struct fetcher *fetcher;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    void (*done)(void *ctx, const struct fetch_result *r);
    void *ctx;
    size_t keep_bytes;
    bool refuse_larger;
    const struct tls_psk *psk; /* NULL: certificates */
    void (*on_piece)(void *ctx, struct bytes piece);
    void *piece_ctx;

    struct fetch_tail tail;
    bool keep_head;
    struct buf head;
    uint64_t body_bytes, header_bytes;
    uint64_t consul_index;
    char status_line[FETCH_STATUS_LINE_MAX];
    bool headers_over; /* more than FETCH_HEADER_BYTES_MAX */
    bool body_over;    /* more than keep_bytes, and larger ones are refused */
    bool no_memory;
    bool went_well;
    bool stop; /* fetch_stop */
    /* The address tried last: "tcp 127.0.0.1:80" or "unix /path". */
    char dialed[sizeof "unix " + 108];
    char why[CURL_ERROR_SIZE];
};

/* --- fetch_options.c ------------------------------------------------------ */

/* x->easy exists. ERR_BAD: a header with control bytes, a malformed URL where
 * tls_server_name needs its parts; ERR_NOMEM. */
MUST_USE enum err fetch_set_options(struct fetch *x,
                                    const struct fetch_options *o);

/* --- fetch_answer.c ------------------------------------------------------- */

MUST_USE enum err fetch_set_answer(struct fetch *x);
struct bytes fetch_body(const struct fetch *x);
void fetch_free_answer(struct fetch *x);

/* --- fetch_error.c -------------------------------------------------------- */

/* code is not CURLE_OK. */
enum err fetch_error(const struct fetch *x, CURLcode code, struct errtext *ret);

#endif
