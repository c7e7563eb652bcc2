/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Also alloc.h: both end the process with a word about why. */
#include "base/check.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/pin.h"
#include "fail_malloc.h"
#include "test.h"

/* Runs f in a child; it must abort. What it wrote to stderr goes to text. */
static void must_abort(void (*f)(void), char *text, size_t cap)
{
    int fd[2], status;
    size_t n = 0;
    ssize_t k;

    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT,
               SIG_DFL); /* not the test library's, nor a sanitizer's */
        dup2(fd[1], STDERR_FILENO);
        f();
        _exit(0);
    }
    close(fd[1]);
    while (n < cap - 1 && (k = read(fd[0], text + n, cap - 1 - n)) > 0)
        n += (size_t)k;
    text[n] = '\0';
    close(fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void require_the_impossible(void)
{
    require(1 + 1 == 3);
}

static void pin_twice(void)
{
    static struct pin_domain d;
    int slot = 0;

    pin_init(&d);
    if (pin_slot(&d, &slot) != ERR_OK)
        _exit(0);
    pin_enter(&d, slot);
    pin_enter(&d, slot);
}

static void a_broken_requirement_says_where_and_aborts(void **state)
{
    (void)state;
    char text[500];

    require(1 + 1 == 2);
    must_abort(require_the_impossible, text, sizeof text);
    assert_non_null(strstr(text, "base_check_test.c:"));
    assert_non_null(strstr(text, "1 + 1 == 3"));
    assert_non_null(strchr(text, '\n'));
    assert_int_equal(strchr(text, '\n')[1], '\0');
    must_abort(pin_twice, text, sizeof text);
}

static void fail_xmalloc(void)
{
    fail_malloc_in = 1;
    free(xmalloc(123456));
}

static void fail_xzalloc(void)
{
    fail_malloc_in = 1;
    free(xzalloc(123456));
}

static void fail_xrealloc(void)
{
    fail_malloc_in = 1;
    free(xrealloc(NULL, 123456));
}

static void out_of_memory_says_how_much_and_aborts(void **state)
{
    (void)state;
    void (*const each[])(void) = {fail_xmalloc, fail_xzalloc, fail_xrealloc};

    for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
        char text[500];
        must_abort(each[i], text, sizeof text);
        assert_non_null(strstr(text, "out of memory"));
        assert_non_null(strstr(text, "123456"));
    }
}

static void allocations_are_as_asked(void **state)
{
    (void)state;
    char *z = xzalloc(100);
    for (int i = 0; i < 100; i++)
        assert_int_equal(z[i], 0);
    z = xrealloc(z, 200);
    memset(z, 1, 200);
    free(z);

    char *s = xstrdup("abc");
    assert_string_equal(s, "abc");
    free(s);
    s = xcopy(bytes_of("a\0b", 3));
    assert_memory_equal(s, "a\0b", 4);
    free(s);
    s = xcopy((struct bytes){NULL, 0});
    assert_string_equal(s, "");
    free(s);
    void *p = xmalloc(0), *q = xzalloc(0);
    assert_non_null(p);
    assert_non_null(q);
    free(p);
    free(q);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_broken_requirement_says_where_and_aborts),
    cmocka_unit_test(out_of_memory_says_how_much_and_aborts),
    cmocka_unit_test(allocations_are_as_asked),
};

RUN_TESTS(tests)
