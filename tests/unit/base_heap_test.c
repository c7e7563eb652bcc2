/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/heap.h"

#include "base/list.h"
#include "test.h"

enum { ITEMS = 400 };

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static uint64_t least(const struct heap_item *items)
{
    uint64_t due_ms = UINT64_MAX;

    for (int i = 0; i < ITEMS; i++)
        if (items[i].in && items[i].due_ms < due_ms)
            due_ms = items[i].due_ms;
    return due_ms;
}

static void the_earliest_is_always_first(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        static struct heap_item items[ITEMS];
        struct heap h = {0};
        uint64_t s = seed;

        memset(items, 0, sizeof items);
        for (int op = 0; op < 10000; op++) {
            struct heap_item *i = &items[next_random(&s) % ITEMS];
            /* few different times in half of the seeds: many are equal */
            uint64_t due_ms = next_random(&s) % (seed % 2 ? 10 : 1000000);
            switch (next_random(&s) % 4) {
            case 0:
                heap_set(&h, i, due_ms);
                break;
            case 1:
                if (!i->in)
                    heap_add(&h, i, due_ms);
                break;
            case 2:
                heap_del(&h, i);
                assert_false(i->in);
                break;
            default:
                if (heap_min(&h))
                    heap_del(&h, heap_min(&h));
            }
            const struct heap_item *first = heap_min(&h);
            assert_true((first ? first->due_ms : UINT64_MAX) == least(items));
            assert_true(!first || first->in);
        }
    }
}

static void everything_comes_out_in_order(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    static struct heap_item items[MANY];
    struct heap h = {0};
    uint64_t s = 9, last = 0;

    for (int i = 0; i < MANY; i++)
        heap_add(&h, &items[i], next_random(&s) % 1000000);
    for (int i = 0; i < MANY; i++) {
        struct heap_item *first = heap_min(&h);
        assert_true(first->due_ms >= last);
        last = first->due_ms;
        heap_del(&h, first);
    }
    assert_null(heap_min(&h));
}

static void deleting_what_is_not_in_does_nothing(void **state)
{
    (void)state;
    struct heap h = {0};
    struct heap_item a = {0}, b = {0};

    heap_del(&h, &a);
    heap_add(&h, &a, UINT64_MAX);
    heap_del(&h, &b);
    assert_ptr_equal(heap_min(&h), &a);
    heap_del(&h, &a);
    heap_del(&h, &a);
    assert_null(heap_min(&h));
    heap_set(&h, &b, 0);
    assert_ptr_equal(heap_min(&h), &b);
}

/* base/list.h is small enough to be looked at here. */
struct member {
    int n;
    struct list link;
};

static void lists_keep_their_order(void **state)
{
    (void)state;
    struct list head, other;
    struct member m[5];
    int want = 0;

    list_init(&head);
    list_init(&other);
    assert_true(list_empty(&head));
    for (int i = 0; i < 5; i++) {
        m[i].n = i;
        list_add(i < 3 ? &head : &other, &m[i].link);
    }
    list_move_all(&head, &other);
    assert_true(list_empty(&other));
    list_move_all(&head, &other);
    list_each (it, &head) {
        assert_int_equal(container_of(it, struct member, link)->n, want++);
        list_del(it); /* the walk goes on */
        list_del(it); /* harmless */
    }
    assert_int_equal(want, 5);
    assert_true(list_empty(&head));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_earliest_is_always_first),
    cmocka_unit_test(everything_comes_out_in_order),
    cmocka_unit_test(deleting_what_is_not_in_does_nothing),
    cmocka_unit_test(lists_keep_their_order),
};

RUN_TESTS(tests)
