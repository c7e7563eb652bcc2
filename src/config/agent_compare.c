/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* In which settings two configurations differ, by the table of keys. */

#include "base/duration.h"
#include "config/agent_parts.h"
#include "config/keys.h"

static const void *field(const struct agent_config *c,
                         const struct config_key *key)
{
    return (const char *)c + key->offset;
}

static void put_quoted(struct buf *out, const char *s)
{
    struct config_value v = {.kind = CONFIG_STRING, .string = bytes_str(s)};
    config_value_to_json(out, &v);
}

static void put_strings(struct buf *out, const struct config_strings *list)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < list->n; i++) {
        buf_puts(out, i ? "," : "");
        put_quoted(out, list->v[i]);
    }
    buf_putc(out, ']');
}

static void put_pairs(struct buf *out, const struct config_pairs *pairs)
{
    buf_putc(out, '{');
    for (size_t i = 0; i < pairs->n; i++) {
        buf_puts(out, i ? "," : "");
        put_quoted(out, pairs->v[i].key);
        buf_putc(out, ':');
        put_quoted(out, pairs->v[i].value);
    }
    buf_putc(out, '}');
}

static void put_duration(struct buf *out, uint64_t ms)
{
    duration_print(out, ms > INT64_MAX / NS_PER_MS ? INT64_MAX
                                                   : (int64_t)ms * NS_PER_MS);
}

static void put_text(struct buf *out, const struct agent_config *c,
                     const struct config_key *key)
{
    const void *v = field(c, key);

    switch (key->kind) {
    case KEY_BOOL:
        buf_puts(out, *(const bool *)v ? "true" : "false");
        break;
    case KEY_STRING:
        put_quoted(out, *(const char *const *)v ? *(const char *const *)v : "");
        break;
    case KEY_INT:
        buf_printf(out, "%lld", (long long)*(const int64_t *)v);
        break;
    case KEY_PORT:
        buf_printf(out, "%d", *(const int *)v);
        break;
    case KEY_DURATION:
        put_duration(out, *(const uint64_t *)v);
        break;
    case KEY_STRINGS:
        put_strings(out, v);
        break;
    case KEY_PAIRS:
        put_pairs(out, v);
        break;
    case KEY_IGNORED:
    case KEY_PROTECTS:
    case KEY_VALUES:
        break;
    }
}

/* Several keys may set one thing: it is told once, by the name that was used.
 */
static bool is_spoken_for(const struct agent_config *was,
                          const struct agent_config *is,
                          const struct config_key *key)
{
    bool said = is->said[key - config_keys] || was->said[key - config_keys];

    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *k = &config_keys[i];
        if (k == key || k->offset != key->offset || k->kind != key->kind)
            continue;
        bool other = is->said[i] || was->said[i];
        if (other > said || (other == said && k < key))
            return true;
    }
    return false;
}

static bool is_secret(const struct config_key *key)
{
    return strstr(key->path, "token") || strstr(key->path, "secret") ||
           bytes_is(bytes_str(key->path), "encrypt");
}

static enum err compare(const struct agent_config *was,
                        const struct agent_config *is,
                        const struct config_key *key, config_change_fn fn,
                        void *ctx)
{
    struct buf a = {0}, b = {0};
    enum err e = ERR_OK;

    put_text(&a, was, key);
    put_text(&b, is, key);
    if (a.bad || b.bad)
        e = ERR_NOMEM;
    else if (!bytes_eq(buf_bytes(&a), buf_bytes(&b))) {
        bool hide = is_secret(key);
        struct config_change ch = {
            .key = key->path,
            .was = hide ? "(hidden)" : arena_str(is->arena, buf_bytes(&a)),
            .is = hide ? "(hidden)" : arena_str(is->arena, buf_bytes(&b)),
            .live = key->live,
        };
        if (ch.was && ch.is)
            fn(ctx, &ch);
        else
            e = ERR_NOMEM;
    }
    buf_fini(&a);
    buf_fini(&b);
    return e;
}

enum err agent_config_compare(const struct agent_config *was,
                              const struct agent_config *is,
                              config_change_fn fn, void *ctx)
{
    enum err e = ERR_OK;

    for (size_t i = 0; i < config_key_count && e == ERR_OK; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->kind != KEY_IGNORED && key->kind != KEY_PROTECTS &&
            key->kind != KEY_VALUES && !is_spoken_for(was, is, key))
            e = compare(was, is, key, fn, ctx);
    }
    return e;
}
