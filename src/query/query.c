/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "query/query.h"

#include "base/duration.h"
#include "query/impl.h"

#define TEMPLATE_TYPE "name_prefix_match"

enum { SHOWN_BYTES = 64 /* of a text in a message */ };

static const int64_t ns_per_s = INT64_C(1000) * NS_PER_MS;

/* --- Rendering ----------------------------------------------------------- */

/* A template's expressions are looked for in all of Service, and nowhere else.
 */
struct renderer {
    const struct template_values *values;
    struct arena *arena;
    struct errtext *t;
    enum err e;
};

/* A copy in the arena, unless it has no expression. where: for messages. */
static struct bytes render(struct renderer *r, struct bytes text,
                           const char *where)
{
    struct errtext why = {{0}};
    struct buf b;

    if (r->e != ERR_OK || bytes_find(text, '$') == text.n)
        return text;
    buf_init(&b, 0);
    r->e = template_render(text, r->values, &b, &why);
    if (r->e != ERR_OK)
        errtext_set(r->t, "Bad format '%.*s' in Service.%s: %s",
                    BYTES_ARG(bytes_head(text, SHOWN_BYTES)), where, why.s);
    struct bytes ret = arena_copy(r->arena, buf_bytes(&b));
    if (r->e == ERR_OK && (b.bad || (b.n && !ret.p)))
        r->e = ERR_NOMEM;
    buf_fini(&b);
    return ret;
}

/* Keys of maps stay, values are rendered. drop_empty: items that are empty. */
static struct packed render_list(struct renderer *r, struct packed list,
                                 enum query_list which, bool drop_empty)
{
    static const char *const names[QUERY_LISTS] = {"Failover.Datacenters",
                                                   "Failover.Targets",
                                                   "IgnoreCheckIDs",
                                                   "Tags",
                                                   "NodeMeta",
                                                   "ServiceMeta"};
    bool map = query_list_is_map(which);
    struct bytes rest = list.data, key, item;
    struct packed ret = {0};
    struct buf b;

    if (bytes_find(list.data, '$') == list.data.n && !drop_empty)
        return list;
    buf_init(&b, 0);
    while (map ? packed_next_pair(&rest, &key, &item)
               : packed_next(&rest, &item)) {
        struct bytes now = render(r, item, names[which]);
        if (drop_empty && now.n == 0)
            continue;
        if (map)
            packed_put_pair(&b, key, now);
        else
            packed_put(&b, now);
        ret.n++;
    }
    ret.data = arena_copy(r->arena, buf_bytes(&b));
    if (r->e == ERR_OK && (b.bad || (b.n && !ret.data.p)))
        r->e = ERR_NOMEM;
    buf_fini(&b);
    return ret;
}

static enum err render_query(struct query_view *v,
                             const struct template_values *values,
                             struct arena *a, struct errtext *t)
{
    struct renderer r = {.values = values, .arena = a, .t = t};

    v->text[QUERY_SERVICE] = render(&r, v->text[QUERY_SERVICE], "Service");
    v->text[QUERY_NEAR] = render(&r, v->text[QUERY_NEAR], "Near");
    for (int i = 0; i < QUERY_LISTS; i++)
        v->list[i] = render_list(&r, v->list[i], (enum query_list)i,
                                 i == QUERY_TAGS && v->remove_empty_tags);
    return r.e;
}

/* --- Checking ------------------------------------------------------------ */

static enum err bad(struct errtext *t, const char *fmt, struct bytes shown)
{
    errtext_set(t, fmt, BYTES_ARG(bytes_head(shown, SHOWN_BYTES)));
    return ERR_BAD;
}

static enum err check_sizes(const struct query_view *v, struct errtext *t)
{
    for (int i = 0; i < QUERY_TEXTS; i++) {
        if (v->text[i].n <= QUERY_TEXT_BYTES_MAX)
            continue;
        errtext_set(t, "a text of %zu bytes, the limit is %d: shorten it",
                    v->text[i].n, QUERY_TEXT_BYTES_MAX);
        return ERR_LIMIT;
    }
    for (int i = 0; i < QUERY_LISTS; i++) {
        struct packed p = v->list[i];
        if (p.n > QUERY_ITEMS_MAX) {
            errtext_set(t, "a list of %u items, the limit is %d", p.n,
                        QUERY_ITEMS_MAX);
            return ERR_LIMIT;
        }
        if (p.data.n > (size_t)QUERY_ITEMS_MAX * QUERY_TEXT_BYTES_MAX / 4) {
            errtext_set(t, "a list of %zu bytes: shorten it", p.data.n);
            return ERR_LIMIT;
        }
    }
    return ERR_OK;
}

static enum err check_ttl(struct bytes ttl, struct errtext *t)
{
    struct errtext why = {{0}};
    int64_t ns = 0;

    if (ttl.n == 0)
        return ERR_OK;
    if (duration_parse(ttl, &ns, &why) != ERR_OK) {
        errtext_set(t, "Bad DNS TTL '%.*s': %s",
                    BYTES_ARG(bytes_head(ttl, SHOWN_BYTES)), why.s);
        return ERR_BAD;
    }
    if (ns >= 0)
        return ERR_OK;
    errtext_set(t, "DNS TTL '%lld', must be >=0", (long long)ns);
    return ERR_BAD;
}

bool query_ttl_s(const struct query_view *v, uint32_t *ret)
{
    struct bytes ttl = v->text[QUERY_TTL];
    int64_t ns = 0;

    if (ttl.n == 0 || duration_parse(ttl, &ns, NULL) != ERR_OK || ns < 0)
        return false;
    *ret = ns / ns_per_s > INT32_MAX ? INT32_MAX : (uint32_t)(ns / ns_per_s);
    return true;
}

static enum err check_template(const struct query_view *v, struct arena *a,
                               struct errtext *t)
{
    struct template_values values = {0};
    struct bytes type = v->text[QUERY_TEMPLATE];
    struct query_view copy = *v;
    struct errtext why = {{0}};

    if (type.n == 0)
        return ERR_OK;
    if (!bytes_is(type, TEMPLATE_TYPE))
        return bad(t, "failed compiling template: Bad Template.Type '%.*s'",
                   type);
    enum err e = template_match(v->text[QUERY_REGEXP], (struct bytes){NULL, 0},
                                a, &values, &why);
    if (e != ERR_OK) {
        errtext_set(t, "failed compiling template: Bad Regexp: %s", why.s);
        return e;
    }
    e = render_query(&copy, &values, a, &why);
    if (e != ERR_OK)
        errtext_set(t, "failed compiling template: %s", why.s);
    return e;
}

enum err query_check(const struct query_view *v, struct arena *a,
                     struct errtext *t)
{
    if (v->text[QUERY_NAME].n == 0 && v->text[QUERY_TEMPLATE].n == 0 &&
        v->text[QUERY_SESSION].n == 0)
        return bad(t, "Invalid prepared query: Must be bound to a session%.*s",
                   (struct bytes){NULL, 0});
    if (v->text[QUERY_SERVICE].n == 0)
        return bad(t,
                   "Invalid prepared query: Must provide a Service name to "
                   "query%.*s",
                   (struct bytes){NULL, 0});
    if (v->nearest < 0) {
        errtext_set(t,
                    "Invalid prepared query: Bad NearestN '%lld', must be >= 0",
                    (long long)v->nearest);
        return ERR_BAD;
    }
    struct errtext why = {{0}};
    enum err e = check_sizes(v, &why);
    if (e == ERR_OK)
        e = check_ttl(v->text[QUERY_TTL], &why);
    if (e != ERR_OK) {
        errtext_set(t, "Invalid prepared query: %s", why.s);
        return e;
    }
    return check_template(v, a, t);
}

/* --- Finding ------------------------------------------------------------- */

const struct cat_record *query_find(const struct snapshot *s,
                                    struct bytes id_or_name)
{
    const struct cat_record *r =
        bytes_uuid(id_or_name) ? snapshot_query(s, id_or_name) : NULL;

    if (!r)
        r = snapshot_query_named(s, id_or_name);
    return r ? r : snapshot_query_template(s, id_or_name);
}

/* Found, but not by that name: by its ID. */
static bool found_by_id(const struct query_view *v, struct bytes asked)
{
    return bytes_eq_fold(v->id, asked);
}

enum err query_resolve(const struct snapshot *s, struct bytes id_or_name,
                       struct arena *a, struct query_view *ret,
                       struct errtext *t)
{
    const struct cat_record *r = query_find(s, id_or_name);
    struct errtext why = {{0}};

    if (!r)
        return ERR_NOT_FOUND;
    cat_query_view(r, ret);
    if (ret->text[QUERY_TEMPLATE].n == 0)
        return ERR_OK;
    if (found_by_id(ret, id_or_name))
        return bad(t,
                   "prepared query templates can only be resolved up by name, "
                   "not by ID%.*s",
                   (struct bytes){NULL, 0});
    struct bytes prefix = ret->text[QUERY_NAME];
    struct template_values values = {
        .full = id_or_name,
        .prefix = prefix,
        .suffix = bytes_skip(id_or_name, prefix.n),
    };
    enum err e =
        template_match(ret->text[QUERY_REGEXP], id_or_name, a, &values, &why);
    if (e == ERR_OK)
        e = render_query(ret, &values, a, &why);
    if (e != ERR_OK)
        errtext_set(t, "failed to render template for '%.*s': %s",
                    BYTES_ARG(bytes_head(id_or_name, SHOWN_BYTES)), why.s);
    return e == ERR_LIMIT ? ERR_BAD : e;
}
