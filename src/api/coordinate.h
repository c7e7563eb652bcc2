/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* coordinate - network coordinates as JSON, as Consul's API and peers have them.
 * Pure. */
#ifndef API_COORDINATE_H
#define API_COORDINATE_H

#include "base/arena.h"
#include "base/coordinate.h"
#include "base/err.h"
#include "http/json_out.h"

/* ERR_BAD: t says why; ERR_NOMEM. */
MUST_USE enum err coordinate_from_json(struct bytes json, struct arena *a,
                                       struct coordinate *ret,
                                       struct errtext *t);
void encode_coordinate(struct json_out *j, const struct coordinate *c);

#endif
