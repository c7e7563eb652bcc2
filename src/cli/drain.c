/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster drain, undrain, watchers, lag: who watches a service, what they have
 * applied, and whether all have let go of an instance. */
#include <string.h>

#include "cli/impl.h"

enum {
    DRAIN_WAITING = 2, /* exit codes */
    DRAIN_UNKNOWN = 3,
    DRAIN_SLACK_MS = 10 * 1000,
    BAR_WIDTH = 40,
};

static const char *number(struct cli *c, json_t *row, const char *key)
{
    return arena_printf(
        &c->arena, "%lld",
        (long long)json_integer_value(json_object_get(row, key)));
}

static const char *seconds_of(struct cli *c, json_t *row, const char *key)
{
    long long ms = json_integer_value(json_object_get(row, key));
    return arena_printf(&c->arena, "%lld.%lld s", ms / 1000, ms % 1000 / 100);
}

/* The server that knows it; behind it, the agent at which it is. */
static const char *known_to(struct cli *c, json_t *row)
{
    const char *agent = cli_str(row, "Agent");
    return *agent ? arena_printf(&c->arena, "%s, %s", cli_str(row, "Server"),
                                 agent)
                  : cli_str(row, "Server");
}

static void print_watchers(struct cli *c, json_t *rows)
{
    static const char *const heads[] = {"Label", "Zone",     "Peer",
                                        "Kind",  "Known to", "Applied",
                                        "Since", "Lag ms",   "Subscriber"};
    struct cli_table t = {.columns = 9};
    size_t i;
    json_t *row;

    cli_heads(&t, heads, t.columns);
    json_array_foreach(rows, i, row)
    {
        const char *label = cli_str(row, "Label");
        cli_cell_str(&t, *label ? label : "-");
        cli_cell_str(&t, *cli_str(row, "Zone") ? cli_str(row, "Zone") : "-");
        cli_cell_str(&t, cli_str(row, "Peer"));
        cli_cell_str(&t, cli_str(row, "Kind"));
        cli_cell_str(&t, known_to(c, row));
        cli_cell_str(&t, number(c, row, "AppliedIndex"));
        cli_cell_str(&t, seconds_of(c, row, "SinceMs"));
        cli_cell_str(&t, number(c, row, "MaxLagMs"));
        cli_cell_str(&t, cli_str(row, "Subscriber"));
    }
    cli_table_print(&t);
}

static void print_unproven(json_t *j)
{
    json_t *rows = json_object_get(j, "Unproven"), *row;
    size_t i;

    if (json_array_size(rows) == 0)
        return;
    printf("of these nothing is proven (they read without saying what they "
           "have applied):\n");
    json_array_foreach(rows, i, row) printf(
        "  %s at %s, heard %lld s ago\n", cli_str(row, "Peer"),
        *cli_str(row, "Agent") ? cli_str(row, "Agent") : cli_str(row, "Server"),
        (long long)json_integer_value(json_object_get(row, "HeardMs")) / 1000);
}

/* Servers whose rows are missing. False: there are none. */
static bool print_silent(json_t *j)
{
    json_t *row;
    size_t i;
    bool any = false;

    json_array_foreach(json_object_get(j, "Servers"), i, row)
    {
        if (json_is_true(json_object_get(row, "Answered")))
            continue;
        printf("server %s did not answer: %s\n", cli_str(row, "Node"),
               cli_str(row, "Why"));
        any = true;
    }
    return any;
}

static void print_more(json_t *j)
{
    long long n = json_integer_value(json_object_get(j, "SubscribersMore"));

    if (n)
        printf("and %lld more: ask each server with -local\n", n);
}

/* Of those that did. */
static bool some_are_young(json_t *j)
{
    json_t *row;
    size_t i;

    json_array_foreach(
        json_object_get(j, "Servers"), i,
        row) if (json_is_false(json_object_get(row,
                                               "TableComplete"))) return true;
    return false;
}

int cli_watchers(struct cli *c)
{
    struct cli_path path = cli_path("/v1/muster/watchers/");

    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "local", cli_on(c, "local") ? "" : NULL);
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        cli_print_json(j);
    } else {
        print_watchers(c, json_object_get(j, "Subscribers"));
        print_more(j);
        print_unproven(j);
        if (!print_silent(j) && !json_is_true(json_object_get(j, "Complete")))
            printf("a server has not run for long enough to know of all\n");
    }
    json_decref(j);
    return 0;
}

/* The bound of the bucket that this share of the changes is within. */
static const char *within(struct cli *c, json_t *row, json_t *bounds,
                          double share)
{
    json_t *buckets = json_object_get(row, "Buckets"), *n;
    double all = (double)json_integer_value(json_object_get(row, "Count"));
    double sum = 0;
    size_t i;

    json_array_foreach(buckets, i, n)
    {
        sum += (double)json_integer_value(n);
        if (sum >= share * all && i < json_array_size(bounds))
            return arena_printf(
                &c->arena, "%lld",
                (long long)json_integer_value(json_array_get(bounds, i)));
    }
    return "more";
}

static void print_histogram(struct cli *c, json_t *row, json_t *bounds)
{
    static const char *const heads[] = {"Up to ms", "Changes", ""};
    json_t *buckets = json_object_get(row, "Buckets"), *n;
    struct cli_table t = {.columns = 3};
    long long all = json_integer_value(json_object_get(row, "Count"));
    size_t i;

    cli_heads(&t, heads, t.columns);
    json_array_foreach(buckets, i, n)
    {
        long long k = json_integer_value(n);
        char bar[BAR_WIDTH + 1] = "";
        if (k == 0)
            continue;
        memset(bar, '#', (size_t)(1 + (BAR_WIDTH - 1) * k / (all ? all : 1)));
        cli_cell_str(&t, i < json_array_size(bounds)
                             ? arena_printf(&c->arena, "%lld",
                                            (long long)json_integer_value(
                                                json_array_get(bounds, i)))
                             : "more");
        cli_cell_str(&t, arena_printf(&c->arena, "%lld", k));
        cli_cell_str(&t, bar);
    }
    cli_table_print(&t);
}

static void print_lags(struct cli *c, json_t *j)
{
    static const char *const heads[] = {"Service", "Changes", "Mean ms",
                                        "P50 ms",  "P99 ms",  "Max ms"};
    json_t *bounds = json_object_get(j, "BucketsUpToMs");
    json_t *services = json_object_get(j, "Services"), *row;
    struct cli_table t = {.columns = 6};
    size_t i;

    cli_heads(&t, heads, t.columns);
    json_array_foreach(services, i, row)
    {
        cli_cell_str(&t, cli_str(row, "Service"));
        cli_cell_str(&t, number(c, row, "Count"));
        cli_cell_str(&t, arena_printf(&c->arena, "%.1f",
                                      json_number_value(
                                          json_object_get(row, "MeanMs"))));
        cli_cell_str(&t, within(c, row, bounds, 0.5));
        cli_cell_str(&t, within(c, row, bounds, 0.99));
        cli_cell_str(&t, number(c, row, "MaxMs"));
    }
    cli_table_print(&t);
    if (c->arg_count && json_array_size(services)) {
        printf("\n");
        print_histogram(c, json_array_get(services, 0), bounds);
        return;
    }
    printf("\nthe slowest:\n");
    print_watchers(c, json_object_get(j, "Worst"));
}

int cli_lag(struct cli *c)
{
    struct cli_path path = cli_path("/v1/muster/lag");

    cli_path_ask(&path, "service", c->arg_count ? c->args[0] : NULL);
    cli_path_ask(&path, "local", cli_on(c, "local") ? "" : NULL);
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c))
        cli_print_json(j);
    else
        print_lags(c, j);
    if (!cli_json(c))
        (void)print_silent(j);
    json_decref(j);
    return 0;
}

static int told(struct cli *c, json_t *j)
{
    const char *result = cli_str(j, "Result");

    if (strcmp(result, "safe") == 0) {
        printf("safe: everybody has let go of %s%s\n", c->args[0],
               json_is_true(json_object_get(j, "Deregistered"))
                   ? "; it is deregistered"
                   : "");
        return 0;
    }
    if (strcmp(result, "waiting") == 0) {
        printf("waiting: %s is drained, but these have not let go of it:\n",
               c->args[0]);
        print_watchers(c, json_object_get(j, "Waiting"));
        (void)print_silent(j);
        printf("%s\n", cli_str(j, "Next"));
        return DRAIN_WAITING;
    }
    printf("unknown: %s is drained; whether everybody has let go is not "
           "known\n",
           c->args[0]);
    (void)print_silent(j);
    if (some_are_young(j))
        printf("a server has not run for long enough to know of all\n");
    print_unproven(j);
    printf("%s\n", cli_str(j, "Next"));
    return DRAIN_UNKNOWN;
}

int cli_drain(struct cli *c)
{
    struct cli_path path = cli_path("/v1/agent/service/drain/");
    int code = 1;

    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "wait", cli_text(c, "wait"));
    cli_path_ask(&path, "reason", cli_text(c, "reason"));
    cli_path_ask(&path, "deregister", cli_on(c, "deregister") ? "" : NULL);
    cli_path_ask(&path, "trust-unproven",
                 cli_on(c, "trust-unproven") ? "" : NULL);
    if (!cli_ask(c, "PUT", path, (struct bytes){0},
                 cli_duration_ms(c, "wait") + DRAIN_SLACK_MS))
        return 1;
    if (c->status != 200) {
        (void)cli_refused(c);
        return 1;
    }
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        const char *result = cli_str(j, "Result");
        cli_print_json(j);
        code = strcmp(result, "safe") == 0      ? 0
               : strcmp(result, "waiting") == 0 ? DRAIN_WAITING
                                                : DRAIN_UNKNOWN;
    } else {
        code = told(c, j);
    }
    json_decref(j);
    return code;
}

int cli_undrain(struct cli *c)
{
    struct cli_path path = cli_path("/v1/agent/service/undrain/");

    cli_path_put(&path, c->args[0]);
    if (!cli_request(c, "PUT", path, (struct bytes){0}))
        return 1;
    printf("%s is back in the answers as far as its checks allow\n",
           c->args[0]);
    return 0;
}
