/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* json_out - writes JSON as Go's encoder does: < > & and U+2028/9 escaped, no
 * blanks. The hot path of every answer.
 *
 * Commas are the writer's: call json_key / a value writer, it knows. Nesting to
 * JSON_OUT_DEPTH_MAX. */
#ifndef HTTP_JSON_OUT_H
#define HTTP_JSON_OUT_H

#include "base/buf.h"

enum { JSON_OUT_DEPTH_MAX = 60 };

struct json_out {
    struct buf *out;
    bool comma; /* the next element needs one before it */
};

static inline struct json_out json_out(struct buf *out)
{
    return (struct json_out){out, false};
}

void json_open(struct json_out *j, char bracket);  /* '{' or '[' */
void json_close(struct json_out *j, char bracket); /* '}' or ']' */

/* A member name (a literal that needs no escape). */
void json_key(struct json_out *j, const char *name);

/* A member name from data. */
void json_key_bytes(struct json_out *j, struct bytes name);

void json_str(struct json_out *j, struct bytes v);
void json_u64(struct json_out *j, uint64_t v);
void json_i64(struct json_out *j, int64_t v);
void json_double(struct json_out *j, double v); /* shortest; NaN, inf: null */
void json_bool(struct json_out *j, bool v);

/* A key and its value. */
void json_member_str(struct json_out *j, const char *name, struct bytes v);
void json_member_u64(struct json_out *j, const char *name, uint64_t v);
void json_member_bool(struct json_out *j, const char *name, bool v);
void json_nil(struct json_out *j);

/* JSON text as it is (it must be one value). */
void json_raw(struct json_out *j, struct bytes text);

/* A whole quoted string with escapes, nothing else. Bytes that are not UTF-8
 * become U+FFFD, as Go does. */
void json_quote(struct buf *out, struct bytes v);

/* Re-indents compact JSON by 4 spaces, with a final newline (?pretty, -dev). */
void json_pretty(struct buf *out, struct bytes compact);

#endif
