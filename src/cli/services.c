/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* services register|deregister, leave. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/impl.h"
#include "http/json_out.h"
#include "http/request.h"

enum { FILE_BYTES_MAX = 1 << 20 };

struct register_flags {
    const char *name, *id, *address, *port, *tags, *meta, *kind;
};

static bool read_file(struct cli *c, const char *path, struct bytes *ret)
{
    FILE *f = fopen(path, "rb");
    char *text = arena_alloc(&c->arena, FILE_BYTES_MAX + 1);
    if (!f || !text) {
        fprintf(stderr, "muster services: %s: %s\n", path, strerror(errno));
        if (f)
            fclose(f);
        return false;
    }
    size_t n = fread(text, 1, FILE_BYTES_MAX + 1, f);
    bool bad = ferror(f) != 0;
    fclose(f);
    if (bad || n > FILE_BYTES_MAX) {
        fprintf(stderr, "muster services: %s: %s\n", path,
                bad ? "cannot be read" : "larger than 1 MiB");
        return false;
    }
    *ret = bytes_of(text, n);
    return true;
}

/* A file holds {"service": {...}}, {"services": [...]} or one definition. */
static json_t *definitions(const char *path, struct bytes text)
{
    json_error_t e;
    json_t *j = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &e);
    if (!j) {
        fprintf(stderr, "muster services: %s:%d:%d: %s\n", path, e.line,
                e.column, e.text);
        return NULL;
    }
    json_t *list = json_object_get(j, "services");
    if (!list)
        list = json_object_get(j, "Services");
    if (list && json_is_array(list)) {
        json_incref(list);
        json_decref(j);
        return list;
    }
    json_t *one = json_object_get(j, "service");
    if (!one)
        one = json_object_get(j, "Service");
    list = json_array();
    json_array_append(list, one && json_is_object(one) ? one : j);
    json_decref(j);
    return list;
}

static const char *definition_name(json_t *d, const char *a, const char *b)
{
    const char *s = json_string_value(json_object_get(d, a));
    return s ? s : json_string_value(json_object_get(d, b));
}

static bool deregister(struct cli *c, const char *id)
{
    struct buf path;
    buf_init(&path, 0);
    buf_puts(&path, "/v1/agent/service/deregister/");
    http_encode(&path, bytes_str(id));
    buf_putc(&path, 0);
    bool ok = cli_request(c, "PUT", path.p, (struct bytes){0});
    buf_fini(&path);
    if (ok)
        printf("Deregistered service: %s\n", id);
    return ok;
}

static bool one_definition(struct cli *c, json_t *d, bool add)
{
    const char *name = definition_name(d, "name", "Name");
    const char *id = definition_name(d, "id", "ID");
    if (!add)
        return deregister(c, id ? id : name ? name : "");
    char *text = json_dumps(d, JSON_COMPACT);
    bool ok = text && cli_request(c, "PUT", "/v1/agent/service/register",
                                  bytes_str(text));
    free(text);
    if (ok)
        printf("Registered service: %s\n", name ? name : "");
    return ok;
}

static bool from_files(struct cli *c, bool add)
{
    for (size_t i = 1; i < c->arg_count; i++) {
        struct bytes text;
        if (!read_file(c, c->args[i], &text))
            return false;
        json_t *list = definitions(c->args[i], text);
        if (!list)
            return false;
        size_t k;
        json_t *d;
        bool ok = true;
        json_array_foreach(list, k, d) ok = ok && one_definition(c, d, add);
        json_decref(list);
        if (!ok)
            return false;
    }
    return true;
}

static void put_list(struct json_out *j, const char *text)
{
    struct bytes rest = bytes_str(text);
    json_open(j, '[');
    while (rest.n) {
        size_t n = bytes_find(rest, ',');
        json_str(j, bytes_head(rest, n));
        rest = bytes_skip(rest, n + 1);
    }
    json_close(j, ']');
}

static bool from_flags(struct cli *c, const struct register_flags *f)
{
    struct buf body;
    buf_init(&body, 0);
    struct json_out j = json_out(&body);
    json_open(&j, '{');
    json_key(&j, "Name");
    json_str(&j, bytes_str(f->name));
    if (f->id) {
        json_key(&j, "ID");
        json_str(&j, bytes_str(f->id));
    }
    if (f->kind) {
        json_key(&j, "Kind");
        json_str(&j, bytes_str(f->kind));
    }
    if (f->address) {
        json_key(&j, "Address");
        json_str(&j, bytes_str(f->address));
    }
    if (f->port) {
        json_key(&j, "Port");
        json_i64(&j, strtoll(f->port, NULL, 10));
    }
    if (f->tags) {
        json_key(&j, "Tags");
        put_list(&j, f->tags);
    }
    if (f->meta) {
        size_t eq = bytes_find(bytes_str(f->meta), '=');
        json_key(&j, "Meta");
        json_open(&j, '{');
        json_key_bytes(&j, bytes_head(bytes_str(f->meta), eq));
        json_str(&j, bytes_skip(bytes_str(f->meta), eq + 1));
        json_close(&j, '}');
    }
    json_close(&j, '}');
    bool ok =
        cli_request(c, "PUT", "/v1/agent/service/register", buf_bytes(&body));
    buf_fini(&body);
    if (ok)
        printf("Registered service: %s\n", f->name);
    return ok;
}

int cli_services(int argc, char **argv)
{
    struct register_flags f = {0};
    struct cli_flag flags[] = {
        {.name = "name", .help = "the service's name", .value = &f.name},
        {.name = "id", .help = "its ID (default: the name)", .value = &f.id},
        {.name = "address", .help = "its address", .value = &f.address},
        {.name = "port", .help = "its port", .value = &f.port},
        {.name = "tag", .help = "its tags, with commas", .value = &f.tags},
        {.name = "meta", .help = "one key=value", .value = &f.meta},
        {.name = "kind", .help = "its kind", .value = &f.kind},
    };
    struct cli c = {.command = "services",
                    .synopsis = "register|deregister [options] [FILE...]",
                    .help = "Registers services with the local agent, or takes "
                            "them out, from\ndefinition files (JSON) or flags.",
                    .flags = flags,
                    .flag_count = sizeof flags / sizeof flags[0]};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    bool add = c.arg_count > 0 && strcmp(c.args[0], "register") == 0;
    bool del = c.arg_count > 0 && strcmp(c.args[0], "deregister") == 0;
    bool ok = false;
    if ((!add && !del) || (c.arg_count == 1 && !f.name && !f.id))
        fprintf(stderr, "Usage: muster services %s\n", c.synopsis);
    else if (c.arg_count > 1)
        ok = from_files(&c, add);
    else if (add && f.name)
        ok = from_flags(&c, &f);
    else if (del)
        ok = deregister(&c, f.id ? f.id : f.name);
    else
        fprintf(stderr, "muster services register: -name is missing\n");
    cli_fini(&c);
    return ok ? 0 : 1;
}

int cli_leave(int argc, char **argv)
{
    struct cli c = {.command = "leave",
                    .synopsis = "[options]",
                    .help = "The agent deregisters its node, then stops."};
    int rc = 1;
    if (cli_parse(&c, argc, argv, 2, &rc))
        return rc;
    bool ok = cli_request(&c, "PUT", "/v1/agent/leave", (struct bytes){0});
    if (ok)
        printf("Graceful leave complete\n");
    cli_fini(&c);
    return ok ? 0 : 1;
}
