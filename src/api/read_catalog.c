/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "api/impl.h"
#include "api/text_set.h"

bool row_of_node(struct api_call *c, struct encoder *e, const struct row_of *of)
{
    struct filter_row row = filter_row(e->env);
    cat_node_view(of->node->record, &row.node);
    if (!node_meta_matches(c, &row.node) || !row_is_wanted(c, &row))
        return false;
    c->cost += COST_NODE;
    near_row(c, e->env, row.node.name);
    encode_node(e, &row.node);
    return true;
}

void read_catalog_nodes(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct tree_iter it;
    json_open(&e.j, '[');
    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));) {
        if (!api_spend(c, COST_SKIP))
            break;
        (void)row_of_node(c, &e, &(struct row_of){.node = n});
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* With ?node-meta or ?filter the answer depends on the nodes too. */
enum api_next prepare_services(struct api_call *c, const struct api_env *env)
{
    (void)env;
    if (c->meta_count || c->filter)
        c->watch.kind = WATCH_NODES_SERVICES;
    c->watch.name = (struct bytes){0};
    return API_READ;
}

/* --- /catalog/services: name -> sorted unique tags ----------------------- */

static bool instance_is_wanted(struct api_call *c, const struct api_env *env,
                               const struct cat_instance *i,
                               struct filter_row *row)
{
    const struct cat_node *n = snapshot_node_of(env->cat, i);
    if (!n)
        return false;
    cat_node_view(n->record, &row->node);
    return node_meta_matches(c, &row->node) && row_is_wanted(c, row);
}

/* Instances of one service mostly share their tags: remembering the last list
 * keeps the set small before it is sorted. */
static size_t collect_tags(struct api_call *c, const struct api_env *env,
                           const struct cat_name *name, struct text_set *tags)
{
    struct tree_iter it;
    struct bytes last = {0};
    size_t instances = 0;
    text_set_reset(tags);
    tree_first(&name->instances, &it);
    struct filter_row row = filter_row(env);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct packed *own = &row.service.tags;
        bool choosy = c->meta_count || c->filter;
        c->cost += choosy ? COST_SKIP : 1;
        cat_service_view(i->service, &row.service);
        if (choosy && !instance_is_wanted(c, env, i, &row))
            continue;
        instances++;
        if (own->n == 0 || (last.p && bytes_eq(last, own->data)))
            continue;
        last = own->data;
        struct bytes rest = own->data, tag;
        while (packed_next(&rest, &tag))
            text_set_add(tags, tag);
    }
    return instances;
}

bool row_of_name(struct api_call *c, struct encoder *e, const struct row_of *of)
{
    struct text_set tags = {0};
    bool in = collect_tags(c, e->env, of->name, &tags) > 0;
    if (in)
        text_set_put(&e->j, &tags);
    if (tags.failed)
        api_error(c, 500, "out of memory for the answer");
    text_set_fini(&tags);
    return in;
}

void read_catalog_services(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct text_set tags = {0};
    struct tree_iter it;
    json_open(&e.j, '{');
    snapshot_names(env->cat, &it);
    for (const struct cat_name *n;
         api_spend(c, COST_SKIP) && (n = snapshot_next_name(&it));) {
        if (!collect_tags(c, env, n, &tags))
            continue;
        json_key_bytes(&e.j, bytes_of(n->name, n->name_len));
        text_set_put(&e.j, &tags);
    }
    json_close(&e.j, '}');
    encoder_end(&e, c);
    if (tags.failed)
        api_error(c, 500, "out of memory for the answer");
    text_set_fini(&tags);
}

/* --- One service, one node ----------------------------------------------- */

bool row_of_service(struct api_call *c, struct encoder *e,
                    const struct row_of *of)
{
    struct filter_row row = filter_row(e->env);
    cat_node_view(of->node->record, &row.node);
    cat_service_view(of->instance->service, &row.service);
    if (!node_meta_matches(c, &row.node) || !tags_match(c, &row.service) ||
        !row_is_wanted(c, &row))
        return false;
    c->cost += COST_NODE + COST_SERVICE;
    near_row(c, e->env, row.node.name);
    encode_service_node(e, &row.node, &row.service);
    return true;
}

void read_catalog_service(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_name *name = snapshot_name(env->cat, c->arg);
    json_open(&e.j, '[');
    if (name) {
        struct tree_iter it;
        tree_first(&name->instances, &it);
        for (const struct cat_instance *i; (i = tree_next(&it));) {
            const struct cat_node *n = snapshot_node_of(env->cat, i);
            if (!n)
                continue;
            if (!api_spend(c, COST_SKIP))
                break;
            (void)row_of_service(c, &e, &(struct row_of){n, i});
        }
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

const struct cat_node *find_node(const struct api_call *c,
                                 const struct api_env *env)
{
    const struct cat_node *n = snapshot_node(env->cat, c->arg);
    /* A mirror means the name: "a7" is not there yet, and nobody whose ID begins
     * so may stand in for it. */
    return n || c->rows ? n : snapshot_node_by_id_prefix(env->cat, c->arg);
}

/* Asked for by an ID's prefix, it is still the node that is watched. */
enum api_next prepare_node(struct api_call *c, const struct api_env *env)
{
    const struct cat_node *n = find_node(c, env);
    struct node_view v;
    if (n) {
        cat_node_view(n->record, &v);
        c->watch.name = v.name;
    }
    return API_READ;
}

/* Of both lists of a node: the node itself, or one of its instances. */
bool row_on_node(struct api_call *c, struct encoder *e, const struct row_of *of)
{
    struct filter_row row = filter_row(e->env);
    if (!of->instance) {
        cat_node_view(of->node->record, &row.node);
        encode_node(e, &row.node);
        return true;
    }
    cat_service_view(of->instance->service, &row.service);
    if (!row_is_wanted(c, &row))
        return false;
    encode_node_service(e, &row.service);
    return true;
}

static void put_services(struct api_call *c, struct encoder *e,
                         const struct cat_node *n, bool as_map)
{
    struct tree_iter it;
    json_open(&e->j, as_map ? '{' : '[');
    tree_first(&n->services, &it);
    struct filter_row row = filter_row(e->env);
    for (const struct cat_instance *i;
         api_spend(c, COST_SERVICE) && (i = tree_next(&it));) {
        cat_service_view(i->service, &row.service);
        if (!row_is_wanted(c, &row))
            continue;
        if (as_map)
            json_key_bytes(&e->j, row.service.id);
        encode_node_service(e, &row.service);
    }
    json_close(&e->j, as_map ? '}' : ']');
}

static void node_and_services(struct api_call *c, const struct api_env *env,
                              bool as_map)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_node *n = find_node(c, env);
    if (!n && as_map) {
        json_nil(&e.j);
        encoder_end(&e, c);
        return;
    }
    json_open(&e.j, '{');
    json_key(&e.j, "Node");
    if (n) {
        struct node_view v;
        cat_node_view(n->record, &v);
        encode_node(&e, &v);
    } else {
        json_nil(&e.j);
    }
    json_key(&e.j, "Services");
    if (n)
        put_services(c, &e, n, as_map);
    else
        json_nil(&e.j);
    json_close(&e.j, '}');
    encoder_end(&e, c);
}

void read_catalog_node(struct api_call *c, const struct api_env *env)
{
    node_and_services(c, env, true);
}

void read_catalog_node_services(struct api_call *c, const struct api_env *env)
{
    node_and_services(c, env, false);
}

void read_catalog_datacenters(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    json_open(&j, '[');
    if (!env->wan)
        json_str(&j, env->self->datacenter);
    for (size_t i = 0; env->wan && i < env->wan->dc_count; i++)
        json_str(&j, env->wan->dcs[i].name);
    json_close(&j, ']');
}
