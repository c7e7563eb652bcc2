/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* All addresses of a store must be members of one etcd cluster: what is written at
 * one is to be read at the other. Who answers tells the cluster's ID, and each
 * connection begins with that (a watch of nothing: etcd answers it without a
 * leader, and without a user where it asks for one), so that no call reaches
 * another cluster.
 *
 *     at start    two IDs among those that answer are refused
 *     later       a member with another ID than the one that is followed is left
 *                 out, and told of
 *     unless      all addresses tell the same other ID: etcd was restored as a new
 *                 cluster, say. That one is loaded and followed. */
#include "base/log.h"
#include "base/metric.h"
#include "store/etcd_impl.h"

static bool stranger(const struct etcd *x, const struct etcd_member *m)
{
    return m->cluster && x->cluster && m->cluster != x->cluster;
}

static void count_strangers(const struct etcd *x)
{
    int64_t n = 0;

    for (size_t i = 0; i < x->member_n; i++)
        n += stranger(x, &x->member[i]);
    metric_set(METRIC_STORE_ETCD_FOREIGN, n);
}

static bool all_tell(const struct etcd *x, uint64_t cluster)
{
    for (size_t i = 0; i < x->member_n; i++) {
        if (x->member[i].cluster != cluster)
            return false;
    }
    return true;
}

static void follow(struct etcd *x, uint64_t cluster)
{
    x->cluster = cluster;
    atomic_store(&x->backend.cluster, cluster);
}

static void tell_of(const struct etcd *x, const struct etcd_member *m)
{
    log_warn(
        "store",
        "etcd at %s is left out: it belongs to another cluster than the one "
        "that is followed: followed=%llx its=%llx. If it should not be there, "
        "take it out of store. If etcd was restored as a new cluster, it is "
        "followed once every address of store tells it; where one is gone for "
        "good, restart muster, on all servers",
        m->target, (unsigned long long)x->cluster,
        (unsigned long long)m->cluster);
}

bool etcd_belongs(struct etcd *x, size_t member, uint64_t cluster,
                  struct errtext *ret_why)
{
    struct etcd_member *m = &x->member[member];
    bool news = m->cluster != cluster, was_stranger = stranger(x, m);

    if (!cluster)
        return true;
    m->cluster = cluster;
    if (!x->cluster)
        follow(x, cluster);
    if (x->cluster != cluster && all_tell(x, cluster)) {
        log_warn("store",
                 "every address of store tells another cluster of etcd; it is "
                 "loaded: was=%llx is=%llx",
                 (unsigned long long)x->cluster, (unsigned long long)cluster);
        follow(x, cluster);
        count_strangers(x);
        etcd_feed_gap(x);
        errtext_set(ret_why, "etcd is another cluster than before");
        return false; /* what waited was meant for the one before */
    }
    if (news || was_stranger)
        count_strangers(x);
    if (x->cluster == cluster) {
        if (was_stranger)
            log_info("store", "etcd at %s belongs to the cluster again: %llx",
                     m->target, (unsigned long long)cluster);
        return true;
    }
    if (news && !x->looked) /* else it is refused */
        tell_of(x, m);
    errtext_set(ret_why,
                "it belongs to another cluster of etcd: %llx, not %llx",
                (unsigned long long)cluster, (unsigned long long)x->cluster);
    return false;
}

bool etcd_welcome(void *member, struct bytes message, struct errtext *ret_why)
{
    struct etcd_member *m = member;
    struct etcd_watched w = {0};
    struct etcd_events none = {0};
    struct etcd *x = m->etcd;
    enum err e = etcd_watch_read(message, &w, &none);

    etcd_events_fini(&none);
    if (e != ERR_OK) {
        errtext_set(ret_why, "what it says cannot be read: is this etcd?");
        return false;
    }
    return etcd_belongs(x, (size_t)(m - x->member), w.header.cluster, ret_why);
}

enum err etcd_strangers(struct etcd *x, struct errtext *ret)
{
    const struct etcd_member *a = NULL, *b = NULL;

    for (size_t i = 0; i < x->member_n; i++) {
        const struct etcd_member *m = &x->member[i];

        if (stranger(x, m))
            b = b ? b : m;
        else if (m->cluster)
            a = a ? a : m;
    }
    if (!b)
        return ERR_OK;
    errtext_set(
        ret,
        "store names two clusters of etcd: %s belongs to %llx and %s to "
        "%llx; name the members of one",
        a ? a->target : "another", (unsigned long long)x->cluster, b->target,
        (unsigned long long)b->cluster);
    return ERR_BAD;
}

/* --- Looks --------------------------------------------------------------- */

static void looks_end(struct etcd *x)
{
    void (*looked)(struct etcd *) = x->looked;

    x->looked = NULL;
    if (looked)
        looked(x);
}

static void look_message(struct grpc_call *c, struct bytes message)
{
    (void)message; /* the channel has read it */
    grpc_stop(c);
}

static void look_done(struct grpc_call *c, const struct grpc_result *r)
{
    struct etcd_member *m = container_of(c, struct etcd_member, look);
    struct etcd *x = m->etcd;

    log_debug("store", "a look at etcd at %s: %.*s", m->target,
              BYTES_ARG(r->text));
    if (--x->looks == 0)
        looks_end(x);
}

void etcd_look(struct etcd *x, void (*looked)(struct etcd *x))
{
    x->looked = looked;
    x->looks = 1;
    for (size_t i = 0; i < x->member_n; i++) {
        struct etcd_member *m = &x->member[i];

        if (grpc_ready(m->channel))
            continue;
        x->looks++;
        m->look = (struct grpc_call){.path = ETCD_HELLO,
                                     .body = buf_bytes(&x->hello),
                                     .timeout_ms = 2 * ETCD_CONNECT_MS,
                                     .answer_max = ETCD_PAGE_BYTES,
                                     .message = look_message,
                                     .done = look_done};
        grpc_start(m->channel, &m->look);
    }
    if (--x->looks == 0)
        looks_end(x);
}

void etcd_look_again(struct timer *t)
{
    struct etcd *x = container_of(t, struct etcd, look);

    timer_set(&x->timers, t, ETCD_LOOK_MS);
    if (!x->closing && x->looks == 0)
        etcd_look(x, NULL);
}
