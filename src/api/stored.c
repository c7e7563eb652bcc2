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

static void put_row(void *ctx, struct bytes key, const struct cat_stored *s)
{
    struct json_out *j = ctx;
    struct buf text;

    buf_init(&text, 0);
    base64_put(&text, s->value);
    json_open(j, '{');
    json_key(j, "Key");
    json_str(j, key);
    json_key(j, "Value");
    json_str(j, buf_bytes(&text));
    json_key(j, "Create");
    json_u64(j, s->create_rev);
    json_key(j, "Modify");
    json_u64(j, s->mod_rev);
    json_close(j, '}');
    j->out->bad |= text.bad;
    buf_fini(&text);
}

struct row_walk {
    struct buf key;
    stored_row_fn *each;
    void *ctx;
};

static void tell_row(struct row_walk *w, const struct cat_record *r)
{
    struct cat_stored s;

    cat_stored(r, &s);
    w->each(w->ctx, buf_bytes(&w->key), &s);
    buf_reset(&w->key);
}

static void tell_check(struct row_walk *w, const struct cat_record *r)
{
    struct check_view v;

    cat_check_view(r, &v);
    key_check(&w->key, v.node, v.id);
    tell_row(w, r);
}

static void tell_node(struct row_walk *w, const struct cat_node *n)
{
    struct node_view v;

    cat_node_view(n->record, &v);
    key_node(&w->key, v.name);
    tell_row(w, n->record);
}

static void tell_instance(struct row_walk *w, const struct api_call *c,
                          const struct row_of *of)
{
    const struct cat_node_checks *own = of->node->own;
    struct service_view v;

    cat_service_view(of->instance->service, &v);
    key_service(&w->key, v.node, v.id);
    tell_row(w, of->instance->service);
    if (c->route->set == SET_OF_NODE)
        return;
    for (uint32_t k = 0; own && k < own->n; k++)
        tell_check(w, own->v[k]);
    for (uint32_t k = 0; k < of->instance->check_count; k++)
        tell_check(w, of->instance->checks[k]);
}

bool stored_rows(const struct api_call *c, const struct row_of *of,
                 stored_row_fn *each, void *ctx)
{
    struct row_walk w = {.each = each, .ctx = ctx};

    buf_init(&w.key, 0);
    if (of->check)
        tell_check(&w, of->check);
    else
        tell_node(&w, of->node);
    if (of->instance)
        tell_instance(&w, c, of);
    bool ok = !w.key.bad;
    buf_fini(&w.key);
    return ok;
}

/* As in the service's guard record, if that has let the instance go. */
uint64_t stored_out(const struct snapshot *s, const struct cat_instance *i,
                    uint64_t *ret_rev)
{
    const struct cat_record *r;
    struct service_view v;
    struct guard_view g;
    struct cat_stored stored;
    uint64_t since = 0;
    struct buf key;

    *ret_rev = 0;
    cat_service_view(i->service, &v);
    r = snapshot_guard(s, v.name);
    if (!r)
        return 0;
    cat_guard_view(r, &g);
    cat_stored(r, &stored);
    buf_init(&key, 0);
    key_instance(&key, v.node, v.id);
    struct bytes found = packed_find(g.out, buf_bytes(&key));
    buf_fini(&key);
    *ret_rev = stored.mod_rev;
    return found.p && guard_out_since(found, &since) ? since : 0;
}

uint32_t stored_let_in(const struct row_of *of)
{
    uint32_t i = of->instance->let_in_s, n = of->node->let_in_s;

    return i > n ? i : n;
}

void row_as_stored(struct encoder *e, const struct api_call *c,
                   const struct row_of *of)
{
    struct json_out *j = &e->j;
    uint64_t out = 0, let_in = 0, rev;

    json_open(j, '{');
    json_key(j, "Rows");
    json_open(j, '[');
    j->out->bad |= !stored_rows(c, of, put_row, j);
    if (of->instance) {
        out = stored_out(e->env->cat, of->instance, &rev);
        let_in = stored_let_in(of);
    }
    json_close(j, ']');
    json_key(j, "Out");
    json_u64(j, out);
    json_key(j, "LetIn");
    json_u64(j, let_in);
    json_close(j, '}');
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
