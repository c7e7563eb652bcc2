/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* api_filter - a filter that is accepted prints as one that is accepted, prints the
 * same again, and holds for the same rows; one that is refused is refused with a text.
 * The first byte says what the rows are, the rest is the expression. */
#include <stdio.h>
#include <stdlib.h>

#include "api/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what, struct bytes detail)
{
    if (holds)
        return;
    fprintf(stderr, "api_filter: %s: %.*s\n", what, BYTES_ARG(detail));
    abort();
}

struct rows {
    struct buf tags, meta, tagged;
    struct filter_row v[2]; /* one with nothing, one with everything */
};

static void rows_make(struct rows *r)
{
    struct filter_row *row = &r->v[1];
    *r = (struct rows){0};
    packed_put(&r->tags, bytes_str("a"));
    packed_put(&r->tags, bytes_str("v1"));
    packed_put_pair(&r->meta, bytes_str(""), bytes_str("x"));
    packed_put_pair(&r->meta, bytes_str("a"), bytes_str(""));
    packed_put_pair(&r->meta, bytes_str("b"), bytes_str("aaaaaaaaaaaaaaaa"));
    packed_put_tagged(&r->tagged, bytes_str("a"), bytes_str("10.0.0.1"), 80);
    row->datacenter = bytes_str("dc1");
    row->node = (struct node_view){.name = bytes_str("n1"),
                                   .address = bytes_str("\xc3\xa9\n"),
                                   .tagged = {buf_bytes(&r->meta), 3},
                                   .meta = {buf_bytes(&r->meta), 3}};
    row->service = (struct service_view){
        .id = bytes_str("web-1"),
        .name = bytes_str("web"),
        .tags = {buf_bytes(&r->tags), 2},
        .meta = {buf_bytes(&r->meta), 3},
        .tagged = {buf_bytes(&r->tagged), 1},
        .port = 80,
        .enable_tag_override = true,
        .proxy = bytes_str("{\"MeshGateway\":{\"Mode\":\"a\"},\"Upstreams\":["
                           "{\"LocalBindPort\":1},{\"DestinationName\":\"b\"}],"
                           "\"Expose\":{\"Paths\":[{\"Path\":\"/\"}]}}"),
        .connect = bytes_str("{\"Native\":true}"),
    };
    row->check = (struct filter_check){
        .node_name = bytes_str("n1"),
        .service_tags = {buf_bytes(&r->tags), 2},
        .check = {.status = bytes_str("passing"),
                  .output = bytes_str("line 1\nline 2\n\n")}};
    row->member = (struct filter_member){
        .name = bytes_str("n1"), .status = 1, .tags = {buf_bytes(&r->meta), 3}};
}

static void rows_free(struct rows *r)
{
    buf_fini(&r->tags);
    buf_fini(&r->meta);
    buf_fini(&r->tagged);
}

static void reads_back(struct filter *f, enum filter_rows kind,
                       struct arena *arena)
{
    struct buf out = {0}, again = {0};
    struct filter *g = NULL;
    struct errtext t = {0};
    struct rows rows;
    filter_print(f, &out);
    must(!out.bad, "printing", bytes_str("out of memory"));
    /* Quotes and escapes make it longer: that limit is not the point here. */
    if (out.n <= FILTER_BYTES_MAX) {
        enum err e = filter_parse(buf_bytes(&out), kind, arena, &g, &t);
        must(e == ERR_OK, t.s, buf_bytes(&out));
        filter_print(g, &again);
        must(bytes_eq(buf_bytes(&out), buf_bytes(&again)), "print changed",
             buf_bytes(&out));
        rows_make(&rows);
        for (int i = 0; i < 2; i++)
            must(filter_match(f, &rows.v[i]) == filter_match(g, &rows.v[i]),
                 "meaning changed", buf_bytes(&out));
        rows_free(&rows);
    }
    buf_fini(&again);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena arena;
    struct filter *f = NULL;
    struct errtext t = {0};
    if (n == 0)
        return 0;
    enum filter_rows kind =
        (enum filter_rows)(FILTER_NODES + data[0] % FILTER_MEMBERS);
    arena_init(&arena, 0);
    enum err e = filter_parse(bytes_of(data + 1, n - 1), kind, &arena, &f, &t);
    if (e == ERR_OK)
        reads_back(f, kind, &arena);
    else
        must(t.s[0], "refused without a text", bytes_str(err_text(e)));
    arena_fini(&arena);
    return 0;
}
