/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* metric - all counters and gauges of the process, in one table.
 *
 * Adding one is adding a row; what is shown (JSON, Prometheus, docs) follows.
 * Any thread, relaxed atomics, no allocation. */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H

#include <stdint.h>

/* X(id, kind, name, help); names without the "consul." / "muster_" prefix that
 * the front ends add. */
/* clang-format off */
#define METRIC_TABLE(X)                                                                                  \
    X(METRIC_HTTP_REQUESTS,        COUNTER, "http.requests",            "HTTP requests answered")         \
    X(METRIC_HTTP_CONNECTIONS,     GAUGE,   "http.connections",         "open HTTP connections")          \
    X(METRIC_HTTP_PARKED,          GAUGE,   "http.parked",              "long polls waiting")             \
    X(METRIC_HTTP_WOKEN,           COUNTER, "http.woken",               "long polls answered by a change") \
    X(METRIC_HTTP_SPURIOUS,        COUNTER, "http.spurious",            "watch keys that changed while the answer did not (stayed parked)") \
    X(METRIC_HTTP_REFUSED_CONNS,   COUNTER, "http.refused.connections", "connections over limits.http_max_conns") \
    X(METRIC_HTTP_REFUSED_PEER,    COUNTER, "http.refused.per_client",  "connections over limits.http_max_conns_per_client") \
    X(METRIC_HTTP_REFUSED_HEADER,  COUNTER, "http.refused.header",      "requests with too many or too long header lines") \
    X(METRIC_HTTP_REFUSED_BODY,    COUNTER, "http.refused.body",        "requests whose body was over the limit") \
    X(METRIC_HTTP_REFUSED_JSON,    COUNTER, "http.refused.json",        "bodies too deep or with too many values") \
    X(METRIC_HTTP_MALFORMED,       COUNTER, "http.malformed",           "requests that were not HTTP/1.1") \
    X(METRIC_HTTP_SLOW_READERS,    COUNTER, "http.slow.readers",        "connections closed: the peer did not take its answer") \
    X(METRIC_HTTP_SLOW_SENDERS,    COUNTER, "http.slow.senders",        "connections closed: the request came too slowly") \
    X(METRIC_HTTP_TLS_HANDSHAKES,  COUNTER, "http.tls.handshakes",      "TLS handshakes done")              \
    X(METRIC_HTTP_TLS_FAILED,      COUNTER, "http.tls.failed",          "TLS handshakes that failed or came too slowly") \
    X(METRIC_HTTP_IDLE_CLOSED,     COUNTER, "http.idle",                "connections closed: idle too long") \
    X(METRIC_STREAMS,              GAUGE,   "stream.open",              "open event streams")             \
    X(METRIC_STREAM_EVENTS,        COUNTER, "stream.events",            "events encoded for streams (once for all who get them)") \
    X(METRIC_STREAM_SENT,          COUNTER, "stream.sent",              "texts of events sent, each to one subscription") \
    X(METRIC_LAG_COUNT,            COUNTER, "subscriber.lag.count",     "changes that subscribers said they applied") \
    X(METRIC_LAG_SUM,              COUNTER, "subscriber.lag.sum.ms",    "milliseconds from publishing to applying, all together") \
    X(METRIC_STREAM_SNAPSHOTS,     COUNTER, "stream.snapshots",         "snapshots encoded for streams")  \
    X(METRIC_STREAM_RESUMED,       COUNTER, "stream.resumed",           "subscriptions that went on where they had been cut") \
    X(METRIC_STREAM_STALLED,       GAUGE,   "stream.stalled",           "subscriptions whose reader takes nothing now") \
    X(METRIC_EVENTS,               COUNTER, "event.heard",              "user events that came here, for whatever node") \
    X(METRIC_STREAM_COLLAPSED,     COUNTER, "stream.collapsed",         "slow readers of streams taken to the newest state at once") \
    X(METRIC_STREAM_BYTES,         GAUGE,   "stream.bytes",             "bytes of encoded events kept")   \
    X(METRIC_LOG_LOST,             COUNTER, "log.lost",                 "log lines that syslog did not take")  \
    X(METRIC_DNS_A,                COUNTER, "dns.queries.a",            "DNS queries for A")              \
    X(METRIC_DNS_AAAA,             COUNTER, "dns.queries.aaaa",         "DNS queries for AAAA")           \
    X(METRIC_DNS_SRV,              COUNTER, "dns.queries.srv",          "DNS queries for SRV")            \
    X(METRIC_DNS_PTR,              COUNTER, "dns.queries.ptr",          "DNS queries for PTR")            \
    X(METRIC_DNS_TXT,              COUNTER, "dns.queries.txt",          "DNS queries for TXT")            \
    X(METRIC_DNS_NS,               COUNTER, "dns.queries.ns",           "DNS queries for NS")             \
    X(METRIC_DNS_SOA,              COUNTER, "dns.queries.soa",          "DNS queries for SOA")            \
    X(METRIC_DNS_ANY,              COUNTER, "dns.queries.any",          "DNS queries for ANY")            \
    X(METRIC_DNS_OTHER,            COUNTER, "dns.queries.other",        "DNS queries of any other type")  \
    X(METRIC_DNS_TCP,              COUNTER, "dns.tcp",                  "DNS queries that came over TCP") \
    X(METRIC_DNS_CACHED,           COUNTER, "dns.cached",               "DNS answers whose records had been put together before") \
    X(METRIC_DNS_TRUNCATED,        COUNTER, "dns.truncated",            "DNS answers with TC: there is more than fits") \
    X(METRIC_DNS_NXDOMAIN,         COUNTER, "dns.nxdomain",             "DNS answers NXDOMAIN")           \
    X(METRIC_DNS_REFUSED,          COUNTER, "dns.refused",              "DNS queries for names of other domains, without recursors") \
    X(METRIC_DNS_FAILED,           COUNTER, "dns.failed",               "DNS answers SERVFAIL")           \
    X(METRIC_DNS_MALFORMED,        COUNTER, "dns.malformed",            "packets that are no DNS query, or one of another kind") \
    X(METRIC_DNS_LIMITED,          COUNTER, "dns.limited",              "DNS queries of networks that get too many answers (rrl_rate)") \
    X(METRIC_DNS_SLIPPED,          COUNTER, "dns.slipped",              "DNS queries over the limit that were told TC, not nothing") \
    X(METRIC_DNS_UNSENT,           COUNTER, "dns.unsent",               "DNS answers that the network did not take") \
    X(METRIC_DNS_FORWARDED,        COUNTER, "dns.forwarded",            "DNS queries handed on to recursors") \
    X(METRIC_DNS_RECURSOR_FAILED,  COUNTER, "dns.recursor.failed",      "forwarded DNS queries that no recursor answered") \
    X(METRIC_DNS_RECURSOR_FULL,    COUNTER, "dns.recursor.full",        "DNS queries not handed on: too many wait for recursors") \
    X(METRIC_DNS_SLOW,             COUNTER, "dns.slow",                 "DNS connections closed: idle or slow too long") \
    X(METRIC_DNS_EVICTED,          COUNTER, "dns.evicted",              "DNS connections closed for newer ones") \
    X(METRIC_DNS_CONNECTIONS,      GAUGE,   "dns.connections",          "open DNS connections (TCP)")     \
    X(METRIC_MONITOR_LOST,         COUNTER, "monitor.lost",             "log lines left out for readers who were too slow") \
    X(METRIC_CACHE_HITS,           COUNTER, "cache.hits",               "answers served from the encoded-answer cache") \
    X(METRIC_CACHE_MISSES,         COUNTER, "cache.misses",             "answers encoded") \
    X(METRIC_CACHE_DRAFTS,         COUNTER, "cache.drafts",             "long answers made beside the serving threads") \
    X(METRIC_CACHE_EVICTIONS,      COUNTER, "cache.evictions",          "encoded answers dropped for room") \
    X(METRIC_CACHE_BYTES,          GAUGE,   "cache.bytes",              "bytes of encoded answers kept") \
    X(METRIC_PAST_QUESTIONS,       COUNTER, "past.questions",           "questions about the past taken")     \
    X(METRIC_PAST_REFUSED,         COUNTER, "past.refused",             "questions about the past refused: too many wait") \
    X(METRIC_STORE_GROUPS,         COUNTER, "store.groups",             "groups committed") \
    X(METRIC_STORE_CHANGES,        COUNTER, "store.changes",            "changes committed") \
    X(METRIC_STORE_CONFLICTS,      COUNTER, "store.conflicts",          "changes whose guards did not hold") \
    X(METRIC_STORE_REFUSED,        COUNTER, "store.refused",            "changes over a limit") \
    X(METRIC_STORE_UNKNOWN,        COUNTER, "store.unknown",            "groups whose outcome was lost at first") \
    X(METRIC_STORE_ERRORS,         COUNTER, "store.errors",             "failed store operations") \
    X(METRIC_STORE_SHED,           COUNTER, "store.shed",               "writes refused because more came than the store takes") \
    X(METRIC_STORE_WAITING,        GAUGE,   "store.waiting",            "writes that wait for their turn") \
    X(METRIC_STORE_UP,             GAUGE,   "store.up",                 "1: the last write went well, 0: writes fail") \
    X(METRIC_STORE_CONTACT,        GAUGE,   "store.contact.ms",         "how old stale answers may be; 0 with a store of its own") \
    X(METRIC_STORE_COMPACTIONS,    COUNTER, "store.compactions",        "compactions done") \
    X(METRIC_STORE_EARLY,          COUNTER, "store.compactions.early",  "times history was dropped before its time, for etcd's quota") \
    X(METRIC_STORE_DEFRAGMENTED,   COUNTER, "store.defragmentations",   "members of etcd defragmented by this server") \
    X(METRIC_STORE_ETCD_SIZE,      GAUGE,   "store.etcd.size",          "bytes of etcd's file, of the largest member seen") \
    X(METRIC_STORE_ETCD_USED,      GAUGE,   "store.etcd.used",          "bytes of it in use") \
    X(METRIC_STORE_ETCD_QUOTA,     GAUGE,   "store.etcd.quota",         "bytes at which etcd refuses writes; 0: not known") \
    X(METRIC_STORE_ETCD_ALARMS,    GAUGE,   "store.etcd.alarms",        "members of etcd with an alarm for want of space: no writes") \
    X(METRIC_STORE_ETCD_FULL,      GAUGE,   "store.etcd.full",          "1: live data fills etcd's quota (on the server that looks after its room)") \
    X(METRIC_STORE_ETCD_FOREIGN,   GAUGE,   "store.etcd.foreign",       "addresses of store where another etcd cluster answers: left out") \
    X(METRIC_DISK_FREE,            GAUGE,   "disk.free",                "bytes free on the disk of data_dir, where muster runs etcd") \
    X(METRIC_DISK_LOW,             GAUGE,   "disk.low",                 "1: fewer than 256 MB are, or etcd has ended for want of room") \
    X(METRIC_STORE_REVISION,       GAUGE,   "store.revision",           "newest revision in the local catalog") \
    X(METRIC_CATALOG_NODES,        GAUGE,   "catalog.nodes",            "nodes in the catalog") \
    X(METRIC_CATALOG_SERVERS,      GAUGE,   "catalog.servers",          "servers of this datacenter in the catalog") \
    X(METRIC_CATALOG_UNHEARD,      GAUGE,   "catalog.servers.over",     "of them, servers beyond the limit of 256: not all others hear of them") \
    X(METRIC_CATALOG_INSTANCES,    GAUGE,   "catalog.instances",        "service instances in the catalog") \
    X(METRIC_CATALOG_CHECKS,       GAUGE,   "catalog.checks",           "checks in the catalog") \
    X(METRIC_CATALOG_GARBAGE,      GAUGE,   "catalog.garbage",          "bytes of old versions not yet freed") \
    X(METRIC_PROBE_RUNS,           COUNTER, "probe.runs",               "check runs finished") \
    X(METRIC_PROBE_FAILURES,       COUNTER, "probe.failures",           "check runs that did not pass") \
    X(METRIC_GUARD_HELD,           GAUGE,   "guard.held",               "instances held in the answers (on the server that watches over removals)") \
    X(METRIC_GUARD_PROBED,         GAUGE,   "guard.probed",             "held instances that are being tried") \
    X(METRIC_GUARD_REFUSED,        GAUGE,   "guard.released.refused",   "held instances let go since the start: their port refused") \
    X(METRIC_GUARD_BY_TIME,        GAUGE,   "guard.released.time",      "held instances let go since the start: unreachable for a window") \
    X(METRIC_GUARD_WINDOWS,        GAUGE,   "guard.windows",            "windows of the guard ended since the start") \
    X(METRIC_GUARD_EXPIRED,        GAUGE,   "guard.expired",            "services from outside removed since the start: no beat for their time to live") \
    X(METRIC_GUARD_BEATS_LOST,     COUNTER, "guard.beats.lost",         "beats of services from outside lost: too many waited") \
    X(METRIC_AGENT_SYNCS,          COUNTER, "agent.syncs",              "differences sent to the catalog") \
    X(METRIC_AGENT_FLIPS,          COUNTER, "agent.flips",              "changes of a check's status") \
    X(METRIC_AGENT_FLAPS,          COUNTER, "agent.flaps",              "changes from passing to critical that damping counted") \
    X(METRIC_AGENT_FLAPPING,       GAUGE,   "agent.flapping",           "checks above damping's suppress limit, damped or only observed") \
    X(METRIC_AGENT_DAMPED,         GAUGE,   "agent.damped",             "checks marked as damped") \
    X(METRIC_AGENT_SILENT,         COUNTER, "agent.silent",             "checks that became critical by silence") \
    X(METRIC_AGENT_STARVED,        COUNTER, "agent.starved",            "times when time-outs were taken for the agent's own") \
    X(METRIC_AGENT_RECALLED,       COUNTER, "agent.recalled",           "time-outs that were taken back then")
/* clang-format on */

enum metric {
#define X(id, kind, name, help) id,
    METRIC_TABLE(X)
#undef X
        METRIC_COUNT,
    METRIC_DNS_FIRST = METRIC_DNS_A,
    METRIC_DNS_LAST = METRIC_DNS_EVICTED
};

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

void metric_add(enum metric m, int64_t by);
void metric_set(enum metric m, int64_t value);
int64_t metric_get(enum metric m);

const char *metric_name(enum metric m);
const char *metric_help(enum metric m);
enum metric_kind metric_kind_of(enum metric m);

#endif
