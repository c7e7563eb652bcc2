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

#ifdef SOMETIMES
void sometimes_hit(const char *what, const char *file, int line);
#define sometimes(x) ((x) ? sometimes_hit(#x, __FILE__, __LINE__) : (void)0)
#else
#define sometimes(x) ((void)sizeof(x))
#endif

#endif
