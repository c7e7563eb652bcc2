/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* entries - an answer that is a list, one entry at a time: what event streams
 * send (server/stream.h).
 *
 * A call (api.h) whose route has a set of entries is asked
 *   which entries there may be            entry_next
 *   which of them a change may concern    entries_touched
 *   whether one is in the answer, its JSON, or why it is not   entry_read
 *
 * so that who has the answer of an older revision is told what changed, at the
 * cost of the change and not of the answer. Which is in the answer is decided by
 * the same functions that make the whole answer. Pure, any thread. */
#ifndef API_ENTRIES_H
#define API_ENTRIES_H

#include "api/api.h"
#include "catalog/journal.h"
#include "http/json_out.h"

enum {
    API_STREAM_SUBSCRIPTIONS_MAX = 128,   /* of one connection */
    API_PEER_SUBSCRIPTIONS_MAX = 4096,    /* the same, of an agent's */
    API_PEER_PARAMS_MAX = 4096 + 16,      /* in the body of such a request */
    API_SUBSCRIBER_LABEL_MAX = 128,       /* bytes of X-Muster-Subscriber */
    API_ZONE_LABEL_MAX = 64,              /* bytes of X-Muster-Zone */
    API_CALLERS_RANK_MAX = (1 << 20) - 1, /* of ?callers=RANK */
};

enum entry_kind { ENTRY_NODE, ENTRY_NAME, ENTRY_INSTANCE, ENTRY_CHECK };

/* NODE: a is the node; NAME: the service's name; INSTANCE: a node, b service
 * ID; CHECK: a node, b check ID. Any case. */
struct entry {
    enum entry_kind kind;
    struct bytes a, b;
    struct bytes name; /* INSTANCE: its service, as far as known; else empty */
    bool reaped;       /* INSTANCE: if it is gone, muster itself removed it */
};

/* Whether the call's answer is such a list. */
bool entries_has(const struct api_call *c);

/* The first entry that may be in the answer and comes after this one (NULL: the
 * very first); its texts live as long as the snapshot is pinned. False: there
 * is none. */
bool entry_next(const struct api_call *c, const struct api_env *env,
                const struct entry *after, struct entry *ret);

/* Tells each entry that the change may have changed, some of them twice. */
void entries_touched(struct api_call *c, const struct api_env *env,
                     const struct cat_change *ch,
                     void (*each)(void *ctx, const struct entry *e), void *ctx);

/* True: its JSON is in c->body, c->digest is of what a long poll compares.
 * False: it is not in the answer; *ret_why is one of the words of docs/api.md.
 * Ask c->status: not 200 if the call's filter cannot be applied. */
bool entry_read(struct api_call *c, const struct api_env *env,
                const struct entry *e, const char **ret_why);

/* What tells it from all others of its kind: equal whatever the case in which
 * it was registered ("web-1/api", the parts escaped as in store keys). */
void entry_key(const struct entry *e, struct buf *out);

/* Members that name it: "Key":"n1/web-1","Node":"n1","ServiceID":"web-1". */
void entry_names(const struct entry *e, struct json_out *j);

/* --- Streams ------------------------------------------------------------- */

/* STREAM: how many subscriptions the request has, and the canonical target of
 * each. A subscription to one service has the target of /v1/health/service. */
size_t api_stream_count(const struct api_call *c);
/* /v1/muster/stream; and whether all its subscriptions are services, of which
 * each is told (until it says no: false). */
bool api_stream_is_many(const struct api_call *c);
bool api_stream_services(const struct api_call *c,
                         bool (*each)(void *ctx, struct bytes name), void *ctx);
void api_stream_target(const struct api_call *c, size_t i, struct buf *out);

/* Members that tell which subscription an event is of: "Service":"web". For an
 * event about an entry only what entry_names does not tell. */
void api_stream_subject(const struct api_call *c, const struct entry *e,
                        struct json_out *j);

#endif
