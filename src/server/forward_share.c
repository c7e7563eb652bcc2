/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Long polls of lists on an agent. All on a thread that wait for the same canonical
 * target and have the same index are one poll at a server: what ends it is news to
 * each of them. It waits longer than any of them; whose own wait is over gets the
 * answer as it is then, read once for all whose time comes about then (a wait may
 * last a sixteenth longer, as on a server).
 *
 * When the server is lost the poll goes on at the next one, for FORWARD_HOLD_MS; so it
 * does, after a pause, when a server lets go of it early. */
#include <stdlib.h>

#include "base/metric.h"
#include "http/response.h"
#include "loop/peer.h"
#include "server/forward.h"
#include "server/link.h"

struct share {
    struct serving *serving;
    struct list polls;
    struct list link; /* a round: in serving.rounds */
    bool round;       /* for those whose wait is over: answered at once */
    struct fetch *fetch;
    struct timer again;
    uint64_t lost_ms; /* since then it is tried; 0: nothing is wrong */
    uint64_t asked_ms;
    size_t at; /* server of the list */
    uint64_t index;
    char *target; /* to ask with */
    char *to;
    size_t key_n;
    char key[];
};

/* One client. */
struct shared_poll {
    struct list link;
    struct share *share;
    struct conn *conn;
    struct api_call call;
    struct timer timer; /* the latest moment */
    uint64_t due_ms;    /* its wait is over */
};

static void ask(struct share *h);

static void on_again(struct timer *t)
{
    ask(container_of(t, struct share, again));
}

/* --- Life ------------------------------------------------------------------ */

static void share_free(struct share *h)
{
    if (h->fetch)
        fetch_cancel(h->fetch);
    timer_clear(&h->serving->timers, &h->again);
    if (h->round)
        list_del(&h->link);
    else
        (void)map_del(&h->serving->shares, bytes_of(h->key, h->key_n));
    free(h->target);
    free(h->to);
    free(h);
}

/* The call is the caller's from here on. */
static void poll_free(struct shared_poll *p)
{
    struct serving *s = p->share->serving;

    timer_clear(&s->timers, &p->timer);
    list_del(&p->link);
    metric_add(METRIC_HTTP_PARKED, -1);
    ((struct conn_state *)conn_user(p->conn))->shared = NULL;
    free(p);
}

void share_gone(struct conn_state *st)
{
    struct shared_poll *p = st->shared;

    if (!p)
        return;
    struct share *h = p->share;
    api_call_fini(&p->call);
    poll_free(p);
    if (list_empty(&h->polls))
        share_free(h);
}

/* Without index and wait, which are the share's own. A round has the index too: a
 * server that lags behind it must not answer with what was before. */
static char *target_of(const struct http_request *r, uint64_t index, bool round)
{
    struct buf b = {0};
    struct bytes rest = r->raw_query;
    size_t n;
    char mark = '?';

    buf_put(&b, r->raw_path);
    while (rest.n) {
        struct bytes one = bytes_head(rest, bytes_find(rest, '&'));
        rest = bytes_skip(rest, one.n + 1);
        if (bytes_starts(one, bytes_str("index=")) ||
            bytes_starts(one, bytes_str("wait=")))
            continue;
        buf_putc(&b, mark);
        buf_put(&b, one);
        mark = '&';
    }
    buf_printf(&b, "%cindex=%llu&wait=%dms", mark, (unsigned long long)index,
               round ? 1 : FORWARD_SHARED_WAIT_MS);
    return b.bad ? NULL : buf_take(&b, &n);
}

/* key empty: a round. */
static struct share *share_new(struct serving *s, struct bytes key,
                               const struct http_request *r, uint64_t index)
{
    bool round = key.n == 0;
    struct share *h = calloc(1, sizeof *h + key.n);
    char *target = h ? target_of(r, index, round) : NULL;

    if (!target) {
        free(h);
        return NULL;
    }
    h->serving = s;
    h->index = index;
    h->target = target;
    h->round = round;
    h->again.fire = on_again;
    h->key_n = key.n;
    if (key.n)
        memcpy(h->key, key.p, key.n);
    list_init(&h->polls);
    list_init(&h->link);
    if (h->round) {
        list_add(&s->rounds, &h->link);
    } else if (map_put(&s->shares, bytes_of(h->key, h->key_n), h) != ERR_OK) {
        free(target);
        free(h);
        return NULL;
    }
    return h;
}

/* --- Answers --------------------------------------------------------------- */

/* A body that all are sent. */
struct bodies {
    struct shared *plain, *packed; /* packed NULL: not made, or not worth it */
    bool tried;
};

static struct shared *body_for(struct bodies *b, struct bytes body, bool gzip)
{
    struct buf out = {0};

    if (gzip && !b->tried && body.n >= GZIP_MIN_BYTES &&
        http_gzip(body, &out) == ERR_OK)
        b->packed = shared_copy(buf_bytes(&out));
    b->tried |= gzip;
    buf_fini(&out);
    if (gzip && b->packed)
        return shared_ref(b->packed);
    if (!b->plain)
        b->plain = shared_copy(body);
    return b->plain ? shared_ref(b->plain) : NULL;
}

static void answer_one(struct serving *s, struct conn *c, struct api_call *call,
                       const struct fetch_result *r, struct bodies *b)
{
    const struct fetch_result head = {.status = r->status, .head = r->head};
    struct buf out = {0};

    forward_take_answer(call, &head);
    struct shared *body = body_for(b, r->body, call->request->accepts_gzip);
    serving_pin(s);
    api_head(call, s->env.self, &out, 1, true, 0, body && body == b->packed,
             body ? body->n : 0, conn_keep_alive(c), conn_http_1_0(c));
    serving_unpin(s);
    struct shared *sent =
        out.bad || !body ? NULL : shared_copy(buf_bytes(&out));
    buf_fini(&out);
    api_call_fini(call);
    if (!sent) {
        shared_unref(body);
        body = NULL;
    }
    conn_answer(c, sent, body);
}

/* Takes everybody out first: who is answered may ask again at once. */
static void answer_all(struct share *h, const struct fetch_result *r)
{
    struct serving *s = h->serving;
    struct list all;
    struct bodies b = {0};

    list_init(&all);
    list_move_all(&all, &h->polls);
    if (!h->round) /* later ones begin another */
        (void)map_del(&s->shares, bytes_of(h->key, h->key_n));
    h->key_n = 0;
    while (!list_empty(&all)) {
        struct shared_poll *p =
            container_of(all.next, struct shared_poll, link);
        struct conn *c = p->conn;
        struct api_call call = p->call;
        poll_free(p);
        answer_one(s, c, &call, r, &b);
    }
    shared_unref(b.plain);
    shared_unref(b.packed);
    share_free(h);
}

static void give_up(struct share *h)
{
    static const char why[] = "No cluster leader";
    const struct fetch_result r = {.status = 500,
                                   .body = {why, sizeof why - 1}};

    answer_all(h, &r);
}

/* --- Asking ---------------------------------------------------------------- */

/* Another server, as long as there is time: since it was lost, or for how long it
 * has held the poll, which counts up to what is one server's share. */
static void try_on(struct share *h, bool leaderless)
{
    struct serving *s = h->serving;
    uint64_t now = uv_now(&s->loop);
    uint64_t held = leaderless ? now - h->asked_ms : 0;
    uint64_t most = forward_first_hold_ms(s);

    if (h->lost_ms == 0)
        h->lost_ms = now - (held < most ? held : most);
    if (s->closing || now >= h->lost_ms + FORWARD_HOLD_MS) {
        give_up(h);
        return;
    }
    h->at++;
    timer_set(&s->timers, &h->again, h->at % 2 ? 1 : FORWARD_PAUSE_MS);
}

/* It has not waited: a server that closes lets go of all polls, and would answer
 * the next one at once, too. */
static void leave(struct share *h)
{
    h->at++;
    timer_set(&h->serving->timers, &h->again, FORWARD_PAUSE_MS);
}

static void told(void *ctx, const struct fetch_result *r)
{
    struct share *h = ctx;

    h->fetch = NULL;
    if (r->err != ERR_OK || forward_is_leaderless(r)) {
        try_on(h, r->err == ERR_OK);
        return;
    }
    h->lost_ms = 0;
    if (h->round || r->status != 200 || r->consul_index != h->index)
        answer_all(h, r);
    else if (uv_now(&h->serving->loop) < h->asked_ms + FORWARD_SHARED_WAIT_MS)
        leave(h);
    else
        ask(h); /* nothing new in all that time */
}

static void ask(struct share *h)
{
    struct serving *s = h->serving;
    struct peers *peers = serving_peers(s);
    char hold[FORWARD_HOLD_TEXT];
    struct fetch_header header;

    free(h->to);
    h->to = forward_server(s, h->at);
    h->asked_ms = uv_now(&s->loop);
    forward_tell_hold(s,
                      (h->lost_ms ? h->lost_ms : h->asked_ms) + FORWARD_HOLD_MS,
                      forward_first_hold_ms(s), hold, &header);
    const struct peer_request q = {
        .to = h->to,
        .target = h->target,
        .headers = &header,
        .header_count = 1,
        .timeout_ms =
            FORWARD_HOLD_MS + 2000 +
            (h->round ? 0
                      : FORWARD_SHARED_WAIT_MS + FORWARD_SHARED_WAIT_MS / 16),
        .keep_head = true,
    };
    if (!peers || !h->to || peer_ask(peers, &q, told, h, &h->fetch) != ERR_OK)
        try_on(h, false);
}

/* --- The end of a wait ------------------------------------------------------ */

static void move_to(struct share *to, struct shared_poll *p)
{
    timer_clear(&to->serving->timers, &p->timer);
    list_del(&p->link);
    list_add(&to->polls, &p->link);
    p->share = to;
}

static void on_late(struct timer *t)
{
    struct shared_poll *first = container_of(t, struct shared_poll, timer);
    struct share *h = first->share;
    struct serving *s = h->serving;
    uint64_t now = uv_now(&s->loop);
    struct share *round =
        share_new(s, (struct bytes){NULL, 0}, first->call.request, h->index);

    if (!round) { /* no memory: it comes again */
        timer_set(&s->timers, t, FORWARD_PAUSE_MS);
        return;
    }
    struct list *it = h->polls.next;
    while (it != &h->polls) {
        struct shared_poll *p = container_of(it, struct shared_poll, link);
        it = it->next;
        if (p == first || p->due_ms <= now)
            move_to(round, p);
    }
    if (list_empty(&h->polls))
        share_free(h);
    ask(round);
}

/* --- Beginning --------------------------------------------------------------- */

/* Equal requests have equal answers, but for what these say. */
static bool is_alone(const struct api_call *call)
{
    static const char *const headers[] = {
        "X-Muster-Subscriber", "X-Muster-Subscriber-Id", "X-Muster-Zone",
        "X-Consul-Namespace", "X-Consul-Partition"};

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        if (http_header(call->request, headers[i]).n)
            return true;
    return call->consistent || call->near.n || call->client.n ||
           api_wants_past(call) || api_is_own(call);
}

static bool key_of(struct serving *s, struct api_call *call)
{
    buf_reset(&s->scratch);
    buf_printf(&s->scratch, "%llu ", (unsigned long long)call->index);
    api_canonical(call, &s->scratch);
    return !s->scratch.bad;
}

bool share_takes(struct serving *s, struct conn *c, struct api_call *call,
                 enum api_next next)
{
    if (next != API_READ || call->blocking != API_BLOCK_INDEX ||
        call->index == 0 || call->request->method != HTTP_GET ||
        is_alone(call) || s->closing || !key_of(s, call))
        return false;
    struct share *h = map_get(&s->shares, buf_bytes(&s->scratch));
    struct shared_poll *p = calloc(1, sizeof *p);
    bool begins = p && !h;
    if (begins)
        h = share_new(s, buf_bytes(&s->scratch), call->request, call->index);
    if (!p || !h) {
        free(p);
        return false;
    }
    *p = (struct shared_poll){.share = h, .conn = c, .call = *call};
    p->timer.fire = on_late;
    p->due_ms = uv_now(&s->loop) + call->wait_ms;
    list_add(&h->polls, &p->link);
    metric_add(METRIC_HTTP_PARKED, 1);
    ((struct conn_state *)conn_user(c))->shared = p;
    timer_set(&s->timers, &p->timer, call->wait_ms + call->wait_ms / 16);
    if (begins)
        ask(h);
    return true;
}

void share_close(struct serving *s)
{
    size_t at = 0;
    void *h;

    while (!list_empty(&s->rounds))
        give_up(container_of(s->rounds.next, struct share, link));
    while (at = 0, map_next(&s->shares, &at, NULL, &h))
        give_up(h);
    map_fini(&s->shares);
}
