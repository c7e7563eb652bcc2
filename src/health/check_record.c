/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The stored form of a check's definition:
 *
 *     u8      format, 1
 *     varint  mask of the texts that are not empty (order of the table below),
 *             then each: varint length, bytes
 *     varint  mask of the numbers that are not their default, then each: zigzag
 *             varint
 *     varint  mask of the booleans that are true
 *     varint  number of arguments, then each as a text
 *     varint  number of header lines, then name and value of each
 *
 * Everything has one form only: what is accepted is written back as the same
 * bytes. New fields go to the end of a table; older programs refuse the value.
 */
#include "base/reader.h"
#include "health/check_def.h"

enum { CHECK_FORMAT = 1 };

struct number_field {
    size_t offset;
    int64_t default_value;
};

#define FIELD(name)  offsetof(struct check_def, name)
#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static const size_t texts[] = {
    FIELD(id),      FIELD(name),       FIELD(notes),
    FIELD(status),  FIELD(service_id), FIELD(http),
    FIELD(method),  FIELD(body),       FIELD(tls_server_name),
    FIELD(tcp),     FIELD(udp),        FIELD(grpc),
    FIELD(h2ping),  FIELD(os_service), FIELD(docker_container_id),
    FIELD(shell),   FIELD(alias_node), FIELD(alias_service),
    FIELD(damping),
};

static const struct number_field numbers[] = {
    {FIELD(interval_ns), 0},
    {FIELD(timeout_ns), 0},
    {FIELD(ttl_ns), 0},
    {FIELD(deregister_after_ns), 0},
    {FIELD(output_max), 0},
    {FIELD(success_before_passing), 0},
    {FIELD(failures_before_critical), 0},
    {FIELD(failures_before_warning), -1},
};

static const size_t flags[] = {
    FIELD(tls_skip_verify), FIELD(disable_redirects), FIELD(tcp_use_tls),
    FIELD(grpc_use_tls),    FIELD(h2ping_use_tls),    FIELD(h2ping_use_tls_set),
};

static struct bytes *text_at(const struct check_def *d, size_t i)
{
    return (struct bytes *)((char *)d + texts[i]);
}

static int64_t *number_at(const struct check_def *d, size_t i)
{
    return (int64_t *)((char *)d + numbers[i].offset);
}

static bool *flag_at(const struct check_def *d, size_t i)
{
    return (bool *)((char *)d + flags[i]);
}

/* Small negative numbers stay short. */
static uint64_t zigzag(int64_t v)
{
    return v < 0 ? ~((uint64_t)v << 1) : (uint64_t)v << 1;
}

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v & 1 ? ~(v >> 1) : v >> 1);
}

/* --- Writing ------------------------------------------------------------- */

static void put_texts(struct buf *out, const struct check_def *d)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < COUNT(texts); i++)
        mask |= (uint64_t)(text_at(d, i)->n > 0) << i;
    buf_varint(out, mask);
    for (size_t i = 0; i < COUNT(texts); i++)
        if (text_at(d, i)->n)
            buf_lp(out, *text_at(d, i));
}

static void put_numbers(struct buf *out, const struct check_def *d)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < COUNT(numbers); i++)
        mask |= (uint64_t)(*number_at(d, i) != numbers[i].default_value) << i;
    buf_varint(out, mask);
    for (size_t i = 0; i < COUNT(numbers); i++)
        if (mask >> i & 1)
            buf_varint(out, zigzag(*number_at(d, i)));
}

void check_def_put(struct buf *out, const struct check_def *d)
{
    uint64_t mask = 0;

    buf_putc(out, CHECK_FORMAT);
    put_texts(out, d);
    put_numbers(out, d);
    for (size_t i = 0; i < COUNT(flags); i++)
        mask |= (uint64_t)*flag_at(d, i) << i;
    buf_varint(out, mask);
    buf_varint(out, d->arg_count);
    for (size_t i = 0; i < d->arg_count; i++)
        buf_lp(out, d->args[i]);
    buf_varint(out, d->header_count);
    for (size_t i = 0; i < d->header_count; i++) {
        buf_lp(out, d->headers[i].name);
        buf_lp(out, d->headers[i].value);
    }
}

/* --- Reading ------------------------------------------------------------- */

static uint64_t read_mask(struct reader *r, size_t bits)
{
    uint64_t mask = read_varint(r);
    r->bad |= mask >> bits != 0;
    return mask;
}

static void read_texts(struct reader *r, struct check_def *d)
{
    uint64_t mask = read_mask(r, COUNT(texts));
    for (size_t i = 0; i < COUNT(texts); i++) {
        if (!(mask >> i & 1))
            continue;
        *text_at(d, i) = read_lp(r);
        r->bad |= text_at(d, i)->n == 0;
    }
}

static void read_numbers(struct reader *r, struct check_def *d)
{
    uint64_t mask = read_mask(r, COUNT(numbers));
    for (size_t i = 0; i < COUNT(numbers); i++) {
        *number_at(d, i) = numbers[i].default_value;
        if (!(mask >> i & 1))
            continue;
        *number_at(d, i) = unzigzag(read_varint(r));
        r->bad |= *number_at(d, i) == numbers[i].default_value;
    }
}

static enum err read_args(struct reader *r, struct check_def *d,
                          struct arena *a)
{
    uint64_t n = read_varint(r);
    if (r->bad || n > CHECK_ARGS_MAX)
        return ERR_CORRUPT;
    if (n && !(d->args = arena_alloc(a, n * sizeof *d->args)))
        return ERR_NOMEM;
    d->arg_count = n;
    for (size_t i = 0; i < n; i++)
        d->args[i] = read_lp(r);
    return ERR_OK;
}

static enum err read_headers(struct reader *r, struct check_def *d,
                             struct arena *a)
{
    uint64_t n = read_varint(r);
    if (r->bad || n > CHECK_HEADERS_MAX)
        return ERR_CORRUPT;
    if (n && !(d->headers = arena_alloc(a, n * sizeof *d->headers)))
        return ERR_NOMEM;
    d->header_count = n;
    for (size_t i = 0; i < n; i++) {
        d->headers[i].name = read_lp(r);
        d->headers[i].value = read_lp(r);
    }
    return ERR_OK;
}

enum err check_def_get(struct bytes value, struct check_def *d, struct arena *a)
{
    struct reader r = reader_over(value);
    struct check_def got = {0};

    r.bad |= read_u8(&r) != CHECK_FORMAT;
    read_texts(&r, &got);
    read_numbers(&r, &got);
    uint64_t mask = read_mask(&r, COUNT(flags));
    for (size_t i = 0; i < COUNT(flags); i++)
        *flag_at(&got, i) = mask >> i & 1;
    enum err e = read_args(&r, &got, a);
    if (e == ERR_OK)
        e = read_headers(&r, &got, a);
    if (e != ERR_OK)
        return e;
    if (r.bad || reader_left(&r))
        return ERR_CORRUPT;
    *d = got;
    return ERR_OK;
}
