/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/coordinate.h"

#include <math.h>

bool coordinate_valid(const struct coordinate *c)
{
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
        if (!isfinite(c->vec[i]))
            return false;
    return isfinite(c->error) && isfinite(c->adjustment) && isfinite(c->height);
}

double coordinate_distance(const struct coordinate *a,
                           const struct coordinate *b)
{
    double sum = 0;

    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        double d = a->vec[i] - b->vec[i];
        sum += d * d;
    }
    double plain = sqrt(sum) + a->height + b->height;
    double adjusted = plain + a->adjustment + b->adjustment;
    return adjusted > 0 ? adjusted : plain > 0 ? plain : 0;
}
