/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* vivaldi - a node's own place in the space of round-trip times, moved by each
 * round trip it measures.
 *
 * F. Dabek, R. Cox, F. Kaashoek, R. Morris, "Vivaldi: A Decentralized Network
 * Coordinate System", SIGCOMM 2004: springs between nodes, weighted by how sure
 * each is of its place (section 3.4), with heights (5.4). From J. Ledlie,
 * P. Gardner, M. Seltzer, "Network Coordinates in the Wild", NSDI 2007: the
 * median of the last few round trips with each peer (a spike must not move
 * anybody), and gravity towards the origin (all together must not drift). The
 * adjustment term is that of S. Lee et al., "On Suitability of Euclidean
 * Embedding for Host-Based Network Coordinate Systems", 2010. Constants are
 * Serf's, so that coordinates mix with those of Consul's agents.
 *
 * Pure: who measures brings the time a peer took and the peer's coordinate as the
 * peer told it; random numbers come from a seed. One thread. Seconds throughout.
 *
 *     struct vivaldi v;
 *     vivaldi_init(&v, seed);
 *     ... with each beat or probe that was answered:
 *     if (vivaldi_sample(&v, bytes_hash(name, 0), &its_coordinate, rtt_s))
 *         tell others v.at */
#ifndef VIVALDI_VIVALDI_H
#define VIVALDI_VIVALDI_H

#include <stddef.h>
#include <stdint.h>

#include "base/coordinate.h"

enum {
    VIVALDI_WINDOW = 20, /* samples the adjustment is taken from */
    VIVALDI_MEDIAN = 3,  /* round trips with one peer whose median counts */
    VIVALDI_PEERS = 64   /* of which those are kept: the latest measured */
};

#define VIVALDI_ERROR_MAX  1.5
#define VIVALDI_RTT_MAX_S  10.0 /* longer ones are no network's */
#define VIVALDI_HEIGHT_MIN 1e-5

struct vivaldi_peer {
    uint64_t peer; /* 0: free */
    uint64_t used; /* number of the sample */
    double rtt_s[VIVALDI_MEDIAN];
    unsigned count, next;
};

struct vivaldi {
    struct coordinate at;
    uint64_t samples; /* that were taken */
    uint64_t resets;  /* of a place that had become no number */
    uint64_t random;
    double window[VIVALDI_WINDOW];
    struct vivaldi_peer peers[VIVALDI_PEERS];
};

void vivaldi_init(struct vivaldi *v, uint64_t seed);

/* Begins where the node stood before (it asks around less long then). */
void vivaldi_restore(struct vivaldi *v, const struct coordinate *at);

/* peer: any number that stands for it (0 is taken as 1). False, and nothing
 * happened: the time is negative, too long or no number, or so is the peer's
 * coordinate. */
bool vivaldi_sample(struct vivaldi *v, uint64_t peer,
                    const struct coordinate *its, double rtt_s);

#endif
