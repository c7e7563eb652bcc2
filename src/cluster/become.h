/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* become - the short life of this program between fork and exec of an etcd
 * (child.c): `muster --become PARENT PROGRAM ARGUMENT...`. */
#ifndef CLUSTER_BECOME_H
#define CLUSTER_BECOME_H

#define BECOME "--become"

/* Returns only if that failed: an exit code. */
int child_become(int argc, char **argv);

#endif
