/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* callers - who calls a service, and each one's place among them.
 *
 * A stream that asks for it (?callers) says that its program spreads load over
 * the service's instances. It is told how many callers there are in each zone,
 * and its rank among those with its label (replicas of one program): what zone
 * aware routing and deterministic subsets are computed from (lb/share.h).
 *
 * Ranks are 0 .. size - 1 and stay with who has them. One who left keeps his
 * place for CALLERS_KEPT_MS, so that a connection that breaks moves nobody; then
 * only those with the highest ranks move, into the holes. A caller that comes
 * back, also after a restart of the server, names the rank that it had and gets
 * it if it is free. Looked at again at most each CALLERS_EVERY_MS.
 *
 * Of this server's streams only. Not locked: the owner's mutex. Times are
 * monotonic milliseconds. */
#ifndef SERVER_CALLERS_H
#define SERVER_CALLERS_H

#include "base/map.h"
#include "http/json_out.h"

enum {
    CALLERS_EVERY_MS = 5000,
    CALLERS_KEPT_MS = 10 * 1000,
    CALLERS_BACK_MS = 10 * 1000, /* after a start: those who had a rank are
                                    told no other before all may be back */
    CALLERS_ZONES_MAX = 64,      /* told; who is in another counts as in none */
};

#define CALLERS_NO_RANK UINT32_MAX

struct callers {
    struct map services; /* by folded name */
    uint64_t started_ms;
};

struct caller;

void callers_init(struct callers *cs, uint64_t now_ms);
void callers_fini(struct callers *cs); /* those who are still there too */

/* rank: the one it had; NO_RANK: none. NULL: no memory. */
struct caller *callers_join(struct callers *cs, struct bytes service,
                            struct bytes label, struct bytes zone,
                            uint32_t rank, uint64_t now_ms);
void callers_leave(struct callers *cs, struct caller *take, uint64_t now_ms);

/* True: there is something that it was not told last, members of an object. */
bool callers_tell(struct callers *cs, struct caller *who, uint64_t now_ms,
                  struct json_out *j);

#endif
