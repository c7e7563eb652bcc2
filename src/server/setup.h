/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* setup - `muster agent` and `muster validate`: command line and files -> settings -> run. */
#ifndef SERVER_SETUP_H
#define SERVER_SETUP_H

#include <stddef.h>

#include "base/err.h"

/* argv: what follows "agent". The exit code. */
int setup_and_run(int argc, char **argv);

/* A cli_validate_fn. format may be NULL. */
MUST_USE enum err setup_validate(const char *const *paths, size_t count,
                                 const char *format, struct errtext *t);

#endif
