/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* base64 - bytes as text (RFC 4648, 4), padded, without line breaks. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

void base64_put(struct buf *out, struct bytes in);

/* Appends what the text stands for. ERR_BAD: it is no such text (then some may
 * have been appended): a length that is no multiple of four, another
 * character, bits behind the last byte. */
MUST_USE enum err base64_get(struct bytes text, struct buf *out);

#endif
