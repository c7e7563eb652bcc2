/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* json - reads JSON text (RFC 8259), strictly, into a tree with positions.
 *
 * Refused beyond the grammar: duplicate keys, NUL in a string, lone halves of a
 * surrogate pair, integers over 64 bits, a byte order mark; comments and
 * trailing commas because JSON has none. Requests to the HTTP API are not read
 * here: nobody needs to know their lines. */
#ifndef CONFIG_JSON_H
#define CONFIG_JSON_H

#include "config/value.h"

/* file names the text in positions. The tree and all it points to live in
 * arena; text may go away. t: "file:line:column: what is wrong".
 *
 * ERR_BAD    not JSON, or refused as above
 * ERR_LIMIT  CONFIG_FILE_BYTES_MAX, CONFIG_DEPTH_MAX or CONFIG_VALUES_MAX
 * ERR_NOMEM */
MUST_USE enum err config_json_parse(const char *file, struct bytes text,
                                    struct arena *arena,
                                    struct config_value **ret,
                                    struct errtext *t);

#endif
