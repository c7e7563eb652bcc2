/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* One request to one member; to another one if that is safe.
 *
 *     nothing was sent, or it said that it did nothing   ask the next member
 *     it may have done it (time-out, connection lost)    a read asks the next,
 *                                                        a write is `lost`
 *     it answered, with an answer or a refusal           that is the answer
 *
 * libcurl repeats a request by itself when a kept connection turns out to be
 * closed. Groups stand that: see etcd_txn.c. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "store/etcd_impl.h"

/* --- What etcd says ------------------------------------------------------ */

/* From etcd/api v3rpc/rpctypes/error.go and v3rpc/interceptor.go. Those only
 * that mean: nothing was written. */
static const struct refusal {
    const char *has;
    enum err why;
    const char *text; /* NULL: etcd's own */
} refusals[] = {
    {"too many operations in txn", ERR_LIMIT,
     "etcd allows fewer operations in a transaction than muster needs: start "
     "every member with --max-txn-ops 1024"},
    {"request is too large", ERR_LIMIT,
     "the change is larger than etcd allows: start every member with "
     "--max-request-bytes 1572864 (or more)"},
    {"message larger than max", ERR_LIMIT,
     "the change is larger than etcd allows: start every member with "
     "--max-request-bytes 1572864 (or more)"},
    {"database space exceeded", ERR_NOSPACE,
     "etcd's database has reached its quota (--quota-backend-bytes): history "
     "is dropped and the database defragmented; if this stays, raise the "
     "quota"},
    {"no leader", ERR_UNAVAILABLE,
     "etcd has no leader: no majority of its "
     "members reach each other"},
    {"too many requests", ERR_UNAVAILABLE, NULL},
    {"required revision has been compacted", ERR_COMPACTED, NULL},
    {"required revision is a future revision", ERR_NOT_FOUND, NULL},
    {"requested lease not found", ERR_NOT_FOUND, NULL},
    {"lease already exists", ERR_EXISTS, NULL},
    {"duplicate key given", ERR_BAD, NULL},
    {"permission denied", ERR_BAD,
     "etcd's user may not do this: give it the role root, or read and write "
     "on all keys"},
    {"authentication failed", ERR_BAD,
     "etcd refuses the user or its password (store_user, store_password)"},
    {"user name is empty", ERR_BAD,
     "etcd wants a user and a password (store_user, store_password)"},
    {"is corrupt", ERR_CORRUPT, NULL},
};

bool etcd_refusal(struct bytes text, enum err *ret_why, struct errtext *ret)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];

        if (!text.n || !memmem(text.p, text.n, r->has, strlen(r->has)))
            continue;
        *ret_why = r->why;
        if (r->text)
            errtext_set(ret, "%s", r->text);
        else
            errtext_set(ret, "%.*s", BYTES_ARG(text));
        return true;
    }
    return false;
}

bool etcd_heard(struct etcd *x, const struct etcd_header *h)
{
    if (h->cluster && x->cluster && h->cluster != x->cluster) {
        log_error("store",
                  "an etcd member belongs to another cluster: have=%llx "
                  "answered=%llx",
                  (unsigned long long)x->cluster,
                  (unsigned long long)h->cluster);
        return false;
    }
    if (h->cluster) {
        x->cluster = h->cluster;
        atomic_store(&x->backend.cluster, h->cluster);
    }
    if (h->revision > x->heard)
        x->heard = h->revision;
    if (h->revision > x->newest)
        x->newest = h->revision;
    etcd_feed_check(x);
    return true;
}

/* --- Members ------------------------------------------------------------- */

void etcd_member_failed(struct etcd *x, size_t member)
{
    if (x->at == member)
        x->at = (member + 1) % x->member_n;
}

void etcd_fetch_options(struct etcd *x, size_t member, const char *path,
                        struct bytes body, struct fetch_options *ret,
                        struct fetch_header *headers, struct buf *url)
{
    size_t n = 0;

    buf_reset(url);
    buf_printf(url, "%s/v3/%s", x->member[member].url, path);
    buf_putc(url, '\0');
    /* A member without a leader says so at once instead of waiting for one. */
    headers[n++] = (struct fetch_header){"Grpc-Metadata-Hasleader", "true"};
    if (x->token && *x->token)
        headers[n++] = (struct fetch_header){"Authorization", x->token};
    *ret = (struct fetch_options){
        .method = "POST",
        .url = url->bad ? "" : url->p,
        .headers = headers,
        .header_count = n,
        .body = body,
        .connect_timeout_ms = ETCD_CONNECT_MS,
        .keep_connection = true,
        .ca_file = x->options.ca_file,
        .cert_file = x->options.cert_file,
        .key_file = x->options.key_file,
        .tls_server_name = x->options.tls_server_name,
        .body_keep_bytes = ETCD_ANSWER_MAX,
        .body_refuse_larger = true,
    };
}

/* --- Life ---------------------------------------------------------------- */

void *etcd_call_new(struct etcd *x, size_t size, const char *path,
                    void (*done)(struct etcd_call *,
                                 const struct etcd_answer *))
{
    struct etcd_call *c = xzalloc(size);

    list_init(&c->link);
    c->etcd = x;
    c->path = path;
    c->done = done;
    c->timeout_ms = ETCD_CALL_MS;
    return c;
}

void etcd_call_free(void *call)
{
    struct etcd_call *c = call;

    list_del(&c->link);
    if (c->drop)
        c->drop(c);
    buf_fini(&c->body);
    free(c);
}

void etcd_calls_drop(struct etcd *x)
{
    struct list *all[] = {&x->calls, &x->to_log_in};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        while (!list_empty(all[i]))
            etcd_call_free(container_of(all[i]->next, struct etcd_call, link));
    }
}

static void answer(struct etcd_call *c, const struct etcd_answer *a)
{
    list_del(&c->link);
    c->done(c, a);
}

void etcd_call_fail(struct etcd_call *c, enum err why, const char *text)
{
    struct etcd_answer a = {.why = why};

    errtext_set(&a.text, "%s", text);
    answer(c, &a);
}

static void ask(struct etcd_call *c);

/* The next member, if there is one that was not asked. */
static bool ask_next(struct etcd_call *c)
{
    struct etcd *x = c->etcd;

    etcd_member_failed(x, c->member);
    if (c->only || ++c->tried >= x->member_n)
        return false;
    c->member = (c->member + 1) % x->member_n;
    ask(c);
    return true;
}

static void failed(struct etcd_call *c, enum err why, bool lost,
                   const struct errtext *text)
{
    struct etcd_answer a = {.why = why, .lost = lost};

    if ((!lost || !c->once) && ask_next(c))
        return;
    errtext_set(&a.text, "etcd at %s: %s", c->etcd->member[c->member].url,
                text->s);
    log_debug("store", "%s: %s", c->path, a.text.s);
    answer(c, &a);
}

/* A text of etcd's, or of whatever else listens there. */
static void refused(struct etcd_call *c, const struct fetch_result *r)
{
    struct bytes text = etcd_error_read(r->body);
    struct etcd_answer a = {0};

    if (etcd_login_is_old(text) && !c->logged_in) {
        c->logged_in = true; /* once */
        etcd_login_forget(c->etcd);
        etcd_call_again(c);
        return;
    }
    if (etcd_refusal(text, &a.why, &a.text)) {
        if (a.why == ERR_UNAVAILABLE)
            failed(c, a.why, false, &a.text);
        else
            answer(c, &a);
        return;
    }
    if (text.n)
        errtext_set(&a.text, "%.*s", BYTES_ARG(text));
    else
        errtext_set(&a.text, "answered %.*s: is this etcd?",
                    BYTES_ARG(r->status_line));
    failed(c, r->status >= 500 ? ERR_UNAVAILABLE : ERR_BAD, true, &a.text);
}

static void on_fetched(void *ctx, const struct fetch_result *r)
{
    struct etcd_call *c = ctx;
    struct etcd_answer a = {.body = r->body};

    c->fetch = NULL;
    if (r->err == ERR_LIMIT) { /* too large, and so it would be elsewhere */
        a.why = ERR_LIMIT;
        a.lost = true;
        a.text = r->text;
        answer(c, &a);
    } else if (r->err != ERR_OK) {
        failed(c, r->err == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
               !r->unsent, &r->text);
    } else if (r->status != 200) {
        refused(c, r);
    } else {
        answer(c, &a);
    }
}

static void ask(struct etcd_call *c)
{
    struct etcd *x = c->etcd;
    struct fetch_header headers[ETCD_HEADERS_MAX];
    struct fetch_options o;
    struct buf url = {0};

    if (etcd_login_wait(c))
        return;
    list_del(&c->link);
    list_add(&x->calls, &c->link);
    etcd_fetch_options(x, c->member, c->path, buf_bytes(&c->body), &o, headers,
                       &url);
    o.timeout_ms = c->timeout_ms;
    enum err e = c->body.bad || url.bad
                     ? ERR_NOMEM
                     : fetch_start(x->fetcher, &o, on_fetched, c, &c->fetch);
    buf_fini(&url);
    if (e != ERR_OK)
        etcd_call_fail(c, e, err_text(e));
}

void etcd_call_again(struct etcd_call *c)
{
    struct etcd *x = c->etcd;

    c->tried = 0;
    c->member = c->only ? c->only - 1 : x->at;
    ask(c);
}

void etcd_call_start(void *take_call)
{
    etcd_call_again(take_call);
}
