/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* clock - at which moment of ours a beat of the origin was sent.
 *
 * A beat says what the origin's clock showed, not how long the bytes were under
 * way. The origin cannot have read its clock before it was asked, nor after its
 * answer was here: each exchange says between which bounds our clock less theirs
 * lies (F. Cristian, Probabilistic clock synchronization, 1989), and each beat that
 * it is below a third. The lower bound is used: what is shown is never older than
 * its age says, and the age at most one exchange too high. Two clocks move apart,
 * by MIRROR_DRIFT_PPM at most: the bounds are widened by that as time goes.
 *
 * Pure. Milliseconds; ours of a monotonic clock. */
#ifndef MIRROR_CLOCK_H
#define MIRROR_CLOCK_H

#include <stdint.h>

enum { MIRROR_DRIFT_PPM = 200 };

struct mirror_clock {
    int64_t low_ms, high_ms; /* ours less theirs */
    uint64_t low_at_ms, high_at_ms;
};

/* A connection: it was asked for at sent_ms, and what it showed of its clock is
 * here now. Forgets what was known. */
void mirror_clock_begin(struct mirror_clock *c, uint64_t sent_ms,
                        uint64_t at_ms, uint64_t now_ms);

/* One more exchange; left out if it can be no answer of the same clock. */
void mirror_clock_told(struct mirror_clock *c, uint64_t sent_ms, uint64_t at_ms,
                       uint64_t now_ms);

/* A beat is here: when it was sent, of ours, at the earliest. */
uint64_t mirror_clock_beat(struct mirror_clock *c, uint64_t at_ms,
                           uint64_t now_ms);

#endif
