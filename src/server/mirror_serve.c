/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/mirror_serve.h"

#include <stdlib.h>

#include "api/entries.h"
#include "mirror/choose.h"

struct mirror_view {
    struct api_self self; /* as of a server there */
    const struct snapshot *cat;
    uint64_t turn;
};

/* --- Environments --------------------------------------------------------- */

const struct catalog *catalog_of(const struct process *p,
                                 const struct dc_mirror *of)
{
    return of ? dc_mirror_catalog(of) : p->catalog;
}

const struct dc_mirror *mirror_of_target(const struct process *p,
                                         struct bytes target)
{
    if (target.n == 0 || target.p[0] != '@')
        return NULL;
    return mirrors_any(
        p, bytes_skip(bytes_head(target, bytes_find(target, '/')), 1));
}

bool mirror_env(const struct dc_mirror *of, struct api_env *env,
                struct api_self *own)
{
    *own = *env->self;
    own->datacenter = dc_mirror_name(of);
    own->node_id = bytes_str(dc_mirror_cluster(of)); /* api_cluster_member */
    env->store_id = 0;
    env->self = own;
    env->cat = catalog_current(dc_mirror_catalog(of));
    env->ready = true;
    /* It is emptied after it was marked. */
    return dc_mirror_usable(of);
}

bool serving_env_of(struct serving *s, const struct dc_mirror *of,
                    struct api_env *ret)
{
    *ret = s->env;
    if (!of)
        return true;
    struct mirror_view **slot = &s->mirror_views[dc_mirror_number(of)];
    if (!*slot)
        *slot = calloc(1, sizeof **slot);
    struct mirror_view *v = *slot;
    if (!v)
        return false;
    if (v->turn != s->turn) {
        if (!mirror_env(of, ret, &v->self))
            return false;
        v->cat = ret->cat;
        v->turn = s->turn;
        return true;
    }
    ret->store_id = 0;
    ret->self = &v->self;
    ret->cat = v->cat;
    ret->ready = true;
    return true;
}

/* --- Who answers ---------------------------------------------------------- */

static struct mirror_state state_of(const struct serving *s,
                                    const struct dc_mirror *m)
{
    return (struct mirror_state){
        .usable = true,
        .link_up = dc_mirror_link_up(m),
        .age_ms = dc_mirror_age_ms(m),
        .age_max_ms = mirrors_age_max_ms(s->process),
    };
}

bool mirror_is_over(struct serving *s, const struct dc_mirror *of,
                    struct api_call *call)
{
    if (!of || (dc_mirror_usable(of) &&
                (dc_mirror_link_up(of) ||
                 dc_mirror_age_ms(of) <= mirrors_age_max_ms(s->process))))
        return false;
    buf_reset(&call->body);
    api_error(call, 500, MIRROR_OVER);
    call->consul_headers = true;
    return true;
}

struct has_in {
    const struct dc_mirror *m;
    const struct snapshot *cat;
};

static bool has(void *ctx, struct bytes name)
{
    const struct has_in *in = ctx;

    return dc_mirror_has(in->m, in->cat, name);
}

/* All that the answer is made of. */
static bool covers(const struct dc_mirror *m, const struct snapshot *cat,
                   const struct api_call *call, enum api_next next)
{
    struct has_in in = {m, cat};

    if ((next != API_READ && next != API_STREAM) || !api_is_mirrored(call))
        return false;
    if (dc_mirror_has_all(m))
        return true;
    if (next == API_STREAM && api_stream_is_many(call))
        return api_stream_services(call, has, &in);
    bool of_name = call->watch.kind == WATCH_SERVICE ||
                   call->watch.kind == WATCH_SERVICE_HEALTH ||
                   call->watch.kind == WATCH_SERVICE_CHECKS;
    return of_name && dc_mirror_has(m, cat, call->arg);
}

/* What of it nobody here knows. */
static bool wants_more(const struct api_call *call, const struct api_env *env)
{
    return http_param_value(call->request, "near").n > 0 ||
           (call->blocking == API_BLOCK_INDEX &&
            call->index > snapshot_revision(env->cat));
}

static enum mirror_choice choose(struct serving *s, const struct dc_mirror *m,
                                 const struct api_call *asked,
                                 const struct api_call *call,
                                 const struct api_env *env, enum api_next next,
                                 bool lost)
{
    struct mirror_state st = state_of(s, m);
    const struct mirror_asked q = {
        .consistent = asked->consistent,
        .stale = asked->stale,
        .stream = next == API_STREAM,
        .mirrored = covers(m, env->cat, call, next),
        .more = wants_more(call, env),
        .limited = asked->max_stale_ms != UINT64_MAX,
        .max_stale_ms = asked->max_stale_ms,
    };

    st.link_up &= !lost;
    return mirror_choose(&q, &st);
}

static void refuse(struct serving *s, struct conn *c, struct api_call *call)
{
    buf_reset(&call->body);
    buf_reset(&call->extra_head);
    call->consul_headers = true;
    call->consistency = NULL;
    api_error(call, 500, MIRROR_OVER);
    serving_answer_call(s, c, call, 1, false);
    api_call_fini(call);
}

static void answer_here(struct serving *s, struct conn *c,
                        struct api_call *call, struct api_env *env,
                        enum api_next next)
{
    if (next == API_STREAM) {
        push_open(s, c, call, env);
        api_call_fini(call);
        return;
    }
    read_begin(s, c, call, env, call->request->accepts_gzip);
}

bool mirror_serve(struct serving *s, struct conn *c, struct api_call *call,
                  bool lost)
{
    const struct dc_mirror *m = mirrors_find(s->process, call->forward);
    struct conn_state *st = conn_user(c);
    struct api_env env;
    struct api_call here;

    if (!m || call->request->method != HTTP_GET || call->failover_count ||
        !serving_env_of(s, m, &env))
        return false;
    api_call_init(&here);
    enum api_next next = api_begin(&here, &env, call->request);
    switch (choose(s, m, call, &here, &env, next, lost)) {
    case CHOOSE_MIRROR:
        api_call_fini(call);
        st->mirror = m;
        here.mirror = dc_mirror_name(m);
        answer_here(s, c, &here, &env, next);
        return true;
    case CHOOSE_NOBODY:
        api_call_fini(&here);
        refuse(s, c, call);
        return true;
    case CHOOSE_THERE:
        break;
    }
    api_call_fini(&here);
    return false;
}
