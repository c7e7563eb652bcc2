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
#include "config/watch_def.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what, const char *detail)
{
    if (holds)
        return;
    fprintf(stderr, "config_text: %s: %s\n", what, detail);
    abort();
}

/* Its text stands for all of it: the same watch comes back. */
static void judge_watch(const struct config_value *v, struct arena *arena)
{
    struct watch_def w, again;
    struct config_value *copy = NULL;
    struct errtext t = {0};

    enum err e = watch_def_parse(v, "dc1", arena, &w, &t);
    must(e == ERR_OK || t.s[0], "watch refused without a text", err_text(e));
    if (e != ERR_OK || w.text.n > CONFIG_FILE_BYTES_MAX)
        return;
    e = config_json_parse("watch", w.text, arena, &copy, &t);
    must(e == ERR_OK, "a watch's own text refused", t.s);
    e = watch_def_parse(copy, "dc1", arena, &again, &t);
    must(e == ERR_OK, "a watch's own text is no watch", t.s);
    must(bytes_eq(w.text, again.text) && w.type == again.type &&
             w.args.n == again.args.n && w.timeout_ms == again.timeout_ms &&
             w.http.headers.n == again.http.headers.n,
         "watch changed", w.text.p);
    must(w.args.n > 0 || w.http.url, "no handler", w.text.p);
}

static void no_change(void *ctx, const struct config_change *ch)
{
    (void)ctx;
    must(false, "a configuration differs from itself", ch->key);
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
    for (size_t i = 0; e == ERR_OK && i < c.watches.n; i++)
        judge_watch(c.watches.v[i], arena);
    if (e == ERR_OK)
        must(agent_config_compare(&c, &c, no_change, NULL) == ERR_OK, "compare",
             "out of memory");
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
