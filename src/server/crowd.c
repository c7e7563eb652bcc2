/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/crowd.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/metric.h"

struct crowd {
    uint64_t servers_hash; /* of their watch key */
    bool told;
};

static void look(struct core *c)
{
    struct process *p = c->process;
    const struct api_env env = {
        .cat = catalog_current(p->catalog),
        .cluster = atomic_load(&p->cluster),
    };
    char text[API_CROWD_TEXT];
    size_t n = api_count_servers(&env, text);

    metric_set(METRIC_CATALOG_SERVERS, (int64_t)n);
    metric_set(METRIC_CATALOG_UNHEARD,
               n > API_SERVERS_MAX ? (int64_t)(n - API_SERVERS_MAX) : 0);
    if (text[0] && !c->crowd->told)
        log_error("server", "%s", text);
    if (!text[0] && c->crowd->told)
        log_info("server", "there are %zu servers, not too many any more", n);
    c->crowd->told = text[0] != '\0';
}

void crowd_published(struct core *c, const struct watch_set *set)
{
    if (!c->link && watch_set_touches(set, c->crowd->servers_hash))
        look(c);
}

void crowd_new(struct core *c)
{
    c->crowd = xzalloc(sizeof *c->crowd);
    c->crowd->servers_hash =
        watch_hash((struct watch_key){WATCH_SERVICE, bytes_str("consul")});
}

void crowd_free(struct core *c)
{
    free(c->crowd);
    c->crowd = NULL;
}
