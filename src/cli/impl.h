/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the commands share: what was said, requests, what is shown. */
#ifndef CLI_IMPL_H
#define CLI_IMPL_H

#include <jansson.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cli/cli.h"
#include "cli/command.h"

enum {
    CLI_ARGS_MAX = 1024,
    CLI_SAID_MAX = 256,
    CLI_COLUMNS_MAX = 16,
    CLI_REPLY_MAX = 256 << 20,
    CLI_FILE_BYTES_MAX = 1 << 20,
    CLI_TIMEOUT_MS = 30 * 1000,
};

struct cli_said {
    const char *name;
    const char *value; /* of a bool: "true" or "false" */
};

/* One run of a command. */
struct cli {
    const struct cli_command *command;
    cli_validate_fn validate;
    struct cli_said said[CLI_SAID_MAX];
    size_t said_count;
    const char *args[CLI_ARGS_MAX + 1]; /* what is no flag, then NULL */
    size_t arg_count;

    struct arena arena;
    char *reply; /* the last answer's body, with a NUL behind */
    size_t reply_n;
    int status;
    uint64_t index; /* its X-Consul-Index; 0: none */

    bool catches; /* SIGINT and SIGTERM wait in: */
    int signals;  /* a signalfd */
    bool stopped; /* one of them came during cli_ask */
};

/* --- parse.c -------------------------------------------------------------- */

/* Flags and arguments from argv[from]; 0 to go on, else *ret_exit is what to
 * return (help was printed, or a usage error). */
int cli_parse(struct cli *c, int argc, char **argv, int from, int *ret_exit);

/* What a flag of this command says: the last one said, or its initial value, or
 * NULL. Asking for a flag that the command has not is a bug and ends the
 * program. */
const char *cli_text(const struct cli *c, const char *name);
bool cli_on(const struct cli *c, const char *name);
bool cli_was_said(const struct cli *c, const char *name);
uint64_t cli_number(const struct cli *c, const char *name);
uint64_t cli_duration_ms(const struct cli *c, const char *name);
bool cli_json(const struct cli *c); /* -format=json */

/* A repeated flag: the first value at or behind *at, which moves on; NULL: no
 * more. */
const char *cli_next(const struct cli *c, const char *name, size_t *at);

/* "muster CMD: message" on standard error; always 1. */
int cli_fail(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The same, and how it is used. */
int cli_misused(const struct cli *c, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* --- request.c ------------------------------------------------------------ */

/* MUSTER_x, or CONSUL_x; NULL: not set or empty. */
const char *cli_env(const char *name);
const char *cli_address(const struct cli *c);

/* A flag if it is said, else its environment variable, else its initial. */
const char *cli_setting(const struct cli *c, const char *flag);

/* The token, or ""; false: printed why it cannot be read. */
bool cli_token(struct cli *c, const char **ret);

/* A path and its query, percent-encoded where it is data. */
struct cli_path {
    struct buf text;
    bool query;
};

struct cli_path cli_path(const char *literal);
void cli_path_put(struct cli_path *p, const char *segment);
void cli_path_ask(struct cli_path *p, const char *name, const char *value);

/* Once for each time that the flag was said; parameter and flag share a name. */
void cli_path_ask_each(const struct cli *c, struct cli_path *p,
                       const char *name);

/* One request; path is consumed. True: 200, the body is c->reply. False: the
 * reason was printed. */
bool cli_request(struct cli *c, const char *method, struct cli_path path,
                 struct bytes body);
bool cli_get(struct cli *c, const char *literal_path);

/* The same, but an answer that is not 200 is true, too: see c->status; and
 * false without a word if c->stopped. */
bool cli_ask(struct cli *c, const char *method, struct cli_path path,
             struct bytes body, uint64_t timeout_ms);

/* Prints that the answer's status is not what was wanted; false. */
bool cli_refused(const struct cli *c);

/* An answer that comes bit by bit. */
enum cli_end {
    CLI_END_OVER,    /* the agent ended it */
    CLI_END_TIME,    /* timeout_ms are over */
    CLI_END_STOPPED, /* SIGINT or SIGTERM came */
    CLI_END_FAILED,  /* the reason was printed */
};

/* timeout_ms 0: for ever. put is called with each piece of an answer that is
 * 200; any other is printed as the error it is. */
enum cli_end cli_stream(struct cli *c, struct cli_path path,
                        uint64_t timeout_ms,
                        void (*put)(void *ctx, struct bytes piece), void *ctx);

/* From here on SIGINT and SIGTERM end waits, not the program. Whoever starts
 * other programs unblocks them there. */
void cli_catch_signals(struct cli *c);

/* Passes ms; true: SIGINT or SIGTERM came meanwhile. */
bool cli_pause(struct cli *c, uint64_t ms);

const char *cli_base64(struct cli *c, struct bytes b);

/* --- show.c --------------------------------------------------------------- */

/* c->reply as JSON; NULL: printed what is wrong with it. */
json_t *cli_reply_json(const struct cli *c);

/* A string member, or "". */
const char *cli_str(json_t *object, const char *key);
void cli_print_json(json_t *j);

/* Rows of cells, aligned when the table is printed. */
struct cli_table {
    struct buf text; /* cells ended by NUL */
    size_t columns, cells;
};

void cli_cell(struct cli_table *t, struct bytes v);
void cli_cell_str(struct cli_table *t, const char *s);
void cli_heads(struct cli_table *t, const char *const *names, size_t n);
void cli_table_print(struct cli_table *t); /* and frees it */

/* The whole file in c's arena; false: printed why not. */
bool cli_read_file(struct cli *c, const char *path, struct bytes *ret);

/* --- help.c, man.c, complete.c -------------------------------------------- */

void cli_usage(FILE *f);
void cli_help(const struct cli_command *c, FILE *f);
void cli_synopsis(const struct cli_command *c, struct buf *out);

/* "-tags", "-node=NAME". */
void cli_flag_spelling(const struct cli_flag *f, struct buf *out);

/* What stands behind its '='; NULL: nothing. Where the choices are too many for
 * that, "NAME", and cli_flag_choices adds "; one of a, b" to the text. */
const char *cli_flag_value(const struct cli_flag *f);
void cli_flag_choices(const struct cli_flag *f, struct buf *out);

/* muster.1, muster.json.5 and one page for each command, into a folder. */
int cli_man_write(const struct cli *c, const char *folder);
void cli_man_heading(FILE *f, const char *page, int section);
void cli_roff(FILE *f, const char *s); /* text, escaped */

/* muster.json(5), from the table of configuration keys. */
void cli_man_config(FILE *f);
void cli_complete_script(const char *shell, FILE *f);
int cli_complete_install(bool install);

/* --- the commands --------------------------------------------------------- */

int cli_catalog_datacenters(struct cli *c);
int cli_catalog_nodes(struct cli *c);
int cli_catalog_services(struct cli *c);
int cli_debug(struct cli *c);
int cli_event(struct cli *c);
int cli_force_leave(struct cli *c);
int cli_drain(struct cli *c);
int cli_undrain(struct cli *c);
int cli_watchers(struct cli *c);
int cli_lag(struct cli *c);
int cli_explain(struct cli *c);
int cli_ghosts(struct cli *c);
int cli_guard(struct cli *c);
int cli_guard_release(struct cli *c);
int cli_health(struct cli *c);
int cli_help_command(struct cli *c);
int cli_history(struct cli *c);
int cli_info(struct cli *c);
int cli_join(struct cli *c);
int cli_keygen(struct cli *c);
int cli_leave(struct cli *c);
int cli_maint(struct cli *c);
int cli_validate(struct cli *c);
int cli_members(struct cli *c);
int cli_monitor(struct cli *c);
int cli_autopilot_get(struct cli *c);
int cli_autopilot_set(struct cli *c);
int cli_pick(struct cli *c);
int cli_proxy(struct cli *c);
int cli_snapshot_save(struct cli *c);
int cli_snapshot_restore(struct cli *c);
int cli_snapshot_inspect(struct cli *c);
int cli_raft_list(struct cli *c);
int cli_raft_remove(struct cli *c);
int cli_reload(struct cli *c);
int cli_rtt(struct cli *c);
int cli_services_deregister(struct cli *c);
int cli_services_register(struct cli *c);
int cli_stream_command(struct cli *c);
int cli_version(struct cli *c);
int cli_watch(struct cli *c);

#endif
