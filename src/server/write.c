/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Changes under way: from a request to the answer that the change is durable
 * and visible here.
 *
 *   write_begin -> api_write on our snapshot -> store_submit
 *     the core thread hands the outcome on once revision R is published
 *     committed at R: answered;  conflict seen at R: api_write again
 *
 * A write owns the memory of its plan, because the store reads it whether or
 * not the connection lives on; the request stays with the connection. */
#include "server/drain.h"
#include "server/guard.h"
#include "server/remote.h"
#include "server/serving.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/metric.h"
#include "http/response.h"
#include "loop/stream.h"

enum {
    WRITES_SPARE_MAX = 256,
    WRITE_ARENA_MAX = 4 << 20, /* keys and values of one change */
    ADMIT_LOOK_MS = 100,       /* who has waited for too long? */
    RETRY_AFTER_S = 3,         /* 1 to so many, so that not all come at once */
};

_Static_assert((int)API_WHO_MAX <= (int)STORE_META_MAX,
               "what a write says of itself has to fit into the store's meta");

struct write {
    struct letter letter;
    struct list link; /* written, writes_spare */
    struct serving *serving;
    struct conn *conn; /* NULL: gone */
    struct api_call call;
    struct arena arena;
    struct plan plan;
    struct store_change change;
    struct store_outcome outcome;
    struct gate_item item;
    struct admit_item turn;
    uint64_t admitted_ms;
    bool admitted;
    int attempts;
    bool current; /* planned behind a barrier that was begun after it came */
};

static struct write *write_take(struct serving *s)
{
    struct write *w;
    if (!list_empty(&s->writes_spare)) {
        w = container_of(s->writes_spare.next, struct write, link);
        list_del(&w->link);
        s->writes_spare_count--;
        arena_reset(&w->arena);
        return w;
    }
    w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    list_init(&w->link);
    list_init(&w->letter.link);
    list_init(&w->item.link);
    list_init(&w->turn.link);
    arena_init(&w->arena, WRITE_ARENA_MAX);
    w->serving = s;
    return w;
}

static void writes_admit(struct serving *s);

static void write_give_back(struct write *w)
{
    struct serving *s = w->serving;
    uint64_t now = uv_now(&s->loop);
    bool room = w->admitted;
    s->outstanding--;
    if (w->admitted)
        admit_done(&s->admit, now - w->admitted_ms, now);
    w->admitted = false;
    gate_leave(&w->item);
    api_call_fini(&w->call);
    if (w->conn)
        ((struct conn_state *)conn_user(w->conn))->write = NULL;
    w->conn = NULL;
    if (s->writes_spare_count < WRITES_SPARE_MAX) {
        list_add(&s->writes_spare, &w->link);
        s->writes_spare_count++;
    } else {
        arena_fini(&w->arena);
        free(w);
    }
    if (room)
        writes_admit(s);
}

void writes_fini(struct serving *s)
{
    while (!list_empty(&s->writes_spare)) {
        struct write *w =
            container_of(s->writes_spare.next, struct write, link);
        list_del(&w->link);
        arena_fini(&w->arena);
        free(w);
    }
}

static void write_finish(struct write *w)
{
    if (w->conn) {
        struct conn *c = w->conn;
        struct serving *s = w->serving;
        w->conn = NULL;
        ((struct conn_state *)conn_user(c))->write = NULL;
        if (w->call.status == 200 && w->call.beat_node.n)
            guard_beat(s->process, w->call.beat_node, w->call.beat_id);
        serving_answer_call(s, c, &w->call, 0, false);
    }
    write_give_back(w);
}

static void write_fail(struct write *w, int status, const char *text)
{
    buf_reset(&w->call.body);
    api_error(&w->call, status, "%s", text);
    write_finish(w);
}

/* On the store thread. */
static void change_done(struct store_change *ch, const struct store_outcome *o)
{
    struct write *w = container_of(ch, struct write, change);
    w->outcome = *o;
    w->letter.kind = LETTER_WRITTEN;
    w->letter.revision =
        o->verdict == STORE_COMMITTED || o->verdict == STORE_CONFLICT
            ? o->revision
            : 0;
    w->letter.to = w->serving;
    struct list one;
    list_init(&one);
    list_add(&one, &w->letter.link);
    /* No bound here: what is answered was submitted, and that is bounded. */
    queue_push_all(w->serving->process->written, &one);
}

static void write_plan(struct write *w);

/* Time is over, and the store has not said what became of it: it is asked for
 * no longer, but goes on. */
static void write_late(struct serving *s, struct gate_item *it, bool ok)
{
    struct write *w = container_of(it, struct write, item);
    struct conn *c = w->conn;

    (void)ok;
    if (!c)
        return;
    w->conn = NULL;
    ((struct conn_state *)conn_user(c))->write = NULL;
    buf_reset(&w->call.body);
    api_error(&w->call, 500, "No cluster leader");
    serving_answer_call(s, c, &w->call, 0, false);
    w->call.request = NULL; /* the connection's, which goes on to the next */
}

static void write_passed(struct serving *s, struct gate_item *it, bool ok)
{
    struct write *w = container_of(it, struct write, item);

    (void)s;
    w->current = true;
    if (ok && w->conn)
        write_plan(w);
    else
        write_fail(w, 500, "No cluster leader");
}

static void write_wait(struct write *w)
{
    w->item.pass = write_passed;
    gate_wait(w->serving, &w->item);
}

/* --- Whose turn it is ---------------------------------------------------- */

/* More come than the store takes. */
static void write_shed(struct write *w)
{
    struct serving *s = w->serving;
    char seconds[16];

    metric_add(METRIC_STORE_SHED, 1);
    (void)snprintf(seconds, sizeof seconds, "%u",
                   1 + (unsigned)(s->shed++ % RETRY_AFTER_S));
    buf_reset(&w->call.body);
    api_error(&w->call, 429,
              "More writes come than the store takes; try again in %s s",
              seconds);
    http_head_line(&w->call.extra_head, "Retry-After", bytes_str(seconds));
    write_finish(w);
}

static void writes_look(struct serving *s)
{
    if (s->admit.waiting && !s->closing && !s->admit_look.item.in)
        timer_set(&s->timers, &s->admit_look, ADMIT_LOOK_MS);
}

/* Without a leader all wait as long as Consul's clients expect it. */
static void on_admit_look(struct timer *t)
{
    struct serving *s = container_of(t, struct serving, admit_look);
    uint64_t now = uv_now(&s->loop);
    struct admit_item *it;
    bool known;

    (void)contact_ms(s->process, &known);
    uint64_t patience = known ? ADMIT_PATIENCE_MS : GATE_HOLD_MS;

    while (now > patience && (it = admit_late(&s->admit, now - patience))) {
        struct write *w = container_of(it, struct write, turn);

        metric_add(METRIC_STORE_WAITING, -1);
        if (known)
            write_shed(w);
        else
            write_fail(w, 500, "No cluster leader");
    }
    writes_look(s);
}

static void write_let_in(struct write *w)
{
    w->admitted = true;
    w->admitted_ms = uv_now(&w->serving->loop);
}

static void writes_admit(struct serving *s)
{
    struct admit_item *it;

    if (s->admitting || s->closing)
        return; /* not from within itself: a finished write makes room */
    s->admitting = true;
    while ((it = admit_next(&s->admit))) {
        struct write *w = container_of(it, struct write, turn);

        metric_add(METRIC_STORE_WAITING, -1);
        write_let_in(w);
        if (w->conn)
            write_plan(w); /* on what is known now */
        else
            write_give_back(w);
    }
    s->admitting = false;
}

/* The address without its port. */
static uint64_t client_of(struct conn *c)
{
    struct bytes peer = bytes_str(conn_peer(c)), port;

    return bytes_hash(stream_split(peer, &port), 0);
}

/* False: it waits, or was told to come again. */
static bool write_is_in(struct write *w)
{
    struct serving *s = w->serving;

    if (w->admitted)
        return true;
    if (admit_take(&s->admit)) {
        write_let_in(w);
        return true;
    }
    if (w->conn &&
        admit_wait(&s->admit, &w->turn, client_of(w->conn), uv_now(&s->loop))) {
        metric_add(METRIC_STORE_WAITING, 1);
        writes_look(s);
    } else {
        write_shed(w);
    }
    return false;
}

void writes_begin(struct serving *s)
{
    admit_init(&s->admit);
    s->admit_look.fire = on_admit_look;
}

void writes_close(struct serving *s)
{
    struct admit_item *it;

    timer_clear(&s->timers, &s->admit_look);
    while ((it = admit_late(&s->admit, UINT64_MAX))) {
        metric_add(METRIC_STORE_WAITING, -1);
        write_fail(container_of(it, struct write, turn), 500,
                   "No cluster leader");
    }
}

static void write_submit(struct write *w)
{
    if (!write_is_in(w))
        return;
    w->change = (struct store_change){
        .guards = w->plan.guards,
        .guard_count = w->plan.guard_count,
        .ops = w->plan.ops,
        .op_count = w->plan.op_count,
        .done = change_done,
    };
    /* Without memory for it the change is nobody's, and made all the same. */
    if (w->call.request)
        w->change.meta = api_who(w->call.request, &w->arena);
    struct errtext t = {{0}};
    enum err e = store_submit(w->serving->process->store, &w->change, &t);
    if (e == ERR_OK && !gate_is_open(w->serving)) {
        w->item.pass = write_late;
        gate_sent(w->serving, &w->item);
    }
    if (e == ERR_FULL)
        write_shed(w);
    else if (e != ERR_OK)
        write_fail(w, e == ERR_LIMIT ? 413 : 500, t.s[0] ? t.s : err_text(e));
}

/* The body names another datacenter. */
static void write_remote(struct write *w)
{
    struct conn *c = w->conn;
    struct api_call call = w->call;

    w->conn = NULL;
    ((struct conn_state *)conn_user(c))->write = NULL;
    api_call_init(&w->call);
    remote_begin(w->serving, c, &call);
    write_give_back(w);
}

/* Plans on the current snapshot; submits or answers. */
static void write_plan(struct write *w)
{
    struct serving *s = w->serving;
    arena_reset(&w->arena);
    plan_init(&w->plan, &w->arena);
    buf_reset(&w->call.body);
    buf_reset(&w->call.extra_head);
    serving_pin(s);
    struct api_env env = serving_env(s);
    env.wall_ms = serving_wall_ms();
    if (getentropy(env.random, sizeof env.random) != 0) /* never, on Linux */
        env.random[0] = uv_hrtime();
    enum api_next next = api_write(&w->call, &env, &w->plan);
    serving_unpin(s);
    if (next == API_FORWARD && w->conn)
        write_remote(w);
    else if (next == API_WRITE && w->plan.op_count > 0)
        write_submit(w);
    else if (!w->current && !gate_is_open(s))
        write_wait(w); /* another server may know better */
    else
        write_finish(w);
}

void write_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct write *w = write_take(s);
    if (!w) {
        api_error(call, 500, "out of memory");
        serving_answer_call(s, c, call, 0, false);
        api_call_fini(call);
        return;
    }
    s->outstanding++;
    w->conn = c;
    w->attempts = 0;
    w->current = false;
    gate_begin(s, &w->item, 0);
    w->call = *call; /* its buffers move */
    ((struct conn_state *)conn_user(c))->write = w;
    write_plan(w);
}

static void write_settle(struct write *w)
{
    if (w->outcome.verdict == STORE_COMMITTED || !w->conn) {
        if (w->conn && w->call.request->from_peer)
            http_head_u64(&w->call.extra_head, REMOTE_REVISION_HEADER,
                          w->outcome.revision);
        write_finish(w);
    } else if (++w->attempts >= WRITE_ATTEMPTS_MAX) {
        write_fail(w, 500,
                   "The records this change depends on changed 16 times "
                   "while it was made; try again");
    } else {
        write_plan(w);
    }
}

void write_written(struct serving *s, struct letter *l)
{
    struct write *w = container_of(l, struct write, letter);
    gate_leave(&w->item);
    switch (w->outcome.verdict) {
    case STORE_COMMITTED:
    case STORE_CONFLICT:
        list_add(&s->written, &w->link);
        return;
    case STORE_REFUSED:
        write_fail(w, w->outcome.why == ERR_LIMIT ? 413 : 500,
                   w->outcome.text.s);
        return;
    case STORE_UNAVAILABLE:
        /* It is not in: once somebody leads again it may be made. */
        if (w->conn && !s->closing && !gate_is_open(s) &&
            w->outcome.why != ERR_UNKNOWN)
            write_wait(w);
        else
            write_fail(w, 500, "No cluster leader");
        return;
    }
}

/* Letters come when their revision is published. (It need not be below that of
 * the catalog in use: a store that is put back to a backup falls.) */
void write_settle_all(struct serving *s)
{
    struct list written;
    list_init(&written);
    list_move_all(&written, &s->written);
    while (!list_empty(&written)) {
        struct write *w = container_of(written.next, struct write, link);
        list_del(&w->link);
        write_settle(w);
    }
}

/* --- Wishes to the agent ------------------------------------------------- */

struct wish {
    struct letter letter;
    struct serving *serving;
    struct conn *conn; /* NULL: gone */
    struct api_call call;
    struct agent_op *op;
    struct drain *drain; /* waits for proof, or will; NULL: no */
    bool asking;         /* other servers, before the op is submitted */
    bool drained;        /* the call has the answer; op deregisters */
};

/* On the core thread. */
static void op_done(struct agent_op *op)
{
    struct wish *w = op->ctx;
    w->letter.kind = LETTER_AGENT;
    serving_post(w->serving, &w->letter);
}

static void wish_finish(struct wish *w)
{
    w->serving->outstanding--;
    if (w->conn) {
        ((struct conn_state *)conn_user(w->conn))->wish = NULL;
        serving_answer_call(w->serving, w->conn, &w->call, 0, false);
    }
    api_call_fini(&w->call);
    agent_op_free(w->op);
    drain_free(w->drain);
    free(w);
}

static void wish_submit(struct wish *w)
{
    struct agent_op *op = w->op;
    op->done = op_done;
    op->ctx = w;
    if (queue_push(w->serving->process->agent_ops, &op->link) == ERR_OK)
        return;
    api_error(&w->call, 429,
              "%d requests wait for the agent; try again "
              "shortly",
              AGENT_OPS_WAITING_MAX);
    wish_finish(w);
}

static void wish_asked(void *ctx)
{
    struct wish *w = ctx;
    w->asking = false;
    wish_submit(w);
}

/* Nobody waits for the proof any more; the check stays, or comes all the same. */
static void wish_gone(struct wish *w)
{
    w->conn = NULL;
    if (w->asking) {
        drain_hurry(w->drain);
        wish_asked(w);
    } else if (w->drain && !w->op) {
        wish_finish(w);
    }
}

void write_gone(struct conn_state *st)
{
    if (st->write)
        st->write->conn = NULL;
    if (st->wish)
        wish_gone(st->wish);
    st->write = NULL;
    st->wish = NULL;
}

/* The answer about the drain is in the call. */
static void drain_done(void *ctx, bool deregister)
{
    struct wish *w = ctx;
    struct bytes id = w->call.arg;
    w->op = deregister ? agent_op_new(AGENT_DEREGISTER_SERVICE) : NULL;
    if (!w->op) {
        wish_finish(w);
        return;
    }
    w->drained = true;
    w->op->id = arena_copy(&w->op->arena, id);
    wish_submit(w);
}

/* True: it goes on with a drain. */
static bool wish_drains(struct wish *w)
{
    if (!w->drain || w->drained || !w->conn || w->op->http_status != 200)
        return false;
    agent_op_free(w->op);
    w->op = NULL;
    drain_wait(w->drain, &w->call, drain_done, w);
    return true;
}

void wish_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct agent_op *op = NULL;
    serving_pin(s);
    struct api_env env = serving_env(s);
    env.wall_ms = serving_wall_ms();
    enum api_next next = api_agent(call, &env, &op);
    serving_unpin(s);
    if (next != API_AGENT) {
        serving_answer_call(s, c, call, 0, false);
        api_call_fini(call);
        return;
    }
    struct wish *w = calloc(1, sizeof *w);
    if (!w) {
        agent_op_free(op);
        api_error(call, 500, "out of memory");
        serving_answer_call(s, c, call, 0, false);
        api_call_fini(call);
        return;
    }
    *w = (struct wish){.serving = s, .conn = c, .call = *call, .op = op};
    list_init(&w->letter.link);
    s->outstanding++;
    ((struct conn_state *)conn_user(c))->wish = w;
    if (op->drain && op->enable) {
        serving_pin(s);
        struct api_env now = serving_env(s);
        w->drain = drain_new(s, call, &now);
        w->asking = w->drain && drain_prepare(w->drain, wish_asked, w);
        serving_unpin(s);
    }
    if (!w->asking)
        wish_submit(w);
}

void wish_answered(struct serving *s, struct letter *l)
{
    (void)s;
    struct wish *w = container_of(l, struct wish, letter);
    if (wish_drains(w))
        return;
    if (w->conn && !w->drained)
        api_agent_answer(&w->call, w->op);
    wish_finish(w);
}
