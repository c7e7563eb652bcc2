/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "duty/gather.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static bool sees(const struct gather_server *s, const char *id)
{
    for (size_t i = 0; i < s->sees_count; i++)
        if (strcmp(s->sees[i], id) == 0)
            return true;
    return strcmp(s->id, id) == 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(const struct gather_server *const *)a)->id,
                  (*(const struct gather_server *const *)b)->id);
}

/* One that takes part knows how to take in another; the lowest ID, so that all
 * who come at once ask the same. */
static const struct gather_server *a_member(const struct gather_server *others,
                                            size_t count)
{
    const struct gather_server *found = NULL;

    for (size_t i = 0; i < count; i++)
        if (others[i].phase == GATHER_MEMBER && others[i].ready &&
            (!found || strcmp(others[i].id, found->id) < 0))
            found = &others[i];
    return found;
}

static bool all_see_all(const struct gather_plan *p)
{
    for (size_t i = 0; i < p->set_count; i++)
        for (size_t k = 0; k < p->set_count; k++)
            if (!sees(p->set[i], p->set[k]->id))
                return false;
    return true;
}

static void wait_for(struct gather_plan *p, size_t have, uint64_t expect)
{
    p->next = GATHER_WAIT;
    errtext_set(&p->why, "%zu of %llu servers are here", have,
                (unsigned long long)expect);
}

static void propose(const struct gather_server *self,
                    const struct gather_server **fresh, size_t have,
                    struct gather_plan *p)
{
    qsort(fresh, have, sizeof *fresh, by_id);
    for (size_t i = 0; i < self->expect; i++)
        p->set[p->set_count++] = fresh[i];
    if (p->set[0] != self) {
        errtext_set(&p->why, "%s (%s) is to propose who forms the cluster",
                    p->set[0]->node, p->set[0]->address);
        return;
    }
    if (!all_see_all(p)) {
        errtext_set(&p->why, "not all servers see each other yet");
        return;
    }
    p->next = GATHER_PROPOSE;
}

void gather_decide(const struct gather_server *self,
                   const struct gather_server *others, size_t count,
                   struct gather_plan *ret)
{
    const struct gather_server *fresh[GATHER_SEEN_MAX + 1];
    size_t have = 0;

    require(self->expect <= GATHER_EXPECT_MAX);
    *ret = (struct gather_plan){.next = GATHER_WAIT};
    ret->whom = a_member(others, count);
    if (ret->whom) {
        ret->next = GATHER_JOIN;
        return;
    }
    if (self->expect < 2) {
        errtext_set(&ret->why, "no cluster answers yet");
        return;
    }
    fresh[have++] = self;
    for (size_t i = 0; i < count && have <= GATHER_SEEN_MAX; i++) {
        const struct gather_server *s = &others[i];

        if (s->phase == GATHER_LOCKED || s->phase == GATHER_MEMBER) {
            errtext_set(&ret->why, "%s (%s) is forming a cluster already",
                        s->node, s->address);
            return;
        }
        if (s->phase != GATHER_FRESH || s->expect == 0)
            continue;
        if (s->expect != self->expect) {
            errtext_set(&ret->why,
                        "%s (%s) has bootstrap_expect = %llu, this server %llu",
                        s->node, s->address, (unsigned long long)s->expect,
                        (unsigned long long)self->expect);
            return;
        }
        fresh[have++] = s;
    }
    if (have < self->expect)
        wait_for(ret, have, self->expect);
    else
        propose(self, fresh, have, ret);
}

static bool holds(const struct gather_server *s, const char *token)
{
    return (s->phase == GATHER_LOCKED || s->phase == GATHER_MEMBER) &&
           strcmp(s->token, token) == 0;
}

enum gather_lock gather_locked(const char *token,
                               const struct gather_server *const *set,
                               size_t count,
                               const struct gather_server *proposer)
{
    bool all = true;

    for (size_t i = 0; i < count; i++) {
        /* Who goes on knew that all held it. */
        if (set[i]->phase == GATHER_MEMBER && holds(set[i], token))
            return LOCK_AGREED;
        /* The proposer locked it before it asked anybody. */
        if (set[i] != proposer && !holds(set[i], token))
            all = false;
    }
    if (proposer && proposer->phase != GATHER_UNKNOWN &&
        !holds(proposer, token))
        return LOCK_DROP;
    return all ? LOCK_AGREED : LOCK_WAIT;
}
