/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* ring - the last bytes of an output that may never end. */
#ifndef HEALTH_RING_H
#define HEALTH_RING_H

#include "base/buf.h"

struct ring {
    char *p;
    size_t size;
    uint64_t total; /* bytes put; the next one goes to total modulo size */
};

/* size_bytes of 0 counts as 1. ERR_NOMEM. */
MUST_USE enum err ring_init(struct ring *r, size_t size_bytes);
void ring_fini(struct ring *r);

void ring_put(struct ring *r, struct bytes b);

/* As output_tail has it, with its marker. out->bad when out of memory. */
void ring_output(const struct ring *r, struct buf *out);

#endif
