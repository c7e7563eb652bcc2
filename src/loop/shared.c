/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/shared.h"

#include <stdlib.h>

#include "base/check.h"

struct shared *shared_new(size_t n)
{
    if (n > SIZE_MAX - sizeof(struct shared))
        return NULL;
    struct shared *s = malloc(sizeof *s + n);
    if (!s)
        return NULL;
    s->refs = 1;
    s->n = n;
    return s;
}

struct shared *shared_copy(struct bytes b)
{
    struct shared *s = shared_new(b.n);
    if (s && b.n)
        memcpy(s->data, b.p, b.n);
    return s;
}

void shared_unref(struct shared *s)
{
    if (!s)
        return;
    require(s->refs > 0);
    if (--s->refs == 0)
        free(s);
}
