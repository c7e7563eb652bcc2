/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/flags.h"

#include <inttypes.h>

#include "config/flag_table.h"
#include "config/hcl.h"
#include "config/keys.h"

struct reading {
    struct config_build build;
    struct config_flags *flags;
    struct config_value *tree; /* what flags say */
    const struct flag *flag;   /* the one being read */
    struct bytes text;         /* its value */
    struct config_pos pos;     /* its name, as a place */
    struct errtext *t;
};

/* Names are at most this much wrong to be suggested. */
enum { SLIP_MAX = 2 };

static enum err no_memory(struct reading *r)
{
    errtext_set(r->t, "%s", err_text(ERR_NOMEM));
    return ERR_NOMEM;
}

static enum err bad_value(struct reading *r, const char *wanted)
{
    errtext_set(r->t, "invalid value %s for flag %s: not %s",
                config_quote(r->text).s, r->pos.file, wanted);
    return ERR_BAD;
}

static enum err new_value(struct reading *r, enum config_kind kind,
                          struct config_value **ret)
{
    enum err e = config_value_new(&r->build, kind, &r->pos, ret);

    if (e == ERR_LIMIT)
        errtext_set(r->t, "more than %d flags", CONFIG_VALUES_MAX);
    return e == ERR_NOMEM ? no_memory(r) : e;
}

static enum err new_string(struct reading *r, struct bytes s,
                           struct config_value **ret)
{
    enum err e = new_value(r, CONFIG_STRING, ret);

    if (e != ERR_OK)
        return e;
    if (!bytes_utf8(s))
        return bad_value(r, "UTF-8");
    (*ret)->string = arena_copy(r->build.arena, s);
    return (*ret)->string.p ? ERR_OK : no_memory(r);
}

/* The member of object, made if it is not there; the same kind as before. */
static enum err child(struct reading *r, struct config_value *object,
                      struct bytes name, enum config_kind kind,
                      struct config_value **ret)
{
    *ret = config_get(object, name);
    if (*ret)
        return ERR_OK;
    struct bytes key = arena_copy(r->build.arena, name);
    if (!key.p)
        return no_memory(r);
    enum err e = new_value(r, kind, ret);
    if (e != ERR_OK)
        return e;
    e = config_put(&r->build, object, key, &r->pos, *ret);
    return e == ERR_OK ? e : no_memory(r);
}

/* The place of the flag's key, its sections made on the way. */
static enum err place(struct reading *r, enum config_kind kind,
                      struct config_value **ret)
{
    struct bytes path = bytes_str(r->flag->key);
    struct config_value *at = r->tree;

    for (;;) {
        size_t n = bytes_find(path, '.');
        bool last = n == path.n;
        enum err e =
            child(r, at, bytes_head(path, n), last ? kind : CONFIG_OBJECT, &at);
        if (e != ERR_OK)
            return e;
        if (last)
            break;
        path = bytes_skip(path, n + 1);
    }
    at->pos = r->pos;
    *ret = at;
    return ERR_OK;
}

static enum err put_bool(struct reading *r)
{
    struct config_value *v = NULL;
    bool yes = true;

    if (r->text.p && bytes_bool(r->text, &yes) != ERR_OK)
        return bad_value(r, "true or false");
    if (r->flag->kind == FLAG_DEV)
        r->flags->dev = yes;
    if (r->flag->kind == FLAG_HELP)
        r->flags->help = yes;
    if (r->flag->kind != FLAG_BOOL)
        return ERR_OK;
    enum err e = place(r, CONFIG_BOOL, &v);
    if (e == ERR_OK)
        v->boolean = yes;
    return e;
}

/* One that overrides what an earlier flag of the same name said. */
static enum err put_scalar(struct reading *r, const struct config_value *said)
{
    struct config_value *v = NULL;
    enum err e = place(r, said->kind, &v);

    if (e != ERR_OK)
        return e;
    if (said->kind == CONFIG_NUMBER)
        v->number = said->number;
    else
        v->string = said->string;
    return ERR_OK;
}

static enum err put_string(struct reading *r)
{
    struct config_value *v = NULL;
    enum err e = new_string(r, r->text, &v);

    return e == ERR_OK ? put_scalar(r, v) : e;
}

static enum err put_int(struct reading *r)
{
    bool minus = r->text.n && r->text.p[0] == '-';
    struct config_value *v = NULL;
    char *decimal;
    uint64_t u = 0;

    if (bytes_u64(bytes_skip(r->text, minus), &u) != ERR_OK || u > INT64_MAX)
        return bad_value(r, "a whole number");
    decimal = arena_printf(r->build.arena, "%s%" PRIu64, minus ? "-" : "", u);
    if (!decimal)
        return no_memory(r);
    enum err e = config_number_new(&r->build, bytes_str(decimal), &r->pos, &v);
    if (e != ERR_OK)
        return no_memory(r);
    return put_scalar(r, v);
}

static enum err put_item(struct reading *r)
{
    struct config_value *list = NULL, *item = NULL;
    enum err e = new_string(r, r->text, &item);

    if (e == ERR_OK)
        e = place(r, CONFIG_LIST, &list);
    if (e == ERR_OK)
        config_append(list, item);
    return e;
}

/* "key:value"; without the colon the value is empty. */
static enum err put_pair(struct reading *r)
{
    struct config_value *pairs = NULL, *v = NULL, *item = NULL;
    size_t n = bytes_find(r->text, ':');
    enum err e = new_string(r, bytes_skip(r->text, n + 1), &v);

    if (e == ERR_OK && !bytes_utf8(bytes_head(r->text, n)))
        return bad_value(r, "UTF-8");
    if (e == ERR_OK)
        e = place(r, CONFIG_OBJECT, &pairs);
    if (e == ERR_OK)
        e = child(r, pairs, bytes_head(r->text, n), CONFIG_STRING, &item);
    if (e == ERR_OK)
        item->string = v->string;
    return e;
}

static enum err put_source(struct reading *r)
{
    struct config_source *s =
        &r->flags->sources[r->flags->source_count]; /* one per argument */

    s->path = arena_str(r->build.arena, r->text);
    s->is_dir = r->flag->kind == FLAG_DIR;
    if (!s->path)
        return no_memory(r);
    r->flags->source_count++;
    return ERR_OK;
}

static enum err put_hcl(struct reading *r)
{
    struct config_values *o = &r->flags->overrides; /* one per argument */
    struct config_value *tree = NULL;
    enum err e = config_hcl_parse("-hcl", r->text, r->build.arena, &tree, r->t);

    if (e == ERR_OK)
        o->v[o->n++] = tree;
    return e;
}

static enum err put(struct reading *r)
{
    switch (r->flag->kind) {
    case FLAG_BOOL:
    case FLAG_DEV:
    case FLAG_HELP:
        return put_bool(r);
    case FLAG_STRING:
        return put_string(r);
    case FLAG_INT:
        return put_int(r);
    case FLAG_LIST:
        return put_item(r);
    case FLAG_PAIR:
        return put_pair(r);
    case FLAG_FILE:
    case FLAG_DIR:
        return put_source(r);
    case FLAG_HCL:
        return put_hcl(r);
    case FLAG_FORMAT:
        if (config_format_parse(r->text, &r->flags->format) != ERR_OK)
            return bad_value(r, "json or hcl");
        return ERR_OK;
    }
    return ERR_BAD;
}

static enum err unknown(struct reading *r, struct bytes name)
{
    const char *near = NULL;
    unsigned best = SLIP_MAX + 1;

    for (const struct flag *f = flag_table; f->name; f++) {
        unsigned d = config_word_distance(name, bytes_str(f->name));
        if (d < best && d * 2 < name.n) {
            best = d;
            near = f->name;
        }
    }
    int shown = name.n < 40 ? (int)name.n : 40;
    errtext_set(r->t, "flag provided but not defined: -%.*s%s%s%s", shown,
                name.p, near ? " (did you mean -" : "", near ? near : "",
                near ? "?)" : "");
    return ERR_BAD;
}

static bool is_bool(const struct flag *f)
{
    return f->kind == FLAG_BOOL || f->kind == FLAG_DEV || f->kind == FLAG_HELP;
}

/* argv[*at] and, if it needs one, the argument behind it; *at moves on. */
static enum err read_flag(struct reading *r, int argc, char *const *argv,
                          int *at)
{
    struct bytes arg = bytes_str(argv[(*at)++]);
    struct bytes whole =
        bytes_skip(arg, bytes_starts(arg, bytes_str("--")) ? 2 : 1);
    size_t n = bytes_find(whole, '=');
    struct bytes name = bytes_head(whole, n);

    const struct flag *f = flag_table;
    while (f->name && !bytes_is(name, f->name))
        f++;
    if (!f->name)
        return unknown(r, name);
    r->flag = f;
    r->pos.file = arena_printf(r->build.arena, "-%s", f->name);
    if (!r->pos.file)
        return no_memory(r);
    r->text = (struct bytes){0};
    if (n < whole.n) {
        r->text = bytes_skip(whole, n + 1);
    } else if (!is_bool(f)) {
        if (*at >= argc) {
            errtext_set(r->t, "flag needs an argument: -%s", f->name);
            return ERR_BAD;
        }
        r->text = bytes_str(argv[(*at)++]);
    }
    return put(r);
}

static enum err prepare(struct reading *r, int argc)
{
    size_t n = (size_t)argc + 1;
    struct config_flags *f = r->flags;

    f->sources = arena_zalloc(r->build.arena, n * sizeof *f->sources);
    f->overrides.v = arena_zalloc(r->build.arena, n * sizeof *f->overrides.v);
    if (!f->sources || !f->overrides.v)
        return no_memory(r);
    f->overrides.cap = n;
    enum err e = new_value(r, CONFIG_OBJECT, &r->tree);
    if (e == ERR_OK)
        f->overrides.v[f->overrides.n++] = r->tree;
    return e;
}

enum err config_flags_parse(int argc, char *const *argv, struct arena *arena,
                            struct config_flags *ret, struct errtext *t)
{
    struct config_flags flags = {0};
    struct reading r = {.build.arena = arena,
                        .flags = &flags,
                        .pos = {"command line", 0, 0},
                        .t = t};
    enum err e = prepare(&r, argc);
    int at = 0;

    while (e == ERR_OK && at < argc && argv[at][0] == '-' && argv[at][1]) {
        if (strcmp(argv[at], "--") == 0) {
            at++;
            break;
        }
        e = read_flag(&r, argc, argv, &at);
    }
    if (e == ERR_OK && at < argc) {
        errtext_set(t, "unexpected extra argument: %s",
                    config_quote(bytes_str(argv[at])).s);
        e = ERR_BAD;
    }
    if (e == ERR_OK)
        *ret = flags;
    return e;
}
