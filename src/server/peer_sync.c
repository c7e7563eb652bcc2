/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* PUT /v1/peer/sync: what an agent wants the catalog to say about its own node.
 *
 *     {"Node":"app-1","Items":[{"Meta":"...","Wishes":["<base64>",...]},...]}
 *
 * Each item is planned on our snapshot (catalog/wish.h) and committed, its wishes
 * together; on a conflict it is planned again. Items are independent of each
 * other, as the changes of an agent with a store of its own are. Once all are
 * settled, and visible here:
 *
 *     {"Outcomes":[{"Verdict":"committed","Revision":4711},...]}
 *
 * Verdicts: committed (Revision 0: it was so already), conflict (the guard does
 * not let it go now), refused and unavailable (with Text). What was asked for and
 * not answered, because the server died, is asked for again: a wish that has been
 * granted is none any more. */
#include "server/peer_serve.h"

#include <stdlib.h>

#include "base/base64.h"
#include "catalog/wish.h"
#include "http/json_in.h"
#include "http/json_out.h"

enum { ITEM_ARENA_MAX = 4 << 20 };

struct sync_item {
    struct letter letter;
    struct sync_request *request;
    struct bytes *wishes; /* in the request's arena */
    size_t wish_count;
    struct bytes meta;
    struct arena arena; /* of its plan */
    struct plan plan;
    struct store_change change;
    struct store_outcome outcome;
    int attempts;
};

struct sync_request {
    struct serving *serving;
    struct conn *conn; /* NULL: gone */
    struct api_call call;
    struct arena arena;
    struct bytes node;
    size_t count, left;
    struct sync_item items[];
};

/* --- Decoding ------------------------------------------------------------ */

struct item_in {
    struct bytes meta;
    struct json_strings wishes;
};

struct sync_in {
    struct bytes node;
    struct json_list items;
};

/* clang-format off */
static const struct json_field item_fields[] = {
    {"Meta", NULL, FIELD_STRING, offsetof(struct item_in, meta), NULL, JSON_NO_FLAG},
    {"Wishes", NULL, FIELD_STRINGS, offsetof(struct item_in, wishes), NULL, JSON_NO_FLAG},
};
static const struct json_table item_table = {item_fields, 2, sizeof(struct item_in)};
static const struct json_field sync_fields[] = {
    {"Node", NULL, FIELD_STRING, offsetof(struct sync_in, node), NULL, JSON_NO_FLAG},
    {"Items", NULL, FIELD_LIST, offsetof(struct sync_in, items), &item_table, JSON_NO_FLAG},
};
static const struct json_table sync_table = {sync_fields, 2, sizeof(struct sync_in)};
/* clang-format on */

static enum err take_wishes(struct sync_item *it, const struct item_in *in,
                            struct arena *a, struct errtext *t)
{
    struct buf b = {0};
    enum err e = ERR_OK;

    it->meta = arena_copy(a, bytes_head(in->meta, STORE_META_MAX));
    it->wishes = arena_zalloc(a, (in->wishes.n + 1) * sizeof *it->wishes);
    if (!it->wishes)
        return ERR_NOMEM;
    for (size_t i = 0; i < in->wishes.n && e == ERR_OK; i++) {
        buf_reset(&b);
        e = base64_get(in->wishes.v[i], &b);
        if (e != ERR_OK)
            errtext_set(t, "wish %zu is not base64", i);
        it->wishes[i] = arena_copy(a, buf_bytes(&b));
    }
    it->wish_count = in->wishes.n;
    buf_fini(&b);
    return e;
}

static struct sync_request *request_new(struct serving *s,
                                        const struct sync_in *in)
{
    size_t n = in->items.n;
    struct sync_request *r = calloc(1, sizeof *r + n * sizeof r->items[0]);

    if (!r)
        return NULL;
    r->serving = s;
    r->count = n;
    arena_init(&r->arena, 0);
    for (size_t i = 0; i < n; i++) {
        struct sync_item *it = &r->items[i];
        it->request = r;
        list_init(&it->letter.link);
        arena_init(&it->arena, ITEM_ARENA_MAX);
    }
    return r;
}

static void request_free(struct sync_request *r)
{
    for (size_t i = 0; i < r->count; i++)
        arena_fini(&r->items[i].arena);
    arena_fini(&r->arena);
    free(r);
}

static enum err decode(struct serving *s, struct api_call *call,
                       struct sync_request **ret, struct errtext *t)
{
    struct sync_in in;
    enum err e =
        json_decode(call->request->body, &sync_table, &in, call->arena, t);

    if (e != ERR_OK)
        return e;
    if (!in.node.n || in.items.n > PEER_SYNC_ITEMS_MAX) {
        errtext_set(t, "Node is missing, or there are more than %d Items",
                    PEER_SYNC_ITEMS_MAX);
        return ERR_BAD;
    }
    struct sync_request *r = request_new(s, &in);
    if (!r)
        return ERR_NOMEM;
    r->node = arena_copy(&r->arena, in.node);
    const struct item_in *v = in.items.v;
    for (size_t i = 0; i < r->count && e == ERR_OK; i++)
        e = take_wishes(&r->items[i], &v[i], &r->arena, t);
    if (e != ERR_OK)
        request_free(r);
    else
        *ret = r;
    return e;
}

/* --- Answering ----------------------------------------------------------- */

static const char *verdict_name(const struct sync_item *it)
{
    switch (it->outcome.verdict) {
    case STORE_COMMITTED:
        return "committed";
    case STORE_CONFLICT:
        return "conflict";
    case STORE_REFUSED:
        return "refused";
    case STORE_UNAVAILABLE:
        return "unavailable";
    }
    return "";
}

static void put_outcome(struct json_out *j, const struct sync_item *it)
{
    const struct store_outcome *o = &it->outcome;

    json_open(j, '{');
    json_key(j, "Verdict");
    json_str(j, bytes_str(verdict_name(it)));
    json_key(j, "Revision");
    json_u64(j, o->verdict == STORE_COMMITTED ? o->revision : 0);
    json_key(j, "Text");
    json_str(j, bytes_str(o->text.s[0] || o->verdict == STORE_COMMITTED
                              ? o->text.s
                              : err_text(o->why)));
    json_close(j, '}');
}

static void finish(struct sync_request *r)
{
    struct json_out j = json_out(&r->call.body);

    json_open(&j, '{');
    json_key(&j, "Outcomes");
    json_open(&j, '[');
    for (size_t i = 0; i < r->count; i++)
        put_outcome(&j, &r->items[i]);
    json_close(&j, ']');
    json_close(&j, '}');
    peer_json(&r->call);
    r->serving->outstanding--;
    if (r->conn) {
        ((struct conn_state *)conn_user(r->conn))->sync = NULL;
        serving_answer_call(r->serving, r->conn, &r->call, 1, false);
    }
    api_call_fini(&r->call);
    request_free(r);
}

/* True: that was the last one; the request is gone. */
static bool settle(struct sync_item *it, enum store_verdict verdict,
                   enum err why)
{
    struct sync_request *r = it->request;

    it->outcome.verdict = verdict;
    it->outcome.why = why;
    if (--r->left > 0)
        return false;
    finish(r);
    return true;
}

/* --- Planning ------------------------------------------------------------ */

static enum err plan(struct sync_item *it, bool *ret_wait)
{
    const struct snapshot *s = it->request->serving->env.cat;
    enum err e = ERR_OK;

    arena_reset(&it->arena);
    plan_init(&it->plan, &it->arena);
    *ret_wait = false;
    for (size_t i = 0; i < it->wish_count && e == ERR_OK && !*ret_wait; i++)
        e = wish_plan(&it->plan, s, it->wishes[i], it->request->node, ret_wait,
                      &it->outcome.text);
    return e;
}

/* On the store thread. */
static void change_done(struct store_change *ch, const struct store_outcome *o)
{
    struct sync_item *it = container_of(ch, struct sync_item, change);
    struct list one;

    it->outcome = *o;
    it->letter.kind = LETTER_SYNC;
    it->letter.revision =
        o->verdict == STORE_COMMITTED || o->verdict == STORE_CONFLICT
            ? o->revision
            : 0;
    it->letter.to = it->request->serving;
    list_init(&one);
    list_add(&one, &it->letter.link);
    queue_push_all(it->request->serving->process->written, &one);
}

static enum err submit(struct sync_item *it)
{
    it->change = (struct store_change){
        .guards = it->plan.guards,
        .guard_count = it->plan.guard_count,
        .ops = it->plan.ops,
        .op_count = it->plan.op_count,
        .meta = it->meta,
        .done = change_done,
    };
    return store_submit(it->request->serving->process->store, &it->change,
                        &it->outcome.text);
}

/* True: the request is gone. Pinned. */
static bool run(struct sync_item *it)
{
    bool wait;

    it->outcome = (struct store_outcome){0};
    enum err e = plan(it, &wait);
    if (e != ERR_OK)
        return settle(it, STORE_REFUSED, e);
    if (wait)
        return settle(it, STORE_CONFLICT, ERR_AGAIN);
    if (it->plan.op_count == 0)
        return settle(it, STORE_COMMITTED, ERR_OK);
    e = submit(it);
    if (e == ERR_OK)
        return false;
    return settle(it, e == ERR_LIMIT ? STORE_REFUSED : STORE_UNAVAILABLE, e);
}

void peer_sync_written(struct serving *s, struct letter *l)
{
    struct sync_item *it = container_of(l, struct sync_item, letter);
    const struct store_outcome *o = &it->outcome;

    (void)s;
    if (o->verdict == STORE_CONFLICT && ++it->attempts < WRITE_ATTEMPTS_MAX) {
        (void)run(it);
        return;
    }
    (void)settle(it, o->verdict, o->why);
}

void peer_sync_begin(struct serving *s, struct conn *c, struct api_call *call)
{
    struct sync_request *r = NULL;
    struct errtext t = {{0}};

    if (!s->env.self->is_server || !s->env.ready) {
        api_error(call, 500, "No cluster leader");
        peer_answer(s, c, call);
        return;
    }
    enum err e = decode(s, call, &r, &t);
    if (e != ERR_OK || r->count == 0) {
        api_error(call, 400, "%s",
                  t.s[0]        ? t.s
                  : e != ERR_OK ? err_text(e)
                                : "No Items");
        if (r && e == ERR_OK)
            request_free(r);
        peer_answer(s, c, call);
        return;
    }
    r->conn = c;
    r->call = *call; /* its buffers move */
    r->left = r->count + 1;
    s->outstanding++;
    ((struct conn_state *)conn_user(c))->sync = r;
    for (size_t i = 0; i < r->count; i++)
        (void)run(&r->items[i]);
    if (--r->left == 0)
        finish(r);
}

void peer_sync_gone(struct sync_request *r)
{
    r->conn = NULL;
}
