/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Parameters that name moments of the past, and the parts of a history. */
#include "api/impl.h"
#include "base/duration.h"
#include "base/rfc3339.h"

const char *const past_param_names[PAST_PARAMS] = {"node", "id", "limit"};

static bool all_digits(struct bytes b)
{
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] < '0' || b.p[i] > '9')
            return false;
    return b.n > 0;
}

enum err api_at_parse(struct bytes text, struct api_at *ret)
{
    struct api_at at = {API_AT_REVISION, 0};
    bool minus = text.n && text.p[0] == '-';
    int64_t ns = 0;
    if (all_digits(text)) {
        if (bytes_u64(text, &at.value) != ERR_OK)
            at.value = UINT64_MAX; /* beyond any */
    } else if (rfc3339_parse(text, &at.value) == ERR_OK) {
        at.kind = API_AT_TIME;
    } else if (duration_parse(bytes_skip(text, minus), &ns, NULL) == ERR_OK &&
               ns >= 0) {
        at.kind = API_AT_BEFORE;
        at.value = (uint64_t)ns / NS_PER_MS;
    } else {
        return ERR_BAD;
    }
    *ret = at;
    return ERR_OK;
}

static enum api_next moment(struct api_call *c, const char *name,
                            struct api_at *ret)
{
    const struct http_param *p = http_param(c->request, name);
    if (!p || api_at_parse(p->value, ret) == ERR_OK)
        return API_READ;
    api_error(c, 400,
              "Invalid ?%s \"%.*s\": give a revision (4711), a time "
              "(2026-11-26T03:12:00Z) or how long ago (10m)",
              name, BYTES_ARG(bytes_head(p->value, 64)));
    return API_ANSWER;
}

static enum api_next limit(struct api_call *c)
{
    const struct http_param *p = http_param(c->request, "limit");
    uint64_t n = API_STORY_LIMIT_DEFAULT;
    if (p && (bytes_u64(p->value, &n) != ERR_OK || n == 0 ||
              n > API_STORY_LIMIT_MAX)) {
        api_error(c, 400, "Invalid ?limit \"%.*s\": give a number from 1 to %d",
                  BYTES_ARG(bytes_head(p->value, 64)), API_STORY_LIMIT_MAX);
        return API_ANSWER;
    }
    c->story_limit = (uint32_t)n;
    return API_READ;
}

enum api_next past_params(struct api_call *c)
{
    const struct http_request *r = c->request;
    bool waits = http_param_value(r, "index").n > 0;
    if (c->route->at && moment(c, "at", &c->at) == API_ANSWER)
        return API_ANSWER;
    bool streams = c->route->set != SET_NONE && stream_is_wanted(c);
    if (c->at.kind != API_AT_NONE && (waits || streams)) {
        api_error(c, 400,
                  "%s for what is to come, ?at asks for what was: give one of "
                  "them",
                  streams ? "A stream is" : "?index waits");
        return API_ANSWER;
    }
    c->story = c->route->story;
    if (c->story == API_STORY_DEPARTED) {
        c->story_limit = API_DEPARTED_MAX;
        if (waits) /* who waits is told of those that are there */
            c->story = API_STORY_NONE;
    }
    if (c->story != API_STORY_CHANGES)
        return API_READ;
    c->story_node = http_param_value(r, "node");
    c->story_id = http_param_value(r, "id");
    if (moment(c, "since", &c->since) == API_ANSWER)
        return API_ANSWER;
    return limit(c);
}
