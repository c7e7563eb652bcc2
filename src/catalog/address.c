/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* Whose an address is: one tree of the records of shown nodes and services that
 * have one.
 *
 * The second part of the key tells records of one address apart. It is what a
 * record begins with: folded node name, format byte, length, ID. A node's own record
 * holds no node name in front, so it begins with its format byte and stands before
 * services. */
#include "catalog/impl.h"

static bool is_node(const struct cat_record *r)
{
    return r->node_n == 0;
}

static void address_key(const void *item, struct tree_key *ret)
{
    const struct cat_record *r = item;
    struct bytes id = cat_record_id(r);

    ret->a = cat_address(r);
    ret->b = bytes_of(r->data, (size_t)(id.p + id.n - r->data));
}

const struct tree_type address_tree = {address_key, true};

void address_know(struct catalog *c, const struct cat_record *r)
{
    if (cat_address(r).n)
        (void)edit_put(c, &c->next.addresses, &address_tree, (void *)r);
}

void address_forget(struct catalog *c, const struct cat_record *r)
{
    struct tree_key key;

    if (cat_address(r).n == 0)
        return;
    address_key(r, &key);
    (void)edit_del(c, &c->next.addresses, &address_tree, key);
}

void address_change(struct catalog *c, const struct cat_record *old,
                    const struct cat_record *new)
{
    if (old && !bytes_eq_fold(cat_address(old), cat_address(new)))
        address_forget(c, old);
    address_know(c, new); /* in the old one's place, if that is still there */
}

bool snapshot_address(const struct snapshot *s, struct bytes address,
                      struct bytes *ret_name, bool *ret_service)
{
    const struct cat_record *r;
    struct tree_iter it;

    tree_seek(&s->addresses, &address_tree, key_of_bytes(address), &it);
    r = tree_next(&it);
    if (!r || !bytes_eq_fold(cat_address(r), address))
        return false;
    *ret_service = !is_node(r);
    *ret_name = is_node(r) ? cat_record_id(r) : cat_service_name(r);
    return true;
}
