/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* import - a new epoch: rows under its prefix, group by group, then the
 * pointer.
 *
 * Nobody sees the rows before the pointer is put; then every server loads
 * again. Each group guards the pointer as it was at the start, so that of two
 * imports one wins. What an import that failed has written is removed, at the
 * latest by the next one; what the old epoch held is removed after the load. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "store/impl.h"

enum {
    IMPORT_PUTS_MAX = 512,
    IMPORT_BYTES_MAX = STORE_GROUP_BYTES_MAX / 2,
};

enum import_phase { IMPORT_CLEARING, IMPORT_ROWS, IMPORT_FLIPPING };

struct import {
    struct store *store;
    struct store_import *wanted;
    enum import_phase phase;
    uint32_t epoch;
    char prefix[DATA_PREFIX_BYTES + 1];
    char pointer[16];
    /* The pointer as it was; the import key as our clearing put it. */
    struct store_guard guards[2];
    struct store_change change;
    struct store_op ops[IMPORT_PUTS_MAX];
    char *keys;          /* of ops */
    struct list batches; /* views in ops */
    struct store_batch *batch;
    size_t at; /* next event of batch */
};

/* --- The engine's own changes -------------------------------------------- */

static void submit(struct store *s, struct store_change *c)
{
    atomic_fetch_add(&s->submitted, 1);
    list_add(&s->internal, &c->link);
    engine_kick(s);
}

struct cleaning {
    struct store_change change;
    struct store_guard guards[2];
    struct store_op op;
    char prefix[DATA_PREFIX_BYTES + 1];
};

static void cleaned(struct store_change *c, const struct store_outcome *o)
{
    if (o->verdict != STORE_COMMITTED && o->verdict != STORE_CONFLICT)
        log_warn("store", "rows of another epoch stay for now: %s", o->text.s);
    free(container_of(c, struct cleaning, change));
}

/* Only while the pointer is as it was when those rows were nobody's: it may have
 * been put to them meanwhile, by a flip whose outcome nobody knows, or by a backup
 * that etcd was put back to. guard may be NULL. */
static void clean(struct store *s, uint32_t epoch, uint64_t pointer_rev,
                  const struct store_guard *guard)
{
    if (epoch == s->epoch || s->stopping)
        return;
    struct cleaning *c = xzalloc(sizeof *c);

    data_prefix(epoch, c->prefix);
    c->op = (struct store_op){OP_DELETE_PREFIX, bytes_str(c->prefix), {0}};
    c->guards[0] = (struct store_guard){GUARD_MOD, bytes_str("E"), pointer_rev};
    if (guard)
        c->guards[1] = *guard;
    c->change = (struct store_change){.guards = c->guards,
                                      .guard_count = guard ? 2 : 1,
                                      .ops = &c->op,
                                      .op_count = 1,
                                      .done = cleaned};
    submit(s, &c->change);
}

void import_clean(struct store *s, uint32_t epoch)
{
    clean(s, epoch, s->pointer_rev, NULL);
}

/* --- Import -------------------------------------------------------------- */

static void drop_batches(struct import *m)
{
    list_each (it, &m->batches) {
        list_del(it);
        store_batch_free(container_of(it, struct store_batch, link));
    }
}

static void finish(struct import *m, enum err e)
{
    struct store *s = m->store;
    struct store_import *wanted = m->wanted;
    uint32_t epoch = m->epoch;

    /* Its rows, unless another import has taken over (and cleared them). */
    if (e != ERR_OK && m->phase != IMPORT_CLEARING)
        clean(s, epoch, m->guards[0].rev, &m->guards[1]);
    drop_batches(m);
    store_batch_free(m->batch);
    free(m->keys);
    free(m);
    s->import = NULL;
    wanted->done(wanted, e, e == ERR_OK ? epoch : 0);
    engine_kick(s);
}

static void on_done(struct store_change *c, const struct store_outcome *o);

static void push(struct import *m, size_t ops)
{
    m->change = (struct store_change){
        .guards = m->guards,
        .guard_count = m->phase == IMPORT_CLEARING ? 1 : 2,
        .ops = m->ops,
        .op_count = ops,
        .meta = bytes_str("import"),
        .done = on_done,
    };
    submit(m->store, &m->change);
}

/* The next event to write; NULL: there is none left. */
static const struct store_event *next_event(struct import *m)
{
    while (!m->batch || m->at == m->batch->count) {
        if (m->batch)
            list_add(&m->batches, &m->batch->link);
        m->batch = m->wanted->next(m->wanted);
        m->at = 0;
        if (!m->batch)
            return NULL;
    }
    return &m->batch->events[m->at];
}

/* Puts until the group is full. Keys are laid out first as offsets, because the
 * buffer may move. */
static enum err gather(struct import *m, size_t *ret_ops)
{
    size_t n = 0, bytes = 0, keys = 0;
    const struct store_event *ev;

    while (n < IMPORT_PUTS_MAX && (ev = next_event(m))) {
        size_t key_n = DATA_PREFIX_BYTES + ev->key.n;

        if (ev->key.n == 0 || ev->key.n > STORE_KEY_MAX ||
            ev->value.n > STORE_VALUE_MAX)
            return ERR_LIMIT;
        if (n && bytes + key_n + ev->value.n > IMPORT_BYTES_MAX)
            break;
        m->keys = xrealloc(m->keys, keys + key_n);
        memcpy(m->keys + keys, m->prefix, DATA_PREFIX_BYTES);
        memcpy(m->keys + keys + DATA_PREFIX_BYTES, ev->key.p, ev->key.n);
        m->ops[n++] = (struct store_op){OP_PUT, {NULL, key_n}, ev->value};
        keys += key_n;
        bytes += key_n + ev->value.n;
        m->at++;
    }
    const char *p = m->keys;

    for (size_t i = 0; i < n; i++) {
        m->ops[i].key.p = p;
        p += m->ops[i].key.n;
    }
    *ret_ops = n;
    return ERR_OK;
}

static void send_rows(struct import *m)
{
    size_t n = 0;
    enum err e = gather(m, &n);

    if (e != ERR_OK) {
        finish(m, e);
        return;
    }
    if (n == 0) {
        m->phase = IMPORT_FLIPPING;
        snprintf(m->pointer, sizeof m->pointer, "%u", m->epoch);
        m->ops[0] =
            (struct store_op){OP_PUT, bytes_str("E"), bytes_str(m->pointer)};
        n = 1;
    }
    push(m, n);
}

static void on_done(struct store_change *c, const struct store_outcome *o)
{
    struct import *m = container_of(c, struct import, change);

    drop_batches(m);
    if (o->verdict == STORE_COMMITTED && m->phase == IMPORT_CLEARING) {
        m->guards[1] = (struct store_guard){GUARD_MOD, bytes_str("i"),
                                            revision_plain(o->revision)};
        m->phase = IMPORT_ROWS;
    }
    if (o->verdict == STORE_CONFLICT)
        finish(m, ERR_CONFLICT);
    else if (o->verdict != STORE_COMMITTED)
        finish(m, o->why);
    else if (m->phase == IMPORT_FLIPPING)
        finish(m, ERR_OK);
    else if (m->store->stopping)
        finish(m, ERR_CLOSED);
    else
        send_rows(m);
}

void import_add(struct store *s, struct store_import *i)
{
    list_add(&s->imports, &i->link);
}

static enum err choose_epoch(const struct store *s, uint32_t wanted,
                             uint32_t *ret)
{
    *ret = wanted ? wanted : s->epoch + 1;
    if (*ret > EPOCH_MAX)
        return ERR_LIMIT;
    return *ret > s->epoch ? ERR_OK : ERR_BAD;
}

void imports_start(struct store *s)
{
    if (s->import || list_empty(&s->imports))
        return;
    struct store_import *wanted =
        container_of(s->imports.next, struct store_import, link);
    uint32_t epoch;
    enum err e = choose_epoch(s, wanted->epoch, &epoch);

    list_del(&wanted->link);
    if (e != ERR_OK) {
        wanted->done(wanted, e, 0);
        engine_kick(s);
        return;
    }
    struct import *m = xzalloc(sizeof *m);

    m->store = s;
    m->wanted = wanted;
    m->epoch = epoch;
    data_prefix(epoch, m->prefix);
    m->guards[0] =
        (struct store_guard){GUARD_MOD, bytes_str("E"), s->pointer_rev};
    list_init(&m->batches);
    s->import = m;
    m->ops[0] = (struct store_op){OP_DELETE_PREFIX, bytes_str(m->prefix), {0}};
    m->ops[1] = (struct store_op){OP_PUT, bytes_str("i"), bytes_str(s->nonce)};
    push(m, 2);
}

void imports_fail(struct store *s, enum err e)
{
    list_each (it, &s->imports) {
        struct store_import *i = container_of(it, struct store_import, link);

        list_del(it);
        i->done(i, e, 0);
    }
}
