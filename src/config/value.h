/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* value - what a configuration text says, as a tree that knows where it was
 * said.
 *
 * JSON and HCL give the same tree, so that whoever reads settings need not know
 * which it was. All of it lives in one arena and is never changed once it is
 * read; there is nothing to free but the arena. Not thread-safe while it is
 * built. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/bytes.h"

enum {
    CONFIG_FILE_BYTES_MAX = 1 << 20, /* one text */
    CONFIG_DEPTH_MAX = 64,           /* objects and lists inside each other */
    CONFIG_VALUES_MAX = 50000,       /* of all kinds, in one text */
};

enum config_kind {
    CONFIG_NULL,
    CONFIG_BOOL,
    CONFIG_NUMBER,
    CONFIG_STRING,
    CONFIG_LIST,
    CONFIG_OBJECT,
};

/* Where something stands. line 0: the place has no lines (a flag), file says it
 * all. file stays valid as long as the arena. */
struct config_pos {
    const char *file;
    uint32_t line;   /* from 1 */
    uint32_t column; /* bytes, from 1 */
};

struct config_number {
    struct bytes
        text;   /* as written, or in decimal where JSON has no such form */
    bool whole; /* i is exact (8500, 0x10, 1e3, 2.0) */
    int64_t i;  /* 0 unless whole */
    double d;   /* finite */
};

struct config_index; /* finds a key in a large object */

struct config_items {
    struct config_value *first, *last; /* linked by next, in the text's order */
    size_t n;
    struct config_index *index;
};

struct config_value {
    struct config_value *next;
    struct bytes key; /* of a member; NUL-terminated beyond its length */
    struct config_pos key_pos; /* of a member */
    struct config_pos pos;
    enum config_kind kind;
    bool repeated; /* a list made by writing an HCL block more than once */
    union {
        bool boolean;
        struct config_number number;
        struct bytes string; /* UTF-8 without NUL; NUL-terminated beyond it */
        struct config_items items; /* list, object */
    };
};

#define config_each(it, value)                                                 \
    for (const struct config_value *it = (value)->items.first; it;             \
         it = it->next)

/* "a string", "a list", ... for messages. */
const char *config_kind_text(enum config_kind kind);

/* The member with exactly this key, or NULL (also if object is none). */
struct config_value *config_get(const struct config_value *object,
                                struct bytes key);

/* Same kinds, keys (in order), strings and numbers; positions do not count. */
bool config_equal(const struct config_value *a, const struct config_value *b);

/* As JSON on one line. A sticky error of out is the only one. */
void config_value_to_json(struct buf *out, const struct config_value *v);

/* "file:3:7", or "file" alone when line is 0. A file name longer than 60 bytes
 * is shown by its end, so that the message after it is not lost. */
void config_pos_print(char ret[96], const struct config_pos *pos);

/* t becomes "file:3:7: what". */
void config_fail(struct errtext *t, const struct config_pos *pos,
                 const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Text from a file, fit to be shown in a message: in quotes, control bytes as
 * '?', cut after 40 bytes. */
struct config_quoted {
    char s[48];
};
struct config_quoted config_quote(struct bytes b);

/* --- Building (readers of texts, the command line) ------------------------ */

struct config_build {
    struct arena *arena;
    size_t values; /* made so far, against CONFIG_VALUES_MAX */
};

/* ERR_LIMIT: CONFIG_VALUES_MAX reached; ERR_NOMEM. */
MUST_USE enum err config_value_new(struct config_build *b,
                                   enum config_kind kind,
                                   const struct config_pos *pos,
                                   struct config_value **ret);

/* A string value; s is copied. */
MUST_USE enum err config_string_new(struct config_build *b, struct bytes s,
                                    const struct config_pos *pos,
                                    struct config_value **ret);

/* Number from its decimal text (a JSON number); kept in a copy. ERR_BAD: does
 * not fit (an integer over 64 bits, a fraction over a double). */
MUST_USE enum err config_number_new(struct config_build *b, struct bytes text,
                                    const struct config_pos *pos,
                                    struct config_value **ret);

void config_append(struct config_value *list, struct config_value *item);

/* item becomes member `key` (kept: arena memory, NUL-terminated), which must
 * not be there yet. */
MUST_USE enum err config_put(struct config_build *b,
                             struct config_value *object, struct bytes key,
                             const struct config_pos *key_pos,
                             struct config_value *item);

#endif
