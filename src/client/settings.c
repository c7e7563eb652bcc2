/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "client/impl.h"

#include "loop/tls_files.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PORT_DEFAULT = 8500,
    UNIX_PATH_MAX_BYTES = 107,
    HOUR_MS = 3600 * 1000,
    SECRET_MAX = 4096, /* bytes of a token's file, or user and password */
};

void muster_options_init(struct muster_options *o, size_t size)
{
    static const struct muster_options usual = {
        .cache_max_age_ms = 24 * (uint64_t)HOUR_MS,
        .hold_ms = 5 * 60 * 1000,
        .failover_max_age_ms = 60 * 1000,
    };

    sized_init(o, size, &usual, sizeof usual);
}

static void server_free(struct server *s)
{
    free(s->host);
    free(s->unix_path);
    *s = (struct server){0};
}

void settings_free(struct settings *s)
{
    for (size_t i = 0; i < s->servers; i++)
        server_free(&s->server[i]);
    server_free(&s->agent);
    free(s->ca_file);
    free(s->cert_file);
    free(s->key_file);
    free(s->tls_server_name);
    free(s->datacenter);
    free(s->cache_dir);
    free(s->authorization);
    free(s->caller);
    buf_fini(&s->ca_pem);
    *s = (struct settings){0};
}

static char *copy(struct bytes b)
{
    char *p = malloc(b.n + 1);

    if (p) {
        memcpy(p, b.p, b.n);
        p[b.n] = '\0';
    }
    return p;
}

static enum err malformed(struct bytes text, struct errtext *t)
{
    errtext_set(t,
                "\"%.*s\" is no server's address; write HOST:PORT, "
                "http://HOST:PORT, https://HOST:PORT or unix:///PATH",
                BYTES_ARG(bytes_head(text, 100)));
    return ERR_BAD;
}

static enum err take_unix(struct bytes path, struct server *ret,
                          struct errtext *t)
{
    if (path.n == 0 || path.n > UNIX_PATH_MAX_BYTES) {
        errtext_set(t, "a socket's path has %zu bytes, must have 1 to %d",
                    path.n, UNIX_PATH_MAX_BYTES);
        return ERR_BAD;
    }
    ret->unix_path = copy(path);
    return ret->unix_path ? ERR_OK : ERR_NOMEM;
}

/* HOST, HOST:PORT or [V6]:PORT. */
static bool split(struct bytes text, struct bytes *host, struct bytes *port)
{
    size_t colon = text.n;

    *port = bytes_of("", 0);
    if (text.n && text.p[0] == '[') {
        size_t end = bytes_find(text, ']');
        if (end == text.n)
            return false;
        *host = bytes_of(text.p + 1, end - 1);
        text = bytes_skip(text, end + 1);
        if (text.n && text.p[0] != ':')
            return false;
        *port = bytes_skip(text, 1);
        return host->n > 0;
    }
    colon = bytes_find(text, ':');
    *host = bytes_head(text, colon);
    *port = bytes_skip(text, colon + 1);
    return host->n > 0 && host->n <= NAMES_HOST_MAX;
}

static enum err take_server(struct bytes text, bool tls, struct server *ret,
                            struct errtext *t)
{
    struct bytes whole = text, host, port;
    uint64_t number = PORT_DEFAULT;

    if (bytes_starts(text, bytes_str("unix://")))
        return take_unix(bytes_skip(text, 7), ret, t);
    ret->tls = tls;
    if (bytes_starts(text, bytes_str("http://"))) {
        text = bytes_skip(text, 7);
        ret->tls = false;
    } else if (bytes_starts(text, bytes_str("https://"))) {
        text = bytes_skip(text, 8);
        ret->tls = true;
    }
    while (bytes_ends(text, bytes_str("/")))
        text.n--;
    if (!split(text, &host, &port) ||
        (port.n && (bytes_u64(port, &number) != ERR_OK || number == 0 ||
                    number > UINT16_MAX)))
        return malformed(whole, t);
    for (size_t i = 0; i < host.n; i++)
        if ((unsigned char)host.p[i] <= ' ' || strchr("/@?#,\\\"", host.p[i]))
            return malformed(whole, t);
    ret->port = (uint16_t)number;
    ret->host = copy(host);
    return ret->host ? ERR_OK : ERR_NOMEM;
}

static enum err take_servers(struct settings *s, const char *list, bool tls,
                             struct errtext *t)
{
    struct bytes rest = bytes_str(list);

    while (rest.n) {
        size_t comma = bytes_find(rest, ',');
        struct bytes one = bytes_head(rest, comma);
        rest = bytes_skip(rest, comma + 1);
        while (one.n && one.p[0] == ' ')
            one = bytes_skip(one, 1);
        if (!one.n)
            continue;
        if (s->servers == SERVERS_MAX) {
            errtext_set(t, "more than %d servers are given", SERVERS_MAX);
            return ERR_LIMIT;
        }
        enum err e = take_server(one, tls, &s->server[s->servers++], t);
        if (e != ERR_OK)
            return e;
    }
    if (s->servers == 0)
        return malformed(bytes_str(list), t);
    return ERR_OK;
}

static const char *or_env(const char *given, const char *name)
{
    const char *text = given ? given : getenv(name);

    return text && *text ? text : NULL;
}

/* ret stays NULL where nothing is given. */
static bool set_text(char **ret, const char *text)
{
    if (text)
        *ret = copy(bytes_str(text));
    return !text || *ret;
}

static bool set_texts(const struct muster_options *o, struct settings *s,
                      char **ret_token)
{
    return set_text(&s->ca_file, or_env(o->ca_file, "CONSUL_CACERT")) &&
           set_text(&s->cert_file,
                    or_env(o->cert_file, "CONSUL_CLIENT_CERT")) &&
           set_text(&s->key_file, or_env(o->key_file, "CONSUL_CLIENT_KEY")) &&
           set_text(&s->tls_server_name,
                    or_env(o->tls_server_name, "CONSUL_TLS_SERVER_NAME")) &&
           set_text(&s->datacenter, o->datacenter) &&
           set_text(&s->cache_dir, o->cache_dir) &&
           set_text(&s->caller,
                    o->caller ? o->caller : program_invocation_short_name) &&
           set_text(ret_token, or_env(o->token, "CONSUL_HTTP_TOKEN"));
}

/* The first line of a file; as Consul's programs, without blanks around it. */
static enum err read_token(const char *path, char **ret, struct errtext *t)
{
    char line[SECRET_MAX];
    FILE *f = fopen(path, "re");

    if (!f || !fgets(line, sizeof line, f)) {
        errtext_set(t, "CONSUL_HTTP_TOKEN_FILE \"%.200s\" cannot be read: %s",
                    path, f ? "it is empty" : strerror(errno));
        if (f)
            (void)fclose(f);
        return ERR_IO;
    }
    (void)fclose(f);
    line[strcspn(line, " \t\r\n")] = '\0';
    return set_text(ret, *line ? line : NULL) ? ERR_OK : ERR_NOMEM;
}

static enum err set_authorization(struct settings *s, const char *auth,
                                  struct errtext *t)
{
    size_t n = auth ? strlen(auth) : 0, room = n * 4 / 3 + 16;

    if (n == 0)
        return ERR_OK;
    if (n > SECRET_MAX) {
        errtext_set(t, "user and password have %zu bytes, at most %d are taken",
                    n, SECRET_MAX);
        return ERR_LIMIT;
    }
    s->authorization = malloc(room);
    if (!s->authorization)
        return ERR_NOMEM;
    memcpy(s->authorization, "Basic ", 6);
    (void)EVP_EncodeBlock((unsigned char *)s->authorization + 6,
                          (const unsigned char *)auth, (int)n);
    return ERR_OK;
}

/* What needs a file read, or a sum done. */
static enum err set_secrets(const struct muster_options *o, struct settings *s,
                            char **ret_token, struct errtext *t)
{
    const char *file = or_env(NULL, "CONSUL_HTTP_TOKEN_FILE");
    const char *path = or_env(o->ca_path, "CONSUL_CAPATH");
    const char *verify = getenv("CONSUL_HTTP_SSL_VERIFY");
    bool checks = true;
    enum err e = ERR_OK;

    if (verify && bytes_bool(bytes_str(verify), &checks) != ERR_OK)
        checks = true;
    s->tls_skip_verify = o->tls_skip_verify || !checks;
    if (!*ret_token && !o->token && file)
        e = read_token(file, ret_token, t);
    if (e == ERR_OK)
        e = set_authorization(s, or_env(o->http_auth, "CONSUL_HTTP_AUTH"), t);
    if (e == ERR_OK && path && !s->ca_file)
        e = tls_files_pem(&(struct tls_files){.ca_path = path}, &s->ca_pem, t);
    return e;
}

static enum err set_servers(const struct muster_options *o, struct settings *s,
                            struct errtext *t)
{
    const char *list = or_env(o->servers, "CONSUL_HTTP_ADDR");
    const char *ssl = getenv("CONSUL_HTTP_SSL");
    bool tls = false;

    if (ssl && bytes_bool(bytes_str(ssl), &tls) != ERR_OK)
        tls = false;
    enum err e = take_servers(s, list ? list : "127.0.0.1", tls, t);
    if (e != ERR_OK || !o->agent)
        return e;
    return take_server(bytes_str(o->agent), tls, &s->agent, t);
}

enum err settings_make(const struct muster_options *o, struct settings *ret,
                       char **ret_token, struct errtext *t)
{
    struct settings s = {
        .cache_max_age_ms = o->cache_max_age_ms,
        .hold_ms = o->hold_ms,
        .failover_max_age_ms = o->failover_max_age_ms,
        .own_loop = o->own_loop != 0,
        .log = o->log,
        .log_ctx = o->log_ctx,
    };
    enum err e = set_servers(o, &s, t);

    *ret_token = NULL;
    if (e == ERR_OK && !set_texts(o, &s, ret_token))
        e = ERR_NOMEM;
    if (e == ERR_OK && s.datacenter && strlen(s.datacenter) > DATACENTER_MAX) {
        errtext_set(t, "a datacenter's name of %zu bytes; there are %d at most",
                    strlen(s.datacenter), DATACENTER_MAX);
        e = ERR_LIMIT;
    }
    if (e == ERR_OK)
        e = failover_parse(o->failover, s.datacenter, &s.failover, t);
    if (e == ERR_OK)
        e = set_secrets(o, &s, ret_token, t);
    if (e == ERR_OK && *ret_token && strpbrk(*ret_token, "\r\n")) {
        errtext_set(t, "the token has a line end in it");
        e = ERR_BAD;
    }
    if (e != ERR_OK) {
        free(*ret_token);
        settings_free(&s);
        return e;
    }
    *ret = s;
    return ERR_OK;
}
