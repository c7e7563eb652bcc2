/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* command - what each command is, as data: the one source of what it accepts,
 * its --help, its man page and its completion in shells.
 *
 * Texts are paragraphs with '\n' between them, or lines of an example; nobody
 * breaks lines in them by hand. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

struct cli;

enum cli_kind {
    CLI_BOOL,     /* -x or -x=true */
    CLI_TEXT,     /* any */
    CLI_NUMBER,   /* a whole number, not negative */
    CLI_DURATION, /* 10s, 1m30s, 500ms; more than nothing */
    CLI_CHOICE,   /* one of the words in `value`, separated by '|' */
    CLI_PAIR,     /* key=value */
};

/* How a shell completes a value or an argument. */
enum cli_complete {
    CLI_ANY, /* not at all */
    CLI_FILE,
    CLI_FOLDER,
    CLI_PROGRAM,
    CLI_SERVICE, /* what the agent's catalog has */
    CLI_NODE,
    CLI_COMMAND,
};

struct cli_flag {
    const char *name; /* NULL: the end */
    enum cli_kind kind;
    const char *value;   /* what stands behind '=' in texts; NULL for a bool */
    const char *initial; /* without the flag; NULL: nothing */
    const char *help;
    bool repeats;
    enum cli_complete complete;
};

/* Which flags of the HTTP API a command has beside its own. */
enum cli_api {
    CLI_LOCAL,      /* none: it asks nobody */
    CLI_AGENT,      /* -http-addr, -token, TLS */
    CLI_DATACENTER, /* also -datacenter, -stale */
};

struct cli_example {
    const char *what; /* NULL: the end */
    const char *line; /* without the program's name */
};

enum { CLI_EXAMPLES_MAX = 6 };

struct cli_command {
    const char *name;      /* "catalog services" */
    const char *summary;   /* one line, an infinitive clause */
    const char *arguments; /* "[FILE...]"; NULL: none */
    const char *text;
    enum cli_api api;
    const struct cli_flag *flags; /* NULL: none */
    struct cli_example examples[CLI_EXAMPLES_MAX];
    const char *exits;          /* exit codes beyond 0 and 1; NULL: none */
    enum cli_complete complete; /* its arguments */
    bool rest;       /* all behind the first argument is taken as it is */
    bool of_agent;   /* its flags are those of config/flag_table.h */
    size_t args_min; /* refused are fewer and */
    size_t args_max; /* more */
    int (*run)(struct cli *c); /* NULL: a group of others, or `agent` */
};

/* A group stands before its members, else in order of names. */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

extern const struct cli_flag cli_flags_agent[];      /* of CLI_AGENT */
extern const struct cli_flag cli_flags_datacenter[]; /* those beyond */

/* Consul's commands that muster does not have, NULL at the end. */
struct cli_absent {
    const char *name, *why;
};
extern const struct cli_absent cli_absent[];

/* What an environment variable does; NULL at the end. */
struct cli_variable {
    const char *name, *flag, *help;
};
extern const struct cli_variable cli_variables[];

/* The group has members; `agent` has not. */
bool cli_is_group(const struct cli_command *c);

/* The command with this whole name, or NULL. */
const struct cli_command *cli_command_find(const char *name);

/* A command's flag i of all it has: its own, then those of the API. False:
 * there are no more. own tells which it is. */
bool cli_flag_at(const struct cli_command *c, size_t i, struct cli_flag *ret,
                 bool *ret_own);

/* Flags of `agent` that are accepted without effect: names, NULL at the end of
 * them. */
const char *cli_idle_flag_at(size_t i);

#endif
