/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/catalog.h"

#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "catalog/impl.h"

/* --- Life ---------------------------------------------------------------- */

static void retire(void *ctx, void *take_node)
{
    garbage_add(ctx, take_node);
}

struct catalog *catalog_new(struct pin_domain *pins)
{
    struct catalog *c = xzalloc(sizeof *c);
    struct snapshot *empty = xzalloc(sizeof *empty);

    c->pins = pins;
    c->edit = (struct tree_edit){.id = 1, .retire = retire, .ctx = c};
    c->published = true;
    list_init(&c->tombs);
    atomic_init(&c->current, empty);
    return c;
}

static void drop_now(struct catalog *c, void *take_p)
{
    (void)c;
    free(take_p);
}

void catalog_free(struct catalog *c)
{
    if (!c)
        return;
    if (c->loading)
        load_give_up(c);
    version_drop(c, c->loading ? &c->before_load : &c->next, drop_now);
    ghosts_free(c);
    tombs_clear(c);
    for (size_t i = 0; i < c->garbage_n; i++)
        free(c->garbage[i]);
    free(c->garbage);
    watch_set_fini(&c->changes);
    journal_fini(c);
    buf_fini(&c->parsed);
    buf_fini(&c->tomb_key);
    free(atomic_load(&c->current));
    free(c);
}

/* --- Publishing ---------------------------------------------------------- */

/* The first change after a version begins a new set. */
static void begin(struct catalog *c)
{
    if (c->published)
        watch_set_reset(&c->changes);
    c->published = false;
}

enum { KEPT_GARBAGE_MAX = 4096 /* room kept from one version to the next */ };

static void hand_over_garbage(struct catalog *c)
{
    for (size_t i = 0; i < c->garbage_n; i++)
        pin_retire(c->pins, c->garbage[i], malloc_usable_size(c->garbage[i]));
    c->garbage_n = 0;
    if (c->garbage_cap > KEPT_GARBAGE_MAX) {
        free(c->garbage);
        c->garbage = NULL;
        c->garbage_cap = 0;
    }
}

/* All there is is in its place in the version being built. */
static bool is_built(const struct catalog *c)
{
    return !c->loading || c->walk.stage == LOAD_BUILT;
}

static void publish(struct catalog *c, uint64_t revision)
{
    struct snapshot *s = xmalloc(sizeof *s);

    c->next.revision = revision;
    *s = c->next;
    garbage_add(c, atomic_load_explicit(&c->current, memory_order_relaxed));
    atomic_store(&c->current, s);
    hand_over_garbage(c);
    pin_publish(c->pins);
    watch_set_sort(&c->changes);
    c->edit.id++;
    c->published = true;
}

void catalog_commit(struct catalog *c, uint64_t revision)
{
    require(!c->loading);
    begin(c);
    tombs_trim(c);
    journal_publish(c, revision);
    publish(c, revision);
}

void catalog_context(struct catalog *c, uint64_t wall_ms, bool reaped)
{
    c->wall_s = (uint32_t)(wall_ms / 1000);
    c->reaped = reaped;
}

void catalog_load_begin(struct catalog *c)
{
    uint64_t floor = c->next.floor;

    catalog_context(c, 0, false);
    begin(c);
    if (c->loading)
        load_give_up(c);
    else
        c->before_load = c->next;
    ghosts_free(c);
    tombs_clear(c);
    c->next = (struct snapshot){.floor = floor};
    c->loading = true;
    c->edit.id++;
}

void catalog_load_anew(struct catalog *c)
{
    catalog_load_begin(c);
    c->next.floor = 0;
}

bool catalog_load_build(struct catalog *c, uint64_t revision, size_t *left)
{
    require(c->loading);
    return load_build(c, revision, left);
}

void catalog_load_end(struct catalog *c, uint64_t revision)
{
    require(c->loading);
    load_build_all(c, revision);
    c->loading = false;
    c->walk.stage = LOAD_ROWS;
    version_drop(c, &c->before_load, garbage_add);
    if (c->next.floor < revision)
        c->next.floor = revision;
    journal_clear(c, revision);
    c->changes.all = true;
    publish(c, revision);
}

const struct watch_set *catalog_changes(const struct catalog *c)
{
    return &c->changes;
}

const struct snapshot *catalog_current(const struct catalog *c)
{
    return atomic_load(&c->current);
}

/* --- Put and delete ------------------------------------------------------ */

/* Is it such a value, and does the key fit? */
static bool value_fits(enum record_kind kind, struct bytes value,
                       struct bytes node, struct bytes id, size_t *ret_id_n)
{
    struct bytes have = {NULL, 0};
    enum err e = ERR_CORRUPT;
    struct node_view n;
    struct service_view s;
    struct check_view k;
    struct guard_view g;
    struct query_view q;
    struct coordinate_view x;

    switch (kind) {
    case RECORD_NODE:
        e = record_get_node(value, &n);
        have = n.name;
        id = node;
        break;
    case RECORD_SERVICE:
        e = record_get_service(value, &s);
        have = s.id;
        break;
    case RECORD_CHECK:
        e = record_get_check(value, &k);
        have = k.id;
        break;
    case RECORD_GUARD:
        e = record_get_guard(value, &g);
        have = g.name;
        id = node;
        break;
    case RECORD_QUERY:
        e = record_get_query(value, &q);
        have = q.id;
        id = node;
        break;
    case RECORD_COORDINATE:
        e = record_get_coordinate(value, &x);
        have = x.node;
        id = node;
        break;
    case RECORD_NODE_ID:
    case RECORD_QUERY_NAME:
        break;
    }
    *ret_id_n = have.n;
    return e == ERR_OK && bytes_eq_fold(have, id) && have.n <= UINT16_MAX &&
           node.n <= UINT16_MAX && value.n <= RECORD_VALUE_MAX;
}

static struct cat_record *record_new(enum record_kind kind, struct bytes node,
                                     size_t id_n, struct bytes value,
                                     uint64_t create_rev, uint64_t mod_rev)
{
    bool is_own = kind == RECORD_NODE || kind == RECORD_GUARD || aside_is(kind);
    size_t node_n = is_own ? 0 : node.n;
    struct cat_record *r = xmalloc(sizeof *r + node_n + value.n);
    struct check_view v = {0};

    if (kind == RECORD_CHECK && record_get_check(value, &v) != ERR_OK)
        v.marks = (struct check_marks){0}; /* value_fits has looked */

    r->create_rev = create_rev;
    r->mod_rev = mod_rev;
    r->value_n = value.n & RECORD_VALUE_MAX;
    r->held = v.marks.held;
    r->damped = v.marks.damped;
    r->node_n = (uint16_t)node_n;
    r->id_n = (uint16_t)id_n;
    memcpy(r->data, node.p, node_n);
    memcpy(r->data + node_n, value.p, value.n);
    return r;
}

static enum err parse(struct catalog *c, struct bytes key,
                      enum record_kind *ret_kind, struct bytes *ret_node,
                      struct bytes *ret_id)
{
    buf_reset(&c->parsed);
    char *space = buf_room(&c->parsed, key.n + 1);

    return space ? key_parse(key, space, ret_kind, ret_node, ret_id)
                 : ERR_NOMEM;
}

static void put(struct catalog *c, enum record_kind kind, struct bytes node,
                struct cat_record *take)
{
    if (aside_is(kind)) {
        aside_put(c, kind, take);
        return;
    }
    if (c->loading) {
        load_put(c, kind, node, take);
        return;
    }
    switch (kind) {
    case RECORD_NODE:
        apply_node(c, node, take);
        break;
    case RECORD_SERVICE:
        apply_service(c, node, take);
        break;
    case RECORD_CHECK:
        apply_check(c, node, take);
        break;
    case RECORD_GUARD:
        apply_guard(c, take);
        break;
    case RECORD_NODE_ID:
    case RECORD_QUERY_NAME:
    case RECORD_QUERY:
    case RECORD_COORDINATE:
        break;
    }
}

static void del(struct catalog *c, enum record_kind kind, struct bytes node,
                struct bytes id, uint64_t rev)
{
    if (aside_is(kind)) {
        aside_delete(c, kind, node, rev);
        return;
    }
    if (c->loading) {
        load_delete(c, kind, node, id);
        return;
    }
    switch (kind) {
    case RECORD_NODE:
        unapply_node(c, node, rev);
        break;
    case RECORD_SERVICE:
        unapply_service(c, node, id, rev);
        break;
    case RECORD_CHECK:
        unapply_check(c, node, id, rev);
        break;
    case RECORD_GUARD:
        unapply_guard(c, node, rev);
        break;
    case RECORD_NODE_ID:
    case RECORD_QUERY_NAME:
    case RECORD_QUERY:
    case RECORD_COORDINATE:
        break;
    }
}

enum { KEY_SHOWN_BYTES = 80 /* of a key in a message */ };

enum err catalog_put(struct catalog *c, struct bytes key, struct bytes value,
                     uint64_t create_rev, uint64_t mod_rev, struct errtext *t)
{
    enum record_kind kind;
    struct bytes node, id, shown = bytes_head(key, KEY_SHOWN_BYTES);
    size_t id_n;

    require(c->walk.stage == LOAD_ROWS);
    begin(c);
    enum err e = parse(c, key, &kind, &node, &id);
    if (e != ERR_OK) {
        errtext_set(t, "key \"%.*s\" is none of the catalog's",
                    BYTES_ARG(shown));
        return e;
    }
    /* Guards only: the records themselves tell their IDs and names. */
    if (kind == RECORD_NODE_ID || kind == RECORD_QUERY_NAME)
        return ERR_OK;
    if (!value_fits(kind, value, node, id, &id_n)) {
        errtext_set(t, "the value of key \"%.*s\" (%zu bytes) is damaged",
                    BYTES_ARG(shown), value.n);
        del(c, kind, node, id, mod_rev); /* what it was it is no more */
        return ERR_CORRUPT;
    }
    put(c, kind, node,
        record_new(kind, node, id_n, value, create_rev, mod_rev));
    return ERR_OK;
}

void catalog_delete(struct catalog *c, struct bytes key, uint64_t mod_rev)
{
    enum record_kind kind;
    struct bytes node, id;

    require(c->walk.stage == LOAD_ROWS);
    begin(c);
    if (parse(c, key, &kind, &node, &id) == ERR_OK)
        del(c, kind, node, id, mod_rev);
}

void catalog_renew_name(struct catalog *c, struct bytes name, uint64_t rev)
{
    require(!c->loading);
    begin(c);
    renew_name(c, name, rev);
}

void catalog_set_whole(struct catalog *c, struct bytes name, bool whole)
{
    require(is_built(c));
    begin(c);
    whole_name(c, name, whole);
}

void catalog_forget_name(struct catalog *c, struct bytes name)
{
    require(!c->loading);
    begin(c);
    edit_forget_name(c, name);
}

void catalog_renew_node(struct catalog *c, struct bytes node, uint64_t rev)
{
    require(!c->loading);
    begin(c);
    renew_node(c, node, rev);
}

void catalog_let_in(struct catalog *c, struct bytes node,
                    struct bytes service_id, uint32_t let_in_s)
{
    require(is_built(c));
    begin(c);
    apply_let_in(c, node, service_id, let_in_s);
}
