/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* PUT /v1/catalog/register and /deregister. What the RPC layer of Consul
 * refuses is a 500 there, and so here: clients match status and text. */
#include "api/impl.h"

#include <ctype.h>

enum {
    REGISTER_CHECKS_MAX = 128, /* checks in one registration */
    NAME_SHOWN_BYTES = 256,    /* of a name in a message */
    UUID_BYTES = 36,
};

static enum api_next no_memory(struct api_call *c)
{
    api_error(c, 500, "out of memory");
    return API_ANSWER;
}

static enum api_next decode(struct api_call *c, const struct json_table *table,
                            void *out)
{
    struct errtext t = {{0}};
    enum err e = json_decode(c->request->body, table, out, c->arena, &t);
    if (e == ERR_OK)
        return API_WRITE;
    api_error(c, e == ERR_NOMEM ? 500 : 400, "Request decode failed: %s", t.s);
    return API_ANSWER;
}

static enum api_next same_tenant(struct api_call *c,
                                 const struct tenancy_in *in)
{
    struct errtext t = {{0}};
    if (tenancy_validate(in, &t) == ERR_OK)
        return API_WRITE;
    api_error(c, 400, "%s", t.s);
    return API_ANSWER;
}

static enum api_next same_tenants(struct api_call *c,
                                  const struct register_in *in)
{
    const struct check_in *v = in->checks.v;
    if (same_tenant(c, &in->tenancy) == API_ANSWER ||
        (in->service && same_tenant(c, &in->service->tenancy) == API_ANSWER) ||
        (in->check && same_tenant(c, &in->check->tenancy) == API_ANSWER))
        return API_ANSWER;
    for (size_t i = 0; i < in->checks.n; i++)
        if (same_tenant(c, &v[i].tenancy) == API_ANSWER)
            return API_ANSWER;
    return API_WRITE;
}

static enum api_next kept(struct api_call *c, struct register_in *in)
{
    struct errtext t = {{0}};
    enum err e = in->service ? mesh_take(c->arena, in->service, &t) : ERR_OK;
    if (e == ERR_OK)
        return API_WRITE;
    api_error(c, e == ERR_NOMEM ? 500 : 400, "Request decode failed: %s", t.s);
    return API_ANSWER;
}

static enum api_next
other_datacenter(struct api_call *c, const struct api_env *env, struct bytes dc)
{
    if (dc.n == 0 || bytes_eq(dc, env->self->datacenter))
        return API_WRITE;
    if (datacenter_is_known(c, env, dc)) {
        c->forward = dc;
        return API_FORWARD;
    }
    api_error(c, 500, "No path to datacenter");
    return API_ANSWER;
}

static void set_true(struct api_call *c)
{
    buf_reset(&c->body);
    buf_puts(&c->body, "true");
    api_json(c);
}

static enum api_next finish_plan(struct api_call *c, enum err e,
                                 const struct errtext *t, const struct plan *p)
{
    if (e != ERR_OK) {
        api_error(c, e == ERR_LIMIT ? 413 : 500, "%s",
                  t->s[0] ? t->s : err_text(e));
        return API_ANSWER;
    }
    set_true(c);
    return p->op_count ? API_WRITE : API_ANSWER;
}

/* --- Register ------------------------------------------------------------ */

static enum err check_service_in(const struct service_in *s, struct errtext *t)
{
    const char *fault = NULL;
    if (s->name.n == 0)
        fault = s->id.n ? "Must provide service name with ID"
                        : "failed inserting service: Must provide service name";
    else if (address_is_any(s->address))
        fault = "Invalid service address";
    if (!fault)
        return ERR_OK;
    errtext_set(t, "%s", fault);
    return ERR_BAD;
}

/* With the names of node and service the text outgrows an errtext. */
static bool refuse_meta(struct api_call *c, const struct register_in *in)
{
    const struct service_in *s = in->service;
    struct errtext t;
    if (!s || meta_validate(&s->meta, &t) == ERR_OK)
        return false;
    api_error(
        c, 500,
        "failed inserting service: Invalid Service Meta for node %.*s "
        "and serviceID %.*s: %s",
        BYTES_ARG(bytes_head(in->node, NAME_SHOWN_BYTES)),
        BYTES_ARG(bytes_head(s->id.n ? s->id : s->name, NAME_SHOWN_BYTES)),
        t.s);
    return true;
}

/* The texts are those of the library that Consul parses them with. */
static enum err check_node_id(struct bytes id, struct errtext *t)
{
    if (id.n == 0 || bytes_uuid(id))
        return ERR_OK;
    if (id.n != UUID_BYTES) {
        errtext_set(t, "Bad node ID: uuid string is wrong length");
        return ERR_BAD;
    }
    unsigned wrong = 0; /* the first byte that is no hex digit */
    for (size_t i = 0; i < id.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash && id.p[i] != '-') {
            errtext_set(t, "Bad node ID: uuid is improperly formatted");
            return ERR_BAD;
        }
        if (!dash && !wrong && !isxdigit((unsigned char)id.p[i]))
            wrong = (unsigned char)id.p[i];
    }
    errtext_set(t, "Bad node ID: encoding/hex: invalid byte: U+%04X", wrong);
    if (isprint((int)wrong))
        errtext_set(t, "Bad node ID: encoding/hex: invalid byte: U+%04X '%c'",
                    wrong, (char)wrong);
    return ERR_BAD;
}

static enum err check_register_in(const struct register_in *in,
                                  struct errtext *t)
{
    if (in->node.n == 0) {
        errtext_set(t, "Must provide node");
        return ERR_BAD;
    }
    if (in->address.n == 0 && !in->skip_node_update) {
        errtext_set(t, "Must provide address if SkipNodeUpdate is not set");
        return ERR_BAD;
    }
    enum err e = check_node_id(in->id, t);
    if (e != ERR_OK)
        return e;
    if (in->checks.n + (in->check != NULL) > REGISTER_CHECKS_MAX) {
        errtext_set(t,
                    "%zu checks in one registration, the limit is %d: "
                    "register them in several requests",
                    in->checks.n, REGISTER_CHECKS_MAX);
        return ERR_LIMIT;
    }
    return in->service ? check_service_in(in->service, t) : ERR_OK;
}

static struct bytes definition_json(struct arena *a, const struct check_in *in)
{
    struct check_def d;
    struct buf b;
    buf_init(&b, 0);
    struct bytes ret = {0};
    if (in->definition && check_from(a, in->definition, &d)) {
        check_def_json(&b, &d);
        ret = arena_copy(a, buf_bytes(&b));
    }
    buf_fini(&b);
    return ret;
}

/* A check's type is what its definition says, unless it is told; one that is
 * probed has none without an interval, as in Consul. */
static struct bytes type_of(struct arena *a, const struct check_in *in)
{
    struct check_def d;
    if (in->type.n || !in->definition || !check_from(a, in->definition, &d))
        return in->type;
    enum check_type t = check_def_type(&d);
    if (d.interval_ns == 0 && t != CHECK_TTL && t != CHECK_ALIAS)
        t = CHECK_NONE;
    return bytes_str(check_type_name(t));
}

static enum err check_view_from(struct api_call *c, const struct check_in *in,
                                struct bytes node, struct check_view *v,
                                struct errtext *t)
{
    if (in->node.n && !bytes_eq_fold(in->node, node)) {
        errtext_set(t, "check node \"%.*s\" does not match node \"%.*s\"",
                    BYTES_ARG(bytes_head(in->node, 40)),
                    BYTES_ARG(bytes_head(node, 40)));
        return ERR_BAD;
    }
    struct bytes id = in->check_id.n ? in->check_id : in->id;
    *v = (struct check_view){
        .id = id.n ? id : in->name,
        .name = in->name,
        .status = in->status.n ? in->status : bytes_str("critical"),
        .notes = in->notes,
        .output = in->output,
        .service_id = in->service_id,
        .type = type_of(c->arena, in),
        .definition = definition_json(c->arena, in),
    };
    return ERR_OK;
}

static enum err checks_from(struct api_call *c, const struct register_in *in,
                            struct registration *r, struct errtext *t)
{
    struct check_view *v =
        arena_alloc(c->arena, (in->checks.n + 1) * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    const struct check_in *list = in->checks.v;
    for (size_t i = 0; i < in->checks.n; i++) {
        enum err e =
            check_view_from(c, &list[i], in->node, &v[r->check_count++], t);
        if (e != ERR_OK)
            return e;
    }
    if (in->check) {
        enum err e =
            check_view_from(c, in->check, in->node, &v[r->check_count++], t);
        if (e != ERR_OK)
            return e;
    }
    r->checks = v;
    return ERR_OK;
}

static enum err registration_from(struct api_call *c, const struct api_env *env,
                                  const struct register_in *in,
                                  struct registration *r, struct errtext *t)
{
    *r = (struct registration){
        .wall_ms = env->wall_ms,
        .guard = env->self->guard,
        .node = {.name = in->node,
                 .id = in->id,
                 .address = in->address,
                 .tagged_set = in->tagged.set,
                 .meta_set = in->node_meta.set},
        .skip_node_update = in->skip_node_update,
    };
    if (!pack_map(c->arena, &in->tagged, &r->node.tagged) ||
        !pack_map(c->arena, &in->node_meta, &r->node.meta))
        return ERR_NOMEM;
    if (in->service) {
        struct service_view *v = arena_alloc(c->arena, sizeof *v);
        if (!v || !service_from(c->arena, in->service, v))
            return ERR_NOMEM;
        r->service = v;
    }
    return checks_from(c, in, r, t);
}

enum api_next write_catalog_register(struct api_call *c,
                                     const struct api_env *env, struct plan *p)
{
    struct register_in in;
    struct registration r;
    struct errtext t = {{0}};
    if (decode(c, &register_table, &in) == API_ANSWER ||
        kept(c, &in) == API_ANSWER || same_tenants(c, &in) == API_ANSWER)
        return API_ANSWER;
    enum api_next where = other_datacenter(c, env, in.datacenter);
    if (where != API_WRITE)
        return where;
    enum err e = check_register_in(&in, &t);
    if (e == ERR_OK)
        e = registration_from(c, env, &in, &r, &t);
    if (e == ERR_NOMEM)
        return no_memory(c);
    if (e == ERR_OK && refuse_meta(c, &in))
        return API_ANSWER;
    if (e == ERR_OK)
        e = plan_register(p, env->cat, &r, &t);
    if (e == ERR_OK && r.service &&
        !bytes_eq_fold(r.node.name, env->self->node_name)) {
        c->beat_node = r.node.name;
        c->beat_id = r.service->id.n ? r.service->id : r.service->name;
    }
    return finish_plan(c, e, &t, p);
}

/* --- Deregister ---------------------------------------------------------- */

enum api_next write_catalog_deregister(struct api_call *c,
                                       const struct api_env *env,
                                       struct plan *p)
{
    struct deregister_in in;
    struct errtext t = {{0}};
    if (decode(c, &deregister_table, &in) == API_ANSWER ||
        same_tenant(c, &in.tenancy) == API_ANSWER)
        return API_ANSWER;
    enum api_next where = other_datacenter(c, env, in.datacenter);
    if (where != API_WRITE)
        return where;
    if (in.node.n == 0) {
        api_error(c, 500, "Must provide node");
        return API_ANSWER;
    }
    /* A service wins over a check. */
    struct bytes check = in.service_id.n ? (struct bytes){0} : in.check_id;
    enum err e =
        plan_deregister(p, env->cat, in.node, in.service_id, check, &t);
    return finish_plan(c, e, &t, p);
}
