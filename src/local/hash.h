/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* hash - the ContentHash of a service as its own agent shows it, with the
 * fields that Consul 1.8.7 hashes: clients and test suites compare it
 * literally. Within this folder only. */
#ifndef LOCAL_HASH_H
#define LOCAL_HASH_H

#include "catalog/record.h"

uint64_t service_content_hash(const struct service_view *v);

#endif
