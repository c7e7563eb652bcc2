/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/relay.h"

#include <string.h>

uint64_t relay_stamp(struct relay *r)
{
    return ++r->clock;
}

void relay_witness(struct relay *r, uint64_t ltime)
{
    if (r->clock < ltime)
        r->clock = ltime;
}

bool relay_is_new(struct relay *r, const char id[RELAY_ID_BYTES])
{
    size_t n = r->n < RELAY_SEEN_MAX ? r->n : RELAY_SEEN_MAX;

    for (size_t i = 0; i < n; i++)
        if (memcmp(r->seen[i], id, RELAY_ID_BYTES) == 0)
            return false;
    memcpy(r->seen[r->n++ % RELAY_SEEN_MAX], id, RELAY_ID_BYTES);
    return true;
}
