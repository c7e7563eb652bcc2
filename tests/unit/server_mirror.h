/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* server_mirror - an origin, the server's end of one connection to a mirror, and
 * the mirror; and what the origin answered at each of its revisions. */
#ifndef SERVER_MIRROR_H
#define SERVER_MIRROR_H

#include <stdio.h>

#include "api/entries.h"
#include "catalog_rows.h"
#include "http/sse.h"
#include "mirror/mirror.h"

enum { STATES_KEPT = 256, SUBS = 8 };

struct both {
    struct world *w; /* the origin */
    struct pin_domain pins;
    struct catalog *copy;
    struct mirror *mirror;
    size_t committed;
    bool sliced; /* versions come in slices, between what else happens */
    uint64_t seed;

    /* The connection: what each subscription has been told about. */
    struct arena arena;
    struct http_request request;
    char *subs[SUBS];
    size_t sub_count;
    uint64_t have[SUBS]; /* revision; 0: nothing */
    struct buf out;      /* bytes not delivered yet */

    /* What the origin answered at each revision, as one text. */
    char *states[STATES_KEPT];
    uint64_t revisions[STATES_KEPT];
    size_t state_count;
};

static const char *const part_targets[] = {
    "/v1/health/service/web",        "/v1/health/service/web?passing",
    "/v1/health/service/cache",      "/v1/health/service/cache?passing",
    "/v1/catalog/service/web",       "/v1/health/checks/web",
    "/v1/catalog/node-services/z",   "/v1/health/node/z",
    "/v1/health/service/web?tag=v1", NULL};
static const char *const all_targets[] = {
    "/v1/health/service/web?passing", "/v1/health/service/db?passing",
    "/v1/health/service/cache",       "/v1/catalog/nodes",
    "/v1/health/state/any",           "/v1/health/state/critical",
    "/v1/health/node/alpha",          "/v1/catalog/node/node-2",
    "/v1/internal/ui/nodes",          NULL};

static struct api_self self = {.ui = true};

static inline struct api_env env_of(const struct snapshot *s)
{
    self.node_name = bytes_str("own");
    self.datacenter = bytes_str("dc1");
    return (struct api_env){.self = &self, .cat = s, .ready = true};
}

/* --- Answers ------------------------------------------------------------- */

static inline void answer(const struct snapshot *s, const char *target,
                          struct buf *out)
{
    struct api_env env = env_of(s);
    struct api_call call;
    struct arena a;

    arena_init(&a, 0);
    api_call_init(&call);
    assert_ok(api_from_canonical(&call, &env, bytes_str(target), &a));
    api_read(&call, &env);
    buf_puts(out, target);
    buf_putc(out, '\n');
    buf_put(out, buf_bytes(&call.body));
    buf_putc(out, '\n');
    api_call_fini(&call);
    arena_fini(&a);
}

static inline char *answers(const struct snapshot *s,
                            const char *const *targets)
{
    struct buf b = {0};
    size_t n;

    for (size_t i = 0; targets[i]; i++)
        answer(s, targets[i], &b);
    return buf_take(&b, &n);
}

static inline void remember(struct both *b, const char *const *targets)
{
    size_t at = b->state_count++ % STATES_KEPT;

    free(b->states[at]);
    b->states[at] = answers(catalog_current(b->w->catalog), targets);
    b->revisions[at] = b->w->revision;
}

static const char *state_at(const struct both *b, uint64_t revision)
{
    for (size_t i = 0; i < STATES_KEPT; i++)
        if (b->states[i] && b->revisions[i] == revision)
            return b->states[i];
    return NULL;
}

static inline void is_a_state_of_the_origin(const struct both *b,
                                            const char *const *targets)
{
    const struct snapshot *s = catalog_current(b->copy);
    const char *want = state_at(b, snapshot_revision(s));
    char *have = answers(s, targets);

    assert_non_null(want);
    assert_string_equal(have, want);
    free(have);
}

/* --- The origin's end of a connection ------------------------------------ */

static inline void call_of(struct both *b, const char *target, struct arena *a,
                           const struct api_env *env, struct api_call *call)
{
    (void)b;
    arena_init(a, 0);
    api_call_init(call);
    assert_ok(api_from_canonical(call, env, bytes_str(target), a));
}

struct teller {
    struct both *b;
    struct api_call *call;
    const struct api_env *env;
};

static inline void put_data(struct both *b, const char *event, struct buf *data,
                            uint64_t id)
{
    sse_event(&b->out, event);
    sse_data(&b->out, buf_bytes(data));
    if (id)
        sse_id(&b->out, id);
    sse_end(&b->out);
    buf_fini(data);
}

static inline void tell(void *ctx, const struct entry *e)
{
    struct teller *t = ctx;
    struct buf data = {0};
    struct json_out j = json_out(&data);
    const char *why;
    bool in = entry_read(t->call, t->env, e, &why);

    json_open(&j, '{');
    entry_names(e, &j);
    api_stream_subject(t->call, e, &j);
    json_key(&j, in ? "Entry" : "Why");
    if (in)
        json_raw(&j, buf_bytes(&t->call->body));
    else
        json_str(&j, bytes_str(why));
    json_close(&j, '}');
    put_data(t->b, in ? "put" : "remove", &data, 0);
}

static inline void phase(struct teller *t, const char *name)
{
    struct buf data = {0};
    struct json_out j = json_out(&data);

    json_open(&j, '{');
    json_key(&j, "Phase");
    json_str(&j, bytes_str(name));
    api_stream_subject(t->call, NULL, &j);
    json_close(&j, '}');
    put_data(t->b, "snapshot", &data, 0);
}

static inline void tell_all(struct teller *t)
{
    struct entry at, next;
    bool begun = false;

    phase(t, "begin");
    while (entry_next(t->call, t->env, begun ? &at : NULL, &next)) {
        begun = true;
        at = next;
        tell(t, &at);
    }
    phase(t, "end");
}

static inline void tell_touched(void *ctx, const struct cat_change *ch)
{
    struct teller *t = ctx;

    t->call->told_whole = false;
    entries_touched(t->call, t->env, ch, tell, t);
}

/* All subscriptions are told up to now; the last event has the id. */
static inline void tell_news(struct both *b)
{
    const struct snapshot *s = catalog_current(b->w->catalog);
    struct api_env env = env_of(s);
    struct buf data = {0};

    for (size_t i = 0; i < b->sub_count; i++) {
        struct api_call call;
        struct arena a;
        call_of(b, b->subs[i], &a, &env, &call);
        struct teller t = {b, &call, &env};
        if (b->have[i] == 0)
            tell_all(&t);
        else
            assert_ok(snapshot_changes(s, b->have[i], tell_touched, &t));
        b->have[i] = snapshot_revision(s);
        api_call_fini(&call);
        arena_fini(&a);
    }
    buf_puts(&data, "{}");
    put_data(b, "current", &data, snapshot_revision(s));
}

/* As the server takes the request apart. */
static inline void accept_target(struct both *b, struct bytes target,
                                 uint64_t id)
{
    const struct snapshot *s = catalog_current(b->w->catalog);
    struct api_env env = env_of(s);
    struct api_call call;
    struct arena a;
    struct buf one = {0}, data = {0};
    char *text = xcopy(target);

    call_of(b, text, &a, &env, &call);
    b->sub_count = api_stream_count(&call);
    assert_true(b->sub_count >= 2 && b->sub_count <= SUBS);
    /* Anything may force a snapshot on it. */
    bool resumes = id && id >= snapshot_floor(s) && !chance(&b->seed, 25);
    for (size_t i = 0; i < b->sub_count; i++) {
        buf_reset(&one);
        api_stream_target(&call, i, &one);
        buf_putc(&one, 0);
        free(b->subs[i]);
        b->subs[i] = xcopy(bytes_of(one.p, one.n));
        b->have[i] = resumes && i < call.resume_count ? id : 0;
    }
    buf_printf(&data, "{\"Subscriber\":\"x\",\"Index\":%llu,\"BeatMs\":1}",
               (unsigned long long)snapshot_revision(s));
    put_data(b, "subscriber", &data, 0);
    buf_fini(&one);
    api_call_fini(&call);
    arena_fini(&a);
    free(text);
}

static inline void connect_again(struct both *b)
{
    struct buf target = {0};
    uint64_t id;

    buf_reset(&b->out);
    mirror_connect(b->mirror, &target, &id);
    accept_target(b, buf_bytes(&target), id);
    buf_fini(&target);
}

/* Some slices of what is on its way; whoever looks between them sees a state. */
static inline void some_slices(struct both *b, const char *const *targets)
{
    struct errtext t = {{0}};

    while (b->sliced && mirror_is_busy(b->mirror) && chance(&b->seed, 60)) {
        assert_ok(mirror_step(b->mirror, &t));
        if (b->committed)
            is_a_state_of_the_origin(b, targets);
    }
}

static inline void all_slices(struct both *b)
{
    struct errtext t = {{0}};

    while (mirror_is_busy(b->mirror))
        assert_ok(mirror_step(b->mirror, &t));
}

/* Some of what was sent arrives. */
static inline void deliver(struct both *b, size_t n, const char *const *targets)
{
    struct errtext t = {{0}};
    struct bytes rest = bytes_head(buf_bytes(&b->out), n);
    size_t sent = rest.n;

    while (rest.n) {
        size_t k = 1 + below(&b->seed, 700);
        size_t before = b->committed;
        if (mirror_push(b->mirror, bytes_head(rest, k), &t) != ERR_OK)
            fail_msg("%s", t.s);
        rest = bytes_skip(rest, k);
        if (b->committed != before)
            is_a_state_of_the_origin(b, targets);
        some_slices(b, targets);
    }
    memmove(b->out.p, b->out.p + sent, b->out.n - sent);
    b->out.n -= sent;
}

/* --- Changes ------------------------------------------------------------- */

/* Nobody writes a record again as it is (catalog/plan.h). */
static inline bool is_there(const struct both *b, struct bytes key,
                            struct bytes value)
{
    const struct row *r = world_key(b->w, key);

    return r && bytes_eq(row_value(r), value);
}

/* As the guard leaves things: what is critical is held, mostly; some instances
 * are let go nevertheless. */
static inline void as_guarded(struct both *b, struct bytes key,
                              struct buf *value)
{
    struct check_view c;
    struct guard_view g;
    struct buf out = {0};

    if (key.p[0] == 'c' && record_get_check(buf_bytes(value), &c) == ERR_OK &&
        chance(&b->seed, 80)) {
        bool up = chance(&b->seed, 60);
        c.status = bytes_str(up ? "passing" : "critical");
        c.marks = (struct check_marks){
            .cause = up ? CAUSE_EVIDENCE : CAUSE_SILENCE,
            .held = !up && chance(&b->seed, 80),
            .damped = up && chance(&b->seed, 10),
            .since_ms = below(&b->seed, 3),
        };
        struct buf next = {0};
        record_put_check(&next, &c);
        buf_fini(value);
        *value = next;
    }
    if (key.p[0] == 'g' && record_get_guard(buf_bytes(value), &g) == ERR_OK) {
        struct buf next = {0}, name = {0};
        buf_put(&name, g.name);
        g = (struct guard_view){.name = buf_bytes(&name)};
        for (size_t n = 0; n < NODES; n++)
            for (size_t i = 0; i < SERVICES && chance(&b->seed, 30); i++) {
                struct buf one = {0};
                key_instance(&one, bytes_str(node_names[n][0]),
                             bytes_str(service_ids[i][0]));
                packed_put_out(&out, buf_bytes(&one), 1 + below(&b->seed, 2));
                buf_fini(&one);
                g.out.n++;
                break;
            }
        g.out.data = buf_bytes(&out);
        record_put_guard(&next, &g);
        buf_fini(value);
        buf_fini(&name);
        *value = next;
    }
    buf_fini(&out);
}

static inline void change(struct both *b, const char *const *targets)
{
    struct buf key = {0}, value = {0};
    size_t n = 1 + below(&b->seed, 4);

    b->w->revision++;
    catalog_context(b->w->catalog, 1000 * (1 + below(&b->seed, 9)), false);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&key);
        buf_reset(&value);
        random_row(b->w, &key, &value, &b->seed);
        as_guarded(b, buf_bytes(&key), &value);
        if (chance(&b->seed, 25))
            world_delete(b->w, buf_bytes(&key));
        else if (!is_there(b, buf_bytes(&key), buf_bytes(&value)))
            world_put(b->w, buf_bytes(&key), buf_bytes(&value));
    }
    (void)world_commit(b->w);
    remember(b, targets);
    buf_fini(&key);
    buf_fini(&value);
}

static inline void both_committed(void *ctx)
{
    ((struct both *)ctx)->committed++;
}

static inline void both_begin(struct both *b, uint64_t seed)
{
    *b = (struct both){.w = world_new(), .seed = seed * 2654435761u + 1};
    pin_init(&b->pins);
    b->copy = catalog_new(&b->pins);
    b->mirror = mirror_new(b->copy, &(struct mirror_events){
                                        .committed = both_committed, .ctx = b});
}

static inline void both_end(struct both *b)
{
    mirror_free(b->mirror);
    catalog_free(b->copy);
    pin_fini(&b->pins);
    world_free(b->w);
    for (size_t i = 0; i < SUBS; i++)
        free(b->subs[i]);
    for (size_t i = 0; i < STATES_KEPT; i++)
        free(b->states[i]);
    buf_fini(&b->out);
}

static inline void want(struct both *b, enum mirror_kind kind, const char *name)
{
    assert_ok(mirror_want(b->mirror, kind, bytes_str(name)));
}

#endif
