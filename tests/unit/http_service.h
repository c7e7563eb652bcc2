/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* http_service - a struct with every kind of field, for the tests of json_in.
 */
#ifndef TESTS_HTTP_SERVICE_H
#define TESTS_HTTP_SERVICE_H

#include "http/json_in.h"

#include "base/buf.h"

#include "test.h"

struct weights {
    int64_t passing, warning;
    bool has_warning;
};

struct address {
    struct bytes address;
    int64_t port;
};

struct check {
    struct bytes name;
    int64_t interval_ns;
    struct json_headers header;
};

struct service {
    struct bytes name;
    int64_t port;
    bool override;
    bool has_override;
    struct json_strings tags;
    struct json_map meta;
    struct weights *weights;
    struct json_list checks;
    struct check *check;
    struct json_named tagged;
    struct bytes proxy;
};

#define FIELD(s, name, aliases, kind, member)                                  \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), NULL, JSON_NO_FLAG    \
    }
#define FIELD_OF(s, name, aliases, kind, member, of)                           \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), of, JSON_NO_FLAG      \
    }
#define FIELD_SET(s, name, aliases, kind, member, flag)                        \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), NULL,                 \
            offsetof(struct s, flag)                                           \
    }
#define TABLE(s, fields)                                                       \
    {                                                                          \
        fields, sizeof fields / sizeof fields[0], sizeof(struct s)             \
    }

static const struct json_field weights_fields[] = {
    FIELD(weights, "Passing", NULL, FIELD_INT, passing),
    FIELD_SET(weights, "Warning", NULL, FIELD_INT, warning, has_warning),
};
static const struct json_table weights_table = TABLE(weights, weights_fields);

static const struct json_field address_fields[] = {
    FIELD(address, "Address", NULL, FIELD_STRING, address),
    FIELD(address, "Port", NULL, FIELD_INT, port),
};
static const struct json_table address_table = TABLE(address, address_fields);

static const struct json_field check_fields[] = {
    FIELD(check, "Name", NULL, FIELD_STRING, name),
    FIELD(check, "Interval", "IntervalDuration", FIELD_DURATION, interval_ns),
    FIELD(check, "Header", NULL, FIELD_HEADERS, header),
};
static const struct json_table check_table = TABLE(check, check_fields);

static const struct json_field service_fields[] = {
    FIELD(service, "Name", NULL, FIELD_STRING, name),
    FIELD(service, "Port", NULL, FIELD_INT, port),
    FIELD_SET(service, "EnableTagOverride", "enable_tag_override,eto",
              FIELD_BOOL, override, has_override),
    FIELD(service, "Tags", NULL, FIELD_STRINGS, tags),
    FIELD(service, "Meta", NULL, FIELD_MAP, meta),
    FIELD_OF(service, "Weights", NULL, FIELD_OBJECT, weights, &weights_table),
    FIELD_OF(service, "Checks", NULL, FIELD_LIST, checks, &check_table),
    FIELD_OF(service, "Check", NULL, FIELD_OBJECT, check, &check_table),
    FIELD_OF(service, "TaggedAddresses", "tagged_addresses", FIELD_NAMED,
             tagged, &address_table),
    FIELD(service, "Proxy", NULL, FIELD_RAW, proxy),
    {"Token", NULL, FIELD_IGNORE, 0, NULL, JSON_NO_FLAG},
};
static const struct json_table service_table = TABLE(service, service_fields);

/* A decoder run with its arena. */
struct run {
    struct arena arena;
    struct service s;
    struct errtext why;
    enum err e;
};

static inline void decode(struct run *run, struct bytes text)
{
    *run = (struct run){0};
    arena_init(&run->arena, 0);
    run->e = json_decode(text, &service_table, &run->s, &run->arena, &run->why);
}

static inline void refuses_with(struct bytes text, enum err want,
                                const char *why)
{
    struct run run;

    decode(&run, text);
    if (run.e != want || strcmp(run.why.s, why) != 0)
        fail_msg("%.*s: %s, \"%s\", want \"%s\"",
                 BYTES_ARG(bytes_head(text, 200)), err_text(run.e), run.why.s,
                 why);
    arena_fini(&run.arena);
}

static inline void refuses(const char *text, const char *why)
{
    refuses_with(bytes_str(text), ERR_BAD, why);
}

static inline void put_repeated(struct buf *b, const char *s, size_t times)
{
    while (times--)
        buf_puts(b, s);
}

#endif
