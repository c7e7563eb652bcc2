/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/presence.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/map.h"
#include "http/request.h"

struct present {
    uint64_t heard_ms;
    size_t name_n;
    char name[];
};

struct presence {
    pthread_mutex_t mutex;
    struct map nodes; /* struct present by name */
};

struct presence *presence_new(void)
{
    struct presence *p = calloc(1, sizeof *p);

    if (p)
        pthread_mutex_init(&p->mutex, NULL);
    return p;
}

void presence_free(struct presence *p)
{
    size_t at = 0;
    void *x;

    if (!p)
        return;
    while (map_next(&p->nodes, &at, NULL, &x))
        free(x);
    map_fini(&p->nodes);
    pthread_mutex_destroy(&p->mutex);
    free(p);
}

static struct present *add(struct presence *p, struct bytes node)
{
    struct present *x =
        p->nodes.n < PRESENCE_MAX ? calloc(1, sizeof *x + node.n) : NULL;

    if (!x)
        return NULL;
    x->name_n = node.n;
    memcpy(x->name, node.p, node.n);
    if (map_put(&p->nodes, bytes_of(x->name, x->name_n), x) != ERR_OK) {
        free(x);
        return NULL;
    }
    return x;
}

bool presence_heard(struct presence *p, struct bytes node, uint64_t now_ms)
{
    pthread_mutex_lock(&p->mutex);
    struct present *x = map_get(&p->nodes, node);
    if (!x)
        x = add(p, node);
    if (x)
        x->heard_ms = now_ms;
    pthread_mutex_unlock(&p->mutex);
    return x != NULL;
}

enum { FORGOTTEN_AT_ONCE = 64 };

void presence_write(struct presence *p, uint64_t now_ms, struct buf *out)
{
    struct present *old[FORGOTTEN_AT_ONCE];
    size_t n = 0, at = 0;
    void *v;

    pthread_mutex_lock(&p->mutex);
    while (map_next(&p->nodes, &at, NULL, &v)) {
        struct present *x = v;
        uint64_t ago = now_ms > x->heard_ms ? now_ms - x->heard_ms : 0;
        if (ago > PRESENCE_KEPT_MS) {
            if (n < FORGOTTEN_AT_ONCE)
                old[n++] = x;
            continue;
        }
        buf_u64(out, ago);
        buf_putc(out, ' ');
        http_encode(out, bytes_of(x->name, x->name_n));
        buf_putc(out, '\n');
    }
    for (size_t i = 0; i < n; i++) {
        (void)map_del(&p->nodes, bytes_of(old[i]->name, old[i]->name_n));
        free(old[i]);
    }
    pthread_mutex_unlock(&p->mutex);
}

void presence_read(struct bytes text,
                   void (*each)(void *ctx, struct bytes name, uint64_t ago_ms),
                   void *ctx)
{
    struct arena a;

    arena_init(&a, 0);
    while (text.n) {
        size_t end = bytes_find(text, '\n');
        struct bytes line = bytes_head(text, end), name;
        size_t space = bytes_find(line, ' ');
        uint64_t ago;

        text = bytes_skip(text, end + 1);
        arena_reset(&a);
        if (bytes_u64(bytes_head(line, space), &ago) == ERR_OK &&
            http_decode(&a, bytes_skip(line, space + 1), false, &name) ==
                ERR_OK &&
            name.n)
            each(ctx, name, ago);
    }
    arena_fini(&a);
}
