/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Prepared queries as JSON, both ways. */
#include "api/query.h"
#include "api/table.h"

struct target_in {
    struct bytes peer, datacenter;
};

struct failover_in {
    int64_t nearest;
    struct json_strings datacenters;
    struct json_list targets; /* of target_in */
};

struct query_service_in {
    struct tenancy_in tenancy;
    struct bytes service, near, peer;
    struct failover_in *failover;
    bool only_passing, connect;
    struct json_strings ignored, tags;
    struct json_map node_meta, service_meta;
};

struct query_template_in {
    struct bytes type, regexp;
    bool remove_empty_tags;
};

struct query_dns_in {
    struct bytes ttl;
};

struct query_in {
    struct bytes id, name, session, token;
    struct query_template_in *template;
    struct query_service_in *service;
    struct query_dns_in *dns;
};

/* clang-format off */
static const struct json_field target_fields[] = {
    FIELD(target_in, "Peer", NULL, FIELD_STRING, peer),
    FIELD(target_in, "Datacenter", NULL, FIELD_STRING, datacenter),
};
static const struct json_table target_table = TABLE(target_fields, target_in);

static const struct json_field failover_fields[] = {
    FIELD(failover_in, "NearestN", NULL, FIELD_INT, nearest),
    FIELD(failover_in, "Datacenters", NULL, FIELD_STRINGS, datacenters),
    FIELD_OF(failover_in, "Targets", NULL, FIELD_LIST, targets, &target_table),
};
static const struct json_table failover_table = TABLE(failover_fields, failover_in);

static const struct json_field query_service_fields[] = {
    FIELD(query_service_in, "Namespace", NULL, FIELD_STRING, tenancy.ns),
    FIELD(query_service_in, "Partition", NULL, FIELD_STRING, tenancy.partition),
    FIELD(query_service_in, "Service", NULL, FIELD_STRING, service),
    FIELD_OF(query_service_in, "Failover", NULL, FIELD_OBJECT, failover, &failover_table),
    FIELD(query_service_in, "OnlyPassing", NULL, FIELD_BOOL, only_passing),
    FIELD(query_service_in, "IgnoreCheckIDs", NULL, FIELD_STRINGS, ignored),
    FIELD(query_service_in, "Near", NULL, FIELD_STRING, near),
    FIELD(query_service_in, "Tags", NULL, FIELD_STRINGS, tags),
    FIELD(query_service_in, "NodeMeta", NULL, FIELD_MAP, node_meta),
    FIELD(query_service_in, "ServiceMeta", NULL, FIELD_MAP, service_meta),
    FIELD(query_service_in, "Connect", NULL, FIELD_BOOL, connect),
    FIELD(query_service_in, "Peer", NULL, FIELD_STRING, peer),
};
static const struct json_table query_service_table = TABLE(query_service_fields, query_service_in);

static const struct json_field query_template_fields[] = {
    FIELD(query_template_in, "Type", NULL, FIELD_STRING, type),
    FIELD(query_template_in, "Regexp", NULL, FIELD_STRING, regexp),
    FIELD(query_template_in, "RemoveEmptyTags", NULL, FIELD_BOOL, remove_empty_tags),
};
static const struct json_table query_template_table = TABLE(query_template_fields, query_template_in);

static const struct json_field query_dns_fields[] = {
    FIELD(query_dns_in, "TTL", NULL, FIELD_STRING, ttl),
};
static const struct json_table query_dns_table = TABLE(query_dns_fields, query_dns_in);

static const struct json_field query_fields[] = {
    FIELD(query_in, "ID", NULL, FIELD_STRING, id),
    FIELD(query_in, "Name", NULL, FIELD_STRING, name),
    FIELD(query_in, "Session", NULL, FIELD_STRING, session),
    FIELD(query_in, "Token", NULL, FIELD_STRING, token),
    FIELD_OF(query_in, "Template", NULL, FIELD_OBJECT, template, &query_template_table),
    FIELD_OF(query_in, "Service", NULL, FIELD_OBJECT, service, &query_service_table),
    FIELD_OF(query_in, "DNS", NULL, FIELD_OBJECT, dns, &query_dns_table),
};
static const struct json_table query_table = TABLE(query_fields, query_in);
/* clang-format on */

/* --- In ------------------------------------------------------------------ */

static bool pack_targets(struct arena *a, const struct json_list *in,
                         struct packed *ret)
{
    const struct target_in *v = in->v;
    struct buf b;

    *ret = (struct packed){0};
    buf_init(&b, 0);
    for (size_t i = 0; i < in->n; i++)
        packed_put_pair(&b, v[i].datacenter, v[i].peer);
    ret->n = (uint32_t)in->n;
    ret->data = arena_copy(a, buf_bytes(&b));
    bool ok = !b.bad && (b.n == 0 || ret->data.p);
    buf_fini(&b);
    return ok;
}

static bool service_of(struct arena *a, const struct query_service_in *in,
                       struct query_view *v)
{
    const struct failover_in *f = in->failover;

    v->text[QUERY_SERVICE] = in->service;
    v->text[QUERY_NEAR] = in->near;
    v->only_passing = in->only_passing;
    v->connect = in->connect;
    v->list_set[QUERY_IGNORED] = in->ignored.set;
    v->list_set[QUERY_TAGS] = in->tags.set;
    v->list_set[QUERY_NODE_META] = in->node_meta.set;
    v->list_set[QUERY_SERVICE_META] = in->service_meta.set;
    if (!pack_strings(a, &in->ignored, &v->list[QUERY_IGNORED]) ||
        !pack_strings(a, &in->tags, &v->list[QUERY_TAGS]) ||
        !pack_map(a, &in->node_meta, &v->list[QUERY_NODE_META]) ||
        !pack_map(a, &in->service_meta, &v->list[QUERY_SERVICE_META]))
        return false;
    if (!f)
        return true;
    v->nearest = f->nearest;
    v->list_set[QUERY_DATACENTERS] = f->datacenters.set;
    v->list_set[QUERY_TARGETS] = f->targets.set;
    return pack_strings(a, &f->datacenters, &v->list[QUERY_DATACENTERS]) &&
           pack_targets(a, &f->targets, &v->list[QUERY_TARGETS]);
}

static bool refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "%s", text);
    return false;
}

/* What there is not here is said, not ignored. */
static bool is_supported(struct api_call *c, const struct query_in *in)
{
    const struct query_service_in *s = in->service;
    struct errtext t = {{0}};

    if (in->session.n) {
        api_error(c, 500,
                  "invalid session \"%.*s\": there are no sessions here, leave "
                  "Session empty and give the query a Name",
                  BYTES_ARG(bytes_head(in->session, 40)));
        return false;
    }
    if (!s)
        return true;
    if (tenancy_validate(&s->tenancy, &t) != ERR_OK)
        return refuse(c, 400, t.s);
    if (s->connect)
        return refuse(c, 500,
                      "Invalid prepared query: Connect is not supported: there "
                      "is no service mesh here, leave it out and query the "
                      "proxies' service by its name");
    if (s->peer.n)
        return refuse(c, 500,
                      "Invalid prepared query: cluster peers are not "
                      "supported: name a Datacenter as the failover target");
    return true;
}

static bool targets_are_supported(struct api_call *c, const struct query_in *in)
{
    const struct failover_in *f = in->service ? in->service->failover : NULL;
    const struct target_in *v = f ? f->targets.v : NULL;

    for (size_t i = 0; f && i < f->targets.n; i++) {
        if (v[i].peer.n)
            return refuse(c, 500,
                          "Invalid prepared query: cluster peers are not "
                          "supported: name a Datacenter as the failover "
                          "target");
        if (v[i].datacenter.n == 0)
            return refuse(c, 500,
                          "Invalid prepared query: a failover target names no "
                          "Datacenter");
    }
    if (f && f->targets.n && (f->datacenters.n || f->nearest))
        return refuse(c, 500,
                      "Invalid prepared query: Targets cannot be populated "
                      "with NearestN or Datacenters");
    return true;
}

static bool meta_is_good(struct api_call *c, const struct query_in *in)
{
    const struct query_service_in *s = in->service;
    struct errtext t = {{0}};

    if (!s || meta_validate(&s->node_meta, &t) == ERR_OK)
        return true;
    api_error(c, 500, "Invalid prepared query: %s", t.s);
    return false;
}

bool query_from_body(struct api_call *c, struct query_view *ret)
{
    struct errtext t = {{0}};
    struct query_in in;
    enum err e = json_decode(c->request->body, &query_table, &in, c->arena, &t);

    if (e != ERR_OK) {
        api_error(c, e == ERR_NOMEM ? 500 : 400, "Request decode failed: %s",
                  t.s);
        return false;
    }
    *ret = (struct query_view){.id = in.id};
    ret->text[QUERY_NAME] = in.name;
    ret->text[QUERY_TOKEN] = in.token;
    if (in.template) {
        ret->text[QUERY_TEMPLATE] = in.template->type;
        ret->text[QUERY_REGEXP] = in.template->regexp;
        ret->remove_empty_tags = in.template->remove_empty_tags;
    }
    if (in.dns)
        ret->text[QUERY_TTL] = in.dns->ttl;
    if (in.service && !service_of(c->arena, in.service, ret))
        return refuse(c, 500, "out of memory");
    return is_supported(c, &in) && targets_are_supported(c, &in) &&
           meta_is_good(c, &in);
}

/* --- Out ----------------------------------------------------------------- */

static void put_list(struct json_out *j, const char *key,
                     const struct query_view *v, enum query_list l)
{
    json_key(j, key);
    if (!v->list_set[l])
        json_nil(j);
    else if (query_list_is_map(l))
        encode_map(j, v->list[l]);
    else
        encode_strings(j, v->list[l]);
}

static void put_targets(struct json_out *j, struct packed targets)
{
    struct bytes rest = targets.data, datacenter, peer;

    json_key(j, "Targets");
    json_open(j, '[');
    while (packed_next_pair(&rest, &datacenter, &peer)) {
        json_open(j, '{');
        json_member_str(j, "Datacenter", datacenter);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void put_service(struct json_out *j, const struct query_view *v)
{
    json_key(j, "Service");
    json_open(j, '{');
    json_member_str(j, "Service", v->text[QUERY_SERVICE]);
    json_key(j, "Failover");
    json_open(j, '{');
    json_key(j, "NearestN");
    json_i64(j, v->nearest);
    put_list(j, "Datacenters", v, QUERY_DATACENTERS);
    if (v->list[QUERY_TARGETS].n)
        put_targets(j, v->list[QUERY_TARGETS]);
    json_close(j, '}');
    json_member_bool(j, "OnlyPassing", v->only_passing);
    put_list(j, "IgnoreCheckIDs", v, QUERY_IGNORED);
    json_member_str(j, "Near", v->text[QUERY_NEAR]);
    put_list(j, "Tags", v, QUERY_TAGS);
    put_list(j, "NodeMeta", v, QUERY_NODE_META);
    put_list(j, "ServiceMeta", v, QUERY_SERVICE_META);
    json_member_bool(j, "Connect", v->connect);
    json_close(j, '}');
}

void encode_query(struct json_out *j, const struct query_view *v)
{
    json_open(j, '{');
    json_member_str(j, "ID", v->id);
    json_member_str(j, "Name", v->text[QUERY_NAME]);
    json_member_str(j, "Session", v->text[QUERY_SESSION]);
    json_member_str(j, "Token", v->text[QUERY_TOKEN]);
    json_key(j, "Template");
    json_open(j, '{');
    json_member_str(j, "Type", v->text[QUERY_TEMPLATE]);
    json_member_str(j, "Regexp", v->text[QUERY_REGEXP]);
    json_member_bool(j, "RemoveEmptyTags", v->remove_empty_tags);
    json_close(j, '}');
    put_service(j, v);
    json_key(j, "DNS");
    json_open(j, '{');
    json_member_str(j, "TTL", v->text[QUERY_TTL]);
    json_close(j, '}');
    json_key(j, "CreateIndex");
    json_u64(j, v->create_rev);
    json_key(j, "ModifyIndex");
    json_u64(j, v->modify_rev);
    json_close(j, '}');
}
