/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Commands that show something: members, info, catalog, health. */
#include <jansson.h>
#include <stdio.h>

#include "cli/impl.h"
#include "http/request.h"

static void cell_str(struct cli_table *t, const char *s)
{
    cli_cell(t, bytes_str(s ? s : ""));
}

/* Answers with free-form names are walked with jansson; the reply is bounded.
 */
static json_t *reply_json(const struct cli *c)
{
    json_error_t e;
    json_t *j = json_loadb(c->reply, c->reply_n, JSON_DECODE_ANY, &e);
    if (!j)
        fprintf(stderr, "muster %s: the agent's answer cannot be read: %s\n",
                c->command, e.text);
    return j;
}

static const char *str(json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

/* --- members ------------------------------------------------------------- */

static const char *member_status(json_t *m)
{
    static const char *const names[] = {"none", "alive", "leaving", "left",
                                        "failed"};
    json_int_t s = json_integer_value(json_object_get(m, "Status"));
    return s >= 0 && s <= 4 ? names[s] : "unknown";
}

int cli_members(int argc, char **argv)
{
    bool wan = false, detailed = false;
    struct cli_flag flags[] = {{.name = "wan",
                                .help = "servers of all datacenters",
                                .is_bool = true,
                                .set = &wan},
                               {.name = "detailed",
                                .help = "with all tags",
                                .is_bool = true,
                                .set = &detailed}};
    struct cli c = {.command = "members",
                    .synopsis = "[options]",
                    .help = "Lists the members that the agent knows.",
                    .flags = flags,
                    .flag_count = 2};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    json_t *list = NULL;
    rc = 1;
    if (!cli_request(&c, "GET",
                     wan ? "/v1/agent/members?wan=1" : "/v1/agent/members",
                     (struct bytes){0}) ||
        !(list = reply_json(&c)))
        goto out;
    struct cli_table t = {.columns = 7};
    static const char *const heads[] = {"Node",  "Address", "Status", "Type",
                                        "Build", "DC",      "ID"};
    for (int i = 0; i < 7; i++)
        cell_str(&t, heads[i]);
    size_t i;
    json_t *m;
    json_array_foreach(list, i, m)
    {
        json_t *tags = json_object_get(m, "Tags");
        const char *role = str(tags, "role");
        const char *build = str(tags, "build");
        cell_str(&t, str(m, "Name"));
        cell_str(&t, arena_printf(&c.arena, "%s:%lld", str(m, "Addr"),
                                  (long long)json_integer_value(
                                      json_object_get(m, "Port"))));
        cell_str(&t, member_status(m));
        cell_str(&t, role && strcmp(role, "consul") == 0 ? "server" : "client");
        cli_cell(&t, bytes_head(bytes_str(build),
                                bytes_find(bytes_str(build), ':')));
        cell_str(&t, str(tags, "dc"));
        cell_str(&t, str(tags, "id"));
    }
    cli_table_print(&t);
    rc = 0;
out:
    json_decref(list);
    cli_fini(&c);
    return rc;
}

/* --- info ---------------------------------------------------------------- */

int cli_info(int argc, char **argv)
{
    struct cli c = {.command = "info",
                    .synopsis = "[options]",
                    .help = "Shows the agent's own figures."};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    json_t *self = NULL;
    rc = 1;
    if (cli_request(&c, "GET", "/v1/agent/self", (struct bytes){0}) &&
        (self = reply_json(&c))) {
        const char *group, *key;
        json_t *values, *v;
        json_object_foreach(json_object_get(self, "Stats"), group, values)
        {
            printf("%s:\n", group);
            json_object_foreach(values, key, v)
                printf("\t%s = %s\n", key, json_string_value(v));
        }
        rc = 0;
    }
    json_decref(self);
    cli_fini(&c);
    return rc;
}

/* --- catalog ------------------------------------------------------------- */

static void print_services(json_t *j, bool tags)
{
    const char *name;
    json_t *list, *tag;
    struct cli_table t = {.columns = tags ? 2 : 1};
    json_object_foreach(j, name, list)
    {
        struct buf joined;
        size_t i;
        cell_str(&t, name);
        if (!tags)
            continue;
        buf_init(&joined, 0);
        json_array_foreach(list, i, tag)
        {
            if (i)
                buf_putc(&joined, ',');
            buf_puts(&joined, json_string_value(tag));
        }
        cli_cell(&t, buf_bytes(&joined));
        buf_fini(&joined);
    }
    cli_table_print(&t);
}

static void print_nodes(json_t *j)
{
    struct cli_table t = {.columns = 4};
    cell_str(&t, "Node");
    cell_str(&t, "ID");
    cell_str(&t, "Address");
    cell_str(&t, "DC");
    size_t i;
    json_t *n;
    json_array_foreach(j, i, n)
    {
        cell_str(&t, str(n, "Node"));
        cli_cell(&t, bytes_head(bytes_str(str(n, "ID")), 8));
        cell_str(&t, str(n, "Address"));
        cell_str(&t, str(n, "Datacenter"));
    }
    cli_table_print(&t);
}

int cli_catalog(int argc, char **argv)
{
    bool tags = false;
    struct cli_flag flags[] = {{.name = "tags",
                                .help = "with each service's tags",
                                .is_bool = true,
                                .set = &tags}};
    struct cli c = {.command = "catalog",
                    .synopsis = "services|nodes|datacenters [options]",
                    .help = "Lists what the catalog holds.",
                    .flags = flags,
                    .flag_count = 1};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    const char *what = c.arg_count == 1 ? c.args[0] : "";
    bool services = strcmp(what, "services") == 0;
    bool nodes = strcmp(what, "nodes") == 0;
    if (!services && !nodes && strcmp(what, "datacenters") != 0) {
        fprintf(stderr, "Usage: muster catalog %s\n", c.synopsis);
        cli_fini(&c);
        return 1;
    }
    json_t *j = NULL;
    rc = 1;
    if (cli_request(&c, "GET", arena_printf(&c.arena, "/v1/catalog/%s", what),
                    (struct bytes){0}) &&
        (j = reply_json(&c))) {
        size_t i;
        json_t *dc;
        if (services)
            print_services(j, tags);
        else if (nodes)
            print_nodes(j);
        else
            json_array_foreach(j, i, dc) printf("%s\n", json_string_value(dc));
        rc = 0;
    }
    json_decref(j);
    cli_fini(&c);
    return rc;
}

/* --- health -------------------------------------------------------------- */

static const char *worst_status(json_t *checks)
{
    const char *worst = "passing";
    size_t i;
    json_t *k;
    json_array_foreach(checks, i, k)
    {
        const char *s = str(k, "Status");
        if (!s)
            continue;
        if (strcmp(s, "critical") == 0 ||
            (strcmp(s, "warning") == 0 && strcmp(worst, "passing") == 0))
            worst = s;
    }
    return worst;
}

static void print_health(struct cli *c, json_t *j)
{
    struct cli_table t = {.columns = 5};
    static const char *const heads[] = {"Status", "Instance", "Node", "Address",
                                        "Checks that do not pass"};
    for (int i = 0; i < 5; i++)
        cell_str(&t, heads[i]);
    size_t i, k;
    json_t *entry, *check;
    json_array_foreach(j, i, entry)
    {
        json_t *service = json_object_get(entry, "Service");
        json_t *node = json_object_get(entry, "Node");
        json_t *checks = json_object_get(entry, "Checks");
        const char *address = str(service, "Address");
        if (!address || !*address)
            address = str(node, "Address");
        cell_str(&t, worst_status(checks));
        cell_str(&t, str(service, "ID"));
        cell_str(&t, str(node, "Node"));
        cell_str(&t, arena_printf(&c->arena, "%s:%lld", address,
                                  (long long)json_integer_value(
                                      json_object_get(service, "Port"))));
        struct buf why;
        buf_init(&why, 0);
        json_array_foreach(checks, k, check)
        {
            const char *s = str(check, "Status");
            if (s && strcmp(s, "passing") == 0)
                continue;
            buf_printf(&why, "%s%s: %.60s", why.n ? "; " : "",
                       str(check, "CheckID"), str(check, "Output"));
        }
        cli_cell(&t, buf_bytes(&why));
        buf_fini(&why);
    }
    cli_table_print(&t);
}

int cli_health(int argc, char **argv)
{
    bool passing = false;
    struct cli_flag flags[] = {{.name = "passing",
                                .help = "only instances whose checks all pass",
                                .is_bool = true,
                                .set = &passing}};
    struct cli c = {.command = "health",
                    .synopsis = "[options] SERVICE",
                    .help = "Shows the instances of a service, their status "
                            "and the checks that do not pass.",
                    .flags = flags,
                    .flag_count = 1};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    if (c.arg_count != 1) {
        fprintf(stderr, "Usage: muster health %s\n", c.synopsis);
        cli_fini(&c);
        return 1;
    }
    struct buf path;
    json_t *j = NULL;
    buf_init(&path, 0);
    buf_puts(&path, "/v1/health/service/");
    http_encode(&path, bytes_str(c.args[0]));
    if (passing)
        buf_puts(&path, "?passing");
    buf_putc(&path, 0);
    rc = 1;
    if (cli_request(&c, "GET", path.p, (struct bytes){0}) &&
        (j = reply_json(&c))) {
        print_health(&c, j);
        rc = 0;
    }
    json_decref(j);
    buf_fini(&path);
    cli_fini(&c);
    return rc;
}
