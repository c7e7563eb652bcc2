/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Routes that exist to say no, in words that name the reason: a 404 would be
 * taken for "there is no such key" by clients of the KV store. */
#include "api/impl.h"

void read_acl_off(struct api_call *c, const struct api_env *env)
{
    (void)env;
    api_error(c, 401, "ACL support disabled");
}

void read_unsupported(struct api_call *c, const struct api_env *env)
{
    (void)env;
    api_error(c, 501,
              "%s is not supported by this version of muster: docs/api.md "
              "lists the routes that are",
              c->route->path);
}
