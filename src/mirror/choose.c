/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/choose.h"

static bool is_young(const struct mirror_asked *q, const struct mirror_state *m)
{
    return m->age_ms <= m->age_max_ms &&
           (!q->limited || m->age_ms <= q->max_stale_ms);
}

bool mirror_covers(const char *const *words, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++) {
        struct bytes w = bytes_str(words[i]);
        bool prefix = w.n && w.p[w.n - 1] == '*';
        w.n -= prefix;
        if (bytes_eq_fold(prefix ? bytes_head(name, w.n) : name, w))
            return true;
    }
    return false;
}

enum mirror_choice mirror_choose(const struct mirror_asked *q,
                                 const struct mirror_state *m)
{
    if (q->consistent || !q->mirrored || !m->usable)
        return CHOOSE_THERE;
    bool young = is_young(q, m);
    if (!m->link_up)
        return young ? CHOOSE_MIRROR : CHOOSE_NOBODY;
    if (q->stale || q->stream)
        return young && !q->more ? CHOOSE_MIRROR : CHOOSE_THERE;
    return CHOOSE_THERE;
}
