/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* json_value - single values out of text that json_scan has passed, and what is
 * wrong with them in Go's words. Internal. */
#ifndef HTTP_JSON_VALUE_H
#define HTTP_JSON_VALUE_H

#include "base/arena.h"

enum { JSON_PATH_BYTES = 80 };

/* Which field is being decoded; NULL is the document. */
struct json_path {
    const struct json_path *up;
    const char *name;
};

struct json_decoder {
    struct arena *arena;
    struct errtext *t;
};

static inline bool json_is_null(struct bytes value)
{
    return value.p[0] == 'n';
}

static inline bool json_is_number(struct bytes value)
{
    return value.p[0] == '-' || (value.p[0] >= '0' && value.p[0] <= '9');
}

/* ".Check.Interval"; names that do not fit are left out. */
void json_path_text(const struct json_path *path, char *text, size_t size);

/* The errors, with their texts. */
enum err json_nomem(const struct json_decoder *d);
enum err json_wrong_type(const struct json_decoder *d,
                         const struct json_path *path, struct bytes value,
                         const char *want);
enum err json_given_twice(const struct json_decoder *d,
                          const struct json_path *path, struct bytes name);

/* The content of a string, in the arena. */
MUST_USE enum err json_unquote(const struct json_decoder *d,
                               struct bytes quoted, struct bytes *ret);

/* The same for a name that is only compared: a view of the text where it has no
 * escape. */
MUST_USE enum err json_name(const struct json_decoder *d, struct bytes quoted,
                            struct bytes *ret);

/* null is "". */
MUST_USE enum err json_take_string(const struct json_decoder *d,
                                   const struct json_path *path,
                                   struct bytes value, struct bytes *ret);
MUST_USE enum err json_take_int(const struct json_decoder *d,
                                const struct json_path *path,
                                struct bytes value, int64_t *ret);
MUST_USE enum err json_take_bool(const struct json_decoder *d,
                                 const struct json_path *path,
                                 struct bytes value, bool *ret);
MUST_USE enum err json_take_duration(const struct json_decoder *d,
                                     const struct json_path *path,
                                     struct bytes value, int64_t *ret);

/* A number that is passed on as text: within int64_t or double. */
MUST_USE enum err json_check_number(const struct json_decoder *d,
                                    const struct json_path *path,
                                    struct bytes number);

#endif
