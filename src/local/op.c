/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/op.h"

#include <stdlib.h>

struct agent_op *agent_op_new(enum agent_op_kind kind)
{
    struct agent_op *op = calloc(1, sizeof *op);
    if (!op)
        return NULL;
    op->kind = kind;
    arena_init(&op->arena, 0);
    list_init(&op->link);
    return op;
}

void agent_op_free(struct agent_op *op)
{
    if (!op)
        return;
    agent_op_free(op->then);
    arena_fini(&op->arena);
    free(op);
}
