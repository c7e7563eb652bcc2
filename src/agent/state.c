/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Stored states: agent.db holds a check's state as of its last change; outputs
 * that change alone follow late, within a budget of writes a second.
 *
 * Beats that change nothing are not written, so nobody knows when the last one
 * came before a crash. For a TTL up to RUN_GRACE_MS that does not matter: a
 * restart grants it in full (health/run.h). Of longer ones the last beat is
 * written when the one that is stored is half a TTL old: who beats twice in each
 * TTL then never expires because of a crash. */
#include <stdlib.h>

#include "agent/impl.h"
#include "base/duration.h"

struct state_write {
    struct letter letter;
    struct agent *agent;
    struct store_change change;
    struct store_outcome outcome;
    struct store_guard guard;
    struct store_op op;
    struct buf check_key, key, value;
    struct bytes id; /* in this block */
    char data[];
};

/* --- Writing ------------------------------------------------------------- */

void state_put(const struct running *r, const struct run *run,
               struct bytes output, struct buf *out)
{
    const struct agent *a = r->agent;
    uint64_t now = agent_now(a), boot_now = agent_boot_now(a);
    uint64_t used = now > run->beat_ms ? now - run->beat_ms : 0;
    const struct local_state s = {
        .status = run->status,
        .output = output,
        .boot_id = bytes_str(a->boot_id),
        .written_ms = boot_now,
        .beat_ms = boot_now > used ? boot_now - used : 0,
        .since_ms = run->since_ms == r->run.since_ms ? r->since_wall_ms
                                                     : agent_wall_now(a),
        .cause = run->cause,
        .penalty = damp_penalty_u32(&run->damp, &run->rule, now),
        .suppressed = damp_suppressed(&run->damp, now),
    };
    local_state_put(out, &s);
}

static void state_write_free(struct state_write *w)
{
    buf_fini(&w->check_key);
    buf_fini(&w->key);
    buf_fini(&w->value);
    free(w);
}

void state_stored(struct letter *l)
{
    struct state_write *w = container_of(l, struct state_write, letter);
    struct running *r = running_find(w->agent, w->id);

    switch (w->outcome.verdict) {
    case STORE_COMMITTED:
    case STORE_CONFLICT: /* the check is gone */
        break;
    case STORE_REFUSED:
    case STORE_UNAVAILABLE:
        /* The live state is true all the same. It is stored soon after it can
         * be: a crash until then would start the check anew, and take a healthy
         * instance out of the answers. */
        if (r)
            state_lazily(r, AGENT_RETRY_MS);
        break;
    }
    state_write_free(w);
}

/* On agent.db's thread. */
static void on_state_stored(struct store_change *c,
                            const struct store_outcome *o)
{
    struct state_write *w = container_of(c, struct state_write, change);
    w->outcome = *o;
    agent_post(w->agent, &w->letter);
}

void state_write(struct running *r, const struct local_check *k,
                 struct bytes output)
{
    /* It would come after the word and be older. */
    if (r->word) {
        state_lazily(r, AGENT_BEHIND_WORD_MS);
        return;
    }
    struct state_write *w = xzalloc(sizeof *w + r->id_n);

    r->stored_ms = agent_now(r->agent);
    w->agent = r->agent;
    w->letter.kind = LETTER_STATE;
    memcpy(w->data, r->id, r->id_n);
    w->id = bytes_of(w->data, r->id_n);
    local_key(&w->check_key, LOCAL_KEY_CHECK, w->id);
    local_key(&w->key, LOCAL_KEY_STATE, w->id);
    state_put(r, &r->run, output, &w->value);
    require(!w->check_key.bad && !w->key.bad && !w->value.bad);
    w->guard = (struct store_guard){.kind = GUARD_PRESENT,
                                    .key = buf_bytes(&w->check_key)};
    w->op = (struct store_op){OP_PUT, buf_bytes(&w->key), buf_bytes(&w->value)};
    w->change = (struct store_change){
        .guards = &w->guard,
        .guard_count = !k->from_config,
        .ops = &w->op,
        .op_count = 1,
        .meta = bytes_str("agent: check"),
        .done = on_state_stored,
    };
    list_init(&w->change.link);
    if (store_submit(r->agent->store, &w->change, NULL) == ERR_OK)
        return;
    state_write_free(w);
    state_lazily(r, AGENT_RETRY_MS);
}

/* --- Late ---------------------------------------------------------------- */

/* True: one more may be written in this second. */
static bool take_output_token(struct agent *a)
{
    uint64_t now = agent_now(a);

    if (now - a->output_tokens_ms >= 1000) {
        a->output_tokens_ms = now;
        a->output_tokens = AGENT_OUTPUT_WRITES_PER_S;
    }
    if (a->output_tokens == 0)
        return false;
    a->output_tokens--;
    return true;
}

static void on_lazy(struct agent *a, struct deadline *d)
{
    struct running *r = container_of(d, struct running, lazy);

    agent_publish(a);
    const struct local_check *k =
        local_check(local_current(a->o.local), running_id(r));
    if (!k)
        return;
    if (!take_output_token(a)) {
        deadline_set(a, d, 1000);
        return;
    }
    state_write(r, k, k->output);
    if (r->lazy_catalog)
        (void)sync_touch_check(a, k, true);
    r->lazy_catalog = false;
}

void state_init(struct running *r)
{
    r->lazy.fire = on_lazy;
}

void state_lazily(struct running *r, uint64_t delay_ms)
{
    if (!r->lazy.item.in)
        deadline_set(r->agent, &r->lazy, delay_ms);
}

void state_by_word(struct running *r)
{
    r->stored_ms = agent_now(r->agent);
    if (!r->lazy_catalog)
        deadline_clear(r->agent, &r->lazy);
}

/* --- Restoring ----------------------------------------------------------- */

void state_restore(struct agent *a, struct bytes id,
                   const struct local_state *s)
{
    struct restored *old, *t = xzalloc(sizeof *t + id.n);

    t->past = (struct run_past){
        .status = s->status,
        .cause = s->cause,
        .used_ms = s->written_ms - s->beat_ms,
        .penalty = s->penalty,
        .suppressed = s->suppressed,
        .same_boot = bytes_is(s->boot_id, a->boot_id),
    };
    t->written_ms = s->old ? 0 : s->written_ms;
    t->since_wall_ms = s->since_ms;
    t->id_n = id.n;
    memcpy(t->id, id.p, id.n);
    old = map_get(&a->restored, bytes_of(t->id, t->id_n));
    require(map_put(&a->restored, bytes_of(t->id, t->id_n), t) == ERR_OK);
    free(old);
}

struct run_past state_past(const struct agent *a, const struct restored *t)
{
    uint64_t boot_now = agent_boot_now(a);
    struct run_past past = t->past;

    if (past.same_boot && t->written_ms && boot_now > t->written_ms)
        past.down_ms = boot_now - t->written_ms;
    return past;
}

static void put_age(struct buf *out, const char *name, uint64_t ms)
{
    buf_printf(out, " %s=", name);
    duration_print(out, (int64_t)(ms / 1000 * 1000) * NS_PER_MS);
}

void state_log_restored(const struct agent *a)
{
    uint64_t newest = UINT64_MAX, oldest = 0;
    size_t at = 0, kept = 0, anew = 0;
    struct buf text = {0};
    void *value;

    while (map_next(&a->restored, &at, NULL, &value)) {
        const struct run_past past = state_past(a, value);
        if (!run_past_holds(&past)) {
            anew++;
            continue;
        }
        kept++;
        newest = past.down_ms < newest ? past.down_ms : newest;
        oldest = past.down_ms > oldest ? past.down_ms : oldest;
    }
    if (anew)
        log_info("agent",
                 "the host was restarted: checks start anew, in silence, and "
                 "are looked at within %d s: checks=%zu",
                 RUN_SOON_MS / 1000, anew);
    if (!kept)
        return;
    put_age(&text, "newest", newest);
    put_age(&text, "oldest", oldest);
    log_info("agent", "states of checks restored: checks=%zu%.*s", kept,
             BYTES_ARG(buf_bytes(&text)));
    buf_fini(&text);
}
