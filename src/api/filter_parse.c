/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The grammar stands in filter.h. Keywords are no reserved words ("Node == and",
 * "not in Meta" are legal), so the parser tries and steps back: over one blank run
 * and one word after an operand, over one "not" before it. It never parses an operand
 * twice, hence linear time.
 *
 * Two kinds of failure. A soft one means that something else may stand here; the
 * furthest place where one happened, and all that was looked for there, become the
 * error if nothing fits in the end. A hard one (fail) ends everything: an unclosed
 * quote has no second reading. */
#include "api/filter_impl.h"

/* What can be looked for, in the order in which Consul lists it. */
enum {
    WANT_NOT_EQUAL = 1 << 0,
    WANT_OPEN = 1 << 1,
    WANT_MINUS = 1 << 2,
    WANT_DOT = 1 << 3,
    WANT_ZERO = 1 << 4,
    WANT_EQUAL = 1 << 5,
    WANT_INDEX = 1 << 6,
    WANT_QUOTE = 1 << 7,
    WANT_RAW_QUOTE = 1 << 8,
    WANT_AND = 1 << 9,
    WANT_CONTAINS = 1 << 10,
    WANT_EMPTY = 1 << 11,
    WANT_IN = 1 << 12,
    WANT_IS = 1 << 13,
    WANT_MATCHES = 1 << 14,
    WANT_NOT = 1 << 15,
    WANT_OR = 1 << 16,
    WANT_BLANK = 1 << 17,
    WANT_DIGIT = 1 << 18,
    WANT_DIGIT_1 = 1 << 19,
    WANT_NAME = 1 << 20,
    WANT_NAME_1 = 1 << 21,
    WANT_END = 1 << 22,
};

static const char *const wants[] = {
    "\"!=\"",       "\"(\"",     "\"-\"",        "\".\"",  "\"0\"",
    "\"==\"",       "\"[\"",     "\"\\\"\"",     "\"`\"",  "\"and\"",
    "\"contains\"", "\"empty\"", "\"in\"",       "\"is\"", "\"matches\"",
    "\"not\"",      "\"or\"",    "[ \\t\\r\\n]", "[0-9]",  "[1-9]",
    "[a-zA-Z0-9_]", "[a-zA-Z]",  "EOF",
};

enum { WANTS = sizeof wants / sizeof wants[0] };

struct parser {
    struct bytes text;
    size_t at;
    struct arena *arena;
    struct errtext *t;
    enum err failed; /* sticky */
    size_t furthest; /* of soft failures */
    unsigned wanted; /* there */
    unsigned depth, terms, regexes;
};

/* --- Errors --------------------------------------------------------------- */

/* Lines and columns count from 1, columns in characters, as Consul does. */
static void position(const struct parser *p, size_t at, size_t *ret_line,
                     size_t *ret_column)
{
    *ret_line = 1;
    *ret_column = 0;
    for (size_t i = 0; i <= at; i++) {
        char c = i < p->text.n ? p->text.p[i] : ' ';
        if (c == '\n') {
            ++*ret_line;
            *ret_column = 0;
        } else if (((unsigned char)c & 0xc0) != 0x80) {
            ++*ret_column;
        }
    }
}

static bool fail_at(struct parser *p, size_t at, const char *what)
{
    size_t line, column;
    if (p->failed != ERR_OK)
        return false;
    position(p, at, &line, &column);
    errtext_set(p->t, "%zu:%zu (%zu): %s", line, column, at, what);
    p->failed = ERR_BAD;
    return false;
}

static bool fail_limit(struct parser *p, const char *what, int limit)
{
    if (p->failed != ERR_OK)
        return false;
    size_t line, column;
    position(p, p->at, &line, &column);
    errtext_set(p->t, "%zu:%zu (%zu): more than %d %s: write it shorter", line,
                column, p->at, limit, what);
    p->failed = ERR_LIMIT;
    return false;
}

static bool fail_nomem(struct parser *p)
{
    if (p->failed == ERR_OK) {
        errtext_set(p->t, "out of memory");
        p->failed = ERR_NOMEM;
    }
    return false;
}

static void fail_wanted(struct parser *p)
{
    struct buf b;
    int left = 0;
    buf_init(&b, 512);
    buf_puts(&b, "no match found, expected: ");
    for (int i = 0; i < WANTS; i++)
        left += (p->wanted >> i & 1) != 0;
    for (int i = 0; i < WANTS; i++) {
        if (!(p->wanted >> i & 1))
            continue;
        buf_puts(&b, wants[i]);
        left--;
        buf_puts(&b, left > 1 ? ", " : left == 1 ? " or " : "");
    }
    buf_putc(&b, '\0');
    (void)fail_at(p, p->furthest, b.bad ? "no match found" : b.p);
    buf_fini(&b);
}

/* --- Characters and words ------------------------------------------------- */

static bool soft(struct parser *p, unsigned want)
{
    if (p->at > p->furthest) {
        p->furthest = p->at;
        p->wanted = 0;
    }
    if (p->at == p->furthest)
        p->wanted |= want;
    return false;
}

static char peek(const struct parser *p)
{
    return p->at < p->text.n ? p->text.p[p->at] : '\0';
}

static bool literal(struct parser *p, const char *s, unsigned want)
{
    struct bytes word = bytes_str(s);
    if (!bytes_starts(bytes_skip(p->text, p->at), word))
        return soft(p, want);
    p->at += word.n;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* At least one blank. */
static bool blanks(struct parser *p)
{
    size_t from = p->at;
    while (is_blank(peek(p)))
        p->at++;
    (void)soft(p, WANT_BLANK);
    return p->at > from;
}

static bool at_end(struct parser *p)
{
    return p->at == p->text.n || soft(p, WANT_END);
}

/* Steps back if the last of several did not fit. */
static bool or_back(struct parser *p, size_t from, bool fits)
{
    if (!fits)
        p->at = from;
    return fits;
}

static bool word(struct parser *p, const char *s, unsigned want)
{
    size_t from = p->at;
    return or_back(p, from, blanks(p) && literal(p, s, want));
}

static bool word_and_blanks(struct parser *p, const char *s, unsigned want)
{
    size_t from = p->at;
    return or_back(p, from, word(p, s, want) && blanks(p));
}

/* --- Selectors and values ------------------------------------------------- */

static bool name(struct parser *p, struct bytes *ret)
{
    size_t from = p->at;
    if (!is_letter(peek(p)))
        return soft(p, WANT_NAME_1);
    while (is_letter(peek(p)) || is_digit(peek(p)) || peek(p) == '_')
        p->at++;
    (void)soft(p, WANT_NAME);
    *ret = bytes_of(p->text.p + from, p->at - from);
    return true;
}

static bool string(struct parser *p, struct bytes *ret)
{
    size_t from = p->at;
    bool raw = literal(p, "`", WANT_RAW_QUOTE);
    if (!raw && !literal(p, "\"", WANT_QUOTE))
        return false;
    struct bytes rest = bytes_skip(p->text, p->at);
    size_t n = bytes_find(rest, raw ? '`' : '"');
    if (n == rest.n)
        return fail_at(p, p->text.n,
                       "rule \"string\": Unterminated string literal");
    *ret = bytes_head(rest, n);
    p->at += n + 1;
    enum err e =
        raw ? ERR_OK : filter_unquote(bytes_head(rest, n), p->arena, ret);
    if (e == ERR_NOMEM)
        return fail_nomem(p);
    return e == ERR_OK || fail_at(p, from, "rule \"string\": invalid syntax");
}

/* ["key"], after the "[" */
static bool index_rest(struct parser *p, struct bytes *ret)
{
    (void)blanks(p);
    size_t from = p->at;
    if (!string(p, ret))
        return fail_at(p, from, "rule \"index\": Invalid index");
    (void)blanks(p);
    if (peek(p) != ']')
        return fail_at(p, p->at, "rule \"index\": Unclosed index expression");
    p->at++;
    return true;
}

static bool next_part(struct parser *p, struct bytes *ret)
{
    size_t from = p->at;
    if (literal(p, ".", WANT_DOT))
        return or_back(p, from, name(p, ret));
    return literal(p, "[", WANT_INDEX) && index_rest(p, ret);
}

struct selector {
    struct bytes parts[FILTER_PARTS_MAX];
    size_t n;
};

static bool selector(struct parser *p, struct selector *s)
{
    s->n = 0;
    if (!name(p, &s->parts[s->n++]))
        return false;
    for (struct bytes part; next_part(p, &part);) {
        if (s->n == FILTER_PARTS_MAX)
            return fail_limit(p, "names in one selector", FILTER_PARTS_MAX);
        s->parts[s->n++] = part;
    }
    return p->failed == ERR_OK;
}

static bool digits(struct parser *p)
{
    size_t from = p->at;
    while (is_digit(peek(p)))
        p->at++;
    (void)soft(p, WANT_DIGIT);
    return p->at > from;
}

/* After a number a name or a second point would be a slip of the pen. */
static bool number_ends(struct parser *p)
{
    if (is_blank(peek(p)))
        return true;
    (void)soft(p, WANT_BLANK);
    return at_end(p) || peek(p) == ')';
}

static bool number(struct parser *p, struct bytes *ret)
{
    size_t from = p->at;
    (void)literal(p, "-", WANT_MINUS);
    if (!literal(p, "0", WANT_ZERO)) {
        if (!is_digit(peek(p)))
            return or_back(p, from, soft(p, WANT_DIGIT_1));
        (void)digits(p);
    }
    size_t whole = p->at;
    (void)or_back(p, whole, literal(p, ".", WANT_DOT) && digits(p));
    if (!number_ends(p))
        return fail_at(p, p->at, "rule \"number\": Invalid number literal");
    *ret = bytes_of(p->text.p + from, p->at - from);
    return true;
}

/* A bare word with dots and indexes is what it says, joined with dots. */
static bool joined(struct parser *p, const struct selector *s,
                   struct bytes *ret)
{
    size_t n = s->n - 1;
    if (s->n == 1) {
        *ret = s->parts[0];
        return true;
    }
    for (size_t i = 0; i < s->n; i++)
        n += s->parts[i].n;
    char *to = arena_alloc(p->arena, n);
    if (!to)
        return fail_nomem(p);
    *ret = bytes_of(to, n);
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            *to++ = '.';
        if (s->parts[i].n)
            memcpy(to, s->parts[i].p, s->parts[i].n);
        to += s->parts[i].n;
    }
    return true;
}

static bool value(struct parser *p, struct bytes *ret)
{
    struct selector s;
    if (selector(p, &s))
        return joined(p, &s, ret);
    return p->failed == ERR_OK &&
           (number(p, ret) || (p->failed == ERR_OK && string(p, ret)));
}

/* --- Matches -------------------------------------------------------------- */

static struct filter_node *node_new(struct parser *p, enum filter_kind kind)
{
    struct filter_node *n = arena_zalloc(p->arena, sizeof *n);
    if (n)
        n->kind = kind;
    else
        (void)fail_nomem(p);
    return n;
}

static struct filter_node *term_new(struct parser *p, enum filter_op op,
                                    bool negated, const struct selector *s,
                                    struct bytes v)
{
    if (++p->terms > FILTER_TERMS_MAX) {
        (void)fail_limit(p, "matches in one filter", FILTER_TERMS_MAX);
        return NULL;
    }
    if (op == FILTER_MATCHES && ++p->regexes > FILTER_REGEX_TERMS_MAX) {
        (void)fail_limit(p, "regular expressions in one filter",
                         FILTER_REGEX_TERMS_MAX);
        return NULL;
    }
    struct filter_node *n = node_new(p, FILTER_TERM);
    struct filter_term *term = arena_zalloc(p->arena, sizeof *term);
    struct bytes *parts = arena_alloc(p->arena, s->n * sizeof *parts);
    if (!n || !term || !parts) {
        (void)fail_nomem(p);
        return NULL;
    }
    memcpy(parts, s->parts, s->n * sizeof *parts);
    *term = (struct filter_term){.op = op,
                                 .negated = negated,
                                 .parts = parts,
                                 .part_count = s->n,
                                 .value = v};
    n->term = term;
    return n;
}

/* An operator that a value follows, with the blanks around it. */
static bool operator_value(struct parser *p, enum filter_op *ret, bool *negated)
{
    size_t from = p->at;
    (void)blanks(p);
    bool equal = literal(p, "==", WANT_EQUAL);
    *negated = !equal && literal(p, "!=", WANT_NOT_EQUAL);
    if (equal || *negated) {
        *ret = FILTER_EQUAL;
        (void)blanks(p);
        return true;
    }
    p->at = from;
    *negated = word(p, "not", WANT_NOT);
    if (word_and_blanks(p, "contains", WANT_CONTAINS))
        *ret = FILTER_IN;
    else if (word_and_blanks(p, "matches", WANT_MATCHES))
        *ret = FILTER_MATCHES;
    else
        return or_back(p, from, false);
    return true;
}

static bool operator_empty(struct parser *p, bool *negated)
{
    size_t from = p->at;
    if (!word(p, "is", WANT_IS))
        return false;
    *negated = word(p, "not", WANT_NOT);
    return or_back(p, from, word(p, "empty", WANT_EMPTY));
}

static bool operator_in(struct parser *p, bool *negated)
{
    size_t from = p->at;
    *negated = word(p, "not", WANT_NOT);
    return or_back(p, from, word_and_blanks(p, "in", WANT_IN));
}

static struct filter_node *value_in_selector(struct parser *p, struct bytes v,
                                             bool negated)
{
    struct selector s;
    size_t from = p->at;
    if (selector(p, &s))
        return term_new(p, FILTER_IN, negated, &s, v);
    (void)fail_at(p, from, "rule \"match\": Invalid selector");
    return NULL;
}

static struct filter_node *match(struct parser *p)
{
    struct selector s;
    struct bytes v = {0};
    enum filter_op op;
    bool negated;
    size_t from = p->at;
    if (selector(p, &s)) {
        size_t after = p->at;
        if (operator_value(p, &op, &negated)) {
            if (value(p, &v))
                return term_new(p, op, negated, &s, v);
            p->at = after;
        }
        if (p->failed == ERR_OK && operator_empty(p, &negated))
            return term_new(p, FILTER_IS_EMPTY, negated, &s, v);
        if (p->failed == ERR_OK && operator_in(p, &negated))
            return joined(p, &s, &v) ? value_in_selector(p, v, negated) : NULL;
    } else if (p->failed == ERR_OK) {
        bool literal_value =
            number(p, &v) || (p->failed == ERR_OK && string(p, &v));
        if (literal_value && operator_in(p, &negated))
            return value_in_selector(p, v, negated);
    }
    p->at = from;
    return NULL;
}

/* --- and, or, not, ( ) ---------------------------------------------------- */

static struct filter_node *expression(struct parser *p);

/* "(" and what follows; NULL with nothing failed: it is no group. */
static struct filter_node *group(struct parser *p)
{
    size_t from = p->at;
    if (!literal(p, "(", WANT_OPEN))
        return NULL;
    (void)blanks(p);
    struct filter_node *n = expression(p);
    if (!n) {
        p->at = from;
        return NULL;
    }
    (void)blanks(p);
    if (peek(p) != ')') {
        (void)fail_at(p, p->at, "rule \"grouping\": Unmatched parentheses");
        return NULL;
    }
    p->at++;
    return n;
}

/* "not" is an operator if a term follows, else perhaps a name or a value. */
static struct filter_node *unary(struct parser *p)
{
    size_t from = p->at;
    struct filter_node *n = NULL;
    if (++p->depth > FILTER_DEPTH_MAX + 1)
        (void)fail_limit(p, "parentheses and \"not\" in one another",
                         FILTER_DEPTH_MAX);
    if (p->failed == ERR_OK && literal(p, "not", WANT_NOT)) {
        if (blanks(p))
            n = unary(p);
        if (n)
            n->negated = !n->negated;
        else
            p->at = from;
    }
    if (!n && p->failed == ERR_OK)
        n = group(p);
    if (!n && p->failed == ERR_OK)
        n = match(p);
    p->depth--;
    return p->failed == ERR_OK ? n : NULL;
}

/* Operands beside each other: the parent is only made for two or more. */
static struct filter_node *
several(struct parser *p, enum filter_kind kind,
        struct filter_node *(*operand)(struct parser *), const char *s,
        unsigned want)
{
    struct filter_node *first = operand(p), *parent = first, *last = first;
    while (last && p->failed == ERR_OK) {
        size_t from = p->at;
        struct filter_node *n = word_and_blanks(p, s, want) ? operand(p) : NULL;
        if (!n) {
            p->at = from;
            break;
        }
        if (parent == first) {
            parent = node_new(p, kind);
            if (!parent)
                return NULL;
            parent->first = first;
        }
        last->next = n;
        last = n;
    }
    return p->failed == ERR_OK ? parent : NULL;
}

static struct filter_node *conjunction(struct parser *p)
{
    return several(p, FILTER_AND, unary, "and", WANT_AND);
}

static struct filter_node *expression(struct parser *p)
{
    return several(p, FILTER_OR, conjunction, "or", WANT_OR);
}

/* --- The whole ------------------------------------------------------------ */

enum err filter_read(struct bytes text, struct arena *a,
                     struct filter_node **ret, struct errtext *t)
{
    struct parser reader = {.text = text, .arena = a, .t = t};
    struct parser *p = &reader;
    (void)blanks(p);
    *ret = expression(p);
    if (*ret) {
        (void)blanks(p);
        if (at_end(p))
            return ERR_OK;
    }
    if (p->failed == ERR_OK)
        fail_wanted(p);
    return p->failed;
}
