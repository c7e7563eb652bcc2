/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "vivaldi/vivaldi.h"

#include <math.h>

#include "base/check.h"

/* Serf's: how fast places and their errors follow what is measured, and how far
 * from the origin gravity is felt. */
static const double tune_error = 0.25, tune_place = 0.25, gravity_s = 150.0;
static const double near_zero = 1e-6;

void vivaldi_init(struct vivaldi *v, uint64_t seed)
{
    *v = (struct vivaldi){.at = coordinate_origin(), .random = seed};
}

void vivaldi_restore(struct vivaldi *v, const struct coordinate *at)
{
    if (coordinate_valid(at))
        v->at = *at;
}

/* splitmix64 (G. Steele, D. Lea, C. Flood, 2014), as -0.5 .. 0.5. */
static double random_next(struct vivaldi *v)
{
    uint64_t z = v->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (double)((z ^ z >> 31) >> 11) / (double)(UINT64_C(1) << 53) - 0.5;
}

/* --- The median of a peer's last round trips ----------------------------- */

/* Its slot, or that of the one that was heard longest ago. */
static struct vivaldi_peer *peer_slot(struct vivaldi *v, uint64_t peer)
{
    struct vivaldi_peer *oldest = &v->peers[0];

    for (int i = 0; i < VIVALDI_PEERS; i++) {
        struct vivaldi_peer *p = &v->peers[i];
        if (p->peer == peer)
            return p;
        if (p->used < oldest->used)
            oldest = p;
    }
    *oldest = (struct vivaldi_peer){.peer = peer};
    return oldest;
}

static double median(const double *v, unsigned n)
{
    double sorted[VIVALDI_MEDIAN] = {0};

    for (unsigned i = 0; i < n; i++) {
        unsigned k = i;
        for (; k > 0 && sorted[k - 1] > v[i]; k--)
            sorted[k] = sorted[k - 1];
        sorted[k] = v[i];
    }
    return sorted[n / 2];
}

static double filtered(struct vivaldi *v, uint64_t peer, double rtt_s)
{
    struct vivaldi_peer *p = peer_slot(v, peer ? peer : 1);

    p->used = v->samples;
    p->rtt_s[p->next] = rtt_s;
    p->next = (p->next + 1) % VIVALDI_MEDIAN;
    p->count += p->count < VIVALDI_MEDIAN;
    return median(p->rtt_s, p->count);
}

/* --- Forces -------------------------------------------------------------- */

static double raw_distance(const struct coordinate *a,
                           const struct coordinate *b)
{
    struct coordinate x = *a, y = *b;

    x.adjustment = y.adjustment = 0;
    return coordinate_distance(&x, &y);
}

/* The unit vector from b to a, any if they are at one place; its length before.
 */
static double direction(struct vivaldi *v, const double *a, const double *b,
                        double *unit)
{
    double length = 0, random_length = 0;

    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        unit[i] = a[i] - b[i];
        length += unit[i] * unit[i];
    }
    length = sqrt(length);
    if (length > near_zero) {
        for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
            unit[i] /= length;
        return length;
    }
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        unit[i] = random_next(v);
        random_length += unit[i] * unit[i];
    }
    random_length = sqrt(random_length);
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
        unit[i] = random_length > near_zero ? unit[i] / random_length : i == 0;
    return 0;
}

/* Away from the other if it is positive. Heights share it (5.4 of the paper). */
static void apply_force(struct vivaldi *v, double force,
                        const struct coordinate *other)
{
    struct coordinate *c = &v->at;
    double unit[COORDINATE_DIMENSIONS];
    double length = direction(v, c->vec, other->vec, unit);

    for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
        c->vec[i] += unit[i] * force;
    if (length > near_zero)
        c->height += (c->height + other->height) * force / length;
    if (c->height < VIVALDI_HEIGHT_MIN)
        c->height = VIVALDI_HEIGHT_MIN;
}

static void pull(struct vivaldi *v, const struct coordinate *its, double rtt_s)
{
    struct coordinate *c = &v->at;
    double distance = coordinate_distance(c, its);
    double rtt = rtt_s > near_zero ? rtt_s : near_zero;
    double wrongness = fabs(distance - rtt) / rtt;
    double errors = c->error + its->error;
    double weight = c->error / (errors > near_zero ? errors : near_zero);

    c->error =
        tune_error * weight * wrongness + c->error * (1 - tune_error * weight);
    if (c->error > VIVALDI_ERROR_MAX)
        c->error = VIVALDI_ERROR_MAX;
    apply_force(v, tune_place * weight * (rtt - distance), its);
}

/* Half of what the space has been wrong by lately; the peer has the other half. */
static void adjust(struct vivaldi *v, const struct coordinate *its,
                   double rtt_s)
{
    double sum = 0;

    v->window[v->samples % VIVALDI_WINDOW] = rtt_s - raw_distance(&v->at, its);
    for (int i = 0; i < VIVALDI_WINDOW; i++)
        sum += v->window[i];
    v->at.adjustment = sum / (2.0 * VIVALDI_WINDOW);
}

static void fall(struct vivaldi *v)
{
    struct coordinate origin = coordinate_origin();
    double r = coordinate_distance(&origin, &v->at) / gravity_s;

    apply_force(v, -r * r, &origin);
}

/* --- A sample ------------------------------------------------------------ */

bool vivaldi_sample(struct vivaldi *v, uint64_t peer,
                    const struct coordinate *its, double rtt_s)
{
    if (!isfinite(rtt_s) || rtt_s < 0 || rtt_s > VIVALDI_RTT_MAX_S ||
        !coordinate_valid(its))
        return false;
    v->samples++;
    double rtt = filtered(v, peer, rtt_s);
    pull(v, its, rtt);
    adjust(v, its, rtt);
    fall(v);
    /* A peer far out of this world: better nowhere than there. */
    if (!coordinate_valid(&v->at)) {
        v->at = coordinate_origin();
        for (int i = 0; i < VIVALDI_WINDOW; i++)
            v->window[i] = 0;
        v->resets++;
    }
    invariant(v->at.height >= VIVALDI_HEIGHT_MIN);
    return true;
}
