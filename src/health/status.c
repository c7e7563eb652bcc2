/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/status.h"

#include "base/check.h"

struct status_row {
    const char *name;
    int badness;
};

/* OTHER is as bad as critical, but it wins against it: an aggregate that holds
 * a status nobody knows has none itself (consul-api 3.3). */
static const struct status_row rows[] = {
    [STATUS_PASSING] = {"passing", 0},
    [STATUS_WARNING] = {"warning", 1},
    [STATUS_CRITICAL] = {"critical", 2},
    [STATUS_OTHER] = {"", 3},
    [STATUS_MAINTENANCE] = {"maintenance", 4},
};

static const struct status_row *row_of(enum status s)
{
    require((size_t)s < sizeof rows / sizeof rows[0]);
    return &rows[s];
}

const char *status_name(enum status s)
{
    return row_of(s)->name;
}

enum status status_of(struct bytes text)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (text.n && bytes_is(text, rows[i].name))
            return (enum status)i;
    return STATUS_OTHER;
}

enum status status_worse(enum status a, enum status b)
{
    return row_of(a)->badness >= row_of(b)->badness ? a : b;
}
