/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* draw - pseudo-random numbers from a number that the caller brings: nothing in
 * this layer asks the system for one, so a seed gives the same picks again.
 *
 * SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
 * generators, 2014): its states are a counter, so one draw makes any number of
 * independent ones. Not for secrets. */
#ifndef LB_DRAW_H
#define LB_DRAW_H

#include <stdint.h>

/* A bijection that spreads each bit over all: also the hash of two numbers. */
static inline uint64_t lb_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* The next number of the sequence that *state stands in. */
static inline uint64_t lb_draw(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    return lb_mix(*state);
}

/* 0 to n - 1, from the upper half of a draw; n > 0. The lower half stays
 * independent of it. Lemire's multiplication; the bias is below n / 2^32. */
static inline uint32_t lb_below(uint64_t draw, uint32_t n)
{
    return (uint32_t)((draw >> 32) * n >> 32);
}

/* [0, 1) */
static inline double lb_unit(uint64_t draw)
{
    return (double)(draw >> 11) * 0x1p-53;
}

#endif
