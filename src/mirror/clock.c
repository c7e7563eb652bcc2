/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/clock.h"

static int64_t drift_ms(uint64_t since_ms, uint64_t now_ms)
{
    uint64_t n = now_ms > since_ms ? now_ms - since_ms : 0;

    return (int64_t)(n * MIRROR_DRIFT_PPM / 1000000);
}

static int64_t less(uint64_t ours, uint64_t theirs)
{
    return (int64_t)ours - (int64_t)theirs;
}

static int64_t low_at(const struct mirror_clock *c, uint64_t now_ms)
{
    return c->low_ms - drift_ms(c->low_at_ms, now_ms);
}

static int64_t high_at(const struct mirror_clock *c, uint64_t now_ms)
{
    return c->high_ms + drift_ms(c->high_at_ms, now_ms);
}

void mirror_clock_begin(struct mirror_clock *c, uint64_t sent_ms,
                        uint64_t at_ms, uint64_t now_ms)
{
    c->low_ms = less(sent_ms, at_ms);
    c->high_ms = less(now_ms, at_ms);
    c->low_at_ms = c->high_at_ms = now_ms;
}

void mirror_clock_told(struct mirror_clock *c, uint64_t sent_ms, uint64_t at_ms,
                       uint64_t now_ms)
{
    int64_t low = less(sent_ms, at_ms);

    /* Another process answers, started later: its clock is none of ours. */
    if (low > high_at(c, now_ms) || low <= low_at(c, now_ms))
        return;
    c->low_ms = low;
    c->low_at_ms = now_ms;
}

uint64_t mirror_clock_beat(struct mirror_clock *c, uint64_t at_ms,
                           uint64_t now_ms)
{
    int64_t high = less(now_ms, at_ms), low = low_at(c, now_ms);

    if (high <= high_at(c, now_ms)) {
        c->high_ms = high;
        c->high_at_ms = now_ms;
    }
    if (low > high) /* a clock that jumped */
        low = high;
    int64_t sent = low + (int64_t)at_ms;
    return sent > 0 ? (uint64_t)sent : 0;
}
