/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "http/bundle.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "base/reader.h"
#include "http/json_in.h"
#include "http/json_out.h"
#include "http/response.h"

enum {
    TAR_BLOCK = 512, /* POSIX.1-1988 ustar */
    TAR_SIZE_AT = 124,
    TAR_SUM_AT = 148,
    TAR_TYPE_AT = 156,
    SHA256_HEX = 64,
    META_BYTES_MAX = 64 * 1024,
    /* MessagePack */
    MP_MAP1 = 0x81,
    MP_MAP2 = 0x82,
    MP_U64 = 0xcf,
    MP_BIN32 = 0xc6,
    MP_FIXSTR = 0xa0,
};

/* --- state.bin ----------------------------------------------------------- */

static void put_name(struct buf *out, const char *name)
{
    buf_putc(out, (char)(MP_FIXSTR | strlen(name)));
    buf_puts(out, name);
}

static void put_bin(struct buf *out, const char *name, struct bytes v)
{
    put_name(out, name);
    buf_putc(out, (char)MP_BIN32);
    buf_be32(out, (uint32_t)v.n);
    buf_put(out, v);
}

void bundle_begin(struct buf *state, uint64_t index)
{
    buf_putc(state, (char)MP_MAP1);
    put_name(state, "LastIndex");
    buf_putc(state, (char)MP_U64);
    buf_be64(state, index);
}

void bundle_row(struct buf *state, struct bytes key, struct bytes value)
{
    buf_putc(state, (char)BUNDLE_RECORD);
    buf_putc(state, (char)MP_MAP2);
    put_bin(state, "Key", key);
    put_bin(state, "Value", value);
}

static void want_name(struct reader *r, const char *name)
{
    size_t n = strlen(name);

    if (read_u8(r) != (MP_FIXSTR | n) || !bytes_is(read_bytes(r, n), name))
        r->bad = true;
}

static struct bytes want_bin(struct reader *r, const char *name)
{
    want_name(r, name);
    if (read_u8(r) != MP_BIN32)
        r->bad = true;
    uint32_t n = read_be32(r);

    return read_bytes(r, n);
}

static uint64_t want_header(struct reader *r)
{
    if (read_u8(r) != MP_MAP1)
        r->bad = true;
    want_name(r, "LastIndex");
    if (read_u8(r) != MP_U64)
        r->bad = true;
    return read_be64(r);
}

static void want_row(struct reader *r, struct bytes *key, struct bytes *value)
{
    if (read_u8(r) != BUNDLE_RECORD || read_u8(r) != MP_MAP2)
        r->bad = true;
    *key = want_bin(r, "Key");
    *value = want_bin(r, "Value");
    if (key->n == 0 || key->n > BUNDLE_KEY_MAX)
        r->bad = true;
}

bool bundle_next(const struct bundle *b, size_t *at, struct bytes *ret_key,
                 struct bytes *ret_value)
{
    struct reader r = reader_over(bytes_skip(b->state, *at));

    if (*at == 0)
        (void)want_header(&r);
    if (r.bad || reader_left(&r) == 0)
        return false;
    want_row(&r, ret_key, ret_value);
    *at = b->state.n - reader_left(&r);
    return !r.bad;
}

static enum err check_state(struct bundle *b, struct errtext *t)
{
    struct reader r = reader_over(b->state);
    struct bytes key, value;
    uint64_t index = want_header(&r);

    if (r.bad) {
        errtext_set(t, "state.bin is not muster's: Consul's own snapshots "
                       "cannot be restored here");
        return ERR_BAD;
    }
    if (index != b->meta.index)
        r.bad = true;
    for (b->rows = 0; !r.bad && reader_left(&r) > 0; b->rows++)
        want_row(&r, &key, &value);
    if (r.bad) {
        errtext_set(t, "state.bin is damaged in record %zu", b->rows);
        return ERR_BAD;
    }
    return ERR_OK;
}

/* --- tar ----------------------------------------------------------------- */

static void put_octal(char *to, size_t digits, uint64_t v)
{
    for (size_t i = digits; i-- > 0; v >>= 3)
        to[i] = (char)('0' + (v & 7));
}

/* The sum of all bytes, those of the sum itself taken as blanks. */
static uint32_t tar_sum(const char *block)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= TAR_SUM_AT && i < TAR_SUM_AT + 8 ? ' '
                                                     : (unsigned char)block[i];
    return sum;
}

static void put_file(struct buf *out, const char *name, struct bytes body,
                     uint64_t wall_ms)
{
    char block[TAR_BLOCK] = {0};

    memcpy(block, name, strlen(name));
    memcpy(block + 100, "0000600", 8);
    memcpy(block + 108, "0000000", 8);
    memcpy(block + 116, "0000000", 8);
    put_octal(block + TAR_SIZE_AT, 11, body.n);
    put_octal(block + 136, 11, wall_ms / 1000);
    block[TAR_TYPE_AT] = '0';
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    put_octal(block + TAR_SUM_AT, 6, tar_sum(block));
    block[TAR_SUM_AT + 7] = ' ';
    buf_put_n(out, block, sizeof block);
    buf_put(out, body);
    memset(block, 0, sizeof block);
    buf_put_n(out, block, (TAR_BLOCK - body.n % TAR_BLOCK) % TAR_BLOCK);
}

static bool read_octal(struct bytes field, uint64_t *ret)
{
    *ret = 0;
    for (size_t i = 0; i < field.n && field.p[i] && field.p[i] != ' '; i++) {
        if (field.p[i] < '0' || field.p[i] > '7')
            return false;
        *ret = *ret << 3 | (uint64_t)(field.p[i] - '0');
    }
    return true;
}

/* The next file's name and body; false: the end, or damage (*bad). */
static bool take_file(struct bytes *rest, struct bytes *ret_name,
                      struct bytes *ret_body, bool *bad)
{
    uint64_t size, sum;

    if (rest->n < TAR_BLOCK || rest->p[0] == '\0')
        return false;
    struct bytes block = bytes_head(*rest, TAR_BLOCK);
    struct bytes name = bytes_head(block, 100);

    *ret_name = bytes_head(name, bytes_find(name, '\0'));
    *bad = !read_octal(bytes_of(block.p + TAR_SIZE_AT, 12), &size) ||
           !read_octal(bytes_of(block.p + TAR_SUM_AT, 8), &sum) ||
           sum != tar_sum(block.p) || size > rest->n - TAR_BLOCK;
    if (*bad)
        return false;
    *ret_body = bytes_of(rest->p + TAR_BLOCK, (size_t)size);
    *rest = bytes_skip(*rest, TAR_BLOCK + ((size_t)size + TAR_BLOCK - 1) /
                                              TAR_BLOCK * TAR_BLOCK);
    return true;
}

/* --- Sums ---------------------------------------------------------------- */

static bool sha256(struct bytes v, char hex[SHA256_HEX + 1])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!EVP_Digest(v.p ? v.p : "", v.n, sum, &n, EVP_sha256(), NULL) ||
        n * 2 != SHA256_HEX)
        return false;
    for (unsigned i = 0; i < n; i++)
        snprintf(hex + (size_t)i * 2, 3, "%02x", sum[i]);
    return true;
}

static void put_sum(struct buf *out, const char *name, struct bytes body)
{
    char hex[SHA256_HEX + 1];

    if (!sha256(body, hex)) {
        out->bad = true;
        return;
    }
    buf_printf(out, "%s  %s\n", hex, name);
}

static bool sum_is(struct bytes sums, const char *name, struct bytes body)
{
    struct buf want = {0};

    put_sum(&want, name, body);
    bool found =
        !want.bad && want.n && sums.n && memmem(sums.p, sums.n, want.p, want.n);

    buf_fini(&want);
    return found;
}

/* --- meta.json ----------------------------------------------------------- */

static void put_meta(struct buf *out, const struct bundle_meta *m)
{
    struct json_out j = json_out(out);
    char id[64];

    snprintf(id, sizeof id, "2-%llu-%llu", (unsigned long long)m->index,
             (unsigned long long)m->wall_ms);
    json_open(&j, '{');
    json_member_u64(&j, "Version", 1);
    json_member_str(&j, "ID", bytes_str(id));
    json_member_u64(&j, "Index", m->index);
    json_member_u64(&j, "Term", 2);
    json_key(&j, "Peers");
    json_nil(&j);
    json_key(&j, "Configuration");
    json_open(&j, '{');
    json_key(&j, "Servers");
    json_open(&j, '[');
    json_open(&j, '{');
    json_member_u64(&j, "Suffrage", 0);
    json_member_str(&j, "ID", m->node_id);
    json_member_str(&j, "Address", m->address);
    json_close(&j, '}');
    json_close(&j, ']');
    json_close(&j, '}');
    json_member_u64(&j, "ConfigurationIndex", 1);
    json_member_u64(&j, "Size", m->size);
    json_member_u64(&j, "MusterFormat", BUNDLE_FORMAT);
    json_close(&j, '}');
    buf_putc(out, '\n');
}

struct meta_fields {
    struct bytes id;
    int64_t index, size, format;
};

#define META(name, kind, member)                                               \
    {                                                                          \
        name, NULL, kind, offsetof(struct meta_fields, member), NULL,          \
            JSON_NO_FLAG                                                       \
    }

static enum err read_meta(struct bundle *b, struct errtext *t)
{
    static const struct json_field fields[] = {
        META("ID", FIELD_STRING, id),
        META("Index", FIELD_INT, index),
        META("Size", FIELD_INT, size),
        META("MusterFormat", FIELD_INT, format),
    };
    static const struct json_table table = {
        fields, sizeof fields / sizeof *fields, sizeof(struct meta_fields)};
    struct meta_fields m = {0};
    struct errtext why = {{0}};
    struct arena a;

    arena_init(&a, META_BYTES_MAX * 4);
    enum err e = b->meta_text.n > META_BYTES_MAX
                     ? ERR_LIMIT
                     : json_decode(b->meta_text, &table, &m, &a, &why);
    /* The ID goes with the arena: it stands in the text, too. */
    const char *id =
        e == ERR_OK && m.id.n
            ? memmem(b->meta_text.p, b->meta_text.n, m.id.p, m.id.n)
            : NULL;

    b->meta = (struct bundle_meta){
        .index = (uint64_t)m.index,
        .size = (uint64_t)m.size,
        .format = (uint64_t)m.format,
        .id = id ? bytes_of(id, m.id.n) : (struct bytes){0},
    };
    arena_fini(&a);
    if (e != ERR_OK) {
        errtext_set(t, "meta.json: %s", why.s[0] ? why.s : err_text(e));
        return e == ERR_NOMEM ? e : ERR_BAD;
    }
    if (b->meta.format > BUNDLE_FORMAT) {
        errtext_set(t, "made by a newer muster: format %llu, this one reads %d",
                    (unsigned long long)b->meta.format, BUNDLE_FORMAT);
        return ERR_BAD;
    }
    return ERR_OK;
}

/* --- The whole ----------------------------------------------------------- */

enum err bundle_pack(const struct buf *state, const struct bundle_meta *m,
                     struct buf *out)
{
    struct bundle_meta meta = *m;
    struct buf text = {0}, sums = {0}, tar = {0};
    char end[2 * TAR_BLOCK] = {0};
    enum err e = ERR_NOMEM;

    meta.size = state->n;
    put_meta(&text, &meta);
    put_sum(&sums, "meta.json", buf_bytes(&text));
    put_sum(&sums, "state.bin", buf_bytes(state));
    put_file(&tar, "meta.json", buf_bytes(&text), m->wall_ms);
    put_file(&tar, "state.bin", buf_bytes(state), m->wall_ms);
    put_file(&tar, "SHA256SUMS", buf_bytes(&sums), m->wall_ms);
    buf_put_n(&tar, end, sizeof end);
    if (!state->bad && !text.bad && !sums.bad && !tar.bad)
        e = http_gzip(buf_bytes(&tar), out);
    buf_fini(&text);
    buf_fini(&sums);
    buf_fini(&tar);
    return e;
}

static enum err unpack(struct bundle *b, struct bytes archive,
                       struct bytes *ret_sums, struct errtext *t)
{
    struct bytes rest, name, body;
    bool bad = false;

    buf_init(&b->tar, BUNDLE_BYTES_MAX);
    enum err e = http_gunzip(archive, &b->tar);
    if (e == ERR_LIMIT)
        errtext_set(t, "the snapshot is larger than %d bytes, the limit",
                    BUNDLE_BYTES_MAX);
    else if (e != ERR_OK)
        errtext_set(t, "not a snapshot: it is not compressed with gzip, or cut "
                       "off");
    if (e != ERR_OK)
        return e;
    for (rest = buf_bytes(&b->tar); take_file(&rest, &name, &body, &bad);) {
        struct bytes *to = bytes_is(name, "meta.json")    ? &b->meta_text
                           : bytes_is(name, "state.bin")  ? &b->state
                           : bytes_is(name, "SHA256SUMS") ? ret_sums
                                                          : NULL;
        if (!to || to->p) {
            errtext_set(t,
                        "the archive holds \"%.*s\", which is not a "
                        "snapshot's, or is there twice",
                        BYTES_ARG(name));
            return ERR_BAD;
        }
        *to = body;
    }
    if (bad || !b->meta_text.p || !b->state.p || !ret_sums->p) {
        errtext_set(t, "the archive is damaged, or lacks one of meta.json, "
                       "state.bin, SHA256SUMS");
        return ERR_BAD;
    }
    return ERR_OK;
}

enum err bundle_open(struct bytes archive, struct bundle *ret,
                     struct errtext *t)
{
    struct bytes sums = {0};

    *ret = (struct bundle){0};
    enum err e = unpack(ret, archive, &sums, t);
    if (e == ERR_OK && !sum_is(sums, "meta.json", ret->meta_text)) {
        errtext_set(t, "meta.json does not have the sum that SHA256SUMS says");
        e = ERR_BAD;
    }
    if (e == ERR_OK && !sum_is(sums, "state.bin", ret->state)) {
        errtext_set(t, "state.bin does not have the sum that SHA256SUMS says");
        e = ERR_BAD;
    }
    if (e == ERR_OK)
        e = read_meta(ret, t);
    if (e == ERR_OK && ret->meta.size != ret->state.n) {
        errtext_set(t, "state.bin has %zu bytes, meta.json says %llu",
                    ret->state.n, (unsigned long long)ret->meta.size);
        e = ERR_BAD;
    }
    if (e == ERR_OK)
        e = check_state(ret, t);
    if (e != ERR_OK)
        bundle_fini(ret);
    return e;
}

void bundle_fini(struct bundle *b)
{
    buf_fini(&b->tar);
    *b = (struct bundle){0};
}
