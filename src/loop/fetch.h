/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* fetch - outgoing HTTP on a libuv loop, through libcurl's multi interface.
 *
 * Used by checks, by the store on etcd, later between servers; libcurl is mentioned in
 * fetch*.c only. One struct fetcher per loop thread; libcurl is initialised at
 * first use, so that a process that never asks never pays.
 *
 * HTTP/1.1, http and https only, at most ten redirects, no proxy whatever the
 * environment says, no cache of names. What a peer sends is kept within bounds:
 * body_keep_bytes (twice that while it comes), 256 KiB of headers. Errors read
 * as Go's programs write them, because that is what people know. */
#ifndef LOOP_FETCH_H
#define LOOP_FETCH_H

#include <uv.h>

#include "base/bytes.h"
#include "loop/budget.h"

struct fetcher;
struct tls_psk;

struct fetch_header {
    const char *name;
    const char *value;
};

struct fetch_options {
    const char *method; /* NULL: GET */
    const char *url;
    const char *unix_path; /* NULL: TCP */
    const struct fetch_header *headers;
    size_t header_count;
    struct bytes body;
    uint32_t timeout_ms;         /* whole request; 0: for ever */
    uint32_t connect_timeout_ms; /* until connected; 0: libcurl's 5 minutes */
    /* A connection whose peer has not acknowledged what was sent is given up by the
     * kernel after so long, even when this process is gone (tcp(7),
     * TCP_USER_TIMEOUT): what was asked then does not arrive minutes later. 0:
     * the kernel's quarter of an hour. */
    uint32_t unacked_ms;
    bool keep_connection; /* reuse; false: Connection: close */
    bool follow_redirects;
    bool tls_skip_verify;
    const char *tls_server_name; /* NULL: from the URL */
    const char *ca_file;         /* NULL: system */
    /* PEM, as tls_files_pem has it; not copied: it outlives the request. Goes
     * before ca_file. */
    struct bytes ca_pem;
    const char *cert_file; /* what to show to the peer; NULL: nothing */
    const char *key_file;  /* its key */
    /* https with who knows this key, and no certificates (tls_psk.h); not
     * copied. NULL: with certificates. */
    const struct tls_psk *psk;
    size_t body_keep_bytes;  /* last so many bytes of the answer are kept */
    bool body_refuse_larger; /* instead: ERR_LIMIT beyond body_keep_bytes */
    /* Not NULL: the body of a 200 goes here as it comes, and is not kept. It may
     * neither cancel nor close. */
    void (*on_piece)(void *ctx, struct bytes piece);
    void *piece_ctx;
    bool keep_head; /* the result has the head's lines; see fetch_head, too */
};

struct fetch_result {
    /* OK: an HTTP answer of whatever status came. ERR_REFUSED; ERR_UNAVAILABLE:
     * no way to the peer, or no such host; ERR_TIMEOUT. */
    enum err err;
    struct errtext
        text;    /* e.g. dial tcp 127.0.0.1:1: connect: connection refused */
    bool unsent; /* an error, and surely nothing of the request went out */
    int status;
    struct bytes status_line; /* "200 OK" */
    struct bytes body;
    uint64_t body_total_bytes;
    uint64_t consul_index; /* X-Consul-Index; 0: none */
    /* From when there was a connection to the first byte of the answer; 0: there
     * was none. */
    uint64_t wait_us;
    struct bytes head; /* keep_head: lines of the answer's head, each with its
                          end, without the first */
};

struct fetch;

MUST_USE enum err fetcher_new(uv_loop_t *loop, struct fetcher **ret);

/* What sockets bring counts against it from now on. The caller's. */
void fetcher_set_budget(struct fetcher *f, struct loop_budget *b);

void fetcher_close(
    struct fetcher *f); /* cancels what runs, without callbacks */

/* Everything in o is copied. ret may be NULL. ERR_BAD: a header's name or value
 * cannot be sent, or tls_server_name with a malformed URL. done is called once
 * on the loop's thread, never before this returns; the result's views live
 * during the call. */
MUST_USE enum err fetch_start(struct fetcher *f, const struct fetch_options *o,
                              void (*done)(void *ctx,
                                           const struct fetch_result *r),
                              void *ctx, struct fetch **ret);

/* done is not called. Not from within its own done, nor after it. */
void fetch_cancel(struct fetch *x);

/* From within on_piece: the head's lines, as in the result (keep_head). */
struct bytes fetch_head(const struct fetch *x);

/* The value of a head's line, in whatever case its name is written; empty: there
 * is none. */
struct bytes fetch_head_line(struct bytes head, const char *name);

/* From within on_piece: no more is wanted. done comes, with an error. */
void fetch_stop(struct fetch *x);

/* For the command line: one request, in this thread, until it is answered. The
 * body is heap memory in *ret_body (free). */
MUST_USE enum err fetch_wait(const struct fetch_options *o, int *ret_status,
                             char **ret_body, size_t *ret_n, struct errtext *t);

#endif
