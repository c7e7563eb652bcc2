/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/bytes.h"

#include "test.h"

#define B(s) bytes_of(s, sizeof(s) - 1)

static int sign(int c)
{
    return (c > 0) - (c < 0);
}

static void order_is_by_unsigned_bytes_then_length(void **state)
{
    (void)state;
    const struct {
        struct bytes a, b;
        int want;
    } cases[] = {
        {{NULL, 0}, {NULL, 0}, 0},
        {{NULL, 0}, B("a"), -1},
        {B(""), {NULL, 0}, 0},
        {B("a"), B("a"), 0},
        {B("a"), B("ab"), -1},
        {B("ab"), B("a"), 1},
        {B("a"), B("b"), -1},
        {B("Z"), B("a"), -1},
        {B("a"), B("\x80"), -1},
        {B("\xff"), B("a"), 1},
        {B("a\0b"), B("a\0c"), -1},
        {B("a\0"), B("a"), 1},
        {B("abcdefghi"), B("abcdefghj"), -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(sign(bytes_cmp(cases[i].a, cases[i].b)),
                         cases[i].want);
        assert_int_equal(bytes_eq(cases[i].a, cases[i].b), !cases[i].want);
    }
}

static unsigned slow_fold(char c)
{
    unsigned u = (unsigned char)c;
    return u >= 'A' && u <= 'Z' ? u + 32 : u;
}

static int slow_cmp_fold(struct bytes a, struct bytes b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++)
        if (slow_fold(a.p[i]) != slow_fold(b.p[i]))
            return slow_fold(a.p[i]) < slow_fold(b.p[i]) ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

/* All pairs of bytes, at every place of a word and behind it. */
static void folding_changes_ascii_letters_only(void **state)
{
    (void)state;

    for (int pair = 0; pair < 65536; pair++) {
        char a[11] = "aBcDeFgHiJk", b[11] = "AbCdEfGhIjK";
        size_t at = (size_t)pair % 11;
        a[at] = (char)(pair >> 8);
        b[at] = (char)pair;
        struct bytes x = {a, sizeof a}, y = {b, sizeof b};
        int want = slow_cmp_fold(x, y);
        if (sign(bytes_cmp_fold(x, y)) != want)
            fail_msg("%02x against %02x at %zu: want %d", pair >> 8, pair & 255,
                     at, want);
        assert_int_equal(bytes_eq_fold(x, y), want == 0);
    }
}

static void folded_order_looks_at_length_last(void **state)
{
    (void)state;
    assert_true(bytes_cmp_fold(B("abc"), B("ABCD")) < 0);
    assert_true(bytes_cmp_fold(B("abcdefgh"), B("ABCDEFG")) > 0);
    assert_true(bytes_cmp_fold(B("b"), B("ABCDEFGHIJKLM")) > 0);
    assert_int_equal(bytes_cmp_fold((struct bytes){NULL, 0}, B("")), 0);
    assert_false(bytes_eq_fold(B("a"), B("ab")));
    assert_true(bytes_cmp_fold(B("name\0a"), B("NAME\0B")) < 0);
}

static void parts_are_found(void **state)
{
    (void)state;
    struct bytes none = {NULL, 0};

    assert_true(bytes_starts(B("abc"), B("ab")));
    assert_true(bytes_starts(B("abc"), none));
    assert_false(bytes_starts(B("ab"), B("abc")));
    assert_false(bytes_starts(none, B("a")));
    assert_true(bytes_ends(B("abc"), B("bc")));
    assert_true(bytes_ends(none, none));
    assert_false(bytes_ends(B("abc"), B("ab")));
    assert_false(bytes_ends(B("bc"), B("abc")));
    assert_int_equal(bytes_find(B("a=b=c"), '='), 1);
    assert_int_equal(bytes_find(B("abc"), '='), 3);
    assert_int_equal(bytes_find(none, '='), 0);
    assert_bytes(bytes_skip(B("abc"), 1), "bc");
    assert_bytes(bytes_skip(B("abc"), 9), "");
    assert_bytes(bytes_skip(none, 9), "");
    assert_bytes(bytes_head(B("abc"), 2), "ab");
    assert_bytes(bytes_head(B("abc"), 9), "abc");
    assert_int_equal(bytes_str(NULL).n, 0);
}

static void numbers_are_whole_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err want;
        uint64_t value;
    } cases[] = {
        {"0", ERR_OK, 0},
        {"007", ERR_OK, 7},
        {"18446744073709551615", ERR_OK, UINT64_MAX},
        {"00000000000000000000000001", ERR_OK, 1},
        {"18446744073709551616", ERR_LIMIT, 0},
        {"99999999999999999999999999", ERR_LIMIT, 0},
        {"99999999999999999999999999x", ERR_BAD, 0},
        {"", ERR_BAD, 0},
        {"-1", ERR_BAD, 0},
        {"+1", ERR_BAD, 0},
        {" 1", ERR_BAD, 0},
        {"1 ", ERR_BAD, 0},
        {"0x1", ERR_BAD, 0},
        {"/", ERR_BAD, 0},
        {":", ERR_BAD, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t v = 42;
        enum err e = bytes_u64(bytes_str(cases[i].text), &v);
        if (e != cases[i].want)
            fail_msg("\"%s\": %s", cases[i].text, err_text(e));
        assert_int_equal(v, e == ERR_OK ? cases[i].value : 42);
    }
}

static void booleans_are_go_s(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    "yes", "tRUE",  "2",
                                      "off", "tr",  "falsee"};
    bool v = false;

    for (const char *const *s =
             (const char *const[]){"1", "t", "T", "TRUE", "true", "True", NULL};
         *s; s++) {
        v = false;
        assert_ok(bytes_bool(bytes_str(*s), &v));
        assert_true(v);
    }
    for (const char *const *s = (const char *const[]){"0", "f", "F", "FALSE",
                                                      "false", "False", NULL};
         *s; s++) {
        v = true;
        assert_ok(bytes_bool(bytes_str(*s), &v));
        assert_false(v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(bytes_bool(bytes_str(bad[i]), &v), ERR_BAD);
}

/* Straight from the definition, for comparison. */
static size_t encode(uint32_t c, size_t len, char *to)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    for (size_t i = len; i-- > 1; c >>= 6)
        to[i] = (char)(0x80 | (c & 0x3f));
    to[0] = (char)(len == 1 ? c : lead[len] | c);
    return len;
}

/* Every number in every length of encoding that can hold it, alone, and behind
 * text that makes the fast path run before it. */
static void utf8_is_strict(void **state)
{
    (void)state;
    static const uint32_t top[] = {0, 0x80, 0x800, 0x10000, 0x200000};

    for (size_t len = 1; len <= 4; len++) {
        for (uint32_t c = 0; c < top[len]; c++) {
            char s[32] = "0123456789a";
            bool want = c >= top[len - 1] && c <= 0x10ffff &&
                        !(c >= 0xd800 && c <= 0xdfff);
            if (len == 1)
                want = true;
            (void)encode(c, len, s + 11);
            memcpy(s + 11 + len, "0123456789", 10);
            if (bytes_utf8(bytes_of(s + 11, len)) != want ||
                bytes_utf8(bytes_of(s, 21 + len)) != want)
                fail_msg("U+%x in %zu bytes: want %d", c, len, want);
            /* every truncation of it is bad */
            for (size_t k = 1; k < len; k++)
                assert_false(bytes_utf8(bytes_of(s, 11 + k)));
        }
    }
    assert_true(bytes_utf8((struct bytes){NULL, 0}));
}

static void utf8_refuses_stray_bytes(void **state)
{
    (void)state;
    for (int byte = 0x80; byte <= 0xff; byte++) {
        char s[] = "ab?cd";
        s[2] = (char)byte;
        assert_false(bytes_utf8(bytes_str(s)));
    }
    assert_false(bytes_utf8(B("\xf8\x88\x80\x80\x80")));
    assert_false(bytes_utf8(B("\xe2\x28\xa1")));
    assert_false(bytes_utf8(B("\xf0\x90\x28\xbc")));
    assert_false(bytes_utf8(B("\xf0\x90\x8c\x28")));
}

/* Values from the xxHash specification's reference implementation: what is
 * stored or compared between machines must not change with a library. */
static void hashes_are_xxh3(void **state)
{
    (void)state;
    assert_true(bytes_hash((struct bytes){NULL, 0}, 0) == 0x2d06800538d394c2u);
    assert_true(bytes_hash(B("a"), 0) == 0xe6c632b61e964e1fu);
    assert_true(bytes_hash(B("abc"), 0) == 0x78af5f94892f3950u);
    assert_true(bytes_hash(B("abc"), 1) != bytes_hash(B("abc"), 0));
}

static void uuids_have_their_form(void **state)
{
    (void)state;
    assert_true(bytes_uuid(B("01234567-89ab-cdef-ABCD-EF0123456789")));
    assert_false(bytes_uuid(B("01234567-89ab-cdef-ABCD-EF012345678")));
    assert_false(bytes_uuid(B("01234567-89ab-cdef-ABCD-EF01234567890")));
    assert_false(bytes_uuid(B("01234567089ab-cdef-ABCD-EF0123456789")));
    assert_false(bytes_uuid(B("01234567-89ag-cdef-ABCD-EF0123456789")));
    assert_false(bytes_uuid(B("0123456--89ab-cdef-ABCD-EF0123456789")));
    assert_false(bytes_uuid((struct bytes){NULL, 0}));
}

static void uuids_are_version_4(void **state)
{
    (void)state;
    uint8_t random[16];
    char s[37];

    for (unsigned i = 0; i < 16; i++)
        random[i] = (uint8_t)(i * 17);
    uuid_format(random, s);
    assert_string_equal(s, "00112233-4455-4677-8899-aabbccddeeff");
    memset(random, 0xff, sizeof random);
    uuid_format(random, s);
    assert_string_equal(s, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    memset(random, 0, sizeof random);
    uuid_format(random, s);
    assert_string_equal(s, "00000000-0000-4000-8000-000000000000");
    assert_true(bytes_uuid(bytes_str(s)));
}

static void eight_bytes_compare_as_their_text_does(void **state)
{
    (void)state;
    static const char text[] = "aB[Z@`zxyzQ\xc1\x00q";
    struct bytes all = bytes_of(text, sizeof text - 1);

    /* Wherever it begins and however much is left. */
    for (size_t n = 0; n <= all.n; n++) {
        for (size_t at = 0; at <= n; at++) {
            uint64_t raw = 0, folded = 0;
            for (size_t i = at; i < at + 8; i++) {
                unsigned c = i < n ? (unsigned char)text[i] : 0;
                raw = raw << 8 | c;
                folded = folded << 8 | (c >= 'A' && c <= 'Z' ? c + 32 : c);
            }
            struct bytes b = bytes_head(all, n);
            assert_true(bytes_eight(b, at, false) == raw);
            assert_true(bytes_eight(b, at, true) == folded);
        }
    }
}

static void what_two_begin_with_is_counted(void **state)
{
    (void)state;
    assert_int_equal(bytes_common(B(""), B("x"), false), 0);
    assert_int_equal(bytes_common(B("abc"), B("abc"), false), 3);
    assert_int_equal(bytes_common(B("abc"), B("abcdefghijkl"), false), 3);
    assert_int_equal(bytes_common(B("aBc"), B("abc"), false), 1);
    assert_int_equal(bytes_common(B("aBc"), B("abC"), true), 3);
    assert_int_equal(bytes_common(B("0123456789ab"), B("0123456789xb"), false),
                     10);
    /* A NUL is no end. */
    assert_int_equal(
        bytes_common(bytes_of("ab", 2), bytes_of("ab\0c", 4), false), 2);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(eight_bytes_compare_as_their_text_does),
    cmocka_unit_test(what_two_begin_with_is_counted),
    cmocka_unit_test(order_is_by_unsigned_bytes_then_length),
    cmocka_unit_test(folding_changes_ascii_letters_only),
    cmocka_unit_test(folded_order_looks_at_length_last),
    cmocka_unit_test(parts_are_found),
    cmocka_unit_test(numbers_are_whole_or_refused),
    cmocka_unit_test(booleans_are_go_s),
    cmocka_unit_test(utf8_is_strict),
    cmocka_unit_test(utf8_refuses_stray_bytes),
    cmocka_unit_test(hashes_are_xxh3),
    cmocka_unit_test(uuids_have_their_form),
    cmocka_unit_test(uuids_are_version_4),
};

RUN_TESTS(tests)
