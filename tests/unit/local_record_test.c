/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/record.h"

#include "test.h"

static struct buf key_of(enum local_key_kind kind, const char *id)
{
    struct buf b = {0};
    local_key(&b, kind, bytes_str(id));
    assert_false(b.bad);
    return b;
}

static void keys_are_folded_and_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *id, *key;
    } cases[] = {
        {"web", "s/web"},       {"Web-1", "s/web-1"},       {"a/b", "s/a%2fb"},
        {"a b%", "s/a%20b%25"}, {"\xc3\x84", "s/\xc3\x84"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char scratch[64];
        enum local_key_kind kind;
        struct bytes id;
        struct buf b = key_of(LOCAL_KEY_SERVICE, cases[i].id);
        assert_bytes(buf_bytes(&b), cases[i].key);
        assert_ok(local_key_parse(buf_bytes(&b), scratch, &kind, &id));
        assert_int_equal(kind, LOCAL_KEY_SERVICE);
        assert_true(bytes_eq_fold(id, bytes_str(cases[i].id)));
        buf_fini(&b);
    }
}

static void only_our_own_keys_are_keys(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "s",     "s/",     "x/a",   "sa",    "s/A",   "s/a/b",
        "s/a%2", "s/%41", "s/a%2F", "s/a b", "s/%zz", "s/a%2g"};
    char scratch[16];
    enum local_key_kind kind;
    struct bytes id;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (local_key_parse(bytes_str(bad[i]), scratch, &kind, &id) == ERR_OK)
            fail_msg("accepted: %s", bad[i]);
}

static void a_state_reads_as_it_was_written(void **state)
{
    (void)state;
    const struct local_state s = {.status = STATUS_WARNING,
                                  .output = bytes_str("hm"),
                                  .boot_id = bytes_str("b00t"),
                                  .written_ms = 1000,
                                  .beat_ms = 400,
                                  .since_ms = 1700000000000,
                                  .penalty = 2500,
                                  .suppressed = true};
    struct local_state got;
    struct buf b = {0};
    local_state_put(&b, &s);
    assert_ok(local_state_get(buf_bytes(&b), &got));
    assert_int_equal(got.status, STATUS_WARNING);
    assert_bytes(got.output, "hm");
    assert_bytes(got.boot_id, "b00t");
    assert_int_equal(got.written_ms, 1000);
    assert_int_equal(got.beat_ms, 400);
    assert_int_equal(got.since_ms, 1700000000000);
    assert_int_equal(got.penalty, 2500);
    assert_true(got.suppressed);
    assert_false(got.old);
    assert_int_equal(got.cause, CAUSE_EVIDENCE);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(local_state_get(bytes_of(b.p, n), &got), ERR_CORRUPT);
    buf_putc(&b, 'x');
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_fini(&b);
}

static void each_cause_of_a_critical_state_is_kept(void **state)
{
    (void)state;
    struct local_state s = {.status = STATUS_CRITICAL}, got;
    struct buf b = {0};
    for (int c = CAUSE_EVIDENCE; c <= CAUSE_SILENCE; c++) {
        s.cause = (enum check_cause)c;
        buf_reset(&b);
        local_state_put(&b, &s);
        assert_ok(local_state_get(buf_bytes(&b), &got));
        assert_int_equal(got.cause, c);
    }
    buf_fini(&b);
}

/* As versions before the causes wrote them. */
static void the_old_form_is_still_read(void **state)
{
    (void)state;
    struct local_state got;
    struct buf b = {0};
    buf_putc(&b, 1);
    buf_lp(&b, bytes_str("critical"));
    buf_lp(&b, bytes_str("bad"));
    buf_lp(&b, bytes_str("b00t"));
    buf_varint(&b, 1000);
    buf_varint(&b, 400);
    assert_ok(local_state_get(buf_bytes(&b), &got));
    assert_true(got.old);
    assert_int_equal(got.status, STATUS_CRITICAL);
    assert_int_equal(got.written_ms, 1000);
    assert_int_equal(got.cause, CAUSE_EVIDENCE);
    assert_int_equal(got.penalty, 0);
    buf_putc(&b, 0);
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_fini(&b);
}

static void impossible_states_are_refused(void **state)
{
    (void)state;
    struct local_state s = {.status = STATUS_MAINTENANCE}, got;
    struct buf b = {0};
    local_state_put(&b, &s);
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_reset(&b);
    s = (struct local_state){.status = STATUS_PASSING, .beat_ms = 1};
    local_state_put(&b, &s); /* a beat after it was written */
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_reset(&b);
    s = (struct local_state){.status = STATUS_PASSING, .cause = CAUSE_SILENCE};
    local_state_put(&b, &s); /* only what is critical has a cause */
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_reset(&b);
    s = (struct local_state){.status = STATUS_CRITICAL,
                             .cause = CAUSE_SILENCE + 1};
    local_state_put(&b, &s);
    assert_int_equal(local_state_get(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_fini(&b);
}

static void a_service_keeps_its_token(void **state)
{
    (void)state;
    struct service_view v = {.id = bytes_str("web-1"),
                             .name = bytes_str("web"),
                             .port = -1,
                             .weight_passing = 1,
                             .weight_warning = 1};
    struct service_view got;
    struct bytes token;
    struct buf b = {0};
    local_service_put(&b, &v, bytes_str("secret"));
    assert_ok(local_service_get(buf_bytes(&b), &got, &token));
    assert_bytes(got.id, "web-1");
    assert_bytes(got.name, "web");
    assert_int_equal(got.port, -1);
    assert_bytes(token, "secret");
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(local_service_get(bytes_of(b.p, n), &got, &token),
                         ERR_CORRUPT);
    buf_fini(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(keys_are_folded_and_escaped),
    cmocka_unit_test(only_our_own_keys_are_keys),
    cmocka_unit_test(a_state_reads_as_it_was_written),
    cmocka_unit_test(each_cause_of_a_critical_state_is_kept),
    cmocka_unit_test(the_old_form_is_still_read),
    cmocka_unit_test(impossible_states_are_refused),
    cmocka_unit_test(a_service_keeps_its_token),
};

RUN_TESTS(tests)
