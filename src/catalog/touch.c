/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Which indexes a change moves. The rule for each watch key: its index moves
 * when what is shown under it can have changed, and else stays.
 *
 *   node record      NODES, NODE; of each name with an instance there SERVICE,
 *                    SERVICE_HEALTH. If it comes, goes, or changes its name or
 *                    meta (which select and are shown): also what shows checks
 *   service record   SERVICES, NODE; of its names, old and new, SERVICE,
 *                    SERVICE_HEALTH. If it comes, goes, or changes its name or
 *                    tags: also what shows its checks
 *   check            NODE_CHECKS, STATE of any, the old and the new status,
 *                    SERVICE_CHECKS; SERVICE_HEALTH of its name, or of all
 * names on its node if it is the node's own, unless only its Output changed
 *                    (or marks that change no answer: when, how much)
 *   guard            SERVICE_HEALTH of its name, and CATALOG, if `out` changed
 *
 * Each such change is noted in the journal too (journal.h).
 *
 * The text index (snapshot_text_index) moves with Output alone too.
 * NODES_SERVICES moves with either of NODES and SERVICES, CATALOG with those and
 * STATE of any. A record put again
 * with equal bytes moves nothing. */
#include "catalog/impl.h"

enum touched {
    TOUCH_SERVICE = 1,
    TOUCH_HEALTH = 2,
    TOUCH_CHECKS = 4,
};

enum state_slot state_slot(struct bytes status)
{
    if (bytes_eq_fold(status, bytes_str("any")))
        return STATE_ANY;
    if (bytes_eq_fold(status, bytes_str("passing")))
        return STATE_PASSING;
    if (bytes_eq_fold(status, bytes_str("warning")))
        return STATE_WARNING;
    if (bytes_eq_fold(status, bytes_str("critical")))
        return STATE_CRITICAL;
    return STATE_OTHER;
}

static void report(struct catalog *c, enum watch_kind kind, struct bytes name)
{
    watch_set_add(&c->changes, watch_hash((struct watch_key){kind, name}));
}

/* An index that is at rev already was reported when it got there. */
static void bump(struct catalog *c, uint64_t *index, uint64_t rev,
                 enum watch_kind kind, struct bytes name)
{
    if (*index == rev)
        return;
    if (*index < rev)
        *index = rev;
    report(c, kind, name);
}

static const struct bytes no_name = {NULL, 0};

/* The set that is read has no doubles. */
static void touch_any(struct catalog *c, uint64_t index, uint64_t rev)
{
    if (index != rev)
        report(c, WATCH_CATALOG, no_name);
}

static void touch_nodes(struct catalog *c, uint64_t rev)
{
    if (c->next.nodes_index != rev && c->next.services_index != rev)
        report(c, WATCH_NODES_SERVICES, no_name);
    touch_any(c, c->next.nodes_index, rev);
    bump(c, &c->next.nodes_index, rev, WATCH_NODES, no_name);
}

static void touch_services(struct catalog *c, uint64_t rev)
{
    if (c->next.nodes_index != rev && c->next.services_index != rev)
        report(c, WATCH_NODES_SERVICES, no_name);
    touch_any(c, c->next.services_index, rev);
    bump(c, &c->next.services_index, rev, WATCH_SERVICES, no_name);
}

static void touch_name(struct catalog *c, struct bytes name, unsigned what,
                       uint64_t rev)
{
    struct cat_name *n = edit_find_name(c, name);

    if (!n) /* of a node without record: shown nowhere */
        return;
    if (what & TOUCH_SERVICE)
        bump(c, &n->service_index, rev, WATCH_SERVICE, name);
    if (what & TOUCH_HEALTH)
        bump(c, &n->health_index, rev, WATCH_SERVICE_HEALTH, name);
    if (what & TOUCH_CHECKS)
        bump(c, &n->checks_index, rev, WATCH_SERVICE_CHECKS, name);
}

/* All names on the node; where_checks adds to `what` for instances that have
 * checks. */
static void touch_names_on(struct catalog *c, const struct node_entry *e,
                           unsigned what, unsigned where_checks, uint64_t rev)
{
    struct bytes last = {NULL, 0};
    unsigned last_done = 0;
    struct tree_iter it;

    tree_first(&e->pub.services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        struct bytes name = cat_service_name(i->service);
        unsigned todo = what | (i->check_count ? where_checks : 0);
        bool same = last.p && bytes_eq_fold(name, last);
        if (same && (todo & ~last_done) == 0)
            continue; /* instances of one name tend to be neighbours */
        touch_name(c, name, todo, rev);
        last_done = todo | (same ? last_done : 0);
        last = name;
    }
}

static void touch_state(struct catalog *c, struct bytes status, uint64_t rev)
{
    enum state_slot slot = state_slot(status);

    /* Other texts share an index, not a hash. */
    if (slot == STATE_OTHER && c->next.state_index[slot] == rev)
        report(c, WATCH_STATE, status);
    if (slot == STATE_ANY)
        touch_any(c, c->next.state_index[slot], rev);
    bump(c, &c->next.state_index[slot], rev, WATCH_STATE, status);
}

static void touch_state_of(struct catalog *c, const struct cat_record *check,
                           uint64_t rev)
{
    struct check_view v;

    cat_check_view(check, &v);
    touch_state(c, bytes_str("any"), rev);
    touch_state(c, v.status, rev);
}

static void touch_node_checks(struct catalog *c, struct node_entry *e,
                              uint64_t rev)
{
    bump(c, &e->pub.checks_index, rev, WATCH_NODE_CHECKS, entry_name(e));
}

static void touch_node_self(struct catalog *c, struct node_entry *e,
                            uint64_t rev)
{
    bump(c, &e->pub.node_index, rev, WATCH_NODE, entry_name(e));
}

static bool same_value(const struct cat_record *a, const struct cat_record *b)
{
    return bytes_eq(cat_value(a), cat_value(b));
}

/* --- The journal's notes ------------------------------------------------- */

static void note_check(struct catalog *c, const struct node_entry *e,
                       const struct cat_record *check, uint64_t rev)
{
    struct bytes owner = cat_check_service(check), name = no_name;
    const struct cat_instance *i =
        owner.n ? tree_get(&e->pub.services, &service_tree, key_of_bytes(owner))
                : NULL;

    if (i)
        name = cat_service_name(i->service);
    journal_note(c, RECORD_CHECK, entry_name(e), owner, cat_record_id(check),
                 name, rev);
}

/* Who else is in the answers hangs on it. */
static bool is_damped(const struct cat_record *check)
{
    struct check_view v;

    if (!check)
        return false;
    cat_check_view(check, &v);
    return v.marks.damped;
}

/* All names that the check counts for. */
static void note_names_of(struct catalog *c, const struct node_entry *e,
                          const struct cat_record *check, uint64_t rev)
{
    struct bytes owner = cat_check_service(check);
    struct tree_iter it;

    tree_first(&e->pub.services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        if (!owner.n || bytes_eq_fold(owner, cat_record_id(i->service)))
            journal_note(c, RECORD_GUARD, no_name, no_name, no_name,
                         cat_service_name(i->service), rev);
}

/* With its checks, if they show under another name now, or nowhere. */
static void note_instance(struct catalog *c, const struct node_entry *e,
                          const struct cat_instance *i, bool with_checks,
                          uint64_t rev)
{
    struct bytes name = cat_service_name(i->service);
    struct bytes id = cat_record_id(i->service);

    journal_note(c, RECORD_SERVICE, entry_name(e), id, no_name, name, rev);
    for (uint32_t k = 0; with_checks && k < i->check_count; k++)
        journal_note(c, RECORD_CHECK, entry_name(e), id,
                     cat_record_id(i->checks[k]), name, rev);
}

/* A node that comes or goes does so with all it has. */
static void note_node(struct catalog *c, const struct node_entry *e, bool whole,
                      uint64_t rev)
{
    struct tree_iter it;

    journal_note(c, RECORD_NODE, entry_name(e), no_name, no_name, no_name, rev);
    if (!whole)
        return;
    tree_first(&e->pub.services, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));)
        note_instance(c, e, i, false, rev);
    tree_first(&e->pub.checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));)
        note_check(c, e, r, rev);
}

/* --- Nodes --------------------------------------------------------------- */

/* Answers about checks show the node's name and may be selected by its meta. */
static bool checks_show(const struct cat_record *old,
                        const struct cat_record *new)
{
    struct node_view a, b;

    if (!old || !new)
        return true;
    cat_node_view(old, &a);
    cat_node_view(new, &b);
    return !bytes_eq(a.name, b.name) || !packed_eq(a.meta, b.meta);
}

void touch_node(struct catalog *c, struct node_entry *e,
                const struct cat_record *old, const struct cat_record *new,
                uint64_t rev)
{
    struct tree_iter it;

    if (old && new &&same_value(old, new))
        return;
    bool with_checks = checks_show(old, new);
    note_node(c, e, !old || !new, rev);
    touch_nodes(c, rev);
    if ((!old || !new) && e->pub.services.n)
        touch_services(c, rev);
    touch_node_self(c, e, rev);
    touch_names_on(c, e, TOUCH_SERVICE | TOUCH_HEALTH,
                   with_checks ? TOUCH_CHECKS : 0, rev);
    if (!with_checks || e->pub.checks.n == 0)
        return;
    touch_node_checks(c, e, rev);
    tree_first(&e->pub.checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));)
        touch_state_of(c, r, rev);
}

/* --- Services ------------------------------------------------------------ */

/* A check shows the name and tags of its service. */
static bool service_label_changed(const struct cat_instance *old,
                                  const struct cat_instance *new)
{
    struct service_view a, b;

    if (!old || !new)
        return true;
    cat_service_view(old->service, &a);
    cat_service_view(new->service, &b);
    return !bytes_eq(a.name, b.name) || !packed_eq(a.tags, b.tags);
}

void touch_service(struct catalog *c, struct node_entry *e,
                   const struct cat_instance *old,
                   const struct cat_instance *new, uint64_t rev)
{
    const struct cat_instance *i = new ? new : old;
    unsigned what = TOUCH_SERVICE | TOUCH_HEALTH;

    if (old && new &&same_value(old->service, new->service))
        return;
    bool with_checks = i->check_count && service_label_changed(old, new);
    if (with_checks)
        what |= TOUCH_CHECKS;
    if (old && !(new &&bytes_eq_fold(cat_service_name(old->service),
                                     cat_service_name(new->service))))
        note_instance(c, e, old, with_checks, rev);
    if (new)
        note_instance(c, e, new, with_checks, rev);
    touch_services(c, rev);
    touch_node_self(c, e, rev);
    if (old)
        touch_name(c, cat_service_name(old->service), what, rev);
    if (new)
        touch_name(c, cat_service_name(new->service), what, rev);
    if (!with_checks)
        return;
    touch_node_checks(c, e, rev);
    for (uint32_t k = 0; k < i->check_count; k++)
        touch_state_of(c, i->checks[k], rev);
}

/* --- Checks -------------------------------------------------------------- */

static bool only_output_differs(const struct cat_record *old,
                                const struct cat_record *new)
{
    struct check_view a, b;

    cat_check_view(old, &a);
    cat_check_view(new, &b);
    return bytes_eq(a.id, b.id) && bytes_eq(a.name, b.name) &&
           bytes_eq(a.status, b.status) && bytes_eq(a.notes, b.notes) &&
           bytes_eq(a.service_id, b.service_id) && bytes_eq(a.type, b.type) &&
           bytes_eq(a.definition, b.definition) &&
           marks_alike(&a.marks, &b.marks);
}

static void touch_owner(struct catalog *c, struct node_entry *e,
                        const struct cat_record *check, unsigned health,
                        uint64_t rev)
{
    struct bytes id = cat_check_service(check);

    if (id.n == 0) {
        if (health)
            touch_names_on(c, e, health, 0, rev);
        else if (c->next.own_text_index < rev)
            c->next.own_text_index = rev;
        return;
    }
    const struct cat_instance *i =
        tree_get(&e->pub.services, &service_tree, key_of_bytes(id));
    if (i)
        touch_name(c, cat_service_name(i->service), TOUCH_CHECKS | health, rev);
}

void touch_check(struct catalog *c, struct node_entry *e,
                 const struct cat_record *old, const struct cat_record *new,
                 uint64_t rev)
{
    unsigned health = TOUCH_HEALTH;

    if (old && new) {
        if (same_value(old, new))
            return;
        if (only_output_differs(old, new))
            health = 0;
    }
    touch_node_checks(c, e, rev);
    if (is_damped(old) != is_damped(new))
        note_names_of(c, e, new ? new : old, rev);
    if (old)
        note_check(c, e, old, rev);
    if (new &&
        !(old && bytes_eq(cat_check_service(old), cat_check_service(new))))
        note_check(c, e, new, rev);
    if (old) {
        touch_state_of(c, old, rev);
        touch_owner(c, e, old, health, rev);
    }
    if (new) {
        touch_state_of(c, new, rev);
        touch_owner(c, e, new, health, rev);
    }
}

/* --- Queries, coordinates ------------------------------------------------ */

void touch_aside(struct catalog *c, enum record_kind kind, uint64_t rev)
{
    if (kind == RECORD_QUERY)
        bump(c, &c->next.queries_index, rev, WATCH_QUERIES, no_name);
    else
        bump(c, &c->next.coordinates_index, rev, WATCH_COORDINATES, no_name);
}

/* --- Guards -------------------------------------------------------------- */

void touch_guard(struct catalog *c, const struct cat_record *old,
                 const struct cat_record *new, uint64_t rev)
{
    struct guard_view a = {0}, b = {0};

    if (old)
        cat_guard_view(old, &a);
    if (new)
        cat_guard_view(new, &b);
    if (packed_eq(a.out, b.out))
        return;
    struct bytes name = cat_record_id(new ? new : old);
    journal_note(c, RECORD_GUARD, no_name, no_name, no_name, name, rev);
    touch_any(c, c->next.guards_index, rev);
    c->next.guards_index = rev;
    touch_name(c, name, TOUCH_HEALTH, rev);
}

/* --- By nobody's change -------------------------------------------------- */

void renew_name(struct catalog *c, struct bytes name, uint64_t rev)
{
    struct cat_name *n = edit_need_name(c, name);

    bump(c, &n->service_index, rev, WATCH_SERVICE, name);
    bump(c, &n->health_index, rev, WATCH_SERVICE_HEALTH, name);
    bump(c, &n->checks_index, rev, WATCH_SERVICE_CHECKS, name);
    n->whole = true;
    edit_settle_name(c, n);
}

void whole_name(struct catalog *c, struct bytes name, bool whole)
{
    struct cat_name *n = edit_need_name(c, name);

    n->whole = whole;
    edit_settle_name(c, n);
}

void renew_node(struct catalog *c, struct bytes node, uint64_t rev)
{
    struct node_entry *e = edit_need_node(c, node);

    touch_node_self(c, e, rev);
    touch_node_checks(c, e, rev);
    edit_settle_node(c, e);
}
