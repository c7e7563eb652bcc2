/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/docker.h"

#include "base/reader.h"

static void read_head(struct docker_stream *s)
{
    struct reader r = reader_over(bytes_of(s->head, sizeof s->head));
    uint8_t kind = read_u8(&r);
    uint8_t zeros = read_u8(&r) | read_u8(&r) | read_u8(&r);

    s->left = read_be32(&r);
    s->bad = kind > 2 || zeros;
    s->head_n = 0;
}

void docker_stream_put(struct docker_stream *s, struct bytes piece,
                       struct ring *out)
{
    while (piece.n && !s->bad) {
        if (s->left) {
            struct bytes part = bytes_head(piece, s->left);
            ring_put(out, part);
            s->left -= (uint32_t)part.n;
            piece = bytes_skip(piece, part.n);
            continue;
        }
        s->head[s->head_n++] = (uint8_t)piece.p[0];
        piece = bytes_skip(piece, 1);
        if (s->head_n == sizeof s->head)
            read_head(s);
    }
}

bool docker_stream_whole(const struct docker_stream *s)
{
    return !s->bad && s->left == 0 && s->head_n == 0;
}

bool docker_name_ok(struct bytes name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9');
        if (!alnum && (i == 0 || c == '\0' || !strchr("_.-", c)))
            return false;
    }
    return name.n > 0 && name.n <= 255;
}
