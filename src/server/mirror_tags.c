/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* mirror.tags: which services of another datacenter bear one of them is asked there,
 * by a long poll, and each that is new is subscribed to by its name. A tag says
 * whom to mirror, never how much of him: the service is mirrored whole, also those
 * of its instances that do not bear it, because a set is not answered in part.
 *
 * Who has lost the tag, or all his instances, is answered from here as long as
 * somebody follows him, and for TAG_KEPT_MS more: then he is dropped in the two steps
 * of mirror_sweep, between which every serving thread says whom long polls and
 * streams there follow. Whether a service is here the catalog knows (mirror.h), so
 * that it and what is answered are of one version. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "http/json_in.h"
#include "http/request.h"
#include "mirror/choose.h"
#include "server/mirrors_impl.h"
#include "server/serving.h"

enum {
    WAIT_S = 60,
    ANSWER_MS = 90 * 1000, /* that, and what a server adds to it */
    PAUSE_MS = 1000,       /* a connection for all that come meanwhile */
    LOG_AGAIN_MS = 60000,
    TAG_KEPT_MS = 5000, /* a tag that is lost may come again */
    LOOK_MS = 1000,     /* at those who have lost it */
};

/* A service that is mirrored for its tag, or was. */
struct tagged {
    bool told, subscribed;
    uint64_t lost_ms; /* 0: it has the tag */
    size_t name_n;
    char name[]; /* folded */
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

/* --- Who has it ----------------------------------------------------------- */

static void note(struct dc_mirror *m, struct bytes name)
{
    struct buf folded = {0};

    buf_put_fold(&folded, name);
    struct tagged *t = map_get(&m->tagged, buf_bytes(&folded));
    if (!t) {
        t = xzalloc(sizeof *t + folded.n);
        t->name_n = folded.n;
        memcpy(t->name, folded.p, folded.n);
        bool memory =
            map_put(&m->tagged, bytes_of(t->name, t->name_n), t) == ERR_OK;
        require(memory);
    }
    t->told = true;
    buf_fini(&folded);
}

/* A new list is here, or only begins to be read. */
static void list_begins(struct dc_mirror *m)
{
    size_t at = 0;
    void *t;

    while (map_next(&m->tagged, &at, NULL, &t))
        ((struct tagged *)t)->told = false;
}

static void list_ends(struct dc_mirror *m)
{
    uint64_t now = process_now_ms();
    size_t at = 0;
    void *p;

    while (map_next(&m->tagged, &at, NULL, &p)) {
        struct tagged *t = p;
        if (t->told)
            t->lost_ms = 0;
        else if (t->lost_ms == 0)
            t->lost_ms = now;
    }
}

/* True: some are new, and another connection is due. */
static bool want(struct dc_mirror *m, const struct json_headers *names)
{
    const struct run_mirror *s = &m->all->settings;
    bool news = false;

    list_begins(m);
    for (size_t i = 0; i < names->n; i++) {
        struct bytes name = names->v[i].name;
        if (mirror_covers(s->services, s->service_count, name))
            continue;
        enum err e = mirror_want(m->mirror, MIRROR_SERVICE, name);
        news |= e == ERR_OK;
        if (e == ERR_OK || e == ERR_EXISTS)
            note(m, name);
        if (e != ERR_OK && e != ERR_EXISTS)
            complain(m, e == ERR_LIMIT ? "a name is too long"
                                       : "too many services");
    }
    list_ends(m);
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

/* --- Who has lost it ------------------------------------------------------- */

static void touch(void *ctx, struct follow *f)
{
    const struct tags_look *look = ctx;

    if (f->of == look->of)
        uses_touch(look->of->uses, f->hash, process_now_ms());
}

void mirror_tags_say(struct serving *s, struct letter *l)
{
    struct tags_look *look = container_of(l, struct tags_look, letter);

    follows_each(&s->parks.groups, touch, look);
    follows_each(&s->pushes.groups, touch, look);
    core_post(s->process->core, &look->back);
}

static uint64_t used(void *ctx, struct bytes name)
{
    static const enum watch_kind kinds[] = {WATCH_SERVICE, WATCH_SERVICE_HEALTH,
                                            WATCH_SERVICE_CHECKS};
    struct dc_mirror *m = ctx;
    const struct tagged *t = map_get(&m->tagged, name);

    if (!t || t->lost_ms == 0)
        return process_now_ms();
    uint64_t newest = t->lost_ms;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t at = uses_last_ms(
            m->uses, watch_hash((struct watch_key){kinds[i], name}));
        newest = at > newest ? at : newest;
    }
    return newest;
}

static void is_subscribed(void *ctx, struct bytes name)
{
    struct dc_mirror *m = ctx;
    struct tagged *t = map_get(&m->tagged, name);

    if (t)
        t->subscribed = true;
}

/* NULL: all that are known are subscribed to. */
static struct tagged *one_gone(const struct dc_mirror *m)
{
    size_t at = 0;
    void *t;

    while (map_next(&m->tagged, &at, NULL, &t))
        if (!((struct tagged *)t)->subscribed)
            return t;
    return NULL;
}

static void forget_gone(struct dc_mirror *m)
{
    struct tagged *gone;
    size_t at = 0;
    void *t;

    while (map_next(&m->tagged, &at, NULL, &t))
        ((struct tagged *)t)->subscribed = false;
    mirror_services(m->mirror, is_subscribed, m);
    while ((gone = one_gone(m))) {
        (void)map_del(&m->tagged, bytes_of(gone->name, gone->name_n));
        free(gone);
    }
}

static void on_back(struct core *c, struct core_letter *letter)
{
    struct dc_mirror *m = container_of(letter, struct tags_look, back)->of;
    const struct mirror_idle idle = {
        .now_ms = process_now_ms(),
        .idle_ms = TAG_KEPT_MS,
        .used = used,
        .ctx = m,
    };

    if (--m->looking > 0 || !c->mirrors || !m->was_up)
        return;
    size_t gone = mirror_sweep(m->mirror, &idle);
    if (gone == 0)
        return;
    atomic_fetch_add(&m->life, 1); /* whoever keeps answers asks anew */
    forget_gone(m);
    log_info("mirror",
             "datacenter %s: %zu services have no tag of mirror.tags any more, "
             "and are not mirrored",
             m->name, gone);
    mirror_link_again(m);
}

static bool any_lost(const struct dc_mirror *m)
{
    size_t at = 0;
    void *t;

    while (map_next(&m->tagged, &at, NULL, &t))
        if (((struct tagged *)t)->lost_ms)
            return true;
    return false;
}

static void ask_who_follows(struct dc_mirror *m)
{
    struct core *c = m->all->core;
    struct process *p = c->process;

    if (m->looking || c->serving_ends || process_now_ms() < m->look_at_ms ||
        !any_lost(m))
        return;
    m->look_at_ms = process_now_ms() + LOOK_MS;
    if (!m->uses)
        m->uses = xzalloc(sizeof *m->uses);
    for (int i = 0; i < p->serving_count; i++) {
        struct tags_look *look = &m->looks[i];
        if (!p->serving[i])
            continue;
        *look = (struct tags_look){.of = m};
        list_init(&look->letter.link);
        list_init(&look->back.link);
        look->letter.kind = LETTER_LOST_TAGS;
        look->back.run = on_back;
        m->looking++;
        serving_post(p->serving[i], &look->letter);
    }
}

void mirror_tags_end(struct dc_mirror *m)
{
    size_t at = 0;
    void *t;

    while (map_next(&m->tagged, &at, NULL, &t))
        free(t);
    map_fini(&m->tagged);
    free(m->uses);
}

/* --- The list --------------------------------------------------------------- */

void mirror_tags_look(struct dc_mirror *m)
{
    struct buf target = {0};

    ask_who_follows(m);
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
