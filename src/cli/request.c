/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Requests to the agent: where it is, who asks, one answer or a stream. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "cli/impl.h"
#include "http/request.h"
#include "loop/fetch.h"
#include "loop/tls_files.h"

/* --- Paths ---------------------------------------------------------------- */

struct cli_path cli_path(const char *literal)
{
    struct cli_path p = {.query = strchr(literal, '?') != NULL};
    buf_init(&p.text, 0);
    buf_puts(&p.text, literal);
    return p;
}

void cli_path_put(struct cli_path *p, const char *segment)
{
    http_encode(&p->text, bytes_str(segment));
}

void cli_path_ask(struct cli_path *p, const char *name, const char *value)
{
    if (!value)
        return;
    buf_putc(&p->text, p->query ? '&' : '?');
    p->query = true;
    buf_puts(&p->text, name);
    if (*value)
        buf_putc(&p->text, '=');
    http_encode(&p->text, bytes_str(value));
}

void cli_path_ask_each(const struct cli *c, struct cli_path *p,
                       const char *name)
{
    const char *value;
    size_t at = 0;

    while ((value = cli_next(c, name, &at)))
        cli_path_ask(p, name, value);
}

/* --- Where and who -------------------------------------------------------- */

const char *cli_env(const char *name)
{
    static const char *const prefixes[] = {"MUSTER_", "CONSUL_"};
    char whole[64];

    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(whole, sizeof whole, "%s%s", prefixes[i], name);
        const char *v = getenv(whole);
        if (v && *v)
            return v;
    }
    return NULL;
}

const char *cli_setting(const struct cli *c, const char *flag)
{
    if (cli_was_said(c, flag))
        return cli_text(c, flag);
    for (const struct cli_variable *v = cli_variables; v->name; v++)
        if (v->flag && strcmp(v->flag, flag) == 0 && cli_env(v->name))
            return cli_env(v->name);
    return cli_text(c, flag);
}

const char *cli_address(const struct cli *c)
{
    const char *a = cli_setting(c, "http-addr");
    return *a ? a : cli_flags_agent[0].initial;
}

static bool env_bool(const struct cli *c, const char *name, bool *ret)
{
    const char *v = cli_env(name);
    if (!v || bytes_bool(bytes_str(v), ret) == ERR_OK)
        return true;
    (void)cli_fail(c,
                   "the environment's %s is \"%.40s\": it must be true or "
                   "false",
                   name, v);
    return false;
}

bool cli_token(struct cli *c, const char **ret)
{
    const char *path = cli_setting(c, "token-file");
    struct bytes text;

    *ret = "";
    if (cli_was_said(c, "token") || !path) {
        const char *t = cli_setting(c, "token");
        *ret = t ? t : "";
        return true;
    }
    if (!cli_read_file(c, path, &text))
        return false;
    while (text.n && (unsigned char)text.p[text.n - 1] <= ' ')
        text.n--;
    *ret = arena_str(&c->arena, text);
    return true;
}

static const char *base64(struct arena *arena, struct bytes b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrs"
                                 "tuvwxyz0123456789+/";
    char *out = arena_zalloc(arena, b.n / 3 * 4 + 5), *w = out;

    require(out);
    for (size_t i = 0; i < b.n; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < b.n ? (unsigned char)b.p[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *w++ = i + k > b.n ? '=' : digits[v >> (18 - 6 * k) & 63];
    }
    return out;
}

const char *cli_base64(struct cli *c, struct bytes b)
{
    return base64(&c->arena, b);
}

struct asking {
    struct fetch_options options;
    struct fetch_header headers[2];
};

static const char *url_of(struct cli *c, struct cli_path *path, bool ssl,
                          const char **ret_unix)
{
    const char *a = cli_address(c);

    if (c->command->api == CLI_DATACENTER) {
        cli_path_ask(path, "dc", cli_text(c, "datacenter"));
        cli_path_ask(path, "stale", cli_on(c, "stale") ? "" : NULL);
    }
    *ret_unix = strncmp(a, "unix://", 7) == 0 ? a + 7 : NULL;
    bool scheme =
        strncmp(a, "http://", 7) == 0 || strncmp(a, "https://", 8) == 0;
    size_t n = strlen(a);
    while (n && a[n - 1] == '/')
        n--;
    return *ret_unix
               ? arena_printf(&c->arena, "http://localhost%.*s",
                              BYTES_ARG(buf_bytes(&path->text)))
               : arena_printf(&c->arena, "%s%.*s%.*s",
                              scheme ? ""
                              : ssl  ? "https://"
                                     : "http://",
                              (int)n, a, BYTES_ARG(buf_bytes(&path->text)));
}

/* Every file of the folder, which libcurl would want under names that are
 * hashes. A file that was named goes before it, as with Consul. */
static bool read_ca_path(struct cli *c, const char *path,
                         struct fetch_options *o)
{
    struct errtext t = {{0}};
    struct buf pem;

    if (!path || o->ca_file)
        return true;
    if (tls_files_pem(&(struct tls_files){.ca_path = path}, &pem, &t) !=
        ERR_OK) {
        (void)cli_fail(c, "%s", t.s);
        return false;
    }
    o->ca_pem = arena_copy(&c->arena, buf_bytes(&pem));
    buf_fini(&pem);
    require(o->ca_pem.p);
    return true;
}

/* path is consumed in any case. */
static bool prepare(struct cli *c, const char *method, struct cli_path *path,
                    struct asking *a)
{
    bool ssl = false, verify = true;
    const char *secret = "", *auth = cli_env("HTTP_AUTH");

    bool ok = env_bool(c, "HTTP_SSL", &ssl) &&
              env_bool(c, "HTTP_SSL_VERIFY", &verify) && cli_token(c, &secret);
    if (ok)
        a->options.url = url_of(c, path, ssl, &a->options.unix_path);
    if (ok && (path->text.bad || !a->options.url)) {
        (void)cli_fail(c, "out of memory");
        ok = false;
    }
    buf_fini(&path->text);
    a->options.method = method;
    a->options.headers = a->headers;
    if (*secret)
        a->headers[a->options.header_count++] =
            (struct fetch_header){"X-Consul-Token", secret};
    if (auth)
        a->headers[a->options.header_count++] = (struct fetch_header){
            "Authorization", arena_printf(&c->arena, "Basic %s",
                                          base64(&c->arena, bytes_str(auth)))};
    a->options.follow_redirects = true;
    a->options.body_keep_bytes = CLI_REPLY_MAX;
    a->options.body_refuse_larger = true;
    a->options.tls_skip_verify = !verify;
    a->options.tls_server_name = cli_setting(c, "tls-server-name");
    a->options.ca_file = cli_setting(c, "ca-file");
    ok = ok && read_ca_path(c, cli_setting(c, "ca-path"), &a->options);
    a->options.cert_file = cli_setting(c, "client-cert");
    a->options.key_file = cli_setting(c, "client-key");
    return ok;
}

/* --- Waiting -------------------------------------------------------------- */

struct waiting {
    struct cli *cli;
    uv_loop_t loop;
    uv_poll_t poll; /* on cli->signals */
    uv_timer_t timer;
    struct fetch *fetch;
    bool over, stopped;
    enum err err;
    struct errtext text;
    void (*put)(void *ctx, struct bytes piece);
    void *ctx;
};

void cli_catch_signals(struct cli *c)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    require(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    c->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    c->catches = c->signals >= 0;
    require(c->catches);
}

static void end_wait(struct waiting *w)
{
    w->over = true;
    if (w->fetch)
        fetch_cancel(w->fetch);
    w->fetch = NULL;
}

static void on_signal(uv_poll_t *poll, int status, int events)
{
    struct waiting *w = poll->data;
    struct signalfd_siginfo info;

    (void)status;
    (void)events;
    if (read(w->cli->signals, &info, sizeof info) != sizeof info)
        return;
    w->stopped = true;
    end_wait(w);
}

static void on_timer(uv_timer_t *timer)
{
    struct waiting *w = timer->data;
    w->err = ERR_TIMEOUT;
    end_wait(w);
}

static void wait_begin(struct waiting *w, struct cli *c, uint64_t timeout_ms)
{
    w->cli = c;
    require(uv_loop_init(&w->loop) == 0);
    require(uv_timer_init(&w->loop, &w->timer) == 0);
    w->timer.data = w;
    if (timeout_ms)
        require(uv_timer_start(&w->timer, on_timer, timeout_ms, 0) == 0);
    if (!c->catches)
        return;
    require(uv_poll_init(&w->loop, &w->poll, c->signals) == 0);
    w->poll.data = w;
    require(uv_poll_start(&w->poll, UV_READABLE, on_signal) == 0);
}

static void wait_end(struct waiting *w)
{
    uv_close((uv_handle_t *)&w->timer, NULL);
    if (w->cli->catches)
        uv_close((uv_handle_t *)&w->poll, NULL);
    (void)uv_run(&w->loop, UV_RUN_DEFAULT);
    require(uv_loop_close(&w->loop) == 0);
}

static void wait_run(struct waiting *w)
{
    while (!w->over)
        (void)uv_run(&w->loop, UV_RUN_ONCE);
}

bool cli_pause(struct cli *c, uint64_t ms)
{
    struct waiting w = {0};
    wait_begin(&w, c, ms ? ms : 1);
    wait_run(&w);
    wait_end(&w);
    return w.stopped;
}

static void on_done(void *ctx, const struct fetch_result *r)
{
    struct waiting *w = ctx;
    struct cli *c = w->cli;

    w->fetch = NULL;
    w->over = true;
    w->err = r->err;
    w->text = r->text;
    c->status = r->status;
    c->index = r->consul_index;
    free(c->reply); /* of another one, asked while this one lasted */
    c->reply = xcopy(r->body);
    c->reply_n = r->body.n;
}

static void on_piece(void *ctx, struct bytes piece)
{
    struct waiting *w = ctx;
    w->put(w->ctx, piece);
}

/* What came of it; the answer is in c. */
static void ask(struct cli *c, struct asking *a, uint64_t timeout_ms,
                struct waiting *w)
{
    struct fetcher *f;

    free(c->reply);
    c->reply = NULL;
    c->reply_n = 0;
    c->status = 0;
    wait_begin(w, c, timeout_ms);
    require(fetcher_new(&w->loop, &f) == ERR_OK);
    if (w->put) {
        a->options.on_piece = on_piece;
        a->options.piece_ctx = w;
    }
    w->err = fetch_start(f, &a->options, on_done, w, &w->fetch);
    if (w->err == ERR_OK)
        wait_run(w);
    else
        errtext_set(&w->text, "%s",
                    w->err == ERR_BAD ? "a line end or the like in the address "
                                        "or the token"
                                      : err_text(w->err));
    fetcher_close(f);
    wait_end(w);
}

static bool not_reached(const struct cli *c, const struct waiting *w)
{
    (void)cli_fail(c,
                   "cannot reach the agent at %s: %s\n"
                   "(is it running? -http-addr or MUSTER_HTTP_ADDR names "
                   "another)",
                   cli_address(c),
                   w->err == ERR_TIMEOUT && !*w->text.s ? "no answer in time"
                                                        : w->text.s);
    return false;
}

bool cli_refused(const struct cli *c)
{
    size_t n = c->reply_n;
    while (n && (unsigned char)c->reply[n - 1] <= ' ')
        n--;
    (void)cli_fail(
        c, "Unexpected response code: %d%s%.*s%s%s", c->status, n ? " (" : "",
        (int)n, c->reply ? c->reply : "", n ? ")" : "",
        c->status == 404 && n == 0 ? ": the agent does not know this route"
        : c->status == 403         ? "\n(-token or MUSTER_HTTP_TOKEN says "
                                     "who asks)"
                                   : "");
    return false;
}

bool cli_ask(struct cli *c, const char *method, struct cli_path path,
             struct bytes body, uint64_t timeout_ms)
{
    struct asking a = {.options.body = body};
    struct waiting w = {0};

    if (!prepare(c, method, &path, &a))
        return false;
    ask(c, &a, timeout_ms, &w);
    c->stopped = w.stopped;
    if (w.stopped)
        return false;
    return w.err == ERR_OK || not_reached(c, &w);
}

bool cli_request(struct cli *c, const char *method, struct cli_path path,
                 struct bytes body)
{
    return cli_ask(c, method, path, body, CLI_TIMEOUT_MS) &&
           (c->status == 200 || cli_refused(c));
}

bool cli_get(struct cli *c, const char *literal_path)
{
    return cli_request(c, "GET", cli_path(literal_path), (struct bytes){0});
}

enum cli_end cli_stream(struct cli *c, struct cli_path path,
                        uint64_t timeout_ms,
                        void (*put)(void *ctx, struct bytes piece), void *ctx)
{
    struct asking a = {0};
    struct waiting w = {.put = put, .ctx = ctx};

    if (!prepare(c, "GET", &path, &a))
        return CLI_END_FAILED;
    ask(c, &a, timeout_ms, &w);
    if (w.stopped)
        return CLI_END_STOPPED;
    if (w.err == ERR_TIMEOUT)
        return CLI_END_TIME;
    if (w.err != ERR_OK && c->status == 200)
        return CLI_END_OVER; /* cut off: the agent is gone */
    if (w.err != ERR_OK) {
        (void)not_reached(c, &w);
        return CLI_END_FAILED;
    }
    if (c->status != 200) {
        (void)cli_refused(c);
        return CLI_END_FAILED;
    }
    return CLI_END_OVER;
}
