/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/text_set.h"

#include <stdlib.h>

void text_set_add(struct text_set *s, struct bytes text)
{
    if (s->n && bytes_eq(s->v[s->n - 1], text))
        return;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct bytes *v = realloc(s->v, cap * sizeof *v);
        if (!v) {
            s->failed = true;
            return;
        }
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = text;
}

static int by_bytes(const void *a, const void *b)
{
    return bytes_cmp(*(const struct bytes *)a, *(const struct bytes *)b);
}

void text_set_put(struct json_out *j, struct text_set *s)
{
    if (s->n)
        qsort(s->v, s->n, sizeof *s->v, by_bytes);
    json_open(j, '[');
    for (size_t i = 0; i < s->n; i++)
        if (i == 0 || !bytes_eq(s->v[i - 1], s->v[i]))
            json_str(j, s->v[i]);
    json_close(j, ']');
}

void text_set_fini(struct text_set *s)
{
    free(s->v);
    *s = (struct text_set){0};
}
