/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirror.tags: which services of another datacenter bear one of them is asked there,
 * by a long poll, and each that is new is subscribed to by its name. A tag says
 * whom to mirror, never how much of him: the service is mirrored whole, also those
 * of its instances that do not bear it, because a set is not answered in part.
 *
 * Who has lost the tag, or all his instances, stays subscribed to: he is answered
 * rightly from here. Whether a service is here the catalog knows (mirror.h), so
 * that it and what is answered are of one version. */
#include "base/alloc.h"
#include "base/log.h"
#include "http/json_in.h"
#include "http/request.h"
#include "mirror/choose.h"
#include "server/mirrors_impl.h"

enum {
    WAIT_S = 60,
    ANSWER_MS = 90 * 1000, /* that, and what a server adds to it */
    PAUSE_MS = 1000,       /* a connection for all that come meanwhile */
    LOG_AGAIN_MS = 60000,
};

struct names_in {
    struct json_headers names; /* and the tags that they have */
};

static void complain(struct dc_mirror *m, const char *text)
{
    uint64_t now = process_now_ms();

    if (m->tags_logged_ms && now - m->tags_logged_ms < LOG_AGAIN_MS)
        return;
    m->tags_logged_ms = now;
    log_warn("mirror",
             "datacenter %s: services with mirror.tags that are not mirrored "
             "yet are passed on: server=%s error=\"%s\"",
             m->name, m->to, text);
}

/* True: some are new, and another connection is due. */
static bool want(struct dc_mirror *m, const struct json_headers *names)
{
    const struct run_mirror *s = &m->all->settings;
    bool news = false;

    for (size_t i = 0; i < names->n; i++) {
        struct bytes name = names->v[i].name;
        if (mirror_covers(s->services, s->service_count, name))
            continue;
        enum err e = mirror_want(m->mirror, MIRROR_SERVICE, name);
        news |= e == ERR_OK;
        if (e != ERR_OK && e != ERR_EXISTS)
            complain(m, e == ERR_LIMIT ? "a name is too long"
                                       : "too many services");
    }
    return news;
}

static bool take(struct dc_mirror *m, const struct fetch_result *r,
                 struct errtext *t)
{
    static const struct json_field fields[] = {
        {"Names", NULL, FIELD_HEADERS, offsetof(struct names_in, names), NULL,
         JSON_NO_FLAG},
    };
    static const struct json_table table = {fields, 1, sizeof(struct names_in)};
    struct names_in in = {0};
    struct buf text = {0};
    struct arena a;
    bool news = false;

    /* A map with free names is no object of a table. */
    buf_puts(&text, "{\"Names\":");
    buf_put(&text, r->body);
    buf_putc(&text, '}');
    arena_init(&a, 0);
    enum err e = text.bad ? ERR_NOMEM
                          : json_decode(buf_bytes(&text), &table, &in, &a, t);
    if (e == ERR_OK)
        news = want(m, &in.names);
    else
        complain(m, e == ERR_NOMEM ? err_text(e) : t->s);
    arena_fini(&a);
    buf_fini(&text);
    m->tags_index = e == ERR_OK ? r->consul_index : 0;
    return news;
}

static void answered(void *ctx, const struct fetch_result *r)
{
    struct dc_mirror *m = ctx;
    struct errtext t;

    m->tags = NULL;
    m->tags_at_ms = process_now_ms() + PAUSE_MS;
    if (r->err == ERR_OK && r->status == 200) {
        if (take(m, r, &t))
            mirror_link_again(m);
        return;
    }
    m->tags_index = 0;
    if (r->err == ERR_OK)
        errtext_set(&t, "it answered %d: %.*s", r->status,
                    BYTES_ARG(bytes_head(r->body, 200)));
    complain(m, r->err == ERR_OK ? t.s : r->text.s);
}

static void put_target(const struct dc_mirror *m, struct buf *out)
{
    const struct run_mirror *s = &m->all->settings;
    struct buf filter = {0};

    for (size_t i = 0; i < s->tag_count; i++)
        buf_printf(&filter, "%s`%s` in ServiceTags", i ? " or " : "",
                   s->tags[i]);
    buf_puts(out, "/v1/catalog/services?filter=");
    http_encode(out, buf_bytes(&filter));
    if (m->tags_index)
        buf_printf(out, "&index=%llu&wait=%ds",
                   (unsigned long long)m->tags_index, WAIT_S);
    buf_putc(out, '\0');
    out->bad |= filter.bad;
    buf_fini(&filter);
}

void mirror_tags_look(struct dc_mirror *m)
{
    struct buf target = {0};

    /* One connection after the other: half a snapshot would be asked for again. */
    if (!m->all->settings.tag_count || m->tags || !mirror_is_whole(m->mirror) ||
        process_now_ms() < m->tags_at_ms)
        return;
    put_target(m, &target);
    const struct peer_request q = {
        .to = m->to, .target = target.p, .timeout_ms = ANSWER_MS};
    if (target.bad ||
        peer_ask(m->all->peers, &q, answered, m, &m->tags) != ERR_OK)
        m->tags_at_ms = process_now_ms() + PAUSE_MS;
    buf_fini(&target);
}
