/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* json_in - JSON bodies into plain structs, by tables.
 *
 * A table lists the members of an object: name, aliases, kind, where it goes.
 * Names match without regard to case, as Go's decoder does; a member given
 * twice (after folding case and aliases) is refused; unknown members are
 * ignored, null leaves a member unset. Maps with free names are matched exactly
 * and refuse exact duplicates. Texts follow Go's ("json: cannot unmarshal
 * number into Go struct field .Name of type string") because clients and test
 * suites match them.
 *
 * One pass (json_scan) checks the whole text and bounds depth and number of
 * values, so that no body costs more than a bounded multiple of its size; then
 * the values go from the text into the structs, without a tree between, which
 * would lose number texts, member order and the names of duplicates. What comes
 * after the first value is ignored, as Consul does. Bad UTF-8, half surrogate
 * pairs and NUL in a string are refused anywhere, integers beyond 64 bits in
 * known members. jansson is the second opinion in fuzz/http_json.c; kinds are
 * called FIELD_ because JSON_ are its names. */
#ifndef HTTP_JSON_IN_H
#define HTTP_JSON_IN_H

#include "base/arena.h"
#include "base/bytes.h"

enum {
    JSON_DEPTH_MAX = 64,
    JSON_VALUES_MAX = 50000, /* scalars, members and containers */
};

struct json_pair {
    struct bytes key, value;
};

struct json_strings { /* list of strings */
    struct bytes *v;
    size_t n;
    bool set; /* present and not null */
};

struct json_map { /* string -> string, sorted by key */
    struct json_pair *v;
    size_t n;
    bool set;
};

struct json_header { /* name -> list of strings */
    struct bytes name;
    struct json_strings values;
};

struct json_headers {
    struct json_header *v;
    size_t n;
    bool set;
};

struct json_list { /* list of structs, each item of the table's size */
    void *v;
    size_t n;
    bool set;
};

struct json_named { /* name -> struct, sorted by name */
    struct bytes *names;
    void *v;
    size_t n;
    bool set;
};

enum json_kind {
    FIELD_STRING,   /* struct bytes */
    FIELD_INT,      /* int64_t; a fraction or an exponent is refused */
    FIELD_BOOL,     /* bool */
    FIELD_DURATION, /* int64_t ns: Go string, or a number of ns */
    FIELD_STRINGS,  /* struct json_strings; a null item is "" */
    FIELD_MAP,      /* struct json_map */
    FIELD_HEADERS,  /* struct json_headers */
    FIELD_OBJECT,   /* pointer to the sub-struct; NULL when absent or null */
    FIELD_LIST,   /* struct json_list of sub-structs; a null item is refused */
    FIELD_NAMED,  /* struct json_named of sub-structs */
    FIELD_RAW,    /* struct bytes: compact JSON text of any value */
    FIELD_IGNORE, /* accepted, any type */
};

struct json_table;

struct json_field {
    const char *name;
    const char *aliases; /* "snake_case,other" or NULL */
    enum json_kind kind;
    size_t offset;
    const struct json_table *of; /* OBJECT, LIST, NAMED */
    size_t set_offset;           /* of a bool "was present", or JSON_NO_FLAG */
};

#define JSON_NO_FLAG ((size_t)-1)

struct json_table {
    const struct json_field *fields;
    size_t count;
    size_t size; /* of the struct */
};

/* Decodes one object (or null: nothing set) into *out, which is cleared first.
 * Strings and lists live in the arena. ERR_BAD or ERR_LIMIT: t holds the reason
 * as it stands after "Request decode failed: ". ERR_NOMEM. */
MUST_USE enum err json_decode(struct bytes text, const struct json_table *table,
                              void *out, struct arena *a, struct errtext *t);

/* The same for a top-level array of objects. */
MUST_USE enum err json_decode_list(struct bytes text,
                                   const struct json_table *table,
                                   struct json_list *out, struct arena *a,
                                   struct errtext *t);

/* The bound alone: depth and number of values of the first value in text. */
MUST_USE enum err json_bound(struct bytes text, struct errtext *t);

#endif
