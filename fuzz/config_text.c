/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* config_text - what either reader accepts prints as JSON that reads back as
 * the same value, and as an agent's configuration both are judged alike; what
 * it refuses, it refuses with a text that begins with the file's name. */
#include <stdio.h>
#include <stdlib.h>

#include "config/agent_config.h"
#include "config/hcl.h"
#include "config/json.h"
#include "config/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what, const char *detail)
{
    if (holds)
        return;
    fprintf(stderr, "config_text: %s: %s\n", what, detail);
    abort();
}

/* As an agent's whole configuration. */
static enum err judge(const struct config_value *v, struct arena *arena)
{
    struct agent_config c;
    struct errtext t = {0};

    agent_config_init(&c, arena, true);
    if (v->kind != CONFIG_OBJECT)
        return ERR_BAD;
    enum err e = agent_config_apply(&c, v, NULL, NULL, &t);
    if (e == ERR_OK)
        e = agent_config_validate(&c, &t);
    must(e == ERR_OK || t.s[0], "refused without a text", err_text(e));
    return e;
}

static void reads_back(const struct config_value *v)
{
    struct arena arena;
    struct buf out = {0}, again = {0};
    struct config_value *w = NULL;
    struct errtext t = {0};

    arena_init(&arena, 0);
    config_value_to_json(&out, v);
    must(!out.bad, "printing", "out of memory");
    /* Escapes make a text longer; the limit on a file is not the point here. */
    if (out.n <= CONFIG_FILE_BYTES_MAX) {
        enum err e =
            config_json_parse("out.json", buf_bytes(&out), &arena, &w, &t);
        must(e == ERR_OK, "own JSON refused", t.s);
        must(config_equal(v, w), "value changed", "");
        must(judge(v, &arena) == judge(w, &arena), "judgement changed", "");
        config_value_to_json(&again, w);
        must(bytes_eq(buf_bytes(&out), buf_bytes(&again)), "print changed", "");
    }
    buf_fini(&again);
    buf_fini(&out);
    arena_fini(&arena);
}

static void try(enum config_format format, struct bytes text)
{
    struct arena arena;
    struct config_value *v = NULL;
    struct errtext t = {0};

    arena_init(&arena, 0);
    enum err e = config_text_parse(format, "in", text, &arena, &v, &t);
    if (e == ERR_OK)
        reads_back(v);
    else
        must(strncmp(t.s, "in", 2) == 0, "error names no file", t.s);
    if (format == CONFIG_FORMAT_JSON &&
        config_json_parse("in", text, &arena, &v, NULL) == ERR_OK)
        reads_back(v);
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes text = bytes_of(data, n);

    try(CONFIG_FORMAT_JSON, text);
    try(CONFIG_FORMAT_HCL, text);
    return 0;
}
