/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Registrations: at one agent, never at another (two agents would own two
 * copies). One that cannot be delivered is tried again until it can; one that
 * the agent refuses is told and left. While it stands it beats, three times in
 * each ttl; an agent that has forgotten it is told again. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/request.h"
#include "http/json_out.h"
#include "lb/draw.h"

enum {
    REQUEST_TIMEOUT_MS = 10000,
    AGAIN_MIN_MS = 250,
    AGAIN_MAX_MS = 10000,
    REPEAT_MS = 60000, /* without a ttl: in case the agent has forgotten */
    TTL_MIN_MS = 1000,
    BODY_MAX = 64 * 1024,
};

#define REGISTRATION_MAGIC 0x72656769u

enum state { WANTED, STANDS, REFUSED, LEAVING, LEFT };

struct muster_registration {
    uint32_t magic;
    struct list link;
    struct muster *m;
    struct request request;
    struct timer timer;
    char *id, *beat_target, *leave_target;
    struct buf body, beat_body;
    uint64_t ttl_ms;
    uint32_t again_ms;
    bool beating; /* the request under way is a beat */
    enum muster_health health;
    _Atomic int state;
    int fd; /* eventfd: readable when it stands, is refused, or has left */
    pthread_mutex_t text_mutex;
    char why[MUSTER_TEXT];
};

void muster_register_options_init(struct muster_register_options *o)
{
    if (o)
        *o = (struct muster_register_options){.size = sizeof *o, .weight = 1};
}

/* --- Bodies -------------------------------------------------------------- */

static const char *health_name(enum muster_health h)
{
    switch (h) {
    case MUSTER_PASSING:
        return "passing";
    case MUSTER_WARNING:
        return "warning";
    case MUSTER_CRITICAL:
        return "critical";
    }
    return "critical";
}

static void put_check(struct json_out *j,
                      const struct muster_register_options *o)
{
    char ttl[32];

    (void)snprintf(ttl, sizeof ttl, "%" PRIu64 "ms", o->ttl_ms);
    json_key(j, "Check");
    json_open(j, '{');
    json_key(j, "Name");
    json_str(j, bytes_str("beats of libmuster"));
    json_key(j, "TTL");
    json_str(j, bytes_str(ttl));
    json_key(j, "Status");
    json_str(j, bytes_str("passing"));
    json_close(j, '}');
}

static void put_body(struct buf *b, const char *id,
                     const struct muster_register_options *o)
{
    struct json_out j = json_out(b);

    json_open(&j, '{');
    json_key(&j, "ID");
    json_str(&j, bytes_str(id));
    json_key(&j, "Name");
    json_str(&j, bytes_str(o->name));
    json_key(&j, "Port");
    json_u64(&j, o->port);
    if (o->address) {
        json_key(&j, "Address");
        json_str(&j, bytes_str(o->address));
    }
    json_key(&j, "Tags");
    json_open(&j, '[');
    for (size_t i = 0; o->tags && o->tags[i]; i++)
        json_str(&j, bytes_str(o->tags[i]));
    json_close(&j, ']');
    if (o->zone) {
        json_key(&j, "Meta");
        json_open(&j, '{');
        json_key(&j, "zone");
        json_str(&j, bytes_str(o->zone));
        json_close(&j, '}');
    }
    json_key(&j, "Weights");
    json_open(&j, '{');
    json_key(&j, "Passing");
    json_u64(&j, o->weight);
    json_key(&j, "Warning");
    json_u64(&j, 1);
    json_close(&j, '}');
    if (o->ttl_ms)
        put_check(&j, o);
    json_close(&j, '}');
}

static void put_beat(struct muster_registration *r)
{
    struct json_out j = json_out(&r->beat_body);

    buf_reset(&r->beat_body);
    json_open(&j, '{');
    json_key(&j, "Status");
    json_str(&j, bytes_str(health_name(r->health)));
    json_close(&j, '}');
}

/* --- What comes back ----------------------------------------------------- */

static void tell(struct muster_registration *r, enum state s)
{
    const uint64_t one = 1;

    atomic_store(&r->state, s);
    (void)!write(r->fd, &one, sizeof one);
}

static void keep_why(struct muster_registration *r,
                     const struct fetch_result *x)
{
    char why[MUSTER_TEXT];

    if (x->err != ERR_OK)
        (void)snprintf(why, sizeof why, "%s", x->text.s);
    else
        (void)snprintf(why, sizeof why, "%.*s: %.*s", BYTES_ARG(x->status_line),
                       BYTES_ARG(bytes_head(x->body, 200)));
    pthread_mutex_lock(&r->text_mutex);
    memcpy(r->why, why, sizeof r->why);
    pthread_mutex_unlock(&r->text_mutex);
    handle_log(r->m, MUSTER_WARN, "registration of %s: %s", r->id, why);
}

static void again(struct muster_registration *r)
{
    r->again_ms = r->again_ms ? r->again_ms * 2 : AGAIN_MIN_MS;
    r->again_ms = r->again_ms < AGAIN_MAX_MS ? r->again_ms : AGAIN_MAX_MS;
    timer_set(&r->m->timers, &r->timer,
              r->again_ms / 2 +
                  lb_below(lb_draw(&r->m->random), r->again_ms + 1));
}

/* The agent's word that it will not take it, whoever asks again. 429 and 5xx are
 * no such word. */
static bool refused(const struct fetch_result *x)
{
    return x->err == ERR_OK && x->status >= 400 && x->status < 500 &&
           x->status != 429;
}

static void beat_later(struct muster_registration *r)
{
    timer_set(&r->m->timers, &r->timer, r->ttl_ms ? r->ttl_ms / 3 : REPEAT_MS);
}

static void after_register(struct muster_registration *r,
                           const struct fetch_result *x)
{
    if (x->err == ERR_OK && x->status == 200) {
        r->again_ms = 0;
        tell(r, STANDS);
        /* Its check begins as passing: say at once if it is not. */
        if (r->ttl_ms && r->health != MUSTER_PASSING)
            timer_set(&r->m->timers, &r->timer, 1);
        else
            beat_later(r);
        return;
    }
    keep_why(r, x);
    if (refused(x) && atomic_load(&r->state) == WANTED)
        tell(r, REFUSED);
    else
        again(r);
}

static void after_beat(struct muster_registration *r,
                       const struct fetch_result *x)
{
    if (x->err == ERR_OK && x->status == 200) {
        r->again_ms = 0;
        beat_later(r);
        return;
    }
    keep_why(r, x);
    /* It has answered and does not know the check: registered anew. */
    if (x->err == ERR_OK)
        atomic_store(&r->state, WANTED);
    again(r);
}

static void on_done(struct request *q, const struct fetch_result *x)
{
    struct muster_registration *r =
        container_of(q, struct muster_registration, request);

    if (atomic_load(&r->state) == LEAVING) {
        if (x->err != ERR_OK || (x->status != 200 && x->status != 404))
            keep_why(r, x);
        tell(r, LEFT);
    } else if (r->beating) {
        after_beat(r, x);
    } else {
        after_register(r, x);
    }
}

static void ask(struct muster_registration *r, const char *target,
                struct bytes body)
{
    r->request.method = "PUT";
    r->request.target = target;
    r->request.body = body;
    r->request.timeout_ms = REQUEST_TIMEOUT_MS;
    request_start(&r->request);
}

static void on_timer(struct timer *t)
{
    struct muster_registration *r =
        container_of(t, struct muster_registration, timer);

    if (r->request.busy)
        return;
    r->beating = atomic_load(&r->state) == STANDS && r->ttl_ms;
    if (!r->beating) {
        ask(r, "/v1/agent/service/register", buf_bytes(&r->body));
        return;
    }
    put_beat(r);
    ask(r, r->beat_target, buf_bytes(&r->beat_body));
}

/* --- Making one ---------------------------------------------------------- */

static void registration_free(struct muster_registration *r)
{
    r->magic = 0;
    free(r->id);
    free(r->beat_target);
    free(r->leave_target);
    buf_fini(&r->body);
    buf_fini(&r->beat_body);
    if (r->fd >= 0)
        close(r->fd);
    (void)pthread_mutex_destroy(&r->text_mutex);
    free(r);
}

void registrations_close(struct muster *m)
{
    while (!list_empty(&m->registrations)) {
        struct muster_registration *r = container_of(
            m->registrations.next, struct muster_registration, link);
        timer_clear(&m->timers, &r->timer);
        request_stop(&r->request);
        list_del(&r->link);
        registration_free(r);
    }
}

static char *target_of(const char *path, const char *id)
{
    struct buf b;

    buf_init(&b, 2000);
    buf_puts(&b, path);
    url_escape(&b, id);
    char *target = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return target;
}

static enum err check_options(const struct muster_register_options *o,
                              struct errtext *t)
{
    if (!o->name || !*o->name || strlen(o->name) > ROSTER_TEXT_MAX ||
        (o->id && strlen(o->id) > ROSTER_TEXT_MAX)) {
        errtext_set(t, "name and id of a registration have 1 to %d bytes",
                    ROSTER_TEXT_MAX);
        return ERR_BAD;
    }
    if (o->port == 0) {
        errtext_set(t, "%s is registered without a port: nobody could call it",
                    o->name);
        return ERR_BAD;
    }
    if (o->ttl_ms && o->ttl_ms < TTL_MIN_MS) {
        errtext_set(t,
                    "ttl_ms is %" PRIu64 ", must be 0 (no beats) or at least "
                    "%d",
                    o->ttl_ms, TTL_MIN_MS);
        return ERR_BAD;
    }
    return ERR_OK;
}

static enum err fill(struct muster_registration *r,
                     const struct muster_register_options *o)
{
    r->id = strdup(o->id ? o->id : o->name);
    if (!r->id)
        return ERR_NOMEM;
    r->beat_target = target_of("/v1/agent/check/update/service:", r->id);
    r->leave_target = target_of("/v1/agent/service/deregister/", r->id);
    buf_init(&r->body, BODY_MAX);
    buf_init(&r->beat_body, BODY_MAX);
    put_body(&r->body, r->id, o);
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!r->beat_target || !r->leave_target || r->body.bad)
        return ERR_NOMEM;
    return r->fd < 0 ? ERR_IO : ERR_OK;
}

static enum err registration_new(struct muster *m,
                                 const struct muster_register_options *o,
                                 struct muster_registration **ret,
                                 struct errtext *t)
{
    enum err e = check_options(o, t);
    if (e != ERR_OK)
        return e;

    struct muster_registration *r = calloc(1, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->fd = -1;
    r->m = m;
    r->ttl_ms = o->ttl_ms;
    r->timer.fire = on_timer;
    r->request = (struct request){.m = m, .done = on_done};
    r->request.server = m->set.agent.host || m->set.agent.unix_path
                            ? &m->set.agent
                            : &m->set.server[0];
    (void)pthread_mutex_init(&r->text_mutex, NULL);
    e = fill(r, o);
    if (e != ERR_OK) {
        registration_free(r);
        return e;
    }
    r->magic = REGISTRATION_MAGIC;
    *ret = r;
    return ERR_OK;
}

/* --- Calls --------------------------------------------------------------- */

struct registration_call {
    struct call call;
    struct muster_registration *r;
    enum muster_health health;
};

static void add_run(struct muster *m, struct call *c)
{
    struct muster_registration *r =
        container_of(c, struct registration_call, call)->r;

    list_add(&m->registrations, &r->link);
    timer_set(&m->timers, &r->timer, 1);
    c->result = MUSTER_OK;
}

static bool register_options_of(const struct muster_register_options *o,
                                struct muster_register_options *ret)
{
    muster_register_options_init(ret);
    if (!o || o->size < sizeof o->size || o->size > sizeof *o)
        return false;
    memcpy(ret, o, o->size);
    return true;
}

int muster_register(struct muster *m, const struct muster_register_options *o,
                    struct muster_registration **ret, char *why)
{
    struct registration_call c = {.call = {.run = add_run}};
    struct muster_register_options mine;
    struct errtext t = {""};
    int e = handle_check(m);

    if (e == MUSTER_OK && (!ret || !register_options_of(o, &mine)))
        e = MUSTER_EINVAL;
    if (e == MUSTER_OK)
        e = error_of(registration_new(m, &mine, &c.r, &t));
    if (e == MUSTER_OK) {
        e = handle_call(m, &c.call);
        if (e != MUSTER_OK)
            registration_free(c.r);
    }
    if (e == MUSTER_OK)
        *ret = c.r;
    else
        set_why(why, t.s[0] ? t.s : muster_error_text(e));
    return e;
}

static int registration_check(const struct muster_registration *r)
{
    if (!r)
        return MUSTER_EINVAL;
    return r->magic == REGISTRATION_MAGIC ? handle_check(r->m) : MUSTER_ECLOSED;
}

static int wait_for(int fd, uint64_t until)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    uint64_t now = mono_ms(), left = until > now ? until - now : 0, count;
    int n = poll(&p, 1, left < 1000000 ? (int)left : 1000000);

    if (n > 0)
        (void)!read(fd, &count, sizeof count);
    if (n < 0 && errno != EINTR)
        return MUSTER_ESYSTEM;
    return n > 0 || left > 0 ? MUSTER_OK : MUSTER_ETIMEOUT;
}

int muster_register_wait(struct muster_registration *r, uint64_t timeout_ms,
                         char *why)
{
    int e = registration_check(r);
    uint64_t until = mono_ms() + timeout_ms;

    while (e == MUSTER_OK) {
        int state = atomic_load(&r->state);
        if (state == STANDS)
            return MUSTER_OK;
        if (state != WANTED)
            e = state == REFUSED ? MUSTER_EREFUSED : MUSTER_ECLOSED;
        else if (handle_is_here(r->m))
            e = MUSTER_EBUSY; /* the loop must go on for it to change */
        else
            e = wait_for(r->fd, until);
    }
    if (why && (e == MUSTER_EREFUSED || e == MUSTER_ETIMEOUT)) {
        pthread_mutex_lock(&r->text_mutex);
        set_why(why, r->why[0] ? r->why : muster_error_text(e));
        pthread_mutex_unlock(&r->text_mutex);
    } else if (e != MUSTER_OK) {
        set_why(why, muster_error_text(e));
    }
    return e;
}

static void health_run(struct muster *m, struct call *c)
{
    struct registration_call *h =
        container_of(c, struct registration_call, call);

    h->r->health = h->health;
    if (atomic_load(&h->r->state) == STANDS && !h->r->request.busy)
        timer_set(&m->timers, &h->r->timer, 1);
    c->result = MUSTER_OK;
}

int muster_set_health(struct muster_registration *r, enum muster_health health)
{
    struct registration_call c = {
        .call = {.run = health_run}, .r = r, .health = health};
    int e = registration_check(r);

    if (e != MUSTER_OK)
        return e;
    if ((unsigned)health > MUSTER_CRITICAL || r->ttl_ms == 0)
        return MUSTER_EINVAL;
    return handle_call(r->m, &c.call);
}

static void leave_run(struct muster *m, struct call *c)
{
    struct muster_registration *r =
        container_of(c, struct registration_call, call)->r;
    int state = atomic_load(&r->state);

    c->result = MUSTER_OK;
    if (state == LEAVING || state == LEFT)
        return;
    timer_clear(&m->timers, &r->timer);
    request_stop(&r->request);
    atomic_store(&r->state, LEAVING);
    ask(r, r->leave_target, bytes_of("", 0));
}

int muster_deregister(struct muster_registration *r, uint64_t timeout_ms)
{
    struct registration_call c = {.call = {.run = leave_run}, .r = r};
    int e = registration_check(r);
    uint64_t until = mono_ms() + timeout_ms;

    if (e == MUSTER_OK)
        e = handle_call(r->m, &c.call);
    while (e == MUSTER_OK && atomic_load(&r->state) != LEFT) {
        if (handle_is_here(r->m))
            return MUSTER_OK; /* under way */
        e = wait_for(r->fd, until);
    }
    return e;
}
