/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/query and what is below it. */
#include "api/query.h"

#include <stdlib.h>

#include "base/duration.h"

const char *const query_param_names[QUERY_PARAMS] = {"limit", "near"};

enum query_action query_action(struct bytes arg, struct bytes *ret_name)
{
    static const struct {
        const char *end;
        enum query_action action;
    } ends[] = {{"/execute", QUERY_EXECUTE}, {"/explain", QUERY_EXPLAIN}};

    *ret_name = arg;
    if (bytes_is(arg, "execute") || bytes_is(arg, "explain")) {
        *ret_name = (struct bytes){NULL, 0};
        return bytes_is(arg, "execute") ? QUERY_EXECUTE : QUERY_EXPLAIN;
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        struct bytes end = bytes_str(ends[i].end);
        if (!bytes_ends(arg, end))
            continue;
        *ret_name = bytes_head(arg, arg.n - end.n);
        return ends[i].action;
    }
    return QUERY_ITSELF;
}

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    c->consul_headers = false;
    c->consistency = NULL;
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

/* --- Parameters ---------------------------------------------------------- */

/* 0: no limit. As Consul, which takes any number and cares for positive ones. */
static bool limit_of(const struct api_call *c, uint64_t *ret)
{
    struct bytes text = http_param_value(c->request, "limit");
    bool negative = text.n > 1 && text.p[0] == '-';

    *ret = 0;
    if (text.n == 0)
        return true;
    enum err e = bytes_u64(bytes_skip(text, negative), ret);
    if (negative)
        *ret = 0;
    return e == ERR_OK;
}

static enum api_next bad_parameter(struct api_call *c, const char *what,
                                   const char *function, struct bytes value)
{
    c->consul_headers = false;
    c->consistency = NULL;
    api_error(c, 500, "%s: strconv.%s: parsing \"%.*s\": invalid syntax", what,
              function, BYTES_ARG(bytes_head(value, 64)));
    return API_ANSWER;
}

static enum api_next prepare_execute(struct api_call *c)
{
    struct bytes limit = http_param_value(c->request, "limit");
    struct bytes connect = http_param_value(c->request, "connect");
    bool wanted = http_param(c->request, "connect") != NULL;
    uint64_t n;

    if (!limit_of(c, &n))
        return bad_parameter(c, "Bad limit", "Atoi", limit);
    if (connect.n && bytes_bool(connect, &wanted) != ERR_OK)
        return bad_parameter(c, "Error parsing 'connect' value", "ParseBool",
                             connect);
    if (wanted)
        return refuse(c, 500,
                      "Connect is not supported: there is no service mesh "
                      "here, ask without ?connect");
    c->watch = (struct watch_key){WATCH_CATALOG, c->arg};
    /* In a canonical target the address is a parameter. */
    c->client = c->request->peer.n ? api_host_of(c->request->peer)
                                   : http_param_value(c->request, "client");
    return API_READ;
}

enum api_next prepare_query(struct api_call *c, const struct api_env *env)
{
    struct bytes name;
    enum query_action action = query_action(c->arg, &name);

    (void)env;
    if (action != QUERY_ITSELF && c->request->method != HTTP_GET) {
        http_head_line(&c->extra_head, "Allow", bytes_str("GET"));
        return refuse(c, 405,
                      c->request->method == HTTP_PUT
                          ? "method PUT not allowed"
                          : "method DELETE not allowed");
    }
    if (action == QUERY_ITSELF)
        return API_READ;
    c->blocking = API_BLOCK_NONE;
    c->fresh = true;
    return action == QUERY_EXECUTE ? prepare_execute(c) : API_READ;
}

/* --- The queries themselves ---------------------------------------------- */

void read_queries(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    const struct cat_record *r;
    struct query_view v;
    struct tree_iter it;

    json_open(&e.j, '[');
    snapshot_queries(env->cat, &it);
    while ((r = snapshot_next_aside(&it)) && api_spend(c, COST_SERVICE)) {
        cat_query_view(r, &v);
        encode_query(&e.j, &v);
    }
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

static void not_found(struct api_call *c)
{
    c->consul_headers = false;
    api_error(c, 404, "Query not found");
}

static void read_itself(struct api_call *c, const struct api_env *env,
                        struct bytes id)
{
    const struct cat_record *r = snapshot_query(env->cat, id);
    struct encoder e = encoder(c, env, false);
    struct query_view v;

    if (!bytes_uuid(id)) {
        c->consistency = NULL;
        api_error(c, 500,
                  "failed prepared query lookup: index error: UUID must be 36 "
                  "characters");
        return;
    }
    if (!r) {
        not_found(c);
        return;
    }
    cat_query_view(r, &v);
    json_open(&e.j, '[');
    encode_query(&e.j, &v);
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* False: the answer is an error. */
static bool resolve(struct api_call *c, const struct api_env *env,
                    struct bytes name, struct query_view *ret)
{
    struct errtext t = {{0}};
    enum err e = query_resolve(env->cat, name, c->arena, ret, &t);

    if (e == ERR_NOT_FOUND)
        not_found(c);
    else if (e != ERR_OK)
        api_error(c, 500, "%s", t.s[0] ? t.s : err_text(e));
    if (e != ERR_OK)
        c->consistency = NULL;
    return e == ERR_OK;
}

/* What Consul tells there of its own call. */
static void put_meta(struct json_out *j, const struct api_call *c)
{
    json_key(j, "Index");
    json_u64(j, 0);
    json_key(j, "LastContact");
    json_u64(j,
             c->failover_mirror ? c->failover_age_ms * (uint64_t)NS_PER_MS : 0);
    json_key(j, "KnownLeader");
    json_bool(j, !c->failover_mirror);
    json_key(j, "ConsistencyLevel");
    json_str(j, bytes_str(c->consistency ? c->consistency : ""));
}

static void read_explained(struct api_call *c, const struct api_env *env,
                           struct bytes name)
{
    struct json_out j = json_out(&c->body);
    struct query_view v;

    if (!resolve(c, env, name, &v))
        return;
    json_open(&j, '{');
    json_key(&j, "Query");
    encode_query(&j, &v);
    put_meta(&j, c);
    json_close(&j, '}');
}

/* --- Execution ----------------------------------------------------------- */

/* --- Failover ------------------------------------------------------------ */

static bool failover_has(const struct api_call *c, struct bytes dc)
{
    for (size_t i = 0; i < c->failover_count; i++)
        if (bytes_eq(c->failover[i], dc))
            return true;
    return false;
}

/* Not the own one, no one twice, nobody unknown: so no failover runs in circles. */
static void failover_add(struct api_call *c, const struct api_env *env,
                         struct bytes name, bool alive)
{
    const struct api_dc *dc = api_wan_dc(env->wan, name);

    if (!dc || dc->own || dc->alive != alive || failover_has(c, name) ||
        c->failover_count == API_FAILOVERS_MAX)
        return;
    c->failover[c->failover_count++] = arena_copy(c->arena, name);
}

/* The nearest, then those that are listed; who answers before who does not. */
static void failover_list(struct api_call *c, const struct api_env *env,
                          const struct query_view *q)
{
    for (int alive = 1; alive >= 0; alive--) {
        int64_t nearest = q->nearest;
        for (size_t i = 0; nearest > 0 && i < env->wan->dc_count; i++) {
            nearest -= !env->wan->dcs[i].own;
            failover_add(c, env, env->wan->dcs[i].name, alive);
        }
        struct bytes rest = q->list[QUERY_DATACENTERS].data, dc, peer;
        while (packed_next(&rest, &dc))
            failover_add(c, env, dc, alive);
        rest = q->list[QUERY_TARGETS].data;
        while (packed_next_pair(&rest, &dc, &peer))
            failover_add(c, env, dc, alive);
    }
}

/* Nobody is here: who is to be asked, and what. */
static void fail_over(struct api_call *c, const struct api_env *env,
                      const struct query_view *q, uint64_t limit)
{
    struct query_view copy = *q;
    struct json_out j = json_out(&c->failover_body);

    if (!env->wan || c->failover_over || c->request->from_peer ||
        c->failover_count)
        return;
    failover_list(c, env, q);
    if (c->failover_count == 0)
        return;
    copy.nearest = 0;
    copy.text[QUERY_NEAR] = (struct bytes){0};     /* of nobody there */
    copy.text[QUERY_TEMPLATE] = (struct bytes){0}; /* is rendered */
    copy.list[QUERY_DATACENTERS] = copy.list[QUERY_TARGETS] =
        (struct packed){0};
    encode_query(&j, &copy);
    c->failover_service = arena_copy(c->arena, q->text[QUERY_SERVICE]);
    buf_printf(&c->failover_params, "limit=%llu%s", (unsigned long long)limit,
               c->consistent ? "&consistent" : "");
}

/* All that are in, in no order. False: too long to be made here. */
static bool collect(struct api_call *c, const struct api_env *env,
                    const struct query_view *q, struct buf *picks)
{
    struct query_filter f;
    struct query_pick pick;
    struct tree_iter it;

    if (!query_filter_begin(&f, env->cat, q))
        return true;
    if (!api_spend(c, COST_SKIP * (uint32_t)f.walked))
        return false;
    tree_first(&f.name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        if (!api_spend(c, COST_SKIP))
            return false;
        if (query_filter_has(&f, i, &pick))
            buf_put_n(picks, &pick, sizeof pick);
    }
    return true;
}

static void put_nodes(struct api_call *c, struct encoder *e,
                      const struct query_pick *v, size_t n)
{
    json_key(&e->j, "Nodes");
    json_open(&e->j, '[');
    for (size_t i = 0; i < n; i++) {
        struct filter_row row = filter_row(e->env);
        const struct query_pick *pick = &v[i];
        if (!api_spend(c, COST_NODE + COST_SERVICE +
                              COST_CHECK * pick->instance->check_count))
            break;
        row.held = pick->held;
        c->held += pick->held;
        cat_node_view(pick->node->record, &row.node);
        cat_service_view(pick->instance->service, &row.service);
        row.node_checks = pick->node->own;
        row.instance = pick->instance;
        put_health_entry(e, &row);
    }
    json_close(&e->j, ']');
}

static void put_result(struct api_call *c, const struct api_env *env,
                       const struct query_view *q, const struct query_pick *v,
                       size_t n)
{
    struct encoder e = encoder(c, env, false);
    struct json_out *j = &e.j;

    json_open(j, '{');
    json_key(j, "Service");
    json_str(j, q->text[QUERY_SERVICE]);
    put_nodes(c, &e, v, n);
    json_key(j, "DNS");
    json_open(j, '{');
    json_key(j, "TTL");
    json_str(j, q->text[QUERY_TTL]);
    json_close(j, '}');
    json_key(j, "Datacenter");
    json_str(j, env->self->datacenter);
    json_key(j, "Failovers");
    json_u64(j, c->failovers);
    put_meta(j, c);
    json_close(j, '}');
}

static void execute(struct api_call *c, const struct api_env *env,
                    const struct query_view *q)
{
    struct buf picks;
    uint64_t limit;

    (void)limit_of(c, &limit);
    if (!c->failover_mirror)
        c->given = arena_copy(c->arena, q->text[QUERY_SERVICE]);
    buf_init(&picks, 0);
    if (collect(c, env, q, &picks)) {
        struct query_pick *v = (struct query_pick *)(void *)picks.p;
        size_t n = picks.n / sizeof *v;
        size_t want = limit && limit < n ? (size_t)limit : n;
        struct bytes asked = http_param_value(c->request, "near");
        struct bytes own = env->self->node_name;
        struct bytes near = {NULL, 0}; /* of nobody in a mirror */
        if (!c->failover_mirror)
            near =
                query_near_node(env->cat, asked.n ? asked : q->text[QUERY_NEAR],
                                own, c->client);
        query_shuffle(v, n, near.n ? n : want, env->random[0]);
        if (near.n)
            query_near(env->cat, near, own, v, n);
        put_result(c, env, q, v, want);
        if (n == 0)
            fail_over(c, env, q, limit);
    }
    bool failed = picks.bad;
    buf_fini(&picks);
    if (failed)
        api_error(c, 500, "out of memory for the answer");
}

static void read_executed(struct api_call *c, const struct api_env *env,
                          struct bytes name)
{
    struct query_view q;

    if (resolve(c, env, name, &q))
        execute(c, env, &q);
}

void api_query_mirrored(struct api_call *c, const struct api_env *own,
                        const struct api_env *there)
{
    struct bytes name;
    struct query_view q;

    (void)query_action(c->arg, &name);
    c->failover_mirror = true;
    if (resolve(c, own, name, &q))
        execute(c, there, &q);
    c->failover_mirror = false;
}

/* --- Another datacenter asks ---------------------------------------------- */

enum api_next prepare_peer_query(struct api_call *c, const struct api_env *env)
{
    uint64_t n = 0;

    (void)env;
    if (!limit_of(c, &n))
        return bad_parameter(c, "Bad limit", "Atoi",
                             http_param_value(c->request, "limit"));
    if (bytes_u64(http_param_value(c->request, "failovers"), &n) == ERR_OK)
        c->failovers = n;
    c->fresh = true;
    c->watch = (struct watch_key){WATCH_CATALOG, c->arg};
    return API_READ;
}

/* A query that found nobody where it stands, rendered. */
void read_peer_query(struct api_call *c, const struct api_env *env)
{
    struct query_view q;

    if (query_from_body(c, &q))
        execute(c, env, &q);
}

void read_query(struct api_call *c, const struct api_env *env)
{
    struct bytes name;

    switch (query_action(c->arg, &name)) {
    case QUERY_ITSELF:
        read_itself(c, env, name);
        break;
    case QUERY_EXECUTE:
        read_executed(c, env, name);
        break;
    case QUERY_EXPLAIN:
        read_explained(c, env, name);
        break;
    }
}
