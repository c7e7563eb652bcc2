/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* text_set - texts of many rows as one list, sorted, each once.
 *
 * Gathered with repetitions (not of the text just added) and sorted when it is
 * written. {0} is empty. */
#ifndef API_TEXT_SET_H
#define API_TEXT_SET_H

#include "http/json_out.h"

struct text_set {
    struct bytes *v; /* heap; the texts are somebody else's */
    size_t n, cap;
    bool failed; /* no memory: texts are missing */
};

void text_set_add(struct text_set *s, struct bytes text);

/* A list; sorts the set. */
void text_set_put(struct json_out *j, struct text_set *s);

/* Empty again, memory kept, failed too. */
static inline void text_set_reset(struct text_set *s)
{
    s->n = 0;
}

void text_set_fini(struct text_set *s);

#endif
