/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* muster pick: what libmuster would choose, and how load spreads. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/balance.h"

/* One for each instance, by the address that tickets carry. */
struct pick_row {
    char *where; /* address:port */
    const char *id, *node, *datacenter, *state;
    uint32_t weight;
    uint64_t picks;
};

struct picks {
    struct cli *c;
    struct pick_row *row;
    size_t n, room;
};

static const char *copy(struct cli *c, const char *text)
{
    const char *s = arena_str(&c->arena, bytes_str(text));
    return s ? s : "";
}

static void note_row(void *ctx, const struct muster_instance *i)
{
    struct picks *p = ctx;

    if (p->n == p->room) {
        size_t room = p->room ? p->room * 2 : 64;
        struct pick_row *row = realloc(p->row, room * sizeof *row);
        if (!row)
            return;
        p->row = row;
        p->room = room;
    }
    p->row[p->n++] = (struct pick_row){
        .where = arena_printf(&p->c->arena, "%s:%u", i->address, i->port),
        .id = copy(p->c, i->id),
        .node = copy(p->c, i->node),
        .datacenter = *i->datacenter ? copy(p->c, i->datacenter) : "own",
        .state = i->draining   ? "draining"
                 : i->out      ? "maintenance"
                 : i->critical ? "critical"
                               : "",
        .weight = i->weight,
    };
}

static void count(struct picks *p, const struct muster_ticket *t)
{
    char where[MUSTER_NAME + 8];

    (void)snprintf(where, sizeof where, "%s:%u", t->address, t->port);
    for (size_t i = 0; i < p->n; i++)
        if (p->row[i].where && strcmp(p->row[i].where, where) == 0) {
            p->row[i].picks++;
            return;
        }
}

/* Without -key a hash policy gets another key each time. */
static int pick_one(const struct cli *c, struct muster_service *s, uint64_t i,
                    struct muster_ticket *t)
{
    char numbered[32];
    const char *key = cli_text(c, "key");

    (void)snprintf(numbered, sizeof numbered, "%llu", (unsigned long long)i);
    struct muster_ask ask = {.size = sizeof ask, .key = key ? key : numbered};
    ask.key_bytes = strlen(ask.key);
    return muster_pick(s, &ask, t);
}

static int pick_all(struct picks *p, struct muster_service *s, uint64_t n)
{
    struct muster_ticket t;

    for (uint64_t i = 0; i < n; i++) {
        int e = pick_one(p->c, s, i, &t);
        if (e == MUSTER_ENONE)
            return cli_fail(p->c,
                            "no instance of %s may be picked; `muster "
                            "explain %s` tells why",
                            p->c->args[0], p->c->args[0]);
        if (e != MUSTER_OK)
            return cli_fail(p->c, "%s", muster_error_text(e));
        count(p, &t);
        if (n == 1 && !cli_json(p->c))
            printf("%s:%u\n", t.address, t.port);
        (void)muster_report(s, &t, MUSTER_SUCCESS, 1000);
    }
    return 0;
}

static void print_table(const struct picks *p, uint64_t n)
{
    static const char *const heads[] = {"Picks", "Share",     "Instance",
                                        "Node",  "Address",   "Weight",
                                        "",      "Datacenter"};
    bool elsewhere = cli_text(p->c, "failover") != NULL;
    struct cli_table t = {.columns = elsewhere ? 8 : 7};
    struct arena *a = &p->c->arena;

    cli_heads(&t, heads, t.columns);
    for (size_t i = 0; i < p->n; i++) {
        const struct pick_row *r = &p->row[i];
        cli_cell_str(&t, arena_printf(a, "%llu", (unsigned long long)r->picks));
        cli_cell_str(&t, arena_printf(a, "%.1f %%",
                                      100.0 * (double)r->picks / (double)n));
        cli_cell_str(&t, r->id);
        cli_cell_str(&t, r->node);
        cli_cell_str(&t, r->where ? r->where : "");
        cli_cell_str(&t, arena_printf(a, "%u", r->weight));
        cli_cell_str(&t, r->state);
        if (elsewhere)
            cli_cell_str(&t, r->datacenter);
    }
    cli_table_print(&t);
}

static void print_json(const struct picks *p, uint64_t n)
{
    json_t *list = json_array();

    for (size_t i = 0; i < p->n; i++) {
        const struct pick_row *r = &p->row[i];
        (void)json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:f}", "ServiceID", r->id,
                      "Node", r->node, "Datacenter", r->datacenter, "Address",
                      r->where ? r->where : "", "Weight", (json_int_t)r->weight,
                      "Picks", (json_int_t)r->picks, "Share",
                      (double)r->picks / (double)n));
    }
    cli_print_json(list);
    json_decref(list);
}

struct elsewhere {
    size_t followed, awaited;
};

static void look_elsewhere(void *ctx, const struct muster_datacenter *d)
{
    struct elsewhere *e = ctx;

    e->followed += d->order > 0;
    e->awaited += !d->known && d->reachable;
}

/* A service that follows other datacenters has a list as soon as its own's has
 * come; one pick should know of all. */
static void wait_elsewhere(struct muster_service *s)
{
    enum { TURNS = 100, TURN_MS = 20 };
    const struct timespec turn = {0, TURN_MS * 1000000L};

    for (int i = 0; i < TURNS; i++) {
        struct elsewhere e = {0, 0};
        (void)muster_each_datacenter(s, look_elsewhere, &e);
        if (e.followed && e.awaited == 0)
            return;
        (void)nanosleep(&turn, NULL);
    }
}

static int run(struct cli *c, struct balance *b, uint64_t n)
{
    struct picks p = {.c = c};
    struct muster_status st;

    if (muster_wait(b->s, BALANCE_WAIT_MS) != MUSTER_OK) {
        muster_status_init(&st, sizeof st);
        (void)muster_status(b->s, &st);
        return cli_fail(
            c, "%s", st.last_error[0] ? st.last_error : "no answer within 5 s");
    }
    if (cli_text(c, "failover"))
        wait_elsewhere(b->s);
    (void)muster_each(b->s, note_row, &p);
    int code = pick_all(&p, b->s, n);
    if (code == 0 && cli_json(c))
        print_json(&p, n);
    else if (code == 0 && n > 1)
        print_table(&p, n);
    free(p.row);
    return code;
}

int cli_pick(struct cli *c)
{
    enum { PICKS_MAX = 10000000 };
    uint64_t n = cli_number(c, "n");
    struct balance b;

    if (n == 0 || n > PICKS_MAX)
        return cli_misused(c, "-n is %llu, must be 1 to %d",
                           (unsigned long long)n, PICKS_MAX);
    if (!balance_open(c, false, &b))
        return 1;
    int code = run(c, &b, n);
    balance_close(&b);
    return code;
}
