/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A script runs in a session and process group of its own. The whole group is
 * killed when its time is over, when its check goes, and also after it has
 * ended well: nothing that it started stays behind. Both outputs go into one
 * pipe, of which the last bytes are kept.
 *
 * The run is over when the process is reaped and the pipe is at its end; a
 * child that escaped into another session may hold the pipe open, so there is a
 * DRAIN_MS for that. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/duration.h"
#include "health/ring.h"
#include "probe/impl.h"

enum { DRAIN_MS = 200, READ_BYTES = 16 * 1024 };

struct script {
    struct check *check; /* NULL: gone */
    struct prober *prober;
    struct lane *lane;
    uv_process_t process;
    uv_pipe_t pipe;
    struct timer timer;
    bool exited, told;
    bool process_open, pipe_open;
    int64_t exit_status;
    int signal;
    int pid; /* 0: not started */
    struct ring output;
    char chunk[READ_BYTES];
};

/* --- The end ------------------------------------------------------------- */

static void free_if_idle(struct script *s)
{
    if (s->process_open || s->pipe_open)
        return;
    struct check *c = s->check;
    struct prober *p = s->prober;
    struct lane *lane = s->lane;

    timer_clear(&p->timers, &s->timer);
    ring_fini(&s->output);
    free(s);
    if (c)
        check_idle(c);
    lane_left(p, lane);
}

static void on_process_closed(uv_handle_t *h)
{
    struct script *s = container_of(h, struct script, process);
    s->process_open = false;
    free_if_idle(s);
}

static void on_pipe_closed(uv_handle_t *h)
{
    struct script *s = container_of(h, struct script, pipe);
    s->pipe_open = false;
    free_if_idle(s);
}

static void close_pipe(struct script *s)
{
    if (s->pipe_open && !uv_is_closing((uv_handle_t *)&s->pipe))
        uv_close((uv_handle_t *)&s->pipe, on_pipe_closed);
}

static enum status status_of_exit(const struct script *s)
{
    if (s->signal || s->exit_status > 1)
        return STATUS_CRITICAL;
    return s->exit_status == 1 ? STATUS_WARNING : STATUS_PASSING;
}

static void tell(struct script *s, enum status status, enum run_kind kind,
                 struct buf *text)
{
    require(!text->bad);
    if (s->check && !s->told)
        check_report(s->check, status, kind, buf_bytes(text));
    s->told = true;
    buf_fini(text);
}

static void finish(struct script *s)
{
    struct buf text = {0};

    ring_output(&s->output, &text);
    tell(s, status_of_exit(s), RUN_ANSWERED, &text);
    timer_clear(&s->prober->timers, &s->timer);
    close_pipe(s);
    if (s->process_open && !uv_is_closing((uv_handle_t *)&s->process))
        uv_close((uv_handle_t *)&s->process, on_process_closed);
}

static void kill_group(const struct script *s)
{
    /* 0 and -1 would be groups of our own making: all of us, and everybody. */
    require(s->pid > 1);
    /* Of a group without members nothing is left to kill: ESRCH. */
    (void)kill(-s->pid, SIGKILL);
    if (!s->exited) /* it may have left its group */
        (void)kill(s->pid, SIGKILL);
}

static void on_exit_of(uv_process_t *process, int64_t status, int signal)
{
    struct script *s = container_of(process, struct script, process);

    s->exited = true;
    s->exit_status = status;
    s->signal = signal;
    kill_group(s);
    if (s->pipe_open && !uv_is_closing((uv_handle_t *)&s->pipe))
        timer_set(&s->prober->timers, &s->timer, DRAIN_MS);
    else
        finish(s);
}

static void on_time(struct timer *t)
{
    struct script *s = container_of(t, struct script, timer);
    struct buf text = {0};

    if (s->exited) { /* drained long enough */
        finish(s);
        return;
    }
    kill_group(s);
    buf_puts(&text, "Timed out (");
    duration_print(&text, (int64_t)s->check->timeout_ms * NS_PER_MS);
    buf_puts(&text, ") running check");
    if (s->output.total) {
        buf_puts(&text, "\n\n");
        ring_output(&s->output, &text);
    }
    tell(s, STATUS_CRITICAL, RUN_TIMED_OUT, &text);
}

static void cancel(void *run)
{
    struct script *s = run;

    s->check = NULL;
    timer_clear(&s->prober->timers, &s->timer);
    if (!s->exited && s->pid > 1)
        kill_group(s);
    close_pipe(s);
    if (s->exited)
        finish(s);
}

/* --- Reading ------------------------------------------------------------- */

static void on_alloc(uv_handle_t *h, size_t size, uv_buf_t *ret)
{
    struct script *s = container_of(h, struct script, pipe);
    (void)size;
    *ret = uv_buf_init(s->chunk, sizeof s->chunk);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct script *s = container_of(stream, struct script, pipe);

    if (n > 0)
        ring_put(&s->output, bytes_of(buf->base, (size_t)n));
    if (n >= 0)
        return;
    close_pipe(s);
    if (s->exited)
        finish(s);
}

/* --- Starting ------------------------------------------------------------ */

/* Go's words for a program that cannot be started. */
static void put_spawn_error(struct buf *out, const char *file, int error)
{
    if (error == UV_ENOENT && !strchr(file, '/')) {
        buf_puts(out, "exec: \"");
        buf_puts(out, file);
        buf_puts(out, "\": executable file not found in $PATH");
        return;
    }
    buf_puts(out, "fork/exec ");
    buf_puts(out, file);
    buf_puts(out, ": ");
    put_error(out, error);
}

static int spawn(struct script *s, char **args, int out_fd)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = out_fd},
        {.flags = UV_INHERIT_FD, .data.fd = out_fd},
    };
    const uv_process_options_t o = {
        .exit_cb = on_exit_of,
        .file = args[0],
        .args = args,
        .flags = UV_PROCESS_DETACHED, /* setsid: a group of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    int e = uv_spawn(&s->prober->loop, &s->process, &o);

    s->process_open = true; /* after a failure too: it has to be closed */
    s->pid = e == 0 ? s->process.pid : 0;
    return e;
}

/* 0, or libuv's error. */
static int begin(struct script *s, char **args)
{
    int fds[2];
    int e = uv_pipe_init(&s->prober->loop, &s->pipe, 0);

    if (e != 0)
        return e;
    s->pipe_open = true;
    if (pipe2(fds, O_CLOEXEC) < 0)
        return uv_translate_sys_error(errno);
    e = uv_pipe_open(&s->pipe, fds[0]);
    if (e != 0)
        close(fds[0]);
    if (e == 0)
        e = uv_read_start((uv_stream_t *)&s->pipe, on_alloc, on_read);
    if (e == 0)
        e = spawn(s, args, fds[1]);
    close(fds[1]);
    return e;
}

static void not_started(struct script *s, const char *file, int error)
{
    struct buf text = {0};

    put_spawn_error(&text, file, error);
    tell(s, STATUS_CRITICAL, check_kind_of_errno(-error), &text);
    close_pipe(s);
    if (s->process_open)
        uv_close((uv_handle_t *)&s->process, on_process_closed);
    free_if_idle(s);
}

void script_run(struct check *c)
{
    struct script *s = xzalloc(sizeof *s);
    char *args[CHECK_ARGS_MAX + 1];
    struct arena a;

    s->check = c;
    s->prober = c->prober;
    s->lane = c->lane;
    s->timer.fire = on_time;
    require(ring_init(&s->output, c->output_max) == ERR_OK);
    c->run = s;
    c->cancel = cancel;

    arena_init(&a, 0);
    size_t n = c->def.arg_count;
    require(n > 0 && n <= CHECK_ARGS_MAX);
    for (size_t i = 0; i < n; i++)
        require((args[i] = arena_str(&a, c->def.args[i])) != NULL);
    args[n] = NULL;
    int e = begin(s, args);
    if (e == 0)
        timer_set(&s->prober->timers, &s->timer, c->timeout_ms);
    else
        not_started(s, args[0], e);
    arena_fini(&a);
}
