/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What a write says of who made it: "PUT /v1/catalog/register 10.0.0.1". Kept
 * with the change for as long as history is, so secrets are left out. */
#include "api/impl.h"

/* Tokens of any client's spelling, and what looks alike. */
static bool is_secret(struct bytes name)
{
    static const char *const words[] = {"token", "secret", "password"};
    for (size_t w = 0; w < sizeof words / sizeof words[0]; w++) {
        struct bytes word = bytes_str(words[w]);
        for (size_t i = 0; i + word.n <= name.n; i++)
            if (bytes_eq_fold(bytes_of(name.p + i, word.n), word))
                return true;
    }
    return false;
}

static void put_query(struct buf *out, const struct http_request *r)
{
    char before = '?';
    for (size_t i = 0; i < r->param_count; i++) {
        const struct http_param *p = &r->params[i];
        if (is_secret(p->name))
            continue;
        buf_putc(out, before);
        before = '&';
        http_encode(out, p->name);
        if (!p->has_value)
            continue;
        buf_putc(out, '=');
        http_encode(out, p->value);
    }
}

/* "10.0.0.1:4711" or "[::1]:4711" without its port; something else as it is. */
struct bytes api_host_of(struct bytes peer)
{
    size_t end = peer.n;

    while (end > 0 && peer.p[end - 1] != ':')
        end--;
    struct bytes host = end > 0 ? bytes_head(peer, end - 1) : peer;
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = bytes_of(host.p + 1, host.n - 2);
    return host;
}

struct bytes api_who(const struct http_request *r, struct arena *a)
{
    char text[API_WHO_MAX];
    struct buf what;
    struct bytes from = r->peer.n ? api_host_of(r->peer) : bytes_str("unix");
    buf_init(&what, 0);
    buf_put(&what, bytes_head(r->method_name, API_WHO_MAX / 4));
    buf_putc(&what, ' ');
    buf_put(&what, r->raw_path);
    put_query(&what, r);
    from = bytes_head(from, API_WHO_MAX / 4);
    size_t room = sizeof text - from.n - 1;
    size_t n = what.n < room ? what.n : room; /* from whom is always told */
    if (n)
        memcpy(text, what.p, n);
    buf_fini(&what);
    text[n++] = ' ';
    memcpy(text + n, from.p, from.n);
    return arena_copy(a, bytes_of(text, n + from.n));
}
