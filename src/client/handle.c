/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/impl.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lb/draw.h"

/* How often this process was made by fork, seen from the first handle on: what
 * a handle remembers differs in a child. */
static _Atomic uint32_t forks;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    exit_lock();
    kept_lock();
}

static void in_parent(void)
{
    kept_unlock();
    exit_unlock();
}

static void in_child(void)
{
    in_parent();
    atomic_fetch_add(&forks, 1);
}

static void begin_once(void)
{
    (void)pthread_atfork(before_fork, in_parent, in_child);
    exit_prepare();
}

int handle_check(const struct muster *m)
{
    if (!m)
        return MUSTER_EINVAL;
    if (m->kept.magic != HANDLE_MAGIC)
        return MUSTER_ECLOSED;
    return m->forks == atomic_load_explicit(&forks, memory_order_relaxed)
               ? MUSTER_OK
               : MUSTER_EFORK;
}

int service_check(const struct muster_service *s)
{
    if (!s)
        return MUSTER_EINVAL;
    return s->kept.magic == SERVICE_MAGIC ? handle_check(s->m) : MUSTER_ECLOSED;
}

/* --- Errors, log, time --------------------------------------------------- */

const char *muster_version(void)
{
    return MUSTER_VERSION;
}

const char *muster_error_text(int error)
{
    switch ((enum muster_error)error) {
    case MUSTER_OK:
        return "ok";
    case MUSTER_ENOMEM:
        return "out of memory";
    case MUSTER_EINVAL:
        return "malformed or not allowed";
    case MUSTER_ELIMIT:
        return "over a limit";
    case MUSTER_ENONE:
        return "no instance may be picked";
    case MUSTER_EVOID:
        return "the ticket was reported or cancelled before";
    case MUSTER_EFORK:
        return "the handle belongs to the parent process; open another one "
               "after fork";
    case MUSTER_EBUSY:
        return "not from within a callback, or not in this mode";
    case MUSTER_ECLOSED:
        return "no such handle, or it was closed";
    case MUSTER_ETIMEOUT:
        return "not within the time given";
    case MUSTER_EREFUSED:
        return "the registry refused it";
    case MUSTER_ESYSTEM:
        return "a system call failed";
    }
    return "unknown error";
}

int error_of(enum err e)
{
    switch (e) {
    case ERR_OK:
        return MUSTER_OK;
    case ERR_NOMEM:
        return MUSTER_ENOMEM;
    case ERR_LIMIT:
    case ERR_FULL:
        return MUSTER_ELIMIT;
    case ERR_BAD:
    case ERR_EXISTS:
    case ERR_CORRUPT:
        return MUSTER_EINVAL;
    case ERR_NOT_FOUND:
        return MUSTER_ENONE;
    case ERR_CLOSED:
        return MUSTER_ECLOSED;
    case ERR_TIMEOUT:
        return MUSTER_ETIMEOUT;
    case ERR_REFUSED:
    case ERR_CONFLICT:
    case ERR_AGAIN:
    case ERR_LOCKED:
    case ERR_UNAVAILABLE:
    case ERR_UNKNOWN:
    case ERR_COMPACTED:
        return MUSTER_EREFUSED;
    case ERR_NOSPACE:
    case ERR_IO:
        return MUSTER_ESYSTEM;
    }
    return MUSTER_ESYSTEM;
}

void set_why(char *why, const char *text)
{
    if (why)
        (void)snprintf(why, MUSTER_TEXT, "%s", text);
}

uint64_t mono_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t day_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void handle_log(struct muster *m, enum muster_log_level level,
                const char *format, ...)
{
    char text[512];
    va_list args;

    if (!m->set.log)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    m->callbacks++;
    m->set.log(m->set.log_ctx, level, text);
    m->callbacks--;
}

/* --- Calls to the handle's thread ---------------------------------------- */

bool handle_is_here(const struct muster *m)
{
    return m->set.own_loop || atomic_load(&m->stopped) ||
           pthread_equal(pthread_self(), m->thread);
}

static void run_calls(void *ctx, struct list *take_items)
{
    struct muster *m = ctx;

    list_each (it, take_items) {
        struct call *c = container_of(it, struct call, link);
        c->run(m, c);
        (void)sem_post(&c->done); /* c is gone now */
    }
}

int handle_call(struct muster *m, struct call *c)
{
    if (handle_is_here(m)) {
        c->run(m, c);
        return c->result;
    }
    if (sem_init(&c->done, 0, 0) != 0)
        return MUSTER_ESYSTEM;
    if (queue_push(m->calls, &c->link) != ERR_OK) {
        (void)sem_destroy(&c->done);
        return MUSTER_ELIMIT;
    }
    while (sem_wait(&c->done) != 0 && errno == EINTR)
        ;
    (void)sem_destroy(&c->done);
    return c->result;
}

/* --- The loop ------------------------------------------------------------ */

static void on_beat(struct timer *t)
{
    struct muster *m = container_of(t, struct muster, beat);
    uint64_t now_ms = mono_ms();

    list_each (it, &m->services)
        service_beat(container_of(it, struct muster_service, link), now_ms);
    timer_set(&m->timers, &m->beat, BEAT_MS);
}

static void *run_loop(void *arg)
{
    struct muster *m = arg;

    (void)uv_run(&m->loop, UV_RUN_DEFAULT);
    return NULL;
}

/* Threads inherit the mask, so signals of the program never come here. */
static int start_thread(struct muster *m)
{
    sigset_t all, was;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &was);
    int e = pthread_create(&m->thread, NULL, run_loop, m);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
    return e;
}

static bool add_fd(int epoll_fd, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0;
}

/* One descriptor for all: libuv's own epoll knows no timers, so a timerfd stands
 * beside it. */
static bool open_own_loop(struct muster *m)
{
    m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    m->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return m->epoll_fd >= 0 && m->timer_fd >= 0 &&
           add_fd(m->epoll_fd, uv_backend_fd(&m->loop)) &&
           add_fd(m->epoll_fd, m->timer_fd);
}

static void arm_timer(struct muster *m)
{
    int ms = uv_backend_timeout(&m->loop);
    struct itimerspec t = {{0, 0}, {0, 0}};

    if (ms == 0)
        t.it_value.tv_nsec = 1; /* 0 would mean never */
    else if (ms > 0) {
        t.it_value.tv_sec = ms / 1000;
        t.it_value.tv_nsec = ms % 1000 * 1000000L;
    }
    (void)timerfd_settime(m->timer_fd, 0, &t, NULL);
}

int muster_fd(const struct muster *m)
{
    return handle_check(m) == MUSTER_OK && m->set.own_loop ? m->epoll_fd : -1;
}

/* A peer that is gone must not end the program: OpenSSL writes without
 * MSG_NOSIGNAL. A SIGPIPE that was pending before is left alone. */
static void process_quietly(struct muster *m)
{
    const struct timespec none = {0, 0};
    sigset_t pipe, was, pending;

    (void)sigemptyset(&pipe);
    (void)sigaddset(&pipe, SIGPIPE);
    (void)sigpending(&pending);
    (void)pthread_sigmask(SIG_BLOCK, &pipe, &was);
    (void)uv_run(&m->loop, UV_RUN_NOWAIT);
    if (!sigismember(&pending, SIGPIPE))
        (void)sigtimedwait(&pipe, NULL, &none);
    (void)pthread_sigmask(SIG_SETMASK, &was, NULL);
}

int muster_process(struct muster *m)
{
    uint64_t count;
    int e = handle_check(m);

    if (e != MUSTER_OK)
        return e;
    if (!m->set.own_loop || m->closing || m->callbacks)
        return MUSTER_EBUSY;
    if (read(m->timer_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        return MUSTER_ESYSTEM;
    budget_begin(&m->budget, PROCESS_EVENTS, PROCESS_NS);
    process_quietly(m);
    budget_end(&m->budget);
    arm_timer(m);
    return MUSTER_OK;
}

/* --- Opening and closing ------------------------------------------------- */

/* In the order in which they go again. */
static enum err open_parts(struct muster *m)
{
    enum err e = timers_init(&m->timers, &m->loop);

    if (e == ERR_OK)
        e = queue_new(&m->loop, CALLS_MAX, run_calls, m, &m->calls);
    if (e == ERR_OK)
        e = fetcher_new(&m->loop, &m->fetcher);
    if (e == ERR_OK)
        e = names_new(&m->loop, &m->timers, &m->names);
    if (e == ERR_OK && m->set.own_loop) {
        m->timers.budget = &m->budget;
        fetcher_set_budget(m->fetcher, &m->budget);
    }
    if (e == ERR_OK) {
        m->beat.fire = on_beat;
        timer_set(&m->timers, &m->beat, BEAT_MS);
    }
    return e;
}

static void close_parts(struct muster *m)
{
    while (!list_empty(&m->services)) {
        struct muster_service *s =
            container_of(m->services.next, struct muster_service, link);
        origins_stop(s);
        reconnect_stop(s);
        list_del(&s->link);
        service_free(s);
    }
    registrations_close(m);
    failover_close(m);
    if (m->names)
        names_close(m->names);
    if (m->fetcher)
        fetcher_close(m->fetcher);
    if (m->calls)
        queue_close(m->calls);
    timers_close(&m->timers);
}

static void close_call(struct muster *m, struct call *c)
{
    m->closing = true;
    close_parts(m);
    c->result = MUSTER_OK;
}

static void handle_free(struct muster *m)
{
    if (m->epoll_fd >= 0)
        close(m->epoll_fd);
    if (m->timer_fd >= 0)
        close(m->timer_fd);
    settings_free(&m->set);
    free(m->token);
    kept_free(KEPT_HANDLE, &m->kept);
}

static enum err open_loop(struct muster *m, struct errtext *t)
{
    int failed = uv_loop_init(&m->loop);

    if (failed) {
        errtext_set(t, "no event loop: %s", uv_strerror(failed));
        return failed == UV_ENOMEM ? ERR_NOMEM : ERR_IO;
    }
    enum err e = open_parts(m);
    if (e == ERR_OK && m->set.own_loop && !open_own_loop(m)) {
        errtext_set(t, "no epoll or timer descriptor: %s", strerror(errno));
        e = ERR_IO;
    }
    if (e == ERR_OK && !m->set.own_loop && (failed = start_thread(m))) {
        errtext_set(t, "no thread: %s", strerror(failed));
        e = ERR_IO;
    }
    if (e == ERR_OK)
        return ERR_OK;
    close_parts(m);
    (void)uv_run(&m->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&m->loop);
    return e;
}

static bool options_of(const struct muster_options *o,
                       struct muster_options *ret)
{
    muster_options_init(ret, sizeof *ret);
    return !o || sized_take(ret, sizeof *ret, o);
}

static enum err open_checked(const struct muster_options *o,
                             struct muster **ret, struct errtext *t)
{
    struct muster *m = kept_new(KEPT_HANDLE, sizeof *m);

    if (!m)
        return ERR_NOMEM;
    list_init(&m->services);
    list_init(&m->registrations);
    list_init(&m->threads);
    m->epoll_fd = m->timer_fd = -1;
    enum err e = settings_make(o, &m->set, &m->token, t);
    if (e == ERR_OK) {
        if (getrandom(&m->random, sizeof m->random, 0) < 0)
            m->random = mono_ms();
        e = open_loop(m, t);
    }
    if (e != ERR_OK) {
        handle_free(m);
        return e;
    }
    if (m->set.own_loop)
        arm_timer(m);
    m->forks = atomic_load(&forks);
    m->kept.magic = HANDLE_MAGIC;
    if (!m->set.own_loop)
        exit_watch(m);
    *ret = m;
    return ERR_OK;
}

int muster_open(const struct muster_options *o, struct muster **ret, char *why)
{
    struct muster_options mine;
    struct errtext t = {""};

    if (!ret || !options_of(o, &mine)) {
        set_why(why, ret ? SIZED_WRONG("muster_options_init")
                         : "no place for the handle (NULL)");
        return MUSTER_EINVAL;
    }
    (void)pthread_once(&once, begin_once);
    enum err e = open_checked(&mine, ret, &t);
    if (e != ERR_OK)
        set_why(why, t.s[0] ? t.s : err_text(e));
    return error_of(e);
}

/* Whether this is a callback: the loop runs it, and would free itself. */
static bool within_callback(const struct muster *m)
{
    return m->set.own_loop || atomic_load(&m->stopped)
               ? m->callbacks > 0
               : pthread_equal(pthread_self(), m->thread);
}

int muster_close(struct muster *m)
{
    struct call c = {.run = close_call};
    int e = m ? handle_check(m) : MUSTER_OK;

    if (!m || e == MUSTER_ECLOSED)
        return e;
    if (e == MUSTER_EFORK) {
        /* Thread and descriptors are the parent's; the child only forgets. */
        m->kept.magic = 0;
        return MUSTER_OK;
    }
    if (within_callback(m))
        return MUSTER_EBUSY;
    exit_forget(m);
    e = handle_call(m, &c);
    if (e != MUSTER_OK)
        return e;
    budget_begin(&m->budget, UINT32_MAX, UINT32_MAX);
    if (m->set.own_loop || atomic_load(&m->stopped))
        (void)uv_run(&m->loop, UV_RUN_DEFAULT);
    else
        (void)pthread_join(m->thread, NULL);
    (void)uv_loop_close(&m->loop);
    handle_free(m);
    return MUSTER_OK;
}

/* --- The token ----------------------------------------------------------- */

struct token_call {
    struct call call;
    char *take_token;
};

/* Requests under way carry the old one: they are made again. */
static void token_run(struct muster *m, struct call *c)
{
    struct token_call *t = container_of(c, struct token_call, call);

    free(m->token);
    m->token = t->take_token;
    list_each (it, &m->services)
        origins_again(container_of(it, struct muster_service, link));
    c->result = MUSTER_OK;
}

int muster_set_token(struct muster *m, const char *token)
{
    struct token_call c = {.call = {.run = token_run}};
    int e = handle_check(m);

    if (e != MUSTER_OK)
        return e;
    if (token && strpbrk(token, "\r\n"))
        return MUSTER_EINVAL;
    if (token && *token) {
        c.take_token = strdup(token);
        if (!c.take_token)
            return MUSTER_ENOMEM;
    }
    e = handle_call(m, &c.call);
    if (e != MUSTER_OK)
        free(c.take_token);
    return e;
}
