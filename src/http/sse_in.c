/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/sse_in.h"

void sse_in_init(struct sse_in *in, size_t line_max)
{
    *in = (struct sse_in){0};
    buf_init(&in->line, line_max);
    buf_init(&in->data, line_max);
}

void sse_in_fini(struct sse_in *in)
{
    buf_fini(&in->line);
    buf_fini(&in->data);
}

static void next_event(struct sse_in *in)
{
    buf_reset(&in->data);
    in->event[0] = '\0';
    in->has_id = false;
}

void sse_in_reset(struct sse_in *in)
{
    buf_reset(&in->line);
    next_event(in);
}

struct sink {
    struct sse_in *in;
    enum err (*got)(void *ctx, const struct sse_got *e);
    void *ctx;
};

static enum err dispatch(const struct sink *s)
{
    struct sse_in *in = s->in;
    struct sse_got e = {
        .name = bytes_str(in->event),
        .data = buf_bytes(&in->data),
        .id = in->id,
        .has_id = in->has_id,
    };
    enum err err = ERR_OK;

    if (e.data.n || e.has_id)
        err = s->got(s->ctx, &e);
    next_event(in);
    return err;
}

static enum err take_line(const struct sink *s, struct bytes line)
{
    struct sse_in *in = s->in;
    size_t colon = bytes_find(line, ':');
    struct bytes field = bytes_head(line, colon);
    struct bytes value = bytes_skip(line, colon + 1);

    if (line.n == 0)
        return dispatch(s);
    if (value.n && value.p[0] == ' ')
        value = bytes_skip(value, 1);
    if (colon == 0)
        return s->got(s->ctx, &(struct sse_got){.comment = value});
    if (bytes_is(field, "data")) {
        if (in->data.n)
            buf_putc(&in->data, '\n');
        buf_put(&in->data, value);
    } else if (bytes_is(field, "event") && value.n < sizeof in->event) {
        memcpy(in->event, value.p, value.n);
        in->event[value.n] = '\0';
    } else if (bytes_is(field, "id")) {
        in->has_id = bytes_u64(value, &in->id) == ERR_OK;
    }
    return ERR_OK;
}

enum err sse_in_take(struct sse_in *in, struct bytes *piece,
                     enum err (*got)(void *ctx, const struct sse_got *e),
                     void *ctx, struct errtext *t)
{
    struct sink s = {in, got, ctx};

    in->stop = false;
    while (piece->n && !in->stop) {
        size_t end = bytes_find(*piece, '\n');
        bool whole = end < piece->n;

        buf_put(&in->line, bytes_head(*piece, end));
        *piece = bytes_skip(*piece, end + 1);
        if (!whole && !in->line.bad)
            return ERR_OK;
        if (in->line.n && in->line.p[in->line.n - 1] == '\r')
            in->line.n--;
        enum err e =
            in->line.bad ? ERR_LIMIT : take_line(&s, buf_bytes(&in->line));
        if (e == ERR_OK && in->data.bad)
            e = ERR_LIMIT;
        if (e == ERR_LIMIT && (in->line.bad || in->data.bad))
            errtext_set(t, "an event of over %zu bytes, or no memory for it",
                        in->line.max);
        if (e != ERR_OK)
            return e;
        buf_reset(&in->line);
    }
    return ERR_OK;
}

enum err sse_in_push(struct sse_in *in, struct bytes piece,
                     enum err (*got)(void *ctx, const struct sse_got *e),
                     void *ctx, struct errtext *t)
{
    return sse_in_take(in, &piece, got, ctx, t);
}
