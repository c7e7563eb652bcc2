/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* config_agent - what the tests of agent_config share: one configuration, made
 * from texts. */
#ifndef UNIT_CONFIG_AGENT_H
#define UNIT_CONFIG_AGENT_H

#include "test.h"

#include "config/agent_config.h"
#include "config/text.h"

enum { NOTICES_MAX = 64 };

static struct arena arena;
static struct agent_config c;
static struct errtext t;

static struct {
    struct config_notice v[NOTICES_MAX];
    int n;
} notices;

static void note(void *ctx, const struct config_notice *n)
{
    (void)ctx;
    if (notices.n < NOTICES_MAX)
        notices.v[notices.n++] = *n;
}

static void start(bool dev)
{
    agent_config_init(&c, &arena, dev);
    t = (struct errtext){0};
    notices.n = 0;
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    start(false);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static enum err apply(const char *file, const char *text)
{
    struct config_value *tree = NULL;
    enum err e = config_text_parse(config_format_of(file), file,
                                   bytes_str(text), &arena, &tree, &t);

    return e == ERR_OK ? agent_config_apply(&c, tree, note, NULL, &t) : e;
}

static void good(const char *text)
{
    if (apply("x.hcl", text) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
}

static inline void good_json(const char *text)
{
    if (apply("x.json", text) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
}

static inline void valid(void)
{
    if (agent_config_validate(&c, &t) != ERR_OK)
        fail_msg("%s", t.s);
}

static inline void refused(const char *text, const char *message)
{
    start(false);
    assert_int_equal(apply("x.hcl", text), ERR_BAD);
    assert_string_equal(t.s, message);
}

/* Applies, but does not hold together. */
static inline void invalid(const char *text, const char *message)
{
    start(false);
    good("data_dir = \"/d\"");
    if (apply("x.hcl", text) != ERR_OK)
        fail_msg("%s: %s", text, t.s);
    assert_int_equal(agent_config_validate(&c, &t), ERR_BAD);
    assert_string_equal(t.s, message);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
