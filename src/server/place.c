/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/place.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/coordinate.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/net.h"
#include "http/json_in.h"
#include "loop/peer.h"
#include "server/coordinates.h"
#include "server/link.h"
#include "vivaldi/vivaldi.h"

enum { ADDRESS_MAX = 300, NODE_MAX = 255 };

struct place {
    struct core *core;
    struct vivaldi at;
    struct peers *peers;
    struct timer timer;
    struct fetch *asking, *telling;
    uint64_t turn, random;
    double rtt_s; /* the last */

    /* Whom a server asked last: an agent's node, and the number of a server. */
    char node[NODE_MAX + 1];
    size_t server;

    /* The server that an agent beats to, as its last hello told. */
    char beaten[ADDRESS_MAX], asked[ADDRESS_MAX];
    uint64_t beaten_id, beats;
    struct coordinate beaten_at;

    bool restored, told_any;
    struct coordinate told;
    uint64_t told_ms;
};

static uint64_t now_ms(const struct place *p)
{
    return uv_now(p->core->loop);
}

static const struct snapshot *catalog_of(const struct place *p)
{
    return catalog_current(p->core->process->catalog);
}

/* --- Telling ------------------------------------------------------------- */

/* For whoever says hello here. */
static void publish(struct place *p)
{
    struct process *pr = p->core->process;
    struct coordinate *at = xmalloc(sizeof *at);

    *at = p->at.at;
    const struct coordinate *old = atomic_exchange(&pr->place, at);
    if (!old)
        return;
    pin_retire(&pr->pins, (void *)(uintptr_t)old, sizeof *old);
    pin_publish(&pr->pins);
}

static bool has_moved(const struct place *p)
{
    const struct coordinate *a = &p->told, *b = &p->at.at;
    double sum = 0;

    if (!p->told_any)
        return true;
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
        sum += (a->vec[i] - b->vec[i]) * (a->vec[i] - b->vec[i]);
    double moved = sqrt(sum) + fabs(a->height - b->height) +
                   fabs(a->adjustment - b->adjustment);
    return moved > PLACE_MOVED_S + p->rtt_s / 10 || b->error * 2 < a->error;
}

static void told(struct place *p)
{
    p->told_any = true;
    p->told = p->at.at;
    p->told_ms = now_ms(p);
}

static void tell_own(struct place *p)
{
    struct agent_op *op = agent_op_new(AGENT_COORDINATE);

    if (!op)
        return;
    op->coordinate.at = p->at.at;
    op->coordinate.node = p->core->process->self.node_name;
    op->done = agent_op_free;
    told(p);
    coordinates_hear(p->core, op);
}

static void on_told(void *ctx, const struct fetch_result *r)
{
    struct place *p = ctx;

    p->telling = NULL;
    if (r->err != ERR_OK || r->status != 200)
        p->told_any = false; /* once more, later */
}

static void tell_server(struct place *p)
{
    const char *to = link_in_use(p->core->link);
    struct buf body = {0};
    struct json_out j = json_out(&body);

    if (!to || p->telling)
        return;
    json_open(&j, '{');
    json_key(&j, "Node");
    json_str(&j, p->core->process->self.node_name);
    json_key(&j, "Coord");
    encode_coordinate(&j, &p->at.at);
    json_close(&j, '}');
    const struct peer_request q = {.to = to,
                                   .method = "PUT",
                                   .target = "/v1/coordinate/update",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = PLACE_ASK_MS};
    told(p);
    if (body.bad || peer_ask(p->peers, &q, on_told, p, &p->telling) != ERR_OK)
        p->told_any = false;
    buf_fini(&body);
}

static void tell(struct place *p)
{
    bool soon = p->told_ms && now_ms(p) < p->told_ms + PLACE_TELL_MS;

    if (soon || !has_moved(p))
        return;
    if (p->core->link)
        tell_server(p);
    else if (p->core->loaded)
        tell_own(p);
}

/* --- Measuring ----------------------------------------------------------- */

/* Where the catalog has it from before this start. */
static void restore(struct place *p)
{
    const struct cat_record *r =
        snapshot_coordinate(catalog_of(p), p->core->process->self.node_name);
    struct coordinate_view v;

    if (p->restored || (!p->core->link && !p->core->loaded))
        return;
    p->restored = true;
    if (!r)
        return;
    cat_coordinate_view(r, &v);
    vivaldi_restore(&p->at, &v.at);
    p->told = v.at;
    p->told_any = true;
}

static void sample(struct place *p, uint64_t id, const struct coordinate *its,
                   uint64_t wait_us)
{
    double rtt_s = (double)wait_us / 1e6;

    if (wait_us == 0 || !vivaldi_sample(&p->at, id, its, rtt_s))
        return;
    p->rtt_s = rtt_s;
    publish(p);
    tell(p);
}

struct hello_in {
    struct bytes id, datacenter, coord;
};

/* clang-format off */
#define HELLO(name, kind, member) {name, NULL, kind, offsetof(struct hello_in, member), NULL, JSON_NO_FLAG}
static const struct json_field hello_fields[] = {
    HELLO("ID", FIELD_STRING, id),
    HELLO("Datacenter", FIELD_STRING, datacenter),
    HELLO("Coord", FIELD_RAW, coord),
};
/* clang-format on */
static const struct json_table hello_table = {hello_fields, 3,
                                              sizeof(struct hello_in)};

/* One that does not say where it stands is where all begin. */
static void take_hello(struct place *p, const struct hello_in *in,
                       struct arena *a, uint64_t wait_us)
{
    const struct api_self *self = &p->core->process->self;
    struct coordinate its = coordinate_origin();
    struct errtext t;

    if (!in->id.n || !bytes_eq_fold(in->datacenter, self->datacenter) ||
        bytes_eq_fold(in->id, self->node_id))
        return;
    if (in->coord.n && coordinate_from_json(in->coord, a, &its, &t) != ERR_OK)
        return;
    uint64_t id = bytes_hash(in->id, 0);
    if (strcmp(p->asked, p->beaten) == 0) {
        p->beaten_id = id;
        p->beaten_at = its;
    }
    sample(p, id, &its, wait_us);
}

static void greeted(void *ctx, const struct fetch_result *r)
{
    struct place *p = ctx;
    struct hello_in in;
    struct errtext t;
    struct arena a;

    p->asking = NULL;
    if (r->err != ERR_OK || r->status != 200)
        return;
    arena_init(&a, 0);
    if (json_decode(r->body, &hello_table, &in, &a, &t) == ERR_OK)
        take_hello(p, &in, &a, r->wait_us);
    arena_fini(&a);
}

void place_beat(struct core *c, const char *address, uint64_t wait_us)
{
    struct place *p = c->place;

    if (!p)
        return;
    if (strcmp(p->beaten, address) != 0) {
        snprintf(p->beaten, sizeof p->beaten, "%s", address);
        p->beaten_id = 0;
        p->beats = 0;
        return;
    }
    if (p->beaten_id == 0)
        return;
    if (p->beats++ % PLACE_BEATS == 0 || p->beats < 2 * PLACE_BEATS)
        sample(p, p->beaten_id, &p->beaten_at, wait_us);
}

/* --- Whom to ask --------------------------------------------------------- */

static bool address_of(const struct cat_node *node, uint64_t port, char *ret)
{
    struct node_view v;

    cat_node_view(node->record, &v);
    if (port == 0 || !v.address.n)
        return false;
    net_host_port(ret, ADDRESS_MAX, bytes_head(v.address, 255), port);
    return true;
}

struct nth {
    const struct place *place;
    size_t left;
    char *ret;
    bool found;
};

static void server_is(void *ctx, const struct api_peer *peer)
{
    struct nth *n = ctx;
    struct bytes own = n->place->core->process->self.node_name;

    if (n->found || peer->port == 0 || peer->address.n == 0 ||
        bytes_eq_fold(peer->node, own) || n->left--)
        return;
    net_host_port(n->ret, ADDRESS_MAX, bytes_head(peer->address, 255),
                  peer->port);
    n->found = true;
}

/* The nth of the other servers, in turn. */
static bool other_server(struct place *p, char *ret)
{
    const struct api_env env = {
        .cat = catalog_of(p),
        .cluster = atomic_load(&p->core->process->cluster),
    };
    struct nth n = {p, p->server, ret, false};

    api_each_server(&env, server_is, &n);
    p->server = n.found ? p->server + 1 : 0;
    return n.found;
}

/* The next agent in the catalog, of so many nodes as a turn may look at. */
static bool next_agent(struct place *p, char *ret)
{
    enum { LOOKED_AT = 256 };
    const struct snapshot *s = catalog_of(p);
    struct tree_iter it;

    snapshot_nodes_after(s, bytes_str(p->node), &it);
    for (int i = 0; i < LOOKED_AT; i++) {
        const struct cat_node *node = snapshot_next_node(&it);
        struct node_view v;
        if (!node) {
            p->node[0] = '\0';
            return false;
        }
        cat_node_view(node->record, &v);
        snprintf(p->node, sizeof p->node, "%.*s",
                 BYTES_ARG(bytes_head(v.name, NODE_MAX)));
        if (address_of(node, api_peer_port(v.meta), ret))
            return true;
    }
    return false;
}

/* Of agents first the server in use, then all in turn; of servers, another
 * server and an agent in turn, as far as there are any. */
static bool choose(struct place *p, char *ret)
{
    if (p->core->link) {
        const char *to = link_in_use(p->core->link);
        if (to && p->turn % 2)
            to = link_server_at(p->core->link, (size_t)(p->turn / 2));
        snprintf(ret, ADDRESS_MAX, "%s", to ? to : "");
        return to != NULL;
    }
    if (!p->core->loaded)
        return false;
    return p->turn % 2 ? next_agent(p, ret) || other_server(p, ret)
                       : other_server(p, ret) || next_agent(p, ret);
}

static void on_timer(struct timer *t)
{
    struct place *p = container_of(t, struct place, timer);
    uint64_t ms = p->turn < PLACE_FIRST ? PLACE_FIRST_MS : PLACE_MS;

    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    timer_set(&p->core->timers, &p->timer,
              ms - ms / 4 + (p->random >> 33) % (ms / 2));
    restore(p);
    if (p->asking || !choose(p, p->asked))
        return;
    p->turn++;
    const struct peer_request q = {
        .to = p->asked, .target = "/v1/peer/hello", .timeout_ms = PLACE_ASK_MS};
    if (peer_ask(p->peers, &q, greeted, p, &p->asking) != ERR_OK)
        p->asking = NULL;
}

/* --- Life ---------------------------------------------------------------- */

enum err place_open(struct core *c)
{
    if (c->process->self.serf_lan_port < 0)
        return ERR_OK;
    struct place *p = xzalloc(sizeof *p);

    p->core = c;
    c->place = p;
    p->random = uv_hrtime();
    vivaldi_init(&p->at, uv_hrtime() ^ (uint64_t)getpid() << 32);
    p->timer.fire = on_timer;
    enum err e = peers_new(c->loop, c->process->psk, &p->peers);
    if (e != ERR_OK)
        return e;
    publish(p);
    timer_set(&c->timers, &p->timer, PLACE_FIRST_MS);
    return ERR_OK;
}

void place_close(struct core *c)
{
    struct place *p = c->place;

    if (!p)
        return;
    c->place = NULL;
    timer_clear(&c->timers, &p->timer);
    peers_close(p->peers);
    free(p);
}

void place_end(struct process *p)
{
    free((void *)(uintptr_t)atomic_exchange(&p->place, NULL));
}
