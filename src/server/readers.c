/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/readers.h"

#include <stdlib.h>

#include "base/buf.h"

struct reader {
    struct list link;
    uint64_t seen_ms;
    size_t key_n, name_n;
    char key[]; /* folded name, NUL, host, NUL, agent, NUL */
};

void readers_init(struct readers *rs)
{
    *rs = (struct readers){0};
    list_init(&rs->all);
}

static void reader_free(struct readers *rs, struct reader *r)
{
    map_del(&rs->by_key, bytes_of(r->key, r->key_n));
    list_del(&r->link);
    free(r);
}

static struct reader *oldest(const struct readers *rs)
{
    return list_empty(&rs->all)
               ? NULL
               : container_of(rs->all.next, struct reader, link);
}

void readers_fini(struct readers *rs)
{
    struct reader *r;
    while ((r = oldest(rs)))
        reader_free(rs, r);
    map_fini(&rs->by_key);
}

void readers_forget(struct readers *rs, uint64_t now_ms, uint64_t after_ms)
{
    struct reader *r;
    while ((r = oldest(rs)) && now_ms > r->seen_ms + after_ms)
        reader_free(rs, r);
}

static struct reader *reader_new(struct readers *rs, struct bytes key,
                                 size_t name_n)
{
    struct reader *r =
        rs->by_key.n < UNPROVEN_MAX ? calloc(1, sizeof *r + key.n + 1) : NULL;
    if (!r)
        return NULL;
    r->key_n = key.n;
    r->name_n = name_n;
    memcpy(r->key, key.p, key.n);
    list_init(&r->link);
    if (map_put(&rs->by_key, bytes_of(r->key, key.n), r) == ERR_OK)
        return r;
    free(r);
    return NULL;
}

void readers_lost(struct readers *rs, uint64_t now_ms)
{
    if (rs->lost_ms < now_ms)
        rs->lost_ms = now_ms;
}

/* Behind those that were heard of before: mostly it is the last. */
static void insert(struct readers *rs, struct reader *r)
{
    list_del(&r->link);
    struct list *at = rs->all.prev;
    while (at != &rs->all &&
           container_of(at, struct reader, link)->seen_ms > r->seen_ms)
        at = at->prev;
    list_add(at->next, &r->link); /* before the one behind it */
}

void readers_seen(struct readers *rs, struct bytes name, struct bytes host,
                  struct bytes agent, uint64_t now_ms)
{
    char space[1200];
    struct buf key = {.p = space, .cap = sizeof space, .max = sizeof space};
    name = bytes_head(name, 512);
    buf_put(&key, name);
    buf_putc(&key, 0);
    buf_put(&key, bytes_head(host, 256));
    buf_putc(&key, 0);
    buf_put(&key, bytes_head(agent, 256));
    struct reader *r = map_get(&rs->by_key, buf_bytes(&key));
    if (!r)
        r = reader_new(rs, buf_bytes(&key), name.n);
    if (!r) {
        readers_lost(rs, now_ms);
        return;
    }
    if (r->seen_ms < now_ms)
        r->seen_ms = now_ms;
    insert(rs, r);
}

void readers_since(const struct readers *rs, uint64_t since_ms,
                   void (*each)(void *ctx, struct bytes service,
                                const char *host, uint64_t seen_ms),
                   void *ctx)
{
    list_each (it, &rs->all) {
        struct reader *r = container_of(it, struct reader, link);
        const char *host = r->key + r->name_n + 1;
        if (r->seen_ms >= since_ms && host[strlen(host) + 1] == '\0')
            each(ctx, bytes_of(r->key, r->name_n), host, r->seen_ms);
    }
}

bool readers_each(const struct readers *rs, struct bytes name, uint64_t now_ms,
                  uint64_t memory_ms,
                  void (*each)(void *ctx, const struct unproven *u), void *ctx)
{
    list_each (it, &rs->all) {
        struct reader *r = container_of(it, struct reader, link);
        const char *host = r->key + r->name_n + 1;
        uint64_t ago = now_ms > r->seen_ms ? now_ms - r->seen_ms : 0;
        struct unproven u = {host, host + strlen(host) + 1, ago};
        if (bytes_eq(bytes_of(r->key, r->name_n), name))
            each(ctx, &u);
    }
    return !rs->lost_ms || now_ms - rs->lost_ms > memory_ms;
}
