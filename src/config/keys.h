/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* keys - every configuration key, in one table. Only this folder includes it, and the
 * command line, which writes the manual of it.
 *
 * A key is its path with dots. What stands before a dot is a section; sections
 * have no rows of their own. Keys are compared without regard to ASCII case, as
 * Consul does. */
#ifndef CONFIG_KEYS_H
#define CONFIG_KEYS_H

#include "base/bytes.h"

enum key_kind {
    KEY_IGNORED,  /* Consul has it; no effect here, whatever its value */
    KEY_PROTECTS, /* the same, but it would have protected something */
    KEY_BOOL,     /* bool */
    KEY_STRING,   /* const char * */
    KEY_INT,      /* int64_t, min to max */
    KEY_PORT,     /* int, 1 to 65535 or off */
    KEY_DURATION, /* uint64_t, milliseconds */
    KEY_STRINGS,  /* struct config_strings */
    KEY_PAIRS,    /* struct config_pairs */
    KEY_VALUES,   /* struct config_values: an object or a list of them */
};

struct config_key {
    const char *path;
    enum key_kind kind;
    size_t offset; /* in struct agent_config */
    int64_t min, max;
    bool live; /* a reload applies it; others need a restart */
};

extern const struct config_key config_keys[];
extern const size_t config_key_count; /* <= CONFIG_KEYS_MAX */

/* The row of a path, or NULL. */
const struct config_key *config_key_find(struct bytes path);

/* There are keys "path.something". */
bool config_key_is_section(struct bytes path);

/* The key or section that path, which is neither, was probably meant to be: one
 * spelled almost the same, else one with the same last part in another section.
 * {NULL, 0}: nothing is near. Static memory. */
struct bytes config_key_suggest(struct bytes path);

enum { CONFIG_WORD_MAX = 64 }; /* longer than any key or flag */

/* How many characters to insert, leave out, change or swap with their neighbour
 * to make b of a (optimal string alignment), ASCII case aside. Over
 * CONFIG_WORD_MAX bytes: UINT_MAX. */
unsigned config_word_distance(struct bytes a, struct bytes b);

#endif
