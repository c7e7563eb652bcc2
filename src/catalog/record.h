/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* record - nodes, services, checks, guards, prepared queries and coordinates as
 * stored bytes, and views of them.
 *
 * A stored value is a format byte, then fields in a fixed order (record.c has
 * the layout): small, quick to take apart, checked on every read (bytes from a file
 * are never trusted). A view is a struct of pointers into such a value, made on
 * the stack where it is needed; nothing is kept decoded.
 *
 * Packed lists: (varint length, bytes)*, maps: pairs of those sorted by key. */
#ifndef CATALOG_RECORD_H
#define CATALOG_RECORD_H

#include "base/buf.h"
#include "base/bytes.h"
#include "base/coordinate.h"
#include "base/marks.h"

/* --- Packed lists and maps ------------------------------------------------ */

struct packed {
    struct bytes data;
    uint32_t n; /* items (pairs count once) */
};

/* Walks: start with the packed's data; false at the end. */
bool packed_next(struct bytes *rest, struct bytes *ret_item);
bool packed_next_pair(struct bytes *rest, struct bytes *ret_key,
                      struct bytes *ret_value);

bool packed_has(struct packed p, struct bytes item);
bool packed_has_fold(struct packed p, struct bytes item);
struct bytes packed_find(struct packed map,
                         struct bytes key); /* p NULL: none */

static inline bool packed_eq(struct packed a, struct packed b)
{
    return a.n == b.n && bytes_eq(a.data, b.data);
}

/* --- Views ---------------------------------------------------------------- */

struct node_view {
    struct bytes name; /* as registered */
    struct bytes id;   /* UUID text or empty */
    struct bytes address;
    struct packed tagged; /* name -> address */
    bool tagged_set;      /* false: null in JSON */
    struct packed meta;
    bool meta_set;
    uint64_t create_rev, modify_rev;
};

struct service_view {
    struct bytes node; /* folded node name (from the key) */
    struct bytes id, name, kind;
    struct packed tags;
    struct bytes address;
    struct packed tagged; /* name -> 8 bytes big-endian port, then address */
    struct packed meta;
    bool meta_set;
    int64_t port;
    int64_t weight_passing, weight_warning;
    bool enable_tag_override;
    struct bytes proxy;   /* JSON text as given, or empty */
    struct bytes connect; /* JSON text as given, or empty */
    struct bytes
        extra; /* further JSON members ("SocketPath":"x",...) or empty */
    uint64_t create_rev, modify_rev;
};

/* One tagged address of a service, from packed_next_pair's value. */
bool tagged_address(struct bytes value, struct bytes *ret_address,
                    int64_t *ret_port);

struct check_view {
    struct bytes node; /* folded node name (from the key) */
    struct bytes id, name;
    struct bytes status; /* passing warning critical, or whatever was given */
    struct bytes notes, output;
    struct bytes service_id; /* empty: of the node */
    struct bytes type;
    struct bytes definition; /* JSON object text, or empty for {} */
    struct check_marks marks;
    uint64_t create_rev, modify_rev;
};

/* What the guard let go of one service in this window (catalog/guard.h). No
 * clock in it: a window ends when the holder of the duty writes or deletes it. */
struct guard_view {
    struct bytes name; /* of the service, folded */
    uint32_t base;     /* instances in the answers when the window began */
    uint32_t left;     /* of those left since, by silence */
    uint32_t reg_base; /* instances registered when the window began */
    uint32_t reg_left; /* of those removed since, by silence */
    struct packed out; /* let go although a silent check of their node is held:
                          "<node>/<service>" as in keys -> the check's since_ms
                          (guard_out_put) */
    uint64_t create_rev, modify_rev;
};

/* A prepared query (src/query says what it means). Texts and lists are
 * numbered: a template goes through most of them alike. */
enum query_text {
    QUERY_NAME, /* empty: a template for every name */
    QUERY_SESSION,
    QUERY_TOKEN,
    QUERY_TEMPLATE, /* its type; empty: no template */
    QUERY_REGEXP,
    QUERY_SERVICE,
    QUERY_NEAR,
    QUERY_TTL,
    QUERY_TEXTS,
};

enum query_list {
    QUERY_DATACENTERS,
    QUERY_TARGETS, /* map: datacenter, peer; in the order given */
    QUERY_IGNORED, /* check IDs */
    QUERY_TAGS,
    QUERY_NODE_META,    /* map */
    QUERY_SERVICE_META, /* map */
    QUERY_LISTS,
};

static inline bool query_list_is_map(enum query_list l)
{
    return l == QUERY_TARGETS || l >= QUERY_NODE_META;
}

struct query_view {
    struct bytes id; /* UUID text */
    struct bytes text[QUERY_TEXTS];
    struct packed list[QUERY_LISTS];
    bool list_set[QUERY_LISTS]; /* false: null in JSON */
    int64_t nearest;
    bool remove_empty_tags, only_passing, connect;
    uint64_t create_rev, modify_rev;
};

/* Where a node is in the space of round-trip times. */
struct coordinate_view {
    struct bytes node; /* as it was given */
    struct coordinate at;
};

/* The since_ms of one entry of out, from packed_next_pair's value. */
bool guard_out_since(struct bytes value, uint64_t *ret_since_ms);

/* --- Stored values --------------------------------------------------------- */

void record_put_node(struct buf *out, const struct node_view *v);
void record_put_service(struct buf *out, const struct service_view *v);
void record_put_check(struct buf *out, const struct check_view *v);
void record_put_guard(struct buf *out, const struct guard_view *v);
void record_put_query(struct buf *out, const struct query_view *v);
void record_put_coordinate(struct buf *out, const struct coordinate_view *v);

/* ERR_CORRUPT: not such a value (text offsets are not given: whoever reads it
 * names the key). node and revisions of the view are left alone. */
MUST_USE enum err record_get_node(struct bytes value, struct node_view *v);
MUST_USE enum err record_get_service(struct bytes value,
                                     struct service_view *v);
MUST_USE enum err record_get_check(struct bytes value, struct check_view *v);
MUST_USE enum err record_get_guard(struct bytes value, struct guard_view *v);
MUST_USE enum err record_get_query(struct bytes value, struct query_view *v);
MUST_USE enum err record_get_coordinate(struct bytes value,
                                        struct coordinate_view *v);

/* Builders of packed data into a buf (give the buffer's bytes to a view when
 * done). Maps: keys must come sorted. */
void packed_put(struct buf *out, struct bytes item);
void packed_put_pair(struct buf *out, struct bytes key, struct bytes value);
void packed_put_out(struct buf *out, struct bytes key, uint64_t since_ms);
void packed_put_tagged(struct buf *out, struct bytes name, struct bytes address,
                       int64_t port);

/* --- Keys ------------------------------------------------------------------
 *
 *     n/<node>             node            i/<uuid>   folded name of the node
 *     s/<node>/<service>   service         c/<node>/<check>   check
 *     g/<service name>     guard           x/<node>           coordinate
 *     q/<uuid>             query           u/:<name>          ID of the query
 *
 * Parts are ASCII-folded; '/', '%' and bytes below 0x21 are percent-escaped, so that
 * no name can look like another's key. */

enum record_kind {
    RECORD_NODE,
    RECORD_SERVICE,
    RECORD_CHECK,
    RECORD_NODE_ID,
    RECORD_GUARD,
    RECORD_QUERY,
    RECORD_QUERY_NAME,
    RECORD_COORDINATE,
};

void key_node(struct buf *out, struct bytes node);
void key_node_id(struct buf *out, struct bytes uuid);
void key_service(struct buf *out, struct bytes node, struct bytes service_id);
void key_check(struct buf *out, struct bytes node, struct bytes check_id);
void key_guard(struct buf *out, struct bytes service_name);
void key_query(struct buf *out, struct bytes uuid);
void key_query_name(struct buf *out, struct bytes name); /* may be empty */
void key_coordinate(struct buf *out, struct bytes node);
/* What stands for an instance in a guard's out. */
void key_instance(struct buf *out, struct bytes node, struct bytes service_id);
void key_services_of(struct buf *out, struct bytes node); /* prefix */
void key_checks_of(struct buf *out, struct bytes node);   /* prefix */

/* Takes a key apart; a and b are unescaped into scratch (at least key.n bytes).
 * ERR_BAD: none of the above. */
MUST_USE enum err key_parse(struct bytes key, char *scratch,
                            enum record_kind *ret_kind, struct bytes *ret_a,
                            struct bytes *ret_b);

#endif
