/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The run is over when the process is reaped and its output is at its end. A
 * child that it left behind may hold the output open: there is a DRAIN_MS for
 * that. */
#include "server/handler.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/duration.h"
#include "base/list.h"
#include "config/watch_def.h"

enum { DRAIN_MS = 200, READ_BYTES = 4096 };

struct handler {
    struct timers *timers;
    handler_done_fn done; /* NULL: told, or cancelled */
    void *ctx;
    uv_process_t process;
    uv_pipe_t in, out;
    uv_write_t write;
    struct timer timer;
    uint64_t timeout_ms;
    int open; /* handles that are */
    bool process_open, exited, timed_out;
    int64_t status;
    int signal;
    int start_error; /* libuv's; 0: it runs */
    char *input;
    char output[HANDLER_OUTPUT_MAX];
    size_t output_n;
    char chunk[READ_BYTES];
    char program[64];
};

/* --- The end -------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct handler *h = handle->data;
    if (--h->open > 0)
        return;
    timer_clear(h->timers, &h->timer);
    free(h->input);
    free(h);
}

static void close_one(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static const char *verdict(const struct handler *h, char *text, size_t n)
{
    struct buf took = {0};

    if (h->start_error) {
        snprintf(text, n, "%s: %s", h->program, uv_strerror(h->start_error));
    } else if (h->timed_out) {
        duration_print(&took, (int64_t)h->timeout_ms * NS_PER_MS);
        snprintf(text, n, "timed out (%.*s): killed",
                 BYTES_ARG(buf_bytes(&took)));
        buf_fini(&took);
    } else if (h->signal) {
        snprintf(text, n, "signal: %s", strsignal(h->signal));
    } else if (h->status) {
        snprintf(text, n, "exit status %" PRId64, h->status);
    } else {
        return NULL;
    }
    return text;
}

/* Once: handles close afterwards. */
static void finish(struct handler *h)
{
    char text[160];
    handler_done_fn done = h->done;

    h->done = NULL;
    if (done)
        done(h->ctx, verdict(h, text, sizeof text),
             bytes_of(h->output, h->output_n));
    timer_clear(h->timers, &h->timer);
    close_one((uv_handle_t *)&h->in);
    close_one((uv_handle_t *)&h->out);
    if (h->process_open)
        close_one((uv_handle_t *)&h->process);
}

static void kill_group(const struct handler *h)
{
    /* 0 and -1 would be groups of our own making: all of us, and everybody. */
    require(h->process.pid > 1);
    (void)kill(-h->process.pid, SIGKILL);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct handler *h = container_of(process, struct handler, process);

    h->exited = true;
    h->status = status;
    h->signal = signal;
    if (uv_is_closing((uv_handle_t *)&h->out) || !h->done)
        finish(h);
    else
        timer_set(h->timers, &h->timer, DRAIN_MS);
}

static void on_time(struct timer *t)
{
    struct handler *h = container_of(t, struct handler, timer);

    if (h->start_error || h->exited) {
        finish(h);
        return;
    }
    h->timed_out = true;
    kill_group(h); /* on_exit_of follows */
}

void handler_cancel(struct handler *h)
{
    h->done = NULL;
    if (h->start_error || h->exited) {
        finish(h);
        return;
    }
    timer_clear(h->timers, &h->timer);
    kill_group(h);
}

/* --- Input and output ----------------------------------------------------- */

/* A program that does not read its input has seen enough. */
static void on_written(uv_write_t *write, int status)
{
    struct handler *h = container_of(write, struct handler, write);
    (void)status;
    close_one((uv_handle_t *)&h->in);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret)
{
    struct handler *h = container_of(handle, struct handler, out);
    (void)size;
    *ret = uv_buf_init(h->chunk, sizeof h->chunk);
}

static void keep(struct handler *h, const char *p, size_t n)
{
    if (n > HANDLER_OUTPUT_MAX) {
        p += n - HANDLER_OUTPUT_MAX;
        n = HANDLER_OUTPUT_MAX;
    }
    if (h->output_n + n > HANDLER_OUTPUT_MAX) {
        size_t drop = h->output_n + n - HANDLER_OUTPUT_MAX;
        memmove(h->output, h->output + drop, h->output_n - drop);
        h->output_n -= drop;
    }
    memcpy(h->output + h->output_n, p, n);
    h->output_n += n;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct handler *h = container_of(stream, struct handler, out);

    if (n > 0)
        keep(h, buf->base, (size_t)n);
    if (n >= 0)
        return;
    close_one((uv_handle_t *)&h->out);
    if (h->exited)
        finish(h);
}

/* --- Starting ------------------------------------------------------------- */

/* The environment with CONSUL_INDEX; the list is heap memory, index_text is the
 * caller's. */
static char **environment(char *index_text)
{
    size_t n = 0, kept = 0;

    while (environ[n])
        n++;
    char **all = xmalloc((n + 2) * sizeof *all);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "CONSUL_INDEX=", 13) != 0)
            all[kept++] = environ[i];
    all[kept++] = index_text;
    all[kept] = NULL;
    return all;
}

static int spawn(struct handler *h, const struct config_strings *args,
                 uint64_t index, int out_fd)
{
    char index_text[40];
    char *words[WATCH_ARGS_MAX + 1];

    require(args->n > 0 && args->n <= WATCH_ARGS_MAX);
    for (size_t i = 0; i < args->n; i++)
        words[i] = (char *)args->v[i]; /* execve changes nothing */
    words[args->n] = NULL;
    snprintf(index_text, sizeof index_text, "CONSUL_INDEX=%" PRIu64, index);
    char **env = environment(index_text);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE,
         .data.stream = (uv_stream_t *)&h->in},
        {.flags = UV_INHERIT_FD, .data.fd = out_fd},
        {.flags = UV_INHERIT_FD, .data.fd = out_fd},
    };
    const uv_process_options_t o = {
        .exit_cb = on_exit_of,
        .file = words[0],
        .args = words,
        .env = env,
        .flags = UV_PROCESS_DETACHED, /* setsid: a group of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    int e = uv_spawn(h->in.loop, &h->process, &o);
    h->process_open = true; /* after a failure too: it has to be closed */
    h->open++;
    free(env);
    return e;
}

/* 0, or libuv's error. */
static int begin(struct handler *h, const struct config_strings *args,
                 uint64_t index, size_t n)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return uv_translate_sys_error(errno);
    int e = uv_pipe_open(&h->out, fds[0]);
    if (e != 0)
        close(fds[0]);
    if (e == 0)
        e = uv_read_start((uv_stream_t *)&h->out, on_alloc, on_read);
    if (e == 0)
        e = spawn(h, args, index, fds[1]);
    close(fds[1]);
    if (e != 0)
        return e;
    uv_buf_t all = uv_buf_init(h->input, (unsigned)n);
    if (uv_write(&h->write, (uv_stream_t *)&h->in, &all, 1, on_written) != 0)
        close_one((uv_handle_t *)&h->in);
    return 0;
}

struct handler *handler_start(uv_loop_t *loop, struct timers *timers,
                              const struct config_strings *args, uint64_t index,
                              char *take_input, size_t n, uint64_t timeout_ms,
                              handler_done_fn done, void *ctx)
{
    struct handler *h = xzalloc(sizeof *h);

    h->timers = timers;
    h->done = done;
    h->ctx = ctx;
    h->input = take_input;
    h->timeout_ms = timeout_ms;
    h->timer.fire = on_time;
    snprintf(h->program, sizeof h->program, "%s", args->v[0]);
    (void)uv_pipe_init(loop, &h->in, 0); /* cannot fail on Linux */
    (void)uv_pipe_init(loop, &h->out, 0);
    h->in.data = h->out.data = h->process.data = h;
    h->open = 2;
    h->start_error = begin(h, args, index, n);
    timer_set(timers, &h->timer, h->start_error ? 0 : timeout_ms);
    return h;
}
