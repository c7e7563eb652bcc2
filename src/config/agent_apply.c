/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "config/agent_parts.h"

#include <stdio.h>

#include "base/duration.h"
#include "config/keys.h"

enum {
    PATH_BYTES_MAX = 128
}; /* of a key with its sections; the table's longest
    * is half of it */

struct apply {
    struct agent_config *c;
    config_notice_fn notice;
    void *ctx;
    struct errtext *t;
};

static void *field(struct agent_config *c, const struct config_key *key)
{
    return (char *)c + key->offset;
}

static enum err mismatch(struct apply *a, const struct config_key *key,
                         const struct config_value *v, const char *wanted)
{
    config_fail(a->t, &v->pos, "%s: found %s, wanted %s", key->path,
                config_kind_text(v->kind), wanted);
    return ERR_BAD;
}

static enum err no_memory(struct apply *a, const struct config_value *v)
{
    config_fail(a->t, &v->pos, "out of memory");
    return ERR_NOMEM;
}

/* Room for one more item of `size` bytes in an arena array; the old array stays
 * behind, all of them together are as large as the newest. */
static enum err grow(struct arena *arena, void **v, size_t n, size_t *cap,
                     size_t size)
{
    if (n < *cap)
        return ERR_OK;
    size_t new_cap = *cap ? *cap * 2 : 4;
    void *p = arena_alloc(arena, new_cap * size);
    if (!p)
        return ERR_NOMEM;
    if (n)
        memcpy(p, *v, n * size);
    *v = p;
    *cap = new_cap;
    return ERR_OK;
}

enum err config_strings_add(struct arena *arena, struct config_strings *list,
                            const char *s)
{
    void *v = list->v;
    enum err e = grow(arena, &v, list->n, &list->cap, sizeof *list->v);

    if (e != ERR_OK)
        return e;
    list->v = v;
    list->v[list->n++] = s;
    return ERR_OK;
}

static enum err put_bool(struct apply *a, const struct config_key *key,
                         const struct config_value *v)
{
    if (v->kind != CONFIG_BOOL)
        return mismatch(a, key, v, "true or false");
    *(bool *)field(a->c, key) = v->boolean;
    return ERR_OK;
}

/* "" takes back what was said before. */
static enum err put_string(struct apply *a, const struct config_key *key,
                           const struct config_value *v)
{
    const char **to = field(a->c, key);

    if (v->kind != CONFIG_STRING)
        return mismatch(a, key, v, "a string");
    if (v->string.n)
        *to = v->string.p;
    else
        memcpy(to, (const char *)&agent_defaults + key->offset, sizeof *to);
    return ERR_OK;
}

static enum err put_int(struct apply *a, const struct config_key *key,
                        const struct config_value *v)
{
    if (v->kind != CONFIG_NUMBER)
        return mismatch(a, key, v, "a number");
    if (!v->number.whole || v->number.i < key->min || v->number.i > key->max) {
        config_fail(a->t, &v->pos,
                    "%s: %s is not a whole number from %lld to %lld", key->path,
                    config_quote(v->number.text).s, (long long)key->min,
                    (long long)key->max);
        return ERR_BAD;
    }
    *(int64_t *)field(a->c, key) = v->number.i;
    return ERR_OK;
}

static enum err put_port(struct apply *a, const struct config_key *key,
                         const struct config_value *v)
{
    if (v->kind != CONFIG_NUMBER)
        return mismatch(a, key, v, "a port number, or -1 for none");
    if (!v->number.whole || v->number.i < -1 || v->number.i > 65535) {
        config_fail(a->t, &v->pos,
                    "%s: %s is no port; use 1 to 65535, or -1 for none",
                    key->path, config_quote(v->number.text).s);
        return ERR_BAD;
    }
    /* Consul treats 0 as off, too. */
    *(int *)field(a->c, key) = v->number.i ? (int)v->number.i : -1;
    return ERR_OK;
}

static enum err put_duration(struct apply *a, const struct config_key *key,
                             const struct config_value *v)
{
    struct errtext why = {0};
    int64_t ns = v->kind == CONFIG_NUMBER ? v->number.i : 0;

    if (v->kind == CONFIG_NUMBER && !v->number.whole)
        return mismatch(a, key, v, "a duration such as \"10s\"");
    if (v->kind != CONFIG_NUMBER && v->kind != CONFIG_STRING)
        return mismatch(a, key, v, "a duration such as \"10s\"");
    if (v->kind == CONFIG_STRING &&
        duration_parse(v->string, &ns, &why) != ERR_OK) {
        config_fail(a->t, &v->pos, "%s: %s", key->path, why.s);
        return ERR_BAD;
    }
    if (ns < 0) {
        config_fail(a->t, &v->pos, "%s: cannot be negative", key->path);
        return ERR_BAD;
    }
    /* Less than a millisecond is not none. */
    uint64_t ms = (uint64_t)ns / NS_PER_MS;
    *(uint64_t *)field(a->c, key) = ns && !ms ? 1 : ms;
    return ERR_OK;
}

static enum err put_strings(struct apply *a, const struct config_key *key,
                            const struct config_value *v)
{
    if (v->kind != CONFIG_LIST)
        return mismatch(a, key, v, "a list of strings");
    config_each(item, v)
    {
        if (item->kind != CONFIG_STRING)
            return mismatch(a, key, item, "a list of strings");
        if (config_strings_add(a->c->arena, field(a->c, key), item->string.p) !=
            ERR_OK)
            return no_memory(a, item);
    }
    return ERR_OK;
}

static enum err put_pair(struct apply *a, const struct config_key *key,
                         const struct config_value *item)
{
    struct config_pairs *p = field(a->c, key);
    void *v = p->v;
    size_t at = 0;

    if (item->kind != CONFIG_STRING)
        return mismatch(a, key, item, "an object whose values are strings");
    while (at < p->n && !bytes_is(item->key, p->v[at].key))
        at++;
    if (at == CONFIG_PAIRS_MAX) {
        config_fail(a->t, &item->key_pos, "%s: more than %d pairs", key->path,
                    CONFIG_PAIRS_MAX);
        return ERR_LIMIT;
    }
    if (grow(a->c->arena, &v, p->n, &p->cap, sizeof *p->v) != ERR_OK)
        return no_memory(a, item);
    p->v = v;
    p->n += at == p->n;
    p->v[at] = (struct config_pair){item->key.p, item->string.p};
    return ERR_OK;
}

static enum err put_value(struct apply *a, const struct config_key *key,
                          const struct config_value *item)
{
    struct config_values *list = field(a->c, key);
    void *v = list->v;

    if (item->kind != CONFIG_OBJECT)
        return mismatch(a, key, item, "an object or a list of objects");
    if (grow(a->c->arena, &v, list->n, &list->cap, sizeof *list->v) != ERR_OK)
        return no_memory(a, item);
    list->v = v;
    list->v[list->n++] = item;
    return ERR_OK;
}

/* v alone or, if it is a list, each of its items. */
static enum err put_each(struct apply *a, const struct config_key *key,
                         const struct config_value *v)
{
    bool pairs = key->kind == KEY_PAIRS;

    if (v->kind == CONFIG_OBJECT && !pairs)
        return put_value(a, key, v);
    if (v->kind != CONFIG_LIST && v->kind != CONFIG_OBJECT)
        return mismatch(a, key, v,
                        pairs ? "an object" : "an object or a list of objects");
    config_each(item, v)
    {
        enum err e;
        if (pairs && v->kind == CONFIG_OBJECT)
            e = put_pair(a, key, item);
        else if (pairs && item->kind != CONFIG_OBJECT)
            e = mismatch(a, key, item, "an object");
        else
            e = pairs ? put_each(a, key, item) : put_value(a, key, item);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Protection that is switched off, or left empty, is not missed. */
static bool asks_nothing(const struct config_value *v)
{
    return (v->kind == CONFIG_BOOL && !v->boolean) ||
           (v->kind == CONFIG_STRING && v->string.n == 0);
}

static void notify(struct apply *a, const struct config_key *key,
                   const struct config_value *v)
{
    bool protects = key->kind == KEY_PROTECTS;
    struct config_notice n = {key->path, &v->pos, protects};

    if (a->notice && !a->c->said[key - config_keys] &&
        !(protects && asks_nothing(v)))
        a->notice(a->ctx, &n);
}

static enum err put(struct apply *a, const struct config_key *key,
                    const struct config_value *v)
{
    switch (key->kind) {
    case KEY_IGNORED:
    case KEY_PROTECTS:
        notify(a, key, v);
        return ERR_OK;
    case KEY_BOOL:
        return put_bool(a, key, v);
    case KEY_STRING:
        return put_string(a, key, v);
    case KEY_INT:
        return put_int(a, key, v);
    case KEY_PORT:
        return put_port(a, key, v);
    case KEY_DURATION:
        return put_duration(a, key, v);
    case KEY_STRINGS:
        return put_strings(a, key, v);
    case KEY_PAIRS:
    case KEY_VALUES:
        return put_each(a, key, v);
    }
    return ERR_BAD;
}

static enum err unknown(struct apply *a, struct bytes path,
                        const struct config_pos *pos)
{
    struct bytes near = config_key_suggest(path);

    if (near.n)
        config_fail(a->t, pos, "invalid config key %s (did you mean %.*s?)",
                    config_quote(path).s, BYTES_ARG(near));
    else
        config_fail(a->t, pos, "invalid config key %s", config_quote(path).s);
    return ERR_BAD;
}

/* Keys that differ in case only mean the same, so the reader of the text did
 * not see that there are two. Objects with a second one are refused before
 * their length could matter: there are only so many known keys. */
static enum err refuse_twin(struct apply *a, const struct config_value *object,
                            const struct config_value *member)
{
    config_each(m, object)
    {
        if (m == member)
            break;
        if (bytes_eq_fold(m->key, member->key)) {
            config_fail(a->t, &member->key_pos,
                        "duplicate key %s (first at line %u, column %u)",
                        config_quote(member->key).s, m->key_pos.line,
                        m->key_pos.column);
            return ERR_BAD;
        }
    }
    return ERR_OK;
}

static enum err apply_section(struct apply *a, const char *section,
                              const struct config_value *v);

static enum err apply_member(struct apply *a, const char *section,
                             const struct config_value *object,
                             const struct config_value *v)
{
    char path[PATH_BYTES_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s", section,
                     section[0] ? "." : "", v->key.p);
    struct bytes whole = bytes_of(path, (size_t)n);

    if (n < 0 || (size_t)n >= sizeof path)
        return unknown(a, v->key, &v->key_pos);
    const struct config_key *key = config_key_find(whole);
    if (!key && !config_key_is_section(whole))
        return unknown(a, whole, &v->key_pos);
    enum err e = refuse_twin(a, object, v);
    if (e != ERR_OK || v->kind == CONFIG_NULL)
        return e;
    if (!key)
        return apply_section(a, path, v);
    e = put(a, key, v);
    if (e == ERR_OK && !(key->kind == KEY_PROTECTS && asks_nothing(v)))
        a->c->said[key - config_keys] = v;
    return e;
}

/* An object, or a list of objects (repeated blocks) one after the other. Not
 * deeper than the table's sections. */
static enum err apply_section(struct apply *a, const char *section,
                              const struct config_value *v)
{
    enum err e = ERR_OK;

    if (v->kind != CONFIG_OBJECT && v->kind != CONFIG_LIST) {
        config_fail(a->t, &v->pos, "%s: found %s, wanted an object", section,
                    config_kind_text(v->kind));
        return ERR_BAD;
    }
    config_each(item, v)
    {
        if (e != ERR_OK)
            break;
        if (v->kind == CONFIG_OBJECT)
            e = apply_member(a, section, v, item);
        else if (item->kind == CONFIG_OBJECT)
            e = apply_section(a, section, item);
        else {
            config_fail(a->t, &item->pos, "%s: found %s, wanted an object",
                        section, config_kind_text(item->kind));
            e = ERR_BAD;
        }
    }
    return e;
}

enum err agent_config_apply(struct agent_config *c,
                            const struct config_value *tree,
                            config_notice_fn notice, void *ctx,
                            struct errtext *t)
{
    struct apply a = {c, notice, ctx, t};

    return apply_section(&a, "", tree);
}
