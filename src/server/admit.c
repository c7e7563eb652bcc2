/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/admit.h"

#include "base/check.h"

void admit_init(struct admit *a)
{
    *a = (struct admit){.limit = ADMIT_FIRST};
    for (size_t i = 0; i < ADMIT_TURNS; i++)
        list_init(&a->turn[i]);
}

bool admit_take(struct admit *a)
{
    if (a->waiting || a->flying >= a->limit)
        return false;
    a->flying++;
    return true;
}

bool admit_wait(struct admit *a, struct admit_item *it, uint64_t client,
                uint64_t now_ms)
{
    size_t turn = client % ADMIT_TURNS;

    if (a->waiting == ADMIT_WAITING_MAX || a->queued[turn] == ADMIT_TURN_MAX)
        return false;
    it->since_ms = now_ms;
    list_add(&a->turn[turn], &it->link);
    a->queued[turn]++;
    a->waiting++;
    return true;
}

static struct admit_item *leave(struct admit *a, struct list *turn)
{
    struct admit_item *it = container_of(turn->next, struct admit_item, link);

    list_del(&it->link);
    a->waiting--;
    a->queued[turn - a->turn]--;
    return it;
}

struct admit_item *admit_next(struct admit *a)
{
    if (!a->waiting || a->flying >= a->limit)
        return NULL;
    while (list_empty(&a->turn[a->next]))
        a->next = (a->next + 1) % ADMIT_TURNS;
    struct admit_item *it = leave(a, &a->turn[a->next]);

    a->next = (a->next + 1) % ADMIT_TURNS;
    a->flying++;
    return it;
}

struct admit_item *admit_late(struct admit *a, uint64_t since_ms)
{
    for (size_t i = 0; a->waiting && i < ADMIT_TURNS; i++) {
        struct list *turn = &a->turn[i];

        if (!list_empty(turn) &&
            container_of(turn->next, struct admit_item, link)->since_ms <=
                since_ms)
            return leave(a, turn);
    }
    return NULL;
}

void admit_done(struct admit *a, uint64_t took_ms, uint64_t now_ms)
{
    bool full = a->flying >= a->limit / 2;

    require(a->flying > 0);
    a->flying--;
    if (took_ms > ADMIT_TARGET_MS) {
        /* Those that were sent before say the same thing again. */
        if (now_ms - a->cut_ms > took_ms) {
            a->limit = a->limit * 7 / 10;
            a->cut_ms = now_ms;
        }
        if (a->limit < ADMIT_MIN)
            a->limit = ADMIT_MIN;
    } else if (full && a->limit < ADMIT_MAX) {
        a->limit++;
    }
}
