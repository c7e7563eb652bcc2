/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* witness - is a prober that reports time-outs to be believed? A prober without
 * CPU or network sees time-outs everywhere; then they say something of the
 * prober, and nothing of the targets.
 *
 * It is starved from the moment when more than half of its checks have turned
 * to a time-out, each within its last interval, and as long as more than half
 * of them remain there. And a single time-out is the prober's own when its loop
 * lagged by more than WITNESS_LAG_MS while that probe ran. Refusals and answers
 * are never doubted: whoever brings them back was awake.
 *
 * When either is found, what turned to a time-out shortly before is taken back:
 * witness_recall.
 *
 * Of fewer than WITNESS_CHECKS_MIN checks, a majority says nothing: one slow
 * target would excuse itself. There the lag alone counts.
 *
 * Memory: one struct witness_check per check, which the caller embeds. A result
 * costs O(1), and O(log n) when it turns. Times are milliseconds of one
 * monotonic clock. */
#ifndef HEALTH_WITNESS_H
#define HEALTH_WITNESS_H

#include <stddef.h>

#include "base/heap.h"
#include "base/list.h"
#include "health/run.h"

enum { WITNESS_CHECKS_MIN = 4, WITNESS_LAG_MS = 1000 };

struct witness_check {       /* zero-initialised */
    struct heap_item turned; /* due when it turned an interval ago */
    struct list believed;    /* in the witness's, while it is there */
    uint64_t interval_ms;
    bool known;     /* counted: witness_add */
    bool timed_out; /* its last result */
};

struct witness {
    struct heap turned;   /* to a time-out, within its last interval */
    struct list believed; /* those of them that were taken for evidence */
    size_t checks, timed_out, turned_n;
    bool starved; /* by the majority */
};

void witness_init(struct witness *w);

/* Adding one that is there gives it another interval. */
void witness_add(struct witness *w, struct witness_check *c,
                 uint64_t interval_ms);
void witness_remove(struct witness *w, struct witness_check *c);

struct witness_says {
    bool starved; /* this result is no evidence, if it is a time-out */
    bool recall;  /* call witness_recall: it was found out just now */
};

/* lag_ms: the longest that the prober's loop was late while this probe ran. */
struct witness_says witness_result(struct witness *w, struct witness_check *c,
                                   enum run_kind kind, uint64_t lag_ms,
                                   uint64_t now_ms);

/* Hands over, once, each check that turned to a time-out within its last
 * interval and was believed. recalled must not change the witness. */
void witness_recall(struct witness *w,
                    void (*recalled)(void *ctx, struct witness_check *c),
                    void *ctx);

#endif
