/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A token is good for five minutes without use, and for as long as etcd's
 * members remember it: whoever is told that his is no good any more logs in
 * again. (etcd ignores the name in a client certificate on its JSON gateway, so
 * that a password is the only way.) */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/json_out.h"
#include "store/etcd_impl.h"

bool etcd_login_is_old(struct bytes text)
{
    static const char *const old[] = {"invalid auth token",
                                      "revision of auth store is old"};

    for (size_t i = 0; i < sizeof old / sizeof old[0]; i++) {
        if (text.n && memmem(text.p, text.n, old[i], strlen(old[i])))
            return true;
    }
    return false;
}

void etcd_login_forget(struct etcd *x)
{
    free(x->token);
    x->token = NULL;
}

static void on_login(struct etcd_call *c, const struct etcd_answer *a)
{
    struct etcd *x = c->etcd;
    struct errtext text = a->text;
    enum err e = a->why;
    struct bytes token = {0};
    struct list waiting;

    x->logging_in = false;
    if (e == ERR_OK)
        e = etcd_string_read(a->body, "token", &token);
    if (e == ERR_OK) {
        x->token = xcopy(token);
    } else if (strstr(text.s, "authentication is not enabled")) {
        log_warn("store", "etcd asks for no user: the one that is configured "
                          "is not used, and anybody may write to it");
        x->token = xstrdup("");
        e = ERR_OK;
    }
    etcd_call_free(c);
    list_init(&waiting);
    list_move_all(&waiting, &x->to_log_in);
    while (!list_empty(&waiting)) {
        struct etcd_call *w =
            container_of(waiting.next, struct etcd_call, link);

        list_del(&w->link);
        if (e == ERR_OK)
            etcd_call_again(w);
        else
            etcd_call_fail(w, e == ERR_TIMEOUT ? ERR_UNAVAILABLE : e, text.s);
    }
}

bool etcd_login_wait(struct etcd_call *c)
{
    struct etcd *x = c->etcd;

    if (!x->options.user || x->token || c->done == on_login)
        return false;
    list_del(&c->link);
    list_add(&x->to_log_in, &c->link);
    if (x->logging_in)
        return true;
    x->logging_in = true;
    struct etcd_call *login =
        etcd_call_new(x, sizeof *login, "auth/authenticate", on_login);

    buf_puts(&login->body, "{\"name\":");
    json_quote(&login->body, bytes_str(x->options.user));
    buf_puts(&login->body, ",\"password\":");
    json_quote(&login->body, bytes_str(x->options.password));
    buf_puts(&login->body, "}");
    etcd_call_start(login);
    return true;
}
