/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/query, PUT and DELETE /v1/query/ID. */
#include "api/query.h"

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

static enum api_next finish(struct api_call *c, enum err e,
                            const struct errtext *t, const struct plan *p)
{
    if (e != ERR_OK)
        return refuse(c, e == ERR_LIMIT ? 413 : 500,
                      t->s[0] ? t->s : err_text(e));
    c->status = 200;
    return p->op_count ? API_WRITE : API_ANSWER;
}

static enum api_next put(struct api_call *c, const struct api_env *env,
                         const struct query_view *v, bool create,
                         struct plan *p)
{
    struct errtext t = {{0}};
    enum err e = query_check(v, c->arena, &t);

    if (e == ERR_OK)
        e = plan_query(p, env->cat, v, create, &t);
    return finish(c, e, &t, p);
}

/* 122 random bits: nobody else's. */
static struct bytes new_id(struct api_call *c, const struct api_env *env)
{
    uint8_t random[16];
    char text[37];

    for (size_t i = 0; i < 2; i++) {
        uint64_t word = env->random[i];
        memcpy(random + 8 * i, &word, sizeof word);
    }
    uuid_format(random, text);
    return arena_copy(c->arena, bytes_str(text));
}

enum api_next write_query_create(struct api_call *c, const struct api_env *env,
                                 struct plan *p)
{
    struct query_view v;
    struct json_out j = json_out(&c->body);

    if (!query_from_body(c, &v))
        return API_ANSWER;
    if (v.id.n)
        return refuse(c, 500,
                      "ID must be empty when creating a new prepared query");
    v.id = new_id(c, env);
    if (!v.id.p)
        return refuse(c, 500, "out of memory");
    enum api_next next = put(c, env, &v, true, p);
    if (next == API_ANSWER)
        return next;
    json_open(&j, '{');
    json_key(&j, "ID");
    json_str(&j, v.id);
    json_close(&j, '}');
    api_json(c);
    return next;
}

static enum api_next change(struct api_call *c, const struct api_env *env,
                            struct bytes id, struct plan *p)
{
    struct query_view v;

    if (!query_from_body(c, &v))
        return API_ANSWER;
    v.id = id; /* the path wins over the body */
    c->content_type = NULL;
    return put(c, env, &v, false, p);
}

enum api_next write_query(struct api_call *c, const struct api_env *env,
                          struct plan *p)
{
    struct errtext t = {{0}};
    struct bytes id;

    (void)query_action(c->arg, &id);
    if (!bytes_uuid(id))
        return refuse(c, 500,
                      "Prepared Query lookup failed: failed prepared query "
                      "lookup: index error: UUID must be 36 characters");
    if (c->request->method == HTTP_PUT)
        return change(c, env, id, p);
    c->content_type = NULL;
    return finish(c, plan_query_delete(p, env->cat, id, &t), &t, p);
}
