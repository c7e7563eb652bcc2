/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "server/events.h"
#include "server/link_impl.h"

enum {
    REOPEN_MS = 2,      /* for others who want something too, */
    REOPEN_PER_MS = 32, /* and one more for so many that are sent again */
    SLICE_ROWS = 512,   /* a millisecond or so; then others have a turn */
    /* What a server takes as a query (http/request.h); more goes as a body. */
    TARGET_MAX = 6 * 1024,
    TARGET_SUBSCRIPTIONS_MAX = 128,
};

/* --- What is published --------------------------------------------------- */

static void committed(void *ctx)
{
    struct link *l = ctx;
    struct core *c = l->core;
    const struct errtext *last;
    size_t damaged = mirror_damaged(l->mirror, &last);

    if (damaged != l->damaged_told)
        log_error("link", "an entry of the catalog is left out: %s", last->s);
    l->damaged_told = damaged;
    l->behind = 0;
    if (!c->loaded && mirror_revision(l->mirror) > 0) {
        c->loaded = true;
        log_info("link",
                 "this agent's part of the catalog is here: revision=%llu",
                 (unsigned long long)mirror_revision(l->mirror));
    }
    core_published(c);
    tell_soon(l);
}

/* --- User events --------------------------------------------------------- */

static void on_user_events(void *ctx, struct bytes data)
{
    struct link *l = ctx;
    struct event_batch b;
    struct errtext t = {{0}};
    struct arena a;

    arena_init(&a, 0);
    enum err e = event_batch_get(data, &a, process_now_ms(), &b, &t);
    if (e == ERR_OK) {
        l->events_life = b.life;
        l->events_seq = b.seq;
        events_heard(l->core, &b);
    } else {
        log_warn("link", "user events of server %s cannot be read: %s",
                 link_address(l), t.s[0] ? t.s : err_text(e));
    }
    arena_fini(&a);
}

/* --- The stream ---------------------------------------------------------- */

/* The mirror has taken something, with l->feed_error. */
static void taken(struct link *l)
{
    if (l->feed_error != ERR_OK && l->stream)
        fetch_stop(l->stream);
    else if (mirror_is_busy(l->mirror) && !l->slice.item.in)
        timer_set(&l->core->timers, &l->slice, 0);
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct link *l = ctx;

    if (l->feed_error != ERR_OK)
        return;
    l->feed_error = mirror_push(l->mirror, piece, &l->feed_text);
    taken(l);
}

static void on_slice(struct timer *t)
{
    struct link *l = container_of(t, struct link, slice);

    if (l->feed_error != ERR_OK || l->stopped)
        return;
    l->feed_error = mirror_step(l->mirror, &l->feed_text);
    taken(l);
}

/* The server knows less than this agent has seen. If that lasts, what is at the
 * other end is another store (one that is kept in memory, restarted). */
static void fell_behind(struct link *l)
{
    if (++l->behind < LINK_BEHIND_MAX)
        return;
    log_warn("link", "%s; it is taken for another store", l->feed_text.s);
    feed_anew(l);
}

static void ended(void *ctx, const struct fetch_result *r)
{
    struct link *l = ctx;
    bool behind = l->feed_error == ERR_AGAIN;

    l->stream = NULL;
    if (behind)
        fell_behind(l);
    if (l->feed_error != ERR_OK)
        link_lost(l, l->feed_text.s);
    else
        link_lost(l, r->err != ERR_OK   ? r->text.s
                     : r->status == 200 ? "it ended the stream"
                                        : "it refused the stream");
}

/* Of a target that ends with a zero. */
static struct bytes query_of(const struct buf *target)
{
    struct bytes all = bytes_of(target->p, target->n - 1);

    return bytes_skip(all, bytes_find(all, '?') + 1);
}

void feed_open(struct link *l)
{
    struct buf target = {0};
    struct bytes body = {0};
    uint64_t id = 0;
    char last[24], subscriber[40];

    snprintf(subscriber, sizeof subscriber, "%s", mirror_subscriber(l->mirror));
    timer_clear(&l->core->timers, &l->reopen);
    if (l->stream)
        fetch_cancel(l->stream);
    l->stream = NULL;
    l->feed_error = ERR_OK;
    mirror_connect(l->mirror, &target, &id);
    buf_printf(&target, "&user-events=%llu.%llu",
               (unsigned long long)l->events_life,
               (unsigned long long)l->events_seq);
    buf_putc(&target, '\0');
    if (target.n > TARGET_MAX ||
        mirror_subscriptions(l->mirror) > TARGET_SUBSCRIPTIONS_MAX)
        body = query_of(&target);
    (void)snprintf(last, sizeof last, "%llu", (unsigned long long)id);
    const struct fetch_header headers[] = {
        {"X-Muster-Subscriber", l->label},
        {"X-Muster-Subscriber-Id", subscriber}, /* whom the new one is for */
        {"Last-Event-ID", last},
    };
    tell_anew(l);
    const struct peer_request q = {.to = link_address(l),
                                   .method = body.n ? "PUT" : NULL,
                                   .target =
                                       body.n ? "/v1/peer/stream" : target.p,
                                   .body = body,
                                   .headers = headers,
                                   .header_count = id ? 3 : 1,
                                   .on_piece = on_piece,
                                   .piece_ctx = l};
    if (target.bad || peer_ask(l->peers, &q, ended, l, &l->stream) != ERR_OK)
        timer_set(&l->core->timers, &l->reopen, LINK_RETRY_MAX_MS);
    buf_fini(&target);
}

/* Everything is sent again each time, but nothing of what is there already comes
 * back: the more there is, the more are taken together. */
void feed_reopen(struct link *l)
{
    if (l->up && !l->stopped && !l->reopen.item.in)
        timer_set(&l->core->timers, &l->reopen,
                  REOPEN_MS + mirror_subscriptions(l->mirror) / REOPEN_PER_MS);
}

static void on_reopen(struct timer *t)
{
    struct link *l = container_of(t, struct link, reopen);

    if (!l->up || l->stopped)
        return;
    if (mirror_is_busy(l->mirror)) /* it would have to be finished at once */
        timer_set(&l->core->timers, &l->reopen, REOPEN_MS);
    else
        feed_open(l);
}

void feed_close(struct link *l)
{
    timer_clear(&l->core->timers, &l->reopen);
    if (l->stream)
        fetch_cancel(l->stream);
    l->stream = NULL;
    tell_close(l);
}

void feed_anew(struct link *l)
{
    l->behind = 0;
    mirror_reset(l->mirror);
}

/* --- Who wants what ------------------------------------------------------ */

struct want_letter {
    struct core_letter letter;
    size_t n;
    char name[];
};

static void on_want(struct core *c, struct core_letter *letter)
{
    struct want_letter *w = container_of(letter, struct want_letter, letter);
    struct link *l = c->link;
    struct bytes name = bytes_of(w->name, w->n);

    if (l && !l->stopped) {
        enum err e = mirror_want(l->mirror, MIRROR_SERVICE, name);
        if (e == ERR_OK)
            feed_reopen(l);
        if (e == ERR_FULL && !atomic_exchange(&l->full, true))
            log_warn("link",
                     "%zu services in %zu bytes are mirrored here, which is "
                     "the limit: what is asked about others is passed on to a "
                     "server",
                     mirror_subscriptions(l->mirror), mirror_bytes(l->mirror));
    }
    free(w);
}

void link_want(struct process *p, struct bytes name)
{
    link_use(p, name, process_now_ms());
    struct want_letter *w = xzalloc(sizeof *w + name.n);

    w->letter.run = on_want;
    list_init(&w->letter.link);
    w->n = name.n;
    memcpy(w->name, name.p, name.n);
    core_post(p->link->core, &w->letter);
}

void link_want_of(void *process, struct bytes name)
{
    if (!link_is_full(process))
        link_want(process, name);
}

bool link_server_of(void *process, size_t nth, char *ret, size_t n)
{
    struct process *p = process;
    const struct server_list *l = atomic_load(&p->servers);

    if (!l || l->n == 0)
        return false;
    (void)snprintf(ret, n, "%s", l->v[nth % l->n]);
    return true;
}

bool link_is_full(const struct process *p)
{
    return atomic_load(&p->link->full);
}

/* --- Life ---------------------------------------------------------------- */

enum err feed_new(struct link *l)
{
    struct process *p = l->core->process;
    struct bytes own = p->self.node_name;

    l->reopen.fire = on_reopen;
    tell_init(l);
    l->mirror = mirror_new(
        p->catalog, &(struct mirror_events){.committed = committed,
                                            .user_events = on_user_events,
                                            .ctx = l});
    if (!l->mirror)
        return ERR_NOMEM;
    mirror_bound(l->mirror, LINK_MIRROR_BYTES);
    mirror_slice(l->mirror, SLICE_ROWS);
    l->slice.fire = on_slice;
    enum err e = mirror_want(l->mirror, MIRROR_NODE, own);
    return e == ERR_OK ? mirror_want(l->mirror, MIRROR_NODE_CHECKS, own) : e;
}

void feed_free(struct link *l)
{
    timer_clear(&l->core->timers, &l->slice);
    mirror_free(l->mirror);
    l->mirror = NULL;
}
