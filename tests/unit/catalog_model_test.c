/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Random feeds, whatever their order, against a model that recomputes every
 * answer from the rows. */
#include "catalog_rows.h"

enum {
    SEEDS = 40,
    STEPS = 400,  /* versions per seed */
    HELD_MAX = 3, /* old versions pinned at a time */
};

/* --- What is shown under a watch key, from the rows ---------------------- */

struct shown {
    struct watch_key key;
    uint64_t digest, index;
    uint64_t text, text_index; /* check Output included */
};

enum { KEYS = 3 + 2 * NODES + 3 * NAMES + 6 };

static size_t all_keys(struct shown *v)
{
    static const enum watch_kind global[] = {WATCH_NODES, WATCH_SERVICES,
                                             WATCH_NODES_SERVICES};
    size_t n = 0;

    for (size_t i = 0; i < 3; i++)
        v[n++].key = (struct watch_key){global[i], {0}};
    for (size_t i = 0; i < NODES; i++)
        for (int k = WATCH_NODE; k <= WATCH_NODE_CHECKS; k++)
            v[n++].key = (struct watch_key){(enum watch_kind)k,
                                            bytes_str(node_names[i][0])};
    for (size_t i = 0; i < NAMES; i++)
        for (int k = WATCH_SERVICE; k <= WATCH_SERVICE_CHECKS; k++)
            v[n++].key =
                (struct watch_key){(enum watch_kind)k, bytes_str(names[i][0])};
    for (size_t i = 0; i < 5; i++)
        v[n++].key = (struct watch_key){WATCH_STATE, bytes_str(states[i])};
    v[n++].key = (struct watch_key){WATCH_STATE, bytes_str("any")};
    return n;
}

static void put_check(const struct world *w, struct buf *b, const struct row *r,
                      bool output)
{
    struct check_view v = r->c;
    struct row *s = world_row(w, RECORD_SERVICE, r->node, v.service_id);

    if (!output) {
        v.output = (struct bytes){0};
        v.marks = (struct check_marks){.cause = v.marks.cause,
                                       .held = v.marks.held,
                                       .damped = v.marks.damped};
    }
    record_put_check(b, &v);
    if (s) {
        buf_lp(b, s->s.name);
        buf_lp(b, s->s.tags.data);
    }
}

/* A check in a list: with its node's name, which is shown, and meta, which
 * selects. */
static void put_listed(const struct world *w, struct buf *b,
                       const struct row *r)
{
    const struct row *node = world_node(w, r->node);

    buf_lp(b, node->n.name);
    buf_lp(b, node->n.meta.data);
    put_check(w, b, r, true);
}

static void put_instance(const struct world *w, struct buf *b,
                         const struct row *s, enum watch_kind kind, bool output)
{
    if (kind != WATCH_SERVICE_CHECKS) {
        buf_lp(b, row_value(world_node(w, s->node)));
        buf_lp(b, row_value(s));
    }
    for (size_t i = 0; i < w->n; i++) {
        const struct row *r = w->rows[i];
        if (r->kind != RECORD_CHECK || !bytes_eq(r->node, s->node))
            continue;
        bool its = bytes_eq_fold(r->c.service_id, s->id);
        if (kind == WATCH_SERVICE_CHECKS && its)
            put_listed(w, b, r);
        if (kind == WATCH_SERVICE_HEALTH && (its || r->c.service_id.n == 0))
            put_check(w, b, r, output);
    }
}

static bool name_shown(const struct world *w, struct bytes name)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->rows[i]->kind == RECORD_SERVICE && row_shown(w, w->rows[i]) &&
            bytes_eq_fold(w->rows[i]->s.name, name))
            return true;
    return false;
}

static void put_row(const struct world *w, struct buf *b, const struct row *r,
                    struct watch_key k, bool output)
{
    bool here = bytes_eq_fold(r->node, k.name);

    if (r->kind == RECORD_GUARD) {
        if (k.kind == WATCH_SERVICE_HEALTH && here && name_shown(w, k.name))
            buf_put(b, r->g.out.data);
        return;
    }
    if (r->kind == RECORD_NODE_ID || !row_shown(w, r))
        return;
    switch (k.kind) {
    case WATCH_NODES:
    case WATCH_SERVICES:
    case WATCH_NODES_SERVICES:
        if ((r->kind == RECORD_NODE && k.kind != WATCH_SERVICES) ||
            (r->kind == RECORD_SERVICE && k.kind != WATCH_NODES)) {
            buf_lp(b, r->node);
            buf_lp(b, row_value(r));
        }
        break;
    case WATCH_NODE:
        if (here && r->kind != RECORD_CHECK)
            buf_lp(b, row_value(r));
        break;
    case WATCH_NODE_CHECKS:
        if (here && r->kind == RECORD_CHECK)
            put_listed(w, b, r);
        break;
    case WATCH_SERVICE:
    case WATCH_SERVICE_HEALTH:
    case WATCH_SERVICE_CHECKS:
        if (r->kind == RECORD_SERVICE && bytes_eq_fold(r->s.name, k.name))
            put_instance(w, b, r, k.kind, output);
        break;
    case WATCH_STATE:
        if (r->kind == RECORD_CHECK &&
            (bytes_is(k.name, "any") || bytes_eq(r->c.status, k.name)))
            put_listed(w, b, r);
        break;
    case WATCH_NONE:
    case WATCH_CATALOG:
    case WATCH_EVENTS:
    case WATCH_QUERIES:
    case WATCH_COORDINATES:
    case WATCH_LOCAL_SERVICE:
    case WATCH_LOCAL:
        break;
    }
}

static uint64_t digest(const struct world *w, struct watch_key k, bool output)
{
    struct buf b = {0};

    for (size_t i = 0; i < w->n; i++)
        put_row(w, &b, w->rows[i], k, output);
    uint64_t h = bytes_hash(buf_bytes(&b), 1);
    buf_fini(&b);
    return h;
}

/* --- One version --------------------------------------------------------- */

struct step {
    uint64_t *seed;
    uint64_t first_seed;
    size_t number;
    bool exact;      /* one row changed, of a node that is shown */
    uint64_t before; /* revision of the version before */
};

static bool was_reported(const struct world *w, struct watch_key k)
{
    const struct watch_set *set = catalog_changes(w->catalog);
    uint64_t h = watch_hash(k);

    for (size_t i = 0; i < set->n; i++) {
        assert_true(i == 0 || set->v[i - 1] < set->v[i]);
        if (set->v[i] == h)
            return true;
    }
    return set->all;
}

static void check_key(const struct world *w, struct shown *k,
                      const struct step *st)
{
    uint64_t d = digest(w, k->key, false);
    uint64_t index = snapshot_index(catalog_current(w->catalog), k->key);
    bool reported = was_reported(w, k->key);
    const char *wrong = NULL;

    if (index < k->index)
        wrong = "index fell";
    else if (d != k->digest && (index <= st->before || !reported))
        wrong = "change was missed";
    else if (d == k->digest && st->exact && reported)
        wrong = "nothing changed, reported nevertheless";
    else if (d == k->digest && st->exact && index != k->index &&
             k->key.kind != WATCH_STATE)
        wrong = "nothing changed, index moved nevertheless";
    else if (index > w->revision)
        wrong = "index above the revision";
    if (wrong)
        fail_msg("seed %llu, step %zu: watch kind %d of \"%.*s\": %s "
                 "(index %llu, was %llu)",
                 (unsigned long long)st->first_seed, st->number, k->key.kind,
                 BYTES_ARG(k->key.name), wrong, (unsigned long long)index,
                 (unsigned long long)k->index);
    k->digest = d;
    k->index = index;
}

static void check_text(const struct world *w, struct shown *k,
                       const struct step *st)
{
    const struct snapshot *s = catalog_current(w->catalog);
    uint64_t d = digest(w, k->key, true);
    uint64_t index = snapshot_text_index(s, k->key);

    if (index < k->text_index || index < snapshot_index(s, k->key) ||
        (d != k->text && index <= st->before))
        fail_msg("seed %llu, step %zu: watch kind %d of \"%.*s\": text index "
                 "%llu, was %llu",
                 (unsigned long long)st->first_seed, st->number, k->key.kind,
                 BYTES_ARG(k->key.name), (unsigned long long)index,
                 (unsigned long long)k->text_index);
    k->text = d;
    k->text_index = index;
}

/* Rows of one revision: no key twice, in no order. */
static size_t random_revision(struct world *w, uint64_t *seed, size_t events,
                              struct row *ret_last)
{
    size_t done = 0;

    w->revision++;
    while (done < events) {
        struct buf key = {0}, value = {0};
        random_row(w, &key, &value, seed);
        const struct row *r = world_key(w, buf_bytes(&key));
        if (!(r && r->mod_rev == w->revision)) {
            enum record_kind kind;
            assert_ok(key_parse(buf_bytes(&key), ret_last->scratch, &kind,
                                &ret_last->node, &ret_last->id));
            if (r && chance(seed, 30))
                world_delete(w, buf_bytes(&key));
            else
                world_put(w, buf_bytes(&key), buf_bytes(&value));
        }
        done++;
        buf_fini(&key);
        buf_fini(&value);
    }
    return done;
}

static void random_version(struct world *w, struct step *st)
{
    struct row last;
    size_t revisions = chance(st->seed, 60) ? 1 : 1 + below(st->seed, 4);
    size_t events = chance(st->seed, 60) ? 1 : 1 + below(st->seed, 6);

    st->before = w->revision;
    memset(&last, 0, sizeof last);
    for (size_t i = 0; i < revisions; i++)
        (void)random_revision(w, st->seed, events, &last);
    st->exact = revisions * events == 1 &&
                (world_node(w, last.node) || name_shown(w, last.node));
    (void)world_commit(w);
}

/* IDs lead to their nodes, in any case and by prefix, and nothing else does. */
static void check_node_ids(const struct world *w)
{
    const struct snapshot *s = catalog_current(w->catalog);

    for (size_t i = 0; i < NODES; i++) {
        struct row *r = world_node(w, bytes_str(node_names[i][0]));
        const struct cat_node *n =
            snapshot_node(s, bytes_str(node_names[i][1]));
        assert_int_equal(r != NULL, n != NULL);
        if (r && r->n.id.n) {
            assert_ptr_equal(snapshot_node_by_id(s, r->n.id), n);
            assert_ptr_equal(
                snapshot_node_by_id_prefix(s, bytes_head(r->n.id, 3)), n);
        }
    }
}

static bool has_address(const struct world *w, const struct row *r,
                        struct bytes address)
{
    return row_shown(w, r) &&
           (r->kind == RECORD_NODE      ? bytes_eq_fold(r->n.address, address)
            : r->kind == RECORD_SERVICE ? bytes_eq_fold(r->s.address, address)
                                        : false);
}

/* Addresses lead to a node that has it, else to a service, else nowhere. */
static void check_addresses(const struct world *w)
{
    static const char *const all[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3",
                                      "fd00::1",  "10.0.0.9", "10.0.0"};

    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        struct bytes name, at = bytes_str(all[k]);
        bool service = false, nodes = false, services = false, right = false;
        bool found =
            snapshot_address(catalog_current(w->catalog), at, &name, &service);
        for (size_t i = 0; i < w->n; i++) {
            const struct row *r = w->rows[i];
            if (!has_address(w, r, at))
                continue;
            nodes |= r->kind == RECORD_NODE;
            services |= r->kind == RECORD_SERVICE;
            right |= found && service == (r->kind == RECORD_SERVICE) &&
                     bytes_eq(name, service ? r->s.name : r->n.name);
        }
        assert_int_equal(found, nodes || services);
        if (found)
            assert_int_equal(service, !nodes);
        assert_int_equal(found, right);
    }
}

/* --- Old versions -------------------------------------------------------- */

struct held {
    int slot;
    const struct snapshot *s; /* NULL: not held */
    struct buf text;
};

static void hold_or_release(struct world *w, struct held *h, uint64_t *seed)
{
    if (!h->s && chance(seed, 20)) {
        pin_enter(&w->pins, h->slot);
        h->s = catalog_current(w->catalog);
        buf_reset(&h->text);
        snapshot_text(h->s, &h->text);
    } else if (h->s && chance(seed, 10)) {
        struct buf now = {0};
        snapshot_text(h->s, &now);
        assert_true(bytes_eq(buf_bytes(&now), buf_bytes(&h->text)));
        buf_fini(&now);
        pin_leave(&w->pins, h->slot);
        h->s = NULL;
    }
}

/* A catalog that loads the rows says the same; sometimes this one loads again.
 */
static void check_load(struct world *w, struct step *st)
{
    struct pin_domain pins;

    pin_init(&pins);
    struct catalog *c = catalog_new(&pins);
    world_load(w, c, st->seed);
    assert_snapshot_is(catalog_current(c), w, "loaded", st->first_seed,
                       st->number);
    assert_true(snapshot_floor(catalog_current(c)) == w->revision);
    check_addresses(w);
    catalog_free(c);
    pin_fini(&pins);

    if (chance(st->seed, 30)) {
        if (chance(st->seed, 30)) { /* given up half way */
            catalog_load_begin(w->catalog);
            for (size_t i = 0; i < w->n / 2; i++)
                assert_ok(catalog_put(w->catalog, row_key(w->rows[i]),
                                      row_value(w->rows[i]), 1, 1, NULL));
        }
        world_load(w, w->catalog, st->seed);
        assert_true(catalog_changes(w->catalog)->all);
        assert_snapshot_is(catalog_current(w->catalog), w, "loaded again",
                           st->first_seed, st->number);
    }
}

/* After a load the floor stands for what indexes were before. */
static void forget_index(const struct world *w, struct shown *k)
{
    const struct snapshot *s = catalog_current(w->catalog);

    k->index = snapshot_index(s, k->key);
    k->text_index = snapshot_text_index(s, k->key);
}

static void one_feed(uint64_t first_seed)
{
    uint64_t seed = first_seed * 0x9e3779b97f4a7c15u;
    struct world *w = world_new();
    struct shown keys[KEYS] = {0};
    struct held held[HELD_MAX] = {0};

    assert_int_equal(all_keys(keys), KEYS);
    for (size_t i = 0; i < KEYS; i++)
        keys[i].digest = keys[i].text = digest(w, keys[i].key, false);
    for (size_t i = 0; i < HELD_MAX; i++)
        assert_ok(pin_slot(&w->pins, &held[i].slot));
    for (size_t i = 0; i < STEPS; i++) {
        struct step st = {&seed, first_seed, i, false, 0};
        random_version(w, &st);
        assert_snapshot_is(catalog_current(w->catalog), w, "fed", first_seed,
                           i);
        for (size_t k = 0; k < KEYS; k++)
            check_key(w, &keys[k], &st);
        for (size_t k = 0; k < KEYS; k++)
            check_text(w, &keys[k], &st);
        check_node_ids(w);
        check_addresses(w);
        for (size_t k = 0; k < HELD_MAX; k++)
            hold_or_release(w, &held[k], &seed);
        if (chance(&seed, 3)) {
            check_load(w, &st);
            for (size_t k = 0; k < KEYS; k++)
                forget_index(w, &keys[k]);
        }
    }
    for (size_t i = 0; i < HELD_MAX; i++) {
        if (held[i].s)
            pin_leave(&w->pins, held[i].slot);
        buf_fini(&held[i].text);
    }
    world_free(w);
}

static void any_feed_gives_what_its_rows_say(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        one_feed(seed);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(any_feed_gives_what_its_rows_say),
};

RUN_TESTS(tests)
