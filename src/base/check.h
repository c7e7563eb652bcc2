/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* check - assertions, three kinds.
 *
 * require(x)    broken by our own caller; always on.
 * invariant(x)  expensive; tests, simulation and debug builds (-DINVARIANTS).
 * sometimes(x)  a branch that the simulation must have seen; counted there.
 *
 * Never on bytes from a peer, a client, a file or the log. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdbool.h>

__attribute__((noreturn)) void require_failed(const char *what,
                                              const char *file, int line);

#define require(x) ((x) ? (void)0 : require_failed(#x, __FILE__, __LINE__))

#ifdef INVARIANTS
#define invariant(x) require(x)
#else
#define invariant(x) ((void)sizeof(x))
#endif

/* Only the simulation (tests/sim) is built with SOMETIMES: it finds every place
 * between the linker's __start_sometimes_sites and __stop_sometimes_sites, also
 * those that were never reached. */
#ifdef SOMETIMES
struct sometimes_site {
    const char *what, *file;
    int line;
    unsigned long hits;
};

#define sometimes(x)                                                           \
    do {                                                                       \
        static struct sometimes_site site_ = {#x, __FILE__, __LINE__, 0};      \
        static struct sometimes_site *const entry_                             \
            __attribute__((section("sometimes_sites"), used)) = &site_;        \
        if (x)                                                                 \
            entry_->hits++;                                                    \
    } while (0)
#else
#define sometimes(x) ((void)sizeof(x))
#endif

#endif
