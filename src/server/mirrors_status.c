/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What people are told of mirrors: GET /v1/muster/datacenters, and metrics. */
#include "api/wan.h"
#include "http/json_out.h"
#include "server/mirrors.h"

static const char *word_of(const struct dc_status *s)
{
    return s->cut ? "cut" : !s->usable ? "coming" : s->part ? "part" : "whole";
}

static bool mirror_status_of(const struct process *p, struct bytes dc,
                             struct dc_status *ret)
{
    for (size_t i = 0; i < mirrors_count(p); i++) {
        mirrors_status(p, i, ret);
        if (bytes_eq(ret->datacenter, dc))
            return true;
    }
    return false;
}

static void number(struct json_out *j, const char *name, uint64_t v)
{
    json_key(j, name);
    json_u64(j, v);
}

static void text(struct json_out *j, const char *name, struct bytes v)
{
    json_key(j, name);
    json_str(j, v);
}

static void put_mirror(struct json_out *j, const struct dc_status *s)
{
    text(j, "Mirror", bytes_str(word_of(s)));
    json_key(j, "LinkUp");
    json_bool(j, s->link_up);
    if (s->usable) {
        number(j, "AgeMs", s->age_ms);
        number(j, "Index", s->revision);
    }
    number(j, "Instances", s->instances);
    number(j, "HeldBytes", s->bytes);
    number(j, "ReceivedBytes", s->received);
    number(j, "Reconnects", s->reconnects);
}

static void put_datacenter(struct json_out *j, const struct process *p,
                           const struct api_dc *dc)
{
    struct dc_status s;

    json_open(j, '{');
    text(j, "Datacenter", dc->name);
    json_key(j, "Own");
    json_bool(j, dc->own);
    json_key(j, "Alive");
    json_bool(j, dc->alive);
    if (dc->rtt_s >= 0) {
        json_key(j, "RttMs");
        json_double(j, (double)(uint64_t)(dc->rtt_s * 1e6) / 1e3);
    }
    if (!dc->own && mirror_status_of(p, dc->name, &s))
        put_mirror(j, &s);
    else if (!dc->own)
        text(j, "Mirror", bytes_str("none"));
    json_close(j, '}');
}

void mirrors_answer(const struct process *p, const struct api_wan *w,
                    struct bytes own, struct api_call *call)
{
    const struct api_dc alone = {
        .name = own, .own = true, .alive = true, .rtt_s = -1};
    struct json_out j = json_out(&call->body);

    call->status = 200;
    call->content_type = "application/json";
    json_open(&j, '[');
    for (size_t i = 0; w && i < w->dc_count; i++)
        put_datacenter(&j, p, &w->dcs[i]);
    if (!w)
        put_datacenter(&j, p, &alone);
    json_close(&j, ']');
}

/* --- Metrics --------------------------------------------------------------- */

enum metric_of { OF_LINK, OF_AGE, OF_BYTES, OF_RECEIVED, OF_RECONNECTS };

static void put_value(struct buf *out, enum metric_of of,
                      const struct dc_status *s)
{
    switch (of) {
    case OF_LINK:
        buf_u64(out, s->link_up);
        return;
    case OF_AGE:
        buf_printf(out, "%llu.%03u", (unsigned long long)(s->age_ms / 1000),
                   (unsigned)(s->age_ms % 1000));
        return;
    case OF_BYTES:
        buf_u64(out, s->bytes);
        return;
    case OF_RECEIVED:
        buf_u64(out, s->received);
        return;
    case OF_RECONNECTS:
        buf_u64(out, s->reconnects);
        return;
    }
}

void mirrors_metrics(const struct process *p, struct buf *out)
{
    static const struct {
        enum metric_of of;
        const char *name, *type, *help;
    } rows[] = {
        {OF_LINK, "muster_mirror_link_up", "gauge",
         "whether a server of the datacenter can be heard and asked"},
        {OF_AGE, "muster_mirror_age_seconds", "gauge",
         "since the mirror surely was what the datacenter had"},
        {OF_BYTES, "muster_mirror_bytes", "gauge",
         "memory of what is mirrored, without its catalog"},
        {OF_RECEIVED, "muster_mirror_received_bytes_total", "counter",
         "what streams from the datacenter brought"},
        {OF_RECONNECTS, "muster_mirror_reconnects_total", "counter",
         "streams that were lost"},
    };
    size_t n = mirrors_count(p);

    for (size_t k = 0; n && k < sizeof rows / sizeof *rows; k++) {
        buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", rows[k].name,
                   rows[k].help, rows[k].name, rows[k].type);
        for (size_t i = 0; i < n; i++) {
            struct dc_status s;
            mirrors_status(p, i, &s);
            if (rows[k].of == OF_AGE && !s.usable)
                continue;
            buf_printf(out, "%s{datacenter=\"%.*s\"} ", rows[k].name,
                       BYTES_ARG(s.datacenter));
            put_value(out, rows[k].of, &s);
            buf_putc(out, '\n');
        }
    }
}
