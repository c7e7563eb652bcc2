/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* guard - how many instances of one service may leave by silence.
 *
 * Silence (a TTL that ran out, an agent that nobody hears) is not evidence: what
 * silenced one instance may have silenced them all, while they serve as before.
 * So in one window only a share of a service's instances may leave the answers,
 * or the catalog, by silence; the others are held: their status is the true one,
 * a mark beside it (base/marks.h) keeps them in the answers of ?passing.
 *
 * What left in a window is counted in the service's guard record (guard_view),
 * written under its mod revision, so that several servers together stay within
 * the bound. There is no clock in it: a window begins with the first one that
 * goes, on what is there at that moment, and ends when the holder of the duty
 * "guard" says so (plan_guard_window), by its own clock from when it saw that
 * somebody had gone. A record that counts nobody is no window. Evidence and
 * deliberate acts touch no record.
 *
 * Bounds, of n registered and p in the answers when the window began:
 *
 *     n          leave the answers      leave the catalog
 *     1          1                      1
 *     2, 3       p - 1                  n - 1
 *     4 or more  p / 2                  n / 2
 *
 * and whatever the numbers say, of two or more never the last one that is in the
 * answers. Those held count as in the answers. */
#ifndef CATALOG_GUARD_H
#define CATALOG_GUARD_H

#include "catalog/record.h"

enum {
    GUARD_FEW = 3,       /* services of so many: all but one may go */
    GUARD_OUT_MAX = 2048 /* entries of guard_view.out */
};

static inline size_t guard_leaves_allowed(size_t registered, size_t answered)
{
    if (registered <= 1)
        return answered;
    if (registered <= GUARD_FEW)
        return answered ? answered - 1 : 0;
    return answered / 2;
}

static inline size_t guard_removals_allowed(size_t registered)
{
    if (registered <= 1)
        return registered;
    return registered <= GUARD_FEW ? registered - 1 : registered / 2;
}

/* What the service asks for in its Meta, else what is configured. */
#define GUARD_META "muster-guard"

static inline enum guard_mode guard_mode_of(struct packed meta,
                                            enum guard_mode configured)
{
    enum guard_mode m = configured;
    struct bytes text = packed_find(meta, bytes_str(GUARD_META));

    return text.p && guard_mode_parse(text, &m) ? m : configured;
}

#endif
