/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/request.h"

#include <arpa/inet.h>

enum { URL_MAX = 2048 };

static void end(struct request *r, const struct fetch_result *result)
{
    r->fetch = NULL;
    r->busy = false;
    r->done(r, result);
}

static void on_answer(void *ctx, const struct fetch_result *result)
{
    end(ctx, result);
}

static void end_badly(struct request *r, enum err e, const char *why)
{
    struct fetch_result result = {.err = e};

    errtext_set(&result.text, "%s", why);
    end(r, &result);
}

static void ask(struct request *r, const char *address)
{
    struct fetch_header headers[AUTH_HEADERS];
    struct fetch_options o;
    char url[URL_MAX];

    fetch_defaults(r->m, r->server, &o);
    if (!server_url(r->server, address, r->target, url, sizeof url)) {
        end_badly(r, ERR_LIMIT, "the request's address is over 2048 bytes");
        return;
    }
    o.method = r->method;
    o.url = url;
    o.body = r->body;
    o.headers = headers;
    o.header_count = auth_headers(r->m, headers);
    o.timeout_ms = r->timeout_ms;
    enum err e = fetch_start(r->m->fetcher, &o, on_answer, r, &r->fetch);
    if (e != ERR_OK)
        end_badly(r, e, err_text(e));
}

static void ask_at(struct request *r, const struct names_answer *a)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_storage *x = a->addresses;

    if (a->error) {
        end_badly(r, ERR_UNAVAILABLE, a->error);
        return;
    }
    if (x->ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)x)->sin_addr,
                        text, sizeof text);
    else
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)x)->sin6_addr,
                        text, sizeof text);
    ask(r, text);
}

static void on_name(struct lookup *l, const struct names_answer *a)
{
    ask_at(container_of(l, struct request, lookup), a);
}

void request_start(struct request *r)
{
    r->busy = true;
    r->lookup.done = on_name;
    list_init(&r->lookup.link);
    if (r->server->unix_path) {
        ask(r, "");
        return;
    }
    const struct names_answer *a =
        names_ask(r->m->names, r->server->host, &r->lookup);
    if (a)
        ask_at(r, a);
}

void request_stop(struct request *r)
{
    if (!r->busy)
        return;
    r->busy = false;
    names_forget(&r->lookup);
    list_init(&r->lookup.link);
    if (r->fetch)
        fetch_cancel(r->fetch);
    r->fetch = NULL;
}
