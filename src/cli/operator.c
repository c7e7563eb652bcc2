/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* operator ..., and rtt. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/impl.h"

/* --- raft ----------------------------------------------------------------- */

int cli_raft_list(struct cli *c)
{
    static const char *const heads[] = {"Node",  "ID",    "Address",
                                        "State", "Voter", "RaftProtocol"};
    struct cli_table t = {.columns = 6};
    size_t i;
    json_t *s;

    if (!cli_get(c, "/v1/operator/raft/configuration"))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c)) {
        cli_print_json(j);
        json_decref(j);
        return 0;
    }
    cli_heads(&t, heads, t.columns);
    json_array_foreach(json_object_get(j, "Servers"), i, s)
    {
        const char *protocol = cli_str(s, "ProtocolVersion");
        cli_cell_str(&t, cli_str(s, "Node"));
        cli_cell_str(&t, cli_str(s, "ID"));
        cli_cell_str(&t, cli_str(s, "Address"));
        cli_cell_str(&t, json_is_true(json_object_get(s, "Leader"))
                             ? "leader"
                             : "follower");
        cli_cell_str(&t, json_is_true(json_object_get(s, "Voter")) ? "true"
                                                                   : "false");
        cli_cell_str(&t, *protocol ? protocol : "<=1");
    }
    cli_table_print(&t);
    json_decref(j);
    return 0;
}

int cli_raft_remove(struct cli *c)
{
    const char *address = cli_text(c, "address"), *id = cli_text(c, "id");
    struct cli_path path = cli_path("/v1/operator/raft/peer");

    cli_path_ask(&path, "address", address);
    cli_path_ask(&path, "id", id);
    if (!address == !id) {
        buf_fini(&path.text);
        return cli_misused(c, "%s",
                           id ? "-address or -id, not both"
                              : "-address or -id is missing: which "
                                "server");
    }
    if (!cli_request(c, "DELETE", path, (struct bytes){0}))
        return 1;
    printf("Removed peer with %s \"%s\"\n", id ? "id" : "address",
           id ? id : address);
    return 0;
}

/* --- autopilot ------------------------------------------------------------ */

static const char autopilot_route[] = "/v1/operator/autopilot/configuration";

/* Flags and the members they set, in the order in which they are shown. */
static const struct {
    const char *member, *flag;
} autopilot[] = {
    {"CleanupDeadServers", "cleanup-dead-servers"},
    {"LastContactThreshold", "last-contact-threshold"},
    {"MaxTrailingLogs", "max-trailing-logs"},
    {"MinQuorum", "min-quorum"},
    {"ServerStabilizationTime", "server-stabilization-time"},
    {"RedundancyZoneTag", "redundancy-zone-tag"},
    {"DisableUpgradeMigration", "disable-upgrade-migration"},
    {"UpgradeVersionTag", "upgrade-version-tag"},
};

enum { AUTOPILOT = sizeof autopilot / sizeof autopilot[0] };

static bool is_tag(const char *member)
{
    return strstr(member, "Tag") != NULL;
}

int cli_autopilot_get(struct cli *c)
{
    if (!cli_get(c, autopilot_route))
        return 1;
    json_t *j = cli_reply_json(c);
    if (!j)
        return 1;
    if (cli_json(c))
        cli_print_json(j);
    for (size_t i = 0; i < AUTOPILOT && !cli_json(c); i++) {
        const char *name = autopilot[i].member;
        json_t *v = json_object_get(j, name);
        char *text = json_dumps(v, JSON_ENCODE_ANY);
        printf("%s = %s\n", name,
               json_is_string(v) && !is_tag(name) ? json_string_value(v)
               : text                             ? text
                                                  : "");
        free(text);
    }
    json_decref(j);
    return 0;
}

static void change(struct cli *c, json_t *config, size_t i)
{
    const char *flag = autopilot[i].flag;
    json_t *was = json_object_get(config, autopilot[i].member), *now;

    if (!cli_was_said(c, flag))
        return;
    if (json_is_boolean(was))
        now = json_boolean(cli_on(c, flag));
    else if (json_is_integer(was))
        now = json_integer((json_int_t)cli_number(c, flag));
    else
        now = json_string(cli_text(c, flag));
    json_object_set_new(config, autopilot[i].member, now);
}

int cli_autopilot_set(struct cli *c)
{
    struct cli_path path = cli_path(autopilot_route);

    if (!cli_get(c, autopilot_route)) {
        buf_fini(&path.text);
        return 1;
    }
    json_t *j = cli_reply_json(c);
    for (size_t i = 0; i < AUTOPILOT && j; i++)
        change(c, j, i);
    cli_path_ask(
        &path, "cas",
        arena_printf(&c->arena, "%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(j, "ModifyIndex"))));
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    bool ok = text && cli_request(c, "PUT", path, bytes_str(text));
    if (!text)
        buf_fini(&path.text);
    free(text);
    json_decref(j);
    if (!ok)
        return 1;
    if (!bytes_starts(bytes_of(c->reply, c->reply_n), bytes_str("true")))
        return cli_fail(c, "somebody else changed the settings meanwhile: "
                           "nothing was done; run it again");
    puts("Configuration updated!");
    return 0;
}

/* --- rtt ------------------------------------------------------------------ */

static double real(json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

/* Vivaldi: seconds between two coordinates; < 0: not of the same space. */
static double distance_s(json_t *a, json_t *b)
{
    json_t *va = json_object_get(a, "Vec"), *vb = json_object_get(b, "Vec");
    double sum = 0;

    if (json_array_size(va) != json_array_size(vb) || json_array_size(va) == 0)
        return -1;
    for (size_t i = 0; i < json_array_size(va); i++) {
        double d = json_number_value(json_array_get(va, i)) -
                   json_number_value(json_array_get(vb, i));
        sum += d * d;
    }
    double rtt = sqrt(sum) + real(a, "Height") + real(b, "Height");
    double adjusted = rtt + real(a, "Adjustment") + real(b, "Adjustment");
    return adjusted > 0 ? adjusted : rtt;
}

/* The coordinate of `node` among [{Node, Coord}], or NULL. */
static json_t *coordinate(json_t *nodes, struct bytes node)
{
    size_t i;
    json_t *n;
    json_array_foreach(
        nodes, i,
        n) if (bytes_is(node,
                        cli_str(n, "Node"))) return json_object_get(n, "Coord");
    return NULL;
}

/* With wan: "node.dc" among [{Datacenter, Coordinates}]. */
static json_t *find_coordinate(json_t *j, bool wan, const char *name)
{
    const char *dot = strrchr(name, '.');
    size_t i;
    json_t *dc;

    if (!wan)
        return coordinate(j, bytes_str(name));
    json_array_foreach(j, i, dc)
    {
        if (!dot || strcmp(cli_str(dc, "Datacenter"), dot + 1) != 0)
            continue;
        json_t *nodes = json_object_get(dc, "Coordinates");
        json_t *found = coordinate(nodes, bytes_of(name, (size_t)(dot - name)));
        /* Its own server's members may be named with their datacenter. */
        return found ? found : coordinate(nodes, bytes_str(name));
    }
    return NULL;
}

static const char *own_name(struct cli *c, bool wan)
{
    if (!cli_get(c, "/v1/agent/self"))
        return NULL;
    json_t *self = cli_reply_json(c);
    json_t *config = json_object_get(self, "Config");
    const char *name =
        self ? arena_printf(&c->arena, "%s%s%s", cli_str(config, "NodeName"),
                            wan ? "." : "",
                            wan ? cli_str(config, "Datacenter") : "")
             : NULL;
    json_decref(self);
    return name;
}

int cli_rtt(struct cli *c)
{
    bool wan = cli_on(c, "wan");
    const char *names[2] = {c->args[0], c->args[1]};
    int rc = 1;

    for (size_t i = 0; i < c->arg_count && wan; i++)
        if (!strchr(names[i], '.'))
            return cli_misused(c, "with -wan a name is NODE.DATACENTER: \"%s\"",
                               names[i]);
    if (!names[1])
        names[1] = own_name(c, wan);
    if (!names[1] || !cli_get(c, wan ? "/v1/coordinate/datacenters"
                                     : "/v1/coordinate/nodes"))
        return 1;
    json_t *j = cli_reply_json(c), *at[2] = {NULL, NULL};
    for (int i = 0; i < 2 && j; i++) {
        at[i] = find_coordinate(j, wan, names[i]);
        if (!at[i]) {
            (void)cli_fail(c, "Could not find a coordinate for node \"%s\"",
                           names[i]);
            goto out;
        }
    }
    double s = j ? distance_s(at[0], at[1]) : -1;
    if (s < 0) {
        (void)cli_fail(c, "the coordinates of \"%s\" and \"%s\" do not fit",
                       names[0], names[1]);
        goto out;
    }
    printf("Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n",
           names[0], names[1], s * 1000, wan ? "WAN" : "LAN");
    rc = 0;
out:
    json_decref(j);
    return rc;
}
