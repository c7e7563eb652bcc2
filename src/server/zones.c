/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/zones.h"

#include "api/wan.h"
#include "server/link.h"
#include "server/mirrors.h"

static const struct api_wan *wan_of(const struct process *p)
{
    return atomic_load_explicit(&p->wan, memory_order_acquire);
}

static void fill(const struct dns_zones *z, const struct api_dc *dc,
                 struct bytes service, struct dns_zone *ret)
{
    struct dc_view v;

    *ret = (struct dns_zone){.name = dc->name, .reachable = dc->alive};
    if (!(service.n ? mirrors_view_of(z->ctx, dc->name, service, &v)
                    : mirrors_view(z->ctx, dc->name, &v)))
        return;
    ret->cat = v.cat;
    ret->life = 1 + v.life;
    ret->age_ms = v.age_ms;
    ret->up = v.link_up && v.whole;
    ret->reachable |= v.link_up;
}

static bool zones_find(const struct dns_zones *z, struct bytes name,
                       struct bytes service, struct dns_zone *ret)
{
    const struct api_dc *dc = api_wan_dc(wan_of(z->ctx), name);

    if (!dc || dc->own)
        return false;
    fill(z, dc, service, ret);
    return true;
}

static bool zones_nth(const struct dns_zones *z, size_t i, struct bytes service,
                      struct dns_zone *ret)
{
    const struct api_wan *w = wan_of(z->ctx);

    for (size_t k = 0; w && k < w->dc_count; k++) {
        if (w->dcs[k].own || i--)
            continue;
        fill(z, &w->dcs[k], service, ret);
        return true;
    }
    return false;
}

void zones_init(struct process *p)
{
    p->zones = (struct dns_zones){
        .find = zones_find,
        .nth = zones_nth,
        .max_age_ms = mirrors_age_max_ms(p),
        .failover_age_ms = mirrors_failover_age_max_ms(p),
        .ctx = p,
    };
}

bool zones_server_of(void *process, struct bytes dc, size_t nth, char *ret,
                     size_t n)
{
    const struct process *p = process;
    const struct api_wan *w = wan_of(p);
    char address[API_WAN_ADDRESS_MAX];
    size_t alive = api_wan_count(w, dc, true);

    if (dc.n == 0)
        return link_server_of(process, nth, ret, n);
    if (alive == 0)
        return false;
    api_wan_address(w, dc, true, nth % alive, address);
    (void)snprintf(ret, n, "%s", address);
    return true;
}
