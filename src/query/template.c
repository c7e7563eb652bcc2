/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Consul takes these texts apart with a language of its own (HIL) that can also
 * calculate. Of that language there is what its documentation shows for prepared
 * queries; all else is refused when a query is written, so that no query means
 * something else here than there. */
#include "query/impl.h"

_Static_assert(QUERY_PARTS_MAX == 64, "a message names it");

struct expression {
    struct bytes rest;
    const struct template_values *v;
};

static void skip_blanks(struct expression *e)
{
    while (e->rest.n && strchr(" \t\r\n", e->rest.p[0]))
        e->rest = bytes_skip(e->rest, 1);
}

static bool take(struct expression *e, const char *word)
{
    skip_blanks(e);
    if (!bytes_starts(e->rest, bytes_str(word)))
        return false;
    e->rest = bytes_skip(e->rest, strlen(word));
    return true;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

static struct bytes take_word(struct expression *e)
{
    size_t n = 0;

    skip_blanks(e);
    while (n < e->rest.n && is_word_char(e->rest.p[n]))
        n++;
    struct bytes word = bytes_head(e->rest, n);
    e->rest = bytes_skip(e->rest, n);
    return word;
}

/* The number may be a string, as in Consul. Over the limit: none has it. */
static bool take_number(struct expression *e, size_t *ret)
{
    bool quoted = take(e, "\"");
    struct bytes word = take_word(e);
    uint64_t n = 0;
    enum err err = bytes_u64(word, &n);

    if (err != ERR_OK && err != ERR_LIMIT)
        return false;
    *ret = err == ERR_LIMIT || n > QUERY_GROUPS_MAX ? QUERY_GROUPS_MAX + 1
                                                    : (size_t)n;
    return !quoted || take(e, "\"");
}

static bool call_match(struct expression *e, struct buf *out)
{
    size_t n;

    if (!take(e, "(") || !take_number(e, &n) || !take(e, ")"))
        return false;
    if (n < e->v->match_count)
        buf_put(out, e->v->match[n]);
    return true;
}

/* "text", without escapes. */
static bool literal(struct expression *e, struct buf *out)
{
    size_t n = bytes_find(e->rest, '"');

    if (n == e->rest.n || bytes_find(bytes_head(e->rest, n), '\\') < n ||
        bytes_find(bytes_head(e->rest, n), '$') < n)
        return false;
    buf_put(out, bytes_head(e->rest, n));
    e->rest = bytes_skip(e->rest, n + 1);
    return true;
}

/* What stands between the braces. */
static bool evaluate(struct expression *e, struct buf *out)
{
    if (take(e, "\""))
        return literal(e, out);
    struct bytes word = take_word(e);
    if (bytes_is(word, "match"))
        return call_match(e, out);
    if (bytes_is(word, "name.full"))
        buf_put(out, e->v->full);
    else if (bytes_is(word, "name.prefix"))
        buf_put(out, e->v->prefix);
    else if (bytes_is(word, "name.suffix"))
        buf_put(out, e->v->suffix);
    else
        return bytes_is(word, "agent.segment");
    return true;
}

static enum err refuse(const char *why, struct errtext *t)
{
    errtext_set(t, "%s", why);
    return ERR_BAD;
}

enum err template_render(struct bytes text, const struct template_values *v,
                         struct buf *out, struct errtext *t)
{
    size_t before = out->n, parts = 0;

    while (text.n) {
        size_t n = bytes_find(text, '$');
        buf_put(out, bytes_head(text, n));
        text = bytes_skip(text, n);
        if (bytes_starts(text, bytes_str("$$"))) {
            buf_putc(out, '$');
            text = bytes_skip(text, 2);
        } else if (bytes_starts(text, bytes_str("${"))) {
            struct expression e = {bytes_skip(text, 2), v};
            if (++parts > QUERY_PARTS_MAX)
                return refuse("more than 64 expressions", t);
            if (!evaluate(&e, out))
                return refuse("${...} takes name.full, name.prefix, "
                              "name.suffix, match(N), agent.segment, \"text\"",
                              t);
            if (!take(&e, "}"))
                return refuse("an expression does not end with '}'", t);
            text = e.rest;
        } else if (text.n) {
            buf_putc(out, '$');
            text = bytes_skip(text, 1);
        }
        if (out->n - before > QUERY_RENDERED_MAX) {
            errtext_set(t, "the text grows over %d bytes", QUERY_RENDERED_MAX);
            return ERR_LIMIT;
        }
    }
    return ERR_OK;
}
