/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Each request to whom it concerns, and the end of a connection to all. */
#include <string.h>

#include "base/metric.h"
#include "server/archive.h"
#include "server/forward.h"
#include "server/meter.h"
#include "server/mirror_serve.h"
#include "server/monitor.h"
#include "server/peer_serve.h"
#include "server/remote.h"
#include "server/serving.h"
#include "server/snapshot.h"
#include "server/subscribers.h"
#include "server/wan.h"
#include "server/watchers.h"

/* Nobody needs the difference, but tools show it: the first who asks has missed.
 */
static enum told_cache ask_cache(struct serving *s, struct api_call *call)
{
    if (!call->tell_cache)
        return TOLD_NOTHING;
    bool stale = call->stale;
    call->stale = false; /* it is the same entry */
    buf_reset(&s->scratch);
    api_canonical(call, &s->scratch);
    call->stale = stale;
    uint64_t bit = bytes_hash(buf_bytes(&s->scratch), 0) % CACHE_ASKED_BITS;
    uint64_t mask = UINT64_C(1) << (bit % 64);
    uint64_t was = atomic_fetch_or_explicit(&s->process->cache_asked[bit / 64],
                                            mask, memory_order_relaxed);
    return was & mask ? TOLD_HIT : TOLD_MISS;
}

static void answer_now(struct serving *s, struct conn *c, struct api_call *call)
{
    serving_answer_call(s, c, call, 1, call->request->accepts_gzip);
    api_call_fini(call);
}

/* Where it is answered, now or later. */
static void dispatch(struct serving *s, struct conn *c, struct api_call *call,
                     struct api_env *env, enum api_next next)
{
    bool gzip = call->request->accepts_gzip;

    switch (next) {
    case API_ANSWER:
        serving_answer_call(s, c, call, 1, gzip);
        api_call_fini(call);
        break;
    case API_READ:
        if (api_wants_past(call)) {
            archive_begin(s, c, call, gzip);
            api_call_fini(call);
            break;
        }
        ((struct conn_state *)conn_user(c))->cache = ask_cache(s, call);
        read_begin(s, c, call, env, gzip);
        break;
    case API_FORWARD:
        if (!mirror_serve(s, c, call, false))
            remote_begin(s, c, call);
        break;
    case API_WRITE:
        write_begin(s, c, call);
        break;
    case API_AGENT:
        wish_begin(s, c, call);
        break;
    case API_SNAPSHOT:
        read_begin_snapshot(s, c, call, env);
        break;
    case API_MONITOR:
        if (call->metrics)
            meter_begin(s, c, call);
        else
            monitor_begin(s, c, call);
        api_call_fini(call);
        break;
    case API_MIRRORS:
        mirrors_answer(s->process, env->wan, env->self->datacenter, call);
        answer_now(s, c, call);
        break;
    case API_WATCHERS:
    case API_LAG:
        watchers_all(s, c, call, next);
        break;
    case API_WAN:
        wan_word(s->process, call->wan_word);
        answer_now(s, c, call);
        break;
    case API_ACK:
        ack_answer(s->process, call);
        answer_now(s, c, call);
        break;
    case API_PEER:
        peer_begin(s, c, call);
        break;
    case API_STREAM:
        push_open(s, c, call, env);
        api_call_fini(call);
        break;
    }
}

/* Who asks counts for writes, and for what is near to him. */
static void say_who_asks(struct conn *c, struct http_request *r)
{
    bool counts =
        r->method != HTTP_GET || bytes_starts(r->path, bytes_str("/v1/query/"));

    r->from_peer = conn_is_peer(c);
    if (!counts)
        return;
    const char *peer = conn_peer(c);
    if (strcmp(peer, "unix") == 0)
        return;
    r->peer = arena_copy(r->arena, bytes_str(peer));
    if (!r->peer.p) /* nobody must take him for a unix socket */
        r->peer = bytes_str("?");
}

void dispatch_request(void *ctx, struct conn *c, struct http_request *r)
{
    struct serving *s = ctx;
    metric_add(METRIC_HTTP_REQUESTS, 1);
    if (peer_beat(s, c, r))
        return;
    struct api_call call;
    api_call_init(&call);
    serving_pin(s);
    struct api_env env = serving_env(s);
    say_who_asks(c, r);
    enum api_next next = api_begin(&call, &env, r);
    struct conn_state *st = conn_user(c);
    st->cache = TOLD_NOTHING;
    st->subscriber[0] = 0;
    st->stale = false;
    st->mirror = NULL;
    if (!forward_takes(s, c, &call, next))
        dispatch(s, c, &call, &env, next);
    serving_unpin(s);
}

void dispatch_gone(void *ctx, struct conn *c)
{
    (void)ctx;
    struct conn_state *st = conn_user(c);
    park_remove(&st->park);
    read_gone(st);
    remote_gone(st);
    snapshot_gone(st->snap);
    st->snap = NULL;
    draft_wait_gone(&st->draft_wait);
    monitor_gone(&st->monitor);
    meter_gone(st);
    push_gone(st);
    write_gone(st);
    archive_gone(st);
    peer_gone(st);
    forward_gone(st);
    watchers_all_gone(st);
}

void dispatch_drained(void *ctx, struct conn *c)
{
    (void)ctx;
    push_drained(conn_user(c));
}
