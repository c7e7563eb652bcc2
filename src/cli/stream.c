/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster stream: changes as they happen, over one event stream. A connection
 * that breaks is opened again from the last id; what was printed has been
 * applied, and the server is told so, or nobody could be drained meanwhile. */
#include <inttypes.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cli/impl.h"

enum {
    LINE_MAX_BYTES = 4 << 20, /* one instance, or one event */
    RETRY_FIRST_MS = 1000,
    RETRY_MAX_MS = 30 * 1000,
};

struct stream {
    struct cli *c;
    struct buf line;
    char event[32];
    struct buf data;
    uint64_t event_id, id, acked; /* 0: none */
    uint64_t retry_ms;
    char subscriber[64];
    bool failed; /* the reason was printed */
};

/* --- Printing ------------------------------------------------------------- */

static const char *worst_of(json_t *entry)
{
    const char *worst = "passing";
    size_t i;
    json_t *check;

    json_array_foreach(json_object_get(entry, "Checks"), i, check)
    {
        const char *status = cli_str(check, "Status");
        if (strcmp(status, "critical") == 0)
            return "critical";
        if (strcmp(status, "passing") != 0)
            worst = status;
    }
    return worst;
}

static void print_put(json_t *data)
{
    json_t *entry = json_object_get(data, "Entry");
    json_t *service = json_object_get(entry, "Service");
    json_t *node = json_object_get(entry, "Node");
    const char *address = cli_str(service, "Address");

    printf("put     %s %s on %s, %s:%lld, %s%s%s%s\n",
           cli_str(service, "Service"), cli_str(service, "ID"),
           cli_str(node, "Node"), *address ? address : cli_str(node, "Address"),
           (long long)json_integer_value(json_object_get(service, "Port")),
           worst_of(entry),
           json_is_true(json_object_get(entry, "Held")) ? ", held" : "",
           json_is_true(json_object_get(entry, "Draining")) ? ", draining" : "",
           json_object_get(entry, "DampedUntil") ? ", damped" : "");
}

static void print_time(void)
{
    char text[16];
    time_t now = time(NULL);
    struct tm tm;

    if (localtime_r(&now, &tm) && strftime(text, sizeof text, "%H:%M:%S", &tm))
        printf("%s ", text);
}

static void print_plain(const struct stream *s, json_t *data)
{
    bool end = strcmp(cli_str(data, "Phase"), "end") == 0;

    if (strcmp(s->event, "put") != 0 && strcmp(s->event, "remove") != 0 && !end)
        return;
    print_time();
    if (end)
        printf("that is all there is: %lld instances\n",
               (long long)json_integer_value(json_object_get(data, "Entries")));
    else if (strcmp(s->event, "put") == 0)
        print_put(data);
    else
        printf("remove  %s %s on %s: %s\n", cli_str(data, "Service"),
               cli_str(data, "ServiceID"), cli_str(data, "Node"),
               cli_str(data, "Why"));
}

/* {"Event":"put","Id":42,"Data":{...}} */
static void print_json_line(const struct stream *s)
{
    printf("{\"Event\":\"%s\",", s->event);
    if (s->event_id)
        printf("\"Id\":%" PRIu64 ",", s->event_id);
    printf("\"Data\":%.*s}\n", BYTES_ARG(buf_bytes(&s->data)));
}

/* --- Events --------------------------------------------------------------- */

static bool plain_name(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < 'a' || name.p[i] > 'z')
            return false;
    return true;
}

static void event_over(struct stream *s)
{
    json_error_t error;
    json_t *data = json_loadb(s->data.p ? s->data.p : "", s->data.n, 0, &error);

    if (!data) {
        s->failed = true;
        (void)cli_fail(s->c, "an event is no JSON: %s", error.text);
        return;
    }
    if (strcmp(s->event, "subscriber") == 0)
        (void)snprintf(s->subscriber, sizeof s->subscriber, "%s",
                       cli_str(data, "Subscriber"));
    if (cli_json(s->c))
        print_json_line(s);
    else
        print_plain(s, data);
    if (s->event_id)
        s->id = s->event_id;
    json_decref(data);
}

/* What is no number says nothing. */
static uint64_t number(struct bytes text)
{
    uint64_t n;
    return bytes_u64(text, &n) == ERR_OK ? n : 0;
}

static void take_line(struct stream *s, struct bytes line)
{
    size_t colon = bytes_find(line, ':');
    struct bytes field = bytes_head(line, colon);
    struct bytes value = bytes_skip(line, colon + 1);

    if (value.n && value.p[0] == ' ')
        value = bytes_skip(value, 1);
    if (line.n == 0) {
        if (s->data.n)
            event_over(s);
        s->event[0] = 0;
        s->event_id = 0;
        buf_reset(&s->data);
    } else if (bytes_is(field, "event") && plain_name(value)) {
        (void)snprintf(s->event, sizeof s->event, "%.*s", BYTES_ARG(value));
    } else if (bytes_is(field, "data")) {
        buf_put(&s->data, value);
    } else if (bytes_is(field, "id")) {
        s->event_id = number(value);
    } else if (bytes_is(field, "retry")) {
        s->retry_ms = number(value);
    }
}

static void take_piece(struct stream *s, struct bytes piece)
{
    while (piece.n && !s->failed) {
        size_t end = bytes_find(piece, '\n');
        buf_put(&s->line, bytes_head(piece, end));
        if (s->line.bad) {
            s->failed = true;
            (void)cli_fail(s->c, "an event of more than %d bytes",
                           LINE_MAX_BYTES);
        }
        if (end == piece.n)
            break;
        take_line(s, buf_bytes(&s->line));
        buf_reset(&s->line);
        piece = bytes_skip(piece, end + 1);
    }
    fflush(stdout);
}

/* --- Telling the server --------------------------------------------------- */

/* Says what has been printed; at the end also that nobody reads any more. This
 * may be within a wait for the stream: a signal that comes now must end that
 * one too. */
static void acknowledge(struct stream *s, bool gone)
{
    struct buf body = {0};

    if (!*s->subscriber || (s->id == s->acked && !gone))
        return;
    s->acked = s->id;
    buf_printf(&body, "[{\"Subscriber\":\"%s\",\"Index\":%" PRIu64 "%s}]",
               s->subscriber, s->id, gone ? ",\"Gone\":true" : "");
    (void)cli_ask(s->c, "PUT", cli_path("/v1/muster/ack"), buf_bytes(&body),
                  CLI_TIMEOUT_MS);
    buf_fini(&body);
    if (s->c->stopped && !gone)
        (void)kill(getpid(), SIGTERM);
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct stream *s = ctx;

    take_piece(s, piece);
    acknowledge(s, false);
}

/* --- Connections ---------------------------------------------------------- */

static struct cli_path path_of(const struct stream *s)
{
    struct cli *c = s->c;
    struct cli_path p = cli_path("/v1/muster/stream");
    bool named = c->arg_count || cli_was_said(c, "prefix");

    cli_path_ask(&p, "subscriber", "muster stream");
    for (size_t i = 0; i < c->arg_count; i++)
        cli_path_ask(&p, "service", c->args[i]);
    cli_path_ask_each(c, &p, "prefix");
    cli_path_ask_each(c, &p, "tag");
    cli_path_ask(&p, "all", named ? NULL : "");
    cli_path_ask(&p, "passing", cli_on(c, "passing") ? "" : NULL);
    cli_path_ask(&p, "filter", cli_text(c, "filter"));
    if (s->id)
        cli_path_ask(&p, "index", arena_printf(&c->arena, "%" PRIu64, s->id));
    return p;
}

/* A new connection: what was cut off in the middle is forgotten. */
static enum cli_end connect_once(struct stream *s)
{
    buf_reset(&s->line);
    buf_reset(&s->data);
    s->event[0] = 0;
    s->event_id = 0;
    enum cli_end end = cli_stream(s->c, path_of(s), 0, on_piece, s);
    arena_reset(&s->c->arena);
    return end;
}

/* True: SIGINT or SIGTERM came. */
static bool wait_to_retry(struct stream *s, uint64_t *wait_ms)
{
    fprintf(stderr,
            "muster stream: the connection has ended, again in %" PRIu64
            " ms\n",
            *wait_ms);
    bool stopped = cli_pause(s->c, *wait_ms);
    *wait_ms = *wait_ms * 2 < RETRY_MAX_MS ? *wait_ms * 2 : RETRY_MAX_MS;
    return stopped;
}

static int stream_for_ever(struct stream *s)
{
    uint64_t wait_ms = RETRY_FIRST_MS;

    for (;;) {
        uint64_t before = s->id;
        enum cli_end end = connect_once(s);
        if (end == CLI_END_STOPPED || end == CLI_END_TIME)
            break;
        /* What was refused once is refused again. */
        if (s->failed || (end == CLI_END_FAILED && s->c->status >= 400 &&
                          s->c->status < 500))
            return 1;
        if (s->id != before)
            wait_ms = s->retry_ms ? s->retry_ms : RETRY_FIRST_MS;
        if (wait_to_retry(s, &wait_ms))
            break;
    }
    acknowledge(s, true);
    return 0;
}

int cli_stream_command(struct cli *c)
{
    struct stream s = {.c = c};

    buf_init(&s.line, LINE_MAX_BYTES);
    buf_init(&s.data, LINE_MAX_BYTES);
    cli_catch_signals(c);
    int rc = stream_for_ever(&s);
    buf_fini(&s.line);
    buf_fini(&s.data);
    return rc;
}
