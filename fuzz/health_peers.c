/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the peers of checks send. The first byte says what the rest is: 'd' a
 * Docker stream, else a gRPC answer (the byte is its grpc-status, the next its
 * HTTP status less 150, then content type, message and body, each after a
 * length). Properties: a stream cut anywhere gives the same; a text is UTF-8; an
 * answer passes only if it says SERVING. */
#include <stdint.h>
#include <stdlib.h>

#include "base/reader.h"
#include "health/docker.h"
#include "health/grpc.h"

static void need(bool x)
{
    if (!x)
        abort();
}

static void docker(struct bytes b)
{
    struct docker_stream whole = {0}, cut = {0};
    struct ring one, two;
    struct buf text_one = {0}, text_two = {0};

    need(ring_init(&one, 16) == ERR_OK && ring_init(&two, 16) == ERR_OK);
    docker_stream_put(&whole, b, &one);
    for (size_t i = 0; i < b.n;) {
        size_t k = (uint8_t)b.p[i] % 7 + 1;
        docker_stream_put(&cut, bytes_head(bytes_skip(b, i), k), &two);
        i += k;
    }
    need(whole.bad == cut.bad);
    need(docker_stream_whole(&whole) == docker_stream_whole(&cut));
    ring_output(&one, &text_one);
    ring_output(&two, &text_two);
    need(bytes_eq(buf_bytes(&text_one), buf_bytes(&text_two)));
    need(bytes_utf8(buf_bytes(&text_one)));
    buf_fini(&text_one);
    buf_fini(&text_two);
    ring_fini(&one);
    ring_fini(&two);
}

static bool has(struct bytes b, const char *s)
{
    return memmem(b.p ? b.p : "", b.n, s, strlen(s)) != NULL;
}

static void grpc(struct reader *r)
{
    struct grpc_answer a = {.status = read_u8(r)};
    struct buf text = {0};

    a.http_status = read_u8(r) + 150;
    a.content_type = read_lp(r);
    a.message = read_lp(r);
    a.body = read_lp(r);
    if (r->bad)
        return;
    enum status s = grpc_judge(&a, bytes_str("h:1"), &text);
    need(!text.bad && text.n > 0 && bytes_utf8(buf_bytes(&text)));
    if (s == STATUS_PASSING)
        need(a.status == GRPC_OK && a.http_status == 200 &&
             has(a.body, "\x08\x01"));
    else
        need(s == STATUS_CRITICAL);
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct reader r = reader_over(bytes_of(p, n));

    if (n && p[0] == 'd')
        docker(bytes_of(p + 1, n - 1));
    else
        grpc(&r);
    return 0;
}
