/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/story.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/map.h"

/* A record that is there now. A node may lack its own, having only others'. */
struct thing {
    struct list link;      /* in its owner's list; a node: alone */
    struct list instances; /* of a node */
    struct list checks;    /* of a node (node-level) or of an instance */
    struct thing *node;    /* NULL: it is one */
    struct thing *of;      /* of a check: node or instance */
    char *value;           /* NULL: none */
    size_t value_n, key_n;
    char key[];
};

/* A key taken apart. */
struct event {
    enum record_kind kind;
    bool is_delete;
    struct bytes key, value, by;
    struct bytes node, id; /* in the story's parts */
};

struct story {
    struct story_options o; /* with texts of our own */
    struct map things;      /* by key */
    struct buf guard;       /* the name's guard record; empty: none */
    struct list early;      /* of thing: checks of services, while loading */
    bool loaded;            /* all rows have come */
    bool quiet;             /* what is applied is no change */

    struct event *events; /* of the revision under way */
    size_t event_n, event_cap;
    struct buf parts; /* nodes and IDs, unescaped */
    struct buf key;   /* being looked up */

    uint64_t revision, wall_ms;
    struct list changes;
    size_t count;
    uint64_t left;
};

static struct bytes value_of(const struct thing *t)
{
    return bytes_of(t->value, t->value_n);
}

static struct bytes copy_text(struct bytes b)
{
    char *p = xmalloc(b.n + 1);

    if (b.n)
        memcpy(p, b.p, b.n);
    return bytes_of(p, b.n);
}

/* --- Things -------------------------------------------------------------- */

static struct thing *thing_new(struct bytes key)
{
    struct thing *t = xzalloc(sizeof *t + key.n);

    list_init(&t->link);
    list_init(&t->instances);
    list_init(&t->checks);
    t->key_n = key.n;
    memcpy(t->key, key.p, key.n);
    return t;
}

static struct thing *thing_add(struct story *s, struct bytes key)
{
    struct thing *t = thing_new(key);

    if (map_put(&s->things, bytes_of(t->key, t->key_n), t) != ERR_OK)
        abort(); /* out of memory, as in xmalloc */
    return t;
}

static void thing_set(struct thing *t, struct bytes value)
{
    free(t->value);
    t->value = (char *)copy_text(value).p;
    t->value_n = value.n;
}

static void thing_free(struct thing *t)
{
    list_del(&t->link);
    free(t->value);
    free(t);
}

/* With its checks. */
static void thing_drop(struct story *s, struct thing *t)
{
    list_each (it, &t->checks) {
        struct thing *check = container_of(it, struct thing, link);

        (void)map_del(&s->things, bytes_of(check->key, check->key_n));
        thing_free(check);
    }
    (void)map_del(&s->things, bytes_of(t->key, t->key_n));
    thing_free(t);
}

static struct thing *find(const struct story *s, struct bytes key)
{
    return map_get(&s->things, key);
}

static struct thing *node_of(struct story *s, struct bytes node)
{
    buf_reset(&s->key);
    key_node(&s->key, node);
    struct thing *t = find(s, buf_bytes(&s->key));

    return t ? t : thing_add(s, buf_bytes(&s->key));
}

static struct thing *instance_of(struct story *s, struct bytes node,
                                 struct bytes id)
{
    buf_reset(&s->key);
    key_service(&s->key, node, id);
    return find(s, buf_bytes(&s->key));
}

/* --- Telling ------------------------------------------------------------- */

static struct bytes node_name(const struct thing *node)
{
    struct node_view v;

    if (node->value && record_get_node(value_of(node), &v) == ERR_OK)
        return v.name;
    return bytes_skip(bytes_of(node->key, node->key_n), 2); /* "n/" */
}

static struct bytes node_address(const struct thing *node)
{
    struct node_view v;

    if (node->value && record_get_node(value_of(node), &v) == ERR_OK)
        return v.address;
    return (struct bytes){0};
}

static struct bytes instance_id(const struct thing *instance)
{
    struct service_view v;

    if (record_get_service(value_of(instance), &v) == ERR_OK)
        return v.id;
    return (struct bytes){0};
}

static bool has_instance(const struct thing *node, struct bytes id)
{
    list_each (it, &node->instances) {
        const struct thing *i = container_of(it, struct thing, link);

        if (id.n == 0 || bytes_eq_fold(instance_id(i), id))
            return true;
    }
    return false;
}

static bool is_wanted(const struct story *s, enum story_what what,
                      const struct thing *node, struct bytes id)
{
    if (s->quiet || (s->o.departures && what != STORY_DEREGISTERED))
        return false;
    if (s->o.node.n && !bytes_eq_fold(node_name(node), s->o.node))
        return false;
    return s->o.id.n == 0 ||
           (id.n ? bytes_eq_fold(id, s->o.id) : has_instance(node, s->o.id));
}

static struct bytes put_part(char **at, struct bytes b)
{
    char *p = *at;

    if (b.n)
        memcpy(p, b.p, b.n);
    *at += b.n;
    return bytes_of(p, b.n);
}

static void tell(struct story *s, enum story_what what, struct bytes by,
                 const struct thing *node, struct bytes id, struct bytes was,
                 struct bytes now)
{
    if (!is_wanted(s, what, node, id))
        return;
    struct bytes name = node_name(node), address = node_address(node);
    struct story_change *c =
        xmalloc(sizeof *c + by.n + name.n + address.n + id.n + was.n + now.n);
    char *at = (char *)(c + 1);

    c->revision = s->revision;
    c->wall_ms = s->wall_ms;
    c->what = what;
    c->by = put_part(&at, by);
    c->node = put_part(&at, name);
    c->node_address = put_part(&at, address);
    c->id = put_part(&at, id);
    c->was = put_part(&at, was);
    c->now = put_part(&at, now);
    list_add(&s->changes, &c->link);
    if (++s->count > s->o.limit) {
        struct list *oldest = s->changes.next;

        list_del(oldest);
        free(container_of(oldest, struct story_change, link));
        s->count--;
        s->left++;
    }
}

/* --- Nodes --------------------------------------------------------------- */

static void apply_node(struct story *s, const struct event *ev)
{
    struct thing *t = node_of(s, ev->node);
    struct node_view was, now;

    if (ev->is_delete) {
        free(t->value);
        t->value = NULL;
        t->value_n = 0;
        if (list_empty(&t->instances) && list_empty(&t->checks))
            thing_drop(s, t);
        return;
    }
    if (record_get_node(ev->value, &now) != ERR_OK)
        return;
    if (t->value && !list_empty(&t->instances) &&
        record_get_node(value_of(t), &was) == ERR_OK &&
        story_node_fields(&was, &now))
        tell(s, STORY_NODE_CHANGED, ev->by, t, (struct bytes){0}, value_of(t),
             ev->value);
    thing_set(t, ev->value);
}

/* --- Instances ----------------------------------------------------------- */

static void depart(struct story *s, struct thing *t, const struct event *ev)
{
    tell(s, STORY_DEREGISTERED, ev->by, t->node, instance_id(t), value_of(t),
         ev->value);
    thing_drop(s, t);
}

static void register_one(struct story *s, const struct event *ev,
                         struct bytes id)
{
    struct thing *node = node_of(s, ev->node);
    struct thing *t = thing_add(s, ev->key);

    t->node = node;
    list_add(&node->instances, &t->link);
    thing_set(t, ev->value);
    tell(s, STORY_REGISTERED, ev->by, node, id, (struct bytes){0}, ev->value);
}

static void apply_service(struct story *s, const struct event *ev)
{
    struct thing *t = find(s, ev->key);
    struct service_view was, now;

    if (ev->is_delete) {
        if (t)
            depart(s, t, ev);
        return;
    }
    if (record_get_service(ev->value, &now) != ERR_OK)
        return;
    if (!bytes_eq_fold(now.name, s->o.name)) {
        if (t)
            depart(s, t, ev);
        return;
    }
    if (!t) {
        register_one(s, ev, now.id);
        return;
    }
    if (record_get_service(value_of(t), &was) == ERR_OK &&
        story_service_fields(&was, &now))
        tell(s, STORY_CHANGED, ev->by, t->node, now.id, value_of(t), ev->value);
    thing_set(t, ev->value);
}

/* --- Checks -------------------------------------------------------------- */

static void tell_check(struct story *s, enum story_what what,
                       const struct event *ev, const struct thing *t,
                       struct bytes now)
{
    const struct thing *of = t->of;
    const struct thing *node = of->node ? of->node : of;

    if (list_empty(&node->instances)) /* it concerns nobody */
        return;
    tell(s, what, ev->by, node, of->node ? instance_id(of) : (struct bytes){0},
         value_of(t), now);
}

static void drop_check(struct story *s, struct thing *t, const struct event *ev)
{
    tell_check(s, STORY_CHECK_REMOVED, ev, t, (struct bytes){0});
    thing_drop(s, t);
}

static void change_check(struct story *s, struct thing *t,
                         const struct event *ev, const struct check_view *now)
{
    struct check_view was;

    if (record_get_check(value_of(t), &was) != ERR_OK)
        return;
    if (!bytes_eq(was.status, now->status)) {
        tell_check(s, STORY_CHECK_STATUS, ev, t, ev->value);
        return;
    }
    if (was.marks.held != now->marks.held)
        tell_check(s, now->marks.held ? STORY_CHECK_HELD : STORY_CHECK_RELEASED,
                   ev, t, ev->value);
    if (was.marks.damped != now->marks.damped)
        tell_check(
            s, now->marks.damped ? STORY_CHECK_DAMPED : STORY_CHECK_UNDAMPED,
            ev, t, ev->value);
}

static void add_check(struct story *s, struct thing *owner,
                      const struct event *ev)
{
    struct thing *t = thing_add(s, ev->key);

    t->node = owner->node ? owner->node : owner;
    t->of = owner;
    list_add(&owner->checks, &t->link);
    tell_check(s, STORY_CHECK_ADDED, ev, t, ev->value);
    thing_set(t, ev->value);
}

/* Whose it is shows once all rows have come. */
static void keep_early(struct story *s, const struct event *ev)
{
    struct thing *t = thing_new(ev->key);

    thing_set(t, ev->value);
    list_add(&s->early, &t->link);
}

static void apply_check(struct story *s, const struct event *ev)
{
    struct thing *t = find(s, ev->key), *owner;
    struct check_view now;

    if (ev->is_delete) {
        if (t)
            drop_check(s, t, ev);
        return;
    }
    if (s->o.departures || record_get_check(ev->value, &now) != ERR_OK)
        return;
    if (!s->loaded && now.service_id.n) {
        keep_early(s, ev);
        return;
    }
    owner = now.service_id.n ? instance_of(s, ev->node, now.service_id)
                             : node_of(s, ev->node);
    if (t && t->of != owner) {
        drop_check(s, t, ev);
        t = NULL;
    }
    if (t) {
        change_check(s, t, ev, &now);
        thing_set(t, ev->value);
    } else if (owner) {
        add_check(s, owner, ev);
    }
}

/* --- The guard ----------------------------------------------------------- */

static void let_go(struct story *s, const struct event *ev, struct bytes key)
{
    buf_reset(&s->key);
    buf_puts(&s->key, "s/");
    buf_put(&s->key, key);
    const struct thing *t = find(s, buf_bytes(&s->key));

    if (t)
        tell(s, STORY_LET_GO, ev->by, t->node, instance_id(t),
             (struct bytes){0}, (struct bytes){0});
}

/* A check of a node is held or let through for each instance by itself: those
 * that were let go stand in the service's record. */
static void apply_guard(struct story *s, const struct event *ev)
{
    struct guard_view was = {0}, now = {0};
    struct bytes rest, key, since;

    if (!bytes_eq_fold(ev->node, s->o.name) ||
        (ev->value.n && record_get_guard(ev->value, &now) != ERR_OK))
        return;
    if (s->guard.n && record_get_guard(buf_bytes(&s->guard), &was) != ERR_OK)
        was = (struct guard_view){0};
    rest = now.out.data;
    while (packed_next_pair(&rest, &key, &since)) {
        struct bytes before = packed_find(was.out, key);

        if (!before.p || !bytes_eq(before, since))
            let_go(s, ev, key);
    }
    buf_reset(&s->guard);
    buf_put(&s->guard, ev->value);
}

/* --- Feeding ------------------------------------------------------------- */

static void apply(struct story *s, const struct event *ev)
{
    switch (ev->kind) {
    case RECORD_NODE:
        apply_node(s, ev);
        break;
    case RECORD_SERVICE:
        apply_service(s, ev);
        break;
    case RECORD_CHECK:
        apply_check(s, ev);
        break;
    case RECORD_GUARD:
        apply_guard(s, ev);
        break;
    case RECORD_NODE_ID:
    case RECORD_QUERY:
    case RECORD_QUERY_NAME:
    case RECORD_COORDINATE:
        break;
    }
}

static bool take_apart(struct event *ev, char *space)
{
    return key_parse(ev->key, space, &ev->kind, &ev->node, &ev->id) == ERR_OK;
}

void story_row(struct story *s, struct bytes key, struct bytes value)
{
    struct event ev = {.key = key, .value = value};

    buf_reset(&s->parts);
    char *space = buf_room(&s->parts, key.n + 1);

    if (space && take_apart(&ev, space))
        apply(s, &ev);
}

void story_rows_end(struct story *s)
{
    struct list early;

    list_init(&early);
    list_move_all(&early, &s->early);
    s->loaded = true;
    list_each (it, &early) {
        struct thing *t = container_of(it, struct thing, link);

        story_row(s, bytes_of(t->key, t->key_n), value_of(t));
        thing_free(t);
    }
    s->quiet = false;
}

void story_event(struct story *s, const struct story_event *ev)
{
    if (s->event_n == s->event_cap) {
        s->event_cap = s->event_cap ? s->event_cap * 2 : 16;
        s->events = xrealloc(s->events, s->event_cap * sizeof *s->events);
    }
    s->events[s->event_n++] = (struct event){
        .is_delete = ev->is_delete,
        .key = ev->key,
        .value = ev->is_delete ? (struct bytes){0} : ev->value,
        .by = ev->by,
    };
}

/* Nodes come before what is on them and go after it, services come and go
 * before their checks: so a registration is told from the top, and what goes
 * with its service is not told once more. */
static int turn_of(const struct event *ev)
{
    if (ev->kind == RECORD_NODE)
        return ev->is_delete ? 3 : 0;
    if (ev->kind == RECORD_SERVICE)
        return 1;
    return ev->kind == RECORD_CHECK || ev->kind == RECORD_GUARD ? 2 : -1;
}

void story_revision(struct story *s, uint64_t revision, uint64_t wall_ms)
{
    size_t bytes = 0;

    s->revision = revision;
    s->wall_ms = wall_ms;
    for (size_t i = 0; i < s->event_n; i++)
        bytes += s->events[i].key.n + 1;
    buf_reset(&s->parts);
    char *space = buf_room(&s->parts, bytes);

    for (int turn = space ? 0 : 4; turn < 4; turn++) {
        for (size_t i = 0; i < s->event_n; i++) {
            struct event *ev = &s->events[i];

            if (turn == 0 && !take_apart(ev, space))
                ev->kind = RECORD_NODE_ID; /* none of ours */
            if (turn == 0)
                space += ev->key.n + 1;
            if (turn_of(ev) == turn)
                apply(s, ev);
        }
    }
    s->event_n = 0;
}

/* --- Life and answers ---------------------------------------------------- */

struct story *story_new(const struct story_options *o)
{
    struct story *s = xzalloc(sizeof *s);

    s->o = *o;
    s->quiet = true;
    s->o.name = copy_text(o->name);
    s->o.node = copy_text(o->node);
    s->o.id = copy_text(o->id);
    list_init(&s->early);
    list_init(&s->changes);
    return s;
}

void story_free(struct story *s)
{
    struct bytes key;
    void *value;
    size_t at = 0;

    if (!s)
        return;
    list_each (it, &s->early)
        thing_free(container_of(it, struct thing, link));
    list_each (it, &s->changes)
        free(container_of(it, struct story_change, link));
    /* The map's keys are in the things; lists are not looked at any more. */
    while (map_next(&s->things, &at, &key, &value)) {
        free(((struct thing *)value)->value);
        free(value);
    }
    map_fini(&s->things);
    free(s->events);
    buf_fini(&s->parts);
    buf_fini(&s->key);
    buf_fini(&s->guard);
    free((char *)s->o.name.p);
    free((char *)s->o.node.p);
    free((char *)s->o.id.p);
    free(s);
}

const struct list *story_changes(const struct story *s)
{
    return &s->changes;
}

size_t story_count(const struct story *s)
{
    return s->count;
}

uint64_t story_left(const struct story *s)
{
    return s->left;
}
