/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "lb/budget.h"

/* Never 0, so that a cell of zeros is an old one. */
static uint32_t second_of(uint64_t now_ms)
{
    return (uint32_t)(now_ms / 1000) + LB_BUDGET_SECONDS;
}

static void add(_Atomic uint64_t *cells, uint32_t second)
{
    _Atomic uint64_t *cell = &cells[second % LB_BUDGET_SECONDS];
    uint64_t was = atomic_load_explicit(cell, memory_order_relaxed), is;

    do {
        bool kept = (int32_t)((uint32_t)(was >> 32) - second) >= 0;
        is = kept ? was + 1 : (uint64_t)second << 32 | 1;
    } while (!atomic_compare_exchange_weak_explicit(
        cell, &was, is, memory_order_relaxed, memory_order_relaxed));
}

static uint64_t sum(const _Atomic uint64_t *cells, uint32_t second)
{
    uint64_t n = 0;

    for (int i = 0; i < LB_BUDGET_SECONDS; i++) {
        uint64_t w = atomic_load_explicit(&cells[i], memory_order_relaxed);
        int32_t age = (int32_t)(second - (uint32_t)(w >> 32));
        n += age < LB_BUDGET_SECONDS ? (uint32_t)w : 0;
    }
    return n;
}

void lb_budget_request(struct lb_budget *b, uint64_t now_ms)
{
    add(b->requests, second_of(now_ms));
}

bool lb_budget_retry(struct lb_budget *b, uint64_t now_ms)
{
    uint32_t second = second_of(now_ms);
    uint64_t allowed = sum(b->requests, second) * b->percent / 100 +
                       (uint64_t)b->per_second * LB_BUDGET_SECONDS;

    if (sum(b->retries, second) >= allowed)
        return false;
    add(b->retries, second);
    return true;
}
