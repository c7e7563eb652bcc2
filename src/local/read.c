/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "local/item.h"
#include "local/local.h"

uint64_t local_version(const struct local_snapshot *s)
{
    return s->version;
}

const struct local_service *local_service(const struct local_snapshot *s,
                                          struct bytes id)
{
    return tree_get(&s->services, &local_service_type,
                    (struct tree_key){.a = id});
}

const struct local_check *local_check(const struct local_snapshot *s,
                                      struct bytes id)
{
    return tree_get(&s->checks, &local_check_type, (struct tree_key){.a = id});
}

void local_services(const struct local_snapshot *s, struct tree_iter *it)
{
    tree_first(&s->services, it);
}

const struct local_service *local_next_service(struct tree_iter *it)
{
    return tree_next(it);
}

void local_checks(const struct local_snapshot *s, struct tree_iter *it)
{
    tree_first(&s->checks, it);
}

const struct local_check *local_next_check(struct tree_iter *it)
{
    return tree_next(it);
}

void local_checks_of(const struct local_snapshot *s, struct bytes service_id,
                     struct tree_iter *it)
{
    tree_seek(&s->by_service, &local_check_of_type,
              (struct tree_key){.a = service_id}, it);
}

const struct local_check *local_next_check_of(struct tree_iter *it,
                                              struct bytes service_id)
{
    const struct local_check *k = tree_next(it);
    return k && bytes_eq_fold(k->def.service_id, service_id) ? k : NULL;
}
