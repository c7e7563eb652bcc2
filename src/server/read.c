/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Reads: at the gate, parked, or answered. */
#include <malloc.h>
#include <stdlib.h>

#include "server/host.h"
#include "server/mirrors.h"
#include "server/remote.h"
#include "server/serving.h"
#include "server/snapshot.h"
#include "server/watchers.h"

/* Parks the request if what it has is what there is; true if it did. */
static bool try_park(struct serving *s, struct conn *c, struct api_call *call,
                     struct api_env *env, struct bytes target, bool gzip)
{
    if (s->closing)
        return false;
    if (call->blocking == API_BLOCK_INDEX) {
        uint64_t index = serving_key_index(env, call->watch);
        if (call->index == 0 || call->index < index ||
            call->index < snapshot_floor(env->cat) ||
            call->index > snapshot_revision(env->cat))
            return false;
    } else if (call->blocking == API_BLOCK_HASH) {
        if (!call->has_hash)
            return false;
        api_read(call, env);
        bool same =
            call->status == 200 && call->content_hash == call->asked_hash;
        buf_reset(&call->body);
        buf_reset(&call->extra_head);
        if (!same)
            return false;
    } else {
        return false;
    }
    return park_add(s, c, call, env, target, gzip);
}

static uint64_t asked_index(const struct api_call *call,
                            const struct api_env *env)
{
    uint64_t asked = call->blocking == API_BLOCK_INDEX ? call->index : 0;
    return asked > snapshot_revision(env->cat) ? 0 /* another life's */ : asked;
}

void serving_measure(const struct serving *s, struct api_env *env)
{
    struct mallinfo2 m = mallinfo2();

    env->alloc_bytes = m.uordblks;
    env->sys_bytes = m.arena + m.hblkhd;
    env->wall_ms = serving_wall_ms();
    env->uptime_ms = process_now_ms() - s->process->started_ms;
    env->threads = (uint64_t)s->process->serving_count;
}

static void answer_uncached(struct serving *s, struct conn *c,
                            struct api_call *call, struct api_env *env,
                            bool gzip)
{
    /* metrics, self: rare, may cost. What peers ask is neither. */
    if (call->watch.kind == WATCH_NONE && !call->request->from_peer)
        serving_measure(s, env);
    struct api_host *host =
        call->want_host ? arena_alloc(call->arena, sizeof *host) : NULL;
    if (host)
        host_look(s->process->data_dir ? s->process->data_dir : "/", host);
    env->host = host;
    api_read(call, env);
    if (call->want_lags) {
        lag_metrics(s->process->subscribers, &call->body);
        mirrors_metrics(s->process, &call->body);
    }
    uint64_t index = serving_index(env, serving_key_index(env, call->watch),
                                   asked_index(call, env));
    serving_answer_call(s, c, call, index, gzip);
    api_call_fini(call);
}

void serving_reply_fresh(struct serving *s, struct conn *c,
                         struct api_call *call, struct api_env *env,
                         struct bytes target, bool gzip)
{
    env->random[0] = uv_hrtime() ^ (s->random += UINT64_C(0x9e3779b97f4a7c15));
    /* A target alone says what a GET asks for, and not what others do. */
    if (call->request->method == HTTP_GET)
        call->cost_limit = READ_HERE_MAX_COST;
    api_read(call, env);
    call->cost_limit = 0;
    watchers_note_given(s, c, call);
    if (call->too_long && draft_begin(s, target, gzip)) {
        draft_wait(s, c, call, env, target, 0, gzip);
        return;
    }
    if (call->too_long) {
        buf_reset(&call->body);
        api_read(call, env);
    }
    if (call->failover_count) {
        remote_begin(s, c, call);
        api_call_init(call); /* it has moved */
        return;
    }
    serving_answer_call(s, c, call, 1, gzip); /* there is nothing to wait for */
}

static void serve_read(struct serving *s, struct conn *c, struct api_call *call,
                       struct api_env *env, bool gzip)
{
    if (call->watch.kind == WATCH_NONE) {
        answer_uncached(s, c, call, env, gzip);
        return;
    }
    buf_reset(&s->scratch);
    api_canonical(call, &s->scratch);
    struct bytes target = buf_bytes(&s->scratch);
    if (call->fresh) {
        serving_reply_fresh(s, c, call, env, target, gzip);
        api_call_fini(call);
        return;
    }
    watchers_note(s, c, call, target);
    if (try_park(s, c, call, env, target, gzip)) {
        conn_forget_request(c);
        api_call_fini(call);
        return;
    }
    bool cacheable = call->watch.kind < WATCH_LOCAL_SERVICE;
    if (!cacheable) {
        answer_uncached(s, c, call, env, gzip);
        return;
    }
    serving_reply(s, c, call, env, target, asked_index(call, env), gzip);
    api_call_fini(call);
}

/* --- At the gate --------------------------------------------------------- */

struct held_read {
    struct gate_item item;
    struct conn *conn;
    struct api_call call;
    bool gzip;
    void (*then)(struct serving *s, struct conn *c, struct api_call *call,
                 struct api_env *env, bool gzip);
};

static void held_free(struct held_read *h)
{
    ((struct conn_state *)conn_user(h->conn))->held = NULL;
    gate_leave(&h->item);
    free(h);
}

/* Pinned. The catalog shows all that was answered before the request came. */
static void held_passed(struct serving *s, struct gate_item *it, bool ok)
{
    struct held_read *h = container_of(it, struct held_read, item);
    struct conn *c = h->conn;
    struct api_call call = h->call;
    bool gzip = h->gzip;
    struct api_env env = serving_env(s);
    void (*then)(struct serving * s, struct conn * c, struct api_call * call,
                 struct api_env * env, bool gzip) = h->then;

    held_free(h);
    if (ok) {
        then(s, c, &call, &env, gzip);
        return;
    }
    api_error(&call, 500, "No cluster leader");
    serving_answer_call(s, c, &call, 1, gzip);
    api_call_fini(&call);
}

/* What says where it stands (status, metrics) says so at once. A stale read
 * waits only if it knows of more than there is. */
static bool must_wait(const struct serving *s, const struct api_call *call,
                      const struct api_env *env)
{
    if (gate_is_open(s) || call->watch.kind == WATCH_NONE ||
        call->watch.kind >= WATCH_LOCAL_SERVICE)
        return false;
    return !call->stale || (call->blocking == API_BLOCK_INDEX &&
                            call->index > snapshot_revision(env->cat));
}

/* False: there is nothing to wait for, or no memory to do it. */
static bool
hold(struct serving *s, struct conn *c, struct api_call *call, bool gzip,
     void (*then)(struct serving *s, struct conn *c, struct api_call *call,
                  struct api_env *env, bool gzip))
{
    struct held_read *h = calloc(1, sizeof *h);

    if (!h)
        return false;
    h->conn = c;
    h->call = *call; /* its buffers move */
    h->gzip = gzip;
    h->then = then;
    h->item.pass = held_passed;
    ((struct conn_state *)conn_user(c))->held = h;
    gate_begin(s, &h->item, h->call.hold_ms);
    gate_wait(s, &h->item);
    return true;
}

/* What is staler than he allows is asked of who knows better, as in Consul. */
static void limit_age(const struct serving *s, struct api_call *call)
{
    bool known;

    if (!call->stale || call->mirror.n ||
        contact_ms(s->process, &known) <= call->max_stale_ms)
        return;
    call->stale = false;
    if (call->consistency)
        call->consistency = "leader";
}

void read_begin(struct serving *s, struct conn *c, struct api_call *call,
                struct api_env *env, bool gzip)
{
    limit_age(s, call);
    ((struct conn_state *)conn_user(c))->stale = call->stale;
    if (call->mirror.n || !must_wait(s, call, env) ||
        !hold(s, c, call, gzip, serve_read))
        serve_read(s, c, call, env, gzip);
}

static void begin_snapshot(struct serving *s, struct conn *c,
                           struct api_call *call, struct api_env *env,
                           bool gzip)
{
    (void)gzip;
    snapshot_begin(s, c, call, env);
}

void read_begin_snapshot(struct serving *s, struct conn *c,
                         struct api_call *call, struct api_env *env)
{
    bool waits =
        call->request->method == HTTP_GET && !call->stale && !gate_is_open(s);

    ((struct conn_state *)conn_user(c))->stale = call->stale;
    if (!waits || !hold(s, c, call, false, begin_snapshot))
        snapshot_begin(s, c, call, env);
}

void read_gone(struct conn_state *st)
{
    struct held_read *h = st->held;

    if (!h)
        return;
    api_call_fini(&h->call);
    held_free(h);
}
