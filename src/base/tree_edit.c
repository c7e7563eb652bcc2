/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Putting and deleting, in two phases, so that running out of memory changes
 * nothing. The plan goes from the leaf upwards and allocates every node that
 * will be new, touching no old one; carrying it out cannot fail.
 *
 * At each level the change is a cut: so many entries out, so many in. The node
 * then either is edited in place (it was made by this edit and has room), or it
 * (with a sibling, if it became too small) is replaced by one or two new nodes,
 * and that is the cut one level up. */
#include "base/tree.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/tree_node.h"

struct entry {
    void *first; /* the item itself in a leaf */
    struct tree_node *child;
    tree_piece piece;
};

struct cut {
    size_t at, n_out, n_in;
    bool same_key; /* the first in has the key of the first out */
    struct entry in[2];
};

struct step {
    struct tree_node *edited; /* in place, by the cut; else NULL */
    struct cut cut;
    size_t n_old, n_made;
    struct tree_node *old[2], *made[2]; /* these replace those */
};

struct plan {
    const struct tree_type *type;
    const struct tree_edit *e;
    size_t depth; /* of the leaf; the root is 0 */
    bool append;  /* behind everything there is */
    struct tree_node *node[TREE_DEPTH_MAX];
    size_t at[TREE_DEPTH_MAX]; /* which child was taken */
    bool found;
    size_t n_steps;
    struct step step[TREE_DEPTH_MAX + 1];
    bool new_root;
    struct tree_node *root;
};

static void find(struct plan *p, const struct tree *t,
                 const struct tree_key *key)
{
    const struct tree_type *type = p->type;
    struct tree_node *node = t->root;
    size_t d = 0;

    p->append = true;
    for (; node->level; d++) {
        p->node[d] = node;
        p->at[d] = tree_child_at(node, type, key);
        p->append = p->append && p->at[d] + 1u == node->n;
        node = tree_child(node, p->at[d]);
    }
    p->node[d] = node;
    p->at[d] = tree_leaf_at(node, type, key, &p->found);
    p->append = p->append && p->at[d] == node->n;
    p->depth = d;
}

/* --- Building nodes ------------------------------------------------------ */

static size_t cap_for(size_t n)
{
    return n <= 1 ? 1 : n | 3;
}

/* Its pieces are still to be set. */
static struct tree_node *node_new(const struct tree_edit *e, size_t level,
                                  const struct entry *from, size_t n)
{
    size_t cap = cap_for(n);
    size_t slots = level ? 2 * cap : cap;
    size_t pieces = tree_has_pieces(level, cap) ? cap : 0;
    struct tree_node *node = malloc(sizeof *node + slots * sizeof(void *) +
                                    pieces * sizeof(tree_piece));

    if (!node)
        return NULL;
    node->edit = e->id;
    node->level = (uint16_t)level;
    node->n = (uint16_t)n;
    node->cap = (uint16_t)cap;
    node->skip = 0;
    void **firsts = tree_firsts(node);
    for (size_t i = 0; i < n; i++)
        firsts[i] = from[i].first;
    for (size_t i = 0; level && i < n; i++)
        node->slot[i] = from[i].child;
    return node;
}

/* Entries i .. end of a node, to the end of all[]. */
static size_t gather(struct entry *all, size_t n, struct tree_node *node,
                     size_t i, size_t end)
{
    void **firsts = tree_firsts(node);
    const tree_piece *pieces = tree_pieces(node);

    for (; i < end; i++, n++) {
        all[n].first = firsts[i];
        all[n].child = node->level ? node->slot[i] : NULL;
        all[n].piece = pieces ? pieces[i] : 0;
    }
    return n;
}

/* A node's entries as they will be after the cut. */
static size_t gather_cut(struct entry *all, size_t n, struct tree_node *node,
                         const struct cut *cut)
{
    n = gather(all, n, node, 0, cut->at);
    for (size_t i = 0; i < cut->n_in; i++)
        all[n++] = cut->in[i];
    return gather(all, n, node, cut->at + cut->n_out, node->n);
}

/* Finds the pieces of what comes in. False: the node has none, or not all that
 * comes shares what the node skips. */
static bool cut_pieces(const struct tree_type *type, struct tree_node *node,
                       struct cut *cut)
{
    const tree_piece *pieces = tree_pieces(node);
    size_t stays = cut->at ? 0 : cut->n_out;

    if (!pieces)
        return false;
    for (size_t i = 0; i < cut->n_in; i++) {
        struct tree_key key;
        if (i == 0 && cut->same_key) {
            cut->in[i].piece = pieces[cut->at];
            continue;
        }
        type->key_of(cut->in[i].first, &key);
        if (stays == node->n ||
            !tree_shares(type, &key, tree_firsts(node)[stays], node->skip))
            return false;
        cut->in[i].piece = tree_piece_of(type, &key, node->skip);
    }
    return true;
}

/* Moves the tail of one array of an edited node. */
static void shift(void *array, size_t size, size_t n, const struct cut *cut)
{
    char *a = array;

    memmove(a + (cut->at + cut->n_in) * size, a + (cut->at + cut->n_out) * size,
            (n - cut->at - cut->n_out) * size);
}

static void edit_in_place(const struct tree_type *type, struct tree_node *node,
                          struct cut *cut)
{
    void **firsts = tree_firsts(node);
    tree_piece *pieces = cut_pieces(type, node, cut) ? tree_pieces(node) : NULL;

    shift(firsts, sizeof *firsts, node->n, cut);
    if (node->level)
        shift(node->slot, sizeof *node->slot, node->n, cut);
    if (pieces)
        shift(pieces, sizeof *pieces, node->n, cut);
    for (size_t i = 0; i < cut->n_in; i++) {
        firsts[cut->at + i] = cut->in[i].first;
        if (node->level)
            node->slot[cut->at + i] = cut->in[i].child;
        if (pieces)
            pieces[cut->at + i] = cut->in[i].piece;
    }
    node->n = (uint16_t)(node->n - cut->n_out + cut->n_in);
    if (!pieces)
        tree_set_pieces(node, type);
}

/* --- The plan ------------------------------------------------------------ */

static void forget(struct plan *p)
{
    for (size_t i = 0; i < p->n_steps; i++)
        for (size_t k = 0; k < p->step[i].n_made; k++)
            free(p->step[i].made[k]);
}

static void carry_out(struct plan *p, struct tree *t)
{
    for (size_t i = 0; i < p->n_steps; i++) {
        struct step *s = &p->step[i];
        if (s->edited)
            edit_in_place(p->type, s->edited, &s->cut);
        for (size_t k = 0; k < s->n_old; k++) {
            /* What this edit made itself was never seen by anybody. */
            if (!p->e->retire || s->old[k]->edit == p->e->id)
                free(s->old[k]);
            else
                p->e->retire(p->e->ctx, s->old[k]);
        }
    }
    if (p->new_root)
        t->root = p->root;
}

/* Of one node that takes another's place, skipping as much as that one. */
static void copy_pieces(struct tree_node *node, const struct entry *all,
                        uint16_t skip)
{
    tree_piece *pieces = tree_pieces(node);

    node->skip = skip;
    for (size_t i = 0; pieces && i < node->n; i++)
        pieces[i] = all[i].piece;
}

/* Distributes entries over one or two new nodes. When the tree grows at its end
 * the left one stays full, so loading in order wastes nothing. like: all pieces
 * are as of this node; NULL: they are to be found. */
static enum err make_nodes(struct plan *p, struct step *s, size_t level,
                           const struct entry *all, size_t n,
                           const struct tree_node *like)
{
    size_t left = n;

    if (n > TREE_MAX && p->append)
        left = level ? n - 2 : n - 1;
    else if (n > TREE_MAX)
        left = n / 2;
    for (size_t from = 0; from < n; from = left, left = n) {
        struct tree_node *node = node_new(p->e, level, all + from, left - from);
        if (!node)
            return ERR_NOMEM;
        s->made[s->n_made++] = node;
        if (like && n <= TREE_MAX)
            copy_pieces(node, all, like->skip);
        else
            tree_set_pieces(node, p->type);
    }
    return ERR_OK;
}

/* A node is replaced, on its own, or with a sibling if deleting left it too
 * small. *cut becomes the cut in the parent. */
static enum err plan_replace(struct plan *p, size_t d, struct cut *cut,
                             bool with_sibling)
{
    struct entry all[2 * TREE_MAX];
    struct tree_node *node = p->node[d], *other = NULL;
    struct step *s = &p->step[p->n_steps++];
    size_t at = d ? p->at[d - 1] : 0, n = 0;
    bool left = at > 0;

    *s = (struct step){.n_old = 1, .old = {node}};
    if (with_sibling) {
        other = tree_child(p->node[d - 1], left ? at - 1 : at + 1);
        s->old[s->n_old++] = other;
    }
    if (other && left) {
        n = gather(all, n, other, 0, other->n);
        at--;
    }
    bool alike = !other && cut_pieces(p->type, node, cut);
    n = gather_cut(all, n, node, cut);
    if (other && !left)
        n = gather(all, n, other, 0, other->n);

    enum err e = make_nodes(p, s, node->level, all, n, alike ? node : NULL);
    if (e != ERR_OK)
        return e;
    bool same_key = (other && left) || cut->at > 0 || cut->same_key;
    *cut = (struct cut){at, s->n_old, s->n_made, same_key, {{0}}};
    for (size_t i = 0; i < s->n_made; i++)
        cut->in[i] = (struct entry){tree_firsts(s->made[i])[0], s->made[i], 0};
    return ERR_OK;
}

/* True: done, or only the first item changed, and then *cut is that change in
 * the parent. */
static bool plan_in_place(struct plan *p, size_t d, struct cut *cut)
{
    struct tree_node *node = p->node[d];

    p->step[p->n_steps++] = (struct step){.edited = node, .cut = *cut};
    if (cut->at > 0 || d == 0)
        return true;
    void *first = cut->n_in ? cut->in[0].first : tree_firsts(node)[cut->n_out];
    *cut = (struct cut){p->at[d - 1], 1, 1, cut->same_key, {{first, node, 0}}};
    return false;
}

/* The root's node is gone or has become several. */
static enum err plan_root(struct plan *p, const struct cut *cut, size_t level)
{
    p->new_root = true;
    if (cut->n_in < 2) {
        p->root = cut->n_in ? cut->in[0].child : NULL;
        return ERR_OK;
    }
    /* Each level but the last on the right edge multiplies the items by
     * TREE_MIN: memory ends long before this. */
    require(level + 1 < TREE_DEPTH_MAX);
    p->root = node_new(p->e, level + 1, cut->in, cut->n_in);
    if (!p->root)
        return ERR_NOMEM;
    tree_set_pieces(p->root, p->type);
    return ERR_OK;
}

/* From the leaf, where the cut is an item's, up to where nothing changes. */
static enum err plan_all(struct plan *p, struct cut cut)
{
    for (size_t d = p->depth;; d--) {
        struct tree_node *node = p->node[d];
        size_t n = node->n - cut.n_out + cut.n_in;
        bool small = n < node->n && n < TREE_MIN && d > 0;
        enum err e;

        if (d == 0 && n == (node->level ? 1 : 0)) {
            /* An empty tree, or an inner root with one child: that one is the
             * root then. The cut took out both children, or the last item. */
            p->step[p->n_steps++] = (struct step){.n_old = 1, .old = {node}};
            return plan_root(p, &cut, node->level);
        }
        if (node->edit == p->e->id && n <= node->cap && !small) {
            if (plan_in_place(p, d, &cut))
                return ERR_OK;
            continue;
        }
        e = plan_replace(p, d, &cut, small);
        if (e != ERR_OK)
            return e;
        if (d == 0)
            return plan_root(p, &cut, node->level);
    }
}

static enum err change(struct tree *t, struct plan *p, const struct cut *cut)
{
    enum err e = plan_all(p, *cut);

    if (e == ERR_OK)
        carry_out(p, t);
    else
        forget(p);
    return e;
}

/* --- The two changes ----------------------------------------------------- */

enum err tree_put(struct tree *t, const struct tree_type *type,
                  const struct tree_edit *e, void *item, void **ret_old)
{
    struct plan p;
    struct cut cut = {.n_in = 1, .in = {{.first = item}}};
    struct tree_key key;
    void *old = NULL;

    p.type = type;
    p.e = e;
    p.n_steps = 0;
    p.new_root = false;
    if (t->root) {
        type->key_of(item, &key);
        find(&p, t, &key);
        cut.at = p.at[p.depth];
        cut.n_out = p.found;
        cut.same_key = p.found;
        if (p.found)
            old = p.node[p.depth]->slot[cut.at];
        enum err failed = change(t, &p, &cut);
        if (failed != ERR_OK)
            return failed;
    } else {
        t->root = node_new(e, 0, cut.in, 1);
        if (!t->root)
            return ERR_NOMEM;
    }
    t->n += !old;
    if (ret_old)
        *ret_old = old;
    return ERR_OK;
}

enum err tree_del(struct tree *t, const struct tree_type *type,
                  const struct tree_edit *e, struct tree_key key,
                  void **ret_old)
{
    struct plan p;
    void *old = NULL;

    p.type = type;
    p.e = e;
    p.n_steps = 0;
    p.new_root = false;
    if (t->root)
        find(&p, t, &key);
    if (t->root && p.found) {
        struct cut cut = {.at = p.at[p.depth], .n_out = 1};
        old = p.node[p.depth]->slot[cut.at];
        enum err failed = change(t, &p, &cut);
        if (failed != ERR_OK)
            return failed;
        t->n--;
    }
    if (ret_old)
        *ret_old = old;
    return ERR_OK;
}
