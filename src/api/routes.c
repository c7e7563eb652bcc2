/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Every route in one table, and the way from a request to its row. */
#include "api/entries.h"
#include "api/impl.h"

#define NONE  API_BLOCK_NONE
#define INDEX API_BLOCK_INDEX
#define HASH  API_BLOCK_HASH

/* clang-format off */
static const struct api_route routes[] = {
    /* Agent: reads */
    {"/v1/agent/self",        METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, true, read_agent_self},
    {"/v1/agent/members",     METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, true, read_agent_members, .rows = FILTER_MEMBERS},
    {"/v1/agent/metrics",     METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, true, read_agent_metrics},
    {"/v1/agent/services",    METHOD_GET, API_READ, NONE, WATCH_LOCAL, NULL, false, false, true, read_agent_services, .rows = FILTER_SERVICES},
    {"/v1/agent/checks",      METHOD_GET, API_READ, NONE, WATCH_LOCAL, NULL, false, false, true, read_agent_checks, .rows = FILTER_CHECKS},
    {"/v1/agent/service/",    METHOD_GET, API_READ, HASH, WATCH_LOCAL_SERVICE, NULL, false, false, true, read_agent_service},
    {"/v1/agent/health/service/id/",   METHOD_GET, API_READ, NONE, WATCH_LOCAL, NULL, false, false, true, read_agent_health_id},
    {"/v1/agent/health/service/name/", METHOD_GET, API_READ, NONE, WATCH_LOCAL, NULL, false, false, true, read_agent_health_name},
    /* Agent: writes */
    {"/v1/agent/leave",                METHOD_PUT, API_AGENT, .local = true, .agent = agent_leave},
    {"/v1/agent/service/register",     METHOD_PUT, API_AGENT, .local = true, .agent = agent_service_register},
    {"/v1/agent/service/deregister/",  METHOD_PUT, API_AGENT, .local = true, .agent = agent_service_deregister},
    {"/v1/agent/service/maintenance/", METHOD_PUT, API_AGENT, .local = true, .agent = agent_service_maintenance},
    {"/v1/agent/service/drain/",       METHOD_PUT, API_AGENT, .local = true, .agent = agent_service_drain},
    {"/v1/agent/service/undrain/",     METHOD_PUT, API_AGENT, .local = true, .agent = agent_service_undrain},
    {"/v1/agent/maintenance",          METHOD_PUT, API_AGENT, .local = true, .agent = agent_node_maintenance},
    {"/v1/agent/check/register",       METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_register},
    {"/v1/agent/check/deregister/",    METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_deregister},
    {"/v1/agent/check/pass/",          METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_pass},
    {"/v1/agent/check/warn/",          METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_warn},
    {"/v1/agent/check/fail/",          METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_fail},
    {"/v1/agent/check/update/",        METHOD_PUT, API_AGENT, .local = true, .agent = agent_check_update},
    /* Catalog */
    {"/v1/catalog/register",       METHOD_PUT, API_WRITE, .write = write_catalog_register},
    {"/v1/catalog/deregister",     METHOD_PUT, API_WRITE, .write = write_catalog_deregister},
    {"/v1/catalog/datacenters",    METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, true, read_catalog_datacenters, .cached = true},
    {"/v1/catalog/nodes",          METHOD_GET, API_READ, INDEX, WATCH_NODES, NULL, true, true, false, read_catalog_nodes, .rows = FILTER_NODES, .near = true, .set = SET_NODES, .row = row_of_node, .at = true},
    {"/v1/catalog/services",       METHOD_GET, API_READ, INDEX, WATCH_SERVICES, NULL, true, true, false, read_catalog_services, .prepare = prepare_services, .rows = FILTER_SERVICE_NODES, .cached = true, .set = SET_NAMES, .row = row_of_name, .at = true},
    {"/v1/catalog/service/",       METHOD_GET, API_READ, INDEX, WATCH_SERVICE, "Missing service name", true, true, false, read_catalog_service, .rows = FILTER_SERVICE_NODES, .cached = true, .near = true, .set = SET_OF_NAME, .row = row_of_service, .at = true},
    {"/v1/catalog/node/",          METHOD_GET, API_READ, INDEX, WATCH_NODE, "Missing node name", true, true, false, read_catalog_node, .prepare = prepare_node, .rows = FILTER_SERVICES, .set = SET_OF_NODE, .row = row_on_node, .at = true},
    {"/v1/catalog/node-services/", METHOD_GET, API_READ, INDEX, WATCH_NODE, "Missing node name", true, true, false, read_catalog_node_services, .prepare = prepare_node, .rows = FILTER_SERVICES, .set = SET_OF_NODE, .row = row_on_node, .at = true},
    /* Health */
    {"/v1/health/service/", METHOD_GET, API_READ, INDEX, WATCH_SERVICE_HEALTH, "Missing service name", true, true, false, read_health_service, .rows = FILTER_HEALTH, .cached = true, .near = true, .set = SET_OF_NAME, .row = row_of_health, .volatile_text = true, .at = true},
    {"/v1/health/node/",    METHOD_GET, API_READ, INDEX, WATCH_NODE_CHECKS, "Missing node name", true, true, false, read_health_node, .rows = FILTER_CHECKS, .set = SET_CHECKS_OF_NODE, .row = row_of_check, .at = true},
    {"/v1/health/checks/",  METHOD_GET, API_READ, INDEX, WATCH_SERVICE_CHECKS, "Missing service name", true, true, false, read_health_checks, .rows = FILTER_CHECKS, .near = true, .set = SET_CHECKS_OF_NAME, .row = row_of_check, .at = true},
    {"/v1/health/state/",   METHOD_GET, API_READ, INDEX, WATCH_STATE, "Missing check state", true, true, false, read_health_state, .rows = FILTER_CHECKS, .near = true, .set = SET_CHECKS, .row = row_of_check, .at = true},
    /* Prepared queries */
    {"/v1/query",  METHOD_GET | METHOD_POST, API_READ, INDEX, WATCH_QUERIES, NULL, true, true, false, read_queries, .writes = METHOD_POST, .write = write_query_create},
    {"/v1/query/", METHOD_GET | METHOD_PUT | METHOD_DELETE, API_READ, INDEX, WATCH_QUERIES, NULL, true, true, false, read_query, .writes = METHOD_PUT | METHOD_DELETE, .write = write_query, .prepare = prepare_query, .cached = true, .query = true},
    /* muster's own */
    {"/v1/muster/services", METHOD_GET, API_READ, INDEX, WATCH_CATALOG, NULL, true, false, false, read_page_services, .prepare = prepare_page, .page = true},
    {"/v1/muster/nodes",    METHOD_GET, API_READ, INDEX, WATCH_CATALOG, NULL, true, false, false, read_page_nodes, .prepare = prepare_page, .page = true},
    {"/v1/muster/watchers/", METHOD_GET, API_WATCHERS, .missing = "Missing service name", .local = true},
    {"/v1/muster/lag",       METHOD_GET, API_LAG, .local = true},
    {"/v1/muster/datacenters", METHOD_GET, API_MIRRORS, .local = true},
    {"/v1/muster/ack",       METHOD_PUT, API_ACK, .local = true, .prepare = prepare_ack},
    {"/v1/muster/stream", METHOD_GET, API_STREAM, INDEX, WATCH_CATALOG, NULL, true, true, false, read_stream_only, .prepare = prepare_stream, .passing = true, .rows = FILTER_HEALTH, .set = SET_INSTANCES, .row = row_of_stream, .volatile_text = true},
    {"/v1/muster/explain/health/service/", METHOD_GET, API_READ, INDEX, WATCH_SERVICE_HEALTH, "Missing service name", true, true, false, read_explain_service, .rows = FILTER_HEALTH, .at = true, .story = API_STORY_DEPARTED},
    {"/v1/muster/history/service/", METHOD_GET, API_READ, NONE, WATCH_SERVICE_HEALTH, "Missing service name", true, true, false, read_history_service, .story = API_STORY_CHANGES},
    {"/v1/muster/ghosts",         METHOD_GET, API_READ, .consul_headers = true, .read = read_ghosts, .story = API_STORY_AUTHORS},
    {"/v1/muster/guard",          METHOD_GET, API_READ, .consul_headers = true, .read = read_guard},
    {"/v1/muster/guard/release/", METHOD_PUT, API_WRITE, .missing = "Missing service name", .write = write_guard_release},
    {"/v1/muster/id", METHOD_GET, API_READ, .consul_headers = true, .read = read_muster_id},
    {"/v1/snapshot", METHOD_GET | METHOD_PUT, API_SNAPSHOT, .consul_headers = true},
    /* Among servers and agents */
    {"/v1/peer/beat",  METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/behind", METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/drain/", METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/digest/", METHOD_GET, API_READ, .local = true, .peer = true, .read = read_peer_digest, .prepare = prepare_peer_digest},
    {"/v1/peer/dns",   METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/event", METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/clock", METHOD_GET, API_READ, .local = true, .peer = true, .read = read_peer_clock},
    {"/v1/peer/heard", METHOD_GET, API_PEER, .local = true, .peer = true},
    {"/v1/peer/probe", METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/sync",  METHOD_PUT, API_PEER, .local = true, .peer = true},
    {"/v1/peer/stream", METHOD_PUT, API_STREAM, .peer = true, .form = true},
    {"/v1/peer/force-leave/", METHOD_PUT, API_WRITE, .local = true, .peer = true, .write = write_force_leave},
    {"/v1/peer/members", METHOD_GET, API_READ, .local = true, .peer = true, .read = read_agent_members, .rows = FILTER_MEMBERS},
    {"/v1/peer/wan",   METHOD_PUT, API_WAN, .local = true, .peer = true, .prepare = prepare_peer_wan, .agent = peer_wan_hear},
    {"/v1/peer/query", METHOD_PUT, API_READ, .consul_headers = true, .consistency = true, .local = true, .peer = true, .read = read_peer_query, .prepare = prepare_peer_query},
    {"/v1/peer/hello", METHOD_GET, API_READ, .local = true, .peer = true, .read = read_peer_hello},
    {"/v1/peer/bootstrap", METHOD_PUT, API_AGENT, .local = true, .peer = true, .agent = peer_lock},
    {"/v1/peer/join",      METHOD_PUT, API_AGENT, .local = true, .peer = true, .agent = peer_join},
    {"/v1/peer/defragment", METHOD_PUT, API_AGENT, .local = true, .peer = true, .agent = peer_defragment},
    /* Status */
    {"/v1/status/leader", METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, false, read_status_leader},
    {"/v1/status/peers",  METHOD_GET, API_READ, NONE, WATCH_NONE, NULL, false, false, false, read_status_peers},
    /* Process and membership */
    {"/v1/agent/host",         METHOD_GET, API_READ, .local = true, .read = read_agent_host, .prepare = prepare_host},
    {"/v1/agent/monitor",      METHOD_GET, API_MONITOR, .local = true, .prepare = prepare_monitor},
    {"/v1/agent/metrics/stream", METHOD_GET, API_MONITOR, .local = true, .prepare = prepare_metrics_stream},
    {"/v1/agent/version",      METHOD_GET, API_READ, .local = true, .read = read_agent_version},
    {"/v1/agent/reload",       METHOD_PUT, API_AGENT, .local = true, .agent = agent_reload},
    {"/v1/agent/join/",        METHOD_PUT, API_AGENT, .local = true, .agent = agent_join},
    {"/v1/agent/force-leave/", METHOD_PUT, API_WRITE, .local = true, .write = write_force_leave, .agent = agent_force_leave_wan},
    {"/v1/agent/token/",       METHOD_PUT, API_READ, .local = true, .read = read_acl_off},
    /* User events (in memory only), coordinates */
    {"/v1/event/fire/", METHOD_PUT, API_AGENT, .agent = agent_event_fire},
    {"/v1/event/list",  METHOD_GET, API_READ, HASH, WATCH_EVENTS, .local = true, .read = read_event_list, .prepare = prepare_events, .param = "name"},
    {"/v1/coordinate/datacenters", METHOD_GET, API_READ, .read = read_coordinate_datacenters},
    {"/v1/coordinate/nodes",  METHOD_GET, API_READ, INDEX, WATCH_COORDINATES, .consul_headers = true, .read = read_coordinate_nodes, .param = "segment"},
    {"/v1/coordinate/node/",  METHOD_GET, API_READ, INDEX, WATCH_COORDINATES, .consul_headers = true, .read = read_coordinate_node, .param = "segment"},
    {"/v1/coordinate/update", METHOD_PUT, API_AGENT, .agent = agent_coordinate_update},
    /* Mesh: proxies are kept and found, the rest is off */
    {"/v1/catalog/connect/", METHOD_GET, API_READ, INDEX, WATCH_NODES_SERVICES, "Missing service name", true, true, false, read_catalog_connect, .rows = FILTER_SERVICE_NODES, .cached = true, .near = true, .set = SET_INSTANCES, .row = row_of_connect, .at = true},
    {"/v1/health/connect/",  METHOD_GET, API_READ, INDEX, WATCH_CATALOG, "Missing service name", true, true, false, read_health_connect, .passing = true, .rows = FILTER_HEALTH, .cached = true, .near = true, .set = SET_INSTANCES, .row = row_of_health_connect, .volatile_text = true, .at = true},
    {"/v1/health/ingress/",  METHOD_GET, API_READ, NONE, WATCH_NONE, "Missing service name", true, true, false, read_none, .passing = true, .cached = true},
    {"/v1/catalog/gateway-services/", METHOD_GET, API_READ, NONE, WATCH_NONE, "Missing gateway name", true, true, false, read_null},
    {"/v1/agent/connect/ca/roots",     METHOD_GET, API_READ, .local = true, .read = read_connect_off},
    {"/v1/agent/connect/ca/leaf/",     METHOD_GET, API_READ, .local = true, .read = read_connect_off},
    {"/v1/agent/connect/authorize",    METHOD_POST, API_READ, .local = true, .read = read_connect_off},
    {"/v1/connect/ca/roots",           METHOD_GET, API_READ, .local = true, .read = read_connect_off},
    {"/v1/connect/ca/configuration",   METHOD_GET | METHOD_PUT, API_READ, .local = true, .read = read_connect_off},
    {"/v1/discovery-chain/",           METHOD_GET | METHOD_POST, API_READ, .local = true, .read = read_connect_off},
    {"/v1/connect/intentions",         METHOD_GET | METHOD_POST, API_READ, .consul_headers = true, .read = read_intentions},
    {"/v1/connect/intentions/match",   METHOD_GET, API_READ, .read = read_intention_match},
    {"/v1/connect/intentions/check",   METHOD_GET, API_READ, .read = read_intention_check},
    {"/v1/connect/intentions/exact",   METHOD_GET | METHOD_PUT | METHOD_DELETE, API_READ, .local = true, .read = read_unsupported},
    {"/v1/connect/intentions/",        METHOD_GET | METHOD_PUT | METHOD_DELETE, API_READ, .local = true, .read = read_unsupported},
    {"/v1/config/",                    METHOD_GET | METHOD_DELETE, API_READ, .consul_headers = true, .read = read_config_entry},
    {"/v1/config",                     METHOD_PUT, API_READ, .local = true, .read = read_unsupported},
    /* Internal: Consul's web page and some exporters */
    {"/v1/internal/ui/nodes",    METHOD_GET, API_READ, INDEX, WATCH_CATALOG, NULL, true, false, false, read_ui_nodes, .rows = FILTER_NODES},
    {"/v1/internal/ui/node/",    METHOD_GET, API_READ, INDEX, WATCH_CATALOG, "Missing node name", true, false, false, read_ui_node},
    {"/v1/internal/ui/services", METHOD_GET, API_READ, INDEX, WATCH_CATALOG, NULL, true, false, false, read_ui_services, .rows = FILTER_HEALTH},
    {"/v1/internal/ui/gateway-services-nodes/", METHOD_GET, API_READ, NONE, WATCH_NONE, "Missing gateway name", true, false, false, read_none},
    {"/v1/internal/acl/authorize", METHOD_POST, API_READ, .local = true, .read = read_acl_off},
    /* Operator */
    {"/v1/operator/raft/configuration",      METHOD_GET, API_READ, .read = read_raft_configuration},
    {"/v1/operator/autopilot/configuration", METHOD_GET | METHOD_PUT, API_READ, .read = read_autopilot_configuration},
    {"/v1/operator/autopilot/health",        METHOD_GET, API_READ, .read = read_autopilot_health},
    {"/v1/operator/autopilot/state",         METHOD_GET, API_READ, .read = read_autopilot_state},
    {"/v1/operator/keyring", METHOD_GET | METHOD_PUT | METHOD_POST | METHOD_DELETE, API_READ, .local = true, .read = read_keyring},
    {"/v1/operator/raft/peer", METHOD_DELETE, API_AGENT, .agent = raft_remove},
    {"/v1/operator/raft/transfer-leader", METHOD_POST, API_READ, .local = true, .read = read_unsupported},
    /* Refused: said aloud, because a 404 means "no such key" to clients */
    {"/v1/acl/",     METHOD_GET | METHOD_PUT | METHOD_POST | METHOD_DELETE, API_READ, .local = true, .read = read_acl_off},
    {"/v1/kv/",      METHOD_GET | METHOD_PUT | METHOD_DELETE, API_READ, .local = true, .read = read_unsupported},
    {"/v1/session/", METHOD_GET | METHOD_PUT, API_READ, .local = true, .read = read_unsupported},
    {"/v1/txn",      METHOD_PUT, API_READ, .local = true, .read = read_unsupported},
};
/* clang-format on */

enum { ROUTES = sizeof routes / sizeof routes[0] };

enum { ROUTE_TELLS_AT = 4 /* after "/v1/", where the paths differ */ };

/* The longest match wins, as in Go's ServeMux. Few rows share a first letter: a
 * scan costs less than a hash of the path. */
const struct api_route *api_route_find(struct bytes path,
                                       struct bytes *ret_rest)
{
    const struct api_route *best = NULL;
    size_t best_n = 0;
    char letter = path.n > ROUTE_TELLS_AT ? path.p[ROUTE_TELLS_AT] : 0;
    for (size_t i = 0; i < ROUTES; i++) {
        if (routes[i].path[ROUTE_TELLS_AT] != letter)
            continue;
        struct bytes p = bytes_str(routes[i].path);
        bool prefix = p.p[p.n - 1] == '/';
        bool hit = prefix ? bytes_starts(path, p) : bytes_eq(path, p);
        if (hit && p.n > best_n) {
            best = &routes[i];
            best_n = p.n;
        }
    }
    *ret_rest = best ? bytes_skip(path, best_n) : (struct bytes){0};
    return best;
}

static unsigned method_bit(enum http_method m)
{
    switch (m) {
    case HTTP_GET:
        return METHOD_GET;
    case HTTP_PUT:
        return METHOD_PUT;
    case HTTP_POST:
        return METHOD_POST;
    case HTTP_DELETE:
        return METHOD_DELETE;
    case HTTP_HEAD:
    case HTTP_OPTIONS:
    case HTTP_PATCH:
    case HTTP_OTHER:
        return 0;
    }
    return 0;
}

static void allow_line(struct api_call *c, const struct api_route *r)
{
    struct buf v;
    buf_init(&v, 64);
    buf_puts(&v, "OPTIONS");
    if (r->methods & METHOD_GET)
        buf_puts(&v, ",GET");
    if (r->methods & METHOD_PUT)
        buf_puts(&v, ",PUT");
    if (r->methods & METHOD_POST)
        buf_puts(&v, ",POST");
    if (r->methods & METHOD_DELETE)
        buf_puts(&v, ",DELETE");
    http_head_line(&c->extra_head, "Allow", buf_bytes(&v));
    buf_fini(&v);
}

static enum api_next empty_answer(struct api_call *c, int status)
{
    buf_reset(&c->body);
    c->status = status;
    c->content_type = NULL;
    return API_ANSWER;
}

static enum api_next redirect(struct api_call *c, struct bytes to)
{
    struct http_request *r = c->request;
    struct buf location;
    buf_init(&location, 2 * HTTP_TARGET_MAX);
    buf_put(&location, to);
    if (r->raw_query.n) {
        buf_putc(&location, '?');
        buf_put(&location, r->raw_query);
    }
    http_head_line(&c->extra_head, "Location", buf_bytes(&location));
    empty_answer(c, 301);
    if (r->method == HTTP_GET) {
        c->content_type = "text/html; charset=utf-8";
        buf_puts(&c->body, "<a href=\"");
        for (size_t i = 0; i < location.n; i++) {
            char ch = location.p[i];
            if (ch == '<' || ch == '>' || ch == '"' || ch == '&')
                buf_printf(&c->body, "&#%d;", ch);
            else
                buf_putc(&c->body, ch);
        }
        buf_puts(&c->body, "\">Moved Permanently</a>.\n\n");
    }
    buf_fini(&location);
    return API_ANSWER;
}

static bool printable(struct bytes path)
{
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] < 0x20 || path.p[i] == 0x7f)
            return false;
    return bytes_utf8(path);
}

static bool blocked(const struct api_self *self, struct bytes path)
{
    for (size_t i = 0; i < self->block_endpoint_count; i++)
        if (bytes_starts(path, self->block_endpoints[i]))
            return true;
    return false;
}

/* A unix socket has no address: who may write there is the file's mode. */
static bool may_write(const struct api_self *self, const struct http_request *r)
{
    if (self->write_from_count == 0 || r->method == HTTP_GET ||
        r->method == HTTP_HEAD || r->method == HTTP_OPTIONS || r->peer.n == 0)
        return true;
    struct bytes host = api_host_of(r->peer);
    for (size_t i = 0; i < self->write_from_count; i++)
        if (net_has(&self->write_from[i], host))
            return true;
    return false;
}

static enum err split_query(struct arena *a, struct bytes query, size_t most,
                            struct http_request *r);

/* PUT /v1/peer/stream: the query is the body, as it may be too long for a
 * target. What it means is not different. */
static enum api_next form_begin(struct api_call *c)
{
    struct http_request *r = c->request;
    struct bytes rest;
    enum err e = split_query(c->arena, r->body, API_PEER_PARAMS_MAX, r);

    if (e == ERR_OK) {
        c->route = api_route_find(bytes_str("/v1/muster/stream"), &rest);
        return API_STREAM;
    }
    if (e == ERR_LIMIT)
        api_error(c, 400, "More than %d parameters in the body",
                  API_PEER_PARAMS_MAX);
    else
        api_error(c, e == ERR_BAD ? 400 : 500,
                  "The body is no query string: %s", err_text(e));
    return API_ANSWER;
}

static enum api_next common(struct api_call *c, const struct api_env *env)
{
    const struct api_route *r = c->route;
    enum api_next next = api_params(c, env);
    if (next == API_ANSWER || next == API_FORWARD)
        return next;
    c->consul_headers = r->consul_headers;
    /* Before the catalog is loaded nobody is told that something is missing. */
    if (!env->ready && (r->consul_headers || r->kind == API_WRITE)) {
        api_error(c, 500, "No cluster leader");
        return API_ANSWER;
    }
    c->blocking = r->blocking;
    c->watch = (struct watch_key){r->watch, c->arg};
    if (r->consistency)
        c->consistency = c->stale        ? "stale"
                         : c->consistent ? "consistent"
                                         : "leader";
    if (r->prepare && r->prepare(c, env) == API_ANSWER)
        return API_ANSWER;
    if (r->writes & method_bit(c->request->method)) {
        c->consul_headers = false;
        return API_WRITE;
    }
    if (r->kind == API_WRITE && r->agent && http_param(c->request, "wan"))
        return API_AGENT;
    if (r->kind == API_WAN && !c->wan_word)
        return API_AGENT;
    if (r->kind == API_STREAM || (r->set != SET_NONE && stream_is_wanted(c)))
        return stream_begin(c);
    return r->kind;
}

/* Users do not see what peers ask each other; peers pass on what their users
 * ask of the catalog, but nobody has others to ask about their own agent. */
static bool is_here(const struct api_route *route, const struct http_request *r)
{
    if (route->peer)
        return r->from_peer;
    return !r->from_peer || !bytes_starts(r->path, bytes_str("/v1/agent/"));
}

/* What is no route. */
static bool page_begin(struct api_call *c, const struct api_env *env,
                       const struct http_request *r, enum api_next *ret)
{
    if (bytes_is(r->path, "/ui") ||
        (bytes_is(r->path, "/") && page_is_wanted(env->self, r)))
        *ret = env->self->ui ? redirect(c, bytes_str("/ui/"))
                             : empty_answer(c, 404);
    else if (page_is_asked(env->self, r->path))
        *ret = page_answer(c);
    else if (bytes_is(r->path, "/")) {
        api_error(c, 200, "Consul Agent");
        *ret = API_ANSWER;
    } else {
        return false;
    }
    return true;
}

enum api_next api_begin(struct api_call *c, const struct api_env *env,
                        struct http_request *r)
{
    enum api_next next;
    struct bytes clean;
    c->request = r;
    c->arena = r->arena;
    c->unrouted = true;
    if (http_clean_path(r->arena, r->raw_path, &clean))
        return redirect(c, clean);
    if (!env->self->allow_unprintable && !printable(r->path))
        return empty_answer(c, 400);
    if (!r->from_peer && page_begin(c, env, r, &next))
        return next;
    c->route = api_route_find(r->path, &c->arg);
    if (!c->route || !is_here(c->route, r))
        return empty_answer(c, 404);
    c->unrouted = false;
    if (!r->from_peer && blocked(env->self, r->path)) {
        api_error(c, 403, "Endpoint is blocked by agent configuration");
        return API_ANSWER;
    }
    if (r->method == HTTP_OPTIONS) {
        allow_line(c, c->route);
        return empty_answer(c, 200);
    }
    if (!r->from_peer && !may_write(env->self, r)) {
        api_error(c, 403, "Access is restricted");
        return API_ANSWER;
    }
    if (!(c->route->methods & method_bit(r->method))) {
        allow_line(c, c->route);
        api_error(c, 405, "method %.*s not allowed", BYTES_ARG(r->method_name));
        return API_ANSWER;
    }
    if (c->route->form && form_begin(c) == API_ANSWER)
        return API_ANSWER;
    return common(c, env);
}

void api_read(struct api_call *c, const struct api_env *env)
{
    api_json(c);
    c->cost = 0;
    c->too_long = false;
    c->held = 0;
    buf_reset(&c->near_rows);
    c->route->read(c, env);
    near_sort(c);
    if (filter_overrun(c->filter).n)
        api_error(
            c, 400,
            "The regular expression \"%.*s\" needs too many steps on these "
            "values: write it simpler",
            BYTES_ARG(filter_overrun(c->filter)));
    if (c->pretty && !c->too_long && c->content_type &&
        bytes_is(bytes_str(c->content_type), "application/json")) {
        struct buf indented;
        buf_init(&indented, c->body.max);
        json_pretty(&indented, buf_bytes(&c->body));
        buf_fini(&c->body);
        c->body = indented;
    }
}

enum api_next api_write(struct api_call *c, const struct api_env *env,
                        struct plan *p)
{
    return c->route->write(c, env, p);
}

enum api_next api_agent(struct api_call *c, const struct api_env *env,
                        struct agent_op **ret)
{
    return c->route->agent(c, env, ret);
}

bool api_is_local(const struct api_call *c)
{
    return c->route->local;
}

bool api_is_own(const struct api_call *c)
{
    return bytes_starts(bytes_str(c->route->path), bytes_str("/v1/muster/"));
}

bool api_is_mirrored(const struct api_call *c)
{
    const struct api_route *r = c->route;
    bool of_catalog =
        c->watch.kind > WATCH_NONE && c->watch.kind < WATCH_QUERIES;

    return of_catalog && !r->local && !r->peer && !c->rows &&
           !api_wants_past(c) && (!api_is_own(c) || r->kind == API_STREAM);
}

/* --- Canonical targets --------------------------------------------------- */

static void canonical_param(struct buf *out, bool *first, const char *name,
                            const struct bytes *value)
{
    buf_putc(out, *first ? '?' : '&');
    *first = false;
    buf_puts(out, name);
    if (value) {
        buf_putc(out, '=');
        http_encode(out, *value);
    }
}

void api_canonical(const struct api_call *c, struct buf *out)
{
    bool first = true;
    if (c->mirror.n) {
        buf_putc(out, '@');
        buf_put(out, c->mirror);
    }
    buf_puts(out, c->route->path);
    http_encode(out, c->arg);
    if (c->prefix.p)
        canonical_param(out, &first, "prefix", &c->prefix);
    if (c->passing)
        canonical_param(out, &first, "passing", NULL);
    if (c->pretty)
        canonical_param(out, &first, "pretty", NULL);
    if (c->rows)
        canonical_param(out, &first, "rows", NULL);
    for (size_t i = 0; i < c->tag_count; i++)
        canonical_param(out, &first, "tag", &c->tags[i]);
    for (size_t i = 0; i < c->meta_count; i++)
        canonical_param(out, &first, "node-meta", &c->meta[i]);
    if (c->filter)
        canonical_param(out, &first, "filter", &c->filter_text);
    /* Not only where from, but also as it was known then. */
    if (c->near.n) {
        canonical_param(out, &first, "near", &c->near);
        buf_printf(out, "&known=%llu", (unsigned long long)c->near_known);
    }
    const struct http_param *more =
        c->route->param ? http_param(c->request, c->route->param) : NULL;
    if (more)
        canonical_param(out, &first, c->route->param, &more->value);
    for (int i = 0; c->route->page && i < PAGE_PARAMS; i++) {
        const struct http_param *p =
            http_param(c->request, page_param_names[i]);
        if (p)
            canonical_param(out, &first, page_param_names[i], &p->value);
    }
    for (int i = 0; c->route->query && i < QUERY_PARAMS; i++) {
        const struct http_param *p =
            http_param(c->request, query_param_names[i]);
        if (p)
            canonical_param(out, &first, query_param_names[i], &p->value);
    }
    if (c->client.n)
        canonical_param(out, &first, "client", &c->client);
    for (int i = 0; c->story == API_STORY_CHANGES && i < PAST_PARAMS; i++) {
        const struct http_param *p =
            http_param(c->request, past_param_names[i]);
        if (p)
            canonical_param(out, &first, past_param_names[i], &p->value);
    }
    /* Last, so that it can be told from the rest: it changes a header only. */
    if (c->stale)
        canonical_param(out, &first, "stale", NULL);
    if (c->consistent)
        canonical_param(out, &first, "consistent", NULL);
}

static enum err split_query(struct arena *a, struct bytes query, size_t most,
                            struct http_request *r)
{
    size_t pairs = 1;
    for (size_t i = 0; i < query.n; i++)
        pairs += query.p[i] == '&';
    if (pairs > most)
        return ERR_LIMIT;
    r->param_count = 0;
    r->params = arena_alloc(a, sizeof *r->params * pairs);
    if (!r->params)
        return ERR_NOMEM;
    while (query.n) {
        size_t end = bytes_find(query, '&');
        struct bytes one = bytes_head(query, end);
        query = bytes_skip(query, end + 1);
        size_t eq = bytes_find(one, '=');
        struct http_param *p = &r->params[r->param_count++];
        *p = (struct http_param){.has_value = eq < one.n};
        enum err e = http_decode(a, bytes_head(one, eq), true, &p->name);
        if (e == ERR_OK)
            e = http_decode(a, bytes_skip(one, eq + 1), true, &p->value);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err api_from_canonical(struct api_call *c, const struct api_env *env,
                            struct bytes target, struct arena *a)
{
    struct http_request *r = arena_zalloc(a, sizeof *r);
    if (!r)
        return ERR_NOMEM;
    if (target.n && target.p[0] == '@') {
        size_t n = bytes_find(target, '/');
        c->mirror = bytes_skip(bytes_head(target, n), 1);
        target = bytes_skip(target, n);
    }
    size_t q = bytes_find(target, '?');
    r->method = HTTP_GET;
    r->arena = a;
    enum err e = http_decode(a, bytes_head(target, q), false, &r->path);
    if (e == ERR_OK)
        e = split_query(a, bytes_skip(target, q + 1), HTTP_QUERY_PARAMS_MAX, r);
    if (e != ERR_OK)
        return e;
    c->request = r;
    c->arena = a;
    c->route = api_route_find(r->path, &c->arg);
    if (!c->route)
        return ERR_NOT_FOUND;
    c->rows = http_param(r, "rows") != NULL;
    return common(c, env) == API_ANSWER ? ERR_BAD : ERR_OK;
}
