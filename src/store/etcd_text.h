/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd_text - what etcd's JSON gateway writes, taken apart in one pass.
 *
 * Nothing is built of it: who reads asks for the next member and says what to do
 * with its value. Members stand in any order, unknown ones are skipped, absent
 * ones are zero (the gateway leaves out what is zero). int64 are strings of digits
 * there.
 *
 *     for (text_object(&t); text_member(&t, &name);)
 *         if (bytes_is(name, "revision")) n = text_u64(&t);
 *         else text_skip(&t);
 *
 * The error is sticky: text that is not JSON of the expected shape makes `bad`
 * true, loops end, values are zero. Never past the view, whatever it holds. */
#ifndef STORE_ETCD_TEXT_H
#define STORE_ETCD_TEXT_H

#include "base/buf.h"

enum { TEXT_DEPTH_MAX = 16 /* of what is skipped */ };

struct text {
    const char *p, *end;
    bool bad;
    bool first; /* of the container just entered */
};

static inline struct text text_over(struct bytes b)
{
    return (struct text){.p = b.p, .end = b.n ? b.p + b.n : b.p};
}

/* Enters; then text_member, text_item until false, each value taken. */
void text_object(struct text *t);
void text_array(struct text *t);
bool text_member(struct text *t, struct bytes *ret_name);
bool text_item(struct text *t);

uint64_t text_u64(struct text *t); /* 5, "5"; below 0 is bad */
bool text_bool(struct text *t);
struct bytes text_string(struct text *t); /* as it stands, escapes too */
void text_skip(struct text *t);

/* Only blanks are left. */
bool text_end(struct text *t);

/* --- Writing ------------------------------------------------------------- */

/* "name":"number" */
void text_put_u64(struct buf *out, const char *name, uint64_t v);

#endif
