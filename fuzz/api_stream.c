/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* api_stream - a request for a stream, from its target on (the input is what
 * stands between "GET " and the head's end), is refused with a text or becomes
 * subscriptions, each with a canonical target that is read again as the same;
 * the entries of that target, found one from the other, are all read. Likewise
 * bodies of /v1/muster/ack, behind a first byte 'a'. */
#include <stdio.h>
#include <stdlib.h>

#include "api/entries.h"
#include "http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool holds, const char *what, struct bytes detail)
{
    if (holds)
        return;
    fprintf(stderr, "api_stream: %s: %.*s\n", what, BYTES_ARG(detail));
    abort();
}

/* --- A little world ------------------------------------------------------ */

static struct pin_domain pins;
static struct catalog *catalog;
static struct local *local;
static struct heard *heard;
static struct api_self self;

static void put(const char *key, const struct buf *value)
{
    struct errtext t = {{0}};
    enum err e =
        catalog_put(catalog, bytes_str(key), buf_bytes(value), 1, 1, &t);
    must(e == ERR_OK, "the world", bytes_str(t.s));
}

static void make_world(void)
{
    static const char *const statuses[] = {"passing", "warning", "critical"};
    struct buf b = {0};
    char key[64], id[16];
    pin_init(&pins);
    catalog = catalog_new(&pins);
    local = local_new(&pins);
    heard = heard_new(&pins);
    self = (struct api_self){.node_name = bytes_str("n0"),
                             .datacenter = bytes_str("dc1")};
    for (int i = 0; i < 3; i++) {
        (void)snprintf(id, sizeof id, "n%d", i);
        (void)snprintf(key, sizeof key, "n/%s", id);
        buf_reset(&b);
        record_put_node(&b,
                        &(struct node_view){.name = bytes_str(id),
                                            .address = bytes_str("10.0.0.1")});
        put(key, &b);
        (void)snprintf(key, sizeof key, "s/n%d/web", i);
        buf_reset(&b);
        record_put_service(&b, &(struct service_view){.id = bytes_str("web"),
                                                      .name = bytes_str("web"),
                                                      .port = i});
        put(key, &b);
        (void)snprintf(key, sizeof key, "c/n%d/c", i);
        buf_reset(&b);
        record_put_check(
            &b, &(struct check_view){.id = bytes_str("c"),
                                     .name = bytes_str("c"),
                                     .service_id = bytes_str("web"),
                                     .status = bytes_str(statuses[i])});
        put(key, &b);
    }
    buf_fini(&b);
    catalog_commit(catalog, 1);
}

/* --- One request --------------------------------------------------------- */

static void walk(struct api_call *c, const struct api_env *env,
                 struct bytes target)
{
    struct entry e, next;
    const char *why;
    size_t entries = 0;
    for (bool more = entry_next(c, env, NULL, &e); more; e = next) {
        if (!entry_read(c, env, &e, &why))
            must(why && *why, "an entry without a reason", target);
        must(++entries < 1000, "a walk without end", target);
        more = entry_next(c, env, &e, &next);
    }
}

static void subscription(const struct api_call *c, const struct api_env *env,
                         size_t i, struct arena *a)
{
    struct buf target = {0}, again = {0};
    struct api_call one;
    api_stream_target(c, i, &target);
    api_call_init(&one);
    must(api_from_canonical(&one, env, buf_bytes(&target), a) == ERR_OK,
         "a target is not read again", buf_bytes(&target));
    must(entries_has(&one), "a target without entries", buf_bytes(&target));
    api_canonical(&one, &again);
    must(bytes_eq(buf_bytes(&target), buf_bytes(&again)), "not canonical",
         buf_bytes(&target));
    walk(&one, env, buf_bytes(&target));
    api_call_fini(&one);
    buf_fini(&target);
    buf_fini(&again);
}

static void ask(struct http_request *r)
{
    struct api_env env = {.self = &self,
                          .cat = catalog_current(catalog),
                          .local = local_current(local),
                          .heard = heard_current(heard),
                          .ready = true};
    struct api_call c;
    api_call_init(&c);
    switch (api_begin(&c, &env, r)) {
    case API_STREAM: {
        size_t n = api_stream_count(&c);
        must(n > 0 && n <= API_STREAM_SUBSCRIPTIONS_MAX, "subscriptions",
             r->target);
        must(c.subscriber.n <= API_SUBSCRIBER_LABEL_MAX, "label", r->target);
        for (size_t i = 0; i < n; i++)
            subscription(&c, &env, i, r->arena);
        break;
    }
    case API_ACK:
        must(c.ack_count <= API_ACKS_MAX, "acknowledgements", r->body);
        for (size_t i = 0; i < c.ack_count; i++)
            must(c.acks[i].subscriber.n > 0 && c.acks[i].index > 0, "an ack",
                 r->body);
        break;
    default:
        break;
    }
    api_call_fini(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct http_limits limits;
    struct buf text = {0};
    struct http_in *in = http_in_new(&limits);
    if (!catalog)
        make_world();
    if (n && data[0] == 'a') {
        buf_printf(&text,
                   "PUT /v1/muster/ack HTTP/1.1\r\nHost: x\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   n - 1);
        buf_put_n(&text, data + 1, n - 1);
    } else {
        buf_puts(&text, "GET ");
        buf_put_n(&text, data, n);
        buf_puts(&text, " HTTP/1.1\r\nHost: x\r\n"
                        "Accept: text/event-stream\r\n\r\n");
    }
    if (in && !text.bad) {
        http_in_feed(in, buf_bytes(&text));
        if (http_in_state(in) == HTTP_IN_DONE)
            ask(http_in_request(in));
    }
    http_in_free(in);
    buf_fini(&text);
    return 0;
}
