/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/peer/digest/SINCE-SEED-SIXTEENTHS-LET: all that a mirror of this catalog has
 * to be told to get from the state of revision SINCE to that of now, when the
 * journal does not reach so far back any more (src/mirror/digest.c). Events:
 *
 *     digest  {"Index":...,"Datacenter":...,"Way":WAY,"Forgot":...}
 *             WAY "stream": the journal reaches, or there is nothing newer here;
 *             "all": so much is new that a snapshot is as good; then no more
 *             follows. "changes":
 *     put     an entry of which something is newer than SINCE, as in streams
 *     sums    {"Seed":...,"Buckets":N,"Sums":BASE64} with the index as its id: of
 *             all there is (base/digest.h), N sums of 8 bytes, the low one first
 *
 * What was put or changed since then is known by its revision; who was let in since
 * then (stored.c: LetIn), which leaves none, by the time: LET is the newest that the
 * mirror knows, and with Forgot this server has started since and knows none that
 * it does not tell. (It is not in the sums: each server there knows of it what it
 * has seen itself.) What was removed left nothing: the mirror finds it by the sums.
 */
#include <stdlib.h>

#include "api/entries.h"
#include "api/impl.h"
#include "base/base64.h"
#include "base/digest.h"
#include "http/sse.h"

#define DIGEST_TARGET "/v1/muster/stream?rows&all&nodes&checks"

enum {
    DIGEST_BODY_MAX = 64 << 20,
    DIGEST_FEW = 256,     /* entries; so few are never too many */
    DIGEST_ALL_SHARE = 2, /* more than this part of them changed: all */
    ELEMENTS_EACH = 4,    /* of an instance, about */
    SIXTEENTHS_MAX = 64,
};

struct digest {
    struct api_call *c;
    const struct api_env *env;
    uint64_t since, seed, sixteenths, let;
    uint64_t *sums;
    size_t buckets;
    size_t entries, changed;
    struct buf key; /* of the entry at hand */
    bool is_new;
};

enum api_next prepare_peer_digest(struct api_call *c, const struct api_env *env)
{
    (void)env;
    c->fresh = true;
    c->watch = (struct watch_key){WATCH_CATALOG, c->arg};
    c->pretty = false;
    return API_READ;
}

static bool parse(struct bytes arg, uint64_t *const v[4])
{
    for (int i = 0; i < 4; i++) {
        size_t n = bytes_find(arg, '-');
        if (bytes_u64(bytes_head(arg, n), v[i]) != ERR_OK)
            return false;
        arg = bytes_skip(arg, n + 1);
    }
    return arg.n == 0;
}

/* --- Elements ------------------------------------------------------------ */

static void add(struct digest *d, struct bytes row, uint64_t revision)
{
    uint64_t e = digest_element(buf_bytes(&d->key), row, revision, d->seed);

    d->sums[digest_bucket(e, d->buckets)] += e;
}

static void add_row(void *ctx, struct bytes key, const struct cat_stored *s)
{
    struct digest *d = ctx;

    d->is_new |= s->mod_rev > d->since;
    add(d, key, s->mod_rev);
}

static void put_event(struct digest *d, struct api_call *sub,
                      const struct entry *e)
{
    struct buf *out = &d->c->body, data;
    const char *why;

    if (!entry_read(sub, d->env, e, &why))
        return;
    buf_init(&data, 0);
    struct json_out j = json_out(&data);
    json_open(&j, '{');
    entry_names(e, &j);
    stored_subject(sub, &j);
    json_key(&j, "Entry");
    json_raw(&j, buf_bytes(&sub->body));
    json_close(&j, '}');
    sse_event(out, "put");
    sse_data(out, buf_bytes(&data));
    sse_end(out);
    out->bad |= data.bad || sub->body.bad;
    buf_fini(&data);
}

static void look(struct digest *d, struct api_call *sub, const struct entry *e)
{
    uint64_t out, rev, let_in;
    struct row_of of;

    if (!entry_find(sub, d->env, e, &of))
        return;
    d->is_new = false;
    buf_reset(&d->key);
    entry_key(e, &d->key);
    if (!stored_rows(sub, &of, add_row, d))
        d->c->body.bad = true;
    let_in = of.instance ? stored_let_in(&of) : 0;
    d->is_new |= let_in > d->let;
    out = of.instance ? stored_out(d->env->cat, of.instance, &rev) : 0;
    if (out) {
        add(d, bytes_str("out"), out);
        d->is_new |= rev > d->since;
    }
    d->entries++;
    d->changed += d->is_new;
    if (d->is_new)
        put_event(d, sub, e);
}

static bool is_too_much(const struct digest *d)
{
    return d->c->body.n > DIGEST_BODY_MAX ||
           (d->entries > DIGEST_FEW &&
            d->changed > d->entries / DIGEST_ALL_SHARE);
}

/* False: it takes too long here, or is too much. */
static bool walk(struct digest *d, struct api_call *sub)
{
    struct entry at, next;
    bool begun = false;

    while (entry_next(sub, d->env, begun ? &at : NULL, &next)) {
        begun = true;
        at = next;
        if (!api_spend(d->c, COST_NODE + COST_CHECK) ||
            d->c->body.n > DIGEST_BODY_MAX)
            return false;
        look(d, sub, &at);
    }
    return true;
}

/* --- The answer ---------------------------------------------------------- */

static void begin_event(struct digest *d, const char *way)
{
    struct buf data;

    buf_init(&data, 0);
    struct json_out j = json_out(&data);
    json_open(&j, '{');
    json_key(&j, "Index");
    json_u64(&j, snapshot_revision(d->env->cat));
    json_key(&j, "Datacenter");
    json_str(&j, d->env->self->datacenter);
    json_key(&j, "Way");
    json_str(&j, bytes_str(way));
    json_key(&j, "Forgot");
    json_bool(&j, d->since < snapshot_floor(d->env->cat));
    json_close(&j, '}');
    sse_event(&d->c->body, "digest");
    sse_data(&d->c->body, buf_bytes(&data));
    sse_end(&d->c->body);
    buf_fini(&data);
}

static void sums_event(struct digest *d)
{
    struct buf data, raw;

    buf_init(&data, 0);
    buf_init(&raw, 0);
    for (size_t i = 0; i < d->buckets; i++)
        for (int k = 0; k < 64; k += 8)
            buf_putc(&raw, (char)(d->sums[i] >> k));
    buf_printf(&data, "{\"Seed\":%llu,\"Buckets\":%zu,\"Sums\":\"",
               (unsigned long long)d->seed, d->buckets);
    base64_put(&data, buf_bytes(&raw));
    buf_puts(&data, "\"}");
    sse_event(&d->c->body, "sums");
    sse_data(&d->c->body, buf_bytes(&data));
    sse_id(&d->c->body, snapshot_revision(d->env->cat));
    sse_end(&d->c->body);
    d->c->body.bad |= data.bad || raw.bad;
    buf_fini(&data);
    buf_fini(&raw);
}

/* As the stream would. False: it takes too long here, or is too much. */
static bool walk_all(struct digest *d)
{
    struct api_call all, sub;
    struct buf target;
    bool ok = true;

    buf_init(&target, 0);
    api_call_init(&all);
    if (api_from_canonical(&all, d->env, bytes_str(DIGEST_TARGET),
                           d->c->arena) != ERR_OK)
        d->c->body.bad = true;
    size_t n = d->c->body.bad ? 0 : api_stream_count(&all);
    for (size_t i = 0; ok && i < n; i++) {
        buf_reset(&target);
        api_stream_target(&all, i, &target);
        api_call_init(&sub);
        struct bytes text = arena_copy(d->c->arena, buf_bytes(&target));
        if (text.p &&
            api_from_canonical(&sub, d->env, text, d->c->arena) == ERR_OK)
            ok = walk(d, &sub);
        else
            d->c->body.bad = true;
        api_call_fini(&sub);
    }
    api_call_fini(&all);
    buf_fini(&target);
    return ok;
}

static void make(struct digest *d)
{
    const struct snapshot *s = d->env->cat;
    size_t elements = ELEMENTS_EACH * snapshot_instance_count(s) +
                      snapshot_node_count(s) + snapshot_check_count(s);

    d->buckets = digest_buckets(elements, (size_t)d->sixteenths);
    d->sums = calloc(d->buckets, sizeof *d->sums);
    if (!d->sums) {
        api_error(d->c, 500, "out of memory for the sums");
        return;
    }
    begin_event(d, "changes");
    bool ok = walk_all(d);
    if (d->c->too_long)
        return;
    if (ok && !is_too_much(d)) {
        sums_event(d);
        return;
    }
    buf_reset(&d->c->body);
    begin_event(d, "all");
}

void read_peer_digest(struct api_call *c, const struct api_env *env)
{
    struct digest d = {.c = c, .env = env};

    if (!parse(c->arg,
               (uint64_t *[4]){&d.since, &d.seed, &d.sixteenths, &d.let}) ||
        d.sixteenths < 1 || d.sixteenths > SIXTEENTHS_MAX) {
        api_error(c, 400,
                  "Say what you have: /v1/peer/digest/REVISION-SEED-N-LET, N "
                  "from 1 to %d",
                  SIXTEENTHS_MAX);
        return;
    }
    c->content_type = "text/event-stream";
    if (d.since >= snapshot_revision(env->cat) ||
        (d.since >= snapshot_floor(env->cat) &&
         d.since >= snapshot_journal_floor(env->cat))) {
        begin_event(&d, "stream");
        return;
    }
    buf_init(&d.key, 0);
    make(&d);
    buf_fini(&d.key);
    free(d.sums);
}
