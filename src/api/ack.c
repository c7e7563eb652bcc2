/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* PUT /v1/muster/ack: [{"Subscriber":"c475...","Index":42}, ...] */
#include "api/impl.h"
#include "api/table.h"

struct ack_in {
    struct bytes subscriber;
    int64_t index;
    bool gone;
};

/* clang-format off */
static const struct json_field ack_fields[] = {
    FIELD(ack_in, "Subscriber", "subscriber", FIELD_STRING, subscriber),
    FIELD(ack_in, "Index", "index", FIELD_INT, index),
    FIELD(ack_in, "Gone", "gone", FIELD_BOOL, gone),
};
static const struct json_table ack_table = TABLE(ack_fields, ack_in);
/* clang-format on */

static enum api_next refuse(struct api_call *c, int status, const char *text)
{
    api_error(c, status, "Request decode failed: %s", text);
    return API_ANSWER;
}

enum api_next prepare_ack(struct api_call *c, const struct api_env *env)
{
    struct json_list list = {0};
    struct errtext t = {{0}};
    (void)env;
    enum err e =
        json_decode_list(c->request->body, &ack_table, &list, c->arena, &t);
    if (e != ERR_OK)
        return refuse(c, err_http_status(e), t.s[0] ? t.s : err_text(e));
    if (list.n > API_ACKS_MAX) {
        api_error(c, 413, "%zu acknowledgements in one request, more than %d",
                  list.n, API_ACKS_MAX);
        return API_ANSWER;
    }
    struct api_ack *acks = arena_alloc(c->arena, (list.n + 1) * sizeof *acks);
    if (!acks)
        return refuse(c, 500, "out of memory");
    const struct ack_in *in = list.v;
    for (size_t i = 0; i < list.n; i++) {
        if (!in[i].subscriber.n || in[i].index < (in[i].gone ? 0 : 1))
            return refuse(c, 400,
                          "each acknowledgement names a Subscriber and an "
                          "Index above 0");
        acks[i] = (struct api_ack){in[i].subscriber, (uint64_t)in[i].index,
                                   in[i].gone};
    }
    c->acks = acks;
    c->ack_count = list.n;
    return API_ACK;
}
