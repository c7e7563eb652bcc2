/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Entries as the rows that they are made of, for who keeps a mirror of a part of
 * the catalog (src/mirror): agents, other datacenters. Members:
 *
 *     Rows  the stored rows, each with its key as in the store, its value
 *           (base64) and the revisions at which it was made and last written
 *     Out   of an instance: what its service's guard record says of it
 *           (guard_view.out); 0: nothing
 *     LetIn when it was let in (cat_instance, cat_node), in seconds
 *
 * Rows and not the JSON that users get: who mirrors has to answer byte by byte
 * as the origin would, marks of the guard and of damping included, whatever
 * members a later version adds. The values are what servers of one cluster read
 * of each other all the same.
 *
 * An instance brings all that an answer about it shows: its node, the node's own
 * checks, its own. In lists of one node the node comes by itself, and its checks
 * by another subscription. */
#include "api/impl.h"
#include "base/base64.h"

static void put_row(struct json_out *j, struct buf *key,
                    const struct cat_record *r)
{
    struct cat_stored s;
    struct buf text;

    cat_stored(r, &s);
    buf_init(&text, 0);
    base64_put(&text, s.value);
    json_open(j, '{');
    json_key(j, "Key");
    json_str(j, buf_bytes(key));
    json_key(j, "Value");
    json_str(j, buf_bytes(&text));
    json_key(j, "Create");
    json_u64(j, s.create_rev);
    json_key(j, "Modify");
    json_u64(j, s.mod_rev);
    json_close(j, '}');
    j->out->bad |= text.bad || key->bad;
    buf_fini(&text);
    buf_reset(key);
}

static void put_check_row(struct json_out *j, struct buf *key,
                          const struct cat_record *r)
{
    struct check_view v;

    cat_check_view(r, &v);
    key_check(key, v.node, v.id);
    put_row(j, key, r);
}

static void put_node_row(struct json_out *j, struct buf *key,
                         const struct cat_node *n)
{
    struct node_view v;

    cat_node_view(n->record, &v);
    key_node(key, v.name);
    put_row(j, key, n->record);
}

static void put_checks_rows(struct json_out *j, struct buf *key,
                            const struct row_of *of)
{
    const struct cat_node_checks *own = of->node->own;

    for (uint32_t k = 0; own && k < own->n; k++)
        put_check_row(j, key, own->v[k]);
    for (uint32_t k = 0; k < of->instance->check_count; k++)
        put_check_row(j, key, of->instance->checks[k]);
}

/* As in the service's guard record, if that has let the instance go. */
static uint64_t out_since(const struct snapshot *s,
                          const struct service_view *v, struct buf *key)
{
    const struct cat_record *r = snapshot_guard(s, v->name);
    struct guard_view g;
    uint64_t since = 0;

    if (!r)
        return 0;
    cat_guard_view(r, &g);
    key_instance(key, v->node, v->id);
    struct bytes found = packed_find(g.out, buf_bytes(key));
    buf_reset(key);
    return found.p && guard_out_since(found, &since) ? since : 0;
}

void row_as_stored(struct encoder *e, const struct api_call *c,
                   const struct row_of *of)
{
    struct json_out *j = &e->j;
    struct service_view v;
    struct buf key;
    uint64_t out = 0, let_in = 0;

    buf_init(&key, 0);
    json_open(j, '{');
    json_key(j, "Rows");
    json_open(j, '[');
    if (of->check) {
        put_check_row(j, &key, of->check);
    } else {
        put_node_row(j, &key, of->node);
    }
    if (of->instance) {
        cat_service_view(of->instance->service, &v);
        key_service(&key, v.node, v.id);
        put_row(j, &key, of->instance->service);
        out = out_since(e->env->cat, &v, &key);
        let_in = of->instance->let_in_s > of->node->let_in_s
                     ? of->instance->let_in_s
                     : of->node->let_in_s;
        if (c->route->set != SET_OF_NODE)
            put_checks_rows(j, &key, of);
    }
    json_close(j, ']');
    json_key(j, "Out");
    json_u64(j, out);
    json_key(j, "LetIn");
    json_u64(j, let_in);
    json_close(j, '}');
    buf_fini(&key);
}

void stored_subject(const struct api_call *c, struct json_out *j)
{
    const char *kind = "all";
    struct bytes name = c->arg;

    switch (c->route->set) {
    case SET_OF_NAME:
        kind = "service";
        break;
    case SET_OF_NODE:
        kind = "node";
        break;
    case SET_CHECKS_OF_NODE:
        kind = "node-checks";
        break;
    case SET_NODES:
        kind = "nodes";
        break;
    case SET_CHECKS:
        kind = "checks";
        break;
    case SET_INSTANCES:
        if (c->prefix.n) {
            kind = "prefix";
            name = c->prefix;
        }
        break;
    case SET_CHECKS_OF_NAME:
    case SET_NAMES:
    case SET_NONE:
        break;
    }
    json_key(j, "Of");
    json_str(j, bytes_str(kind));
    json_key(j, "Name");
    json_str(j, name);
}
