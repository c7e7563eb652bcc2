/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Command line and configuration files, in order, into the settings of run.h.
 */
#include "server/setup.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "base/net.h"
#include "cli/cli.h"
#include "config/watch_def.h"
#include "loop/conn.h"
#include "server/setup_impl.h"

enum { RESPONSE_HEAD_MAX = 8 * 1024 };

/* --- Notices ------------------------------------------------------------- */

static void log_notices(const struct setup *s)
{
    for (size_t i = 0; i < s->notice_count; i++) {
        const struct config_notice *n = &s->notice_of[i];
        char where[96];
        config_pos_print(where, n->pos);
        log_if(n->protects ? LOG_WARN : LOG_INFO, "config",
               "setting without effect in this version: key=%s at=%s", n->key,
               where);
    }
}

/* --- Addresses ----------------------------------------------------------- */

/* The first address of an interface that is up and no loopback; private ranges
 * are what it usually is. NULL: there is none. */
static const char *first_address(struct arena *a)
{
    struct ifaddrs *all;
    const char *found = NULL;
    if (getifaddrs(&all) != 0)
        return NULL;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        char text[INET_ADDRSTRLEN];
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        struct sockaddr_in in;
        memcpy(&in, i->ifa_addr, sizeof in);
        if ((ntohl(in.sin_addr.s_addr) >> 24) != 127 &&
            inet_ntop(AF_INET, &in.sin_addr, text, sizeof text))
            found = arena_str(a, bytes_str(text));
    }
    freeifaddrs(all);
    return found;
}

static bool is_template(const char *address)
{
    return strstr(address, "{{") != NULL;
}

static bool is_any(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

static enum err no_template(struct setup *s, const char *key,
                            const char *address)
{
    errtext_set(&s->text,
                "%s: address templates such as \"%.40s\" are not supported: "
                "write the address",
                key, address);
    return ERR_BAD;
}

static enum err listeners(struct setup *s, const char *key,
                          const struct config_strings *on, int port, bool tls)
{
    struct settings *o = &s->settings;
    if (port < 0)
        return ERR_OK;
    if (on->n > RUN_ADDRESSES_MAX) {
        errtext_set(&s->text, "%s: %zu addresses, the limit is %d", key, on->n,
                    RUN_ADDRESSES_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < on->n; i++) {
        if (is_template(on->v[i]))
            return no_template(s, "client_addr", on->v[i]);
        o->listeners[o->listener_count++] =
            (struct run_listener){on->v[i], port, tls};
    }
    return ERR_OK;
}

static enum err addresses(struct setup *s)
{
    const struct agent_config *c = &s->config;
    struct settings *o = &s->settings;
    if (is_template(c->bind_addr))
        return no_template(s, "bind_addr", c->bind_addr);
    o->bind_addr = c->bind_addr;
    o->advertise_addr = c->advertise_addr;
    if (!o->advertise_addr && !is_any(c->bind_addr))
        o->advertise_addr = c->bind_addr;
    if (!o->advertise_addr)
        o->advertise_addr = first_address(&s->arena);
    if (!o->advertise_addr)
        o->advertise_addr = "127.0.0.1";
    if (is_template(o->advertise_addr))
        return no_template(s, "advertise_addr", o->advertise_addr);
    if (c->advertise_addr_wan && is_template(c->advertise_addr_wan))
        return no_template(s, "advertise_addr_wan", c->advertise_addr_wan);
    enum err e =
        listeners(s, "addresses.http", &c->listen.http, c->ports.http, false);
    /* HTTPS without a certificate could greet nobody; test suites give every
     * server a port for it all the same. */
    if (e == ERR_OK && c->https_tls.cert_file)
        e = listeners(s, "addresses.https", &c->listen.https, c->ports.https,
                      true);
    return e;
}

/* --- Settings ------------------------------------------------------------ */

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct config_pair *)a)->key,
                  ((const struct config_pair *)b)->key);
}

static void put_address(struct config_pairs *to, const char *key,
                        const char *value)
{
    size_t i = 0;
    while (i < to->n && strcmp(to->v[i].key, key) != 0)
        i++;
    to->n += i == to->n;
    to->v[i] = (struct config_pair){key, value};
}

/* lan and wan, each also by its family; what the configuration names itself
 * wins. */
static enum err tagged_addresses(struct setup *s)
{
    const struct agent_config *c = &s->config;
    const char *lan = s->settings.advertise_addr;
    const char *wan = c->advertise_addr_wan ? c->advertise_addr_wan : lan;
    struct config_pairs all = {
        arena_alloc(&s->arena, (c->tagged_addresses.n + 4) * sizeof *all.v)};
    struct buf b;
    if (!all.v)
        return ERR_NOMEM;
    put_address(&all, "lan", lan);
    put_address(&all, strchr(lan, ':') ? "lan_ipv6" : "lan_ipv4", lan);
    put_address(&all, "wan", wan);
    put_address(&all, strchr(wan, ':') ? "wan_ipv6" : "wan_ipv4", wan);
    for (size_t i = 0; i < c->tagged_addresses.n; i++)
        put_address(&all, c->tagged_addresses.v[i].key,
                    c->tagged_addresses.v[i].value);
    qsort(all.v, all.n, sizeof *all.v, by_key);
    buf_init(&b, 0);
    for (size_t i = 0; i < all.n; i++)
        packed_put_pair(&b, bytes_str(all.v[i].key), bytes_str(all.v[i].value));
    s->settings.tagged = arena_copy(&s->arena, buf_bytes(&b));
    s->settings.tagged_count = (uint32_t)all.n;
    buf_fini(&b);
    return s->settings.tagged.p ? ERR_OK : ERR_NOMEM;
}

/* With the pairs that Consul's agents always have (the second since 1.14). */
static enum err node_meta(struct setup *s)
{
    enum { OWN = 3 };
    const struct config_pair own[OWN] = {{"consul-network-segment", ""},
                                         {"consul-version", CLI_API_VERSION},
                                         {API_PEER_PORT, s->peer_port}};
    bool agent = !s->config.server && s->settings.peers.join_count;
    size_t have = agent ? OWN : OWN - 1; /* a server's service says it */
    const struct config_pairs *from = &s->config.node_meta;
    struct config_pair *v = arena_alloc(&s->arena, (from->n + OWN) * sizeof *v);
    struct buf b;
    size_t n = 0;
    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < have; i++)
        v[n++] = own[i];
    for (size_t i = 0; i < from->n; i++)
        if (strcmp(from->v[i].key, own[0].key) != 0 &&
            strcmp(from->v[i].key, own[1].key) != 0 &&
            strcmp(from->v[i].key, own[2].key) != 0)
            v[n++] = from->v[i];
    qsort(v, n, sizeof *v, by_key);
    buf_init(&b, 0);
    for (size_t i = 0; i < n; i++)
        packed_put_pair(&b, bytes_str(v[i].key), bytes_str(v[i].value));
    s->settings.node_meta = arena_copy(&s->arena, buf_bytes(&b));
    s->settings.node_meta_count = (uint32_t)n;
    buf_fini(&b);
    return s->settings.node_meta.p ? ERR_OK : ERR_NOMEM;
}

static enum err one_op(struct setup *s, const struct config_value *v,
                       bool service)
{
    struct buf json;
    buf_init(&json, 0);
    config_value_to_json(&json, v);
    struct agent_op *op = NULL;
    enum err e = service ? api_config_service(buf_bytes(&json), &op, &s->text)
                         : api_config_check(buf_bytes(&json), &op, &s->text);
    buf_fini(&json);
    if (e != ERR_OK) {
        char where[96];
        config_pos_print(where, &v->pos);
        errtext_prefix(&s->text, "%s: ", where);
        return e;
    }
    s->settings.ops[s->settings.op_count++] = op;
    return ERR_OK;
}

static enum err definitions(struct setup *s)
{
    const struct agent_config *c = &s->config;
    enum err e = ERR_OK;
    s->settings.ops = arena_alloc(&s->arena, (c->services.n + c->checks.n + 1) *
                                                 sizeof s->settings.ops[0]);
    if (!s->settings.ops)
        return ERR_NOMEM;
    for (size_t i = 0; i < c->services.n && e == ERR_OK; i++)
        e = one_op(s, c->services.v[i], true);
    for (size_t i = 0; i < c->checks.n && e == ERR_OK; i++)
        e = one_op(s, c->checks.v[i], false);
    return e;
}

static enum err watches(struct setup *s)
{
    const struct config_values *from = &s->config.watches;
    struct watch_def *v = arena_alloc(&s->arena, (from->n + 1) * sizeof *v);
    enum err e = v ? ERR_OK : ERR_NOMEM;
    if (from->n > WATCH_DEFS_MAX) {
        errtext_set(&s->text, "watches: %zu, the limit is %d", from->n,
                    WATCH_DEFS_MAX);
        return ERR_LIMIT;
    }
    for (size_t i = 0; i < from->n && e == ERR_OK; i++)
        e = watch_def_parse(from->v[i], s->config.datacenter, &s->arena, &v[i],
                            &s->text);
    s->settings.watches = v;
    s->settings.watch_count = from->n;
    return e;
}

static enum err write_from(struct setup *s)
{
    const struct config_strings *from =
        &s->config.http_config.allow_write_http_from;
    struct net *v = arena_alloc(&s->arena, (from->n + 1) * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->n; i++)
        if (net_parse(bytes_str(from->v[i]), &v[i]) != ERR_OK)
            return ERR_BAD; /* the configuration has been validated */
    s->settings.write_from = v;
    s->settings.write_from_count = from->n;
    return ERR_OK;
}

static enum err response_head(struct setup *s)
{
    const struct config_pairs *from = &s->config.http_config.response_headers;
    struct buf b;
    buf_init(&b, RESPONSE_HEAD_MAX);
    for (size_t i = 0; i < from->n; i++)
        http_head_line(&b, from->v[i].key, bytes_str(from->v[i].value));
    s->settings.response_head = arena_copy(&s->arena, buf_bytes(&b));
    bool bad = b.bad || !s->settings.response_head.p;
    buf_fini(&b);
    if (bad)
        errtext_set(&s->text,
                    "http_config.response_headers: more than %d bytes in all",
                    RESPONSE_HEAD_MAX);
    return bad ? ERR_LIMIT : ERR_OK;
}

static enum err blocked(struct setup *s)
{
    const struct config_strings *from = &s->config.http_config.block_endpoints;
    struct bytes *v = arena_alloc(&s->arena, (from->n + 1) * sizeof *v);
    if (!v)
        return ERR_NOMEM;
    for (size_t i = 0; i < from->n; i++)
        v[i] = bytes_str(from->v[i]);
    s->settings.block_endpoints = v;
    s->settings.block_endpoint_count = from->n;
    return ERR_OK;
}

static uint32_t handshake_ms(const struct agent_config *c)
{
    uint64_t ms = c->limits.https_handshake_timeout_ms;
    return ms == 0 || ms > CONN_IDLE_MS ? CONN_IDLE_MS : (uint32_t)ms;
}

static struct damp_rule damping_of(const struct agent_config *c)
{
    struct damp_rule rule = {
        .half_life_ms = c->damping.half_life_ms,
        .suppress = (uint32_t)c->damping.suppress,
        .reuse = (uint32_t)c->damping.reuse,
        .max_ms = c->damping.max_ms,
    };
    /* Validated before. */
    require(damp_mode_of(bytes_str(c->damping.mode), &rule.mode));
    return rule;
}

static void plain_settings(struct setup *s)
{
    const struct agent_config *c = &s->config;
    gethostname(s->host, sizeof s->host - 1);
    s->settings = (struct settings){
        .node_name = c->node_name ? c->node_name : s->host,
        .node_id = c->node_id,
        .datacenter = c->datacenter,
        .domain = c->domain,
        .data_dir = c->dev_mode ? NULL : c->data_dir,
        .store = c->store,
        .store_etcd = setup_store(c),
        .unix_mode = c->unix_mode < 0 ? 0 : (unsigned)c->unix_mode,
        .unix_user = c->unix_sockets.user,
        .unix_group = c->unix_sockets.group,
        .http_port = c->ports.http,
        .https_port = c->ports.https,
        .dns_port = c->ports.dns,
        .grpc_port = c->ports.grpc,
        .serf_lan_port = c->ports.serf_lan,
        .serf_wan_port = c->ports.serf_wan,
        .server_port = c->ports.server,
        .is_server = c->server,
        .is_dev = c->dev_mode,
        .ui = c->ui,
        .scripts_allowed = c->enable_script_checks,
        .scripts_allowed_local =
            c->enable_script_checks || c->enable_local_script_checks,
        .check_tls = c->enable_agent_tls_for_checks
                         ? setup_tls_files(&c->own_tls)
                         : (struct tls_files){0},
        .docker_host = getenv("DOCKER_HOST"),
        .damping = damping_of(c),
        .reconnect_ms = c->reconnect_timeout_ms,
        .check_update_interval_ms = c->check_update_interval_ms,
        .output_max = (size_t)c->check_output_max_size,
        .discard_output = c->discard_check_output,
        .guard = c->guard.mode,
        .guard_window_ms = c->guard.window_ms,
        .leave_on_terminate = c->leave_on_terminate,
        .skip_leave_on_interrupt = c->skip_leave_on_interrupt,
        .pid_file = c->pid_file,
        .http_max_conns = (uint32_t)c->limits.http_max_conns,
        .http_max_conns_per_client =
            (uint32_t)c->limits.http_max_conns_per_client,
        .handshake_ms = handshake_ms(c),
        .http_max_body_bytes = (size_t)c->limits.http_max_body_bytes,
        .http_max_header_bytes = (size_t)c->limits.http_max_header_bytes,
        .block_default_ms = c->default_query_time_ms,
        .block_max_ms = c->max_query_time_ms,
        .allow_unprintable = c->disable_http_unprintable_char_filter,
        .prometheus = c->telemetry.prometheus_retention_time_ms > 0,
    };
}

static enum err make_settings(struct setup *s)
{
    plain_settings(s);
    enum err e = addresses(s);
    if (e == ERR_OK)
        e = setup_peers(s);
    if (e == ERR_OK)
        e = dns_plan_make(&s->config, &s->settings.dns, &s->text);
    if (e == ERR_OK)
        e = tagged_addresses(s);
    if (e == ERR_OK)
        e = node_meta(s);
    if (e == ERR_OK)
        e = blocked(s);
    if (e == ERR_OK)
        e = write_from(s);
    if (e == ERR_OK)
        e = watches(s);
    if (e == ERR_OK)
        e = response_head(s);
    if (e == ERR_OK)
        e = definitions(s);
    return e;
}

/* What somebody may take for granted because Consul has it. */
static void log_not_served(const struct settings *o)
{
    if (o->https_port > 0 && !o->https)
        log_warn("server",
                 "HTTPS is not served: port=%d (it needs cert_file and "
                 "key_file)",
                 o->https_port);
}

/* --- Reload -------------------------------------------------------------- */

static struct {
    int argc;
    char **argv;
    struct setup *start, *applied;
} running; /* for a reload */

static void setup_free(struct setup *s)
{
    tls_server_unref(s->settings.https);
    tls_server_unref(s->settings.peers.tls);
    arena_fini(&s->arena);
    free(s);
}

/* The one that was applied last is what the next one is compared with. */
static void drop(struct settings *take)
{
    struct setup *s = container_of(take, struct setup, settings);

    for (size_t i = 0; i < s->settings.op_count; i++)
        agent_op_free(s->settings.ops[i]);
    s->settings.op_count = 0;
    if (s != running.applied)
        setup_free(s);
}

static void log_live(void *ctx, const struct config_change *ch)
{
    (void)ctx;
    if (ch->live)
        log_info("config", "changed: key=%s old=%s new=%s", ch->key, ch->was,
                 ch->is);
}

static void log_waiting(void *ctx, const struct config_change *ch)
{
    (void)ctx;
    if (!ch->live)
        log_warn("config", "changes at a restart: key=%s old=%s new=%s",
                 ch->key, ch->was, ch->is);
}

/* What a reload applies is told once; the rest each time, until the restart. */
static void changed(const struct settings *settings)
{
    struct setup *s =
        container_of((struct settings *)settings, struct setup, settings);

    if (agent_config_compare(&running.applied->config, &s->config, log_live,
                             NULL) != ERR_OK ||
        agent_config_compare(&running.start->config, &s->config, log_waiting,
                             NULL) != ERR_OK)
        log_error("config", "out of memory: not all changes are listed");
    log_set_level(s->config.log_level);
    /* What the signals' handler looks at. */
    running.start->settings.leave_on_terminate = settings->leave_on_terminate;
    running.start->settings.skip_leave_on_interrupt =
        settings->skip_leave_on_interrupt;
    if (running.applied != running.start)
        setup_free(running.applied);
    running.applied = s;
}

/* What the agent would refuse: said before anything is applied, as nothing of a
 * bad configuration is. allowed: as the process was started. */
static enum err refuse_scripts(struct setup *s, bool allowed)
{
    for (size_t i = 0; i < s->settings.op_count && !allowed; i++) {
        const struct agent_op *op = s->settings.ops[i];
        for (size_t k = 0; k < op->check_count; k++) {
            enum check_type type = check_def_type(&op->checks[k]);
            if (type != CHECK_SCRIPT && type != CHECK_DOCKER)
                continue;
            errtext_set(&s->text,
                        "check %s: Scripts are disabled on this agent; to "
                        "enable, configure 'enable_script_checks' or "
                        "'enable_local_script_checks' to true",
                        config_quote(op->checks[k].id).s);
            return ERR_BAD;
        }
    }
    return ERR_OK;
}

static enum err read_again(struct settings **ret, struct errtext *t)
{
    struct setup *s = xzalloc(sizeof *s);

    arena_init(&s->arena, 0);
    enum err e = setup_read(s, running.argc, running.argv);
    if (e == ERR_OK)
        e = make_settings(s);
    if (e == ERR_OK)
        e = refuse_scripts(s, running.start->settings.scripts_allowed_local);
    if (e == ERR_OK)
        e = setup_https(s);
    if (e != ERR_OK) {
        *t = s->text;
        drop(&s->settings);
        return e;
    }
    *ret = &s->settings;
    return ERR_OK;
}

/* --- Start --------------------------------------------------------------- */

static int fail(struct setup *s)
{
    fprintf(stderr, "==> %s\n", s->text.s);
    drop(&s->settings);
    return 1;
}

enum err setup_validate(const char *const *paths, size_t count,
                        const char *format, struct errtext *t)
{
    struct setup *s = xzalloc(sizeof *s);
    char **words = xmalloc((2 * count + 2) * sizeof *words);
    int n = 0;

    arena_init(&s->arena, 0);
    if (format) {
        words[n++] = arena_str(&s->arena, bytes_str("-config-format"));
        words[n++] = arena_str(&s->arena, bytes_str(format));
    }
    for (size_t i = 0; i < count; i++) {
        words[n++] = arena_str(&s->arena, bytes_str("-config-file"));
        words[n++] = arena_str(&s->arena, bytes_str(paths[i]));
    }
    enum err e = ERR_OK;
    for (int i = 0; i < n; i++)
        if (!words[i])
            e = ERR_NOMEM;
    if (e == ERR_OK)
        e = setup_read(s, n, words);
    if (e == ERR_OK)
        e = make_settings(s);
    *t = s->text;
    free(words);
    drop(&s->settings);
    return e;
}

int setup_and_run(int argc, char **argv)
{
    run_hold_hangup();
    struct setup *s = xzalloc(sizeof *s); /* lives as long as the process */
    arena_init(&s->arena, 0);
    enum err e = setup_read(s, argc, argv);
    if (s->flags.help) {
        cli_agent_help(stdout);
        arena_fini(&s->arena);
        free(s);
        return 0;
    }
    if (e != ERR_OK || make_settings(s) != ERR_OK ||
        refuse_scripts(s, s->settings.scripts_allowed_local) != ERR_OK ||
        setup_https(s) != ERR_OK)
        return fail(s);
    if (setup_log(s) != ERR_OK)
        return fail(s);
    log_set_level(s->config.log_level);
    printf("==> Starting muster agent...\n           Version: '%s'\n"
           "         Node name: '%s'\n        Datacenter: '%s'\n"
           "            Server: %s\n\n==> Log data will now stream in as it "
           "occurs:\n\n",
           MUSTER_VERSION, s->settings.node_name, s->settings.datacenter,
           s->settings.is_server ? "true" : "false");
    fflush(stdout);
    log_notices(s);
    log_not_served(&s->settings);
    setup_peers_notices(s);
    running.argc = argc;
    running.argv = argv;
    running.start = running.applied = s;
    s->settings.read = read_again;
    s->settings.drop = drop;
    s->settings.changed = changed;
    return run_agent(&s->settings);
}
