/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Flags as Go's flag package has them: -name or --name, -flag=value or -flag
 * value; a bool needs no value, and takes one only behind '='. Unlike there,
 * flags may follow arguments. */
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/duration.h"
#include "cli/impl.h"
#include "config/agent_config.h"
#include "config/keys.h"

static void say(const struct cli *c, const char *fmt, va_list args)
{
    fprintf(stderr, "muster %s: ", c->command->name);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

int cli_fail(const struct cli *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(c, fmt, args);
    va_end(args);
    return 1;
}

static void show_usage(const struct cli *c)
{
    struct buf b;
    buf_init(&b, 0);
    cli_synopsis(c->command, &b);
    fprintf(stderr, "Usage: %.*s\n(\"muster %s -help\" explains it)\n",
            BYTES_ARG(buf_bytes(&b)), c->command->name);
    buf_fini(&b);
}

int cli_misused(const struct cli *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(c, fmt, args);
    va_end(args);
    show_usage(c);
    return 1;
}

/* --- One flag ------------------------------------------------------------- */

static bool find_flag(const struct cli_command *c, struct bytes name,
                      struct cli_flag *ret)
{
    bool own;
    for (size_t i = 0; cli_flag_at(c, i, ret, &own); i++)
        if (bytes_is(name, ret->name))
            return true;
    return false;
}

static int unknown_flag(const struct cli *c, struct bytes name)
{
    const char *near = NULL;
    unsigned best = 3; /* more slips than two are another word */
    struct cli_flag f;
    bool own;

    for (size_t i = 0; cli_flag_at(c->command, i, &f, &own); i++) {
        unsigned d = config_word_distance(name, bytes_str(f.name));
        if (d < best && d * 2 < name.n) {
            best = d;
            near = f.name;
        }
    }
    int shown = name.n < 40 ? (int)name.n : 40;
    return cli_misused(c, "flag provided but not defined: -%.*s%s%s%s", shown,
                       name.p, near ? " (did you mean -" : "", near ? near : "",
                       near ? "?)" : "");
}

static bool is_choice(const char *choices, struct bytes word)
{
    struct bytes rest = bytes_str(choices);
    while (rest.n) {
        size_t n = bytes_find(rest, '|');
        if (bytes_eq(bytes_head(rest, n), word))
            return true;
        rest = bytes_skip(rest, n + 1);
    }
    return false;
}

/* What the value is not; NULL: it is right. */
static const char *wrong_value(const struct cli_flag *f, struct bytes v)
{
    uint64_t u;
    int64_t ns;
    bool yes;

    switch (f->kind) {
    case CLI_BOOL:
        return bytes_bool(v, &yes) == ERR_OK ? NULL : "true or false";
    case CLI_TEXT:
        return NULL;
    case CLI_NUMBER:
        return bytes_u64(v, &u) == ERR_OK ? NULL : "a whole number";
    case CLI_DURATION:
        return duration_parse(v, &ns, NULL) == ERR_OK && ns > 0
                   ? NULL
                   : "a time as 500ms, 10s or 1m30s";
    case CLI_CHOICE:
        return is_choice(f->value, v) ? NULL : f->value;
    case CLI_PAIR:
        return bytes_find(v, '=') < v.n && v.p[0] != '=' ? NULL : f->value;
    }
    return NULL;
}

static int remember(struct cli *c, const struct cli_flag *f, const char *value)
{
    const char *wrong = wrong_value(f, bytes_str(value));
    if (wrong)
        return cli_misused(c, "invalid value \"%.80s\" for flag -%s: not %s",
                           value, f->name, wrong);
    if (c->said_count == CLI_SAID_MAX)
        return cli_fail(c, "more than %d flags", CLI_SAID_MAX);
    c->said[c->said_count++] = (struct cli_said){f->name, value};
    return 0;
}

/* The flag argv[*i] and its value; consumed words beyond the first are added to
 * *i. */
static int take_flag(struct cli *c, int argc, char **argv, int *i,
                     int *ret_exit)
{
    struct bytes word = bytes_str(argv[*i]);
    word = bytes_skip(word, bytes_starts(word, bytes_str("--")) ? 2 : 1);
    size_t eq = bytes_find(word, '=');
    struct bytes name = bytes_head(word, eq);
    struct cli_flag f;

    if (bytes_is(name, "h") || bytes_is(name, "help")) {
        cli_help(c->command, stdout);
        *ret_exit = 0;
        return 1;
    }
    *ret_exit = 1;
    if (!find_flag(c->command, name, &f))
        return unknown_flag(c, name);
    if (eq < word.n)
        return remember(c, &f, word.p + eq + 1);
    if (f.kind == CLI_BOOL)
        return remember(c, &f, "true");
    if (*i + 1 < argc)
        return remember(c, &f, argv[++*i]);
    return cli_misused(c, "flag needs an argument: -%s", f.name);
}

static int check_count(const struct cli *c)
{
    const struct cli_command *k = c->command;
    if (c->arg_count < k->args_min)
        return cli_misused(c, "an argument is missing: %s", k->arguments);
    if (c->arg_count > k->args_max)
        return cli_misused(c,
                           "too many arguments (expected %zu, got %zu): "
                           "\"%.80s\"",
                           k->args_max, c->arg_count, c->args[k->args_max]);
    return 0;
}

int cli_parse(struct cli *c, int argc, char **argv, int from, int *ret_exit)
{
    bool only_args = false;

    for (int i = from; i < argc; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1]) {
            if (take_flag(c, argc, argv, &i, ret_exit))
                return 1;
        } else if (c->arg_count < CLI_ARGS_MAX) {
            c->args[c->arg_count++] = argv[i];
            only_args = only_args || c->command->rest;
        } else {
            *ret_exit = cli_fail(c, "more than %d arguments", CLI_ARGS_MAX);
            return 1;
        }
    }
    *ret_exit = check_count(c);
    return *ret_exit;
}

/* --- What was said -------------------------------------------------------- */

static struct cli_flag flag_of(const struct cli *c, const char *name)
{
    struct cli_flag f = {0};
    require(find_flag(c->command, bytes_str(name), &f));
    return f;
}

static const char *said(const struct cli *c, const char *name)
{
    for (size_t i = c->said_count; i-- > 0;)
        if (strcmp(c->said[i].name, name) == 0)
            return c->said[i].value;
    return NULL;
}

const char *cli_text(const struct cli *c, const char *name)
{
    struct cli_flag f = flag_of(c, name);
    const char *v = said(c, name);
    return v ? v : f.initial;
}

bool cli_was_said(const struct cli *c, const char *name)
{
    (void)flag_of(c, name);
    return said(c, name) != NULL;
}

bool cli_on(const struct cli *c, const char *name)
{
    const char *v = cli_text(c, name);
    bool yes = false;
    return v && bytes_bool(bytes_str(v), &yes) == ERR_OK && yes;
}

uint64_t cli_number(const struct cli *c, const char *name)
{
    const char *v = cli_text(c, name);
    uint64_t u = 0;
    require(v && bytes_u64(bytes_str(v), &u) == ERR_OK);
    return u;
}

uint64_t cli_duration_ms(const struct cli *c, const char *name)
{
    const char *v = cli_text(c, name);
    int64_t ns = 0;
    require(v && duration_parse(bytes_str(v), &ns, NULL) == ERR_OK);
    return ((uint64_t)ns + NS_PER_MS - 1) / NS_PER_MS;
}

bool cli_json(const struct cli *c)
{
    return strcmp(cli_text(c, "format"), "json") == 0;
}

const char *cli_next(const struct cli *c, const char *name, size_t *at)
{
    (void)flag_of(c, name);
    while (*at < c->said_count) {
        const struct cli_said *s = &c->said[(*at)++];
        if (strcmp(s->name, name) == 0)
            return s->value;
    }
    return NULL;
}
