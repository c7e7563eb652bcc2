/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* --help: a command's row as text for a terminal. */
#include <string.h>

#include "cli/impl.h"

enum { WIDTH = 80, HELP_COLUMN = 28 };

/* Lines of `text`, broken between words, each behind `indent` spaces; the first
 * begins where `at` characters already stand. */
static void wrap(FILE *f, struct bytes text, int indent, int at)
{
    bool first = true;
    while (text.n) {
        size_t n = bytes_find(text, ' ');
        if (!first && at + 1 + (int)n > WIDTH) {
            fputc('\n', f);
            at = 0;
            first = true;
        }
        if (first)
            at += fprintf(f, "%*s", indent > at ? indent - at : 0, "");
        at += fprintf(f, "%s%.*s", first ? "" : " ", (int)n, text.p);
        first = false;
        text = bytes_skip(text, n + 1);
    }
    fputc('\n', f);
}

static void paragraphs(FILE *f, const char *text)
{
    struct bytes rest = bytes_str(text);
    while (rest.n) {
        size_t n = bytes_find(rest, '\n');
        fputc('\n', f);
        wrap(f, bytes_head(rest, n), 2, 0);
        rest = bytes_skip(rest, n + 1);
    }
}

enum { CHOICES_IN_PLACE_MAX = 48 /* bytes; longer lists stand in the text */ };

static bool is_long(const struct cli_flag *f)
{
    return f->kind == CLI_CHOICE && strlen(f->value) > CHOICES_IN_PLACE_MAX;
}

const char *cli_flag_value(const struct cli_flag *f)
{
    return f->value && is_long(f) ? "NAME" : f->value;
}

void cli_flag_choices(const struct cli_flag *f, struct buf *out)
{
    if (!f->value || !is_long(f))
        return;
    buf_puts(out, "; one of ");
    for (const char *s = f->value; *s; s++)
        buf_puts(out, *s == '|' ? ", " : (char[2]){*s, 0});
}

void cli_flag_spelling(const struct cli_flag *f, struct buf *out)
{
    const char *value = cli_flag_value(f);

    buf_printf(out, "-%s%s%s", f->name, value ? "=" : "", value ? value : "");
}

static void print_flag(FILE *f, const struct cli_flag *flag)
{
    struct buf line;
    buf_init(&line, 0);
    buf_puts(&line, "  ");
    cli_flag_spelling(flag, &line);
    fwrite(line.p, 1, line.n, f);
    int at = (int)line.n;
    if (at > HELP_COLUMN - 2) {
        fputc('\n', f);
        at = 0;
    }
    buf_reset(&line);
    buf_printf(&line, "%s%s%s%s", flag->help, flag->initial ? " (default " : "",
               flag->initial ? flag->initial : "", flag->initial ? ")" : "");
    cli_flag_choices(flag, &line);
    wrap(f, buf_bytes(&line), HELP_COLUMN, at);
    buf_fini(&line);
}

static void print_flags(FILE *f, const struct cli_command *c, bool own,
                        const char *title)
{
    struct cli_flag flag;
    bool is_own, any = false;
    for (size_t i = 0; cli_flag_at(c, i, &flag, &is_own); i++) {
        if (is_own != own)
            continue;
        if (!any)
            fprintf(f, "\n%s\n", title);
        any = true;
        print_flag(f, &flag);
    }
}

static void print_idle_flags(FILE *f)
{
    struct buf list;
    const char *name;
    buf_init(&list, 0);
    for (size_t i = 0; (name = cli_idle_flag_at(i)); i++)
        buf_printf(&list, "%s-%s", i ? " " : "", name);
    fprintf(f, "\nTaken without effect, for Consul's scripts:\n");
    wrap(f, buf_bytes(&list), 2, 0);
    buf_fini(&list);
}

void cli_synopsis(const struct cli_command *c, struct buf *out)
{
    struct cli_flag f;
    bool own;
    buf_printf(out, "muster %s", c->name);
    if (cli_is_group(c))
        buf_puts(out, " SUB-COMMAND");
    if (cli_is_group(c) || cli_flag_at(c, 0, &f, &own))
        buf_puts(out, " [options]");
    if (c->arguments)
        buf_printf(out, " %s", c->arguments);
}

/* Rows of names and summaries: with group NULL the commands of one word, else
 * its members. */
static void list(FILE *f, const struct cli_command *group)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        const char *name = c->name;
        if (group) {
            size_t n = strlen(group->name);
            if (strncmp(name, group->name, n) != 0 || name[n] != ' ')
                continue;
            name += n + 1;
        }
        if (!strchr(name, ' '))
            fprintf(f, "  %-12s  %s\n", name, c->summary);
    }
}

void cli_help(const struct cli_command *c, FILE *f)
{
    struct buf line;
    buf_init(&line, 0);
    cli_synopsis(c, &line);
    fprintf(f, "Usage: %.*s\n\n  %s.\n", BYTES_ARG(buf_bytes(&line)),
            c->summary);
    buf_fini(&line);
    paragraphs(f, c->text);
    if (cli_is_group(c)) {
        fprintf(f, "\nSub-commands (each knows -help):\n");
        list(f, c);
    }
    print_flags(f, c, true, "Options:");
    print_flags(f, c, false, "Options of every request:");
    if (c->of_agent)
        print_idle_flags(f);
    fprintf(f, "\nExamples:\n");
    for (const struct cli_example *e = c->examples; e->what; e++)
        fprintf(f, "  %s:\n      $ muster %s\n", e->what, e->line);
    if (c->exits) {
        fprintf(f, "\nExit code:\n");
        wrap(f, bytes_str(c->exits), 2, 0);
    }
}

void cli_agent_help(FILE *f)
{
    cli_help(cli_command_find("agent"), f);
}

void cli_usage(FILE *f)
{
    fprintf(
        f, "Usage: muster COMMAND [options] [arguments]\n\n"
           "  A service registry that speaks Consul's HTTP API. \"muster agent "
           "-dev\" starts\n  one to try things with; the other commands ask "
           "the agent at -http-addr.\n\n"
           "Commands (each knows -help):\n");
    list(f, NULL);
    fprintf(f, "\nEnvironment (MUSTER_ or CONSUL_ before each name; a flag "
               "wins):\n");
    for (const struct cli_variable *v = cli_variables; v->name; v++)
        fprintf(f, "  %-16s  %s\n", v->name, v->help);
    fprintf(f, "\n\"man muster\" has more. \"muster -autocomplete-install\" "
               "makes the tab key know\ncommands and flags.\n");
}
