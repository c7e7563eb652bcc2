/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Whom an agent joins, and the key that proves it to be one of them. What can
 * be refused is refused here, before anything listens. */

#include "config/agent_parts.h"

#include <stdio.h>

enum {
    JOIN_MAX = 64, /* addresses */
    HOST_MAX = 255,
    MIRROR_WORDS_MAX = 100, /* subscriptions of one stream, and some more */
    MIRROR_WORD_MAX = 255,
    MIRROR_TAGS_MAX = 10, /* one filter has them all (api/filter.h) */
};

/* --- The key -------------------------------------------------------------- */

static int base64_value(char ch)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = ch ? strchr(digits, ch) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* RFC 4648 4, with its padding. False: it is none, or more than max bytes. */
static bool base64_decode(struct bytes text, unsigned char *ret, size_t max,
                          size_t *ret_n)
{
    uint32_t group = 0;
    size_t n = 0, pad = 0;

    if (text.n == 0 || text.n % 4 != 0)
        return false;
    while (pad < 2 && text.p[text.n - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < text.n; i++) {
        int v = i < text.n - pad ? base64_value(text.p[i]) : 0;
        if (v < 0)
            return false;
        group = group << 6 | (uint32_t)v;
        for (int k = 0; i % 4 == 3 && k < 3; k++) {
            bool past = i + 1 == text.n && k >= 3 - (int)pad;
            if (!past && n == max)
                return false;
            if (!past)
                ret[n++] = (unsigned char)(group >> (16 - 8 * k));
        }
    }
    *ret_n = n;
    return true;
}

static enum err take_key(struct agent_config *c, struct errtext *t)
{
    unsigned char key[64];
    size_t n;

    if (!c->join.encrypt)
        return ERR_OK;
    if (!base64_decode(bytes_str(c->join.encrypt), key, sizeof key, &n))
        return agent_config_fail(c, "encrypt", t,
                                 "encrypt has invalid key: it is not base64 of "
                                 "16, 24 or 32 bytes; muster keygen makes one");
    if (n != 16 && n != 24 && n != 32)
        return agent_config_fail(c, "encrypt", t,
                                 "encrypt has invalid key: key size must be "
                                 "16, 24 or 32 bytes, this one has %zu; muster "
                                 "keygen makes one",
                                 n);
    c->join.key = arena_copy(c->arena, bytes_of(key, n));
    return c->join.key.p ? ERR_OK : ERR_NOMEM;
}

/* --- Addresses ------------------------------------------------------------ */

static bool is_host_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           (ch >= '0' && ch <= '9') || ch == '.' || ch == '-' || ch == '_';
}

static bool is_v6_char(char ch)
{
    return (ch >= '0' && ch <= '9') || (ch >= 'a' && ch <= 'f') ||
           (ch >= 'A' && ch <= 'F') || ch == ':' || ch == '.' || ch == '%' ||
           is_host_char(ch);
}

static bool all_are(struct bytes s, bool (*is)(char ch))
{
    for (size_t i = 0; i < s.n; i++)
        if (!is(s.p[i]))
            return false;
    return s.n > 0 && s.n <= HOST_MAX;
}

/* host, host:port, [v6], [v6]:port, v6. *ret_port 0: none was said. */
static bool split(struct bytes s, struct bytes *ret_host, bool *ret_v6,
                  uint64_t *ret_port)
{
    struct bytes port = {0};
    size_t colon = bytes_find(s, ':');
    bool one = colon < s.n &&
               bytes_find(bytes_skip(s, colon + 1), ':') == s.n - colon - 1;

    *ret_v6 = false;
    *ret_port = 0;
    *ret_host = s;
    if (s.n && s.p[0] == '[') {
        size_t end = bytes_find(s, ']');
        if (end == s.n)
            return false;
        *ret_v6 = true;
        *ret_host = bytes_of(s.p + 1, end - 1);
        port = bytes_skip(s, end + 1);
        if (port.n && port.p[0] != ':')
            return false;
    } else if (one) {
        *ret_host = bytes_head(s, colon);
        port = bytes_skip(s, colon);
    } else if (colon < s.n) {
        *ret_v6 = true;
    }
    if (port.n && (bytes_u64(bytes_skip(port, 1), ret_port) != ERR_OK ||
                   *ret_port == 0 || *ret_port > 65535))
        return false;
    return all_are(*ret_host, *ret_v6 ? is_v6_char : is_host_char);
}

static enum err add(struct agent_config *c, const char *key, const char *text,
                    int usual_port, struct config_strings *to,
                    struct errtext *t)
{
    struct bytes s = bytes_str(text), host;
    uint64_t port;
    bool v6;

    if (bytes_find(s, '=') < s.n)
        return agent_config_fail(c, key, t,
                                 "%s: %s: clouds are not asked for addresses "
                                 "(provider=...): write HOST:PORT, or a name "
                                 "that resolves to the servers",
                                 key, config_quote(s).s);
    if (!split(s, &host, &v6, &port))
        return agent_config_fail(c, key, t,
                                 "%s: %s is not HOST, HOST:PORT or [V6]:PORT",
                                 key, config_quote(s).s);
    if (to->n == JOIN_MAX)
        return agent_config_fail(c, key, t, "%s: more than %d addresses", key,
                                 JOIN_MAX);
    /* Consul's lists name the gossip port, which is this one. */
    if (port == 0)
        port = (uint64_t)usual_port;
    char *full = arena_printf(c->arena, v6 ? "[%.*s]:%llu" : "%.*s:%llu",
                              BYTES_ARG(host), (unsigned long long)port);
    return full ? config_strings_add(c->arena, to, full) : ERR_NOMEM;
}

/* --- What goes together --------------------------------------------------- */

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0;
}

/* Who is given no address waits for ever for the others. */
static enum err check_expect(struct agent_config *c, struct errtext *t)
{
    if (c->bootstrap_expect < 2 || c->store)
        return ERR_OK;
    if (c->join.all.n == 0)
        return agent_config_fail(c, "bootstrap_expect", t,
                                 "'bootstrap_expect = %lld' requires "
                                 "retry_join: the addresses of the servers",
                                 (long long)c->bootstrap_expect);
    if (c->ports.server < 0)
        return agent_config_fail(c, "ports.server", t,
                                 "'bootstrap_expect = %lld' requires "
                                 "ports.server: the servers' stores talk there",
                                 (long long)c->bootstrap_expect);
    return ERR_OK;
}

/* What of other datacenters is mirrored. */
static enum err check_mirror_services(struct agent_config *c, struct errtext *t)
{
    struct config_strings *v = &c->mirror.services;
    const char *key = "mirror.services";

    if (v->n > MIRROR_WORDS_MAX)
        return agent_config_fail(c, key, t,
                                 "mirror.services has %zu names, more than %d: "
                                 "name prefixes (\"web-*\") or \"all\"",
                                 v->n, MIRROR_WORDS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        struct bytes word = bytes_str(v->v[i]);
        size_t star = bytes_find(word, '*');
        if (word.n == 0 || word.n > MIRROR_WORD_MAX || star == 0 ||
            (star < word.n && star + 1 != word.n))
            return agent_config_fail(
                c, key, t,
                "mirror.services: %s is no name of a service, nor a prefix of "
                "names (\"web-*\"), nor \"all\" or \"none\"",
                config_quote(word).s);
        if ((bytes_is(word, "all") || bytes_is(word, "none")) && v->n > 1)
            return agent_config_fail(
                c, key, t, "mirror.services: \"%s\" stands alone", v->v[i]);
    }
    return ERR_OK;
}

static enum err check_mirror_tags(struct agent_config *c, struct errtext *t)
{
    const struct config_strings *v = &c->mirror.tags;
    const char *key = "mirror.tags";

    if (v->n > MIRROR_TAGS_MAX)
        return agent_config_fail(
            c, key, t,
            "mirror.tags has %zu tags, more than %d: give the services that "
            "are to be mirrored one tag in common",
            v->n, MIRROR_TAGS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        struct bytes tag = bytes_str(v->v[i]);
        bool plain = tag.n > 0 && tag.n <= MIRROR_WORD_MAX;
        for (size_t k = 0; k < tag.n; k++)
            plain &= (unsigned char)tag.p[k] >= ' ' && tag.p[k] != '`';
        if (!plain)
            return agent_config_fail(
                c, key, t,
                "mirror.tags: %s is no tag of 1 to %d bytes without \"`\" and "
                "control characters",
                config_quote(tag).s, MIRROR_WORD_MAX);
    }
    return ERR_OK;
}

static enum err check_mirror(struct agent_config *c, struct errtext *t)
{
    struct config_strings *v = &c->mirror.services;
    enum err e = check_mirror_services(c, t);

    if (e == ERR_OK)
        e = check_mirror_tags(c, t);
    if (e != ERR_OK)
        return e;
    bool all = v->n == 1 && bytes_is(bytes_str(v->v[0]), "all");
    c->mirror.off = v->n == 1 && bytes_is(bytes_str(v->v[0]), "none");
    if ((all || c->mirror.off) && c->mirror.tags.n)
        return agent_config_fail(
            c, "mirror.tags", t,
            "mirror.services: \"%s\" stands alone, without mirror.tags too: "
            "leave it out, or name services",
            v->v[0]);
    if (all)
        v->n = 0;
    return ERR_OK;
}

static enum err check_wan(struct agent_config *c, struct errtext *t)
{
    if (c->join.all_wan.n == 0)
        return ERR_OK;
    if (!c->server)
        return agent_config_fail(c, "retry_join_wan", t,
                                 "retry_join_wan is for servers: they join "
                                 "datacenters, agents join their servers");
    if (c->ports.serf_wan < 0)
        return agent_config_fail(
            c, "ports.serf_wan", t,
            "joining other datacenters requires "
            "ports.serf_wan: they reach this server there");
    if (!c->join.safe)
        return agent_config_fail(c, "bind_addr", t,
                                 "bind_addr %s is open to the network, and "
                                 "there is no key: set encrypt to the same in "
                                 "all datacenters (muster keygen makes one)",
                                 c->bind_addr);
    return ERR_OK;
}

enum err agent_config_join(struct agent_config *c, struct errtext *t)
{
    int lan = c->ports.serf_lan > 0 ? c->ports.serf_lan
                                    : agent_defaults.ports.serf_lan;
    int wan = c->ports.serf_wan > 0 ? c->ports.serf_wan
                                    : agent_defaults.ports.serf_wan;
    const struct {
        const char *key;
        const struct config_strings *from;
        int port;
        struct config_strings *to;
    } lists[] = {
        {"start_join", &c->join.start, lan, &c->join.all},
        {"retry_join", &c->join.retry, lan, &c->join.all},
        {"start_join_wan", &c->join.start_wan, wan, &c->join.all_wan},
        {"retry_join_wan", &c->join.retry_wan, wan, &c->join.all_wan},
    };
    enum err e = take_key(c, t);

    if (e == ERR_OK)
        e = check_mirror(c, t);
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++)
        for (size_t i = 0; e == ERR_OK && i < lists[l].from->n; i++)
            e = add(c, lists[l].key, lists[l].from->v[i], lists[l].port,
                    lists[l].to, t);
    if (e == ERR_OK && c->join.interval_wan_ms == 0)
        return agent_config_fail(c, "retry_interval_wan", t,
                                 "retry_interval_wan must be over 0s");
    if (e == ERR_OK && c->join.interval_ms == 0)
        return agent_config_fail(c, "retry_interval", t,
                                 "retry_interval must be over 0s");
    if (e == ERR_OK)
        e = check_expect(c, t);
    if (e != ERR_OK)
        return e;
    c->join.safe = c->join.key.n > 0 || is_loopback(c->bind_addr);
    e = check_wan(c, t);
    if (e != ERR_OK)
        return e;
    /* A server that is alone wants nobody. */
    bool alone = c->server && (c->bootstrap || c->store);
    if (c->join.all.n == 0 || alone)
        return ERR_OK;
    if (c->ports.serf_lan < 0)
        return agent_config_fail(c, "ports.serf_lan", t,
                                 "joining others requires ports.serf_lan: they "
                                 "reach this agent there");
    if (!c->join.safe)
        return agent_config_fail(c, "bind_addr", t,
                                 "bind_addr %s is open to the network, and "
                                 "there is no key: set encrypt to the same on "
                                 "all servers and agents (muster keygen makes "
                                 "one)",
                                 c->bind_addr);
    return ERR_OK;
}
