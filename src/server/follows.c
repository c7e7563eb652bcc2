/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/follows.h"

#include <stdlib.h>

static struct bytes hash_key(const struct follow *f)
{
    return bytes_of(&f->hash, sizeof f->hash);
}

void follows_fini(struct follows *fs)
{
    map_fini(&fs->by_target);
    map_fini(&fs->by_hash);
}

struct follow *follows_find(const struct follows *fs, struct bytes target)
{
    return map_get(&fs->by_target, target);
}

struct follow *follows_any(const struct follows *fs)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    return map_next(&fs->by_target, &at, &key, &value) ? value : NULL;
}

void follows_each(const struct follows *fs,
                  void (*each)(void *ctx, struct follow *f), void *ctx)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    while (map_next(&fs->by_target, &at, &key, &value))
        each(ctx, value);
}

enum err follows_add(struct follows *fs, struct follow *f)
{
    list_init(&f->same_hash);
    if (map_put(&fs->by_target, f->target, f) != ERR_OK)
        return ERR_NOMEM;
    struct follow *first = map_get(&fs->by_hash, hash_key(f));
    if (first) {
        list_add(&first->same_hash, &f->same_hash);
    } else if (map_put(&fs->by_hash, hash_key(f), f) != ERR_OK) {
        map_del(&fs->by_target, f->target);
        return ERR_NOMEM;
    }
    return ERR_OK;
}

void follows_del(struct follows *fs, struct follow *f)
{
    map_del(&fs->by_target, f->target);
    struct follow *first = map_get(&fs->by_hash, hash_key(f));
    if (list_empty(&f->same_hash)) {
        map_del(&fs->by_hash, hash_key(f));
    } else if (first == f) {
        /* The map's key points into the first of the ring: move both. */
        struct follow *next =
            container_of(f->same_hash.next, struct follow, same_hash);
        map_del(&fs->by_hash, hash_key(f));
        if (map_put(&fs->by_hash, hash_key(next), next) != ERR_OK)
            abort(); /* a slot was just freed: cannot fail */
    }
    list_del(&f->same_hash);
}

static void each_of_ring(struct follow *first, const struct dc_mirror *of,
                         void (*each)(void *ctx, struct follow *f), void *ctx)
{
    struct follow *f = first;
    do {
        if (f->of == of)
            each(ctx, f);
        f = container_of(f->same_hash.next, struct follow, same_hash);
    } while (f != first);
}

void follows_touched(const struct follows *fs, const struct published *pub,
                     void (*each)(void *ctx, struct follow *f), void *ctx)
{
    size_t at = 0;
    struct bytes key;
    void *value;
    while (pub->all && map_next(&fs->by_hash, &at, &key, &value))
        each_of_ring(value, pub->of, each, ctx);
    for (size_t i = 0; !pub->all && i < pub->n; i++) {
        struct follow *f = map_get(
            &fs->by_hash, bytes_of(&pub->hashes[i], sizeof pub->hashes[i]));
        if (f)
            each_of_ring(f, pub->of, each, ctx);
    }
}
