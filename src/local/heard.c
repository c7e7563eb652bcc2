/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/heard.h"

#include <math.h>
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
    s->coordinates_index = 1;
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
    for (size_t i = 0; i < s->coordinate_count; i++)
        free((void *)s->coordinates[i]);
    free(s->coordinates);
    free((void *)s);
    free(h);
}

const struct heard_snapshot *heard_current(const struct heard *h)
{
    return atomic_load_explicit(&h->current, memory_order_acquire);
}

/* gone: what the new version does not show any more; NULL: nothing. */
static void publish(struct heard *h, struct heard_snapshot *take,
                    const void *gone, const void *list)
{
    const struct heard_snapshot *old = heard_current(h);
    atomic_store(&h->current, take);
    if (gone)
        pin_retire(h->pins, (void *)gone, sizeof(struct heard_event));
    if (list)
        pin_retire(h->pins, (void *)list,
                   old->coordinate_count * sizeof *old->coordinates);
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

static struct bytes put(char **at, struct bytes from)
{
    struct bytes ret = bytes_of(*at, from.n);
    if (from.n)
        memcpy(*at, from.p, from.n);
    *at += from.n;
    return ret;
}

static const struct heard_event *event_copy(const struct heard_event *e,
                                            uint64_t number)
{
    size_t n = e->name.n + e->payload.n + e->node_filter.n +
               e->service_filter.n + e->tag_filter.n;
    struct heard_event *copy = xmalloc(sizeof *copy + n);
    char *at = (char *)(copy + 1);
    *copy = *e;
    copy->number = number;
    copy->name = put(&at, e->name);
    copy->payload = put(&at, e->payload);
    copy->node_filter = put(&at, e->node_filter);
    copy->service_filter = put(&at, e->service_filter);
    copy->tag_filter = put(&at, e->tag_filter);
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
    publish(h, s, gone, NULL);
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

/* --- Coordinates --------------------------------------------------------- */

/* Where the node is, or would be. */
static size_t place_of(const struct heard_snapshot *s, struct bytes node)
{
    size_t low = 0, high = s->coordinate_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (bytes_cmp_fold(s->coordinates[mid]->node, node) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct heard_coordinate *heard_coordinate(const struct heard_snapshot *s,
                                                struct bytes node)
{
    size_t at = place_of(s, node);
    if (at < s->coordinate_count &&
        bytes_eq_fold(s->coordinates[at]->node, node))
        return s->coordinates[at];
    return NULL;
}

enum err heard_put_coordinate(struct heard *h, const struct heard_coordinate *c)
{
    const struct heard_snapshot *old = heard_current(h);
    const struct heard_coordinate *gone = heard_coordinate(old, c->node);
    size_t at = place_of(old, c->node), n = old->coordinate_count;
    if (!gone && n >= HEARD_COORDINATES_MAX)
        return ERR_LIMIT;
    struct heard_coordinate *copy = xmalloc(sizeof *copy + c->node.n);
    char *text = (char *)(copy + 1);
    *copy = *c;
    copy->node = put(&text, c->node);

    struct heard_snapshot *s = copy_of(old);
    size_t after = at + (gone != NULL);
    s->coordinates = xmalloc((n + 1) * sizeof *s->coordinates);
    if (at)
        memcpy(s->coordinates, old->coordinates, at * sizeof *s->coordinates);
    s->coordinates[at] = copy;
    if (after < n)
        memcpy(s->coordinates + at + 1, old->coordinates + after,
               (n - after) * sizeof *s->coordinates);
    s->coordinate_count = n + (gone == NULL);
    s->coordinates_index++;
    publish(h, s, gone, old->coordinates);
    return ERR_OK;
}

double heard_distance(const struct heard_coordinate *a,
                      const struct heard_coordinate *b)
{
    double sum = 0;
    for (int i = 0; i < HEARD_DIMENSIONS; i++) {
        double d = a->vec[i] - b->vec[i];
        sum += d * d;
    }
    double plain = sqrt(sum) + a->height + b->height;
    double adjusted = plain + a->adjustment + b->adjustment;
    return adjusted > 0 ? adjusted : plain;
}
