/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Requests to the own agent: checked for form here, carried out by src/agent.
 */
#include "api/impl.h"
#include "api/table.h"
#include "base/duration.h"

static enum api_next refuse(struct api_call *c, struct agent_op *op, int status,
                            const char *text)
{
    agent_op_free(op);
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

static struct agent_op *op_new(struct api_call *c, enum agent_op_kind kind)
{
    struct agent_op *op = agent_op_new(kind);
    if (!op) {
        api_error(c, 500, "out of memory");
        return NULL;
    }
    if (c->request)
        op->meta = api_who(c->request, &op->arena);
    return op;
}

static enum api_next with_id(struct api_call *c, enum agent_op_kind kind,
                             const char *missing, int missing_status,
                             struct agent_op **ret)
{
    if (missing && c->arg.n == 0) {
        api_error(c, missing_status, "%s", missing);
        return API_ANSWER;
    }
    struct agent_op *op = op_new(c, kind);
    if (!op)
        return API_ANSWER;
    op->id = arena_copy(&op->arena, c->arg);
    if (c->arg.n && !op->id.p)
        return refuse(c, op, 500, "out of memory");
    *ret = op;
    return API_AGENT;
}

/* --- Services and checks ------------------------------------------------- */

static enum err check_fill(struct agent_op *op, const struct check_in *in,
                           struct check_def *d, struct errtext *t)
{
    enum err e = tenancy_validate(&in->tenancy, t);
    if (e != ERR_OK)
        return e;
    if (!check_from(&op->arena, in, d))
        return ERR_NOMEM;
    if (d->status.n && !bytes_is(d->status, "passing") &&
        !bytes_is(d->status, "warning") && !bytes_is(d->status, "critical")) {
        errtext_set(t, "Status for checks must 'passing', 'warning', "
                       "'critical'");
        return ERR_BAD;
    }
    e = check_def_validate(d, t);
    if (e != ERR_OK)
        errtext_prefix(t, "Invalid check: ");
    return e;
}

/* Libraries of other languages send all of a check's members, empty, for "no
 * check". */
static bool check_is_empty(const struct check_in *in)
{
    for (size_t i = 0; i < check_table.count; i++) {
        const struct json_field *f = &check_table.fields[i];
        if (!field_is_empty(f, (const char *)in + f->offset))
            return false;
    }
    return true;
}

/* One check: service:<id>; several: service:<id>:1, :2 ... by position; those
 * with an ID of their own still take a number. */
static bool check_name(struct agent_op *op, struct check_def *d, size_t at)
{
    const struct service_view *s = &op->service;
    const char *id = "";
    const char *name = "";
    d->service_id = s->id;
    if (d->id.n == 0) {
        id = op->check_count > 1
                 ? arena_printf(&op->arena, "service:%.*s:%zu",
                                BYTES_ARG(s->id), at + 1)
                 : arena_printf(&op->arena, "service:%.*s", BYTES_ARG(s->id));
        d->id = bytes_str(id);
    }
    if (d->name.n == 0) {
        name = arena_printf(&op->arena, "Service '%.*s' check",
                            BYTES_ARG(s->name));
        d->name = bytes_str(name);
    }
    return id && name;
}

static enum err service_checks(struct agent_op *op, const struct service_in *in,
                               struct errtext *t)
{
    bool single = in->check && !check_is_empty(in->check);
    size_t n = in->checks.n + single;
    if (n > AGENT_CHECKS_MAX) {
        errtext_set(t,
                    "%zu checks in one registration, the limit is %d: "
                    "register further ones with /v1/agent/check/register",
                    n, AGENT_CHECKS_MAX);
        return ERR_LIMIT;
    }
    op->checks = arena_zalloc(&op->arena, (n + 1) * sizeof *op->checks);
    if (!op->checks)
        return ERR_NOMEM;
    op->check_count = n;
    const struct check_in *list = in->checks.v;
    for (size_t i = 0; i < n; i++) {
        const struct check_in *from =
            single ? (i == 0 ? in->check : &list[i - 1]) : &list[i];
        enum err e = check_fill(op, from, &op->checks[i], t);
        if (e != ERR_OK)
            return e;
        if (!check_name(op, &op->checks[i], i))
            return ERR_NOMEM;
    }
    return ERR_OK;
}

enum err agent_service_fill(struct agent_op *op, const struct service_in *in,
                            int *ret_status, struct errtext *t)
{
    *ret_status = 400;
    if (in->name.n == 0) {
        errtext_set(t, "Missing service name");
        return ERR_BAD;
    }
    if (address_is_any(in->address)) {
        errtext_set(t, "Invalid service address");
        return ERR_BAD;
    }
    enum err e = tenancy_validate(&in->tenancy, t);
    if (e != ERR_OK)
        return e;
    e = meta_validate(&in->meta, t);
    if (e != ERR_OK) {
        errtext_prefix(t, "Invalid Service Meta: ");
        return e;
    }
    struct service_in with_guard = *in;
    e = guard_into_meta(&op->arena, &with_guard, t);
    if (e != ERR_OK)
        return e;
    e = weights_validate(in->weights, t);
    if (e != ERR_OK)
        return e;
    if (!service_from(&op->arena, &with_guard, &op->service))
        return ERR_NOMEM;
    e = service_checks(op, in, t);
    if (e != ERR_OK)
        return e;
    *ret_status = 500;
    return tagged_validate(&in->tagged, t);
}

static enum err service_parse(struct agent_op *op, struct bytes body,
                              int *ret_status, struct errtext *t)
{
    struct service_in in;
    /* The op outlives the request: its strings must be its own. */
    struct bytes own = arena_copy(&op->arena, body);
    *ret_status = 400;
    if (body.n && !own.p)
        return ERR_NOMEM;
    enum err e = json_decode(own, &agent_service_table, &in, &op->arena, t);
    if (e == ERR_OK)
        e = mesh_take(&op->arena, &in, t);
    if (e != ERR_OK) {
        errtext_prefix(t, "Request decode failed: ");
        return e;
    }
    e = agent_service_fill(op, &in, ret_status, t);
    if (e == ERR_OK && in.sidecar.n) {
        *ret_status = 400;
        e = agent_add_sidecar(op, &in, t);
    }
    return e;
}

enum api_next agent_service_register(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret)
{
    (void)env;
    struct errtext t = {{0}};
    int status = 400;
    struct agent_op *op = op_new(c, AGENT_REGISTER_SERVICE);
    if (!op)
        return API_ANSWER;
    enum err e = service_parse(op, c->request->body, &status, &t);
    if (e == ERR_NOMEM)
        return refuse(c, op, 500, "out of memory");
    if (e != ERR_OK)
        return refuse(c, op, status, t.s);
    const struct http_param *replace =
        http_param(c->request, "replace-existing-checks");
    if (replace && (replace->value.n == 0 ||
                    bytes_bool(replace->value, &op->replace_checks) != ERR_OK))
        op->replace_checks = true;
    if (op->then)
        op->then->replace_checks = op->replace_checks;
    *ret = op;
    return API_AGENT;
}

static enum err check_parse(struct agent_op *op, struct bytes body,
                            struct errtext *t)
{
    struct check_in in;
    struct bytes own = arena_copy(&op->arena, body);
    if (body.n && !own.p)
        return ERR_NOMEM;
    enum err e = json_decode(own, &check_table, &in, &op->arena, t);
    if (e != ERR_OK) {
        errtext_prefix(t, "Request decode failed: ");
        return e;
    }
    if (in.name.n == 0) {
        errtext_set(t, "Missing check name");
        return ERR_BAD;
    }
    op->checks = arena_zalloc(&op->arena, sizeof *op->checks);
    if (!op->checks)
        return ERR_NOMEM;
    op->check_count = 1;
    e = check_fill(op, &in, &op->checks[0], t);
    if (e == ERR_BAD && bytes_starts(bytes_str(t->s), bytes_str("Status for")))
        errtext_set(t, "Bad check status");
    if (op->checks[0].id.n == 0)
        op->checks[0].id = op->checks[0].name;
    return e;
}

enum api_next agent_check_register(struct api_call *c,
                                   const struct api_env *env,
                                   struct agent_op **ret)
{
    (void)env;
    struct errtext t = {{0}};
    struct agent_op *op = op_new(c, AGENT_REGISTER_CHECK);
    if (!op)
        return API_ANSWER;
    enum err e = check_parse(op, c->request->body, &t);
    if (e == ERR_NOMEM)
        return refuse(c, op, 500, "out of memory");
    if (e != ERR_OK)
        return refuse(c, op, 400, t.s);
    *ret = op;
    return API_AGENT;
}

enum api_next agent_service_deregister(struct api_call *c,
                                       const struct api_env *env,
                                       struct agent_op **ret)
{
    (void)env;
    return with_id(c, AGENT_DEREGISTER_SERVICE, "ServiceID missing", 500, ret);
}

enum api_next agent_check_deregister(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret)
{
    (void)env;
    return with_id(c, AGENT_DEREGISTER_CHECK, "CheckID missing", 500, ret);
}

/* --- TTL checks ---------------------------------------------------------- */

static enum api_next ttl(struct api_call *c, const char *status,
                         struct bytes output, struct agent_op **ret)
{
    enum api_next next = with_id(c, AGENT_TTL, NULL, 0, ret);
    if (next != API_AGENT)
        return next;
    (*ret)->status = bytes_str(status);
    (*ret)->output = arena_copy(&(*ret)->arena, output);
    return API_AGENT;
}

enum api_next agent_check_pass(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret)
{
    (void)env;
    return ttl(c, "passing", http_param_value(c->request, "note"), ret);
}

enum api_next agent_check_warn(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret)
{
    (void)env;
    return ttl(c, "warning", http_param_value(c->request, "note"), ret);
}

enum api_next agent_check_fail(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret)
{
    (void)env;
    return ttl(c, "critical", http_param_value(c->request, "note"), ret);
}

enum api_next agent_check_update(struct api_call *c, const struct api_env *env,
                                 struct agent_op **ret)
{
    (void)env;
    struct update_in in;
    struct errtext t = {{0}};
    static const char *const known[] = {"passing", "warning", "critical"};
    if (json_decode(c->request->body, &update_table, &in, c->arena, &t) !=
        ERR_OK) {
        api_error(c, 400, "Request decode failed: %s", t.s);
        return API_ANSWER;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (bytes_is(in.status, known[i]))
            return ttl(c, known[i], in.output, ret);
    api_error(c, 400, "Invalid check status: '%.*s'",
              BYTES_ARG(bytes_head(in.status, 64)));
    return API_ANSWER;
}

/* --- Maintenance --------------------------------------------------------- */

static enum api_next maintenance(struct api_call *c, enum agent_op_kind kind,
                                 struct agent_op **ret)
{
    const struct http_param *p = http_param(c->request, "enable");
    bool enable;
    if (!p) {
        api_error(c, 400, "Missing value for enable");
        return API_ANSWER;
    }
    if (bytes_bool(p->value, &enable) != ERR_OK) {
        api_error(c, 400, "Invalid value for enable: \"%.*s\"",
                  BYTES_ARG(bytes_head(p->value, 64)));
        return API_ANSWER;
    }
    enum api_next next = with_id(c, kind, NULL, 0, ret);
    if (next != API_AGENT)
        return next;
    (*ret)->enable = enable;
    (*ret)->reason =
        arena_copy(&(*ret)->arena, http_param_value(c->request, "reason"));
    return API_AGENT;
}

enum api_next agent_service_maintenance(struct api_call *c,
                                        const struct api_env *env,
                                        struct agent_op **ret)
{
    (void)env;
    if (c->arg.n == 0) {
        api_error(c, 400, "Missing service ID");
        return API_ANSWER;
    }
    return maintenance(c, AGENT_SERVICE_MAINTENANCE, ret);
}

/* --- Draining ------------------------------------------------------------- */

static enum api_next drain(struct api_call *c, bool enable,
                           struct agent_op **ret)
{
    if (c->arg.n == 0) {
        api_error(c, 400, "Missing service ID");
        return API_ANSWER;
    }
    enum api_next next = with_id(c, AGENT_SERVICE_MAINTENANCE, NULL, 0, ret);
    if (next != API_AGENT)
        return next;
    (*ret)->drain = true;
    (*ret)->enable = enable;
    (*ret)->reason =
        arena_copy(&(*ret)->arena, http_param_value(c->request, "reason"));
    return API_AGENT;
}

static enum api_next drain_flag(struct api_call *c, const char *name, bool *ret)
{
    const struct http_param *p = http_param(c->request, name);
    *ret = p != NULL;
    if (!p || !p->value.n || bytes_bool(p->value, ret) == ERR_OK)
        return API_AGENT;
    api_error(c, 400, "Invalid value for ?%s", name);
    return API_ANSWER;
}

enum api_next agent_service_drain(struct api_call *c, const struct api_env *env,
                                  struct agent_op **ret)
{
    struct bytes wait = http_param_value(c->request, "wait");
    uint64_t most =
        env->self->block_max_ms ? env->self->block_max_ms : API_BLOCK_MAX_MS;
    int64_t ns = 0;
    if (wait.n && (duration_parse(wait, &ns, NULL) != ERR_OK || ns < 0)) {
        api_error(c, 400, "Invalid wait time");
        return API_ANSWER;
    }
    c->wait_ms = (uint64_t)ns / NS_PER_MS;
    if (c->wait_ms > most) {
        api_error(c, 400, "wait is longer than %llu s, the longest there is",
                  (unsigned long long)(most / 1000));
        return API_ANSWER;
    }
    if (drain_flag(c, "deregister", &c->drain_deregister) == API_ANSWER ||
        drain_flag(c, "trust-unproven", &c->drain_trust) == API_ANSWER)
        return API_ANSWER;
    return drain(c, true, ret);
}

enum api_next agent_service_undrain(struct api_call *c,
                                    const struct api_env *env,
                                    struct agent_op **ret)
{
    (void)env;
    return drain(c, false, ret);
}

enum api_next agent_node_maintenance(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret)
{
    (void)env;
    return maintenance(c, AGENT_NODE_MAINTENANCE, ret);
}

enum api_next agent_leave(struct api_call *c, const struct api_env *env,
                          struct agent_op **ret)
{
    (void)env;
    return with_id(c, AGENT_LEAVE, NULL, 0, ret);
}

void api_agent_answer(struct api_call *c, const struct agent_op *op)
{
    if (op->http_status != 200) {
        api_error(c, op->http_status, "%s", op->text.s);
        return;
    }
    if (op->kind == AGENT_EVENT) {
        event_answer(c, op);
        return;
    }
    buf_reset(&c->body);
    c->status = 200;
    c->content_type = NULL;
    if (op->answer.n) {
        api_json(c);
        buf_put(&c->body, op->answer);
    }
    if (op->pending)
        http_head_line(&c->extra_head, "X-Muster-Pending", bytes_str("true"));
}

/* --- Configuration ------------------------------------------------------- */

enum err api_config_service(struct bytes json, struct agent_op **ret,
                            struct errtext *t)
{
    int status;
    struct agent_op *op = agent_op_new(AGENT_REGISTER_SERVICE);
    if (!op)
        return ERR_NOMEM;
    op->from_config = true;
    enum err e = service_parse(op, json, &status, t);
    if (e != ERR_OK) {
        agent_op_free(op);
        return e;
    }
    *ret = op;
    return ERR_OK;
}

enum err api_config_check(struct bytes json, struct agent_op **ret,
                          struct errtext *t)
{
    struct agent_op *op = agent_op_new(AGENT_REGISTER_CHECK);
    if (!op)
        return ERR_NOMEM;
    op->from_config = true;
    enum err e = check_parse(op, json, t);
    if (e != ERR_OK) {
        agent_op_free(op);
        return e;
    }
    *ret = op;
    return ERR_OK;
}
