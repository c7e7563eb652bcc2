/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* hcl - reads HCL 1, the language of Consul's .hcl files, into the same tree as
 * JSON.
 *
 *     key = value              a member; "quoted key" = value too
 *     name { ... }             the same as name = { ... }
 *     name "label" { ... }     name { label { ... } }
 *     name { } name { }        name = [{ }, { }]: writing a block again makes a
 *                              list (its value is marked `repeated`)
 *     [a, b,]  {a = 1, b = 2}  commas between members are optional
 *     "a\n${b "c"}"            escapes as in Go; ${...} is kept as it stands
 *     <<EOF .. EOF             lines as they stand; <<-EOF without the end
 *                              mark's indentation, if every line has it
 *     10 -1.5e3 0x1f 017       true false
 *     # // and block comments
 *
 * A key set twice is refused unless both are objects. There is no null and no
 * word without quotes. A text that begins with '{' is JSON, as for HCL 1's own
 * reader. */
#ifndef CONFIG_HCL_H
#define CONFIG_HCL_H

#include "config/value.h"

/* As config_json_parse. The result is always an object; no text at all is an
 * empty one. Objects count twice against CONFIG_DEPTH_MAX when they are
 * members, because writing them again puts a list between. */
MUST_USE enum err config_hcl_parse(const char *file, struct bytes text,
                                   struct arena *arena,
                                   struct config_value **ret,
                                   struct errtext *t);

#endif
