/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* etcd_wire - Protocol Buffers as etcd's gRPC calls use them, and gRPC's frames
 * (protobuf.dev/programming-guides/encoding; grpc/grpc doc/PROTOCOL-HTTP2.md).
 *
 * A message is fields in any order, unknown ones are skipped, absent ones are
 * zero. Answers hold thousands of rows, so nothing is built of them:
 *
 *     while (wire_next(&w))
 *         switch (w.field) {
 *         case 3: n = wire_u64(&w); break;
 *         default: wire_skip(&w);
 *         }
 *
 * The error is sticky: what is no message of the expected shape makes `bad`
 * true, loops end, values are zero. Views point into the input. */
#ifndef STORE_ETCD_WIRE_H
#define STORE_ETCD_WIRE_H

#include "base/buf.h"
#include "base/reader.h"

enum {
    WIRE_FRAME_BYTES = 5, /* in front of a message: compressed or not, length */
};

struct wire {
    struct reader r;
    uint64_t field;
    unsigned type;
};

static inline struct wire wire_over(struct bytes b)
{
    return (struct wire){.r = reader_over(b)};
}

bool wire_next(struct wire *w); /* false: the end, or bad */
uint64_t wire_u64(struct wire *w);
bool wire_bool(struct wire *w);
struct bytes wire_bytes(struct wire *w);
void wire_skip(struct wire *w);

/* A message within; what is wrong with it is wrong with the whole. */
struct wire wire_enter(struct wire *w);
void wire_leave(struct wire *w, const struct wire *inner);

/* The message of the first frame in b. False: not all of it is there, or it is
 * compressed, which nobody asked for (ret_bad). */
bool wire_frame(struct bytes b, struct bytes *ret_message, bool *ret_bad);

/* --- Writing ------------------------------------------------------------- */

void wire_put_u64(struct buf *out, unsigned field, uint64_t v);
void wire_put_bytes(struct buf *out, unsigned field, struct bytes v);

/* A message within: its length (four bytes, below 2^28) is filled in at its
 * end. */
size_t wire_begin(struct buf *out, unsigned field);
void wire_end(struct buf *out, size_t begun);

/* Empties out and leaves room for the frame; closed when all is written. */
void wire_frame_begin(struct buf *out);
void wire_frame_end(struct buf *out);

/* A grpc-message, which comes percent-encoded, in place. */
void wire_text_decode(struct buf *text);

#endif
