/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Services that nobody uses any more: mirror.h says why in two steps. */
#include "base/check.h"
#include "mirror/impl.h"

static bool is_crowded(const struct mirror *m, size_t share, size_t of)
{
    return m->sub_count > MIRROR_SUBSCRIPTIONS_MAX / of * share ||
           m->names_bytes > MIRROR_NAMES_BYTES_MAX / of * share ||
           m->rows.bytes > m->bytes_max / of * share;
}

/* Names that do not exist cost nobody much, but there can be any number. */
static uint64_t idle_after_ms(const struct mirror *m, const struct sub *s,
                              uint64_t idle_ms)
{
    bool hurry = is_crowded(m, 3, 4) ||
                 (s->whole && s->entries.n == 0 && is_crowded(m, 1, 2));

    return hurry ? idle_ms / MIRROR_CROWDED_SHARE : idle_ms;
}

static void begin_leaving(struct mirror *m, struct sub *s, uint64_t used_ms)
{
    s->leaving = true;
    s->left_used = used_ms;
    catalog_set_whole(m->catalog, sub_name(s), false);
}

static void stay(struct mirror *m, struct sub *s)
{
    s->leaving = false;
    if (s->whole) /* it was followed all the time: its index is right */
        catalog_set_whole(m->catalog, sub_name(s), true);
}

static void leave(struct mirror *m, size_t i)
{
    struct sub *s = m->subs[i];
    struct buf name = {0};
    size_t at = 0;
    void *e;

    while (map_next(&s->entries, &at, NULL, &e))
        outs_tell(m, e, 0);
    buf_put(&name, sub_name(s));
    sub_remove(m, i);
    show_dirty(m, m->revision);
    outs_commit(m, m->revision, false);
    outs_forget(m, buf_bytes(&name));
    catalog_forget_name(m->catalog, buf_bytes(&name));
    buf_fini(&name);
}

size_t mirror_sweep(struct mirror *m, const struct mirror_idle *idle)
{
    size_t gone = 0, changed = 0;

    /* Half a snapshot, or half a version, is nothing to publish. */
    if (m->revision == 0 || m->show.stage != SHOW_NOTHING || m->snapshots ||
        m->ends || !list_empty(&m->rows.dirty) || !list_empty(&m->rows.let))
        return 0;
    for (size_t i = m->sub_count; i-- > 0;) {
        struct sub *s = m->subs[i];
        if (s->kind != MIRROR_SERVICE)
            continue;
        uint64_t used = idle->used(idle->ctx, sub_name(s));
        bool is_idle =
            idle->now_ms >= used + idle_after_ms(m, s, idle->idle_ms);
        if (s->leaving && used != s->left_used)
            stay(m, s);
        else if (s->leaving)
            leave(m, i), gone++;
        else if (is_idle)
            begin_leaving(m, s, used);
        else
            continue;
        changed++;
    }
    if (changed) {
        catalog_commit(m->catalog, m->revision);
        m->events.committed(m->events.ctx);
    }
    return gone;
}
