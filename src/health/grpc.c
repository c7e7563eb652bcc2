/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "health/grpc.h"

#include "base/reader.h"
#include "health/judge.h"

enum { TYPE_SHOWN_MAX = 64 };

enum serving { SERVING_UNKNOWN, SERVING, NOT_SERVING, SERVICE_UNKNOWN };

struct bytes grpc_target(struct bytes grpc, struct bytes *ret_service)
{
    size_t slash = bytes_find(grpc, '/');

    *ret_service = bytes_skip(grpc, slash + 1);
    return bytes_head(grpc, slash);
}

void grpc_request(struct buf *out, struct bytes service)
{
    struct buf message = {0};

    if (service.n) { /* field 1, length-delimited */
        buf_putc(&message, 1 << 3 | 2);
        buf_lp(&message, service);
    }
    buf_putc(out, 0); /* not compressed */
    buf_be32(out, (uint32_t)message.n);
    buf_put(out, buf_bytes(&message));
    out->bad |= message.bad;
    buf_fini(&message);
}

int grpc_status_of(struct bytes text)
{
    uint64_t v;
    return bytes_u64(text, &v) == ERR_OK && v <= 999 ? (int)v : GRPC_NO_STATUS;
}

/* --- Errors -------------------------------------------------------------- */

static const char *code_name(int status)
{
    static const char *const names[] = {
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    };
    if (status < 0 || (size_t)status >= sizeof names / sizeof names[0])
        return NULL;
    return names[status];
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What is no escape stands for itself. */
static void put_decoded(struct buf *out, struct bytes v)
{
    struct buf raw = {0};

    while (v.n) {
        bool escape =
            v.n >= 3 && v.p[0] == '%' && hex(v.p[1]) >= 0 && hex(v.p[2]) >= 0;
        int byte = escape ? hex(v.p[1]) * 16 + hex(v.p[2]) : v.p[0];
        buf_putc(&raw, (char)byte);
        v = bytes_skip(v, escape ? 3 : 1);
    }
    output_tail(out, buf_bytes(&raw), raw.n, raw.n, false);
    out->bad |= raw.bad;
    buf_fini(&raw);
}

void grpc_error(struct buf *text, int status, struct bytes message)
{
    const char *name = code_name(status);

    buf_puts(text, "rpc error: code = ");
    if (name)
        buf_puts(text, name);
    else
        buf_printf(text, "Code(%d)", status);
    buf_puts(text, " desc = ");
    put_decoded(text, message);
}

/* --- Answers ------------------------------------------------------------- */

static void skip_field(struct reader *r, uint64_t wire_type)
{
    switch (wire_type) {
    case 0:
        (void)read_varint(r);
        break;
    case 1:
        (void)read_bytes(r, 8);
        break;
    case 2:
        (void)read_lp(r);
        break;
    case 5:
        (void)read_bytes(r, 4);
        break;
    default:
        r->bad = true;
        break;
    }
}

/* False: not one uncompressed HealthCheckResponse. */
static bool parse(struct bytes body, uint64_t *ret)
{
    struct reader r = reader_over(body);
    uint64_t status = SERVING_UNKNOWN; /* a 0 is not sent */

    bool compressed = read_u8(&r) != 0;
    uint32_t n = read_be32(&r);
    if (r.bad || compressed || n != reader_left(&r))
        return false;
    while (!r.bad && reader_left(&r)) {
        uint64_t key = read_varint(&r);
        if (key == 1 << 3)
            status = read_varint(&r);
        else
            skip_field(&r, key & 7);
    }
    *ret = status;
    return !r.bad;
}

static const char *serving_name(uint64_t v)
{
    switch (v) {
    case SERVING_UNKNOWN:
        return "UNKNOWN";
    case NOT_SERVING:
        return "NOT_SERVING";
    case SERVICE_UNKNOWN:
        return "SERVICE_UNKNOWN";
    default:
        return "a status that nobody knows";
    }
}

static bool is_grpc(const struct grpc_answer *a)
{
    return bytes_starts(a->content_type, bytes_str("application/grpc"));
}

enum status grpc_judge(const struct grpc_answer *a, struct bytes target,
                       struct buf *text)
{
    uint64_t serving;

    if (a->http_status != 200 || !is_grpc(a)) {
        grpc_error(text, GRPC_UNAVAILABLE,
                   bytes_str("this is no gRPC server: it answered with HTTP "
                             "status "));
        buf_printf(text, "%d and Content-Type \"", a->http_status);
        struct bytes shown = bytes_head(a->content_type, TYPE_SHOWN_MAX);
        output_tail(text, shown, shown.n, shown.n, false);
        buf_puts(text, "\"");
        return STATUS_CRITICAL;
    }
    if (a->status == GRPC_NO_STATUS) {
        grpc_error(text, GRPC_UNAVAILABLE,
                   bytes_str("the answer ended without grpc-status"));
        return STATUS_CRITICAL;
    }
    if (a->status != GRPC_OK) {
        grpc_error(text, a->status, a->message);
        return STATUS_CRITICAL;
    }
    if (!parse(a->body, &serving)) {
        grpc_error(text, 13, bytes_str("the answer is no HealthCheckResponse"));
        return STATUS_CRITICAL;
    }
    if (serving == SERVING) {
        buf_puts(text, "gRPC check ");
        buf_put(text, target);
        buf_puts(text, ": success");
        return STATUS_PASSING;
    }
    buf_printf(text, "gRPC application didn't report service healthy: %s",
               serving_name(serving));
    return STATUS_CRITICAL;
}
