/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* The list of endpoints and the hosts behind it: who is new, who stayed, who
 * left. A new list is made aside; nothing of the balancer changes until it is
 * whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/impl.h"

enum { CACHE_LINE = 64 };

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits(struct bytes b)
{
    size_t n = 0;

    while (n < b.n && digit(b.p[n]))
        n++;
    return n;
}

/* Zeros in front are not looked at here: bytes_cmp settles ties later. */
static int number_cmp(struct bytes a, struct bytes b)
{
    while (a.n > 1 && a.p[0] == '0')
        a = bytes_skip(a, 1);
    while (b.n > 1 && b.p[0] == '0')
        b = bytes_skip(b, 1);
    return a.n != b.n ? (a.n < b.n ? -1 : 1) : bytes_cmp(a, b);
}

static int natural_cmp(struct bytes a, struct bytes b)
{
    while (a.n && b.n) {
        size_t i = digits(a), j = digits(b);
        int c = i && j ? number_cmp(bytes_head(a, i), bytes_head(b, j))
                       : (unsigned char)a.p[0] - (unsigned char)b.p[0];
        if (c)
            return c;
        a = bytes_skip(a, i && j ? i : 1);
        b = bytes_skip(b, i && j ? j : 1);
    }
    return (a.n > b.n) - (a.n < b.n);
}

int lb_host_cmp(const struct lb_host *a, const struct lb_host *b)
{
    int c = natural_cmp(a->service_id, b->service_id);

    if (c == 0)
        c = bytes_cmp(a->name, b->name);
    return c ? c : bytes_cmp(a->key, b->key);
}

static int entry_cmp(const void *x, const void *y)
{
    const struct lb_entry *a = x, *b = y;
    return lb_host_cmp(a->host, b->host);
}

/* --- Hosts --------------------------------------------------------------- */

static void host_free(struct lb_junk *j)
{
    free(
        ((struct lb_host *)(void *)((char *)j - offsetof(struct lb_host, junk)))
            ->block);
}

static char *put(char *to, struct bytes from)
{
    if (from.n)
        memcpy(to, from.p, from.n);
    to[from.n] = '\0';
    return to + from.n + 1;
}

/* node NUL ID NUL address NUL port */
static size_t put_key(const struct lb_endpoint *e, char *to)
{
    char *at = put(put(put(to, e->node), e->service_id), e->address);
    return (size_t)(at - to) +
           (size_t)snprintf(at, sizeof "65535", "%u", e->port);
}

static size_t key_max(const struct lb_endpoint *e)
{
    return e->node.n + e->service_id.n + e->address.n + 3 + sizeof "65535";
}

/* Texts lie behind the host: the key, whose parts are node, ID and address,
 * then the name. */
static struct lb_host *host_new(const struct lb_endpoint *e, struct bytes key)
{
    size_t name_max = e->address.n + sizeof ":65535";
    char *block =
        malloc(CACHE_LINE + sizeof(struct lb_host) + key.n + 1 + name_max);

    if (!block)
        return NULL;
    size_t off = CACHE_LINE - (uintptr_t)block % CACHE_LINE;
    struct lb_host *h = (struct lb_host *)(void *)(block + off);
    memset(h, 0, sizeof *h);
    h->block = block;
    char *text = (char *)(h + 1), *name = put(text, key);
    h->key = bytes_of(text, key.n);
    h->node = bytes_of(text, e->node.n);
    h->service_id = bytes_of(text + e->node.n + 1, e->service_id.n);
    h->address = bytes_of(text + e->node.n + e->service_id.n + 2, e->address.n);
    h->port = e->port;
    int n = snprintf(name, name_max, "%.*s:%u", BYTES_ARG(e->address), e->port);
    h->name = bytes_of(name, (size_t)n);
    h->hash = bytes_hash(h->name, 0);
    h->slot = LB_NO_SLOT;
    h->junk.free = host_free;
    return h;
}

static struct lb_host *host_for(struct lb *b, const struct lb_endpoint *e)
{
    char space[LB_IDENTITY_MAX + 16];
    struct bytes key = bytes_of(space, put_key(e, space));
    struct lb_host *h = map_get(&b->hosts, key);

    if (h)
        return h;
    h = host_new(e, key);
    if (h && map_put(&b->hosts, h->key, h) != ERR_OK) {
        host_free(&h->junk);
        h = NULL;
    }
    return h;
}

/* --- The list ------------------------------------------------------------ */

static enum err check(const struct lb_endpoint *e, struct errtext *t)
{
    if (e->address.n == 0 || e->address.n > LB_TEXT_MAX) {
        errtext_set(t,
                    "the address of endpoint \"%.*s\" has %zu bytes, must have "
                    "1 to %d",
                    BYTES_ARG(bytes_head(e->service_id, 64)), e->address.n,
                    LB_TEXT_MAX);
        return ERR_LIMIT;
    }
    if (key_max(e) > LB_IDENTITY_MAX) {
        errtext_set(t,
                    "node, ID and address of endpoint %.*s:%u have %zu bytes "
                    "together, at most %d are taken",
                    BYTES_ARG(e->address), e->port, key_max(e),
                    LB_IDENTITY_MAX);
        return ERR_LIMIT;
    }
    if (e->weight > LB_ENDPOINT_WEIGHT_MAX) {
        errtext_set(t, "endpoint %.*s:%u has weight %u; the greatest is %d",
                    BYTES_ARG(e->address), e->port, e->weight,
                    LB_ENDPOINT_WEIGHT_MAX);
        return ERR_LIMIT;
    }
    return ERR_OK;
}

static enum err check_all(const struct lb_endpoint *v, size_t n,
                          struct errtext *t)
{
    if (n > LB_ENDPOINTS_MAX) {
        errtext_set(t,
                    "%zu endpoints; at most %d are taken: use a subset or a "
                    "filter",
                    n, LB_ENDPOINTS_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < n; i++) {
        enum err e = check(&v[i], t);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static struct lb_roll *roll_alloc(const struct lb_endpoint *v, size_t n)
{
    size_t text = 1;

    for (size_t i = 0; i < n; i++)
        text += v[i].zone.n;
    struct lb_roll *r = malloc(sizeof *r + n * sizeof r->entry[0] + text);
    if (r) {
        r->n = 0;
        r->text = (char *)(r->entry + n);
    }
    return r;
}

static struct lb_entry entry_of(const struct lb_endpoint *e, struct lb_host *h,
                                char **text)
{
    struct lb_entry x = {
        .host = h,
        .zone = bytes_of(*text, e->zone.n),
        .ready_ms = e->ready_ms,
        .weight = e->weight,
        .priority = e->priority,
        .critical = e->critical,
        .out = e->out,
        .probation = e->probation,
    };

    if (e->zone.n)
        memcpy(*text, e->zone.p, e->zone.n);
    *text += e->zone.n;
    return x;
}

static void forget_listed(struct lb *b)
{
    size_t at = 0;
    void *h;

    while (map_next(&b->hosts, &at, NULL, &h))
        ((struct lb_host *)h)->listed = false;
}

enum err lb_roll_new(struct lb *b, const struct lb_endpoint *v, size_t n,
                     struct lb_roll **ret, struct errtext *t)
{
    enum err e = check_all(v, n, t);
    if (e != ERR_OK)
        return e;

    struct lb_roll *r = roll_alloc(v, n);
    if (!r)
        return ERR_NOMEM;
    char *text = r->text;
    forget_listed(b);
    for (size_t i = 0; i < n; i++) {
        struct lb_host *h = host_for(b, &v[i]);
        if (!h) {
            lb_roll_drop(b, r);
            return ERR_NOMEM;
        }
        if (h->listed)
            continue;
        h->listed = true;
        r->entry[r->n++] = entry_of(&v[i], h, &text);
    }
    qsort(r->entry, r->n, sizeof r->entry[0], entry_cmp);
    *ret = r;
    return ERR_OK;
}

void lb_roll_drop(struct lb *b, struct lb_roll *take_r)
{
    for (size_t i = 0; i < take_r->n; i++) {
        struct lb_host *h = take_r->entry[i].host;
        if (h->slot != LB_NO_SLOT)
            continue;
        map_del(&b->hosts, h->key);
        host_free(&h->junk);
    }
    free(take_r);
}

static size_t free_slots(const struct lb *b)
{
    size_t n = 0;

    for (size_t i = 0; i < b->slots_n; i++)
        n += b->slots[i] == NULL;
    return n;
}

static enum err make_slots(struct lb *b, size_t wanted)
{
    size_t have = free_slots(b);
    if (have >= wanted)
        return ERR_OK;

    size_t n = b->slots_n + wanted - have;
    struct lb_host **slots = realloc(b->slots, n * sizeof(struct lb_host *));
    if (!slots)
        return ERR_NOMEM;
    for (size_t i = b->slots_n; i < n; i++)
        slots[i] = NULL;
    b->slots = slots;
    b->slots_n = n;
    return ERR_OK;
}

enum err lb_roll_enter(struct lb *b, struct lb_roll *r)
{
    size_t wanted = 0, at = 0;

    for (size_t i = 0; i < r->n; i++)
        wanted += r->entry[i].host->slot == LB_NO_SLOT;
    enum err e = make_slots(b, wanted);
    if (e != ERR_OK)
        return e;
    for (size_t i = 0; i < r->n; i++) {
        struct lb_host *h = r->entry[i].host;
        if (h->slot != LB_NO_SLOT)
            continue;
        while (b->slots[at])
            at++;
        b->slots[at] = h;
        h->slot = (uint32_t)at;
        h->id = ++b->next_id;
    }
    return ERR_OK;
}

/* An id is never used again; those given here are just skipped. */
void lb_roll_undo(struct lb *b, struct lb_roll *take_r)
{
    const struct lb_view *v = atomic_load(&b->view);

    for (size_t i = 0; i < take_r->n; i++) {
        struct lb_host *h = take_r->entry[i].host;
        bool seen = h->slot == LB_NO_SLOT ||
                    (v && h->slot < v->slots && v->slot[h->slot] == h);
        if (seen)
            continue;
        b->slots[h->slot] = NULL;
        h->slot = LB_NO_SLOT;
    }
    lb_roll_drop(b, take_r);
}

/* The registry's checks found it well again: they looked after it was ejected,
 * so they know better (Envoy: successful_active_health_check_uneject_host). */
static void believe_recoveries(struct lb *b)
{
    for (size_t i = 0; i < b->roll->n; i++) {
        const struct lb_entry *e = &b->roll->entry[i];
        if (e->host->critical && !e->critical && lb_blocked(e->host)) {
            atomic_store(&e->host->failures, 0);
            lb_unblock(b, e->host, LB_EJECTED);
        }
        e->host->critical = e->critical;
    }
}

void lb_roll_settle(struct lb *b, struct lb_roll *take_old, uint64_t now_ms)
{
    size_t at = 0;
    void *p;

    believe_recoveries(b);
    b->lingering = 0;
    while (map_next(&b->hosts, &at, NULL, &p)) {
        struct lb_host *h = p;
        if (h->listed)
            h->gone_ms = 0;
        else if (h->gone_ms == 0)
            h->gone_ms = now_ms ? now_ms : 1;
        b->lingering += !h->listed;
    }
    free(take_old);
}

bool lb_linger_end(struct lb *b, uint64_t now_ms)
{
    bool any = false;

    for (size_t i = 0; i < b->slots_n; i++) {
        struct lb_host *h = b->slots[i];
        if (!h || h->listed || h->gone_ms == 0)
            continue;
        if (now_ms < h->gone_ms + LB_LINGER_MS && b->lingering <= LB_LINGER_MAX)
            continue;
        lb_unblock(b, h, LB_EJECTED | LB_UNREACHABLE);
        map_del(&b->hosts, h->key);
        b->slots[i] = NULL;
        b->lingering--;
        h->junk.next = b->gone;
        b->gone = &h->junk;
        any = true;
    }
    return any;
}
