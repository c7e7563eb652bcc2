/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/item.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "local/hash.h"
#include "local/record.h"

/* A check's block: this, argument views, header views, then the bytes of value
 * and output. */
struct check_block {
    struct local_check pub; /* first: trees and readers see only it */
    struct bytes value;
};

static void key_of_service(const void *item, struct tree_key *ret)
{
    const struct local_service *v = item;
    *ret = (struct tree_key){.a = v->view.id};
}

static void key_of_check(const void *item, struct tree_key *ret)
{
    const struct local_check *k = item;
    *ret = (struct tree_key){.a = k->def.id};
}

static void key_of_check_of(const void *item, struct tree_key *ret)
{
    const struct local_check *k = item;
    *ret = (struct tree_key){k->def.service_id, k->def.id};
}

const struct tree_type local_service_type = {key_of_service, true};
const struct tree_type local_check_type = {key_of_check, true};
const struct tree_type local_check_of_type = {key_of_check_of, true};

bool local_is_maintenance(struct bytes check_id)
{
    return bytes_is(check_id, LOCAL_NODE_MAINTENANCE) ||
           bytes_starts(check_id, bytes_str(LOCAL_SERVICE_MAINTENANCE));
}

bool local_is_drain(struct bytes check_id)
{
    return bytes_starts(check_id, bytes_str(LOCAL_DRAIN));
}

/* --- Services ------------------------------------------------------------ */

struct local_service *local_service_new(struct bytes value, bool from_config)
{
    struct local_service *v = xzalloc(sizeof *v + value.n);
    char *p = (char *)(v + 1);

    memcpy(p, value.p, value.n);
    require(local_service_get(bytes_of(p, value.n), &v->view, &v->token) ==
            ERR_OK);
    v->hash = service_content_hash(&v->view);
    v->from_config = from_config;
    return v;
}

/* --- Checks -------------------------------------------------------------- */

static struct bytes add(char **at, struct bytes b)
{
    struct bytes copy = {*at, b.n};
    if (b.n)
        memcpy(*at, b.p, b.n);
    *at += b.n;
    return copy;
}

static enum check_type type_of(const struct check_def *d)
{
    enum check_type t = check_def_type(d);
    bool meant = local_is_maintenance(d->id) || local_is_drain(d->id);
    return t == CHECK_NONE && meant ? CHECK_MAINTENANCE : t;
}

struct local_check *local_check_new(struct bytes value, enum status status,
                                    struct bytes output,
                                    const struct check_marks *marks,
                                    bool from_config)
{
    struct arena a;
    struct check_def d;

    arena_init(&a, 0);
    require(check_def_get(value, &d, &a) == ERR_OK);
    size_t lists =
        d.arg_count * sizeof *d.args + d.header_count * sizeof *d.headers;
    struct check_block *b = xzalloc(sizeof *b + lists + value.n + output.n);
    struct bytes *args = (struct bytes *)(b + 1);
    struct check_header *headers = (struct check_header *)(args + d.arg_count);
    char *at = (char *)(headers + d.header_count);

    /* Read once more, so that the views point into the block. */
    b->value = add(&at, value);
    require(check_def_get(b->value, &d, &a) == ERR_OK);
    if (d.arg_count)
        memcpy(args, d.args, d.arg_count * sizeof *args);
    if (d.header_count)
        memcpy(headers, d.headers, d.header_count * sizeof *headers);
    d.args = args;
    d.headers = headers;
    b->pub = (struct local_check){
        .def = d,
        .type = type_of(&d),
        .status = status,
        .output = add(&at, output),
        .marks = *marks,
        .from_config = from_config,
    };
    arena_fini(&a);
    return &b->pub;
}

struct local_check *local_check_with_state(const struct local_check *k,
                                           enum status status,
                                           struct bytes output,
                                           const struct check_marks *marks)
{
    const struct check_block *b = (const struct check_block *)k;
    return local_check_new(b->value, status, output, marks, k->from_config);
}
