/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/heard.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"

struct heard {
    struct pin_domain *pins;
    _Atomic(const struct heard_snapshot *) current;
    uint64_t events; /* ever */
};

struct heard *heard_new(struct pin_domain *pins)
{
    struct heard *h = xzalloc(sizeof *h);
    struct heard_snapshot *s = xzalloc(sizeof *s);
    h->pins = pins;
    atomic_store(&h->current, s);
    return h;
}

void heard_free(struct heard *h)
{
    if (!h)
        return;
    const struct heard_snapshot *s = heard_current(h);
    for (size_t i = 0; i < s->event_count; i++)
        free((void *)s->events[i]);
    free((void *)s);
    free(h);
}

const struct heard_snapshot *heard_current(const struct heard *h)
{
    return atomic_load_explicit(&h->current, memory_order_acquire);
}

/* gone: what the new version does not show any more; NULL: nothing. */
static void publish(struct heard *h, struct heard_snapshot *take,
                    const void *gone)
{
    const struct heard_snapshot *old = heard_current(h);
    atomic_store(&h->current, take);
    if (gone)
        pin_retire(h->pins, (void *)gone, sizeof(struct heard_event));
    pin_retire(h->pins, (void *)old, sizeof *old);
    pin_publish(h->pins);
}

static struct heard_snapshot *copy_of(const struct heard_snapshot *s)
{
    struct heard_snapshot *copy = xmalloc(sizeof *copy);
    *copy = *s;
    return copy;
}

/* --- Events -------------------------------------------------------------- */

static const struct heard_event *event_copy(const struct heard_event *e,
                                            uint64_t number)
{
    size_t n = e->name.n + e->payload.n + e->node_filter.n +
               e->service_filter.n + e->tag_filter.n + e->from.n;
    struct heard_event *copy = xmalloc(sizeof *copy + n);
    char *at = (char *)(copy + 1);
    *copy = *e;
    copy->number = number;
    copy->name = bytes_append(&at, e->name);
    copy->payload = bytes_append(&at, e->payload);
    copy->node_filter = bytes_append(&at, e->node_filter);
    copy->service_filter = bytes_append(&at, e->service_filter);
    copy->tag_filter = bytes_append(&at, e->tag_filter);
    copy->from = bytes_append(&at, e->from);
    return copy;
}

void heard_add_event(struct heard *h, const struct heard_event *e)
{
    struct heard_snapshot *s = copy_of(heard_current(h));
    const struct heard_event *gone = NULL;
    if (s->event_count == HEARD_EVENTS_MAX) {
        gone = s->events[0];
        memmove(s->events, s->events + 1,
                (HEARD_EVENTS_MAX - 1) * sizeof s->events[0]);
        s->event_count--;
    }
    s->events[s->event_count++] = event_copy(e, ++h->events);
    publish(h, s, gone);
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : 0;
}

uint64_t heard_event_index(const char id[37])
{
    uint64_t half[2] = {0, 0};
    size_t digits = 0;
    for (size_t i = 0; id[i] && digits < 32; i++) {
        if (id[i] == '-')
            continue;
        uint64_t *v = &half[digits++ / 16];
        *v = *v << 4 | (uint64_t)digit(id[i]);
    }
    return half[0] ^ half[1];
}
