/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Finds the command that is meant and runs it. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#include "cli/impl.h"
#include "config/agent_config.h"
#include "config/keys.h"

/* The longest name that the first words make; *ret_words is how many. */
static const struct cli_command *find(int argc, char *const *argv,
                                      int *ret_words)
{
    const struct cli_command *best = NULL;
    struct buf name;

    buf_init(&name, 256);
    for (int i = 0; i < argc && i < 3 && !name.bad; i++) {
        if (i)
            buf_putc(&name, ' ');
        buf_puts(&name, argv[i]);
        buf_putc(&name, 0);
        if (name.bad)
            break;
        name.n--;
        const struct cli_command *c = cli_command_find(name.p);
        if (c) {
            best = c;
            *ret_words = i + 1;
        }
    }
    buf_fini(&name);
    return best;
}

static const char *near_command(const char *word)
{
    const char *near = NULL;
    unsigned best = 3;

    for (size_t i = 0; i < cli_command_count; i++) {
        unsigned d = config_word_distance(bytes_str(word),
                                          bytes_str(cli_commands[i].name));
        if (d < best && d * 2 < strlen(word)) {
            best = d;
            near = cli_commands[i].name;
        }
    }
    return near;
}

static int no_command(const char *word)
{
    for (const struct cli_absent *a = cli_absent; a->name; a++)
        if (strcmp(a->name, word) == 0) {
            fprintf(stderr,
                    "muster: \"%s\" is a command of Consul that muster "
                    "does not have: %s\n",
                    word, a->why);
            return 127;
        }
    const char *near = near_command(word);
    fprintf(stderr, "muster: there is no command \"%.80s\"%s%s%s\n\n", word,
            near ? " (did you mean \"" : "", near ? near : "",
            near ? "\"?)" : "");
    cli_usage(stderr);
    return 127;
}

static bool is_one_of(const char *word, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(*names, word) == 0)
            return true;
    return false;
}

static int run_group(const struct cli_command *k, int argc, char **argv,
                     int from)
{
    static const char *const help[] = {"-h", "-help", "--help", NULL};
    if (from < argc && is_one_of(argv[from], help)) {
        cli_help(k, stdout);
        return 0;
    }
    if (from < argc)
        fprintf(stderr, "muster %s: there is no sub-command \"%.80s\"\n\n",
                k->name, argv[from]);
    cli_help(k, stderr);
    return 1;
}

static int run(const struct cli_command *k, int argc, char **argv, int from,
               cli_validate_fn validate)
{
    struct cli c = {.command = k, .validate = validate};
    int rc = 1;

    arena_init(&c.arena, 0);
    if (!cli_parse(&c, argc, argv, from, &rc))
        rc = k->run(&c);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "muster %s: standard output cannot be written\n",
                k->name);
        rc = 1;
    }
    arena_fini(&c.arena);
    free(c.reply);
    return rc;
}

int cli_main(int argc, char **argv, cli_validate_fn validate)
{
    static const char *const version[] = {"-v", "-version", "--version", NULL};
    static const char *const help[] = {"-h", "-help", "--help", NULL};
    static const char *const install[] = {"-autocomplete-install",
                                          "--autocomplete-install", NULL};
    static const char *const uninstall[] = {"-autocomplete-uninstall",
                                            "--autocomplete-uninstall", NULL};
    static char version_word[] = "version";
    int words = 0;

    if (argc < 2) {
        cli_usage(stderr);
        return 127;
    }
    if (is_one_of(argv[1], help)) {
        cli_usage(stdout);
        return 0;
    }
    if (is_one_of(argv[1], install))
        return cli_complete_install(true);
    if (is_one_of(argv[1], uninstall))
        return cli_complete_install(false);
    if (is_one_of(argv[1], version))
        argv[1] = version_word;
    const struct cli_command *k = find(argc - 1, argv + 1, &words);
    if (!k)
        return no_command(argv[1]);
    return cli_is_group(k) ? run_group(k, argc, argv, 1 + words)
                           : run(k, argc, argv, 1 + words, validate);
}

/* --- help, version -------------------------------------------------------- */

int cli_help_command(struct cli *c)
{
    const char *man = cli_text(c, "man"), *shell = cli_text(c, "completion");
    int words = 0;

    if (man && shell)
        return cli_misused(c, "-man and -completion are two different things: "
                              "give one");
    if (man)
        return cli_man_write(c, man);
    if (shell) {
        cli_complete_script(shell, stdout);
        return 0;
    }
    if (c->arg_count == 0) {
        cli_usage(stdout);
        return 0;
    }
    const struct cli_command *k =
        find((int)c->arg_count, (char *const *)c->args, &words);
    if (!k || (size_t)words != c->arg_count)
        return no_command(c->args[k ? words : 0]);
    cli_help(k, stdout);
    return 0;
}

int cli_version(struct cli *c)
{
    if (cli_json(c))
        printf("{\"Version\":\"%s\",\"Revision\":\"\",\"Prerelease\":\"\","
               "\"Muster\":\"%s\"}\n",
               CLI_API_VERSION, MUSTER_VERSION);
    else
        printf("Muster v%s\nSpeaks the API of Consul v%s\n", MUSTER_VERSION,
               CLI_API_VERSION);
    return 0;
}
