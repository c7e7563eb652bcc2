/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Watches of the whole key space: the feed, which is opened again wherever it
 * breaks, and histories, which end at a revision.
 *
 * A watch that is silent proves nothing: its member may have stopped. So
 * whenever another answer shows a revision that the watch has not told after
 * ETCD_LAG_MS, it is opened again with another member. Progress notifications
 * are not looked at: etcd below 3.4.25 sends them ahead of events. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "store/etcd_impl.h"

enum {
    HISTORY_MS = 30 * 1000,
};

/* --- A stream ------------------------------------------------------------ */

static void on_message(struct grpc_call *c, struct bytes message)
{
    struct etcd_stream *s = container_of(c, struct etcd_stream, rpc);
    struct etcd_watched w = {0};

    if (!s->stop && etcd_watch_read(message, &w, &s->events) != ERR_OK) {
        log_error("store", "what a watch of etcd says cannot be read");
        s->stop = true;
    }
    if (!s->stop) {
        s->created |= w.created;
        s->message(s, &w);
    }
    if (s->stop)
        grpc_stop(c);
}

static void on_stream_end(struct grpc_call *c, const struct grpc_result *r)
{
    struct etcd_stream *s = container_of(c, struct etcd_stream, rpc);
    struct errtext why;

    if (etcd_login_is_old(r->text))
        etcd_login_forget(s->etcd);
    errtext_set(&why, "%.*s", BYTES_ARG(r->text));
    s->ended(s, why.s);
}

/* What fragments have brought of one revision is more than is kept of it. */
static bool stream_is_over(const struct etcd_stream *s, const char *what)
{
    size_t n = etcd_events_bytes(&s->events), max = s->etcd->gathered_max;

    if (n <= max)
        return false;
    log_warn("store",
             "one revision of etcd's is more than a watch may gather, %s: "
             "revision=%llu bytes=%zu limit=%zu",
             what, (unsigned long long)s->events.event[0].mod_rev, n, max);
    return true;
}

static void stream_fini(struct etcd_stream *s)
{
    grpc_cancel(&s->rpc);
    buf_fini(&s->body);
    etcd_events_fini(&s->events);
}

enum { /* fields of WatchCreateRequest: rpc.proto */
       WATCH_KEY = 1,
       WATCH_END = 2,
       WATCH_FROM = 3,
       WATCH_FILTERS = 5, /* packed */
       WATCH_FRAGMENT = 8,
};

/* nothing: no events, only what is said about the watch. */
static void put_watch(struct buf *out, uint64_t from, bool nothing)
{
    wire_frame_begin(out);
    size_t create = wire_begin(out, 1);

    etcd_put_range(out, WATCH_KEY, WATCH_END, (struct bytes){0},
                   (struct bytes){0});
    wire_put_u64(out, WATCH_FROM, from);
    if (nothing)
        wire_put_bytes(out, WATCH_FILTERS, bytes_of("\0\1", 2));
    wire_put_u64(out, WATCH_FRAGMENT, 1);
    wire_end(out, create);
    wire_frame_end(out);
}

void etcd_put_hello(struct buf *out)
{
    put_watch(out, 0, true);
}

static void stream_begin(struct etcd_stream *s, uint64_t from, bool nothing,
                         uint32_t timeout_ms)
{
    struct etcd *x = s->etcd;

    grpc_cancel(&s->rpc);
    s->stop = s->created = false;
    etcd_events_reset(&s->events);
    s->member = x->at;
    put_watch(&s->body, from, nothing);
    require(!s->body.bad);
    s->rpc = (struct grpc_call){
        .path = ETCD_WATCH,
        .body = buf_bytes(&s->body),
        .timeout_ms = timeout_ms,
        .answer_max = ETCD_ANSWER_MAX,
        .message = on_message,
        .done = on_stream_end,
    };
    grpc_start(x->member[s->member].channel, &s->rpc);
}

/* --- The feed ------------------------------------------------------------ */

static void feed_open(struct etcd *x);

static void feed_later(struct etcd *x)
{
    timer_set(&x->timers, &x->feed_again, x->feed_retry_ms);
    x->feed_retry_ms *= 2;
    if (x->feed_retry_ms > ETCD_RETRY_MAX_MS)
        x->feed_retry_ms = ETCD_RETRY_MAX_MS;
}

static void on_feed_again(struct timer *t)
{
    struct etcd *x = container_of(t, struct etcd, feed_again);

    if (x->feeding)
        feed_open(x);
}

static bool feed_is_behind(const struct etcd *x)
{
    return !x->feed.created || x->fed < x->heard;
}

void etcd_feed_check(struct etcd *x)
{
    if (!x->feeding || x->closing)
        return;
    if (!feed_is_behind(x)) {
        x->lagging = false;
        timer_clear(&x->timers, &x->feed_lag);
    } else if (!x->lagging) {
        x->lagging = true;
        timer_set(&x->timers, &x->feed_lag, ETCD_LAG_MS);
    }
}

static void on_feed_lag(struct timer *t)
{
    struct etcd *x = container_of(t, struct etcd, feed_lag);

    x->lagging = false;
    if (!x->feeding || !feed_is_behind(x))
        return;
    log_warn("store",
             "the watch of etcd at %s is behind: opened again elsewhere",
             x->member[x->feed.member].url);
    etcd_member_failed(x, x->feed.member);
    feed_open(x);
}

/* Everything is to be loaded again; a load that is under way, too. */
void etcd_feed_gap(struct etcd *x)
{
    x->feeding = false;
    x->feed.stop = true;
    x->heard = x->newest = x->fed = 0;
    x->oldest = 1; /* the next try tells */
    x->assumed = 0;
    x->tried = false; /* it may be another one */
    timer_clear(&x->timers, &x->feed_again);
    timer_clear(&x->timers, &x->feed_lag);
    if (x->feed.etcd) /* before that nothing was fed */
        x->sink.gap(x->sink.ctx);
}

static void feed_message(struct etcd_stream *s, const struct etcd_watched *w)
{
    struct etcd *x = s->etcd;
    uint64_t last = x->fed;

    if (!etcd_heard(x, s->member, &w->header)) {
        s->stop = true;
        return;
    }
    if (w->compact_revision) {
        etcd_feed_gap(x);
        return;
    }
    if (w->canceled) {
        log_debug("store", "the watch of etcd ends: %.*s",
                  BYTES_ARG(w->reason));
        s->stop = true;
        return;
    }
    if (w->created)
        x->feed_retry_ms = ETCD_RETRY_FIRST_MS;
    if (s->events.n) {
        if (etcd_events_tell(&s->events, w->fragment, x->fed, &x->sink,
                             &last) != ERR_OK) {
            log_error("store", "etcd told revisions out of order");
            etcd_feed_gap(x);
            return;
        }
        if (last > x->fed || w->fragment)
            x->lagging = false; /* it moves */
        x->fed = last;
        /* Asked for again it would be as large: what it led to is read. */
        if (stream_is_over(s, "everything is loaded again")) {
            etcd_feed_gap(x);
            return;
        }
    }
    etcd_feed_check(x);
}

static void feed_ended(struct etcd_stream *s, const char *why)
{
    struct etcd *x = s->etcd;

    s->created = false;
    if (!x->feeding || x->closing)
        return;
    log_debug("store", "the watch of etcd at %s ended: %s",
              x->member[s->member].url, why);
    etcd_member_failed(x, s->member);
    feed_later(x);
}

static void feed_open(struct etcd *x)
{
    timer_clear(&x->timers, &x->feed_again);
    timer_set(&x->timers, &x->feed_lag, ETCD_LAG_MS);
    x->lagging = true;
    stream_begin(&x->feed, x->fed + 1, false, 0);
}

void etcd_start(struct backend *b, const struct backend_sink *sink,
                uint64_t after)
{
    struct etcd *x = etcd_of(b);

    x->sink = *sink;
    x->fed = after;
    x->feeding = true;
    x->feed_retry_ms = ETCD_RETRY_FIRST_MS;
    x->feed.etcd = x;
    x->feed.message = feed_message;
    x->feed.ended = feed_ended;
    x->feed_again.fire = on_feed_again;
    x->feed_lag.fire = on_feed_lag;
    x->look.fire = etcd_look_again;
    if (x->member_n > 1)
        timer_set(&x->timers, &x->look, ETCD_LOOK_MS);
    feed_open(x);
}

/* --- History ------------------------------------------------------------- *
 *
 * Each step is a watch of its own. etcd takes up to 0.1 s until it tells of
 * what was before, and then a thousand revisions at once, which are told whole.
 */

struct history {
    struct etcd_stream stream;
    struct list link;
    struct backend_sink to;
    uint64_t last, told;
    size_t events, limit;
    enum err e;
    backend_done_fn done;
    void *ctx;
};

static void history_free(struct history *h)
{
    list_del(&h->link);
    stream_fini(&h->stream);
    free(h);
}

static void history_revision(void *ctx, uint64_t revision, uint64_t wall_ms,
                             const struct store_event *events, size_t count)
{
    struct history *h = ctx;

    if (revision > h->last)
        return;
    h->events += count;
    h->to.revision(h->to.ctx, revision, wall_ms, events, count);
}

static void history_message(struct etcd_stream *s, const struct etcd_watched *w)
{
    struct history *h = container_of(s, struct history, stream);
    struct backend_sink mine = {.revision = history_revision, .ctx = h};

    if (w->compact_revision)
        h->e = ERR_COMPACTED;
    else if (w->canceled)
        h->e = ERR_UNAVAILABLE;
    else if (s->events.n)
        h->e =
            etcd_events_tell(&s->events, w->fragment, h->told, &mine, &h->told);
    if (h->e == ERR_OK && stream_is_over(s, "its history is refused"))
        h->e = ERR_LIMIT;
    if (h->told >= h->last)
        h->told = h->last;
    s->stop = h->e != ERR_OK || h->told == h->last || h->events >= h->limit;
}

static void history_ended(struct etcd_stream *s, const char *why)
{
    struct history *h = container_of(s, struct history, stream);
    backend_done_fn done = h->done;
    void *ctx = h->ctx;
    uint64_t told = h->told;
    enum err e = h->e;

    if (e == ERR_OK && told < h->last)
        e = s->stop ? ERR_AGAIN : ERR_UNAVAILABLE;
    if (e == ERR_UNAVAILABLE) {
        log_debug("store", "a history of etcd at %s ended: %s",
                  s->etcd->member[s->member].url, why);
        etcd_member_failed(s->etcd, s->member);
    }
    history_free(h);
    done(ctx, e, told);
}

void etcd_history(struct backend *b, uint64_t from, uint64_t last, size_t limit,
                  const struct backend_sink *to, backend_done_fn done,
                  void *ctx)
{
    struct etcd *x = etcd_of(b);

    if (from < x->oldest || from > last) {
        done(ctx, from < x->oldest ? ERR_COMPACTED : ERR_OK, last);
        return;
    }
    struct history *h = xzalloc(sizeof *h);

    *h = (struct history){
        .to = *to,
        .last = last,
        .told = from - 1,
        .limit = limit,
        .done = done,
        .ctx = ctx,
    };
    h->stream.etcd = x;
    h->stream.message = history_message;
    h->stream.ended = history_ended;
    list_add(&x->histories, &h->link);
    stream_begin(&h->stream, from, false, HISTORY_MS);
}

/* --- The oldest ---------------------------------------------------------- */

struct oldest {
    struct history history; /* to be ended with the others */
    void (*done)(struct etcd *x, enum err e);
};

static void oldest_message(struct etcd_stream *s, const struct etcd_watched *w)
{
    struct history *h = container_of(s, struct history, stream);

    if (w->compact_revision) {
        if (s->etcd->oldest <= w->compact_revision)
            s->etcd->oldest = w->compact_revision + 1;
        h->e = ERR_OK;
        s->stop = true;
    }
}

static void oldest_ended(struct etcd_stream *s, const char *why)
{
    struct history *h = container_of(s, struct history, stream);
    struct oldest *o = container_of(h, struct oldest, history);
    void (*done)(struct etcd * x, enum err e) = o->done;
    struct etcd *x = s->etcd;
    enum err e = h->e;

    if (e != ERR_OK) {
        log_debug("store", "a watch of etcd ended: %s", why);
        etcd_member_failed(x, s->member);
    }
    history_free(h); /* the first member */
    done(x, e);
}

void etcd_find_oldest(struct etcd *x, void (*done)(struct etcd *x, enum err e))
{
    struct oldest *o = xzalloc(sizeof *o);
    struct etcd_stream *s = &o->history.stream;

    o->done = done;
    o->history.e = ERR_UNAVAILABLE;
    s->etcd = x;
    s->message = oldest_message;
    s->ended = oldest_ended;
    list_add(&x->histories, &o->history.link);
    /* Nothing but the word that the first revision is gone. */
    stream_begin(s, 1, true, ETCD_CALL_MS);
}

void etcd_watches_close(struct etcd *x)
{
    x->feeding = false;
    stream_fini(&x->feed);
    while (!list_empty(&x->histories))
        history_free(container_of(x->histories.next, struct history, link));
}
