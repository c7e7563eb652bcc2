/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* link - what becomes of a packet on its way from one host to another: one
 * direction of a wire. The qdisc netem does this in kernels that have it
 * (tc-netem(8)); what the words mean here is what they mean there, but that
 * jitter alone reorders nothing.
 *
 * Pure: time comes in as microseconds on any clock that only goes forward, random
 * numbers from a seed, so that the same packets meet the same fate again. */
#ifndef TESTS_NET_LINK_H
#define TESTS_NET_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MILLION = 1000000 };

struct rules {
    uint64_t delay_us, jitter_us;      /* delay - jitter ... delay + jitter */
    uint32_t loss, duplicate, reorder; /* of a million packets */
    uint64_t rate_bytes;               /* per second; 0: as fast as it goes */
    uint64_t queue_bytes; /* that may wait for rate_bytes; 0: 256 KiB */
    uint32_t refuse; /* new connections to this TCP port are reset; 0: none */
    bool cut;        /* nothing passes, nobody is told */
};

struct counts {
    uint64_t packets, bytes;       /* that were sent into the wire */
    uint64_t passed, passed_bytes; /* that came out, or will */
    uint64_t lost, cut, full, duplicated, reordered, refused;
};

struct link {
    struct rules rules;
    struct counts counts;
    uint64_t random;  /* state of the generator */
    uint64_t free_us; /* when what waits for the rate will have passed */
    uint64_t last_us; /* when the last packet comes out */
};

void link_init(struct link *l, uint64_t seed);

/* A packet of `bytes` enters now. Returns how often it comes out, 0, 1 or 2 times,
 * and when. */
size_t link_send(struct link *l, size_t bytes, uint64_t now_us,
                 uint64_t ret_due_us[2]);

/* "delay_ms=80", "loss=1.5": one rule. NULL, or what is wrong with it. */
const char *link_rule(struct rules *r, const char *text);

#endif
