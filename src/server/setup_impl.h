/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* setup_impl - what setup.c, setup_files.c, setup_peers.c and setup_system.c share; nobody else includes it. */
#ifndef SERVER_SETUP_IMPL_H
#define SERVER_SETUP_IMPL_H

#include "config/agent_config.h"
#include "config/flags.h"
#include "server/run.h"

struct setup {
    struct arena arena;
    struct agent_config config;
    struct config_flags flags;
    struct settings settings;
    struct errtext text;
    struct config_notice notice_of[CONFIG_KEYS_MAX];
    size_t notice_count;
    char host[256];
    char peer_port[16]; /* where peers reach this agent; "0": nowhere */
};

/* All of it, in order: defaults, files, flags; validated. Also what a reload
 * does. Errors are in s->text. */
MUST_USE enum err setup_read(struct setup *s, int argc, char **argv);

/* --- setup_system.c ------------------------------------------------------- */

struct store_etcd setup_store(const struct agent_config *c);
struct tls_files setup_tls_files(const struct config_tls *c);

/* Reads the certificate and all that belongs to it into settings.https, if
 * HTTPS is wanted. */
MUST_USE enum err setup_https(struct setup *s);

/* Whom to join, and the listener for those who join; settings.listeners gets one
 * more if there is one. */
MUST_USE enum err setup_peers(struct setup *s);
void setup_peers_notices(const struct setup *s); /* what to log of them */

/* From here on there is a log. */
MUST_USE enum err setup_log(struct setup *s);

#endif
