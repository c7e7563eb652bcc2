/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* status - what a check says, and what several say together. */
#ifndef HEALTH_STATUS_H
#define HEALTH_STATUS_H

#include "base/bytes.h"

enum status {
    STATUS_PASSING,
    STATUS_WARNING,
    STATUS_CRITICAL,
    STATUS_MAINTENANCE, /* only of aggregates */
    STATUS_OTHER,       /* a text of the catalog's that is none of these */
};

const char *status_name(enum status s); /* OTHER: "" */
enum status status_of(struct bytes text);

/* How a probe came to its status. */
enum run_kind {
    RUN_ANSWERED, /* whatever was answered, and what cannot even be asked */
    RUN_REFUSED,
    RUN_TIMED_OUT, /* no answer in time, or no way to the target */
};

/* maintenance > critical > warning > passing; OTHER counts as critical. */
enum status status_worse(enum status a, enum status b);

#endif
