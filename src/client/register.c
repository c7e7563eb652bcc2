/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Registrations. At an agent: at one, never at another (two agents would own two
 * copies). One that cannot be delivered is tried again until it can; one that
 * the agent refuses is told and left. While it stands it beats, three times in
 * each ttl; an agent that has forgotten it is told again.
 *
 * Without an agent ("outside"): at whichever server answers, because all of them
 * have one catalog. A beat is the registration once more, which writes nothing
 * if nothing has changed; any server may hear it. Without beats muster removes
 * the instance after its ttl. A Consul would not, so a server is asked first
 * whether it is a muster. */
#include "client/register.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb/draw.h"

enum {
    REQUEST_TIMEOUT_MS = 10000,
    AGAIN_MIN_MS = 250,
    AGAIN_MAX_MS = 10000,
    REPEAT_MS = 60000, /* without a ttl: in case the agent has forgotten */
};

/* --- What comes back ----------------------------------------------------- */

static void tell(struct muster_registration *r, enum registration_state s)
{
    const uint64_t one = 1;

    atomic_store(&r->state, s);
    (void)!write(r->fd, &one, sizeof one);
}

static void keep_text(struct muster_registration *r, const char *why)
{
    pthread_mutex_lock(&r->text_mutex);
    (void)snprintf(r->why, sizeof r->why, "%s", why);
    pthread_mutex_unlock(&r->text_mutex);
    handle_log(r->m, MUSTER_WARN, "registration of %s: %s", r->o.id, why);
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
    keep_text(r, why);
}

/* Outside the next server at once, after a whole round a pause. */
static void again(struct muster_registration *r)
{
    r->is_muster = false;
    r->server++;
    r->failed_in_row++;
    if (r->outside && r->failed_in_row % r->m->set.servers) {
        timer_set(&r->m->timers, &r->timer, 1);
        return;
    }
    r->again_ms = r->again_ms ? r->again_ms * 2 : AGAIN_MIN_MS;
    r->again_ms = r->again_ms < AGAIN_MAX_MS ? r->again_ms : AGAIN_MAX_MS;
    timer_set(&r->m->timers, &r->timer,
              r->again_ms / 2 +
                  lb_below(lb_draw(&r->m->random), r->again_ms + 1));
}

static void went_well(struct muster_registration *r)
{
    r->again_ms = 0;
    r->failed_in_row = 0;
}

/* The word of who was asked that he will not take it, whoever asks again. 429
 * and 5xx are no such word. */
static bool refused(const struct fetch_result *x)
{
    return x->err == ERR_OK && x->status >= 400 && x->status < 500 &&
           x->status != 429;
}

static bool good(const struct fetch_result *x)
{
    return x->err == ERR_OK && x->status == 200;
}

static void beat_later(struct muster_registration *r)
{
    uint64_t ms = r->o.ttl_ms ? r->o.ttl_ms / 3 : REPEAT_MS;

    if (r->o.ttl_ms && r->told != r->health) /* it changed meanwhile */
        ms = 1;
    timer_set(&r->m->timers, &r->timer, ms);
}

static void ask_next(struct muster_registration *r);

static void after_who(struct muster_registration *r,
                      const struct fetch_result *x)
{
    const struct server *s = r->request.server;
    char why[MUSTER_TEXT];

    if (good(x)) {
        r->is_muster = true;
        ask_next(r);
        return;
    }
    if (x->err != ERR_OK || x->status != 404) {
        keep_why(r, x);
        again(r);
        return;
    }
    (void)snprintf(why, sizeof why,
                   "%s is no muster: nothing would remove %s there when it is "
                   "gone; register at an agent (node: NULL)",
                   s->host ? s->host : s->unix_path, r->o.id);
    keep_text(r, why);
    if (atomic_load(&r->state) == REGISTER_WANTED)
        tell(r, REGISTER_REFUSED);
    else
        again(r);
}

static void after_register(struct muster_registration *r,
                           const struct fetch_result *x)
{
    if (good(x)) {
        went_well(r);
        tell(r, REGISTER_STANDS);
        beat_later(r);
        return;
    }
    keep_why(r, x);
    if (refused(x) && atomic_load(&r->state) == REGISTER_WANTED)
        tell(r, REGISTER_REFUSED);
    else
        again(r);
}

static void after_beat(struct muster_registration *r,
                       const struct fetch_result *x)
{
    if (good(x)) {
        went_well(r);
        beat_later(r);
        return;
    }
    keep_why(r, x);
    /* An agent that answers and does not know the check: registered anew. */
    if (x->err == ERR_OK && !r->outside)
        atomic_store(&r->state, REGISTER_WANTED);
    again(r);
}

/* Outside each server may be asked for it, once. */
static void after_leave(struct muster_registration *r,
                        const struct fetch_result *x)
{
    if (good(x) || (x->err == ERR_OK && x->status == 404)) {
        tell(r, REGISTER_LEFT);
        return;
    }
    keep_why(r, x);
    r->server++;
    if (r->outside && ++r->failed_in_row < r->m->set.servers) {
        timer_set(&r->m->timers, &r->timer, 1);
        return;
    }
    atomic_store(&r->unheard, true);
    tell(r, REGISTER_LEFT);
}

static void on_done(struct request *q, const struct fetch_result *x)
{
    struct muster_registration *r =
        container_of(q, struct muster_registration, request);

    switch (r->step) {
    case STEP_ASK_WHO:
        after_who(r, x);
        return;
    case STEP_REGISTER:
        after_register(r, x);
        return;
    case STEP_BEAT:
        after_beat(r, x);
        return;
    case STEP_LEAVE:
        after_leave(r, x);
        return;
    }
}

/* --- What is asked ------------------------------------------------------- */

static const struct server *server_of(struct muster_registration *r)
{
    struct settings *set = &r->m->set;

    if (r->outside)
        return &set->server[r->server % set->servers];
    return set->agent.host || set->agent.unix_path ? &set->agent
                                                   : &set->server[0];
}

static enum registration_step next_step(const struct muster_registration *r)
{
    int state = atomic_load(&r->state);

    if (state == REGISTER_LEAVING)
        return STEP_LEAVE;
    if (r->outside && !r->is_muster)
        return STEP_ASK_WHO;
    return state == REGISTER_STANDS && r->o.ttl_ms ? STEP_BEAT : STEP_REGISTER;
}

static const char *target_of(const struct muster_registration *r)
{
    switch (r->step) {
    case STEP_ASK_WHO:
        return "/v1/muster/id";
    case STEP_REGISTER:
        return r->register_target;
    case STEP_BEAT:
        return r->beat_target;
    case STEP_LEAVE:
        return r->leave_target;
    }
    return NULL;
}

static void put_body(struct muster_registration *r)
{
    buf_reset(&r->body);
    switch (r->step) {
    case STEP_ASK_WHO:
        return;
    case STEP_REGISTER:
        register_put_body(&r->body, r);
        /* At an agent its check begins as passing. */
        r->told = r->outside ? r->health : MUSTER_PASSING;
        return;
    case STEP_BEAT:
        register_put_beat(&r->body, r);
        r->told = r->health;
        return;
    case STEP_LEAVE:
        register_put_leave(&r->body, r);
        return;
    }
}

static void ask_next(struct muster_registration *r)
{
    r->step = next_step(r);
    put_body(r);
    if (r->body.bad) { /* no memory: as if nobody had answered */
        buf_fini(&r->body);
        buf_init(&r->body, REGISTER_BODY_MAX);
        again(r);
        return;
    }
    r->request.server = server_of(r);
    r->request.method = r->step == STEP_ASK_WHO ? "GET" : "PUT";
    r->request.target = target_of(r);
    r->request.body = buf_bytes(&r->body);
    r->request.timeout_ms = REQUEST_TIMEOUT_MS;
    request_start(&r->request);
}

static void on_timer(struct timer *t)
{
    struct muster_registration *r =
        container_of(t, struct muster_registration, timer);

    if (!r->request.busy)
        ask_next(r);
}

/* --- From the calls ------------------------------------------------------ */

void register_begin(struct muster_registration *r)
{
    r->timer.fire = on_timer;
    r->request = (struct request){.m = r->m, .done = on_done};
    list_add(&r->m->registrations, &r->link);
    timer_set(&r->m->timers, &r->timer, 1);
}

void register_health(struct muster_registration *r, enum muster_health health)
{
    r->health = health;
    if (atomic_load(&r->state) == REGISTER_STANDS && !r->request.busy)
        timer_set(&r->m->timers, &r->timer, 1);
}

void register_leave(struct muster_registration *r)
{
    int state = atomic_load(&r->state);

    if (state == REGISTER_LEAVING || state == REGISTER_LEFT)
        return;
    timer_clear(&r->m->timers, &r->timer);
    request_stop(&r->request);
    r->failed_in_row = 0;
    atomic_store(&r->state, REGISTER_LEAVING);
    ask_next(r);
}

void register_free(struct muster_registration *take_r)
{
    free(take_r->text);
    free(take_r->register_target);
    free(take_r->beat_target);
    free(take_r->leave_target);
    buf_fini(&take_r->body);
    if (take_r->fd >= 0)
        close(take_r->fd);
    (void)pthread_mutex_destroy(&take_r->text_mutex);
    kept_free(KEPT_REGISTRATION, &take_r->kept);
}

void registrations_close(struct muster *m)
{
    while (!list_empty(&m->registrations)) {
        struct muster_registration *r = container_of(
            m->registrations.next, struct muster_registration, link);
        timer_clear(&m->timers, &r->timer);
        request_stop(&r->request);
        list_del(&r->link);
        register_free(r);
    }
}
