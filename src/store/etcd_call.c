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
 * closed. */
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
     "etcd's database has reached its quota: one server drops history and "
     "defragments it now; if this stays, live data fills it: raise the quota "
     "(store_quota, or --quota-backend-bytes of an etcd of yours)"},
    {"no leader", ERR_UNAVAILABLE,
     "etcd has no leader: no majority of its "
     "members reach each other"},
    {"too many requests", ERR_UNAVAILABLE, NULL},
    {"not supported for learner", ERR_UNAVAILABLE,
     "this server's etcd has not caught up with the others yet"},
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

bool etcd_heard(struct etcd *x, size_t member, const struct etcd_header *h)
{
    struct errtext why;

    if (!etcd_belongs(x, member, h->cluster, &why)) {
        /* Something between us and etcd has sent the connection elsewhere. */
        grpc_hang_up(x->member[member].channel,
                     "another cluster of etcd answers");
        return false;
    }
    if (h->revision > x->heard)
        x->heard = h->revision;
    if (h->revision > x->newest)
        x->newest = h->revision;
    if (h->term > x->term) {
        /* Not from here: somebody's answer is being read. */
        if (x->term)
            timer_set(&x->timers, &x->term_over, ETCD_TERM_MS);
        x->term = h->term;
    }
    etcd_feed_check(x);
    return true;
}

/* --- Members ------------------------------------------------------------- */

void etcd_member_failed(struct etcd *x, size_t member)
{
    if (x->at == member)
        x->at = (member + 1) % x->member_n;
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
    c->grpc = path[0] == '/';
    if (c->grpc)
        wire_frame_begin(&c->body);
    c->done = done;
    c->timeout_ms = ETCD_CALL_MS;
    c->cluster = x->cluster;
    return c;
}

void etcd_call_free(void *call)
{
    struct etcd_call *c = call;

    list_del(&c->link);
    if (c->fetch)
        fetch_cancel(c->fetch);
    grpc_cancel(&c->rpc);
    if (c->drop)
        c->drop(c);
    buf_fini(&c->body);
    free(c);
}

void etcd_calls_drop(struct etcd *x)
{
    struct list *all[] = {&x->calls, &x->to_log_in, &x->to_try};

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

/* Another cluster is followed by now than the one that it was meant for. */
static bool of_before(const struct etcd_call *c)
{
    return c->cluster && c->cluster != c->etcd->cluster;
}

/* The next member, if there is one that was not asked. */
static bool ask_next(struct etcd_call *c)
{
    struct etcd *x = c->etcd;

    etcd_member_failed(x, c->member);
    if (c->only || ++c->tried >= x->member_n || of_before(c))
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

/* A text of etcd's, or of whatever else listens there. other: what it is if nobody
 * knows the text. */
static void refused(struct etcd_call *c, struct bytes text, enum err other)
{
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
    errtext_set(&a.text, "%.*s", BYTES_ARG(text));
    failed(c, other, true, &a.text);
}

/* Too large, and so it would be elsewhere. */
static void too_large(struct etcd_call *c, struct bytes text)
{
    struct etcd_answer a = {.why = ERR_LIMIT, .lost = true};

    errtext_set(&a.text, "%.*s", BYTES_ARG(text));
    answer(c, &a);
}

/* --- By gRPC ------------------------------------------------------------- */

static void on_called(struct grpc_call *rpc, const struct grpc_result *r)
{
    struct etcd_call *c = container_of(rpc, struct etcd_call, rpc);
    struct etcd_answer a = {.body = r->message};
    struct errtext text;

    if (r->err == ERR_OK && of_before(c)) {
        errtext_set(&text, "etcd is another cluster than before");
        failed(c, ERR_UNAVAILABLE, true, &text);
    } else if (r->err == ERR_OK) {
        answer(c, &a);
    } else if (r->err == ERR_LIMIT) {
        too_large(c, r->text);
    } else if (r->err == ERR_BAD) {
        refused(c, r->text, ERR_UNAVAILABLE);
    } else {
        errtext_set(&text, "%.*s", BYTES_ARG(r->text));
        failed(c, r->err, !r->unsent, &text);
    }
}

static void ask_grpc(struct etcd_call *c)
{
    wire_frame_end(&c->body);
    if (c->body.bad) {
        etcd_call_fail(c, ERR_NOMEM, err_text(ERR_NOMEM));
        return;
    }
    c->rpc = (struct grpc_call){
        .path = c->path,
        .body = buf_bytes(&c->body),
        .timeout_ms = c->timeout_ms,
        .answer_max = ETCD_ANSWER_MAX,
        .done = on_called,
    };
    c->term = c->etcd->term;
    grpc_start(c->etcd->member[c->member].channel, &c->rpc);
}

static struct etcd_call *of_earlier_term(struct etcd *x)
{
    list_each (it, &x->calls) {
        struct etcd_call *c = container_of(it, struct etcd_call, link);

        if (c->grpc && c->once && c->term < x->term)
            return c;
    }
    return NULL;
}

/* A write that a member had passed on to a leader who died is answered by nobody:
 * the member waits for seconds, though others lead again. What came of it is
 * unknown either way, and asking for that needs no time-out. */
void etcd_term_over(struct timer *t)
{
    struct etcd *x = container_of(t, struct etcd, term_over);
    struct errtext why;
    struct etcd_call *c;

    errtext_set(&why, "the leader has changed meanwhile");
    while (!x->closing && (c = of_earlier_term(x))) {
        c->term = x->term;
        grpc_cancel(&c->rpc);
        failed(c, ERR_UNAVAILABLE, true, &why);
    }
}

/* --- By the gateway ------------------------------------------------------ */

static void on_fetched(void *ctx, const struct fetch_result *r)
{
    struct etcd_call *c = ctx;
    struct etcd_answer a = {.body = r->body};
    struct bytes text = etcd_error_read(r->body);
    struct errtext other;

    c->fetch = NULL;
    errtext_set(&other, "answered %.*s: is this etcd?",
                BYTES_ARG(r->status_line));
    if (r->err == ERR_LIMIT)
        too_large(c, bytes_str(r->text.s));
    else if (r->err != ERR_OK)
        failed(c, r->err == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE,
               !r->unsent, &r->text);
    else if (r->status != 200)
        refused(c, text.n ? text : bytes_str(other.s),
                r->status >= 500 ? ERR_UNAVAILABLE : ERR_BAD);
    else
        answer(c, &a);
}

static enum err ask_gateway(struct etcd_call *c)
{
    struct etcd *x = c->etcd;
    /* A member without a leader says so at once instead of waiting for one. */
    const struct fetch_header headers[] = {
        {"Grpc-Metadata-Hasleader", "true"},
        {"Authorization", x->token ? x->token : ""},
    };
    struct buf url = {0};

    buf_printf(&url, c->get ? "%s/%s" : "%s/v3/%s", x->member[c->member].url,
               c->path);
    buf_putc(&url, '\0');
    const struct fetch_options o = {
        .method = c->get ? "GET" : "POST",
        .url = url.bad ? "" : url.p,
        .headers = headers,
        .header_count = x->token && *x->token ? 2 : 1,
        .body = buf_bytes(&c->body),
        .timeout_ms = c->timeout_ms,
        .unix_path = x->options.unix_path,
        .connect_timeout_ms = ETCD_CONNECT_MS,
        .keep_connection = true,
        .ca_file = x->options.ca_file,
        .cert_file = x->options.cert_file,
        .key_file = x->options.key_file,
        .tls_server_name = x->options.tls_server_name,
        .body_keep_bytes = ETCD_ANSWER_MAX,
        .body_refuse_larger = true,
    };
    enum err e = c->body.bad || url.bad
                     ? ERR_NOMEM
                     : fetch_start(x->fetcher, &o, on_fetched, c, &c->fetch);

    buf_fini(&url);
    return e;
}

static void fetch_it(struct etcd_call *c)
{
    enum err e = ask_gateway(c);

    if (e != ERR_OK)
        etcd_call_fail(c, e, err_text(e));
}

static void hello_message(struct grpc_call *rpc, struct bytes message)
{
    (void)message; /* the channel has read it */
    grpc_stop(rpc);
}

static void hello_done(struct grpc_call *rpc, const struct grpc_result *r)
{
    struct etcd_call *c = container_of(rpc, struct etcd_call, rpc);
    struct errtext text;

    if (grpc_ready(c->etcd->member[c->member].channel)) {
        fetch_it(c);
        return;
    }
    errtext_set(&text, "%.*s", BYTES_ARG(r->text));
    failed(c, r->err == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE, false,
           &text);
}

/* The gateway's connections are libcurl's: who answers there is known from ours. */
static void ask_who(struct etcd_call *c)
{
    c->rpc = (struct grpc_call){.path = ETCD_HELLO,
                                .body = buf_bytes(&c->etcd->hello),
                                .timeout_ms = c->timeout_ms,
                                .answer_max = ETCD_PAGE_BYTES,
                                .message = hello_message,
                                .done = hello_done};
    grpc_start(c->etcd->member[c->member].channel, &c->rpc);
}

static void ask(struct etcd_call *c)
{
    if (etcd_login_wait(c))
        return;
    list_del(&c->link);
    list_add(&c->etcd->calls, &c->link);
    if (c->grpc)
        ask_grpc(c);
    else if (grpc_ready(c->etcd->member[c->member].channel))
        fetch_it(c);
    else
        ask_who(c);
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
