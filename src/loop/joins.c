/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/joins.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/net.h"

struct join_name {
    struct lookup lookup;
    struct joins *joins;
    char host[NAMES_HOST_MAX + 1];
    unsigned port;
    bool asked, told;
};

struct joins {
    struct joins_options o;
    struct names *names;
    struct join_name name[];
};

static void split(const char *to, struct join_name *n)
{
    struct bytes s = bytes_str(to);
    const char *colon = strrchr(to, ':');
    struct bytes host = bytes_head(s, colon ? (size_t)(colon - to) : s.n);

    if (host.n > 1 && host.p[0] == '[')
        host = bytes_of(host.p + 1, host.n - 2);
    (void)snprintf(n->host, sizeof n->host, "%.*s", BYTES_ARG(host));
    n->port = colon ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

static void tell(struct join_name *n, const struct names_answer *a)
{
    const struct joins_options *o = &n->joins->o;

    if (a->error && !n->told)
        log_warn("peers", "%s: %s", n->host, a->error);
    n->told = a->error != NULL;
    for (size_t i = 0; i < a->n; i++) {
        const struct sockaddr_storage *s = &a->addresses[i];
        char ip[INET6_ADDRSTRLEN], to[JOINS_ADDRESS_MAX];
        const void *from =
            s->ss_family == AF_INET6
                ? (const void *)&((const struct sockaddr_in6 *)s)->sin6_addr
                : (const void *)&((const struct sockaddr_in *)s)->sin_addr;

        if (!inet_ntop(s->ss_family, from, ip, sizeof ip))
            continue;
        net_host_port(to, sizeof to, bytes_str(ip), n->port);
        o->found(o->ctx, to);
    }
}

static void on_answer(struct lookup *l, const struct names_answer *a)
{
    struct join_name *n = container_of(l, struct join_name, lookup);

    n->asked = false;
    tell(n, a);
}

void joins_look(struct joins *j)
{
    for (size_t i = 0; i < j->o.count; i++) {
        struct join_name *n = &j->name[i];

        if (n->asked)
            continue;
        n->asked = true;
        const struct names_answer *a = names_ask(j->names, n->host, &n->lookup);
        if (!a)
            continue;
        n->asked = false;
        tell(n, a);
    }
}

bool joins_wait(const struct joins *j)
{
    for (size_t i = 0; i < j->o.count; i++)
        if (j->name[i].asked)
            return true;
    return false;
}

enum err joins_new(const struct joins_options *o, struct joins **ret)
{
    struct joins *j = calloc(1, sizeof *j + o->count * sizeof j->name[0]);

    if (!j)
        return ERR_NOMEM;
    j->o = *o;
    for (size_t i = 0; i < o->count; i++) {
        struct join_name *n = &j->name[i];

        n->joins = j;
        n->lookup.done = on_answer;
        list_init(&n->lookup.link);
        split(o->to[i], n);
    }
    enum err e = names_new(o->loop, o->timers, &j->names);
    if (e != ERR_OK) {
        free(j);
        return e;
    }
    *ret = j;
    return ERR_OK;
}

void joins_close(struct joins *j)
{
    if (!j)
        return;
    for (size_t i = 0; i < j->o.count; i++)
        names_forget(&j->name[i].lookup);
    names_close(j->names);
    free(j);
}

/* --- When to give up ------------------------------------------------------ */

bool joins_is_over(const struct joins_rule *r, uint64_t since_ms, bool tried,
                   struct errtext *t)
{
    if (r->at_once && tried) {
        errtext_set(t, "none of the servers to be joined answers, and with "
                       "start_join (-join) one has to at the first try; with "
                       "retry_join (-retry-join) they are waited for");
        return true;
    }
    if (r->attempts_max && r->retry_ms &&
        since_ms / r->retry_ms >= r->attempts_max) {
        errtext_set(t,
                    "none of the servers to be joined has answered in %llu "
                    "rounds (retry_max) after the first",
                    (unsigned long long)r->attempts_max);
        return true;
    }
    return false;
}
