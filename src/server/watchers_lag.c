/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* How long changes take to be applied: /v1/muster/lag and metrics. */
#include <stdlib.h>

#include "http/json_out.h"
#include "server/subscribers.h"
#include "server/watchers.h"

/* --- The route ----------------------------------------------------------- */

static void put_lag(void *ctx, const struct lag_row *r)
{
    struct json_out *j = ctx;
    json_open(j, '{');
    json_key(j, "Service");
    json_str(j, bytes_str(r->service));
    json_key(j, "Count");
    json_u64(j, r->n);
    json_key(j, "SumMs");
    json_u64(j, r->sum_ms);
    json_key(j, "MeanMs");
    json_double(j, r->n ? (double)r->sum_ms / (double)r->n : 0);
    json_key(j, "MaxMs");
    json_u64(j, r->max_ms);
    json_key(j, "Buckets");
    json_open(j, '[');
    for (size_t i = 0; i < LAG_BUCKETS; i++)
        json_u64(j, r->buckets[i]);
    json_close(j, ']');
    json_close(j, '}');
}

struct lag_texts {
    struct bytes only; /* this service; empty: all */
    struct bytes server;
    struct lags *sum;
    struct json_out *j;
};

static void lag_row(void *ctx, const struct lag_row *r)
{
    struct lag_texts *t = ctx;
    if (!t->only.n || bytes_eq_fold(t->only, bytes_str(r->service)))
        put_lag(t->j, r);
}

void lag_put_services(struct json_out *j, const struct lags *sum,
                      struct bytes only)
{
    struct lag_texts t = {.only = only, .j = j};
    json_key(j, "BucketsUpToMs");
    json_open(j, '[');
    for (size_t i = 0; i + 1 < LAG_BUCKETS; i++)
        json_u64(j, (uint64_t)1 << i);
    json_close(j, ']');
    json_key(j, "Services");
    json_open(j, '[');
    lags_each(sum, lag_row, &t);
    json_close(j, ']');
}

static void lag_add(void *ctx, const struct lag_row *r)
{
    struct lag_texts *t = ctx;
    lags_add(t->sum, r);
}

static void lag_worst(void *ctx, const struct watcher *w)
{
    struct lag_texts *t = ctx;
    watchers_put(t->j, t->server, w);
}

void lag_take(struct process *p, struct lags *sum, struct json_out *worst)
{
    struct lag_texts t = {.server = p->self.node_name, .sum = sum, .j = worst};
    subscribers_lag(p->subscribers, lag_add, lag_worst, &t);
}

/* Only those with the most changes stay. */
static void lag_top(struct lags *sum);

void lag_answer(struct process *p, struct api_call *call)
{
    struct json_out j = watchers_begin(call);
    struct buf rows = {0};
    struct json_out worst = json_out(&rows);
    struct lags sum = {0};
    lag_take(p, &sum, &worst);
    if (http_param(call->request, "top"))
        lag_top(&sum);
    json_key(&j, "Server");
    json_str(&j, p->self.node_name);
    lag_put_services(&j, &sum, http_param_value(call->request, "service"));
    json_key(&j, "Worst");
    json_open(&j, '[');
    if (rows.n)
        json_raw(&j, buf_bytes(&rows));
    json_close(&j, ']');
    call->body.bad |= rows.bad;
    buf_fini(&rows);
    lags_fini(&sum);
    watchers_end(call, &j);
}

/* --- Metrics ------------------------------------------------------------- */

struct lag_rows {
    struct lag_row v[LAGS_TOLD_MAX + 1]; /* the last: all others */
    size_t n;
    char *names; /* of v: lag_row's live under the mutex only */
};

enum { NAME_BYTES = 256 };

static void row_add(struct lag_row *to, const struct lag_row *r)
{
    to->n += r->n;
    to->sum_ms += r->sum_ms;
    for (size_t i = 0; i < LAG_BUCKETS; i++)
        to->buckets[i] += r->buckets[i];
}

/* Whoever has fewer changes than all that are kept goes to the others. */
static void keep_row(void *ctx, const struct lag_row *r)
{
    struct lag_rows *rows = ctx;
    size_t at = rows->n, least = 0;
    for (size_t i = 1; at == LAGS_TOLD_MAX && i < LAGS_TOLD_MAX; i++)
        if (rows->v[i].n < rows->v[least].n)
            least = i;
    if (at == LAGS_TOLD_MAX) {
        bool more = r->n > rows->v[least].n;
        row_add(&rows->v[LAGS_TOLD_MAX], more ? &rows->v[least] : r);
        if (!more)
            return;
        at = least;
    } else {
        rows->n++;
    }
    char *name = rows->names + at * NAME_BYTES;
    snprintf(name, NAME_BYTES, "%s", r->service);
    rows->v[at] = *r;
    rows->v[at].service = name;
}

static void lag_top(struct lags *sum)
{
    struct lag_rows *rows = calloc(1, sizeof *rows);
    char *names = calloc(LAGS_TOLD_MAX, NAME_BYTES);
    if (rows && names) {
        rows->names = names;
        lags_each(sum, keep_row, rows);
        lags_fini(sum);
        *sum = (struct lags){0};
        for (size_t i = 0; i < rows->n; i++)
            lags_add(sum, &rows->v[i]);
    }
    free(rows);
    free(names);
}

/* A label's value: text format 0.0.4. */
static void put_label(struct buf *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\\' || *p == '"')
            buf_putc(out, '\\');
        if (*p == '\n')
            buf_puts(out, "\\n");
        else
            buf_putc(out, *p);
    }
}

static void put_sample(struct buf *out, const char *what,
                       const struct lag_row *r, const char *le)
{
    buf_printf(out, "muster_subscriber_lag_seconds%s{service=\"", what);
    put_label(out, r->service);
    if (le)
        buf_printf(out, "\",le=\"%s", le);
    buf_puts(out, "\"} ");
}

static void put_histogram(struct buf *out, const struct lag_row *r)
{
    char le[32];
    uint64_t sum = 0;
    for (size_t i = 0; i < LAG_BUCKETS; i++) {
        sum += r->buckets[i];
        snprintf(le, sizeof le, "%.3f", (double)(1U << i) / 1000);
        put_sample(out, "_bucket", r, i + 1 < LAG_BUCKETS ? le : "+Inf");
        buf_printf(out, "%llu\n", (unsigned long long)sum);
    }
    put_sample(out, "_sum", r, NULL);
    buf_printf(out, "%.3f\n", (double)r->sum_ms / 1000);
    put_sample(out, "_count", r, NULL);
    buf_printf(out, "%llu\n", (unsigned long long)r->n);
}

static void no_worst(void *ctx, const struct watcher *w)
{
    (void)ctx;
    (void)w;
}

void lag_metrics(struct subscribers *ss, struct buf *out)
{
    struct lag_rows *rows = calloc(1, sizeof *rows);
    char *names = calloc(LAGS_TOLD_MAX, NAME_BYTES);
    if (rows && names) {
        rows->names = names;
        rows->v[LAGS_TOLD_MAX].service = "";
        subscribers_lag(ss, keep_row, no_worst, rows);
        buf_puts(out, "# HELP muster_subscriber_lag_seconds from when a change "
                      "could be seen to when a subscriber had applied it\n"
                      "# TYPE muster_subscriber_lag_seconds histogram\n");
        for (size_t i = 0; i < rows->n; i++)
            put_histogram(out, &rows->v[i]);
        if (rows->v[LAGS_TOLD_MAX].n)
            put_histogram(out, &rows->v[LAGS_TOLD_MAX]);
    }
    free(rows);
    free(names);
}
