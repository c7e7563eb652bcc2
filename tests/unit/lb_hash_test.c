/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Hash policies: published vectors, spread, what moves when somebody leaves. */
#include "lb_world.h"

enum { KEYS = 20000 };

static uint64_t key_of(const struct lb_policy *p, size_t i)
{
    char text[32];
    int n = snprintf(text, sizeof text, "customer/%zu", i);

    return p->hash(bytes_of(text, (size_t)n));
}

/* --- Ketama -------------------------------------------------------------- */

/* Couchbase's RFC 0026: four hosts, 640 points. Held here as the hash of the
 * list "POINT HOST\n" in order, made from its JSON file, and a few by name. */
static void the_ring_is_couchbases(void **state)
{
    (void)state;
    struct bench_list l;
    char text[640 * 40];
    size_t at = 0, n = 0;
    void *table = NULL;

    list_init(&l, 4);
    for (size_t i = 0; i < 4; i++) {
        int k = snprintf(l.names[i], sizeof l.names[i], "192.168.1.%zu:11210",
                         101 + i);
        l.hosts[i].name = bytes_of(l.names[i], (size_t)k);
    }
    assert_ok(lb_ketama.build(&l.list, &table));
    const struct lb_ketama_point *p = lb_ketama_ring(table, &n);
    assert_int_equal(n, 640);
    assert_int_equal(p[0].at, 19069626);
    assert_int_equal(p[0].member, 3);
    assert_int_equal(p[320].at, 2147967778);
    assert_int_equal(p[320].member, 0);
    assert_int_equal(p[639].at, 4294628205);
    assert_int_equal(p[639].member, 1);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%u %s\n", p[i].at,
                               l.names[p[i].member]);
    assert_int_equal(at, 19691);
    assert_int_equal(bytes_hash(bytes_of(text, at), 0), 0x2c334f11f3cc10bfu);
    free(table);
    list_fini(&l);
}

/* The lookup by upper bits finds what a walk round the ring finds. */
static void a_key_goes_to_the_next_point_clockwise(void **state)
{
    (void)state;
    struct bench_list l;
    void *table = NULL;
    uint64_t s = 5;
    size_t n;

    list_init(&l, 30);
    assert_ok(lb_ketama.build(&l.list, &table));
    const struct lb_ketama_point *p = lb_ketama_ring(table, &n);
    for (int k = 0; k < 100000; k++) {
        uint32_t key = (uint32_t)lb_draw(&s);
        size_t low = 0, high = n;
        if (k < 3)
            key = k == 0 ? 0 : k == 1 ? UINT32_MAX : p[n - 1].at;
        while (low < high) {
            size_t mid = (low + high) / 2;
            if (p[mid].at < key)
                low = mid + 1;
            else
                high = mid;
        }
        assert_ptr_equal(table_pick(&lb_ketama, &l, table, key),
                         &l.hosts[p[low % n].member]);
    }
    free(table);
    list_fini(&l);
}

static void weights_give_points_in_proportion(void **state)
{
    (void)state;
    struct bench_list l;
    size_t n, count[3] = {0};
    void *table = NULL;

    list_init(&l, 3);
    l.v[0].weight = 3;
    l.v[1].weight = 2;
    assert_ok(lb_ketama.build(&l.list, &table));
    const struct lb_ketama_point *p = lb_ketama_ring(table, &n);
    for (size_t i = 0; i < n; i++)
        count[p[i].member]++;
    assert_int_equal(count[0], 240);
    assert_int_equal(count[1], 160);
    assert_int_equal(count[2], 80);
    free(table);
    list_fini(&l);
}

/* --- Maglev -------------------------------------------------------------- */

static void slots_per_member(const void *table, size_t members, uint32_t *ret)
{
    size_t n;
    const uint16_t *slot = lb_maglev_slots(table, &n);

    memset(ret, 0, members * sizeof *ret);
    for (size_t i = 0; i < n; i++) {
        assert_true(slot[i] < members);
        ret[slot[i]]++;
    }
}

static void slots_of_equals_differ_by_one_at_most(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 2, 3, 10, 64, 100, 999, 1000, 3000, 9000};
    static uint32_t count[9000];

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct bench_list l;
        void *table = NULL;
        uint32_t low = UINT32_MAX, high = 0;

        list_init(&l, sizes[s]);
        assert_ok(lb_maglev.build(&l.list, &table));
        slots_per_member(table, sizes[s], count);
        for (size_t i = 0; i < sizes[s]; i++) {
            low = count[i] < low ? count[i] : low;
            high = count[i] > high ? count[i] : high;
        }
        assert_true(high - low <= 1);
        free(table);
        list_fini(&l);
    }
}

static void slots_follow_weights_as_envoys_do(void **state)
{
    (void)state;
    struct bench_list l;
    uint32_t count[2];
    void *table = NULL;

    list_init(&l, 2);
    l.v[1].weight = 2;
    assert_ok(lb_maglev.build(&l.list, &table));
    slots_per_member(table, 2, count);
    assert_int_equal(count[0], 21846);
    assert_int_equal(count[1], 43691);
    free(table);
    list_fini(&l);
}

/* The share of the others' slots that move when one leaves. */
static void few_slots_of_the_others_move(void **state)
{
    (void)state;
    static const size_t sizes[] = {3, 10, 100, 1000};

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct bench_list l;
        void *before = NULL, *after = NULL;
        size_t n, gone = sizes[s] / 2, moved = 0, others = 0;

        list_init(&l, sizes[s]);
        assert_ok(lb_maglev.build(&l.list, &before));
        list_remove(&l, gone);
        assert_ok(lb_maglev.build(&l.list, &after));
        const uint16_t *a = lb_maglev_slots(before, &n);
        const uint16_t *b = lb_maglev_slots(after, &n);
        for (size_t i = 0; i < n; i++) {
            if (a[i] == gone)
                continue;
            others++;
            moved += b[i] + (b[i] >= gone) != a[i];
        }
        assert_true((double)moved < 0.01 * (double)others);
        free(before);
        free(after);
        list_fini(&l);
    }
}

static void its_sizes_are_prime_and_roomy(void **state)
{
    (void)state;
    static const struct {
        size_t members, slots;
    } cases[] = {{1, 65537}, {6553, 65537}, {6554, 655373}, {9999, 655373}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bench_list l;
        void *table = NULL;
        size_t n;

        list_init(&l, cases[i].members);
        assert_ok(lb_maglev.build(&l.list, &table));
        (void)lb_maglev_slots(table, &n);
        assert_int_equal(n, cases[i].slots);
        for (size_t d = 2; d * d <= n; d++)
            assert_int_not_equal(n % d, 0);
        free(table);
        list_fini(&l);
    }
}

/* --- Jump ---------------------------------------------------------------- */

static void jump_gives_the_published_buckets(void **state)
{
    (void)state;
    assert_int_equal(lb_jump_hash(42, 57), 43);
    assert_int_equal(lb_jump_hash(0xDEAD10CC, 666), 361);
    assert_int_equal(lb_jump_hash(256, 1024), 520);
    assert_int_equal(lb_jump_hash(10863919174838991u, 11), 6);
    for (uint64_t k = 0; k < 1000; k++)
        assert_int_equal(lb_jump_hash(lb_mix(k), 1), 0);
}

static void jump_moves_only_into_the_new_bucket(void **state)
{
    (void)state;
    for (uint32_t n = 1; n < 200; n += 7) {
        size_t moved = 0;
        for (uint64_t k = 0; k < KEYS; k++) {
            uint32_t a = lb_jump_hash(lb_mix(k), n);
            uint32_t b = lb_jump_hash(lb_mix(k), n + 1);
            assert_true(b == a || b == n);
            moved += b != a;
        }
        double want = (double)KEYS / (n + 1);
        assert_true(fabs((double)moved - want) < 5 * sqrt(want) + 1);
    }
}

/* IDs with numbers: web-10 comes after web-9, so growing is at the end. */
static void jumps_order_is_that_of_the_ids_numbers(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("jump");
    size_t before[500], moved = 0;
    struct lb_ticket t;
    char key[16];

    world_init(&w, 99);
    /* Addresses in no order at all. */
    for (size_t i = 0; i < 100; i++)
        w.v[i].address = bytes_str(w.address[i * 37 % 100]);
    world_start(&w, &o);
    for (size_t i = 0; i < 500; i++) {
        (void)snprintf(key, sizeof key, "k%zu", i);
        before[i] = world_pick_key(&w, bytes_str(key), &t);
    }
    w.n = 100;
    world_update(&w);
    for (size_t i = 0; i < 500; i++) {
        (void)snprintf(key, sizeof key, "k%zu", i);
        size_t now = world_pick_key(&w, bytes_str(key), &t);
        assert_true(now == before[i] || now == 99 * 37 % 100);
        moved += now != before[i];
    }
    assert_in_range(moved, 1, 20);
    world_fini(&w);
}

/* --- All of them --------------------------------------------------------- */

/* Ring and rendezvous move nothing but the keys of who left. */
static void only_the_keys_of_who_left_move(void **state)
{
    (void)state;
    static const struct lb_policy *const policies[] = {&lb_ketama,
                                                       &lb_rendezvous};

    for (size_t p = 0; p < 2; p++) {
        struct bench_list l;
        const struct lb_host *before[2000];
        void *table = NULL;
        size_t moved = 0;

        list_init(&l, 40);
        l.v[3].weight = 5; /* rendezvous with weights, too */
        if (policies[p] == &lb_ketama)
            l.v[3].weight = 1; /* shares of digests would change */
        assert_ok(policies[p]->build(&l.list, &table));
        for (size_t i = 0; i < 2000; i++)
            before[i] =
                table_pick(policies[p], &l, table, key_of(policies[p], i));
        free(table);
        const struct lb_host *gone = l.v[17].host;
        list_remove(&l, 17);
        assert_ok(policies[p]->build(&l.list, &table));
        for (size_t i = 0; i < 2000; i++) {
            const struct lb_host *now =
                table_pick(policies[p], &l, table, key_of(policies[p], i));
            if (before[i] == gone)
                moved++;
            else
                assert_ptr_equal(now, before[i]);
        }
        assert_true(moved > 0);
        free(table);
        list_fini(&l);
    }
}

struct spread {
    const char *policy;
    double deviation; /* standard, of the mean */
};

static void keys_spread_as_evenly_as_each_promises(void **state)
{
    (void)state;
    /* 20 members, 20,000 keys: chance alone is 3 %; 160 points add 8 %. */
    static const struct spread cases[] = {
        {"ketama", .13}, {"maglev", .06}, {"rendezvous", .06}, {"jump", .06}};

    for (size_t c = 0; c < 4; c++) {
        struct world w;
        struct lb_options o = world_options(cases[c].policy);
        double sum = 0;

        world_init(&w, 20);
        world_start(&w, &o);
        world_run(&w, KEYS);
        for (size_t i = 0; i < 20; i++)
            sum += pow(w.count[i] / 1000.0 - 1, 2);
        assert_true(sqrt(sum / 20) < cases[c].deviation);
        world_fini(&w);
    }
}

static void rendezvous_follows_weights(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("rendezvous");
    static const double share[] = {1, 2, 3, 4};

    world_init(&w, 4);
    for (size_t i = 0; i < 4; i++)
        w.v[i].weight = (uint32_t)share[i];
    world_start(&w, &o);
    world_run(&w, KEYS);
    assert_true(chi_square(w.count, share, 4) < chi_limit(3));
    world_fini(&w);
}

/* The classic bug: a table that depends on how the list was ordered. */
static void the_order_of_the_list_does_not_matter(void **state)
{
    (void)state;
    static const char *const names[] = {"ketama", "maglev", "rendezvous",
                                        "jump", NULL};

    for (size_t p = 0; names[p]; p++) {
        struct world a, b;
        struct lb_options o = world_options(names[p]);
        uint64_t s = p + 1;

        world_init(&a, 50);
        world_init(&b, 50);
        for (size_t i = 0; i < 50; i++)
            a.v[i].weight = b.v[i].weight = (uint32_t)(i % 4 + 1);
        for (size_t i = 49; i > 0; i--) {
            size_t j = lb_below(lb_draw(&s), (uint32_t)i + 1);
            struct lb_endpoint e = b.v[i];
            b.v[i] = b.v[j];
            b.v[j] = e;
        }
        world_start(&a, &o);
        world_start(&b, &o);
        for (size_t i = 0; i < 2000; i++) {
            struct lb_ticket t;
            char key[16];
            (void)snprintf(key, sizeof key, "k%zu", i);
            assert_int_equal(world_pick_key(&a, bytes_str(key), &t),
                             world_pick_key(&b, bytes_str(key), &t));
        }
        world_fini(&a);
        world_fini(&b);
    }
}

/* --- Bounded load -------------------------------------------------------- */

enum { HOSTS = 20, STEPS = 75000, OPEN_MAX = 400 };

static void nobody_above_the_bound(const char *policy, bool weighted)
{
    struct world w;
    struct lb_options o = world_options(policy);
    static struct lb_ticket open[OPEN_MAX];
    uint32_t active[HOSTS] = {0}, n = 0, sum = 0;

    o.bounded_percent = 125;
    world_init(&w, HOSTS);
    for (size_t i = 0; i < HOSTS; i++) {
        w.v[i].weight = weighted ? (uint32_t)(1 + i % 3) : 1;
        sum += w.v[i].weight;
    }
    world_start(&w, &o);
    for (int step = 0; step < STEPS; step++) {
        uint64_t r = lb_draw(&w.random);
        if (n < OPEN_MAX && (n == 0 || r % 100 < 55)) {
            char key[16];
            (void)snprintf(key, sizeof key, "hot-%u", (unsigned)(r >> 40) % 9);
            size_t i = world_pick_key(&w, bytes_str(key), &open[n++]);
            double cap = ceil(1.25 * n * w.v[i].weight / sum);
            active[i]++;
            if (active[i] > cap)
                fail_msg("%s: %u above %g", policy, active[i], cap);
        } else {
            uint32_t k = (uint32_t)(r >> 32) % n;
            active[world_number(&open[k])]--;
            assert_ok(lb_report(w.b, &open[k], LB_OK, 1, w.now_ms));
            open[k] = open[--n];
        }
    }
    world_fini(&w);
}

static void bounded_load_is_never_above_its_bound(void **state)
{
    (void)state;
    nobody_above_the_bound("ketama", false);
    nobody_above_the_bound("maglev", false);
    nobody_above_the_bound("rendezvous", true);
    nobody_above_the_bound("jump", false);
    nobody_above_the_bound("maglev", true);
}

static void a_great_bound_is_no_bound(void **state)
{
    (void)state;
    struct world a, b;
    struct lb_options o = world_options("ketama");
    struct lb_ticket t;

    world_init(&a, HOSTS);
    world_init(&b, HOSTS);
    world_start(&a, &o);
    o.bounded_percent = 100000;
    world_start(&b, &o);
    for (size_t i = 0; i < 300; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%zu", i);
        assert_int_equal(world_pick_key(&a, bytes_str(key), &t),
                         world_pick_key(&b, bytes_str(key), &t));
    }
    world_fini(&a);
    world_fini(&b);
}

static void a_hash_policy_wants_a_key(void **state)
{
    (void)state;
    struct world w;
    struct lb_options o = world_options("maglev");
    struct lb_ticket t;
    struct lb_ask ask = {.now_ms = 1};

    world_init(&w, 2);
    world_start(&w, &o);
    assert_int_equal(lb_pick(w.b, &ask, &t), ERR_BAD);
    world_fini(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_ring_is_couchbases),
    cmocka_unit_test(a_key_goes_to_the_next_point_clockwise),
    cmocka_unit_test(weights_give_points_in_proportion),
    cmocka_unit_test(slots_of_equals_differ_by_one_at_most),
    cmocka_unit_test(slots_follow_weights_as_envoys_do),
    cmocka_unit_test(few_slots_of_the_others_move),
    cmocka_unit_test(its_sizes_are_prime_and_roomy),
    cmocka_unit_test(jump_gives_the_published_buckets),
    cmocka_unit_test(jump_moves_only_into_the_new_bucket),
    cmocka_unit_test(jumps_order_is_that_of_the_ids_numbers),
    cmocka_unit_test(only_the_keys_of_who_left_move),
    cmocka_unit_test(keys_spread_as_evenly_as_each_promises),
    cmocka_unit_test(rendezvous_follows_weights),
    cmocka_unit_test(the_order_of_the_list_does_not_matter),
    cmocka_unit_test(bounded_load_is_never_above_its_bound),
    cmocka_unit_test(a_great_bound_is_no_bound),
    cmocka_unit_test(a_hash_policy_wants_a_key),
};

RUN_TESTS(tests)
