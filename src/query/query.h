/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* query - prepared queries: which one a name means, what its template makes of
 * the name, and which instances it selects.
 *
 * A query is found by its ID, by its name in any case, or through the template
 * whose name is the longest beginning of what is asked for. A template's fields
 * may hold, anywhere in a text,
 *
 *     ${name.full} ${name.prefix} ${name.suffix}   what was asked for: all of it,
 *         the template's own name, what comes behind that
 *     ${match(N)}   what group N of Regexp matched in it (0: all); empty: nothing
 *     ${agent.segment}   empty: there are no segments
 *     "text"   as a value: ${"x"}; and $$ is a dollar sign
 *
 * They are taken apart when the query is written and again when it is used: what
 * is wrong, does not end or grows over the limits below is refused, by name.
 * Values are not looked at for further expressions, so rendering ends. Regexp is
 * RE2's syntax, matched by PCRE2 with a bounded number of steps.
 *
 * Pure; nothing is kept. Memory comes from the caller's arena. */
#ifndef QUERY_QUERY_H
#define QUERY_QUERY_H

#include "base/arena.h"
#include "catalog/catalog.h"
#include "catalog/member.h"

enum {
    QUERY_TEXT_BYTES_MAX = 2048, /* of one text of a query */
    QUERY_RENDERED_MAX = 4096,   /* the same, of what a template makes of it */
    QUERY_ITEMS_MAX = 64,        /* in one list */
    QUERY_PARTS_MAX = 64,        /* ${...} in one text */
    QUERY_GROUPS_MAX = 32,       /* in a regular expression */
    QUERY_STEPS_MAX = 100000,    /* of it on one name */
};

/* Is it one that can be stored? ERR_BAD, ERR_LIMIT: t says what is wrong, in
 * Consul's words where Consul has some. */
MUST_USE enum err query_check(const struct query_view *v, struct arena *a,
                              struct errtext *t);

/* The query that is meant, rendered if it is a template; views in *ret point
 * into the snapshot and the arena. ERR_NOT_FOUND; ERR_BAD: a template cannot be
 * asked for by ID, or makes nothing usable of this name; ERR_NOMEM. */
MUST_USE enum err query_resolve(const struct snapshot *s,
                                struct bytes id_or_name, struct arena *a,
                                struct query_view *ret, struct errtext *t);

/* The record alone, as it is stored; NULL: none. */
const struct cat_record *query_find(const struct snapshot *s,
                                    struct bytes id_or_name);

/* Seconds of DNS.TTL; false: none is set. */
bool query_ttl_s(const struct query_view *v, uint32_t *ret);

/* --- Instances ----------------------------------------------------------- */

/* Which instances a query selects, in one datacenter. An instance is in if none
 * of its checks and its node's is critical (warning neither, with OnlyPassing),
 * IgnoreCheckIDs aside, and tags and metadata are as wished. A held one
 * (catalog/member.h) counts as passing only where no other is in. */
struct query_filter {
    const struct snapshot *s;
    const struct query_view *q;
    const struct cat_name *name;
    struct membership members;
    bool without_held;
    size_t walked; /* instances that were looked at so far */
};

/* False: the service is not there. */
bool query_filter_begin(struct query_filter *f, const struct snapshot *s,
                        const struct query_view *q);

struct query_pick {
    const struct cat_node *node;
    const struct cat_instance *instance;
    enum standing standing;
    bool held;
    double distance; /* of query_near */
    size_t number;
};

/* Is the instance of f->name in? Fills *ret. */
bool query_filter_has(const struct query_filter *f,
                      const struct cat_instance *i, struct query_pick *ret);

/* --- Order --------------------------------------------------------------- */

/* splitmix64 (G. Steele, D. Lea, C. Flood, 2014). */
static inline uint64_t query_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The first `want` are any, in any order. */
void query_shuffle(struct query_pick *v, size_t n, size_t want, uint64_t seed);

/* The node from which distances count; empty: they do not. near: as it is asked
 * for ("_agent": own; "_ip": who has the client's address). */
struct bytes query_near_node(const struct snapshot *s, struct bytes near,
                             struct bytes own, struct bytes client);

/* By distance from the node, the nearest first; those whose place is unknown
 * last and as they were. The node itself comes first, wherever it is. */
void query_near(const struct snapshot *s, struct bytes node, struct bytes own,
                struct query_pick *v, size_t n);

/* Where the node is: the own one is at the origin until it is told otherwise.
 * False: nobody knows. */
bool query_place(const struct snapshot *s, struct bytes node, struct bytes own,
                 struct coordinate *ret);

#endif
