/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster history: what happened to a service, one line for each change. */
#include "cli/impl.h"

enum { OUTPUT_SHOWN = 80 };

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void put_fields(struct buf *out, json_t *fields)
{
    size_t i;
    json_t *f;

    json_array_foreach(fields, i, f)
    {
        buf_puts(out, i ? ", " : " ");
        buf_puts(out, cli_str(f, "Field"));
        if (json_object_get(f, "To"))
            buf_printf(out, " %s -> %s", cli_str(f, "From"), cli_str(f, "To"));
    }
}

static void put_check(struct buf *out, json_t *change, const char *what)
{
    const char *from = cli_str(change, "From"), *to = cli_str(change, "To");
    const char *text = cli_str(change, "Output");

    buf_printf(out, "check %s", cli_str(change, "CheckID"));
    if (strcmp(what, "check status") == 0)
        buf_printf(out, " %s -> %s", from, to);
    else
        buf_printf(out, "%s%s%s", what + strlen("check"), *to ? ": " : "", to);
    if (starts(cli_str(change, "Cause"), "silence"))
        buf_puts(out, " (silence)");
    if (json_is_true(json_object_get(change, "Held")))
        buf_puts(out, " (held)");
    if (json_is_true(json_object_get(change, "Damped")))
        buf_puts(out, " (damped)");
    if (*text && strcmp(to, "passing") != 0)
        buf_printf(out, ": %.*s", OUTPUT_SHOWN, text);
}

static void put_what(struct buf *out, json_t *change)
{
    const char *what = cli_str(change, "What"), *as = cli_str(change, "As");
    json_t *port = json_object_get(change, "Port");

    if (starts(what, "check")) {
        put_check(out, change, what);
        return;
    }
    buf_puts(out, what);
    if (port)
        buf_printf(out, " %s:%lld", cli_str(change, "Address"),
                   (long long)json_integer_value(port));
    if (*as)
        buf_printf(out, ": it is %s now", as);
    put_fields(out, json_object_get(change, "Fields"));
}

static void history_row(struct cli *c, struct cli_table *t, json_t *change)
{
    const char *id = cli_str(change, "ServiceID"), *by = cli_str(change, "By");
    struct buf what;

    buf_init(&what, 0);
    put_what(&what, change);
    cli_cell_str(t, cli_str(change, "Time"));
    cli_cell_str(t, arena_printf(&c->arena, "%lld",
                                 (long long)json_integer_value(
                                     json_object_get(change, "Revision"))));
    cli_cell_str(t, cli_str(change, "Node"));
    cli_cell_str(t, *id ? id : "(all)");
    cli_cell(t, buf_bytes(&what));
    cli_cell_str(t, *by ? by : "(not known)");
    buf_fini(&what);
}

static void print_table(struct cli *c, json_t *j)
{
    static const char *const heads[] = {"Time",     "Revision", "Node",
                                        "Instance", "What",     "By"};
    struct cli_table t = {.columns = 6};
    json_t *changes = json_object_get(j, "Changes"), *change;
    json_t *from = json_object_get(j, "From");
    json_int_t left = json_integer_value(json_object_get(j, "Left"));
    size_t i;

    if (json_array_size(changes)) {
        cli_heads(&t, heads, t.columns);
        json_array_foreach(changes, i, change) history_row(c, &t, change);
        cli_table_print(&t);
    } else {
        printf("nothing happened to %s\n", cli_str(j, "Service"));
    }
    if (left)
        printf("%lld older changes are left out: see -limit and -since\n",
               (long long)left);
    printf("complete since %s, revision %lld\n", cli_str(from, "Time"),
           (long long)json_integer_value(json_object_get(from, "Revision")));
}

int cli_history(struct cli *c)
{
    struct cli_path path = cli_path("/v1/muster/history/service/");

    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "node", cli_text(c, "node"));
    cli_path_ask(&path, "id", cli_text(c, "id"));
    cli_path_ask(&path, "since", cli_text(c, "since"));
    cli_path_ask(&path, "limit", cli_text(c, "limit"));
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c))
        cli_print_json(j);
    else
        print_table(c, j);
    json_decref(j);
    return 0;
}
