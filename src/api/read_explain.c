/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/explain/health/service/:name - why each instance is in the
 * answer of /v1/health/service/:name with the same parameters, or is not.
 *
 * The rules are tried in the order in which the health route applies them; the
 * first that leaves an instance out is the one that is told. */
#include "api/impl.h"
#include "local/local.h"

struct reason {
    const char *rule; /* of those in docs/api.md */
    struct bytes detail;
    const struct cat_record *check; /* the one that does not pass; or NULL */
};

static bool passes(const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    return bytes_is(v.status, "passing");
}

/* Maintenance is told before other checks: it is meant. */
static const struct cat_record *failing(const struct cat_record *const *v,
                                        uint32_t n)
{
    const struct cat_record *first = NULL;
    for (uint32_t i = 0; i < n; i++) {
        struct check_view c;
        if (passes(v[i]))
            continue;
        cat_check_view(v[i], &c);
        if (local_is_maintenance(c.id))
            return v[i];
        if (!first)
            first = v[i];
    }
    return first;
}

static const struct cat_record *first_failing(const struct cat_node *n,
                                              const struct cat_instance *i)
{
    const struct cat_record *own =
        n->own ? failing(n->own->v, n->own->n) : NULL;
    const struct cat_record *of = failing(i->checks, i->check_count);
    struct check_view v;
    if (!own || !of)
        return own ? own : of;
    cat_check_view(of, &v);
    return local_is_maintenance(v.id) ? of : own;
}

static struct bytes missing_tag(const struct api_call *c,
                                const struct service_view *v)
{
    for (size_t i = 0; i < c->tag_count; i++)
        if (!packed_has_fold(v->tags, c->tags[i]))
            return c->tags[i];
    return (struct bytes){0};
}

/* NULL: it is in. */
static const char *left_out(struct api_call *c, const struct filter_row *row,
                            struct reason *r)
{
    struct check_view check;
    if (r->check)
        cat_check_view(r->check, &check);
    if (c->passing && r->check)
        return local_is_maintenance(check.id)      ? "maintenance"
               : bytes_is(check.status, "warning") ? "warning"
                                                   : "critical";
    if (!node_meta_matches(c, &row->node))
        return "node-meta";
    if (!tags_match(c, &row->service)) {
        r->detail = missing_tag(c, &row->service);
        return "tag";
    }
    if (!row_is_wanted(c, row))
        return "filter";
    return NULL;
}

static void put_check(struct json_out *j, const struct cat_record *r)
{
    struct check_view v;
    cat_check_view(r, &v);
    json_key(j, "Check");
    json_open(j, '{');
    json_key(j, "CheckID");
    json_str(j, v.id);
    json_key(j, "Name");
    json_str(j, v.name);
    json_key(j, "Status");
    json_str(j, v.status);
    json_key(j, "Notes");
    json_str(j, v.notes);
    json_key(j, "Output");
    json_str(j, v.output);
    json_key(j, "OfNode");
    json_bool(j, v.service_id.n == 0);
    json_key(j, "ModifyIndex");
    json_u64(j, v.modify_rev);
    json_close(j, '}');
}

static void put_detail(struct json_out *j, const struct api_call *c,
                       const struct reason *r)
{
    if (r->detail.p) {
        json_key(j, "Missing");
        json_str(j, r->detail);
    }
    if (bytes_is(bytes_str(r->rule), "node-meta")) {
        json_key(j, "Asked");
        json_open(j, '[');
        for (size_t i = 0; i < c->meta_count; i++)
            json_str(j, c->meta[i]);
        json_close(j, ']');
    }
    if (r->check)
        put_check(j, r->check);
}

static bool put_instance(struct encoder *e, struct api_call *c,
                         const struct cat_node *n, const struct cat_instance *i)
{
    struct json_out *j = &e->j;
    struct filter_row row = filter_row(e->env);
    const struct node_view *nv = &row.node;
    const struct service_view *sv = &row.service;
    struct reason r = {.check = first_failing(n, i)};
    cat_node_view(n->record, &row.node);
    cat_service_view(i->service, &row.service);
    row.node_checks = n->own;
    row.instance = i;
    const char *out = left_out(c, &row, &r);
    r.rule = out ? out : r.check ? "asked without passing" : "passing";
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, nv->name);
    json_key(j, "ServiceID");
    json_str(j, sv->id);
    json_key(j, "Address");
    json_str(j, sv->address.n ? sv->address : nv->address);
    json_key(j, "Port");
    json_i64(j, sv->port);
    json_key(j, "In");
    json_bool(j, !out);
    json_key(j, "Rule");
    json_str(j, bytes_str(r.rule));
    put_detail(j, c, &r);
    json_close(j, '}');
    return !out;
}

void read_explain_service(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct json_out *j = &e.j;
    const struct cat_name *name = snapshot_name(env->cat, c->arg);
    struct tree_iter it;
    uint64_t in = 0, out = 0;
    json_open(j, '{');
    json_key(j, "Service");
    json_str(j, c->arg);
    json_key(j, "Known");
    json_bool(j, name != NULL);
    json_key(j, "Instances");
    json_open(j, '[');
    if (name)
        tree_first(&name->instances, &it);
    for (const struct cat_instance *i; name &&
                                       api_spend(c, COST_NODE + COST_SERVICE) &&
                                       (i = tree_next(&it));) {
        const struct cat_node *n = snapshot_node_of(env->cat, i);
        if (n)
            *(put_instance(&e, c, n, i) ? &in : &out) += 1;
    }
    json_close(j, ']');
    past_put_departed(&e, c);
    json_key(j, "In");
    json_u64(j, in);
    json_key(j, "Out");
    json_u64(j, out);
    json_close(j, '}');
    encoder_end(&e, c);
}
