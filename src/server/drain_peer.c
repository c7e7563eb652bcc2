/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/drain_peer.h"

#include <stdlib.h>

#include "http/json_in.h"
#include "server/holders.h"
#include "server/peer_serve.h"
#include "server/subscribers.h"

struct drained {
    struct list link; /* in all */
    uint64_t used_ms;
    struct holders *holders;
    char id[SUBSCRIBER_ID_BYTES + 1];
};

struct drains {
    uv_mutex_t mutex;
    struct map by_id;
    struct list all; /* the longest unused first */
};

/* --- The table ----------------------------------------------------------- */

struct drains *drains_new(void)
{
    struct drains *ds = calloc(1, sizeof *ds);

    if (!ds || uv_mutex_init(&ds->mutex) != 0) {
        free(ds);
        return NULL;
    }
    list_init(&ds->all);
    return ds;
}

static void forget(struct drains *ds, struct drained *d)
{
    map_del(&ds->by_id, bytes_str(d->id));
    list_del(&d->link);
    holders_free(d->holders);
    free(d);
}

static void forget_unused(struct drains *ds, uint64_t now)
{
    list_each (it, &ds->all) {
        struct drained *d = container_of(it, struct drained, link);
        if (now - d->used_ms <= DRAINS_KEPT_MS)
            break;
        forget(ds, d);
    }
}

void drains_free(struct drains *ds)
{
    if (!ds)
        return;
    while (!list_empty(&ds->all))
        forget(ds, container_of(ds->all.next, struct drained, link));
    map_fini(&ds->by_id);
    uv_mutex_destroy(&ds->mutex);
    free(ds);
}

/* Takes holders. ERR_FULL: there are DRAINS_MAX. */
static enum err keep(struct drains *ds, struct holders *take,
                     char ret_id[SUBSCRIBER_ID_BYTES + 1])
{
    struct drained *d = take ? calloc(1, sizeof *d) : NULL;
    enum err e = d && subscriber_new_id(d->id) ? ERR_OK : ERR_NOMEM;

    uv_mutex_lock(&ds->mutex);
    forget_unused(ds, process_now_ms());
    if (e == ERR_OK && ds->by_id.n >= DRAINS_MAX)
        e = ERR_FULL;
    if (e == ERR_OK)
        e = map_put(&ds->by_id, bytes_str(d->id), d);
    if (e == ERR_OK) {
        d->holders = take;
        d->used_ms = process_now_ms();
        list_add(&ds->all, &d->link);
        memcpy(ret_id, d->id, sizeof d->id);
    }
    uv_mutex_unlock(&ds->mutex);
    if (e != ERR_OK) {
        holders_free(take);
        free(d);
    }
    return e;
}

/* --- Before -------------------------------------------------------------- */

struct begin_in {
    struct bytes node, name, id;
};

struct look_in {
    int64_t need;
};

/* clang-format off */
static const struct json_field begin_fields[] = {
    {"Node", NULL, FIELD_STRING, offsetof(struct begin_in, node), NULL, JSON_NO_FLAG},
    {"Name", NULL, FIELD_STRING, offsetof(struct begin_in, name), NULL, JSON_NO_FLAG},
    {"ID", NULL, FIELD_STRING, offsetof(struct begin_in, id), NULL, JSON_NO_FLAG},
};
static const struct json_table begin_table = {begin_fields, 3, sizeof(struct begin_in)};
static const struct json_field look_fields[] = {
    {"Need", NULL, FIELD_INT, offsetof(struct look_in, need), NULL, JSON_NO_FLAG},
};
static const struct json_table look_table = {look_fields, 1, sizeof(struct look_in)};
/* clang-format on */

static bool is_text(struct bytes b)
{
    return b.n > 0 && b.n <= DRAINS_TEXT_MAX;
}

static struct json_out answer_begin(struct serving *s, struct api_call *call)
{
    struct json_out j = json_out(&call->body);

    peer_json(call);
    json_open(&j, '{');
    json_key(&j, "Node");
    json_str(&j, s->process->self.node_name);
    return j;
}

static void begin(struct serving *s, struct api_call *call)
{
    struct errtext t = {{0}};
    struct begin_in in;
    char id[SUBSCRIBER_ID_BYTES + 1];

    if (json_decode(call->request->body, &begin_table, &in, call->arena, &t) !=
        ERR_OK) {
        api_error(call, 400, "%s", t.s[0] ? t.s : "That is no instance");
        return;
    }
    if (!is_text(in.node) || !is_text(in.name) || !is_text(in.id)) {
        api_error(call, 400,
                  "Node, Name and ID of the instance have 1 to %d bytes each",
                  DRAINS_TEXT_MAX);
        return;
    }
    struct api_env env = serving_env(s);
    enum err e =
        keep(s->process->drains,
             holders_new(s->process, &env, in.node, in.name, in.id), id);
    if (e == ERR_FULL) {
        api_error(call, 429,
                  "%d drains are under way here, which is the limit; each is "
                  "forgotten %d s after it was asked for last",
                  DRAINS_MAX, DRAINS_KEPT_MS / 1000);
        return;
    }
    if (e != ERR_OK) {
        api_error(call, 500, "out of memory");
        return;
    }
    struct json_out j = answer_begin(s, call);
    json_key(&j, "Drain");
    json_str(&j, bytes_str(id));
    json_close(&j, '}');
}

/* --- After --------------------------------------------------------------- */

static void put_list(struct json_out *j, const char *key,
                     const struct buf *rows)
{
    json_key(j, key);
    json_open(j, '[');
    if (rows->n)
        json_raw(j, buf_bytes(rows));
    json_close(j, ']');
}

static void put_state(struct serving *s, struct api_call *call,
                      struct holders *h, uint64_t need)
{
    struct json_out j = answer_begin(s, call);
    struct buf waiting = {0}, unproven = {0};
    struct json_out w = json_out(&waiting), u = json_out(&unproven);
    struct holders_state st;
    size_t more;

    holders_look(h, s->process, need, &st);
    holders_put(h, s->process, need, &w, &u, &more);
    json_member_u64(&j, "Index", st.index);
    json_member_u64(&j, "Holding", st.holding);
    json_member_u64(&j, "Readers", st.unproven);
    json_key(&j, "UnprovenComplete");
    json_bool(&j, st.unproven_complete);
    json_member_u64(&j, "UnknownMs", st.unknown_ms);
    json_member_u64(&j, "DnsMs", st.dns_left_ms);
    json_member_u64(&j, "WaitingMore", more);
    put_list(&j, "Waiting", &waiting);
    put_list(&j, "Unproven", &unproven);
    json_close(&j, '}');
    call->body.bad |= waiting.bad || unproven.bad;
    buf_fini(&waiting);
    buf_fini(&unproven);
}

static void look(struct serving *s, struct api_call *call)
{
    struct drains *ds = s->process->drains;
    struct errtext t = {{0}};
    struct look_in in;

    if (json_decode(call->request->body, &look_table, &in, call->arena, &t) !=
            ERR_OK ||
        in.need < 1) {
        api_error(call, 400, "%s", t.s[0] ? t.s : "Need is an index above 0");
        return;
    }
    uv_mutex_lock(&ds->mutex);
    forget_unused(ds, process_now_ms());
    struct drained *d = map_get(&ds->by_id, call->arg);
    if (d) {
        d->used_ms = process_now_ms();
        list_del(&d->link);
        list_add(&ds->all, &d->link);
        put_state(s, call, d->holders, (uint64_t)in.need);
    } else {
        api_error(call, 404, "No drain \"%.*s\" is under way here",
                  BYTES_ARG(bytes_head(call->arg, SUBSCRIBER_ID_BYTES)));
    }
    uv_mutex_unlock(&ds->mutex);
}

void drains_answer(struct serving *s, struct api_call *call)
{
    if (!s->env.self->is_server || !s->env.ready)
        api_error(call, 500, "No cluster leader");
    else if (call->arg.n == 0)
        begin(s, call);
    else
        look(s, call);
}
