/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Three persistent trees (base/tree.h) share their items: services and checks
 * by folded ID, and the checks again by service. A snapshot is a copy of their
 * roots. An item is one malloc block, never changed once it is in a tree.
 *
 * Garbage. Items and tree nodes that a change replaces are noted here and
 * handed to the pin domain only after the new snapshot has been stored: the
 * catalog publishes in the same domain, and would otherwise let them be freed
 * while the current local snapshot still shows them. */
#include "local/local.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "local/item.h"
#include "local/record.h"

struct garbage {
    void *p;
    size_t n;
};

/* The state of a check that is not here: its definition is still to come in
 * this load, or configuration has not been read yet. */
struct kept_state {
    struct bytes id;
    enum status status;
    bool live;
    struct bytes output;
    struct check_marks marks;
    char data[];
};

struct local {
    struct pin_domain *pins;
    _Atomic(const struct local_snapshot *) current;
    struct local_snapshot next; /* being built; its version is the edit's */
    struct tree kept;           /* of kept_state; never published */
    struct garbage *garbage;
    size_t garbage_n, garbage_cap;
    struct watch_set changes;
    bool changes_old; /* already published: reset at the next change */
    bool dirty, loading;
};

enum { TREE_NODE_BYTES = 512 /* about; for the garbage metric only */ };

static void key_of_kept(const void *item, struct tree_key *ret)
{
    *ret = (struct tree_key){.a = ((const struct kept_state *)item)->id};
}

static const struct tree_type kept_type = {key_of_kept, true};

/* --- Garbage and edits --------------------------------------------------- */

static void retire(struct local *l, void *take_p, size_t n)
{
    if (l->garbage_n == l->garbage_cap) {
        l->garbage_cap = l->garbage_cap ? l->garbage_cap * 2 : 64;
        l->garbage = xrealloc(l->garbage, l->garbage_cap * sizeof *l->garbage);
    }
    l->garbage[l->garbage_n++] = (struct garbage){take_p, n};
}

static void retire_node(void *ctx, void *take_node)
{
    retire(ctx, take_node, TREE_NODE_BYTES);
}

static struct tree_edit edit_of(struct local *l)
{
    return (struct tree_edit){l->next.version, retire_node, l};
}

static const struct tree_edit kept_edit = {1, NULL, NULL};

/* Trees change in pairs: half a change cannot be taken back, and running out of
 * memory here ends the process like any xmalloc. */
static void must(enum err e)
{
    require(e == ERR_OK);
}

static void touch(struct local *l, enum watch_kind kind, struct bytes name)
{
    if (l->changes_old)
        watch_set_reset(&l->changes);
    l->changes_old = false;
    l->dirty = true;
    watch_set_add(&l->changes, watch_hash((struct watch_key){kind, name}));
}

static void touch_any(struct local *l)
{
    touch(l, WATCH_LOCAL, (struct bytes){0});
}

/* --- Life ---------------------------------------------------------------- */

static const struct local_snapshot *copy_next(struct local *l)
{
    struct local_snapshot *s = xmalloc(sizeof *s);
    *s = l->next;
    return s;
}

struct local *local_new(struct pin_domain *pins)
{
    struct local *l = xzalloc(sizeof *l);
    l->pins = pins;
    l->next.version = 1;
    atomic_store(&l->current, copy_next(l));
    l->next.version = 2;
    return l;
}

static void free_items(struct tree *t)
{
    struct tree_iter it;
    tree_first(t, &it);
    for (void *item; (item = tree_next(&it));)
        free(item);
    tree_free(t);
}

void local_free(struct local *l)
{
    if (!l)
        return;
    free((void *)atomic_load(&l->current));
    tree_free(&l->next.by_service);
    free_items(&l->next.services);
    free_items(&l->next.checks);
    free_items(&l->kept);
    for (size_t i = 0; i < l->garbage_n; i++)
        free(l->garbage[i].p);
    free(l->garbage);
    watch_set_fini(&l->changes);
    free(l);
}

/* --- Services ------------------------------------------------------------ */

static void put_service(struct local *l, struct local_service *take)
{
    struct tree_edit e = edit_of(l);
    struct local_service *old = NULL;

    touch(l, WATCH_LOCAL_SERVICE, take->view.id);
    touch_any(l);
    must(tree_put(&l->next.services, &local_service_type, &e, take,
                  (void **)&old));
    if (old)
        retire(l, old, sizeof *old + old->view.id.n);
}

static void drop_service(struct local *l, struct bytes id)
{
    struct tree_edit e = edit_of(l);
    struct local_service *old = NULL;

    must(tree_del(&l->next.services, &local_service_type, &e,
                  (struct tree_key){.a = id}, (void **)&old));
    if (!old)
        return;
    touch(l, WATCH_LOCAL_SERVICE, id);
    touch_any(l);
    retire(l, old, sizeof *old);
}

/* --- Checks -------------------------------------------------------------- */

static struct local_check *find_check(struct local *l, struct bytes id)
{
    return tree_get(&l->next.checks, &local_check_type,
                    (struct tree_key){.a = id});
}

static void unlink_of_service(struct local *l, const struct local_check *k)
{
    struct tree_edit e = edit_of(l);
    must(tree_del(&l->next.by_service, &local_check_of_type, &e,
                  (struct tree_key){k->def.service_id, k->def.id}, NULL));
}

static void put_check(struct local *l, struct local_check *take)
{
    struct tree_edit e = edit_of(l);
    struct local_check *old = NULL;

    touch_any(l);
    must(tree_put(&l->next.checks, &local_check_type, &e, take, (void **)&old));
    /* It may have been another service's. */
    if (old)
        unlink_of_service(l, old);
    must(tree_put(&l->next.by_service, &local_check_of_type, &e, take, NULL));
    if (old)
        retire(l, old, sizeof *old + old->output.n);
}

static void drop_check(struct local *l, struct bytes id)
{
    struct tree_edit e = edit_of(l);
    struct local_check *old = NULL;

    must(tree_del(&l->next.checks, &local_check_type, &e,
                  (struct tree_key){.a = id}, (void **)&old));
    if (!old)
        return;
    unlink_of_service(l, old);
    touch_any(l);
    retire(l, old, sizeof *old + old->output.n);
}

/* --- States without a check ---------------------------------------------- */

static void keep_state(struct local *l, struct bytes id, enum status status,
                       struct bytes output, const struct check_marks *marks,
                       bool live)
{
    struct kept_state *k = xmalloc(sizeof *k + id.n + output.n);
    void *old = NULL;

    memcpy(k->data, id.p, id.n);
    if (output.n)
        memcpy(k->data + id.n, output.p, output.n);
    k->id = bytes_of(k->data, id.n);
    k->output = bytes_of(k->data + id.n, output.n);
    k->status = status;
    k->marks = *marks;
    k->live = live;
    must(tree_put(&l->kept, &kept_type, &kept_edit, k, &old));
    free(old);
}

static struct kept_state *take_kept(struct local *l, struct bytes id)
{
    void *old = NULL;
    must(tree_del(&l->kept, &kept_type, &kept_edit, (struct tree_key){.a = id},
                  &old));
    return old;
}

/* A definition, with the state that a check of this ID already has. */
static enum err put_definition(struct local *l, struct bytes value,
                               bool from_config)
{
    struct check_def d;
    struct arena a;
    struct kept_state *kept = NULL;

    arena_init(&a, 0);
    enum err e = check_def_get(value, &d, &a);
    if (e == ERR_OK && d.id.n == 0)
        e = ERR_CORRUPT;
    if (e != ERR_OK)
        goto out;
    enum status status = d.status.n ? status_of(d.status) : STATUS_CRITICAL;
    struct bytes output = {0};
    struct check_marks marks = {0};
    const struct local_check *old = find_check(l, d.id);
    kept = take_kept(l, d.id);
    if (old) {
        status = old->status;
        output = old->output;
        marks = old->marks;
    } else if (kept) {
        status = kept->status;
        output = kept->output;
        marks = kept->marks;
    }
    put_check(l, local_check_new(value, status, output, &marks, from_config));
out:
    free(kept);
    arena_fini(&a);
    return e;
}

/* --- Feed ---------------------------------------------------------------- */

/* All items, the tree emptied. */
static void **take_all(struct local *l, struct tree *t, size_t *ret_n)
{
    struct tree_edit e = edit_of(l);
    void **all = xmalloc((t->n + 1) * sizeof *all);
    struct tree_iter it;
    size_t n = 0;

    tree_first(t, &it);
    for (void *item; (item = tree_next(&it));)
        all[n++] = item;
    tree_retire(t, &e);
    *ret_n = n;
    return all;
}

void local_load_begin(struct local *l)
{
    size_t service_n, check_n, n;
    void **services = take_all(l, &l->next.services, &service_n);
    void **checks = take_all(l, &l->next.checks, &check_n);

    free(take_all(l, &l->next.by_service, &n));
    for (size_t i = 0; i < service_n; i++) {
        struct local_service *v = services[i];
        if (v->from_config)
            put_service(l, v);
        else
            retire(l, v, sizeof *v);
    }
    for (size_t i = 0; i < check_n; i++) {
        struct local_check *k = checks[i];
        if (k->from_config) {
            put_check(l, k);
            continue;
        }
        keep_state(l, k->def.id, k->status, k->output, &k->marks, true);
        retire(l, k, sizeof *k);
    }
    free(services);
    free(checks);
    touch_any(l);
    l->changes.all = true;
    l->loading = true;
}

static enum err put_stored_service(struct local *l, struct bytes value)
{
    struct service_view v;
    struct bytes token;
    enum err e = local_service_get(value, &v, &token);

    if (e == ERR_OK && v.id.n == 0)
        e = ERR_CORRUPT;
    if (e == ERR_OK)
        put_service(l, local_service_new(value, false));
    return e;
}

static enum err put_stored_state(struct local *l, struct bytes id,
                                 struct bytes value)
{
    struct local_state s;
    enum err e = local_state_get(value, &s);

    if (e != ERR_OK || !l->loading)
        return e;
    const struct check_marks marks = {.cause = s.cause, .since_ms = s.since_ms};
    if (find_check(l, id))
        return local_set_state(l, id, s.status, s.output, &marks);
    const struct kept_state *kept =
        tree_get(&l->kept, &kept_type, (struct tree_key){.a = id});
    if (!kept || !kept->live)
        keep_state(l, id, s.status, s.output, &marks, false);
    return ERR_OK;
}

enum err local_put(struct local *l, struct bytes key, struct bytes value,
                   struct errtext *t)
{
    enum local_key_kind kind;
    struct bytes id;
    char *scratch = xmalloc(key.n);
    enum err e = local_key_parse(key, scratch, &kind, &id);

    if (e != ERR_OK)
        goto out;
    switch (kind) {
    case LOCAL_KEY_SERVICE:
        e = put_stored_service(l, value);
        break;
    case LOCAL_KEY_CHECK:
        e = put_definition(l, value, false);
        break;
    case LOCAL_KEY_STATE:
        e = put_stored_state(l, id, value);
        break;
    }
out:
    if (e != ERR_OK)
        errtext_set(t, "key \"%.*s\" of the agent's store: %s",
                    BYTES_ARG(bytes_head(key, 80)), err_text(e));
    free(scratch);
    return e;
}

void local_delete(struct local *l, struct bytes key)
{
    enum local_key_kind kind;
    struct bytes id;
    char *scratch = xmalloc(key.n);

    if (local_key_parse(key, scratch, &kind, &id) != ERR_OK)
        goto out;
    const struct local_service *v = tree_get(
        &l->next.services, &local_service_type, (struct tree_key){.a = id});
    const struct local_check *k = find_check(l, id);
    switch (kind) {
    case LOCAL_KEY_SERVICE:
        if (v && !v->from_config)
            drop_service(l, id);
        break;
    case LOCAL_KEY_CHECK:
        if (k && !k->from_config)
            drop_check(l, id);
        break;
    case LOCAL_KEY_STATE:
        free(take_kept(l, id));
        break;
    }
out:
    free(scratch);
}

/* --- Configuration, live states ------------------------------------------ */

enum err local_put_config_service(struct local *l, const struct service_view *v)
{
    struct buf b = {0};
    local_service_put(&b, v, (struct bytes){0});
    enum err e = b.bad ? ERR_NOMEM : ERR_OK;
    if (e == ERR_OK)
        put_service(l, local_service_new(buf_bytes(&b), true));
    buf_fini(&b);
    return e;
}

enum err local_put_config_check(struct local *l, const struct check_def *d)
{
    struct buf b = {0};
    check_def_put(&b, d);
    enum err e = b.bad ? ERR_NOMEM : put_definition(l, buf_bytes(&b), true);
    buf_fini(&b);
    return e;
}

void local_drop_config_service(struct local *l, struct bytes id)
{
    const struct local_service *v = tree_get(
        &l->next.services, &local_service_type, (struct tree_key){.a = id});
    if (v && v->from_config)
        drop_service(l, id);
}

void local_drop_config_check(struct local *l, struct bytes id)
{
    const struct local_check *k = find_check(l, id);
    if (k && k->from_config)
        drop_check(l, id);
}

enum err local_set_state(struct local *l, struct bytes check_id,
                         enum status status, struct bytes output,
                         const struct check_marks *marks)
{
    const struct check_marks none = {0};
    const struct local_check *old = find_check(l, check_id);

    if (!old)
        return ERR_NOT_FOUND;
    if (!marks)
        marks = &none;
    if (old->status != status || !bytes_eq(old->output, output) ||
        !marks_equal(&old->marks, marks))
        put_check(l, local_check_with_state(old, status, output, marks));
    return ERR_OK;
}

/* --- Publishing ---------------------------------------------------------- */

bool local_commit(struct local *l)
{
    l->loading = false;
    if (!l->dirty)
        return false;
    const struct local_snapshot *old = atomic_load(&l->current);
    retire(l, (void *)old, sizeof *old);
    atomic_store(&l->current, copy_next(l));
    l->next.version++;
    watch_set_sort(&l->changes);
    l->changes_old = true;
    l->dirty = false;
    for (size_t i = 0; i < l->garbage_n; i++)
        pin_retire(l->pins, l->garbage[i].p, l->garbage[i].n);
    l->garbage_n = 0;
    pin_publish(l->pins);
    return true;
}

const struct watch_set *local_changes(const struct local *l)
{
    return &l->changes;
}

const struct local_snapshot *local_current(const struct local *l)
{
    return atomic_load(&l->current);
}
