/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/log.h"
#include "http/json_in.h"
#include "server/mirrors_impl.h"

enum {
    LOG_AGAIN_MS = 60000,        /* the same trouble of one datacenter */
    ASK_MS = 3000,               /* an acknowledgement, a clock */
    DIGEST_STUCK_MS = 20 * 1000, /* no byte of an answer */
};

static void committed(void *ctx)
{
    struct dc_mirror *m = ctx;
    const struct errtext *last;
    size_t damaged = mirror_damaged(m->mirror, &last);

    if (damaged != m->damaged_told)
        log_error("mirror", "datacenter %s: an entry is left out: %s", m->name,
                  last->s);
    m->damaged_told = damaged;
    m->behind = 0;
    atomic_store(&m->whole, mirror_is_whole(m->mirror));
    mirrors_committed(m);
}

static void on_beat(void *ctx, uint64_t at_ms, uint64_t age_ms)
{
    struct dc_mirror *m = ctx;
    uint64_t sent_ms = mirror_clock_beat(&m->clock, at_ms, process_now_ms());
    uint64_t fresh_ms = sent_ms > age_ms ? sent_ms - age_ms : 0;

    if (fresh_ms > atomic_load(&m->fresh_ms))
        atomic_store(&m->fresh_ms, fresh_ms);
    m->retry_ms = MIRROR_RETRY_MIN_MS;
    if (mirror_is_whole(m->mirror)) /* it stays so while more is asked for */
        atomic_store(&m->usable, true);
    if (m->was_up)
        return;
    m->was_up = true;
    log_info("mirror",
             "datacenter %s is followed: server=%s revision=%llu "
             "instances=%zu bytes=%zu",
             m->name, m->to, (unsigned long long)mirror_revision(m->mirror),
             snapshot_instance_count(catalog_current(m->catalog)),
             mirror_bytes(m->mirror));
}

/* --- The stream ------------------------------------------------------------ */

static void complain(struct dc_mirror *m, const char *text)
{
    uint64_t now = process_now_ms();

    if (m->logged_ms && now - m->logged_ms < LOG_AGAIN_MS && !m->was_up)
        return;
    m->logged_ms = now;
    log_warn("mirror",
             "datacenter %s is not followed: server=%s error=\"%s\" "
             "age=%llums; what was mirrored stays",
             m->name, m->to, text, (unsigned long long)dc_mirror_age_ms(m));
}

static void hang_up(struct dc_mirror *m)
{
    if (m->stream)
        fetch_cancel(m->stream);
    if (m->digest)
        fetch_cancel(m->digest);
    if (m->ack)
        fetch_cancel(m->ack);
    if (m->asked)
        fetch_cancel(m->asked);
    if (m->tags)
        fetch_cancel(m->tags);
    m->stream = m->digest = m->ack = m->asked = m->tags = NULL;
}

void mirror_link_close(struct dc_mirror *m)
{
    hang_up(m);
    m->digest_ended = false;
    m->tags_index = 0; /* the next server's list */
    atomic_store(&m->open, false);
}

/* The next server; at once if this one had been fine. */
static void lost(struct dc_mirror *m, const char *why)
{
    complain(m, why);
    mirror_link_close(m);
    m->was_up = false;
    m->at++;
    m->retry_at_ms = process_now_ms() + m->retry_ms;
    m->retry_ms = m->retry_ms * 2 > MIRROR_RETRY_MAX_MS ? MIRROR_RETRY_MAX_MS
                                                        : m->retry_ms * 2;
    atomic_fetch_add(&m->reconnects, 1);
}

static void take_another_store(struct dc_mirror *m)
{
    log_warn("mirror",
             "datacenter %s has another store than before: all of it is asked "
             "for anew",
             m->name);
    m->behind = 0;
    m->cluster[0] = '\0';
    m->settled = 0;
    mirror_renew(m->mirror);
    atomic_store(&m->whole, false);
}

static void ended(void *ctx, const struct fetch_result *r)
{
    struct dc_mirror *m = ctx;
    char text[400];

    m->stream = NULL;
    if (m->error != ERR_OK)
        snprintf(text, sizeof text, "%s", m->text.s);
    else if (r->err != ERR_OK)
        snprintf(text, sizeof text, "%s", r->text.s);
    else if (r->status == 200)
        snprintf(text, sizeof text, "it ended the stream");
    else
        snprintf(text, sizeof text, "it answered %d: %.*s", r->status,
                 BYTES_ARG(bytes_head(r->body, 200)));
    if (m->another_store ||
        (m->error == ERR_AGAIN && ++m->behind >= MIRROR_BEHIND_MAX))
        take_another_store(m);
    lost(m, text);
}

static void show_cluster(struct dc_mirror *m)
{
    struct process *p = m->all->core->process;
    const char *old =
        atomic_exchange(&m->cluster_shown, xcopy(bytes_str(m->cluster)));

    if (!old)
        return;
    pin_retire(&p->pins, (void *)(uintptr_t)old, sizeof m->cluster);
    pin_publish(&p->pins);
}

static enum err begun(void *ctx, const struct mirror_origin *o,
                      struct errtext *t)
{
    struct dc_mirror *m = ctx;
    struct bytes id = bytes_head(o->cluster, sizeof m->cluster - 1);

    if (!bytes_is(o->datacenter, m->name)) {
        errtext_set(t, "it belongs to datacenter \"%.*s\", not \"%s\"",
                    BYTES_ARG(bytes_head(o->datacenter, 64)), m->name);
        return ERR_BAD;
    }
    if (m->cluster[0] && !bytes_is(id, m->cluster)) {
        errtext_set(t, "it has another store, %.*s, than before, %s",
                    BYTES_ARG(id), m->cluster);
        m->another_store = true;
        return ERR_BAD;
    }
    if (!bytes_is(id, m->cluster)) {
        memcpy(m->cluster, id.p, id.n);
        m->cluster[id.n] = '\0';
        show_cluster(m);
    }
    m->begun = true;
    mirror_clock_begin(&m->clock, m->opened_ms, o->at_ms, process_now_ms());
    m->clock_at_ms = process_now_ms() + MIRROR_CLOCK_MS;
    atomic_store(&m->answered_ms, m->opened_ms);
    return ERR_OK;
}

/* Nothing of it is answered from here, rather than a part. */
static void cut(struct dc_mirror *m)
{
    log_error("mirror",
              "datacenter %s: what it has takes more than mirror.max_bytes, "
              "%zu: it is not mirrored, and requests are passed on to it",
              m->name, m->all->settings.bytes_max);
    atomic_store(&m->usable, false);
    atomic_store(&m->whole, false);
    atomic_store(&m->cut, true);
    mirror_reset(m->mirror);
    m->cluster[0] = '\0';
    m->retry_ms = MIRROR_CUT_MS;
}

static size_t bytes_of_all(const struct mirrors *all)
{
    size_t n = 0;

    for (size_t i = 0; i < atomic_load(&all->n); i++)
        n += mirror_bytes(all->v[i]->mirror);
    return n;
}

/* The mirror has taken something, with m->error. */
static void taken(struct dc_mirror *m, struct fetch *from)
{
    atomic_store(&m->bytes, mirror_bytes(m->mirror));
    if (m->error == ERR_OK &&
        bytes_of_all(m->all) > m->all->settings.bytes_max) {
        m->error = ERR_LIMIT;
        errtext_set(&m->text, "more than mirror.max_bytes");
        cut(m);
    }
    if (m->error != ERR_OK && from)
        fetch_stop(from);
    else if (mirror_is_busy(m->mirror) && !m->slice.item.in)
        timer_set(&m->all->core->timers, &m->slice, 0);
}

static void take(struct dc_mirror *m, struct bytes piece, struct fetch *from)
{
    atomic_fetch_add(&m->received, piece.n);
    m->error = mirror_push(m->mirror, piece, &m->text);
    taken(m, from);
}

static void digest_over(struct dc_mirror *m);

static void on_slice(struct timer *t)
{
    struct dc_mirror *m = container_of(t, struct dc_mirror, slice);

    if (m->error != ERR_OK)
        return;
    m->error = mirror_step(m->mirror, &m->text);
    taken(m, m->stream ? m->stream : m->digest);
    if (m->digest_ended && (m->error != ERR_OK || !mirror_is_busy(m->mirror)))
        digest_over(m);
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct dc_mirror *m = ctx;

    if (m->error != ERR_OK)
        return;
    atomic_store(&m->heard_ms, process_now_ms());
    atomic_store(&m->open, true);
    take(m, piece, m->stream);
}

/* --- Which server ---------------------------------------------------------- */

/* One that answers, if any does. */
static bool choose(struct dc_mirror *m)
{
    const struct api_wan *w = atomic_load(&m->all->core->process->wan);
    struct bytes dc = dc_mirror_name(m);
    bool alive = api_wan_count(w, dc, true) > 0;
    size_t n = api_wan_count(w, dc, alive);

    if (n == 0)
        return false;
    api_wan_address(w, dc, alive, m->at % n, m->to);
    return true;
}

static void open_stream(struct dc_mirror *m)
{
    struct process *p = m->all->core->process;
    struct buf target = {0}, label = {0};
    uint64_t id = 0;
    char last[24];

    if (!choose(m))
        return;
    snprintf(m->subscriber, sizeof m->subscriber, "%s",
             mirror_subscriber(m->mirror));
    m->error = ERR_OK;
    m->another_store = m->begun = false;
    m->said = (struct behind_said){0};
    m->opened_ms = process_now_ms();
    m->ack_at_ms = m->opened_ms + MIRROR_ACK_MS;
    atomic_store(&m->heard_ms, m->opened_ms);
    mirror_connect(m->mirror, &target, &id);
    buf_puts(&target, "&beat");
    buf_putc(&target, '\0');
    buf_printf(&label, "datacenter %.*s: %.*s", BYTES_ARG(p->self.datacenter),
               BYTES_ARG(bytes_head(p->self.node_name, 48)));
    buf_putc(&label, '\0');
    (void)snprintf(last, sizeof last, "%llu", (unsigned long long)id);
    const struct fetch_header headers[] = {
        {"X-Muster-Subscriber", label.p},
        {"X-Muster-Subscriber-Id", m->subscriber}, /* whom it is for now */
        {"Last-Event-ID", last},
    };
    const struct peer_request q = {.to = m->to,
                                   .target = target.p,
                                   .headers = headers,
                                   .header_count = id ? 3 : 1,
                                   .on_piece = on_piece,
                                   .piece_ctx = m};
    if (target.bad || label.bad ||
        peer_ask(m->all->peers, &q, ended, m, &m->stream) != ERR_OK)
        lost(m, "out of memory");
    buf_fini(&target);
    buf_fini(&label);
}

void mirror_link_again(struct dc_mirror *m)
{
    hang_up(m); /* but it is not lost */
    if (!mirror_is_busy(m->mirror))
        open_stream(m);
    /* Else mirror_link_look does, when what has come is shown. */
}

/* --- What was missed ------------------------------------------------------- */

static void ask_missed(struct dc_mirror *m, bool fine);

static void on_digest(void *ctx, struct bytes piece)
{
    struct dc_mirror *m = ctx;

    m->digest_ms = process_now_ms();
    m->digest_bytes += piece.n;
    if (m->error == ERR_OK)
        take(m, piece, m->digest);
}

/* Whatever came of it, the stream goes on from there, or begins with snapshots. */
static void digest_over(struct dc_mirror *m)
{
    m->digest_ended = false;
    if (m->error != ERR_OK) {
        lost(m, m->text.s);
        return;
    }
    enum mirror_way way =
        m->digest_good ? mirror_digested(m->mirror) : MIRROR_BY_STREAM;
    if (way == MIRROR_FINER && !m->fine) {
        ask_missed(m, true);
        return;
    }
    if (way == MIRROR_DONE)
        log_info("mirror",
                 "datacenter %s has told what was missed: server=%s "
                 "revision=%llu bytes=%llu",
                 m->name, m->to, (unsigned long long)mirror_revision(m->mirror),
                 (unsigned long long)m->digest_bytes);
    open_stream(m);
}

static void digested(void *ctx, const struct fetch_result *r)
{
    struct dc_mirror *m = ctx;

    m->digest = NULL;
    m->digest_good = r->status == 200;
    if (m->error == ERR_OK && r->err != ERR_OK) {
        lost(m, r->text.s);
        return;
    }
    m->digest_ended = true;
    if (m->error != ERR_OK || !mirror_is_busy(m->mirror))
        digest_over(m);
}

/* Where the journal there reaches back to us, the stream tells what was missed; it
 * would begin with snapshots where it does not. */
static void ask_missed(struct dc_mirror *m, bool fine)
{
    struct buf target = {0};

    if (!choose(m))
        return;
    m->all->random = m->all->random * 6364136223846793005u + 1;
    bool useful = mirror_digest(m->mirror, fine, m->all->random, &target);
    buf_putc(&target, '\0');
    m->error = ERR_OK;
    m->fine = fine;
    m->digest_ms = process_now_ms();
    m->digest_bytes = 0;
    const struct peer_request q = {
        .to = m->to,
        .target = target.p,
        .on_piece = on_digest,
        .piece_ctx = m,
    };
    if (!useful || target.bad)
        open_stream(m);
    else if (peer_ask(m->all->peers, &q, digested, m, &m->digest) != ERR_OK)
        lost(m, "out of memory");
    buf_fini(&target);
}

/* --- What is asked beside it ----------------------------------------------- */

struct clock_in {
    int64_t uptime_ms;
};

static void clock_answered(void *ctx, const struct fetch_result *r)
{
    static const struct json_field fields[] = {
        {"UptimeMs", NULL, FIELD_INT, offsetof(struct clock_in, uptime_ms),
         NULL, JSON_NO_FLAG},
    };
    static const struct json_table table = {fields, 1, sizeof(struct clock_in)};
    struct dc_mirror *m = ctx;
    struct clock_in in = {0};
    struct errtext t;
    struct arena a;

    m->asked = NULL;
    if (r->err != ERR_OK || r->status != 200)
        return;
    arena_init(&a, 0);
    if (json_decode(r->body, &table, &in, &a, &t) == ERR_OK &&
        in.uptime_ms > 0) {
        atomic_store(&m->answered_ms, m->clock_sent_ms);
        mirror_clock_told(&m->clock, m->clock_sent_ms, (uint64_t)in.uptime_ms,
                          process_now_ms());
    }
    arena_fini(&a);
}

static void compare_clocks(struct dc_mirror *m, uint64_t now)
{
    const struct peer_request q = {
        .to = m->to, .target = "/v1/peer/clock", .timeout_ms = ASK_MS};

    m->clock_at_ms = now + MIRROR_CLOCK_MS;
    if (m->asked)
        return;
    m->clock_sent_ms = now;
    (void)!peer_ask(m->all->peers, &q, clock_answered, m, &m->asked);
}

/* --- Life ------------------------------------------------------------------ */

void mirror_link_look(struct dc_mirror *m)
{
    uint64_t now = process_now_ms();

    if (m->digest) {
        if (now >= m->digest_ms + DIGEST_STUCK_MS)
            lost(m, "nothing is heard of what was missed");
        return;
    }
    if (!m->stream) {
        /* What has come is shown first: the next server is asked from there. */
        if (mirror_is_busy(m->mirror) && m->error == ERR_OK)
            return;
        if (now >= m->retry_at_ms) {
            atomic_store(&m->cut, false);
            ask_missed(m, false);
        }
        return;
    }
    if (now >= atomic_load(&m->heard_ms) + MIRROR_REOPEN_MS) {
        lost(m, "nothing is heard of it");
        return;
    }
    if (m->begun && now >= atomic_load(&m->answered_ms) + MIRROR_ANOTHER_MS) {
        lost(m, "it answers nothing");
        return;
    }
    if (m->begun && now >= m->ack_at_ms) {
        m->ack_at_ms = now + MIRROR_ACK_MS;
        mirror_tell(m);
    }
    if (m->begun && now >= m->clock_at_ms)
        compare_clocks(m, now);
    if (m->was_up)
        mirror_tags_look(m);
}

/* A stream has two subscriptions at least (mirror.h). */
static enum err want_all(struct dc_mirror *m)
{
    static const enum mirror_kind kinds[] = {MIRROR_ALL, MIRROR_NODES,
                                             MIRROR_CHECKS};
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < sizeof kinds / sizeof *kinds; i++)
        e = mirror_want(m->mirror, kinds[i], (struct bytes){0});
    return e;
}

static enum err want_some(struct dc_mirror *m)
{
    const struct run_mirror *s = &m->all->settings;
    enum err e = mirror_want(m->mirror, MIRROR_SERVICE, bytes_str("consul"));

    for (size_t i = 0; e == ERR_OK && i < s->service_count; i++) {
        struct bytes w = bytes_str(s->services[i]);
        bool prefix = w.n && w.p[w.n - 1] == '*';
        w.n -= prefix;
        e = mirror_want(m->mirror, prefix ? MIRROR_PREFIX : MIRROR_SERVICE, w);
        if (e == ERR_EXISTS)
            e = ERR_OK;
    }
    if (e == ERR_OK && mirror_subscriptions(m->mirror) < 2)
        e = mirror_want(m->mirror, MIRROR_SERVICE, bytes_str("muster"));
    return e;
}

enum err mirror_link_new(struct dc_mirror *m)
{
    m->mirror = mirror_new(
        m->catalog,
        &(struct mirror_events){
            .committed = committed, .begun = begun, .beat = on_beat, .ctx = m});
    if (!m->mirror)
        return ERR_NOMEM;
    mirror_slice(m->mirror, MIRROR_SLICE_ROWS);
    m->slice.fire = on_slice;
    m->retry_ms = MIRROR_RETRY_MIN_MS;
    m->at = m->all->random % WAN_MEMBERS_MAX;
    atomic_store(&m->fresh_ms, process_now_ms());
    return dc_mirror_has_all(m) ? want_all(m) : want_some(m);
}
