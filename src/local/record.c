/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/record.h"

#include "base/reader.h"

enum { LOCAL_FORMAT = 1, LOCAL_STATE_FORMAT = 2 };

/* --- Keys ---------------------------------------------------------------- */

static bool is_escaped(unsigned char c)
{
    return c < 0x21 || c == '/' || c == '%';
}

void local_key(struct buf *out, enum local_key_kind kind, struct bytes id)
{
    static const char hex[] = "0123456789abcdef";

    buf_putc(out, (char)kind);
    buf_putc(out, '/');
    for (size_t i = 0; i < id.n; i++) {
        unsigned char c = (unsigned char)id.p[i];
        if (is_escaped(c)) {
            char e[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_put_n(out, e, sizeof e);
        } else {
            buf_put_fold(out, bytes_of(&id.p[i], 1));
        }
    }
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One key per ID: what local_key would not have written is refused. */
static bool unescape(struct bytes from, char *to, size_t *ret_n)
{
    size_t n = 0;

    for (size_t i = 0; i < from.n; i++) {
        unsigned char c = (unsigned char)from.p[i];
        if (c != '%') {
            if (is_escaped(c) || (c >= 'A' && c <= 'Z'))
                return false;
            to[n++] = (char)c;
            continue;
        }
        if (from.n - i < 3)
            return false;
        int high = digit(from.p[i + 1]), low = digit(from.p[i + 2]);
        if (high < 0 || low < 0 ||
            !is_escaped((unsigned char)(high << 4 | low)))
            return false;
        to[n++] = (char)(high << 4 | low);
        i += 2;
    }
    *ret_n = n;
    return true;
}

enum err local_key_parse(struct bytes key, char *scratch,
                         enum local_key_kind *ret_kind, struct bytes *ret_id)
{
    size_t n;

    if (key.n < 3 || key.p[1] != '/' ||
        !unescape(bytes_skip(key, 2), scratch, &n))
        return ERR_BAD;
    switch (key.p[0]) {
    case LOCAL_KEY_SERVICE:
    case LOCAL_KEY_CHECK:
    case LOCAL_KEY_STATE:
        *ret_kind = (enum local_key_kind)key.p[0];
        *ret_id = bytes_of(scratch, n);
        return ERR_OK;
    }
    return ERR_BAD;
}

/* --- Services ------------------------------------------------------------ */

void local_service_put(struct buf *out, const struct service_view *v,
                       struct bytes token)
{
    struct buf record = {0};

    record_put_service(&record, v);
    buf_putc(out, LOCAL_FORMAT);
    buf_lp(out, buf_bytes(&record));
    buf_lp(out, token);
    out->bad |= record.bad;
    buf_fini(&record);
}

enum err local_service_get(struct bytes value, struct service_view *v,
                           struct bytes *ret_token)
{
    struct reader r = reader_over(value);

    r.bad |= read_u8(&r) != LOCAL_FORMAT;
    struct bytes record = read_lp(&r);
    struct bytes token = read_lp(&r);
    if (r.bad || reader_left(&r))
        return ERR_CORRUPT;
    *ret_token = token;
    return record_get_service(record, v);
}

/* --- States -------------------------------------------------------------- */

void local_state_put(struct buf *out, const struct local_state *s)
{
    buf_putc(out, LOCAL_STATE_FORMAT);
    buf_lp(out, bytes_str(status_name(s->status)));
    buf_lp(out, s->output);
    buf_lp(out, s->boot_id);
    buf_varint(out, s->written_ms);
    buf_varint(out, s->beat_ms);
    buf_varint(out, s->since_ms);
    buf_varint(out, s->cause);
    buf_varint(out, s->penalty);
    buf_varint(out, s->suppressed);
}

static void read_marks(struct reader *r, struct local_state *s)
{
    s->since_ms = read_varint(r);
    uint64_t cause = read_varint(r), penalty = read_varint(r),
             suppressed = read_varint(r);

    r->bad |= cause > CAUSE_SILENCE || penalty > UINT32_MAX || suppressed > 1;
    /* Only what is critical has a cause. */
    r->bad |= cause != CAUSE_EVIDENCE && s->status != STATUS_CRITICAL;
    s->cause = r->bad ? CAUSE_EVIDENCE : (enum check_cause)cause;
    s->penalty = (uint32_t)penalty;
    s->suppressed = suppressed;
}

enum err local_state_get(struct bytes value, struct local_state *ret)
{
    struct reader r = reader_over(value);
    struct local_state s = {0};
    uint8_t format = read_u8(&r);

    r.bad |= format != LOCAL_FORMAT && format != LOCAL_STATE_FORMAT;
    s.old = format == LOCAL_FORMAT;
    s.status = status_of(read_lp(&r));
    s.output = read_lp(&r);
    s.boot_id = read_lp(&r);
    s.written_ms = read_varint(&r);
    s.beat_ms = read_varint(&r);
    if (!s.old)
        read_marks(&r, &s);
    switch (s.status) {
    case STATUS_PASSING:
    case STATUS_WARNING:
    case STATUS_CRITICAL:
        break;
    case STATUS_MAINTENANCE:
    case STATUS_OTHER:
        r.bad = true;
    }
    if (r.bad || reader_left(&r) || s.beat_ms > s.written_ms)
        return ERR_CORRUPT;
    *ret = s;
    return ERR_OK;
}
