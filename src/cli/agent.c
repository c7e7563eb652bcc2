/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Commands that tell the agent to do something: leave, force-leave, join,
 * reload, maint, event; and keygen, which needs none. */
#include <string.h>
#include <sys/random.h>

#include "cli/impl.h"

static bool put(struct cli *c, struct cli_path path)
{
    return cli_request(c, "PUT", path, (struct bytes){0});
}

int cli_leave(struct cli *c)
{
    if (!put(c, cli_path("/v1/agent/leave")))
        return 1;
    puts("Graceful leave complete");
    return 0;
}

int cli_force_leave(struct cli *c)
{
    struct cli_path path = cli_path("/v1/agent/force-leave/");
    cli_path_put(&path, c->args[0]);
    cli_path_ask(&path, "prune", cli_on(c, "prune") ? "" : NULL);
    cli_path_ask(&path, "wan", cli_on(c, "wan") ? "1" : NULL);
    return put(c, path) ? 0 : 1;
}

int cli_join(struct cli *c)
{
    int joined = 0;

    for (size_t i = 0; i < c->arg_count; i++) {
        struct cli_path path = cli_path("/v1/agent/join/");
        cli_path_put(&path, c->args[i]);
        cli_path_ask(&path, "wan", cli_on(c, "wan") ? "1" : NULL);
        if (put(c, path))
            joined++;
        else
            (void)cli_fail(c, "Error joining address '%s'", c->args[i]);
    }
    if (joined == 0)
        return cli_fail(c, "Failed to join any nodes.");
    printf("Successfully joined cluster by contacting %d nodes.\n", joined);
    return 0;
}

int cli_reload(struct cli *c)
{
    if (!put(c, cli_path("/v1/agent/reload")))
        return 1;
    puts("Configuration reload triggered");
    return 0;
}

/* --- maint ---------------------------------------------------------------- */

static int show_maintenance(struct cli *c)
{
    static const char service[] = "_service_maintenance:";
    const char *id;
    json_t *check;

    if (!cli_get(c, "/v1/agent/checks"))
        return 1;
    json_t *checks = cli_reply_json(c);
    if (!checks)
        return 1;
    json_object_foreach(checks, id, check)
    {
        const char *notes = cli_str(check, "Notes");
        if (strcmp(id, "_node_maintenance") == 0)
            printf("Node:\n  Name:   %s\n  Reason: %s\n\n",
                   cli_str(check, "Node"), notes);
        else if (strncmp(id, service, sizeof service - 1) == 0)
            printf("Service:\n  ID:     %s\n  Reason: %s\n\n",
                   cli_str(check, "ServiceID"), notes);
    }
    json_decref(checks);
    return 0;
}

/* Consul's texts and streams. */
int cli_validate(struct cli *c)
{
    struct errtext t = {{0}};

    if (c->arg_count == 0) {
        fputs("Must specify at least one config file or directory\n", stderr);
        return 1;
    }
    if (c->validate(c->args, c->arg_count, cli_text(c, "config-format"), &t) !=
        ERR_OK) {
        fprintf(stderr, "Config validation failed: %s\n", t.s);
        return 1;
    }
    if (!cli_on(c, "quiet"))
        puts("Configuration is valid!");
    return 0;
}

int cli_maint(struct cli *c)
{
    bool enable = cli_on(c, "enable"), disable = cli_on(c, "disable");
    const char *service = cli_text(c, "service");
    const char *reason = cli_text(c, "reason");

    if (enable && disable)
        return cli_misused(c, "-enable or -disable, not both");
    if (!enable && reason)
        return cli_misused(c, "-reason goes with -enable only");
    if (!enable && !disable && service)
        return cli_misused(c, "-service needs -enable or -disable");
    if (!enable && !disable)
        return show_maintenance(c);
    struct cli_path path = cli_path(service ? "/v1/agent/service/maintenance/"
                                            : "/v1/agent/maintenance");
    if (service)
        cli_path_put(&path, service);
    cli_path_ask(&path, "enable", enable ? "true" : "false");
    cli_path_ask(&path, "reason", reason);
    if (!put(c, path))
        return 1;
    const char *word = enable ? "enabled" : "disabled";
    if (service)
        printf("Service maintenance is now %s for \"%s\"\n", word, service);
    else
        printf("Node maintenance is now %s\n", word);
    return 0;
}

/* --- event, keygen -------------------------------------------------------- */

int cli_event(struct cli *c)
{
    struct cli_path path = cli_path("/v1/event/fire/");
    const char *name = cli_text(c, "name");

    if (!name || !*name)
        return cli_misused(c, "-name is missing: which event");
    if (cli_text(c, "tag") && !cli_text(c, "service"))
        return cli_misused(c, "-tag needs -service");
    cli_path_put(&path, name);
    cli_path_ask(&path, "node", cli_text(c, "node"));
    cli_path_ask(&path, "service", cli_text(c, "service"));
    cli_path_ask(&path, "tag", cli_text(c, "tag"));
    if (!cli_request(c, "PUT", path, bytes_str(c->args[0])))
        return 1;
    json_t *event = cli_reply_json(c);
    if (!event)
        return 1;
    printf("Event ID: %s\n", cli_str(event, "ID"));
    json_decref(event);
    return 0;
}

int cli_keygen(struct cli *c)
{
    unsigned char key[32];
    if (getrandom(key, sizeof key, 0) != sizeof key)
        return cli_fail(c, "the kernel gives no random bytes");
    puts(cli_base64(c, bytes_of(key, sizeof key)));
    return 0;
}
