/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "duty/liveness.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "duty/liveness_impl.h"

enum {
    ARENA_BYTES_MAX = 64 << 20,
    LOOK_MS = 1000,          /* between looks at who is expected, */
    LOOK_ALL_MS = 10 * 1000, /* and if nothing of that has changed */
};

/* --- Life ---------------------------------------------------------------- */

struct liveness *liveness_new(const struct liveness_options *o)
{
    struct liveness *l = xzalloc(sizeof *l);

    l->o = *o;
    l->random = o->seed ? o->seed : 1;
    l->reporting = NOBODY;
    arena_init(&l->arena, ARENA_BYTES_MAX);
    buf_init(&l->fence_key, 0);
    return l;
}

static void clear(struct liveness *l)
{
    for (size_t i = 0; i < l->nodes.n; i++)
        free(l->order[i]);
    map_fini(&l->nodes);
    l->nodes = (struct map){0};
    memset(l->servers, 0, sizeof l->servers);
    l->reporting = NOBODY;
    l->looked_ms = l->ran_ms = 0;
    l->counts.expected = l->counts.suspect = l->counts.failed = 0;
}

void liveness_free(struct liveness *l)
{
    if (!l)
        return;
    clear(l);
    free(l->order);
    arena_fini(&l->arena);
    buf_fini(&l->fence_key);
    free(l);
}

void liveness_gained(struct liveness *l, const struct store_guard *fence,
                     uint64_t now_ms)
{
    clear(l);
    buf_reset(&l->fence_key);
    buf_put(&l->fence_key, fence->key);
    require(!l->fence_key.bad);
    l->fence = *fence;
    l->fence.key = buf_bytes(&l->fence_key);
    l->held = true;
    l->now_ms = now_ms;
}

void liveness_lost(struct liveness *l)
{
    l->held = false;
    clear(l);
}

struct liveness_counts liveness_counts(const struct liveness *l)
{
    return l->counts;
}

void liveness_tell(struct liveness *l, const struct live_node *n,
                   const char *what)
{
    if (l->o.told)
        l->o.told(l->o.ctx, bytes_of(n->name, n->name_n), what,
                  l->now_ms - n->heard_ms);
}

static struct live_node *find(const struct liveness *l, struct bytes name)
{
    char folded[LIVENESS_NAME_MAX];

    if (name.n > sizeof folded)
        return NULL;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        folded[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return map_get(&l->nodes, bytes_of(folded, name.n));
}

/* --- Who is expected ----------------------------------------------------- */

static bool is_critical(const struct cat_record *r)
{
    struct check_view v;

    cat_check_view(r, &v);
    return bytes_is(v.status, "critical");
}

/* The check of an agent's node; NULL: it is none. agent: its node says where it
 * can be reached, so that it can be asked about others, as servers are not. */
static const struct cat_record *expected(const struct cat_node *n,
                                         struct node_view *v,
                                         uint64_t *ret_port, bool *ret_agent)
{
    struct service_view s = {0};

    if (!n)
        return NULL;
    cat_node_view(n->record, v);
    struct bytes port = packed_find(v->meta, bytes_str(LIVENESS_META));
    *ret_agent = port.p != NULL;
    const struct cat_instance *i =
        port.p ? NULL : cat_node_service(n, bytes_str("consul"));
    if (i) {
        cat_service_view(i->service, &s);
        port = packed_find(s.meta, bytes_str(LIVENESS_META));
    }
    if (!port.p || bytes_u64(port, ret_port) != ERR_OK || *ret_port > 65535)
        return NULL;
    return cat_node_check(n, bytes_str(LIVENESS_CHECK));
}

static struct live_node *node_new(struct liveness *l, struct bytes name)
{
    struct buf folded = {0};

    buf_put_fold(&folded, name);
    struct live_node *n = xzalloc(sizeof *n + folded.n);
    n->name_n = folded.n;
    memcpy(n->name, folded.p, folded.n);
    buf_fini(&folded);
    n->server = NOBODY;
    n->heard_ms = l->now_ms;
    if (l->nodes.n == l->order_cap) {
        l->order_cap = l->order_cap ? 2 * l->order_cap : 64;
        l->order = xrealloc(l->order, l->order_cap * sizeof *l->order);
    }
    l->order[l->nodes.n] = n;
    bool memory = map_put(&l->nodes, bytes_of(n->name, n->name_n), n) == ERR_OK;
    require(memory);
    return n;
}

static void look_at(struct liveness *l, const struct cat_node *c)
{
    struct node_view v;
    uint64_t port;
    bool agent;
    const struct cat_record *check = expected(c, &v, &port, &agent);

    if (!check || v.name.n > LIVENESS_NAME_MAX)
        return;
    struct live_node *n = find(l, v.name);
    if (!n)
        n = node_new(l, v.name);
    n->seen = l->look;
    n->observes = agent && port > 0;
    bool failed = is_critical(check);
    if (failed && n->state != FAILED) {
        n->state = FAILED;
        n->back = false;
        n->failed_ms = l->now_ms;
    } else if (!failed && n->state == FAILED && !n->planned) {
        n->state = HEARD; /* its agent has registered itself again */
        n->heard_ms = l->now_ms;
    }
}

static void forget_gone(struct liveness *l)
{
    size_t kept = 0, n = l->nodes.n;

    for (size_t i = 0; i < n; i++) {
        struct live_node *x = l->order[i];
        if (x->seen == l->look || x->planned) {
            l->order[kept++] = x;
            continue;
        }
        (void)map_del(&l->nodes, bytes_of(x->name, x->name_n));
        free(x);
    }
}

/* Of all that decides who is expected, and who is seen as failed. */
static uint64_t newest(const struct snapshot *s)
{
    static const struct watch_key keys[] = {
        {WATCH_NODES, {NULL, 0}},
        {WATCH_STATE, {"any", 3}},
        {WATCH_SERVICE, {"consul", 6}}, /* servers */
    };
    uint64_t index = snapshot_floor(s);

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint64_t one = snapshot_index(s, keys[i]);
        index = one > index ? one : index;
    }
    return index;
}

static void look(struct liveness *l)
{
    const struct snapshot *s = liveness_now(l);
    uint64_t index = newest(s);
    struct tree_iter it;

    if (snapshot_revision(s) < l->await_revision)
        return; /* what was decided last does not show yet */
    if (l->looked_ms &&
        l->now_ms <
            l->looked_ms + (index == l->looked_index ? LOOK_ALL_MS : LOOK_MS))
        return;
    l->looked_ms = l->now_ms;
    l->looked_index = index;
    l->look++;
    snapshot_nodes(s, &it);
    for (const struct cat_node *c; (c = snapshot_next_node(&it));)
        look_at(l, c);
    forget_gone(l);
}

/* --- Reports ------------------------------------------------------------- */

static int server_of(struct liveness *l, struct bytes name)
{
    int room = NOBODY;

    if (name.n > sizeof l->servers[0].name)
        return NOBODY;
    for (int i = 0; i < LIVENESS_SERVERS_MAX; i++) {
        struct live_server *s = &l->servers[i];
        if (s->name_n && bytes_eq(bytes_of(s->name, s->name_n), name))
            return i;
        if (!s->name_n && room == NOBODY)
            room = i;
    }
    if (room != NOBODY && name.n) {
        l->servers[room].name_n = name.n;
        memcpy(l->servers[room].name, name.p, name.n);
    }
    return room;
}

void liveness_report(struct liveness *l, struct bytes server, uint64_t lag_ms,
                     uint64_t now_ms)
{
    l->now_ms = now_ms;
    l->reporting = l->held ? server_of(l, server) : NOBODY;
    if (l->reporting == NOBODY)
        return;
    l->servers[l->reporting].here = true;
    l->servers[l->reporting].told_ms = now_ms;
    l->servers[l->reporting].lag_ms = lag_ms;
}

/* What observers said of it is of no use any more. */
static void forget_asked(struct live_node *n)
{
    n->asked = n->refused = 0;
    n->unreachable_by[0] = n->unreachable_by[1] = 0;
    n->asked_ms = 0;
}

static void alive(struct liveness *l, struct live_node *n, uint64_t at_ms)
{
    if (at_ms <= n->heard_ms)
        return;
    n->heard_ms = at_ms;
    forget_asked(n);
    if (n->state == SUSPECT) {
        n->state = HEARD;
        liveness_tell(l, n, "heard again");
    }
}

void liveness_heard(struct liveness *l, struct bytes node, uint64_t ago_ms,
                    uint64_t now_ms)
{
    struct live_node *n = find(l, node);

    if (l->reporting == NOBODY || !n)
        return;
    uint64_t lag = l->servers[l->reporting].lag_ms;
    uint64_t age = ago_ms > lag ? ago_ms - lag : 0;
    uint64_t at = age < now_ms ? now_ms - age : 0;
    if (at <= n->heard_ms)
        return;
    n->server = l->reporting;
    /* Only what was heard after it failed is a return. */
    n->back |= n->state == FAILED && at > n->failed_ms;
    alive(l, n, at);
}

/* Its agents may look for another server from now on. */
static void give_up(struct liveness *l, int server)
{
    for (size_t i = 0; i < l->nodes.n; i++) {
        struct live_node *n = l->order[i];
        if (n->server != server || n->state == FAILED)
            continue;
        n->heard_ms = l->now_ms;
        n->server = NOBODY;
        n->state = HEARD;
        forget_asked(n);
    }
}

static void look_at_servers(struct liveness *l)
{
    for (int i = 0; i < LIVENESS_SERVERS_MAX; i++) {
        struct live_server *s = &l->servers[i];
        if (!s->here || l->now_ms < s->told_ms + LIVENESS_SERVER_LOST_MS)
            continue;
        s->here = false;
        s->name_n = 0;
        give_up(l, i);
    }
}

/* Its server has not told of late: nothing follows from its silence yet. */
static bool excused(const struct liveness *l, const struct live_node *n)
{
    if (n->server == NOBODY)
        return false;
    const struct live_server *s = &l->servers[n->server];

    return s->here && l->now_ms > s->told_ms + LIVENESS_GAP_MS + s->lag_ms;
}

/* --- Suspicion ----------------------------------------------------------- */

static size_t draw(struct liveness *l, size_t n)
{
    l->random = l->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((l->random >> 33) % n);
}

/* Any agent that is heard and was not drawn in this round; of few that are, surely
 * one. */
static const struct live_node *observer(struct liveness *l,
                                        const struct live_node *of)
{
    enum { TRIES = 64 + LIVENESS_SERVERS_MAX };
    size_t first = draw(l, l->nodes.n);

    for (size_t i = 0; i < TRIES && i < l->nodes.n; i++) {
        struct live_node *n = l->order[(first + i) % l->nodes.n];
        if (n == of || !n->observes || n->round == l->round ||
            n->state != HEARD || n->server == NOBODY ||
            l->now_ms >= n->heard_ms + LIVENESS_SUSPECT_MS / 2)
            continue;
        n->round = l->round;
        return n;
    }
    return NULL;
}

static void ask(struct liveness *l, struct live_node *n)
{
    struct node_view v;
    struct bytes name = bytes_of(n->name, n->name_n);
    uint64_t port;
    bool agent;

    n->asked_ms = l->now_ms;
    l->round++;
    if (!expected(snapshot_node(liveness_now(l), name), &v, &port, &agent) ||
        !port)
        return;
    for (int i = 0; i < LIVENESS_OBSERVERS; i++) {
        const struct live_node *by = observer(l, n);
        if (!by)
            return;
        n->asked++;
        l->o.probe(l->o.ctx, bytes_of(by->name, by->name_n), name, v.address,
                   (int64_t)port);
    }
}

/* The same observer again is no second one. */
static void unreachable(struct live_node *n, struct bytes observer)
{
    uint64_t h = bytes_hash(observer, 0) | 1;

    if (n->unreachable_by[0] == 0)
        n->unreachable_by[0] = h;
    else if (n->unreachable_by[0] != h)
        n->unreachable_by[1] = h;
}

void liveness_probed(struct liveness *l, struct bytes observer,
                     struct bytes node, enum liveness_verdict v,
                     uint64_t now_ms)
{
    struct live_node *n = find(l, node);

    l->now_ms = now_ms;
    /* Asked for while it was suspect; a late report may have excused it since. */
    if (!l->held || !n || n->state == FAILED || n->asked == 0)
        return;
    switch (v) {
    case LIVENESS_REACHED:
        alive(l, n, now_ms);
        break;
    case LIVENESS_REFUSED:
        n->refused++;
        break;
    case LIVENESS_UNREACHABLE:
        unreachable(n, observer);
        break;
    }
}

static void suspect(struct liveness *l, struct live_node *n)
{
    if (n->state == FAILED)
        return;
    if (l->now_ms < n->heard_ms + LIVENESS_SUSPECT_MS || excused(l, n)) {
        n->state = HEARD;
        return;
    }
    if (n->state == HEARD) {
        n->state = SUSPECT;
        liveness_tell(l, n, "suspect");
    }
    if (n->asked_ms == 0 || l->now_ms >= n->asked_ms + LIVENESS_ROUND_MS)
        ask(l, n);
}

static void count(struct liveness *l)
{
    struct liveness_counts *c = &l->counts;

    c->expected = l->nodes.n;
    c->suspect = c->failed = 0;
    for (size_t i = 0; i < l->nodes.n; i++) {
        c->suspect += l->order[i]->state == SUSPECT;
        c->failed += l->order[i]->state == FAILED;
    }
}

/* --- A tick -------------------------------------------------------------- */

/* We were stopped, or busy: what should have been heard meanwhile was not. */
static void begin_anew(struct liveness *l)
{
    for (size_t i = 0; i < l->nodes.n; i++) {
        struct live_node *n = l->order[i];
        if (n->state == FAILED)
            continue;
        n->state = HEARD;
        n->heard_ms = l->now_ms;
        forget_asked(n);
    }
    for (int i = 0; i < LIVENESS_SERVERS_MAX; i++)
        if (l->servers[i].here)
            l->servers[i].told_ms = l->now_ms;
}

void liveness_run(struct liveness *l, uint64_t now_ms, uint64_t wall_ms)
{
    bool gap = l->ran_ms && now_ms > l->ran_ms + LIVENESS_GAP_MS;

    l->now_ms = now_ms;
    l->wall_ms = wall_ms;
    if (!l->held)
        return;
    l->ran_ms = now_ms;
    look(l);
    if (gap)
        begin_anew(l);
    look_at_servers(l);
    for (size_t i = 0; i < l->nodes.n; i++)
        suspect(l, l->order[i]);
    count(l);
    liveness_plan(l);
}
