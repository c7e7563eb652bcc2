/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Running checks: what is not in the local snapshot, because it changes without
 * being worth a version of it: counters, deadlines, since when.
 *
 * Restart is not death. agent.db holds a check's status as of its last change;
 * beats that change nothing are not written, so nobody knows when the last one
 * came before a crash. A TTL check that was not critical therefore gets what
 * was left of its TTL when its state was written (on a clean end that is exact;
 * after a change of status it is the whole), but at least AGENT_TTL_GRACE_MS or
 * its TTL, whichever is shorter: the time that the agent was down does not
 * count. If the host itself was restarted, what beat is gone too, and the grace
 * is all. Thresholds of a restored check start empty: one bad result after a
 * restart counts as one. */
#include <stdlib.h>

#include "agent/impl.h"
#include "base/bytes.h"

/* --- The table ----------------------------------------------------------- */

static struct bytes folded(struct bytes id)
{
    struct buf b = {0};
    size_t n;
    buf_put_fold(&b, id);
    char *p = buf_take(&b, &n);
    require(p != NULL);
    return bytes_of(p, n);
}

struct running *running_find(const struct agent *a, struct bytes id)
{
    struct bytes key = folded(id);
    struct running *r = map_get(&a->checks, key);
    free((char *)key.p);
    return r;
}

static struct bytes running_id(const struct running *r)
{
    return bytes_of(r->id, r->id_n);
}

static const struct local_check *local_of(const struct running *r)
{
    return local_check(local_current(r->agent->o.local), running_id(r));
}

/* --- Stored states ------------------------------------------------------- */

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

void running_state(const struct running *r, enum status status,
                   struct bytes output, struct buf *out)
{
    uint64_t now = agent_now(r->agent);
    const struct local_state s = {
        .status = status,
        .output = output,
        .boot_id = bytes_str(r->agent->boot_id),
        .written_ms = now,
        .beat_ms = r->beat_ms ? r->beat_ms : now,
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

static void lazily(struct running *r, uint64_t delay_ms)
{
    if (!r->lazy.item.in)
        deadline_set(r->agent, &r->lazy, delay_ms);
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
        /* The live state is true all the same; it is stored when it can be. */
        if (r)
            lazily(r, AGENT_RETRY_MAX_MS);
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

static void write_state(struct running *r, const struct local_check *k,
                        enum status status, struct bytes output)
{
    struct state_write *w = xzalloc(sizeof *w + r->id_n);

    w->agent = r->agent;
    w->letter.kind = LETTER_STATE;
    memcpy(w->data, r->id, r->id_n);
    w->id = bytes_of(w->data, r->id_n);
    local_key(&w->check_key, LOCAL_KEY_CHECK, w->id);
    local_key(&w->key, LOCAL_KEY_STATE, w->id);
    running_state(r, status, output, &w->value);
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
    lazily(r, AGENT_RETRY_MAX_MS);
}

/* --- Outputs that change alone ------------------------------------------- */

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
    const struct local_check *k = local_of(r);
    if (!k)
        return;
    if (!take_output_token(a)) {
        deadline_set(a, d, 1000);
        return;
    }
    write_state(r, k, k->status, k->output);
    if (r->lazy_catalog)
        (void)sync_touch_check(a, k, true);
    r->lazy_catalog = false;
}

static uint64_t lazy_delay_ms(const struct running *r)
{
    uint64_t every = r->agent->o.check_update_interval_ms;
    return every / 2 + schedule_first_ms(running_id(r), every);
}

/* --- Live states --------------------------------------------------------- */

static void count_critical(struct running *r)
{
    if (r->status != STATUS_CRITICAL)
        r->critical_ms = 0;
    else if (r->critical_ms == 0)
        r->critical_ms = agent_now(r->agent) + 1; /* never 0 */
}

static void log_flip(const struct running *r, struct bytes output)
{
    metric_add(METRIC_AGENT_FLIPS, 1);
    log_info("agent", "Check is now %s: check=%.*s output=\"%.*s\"",
             status_name(r->status), BYTES_ARG(running_id(r)),
             BYTES_ARG(bytes_head(output, 120)));
}

void running_set(struct running *r, enum status status, struct bytes output,
                 bool durable)
{
    struct agent *a = r->agent;
    bool flips = status != r->status;

    if (a->o.discard_output)
        output = (struct bytes){0};
    const struct local_check *k = local_of(r);
    /* Nearly every result of nearly every check. */
    if (k && !flips && !durable && k->status == status &&
        bytes_eq(k->output, output))
        return;
    if (!k ||
        local_set_state(a->o.local, running_id(r), status, output) != ERR_OK)
        return;
    r->status = status;
    count_critical(r);
    if (flips) {
        log_flip(r, output);
        if (!durable)
            write_state(r, k, status, output);
        (void)sync_touch_check(a, k, false);
    } else if (!bytes_eq(k->output, output)) {
        r->lazy_catalog = true;
        lazily(r, lazy_delay_ms(r));
    }
    agent_wake(a);
}

void agent_probe_result(struct agent *a, uint64_t generation,
                        struct bytes check_id, enum status status,
                        struct bytes output)
{
    struct running *r = running_find(a, check_id);
    enum status now;

    if (!r || r->generation != generation)
        return; /* of a definition that is gone */
    if (threshold_result(&r->threshold, status, &now))
        running_set(r, now, output, false);
}

/* --- TTL ----------------------------------------------------------------- */

void running_beat(struct running *r)
{
    r->beat_ms = agent_now(r->agent);
    deadline_set(r->agent, &r->ttl, r->ttl_ms);
}

static void on_ttl(struct agent *a, struct deadline *d)
{
    struct running *r = container_of(d, struct running, ttl);
    struct buf text = {0};

    agent_publish(a);
    const struct local_check *k = local_of(r);
    if (!k)
        return;
    buf_puts(&text, "TTL expired");
    if (k->output.n) {
        buf_puts(&text, " (last output before timeout follows): ");
        buf_put(&text, k->output);
    }
    running_set(r, STATUS_CRITICAL, buf_bytes(&text), false);
    buf_fini(&text);
}

void running_restore(struct agent *a, struct bytes id,
                     const struct local_state *s)
{
    struct restored *old, *t = xzalloc(sizeof *t + id.n);

    t->left_ms = s->written_ms - s->beat_ms; /* used up; see start_ttl */
    t->same_boot = bytes_is(s->boot_id, a->boot_id);
    t->id_n = id.n;
    memcpy(t->id, id.p, id.n);
    old = map_get(&a->restored, bytes_of(t->id, t->id_n));
    require(map_put(&a->restored, bytes_of(t->id, t->id_n), t) == ERR_OK);
    free(old);
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void start_ttl(struct running *r, const struct restored *t)
{
    uint64_t grace = lesser(r->ttl_ms, AGENT_TTL_GRACE_MS);
    uint64_t left = r->ttl_ms;

    if (t && r->status == STATUS_CRITICAL)
        return; /* it waits for a beat */
    if (t)
        left = t->same_boot && t->left_ms < r->ttl_ms ? r->ttl_ms - t->left_ms
                                                      : grace;
    if (left < grace)
        left = grace;
    uint64_t now = agent_now(r->agent), used = r->ttl_ms - left;
    r->beat_ms = now > used ? now - used : 1;
    deadline_set(r->agent, &r->ttl, left);
}

/* --- Starting and stopping ----------------------------------------------- */

/* What decides whether a check has to be started anew. */
static uint64_t hash_of(const struct check_def *d)
{
    struct check_def bare = *d;
    struct buf b = {0};

    bare.name = bare.notes = bare.status = (struct bytes){0};
    check_def_put(&b, &bare);
    require(!b.bad);
    uint64_t h = bytes_hash(buf_bytes(&b), 0);
    buf_fini(&b);
    return h;
}

static void stop(struct running *r)
{
    struct agent *a = r->agent;

    deadline_clear(a, &r->ttl);
    deadline_clear(a, &r->lazy);
    list_del(&r->alias_link);
    switch (r->type) {
    case CHECK_NONE:
    case CHECK_TTL:
    case CHECK_ALIAS:
    case CHECK_MAINTENANCE:
        break;
    case CHECK_GRPC:
    case CHECK_HTTP:
    case CHECK_TCP:
    case CHECK_UDP:
    case CHECK_H2PING:
    case CHECK_DOCKER:
    case CHECK_SCRIPT:
    case CHECK_OS_SERVICE:
        if (a->o.probe.stop)
            a->o.probe.stop(a->o.probe.ctx, running_id(r));
        break;
    }
}

static void start_probe(struct running *r, const struct check_def *d)
{
    struct agent *a = r->agent;
    struct check_def named = *d;

    if (!a->o.probe.start)
        return;
    named.id = running_id(r);
    enum err e =
        a->o.probe.start(a->o.probe.ctx, &named, r->generation,
                         schedule_first_ms(named.id, check_interval_ms(d)));
    if (e != ERR_OK)
        log_error("agent", "a check cannot be started: check=%.*s error=\"%s\"",
                  BYTES_ARG(d->id), err_text(e));
}

static void start(struct running *r, const struct local_check *k,
                  const struct restored *t)
{
    struct agent *a = r->agent;

    r->generation = ++a->generation;
    r->type = k->type;
    r->status = k->status;
    r->reap_ms = check_reap_ms(&k->def);
    r->ttl_ms =
        ((uint64_t)(k->def.ttl_ns > 0 ? k->def.ttl_ns : 0) + 999999) / 1000000;
    threshold_init(&r->threshold, &k->def);
    if (t)
        r->threshold.successes = r->threshold.failures = 0;
    count_critical(r);
    switch (k->type) {
    case CHECK_NONE:
    case CHECK_MAINTENANCE:
        break;
    case CHECK_TTL:
        start_ttl(r, t);
        break;
    case CHECK_ALIAS:
        list_add(&a->aliases, &r->alias_link);
        a->alias_due = true;
        break;
    case CHECK_GRPC:
    case CHECK_HTTP:
    case CHECK_TCP:
    case CHECK_UDP:
    case CHECK_H2PING:
    case CHECK_DOCKER:
    case CHECK_SCRIPT:
    case CHECK_OS_SERVICE:
        start_probe(r, &k->def);
        break;
    }
}

static struct running *running_new(struct agent *a, struct bytes id)
{
    struct bytes key = folded(id);
    struct running *r = xzalloc(sizeof *r + key.n);

    r->agent = a;
    r->id_n = key.n;
    memcpy(r->id, key.p, key.n);
    free((char *)key.p);
    list_init(&r->alias_link);
    r->ttl.fire = on_ttl;
    r->lazy.fire = on_lazy;
    require(map_put(&a->checks, running_id(r), r) == ERR_OK);
    return r;
}

void running_refresh(struct agent *a, struct bytes id)
{
    const struct local_check *k = local_check(local_current(a->o.local), id);
    struct running *r = running_find(a, id);

    if (!k) {
        if (!r)
            return;
        stop(r);
        (void)map_del(&a->checks, running_id(r));
        free(r);
        return;
    }
    uint64_t hash = hash_of(&k->def);
    if (r && r->def_hash == hash)
        return;
    if (r)
        stop(r);
    else
        r = running_new(a, id);
    struct restored *t = map_del(&a->restored, running_id(r));
    r->def_hash = hash;
    start(r, k, t);
    free(t);
}

void running_write_beats(struct agent *a)
{
    size_t at = 0;
    void *value;

    agent_publish(a);
    while (map_next(&a->checks, &at, NULL, &value)) {
        struct running *r = value;
        const struct local_check *k = local_of(r);
        if (!k)
            continue;
        if (r->lazy.item.in || (r->type == CHECK_TTL && r->ttl.item.in))
            write_state(r, k, k->status, k->output);
    }
}

static void free_values(struct map *m)
{
    size_t at = 0;
    void *value;

    while (map_next(m, &at, NULL, &value))
        free(value);
    map_fini(m);
}

void running_free_all(struct agent *a)
{
    size_t at = 0;
    void *value;

    while (map_next(&a->checks, &at, NULL, &value))
        stop(value);
    free_values(&a->checks);
    free_values(&a->restored);
}
