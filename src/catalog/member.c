/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "catalog/member.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/check.h"
#include "catalog/impl.h"

/* --- Checks -------------------------------------------------------------- */

/* The guard let this instance go although that check of its node is held. */
static bool let_out(struct packed out, const struct cat_instance *i,
                    const struct cat_record *check)
{
    struct buf key = {0};
    struct check_view v;
    uint64_t since_ms;

    if (out.n == 0)
        return false;
    key_instance(&key, cat_record_node(i->service), cat_record_id(i->service));
    require(!key.bad);
    struct bytes since = packed_find(out, buf_bytes(&key));
    buf_fini(&key);
    cat_check_view(check, &v);
    return since.p && guard_out_since(since, &since_ms) &&
           since_ms == v.marks.since_ms;
}

static bool holds(struct packed out, const struct cat_instance *i,
                  const struct cat_record *check)
{
    if (!check->held)
        return false;
    return cat_check_service(check).n > 0 || !let_out(out, i, check);
}

bool member_check_held(const struct membership *m, const struct cat_instance *i,
                       const struct cat_record *check)
{
    return holds(m->out, i, check) && !cat_check_passes(check);
}

/* --- Standing ------------------------------------------------------------ */

static enum standing check_standing(const struct membership *m,
                                    const struct cat_instance *i,
                                    const struct cat_record *r, bool *held)
{
    struct check_view v;

    cat_check_view(r, &v);
    if (bytes_is(v.status, "passing"))
        return STANDS_PASSING;
    if (v.marks.held && member_check_held(m, i, r)) {
        *held = true;
        return STANDS_PASSING;
    }
    if (bytes_is(v.status, "critical"))
        return STANDS_OUT;
    return bytes_is(v.status, "warning") ? STANDS_WARNING : STANDS_OTHER;
}

enum standing member_standing(const struct membership *m,
                              const struct cat_node *node,
                              const struct cat_instance *i,
                              struct packed ignored, bool *ret_held)
{
    uint32_t own = node->own ? node->own->n : 0;
    enum standing s = STANDS_PASSING;
    bool other = false, held = false;

    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        if (ignored.n && packed_has(ignored, cat_record_id(r)))
            continue;
        enum standing c = check_standing(m, i, r, &held);
        other |= c == STANDS_OTHER;
        s = c < s ? c : s;
    }
    if (ret_held)
        *ret_held = held;
    if (m->cut && member_of(m, node, i) == MEMBER_SUPPRESSED)
        return STANDS_OUT;
    return s == STANDS_WARNING && other ? STANDS_OTHER : s;
}

/* --- Candidates ---------------------------------------------------------- */

static enum member candidate(struct packed out, const struct cat_node *node,
                             const struct cat_instance *i)
{
    uint32_t own = node->own ? node->own->n : 0;
    enum member m = MEMBER_PLAIN;

    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        if (cat_check_passes(r))
            continue;
        if (!holds(out, i, r))
            return MEMBER_OUT;
        m = MEMBER_HELD;
    }
    return m;
}

static struct packed out_of(const struct snapshot *s,
                            const struct cat_name *name)
{
    const struct cat_record *r =
        s->guards.n ? snapshot_guard(s, name_text(name)) : NULL;
    struct guard_view v = {0};

    if (r)
        cat_guard_view(r, &v);
    return v.out;
}

size_t member_candidates(const struct snapshot *s, const struct cat_name *name,
                         const struct cat_instance *without, size_t limit)
{
    struct packed out = out_of(s, name);
    struct tree_iter it;
    size_t n = 0;

    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; n < limit && (i = tree_next(&it));) {
        const struct cat_node *node = snapshot_node_of(s, i);
        if (i != without && node && candidate(out, node, i) != MEMBER_OUT)
            n++;
    }
    return n;
}

/* --- Damped -------------------------------------------------------------- */

static uint64_t until_of(const struct cat_record *r)
{
    struct check_view v;

    cat_check_view(r, &v);
    return v.marks.damped_until_ms;
}

const struct cat_record *member_damped(const struct cat_node *node,
                                       const struct cat_instance *i)
{
    uint32_t own = node->own ? node->own->n : 0;
    const struct cat_record *longest = NULL;

    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        if (r->damped && (!longest || until_of(r) > until_of(longest)))
            longest = r;
    }
    return longest;
}

struct damped {
    uint64_t until_ms;
    const struct cat_instance *i;
};

/* Those that are suppressed first come first. */
static int damped_cmp(const void *a, const void *b)
{
    const struct damped *x = a, *y = b;

    if (x->until_ms != y->until_ms)
        return x->until_ms > y->until_ms ? -1 : 1;
    int c = bytes_cmp_fold(cat_record_node(x->i->service),
                           cat_record_node(y->i->service));
    return c ? c
             : bytes_cmp_fold(cat_record_id(x->i->service),
                              cat_record_id(y->i->service));
}

/* The damped candidates; *ret_candidates: of all. */
static struct damped *damped_of(const struct membership *m,
                                const struct cat_name *name, size_t *ret_n,
                                size_t *ret_candidates)
{
    struct damped *v = NULL;
    struct tree_iter it;
    size_t n = 0, cap = 0, candidates = 0;

    tree_first(&name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct cat_node *node = snapshot_node_of(m->s, i);
        if (!node || candidate(m->out, node, i) == MEMBER_OUT)
            continue;
        candidates++;
        const struct cat_record *r = member_damped(node, i);
        if (!r)
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 16;
            v = xrealloc(v, cap * sizeof *v);
        }
        v[n++] = (struct damped){until_of(r), i};
    }
    *ret_n = n;
    *ret_candidates = candidates;
    return v;
}

void membership_begin(struct membership *m, const struct snapshot *s,
                      const struct cat_name *name)
{
    size_t n, candidates;

    *m = (struct membership){.s = s, .out = out_of(s, name)};
    if (name->damped == 0 && s->own_damped == 0)
        return;
    struct damped *v = damped_of(m, name, &n, &candidates);
    size_t suppressed = n < candidates / 3 ? n : candidates / 3;
    if (n == candidates)
        suppressed = 0;
    if (suppressed) {
        qsort(v, n, sizeof *v, damped_cmp);
        m->cut = v[suppressed - 1].i;
        m->cut_until_ms = v[suppressed - 1].until_ms;
    }
    free(v);
}

static bool suppressed(const struct membership *m, const struct cat_node *node,
                       const struct cat_instance *i)
{
    const struct cat_record *r = m->cut ? member_damped(node, i) : NULL;

    return r && damped_cmp(&(struct damped){until_of(r), i},
                           &(struct damped){m->cut_until_ms, m->cut}) <= 0;
}

enum member member_of(const struct membership *m, const struct cat_node *node,
                      const struct cat_instance *i)
{
    enum member is = candidate(m->out, node, i);

    if (is != MEMBER_OUT && suppressed(m, node, i))
        return MEMBER_SUPPRESSED;
    return is;
}

uint64_t member_ready_ms(const struct cat_node *node,
                         const struct cat_instance *i)
{
    uint32_t own = node->own ? node->own->n : 0;
    uint32_t s = node->let_in_s > i->let_in_s ? node->let_in_s : i->let_in_s;
    uint64_t ready = (uint64_t)s * 1000;
    struct check_view v;

    for (uint32_t k = 0; k < own + i->check_count; k++) {
        const struct cat_record *r =
            k < own ? node->own->v[k] : i->checks[k - own];
        if (!cat_check_passes(r))
            continue;
        cat_check_view(r, &v);
        if (v.marks.since_ms > ready)
            ready = v.marks.since_ms;
    }
    return ready;
}
