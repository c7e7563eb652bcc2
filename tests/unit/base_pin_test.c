/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/pin.h"

#include <pthread.h>

#include "test.h"

static int slot_of(struct pin_domain *d)
{
    int slot = -1;
    assert_ok(pin_slot(d, &slot));
    return slot;
}

static void retire(struct pin_domain *d, size_t n)
{
    void *p = malloc(n);
    assert_non_null(p);
    pin_retire(d, p, n);
}

static void without_readers_garbage_goes_at_once(void **state)
{
    (void)state;
    struct pin_domain d;

    pin_init(&d);
    pin_publish(&d);
    retire(&d, 100);
    retire(&d, 20);
    assert_int_equal(d.garbage_bytes, 120);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 0);
    pin_fini(&d);
}

static void a_pin_keeps_what_was_retired_after_it(void **state)
{
    (void)state;
    struct pin_domain d;

    pin_init(&d);
    int early = slot_of(&d), late = slot_of(&d);
    pin_enter(&d, early);
    retire(&d, 100);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 100);

    pin_enter(&d, late);
    retire(&d, 10);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 110);

    /* The first went out of sight before `late` came. */
    pin_leave(&d, early);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 10);

    pin_leave(&d, late);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 0);
    pin_fini(&d);
}

static void a_pin_does_not_keep_older_garbage(void **state)
{
    (void)state;
    struct pin_domain d;

    pin_init(&d);
    int old = slot_of(&d), young = slot_of(&d);
    pin_enter(&d, old);
    for (int i = 0; i < 5; i++) {
        retire(&d, 1);
        pin_publish(&d);
    }
    pin_enter(&d, young);
    pin_leave(&d, old);
    retire(&d, 1000);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 1000);

    /* Entering anew is a new pin. */
    pin_leave(&d, young);
    pin_enter(&d, young);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 0);
    pin_leave(&d, young);
    pin_fini(&d);
}

static void much_garbage_of_one_version_goes_together(void **state)
{
    (void)state;
    struct pin_domain d;

    pin_init(&d);
    int slot = slot_of(&d);
    pin_enter(&d, slot);
    for (int i = 0; i < 1000; i++)
        retire(&d, 8);
    pin_publish(&d);
    for (int i = 0; i < 1000; i++)
        retire(&d, 8);
    assert_int_equal(d.garbage_bytes, 16000);
    pin_leave(&d, slot);
    pin_enter(&d, slot); /* pins the first of the two versions */
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 8000);
    pin_leave(&d, slot);
    pin_fini(&d); /* the leak checker sees what is left behind */
    assert_int_equal(d.garbage_bytes, 0);
}

static void slots_are_limited(void **state)
{
    (void)state;
    struct pin_domain d;
    int slot = 12345;

    pin_init(&d);
    for (int i = 0; i < PIN_SLOTS_MAX; i++)
        assert_int_equal(slot_of(&d), i);
    assert_int_equal(pin_slot(&d, &slot), ERR_LIMIT);
    assert_int_equal(pin_slot(&d, &slot), ERR_LIMIT);
    assert_int_equal(slot, 12345);

    /* The last one protects like the first. */
    pin_enter(&d, PIN_SLOTS_MAX - 1);
    retire(&d, 1);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 1);
    pin_leave(&d, PIN_SLOTS_MAX - 1);
    pin_publish(&d);
    assert_int_equal(d.garbage_bytes, 0);
    pin_fini(&d);
}

/* --- Threads ------------------------------------------------------------- */

/* Readers must see each piece of data whole and unchanged while pinned. Memory
 * freed too early is used again for the next version at once, so readers notice
 * even without a sanitizer. */
enum { READERS = 4, WORDS = 64, TURNS = 100000 };

struct world {
    struct pin_domain pins;
    uint64_t *_Atomic current; /* WORDS times the same number */
    _Atomic int readers;       /* still running */
    _Atomic int torn;
};

static uint64_t *data_of(uint64_t number)
{
    uint64_t *p = malloc(WORDS * sizeof *p);

    if (!p)
        abort();
    for (int i = 0; i < WORDS; i++)
        p[i] = number;
    return p;
}

static void *read_world(void *arg)
{
    struct world *w = arg;
    uint64_t last = 0;
    int slot;

    if (pin_slot(&w->pins, &slot) != ERR_OK)
        abort();
    for (int turn = 0; turn < TURNS; turn++) {
        pin_enter(&w->pins, slot);
        const uint64_t *p =
            atomic_load_explicit(&w->current, memory_order_acquire);
        uint64_t number = p[0];
        for (int i = 0; i < WORDS; i++)
            if (p[i] != number)
                atomic_fetch_add(&w->torn, 1);
        if (number < last)
            atomic_fetch_add(&w->torn, 1);
        last = number;
        pin_leave(&w->pins, slot);
    }
    atomic_fetch_sub(&w->readers, 1);
    return NULL;
}

static void readers_and_writer_never_meet(void **state)
{
    (void)state;
    static struct world w;
    pthread_t thread[READERS];
    uint64_t number = 1;

    pin_init(&w.pins);
    atomic_store(&w.current, data_of(number));
    atomic_store(&w.readers, READERS);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, read_world, &w), 0);
    while (atomic_load(&w.readers) > 0) {
        uint64_t *old = atomic_load(&w.current);
        atomic_store_explicit(&w.current, data_of(++number),
                              memory_order_release);
        pin_retire(&w.pins, old, WORDS * sizeof *old);
        pin_publish(&w.pins);
    }
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(w.torn, 0);
    pin_publish(&w.pins);
    assert_int_equal(w.pins.garbage_bytes, 0);
    pin_fini(&w.pins);
    free(w.current);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_readers_garbage_goes_at_once),
    cmocka_unit_test(a_pin_keeps_what_was_retired_after_it),
    cmocka_unit_test(a_pin_does_not_keep_older_garbage),
    cmocka_unit_test(much_garbage_of_one_version_goes_together),
    cmocka_unit_test(slots_are_limited),
    cmocka_unit_test(readers_and_writer_never_meet),
};

RUN_TESTS(tests)
