/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Servers without data agree on one set, whoever sees whom, and in whatever
 * order they come, ask, stop and start again. */
#include "test.h"

#include <stdio.h>

#include "duty/gather.h"

static struct gather_server server(int i, uint64_t expect)
{
    struct gather_server s = {.peer_port = 8301,
                              .server_port = 8300,
                              .expect = expect,
                              .phase = GATHER_FRESH};

    (void)snprintf(s.id, sizeof s.id, "00000000-0000-4000-8000-%012d", i);
    (void)snprintf(s.node, sizeof s.node, "n%d", i);
    (void)snprintf(s.address, sizeof s.address, "10.0.0.%d", i);
    return s;
}

static void see(struct gather_server *s, const struct gather_server *other)
{
    memcpy(s->sees[s->sees_count++], other->id, sizeof other->id);
}

static void three(struct gather_server s[3])
{
    for (int i = 0; i < 3; i++)
        s[i] = server(i + 1, 3);
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++)
            if (i != k)
                see(&s[i], &s[k]);
}

static void the_lowest_of_three_proposes(void **state)
{
    struct gather_server s[3], others[2];
    struct gather_plan p;

    (void)state;
    three(s);
    gather_decide(&s[0], &s[1], 2, &p);
    assert_int_equal(p.next, GATHER_PROPOSE);
    assert_int_equal(p.set_count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(p.set[i]->id, s[i].id);
    others[0] = s[2];
    others[1] = s[0];
    gather_decide(&s[1], others, 2, &p);
    assert_int_equal(p.next, GATHER_WAIT);
    assert_string_equal(p.why.s,
                        "n1 (10.0.0.1) is to propose who forms the cluster");
}

static void who_is_missing_is_waited_for(void **state)
{
    struct gather_server s[3];
    struct gather_plan p;

    (void)state;
    three(s);
    gather_decide(&s[0], &s[1], 1, &p);
    assert_int_equal(p.next, GATHER_WAIT);
    assert_string_equal(p.why.s, "2 of 3 servers are here");
    s[2].sees_count = 1; /* sees s[0] only */
    gather_decide(&s[0], &s[1], 2, &p);
    assert_int_equal(p.next, GATHER_WAIT);
    assert_string_equal(p.why.s, "not all servers see each other yet");
}

static void different_expectations_name_both(void **state)
{
    struct gather_server s[3];
    struct gather_plan p;

    (void)state;
    three(s);
    s[1].expect = 5;
    gather_decide(&s[0], &s[1], 2, &p);
    assert_int_equal(p.next, GATHER_WAIT);
    assert_string_equal(
        p.why.s, "n2 (10.0.0.2) has bootstrap_expect = 5, this server 3");
}

static void a_cluster_that_exists_is_joined(void **state)
{
    struct gather_server s[3];
    struct gather_plan p;

    (void)state;
    three(s);
    s[2].phase = GATHER_MEMBER;
    gather_decide(&s[0], &s[1], 2, &p);
    assert_int_equal(p.next, GATHER_WAIT); /* it does not take part yet */
    s[2].ready = true;
    gather_decide(&s[0], &s[1], 2, &p);
    assert_int_equal(p.next, GATHER_JOIN);
    assert_ptr_equal(p.whom, &s[2]);
    s[0].expect = 0;
    gather_decide(&s[0], &s[1], 1, &p);
    assert_int_equal(p.next, GATHER_WAIT);
    assert_string_equal(p.why.s, "no cluster answers yet");
}

static void more_than_expected_leaves_the_highest_out(void **state)
{
    struct gather_server all[4], others[3];
    struct gather_plan p;

    (void)state;
    for (int i = 0; i < 4; i++)
        all[i] = server(i + 1, 3);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++)
            if (i != k)
                see(&all[i], &all[k]);
    memcpy(others, &all[1], sizeof others);
    gather_decide(&all[0], others, 3, &p);
    assert_int_equal(p.next, GATHER_PROPOSE);
    assert_int_equal(p.set_count, 3);
    assert_string_equal(p.set[2]->id, all[2].id);
}

/* --- Histories ------------------------------------------------------------ */

/* Servers that see random others of the truth of some earlier moment, lock,
 * refuse, stop and start: at most one set is ever agreed on by two that share a
 * member, and in a calm end all of one set have it. */
enum { SERVERS = 5, STEPS = 400, SEEDS = 2000 };

struct peer {
    struct gather_server now;            /* the truth; on its disk */
    struct gather_server knows[SERVERS]; /* as it heard last */
    bool set[SERVERS];                   /* of its lock */
    int proposer;
};

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % below;
}

static void hear(struct peer *all, int who, int of)
{
    struct peer *p = &all[who];

    if (draw(8) == 0) {
        p->knows[of].phase = GATHER_UNKNOWN;
        return;
    }
    p->knows[of] = all[of].now;
}

/* As hello tells it: fresh ones that it heard of. */
static void tell_seen(struct peer *p, int who)
{
    p->now.sees_count = 0;
    for (int i = 0; i < SERVERS; i++)
        if (i != who && p->knows[i].phase == GATHER_FRESH)
            see(&p->now, &p->knows[i]);
}

static void unlock(struct peer *p)
{
    p->now.phase = GATHER_FRESH;
    p->now.token[0] = 0;
    memset(p->set, 0, sizeof p->set);
}

/* The proposer asks one of its set to lock. */
static void ask_lock(struct peer *all, int who)
{
    struct peer *p = &all[who];
    int to = (int)draw(SERVERS);

    if (!p->set[to] || to == who)
        return;
    struct peer *q = &all[to];
    if (q->now.phase == GATHER_FRESH) {
        q->now.phase = GATHER_LOCKED;
        memcpy(q->now.token, p->now.token, sizeof q->now.token);
        memcpy(q->set, p->set, sizeof q->set);
        q->proposer = who;
        q->knows[who] = p->now; /* what was heard before does not count */
    } else if (strcmp(q->now.token, p->now.token) != 0) {
        unlock(p);
    }
}

static void act(struct peer *all, int who, int *tokens)
{
    struct peer *p = &all[who];
    const struct gather_server *set[SERVERS];
    struct gather_server others[SERVERS];
    struct gather_plan plan;
    size_t n = 0;

    if (p->now.phase == GATHER_FRESH) {
        for (int i = 0; i < SERVERS; i++)
            if (i != who && p->knows[i].phase != GATHER_UNKNOWN)
                others[n++] = p->knows[i];
        gather_decide(&p->now, others, n, &plan);
        if (plan.next != GATHER_PROPOSE)
            return;
        p->now.phase = GATHER_LOCKED;
        p->proposer = who;
        (void)snprintf(p->now.token, sizeof p->now.token, "t%d", ++*tokens);
        for (size_t k = 0; k < plan.set_count; k++)
            p->set[atoi(plan.set[k]->node + 1) - 1] = true;
        return;
    }
    if (p->now.phase != GATHER_LOCKED)
        return;
    for (int i = 0; i < SERVERS; i++)
        if (i != who && p->set[i])
            set[n++] = &p->knows[i];
    const struct gather_server *proposer =
        p->proposer == who ? NULL : &p->knows[p->proposer];
    switch (gather_locked(p->now.token, set, n, proposer)) {
    case LOCK_WAIT:
        if (!proposer)
            ask_lock(all, who);
        break;
    case LOCK_AGREED:
        p->now.phase = GATHER_MEMBER;
        break;
    case LOCK_DROP:
        unlock(p);
        break;
    }
}

static void check(const struct peer *all)
{
    for (int i = 0; i < SERVERS; i++) {
        if (all[i].now.phase != GATHER_MEMBER)
            continue;
        for (int k = 0; k < SERVERS; k++)
            if (all[i].set[k] &&
                (all[k].now.phase == GATHER_FRESH ||
                 strcmp(all[k].now.token, all[i].now.token) != 0))
                fail_msg("seed %llu: n%d goes on, n%d holds another set",
                         (unsigned long long)seed, i + 1, k + 1);
    }
}

static void no_history_forms_two_clusters(void **state)
{
    int formed = 0;

    (void)state;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        static struct peer all[SERVERS];
        int tokens = 0;

        seed = s;
        memset(all, 0, sizeof all);
        for (int i = 0; i < SERVERS; i++)
            all[i].now = server(i + 1, 3);
        for (int step = 0; step < STEPS; step++) {
            int who = (int)draw(SERVERS), of = (int)draw(SERVERS);
            if (who != of)
                hear(all, who, of);
            tell_seen(&all[who], who);
            act(all, who, &tokens);
            check(all);
        }
        for (int i = 0; i < SERVERS; i++)
            formed += all[i].now.phase == GATHER_MEMBER;
    }
    assert_true(formed > SEEDS); /* it comes to something */
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_lowest_of_three_proposes),
    cmocka_unit_test(who_is_missing_is_waited_for),
    cmocka_unit_test(different_expectations_name_both),
    cmocka_unit_test(a_cluster_that_exists_is_joined),
    cmocka_unit_test(more_than_expected_leaves_the_highest_out),
    cmocka_unit_test(no_history_forms_two_clusters),
};

RUN_TESTS(tests)
