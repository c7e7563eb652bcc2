/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Every command and flag. A new command is a row here and a function. */
#include "cli/command.h"

#include "cli/impl.h"

/* clang-format off */
#define FORMAT {"format", CLI_CHOICE, "pretty|json", "pretty", "a table, or the agent's answer as JSON"}
#define FILTER {"filter", CLI_TEXT, "EXPRESSION", NULL, "only what this filter expression selects"}
#define NAMESPACE {"namespace", CLI_TEXT, "NAME", NULL, "there is only \"default\""}
#define NODE_META {"node-meta", CLI_PAIR, "KEY=VALUE", NULL, "only nodes with this metadata; may be repeated, then all must match", .repeats = true}
#define END {NULL}

const struct cli_flag cli_flags_agent[] = {
    {"http-addr", CLI_TEXT, "ADDRESS", "127.0.0.1:8500", "the agent: HOST:PORT, http://..., https://... or unix:///PATH"},
    {"token", CLI_TEXT, "TOKEN", NULL, "ACL token of the request"},
    {"token-file", CLI_TEXT, "PATH", NULL, "file that holds the token", .complete = CLI_FILE},
    {"ca-file", CLI_TEXT, "PATH", NULL, "certificates (PEM) that may have signed the agent's", .complete = CLI_FILE},
    {"ca-path", CLI_TEXT, "PATH", NULL, "folder of such certificates, prepared with c_rehash", .complete = CLI_FOLDER},
    {"client-cert", CLI_TEXT, "PATH", NULL, "certificate (PEM) to show to the agent", .complete = CLI_FILE},
    {"client-key", CLI_TEXT, "PATH", NULL, "its private key (PEM)", .complete = CLI_FILE},
    {"tls-server-name", CLI_TEXT, "NAME", NULL, "the name that the agent's certificate must have, if not the host's"},
    END,
};

const struct cli_flag cli_flags_datacenter[] = {
    {"datacenter", CLI_TEXT, "NAME", NULL, "ask about this datacenter, not the agent's own"},
    {"stale", CLI_BOOL, NULL, NULL, "any server may answer, not only the leader: faster, perhaps a moment old"},
    END,
};

const struct cli_variable cli_variables[] = {
    {"HTTP_ADDR", "http-addr", "the agent's address"},
    {"HTTP_TOKEN", "token", "the ACL token"},
    {"HTTP_TOKEN_FILE", "token-file", "file that holds the token"},
    {"HTTP_AUTH", NULL, "USER:PASSWORD for HTTP basic authentication"},
    {"HTTP_SSL", NULL, "true: https if the address has no scheme"},
    {"HTTP_SSL_VERIFY", NULL, "false: take any certificate (unsafe)"},
    {"CACERT", "ca-file", "file of certificates"},
    {"CAPATH", "ca-path", "folder of certificates"},
    {"CLIENT_CERT", "client-cert", "client certificate"},
    {"CLIENT_KEY", "client-key", "its private key"},
    {"TLS_SERVER_NAME", "tls-server-name", "name in the agent's certificate"},
    {NULL, NULL, NULL},
};

const struct cli_absent cli_absent[] = {
    {"acl", "there are no ACLs"},
    {"config", "there are no central configuration entries"},
    {"connect", "there is no service mesh"},
    {"exec", "muster runs nothing on other nodes; use ssh or your scheduler"},
    {"intention", "there is no service mesh"},
    {"keyring", "there is no gossip to encrypt"},
    {"kv", "there is no key-value store"},
    {"lock", "there is no key-value store to lock in"},
    {"login", "there are no ACLs"},
    {"logout", "there are no ACLs"},
    {"tls", "use openssl to make certificates"},
    {NULL, NULL},
};

/* --- Flags of single commands --------------------------------------------- */

static const struct cli_flag datacenters_flags[] = {
    {"detailed", CLI_BOOL, NULL, NULL, "and what the server keeps of each: whether it is heard, how old its mirror is, bytes"},
    FORMAT,
    END,
};

static const struct cli_flag catalog_nodes_flags[] = {
    {"detailed", CLI_BOOL, NULL, NULL, "whole IDs, tagged addresses and metadata, too"},
    FILTER,
    FORMAT,
    {"near", CLI_TEXT, "NODE", NULL, "sort by distance from this node; _agent: from the agent's own", .complete = CLI_NODE},
    NODE_META,
    {"service", CLI_TEXT, "NAME", NULL, "only nodes that provide this service", .complete = CLI_SERVICE},
    END,
};

static const struct cli_flag catalog_services_flags[] = {
    FORMAT,
    NAMESPACE,
    {"node", CLI_TEXT, "NODE", NULL, "only services on the node with this name or ID", .complete = CLI_NODE},
    NODE_META,
    {"tags", CLI_BOOL, NULL, NULL, "show each service's tags behind it, with commas"},
    END,
};

static const struct cli_flag format_flags[] = {FORMAT, END};

static const struct cli_flag debug_flags[] = {
    {"archive", CLI_BOOL, NULL, "true", "pack everything into one .tar.gz; false: leave a folder"},
    {"capture", CLI_CHOICE, "agent|cluster|host|logs|metrics|pprof", NULL, "record only this; may be repeated (default: all; pprof records nothing)", .repeats = true},
    {"duration", CLI_DURATION, "TIME", "2m", "how long to record"},
    {"interval", CLI_DURATION, "TIME", "30s", "time between two records of metrics"},
    {"output", CLI_TEXT, "PATH", NULL, "the archive's path without .tar.gz (default: muster-debug-SECONDS here)", .complete = CLI_FOLDER},
    END,
};

static const struct cli_flag event_flags[] = {
    {"name", CLI_TEXT, "NAME", NULL, "the event's name; must be given"},
    {"node", CLI_TEXT, "REGEXP", NULL, "only for nodes whose name matches"},
    {"service", CLI_TEXT, "REGEXP", NULL, "only for nodes with a service whose name matches"},
    {"tag", CLI_TEXT, "REGEXP", NULL, "and with a tag that matches; needs -service"},
    END,
};

static const struct cli_flag force_leave_flags[] = {
    {"prune", CLI_BOOL, NULL, NULL, "also forget the member: it is no longer listed"},
    {"wan", CLI_BOOL, NULL, NULL, "a server of another datacenter: NODE.DATACENTER"},
    END,
};

static const struct cli_flag stream_flags[] = {
    FILTER,
    {"format", CLI_CHOICE, "pretty|json", "pretty", "a line for people, or each event as a line of JSON"},
    {"passing", CLI_BOOL, NULL, NULL, "only instances in the answers of ?passing"},
    {"prefix", CLI_TEXT, "TEXT", NULL, "services whose names begin so; may be repeated", .repeats = true},
    {"tag", CLI_TEXT, "TAG", NULL, "only instances with this tag; may be repeated, then all must match", .repeats = true},
    END,
};

static const struct cli_flag watchers_flags[] = {
    FORMAT,
    {"local", CLI_BOOL, NULL, NULL, "only what the agent that is asked knows itself"},
    END,
};

static const struct cli_flag drain_flags[] = {
    {"deregister", CLI_BOOL, NULL, NULL, "then deregister it, if that is safe"},
    FORMAT,
    {"reason", CLI_TEXT, "TEXT", NULL, "why; shown to everybody"},
    {"trust-unproven", CLI_BOOL, NULL, NULL, "readers who do not tell what they have applied do not stand in the way"},
    {"wait", CLI_DURATION, "DURATION", "30s", "how long to wait for everybody"},
    END,
};

static const struct cli_flag explain_flags[] = {
    {"any", CLI_BOOL, NULL, NULL, "as for clients that take instances whose checks do not pass"},
    FORMAT,
    {"tag", CLI_TEXT, "TAG", NULL, "as for clients that ask for this tag; may be repeated", .repeats = true},
    END,
};

#define POLICIES "round-robin|random|smooth|edf|weighted-random|ketama|maglev|rendezvous|jump|least-request|p2c|peak-ewma|weighted-least-request"
#define BALANCE_BOUNDED {"bounded-load", CLI_NUMBER, "PERCENT", "0", "with a policy that hashes: nobody gets more of the mean load; 125 is usual, 0 no bound"}
#define BALANCE_CACHE {"cache-dir", CLI_TEXT, "PATH", NULL, "folder for the last good list, for a start without any server", .complete = CLI_FOLDER}
#define BALANCE_FAILOVER {"failover", CLI_TEXT, "DATACENTERS", NULL, "where to go when the own datacenter's healthy share falls: dc2,dc3 or nearest:2"}
#define BALANCE_FILTER {"filter", CLI_TEXT, "EXPRESSION", NULL, "only what this filter expression selects"}
#define BALANCE_POLICY {"policy", CLI_CHOICE, POLICIES, "p2c", "how to choose; docs/load-balancing.md compares them"}
#define BALANCE_SUBSET {"subset", CLI_NUMBER, "N", "0", "choose among so many instances only; 0: all"}
#define BALANCE_TAG {"tag", CLI_TEXT, "TAG", NULL, "only instances with this tag"}
#define BALANCE_ZONE {"zone", CLI_TEXT, "NAME", NULL, "where this program runs"}

static const struct cli_flag pick_flags[] = {
    BALANCE_BOUNDED, BALANCE_CACHE, BALANCE_FAILOVER, BALANCE_FILTER, FORMAT,
    {"key", CLI_TEXT, "KEY", NULL, "with a policy that hashes: what to hash; without it each pick has another key"},
    {"n", CLI_NUMBER, "N", "1", "so many picks; with more than one their spread is shown"},
    BALANCE_POLICY, BALANCE_SUBSET, BALANCE_TAG, BALANCE_ZONE,
    END,
};

static const struct cli_flag proxy_flags[] = {
    BALANCE_BOUNDED, BALANCE_CACHE, BALANCE_FAILOVER, BALANCE_FILTER,
    {"listen", CLI_TEXT, "ADDRESS", "127.0.0.1:0", "where to take connections: HOST:PORT, [IPV6]:PORT or PORT; port 0: a free one, which is printed"},
    BALANCE_POLICY, BALANCE_SUBSET, BALANCE_TAG, BALANCE_ZONE,
    END,
};

static const struct cli_flag guard_flags[] = {
    FORMAT,
    {"service", CLI_TEXT, "NAME", NULL, "only this service", .complete = CLI_SERVICE},
    END,
};

static const struct cli_flag guard_release_flags[] = {
    FORMAT,
    {"id", CLI_TEXT, "ID", NULL, "only the instance with this ID"},
    {"node", CLI_TEXT, "NODE", NULL, "only instances on this node", .complete = CLI_NODE},
    END,
};

static const struct cli_flag health_flags[] = {
    FILTER,
    FORMAT,
    {"passing", CLI_BOOL, NULL, NULL, "only instances whose checks all pass"},
    {"tag", CLI_TEXT, "TAG", NULL, "only instances with this tag; may be repeated, then all must match", .repeats = true},
    END,
};

static const struct cli_flag history_flags[] = {
    FORMAT,
    {"id", CLI_TEXT, "ID", NULL, "only of this instance"},
    {"limit", CLI_NUMBER, "NUMBER", "100", "the newest so many changes, 10000 at most"},
    {"node", CLI_TEXT, "NAME", NULL, "only of instances on this node", .complete = CLI_NODE},
    {"since", CLI_TEXT, "TIME", NULL, "from then on: a time (2026-11-26T03:12:00Z), how long ago (2h), or a revision"},
    END,
};

static const struct cli_flag help_flags[] = {
    {"completion", CLI_CHOICE, "bash|zsh|fish", NULL, "print the completion script of this shell"},
    {"man", CLI_TEXT, "FOLDER", NULL, "write the manual pages (roff) into this folder", .complete = CLI_FOLDER},
    END,
};

static const struct cli_flag join_flags[] = {
    {"wan", CLI_BOOL, NULL, NULL, "join a server of another datacenter"},
    END,
};

static const struct cli_flag maint_flags[] = {
    {"disable", CLI_BOOL, NULL, NULL, "back to normal"},
    {"enable", CLI_BOOL, NULL, NULL, "maintenance begins"},
    {"reason", CLI_TEXT, "TEXT", NULL, "why; shown to everybody; only with -enable"},
    {"service", CLI_TEXT, "ID", NULL, "the service instance with this ID, not the whole node", .complete = CLI_SERVICE},
    END,
};

static const struct cli_flag members_flags[] = {
    {"detailed", CLI_BOOL, NULL, NULL, "with all tags"},
    FORMAT,
    {"segment", CLI_TEXT, "NAME", NULL, "only members of this network segment"},
    {"status", CLI_TEXT, "REGEXP", NULL, "only members whose status matches (alive, leaving, left, failed)"},
    {"wan", CLI_BOOL, NULL, NULL, "the servers of all datacenters"},
    END,
};

static const struct cli_flag monitor_flags[] = {
    {"log-json", CLI_BOOL, NULL, NULL, "lines as JSON"},
    {"log-level", CLI_CHOICE, "trace|debug|info|warn|err|error", "info", "this level and worse ones, whatever the agent itself logs"},
    END,
};

static const struct cli_flag autopilot_set_flags[] = {
    {"cleanup-dead-servers", CLI_CHOICE, "true|false", NULL, "forget a dead server when a new one has come"},
    {"disable-upgrade-migration", CLI_CHOICE, "true|false", NULL, "kept, without effect"},
    {"last-contact-threshold", CLI_DURATION, "TIME", NULL, "without contact for so long a server is unhealthy"},
    {"max-trailing-logs", CLI_NUMBER, "N", NULL, "behind by more log entries a server is unhealthy"},
    {"min-quorum", CLI_NUMBER, "N", NULL, "servers to keep when dead ones are forgotten"},
    {"redundancy-zone-tag", CLI_TEXT, "KEY", NULL, "kept, without effect"},
    {"server-stabilization-time", CLI_DURATION, "TIME", NULL, "well for so long before a new server votes"},
    {"upgrade-version-tag", CLI_TEXT, "KEY", NULL, "kept, without effect"},
    END,
};

static const struct cli_flag raft_remove_flags[] = {
    {"address", CLI_TEXT, "IP:PORT", NULL, "the server with this address"},
    {"id", CLI_TEXT, "ID", NULL, "the server with this ID"},
    END,
};

static const struct cli_flag rtt_flags[] = {
    {"wan", CLI_BOOL, NULL, NULL, "between datacenters; names are then NODE.DATACENTER"},
    END,
};

static const struct cli_flag deregister_flags[] = {
    {"id", CLI_TEXT, "ID", NULL, "the instance with this ID, instead of files", .complete = CLI_SERVICE},
    NAMESPACE,
    END,
};

static const struct cli_flag register_flags[] = {
    {"address", CLI_TEXT, "ADDRESS", NULL, "where it can be reached (default: the node's address)"},
    {"id", CLI_TEXT, "ID", NULL, "the instance's ID, unique on this agent (default: the name)"},
    {"kind", CLI_TEXT, "KIND", NULL, "kept as it is, as connect-proxy"},
    {"meta", CLI_PAIR, "KEY=VALUE", NULL, "metadata; may be repeated", .repeats = true},
    {"name", CLI_TEXT, "NAME", NULL, "the service's name, instead of files", .complete = CLI_SERVICE},
    NAMESPACE,
    {"port", CLI_NUMBER, "N", NULL, "its port, 0 to 65535"},
    {"tag", CLI_TEXT, "TAG", NULL, "a tag; may be repeated", .repeats = true},
    {"tagged-address", CLI_PAIR, "NAME=ADDRESS[:PORT]", NULL, "another address by name, as wan=203.0.113.7:80; may be repeated", .repeats = true},
    END,
};

static const struct cli_flag validate_flags[] = {
    {"config-format", CLI_CHOICE, "hcl|json", NULL, "what all files are, whatever their names"},
    {"quiet", CLI_BOOL, NULL, NULL, "say nothing if all is well"},
    END,
};

static const struct cli_flag watch_flags[] = {
    {"key", CLI_TEXT, "KEY", NULL, "type key: which"},
    {"name", CLI_TEXT, "NAME", NULL, "type event: only events of this name"},
    {"passingonly", CLI_CHOICE, "true|false", "false", "type service: only instances whose checks all pass"},
    {"prefix", CLI_TEXT, "PREFIX", NULL, "type keyprefix: which"},
    {"service", CLI_TEXT, "NAME", NULL, "type service: which (must be given); type checks: only of this service", .complete = CLI_SERVICE},
    {"shell", CLI_BOOL, NULL, "true", "run the handler through $SHELL -c (else /bin/sh); false: as a program with arguments"},
    {"state", CLI_CHOICE, "any|passing|warning|critical", NULL, "type checks: only those in this state (default any)"},
    {"tag", CLI_TEXT, "TAG", NULL, "type service: only with this tag; may be repeated, then all must match", .repeats = true},
    {"type", CLI_CHOICE, "services|nodes|service|checks|event|key|keyprefix", NULL, "what to watch; must be given"},
    END,
};

/* --- The commands --------------------------------------------------------- */

const struct cli_command cli_commands[] = {
    {.name = "agent", .summary = "Run an agent or a server", .of_agent = true,
     .text = "Runs until it is told to stop. With -server it is the registry: it keeps the catalog in -data-dir and answers on the HTTP port. "
             "-dev is a server that needs no set-up and keeps nothing.\n"
             "Settings come from the files given, in their order, then from flags, then from -hcl; later ones win, lists are appended. "
             "SIGHUP or \"muster reload\" reads the files again; SIGINT and SIGTERM stop it.",
     .exits = "1 after SIGINT or SIGTERM on a server (it will come back), 0 after \"muster leave\", 1 if it cannot start.",
     .examples = {{"A registry to try things with", "agent -dev"},
                  {"One server that keeps its state", "agent -server -bootstrap-expect 1 -data-dir /var/lib/muster"},
                  {"Settings and services from a folder", "agent -server -data-dir /var/lib/muster -config-dir /etc/muster"}}},

    {.name = "catalog", .summary = "List what the catalog holds",
     .text = "The catalog knows every node and service of the datacenter, whoever registered it. See \"muster services\" for what the local agent registers, "
             "and \"muster health\" for who is well.",
     .examples = {{"All services with their tags", "catalog services -tags"},
                  {"All nodes", "catalog nodes"}}},
    {.name = "catalog datacenters", .summary = "List the known datacenters", .api = CLI_DATACENTER, .flags = datacenters_flags,
     .text = "One name per line, the agent's own first, then from near to far.",
     .examples = {{"All of them", "catalog datacenters"},
                  {"Which can be reached, and what is known of the others", "catalog datacenters -detailed"}}, .run = cli_catalog_datacenters},
    {.name = "catalog nodes", .summary = "List the nodes of a datacenter", .api = CLI_DATACENTER, .flags = catalog_nodes_flags,
     .text = "Name, short ID, address and datacenter of each node. Nothing that fits is no error: a line on standard error says so.",
     .examples = {{"All nodes", "catalog nodes"},
                  {"Who provides web", "catalog nodes -service=web"},
                  {"Nodes in a rack, with all that is known of them", "catalog nodes -node-meta rack=r1 -detailed"}}, .run = cli_catalog_nodes},
    {.name = "catalog services", .summary = "List the services of a datacenter", .api = CLI_DATACENTER, .flags = catalog_services_flags,
     .text = "The names of all services, one per line, sorted. Nothing that fits is no error: a line on standard error says so.",
     .examples = {{"All services with their tags", "catalog services -tags"},
                  {"What one node provides", "catalog services -node=web-1"},
                  {"For a script", "catalog services -format=json"}}, .run = cli_catalog_services},

    {.name = "debug", .summary = "Record what is needed to find a fault", .api = CLI_AGENT, .flags = debug_flags,
     .text = "Asks the agent for itself (agent.json), the machine (host.json) and the members (cluster.json), then for -duration records its metrics every "
             "-interval and its log lines at level debug, and packs it all into one .tar.gz. SIGINT ends the recording early; the archive is kept.\n"
             "Tokens in settings are hidden by the agent; still look through the archive before you pass it on.",
     .examples = {{"Two minutes, into muster-debug-SECONDS.tar.gz", "debug"},
                  {"Ten seconds of log lines", "debug -duration=10s -capture=logs -output=/tmp/slow"}}, .run = cli_debug},

    {.name = "drain", .summary = "Take an instance out of the answers until all have let go", .arguments = "ID", .args_min = 1, .args_max = 1, .api = CLI_AGENT, .flags = drain_flags,
     .text = "The instance gets a critical check, which lasts until \"muster undrain\" or until it is deregistered. Then all servers of the cluster look who watches the service: "
             "\"safe\" if each of them has said that it has applied the change, \"waiting\" with the names of those that have not, \"unknown\" if not all are known "
             "(a server does not answer, or was started a short while ago, or somebody reads without telling what he has applied). Open connections are yours to end: nobody new will come.",
     .exits = "2 if some have not let go, 3 if it is not known.",
     .examples = {{"Before an update", "drain -wait=1m web-1"},
                  {"For good", "drain -deregister web-1"}}, .run = cli_drain},

    {.name = "event", .summary = "Fire a user event", .arguments = "[PAYLOAD]", .args_max = 1, .api = CLI_DATACENTER, .flags = event_flags,
     .text = "Tells every agent of the datacenter, or those that the flags select, that something has happened. Agents keep the last 256 events; "
             "\"muster watch -type=event\" runs a program on them. Delivery is not guaranteed: use it to hurry things up, not to remember them.",
     .examples = {{"Fire one", "event -name=deploy v1.2.3"},
                  {"Only where web runs", "event -name=reload -service='^web$'"}}, .run = cli_event},

    {.name = "explain", .summary = "Tell why instances of a service are in the answers, or are not", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = explain_flags,
     .text = "One line for each instance: whether clients that ask for healthy instances get it, and if not, the rule that leaves it out: a check that does not pass and what it says, "
             "maintenance and its reason, damping and until when, a tag that it has not. One that is held by the guard is in, although its check does not pass. Instances that are "
             "gone follow, as long as history is kept: since when, and by whom.",
     .examples = {{"Where are my instances", "explain web"},
                  {"Who lacks the tag", "explain -tag v2 web"}}, .run = cli_explain},

    {.name = "force-leave", .summary = "Declare a failed member gone", .arguments = "NODE", .args_min = 1, .args_max = 1, .complete = CLI_NODE, .api = CLI_AGENT, .flags = force_leave_flags,
     .text = "A member that failed and will not come back is put into the state \"left\", so that nobody waits for it. If it is alive it comes back by itself.",
     .examples = {{"A machine was taken away", "force-leave -prune web-7"}}, .run = cli_force_leave},

    {.name = "ghosts", .summary = "List what is registered without a living owner", .api = CLI_DATACENTER, .flags = format_flags,
     .text = "Services on nodes that no agent calls its own, or whose agent is not heard any more: what was registered from outside and may have been forgotten. With the time to live "
             "that it carries (Meta muster-ttl), if any, and when a registration last confirmed it since the server was started. Who registered it: \"muster history SERVICE\".",
     .examples = {{"What nobody looks after", "ghosts"}}, .run = cli_ghosts},

    {.name = "guard", .summary = "Show which silent instances are held in the answers", .api = CLI_DATACENTER, .flags = guard_flags,
     .text = "When many instances of one service fall silent at once, only a share of them leaves the answers; the others are held until they are heard of again, or there is evidence. "
             "One line for each that is held: since when, and what its check says. Instances that flap and are damped follow.",
     .examples = {{"Who is held", "guard"}, {"Of one service, for a script", "guard -service=web -format=json"}}, .run = cli_guard},

    {.name = "guard release", .summary = "Let held instances leave the answers", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = guard_release_flags,
     .text = "Your word that these instances are dead: they leave the answers at once, all of them, the last one too. Those that come back are in the answers again.",
     .examples = {{"The rack has burnt down", "guard release web"}, {"Only one of them", "guard release -node=web-7 web"}}, .run = cli_guard_release},

    {.name = "health", .summary = "Show the instances of a service and their checks", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = health_flags,
     .text = "One line for each instance: the worst status of its checks, where it is, and what the checks say that do not pass.",
     .examples = {{"Who provides web, and is it well", "health web"},
                  {"What a client would be given, for a script", "health -passing -format=json web"}}, .run = cli_health},

    {.name = "help", .summary = "Explain a command; write man pages and completions", .arguments = "[COMMAND...]", .args_max = 4, .complete = CLI_COMMAND, .flags = help_flags,
     .text = "Without arguments lists all commands. The manual pages and the completion scripts of shells are made from what --help shows.",
     .examples = {{"How to list services", "help catalog services"},
                  {"Read one as a manual page, not installed", "help -man=/tmp/man"},
                  {"Completion in this bash, not installed", "help -completion=bash"}}, .run = cli_help_command},

    {.name = "history", .summary = "Show what happened to a service", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = history_flags,
     .text = "One line for each change, oldest first: registrations and what they changed, deregistrations, checks that came, went or changed their status, "
             "changes of the node; when, and by which request of whom. History is kept for 72 hours, or 1 GiB of changes; the last line says from when on it is complete.",
     .examples = {{"What happened to web", "history web"},
                  {"What happened last night", "history -since 2026-11-26T03:00:00Z web"},
                  {"To one instance, in the last hour", "history -since 1h -id web-1 web"}}, .run = cli_history},

    {.name = "info", .summary = "Show what the agent says of itself", .api = CLI_AGENT, .flags = format_flags,
     .text = "Figures in groups: version, services and checks, the store, the process.",
     .examples = {{"All figures", "info"}, {"Another agent's", "info -http-addr=10.0.0.5:8500"}}, .run = cli_info},

    {.name = "join", .summary = "Make the agent join a cluster", .arguments = "ADDRESS...", .args_min = 1, .args_max = CLI_ARGS_MAX, .api = CLI_AGENT, .flags = join_flags,
     .text = "One address of a member is enough; more are tried in turn.",
     .exits = "0 if at least one could be joined.",
     .examples = {{"Join through a server", "join 10.0.0.5"}}, .run = cli_join},

    {.name = "keygen", .summary = "Make the key that servers and agents share",
     .text = "Prints 32 random bytes in base64, as the setting \"encrypt\" takes them. Servers and agents that share one prove it to each other and encrypt all they say (TLS 1.3); the key itself is never sent.",
     .examples = {{"One key", "keygen"}}, .args_max = CLI_ARGS_MAX, .run = cli_keygen},

    {.name = "lag", .summary = "Show how fast subscribers apply changes", .arguments = "[SERVICE]", .args_max = 1, .complete = CLI_SERVICE, .api = CLI_AGENT, .flags = watchers_flags,
     .text = "For each service: changes that subscribers said they had applied, and the time from when each could be seen to that; then the slowest subscribers. "
             "Percentiles are bounds: so many were no later. Of one service also how many took how long. All servers are asked, and added up.",
     .examples = {{"All services", "lag"}, {"How it spreads for web", "lag web"}}, .run = cli_lag},

    {.name = "leave", .summary = "Make the agent leave and stop", .api = CLI_AGENT,
     .text = "The agent takes its node and services out of the catalog, then ends with exit code 0. To come back soon, stop it with SIGTERM instead: "
             "a server then keeps what is registered.",
     .examples = {{"Before a machine is taken away", "leave"}}, .run = cli_leave},

    {.name = "maint", .summary = "Show, begin or end maintenance", .api = CLI_AGENT, .flags = maint_flags,
     .text = "In maintenance a node or one of its services is critical for everybody who asks for who is well: nobody new comes, nothing is deregistered. "
             "It lasts over restarts of the agent until it is ended. Without -enable or -disable it shows what is in maintenance on this agent.",
     .examples = {{"What is in maintenance here", "maint"},
                  {"Take this node out", "maint -enable -reason 'new disk, back at 15:00'"},
                  {"One service back in", "maint -disable -service web-1"}}, .run = cli_maint},

    {.name = "members", .summary = "List the members of the cluster", .api = CLI_AGENT, .flags = members_flags, .args_max = CLI_ARGS_MAX,
     .text = "Every member that the agent knows, by name, with its address, status, type, version and datacenter.",
     .exits = "2 if no member fits.",
     .examples = {{"All", "members"}, {"Who failed", "members -status=failed"}}, .run = cli_members},

    {.name = "monitor", .summary = "Show the agent's log as it comes", .api = CLI_AGENT, .flags = monitor_flags,
     .text = "Lines appear until SIGINT, or until the agent ends, which is exit code 1.",
     .examples = {{"With debug lines, which the agent itself may not log", "monitor -log-level=debug"}}, .run = cli_monitor},

    {.name = "operator", .summary = "Look at and mend the group of servers",
     .text = "Tools for who runs the servers.",
     .examples = {{"Who are the servers", "operator raft list-peers"}}},
    {.name = "operator autopilot", .summary = "Show and change how servers are looked after",
     .text = "Settings that all servers share.",
     .examples = {{"Show them", "operator autopilot get-config"}}},
    {.name = "operator autopilot get-config", .summary = "Show the settings", .api = CLI_DATACENTER, .flags = format_flags,
     .text = "One setting per line: NAME = VALUE.",
     .examples = {{"Show them", "operator autopilot get-config"}}, .run = cli_autopilot_get},
    {.name = "operator autopilot set-config", .summary = "Change settings", .api = CLI_DATACENTER, .flags = autopilot_set_flags,
     .text = "What is not named stays. The change is refused if somebody else changed the settings meanwhile: then run it again.",
     .examples = {{"Keep dead servers", "operator autopilot set-config -cleanup-dead-servers=false"}}, .run = cli_autopilot_set},
    {.name = "operator raft", .summary = "Show and change who the servers are",
     .text = "The servers that decide together.",
     .examples = {{"Who they are", "operator raft list-peers"}}},
    {.name = "operator raft list-peers", .summary = "List the servers", .api = CLI_DATACENTER, .flags = format_flags,
     .text = "Name, ID, address, role and vote of each.",
     .examples = {{"Who leads", "operator raft list-peers"}, {"With no leader", "operator raft list-peers -stale"}}, .run = cli_raft_list},
    {.name = "operator raft remove-peer", .summary = "Remove a server that is gone", .api = CLI_DATACENTER, .flags = raft_remove_flags,
     .text = "For a server that will not come back. Refused if those who are left and there were no majority any more.",
     .examples = {{"By address", "operator raft remove-peer -address=10.0.0.7:8300"}}, .run = cli_raft_remove},

    {.name = "pick", .summary = "Choose an instance, and show how load would spread", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = pick_flags,
     .text = "What a program that uses libmuster would be given: one line with an address, or with -n how many of so many picks each instance gets. Every pick is reported as answered at once.",
     .examples = {{"An address for a script", "pick web"},
                  {"How weights spread", "pick -policy=smooth -n=600 web"},
                  {"Where a key goes", "pick -policy=maglev -key=user/42 web"},
                  {"With the two nearest datacenters behind", "pick -failover=nearest:2 -n=100 web"}}, .run = cli_pick},

    {.name = "proxy", .summary = "Forward TCP connections to instances of a service", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_DATACENTER, .flags = proxy_flags,
     .text = "For programs in any language: each connection goes to an instance that the policy chooses; one that cannot be reached costs an attempt of three, and is left out until it can. Policies that hash "
             "take the client's address as the key. The list stays in use while no server answers. The first SIGTERM or SIGINT lets connections end, for 30 s; the second does not.",
     .examples = {{"web at a port of this host", "proxy -listen=127.0.0.1:8080 web"},
                  {"The same client to the same instance", "proxy -listen=8080 -policy=maglev web"}}, .run = cli_proxy},

    {.name = "reload", .summary = "Make the agent read its configuration again", .api = CLI_AGENT, .args_max = CLI_ARGS_MAX,
     .text = "The same as SIGHUP, and it tells whether it worked: with an error in a file nothing changes.",
     .examples = {{"After an edit", "reload"}}, .run = cli_reload},

    {.name = "rtt", .summary = "Estimate the round trip time between two nodes", .arguments = "NODE [NODE]", .args_min = 1, .args_max = 2, .complete = CLI_NODE, .api = CLI_AGENT, .flags = rtt_flags,
     .text = "From network coordinates, without sending anything between them. Without the second node: from the agent's own.",
     .examples = {{"From here to db-1", "rtt db-1"}, {"Between datacenters", "rtt -wan server-a.dc1 server-b.dc2"}}, .run = cli_rtt},

    {.name = "services", .summary = "Register and deregister services with the agent",
     .text = "Services registered here belong to the local agent: it keeps them over restarts, runs their checks and mends the catalog. "
             "See \"muster catalog\" for what everybody has registered.",
     .examples = {{"From a file", "services register web.json"}, {"Take it out", "services deregister web.json"}}},
    {.name = "services deregister", .summary = "Deregister services", .arguments = "[FILE...]", .args_max = CLI_ARGS_MAX, .complete = CLI_FILE, .api = CLI_DATACENTER, .flags = deregister_flags,
     .text = "By files as they were registered (their \"id\", else their \"name\" counts), or by -id. It must be the agent where they were registered.",
     .examples = {{"As registered", "services deregister web.json db.json"}, {"One instance", "services deregister -id=web-1"}}, .run = cli_services_deregister},
    {.name = "services register", .summary = "Register services", .arguments = "[FILE...]", .args_max = CLI_ARGS_MAX, .complete = CLI_FILE, .api = CLI_DATACENTER, .flags = register_flags,
     .text = "From definition files in JSON or HCL, as the agent's -config-dir takes them, or one from flags. The agent keeps them until they are deregistered.\n"
             "A file holds {\"service\": {...}}, {\"services\": [...]}, or both.",
     .examples = {{"From files", "services register web.json db.hcl"},
                  {"From flags", "services register -name=web -port=8080 -tag=v1 -meta=team=shop"}}, .run = cli_services_register},

    {.name = "snapshot", .summary = "Save, restore and inspect the whole catalog",
     .text = "Everything in the catalog as one file, in the layout of Consul's snapshots. It moves a catalog from one server to an etcd cluster and back.",
     .examples = {{"Save one", "snapshot save backup.snap"}}},
    {.name = "snapshot inspect", .summary = "Check a file and tell what it is", .arguments = "FILE", .args_min = 1, .args_max = 1, .complete = CLI_FILE,
     .text = "Asks no agent. A file that is damaged in any way is refused.",
     .examples = {{"Is it whole?", "snapshot inspect backup.snap"}}, .run = cli_snapshot_inspect},
    {.name = "snapshot restore", .summary = "Replace the catalog by what is in a file", .arguments = "FILE", .args_min = 1, .args_max = 1, .complete = CLI_FILE, .api = CLI_AGENT,
     .text = "All or nothing: a damaged file changes nothing. What is in the catalog now is gone, but for what agents register again by themselves. Indexes go on above all that were ever sent: watchers are told, and none spins.",
     .examples = {{"Go back to it", "snapshot restore backup.snap"}}, .run = cli_snapshot_restore},
    {.name = "snapshot save", .summary = "Save the catalog to a file", .arguments = "FILE", .args_min = 1, .args_max = 1, .complete = CLI_FILE, .api = CLI_DATACENTER,
     .text = "As of one moment, while everything goes on. The file is written only once it has been checked. With -stale it is what the server that answers has in memory: without a leader too, when it may be old.",
     .examples = {{"Every night", "snapshot save /var/backups/muster.snap"}, {"With no leader", "snapshot save -stale rest.snap"}}, .run = cli_snapshot_save},

    {.name = "stream", .summary = "Print changes of services as they happen", .arguments = "[SERVICE...]", .args_max = 128, .complete = CLI_SERVICE, .api = CLI_AGENT, .flags = stream_flags,
     .text = "First the instances that there are, then each that comes, changes or leaves, with the reason, until SIGINT. Without services and -prefix: of all services.\n"
             "A connection that breaks is opened again and goes on where it was. The command is a subscriber like any other (see \"muster watchers\"): what it has printed, it has applied, and at its end it says that nobody reads any more.",
     .examples = {{"What happens to web", "stream web"}, {"Everything, for a program", "stream -format=json"}}, .run = cli_stream_command},

    {.name = "undrain", .summary = "Put a drained service instance back into the answers", .arguments = "ID", .args_min = 1, .args_max = 1, .api = CLI_AGENT,
     .text = "Ends what \"muster drain\" began. The instance is found again as far as its other checks allow.",
     .examples = {{"After the update", "undrain web-1"}}, .run = cli_undrain},

    {.name = "validate", .summary = "Check configuration files", .arguments = "FILE-OR-FOLDER...", .args_max = CLI_ARGS_MAX, .complete = CLI_FILE, .flags = validate_flags,
     .text = "Reads them as an agent would that is given all of them, in this order, and tells the first error with file, line and column. "
             "Services, checks and watches are read, too. Nothing is started.",
     .examples = {{"Before a restart", "validate /etc/muster"}, {"In a script", "validate -quiet /etc/muster && muster reload"}}, .run = cli_validate},

    {.name = "version", .summary = "Show the version", .flags = format_flags, .args_max = CLI_ARGS_MAX,
     .text = "The version of muster, and the release of Consul whose API it speaks: that one is \"Version\" in JSON, for programs that ask a Consul.",
     .examples = {{"For a script", "version -format=json"}}, .run = cli_version},

    {.name = "watch", .summary = "Wait for changes; print them or run a program", .arguments = "[PROGRAM [ARGUMENT...]]", .args_max = CLI_ARGS_MAX, .rest = true, .complete = CLI_PROGRAM, .api = CLI_DATACENTER, .flags = watch_flags,
     .text = "Without a program prints the present state as JSON and ends. With one, runs it with that JSON on standard input and CONSUL_INDEX in its environment, "
             "now and after each change, until SIGINT or until the program fails. Errors of the agent are told and tried again.",
     .exits = "1 if the program fails.",
     .examples = {{"Who provides web now", "watch -type=service -service=web"},
                  {"Make a configuration new at each change", "watch -type=service -service=web -passingonly=true ./render.sh"},
                  {"On each deploy event", "watch -type=event -name=deploy 'jq -r .[].Payload'"}}, .run = cli_watch},

    {.name = "watchers", .summary = "List who watches a service", .arguments = "SERVICE", .args_min = 1, .args_max = 1, .complete = CLI_SERVICE, .api = CLI_AGENT, .flags = watchers_flags,
     .text = "Event streams, and long polls that carry the id they were given: their label and zone, where they come from, the index up to which they said they have applied changes, "
             "and how long the slowest took. Those behind an agent are named if they are late. Then the readers of whom nothing is proven. All servers are asked; one that does not answer is named.",
     .examples = {{"Who watches web", "watchers web"}}, .run = cli_watchers},
};
/* clang-format on */

const size_t cli_command_count = sizeof cli_commands / sizeof cli_commands[0];
