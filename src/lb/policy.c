/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "lb/policy.h"

const struct lb_policy *const lb_policies[] = {
    &lb_round_robin,
    &lb_random,
    &lb_smooth,
    &lb_edf,
    &lb_weighted_random,
    &lb_ketama,
    &lb_maglev,
    &lb_rendezvous,
    &lb_jump,
    &lb_least_request,
    &lb_p2c,
    &lb_peak_ewma,
    &lb_weighted_least_request,
    NULL,
};

const struct lb_policy *lb_policy_by_name(struct bytes name)
{
    for (size_t i = 0; lb_policies[i]; i++)
        if (bytes_is(name, lb_policies[i]->name))
            return lb_policies[i];
    return NULL;
}
