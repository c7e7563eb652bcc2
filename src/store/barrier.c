/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* barrier - the newest revision that anybody can have been told of. */
#include "store/impl.h"

static void barriers_answer(struct list *all, enum err e, uint64_t revision)
{
    struct list now;

    list_init(&now);
    list_move_all(&now, all);
    while (!list_empty(&now)) {
        struct store_barrier *b =
            container_of(now.next, struct store_barrier, link);

        list_del(&b->link);
        b->done(b, e, revision);
    }
}

void barrier_add(struct store *s, struct store_barrier *b)
{
    list_add(&s->barriers_waiting, &b->link);
}

static void barrier_done(void *ctx, enum err e, uint64_t revision)
{
    struct store *s = ctx;

    barriers_answer(&s->barriers_flying, e,
                    e == ERR_OK ? revision_out(s, revision) : 0);
    engine_kick(s);
}

/* Who comes while one flies shares the next: the one in flight may have begun
 * before a commit that he knows of. */
void barriers_start(struct store *s)
{
    if (list_empty(&s->barriers_waiting) || !list_empty(&s->barriers_flying))
        return;
    list_move_all(&s->barriers_flying, &s->barriers_waiting);
    if (s->barrier_free)
        barrier_done(s, ERR_OK, s->delivered);
    else
        s->backend->ops->barrier(s->backend, barrier_done, s);
}

void barriers_fail(struct store *s, enum err e)
{
    barriers_answer(&s->barriers_flying, e, 0);
    barriers_answer(&s->barriers_waiting, e, 0);
}
