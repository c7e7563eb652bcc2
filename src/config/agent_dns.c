/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* What is said about DNS: checked at the end. */
#include <arpa/inet.h>

#include "base/duration.h"
#include "base/net.h"
#include "config/agent_parts.h"

enum {
    NAME_BYTES_MAX = 200, /* of a domain: names are put before it */
    LABEL_BYTES_MAX = 63,
    RECURSORS_MAX = 16,
    EXEMPT_MAX = 256, /* each is looked at for each query */
    TTL_MAX_S = 7 * 24 * 3600,
};

static bool is_domain(struct bytes text)
{
    if (text.n && text.p[text.n - 1] == '.')
        text.n--;
    if (text.n == 0 || text.n > NAME_BYTES_MAX)
        return false;
    while (text.n) {
        size_t n = bytes_find(text, '.');
        if (n == 0 || n > LABEL_BYTES_MAX || n + 1 == text.n)
            return false;
        text = bytes_skip(text, n + 1);
    }
    return true;
}

static enum err check_domain(const struct agent_config *c, const char *key,
                             const char *domain, struct errtext *t)
{
    if (!domain || is_domain(bytes_str(domain)))
        return ERR_OK;
    return agent_config_fail(c, key, t,
                             "%s: %s is no domain: labels of 1 to %d bytes "
                             "with dots between them, at most %d bytes",
                             key, config_quote(bytes_str(domain)).s,
                             LABEL_BYTES_MAX, NAME_BYTES_MAX);
}

static bool is_ip(struct bytes text)
{
    char s[INET6_ADDRSTRLEN];
    uint8_t ip[16];

    if (text.n == 0 || text.n >= sizeof s)
        return false;
    memcpy(s, text.p, text.n);
    s[text.n] = 0;
    return inet_pton(AF_INET, s, ip) == 1 || inet_pton(AF_INET6, s, ip) == 1;
}

static bool is_port(struct bytes text)
{
    uint64_t port;

    return bytes_u64(text, &port) == ERR_OK && port > 0 && port < 65536;
}

/* IP, IPv4:port, [IP], [IP]:port */
static bool is_recursor(struct bytes text)
{
    size_t end = bytes_find(text, ']'), colon = bytes_find(text, ':');

    if (is_ip(text))
        return true;
    if (text.n && text.p[0] == '[' && end < text.n) {
        struct bytes port = bytes_skip(text, end + 1);
        return is_ip(bytes_skip(bytes_head(text, end), 1)) &&
               (port.n == 0 ||
                (port.p[0] == ':' && is_port(bytes_skip(port, 1))));
    }
    return colon < text.n && is_ip(bytes_head(text, colon)) &&
           is_port(bytes_skip(text, colon + 1));
}

static enum err check_recursors(struct agent_config *c, struct errtext *t)
{
    struct config_strings *list = &c->dns.recursors;

    if (c->dns.recursor &&
        config_strings_add(c->arena, list, c->dns.recursor) != ERR_OK)
        return ERR_NOMEM;
    if (list->n > RECURSORS_MAX)
        return agent_config_fail(c, "recursors", t,
                                 "recursors: %zu of them, the limit is %d",
                                 list->n, RECURSORS_MAX);
    for (size_t i = 0; i < list->n; i++)
        if (!is_recursor(bytes_str(list->v[i])))
            return agent_config_fail(c, "recursors", t,
                                     "recursors: %s is no address: write "
                                     "10.0.0.1, 10.0.0.1:53 or [fd00::1]:53",
                                     config_quote(bytes_str(list->v[i])).s);
    if (c->dns.recursor_timeout_ms == 0)
        return agent_config_fail(c, "dns_config.recursor_timeout", t,
                                 "dns_config.recursor_timeout must be over 0s");
    return ERR_OK;
}

static enum err check_word(const struct agent_config *c, const char *key,
                           const char *word, const char *a, const char *b,
                           struct errtext *t)
{
    if (bytes_is(bytes_str(word), a) || bytes_is(bytes_str(word), b))
        return ERR_OK;
    return agent_config_fail(c, key, t, "%s: %s is neither \"%s\" nor \"%s\"",
                             key, config_quote(bytes_str(word)).s, a, b);
}

static enum err check_ttls(const struct agent_config *c, struct errtext *t)
{
    for (size_t i = 0; i < c->dns.service_ttl.n; i++) {
        const struct config_pair *p = &c->dns.service_ttl.v[i];
        struct errtext why = {0};
        int64_t ns;
        if (duration_parse(bytes_str(p->value), &ns, &why) != ERR_OK)
            return agent_config_fail(c, "dns_config.service_ttl", t,
                                     "dns_config.service_ttl: %s: %s",
                                     config_quote(bytes_str(p->key)).s, why.s);
        if (ns < 0 || ns / NS_PER_MS / 1000 > TTL_MAX_S)
            return agent_config_fail(c, "dns_config.service_ttl", t,
                                     "dns_config.service_ttl: %s: %s is not "
                                     "within 0s and %d hours",
                                     config_quote(bytes_str(p->key)).s,
                                     config_quote(bytes_str(p->value)).s,
                                     TTL_MAX_S / 3600);
    }
    if (c->dns.service_ttl_calm_ms / 1000 > TTL_MAX_S)
        return agent_config_fail(c, "dns_config.service_ttl_calm", t,
                                 "dns_config.service_ttl_calm is over %d hours",
                                 TTL_MAX_S / 3600);
    if (c->dns.node_ttl_ms / 1000 > TTL_MAX_S)
        return agent_config_fail(c, "dns_config.node_ttl", t,
                                 "dns_config.node_ttl is over %d hours",
                                 TTL_MAX_S / 3600);
    return ERR_OK;
}

static enum err check_exempt(const struct agent_config *c, struct errtext *t)
{
    const struct config_strings *list = &c->dns.rrl_exempt;

    if (list->n > EXEMPT_MAX)
        return agent_config_fail(c, "dns_config.rrl_exempt", t,
                                 "dns_config.rrl_exempt: %zu of them, the "
                                 "limit is %d: write networks",
                                 list->n, EXEMPT_MAX);
    for (size_t i = 0; i < list->n; i++) {
        struct net n;
        if (net_parse_host(bytes_str(list->v[i]), &n) != ERR_OK)
            return agent_config_fail(
                c, "dns_config.rrl_exempt", t,
                "dns_config.rrl_exempt: %s is neither an address nor a "
                "network: write 10.0.0.1, 10.0.0.0/8 or fd00::/8",
                config_quote(bytes_str(list->v[i])).s);
    }
    return ERR_OK;
}

enum err agent_config_dns(struct agent_config *c, struct errtext *t)
{
    enum err e = check_domain(c, "domain", c->domain, t);

    if (e == ERR_OK)
        e = check_domain(c, "alt_domain", c->alt_domain, t);
    if (e == ERR_OK)
        e = check_recursors(c, t);
    if (e == ERR_OK)
        e = check_word(c, "dns_config.recursor_strategy",
                       c->dns.recursor_strategy, "sequential", "random", t);
    if (e == ERR_OK)
        e = check_word(c, "dns_config.order", c->dns.order, "random", "sticky",
                       t);
    if (e == ERR_OK)
        e = check_exempt(c, t);
    return e == ERR_OK ? check_ttls(c, t) : e;
}
