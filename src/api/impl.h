/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the files of api share: the route table's row, encoders of the
 * JSON shapes, tables of the bodies. */
#ifndef API_IMPL_H
#define API_IMPL_H

#include "api/api.h"
#include "api/coordinate.h"
#include "http/json_in.h"
#include "http/json_out.h"

struct encoder;
struct entry;

enum { METHOD_GET = 1, METHOD_PUT = 2, METHOD_POST = 4, METHOD_DELETE = 8 };

/* What of an answer one row is made of; entries.h asks for single ones. */
struct row_of {
    const struct cat_node *node;
    const struct cat_instance *instance;
    const struct cat_record *check;
    const struct cat_name *name;
};

/* Which entries an answer is made of. */
enum entry_set {
    SET_NONE,           /* it is no list, or nobody waits for it */
    SET_NODES,          /* all nodes */
    SET_NAMES,          /* all services' names */
    SET_OF_NAME,        /* instances of the service that the path names */
    SET_OF_NODE,        /* the node that the path names, and its instances */
    SET_INSTANCES,      /* all instances; few of them are rows */
    SET_CHECKS_OF_NODE, /* of the node that the path names */
    SET_CHECKS_OF_NAME, /* of the service that the path names */
    SET_CHECKS,         /* all checks */
};

struct api_route {
    const char *path;   /* a prefix if it ends in '/', else exact */
    unsigned methods;   /* METHOD_* */
    enum api_next kind; /* READ, WRITE, AGENT */
    enum api_blocking blocking;
    enum watch_kind watch;
    const char
        *missing; /* 400 with this text when the rest of the path is empty */
    bool consul_headers;
    bool consistency; /* X-Consul-Effective-Consistency */
    bool local;       /* about the agent: ?dc is ignored */

    void (*read)(struct api_call *c, const struct api_env *env);
    enum api_next (*write)(struct api_call *c, const struct api_env *env,
                           struct plan *p);
    /* Of a WRITE: with ?wan, which is about servers and not the catalog. */
    enum api_next (*agent)(struct api_call *c, const struct api_env *env,
                           struct agent_op **ret);
    const char *param; /* one more that the answer depends on; may be NULL */
    bool near;         /* a list of rows that have nodes: takes ?near */
    bool cached;       /* ?cached is told in the answer's head */
    bool passing;      /* takes ?passing, as /health/service does */
    /* Sets watch.name, or refuses: ANSWER. May be NULL. */
    enum api_next (*prepare)(struct api_call *c, const struct api_env *env);

    bool peer; /* exists on the listener for peers only */
    bool form; /* the parameters of /v1/muster/stream in the body */
    bool at;   /* takes ?at */
    enum api_story story;

    bool page; /* a list by pages: takes page_param_names */

    unsigned writes; /* of methods: these are WRITE, whatever kind is */
    bool query;      /* takes query_param_names */

    /* What ?filter is about; NONE: it is ignored, as in Consul. */
    enum filter_rows rows;

    /* As a stream of entries (entries.h): which there are, and how one is
     * written, if it is in the answer. */
    enum entry_set set;
    bool (*row)(struct api_call *c, struct encoder *e, const struct row_of *of);
    bool volatile_text; /* check Output does not count, as in read */
};

/* What visiting one thing costs api_read, in units of about 100 ns. */
enum {
    COST_SKIP = 2, /* looked at, as for its tags or for ?node-meta */
    COST_CHECK = 8,
    COST_NODE = 8,
    COST_SERVICE = 12,
};

/* False: the answer is too long to be made here (see cost_limit). */
static inline bool api_spend(struct api_call *c, uint32_t cost)
{
    c->cost += cost;
    c->too_long = c->cost_limit && c->cost > c->cost_limit;
    return !c->too_long;
}

/* A row to fill and to ask about. */
static inline struct filter_row filter_row(const struct api_env *env)
{
    return (struct filter_row){.datacenter = env->self->datacenter};
}

/* Does the row pass ?filter? */
static inline bool row_is_wanted(struct api_call *c,
                                 const struct filter_row *row)
{
    bool wanted = filter_match(c->filter, row);
    c->cost += filter_take_cost(c->filter);
    return wanted;
}

/* The row for a decoded path; *ret_rest: what follows a prefix. NULL: none. */
const struct api_route *api_route_find(struct bytes path,
                                       struct bytes *ret_rest);

/* who.c: the address in a peer's "address:port". */
struct bytes api_host_of(struct bytes peer);

/* coordinates.c: where a node is; false: nobody knows. */
bool coordinate_of(const struct api_env *env, struct bytes node,
                   struct coordinate *ret);

/* near.c. Before each row of a list; after the last. */
void near_param(struct api_call *c, const struct api_env *env);
void near_row(struct api_call *c, const struct api_env *env, struct bytes node);
void near_sort(struct api_call *c);

/* at.c: ?at, ?since and what else is asked of the past. ANSWER: refused. */
enum api_next past_params(struct api_call *c);
/* What of it the answer depends on, into a canonical target. */
extern const char *const past_param_names[];
enum { PAST_PARAMS = 3 };

/* read_past.c: the members of an explanation about who is not there any more;
 * nothing if the call does not want them. */
void past_put_departed(struct encoder *e, struct api_call *c);

/* params.c: is it another datacenter that the request may be passed on to? */
bool datacenter_is_known(const struct api_call *c, const struct api_env *env,
                         struct bytes dc);

/* The same: common parameters into the call. ANSWER: refused; FORWARD. */
enum api_next api_params(struct api_call *c, const struct api_env *env);

/* --- Encoding (encode.c) ------------------------------------------------- */

/* Where a health answer's volatile parts are: left out of the digest. */
struct encoder {
    struct json_out j;
    const struct api_env *env;
    bool digest; /* collect it */
    bool skip_volatile;
    uint64_t hash;
    size_t hashed; /* bytes of the body hashed so far */
};

struct encoder encoder(struct api_call *c, const struct api_env *env,
                       bool skip_volatile);

/* Closes the digest into the call. */
void encoder_end(struct encoder *e, struct api_call *c);

void encode_node(struct encoder *e, const struct node_view *n);
void encode_node_service(struct encoder *e, const struct service_view *v);
void encode_service_node(struct encoder *e, const struct node_view *n,
                         const struct service_view *v);
void encode_check(struct encoder *e, struct bytes node_name,
                  const struct check_view *v, struct bytes service_name,
                  const struct packed *service_tags);
void encode_agent_service(struct json_out *j, const struct local_service *s,
                          const struct api_env *env, bool with_hash);
void encode_agent_check(struct json_out *j, const struct local_check *k,
                        const struct api_env *env);
/* The agent's check as it is shown. */
void agent_check(const struct local_check *k, const struct api_env *env,
                 struct filter_check *ret);
/* "key": RFC 3339, or null for 0. */
void encode_moment(struct json_out *j, const char *key, uint64_t ms);
/* evidence, time-out, silence; "" unless it is critical. */
const char *cause_text(const struct check_view *v);
void encode_strings(struct json_out *j, struct packed list);
void encode_map(struct json_out *j, struct packed map);
void encode_map_or_null(struct json_out *j, struct packed map, bool set);
void encode_tagged(struct json_out *j, struct packed tagged);

/* What is written in between does not count: no long poll is woken for it. */
void encode_aside_begin(struct encoder *e);
void encode_aside_end(struct encoder *e);

/* What a check says about its service: name and tags, derived now. */
void check_service(const struct cat_node *n, const struct check_view *v,
                   struct bytes *ret_name, struct packed *ret_tags);

/* One row of an answer, if it is in it. */
bool row_of_health(struct api_call *c, struct encoder *e,
                   const struct row_of *of);
bool row_of_check(struct api_call *c, struct encoder *e,
                  const struct row_of *of);
bool row_of_node(struct api_call *c, struct encoder *e,
                 const struct row_of *of);
bool row_of_name(struct api_call *c, struct encoder *e,
                 const struct row_of *of);
bool row_of_service(struct api_call *c, struct encoder *e,
                    const struct row_of *of);
bool row_on_node(struct api_call *c, struct encoder *e,
                 const struct row_of *of);
bool row_of_connect(struct api_call *c, struct encoder *e,
                    const struct row_of *of);
bool row_of_health_connect(struct api_call *c, struct encoder *e,
                           const struct row_of *of);
/* It is of the prefix that the stream is for. */
bool stream_has(const struct api_call *c, const struct cat_instance *i);
bool row_of_stream(struct api_call *c, struct encoder *e,
                   const struct row_of *of);

/* stored.c: the stored rows that an entry is made of, its own among them. False:
 * no memory. */
typedef void stored_row_fn(void *ctx, struct bytes key,
                           const struct cat_stored *s);
bool stored_rows(const struct api_call *c, const struct row_of *of,
                 stored_row_fn *each, void *ctx);

/* What its service's guard record says of the instance (guard_view.out; 0:
 * nothing), and when that was written. */
uint64_t stored_out(const struct snapshot *s, const struct cat_instance *i,
                    uint64_t *ret_rev);

uint32_t stored_let_in(const struct row_of *of); /* of an instance */

/* An entry of any set as it is stored; members that tell which subscription it is
 * of. */
void row_as_stored(struct encoder *e, const struct api_call *c,
                   const struct row_of *of);
void stored_subject(const struct api_call *c, struct json_out *j);

/* entries.c: what the entry is of. False: it is not there. */
bool entry_find(const struct api_call *c, const struct api_env *env,
                const struct entry *e, struct row_of *of);

/* Of /health/service, which others show too. */
void put_health_entry(struct encoder *e, const struct filter_row *row);

/* Is the instance in the answer, by its health? Sets row->is and held. */
bool answered_row(struct api_call *c, const struct api_env *env,
                  const struct cat_name *name, const struct cat_node *n,
                  const struct cat_instance *i, struct filter_row *row);

/* The row's checks; all of a held one as passing. */
void put_checks(struct encoder *e, const struct filter_row *row);

/* The own node as a member (members.c). f may be NULL. */
void put_self(struct json_out *j, const struct api_env *env, bool wan,
              struct filter *f);

/* The service that a connect-proxy is for; empty: it is none. Lives in a. */
struct bytes proxy_target(const struct service_view *v, struct arena *a);

/* "127.0.0.1:8300", brackets around IPv6. */
void api_put_address(struct buf *out, struct bytes host, int port);

/* Every k:v of ?node-meta holds for the node. */
bool node_meta_matches(const struct api_call *c, const struct node_view *n);
bool tags_match(const struct api_call *c, const struct service_view *v);

/* --- Bodies (bodies.c) --------------------------------------------------- */

struct weights_in {
    int64_t passing, warning;
};

struct tagged_in {
    struct bytes address;
    int64_t port;
};

/* Of the tenants that Consul Enterprise has: only "default" is here. */
struct tenancy_in {
    struct bytes ns, partition;
};

struct check_in {
    struct tenancy_in tenancy;
    struct bytes node, id, check_id, name, notes, output, status, service_id;
    struct bytes type;
    struct check_in *definition;
    struct bytes http, method, body, tls_server_name;
    struct json_headers header;
    bool tls_skip_verify, disable_redirects;
    struct bytes tcp, udp, grpc, h2ping, os_service;
    bool tcp_use_tls, grpc_use_tls, h2ping_use_tls, h2ping_use_tls_set;
    struct json_strings args;
    struct bytes docker_container_id, shell, alias_node, alias_service;
    struct bytes damping;
    int64_t interval_ns, timeout_ns, ttl_ns, deregister_after_ns;
    int64_t output_max, success_before_passing, failures_before_critical;
    int64_t failures_before_warning;
    bool failures_before_warning_set;
};

struct service_in {
    struct tenancy_in tenancy;
    struct bytes kind, id, name, address, token;
    struct bytes guard; /* becomes Meta */
    struct json_strings tags;
    struct json_named tagged; /* of tagged_in */
    struct json_map meta;
    int64_t port;
    struct weights_in *weights;
    bool enable_tag_override;
    struct bytes proxy, connect, socket_path, locality, ports, ai;
    struct bytes sidecar;             /* mesh_take: the text of a sidecar */
    struct bytes proxy_local_address; /* mesh_sidecar: of a sidecar */
    struct check_in *check;
    struct json_list checks; /* of check_in */
};

struct register_in {
    struct tenancy_in tenancy;
    struct bytes datacenter, id, node, address;
    struct json_map tagged, node_meta;
    struct service_in *service;
    struct check_in *check;
    struct json_list checks;
    bool skip_node_update;
};

struct deregister_in {
    struct tenancy_in tenancy;
    struct bytes datacenter, node, service_id, check_id;
};

struct update_in {
    struct bytes status, output;
};

extern const struct json_table agent_service_table; /* -> service_in */
extern const struct json_table check_table;         /* -> check_in */
extern const struct json_table register_table;      /* -> register_in */
extern const struct json_table deregister_table;    /* -> deregister_in */
extern const struct json_table update_table;        /* -> update_in */

/* mesh.c: Proxy, Connect, Ports, Locality, AI of a decoded service into the
 * form in which they are given back. t: the member, and what is wrong. */
MUST_USE enum err mesh_take(struct arena *a, struct service_in *in,
                            struct errtext *t);

/* The same for the Proxy of a sidecar, with what it has of its service. */
MUST_USE enum err mesh_sidecar(struct arena *a, struct service_in *in,
                               const struct service_in *of, struct errtext *t);

/* agent_ops.c: the op of a decoded service; sidecar.c: op->then from
 * in->sidecar. */
MUST_USE enum err agent_service_fill(struct agent_op *op,
                                     const struct service_in *in,
                                     int *ret_status, struct errtext *t);
MUST_USE enum err agent_add_sidecar(struct agent_op *op,
                                    const struct service_in *in,
                                    struct errtext *t);

/* Bodies to views; memory from the arena. Lack of memory: false. */
bool service_from(struct arena *a, const struct service_in *in,
                  struct service_view *v);
bool check_from(struct arena *a, const struct check_in *in,
                struct check_def *d);
bool pack_strings(struct arena *a, const struct json_strings *in,
                  struct packed *ret);
bool pack_map(struct arena *a, const struct json_map *in, struct packed *ret);

MUST_USE enum err guard_into_meta(struct arena *a, struct service_in *in,
                                  struct errtext *t);

/* Consul's limits of metadata; t: its text. */
MUST_USE enum err meta_validate(const struct json_map *m, struct errtext *t);
/* A write must not land where it was not meant. */
MUST_USE enum err tenancy_validate(const struct tenancy_in *in,
                                   struct errtext *t);
MUST_USE enum err weights_validate(const struct weights_in *w,
                                   struct errtext *t);
/* lan_ipv4, wan_ipv4, lan_ipv6, wan_ipv6 must be what they say. */
MUST_USE enum err tagged_validate(const struct json_named *tagged,
                                  struct errtext *t);
bool address_is_any(struct bytes address); /* 0.0.0.0 :: [::] */

/* --- Prepared queries (read_query.c, write_query.c) ----------------------- */

enum { QUERY_PARAMS = 2 };
extern const char *const query_param_names[QUERY_PARAMS];

enum api_next prepare_peer_query(struct api_call *c, const struct api_env *env);
void read_peer_query(struct api_call *c, const struct api_env *env);
enum api_next prepare_peer_digest(struct api_call *c,
                                  const struct api_env *env);
void read_peer_digest(struct api_call *c, const struct api_env *env);
enum api_next prepare_peer_wan(struct api_call *c, const struct api_env *env);
/* The word of one who is not known yet: wan_word is unset, the body is passed on. */
enum api_next peer_wan_hear(struct api_call *c, const struct api_env *env,
                            struct agent_op **ret);
/* The body is for the core thread to understand: an op with it as output. */
enum api_next peer_pass_on(struct api_call *c, enum agent_op_kind kind,
                           struct agent_op **ret);
enum api_next prepare_query(struct api_call *c, const struct api_env *env);
void read_queries(struct api_call *c, const struct api_env *env);
void read_query(struct api_call *c, const struct api_env *env);
enum api_next write_query_create(struct api_call *c, const struct api_env *env,
                                 struct plan *p);
enum api_next write_query(struct api_call *c, const struct api_env *env,
                          struct plan *p);

/* --- The web page (page.c), lists by pages (read_pages.c) ---------------- */

enum { PAGE_PARAMS = 6 };
extern const char *const page_param_names[PAGE_PARAMS];

/* A path of the page's own files, and the page is on. */
bool page_is_asked(const struct api_self *self, struct bytes path);
enum api_next page_answer(struct api_call *c);
/* At /: a browser asks, and the page is on. */
bool page_is_wanted(const struct api_self *self, const struct http_request *r);

enum api_next prepare_page(struct api_call *c, const struct api_env *env);
void read_page_services(struct api_call *c, const struct api_env *env);
void read_page_nodes(struct api_call *c, const struct api_env *env);

/* --- Handlers ------------------------------------------------------------ */

void read_catalog_nodes(struct api_call *c, const struct api_env *env);
void read_catalog_services(struct api_call *c, const struct api_env *env);
void read_catalog_service(struct api_call *c, const struct api_env *env);
void read_catalog_node(struct api_call *c, const struct api_env *env);
void read_catalog_node_services(struct api_call *c, const struct api_env *env);
void read_catalog_datacenters(struct api_call *c, const struct api_env *env);
void read_health_service(struct api_call *c, const struct api_env *env);
void read_history_service(struct api_call *c, const struct api_env *env);
void read_explain_service(struct api_call *c, const struct api_env *env);
void read_guard(struct api_call *c, const struct api_env *env);
void read_ghosts(struct api_call *c, const struct api_env *env);
void read_health_node(struct api_call *c, const struct api_env *env);
void read_health_checks(struct api_call *c, const struct api_env *env);
void read_health_state(struct api_call *c, const struct api_env *env);
void read_status_leader(struct api_call *c, const struct api_env *env);
void read_status_peers(struct api_call *c, const struct api_env *env);
void read_agent_self(struct api_call *c, const struct api_env *env);
void read_agent_members(struct api_call *c, const struct api_env *env);
void read_agent_metrics(struct api_call *c, const struct api_env *env);
void read_agent_services(struct api_call *c, const struct api_env *env);
void read_agent_service(struct api_call *c, const struct api_env *env);
void read_agent_checks(struct api_call *c, const struct api_env *env);
void read_agent_health_id(struct api_call *c, const struct api_env *env);
void read_agent_health_name(struct api_call *c, const struct api_env *env);
/* The members of the store, or this server alone (in *room). */
const struct api_server *api_servers(const struct api_env *env,
                                     struct api_server *room, size_t *ret_n);
enum api_next peer_lock(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret);
enum api_next peer_defragment(struct api_call *c, const struct api_env *env,
                              struct agent_op **ret);
enum api_next peer_join(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret);
enum api_next raft_remove(struct api_call *c, const struct api_env *env,
                          struct agent_op **ret);
void read_peer_clock(struct api_call *c, const struct api_env *env);
void read_peer_hello(struct api_call *c, const struct api_env *env);
void read_agent_host(struct api_call *c, const struct api_env *env);
void read_agent_version(struct api_call *c, const struct api_env *env);
void read_muster_id(struct api_call *c, const struct api_env *env);
void read_catalog_connect(struct api_call *c, const struct api_env *env);
void read_health_connect(struct api_call *c, const struct api_env *env);
void read_none(struct api_call *c, const struct api_env *env); /* [] */
void read_null(struct api_call *c, const struct api_env *env); /* null */
void read_connect_off(struct api_call *c, const struct api_env *env);
void read_intentions(struct api_call *c, const struct api_env *env);
void read_intention_match(struct api_call *c, const struct api_env *env);
void read_intention_check(struct api_call *c, const struct api_env *env);
void read_config_entry(struct api_call *c, const struct api_env *env);
void read_acl_off(struct api_call *c, const struct api_env *env);
void read_unsupported(struct api_call *c, const struct api_env *env);
void read_raft_configuration(struct api_call *c, const struct api_env *env);
void read_autopilot_configuration(struct api_call *c,
                                  const struct api_env *env);
void read_autopilot_health(struct api_call *c, const struct api_env *env);
void read_autopilot_state(struct api_call *c, const struct api_env *env);
void read_keyring(struct api_call *c, const struct api_env *env);
void read_ui_nodes(struct api_call *c, const struct api_env *env);
void read_ui_node(struct api_call *c, const struct api_env *env);
void read_ui_services(struct api_call *c, const struct api_env *env);
void read_event_list(struct api_call *c, const struct api_env *env);
void read_coordinate_nodes(struct api_call *c, const struct api_env *env);
void read_coordinate_node(struct api_call *c, const struct api_env *env);
void read_coordinate_datacenters(struct api_call *c, const struct api_env *env);
enum api_next prepare_monitor(struct api_call *c, const struct api_env *env);
enum api_next prepare_metrics_stream(struct api_call *c,
                                     const struct api_env *env);
enum api_next prepare_events(struct api_call *c, const struct api_env *env);
enum api_next prepare_host(struct api_call *c, const struct api_env *env);
enum api_next prepare_node(struct api_call *c, const struct api_env *env);
enum api_next prepare_services(struct api_call *c, const struct api_env *env);
enum api_next prepare_stream(struct api_call *c, const struct api_env *env);

/* The node of /catalog/node, by name or by an ID's first digits; or NULL. */
const struct cat_node *find_node(const struct api_call *c,
                                 const struct api_env *env);
/* The call is wanted as a stream: checks what goes with that. */
enum api_next stream_begin(struct api_call *c);
bool stream_is_wanted(const struct api_call *c);
void read_stream_only(struct api_call *c, const struct api_env *env);

enum api_next write_catalog_register(struct api_call *c,
                                     const struct api_env *env, struct plan *p);
enum api_next write_guard_release(struct api_call *c, const struct api_env *env,
                                  struct plan *p);
enum api_next write_catalog_deregister(struct api_call *c,
                                       const struct api_env *env,
                                       struct plan *p);

enum api_next agent_service_register(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret);
enum api_next agent_service_deregister(struct api_call *c,
                                       const struct api_env *env,
                                       struct agent_op **ret);
enum api_next agent_check_register(struct api_call *c,
                                   const struct api_env *env,
                                   struct agent_op **ret);
enum api_next agent_check_deregister(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret);
enum api_next agent_check_pass(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret);
enum api_next agent_check_warn(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret);
enum api_next agent_check_fail(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret);
enum api_next agent_check_update(struct api_call *c, const struct api_env *env,
                                 struct agent_op **ret);
enum api_next agent_service_maintenance(struct api_call *c,
                                        const struct api_env *env,
                                        struct agent_op **ret);
enum api_next agent_service_drain(struct api_call *c, const struct api_env *env,
                                  struct agent_op **ret);
enum api_next agent_service_undrain(struct api_call *c,
                                    const struct api_env *env,
                                    struct agent_op **ret);
enum api_next prepare_ack(struct api_call *c, const struct api_env *env);
enum api_next agent_node_maintenance(struct api_call *c,
                                     const struct api_env *env,
                                     struct agent_op **ret);

enum api_next agent_event_fire(struct api_call *c, const struct api_env *env,
                               struct agent_op **ret);
void event_answer(struct api_call *c, const struct agent_op *op);
enum api_next agent_coordinate_update(struct api_call *c,
                                      const struct api_env *env,
                                      struct agent_op **ret);
enum api_next agent_reload(struct api_call *c, const struct api_env *env,
                           struct agent_op **ret);
enum api_next agent_join(struct api_call *c, const struct api_env *env,
                         struct agent_op **ret);
enum api_next write_force_leave(struct api_call *c, const struct api_env *env,
                                struct plan *p);
enum api_next agent_force_leave_wan(struct api_call *c,
                                    const struct api_env *env,
                                    struct agent_op **ret);
enum api_next agent_leave(struct api_call *c, const struct api_env *env,
                          struct agent_op **ret);

/* Sets status 200 and JSON. */
void api_json(struct api_call *c);

#endif
