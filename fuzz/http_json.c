/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* http_json - what json_decode accepts, written again, decodes to the same;
 * what the scan accepts jansson accepts, and the other way round; strings,
 * numbers and raw values mean the same to both. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "http/json_in.h"
#include "http/json_out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what, struct bytes a, struct bytes b)
{
    if (holds)
        return;
    fprintf(stderr, "http_json: %s\n--- one:\n%.*s\n--- other:\n%.*s\n", what,
            BYTES_ARG(a), BYTES_ARG(b));
    abort();
}

/* --- a struct with every kind of field ----------------------------------- */

struct item {
    struct bytes s;
    int64_t i;
};

struct all {
    struct bytes s;
    int64_t i, d;
    bool b, has_b;
    struct json_strings list;
    struct json_map map;
    struct json_headers headers;
    struct item *object;
    struct json_list items;
    struct json_named named;
    struct bytes raw;
};

static const struct json_field item_fields[] = {
    {"S", NULL, FIELD_STRING, offsetof(struct item, s), NULL, JSON_NO_FLAG},
    {"I", NULL, FIELD_INT, offsetof(struct item, i), NULL, JSON_NO_FLAG},
};
static const struct json_table item_table = {item_fields, 2,
                                             sizeof(struct item)};

/* clang-format off */
#define ALL(name, alias, kind, member, of) \
    {name, alias, kind, offsetof(struct all, member), of, JSON_NO_FLAG}
static const struct json_field all_fields[] = {
    ALL("S", NULL, FIELD_STRING, s, NULL),
    ALL("I", "int", FIELD_INT, i, NULL),
    ALL("D", NULL, FIELD_DURATION, d, NULL),
    {"B", "bool,flag", FIELD_BOOL, offsetof(struct all, b), NULL,
     offsetof(struct all, has_b)},
    ALL("List", NULL, FIELD_STRINGS, list, NULL),
    ALL("Map", NULL, FIELD_MAP, map, NULL),
    ALL("Headers", NULL, FIELD_HEADERS, headers, NULL),
    ALL("Object", NULL, FIELD_OBJECT, object, &item_table),
    ALL("Items", NULL, FIELD_LIST, items, &item_table),
    ALL("Named", NULL, FIELD_NAMED, named, &item_table),
    ALL("Raw", NULL, FIELD_RAW, raw, NULL),
    ALL("Ignore", NULL, FIELD_IGNORE, s, NULL),
};
/* clang-format on */
static const struct json_table all_table = {
    all_fields, sizeof all_fields / sizeof all_fields[0], sizeof(struct all)};

/* --- writing it again ---------------------------------------------------- */

static void write_strings(struct json_out *j, const struct json_strings *list)
{
    if (!list->set) {
        json_nil(j);
        return;
    }
    json_open(j, '[');
    for (size_t i = 0; i < list->n; i++)
        json_str(j, list->v[i]);
    json_close(j, ']');
}

static void write_item(struct json_out *j, const struct item *item)
{
    json_open(j, '{');
    json_key(j, "S");
    json_str(j, item->s);
    json_key(j, "I");
    json_i64(j, item->i);
    json_close(j, '}');
}

static void write_scalars(struct json_out *j, const struct all *all)
{
    json_key(j, "S");
    json_str(j, all->s);
    json_key(j, "int");
    json_i64(j, all->i);
    json_key(j, "D");
    json_i64(j, all->d);
    if (all->has_b) {
        json_key(j, "FLAG");
        json_bool(j, all->b);
    }
    if (all->raw.p) {
        json_key(j, "Raw");
        json_raw(j, all->raw);
    }
}

static void write_maps(struct json_out *j, const struct all *all)
{
    if (all->map.set) {
        json_key(j, "Map");
        json_open(j, '{');
        for (size_t i = 0; i < all->map.n; i++) {
            json_key_bytes(j, all->map.v[i].key);
            json_str(j, all->map.v[i].value);
        }
        json_close(j, '}');
    }
    if (all->headers.set) {
        json_key(j, "Headers");
        json_open(j, '{');
        for (size_t i = 0; i < all->headers.n; i++) {
            json_key_bytes(j, all->headers.v[i].name);
            write_strings(j, &all->headers.v[i].values);
        }
        json_close(j, '}');
    }
}

static void write_items(struct json_out *j, const struct all *all)
{
    const struct item *items = all->items.v;
    const struct item *named = all->named.v;

    if (all->object) {
        json_key(j, "Object");
        write_item(j, all->object);
    }
    if (all->items.set) {
        json_key(j, "Items");
        json_open(j, '[');
        for (size_t i = 0; i < all->items.n; i++)
            write_item(j, &items[i]);
        json_close(j, ']');
    }
    if (all->named.set) {
        json_key(j, "Named");
        json_open(j, '{');
        for (size_t i = 0; i < all->named.n; i++) {
            json_key_bytes(j, all->named.names[i]);
            write_item(j, &named[i]);
        }
        json_close(j, '}');
    }
}

static void write_all(struct buf *out, const struct all *all)
{
    struct json_out j = json_out(out);

    json_open(&j, '{');
    write_scalars(&j, all);
    json_key(&j, "List");
    write_strings(&j, &all->list);
    write_maps(&j, all);
    write_items(&j, all);
    json_close(&j, '}');
}

/* --- the second opinion -------------------------------------------------- */

/* Parses the first value; NULL and the reason if jansson refuses. */
static json_t *ask(struct bytes text, json_error_t *e)
{
    size_t flags = JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY;

    return json_loadb(text.n ? text.p : "", text.n, flags, e);
}

/* jansson also reads the token behind a scalar document, and 2.14 loses a NUL
 * behind a number. */
static bool comparable(struct bytes text)
{
    size_t i = 0;

    while (i < text.n && strchr(" \t\r\n", text.p[i]) && text.p[i])
        i++;
    return i < text.n && (text.p[i] == '{' || text.p[i] == '[') &&
           bytes_find(text, '\0') == text.n;
}

static void same_opinion(struct bytes text, enum err bound)
{
    json_error_t e;
    json_t *v = ask(text, &e);

    /* It checks the range of numbers that nobody reads, too. */
    if (bound == ERR_OK)
        must(v || json_error_code(&e) == json_error_numeric_overflow,
             "jansson refuses", text, bytes_str(e.text));
    else if (bound == ERR_BAD)
        must(!v, "jansson accepts", text, (struct bytes){NULL, 0});
    json_decref(v);
}

static struct bytes string_of(const json_t *v)
{
    return bytes_of(json_string_value(v), json_string_length(v));
}

/* The members that both can read without a table. */
static void same_members(struct bytes text, const struct all *all)
{
    json_error_t e;
    json_t *v = ask(text, &e);
    const char *name;
    json_t *m;

    if (v && json_is_object(v)) {
        json_object_foreach(v, name, m)
        {
            if (json_is_null(m))
                continue;
            if (strcasecmp(name, "s") == 0)
                must(bytes_eq(string_of(m), all->s), "string", all->s,
                     string_of(m));
            if (strcasecmp(name, "i") == 0 || strcasecmp(name, "int") == 0)
                must(json_integer_value(m) == all->i, "int", text, text);
            if (strcasecmp(name, "raw") == 0) {
                json_t *raw = ask(all->raw, &e);
                must(raw && json_equal(raw, m), "raw", text, all->raw);
                json_decref(raw);
            }
        }
    }
    json_decref(v);
}

/* --- the property -------------------------------------------------------- */

static void reads_back(const struct all *all)
{
    struct errtext t = {0};
    struct all again;
    struct buf one = {0};
    struct buf two = {0};
    struct arena a;

    arena_init(&a, 0);
    write_all(&one, all);
    enum err e = json_decode(buf_bytes(&one), &all_table, &again, &a, &t);
    /* What was left out before, empty objects for null ones, may be too much.
     */
    must(e == ERR_OK || e == ERR_LIMIT, "own JSON refused", buf_bytes(&one),
         bytes_str(t.s));
    if (e == ERR_OK) {
        write_all(&two, &again);
        must(bytes_eq(buf_bytes(&one), buf_bytes(&two)), "changed",
             buf_bytes(&one), buf_bytes(&two));
    }
    arena_fini(&a);
    buf_fini(&one);
    buf_fini(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes text = bytes_of(data, n);
    struct errtext t = {0};
    struct json_list list;
    struct all all;
    struct arena a;

    enum err bound = json_bound(text, &t);
    must((bound == ERR_OK) == (t.s[0] == '\0'), "text", text, bytes_str(t.s));
    must(bytes_utf8(bytes_str(t.s)), "text is not UTF-8", text, bytes_str(t.s));
    if (comparable(text))
        same_opinion(text, bound);

    arena_init(&a, 0);
    if (json_decode(text, &all_table, &all, &a, &t) == ERR_OK) {
        must(bound == ERR_OK, "decoded beyond its bound", text, text);
        same_members(text, &all);
        reads_back(&all);
    }
    (void)!json_decode_list(text, &item_table, &list, &a, &t);
    arena_fini(&a);
    return 0;
}
