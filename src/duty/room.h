/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* room - what the one holder of the duty "room" does, so that etcd never reaches
 * its quota: from then on it refuses every write, until somebody has made room
 * and said so.
 *
 * etcd's file has a size, and a part of it that is in use; the quota is compared
 * with the size. Dropping history frees what is in use, and writes fill what is
 * free before the file grows. Only defragmenting makes a file smaller, and stops
 * its member for as long as that takes. So:
 *
 *     in use      above 60 %   the older half of history goes, but for the last
 *                              ten minutes
 *                 above 80 %   all but the last five seconds
 *                 above 90 %   all but the last second
 *     size        above 60 %, and a fifth of the quota of it is free: that
 *                 member is defragmented; one at a time, the leader last
 *     alarm       all history goes, members above 95 % are defragmented
 *                 (without writes nobody tells what is free in them), and
 *                 once all are below that the alarm is taken back; else
 *                 live data fills it, which only a person can help
 *
 * Before this, history is a window by age and bytes (store/upkeep.c).
 *
 * Pure: it is told what a look at the members has shown, and plans one step. The
 * next look, soon when the file grows fast or is nearly full, shows what came of
 * it. Milliseconds of any clock that does not jump; bytes. Carried out by
 * server/room.c. */
#ifndef DUTY_ROOM_H
#define DUTY_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ROOM_MEMBERS_MAX = 32,
    ROOM_MARKS_MAX = 128,
    ROOM_LOOK_MS = 1000,
    ROOM_LOOK_MIN_MS = 200,
    ROOM_AGAIN_MS = 60 * 1000,  /* until a member is tried again */
    ROOM_EFFECT_MS = 60 * 1000, /* until history is dropped, at most */

    ROOM_EARLY_PERCENT = 60, /* of the quota */
    ROOM_TIGHT_PERCENT = 80,
    ROOM_LAST_PERCENT = 90,
    ROOM_FREE_PERCENT = 20,   /* of it free in a file: worth a stop */
    ROOM_DISARM_PERCENT = 95, /* below it writes go on */

    ROOM_EARLY_KEEP_MS = 10 * 60 * 1000,
    ROOM_TIGHT_KEEP_MS = 5 * 1000,
    ROOM_LAST_KEEP_MS = 1000,
};

struct room_member {
    uint64_t id;
    uint64_t size, in_use;
    bool known; /* it has answered lately */
    bool leader;
    bool alarmed; /* for want of space */
};

struct room_look {
    uint64_t now_ms;
    uint64_t quota;    /* 0: not known, nothing is done but for an alarm */
    uint64_t revision; /* the newest */
    uint64_t oldest;   /* what is retained */
    size_t count;
    struct room_member members[ROOM_MEMBERS_MAX];
};

enum room_next {
    ROOM_WAIT,
    ROOM_COMPACT,    /* history below plan.revision goes */
    ROOM_DEFRAGMENT, /* plan.member */
    ROOM_DISARM,     /* plan.member's alarm */
};

struct room_plan {
    enum room_next next;
    uint64_t revision;
    size_t member;  /* its place in the look */
    uint64_t in_ms; /* when to look again */
    bool full;      /* live data fills it: somebody must act */
    unsigned percent;
    uint64_t keep_ms; /* COMPACT: what stays of history */
};

struct room_mark {
    uint64_t ms, revision;
};

/* Zeroed: nothing was seen yet. Begin anew with each term of office. */
struct room {
    struct room_mark marks[ROOM_MARKS_MAX]; /* which was newest when */
    size_t mark_count;
    struct {
        uint64_t id, ms;
    } tried[ROOM_MEMBERS_MAX];
    bool dropped; /* for the alarm that there is */
    uint64_t dropped_ms, dropped_to;
    uint64_t last_ms, last_use;
    uint64_t pace_ms; /* between the last two looks that were planned */
};

void room_decide(struct room *r, const struct room_look *l,
                 struct room_plan *ret);

#endif
