/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* balance - how the commands that pick instances use libmuster: the agent,
 * token and TLS files as said, the policy from the command's flags. Internal. */
#ifndef CLI_BALANCE_H
#define CLI_BALANCE_H

#include <muster.h>

#include "cli/impl.h"

enum { BALANCE_WAIT_MS = 5000 };

struct balance {
    struct muster *m;
    struct muster_service *s;
};

/* Begins to watch args[0]; own_loop as in muster.h. False: printed why not. */
bool balance_open(struct cli *c, bool own_loop, struct balance *ret);
void balance_close(struct balance *b);

/* Whether the policy that was said picks by a key. */
bool balance_hashes(const struct cli *c);

#endif
