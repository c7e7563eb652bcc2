/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Instances that could not be reached are connected to once a second, and come
 * back when a connection stands. Nothing is sent. */
#include <stdlib.h>
#include <string.h>

#include "client/impl.h"

enum { PROBES_MAX = 64 /* at once, of one handle */ };

struct probe {
    struct list link;
    struct muster_service *s; /* NULL: nobody waits any more */
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct lookup lookup;
    struct timer timeout;
    uint64_t id;
    uint16_t port;
};

static void probe_closed(uv_handle_t *h)
{
    free(h->data);
}

static void probe_end(struct probe *p)
{
    struct muster_service *s = p->s;

    if (!s)
        return;
    p->s = NULL;
    s->m->probes--;
    list_del(&p->link);
    names_forget(&p->lookup);
    list_init(&p->lookup.link);
    timer_clear(&s->m->timers, &p->timeout);
    uv_close((uv_handle_t *)&p->tcp, probe_closed);
}

static void on_connected(uv_connect_t *c, int status)
{
    struct probe *p = c->data;

    if (p->s && status == 0) {
        handle_log(p->s->m, MUSTER_INFO,
                   "an instance of %s can be reached again", p->s->name);
        lb_reachable(p->s->lb, p->id, mono_ms());
    }
    probe_end(p);
}

static void on_timeout(struct timer *t)
{
    probe_end(container_of(t, struct probe, timeout));
}

static void connect_to(struct probe *p, const struct names_answer *a)
{
    struct sockaddr_storage x;

    if (a->error) {
        probe_end(p);
        return;
    }
    x = a->addresses[0];
    if (x.ss_family == AF_INET)
        ((struct sockaddr_in *)&x)->sin_port = htons(p->port);
    else
        ((struct sockaddr_in6 *)&x)->sin6_port = htons(p->port);
    p->connect.data = p;
    if (uv_tcp_connect(&p->connect, &p->tcp, (struct sockaddr *)&x,
                       on_connected) != 0)
        probe_end(p);
}

static void on_name(struct lookup *l, const struct names_answer *a)
{
    connect_to(container_of(l, struct probe, lookup), a);
}

static bool is_probed(const struct muster_service *s, uint64_t id)
{
    for (struct list *it = s->probes.next; it != &s->probes; it = it->next)
        if (container_of(it, struct probe, link)->id == id)
            return true;
    return false;
}

static void probe_one(void *ctx, const struct lb_endpoint_state *e)
{
    struct muster_service *s = ctx;
    struct probe *p;
    char host[LB_TEXT_MAX + 1];

    if (!e->unreachable || s->m->probes >= PROBES_MAX || is_probed(s, e->id))
        return;
    p = calloc(1, sizeof *p);
    if (!p || uv_tcp_init(&s->m->loop, &p->tcp) != 0) {
        free(p);
        return;
    }
    p->tcp.data = p;
    p->s = s;
    p->id = e->id;
    p->port = e->port;
    p->timeout.fire = on_timeout;
    p->lookup.done = on_name;
    list_init(&p->lookup.link);
    list_add(&s->probes, &p->link);
    s->m->probes++;
    timer_set(&s->m->timers, &p->timeout, PROBE_TIMEOUT_MS);
    memcpy(host, e->address.p, e->address.n);
    host[e->address.n] = '\0';
    const struct names_answer *a = names_ask(s->m->names, host, &p->lookup);
    if (a)
        connect_to(p, a);
}

void reconnect_start(struct muster_service *s, uint64_t now_ms)
{
    struct lb_state st;

    lb_get_state(s->lb, &st);
    if (st.unreachable == 0 || now_ms < s->probe_ms + PROBE_EVERY_MS)
        return;
    s->probe_ms = now_ms;
    lb_each(s->lb, now_ms, probe_one, s);
}

void reconnect_stop(struct muster_service *s)
{
    while (!list_empty(&s->probes))
        probe_end(container_of(s->probes.next, struct probe, link));
}
