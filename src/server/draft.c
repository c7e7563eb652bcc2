/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Long answers. What would keep a serving thread from its other connections for
 * longer than about a millisecond (a service of thousands of instances, a large
 * body to compress) is made by one thread beside them, the drafter, and comes
 * back as a letter.
 *
 *   serving thread                          drafter
 *   draft_begin: target, gzip?      ->      newest snapshot, api_read, gzip
 *   draft_made: cache, park group,  <-      body, digest, indexes
 *     those who asked meanwhile
 *
 * All who ask for one target share its draft. Who asked when the answer was
 * newer already than what the draft shows is not answered by it: another draft
 * follows. */
#include <pthread.h>
#include <stdlib.h>

#include "base/metric.h"
#include "server/mirror_serve.h"

enum { DRAFT_ARENA_MAX = 1 << 20 }; /* a target's parameters */

struct draft {
    struct letter letter;
    struct serving *from;
    struct bytes target; /* in this block */
    bool gzip;           /* is asked for */
    struct list waiting; /* draft_wait; the serving thread's */

    /* Made by the drafter. */
    struct arena arena;
    struct api_call call;
    bool whole; /* 200, in memory: body is there */
    struct shared *body, *packed;
    uint64_t index, text_index, floor;
};

struct drafter {
    struct process *process;
    uv_thread_t thread;
    uv_loop_t loop;
    struct queue *inbox;
    int pin;
    struct list end; /* posted last */
    bool ending;
};

/* --- The drafter --------------------------------------------------------- */

static struct api_env env_now(struct process *p)
{
    return (struct api_env){
        .self = atomic_load_explicit(&p->live, memory_order_acquire),
        .cat = catalog_current(p->catalog),
        .local = local_current(p->local),
        .heard = heard_current(p->heard),
        .beats = beats_current(p->beats),
        .random = {uv_hrtime()},
        .ready = atomic_load_explicit(&p->ready, memory_order_acquire),
    };
}

static void pack(struct draft *d)
{
    struct buf out;
    buf_init(&out, 0);
    if (http_gzip(bytes_of(d->body->data, d->body->n), &out) == ERR_OK)
        d->packed = shared_copy(buf_bytes(&out));
    buf_fini(&out);
}

/* False: no memory. */
static bool read_all(struct draft *d, const struct api_env *env)
{
    struct api_call *call = &d->call;
    if (api_from_canonical(call, env, d->target, &d->arena) != ERR_OK)
        return false;
    call->want_digest = true;
    api_read(call, env);
    d->index = serving_key_index(env, call->watch);
    d->text_index = snapshot_text_index(env->cat, call->watch);
    d->floor = snapshot_floor(env->cat);
    /* A node's name may be the snapshot's, which is about to be let go. */
    size_t n = call->watch.name.n;
    call->watch.name = arena_copy(&d->arena, call->watch.name);
    return n == 0 || call->watch.name.p;
}

/* A failure leaves the text of a 500 in the call. */
static void make(struct drafter *dr, struct draft *d)
{
    struct api_call *call = &d->call;
    pin_enter(&dr->process->pins, dr->pin);
    struct api_env env = env_now(dr->process);
    const struct dc_mirror *of = mirror_of_target(dr->process, d->target);
    struct api_self self;
    bool there = !of || mirror_env(of, &env, &self);
    if (!there)
        api_error(call, 500, MIRROR_OVER);
    else if (!read_all(d, &env)) {
        buf_reset(&call->body);
        api_error(call, 500, "out of memory for the answer");
    }
    pin_leave(&dr->process->pins, dr->pin);
    if (call->status == 200 && !call->body.bad)
        d->body = shared_copy(buf_bytes(&call->body));
    d->whole = d->body != NULL;
    if (d->whole)
        buf_fini(&call->body);
    if (d->whole && d->gzip && d->body->n >= GZIP_MIN_BYTES)
        pack(d);
    serving_post(d->from, &d->letter);
}

static void on_drafts(void *ctx, struct list *items)
{
    struct drafter *dr = ctx;
    while (!list_empty(items)) {
        struct list *item = items->next;
        list_del(item);
        if (item == &dr->end)
            dr->ending = true;
        else
            make(dr, container_of(item, struct draft, letter.link));
    }
    if (dr->ending) {
        dr->ending = false;
        queue_close(dr->inbox);
    }
}

static void run(void *arg)
{
    struct drafter *dr = arg;
    pthread_setname_np(pthread_self(), "drafter");
    uv_run(&dr->loop, UV_RUN_DEFAULT);
}

enum err drafter_start(struct process *p, struct errtext *t)
{
    struct drafter *dr = calloc(1, sizeof *dr);
    if (!dr)
        return ERR_NOMEM;
    dr->process = p;
    list_init(&dr->end);
    enum err e = uv_loop_init(&dr->loop) == 0 ? ERR_OK : ERR_IO;
    /* No bound: a serving thread has one draft per target that somebody waits
     * for, and connections are bounded. */
    if (e == ERR_OK)
        e = queue_new(&dr->loop, 0, on_drafts, dr, &dr->inbox);
    if (e == ERR_OK)
        e = pin_slot(&p->pins, &dr->pin);
    if (e == ERR_OK && uv_thread_create(&dr->thread, run, dr) != 0)
        e = ERR_IO;
    if (e != ERR_OK) /* the process ends: nothing is torn down */
        errtext_set(t, "start: drafter thread: %s", err_text(e));
    p->drafter = dr;
    return e;
}

void drafter_join(struct process *p)
{
    struct drafter *dr = p->drafter;
    struct list one;
    list_init(&one);
    list_add(&one, &dr->end);
    queue_push_all(dr->inbox, &one);
    uv_thread_join(&dr->thread);
    uv_loop_close(&dr->loop);
    free(dr);
    p->drafter = NULL;
}

static uint64_t newest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* --- On the serving thread ----------------------------------------------- */

static void draft_send(struct draft *d)
{
    struct list one;
    list_init(&one);
    list_add(&one, &d->letter.link);
    d->from->outstanding++;
    metric_add(METRIC_CACHE_DRAFTS, 1);
    queue_push_all(d->from->process->drafter->inbox, &one);
}

bool draft_under_way(const struct serving *s, struct bytes target)
{
    return map_get(&s->drafts, target) != NULL;
}

bool draft_begin(struct serving *s, struct bytes target, bool gzip)
{
    if (draft_under_way(s, target))
        return true;
    struct draft *d = calloc(1, sizeof *d + target.n);
    if (!d)
        return false;
    memcpy(d + 1, target.p, target.n);
    d->target = bytes_of(d + 1, target.n);
    d->letter.kind = LETTER_DRAFT;
    list_init(&d->letter.link);
    list_init(&d->waiting);
    arena_init(&d->arena, DRAFT_ARENA_MAX);
    api_call_init(&d->call);
    d->from = s;
    d->gzip = gzip;
    if (map_put(&s->drafts, d->target, d) != ERR_OK) {
        free(d);
        return false;
    }
    draft_send(d);
    return true;
}

static void draft_free(struct draft *d)
{
    api_call_fini(&d->call);
    arena_fini(&d->arena);
    shared_unref(d->body);
    shared_unref(d->packed);
    free(d);
}

void draft_wait(struct serving *s, struct conn *c, const struct api_call *call,
                const struct api_env *env, struct bytes target, uint64_t asked,
                bool gzip)
{
    struct draft_wait *w = &((struct conn_state *)conn_user(c))->draft_wait;
    w->draft = map_get(&s->drafts, target);
    w->conn = c;
    w->asked = asked;
    w->newest = newest(snapshot_text_index(env->cat, call->watch),
                       snapshot_floor(env->cat));
    w->gzip = gzip;
    list_add(&w->draft->waiting, &w->link);
}

void draft_wait_gone(struct draft_wait *w)
{
    if (!w->draft)
        return;
    list_del(&w->link);
    w->draft = NULL;
}

/* Somebody asked for what is newer than this, or for it compressed. */
static bool is_for(const struct draft *d, const struct draft_wait *w)
{
    return !d->whole ||
           (w->newest <= newest(d->text_index, d->floor) &&
            (!w->gzip || d->gzip || d->body->n <= GZIP_HERE_MAX_BYTES));
}

static void answer_waiting(struct serving *s, struct draft *d, struct answer *a,
                           struct list *ret_later)
{
    while (!list_empty(&d->waiting)) {
        struct draft_wait *w =
            container_of(d->waiting.next, struct draft_wait, link);
        list_del(&w->link);
        if (a && !is_for(d, w)) {
            list_add(ret_later, &w->link);
            continue;
        }
        w->draft = NULL;
        uint64_t index = newest(newest(d->index, d->floor), w->asked);
        if (a)
            serving_answer(s, w->conn, a, index ? index : 1, w->gzip);
        else
            serving_answer_call(s, w->conn, &d->call, index, false);
    }
}

/* Those whom this draft was too old for. */
static void draft_again(struct serving *s, struct bytes target,
                        struct list *later)
{
    bool gzip = false;
    struct list *l;
    for (l = later->next; l != later; l = l->next)
        gzip |= container_of(l, struct draft_wait, link)->gzip;
    bool made = draft_begin(s, target, gzip);
    struct draft *next = map_get(&s->drafts, target);
    while (!list_empty(later)) {
        struct draft_wait *w =
            container_of(later->next, struct draft_wait, link);
        list_del(&w->link);
        w->draft = made ? next : NULL;
        if (made) {
            list_add(&next->waiting, &w->link);
            continue;
        }
        struct api_call none;
        api_call_init(&none);
        api_error(&none, 500, "out of memory for the answer");
        serving_answer_call(s, w->conn, &none, 1, false);
        api_call_fini(&none);
    }
}

void draft_made(struct serving *s, struct letter *l)
{
    struct draft *d = container_of(l, struct draft, letter);
    struct answer *a = NULL;
    s->outstanding--;
    map_del(&s->drafts, d->target);
    if (d->whole) {
        a = answers_add(&s->answers, d->target, &d->call, d->text_index,
                        d->floor, d->body, d->packed);
        d->body = a ? a->body : NULL; /* looked at below */
        d->packed = a ? a->gzip : NULL;
    }
    if (!a && d->call.status == 200) {
        buf_reset(&d->call.body);
        api_error(&d->call, 500, "out of memory for the answer");
    }
    if (a)
        answer_ref(a); /* an answer may bring the next request, and another */
    if (a && d->call.fresh)
        answers_forget(&s->answers, a);
    struct list later;
    list_init(&later);
    answer_waiting(s, d, a, &later);
    park_drafted(s, d->target, &d->call, a, d->index, d->floor);
    if (!list_empty(&later))
        draft_again(s, d->target, &later);
    if (a)
        answer_unref(a);
    d->body = d->packed = NULL;
    draft_free(d);
}
