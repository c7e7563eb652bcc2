/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What the files of the filter share: the tree of an expression, what its
 * selectors were found to be, and the regular expressions. */
#ifndef API_FILTER_IMPL_H
#define API_FILTER_IMPL_H

#include "api/filter.h"
#include "http/json_in.h"

enum filter_op { FILTER_EQUAL, FILTER_IN, FILTER_MATCHES, FILTER_IS_EMPTY };

/* What is found at the end of a selector. */
enum filter_type {
    FILTER_STRING,  /* struct bytes */
    FILTER_INT,     /* int64_t */
    FILTER_BOOL,    /* bool */
    FILTER_STRINGS, /* struct packed, a list */
    FILTER_MAP,     /* struct packed, name -> text */
    FILTER_TAGGED,  /* struct packed, name -> address and port */
    FILTER_STRUCT,  /* members in the same C struct */
    FILTER_LIST,    /* of structs, from another source */
};

/* Which C struct holds it. */
enum filter_source {
    FILTER_OF_ROW,
    FILTER_OF_CHECKS,    /* each check of the row: struct filter_check */
    FILTER_OF_PROXY,     /* the service's Proxy and Connect: struct proxy_in */
    FILTER_OF_UPSTREAMS, /* each struct upstream_in of it */
    FILTER_OF_PATHS,     /* each struct expose_path_in of it */
};

/* A part of an entry of a map. */
enum filter_part { FILTER_WHOLE, FILTER_ENTRY, FILTER_ADDRESS, FILTER_PORT };

struct filter_regex;

struct filter_term {
    enum filter_op op;
    bool negated;
    size_t part_count;
    struct bytes *parts; /* of the selector */
    struct bytes value;

    /* Resolved. */
    enum filter_type type;
    enum filter_source source;
    size_t offset;
    enum filter_part part;
    struct bytes key; /* unless WHOLE */
    int64_t number;   /* the value as INT, BOOL */
    struct filter_regex *regex;
};

enum filter_kind { FILTER_AND, FILTER_OR, FILTER_TERM };

/* Operands of AND, OR stand in a list, two at least. "not" is a mark. */
struct filter_node {
    enum filter_kind kind;
    bool negated;
    struct filter_node *first, *next; /* operand; the next one beside this */
    struct filter_term *term;
};

struct filter {
    struct filter_node *root;
    enum filter_rows rows;
    struct bytes overrun;
    uint64_t allowance; /* of steps that regular expressions may still take */
    uint64_t spent_ns;  /* about; not yet taken */
};

/* filter_parse.c: the grammar alone. ERR_BAD, ERR_LIMIT, ERR_NOMEM. */
MUST_USE enum err filter_read(struct bytes text, struct arena *a,
                              struct filter_node **ret, struct errtext *t);

/* filter_select.c: finds what the term's selector is for such rows, checks the
 * operator and converts the value. */
MUST_USE enum err filter_resolve(struct filter_term *term,
                                 enum filter_rows rows, struct arena *a,
                                 struct errtext *t);

/* --- What the mesh knows of a service, decoded from its JSON texts -------- */

struct mesh_gateway_in {
    struct bytes mode;
};

struct upstream_in {
    struct bytes datacenter, type, namespace, name, address;
    int64_t port;
    struct mesh_gateway_in *gateway;
    struct bytes mode; /* the gateway's */
};

struct expose_path_in {
    struct bytes path, protocol;
    int64_t listener_port, local_path_port;
    bool parsed_from_check;
};

struct expose_in {
    bool checks;
    struct json_list paths;
};

struct proxy_in {
    struct bytes service_name, service_id, local_address;
    int64_t local_port;
    struct mesh_gateway_in *gateway;
    struct expose_in *expose;
    struct json_list upstreams; /* of upstream_in */
    /* Taken out of the above. */
    struct bytes mode;
    bool expose_checks;
    struct json_list paths; /* of expose_path_in */
    bool native;            /* of Connect */
};

/* --- Literals (filter_literal.c) ------------------------------------------ */

/* The content of "..." as Go's strconv.Unquote gives it. ERR_BAD: a line feed or
 * an escape it does not know. ERR_NOMEM. */
MUST_USE enum err filter_unquote(struct bytes inner, struct arena *a,
                                 struct bytes *ret);
/* The other way: with the quotes. */
void filter_quote(struct buf *out, struct bytes text);

/* strconv.ParseInt(text, 0, 64). ERR_BAD: invalid syntax; ERR_LIMIT: value out of
 * range. */
MUST_USE enum err filter_int(struct bytes text, int64_t *ret);

/* --- Regular expressions (filter_regex.c) --------------------------------- */

enum filter_found { FILTER_NOT_FOUND, FILTER_FOUND, FILTER_TOO_MANY_STEPS };

MUST_USE enum err filter_regex_new(struct bytes pattern, struct arena *a,
                                   struct filter_regex **ret,
                                   struct errtext *t);
/* allowance: of steps beyond the usual; what is used is taken off. */
enum filter_found filter_regex_search(const struct filter_regex *r,
                                      struct bytes text, uint64_t *allowance);

#endif
