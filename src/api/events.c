/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* /v1/event: user events. They are for the agents whose node and services match
 * their filters. Kept in memory, the newest 256. How they come to all agents:
 * server/events.h. */
#include "api/event_batch.h"
#include "api/filter_impl.h"
#include "api/impl.h"
#include "base/base64.h"

enum {
    /* Consul's limit counts the event as it is encoded there: name twice, each
     * member with its key, an ID. Whoever fits there fits here. */
    EVENT_BYTES_MAX = 512,
    EVENT_BASE_BYTES = 96,
    EVENT_FILTER_BYTES = 4,
};

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

static size_t encoded_bytes(const struct heard_event *e)
{
    const struct bytes filters[] = {e->node_filter, e->service_filter,
                                    e->tag_filter};
    size_t n = EVENT_BASE_BYTES + 2 * e->name.n + e->payload.n;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        n += filters[i].n ? filters[i].n + EVENT_FILTER_BYTES : 0;
    return n;
}

struct event_filters {
    struct filter_regex *node, *service, *tag; /* NULL: everybody */
    uint64_t allowance;                        /* of steps, for all of them */
};

static enum err compile_one(struct arena *a, struct bytes pattern,
                            const char *what, struct filter_regex **ret,
                            struct errtext *t)
{
    struct errtext why = {{0}};
    enum err e = pattern.n ? filter_regex_new(pattern, a, ret, &why) : ERR_OK;
    if (e != ERR_OK)
        errtext_set(t, "Invalid %s filter: %s", what, why.s);
    return e;
}

static bool fits(struct event_filters *f, const struct filter_regex *r,
                 struct bytes text)
{
    return !r || filter_regex_search(r, text, &f->allowance) == FILTER_FOUND;
}

static bool any_tag_fits(struct event_filters *f, struct packed tags)
{
    struct bytes rest = tags.data, tag;
    if (!f->tag)
        return true;
    while (packed_next(&rest, &tag))
        if (fits(f, f->tag, tag))
            return true;
    return false;
}

static bool is_for_us(const struct api_env *env, struct event_filters *f)
{
    struct tree_iter it;
    if (!fits(f, f->node, env->self->node_name))
        return false;
    if (!f->service)
        return true;
    local_services(env->local, &it);
    for (const struct local_service *s; (s = local_next_service(&it));)
        if (fits(f, f->service, s->view.name) && any_tag_fits(f, s->view.tags))
            return true;
    return false;
}

static enum err compile(struct arena *a, const struct heard_event *e,
                        struct event_filters *f, struct errtext *t)
{
    *f = (struct event_filters){.allowance = FILTER_REGEX_STEPS_MAX};
    if (e->tag_filter.n && e->service_filter.n == 0) {
        errtext_set(t, "Cannot provide tag filter without service filter");
        return ERR_BAD;
    }
    enum err err = compile_one(a, e->node_filter, "node", &f->node, t);
    if (err == ERR_OK)
        err = compile_one(a, e->service_filter, "service", &f->service, t);
    if (err == ERR_OK)
        err = compile_one(a, e->tag_filter, "tag", &f->tag, t);
    if (err == ERR_OK && encoded_bytes(e) > EVENT_BYTES_MAX) {
        errtext_set(t, "1 error occurred:\n\t* error broadcasting event to "
                       "segment \"\": user event exceeds configured limit of "
                       "512 bytes before encoding\n\n");
        err = ERR_LIMIT;
    }
    return err;
}

bool api_event_is_for(const struct api_env *env, const struct heard_event *e,
                      struct errtext *t)
{
    struct event_filters f;
    struct arena a;

    arena_init(&a, 0);
    bool ret = compile(&a, e, &f, t) == ERR_OK && is_for_us(env, &f);
    arena_fini(&a);
    return ret;
}

static struct agent_op *event_op(const struct heard_event *e)
{
    struct agent_op *op = agent_op_new(AGENT_EVENT);
    if (!op)
        return NULL;
    struct arena *a = &op->arena;
    op->event = (struct heard_event){
        .name = arena_copy(a, e->name),
        .payload = arena_copy(a, e->payload),
        .node_filter = arena_copy(a, e->node_filter),
        .service_filter = arena_copy(a, e->service_filter),
        .tag_filter = arena_copy(a, e->tag_filter),
    };
    return op;
}

enum api_next agent_event_fire(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret)
{
    const struct http_request *r = c->request;
    struct event_filters f;
    struct errtext t = {{0}};
    struct heard_event e = {
        .name = c->arg,
        .payload = r->body,
        .node_filter = http_param_value(r, "node"),
        .service_filter = http_param_value(r, "service"),
        .tag_filter = http_param_value(r, "tag"),
    };
    if (e.name.n == 0)
        return refuse(c, 400, "Missing name");
    (void)env;
    if (compile(c->arena, &e, &f, &t) != ERR_OK)
        return refuse(c, 500, t.s);
    *ret = event_op(&e);
    if (!*ret)
        return refuse(c, 500, "out of memory");
    return API_AGENT;
}

void api_event_members(struct json_out *j, const struct heard_event *e,
                       uint64_t ltime)
{
    json_member_str(j, "ID", bytes_str(e->id));
    json_member_str(j, "Name", e->name);
    json_key(j, "Payload");
    if (e->payload.n) {
        struct buf b;
        buf_init(&b, 0);
        base64_put(&b, e->payload);
        json_str(j, buf_bytes(&b));
        j->out->bad |= b.bad;
        buf_fini(&b);
    } else {
        json_nil(j);
    }
    json_member_str(j, "NodeFilter", e->node_filter);
    json_member_str(j, "ServiceFilter", e->service_filter);
    json_member_str(j, "TagFilter", e->tag_filter);
    json_member_u64(j, "Version", 1);
    json_member_u64(j, "LTime", ltime);
}

void event_answer(struct api_call *c, const struct agent_op *op)
{
    struct json_out j = json_out(&c->body);
    buf_reset(&c->body);
    api_json(c);
    json_open(&j, '{');
    api_event_members(&j, &op->event, 0); /* as Consul's: not known yet */
    json_close(&j, '}');
    if (op->pending)
        http_head_line(&c->extra_head, "X-Muster-Pending", bytes_str("true"));
}

/* The index is that of the last event's ID: clients wait for another one, not
 * for a greater one, as with hashes. */
enum api_next prepare_events(struct api_call *c, const struct api_env *env)
{
    (void)env;
    c->has_hash = c->index > 0;
    c->asked_hash = c->index;
    return API_READ;
}

static bool is_of_name(struct bytes name, const struct heard_event *e)
{
    return name.n == 0 || bytes_eq(name, e->name);
}

/* Behind the one that events_after names. */
static size_t first_event(const struct api_call *c,
                          const struct heard_snapshot *s, struct bytes name)
{
    size_t i = c->events_after ? s->event_count : 0;

    while (i > 0 &&
           !(is_of_name(name, s->events[i - 1]) &&
             heard_event_index(s->events[i - 1]->id) == c->events_after))
        i--;
    return i;
}

void read_event_list(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    struct bytes name = http_param_value(c->request, "name");
    const struct heard_snapshot *s = env->heard;
    c->content_hash = 1;
    json_open(&j, '[');
    for (size_t i = 0; i < s->event_count; i++)
        if (is_of_name(name, s->events[i]))
            c->content_hash = heard_event_index(s->events[i]->id);
    for (size_t i = first_event(c, s, name); i < s->event_count; i++)
        if (is_of_name(name, s->events[i])) {
            json_open(&j, '{');
            api_event_members(&j, s->events[i], s->events[i]->ltime);
            json_close(&j, '}');
        }
    json_close(&j, ']');
    http_head_u64(&c->extra_head, "X-Consul-Index", c->content_hash);
}
