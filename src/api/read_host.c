/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* /v1/agent/host: the machine, as the server has found it (struct api_host). */
#include "api/impl.h"

static void number(struct json_out *j, const char *key, uint64_t v)
{
    json_key(j, key);
    json_u64(j, v);
}

static void text(struct json_out *j, const char *key, const char *v)
{
    json_key(j, key);
    json_str(j, bytes_str(v));
}

static void share(struct json_out *j, uint64_t used, uint64_t total)
{
    json_key(j, "usedPercent");
    json_double(j, total ? 100.0 * (double)used / (double)total : 0);
}

static void put_cpus(struct json_out *j, const struct api_host *h)
{
    json_open(j, '[');
    for (uint64_t i = 0; i < h->cpus && i < API_CPUS_SHOWN; i++) {
        json_open(j, '{');
        number(j, "cpu", i);
        text(j, "modelName", h->cpu_model);
        json_close(j, '}');
    }
    json_close(j, ']');
}

enum api_next prepare_host(struct api_call *c, const struct api_env *env)
{
    (void)env;
    c->want_host = true;
    return API_READ;
}

void read_agent_host(struct api_call *c, const struct api_env *env)
{
    static const struct api_host unknown;
    const struct api_host *h = env->host ? env->host : &unknown;
    struct json_out j = json_out(&c->body);
    uint64_t used = h->memory_total - h->memory_available;
    json_open(&j, '{');
    json_key(&j, "Memory");
    json_open(&j, '{');
    number(&j, "total", h->memory_total);
    number(&j, "available", h->memory_available);
    number(&j, "used", used);
    share(&j, used, h->memory_total);
    number(&j, "free", h->memory_free);
    json_close(&j, '}');
    json_key(&j, "CPU");
    put_cpus(&j, h);
    json_key(&j, "Host");
    json_open(&j, '{');
    text(&j, "hostname", h->hostname);
    number(&j, "uptime", h->uptime_s);
    number(&j, "bootTime", env->wall_ms / 1000 - h->uptime_s);
    number(&j, "procs", h->processes);
    text(&j, "os", "linux");
    text(&j, "kernelVersion", h->kernel);
    text(&j, "kernelArch", h->machine);
    json_close(&j, '}');
    json_key(&j, "Disk");
    json_open(&j, '{');
    text(&j, "path", h->disk_path);
    number(&j, "total", h->disk_total);
    number(&j, "free", h->disk_free);
    number(&j, "used", h->disk_total - h->disk_free);
    share(&j, h->disk_total - h->disk_free, h->disk_total);
    json_close(&j, '}');
    number(&j, "CollectionTime", env->wall_ms * 1000000);
    json_key(&j, "Errors");
    json_nil(&j);
    json_close(&j, '}');
}
