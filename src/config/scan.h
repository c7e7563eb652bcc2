/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* scan - what the readers of JSON and HCL share: a place in the text that knows
 * its line and column, and the first error found there. Only those two readers
 * include it. */
#ifndef CONFIG_SCAN_H
#define CONFIG_SCAN_H

#include "config/value.h"

struct scan {
    const char *file;
    struct bytes in;
    size_t at;
    size_t line_at; /* where the current line begins */
    uint32_t line;
    int depth; /* containers open at this place */
    struct config_build build;
    struct errtext *t; /* may be NULL */
};

/* Begins at the text's start; the file's name is copied. ERR_LIMIT: over
 * CONFIG_FILE_BYTES_MAX; ERR_BAD: not UTF-8, a NUL, a byte order mark. */
MUST_USE enum err scan_init(struct scan *s, const char *file, struct bytes in,
                            struct arena *arena, struct errtext *t);

struct config_pos scan_pos(const struct scan *s);

static inline bool scan_end(const struct scan *s)
{
    return s->at >= s->in.n;
}

/* The byte k places on; 0 beyond the end and only there (scan_init refused
 * NUL). */
static inline char scan_peek(const struct scan *s, size_t k)
{
    return k < s->in.n - s->at ? s->in.p[s->at + k] : '\0';
}

/* One byte on, counting lines. Not at the end. */
void scan_step(struct scan *s);

/* Steps over c if it stands here. */
bool scan_take(struct scan *s, char c);

/* ERR_BAD with "file:line:column: what" about pos. */
enum err scan_fail(struct scan *s, const struct config_pos *pos,
                   const char *fmt, ...) PRINTF_LIKE(3, 4);

/* ERR_BAD "expected <what>, found <what stands here>". */
enum err scan_unexpected(struct scan *s, const char *wanted);

/* Gives e of the value makers a text. */
enum err scan_made(struct scan *s, const struct config_pos *pos, enum err e);

/* One container deeper; scan_leave after it. ERR_LIMIT: CONFIG_DEPTH_MAX. */
MUST_USE enum err scan_enter(struct scan *s, const struct config_pos *pos);
void scan_leave(struct scan *s);

/* A JSON number standing here; also what HCL has in common with it. */
MUST_USE enum err scan_number(struct scan *s, struct config_value **ret);

/* `digits` hexadecimal digits at s. */
MUST_USE enum err scan_hex(struct scan *s, int digits, uint32_t *ret);

/* Adds a code point to out as UTF-8; false: there is no such one, or NUL. */
bool scan_put_utf8(struct buf *out, uint32_t code);

/* ERR_BAD naming both places: `first` is the member already there. */
enum err scan_duplicate(struct scan *s, const struct config_pos *pos,
                        const struct config_value *first);

/* An arena copy of a finished string; ERR_BAD if it is not UTF-8 (escapes can
 * say anything), ERR_NOMEM. */
MUST_USE enum err scan_keep(struct scan *s, const struct config_pos *pos,
                            const struct buf *text, struct bytes *ret);

#endif
