/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirror_serve - requests for another datacenter that are answered here, from its
 * mirror (mirrors.h), by the code that answers from the own catalog: a call of
 * which `mirror` is set, an environment with the mirror's snapshot, and a connection
 * that knows whose age to tell (conn_state.mirror).
 *
 * On the serving thread. */
#ifndef SERVER_MIRROR_SERVE_H
#define SERVER_MIRROR_SERVE_H

#include "server/mirrors.h"
#include "server/serving.h"

/* What is said when nobody can answer. */
#define MIRROR_OVER "Remote DC has no server currently reachable"

/* The call names another datacenter (call->forward). True: it was answered from
 * the mirror, waits there, or was refused (the call moves). False: a server there
 * has to be asked. lost: one has been, and did not answer. Pinned. */
bool mirror_serve(struct serving *s, struct conn *c, struct api_call *call,
                  bool lost);

/* Pinned: what answers of this mirror are made of, the same until unpinned; of
 * NULL: the own catalog. False: it is not mirrored any more, or no memory. */
MUST_USE bool serving_env_of(struct serving *s, const struct dc_mirror *of,
                             struct api_env *ret);

/* The same on another thread, of a mirror, with the self that it needs. Pinned. */
MUST_USE bool mirror_env(const struct dc_mirror *of, struct api_env *env,
                         struct api_self *own);

/* Of a canonical target; NULL: the own catalog. */
const struct dc_mirror *mirror_of_target(const struct process *p,
                                         struct bytes target);

/* The one that published something, or the own. */
const struct catalog *catalog_of(const struct process *p,
                                 const struct dc_mirror *of);

/* It is too old to answer, or not mirrored any more: the call becomes Consul's
 * error. */
bool mirror_is_over(struct serving *s, const struct dc_mirror *of,
                    struct api_call *call);

#endif
