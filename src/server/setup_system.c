/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the settings open on this machine before anything runs. */
#include "server/logsink.h"
#include "server/setup_impl.h"

struct store_etcd setup_store(const struct agent_config *c)
{
    return (struct store_etcd){
        .ca_file = c->store_etcd.ca_file,
        .cert_file = c->store_etcd.cert_file,
        .key_file = c->store_etcd.key_file,
        .tls_server_name = c->store_etcd.server_name,
        .user = c->store_etcd.user,
        .password = c->store_etcd.password,
    };
}

struct tls_files setup_tls_files(const struct config_tls *c)
{
    return (struct tls_files){c->ca_file, c->ca_path, c->cert_file,
                              c->key_file};
}

enum err setup_https(struct setup *s)
{
    const struct config_tls *c = &s->config.https_tls;
    struct tls_server_options o = {
        .files = setup_tls_files(c),
        .verify_clients = c->verify_incoming,
        .min_minor = s->config.https_tls_minor,
        .cipher_suites = c->cipher_suites,
        .prefer_server_ciphers = c->prefer_server_ciphers,
    };
    if (s->config.ports.https < 0 || !c->cert_file)
        return ERR_OK;
    return tls_server_new(&o, &s->settings.https, &s->text);
}

enum err setup_log(struct setup *s)
{
    const struct agent_config *c = &s->config;
    const struct logsink_options o = {
        .json = c->log_json,
        .file = {.path = c->log_file,
                 .max_bytes = c->log_rotate_bytes > 0
                                  ? (uint64_t)c->log_rotate_bytes
                                  : 0,
                 .max_ms = c->log_rotate_ms,
                 .max_files = c->log_rotate_max_files},
        .syslog_path = c->enable_syslog ? "/dev/log" : NULL,
        .syslog_facility = c->syslog_facility_code,
    };
    return logsink_start(&o, &s->text);
}
