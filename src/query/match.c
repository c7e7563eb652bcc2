/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Groups need PCRE2's backtracking matcher, whose first match is that of RE2: the
 * leftmost, alternatives in their order. It may take exponentially many steps, so
 * they are counted, and a name it takes too many for is an error. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/re2.h"
#include "query/impl.h"

enum { COMPILED_BYTES_MAX = 32 * 1024, HEAP_KIB_MAX = 64 };

static void *from_arena(PCRE2_SIZE n, void *arena)
{
    return arena_alloc(arena, n);
}

static void of_arena(void *p, void *arena)
{
    (void)p;
    (void)arena;
}

static enum err too_long(struct errtext *t)
{
    errtext_set(t,
                "the regular expression has more than %d bytes or %d groups, "
                "or grows too large: write it simpler",
                RE2_BYTES_MAX, QUERY_GROUPS_MAX);
    return ERR_LIMIT;
}

static enum err compile(struct bytes pattern, pcre2_general_context *g,
                        pcre2_code **ret, struct errtext *t)
{
    pcre2_compile_context *c = pcre2_compile_context_create(g);
    uint32_t groups = 0;
    size_t size = 0, at;
    int code;

    if (!c || pcre2_set_newline(c, PCRE2_NEWLINE_LF) != 0)
        return ERR_NOMEM;
    *ret = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n,
                         PCRE2_UTF | PCRE2_ALT_CIRCUMFLEX, &code, &at, c);
    if (!*ret) {
        PCRE2_UCHAR text[128];
        if (code == 121) /* failed to allocate heap memory */
            return ERR_NOMEM;
        (void)pcre2_get_error_message(code, text, sizeof text);
        errtext_set(t, "%s", (const char *)text);
        return ERR_BAD;
    }
    (void)pcre2_pattern_info(*ret, PCRE2_INFO_SIZE, &size);
    (void)pcre2_pattern_info(*ret, PCRE2_INFO_CAPTURECOUNT, &groups);
    return size > COMPILED_BYTES_MAX || groups > QUERY_GROUPS_MAX ? too_long(t)
                                                                  : ERR_OK;
}

static enum err run(const pcre2_code *code, struct bytes text,
                    pcre2_general_context *g, struct template_values *v,
                    struct errtext *t)
{
    pcre2_match_context *c = pcre2_match_context_create(g);
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(code, g);

    if (!c || !m)
        return ERR_NOMEM;
    (void)pcre2_set_match_limit(c, QUERY_STEPS_MAX);
    (void)pcre2_set_heap_limit(c, HEAP_KIB_MAX);
    int n = pcre2_match(code, (PCRE2_SPTR)text.p, text.n, 0, 0, m, c);
    if (n == PCRE2_ERROR_NOMATCH ||
        (n <= 0 && n <= PCRE2_ERROR_UTF8_ERR1 && n >= PCRE2_ERROR_UTF8_ERR21))
        return ERR_OK;
    if (n < 0) {
        errtext_set(t, "the regular expression needs too many steps for this "
                       "name: write it simpler");
        return ERR_LIMIT;
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(m);
    v->match_count = (size_t)n;
    for (int i = 0; i < n && i <= QUERY_GROUPS_MAX; i++)
        if (at[2 * i] != PCRE2_UNSET)
            v->match[i] =
                bytes_of(text.p + at[2 * i], at[2 * i + 1] - at[2 * i]);
    return ERR_OK;
}

enum err template_match(struct bytes pattern, struct bytes text,
                        struct arena *a, struct template_values *v,
                        struct errtext *t)
{
    pcre2_general_context *g =
        pcre2_general_context_create(from_arena, of_arena, a);
    pcre2_code *code;
    struct buf b;

    v->match_count = 0;
    if (pattern.n == 0)
        return ERR_OK;
    if (pattern.n > RE2_BYTES_MAX)
        return too_long(t);
    if (!g)
        return ERR_NOMEM;
    buf_init(&b, 0);
    enum err e = re2_translate(pattern, true, &b, t);
    if (e == ERR_OK && b.bad)
        e = ERR_NOMEM;
    if (e == ERR_OK)
        e = compile(buf_bytes(&b), g, &code, t);
    if (e == ERR_OK && text.p)
        e = run(code, text, g, v, t);
    buf_fini(&b);
    return e;
}
