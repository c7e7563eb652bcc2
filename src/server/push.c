/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/push.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/metric.h"
#include "http/json_out.h"
#include "http/sse.h"
#include "server/gate.h"

enum { LIST_ARENA_MAX = 1 << 20 /* a target's parameters */ };

/* --- Life of the thread's part ------------------------------------------- */

static void on_idle(uv_idle_t *h)
{
    struct serving *s = h->data;
    serving_pin(s);
    push_work(s);
    serving_unpin(s);
}

void push_start_work(struct serving *s)
{
    uv_idle_start(&s->pushes.idle, on_idle);
}

enum err pushes_init(struct serving *s)
{
    struct pushes *ss = &s->pushes;
    list_init(&ss->work);
    list_init(&ss->texts);
    push_beats_init(ss);
    push_calls_init(ss);
    push_hear_init(ss);
    ss->idle.data = s;
    if (getentropy(&ss->seed, sizeof ss->seed) != 0 ||
        uv_idle_init(&s->loop, &ss->idle) != 0)
        return ERR_IO;
    return ERR_OK;
}

void pushes_close(struct serving *s)
{
    push_beats_close(s);
    timer_clear(&s->timers, &s->pushes.calls);
    push_hear_close(s);
    uv_close((uv_handle_t *)&s->pushes.idle, NULL);
}

void pushes_fini(struct serving *s)
{
    follows_fini(&s->pushes.groups);
}

/* --- One connection ------------------------------------------------------ */

/* Of those who read the same catalog. */
static struct subscribers *table_of(const struct push *st)
{
    return st->of ? dc_mirror_readers(st->of)
                  : st->serving->process->subscribers;
}

static void push_free(struct push *st)
{
    struct serving *s = st->serving;
    for (uint32_t i = 0; i < st->sub_count; i++)
        push_leave(s, &st->subs[i]);
    push_calls_end(st);
    push_hear_end(st);
    if (st->flow)
        subscribers_left(table_of(st), st->id);
    list_del(&st->link);
    push_seen_of(&s->pushes, st->of)->count--;
    serving_waits(s, false);
    metric_add(METRIC_STREAMS, -1);
    free(st);
}

void push_gone(struct conn_state *state)
{
    if (!state->push)
        return;
    push_free(state->push);
    state->push = NULL;
}

void push_drained(struct conn_state *state)
{
    struct push *st = state->push;
    if (!st || !st->full)
        return;
    struct serving *s = st->serving;
    push_unstall(st);
    push_hear_again(st);
    push_start_work(s);
}

void push_end(struct push *st)
{
    struct conn *c = st->conn;
    push_gone(conn_user(c));
    conn_stream_end(c);
}

void push_end_of(struct serving *s, const struct dc_mirror *of)
{
    list_each (it, &s->pushes.all) {
        struct push *st = container_of(it, struct push, link);
        if (st->of == of)
            push_end(st);
    }
}

void push_end_all(struct serving *s)
{
    struct pushes *ss = &s->pushes;
    while (!list_empty(&ss->all))
        push_end(container_of(ss->all.next, struct push, link));
    while (!list_empty(&ss->mirrors))
        push_end(container_of(ss->mirrors.next, struct push, link));
}

/* --- Beginning ----------------------------------------------------------- */

static bool name_it(struct push *st)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char random[16];
    if (getentropy(random, sizeof random) != 0)
        return false;
    for (size_t i = 0; i < sizeof random; i++) {
        st->id[2 * i] = hex[random[i] >> 4];
        st->id[2 * i + 1] = hex[random[i] & 15];
    }
    return true;
}

static struct push *push_new(struct serving *s, struct conn *c, size_t subs)
{
    struct push *st = calloc(1, sizeof *st + subs * sizeof st->subs[0]);
    if (!st)
        return NULL;
    st->conn = c;
    st->serving = s;
    st->sub_count = (uint32_t)subs;
    list_init(&st->link);
    list_init(&st->calls);
    list_init(&st->hears);
    for (size_t i = 0; i < subs; i++)
        st->subs[i].push = st;
    st->of = ((struct conn_state *)conn_user(c))->mirror;
    push_seen_of(&s->pushes, st->of)->count++;
    serving_waits(s, true);
    metric_add(METRIC_STREAMS, 1);
    return st;
}

/* In the table of subscribers. */
static void list_it(struct push *st, const struct api_call *call)
{
    struct subscriber_labels l = {call->subscriber, call->zone,
                                  conn_peer(st->conn)};
    subscribers_resumed(table_of(st),
                        http_header(call->request, "X-Muster-Subscriber-Id"));
    st->flow = subscribers_joined(table_of(st), st->id, &l);
    if (st->flow)
        atomic_store(&st->flow->behind, st->sub_count);
}

static void list_watch(const struct push_sub *sub, const struct api_env *env)
{
    struct bytes target = sub->group->follow.target;
    struct arena arena;
    struct api_call call;
    arena_init(&arena, LIST_ARENA_MAX);
    api_call_init(&call);
    if (api_from_canonical(&call, env, target, &arena) == ERR_OK) {
        bool one = call.watch.kind == WATCH_SERVICE ||
                   call.watch.kind == WATCH_SERVICE_HEALTH;
        /* Who mirrors a node gives nobody's instances to others. */
        bool of_node = call.rows && !one && call.watch.kind != WATCH_CATALOG;
        if (!of_node)
            subscribers_watches(table_of(sub->push), sub->push->id, target,
                                one ? call.watch.name : (struct bytes){NULL, 0},
                                sub->group->mark);
    }
    api_call_fini(&call);
    arena_fini(&arena);
}

static bool join_all(struct serving *s, struct push *st,
                     const struct api_call *call, const struct api_env *env)
{
    list_it(st, call);
    for (uint32_t i = 0; i < st->sub_count; i++) {
        buf_reset(&s->scratch);
        api_stream_target(call, i, &s->scratch);
        if (s->scratch.bad ||
            !push_join(s, &st->subs[i], env, buf_bytes(&s->scratch),
                       i < call->resume_count ? call->resume_index : 0))
            return false;
        if (st->flow)
            list_watch(&st->subs[i], env);
    }
    return true;
}

static struct shared *head_text(struct serving *s, const struct push *st,
                                struct api_call *call)
{
    struct buf head;
    buf_init(&head, 0);
    call->content_type = "text/event-stream";
    http_head_line(&call->extra_head, "Cache-Control", bytes_str("no-store"));
    http_head_line(&call->extra_head, "X-Accel-Buffering", bytes_str("no"));
    http_head_line(&call->extra_head, "X-Muster-Subscriber-Id",
                   bytes_str(st->id));
    if (st->of)
        http_head_line(&call->extra_head, "X-Muster-Mirror",
                       dc_mirror_name(st->of));
    api_stream_head(call, s->env.self, &head, conn_http_1_0(st->conn));
    struct shared *sent =
        head.bad || call->extra_head.bad ? NULL : shared_copy(buf_bytes(&head));
    buf_fini(&head);
    return sent;
}

/* Who he is, and when to come back after an end: not all at once. */
static struct shared *first_event(struct serving *s, const struct push *st,
                                  const struct api_env *env, bool mirror)
{
    struct buf data, out;
    buf_init(&data, 0);
    buf_init(&out, 0);
    struct json_out j = json_out(&data);
    json_open(&j, '{');
    json_key(&j, "Subscriber");
    json_str(&j, bytes_str(st->id));
    json_key(&j, "Index");
    json_u64(&j, snapshot_revision(env->cat));
    json_key(&j, "BeatMs");
    json_u64(&j, mirror         ? STREAM_MIRROR_BEAT_MS
                 : st->of_agent ? STREAM_BEAT_MS * STREAM_AGENT_BEATS
                                : STREAM_BEAT_MS);
    if (mirror) {
        json_key(&j, "At");
        json_u64(&j, push_clock_ms(s));
    }
    json_key(&j, "Datacenter");
    json_str(&j, env->self->datacenter);
    api_cluster_member(env, &j);
    json_close(&j, '}');
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    sse_retry(&out, STREAM_RETRY_MIN_MS +
                        (s->random >> 33) % (2 * STREAM_RETRY_MIN_MS));
    sse_event(&out, "subscriber");
    sse_data(&out, buf_bytes(&data));
    sse_end(&out);
    struct shared *piece =
        out.bad || data.bad ? NULL : shared_copy(buf_bytes(&out));
    buf_fini(&data);
    buf_fini(&out);
    return piece;
}

static void refuse(struct serving *s, struct conn *c, struct api_call *call,
                   const char *text)
{
    api_error(call, 500, "%s", text);
    serving_answer_call(s, c, call, 0, false);
}

void push_open(struct serving *s, struct conn *c, struct api_call *call,
               const struct api_env *env)
{
    struct conn_state *state = conn_user(c);
    struct push *st = NULL;
    struct shared *head = NULL, *first = NULL;
    bool mirror = call->request->from_peer && !state->mirror &&
                  http_param(call->request, "beat");
    if (s->closing) {
        refuse(s, c, call, "the server is stopping");
        return;
    }
    struct push_seen *seen = push_seen_of(&s->pushes, state->mirror);
    if (seen->count == 0)
        seen->revision = snapshot_revision(env->cat);
    st = push_new(s, c, api_stream_count(call));
    if (st) {
        st->of_agent = call->request->from_peer && call->rows && !mirror;
        push_beats_begin(st, mirror);
    }
    if (st && call->request->from_peer && !st->of)
        push_hear_begin(st, call);
    if (st && name_it(st) && join_all(s, st, call, env))
        head = head_text(s, st, call);
    if (head)
        first = first_event(s, st, env, mirror);
    if (!first) {
        shared_unref(head);
        if (st)
            push_free(st);
        refuse(s, c, call, "out of memory for one more stream");
        return;
    }
    state->push = st;
    conn_forget_request(c);
    conn_stream_begin(c, head);
    if (conn_stream_piece(c, first, STREAM_QUEUE_BYTES_MAX) != ERR_OK)
        shared_unref(first); /* the peer has gone, or is about to */
    if (call->calls && !st->of)
        push_calls_begin(st, call);
    push_start_work(s);
}
