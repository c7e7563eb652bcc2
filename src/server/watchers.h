/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watchers - routes about subscribers: each fills the call's answer. Serving
 * threads. */
#ifndef SERVER_WATCHERS_H
#define SERVER_WATCHERS_H

#include "api/api.h"
#include "http/json_out.h"
#include "server/serving.h"
#include "server/subscribers.h"

enum {
    LAGS_TOLD_MAX = 200,
    WATCHERS_TOLD_MAX = 1000, /* rows of one server, where several are asked */
    WATCHERS_ASK_MS = 2000,
};

void watchers_answer(struct process *p, struct api_call *call);
void lag_answer(struct process *p, struct api_call *call);

/* A histogram of each service, for Prometheus: of the LAGS_TOLD_MAX with the
 * most changes; all others in one without a name. */
void lag_metrics(struct subscribers *ss, struct buf *out);
void ack_answer(struct process *p, struct api_call *call);

/* Who asks for instances of a service: a subscriber if he says so (a label, or
 * the id that he was given), else a reader of whom nothing is proven. */
void watchers_note(struct serving *s, struct conn *c,
                   const struct api_call *call, struct bytes target);

/* Who is given instances by a prepared query: nothing is proven of him. */
void watchers_note_given(struct serving *s, struct conn *c,
                         const struct api_call *call);

/* An answer that is an object. */
struct json_out watchers_begin(struct api_call *call);
void watchers_end(struct api_call *call, struct json_out *j);

/* One watcher, one reader of whom nothing is proven; server: whose row it is. */
void watchers_put(struct json_out *j, struct bytes server,
                  const struct watcher *w);
void watchers_put_reader(struct json_out *j, struct bytes server,
                         const struct unproven *u);

/* All of this server. Returns how many were left out; whether these are all. */
size_t watchers_put_all(struct process *p, struct bytes name, size_t most,
                        struct json_out *j);
bool watchers_put_readers(struct process *p, struct bytes name, size_t most,
                          struct json_out *j);

/* Members of the answer about lags: the services, of which all bounds are. */
void lag_put_services(struct json_out *j, const struct lags *sum,
                      struct bytes only);
/* Adds what this server counted, and puts the rows of the slowest. */
void lag_take(struct process *p, struct lags *sum, struct json_out *worst);

/* --- Of all servers (watchers_all.c) ------------------------------------- */

/* Asks the others for theirs, unless ?local, and answers with all of it; what one
 * does not say within WATCHERS_ASK_MS is named. The call moves. Pinned. */
void watchers_all(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next);
void watchers_all_gone(struct conn_state *st);

#endif
