/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* local - an agent's own services and checks: an immutable snapshot built from
 * the feed of the agent's own store, and its differences to the catalog.
 *
 * Keys of the agent's store (folded IDs, escaped as in catalog/record.h):
 *
 *     s/<service>  the service (record_put_service), token after it
 *     c/<check>    the check's definition (check_def_put)
 *     t/<check>    its state: status, output, boot id and time of the last beat
 *
 * Same manner as catalog/catalog.h: one writer (the core thread), readers pin the
 * same domain. */
#ifndef LOCAL_LOCAL_H
#define LOCAL_LOCAL_H

#include "base/pin.h"
#include "base/tree.h"
#include "catalog/plan.h"
#include "health/check_def.h"
#include "health/status.h"

struct local;
struct local_snapshot;

struct local_service {
    struct service_view view; /* points into this block */
    struct bytes token;
    uint64_t hash;            /* ContentHash (consul-api 2.4), 1.8.7's fields */
    bool from_config;
};

struct local_check {
    struct check_def def;  /* points into this block */
    enum check_type type;
    enum status status;
    struct bytes output;
    bool from_config;
};

struct local *local_new(struct pin_domain *pins);
void local_free(struct local *l);

/* --- Writer ------------------------------------------------------------------ */

/* Feed of the agent's store, as in catalog.h. */
void local_load_begin(struct local *l);
MUST_USE enum err local_put(struct local *l, struct bytes key,
                            struct bytes value, struct errtext *t);
void local_delete(struct local *l, struct bytes key);

/* Things that configuration defines, not stored. A key that exists is replaced. */
MUST_USE enum err local_put_config_service(struct local *l,
                                           const struct service_view *v);
MUST_USE enum err local_put_config_check(struct local *l,
                                         const struct check_def *d);

/* A check's live status and output, whether or not it is stored too. */
MUST_USE enum err local_set_state(struct local *l, struct bytes check_id,
                                  enum status status, struct bytes output);

/* Publishes; changed watch keys (WATCH_LOCAL_SERVICE, WATCH_LOCAL) afterwards. */
void local_commit(struct local *l);
const struct watch_set *local_changes(const struct local *l);

/* --- Readers (pinned, or the writer's thread) --------------------------------- */

const struct local_snapshot *local_current(const struct local *l);
uint64_t local_version(const struct local_snapshot *s);

const struct local_service *local_service(const struct local_snapshot *s,
                                          struct bytes id);
const struct local_check *local_check(const struct local_snapshot *s,
                                      struct bytes id);

/* In order of folded ID. */
void local_services(const struct local_snapshot *s, struct tree_iter *it);
const struct local_service *local_next_service(struct tree_iter *it);
void local_checks(const struct local_snapshot *s, struct tree_iter *it);
const struct local_check *local_next_check(struct tree_iter *it);

/* --- Differences --------------------------------------------------------------- */

struct local_identity { /* the agent's own node */
    struct node_view node;
    struct bytes keep_service; /* catalog entries that are nobody's here: */
    struct bytes keep_check;   /* "consul" (servers) and "serfHealth" */
};

/* Appends to the plan what the catalog lacks or has otherwise: node record,
 * services with their checks, checks; what it has too much goes. At most max
 * services and checks per call; *ret_more: call again after it is committed. Output
 * texts that differ alone are left out unless with_output. */
MUST_USE enum err local_diff(struct plan *p, const struct local_snapshot *l,
                             const struct snapshot *s,
                             const struct local_identity *me, size_t max,
                             bool with_output, bool *ret_more,
                             struct errtext *t);

/* The same for one service (and its checks), or one check. */
MUST_USE enum err local_diff_service(struct plan *p,
                                     const struct local_snapshot *l,
                                     const struct snapshot *s,
                                     const struct local_identity *me,
                                     struct bytes service_id,
                                     struct errtext *t);
MUST_USE enum err local_diff_check(struct plan *p,
                                   const struct local_snapshot *l,
                                   const struct snapshot *s,
                                   const struct local_identity *me,
                                   struct bytes check_id, struct errtext *t);

/* Status of an alias check's target (node-level checks of the node count too);
 * output is Consul's text. */
enum status local_alias_status(const struct local_snapshot *l,
                               const struct snapshot *s,
                               const struct local_identity *me,
                               const struct check_def *d, struct buf *output);

#endif
