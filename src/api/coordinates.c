/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* /v1/coordinate, and what follows from it: rows sorted by ?near. Coordinates
 * are in the catalog, where the server brings them in batches some seconds
 * later (server/coordinates.c); the own node stands in the middle until it is
 * told otherwise. */
#include "api/impl.h"
#include "api/table.h"
#include "query/query.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct coord_in {
    struct bytes vec;
    struct bytes error, adjustment, height; /* numbers, as text */
};

struct update_coordinate_in {
    struct bytes node, segment;
    struct coord_in *coord;
};

/* clang-format off */
static const struct json_field coord_fields[] = {
    FIELD(coord_in, "Vec", NULL, FIELD_RAW, vec),
    FIELD(coord_in, "Error", NULL, FIELD_RAW, error),
    FIELD(coord_in, "Adjustment", NULL, FIELD_RAW, adjustment),
    FIELD(coord_in, "Height", NULL, FIELD_RAW, height),
};
static const struct json_table coord_table = TABLE(coord_fields, coord_in);

static const struct json_field update_fields[] = {
    FIELD(update_coordinate_in, "Node", NULL, FIELD_STRING, node),
    FIELD(update_coordinate_in, "Segment", NULL, FIELD_STRING, segment),
    FIELD_OF(update_coordinate_in, "Coord", NULL, FIELD_OBJECT, coord, &coord_table),
};
static const struct json_table update_coordinate_table = TABLE(update_fields, update_coordinate_in);
/* clang-format on */

/* --- Update -------------------------------------------------------------- */

static bool number(struct bytes raw, double *ret)
{
    char text[72];
    char *end;
    *ret = 0;
    if (raw.n == 0 || bytes_is(raw, "null"))
        return true;
    if (raw.n >= sizeof text || raw.p[0] == '"' || raw.p[0] == '[' ||
        raw.p[0] == '{')
        return false;
    memcpy(text, raw.p, raw.n);
    text[raw.n] = 0;
    *ret = strtod(text, &end);
    return *end == 0 && isfinite(*ret);
}

/* "[1,2.5,...]": compact, as FIELD_RAW gives it. -1: no list of numbers. */
static int numbers(struct bytes raw, double *out, int max)
{
    int n = 0;
    if (raw.n < 2 || raw.p[0] != '[')
        return raw.n == 0 || bytes_is(raw, "null") ? 0 : -1;
    raw = bytes_of(raw.p + 1, raw.n - 2);
    while (raw.n) {
        size_t comma = bytes_find(raw, ',');
        double v;
        if (!number(bytes_head(raw, comma), &v))
            return -1;
        if (n < max)
            out[n] = v;
        n++;
        raw = bytes_skip(raw, comma + 1);
    }
    return n;
}

/* How many dimensions it has; -1: something is no number. */
static int take_numbers(const struct coord_in *in, struct coordinate *ret)
{
    int n = numbers(in->vec, ret->vec, COORDINATE_DIMENSIONS);

    return !number(in->error, &ret->error) ||
                   !number(in->adjustment, &ret->adjustment) ||
                   !number(in->height, &ret->height)
               ? -1
               : n;
}

enum err coordinate_from_json(struct bytes json, struct arena *a,
                              struct coordinate *ret, struct errtext *t)
{
    struct coord_in in;
    enum err e = json_decode(json, &coord_table, &in, a, t);

    *ret = (struct coordinate){0};
    if (e == ERR_OK && (take_numbers(&in, ret) != COORDINATE_DIMENSIONS ||
                        !coordinate_valid(ret))) {
        errtext_set(t, "incompatible coordinate");
        e = ERR_BAD;
    }
    return e;
}

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "%s", text);
    return API_ANSWER;
}

static enum api_next take(struct api_call *c,
                          const struct update_coordinate_in *in,
                          struct coordinate *ret)
{
    *ret = (struct coordinate){0};
    if (!in->coord)
        return refuse(c, 400, "Request decode failed: Coord is missing");
    int n = take_numbers(in->coord, ret);
    if (n < 0)
        return refuse(c, 400,
                      "Request decode failed: json: cannot unmarshal a member "
                      "of Coord into Go value of type float64");
    if (n != COORDINATE_DIMENSIONS)
        return refuse(c, 500, "incompatible coordinate");
    if (in->segment.n)
        return refuse(c, 500,
                      "Network segments are not supported in this version of "
                      "Consul");
    return API_AGENT;
}

static enum api_next done(struct api_call *c)
{
    buf_reset(&c->body);
    c->status = 200;
    c->content_type = NULL;
    return API_ANSWER;
}

enum api_next agent_coordinate_update(struct api_call *c,
                                      const struct api_env *env,
                                      struct agent_op **ret)
{
    struct update_coordinate_in in;
    struct coordinate coordinate;
    struct errtext t = {{0}};
    if (json_decode(c->request->body, &update_coordinate_table, &in, c->arena,
                    &t) != ERR_OK) {
        api_error(c, 400, "Request decode failed: %s", t.s);
        return API_ANSWER;
    }
    if (take(c, &in, &coordinate) == API_ANSWER)
        return API_ANSWER;
    if (!snapshot_node(env->cat, in.node))
        return done(c); /* nobody's: dropped, as in Consul */
    *ret = agent_op_new(AGENT_COORDINATE);
    if (!*ret)
        return refuse(c, 500, "out of memory");
    (*ret)->coordinate.at = coordinate;
    (*ret)->coordinate.node = arena_copy(&(*ret)->arena, in.node);
    return API_AGENT;
}

/* --- Reads --------------------------------------------------------------- */

bool coordinate_of(const struct api_env *env, struct bytes node,
                   struct coordinate *ret)
{
    return query_place(env->cat, node, env->self->node_name, ret);
}

void encode_coordinate(struct json_out *j, const struct coordinate *c)
{
    json_open(j, '{');
    json_key(j, "Vec");
    json_open(j, '[');
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++)
        json_double(j, c->vec[i]);
    json_close(j, ']');
    json_key(j, "Error");
    json_double(j, c->error);
    json_key(j, "Adjustment");
    json_double(j, c->adjustment);
    json_key(j, "Height");
    json_double(j, c->height);
    json_close(j, '}');
}

static void put_coordinate(struct json_out *j, struct bytes node,
                           const struct coordinate *c)
{
    json_open(j, '{');
    json_key(j, "Node");
    json_str(j, node);
    json_key(j, "Segment");
    json_str(j, (struct bytes){0});
    json_key(j, "Coord");
    encode_coordinate(j, c);
    json_close(j, '}');
}

static void put_all(struct json_out *j, const struct api_env *env)
{
    struct tree_iter it;
    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n; (n = snapshot_next_node(&it));) {
        struct node_view v;
        cat_node_view(n->record, &v);
        struct coordinate c;
        if (coordinate_of(env, v.name, &c))
            put_coordinate(j, v.name, &c);
    }
}

void read_coordinate_nodes(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    json_open(&e.j, '[');
    if (http_param_value(c->request, "segment").n == 0)
        put_all(&e.j, env);
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

void read_coordinate_node(struct api_call *c, const struct api_env *env)
{
    const struct cat_node *n = snapshot_node(env->cat, c->arg);
    struct node_view v = {0};
    if (n)
        cat_node_view(n->record, &v);
    struct coordinate at;
    bool known = n && coordinate_of(env, v.name, &at);
    if (!known || http_param_value(c->request, "segment").n) {
        c->status = 404;
        c->content_type = NULL;
        c->consul_headers = false;
        return;
    }
    struct encoder e = encoder(c, env, false);
    json_open(&e.j, '[');
    put_coordinate(&e.j, v.name, &at);
    json_close(&e.j, ']');
    encoder_end(&e, c);
}

/* One datacenter's servers, as they place themselves among all. */
static void put_datacenter(struct json_out *j, const struct api_wan *w,
                           const struct api_dc *dc)
{
    json_open(j, '{');
    json_key(j, "Datacenter");
    json_str(j, dc->name);
    json_key(j, "AreaID");
    json_str(j, bytes_str("wan"));
    json_key(j, "Coordinates");
    json_open(j, '[');
    if (dc->own)
        put_coordinate(j, bytes_str(w->self->node), &w->self->at);
    for (size_t i = 0; i < w->count; i++)
        if (bytes_is(dc->name, w->members[i].who.datacenter))
            put_coordinate(j, bytes_str(w->members[i].who.node),
                           &w->members[i].who.at);
    json_close(j, ']');
    json_close(j, '}');
}

void read_coordinate_datacenters(struct api_call *c, const struct api_env *env)
{
    struct json_out j = json_out(&c->body);
    const struct api_dc own = {.name = env->self->datacenter, .own = true};
    char node[256];
    struct wan_who self = {.at = coordinate_origin()};
    const struct api_wan alone = {&self, NULL, 0, &own, 1};
    const struct api_wan *w = env->wan ? env->wan : &alone;

    snprintf(node, sizeof node, "%.*s", BYTES_ARG(env->self->node_name));
    memcpy(self.node, node, sizeof node);
    json_open(&j, '[');
    for (size_t i = 0; i < w->dc_count; i++)
        put_datacenter(&j, w, &w->dcs[i]);
    json_close(&j, ']');
}
