/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* test - the only file that includes cmocka.h, which wants four headers before
 * it. A test binary runs one group and prints TAP on stdout for tests/run. */
#ifndef TEST_H
#define TEST_H

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
/* clang-format on */

#include "base/bytes.h"

/* assert_bytes(got, "expected text") with both shown on failure. */
#define assert_bytes(got, want)                                                \
    do {                                                                       \
        struct bytes got_ = (got);                                             \
        const char *want_ = (want);                                            \
        if (!bytes_is(got_, want_))                                            \
            fail_msg("got \"%.*s\", want \"%s\"", BYTES_ARG(got_), want_);     \
    } while (0)

#define assert_ok(e)                                                           \
    do {                                                                       \
        enum err e_ = (e);                                                     \
        if (e_ != ERR_OK)                                                      \
            fail_msg("%s: %s", #e, err_text(e_));                              \
    } while (0)

/* Ends a test that cannot run here; tests/run shows why (a literal). */
#define skip_because(why)                                                      \
    do {                                                                       \
        print_message("# SKIP " why "\n");                                     \
        skip();                                                                \
    } while (0)

#define RUN_TESTS(tests)                                                       \
    int main(void)                                                             \
    {                                                                          \
        cmocka_set_message_output(CM_OUTPUT_TAP);                              \
        return cmocka_run_group_tests(tests, NULL, NULL);                      \
    }

#endif
