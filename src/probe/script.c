/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Scripts run as leaders of their own session and process group; standard
 * output and error come through one pipe, of which the last bytes are kept. At
 * the deadline the whole group is killed. The run ends when the script itself
 * has ended: what it left behind may hold the pipe, and is not waited for. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/duration.h"
#include "health/judge.h"
#include "probe/impl.h"

struct script_run {
    struct check *check;
    uv_process_t process;
    uv_pipe_t pipe;
    int open_handles; /* process, pipe */
    struct timer deadline;
    bool timed_out;
    uint64_t total;
    size_t kept, cap;
    char *tail; /* ring of cap bytes */
    char read[4096];
};

static void on_closed(uv_handle_t *h)
{
    struct script_run *r = h->data;
    if (--r->open_handles > 0)
        return;
    free(r->tail);
    free(r);
}

static void keep(struct script_run *r, const char *p, size_t n)
{
    r->total += n;
    if (n >= r->cap) {
        memcpy(r->tail, p + n - r->cap, r->cap);
        r->kept = r->cap;
        return;
    }
    size_t drop = r->kept + n > r->cap ? r->kept + n - r->cap : 0;
    memmove(r->tail, r->tail + drop, r->kept - drop);
    memcpy(r->tail + r->kept - drop, p, n);
    r->kept += n - drop;
}

static void give_buffer(uv_handle_t *h, size_t hint, uv_buf_t *b)
{
    struct script_run *r = h->data;
    (void)hint;
    *b = uv_buf_init(r->read, sizeof r->read);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
    if (n > 0)
        keep(s->data, b->base, (size_t)n);
    else if (n < 0)
        uv_read_stop(s);
}

/* What is in the pipe already; the descriptor does not block. */
static void drain(struct script_run *r)
{
    uv_os_fd_t fd;
    ssize_t n;
    if (uv_fileno((uv_handle_t *)&r->pipe, &fd) != 0)
        return;
    uv_read_stop((uv_stream_t *)&r->pipe);
    /* A grandchild may write without end: no more than the pipe can hold. */
    for (int i = 0; i < 32 && (n = read(fd, r->read, sizeof r->read)) > 0; i++)
        keep(r, r->read, (size_t)n);
}

static void finish(struct script_run *r, enum status status)
{
    struct check *k = r->check;
    struct buf out;
    buf_init(&out, 0);
    if (r->timed_out) {
        buf_puts(&out, "Timed out (");
        duration_print(&out, (int64_t)k->timeout_ms * NS_PER_MS);
        buf_puts(&out, ") running check\n\n");
    }
    output_tail(&out, bytes_of(r->tail, r->kept), r->total, k->output_max,
                true);
    timer_clear(&k->prober->timers, &r->deadline);
    uv_close((uv_handle_t *)&r->process, on_closed);
    uv_close((uv_handle_t *)&r->pipe, on_closed);
    check_finished(k, status, buf_bytes(&out));
    buf_fini(&out);
}

static void on_exit_status(uv_process_t *p, int64_t code, int sig)
{
    struct script_run *r = p->data;
    drain(r);
    bool plain = sig == 0 && !r->timed_out;
    finish(r, plain && code == 0   ? STATUS_PASSING
              : plain && code == 1 ? STATUS_WARNING
                                   : STATUS_CRITICAL);
}

static void kill_group(struct script_run *r)
{
    /* ESRCH: it has just ended; its exit is on its way. */
    if (r->process.pid > 0)
        (void)kill(-r->process.pid, SIGKILL);
}

static void on_deadline(struct timer *t)
{
    struct script_run *r = container_of(t, struct script_run, deadline);
    r->timed_out = true;
    kill_group(r);
}

static void start_failed(struct script_run *r, const char *what, int e)
{
    struct check *k = r->check;
    char text[512];
    snprintf(text, sizeof text, "exec: \"%.*s\": %s%s",
             BYTES_ARG(bytes_head(k->def.args[0], 256)), what,
             e ? uv_strerror(e) : "");
    timer_clear(&k->prober->timers, &r->deadline);
    if (r->open_handles > 0) {
        uv_close((uv_handle_t *)&r->pipe, on_closed);
        if (r->open_handles > 1)
            uv_close((uv_handle_t *)&r->process, on_closed);
    } else {
        free(r->tail);
        free(r);
    }
    check_finished(k, STATUS_CRITICAL, bytes_str(text));
}

static int spawn(struct script_run *r, int write_fd)
{
    struct check *k = r->check;
    struct arena a;
    arena_init(&a, 0);
    char **args = arena_alloc(&a, (k->def.arg_count + 1) * sizeof *args);
    for (size_t i = 0; i < k->def.arg_count; i++)
        args[i] = arena_str(&a, k->def.args[i]);
    args[k->def.arg_count] = NULL;
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = write_fd},
        {.flags = UV_INHERIT_FD, .data.fd = write_fd},
    };
    uv_process_options_t o = {
        .exit_cb = on_exit_status,
        .file = args[0],
        .args = args,
        .flags = UV_PROCESS_DETACHED, /* setsid: a group of its own */
        .stdio_count = 3,
        .stdio = stdio,
    };
    r->process.data = r;
    int e = uv_spawn(&k->prober->loop, &r->process, &o);
    r->open_handles++; /* the handle is the loop's now, even on failure */
    arena_fini(&a);
    return e;
}

void script_begin(struct check *k)
{
    struct script_run *r = xzalloc(sizeof *r);
    int fds[2];
    r->check = k;
    k->run = r;
    r->cap = k->output_max ? k->output_max : 1;
    r->tail = xmalloc(r->cap);
    r->deadline.fire = on_deadline;
    if (pipe2(fds, O_CLOEXEC) != 0) {
        start_failed(r, "no pipe: ", uv_translate_sys_error(errno));
        return;
    }
    int e = uv_pipe_init(&k->prober->loop, &r->pipe, 0);
    if (e == 0) {
        r->open_handles = 1;
        r->pipe.data = r;
        e = uv_pipe_open(&r->pipe, fds[0]); /* makes it non-blocking */
    }
    if (e != 0) {
        close(fds[0]);
        close(fds[1]);
        start_failed(r, "no pipe: ", e);
        return;
    }
    e = spawn(r, fds[1]);
    close(fds[1]);
    if (e == 0)
        e = uv_read_start((uv_stream_t *)&r->pipe, give_buffer, on_read);
    if (e != 0) {
        start_failed(r, "", e);
        return;
    }
    timer_set(&k->prober->timers, &r->deadline, k->timeout_ms);
}

void script_cancel(struct check *k)
{
    kill_group(k->run);
}
