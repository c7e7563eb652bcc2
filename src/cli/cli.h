/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* cli - the command line but for `agent`: a client of the HTTP API.
 *
 * Results go to standard output, errors to standard error. Exit codes: 0 done,
 * 1 refused, not reachable or wrong usage, 127 no such command; where a command
 * has more, its row in commands.c says so. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "base/err.h"

/* Reads configuration files as an agent would, and everything they define. t:
 * what is wrong. Only who runs agents can. */
typedef enum err (*cli_validate_fn)(const char *const *paths, size_t count,
                                    const char *format, struct errtext *t);

/* argv[0] is the program's name, argv[1] the command. */
int cli_main(int argc, char **argv, cli_validate_fn validate);

/* The release of Consul whose API and command line this is. */
#define CLI_API_VERSION "1.8.7"

/* The help of `agent`, which is run elsewhere. */
void cli_agent_help(FILE *f);

#endif
