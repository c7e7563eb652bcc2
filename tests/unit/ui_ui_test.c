/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "ui/ui.h"

#include "test.h"

static bool mentions(struct bytes text, const char *what)
{
    size_t n = strlen(what);

    for (size_t i = 0; i + n <= text.n; i++)
        if (memcmp(text.p + i, what, n) == 0)
            return true;
    return false;
}

static void every_file_is_there_whole(void **state)
{
    struct ui_file f;

    (void)state;
    for (size_t i = 0; i < ui_count(); i++) {
        assert_true(ui_find(bytes_str(ui_name(i)), &f));
        assert_true(f.text.n > 100);
        assert_int_equal(f.text.p[f.text.n - 1], '\n');
        assert_true(bytes_utf8(f.text));
    }
    assert_false(ui_find(bytes_str("nothing.js"), &f));
    assert_false(ui_find(bytes_str("main.js/"), &f));
    assert_null(ui_name(ui_count()));
}

/* What the policy of api/page.c would refuse must not be tried, and nothing
 * turns text into markup. */
static void nothing_is_inline_or_from_elsewhere(void **state)
{
    static const char *const refused[] = {
        "innerHTML", "outerHTML",    "insertAdjacentHTML", "document.write",
        "eval(",     "new Function", "https://cdn",        "onclick=",
        "onload=",   "style=\"",     "javascript:",        "srcdoc",
    };
    struct ui_file f;

    (void)state;
    for (size_t i = 0; i < ui_count(); i++) {
        assert_true(ui_find(bytes_str(ui_name(i)), &f));
        for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++)
            if (mentions(f.text, refused[k]))
                fail_msg("%s has %s", f.name, refused[k]);
    }
}

/* Each module that a file imports is in the binary. */
static void imports_are_served(void **state)
{
    struct ui_file f, g;
    size_t imports = 0;

    (void)state;
    for (size_t i = 0; i < ui_count(); i++) {
        assert_true(ui_find(bytes_str(ui_name(i)), &f));
        for (size_t at = 0; at + 8 < f.text.n; at++) {
            struct bytes rest = bytes_skip(f.text, at);
            if (!bytes_starts(rest, bytes_str("from \"./")))
                continue;
            rest = bytes_skip(rest, 8);
            struct bytes name = bytes_head(rest, bytes_find(rest, '"'));
            if (!ui_find(name, &g))
                fail_msg("%s imports %.*s", f.name, BYTES_ARG(name));
            imports++;
        }
    }
    assert_true(imports > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_there_whole),
        cmocka_unit_test(nothing_is_inline_or_from_elsewhere),
        cmocka_unit_test(imports_are_served),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
