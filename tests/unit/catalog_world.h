/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* catalog_world - a toy store of rows, a catalog fed from it, and what the
 * catalog must say, computed from the rows alone, slowly and simply. */
#ifndef CATALOG_WORLD_H
#define CATALOG_WORLD_H

#include "test.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/change.h"
#include "catalog/catalog.h"

enum { WORLD_ROWS_MAX = 1024, WORLD_KEY_MAX = 128 };

struct row {
    char key[WORLD_KEY_MAX], scratch[WORLD_KEY_MAX];
    size_t key_n;
    enum record_kind kind;
    struct bytes node, id; /* in scratch */
    char *value;
    size_t value_n;
    uint64_t create_rev, mod_rev;
    struct node_view n;
    struct service_view s;
    struct check_view c;
    struct guard_view g;
};

struct world {
    struct row *rows[WORLD_ROWS_MAX]; /* by kind, node, id */
    size_t n;
    uint64_t revision;
    struct pin_domain pins;
    struct catalog *catalog;
};

/* --- Randomness that a seed repeats -------------------------------------- */

static inline uint64_t any(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed * 0x2545f4914f6cdd1d >> 11;
}

static inline size_t below(uint64_t *seed, size_t n)
{
    return (size_t)(any(seed) % n);
}

static inline bool chance(uint64_t *seed, size_t percent)
{
    return below(seed, 100) < percent;
}

/* --- Rows ---------------------------------------------------------------- */

static inline struct bytes row_value(const struct row *r)
{
    return bytes_of(r->value, r->value_n);
}

static inline struct bytes row_key(const struct row *r)
{
    return bytes_of(r->key, r->key_n);
}

static inline int row_cmp(const struct row *r, enum record_kind kind,
                          struct bytes node, struct bytes id)
{
    if (r->kind != kind)
        return r->kind < kind ? -1 : 1;
    int c = bytes_cmp_fold(r->node, node);
    return c ? c : bytes_cmp_fold(r->id, id);
}

static inline struct row *world_row(const struct world *w,
                                    enum record_kind kind, struct bytes node,
                                    struct bytes id)
{
    for (size_t i = 0; i < w->n; i++)
        if (row_cmp(w->rows[i], kind, node, id) == 0)
            return w->rows[i];
    return NULL;
}

static inline struct row *world_node(const struct world *w, struct bytes node)
{
    return world_row(w, RECORD_NODE, node, (struct bytes){0});
}

static inline struct row *world_key(const struct world *w, struct bytes key)
{
    for (size_t i = 0; i < w->n; i++)
        if (bytes_eq(row_key(w->rows[i]), key))
            return w->rows[i];
    return NULL;
}

static inline void row_free(struct row *r)
{
    free(r->value);
    free(r);
}

static inline void world_insert(struct world *w, struct row *r)
{
    size_t i = w->n;

    assert_true(w->n < WORLD_ROWS_MAX);
    for (; i > 0 && row_cmp(w->rows[i - 1], r->kind, r->node, r->id) > 0; i--)
        w->rows[i] = w->rows[i - 1];
    w->rows[i] = r;
    w->n++;
}

static inline void row_set(struct row *r, struct bytes value, uint64_t rev)
{
    free(r->value);
    r->value = xcopy(value);
    r->value_n = value.n;
    r->mod_rev = rev;
    if (r->kind == RECORD_NODE)
        assert_ok(record_get_node(row_value(r), &r->n));
    if (r->kind == RECORD_SERVICE)
        assert_ok(record_get_service(row_value(r), &r->s));
    if (r->kind == RECORD_CHECK)
        assert_ok(record_get_check(row_value(r), &r->c));
    if (r->kind == RECORD_GUARD)
        assert_ok(record_get_guard(row_value(r), &r->g));
}

/* In the rows only. */
static inline struct row *rows_put(struct world *w, struct bytes key,
                                   struct bytes value)
{
    struct row *r = world_key(w, key);

    if (!r) {
        r = xzalloc(sizeof *r);
        assert_true(key.n <= sizeof r->key);
        memcpy(r->key, key.p, key.n);
        r->key_n = key.n;
        assert_ok(
            key_parse(row_key(r), r->scratch, &r->kind, &r->node, &r->id));
        r->create_rev = w->revision;
        world_insert(w, r);
    }
    row_set(r, value, w->revision);
    return r;
}

static inline bool rows_delete(struct world *w, struct bytes key)
{
    for (size_t i = 0; i < w->n; i++) {
        if (!bytes_eq(row_key(w->rows[i]), key))
            continue;
        row_free(w->rows[i]);
        w->n--;
        memmove(w->rows + i, w->rows + i + 1, (w->n - i) * sizeof w->rows[0]);
        return true;
    }
    return false;
}

/* In rows and catalog, as part of revision w->revision. */
static inline void world_put(struct world *w, struct bytes key,
                             struct bytes value)
{
    struct errtext t = {{0}};
    struct row *r = rows_put(w, key, value);

    if (catalog_put(w->catalog, key, value, r->create_rev, r->mod_rev, &t))
        fail_msg("%s", t.s);
}

static inline void world_delete(struct world *w, struct bytes key)
{
    if (rows_delete(w, key))
        catalog_delete(w->catalog, key, w->revision);
}

static inline const struct snapshot *world_commit(struct world *w)
{
    catalog_commit(w->catalog, w->revision);
    return catalog_current(w->catalog);
}

/* Into this catalog, which may be another, in an order of its own. */
static inline void world_load(struct world *w, struct catalog *c,
                              uint64_t *seed)
{
    struct row *order[WORLD_ROWS_MAX];

    for (size_t i = 0; i < w->n; i++) {
        size_t at = below(seed, i + 1);
        order[i] = order[at];
        order[at] = w->rows[i];
    }
    catalog_load_begin(c);
    for (size_t i = 0; i < w->n; i++)
        assert_ok(catalog_put(c, row_key(order[i]), row_value(order[i]),
                              order[i]->create_rev, order[i]->mod_rev, NULL));
    catalog_load_end(c, w->revision);
}

static inline struct world *world_new(void)
{
    struct world *w = xzalloc(sizeof *w);

    pin_init(&w->pins);
    w->catalog = catalog_new(&w->pins);
    w->revision = 1;
    return w;
}

static inline void world_free(struct world *w)
{
    catalog_free(w->catalog);
    pin_fini(&w->pins);
    for (size_t i = 0; i < w->n; i++)
        row_free(w->rows[i]);
    free(w);
}

/* --- Short forms of puts ------------------------------------------------- */

static inline void world_put_node(struct world *w, const struct node_view *v)
{
    struct buf key = {0}, value = {0};

    key_node(&key, v->name);
    record_put_node(&value, v);
    world_put(w, buf_bytes(&key), buf_bytes(&value));
    buf_fini(&key);
    buf_fini(&value);
}

static inline void world_put_service(struct world *w, const char *node,
                                     const struct service_view *v)
{
    struct buf key = {0}, value = {0};

    key_service(&key, bytes_str(node), v->id);
    record_put_service(&value, v);
    world_put(w, buf_bytes(&key), buf_bytes(&value));
    buf_fini(&key);
    buf_fini(&value);
}

static inline void world_put_check(struct world *w, const char *node,
                                   const struct check_view *v)
{
    struct buf key = {0}, value = {0};

    key_check(&key, bytes_str(node), v->id);
    record_put_check(&value, v);
    world_put(w, buf_bytes(&key), buf_bytes(&value));
    buf_fini(&key);
    buf_fini(&value);
}

static inline void world_put_guard(struct world *w, const struct guard_view *v)
{
    struct buf key = {0}, value = {0};

    key_guard(&key, v->name);
    record_put_guard(&value, v);
    world_put(w, buf_bytes(&key), buf_bytes(&value));
    buf_fini(&key);
    buf_fini(&value);
}

/* --- The whole content as text ------------------------------------------- */

static inline void text_item(struct buf *b, char kind, struct bytes value,
                             uint64_t create_rev, uint64_t mod_rev)
{
    buf_printf(b, "%c %llu %llu ", kind, (unsigned long long)create_rev,
               (unsigned long long)mod_rev);
    buf_lp(b, value);
    buf_putc(b, '\n');
}

static inline void text_row(struct buf *b, char kind, const struct row *r)
{
    text_item(b, kind, row_value(r), r->create_rev, r->mod_rev);
}

static inline void text_check(struct buf *b, char kind,
                              const struct cat_record *r)
{
    struct check_view v;
    struct buf value = {0};

    cat_check_view(r, &v);
    record_put_check(&value, &v);
    text_item(b, kind, buf_bytes(&value), v.create_rev, v.modify_rev);
    buf_fini(&value);
}

static inline void text_instance(struct buf *b, const struct cat_instance *i)
{
    struct service_view v;
    struct buf value = {0};

    cat_service_view(i->service, &v);
    record_put_service(&value, &v);
    buf_lp(b, v.node);
    text_item(b, 'S', buf_bytes(&value), v.create_rev, v.modify_rev);
    for (uint32_t k = 0; k < i->check_count; k++)
        text_check(b, 'c', i->checks[k]);
    buf_fini(&value);
}

static inline void text_node(struct buf *b, const struct cat_node *n)
{
    struct node_view v;
    struct buf value = {0};
    struct tree_iter it;

    cat_node_view(n->record, &v);
    record_put_node(&value, &v);
    text_item(b, 'N', buf_bytes(&value), v.create_rev, v.modify_rev);
    buf_fini(&value);
    tree_first(&n->services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        text_instance(b, i);
    tree_first(&n->checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));)
        text_check(b, 'K', r);
    for (uint32_t k = 0; n->own && k < n->own->n; k++)
        text_check(b, 'O', n->own->v[k]);
}

static inline void text_counts(struct buf *b, size_t nodes, size_t names,
                               size_t instances, size_t checks)
{
    buf_printf(b, "%zu %zu %zu %zu\n", nodes, names, instances, checks);
}

static inline void text_guards(struct buf *b, const struct snapshot *s)
{
    struct guard_view v;
    struct buf value = {0};
    struct tree_iter it;

    snapshot_guards(s, &it);
    for (const struct cat_record *r; (r = snapshot_next_guard(&it));) {
        cat_guard_view(r, &v);
        buf_reset(&value);
        record_put_guard(&value, &v);
        text_item(b, 'G', buf_bytes(&value), v.create_rev, v.modify_rev);
        assert_ptr_equal(snapshot_guard(s, v.name), r);
    }
    buf_fini(&value);
    snapshot_marked(s, &it);
    for (const struct cat_record *r; (r = snapshot_next_marked(&it));)
        text_check(b, 'H', r);
}

static inline void snapshot_text(const struct snapshot *s, struct buf *b)
{
    struct tree_iter it, inner;

    text_counts(b, snapshot_node_count(s), snapshot_name_count(s),
                snapshot_instance_count(s), snapshot_check_count(s));
    snapshot_nodes(s, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));)
        text_node(b, n);
    snapshot_names(s, &it);
    for (const struct cat_name *n; (n = snapshot_next_name(&it));) {
        buf_putc(b, 'M');
        buf_put_fold(b, bytes_of(n->name, n->name_len));
        buf_putc(b, '\n');
        tree_first(&n->instances, &inner);
        for (const struct cat_instance *i; (i = tree_next(&inner));)
            text_instance(b, i);
        buf_printf(b, "damped %u\n", n->damped);
    }
    text_guards(b, s);
}

/* --- The same from the rows ---------------------------------------------- */

static inline void rows_instance(const struct world *w, struct buf *b,
                                 const struct row *service)
{
    buf_lp(b, service->node);
    text_row(b, 'S', service);
    for (size_t i = 0; i < w->n; i++) {
        const struct row *r = w->rows[i];
        if (r->kind == RECORD_CHECK && bytes_eq(r->node, service->node) &&
            bytes_eq_fold(r->c.service_id, service->id))
            text_row(b, 'c', r);
    }
}

static inline void rows_node(const struct world *w, struct buf *b,
                             const struct row *node)
{
    text_row(b, 'N', node);
    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i]->kind == RECORD_SERVICE &&
            bytes_eq(w->rows[i]->node, node->node))
            rows_instance(w, b, w->rows[i]);
    for (int own = 0; own < 2; own++)
        for (size_t i = 0; i < w->n; i++) {
            const struct row *r = w->rows[i];
            if (r->kind == RECORD_CHECK && bytes_eq(r->node, node->node) &&
                (!own || r->c.service_id.n == 0))
                text_row(b, own ? 'O' : 'K', r);
        }
}

static inline bool row_shown(const struct world *w, const struct row *r)
{
    return world_node(w, r->node) != NULL;
}

/* Names of shown services, folded, in order. */
static inline size_t rows_names(const struct world *w, struct bytes *names)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct row *r = w->rows[i];
        size_t at = 0;
        if (r->kind != RECORD_SERVICE || !row_shown(w, r))
            continue;
        while (at < n && bytes_cmp_fold(names[at], r->s.name) < 0)
            at++;
        if (at < n && bytes_eq_fold(names[at], r->s.name))
            continue;
        memmove(names + at + 1, names + at, (n++ - at) * sizeof *names);
        names[at] = r->s.name;
    }
    return n;
}

static inline size_t rows_count(const struct world *w, enum record_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++)
        n += w->rows[i]->kind == kind && row_shown(w, w->rows[i]);
    return n;
}

static inline unsigned rows_damped(const struct world *w,
                                   const struct row *service)
{
    unsigned n = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct row *r = w->rows[i];
        n += r->kind == RECORD_CHECK && r->c.marks.damped &&
             bytes_eq(r->node, service->node) &&
             bytes_eq_fold(r->c.service_id, service->id);
    }
    return n;
}

static inline void world_text(const struct world *w, struct buf *b)
{
    struct bytes names[WORLD_ROWS_MAX];
    size_t n = rows_names(w, names);

    text_counts(b, rows_count(w, RECORD_NODE), n, rows_count(w, RECORD_SERVICE),
                rows_count(w, RECORD_CHECK));
    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i]->kind == RECORD_NODE)
            rows_node(w, b, w->rows[i]);
    for (size_t k = 0; k < n; k++) {
        buf_putc(b, 'M');
        unsigned damped = 0;
        buf_put_fold(b, names[k]);
        buf_putc(b, '\n');
        for (size_t i = 0; i < w->n; i++) {
            const struct row *r = w->rows[i];
            if (r->kind != RECORD_SERVICE || !row_shown(w, r) ||
                !bytes_eq_fold(r->s.name, names[k]))
                continue;
            rows_instance(w, b, r);
            damped += rows_damped(w, r);
        }
        buf_printf(b, "damped %u\n", damped);
    }
    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i]->kind == RECORD_GUARD)
            text_row(b, 'G', w->rows[i]);
    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i]->kind == RECORD_CHECK &&
            (w->rows[i]->c.marks.held || w->rows[i]->c.marks.damped))
            text_row(b, 'H', w->rows[i]);
}

static inline void assert_snapshot_is(const struct snapshot *s,
                                      const struct world *w, const char *when,
                                      uint64_t seed, size_t step)
{
    struct buf got = {0}, want = {0};

    snapshot_text(s, &got);
    world_text(w, &want);
    if (!bytes_eq(buf_bytes(&got), buf_bytes(&want)))
        fail_msg("%s, seed %llu, step %zu: got\n%.*s\nwant\n%.*s", when,
                 (unsigned long long)seed, step, BYTES_ARG(buf_bytes(&got)),
                 BYTES_ARG(buf_bytes(&want)));
    buf_fini(&got);
    buf_fini(&want);
}

#endif
