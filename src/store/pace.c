/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/pace.h"

void store_pace_took(struct store_pace *p, uint64_t flight_ms)
{
    p->flight_x8 += flight_ms - p->flight_x8 / 8;
}

uint64_t store_pace_wait_ms(const struct store_pace *p, size_t flying,
                            uint64_t since_ms, size_t waiting)
{
    uint64_t patience = PACE_MIN_MS + p->flight_x8 / 4;

    if (patience > PACE_MAX_MS)
        patience = PACE_MAX_MS;
    if (flying == 0 || waiting >= PACE_WORTH || since_ms >= patience)
        return 0;
    return patience - since_ms;
}

void store_pace_landed(struct store_pace *p, uint64_t now_ms, size_t changes,
                       size_t waiting)
{
    p->landed_ms = now_ms;
    p->landed = changes < PACE_MANY ? 0 : changes + waiting;
}

/* A whole flight, until it turns out that they do not come. */
static uint64_t longest_rest_ms(const struct store_pace *p)
{
    uint64_t rest = p->flight_x8 / (p->doubt ? 24 : 8);
    uint64_t most = p->doubt ? PACE_AGAIN_DOUBT_MS : PACE_AGAIN_MAX_MS;

    return rest < most ? rest : most;
}

uint64_t store_pace_rest_ms(const struct store_pace *p, uint64_t now_ms,
                            size_t waiting)
{
    uint64_t rest = longest_rest_ms(p), since = now_ms - p->landed_ms;

    if (p->landed == 0 || waiting >= PACE_WORTH || since >= rest ||
        waiting >= p->landed - p->landed / 8)
        return 0;
    return rest - since;
}

void store_pace_left(struct store_pace *p, size_t changes)
{
    if (p->landed == 0)
        return;
    if (changes >= PACE_WORTH || changes >= p->landed - p->landed / 4)
        p->doubt = 0;
    else if (p->doubt == 0)
        p->doubt = PACE_DOUBT;
    else
        p->doubt--;
    p->landed = 0;
}
