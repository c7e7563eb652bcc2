/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "query/query.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/plan.h"
#include "test.h"

struct world {
    struct pin_domain pins;
    struct catalog *catalog;
    struct arena arena;
    uint64_t revision;
    struct errtext t;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pin_init(&w->pins);
    w->catalog = catalog_new(&w->pins);
    arena_init(&w->arena, 0);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    arena_fini(&w->arena);
    catalog_free(w->catalog);
    pin_fini(&w->pins);
    free(w);
    return 0;
}

static const struct snapshot *cat(const struct world *w)
{
    return catalog_current(w->catalog);
}

static void apply(struct world *w, const struct plan *p)
{
    w->revision++;
    for (size_t i = 0; i < p->op_count; i++)
        if (p->ops[i].kind == OP_PUT)
            assert_ok(catalog_put(w->catalog, p->ops[i].key, p->ops[i].value,
                                  w->revision, w->revision, NULL));
        else
            catalog_delete(w->catalog, p->ops[i].key, w->revision);
    catalog_commit(w->catalog, w->revision);
}

/* --- Queries ------------------------------------------------------------- */

/* 1 -> 00000000-0000-4000-8000-000000000001 */
static struct bytes id_of(struct world *w, int n)
{
    return bytes_str(
        arena_printf(&w->arena, "00000000-0000-4000-8000-%012d", n));
}

static struct query_view query(struct world *w, int n, const char *name,
                               const char *service)
{
    struct query_view v = {.id = id_of(w, n)};
    v.text[QUERY_NAME] = bytes_str(name);
    v.text[QUERY_SERVICE] = bytes_str(service);
    return v;
}

static struct query_view template(struct world *w, int n, const char *name,
                                  const char *service, const char *regexp)
{
    struct query_view v = query(w, n, name, service);
    v.text[QUERY_TEMPLATE] = bytes_str("name_prefix_match");
    v.text[QUERY_REGEXP] = bytes_str(regexp);
    return v;
}

static enum err put(struct world *w, const struct query_view *v, bool create)
{
    struct plan p;
    plan_init(&p, &w->arena);
    enum err e = plan_query(&p, cat(w), v, create, &w->t);
    if (e == ERR_OK)
        apply(w, &p);
    return e;
}

static struct packed list(struct world *w, const char *const *v)
{
    struct buf b = {0};
    struct packed ret = {0};
    for (; *v; v++, ret.n++)
        packed_put(&b, bytes_str(*v));
    ret.data = arena_copy(&w->arena, buf_bytes(&b));
    buf_fini(&b);
    return ret;
}

static struct packed pair(struct world *w, const char *key, const char *value)
{
    struct buf b = {0};
    packed_put_pair(&b, bytes_str(key), bytes_str(value));
    struct packed ret = {arena_copy(&w->arena, buf_bytes(&b)), 1};
    buf_fini(&b);
    return ret;
}

#define LIST(w, ...) list(w, (const char *const[]){__VA_ARGS__, NULL})

/* The service that a name resolves to; NULL: t tells why not. */
static const char *service_of(struct world *w, const char *name)
{
    struct query_view v;
    errtext_set(&w->t, "%s", "");
    if (query_resolve(cat(w), bytes_str(name), &w->arena, &v, &w->t) != ERR_OK)
        return NULL;
    return arena_str(&w->arena, v.text[QUERY_SERVICE]);
}

static void a_query_is_found_by_id_and_by_name_in_any_case(void **state)
{
    struct world *w = *state;
    struct query_view v = query(w, 1, "My.Query", "web");
    assert_ok(put(w, &v, true));
    assert_string_equal(service_of(w, "my.query"), "web");
    assert_string_equal(service_of(w, "00000000-0000-4000-8000-000000000001"),
                        "web");
    assert_null(service_of(w, "my.quer"));
    assert_null(service_of(w, ""));
}

static void the_longest_template_wins_and_a_plain_name_before_it(void **state)
{
    struct world *w = *state;
    struct query_view v[] = {
        template(w, 1, "", "all:${name.full}:${name.suffix}", ""),
        template(w, 2, "geo-", "geo:${name.suffix}", ""),
        template(w, 3, "GEO-db", "db:${name.prefix}|${name.suffix}", ""),
        query(w, 4, "geo-db-x", "plain"),
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        assert_ok(query_check(&v[i], &w->arena, &w->t));
        assert_ok(put(w, &v[i], true));
    }
    assert_string_equal(service_of(w, "other"), "all:other:other");
    assert_string_equal(service_of(w, "geo-web"), "geo:web");
    assert_string_equal(service_of(w, "geo-db"), "db:GEO-db|");
    assert_string_equal(service_of(w, "Geo-DB1"), "db:GEO-db|1");
    assert_string_equal(service_of(w, "geo-db-x"), "plain");
    assert_string_equal(service_of(w, "geo-db-xy"), "db:GEO-db|-xy");
    assert_null(service_of(w, "00000000-0000-4000-8000-000000000002"));
    assert_non_null(strstr(w->t.s, "only be resolved up by name"));
}

static void names_are_nobody_elses(void **state)
{
    struct world *w = *state;
    struct query_view one = query(w, 1, "one", "web");
    struct query_view two = query(w, 2, "ONE", "web");
    struct query_view three = query(w, 3, "x", "web");
    struct query_view all = template(w, 4, "", "web", "");
    struct query_view again = template(w, 5, "", "web", "");
    assert_ok(put(w, &one, true));
    assert_int_equal(put(w, &two, true), ERR_BAD);
    assert_string_equal(w->t.s, "name 'ONE' aliases an existing query name");
    three.text[QUERY_NAME] = one.id;
    assert_int_equal(put(w, &three, true), ERR_BAD);
    assert_non_null(strstr(w->t.s, "aliases an existing query ID"));
    assert_ok(put(w, &all, true));
    assert_int_equal(put(w, &again, true), ERR_BAD);
    assert_string_equal(w->t.s,
                        "a query template with an empty name already exists");
    assert_int_equal(put(w, &again, false), ERR_NOT_FOUND);
    /* Its own name is its own, and an old one is free. */
    one.text[QUERY_NAME] = bytes_str("One");
    assert_ok(put(w, &one, false));
    one.text[QUERY_NAME] = bytes_str("other");
    assert_ok(put(w, &one, false));
    assert_ok(put(w, &two, true));
    assert_string_equal(service_of(w, "other"), "web");
    assert_int_equal(snapshot_query_count(cat(w)), 3);
}

static void an_equal_query_is_not_written_again(void **state)
{
    struct world *w = *state;
    struct query_view v = query(w, 1, "one", "web");
    struct plan p;
    assert_ok(put(w, &v, true));
    plan_init(&p, &w->arena);
    assert_ok(plan_query(&p, cat(w), &v, false, &w->t));
    assert_int_equal(p.op_count, 0);
    assert_int_equal(p.guard_count, 0);
}

static void a_deleted_query_is_gone_with_its_name(void **state)
{
    struct world *w = *state;
    struct query_view v = query(w, 1, "one", "web");
    struct plan p;
    assert_ok(put(w, &v, true));
    plan_init(&p, &w->arena);
    assert_ok(plan_query_delete(&p, cat(w), v.id, &w->t));
    assert_int_equal(p.op_count, 2);
    apply(w, &p);
    assert_null(service_of(w, "one"));
    assert_int_equal(
        snapshot_index(cat(w), (struct watch_key){WATCH_QUERIES, {0}}),
        w->revision);
    plan_init(&p, &w->arena);
    assert_int_equal(plan_query_delete(&p, cat(w), v.id, &w->t), ERR_NOT_FOUND);
    assert_ok(put(w, &v, true));
}

static void a_load_finds_what_was_put(void **state)
{
    struct world *w = *state;
    struct query_view v = template(w, 1, "geo-", "${name.suffix}", "");
    struct buf key = {0}, value = {0};
    key_query(&key, v.id);
    record_put_query(&value, &v);
    for (int i = 0; i < 2; i++) {
        catalog_load_begin(w->catalog);
        assert_ok(catalog_put(w->catalog, buf_bytes(&key), buf_bytes(&value), 1,
                              1, NULL));
        assert_ok(
            catalog_put(w->catalog, bytes_str("u/:geo-"), v.id, 1, 1, NULL));
        catalog_load_end(w->catalog, 5);
        assert_string_equal(service_of(w, "geo-db"), "db");
    }
    catalog_load_begin(w->catalog);
    catalog_load_end(w->catalog, 6);
    assert_null(service_of(w, "geo-db"));
    w->revision = 6;
    buf_fini(&key);
    buf_fini(&value);
}

/* --- Templates ----------------------------------------------------------- */

static const struct {
    const char *text, *regexp, *is;
} rendered[] = {
    {"${name.full}", "", "geo-ab-c"},
    {"${ name.full\t}", "", "geo-ab-c"},
    {"$${name.full}", "", "${name.full}"},
    {"$$${name.full}", "", "$geo-ab-c"},
    {"$$x$", "", "$x$"},
    {"x}y${agent.segment}", "", "x}y"},
    {"${\"x y\"}", "", "x y"},
    {"${match(0)}", "", ""},
    {"${match(0)}|${match(1)}|${match( 2 )}|${match(3)}|${match (9)}",
     "^geo-(.*?)-([^-]*)$", "geo-ab-c|ab|c||"},
    {"${match(\"1\")}", "(a)", "a"},
    {"${match(1)}", "(x)?geo", ""},
    {"${match(99999999999999999999)}", "(a)", ""},
    {"${match(1)}", "nothing(.*)", ""},
    {"${match(1)}", "(?i)GEO-(\\w+)", "ab"},
    {"${match(1)}", "(a|ab)(c|bcd)?", "a"},
    {"${match(1)}", "(?P<x>[[:alpha:]]+)", "geo"},
    {"${name.suffix}${name.prefix}", "", "ab-cgeo-"},
};

static void expressions_stand_for_parts_of_the_name(void **state)
{
    struct world *w = *state;
    for (size_t i = 0; i < sizeof rendered / sizeof *rendered; i++) {
        struct query_view v =
            template(w, 1, "geo-", rendered[i].text, rendered[i].regexp);
        if (query_check(&v, &w->arena, &w->t) != ERR_OK)
            fail_msg("%s: %s", rendered[i].text, w->t.s);
        assert_ok(put(w, &v, i == 0));
        const char *is = service_of(w, "geo-ab-c");
        if (!is || strcmp(is, rendered[i].is) != 0)
            fail_msg("%s of %s is %s, not %s (%s)", rendered[i].text,
                     rendered[i].regexp, is ? is : "?", rendered[i].is, w->t.s);
    }
}

static void lists_are_rendered_and_empty_tags_dropped(void **state)
{
    struct world *w = *state;
    struct query_view v = template(w, 1, "geo-", "web", "^geo-(.*?)-(.*)$");
    v.list[QUERY_TAGS] = LIST(w, "${match(1)}", "!${match(2)}", "", "x");
    v.list[QUERY_IGNORED] = LIST(w, "${name.suffix}");
    v.list[QUERY_NODE_META] = pair(w, "k", "v-${match(2)}");
    v.text[QUERY_NEAR] = bytes_str("${match(1)}");
    v.remove_empty_tags = true;
    assert_ok(query_check(&v, &w->arena, &w->t));
    assert_ok(put(w, &v, true));
    assert_ok(
        query_resolve(cat(w), bytes_str("geo-a-b"), &w->arena, &v, &w->t));
    assert_int_equal(v.list[QUERY_TAGS].n, 3);
    assert_true(packed_has(v.list[QUERY_TAGS], bytes_str("a")));
    assert_true(packed_has(v.list[QUERY_TAGS], bytes_str("!b")));
    assert_true(packed_has(v.list[QUERY_IGNORED], bytes_str("a-b")));
    assert_bytes(packed_find(v.list[QUERY_NODE_META], bytes_str("k")), "v-b");
    assert_bytes(v.text[QUERY_NEAR], "a");
}

/* What is not understood, does not end or grows is refused when it is written.
 */
static void bad_templates_are_refused(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *text, *regexp, *why;
    } bad[] = {
        {"${", "", "Bad format '${' in Service.Service"},
        {"${name.full", "", "does not end"},
        {"${match(1)", "", "does not end"},
        {"${}", "", "takes name.full"},
        {"${name.bogus}", "", "takes name.full"},
        {"${match(1}", "", "takes name.full"},
        {"${match(-1)}", "", "takes name.full"},
        {"${match(one)}", "", "takes name.full"},
        {"${1+1}", "", "takes name.full"},
        {"${\"${name.full}\"}", "", "takes name.full"},
        {"${\"a", "", "takes name.full"},
        {"x", "(", "Bad Regexp: error parsing regexp: missing closing )"},
        {"x", "(?=x)", "Bad Regexp: error parsing regexp: invalid or"},
        {"x", "\\1", "Bad Regexp"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct query_view v =
            template(w, 1, "geo-", bad[i].text, bad[i].regexp);
        assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
        if (!strstr(w->t.s, bad[i].why))
            fail_msg("%s %s: %s", bad[i].text, bad[i].regexp, w->t.s);
    }
    struct query_view v = template(w, 1, "", "x", "");
    v.text[QUERY_TEMPLATE] = bytes_str("bogus");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_string_equal(w->t.s, "failed compiling template: Bad Template.Type "
                                "'bogus'");
}

static const char *repeated(struct world *w, const char *text, int n)
{
    struct buf b = {0};
    for (int i = 0; i < n; i++)
        buf_puts(&b, text);
    const char *ret = arena_str(&w->arena, buf_bytes(&b));
    buf_fini(&b);
    return ret;
}

static void templates_that_grow_or_never_end_are_stopped(void **state)
{
    struct world *w = *state;
    /* So many expressions are taken; what they make is bounded. */
    struct query_view v =
        template(w, 1, "g", repeated(w, "${name.full}", QUERY_PARTS_MAX), "");
    assert_ok(query_check(&v, &w->arena, &w->t));
    assert_ok(put(w, &v, true));
    assert_non_null(service_of(w, "gg"));
    assert_null(service_of(w, repeated(w, "g", 200)));
    assert_non_null(strstr(w->t.s, "grows over 4096 bytes"));
    v = template(w, 1, "g", repeated(w, "${name.full}", QUERY_PARTS_MAX + 1),
                 "");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_non_null(strstr(w->t.s, "more than 64 expressions"));
    /* A regular expression that would go back and forth for ever. */
    v = template(w, 1, "g", "x", "^g(a+)+[bc]$");
    assert_ok(query_check(&v, &w->arena, &w->t));
    assert_ok(put(w, &v, false));
    assert_null(
        service_of(w, arena_printf(&w->arena, "g%s", repeated(w, "a", 60))));
    assert_non_null(strstr(w->t.s, "too many steps"));
    v = template(w, 1, "g", "x", repeated(w, "a", 513));
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_LIMIT);
    v = template(w, 1, "g", "x", repeated(w, "(a)", QUERY_GROUPS_MAX + 1));
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_LIMIT);
}

static void what_cannot_be_stored_is_named(void **state)
{
    struct world *w = *state;
    struct query_view v = query(w, 1, "", "web");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_string_equal(w->t.s,
                        "Invalid prepared query: Must be bound to a session");
    v = query(w, 1, "a", "");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    v = query(w, 1, "a", "web");
    v.nearest = -1;
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_string_equal(w->t.s, "Invalid prepared query: Bad NearestN '-1', "
                                "must be >= 0");
    v = query(w, 1, "a", "web");
    v.text[QUERY_TTL] = bytes_str("bad");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_string_equal(w->t.s, "Invalid prepared query: Bad DNS TTL 'bad': "
                                "time: invalid duration \"bad\"");
    v.text[QUERY_TTL] = bytes_str("-1s");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_BAD);
    assert_string_equal(w->t.s, "Invalid prepared query: DNS TTL "
                                "'-1000000000', must be >=0");
    v = query(w, 1, repeated(w, "x", QUERY_TEXT_BYTES_MAX + 1), "web");
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_LIMIT);
    const char *many[QUERY_ITEMS_MAX + 2] = {0};
    for (int i = 0; i <= QUERY_ITEMS_MAX; i++)
        many[i] = "t";
    v = query(w, 1, "a", "web");
    v.list[QUERY_TAGS] = list(w, many);
    assert_int_equal(query_check(&v, &w->arena, &w->t), ERR_LIMIT);
}

/* --- Instances ----------------------------------------------------------- */

struct instance {
    const char *node, *tag, *status;
    bool held;
};

static void add(struct world *w, const struct instance *in)
{
    struct service_view s = {
        .id = bytes_str("web"),
        .name = bytes_str("web"),
        .weight_passing = 1,
        .weight_warning = 1,
        .tags = LIST(w, in->tag),
        .meta = pair(w, "on", in->node),
    };
    struct buf key = {0}, value = {0};
    w->revision++;
    key_node(&key, bytes_str(in->node));
    record_put_node(&value,
                    &(struct node_view){.name = bytes_str(in->node),
                                        .meta = pair(w, "zone", in->tag)});
    assert_ok(catalog_put(w->catalog, buf_bytes(&key), buf_bytes(&value), 1,
                          w->revision, NULL));
    buf_reset(&key);
    buf_reset(&value);
    key_service(&key, bytes_str(in->node), s.id);
    record_put_service(&value, &s);
    assert_ok(catalog_put(w->catalog, buf_bytes(&key), buf_bytes(&value), 1,
                          w->revision, NULL));
    buf_reset(&key);
    buf_reset(&value);
    key_check(&key, bytes_str(in->node), bytes_str("k"));
    record_put_check(
        &value,
        &(struct check_view){
            .id = bytes_str("k"),
            .name = bytes_str("k"),
            .service_id = s.id,
            .status = bytes_str(in->status),
            .marks = {.cause = in->held ? CAUSE_SILENCE : 0, .held = in->held},
        });
    assert_ok(catalog_put(w->catalog, buf_bytes(&key), buf_bytes(&value), 1,
                          w->revision, NULL));
    catalog_commit(w->catalog, w->revision);
    buf_fini(&key);
    buf_fini(&value);
}

/* The nodes whose instances are in, as one text; held ones with a '~'. */
static const char *in_answer(struct world *w, const struct query_view *q)
{
    struct query_filter f;
    struct query_pick pick;
    struct tree_iter it;
    struct buf b = {0};
    if (query_filter_begin(&f, cat(w), q)) {
        tree_first(&f.name->instances, &it);
        for (const struct cat_instance *i; (i = tree_next(&it));) {
            struct node_view n;
            if (!query_filter_has(&f, i, &pick))
                continue;
            cat_node_view(pick.node->record, &n);
            buf_put(&b, n.name);
            if (pick.held)
                buf_putc(&b, '~');
        }
    }
    const char *ret = arena_str(&w->arena, buf_bytes(&b));
    buf_fini(&b);
    return ret;
}

static void instances_are_chosen_by_checks_tags_and_metadata(void **state)
{
    struct world *w = *state;
    static const struct instance v[] = {
        {"a", "v1", "passing"},
        {"b", "V2", "warning"},
        {"c", "v1", "critical"},
        {"d", "v2", "odd"},
    };
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        add(w, &v[i]);
    struct query_view q = query(w, 1, "q", "WEB");
    assert_string_equal(in_answer(w, &q), "abd");
    q.only_passing = true;
    assert_string_equal(in_answer(w, &q), "a");
    q.list[QUERY_IGNORED] = LIST(w, "k");
    assert_string_equal(in_answer(w, &q), "abcd");
    q = query(w, 1, "q", "web");
    q.list[QUERY_TAGS] = LIST(w, "v2");
    assert_string_equal(in_answer(w, &q), "bd");
    q.list[QUERY_TAGS] = LIST(w, "!V2");
    assert_string_equal(in_answer(w, &q), "a");
    q.list[QUERY_TAGS] = LIST(w, "v1", "!v2");
    assert_string_equal(in_answer(w, &q), "a");
    q.list[QUERY_TAGS] = LIST(w, "");
    assert_string_equal(in_answer(w, &q), "");
    q = query(w, 1, "q", "web");
    q.list[QUERY_SERVICE_META] = pair(w, "on", "d");
    assert_string_equal(in_answer(w, &q), "d");
    q.list[QUERY_NODE_META] = pair(w, "zone", "v1");
    assert_string_equal(in_answer(w, &q), "");
    q = query(w, 1, "q", "none");
    assert_string_equal(in_answer(w, &q), "");
}

/* What silence has held back is better than nothing, and worse than one that is
 * known to live. */
static void held_instances_are_the_last_resort(void **state)
{
    struct world *w = *state;
    static const struct instance held[] = {{"a", "x", "critical", true},
                                           {"b", "y", "critical", true}};
    add(w, &held[0]);
    add(w, &held[1]);
    struct query_view q = query(w, 1, "q", "web");
    q.only_passing = true;
    assert_string_equal(in_answer(w, &q), "a~b~");
    add(w, &(struct instance){"c", "x", "warning"});
    assert_string_equal(in_answer(w, &q), "a~b~");
    q.only_passing = false;
    assert_string_equal(in_answer(w, &q), "c");
    add(w, &(struct instance){"d", "x", "passing"});
    q.only_passing = true;
    assert_string_equal(in_answer(w, &q), "d");
    q.list[QUERY_TAGS] = LIST(w, "y");
    assert_string_equal(in_answer(w, &q), "b~");
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_query_is_found_by_id_and_by_name_in_any_case),
    T(the_longest_template_wins_and_a_plain_name_before_it),
    T(names_are_nobody_elses),
    T(an_equal_query_is_not_written_again),
    T(a_deleted_query_is_gone_with_its_name),
    T(a_load_finds_what_was_put),
    T(expressions_stand_for_parts_of_the_name),
    T(lists_are_rendered_and_empty_tags_dropped),
    T(bad_templates_are_refused),
    T(templates_that_grow_or_never_end_are_stopped),
    T(what_cannot_be_stored_is_named),
    T(instances_are_chosen_by_checks_tags_and_metadata),
    T(held_instances_are_the_last_resort),
};

RUN_TESTS(tests)
