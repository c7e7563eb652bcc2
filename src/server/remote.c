/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/remote.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/wan.h"
#include "base/alloc.h"
#include "http/response.h"
#include "loop/fetch.h"
#include "loop/peer.h"
#include "server/mirror_serve.h"

struct remote {
    struct list link; /* serving->remotes */
    struct serving *serving;
    struct conn *conn;
    struct fetch *fetch;
    struct api_call call;
    char dc[WAN_NAME_MAX + 1];
    char to[REMOTE_SERVERS_MAX][API_WAN_ADDRESS_MAX]; /* to be asked */
    size_t to_count, to_next;
    size_t failed;     /* failover: datacenters that were asked */
    uint32_t answered; /* bit i: the i-th has, that nobody is there */
    /* A write that was answered there: until the mirror has its revision. */
    const struct dc_mirror *of; /* NULL: does not wait */
    uint64_t revision;
    struct timer timer;
};

_Static_assert(API_FAILOVERS_MAX <= 32, "bits of answered");

static bool is_query(const struct remote *f)
{
    return f->call.failover_count > 0;
}

static void remote_free(struct remote *f)
{
    list_del(&f->link);
    if (f->conn)
        ((struct conn_state *)conn_user(f->conn))->remote = NULL;
    f->serving->outstanding--;
    if (f->of) {
        timer_clear(&f->serving->timers, &f->timer);
        serving_waits(f->serving, false);
    }
    api_call_fini(&f->call);
    free(f);
}

static void answer(struct remote *f)
{
    struct conn *c = f->conn;
    struct serving *s = f->serving;
    struct api_call call = f->call;

    api_call_init(&f->call);
    remote_free(f);
    serving_answer_call(s, c, &call, 1, call.request->accepts_gzip);
    api_call_fini(&call);
}

static void refuse(struct remote *f, int status, const char *text)
{
    buf_reset(&f->call.body);
    buf_reset(&f->call.extra_head);
    f->call.consul_headers = f->call.request->method == HTTP_GET;
    f->call.consistency = NULL;
    api_error(&f->call, status, "%s", text);
    answer(f);
}

static void refuse_stream(struct remote *f)
{
    struct api_call *c = &f->call;

    buf_reset(&c->body);
    buf_reset(&c->extra_head);
    c->consistency = NULL;
    api_error(c, 503,
              "Not mirrored here, or not just now (mirror.services, "
              "mirror.tags and mirror.max_bytes of this server), and streams "
              "are not passed on: wait with index, ask again in %s s, or ask "
              "a server of datacenter \"%s\"",
              REMOTE_STREAM_RETRY_S, f->dc);
    http_head_line(&c->extra_head, "Retry-After",
                   bytes_str(REMOTE_STREAM_RETRY_S));
    answer(f);
}

/* From the mirror, if it may be. */
static bool from_mirror(struct remote *f)
{
    struct serving *s = f->serving;
    struct conn *c = f->conn;
    struct conn_state *st = conn_user(c);

    st->remote = NULL; /* the next request may begin in there */
    serving_pin(s);
    bool took = mirror_serve(s, c, &f->call, true);
    serving_unpin(s);
    if (!took) {
        st->remote = f;
        return false;
    }
    if (f->fetch)
        fetch_cancel(f->fetch);
    f->conn = NULL;
    api_call_init(&f->call); /* it has moved */
    remote_free(f);
    return true;
}

/* --- Who is asked --------------------------------------------------------- */

/* Servers of the datacenter that answer, in an order that differs from request to
 * request. Pinned. *ret_known: there is such a datacenter. */
static void choose(struct remote *f, struct bytes dc, bool *ret_known)
{
    const struct api_wan *w = f->serving->env.wan;

    *ret_known = api_wan_dc(w, dc) != NULL;
    f->to_count = f->to_next = 0;
    if (!*ret_known)
        return;
    (void)snprintf(f->dc, sizeof f->dc, "%.*s", BYTES_ARG(dc));
    size_t n = api_wan_count(w, dc, true);
    f->serving->random = f->serving->random * 6364136223846793005u + 1;
    f->to_count = n < REMOTE_SERVERS_MAX ? n : REMOTE_SERVERS_MAX;
    for (size_t i = 0; i < f->to_count; i++)
        api_wan_address(w, dc, true, ((f->serving->random >> 33) + i) % n,
                        f->to[i]);
}

/* --- What comes back ------------------------------------------------------ */

static void ask_next(struct remote *f);
static void fail_over(struct remote *f);

/* Those that say what the answer is; the others were between the two servers. */
static void keep_lines(struct buf *out, struct bytes head)
{
    static const char *const names[] = {"X-Consul-", "X-Muster-", "X-Cache",
                                        "Content-Type:", "Allow:"};

    while (head.n) {
        size_t n = bytes_find(head, '\n');
        struct bytes line = bytes_head(head, n);
        head = bytes_skip(head, n + 1);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            struct bytes name = bytes_str(names[i]);
            if (!bytes_eq_fold(bytes_head(line, name.n), name))
                continue;
            buf_put(out, line);
            buf_puts(out, "\r\n");
            break;
        }
    }
}

static bool await_mirror(struct remote *f, struct bytes head);

/* The answer as it came. */
static void pass_on(struct remote *f, const struct fetch_result *r)
{
    struct api_call *c = &f->call;

    buf_reset(&c->body);
    buf_reset(&c->extra_head);
    buf_put(&c->body, r->body);
    keep_lines(&c->extra_head, r->head);
    c->status = r->status;
    c->content_type = NULL; /* is in the head */
    c->consul_headers = false;
    c->consistency = NULL;
    c->held = 0;
    if (c->request->method == HTTP_GET || c->status != 200 || is_query(f) ||
        !await_mirror(f, r->head))
        answer(f);
}

/* --- Writes --------------------------------------------------------------- */

static bool shows(const struct remote *f)
{
    return snapshot_revision(catalog_current(dc_mirror_catalog(f->of))) >=
           f->revision;
}

static void answer_shown(struct remote *f)
{
    http_head_line(&f->call.extra_head, "X-Muster-Mirror",
                   dc_mirror_name(f->of));
    answer(f);
}

static void on_late(struct timer *t)
{
    answer(container_of(t, struct remote, timer));
}

static uint64_t revision_of(struct bytes head)
{
    static const char name[] = REMOTE_REVISION_HEADER ":";
    uint64_t v = 0;

    while (head.n) {
        size_t n = bytes_find(head, '\n');
        struct bytes line = bytes_head(head, n);
        head = bytes_skip(head, n + 1);
        if (!bytes_eq_fold(bytes_head(line, sizeof name - 1), bytes_str(name)))
            continue;
        line = bytes_skip(line, sizeof name - 1);
        while (line.n && line.p[0] == ' ')
            line = bytes_skip(line, 1);
        while (line.n && line.p[line.n - 1] <= ' ')
            line.n--;
        return bytes_u64(line, &v) == ERR_OK ? v : 0;
    }
    return 0;
}

/* Who writes there and reads here finds what he wrote. True: it waits, or is
 * answered. */
static bool await_mirror(struct remote *f, struct bytes head)
{
    struct serving *s = f->serving;
    const struct dc_mirror *m = mirrors_find(s->process, bytes_str(f->dc));

    f->revision = revision_of(head);
    if (!f->revision || !m || !dc_mirror_has_all(m) || !dc_mirror_link_up(m))
        return false;
    serving_waits(s, true); /* from here on the mirror's versions are told */
    f->of = m;
    f->timer.fire = on_late;
    timer_set(&s->timers, &f->timer, REMOTE_MIRROR_MS);
    serving_pin(s);
    bool shown = shows(f);
    serving_unpin(s);
    if (shown)
        answer_shown(f);
    return true;
}

void remote_published(struct serving *s, const struct dc_mirror *of)
{
    list_each (it, &s->remotes) {
        struct remote *f = container_of(it, struct remote, link);
        if (f->of == of && shows(f))
            answer_shown(f);
    }
}

static bool has_nodes(struct bytes body)
{
    static const char none[] = "\"Nodes\":[]";

    return !memmem(body.p, body.n, none, sizeof none - 1);
}

static bool found_some(const struct fetch_result *r)
{
    return r->status == 200 && has_nodes(r->body);
}

/* A write that may have been carried out is not sent again. */
static bool may_repeat(const struct remote *f, const struct fetch_result *r)
{
    if (f->to_next >= f->to_count)
        return false;
    if (r->err != ERR_OK)
        return r->unsent || f->call.request->method == HTTP_GET || is_query(f);
    return r->status == 500 && f->call.request->method == HTTP_GET &&
           bytes_is(r->body, "No cluster leader");
}

static void done(void *ctx, const struct fetch_result *r)
{
    struct remote *f = ctx;

    f->fetch = NULL;
    if (may_repeat(f, r)) {
        ask_next(f);
        return;
    }
    if (is_query(f)) {
        if (r->err == ERR_OK && r->status == 200)
            f->answered |= UINT32_C(1) << (f->failed - 1);
        if (r->err == ERR_OK && found_some(r))
            pass_on(f, r);
        else
            fail_over(f);
        return;
    }
    if (r->err == ERR_OK) {
        pass_on(f, r);
        return;
    }
    if (from_mirror(f))
        return;
    char text[400];
    (void)snprintf(text, sizeof text,
                   r->err == ERR_TIMEOUT || !r->unsent
                       ? "rpc error making call: %s"
                       : "rpc error getting client: failed to get conn: %s",
                   r->text.s);
    refuse(f, 500, text);
}

/* --- Asking --------------------------------------------------------------- */

static uint32_t timeout_ms(const struct api_call *c)
{
    uint64_t ms = REMOTE_TIMEOUT_MS;

    if (c->blocking != API_BLOCK_NONE && (c->index || c->has_hash))
        ms += c->wait_ms + c->wait_ms / 16;
    return (uint32_t)ms;
}

static void ask_next(struct remote *f)
{
    struct serving *s = f->serving;
    const struct api_call *c = &f->call;
    struct buf target = {0};

    static const struct fetch_header forwarded = {API_FORWARDED_HEADER, "1"};
    struct peers *peers = serving_peers(s);

    if (!peers) {
        refuse(f, 500, "out of memory");
        return;
    }
    if (is_query(f))
        buf_printf(&target, "/v1/peer/query?%.*s&failovers=%zu",
                   BYTES_ARG(buf_bytes(&c->failover_params)), f->failed);
    else
        buf_put(&target, c->request->target);
    buf_putc(&target, 0);
    struct peer_request q = {
        .to = f->to[f->to_next++],
        .method = is_query(f) ? "PUT" : http_method_name(c->request->method),
        .target = target.p,
        .body = is_query(f) ? buf_bytes(&c->failover_body) : c->request->body,
        .timeout_ms = is_query(f) ? FAILOVER_TIMEOUT_MS : timeout_ms(c),
        .keep_head = true,
        .headers = &forwarded,
        .header_count = 1,
    };
    enum err e =
        target.bad ? ERR_NOMEM : peer_ask(peers, &q, done, f, &f->fetch);
    buf_fini(&target);
    if (e != ERR_OK)
        refuse(f, 500, "out of memory");
}

/* The query on what is here of a datacenter. Pinned. */
static bool execute_mirrored(struct remote *f, const struct dc_view *v)
{
    struct api_env own = serving_env(f->serving), there = own;
    struct api_self self = *own.self;
    struct api_call *c = &f->call;

    self.datacenter = v->datacenter;
    there.self = &self;
    there.cat = v->cat;
    c->failover_age_ms = v->age_ms;
    c->consistency = "stale";
    buf_reset(&c->body);
    api_query_mirrored(c, &own, &there);
    return c->status == 200 && has_nodes(buf_bytes(&c->body));
}

static void say_mirrored(struct api_call *c, const struct dc_view *v)
{
    http_head_line(&c->extra_head, "X-Muster-Mirror", v->datacenter);
    http_head_line(&c->extra_head, "X-Consul-Effective-Consistency",
                   bytes_str("stale"));
    http_head_u64(&c->extra_head, "X-Consul-Index", 1);
    http_head_line(&c->extra_head, "X-Consul-Knownleader", bytes_str("false"));
    http_head_u64(&c->extra_head, "X-Consul-Lastcontact", v->age_ms);
    c->consul_headers = false; /* those are of here */
}

/* No datacenter that answers has anybody: those that do not, as they were lately
 * (docs/api.md). True: somebody was there. */
static bool fall_back(struct remote *f)
{
    struct serving *s = f->serving;
    const struct process *p = s->process;
    const char *consistency = f->call.consistency;
    struct dc_view v;

    for (size_t i = 0; i < f->call.failover_count; i++) {
        if (f->answered >> i & 1 ||
            !mirrors_view_of(p, f->call.failover[i], f->call.failover_service,
                             &v) ||
            v.age_ms > mirrors_failover_age_max_ms(p) ||
            !execute_mirrored(f, &v))
            continue;
        say_mirrored(&f->call, &v);
        return true;
    }
    f->call.consistency = consistency;
    return false;
}

/* The next datacenter that answers; if there is none, one as it was lately; if
 * there is none either, what was found here: nobody. */
static void fail_over(struct remote *f)
{
    struct serving *s = f->serving;
    bool known;

    while (f->failed < f->call.failover_count) {
        serving_pin(s);
        choose(f, f->call.failover[f->failed++], &known);
        serving_unpin(s);
        if (f->to_count) {
            ask_next(f);
            return;
        }
    }
    serving_pin(s);
    struct api_env env = serving_env(s);
    f->call.failovers = f->failed;
    f->call.failover_over = true;
    if (!fall_back(f)) {
        buf_reset(&f->call.body);
        api_read(&f->call, &env);
    }
    serving_unpin(s);
    answer(f);
}

static size_t waiting_for(const struct serving *s, struct bytes dc)
{
    size_t n = 0;

    list_each (it, &s->remotes)
        n += bytes_is(dc, container_of(it, struct remote, link)->dc);
    return n;
}

struct link_letter {
    struct letter letter;
    const struct dc_mirror *of;
};

void remote_link_down(struct serving *s, const struct dc_mirror *of)
{
    struct link_letter *l = xzalloc(sizeof *l);

    l->letter.kind = LETTER_LINK;
    list_init(&l->letter.link);
    l->of = of;
    serving_post(s, &l->letter);
}

void remote_link_lost(struct serving *s, struct letter *take)
{
    struct link_letter *l = container_of(take, struct link_letter, letter);
    struct bytes dc = dc_mirror_name(l->of);

    list_each (it, &s->remotes) {
        struct remote *f = container_of(it, struct remote, link);
        if (f->fetch && f->conn && !is_query(f) && bytes_is(dc, f->dc))
            (void)from_mirror(f);
    }
    free(l);
}

void remote_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct remote *f = calloc(1, sizeof *f);
    struct bytes dc = call->forward;
    bool known;

    if (!f) {
        api_error(call, 500, "out of memory");
        serving_answer_call(s, c, call, 1, false);
        api_call_fini(call);
        return;
    }
    *f = (struct remote){.serving = s, .conn = c, .call = *call};
    list_add(&s->remotes, &f->link);
    s->outstanding++;
    ((struct conn_state *)conn_user(c))->remote = f;
    if (is_query(f)) {
        fail_over(f);
        return;
    }
    choose(f, dc, &known);
    if (!known)
        refuse(f, 500, "No path to datacenter");
    else if (f->to_count == 0 && from_mirror(f))
        return;
    else if (f->to_count == 0)
        refuse(f, 500, MIRROR_OVER);
    else if (f->call.forward_stream)
        refuse_stream(f);
    else if (waiting_for(s, dc) > REMOTES_MAX)
        refuse(f, 429,
               "Too many requests wait for this datacenter; try again "
               "shortly");
    else
        ask_next(f);
}

void remote_gone(struct conn_state *st)
{
    struct remote *f = st->remote;

    if (!f)
        return;
    if (f->fetch)
        fetch_cancel(f->fetch);
    remote_free(f);
}
