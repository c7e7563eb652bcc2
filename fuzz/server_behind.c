/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What agents and mirrors say of those behind them. Properties: what is taken is
 * within its bounds, and reads the same when it is written back. */
#include <stdlib.h>

#include "server/behind.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool x)
{
    if (!x)
        abort();
}

/* A target that was cut may be cut within a character, which is written as
 * another one. */
static bool has_cut(const struct behind *b)
{
    for (size_t i = 0; i < b->row_count; i++)
        if (b->rows[i].target.n == BEHIND_TEXT_MAX)
            return true;
    return false;
}

static void check(const struct behind *b)
{
    need(b->subscriber.n && b->agent.n && b->agent.n <= BEHIND_TEXT_MAX);
    need(b->row_count <= BEHIND_ROWS_MAX && b->dns_count <= BEHIND_DNS_MAX);
    need(b->reader_count <= BEHIND_READERS_MAX);
    for (size_t i = 0; i < b->row_count; i++)
        need(b->rows[i].target.n <= BEHIND_TEXT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct buf first = {0}, second = {0};
    struct behind b, again;
    struct errtext t;
    struct arena arena;

    arena_init(&arena, 0);
    if (behind_read(bytes_of((const char *)data, n), &arena, &b, &t) ==
        ERR_OK) {
        check(&b);
        behind_write(&first, &b);
        need(behind_read(buf_bytes(&first), &arena, &again, &t) == ERR_OK);
        check(&again);
        behind_write(&second, &again);
        need(has_cut(&b) || bytes_eq(buf_bytes(&first), buf_bytes(&second)));
        need(has_cut(&b) || behind_hash(&b) == behind_hash(&again));
    }
    buf_fini(&first);
    buf_fini(&second);
    arena_fini(&arena);
    return 0;
}
