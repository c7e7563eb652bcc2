/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* forward - what a client agent does with requests that are not about itself.
 *
 * Long polls of all else (lists) wait together: one upstream poll of a thread for
 * all who wait there for the same answer with the same index (forward_share.c).
 *
 * Watches of single services (long polls, event streams, ?cached) are answered
 * from the mirror, by the code that answers them on a server; one that nobody
 * watched here before waits until its service is mirrored. All else is passed on
 * to a server as it came, and the answer back: reads to the next server, for up to
 * FORWARD_HOLD_MS, if one is lost or has no leader; writes only if surely nothing
 * of them was carried out.
 *
 * A server without a leader holds what it is asked, since one may be elected. So
 * that a read does not spend all of its time at one, each is told how long it may
 * (API_HOLD_HEADER): half of FORWARD_HOLD_MS, the next one what is left. Who has a
 * leader takes as long as it takes. A server that does not know the header holds
 * a read for all of the time; then one other is asked all the same.
 *
 * On the serving thread. */
#ifndef SERVER_FORWARD_H
#define SERVER_FORWARD_H

#include "server/serving.h"

enum {
    FORWARD_HOLD_MS = 7000,  /* until an answer is there, waits not counted */
    FORWARD_PAUSE_MS = 100,  /* before a server is asked again */
    FORWARD_AWAIT_MS = 3000, /* for a service to be mirrored; then passed on */
    FORWARD_HEADERS_MAX = 16,
    FORWARD_HOLD_TEXT = 24,              /* bytes: a number and its NUL */
    FORWARD_SNAPSHOT_MS = 600 * 1000,    /* for a whole archive */
    FORWARD_SHARED_WAIT_MS = 600 * 1000, /* of the one poll for all */
};

struct fetch_header;
struct fetch_result;

/* True: it was taken (the call moves). False: it is for this agent itself. */
bool forward_takes(struct serving *s, struct conn *c, struct api_call *call,
                   enum api_next next);

/* Something was published: whose service is mirrored now goes on. Pinned. */
void forward_published(struct serving *s);
void forward_close(struct serving *s);
void forward_gone(struct conn_state *st);

/* forward_mirror.c: true if the call is a watch that the mirror can answer, and
 * it has been answered, parked, or waits. */
bool mirror_takes(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next);
void mirror_gone(struct conn_state *st);
/* forward_share.c: true if the call is a long poll that others here may share,
 * and it waits now. */
bool share_takes(struct serving *s, struct conn *c, struct api_call *call,
                 enum api_next next);
void share_close(struct serving *s);
void share_gone(struct conn_state *st);

/* Of forward.c, for the others. */
void forward_take_answer(struct api_call *call, const struct fetch_result *r);
bool forward_is_leaderless(const struct fetch_result *r);

/* How long a server without a leader may hold a read, the first time: half of
 * FORWARD_HOLD_MS where another one can be asked after it. */
uint64_t forward_first_hold_ms(struct serving *s);

/* The header that tells it: what is left until then, at most most_ms. text is h's
 * value. */
void forward_tell_hold(struct serving *s, uint64_t until_ms, uint64_t most_ms,
                       char text[FORWARD_HOLD_TEXT], struct fetch_header *h);
char *forward_server(struct serving *s, size_t nth); /* malloc; NULL: none */

/* forward.c: the call is passed on. */
void forward_begin(struct serving *s, struct conn *c, struct api_call *call,
                   bool stream);

#endif
