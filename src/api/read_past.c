/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/history/service/:name, and the part of an explanation that is
 * about instances which are gone. What happened is in env->past. */
#include "api/impl.h"
#include "base/map.h"
#include "base/rfc3339.h"

enum { OUTPUT_HEAD_BYTES = 256 /* of a check's text in a change */ };

static void put_moment(struct json_out *j, uint64_t revision, uint64_t ms)
{

    struct buf text;
    buf_init(&text, 0);
    rfc3339_print(&text, ms);
    json_key(j, "Revision");
    json_u64(j, revision);
    json_member_str(j, "Time", ms ? buf_bytes(&text) : (struct bytes){0});
    buf_fini(&text);
}

static void put_end(struct json_out *j, const char *key, uint64_t revision,
                    uint64_t ms)
{
    json_key(j, key);
    json_open(j, '{');
    put_moment(j, revision, ms);
    json_close(j, '}');
}

/* --- Fields that changed ------------------------------------------------- */

/* Of those whose values are short; others are only named. */
static bool service_text(struct buf *out, enum story_field f,
                         const struct service_view *v)
{
    struct bytes rest = v->tags.data, tag;
    switch (f) {
    case FIELD_NAME:
        buf_put(out, v->name);
        return true;
    case FIELD_ID:
        buf_put(out, v->id);
        return true;
    case FIELD_ADDRESS:
        buf_put(out, v->address);
        return true;
    case FIELD_PORT:
        buf_i64(out, v->port);
        return true;
    case FIELD_KIND:
        buf_put(out, v->kind);
        return true;
    case FIELD_WEIGHTS:
        buf_i64(out, v->weight_passing);
        buf_putc(out, '/');
        buf_i64(out, v->weight_warning);
        return true;
    case FIELD_TAGS:
        for (bool first = true; packed_next(&rest, &tag); first = false) {
            buf_puts(out, first ? "" : ",");
            buf_put(out, tag);
        }
        return true;
    case FIELD_META:
    case FIELD_TAGGED:
    case FIELD_OVERRIDE:
    case FIELD_PROXY:
    case FIELD_CONNECT:
    case FIELD_OTHER:
    case FIELD_COUNT:
        return false;
    }
    return false;
}

static void put_field(struct json_out *j, enum story_field f,
                      const struct service_view *was,
                      const struct service_view *now)
{
    struct buf text;
    buf_init(&text, 0);
    json_open(j, '{');
    json_member_str(j, "Field", bytes_str(story_field_name(f)));
    if (service_text(&text, f, was)) {
        json_member_str(j, "From", buf_bytes(&text));
        buf_reset(&text);
        (void)service_text(&text, f, now);
        json_member_str(j, "To", buf_bytes(&text));
    }
    json_close(j, '}');
    buf_fini(&text);
}

static void put_fields(struct json_out *j, const struct story_change *c)
{
    struct service_view was = {0}, now = {0};
    struct node_view a = {0}, b = {0};
    uint32_t fields = 0;
    if (c->what == STORY_CHANGED &&
        record_get_service(c->was, &was) == ERR_OK &&
        record_get_service(c->now, &now) == ERR_OK)
        fields = story_service_fields(&was, &now);
    if (c->what == STORY_NODE_CHANGED &&
        record_get_node(c->was, &a) == ERR_OK &&
        record_get_node(c->now, &b) == ERR_OK) {
        fields = story_node_fields(&a, &b);
        was = (struct service_view){
            .name = a.name, .id = a.id, .address = a.address};
        now = (struct service_view){
            .name = b.name, .id = b.id, .address = b.address};
    }
    json_key(j, "Fields");
    json_open(j, '[');
    for (int f = 0; f < FIELD_COUNT; f++)
        if (fields >> f & 1)
            put_field(j, (enum story_field)f, &was, &now);
    json_close(j, ']');
}

/* --- Instances and checks ------------------------------------------------ */

static void put_address(struct json_out *j, const struct story_change *c)
{
    struct service_view v = {0}, now;
    if (record_get_service(c->what == STORY_REGISTERED ? c->now : c->was, &v) !=
        ERR_OK)
        return;
    json_member_str(j, "Address", v.address.n ? v.address : c->node_address);
    json_key(j, "Port");
    json_i64(j, v.port);
    if (c->what == STORY_DEREGISTERED && c->now.n &&
        record_get_service(c->now, &now) == ERR_OK)
        json_member_str(j, "As",
                        now.name); /* its ID belongs to another service now */
}

/* Not through the middle of a character. */
static struct bytes head_of(struct bytes text)
{
    size_t n = OUTPUT_HEAD_BYTES;
    if (text.n <= n)
        return text;
    while (n > 0 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return bytes_head(text, n);
}

static void put_marks(struct json_out *j, const struct check_view *v)
{
    static const char *const causes[] = {
        [CAUSE_EVIDENCE] = "evidence",
        [CAUSE_TIMEOUT] = "timeout",
        [CAUSE_SILENCE] = "silence",
    };
    if (bytes_is(v->status, "critical") && marks_any(&v->marks))
        json_member_str(j, "Cause", bytes_str(causes[v->marks.cause]));
    if (v->marks.held) {
        json_key(j, "Held");
        json_bool(j, true);
    }
    if (v->marks.damped) {
        json_key(j, "Damped");
        json_bool(j, true);
    }
}

static void put_check(struct json_out *j, const struct story_change *c)
{
    struct check_view was = {0}, now = {0};
    bool before = c->was.n && record_get_check(c->was, &was) == ERR_OK;
    bool after = c->now.n && record_get_check(c->now, &now) == ERR_OK;
    const struct check_view *v = after ? &now : &was;
    json_member_str(j, "CheckID", v->id);
    json_member_str(j, "CheckName", v->name);
    json_key(j, "OfNode");
    json_bool(j, v->service_id.n == 0);
    if (before)
        json_member_str(j, "From", was.status);
    if (!after)
        return;
    json_member_str(j, "To", now.status);
    json_member_str(j, "Output", head_of(now.output));
    put_marks(j, &now);
}

static const char *what_of(enum story_what what)
{
    switch (what) {
    case STORY_REGISTERED:
        return "registered";
    case STORY_CHANGED:
        return "changed";
    case STORY_DEREGISTERED:
        return "deregistered";
    case STORY_LET_GO:
        return "let go";
    case STORY_NODE_CHANGED:
        return "node changed";
    case STORY_CHECK_ADDED:
        return "check added";
    case STORY_CHECK_REMOVED:
        return "check removed";
    case STORY_CHECK_STATUS:
        return "check status";
    case STORY_CHECK_HELD:
        return "check held";
    case STORY_CHECK_RELEASED:
        return "check released";
    case STORY_CHECK_DAMPED:
        return "check damped";
    case STORY_CHECK_UNDAMPED:
        return "check no longer damped";
    }
    return "";
}

static void put_head(struct json_out *j, const struct story_change *c)
{
    json_open(j, '{');
    put_moment(j, c->revision, c->wall_ms);
    json_member_str(j, "By", c->by);
    json_member_str(j, "Node", c->node);
    json_member_str(j, "ServiceID", c->id);
}

static void put_change(struct json_out *j, const struct story_change *c)
{
    put_head(j, c);
    json_member_str(j, "What", bytes_str(what_of(c->what)));
    switch (c->what) {
    case STORY_REGISTERED:
    case STORY_DEREGISTERED:
        put_address(j, c);
        break;
    case STORY_CHANGED:
    case STORY_NODE_CHANGED:
        put_fields(j, c);
        break;
    case STORY_LET_GO:
        break;
    case STORY_CHECK_ADDED:
    case STORY_CHECK_REMOVED:
    case STORY_CHECK_STATUS:
    case STORY_CHECK_HELD:
    case STORY_CHECK_RELEASED:
    case STORY_CHECK_DAMPED:
    case STORY_CHECK_UNDAMPED:
        put_check(j, c);
        break;
    }
    json_close(j, '}');
}

void read_history_service(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct json_out *j = &e.j;
    const struct api_past *past = env->past;
    if (!past || !past->story) {
        api_error(c, 500, "history is not to be had here");
        return;
    }
    json_open(j, '{');
    json_member_str(j, "Service", c->arg);
    put_end(j, "From", past->from, past->from_ms);
    put_end(j, "Until", past->until, past->until_ms);
    json_key(j, "Left");
    json_u64(j, story_left(past->story));
    json_key(j, "Changes");
    json_open(j, '[');
    list_each (it, story_changes(past->story))
        put_change(j, container_of(it, struct story_change, link));
    json_close(j, ']');
    json_close(j, '}');
    encoder_end(&e, c);
}

/* --- Those who are gone -------------------------------------------------- */

static bool is_there(const struct api_env *env, const struct api_call *c,
                     const struct story_change *gone)
{
    const struct cat_node *n = snapshot_node(env->cat, gone->node);
    const struct cat_instance *i = n ? cat_node_service(n, gone->id) : NULL;
    struct service_view v;
    if (!i)
        return false;
    cat_service_view(i->service, &v);
    return bytes_eq_fold(v.name, c->arg);
}

/* Folded node and ID: what one instance is. NULL: no memory. */
static const char *key_of(struct arena *a, const struct story_change *c,
                          size_t *ret_n)
{
    size_t n = c->node.n + 1 + c->id.n;
    char *key = arena_alloc(a, n);
    struct buf folded;
    if (!key)
        return NULL;
    buf_init(&folded, 0);
    buf_put_fold(&folded, c->node);
    buf_putc(&folded, 0);
    buf_put_fold(&folded, c->id);
    if (!folded.bad)
        memcpy(key, folded.p, n);
    *ret_n = n;
    bool bad = folded.bad;
    buf_fini(&folded);
    return bad ? NULL : key;
}

/* The last departure of each, newest first; false: no memory. */
static bool collect(struct api_call *c, const struct api_env *env,
                    const struct story_change **v, size_t *ret_n)
{
    const struct list *all = story_changes(env->past->story);
    struct map seen = {0};
    bool ok = true;
    for (const struct list *it = all->prev; ok && it != all; it = it->prev) {
        const struct story_change *gone =
            container_of(it, struct story_change, link);
        size_t n;
        const char *key = key_of(c->arena, gone, &n);
        if (key && map_get(&seen, bytes_of(key, n)))
            continue;
        ok = key && map_put(&seen, bytes_of(key, n), c) == ERR_OK;
        if (ok && !is_there(env, c, gone))
            v[(*ret_n)++] = gone;
    }
    map_fini(&seen);
    return ok;
}

void past_put_departed(struct encoder *e, struct api_call *c)
{
    const struct api_env *env = e->env;
    struct json_out *j = &e->j;
    size_t n = 0;
    if (!env->past || !env->past->story)
        return;
    const struct story_change **v = arena_alloc(
        c->arena, (story_count(env->past->story) + 1) * sizeof(void *));
    if (!v || !collect(c, env, v, &n)) {
        e->j.out->bad = true; /* 500: out of memory */
        return;
    }
    json_key(j, "Departed");
    json_open(j, '[');
    while (n > 0) {
        const struct story_change *gone = v[--n];
        put_head(j, gone);
        put_address(j, gone);
        json_close(j, '}');
    }
    json_close(j, ']');
    put_end(j, "DepartedSince", env->past->from, env->past->from_ms);
}
