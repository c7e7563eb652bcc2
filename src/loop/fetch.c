/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* libcurl tells which sockets it wants to hear of and when it wants to be
 * called; libuv watches and calls. Requests that have ended are collected after
 * each such call, never within one: the caller's done may start, cancel and
 * close as he likes. */
#include "loop/fetch.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "http/response.h"
#include "loop/fetch_impl.h"

struct fetcher {
    uv_loop_t *loop;
    CURLM *multi; /* NULL: nothing was asked for yet */
    uv_timer_t timer;
    uv_idle_t idle; /* a time-out of 0: after this turn's sockets, not before */
    struct list fetches;
    struct list watches;
    size_t handles;                  /* libuv's, open */
    CURL *easies[FETCH_EASIES_KEPT]; /* as new, for the next requests */
    size_t easy_n;
    struct loop_budget *budget; /* NULL: none */
    bool closing;
};

struct watch {
    uv_poll_t poll;
    struct fetcher *fetcher;
    struct list link;
    uint64_t round; /* of the budget */
    curl_socket_t fd;
};

static uv_once_t global_once = UV_ONCE_INIT;
static CURLcode global_code;

static void init_global(void)
{
    global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* --- libcurl's handles ---------------------------------------------------- */

static CURL *easy_get(struct fetcher *f)
{
    return f->easy_n ? f->easies[--f->easy_n] : curl_easy_init();
}

/* Making one is a third of a request's cost. One that failed is not used again:
 * it remembers the system's error. */
static void easy_put(struct fetcher *f, CURL *easy, bool went_well)
{
    if (!went_well || f->closing || f->easy_n == FETCH_EASIES_KEPT) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    f->easies[f->easy_n++] = easy;
}

/* --- The end of a request ------------------------------------------------- */

static void fetch_free(struct fetch *x)
{
    list_del(&x->link);
    if (x->easy) {
        if (x->fetcher->multi)
            (void)curl_multi_remove_handle(x->fetcher->multi, x->easy);
        easy_put(x->fetcher, x->easy, x->went_well);
    }
    curl_slist_free_all(x->headers);
    curl_slist_free_all(x->connect_to);
    fetch_free_answer(x);
    free(x);
}

void fetch_cancel(struct fetch *x)
{
    fetch_free(x);
}

void fetch_stop(struct fetch *x)
{
    x->stop = true;
}

/* libcurl counts what it handed to the socket, bodies too. */
static bool nothing_sent(const struct fetch *x)
{
    long head = 1;

    return curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &head) ==
               CURLE_OK &&
           head == 0;
}

static uint64_t waited_us(const struct fetch *x)
{
    /* Not from "pretransfer" on: libcurl notes that when it looks next, which may
     * be when the answer is there. */
    curl_off_t connected = 0, secured = 0, answered = 0;

    (void)curl_easy_getinfo(x->easy, CURLINFO_CONNECT_TIME_T, &connected);
    (void)curl_easy_getinfo(x->easy, CURLINFO_APPCONNECT_TIME_T, &secured);
    (void)curl_easy_getinfo(x->easy, CURLINFO_STARTTRANSFER_TIME_T, &answered);
    connected = connected > secured ? connected : secured;
    return answered > connected ? (uint64_t)(answered - connected) : 0;
}

static void report(struct fetch *x, CURLcode code)
{
    struct fetch_result r = {.err = ERR_OK};
    char line[FETCH_STATUS_LINE_MAX + 64];
    long status = 0;

    (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    r.status = (int)status;
    (void)snprintf(line, sizeof line, "%s", x->status_line);
    if (strlen(line) <= 3) /* without a reason */
        (void)snprintf(line, sizeof line, "%d %s", r.status,
                       http_reason(r.status));
    r.status_line = bytes_str(line);
    r.body = fetch_body(x);
    r.body_total_bytes = x->body_bytes;
    r.consul_index = x->consul_index;
    r.wait_us = waited_us(x);
    r.head = buf_bytes(&x->head);
    if (code != CURLE_OK) {
        r.err = fetch_error(x, code, &r.text);
        r.unsent = nothing_sent(x);
    }
    x->done(x->ctx, &r);
}

/* The caller's done runs for x, which can no longer be cancelled. */
static void collect(struct fetcher *f)
{
    CURLMsg *m;
    int left;

    while (!f->closing && (m = curl_multi_info_read(f->multi, &left))) {
        char *private = NULL;
        CURLcode code = m->data.result;

        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        struct fetch *x = (struct fetch *)private;
        /* Out of the list, so that closing from within done leaves it be. */
        list_del(&x->link);
        (void)curl_multi_remove_handle(f->multi, x->easy);
        x->went_well = code == CURLE_OK;
        report(x, code);
        fetch_free(x);
    }
}

/* --- libcurl on libuv ----------------------------------------------------- */

static void act(struct fetcher *f, curl_socket_t fd, int events)
{
    int running;

    (void)curl_multi_socket_action(f->multi, fd, events, &running);
    collect(f);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_idle(uv_idle_t *idle)
{
    (void)uv_idle_stop(idle);
    act(idle->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = container_of(poll, struct watch, poll);
    int flags = 0;

    if (!budget_take_turn(w->fetcher->budget, &w->round))
        return;
    /* libcurl finds out by itself what is wrong with the socket, and says it
     * better than if it is told that something is. */
    if (status < 0)
        flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(w->fetcher, w->fd, flags);
}

static int on_timeout_wish(CURLM *multi, long timeout_ms, void *arg)
{
    struct fetcher *f = arg;

    (void)multi;
    (void)uv_timer_stop(&f->timer);
    (void)uv_idle_stop(&f->idle);
    if (timeout_ms == 0)
        (void)uv_idle_start(&f->idle, on_idle);
    else if (timeout_ms > 0)
        (void)uv_timer_start(&f->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static void handle_closed(struct fetcher *f)
{
    if (--f->handles == 0)
        free(f);
}

static void on_watch_closed(uv_handle_t *h)
{
    struct watch *w = container_of((uv_poll_t *)h, struct watch, poll);
    struct fetcher *f = w->fetcher;

    free(w);
    handle_closed(f);
}

static void watch_end(struct watch *w)
{
    list_del(&w->link);
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static struct watch *watch_begin(struct fetcher *f, curl_socket_t fd)
{
    struct watch *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    if (uv_poll_init_socket(f->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    w->fetcher = f;
    w->fd = fd;
    list_add(&f->watches, &w->link);
    f->handles++;
    (void)curl_multi_assign(f->multi, fd, w);
    return w;
}

static int on_socket_wish(CURL *easy, curl_socket_t fd, int what, void *arg,
                          void *socket_arg)
{
    struct fetcher *f = arg;
    struct watch *w = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            (void)curl_multi_assign(f->multi, fd, NULL);
            watch_end(w);
        }
        return 0;
    }
    if (!w)
        w = watch_begin(f, fd);
    /* Without it the request ends when its time is over; an error here would
     * end all of them. */
    if (!w)
        return 0;
    if (what & CURL_POLL_IN)
        events |= UV_READABLE;
    if (what & CURL_POLL_OUT)
        events |= UV_WRITABLE;
    (void)uv_poll_start(&w->poll, events, on_poll);
    return 0;
}

/* --- The fetcher ---------------------------------------------------------- */

enum err fetcher_new(uv_loop_t *loop, struct fetcher **ret)
{
    struct fetcher *f = calloc(1, sizeof *f);

    if (!f)
        return ERR_NOMEM;
    f->loop = loop;
    list_init(&f->fetches);
    list_init(&f->watches);
    *ret = f;
    return ERR_OK;
}

void fetcher_set_budget(struct fetcher *f, struct loop_budget *b)
{
    f->budget = b;
}

enum { NEAR = 64 /* descriptors above the lowest free one */ };

/* Bytes that wait in a socket, on its way in or out; 0 for what is none. */
static bool holds_bytes(int fd)
{
    int in = 0, out = 0;

    return (ioctl(fd, FIONREAD, &in) == 0 && in > 0) ||
           (ioctl(fd, SIOCOUTQ, &out) == 0 && out > 0);
}

/* libcurl makes a pair of sockets to be woken by, and lets every program that is
 * started inherit it. It cannot be asked for them: but they are new, and a byte
 * is in them once it was woken, which nobody does otherwise. */
static CURLM *multi_new(void)
{
    int low = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    bool there[NEAR];

    if (low < 0)
        return curl_multi_init();
    (void)close(low);
    for (int i = 0; i < NEAR; i++)
        there[i] = fcntl(low + i, F_GETFD) >= 0;
    CURLM *m = curl_multi_init();
    if (!m || curl_multi_wakeup(m) != CURLM_OK)
        return m;
    for (int i = 0; i < NEAR; i++) {
        int flags = there[i] ? -1 : fcntl(low + i, F_GETFD);
        if (flags >= 0 && !(flags & FD_CLOEXEC) && holds_bytes(low + i))
            (void)fcntl(low + i, F_SETFD, FD_CLOEXEC);
    }
    return m;
}

static enum err first_use(struct fetcher *f)
{
    uv_once(&global_once, init_global);
    if (global_code != CURLE_OK)
        return ERR_NOMEM;
    CURLM *m = multi_new();
    if (!m)
        return ERR_NOMEM;
    if (curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, on_socket_wish) ||
        curl_multi_setopt(m, CURLMOPT_SOCKETDATA, f) ||
        curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, on_timeout_wish) ||
        curl_multi_setopt(m, CURLMOPT_TIMERDATA, f) ||
        curl_multi_setopt(m, CURLMOPT_MAXCONNECTS,
                          (long)FETCH_CONNECTIONS_KEPT) ||
        uv_timer_init(f->loop, &f->timer) || uv_idle_init(f->loop, &f->idle)) {
        (void)curl_multi_cleanup(m);
        return ERR_NOMEM;
    }
    f->timer.data = f;
    f->idle.data = f;
    f->handles += 2;
    f->multi = m;
    return ERR_OK;
}

static void on_timer_closed(uv_handle_t *h)
{
    handle_closed(container_of((uv_timer_t *)h, struct fetcher, timer));
}

static void on_idle_closed(uv_handle_t *h)
{
    handle_closed(container_of((uv_idle_t *)h, struct fetcher, idle));
}

void fetcher_close(struct fetcher *f)
{
    if (!f->multi) {
        free(f);
        return;
    }
    while (!list_empty(&f->fetches))
        fetch_free(container_of(f->fetches.next, struct fetch, link));
    while (f->easy_n)
        curl_easy_cleanup(f->easies[--f->easy_n]);
    (void)curl_multi_cleanup(f->multi); /* closes kept connections */
    f->multi = NULL;
    f->closing = true;
    while (!list_empty(&f->watches))
        watch_end(container_of(f->watches.next, struct watch, link));
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
    uv_close((uv_handle_t *)&f->idle, on_idle_closed);
}

enum err fetch_start(struct fetcher *f, const struct fetch_options *o,
                     void (*done)(void *ctx, const struct fetch_result *r),
                     void *ctx, struct fetch **ret)
{
    enum err e = f->multi ? ERR_OK : first_use(f);
    struct fetch *x = e == ERR_OK ? calloc(1, sizeof *x) : NULL;

    if (!x)
        return ERR_NOMEM;
    list_init(&x->link);
    x->fetcher = f;
    x->done = done;
    x->ctx = ctx;
    x->keep_bytes = o->body_keep_bytes;
    x->refuse_larger = o->body_refuse_larger;
    x->on_piece = o->on_piece;
    x->keep_head = o->keep_head;
    x->piece_ctx = o->piece_ctx;
    x->easy = easy_get(f);
    if (!x->easy)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = fetch_set_options(x, o);
    if (e == ERR_OK)
        e = fetch_set_answer(x);
    /* Only asks for a time-out of 0: nothing of it happens in here. */
    if (e == ERR_OK && curl_multi_add_handle(f->multi, x->easy) != CURLM_OK)
        e = ERR_NOMEM;
    if (e != ERR_OK) {
        fetch_free(x);
        return e;
    }
    list_add(&f->fetches, &x->link);
    if (ret)
        *ret = x;
    return ERR_OK;
}

/* --- In this thread ------------------------------------------------------- */

struct waited {
    bool over;
    enum err err;
    struct errtext text;
    int status;
    char *body;
    size_t n;
};

static void on_waited(void *ctx, const struct fetch_result *r)
{
    struct waited *w = ctx;

    w->over = true;
    w->err = r->err;
    w->text = r->text;
    w->status = r->status;
    if (r->err != ERR_OK)
        return;
    w->n = r->body.n;
    w->body = malloc(w->n + 1);
    if (!w->body) {
        w->err = ERR_NOMEM;
        errtext_set(&w->text, "out of memory for the answer");
        return;
    }
    if (w->n)
        memcpy(w->body, r->body.p, w->n);
    w->body[w->n] = '\0';
}

enum err fetch_wait(const struct fetch_options *o, int *ret_status,
                    char **ret_body, size_t *ret_n, struct errtext *t)
{
    uv_loop_t loop;
    struct fetcher *f;
    struct waited w = {0};

    if (uv_loop_init(&loop) != 0) {
        errtext_set(t, "cannot make an event loop");
        return ERR_NOMEM;
    }
    enum err e = fetcher_new(&loop, &f);
    if (e == ERR_OK) {
        e = fetch_start(f, o, on_waited, &w, NULL);
        while (e == ERR_OK && !w.over)
            (void)uv_run(&loop, UV_RUN_ONCE);
        fetcher_close(f);
    }
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    require(uv_loop_close(&loop) == 0);
    if (e != ERR_OK) {
        errtext_set(t, "%s", err_text(e));
        return e;
    }
    if (w.err != ERR_OK) {
        if (t)
            *t = w.text;
        return w.err;
    }
    *ret_status = w.status;
    *ret_body = w.body;
    *ret_n = w.n;
    return ERR_OK;
}
