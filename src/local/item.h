/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* item - the blocks that local's trees hold, and the snapshot that is made of
 * them. Within this folder only. */
#ifndef LOCAL_ITEM_H
#define LOCAL_ITEM_H

#include "local/local.h"

struct local_snapshot {
    uint64_t version;
    struct tree services;   /* of local_service, by folded ID */
    struct tree checks;     /* of local_check, by folded ID */
    struct tree by_service; /* the same checks by folded service ID, ID */
};

extern const struct tree_type local_service_type, local_check_type,
    local_check_of_type;

/* From stored values that have been read without error before: one malloc block
 * each, with all that it points to. */
struct local_service *local_service_new(struct bytes value, bool from_config);
struct local_check *local_check_new(struct bytes value, enum status status,
                                    struct bytes output,
                                    const struct check_marks *marks,
                                    bool from_config);

/* A copy with another state. */
struct local_check *local_check_with_state(const struct local_check *k,
                                           enum status status,
                                           struct bytes output,
                                           const struct check_marks *marks);

#endif
