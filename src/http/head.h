/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* head - the text of a request line and its header lines, taken apart.
 *
 * Internal to http: request.c collects the text, this gives it a meaning.
 * Strict where a lenient reader and another one in front of us could disagree
 * about where a request ends (RFC 9112 11.2, request smuggling). A line may end
 * in LF alone; a CR elsewhere is refused. */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "http/request.h"

enum { HTTP_METHOD_MAX = 32 };

/* How the body comes. */
struct http_framing {
    bool chunked;
    uint64_t length; /* without chunked; 0: no body */
    bool expects_continue;
};

/* Checks one request line, without its line end, and fills method_name, method,
 * target and http_1_0. t names what is wrong. */
MUST_USE enum http_refusal
http_request_line(struct bytes line, struct http_request *r, struct errtext *t);

/* All of it. text is the head up to and with the empty line, of which the
 * caller has checked size, number of lines and control bytes; it must outlive
 * r, whose views point into it and into r->arena. */
MUST_USE enum http_refusal http_head_parse(struct bytes text, size_t lines,
                                           struct http_request *r,
                                           struct http_framing *ret,
                                           struct errtext *t);

#endif
