/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* fail_malloc - makes the n-th allocation from now on fail, and counts.
 *
 * Include in one file of a test program: it defines malloc, calloc, realloc and
 * free for the whole program, on top of the sanitizer's where there is one and
 * of glibc's otherwise. For tests of one thread. Not instrumented, because the
 * dynamic linker allocates before a sanitizer is ready. */
#ifndef FAIL_MALLOC_H
#define FAIL_MALLOC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t k, size_t n);
void *__libc_realloc(void *p, size_t n);
void __libc_free(void *p);

#define WEAK __attribute__((weak))
WEAK void *__interceptor_malloc(size_t n);
WEAK void *__interceptor_calloc(size_t k, size_t n);
WEAK void *__interceptor_realloc(void *p, size_t n);
WEAK void __interceptor_free(void *p);
#undef WEAK

#ifdef __clang__
#define BARE __attribute__((disable_sanitizer_instrumentation))
#else
#define BARE __attribute__((no_sanitize("address", "thread", "undefined")))
#endif

static long fail_malloc_in;    /* 1: the next fails; 0: none */
static long fail_malloc_live;  /* blocks allocated and not freed */
static long fail_malloc_bytes; /* ever asked for */

/* Disarms; whether the failure has happened. */
BARE static inline bool fail_malloc_off(void)
{
    bool fired = fail_malloc_in < 0;

    fail_malloc_in = 0;
    return fired;
}

/* -1 says until fail_malloc_off that it has happened. */
BARE static inline bool fail_malloc_now(void)
{
    if (fail_malloc_in <= 0)
        return false;
    if (--fail_malloc_in > 0)
        return false;
    fail_malloc_in = -1;
    errno = ENOMEM;
    return true;
}

BARE static inline void *fail_malloc_count(void *p, size_t n)
{
    if (p) {
        fail_malloc_live++;
        fail_malloc_bytes += (long)n;
    }
    return p;
}

BARE void *malloc(size_t n)
{
    if (fail_malloc_now())
        return NULL;
    return fail_malloc_count(
        __interceptor_malloc ? __interceptor_malloc(n) : __libc_malloc(n), n);
}

BARE void *calloc(size_t k, size_t n)
{
    if (fail_malloc_now())
        return NULL;
    return fail_malloc_count(__interceptor_calloc ? __interceptor_calloc(k, n)
                                                  : __libc_calloc(k, n),
                             k * n);
}

BARE void *realloc(void *p, size_t n)
{
    if (fail_malloc_now())
        return NULL;
    void *q = __interceptor_realloc ? __interceptor_realloc(p, n)
                                    : __libc_realloc(p, n);
    if (q && p)
        fail_malloc_live--;
    return fail_malloc_count(q, n);
}

BARE void free(void *p)
{
    if (p)
        fail_malloc_live--;
    if (__interceptor_free)
        __interceptor_free(p);
    else
        __libc_free(p);
}

#undef BARE

#endif
