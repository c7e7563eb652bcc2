/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* People search the web and their alerts for these texts, and know them from
 * programs written in Go: so that is how errors read here. */
#include "loop/fetch_impl.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "loop/tls_client.h"
#include "loop/tls_psk.h"

/* Part of the URL that was asked last (redirects count); "" if it has none. */
static void url_part(const struct fetch *x, CURLUPart part, char *ret, size_t n)
{
    char *url = NULL, *text = NULL;
    CURLU *u = curl_url();

    ret[0] = '\0';
    if (u &&
        curl_easy_getinfo(x->easy, CURLINFO_EFFECTIVE_URL, &url) == CURLE_OK &&
        url &&
        curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) ==
            CURLUE_OK &&
        curl_url_get(u, part, &text, 0) == CURLUE_OK)
        (void)snprintf(ret, n, "%s", text);
    curl_free(text);
    curl_url_cleanup(u);
}

/* As Go writes it: in lower case. */
static const char *errno_text(long e, char *buf, size_t n)
{
    char reason[96];

    (void)snprintf(buf, n, "%s", strerror_r((int)e, reason, sizeof reason));
    if (buf[0] >= 'A' && buf[0] <= 'Z' && !(buf[1] >= 'A' && buf[1] <= 'Z'))
        buf[0] = (char)(buf[0] - 'A' + 'a');
    return buf;
}

static long os_errno(const struct fetch *x)
{
    long e = 0;

    if (curl_easy_getinfo(x->easy, CURLINFO_OS_ERRNO, &e) != CURLE_OK)
        e = 0;
    return e;
}

static const char *dialed(const struct fetch *x)
{
    return x->dialed[0] ? x->dialed : "tcp";
}

static enum err connect_error(const struct fetch *x, struct errtext *ret)
{
    char reason[96];
    long e = os_errno(x);

    if (e)
        errtext_set(ret, "dial %s: connect: %s", dialed(x),
                    errno_text(e, reason, sizeof reason));
    else
        errtext_set(ret, "dial %s: %s", dialed(x), x->why);
    return e == ECONNREFUSED ? ERR_REFUSED : ERR_UNAVAILABLE;
}

static void timeout_error(const struct fetch *x, struct errtext *ret)
{
    long status = 0;

    (void)curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200)
        errtext_set(ret, "context deadline exceeded (Client.Timeout or context "
                         "cancellation while reading body)");
    else
        errtext_set(ret, "context deadline exceeded (Client.Timeout exceeded "
                         "while awaiting headers)");
}

static void transfer_error(const struct fetch *x, const char *doing,
                           struct errtext *ret)
{
    char reason[96];
    long e = os_errno(x);

    if (e)
        errtext_set(ret, "%s %s: %s: %s", doing, dialed(x), doing,
                    errno_text(e, reason, sizeof reason));
    else
        errtext_set(ret, "%s %s: %s", doing, dialed(x), x->why);
}

static void certificate_error(const struct fetch *x, struct errtext *ret)
{
    long verify = 0;
    char host[128];

    (void)curl_easy_getinfo(x->easy, CURLINFO_SSL_VERIFYRESULT, &verify);
    url_part(x, CURLUPART_HOST, host, sizeof host);
    tls_verify_text(verify, host, ret);
}

static void handshake_error(const struct fetch *x, struct errtext *ret)
{
    if (x->psk) {
        errtext_set(ret, "tls: %s", tls_psk_why(x->why));
        return;
    }
    /* OpenSSL's way of seeing "HTTP/1.1" where a TLS record should begin. */
    if (tls_is_other_protocol(x->why))
        errtext_set(ret, "http: server gave HTTP response to HTTPS client");
    else
        errtext_set(ret, "tls: %s", x->why);
}

static enum err protocol_error(const struct fetch *x, struct errtext *ret)
{
    char scheme[32];

    /* libcurl says the same of an answer that does not begin with "HTTP/". */
    if (strstr(x->why, "HTTP/0.9")) {
        errtext_set(ret, "net/http: HTTP/1.x transport connection broken: "
                         "malformed HTTP response");
        return ERR_IO;
    }
    url_part(x, CURLUPART_SCHEME, scheme, sizeof scheme);
    errtext_set(ret, "unsupported protocol scheme \"%s\"", scheme);
    return ERR_BAD;
}

/* An answer that we did not want to hear to its end. */
static enum err our_error(const struct fetch *x, struct errtext *ret)
{
    if (x->body_over) {
        errtext_set(ret, "response body of more than %zu bytes, the limit",
                    x->keep_bytes);
        return ERR_LIMIT;
    }
    if (x->headers_over) {
        errtext_set(ret,
                    "net/http: server response headers exceeded %d bytes; "
                    "aborted",
                    FETCH_HEADER_BYTES_MAX);
        return ERR_LIMIT;
    }
    errtext_set(ret, "out of memory for the answer");
    return ERR_NOMEM;
}

/* libcurl has its own limit for a line, and no other word for it. */
static enum err memory_error(struct errtext *ret)
{
    errtext_set(ret,
                "response header line of more than 100 kB, or out of memory");
    return ERR_LIMIT;
}

static enum err io_error(const struct fetch *x, CURLcode code,
                         struct errtext *ret)
{
    switch (code) {
    case CURLE_GOT_NOTHING:
        errtext_set(ret, "EOF");
        break;
    case CURLE_PARTIAL_FILE:
        errtext_set(ret, "unexpected EOF");
        break;
    case CURLE_SEND_ERROR:
        transfer_error(x, "write", ret);
        break;
    case CURLE_RECV_ERROR:
        transfer_error(x, "read", ret);
        break;
    case CURLE_WEIRD_SERVER_REPLY:
        errtext_set(ret,
                    "net/http: HTTP/1.x transport connection broken: "
                    "malformed HTTP response: %s",
                    x->why);
        break;
    case CURLE_TOO_MANY_REDIRECTS:
        errtext_set(ret, "stopped after %d redirects", FETCH_REDIRECTS_MAX);
        break;
    case CURLE_PEER_FAILED_VERIFICATION:
        if (x->psk)
            handshake_error(x, ret);
        else
            certificate_error(x, ret);
        break;
    case CURLE_SSL_CONNECT_ERROR:
        handshake_error(x, ret);
        break;
    default:
        errtext_set(ret, "%s", x->why[0] ? x->why : curl_easy_strerror(code));
        break;
    }
    return ERR_IO;
}

enum err fetch_error(const struct fetch *x, CURLcode code, struct errtext *ret)
{
    char host[128];

    require(code != CURLE_OK);
    if (x->body_over || x->headers_over || x->no_memory)
        return our_error(x, ret);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return connect_error(x, ret);
    case CURLE_COULDNT_RESOLVE_HOST:
        url_part(x, CURLUPART_HOST, host, sizeof host);
        errtext_set(ret, "dial tcp: lookup %s: no such host", host);
        return ERR_UNAVAILABLE;
    case CURLE_OPERATION_TIMEDOUT:
        timeout_error(x, ret);
        return ERR_TIMEOUT;
    case CURLE_URL_MALFORMAT:
        errtext_set(ret, "malformed URL: %s",
                    x->why[0] ? x->why : "it cannot be parsed");
        return ERR_BAD;
    case CURLE_UNSUPPORTED_PROTOCOL:
        return protocol_error(x, ret);
    case CURLE_OUT_OF_MEMORY:
        return memory_error(ret);
    default:
        return io_error(x, code, ret);
    }
}
