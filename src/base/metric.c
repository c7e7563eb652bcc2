/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/metric.h"

#include <stdatomic.h>

struct metric_row {
    enum metric_kind kind;
    const char *name;
    const char *help;
};

static const struct metric_row rows[METRIC_COUNT] = {
#define X(id, kind, name, help) [id] = {METRIC_##kind, name, help},
    METRIC_TABLE(X)
#undef X
};

static _Atomic int64_t values[METRIC_COUNT];

void metric_add(enum metric m, int64_t by)
{
    atomic_fetch_add_explicit(&values[m], by, memory_order_relaxed);
}

void metric_set(enum metric m, int64_t value)
{
    atomic_store_explicit(&values[m], value, memory_order_relaxed);
}

int64_t metric_get(enum metric m)
{
    return atomic_load_explicit(&values[m], memory_order_relaxed);
}

const char *metric_name(enum metric m)
{
    return rows[m].name;
}

const char *metric_help(enum metric m)
{
    return rows[m].help;
}

enum metric_kind metric_kind_of(enum metric m)
{
    return rows[m].kind;
}
