/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* change - what one change may be, and how it is answered. */
#include "base/metric.h"
#include "store/impl.h"
#include "store/marker.h"

enum {
    META_ESCAPED_MAX = 6, /* bytes of JSON for one byte */
    META_EXTRA_BYTES = 16,
};

/* --- What one change may be ---------------------------------------------- */

size_t store_cost(const struct store_change *c)
{
    size_t n = c->guard_count > c->op_count ? c->guard_count : c->op_count;

    return n ? n : 1;
}

size_t change_bytes(const struct store_change *c)
{
    size_t n =
        c->meta.n * META_ESCAPED_MAX + META_EXTRA_BYTES + marker_bytes(c);

    for (size_t i = 0; i < c->guard_count; i++)
        n += c->guards[i].key.n + DATA_PREFIX_BYTES;
    for (size_t i = 0; i < c->op_count; i++)
        n += c->ops[i].key.n + c->ops[i].value.n + DATA_PREFIX_BYTES;
    return n;
}

static enum err check_key(struct bytes key, bool prefix, bool guard,
                          struct errtext *t)
{
    if (key.n > STORE_KEY_MAX) {
        errtext_set(t, "a key of %zu bytes, the limit is %d", key.n,
                    STORE_KEY_MAX);
        return ERR_LIMIT;
    }
    if (key.n == 0 && !prefix) {
        errtext_set(t, "an empty key");
        return ERR_BAD;
    }
    if (key.n && key.p[0] == FENCE_BYTE && !guard) {
        errtext_set(t, "a key that begins with NUL is the store's own");
        return ERR_BAD;
    }
    return ERR_OK;
}

static enum err check_keys(const struct store_change *c, struct errtext *t)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < c->guard_count && e == ERR_OK; i++)
        e = check_key(c->guards[i].key, c->guards[i].kind == GUARD_QUIET, true,
                      t);
    for (size_t i = 0; i < c->op_count && e == ERR_OK; i++) {
        const struct store_op *op = &c->ops[i];

        e = check_key(op->key, op->kind == OP_DELETE_PREFIX, false, t);
        if (e == ERR_OK && op->value.n > STORE_VALUE_MAX) {
            errtext_set(t,
                        "a value of %zu bytes under \"%.*s\", the limit is %d",
                        op->value.n, BYTES_ARG(bytes_head(op->key, 64)),
                        STORE_VALUE_MAX);
            e = ERR_LIMIT;
        }
    }
    return e;
}

enum err change_check(const struct store_change *c, struct errtext *t)
{
    const size_t cost_max = STORE_GROUP_OPS_MAX - GROUP_OWN_PUTS_MAX - 1;
    const size_t bytes_max = STORE_GROUP_BYTES_MAX - GROUP_OWN_BYTES;

    if (store_cost(c) > cost_max) {
        errtext_set(t, "a change of %zu operations or guards, the limit is %zu",
                    store_cost(c), cost_max);
        return ERR_LIMIT;
    }
    if (c->meta.n > STORE_META_MAX) {
        errtext_set(t, "meta of %zu bytes, the limit is %d", c->meta.n,
                    STORE_META_MAX);
        return ERR_LIMIT;
    }
    if (change_bytes(c) > bytes_max) {
        errtext_set(t, "a change of %zu bytes, the limit is %zu",
                    change_bytes(c), bytes_max);
        return ERR_LIMIT;
    }
    return check_keys(c, t);
}

/* --- Answers ------------------------------------------------------------- */

void change_answer(struct store *s, struct store_change *c,
                   const struct store_outcome *o)
{
    switch (o->verdict) {
    case STORE_COMMITTED:
        metric_add(METRIC_STORE_CHANGES, 1);
        break;
    case STORE_CONFLICT:
        metric_add(METRIC_STORE_CONFLICTS, 1);
        break;
    case STORE_REFUSED:
        metric_add(METRIC_STORE_REFUSED, 1);
        break;
    case STORE_UNAVAILABLE:
        break;
    }
    /* First, because done may submit the next one. */
    atomic_fetch_sub(&s->submitted, 1);
    c->done(c, o);
}

void change_refuse_twice(struct store *s, struct store_change *c,
                         struct bytes key)
{
    struct store_outcome o = {
        .verdict = STORE_REFUSED,
        .why = ERR_BAD,
        .revision = revision_out(s, s->delivered),
    };

    errtext_set(&o.text, "the change writes \"%.*s\" twice",
                BYTES_ARG(bytes_head(key, 64)));
    change_answer(s, c, &o);
}

void changes_refuse_waiting(struct store *s, enum err why, const char *text)
{
    struct store_outcome o = {
        .verdict = STORE_UNAVAILABLE,
        .why = why,
        .revision = revision_out(s, s->delivered),
    };
    struct list all;

    errtext_set(&o.text, "%s", text);
    list_init(&all);
    list_move_all(&all, &s->internal);
    list_move_all(&all, &s->waiting);
    while (!list_empty(&all)) {
        struct list *it = all.next;

        list_del(it);
        change_answer(s, container_of(it, struct store_change, link), &o);
    }
}
