/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* monitor - the log as an endless answer (/v1/agent/monitor).
 *
 *     any thread    a line that some reader wants -> the core thread's queue,
 *                   LINES_WAITING_MAX of them at most
 *     core thread   a copy to each serving thread that has readers
 *     serving       to each reader whose level it has, unless more than
 *                   READER_BYTES_MAX wait for him: then it is left out, counted,
 *                   and he is told how many were, once he reads again
 *
 * Nothing here writes to the log: a line about a line would have no end. */
#ifndef SERVER_MONITOR_H
#define SERVER_MONITOR_H

#include "server/serving.h"

enum {
    LINES_WAITING_MAX = 4096, /* on their way to readers */
    READER_BYTES_MAX = 64 << 10,
    READERS_MAX = 64, /* of one serving thread; more: 429 */
};

struct core;

/* Core thread. From open to close lines are taken; close after every other
 * thread has ended. */
MUST_USE enum err monitor_open(struct core *c);
void monitor_close(struct core *c);

/* Core thread: what was written until now goes to the readers before anything
 * that is posted to them later. */
void monitor_flush(struct core *c);

/* Serving thread. */
void monitor_begin(struct serving *s, struct conn *c, struct api_call *call);
void monitor_line(struct serving *s, struct letter *l);
void monitor_gone(struct monitor *m);
void monitor_end_all(struct serving *s);

#endif
