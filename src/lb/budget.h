/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* budget - how many retries there may be: a share of requests, and a few more
 * for those who ask rarely. When everything fails, offered load grows by that
 * share and not by the number of attempts (Finagle's RetryBudget).
 *
 * Counts of the last LB_BUDGET_SECONDS, by the second. Any thread, lock-free;
 * threads that ask at the same moment may overdraw by one each. */
#ifndef LB_BUDGET_H
#define LB_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LB_BUDGET_SECONDS = 10 };

/* All zero is a new one that allows nothing. */
struct lb_budget {
    uint32_t percent;    /* of requests; 20 is usual */
    uint32_t per_second; /* beyond them; 10 is usual */
    /* Second above count; a cell of another second counts as 0. */
    _Atomic uint64_t requests[LB_BUDGET_SECONDS];
    _Atomic uint64_t retries[LB_BUDGET_SECONDS];
};

/* A first attempt. */
void lb_budget_request(struct lb_budget *b, uint64_t now_ms);

/* Whether a request may be tried again (or hedged); if so it is counted. */
bool lb_budget_retry(struct lb_budget *b, uint64_t now_ms);

#endif
