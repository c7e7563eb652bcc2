/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "wan/wan.h"

#include <stdlib.h>

#include "base/check.h"

void wan_init(struct wan *w, const struct wan_who *self)
{
    *w = (struct wan){.self = *self};
}

void wan_fini(struct wan *w)
{
    free(w->v);
    *w = (struct wan){0};
}

/* --- Words ---------------------------------------------------------------- */

static bool is_label(const char *text)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
              c == '_'))
            return false;
    }
    return n > 0 && n <= WAN_NAME_MAX;
}

static bool is_printable(const char *text, size_t most)
{
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return false;
    return n > 0 && n < most;
}

enum err wan_check(const struct wan_who *who, struct errtext *t)
{
    const char *wrong = NULL;

    if (!is_label(who->datacenter))
        wrong = "Datacenter, which DNS could not carry: 1 to 63 of a-z, 0-9, "
                "'-' and '_'";
    else if (!is_printable(who->node, sizeof who->node))
        wrong = "Node";
    else if (!bytes_uuid(bytes_str(who->id)))
        wrong = "ID, which is no UUID";
    else if (!is_printable(who->address, sizeof who->address))
        wrong = "Address";
    else if (who->port < 1 || who->port > 65535)
        wrong = "Port";
    else if (!coordinate_valid(&who->at))
        wrong = "coordinate";
    if (!wrong)
        return ERR_OK;
    errtext_set(t, "a server that calls itself \"%.64s.%.64s\" tells a bad %s",
                who->node, who->datacenter, wrong);
    return ERR_BAD;
}

/* --- The list ------------------------------------------------------------- */

static bool same_name(const struct wan_who *a, const struct wan_who *b)
{
    return strcmp(a->datacenter, b->datacenter) == 0 &&
           bytes_eq_fold(bytes_str(a->node), bytes_str(b->node));
}

static bool same_place(const struct wan_who *a, const struct wan_who *b)
{
    return a->port == b->port && strcmp(a->address, b->address) == 0;
}

static int order(const struct wan_who *a, const struct wan_who *b)
{
    int c = strcmp(a->datacenter, b->datacenter);

    return c ? c : bytes_cmp_fold(bytes_str(a->node), bytes_str(b->node));
}

static struct wan_member *by_id(struct wan *w, const char *id)
{
    for (size_t i = 0; i < w->n; i++)
        if (strcmp(w->v[i].who.id, id) == 0)
            return &w->v[i];
    return NULL;
}

static void take_out(struct wan *w, struct wan_member *m)
{
    size_t at = (size_t)(m - w->v);

    memmove(m, m + 1, (w->n - at - 1) * sizeof *m);
    w->n--;
}

static enum err add(struct wan *w, const struct wan_who *who, uint64_t now_ms,
                    struct wan_member **ret, struct errtext *t)
{
    size_t at = 0;

    if (w->n == WAN_MEMBERS_MAX) {
        errtext_set(t,
                    "%d servers of other datacenters are known, which is "
                    "the limit",
                    WAN_MEMBERS_MAX);
        return ERR_LIMIT;
    }
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16;
        struct wan_member *v = realloc(w->v, cap * sizeof *v);
        if (!v)
            return ERR_NOMEM;
        w->v = v;
        w->cap = cap;
    }
    while (at < w->n && order(&w->v[at].who, who) < 0)
        at++;
    memmove(w->v + at + 1, w->v + at, (w->n - at) * sizeof *w->v);
    w->n++;
    w->v[at] =
        (struct wan_member){.who = *who, .since_ms = now_ms, .rtt_s = -1};
    *ret = &w->v[at];
    return ERR_OK;
}

/* --- Heard ---------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct wan_member *m, double rtt_s)
{
    double sorted[WAN_RTT_SAMPLES];

    m->samples[m->sample_next] = rtt_s;
    m->sample_next = (m->sample_next + 1) % WAN_RTT_SAMPLES;
    m->sample_count += m->sample_count < WAN_RTT_SAMPLES;
    memcpy(sorted, m->samples, sizeof sorted);
    qsort(sorted, m->sample_count, sizeof *sorted, by_size);
    m->rtt_s = sorted[m->sample_count / 2];
}

static enum err conflict(const struct wan_who *a, const struct wan_who *b,
                         struct errtext *t)
{
    errtext_set(t,
                "two servers call themselves \"%.64s.%.64s\": ID %s at %s, and "
                "ID %s at %s; give one another node_name, or its datacenter "
                "another name",
                a->node, a->datacenter, a->id, a->address, b->id, b->address);
    return ERR_CONFLICT;
}

/* Its name is another's: that one gives way unless it lives. */
static enum err make_room(struct wan *w, const struct wan_who *who,
                          struct errtext *t)
{
    for (size_t i = 0; i < w->n; i++) {
        struct wan_member *m = &w->v[i];
        if (!same_name(&m->who, who) || strcmp(m->who.id, who->id) == 0)
            continue;
        if (m->alive && !same_place(&m->who, who))
            return conflict(&m->who, who, t);
        take_out(w, m);
        break;
    }
    return ERR_OK;
}

static enum err admit(struct wan *w, const struct wan_who *who, bool *ret_self,
                      struct errtext *t)
{
    *ret_self = strcmp(who->id, w->self.id) == 0;
    enum err e = wan_check(who, t);
    if (e == ERR_OK && !*ret_self && same_name(who, &w->self))
        e = conflict(&w->self, who, t);
    return e;
}

enum err wan_heard(struct wan *w, const struct wan_who *who, double rtt_s,
                   uint64_t now_ms, bool *ret_changed, struct errtext *t)
{
    bool self;

    *ret_changed = false;
    enum err e = admit(w, who, &self, t);
    if (e != ERR_OK || self)
        return e;
    e = make_room(w, who, t);
    if (e != ERR_OK)
        return e;
    struct wan_member *m = by_id(w, who->id);
    if (m && !same_name(&m->who, who)) {
        take_out(w, m); /* renamed: another place in the list */
        m = NULL;
    }
    if (!m)
        e = add(w, who, now_ms, &m, t);
    if (e != ERR_OK)
        return e;
    double was = m->rtt_s;
    *ret_changed = !m->known || !m->alive || !same_place(&m->who, who) ||
                   strcmp(m->who.version, who->version) != 0;
    m->who = *who;
    m->known = m->alive = true;
    m->heard_ms = now_ms;
    if (rtt_s >= 0)
        measure(m, rtt_s);
    *ret_changed |= m->rtt_s > was * 1.1 || m->rtt_s < was * 0.9;
    return ERR_OK;
}

enum err wan_told(struct wan *w, const struct wan_who *who, uint64_t now_ms,
                  struct errtext *t)
{
    struct wan_member *m;
    bool self;

    enum err e = admit(w, who, &self, t);
    if (e != ERR_OK || self || by_id(w, who->id))
        return e;
    for (size_t i = 0; i < w->n; i++) /* it will speak for itself */
        if (same_name(&w->v[i].who, who))
            return ERR_OK;
    return add(w, who, now_ms, &m, t);
}

/* --- Time ----------------------------------------------------------------- */

const struct wan_member *wan_due(struct wan *w, uint64_t now_ms)
{
    struct wan_member *due = NULL;

    for (size_t i = 0; i < w->n; i++) {
        struct wan_member *m = &w->v[i];
        bool again = m->asked_ms == 0 || now_ms - m->asked_ms >= WAN_PING_MS;
        if (again && (!due || m->asked_ms < due->asked_ms))
            due = m;
    }
    if (due)
        due->asked_ms = now_ms ? now_ms : 1;
    return due;
}

bool wan_expire(struct wan *w, uint64_t now_ms)
{
    bool changed = false;

    for (size_t i = w->n; i-- > 0;) {
        struct wan_member *m = &w->v[i];
        uint64_t silent = now_ms - (m->known ? m->heard_ms : m->since_ms);
        if (m->alive && silent >= WAN_FAILED_MS) {
            m->alive = false;
            changed = true;
        }
        if (silent >= WAN_REAP_MS) {
            changed |= m->known;
            take_out(w, m);
        }
    }
    return changed;
}

bool wan_leave(struct wan *w, const char *id)
{
    struct wan_member *m = by_id(w, id);

    if (m)
        take_out(w, m);
    return m != NULL;
}

const struct wan_member *wan_named(const struct wan *w, struct bytes name)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct wan_who *who = &w->v[i].who;
        struct bytes node = bytes_str(who->node);
        if (bytes_eq_fold(bytes_head(name, node.n), node) && name.n > node.n &&
            name.p[node.n] == '.' &&
            bytes_is(bytes_skip(name, node.n + 1), who->datacenter))
            return &w->v[i];
    }
    return NULL;
}

bool wan_force(struct wan *w, struct bytes name)
{
    const struct wan_member *m = wan_named(w, name);

    if (m)
        take_out(w, &w->v[m - w->v]);
    return m != NULL;
}
