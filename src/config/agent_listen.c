/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Where an agent listens: addresses as Consul has them, in one string with
 * spaces between, each an IP address, unix:///path or a template that is
 * resolved on the host ({{ GetInterfaceIP "eth0" }}). */

#include "config/agent_parts.h"

#include <arpa/inet.h>

static bool is_ip(const char *s)
{
    struct in6_addr space;

    return inet_pton(AF_INET, s, &space) == 1 ||
           inet_pton(AF_INET6, s, &space) == 1;
}

static bool is_any(const char *s)
{
    return strcmp(s, "0.0.0.0") == 0 || strcmp(s, "::") == 0;
}

static bool is_template(const char *s)
{
    return strncmp(s, "{{", 2) == 0;
}

static bool is_unix(const char *s)
{
    return strncmp(s, "unix://", 7) == 0;
}

static size_t word_end(struct bytes text)
{
    size_t n = 0;
    int open = 0; /* inside {{ }}, where spaces do not end the word */

    for (; n < text.n && (open > 0 || text.p[n] != ' '); n++) {
        if (bytes_starts(bytes_skip(text, n), bytes_str("{{")))
            open++;
        else if (bytes_starts(bytes_skip(text, n), bytes_str("}}")))
            open--;
    }
    return n;
}

static struct bytes strip_brackets(struct bytes word)
{
    bool in = word.n > 2 && word.p[0] == '[' && word.p[word.n - 1] == ']';

    return in ? bytes_of(word.p + 1, word.n - 2) : word;
}

/* Adds the addresses that `text`, said by key, names. */
static enum err split(struct agent_config *c, const char *key, const char *text,
                      bool unix_too, struct config_strings *ret,
                      struct errtext *t)
{
    struct bytes left = bytes_str(text);

    for (;;) {
        while (left.n && left.p[0] == ' ')
            left = bytes_skip(left, 1);
        if (left.n == 0)
            break;
        size_t n = word_end(left);
        const char *s =
            arena_str(c->arena, strip_brackets(bytes_head(left, n)));
        if (!s)
            return ERR_NOMEM;
        left = bytes_skip(left, n);
        if (is_unix(s) && !unix_too)
            return agent_config_fail(c, key, t, "%s cannot be a unix socket",
                                     key);
        if (is_unix(s) ? s[7] != '/' : !is_template(s) && !is_ip(s))
            return agent_config_fail(c, key, t, "%s: invalid ip address: %s",
                                     key, config_quote(bytes_str(s)).s);
        if (ret->n == CONFIG_ADDRESSES_MAX)
            return agent_config_fail(c, key, t, "%s: more than %d addresses",
                                     key, CONFIG_ADDRESSES_MAX);
        if (config_strings_add(c->arena, ret, s) != ERR_OK)
            return ERR_NOMEM;
    }
    if (ret->n == 0)
        return agent_config_fail(c, key, t, "%s: no address", key);
    return ERR_OK;
}

/* One address of the host, not of a socket; *text loses its brackets. */
static enum err one(struct agent_config *c, const char *key, const char **text,
                    struct errtext *t)
{
    struct config_strings found = {0};
    enum err e = split(c, key, *text, false, &found, t);

    if (e != ERR_OK)
        return e;
    if (found.n > 1)
        return agent_config_fail(c, key, t,
                                 "%s cannot contain multiple addresses", key);
    *text = found.v[0];
    return ERR_OK;
}

struct listener {
    const char *key; /* of its port */
    const struct config_strings *on;
    int port;
};

static bool overlap(const struct config_strings *a,
                    const struct config_strings *b)
{
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = 0; j < b->n; j++) {
            const char *x = a->v[i], *y = b->v[j];
            if (is_unix(x) || is_unix(y) || is_template(x) || is_template(y))
                continue;
            if (is_any(x) || is_any(y) || strcmp(x, y) == 0)
                return true;
        }
    }
    return false;
}

static enum err refuse_shared_ports(struct agent_config *c, struct errtext *t)
{
    struct config_strings bind = {&c->bind_addr, 1, 1};
    const struct listener all[] = {
        {"ports.dns", &c->listen.dns, c->ports.dns},
        {"ports.http", &c->listen.http, c->ports.http},
        {"ports.https", &c->listen.https, c->ports.https},
        {"ports.grpc", &c->listen.grpc, c->ports.grpc},
        {"ports.grpc_tls", &c->listen.grpc_tls, c->ports.grpc_tls},
        {"ports.serf_lan", &bind, c->ports.serf_lan},
        {"ports.serf_wan", &bind, c->server ? c->ports.serf_wan : -1},
        {"ports.server", &bind, c->server ? c->ports.server : -1},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (size_t j = 0; j < i; j++) {
            if (all[i].port < 0 || all[i].port != all[j].port ||
                !overlap(all[i].on, all[j].on))
                continue;
            return agent_config_fail(c, all[i].key, t,
                                     "%s: port %d is already taken by %s",
                                     all[i].key, all[i].port, all[j].key);
        }
    }
    return ERR_OK;
}

enum err agent_config_listen(struct agent_config *c, struct errtext *t)
{
    const struct {
        const char *key, *text;
        bool unix_too;
        struct config_strings *to;
    } all[] = {
        {"addresses.dns", c->addresses.dns, false, &c->listen.dns},
        {"addresses.http", c->addresses.http, true, &c->listen.http},
        {"addresses.https", c->addresses.https, true, &c->listen.https},
        {"addresses.grpc", c->addresses.grpc, true, &c->listen.grpc},
        {"addresses.grpc_tls", c->addresses.grpc_tls, true,
         &c->listen.grpc_tls},
    };
    enum err e = one(c, "bind_addr", &c->bind_addr, t);

    if (e == ERR_OK && c->advertise_addr) {
        e = one(c, "advertise_addr", &c->advertise_addr, t);
        if (e == ERR_OK && is_any(c->advertise_addr))
            return agent_config_fail(c, "advertise_addr", t,
                                     "advertise_addr cannot be %s: other hosts "
                                     "must reach it",
                                     c->advertise_addr);
    }
    if (e == ERR_OK && c->advertise_addr_wan)
        e = one(c, "advertise_addr_wan", &c->advertise_addr_wan, t);
    for (size_t i = 0; e == ERR_OK && i < sizeof all / sizeof all[0]; i++) {
        bool own = all[i].text != NULL;
        e = split(c, own ? all[i].key : "client_addr",
                  own ? all[i].text : c->client_addr, own && all[i].unix_too,
                  all[i].to, t);
    }
    return e == ERR_OK ? refuse_shared_ports(c, t) : e;
}
