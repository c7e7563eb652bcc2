/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* change - a change to the store as data: guards that must hold, operations
 * that happen together. Plain values, so that whoever decides (catalog, local,
 * api) can make one without seeing the store, and the store without seeing
 * them. */
#ifndef BASE_CHANGE_H
#define BASE_CHANGE_H

#include "base/bytes.h"

enum store_guard_kind {
    GUARD_MOD,     /* the key's mod revision is rev (0: it does not exist) */
    GUARD_CREATE,  /* the key's create revision is rev (0: does not exist) */
    GUARD_PRESENT, /* it exists */
    GUARD_ABSENT,  /* it does not */
    GUARD_QUIET,   /* no key under the prefix `key` was created after rev */
};

struct store_guard {
    enum store_guard_kind kind;
    struct bytes key;
    uint64_t rev;
};

enum store_op_kind { OP_PUT, OP_DELETE, OP_DELETE_PREFIX };

struct store_op {
    enum store_op_kind kind;
    struct bytes key;
    struct bytes value; /* OP_PUT */
};

#endif
