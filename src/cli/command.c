/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <string.h>

#include "config/flag_table.h"

bool cli_is_group(const struct cli_command *c)
{
    return !c->run && !c->of_agent;
}

const struct cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

/* Takes i off, or tells that *ret is it. */
static bool flag_in(const struct cli_flag *flags, size_t *i,
                    struct cli_flag *ret)
{
    for (; flags && flags->name; flags++)
        if ((*i)-- == 0) {
            *ret = *flags;
            return true;
        }
    return false;
}

static struct cli_flag of_agent(const struct flag *f)
{
    static const struct {
        enum cli_kind kind;
        const char *value;
        bool repeats;
        enum cli_complete complete;
    } as[] = {
        [FLAG_BOOL] = {CLI_BOOL, NULL, false, CLI_ANY},
        [FLAG_STRING] = {CLI_TEXT, "TEXT", false, CLI_ANY},
        [FLAG_INT] = {CLI_NUMBER, "N", false, CLI_ANY},
        [FLAG_LIST] = {CLI_TEXT, "TEXT", true, CLI_ANY},
        [FLAG_PAIR] = {CLI_TEXT, "KEY:VALUE", true, CLI_ANY},
        [FLAG_FILE] = {CLI_TEXT, "PATH", true, CLI_FILE},
        [FLAG_DIR] = {CLI_TEXT, "PATH", true, CLI_FOLDER},
        [FLAG_FORMAT] = {CLI_CHOICE, "json|hcl", false, CLI_ANY},
        [FLAG_HCL] = {CLI_TEXT, "TEXT", true, CLI_ANY},
        [FLAG_DEV] = {CLI_BOOL, NULL, false, CLI_ANY},
        [FLAG_HELP] = {CLI_BOOL, NULL, false, CLI_ANY},
    };
    bool path = strstr(f->name, "-file") || strstr(f->name, "-dir");
    return (struct cli_flag){
        .name = f->name,
        .kind = as[f->kind].kind,
        .value = path && as[f->kind].value ? "PATH" : as[f->kind].value,
        .help = f->help,
        .repeats = as[f->kind].repeats,
        .complete =
            f->kind == FLAG_STRING && path ? CLI_FILE : as[f->kind].complete,
    };
}

static bool agent_flag_at(size_t i, struct cli_flag *ret)
{
    for (const struct flag *f = flag_table; f->name; f++)
        if (f->help && f->kind != FLAG_HELP && i-- == 0) {
            *ret = of_agent(f);
            return true;
        }
    return false;
}

const char *cli_idle_flag_at(size_t i)
{
    for (const struct flag *f = flag_table; f->name; f++)
        if (!f->help && f->kind != FLAG_HELP && i-- == 0)
            return f->name;
    return NULL;
}

bool cli_flag_at(const struct cli_command *c, size_t i, struct cli_flag *ret,
                 bool *ret_own)
{
    *ret_own = true;
    if (c->of_agent)
        return agent_flag_at(i, ret);
    if (flag_in(c->flags, &i, ret))
        return true;
    *ret_own = false;
    return (c->api >= CLI_AGENT && flag_in(cli_flags_agent, &i, ret)) ||
           (c->api >= CLI_DATACENTER && flag_in(cli_flags_datacenter, &i, ret));
}
