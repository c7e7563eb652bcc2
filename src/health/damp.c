/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/damp.h"

#include <math.h>

#include "base/check.h"

/* Above it the ceiling is a number without meaning, and later an infinite one.
 */
enum { HALF_LIVES_MAX = 20 };

static const char *const names[] = {
    [DAMP_OBSERVE] = "observe",
    [DAMP_SUPPRESS] = "suppress",
    [DAMP_OFF] = "off",
};

struct damp_rule damp_rule_default(void)
{
    return (struct damp_rule){
        .mode = DAMP_OBSERVE,
        .half_life_ms = DAMP_HALF_LIFE_MS,
        .suppress = DAMP_SUPPRESS_LIMIT,
        .reuse = DAMP_REUSE_LIMIT,
        .max_ms = DAMP_MAX_MS,
    };
}

bool damp_mode_of(struct bytes text, enum damp_mode *ret)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!bytes_is(text, names[i]))
            continue;
        *ret = (enum damp_mode)i;
        return true;
    }
    return false;
}

const char *damp_mode_name(enum damp_mode m)
{
    require((size_t)m < sizeof names / sizeof names[0]);
    return names[m];
}

static double ceiling_of(const struct damp_rule *rule)
{
    double half_lives = (double)rule->max_ms / (double)rule->half_life_ms;

    if (half_lives > HALF_LIVES_MAX)
        half_lives = HALF_LIVES_MAX;
    return rule->reuse * exp2(half_lives);
}

static double decayed(const struct damp_rule *rule, double penalty,
                      uint64_t age_ms)
{
    return penalty * exp2(-(double)age_ms / (double)rule->half_life_ms);
}

static double forgotten_below(const struct damp_rule *rule)
{
    return rule->reuse / 2.0;
}

double damp_penalty(const struct damp *d, const struct damp_rule *rule,
                    uint64_t now_ms)
{
    if (!(d->penalty > 0)) /* nearly every check, at every result */
        return 0;
    uint64_t age = now_ms > d->last_ms ? now_ms - d->last_ms : 0;
    double left = decayed(rule, d->penalty, age);

    return left < forgotten_below(rule) ? 0 : left;
}

uint32_t damp_penalty_u32(const struct damp *d, const struct damp_rule *rule,
                          uint64_t now_ms)
{
    double p = round(damp_penalty(d, rule, now_ms));
    return p < UINT32_MAX ? (uint32_t)p : UINT32_MAX;
}

/* From the penalty at last_ms. */
static uint64_t end_of(const struct damp *d, const struct damp_rule *rule)
{
    if (d->penalty <= rule->reuse)
        return d->last_ms;
    double ms =
        ceil((double)rule->half_life_ms * log2(d->penalty / rule->reuse));
    return d->last_ms +
           (ms < (double)rule->max_ms ? (uint64_t)ms : rule->max_ms);
}

void damp_change(struct damp *d, const struct damp_rule *rule, uint64_t now_ms)
{
    require(rule->half_life_ms > 0 && rule->reuse > 0);
    if (rule->mode == DAMP_OFF)
        return;
    if (now_ms < d->last_ms)
        now_ms = d->last_ms;
    bool suppressed = damp_suppressed(d, now_ms);

    d->penalty =
        fmin(damp_penalty(d, rule, now_ms) + DAMP_PER_CHANGE, ceiling_of(rule));
    d->last_ms = now_ms;
    if (suppressed || d->penalty > rule->suppress)
        d->until_ms = end_of(d, rule);
    require(d->until_ms <= now_ms || d->until_ms - now_ms <= rule->max_ms);
}

bool damp_suppressed(const struct damp *d, uint64_t now_ms)
{
    return now_ms < d->until_ms;
}

uint64_t damp_until_ms(const struct damp *d, uint64_t now_ms)
{
    return damp_suppressed(d, now_ms) ? d->until_ms : 0;
}

void damp_restore(struct damp *d, const struct damp_rule *rule, double penalty,
                  bool suppressed, uint64_t age_ms, uint64_t now_ms)
{
    *d = (struct damp){0};
    if (rule->mode == DAMP_OFF || !(penalty > 0))
        return;
    d->penalty = fmin(decayed(rule, penalty, age_ms), ceiling_of(rule));
    d->last_ms = now_ms;
    if (d->penalty < forgotten_below(rule))
        d->penalty = 0;
    if (suppressed)
        d->until_ms = end_of(d, rule);
}

void damp_rule_changed(struct damp *d, const struct damp_rule *old,
                       const struct damp_rule *rule, uint64_t now_ms)
{
    damp_restore(d, rule, damp_penalty(d, old, now_ms),
                 damp_suppressed(d, now_ms), 0, now_ms);
}
