/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connects, with TLS if wanted, and that is all. Never over a connection that
 * was there already: whether a new one can be had is the question. */
#include <stdlib.h>

#include "probe/impl.h"

struct tcp {
    struct check *check;
    struct stream *stream;
};

static void end(struct tcp *t, enum status s, enum run_kind kind,
                struct buf *text)
{
    struct check *c = t->check;

    free(t);
    check_done(c, s, kind, text);
}

static void on_open(void *ctx)
{
    struct tcp *t = ctx;
    struct buf text = {0};

    stream_close(t->stream);
    buf_puts(&text, "TCP connect ");
    buf_put(&text, t->check->def.tcp);
    buf_puts(&text, ": Success");
    end(t, STATUS_PASSING, RUN_ANSWERED, &text);
}

static void on_over(void *ctx, enum err why, const char *error)
{
    struct buf text = {0};

    buf_puts(&text, error);
    end(ctx, STATUS_CRITICAL, check_kind(why), &text);
}

static void cancel(void *run)
{
    struct tcp *t = run;
    struct check *c = t->check;

    stream_close(t->stream);
    free(t);
    lane_left(c->prober, c->lane);
}

void tcp_run(struct check *c)
{
    static const struct stream_events events = {.open = on_open,
                                                .over = on_over};
    struct tcp *t = xzalloc(sizeof *t);

    t->check = c;
    if (check_stream(c, c->def.tcp, c->def.tcp_use_tls, NULL, &events, t,
                     &t->stream)) {
        c->run = t;
        c->cancel = cancel;
    } else {
        free(t);
    }
}
