/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* alloc - for folders above base, http, lb and loop, where running out of
 * memory for a small thing ends the process with a message. Sizes that input
 * can grow are bounded by a named limit first. */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stddef.h>

#include "base/bytes.h"

void *xmalloc(size_t n);
void *xzalloc(size_t n);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);

/* A NUL-terminated heap copy. */
char *xcopy(struct bytes b);

#endif
