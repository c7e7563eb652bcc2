/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The JSON shapes of the API, in the order in which Consul emits their members.
 */
#include "api/impl.h"

#include <stdio.h>

#include "base/rfc3339.h"

/* --- Digest -------------------------------------------------------------- */

struct encoder encoder(struct api_call *c, const struct api_env *env,
                       bool skip_volatile)
{
    return (struct encoder){.j = json_out(&c->body),
                            .env = env,
                            .digest = c->want_digest,
                            .skip_volatile = skip_volatile};
}

/* Takes what was written since the last call into the hash. */
static void digest_upto_here(struct encoder *e)
{
    struct buf *b = e->j.out;
    e->hash = bytes_hash(bytes_of(b->p + e->hashed, b->n - e->hashed), e->hash);
    e->hashed = b->n;
}

void encode_aside_begin(struct encoder *e)
{
    if (e->digest && e->skip_volatile)
        digest_upto_here(e);
}

void encode_aside_end(struct encoder *e)
{
    if (e->digest && e->skip_volatile)
        e->hashed = e->j.out->n;
}

void encoder_end(struct encoder *e, struct api_call *c)
{
    if (!e->digest || c->body.bad)
        return;
    digest_upto_here(e);
    c->digest = e->hash;
}

/* --- Parts --------------------------------------------------------------- */

void encode_strings(struct json_out *j, struct packed list)
{
    struct bytes rest = list.data, item;
    json_open(j, '[');
    while (packed_next(&rest, &item))
        json_str(j, item);
    json_close(j, ']');
}

void encode_map(struct json_out *j, struct packed map)
{
    struct bytes rest = map.data, key, value;
    json_open(j, '{');
    while (packed_next_pair(&rest, &key, &value)) {
        json_key_bytes(j, key);
        json_str(j, value);
    }
    json_close(j, '}');
}

void encode_map_or_null(struct json_out *j, struct packed map, bool set)
{
    if (set)
        encode_map(j, map);
    else
        json_nil(j);
}

void encode_tagged(struct json_out *j, struct packed tagged)
{
    struct bytes rest = tagged.data, name, value, address;
    int64_t port;
    json_open(j, '{');
    while (packed_next_pair(&rest, &name, &value)) {
        if (!tagged_address(value, &address, &port))
            continue;
        json_key_bytes(j, name);
        json_open(j, '{');
        json_key(j, "Address");
        json_str(j, address);
        json_key(j, "Port");
        json_i64(j, port);
        json_close(j, '}');
    }
    json_close(j, '}');
}

static void weights(struct json_out *j, const struct service_view *v)
{
    json_open(j, '{');
    json_key(j, "Passing");
    json_i64(j, v->weight_passing);
    json_key(j, "Warning");
    json_i64(j, v->weight_warning);
    json_close(j, '}');
}

static void revisions(struct json_out *j, uint64_t create, uint64_t modify)
{
    json_key(j, "CreateIndex");
    json_u64(j, create);
    json_key(j, "ModifyIndex");
    json_u64(j, modify);
}

/* Proxy and Connect as given, or the empty forms that Consul prints. */
static void mesh(struct json_out *j, const char *proxy_key,
                 const char *connect_key, const struct service_view *v)
{
    json_key(j, proxy_key);
    json_raw(j, v->proxy.n ? v->proxy
                           : bytes_str("{\"MeshGateway\":{},\"Expose\":{}}"));
    json_key(j, connect_key);
    json_raw(j, v->connect.n ? v->connect : bytes_str("{}"));
}

/* Members kept as text ("SocketPath":"x",...): the writer adds the comma. */
static void extra_members(struct json_out *j, struct bytes extra)
{
    if (!extra.n)
        return;
    if (j->comma)
        buf_putc(j->out, ',');
    buf_put(j->out, extra);
    j->comma = true;
}

/* The same under the names that rows of /v1/catalog/service give them
 * (ServiceLocality). At depth 0 a quote begins a name where a member begins:
 * mesh_take wrote the text, so no space is there. */
static void extra_service_members(struct json_out *j, struct bytes extra)
{
    struct buf b;
    buf_init(&b, 0);
    size_t depth = 0;
    bool text = false;
    for (size_t i = 0; i < extra.n; i++) {
        char c = extra.p[i];
        bool begins = i == 0 || extra.p[i - 1] == ',';
        buf_putc(&b, c);
        if (text && c == '\\' && i + 1 < extra.n)
            buf_putc(&b, extra.p[++i]);
        else if (c == '"') {
            text = !text;
            if (text && depth == 0 && begins)
                buf_put(&b, bytes_str("Service"));
        } else if (!text && (c == '{' || c == '['))
            depth++;
        else if (!text && (c == '}' || c == ']'))
            depth--;
    }
    extra_members(j, buf_bytes(&b));
    j->out->bad |= b.bad;
    buf_fini(&b);
}

void encode_moment(struct json_out *j, const char *key, uint64_t ms)
{
    struct buf text;
    json_key(j, key);
    if (ms == 0) {
        json_nil(j);
        return;
    }
    buf_init(&text, 0);
    rfc3339_print(&text, ms);
    json_str(j, buf_bytes(&text));
    j->out->bad |= text.bad;
    buf_fini(&text);
}

const char *cause_text(const struct check_view *v)
{
    if (!bytes_is(v->status, "critical"))
        return "";
    switch (v->marks.cause) {
    case CAUSE_EVIDENCE:
        return "evidence";
    case CAUSE_TIMEOUT:
        return "timeout";
    case CAUSE_SILENCE:
        return "silence";
    }
    return "";
}

/* --- Node, service, check ------------------------------------------------ */

void encode_node(struct encoder *e, const struct node_view *n)
{
    struct json_out *j = &e->j;
    json_open(j, '{');
    json_key(j, "ID");
    json_str(j, n->id);
    json_key(j, "Node");
    json_str(j, n->name);
    json_key(j, "Address");
    json_str(j, n->address);
    json_key(j, "Datacenter");
    json_str(j, e->env->self->datacenter);
    json_key(j, "TaggedAddresses");
    encode_map_or_null(j, n->tagged, n->tagged_set);
    json_key(j, "Meta");
    encode_map_or_null(j, n->meta, n->meta_set);
    revisions(j, n->create_rev, n->modify_rev);
    json_close(j, '}');
}

void encode_node_service(struct encoder *e, const struct service_view *v)
{
    struct json_out *j = &e->j;
    json_open(j, '{');
    if (v->kind.n) {
        json_key(j, "Kind");
        json_str(j, v->kind);
    }
    json_key(j, "ID");
    json_str(j, v->id);
    json_key(j, "Service");
    json_str(j, v->name);
    json_key(j, "Tags");
    encode_strings(j, v->tags);
    json_key(j, "Address");
    json_str(j, v->address);
    if (v->tagged.n) {
        json_key(j, "TaggedAddresses");
        encode_tagged(j, v->tagged);
    }
    json_key(j, "Meta");
    encode_map_or_null(j, v->meta, v->meta_set);
    json_key(j, "Port");
    json_i64(j, v->port);
    extra_members(j, v->extra);
    json_key(j, "Weights");
    weights(j, v);
    json_key(j, "EnableTagOverride");
    json_bool(j, v->enable_tag_override);
    mesh(j, "Proxy", "Connect", v);
    revisions(j, v->create_rev, v->modify_rev);
    json_close(j, '}');
}

void encode_service_node(struct encoder *e, const struct node_view *n,
                         const struct service_view *v)
{
    struct json_out *j = &e->j;
    json_open(j, '{');
    json_key(j, "ID");
    json_str(j, n->id);
    json_key(j, "Node");
    json_str(j, n->name);
    json_key(j, "Address");
    json_str(j, n->address);
    json_key(j, "Datacenter");
    json_str(j, e->env->self->datacenter);
    json_key(j, "TaggedAddresses");
    encode_map_or_null(j, n->tagged, n->tagged_set);
    json_key(j, "NodeMeta");
    encode_map_or_null(j, n->meta, n->meta_set);
    json_key(j, "ServiceKind");
    json_str(j, v->kind);
    json_key(j, "ServiceID");
    json_str(j, v->id);
    json_key(j, "ServiceName");
    json_str(j, v->name);
    json_key(j, "ServiceTags");
    encode_strings(j, v->tags);
    json_key(j, "ServiceAddress");
    json_str(j, v->address);
    if (v->tagged.n) {
        json_key(j, "ServiceTaggedAddresses");
        encode_tagged(j, v->tagged);
    }
    json_key(j, "ServiceWeights");
    weights(j, v);
    json_key(j, "ServiceMeta");
    encode_map(j, v->meta);
    json_key(j, "ServicePort");
    json_i64(j, v->port);
    extra_service_members(j, v->extra);
    json_key(j, "ServiceEnableTagOverride");
    json_bool(j, v->enable_tag_override);
    mesh(j, "ServiceProxy", "ServiceConnect", v);
    revisions(j, v->create_rev, v->modify_rev);
    json_close(j, '}');
}

static void check_head(struct json_out *j, struct bytes node_name,
                       const struct check_view *v)
{
    json_key(j, "Node");
    json_str(j, node_name);
    json_key(j, "CheckID");
    json_str(j, v->id);
    json_key(j, "Name");
    json_str(j, v->name);
    json_key(j, "Status");
    json_str(j, v->status);
    json_key(j, "Notes");
    json_str(j, v->notes);
}

static void check_of_service(struct json_out *j, struct bytes service_id,
                             struct bytes service_name,
                             const struct packed *tags, struct bytes type)
{
    json_key(j, "ServiceID");
    json_str(j, service_id);
    json_key(j, "ServiceName");
    json_str(j, service_name);
    json_key(j, "ServiceTags");
    encode_strings(j, tags ? *tags : (struct packed){0});
    json_key(j, "Type");
    json_str(j, type);
}

void encode_check(struct encoder *e, struct bytes node_name,
                  const struct check_view *v, struct bytes service_name,
                  const struct packed *service_tags)
{
    struct json_out *j = &e->j;
    json_open(j, '{');
    check_head(j, node_name, v);
    json_key(j, "Output");
    encode_aside_begin(e);
    json_str(j, v->output);
    encode_aside_end(e);
    check_of_service(j, v->service_id, service_name, service_tags, v->type);
    json_key(j, "Definition");
    json_raw(j, v->definition.n ? v->definition : bytes_str("{}"));
    json_key(j, "CreateIndex");
    json_u64(j, v->create_rev);
    json_key(j, "ModifyIndex");
    encode_aside_begin(e);
    json_u64(j, v->modify_rev);
    encode_aside_end(e);
    json_close(j, '}');
}

/* --- The agent's own ----------------------------------------------------- */

void encode_agent_service(struct json_out *j, const struct local_service *s,
                          const struct api_env *env, bool with_hash)
{
    const struct service_view *v = &s->view;
    json_open(j, '{');
    if (v->kind.n) {
        json_key(j, "Kind");
        json_str(j, v->kind);
    }
    json_key(j, "ID");
    json_str(j, v->id);
    json_key(j, "Service");
    json_str(j, v->name);
    json_key(j, "Tags");
    encode_strings(j, v->tags);
    json_key(j, "Meta");
    encode_map(j, v->meta);
    json_key(j, "Port");
    json_i64(j, v->port);
    json_key(j, "Address");
    json_str(j, v->address);
    extra_members(j, v->extra);
    if (v->tagged.n) {
        json_key(j, "TaggedAddresses");
        encode_tagged(j, v->tagged);
    }
    json_key(j, "Weights");
    weights(j, v);
    json_key(j, "EnableTagOverride");
    json_bool(j, v->enable_tag_override);
    if (with_hash) {
        char hex[20];
        snprintf(hex, sizeof hex, "%llx", (unsigned long long)s->hash);
        json_key(j, "ContentHash");
        json_str(j, bytes_str(hex));
    }
    if (v->kind.n && v->proxy.n) {
        json_key(j, "Proxy");
        json_raw(j, v->proxy);
    }
    if (v->connect.n) {
        json_key(j, "Connect");
        json_raw(j, v->connect);
    }
    json_key(j, "Datacenter");
    json_str(j, env->self->datacenter);
    json_close(j, '}');
}

void agent_check(const struct local_check *k, const struct api_env *env,
                 struct filter_check *ret)
{
    const struct local_service *s =
        k->def.service_id.n ? local_service(env->local, k->def.service_id)
                            : NULL;
    *ret = (struct filter_check){
        .node_name = env->self->node_name,
        .check = {.id = k->def.id,
                  .name = k->def.name,
                  .status = bytes_str(status_name(k->status)),
                  .notes = k->def.notes,
                  .output = k->output,
                  .service_id = k->def.service_id,
                  .type = bytes_str(check_type_name(k->type))}};
    if (s) {
        ret->service_name = s->view.name;
        ret->service_tags = s->view.tags;
    }
}

void encode_agent_check(struct json_out *j, const struct local_check *k,
                        const struct api_env *env)
{
    struct filter_check c;
    agent_check(k, env, &c);
    json_open(j, '{');
    check_head(j, c.node_name, &c.check);
    json_key(j, "Output");
    json_str(j, c.check.output);
    check_of_service(j, c.check.service_id, c.service_name, &c.service_tags,
                     c.check.type);
    json_key(j, "Definition");
    json_raw(j, bytes_str("{}"));
    revisions(j, 0, 0);
    json_close(j, '}');
}

/* --- Matching ------------------------------------------------------------ */

void check_service(const struct cat_node *n, const struct check_view *v,
                   struct bytes *ret_name, struct packed *ret_tags)
{
    const struct cat_instance *i =
        v->service_id.n ? cat_node_service(n, v->service_id) : NULL;
    *ret_name = (struct bytes){0};
    *ret_tags = (struct packed){0};
    if (!i)
        return;
    struct service_view s;
    cat_service_view(i->service, &s);
    *ret_name = s.name;
    *ret_tags = s.tags;
}

bool node_meta_matches(const struct api_call *c, const struct node_view *n)
{
    for (size_t i = 0; i < c->meta_count; i++) {
        size_t colon = bytes_find(c->meta[i], ':');
        struct bytes want = bytes_skip(c->meta[i], colon + 1);
        struct bytes have = packed_find(n->meta, bytes_head(c->meta[i], colon));
        if (!have.p || !bytes_eq(have, want))
            return false;
    }
    return true;
}

bool tags_match(const struct api_call *c, const struct service_view *v)
{
    for (size_t i = 0; i < c->tag_count; i++)
        if (!packed_has_fold(v->tags, c->tags[i]))
            return false;
    return true;
}
