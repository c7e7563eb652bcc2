/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wan - the servers of other datacenters as answers show them, and what servers
 * tell each other of them: PUT /v1/peer/wan, in both directions
 *
 *     {"Protocol":1,"From":{"Node":"a","ID":"...","Datacenter":"dc1",
 *      "Address":"10.0.0.1","Port":8302,"ServerPort":8300,"Version":"0.1.0",
 *      "Coord":{...}},"Leaving":false,"Members":[the same, of others]} */
#ifndef API_WAN_H
#define API_WAN_H

#include "base/arena.h"
#include "base/buf.h"
#include "wan/wan.h"

struct api_dc {
    struct bytes name;
    bool own, alive; /* alive: some server there answers */
    double rtt_s;    /* to the nearest of its servers; < 0: not measured */
};

/* Immutable; what is shown of the list (wan/wan.h). */
struct api_wan {
    const struct wan_who *self;
    const struct wan_member *members; /* those that are known */
    size_t count;
    const struct api_dc *dcs; /* the own one, then the nearest first */
    size_t dc_count;
};

/* One told something of the others. */
struct api_wan_word {
    struct wan_who from;
    bool leaving;
    struct wan_who *others;
    size_t count;
};

/* The datacenter, or NULL. */
const struct api_dc *api_wan_dc(const struct api_wan *w, struct bytes name);

enum { API_WAN_ADDRESS_MAX = 80 }; /* "host:port" of a member's listener */

/* How many servers of the datacenter are known: those that answer, or the others.
 * w may be NULL. */
size_t api_wan_count(const struct api_wan *w, struct bytes dc, bool alive);
/* Where the nth of them listens; nth is below that. */
void api_wan_address(const struct api_wan *w, struct bytes dc, bool alive,
                     size_t nth, char ret[API_WAN_ADDRESS_MAX]);

/* ERR_BAD, ERR_LIMIT: t says what is wrong. */
MUST_USE enum err api_wan_parse(struct bytes body, struct arena *a,
                                struct api_wan_word *ret, struct errtext *t);
void api_wan_put(struct buf *out, const struct wan_who *self,
                 const struct wan_member *others, size_t n, bool leaving);

#endif
