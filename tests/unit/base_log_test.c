/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Also metric.h: the other of the two globals. */
#include "base/log.h"

#include <pthread.h>
#include <string.h>

#include "base/metric.h"
#include "test.h"

struct seen {
    int lines;
    enum log_level level;
    char module[32];
    char text[4096];
};

static void remember(void *ctx, enum log_level level, const char *module,
                     const char *text)
{
    struct seen *s = ctx;

    s->lines++;
    s->level = level;
    strncpy(s->module, module, sizeof s->module - 1);
    strncpy(s->text, text, sizeof s->text - 1);
}

static void without_a_sink_nothing_happens(void **state)
{
    (void)state;
    log_set_sink(NULL, NULL);
    assert_false(log_on(LOG_ERR));
    log_error("test", "%s", "nobody hears this");
    log_line(LOG_ERR, "test", "nor this");
}

static void levels_decide_what_is_formatted(void **state)
{
    (void)state;
    struct seen s = {0};
    int formatted = 0;

    log_set_sink(remember, &s);
    assert_int_equal(log_get_level(), LOG_INFO);
    log_debug("test", "%d", ++formatted);
    assert_int_equal(formatted, 0);
    log_info("test", "%d", ++formatted);
    assert_int_equal(formatted, 1);
    assert_int_equal(s.lines, 1);
    assert_int_equal(s.level, LOG_INFO);
    assert_string_equal(s.module, "test");
    assert_string_equal(s.text, "1");
    log_set_level(LOG_ERR);
    log_warn("test", "no");
    log_line(LOG_WARN, "test", "no");
    assert_int_equal(s.lines, 1);
    log_error("test", "yes");
    assert_int_equal(s.lines, 2);
    log_set_level(LOG_TRACE);
    assert_true(log_on(LOG_TRACE));
    log_set_level(LOG_INFO);
    log_set_sink(NULL, NULL);
}

/* Whoever reads beside the sink gets his levels, whatever the sink's is. */
static void a_tap_has_levels_of_its_own(void **state)
{
    (void)state;
    struct seen sink = {0}, tap = {0};

    log_set_sink(remember, &sink);
    log_set_tap(remember, &tap);
    assert_false(log_on(LOG_DEBUG));
    log_info("test", "nobody taps");
    assert_int_equal(tap.lines, 0);
    log_tap_open(LOG_DEBUG);
    log_tap_open(LOG_ERR);
    log_debug("test", "debug");
    assert_int_equal(sink.lines, 1);
    assert_int_equal(tap.lines, 1);
    assert_string_equal(tap.text, "debug");
    log_info("test", "info");
    assert_int_equal(sink.lines, 2);
    assert_int_equal(tap.lines, 2);
    log_tap_close(LOG_DEBUG);
    log_warn("test", "warn");
    assert_int_equal(tap.lines, 2);
    log_error("test", "error");
    assert_int_equal(tap.lines, 3);
    log_tap_close(LOG_ERR);
    log_error("test", "error");
    assert_int_equal(tap.lines, 3);
    log_set_tap(NULL, NULL);
    log_set_sink(NULL, NULL);
}

static void one_event_is_one_line(void **state)
{
    (void)state;
    static struct seen s;
    char text[3000];

    log_set_sink(remember, &s);
    log_info("test", "name=%s", "a\nb\tc\x1b[2J\x7f");
    assert_string_equal(s.text, "name=a?b?c?[2J?");
    log_info("test", "name=%s", "\xc3\xa4"); /* is text, stays */
    assert_string_equal(s.text, "name=\xc3\xa4");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_info("test", "%s", text);
    assert_in_range(strlen(s.text), 1000, 2100);
    assert_string_equal(s.text + strlen(s.text) - 4, "x...");
    log_set_sink(NULL, NULL);
}

static void level_names_read_back(void **state)
{
    (void)state;
    enum log_level l;

    for (int i = LOG_TRACE; i <= LOG_ERR; i++) {
        assert_ok(log_level_parse(log_level_name((enum log_level)i), &l));
        assert_int_equal(l, i);
    }
    assert_ok(log_level_parse("eRr", &l));
    assert_int_equal(l, LOG_ERR);
    assert_ok(log_level_parse("warn", &l));
    assert_int_equal(l, LOG_WARN);
    assert_int_equal(log_level_parse("", &l), ERR_BAD);
    assert_int_equal(log_level_parse("warning!", &l), ERR_BAD);
    assert_int_equal(l, LOG_WARN);
    assert_string_equal(log_level_name((enum log_level)99), "ERROR");
}

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100000; i++)
        metric_add(METRIC_HTTP_REQUESTS, 1);
    return NULL;
}

static void counting_from_many_threads_loses_nothing(void **state)
{
    (void)state;
    pthread_t thread[4];

    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, count, NULL), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(metric_get(METRIC_HTTP_REQUESTS), 400000);
}

static void every_metric_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (enum metric m = 0; m < METRIC_COUNT; m++) {
        assert_true(strlen(metric_name(m)) > 0);
        assert_true(strlen(metric_help(m)) > 0);
        for (enum metric k = 0; k < m; k++)
            assert_string_not_equal(metric_name(k), metric_name(m));
    }
    assert_int_equal(metric_kind_of(METRIC_HTTP_CONNECTIONS), METRIC_GAUGE);
    assert_int_equal(metric_kind_of(METRIC_HTTP_REQUESTS), METRIC_COUNTER);
    metric_set(METRIC_HTTP_CONNECTIONS, 7);
    metric_add(METRIC_HTTP_CONNECTIONS, -2);
    assert_int_equal(metric_get(METRIC_HTTP_CONNECTIONS), 5);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(without_a_sink_nothing_happens),
    cmocka_unit_test(levels_decide_what_is_formatted),
    cmocka_unit_test(a_tap_has_levels_of_its_own),
    cmocka_unit_test(one_event_is_one_line),
    cmocka_unit_test(level_names_read_back),
    cmocka_unit_test(counting_from_many_threads_loses_nothing),
    cmocka_unit_test(every_metric_has_a_name_of_its_own),
};

RUN_TESTS(tests)
