/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* flag_table - every flag of `agent`; a part of flags.c. */
#ifndef CONFIG_FLAG_TABLE_H
#define CONFIG_FLAG_TABLE_H

enum flag_kind {
    FLAG_BOOL,
    FLAG_STRING,
    FLAG_INT,
    FLAG_LIST, /* may stand several times: each adds an item */
    FLAG_PAIR, /* may stand several times: each adds key:value */
    FLAG_FILE,
    FLAG_DIR,
    FLAG_FORMAT,
    FLAG_HCL,
    FLAG_DEV,
    FLAG_HELP,
};

struct flag {
    const char *name; /* NULL: the end */
    enum flag_kind kind;
    const char
        *key; /* the configuration key it sets, of the kinds up to PAIR */
    const char *help; /* NULL: not shown, it has no effect */
};

extern const struct flag flag_table[];

#endif
