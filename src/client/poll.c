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

static struct server *server_of(struct muster_service *s)
{
    struct settings *set = &s->m->set;

    return &set->server[s->poll.server % set->servers];
}

static const char *server_name(struct muster_service *s)
{
    const struct server *x = server_of(s);

    return x->host ? x->host : x->unix_path;
}

/* --- What came ----------------------------------------------------------- */

static uint64_t jittered(struct muster *m, uint64_t ms)
{
    return ms / 2 + lb_below(lb_draw(&m->random), (uint32_t)ms + 1);
}

static void again_in(struct muster_service *s, uint64_t ms)
{
    timer_set(&s->m->timers, &s->poll.again, ms);
}

/* The next server at once; after a whole round, a pause. */
static void failed(struct muster_service *s)
{
    struct poll *p = &s->poll;

    atomic_store(&s->connected, false);
    atomic_fetch_add(&s->stats.failures, 1);
    p->server++;
    p->no_streams = false;
    p->failed_in_row++;
    if (p->failed_in_row % s->m->set.servers) {
        again_in(s, 1);
        return;
    }
    p->retry_ms = p->retry_ms ? p->retry_ms * 2 : RETRY_MIN_MS;
    p->retry_ms = p->retry_ms < RETRY_MAX_MS ? p->retry_ms : RETRY_MAX_MS;
    again_in(s, jittered(s->m, p->retry_ms));
}

/* Of another datacenter than the list in use: somebody else's registry. */
static bool foreign(const struct muster_service *s, const struct roster *r)
{
    return s->roster && s->roster->datacenter.n && r->datacenter.n &&
           !bytes_eq(s->roster->datacenter, r->datacenter);
}

static void not_used(struct muster_service *s, const char *why)
{
    atomic_fetch_add(&s->stats.bad_answers, 1);
    service_error(s, "the answer of %s about %s is not used: %s",
                  server_name(s), s->name, why);
}

/* An index that fell, or is of another epoch: another life of the registry.
 * Another cluster: another registry. */
static bool another_life(const struct muster_service *s, uint64_t index,
                         struct bytes cluster)
{
    uint64_t was = s->poll.index;

    return (cluster.n && s->cluster[0] &&
            !bytes_eq(cluster, bytes_str(s->cluster))) ||
           index < was || (was && index >> EPOCH_SHIFT != was >> EPOCH_SHIFT);
}

/* index is the answer's, cluster is empty if it does not say. */
static bool use_list(struct muster_service *s, struct roster *take_r,
                     uint64_t index, struct bytes cluster,
                     enum roster_trust trust)
{
    struct poll *p = &s->poll;
    char why[MUSTER_TEXT];

    if (foreign(s, take_r)) {
        (void)snprintf(why, sizeof why,
                       "it is of datacenter %.*s, the list in use of %.*s",
                       BYTES_ARG(bytes_head(take_r->datacenter, 64)),
                       BYTES_ARG(bytes_head(s->roster->datacenter, 64)));
        roster_free(take_r);
        not_used(s, why);
        return false;
    }
    if (another_life(s, index, cluster))
        trust = ROSTER_DOUBTFUL;
    service_cluster(s, cluster);
    memcpy(s->m->cluster, s->cluster, sizeof s->m->cluster);
    p->index = index ? index : 1;
    atomic_store(&s->index, p->index);
    atomic_store(&s->confirmed_ms, mono_ms());
    atomic_fetch_add(&s->stats.answers, 1);
    atomic_store(&s->connected, true);
    p->failed_in_row = 0;
    p->retry_ms = 0;
    service_list(s, take_r, trust, MUSTER_REGISTRY);
    return true;
}

static bool took_list(struct muster_service *s, struct bytes body,
                      uint64_t index)
{
    struct roster *roster = NULL;
    struct errtext t = {""};
    enum err e = roster_parse(body, &roster, &t);

    if (e == ERR_OK)
        return use_list(s, roster, index, bytes_of("", 0), ROSTER_LIST);
    not_used(s, e == ERR_NOMEM ? err_text(e) : t.s);
    return false;
}

static bool is_good(struct muster_service *s, const struct fetch_result *r)
{
    if (r->err != ERR_OK) {
        service_error(s, "%s does not answer about %s: %s", server_name(s),
                      s->name, r->text.s[0] ? r->text.s : err_text(r->err));
        return false;
    }
    if (r->status != 200) {
        service_error(s, "%s answers %.*s about %s: %.*s", server_name(s),
                      BYTES_ARG(r->status_line), s->name,
                      BYTES_ARG(bytes_head(r->body, 120)));
        return false;
    }
    return true;
}

/* Another server may have streams, and another life of the registry. */
static void end_stream(struct muster_service *s)
{
    struct poll *p = &s->poll;

    if (p->fetch)
        fetch_cancel(p->fetch);
    p->fetch = NULL;
    timer_clear(&s->m->timers, &p->again);
    timer_clear(&s->m->timers, &p->flush);
    client_feed_fini(&p->feed);
    client_feed_init(&p->feed);
}

/* What the stream says is whole goes into use here and not where it came in:
 * a callback of the program's may stop this very request. */
static void on_flush(struct timer *t)
{
    struct poll *p = container_of(t, struct poll, flush);
    struct muster_service *s = container_of(p, struct muster_service, poll);
    bool replaced = p->feed.replaced;
    struct roster *r = NULL;

    if (p->broken) {
        end_stream(s);
        buf_fini(&p->body);
        buf_init(&p->body, ROSTER_BODY_MAX);
        failed(s);
        return;
    }
    if (p->feed.foreign) { /* its changes are none to our list */
        end_stream(s);
        again_in(s, 1);
        return;
    }
    if (!p->feed.whole)
        return;
    if (client_feed_roster(&p->feed, &r) != ERR_OK) {
        timer_set(&s->m->timers, &p->flush, RETRY_MIN_MS);
        return;
    }
    if (!use_list(s, r, p->feed.id, bytes_str(p->feed.cluster),
                  replaced ? ROSTER_LIST : ROSTER_TOLD)) {
        end_stream(s);
        failed(s);
    }
}

/* The request is ended outside of libcurl. */
static void give_up(struct muster_service *s, const char *why)
{
    not_used(s, why);
    s->poll.broken = true;
    timer_set(&s->m->timers, &s->poll.flush, 1);
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
static void on_piece(void *ctx, struct bytes piece)
{
    struct muster_service *s = ctx;
    struct poll *p = &s->poll;
    struct errtext t = {""};

    if (p->kind == POLL_UNKNOWN && piece.n) {
        p->kind = strchr("[{< \t\r\nn", piece.p[0]) && piece.p[0] ? POLL_PLAIN
                                                                  : POLL_STREAM;
        p->part_ms = 0;
        if (p->kind == POLL_PLAIN) /* no beats: the whole of it, by then */
            timer_set(&s->m->timers, &p->again, POLL_TIMEOUT_MS);
    }
    if (p->broken)
        return;
    if (p->kind == POLL_PLAIN) {
        buf_put(&p->body, piece);
        if (p->body.bad)
            give_up(s, "it is over 64 MiB, or memory is short");
        return;
    }
    enum err e = client_feed_push(&p->feed, piece, &t);
    timer_set(&s->m->timers, &p->again, STREAM_SILENT_MS);
    if (p->feed.callers_told) {
        p->feed.callers_told = false;
        service_callers(s, p->feed.callers);
    }
    if (e != ERR_OK)
        give_up(s, t.s[0] ? t.s : err_text(e));
    else if (is_endless(p))
        give_up(s, "it has no end");
    else if (p->feed.whole || p->feed.foreign)
        timer_set(&s->m->timers, &p->flush, 1);
    else if (p->feed.based) /* a beat */
        atomic_store(&s->confirmed_ms, mono_ms());
}

static void on_list(struct muster_service *s, const struct fetch_result *r)
{
    struct poll *p = &s->poll;
    uint64_t was = p->index, took_ms = mono_ms() - p->asked_ms;

    p->no_streams = true;
    bool used = took_list(s, buf_bytes(&p->body), r->consul_index);
    buf_fini(&p->body);
    buf_init(&p->body, ROSTER_BODY_MAX);
    if (!used) {
        failed(s);
        return;
    }
    /* A server that does not wait must not be asked in a circle. */
    again_in(s,
             was && p->index == was && took_ms < QUICK_MS ? QUICK_PAUSE_MS : 1);
}

static void on_answer(void *ctx, const struct fetch_result *r)
{
    struct muster_service *s = ctx;
    struct poll *p = &s->poll;

    p->fetch = NULL;
    timer_clear(&s->m->timers, &p->again);
    if (!is_good(s, r) || p->broken) {
        p->no_streams = false;
        buf_reset(&p->body);
        failed(s);
    } else if (p->kind == POLL_STREAM) {
        again_in(s, jittered(s->m, RETRY_MIN_MS)); /* it was ended: resume */
    } else {
        on_list(s, r);
    }
}

/* --- Asking -------------------------------------------------------------- */

/* A stream resumes at its own id, a long poll waits for another index. */
static bool make_url(struct muster_service *s, const char *address, char *url,
                     size_t size)
{
    struct poll *p = &s->poll;
    const char *mark = strchr(s->target, '?') ? "&" : "?";
    char target[URL_MAX], from[64] = "", rank[16] = "";
    bool callers = s->callers && !p->no_streams;
    int n;

    if (callers && s->ranked) /* the place it had */
        (void)snprintf(rank, sizeof rank, "=%" PRIu32, s->rank);

    if (!p->no_streams && p->feed.based)
        (void)snprintf(from, sizeof from, "&index=%" PRIu64, p->feed.id);
    else if (p->no_streams && p->index)
        (void)snprintf(from, sizeof from, "&index=%" PRIu64 "&wait=%ds",
                       p->index, POLL_WAIT_S);
    n = snprintf(target, sizeof target, "%s%sstale%s%s%s", s->target, mark,
                 from, callers ? s->callers : "", rank);
    return n > 0 && (size_t)n < sizeof target &&
           server_url(server_of(s), address, target, url, size);
}

static void ask(struct muster_service *s, const char *address)
{
    struct poll *p = &s->poll;
    struct fetch_options o;
    struct fetch_header headers[1 + AUTH_HEADERS] = {
        {"Accept", "text/event-stream"}};
    char url[URL_MAX];
    bool stream = !p->no_streams;

    fetch_defaults(s->m, server_of(s), &o);
    if (!make_url(s, address, url, sizeof url)) {
        service_error(s, "the query of %s is over %d bytes", s->name, URL_MAX);
        failed(s);
        return;
    }
    o.url = url;
    o.headers = stream ? headers : headers + 1;
    o.header_count = (stream ? 1U : 0U) + auth_headers(s->m, headers + 1);
    o.timeout_ms = stream ? 0 : p->index ? POLL_TIMEOUT_MS : FIRST_TIMEOUT_MS;
    o.on_piece = on_piece;
    o.piece_ctx = s;
    p->asked_ms = mono_ms();
    p->kind = stream ? POLL_UNKNOWN : POLL_PLAIN;
    p->broken = false;
    buf_reset(&p->body);
    client_feed_again(&p->feed);
    enum err e = fetch_start(s->m->fetcher, &o, on_answer, s, &p->fetch);
    if (e != ERR_OK) {
        service_error(s, "cannot ask %s: %s", server_name(s), err_text(e));
        failed(s);
    } else if (stream) {
        again_in(s, FIRST_TIMEOUT_MS);
    }
}

static void ask_at(struct muster_service *s, const struct names_answer *a)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_storage *x;

    if (a->error) {
        service_error(s, "the server %s cannot be found: %s", server_name(s),
                      a->error);
        failed(s);
        return;
    }
    x = &a->addresses[lb_below(lb_draw(&s->m->random), (uint32_t)a->n)];
    if (x->ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)x)->sin_addr,
                        text, sizeof text);
    else
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)x)->sin6_addr,
                        text, sizeof text);
    ask(s, text);
}

static void on_name(struct lookup *l, const struct names_answer *a)
{
    struct poll *p = container_of(l, struct poll, lookup);

    ask_at(container_of(p, struct muster_service, poll), a);
}

static void ask_server(struct muster_service *s)
{
    const struct server *x = server_of(s);

    if (x->unix_path) {
        ask(s, "");
        return;
    }
    const struct names_answer *a =
        names_ask(s->m->names, x->host, &s->poll.lookup);
    if (a)
        ask_at(s, a);
}

static void on_again(struct timer *t)
{
    struct poll *p = container_of(t, struct poll, again);

    struct muster_service *s = container_of(p, struct muster_service, poll);

    if (p->fetch) {
        service_error(s, "%s has gone silent about %s", server_name(s),
                      s->name);
        fetch_cancel(p->fetch);
        p->fetch = NULL;
        failed(s);
        return;
    }
    ask_server(s);
}

void poll_start(struct muster_service *s)
{
    list_init(&s->poll.lookup.link);
    s->poll.lookup.done = on_name;
    s->poll.again.fire = on_again;
    s->poll.flush.fire = on_flush;
    s->poll.no_streams = false;
    again_in(s, 1);
}

void poll_stop(struct muster_service *s)
{
    timer_clear(&s->m->timers, &s->poll.again);
    timer_clear(&s->m->timers, &s->poll.flush);
    names_forget(&s->poll.lookup);
    list_init(&s->poll.lookup.link);
    if (s->poll.fetch)
        fetch_cancel(s->poll.fetch);
    s->poll.fetch = NULL;
}
