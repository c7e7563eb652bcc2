/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* services register|deregister. */
#include <stdlib.h>
#include <string.h>

#include "cli/impl.h"
#include "config/text.h"
#include "http/json_out.h"

/* A string member by either of its names, or NULL. */
static const char *member(const struct config_value *d, const char *a,
                          const char *b)
{
    const struct config_value *v = config_get(d, bytes_str(a));
    if (!v)
        v = config_get(d, bytes_str(b));
    return v && v->kind == CONFIG_STRING ? v->string.p : NULL;
}

static bool deregister(struct cli *c, const char *id)
{
    struct cli_path path = cli_path("/v1/agent/service/deregister/");
    cli_path_put(&path, id);
    cli_path_ask(&path, "ns", cli_text(c, "namespace"));
    if (!cli_request(c, "PUT", path, (struct bytes){0}))
        return false;
    printf("Deregistered service: %s\n", id);
    return true;
}

static bool register_one(struct cli *c, const char *name, struct bytes json)
{
    struct cli_path path = cli_path("/v1/agent/service/register");
    cli_path_ask(&path, "ns", cli_text(c, "namespace"));
    if (!cli_request(c, "PUT", path, json))
        return false;
    printf("Registered service: %s\n", name);
    return true;
}

static bool one_definition(struct cli *c, const struct config_value *d,
                           bool add)
{
    const char *name = member(d, "name", "Name");
    const char *id = member(d, "id", "ID");
    char at[96];
    struct buf json;

    if (!name && (add || !id)) {
        config_pos_print(at, &d->pos);
        (void)cli_fail(c, "%s: this service has no name", at);
        return false;
    }
    if (!add)
        return deregister(c, id ? id : name);
    buf_init(&json, 0);
    config_value_to_json(&json, d);
    bool ok = register_one(c, name, buf_bytes(&json));
    buf_fini(&json);
    return ok;
}

/* A definition, or a list of them (also of blocks, which HCL repeats). */
static bool each_definition(struct cli *c, const struct config_value *v,
                            bool add)
{
    if (!v)
        return true;
    if (v->kind == CONFIG_OBJECT)
        return one_definition(c, v, add);
    if (v->kind == CONFIG_LIST)
        config_each(d, v) if (!one_definition(c, d, add)) return false;
    return true;
}

static bool from_file(struct cli *c, const char *path, bool add)
{
    static const char *const keys[] = {"service", "Service", "services",
                                       "Services"};
    enum config_format format = config_format_of(path);
    struct config_value *file = NULL;
    struct errtext t = {{0}};
    struct bytes text;
    bool any = false;

    if (!cli_read_file(c, path, &text))
        return false;
    if (config_text_parse(format == CONFIG_FORMAT_NONE ? CONFIG_FORMAT_JSON
                                                       : format,
                          path, text, &c->arena, &file, &t) != ERR_OK) {
        (void)cli_fail(c, "%s", t.s);
        return false;
    }
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct config_value *v = config_get(file, bytes_str(keys[i]));
        any = any || v;
        if (!each_definition(c, v, add))
            return false;
    }
    /* A bare definition, as the API takes it. */
    return any || one_definition(c, file, add);
}

static int from_files(struct cli *c, bool add)
{
    for (size_t i = 0; i < c->arg_count; i++)
        if (!from_file(c, c->args[i], add))
            return 1;
    return 0;
}

/* --- From flags ----------------------------------------------------------- */

static void put_text(struct json_out *j, const char *key, const char *v)
{
    if (!v)
        return;
    json_key(j, key);
    json_str(j, bytes_str(v));
}

static void put_tags(const struct cli *c, struct json_out *j)
{
    const char *v;
    size_t at = 0;
    json_key(j, "Tags");
    json_open(j, '[');
    while ((v = cli_next(c, "tag", &at)))
        json_str(j, bytes_str(v));
    json_close(j, ']');
}

static void put_meta(const struct cli *c, struct json_out *j)
{
    const char *v;
    size_t at = 0;
    json_key(j, "Meta");
    json_open(j, '{');
    while ((v = cli_next(c, "meta", &at))) {
        struct bytes b = bytes_str(v);
        size_t eq = bytes_find(b, '=');
        json_key_bytes(j, bytes_head(b, eq));
        json_str(j, bytes_skip(b, eq + 1));
    }
    json_close(j, '}');
}

/* ADDRESS, ADDRESS:PORT, [V6]:PORT or V6 alone. */
static bool put_address(struct json_out *j, struct bytes name, struct bytes v)
{
    struct bytes host = v, port = {0};
    uint64_t n = 0;

    size_t colon = bytes_find(v, ':');
    if (v.n && v.p[0] == '[') {
        size_t end = bytes_find(v, ']');
        host = bytes_skip(bytes_head(v, end), 1);
        port = bytes_skip(v, end + 2);
    } else if (colon < v.n && !memchr(v.p + colon + 1, ':', v.n - colon - 1)) {
        host = bytes_head(v, colon);
        port = bytes_skip(v, colon + 1);
    }
    if (host.n == 0 || (port.n && (bytes_u64(port, &n) != ERR_OK || n > 65535)))
        return false;
    json_key_bytes(j, name);
    json_open(j, '{');
    json_key(j, "Address");
    json_str(j, host);
    json_key(j, "Port");
    json_u64(j, n);
    json_close(j, '}');
    return true;
}

static bool put_tagged(const struct cli *c, struct json_out *j)
{
    const char *v;
    size_t at = 0;
    bool ok = true;
    json_key(j, "TaggedAddresses");
    json_open(j, '{');
    while ((v = cli_next(c, "tagged-address", &at))) {
        struct bytes b = bytes_str(v);
        size_t eq = bytes_find(b, '=');
        if (!put_address(j, bytes_head(b, eq), bytes_skip(b, eq + 1))) {
            (void)cli_misused(c,
                              "invalid value \"%.80s\" for flag "
                              "-tagged-address: not "
                              "NAME=ADDRESS[:PORT] with a port up to 65535",
                              v);
            ok = false;
        }
    }
    json_close(j, '}');
    return ok;
}

static int from_flags(struct cli *c, const char *name)
{
    if (cli_was_said(c, "port") && cli_number(c, "port") > 65535)
        return cli_misused(c, "invalid value \"%s\" for flag -port: over 65535",
                           cli_text(c, "port"));
    struct buf body;
    buf_init(&body, 0);
    struct json_out j = json_out(&body);
    json_open(&j, '{');
    put_text(&j, "Name", name);
    put_text(&j, "ID", cli_text(c, "id"));
    put_text(&j, "Kind", cli_text(c, "kind"));
    put_text(&j, "Address", cli_text(c, "address"));
    if (cli_was_said(c, "port")) {
        json_key(&j, "Port");
        json_u64(&j, cli_number(c, "port"));
    }
    put_tags(c, &j);
    put_meta(c, &j);
    bool ok = put_tagged(c, &j);
    json_close(&j, '}');
    ok = ok && register_one(c, name, buf_bytes(&body));
    buf_fini(&body);
    return ok ? 0 : 1;
}

int cli_services_register(struct cli *c)
{
    const char *name = cli_text(c, "name");
    if (c->arg_count && (name || cli_was_said(c, "id")))
        return cli_misused(c, "files or -name, not both");
    if (c->arg_count)
        return from_files(c, true);
    if (!name)
        return cli_misused(c, "name a file, or say -name");
    return from_flags(c, name);
}

int cli_services_deregister(struct cli *c)
{
    const char *id = cli_text(c, "id");
    if (c->arg_count && id)
        return cli_misused(c, "files or -id, not both");
    if (c->arg_count)
        return from_files(c, false);
    if (!id)
        return cli_misused(c, "name a file, or say -id");
    return deregister(c, id) ? 0 : 1;
}
