/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "cli/impl.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"catalog", cli_catalog, "List nodes, services and datacenters"},
    {"health", cli_health, "Show the instances of a service and their checks"},
    {"info", cli_info, "Show what the local agent says of itself"},
    {"leave", cli_leave, "Make the local agent leave and stop"},
    {"members", cli_members, "List the members of the cluster"},
    {"services", cli_services, "Register and deregister services"},
    {"version", cli_version, "Show the version"},
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

void cli_usage(const char *program, bool to_stderr)
{
    FILE *f = to_stderr ? stderr : stdout;
    fprintf(f,
            "Usage: %s COMMAND [options] [arguments]\n\n"
            "Commands (each knows --help):\n"
            "    agent       Run an agent or a server\n",
            program);
    for (int i = 0; i < COMMANDS; i++)
        fprintf(f, "    %-10s  %s\n", commands[i].name, commands[i].help);
    fprintf(f, "\nEnvironment: MUSTER_HTTP_ADDR or CONSUL_HTTP_ADDR "
               "(127.0.0.1:8500), CONSUL_HTTP_TOKEN.\n");
}

int cli_main(int argc, char **argv)
{
    const char *program = strrchr(argv[0], '/');
    program = program ? program + 1 : argv[0];
    if (argc < 2) {
        cli_usage(program, true);
        return 127;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0 || strcmp(name, "-v") == 0 ||
        strcmp(name, "-version") == 0)
        return cli_version(argc, argv);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        strcmp(name, "-help") == 0 || strcmp(name, "help") == 0) {
        cli_usage(program, false);
        return 0;
    }
    for (int i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc, argv);
    fprintf(stderr, "%s: there is no command \"%s\"\n\n", program, name);
    cli_usage(program, true);
    return 127;
}

int cli_version(int argc, char **argv)
{
    const char *format = "pretty";
    struct cli_flag flags[] = {
        {.name = "format", .help = "pretty or json", .value = &format}};
    struct cli c = {.command = "version",
                    .synopsis = "[-format=json]",
                    .help = "Shows the version of muster and the release of "
                            "Consul whose API it speaks.",
                    .flags = flags,
                    .flag_count = 1};
    int rc = 0;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    if (strcmp(format, "json") == 0)
        printf("{\"Version\":\"%s\",\"Revision\":\"\",\"Prerelease\":\"\","
               "\"Muster\":\"%s\"}\n",
               CLI_API_VERSION, MUSTER_VERSION);
    else
        printf("Muster v%s\nSpeaks the API of Consul v%s\n", MUSTER_VERSION,
               CLI_API_VERSION);
    cli_fini(&c);
    return 0;
}
