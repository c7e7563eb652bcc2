/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "catalog/record.h"

#define B(literal)                                                             \
    {                                                                          \
        literal, sizeof(literal) - 1                                           \
    }

/* --- Packed data --------------------------------------------------------- */

static void packed_lists_are_walked_in_order(void **state)
{
    (void)state;
    struct buf b = {0};
    char long_item[300];
    struct bytes rest, item;

    memset(long_item, 'x', sizeof long_item);
    packed_put(&b, bytes_str("one"));
    packed_put(&b, bytes_str(""));
    packed_put(&b, bytes_of(long_item, sizeof long_item));
    rest = buf_bytes(&b);
    assert_true(packed_next(&rest, &item));
    assert_bytes(item, "one");
    assert_true(packed_next(&rest, &item));
    assert_int_equal(item.n, 0);
    assert_true(packed_next(&rest, &item));
    assert_int_equal(item.n, sizeof long_item);
    assert_false(packed_next(&rest, &item));

    struct packed p = {buf_bytes(&b), 3};
    assert_true(packed_has(p, bytes_str("one")));
    assert_false(packed_has(p, bytes_str("ONE")));
    assert_true(packed_has_fold(p, bytes_str("ONE")));
    assert_false(packed_has_fold(p, bytes_str("two")));
    assert_true(packed_eq(p, p));
    assert_false(packed_eq(p, (struct packed){p.data, 2}));
    buf_fini(&b);
}

static void packed_data_cut_anywhere_ends_the_walk(void **state)
{
    (void)state;
    struct buf b = {0};
    char long_item[200] = {0};

    packed_put(&b, bytes_of(long_item, sizeof long_item));
    for (size_t n = 0; n < b.n; n++) {
        struct bytes rest = bytes_of(b.p, n), item;
        assert_false(packed_next(&rest, &item));
        assert_int_equal(rest.n, n);
    }
    buf_reset(&b);
    packed_put_pair(&b, bytes_str("k"), bytes_str("v"));
    for (size_t n = 0; n < b.n; n++) {
        struct bytes rest = bytes_of(b.p, n), k, v;
        assert_false(packed_next_pair(&rest, &k, &v));
        assert_int_equal(rest.n, n);
    }
    buf_fini(&b);
}

static void an_empty_value_is_found_and_differs_from_none(void **state)
{
    (void)state;
    struct buf b = {0};

    packed_put_pair(&b, bytes_str("a"), bytes_str(""));
    packed_put_pair(&b, bytes_str("b"), bytes_str("2"));
    struct packed p = {buf_bytes(&b), 2};
    assert_non_null(packed_find(p, bytes_str("a")).p);
    assert_int_equal(packed_find(p, bytes_str("a")).n, 0);
    assert_bytes(packed_find(p, bytes_str("b")), "2");
    assert_null(packed_find(p, bytes_str("c")).p);
    assert_null(packed_find((struct packed){0}, bytes_str("c")).p);
    buf_fini(&b);
}

static void tagged_addresses_keep_their_port(void **state)
{
    (void)state;
    struct buf b = {0};
    struct bytes address;
    int64_t port;

    packed_put_tagged(&b, bytes_str("wan"), bytes_str("1.2.3.4"), 8080);
    packed_put_tagged(&b, bytes_str("x"), bytes_str(""), -1);
    struct packed p = {buf_bytes(&b), 2};
    assert_true(
        tagged_address(packed_find(p, bytes_str("wan")), &address, &port));
    assert_bytes(address, "1.2.3.4");
    assert_int_equal(port, 8080);
    assert_true(
        tagged_address(packed_find(p, bytes_str("x")), &address, &port));
    assert_int_equal(address.n, 0);
    assert_int_equal(port, -1);
    assert_false(tagged_address(bytes_str("1234567"), &address, &port));
    buf_fini(&b);
}

/* --- Values -------------------------------------------------------------- */

struct packs {
    struct buf tags, meta, tagged;
};

static void packs_fill(struct packs *p)
{
    *p = (struct packs){0};
    packed_put(&p->tags, bytes_str("v1"));
    packed_put(&p->tags, bytes_str("primary"));
    packed_put_pair(&p->meta, bytes_str("a"), bytes_str("1"));
    packed_put_tagged(&p->tagged, bytes_str("wan"), bytes_str("9.9.9.9"), 80);
}

static void packs_free(struct packs *p)
{
    buf_fini(&p->tags);
    buf_fini(&p->meta);
    buf_fini(&p->tagged);
}

static struct service_view full_service(const struct packs *p)
{
    return (struct service_view){
        .id = bytes_str("web-1"),
        .name = bytes_str("web"),
        .kind = bytes_str("connect-proxy"),
        .tags = {buf_bytes(&p->tags), 2},
        .address = bytes_str("10.0.0.1"),
        .tagged = {buf_bytes(&p->tagged), 1},
        .meta = {buf_bytes(&p->meta), 1},
        .meta_set = true,
        .port = -5,
        .weight_passing = 10,
        .weight_warning = INT64_MIN,
        .enable_tag_override = true,
        .proxy = bytes_str("{}"),
        .connect = bytes_str("{\"Native\":true}"),
        .extra = bytes_str("\"SocketPath\":\"/x\""),
    };
}

static void assert_same_service(const struct service_view *a,
                                const struct service_view *b)
{
    assert_true(bytes_eq(a->id, b->id));
    assert_true(bytes_eq(a->name, b->name));
    assert_true(bytes_eq(a->kind, b->kind));
    assert_true(packed_eq(a->tags, b->tags));
    assert_true(bytes_eq(a->address, b->address));
    assert_true(packed_eq(a->tagged, b->tagged));
    assert_true(packed_eq(a->meta, b->meta));
    assert_int_equal(a->meta_set, b->meta_set);
    assert_int_equal(a->port, b->port);
    assert_int_equal(a->weight_passing, b->weight_passing);
    assert_int_equal(a->weight_warning, b->weight_warning);
    assert_int_equal(a->enable_tag_override, b->enable_tag_override);
    assert_true(bytes_eq(a->proxy, b->proxy));
    assert_true(bytes_eq(a->connect, b->connect));
    assert_true(bytes_eq(a->extra, b->extra));
}

static void a_service_reads_as_it_was_written(void **state)
{
    (void)state;
    struct packs packs;
    struct buf b = {0};
    struct service_view got = {.create_rev = 3, .node = bytes_str("keep")};

    packs_fill(&packs);
    struct service_view v = full_service(&packs);
    record_put_service(&b, &v);
    assert_ok(record_get_service(buf_bytes(&b), &got));
    assert_same_service(&got, &v);
    assert_int_equal(got.create_rev, 3);
    assert_bytes(got.node, "keep");

    buf_reset(&b);
    v = (struct service_view){.id = bytes_str("s"),
                              .name = bytes_str("s"),
                              .weight_passing = 1,
                              .weight_warning = 1};
    record_put_service(&b, &v);
    assert_int_equal(b.n, 4); /* format, ID, no flags: small things are small */
    assert_ok(record_get_service(buf_bytes(&b), &got));
    assert_same_service(&got, &v);
    buf_fini(&b);
    packs_free(&packs);
}

static void a_node_reads_as_it_was_written(void **state)
{
    (void)state;
    struct packs packs;
    struct buf b = {0};
    struct node_view got;

    packs_fill(&packs);
    for (unsigned set = 0; set < 16; set++) {
        struct node_view v = {.name = bytes_str("Node-1")};
        v.tagged_set = set & 1;
        v.meta_set = set & 2;
        if (set & 4)
            v.meta = (struct packed){buf_bytes(&packs.meta), 1};
        if (set & 8) {
            v.tagged = (struct packed){buf_bytes(&packs.meta), 1};
            v.id = bytes_str("00000000-0000-0000-0000-000000000001");
            v.address = bytes_str("10.0.0.1");
        }
        buf_reset(&b);
        record_put_node(&b, &v);
        assert_ok(record_get_node(buf_bytes(&b), &got));
        assert_bytes(got.name, "Node-1");
        assert_true(bytes_eq(got.id, v.id));
        assert_true(bytes_eq(got.address, v.address));
        assert_int_equal(got.tagged_set, v.tagged_set);
        assert_int_equal(got.meta_set, v.meta_set);
        assert_true(packed_eq(got.meta, v.meta));
        assert_true(packed_eq(got.tagged, v.tagged));
    }
    buf_fini(&b);
    packs_free(&packs);
}

static void a_check_reads_as_it_was_written(void **state)
{
    (void)state;
    static const char *const states[] = {"passing", "warning", "critical",
                                         "weird", ""};
    struct buf b = {0};
    struct check_view got;

    for (size_t i = 0; i < 10; i++) {
        bool full = i >= 5;
        struct check_view v = {
            .id = bytes_str("c"),
            .name = bytes_str(full ? "a name" : "c"),
            .status = bytes_str(states[i % 5]),
            .notes = bytes_str(full ? "notes" : ""),
            .output = bytes_str(full ? "output" : ""),
            .service_id = bytes_str(full ? "web" : ""),
            .type = bytes_str(full ? "http" : ""),
            .definition = bytes_str(full ? "{\"HTTP\":\"x\"}" : ""),
        };
        buf_reset(&b);
        record_put_check(&b, &v);
        assert_ok(record_get_check(buf_bytes(&b), &got));
        assert_true(bytes_eq(got.id, v.id));
        assert_true(bytes_eq(got.name, v.name));
        assert_bytes(got.status, states[i % 5]);
        assert_true(bytes_eq(got.notes, v.notes));
        assert_true(bytes_eq(got.output, v.output));
        assert_true(bytes_eq(got.service_id, v.service_id));
        assert_true(bytes_eq(got.type, v.type));
        assert_true(bytes_eq(got.definition, v.definition));
    }
    buf_fini(&b);
}

static void marks_are_stored_only_where_there_are_any(void **state)
{
    (void)state;
    static const struct check_marks all[] = {
        {.cause = CAUSE_SILENCE, .held = true, .held_ms = 5},
        {.damped = true, .penalty = 2600, .damped_until_ms = UINT64_MAX},
        {.cause = CAUSE_TIMEOUT, .since_ms = 1},
    };
    struct check_view v = {.id = bytes_str("c"),
                           .name = bytes_str("c"),
                           .status = bytes_str("critical")};
    struct check_view got = {.marks = {.held = true}};
    struct buf b = {0};

    record_put_check(&b, &v);
    assert_int_equal(b.n, 4);
    assert_ok(record_get_check(buf_bytes(&b), &got));
    assert_false(marks_any(&got.marks));
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        v.marks = all[i];
        buf_reset(&b);
        record_put_check(&b, &v);
        assert_ok(record_get_check(buf_bytes(&b), &got));
        assert_true(marks_alike(&got.marks, &all[i]));
        assert_int_equal(got.marks.penalty, all[i].penalty);
        assert_int_equal(got.marks.since_ms, all[i].since_ms);
        assert_int_equal(got.marks.held_ms, all[i].held_ms);
        assert_int_equal(got.marks.damped_until_ms, all[i].damped_until_ms);
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(record_get_check(bytes_of(b.p, n), &got),
                             ERR_CORRUPT);
    }
    buf_fini(&b);
}

static void a_guard_reads_as_it_was_written(void **state)
{
    (void)state;
    struct buf list = {0}, b = {0};
    struct guard_view got, v = {.name = bytes_str("web"),
                                .base = 10,
                                .left = 3,
                                .reg_base = UINT32_MAX,
                                .reg_left = 1};
    struct bytes rest, key, value;
    uint64_t since_ms;

    packed_put_out(&list, bytes_str("n1/web"), UINT64_MAX);
    for (int with_out = 0; with_out < 2; with_out++) {
        v.out = with_out ? (struct packed){buf_bytes(&list), 1}
                         : (struct packed){0};
        buf_reset(&b);
        record_put_guard(&b, &v);
        assert_ok(record_get_guard(buf_bytes(&b), &got));
        assert_bytes(got.name, "web");
        assert_int_equal(got.base, 10);
        assert_int_equal(got.left, 3);
        assert_int_equal(got.reg_base, UINT32_MAX);
        assert_int_equal(got.reg_left, 1);
        assert_true(packed_eq(got.out, v.out));
        for (size_t n = 0; n < b.n; n++)
            assert_int_equal(record_get_guard(bytes_of(b.p, n), &got),
                             ERR_CORRUPT);
    }
    assert_ok(record_get_guard(buf_bytes(&b), &got));
    rest = got.out.data;
    assert_true(packed_next_pair(&rest, &key, &value));
    assert_bytes(key, "n1/web");
    assert_true(guard_out_since(value, &since_ms));
    assert_true(since_ms == UINT64_MAX);
    assert_false(guard_out_since(bytes_head(value, 7), &since_ms));
    buf_fini(&list);
    buf_fini(&b);
}

static void every_truncation_and_every_longer_value_is_refused(void **state)
{
    (void)state;
    struct packs packs;
    struct buf b = {0};
    struct service_view got;

    packs_fill(&packs);
    struct service_view v = full_service(&packs);
    record_put_service(&b, &v);
    for (size_t n = 0; n < b.n; n++)
        assert_int_equal(record_get_service(bytes_of(b.p, n), &got),
                         ERR_CORRUPT);
    buf_putc(&b, 0);
    assert_int_equal(record_get_service(buf_bytes(&b), &got), ERR_CORRUPT);
    buf_fini(&b);
    packs_free(&packs);
}

/* Each view has exactly one stored form. */
static void second_forms_of_the_same_thing_are_refused(void **state)
{
    (void)state;
    static const struct bytes services[] = {
        B("\x31\1s\0"),               /* a check's format byte */
        B("\x21\0\0"),                /* no ID */
        B("\x21\1s\x80\0"),           /* flags longer than they need be */
        B("\x21\1s\x80\x40"),         /* an unknown flag */
        B("\x21\1s\1\1s"),            /* a name equal to the ID */
        B("\x21\1s\1\0"),             /* no name */
        B("\x21\1s\4\0"),             /* an empty address */
        B("\x21\1s\x20\0"),           /* port 0 */
        B("\x21\1s\x40\2\2"),         /* weights 1 and 1 */
        B("\x21\1s\2\0\1\0"),         /* no tags, in two bytes */
        B("\x21\1s\2\2\2\1t"),        /* one tag, said to be two */
        B("\x21\1s\x08\1\2\1k"),      /* a meta key without value */
        B("\x21\1s\x80\4\1\4\1t\1p"), /* a tagged address without port */
    };
    static const struct bytes checks[] = {
        B("\x31\1c\0\7passing"),        /* a status that has a number */
        B("\x31\1c\5\1c"),              /* a name equal to the ID */
        B("\x31\1c\x83\2\0\0\0\0\0"),   /* no marks, said to be some */
        B("\x31\1c\x83\2\3\0\0\0\0"),   /* an unknown cause */
        B("\x31\1c\x83\2\x10\0\0\0\0"), /* an unknown mark */
    };
    static const struct bytes guards[] = {
        B("\x41\3web\2\0\0\0\0"),                   /* an unknown flag */
        B("\x41\0\0\0\0\0\0"),                      /* no name */
        B("\x41\3web\1\0\0\0\0\0\0"),               /* nobody is out */
        B("\x41\3web\0\x80\x80\x80\x80\x10\0\0\0"), /* base 2^32 */
    };
    struct service_view s;
    struct check_view c;
    struct guard_view g;
    struct node_view n;

    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
        assert_int_equal(record_get_service(services[i], &s), ERR_CORRUPT);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        assert_int_equal(record_get_check(checks[i], &c), ERR_CORRUPT);
    assert_int_equal(record_get_node((struct bytes)B("\x11\1n\x40"), &n),
                     ERR_CORRUPT);
    assert_ok(record_get_service((struct bytes)B("\x21\1s\0"), &s));
    assert_ok(record_get_check((struct bytes)B("\x31\1c\1"), &c));
    assert_ok(record_get_node((struct bytes)B("\x11\1n\0"), &n));
    for (size_t i = 0; i < sizeof guards / sizeof guards[0]; i++)
        assert_int_equal(record_get_guard(guards[i], &g), ERR_CORRUPT);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(packed_lists_are_walked_in_order),
    cmocka_unit_test(packed_data_cut_anywhere_ends_the_walk),
    cmocka_unit_test(an_empty_value_is_found_and_differs_from_none),
    cmocka_unit_test(tagged_addresses_keep_their_port),
    cmocka_unit_test(a_service_reads_as_it_was_written),
    cmocka_unit_test(a_node_reads_as_it_was_written),
    cmocka_unit_test(a_check_reads_as_it_was_written),
    cmocka_unit_test(marks_are_stored_only_where_there_are_any),
    cmocka_unit_test(a_guard_reads_as_it_was_written),
    cmocka_unit_test(every_truncation_and_every_longer_value_is_refused),
    cmocka_unit_test(second_forms_of_the_same_thing_are_refused),
};

RUN_TESTS(tests)
