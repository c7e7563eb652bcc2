/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

static void *or_die(void *p, size_t n)
{
    if (p)
        return p;
    (void)fprintf(stderr,
                  "muster: out of memory: no %zu bytes; raise the process's "
                  "memory limit\n",
                  n);
    abort();
}

void *xmalloc(size_t n)
{
    return or_die(malloc(n ? n : 1), n);
}

void *xzalloc(size_t n)
{
    return or_die(calloc(1, n ? n : 1), n);
}

void *xrealloc(void *p, size_t n)
{
    return or_die(realloc(p, n ? n : 1), n);
}

char *xstrdup(const char *s)
{
    return xcopy(bytes_str(s));
}

char *xcopy(struct bytes b)
{
    char *p = xmalloc(b.n + 1);

    if (b.n)
        memcpy(p, b.p, b.n);
    p[b.n] = '\0';
    return p;
}
