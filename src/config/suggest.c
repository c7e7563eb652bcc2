/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/keys.h"

#include <limits.h>

enum { DISTANCE_MAX = 2 }; /* more changes make another word, not a slip */

static char fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The usual table of distances between all prefixes, of which three rows are
 * alive. */
unsigned config_word_distance(struct bytes a, struct bytes b)
{
    unsigned rows[3][CONFIG_WORD_MAX + 1];

    if (a.n > CONFIG_WORD_MAX || b.n > CONFIG_WORD_MAX)
        return UINT_MAX;
    for (unsigned j = 0; j <= b.n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3];
        const unsigned *two_above = rows[(i + 1) % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            bool same = fold(a.p[i - 1]) == fold(b.p[j - 1]);
            row[j] = least(least(above[j], row[j - 1]) + 1,
                           above[j - 1] + (same ? 0 : 1));
            if (i > 1 && j > 1 && fold(a.p[i - 1]) == fold(b.p[j - 2]) &&
                fold(a.p[i - 2]) == fold(b.p[j - 1]))
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a.n % 3][b.n];
}

static size_t last_part(struct bytes path)
{
    size_t at = path.n;

    while (at > 0 && path.p[at - 1] != '.')
        at--;
    return at;
}

/* What precedes the k-th dot of a row, from 1, or all of it: its sections and
 * itself are what may have been meant. {NULL, 0} beyond that. */
static struct bytes prefix(struct bytes row, int k)
{
    size_t at = 0;

    for (; k > 0; k--) {
        if (at >= row.n + 1)
            return (struct bytes){0};
        at += bytes_find(bytes_skip(row, at), '.') + 1;
    }
    return bytes_head(row, at - 1);
}

struct bytes config_key_suggest(struct bytes path)
{
    unsigned best = DISTANCE_MAX + 1;
    struct bytes near = {0}, same = {0}, p;

    struct bytes leaf = bytes_skip(path, last_part(path));
    for (size_t i = 0; i < config_key_count; i++) {
        struct bytes row = bytes_str(config_keys[i].path);
        for (int k = 1; (p = prefix(row, k)).n > 0; k++) {
            unsigned d = config_word_distance(path, p);
            /* Two changes in "ui" make any word of two letters. */
            if (d < best && d * 2 < leaf.n) {
                best = d;
                near = p;
            }
        }
        if (!same.n && bytes_eq_fold(bytes_skip(row, last_part(row)), leaf))
            same = row;
    }
    return near.n ? near : same;
}
