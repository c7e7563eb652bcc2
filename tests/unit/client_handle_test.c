/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What programs call, without a registry: structs of other versions, misuse, and
 * the n-th allocation failing. In the caller's loop: no thread is made. */
#include <muster.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "fail_malloc.h"
#include "test.h"

static struct muster_options usual(void)
{
    struct muster_options o;

    muster_options_init(&o, sizeof o);
    o.servers = "127.0.0.1:1";
    o.own_loop = 1;
    return o;
}

/* --- Structs of other versions --------------------------------------------- */

static void an_older_program_is_not_written_beyond_its_struct(void **state)
{
    (void)state;
    struct {
        struct muster_watch_options o;
        char behind[64];
    } x;
    const size_t old = offsetof(struct muster_watch_options, choices);

    memset(&x, 0x5a, sizeof x);
    muster_watch_options_init(&x.o, old);
    assert_int_equal(x.o.size, old);
    assert_int_equal(x.o.panic_percent, 50);
    assert_int_equal(((unsigned char *)&x)[old], 0x5a);
}

/* It has to say so itself: nobody who set up too little is taken. */
static void an_older_programs_options_get_the_usual_rest(void **state)
{
    (void)state;
    struct muster_options o = usual();
    struct muster *m = NULL;
    struct muster_service *s = NULL;
    struct muster_watch_options w;
    char why[MUSTER_TEXT];

    o.size = offsetof(struct muster_options, tls_skip_verify);
    o.tls_skip_verify = 77; /* not its business */
    assert_int_equal(muster_open(&o, &m, why), MUSTER_OK);
    muster_watch_options_init(&w,
                              offsetof(struct muster_watch_options, choices));
    memset(&w.choices, 0xff,
           sizeof w - offsetof(struct muster_watch_options, choices));
    assert_int_equal(muster_watch(m, "web", &w, &s, why), MUSTER_OK);
    assert_int_equal(muster_close(m), MUSTER_OK);
}

static void a_newer_program_may_know_more_if_it_asks_for_none(void **state)
{
    (void)state;
    struct {
        struct muster_options o;
        uint64_t news[4];
    } x;
    struct muster *m = NULL;
    char why[MUSTER_TEXT] = "";

    muster_options_init(&x.o, sizeof x);
    assert_int_equal(x.o.size, sizeof x);
    x.o.servers = "127.0.0.1:1";
    x.o.own_loop = 1;
    assert_int_equal(muster_open(&x.o, &m, why), MUSTER_OK);
    assert_int_equal(muster_close(m), MUSTER_OK);
    x.news[2] = 1;
    assert_int_equal(muster_open(&x.o, &m, why), MUSTER_EINVAL);
    assert_non_null(strstr(why, "muster_options_init"));
}

static void sizes_that_are_none_are_refused(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 4097, SIZE_MAX};
    struct muster_options o = usual();
    struct muster_watch_options w;
    struct muster_status st;
    struct muster_ticket t;
    struct muster *m = NULL;
    struct muster_service *s = NULL;
    char why[MUSTER_TEXT];

    assert_int_equal(muster_open(&o, &m, why), MUSTER_OK);
    assert_int_equal(muster_watch(m, "web", NULL, &s, why), MUSTER_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct muster *other = NULL;
        struct muster_service *more = NULL;
        struct muster_ask ask = {.size = sizes[i] < 4097 ? sizes[i] : 0};

        muster_watch_options_init(&w, sizeof w);
        muster_status_init(&st, sizeof st);
        o.size = w.size = st.size = sizes[i];
        assert_int_equal(muster_open(&o, &other, why), MUSTER_EINVAL);
        assert_int_equal(muster_watch(m, "web", &w, &more, why), MUSTER_EINVAL);
        assert_int_equal(muster_status(s, &st), MUSTER_EINVAL);
        assert_int_equal(muster_pick(s, &ask, &t), MUSTER_EINVAL);
    }
    assert_int_equal(muster_close(m), MUSTER_OK);
}

/* --- Misuse ----------------------------------------------------------------- */

static void nothing_given_is_an_error_and_no_crash(void **state)
{
    (void)state;
    struct muster_options o = usual();
    struct muster_register_options r;
    struct muster_registration *reg = NULL;
    struct muster *m = NULL;
    struct muster_service *s = NULL;
    struct muster_ticket t = {0};
    const char *many[100] = {NULL};
    char why[MUSTER_TEXT];

    muster_options_init(NULL, sizeof o);
    muster_watch_options_init(NULL, 8);
    muster_register_options_init(NULL, 8);
    muster_status_init(NULL, 8);
    assert_int_equal(muster_open(&o, NULL, why), MUSTER_EINVAL);
    assert_int_equal(muster_close(NULL), MUSTER_OK);
    assert_int_equal(muster_set_token(NULL, "x"), MUSTER_EINVAL);
    assert_int_equal(muster_fd(NULL), -1);
    assert_int_equal(muster_process(NULL), MUSTER_EINVAL);
    assert_int_equal(muster_watch(NULL, "web", NULL, &s, why), MUSTER_EINVAL);
    assert_int_equal(muster_wait(NULL, 0), MUSTER_EINVAL);
    assert_int_equal(muster_pick(NULL, NULL, &t), MUSTER_EINVAL);
    assert_int_equal(muster_report(NULL, &t, MUSTER_SUCCESS, 0), MUSTER_EINVAL);
    assert_int_equal(muster_cancel(NULL, &t), MUSTER_EINVAL);
    assert_int_equal(muster_retry(NULL), 0);
    assert_int_equal(muster_hedge_us(NULL), 0);
    assert_int_equal(muster_status(NULL, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_each(NULL, NULL, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_each_datacenter(NULL, NULL, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_register_wait(NULL, 0, why), MUSTER_EINVAL);
    assert_int_equal(muster_set_health(NULL, MUSTER_PASSING), MUSTER_EINVAL);
    assert_int_equal(muster_deregister(NULL, 0), MUSTER_EINVAL);

    assert_int_equal(muster_open(&o, &m, why), MUSTER_OK);
    assert_int_equal(muster_watch(m, NULL, NULL, &s, why), MUSTER_EINVAL);
    assert_int_equal(muster_watch(m, "", NULL, &s, why), MUSTER_EINVAL);
    assert_int_equal(muster_watch(m, "web", NULL, NULL, why), MUSTER_EINVAL);
    assert_int_equal(muster_watch(m, "web", NULL, &s, NULL), MUSTER_OK);
    assert_int_equal(muster_pick(s, NULL, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_pick(s, NULL, &t), MUSTER_ENONE);
    assert_int_equal(muster_report(s, NULL, MUSTER_SUCCESS, 0), MUSTER_EINVAL);
    assert_int_equal(muster_report(s, &t, MUSTER_SUCCESS, 0), MUSTER_EVOID);
    assert_int_equal(muster_report(s, &t, (enum muster_outcome)9, 0),
                     MUSTER_EINVAL);
    assert_int_equal(muster_status(s, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_each(s, NULL, NULL), MUSTER_EINVAL);
    assert_int_equal(muster_register(m, NULL, &reg, why), MUSTER_EINVAL);
    muster_register_options_init(&r, sizeof r);
    assert_int_equal(muster_register(m, &r, NULL, why), MUSTER_EINVAL);
    assert_int_equal(muster_register(m, &r, &reg, why), MUSTER_EINVAL);
    assert_non_null(strstr(why, "name"));
    r.name = "web";
    r.port = 80;
    r.priority = 16;
    assert_int_equal(muster_register(m, &r, &reg, why), MUSTER_ELIMIT);
    assert_non_null(strstr(why, "priority"));
    r.priority = 0;
    for (int i = 0; i < 99; i++)
        many[i] =
            "a tag of exactly a hundred bytes, which is what so many of them "
            "need to be beyond what is taken.....";
    r.tags = many;
    assert_int_equal(muster_register(m, &r, &reg, why), MUSTER_ELIMIT);
    assert_non_null(strstr(why, "tags"));
    assert_int_equal(muster_set_token(m, "a\r\nb"), MUSTER_EINVAL);
    assert_int_equal(muster_close(m), MUSTER_OK);
    assert_int_equal(muster_close(m), MUSTER_ECLOSED);
    assert_int_equal(muster_pick(s, NULL, &t), MUSTER_ECLOSED);
}

static void every_error_has_a_text(void **state)
{
    (void)state;
    for (int e = MUSTER_ESYSTEM; e <= MUSTER_OK; e++)
        assert_string_not_equal(muster_error_text(e), "unknown error");
    assert_string_equal(muster_error_text(1), "unknown error");
    assert_string_equal(muster_error_text(MUSTER_ESYSTEM - 1), "unknown error");
}

static void addresses_that_are_none_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "http://",       ":80",       "a:0",  "a:65536", "a:b",
        "ftp://a:80",    "unix://",   "[::1", "[::1]x",  "a b:80",
        "http://u@h:80", "a:80/path", ",,",   "a:80,:",  "[]:80"};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct muster_options o = usual();
        struct muster *m = NULL;
        char why[MUSTER_TEXT] = "";

        o.servers = bad[i];
        if (muster_open(&o, &m, why) != MUSTER_EINVAL || !why[0])
            fail_msg("taken: %s", bad[i]);
        o.servers = "127.0.0.1:1";
        o.agent = bad[i];
        if (muster_open(&o, &m, why) != MUSTER_EINVAL)
            fail_msg("taken as agent: %s", bad[i]);
    }
}

/* --- Lack of memory --------------------------------------------------------- */

static void turn(struct muster *m, int turns)
{
    for (int i = 0; i < turns; i++) {
        struct pollfd p = {muster_fd(m), POLLIN, 0};
        (void)poll(&p, 1, 5);
        (void)muster_process(m);
    }
}

/* Open, watch, register, some turns of the loop, close. */
static int whole_way(int turns)
{
    struct muster_options o = usual();
    struct muster_watch_options w;
    struct muster_register_options r;
    struct muster_registration *reg = NULL;
    struct muster *m = NULL;
    struct muster_service *s = NULL;
    const char *const tags[] = {"a", "b", NULL};
    char why[MUSTER_TEXT] = "";
    o.failover = "dc2,dc3";
    int e = muster_open(&o, &m, why);

    muster_watch_options_init(&w, sizeof w);
    w.failover = "nearest:2";
    muster_register_options_init(&r, sizeof r);
    r.name = "web";
    r.port = 80;
    r.tags = tags;
    r.ttl_ms = 1000;
    if (e == MUSTER_OK)
        e = muster_watch(m, "web", NULL, &s, why);
    if (e == MUSTER_OK)
        e = muster_watch(m, "near", &w, &s, why);
    if (e == MUSTER_OK)
        e = muster_register(m, &r, &reg, why);
    if (e == MUSTER_OK)
        e = muster_set_token(m, "secret");
    if (e == MUSTER_OK)
        turn(m, turns);
    (void)muster_close(m);
    if (e != MUSTER_OK && e != MUSTER_ENOMEM)
        assert_true(why[0]);
    return e;
}

/* libuv ends the program where its table of descriptors cannot grow, so its own
 * allocations do not fail here. */
/* Called so that the compiler does not know what they are: it would take the
 * change of fail_malloc_in for useless. */
static void *(*volatile a_malloc)(size_t) = malloc;
static void *(*volatile a_realloc)(void *, size_t) = realloc;
static void *(*volatile a_calloc)(size_t, size_t) = calloc;

static void *spared_malloc(size_t n)
{
    long was = fail_malloc_in;

    fail_malloc_in = 0;
    void *p = a_malloc(n);
    fail_malloc_in = was;
    return p;
}

static void *spared_realloc(void *p, size_t n)
{
    long was = fail_malloc_in;

    fail_malloc_in = 0;
    p = a_realloc(p, n);
    fail_malloc_in = was;
    return p;
}

static void *spared_calloc(size_t k, size_t n)
{
    long was = fail_malloc_in;

    fail_malloc_in = 0;
    void *p = a_calloc(k, n);
    fail_malloc_in = was;
    return p;
}

/* libcurl loses a few bytes where it runs out of memory, so turns of the loop are
 * only to end well. */
static void lack_of_memory_is_an_error_and_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(uv_replace_allocator(spared_malloc, spared_realloc,
                                          spared_calloc, free),
                     0);
    for (int turns = 0; turns <= 6; turns += 6) {
        long failures = 0;
        bool failed = true;

        for (int i = 0; i < 2; i++) /* what libraries make once */
            assert_int_equal(whole_way(turns), MUSTER_OK);
        for (long nth = 1; failed; nth++) {
            long live = fail_malloc_live;
            fail_malloc_in = nth;
            int e = whole_way(turns);
            failed = fail_malloc_off();
            if (turns == 0 && fail_malloc_live > live)
                fail_msg("allocation %ld: %ld more are live", nth,
                         fail_malloc_live - live);
            assert_true(e == MUSTER_OK || (failed && e == MUSTER_ENOMEM));
            failures += e != MUSTER_OK;
        }
        assert_true(failures > 10);
    }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_older_program_is_not_written_beyond_its_struct),
    cmocka_unit_test(an_older_programs_options_get_the_usual_rest),
    cmocka_unit_test(a_newer_program_may_know_more_if_it_asks_for_none),
    cmocka_unit_test(sizes_that_are_none_are_refused),
    cmocka_unit_test(nothing_given_is_an_error_and_no_crash),
    cmocka_unit_test(every_error_has_a_text),
    cmocka_unit_test(addresses_that_are_none_are_told),
    cmocka_unit_test(lack_of_memory_is_an_error_and_nothing_else),
};

RUN_TESTS(tests)
