/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share; nobody else includes it.
 *
 *   template.c  ${...} in a text     match.c  regular expressions
 *   query.c     check, find, render  select.c  instances
 *   near.c      their order */
#ifndef QUERY_IMPL_H
#define QUERY_IMPL_H

#include "query/query.h"

/* What expressions stand for. */
struct template_values {
    struct bytes full, prefix, suffix;
    struct bytes match[QUERY_GROUPS_MAX + 1];
    size_t match_count; /* others are empty */
};

/* Appends the text with its expressions replaced. ERR_BAD: t says what is wrong
 * with them; ERR_LIMIT; lack of memory is in out. */
MUST_USE enum err template_render(struct bytes text,
                                  const struct template_values *v,
                                  struct buf *out, struct errtext *t);

/* The groups of the pattern in text into v; no match: none of them. ERR_BAD: no
 * such pattern; ERR_LIMIT: too long, too many groups or steps; ERR_NOMEM. With
 * text.p NULL the pattern is only looked at. */
MUST_USE enum err template_match(struct bytes pattern, struct bytes text,
                                 struct arena *a, struct template_values *v,
                                 struct errtext *t);

#endif
