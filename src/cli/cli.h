/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* cli - the command line but for `agent`: a client of the HTTP API.
 *
 * Exit codes: 0 done, 1 refused or not reachable, 2 wrong usage of a
 * sub-command. Results go to standard output, errors to standard error. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/buf.h"
#include "base/bytes.h"

/* argv[0] is the program's name, argv[1] the command. */
int cli_main(int argc, char **argv);

/* The release of Consul whose API and command line this is. */
#define CLI_API_VERSION "1.8.7"

/* The list of commands. */
void cli_usage(const char *program, bool to_stderr);

#endif
