/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Values of agent.db. The first byte says what the rest is: 'd' a definition,
 * 't' a state, 's' a service, anything else a feed of (key length, key, value
 * length in two bytes, value)* into a snapshot. Property: nothing crashes; what
 * is accepted and written again reads the same; what a feed brought is found.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/reader.h"
#include "local/local.h"
#include "local/record.h"

static void need(bool x)
{
    if (!x)
        abort();
}

static void definition(struct bytes value)
{
    struct arena a;
    struct check_def d;
    struct errtext t = {{0}};
    struct buf again = {0}, json = {0};

    arena_init(&a, 0);
    if (check_def_get(value, &d, &a) == ERR_OK) {
        check_def_put(&again, &d);
        need(bytes_eq(buf_bytes(&again), value));
        check_def_json(&json, &d);
        need(!json.bad && bytes_utf8(buf_bytes(&json)));
        enum err e = check_def_validate(&d, &t);
        need(e == ERR_OK || t.s[0]);
    }
    buf_fini(&again);
    buf_fini(&json);
    arena_fini(&a);
}

static void state(struct bytes value)
{
    struct local_state s;
    struct buf again = {0};

    if (local_state_get(value, &s) == ERR_OK) {
        local_state_put(&again, &s);
        need(s.old || bytes_eq(buf_bytes(&again), value));
        struct local_state twice;
        need(local_state_get(buf_bytes(&again), &twice) == ERR_OK &&
             twice.status == s.status && bytes_eq(twice.output, s.output));
    }
    buf_fini(&again);
}

static void service(struct bytes value)
{
    struct service_view v;
    struct bytes token;
    struct buf once = {0}, twice = {0};

    if (local_service_get(value, &v, &token) == ERR_OK) {
        local_service_put(&once, &v, token);
        need(local_service_get(buf_bytes(&once), &v, &token) == ERR_OK);
        local_service_put(&twice, &v, token);
        need(bytes_eq(buf_bytes(&once), buf_bytes(&twice)));
    }
    buf_fini(&once);
    buf_fini(&twice);
}

static void look_at_all(const struct local_snapshot *s)
{
    struct tree_iter it;

    local_services(s, &it);
    for (const struct local_service *v; (v = local_next_service(&it));)
        need(local_service(s, v->view.id) == v);
    local_checks(s, &it);
    for (const struct local_check *k; (k = local_next_check(&it));) {
        bool found = false;
        struct tree_iter of;
        need(local_check(s, k->def.id) == k);
        local_checks_of(s, k->def.service_id, &of);
        for (const struct local_check *o;
             (o = local_next_check_of(&of, k->def.service_id));)
            found |= o == k;
        need(found);
    }
}

static void feed(struct bytes data)
{
    struct pin_domain pins;
    struct reader r = reader_over(data);
    struct errtext t = {{0}};

    pin_init(&pins);
    struct local *l = local_new(&pins);
    while (reader_left(&r)) {
        struct bytes key = read_bytes(&r, read_u8(&r));
        size_t high = read_u8(&r);
        struct bytes value = read_bytes(&r, high << 8 | read_u8(&r));
        if (r.bad)
            break;
        if (key.n == 0)
            (void)local_commit(l);
        else if (value.n == 0)
            local_delete(l, key);
        else if (local_put(l, key, value, &t) != ERR_OK)
            need(t.s[0]);
        if (key.n == 0 && value.n)
            local_load_begin(l);
    }
    (void)local_commit(l);
    look_at_all(local_current(l));
    local_free(l);
    pin_fini(&pins);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes rest = bytes_skip(bytes_of(data, n), 1);

    switch (n ? data[0] : 'd') {
    case 'd':
        definition(rest);
        break;
    case 't':
        state(rest);
        break;
    case 's':
        service(rest);
        break;
    default:
        feed(rest);
        break;
    }
    return 0;
}
