/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Load balancing over slow, failing and flapping servers, on a virtual clock.
 *
 * As a test: each seed makes a scene, a policy and options of its own; rules
 * hold after every event (lb_farm.h names them). SIM_SEED=n runs one seed.
 *
 * lb_sim failover: a datacenter that goes and comes back, second by second;
 * lb_sim report: every policy in every scene of the table below, one JSON line
 * each; lb_sim picks: the order in which three of weights 3, 2 and 1 are taken.
 * tools/lb-pictures draws from both. */
#include "test.h"

#include "lb_farm.h"
#include "sim.h"

enum { SEEDS_DEFAULT = 300, REPORT_SEEDS = 5 };

#define W FARM_WELL
static const struct farm_scene scenes[] = {
    {"all well",
     {W, W, W, W, W, W, W, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     70,
     30,
     0},
    {"one slow",
     {W, W, W, FARM_SLOW, W, W, W, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     60,
     30,
     0},
    {"one failing",
     {W, W, W, FARM_FAILING, W, W, W, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     60,
     30,
     0},
    {"two flapping",
     {W, W, W, FARM_FLAPPING, W, W, FARM_FLAPPING, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     60,
     30,
     0},
    {"two restless",
     {W, W, W, FARM_RESTLESS, W, W, FARM_RESTLESS, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     60,
     30,
     0},
    {"one hot key",
     {W, W, W, W, W, W, W, W, W, W},
     {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
     50,
     30,
     15},
    {"weights 3, 2, 1",
     {W, W, W, W, W, W, W, W, W, W},
     {3, 2, 1, 0, 0, 0, 0, 0, 0, 0},
     20,
     30,
     0},
};
#undef W

/* --- Rules, for any seed ------------------------------------------------- */

static struct farm_scene any_scene(uint64_t *s)
{
    struct farm_scene x = {.name = "any", .seconds = 15};

    x.load_percent = 10 + lb_below(lb_draw(s), 70);
    x.hot_percent = lb_draw(s) % 3 ? 0 : lb_below(lb_draw(s), 40);
    for (size_t i = 0; i < FARM_SERVERS; i++) {
        uint64_t r = lb_draw(s);
        x.kind[i] =
            r % 100 < 60 ? FARM_WELL : (enum farm_kind)(1 + (r >> 32) % 4);
        x.weight[i] = i == 0 ? 1 : lb_below(lb_draw(s), 4);
    }
    x.kind[0] = FARM_WELL; /* somebody always answers */
    return x;
}

static struct lb_options any_options(uint64_t *s)
{
    struct lb_options o;
    const struct lb_policy *p;
    size_t n = 0;

    while (lb_policies[n])
        n++;
    lb_options_init(&o);
    p = lb_policies[lb_below(lb_draw(s), (uint32_t)n)];
    o.policy = bytes_str(p->name);
    if (p->hashes && lb_draw(s) % 2)
        o.bounded_percent = 110 + lb_below(lb_draw(s), 100);
    if (lb_draw(s) % 2)
        o.slow_start_ms = 5000;
    if (lb_draw(s) % 4 == 0)
        o.subset_size = 5;
    if (lb_draw(s) % 2)
        o.outlier.latency_factor = 3;
    if (lb_draw(s) % 2)
        o.outlier.interval_ms = 1000;
    return o;
}

static void one_seed(uint64_t seed)
{
    uint64_t s = seed * 7919;
    struct farm_scene scene = any_scene(&s);
    struct lb_options o = any_options(&s);
    struct farm f;

    farm_start(&f, &scene, &o, seed);
    farm_run(&f);
    if (f.done == 0)
        f.broken = "requests come";
    if (f.broken)
        fail_msg("seed %llu (%.*s): not so: %s", (unsigned long long)seed,
                 BYTES_ARG(o.policy), f.broken);
    farm_end(&f);
}

static void the_rules_hold_whatever_servers_do(void **state)
{
    (void)state;
    uint64_t first = sim_number("SIM_SEED", 0);
    uint64_t n = first ? 1 : sim_number("SIM_SEEDS", SEEDS_DEFAULT);

    for (uint64_t k = 0; k < n; k++)
        one_seed(first ? first : k + 1);
    print_message("# %llu seeds\n", (unsigned long long)n);
}

/* --- The comparison ------------------------------------------------------ */

static struct farm_result run(const struct farm_scene *scene,
                              const char *policy, uint32_t bounded,
                              uint64_t seed)
{
    struct lb_options o;
    struct farm f;

    lb_options_init(&o);
    o.policy = bytes_str(policy);
    o.bounded_percent = bounded;
    farm_start(&f, scene, &o, seed);
    farm_run(&f);
    struct farm_result r = farm_result(&f);
    farm_end(&f);
    return r;
}

static const struct farm_scene *scene_named(const char *name)
{
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        if (bytes_is(bytes_str(name), scenes[i].name))
            return &scenes[i];
    return NULL;
}

static struct farm_result mean(const char *scene, const char *policy,
                               uint32_t bounded)
{
    struct farm_result sum = {0};

    for (uint64_t seed = 1; seed <= REPORT_SEEDS; seed++) {
        struct farm_result r = run(scene_named(scene), policy, bounded, seed);
        sum.requests += r.requests;
        sum.p50_ms += r.p50_ms / REPORT_SEEDS;
        sum.p99_ms += r.p99_ms / REPORT_SEEDS;
        sum.spread += r.spread / REPORT_SEEDS;
        sum.failed_first += r.failed_first / REPORT_SEEDS;
        sum.failed += r.failed / REPORT_SEEDS;
        for (size_t i = 0; i < FARM_SERVERS; i++)
            sum.picked[i] += r.picked[i];
    }
    return sum;
}

/* What docs/load-balancing.md tells people to choose by must stay true. */
static void the_guide_is_right(void **state)
{
    (void)state;
    double rr = mean("one slow", "round-robin", 0).p99_ms;
    assert_true(mean("one slow", "p2c", 0).p99_ms * 2 < rr);
    assert_true(mean("one slow", "peak-ewma", 0).p99_ms * 3 < rr);

    struct farm_result ring = mean("one hot key", "ketama", 0);
    struct farm_result bound = mean("one hot key", "ketama", 125);
    assert_true(bound.p99_ms * 2 < ring.p99_ms);
    assert_true(bound.spread * 1.3 < ring.spread);

    for (size_t p = 0; lb_policies[p]; p++) {
        const char *name = lb_policies[p]->name;
        assert_true(mean("two flapping", name, 0).failed == 0);
        assert_true(mean("one failing", name, 0).failed_first < 0.5);
    }
}

static void weights_of_3_2_1_are_kept(void **state)
{
    (void)state;
    static const char *const policies[] = {"smooth", "edf", "weighted-random",
                                           "p2c", NULL};
    static const double share[] = {3, 2, 1};

    for (size_t p = 0; policies[p]; p++) {
        struct farm_result r = mean("weights 3, 2, 1", policies[p], 0);
        double all = r.picked[0] + r.picked[1] + r.picked[2];
        for (size_t i = 0; i < 3; i++)
            assert_true(fabs(r.picked[i] / all - share[i] / 6) < .03);
    }
}

/* --- Two datacenters ----------------------------------------------------- */

static const struct farm_scene two_datacenters = {
    .name = "two datacenters",
    .weight = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1},
    .load_percent = 35, /* 70 % of what one of them can do */
    .seconds = 90,
    .down_from_s = 10,
    .down_to_s = 30,
};

static void fail_over(struct farm *f, uint32_t return_ms, uint64_t seed)
{
    struct lb_options o;

    lb_options_init(&o);
    o.return_ms = return_ms;
    farm_start(f, &two_datacenters, &o, seed);
    farm_run(f);
}

static uint32_t slow_after_return(const struct farm *f)
{
    uint32_t n = 0;

    for (size_t s = two_datacenters.down_to_s; s < f->scene->seconds; s++)
        n += f->second[s].slow + f->second[s].failed;
    return n;
}

static double home_share(const struct farm *f, size_t second)
{
    const struct farm_second *s = &f->second[second];

    return s->picked ? (double)s->home / s->picked : 0;
}

/* The datacenter that returns is cold: hit by all that it carried before, its
 * queues fill up. */
static void a_datacenter_comes_back_without_a_herd(void **state)
{
    (void)state;
    enum { STEADY_MS = 30000 };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct farm gently, at_once;
        const size_t back = two_datacenters.down_to_s;

        fail_over(&gently, STEADY_MS, seed);
        fail_over(&at_once, 0, seed);
        assert_null(gently.broken);
        assert_true(gently.failed * 1000 < gently.done);
        for (size_t s = 0; s < 9; s++)
            assert_true(home_share(&gently, s) == 1);
        for (size_t s = 13; s < back; s++)
            assert_true(home_share(&gently, s) == 0);
        for (size_t s = back + 1; s < 89; s++)
            assert_true(home_share(&gently, s) <
                        home_share(&gently, s - 1) + .12);
        assert_true(home_share(&gently, back + 10) < .5);
        for (size_t s = back + 36; s < 89; s++)
            assert_true(home_share(&gently, s) == 1);
        assert_true(slow_after_return(&gently) * 5 <
                    slow_after_return(&at_once));
        farm_end(&gently);
        farm_end(&at_once);
    }
}

static int failover(void)
{
    static const uint32_t return_ms[] = {0, 30000};

    for (size_t i = 0; i < 2; i++) {
        struct farm f;
        fail_over(&f, return_ms[i], 1);
        printf("{\"return_ms\":%u,\"seconds\":[", return_ms[i]);
        for (size_t s = 0; s < f.scene->seconds; s++)
            printf("%s[%.4f,%.4f]", s ? "," : "", home_share(&f, s),
                   f.second[s].done
                       ? (double)(f.second[s].slow + f.second[s].failed) /
                             f.second[s].done
                       : 0);
        printf("]}\n");
        farm_end(&f);
    }
    return 0;
}

static void report_one(const char *scene, const char *policy, uint32_t bounded)
{
    struct farm_result r = mean(scene, policy, bounded);

    printf("{\"scene\":\"%s\",\"policy\":\"%s%s\",\"p50_ms\":%.1f,"
           "\"p99_ms\":%.1f,\"spread\":%.2f,\"failed_first\":%.3f,"
           "\"failed\":%.4f,\"picked\":[",
           scene, policy, bounded ? ", bounded" : "", r.p50_ms, r.p99_ms,
           r.spread, r.failed_first, r.failed);
    for (size_t i = 0; i < FARM_SERVERS; i++)
        printf("%s%u", i ? "," : "", r.picked[i]);
    printf("]}\n");
}

static int report(void)
{
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        for (size_t p = 0; lb_policies[p]; p++) {
            report_one(scenes[i].name, lb_policies[p]->name, 0);
            if (lb_policies[p]->hashes)
                report_one(scenes[i].name, lb_policies[p]->name, 125);
        }
    return 0;
}

/* Who is picked one after the other, by number: the guide's first figure. */
static int picks(void)
{
    enum { PICKS = 48 };
    const struct farm_scene *s = scene_named("weights 3, 2, 1");
    for (size_t p = 0; lb_policies[p]; p++) {
        struct lb_options o;
        struct farm f;

        lb_options_init(&o);
        o.policy = bytes_str(lb_policies[p]->name);
        farm_start(&f, s, &o, 4);
        printf("{\"policy\":\"%s\",\"picks\":[", lb_policies[p]->name);
        for (int i = 0; i < PICKS; i++) {
            char key[16];
            struct lb_ticket t;
            int n = snprintf(key, sizeof key, "key-%d", i);
            struct lb_ask ask = {.key = bytes_of(key, (size_t)n),
                                 .now_ms = farm_ms(&f),
                                 .random = lb_draw(&f.random)};
            if (lb_pick(f.lb[0], &ask, &t) != ERR_OK ||
                lb_report(f.lb[0], &t, LB_OK, 10000, ask.now_ms) != ERR_OK)
                return 1;
            printf("%s%u", i ? "," : "", t.port);
        }
        printf("]}\n");
        farm_end(&f);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rules_hold_whatever_servers_do),
        cmocka_unit_test(the_guide_is_right),
        cmocka_unit_test(weights_of_3_2_1_are_kept),
        cmocka_unit_test(a_datacenter_comes_back_without_a_herd),
    };

    if (argc > 1 && bytes_is(bytes_str(argv[1]), "report"))
        return report();
    if (argc > 1 && bytes_is(bytes_str(argv[1]), "failover"))
        return failover();
    if (argc > 1 && bytes_is(bytes_str(argv[1]), "picks"))
        return picks();
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
