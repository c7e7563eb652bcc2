/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Network coordinates on synthetic networks: hosts in regions of a plane of
 * round-trip times, each behind an access link of its own; routes longer than the
 * straight line, one in twenty twice as long, so that triangles are violated as in
 * real ones; jitter, and spikes. Each host measures one peer a round, half of the
 * time one of the eight it always measures. Judged by what a client sees: how far
 * the estimate is from the median round trip, and how much farther the one is
 * that sorting calls the nearest than the one that is. */
#include "test.h"

#include <math.h>
#include <stdio.h>

#include "base/bytes.h"
#include "vivaldi/vivaldi.h"

enum {
    HOSTS = 60,
    REGIONS = 6,
    ROUNDS = 300,
    FIXED_PEERS = 8,
    PAIRS = HOSTS * (HOSTS - 1) / 2,
    NETWORKS = 100, /* of each hundred seeds that others run, one; at least */
};

struct host {
    struct vivaldi v;
    double x, y, access_s;
    int region;
};

struct net {
    struct host hosts[HOSTS];
    double extra_s[HOSTS]; /* added to each of its round trips */
    uint64_t seed, random;
};

static double uniform(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) / (double)(UINT64_C(1) << 53);
}

static int below(struct net *n, int most)
{
    return (int)(uniform(&n->random) * most);
}

static void build(struct net *n, uint64_t seed)
{
    double rx[REGIONS], ry[REGIONS];
    *n = (struct net){.seed = seed, .random = seed * 977 + 1};
    for (int r = 0; r < REGIONS; r++) {
        rx[r] = uniform(&n->random) * 0.200;
        ry[r] = uniform(&n->random) * 0.080;
    }
    for (int i = 0; i < HOSTS; i++) {
        struct host *h = &n->hosts[i];
        h->region = i % REGIONS;
        h->x = rx[h->region] + uniform(&n->random) * 0.004;
        h->y = ry[h->region] + uniform(&n->random) * 0.004;
        h->access_s = 0.0001 * exp(3 * uniform(&n->random));
        vivaldi_init(&h->v, seed * HOSTS + (uint64_t)i);
    }
}

/* What a route adds is the pair's own, and stays. */
static double truth(const struct net *n, int a, int b)
{
    const struct host *x = &n->hosts[a], *y = &n->hosts[b];
    uint64_t pair =
        n->seed * 10007 + (uint64_t)((a < b ? a : b) * HOSTS + (a < b ? b : a));
    double line = hypot(x->x - y->x, x->y - y->y);
    double route = 1 + 0.2 * uniform(&pair);
    if (uniform(&pair) < 0.05)
        route *= 2;
    return line * route + x->access_s + y->access_s + n->extra_s[a] +
           n->extra_s[b] + 0.0002;
}

static double measured(struct net *n, int a, int b)
{
    double rtt = truth(n, a, b) * (1 + 0.1 * uniform(&n->random));
    return uniform(&n->random) < 0.02 ? rtt * 5 : rtt;
}

static void round_of(struct net *n)
{
    for (int i = 0; i < HOSTS; i++) {
        int k = below(n, 2) ? below(n, HOSTS)
                            : (i * 7 + 1 + 5 * below(n, FIXED_PEERS)) % HOSTS;
        if (k != i)
            assert_true(vivaldi_sample(&n->hosts[i].v, (uint64_t)k + 1,
                                       &n->hosts[k].v.at, measured(n, i, k)));
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct judged {
    double median, p90; /* relative error of an estimate */
    double far_p90;     /* of those over FAR_S */
    double off_s;       /* median error itself */
    double stretch_s;   /* median of how much farther the chosen one is */
};

#define FAR_S 0.020 /* between regions, where sorting matters most */

static double estimate(const struct net *n, int a, int b)
{
    return coordinate_distance(&n->hosts[a].v.at, &n->hosts[b].v.at);
}

static struct judged judge(const struct net *n)
{
    double errors[PAIRS], far[PAIRS], off[PAIRS], farther[HOSTS];
    int k = 0, far_count = 0;
    for (int i = 0; i < HOSTS; i++) {
        int chosen = -1, best = -1;
        for (int j = 0; j < HOSTS; j++) {
            if (j == i)
                continue;
            if (j > i) {
                off[k] = fabs(estimate(n, i, j) - truth(n, i, j));
                errors[k] = off[k] / truth(n, i, j);
                if (truth(n, i, j) > FAR_S)
                    far[far_count++] = errors[k];
                k++;
            }
            if (chosen < 0 || estimate(n, i, j) < estimate(n, i, chosen))
                chosen = j;
            if (best < 0 || truth(n, i, j) < truth(n, i, best))
                best = j;
        }
        farther[i] = truth(n, i, chosen) - truth(n, i, best);
    }
    qsort(errors, PAIRS, sizeof *errors, by_size);
    qsort(farther, HOSTS, sizeof *farther, by_size);
    qsort(far, (size_t)far_count, sizeof *far, by_size);
    qsort(off, PAIRS, sizeof *off, by_size);
    return (struct judged){
        .median = errors[PAIRS / 2],
        .p90 = errors[PAIRS * 9 / 10],
        .far_p90 = far_count ? far[far_count * 9 / 10] : 0,
        .off_s = off[PAIRS / 2],
        .stretch_s = farther[HOSTS / 2],
    };
}

/* A network costs what a hundred stories of other simulations do. */
static int seeds(void)
{
    const char *text = getenv("SIM_SEEDS");
    int n = text ? atoi(text) / 100 : 0;
    return n > NETWORKS ? n : NETWORKS;
}

static void rounds(struct net *n, int count)
{
    for (int r = 0; r < count; r++)
        round_of(n);
}

/* Bounds are for the worst network, the figures shown for all of them. */
static void estimates_come_close_to_what_is_measured(void **state)
{
    (void)state;
    int count = seeds();
    struct judged sum = {0}, worst = {0};
    for (int s = 1; s <= count; s++) {
        struct net n;
        build(&n, (uint64_t)s);
        rounds(&n, ROUNDS);
        struct judged j = judge(&n);
        sum.median += j.median / count;
        sum.p90 += j.p90 / count;
        sum.far_p90 += j.far_p90 / count;
        sum.off_s += j.off_s / count;
        sum.stretch_s += j.stretch_s / count;
        worst.median = fmax(worst.median, j.median);
        worst.p90 = fmax(worst.p90, j.p90);
        worst.stretch_s = fmax(worst.stretch_s, j.stretch_s);
        if (j.median > 0.40 || j.stretch_s > 0.010)
            fail_msg("seed %d: median error %.3f, p90 %.3f, the nearest is "
                     "%.2f ms farther",
                     s, j.median, j.p90, j.stretch_s * 1000);
    }
    print_message(
        "# %d networks of %d hosts, %d rounds: estimates are off by "
        "%.1f %% (median; worst network %.1f %%), %.1f ms; by %.0f %% "
        "at p90 of all pairs, %.0f %% of those over 20 ms; the one "
        "called nearest is %.2f ms farther (%.2f ms)\n",
        count, HOSTS, ROUNDS, sum.median * 100, worst.median * 100,
        sum.off_s * 1000, sum.p90 * 100, sum.far_p90 * 100,
        sum.stretch_s * 1000, worst.stretch_s * 1000);
}

/* A route gets 60 ms longer: estimates follow, and nobody else is moved for
 * good. */
static void estimates_follow_a_network_that_changes(void **state)
{
    (void)state;
    int few = seeds() / 10 + 1;
    double before = 0, after = 0;
    for (int s = 1; s <= few; s++) {
        struct net n;
        build(&n, (uint64_t)s);
        rounds(&n, ROUNDS);
        before += judge(&n).median / few;
        n.extra_s[3] = 0.060;
        rounds(&n, ROUNDS);
        after += judge(&n).median / few;
        double off = 0;
        for (int i = 0; i < HOSTS; i++)
            if (i != 3)
                off += fabs(estimate(&n, 3, i) - truth(&n, 3, i)) /
                       truth(&n, 3, i) / (HOSTS - 1);
        if (off > 0.35)
            fail_msg("seed %d: the one that moved is off by %.2f", s, off);
    }
    assert_true(after < before * 1.3 + 0.02);
}

/* Once everybody has a place, places hardly move: or each answer that is sorted
 * by them would be another one. */
static void places_settle_and_do_not_drift(void **state)
{
    (void)state;
    double moved = 0, centre = 0;
    struct net n;
    build(&n, 1);
    rounds(&n, ROUNDS);
    struct coordinate was[HOSTS];
    for (int i = 0; i < HOSTS; i++)
        was[i] = n.hosts[i].v.at;
    for (int r = 0; r < 10 * ROUNDS; r++)
        round_of(&n);
    struct coordinate origin = coordinate_origin();
    for (int i = 0; i < HOSTS; i++) {
        moved += coordinate_distance(&was[i], &n.hosts[i].v.at) / HOSTS;
        centre += coordinate_distance(&origin, &n.hosts[i].v.at) / HOSTS;
    }
    print_message("# after ten times as many rounds hosts stand %.1f ms from "
                  "where they were, %.0f ms from the origin\n",
                  moved * 1000, centre * 1000);
    assert_true(centre < 0.5);
    assert_true(judge(&n).median < 0.2);
}

/* A liar and one with impossible numbers among them: who hears them stays a valid
 * coordinate, and comes back when they are gone. */
static void bad_peers_do_no_lasting_harm(void **state)
{
    (void)state;
    struct net n;
    build(&n, 7);
    struct coordinate liar = {.vec = {1e300, -1e300}, .error = 1e-9};
    struct coordinate none = {.vec = {NAN}};
    for (int r = 0; r < ROUNDS; r++) {
        round_of(&n);
        for (int i = 0; i < HOSTS; i += 5) {
            (void)vivaldi_sample(&n.hosts[i].v, 1000, &liar, 0.05);
            assert_false(vivaldi_sample(&n.hosts[i].v, 1001, &none, 0.05));
            assert_true(coordinate_valid(&n.hosts[i].v.at));
        }
    }
    for (int i = 0; i < HOSTS; i += 5) /* as after a restart */
        vivaldi_init(&n.hosts[i].v, (uint64_t)i);
    rounds(&n, 3 * ROUNDS);
    for (int i = 0; i < HOSTS; i++)
        assert_true(coordinate_valid(&n.hosts[i].v.at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimates_come_close_to_what_is_measured),
        cmocka_unit_test(estimates_follow_a_network_that_changes),
        cmocka_unit_test(places_settle_and_do_not_drift),
        cmocka_unit_test(bad_peers_do_no_lasting_harm),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
