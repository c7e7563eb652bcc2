/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* name - domain names being put together, in wire form. A name that does not fit
 * (a label empty or over 63 bytes, more than 255 in all) is marked bad, and stays
 * so. Values; pure. */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include "dns/wire.h"

struct dns_name {
    uint8_t n; /* without a root until dns_name_end */
    bool bad;
    uint8_t p[DNS_NAME_MAX];
};

/* One label, whatever bytes it consists of. */
void dns_name_label(struct dns_name *name, struct bytes label);

/* Labels divided by dots; one dot at the end is passed over. */
void dns_name_text(struct dns_name *name, struct bytes text);

/* Another name's bytes, as they are. */
void dns_name_wire(struct dns_name *name, const uint8_t *p, size_t n);

void dns_name_end(struct dns_name *name); /* the root */

/* Both in wire form; case aside. */
bool dns_name_eq(const uint8_t *a, size_t a_n, const uint8_t *b, size_t b_n);

/* Where in the query's name the domain begins, SIZE_MAX if it is not in it.
 * domain: lower case, root included. */
size_t dns_name_within(const struct dns_query *q,
                       const struct dns_name *domain);

/* The same of any name; it is lower-cased on the way. */
bool dns_name_ends(const uint8_t *name, size_t n,
                   const struct dns_name *domain);

/* A name as a query for it would have it. False: no name. */
bool dns_name_query(const struct dns_name *name, struct dns_query *ret);

#endif
