/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/snapshot.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "catalog/dump.h"
#include "http/bundle.h"
#include "server/serving.h"

enum { SNAPSHOT_BATCH_ROWS = 512 };

struct snap {
    struct letter letter;
    uv_work_t work;
    struct serving *serving;
    struct conn *conn; /* NULL: gone */
    struct api_call call;
    enum err e;
    struct errtext text;
    bool saves;

    uint64_t revision; /* save: of the state. restore: of the catalog before */
    struct buf state;  /* save: state.bin */
    struct buf file;   /* the archive */
    struct store_read read;

    struct bundle bundle;
    struct store_import import;
    size_t at, rows; /* of the bundle, handed on */
};

static _Atomic bool busy;
static int pin = -1; /* of whoever set busy; slots are never given back */

/* --- The end ------------------------------------------------------------- */

static void end(struct snap *x, int status, const char *text)
{
    struct serving *s = x->serving;
    struct conn *c = x->conn;

    if (c) {
        ((struct conn_state *)conn_user(c))->snap = NULL;
        buf_reset(&x->call.body);
        if (status != 200)
            api_error(&x->call, status, "%s", text);
        else if (x->saves) { /* the body moves */
            buf_fini(&x->call.body);
            x->call.body = x->file;
            x->file = (struct buf){0};
            x->call.content_type = "application/x-gzip";
        }
        serving_answer_call(s, c, &x->call, x->revision, false);
    }
    api_call_fini(&x->call);
    buf_fini(&x->state);
    buf_fini(&x->file);
    bundle_fini(&x->bundle);
    free(x);
    s->outstanding--;
    atomic_store(&busy, false);
    serving_close_check(s);
}

static int http_status_of(enum err e)
{
    return e == ERR_BAD || e == ERR_CORRUPT ? 400 : e == ERR_LIMIT ? 413 : 500;
}

static void fail(struct snap *x)
{
    const char *text = x->text.s[0]              ? x->text.s
                       : x->e == ERR_UNAVAILABLE ? "No cluster leader"
                                                 : err_text(x->e);
    char whole[400];

    (void)snprintf(whole, sizeof whole, "%s%s",
                   x->saves ? "" : "failed to restore from snapshot: ", text);
    log_warn("server", "a snapshot was not %s: error=\"%s\"",
             x->saves ? "saved" : "restored", text);
    end(x, http_status_of(x->e), whole);
}

/* On the store thread, the last of it. Through the core thread: it hands on
 * when the catalog has reached the letter's revision. */
static void post(struct snap *x, enum err e, uint64_t revision)
{
    struct list one;

    x->e = e;
    x->letter.revision = e == ERR_OK ? revision : 0;
    list_init(&one);
    list_add(&one, &x->letter.link);
    queue_push_all(x->serving->process->written, &one);
}

/* --- The archive --------------------------------------------------------- */

static void pack(struct snap *x)
{
    const struct api_self *self = &x->serving->process->self;
    struct buf address = {0};
    struct bundle_meta m = {
        .index = x->revision,
        .wall_ms = serving_wall_ms(),
        .node_id = self->node_id,
    };

    buf_put(&address, self->advertise_address);
    buf_printf(&address, ":%d", self->server_port);
    m.address = buf_bytes(&address);
    x->e = bundle_pack(&x->state, &m, &x->file);
    buf_fini(&address);
}

static void too_large(struct snap *x)
{
    x->e = ERR_LIMIT;
    errtext_set(&x->text,
                "the catalog is larger than %d bytes, which a "
                "snapshot may have",
                BUNDLE_BYTES_MAX / 2);
}

static void pack_rows(uv_work_t *w)
{
    pack(container_of(w, struct snap, work));
}

static void packed(uv_work_t *w, int status)
{
    struct snap *x = container_of(w, struct snap, work);

    (void)status;
    if (x->e == ERR_OK)
        end(x, 200, "");
    else
        fail(x);
}

/* --- Save, stale --------------------------------------------------------- */

static void on_row(void *ctx, struct bytes key, struct bytes value)
{
    struct snap *x = ctx;

    bundle_row(&x->state, key, value);
}

/* What this server has in memory, whatever became of its store: the answer says
 * how old that may be. On a thread of libuv's pool. */
static void pack_catalog(uv_work_t *w)
{
    struct snap *x = container_of(w, struct snap, work);
    struct process *p = x->serving->process;

    pin_enter(&p->pins, pin);
    const struct snapshot *s = catalog_current(p->catalog);
    x->revision = snapshot_revision(s);
    bundle_begin(&x->state, x->revision);
    bool whole = catalog_dump(s, on_row, x);
    pin_leave(&p->pins, pin);
    if (!whole)
        x->e = ERR_NOMEM;
    else if (x->state.bad)
        too_large(x);
    else
        pack(x);
}

static void save_stale(struct snap *x)
{
    buf_init(&x->state, BUNDLE_BYTES_MAX / 2);
    x->e = pin < 0 ? pin_slot(&x->serving->process->pins, &pin) : ERR_OK;
    if (x->e == ERR_OK &&
        uv_queue_work(&x->serving->loop, &x->work, pack_catalog, packed) == 0)
        return;
    if (x->e == ERR_OK)
        x->e = ERR_NOMEM;
    fail(x);
}

/* --- Save ---------------------------------------------------------------- */

/* On the store thread. */
static void on_rows(struct store_read *r, struct store_batch *take, enum err e)
{
    struct snap *x = container_of(r, struct snap, read);

    if (!take && e == ERR_AGAIN) {
        store_read_more(x->serving->process->store, r, !x->state.bad);
        return;
    }
    if (!take) {
        post(x, e, 0);
        return;
    }
    for (size_t i = 0; i < take->count; i++)
        bundle_row(&x->state, take->events[i].key, take->events[i].value);
    store_batch_free(take);
}

static void save(struct snap *x)
{
    buf_init(&x->state, BUNDLE_BYTES_MAX / 2);
    bundle_begin(&x->state, x->revision);
    x->read = (struct store_read){.revision = x->revision, .rows = on_rows};
    /* Once begun, x is the store thread's until its letter comes back. */
    enum err e = store_read_begin(x->serving->process->store, &x->read);
    if (e == ERR_OK)
        return;
    x->e = e;
    fail(x);
}

static void saved(struct snap *x)
{
    if (x->e == ERR_OK && x->state.bad)
        too_large(x);
    /* Once queued, x is that thread's until packed. */
    if (x->e == ERR_OK &&
        uv_queue_work(&x->serving->loop, &x->work, pack_rows, packed) == 0)
        return;
    if (x->e == ERR_OK)
        x->e = ERR_NOMEM;
    fail(x);
}

/* --- Restore ------------------------------------------------------------- */

static void unpack(uv_work_t *w)
{
    struct snap *x = container_of(w, struct snap, work);

    x->e = bundle_open(buf_bytes(&x->file), &x->bundle, &x->text);
    buf_fini(&x->file);
}

/* On the store thread: views of the bundle, which stays until the end. */
static struct store_batch *next_rows(struct store_import *i)
{
    struct snap *x = container_of(i, struct snap, import);
    struct store_batch *b =
        xmalloc(sizeof *b + SNAPSHOT_BATCH_ROWS * sizeof(struct store_event));

    *b = (struct store_batch){.kind = BATCH_LOAD_ROWS};
    b->events = (struct store_event *)(b + 1);
    for (; b->count < SNAPSHOT_BATCH_ROWS; b->count++) {
        struct store_event *ev = &b->events[b->count];

        *ev = (struct store_event){0};
        if (!bundle_next(&x->bundle, &x->at, &ev->key, &ev->value))
            break;
    }
    x->rows += b->count;
    if (b->count)
        return b;
    store_batch_free(b);
    return NULL;
}

/* On the store thread. */
static void imported(struct store_import *i, enum err e, uint32_t epoch)
{
    struct snap *x = container_of(i, struct snap, import);

    post(x, e, (uint64_t)epoch << STORE_EPOCH_SHIFT);
}

static void unpacked(uv_work_t *w, int status)
{
    struct snap *x = container_of(w, struct snap, work);
    uint64_t epoch = x->revision >> STORE_EPOCH_SHIFT;
    uint64_t theirs = x->bundle.meta.index >> STORE_EPOCH_SHIFT;

    (void)status;
    if (x->e == ERR_OK && theirs >= STORE_EPOCHS_MAX) {
        x->e = ERR_BAD;
        errtext_set(&x->text, "its index %llu is beyond all that can be",
                    (unsigned long long)x->bundle.meta.index);
    }
    if (x->e == ERR_OK) {
        x->import = (struct store_import){
            .epoch = (uint32_t)(epoch > theirs ? epoch : theirs) + 1,
            .next = next_rows,
            .done = imported,
        };
        list_init(&x->import.link);
        enum err e = store_import_begin(x->serving->process->store, &x->import);
        if (e == ERR_OK)
            return; /* x is the store thread's until its letter comes back */
        x->e = e;
    }
    fail(x);
}

static void restore(struct snap *x)
{
    buf_put(&x->file, x->call.request->body);
    if (x->file.bad ||
        uv_queue_work(&x->serving->loop, &x->work, unpack, unpacked) != 0) {
        x->e = ERR_NOMEM;
        fail(x);
    }
}

static void restored(struct snap *x)
{
    if (x->e == ERR_CONFLICT)
        errtext_set(&x->text, "another one was restored meanwhile");
    if (x->e != ERR_OK) {
        fail(x);
        return;
    }
    log_info("server", "a snapshot was restored: id=%.*s rows=%zu index=%llu",
             BYTES_ARG(x->bundle.meta.id), x->rows,
             (unsigned long long)x->letter.revision);
    x->revision = x->letter.revision;
    end(x, 200, "");
}

/* --- In and out ---------------------------------------------------------- */

void snapshot_begin(struct serving *s, struct conn *c, struct api_call *call,
                    const struct api_env *env)
{
    struct snap *x = NULL;

    if (atomic_exchange(&busy, true)) {
        api_error(call, 429,
                  "another snapshot is being saved or restored: try again "
                  "when it is done");
    } else if (!(x = calloc(1, sizeof *x))) {
        atomic_store(&busy, false);
        api_error(call, 500, "out of memory");
    }
    if (!x) {
        serving_answer_call(s, c, call, 0, false);
        api_call_fini(call);
        return;
    }
    list_init(&x->letter.link);
    x->letter.kind = LETTER_SNAPSHOT;
    x->letter.to = s;
    x->serving = s;
    x->conn = c;
    x->call = *call;
    x->saves = call->request->method == HTTP_GET;
    x->revision = snapshot_revision(env->cat);
    ((struct conn_state *)conn_user(c))->snap = x;
    s->outstanding++;
    if (x->saves && x->call.stale)
        save_stale(x);
    else if (x->saves)
        save(x);
    else
        restore(x);
}

void snapshot_told(struct serving *s, struct letter *take)
{
    struct snap *x = container_of(take, struct snap, letter);

    (void)s;
    if (x->saves)
        saved(x);
    else
        restored(x);
}

void snapshot_gone(struct snap *x)
{
    if (x)
        x->conn = NULL;
}
