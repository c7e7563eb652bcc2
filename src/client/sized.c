/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Structs that grow from version to version, at their end only. The program says
 * how much of one it knows; the rest is as usual. What a newer program knows
 * beyond this library is fine as long as it is zero: then nobody set it. */
#include <string.h>

#include "client/impl.h"

enum { SIZE_MAX_TAKEN = 4096 /* bytes; more was never set up */ };

void sized_init(void *to, size_t size, const void *usual, size_t known)
{
    if (!to || size < sizeof size)
        return;
    memset(to, 0, size);
    memcpy(to, usual, size < known ? size : known);
    memcpy(to, &size, sizeof size);
}

static bool all_zero(const char *p, size_t n)
{
    while (n && *p == 0) {
        p++;
        n--;
    }
    return n == 0;
}

bool sized_take(void *mine, size_t known, const void *given)
{
    size_t size;

    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > SIZE_MAX_TAKEN)
        return false;
    if (size > known && !all_zero((const char *)given + known, size - known))
        return false;
    memcpy(mine, given, size < known ? size : known);
    memcpy(mine, &known, sizeof known);
    return true;
}

bool sized_give(void *to, const void *mine, size_t known)
{
    size_t size;

    memcpy(&size, to, sizeof size);
    if (size < sizeof size || size > SIZE_MAX_TAKEN)
        return false;
    memset(to, 0, size);
    memcpy(to, mine, size < known ? size : known);
    memcpy(to, &size, sizeof size);
    return true;
}
