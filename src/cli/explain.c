/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster explain: why an instance is in the answers, or is not. */
#include "cli/impl.h"

enum { OUTPUT_SHOWN = 80, UDP_TELLS = 3 /* unless configured otherwise */ };

static const char *why(struct cli *c, json_t *instance)
{
    json_t *check = json_object_get(instance, "Check");
    const char *rule = cli_str(instance, "Rule");
    const char *missing = cli_str(instance, "Missing");
    const char *text = cli_str(check, "Output");

    if (*missing)
        return arena_printf(&c->arena, "has no tag %s", missing);
    if (strcmp(rule, "maintenance") == 0)
        return arena_printf(&c->arena, "in maintenance: %s",
                            cli_str(check, "Notes"));
    if (strcmp(rule, "damped") == 0)
        return arena_printf(
            &c->arena, "%s flaps: damped until %s (penalty %lld)",
            cli_str(check, "CheckID"), cli_str(check, "DampedUntil"),
            (long long)json_integer_value(json_object_get(check, "Penalty")));
    if (strcmp(rule, "held") == 0)
        return arena_printf(&c->arena, "held by the guard since %s: %s: %.*s",
                            cli_str(check, "HeldSince"),
                            cli_str(check, "CheckID"), OUTPUT_SHOWN,
                            *text ? text : "(no output)");
    if (check)
        return arena_printf(&c->arena, "%s is %s: %.*s",
                            cli_str(check, "CheckID"), cli_str(check, "Status"),
                            OUTPUT_SHOWN, *text ? text : "(no output)");
    return rule;
}

/* The same, and that a check of it flaps where that is not the reason. */
static const char *why_and_flaps(struct cli *c, json_t *instance)
{
    json_t *flaps = json_object_get(instance, "Flaps");
    const char *text = why(c, instance), *until = cli_str(flaps, "Until");

    if (!*until || strcmp(cli_str(instance, "Rule"), "damped") == 0)
        return text;
    return arena_printf(
        &c->arena, "%s; %s flaps: penalty %lld, %s until %s", text,
        cli_str(flaps, "CheckID"),
        (long long)json_integer_value(json_object_get(flaps, "Penalty")),
        json_is_true(json_object_get(flaps, "Damped")) ? "damped"
                                                       : "would be damped",
        until);
}

static void explain_row(struct cli *c, struct cli_table *t, json_t *instance)
{
    cli_cell_str(t,
                 json_is_true(json_object_get(instance, "In")) ? "in" : "out");
    cli_cell_str(t, cli_str(instance, "ServiceID"));
    cli_cell_str(t, cli_str(instance, "Node"));
    cli_cell_str(t, arena_printf(&c->arena, "%s:%lld",
                                 cli_str(instance, "Address"),
                                 (long long)json_integer_value(
                                     json_object_get(instance, "Port"))));
    cli_cell_str(t, why_and_flaps(c, instance));
}

static void departed_row(struct cli *c, struct cli_table *t, json_t *gone)
{
    const char *by = cli_str(gone, "By"), *as = cli_str(gone, "As");

    cli_cell_str(t, "gone");
    cli_cell_str(t, cli_str(gone, "ServiceID"));
    cli_cell_str(t, cli_str(gone, "Node"));
    cli_cell_str(t, arena_printf(&c->arena, "%s:%lld", cli_str(gone, "Address"),
                                 (long long)json_integer_value(
                                     json_object_get(gone, "Port"))));
    cli_cell_str(
        t, *as ? arena_printf(&c->arena, "registered as %s at %s by %s", as,
                              cli_str(gone, "Time"), by)
               : arena_printf(&c->arena, "deregistered at %s by %s",
                              cli_str(gone, "Time"), *by ? by : "(not known)"));
}

/* Said where it may surprise: DNS leaves out what HTTP tells, or tells a few. */
static void print_dns(const char *name, json_t *dns)
{
    long long told = json_integer_value(json_object_get(dns, "Service"));
    long long passing = json_integer_value(json_object_get(dns, "Passing"));
    size_t i;
    json_t *left;

    if (!dns)
        return;
    printf("\nIn DNS: %lld by %s.service, %lld by %s.passing", told, name,
           passing, name);
    if (told > UDP_TELLS)
        printf("; over UDP without EDNS a few of them, the answer says that "
               "there are more (TC)");
    printf("\n");
    json_array_foreach(json_object_get(dns, "LeftOut"), i, left)
        printf("Not in DNS: %lld, %s\n",
               (long long)json_integer_value(json_object_get(left, "Count")),
               cli_str(left, "Reason"));
}

int cli_explain(struct cli *c)
{
    static const char *const heads[] = {"", "Instance", "Node", "Address",
                                        "Because"};
    struct cli_path path = cli_path("/v1/muster/explain/health/service/");
    struct cli_table t = {.columns = 5};
    size_t i;
    json_t *instance;

    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "passing", cli_on(c, "any") ? NULL : "");
    cli_path_ask_each(c, &path, "tag");
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    json_t *instances = json_object_get(j, "Instances");
    json_t *departed = json_object_get(j, "Departed");
    if (cli_json(c)) {
        cli_print_json(j);
    } else if (!json_is_true(json_object_get(j, "Known")) &&
               json_array_size(departed) == 0) {
        printf("no service %s is registered; `muster catalog services` lists "
               "those that are\n",
               c->args[0]);
    } else {
        cli_heads(&t, heads, t.columns);
        json_array_foreach(instances, i, instance) explain_row(c, &t, instance);
        json_array_foreach(departed, i, instance) departed_row(c, &t, instance);
        cli_table_print(&t);
        print_dns(c->args[0], json_object_get(j, "DNS"));
    }
    json_decref(j);
    return 0;
}
