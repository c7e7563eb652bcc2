/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* One long poll after the other, at the server that answered last; when it does
 * not, at the next one. After all have failed, a pause that doubles, jittered,
 * so that clients do not come back together. Names are looked up by c-ares:
 * libcurl would take a thread for it. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/impl.h"
#include "lb/draw.h"

enum { URL_MAX = 4096, HEADERS = 1 };

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
        .body_keep_bytes = ROSTER_BODY_MAX,
        .body_refuse_larger = true,
    };
    /* The URL has an address, the certificate a name. */
    if (server->tls && !o->tls_server_name)
        o->tls_server_name = server->host;
    if (!server->tls)
        o->tls_server_name = NULL;
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

static bool took_list(struct muster_service *s, const struct fetch_result *r)
{
    struct poll *p = &s->poll;
    struct roster *roster = NULL;
    struct errtext t;
    enum err e = roster_parse(r->body, &roster, &t);

    if (e == ERR_OK && foreign(s, roster)) {
        errtext_set(&t, "it is of datacenter %.*s, the list in use of %.*s",
                    BYTES_ARG(roster->datacenter),
                    BYTES_ARG(s->roster->datacenter));
        e = ERR_BAD;
        roster_free(roster);
    }
    if (e != ERR_OK) {
        if (e == ERR_NOMEM)
            errtext_set(&t, "%s", err_text(e));
        atomic_fetch_add(&s->stats.bad_answers, 1);
        service_error(s, "the answer of %s about %s is not used: %s",
                      server_name(s), s->name, t.s);
        return false;
    }
    /* An index that fell: another life of the registry, or another one. */
    bool doubtful = p->index && r->consul_index < p->index;
    p->index = r->consul_index ? r->consul_index : 1;
    atomic_store(&s->index, p->index);
    atomic_store(&s->confirmed_ms, mono_ms());
    service_list(s, roster, doubtful, MUSTER_REGISTRY);
    return true;
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

static void on_answer(void *ctx, const struct fetch_result *r)
{
    struct muster_service *s = ctx;
    struct poll *p = &s->poll;
    uint64_t was = p->index;
    uint64_t took_ms = mono_ms() - p->asked_ms;

    p->fetch = NULL;
    if (!is_good(s, r) || !took_list(s, r)) {
        failed(s);
        return;
    }
    p->failed_in_row = 0;
    p->retry_ms = 0;
    p->had_answer = true;
    atomic_store(&s->connected, true);
    atomic_fetch_add(&s->stats.answers, 1);
    /* A server that does not wait must not be asked in a circle. */
    again_in(s, p->index == was && took_ms < QUICK_MS ? QUICK_PAUSE_MS : 1);
}

/* --- Asking -------------------------------------------------------------- */

static void ask(struct muster_service *s, const char *address)
{
    struct poll *p = &s->poll;
    struct fetch_options o;
    struct fetch_header token = {"X-Consul-Token", s->m->token};
    char url[URL_MAX], target[URL_MAX];
    const char *mark = strchr(s->target, '?') ? "&" : "?";

    fetch_defaults(s->m, server_of(s), &o);
    (void)snprintf(target, sizeof target,
                   p->index ? "%s%sstale&index=%" PRIu64 "&wait=%ds"
                            : "%s%sstale",
                   s->target, mark, p->index, POLL_WAIT_S);
    if (!server_url(server_of(s), address, target, url, sizeof url)) {
        service_error(s, "the query of %s is over %d bytes", s->name, URL_MAX);
        failed(s);
        return;
    }
    o.url = url;
    o.headers = &token;
    o.header_count = s->m->token ? HEADERS : 0;
    o.timeout_ms = p->index ? POLL_TIMEOUT_MS : FIRST_TIMEOUT_MS;
    p->asked_ms = mono_ms();
    enum err e = fetch_start(s->m->fetcher, &o, on_answer, s, &p->fetch);
    if (e != ERR_OK) {
        service_error(s, "cannot ask %s: %s", server_name(s), err_text(e));
        failed(s);
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

    ask_server(container_of(p, struct muster_service, poll));
}

void poll_start(struct muster_service *s)
{
    list_init(&s->poll.lookup.link);
    s->poll.lookup.done = on_name;
    s->poll.again.fire = on_again;
    again_in(s, 1);
}

void poll_stop(struct muster_service *s)
{
    timer_clear(&s->m->timers, &s->poll.again);
    names_forget(&s->poll.lookup);
    list_init(&s->poll.lookup.link);
    if (s->poll.fetch)
        fetch_cancel(s->poll.fetch);
    s->poll.fetch = NULL;
}
