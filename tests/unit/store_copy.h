/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* store_copy - deep copies of guards and operations into one block. */
#ifndef STORE_COPY_H
#define STORE_COPY_H

#include "store/backend.h"

static inline struct bytes fault_copy_bytes(char **at, struct bytes b)
{
    char *p = *at;

    if (b.n)
        memcpy(p, b.p, b.n);
    *at += b.n;
    return bytes_of(p, b.n);
}

static inline size_t fault_sizes(const struct store_guard *g, size_t gn,
                                 const struct store_op *o, size_t on)
{
    size_t n = gn * sizeof *g + on * sizeof *o;

    for (size_t i = 0; i < gn; i++)
        n += g[i].key.n;
    for (size_t i = 0; i < on; i++)
        n += o[i].key.n + o[i].value.n;
    return n + 16; /* alignment of what follows */
}

static inline void fault_copy_half(char **at, const struct store_guard **g,
                                   size_t gn, const struct store_op **o,
                                   size_t on)
{
    *at += -(uintptr_t)*at & 7;
    struct store_guard *guards = (struct store_guard *)*at;
    struct store_op *ops = (struct store_op *)(guards + gn);
    *at = (char *)(ops + on);
    for (size_t i = 0; i < gn; i++) {
        guards[i] = (*g)[i];
        guards[i].key = fault_copy_bytes(at, (*g)[i].key);
    }
    for (size_t i = 0; i < on; i++) {
        ops[i] = (*o)[i];
        ops[i].key = fault_copy_bytes(at, (*o)[i].key);
        ops[i].value = fault_copy_bytes(at, (*o)[i].value);
    }
    *g = guards;
    *o = ops;
}

#endif
