/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* local - an agent's own services and checks: an immutable snapshot built from
 * the feed of the agent's own store, and its differences to the catalog.
 *
 * Keys and values of the agent's store stand in local/record.h.
 *
 * Same manner as catalog/catalog.h: one writer (the core thread), readers pin
 * the same domain. What a change replaces is kept until local_commit, so that
 * others may publish in the same domain meanwhile. */
#ifndef LOCAL_LOCAL_H
#define LOCAL_LOCAL_H

#include "base/buf.h"
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
    uint64_t hash; /* ContentHash (consul-api 2.4), 1.8.7's fields */
    bool from_config;
};

struct local_check {
    struct check_def def; /* points into this block */
    enum check_type type;
    enum status status;
    struct bytes output;
    struct check_marks marks; /* never held: that is the plan's to decide */
    bool from_config;
};

/* CheckIDs of maintenance: critical checks whose Notes give the reason. */
#define LOCAL_NODE_MAINTENANCE "_node_maintenance"
#define LOCAL_SERVICE_MAINTENANCE                                              \
    "_service_maintenance:" /* and the service ID */

bool local_is_maintenance(struct bytes check_id);

/* CheckID of draining: critical as well, until undrained or deregistered. */
#define LOCAL_DRAIN "_muster_drain:" /* and the service ID */
bool local_is_drain(struct bytes check_id);

struct local *local_new(struct pin_domain *pins);
void local_free(struct local *l);

/* --- Writer -------------------------------------------------------------- */

/* Feed of the agent's store, as in catalog.h; a load ends with the next commit.
 * It forgets what was stored, not what configuration defines. States of checks
 * are taken from the load only: afterwards the live ones are newer. A check
 * that is put again keeps its state. */
void local_load_begin(struct local *l);
MUST_USE enum err local_put(struct local *l, struct bytes key,
                            struct bytes value, struct errtext *t);
void local_delete(struct local *l, struct bytes key);

/* Things that configuration defines, not stored. What has that ID is replaced,
 * and replaces it when it is put. */
MUST_USE enum err local_put_config_service(struct local *l,
                                           const struct service_view *v);
MUST_USE enum err local_put_config_check(struct local *l,
                                         const struct check_def *d);
void local_drop_config_service(struct local *l, struct bytes id);
void local_drop_config_check(struct local *l, struct bytes id);

/* A check's live status and output, whether or not it is stored too; marks NULL:
 * none. ERR_NOT_FOUND: no such check. */
MUST_USE enum err local_set_state(struct local *l, struct bytes check_id,
                                  enum status status, struct bytes output,
                                  const struct check_marks *marks);

/* Publishes if anything changed since the last commit (then true); changed
 * watch keys (WATCH_LOCAL_SERVICE, WATCH_LOCAL) until the next change. */
bool local_commit(struct local *l);
const struct watch_set *local_changes(const struct local *l);

/* --- Readers (pinned, or the writer's thread) ---------------------------- */

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

/* Checks of one service (empty ID: of the node), in order of folded ID. */
void local_checks_of(const struct local_snapshot *s, struct bytes service_id,
                     struct tree_iter *it);
const struct local_check *local_next_check_of(struct tree_iter *it,
                                              struct bytes service_id);

/* --- Differences --------------------------------------------------------- */

struct local_identity { /* the agent's own node */
    struct node_view node;
    struct bytes keep_service; /* catalog entries that are nobody's here: */
    struct bytes keep_check;   /* "consul" (servers) and "serfHealth" */
    enum guard_mode guard;     /* as configured */
    uint64_t wall_ms;          /* now, for people; 0: unknown */
};

/* A walk over everything local and over the own node in the catalog, in bounded
 * steps, so that 100,000 services stop nobody. It compares and writes nothing:
 * what differs is repaired one by one (below), each in order with the changes
 * of its own that are already under way. */
enum local_difference {
    LOCAL_DIFF_NODE,    /* the node's record */
    LOCAL_DIFF_SERVICE, /* a service or one of its checks */
    LOCAL_DIFF_TAGS,    /* the tags of a service, and the catalog's count
                           (EnableTagOverride); look again afterwards */
    LOCAL_DIFF_CHECK,   /* a check of the node, or of no service known here */
};

struct local_scan { /* zero-initialised: at the start */
    int phase;
    struct buf after;        /* the last ID seen */
    size_t services, checks; /* found on both sides */
};

void local_scan_fini(struct local_scan *c);

/* Looks at max local things further; true: all has been seen (and c is at the
 * start again). Checks whose output alone differs are left out. */
bool local_scan(struct local_scan *c, const struct local_snapshot *l,
                const struct snapshot *s, const struct local_identity *me,
                size_t max,
                void (*differs)(void *ctx, enum local_difference what,
                                struct bytes id),
                void *ctx);

enum {
    /* Checks that one plan touches; what is left is *ret_more. */
    LOCAL_DIFF_CHECKS_MAX = 100,
};

/* Appends what makes the catalog say about one service and its checks (or one
 * check) what is said here: registrations, or deregistration of what is not
 * here. Checks whose output alone differs are left out unless with_output.
 * *ret_more: plan again once this is committed. The node's record is written
 * where it is missing. */
MUST_USE enum err local_diff_service(struct plan *p,
                                     const struct local_snapshot *l,
                                     const struct snapshot *s,
                                     const struct local_identity *me,
                                     struct bytes service_id, bool with_output,
                                     bool *ret_more, struct errtext *t);
MUST_USE enum err
local_diff_check(struct plan *p, const struct local_snapshot *l,
                 const struct snapshot *s, const struct local_identity *me,
                 struct bytes check_id, bool with_output, struct errtext *t);
MUST_USE enum err local_diff_node(struct plan *p, const struct snapshot *s,
                                  const struct local_identity *me,
                                  struct errtext *t);

/* Status of an alias check's target: the worst of the service's checks and of
 * those of its node, d itself left out; output is Consul's text, the cause the
 * strongest of those that are critical. */
enum status local_alias_status(const struct local_snapshot *l,
                               const struct snapshot *s,
                               const struct local_identity *me,
                               const struct check_def *d, struct buf *output,
                               enum check_cause *ret_cause);

#endif
