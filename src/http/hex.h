/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* hex - one hexadecimal digit, as escapes and chunk sizes have them. Internal.
 */
#ifndef HTTP_HEX_H
#define HTTP_HEX_H

/* -1: none. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
