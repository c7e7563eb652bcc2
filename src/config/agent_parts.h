/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* agent_parts - what agent_config.c, agent_apply.c, agent_validate.c, agent_dns.c,
 * agent_join.c, agent_listen.c and agent_tls.c share; nobody else includes it. */
#ifndef CONFIG_AGENT_PARTS_H
#define CONFIG_AGENT_PARTS_H

#include "config/agent_config.h"

/* Of an agent that was told nothing. */
extern const struct agent_config agent_defaults;

/* s (arena memory) is added at the end. ERR_NOMEM. */
MUST_USE enum err config_strings_add(struct arena *arena,
                                     struct config_strings *list,
                                     const char *s);

/* ERR_BAD with the message, behind the place where key was said last if it was
 * said at all. */
enum err agent_config_fail(const struct agent_config *c, const char *key,
                           struct errtext *t, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Fills c->own_tls and c->https_tls. */
MUST_USE enum err agent_config_tls(struct agent_config *c, struct errtext *t);

/* Checks all addresses, fills c->listen, refuses two listeners on one port. */
MUST_USE enum err agent_config_listen(struct agent_config *c,
                                      struct errtext *t);

/* Domains, time-outs, recursors. */
MUST_USE enum err agent_config_dns(struct agent_config *c, struct errtext *t);

/* Servers to join, and the key to do it with. After agent_config_listen. */
MUST_USE enum err agent_config_join(struct agent_config *c, struct errtext *t);

#endif
