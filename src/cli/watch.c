/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* watch and monitor: commands that last. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/impl.h"

enum {
    POLL_TIMEOUT_MS = 11 * 60 * 1000, /* beyond the agent's longest wait */
    RETRY_FIRST_MS = 5000,
    RETRY_MAX_MS = 180 * 1000,
};

/* --- What to ask ---------------------------------------------------------- */

static bool need(const struct cli *c, const char *flag)
{
    const char *v = cli_text(c, flag);
    if (v && *v)
        return true;
    (void)cli_misused(c, "-type=%s needs -%s", cli_text(c, "type"), flag);
    return false;
}

static void ask_service(const struct cli *c, struct cli_path *path)
{
    cli_path_put(path, cli_text(c, "service"));
    cli_path_ask_each(c, path, "tag");
    if (cli_on(c, "passingonly"))
        cli_path_ask(path, "passing", "1");
}

static void ask_checks(const struct cli *c, struct cli_path *path)
{
    const char *service = cli_text(c, "service"), *state = cli_text(c, "state");

    buf_puts(&path->text, service ? "checks/" : "state/");
    cli_path_put(path, service ? service : state ? state : "any");
}

static bool route(const struct cli *c, struct cli_path *ret)
{
    static const struct {
        const char *type, *route, *needs;
    } types[] = {
        {"services", "/v1/catalog/services", NULL},
        {"nodes", "/v1/catalog/nodes", NULL},
        {"service", "/v1/health/service/", "service"},
        {"checks", "/v1/health/", NULL},
        {"event", "/v1/event/list", NULL},
        {"key", "/v1/kv/", "key"},
        {"keyprefix", "/v1/kv/", "prefix"},
    };
    const char *type = cli_text(c, "type");
    size_t i = 0;

    while (strcmp(types[i].type, type) != 0)
        i++;
    if (types[i].needs && !need(c, types[i].needs))
        return false;
    if (strcmp(type, "checks") == 0 && cli_text(c, "service") &&
        cli_text(c, "state")) {
        (void)cli_misused(c, "-service or -state, not both");
        return false;
    }
    *ret = cli_path(types[i].route);
    if (strcmp(type, "service") == 0)
        ask_service(c, ret);
    if (strcmp(type, "checks") == 0)
        ask_checks(c, ret);
    if (strcmp(type, "event") == 0)
        cli_path_ask(ret, "name", cli_text(c, "name"));
    if (strcmp(type, "key") == 0)
        cli_path_put(ret, cli_text(c, "key"));
    if (strcmp(type, "keyprefix") == 0) {
        cli_path_put(ret, cli_text(c, "prefix"));
        cli_path_ask(ret, "recurse", "");
    }
    return true;
}

/* --- What came ------------------------------------------------------------ */

/* An event's place: the halves of its ID, XOR. As the agent makes the index of
 * event/list from the last one. */
static uint64_t event_index(const char *id)
{
    char hex[33];
    size_t n = 0;
    for (; *id && n < 32; id++)
        if (*id != '-')
            hex[n++] = *id;
    hex[n] = '\0';
    if (n < 32)
        return 0;
    uint64_t low = strtoull(hex + 16, NULL, 16);
    hex[16] = '\0';
    return strtoull(hex, NULL, 16) ^ low;
}

/* Drops the events up to the one that the handler has seen. */
static void only_new_events(json_t *events, uint64_t seen)
{
    for (size_t i = json_array_size(events); i-- > 0;) {
        json_t *e = json_array_get(events, i);
        if (event_index(cli_str(e, "ID")) != seen)
            continue;
        for (size_t k = 0; k <= i; k++)
            json_array_remove(events, 0);
        return;
    }
}

struct seen {
    uint64_t index;
    json_t *value; /* NULL: nothing yet */
};

/* What is not there is a value, too; any other 404 is an error. */
static bool is_no_key(const struct cli *c)
{
    return c->status == 404 && strncmp(cli_text(c, "type"), "key", 3) == 0;
}

/* The answer in c as the handler gets it; NULL: printed what is wrong. */
static json_t *answer(const struct cli *c)
{
    json_t *now = is_no_key(c) ? json_null() : cli_reply_json(c);
    if (!json_is_array(now) || strcmp(cli_text(c, "type"), "key") != 0)
        return now;
    json_t *one = json_incref(json_array_get(now, 0));
    json_decref(now);
    return one;
}

/* What has changed, for the handler; NULL: nothing, or the answer is broken. */
static json_t *news(const struct cli *c, struct seen *seen)
{
    bool event = strcmp(cli_text(c, "type"), "event") == 0;
    json_t *now = answer(c);
    bool first = !seen->value;
    uint64_t before = seen->index;

    if (!now)
        return NULL;
    bool same = !first && (c->index == before || json_equal(now, seen->value));
    /* An index that went back is of another life of the agent; those of events
     * have no order. */
    seen->index = c->index < before && !event ? 0 : c->index;
    if (same) {
        json_decref(now);
        return NULL;
    }
    json_decref(seen->value);
    seen->value = now;
    json_t *fresh = json_deep_copy(now);
    if (event && !first)
        only_new_events(fresh, before);
    return fresh;
}

/* --- The handler ---------------------------------------------------------- */

static int file_of(const char *text)
{
    int fd = memfd_create("muster-watch", MFD_CLOEXEC);
    size_t n = strlen(text), done = 0;

    while (fd >= 0 && done < n) {
        ssize_t w = write(fd, text + done, n - done);
        if (w <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)w;
    }
    if (fd >= 0)
        (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

static const char *joined_args(struct cli *c)
{
    struct buf b;
    buf_init(&b, 0);
    for (size_t i = 0; i < c->arg_count; i++)
        buf_printf(&b, "%s%s", i ? " " : "", c->args[i]);
    const char *s = arena_str(&c->arena, buf_bytes(&b));
    buf_fini(&b);
    return s ? s : "";
}

/* In the child; does not return. */
static void run_child(struct cli *c, int input)
{
    const char *shell = getenv("SHELL");
    char index[32];
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)snprintf(index, sizeof index, "%" PRIu64, c->index);
    (void)setenv("CONSUL_INDEX", index, 1);
    (void)setenv("MUSTER_INDEX", index, 1);
    if (dup2(input, STDIN_FILENO) < 0)
        _exit(126);
    if (!shell || !*shell)
        shell = "/bin/sh";
    if (cli_on(c, "shell"))
        (void)execl(shell, shell, "-c", joined_args(c), (char *)NULL);
    else
        (void)execvp(c->args[0], (char *const *)c->args);
    fprintf(stderr, "muster watch: %s: %s\n",
            cli_on(c, "shell") ? shell : c->args[0], strerror(errno));
    _exit(127);
}

static bool run_handler(struct cli *c, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    char *line = text ? arena_printf(&c->arena, "%s\n", text) : NULL;
    int status = 0, input = line ? file_of(line) : -1;
    pid_t pid = -1;

    free(text);
    fflush(stdout);
    if (input >= 0)
        pid = fork();
    if (pid == 0)
        run_child(c, input);
    if (input >= 0)
        close(input);
    if (pid < 0) {
        (void)cli_fail(c, "cannot start the program: %s", strerror(errno));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFEXITED(status))
        (void)cli_fail(c, "Error executing handler: exit status %d",
                       WEXITSTATUS(status));
    else
        (void)cli_fail(c, "Error executing handler: signal: %s",
                       strsignal(WTERMSIG(status)));
    return false;
}

/* --- watch ---------------------------------------------------------------- */

/* One answer, newer than what was seen. False: the reason was printed, or
 * c->stopped. */
static bool next_answer(struct cli *c, const struct seen *seen)
{
    struct cli_path path;

    if (!route(c, &path))
        return false;
    if (seen->index)
        cli_path_ask(&path, "index",
                     arena_printf(&c->arena, "%" PRIu64, seen->index));
    return cli_ask(c, "GET", path, (struct bytes){0}, POLL_TIMEOUT_MS) &&
           (c->status == 200 || is_no_key(c) || cli_refused(c));
}

/* After an answer: 0 to go on. */
static int pass_on(struct cli *c, struct seen *seen)
{
    if (c->index == 0)
        return cli_fail(c, "the agent's answer has no X-Consul-Index: there is "
                           "nothing to wait for");
    json_t *value = news(c, seen);
    bool ok = !value || run_handler(c, value);
    json_decref(value);
    return ok ? 0 : 1;
}

static int watch_for_ever(struct cli *c)
{
    struct seen seen = {0};
    uint64_t retry_ms = RETRY_FIRST_MS;
    int rc = 0;

    cli_catch_signals(c);
    while (rc == 0) {
        bool ok = next_answer(c, &seen);
        if (c->stopped)
            break;
        if (ok) {
            retry_ms = RETRY_FIRST_MS;
            rc = pass_on(c, &seen);
        } else {
            fprintf(stderr, "muster watch: again in %" PRIu64 " s\n",
                    retry_ms / 1000);
            if (cli_pause(c, retry_ms))
                break;
            retry_ms =
                retry_ms * 2 < RETRY_MAX_MS ? retry_ms * 2 : RETRY_MAX_MS;
            seen.index = 0;
        }
        arena_reset(&c->arena);
    }
    json_decref(seen.value);
    return rc;
}

int cli_watch(struct cli *c)
{
    struct seen seen = {0};
    struct cli_path path;

    if (!cli_text(c, "type"))
        return cli_misused(c, "-type is missing: what to watch");
    if (!route(c, &path))
        return 1;
    buf_fini(&path.text);
    if (c->arg_count) {
        if (!cli_get(c, "/v1/agent/self")) /* is there anybody at all */
            return 1;
        return watch_for_ever(c);
    }
    if (!next_answer(c, &seen))
        return 1;
    json_t *value = news(c, &seen);
    if (value)
        cli_print_json(value);
    json_decref(seen.value);
    json_decref(value);
    return value ? 0 : 1;
}

/* --- monitor -------------------------------------------------------------- */

static void print_piece(void *ctx, struct bytes piece)
{
    (void)ctx;
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
}

int cli_monitor(struct cli *c)
{
    struct cli_path path = cli_path("/v1/agent/monitor");

    cli_path_ask(&path, "loglevel", cli_text(c, "log-level"));
    cli_path_ask(&path, "logjson", cli_on(c, "log-json") ? "" : NULL);
    cli_catch_signals(c);
    switch (cli_stream(c, path, 0, print_piece, NULL)) {
    case CLI_END_STOPPED:
    case CLI_END_TIME:
        return 0;
    case CLI_END_OVER:
        return cli_fail(c, "the agent ended the log: it has stopped, or was "
                           "told to");
    case CLI_END_FAILED:
        break;
    }
    return 1;
}
