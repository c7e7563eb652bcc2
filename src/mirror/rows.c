/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/check.h"
#include "mirror/impl.h"

void rows_init(struct rows *r)
{
    *r = (struct rows){0};
    list_init(&r->dirty);
    list_init(&r->let);
}

void row_free(struct rows *r, struct row *w)
{
    (void)map_del(&r->by_key, bytes_of(w->key, w->key_n));
    list_del(&w->dirty);
    list_del(&w->let);
    r->bytes -= sizeof *w + w->key_n + w->value_n;
    free(w->value);
    free(w);
}

void rows_fini(struct rows *r)
{
    size_t at = 0;
    void *w;

    while (map_next(&r->by_key, &at, NULL, &w)) {
        free(((struct row *)w)->value);
        free(w);
    }
    map_fini(&r->by_key);
    r->bytes = 0;
}

void rows_free_unused(struct rows *r)
{
    struct list *it = r->dirty.next;

    while (it != &r->dirty) {
        struct row *w = container_of(it, struct row, dirty);
        it = it->next;
        if (w->refs == 0)
            row_free(r, w);
    }
}

void row_soil(struct rows *r, struct row *w)
{
    if (list_empty(&w->dirty))
        list_add(&r->dirty, &w->dirty);
}

/* What happens to its checks may change what the catalog has of it: it is told
 * again each time. */
void row_let_in(struct rows *r, struct entry *e, uint32_t let_in_s)
{
    if (!e->name)
        return;
    e->name->let_in_s = let_in_s;
    if (list_empty(&e->name->let))
        list_add(&r->let, &e->name->let);
}

void row_forget_let_in(struct rows *r, struct row *w)
{
    if (w->let_in_s && list_empty(&w->let))
        list_add(&r->let, &w->let);
    w->let_in_s = 0;
}

static struct row *row_need(struct rows *r, struct bytes key)
{
    struct row *w = map_get(&r->by_key, key);

    if (w)
        return w;
    w = xzalloc(sizeof *w + key.n);
    list_init(&w->dirty);
    list_init(&w->let);
    w->key_n = key.n;
    memcpy(w->key, key.p, key.n);
    r->bytes += sizeof *w + key.n;
    bool memory = map_put(&r->by_key, bytes_of(w->key, w->key_n), w) == ERR_OK;
    require(memory);
    return w;
}

/* An entry told earlier may show an older state of a row that others share. */
static void row_set(struct rows *r, struct row *w, struct bytes value,
                    const struct row_in *in)
{
    if ((uint64_t)in->modify <= w->mod_rev)
        return;
    free(w->value);
    r->bytes = r->bytes - w->value_n + value.n;
    w->value = xcopy(value);
    w->value_n = value.n;
    w->create_rev = (uint64_t)in->create;
    w->mod_rev = (uint64_t)in->modify;
    row_soil(r, w);
}

static void release(struct rows *r, struct row *w)
{
    require(w->refs > 0);
    if (--w->refs == 0)
        row_soil(r, w);
}

static enum err take_row(struct rows *r, const struct row_in *in,
                         struct buf *value, struct row **ret, struct errtext *t)
{
    buf_reset(value);
    if (in->create < 1 || in->modify < 1 || !in->key.n ||
        base64_get(in->value, value) != ERR_OK || value->bad) {
        errtext_set(t, "row \"%.*s\" is damaged",
                    BYTES_ARG(bytes_head(in->key, 64)));
        return ERR_BAD;
    }
    struct row *w = row_need(r, in->key);
    row_set(r, w, buf_bytes(value), in);
    w->refs++;
    *ret = w;
    return ERR_OK;
}

enum err entry_new(struct rows *r, struct bytes key, const struct row_in *v,
                   size_t n, struct entry **ret, struct errtext *t)
{
    struct entry *e = xzalloc(sizeof *e + n * sizeof e->rows[0]);
    struct buf value;
    enum err err = ERR_OK;

    buf_init(&value, 0);
    e->key = xcopy(key);
    e->key_n = key.n;
    r->bytes += sizeof *e + key.n;
    for (size_t i = 0; i < n && err == ERR_OK; i++) {
        err = take_row(r, &v[i], &value, &e->rows[i], t);
        if (err != ERR_OK)
            break;
        e->n++;
        if (e->rows[i]->key[0] == 's')
            e->name = e->rows[i];
    }
    buf_fini(&value);
    if (err != ERR_OK) {
        entry_free(r, e);
        return err;
    }
    *ret = e;
    return ERR_OK;
}

void entry_let_go(struct rows *r, struct entry *e, size_t i)
{
    struct row *w = e->rows[i];

    if (e->name == w)
        e->name = NULL;
    memmove(&e->rows[i], &e->rows[i + 1], (e->n - i - 1) * sizeof e->rows[0]);
    e->n--;
    release(r, w);
}

void entry_free(struct rows *r, struct entry *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < e->n; i++)
        release(r, e->rows[i]);
    r->bytes -= sizeof *e + e->key_n;
    free(e->key);
    free(e);
}

void entries_put(struct rows *r, struct map *to, struct entry *take)
{
    struct bytes key = bytes_of(take->key, take->key_n);
    struct entry *old = map_del(to, key);
    bool memory = map_put(to, key, take) == ERR_OK;

    require(memory);
    entry_free(r, old);
}

void entries_del(struct rows *r, struct map *from, struct bytes key)
{
    entry_free(r, map_del(from, key));
}

void entries_clear(struct rows *r, struct map *m)
{
    size_t at = 0;
    void *e;

    while (map_next(m, &at, NULL, &e))
        entry_free(r, e);
    map_fini(m);
    *m = (struct map){0};
}
