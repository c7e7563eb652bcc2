/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* table - rows of http/json_in.h's tables, and the other direction: a struct
 * back to JSON by the table that it was read with. */
#ifndef API_TABLE_H
#define API_TABLE_H

#include "http/json_in.h"
#include "http/json_out.h"

/* clang-format off */
#define FIELD(type, name, aliases, kind, member) \
    {name, aliases, kind, offsetof(struct type, member), NULL, JSON_NO_FLAG}
#define FIELD_OF(type, name, aliases, kind, member, table) \
    {name, aliases, kind, offsetof(struct type, member), table, JSON_NO_FLAG}
#define FIELD_SET(type, name, aliases, kind, member, flag) \
    {name, aliases, kind, offsetof(struct type, member), NULL, offsetof(struct type, flag)}
#define TABLE(fields, type) {fields, sizeof fields / sizeof fields[0], sizeof(struct type)}
/* clang-format on */

/* The member is as if it were not there: empty, 0, false, null. p: where the
 * field is in its struct. */
bool field_is_empty(const struct json_field *f, const void *p);

/* The struct as an object, members in the table's order, empty ones left out;
 * kinds STRING, INT, BOOL, STRINGS, OBJECT, LIST and RAW. */
void table_encode(struct json_out *j, const struct json_table *table,
                  const void *in);

#endif
