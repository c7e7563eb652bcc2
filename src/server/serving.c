/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/serving.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"
#include "loop/peer.h"
#include "server/archive.h"
#include "server/forward.h"
#include "server/link.h"
#include "server/meter.h"
#include "server/mirror_serve.h"
#include "server/monitor.h"
#include "server/peer_serve.h"
#include "server/remote.h"
#include "server/snapshot.h"
#include "server/subscribers.h"
#include "server/wan.h"
#include "server/watchers.h"

/* --- Snapshots ----------------------------------------------------------- */

void serving_pin(struct serving *s)
{
    struct process *p = s->process;
    if (s->pinned++ > 0)
        return;
    pin_enter(&p->pins, s->pin);
    s->turn++;
    s->env = (struct api_env){
        .self = atomic_load_explicit(&p->live, memory_order_acquire),
        .cat = catalog_current(p->catalog),
        .local = local_current(p->local),
        .heard = heard_current(p->heard),
        .beats = beats_current(p->beats),
        .wan = atomic_load_explicit(&p->wan, memory_order_acquire),
        .cluster = atomic_load_explicit(&p->cluster, memory_order_acquire),
        .place = atomic_load_explicit(&p->place, memory_order_acquire),
        .ready = atomic_load_explicit(&p->ready, memory_order_acquire),
        .store_id = p->store ? store_cluster(p->store) : 0,
    };
    bool known;
    (void)contact_ms(p, &known);
    s->env.leaderless = s->env.ready && !known;
}

void serving_unpin(struct serving *s)
{
    if (--s->pinned == 0)
        pin_leave(&s->process->pins, s->pin);
}

uint64_t serving_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct api_env serving_env(const struct serving *s)
{
    return s->env;
}

uint64_t serving_key_index(const struct api_env *env, struct watch_key k)
{
    if (k.kind == WATCH_LOCAL || k.kind == WATCH_LOCAL_SERVICE)
        return local_version(env->local);
    if (k.kind == WATCH_EVENTS)
        return 0; /* those say their index themselves */
    return snapshot_index(env->cat, k);
}

uint64_t serving_index(const struct api_env *env, uint64_t key_index,
                       uint64_t asked)
{
    uint64_t index = snapshot_floor(env->cat);
    if (index < key_index)
        index = key_index;
    if (index < asked)
        index = asked;
    return index ? index : 1;
}

/* --- Answers ------------------------------------------------------------- */

void serving_cache_lines(struct conn *c, struct buf *out)
{
    const struct dc_mirror *of = ((struct conn_state *)conn_user(c))->mirror;

    if (of)
        http_head_line(out, "X-Muster-Mirror", dc_mirror_name(of));
    switch (((struct conn_state *)conn_user(c))->cache) {
    case TOLD_NOTHING:
        break;
    case TOLD_HIT: /* always of now */
        buf_puts(out, "Age: 0\r\nX-Cache: HIT\r\n");
        break;
    case TOLD_MISS:
        buf_puts(out, "X-Cache: MISS\r\n");
        break;
    }
    const char *id = ((struct conn_state *)conn_user(c))->subscriber;
    if (id[0])
        http_head_line(out, "X-Muster-Subscriber-Id", bytes_str(id));
}

uint64_t serving_age_ms(const struct serving *s, struct conn *c,
                        bool *ret_leader)
{
    const struct dc_mirror *of = ((struct conn_state *)conn_user(c))->mirror;

    if (of) {
        *ret_leader = dc_mirror_link_up(of);
        return dc_mirror_age_ms(of);
    }
    uint64_t age_ms = contact_ms(s->process, ret_leader);

    /* Who waited for a barrier has what is newest. */
    return *ret_leader && !((struct conn_state *)conn_user(c))->stale ? 0
                                                                      : age_ms;
}

void serving_answer_call(struct serving *s, struct conn *c,
                         struct api_call *call, uint64_t index, bool gzip)
{
    struct buf packed;
    buf_init(&packed, 0);
    struct bytes body = buf_bytes(&call->body);
    if (call->body.bad) {
        buf_reset(&call->body);
        api_error(call, 500, "out of memory for the answer");
        body = buf_bytes(&call->body);
    }
    gzip =
        gzip && body.n >= GZIP_MIN_BYTES && http_gzip(body, &packed) == ERR_OK;
    if (gzip)
        body = buf_bytes(&packed);

    serving_cache_lines(c, &call->extra_head);
    if (((struct conn_state *)conn_user(c))->mirror && call->consistency)
        call->consistency = "stale";
    struct buf head;
    buf_init(&head, 0);
    serving_pin(s);
    bool leader;
    uint64_t age_ms = serving_age_ms(s, c, &leader);
    api_head(call, s->env.self, &head, index ? index : 1, leader, age_ms, gzip,
             body.n, conn_keep_alive(c), conn_http_1_0(c));
    serving_unpin(s);
    if (call->request && call->request->method == HTTP_HEAD)
        body.n = 0; /* its length is told, and that is all */
    struct shared *sent = head.bad ? NULL : shared_new(head.n + body.n);
    if (sent) {
        memcpy(sent->data, head.p, head.n);
        if (body.n)
            memcpy(sent->data + head.n, body.p, body.n);
    }
    buf_fini(&head);
    buf_fini(&packed);
    conn_answer(c, sent, NULL);
}

/* Encoded now; NULL: too long to be made here (call->too_long), or nothing to
 * share with others. */
static struct answer *read_here(struct serving *s, struct api_call *call,
                                const struct api_env *env, struct bytes target)
{
    metric_add(METRIC_CACHE_MISSES, 1);
    buf_reset(&call->body);
    buf_reset(&call->extra_head);
    call->want_digest = true;
    call->cost_limit = READ_HERE_MAX_COST;
    api_read(call, env);
    call->cost_limit = 0;
    if (call->too_long || call->body.bad || call->status != 200)
        return NULL;
    return answers_add(&s->answers, target, call,
                       snapshot_text_index(env->cat, call->watch),
                       snapshot_floor(env->cat), NULL, NULL);
}

static bool is_long_to_pack(const struct answer *a, bool gzip)
{
    return gzip && !a->gzip && a->body->n > GZIP_HERE_MAX_BYTES;
}

void serving_reply(struct serving *s, struct conn *c, struct api_call *call,
                   const struct api_env *env, struct bytes target,
                   uint64_t asked, bool gzip)
{
    struct answer *a = answers_find(&s->answers, target, env->cat);
    bool is_long = !a && draft_under_way(s, target);
    if (!a && !is_long) {
        a = read_here(s, call, env, target);
        is_long = call->too_long;
    }
    if (a && is_long_to_pack(a, gzip))
        is_long = true;
    if (is_long && draft_begin(s, target, gzip)) {
        draft_wait(s, c, call, env, target, asked, gzip);
        return;
    }
    uint64_t index =
        serving_index(env, serving_key_index(env, call->watch), asked);
    if (a) {
        serving_answer(s, c, a, index, gzip);
        return;
    }
    buf_reset(&call->body);
    buf_reset(&call->extra_head);
    api_read(call, env);
    serving_answer_call(s, c, call, index, gzip);
}

/* --- Letters ------------------------------------------------------------- */

void serving_post(struct serving *s, struct letter *take)
{
    struct list one;
    list_init(&one);
    list_add(&one, &take->link);
    queue_push_all(s->inbox, &one);
}

struct tls_letter {
    struct letter letter;
    struct tls_server *tls;
};

void serving_tls(struct serving *s, struct tls_server *tls)
{
    struct tls_letter *l = xzalloc(sizeof *l);
    list_init(&l->letter.link);
    l->letter.kind = LETTER_TLS;
    l->tls = tls_server_ref(tls);
    serving_post(s, &l->letter);
}

static void take_tls(struct serving *s, struct letter *take)
{
    struct tls_letter *l = container_of(take, struct tls_letter, letter);
    if (http_server_tls(s->http, l->tls) != ERR_OK)
        log_error("http", "out of memory: the certificate stays as it was");
    free(l);
}

static void http_closed(void *ctx)
{
    struct serving *s = ctx;
    s->http_closed = true;
    serving_close_check(s);
}

void serving_close_check(struct serving *s)
{
    if (!s->http_closed || s->outstanding > 0 || s->idle)
        return;
    s->idle = true;
    s->process->serving_idle(s->process);
}

static void note_seen(struct serving *s, uint64_t revision)
{
    if (atomic_load(&s->seen) < revision)
        atomic_store(&s->seen, revision);
}

/* A thread where nobody waits is not told what is published (core.c). The first
 * one who does looks at the newest version himself, and is told what comes later.
 */
void serving_waits(struct serving *s, bool more)
{
    if (!more)
        atomic_fetch_sub(&s->parked, 1);
    else if (atomic_fetch_add(&s->parked, 1) == 0)
        note_seen(s, snapshot_revision(catalog_current(s->process->catalog)));
}

uint64_t serving_seen(const struct process *p)
{
    uint64_t least = snapshot_revision(catalog_current(p->catalog));
    for (int i = 0; i < p->serving_count; i++) {
        const struct serving *s = p->serving[i];
        if (!s || atomic_load(&s->parked) == 0)
            continue;
        uint64_t one = atomic_load(&s->seen);
        least = one < least ? one : least;
    }
    return least;
}

static void begin_close(struct serving *s)
{
    s->closing = true;
    gate_close(s);
    writes_close(s);
    forward_close(s);
    park_close_all(s);
    monitor_end_all(s);
    meter_end_all(s);
    push_end_all(s);
    http_server_close(s->http, 200, http_closed);
}

static void end(struct serving *s)
{
    queue_close(s->inbox);
    pushes_close(s);
    peers_close(s->peers);
    s->peers = NULL;
    timers_close(&s->timers);
}

static void on_letters(void *ctx, struct list *letters)
{
    struct serving *s = ctx;
    bool close = false, last = false;
    serving_pin(s);
    while (!list_empty(letters)) {
        struct letter *l = container_of(letters->next, struct letter, link);
        list_del(&l->link);
        switch (l->kind) {
        case LETTER_PUBLISHED:
            park_published(s, container_of(l, struct published, letter));
            push_published(s, container_of(l, struct published, letter));
            if (container_of(l, struct published, letter)->of)
                remote_published(s,
                                 container_of(l, struct published, letter)->of);
            else
                note_seen(s,
                          container_of(l, struct published, letter)->revision);
            free(container_of(l, struct published, letter));
            break;
        case LETTER_WRITTEN:
            write_written(s, l);
            break;
        case LETTER_AGENT:
            wish_answered(s, l);
            break;
        case LETTER_DRAFT:
            draft_made(s, l);
            break;
        case LETTER_PAST:
            archive_made(s, l);
            break;
        case LETTER_SNAPSHOT:
            snapshot_told(s, l);
            break;
        case LETTER_SYNC:
            peer_sync_written(s, l);
            break;
        case LETTER_BARRIER:
            gate_answered(s, l);
            break;
        case LETTER_LINE:
            monitor_line(s, l);
            break;
        case LETTER_LINK:
            remote_link_lost(s, l);
            break;
        case LETTER_TLS:
            take_tls(s, l);
            break;
        case LETTER_USES:
            link_look(s, l);
            break;
        case LETTER_LOST_TAGS:
            mirror_tags_say(s, l);
            break;
        case LETTER_CLOSE:
            free(l);
            close = true;
            break;
        case LETTER_END:
            free(l);
            last = true;
            break;
        }
    }
    /* Writers first: their answers are short, while those of a large service's
     * watchers can take long. */
    write_settle_all(s);
    forward_published(s);
    park_wake_dirty(s);
    push_work(s);
    serving_unpin(s);
    if (close && !s->closing)
        begin_close(s);
    serving_close_check(s);
    if (last)
        end(s);
}

/* --- Thread -------------------------------------------------------------- */

static void run(void *arg)
{
    struct serving *s = arg;
    char name[16]; /* what top -H shows */
    snprintf(name, sizeof name, "serving-%d", s->number);
    pthread_setname_np(pthread_self(), name);
    uv_run(&s->loop, UV_RUN_DEFAULT);
}

static enum err open_parts(struct serving *s, struct process *p,
                           struct errtext *t)
{
    if (uv_loop_init(&s->loop) != 0 ||
        timers_init(&s->timers, &s->loop) != ERR_OK) {
        errtext_set(t, "serving thread %d: cannot make an event loop",
                    s->number);
        return ERR_IO;
    }
    enum err e = queue_new(&s->loop, 0, on_letters, s, &s->inbox);
    if (e == ERR_OK)
        e = pin_slot(&p->pins, &s->pin);
    if (e == ERR_OK)
        e = pushes_init(s);
    if (e == ERR_OK) {
        struct http_server_events events = {
            .request = dispatch_request,
            .gone = dispatch_gone,
            .drained = dispatch_drained,
            .ctx = s,
            .user_bytes = sizeof(struct conn_state),
        };
        e = http_server_new(&s->loop, &s->timers, &p->conn_limits, &events,
                            &s->http);
    }
    if (e != ERR_OK)
        errtext_set(t, "serving thread %d: %s", s->number, err_text(e));
    return e;
}

static enum err listen_on(struct serving *s, const struct settings *o,
                          const struct run_listener *l, int take_fd)
{
    struct tls_server *tls = o->peers.tls;

    if (l->peers)
        return http_server_listen_peers(s->http, take_fd,
                                        tls ? tls_server_ref(tls) : NULL);
    return l->tls ? http_server_listen_tls(s->http, take_fd)
                  : http_server_listen(s->http, take_fd);
}

static enum err listen_all(struct serving *s, const struct settings *o,
                           const int *take_fds)
{
    enum err e =
        o->https ? http_server_tls(s->http, tls_server_ref(o->https)) : ERR_OK;
    for (size_t i = 0; e == ERR_OK && i < o->listener_count; i++)
        e = listen_on(s, o, &o->listeners[i], take_fds[i]);
    return e;
}

enum err serving_start(struct process *p, int number, const struct settings *o,
                       const int *take_fds, struct serving **ret,
                       struct errtext *t)
{
    struct serving *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    s->process = p;
    s->number = number;
    s->random = uv_hrtime() + (uint64_t)number;
    s->seen = snapshot_revision(catalog_current(p->catalog));
    buf_init(&s->scratch, 0);
    list_init(&s->written);
    list_init(&s->remotes);
    list_init(&s->monitors);
    list_init(&s->awaiting);
    list_init(&s->rounds);
    list_init(&s->meters);
    list_init(&s->writes_spare);
    gate_init(s);
    writes_begin(s);
    answers_init(&s->answers, p->cache_bytes / (size_t)p->serving_count);
    parks_init(&s->parks);
    enum err e = open_parts(s, p, t);
    if (e == ERR_OK)
        e = listen_all(s, o, take_fds);
    if (e != ERR_OK) {
        errtext_prefix(t, "start: ");
        return e; /* the process ends: nothing is torn down */
    }
    if (uv_thread_create(&s->thread, run, s) != 0) {
        errtext_set(t, "serving thread %d: cannot be started", number);
        return ERR_IO;
    }
    *ret = s;
    return ERR_OK;
}

void serving_join(struct serving *s)
{
    uv_thread_join(&s->thread);
    http_server_free(s->http);
    writes_fini(s);
    dns_worker_free(s->dns);
    answers_fini(&s->answers);
    parks_fini(&s->parks);
    pushes_fini(s);
    for (size_t i = 0; i < MIRRORS_MAX; i++)
        free(s->mirror_views[i]);
    map_fini(&s->drafts);
    shared_unref(s->beaten);
    buf_fini(&s->scratch);
    uv_loop_close(&s->loop);
    free(s);
}
