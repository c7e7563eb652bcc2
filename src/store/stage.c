/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/stage.h"

#include <stdlib.h>

#include "base/alloc.h"

enum { STAGE_FIRST_CAP = 64, STAGE_KEPT_CAP = 4096 };

void stage_fini(struct stage *s)
{
    stage_reset(s);
    free(s->events);
    free(s->slots);
    *s = (struct stage){0};
}

static struct store_event *room(struct stage *s)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : STAGE_FIRST_CAP;
        s->events = xrealloc(s->events, s->cap * sizeof *s->events);
        s->slots = xrealloc(s->slots, s->cap * sizeof *s->slots);
    }
    return &s->events[s->n];
}

void stage_put(struct stage *s, const struct index *x, struct bytes key,
               struct bytes value, uint64_t revision)
{
    struct store_event *ev = room(s);
    struct index_entry *old = index_get(x, key);

    *ev = (struct store_event){
        .key = key,
        .value = value,
        .create_rev = old ? old->create_rev : revision,
        .mod_rev = revision,
    };
    if (old)
        old->staged = true;
    s->slots[s->n++] = (struct stage_slot){.old = old};
}

static void stage_entry_delete(struct stage *s, struct index_entry *old,
                               uint64_t revision)
{
    struct store_event *ev = room(s);

    *ev = (struct store_event){
        .is_delete = true,
        .key = index_key(old),
        .mod_rev = revision,
    };
    old->staged = true;
    s->slots[s->n++] = (struct stage_slot){.old = old};
}

/* What is not there, or goes already, is not deleted again: no event. */
void stage_delete(struct stage *s, const struct index *x, struct bytes key,
                  uint64_t revision)
{
    struct index_entry *old = index_get(x, key);

    if (old && !old->staged)
        stage_entry_delete(s, old, revision);
}

static void stage_delete_prefix(struct stage *s, const struct index *x,
                                struct bytes prefix, uint64_t revision)
{
    struct index_iter it;

    index_seek(x, prefix, &it);
    for (struct index_entry *e; (e = index_next(&it));) {
        if (!e->staged)
            stage_entry_delete(s, e, revision);
    }
}

static void stage_ops(struct stage *s, const struct index *x,
                      const struct store_op *ops, size_t count,
                      uint64_t revision)
{
    for (size_t i = 0; i < count; i++) {
        switch (ops[i].kind) {
        case OP_PUT:
            stage_put(s, x, ops[i].key, ops[i].value, revision);
            break;
        case OP_DELETE:
            stage_delete(s, x, ops[i].key, revision);
            break;
        case OP_DELETE_PREFIX:
            stage_delete_prefix(s, x, ops[i].key, revision);
            break;
        }
    }
}

static bool all_hold(const struct index *x, const struct store_guard *guards,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!index_guard_holds(x, &guards[i]))
            return false;
    }
    return true;
}

bool stage_group(struct stage *s, const struct index *x,
                 struct backend_group *g, uint64_t revision)
{
    if (!all_hold(x, g->own_guards, g->own_guard_count))
        return false;
    stage_ops(s, x, g->own_ops, g->own_op_count, revision);

    /* The index is untouched until stage_apply: every change sees the state
     * before the group, whatever the order. */
    for (size_t i = 0; i < g->change_count; i++) {
        struct backend_change *c = &g->changes[i];

        c->held = all_hold(x, c->guards, c->guard_count);
        if (c->held)
            stage_ops(s, x, c->ops, c->op_count, revision);
    }
    return true;
}

void stage_apply(struct stage *s, struct index *x)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct store_event *ev = &s->events[i];
        struct stage_slot *slot = &s->slots[i];

        if (ev->is_delete) {
            index_remove(x, slot->old);
            continue;
        }
        struct index_entry *e = slot->old;

        if (!e) {
            e = index_entry_new(ev->key);
            index_add(x, e);
        }
        e->create_rev = ev->create_rev;
        e->mod_rev = ev->mod_rev;
        e->row = slot->row;
    }
    s->applied = true;
}

void stage_reset(struct stage *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct index_entry *old = s->slots[i].old;

        if (old && s->applied && s->events[i].is_delete)
            free(old);
        else if (old)
            old->staged = false;
    }
    s->n = 0;
    s->applied = false;
    if (s->cap > STAGE_KEPT_CAP) { /* a big prefix delete */
        free(s->events);
        free(s->slots);
        *s = (struct stage){0};
    }
}
