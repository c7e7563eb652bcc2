/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/relay.h"

#include <stdio.h>

#include "test.h"

static bool is_new(struct relay *r, unsigned n)
{
    char id[RELAY_ID_BYTES] = {0};

    (void)snprintf(id, sizeof id, "%08x-0000-4000-8000-000000000000", n);
    return relay_is_new(r, id);
}

static void each_event_is_new_once(void **state)
{
    static struct relay r;

    (void)state;
    for (unsigned i = 0; i < RELAY_SEEN_MAX; i++)
        assert_true(is_new(&r, i));
    for (unsigned i = 0; i < RELAY_SEEN_MAX; i++)
        assert_false(is_new(&r, i));
    assert_true(is_new(&r, RELAY_SEEN_MAX));
    assert_false(is_new(&r, 1));
    assert_true(is_new(&r, 0)); /* too long ago */
}

static void what_is_fired_after_an_event_was_heard_is_later(void **state)
{
    static struct relay r;

    (void)state;
    assert_int_equal(relay_stamp(&r), 1);
    assert_int_equal(relay_stamp(&r), 2);
    relay_witness(&r, 9);
    relay_witness(&r, 4);
    assert_int_equal(relay_stamp(&r), 10);
}

enum { NODES = 5, EVENTS = 200, LINKS = NODES * NODES };

struct net {
    struct relay node[NODES];
    bool cut[NODES][NODES];
    unsigned heard[NODES][EVENTS], sent;
};

static void hear(struct net *n, size_t at, unsigned event)
{
    if (!is_new(&n->node[at], event))
        return;
    n->heard[at][event]++;
    for (size_t to = 0; to < NODES; to++) {
        if (to == at || n->cut[at][to])
            continue;
        n->sent++;
        hear(n, to, event);
    }
}

/* Flooding: whatever is cut, who can be reached at all hears each once, and it
 * costs no more than one message for each link and direction. */
static void everybody_who_can_be_reached_hears_it_once(void **state)
{
    static struct net n;

    (void)state;
    n.cut[0][1] = n.cut[0][2] = true;
    for (size_t i = 0; i < NODES; i++)
        n.cut[i][4] = n.cut[4][i] = true;
    for (unsigned e = 0; e < EVENTS; e++)
        hear(&n, 0, e);
    for (size_t i = 0; i < NODES; i++)
        for (unsigned e = 0; e < EVENTS; e++)
            assert_int_equal(n.heard[i][e], i < 4);
    assert_true(n.sent <= EVENTS * LINKS);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(each_event_is_new_once),
    cmocka_unit_test(what_is_fired_after_an_event_was_heard_is_later),
    cmocka_unit_test(everybody_who_can_be_reached_hears_it_once),
};

RUN_TESTS(tests)
