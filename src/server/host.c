/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "server/host.h"

#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

static void look_at_memory(struct api_host *h)
{
    char line[128];
    unsigned long long kb;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f)
        return;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemTotal: %llu", &kb) == 1)
            h->memory_total = kb * 1024;
        else if (sscanf(line, "MemFree: %llu", &kb) == 1)
            h->memory_free = kb * 1024;
        else if (sscanf(line, "MemAvailable: %llu", &kb) == 1)
            h->memory_available = kb * 1024;
    }
    fclose(f);
}

static void look_at_cpus(struct api_host *h)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    h->cpus = n > 0 ? (uint64_t)n : 0;
    if (!f)
        return;
    while (!h->cpu_model[0] && fgets(line, sizeof line, f))
        (void)sscanf(line, "model name : %63[^\n]", h->cpu_model);
    fclose(f);
}

static void look_at_disk(const char *path, struct api_host *h)
{
    struct statvfs v;
    snprintf(h->disk_path, sizeof h->disk_path, "%s", path);
    if (statvfs(path, &v) != 0)
        return;
    h->disk_total = (uint64_t)v.f_blocks * v.f_frsize;
    h->disk_free = (uint64_t)v.f_bavail * v.f_frsize;
}

void host_look(const char *path, struct api_host *ret)
{
    struct utsname u;
    struct sysinfo s;
    *ret = (struct api_host){0};
    look_at_memory(ret);
    look_at_cpus(ret);
    look_at_disk(path, ret);
    if (sysinfo(&s) == 0) {
        ret->uptime_s = (uint64_t)s.uptime;
        ret->processes = s.procs;
    }
    if (uname(&u) == 0) {
        snprintf(ret->hostname, sizeof ret->hostname, "%s", u.nodename);
        snprintf(ret->kernel, sizeof ret->kernel, "%s", u.release);
        snprintf(ret->machine, sizeof ret->machine, "%s", u.machine);
    }
}
