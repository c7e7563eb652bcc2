/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A stream, or one long poll after the other, at the server that answered last; when it does
 * not, at the next one. After all have failed, a pause that doubles, jittered,
 * so that clients do not come back together. A server that has event streams is
 * asked for one (feed.h) and not in a circle: it tells of each change, and of each
 * instance that leaves, so that nothing needs to be guessed. Names are looked up by c-ares:
 * libcurl would take a thread for it. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/impl.h"
#include "lb/draw.h"

enum { URL_MAX = 4096 };

void fetch_defaults(const struct muster *m, const struct server *server,
                    struct fetch_options *o)
{
    *o = (struct fetch_options){
        .unix_path = server->unix_path,
        .keep_connection = true,
        .tls_server_name = m->set.tls_server_name,
        .ca_file = m->set.ca_file,
        .cert_file = m->set.cert_file,
        .key_file = m->set.key_file,
        .ca_pem = buf_bytes(&m->set.ca_pem),
        .tls_skip_verify = m->set.tls_skip_verify,
        .body_keep_bytes = ROSTER_BODY_MAX,
        .body_refuse_larger = true,
    };
    /* The URL has an address, the certificate a name. */
    if (server->tls && !o->tls_server_name)
        o->tls_server_name = server->host;
    if (!server->tls)
        o->tls_server_name = NULL;
}

size_t auth_headers(const struct muster *m, struct fetch_header *ret)
{
    size_t n = 0;

    if (m->token)
        ret[n++] = (struct fetch_header){"X-Consul-Token", m->token};
    if (m->set.authorization)
        ret[n++] = (struct fetch_header){"Authorization", m->set.authorization};
    return n;
}

bool server_url(const struct server *server, const char *address,
                const char *target, char *ret, size_t size)
{
    int n;

    if (server->unix_path)
        n = snprintf(ret, size, "http://localhost%s", target);
    else
        n = snprintf(
            ret, size, strchr(address, ':') ? "%s://[%s]:%u%s" : "%s://%s:%u%s",
            server->tls ? "https" : "http", address, server->port, target);
    return n > 0 && (size_t)n < size;
}

static struct server *server_of(const struct origin *o)
{
    struct settings *set = &o->s->m->set;

    return &set->server[o->poll.server % set->servers];
}

static const char *server_name(const struct origin *o)
{
    const struct server *x = server_of(o);

    return x->host ? x->host : x->unix_path;
}

/* --- What came ----------------------------------------------------------- */

static uint64_t jittered(struct muster *m, uint64_t ms)
{
    return ms / 2 + lb_below(lb_draw(&m->random), (uint32_t)ms + 1);
}

static void again_in(struct origin *o, uint64_t ms)
{
    timer_set(&o->s->m->timers, &o->poll.again, ms);
}

/* The next server at once; after a whole round, a pause. */
static void failed(struct origin *o)
{
    struct poll *p = &o->poll;
    struct muster *m = o->s->m;

    atomic_store(&o->connected, false);
    atomic_fetch_add(&o->s->stats.failures, 1);
    p->server++;
    p->no_streams = false;
    p->failed_in_row++;
    if (p->failed_in_row % m->set.servers) {
        again_in(o, 1);
        return;
    }
    p->retry_ms = p->retry_ms ? p->retry_ms * 2 : RETRY_MIN_MS;
    p->retry_ms = p->retry_ms < RETRY_MAX_MS ? p->retry_ms : RETRY_MAX_MS;
    again_in(o, jittered(m, p->retry_ms));
}

static void not_used(struct origin *o, const char *why)
{
    atomic_fetch_add(&o->s->stats.bad_answers, 1);
    service_error(o->s, "the answer of %s about %s is not used: %s",
                  server_name(o), o->about, why);
}

/* Of another datacenter than asked for, or than the list in use: somebody else's
 * registry. */
static bool foreign(struct origin *o, const struct roster *r)
{
    struct bytes want = bytes_str(o->datacenter);
    char why[MUSTER_TEXT];

    if (!want.n && o->roster)
        want = o->roster->datacenter;
    if (!want.n || !r->datacenter.n || bytes_eq_fold(want, r->datacenter))
        return false;
    (void)snprintf(why, sizeof why,
                   o->datacenter[0]
                       ? "it is of datacenter %.*s, asked was %.*s"
                       : "it is of datacenter %.*s, the list in use of %.*s",
                   BYTES_ARG(bytes_head(r->datacenter, 64)),
                   BYTES_ARG(bytes_head(want, 64)));
    not_used(o, why);
    return true;
}

/* An index that fell, or is of another epoch: another life of the registry.
 * Another cluster: another registry. */
static bool another_life(const struct origin *o, uint64_t index,
                         struct bytes cluster)
{
    uint64_t was = o->poll.index;

    return (cluster.n && o->cluster[0] &&
            !bytes_eq(cluster, bytes_str(o->cluster))) ||
           index < was || (was && index >> EPOCH_SHIFT != was >> EPOCH_SHIFT);
}

/* index is the answer's, cluster is empty if it does not say. */
static bool use_list(struct origin *o, struct roster *take_r, uint64_t index,
                     struct bytes cluster, enum roster_trust trust)
{
    struct poll *p = &o->poll;

    if (foreign(o, take_r)) {
        roster_free(take_r);
        return false;
    }
    if (another_life(o, index, cluster))
        trust = ROSTER_DOUBTFUL;
    origin_beat(o);
    origin_cluster(o, cluster);
    if (o == &o->s->home)
        memcpy(o->s->m->cluster, o->cluster, sizeof o->s->m->cluster);
    p->index = index ? index : 1;
    atomic_store(&o->index, p->index);
    atomic_fetch_add(&o->s->stats.answers, 1);
    atomic_store(&o->connected, true);
    p->failed_in_row = 0;
    p->retry_ms = 0;
    origin_list(o, take_r, trust, MUSTER_REGISTRY);
    return true;
}

static bool took_list(struct origin *o, struct bytes body, uint64_t index)
{
    struct roster *roster = NULL;
    struct errtext t = {""};
    enum err e = roster_parse(body, &roster, &t);

    if (e == ERR_OK)
        return use_list(o, roster, index, bytes_of("", 0), ROSTER_LIST);
    not_used(o, e == ERR_NOMEM ? err_text(e) : t.s);
    return false;
}

static bool is_good(struct origin *o, const struct fetch_result *r)
{
    if (r->err != ERR_OK) {
        service_error(o->s, "%s does not answer about %s: %s", server_name(o),
                      o->about, r->text.s[0] ? r->text.s : err_text(r->err));
        return false;
    }
    if (r->status != 200) {
        service_error(o->s, "%s answers %.*s about %s: %.*s", server_name(o),
                      BYTES_ARG(r->status_line), o->about,
                      BYTES_ARG(bytes_head(r->body, 120)));
        origin_refused(o, r->status);
        return false;
    }
    return true;
}

/* Another server may have streams, and another life of the registry. */
static void end_stream(struct origin *o)
{
    struct poll *p = &o->poll;

    if (p->fetch)
        fetch_cancel(p->fetch);
    p->fetch = NULL;
    timer_clear(&o->s->m->timers, &p->again);
    timer_clear(&o->s->m->timers, &p->flush);
    client_feed_fini(&p->feed);
    client_feed_init(&p->feed);
}

/* What the stream says is whole goes into use here and not where it came in:
 * a callback of the program's may stop this very request. */
static void on_flush(struct timer *t)
{
    struct poll *p = container_of(t, struct poll, flush);
    struct origin *o = container_of(p, struct origin, poll);
    bool replaced = p->feed.replaced;
    struct roster *r = NULL;

    if (p->broken) {
        end_stream(o);
        buf_fini(&p->body);
        buf_init(&p->body, ROSTER_BODY_MAX);
        failed(o);
        return;
    }
    if (p->feed.foreign) { /* its changes are none to our list */
        end_stream(o);
        again_in(o, 1);
        return;
    }
    if (!p->feed.whole)
        return;
    if (client_feed_roster(&p->feed, &r) != ERR_OK) {
        timer_set(&o->s->m->timers, &p->flush, RETRY_MIN_MS);
        return;
    }
    if (!replaced) /* a single change, just now */
        origin_heard(o, true, 0);
    if (!use_list(o, r, p->feed.id, bytes_str(p->feed.cluster),
                  replaced ? ROSTER_LIST : ROSTER_TOLD)) {
        end_stream(o);
        failed(o);
    }
}

/* The request is ended outside of libcurl. */
static void give_up(struct origin *o, const char *why)
{
    not_used(o, why);
    o->poll.broken = true;
    timer_set(&o->s->m->timers, &o->poll.flush, 1);
}

/* A list that never gets whole keeps no server of the list from being asked. */
static bool is_endless(struct poll *p)
{
    uint64_t now_ms = mono_ms();

    if (p->feed.based && !p->feed.in_snapshot)
        p->part_ms = 0;
    else if (p->part_ms == 0)
        p->part_ms = now_ms;
    return p->part_ms && now_ms > p->part_ms + SNAPSHOT_MAX_MS;
}

/* muster answers with a stream, a Consul with a list: the first byte tells. */
static void on_first(struct origin *o, char first)
{
    struct poll *p = &o->poll;

    p->kind = strchr("[{< \t\r\nn", first) && first ? POLL_PLAIN : POLL_STREAM;
    p->part_ms = 0;
    if (p->kind == POLL_PLAIN) /* no beats: the whole of it, by then */
        timer_set(&o->s->m->timers, &p->again, POLL_TIMEOUT_MS);
    origin_head(o, fetch_head(p->fetch));
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct origin *o = ctx;
    struct poll *p = &o->poll;
    struct errtext t = {""};

    if (p->kind == POLL_UNKNOWN && piece.n)
        on_first(o, piece.p[0]);
    if (p->broken)
        return;
    if (p->kind == POLL_PLAIN) {
        buf_put(&p->body, piece);
        if (p->body.bad)
            give_up(o, "it is over 64 MiB, or memory is short");
        return;
    }
    enum err e = client_feed_push(&p->feed, piece, &t);
    timer_set(&o->s->m->timers, &p->again, STREAM_SILENT_MS);
    if (p->feed.callers_told) {
        p->feed.callers_told = false;
        service_callers(o->s, p->feed.callers);
    }
    if (e != ERR_OK)
        give_up(o, t.s[0] ? t.s : err_text(e));
    else if (is_endless(p))
        give_up(o, "it has no end");
    else if (p->feed.whole || p->feed.foreign)
        timer_set(&o->s->m->timers, &p->flush, 1);
    else if (p->feed.based)
        origin_beat(o);
}

static void on_list(struct origin *o, const struct fetch_result *r)
{
    struct poll *p = &o->poll;
    uint64_t was = p->index, took_ms = mono_ms() - p->asked_ms;

    p->no_streams = true;
    origin_head(o, r->head);
    bool used = took_list(o, buf_bytes(&p->body), r->consul_index);
    buf_fini(&p->body);
    buf_init(&p->body, ROSTER_BODY_MAX);
    if (!used) {
        failed(o);
        return;
    }
    if (p->streams_at_ms && mono_ms() >= p->streams_at_ms)
        p->no_streams = false; /* it may be mirrored by now */
    /* A server that does not wait must not be asked in a circle. */
    again_in(o, origin_rests(o) ? jittered(o->s->m, REST_MS)
                : was && p->index == was && took_ms < QUICK_MS ? QUICK_PAUSE_MS
                                                               : 1);
}

/* Streams about other datacenters are refused by servers that do not mirror them
 * (503, and 400 of who has none at all): their lists are asked for then, which
 * tell whether the datacenter can be reached. */
static bool has_no_stream(const struct origin *o, const struct fetch_result *r)
{
    return o->datacenter[0] && !o->poll.no_streams && r->err == ERR_OK &&
           (r->status == 400 || r->status == 503);
}

static void on_answer(void *ctx, const struct fetch_result *r)
{
    struct origin *o = ctx;
    struct poll *p = &o->poll;

    p->fetch = NULL;
    timer_clear(&o->s->m->timers, &p->again);
    if (has_no_stream(o, r)) {
        p->no_streams = true;
        p->streams_at_ms = r->status == 503
                               ? mono_ms() + jittered(o->s->m, STREAMS_AGAIN_MS)
                               : 0;
        again_in(o, 1);
    } else if (!is_good(o, r) || p->broken) {
        p->no_streams = false;
        buf_reset(&p->body);
        failed(o);
    } else if (p->kind == POLL_STREAM) {
        again_in(o, jittered(o->s->m, RETRY_MIN_MS)); /* it was ended: resume */
    } else {
        on_list(o, r);
    }
}

/* --- Asking -------------------------------------------------------------- */

/* A stream resumes at its own id, a long poll waits for another index. */
static bool make_url(struct origin *o, const char *address, char *url,
                     size_t size)
{
    struct poll *p = &o->poll;
    const char *mark = strchr(o->target, '?') ? "&" : "?";
    char target[URL_MAX], from[64] = "", rank[16] = "";
    bool callers = o == &o->s->home && o->s->callers && !p->no_streams;
    int n;

    if (callers && o->s->ranked) /* the place it had */
        (void)snprintf(rank, sizeof rank, "=%" PRIu32, o->s->rank);

    if (!p->no_streams && p->feed.based)
        (void)snprintf(from, sizeof from, "&index=%" PRIu64, p->feed.id);
    else if (p->no_streams && p->index && !origin_rests(o))
        (void)snprintf(from, sizeof from, "&index=%" PRIu64 "&wait=%ds",
                       p->index, POLL_WAIT_S);
    n = snprintf(target, sizeof target, "%s%sstale%s%s%s", o->target, mark,
                 from, callers ? o->s->callers : "", rank);
    return n > 0 && (size_t)n < sizeof target &&
           server_url(server_of(o), address, target, url, size);
}

static void ask(struct origin *o, const char *address)
{
    struct muster *m = o->s->m;
    struct poll *p = &o->poll;
    struct fetch_options f;
    struct fetch_header headers[1 + AUTH_HEADERS] = {
        {"Accept", "text/event-stream"}};
    char url[URL_MAX];
    bool stream = !p->no_streams;

    fetch_defaults(m, server_of(o), &f);
    if (!make_url(o, address, url, sizeof url)) {
        service_error(o->s, "the query of %s is over %d bytes", o->about,
                      URL_MAX);
        failed(o);
        return;
    }
    f.url = url;
    f.headers = stream ? headers : headers + 1;
    f.header_count = (stream ? 1U : 0U) + auth_headers(m, headers + 1);
    f.timeout_ms = stream ? 0 : p->index ? POLL_TIMEOUT_MS : FIRST_TIMEOUT_MS;
    f.keep_head = true;
    f.on_piece = on_piece;
    f.piece_ctx = o;
    p->asked_ms = mono_ms();
    p->kind = stream ? POLL_UNKNOWN : POLL_PLAIN;
    p->broken = false;
    buf_reset(&p->body);
    client_feed_again(&p->feed);
    enum err e = fetch_start(m->fetcher, &f, on_answer, o, &p->fetch);
    if (e != ERR_OK) {
        service_error(o->s, "cannot ask %s: %s", server_name(o), err_text(e));
        failed(o);
    } else if (stream) {
        again_in(o, FIRST_TIMEOUT_MS);
    }
}

static void ask_at(struct origin *o, const struct names_answer *a)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_storage *x;

    if (a->error) {
        service_error(o->s, "the server %s cannot be found: %s", server_name(o),
                      a->error);
        failed(o);
        return;
    }
    x = &a->addresses[lb_below(lb_draw(&o->s->m->random), (uint32_t)a->n)];
    if (x->ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)x)->sin_addr,
                        text, sizeof text);
    else
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)x)->sin6_addr,
                        text, sizeof text);
    ask(o, text);
}

static void on_name(struct lookup *l, const struct names_answer *a)
{
    struct poll *p = container_of(l, struct poll, lookup);

    ask_at(container_of(p, struct origin, poll), a);
}

static void ask_server(struct origin *o)
{
    const struct server *x = server_of(o);

    if (x->unix_path) {
        ask(o, "");
        return;
    }
    const struct names_answer *a =
        names_ask(o->s->m->names, x->host, &o->poll.lookup);
    if (a)
        ask_at(o, a);
}

static void on_again(struct timer *t)
{
    struct poll *p = container_of(t, struct poll, again);
    struct origin *o = container_of(p, struct origin, poll);

    if (p->fetch) {
        service_error(o->s, "%s has gone silent about %s", server_name(o),
                      o->about);
        fetch_cancel(p->fetch);
        p->fetch = NULL;
        failed(o);
        return;
    }
    ask_server(o);
}

void poll_start(struct origin *o)
{
    list_init(&o->poll.lookup.link);
    o->poll.lookup.done = on_name;
    o->poll.again.fire = on_again;
    o->poll.flush.fire = on_flush;
    o->poll.no_streams = false;
    again_in(o, 1);
}

void poll_now(struct origin *o)
{
    if (!o->poll.fetch && list_empty(&o->poll.lookup.link))
        again_in(o, 1);
}

void poll_stop(struct origin *o)
{
    struct muster *m = o->s->m;

    timer_clear(&m->timers, &o->poll.again);
    timer_clear(&m->timers, &o->poll.flush);
    names_forget(&o->poll.lookup);
    list_init(&o->poll.lookup.link);
    if (o->poll.fetch)
        fetch_cancel(o->poll.fetch);
    o->poll.fetch = NULL;
}
