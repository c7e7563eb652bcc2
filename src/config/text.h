/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* text - one configuration file's bytes, in whichever language its name says.
 */
#ifndef CONFIG_TEXT_H
#define CONFIG_TEXT_H

#include "config/value.h"

enum config_format {
    CONFIG_FORMAT_NONE,
    CONFIG_FORMAT_JSON,
    CONFIG_FORMAT_HCL
};

/* By ".json" or ".hcl" (any case). NONE: another file that happens to lie in a
 * configuration folder; it is skipped. */
enum config_format config_format_of(const char *file);

/* "json" or "hcl", as -config-format has it. ERR_BAD: another word. */
MUST_USE enum err config_format_parse(struct bytes word,
                                      enum config_format *ret);

/* Reads a text that must say one object; a text of nothing but space says an
 * empty one in either language (Consul's test harness starts agents with an
 * empty .json). Errors as config_json_parse. format is not NONE. */
MUST_USE enum err config_text_parse(enum config_format format, const char *file,
                                    struct bytes text, struct arena *arena,
                                    struct config_value **ret,
                                    struct errtext *t);

#endif
