/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* From rows to a version of the catalog. What is new of a first snapshot, or after a
 * long cut, may be many thousand rows: the catalog's writer has others to serve, so
 * that they go there in slices. The catalog publishes at the end of all, and the
 * rows stand still until then (mirror.c holds what comes of the stream): what is
 * published is one state of the origin.
 *
 *     rows, changed or all --> guard records --> [a load is built] --> let in --> publish
 */
#include "catalog/catalog.h"
#include "mirror/impl.h"

/* --- Rows ---------------------------------------------------------------- */

static void put_row(struct mirror *m, struct row *w)
{
    list_del(&w->dirty);
    w->shown = w->mod_rev;
    if (catalog_put(m->catalog, bytes_of(w->key, w->key_n),
                    bytes_of(w->value, w->value_n), w->create_rev, w->mod_rev,
                    &m->last_damage) != ERR_OK)
        m->damaged++;
}

static void show_row(struct mirror *m, struct row *w, uint64_t revision)
{
    if (w->refs == 0) {
        if (w->shown)
            catalog_delete(m->catalog, bytes_of(w->key, w->key_n), revision);
        row_free(&m->rows, w);
    } else if (w->shown == w->mod_rev) {
        list_del(&w->dirty);
    } else {
        put_row(m, w);
    }
}

/* True: all that are dirty. */
static bool show_changed(struct mirror *m, uint64_t revision, size_t *left)
{
    for (; !list_empty(&m->rows.dirty); --*left) {
        if (*left == 0)
            return false;
        show_row(m, container_of(m->rows.dirty.next, struct row, dirty),
                 revision);
    }
    return true;
}

void show_dirty(struct mirror *m, uint64_t revision)
{
    size_t left = SIZE_MAX;

    (void)show_changed(m, revision, &left);
}

/* What nobody has any more stays dirty, and goes at the end. */
static bool show_all(struct mirror *m, size_t *left)
{
    void *p;

    for (; *left; --*left) {
        if (!map_next(&m->rows.by_key, &m->show.at, NULL, &p)) {
            rows_free_unused(&m->rows);
            return true;
        }
        if (((struct row *)p)->refs)
            put_row(m, p);
    }
    return false;
}

/* After all rows: a check that goes lets in, at a time unknown here. */
static bool show_let_in(struct mirror *m, size_t *left)
{
    char scratch[MIRROR_KEY_MAX];
    struct bytes node, id;
    enum record_kind kind;

    for (; !list_empty(&m->rows.let); --*left) {
        if (*left == 0)
            return false;
        struct row *w = container_of(m->rows.let.next, struct row, let);
        struct bytes key = bytes_of(w->key, w->key_n);
        list_del(&w->let);
        if (key.n <= sizeof scratch &&
            key_parse(key, scratch, &kind, &node, &id) == ERR_OK &&
            kind == RECORD_SERVICE)
            catalog_let_in(m->catalog, node, id, w->let_in_s);
    }
    return true;
}

/* --- Versions ------------------------------------------------------------ */

/* True: all has begun anew. */
static bool renew(struct mirror *m, uint64_t revision)
{
    bool all = false;

    for (size_t i = 0; m->ends && i < m->sub_count; i++) {
        struct sub *s = m->subs[i];
        struct bytes name = sub_name(s);
        bool is_new = s->ended && !s->whole;
        s->whole |= s->ended;
        s->ended = false;
        if (!is_new)
            continue;
        if (is_of_all(s->kind) || s->kind == MIRROR_PREFIX)
            all = true;
        else if (s->kind == MIRROR_SERVICE)
            catalog_renew_name(m->catalog, name, revision);
        else
            catalog_renew_node(m->catalog, name, revision);
    }
    m->ends = 0;
    return all;
}

/* What was deleted before nobody has told. */
static void begin_load(struct mirror *m)
{
    if (m->renewed)
        catalog_load_anew(m->catalog);
    else
        catalog_load_begin(m->catalog);
    m->renewed = false;
    m->show.at = 0;
}

static void publish(struct mirror *m)
{
    struct show *s = &m->show;

    m->revision = s->revision;
    for (size_t i = 0; s->load && i < m->sub_count; i++) /* forgotten by it */
        if (m->subs[i]->kind == MIRROR_SERVICE && m->subs[i]->whole)
            catalog_set_whole(m->catalog, sub_name(m->subs[i]), true);
    if (s->load)
        catalog_load_end(m->catalog, s->revision);
    else
        catalog_commit(m->catalog, s->revision);
    s->stage = SHOW_NOTHING;
    m->events.committed(m->events.ctx);
}

static void tell_beat(struct mirror *m)
{
    struct beat b = m->show.beat;

    m->show.beat = (struct beat){0};
    if (b.is_due && m->events.beat)
        m->events.beat(m->events.ctx, b.at_ms, b.age_ms);
}

bool show_some(struct mirror *m, size_t rows)
{
    struct show *s = &m->show;

    if (s->stage == SHOW_ROWS &&
        (s->load ? show_all(m, &rows) : show_changed(m, s->revision, &rows))) {
        outs_commit(m, s->revision, s->load);
        s->stage = s->load ? SHOW_BUILD : SHOW_LET_IN;
    }
    if (s->stage == SHOW_BUILD &&
        catalog_load_build(m->catalog, s->revision, &rows))
        s->stage = SHOW_LET_IN;
    if (s->stage == SHOW_LET_IN && show_let_in(m, &rows)) {
        publish(m);
        tell_beat(m);
    }
    return s->stage == SHOW_NOTHING;
}

void show_finish(struct mirror *m)
{
    if (m->show.stage != SHOW_NOTHING)
        (void)show_some(m, SIZE_MAX);
}

bool show_begin(struct mirror *m, uint64_t revision)
{
    bool news = revision != m->revision || !list_empty(&m->rows.dirty) ||
                !list_empty(&m->rows.let) || m->ends;

    if (!news) { /* a beat */
        tell_beat(m);
        return true;
    }
    m->show.revision = revision;
    m->show.load = renew(m, revision) || (m->renewed && mirror_is_whole(m));
    if (m->show.load)
        begin_load(m);
    m->show.stage = SHOW_ROWS;
    return show_some(m, m->show.slice);
}
