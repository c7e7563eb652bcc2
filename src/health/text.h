/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* text - bytes that somebody else wrote, made fit to be shown: within this
 * folder only. */
#ifndef HEALTH_TEXT_H
#define HEALTH_TEXT_H

#include "base/bytes.h"

/* Bytes of the UTF-8 sequence at the start (1 to 4); 0: there is none. */
size_t utf8_sequence(struct bytes b);

#endif
