/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* choose - who answers a request for another datacenter: a server there, the
 * mirror here, or nobody. Pure.
 *
 *                    link up                      link down
 *     ?consistent    there                        there (which fails)
 *     ?stale         mirror, if young enough,     mirror, if young enough,
 *                    else there                   else nobody
 *     default        there                        the same
 *     stream         mirror, if young enough,     the same
 *                    else there
 *
 * Young enough: at most as old as the mirror may be, and as the request wants.
 * What a mirror does not have (explanations, the past, distances) is asked there
 * while that can be; so is an index that the mirror has not reached. */
#ifndef MIRROR_CHOOSE_H
#define MIRROR_CHOOSE_H

#include "base/bytes.h"

enum mirror_choice { CHOOSE_THERE, CHOOSE_MIRROR, CHOOSE_NOBODY };

struct mirror_asked {
    bool consistent, stale, stream;
    bool mirrored; /* it can be answered from a mirror at all */
    bool more;     /* a server there can say more than the mirror */
    bool limited;  /* by max_stale_ms */
    uint64_t max_stale_ms;
};

struct mirror_state {
    bool usable, link_up;
    uint64_t age_ms, age_max_ms;
};

/* Is a service of this name, in any case, among these names and prefixes
 * ("web-*")? */
bool mirror_covers(const char *const *words, size_t n, struct bytes name);

enum mirror_choice mirror_choose(const struct mirror_asked *q,
                                 const struct mirror_state *m);

#endif
