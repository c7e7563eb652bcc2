/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The etcd backend: life. ARCHITECTURE.md has the table of what is what in
 * etcd; etcd_impl.h the list of files. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "base/metric.h"
#include "store/etcd_impl.h"

/* --- What it is to be ---------------------------------------------------- */

static const char scheme[] = "etcd://";
static const char default_port[] = "2379";

/* Letters of a host name, an address, a port; brackets of IPv6. */
static bool plain_host(struct bytes s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            !(c >= '0' && c <= '9') && !strchr(".-_:[]", c))
            return false;
    }
    return s.n > 0;
}

static bool has_port(struct bytes s)
{
    struct bytes after =
        s.n && s.p[0] == '[' ? bytes_skip(s, bytes_find(s, ']') + 1) : s;

    return bytes_find(after, ':') < after.n;
}

static enum err add_member(struct etcd *x, struct bytes host, bool tls,
                           const char *url, struct errtext *t)
{
    struct buf b = {0};

    if (!plain_host(host)) {
        errtext_set(t,
                    "\"%s\": \"%.*s\" is no host:port; write "
                    "etcd://HOST:PORT,HOST:PORT,...",
                    url, BYTES_ARG(host));
        return ERR_BAD;
    }
    if (x->member_n == ETCD_MEMBERS_MAX) {
        errtext_set(t, "\"%s\" names more than %d members of etcd", url,
                    ETCD_MEMBERS_MAX);
        return ERR_LIMIT;
    }
    buf_puts(&b, tls ? "https://" : "http://");
    buf_put(&b, host);
    if (!has_port(host)) {
        buf_putc(&b, ':');
        buf_puts(&b, default_port);
    }
    char *made = buf_take(&b, NULL);

    require(made);
    x->member[x->member_n++] = (struct etcd_member){
        .url = made, .target = strstr(made, "://") + strlen("://")};
    return ERR_OK;
}

static enum err parse_url(struct etcd *x, const char *url, struct errtext *t)
{
    struct bytes rest = bytes_str(url);
    const struct store_etcd *o = &x->options;
    bool tls = o->ca_file || o->cert_file;
    enum err e = ERR_OK;

    if (!bytes_starts(rest, bytes_str(scheme))) {
        errtext_set(t, "\"%s\" does not begin with %s", url, scheme);
        return ERR_BAD;
    }
    rest = bytes_skip(rest, sizeof scheme - 1);
    if (bytes_ends(rest, bytes_str("/")))
        rest.n--;
    do {
        size_t n = bytes_find(rest, ',');

        e = add_member(x, bytes_head(rest, n), tls, url, t);
        rest = n < rest.n ? bytes_skip(rest, n + 1) : (struct bytes){0};
    } while (e == ERR_OK && rest.p);
    return e;
}

static char *copy(const char *s)
{
    return s && *s ? xstrdup(s) : NULL;
}

static void copy_options(struct etcd *x, const struct store_etcd *o)
{
    x->options = (struct store_etcd){
        .ca_file = copy(o->ca_file),
        .cert_file = copy(o->cert_file),
        .key_file = copy(o->key_file),
        .tls_server_name = copy(o->tls_server_name),
        .user = copy(o->user),
        .password = copy(o->password),
        .unix_path = copy(o->unix_path),
    };
}

static void options_fini(struct store_etcd *o)
{
    free((char *)o->ca_file);
    free((char *)o->cert_file);
    free((char *)o->key_file);
    free((char *)o->tls_server_name);
    free((char *)o->user);
    free((char *)o->password);
    free((char *)o->unix_path);
}

static void etcd_free(struct etcd *x)
{
    for (size_t i = 0; i < x->member_n; i++)
        free(x->member[i].url);
    options_fini(&x->options);
    tls_client_free(x->tls);
    buf_fini(&x->hello);
    free(x->token);
    free(x);
}

/* --- On a loop ----------------------------------------------------------- */

static void attach(struct backend *b, uv_loop_t *loop)
{
    struct etcd *x = etcd_of(b);

    x->loop = loop;
    require(timers_init(&x->timers, loop) == ERR_OK);
    require(fetcher_new(loop, &x->fetcher) == ERR_OK);
    x->world = (struct stream_world){.loop = loop, .timers = &x->timers};
    require(names_new(loop, &x->timers, &x->world.names) == ERR_OK);
    for (size_t i = 0; i < x->member_n; i++) {
        x->member[i].etcd = x;
        x->member[i].channel = grpc_new(&(struct grpc_options){
            .world = &x->world,
            .target = x->member[i].target,
            .unix_path = x->options.unix_path,
            .tls = x->tls,
            .tls_name = x->options.tls_server_name,
            .token = &x->token,
            .connect_ms = ETCD_CONNECT_MS,
            .hello_path = ETCD_HELLO,
            .hello = buf_bytes(&x->hello),
            .welcome = etcd_welcome,
            .ctx = &x->member[i],
        });
    }
    x->term_over.fire = etcd_term_over;
}

static void detach(struct etcd *x)
{
    etcd_calls_drop(x);
    etcd_watches_close(x);
    for (size_t i = 0; i < x->member_n; i++)
        grpc_close(x->member[i].channel);
    names_close(x->world.names);
    fetcher_close(x->fetcher);
    timers_close(&x->timers);
}

static void last_closed(uv_handle_t *h)
{
    etcd_free(h->data);
}

/* libuv calls back in any order: x goes in a round of its own. */
static void all_closed(uv_handle_t *h)
{
    struct etcd *x = h->data;

    uv_idle_init(x->loop, &x->last);
    x->last.data = x;
    uv_close((uv_handle_t *)&x->last, last_closed);
}

void etcd_closed(struct etcd *x)
{
    detach(x);
    uv_idle_init(x->loop, &x->almost);
    x->almost.data = x;
    uv_close((uv_handle_t *)&x->almost, all_closed);
}

static void on_goodbye(struct timer *t)
{
    etcd_closed(container_of(t, struct etcd, goodbye));
}

static bool is_revoke(const struct etcd_call *c)
{
    return strcmp(c->path, "kv/lease/revoke") == 0;
}

/* Leases are given back, so that another server need not wait for their end. */
static void close_etcd(struct backend *b)
{
    struct etcd *x = etcd_of(b);

    x->closing = true;
    list_each (it, &x->calls) {
        struct etcd_call *c = container_of(it, struct etcd_call, link);

        if (!is_revoke(c))
            etcd_call_free(c);
    }
    etcd_watches_close(x);
    metric_set(METRIC_STORE_ETCD_FOREIGN, 0);
    x->goodbye.fire = on_goodbye;
    if (x->revokes)
        timer_set(&x->timers, &x->goodbye, ETCD_GOODBYE_MS);
    else
        etcd_closed(x);
}

/* --- What is tried ------------------------------------------------------- */

static void try_end(struct etcd *x, enum err e, const struct errtext *t)
{
    void (*done)(struct etcd * x, void *arg, enum err e) = x->try_done;

    bool away = x->options.unix_path && e == ERR_UNAVAILABLE;
    if (e != ERR_OK && strcmp(t->s, x->try_text.s) != 0)
        log_if(away ? LOG_INFO : LOG_ERR, "store", "%s", t->s);
    x->try_text = *t;
    x->tried = e == ERR_OK;
    x->try_done = NULL;
    done(x, x->try_arg, e);
}

static void oldest_found(struct etcd *x, enum err e)
{
    struct errtext t = {{0}};

    if (e != ERR_OK)
        errtext_set(&t, "etcd does not tell what it has compacted");
    try_end(x, e, &t);
}

static void on_first_revision(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    enum err e = a->why;
    struct errtext t = a->text;

    etcd_call_free(c);
    if (e == ERR_COMPACTED) {
        etcd_find_oldest(x, oldest_found);
        return;
    }
    /* Revision 1 is of an empty etcd: the first that tells of something is 2.
     */
    if (e == ERR_OK && x->oldest < 2)
        x->oldest = 2;
    try_end(x, e, &t);
}

/* etcd belongs to muster alone: the feed is of all keys, and compaction drops
 * everybody's history. These are the gaps between our keys. */
static const struct {
    struct bytes from, to;
} foreign[] = {
    {{"\0", 1}, {"E", 1}},   {{"E\0", 2}, {"d/", 2}}, {{"d0", 2}, {"i", 1}},
    {{"i\0", 2}, {"k", 1}},  {{"l", 1}, {"m/", 2}},   {{"m0", 2}, {"t", 1}},
    {{"t\0", 2}, {"\0", 1}},
};

static void on_foreign(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    struct etcd_txn n = {0};
    struct errtext t = a->text;
    enum err e = a->why;

    if (e == ERR_OK)
        e = etcd_txn_read(a->body, &n, NULL, NULL);
    if (e == ERR_OK && n.range_count) {
        errtext_set(&t,
                    "etcd at %s holds keys that are not muster's, such as "
                    "\"%.*s\": give muster an etcd of its own",
                    x->member[c->member].url,
                    BYTES_ARG(bytes_head(n.row_key, 64)));
        e = ERR_BAD;
    }
    if (e == ERR_OK && !etcd_heard(x, c->member, &n.header))
        e = ERR_UNAVAILABLE;
    etcd_call_free(c);
    if (e != ERR_OK) {
        try_end(x, e, &t);
        return;
    }
    struct etcd_call *next =
        etcd_call_new(x, sizeof *next, ETCD_RANGE, on_first_revision);

    wire_put_bytes(&next->body, 1, bytes_str("E"));
    wire_put_u64(&next->body, 4, 1); /* as of revision 1 */
    etcd_call_start(next);
}

static void on_limits(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    struct errtext t = a->text;
    enum err e = a->why;

    if (e == ERR_LIMIT || e == ERR_BAD)
        errtext_prefix(&t, "etcd at %s: ", x->member[c->member].url);
    etcd_call_free(c);
    if (e != ERR_OK) {
        try_end(x, e, &t);
        return;
    }
    struct etcd_call *next =
        etcd_call_new(x, sizeof *next, ETCD_TXN, on_foreign);

    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        size_t op = wire_begin(&next->body, 2);    /* of those if all hold */
        size_t range = wire_begin(&next->body, 1); /* a range */

        wire_put_bytes(&next->body, 1, foreign[i].from);
        wire_put_bytes(&next->body, 2, foreign[i].to);
        wire_put_u64(&next->body, 3, 1); /* limit */
        wire_put_u64(&next->body, 8, 1); /* keys only */
        wire_end(&next->body, range);
        wire_end(&next->body, op);
    }
    etcd_call_start(next);
}

/* As many guards as a group may have; whether they hold or not, nothing
 * follows. */
void etcd_try(struct etcd *x,
              void (*done)(struct etcd *x, void *arg, enum err e), void *arg)
{
    struct etcd_call *c = etcd_call_new(x, sizeof *c, ETCD_TXN, on_limits);

    require(!x->try_done);
    x->try_done = done;
    x->try_arg = arg;
    for (int i = 0; i < STORE_GROUP_OPS_MAX; i++) {
        size_t compare = wire_begin(&c->body, 1);

        wire_put_bytes(&c->body, 3, bytes_str("E"));
        wire_end(&c->body, compare);
    }
    etcd_call_start(c);
}

/* --- Opening ------------------------------------------------------------- */

static uint64_t etcd_oldest(const struct backend *b)
{
    const struct etcd *x = etcd_of(b);

    return x->oldest > x->assumed ? x->oldest : x->assumed;
}

static uint64_t etcd_newest(const struct backend *b)
{
    return etcd_of(b)->newest;
}

static const struct backend_ops etcd_ops = {
    .slots = ETCD_SLOTS,
    .barrier_free = false,
    .attach = attach,
    .start = etcd_start,
    .close = close_etcd,
    .txn = etcd_txn,
    .range = etcd_range,
    .walk = etcd_walk,
    .walk_end = etcd_walk_end,
    .history = etcd_history,
    .moment = etcd_moment,
    .barrier = etcd_barrier,
    .lease_grant = etcd_lease_grant,
    .lease_keep = etcd_lease_keep,
    .lease_revoke = etcd_lease_revoke,
    .lease_put = etcd_lease_put,
    .compact = etcd_compact,
    .compacted = etcd_compacted,
    .room = etcd_room,
    .oldest = etcd_oldest,
    .newest = etcd_newest,
};

static void on_opened(struct etcd *x, void *arg, enum err e)
{
    (void)arg;
    x->opened = e;
    uv_stop(x->loop);
}

static void on_looked(struct etcd *x)
{
    enum err e = etcd_strangers(x, &x->try_text);

    if (e == ERR_OK)
        etcd_try(x, on_opened, NULL);
    else
        on_opened(x, NULL, e);
}

/* On a loop of its own, so that what is wrong is said before anything starts.
 * An etcd that nobody reaches is no reason not to start: the engine waits. */
static enum err first_try(struct etcd *x, struct errtext *t)
{
    uv_loop_t loop;

    if (uv_loop_init(&loop) != 0)
        return ERR_NOMEM;
    attach(&x->backend, &loop);
    x->opened = ERR_UNKNOWN;
    etcd_look(x, on_looked);
    if (x->opened == ERR_UNKNOWN)
        (void)uv_run(&loop, UV_RUN_DEFAULT);
    detach(x);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    require(uv_loop_close(&loop) == 0);
    x->logging_in = false;
    enum err e = x->opened;

    if (e == ERR_OK || e == ERR_UNAVAILABLE || e == ERR_TIMEOUT)
        return ERR_OK;
    if (t)
        *t = x->try_text;
    return e;
}

/* As `tls` of parse_url: files that cannot be read are told now. */
static enum err open_tls(struct etcd *x, struct errtext *t)
{
    const struct store_etcd *o = &x->options;
    const struct tls_files files = {.ca_file = o->ca_file,
                                    .cert_file = o->cert_file,
                                    .key_file = o->key_file};

    return o->ca_file || o->cert_file ? tls_client_new(&files, &x->tls, t)
                                      : ERR_OK;
}

enum err backend_etcd_open(const char *url, const struct store_etcd *o,
                           const char *server_id, struct backend **ret,
                           struct errtext *t)
{
    struct etcd *x = xzalloc(sizeof *x);

    x->backend.ops = &etcd_ops;
    x->oldest = 1;
    list_init(&x->calls);
    list_init(&x->to_log_in);
    list_init(&x->to_try);
    list_init(&x->histories);
    x->gathered_max = ETCD_GATHERED_MAX;
    copy_options(x, o);
    etcd_put_hello(&x->hello);
    require(!x->hello.bad);
    enum err e = parse_url(x, url, t);

    if (e == ERR_OK)
        e = open_tls(x, t);
    if (e == ERR_OK) {
        /* Servers that are given the same list begin with different members. */
        x->at = bytes_hash(bytes_str(server_id), 0) % x->member_n;
        e = first_try(x, t);
    }
    if (e != ERR_OK) {
        etcd_free(x);
        return e;
    }
    *ret = &x->backend;
    return ERR_OK;
}
