/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* marks - what is known of a check beside its status: why it is critical, and
 * what keeps its instance in the answers or out of them all the same.
 *
 * The status itself is always the true one. Wall times (Unix milliseconds) are
 * for people; nothing is decided by them. */
#ifndef BASE_MARKS_H
#define BASE_MARKS_H

#include "base/bytes.h"

/* Of a critical check; else EVIDENCE. */
enum check_cause {
    CAUSE_EVIDENCE, /* refused, bad status, told so: the target speaks */
    CAUSE_TIMEOUT,  /* a probe got no answer in time: evidence, unless the
                       prober turns out to have been starved */
    CAUSE_SILENCE,  /* nobody was heard of: a TTL ran out, the agent or its host
                       was restarted, the prober was starved */
};

struct check_marks {
    enum check_cause cause;
    bool held;   /* critical by silence, kept in the answers by the guard */
    bool damped; /* flaps: passing, kept out of the answers */
    uint32_t penalty;         /* of damping, as of the last change */
    uint64_t since_ms;        /* last change of the status; 0: unknown */
    uint64_t held_ms;         /* since when it is held; 0: it is not */
    uint64_t damped_until_ms; /* about; 0: it is not damped */
};

/* What the guard asks about before an instance leaves the answers: removals by
 * silence, all removals that nobody decided, or none. */
enum guard_mode { GUARD_MODE_SILENCE, GUARD_MODE_ALL, GUARD_MODE_OFF };

/* As in the configuration and in a service's Meta; false: none of them. */
static inline bool guard_mode_parse(struct bytes text, enum guard_mode *ret)
{
    if (bytes_is(text, "silence"))
        *ret = GUARD_MODE_SILENCE;
    else if (bytes_is(text, "all"))
        *ret = GUARD_MODE_ALL;
    else if (bytes_is(text, "off"))
        *ret = GUARD_MODE_OFF;
    else
        return false;
    return true;
}

static inline const char *guard_mode_name(enum guard_mode m)
{
    static const char *const names[] = {"silence", "all", "off"};
    return names[m];
}

static inline bool marks_any(const struct check_marks *m)
{
    return m->cause || m->held || m->damped || m->penalty || m->since_ms ||
           m->held_ms || m->damped_until_ms;
}

static inline bool marks_equal(const struct check_marks *a,
                               const struct check_marks *b)
{
    return a->cause == b->cause && a->held == b->held &&
           a->damped == b->damped && a->penalty == b->penalty &&
           a->since_ms == b->since_ms && a->held_ms == b->held_ms &&
           a->damped_until_ms == b->damped_until_ms;
}

/* Do both give the same answers? */
static inline bool marks_alike(const struct check_marks *a,
                               const struct check_marks *b)
{
    return a->cause == b->cause && a->held == b->held && a->damped == b->damped;
}

#endif
