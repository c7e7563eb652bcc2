/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Which instances the guard has let go although a silent check of their node is
 * held (catalog/guard.h) stands in one record per service. Sent with each
 * instance it would be as large as the square of their number: each brings its
 * own line of it instead, and here the record is put together. The windows'
 * counts are not in it: nobody plans on a mirror. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "catalog/guard.h"
#include "mirror/impl.h"

struct out {
    uint64_t since;
    size_t key_n;
    char key[];
};

static struct outs *outs_need(struct mirror *m, struct bytes name)
{
    struct buf folded = {0};

    buf_put_fold(&folded, name);
    struct outs *o = map_get(&m->outs, buf_bytes(&folded));
    if (!o) {
        o = xzalloc(sizeof *o + folded.n);
        o->name_n = folded.n;
        memcpy(o->name, folded.p, folded.n);
        bool memory =
            map_put(&m->outs, bytes_of(o->name, o->name_n), o) == ERR_OK;
        require(memory);
    }
    buf_fini(&folded);
    return o;
}

/* Behind "s/": the same parts as in the record's keys. */
static struct bytes instance_key(const struct entry *e)
{
    return bytes_skip(bytes_of(e->name->key, e->name->key_n), 2);
}

void outs_tell(struct mirror *m, const struct entry *e, uint64_t since)
{
    struct service_view v;

    if (!e->name || (!since && m->outs.n == 0))
        return;
    if (record_get_service(bytes_of(e->name->value, e->name->value_n), &v) !=
        ERR_OK)
        return; /* the catalog will not take it either */
    struct outs *o = outs_need(m, v.name);
    struct bytes key = instance_key(e);
    struct out *was = map_get(&o->since, key);
    if (was ? was->since == since : since == 0)
        return;
    o->dirty = true;
    free(map_del(&o->since, key));
    if (!since || o->since.n >= GUARD_OUT_MAX)
        return;
    struct out *in = xzalloc(sizeof *in + key.n);
    in->since = since;
    in->key_n = key.n;
    memcpy(in->key, key.p, key.n);
    bool memory =
        map_put(&o->since, bytes_of(in->key, in->key_n), in) == ERR_OK;
    require(memory);
}

static int by_key(const void *a, const void *b)
{
    const struct out *x = *(const struct out *const *)a;
    const struct out *y = *(const struct out *const *)b;

    return bytes_cmp(bytes_of(x->key, x->key_n), bytes_of(y->key, y->key_n));
}

static void put_record(struct mirror *m, const struct outs *o,
                       struct bytes record_key, uint64_t revision)
{
    const struct out **v = xmalloc(o->since.n * sizeof *v);
    struct buf out = {0}, value = {0};
    size_t n = 0, at = 0;
    void *p;

    while (map_next(&o->since, &at, NULL, &p))
        v[n++] = p;
    qsort(v, n, sizeof *v, by_key);
    for (size_t i = 0; i < n; i++)
        packed_put_out(&out, bytes_of(v[i]->key, v[i]->key_n), v[i]->since);
    record_put_guard(
        &value, &(struct guard_view){.name = bytes_of(o->name, o->name_n),
                                     .out = {buf_bytes(&out), (uint32_t)n}});
    enum err e = catalog_put(m->catalog, record_key, buf_bytes(&value),
                             revision, revision, &m->last_damage);
    m->damaged += e != ERR_OK;
    free(v);
    buf_fini(&out);
    buf_fini(&value);
}

void outs_commit(struct mirror *m, uint64_t revision, bool all)
{
    struct buf key = {0};
    size_t at = 0;
    void *p;

    while (map_next(&m->outs, &at, NULL, &p)) {
        struct outs *o = p;
        if (!o->dirty && !(all && o->since.n))
            continue;
        buf_reset(&key);
        key_guard(&key, bytes_of(o->name, o->name_n));
        if (o->since.n)
            put_record(m, o, buf_bytes(&key), revision);
        else if (o->shown)
            catalog_delete(m->catalog, buf_bytes(&key), revision);
        o->shown = o->since.n > 0;
        o->dirty = false;
    }
    buf_fini(&key);
}

static void free_outs(struct outs *o)
{
    size_t k = 0;
    void *out;

    while (map_next(&o->since, &k, NULL, &out))
        free(out);
    map_fini(&o->since);
    free(o);
}

void outs_forget(struct mirror *m, struct bytes name)
{
    struct outs *o = map_get(&m->outs, name);

    if (!o || o->since.n || o->dirty)
        return;
    (void)map_del(&m->outs, name);
    free_outs(o);
}

void outs_clear(struct mirror *m)
{
    size_t at = 0;
    void *p;

    while (map_next(&m->outs, &at, NULL, &p))
        free_outs(p);
    map_fini(&m->outs);
    m->outs = (struct map){0};
}
