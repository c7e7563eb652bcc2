/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Random changes, many in flight, against the contract in a hundred lines:
 * every change that was committed had guards that held on the state before its
 * revision, every conflict had one that did not, and the feed, the past and
 * what is opened again are what the committed changes make. */
#include "store/store.h"

#include "unit/store_kinds.h"

enum {
    KEYS = 20,
    PREFIXES = 6,
    STEPS = 1500,
    WINDOW = 40,
    MODEL_GUARDS = 3,
    MODEL_OPS = 3,
    REVISIONS_MAX = STEPS * 4,
};

static const char *const key_names[KEYS] = {
    "a",     "a/1",   "a/2",   "a/2/x", "a/2/y", "a/3", "b",
    "b/1",   "b/2",   "b/2/x", "b/2/z", "c",     "c/1", "c/2",
    "c/3/p", "c/3/q", "d",     "e",     "f",     "g"};
static const char *const prefix_names[PREFIXES] = {"a/",   "a/2/", "b/",
                                                   "b/2/", "c/",   "c/3/"};

struct model_key {
    uint64_t create_rev, mod_rev; /* 0: not there */
    int value;                    /* number of the step that put it */
};

struct model_state {
    struct model_key key[KEYS];
};

struct step {
    struct waited x;
    int guard_at[MODEL_GUARDS]; /* key or prefix */
    int op_at[MODEL_OPS];
    char value[16];
};

struct model {
    struct stage_set *set;
    bool compacts; /* to the newest, while changes fly */
    uint64_t random;
    uint64_t base; /* revision before the first step */
    struct step *steps;
    struct model_state *state; /* [r - base]: as of revision r */
    size_t revisions;
};

static uint64_t rnd(struct model *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random % below;
}

static bool under(int key, int prefix)
{
    return strncmp(key_names[key], prefix_names[prefix],
                   strlen(prefix_names[prefix])) == 0;
}

/* --- Steps --------------------------------------------------------------- */

static void add_guard(struct model *m, struct step *s)
{
    enum store_guard_kind kind = (enum store_guard_kind)rnd(m, 5);
    size_t i = s->x.change.guard_count;
    struct world *w = &m->set->w;
    int key = (int)rnd(m, KEYS);
    uint64_t rev = 0, newest = world_revision(w);

    if (kind == GUARD_QUIET) {
        s->guard_at[i] = (int)rnd(m, PREFIXES);
        rev = rnd(m, 4) * rnd(m, 4);
        rev = newest > rev ? newest - rev : 0;
        waited_guard(&s->x, kind, prefix_names[s->guard_at[i]], rev);
        return;
    }
    /* Mostly what is true just now. */
    struct seen_row row = world_row(w, key_names[key]);

    rev = kind == GUARD_MOD ? row.mod_rev : row.create_rev;
    if (rnd(m, 8) == 0)
        rev = rnd(m, 2) ? 0 : newest;
    if (kind == GUARD_PRESENT && !row.mod_rev && rnd(m, 4))
        kind = GUARD_ABSENT;
    else if (kind == GUARD_ABSENT && row.mod_rev && rnd(m, 4))
        kind = GUARD_PRESENT;
    s->guard_at[i] = key;
    waited_guard(&s->x, kind, key_names[key], rev);
}

static bool written_already(const struct step *s, int key)
{
    for (size_t i = 0; i < s->x.change.op_count; i++) {
        if (s->x.ops[i].kind == OP_DELETE_PREFIX ? under(key, s->op_at[i])
                                                 : s->op_at[i] == key)
            return true;
    }
    return false;
}

static void add_op(struct model *m, struct step *s)
{
    size_t i = s->x.change.op_count;
    uint64_t dice = rnd(m, 20);
    int key = (int)rnd(m, KEYS);

    if (dice == 0 && i == 0) { /* alone, or the others would have to avoid it */
        s->op_at[i] = (int)rnd(m, PREFIXES);
        waited_op(&s->x, OP_DELETE_PREFIX, prefix_names[s->op_at[i]], NULL);
    }
    if (written_already(s, key))
        return;
    i = s->x.change.op_count;
    s->op_at[i] = key;
    waited_op(&s->x, dice < 4 ? OP_DELETE : OP_PUT, key_names[key],
              dice < 4 ? NULL : s->value);
}

static size_t in_flight(struct model *m, size_t from, size_t to)
{
    size_t n = 0;

    for (size_t i = from; i < to; i++)
        n += !m->steps[i].x.done;
    return n;
}

static void run_steps(struct model *m)
{
    struct world *w = &m->set->w;
    size_t oldest = 0;

    for (size_t i = 0; i < STEPS; i++) {
        struct step *s = &m->steps[i];

        waited_init(&s->x, w);
        snprintf(s->value, sizeof s->value, "v%zu", i);
        for (uint64_t n = rnd(m, MODEL_GUARDS + 1); n; n--)
            add_guard(m, s);
        for (uint64_t n = 1 + rnd(m, MODEL_OPS - 1); n; n--)
            add_op(m, s);
        waited_submit(&s->x);
        if (m->compacts && rnd(m, 20) == 0)
            store_compact(w->store, world_revision(w));
        oldest = i + 1 > WINDOW * 2 ? i + 1 - WINDOW * 2 : 0;
        size_t most = 1 + rnd(m, WINDOW);
        world_until(w, in_flight(m, oldest, i + 1) < most);
    }
    world_until(w, in_flight(m, 0, STEPS) == 0);
}

/* --- What they must have done -------------------------------------------- */

static bool model_holds(const struct model_state *s, const struct step *st,
                        size_t i)
{
    const struct store_guard *g = &st->x.guards[i];
    const struct model_key *k = &s->key[st->guard_at[i]];

    switch (g->kind) {
    case GUARD_MOD:
        return k->mod_rev == g->rev;
    case GUARD_CREATE:
        return k->create_rev == g->rev;
    case GUARD_PRESENT:
        return k->mod_rev != 0;
    case GUARD_ABSENT:
        return k->mod_rev == 0;
    case GUARD_QUIET:
        for (int key = 0; key < KEYS; key++) {
            if (under(key, st->guard_at[i]) && s->key[key].create_rev > g->rev)
                return false;
        }
        return true;
    }
    return false;
}

static bool model_all_hold(const struct model_state *s, const struct step *st)
{
    for (size_t i = 0; i < st->x.change.guard_count; i++) {
        if (!model_holds(s, st, i))
            return false;
    }
    return true;
}

static void model_apply(struct model_state *s, const struct step *st,
                        int number)
{
    uint64_t rev = st->x.outcome.revision;

    for (size_t i = 0; i < st->x.change.op_count; i++) {
        struct model_key *k = &s->key[st->op_at[i]];

        switch (st->x.ops[i].kind) {
        case OP_PUT:
            k->create_rev = k->create_rev ? k->create_rev : rev;
            k->mod_rev = rev;
            k->value = number;
            break;
        case OP_DELETE:
            *k = (struct model_key){0};
            break;
        case OP_DELETE_PREFIX:
            for (int key = 0; key < KEYS; key++) {
                if (under(key, st->op_at[i]))
                    s->key[key] = (struct model_key){0};
            }
            break;
        }
    }
}

static void replay(struct model *m)
{
    m->revisions = (size_t)(world_revision(&m->set->w) - m->base) + 1;
    assert_true(m->revisions < REVISIONS_MAX);
    for (size_t r = 1; r < m->revisions; r++) {
        m->state[r] = m->state[r - 1];
        for (int i = 0; i < STEPS; i++) {
            const struct step *s = &m->steps[i];

            if (s->x.outcome.verdict == STORE_COMMITTED &&
                s->x.outcome.revision == m->base + r)
                model_apply(&m->state[r], s, i);
        }
    }
}

static void check_verdicts(struct model *m)
{
    size_t conflicts = 0, committed = 0;

    for (size_t i = 0; i < STEPS; i++) {
        const struct step *s = &m->steps[i];
        const struct store_outcome *o = &s->x.outcome;

        if (o->verdict == STORE_UNAVAILABLE)
            continue;
        assert_true(o->revision > m->base);
        assert_true(o->revision < m->base + m->revisions);
        bool held = model_all_hold(&m->state[o->revision - m->base - 1], s);
        if (held != (o->verdict == STORE_COMMITTED))
            fail_msg("step %zu: verdict %d at revision %llu, but its guards %s",
                     i, o->verdict, (unsigned long long)o->revision,
                     held ? "held" : "did not hold");
        held ? committed++ : conflicts++;
    }
    assert_true(committed > STEPS / 10);
    assert_true(conflicts > STEPS / 50);
}

static bool touch(const struct step *a, const struct step *b)
{
    for (size_t i = 0; i < a->x.change.op_count; i++) {
        const struct store_op *op = &a->x.ops[i];
        bool all = op->kind == OP_DELETE_PREFIX;

        for (size_t k = 0; k < b->x.change.op_count; k++) {
            struct bytes key = b->x.ops[k].key;
            if (all ? bytes_starts(key, op->key) : bytes_eq(key, op->key))
                return true;
        }
        for (size_t k = 0; k < b->x.change.guard_count; k++) {
            const struct store_guard *g = &b->x.guards[k];
            if (g->kind == GUARD_QUIET ? bytes_starts(op->key, g->key)
                : all                  ? bytes_starts(g->key, op->key)
                                       : bytes_eq(g->key, op->key))
                return true;
        }
    }
    return false;
}

/* Who came first on a key goes first, however often either was postponed. */
static void check_order(struct model *m)
{
    for (size_t i = 0; i < STEPS; i++) {
        for (size_t k = i + 1; k < STEPS && k < i + WINDOW * 2; k++) {
            const struct step *a = &m->steps[i], *b = &m->steps[k];

            if (a->x.outcome.verdict == STORE_UNAVAILABLE ||
                b->x.outcome.verdict == STORE_UNAVAILABLE ||
                !(touch(a, b) || touch(b, a)))
                continue;
            if (a->x.outcome.revision >= b->x.outcome.revision)
                fail_msg("step %zu at %llu is not before step %zu at %llu", i,
                         (unsigned long long)a->x.outcome.revision, k,
                         (unsigned long long)b->x.outcome.revision);
        }
    }
}

static char *model_line(const struct model_state *s, int key)
{
    const struct model_key *k = &s->key[key];
    char value[16];

    snprintf(value, sizeof value, "v%d", k->value);
    return past_line(bytes_str(key_names[key]), bytes_str(value), k->create_rev,
                     k->mod_rev);
}

static char *model_text(const struct model *m, uint64_t revision)
{
    const struct model_state *s = &m->state[revision - m->base];
    struct lines l = {0};
    struct buf out = {0};

    for (int key = 0; key < KEYS; key++) {
        if (s->key[key].mod_rev)
            lines_add(&l, model_line(s, key));
    }
    lines_flush(&l, &out);
    buf_putc(&out, '\0');
    return buf_take(&out, NULL);
}

static char *model_history(const struct model *m, uint64_t from)
{
    struct buf out = {0};

    for (uint64_t r = from; r < m->base + m->revisions; r++) {
        const struct model_state *s = &m->state[r - m->base];
        struct lines l = {0};

        for (int key = 0; key < KEYS; key++) {
            if (s->key[key].mod_rev == r)
                lines_add(&l, model_line(s, key));
            else if (!s->key[key].mod_rev && s[-1].key[key].mod_rev)
                lines_add(&l, past_gone(bytes_str(key_names[key])));
        }
        buf_printf(&out, "@%llu\n", (unsigned long long)r);
        lines_flush(&l, &out);
    }
    buf_putc(&out, '\0');
    return buf_take(&out, NULL);
}

/* A store that was down tries an empty group now and then: what came after the
 * model was made is not compared. */
static void cut_after_model(const struct model *m, char *history)
{
    char mark[32];

    snprintf(mark, sizeof mark, "@%llu\n",
             (unsigned long long)m->base + m->revisions);
    char *after = strstr(history, mark);
    if (after)
        *after = '\0';
}

/* Compaction may go on meanwhile: what is refused must be below what is
 * retained afterwards, what is told above what was before. */
static void check_past_at(struct model *m, uint64_t r)
{
    struct world *w = &m->set->w;
    uint64_t before = store_oldest(w->store);
    enum err e[2];
    char *got[2] = {world_read_at(w, r, "", &e[0]), world_history(w, r, &e[1])};
    char *want[2] = {model_text(m, r), model_history(m, r)};
    uint64_t after = store_oldest(w->store);

    cut_after_model(m, got[1]);
    for (int i = 0; i < 2; i++) {
        if (e[i] == ERR_COMPACTED)
            assert_true(r < after);
        else
            assert_ok(e[i]);
        if (e[i] == ERR_OK) {
            assert_true(r >= before);
            past_same(got[i], want[i], i ? "history" : "a read of the past");
        }
        free(got[i]);
        free(want[i]);
    }
}

static void check_past(struct model *m)
{
    uint64_t oldest = store_oldest(m->set->w.store);

    if (oldest > m->base && oldest < m->base + m->revisions)
        check_past_at(m, oldest); /* the edge */
    for (int i = 0; i < 20; i++)
        check_past_at(m, m->base + 1 + rnd(m, m->revisions - 1));
}

static void check_now(struct model *m, const char *what)
{
    char *got = world_text(&m->set->w);
    char *want = model_text(m, m->base + m->revisions - 1);

    past_same(got, want, what);
    free(got);
    free(want);
}

static void compact_somewhere(struct model *m)
{
    struct world *w = &m->set->w;
    uint64_t to = m->base + 1 + rnd(m, m->revisions - 1);

    store_compact(w->store, to);
    while (store_oldest(w->store) < to)
        (void)world_barrier(w); /* turns of the loop, not time */
}

static void run_seed(const struct kind *kind, uint64_t seed)
{
    struct stage_set set;
    struct model m = {.set = &set, .random = seed * 0x9e3779b97f4a7c15U + 1};

    set_init(&set, kind);
    set.plan = kind_faults(seed);
    set.plan.failed = 20;
    set.plan.gap = 10;
    set.plan.twin = seed % 3 == 0 ? 200 : 0;
    if (seed % 2 == 0) /* compaction by itself, all the time */
        set.options.compact_bytes = 20000;
    m.compacts = seed % 4 == 1;
    set_open(&set);
    m.base = world_revision(&set.w);
    m.steps = calloc(STEPS, sizeof *m.steps);
    m.state = calloc(REVISIONS_MAX, sizeof *m.state);
    run_steps(&m);
    (void)world_barrier(&set.w);
    replay(&m);
    check_verdicts(&m);
    check_order(&m);
    check_now(&m, "the feed");
    check_past(&m);
    compact_somewhere(&m);
    check_past(&m);
    world_close(&set.w);
    if (kind->kind != STORE_MEMORY) {
        set_open(&set);
        check_now(&m, "what is opened again");
        check_past(&m);
        world_close(&set.w);
    }
    free(m.steps);
    free(m.state);
    set_fini(&set);
}

/* MUSTER_SEEDS=first-last for a long run. */
static void random_changes_keep_the_contract(void **state)
{
    const struct kind *kind = *state;
    const char *range = getenv("MUSTER_SEEDS");
    unsigned first = 1, last = 4;

    if (range && sscanf(range, "%u-%u", &first, &last) != 2)
        fail_msg("MUSTER_SEEDS=%s: want first-last", range);
    for (unsigned seed = first; seed <= last; seed++) {
        print_message("# seed %u over %s\n", seed, kind->name);
        run_seed(kind, seed);
    }
}

static struct CMUnitTest tests[] = {
    {"random changes keep the contract over memory",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[0]},
    {"random changes keep the contract over sqlite",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[1]},
    {"random changes keep the contract over memory behind faults",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[2]},
    {"random changes keep the contract over sqlite behind faults",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[3]},
    {"random changes keep the contract over etcd",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[4]},
    {"random changes keep the contract over etcd behind faults",
     random_changes_keep_the_contract, NULL, NULL, (void *)&kinds[5]},
};

RUN_KINDS(tests)
