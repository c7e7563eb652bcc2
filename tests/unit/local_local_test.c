/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/local.h"

#include <stdio.h>

#include "local/record.h"
#include "test.h"

#define S(literal)                                                             \
    {                                                                          \
        literal, sizeof(literal) - 1                                           \
    }

struct world {
    struct pin_domain pins;
    struct local *l;
    struct errtext t;
};

static void setup(struct world *w)
{
    *w = (struct world){0};
    pin_init(&w->pins);
    w->l = local_new(&w->pins);
}

static void teardown(struct world *w)
{
    local_free(w->l);
    pin_fini(&w->pins);
}

/* --- What the feed would bring ------------------------------------------- */

static enum err put(struct world *w, enum local_key_kind kind, const char *id,
                    struct buf *value)
{
    struct buf key = {0};
    local_key(&key, kind, bytes_str(id));
    enum err e = local_put(w->l, buf_bytes(&key), buf_bytes(value), &w->t);
    buf_fini(&key);
    buf_fini(value);
    return e;
}

static void put_service(struct world *w, const char *id, const char *name)
{
    struct buf b = {0};
    struct service_view v = {.id = bytes_str(id),
                             .name = bytes_str(name),
                             .weight_passing = 1,
                             .weight_warning = 1};
    local_service_put(&b, &v, bytes_str("token"));
    assert_ok(put(w, LOCAL_KEY_SERVICE, id, &b));
}

static struct check_def ttl_check(const char *id, const char *service)
{
    return (struct check_def){.id = bytes_str(id),
                              .name = bytes_str(id),
                              .service_id = bytes_str(service),
                              .ttl_ns = 1000000000,
                              .failures_before_warning = -1};
}

static void put_check(struct world *w, const struct check_def *d)
{
    struct buf b = {0};
    char id[64];
    (void)snprintf(id, sizeof id, "%.*s", BYTES_ARG(d->id));
    check_def_put(&b, d);
    assert_ok(put(w, LOCAL_KEY_CHECK, id, &b));
}

static void put_state(struct world *w, const char *id, enum status status,
                      const char *output)
{
    struct buf b = {0};
    struct local_state s = {.status = status, .output = bytes_str(output)};
    local_state_put(&b, &s);
    assert_ok(put(w, LOCAL_KEY_STATE, id, &b));
}

static void del(struct world *w, enum local_key_kind kind, const char *id)
{
    struct buf key = {0};
    local_key(&key, kind, bytes_str(id));
    local_delete(w->l, buf_bytes(&key));
    buf_fini(&key);
}

static const struct local_check *check(struct world *w, const char *id)
{
    return local_check(local_current(w->l), bytes_str(id));
}

static const struct local_service *service(struct world *w, const char *id)
{
    return local_service(local_current(w->l), bytes_str(id));
}

static bool changed(struct world *w, enum watch_kind kind, const char *name)
{
    uint64_t h = watch_hash((struct watch_key){kind, bytes_str(name)});
    const struct watch_set *s = local_changes(w->l);
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i] == h)
            return true;
    return false;
}

/* --- Tests --------------------------------------------------------------- */

static void nothing_is_seen_before_the_commit(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    put_service(&w, "web", "web");
    assert_null(service(&w, "web"));
    assert_true(local_commit(w.l));
    assert_non_null(service(&w, "WEB"));
    assert_bytes(service(&w, "web")->token, "token");
    assert_false(local_commit(w.l));
    uint64_t version = local_version(local_current(w.l));
    del(&w, LOCAL_KEY_SERVICE, "web");
    assert_true(local_commit(w.l));
    assert_null(service(&w, "web"));
    assert_true(local_version(local_current(w.l)) > version);
    teardown(&w);
}

static void changes_name_what_was_touched(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    put_service(&w, "web", "web");
    local_commit(w.l);
    assert_true(changed(&w, WATCH_LOCAL_SERVICE, "Web"));
    assert_true(changed(&w, WATCH_LOCAL, ""));
    struct check_def d = ttl_check("c", "web");
    put_check(&w, &d);
    local_commit(w.l);
    assert_false(changed(&w, WATCH_LOCAL_SERVICE, "web"));
    assert_true(changed(&w, WATCH_LOCAL, ""));
    teardown(&w);
}

static void a_reader_keeps_what_it_pinned(void **state)
{
    (void)state;
    struct world w;
    int slot;
    setup(&w);
    put_service(&w, "web", "one");
    local_commit(w.l);
    assert_ok(pin_slot(&w.pins, &slot));
    pin_enter(&w.pins, slot);
    const struct local_snapshot *old = local_current(w.l);
    for (int i = 0; i < 100; i++) {
        put_service(&w, "web", "two");
        put_service(&w, "web-b", "two");
        /* Somebody else publishes in the same domain in between. */
        pin_publish(&w.pins);
        assert_bytes(service(&w, "web")->view.name, i ? "two" : "one");
        local_commit(w.l);
    }
    assert_bytes(local_service(old, bytes_str("web"))->view.name, "one");
    pin_leave(&w.pins, slot);
    teardown(&w);
}

static void a_new_check_has_its_initial_status(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def d = ttl_check("a", "");
    put_check(&w, &d);
    d = ttl_check("b", "");
    d.status = bytes_str("passing");
    put_check(&w, &d);
    local_commit(w.l);
    assert_int_equal(check(&w, "a")->status, STATUS_CRITICAL);
    assert_int_equal(check(&w, "b")->status, STATUS_PASSING);
    assert_int_equal(check(&w, "a")->type, CHECK_TTL);
    teardown(&w);
}

static void a_check_put_again_keeps_its_state(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def d = ttl_check("a", "");
    put_check(&w, &d);
    assert_ok(local_set_state(w.l, bytes_str("A"), STATUS_WARNING,
                              bytes_str("hm"),
                              &(struct check_marks){.penalty = 7}));
    d.status = bytes_str("passing");
    d.notes = bytes_str("new");
    put_check(&w, &d);
    /* What is stored late is older than what is live. */
    local_commit(w.l);
    put_state(&w, "a", STATUS_CRITICAL, "old");
    local_commit(w.l);
    assert_int_equal(check(&w, "a")->status, STATUS_WARNING);
    assert_bytes(check(&w, "a")->output, "hm");
    assert_bytes(check(&w, "a")->def.notes, "new");
    assert_int_equal(check(&w, "a")->marks.penalty, 7);
    assert_int_equal(local_set_state(w.l, bytes_str("nope"), STATUS_PASSING,
                                     (struct bytes){0}, NULL),
                     ERR_NOT_FOUND);
    teardown(&w);
}

static void a_load_brings_states_in_any_order(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def a = ttl_check("a", ""), b = ttl_check("b", "");
    local_load_begin(w.l);
    put_state(&w, "a", STATUS_PASSING, "before");
    put_check(&w, &a);
    put_check(&w, &b);
    put_state(&w, "b", STATUS_WARNING, "after");
    local_commit(w.l);
    assert_true(local_changes(w.l)->all);
    assert_int_equal(check(&w, "a")->status, STATUS_PASSING);
    assert_bytes(check(&w, "a")->output, "before");
    assert_int_equal(check(&w, "b")->status, STATUS_WARNING);
    assert_bytes(check(&w, "b")->output, "after");
    teardown(&w);
}

static void
a_second_load_forgets_what_is_gone_but_not_what_is_live(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def a = ttl_check("a", ""), c = ttl_check("c", "");
    put_check(&w, &a);
    put_service(&w, "web", "web");
    assert_ok(local_put_config_check(w.l, &c));
    assert_ok(local_set_state(w.l, bytes_str("a"), STATUS_PASSING,
                              bytes_str("live"), NULL));
    local_commit(w.l);
    local_load_begin(w.l);
    put_state(&w, "a", STATUS_CRITICAL, "stored");
    put_check(&w, &a);
    local_commit(w.l);
    assert_null(service(&w, "web"));
    assert_non_null(check(&w, "c"));
    assert_int_equal(check(&w, "a")->status, STATUS_PASSING);
    assert_bytes(check(&w, "a")->output, "live");
    teardown(&w);
}

static void configuration_replaces_and_stays(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct service_view v = {.id = bytes_str("web"), .name = bytes_str("conf")};
    put_service(&w, "web", "api");
    assert_ok(local_put_config_service(w.l, &v));
    /* The delete of the stored one comes late. */
    del(&w, LOCAL_KEY_SERVICE, "web");
    local_commit(w.l);
    assert_bytes(service(&w, "web")->view.name, "conf");
    assert_true(service(&w, "web")->from_config);
    local_drop_config_service(w.l, bytes_str("web"));
    local_commit(w.l);
    assert_null(service(&w, "web"));
    put_service(&w, "web", "api");
    local_drop_config_service(w.l, bytes_str("web"));
    local_commit(w.l);
    assert_non_null(service(&w, "web"));
    teardown(&w);
}

static void a_configured_check_finds_its_stored_state(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def d = ttl_check("c", "");
    local_load_begin(w.l);
    put_state(&w, "c", STATUS_PASSING, "kept");
    local_commit(w.l);
    assert_ok(local_put_config_check(w.l, &d));
    local_commit(w.l);
    assert_int_equal(check(&w, "c")->status, STATUS_PASSING);
    local_drop_config_check(w.l, bytes_str("c"));
    local_commit(w.l);
    assert_null(check(&w, "c"));
    teardown(&w);
}

static void checks_are_found_by_their_service(void **state)
{
    (void)state;
    struct world w;
    struct tree_iter it;
    setup(&w);
    struct check_def d[] = {ttl_check("3", "web"), ttl_check("1", "Web"),
                            ttl_check("2", "db"), ttl_check("4", "")};
    for (size_t i = 0; i < 4; i++)
        put_check(&w, &d[i]);
    local_commit(w.l);
    struct bytes web = bytes_str("WEB");
    local_checks_of(local_current(w.l), web, &it);
    assert_bytes(local_next_check_of(&it, web)->def.id, "1");
    assert_bytes(local_next_check_of(&it, web)->def.id, "3");
    assert_null(local_next_check_of(&it, web));
    /* It moves to another service. */
    d[0].service_id = bytes_str("db");
    put_check(&w, &d[0]);
    del(&w, LOCAL_KEY_CHECK, "1");
    local_commit(w.l);
    local_checks_of(local_current(w.l), web, &it);
    assert_null(local_next_check_of(&it, web));
    local_checks_of(local_current(w.l), bytes_str("db"), &it);
    assert_bytes(local_next_check_of(&it, bytes_str("db"))->def.id, "2");
    assert_bytes(local_next_check_of(&it, bytes_str("db"))->def.id, "3");
    local_checks(local_current(w.l), &it);
    for (int i = 2; i <= 4; i++)
        assert_non_null(local_next_check(&it));
    assert_null(local_next_check(&it));
    teardown(&w);
}

static void a_check_keeps_its_arguments_and_headers(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[] = {S("curl"), S("--user=me:x")};
    struct check_header headers[] = {{S("Authorization"), S("x")}};
    setup(&w);
    struct check_def d = {.id = bytes_str("c"),
                          .http = bytes_str("http://h/"),
                          .headers = headers,
                          .header_count = 1,
                          .body = bytes_str("x"),
                          .args = args,
                          .arg_count = 2,
                          .interval_ns = 1000000000,
                          .failures_before_warning = -1};
    put_check(&w, &d);
    local_commit(w.l);
    const struct local_check *k = check(&w, "c");
    assert_bytes(k->def.args[1], "--user=me:x");
    assert_bytes(k->def.headers[0].name, "Authorization");
    teardown(&w);
}

static void maintenance_checks_have_their_type(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    struct check_def d = {.id = bytes_str("_service_maintenance:web"),
                          .status = bytes_str("critical"),
                          .failures_before_warning = -1};
    put_check(&w, &d);
    d.id = bytes_str(LOCAL_NODE_MAINTENANCE);
    put_check(&w, &d);
    d.id = bytes_str("_node_maintenance2");
    put_check(&w, &d);
    local_commit(w.l);
    assert_int_equal(check(&w, "_service_maintenance:web")->type,
                     CHECK_MAINTENANCE);
    assert_int_equal(check(&w, "_node_maintenance")->type, CHECK_MAINTENANCE);
    assert_int_equal(check(&w, "_node_maintenance2")->type, CHECK_NONE);
    teardown(&w);
}

static void damaged_entries_are_left_out_by_name(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    assert_int_equal(local_put(w.l, bytes_str("x/y"), bytes_str(""), &w.t),
                     ERR_BAD);
    assert_string_equal(
        w.t.s, "key \"x/y\" of the agent's store: malformed or not allowed");
    assert_int_equal(local_put(w.l, bytes_str("s/y"), bytes_str("z"), &w.t),
                     ERR_CORRUPT);
    assert_string_equal(w.t.s,
                        "key \"s/y\" of the agent's store: damaged data");
    assert_int_equal(local_put(w.l, bytes_str("c/y"), bytes_str("z"), &w.t),
                     ERR_CORRUPT);
    assert_int_equal(local_put(w.l, bytes_str("t/y"), bytes_str("z"), &w.t),
                     ERR_CORRUPT);
    local_delete(w.l, bytes_str("nothing"));
    local_delete(w.l, bytes_str("c/nothing"));
    local_commit(w.l);
    teardown(&w);
}

/* --- ContentHash --------------------------------------------------------- */

static uint64_t hash_of(const struct service_view *v)
{
    struct world w;
    setup(&w);
    assert_ok(local_put_config_service(w.l, v));
    local_commit(w.l);
    uint64_t h = local_service(local_current(w.l), v->id)->hash;
    teardown(&w);
    return h;
}

static void the_content_hash_is_that_of_consul_1_8_7(void **state)
{
    (void)state;
    struct buf tags = {0}, tagged = {0};
    packed_put(&tags, bytes_str("bar"));
    packed_put(&tags, bytes_str("baz"));
    struct service_view foo = {.id = bytes_str("foo"),
                               .name = bytes_str("foo"),
                               .tags = {buf_bytes(&tags), 2},
                               .port = 8000,
                               .weight_passing = 1,
                               .weight_warning = 1};
    assert_true(hash_of(&foo) == UINT64_C(0x6b13684bfe179e67));

    /* Seen from a 1.8.7 agent. */
    packed_put_tagged(&tagged, bytes_str("lan_ipv4"), bytes_str("10.0.0.1"),
                      80);
    packed_put_tagged(&tagged, bytes_str("wan_ipv4"), bytes_str("10.0.0.1"),
                      80);
    struct service_view web = {.id = bytes_str("web"),
                               .name = bytes_str("web"),
                               .port = 80,
                               .address = bytes_str("10.0.0.1"),
                               .tagged = {buf_bytes(&tagged), 2},
                               .weight_passing = 1,
                               .weight_warning = 1};
    assert_true(hash_of(&web) == UINT64_C(0xbb4d972c282d70b2));
    buf_fini(&tags);
    buf_fini(&tagged);
}

static void the_content_hash_follows_every_field(void **state)
{
    (void)state;
    struct buf list = {0}, map = {0};
    packed_put(&list, bytes_str("a"));
    packed_put_pair(&map, bytes_str("k"), bytes_str("v"));
    const struct service_view base = {.id = bytes_str("i"),
                                      .name = bytes_str("n")};
    struct service_view v[11];
    for (size_t i = 0; i < 11; i++)
        v[i] = base;
    v[1].kind = bytes_str("k");
    v[2].tags = (struct packed){buf_bytes(&list), 1};
    v[3].meta = (struct packed){buf_bytes(&map), 1};
    v[4].port = 1;
    v[5].address = bytes_str("a");
    v[6].weight_passing = 1;
    v[7].enable_tag_override = true;
    v[8].proxy = bytes_str("{}");
    v[9].connect = bytes_str("{}");
    v[10].extra = bytes_str("\"SocketPath\":\"x\"");
    for (size_t i = 0; i < 11; i++)
        for (size_t k = 0; k < i; k++)
            assert_true(hash_of(&v[i]) != hash_of(&v[k]));
    buf_fini(&list);
    buf_fini(&map);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(nothing_is_seen_before_the_commit),
    cmocka_unit_test(changes_name_what_was_touched),
    cmocka_unit_test(a_reader_keeps_what_it_pinned),
    cmocka_unit_test(a_new_check_has_its_initial_status),
    cmocka_unit_test(a_check_put_again_keeps_its_state),
    cmocka_unit_test(a_load_brings_states_in_any_order),
    cmocka_unit_test(a_second_load_forgets_what_is_gone_but_not_what_is_live),
    cmocka_unit_test(configuration_replaces_and_stays),
    cmocka_unit_test(a_configured_check_finds_its_stored_state),
    cmocka_unit_test(checks_are_found_by_their_service),
    cmocka_unit_test(a_check_keeps_its_arguments_and_headers),
    cmocka_unit_test(maintenance_checks_have_their_type),
    cmocka_unit_test(damaged_entries_are_left_out_by_name),
    cmocka_unit_test(the_content_hash_is_that_of_consul_1_8_7),
    cmocka_unit_test(the_content_hash_follows_every_field),
};

RUN_TESTS(tests)
