/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The manual pages, in roff's man macros: muster(1), and one page for each
 * command, its sub-commands within. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/impl.h"

/* Text as roff takes it: '-' must stay ASCII, a '.' or '\'' at the start of a
 * line would be a request. */
void cli_roff(FILE *f, const char *s)
{
    bool start = true;
    for (; *s; s++) {
        if (start && (*s == '.' || *s == '\''))
            fputs("\\&", f);
        start = *s == '\n';
        switch (*s) {
        case '\\':
            fputs("\\e", f);
            break;
        case '-':
            fputs("\\-", f);
            break;
        case '\'':
            fputs("\\(aq", f);
            break;
        case '^':
            fputs("\\(ha", f);
            break;
        case '~':
            fputs("\\(ti", f);
            break;
        case '`':
            fputs("\\(ga", f);
            break;
        default:
            fputc(*s, f);
        }
    }
}

static void line(FILE *f, const char *request, const char *s)
{
    fputs(request, f);
    cli_roff(f, s);
    fputc('\n', f);
}

static void paragraphs(FILE *f, const char *s)
{
    for (bool first = true; *s; first = false) {
        size_t n = strcspn(s, "\n");
        char part[2048];
        (void)snprintf(part, sizeof part, "%.*s", (int)n, s);
        if (!first)
            fputs(".PP\n", f);
        line(f, "", part);
        s += n + (s[n] == '\n');
    }
}

static void print_flag(FILE *f, const struct cli_flag *flag)
{
    fputs(".TP\n\\fB\\-", f);
    cli_roff(f, flag->name);
    fputs("\\fR", f);
    if (cli_flag_value(flag)) {
        fputs("=\\fI", f);
        cli_roff(f, cli_flag_value(flag));
        fputs("\\fR", f);
    }
    fputc('\n', f);
    cli_roff(f, flag->help);
    if (flag->initial) {
        fputs(" (default ", f);
        cli_roff(f, flag->initial);
        fputc(')', f);
    }
    struct buf choices = {0};
    cli_flag_choices(flag, &choices);
    buf_putc(&choices, 0);
    if (!choices.bad)
        cli_roff(f, choices.p);
    buf_fini(&choices);
    fputs(".\n", f);
}

static void print_flags(FILE *f, const struct cli_command *c, bool own,
                        const char *head)
{
    struct cli_flag flag;
    bool is_own, any = false;
    for (size_t i = 0; cli_flag_at(c, i, &flag, &is_own); i++) {
        if (is_own != own)
            continue;
        if (!any)
            fputs(head, f);
        any = true;
        print_flag(f, &flag);
    }
}

static void print_idle_flags(FILE *f)
{
    const char *name;
    fputs(".SH FLAGS WITHOUT EFFECT\nTaken so that scripts made for Consul "
          "run:\n",
          f);
    for (size_t i = 0; (name = cli_idle_flag_at(i)); i++) {
        fputs(i ? ",\n\\fB\\-" : "\\fB\\-", f);
        cli_roff(f, name);
        fputs("\\fR", f);
    }
    fputs(".\n", f);
}

static void print_synopsis(FILE *f, const struct cli_command *c)
{
    struct buf b;
    buf_init(&b, 0);
    cli_synopsis(c, &b);
    buf_putc(&b, 0);
    fprintf(f, "\\fBmuster %s\\fR", c->name);
    cli_roff(f, b.p + strlen("muster ") + strlen(c->name));
    fputc('\n', f);
    buf_fini(&b);
}

static void print_examples(FILE *f, const struct cli_command *c)
{
    for (const struct cli_example *e = c->examples; e->what; e++) {
        line(f, e == c->examples ? "" : ".PP\n", e->what);
        fputs(".PP\n.RS 4\n.nf\n$ muster ", f);
        cli_roff(f, e->line);
        fputs("\n.fi\n.RE\n", f);
    }
}

static bool is_member(const struct cli_command *c, const char *group)
{
    size_t n = strlen(group);
    return strncmp(c->name, group, n) == 0 && c->name[n] == ' ';
}

static void print_members(FILE *f, const char *group)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (!is_member(c, group) || cli_is_group(c))
            continue;
        fprintf(f, ".SS %s\n", c->name);
        print_synopsis(f, c);
        fputs(".PP\n", f);
        line(f, "", c->summary);
        fputs(".PP\n", f);
        paragraphs(f, c->text);
        print_flags(f, c, true, "");
        fputs(".PP\n", f);
        print_examples(f, c);
    }
}

/* When the texts were last gone through. A constant: the same source must give
 * the same pages. */
static const char REVISED[] = "2026-11-24";

void cli_man_heading(FILE *f, const char *page, int section)
{
    fputs(".\\\" SPDX-FileCopyrightText: The muster authors\n"
          ".\\\" SPDX-License-Identifier: Apache-2.0\n.TH ",
          f);
    for (; *page; page++)
        fputc(*page >= 'a' && *page <= 'z' ? *page - 'a' + 'A' : *page, f);
    fprintf(f, " %d \"%s\" \"muster %s\" \"muster\"\n.SH NAME\n", section,
            REVISED, MUSTER_VERSION);
}

static void print_variables(FILE *f)
{
    fputs(".SH ENVIRONMENT\nEach with MUSTER_ or CONSUL_ before it; a flag "
          "wins, then MUSTER_.\n",
          f);
    for (const struct cli_variable *v = cli_variables; v->name; v++) {
        fprintf(f, ".TP\n\\fB%s\\fR\n", v->name);
        cli_roff(f, v->help);
        if (v->flag) {
            fputs(" (\\fB\\-", f);
            cli_roff(f, v->flag);
            fputs("\\fR)", f);
        }
        fputs(".\n", f);
    }
}

static void print_page(FILE *f, const struct cli_command *c)
{
    /* The API's flags, of the member that has most of them. */
    const struct cli_command *asks = c;
    for (size_t i = 0; i < cli_command_count; i++)
        if (is_member(&cli_commands[i], c->name) &&
            cli_commands[i].api > asks->api)
            asks = &cli_commands[i];

    char page[80];
    (void)snprintf(page, sizeof page, "muster-%s", c->name);
    cli_man_heading(f, page, 1);
    fputs("muster\\-", f);
    cli_roff(f, c->name);
    fputs(" \\- ", f);
    line(f, "", c->summary);
    fputs(".SH SYNOPSIS\n", f);
    print_synopsis(f, c);
    fputs(".SH DESCRIPTION\n", f);
    paragraphs(f, c->text);
    print_flags(f, c, true, ".SH OPTIONS\n");
    if (cli_is_group(c)) {
        fputs(".SH SUB\\-COMMANDS\n", f);
        print_members(f, c->name);
    }
    print_flags(f, asks, false, ".SH OPTIONS OF EVERY REQUEST\n");
    if (c->of_agent)
        print_idle_flags(f);
    fputs(".SH EXAMPLES\n", f);
    print_examples(f, c);
    fputs(".SH EXIT STATUS\n", f);
    line(f, "", c->exits ? c->exits : "0 if it was done, else 1.");
    fputs(".SH SEE ALSO\n.BR muster (1)", f);
    fputs(c->of_agent ? ",\n.BR muster.json (5)\n" : "\n", f);
}

static void print_overview(FILE *f)
{
    cli_man_heading(f, "muster", 1);
    fputs("muster \\- service registry that speaks the HTTP API of Consul\n"
          ".SH SYNOPSIS\n\\fBmuster\\fR \\fICOMMAND\\fR [options] [arguments]\n"
          ".SH DESCRIPTION\nPrograms register what they provide; muster "
          "watches whether it is well; consumers find the instances that are, "
          "and hear of every change at once.\n.PP\n\\fBmuster agent\\fR is "
          "the server; the other commands ask the agent at "
          "\\fB\\-http\\-addr\\fR.\n.PP\nOptions are written \\-name or "
          "\\-\\-name, with their value behind \\(aq=\\(aq or as the next "
          "word, and "
          "may follow arguments. Tables are for people, "
          "\\fB\\-format\\fR=\\fIjson\\fR is for programs.\n.SH COMMANDS\n",
          f);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (strchr(c->name, ' '))
            continue;
        fputs(".TP\n.BR muster\\-", f);
        cli_roff(f, c->name);
        fputs(" (1)\n", f);
        cli_roff(f, c->summary);
        fputs(".\n", f);
    }
    print_variables(f);
    fputs(".SH EXIT STATUS\n0 if it was done; 1 if it was refused, the agent "
          "cannot be reached, or the command is used wrongly; 127 if there is "
          "no such command. Pages of commands tell what else there is.\n"
          ".SH SEE ALSO\n.BR muster\\-agent (1),\n.BR muster.json (5)\n",
          f);
}

static int write_page(const struct cli *c, const char *folder,
                      const struct cli_command *of, int section)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/muster%s%s.%d", folder,
                   section == 5 ? ".json"
                   : of         ? "-"
                                : "",
                   of ? of->name : "", section);
    FILE *f = fopen(path, "w");
    if (!f)
        return cli_fail(c, "%s: %s", path, strerror(errno));
    if (section == 5)
        cli_man_config(f);
    else if (of)
        print_page(f, of);
    else
        print_overview(f);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad)
        return cli_fail(c, "%s: cannot be written: %s", path, strerror(errno));
    return 0;
}

int cli_man_write(const struct cli *c, const char *folder)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return cli_fail(c, "%s: %s", folder, strerror(errno));
    int rc = write_page(c, folder, NULL, 1);
    if (rc == 0)
        rc = write_page(c, folder, NULL, 5);
    for (size_t i = 0; i < cli_command_count && rc == 0; i++)
        if (!strchr(cli_commands[i].name, ' '))
            rc = write_page(c, folder, &cli_commands[i], 1);
    return rc;
}
