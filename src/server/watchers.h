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

enum { LAGS_TOLD_MAX = 200 };

void watchers_answer(struct process *p, struct api_call *call);
void lag_answer(struct process *p, struct api_call *call);

/* A histogram of each service, for Prometheus: of the LAGS_TOLD_MAX with the
 * most changes; all others in one without a name. */
void lag_metrics(struct subscribers *ss, struct buf *out);
void ack_answer(struct subscribers *ss, struct api_call *call);

/* Who asks for instances of a service: a subscriber if he says so (a label, or
 * the id that he was given), else a reader of whom nothing is proven. */
void watchers_note(struct serving *s, struct conn *c,
                   const struct api_call *call, struct bytes target);

/* An answer that is an object. */
struct json_out watchers_begin(struct api_call *call);
void watchers_end(struct api_call *call, struct json_out *j);

/* One watcher, one reader of whom nothing is proven; server: whose row it is. The
 * member Unproven and whether it is complete. */
void watchers_put(struct json_out *j, struct bytes server,
                  const struct watcher *w);
void watchers_put_reader(struct json_out *j, struct bytes server,
                         const struct unproven *u);
void watchers_put_unproven(struct process *p, struct bytes name,
                           struct json_out *j);

#endif
