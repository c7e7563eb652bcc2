/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "store/claims.h"

#include <stdio.h>

#include "test.h"

/* A change in a word: "p:KEY" puts, "d:KEY" deletes, "D:KEY" deletes a prefix,
 * "g:KEY" guards, "q:KEY" guards a prefix; up to four, with spaces between. */
struct word {
    struct store_change change;
    struct store_guard guards[4];
    struct store_op ops[4];
    char text[64];
};

static struct store_change *change_of(struct word *w, const char *text)
{
    char *at = w->text, *save = NULL;

    *w = (struct word){0};
    snprintf(w->text, sizeof w->text, "%s", text);
    w->change.guards = w->guards;
    w->change.ops = w->ops;
    for (char *t; (t = strtok_r(at, " ", &save)); at = NULL) {
        struct bytes key = bytes_str(t + 2);

        if (t[0] == 'g' || t[0] == 'q')
            w->guards[w->change.guard_count++] = (struct store_guard){
                t[0] == 'q' ? GUARD_QUIET : GUARD_MOD, key, 0};
        else
            w->ops[w->change.op_count++] =
                (struct store_op){t[0] == 'p'   ? OP_PUT
                                  : t[0] == 'd' ? OP_DELETE
                                                : OP_DELETE_PREFIX,
                                  key,
                                  {0}};
    }
    return &w->change;
}

static void who_may_go_together(void **state)
{
    static const struct {
        const char *first, *second;
        bool conflict;
    } row[] = {
        {"p:a", "p:b", false},         {"p:a", "p:a", true},
        {"p:a", "d:a", true},          {"p:a", "g:a", true},
        {"g:a", "g:a", false},         {"g:a p:x", "g:a p:y", false},
        {"g:a p:a", "g:b p:b", false}, {"D:a/", "p:a/1", true},
        {"D:a/", "g:a/1", true},       {"D:a/", "p:a", false},
        {"D:a/", "p:ab", false},       {"D:a/", "D:a/", true},
        {"D:a/", "D:a/1/", true},      {"D:a/", "q:a/1/", true},
        {"D:a/", "q:b/", false},       {"D:", "p:anything", true},
        {"q:a/", "q:a/", false},       {"q:a/ p:x", "q:a/1 p:y", false},
        {"q:a/", "g:a/1", false},      {"q:a/", "p:a/1", true},
        {"q:a/", "d:a/1", true},       {"q:a/", "p:b/1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int turned = 0; turned < 2; turned++) {
            struct claims s = {0};
            struct word a, b;
            struct bytes twice;
            const char *first = turned ? row[i].second : row[i].first;
            const char *second = turned ? row[i].first : row[i].second;

            assert_true(claims_add(&s, change_of(&a, first), &twice));
            if (claims_conflict(&s, change_of(&b, second)) != row[i].conflict)
                fail_msg("\"%s\", then \"%s\": want %d", first, second,
                         row[i].conflict);
            claims_fini(&s);
        }
    }
}

static void a_change_that_contradicts_itself_is_seen(void **state)
{
    static const char *const bad[] = {"p:a p:a", "p:a d:a", "D:a/ p:a/1",
                                      "p:a/1 D:a/"};
    static const char *const good[] = {"g:a p:a", "q:a/ p:a/1", "D:a/ p:a",
                                       "d:a/1 D:a/", "D:a/ D:a/b/"};
    struct bytes twice;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct claims s = {0};
        struct word w;

        assert_false(claims_add(&s, change_of(&w, bad[i]), &twice));
        assert_int_equal(twice.p[0], 'a');
        claims_fini(&s);
    }
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct claims s = {0};
        struct word w;

        assert_true(claims_add(&s, change_of(&w, good[i]), &twice));
        claims_fini(&s);
    }
}

static void a_reset_forgets_everything(void **state)
{
    enum { KEYS = 3000 };
    struct claims s = {0};
    static char key[KEYS][16];
    struct bytes twice;

    (void)state;
    for (int round = 0; round < 20; round++) {
        int n = round % 2 ? KEYS : 7; /* cleared in both ways */

        for (int i = 0; i < n; i++) {
            snprintf(key[i], sizeof key[i], "p:%d/%d", round, i);
            struct word w;
            struct store_change *c = change_of(&w, key[i]);
            w.ops[0].key = bytes_str(key[i] + 2); /* outlives w */
            assert_false(claims_conflict(&s, c));
            assert_true(claims_add(&s, c, &twice));
            assert_true(claims_conflict(&s, c));
        }
        claims_reset(&s);
        for (int i = 0; i < n; i++) {
            struct word w;
            assert_false(claims_conflict(&s, change_of(&w, key[i])));
        }
    }
    claims_fini(&s);
}

/* Each would make every other key pay for it. */
static void there_are_only_so_many_prefixes_in_a_set(void **state)
{
    struct claims s = {0};
    static char key[CLAIMS_PREFIXES_MAX + 1][16];
    struct bytes twice;
    struct word w;

    (void)state;
    for (int i = 0; i <= CLAIMS_PREFIXES_MAX; i++) {
        snprintf(key[i], sizeof key[i], "q:%d/", i);
        struct store_change *c = change_of(&w, key[i]);
        w.guards[0].key = bytes_str(key[i] + 2);
        assert_int_equal(claims_conflict(&s, c), i == CLAIMS_PREFIXES_MAX);
        if (i < CLAIMS_PREFIXES_MAX)
            assert_true(claims_add(&s, c, &twice));
    }
    assert_false(claims_conflict(&s, change_of(&w, "p:elsewhere")));
    claims_fini(&s);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(who_may_go_together),
    cmocka_unit_test(a_change_that_contradicts_itself_is_seen),
    cmocka_unit_test(a_reset_forgets_everything),
    cmocka_unit_test(there_are_only_so_many_prefixes_in_a_set),
};

RUN_TESTS(tests)
