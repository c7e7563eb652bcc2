/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the agent says of its own services, checks and their health. */
#include "api/impl.h"

void read_agent_services(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct tree_iter it;
    json_open(&j, '{');
    local_services(env->local, &it);
    struct filter_row row = filter_row(env);
    for (const struct local_service *s; (s = local_next_service(&it));) {
        row.service = s->view;
        if (!row_is_wanted(c, &row))
            continue;
        json_key_bytes(&j, s->view.id);
        encode_agent_service(&j, s, env, false);
    }
    json_close(&j, '}');
}

void read_agent_service(struct api_call *c, const struct api_env *env)
{
    const struct local_service *s = local_service(env->local, c->arg);
    if (!s) {
        api_error(c, 404, "unknown service ID: %.*s", BYTES_ARG(c->arg));
        c->content_hash = 0;
        return;
    }
    struct json_out j = json_out(&c->body);
    encode_agent_service(&j, s, env, true);
    c->content_hash = s->hash;
    buf_printf(&c->extra_head, "X-Consul-Contenthash: %llx\r\n",
               (unsigned long long)s->hash);
}

void read_agent_checks(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct tree_iter it;
    json_open(&j, '{');
    local_checks(env->local, &it);
    struct filter_row row = filter_row(env);
    for (const struct local_check *k; (k = local_next_check(&it));) {
        agent_check(k, env, &row.check);
        if (!row_is_wanted(c, &row))
            continue;
        json_key_bytes(&j, k->def.id);
        encode_agent_check(&j, k, env);
    }
    json_close(&j, '}');
}

/* --- /agent/health/service ----------------------------------------------- */

static enum status check_status(const struct local_check *k)
{
    bool maintenance =
        bytes_is(k->def.id, "_node_maintenance") ||
        bytes_starts(k->def.id, bytes_str("_service_maintenance:"));
    return maintenance ? STATUS_MAINTENANCE : k->status;
}

static bool counts_for(const struct local_check *k,
                       const struct local_service *s)
{
    return k->def.service_id.n == 0 ||
           bytes_eq_fold(k->def.service_id, s->view.id);
}

static enum status service_status(const struct api_env *env,
                                  const struct local_service *s)
{
    enum status worst = STATUS_PASSING;
    struct tree_iter it;
    local_checks(env->local, &it);
    for (const struct local_check *k; (k = local_next_check(&it));)
        if (counts_for(k, s))
            worst = status_worse(worst, check_status(k));
    return worst;
}

static int status_code(enum status s)
{
    switch (s) {
    case STATUS_PASSING:
        return 200;
    case STATUS_WARNING:
        return 429;
    case STATUS_CRITICAL:
    case STATUS_MAINTENANCE:
    case STATUS_OTHER:
        return 503;
    }
    return 503;
}

static void put_health(struct json_out *j, const struct api_env *env,
                       const struct local_service *s, enum status status)
{
    struct tree_iter it;
    json_open(j, '{');
    json_key(j, "AggregatedStatus");
    json_str(j, bytes_str(status_name(status)));
    json_key(j, "Service");
    encode_agent_service(j, s, env, false);
    json_key(j, "Checks");
    json_open(j, '[');
    local_checks(env->local, &it);
    for (const struct local_check *k; (k = local_next_check(&it));)
        if (counts_for(k, s))
            encode_agent_check(j, k, env);
    json_close(j, ']');
    json_close(j, '}');
}

static bool wants_text(const struct api_call *c)
{
    return bytes_is(http_param_value(c->request, "format"), "text") ||
           bytes_starts(http_header(c->request, "Accept"),
                        bytes_str("text/plain"));
}

static void reason_line(struct api_call *c, const char *prefix,
                        struct bytes what, const char *suffix)
{
    struct buf b;
    buf_init(&b, 4096);
    buf_puts(&b, prefix);
    buf_put(&b, what);
    buf_puts(&b, suffix);
    http_head_line(&c->extra_head, "X-Consul-Reason", buf_bytes(&b));
    buf_fini(&b);
}

static void as_text(struct api_call *c, int status, const char *text)
{
    buf_reset(&c->body);
    buf_puts(&c->body, text);
    c->status = status;
    c->content_type = "text/plain";
}

void read_agent_health_id(struct api_call *c, const struct api_env *env)
{
    if (c->arg.n == 0) {
        api_error(c, 500, "Bad request: Missing serviceID");
        return;
    }
    const struct local_service *s = local_service(env->local, c->arg);
    struct json_out j = json_out(&c->body);
    if (!s) {
        reason_line(c, "ServiceId ", c->arg, " not found");
        if (wants_text(c)) {
            struct buf text;
            buf_init(&text, 4096);
            buf_printf(&text, "ServiceId %.*s not found", BYTES_ARG(c->arg));
            json_str(&j, buf_bytes(&text));
            buf_fini(&text);
        } else {
            buf_puts(&c->body, "{\"AggregatedStatus\":\"critical\","
                               "\"Service\":null,\"Checks\":null}");
        }
        c->status = 404;
        return;
    }
    enum status status = service_status(env, s);
    reason_line(c, status_name(status), (struct bytes){0}, "");
    if (wants_text(c)) {
        as_text(c, status_code(status), status_name(status));
        return;
    }
    put_health(&j, env, s, status);
    c->status = status_code(status);
}

void read_agent_health_name(struct api_call *c, const struct api_env *env)
{
    if (c->arg.n == 0) {
        api_error(c, 500, "Bad request: Missing service Name");
        return;
    }
    struct json_out j = json_out(&c->body);
    enum status worst = STATUS_PASSING;
    size_t found = 0;
    struct tree_iter it;
    json_open(&j, '[');
    local_services(env->local, &it);
    for (const struct local_service *s; (s = local_next_service(&it));) {
        if (!bytes_eq_fold(s->view.name, c->arg))
            continue;
        enum status status = service_status(env, s);
        worst = status_worse(worst, status);
        put_health(&j, env, s, status);
        found++;
    }
    json_close(&j, ']');
    c->status = found ? status_code(worst) : 404;
    if (found)
        reason_line(c, status_name(worst), (struct bytes){0}, "");
    else
        reason_line(c, "ServiceName ", c->arg, " Not Found");
    if (!wants_text(c))
        return;
    if (found) {
        as_text(c, c->status, status_name(worst));
    } else {
        as_text(c, 404, "ServiceName ");
        buf_put(&c->body, c->arg);
        buf_puts(&c->body, " Not Found");
    }
}
