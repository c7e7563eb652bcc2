/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Registrations, as the program sees them. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/register.h"
#include "lb/share.h"

void muster_register_options_init(struct muster_register_options *o,
                                  size_t size)
{
    static const struct muster_register_options usual = {.weight = 1};

    sized_init(o, size, &usual, sizeof usual);
}

/* --- Making one ---------------------------------------------------------- */

static bool too_long(const char *text)
{
    return text && strlen(text) > ROSTER_TEXT_MAX;
}

static enum err check_outside(const struct muster_register_options *o,
                              struct errtext *t)
{
    if (!*o->node || too_long(o->node)) {
        errtext_set(t, "a node's name has 1 to %d bytes", ROSTER_TEXT_MAX);
        return ERR_BAD;
    }
    if (!o->address || !*o->address) {
        errtext_set(t,
                    "%s is registered without an agent and without an "
                    "address: nobody could call it",
                    o->name);
        return ERR_BAD;
    }
    if (o->ttl_ms < OUTSIDE_MIN_MS) {
        errtext_set(t,
                    "ttl_ms is %" PRIu64 ", must be at least %d without an "
                    "agent: nothing else would remove %s",
                    o->ttl_ms, OUTSIDE_MIN_MS, o->name);
        return ERR_BAD;
    }
    return ERR_OK;
}

static enum err check_options(const struct muster_register_options *o,
                              struct errtext *t)
{
    if (!o->name || !*o->name || too_long(o->name) || too_long(o->id)) {
        errtext_set(t, "name and id of a registration have 1 to %d bytes",
                    ROSTER_TEXT_MAX);
        return ERR_BAD;
    }
    if (too_long(o->address) || too_long(o->node_address) ||
        too_long(o->zone)) {
        errtext_set(t, "addresses and zone of %s have at most %d bytes",
                    o->name, ROSTER_TEXT_MAX);
        return ERR_LIMIT;
    }
    if (o->port == 0) {
        errtext_set(t, "%s is registered without a port: nobody could call it",
                    o->name);
        return ERR_BAD;
    }
    if (o->priority >= ROSTER_PRIORITIES) {
        errtext_set(t, "the priority of %s is %" PRIu32 ", must be 0 to %d",
                    o->name, o->priority, ROSTER_PRIORITIES - 1);
        return ERR_LIMIT;
    }
    if (o->node)
        return check_outside(o, t);
    if (o->ttl_ms && o->ttl_ms < BEATS_MIN_MS) {
        errtext_set(t,
                    "ttl_ms is %" PRIu64 ", must be 0 (no beats) or at least "
                    "%d",
                    o->ttl_ms, BEATS_MIN_MS);
        return ERR_BAD;
    }
    return ERR_OK;
}

static size_t room_of(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

static const char *put_text(char **at, const char *text)
{
    size_t n = room_of(text);
    char *to = *at;

    if (!text)
        return NULL;
    memcpy(to, text, n);
    *at += n;
    return to;
}

/* Everything that o points to, in one block: pointers of the tags first. */
static enum err copy_options(struct muster_registration *r,
                             const struct muster_register_options *o,
                             struct errtext *t)
{
    const char *id = o->id ? o->id : o->name;
    size_t tags = 0, n = 0;

    for (; o->tags && o->tags[tags]; tags++)
        n += room_of(o->tags[tags]);
    n += (tags + 1) * sizeof(char *) + room_of(o->name) + room_of(id) +
         room_of(o->address) + room_of(o->zone) + room_of(o->node) +
         room_of(o->node_address);
    if (n > REGISTER_TEXT_MAX) {
        errtext_set(
            t,
            "names, addresses and tags of %s have %zu bytes, at most %d "
            "are taken",
            o->name, n, REGISTER_TEXT_MAX);
        return ERR_LIMIT;
    }
    r->text = malloc(n);
    if (!r->text)
        return ERR_NOMEM;

    const char **tag = (const char **)(void *)r->text;
    char *at = (char *)(tag + tags + 1);
    r->o = *o;
    r->o.name = put_text(&at, o->name);
    r->o.id = put_text(&at, id);
    r->o.address = put_text(&at, o->address);
    r->o.zone = put_text(&at, o->zone);
    r->o.node = put_text(&at, o->node);
    r->o.node_address = put_text(&at, o->node_address);
    for (size_t i = 0; i < tags; i++)
        tag[i] = put_text(&at, o->tags[i]);
    tag[tags] = NULL;
    r->o.tags = tag;
    return ERR_OK;
}

static char *make_target(const char *path, const char *id, const char *dc)
{
    struct buf b;

    buf_init(&b, 3000);
    buf_puts(&b, path);
    if (id)
        url_escape(&b, id);
    if (dc) {
        buf_puts(&b, "?dc=");
        url_escape(&b, dc);
    }
    char *target = b.bad ? NULL : buf_take(&b, NULL);
    buf_fini(&b);
    return target;
}

static void make_targets(struct muster_registration *r)
{
    const char *dc = r->m->set.datacenter;

    if (r->outside) {
        r->register_target = make_target("/v1/catalog/register", NULL, dc);
        r->beat_target = make_target("/v1/catalog/register", NULL, dc);
        r->leave_target = make_target("/v1/catalog/deregister", NULL, dc);
        return;
    }
    r->register_target = make_target("/v1/agent/service/register", NULL, NULL);
    r->beat_target =
        make_target("/v1/agent/check/update/service:", r->o.id, NULL);
    r->leave_target =
        make_target("/v1/agent/service/deregister/", r->o.id, NULL);
}

static enum err registration_new(struct muster *m,
                                 const struct muster_register_options *o,
                                 struct muster_registration **ret,
                                 struct errtext *t)
{
    enum err e = check_options(o, t);
    if (e != ERR_OK)
        return e;

    struct muster_registration *r = kept_new(KEPT_REGISTRATION, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    r->fd = -1;
    r->m = m;
    r->outside = o->node != NULL;
    list_init(&r->link);
    (void)pthread_mutex_init(&r->text_mutex, NULL);
    buf_init(&r->body, REGISTER_BODY_MAX);
    e = copy_options(r, o, t);
    if (e == ERR_OK)
        make_targets(r);
    if (e == ERR_OK &&
        (!r->register_target || !r->beat_target || !r->leave_target))
        e = ERR_NOMEM;
    if (e == ERR_OK) {
        r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        e = r->fd < 0 ? ERR_IO : ERR_OK;
    }
    if (e != ERR_OK) {
        register_free(r);
        return e;
    }
    r->kept.magic = REGISTRATION_MAGIC;
    *ret = r;
    return ERR_OK;
}

/* --- Calls --------------------------------------------------------------- */

struct registration_call {
    struct call call;
    struct muster_registration *r;
    enum muster_health health;
};

static void begin_run(struct muster *m, struct call *c)
{
    (void)m;
    register_begin(container_of(c, struct registration_call, call)->r);
    c->result = MUSTER_OK;
}

int muster_register(struct muster *m, const struct muster_register_options *o,
                    struct muster_registration **ret, char *why)
{
    struct registration_call c = {.call = {.run = begin_run}};
    struct muster_register_options mine;
    struct errtext t = {""};
    int e = handle_check(m);

    muster_register_options_init(&mine, sizeof mine);
    if (e == MUSTER_OK && (!ret || !o || !sized_take(&mine, sizeof mine, o))) {
        errtext_set(&t, "%s", SIZED_WRONG("muster_register_options_init"));
        e = MUSTER_EINVAL;
    }
    if (e == MUSTER_OK)
        e = error_of(registration_new(m, &mine, &c.r, &t));
    if (e == MUSTER_OK) {
        e = handle_call(m, &c.call);
        if (e != MUSTER_OK)
            register_free(c.r);
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
    return r->kept.magic == REGISTRATION_MAGIC ? handle_check(r->m)
                                               : MUSTER_ECLOSED;
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
        if (state == REGISTER_STANDS)
            return MUSTER_OK;
        if (state != REGISTER_WANTED)
            e = state == REGISTER_REFUSED ? MUSTER_EREFUSED : MUSTER_ECLOSED;
        else if (handle_is_here(r->m))
            e = MUSTER_EBUSY; /* the loop must go on for it to change */
        else
            e = wait_for(r->fd, until);
    }
    if (why && (e == MUSTER_EREFUSED || e == MUSTER_ETIMEOUT)) {
        pthread_mutex_lock(&r->text_mutex);
        set_why(why, r->why[0] ? r->why : muster_error_text(e));
        pthread_mutex_unlock(&r->text_mutex);
    } else {
        set_why(why, muster_error_text(e));
    }
    return e;
}

static void health_run(struct muster *m, struct call *c)
{
    struct registration_call *h =
        container_of(c, struct registration_call, call);

    (void)m;
    register_health(h->r, h->health);
    c->result = MUSTER_OK;
}

int muster_set_health(struct muster_registration *r, enum muster_health health)
{
    struct registration_call c = {
        .call = {.run = health_run}, .r = r, .health = health};
    int e = registration_check(r);

    if (e != MUSTER_OK)
        return e;
    if ((unsigned)health > MUSTER_CRITICAL || r->o.ttl_ms == 0)
        return MUSTER_EINVAL;
    return handle_call(r->m, &c.call);
}

static void leave_run(struct muster *m, struct call *c)
{
    (void)m;
    register_leave(container_of(c, struct registration_call, call)->r);
    c->result = MUSTER_OK;
}

int muster_deregister(struct muster_registration *r, uint64_t timeout_ms)
{
    struct registration_call c = {.call = {.run = leave_run}, .r = r};
    int e = registration_check(r);
    uint64_t until = mono_ms() + timeout_ms;

    if (e == MUSTER_OK)
        e = handle_call(r->m, &c.call);
    while (e == MUSTER_OK && atomic_load(&r->state) != REGISTER_LEFT) {
        if (handle_is_here(r->m))
            return MUSTER_OK; /* under way */
        e = wait_for(r->fd, until);
    }
    return e == MUSTER_OK && atomic_load(&r->unheard) ? MUSTER_ETIMEOUT : e;
}
