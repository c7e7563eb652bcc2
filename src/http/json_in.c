/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_in.h"

#include <stdlib.h>

#include "base/check.h"
#include "http/json_scan.h"
#include "http/json_value.h"

enum {
    FIELDS_MAX = 128,
    /* One list's structs: empty objects cost two bytes to send. */
    LIST_BYTES_MAX = 16 << 20,
};

static enum err decode_strings(const struct json_decoder *d,
                               const struct json_path *path, struct bytes value,
                               struct json_strings *ret)
{
    struct bytes rest, item;

    if (json_is_null(value))
        return ERR_OK;
    if (value.p[0] != '[')
        return json_wrong_type(d, path, value, "[]string");
    rest = json_inside(value);
    ret->v = arena_alloc(d->arena, json_count(rest) * sizeof *ret->v);
    if (!ret->v)
        return json_nomem(d);
    ret->set = true;
    while (json_take(&rest, &item)) {
        enum err e = json_take_string(d, path, item, &ret->v[ret->n++]);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* A member of an object with free names: the value is still text. */
struct member {
    struct bytes name, value;
};

struct members {
    struct member *v;
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return bytes_cmp(((const struct member *)a)->name,
                     ((const struct member *)b)->name);
}

/* All members of an object by name, each name once; want is what to call it. */
static enum err take_members(const struct json_decoder *d,
                             const struct json_path *path, struct bytes value,
                             const char *want, struct members *ret)
{
    struct bytes rest, quoted;

    if (value.p[0] != '{')
        return json_wrong_type(d, path, value, want);
    rest = json_inside(value);

    struct member *v = arena_alloc(d->arena, json_count(rest) / 2 * sizeof *v);
    size_t n = 0;

    if (!v)
        return json_nomem(d);
    while (json_take(&rest, &quoted)) {
        enum err e = json_unquote(d, quoted, &v[n].name);
        if (e != ERR_OK)
            return e;
        (void)json_take(&rest, &v[n++].value);
    }
    if (n > 1)
        qsort(v, n, sizeof *v, by_name);
    for (size_t i = 1; i < n; i++)
        if (bytes_eq(v[i - 1].name, v[i].name))
            return json_given_twice(d, path, v[i].name);
    *ret = (struct members){v, n};
    return ERR_OK;
}

static enum err decode_map(const struct json_decoder *d,
                           const struct json_path *path, struct bytes value,
                           struct json_map *ret)
{
    struct members members;
    enum err e = take_members(d, path, value, "map[string]string", &members);

    if (e != ERR_OK)
        return e;
    ret->v = arena_alloc(d->arena, members.n * sizeof *ret->v);
    if (!ret->v)
        return json_nomem(d);
    ret->set = true;
    for (; e == ERR_OK && ret->n < members.n; ret->n++) {
        struct json_pair *pair = &ret->v[ret->n];
        pair->key = members.v[ret->n].name;
        e = json_take_string(d, path, members.v[ret->n].value, &pair->value);
    }
    return e;
}

static enum err decode_headers(const struct json_decoder *d,
                               const struct json_path *path, struct bytes value,
                               struct json_headers *ret)
{
    struct members members;
    enum err e = take_members(d, path, value, "map[string][]string", &members);

    if (e != ERR_OK)
        return e;
    ret->v = arena_zalloc(d->arena, members.n * sizeof *ret->v);
    if (!ret->v)
        return json_nomem(d);
    ret->set = true;
    for (; e == ERR_OK && ret->n < members.n; ret->n++) {
        struct json_header *h = &ret->v[ret->n];
        h->name = members.v[ret->n].name;
        e = decode_strings(d, path, members.v[ret->n].value, &h->values);
    }
    return e;
}

static enum err decode_object(const struct json_decoder *d,
                              const struct json_path *path,
                              const struct json_table *table,
                              struct bytes value, void *out);

/* Room for n structs of a list, cleared. */
static enum err structs_alloc(const struct json_decoder *d,
                              const struct json_path *path,
                              const struct json_table *table, size_t n,
                              void **ret)
{
    char field[JSON_PATH_BYTES];

    if (n > LIST_BYTES_MAX / table->size) {
        json_path_text(path, field, sizeof field);
        errtext_set(d->t, "json: %zu objects in %s, at most %zu are allowed", n,
                    path ? field : "the list", LIST_BYTES_MAX / table->size);
        return ERR_LIMIT;
    }
    *ret = arena_zalloc(d->arena, n * table->size);
    return *ret ? ERR_OK : json_nomem(d);
}

static enum err decode_list(const struct json_decoder *d,
                            const struct json_path *path,
                            const struct json_table *table, struct bytes value,
                            struct json_list *ret)
{
    struct bytes rest, item;

    if (json_is_null(value))
        return ERR_OK;
    if (value.p[0] != '[')
        return json_wrong_type(d, path, value, "[]object");
    rest = json_inside(value);
    enum err e = structs_alloc(d, path, table, json_count(rest), &ret->v);
    ret->set = e == ERR_OK;
    while (e == ERR_OK && json_take(&rest, &item)) {
        char *out = (char *)ret->v + ret->n++ * table->size;
        e = item.p[0] == '{' ? decode_object(d, path, table, item, out)
                             : json_wrong_type(d, path, item, "object");
    }
    return e;
}

static enum err decode_named(const struct json_decoder *d,
                             const struct json_path *path,
                             const struct json_table *table, struct bytes value,
                             struct json_named *ret)
{
    struct members members;
    enum err e = take_members(d, path, value, "map[string]object", &members);

    if (e == ERR_OK)
        e = structs_alloc(d, path, table, members.n, &ret->v);
    if (e != ERR_OK)
        return e;
    ret->names = arena_alloc(d->arena, members.n * sizeof *ret->names);
    if (!ret->names)
        return json_nomem(d);
    ret->set = true;
    for (; e == ERR_OK && ret->n < members.n; ret->n++) {
        char *out = (char *)ret->v + ret->n * table->size;
        struct bytes item = members.v[ret->n].value;
        ret->names[ret->n] = members.v[ret->n].name;
        if (!json_is_null(item))
            e = decode_object(d, path, table, item, out);
    }
    return e;
}

static enum err decode_pointer(const struct json_decoder *d,
                               const struct json_path *path,
                               const struct json_table *table,
                               struct bytes value, void **ret)
{
    void *out = arena_alloc(d->arena, table->size);

    if (!out)
        return json_nomem(d);
    *ret = out;
    return decode_object(d, path, table, value, out);
}

/* A raw value in one walk, however deep: each byte is looked at once. The names
 * of the objects that are open stand one after the other in names. */
struct raw {
    struct bytes *names;
    size_t n;
    size_t first[JSON_DEPTH_MAX]; /* of each open container */
    size_t depth;
};

static int by_bytes(const void *a, const void *b)
{
    return bytes_cmp(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* A container ends: its names are compared and forgotten. */
static enum err close_raw(const struct json_decoder *d,
                          const struct json_path *path, struct raw *raw)
{
    size_t first = raw->first[--raw->depth];
    struct bytes *names = raw->names + first;
    size_t n = raw->n - first;

    if (n > 1)
        qsort(names, n, sizeof *names, by_bytes);
    for (size_t i = 1; i < n; i++)
        if (bytes_eq(names[i - 1], names[i]))
            return json_given_twice(d, path, names[i]);
    raw->n = first;
    return ERR_OK;
}

/* Looks at what is at the front of rest; *ret is its length. */
static enum err raw_step(const struct json_decoder *d,
                         const struct json_path *path, struct raw *raw,
                         struct bytes rest, size_t *ret)
{
    *ret = 1;
    switch (rest.p[0]) {
    case '{':
    case '[':
        raw->first[raw->depth++] = raw->n;
        return ERR_OK;
    case '}':
    case ']':
        return close_raw(d, path, raw);
    case '"':
        *ret = json_string_span(rest);
        if (*ret == rest.n || rest.p[*ret] != ':')
            return ERR_OK;
        return json_name(d, bytes_head(rest, *ret), &raw->names[raw->n++]);
    case ',':
    case ':':
        return ERR_OK;
    default:
        *ret = json_scalar_span(rest);
        if (!json_is_number(rest))
            return ERR_OK;
        return json_check_number(d, path, bytes_head(rest, *ret));
    }
}

/* text is compact and has so many names. */
static enum err check_raw(const struct json_decoder *d,
                          const struct json_path *path, struct bytes text,
                          size_t names)
{
    struct raw raw = {.names = arena_alloc(d->arena, names * sizeof text)};
    enum err e = raw.names ? ERR_OK : json_nomem(d);
    size_t n;

    while (e == ERR_OK && text.n) {
        e = raw_step(d, path, &raw, text, &n);
        text = bytes_skip(text, n);
    }
    return e;
}

static enum err decode_raw(const struct json_decoder *d,
                           const struct json_path *path, struct bytes value,
                           struct bytes *ret)
{
    char *to = arena_alloc(d->arena, value.n + 1);
    size_t names = 0;
    size_t n = 0;

    if (!to)
        return json_nomem(d);
    for (size_t i = 0; i < value.n;) {
        char c = value.p[i];
        size_t k = c == '"' ? json_string_span(bytes_skip(value, i)) : 1;
        if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            memcpy(to + n, value.p + i, k);
            n += k;
        }
        names += c == ':';
        i += k;
    }
    to[n] = '\0';
    *ret = bytes_of(to, n);
    return check_raw(d, path, *ret, names);
}

/* A member that is present and not null. */
static enum err decode_field(const struct json_decoder *d,
                             const struct json_path *path,
                             const struct json_field *f, struct bytes value,
                             void *to)
{
    switch (f->kind) {
    case FIELD_STRING:
        return json_take_string(d, path, value, to);
    case FIELD_INT:
        return json_take_int(d, path, value, to);
    case FIELD_BOOL:
        return json_take_bool(d, path, value, to);
    case FIELD_DURATION:
        return json_take_duration(d, path, value, to);
    case FIELD_STRINGS:
        return decode_strings(d, path, value, to);
    case FIELD_MAP:
        return decode_map(d, path, value, to);
    case FIELD_HEADERS:
        return decode_headers(d, path, value, to);
    case FIELD_OBJECT:
        return decode_pointer(d, path, f->of, value, to);
    case FIELD_LIST:
        return decode_list(d, path, f->of, value, to);
    case FIELD_NAMED:
        return decode_named(d, path, f->of, value, to);
    case FIELD_RAW:
        return decode_raw(d, path, value, to);
    case FIELD_IGNORE:
        break;
    }
    return ERR_OK;
}

static bool has_alias(const char *aliases, struct bytes name)
{
    struct bytes rest = bytes_str(aliases);

    while (rest.n) {
        size_t n = bytes_find(rest, ',');
        if (bytes_eq_fold(bytes_head(rest, n), name))
            return true;
        rest = bytes_skip(rest, n + 1);
    }
    return false;
}

/* Index of the field of that name, or table->count. */
static size_t find_field(const struct json_table *table, struct bytes name)
{
    size_t i = 0;

    while (i < table->count &&
           !bytes_eq_fold(bytes_str(table->fields[i].name), name) &&
           !has_alias(table->fields[i].aliases, name))
        i++;
    return i;
}

static enum err decode_member(const struct json_decoder *d,
                              const struct json_path *up,
                              const struct json_field *f, struct bytes value,
                              void *out)
{
    struct json_path path = {up, f->name};

    if (json_is_null(value))
        return ERR_OK;
    if (f->set_offset != JSON_NO_FLAG)
        *(bool *)((char *)out + f->set_offset) = true;
    return decode_field(d, &path, f, value, (char *)out + f->offset);
}

static enum err decode_object(const struct json_decoder *d,
                              const struct json_path *path,
                              const struct json_table *table,
                              struct bytes value, void *out)
{
    bool seen[FIELDS_MAX] = {false};
    struct bytes rest, quoted, name, item;
    enum err e = ERR_OK;

    require(table->count <= FIELDS_MAX);
    memset(out, 0, table->size);
    if (value.p[0] != '{')
        return json_wrong_type(d, path, value, "object");

    rest = json_inside(value);
    while (e == ERR_OK && json_take(&rest, &quoted)) {
        e = json_name(d, quoted, &name);
        if (e != ERR_OK)
            break;
        size_t i = find_field(table, name);
        (void)json_take(&rest, &item);
        if (i == table->count)
            continue;
        if (seen[i])
            return json_given_twice(d, path, name);
        seen[i] = true;
        e = decode_member(d, path, &table->fields[i], item, out);
    }
    return e;
}

enum err json_decode(struct bytes text, const struct json_table *table,
                     void *out, struct arena *a, struct errtext *t)
{
    struct json_decoder d = {a, t};
    struct bytes value;

    memset(out, 0, table->size);
    enum err e = json_scan(text, &value, t);
    if (e != ERR_OK || json_is_null(value))
        return e;
    return decode_object(&d, NULL, table, value, out);
}

enum err json_decode_list(struct bytes text, const struct json_table *table,
                          struct json_list *out, struct arena *a,
                          struct errtext *t)
{
    struct json_decoder d = {a, t};
    struct bytes value;

    *out = (struct json_list){0};
    enum err e = json_scan(text, &value, t);
    return e == ERR_OK ? decode_list(&d, NULL, table, value, out) : e;
}
