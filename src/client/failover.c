/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Which other datacenters a service is followed in: those named, or the nearest
 * ones, in the order of /v1/catalog/datacenters, which has the server's own
 * first. That order is asked for once for the whole handle, and then each
 * minute. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/request.h"
#include "http/json_scan.h"
#include "lb/draw.h"

enum {
    KNOWN_MAX = 64, /* datacenters that are looked at */
    NEAREST_RETRY_MS = 5000,
    NEAREST_TIMEOUT_MS = 5000,
};

struct nearest {
    struct request ask;
    struct timer again;
    size_t server, n;
    char name[KNOWN_MAX][DATACENTER_MAX + 1];
};

/* --- What is asked for --------------------------------------------------- */

static bool is_datacenter(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return name.n > 0 && name.n <= DATACENTER_MAX;
}

static void keep(char *to, struct bytes name)
{
    memcpy(to, name.p, name.n);
    to[name.n] = '\0';
}

static enum err add_name(struct failover *f, struct bytes name,
                         const char *home, struct errtext *t)
{
    if (!is_datacenter(name)) {
        errtext_set(
            t,
            "\"%.*s\" is no datacenter's name: 1 to %d letters, digits, "
            "- and _; or write nearest:N",
            BYTES_ARG(bytes_head(name, 80)), DATACENTER_MAX);
        return ERR_BAD;
    }
    bool twice = home && bytes_eq_fold(name, bytes_str(home));
    for (size_t i = 0; i < f->n; i++)
        twice |= bytes_eq_fold(name, bytes_str(f->name[i]));
    if (twice) {
        errtext_set(t, "failover names datacenter %.*s, which comes before",
                    BYTES_ARG(name));
        return ERR_BAD;
    }
    if (f->n == FAILOVER_MAX) {
        errtext_set(t, "failover to more than %d datacenters", FAILOVER_MAX);
        return ERR_LIMIT;
    }
    keep(f->name[f->n++], name);
    return ERR_OK;
}

static enum err take_nearest(struct bytes number, struct failover *ret,
                             struct errtext *t)
{
    uint64_t n = 0;

    if (bytes_u64(number, &n) != ERR_OK || n == 0 || n > FAILOVER_MAX) {
        errtext_set(t, "failover is nearest:%.*s, must be nearest:1 to %d",
                    BYTES_ARG(bytes_head(number, 40)), FAILOVER_MAX);
        return ERR_LIMIT;
    }
    ret->nearest = n;
    return ERR_OK;
}

enum err failover_parse(const char *text, const char *home,
                        struct failover *ret, struct errtext *t)
{
    struct bytes rest = bytes_str(text);
    struct failover f = {0};
    enum err e = ERR_OK;

    if (bytes_starts(rest, bytes_str("nearest:")))
        e = take_nearest(bytes_skip(rest, 8), &f, t);
    else
        while (e == ERR_OK && rest.n) {
            size_t comma = bytes_find(rest, ',');
            struct bytes name = bytes_head(rest, comma);
            while (name.n && name.p[0] == ' ')
                name = bytes_skip(name, 1);
            e = add_name(&f, name, home, t);
            rest = bytes_skip(rest, comma + 1);
        }
    if (e == ERR_OK)
        *ret = f;
    return e;
}

/* --- Whom to follow ------------------------------------------------------ */

static struct origin *find(const struct muster_service *s, const char *name)
{
    for (size_t i = 0; i < s->away_n; i++)
        if (strcmp(s->away[i]->datacenter, name) == 0)
            return s->away[i];
    return NULL;
}

static struct origin *make_origin(struct muster_service *s, const char *name)
{
    struct origin *o = calloc(1, sizeof *o);

    if (o && origin_init(o, s, name, 0) != ERR_OK) {
        origin_fini(o);
        free(o);
        o = NULL;
    }
    return o;
}

enum err failover_make(struct muster_service *s)
{
    for (size_t i = 0; i < s->failover.n; i++) {
        struct origin *o = make_origin(s, s->failover.name[i]);
        if (!o)
            return ERR_NOMEM;
        s->away[s->away_n++] = o;
        o->order = s->away_n;
    }
    return ERR_OK;
}

/* Are those followed that are named, and no others? */
static bool same_names(const struct muster_service *s, const char *const *name,
                       size_t n, bool in_order)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        const struct origin *o = find(s, name[i]);
        found += o && (!in_order || s->away[i] == o);
    }
    return n == s->away_n && found == n;
}

static void forget(struct origin *o)
{
    poll_stop(o);
    origin_fini(o);
    free(o);
}

static bool is_among(struct origin *const *v, size_t n, const struct origin *o)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] == o)
            return true;
    return false;
}

/* Traffic that is away stays where it is while only the order changes. */
static void follow(struct muster_service *s, const char *const *name, size_t n)
{
    struct origin *next[FAILOVER_MAX], *was[FAILOVER_MAX];
    size_t next_n = 0, was_n = s->away_n;

    if (same_names(s, name, n, true) ||
        (s->ready && s->needs_away && same_names(s, name, n, false)))
        return;
    for (size_t i = 0; i < n; i++) {
        struct origin *known = find(s, name[i]);
        struct origin *o = known ? known : make_origin(s, name[i]);
        if (!o) { /* the next answer about the order tries again */
            service_error(s, "no memory to follow %s in datacenter %s", s->name,
                          name[i]);
            continue;
        }
        next[next_n++] = o;
        if (!known)
            poll_start(o);
    }
    memcpy(was, s->away, was_n * sizeof *was);
    memcpy(s->away, next, next_n * sizeof *next);
    s->away_n = next_n;
    for (size_t i = 0; i < next_n; i++)
        next[i]->order = i + 1;
    if (s->ready && origins_use(s) == ERR_OK)
        service_changed(s);
    for (size_t i = 0; i < was_n; i++)
        if (!is_among(next, next_n, was[i]))
            forget(was[i]);
}

/* --- The nearest --------------------------------------------------------- */

/* The datacenter that is home is none to fail over to. */
static void follow_nearest(struct muster_service *s, const struct nearest *d)
{
    const char *home = s->m->set.datacenter;
    const char *name[FAILOVER_MAX];
    size_t n = 0;

    for (size_t i = 0; i < d->n && n < s->failover.nearest; i++)
        if (home ? strcmp(d->name[i], home) != 0 : i > 0)
            name[n++] = d->name[i];
    follow(s, name, n);
}

/* A list without a usable name changes nothing. */
static void parse_order(struct nearest *d, struct bytes body)
{
    struct bytes item;
    size_t n = 0;

    while (body.n && strchr(" \t\r\n", body.p[body.n - 1]))
        body.n--;
    if (body.n < 2 || body.p[0] != '[' || body.p[body.n - 1] != ']')
        return;
    body = json_inside(body);
    while (n < KNOWN_MAX && json_take(&body, &item) && item.n > 2) {
        struct bytes name = bytes_of(item.p + 1, item.n - 2);
        if (item.p[0] == '"' && is_datacenter(name))
            keep(d->name[n++], name);
    }
    d->n = n ? n : d->n;
}

static void take_order(struct muster *m, struct bytes body)
{
    struct nearest *d = m->nearest;

    parse_order(d, body);
    list_each (it, &m->services) {
        struct muster_service *s =
            container_of(it, struct muster_service, link);
        if (s->failover.nearest && d->n)
            follow_nearest(s, d);
    }
}

static void on_order(struct request *r, const struct fetch_result *result)
{
    struct muster *m = r->m;
    struct nearest *d = m->nearest;
    bool well = result->err == ERR_OK && result->status == 200;

    if (well) {
        take_order(m, result->body);
    } else {
        d->server++;
        handle_log(m, MUSTER_WARN,
                   "the order of the datacenters is not known: %s",
                   result->err == ERR_OK ? "no answer of 200" : result->text.s);
    }
    uint32_t ms = well && d->n ? NEAREST_MS : NEAREST_RETRY_MS;
    timer_set(&m->timers, &d->again,
              ms / 2 + lb_below(lb_draw(&m->random), ms));
}

static void ask_order(struct timer *t)
{
    struct nearest *d = container_of(t, struct nearest, again);
    struct muster *m = d->ask.m;

    d->ask.server = &m->set.server[d->server % m->set.servers];
    d->ask.target = "/v1/catalog/datacenters";
    d->ask.timeout_ms = NEAREST_TIMEOUT_MS;
    d->ask.done = on_order;
    request_start(&d->ask);
}

enum err failover_start(struct muster_service *s)
{
    struct muster *m = s->m;

    if (!s->failover.nearest)
        return ERR_OK;
    if (m->nearest) {
        if (m->nearest->n) /* else it is being asked for */
            follow_nearest(s, m->nearest);
        return ERR_OK;
    }
    m->nearest = calloc(1, sizeof *m->nearest);
    if (!m->nearest)
        return ERR_NOMEM;
    m->nearest->ask.m = m;
    m->nearest->again.fire = ask_order;
    timer_set(&m->timers, &m->nearest->again, 1);
    return ERR_OK;
}

void failover_close(struct muster *m)
{
    if (!m->nearest)
        return;
    request_stop(&m->nearest->ask);
    timer_clear(&m->timers, &m->nearest->again);
    free(m->nearest);
    m->nearest = NULL;
}
