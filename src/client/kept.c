/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What a program may still hold the address of after it was closed: its memory
 * stays and says so, until another one of its kind is made of it. So a program
 * that misuses one is told, and memory is bounded by how many were open at
 * once. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "client/impl.h"

enum { KINDS = 3 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct kept *pile[KINDS];

static struct kept **pile_of(enum kept_kind kind)
{
    return &pile[kind];
}

void *kept_new(enum kept_kind kind, size_t size)
{
    pthread_mutex_lock(&mutex);
    struct kept *k = *pile_of(kind);
    if (k)
        *pile_of(kind) = k->next;
    pthread_mutex_unlock(&mutex);
    if (!k)
        return calloc(1, size);
    memset(k, 0, size);
    return k;
}

void kept_free(enum kept_kind kind, struct kept *take_k)
{
    take_k->magic = 0;
    pthread_mutex_lock(&mutex);
    take_k->next = *pile_of(kind);
    *pile_of(kind) = take_k;
    pthread_mutex_unlock(&mutex);
}

void kept_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void kept_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}
