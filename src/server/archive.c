/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/archive.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/metric.h"
#include "base/rfc3339.h"
#include "server/archive_impl.h"

enum { ASK_ARENA_MAX = 16 << 20 /* parameters, and keys of who is gone */ };

/* --- Refusals ------------------------------------------------------------ */

/* What was asked, in words: "revision 5", "2026-11-26T03:12:00.000Z". */
static void put_asked(struct buf *out, struct api_at at)
{
    uint64_t now = archive_wall_ms();
    if (at.kind == API_AT_REVISION) {
        buf_puts(out, "revision ");
        buf_u64(out, at.value);
        return;
    }
    rfc3339_print(out, at.kind == API_AT_TIME ? at.value
                       : at.value < now       ? now - at.value
                                              : 0);
}

static void refuse(struct archivist *a, struct ask *q, enum err e,
                   struct api_at at)
{
    struct buf asked, oldest;
    buf_init(&asked, 0);
    buf_init(&oldest, 0);
    put_asked(&asked, at);
    if (e == ERR_COMPACTED && /* it may have moved on */
        archive_moment(a, (struct api_at){0}) != ERR_OK)
        e = ERR_UNAVAILABLE;
    buf_u64(&oldest, a->moment.oldest);
    buf_puts(&oldest, " of ");
    rfc3339_print(&oldest, a->moment.oldest_ms);
    if (e == ERR_COMPACTED)
        api_error(&q->call, 410,
                  "%.*s is before what is kept: the oldest revision that can "
                  "be asked for is %.*s",
                  BYTES_ARG(buf_bytes(&asked)), BYTES_ARG(buf_bytes(&oldest)));
    else if (e == ERR_NOT_FOUND)
        api_error(&q->call, 400,
                  "%.*s is in the future; what is now is asked for without it",
                  BYTES_ARG(buf_bytes(&asked)));
    else if (e == ERR_UNAVAILABLE || e == ERR_CLOSED)
        api_error(&q->call, 500, "No cluster leader");
    else
        api_error(&q->call, err_http_status(e), "%s", err_text(e));
    buf_fini(&asked);
    buf_fini(&oldest);
}

/* --- Answers ------------------------------------------------------------- */

static struct api_env env_now(struct process *p)
{
    return (struct api_env){
        .self = atomic_load_explicit(&p->live, memory_order_acquire),
        .cat = catalog_current(p->catalog),
        .local = local_current(p->local),
        .heard = heard_current(p->heard),
        .beats = beats_current(p->beats),
        .ready = atomic_load_explicit(&p->ready, memory_order_acquire),
    };
}

/* then NULL: as of now. */
static void answer(struct archivist *a, struct ask *q,
                   const struct snapshot *then, const struct api_past *past)
{
    struct process *p = a->process;
    pin_enter(&p->pins, a->pin);
    struct api_env env = env_now(p);
    if (then)
        env.cat = then;
    env.past = past;
    enum err e = api_from_canonical(&q->call, &env, q->target, &q->arena);
    if (e == ERR_OK)
        api_read(&q->call, &env);
    else if (e != ERR_BAD) /* that is refused with a text */
        api_error(&q->call, 500, "out of memory for the answer");
    q->index =
        then || q->story == API_STORY_CHANGES
            ? past->until
            : serving_index(&env, serving_key_index(&env, q->call.watch), 0);
    q->call.watch.name = (struct bytes){0}; /* it may be the snapshot's */
    pin_leave(&p->pins, a->pin);
}

/* Compressed here: it may be long. */
static void wrap(struct ask *q)
{
    struct buf *body = &q->call.body;
    struct buf packed;
    if (q->call.status != 200 || body->bad)
        return;
    buf_init(&packed, 0);
    q->packed = q->gzip && body->n >= GZIP_MIN_BYTES &&
                http_gzip(buf_bytes(body), &packed) == ERR_OK;
    q->body = shared_copy(q->packed ? buf_bytes(&packed) : buf_bytes(body));
    buf_fini(&packed);
    buf_reset(body);
    if (!q->body)
        api_error(&q->call, 500, "out of memory for the answer");
    else
        buf_fini(body);
}

static void put_at_line(struct ask *q, uint64_t revision, uint64_t ms)
{
    struct buf text;
    buf_init(&text, 0);
    buf_u64(&text, revision);
    buf_putc(&text, ' ');
    rfc3339_print(&text, ms);
    http_head_line(&q->call.extra_head, "X-Muster-At", buf_bytes(&text));
    buf_fini(&text);
}

static void serve(struct archivist *a, struct ask *q)
{
    const struct snapshot *then = NULL;
    struct story *story = NULL;
    struct api_past past = {0};
    struct api_at at = q->at;
    if (atomic_load(&q->gone))
        return;
    enum err e = archive_moment(a, at);
    past.until = a->moment.revision;
    past.until_ms = a->moment.wall_ms;
    if (e == ERR_OK && at.kind != API_AT_NONE)
        e = archive_catalog(a, q, past.until, &then);
    struct map authors = {0};
    if (e == ERR_OK && q->story == API_STORY_AUTHORS) {
        archive_authors(a, q, &authors);
        past.authors = &authors;
    } else if (e == ERR_OK && q->story != API_STORY_NONE) {
        if (at.kind == API_AT_NONE)
            at = q->since;
        e = archive_story(a, q, &past, &story);
    }
    past.story = story;
    if (e == ERR_OK) {
        answer(a, q, then, &past);
        if (then && q->call.status == 200)
            put_at_line(q, past.until, past.until_ms);
        wrap(q);
    } else {
        refuse(a, q, e, at);
    }
    story_free(story);
    map_fini(&authors);
}

/* --- The thread ---------------------------------------------------------- */

static void on_asks(void *ctx, struct list *items)
{
    struct archivist *a = ctx;
    list_move_all(&a->asks, items);
}

static void serve_next(struct archivist *a)
{
    struct list *item = a->asks.next;
    list_del(item);
    if (item == &a->end) {
        a->ending = true;
        return;
    }
    struct ask *q = container_of(item, struct ask, letter.link);
    serve(a, q);
    archive_trim(a);
    atomic_fetch_sub(&a->waiting, 1);
    serving_post(q->from, &q->letter);
}

static void run(void *arg)
{
    struct archivist *a = arg;
    pthread_setname_np(pthread_self(), "archivist");
    while (!a->ending) {
        if (list_empty(&a->asks))
            uv_run(&a->loop, UV_RUN_ONCE);
        else
            serve_next(a);
    }
    archive_close(a);
    queue_close(a->inbox);
    queue_close(a->mail);
    timers_close(&a->timers);
    uv_run(&a->loop, UV_RUN_DEFAULT);
}

enum err archivist_start(struct process *p, struct errtext *t)
{
    struct archivist *a = calloc(1, sizeof *a);
    if (!a)
        return ERR_NOMEM;
    a->process = p;
    archive_open(a);
    list_init(&a->asks);
    list_init(&a->end);
    enum err e = uv_loop_init(&a->loop) == 0 ? ERR_OK : ERR_IO;
    if (e == ERR_OK)
        e = timers_init(&a->timers, &a->loop);
    /* No bounds: questions are counted (archive_begin), and the store sends one
     * slice at a time. */
    if (e == ERR_OK)
        e = queue_new(&a->loop, 0, on_asks, a, &a->inbox);
    if (e == ERR_OK)
        e = queue_new(&a->loop, 0, archive_on_mail, a, &a->mail);
    if (e == ERR_OK)
        e = pin_slot(&p->pins, &a->pin);
    if (e == ERR_OK && uv_thread_create(&a->thread, run, a) != 0)
        e = ERR_IO;
    if (e != ERR_OK) /* the process ends: nothing is torn down */
        errtext_set(t, "start: archivist thread: %s", err_text(e));
    p->archivist = a;
    return e;
}

void archivist_join(struct process *p)
{
    struct archivist *a = p->archivist;
    struct list one;
    list_init(&one);
    list_add(&one, &a->end);
    queue_push_all(a->inbox, &one);
    uv_thread_join(&a->thread);
    uv_loop_close(&a->loop);
    free(a);
    p->archivist = NULL;
}

/* --- On the serving thread ----------------------------------------------- */

static void ask_free(struct ask *q)
{
    api_call_fini(&q->call);
    arena_fini(&q->arena);
    shared_unref(q->body);
    free(q);
}

/* What the archivist needs of the call, whose memory is the connection's. */
static struct ask *ask_new(struct serving *s, struct conn *c,
                           const struct api_call *call, bool gzip)
{
    struct ask *q = calloc(1, sizeof *q);
    if (!q)
        return NULL;
    arena_init(&q->arena, ASK_ARENA_MAX);
    api_call_init(&q->call);
    list_init(&q->letter.link);
    q->letter.kind = LETTER_PAST;
    q->from = s;
    q->conn = c;
    q->gzip = gzip;
    q->at = call->at;
    q->since = call->since;
    q->story = call->story;
    q->want = (struct story_options){
        .name = arena_copy(&q->arena, call->arg),
        .node = arena_copy(&q->arena, call->story_node),
        .id = arena_copy(&q->arena, call->story_id),
        .limit = call->story_limit,
        .departures = call->story == API_STORY_DEPARTED,
    };
    buf_reset(&s->scratch);
    api_canonical(call, &s->scratch);
    q->target = arena_copy(&q->arena, buf_bytes(&s->scratch));
    q->call.consul_headers = call->consul_headers;
    if (q->target.n && !s->scratch.bad && q->want.name.n == call->arg.n &&
        q->want.node.n == call->story_node.n &&
        q->want.id.n == call->story_id.n)
        return q;
    ask_free(q);
    return NULL;
}

static void answer_now(struct serving *s, struct conn *c, struct api_call *call,
                       int status, const char *text)
{
    api_error(call, status, "%s", text);
    serving_answer_call(s, c, call, 1, false);
}

void archive_begin(struct serving *s, struct conn *c, struct api_call *call,
                   bool gzip)
{
    struct archivist *a = s->process->archivist;
    if (atomic_fetch_add(&a->waiting, 1) >= ARCHIVE_WAITING_MAX) {
        atomic_fetch_sub(&a->waiting, 1);
        metric_add(METRIC_PAST_REFUSED, 1);
        answer_now(s, c, call, 429,
                   "Too many questions about the past wait already (64); try "
                   "again shortly");
        return;
    }
    struct ask *q = ask_new(s, c, call, gzip);
    if (!q) {
        atomic_fetch_sub(&a->waiting, 1);
        answer_now(s, c, call, 500, "out of memory");
        return;
    }
    metric_add(METRIC_PAST_QUESTIONS, 1);
    ((struct conn_state *)conn_user(c))->ask = q;
    s->outstanding++;
    struct list one;
    list_init(&one);
    list_add(&one, &q->letter.link);
    queue_push_all(a->inbox, &one);
}

static void send_body(struct serving *s, struct ask *q)
{
    struct buf head;
    buf_init(&head, 0);
    serving_pin(s);
    api_head(&q->call, serving_env(s).self, &head, q->index ? q->index : 1,
             atomic_load_explicit(&s->process->ready, memory_order_relaxed), 0,
             q->packed, q->body->n, conn_keep_alive(q->conn),
             conn_http_1_0(q->conn));
    serving_unpin(s);
    struct shared *sent = head.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    conn_answer(q->conn, sent, q->body);
    q->body = NULL;
}

void archive_made(struct serving *s, struct letter *l)
{
    struct ask *q = container_of(l, struct ask, letter);
    s->outstanding--;
    if (q->conn) {
        ((struct conn_state *)conn_user(q->conn))->ask = NULL;
        if (q->body)
            send_body(s, q);
        else
            serving_answer_call(s, q->conn, &q->call, 1, false);
    }
    ask_free(q);
}

void archive_gone(struct conn_state *st)
{
    if (!st->ask)
        return;
    st->ask->conn = NULL;
    atomic_store(&st->ask->gone, true);
    st->ask = NULL;
}
