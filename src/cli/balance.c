/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "cli/balance.h"

#include <string.h>

static bool fill(struct cli *c, bool own_loop, struct muster_options *o)
{
    const char *token;

    muster_options_init(o, sizeof *o);
    if (!cli_token(c, &token))
        return false;
    o->servers = cli_address(c);
    o->token = *token ? token : NULL;
    o->ca_file = cli_setting(c, "ca-file");
    o->ca_path = cli_setting(c, "ca-path");
    o->cert_file = cli_setting(c, "client-cert");
    o->key_file = cli_setting(c, "client-key");
    o->tls_server_name = cli_setting(c, "tls-server-name");
    o->datacenter = cli_text(c, "datacenter");
    o->cache_dir = cli_text(c, "cache-dir");
    o->failover = cli_text(c, "failover");
    o->own_loop = own_loop;
    return true;
}

static uint32_t small_number(const struct cli *c, const char *name)
{
    uint64_t n = cli_number(c, name);
    return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

bool balance_open(struct cli *c, bool own_loop, struct balance *ret)
{
    struct muster_options o;
    struct muster_watch_options w;
    char why[MUSTER_TEXT] = "";

    *ret = (struct balance){0};
    if (!fill(c, own_loop, &o))
        return false;
    muster_watch_options_init(&w, sizeof w);
    w.policy = cli_text(c, "policy");
    w.tag = cli_text(c, "tag");
    w.filter = cli_text(c, "filter");
    w.zone = cli_text(c, "zone");
    w.bounded_percent = small_number(c, "bounded-load");
    w.subset_size = small_number(c, "subset");
    if (muster_open(&o, &ret->m, why) != MUSTER_OK ||
        muster_watch(ret->m, c->args[0], &w, &ret->s, why) != MUSTER_OK) {
        (void)cli_fail(c, "%s", why);
        balance_close(ret);
        return false;
    }
    return true;
}

void balance_close(struct balance *b)
{
    (void)muster_close(b->m);
    b->m = NULL;
}

bool balance_hashes(const struct cli *c)
{
    static const char *const names[] = {"ketama", "maglev", "rendezvous",
                                        "jump"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(cli_text(c, "policy"), names[i]) == 0)
            return true;
    return false;
}
