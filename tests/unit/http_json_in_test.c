/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/json_in.h"

#include "base/buf.h"

#include "test.h"

struct weights {
    int64_t passing, warning;
    bool has_warning;
};

struct address {
    struct bytes address;
    int64_t port;
};

struct check {
    struct bytes name;
    int64_t interval_ns;
    struct json_headers header;
};

struct service {
    struct bytes name;
    int64_t port;
    bool override;
    bool has_override;
    struct json_strings tags;
    struct json_map meta;
    struct weights *weights;
    struct json_list checks;
    struct check *check;
    struct json_named tagged;
    struct bytes proxy;
};

#define FIELD(s, name, aliases, kind, member)                                  \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), NULL, JSON_NO_FLAG    \
    }
#define FIELD_OF(s, name, aliases, kind, member, of)                           \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), of, JSON_NO_FLAG      \
    }
#define FIELD_SET(s, name, aliases, kind, member, flag)                        \
    {                                                                          \
        name, aliases, kind, offsetof(struct s, member), NULL,                 \
            offsetof(struct s, flag)                                           \
    }
#define TABLE(s, fields)                                                       \
    {                                                                          \
        fields, sizeof fields / sizeof fields[0], sizeof(struct s)             \
    }

static const struct json_field weights_fields[] = {
    FIELD(weights, "Passing", NULL, FIELD_INT, passing),
    FIELD_SET(weights, "Warning", NULL, FIELD_INT, warning, has_warning),
};
static const struct json_table weights_table = TABLE(weights, weights_fields);

static const struct json_field address_fields[] = {
    FIELD(address, "Address", NULL, FIELD_STRING, address),
    FIELD(address, "Port", NULL, FIELD_INT, port),
};
static const struct json_table address_table = TABLE(address, address_fields);

static const struct json_field check_fields[] = {
    FIELD(check, "Name", NULL, FIELD_STRING, name),
    FIELD(check, "Interval", "IntervalDuration", FIELD_DURATION, interval_ns),
    FIELD(check, "Header", NULL, FIELD_HEADERS, header),
};
static const struct json_table check_table = TABLE(check, check_fields);

static const struct json_field service_fields[] = {
    FIELD(service, "Name", NULL, FIELD_STRING, name),
    FIELD(service, "Port", NULL, FIELD_INT, port),
    FIELD_SET(service, "EnableTagOverride", "enable_tag_override,eto",
              FIELD_BOOL, override, has_override),
    FIELD(service, "Tags", NULL, FIELD_STRINGS, tags),
    FIELD(service, "Meta", NULL, FIELD_MAP, meta),
    FIELD_OF(service, "Weights", NULL, FIELD_OBJECT, weights, &weights_table),
    FIELD_OF(service, "Checks", NULL, FIELD_LIST, checks, &check_table),
    FIELD_OF(service, "Check", NULL, FIELD_OBJECT, check, &check_table),
    FIELD_OF(service, "TaggedAddresses", "tagged_addresses", FIELD_NAMED,
             tagged, &address_table),
    FIELD(service, "Proxy", NULL, FIELD_RAW, proxy),
    {"Token", NULL, FIELD_IGNORE, 0, NULL, JSON_NO_FLAG},
};
static const struct json_table service_table = TABLE(service, service_fields);

static const char whole[] =
    " {\"Name\": \"web \\u00e9\\n\", \"port\": 8080, \"ETO\": true,\n"
    "\"Tags\": [\"a\", null, \"b\"], \"Unknown\": {\"x\": [1e999]},\n"
    "\"Meta\": {\"z\": \"1\", \"a\": \"2\", \"m\": null},\n"
    "\"Weights\": {\"Passing\": 5},\n"
    "\"Checks\": [{\"Name\": \"c1\", \"Interval\": \"1m30s\"}, {}],\n"
    "\"Check\": {\"IntervalDuration\": 10.5,\n"
    "  \"Header\": {\"X\": [\"1\", \"2\"], \"A\": null, \"B\": []}},\n"
    "\"tagged_addresses\": {\"wan\": {\"Address\": \"1.2.3.4\", \"Port\": 1},\n"
    "  \"lan\": null},\n"
    "\"Proxy\": {\"b\": [ 1.50, \"x y\" ], \"a\" : null},\n"
    "\"Token\": [true]}";

/* A decoder run with its arena. */
struct run {
    struct arena arena;
    struct service s;
    struct errtext why;
    enum err e;
};

static void decode(struct run *run, struct bytes text)
{
    *run = (struct run){0};
    arena_init(&run->arena, 0);
    run->e = json_decode(text, &service_table, &run->s, &run->arena, &run->why);
}

static void refuses_with(struct bytes text, enum err want, const char *why)
{
    struct run run;

    decode(&run, text);
    if (run.e != want || strcmp(run.why.s, why) != 0)
        fail_msg("%.*s: %s, \"%s\", want \"%s\"",
                 BYTES_ARG(bytes_head(text, 200)), err_text(run.e), run.why.s,
                 why);
    arena_fini(&run.arena);
}

static void refuses(const char *text, const char *why)
{
    refuses_with(bytes_str(text), ERR_BAD, why);
}

static void every_kind_finds_its_place(void **state)
{
    (void)state;
    struct run run;
    const struct service *s = &run.s;

    decode(&run, bytes_str(whole));
    if (run.e != ERR_OK)
        fail_msg("%s", run.why.s);
    assert_bytes(s->name, "web \xc3\xa9\n");
    assert_int_equal(s->port, 8080);
    assert_true(s->override && s->has_override);
    assert_true(s->tags.set);
    assert_int_equal(s->tags.n, 3);
    assert_bytes(s->tags.v[0], "a");
    assert_bytes(s->tags.v[1], "");
    assert_bytes(s->tags.v[2], "b");
    assert_int_equal(s->meta.n, 3);
    assert_bytes(s->meta.v[0].key, "a");
    assert_bytes(s->meta.v[0].value, "2");
    assert_bytes(s->meta.v[1].key, "m");
    assert_bytes(s->meta.v[1].value, "");
    assert_bytes(s->meta.v[2].key, "z");
    assert_int_equal(s->weights->passing, 5);
    assert_false(s->weights->has_warning);
    assert_int_equal(s->checks.n, 2);
    const struct check *checks = s->checks.v;
    assert_bytes(checks[0].name, "c1");
    assert_int_equal(checks[0].interval_ns, 90 * INT64_C(1000000000));
    assert_int_equal(checks[1].name.n, 0);
    assert_int_equal(s->check->interval_ns, 10);
    assert_int_equal(s->check->header.n, 3);
    assert_bytes(s->check->header.v[0].name, "A");
    assert_false(s->check->header.v[0].values.set);
    assert_true(s->check->header.v[1].values.set);
    assert_bytes(s->check->header.v[2].values.v[1], "2");
    assert_int_equal(s->tagged.n, 2);
    const struct address *tagged = s->tagged.v;
    assert_bytes(s->tagged.names[0], "lan");
    assert_int_equal(tagged[0].port, 0);
    assert_bytes(tagged[1].address, "1.2.3.4");
    assert_bytes(s->proxy, "{\"b\":[1.50,\"x y\"],\"a\":null}");
    arena_fini(&run.arena);
}

static void null_leaves_a_member_unset(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "null", " null ", "{}", "{} trailing garbage",
        "{\"Name\":null,\"Port\":null,\"eto\":null,\"Tags\":null,"
        "\"Meta\":null,\"Weights\":null,\"Checks\":null,\"Check\":null,"
        "\"TaggedAddresses\":null,\"Proxy\":null,\"Token\":null}"};
    static const struct service nothing;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct run run;
        decode(&run, bytes_str(texts[i]));
        assert_ok(run.e);
        assert_memory_equal(&run.s, &nothing, sizeof nothing);
        arena_fini(&run.arena);
    }
}

static void empty_is_not_null(void **state)
{
    (void)state;
    struct run run;

    decode(&run, bytes_str("{\"Tags\":[],\"Meta\":{},\"Weights\":{},"
                           "\"Checks\":[],\"TaggedAddresses\":{}}"));
    assert_ok(run.e);
    assert_true(run.s.tags.set && run.s.tags.n == 0);
    assert_true(run.s.meta.set && run.s.meta.n == 0);
    assert_true(run.s.checks.set && run.s.checks.n == 0);
    assert_true(run.s.tagged.set && run.s.tagged.n == 0);
    assert_non_null(run.s.weights);
    arena_fini(&run.arena);
}

static void syntax_errors_read_as_in_go(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "EOF"},
        {" \n\t\r ", "EOF"},
        {"{", "unexpected EOF"},
        {"{\"Na", "unexpected EOF"},
        {"{\"Name\"", "unexpected EOF"},
        {"{\"Name\":", "unexpected EOF"},
        {"{\"Name\":\"a\"", "unexpected EOF"},
        {"{\"Name\":\"a\",", "unexpected EOF"},
        {"{\"Port\":-", "unexpected EOF"},
        {"{\"Port\":1", "unexpected EOF"},
        {"{\"Name\":\"\\", "unexpected EOF"},
        {"{\"Name\":\"\\u12", "unexpected EOF"},
        {"[tru", "unexpected EOF"},
        {"{bad}",
         "invalid character 'b' looking for beginning of object key string"},
        {"{\"a\":1,}",
         "invalid character '}' looking for beginning of object key string"},
        {"{,}",
         "invalid character ',' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":}", "invalid character '}' looking for beginning of value"},
        {"{\"a\":1 \"b\":2}",
         "invalid character '\"' after object key:value pair"},
        {"{\"a\":01}", "invalid character '1' after object key:value pair"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"[1 2]", "invalid character '2' after array element"},
        {"[1}", "invalid character '}' after array element"},
        {"name", "invalid character 'a' in literal null (expecting 'u')"},
        {"[truE]", "invalid character 'E' in literal true (expecting 'e')"},
        {"[False]", "invalid character 'F' looking for beginning of value"},
        {"'a'", "invalid character '\\'' looking for beginning of value"},
        {"\\", "invalid character '\\\\' looking for beginning of value"},
        {"[-a]", "invalid character 'a' in numeric literal"},
        {"[1.]",
         "invalid character ']' after decimal point in numeric literal"},
        {"[1e+]", "invalid character ']' in exponent of numeric literal"},
        {"[.5]", "invalid character '.' looking for beginning of value"},
        {"[+5]", "invalid character '+' looking for beginning of value"},
        {"[\"\\x\"]", "invalid character 'x' in string escape code"},
        {"[\"\\u12g4\"]",
         "invalid character 'g' in \\u hexadecimal character escape"},
        {"[\"a\nb\"]", "invalid character '\\n' in string literal"},
        {"[\"\x01\"]", "invalid character '\\x01' in string literal"},
        {"\x80", "invalid character '\\u0080' looking for beginning of value"},
        {"\xe9", "invalid character '\xc3\xa9' looking for beginning of value"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].text, cases[i].why);
    refuses_with(bytes_of("\"\0\"", 3), ERR_BAD,
                 "invalid character '\\x00' in string literal");
    refuses_with(bytes_of("[\0]", 3), ERR_BAD,
                 "invalid character '\\x00' looking for beginning of value");
}

static void wrong_types_read_as_in_go(void **state)
{
    (void)state;
#define WRONG "json: cannot unmarshal "
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"Name\":1.5}", WRONG "number into Go struct field .Name of type "
                                 "string"},
        {"{\"name\":{}}", WRONG "object into Go struct field .Name of type "
                                "string"},
        {"{\"Port\":\"80\"}",
         WRONG "string into Go struct field .Port of type int"},
        {"{\"Port\":80.0}",
         WRONG "number 80.0 into Go struct field .Port of type int"},
        {"{\"Port\":8e1}",
         WRONG "number 8e1 into Go struct field .Port of type int"},
        {"{\"Port\":9223372036854775808}",
         WRONG "number 9223372036854775808 into Go struct field .Port of type "
               "int"},
        {"{\"eto\":\"true\"}", WRONG "string into Go struct field "
                                     ".EnableTagOverride of type bool"},
        {"{\"Tags\":\"a\"}",
         WRONG "string into Go struct field .Tags of type []string"},
        {"{\"Tags\":[1]}",
         WRONG "number into Go struct field .Tags of type string"},
        {"{\"Meta\":[]}",
         WRONG "array into Go struct field .Meta of type map[string]string"},
        {"{\"Meta\":{\"a\":true}}",
         WRONG "bool into Go struct field .Meta of type string"},
        {"{\"Weights\":1}",
         WRONG "number into Go struct field .Weights of type object"},
        {"{\"Weights\":{\"Passing\":[]}}",
         WRONG "array into Go struct field .Weights.Passing of type int"},
        {"{\"Checks\":{}}",
         WRONG "object into Go struct field .Checks of type []object"},
        {"{\"Checks\":[{},null]}",
         WRONG "null into Go struct field .Checks of type object"},
        {"{\"Check\":{\"Interval\":true}}",
         WRONG "bool into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Interval\":[]}}",
         WRONG "array into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Interval\":1e19}}",
         WRONG "number 1e19 into Go struct field .Check.Interval of type "
               "time.Duration"},
        {"{\"Check\":{\"Header\":{\"A\":\"b\"}}}",
         WRONG "string into Go struct field .Check.Header of type []string"},
        {"{\"TaggedAddresses\":{\"a\":\"b\"}}",
         WRONG "string into Go struct field .TaggedAddresses of type object"},
        {"{\"Proxy\":[1e999]}",
         WRONG "number 1e999 into Go struct field .Proxy of type float64"},
        {"[]", WRONG "array into Go value of type object"},
        {"1", WRONG "number into Go value of type object"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuses(cases[i].text, cases[i].why);
}

static void durations_are_texts_or_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int64_t ns;
    } cases[] = {
        {"\"300ms\"", 300000000},
        {"\"-1h\"", INT64_C(-3600000000000)},
        {"0", 0},
        {"10.5", 10},
        {"-10.5", -10},
        {"1e9", 1000000000},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"9.2e18", INT64_C(9200000000000000000)},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        struct buf b = {0};
        buf_printf(&b, "{\"Check\":{\"Interval\":%s}}", cases[i].value);
        decode(&run, buf_bytes(&b));
        assert_ok(run.e);
        assert_int_equal(run.s.check->interval_ns, cases[i].ns);
        arena_fini(&run.arena);
        buf_fini(&b);
    }
    refuses("{\"Check\":{\"Interval\":\"10\"}}",
            "time: missing unit in duration \"10\"");
    refuses("{\"Check\":{\"Interval\":\"10x\"}}",
            "time: unknown unit \"x\" in duration \"10x\"");
    refuses("{\"Check\":{\"Interval\":\"nope\"}}",
            "time: invalid duration \"nope\"");
    refuses("{\"Check\":{\"Interval\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
            "aaaaaaaaaa\"}}",
            "time: invalid duration "
            "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" in "
            ".Check.Interval");
}

static void a_member_given_twice_is_refused(void **state)
{
    (void)state;
    refuses("{\"Name\":\"a\",\"Name\":\"a\"}",
            "json: member \"Name\" is given twice");
    refuses("{\"Name\":\"a\",\"nAME\":null}",
            "json: member \"nAME\" is given twice");
    refuses("{\"Na\\u006de\":\"a\",\"name\":\"a\"}",
            "json: member \"name\" is given twice");
    refuses("{\"EnableTagOverride\":true,\"eto\":true}",
            "json: member \"eto\" is given twice");
    refuses("{\"enable_tag_override\":true,\"ETO\":true}",
            "json: member \"ETO\" is given twice");
    refuses("{\"Checks\":[{},{\"interval\":1,\"IntervalDuration\":1}]}",
            "json: member \"IntervalDuration\" of .Checks is given twice");
    refuses("{\"Meta\":{\"a\":\"1\",\"b\":\"2\",\"\\u0061\":\"1\"}}",
            "json: member \"a\" of .Meta is given twice");
    refuses("{\"TaggedAddresses\":{\"a\":{},\"a\":{}}}",
            "json: member \"a\" of .TaggedAddresses is given twice");
    refuses("{\"Proxy\":[{\"a\":[{\"x\":1,\"x\":2}]}]}",
            "json: member \"x\" of .Proxy is given twice");
}

static void free_names_differ_by_case_and_unknown_ones_may_repeat(void **state)
{
    (void)state;
    struct run run;

    decode(&run, bytes_str("{\"Meta\":{\"a\":\"1\",\"A\":\"2\"},"
                           "\"u\":1,\"u\":2,\"Token\":{\"u\":1,\"u\":2}}"));
    assert_ok(run.e);
    assert_int_equal(run.s.meta.n, 2);
    assert_bytes(run.s.meta.v[0].key, "A");
    arena_fini(&run.arena);
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    struct run run;

    decode(&run,
           bytes_str("{\"Name\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t \\u0001\\u007f"
                     "\\u00e9\\u20AC\\ud83d\\uDE00 \xf0\x9f\x98\x80\"}"));
    assert_ok(run.e);
    assert_bytes(run.s.name, "\"\\/\b\f\n\r\t \x01\x7f\xc3\xa9\xe2\x82\xac"
                             "\xf0\x9f\x98\x80 \xf0\x9f\x98\x80");
    arena_fini(&run.arena);
}

static void texts_that_are_no_texts_are_refused(void **state)
{
    (void)state;
    static const char *const bad_utf8[] = {
        "\xff",     "\xc3(", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80",
        "a\xe2\x82"};

    for (size_t i = 0; i < sizeof bad_utf8 / sizeof bad_utf8[0]; i++) {
        struct buf b = {0};
        struct errtext why = {0};
        buf_printf(&b, "{\"unknown\":\n\"%s\"}", bad_utf8[i]);
        assert_int_equal(json_bound(buf_bytes(&b), &why), ERR_BAD);
        assert_non_null(strstr(why.s, "bad UTF-8"));
        assert_non_null(strstr(why.s, "line 2"));
        buf_fini(&b);
    }
    refuses("[\"a\\u0000\"]",
            "NUL (\\u0000) in a JSON string at line 1, column 10");
    refuses("[\"\\ud800\"]",
            "half a surrogate pair in a JSON string at line 1, column 9");
    refuses("[\"\\udc00\\ud800\"]",
            "half a surrogate pair in a JSON string at line 1, column 9");
    refuses("[\"\\ud800\\u0041\"]",
            "half a surrogate pair in a JSON string at line 1, column 15");
}

static void no_beginning_of_a_body_is_a_body(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        struct run run;
        decode(&run, bytes_of(whole, n));
        assert_int_equal(run.e, ERR_BAD);
        assert_string_equal(run.why.s, n < 2 ? "EOF" : "unexpected EOF");
        arena_fini(&run.arena);
    }
}

static void lack_of_memory_is_reported_wherever_it_strikes(void **state)
{
    (void)state;
    size_t failed = 0;

    for (size_t max = 16;; max += 16) {
        struct run run = {0};
        arena_init(&run.arena, max);
        run.e = json_decode(bytes_str(whole), &service_table, &run.s,
                            &run.arena, &run.why);
        arena_fini(&run.arena);
        if (run.e == ERR_OK)
            break;
        assert_int_equal(run.e, ERR_NOMEM);
        failed++;
    }
    assert_true(failed > 20);
}

static void put_repeated(struct buf *b, const char *s, size_t times)
{
    while (times--)
        buf_puts(b, s);
}

static void depth_is_bounded(void **state)
{
    (void)state;
    static const size_t depths[] = {JSON_DEPTH_MAX, JSON_DEPTH_MAX + 1, 100000};

    for (size_t i = 0; i < 3; i++) {
        struct buf b = {0};
        struct errtext why = {0};
        put_repeated(&b, "[", depths[i]);
        put_repeated(&b, "]", depths[i]);
        enum err e = json_bound(buf_bytes(&b), &why);
        assert_int_equal(e, i == 0 ? ERR_OK : ERR_LIMIT);
        if (i > 0)
            assert_string_equal(why.s,
                                "JSON nested deeper than 64 levels, the limit");
        buf_fini(&b);
    }
    refuses_with(bytes_str("{\"Proxy\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                           "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
                 ERR_LIMIT, "JSON nested deeper than 64 levels, the limit");
}

static void values_are_counted(void **state)
{
    (void)state;
    for (size_t n = JSON_VALUES_MAX - 1; n <= JSON_VALUES_MAX; n++) {
        struct buf b = {0};
        struct errtext why = {0};
        buf_puts(&b, "[0");
        put_repeated(&b, ",0", n - 1);
        buf_puts(&b, "]");
        assert_int_equal(json_bound(buf_bytes(&b), &why),
                         n < JSON_VALUES_MAX ? ERR_OK : ERR_LIMIT);
        buf_fini(&b);
    }
}

/* One megabyte of it, in a list that is read and in one that is not; and as
 * many objects as the number of values allows. */
static void a_flood_of_empty_objects_costs_little(void **state)
{
    (void)state;
    static const char *const fronts[] = {"{\"Checks\":[", "{\"Unknown\":["};

    for (size_t i = 0; i < 2; i++) {
        struct run run;
        struct buf b = {0};
        buf_puts(&b, fronts[i]);
        put_repeated(&b, "{},", (1 << 20) / 3);
        buf_puts(&b, "{}]}");
        decode(&run, buf_bytes(&b));
        assert_int_equal(run.e, ERR_LIMIT);
        assert_string_equal(run.why.s,
                            "more than 50000 JSON values, the limit");
        assert_int_equal(run.arena.used_bytes, 0);
        arena_fini(&run.arena);
        buf_fini(&b);
    }
}

struct large {
    char room[1000];
};

static void a_list_has_a_limit_in_bytes(void **state)
{
    (void)state;
    static const struct json_table table = {NULL, 0, sizeof(struct large)};
    struct buf b = {0};
    struct errtext why = {0};
    struct json_list list;
    struct arena a;

    arena_init(&a, 0);
    buf_puts(&b, "[{}");
    put_repeated(&b, ",{}", 40000);
    buf_puts(&b, "]");
    assert_int_equal(json_decode_list(buf_bytes(&b), &table, &list, &a, &why),
                     ERR_LIMIT);
    assert_string_equal(
        why.s, "json: 40001 objects in the list, at most 16777 are allowed");
    assert_int_equal(a.used_bytes, 0);
    arena_fini(&a);
    buf_fini(&b);
}

static void long_numbers_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};

    put_repeated(&b, "1", 64);
    assert_ok(json_bound(buf_bytes(&b), NULL));
    put_repeated(&b, "1", 1);
    refuses_with(buf_bytes(&b), ERR_LIMIT,
                 "JSON number of 65 bytes, at most 64 are allowed");
    buf_fini(&b);
}

static void a_list_of_objects_is_decoded(void **state)
{
    (void)state;
    struct errtext why = {0};
    struct json_list list;
    struct arena a;

    arena_init(&a, 0);
    assert_ok(json_decode_list(bytes_str("[{\"port\":1},{\"PORT\":2}]"),
                               &address_table, &list, &a, &why));
    assert_int_equal(list.n, 2);
    assert_int_equal(((const struct address *)list.v)[1].port, 2);
    assert_ok(
        json_decode_list(bytes_str("null"), &address_table, &list, &a, &why));
    assert_false(list.set);
    assert_int_equal(
        json_decode_list(bytes_str("{}"), &address_table, &list, &a, &why),
        ERR_BAD);
    assert_string_equal(
        why.s, "json: cannot unmarshal object into Go value of type []object");
    assert_int_equal(
        json_decode_list(bytes_str("[null]"), &address_table, &list, &a, &why),
        ERR_BAD);
    arena_fini(&a);
}

static void long_names_are_cut_in_messages(void **state)
{
    (void)state;
    struct run run;
    struct buf b = {0};

    buf_puts(&b, "{\"Meta\":{\"");
    put_repeated(&b, "\xc3\xa9", 100);
    buf_puts(&b, "\":\"\",\"");
    put_repeated(&b, "\xc3\xa9", 100);
    buf_puts(&b, "\":\"\"}}");
    decode(&run, buf_bytes(&b));
    assert_int_equal(run.e, ERR_BAD);
    assert_true(bytes_utf8(bytes_str(run.why.s)));
    assert_non_null(strstr(run.why.s, ".Meta is given twice"));
    arena_fini(&run.arena);
    buf_fini(&b);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(every_kind_finds_its_place),
    cmocka_unit_test(null_leaves_a_member_unset),
    cmocka_unit_test(empty_is_not_null),
    cmocka_unit_test(syntax_errors_read_as_in_go),
    cmocka_unit_test(wrong_types_read_as_in_go),
    cmocka_unit_test(durations_are_texts_or_numbers),
    cmocka_unit_test(a_member_given_twice_is_refused),
    cmocka_unit_test(free_names_differ_by_case_and_unknown_ones_may_repeat),
    cmocka_unit_test(strings_are_unescaped),
    cmocka_unit_test(texts_that_are_no_texts_are_refused),
    cmocka_unit_test(no_beginning_of_a_body_is_a_body),
    cmocka_unit_test(lack_of_memory_is_reported_wherever_it_strikes),
    cmocka_unit_test(depth_is_bounded),
    cmocka_unit_test(values_are_counted),
    cmocka_unit_test(a_flood_of_empty_objects_costs_little),
    cmocka_unit_test(a_list_has_a_limit_in_bytes),
    cmocka_unit_test(long_numbers_are_refused),
    cmocka_unit_test(a_list_of_objects_is_decoded),
    cmocka_unit_test(long_names_are_cut_in_messages),
};

RUN_TESTS(tests)
