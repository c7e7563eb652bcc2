/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What is said of TLS in three places, into one: tls.https for this listener,
 * before tls.defaults (both since Consul 1.12), before the older flat keys. */

#include "config/agent_parts.h"

#include <stdio.h>
#include <strings.h>

enum { KEY_ROOM = 64 };

/* The key that was said last of one setting, for messages. */
static const char *said_key(const struct agent_config *c, const char *name,
                            char room[KEY_ROOM])
{
    static const char *const sections[] = {"tls.https.", "tls.defaults.", ""};

    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        (void)snprintf(room, KEY_ROOM, "%s%s", sections[i], name);
        if (agent_config_where(c, room))
            return room;
    }
    (void)snprintf(room, KEY_ROOM, "%s", name);
    return room;
}

static const char *first(const char *a, const char *b, const char *c)
{
    return a ? a : b ? b : c;
}

static bool first_bool(const struct agent_config *c, const char *key, bool v,
                       bool otherwise)
{
    return agent_config_where(c, key) ? v : otherwise;
}

static struct config_tls over(const struct config_tls *a,
                              const struct config_tls *b)
{
    return (struct config_tls){
        .ca_file = first(a->ca_file, b->ca_file, NULL),
        .ca_path = first(a->ca_path, b->ca_path, NULL),
        .cert_file = first(a->cert_file, b->cert_file, NULL),
        .key_file = first(a->key_file, b->key_file, NULL),
        .min_version = first(a->min_version, b->min_version, NULL),
        .cipher_suites = first(a->cipher_suites, b->cipher_suites, NULL),
    };
}

static enum err parse_version(struct agent_config *c, struct errtext *t)
{
    static const char *const names[][2] = {{"tls10", "TLSv1_0"},
                                           {"tls11", "TLSv1_1"},
                                           {"tls12", "TLSv1_2"},
                                           {"tls13", "TLSv1_3"}};
    const char *text = c->https_tls.min_version;
    char key[KEY_ROOM];

    c->https_tls_minor = 2;
    if (!text || strcasecmp(text, "TLS_AUTO") == 0)
        return ERR_OK;
    for (int i = 0; i < 4; i++)
        if (strcasecmp(text, names[i][0]) == 0 ||
            strcasecmp(text, names[i][1]) == 0) {
            c->https_tls_minor = i;
            return ERR_OK;
        }
    return agent_config_fail(c, said_key(c, "tls_min_version", key), t,
                             "tls_min_version: value %s not supported, please "
                             "specify one of tls10, tls11, tls12, tls13, "
                             "TLSv1_0, TLSv1_1, TLSv1_2, TLSv1_3, TLS_AUTO",
                             config_quote(bytes_str(text)).s);
}

static enum err check_pair(const struct agent_config *c,
                           const struct config_tls *v, struct errtext *t)
{
    char key[KEY_ROOM];

    if (!v->cert_file == !v->key_file)
        return ERR_OK;
    const char *set = v->cert_file ? "cert_file" : "key_file";
    const char *missing = v->cert_file ? "key_file" : "cert_file";
    return agent_config_fail(c, said_key(c, set, key), t,
                             "%s is set without %s: both or none", set,
                             missing);
}

enum err agent_config_tls(struct agent_config *c, struct errtext *t)
{
    const struct config_tls *flat = &c->tls.flat, *defaults = &c->tls.defaults;
    const struct config_tls *https = &c->tls.https;
    char key[KEY_ROOM];

    c->own_tls = over(defaults, flat);
    c->https_tls = over(https, &c->own_tls);
    bool verify = first_bool(c, "tls.defaults.verify_incoming",
                             defaults->verify_incoming, flat->verify_incoming);
    verify = verify || c->tls.verify_incoming_https;
    c->https_tls.verify_incoming = first_bool(c, "tls.https.verify_incoming",
                                              https->verify_incoming, verify);
    c->https_tls.prefer_server_ciphers =
        first_bool(c, "tls.https.tls_prefer_server_cipher_suites",
                   https->prefer_server_ciphers,
                   first_bool(c, "tls.defaults.tls_prefer_server_cipher_suites",
                              defaults->prefer_server_ciphers,
                              flat->prefer_server_ciphers));
    enum err e = check_pair(c, &c->own_tls, t);
    if (e == ERR_OK)
        e = check_pair(c, &c->https_tls, t);
    if (e == ERR_OK)
        e = parse_version(c, t);
    if (e != ERR_OK || c->ports.https < 0 || !c->https_tls.cert_file ||
        !c->https_tls.verify_incoming || c->https_tls.ca_file ||
        c->https_tls.ca_path)
        return e;
    return agent_config_fail(c, said_key(c, "verify_incoming", key), t,
                             "verify_incoming is set without ca_file or "
                             "ca_path: no client could be verified");
}
