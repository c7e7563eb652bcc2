/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/serving.h"

#include <stdlib.h>

#include "base/metric.h"

void answers_init(struct answers *a, size_t max_bytes)
{
    *a = (struct answers){.max_bytes = max_bytes};
    list_init(&a->lru);
}

void answer_ref(struct answer *a)
{
    a->refs++;
}

static size_t answer_cost(const struct answer *a)
{
    size_t n = sizeof *a + a->key.n + sizeof(struct map_slot);
    if (a->extra_head)
        n += a->extra_head->n;
    if (a->body)
        n += a->body->n;
    if (a->gzip)
        n += a->gzip->n;
    return n;
}

void answer_unref(struct answer *a)
{
    if (--a->refs > 0)
        return;
    shared_unref(a->extra_head);
    shared_unref(a->body);
    shared_unref(a->gzip);
    shared_unref(a->head[0]);
    shared_unref(a->head[1]);
    free(a);
}

static void answers_drop(struct answers *c, struct answer *a)
{
    map_del(&c->map, a->key);
    list_del(&a->lru);
    size_t cost = answer_cost(a);
    c->bytes -= cost;
    metric_add(METRIC_CACHE_BYTES, -(int64_t)cost);
    answer_unref(a);
}

void answers_forget(struct answers *c, struct answer *a)
{
    if (map_get(&c->map, a->key) == a)
        answers_drop(c, a);
}

void answers_fini(struct answers *a)
{
    while (!list_empty(&a->lru))
        answers_drop(a, container_of(a->lru.next, struct answer, lru));
    map_fini(&a->map);
}

struct answer *answers_find(struct answers *c, struct bytes key,
                            const struct snapshot *s)
{
    struct answer *a = map_get(&c->map, key);
    if (!a)
        return NULL;
    if (a->text_index != snapshot_text_index(s, a->watch) ||
        a->floor != snapshot_floor(s)) {
        answers_drop(c, a);
        return NULL;
    }
    list_del(&a->lru);
    list_add(&c->lru, &a->lru);
    metric_add(METRIC_CACHE_HITS, 1);
    return a;
}

static struct answer *answer_new(struct bytes key, const struct api_call *call)
{
    size_t name_n = call->watch.name.n;
    struct answer *a = calloc(1, sizeof *a + key.n + name_n);
    if (!a)
        return NULL;
    char *p = (char *)(a + 1);
    memcpy(p, key.p, key.n);
    a->key = bytes_of(p, key.n);
    if (name_n)
        memcpy(p + key.n, call->watch.name.p, name_n);
    a->watch =
        (struct watch_key){call->watch.kind, bytes_of(p + key.n, name_n)};
    a->status = call->status;
    a->content_type = call->content_type;
    a->consistency = call->consistency;
    a->held = call->held;
    a->refs = 1;
    list_init(&a->lru);
    return a;
}

struct answer *answers_add(struct answers *c, struct bytes key,
                           const struct api_call *call, uint64_t text_index,
                           uint64_t floor, struct shared *take_body,
                           struct shared *take_gzip)
{
    struct answer *a = answer_new(key, call);
    if (!a) {
        shared_unref(take_body);
        shared_unref(take_gzip);
        return NULL;
    }
    a->text_index = text_index;
    a->floor = floor;
    a->digest = call->digest;
    a->body = take_body ? take_body : shared_copy(buf_bytes(&call->body));
    a->gzip = take_gzip;
    if (call->extra_head.n)
        a->extra_head = shared_copy(buf_bytes(&call->extra_head));
    if (!a->body || (call->extra_head.n && !a->extra_head))
        goto fail;

    struct answer *old = map_get(&c->map, a->key);
    if (old)
        answers_drop(c, old);
    if (map_put(&c->map, a->key, a) != ERR_OK)
        goto fail;
    list_add(&c->lru, &a->lru);
    c->bytes += answer_cost(a);
    metric_add(METRIC_CACHE_BYTES, (int64_t)answer_cost(a));
    while (c->bytes > c->max_bytes && c->lru.next != &a->lru) {
        metric_add(METRIC_CACHE_EVICTIONS, 1);
        answers_drop(c, container_of(c->lru.next, struct answer, lru));
    }
    return a;

fail:
    answer_unref(a);
    return NULL;
}

/* Compresses once for all who ask; on failure the plain body is sent. */
static bool answer_gzip(struct answers *c, struct answer *a)
{
    if (a->gzip)
        return true;
    struct buf out;
    buf_init(&out, 0);
    if (http_gzip(buf_bytes(&(struct buf){.p = a->body->data, .n = a->body->n}),
                  &out) == ERR_OK)
        a->gzip = shared_copy(buf_bytes(&out));
    buf_fini(&out);
    if (!a->gzip)
        return false;
    c->bytes += a->gzip->n;
    metric_add(METRIC_CACHE_BYTES, (int64_t)a->gzip->n);
    return true;
}

static struct shared *answer_head(const struct answer *a,
                                  const struct api_self *self, struct conn *c,
                                  uint64_t index, bool gzip, size_t n,
                                  bool known_leader, uint64_t age_ms)
{
    struct api_call call;
    api_call_init(&call);
    call.status = a->status;
    call.content_type = a->content_type;
    call.consistency = a->consistency;
    if (((struct conn_state *)conn_user(c))->mirror && a->consistency)
        call.consistency = "stale";
    call.held = a->held;
    call.consul_headers = true;
    if (a->extra_head)
        buf_put_n(&call.extra_head, a->extra_head->data, a->extra_head->n);
    serving_cache_lines(c, &call.extra_head);
    struct buf out;
    buf_init(&out, 0);
    api_head(&call, self, &out, index, known_leader, age_ms, gzip, n,
             conn_keep_alive(c), conn_http_1_0(c));
    struct shared *head = out.bad ? NULL : shared_copy(buf_bytes(&out));
    buf_fini(&out);
    api_call_fini(&call);
    return head;
}

void serving_answer(struct serving *s, struct conn *c, struct answer *a,
                    uint64_t index, bool gzip)
{
    gzip = gzip && a->body->n >= GZIP_MIN_BYTES && answer_gzip(&s->answers, a);
    struct shared *body = gzip ? a->gzip : a->body;
    const struct conn_state *st = conn_user(c);
    bool usual = conn_keep_alive(c) && !conn_http_1_0(c) &&
                 st->cache == TOLD_NOTHING && !st->subscriber[0] && !st->mirror;
    bool leader;
    uint64_t age_ms = serving_age_ms(s, c, &leader);
    usual = usual && leader && age_ms == 0;

    struct shared *head;
    serving_pin(s);
    const struct api_self *self = s->env.self;
    if (usual && a->head[gzip] && a->head_index[gzip] == index &&
        a->head_generation[gzip] == self->generation) {
        head = shared_ref(a->head[gzip]);
    } else {
        head = answer_head(a, self, c, index, gzip, body->n, leader, age_ms);
        if (usual && head) {
            shared_unref(a->head[gzip]);
            a->head[gzip] = shared_ref(head);
            a->head_index[gzip] = index;
            a->head_generation[gzip] = self->generation;
        }
    }
    serving_unpin(s);
    conn_answer(c, head, head ? shared_ref(body) : NULL);
}
