/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Flags, one HTTP request, aligned columns. */
#include "cli/impl.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/request.h"
#include "loop/fetch.h"

enum { CLI_TIMEOUT_MS = 30 * 1000 };

static void print_help(const struct cli *c)
{
    printf("Usage: muster %s %s\n\n%s\n\nOptions:\n", c->command, c->synopsis,
           c->help);
    for (size_t i = 0; i < c->flag_count; i++)
        printf("    -%-22s %s\n", c->flags[i].name, c->flags[i].help);
    printf("    -%-22s %s\n", "http-addr=ADDRESS",
           "the agent: host:port, http://..., or unix:///path");
    printf("    -%-22s %s\n", "token=TOKEN", "sent as X-Consul-Token");
    printf("    -%-22s %s\n", "datacenter=NAME", "ask about this datacenter");
    printf("    -%-22s %s\n", "stale", "any server may answer");
}

static const struct cli_flag *find_flag(const struct cli_flag *flags, size_t n,
                                        struct bytes name)
{
    for (size_t i = 0; i < n; i++)
        if (bytes_is(name, flags[i].name))
            return &flags[i];
    return NULL;
}

static int usage_error(struct cli *c, int *ret_exit, const char *what,
                       const char *arg)
{
    fprintf(stderr, "muster %s: %s: %s\nUsage: muster %s %s\n", c->command,
            what, arg, c->command, c->synopsis);
    *ret_exit = 2;
    return 1;
}

/* One flag; consumed words beyond the first are added to *i. */
static int take_flag(struct cli *c, const struct cli_flag *common,
                     size_t common_n, int argc, char **argv, int *i,
                     int *ret_exit)
{
    struct bytes word = bytes_str(argv[*i]);
    word = bytes_skip(word, bytes_starts(word, bytes_str("--")) ? 2 : 1);
    size_t eq = bytes_find(word, '=');
    struct bytes name = bytes_head(word, eq);
    if (bytes_is(name, "h") || bytes_is(name, "help")) {
        print_help(c);
        *ret_exit = 0;
        return 1;
    }
    const struct cli_flag *f = find_flag(c->flags, c->flag_count, name);
    if (!f)
        f = find_flag(common, common_n, name);
    if (!f)
        return usage_error(c, ret_exit, "no such option", argv[*i]);
    if (f->is_bool) {
        *f->set = true;
        if (eq < word.n && bytes_bool(bytes_skip(word, eq + 1), f->set))
            return usage_error(c, ret_exit, "not true or false", argv[*i]);
    } else if (eq < word.n) {
        *f->value = word.p + eq + 1;
    } else if (*i + 1 < argc) {
        *f->value = argv[++*i];
    } else {
        return usage_error(c, ret_exit, "wants a value", argv[*i]);
    }
    return 0;
}

int cli_parse(struct cli *c, int argc, char **argv, int from, int *ret_exit)
{
    const struct cli_flag common[] = {
        {.name = "http-addr", .value = &c->http_addr},
        {.name = "token", .value = &c->token},
        {.name = "datacenter", .value = &c->datacenter},
        {.name = "stale", .is_bool = true, .set = &c->stale},
    };
    arena_init(&c->arena, 0);
    bool only_args = false;
    for (int i = from; i < argc; i++) {
        if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
        } else if (!only_args && argv[i][0] == '-' && argv[i][1]) {
            if (take_flag(c, common, 4, argc, argv, &i, ret_exit))
                return 1;
        } else if (c->arg_count < CLI_ARGS_MAX) {
            c->args[c->arg_count++] = argv[i];
        } else {
            return usage_error(c, ret_exit, "too many arguments", argv[i]);
        }
    }
    return 0;
}

void cli_fini(struct cli *c)
{
    arena_fini(&c->arena);
    free(c->reply);
    c->reply = NULL;
}

/* --- Request ------------------------------------------------------------- */

static const char *address(const struct cli *c)
{
    const char *a = c->http_addr;
    if (!a || !*a)
        a = getenv("MUSTER_HTTP_ADDR");
    if (!a || !*a)
        a = getenv("CONSUL_HTTP_ADDR");
    return a && *a ? a : "127.0.0.1:8500";
}

static char *url_of(struct cli *c, const char *path, const char **ret_unix)
{
    const char *a = address(c);
    struct buf dc;
    buf_init(&dc, 4096);
    if (c->datacenter) {
        buf_puts(&dc, strchr(path, '?') ? "&dc=" : "?dc=");
        http_encode(&dc, bytes_str(c->datacenter));
    }
    if (c->stale)
        buf_puts(&dc, strchr(path, '?') || dc.n ? "&stale" : "?stale");
    *ret_unix = NULL;
    char *url;
    if (strncmp(a, "unix://", 7) == 0) {
        *ret_unix = a + 7;
        url = arena_printf(&c->arena, "http://localhost%s%.*s", path,
                           BYTES_ARG(buf_bytes(&dc)));
    } else {
        bool scheme =
            strncmp(a, "http://", 7) == 0 || strncmp(a, "https://", 8) == 0;
        url = arena_printf(&c->arena, "%s%s%s%.*s", scheme ? "" : "http://", a,
                           path, BYTES_ARG(buf_bytes(&dc)));
    }
    buf_fini(&dc);
    return url;
}

bool cli_request(struct cli *c, const char *method, const char *path,
                 struct bytes body)
{
    const char *token = c->token ? c->token : getenv("CONSUL_HTTP_TOKEN");
    struct fetch_header header = {"X-Consul-Token", token};
    struct fetch_options o = {
        .method = method,
        .url = url_of(c, path, &o.unix_path),
        .headers = &header,
        .header_count = token && *token ? 1 : 0,
        .body = body,
        .timeout_ms = CLI_TIMEOUT_MS,
        .follow_redirects = true,
        .body_keep_bytes = CLI_REPLY_MAX,
        .body_refuse_larger = true,
    };
    struct errtext t = {{0}};
    int status = 0;
    free(c->reply);
    c->reply = NULL;
    if (fetch_wait(&o, &status, &c->reply, &c->reply_n, &t) != ERR_OK) {
        fprintf(stderr,
                "muster %s: cannot reach the agent at %s: %s\n(is it running? "
                "-http-addr or MUSTER_HTTP_ADDR names another)\n",
                c->command, address(c), t.s);
        return false;
    }
    if (status != 200) {
        fprintf(stderr, "muster %s: unexpected response code: %d (%.*s)\n",
                c->command, status, (int)c->reply_n, c->reply);
        return false;
    }
    return true;
}

static bool bad_reply(const struct cli *c, const struct errtext *t)
{
    fprintf(stderr, "muster %s: the agent's answer cannot be read: %s\n",
            c->command, t->s);
    return false;
}

bool cli_decode(struct cli *c, const struct json_table *table, void *out)
{
    struct errtext t = {{0}};
    struct bytes text = bytes_of(c->reply, c->reply_n);
    return json_decode(text, table, out, &c->arena, &t) == ERR_OK ||
           bad_reply(c, &t);
}

bool cli_decode_list(struct cli *c, const struct json_table *table,
                     struct json_list *out)
{
    struct errtext t = {{0}};
    struct bytes text = bytes_of(c->reply, c->reply_n);
    return json_decode_list(text, table, out, &c->arena, &t) == ERR_OK ||
           bad_reply(c, &t);
}

/* --- Columns ------------------------------------------------------------- */

void cli_cell(struct cli_table *t, struct bytes v)
{
    for (size_t i = 0; i < v.n; i++) {
        /* What a hostile name holds must not steer the terminal. */
        unsigned char ch = (unsigned char)v.p[i];
        buf_putc(&t->text, ch < 0x20 || ch == 0x7f ? '?' : v.p[i]);
    }
    buf_putc(&t->text, 0);
    t->cells++;
}

void cli_table_print(struct cli_table *t)
{
    size_t width[CLI_COLUMNS_MAX] = {0};
    const char *p = t->text.p;
    for (size_t i = 0; i < t->cells; i++) {
        size_t n = strlen(p);
        if (width[i % t->columns] < n)
            width[i % t->columns] = n;
        p += n + 1;
    }
    p = t->text.p;
    for (size_t i = 0; i < t->cells; i++) {
        bool last = i % t->columns == t->columns - 1;
        if (last)
            printf("%s\n", p);
        else
            printf("%-*s  ", (int)width[i % t->columns], p);
        p += strlen(p) + 1;
    }
    buf_fini(&t->text);
}
