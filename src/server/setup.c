/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Interim: flags only, until src/config's agent configuration is wired. */
#include "server/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/logsink.h"
#include "server/run.h"

int setup_and_run(int argc, char **argv)
{
    static char host[256];
    gethostname(host, sizeof host - 1);
    struct settings s = {
        .node_name = host, .datacenter = "dc1", .domain = "consul.",
        .bind_addr = "127.0.0.1", .advertise_addr = "127.0.0.1",
        .http_addresses = {"127.0.0.1"}, .http_address_count = 1,
        .http_port = 8500, .https_port = -1, .dns_port = 8600,
        .grpc_port = -1, .serf_lan_port = 8301, .serf_wan_port = 8302,
        .server_port = 8300,
        .check_update_interval_ms = 300000, .output_max = 4096,
        .skip_leave_on_interrupt = true,
        .http_max_conns_per_client = 4000,
    };
    enum log_level level = LOG_INFO;
    struct { const char *name; int *i; const char **p; } flags[] = {
        {"http-port", &s.http_port, NULL}, {"dns-port", &s.dns_port, NULL},
        {"serf-lan-port", &s.serf_lan_port, NULL},
        {"serf-wan-port", &s.serf_wan_port, NULL},
        {"server-port", &s.server_port, NULL},
        {"node", NULL, &s.node_name}, {"data-dir", NULL, &s.data_dir},
        {"bind", NULL, &s.bind_addr}, {"datacenter", NULL, &s.datacenter},
    };
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        while (*a == '-') a++;
        if (!strcmp(a, "dev")) { s.is_dev = s.is_server = true; continue; }
        if (!strcmp(a, "server")) { s.is_server = true; continue; }
        if (!strcmp(a, "enable-script-checks")) { s.scripts_allowed = true; continue; }
        if (!strcmp(a, "log-level") && i + 1 < argc) {
            if (log_level_parse(argv[++i], &level)) return 1;
            continue;
        }
        for (size_t k = 0; k < sizeof flags / sizeof flags[0]; k++)
            if (!strcmp(a, flags[k].name) && i + 1 < argc) {
                i++;
                if (flags[k].i) *flags[k].i = atoi(argv[i]);
                else *flags[k].p = argv[i];
                break;
            }
    }
    struct errtext t = {{0}};
    if (logsink_start(NULL, false, &t)) return 1;
    log_set_level(level);
    return run_agent(&s);
}
