/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void require_failed(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "muster: internal error: %s:%d: %s does not hold\n",
                  file, line, what);
    abort();
}
