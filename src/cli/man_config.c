/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster.json(5): every configuration key. What a key means is said by the flag
 * that sets it, where there is one. */
#include <inttypes.h>
#include <string.h>

#include "cli/impl.h"
#include "config/flag_table.h"
#include "config/keys.h"

static bool is_idle(const struct config_key *k)
{
    return k->kind == KEY_IGNORED || k->kind == KEY_PROTECTS;
}

static void print_kind(FILE *f, const struct config_key *k)
{
    switch (k->kind) {
    case KEY_BOOL:
        fputs("True or false", f);
        break;
    case KEY_STRING:
        fputs("Text", f);
        break;
    case KEY_INT:
        fprintf(f, "A whole number, \\%s%" PRId64 " to %" PRId64,
                k->min < 0 ? "-" : "&", k->min < 0 ? -k->min : k->min, k->max);
        break;
    case KEY_PORT:
        fputs("A port, 1 to 65535, or \\-1: none", f);
        break;
    case KEY_DURATION:
        fputs("A time as 500ms, 10s or 1m30s", f);
        break;
    case KEY_STRINGS:
        fputs("A list of texts", f);
        break;
    case KEY_PAIRS:
        fputs("An object of texts", f);
        break;
    case KEY_VALUES:
        fputs("An object, or a list of them", f);
        break;
    case KEY_IGNORED:
    case KEY_PROTECTS:
        break;
    }
    fputs(".\n", f);
}

static void print_key(FILE *f, const struct config_key *k)
{
    fputs(".TP\n\\fB", f);
    cli_roff(f, k->path);
    fputs("\\fR\n", f);
    print_kind(f, k);
    for (const struct flag *flag = flag_table; flag->name; flag++) {
        if (!flag->key || !flag->help || strcmp(flag->key, k->path) != 0)
            continue;
        fputs("As \\fB\\-", f);
        cli_roff(f, flag->name);
        fputs("\\fR: ", f);
        cli_roff(f, flag->help);
        fputs(".\n", f);
        return;
    }
}

static void print_idle(FILE *f)
{
    bool any = false;
    for (size_t i = 0; i < config_key_count; i++) {
        if (!is_idle(&config_keys[i]))
            continue;
        fputs(any ? ",\n\\fB" : "\\fB", f);
        cli_roff(f, config_keys[i].path);
        fputs("\\fR", f);
        any = true;
    }
    fputs(".\n", f);
}

void cli_man_config(FILE *f)
{
    cli_man_heading(f, "muster.json", 5);
    fputs("muster.json \\- configuration of muster's agent\n"
          ".SH DESCRIPTION\nFiles in JSON (.json) or HCL 1 (.hcl), named to "
          "\\fBmuster agent\\fR by \\fB\\-config\\-file\\fR or, a folder of "
          "them, by \\fB\\-config\\-dir\\fR. They are read in the order given, "
          "those of a folder in the order of their names. A later file wins; "
          "lists are appended; flags win over files.\n.PP\nKeys are those of "
          "Consul. One that no release of Consul knows stops the start, with "
          "file, line, column, and what was probably meant. \\fBmuster "
          "validate\\fR checks files without a start, \\fBmuster reload\\fR "
          "makes a running agent read them again.\n.SH KEYS\nA dot stands for "
          "an object: \\fBports.http\\fR is {\"ports\": {\"http\": 8500}}.\n",
          f);
    for (size_t i = 0; i < config_key_count; i++)
        if (!is_idle(&config_keys[i]))
            print_key(f, &config_keys[i]);
    fputs(".SH KEYS WITHOUT EFFECT\nTaken so that Consul's files can be used; "
          "at its start the agent names those that a file holds:\n",
          f);
    print_idle(f);
    fputs(
        ".SH EXAMPLES\n.nf\n{\n  \"server\": true,\n  \"data_dir\": "
        "\"/var/lib/muster\",\n  \"ports\": {\"http\": 8500},\n  \"service\": "
        "{\"name\": \"web\", \"port\": 8080,\n    \"check\": {\"http\": "
        "\"http://127.0.0.1:8080/health\", \"interval\": \"10s\"}}\n}\n.fi\n"
        ".SH SEE ALSO\n.BR muster\\-agent (1),\n.BR muster\\-validate (1)\n",
        f);
}
