/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/fetch_impl.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loop/tls_psk.h"

/* Sticky, so that options can be set in a row and asked about once. */
#define SET(option, value)                                                     \
    do {                                                                       \
        if (*code == CURLE_OK)                                                 \
            *code = curl_easy_setopt(x->easy, option, value);                  \
    } while (0)

static bool has_control_byte(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' && *s != '\t')
            return true;
    return false;
}

/* libcurl sends them as they are: a line end would begin another header. */
static bool header_ok(const struct fetch_header *h)
{
    return *h->name && !strpbrk(h->name, ": \t") &&
           !has_control_byte(h->name) && !has_control_byte(h->value);
}

static bool slist_put(struct curl_slist **list, const char *line)
{
    struct curl_slist *l = curl_slist_append(*list, line);
    if (l)
        *list = l;
    return l != NULL;
}

static bool put_header(struct fetch *x, const char *name, const char *value)
{
    size_t n = strlen(name) + strlen(value) + sizeof ": ";
    char *line = malloc(n);

    if (!line)
        return false;
    /* "Name;" is how libcurl spells a header without value; "Name:" removes. */
    if (*value)
        (void)snprintf(line, n, "%s: %s", name, value);
    else
        (void)snprintf(line, n, "%s;", name);
    bool ok = slist_put(&x->headers, line);
    free(line);
    return ok;
}

static bool has_header(const struct fetch_options *o, const char *name)
{
    for (size_t i = 0; i < o->header_count; i++)
        if (strcasecmp(o->headers[i].name, name) == 0)
            return true;
    return false;
}

static enum err put_headers(struct fetch *x, const struct fetch_options *o)
{
    for (size_t i = 0; i < o->header_count; i++) {
        if (!header_ok(&o->headers[i]))
            return ERR_BAD;
        if (!put_header(x, o->headers[i].name, o->headers[i].value))
            return ERR_NOMEM;
    }
    if (!o->keep_connection && !has_header(o, "Connection") &&
        !put_header(x, "Connection", "close"))
        return ERR_NOMEM;
    /* What libcurl would add: nobody said that a body is a form. */
    if (!has_header(o, "Content-Type") &&
        !slist_put(&x->headers, "Content-Type:"))
        return ERR_NOMEM;
    /* Or a second is lost with servers that do not know 100-continue. */
    if (!has_header(o, "Expect") && !slist_put(&x->headers, "Expect:"))
        return ERR_NOMEM;
    return ERR_OK;
}

/* The parts of a URL that stand in for one another below. */
struct url_parts {
    CURLU *url;
    char *host, *port, *whole;
};

static void url_parts_fini(struct url_parts *u)
{
    curl_free(u->host);
    curl_free(u->port);
    curl_free(u->whole);
    curl_url_cleanup(u->url);
}

static bool url_parts_init(struct url_parts *u, const char *text,
                           const char *server_name)
{
    return u->url &&
           curl_url_set(u->url, CURLUPART_URL, text, 0) == CURLUE_OK &&
           curl_url_get(u->url, CURLUPART_HOST, &u->host, 0) == CURLUE_OK &&
           curl_url_get(u->url, CURLUPART_PORT, &u->port, CURLU_DEFAULT_PORT) ==
               CURLUE_OK &&
           curl_url_set(u->url, CURLUPART_HOST, server_name, 0) == CURLUE_OK &&
           curl_url_get(u->url, CURLUPART_URL, &u->whole, 0) == CURLUE_OK;
}

/* libcurl verifies the name in the URL and no other: so the URL gets the server
 * name, the connection goes to the host that stood there, and the Host header
 * says what it would have said. */
static enum err set_server_name(struct fetch *x, const struct fetch_options *o,
                                CURLcode *code)
{
    struct url_parts u = {.url = curl_url()};
    char line[600];
    enum err e = ERR_BAD;

    if (!url_parts_init(&u, o->url, o->tls_server_name))
        goto out;
    e = ERR_NOMEM;
    int n = snprintf(line, sizeof line, "%s:%s:%s:%s", o->tls_server_name,
                     u.port, u.host, u.port);
    if (n < 0 || (size_t)n >= sizeof line) {
        e = ERR_BAD;
        goto out;
    }
    if (!slist_put(&x->connect_to, line))
        goto out;
    if (!has_header(o, "Host")) {
        bool usual = strcmp(u.port, "443") == 0;
        (void)snprintf(line, sizeof line, "%s%s%s", u.host, usual ? "" : ":",
                       usual ? "" : u.port);
        if (!put_header(x, "Host", line))
            goto out;
    }
    SET(CURLOPT_URL, u.whole);
    SET(CURLOPT_CONNECT_TO, x->connect_to);
    e = ERR_OK;
out:
    url_parts_fini(&u);
    return e;
}

static void set_method(struct fetch *x, const struct fetch_options *o,
                       CURLcode *code)
{
    const char *method = o->method ? o->method : "GET";
    bool takes_body = strcmp(method, "POST") == 0 ||
                      strcmp(method, "PUT") == 0 ||
                      strcmp(method, "PATCH") == 0;

    if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        return;
    }
    if (o->body.n > 0 || takes_body) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body.n);
        SET(CURLOPT_COPYPOSTFIELDS, o->body.n ? o->body.p : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    /* A POST that is redirected becomes a GET, but only if libcurl thinks of it
     * as its own POST. */
    if (strcmp(method, "POST") != 0 && strcmp(method, "GET") != 0)
        SET(CURLOPT_CUSTOMREQUEST, method);
    else if (strcmp(method, "GET") == 0 && o->body.n > 0)
        SET(CURLOPT_CUSTOMREQUEST, "GET");
}

/* On each new socket. */
static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose)
{
    unsigned ms = (unsigned)(uintptr_t)ctx;

    (void)purpose;
    /* A socket of another family has no such option, and needs none. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return CURL_SOCKOPT_OK;
}

static void set_connection(struct fetch *x, const struct fetch_options *o,
                           CURLcode *code)
{
    SET(CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    if (o->connect_timeout_ms)
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
    if (o->unacked_ms) {
        SET(CURLOPT_SOCKOPTDATA, (void *)(uintptr_t)o->unacked_ms);
        SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    }
    SET(CURLOPT_NOSIGNAL, 1L);
    /* A look-up that is given up must not stop the loop until it ends. */
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    /* What is asked for is asked directly, whatever the environment says. */
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_FORBID_REUSE, o->keep_connection ? 0L : 1L);
    SET(CURLOPT_FRESH_CONNECT, o->keep_connection ? 0L : 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, o->follow_redirects ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, (long)FETCH_REDIRECTS_MAX);
    if (o->unix_path)
        SET(CURLOPT_UNIX_SOCKET_PATH, o->unix_path);
    struct curl_blob pem = {(void *)(uintptr_t)o->ca_pem.p, o->ca_pem.n,
                            CURL_BLOB_NOCOPY};
    if (o->ca_pem.n)
        SET(CURLOPT_CAINFO_BLOB, &pem);
    else if (o->ca_file)
        SET(CURLOPT_CAINFO, o->ca_file);
    /* libcurl would trust Debian's folder beside the file that was named, and
     * keeps what it read of the system's file only without a folder. */
    SET(CURLOPT_CAPATH, NULL);
    /* Short answers: its usual 16 KiB cost more than all the rest. */
    if (o->body_keep_bytes <= FETCH_SMALL_BYTES)
        SET(CURLOPT_BUFFERSIZE, (long)FETCH_SMALL_BYTES);
    if (o->cert_file)
        SET(CURLOPT_SSLCERT, o->cert_file);
    if (o->key_file)
        SET(CURLOPT_SSLKEY, o->key_file);
    if (o->tls_skip_verify) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* After libcurl has set up its own checks, which find no certificate to look at
 * and are satisfied with that. */
static CURLcode on_context(CURL *easy, void *ctx, void *arg)
{
    (void)easy;
    return tls_psk_client(ctx, arg) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
}

static void set_psk(struct fetch *x, const struct fetch_options *o,
                    CURLcode *code)
{
    x->psk = o->psk;
    if (!o->psk)
        return;
    SET(CURLOPT_SSL_VERIFYPEER, 0L);
    SET(CURLOPT_SSL_VERIFYHOST, 0L);
    SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    SET(CURLOPT_SSL_CTX_DATA, (void *)(uintptr_t)o->psk);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_context);
}

enum err fetch_set_options(struct fetch *x, const struct fetch_options *o)
{
    CURLcode set = CURLE_OK, *code = &set;
    enum err e = put_headers(x, o);

    if (e != ERR_OK)
        return e;
    SET(CURLOPT_URL, o->url);
    set_method(x, o, code);
    set_connection(x, o, code);
    set_psk(x, o, code);
    if (o->tls_server_name)
        e = set_server_name(x, o, code);
    SET(CURLOPT_HTTPHEADER, x->headers);
    if (e == ERR_OK && set != CURLE_OK)
        e = ERR_NOMEM;
    return e;
}
