/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/drain.h"

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Counts come from other servers. */
static size_t sum_of(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

struct drain_sum drain_sum_of_none(void)
{
    return (struct drain_sum){.unproven_complete = true};
}

void drain_sum_add(struct drain_sum *sum, const struct holders_state *s)
{
    sum->holding = sum_of(sum->holding, s->holding);
    sum->unproven = sum_of(sum->unproven, s->unproven);
    sum->unproven_complete &= s->unproven_complete;
    sum->behind += !s->reached;
    sum->unknown_ms = most_of(sum->unknown_ms, s->unknown_ms);
    sum->dns_left_ms = most_of(sum->dns_left_ms, s->dns_left_ms);
}

enum drain_result drain_sum_result(const struct drain_sum *s, bool trust)
{
    if (s->holding || s->dns_left_ms)
        return DRAIN_WAITING;
    if (s->silent || s->behind || s->unknown_ms)
        return DRAIN_UNKNOWN;
    return trust || (s->unproven == 0 && s->unproven_complete) ? DRAIN_SAFE
                                                               : DRAIN_UNKNOWN;
}
