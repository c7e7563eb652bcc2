/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What streams are made of: single entries of an answer, and which of them a
 * change concerns. */
#include "api/entries.h"
#include "api/entry_table.h"
#include "api_world.h"
#include "base/buf.h"

/* --- An answer as a list of entries -------------------------------------- */

enum { TOLD_MAX = 64 };

struct told {
    size_t n;
    char *key[TOLD_MAX], *json[TOLD_MAX];
};

static void told_free(struct told *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->key[i]);
        free(t->json[i]);
    }
    t->n = 0;
}

static const char *told_json(const struct told *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->key[i], key) == 0)
            return t->json[i];
    return NULL;
}

static char *text_of(struct bytes b)
{
    char *p = malloc(b.n + 1);
    memcpy(p, b.p, b.n);
    p[b.n] = 0;
    return p;
}

static char *key_of(const struct entry *e)
{
    struct buf b = {0};
    entry_key(e, &b);
    char *p = text_of(buf_bytes(&b));
    buf_fini(&b);
    return p;
}

static void call_of(struct world *w, const struct api_env *env,
                    const char *target)
{
    api_call_fini(&w->call);
    api_call_init(&w->call);
    assert_ok(api_from_canonical(&w->call, env, bytes_str(target), &w->arena));
    assert_true(entries_has(&w->call));
}

/* All entries, each found from the one before. */
static void walk(struct world *w, const char *target, struct told *ret)
{
    struct api_env env = env_of(w);
    struct entry e, next;
    const char *why;
    bool begun = false;
    call_of(w, &env, target);
    ret->n = 0;
    while (entry_next(&w->call, &env, begun ? &e : NULL, &next)) {
        begun = true;
        e = next;
        if (!entry_read(&w->call, &env, &e, &why)) {
            assert_non_null(why);
            continue;
        }
        assert_true(ret->n < TOLD_MAX);
        ret->key[ret->n] = key_of(&e);
        ret->json[ret->n++] = text_of(buf_bytes(&w->call.body));
    }
}

/* The whole answer is the entries, in some order and with something around. */
static void is_the_answer(struct world *w, const char *target,
                          const struct told *t)
{
    struct api_env env = env_of(w);
    struct api_call whole;
    size_t bytes = 0;
    if (bytes_starts(bytes_str(target), bytes_str("/v1/muster/")))
        return; /* it has no other answer */
    api_call_init(&whole);
    assert_ok(api_from_canonical(&whole, &env, bytes_str(target), &w->arena));
    api_read(&whole, &env);
    for (size_t i = 0; i < t->n; i++) {
        assert_true(has(buf_bytes(&whole.body), t->json[i]));
        bytes += strlen(t->json[i]);
    }
    bool list = whole.body.p[0] == '[';
    if (list) /* nothing but entries and commas */
        assert_int_equal(whole.body.n, 2 + bytes + (t->n ? t->n - 1 : 0));
    api_call_fini(&whole);
}

/* --- Random changes ------------------------------------------------------ */

static uint64_t any(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed >> 11;
}

static unsigned below(uint64_t *seed, unsigned n)
{
    return (unsigned)(any(seed) % n);
}

static const char *any_status(uint64_t *seed)
{
    static const char *const all[] = {"passing", "warning", "critical"};
    return all[below(seed, 3)];
}

static void change(struct world *w, uint64_t *seed)
{
    char body[1024];
    unsigned node = below(seed, 3), id = below(seed, 3);
    switch (below(seed, 8)) {
    case 0:
        snprintf(body, sizeof body,
                 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.%u\","
                 "\"NodeMeta\":{\"zone\":\"%u\"}}",
                 node, below(seed, 2) + 1, below(seed, 2));
        break;
    case 1:
    case 2:
        snprintf(body, sizeof body,
                 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.1\","
                 "\"SkipNodeUpdate\":true,\"Service\":{\"ID\":\"i%u\","
                 "\"Service\":\"s%u\",\"Port\":%u,\"Tags\":[\"t%u\"]}}",
                 node, id, below(seed, 2), below(seed, 3), below(seed, 2));
        break;
    case 3:
    case 4:
        snprintf(body, sizeof body,
                 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.1\","
                 "\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"c%u\","
                 "\"Name\":\"c\",\"ServiceID\":\"i%u\",\"Status\":\"%s\"}}",
                 node, below(seed, 4), id, any_status(seed));
        break;
    case 5:
        snprintf(body, sizeof body,
                 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.1\","
                 "\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"own\","
                 "\"Name\":\"own\",\"Status\":\"%s\"}}",
                 node, any_status(seed));
        break;
    case 6:
        snprintf(body, sizeof body, "{\"Node\":\"n%u\",\"%s\":\"%s%u\"}", node,
                 id ? "ServiceID" : "CheckID", id ? "i" : "c", id);
        (void)put(w, "/v1/catalog/deregister", body);
        return;
    default:
        if (below(seed, 4))
            return;
        snprintf(body, sizeof body, "{\"Node\":\"n%u\"}", node);
        (void)put(w, "/v1/catalog/deregister", body);
        return;
    }
    (void)put(w, "/v1/catalog/register", body); /* some are refused */
}

static const char *const targets[] = {
    "/v1/catalog/nodes",
    "/v1/catalog/nodes?node-meta=zone%3A1",
    "/v1/catalog/services",
    "/v1/catalog/services?node-meta=zone%3A1",
    "/v1/catalog/service/s0",
    "/v1/catalog/service/S1?tag=t1",
    "/v1/catalog/node/n1",
    "/v1/catalog/node-services/N2",
    "/v1/health/service/s0",
    "/v1/health/service/s0?passing",
    "/v1/health/service/s1?passing&tag=t0&node-meta=zone%3A0",
    "/v1/health/service/s1?filter=Service.Port%20%3D%3D%201",
    "/v1/health/node/n0",
    "/v1/health/checks/s0",
    "/v1/health/checks/s1?node-meta=zone%3A1",
    "/v1/health/state/any",
    "/v1/health/state/critical",
    "/v1/muster/stream?prefix=",
    "/v1/muster/stream?prefix=S1&passing",
};

enum { TARGETS = sizeof targets / sizeof targets[0], ROUNDS = 3000 };

/* --- Which entries a change concerns ------------------------------------- */

struct named {
    struct world *w;
    struct api_env env;
    size_t n;
    char *key[4096];
};

static void name_entry(void *ctx, const struct entry *e)
{
    struct named *n = ctx;
    assert_true(n->n < 4096);
    n->key[n->n++] = key_of(e);
}

static void name_change(void *ctx, const struct cat_change *ch)
{
    struct named *n = ctx;
    entries_touched(&n->w->call, &n->env, ch, name_entry, n);
}

static bool is_named(const struct named *n, const char *key)
{
    for (size_t i = 0; i < n->n; i++)
        if (strcmp(n->key[i], key) == 0)
            return true;
    return false;
}

/* But for ModifyIndex: what is put again as it was has changed for nobody. */
static bool alike(const char *a, const char *b)
{
    static const char mark[] = "\"ModifyIndex\":";
    for (; *a && *a == *b; a++, b++)
        if (strncmp(a, mark, sizeof mark - 1) == 0) {
            a += sizeof mark - 1;
            b += sizeof mark - 1;
            a += strspn(a, "0123456789") - 1;
            b += strspn(b, "0123456789") - 1;
        }
    return *a == *b;
}

/* Whatever differs between the two was named by the changes since. */
static void names_what_differs(struct world *w, const char *target,
                               uint64_t since, const struct told *old,
                               const struct told *new)
{
    static struct named n;
    n = (struct named){.w = w, .env = env_of(w)};
    call_of(w, &n.env, target);
    assert_ok(snapshot_changes(n.env.cat, since, name_change, &n));
    for (size_t i = 0; i < old->n; i++) {
        const char *json = told_json(new, old->key[i]);
        bool same = json && alike(json, old->json[i]);
        if (!same && !is_named(&n, old->key[i]))
            fail_msg("%s: %s was %s, is %s, and nobody said so", target,
                     old->key[i], old->json[i], json ? json : "gone");
    }
    for (size_t i = 0; i < new->n; i++)
        if (!told_json(old, new->key[i]) && !is_named(&n, new->key[i]))
            fail_msg("%s: %s is new, and nobody said so", target, new->key[i]);
    for (size_t i = 0; i < n.n; i++)
        free(n.key[i]);
}

static void the_journal_names_every_entry_that_differs(void **state)
{
    static struct told have[TARGETS];
    struct world *w = *state;
    uint64_t since[TARGETS], seed = 4711;
    for (size_t t = 0; t < TARGETS; t++)
        since[t] = 0;
    for (int round = 0; round < ROUNDS; round++) {
        change(w, &seed);
        size_t t = below(&seed, TARGETS);
        struct told now;
        walk(w, targets[t], &now);
        is_the_answer(w, targets[t], &now);
        names_what_differs(w, targets[t], since[t], &have[t], &now);
        told_free(&have[t]);
        have[t] = now;
        since[t] = snapshot_revision(catalog_current(w->catalog));
        arena_reset(&w->arena);
    }
    for (size_t t = 0; t < TARGETS; t++)
        told_free(&have[t]);
}

/* --- Why not ------------------------------------------------------------- */

static const char *why(struct world *w, const char *target, const char *id)
{
    struct api_env env = env_of(w);
    struct entry e = {
        .kind = ENTRY_INSTANCE, .a = bytes_str("n"), .b = bytes_str(id)};
    const char *ret;
    call_of(w, &env, target);
    return entry_read(&w->call, &env, &e, &ret) ? "in" : ret;
}

static void check(struct world *w, const char *id, const char *status)
{
    char body[512];
    snprintf(body, sizeof body,
             "{\"Node\":\"n\",\"Address\":\"1.2.3.4\",\"Check\":{\"CheckID\":"
             "\"%s\",\"Name\":\"x\",\"ServiceID\":\"web\",\"Status\":\"%s\"}}",
             id, status);
    assert_int_equal(put(w, "/v1/catalog/register", body), 200);
}

static void an_entry_that_is_not_in_says_why(void **state)
{
    struct world *w = *state;
    const char *target = "/v1/health/service/web?passing";
    add(w, "n", "{\"Service\":\"web\",\"Tags\":[\"a\"]}");
    assert_string_equal(why(w, target, "WEB"), "in");
    assert_string_equal(why(w, target, "other"), "deregistered");
    assert_string_equal(why(w, "/v1/health/service/api", "web"),
                        "deregistered");
    assert_string_equal(why(w, "/v1/health/service/web?tag=b", "web"),
                        "filter");
    check(w, "one", "warning");
    assert_string_equal(why(w, target, "web"), "warning");
    check(w, "two", "critical");
    assert_string_equal(why(w, target, "web"), "critical");
    check(w, "_service_maintenance:web", "critical");
    assert_string_equal(why(w, target, "web"), "maintenance");
    assert_string_equal(why(w, "/v1/health/service/web", "web"), "in");
}

static void draining_is_told_apart(void **state)
{
    struct world *w = *state;
    add(w, "n", "{\"Service\":\"web\"}");
    check(w, "one", "critical");
    check(w, "_muster_drain:web", "critical");
    assert_string_equal(why(w, "/v1/health/service/web?passing", "web"),
                        "drained");
}

/* --- What is known of one that went ------------------------------------- */

struct gone {
    struct world *w;
    struct api_env env;
    char text[512]; /* "<name> <why>;" of each */
};

static void look_at_gone(void *ctx, const struct entry *e)
{
    struct gone *g = ctx;
    const char *ret = "in";
    (void)entry_read(&g->w->call, &g->env, e, &ret);
    size_t at = strlen(g->text);
    snprintf(g->text + at, sizeof g->text - at, "%.*s %s;", BYTES_ARG(e->name),
             ret ? ret : "in");
}

static void gone_by(void *ctx, const struct cat_change *ch)
{
    struct gone *g = ctx;
    entries_touched(&g->w->call, &g->env, ch, look_at_gone, g);
}

/* What is told on this target of what changed since. */
static const char *told_since(struct world *w, const char *target,
                              uint64_t since)
{
    static struct gone g;
    g = (struct gone){.w = w, .env = env_of(w)};
    call_of(w, &g.env, target);
    assert_ok(snapshot_changes(g.env.cat, since, gone_by, &g));
    return g.text;
}

static void who_went_is_told_with_its_service_and_by_whose_will(void **state)
{
    struct world *w = *state;
    add(w, "n", "{\"ID\":\"1\",\"Service\":\"Web\"}");
    add(w, "n", "{\"ID\":\"2\",\"Service\":\"Web\"}");
    uint64_t since = w->revision;
    assert_int_equal(put(w, "/v1/catalog/deregister",
                         "{\"Node\":\"n\",\"ServiceID\":\"1\"}"),
                     200);
    catalog_context(w->catalog, 0, true);
    assert_int_equal(put(w, "/v1/catalog/deregister",
                         "{\"Node\":\"n\",\"ServiceID\":\"2\"}"),
                     200);
    catalog_context(w->catalog, 0, false);
    assert_string_equal(told_since(w, "/v1/muster/stream?prefix=", since),
                        "Web reaped;Web deregistered;");
    assert_string_equal(told_since(w, "/v1/health/service/web", since),
                        "Web reaped;Web deregistered;");
    assert_string_equal(told_since(w, "/v1/muster/stream?prefix=other", since),
                        "");
}

static void under_another_name_it_leaves_a_prefix_as_what_it_was(void **state)
{
    struct world *w = *state;
    add(w, "n", "{\"ID\":\"1\",\"Service\":\"team-a\"}");
    uint64_t since = w->revision;
    add(w, "n", "{\"ID\":\"1\",\"Service\":\"other\"}");
    assert_string_equal(told_since(w, "/v1/muster/stream?prefix=team-", since),
                        "team-a filter;");
}

/* Consul's clients may ask for a node by the first digits of its ID. A mirror that
 * waits for node "a7" was given another one so, and never told of its own. */
static void rows_of_a_node_are_of_its_name_alone(void **state)
{
    struct world *w = *state;
    struct told t = {0};
    assert_int_equal(put(w, "/v1/catalog/register",
                         "{\"Node\":\"a4\",\"Address\":\"10.0.0.1\",\"ID\":"
                         "\"a7148852-8511-43c7-af1e-45b4cfb9ef2b\"}"),
                     200);
    walk(w, "/v1/catalog/node-services/a7", &t);
    assert_int_equal(t.n, 1);
    told_free(&t);
    walk(w, "/v1/catalog/node-services/a7?rows", &t);
    assert_int_equal(t.n, 0);
    told_free(&t);
    walk(w, "/v1/catalog/node-services/A4?rows", &t);
    assert_int_equal(t.n, 1);
    told_free(&t);
}

/* --- Requests for streams ------------------------------------------------ */

static void text_of_target(struct world *w, size_t i, const char *want)
{
    struct buf b = {0};
    api_stream_target(&w->call, i, &b);
    assert_bytes(buf_bytes(&b), want);
    buf_fini(&b);
}

static void subscriptions_become_canonical_targets(void **state)
{
    struct world *w = *state;
    w->self.pretty = true; /* not in a stream */
    assert_int_equal(
        begin(w, "GET", "/v1/health/service/web?stale&passing&stream&index=7",
              ""),
        API_STREAM);
    assert_int_equal(w->call.resume_index, 7);
    assert_int_equal(api_stream_count(&w->call), 1);
    text_of_target(w, 0, "/v1/health/service/web?passing");

    assert_int_equal(begin(w, "GET",
                           "/v1/muster/stream?service=a%2Fb&tag=x&prefix=p&all",
                           ""),
                     API_STREAM);
    assert_int_equal(api_stream_count(&w->call), 3);
    text_of_target(w, 0, "/v1/health/service/a%2Fb?tag=x");
    text_of_target(w, 1, "/v1/muster/stream?prefix=p&tag=x");
    text_of_target(w, 2, "/v1/muster/stream?prefix=&tag=x");
}

static void bad_stream_requests_are_refused(void **state)
{
    static const char *const bad[] = {
        "/v1/muster/stream",
        "/v1/muster/stream?service=",
        "/v1/catalog/nodes?stream=perhaps",
        "/v1/health/service/web?stream&near=n1",
        "/v1/health/service/web?stream&index=x",
        "/v1/health/service/web?stream&zone=a%0Ab",
        "/v1/health/service/web?stream&filter=nonsense",
        "/v1/health/service/web?stream&callers=-1",
        "/v1/health/service/web?stream&callers=1048576",
        "/v1/health/service/web?stream&callers=all",
        "/v1/catalog/nodes?stream&callers",
        "/v1/muster/stream?service=web&callers",
    };
    struct world *w = *state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(begin(w, "GET", bad[i], ""), API_ANSWER);
        assert_int_equal(w->call.status, 400);
        assert_true(w->call.body.n > 0);
    }
    char long_label[512] = "/v1/catalog/nodes?stream&subscriber=";
    memset(long_label + strlen(long_label), 'x', 129);
    assert_int_equal(begin(w, "GET", long_label, ""), API_ANSWER);
    assert_true(has(buf_bytes(&w->call.body), "more than 128"));
}

static void too_many_subscriptions_are_refused(void **state)
{
    struct world *w = *state;
    struct buf b = {0};
    buf_puts(&b, "/v1/muster/stream?all");
    for (int i = 0; i < API_STREAM_SUBSCRIPTIONS_MAX; i++)
        buf_printf(&b, "&service=s%d", i);
    char *target = text_of(buf_bytes(&b));
    assert_int_equal(begin(w, "GET", target, ""), API_ANSWER);
    assert_true(has(buf_bytes(&w->call.body), "more than 128"));
    *strrchr(target, '&') = 0;
    assert_int_equal(begin(w, "GET", target, ""), API_STREAM);
    free(target);
    buf_fini(&b);
}

/* --- The table ----------------------------------------------------------- */

static void the_table_is_a_map(void **state)
{
    enum { KEYS = 97 };
    uint64_t have[KEYS + 1] = {0}, seed = 12, digest;
    struct entry_table t = {0};
    (void)state;
    assert_false(entry_table_get(&t, 1, &digest));
    for (int i = 0; i < 20000; i++) {
        uint64_t key = 1 + below(&seed, KEYS);
        bool in = entry_table_get(&t, key * 16, &digest);
        assert_int_equal(in, have[key] != 0);
        if (in)
            assert_int_equal(digest, have[key]);
        have[key] = below(&seed, 2) ? any(&seed) | 1 : 0;
        if (have[key])
            assert_ok(entry_table_put(&t, key * 16, have[key]));
        else
            entry_table_del(&t, key * 16);
    }
    entry_table_fini(&t);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(the_journal_names_every_entry_that_differs,
                                    setup, teardown),
    cmocka_unit_test_setup_teardown(an_entry_that_is_not_in_says_why, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(draining_is_told_apart, setup, teardown),
    cmocka_unit_test_setup_teardown(
        who_went_is_told_with_its_service_and_by_whose_will, setup, teardown),
    cmocka_unit_test_setup_teardown(
        under_another_name_it_leaves_a_prefix_as_what_it_was, setup, teardown),
    cmocka_unit_test_setup_teardown(rows_of_a_node_are_of_its_name_alone, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(subscriptions_become_canonical_targets,
                                    setup, teardown),
    cmocka_unit_test_setup_teardown(bad_stream_requests_are_refused, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(too_many_subscriptions_are_refused, setup,
                                    teardown),
    cmocka_unit_test(the_table_is_a_map),
};

RUN_TESTS(tests)
