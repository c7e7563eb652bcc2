/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* json_scan - one pass over JSON text that checks it whole and bounds its cost,
 * and the steps by which text that has passed is taken apart. Internal.
 *
 * A value is its text: struct bytes from its first to its last byte. The steps
 * below trust the scan about syntax, but never leave the view they are given.
 */
#ifndef HTTP_JSON_SCAN_H
#define HTTP_JSON_SCAN_H

#include "base/bytes.h"

enum { JSON_NUMBER_MAX = 64 /* bytes of one number */ };

/* Checks the first value in text against the grammar (RFC 8259), UTF-8 and the
 * limits of json_in.h. What follows the value is not looked at. ERR_BAD,
 * ERR_LIMIT: t holds Go's text where Go has one. */
MUST_USE enum err json_scan(struct bytes text, struct bytes *ret_value,
                            struct errtext *t);

/* Steps over blanks, and over commas and colons. */
struct bytes json_skip_gap(struct bytes rest);

/* The inside of an object or a list. */
struct bytes json_inside(struct bytes value);

/* Takes the next name or value off the inside of an object or a list; false at
 * its end. */
bool json_take(struct bytes *rest, struct bytes *ret_value);

/* How many json_take would take. */
size_t json_count(struct bytes inside);

/* Length of the string at the front of b, quotes included. */
size_t json_string_span(struct bytes b);

/* Length of the number or literal at the front of b. */
size_t json_scalar_span(struct bytes b);

#endif
