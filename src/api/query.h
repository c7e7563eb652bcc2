/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* query - what the files about prepared queries share: the body they are given
 * in, and the path. */
#ifndef API_QUERY_H
#define API_QUERY_H

#include "api/impl.h"
#include "query/query.h"

/* /v1/query/ID, /v1/query/NAME/execute, /v1/query/NAME/explain. */
enum query_action { QUERY_ITSELF, QUERY_EXECUTE, QUERY_EXPLAIN };

enum query_action query_action(struct bytes arg, struct bytes *ret_name);

/* The body as a view in the call's arena. False: refused, the answer is in the
 * call. */
bool query_from_body(struct api_call *c, struct query_view *ret);

void encode_query(struct json_out *j, const struct query_view *v);

#endif
