/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of this folder share; nobody else includes it.
 *
 *   catalog.c   life, put, delete, commit          the writer's front
 *   apply.c     what a put or delete changes, row by row
 *   touch.c     which indexes a change moves
 *   journal.c   what changed lately
 *   address.c   whose an address is
 *   aside.c     prepared queries and coordinates
 *   edit.c      nodes and names in the version being built; tombstones; garbage
 *   load.c      building everything from rows in no order
 *   snapshot.c  readers
 *   record*.c, packed.c, keys.c  stored bytes     watch.c   watch keys
 *   plan*.c     writes         guard.c, member.c  who leaves the answers
 *
 * The writer's invariants, outside of a load:
 * - A name's instances are those of nodes that have a record (the shown ones).
 *   A node without record keeps its services and checks to itself.
 * - A check belongs to the instance its service_id names, to the node's own
 * list if that is empty, or to a ghost: an instance without service, in
 * c->ghosts, where checks wait for a service that came later than they.
 * - A node or name without any content is a tombstone and in c->tombs.
 * - Everything whose edit is c->edit.id was made for the version being built.
 */
#ifndef CATALOG_IMPL_H
#define CATALOG_IMPL_H

#include <stdatomic.h>

#include "base/list.h"
#include "base/map.h"
#include "catalog/catalog.h"

enum record_format {
    FORMAT_NODE = 0x11,
    FORMAT_SERVICE = 0x21,
    FORMAT_CHECK = 0x31,
    FORMAT_GUARD = 0x41,
    FORMAT_QUERY = 0x51,
    FORMAT_COORDINATE = 0x61,
};

enum { TAGGED_PORT_BYTES = 8, OUT_SINCE_BYTES = 8 };

/* Item count right, each item whole, values of maps long enough. */
bool packed_valid(struct packed p, bool map, size_t min_value_bytes);

/* --- Records ------------------------------------------------------------- */

/* One malloc. There are several 100,000: the header takes 24 bytes. */
enum { RECORD_VALUE_MAX = (1 << 30) - 1 };

struct cat_record {
    uint64_t create_rev, mod_rev;
    uint32_t value_n : 30;
    uint32_t held : 1;   /* of a check: its marks */
    uint32_t damped : 1; /* the same */
    uint16_t node_n;     /* 0 in a node's own record, whose value names it */
    uint16_t id_n; /* of the value's first text: the ID, or the node's name */
    char data[];   /* folded node name, stored value */
};

static inline struct bytes cat_record_node(const struct cat_record *r)
{
    return bytes_of(r->data, r->node_n);
}

static inline struct bytes cat_value(const struct cat_record *r)
{
    return bytes_of(r->data + r->node_n, r->value_n);
}

/* The value's first text: behind the format byte and its varint length. */
static inline struct bytes cat_record_id(const struct cat_record *r)
{
    size_t at = r->id_n < 1 << 7 ? 2 : r->id_n < 1 << 14 ? 3 : 4;
    return bytes_of(r->data + r->node_n + at, r->id_n);
}

/* Single fields, quicker than a view. */
struct bytes cat_node_id(const struct cat_record *r);
struct bytes cat_service_name(const struct cat_record *r);
struct bytes cat_address(const struct cat_record *r); /* of either */
struct bytes cat_check_service(const struct cat_record *r);
bool cat_check_passes(const struct cat_record *r);
struct bytes cat_query_name(const struct cat_record *r);

/* --- Versions ------------------------------------------------------------ */

enum state_slot {
    STATE_ANY,
    STATE_PASSING,
    STATE_WARNING,
    STATE_CRITICAL,
    STATE_OTHER, /* all other texts together */
    STATE_SLOTS,
};

enum state_slot state_slot(struct bytes status);

struct node_entry {
    struct cat_node pub;
    size_t name_n;
    char name[]; /* folded */
};

struct snapshot {
    uint64_t revision, floor;
    struct tree nodes;     /* node_entry by name */
    struct tree names;     /* cat_name by name */
    struct tree ids;       /* cat_record of nodes by node ID */
    struct tree addresses; /* nodes' and services' cat_record, by Address */
    struct tree guards;    /* cat_record by service name */
    struct tree marked;    /* checks held or damped, by node, check ID */
    size_t own_held, own_damped; /* of those, checks of nodes */
    struct tree queries;         /* cat_record of prepared queries by ID */
    struct tree query_names;     /* the same by name; templates too */
    struct tree coordinates;     /* cat_record by node */
    uint64_t queries_index, coordinates_index;
    size_t node_count, name_count, instance_count, check_count;
    uint64_t nodes_index, services_index;
    uint64_t guards_index;   /* some guard's out */
    uint64_t own_text_index; /* Output alone of some node's own check */
    uint64_t state_index[STATE_SLOTS];
    struct journal_block *journal; /* the newest; NULL: none */
    uint64_t journal_floor;
};

extern const struct tree_type node_tree;     /* key: name */
extern const struct tree_type name_tree;     /* key: name */
extern const struct tree_type id_tree;       /* key: node ID */
extern const struct tree_type address_tree;  /* key: address, node and ID */
extern const struct tree_type service_tree;  /* of a node; key: service ID */
extern const struct tree_type check_tree;    /* of a node; key: check ID */
extern const struct tree_type instance_tree; /* of a name; key: node, ID */
extern const struct tree_type ghost_tree;    /* key: node, service ID */
extern const struct tree_type marked_tree;   /* key: node, check ID */
extern const struct tree_type query_name_tree;

static inline struct tree_key key_of_bytes(struct bytes a)
{
    return (struct tree_key){a, {NULL, 0}};
}

struct tomb {
    struct list link;
    size_t key_n;
    char key[]; /* 'n' or 's', folded name */
};

/* The writer's side of journal.h. */
struct journal {
    struct journal_block *oldest;
    size_t changes, bytes; /* in all blocks */
    struct buf next;       /* of the version being built */
    size_t next_changes;
};

/* A load, from its rows to the version that is published (load.c). */
enum load_stage {
    LOAD_ROWS,  /* they are put */
    LOAD_NODES, /* what is derived of them is built, node by node */
    LOAD_NAMES, /* their indexes are set */
    LOAD_BUILT,
};

struct load_walk {
    enum load_stage stage;
    struct tree_iter it;     /* of nodes, then of names */
    struct node_entry *node; /* the one at hand; NULL: the next */
    struct owned *owned;     /* its checks, by owner */
    const struct owned *at;  /* those that are in no instance yet */
    struct tree records;     /* its services as they were put */
    struct tree_iter of_node;
};

struct catalog {
    struct pin_domain *pins;
    struct snapshot *_Atomic current;

    struct snapshot next; /* being built */
    struct snapshot before_load;
    struct tree_edit edit; /* of next */
    bool loading;
    struct load_walk walk;
    bool published; /* nothing happened since: changes are of current */
    struct watch_set changes;
    struct journal journal;
    uint32_t wall_s; /* catalog_context */
    bool reaped;

    struct tree ghosts; /* the writer's own, never shared */
    struct list tombs;  /* oldest first */
    struct map tomb_of; /* key -> struct tomb */

    /* Replaced, but still in `current`. Given to pins only when current has
     * been replaced: somebody else may publish in the same domain meanwhile. */
    void **garbage;
    size_t garbage_n, garbage_cap;

    struct buf parsed;   /* the parts of the key in hand */
    struct buf tomb_key; /* edit.c's */
};

/* --- edit.c -------------------------------------------------------------- */

void garbage_add(struct catalog *c, void *take_p); /* NULL: nothing */

/* What is no longer part of next: freed at once in a load, where nobody has
 * seen it, else garbage. */
void edit_drop(struct catalog *c, void *take_p);

/* Trees, with lack of memory ending the process. */
void *edit_put(struct catalog *c, struct tree *t, const struct tree_type *type,
               void *item);
void *edit_del(struct catalog *c, struct tree *t, const struct tree_type *type,
               struct tree_key key);

/* The entry, writable. find: NULL if there is none; need: made or revived.
 * Pointers found earlier to the same entry are stale afterwards. */
struct node_entry *edit_find_node(struct catalog *c, struct bytes name);
struct node_entry *edit_need_node(struct catalog *c, struct bytes name);
struct cat_name *edit_find_name(struct catalog *c, struct bytes name);
struct cat_name *edit_need_name(struct catalog *c, struct bytes name);

/* To be called when the entry may have lost its last content. */
void edit_settle_node(struct catalog *c, const struct node_entry *e);
void edit_settle_name(struct catalog *c, const struct cat_name *n);
/* Its tombstone goes, and the floor stays; nothing if it has instances. */
void edit_forget_name(struct catalog *c, struct bytes name);

void tombs_trim(struct catalog *c); /* to CATALOG_TOMBSTONES_MAX */
void tombs_clear(struct catalog *c);

/* An instance with the service, and old's checks (NULL: none) less out, plus in
 * (each NULL: none). */
struct cat_instance *instance_new(const struct cat_instance *old,
                                  const struct cat_record *service,
                                  const struct cat_record *out,
                                  const struct cat_record *in);
struct cat_node_checks *own_checks_new(const struct cat_node_checks *old,
                                       const struct cat_record *out,
                                       const struct cat_record *in);

static inline struct bytes entry_name(const struct node_entry *e)
{
    return bytes_of(e->name, e->name_n);
}

static inline struct bytes name_text(const struct cat_name *n)
{
    return bytes_of(n->name, n->name_len);
}

/* --- apply.c ------------------------------------------------------------- */

void apply_node(struct catalog *c, struct bytes name, struct cat_record *take);
void apply_service(struct catalog *c, struct bytes node,
                   struct cat_record *take);
void apply_check(struct catalog *c, struct bytes node, struct cat_record *take);
void apply_guard(struct catalog *c, struct cat_record *take);

void apply_let_in(struct catalog *c, struct bytes node, struct bytes id,
                  uint32_t let_in_s);

/* The node has a record now, and had none: it, its services, its checks show.
 */
void apply_appear(struct catalog *c, struct node_entry *e);
void apply_appear_service(struct catalog *c, struct cat_instance *i);

void ghost_put(struct catalog *c, struct cat_instance *take_ghost);

/* Nothing happens if it is not there. */
void unapply_node(struct catalog *c, struct bytes name, uint64_t rev);
void unapply_service(struct catalog *c, struct bytes node, struct bytes id,
                     uint64_t rev);
void unapply_check(struct catalog *c, struct bytes node, struct bytes id,
                   uint64_t rev);

void unapply_guard(struct catalog *c, struct bytes name, uint64_t rev);

/* A check is put (in; NULL: none) in the place of another (out). */
void mark_change(struct catalog *c, const struct cat_record *out,
                 const struct cat_record *in);

/* --- aside.c ------------------------------------------------------------- */

bool aside_is(enum record_kind kind);
void aside_put(struct catalog *c, enum record_kind kind,
               struct cat_record *take);
void aside_delete(struct catalog *c, enum record_kind kind, struct bytes id,
                  uint64_t rev);
void aside_build(struct catalog *c); /* at the end of a load */

/* --- address.c ----------------------------------------------------------- */

void address_know(struct catalog *c, const struct cat_record *r);
void address_forget(struct catalog *c, const struct cat_record *r);
void address_change(struct catalog *c, const struct cat_record *old,
                    const struct cat_record *new); /* old may be NULL */

/* --- load.c -------------------------------------------------------------- */

void load_put(struct catalog *c, enum record_kind kind, struct bytes node,
              struct cat_record *take);
void load_delete(struct catalog *c, enum record_kind kind, struct bytes node,
                 struct bytes id);
/* Takes from *left the rows that it has built; true: that was all. */
bool load_build(struct catalog *c, uint64_t revision, size_t *left);
void load_build_all(struct catalog *c, uint64_t revision);

void load_give_up(struct catalog *c);

/* Every block of a version goes to drop. */
void version_drop(struct catalog *c, struct snapshot *v,
                  void (*drop)(struct catalog *c, void *take_p));
void ghosts_free(struct catalog *c);

/* --- journal.c ----------------------------------------------------------- */

/* A record of the version being built was put, changed or taken out. */
void journal_note(struct catalog *c, enum record_kind kind, struct bytes node,
                  struct bytes service_id, struct bytes check_id,
                  struct bytes name, uint64_t rev);

/* Before the version is published. */
void journal_publish(struct catalog *c, uint64_t revision);

/* Forgets everything up to floor. */
void journal_clear(struct catalog *c, uint64_t floor);
void journal_fini(struct catalog *c);

/* --- touch.c ------------------------------------------------------------- */

/* old, new: NULL if there was or is none. While both the old and the new
 * instances are in no name, names are found nevertheless. */
void touch_node(struct catalog *c, struct node_entry *e,
                const struct cat_record *old, const struct cat_record *new,
                uint64_t rev);
void touch_service(struct catalog *c, struct node_entry *e,
                   const struct cat_instance *old,
                   const struct cat_instance *new, uint64_t rev);
void touch_check(struct catalog *c, struct node_entry *e,
                 const struct cat_record *old, const struct cat_record *new,
                 uint64_t rev);
void touch_aside(struct catalog *c, enum record_kind kind, uint64_t rev);
void touch_guard(struct catalog *c, const struct cat_record *old,
                 const struct cat_record *new, uint64_t rev);

/* All indexes of a name or node, which need not be there. */
void renew_name(struct catalog *c, struct bytes name, uint64_t rev);
void renew_node(struct catalog *c, struct bytes node, uint64_t rev);
void whole_name(struct catalog *c, struct bytes name, bool whole);

#endif
