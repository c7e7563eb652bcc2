/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions by PCRE2's breadth-first matcher (pcre2_dfa_match): it goes
 * through the text once with the list of all states, never back; RE2 patterns have none
 * of what it cannot do. Its cost per character is half the square of the list, and
 * repetitions inside repetitions ("(a+a+)+") fill the list with doubles. So the list has
 * little room at first, enough for most patterns and cheap whatever the text is. What
 * needs more gets more, at the worst price of each size, from an allowance that the
 * filter has for all rows together; once that is used up it is an error.
 *
 * To search, not only to match at the start, "(?s:.)*" goes before the pattern: one
 * pass, where trying each start would make it quadratic. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "api/filter_impl.h"
#include "base/re2.h"

enum {
    STATES_MAX = 1024,
    INTS_PER_STATE = 6,
    COMPILED_BYTES_MAX = 32 * 1024,
};

struct filter_regex {
    pcre2_code *code;
    pcre2_match_data *match;
};

/* The first is free: a text of 4 kB takes about a millisecond. */
static const uint64_t sizes[] = {24, 96, 384, STATES_MAX};

static void *from_arena(PCRE2_SIZE n, void *arena)
{
    return arena_alloc(arena, n);
}

static void of_arena(void *p, void *arena)
{
    (void)p;
    (void)arena;
}

static enum err compile(struct bytes pattern, pcre2_general_context *g,
                        struct filter_regex *r, struct errtext *t)
{
    pcre2_compile_context *c = pcre2_compile_context_create(g);
    int code;
    PCRE2_SIZE at;
    size_t size = 0;
    if (!c || pcre2_set_newline(c, PCRE2_NEWLINE_LF) != 0)
        return ERR_NOMEM;
    r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                            PCRE2_UTF | PCRE2_ALT_CIRCUMFLEX, &code, &at, c);
    if (!r->code) {
        PCRE2_UCHAR text[128];
        if (code == 121) /* failed to allocate heap memory */
            return ERR_NOMEM;
        (void)pcre2_get_error_message(code, text, sizeof text);
        errtext_set(t, "%s", (const char *)text);
        return ERR_BAD;
    }
    (void)pcre2_pattern_info(r->code, PCRE2_INFO_SIZE, &size);
    if (size > COMPILED_BYTES_MAX) {
        errtext_set(t,
                    "it takes %zu bytes, more than %d: repeat less, or use "
                    "fewer classes",
                    size, COMPILED_BYTES_MAX);
        return ERR_LIMIT;
    }
    r->match = pcre2_match_data_create(1, g);
    return r->match ? ERR_OK : ERR_NOMEM;
}

enum err filter_regex_new(struct bytes pattern, struct arena *a,
                          struct filter_regex **ret, struct errtext *t)
{
    struct filter_regex *r = arena_zalloc(a, sizeof *r);
    pcre2_general_context *g =
        pcre2_general_context_create(from_arena, of_arena, a);
    struct buf b;
    if (!r || !g)
        return ERR_NOMEM;
    if (pattern.n > RE2_BYTES_MAX) {
        errtext_set(t, "%zu bytes are more than %d: write it shorter",
                    pattern.n, RE2_BYTES_MAX);
        return ERR_LIMIT;
    }
    buf_init(&b, 0);
    buf_puts(&b, "(?s:.)*(?:");
    enum err e = re2_translate(pattern, false, &b, t);
    buf_putc(&b, ')');
    if (e == ERR_OK && b.bad)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = compile(buf_bytes(&b), g, r, t);
    buf_fini(&b);
    if (e == ERR_OK)
        *ret = r;
    return e;
}

static int search(const struct filter_regex *r, struct bytes text,
                  uint64_t states)
{
    int room[2 + INTS_PER_STATE * STATES_MAX];
    return pcre2_dfa_match(
        r->code, (PCRE2_SPTR)(text.p ? text.p : ""), text.n, 0,
        PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK | PCRE2_DFA_SHORTEST, r->match,
        NULL, room, 2 + INTS_PER_STATE * states);
}

static uint64_t steps(uint64_t states, size_t n)
{
    return states * states / 2 * n;
}

enum filter_found filter_regex_search(const struct filter_regex *r,
                                      struct bytes text, uint64_t *allowance)
{
    if (!bytes_utf8(text)) /* nothing that a pattern of characters describes */
        return FILTER_NOT_FOUND;
    int got = search(r, text, sizes[0]);
    for (size_t i = 1; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t price = steps(sizes[i], text.n);
        if (got != PCRE2_ERROR_DFA_WSSIZE || price > *allowance)
            break;
        *allowance -= price;
        got = search(r, text, sizes[i]);
    }
    return got >= 0                     ? FILTER_FOUND
           : got == PCRE2_ERROR_NOMATCH ? FILTER_NOT_FOUND
                                        : FILTER_TOO_MANY_STEPS;
}
