/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Templates of prepared queries. The input is five lines: name of the template,
 * regular expression, service, tag, and the name that is asked for. What passes
 * the check renders for every name, or is refused with a text, within its bounds;
 * with a plain text of it the answer is the same twice. */
#include <stdlib.h>

#include "base/check.h"
#include "catalog/plan.h"
#include "query/query.h"

static struct bytes line(struct bytes *rest)
{
    size_t n = bytes_find(*rest, '\n');
    struct bytes ret = bytes_head(*rest, n);

    *rest = bytes_skip(*rest, n + 1);
    return ret;
}

static void put(struct catalog *c, const struct query_view *v)
{
    struct buf key = {0}, value = {0};

    key_query(&key, v->id);
    record_put_query(&value, v);
    require(catalog_put(c, buf_bytes(&key), buf_bytes(&value), 1, 1, NULL) ==
            ERR_OK);
    catalog_commit(c, 1);
    buf_fini(&key);
    buf_fini(&value);
}

static void resolve(struct catalog *c, struct bytes name, struct arena *a)
{
    struct query_view one, two;
    struct errtext t = {{0}};
    enum err e = query_resolve(catalog_current(c), name, a, &one, &t);

    if (e == ERR_NOT_FOUND)
        return;
    require(e == ERR_OK || t.s[0]);
    require(query_resolve(catalog_current(c), name, a, &two, &t) == e);
    if (e != ERR_OK)
        return;
    require(bytes_eq(one.text[QUERY_SERVICE], two.text[QUERY_SERVICE]));
    require(packed_eq(one.list[QUERY_TAGS], two.list[QUERY_TAGS]));
    require(one.text[QUERY_SERVICE].n <=
            QUERY_RENDERED_MAX + QUERY_TEXT_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes rest = bytes_of(data, n);
    struct query_view v = {
        .id = bytes_str("00000000-0000-4000-8000-000000000001")};
    struct errtext t = {{0}};
    struct pin_domain pins;
    struct buf tag = {0};
    struct arena a;

    v.text[QUERY_TEMPLATE] = bytes_str("name_prefix_match");
    v.text[QUERY_NAME] = line(&rest);
    v.text[QUERY_REGEXP] = line(&rest);
    v.text[QUERY_SERVICE] = line(&rest);
    packed_put(&tag, line(&rest));
    v.list[QUERY_TAGS] = (struct packed){buf_bytes(&tag), 1};
    v.remove_empty_tags = n % 2;
    arena_init(&a, 0);
    pin_init(&pins);
    struct catalog *c = catalog_new(&pins);
    enum err e = query_check(&v, &a, &t);
    require(e == ERR_OK || t.s[0]);
    if (e == ERR_OK) {
        put(c, &v);
        resolve(c, rest, &a);
        resolve(c, v.text[QUERY_NAME], &a);
    }
    catalog_free(c);
    pin_fini(&pins);
    arena_fini(&a);
    buf_fini(&tag);
    return 0;
}
