/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "api/entries.h"
#include "base/alloc.h"
#include "server/forward.h"
#include "server/link.h"
#include "server/watchers.h"

/* A watch of services of which not all are mirrored yet, or not as far as its
 * client has seen them. */
struct awaited {
    struct list link; /* in serving.awaiting */
    struct serving *serving;
    struct conn *conn;
    struct api_call call;
    enum api_next next;
    struct timer timer;
};

/* --- Which services ------------------------------------------------------ */

/* Calls each with the services that the watch is of. False: it is of others
 * too. */
static bool names_of(const struct api_call *call, enum api_next next,
                     bool (*each)(void *ctx, struct bytes name), void *ctx)
{
    if (next == API_STREAM && api_stream_is_many(call))
        return api_stream_services(call, each, ctx);
    switch (call->watch.kind) {
    case WATCH_SERVICE:
    case WATCH_SERVICE_HEALTH:
    case WATCH_SERVICE_CHECKS:
        return call->arg.n > 0 && each(ctx, call->arg);
    default:
        return false;
    }
}

/* It is used before it is looked at: what is not whole is wanted. */
static bool is_whole(void *ctx, struct bytes name)
{
    struct serving *s = ctx;

    link_use(s->process, name, uv_now(&s->loop));
    return snapshot_is_whole(s->env.cat, name);
}

/* Who comes from a server with an index that is not here yet is not answered with
 * an older one. A stream's id is looked at by whoever opens it. */
static bool is_reached(const struct serving *s, const struct api_call *call,
                       enum api_next next)
{
    return next != API_READ || call->blocking != API_BLOCK_INDEX ||
           call->index <= snapshot_revision(s->env.cat);
}

static bool is_here(struct serving *s, const struct api_call *call,
                    enum api_next next)
{
    return names_of(call, next, is_whole, s) && is_reached(s, call, next);
}

static bool wanted(void *ctx, struct bytes name)
{
    struct serving *s = ctx;

    if (!snapshot_is_whole(s->env.cat, name))
        link_want(s->process, name);
    return true;
}

/* Who waits for what changes, or says that an older answer will do. Explanations
 * have more in them than the mirror. */
static bool is_watch(const struct api_call *call, enum api_next next)
{
    if (call->consistent || call->near.n || api_wants_past(call) ||
        api_is_own(call))
        return next == API_STREAM && !call->near.n;
    return next == API_STREAM ||
           (next == API_READ && (call->index > 0 || call->cached));
}

/* --- From the mirror ----------------------------------------------------- */

static void serve(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next)
{
    struct api_env env = serving_env(s);

    if (next == API_STREAM) {
        push_open(s, c, call, &env);
        api_call_fini(call);
        return;
    }
    read_begin(s, c, call, &env, call->request->accepts_gzip);
}

static void awaited_free(struct awaited *w)
{
    struct serving *s = w->serving;

    timer_clear(&s->timers, &w->timer);
    list_del(&w->link);
    serving_waits(s, false);
    ((struct conn_state *)conn_user(w->conn))->awaited = NULL;
    free(w);
}

/* It did not come: a server is asked, as without a mirror. */
static void on_late(struct timer *t)
{
    struct awaited *w = container_of(t, struct awaited, timer);
    struct serving *s = w->serving;
    struct conn *c = w->conn;
    struct api_call call = w->call;
    enum api_next next = w->next;

    awaited_free(w);
    forward_begin(s, c, &call, next == API_STREAM);
}

static bool await(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next)
{
    struct awaited *w = calloc(1, sizeof *w);

    if (!w)
        return false;
    *w = (struct awaited){.serving = s, .conn = c, .call = *call, .next = next};
    w->timer.fire = on_late;
    list_add(&s->awaiting, &w->link);
    serving_waits(s, true);
    ((struct conn_state *)conn_user(c))->awaited = w;
    timer_set(&s->timers, &w->timer, FORWARD_AWAIT_MS);
    (void)names_of(&w->call, next, wanted, s);
    return true;
}

static bool any(void *ctx, struct bytes name)
{
    (void)ctx;
    (void)name;
    return true;
}

bool mirror_takes(struct serving *s, struct conn *c, struct api_call *call,
                  enum api_next next)
{
    if (!is_watch(call, next) || !names_of(call, next, any, NULL))
        return false;
    if (is_here(s, call, next)) {
        serve(s, c, call, next);
        return true;
    }
    return !link_is_full(s->process) && await(s, c, call, next);
}

void forward_published(struct serving *s)
{
    list_each (it, &s->awaiting) {
        struct awaited *w = container_of(it, struct awaited, link);
        struct conn *c = w->conn;
        struct api_call call = w->call;
        enum api_next next = w->next;
        if (!is_here(s, &w->call, next))
            continue;
        awaited_free(w);
        serve(s, c, &call, next);
    }
}

void forward_close(struct serving *s)
{
    while (!list_empty(&s->awaiting))
        on_late(&container_of(s->awaiting.next, struct awaited, link)->timer);
    share_close(s);
}

/* The connection ends while it waits. */
void mirror_gone(struct conn_state *st)
{
    struct awaited *w = st->awaited;

    if (!w)
        return;
    api_call_fini(&w->call);
    awaited_free(w);
}
