/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/muster/services, /v1/muster/nodes - lists for people, a page at a
 * time: what there is, counted, and what is wrong with it. 5,000 services are a
 * table of 50 rows to who reads them.
 *
 *   search   part of a name, in any case        state   only what has such
 *   node     services: with an instance there   sort    name (default) or
 *   tag      services: with such an instance            trouble: worst first
 *   offset, limit                               which rows of those */
#include <stdlib.h>

#include "api/impl.h"
#include "base/alloc.h"
#include "catalog/member.h"

enum { PAGE_LIMIT_DEFAULT = 50, PAGE_LIMIT_MAX = 500, PAGE_TAGS_MAX = 16 };

const char *const page_param_names[PAGE_PARAMS] = {"search", "state",  "node",
                                                   "sort",   "offset", "limit"};

struct counts {
    uint32_t all, passing, warning, critical, held, damped, answered;
};

struct row {
    const struct cat_name *name; /* or */
    const struct cat_node *node;
    struct counts n;
    size_t at; /* in the order of names */
};

struct rows {
    struct row *v;
    size_t n, cap;
};

struct asked {
    struct bytes search, state, node;
    bool by_trouble;
    uint64_t offset, limit;
};

/* --- Asking -------------------------------------------------------------- */

static bool take_number(struct api_call *c, const char *name, uint64_t most,
                        uint64_t *ret)
{
    struct bytes text = http_param_value(c->request, name);

    if (text.n == 0)
        return true;
    if (bytes_u64(text, ret) == ERR_OK && *ret <= most)
        return true;
    api_error(c, 400, "Invalid %s: \"%.*s\" is no number from 0 to %llu", name,
              BYTES_ARG(bytes_head(text, 40)), (unsigned long long)most);
    return false;
}

static bool is_one_of(struct bytes text, const char *const *names)
{
    for (; *names; names++)
        if (bytes_is(text, *names))
            return true;
    return false;
}

static bool take_word(struct api_call *c, const char *name,
                      const char *const *words, struct bytes *ret)
{
    *ret = http_param_value(c->request, name);
    if (ret->n == 0 || is_one_of(*ret, words))
        return true;
    api_error(c, 400,
              "Invalid %s: \"%.*s\"; see docs/api.md for those there are", name,
              BYTES_ARG(bytes_head(*ret, 40)));
    return false;
}

static bool take_asked(struct api_call *c, struct asked *a)
{
    static const char *const states[] = {
        "passing", "warning", "critical", "held", "damped", "empty", NULL};
    static const char *const sorts[] = {"name", "trouble", NULL};
    struct bytes sort;

    *a = (struct asked){.search = http_param_value(c->request, "search"),
                        .node = http_param_value(c->request, "node"),
                        .limit = PAGE_LIMIT_DEFAULT};
    if (!take_word(c, "state", states, &a->state) ||
        !take_word(c, "sort", sorts, &sort) ||
        !take_number(c, "offset", UINT32_MAX, &a->offset) ||
        !take_number(c, "limit", PAGE_LIMIT_MAX, &a->limit))
        return false;
    a->by_trouble = bytes_is(sort, "trouble");
    return true;
}

enum api_next prepare_page(struct api_call *c, const struct api_env *env)
{
    struct asked a;

    (void)env;
    return take_asked(c, &a) ? API_READ : API_ANSWER;
}

/* --- Counting ------------------------------------------------------------ */

static void count_status(struct counts *n, enum status worst)
{
    n->all++;
    n->passing += worst == STATUS_PASSING;
    n->warning += worst == STATUS_WARNING;
    n->critical += worst != STATUS_PASSING && worst != STATUS_WARNING;
}

static enum status worst_of(const struct cat_record *const *v, uint32_t n,
                            enum status worst)
{
    struct check_view c;

    for (uint32_t i = 0; i < n; i++) {
        cat_check_view(v[i], &c);
        worst = status_worse(worst, status_of(c.status));
    }
    return worst;
}

static void count_instance(struct counts *n, const struct membership *m,
                           const struct cat_node *node,
                           const struct cat_instance *i)
{
    enum status worst = STATUS_PASSING;
    enum member is = member_of(m, node, i);

    if (node->own)
        worst = worst_of(node->own->v, node->own->n, worst);
    count_status(n, worst_of(i->checks, i->check_count, worst));
    n->held += is == MEMBER_HELD;
    n->damped += is == MEMBER_SUPPRESSED;
    n->answered += member_is_in(is);
}

static void add(struct counts *sum, const struct counts *n)
{
    sum->all += n->all;
    sum->passing += n->passing;
    sum->warning += n->warning;
    sum->critical += n->critical;
    sum->held += n->held;
    sum->damped += n->damped;
    sum->answered += n->answered;
}

/* --- Choosing ------------------------------------------------------------ */

static bool contains_fold(struct bytes text, struct bytes part)
{
    for (size_t i = 0; i + part.n <= text.n; i++)
        if (bytes_eq_fold(bytes_head(bytes_skip(text, i), part.n), part))
            return true;
    return false;
}

static bool has_state(struct bytes state, const struct counts *n)
{
    if (state.n == 0)
        return true;
    return bytes_is(state, "passing")    ? n->passing > 0
           : bytes_is(state, "warning")  ? n->warning > 0
           : bytes_is(state, "critical") ? n->critical > 0
           : bytes_is(state, "held")     ? n->held > 0
           : bytes_is(state, "damped")   ? n->damped > 0
                                         : n->answered == 0;
}

/* Nobody left to answer is worst, then what is held, then the share that is
 * critical. */
static uint64_t trouble(const struct counts *n)
{
    uint64_t critical = n->all ? (uint64_t)n->critical * 1000 / n->all : 0;
    uint64_t warning = n->all ? (uint64_t)n->warning * 1000 / n->all : 0;
    bool empty = n->all && n->answered == 0;

    return ((uint64_t)empty << 40) + ((uint64_t)(n->held > 0) << 39) +
           (critical << 20) + ((uint64_t)(n->damped > 0) << 19) + warning;
}

static int by_trouble(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    uint64_t p = trouble(&x->n), q = trouble(&y->n);

    if (p != q)
        return p > q ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static void keep(struct rows *r, struct row row)
{
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->v = xrealloc(r->v, r->cap * sizeof *r->v);
    }
    row.at = r->n;
    r->v[r->n++] = row;
}

/* --- Services ------------------------------------------------------------ */

/* False: none of its instances is what tag and node ask for. */
static bool count_name(struct api_call *c, const struct api_env *env,
                       const struct asked *a, struct row *row)
{
    struct membership m;
    struct tree_iter it;
    bool found = false;

    membership_begin(&m, env->cat, row->name);
    tree_first(&row->name->instances, &it);
    for (const struct cat_instance *i; (i = tree_next(&it));) {
        const struct cat_node *n = snapshot_node_of(env->cat, i);
        struct service_view v;
        if (!n || !api_spend(c, COST_SKIP + COST_CHECK * i->check_count))
            continue;
        count_instance(&row->n, &m, n, i);
        if (found)
            continue;
        cat_service_view(i->service, &v);
        found = tags_match(c, &v) &&
                (a->node.n == 0 || bytes_eq_fold(v.node, a->node));
    }
    return found;
}

static void put_counts(struct json_out *j, const struct counts *n)
{
    json_key(j, "Instances");
    json_u64(j, n->all);
    json_key(j, "Passing");
    json_u64(j, n->passing);
    json_key(j, "Warning");
    json_u64(j, n->warning);
    json_key(j, "Critical");
    json_u64(j, n->critical);
    json_key(j, "Held");
    json_u64(j, n->held);
    json_key(j, "Damped");
    json_u64(j, n->damped);
    json_key(j, "Answered");
    json_u64(j, n->answered);
}

/* Those of the first instances, each once. */
static void put_tags(struct json_out *j, const struct cat_name *name)
{
    struct bytes seen[PAGE_TAGS_MAX];
    size_t n = 0;
    struct tree_iter it;

    json_key(j, "Tags");
    json_open(j, '[');
    tree_first(&name->instances, &it);
    for (const struct cat_instance *i;
         n < PAGE_TAGS_MAX && (i = tree_next(&it));) {
        struct service_view v;
        struct bytes tag;
        cat_service_view(i->service, &v);
        struct bytes rest = v.tags.data;
        while (n < PAGE_TAGS_MAX && packed_next(&rest, &tag)) {
            size_t k = 0;
            while (k < n && !bytes_eq(seen[k], tag))
                k++;
            if (k < n)
                continue;
            seen[n++] = tag;
            json_str(j, tag);
        }
    }
    json_close(j, ']');
}

static struct bytes name_of(const struct cat_name *n)
{
    return bytes_of(n->name, n->name_len);
}

static void put_page(struct json_out *j, const struct asked *a, struct rows *r,
                     const char *of, const struct counts *sum, size_t total,
                     void (*put)(struct json_out *j, const struct row *row))
{
    if (a->by_trouble)
        qsort(r->v, r->n, sizeof *r->v, by_trouble);
    json_open(j, '{');
    json_key(j, "Total");
    json_u64(j, total);
    json_key(j, "Matching");
    json_u64(j, r->n);
    json_key(j, "Offset");
    json_u64(j, a->offset);
    json_key(j, "Sum");
    json_open(j, '{');
    put_counts(j, sum);
    json_close(j, '}');
    json_key(j, of);
    json_open(j, '[');
    for (uint64_t i = a->offset; i < r->n && i - a->offset < a->limit; i++)
        put(j, &r->v[i]);
    json_close(j, ']');
    json_close(j, '}');
}

static void put_service(struct json_out *j, const struct row *row)
{
    json_open(j, '{');
    json_key(j, "Name");
    json_str(j, name_of(row->name));
    put_counts(j, &row->n);
    put_tags(j, row->name);
    json_close(j, '}');
}

void read_page_services(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct rows rows = {0};
    struct counts sum = {0};
    struct asked a;
    struct tree_iter it;

    if (!take_asked(c, &a))
        return;
    snapshot_names(env->cat, &it);
    for (const struct cat_name *name;
         api_spend(c, COST_SKIP) && (name = snapshot_next_name(&it));) {
        struct row row = {.name = name};
        bool found = count_name(c, env, &a, &row);
        add(&sum, &row.n);
        if (found && has_state(a.state, &row.n) &&
            contains_fold(name_of(name), a.search))
            keep(&rows, row);
    }
    put_page(&e.j, &a, &rows, "Services", &sum, snapshot_name_count(env->cat),
             put_service);
    free(rows.v);
    encoder_end(&e, c);
}

/* --- Nodes --------------------------------------------------------------- */

/* Its checks are counted as instances are elsewhere; those of its services
 * too. */
static void count_node(struct api_call *c, struct row *row)
{
    struct tree_iter it;
    struct check_view v;

    tree_first(&row->node->checks, &it);
    for (const struct cat_record *r; (r = tree_next(&it));) {
        c->cost += COST_CHECK;
        cat_check_view(r, &v);
        count_status(&row->n, status_of(v.status));
        row->n.held += v.marks.held;
        row->n.damped += v.marks.damped;
    }
    row->n.answered = row->n.passing;
}

static void put_node(struct json_out *j, const struct row *row)
{
    struct node_view v;
    enum status own = STATUS_PASSING;

    cat_node_view(row->node->record, &v);
    if (row->node->own)
        own = worst_of(row->node->own->v, row->node->own->n, own);
    json_open(j, '{');
    json_key(j, "Name");
    json_str(j, v.name);
    json_key(j, "Address");
    json_str(j, v.address);
    json_key(j, "Status");
    json_str(j, bytes_str(own == STATUS_OTHER ? "critical" : status_name(own)));
    json_key(j, "Services");
    json_u64(j, row->node->services.n);
    json_key(j, "Checks");
    json_open(j, '{');
    put_counts(j, &row->n);
    json_close(j, '}');
    json_close(j, '}');
}

void read_page_nodes(struct api_call *c, const struct api_env *env)
{
    struct encoder e = encoder(c, env, false);
    struct rows rows = {0};
    struct counts sum = {0};
    struct asked a;
    struct tree_iter it;

    if (!take_asked(c, &a))
        return;
    snapshot_nodes(env->cat, &it);
    for (const struct cat_node *n;
         api_spend(c, COST_NODE) && (n = snapshot_next_node(&it));) {
        struct row row = {.node = n};
        struct node_view v;
        cat_node_view(n->record, &v);
        count_node(c, &row);
        add(&sum, &row.n);
        if (has_state(a.state, &row.n) && node_meta_matches(c, &v) &&
            (contains_fold(v.name, a.search) ||
             contains_fold(v.address, a.search)))
            keep(&rows, row);
    }
    put_page(&e.j, &a, &rows, "Nodes", &sum, snapshot_node_count(env->cat),
             put_node);
    free(rows.v);
    encoder_end(&e, c);
}
