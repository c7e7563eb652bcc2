/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* coordinate - a place in a space in which distances are round-trip times, in
 * seconds (Vivaldi: F. Dabek et al., 2004): a vector, a height above it (the
 * way from the host into the network, which every path takes), and an
 * adjustment for what the space cannot show (J. Ledlie et al., 2007). Numbers
 * and members are those of Consul's API. src/vivaldi moves them. */
#ifndef BASE_COORDINATE_H
#define BASE_COORDINATE_H

#include <stdbool.h>

enum { COORDINATE_DIMENSIONS = 8 };

struct coordinate {
    double vec[COORDINATE_DIMENSIONS];
    double error; /* how little it is to be trusted; 0 .. VIVALDI_ERROR_MAX */
    double adjustment, height;
};

/* Where everybody stands who has measured nothing: as Serf's. */
static inline struct coordinate coordinate_origin(void)
{
    return (struct coordinate){.error = 1.5, .height = 1e-5};
}

/* All numbers are finite. */
bool coordinate_valid(const struct coordinate *c);

/* Seconds; never below 0. */
double coordinate_distance(const struct coordinate *a,
                           const struct coordinate *b);

#endif
