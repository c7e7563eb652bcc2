/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* same - do the catalog and we say the same? Left aside: revisions, the name of
 * the node, tags of a service; of a check its output, and of its marks what is
 * only shown, or decided there (held). Within this folder only. */
#ifndef LOCAL_SAME_H
#define LOCAL_SAME_H

#include "local/local.h"

bool same_node(const struct node_view *a, const struct node_view *b);
bool same_service(const struct service_view *a, const struct service_view *b);
bool same_check(const struct check_view *here, const struct check_view *there);

/* A local check as the catalog should have it. */
struct check_view check_as_view(const struct local_check *k);

#endif
