/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Connect.SidecarService: a proxy registered with its service, filled from it as
 * Consul's agent does. */
#include "api/impl.h"

enum { SIDECAR_CHECKS = 2, SIDECAR_INTERVAL_S = 10 };

/* Consul's texts; they are the client's fault, so the status is 400. */
static enum err explain(enum err e, struct errtext *t)
{
    static const struct {
        const char *from, *to;
    } texts[] = {
        {"Invalid check: ", "Bad request: Invalid check in sidecar_service: "},
        {"Invalid Service Meta: ", "Bad request: Invalid SidecarService: "},
        {"", "Bad request: Invalid SidecarService: "},
    };
    struct errtext was = *t;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t n = strlen(texts[i].from);
        if (strncmp(was.s, texts[i].from, n) != 0)
            continue;
        errtext_set(t, "%s", was.s + n);
        errtext_prefix(t, "%s", texts[i].to);
        return e;
    }
    return e;
}

static enum err refuse(struct errtext *t, const char *what)
{
    errtext_set(t, "1 error occurred:\n\t* A SidecarService cannot %s\n\n",
                what);
    return ERR_BAD;
}

static bool named_after(struct arena *a, const struct service_in *of,
                        struct service_in *s)
{
    struct bytes id = of->id.n ? of->id : of->name;
    char *own_id = arena_printf(a, "%.*s" AGENT_SIDECAR_SUFFIX, BYTES_ARG(id));
    char *name =
        arena_printf(a, "%.*s" AGENT_SIDECAR_SUFFIX, BYTES_ARG(of->name));
    s->id = bytes_str(own_id);
    if (s->name.n == 0)
        s->name = bytes_str(name);
    return own_id && name;
}

/* That it listens, and that its service is well; unless it brings its own. */
static bool usual_checks(struct agent_op *op, struct service_in *s,
                         const struct service_in *of)
{
    struct arena *a = &op->arena;
    struct bytes id = of->id.n ? of->id : of->name;
    struct bytes at = s->address.n ? s->address : s->proxy_local_address;
    struct check_in *v = arena_zalloc(a, SIDECAR_CHECKS * sizeof *v);
    bool v6 = bytes_find(at, ':') < at.n;
    /* Port 0: another one is given, and tried, when the op is carried out. */
    char *tcp = arena_printf(a, v6 ? "[%.*s]:%lld" : "%.*s:%lld", BYTES_ARG(at),
                             (long long)(s->port > 0 ? s->port : 1));
    char *name =
        arena_printf(a, "Connect Sidecar Aliasing %.*s", BYTES_ARG(id));
    if (!v || !tcp || !name)
        return false;
    v[0].name = bytes_str("Connect Sidecar Listening");
    v[0].tcp = bytes_str(tcp);
    v[0].interval_ns = SIDECAR_INTERVAL_S * INT64_C(1000000000);
    v[1].name = bytes_str(name);
    v[1].alias_service = id;
    s->checks = (struct json_list){.v = v, .n = SIDECAR_CHECKS, .set = true};
    op->port_address = at;
    return true;
}

static enum err fill(struct agent_op *op, struct service_in *s,
                     const struct service_in *of, struct errtext *t)
{
    int status;
    if (s->id.n)
        return refuse(t, "specify an ID as this is managed by the agent");
    enum err e = mesh_sidecar(&op->arena, s, of, t);
    if (e == ERR_OK)
        e = mesh_take(&op->arena, s, t);
    if (e != ERR_OK)
        return explain(e, t);
    if (s->sidecar.n)
        return refuse(t, "have a nested SidecarService");
    s->kind = bytes_str("connect-proxy");
    if (!named_after(&op->arena, of, s))
        return ERR_NOMEM;
    if (!s->tags.set)
        s->tags = of->tags;
    if (!s->meta.set)
        s->meta = of->meta;
    if (s->address.n == 0)
        s->address = of->address;
    if (s->token.n == 0)
        s->token = of->token;
    bool has_checks = s->check || s->checks.n;
    if (!has_checks && !usual_checks(op, s, of))
        return ERR_NOMEM;
    e = agent_service_fill(op, s, &status, t);
    return e == ERR_OK ? e : explain(e, t);
}

/* What is taken over from the service is copied: its op goes first. */
static bool copy_of(struct arena *a, const struct service_in *in,
                    struct service_in *ret)
{
    *ret = *in;
    ret->id = arena_copy(a, in->id);
    ret->name = arena_copy(a, in->name);
    ret->address = arena_copy(a, in->address);
    ret->token = arena_copy(a, in->token);
    return ret->name.p && (in->id.n == 0 || ret->id.p);
}

enum err agent_add_sidecar(struct agent_op *op, const struct service_in *in,
                           struct errtext *t)
{
    struct service_in s, of;
    struct agent_op *then = agent_op_new(AGENT_REGISTER_SERVICE);
    struct bytes text =
        then ? arena_copy(&then->arena, in->sidecar) : (struct bytes){0};
    enum err e = ERR_NOMEM;
    if (text.p && copy_of(&then->arena, in, &of))
        e = json_decode(text, &agent_service_table, &s, &then->arena, t);
    if (e == ERR_OK)
        e = fill(then, &s, &of, t);
    if (e != ERR_OK) {
        agent_op_free(then);
        return e;
    }
    then->meta = arena_copy(&then->arena, op->meta);
    then->from_config = op->from_config;
    then->replace_checks = op->replace_checks;
    op->then = then;
    return ERR_OK;
}
