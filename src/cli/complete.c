/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Completion scripts of bash, zsh and fish. The tables of commands, flags and
 * choices are written into them; the agent is only asked for names of services
 * and nodes, with a short limit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/impl.h"

#define SERVICES "timeout 2 muster catalog services 2>/dev/null"
#define NODES    "timeout 2 muster catalog nodes 2>/dev/null | sed \"1d; s/ .*//\""

/* In single quotes of a shell. */
static void quoted(FILE *f, const char *s)
{
    fputc('\'', f);
    for (; *s; s++)
        if (*s == '\'')
            fputs("'\\''", f);
        else
            fputc(*s, f);
    fputc('\'', f);
}

/* Each command's next words: sub-commands, or flags. */
static void sub_commands(FILE *f, const char *group)
{
    size_t n = strlen(group);
    const char *between = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *name = cli_commands[i].name;
        if (n && (strncmp(name, group, n) != 0 || name[n] != ' '))
            continue;
        name += n ? n + 1 : 0;
        if (strchr(name, ' '))
            continue;
        fprintf(f, "%s%s", between, name);
        between = " ";
    }
}

static const char *kind_word(const struct cli_flag *flag)
{
    switch (flag->complete) {
    case CLI_FILE:
        return "@file";
    case CLI_FOLDER:
        return "@folder";
    case CLI_PROGRAM:
        return "@program";
    case CLI_SERVICE:
        return "@service";
    case CLI_NODE:
        return "@node";
    case CLI_COMMAND:
        return "@command";
    case CLI_ANY:
        break;
    }
    return flag->kind == CLI_CHOICE ? flag->value : "@any";
}

/* --- bash ----------------------------------------------------------------- */

static void bash_tables(FILE *f)
{
    struct cli_flag flag;
    bool own;

    fputs("_muster_subs() {\n    case $1 in\n    '') echo '", f);
    sub_commands(f, "");
    fputs("' ;;\n", f);
    for (size_t i = 0; i < cli_command_count; i++)
        if (cli_is_group(&cli_commands[i])) {
            fprintf(f, "    '%s') echo '", cli_commands[i].name);
            sub_commands(f, cli_commands[i].name);
            fputs("' ;;\n", f);
        }
    fputs("    esac\n}\n\n_muster_flags() {\n    case $1 in\n", f);
    for (size_t i = 0; i < cli_command_count; i++) {
        fprintf(f, "    '%s') echo '-help", cli_commands[i].name);
        for (size_t k = 0; cli_flag_at(&cli_commands[i], k, &flag, &own); k++)
            fprintf(f, " -%s%s", flag.name, flag.value ? "=" : "");
        fputs("' ;;\n", f);
    }
    fputs("    esac\n}\n\n_muster_value() {\n    case \"$1 -$2\" in\n", f);
    for (size_t i = 0; i < cli_command_count; i++)
        for (size_t k = 0; cli_flag_at(&cli_commands[i], k, &flag, &own); k++)
            if (flag.value)
                fprintf(f, "    '%s -%s') echo '%s' ;;\n", cli_commands[i].name,
                        flag.name, kind_word(&flag));
    fputs("    esac\n}\n\n_muster_argument() {\n    case $1 in\n", f);
    for (size_t i = 0; i < cli_command_count; i++) {
        flag = (struct cli_flag){.complete = cli_commands[i].complete};
        if (flag.complete != CLI_ANY)
            fprintf(f, "    '%s') echo '%s' ;;\n", cli_commands[i].name,
                    kind_word(&flag));
    }
    fputs("    esac\n}\n\n", f);
}

/* COMP_WORDBREAKS may or may not hold '=': the line is cut into words here. */
static const char bash_rest[] =
    "# compgen -W would expand what a name of the catalog holds.\n"
    "_muster_names() { # CURRENT\n"
    "    local name\n"
    "    while read -r name; do\n"
    "        [[ $name != \"$1\"* ]] || printf '%q\\n' \"$name\"\n"
    "    done\n"
    "}\n"
    "\n"
    "_muster_words() { # WHAT CURRENT\n"
    "    case $1 in\n"
    "    @file) compgen -f -- \"$2\" ;;\n"
    "    @folder) compgen -d -- \"$2\" ;;\n"
    "    @program) compgen -c -f -- \"$2\" ;;\n"
    "    @service) " SERVICES " | _muster_names \"$2\" ;;\n"
    "    @node) " NODES " | _muster_names \"$2\" ;;\n"
    "    @command) compgen -W \"$(_muster_subs '')\" -- \"$2\" ;;\n"
    "    @any) ;;\n"
    "    *) compgen -W \"${1//|/ }\" -- \"$2\" ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "_muster() {\n"
    "    local line=${COMP_LINE:0:COMP_POINT} words current command='' i word\n"
    "    local flag='' what values\n"
    "    COMPREPLY=()\n"
    "    read -ra words <<<\"$line\"\n"
    "    current=''\n"
    "    [[ $line == *[[:space:]] ]] || current=${words[-1]}\n"
    "    [[ -z $current ]] || unset 'words[-1]'\n"
    "    for ((i = 1; i < ${#words[@]}; i++)); do\n"
    "        word=${words[i]}\n"
    "        if [[ \" $(_muster_subs \"$command\") \" == *\" $word \"* ]]; "
    "then\n"
    "            command=${command:+$command }$word\n"
    "        fi\n"
    "    done\n"
    "    [[ ${#words[@]} -lt 2 ]] || word=${words[-1]}\n"
    "    if [[ ${word-} == -* && $word != *=* ]]; then\n"
    "        flag=${word#-} flag=${flag#-}\n"
    "        what=$(_muster_value \"$command\" \"$flag\")\n"
    "    fi\n"
    "    [[ ${what-} != @f* ]] || compopt -o filenames\n"
    "    if [[ -n ${what-} ]]; then\n"
    "        values=$(_muster_words \"$what\" \"$current\")\n"
    "    elif [[ $current == -*=* ]]; then\n"
    "        flag=${current%%=*} flag=${flag#-} flag=${flag#-}\n"
    "        what=$(_muster_value \"$command\" \"$flag\")\n"
    "        values=$(_muster_words \"${what:-@any}\" \"${current#*=}\")\n"
    "        # Where '=' parts no words, the flag is a part of the reply.\n"
    "        [[ $COMP_WORDBREAKS == *=* || -z $values ]] ||\n"
    "            "
    "values=${current%%=*}=${values//$'\\n'/$'\\n'${current%%=*}=}\n"
    "    elif [[ $current == -* ]]; then\n"
    "        values=$(compgen -W \"$(_muster_flags \"$command\")\" -- "
    "\"${current/#--/-}\")\n"
    "        [[ $current != --* || -z $values ]] || "
    "values=-${values//$'\\n'-/$'\\n'--}\n"
    "        [[ $values != *= ]] || compopt -o nospace\n"
    "    else\n"
    "        what=$(_muster_subs \"$command\")\n"
    "        if [[ -n $what ]]; then\n"
    "            values=$(compgen -W \"$what\" -- \"$current\")\n"
    "        else\n"
    "            what=$(_muster_argument \"$command\")\n"
    "            [[ $what != @[fp]* ]] || compopt -o filenames\n"
    "            values=$(_muster_words \"${what:-@any}\" \"$current\")\n"
    "        fi\n"
    "    fi\n"
    "    [[ -z $values ]] || mapfile -t COMPREPLY <<<\"$values\"\n"
    "}\n"
    "\n"
    "complete -F _muster muster\n";

/* --- zsh ------------------------------------------------------------------ */

/* In an _arguments specification: '[', ']' and ':' have a meaning. */
static void zsh_text(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (strchr("[]:\\", *s))
            fputc('\\', f);
        if (*s == '\'')
            fputs("'\\''", f);
        else
            fputc(*s, f);
    }
}

static void zsh_action(FILE *f, const struct cli_flag *flag)
{
    switch (flag->complete) {
    case CLI_FILE:
        fputs("_files", f);
        return;
    case CLI_FOLDER:
        fputs("_files -/", f);
        return;
    case CLI_PROGRAM:
        fputs("_command_names -e", f);
        return;
    case CLI_SERVICE:
        fputs("_muster_services", f);
        return;
    case CLI_NODE:
        fputs("_muster_nodes", f);
        return;
    case CLI_COMMAND:
        fputs("_muster_commands", f);
        return;
    case CLI_ANY:
        break;
    }
    if (flag->kind != CLI_CHOICE)
        return;
    fputc('(', f);
    for (const char *p = flag->value; *p; p++)
        fputc(*p == '|' ? ' ' : *p, f);
    fputc(')', f);
}

static void zsh_flag(FILE *f, const struct cli_flag *flag)
{
    fprintf(f, " \\\n        '%s-%s%s[", flag->repeats ? "*" : "", flag->name,
            flag->value ? "=" : "");
    zsh_text(f, flag->help);
    fputc(']', f);
    if (flag->value) {
        fputc(':', f);
        zsh_text(f, flag->kind == CLI_CHOICE ? "value" : flag->value);
        fputc(':', f);
        zsh_action(f, flag);
    }
    fputc('\'', f);
}

static void zsh_command(FILE *f, const struct cli_command *c)
{
    struct cli_flag flag;
    bool own;

    fprintf(f, "    '%s')\n        _arguments -S '-help[explain]'", c->name);
    for (size_t i = 0; cli_flag_at(c, i, &flag, &own); i++)
        zsh_flag(f, &flag);
    flag = (struct cli_flag){.complete = c->complete};
    if (c->arguments) {
        fprintf(f, " \\\n        '*:");
        zsh_text(f, c->arguments);
        fputc(':', f);
        zsh_action(f, &flag);
        fputc('\'', f);
    }
    fputs(" ;;\n", f);
}

static void zsh_describe(FILE *f, const char *group)
{
    size_t n = strlen(group);
    for (size_t i = 0; i < cli_command_count; i++) {
        const char *name = cli_commands[i].name;
        if (n && (strncmp(name, group, n) != 0 || name[n] != ' '))
            continue;
        name += n ? n + 1 : 0;
        if (strchr(name, ' '))
            continue;
        fprintf(f, " \\\n            '%s:", name);
        zsh_text(f, cli_commands[i].summary);
        fputc('\'', f);
    }
}

static void zsh(FILE *f)
{
    fputs("#compdef muster\n\n"
          "_muster_services() {\n    compadd -- ${(f)\"$(" SERVICES
          ")\"}\n}\n\n"
          "_muster_nodes() {\n    compadd -- ${(f)\"$(" NODES ")\"}\n}\n\n"
          "_muster_commands() {\n    local -a found\n    found=(",
          f);
    zsh_describe(f, "");
    fputs(")\n    _describe command found\n}\n\n"
          "_muster_known() {\n    case $1 in\n",
          f);
    for (size_t i = 0; i < cli_command_count; i++)
        fprintf(f, "    '%s') return 0 ;;\n", cli_commands[i].name);
    fputs("    esac\n    return 1\n}\n\n"
          "_muster() {\n    local name='' next\n    local -a found\n"
          "    while (( CURRENT > 2 )); do\n"
          "        next=\"${name:+$name }${words[2]}\"\n"
          "        _muster_known \"$next\" || break\n"
          "        name=$next\n        shift words\n        (( CURRENT-- ))\n"
          "    done\n    case $name in\n    '') _muster_commands ;;\n",
          f);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        if (!cli_is_group(c)) {
            zsh_command(f, c);
            continue;
        }
        fprintf(f, "    '%s')\n        found=(", c->name);
        zsh_describe(f, c->name);
        fputs(")\n        _describe sub-command found ;;\n", f);
    }
    fputs("    esac\n}\n\n"
          "# Loaded by the completion system, or read by hand.\n"
          "if [[ ${funcstack[1]} == _muster ]]; then\n    _muster \"$@\"\n"
          "else\n    compdef _muster muster\nfi\n",
          f);
}

/* --- fish ----------------------------------------------------------------- */

static void fish_values(FILE *f, const struct cli_flag *flag)
{
    switch (flag->complete) {
    case CLI_FILE:
        fputs(" -F", f);
        return;
    case CLI_FOLDER:
        fputs(" -fa '(__fish_complete_directories)'", f);
        return;
    case CLI_PROGRAM:
        fputs(" -fa '(__fish_complete_command)'", f);
        return;
    case CLI_SERVICE:
        fputs(" -fa '(" SERVICES ")'", f);
        return;
    case CLI_NODE:
        fputs(" -fa '(" NODES ")'", f);
        return;
    case CLI_COMMAND:
        fputs(" -fa '", f);
        sub_commands(f, "");
        fputs("'", f);
        return;
    case CLI_ANY:
        break;
    }
    if (flag->kind != CLI_CHOICE) {
        fputs(" -f", f);
        return;
    }
    fputs(" -fa '", f);
    for (const char *p = flag->value; *p; p++)
        fputc(*p == '|' ? ' ' : *p, f);
    fputc('\'', f);
}

static void fish_command(FILE *f, const struct cli_command *c)
{
    struct cli_flag flag;
    bool own;

    for (size_t i = 0; cli_flag_at(c, i, &flag, &own); i++) {
        fprintf(f, "complete -c muster -n '__muster_is %s' -o %s", c->name,
                flag.name);
        if (flag.value) {
            fputs(" -r", f);
            fish_values(f, &flag);
        }
        fputs(" -d ", f);
        quoted(f, flag.help);
        fputc('\n', f);
    }
    if (c->complete != CLI_ANY) {
        flag = (struct cli_flag){.complete = c->complete};
        fprintf(f, "complete -c muster -n '__muster_is %s'", c->name);
        fish_values(f, &flag);
        fputc('\n', f);
    }
}

static void fish(FILE *f)
{
    fputs("set -g __muster_names", f);
    for (size_t i = 0; i < cli_command_count; i++)
        fprintf(f, " '%s'", cli_commands[i].name);
    fputs("\n\n# The command so far: the longest that the words make.\n"
          "function __muster_name\n"
          "    set -l name\n"
          "    for word in (commandline -opc)[2..-1]\n"
          "        set -l next (string trim -- \"$name $word\")\n"
          "        contains -- $next $__muster_names; and set name $next\n"
          "    end\n    echo $name\nend\n\n"
          "function __muster_is\n    test \"$argv\" = (__muster_name)\nend\n\n"
          "complete -c muster -f\n",
          f);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *c = &cli_commands[i];
        const char *last = strrchr(c->name, ' ');
        fprintf(f, "complete -c muster -n '__muster_is \"%.*s\"' -fa '%s' -d ",
                last ? (int)(last - c->name) : 0, c->name,
                last ? last + 1 : c->name);
        quoted(f, c->summary);
        fputc('\n', f);
        fish_command(f, c);
    }
}

void cli_complete_script(const char *shell, FILE *f)
{
    if (strcmp(shell, "fish") != 0 && strcmp(shell, "zsh") != 0) {
        fputs("# muster's completion for bash\n\n", f);
        bash_tables(f);
        fputs(bash_rest, f);
    } else if (strcmp(shell, "zsh") == 0) {
        zsh(f);
    } else {
        fputs("# muster's completion for fish\n\n", f);
        fish(f);
    }
}

/* --- -autocomplete-install ------------------------------------------------ */

/* Makes the folders of a path. */
static void make_folders(char *path)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0755); /* there, or fopen says why not */
            *p = '/';
        }
}

static int install_one(char *path, const char *shell, bool install)
{
    if (!install) {
        if (unlink(path) == 0)
            printf("Removed %s\n", path);
        else if (errno != ENOENT)
            fprintf(stderr, "muster: %s: %s\n", path, strerror(errno));
        return 0;
    }
    make_folders(path);
    FILE *f = fopen(path, "w");
    if (f)
        cli_complete_script(shell, f);
    if (!f || fclose(f) != 0) {
        fprintf(stderr, "muster: %s: %s\n", path, strerror(errno));
        return 1;
    }
    printf("Wrote %s\n", path);
    return 0;
}

/* Where each shell looks by itself, but for zsh, which looks where fpath says.
 * No file that somebody has written is changed. */
int cli_complete_install(bool install)
{
    static const struct {
        const char *shell, *variable, *usual, *file;
    } places[] = {
        {"bash", "XDG_DATA_HOME", ".local/share",
         "bash-completion/completions/muster"},
        {"zsh", "XDG_DATA_HOME", ".local/share", "zsh/site-functions/_muster"},
        {"fish", "XDG_CONFIG_HOME", ".config", "fish/completions/muster.fish"},
    };
    const char *home = getenv("HOME");
    char path[4096];
    int rc = 0;

    if (!home || !*home) {
        fprintf(stderr, "muster: HOME is not set: where to?\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *base = getenv(places[i].variable);
        bool given = base && *base == '/';
        (void)snprintf(path, sizeof path, "%s%s%s/%s", given ? base : home,
                       given ? "" : "/", given ? "" : places[i].usual,
                       places[i].file);
        if (install_one(path, places[i].shell, install) != 0)
            rc = 1;
    }
    if (install && rc == 0)
        puts("bash (with the package bash-completion) and fish know it from "
             "the next shell on.\nzsh: put  fpath+=~/.local/share/zsh/"
             "site-functions  before compinit in ~/.zshrc.");
    return rc;
}
