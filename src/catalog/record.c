/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Stored values.
 *
 *     node     0x11 name flags [id] [address] [tagged] [meta]
 *     service  0x21 id flags [name] [kind] [tags] [address] [tagged] [meta]
 *                   [port] [weights] [proxy] [connect] [extra]
 *     check    0x31 id flags [name] [service] [status] [notes] [output]
 *                   [type] [definition] [marks]
 *     guard    0x41 name flags base left reg_base reg_left [out]
 *
 * Texts are a varint length and bytes; flags a varint of bits below; tagged,
 * tags and meta are a varint number of items, then the packed data as one text;
 * port and the two weights are zigzag varints. A guard's numbers are varints, its
 * out is a map of the same form. Marks are five varints: cause |
 * held << 2 | damped << 3, penalty, and the three times in their order. What stands in brackets is there
 * only if its bit is set, and is never empty (port never 0, weights never 1 and
 * 1, a name never the ID, marks never all zero): each view has one form, and a typical service takes
 * 60 bytes. The first digit of the format byte is the kind, the second the
 * version.
 *
 * The name of a node, the ID of a service or check comes first because trees
 * find their order by it. */
#include "catalog/record.h"

#include "base/reader.h"
#include "catalog/impl.h"

enum node_flags {
    NODE_TAGGED_SET = 1 << 0,
    NODE_META_SET = 1 << 1,
    NODE_ID = 1 << 2,
    NODE_ADDRESS = 1 << 3,
    NODE_TAGGED = 1 << 4,
    NODE_META = 1 << 5,
    NODE_FLAGS = (1 << 6) - 1,
};

/* The first seven, and thus a flags field of one byte, suffice for most. */
enum service_flags {
    SERVICE_NAME = 1 << 0, /* other than the ID */
    SERVICE_TAGS = 1 << 1,
    SERVICE_ADDRESS = 1 << 2,
    SERVICE_META = 1 << 3,
    SERVICE_META_SET = 1 << 4,
    SERVICE_PORT = 1 << 5,
    SERVICE_WEIGHTS = 1 << 6, /* other than 1 and 1 */
    SERVICE_OVERRIDE = 1 << 7,
    SERVICE_KIND = 1 << 8,
    SERVICE_TAGGED = 1 << 9,
    SERVICE_PROXY = 1 << 10,
    SERVICE_CONNECT = 1 << 11,
    SERVICE_EXTRA = 1 << 12,
    SERVICE_FLAGS = (1 << 13) - 1,
};

enum check_flags {
    CHECK_STATUS = 3, /* index into status_texts; 0: the text follows */
    CHECK_NAME = 1 << 2,
    CHECK_SERVICE = 1 << 3,
    CHECK_OUTPUT = 1 << 4,
    CHECK_NOTES = 1 << 5,
    CHECK_TYPE = 1 << 6,
    CHECK_DEFINITION = 1 << 7,
    CHECK_MARKS = 1 << 8,
    CHECK_FLAGS = (1 << 9) - 1,
};

enum guard_flags { GUARD_OUT = 1 << 0, GUARD_FLAGS = (1 << 1) - 1 };

enum { STATUS_PASSING = 1 }; /* of status_texts */

static const char *const status_texts[] = {"", "passing", "warning",
                                           "critical"};

/* --- Fields -------------------------------------------------------------- */

/* Reads with `whole` set to look into packed data too (bytes of a file). */
struct field_reader {
    struct reader r;
    uint64_t flags;
    bool whole;
};

static struct bytes get_text(struct field_reader *f, uint64_t bit)
{
    struct bytes b = {NULL, 0};

    if (f->flags & bit) {
        b = read_lp(&f->r);
        if (b.n == 0)
            f->r.bad = true;
    }
    return b;
}

static struct packed get_packed(struct field_reader *f, uint64_t bit, bool map,
                                size_t min_value_bytes)
{
    struct packed p = {{NULL, 0}, 0};

    if (!(f->flags & bit))
        return p;
    uint64_t n = read_varint(&f->r);
    p.data = read_lp(&f->r);
    p.n = (uint32_t)n;
    if (n == 0 || n > UINT32_MAX)
        f->r.bad = true;
    else if (f->whole && !packed_valid(p, map, min_value_bytes))
        f->r.bad = true;
    return p;
}

static int64_t get_int(struct field_reader *f)
{
    uint64_t v = read_varint(&f->r);

    return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

/* Format byte, first text, flags. */
static struct bytes get_head(struct field_reader *f, struct bytes value,
                             uint8_t format, uint64_t known)
{
    f->r = reader_over(value);
    if (read_u8(&f->r) != format)
        f->r.bad = true;
    struct bytes first = read_lp(&f->r);
    f->flags = read_varint(&f->r);
    if (first.n == 0 || (f->flags & ~known))
        f->r.bad = true;
    return first;
}

/* A name that is stored only if it is not the ID. */
static struct bytes get_name(struct field_reader *f, uint64_t bit,
                             struct bytes id)
{
    if (!(f->flags & bit))
        return id;
    struct bytes name = read_lp(&f->r);
    if (bytes_eq(name, id))
        f->r.bad = true;
    return name;
}

static enum err get_end(const struct field_reader *f)
{
    return f->r.bad || reader_left(&f->r) ? ERR_CORRUPT : ERR_OK;
}

static void put_text(struct buf *out, struct bytes b)
{
    if (b.n)
        buf_lp(out, b);
}

static void put_packed(struct buf *out, struct packed p)
{
    if (p.n) {
        buf_varint(out, p.n);
        buf_lp(out, p.data);
    }
}

static void put_int(struct buf *out, int64_t v)
{
    buf_varint(out, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

static void put_head(struct buf *out, uint8_t format, struct bytes first,
                     uint64_t flags)
{
    buf_putc(out, (char)format);
    buf_lp(out, first);
    buf_varint(out, flags);
}

static uint64_t flag(bool set, unsigned bit)
{
    return set ? bit : 0;
}

/* --- Nodes --------------------------------------------------------------- */

void record_put_node(struct buf *out, const struct node_view *v)
{
    put_head(out, FORMAT_NODE, v->name,
             flag(v->tagged_set, NODE_TAGGED_SET) |
                 flag(v->meta_set, NODE_META_SET) | flag(v->id.n, NODE_ID) |
                 flag(v->address.n, NODE_ADDRESS) |
                 flag(v->tagged.n, NODE_TAGGED) | flag(v->meta.n, NODE_META));
    put_text(out, v->id);
    put_text(out, v->address);
    put_packed(out, v->tagged);
    put_packed(out, v->meta);
}

static enum err get_node(struct bytes value, struct node_view *v, bool whole)
{
    struct field_reader f = {.whole = whole};

    v->name = get_head(&f, value, FORMAT_NODE, NODE_FLAGS);
    v->tagged_set = f.flags & NODE_TAGGED_SET;
    v->meta_set = f.flags & NODE_META_SET;
    v->id = get_text(&f, NODE_ID);
    v->address = get_text(&f, NODE_ADDRESS);
    v->tagged = get_packed(&f, NODE_TAGGED, true, 0);
    v->meta = get_packed(&f, NODE_META, true, 0);
    return get_end(&f);
}

enum err record_get_node(struct bytes value, struct node_view *v)
{
    return get_node(value, v, true);
}

void cat_node_view(const struct cat_record *r, struct node_view *v)
{
    (void)get_node(cat_value(r), v, false);
    v->create_rev = r->create_rev;
    v->modify_rev = r->mod_rev;
}

struct bytes cat_node_id(const struct cat_record *r)
{
    struct field_reader f = {0};

    (void)get_head(&f, cat_value(r), FORMAT_NODE, NODE_FLAGS);
    return get_text(&f, NODE_ID);
}

/* --- Services ------------------------------------------------------------ */

static uint64_t service_flags(const struct service_view *v)
{
    bool weights = v->weight_passing != 1 || v->weight_warning != 1;

    return flag(!bytes_eq(v->name, v->id), SERVICE_NAME) |
           flag(v->kind.n, SERVICE_KIND) | flag(v->tags.n, SERVICE_TAGS) |
           flag(v->address.n, SERVICE_ADDRESS) |
           flag(v->tagged.n, SERVICE_TAGGED) | flag(v->meta.n, SERVICE_META) |
           flag(v->meta_set, SERVICE_META_SET) |
           flag(v->port != 0, SERVICE_PORT) | flag(weights, SERVICE_WEIGHTS) |
           flag(v->enable_tag_override, SERVICE_OVERRIDE) |
           flag(v->proxy.n, SERVICE_PROXY) |
           flag(v->connect.n, SERVICE_CONNECT) |
           flag(v->extra.n, SERVICE_EXTRA);
}

void record_put_service(struct buf *out, const struct service_view *v)
{
    uint64_t flags = service_flags(v);

    put_head(out, FORMAT_SERVICE, v->id, flags);
    if (flags & SERVICE_NAME)
        buf_lp(out, v->name);
    put_text(out, v->kind);
    put_packed(out, v->tags);
    put_text(out, v->address);
    put_packed(out, v->tagged);
    put_packed(out, v->meta);
    if (flags & SERVICE_PORT)
        put_int(out, v->port);
    if (flags & SERVICE_WEIGHTS) {
        put_int(out, v->weight_passing);
        put_int(out, v->weight_warning);
    }
    put_text(out, v->proxy);
    put_text(out, v->connect);
    put_text(out, v->extra);
}

static void get_numbers(struct field_reader *f, struct service_view *v)
{
    v->port = 0;
    v->weight_passing = v->weight_warning = 1;
    if (f->flags & SERVICE_PORT) {
        v->port = get_int(f);
        if (v->port == 0)
            f->r.bad = true;
    }
    if (f->flags & SERVICE_WEIGHTS) {
        v->weight_passing = get_int(f);
        v->weight_warning = get_int(f);
        if (v->weight_passing == 1 && v->weight_warning == 1)
            f->r.bad = true;
    }
}

static enum err get_service(struct bytes value, struct service_view *v,
                            bool whole)
{
    struct field_reader f = {.whole = whole};

    v->id = get_head(&f, value, FORMAT_SERVICE, SERVICE_FLAGS);
    v->name = get_name(&f, SERVICE_NAME, v->id);
    if (v->name.n == 0)
        f.r.bad = true;
    v->kind = get_text(&f, SERVICE_KIND);
    v->tags = get_packed(&f, SERVICE_TAGS, false, 0);
    v->address = get_text(&f, SERVICE_ADDRESS);
    v->tagged = get_packed(&f, SERVICE_TAGGED, true, TAGGED_PORT_BYTES);
    v->meta = get_packed(&f, SERVICE_META, true, 0);
    v->meta_set = f.flags & SERVICE_META_SET;
    v->enable_tag_override = f.flags & SERVICE_OVERRIDE;
    get_numbers(&f, v);
    v->proxy = get_text(&f, SERVICE_PROXY);
    v->connect = get_text(&f, SERVICE_CONNECT);
    v->extra = get_text(&f, SERVICE_EXTRA);
    return get_end(&f);
}

enum err record_get_service(struct bytes value, struct service_view *v)
{
    return get_service(value, v, true);
}

void cat_service_view(const struct cat_record *r, struct service_view *v)
{
    (void)get_service(cat_value(r), v, false);
    v->node = cat_record_node(r);
    v->create_rev = r->create_rev;
    v->modify_rev = r->mod_rev;
}

struct bytes cat_service_name(const struct cat_record *r)
{
    struct field_reader f = {0};
    struct bytes id = get_head(&f, cat_value(r), FORMAT_SERVICE, SERVICE_FLAGS);

    return get_name(&f, SERVICE_NAME, id);
}

struct bytes cat_address(const struct cat_record *r)
{
    struct bytes value = cat_value(r);
    bool node = (uint8_t)value.p[0] == FORMAT_NODE;
    struct field_reader f = {0};

    if (node) {
        (void)get_head(&f, value, FORMAT_NODE, NODE_FLAGS);
        (void)get_text(&f, NODE_ID);
        return get_text(&f, NODE_ADDRESS);
    }
    struct bytes id = get_head(&f, value, FORMAT_SERVICE, SERVICE_FLAGS);
    if (!(f.flags & SERVICE_ADDRESS))
        return (struct bytes){NULL, 0};
    (void)get_name(&f, SERVICE_NAME, id);
    (void)get_text(&f, SERVICE_KIND);
    (void)get_packed(&f, SERVICE_TAGS, false, 0);
    return get_text(&f, SERVICE_ADDRESS);
}

/* --- Checks -------------------------------------------------------------- */

static unsigned status_code(struct bytes status)
{
    for (unsigned i = 1; i <= CHECK_STATUS; i++)
        if (bytes_is(status, status_texts[i]))
            return i;
    return 0;
}

enum { MARKS_CAUSE = 3, MARKS_HELD = 1 << 2, MARKS_DAMPED = 1 << 3 };

static void put_marks(struct buf *out, const struct check_marks *m)
{
    if (!marks_any(m))
        return;
    buf_varint(out, (uint64_t)m->cause | flag(m->held, MARKS_HELD) |
                        flag(m->damped, MARKS_DAMPED));
    buf_varint(out, m->penalty);
    buf_varint(out, m->since_ms);
    buf_varint(out, m->held_ms);
    buf_varint(out, m->damped_until_ms);
}

static void get_marks(struct field_reader *f, struct check_marks *m)
{
    *m = (struct check_marks){0};
    if (!(f->flags & CHECK_MARKS))
        return;
    uint64_t bits = read_varint(&f->r), penalty = read_varint(&f->r);
    unsigned cause = bits & MARKS_CAUSE;

    if (bits >= MARKS_DAMPED << 1 || cause > CAUSE_SILENCE ||
        penalty > UINT32_MAX) {
        f->r.bad = true;
        return;
    }
    *m = (struct check_marks){
        .cause = (enum check_cause)cause,
        .held = bits & MARKS_HELD,
        .damped = bits & MARKS_DAMPED,
        .penalty = (uint32_t)penalty,
        .since_ms = read_varint(&f->r),
    };
    m->held_ms = read_varint(&f->r);
    m->damped_until_ms = read_varint(&f->r);
    if (!marks_any(m))
        f->r.bad = true;
}

void record_put_check(struct buf *out, const struct check_view *v)
{
    unsigned status = status_code(v->status);
    bool named = !bytes_eq(v->name, v->id);

    put_head(out, FORMAT_CHECK, v->id,
             status | flag(named, CHECK_NAME) |
                 flag(v->service_id.n, CHECK_SERVICE) |
                 flag(v->output.n, CHECK_OUTPUT) |
                 flag(v->notes.n, CHECK_NOTES) | flag(v->type.n, CHECK_TYPE) |
                 flag(v->definition.n, CHECK_DEFINITION) |
                 flag(marks_any(&v->marks), CHECK_MARKS));
    if (named)
        buf_lp(out, v->name);
    put_text(out, v->service_id);
    if (!status)
        buf_lp(out, v->status);
    put_text(out, v->notes);
    put_text(out, v->output);
    put_text(out, v->type);
    put_text(out, v->definition);
    put_marks(out, &v->marks);
}

static struct bytes get_status(struct field_reader *f)
{
    unsigned code = f->flags & CHECK_STATUS;

    if (code)
        return bytes_str(status_texts[code]);
    struct bytes status = read_lp(&f->r);
    if (status_code(status))
        f->r.bad = true;
    return status;
}

static enum err get_check(struct bytes value, struct check_view *v, bool whole)
{
    struct field_reader f = {.whole = whole};

    v->id = get_head(&f, value, FORMAT_CHECK, CHECK_FLAGS);
    v->name = get_name(&f, CHECK_NAME, v->id);
    v->service_id = get_text(&f, CHECK_SERVICE);
    v->status = get_status(&f);
    v->notes = get_text(&f, CHECK_NOTES);
    v->output = get_text(&f, CHECK_OUTPUT);
    v->type = get_text(&f, CHECK_TYPE);
    v->definition = get_text(&f, CHECK_DEFINITION);
    get_marks(&f, &v->marks);
    return get_end(&f);
}

enum err record_get_check(struct bytes value, struct check_view *v)
{
    return get_check(value, v, true);
}

void cat_check_view(const struct cat_record *r, struct check_view *v)
{
    (void)get_check(cat_value(r), v, false);
    v->node = cat_record_node(r);
    v->create_rev = r->create_rev;
    v->modify_rev = r->mod_rev;
}

struct bytes cat_check_service(const struct cat_record *r)
{
    struct field_reader f = {0};
    struct bytes id = get_head(&f, cat_value(r), FORMAT_CHECK, CHECK_FLAGS);

    (void)get_name(&f, CHECK_NAME, id);
    return get_text(&f, CHECK_SERVICE);
}

bool cat_check_passes(const struct cat_record *r)
{
    struct field_reader f = {0};

    (void)get_head(&f, cat_value(r), FORMAT_CHECK, CHECK_FLAGS);
    return (f.flags & CHECK_STATUS) == STATUS_PASSING;
}

/* --- Guards -------------------------------------------------------------- */

void record_put_guard(struct buf *out, const struct guard_view *v)
{
    put_head(out, FORMAT_GUARD, v->name, flag(v->out.n, GUARD_OUT));
    buf_varint(out, v->base);
    buf_varint(out, v->left);
    buf_varint(out, v->reg_base);
    buf_varint(out, v->reg_left);
    put_packed(out, v->out);
}

static uint32_t get_count(struct field_reader *f)
{
    uint64_t n = read_varint(&f->r);

    if (n > UINT32_MAX)
        f->r.bad = true;
    return (uint32_t)n;
}

static enum err get_guard(struct bytes value, struct guard_view *v, bool whole)
{
    struct field_reader f = {.whole = whole};

    v->name = get_head(&f, value, FORMAT_GUARD, GUARD_FLAGS);
    v->base = get_count(&f);
    v->left = get_count(&f);
    v->reg_base = get_count(&f);
    v->reg_left = get_count(&f);
    v->out = get_packed(&f, GUARD_OUT, true, OUT_SINCE_BYTES);
    return get_end(&f);
}

enum err record_get_guard(struct bytes value, struct guard_view *v)
{
    return get_guard(value, v, true);
}

void cat_guard_view(const struct cat_record *r, struct guard_view *v)
{
    (void)get_guard(cat_value(r), v, false);
    v->create_rev = r->create_rev;
    v->modify_rev = r->mod_rev;
}
