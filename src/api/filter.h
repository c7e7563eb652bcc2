/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* filter - the expressions of ?filter: parsed once per request, then asked row by
 * row. Pure; evaluating keeps nothing between rows.
 *
 *     expression = conjunction { "or" conjunction }
 *     conjunction = term { "and" term }
 *     term    = "not" term | "(" expression ")" | match
 *     match   = selector ( "==" | "!=" ) value
 *             | selector [ "not" ] ( "contains" | "matches" ) value
 *             | selector "is" [ "not" ] "empty"
 *             | value [ "not" ] "in" selector
 *     selector = name { "." name | "[" string "]" }
 *     value   = selector | number | "double quoted" | `raw`
 *
 * It is the language of Consul's API with its corners: keywords are no reserved
 * words, blanks around words are asked for exactly where Consul asks for them, and
 * a syntax error says what Consul says, line:column (offset) and all that could have
 * stood there. Unlike Consul's, this parser is linear.
 *
 * What a selector may name depends on the rows (enum filter_rows) and is looked up
 * when the expression is parsed, so a wrong name or operator is an error even if
 * there are no rows. Values are views into the row: no JSON is made. */
#ifndef API_FILTER_H
#define API_FILTER_H

#include "base/arena.h"
#include "base/buf.h"
#include "catalog/member.h"

enum {
    FILTER_BYTES_MAX = 4096,          /* of an expression */
    FILTER_DEPTH_MAX = 64,            /* of parentheses and "not" */
    FILTER_TERMS_MAX = 256,           /* matches */
    FILTER_PARTS_MAX = 16,            /* names in one selector */
    FILTER_REGEX_TERMS_MAX = 16,      /* "matches" in one expression */
    FILTER_REGEX_STEPS_MAX = 1 << 30, /* beyond few per character; all rows */
};

/* What the rows of a route are, hence which selectors there are. */
enum filter_rows {
    FILTER_NONE,          /* the route takes no filter */
    FILTER_NODES,         /* node */
    FILTER_SERVICES,      /* service */
    FILTER_SERVICE_NODES, /* node and service, flat names */
    FILTER_CHECKS,        /* check */
    FILTER_HEALTH,        /* Node, Service, Checks */
    FILTER_MEMBERS,       /* member */
};

/* A check as answers show it. */
struct filter_check {
    struct bytes node_name, service_name;
    struct packed service_tags;
    struct check_view check;
};

/* A member of the cluster. */
struct filter_member {
    struct bytes name, address;
    int64_t port, status;
    int64_t protocol_min, protocol_max, protocol_cur;
    int64_t delegate_min, delegate_max, delegate_cur;
    struct packed tags; /* a map */
};

/* One row; of it only what its kind of rows names is looked at. */
struct filter_row {
    struct bytes datacenter;
    struct node_view node;
    struct service_view service;
    struct filter_check check;
    struct filter_member member;
    /* Of HEALTH: where the checks are, node-level ones first. */
    const struct cat_node_checks *node_checks; /* or NULL */
    const struct cat_instance *instance;       /* or NULL */
    enum member is;                            /* of HEALTH */
    bool held; /* its checks are sent as passing (catalog/member.h) */
};

struct filter;

/* The filter lives in the arena, and refers to text. ERR_BAD, ERR_LIMIT: t holds
 * what is wrong; ERR_NOMEM. */
MUST_USE enum err filter_parse(struct bytes text, enum filter_rows rows,
                               struct arena *a, struct filter **ret,
                               struct errtext *t);

/* NULL matches every row. */
bool filter_match(struct filter *f, const struct filter_row *row);

/* The texts of the rows took more steps than regular expressions may (they then
 * counted as not matching): the pattern, else an empty view. The answer must be an
 * error. */
struct bytes filter_overrun(const struct filter *f);

/* What it took to ask since this was asked last, in units of about 100 ns; NULL:
 * nothing. */
uint32_t filter_take_cost(struct filter *f);

/* The expression in one canonical form: equal forms mean the same, and it reads
 * back as itself. */
void filter_print(const struct filter *f, struct buf *out);

#endif
