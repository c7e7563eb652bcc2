/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "link.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_BYTES = 256 * 1024 };

void link_init(struct link *l, uint64_t seed)
{
    *l = (struct link){.random = seed};
}

/* SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
 * 2014). */
static uint64_t draw(struct link *l)
{
    uint64_t z = l->random += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Draws once whatever the share, so that a rule that changes moves no other's
 * numbers. */
static bool happens(struct link *l, uint32_t of_a_million)
{
    return draw(l) % MILLION < of_a_million;
}

/* When the last byte has passed at this rate; false: the queue is full. */
static bool queued(struct link *l, size_t bytes, uint64_t now, uint64_t *ret)
{
    const struct rules *r = &l->rules;
    *ret = now;
    if (r->rate_bytes == 0)
        return true;
    uint64_t from = l->free_us > now ? l->free_us : now;
    uint64_t most = r->queue_bytes != 0 ? r->queue_bytes : QUEUE_BYTES;
    if ((from - now) * r->rate_bytes / MILLION + bytes > most)
        return false;
    l->free_us = from + bytes * MILLION / r->rate_bytes;
    *ret = l->free_us;
    return true;
}

static uint64_t delayed(struct link *l, uint64_t at)
{
    const struct rules *r = &l->rules;
    uint64_t random = draw(l);
    if (r->jitter_us == 0)
        return at + r->delay_us;
    uint64_t around = at + r->delay_us + random % (2 * r->jitter_us + 1);
    return around > at + r->jitter_us ? around - r->jitter_us : at;
}

size_t link_send(struct link *l, size_t bytes, uint64_t now_us,
                 uint64_t ret_due_us[2])
{
    struct counts *c = &l->counts;
    c->packets++;
    c->bytes += bytes;
    bool lost = happens(l, l->rules.loss);
    bool twice = happens(l, l->rules.duplicate);
    bool overtakes = happens(l, l->rules.reorder);
    uint64_t out;
    if (l->rules.cut || lost) {
        *(l->rules.cut ? &c->cut : &c->lost) += 1;
        return 0;
    }
    if (!queued(l, bytes, now_us, &out)) {
        c->full++;
        return 0;
    }
    uint64_t due = delayed(l, out);
    if (overtakes) { /* as netem: sent at once */
        due = out;
        c->reordered++;
    } else {
        due = due > l->last_us ? due : l->last_us;
        l->last_us = due;
    }
    size_t n = twice ? 2 : 1;
    c->duplicated += twice;
    c->passed += n;
    c->passed_bytes += n * bytes;
    ret_due_us[0] = due;
    ret_due_us[1] = due;
    return n;
}

struct unit {
    const char *name;
    double by, most;
};

/* In the order of `set`. */
static const struct unit units[] = {
    {"delay_ms", 1e3, 60e6}, {"jitter_ms", 1e3, 60e6}, {"loss", 1e4, 1e6},
    {"duplicate", 1e4, 1e6}, {"reorder", 1e4, 1e6},    {"rate_kbit", 125, 1e12},
    {"queue_kb", 1e3, 1e12}, {"refuse", 1, 65535},     {"cut", 1, 1},
};

static void set(struct rules *r, size_t which, double v)
{
    switch (which) {
    case 0:
        r->delay_us = (uint64_t)v;
        break;
    case 1:
        r->jitter_us = (uint64_t)v;
        break;
    case 2:
        r->loss = (uint32_t)v;
        break;
    case 3:
        r->duplicate = (uint32_t)v;
        break;
    case 4:
        r->reorder = (uint32_t)v;
        break;
    case 5:
        r->rate_bytes = (uint64_t)v;
        break;
    case 6:
        r->queue_bytes = (uint64_t)v;
        break;
    case 7:
        r->refuse = (uint32_t)v;
        break;
    default:
        r->cut = v > 0;
        break;
    }
}

const char *link_rule(struct rules *r, const char *text)
{
    const char *is = strchr(text, '=');
    if (is == NULL)
        return "a rule is NAME=NUMBER";
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) != (size_t)(is - text) ||
            memcmp(units[i].name, text, (size_t)(is - text)) != 0)
            continue;
        char *end;
        double v = strtod(is + 1, &end) * units[i].by;
        if (end == is + 1 || *end != 0 || !(v >= 0 && v <= units[i].most))
            return "not a number, or out of range";
        set(r, i, v);
        return NULL;
    }
    return "one of delay_ms jitter_ms loss duplicate reorder (%) rate_kbit "
           "queue_kb refuse cut is meant";
}
