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

void watchers_answer(struct subscribers *ss, struct api_call *call);
void lag_answer(struct subscribers *ss, struct api_call *call);
void ack_answer(struct subscribers *ss, struct api_call *call);

/* Who asks for instances of a service: a subscriber if he says so (a label, or
 * the id that he was given), else a reader of whom nothing is proven. */
void watchers_note(struct serving *s, struct conn *c,
                   const struct api_call *call, struct bytes target);

/* One watcher; the member Unproven and whether it is complete. */
void watchers_put(struct json_out *j, const struct watcher *w);
void watchers_put_unproven(struct subscribers *ss, struct bytes name,
                           struct json_out *j);

#endif
