/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A command in a container, through the Docker daemon's HTTP API:
 *
 *     POST /containers/NAME/exec   which command; gives an ID
 *     POST /exec/ID/start          runs it; the answer is its output
 *     GET  /exec/ID/json           its exit code
 *
 * The time is that of the whole. Docker has no way to end a command that was
 * started: one that hangs stays in its container. */
#include <stdlib.h>

#include "base/duration.h"
#include "health/docker.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "probe/impl.h"

enum { ANSWER_MAX = 64 * 1024 };

enum step { STEP_CREATE, STEP_START, STEP_INSPECT };

static const char *const step_names[] = {"create", "start", "inspect"};

struct docker {
    struct check *check;
    struct fetch *fetch;
    enum step step;
    uint64_t end_ms;
    struct arena arena;
    struct bytes id;
    struct docker_stream stream;
    struct ring output;
};

/* The members of the daemon's answers that anybody needs. */
struct answer {
    struct bytes id, message;
    int64_t exit_code;
    bool exit_code_set, running;
};

static const struct json_field answer_fields[] = {
    {"Id", NULL, FIELD_STRING, offsetof(struct answer, id), NULL, JSON_NO_FLAG},
    {"message", NULL, FIELD_STRING, offsetof(struct answer, message), NULL,
     JSON_NO_FLAG},
    {"ExitCode", NULL, FIELD_INT, offsetof(struct answer, exit_code), NULL,
     offsetof(struct answer, exit_code_set)},
    {"Running", NULL, FIELD_BOOL, offsetof(struct answer, running), NULL,
     JSON_NO_FLAG},
};

static const struct json_table answer_table = {
    answer_fields, sizeof answer_fields / sizeof answer_fields[0],
    sizeof(struct answer)};

static void next_step(struct docker *d);

/* --- The end -------------------------------------------------------------- */

static void docker_free(struct docker *d)
{
    ring_fini(&d->output);
    arena_fini(&d->arena);
    free(d);
}

static void end(struct docker *d, enum status s, enum run_kind kind,
                struct buf *text)
{
    struct check *c = d->check;

    docker_free(d);
    check_done(c, s, kind, text);
}

static void fail_as(struct docker *d, enum run_kind kind, struct bytes why)
{
    struct buf text = {0};

    buf_printf(&text,
               "%s exec failed for container %.*s: ", step_names[d->step],
               BYTES_ARG(d->check->def.docker_container_id));
    output_tail(&text, why, why.n, 1024, false);
    end(d, STATUS_CRITICAL, kind, &text);
}

static void fail(struct docker *d, struct bytes why)
{
    fail_as(d, RUN_ANSWERED, why);
}

static void time_out(struct docker *d)
{
    struct buf text = {0};

    buf_puts(&text, "Timed out (");
    duration_print(&text, (int64_t)d->check->timeout_ms * NS_PER_MS);
    buf_puts(&text, ") running check");
    if (d->output.total) {
        buf_puts(&text, "\n\n");
        ring_output(&d->output, &text);
    }
    end(d, STATUS_CRITICAL, RUN_TIMED_OUT, &text);
}

static void judge(struct docker *d, const struct answer *a)
{
    struct buf text = {0};

    if (a->running || !a->exit_code_set) {
        fail(d, bytes_str("its output has ended, but the command has not"));
        return;
    }
    ring_output(&d->output, &text);
    end(d,
        a->exit_code == 0   ? STATUS_PASSING
        : a->exit_code == 1 ? STATUS_WARNING
                            : STATUS_CRITICAL,
        RUN_ANSWERED, &text);
}

/* --- Answers -------------------------------------------------------------- */

static void refused(struct docker *d, const struct fetch_result *r,
                    const struct answer *a)
{
    struct buf text = {0};

    buf_put(&text, a->message.n ? a->message : r->status_line);
    require(!text.bad);
    fail(d, buf_bytes(&text));
    buf_fini(&text);
}

static void on_done(void *ctx, const struct fetch_result *r)
{
    struct docker *d = ctx;
    struct answer a = {0};
    struct errtext t = {0};
    bool output = d->step == STEP_START && r->status == 200;

    d->fetch = NULL;
    if (r->err == ERR_TIMEOUT) {
        time_out(d);
        return;
    }
    if (r->err != ERR_OK) {
        fail_as(d, check_kind(r->err), bytes_str(r->text.s));
        return;
    }
    enum err e = output
                     ? ERR_OK
                     : json_decode(r->body, &answer_table, &a, &d->arena, &t);
    if (r->status / 100 != 2) {
        refused(d, r, &a);
    } else if (e != ERR_OK ||
               (d->step == STEP_CREATE && !docker_name_ok(a.id))) {
        fail(d, bytes_str("the answer is none of Docker's"));
    } else if (output && !docker_stream_whole(&d->stream)) {
        fail(d, bytes_str("the output is cut off, or no Docker stream"));
    } else if (d->step == STEP_INSPECT) {
        judge(d, &a);
    } else {
        if (d->step == STEP_CREATE)
            d->id = a.id;
        d->step++;
        next_step(d);
    }
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct docker *d = ctx;
    docker_stream_put(&d->stream, piece, &d->output);
}

/* --- Requests ------------------------------------------------------------- */

static void put_command(const struct check_def *def, struct buf *out)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    json_key(&j, "AttachStdin");
    json_bool(&j, false);
    json_key(&j, "AttachStdout");
    json_bool(&j, true);
    json_key(&j, "AttachStderr");
    json_bool(&j, true);
    json_key(&j, "Tty");
    json_bool(&j, false);
    json_key(&j, "Cmd");
    json_open(&j, '[');
    for (size_t i = 0; i < def->arg_count; i++)
        json_str(&j, def->args[i]);
    json_close(&j, ']');
    json_close(&j, '}');
}

/* unix:///path or tcp://host:port, as in DOCKER_HOST. */
static const char *base_url(struct docker *d, const char **ret_unix_path)
{
    const char *host = d->check->prober->o.docker_host;
    struct bytes b = bytes_str(host ? host : "unix:///var/run/docker.sock");

    *ret_unix_path = NULL;
    if (bytes_starts(b, bytes_str("unix://"))) {
        *ret_unix_path = b.p + strlen("unix://");
        return "http://docker";
    }
    if (bytes_starts(b, bytes_str("tcp://")))
        return arena_printf(&d->arena, "http://%s", b.p + strlen("tcp://"));
    return b.p;
}

static const char *url_of(struct docker *d, const char *base)
{
    switch (d->step) {
    case STEP_CREATE:
        return arena_printf(&d->arena, "%s/containers/%.*s/exec", base,
                            BYTES_ARG(d->check->def.docker_container_id));
    case STEP_START:
        return arena_printf(&d->arena, "%s/exec/%.*s/start", base,
                            BYTES_ARG(d->id));
    case STEP_INSPECT:
        break;
    }
    return arena_printf(&d->arena, "%s/exec/%.*s/json", base, BYTES_ARG(d->id));
}

static void next_step(struct docker *d)
{
    struct check *c = d->check;
    static const struct fetch_header json = {"Content-Type",
                                             "application/json"};
    struct buf body = {0};
    const char *unix_path, *base = base_url(d, &unix_path);
    uint64_t now = uv_now(&c->prober->loop);

    if (now >= d->end_ms) {
        time_out(d);
        return;
    }
    if (d->step == STEP_CREATE)
        put_command(&c->def, &body);
    else if (d->step == STEP_START)
        buf_puts(&body, "{\"Detach\":false,\"Tty\":false}");
    require(!body.bad);
    const struct fetch_options o = {
        .method = d->step == STEP_INSPECT ? "GET" : "POST",
        .url = url_of(d, base),
        .unix_path = unix_path,
        .headers = &json,
        .header_count = d->step != STEP_INSPECT,
        .body = buf_bytes(&body),
        .timeout_ms = check_fetch_ms(d->end_ms - now),
        .body_keep_bytes = ANSWER_MAX,
        .on_piece = d->step == STEP_START ? on_piece : NULL,
        .piece_ctx = d,
    };
    enum err e = fetch_start(c->prober->fetcher, &o, on_done, d, &d->fetch);
    buf_fini(&body);
    if (e != ERR_OK)
        fail(d, bytes_str(err_text(e)));
}

static void cancel(void *run)
{
    struct docker *d = run;
    struct check *c = d->check;

    fetch_cancel(d->fetch);
    docker_free(d);
    lane_left(c->prober, c->lane);
}

void docker_run(struct check *c)
{
    struct docker *d = xzalloc(sizeof *d);

    d->check = c;
    d->end_ms = uv_now(&c->prober->loop) + c->timeout_ms;
    arena_init(&d->arena, 0);
    require(ring_init(&d->output, c->output_max) == ERR_OK);
    c->run = d;
    c->cancel = cancel;
    next_step(d);
}
