/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/err.h"

#include <stdio.h>
#include <string.h>

struct err_row {
    const char *text;
    int http;
};

static const struct err_row rows[] = {
#define X(name, text, http, code) {text, http},
    ERR_TABLE(X)
#undef X
};

static const struct err_row *row_of(enum err e)
{
    size_t i = (size_t)e;
    return &rows[i < sizeof rows / sizeof rows[0] ? i : ERR_BAD];
}

const char *err_text(enum err e)
{
    return row_of(e)->text;
}

int err_http_status(enum err e)
{
    return row_of(e)->http;
}

/* Marks a text that did not fit. Steps back to the start of a UTF-8 sequence,
 * because these texts end up in JSON. */
static void cut(struct errtext *t)
{
    size_t at = sizeof t->s - sizeof "...";

    while (at > 0 && ((unsigned char)t->s[at] & 0xc0) == 0x80)
        at--;
    memcpy(t->s + at, "...", sizeof "...");
}

void errtext_set(struct errtext *t, const char *fmt, ...)
{
    va_list args;

    if (!t)
        return;
    va_start(args, fmt);
    int n = vsnprintf(t->s, sizeof t->s, fmt, args);
    va_end(args);
    if (n < 0)
        t->s[0] = '\0';
    else if ((size_t)n >= sizeof t->s)
        cut(t);
}

void errtext_prefix(struct errtext *t, const char *fmt, ...)
{
    struct errtext was;
    va_list args;

    if (!t)
        return;
    was = *t;
    va_start(args, fmt);
    int n = vsnprintf(t->s, sizeof t->s, fmt, args);
    va_end(args);
    if (n < 0)
        n = 0;
    size_t at = (size_t)n;
    if (at < sizeof t->s) {
        int more = snprintf(t->s + at, sizeof t->s - at, "%s", was.s);
        at += more > 0 ? (size_t)more : 0;
    }
    if (at >= sizeof t->s)
        cut(t);
}
