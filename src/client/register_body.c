/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "client/register.h"
#include "http/json_out.h"

static const char *health_name(enum muster_health h)
{
    switch (h) {
    case MUSTER_PASSING:
        return "passing";
    case MUSTER_WARNING:
        return "warning";
    case MUSTER_CRITICAL:
        return "critical";
    }
    return "critical";
}

static void member(struct json_out *j, const char *key, const char *text)
{
    json_key(j, key);
    json_str(j, bytes_str(text));
}

static void member_ms(struct json_out *j, const char *key, uint64_t ms)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%" PRIu64 "ms", ms);
    member(j, key, text);
}

static void put_meta(struct json_out *j, const struct muster_registration *r)
{
    char number[16];

    json_key(j, "Meta");
    json_open(j, '{');
    if (r->o.zone)
        member(j, "zone", r->o.zone);
    if (r->o.priority) {
        (void)snprintf(number, sizeof number, "%" PRIu32, r->o.priority);
        member(j, "priority", number);
    }
    if (r->outside)
        member_ms(j, "muster-ttl", r->o.ttl_ms);
    json_close(j, '}');
}

/* Members of a service that agent and catalog have in common. */
static void put_service(struct json_out *j, const struct muster_registration *r)
{
    const struct muster_register_options *o = &r->o;

    member(j, "ID", o->id);
    json_key(j, "Port");
    json_u64(j, o->port);
    if (o->address)
        member(j, "Address", o->address);
    json_key(j, "Tags");
    json_open(j, '[');
    for (size_t i = 0; o->tags && o->tags[i]; i++)
        json_str(j, bytes_str(o->tags[i]));
    json_close(j, ']');
    put_meta(j, r);
    json_key(j, "Weights");
    json_open(j, '{');
    json_key(j, "Passing");
    json_u64(j, o->weight);
    json_key(j, "Warning");
    json_u64(j, 1);
    json_close(j, '}');
}

static void put_check_id(struct json_out *j,
                         const struct muster_registration *r)
{
    char id[sizeof "service:" + ROSTER_TEXT_MAX];

    (void)snprintf(id, sizeof id, "service:%s", r->o.id);
    member(j, "CheckID", id);
}

static void put_at_agent(struct json_out *j,
                         const struct muster_registration *r)
{
    member(j, "Name", r->o.name);
    put_service(j, r);
    if (!r->o.ttl_ms)
        return;
    json_key(j, "Check");
    json_open(j, '{');
    member(j, "Name", "beats of libmuster");
    member_ms(j, "TTL", r->o.ttl_ms);
    member(j, "Status", "passing");
    json_close(j, '}');
}

/* The same on whichever server, and as often as one likes. The node is made if
 * it is not there; other programs may have instances on it. */
static void put_outside(struct json_out *j, const struct muster_registration *r)
{
    member(j, "Node", r->o.node);
    member(j, "Address", r->o.node_address ? r->o.node_address : r->o.address);
    json_key(j, "SkipNodeUpdate");
    json_bool(j, true);
    json_key(j, "Service");
    json_open(j, '{');
    member(j, "Service", r->o.name);
    put_service(j, r);
    json_close(j, '}');
    json_key(j, "Check");
    json_open(j, '{');
    put_check_id(j, r);
    member(j, "Name", "health as libmuster tells it");
    member(j, "ServiceID", r->o.id);
    member(j, "Status", health_name(r->health));
    json_close(j, '}');
}

void register_put_body(struct buf *b, const struct muster_registration *r)
{
    struct json_out j = json_out(b);

    json_open(&j, '{');
    if (r->outside)
        put_outside(&j, r);
    else
        put_at_agent(&j, r);
    json_close(&j, '}');
}

void register_put_beat(struct buf *b, const struct muster_registration *r)
{
    struct json_out j = json_out(b);

    if (r->outside) {
        register_put_body(b, r);
        return;
    }
    json_open(&j, '{');
    member(&j, "Status", health_name(r->health));
    json_close(&j, '}');
}

void register_put_leave(struct buf *b, const struct muster_registration *r)
{
    struct json_out j = json_out(b);

    if (!r->outside)
        return;
    json_open(&j, '{');
    member(&j, "Node", r->o.node);
    member(&j, "ServiceID", r->o.id);
    json_close(&j, '}');
}
