/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "mirror/choose.h"

static bool is_young(const struct mirror_asked *q, const struct mirror_state *m)
{
    return m->age_ms <= m->age_max_ms &&
           (!q->limited || m->age_ms <= q->max_stale_ms);
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
