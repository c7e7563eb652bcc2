/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* flags - the command line of `agent`, as settings.
 *
 * Flags are written as Go's flag package has them: -name or --name, -flag=value
 * or -flag value; a bool needs no value, and takes one only behind '='. Every
 * flag that a Consul release documents is known; one without effect here sets a
 * key without effect (agent_config_apply tells), under the flag's name. */
#ifndef CONFIG_FLAGS_H
#define CONFIG_FLAGS_H

#include "config/agent_config.h"
#include "config/text.h"

struct config_source {
    const char *path;
    bool is_dir; /* -config-dir; -config-file may name a folder, too */
};

struct config_flags {
    bool dev, help;
    enum config_format format; /* -config-format; NONE: by each file's name */
    struct config_source *sources; /* in order */
    size_t source_count;
    /* To be applied in this order, after the sources: what flags say, then each
     * -hcl snippet. */
    struct config_values overrides;
};

/* argv without the program's and the command's name. All of *ret is in arena,
 * but strings that point into argv. ERR_BAD: unknown flag, value missing or
 * malformed, extra arguments, a -hcl snippet that does not parse; ERR_LIMIT as
 * config_hcl_parse; ERR_NOMEM. */
MUST_USE enum err config_flags_parse(int argc, char *const *argv,
                                     struct arena *arena,
                                     struct config_flags *ret,
                                     struct errtext *t);

#endif
