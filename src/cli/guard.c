/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster guard: whom the guard holds, and letting them go; muster ghosts. */
#include "cli/impl.h"

enum { OUTPUT_SHOWN = 60 };

static long long number(json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void who(struct cli *c, struct cli_table *t, json_t *i)
{
    cli_cell_str(t, cli_str(i, "Service"));
    cli_cell_str(t, cli_str(i, "ServiceID"));
    cli_cell_str(t, cli_str(i, "Node"));
    cli_cell_str(t, arena_printf(&c->arena, "%s:%lld", cli_str(i, "Address"),
                                 number(i, "Port")));
}

static void held_rows(struct cli *c, json_t *held)
{
    static const char *const heads[] = {"Service", "Instance",   "Node",
                                        "Address", "Held since", "Because"};
    struct cli_table t = {.columns = 6};
    size_t at;
    json_t *i;

    cli_heads(&t, heads, t.columns);
    json_array_foreach(held, at, i)
    {
        json_t *check = json_array_get(json_object_get(i, "Checks"), 0);
        const char *text = cli_str(check, "Output");
        who(c, &t, i);
        cli_cell_str(&t, cli_str(check, "HeldSince"));
        cli_cell_str(&t, arena_printf(&c->arena, "%s: %.*s",
                                      cli_str(check, "CheckID"), OUTPUT_SHOWN,
                                      *text ? text : "(no output)"));
    }
    cli_table_print(&t);
}

static void damped_rows(struct cli *c, json_t *damped)
{
    static const char *const heads[] = {"Service", "Instance",     "Node",
                                        "Address", "Damped until", "Penalty"};
    struct cli_table t = {.columns = 6};
    size_t at;
    json_t *i;

    cli_heads(&t, heads, t.columns);
    json_array_foreach(damped, at, i)
    {
        who(c, &t, i);
        cli_cell_str(&t, cli_str(i, "Until"));
        cli_cell_str(&t,
                     arena_printf(&c->arena, "%lld%s", number(i, "Penalty"),
                                  json_is_true(json_object_get(i, "Suppressed"))
                                      ? ""
                                      : " (answered: too many flap)"));
    }
    cli_table_print(&t);
}

int cli_guard(struct cli *c)
{
    struct cli_path path = cli_path("/v1/muster/guard");
    const char *service = cli_text(c, "service");

    cli_path_ask(&path, "service", service);
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    json_t *held = json_object_get(j, "Held");
    json_t *damped = json_object_get(j, "Damped");
    if (cli_json(c)) {
        cli_print_json(j);
    } else {
        if (json_array_size(held))
            held_rows(c, held);
        else
            printf("no instance%s%s is held\n", service ? " of " : "",
                   service ? service : "");
        if (json_array_size(damped)) {
            printf("\n");
            damped_rows(c, damped);
        }
    }
    json_decref(j);
    return 0;
}

int cli_guard_release(struct cli *c)
{
    long long released = 0, remaining = 0;

    do { /* as many as fit into one change at a time */
        struct cli_path path = cli_path("/v1/muster/guard/release/");
        cli_path_put(&path, c->args[0]);
        cli_path_ask(&path, "node", cli_text(c, "node"));
        cli_path_ask(&path, "id", cli_text(c, "id"));
        if (!cli_request(c, "PUT", path, (struct bytes){0}))
            return 1;
        json_t *j = cli_reply_json(c);
        if (!j)
            return 1;
        long long now = number(j, "Released");
        released += now;
        remaining = now ? number(j, "Remaining") : 0;
        json_decref(j);
    } while (remaining);
    if (cli_json(c))
        printf("{\"Service\": \"%s\", \"Released\": %lld}\n", c->args[0],
               released);
    else
        printf("%lld of %s let out of the answers\n", released, c->args[0]);
    return 0;
}

/* --- Ghosts --------------------------------------------------------------- */

static void ghost_row(struct cli *c, struct cli_table *t, json_t *node,
                      json_t *service)
{
    long long ttl_ms = service ? number(service, "TTLMs") : 0;
    const char *confirmed = service ? cli_str(service, "LastConfirmed") : "";

    cli_cell_str(t, cli_str(node, "Node"));
    cli_cell_str(t, cli_str(node, "Why"));
    cli_cell_str(t, service ? cli_str(service, "Service") : "-");
    cli_cell_str(t, service ? cli_str(service, "ServiceID") : "-");
    cli_cell_str(t, ttl_ms ? arena_printf(&c->arena, "%llds", ttl_ms / 1000)
                           : "none");
    cli_cell_str(t, *confirmed ? confirmed : "-");
    const char *by = cli_str(service ? service : node, "RegisteredBy");
    const char *when = cli_str(service ? service : node, "Registered");
    cli_cell_str(t, *when ? arena_printf(&c->arena, "%s %s", when, by)
                          : "before what history keeps");
}

int cli_ghosts(struct cli *c)
{
    static const char *const heads[] = {
        "Node",         "Why",       "Service",   "Instance",
        "Time to live", "Confirmed", "Registered"};
    struct cli_table t = {.columns = 7};
    size_t i, k;
    json_t *node, *service;

    if (!cli_get(c, "/v1/muster/ghosts"))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    json_t *nodes = json_object_get(j, "Nodes");
    if (cli_json(c)) {
        cli_print_json(j);
    } else if (json_array_size(nodes) == 0) {
        printf("everything has a living owner\n");
    } else {
        cli_heads(&t, heads, t.columns);
        json_array_foreach(nodes, i, node)
        {
            json_t *services = json_object_get(node, "Services");
            json_array_foreach(services, k, service)
                ghost_row(c, &t, node, service);
            if (json_array_size(services) == 0)
                ghost_row(c, &t, node, NULL);
        }
        cli_table_print(&t);
    }
    json_decref(j);
    return 0;
}
