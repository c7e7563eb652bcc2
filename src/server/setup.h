/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* setup - `muster agent`: command line and files -> settings -> run. */
#ifndef SERVER_SETUP_H
#define SERVER_SETUP_H

/* argv: what follows "agent". The exit code. */
int setup_and_run(int argc, char **argv);

#endif
