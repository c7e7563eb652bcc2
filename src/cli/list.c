/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Commands that show something: members, info, health, catalog. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "cli/impl.h"

static long long whole(json_t *o, const char *key)
{
    return (long long)json_integer_value(json_object_get(o, key));
}

/* "a=1,b=2", sorted by key. */
static const char *pairs(struct cli *c, json_t *o, const char *between)
{
    char *flat = json_dumps(o, JSON_SORT_KEYS | JSON_COMPACT);
    json_t *sorted = flat ? json_loads(flat, 0, NULL) : NULL;
    struct buf b;
    const char *key;
    json_t *v;

    buf_init(&b, 0);
    json_object_foreach(sorted, key, v)
        buf_printf(&b, "%s%s=%s", b.n ? between : "", key,
                   json_string_value(v) ? json_string_value(v) : "");
    const char *out = arena_str(&c->arena, buf_bytes(&b));
    buf_fini(&b);
    json_decref(sorted);
    free(flat);
    return out ? out : "";
}

/* --- members -------------------------------------------------------------- */

static const char *member_status(json_t *m)
{
    static const char *const names[] = {"none", "alive", "leaving", "left",
                                        "failed"};
    long long s = whole(m, "Status");
    return s >= 0 && s <= 4 ? names[s] : "unknown";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(cli_str(*(json_t *const *)a, "Name"),
                  cli_str(*(json_t *const *)b, "Name"));
}

/* Those whose status fits, by name; the number of them, -1: printed why not. */
static int choose_members(struct cli *c, json_t *all, json_t ***ret)
{
    const char *pattern = cli_text(c, "status");
    regex_t re;
    size_t i;
    json_t *m;
    int n = 0;

    int bad = regcomp(&re, pattern ? pattern : "", REG_EXTENDED | REG_NOSUB);
    if (bad) {
        char why[128];
        (void)regerror(bad, &re, why, sizeof why);
        (void)cli_fail(c, "-status is no regular expression: %s", why);
        return -1;
    }
    json_t **list =
        arena_alloc(&c->arena, (json_array_size(all) + 1) * sizeof *list);
    json_array_foreach(all, i, m) if (regexec(&re, member_status(m), 0, NULL,
                                              0) == 0) list[n++] = m;
    regfree(&re);
    qsort(list, (size_t)n, sizeof *list, by_name);
    *ret = list;
    return n;
}

static void member_row(struct cli *c, struct cli_table *t, json_t *m,
                       bool detailed)
{
    json_t *tags = json_object_get(m, "Tags");
    const char *role = cli_str(tags, "role");
    struct bytes build = bytes_str(cli_str(tags, "build"));
    bool server = strcmp(role, "consul") == 0;

    cli_cell_str(t, cli_str(m, "Name"));
    cli_cell_str(t, arena_printf(&c->arena, "%s:%lld", cli_str(m, "Addr"),
                                 whole(m, "Port")));
    cli_cell_str(t, member_status(m));
    if (detailed) {
        cli_cell_str(t, pairs(c, tags, ","));
        return;
    }
    cli_cell_str(t, server                      ? "server"
                    : strcmp(role, "node") == 0 ? "client"
                                                : "unknown");
    cli_cell(t, bytes_head(build, bytes_find(build, ':')));
    cli_cell_str(t, cli_str(tags, "vsn"));
    cli_cell_str(t, cli_str(tags, "dc"));
    cli_cell_str(t, *cli_str(tags, "segment") ? cli_str(tags, "segment")
                    : server                  ? "<all>"
                                              : "<default>");
}

int cli_members(struct cli *c)
{
    static const char *const heads[] = {"Node", "Address", "Status",
                                        "Type", "Build",   "Protocol",
                                        "DC",   "Segment"};
    static const char *const more[] = {"Node", "Address", "Status", "Tags"};
    bool detailed = cli_on(c, "detailed");
    struct cli_path path = cli_path("/v1/agent/members");
    struct cli_table t = {.columns = detailed ? 4 : 8};
    json_t **list = NULL;

    cli_path_ask(&path, "wan", cli_on(c, "wan") ? "1" : NULL);
    cli_path_ask(&path, "segment", cli_text(c, "segment"));
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *all = cli_reply_json(c);
    int n = all ? choose_members(c, all, &list) : -1;
    if (n > 0 && cli_json(c)) {
        json_t *chosen = json_array();
        for (int i = 0; i < n; i++)
            json_array_append(chosen, list[i]);
        cli_print_json(chosen);
        json_decref(chosen);
    } else if (n > 0) {
        cli_heads(&t, detailed ? more : heads, t.columns);
        for (int i = 0; i < n; i++)
            member_row(c, &t, list[i], detailed);
        cli_table_print(&t);
    }
    json_decref(all);
    return n > 0 ? 0 : n == 0 ? 2 : 1;
}

/* --- info ----------------------------------------------------------------- */

int cli_info(struct cli *c)
{
    const char *group, *key;
    json_t *values, *v;

    if (!cli_get(c, "/v1/agent/self"))
        return 1;
    json_t *self = cli_reply_json(c);
    if (!self)
        return 1;
    json_t *stats = json_object_get(self, "Stats");
    if (cli_json(c))
        cli_print_json(stats);
    else
        json_object_foreach(stats, group, values)
        {
            printf("%s:\n", group);
            json_object_foreach(values, key, v)
                printf("\t%s = %s\n", key, json_string_value(v));
        }
    json_decref(self);
    return 0;
}

/* --- catalog -------------------------------------------------------------- */

static int nothing_fits(const char *what)
{
    fprintf(stderr,
            "No %s match the given query - try expanding your search.\n", what);
    return 0;
}

static void ask_node_meta(struct cli *c, struct cli_path *path)
{
    size_t at = 0;
    const char *v;
    while ((v = cli_next(c, "node-meta", &at))) {
        const char *eq = strchr(v, '=');
        cli_path_ask(
            path, "node-meta",
            arena_printf(&c->arena, "%.*s:%s", (int)(eq - v), v, eq + 1));
    }
}

static const char *of_number(struct cli *c, json_t *dc, const char *name)
{
    json_t *v = json_object_get(dc, name);

    if (!json_is_integer(v))
        return "-";
    return arena_printf(&c->arena, "%lld", (long long)json_integer_value(v));
}

static const char *of_age(struct cli *c, json_t *dc)
{
    json_t *v = json_object_get(dc, "AgeMs");

    if (!json_is_integer(v))
        return "-";
    return arena_printf(&c->arena, "%.1fs",
                        (double)json_integer_value(v) / 1000);
}

static void datacenter_row(struct cli *c, struct cli_table *t, json_t *dc)
{
    bool own = json_is_true(json_object_get(dc, "Own"));
    const char *link = own                                           ? "-"
                       : json_is_true(json_object_get(dc, "LinkUp")) ? "up"
                                                                     : "down";

    cli_cell_str(t, cli_str(dc, "Datacenter"));
    cli_cell_str(t, own ? "own" : cli_str(dc, "Mirror"));
    cli_cell_str(t, link);
    cli_cell_str(t, of_age(c, dc));
    cli_cell_str(t, of_number(c, dc, "Instances"));
    cli_cell_str(t, of_number(c, dc, "HeldBytes"));
    cli_cell_str(t, of_number(c, dc, "ReceivedBytes"));
    cli_cell_str(t, of_number(c, dc, "Reconnects"));
}

/* What the server keeps of each. */
static int datacenters_detailed(struct cli *c)
{
    static const char *const heads[] = {
        "Datacenter", "Mirror",     "Link",           "Age",
        "Instances",  "Held bytes", "Received bytes", "Reconnects"};
    struct cli_table t = {.columns = sizeof heads / sizeof *heads};
    size_t i;
    json_t *dc;

    if (!cli_get(c, "/v1/muster/datacenters"))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        cli_print_json(j);
    } else {
        cli_heads(&t, heads, t.columns);
        json_array_foreach(j, i, dc) datacenter_row(c, &t, dc);
        cli_table_print(&t);
    }
    json_decref(j);
    return 0;
}

int cli_catalog_datacenters(struct cli *c)
{
    size_t i;
    json_t *dc;

    if (cli_on(c, "detailed"))
        return datacenters_detailed(c);
    if (!cli_get(c, "/v1/catalog/datacenters"))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c))
        cli_print_json(j);
    else
        json_array_foreach(j, i, dc) puts(json_string_value(dc));
    json_decref(j);
    return 0;
}

static void node_row(struct cli *c, struct cli_table *t, json_t *n,
                     bool detailed)
{
    struct bytes id = bytes_str(cli_str(n, "ID"));
    json_t *meta = json_object_get(n, "Meta");

    cli_cell_str(t, cli_str(n, "Node"));
    cli_cell(t, detailed ? id : bytes_head(id, 8));
    cli_cell_str(t, cli_str(n, "Address"));
    cli_cell_str(t, cli_str(n, "Datacenter"));
    if (!detailed)
        return;
    cli_cell_str(t, pairs(c, json_object_get(n, "TaggedAddresses"), ", "));
    cli_cell_str(t,
                 pairs(c, meta ? meta : json_object_get(n, "NodeMeta"), ", "));
}

/* Rows of catalog/service name a node once for each of its instances. */
static bool seen_before(json_t *seen, json_t *n)
{
    const char *name = cli_str(n, "Node");
    if (json_object_get(seen, name))
        return true;
    json_object_set_new(seen, name, json_true());
    return false;
}

int cli_catalog_nodes(struct cli *c)
{
    static const char *const heads[] = {
        "Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"};
    const char *service = cli_text(c, "service");
    bool detailed = cli_on(c, "detailed");
    struct cli_path path =
        cli_path(service ? "/v1/catalog/service/" : "/v1/catalog/nodes");
    struct cli_table t = {.columns = detailed ? 6 : 4};
    size_t i;
    json_t *n;

    if (service)
        cli_path_put(&path, service);
    cli_path_ask(&path, "near", cli_text(c, "near"));
    cli_path_ask(&path, "filter", cli_text(c, "filter"));
    ask_node_meta(c, &path);
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        cli_print_json(j);
    } else if (json_array_size(j) == 0) {
        (void)nothing_fits("nodes");
    } else {
        json_t *seen = json_object();
        cli_heads(&t, heads, t.columns);
        json_array_foreach(j, i, n) if (!seen_before(seen, n))
            node_row(c, &t, n, detailed);
        cli_table_print(&t);
        json_decref(seen);
    }
    json_decref(j);
    return 0;
}

/* catalog/node's answer as catalog/services has it: name -> tags. */
static json_t *services_of_node(json_t *answer)
{
    json_t *out = json_object(), *s, *tag;
    const char *id;
    size_t i;

    json_object_foreach(json_object_get(answer, "Services"), id, s)
    {
        const char *name = cli_str(s, "Service");
        json_t *tags = json_object_get(out, name);
        if (!tags) {
            tags = json_array();
            json_object_set_new(out, name, tags);
        }
        json_array_foreach(json_object_get(s, "Tags"), i, tag)
            json_array_append(tags, tag);
    }
    json_decref(answer);
    return out;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *tags_of(struct cli *c, json_t *list)
{
    struct buf b;
    const char **tags, *last = NULL;
    size_t i, n = json_array_size(list);
    json_t *tag;

    tags = arena_alloc(&c->arena, (n + 1) * sizeof *tags);
    json_array_foreach(list, i, tag) tags[i] = json_string_value(tag);
    qsort(tags, n, sizeof *tags, by_text);
    buf_init(&b, 0);
    for (i = 0; i < n; last = tags[i++])
        if (!last || strcmp(last, tags[i]) != 0)
            buf_printf(&b, "%s%s", last ? "," : "", tags[i]);
    const char *out = arena_str(&c->arena, buf_bytes(&b));
    buf_fini(&b);
    return out ? out : "";
}

static void print_services(struct cli *c, json_t *j)
{
    bool with_tags = cli_on(c, "tags");
    struct cli_table t = {.columns = with_tags ? 2 : 1};
    const char **names, *name;
    json_t *tags;
    size_t n = 0;

    names = arena_alloc(&c->arena, (json_object_size(j) + 1) * sizeof *names);
    json_object_foreach(j, name, tags) names[n++] = name;
    qsort(names, n, sizeof *names, by_text);
    for (size_t i = 0; i < n; i++) {
        cli_cell_str(&t, names[i]);
        if (with_tags)
            cli_cell_str(&t, tags_of(c, json_object_get(j, names[i])));
    }
    cli_table_print(&t);
}

int cli_catalog_services(struct cli *c)
{
    const char *node = cli_text(c, "node");
    struct cli_path path =
        cli_path(node ? "/v1/catalog/node/" : "/v1/catalog/services");

    if (node)
        cli_path_put(&path, node);
    cli_path_ask(&path, "ns", cli_text(c, "namespace"));
    ask_node_meta(c, &path);
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (node)
        j = services_of_node(j);
    if (cli_json(c))
        cli_print_json(j);
    else if (json_object_size(j) == 0)
        (void)nothing_fits("services");
    else
        print_services(c, j);
    json_decref(j);
    return 0;
}

/* --- health --------------------------------------------------------------- */

static const char *worst_status(json_t *checks)
{
    const char *worst = "passing";
    size_t i;
    json_t *k;
    json_array_foreach(checks, i, k)
    {
        const char *s = cli_str(k, "Status");
        if (strcmp(s, "critical") == 0 ||
            (strcmp(s, "warning") == 0 && strcmp(worst, "passing") == 0))
            worst = s;
    }
    return worst;
}

static void health_row(struct cli *c, struct cli_table *t, json_t *entry)
{
    json_t *service = json_object_get(entry, "Service");
    json_t *node = json_object_get(entry, "Node");
    json_t *checks = json_object_get(entry, "Checks");
    const char *address = cli_str(service, "Address");
    struct buf why;
    size_t i;
    json_t *check;

    if (!*address)
        address = cli_str(node, "Address");
    cli_cell_str(t, worst_status(checks));
    cli_cell_str(t, cli_str(service, "ID"));
    cli_cell_str(t, cli_str(node, "Node"));
    cli_cell_str(
        t, arena_printf(&c->arena, "%s:%lld", address, whole(service, "Port")));
    buf_init(&why, 0);
    json_array_foreach(
        checks, i, check) if (strcmp(cli_str(check, "Status"), "passing") != 0)
        buf_printf(&why, "%s%s: %.60s", why.n ? "; " : "",
                   cli_str(check, "CheckID"), cli_str(check, "Output"));
    cli_cell(t, buf_bytes(&why));
    buf_fini(&why);
}

int cli_health(struct cli *c)
{
    static const char *const heads[] = {"Status", "Instance", "Node", "Address",
                                        "Checks that do not pass"};
    struct cli_path path = cli_path("/v1/health/service/");
    struct cli_table t = {.columns = 5};
    size_t i;
    json_t *entry;

    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "passing", cli_on(c, "passing") ? "" : NULL);
    cli_path_ask(&path, "filter", cli_text(c, "filter"));
    cli_path_ask_each(c, &path, "tag");
    if (!cli_request(c, "GET", path, (struct bytes){0}))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        cli_print_json(j);
    } else if (json_array_size(j) == 0) {
        (void)nothing_fits("instances");
    } else {
        cli_heads(&t, heads, t.columns);
        json_array_foreach(j, i, entry) health_row(c, &t, entry);
        cli_table_print(&t);
    }
    json_decref(j);
    return 0;
}
