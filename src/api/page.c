/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The web page's own files: /ui/ and below. They hold nothing of the catalog;
 * the page asks for that as anybody does. */
#include "api/impl.h"
#include "ui/ui.h"

/* No script but our own files, nothing from elsewhere, in nobody's frame: what
 * hostile names and outputs bring along has no effect even where the page should
 * fail to treat them as text. */
static const char *const policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

static void head_lines(struct api_call *c, struct bytes etag)
{
    http_head_line(&c->extra_head, "Content-Security-Policy",
                   bytes_str(policy));
    http_head_line(&c->extra_head, "X-Content-Type-Options",
                   bytes_str("nosniff"));
    http_head_line(&c->extra_head, "Referrer-Policy", bytes_str("no-referrer"));
    /* Kept, and asked about each time: a new binary has a new page. */
    http_head_line(&c->extra_head, "Cache-Control", bytes_str("no-cache"));
    http_head_line(&c->extra_head, "ETag", etag);
}

static void put_file(struct api_call *c, const struct ui_file *f)
{
    struct buf etag;

    buf_init(&etag, 32);
    buf_printf(&etag, "\"%016llx\"",
               (unsigned long long)bytes_hash(f->text, 0));
    head_lines(c, buf_bytes(&etag));
    c->status = 200;
    c->content_type = f->type;
    if (bytes_eq(http_header(c->request, "If-None-Match"), buf_bytes(&etag))) {
        c->status = 304;
        c->content_type = NULL;
    } else {
        buf_put(&c->body, f->text);
    }
    buf_fini(&etag);
}

bool page_is_asked(const struct api_self *self, struct bytes path)
{
    return self->ui && bytes_starts(path, bytes_str("/ui/"));
}

enum api_next page_answer(struct api_call *c)
{
    const struct http_request *r = c->request;
    struct ui_file f;

    if (r->method != HTTP_GET && r->method != HTTP_HEAD) {
        http_head_line(&c->extra_head, "Allow", bytes_str("GET"));
        api_error(c, 405, "method %.*s not allowed", BYTES_ARG(r->method_name));
    } else if (!ui_find(bytes_skip(r->path, sizeof "/ui/" - 1), &f)) {
        api_error(c, 404,
                  "The page has no file of this name; it begins at /ui/");
    } else {
        put_file(c, &f);
    }
    return API_ANSWER;
}

bool page_is_wanted(const struct api_self *self, const struct http_request *r)
{
    static const char html[] = "text/html";
    struct bytes accept = http_header(r, "Accept");

    if (!self->ui)
        return false;
    for (size_t i = 0; i + sizeof html - 1 <= accept.n; i++)
        if (memcmp(accept.p + i, html, sizeof html - 1) == 0)
            return true;
    return false;
}
