/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* damp - flap damping as RFC 2439 does it for routes: each change for the worse
 * adds to a penalty, which decays by half in each half-life. Above the suppress
 * limit a check is suppressed, until its penalty has decayed to the reuse limit.
 *
 *     penalty
 *      2500 + - - - - - - /|- - - - - - -  suppress
 *           |        /|  / | \
 *           |   /|  / | /  |   \
 *       750 +- / |_/  |/ - | - - \ - - -  reuse
 *           +-----------------------> time
 *              x      x    x======| suppressed
 *
 * The penalty never grows above a ceiling (RFC 2439 4.2), from which it decays
 * to the reuse limit in max_ms: so nothing stays suppressed for longer than
 * max_ms after its last change.
 *
 * Pure; milliseconds of one monotonic clock that the caller brings. The penalty
 * is a double, computed anew from the last change by exp2, whose error (below
 * one unit in the last place) cannot add up; the end of suppression is computed
 * once per change, rounded up to a whole millisecond, and compared as such. */
#ifndef HEALTH_DAMP_H
#define HEALTH_DAMP_H

#include "base/bytes.h"

enum damp_mode {
    DAMP_OBSERVE,  /* computed and shown; membership is untouched */
    DAMP_SUPPRESS, /* what is suppressed is kept out of the answers */
    DAMP_OFF,      /* not even computed */
};

/* RFC 2439 4.2's parameters. 0 < half_life_ms <= max_ms, 0 < reuse < suppress
 * (and suppress below the ceiling, else nothing is ever suppressed). */
struct damp_rule {
    enum damp_mode mode;
    uint64_t half_life_ms;
    uint32_t suppress, reuse;
    uint64_t max_ms;
};

static inline bool damp_rule_equal(const struct damp_rule *a,
                                   const struct damp_rule *b)
{
    return a->mode == b->mode && a->half_life_ms == b->half_life_ms &&
           a->suppress == b->suppress && a->reuse == b->reuse &&
           a->max_ms == b->max_ms;
}

enum {
    DAMP_PER_CHANGE = 1000,
    DAMP_HALF_LIFE_MS = 60 * 1000,
    DAMP_SUPPRESS_LIMIT = 2500,
    DAMP_REUSE_LIMIT = 750,
    DAMP_MAX_MS = 300 * 1000,
};

/* The defaults. */
struct damp_rule damp_rule_default(void);

/* "observe", "suppress", "off"; false: none of them. */
bool damp_mode_of(struct bytes text, enum damp_mode *ret);
const char *damp_mode_name(enum damp_mode m);

/* Zero-initialised: no change yet. */
struct damp {
    double penalty; /* at last_ms */
    uint64_t last_ms;
    uint64_t until_ms; /* suppressed before it; 0: it never was */
};

/* One more change for the worse. A now before the last change counts as then.
 * Nothing happens when the mode is off. */
void damp_change(struct damp *d, const struct damp_rule *rule, uint64_t now_ms);

/* What is left of it: decayed, and 0 below half of the reuse limit, where RFC
 * 2439 4.8.7 forgets it. */
double damp_penalty(const struct damp *d, const struct damp_rule *rule,
                    uint64_t now_ms);

/* For people and records: to the nearest. */
uint32_t damp_penalty_u32(const struct damp *d, const struct damp_rule *rule,
                          uint64_t now_ms);

/* Above the limit, not yet back below the other? Also while only observed. */
bool damp_suppressed(const struct damp *d, uint64_t now_ms);

/* When suppression ends by itself, at most max_ms after the last change; 0: it
 * is not suppressed. */
uint64_t damp_until_ms(const struct damp *d, uint64_t now_ms);

/* As an earlier process left it, age_ms ago. */
void damp_restore(struct damp *d, const struct damp_rule *rule, double penalty,
                  bool suppressed, uint64_t age_ms, uint64_t now_ms);

/* Other limits from now on: what is suppressed is judged by them. */
void damp_rule_changed(struct damp *d, const struct damp_rule *old,
                       const struct damp_rule *rule, uint64_t now_ms);

#endif
