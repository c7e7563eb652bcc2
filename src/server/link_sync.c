/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Wishes on their way. One request at a time, with all that waits; if the server
 * is lost they go to the next one: what was granted already is no wish there. */
#include <stdlib.h>

#include "base/base64.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "server/link_impl.h"

static void on_flush(struct timer *t)
{
    sync_flush(container_of(t, struct link, flush));
}

void sync_init(struct link *l)
{
    list_init(&l->wishes);
    list_init(&l->flying);
    l->flush.fire = on_flush;
}

static void settle(struct store_change *ch, const struct store_outcome *o)
{
    list_del(&ch->link);
    ch->done(ch, o);
}

void sync_again(struct link *l)
{
    if (l->sync)
        fetch_cancel(l->sync);
    l->sync = NULL;
    timer_clear(&l->core->timers, &l->flush);
    list_move_all(&l->flying, &l->wishes); /* those sent come first */
    list_move_all(&l->wishes, &l->flying);
}

void sync_give_up(struct link *l)
{
    struct store_outcome o = {.verdict = STORE_UNAVAILABLE,
                              .why = ERR_UNAVAILABLE};
    struct list all;

    errtext_set(&o.text, "no server can be reached");
    list_init(&all);
    list_move_all(&all, &l->wishes);
    while (!list_empty(&all))
        settle(container_of(all.next, struct store_change, link), &o);
}

enum err link_submit(struct link *l, struct store_change *ch, struct errtext *t)
{
    if (l->stopped || l->told_down) {
        errtext_set(t, "no server can be reached");
        return ERR_UNAVAILABLE;
    }
    list_init(&ch->link);
    list_add(&l->wishes, &ch->link);
    if (l->up && !l->sync)
        timer_set(&l->core->timers, &l->flush, 0);
    return ERR_OK;
}

/* --- Outcomes ------------------------------------------------------------ */

struct outcome_in {
    struct bytes verdict, text;
    int64_t revision;
};

struct outcomes_in {
    struct json_list outcomes;
};

/* clang-format off */
static const struct json_field outcome_fields[] = {
    {"Verdict", NULL, FIELD_STRING, offsetof(struct outcome_in, verdict), NULL, JSON_NO_FLAG},
    {"Text", NULL, FIELD_STRING, offsetof(struct outcome_in, text), NULL, JSON_NO_FLAG},
    {"Revision", NULL, FIELD_INT, offsetof(struct outcome_in, revision), NULL, JSON_NO_FLAG},
};
static const struct json_table outcome_table = {outcome_fields, 3, sizeof(struct outcome_in)};
static const struct json_field outcomes_fields[] = {
    {"Outcomes", NULL, FIELD_LIST, offsetof(struct outcomes_in, outcomes), &outcome_table, JSON_NO_FLAG},
};
/* clang-format on */
static const struct json_table outcomes_table = {outcomes_fields, 1,
                                                 sizeof(struct outcomes_in)};

static struct store_outcome outcome_of(const struct outcome_in *in)
{
    struct store_outcome o = {.verdict = STORE_UNAVAILABLE,
                              .why = ERR_UNAVAILABLE};

    if (bytes_is(in->verdict, "committed"))
        o.verdict = STORE_COMMITTED;
    else if (bytes_is(in->verdict, "conflict"))
        o.verdict = STORE_CONFLICT;
    else if (bytes_is(in->verdict, "refused")) {
        o.verdict = STORE_REFUSED;
        o.why = ERR_BAD;
    }
    o.revision = in->revision > 0 ? (uint64_t)in->revision : 0;
    errtext_set(&o.text, "%.*s", BYTES_ARG(bytes_head(in->text, 200)));
    return o;
}

static void settle_all(struct link *l, const struct outcomes_in *in)
{
    const struct outcome_in *v = in->outcomes.v;
    struct list all;
    size_t i = 0;

    list_init(&all);
    list_move_all(&all, &l->flying);
    while (!list_empty(&all) && i < in->outcomes.n) {
        struct store_outcome o = outcome_of(&v[i++]);
        settle(container_of(all.next, struct store_change, link), &o);
    }
    if (list_empty(&all))
        return;
    list_move_all(&l->flying, &all); /* of which it said nothing */
    sync_again(l);
    timer_set(&l->core->timers, &l->flush, LINK_BEAT_MS);
}

static void answered(void *ctx, const struct fetch_result *r)
{
    struct link *l = ctx;
    struct outcomes_in in;
    struct errtext t = {{0}};
    struct arena a;

    l->sync = NULL;
    if (r->err != ERR_OK || r->status != 200) {
        if (r->err == ERR_OK)
            log_warn("link", "server %s takes no wishes: %.*s", link_address(l),
                     BYTES_ARG(bytes_head(r->body, 200)));
        link_lost(l, r->err != ERR_OK ? r->text.s : "it takes no wishes");
        return;
    }
    arena_init(&a, 0);
    if (json_decode(r->body, &outcomes_table, &in, &a, &t) == ERR_OK)
        settle_all(l, &in);
    else
        settle_all(l, &(struct outcomes_in){0});
    arena_fini(&a);
    if (!list_empty(&l->wishes) && !l->flush.item.in)
        timer_set(&l->core->timers, &l->flush, 0);
}

/* --- Requests ------------------------------------------------------------ */

static void put_item(struct json_out *j, const struct store_change *ch,
                     struct buf *text)
{
    json_open(j, '{');
    json_key(j, "Meta");
    json_str(j, ch->meta);
    json_key(j, "Wishes");
    json_open(j, '[');
    for (size_t i = 0; i < ch->op_count; i++) {
        buf_reset(text);
        base64_put(text, ch->ops[i].value);
        json_str(j, buf_bytes(text));
        j->out->bad |= text->bad;
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void put_items(struct link *l, struct buf *body)
{
    struct json_out j = json_out(body);
    struct buf text = {0};
    int n = 0;

    json_open(&j, '{');
    json_key(&j, "Node");
    json_str(&j, l->core->process->self.node_name);
    json_key(&j, "Items");
    json_open(&j, '[');
    while (!list_empty(&l->wishes) && n++ < LINK_SYNC_ITEMS &&
           body->n < LINK_SYNC_BYTES) {
        struct store_change *ch =
            container_of(l->wishes.next, struct store_change, link);
        list_del(&ch->link);
        list_add(&l->flying, &ch->link);
        put_item(&j, ch, &text);
    }
    json_close(&j, ']');
    json_close(&j, '}');
    buf_fini(&text);
}

void sync_flush(struct link *l)
{
    struct buf body = {0};

    if (!l->up || l->sync || l->stopped || list_empty(&l->wishes))
        return;
    put_items(l, &body);
    const struct peer_request q = {.to = link_address(l),
                                   .method = "PUT",
                                   .target = "/v1/peer/sync",
                                   .body = buf_bytes(&body),
                                   .timeout_ms = LINK_SYNC_MS};
    if (body.bad || peer_ask(l->peers, &q, answered, l, &l->sync) != ERR_OK) {
        sync_again(l);
        timer_set(&l->core->timers, &l->flush, LINK_BEAT_MS);
    }
    buf_fini(&body);
}
