/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A PING frame, and its acknowledgement. */
#include <stdlib.h>

#include "probe/h2.h"

struct h2ping {
    struct check *check;
    struct h2 *h2;
};

static void end(struct h2ping *p, enum status s, enum run_kind kind,
                const char *reason)
{
    struct check *c = p->check;
    struct buf text = {0};

    free(p);
    buf_puts(&text, reason);
    check_done(c, s, kind, &text);
}

static void on_open(void *ctx)
{
    struct h2ping *p = ctx;
    require(h2_ping(p->h2) == ERR_OK);
}

static void on_pong(void *ctx)
{
    struct h2ping *p = ctx;

    h2_close(p->h2);
    end(p, STATUS_PASSING, RUN_ANSWERED, "HTTP2 ping was successful");
}

static void on_over(void *ctx, enum err why, const char *text)
{
    end(ctx, STATUS_CRITICAL, check_kind(why), text);
}

static void cancel(void *run)
{
    struct h2ping *p = run;
    struct check *c = p->check;

    h2_close(p->h2);
    free(p);
    lane_left(c->prober, c->lane);
}

void h2ping_run(struct check *c)
{
    static const struct h2_events events = {
        .open = on_open, .pong = on_pong, .over = on_over};
    struct h2ping *p = xzalloc(sizeof *p);

    p->check = c;
    if (h2_open(c, c->def.h2ping, check_def_h2ping_tls(&c->def), &events, p,
                &p->h2)) {
        c->run = p;
        c->cancel = cancel;
    } else {
        free(p);
    }
}
