/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the commands share: flags, one request, columns. */
#ifndef CLI_IMPL_H
#define CLI_IMPL_H

#include "base/arena.h"
#include "cli/cli.h"
#include "http/json_in.h"

enum { CLI_ARGS_MAX = 64, CLI_COLUMNS_MAX = 8, CLI_REPLY_MAX = 256 << 20 };

struct cli_flag {
    const char *name;
    const char *help;
    bool is_bool;
    const char **value; /* string flags */
    bool *set;          /* bool flags */
};

/* A command's own flags plus -http-addr, -token, -datacenter, -stale. */
struct cli {
    const char *command;  /* "catalog services" */
    const char *synopsis; /* "[options] NAME" */
    const char *help;
    const struct cli_flag *flags;
    size_t flag_count;

    const char *http_addr, *token, *datacenter;
    bool stale, want_help;
    const char *args[CLI_ARGS_MAX]; /* what is no flag */
    size_t arg_count;

    struct arena arena;
    char *reply;
    size_t reply_n;
};

/* Flags and arguments from argv[from]; 0 to go on, else *ret_exit is what to
 * return (help was printed, or a usage error). */
int cli_parse(struct cli *c, int argc, char **argv, int from, int *ret_exit);
void cli_fini(struct cli *c);

/* One request; path from "/v1/...". True: 200, the body is c->reply
 * (NUL-terminated). False: the reason was printed. */
bool cli_request(struct cli *c, const char *method, const char *path,
                 struct bytes body);

/* The reply through a table; false: printed what is wrong with it. */
bool cli_decode(struct cli *c, const struct json_table *table, void *out);
bool cli_decode_list(struct cli *c, const struct json_table *table,
                     struct json_list *out);

/* Rows of cells, aligned when the table is printed. */
struct cli_table {
    struct buf text; /* cells ended by NUL */
    size_t columns, cells;
};

void cli_cell(struct cli_table *t, struct bytes v);
void cli_table_print(struct cli_table *t); /* and frees it */

int cli_version(int argc, char **argv);
int cli_members(int argc, char **argv);
int cli_info(int argc, char **argv);
int cli_catalog(int argc, char **argv);
int cli_health(int argc, char **argv);
int cli_services(int argc, char **argv);
int cli_leave(int argc, char **argv);

#endif
