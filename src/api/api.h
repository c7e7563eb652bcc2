/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* api - what each route means: a request and the snapshots go in; an answer, a
 * change to commit or a wish for the agent comes out. Pure.
 *
 * The server drives a call like this:
 *
 *     api_begin    routes it, checks method and common parameters
 *       ANSWER     the answer is in the call
 *       READ       api_read makes the answer from the snapshots. If call.watch
 * has a kind, the answer may be cached under api_canonical while the watch
 * key's index stays, and (call.blocking) be waited for WRITE      api_write
 * makes a plan to commit, or an answer AGENT      api_agent makes an op for the
 * agent, or an answer MONITOR    the log is to be streamed (api_stream_head)
 *
 * A parked read is evaluated again from its canonical target alone: the
 * request's memory need not be kept. */
#ifndef API_API_H
#define API_API_H

#include "api/filter.h"
#include "api/wan.h"
#include "base/log.h"
#include "base/net.h"
#include "catalog/member.h"
#include "catalog/plan.h"
#include "catalog/story.h"
#include "http/request.h"
#include "http/response.h"
#include "local/beats.h"
#include "local/local.h"
#include "local/op.h"

enum {
    API_BLOCK_DEFAULT_MS = 300 * 1000,
    API_BLOCK_MAX_MS = 600 * 1000,
    API_TAGS_MAX = 64,     /* tag= and node-meta= parameters in one request */
    API_WHO_MAX = 256,     /* bytes of api_who */
    API_SERVERS_MAX = 256, /* of a datacenter: so many hear of each other */
};

/* Facts about this process that answers show. Immutable: a reload makes a new
 * one (server/live.h). */
struct api_self {
    struct bytes node_name, node_id, datacenter, version, domain;
    struct bytes bind_address, advertise_address;
    struct bytes config_json; /* further members of DebugConfig, or empty */
    int http_port, https_port, dns_port, serf_lan_port, serf_wan_port,
        server_port, grpc_port;
    bool is_server, is_dev, ui, scripts_allowed;
    struct packed node_meta; /* key -> value */
    struct packed tagged;    /* name -> address */
    bool pretty;             /* -dev: always indent */
    bool prometheus;         /* retention time is positive */
    enum guard_mode guard;   /* of services that ask for none */
    uint64_t guard_window_ms;
    bool allow_unprintable; /* disable_http_unprintable_char_filter */
    uint64_t block_default_ms, block_max_ms; /* 0: the constants above */
    const struct bytes *block_endpoints;     /* 403; path prefixes */
    size_t block_endpoint_count;
    const struct net *write_from; /* 403 for writes from elsewhere; none: any */
    size_t write_from_count;
    struct bytes response_head; /* lines of every answer, with CRLF */
    uint64_t generation;        /* of this struct: heads are cached */
};

/* A server, as the others know it. */
struct api_server {
    struct bytes id, node; /* node empty: not known yet */
    struct bytes version;  /* of the API; empty: not heard of */
    struct bytes muster_version;
    struct bytes address;
    uint16_t peer_port, server_port;
    bool self, leader, voter, alive;
    uint64_t contact_ms;              /* since it was heard */
    uint64_t store_index, store_term; /* of its member of the store */
    uint64_t disk_free; /* bytes, under that; 0: none, or not known */
    bool disk_full;     /* for want of which its etcd ended */
};

/* The servers that share a store which they keep themselves. Immutable. */
struct api_cluster {
    bool managed;      /* there is such a store */
    bool fresh;        /* not yet, and no set of members is agreed on */
    const char *phase; /* for people and hello; NULL: alone */
    struct bytes id, token;
    uint64_t expect;
    uint64_t store_index, store_term; /* of the own member */
    uint64_t store_size, store_used;  /* bytes of its file, and of it in use */
    uint64_t disk_free;
    bool disk_full;
    /* fresh: who else waits. Else the members, this one among them. */
    const struct api_server *servers;
    size_t server_count;
};

enum {
    API_PEER_PROTOCOL = 1, /* of /v1/peer/; grows when an old one breaks */
    API_EPOCH_SHIFT = 40,  /* of an index (store/store.h) */
};

/* Under which name a server's service "consul" has the port of the listener for
 * peers in its metadata. */
#define API_PEER_PORT "muster_peer_port"
uint64_t api_peer_port(struct packed meta); /* 0: none */

struct api_peer {
    struct bytes node, id, address;
    uint64_t port, server_port; /* for peers, 0: it has no such listener; the
                                   store's, 0: none */
};

enum { API_CPUS_SHOWN = 1024 };

/* The machine, for /v1/agent/host; unknown: 0 or empty. */
struct api_host {
    uint64_t memory_total, memory_available, memory_free; /* bytes */
    uint64_t disk_total, disk_free;
    uint64_t cpus, uptime_s, processes;
    char cpu_model[64], hostname[65], kernel[65], machine[65], disk_path[256];
};

/* A moment that a request names. */
enum api_at_kind {
    API_AT_NONE,
    API_AT_REVISION, /* value: an index, as users see it */
    API_AT_TIME,     /* value: Unix time in ms */
    API_AT_BEFORE,   /* value: so many ms ago */
};

struct api_at {
    enum api_at_kind kind;
    uint64_t value;
};

/* "4711", "2026-11-26T03:12:00Z", "10m" or "-10m". ERR_BAD: none of these. */
MUST_USE enum err api_at_parse(struct bytes text, struct api_at *ret);

/* What an answer about the past is made of. */
struct map;

/* Who wrote a key at its create revision. */
struct api_author {
    struct bytes by; /* meta of the change; empty: unknown */
    uint64_t ms;
};

struct api_past {
    const struct story *story; /* NULL: not asked for */
    uint64_t from, from_ms;    /* it is complete from that revision on */
    uint64_t until, until_ms;
    const struct map *authors; /* key -> api_author; NULL: not asked for */
};

/* Which part of a story a call wants. */
enum api_story {
    API_STORY_NONE,
    API_STORY_CHANGES,
    API_STORY_DEPARTED,
    API_STORY_AUTHORS, /* of the ghosts */
};

enum { API_AUTHORS_MAX = 512 /* looked up for one answer */ };

struct api_env;

/* The keys of all ghosts in the snapshot, with their create revisions; a key
 * lives during the call. */
void api_ghosts_each(const struct api_env *env,
                     void (*each)(void *ctx, struct bytes key,
                                  uint64_t create_rev),
                     void *ctx);

enum {
    API_STORY_LIMIT_DEFAULT = 1000, /* changes, the newest */
    API_STORY_LIMIT_MAX = 10000,
    API_DEPARTED_MAX = 1000,
};

/* What changes from turn to turn. */
struct api_env {
    const struct api_self *self;
    const struct snapshot *cat;
    const struct local_snapshot *local;
    const struct heard_snapshot *heard;
    const struct beats_table *beats;
    const struct api_cluster *cluster; /* NULL: alone */
    bool leaderless;                   /* ready, but nobody leads just now */
    bool ready;        /* loaded, own node registered: there is a leader */
    uint64_t store_id; /* of the etcd that servers share; 0: none is shared */
    uint64_t wall_ms;  /* Unix time, for people */
    uint64_t uptime_ms;
    uint64_t alloc_bytes, sys_bytes; /* of the process, for metrics */
    uint64_t threads;
    const struct api_wan *wan;      /* NULL: no other datacenters */
    const struct coordinate *place; /* of this node, as of now; NULL: unknown */
    uint64_t random[2];             /* anew for each call of a function below */
    const struct api_host *host;    /* if the call wants it */
    const struct api_past *past;    /* if the call wants it */
};

/* The servers that stand in the catalog, this one among them; not one that is
 * failed and was taken out of the set of those that keep the store. */
void api_each_server(const struct api_env *env,
                     void (*each)(void *ctx, const struct api_peer *p),
                     void *ctx);

/* How many of them there are. Above API_SERVERS_MAX text, of API_CROWD_TEXT bytes,
 * says what that means and what to do; else it is empty. */
size_t api_count_servers(const struct api_env *env, char *text);

enum { API_CROWD_TEXT = 400 };

enum api_next {
    API_ANSWER,
    API_READ,
    API_WRITE,
    API_AGENT,
    API_MONITOR,
    API_MIRRORS,  /* what is kept of other datacenters: the server's */
    API_WATCHERS, /* who watches a service: the server's table */
    API_LAG,      /* how fast they apply what changes: the same */
    API_FORWARD,  /* another datacenter answers (call.forward) */
    API_WAN,      /* answered; wan_word is for who keeps the list of servers */
    API_ACK,      /* what they have applied (acks): into it */
    API_SNAPSHOT, /* all of the catalog as a file, or back (GET, PUT) */
    API_PEER,     /* of agents and servers among themselves: by its path */
    API_STREAM,   /* changes of the answer are to be streamed (entries.h) */
};

/* How long and on what a read may wait. */
enum api_blocking { API_BLOCK_NONE, API_BLOCK_INDEX, API_BLOCK_HASH };

/* A subscriber says that it has applied everything up to an index. */
struct api_ack {
    struct bytes subscriber;
    uint64_t index;
    bool gone; /* it will not come back, and holds nothing any more */
};

/* On what is passed on to another datacenter (only peers can send it). */
#define API_FORWARDED_HEADER "X-Muster-Forwarded"

/* How long a read may be held while nobody leads, in ms: what is left of an
 * agent's time (only peers can send it). */
#define API_HOLD_HEADER "X-Muster-Hold"
enum { API_HOLD_MAX_MS = 600 * 1000 };

enum { API_FAILOVERS_MAX = 16 /* datacenters of one query */ };
enum { API_ACKS_MAX = 1024 /* in one request */ };

struct api_call;
struct api_route; /* one row of the table in routes.c */

/* Who is in the answers of ?passing of the name last asked about. */
struct answered {
    struct membership m;
    const struct cat_name *name;
    uint64_t revision;
};

struct api_call {
    const struct api_route *route;
    struct http_request *request;
    struct arena *arena; /* the request's */
    struct bytes arg;    /* decoded rest of the path */

    /* Common parameters, checked. */
    enum api_blocking blocking;
    uint64_t index;      /* asked; 0: answer at once */
    uint64_t asked_hash; /* BLOCK_HASH */
    bool has_hash;
    uint64_t wait_ms; /* after defaults and limits, without jitter */
    bool stale, consistent, cached, pretty;
    uint64_t max_stale_ms;           /* UINT64_MAX: not limited */
    struct bytes tags[API_TAGS_MAX]; /* tag= in order */
    size_t tag_count;
    struct bytes meta[API_TAGS_MAX]; /* node-meta= "k:v" in order */
    size_t meta_count;
    bool passing;
    struct answered answered;
    uint64_t near_known;      /* index of WATCH_COORDINATES at that */
    struct bytes near;        /* ?near, if it is known where that node is */
    struct bytes filter_text; /* filter= as given; empty: none */
    struct filter *filter;

    bool told_whole; /* entries_touched: all instances were told */
    /* STREAM: the parameters that are subscriptions; NULL: not looked for. */
    const struct http_param **subs;
    size_t sub_count;
    struct bytes prefix; /* of names, /v1/muster/stream; p NULL: none */

    /* STREAM: what the client has; labels as given, or empty. */
    uint64_t resume_index; /* 0: nothing */
    size_t resume_count;   /* of how many subscriptions, the first ones */
    bool rows;             /* entries as stored rows (stored.c) */
    bool drain_deregister, drain_trust; /* AGENT: of a drain */
    const struct api_ack *acks;         /* ACK */
    size_t ack_count;
    struct bytes subscriber, zone;
    bool calls;          /* STREAM: it is a caller's, who had this rank */
    uint32_t calls_rank; /* (UINT32_MAX: none) */

    /* READ: not of now, but of a moment (then not in the canonical target), or
     * with what happened: api_wants_past. */
    struct api_at at;    /* the state as of */
    struct api_at since; /* STORY_CHANGES: from here on; NONE: all there is */
    enum api_story story;
    uint32_t story_limit;
    struct bytes story_node, story_id; /* only of these; empty: all */

    struct watch_key
        watch; /* READ: kind WATCH_NONE: neither cached nor waited for */

    /* Events up to the one of this index (heard_event_index) are left out of
     * event/list; 0, or no such event: none. */
    uint64_t events_after;

    enum log_level monitor_level; /* MONITOR */
    bool monitor_json;
    bool metrics; /* MONITOR: not the log, but the metrics */

    bool fresh; /* READ: made anew each time, and never waited for; what it
                   shows is of the catalog all the same */
    struct bytes forward; /* FORWARD: the datacenter */
    bool forward_stream;  /* of it a stream is wanted */
    struct bytes mirror;  /* READ, STREAM: of this datacenter's mirror */
    const struct api_wan_word *wan_word;

    /* READ fresh, of a prepared query that finds nobody here: who may have
     * somebody, in turn, and what to ask them (PUT /v1/peer/query). Then again
     * with failover_over, if nobody has. */
    struct bytes failover[API_FAILOVERS_MAX];
    size_t failover_count;
    struct buf failover_body, failover_params;
    size_t failovers; /* asked so far */
    bool failover_over;
    struct bytes failover_service;
    bool failover_mirror; /* api_query_mirrored; then: so old */
    uint64_t failover_age_ms;

    struct bytes client; /* READ fresh: the client's address, or empty */
    bool tell_cache;     /* READ: ?cached where Consul's agent has a cache */
    bool want_host;      /* READ: env->host is to be filled */
    uint32_t hold_ms;    /* API_HOLD_HEADER; 0: none */
    bool want_lags;      /* READ: the server's table adds to the answer */
    bool unrouted;       /* answered before a route was found */

    /* The answer. */
    int status;
    const char *content_type; /* NULL: no body, no Content-Type line */
    struct buf body;
    struct buf extra_head; /* further head lines, whole, with CRLF */
    uint32_t held;         /* READ: X-Muster-Guard; 0: no such line */
    struct bytes given; /* READ, fresh: the service whose instances it gives */
    struct buf near_rows;    /* of near.c */
    bool consul_headers;     /* X-Consul-Index and its company */
    const char *consistency; /* X-Consul-Effective-Consistency; NULL: none */
    uint64_t content_hash;   /* BLOCK_HASH: of the object */
    /* WRITE: whose registration from outside this confirms, if it is answered
     * 200; empty: nobody's. */
    struct bytes beat_node, beat_id;
    bool keep_stored_answer; /* WRITE: body and status above are the answer
                                once the plan is committed */

    /* With want_digest set, api_read computes what a long poll compares: a hash
     * of the body, on health/service without check Output and its ModifyIndex.
     */
    bool want_digest;
    uint64_t digest;

    /* api_read gives up (too_long, the body is nothing) once its work would
     * cost more than this, in units of about 100 ns; 0: no limit. The caller
     * then has another thread make the answer. */
    uint32_t cost_limit, cost;
    bool too_long;
};

static inline bool api_wants_past(const struct api_call *c)
{
    return c->at.kind != API_AT_NONE || c->story != API_STORY_NONE;
}

/* Clears the call. body and extra_head own memory: api_call_fini, or take
 * body.p over. self, cat and local must stay valid while the call is used. */
void api_call_init(struct api_call *c);
void api_call_fini(struct api_call *c);

enum api_next api_begin(struct api_call *c, const struct api_env *env,
                        struct http_request *r);

/* Its answer is about this agent itself. */
bool api_is_local(const struct api_call *c);
/* A route of muster's own: it shows more than what mirrors have. */
bool api_is_own(const struct api_call *c);

/* The prepared query of the call, which stands in own's catalog, on what is
 * mirrored of another datacenter: that is `there`'s catalog and datacenter. */
void api_query_mirrored(struct api_call *c, const struct api_env *own,
                        const struct api_env *there);

/* What it shows is in a mirror of another datacenter's catalog. */
bool api_is_mirrored(const struct api_call *c);

/* Appends a target ("/v1/health/service/web?passing&tag=a") that stands for
 * this read with all that its body depends on: equal bytes, equal answers. No
 * index, wait or consistency in it. Of a mirror: with "@" and the datacenter
 * before it. */
void api_canonical(const struct api_call *c, struct buf *out);

/* A call from such a target (it must outlive the call); then api_read. */
MUST_USE enum err api_from_canonical(struct api_call *c,
                                     const struct api_env *env,
                                     struct bytes target, struct arena *a);

/* Fills status, content_type, body (may be called again with a newer env after
 * buf_reset). */
void api_read(struct api_call *c, const struct api_env *env);

/* ANSWER: an error, or nothing to commit (then the answer depends on the state,
 * and the caller makes sure that the snapshot was new enough). WRITE: commit
 * the plan, then answer with what the call holds; on conflict call again with a
 * newer env. */
enum api_next api_write(struct api_call *c, const struct api_env *env,
                        struct plan *p);

/* AGENT: *ret is an op to submit. ANSWER: an error. */
enum api_next api_agent(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret);

/* The answer of a finished op. */
void api_agent_answer(struct api_call *c, const struct agent_op *op);

/* Who writes, for history: method, path, parameters without secrets, address;
 * at most API_WHO_MAX bytes, in the arena. */
struct bytes api_who(const struct http_request *r, struct arena *a);

struct json_out;

/* "Cluster": whose catalog this is. Servers that share one say the same; a server
 * with a store of its own gives its node's ID. */
void api_cluster_member(const struct api_env *env, struct json_out *j);

/* A plain error answer. */
void api_error(struct api_call *c, int status, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* The response head for what the call holds, Content-Length n (of the body that
 * is really sent), gzip if it is compressed. index: X-Consul-Index. */
void api_head(const struct api_call *c, const struct api_self *self,
              struct buf *out, uint64_t index, bool known_leader,
              uint64_t last_contact_ms, bool gzip, size_t n, bool keep_alive,
              bool http_1_0);

/* The head of an answer without an end: in chunks, or to HTTP/1.0 until the
 * connection ends; never compressed. Plain text, unless the call has a content
 * type. */
void api_stream_head(const struct api_call *c, const struct api_self *self,
                     struct buf *out, bool http_1_0);

/* --- Definitions in configuration files ---------------------------------- */

/* A service or check stanza (JSON text with Consul's snake_case or API names)
 * as an op (REGISTER_SERVICE / REGISTER_CHECK with from_config). t: what is
 * wrong. */
MUST_USE enum err api_config_service(struct bytes json, struct agent_op **ret,
                                     struct errtext *t);
MUST_USE enum err api_config_check(struct bytes json, struct agent_op **ret,
                                   struct errtext *t);

#endif
