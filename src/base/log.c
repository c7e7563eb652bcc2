/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

#include "base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LOG_TEXT_BYTES = 2048 }; /* a longer line is cut and ends in "..." */

static const char *const names[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR"};

enum { LEVELS = sizeof names / sizeof names[0] };

static log_sink the_sink;
static void *the_ctx;
static _Atomic int the_level = LOG_INFO;
static log_sink the_tap;
static void *the_tap_ctx;
static _Atomic int tapped[LEVELS]; /* readers from this level on */

void log_set_sink(log_sink sink, void *ctx)
{
    the_sink = sink;
    the_ctx = ctx;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&the_level, (int)level, memory_order_relaxed);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&the_level,
                                                memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
    size_t i = (size_t)level;
    return i < LEVELS ? names[i] : "ERROR";
}

enum err log_level_parse(const char *name, enum log_level *ret)
{
    if (strcasecmp(name, "err") == 0) {
        *ret = LOG_ERR;
        return ERR_OK;
    }
    for (size_t i = 0; i < LEVELS; i++) {
        if (strcasecmp(name, names[i]) == 0) {
            *ret = (enum log_level)i;
            return ERR_OK;
        }
    }
    return ERR_BAD;
}

void log_set_tap(log_sink tap, void *ctx)
{
    the_tap = tap;
    the_tap_ctx = ctx;
}

void log_tap_open(enum log_level level)
{
    atomic_fetch_add(&tapped[level], 1);
}

void log_tap_close(enum log_level level)
{
    atomic_fetch_sub(&tapped[level], 1);
}

static bool sink_on(enum log_level level)
{
    return the_sink && level >= log_get_level();
}

static bool tap_on(enum log_level level)
{
    if (!the_tap)
        return false;
    for (int l = 0; l <= (int)level; l++)
        if (atomic_load_explicit(&tapped[l], memory_order_relaxed) > 0)
            return true;
    return false;
}

bool log_on(enum log_level level)
{
    return sink_on(level) || tap_on(level);
}

void log_line(enum log_level level, const char *module, const char *fmt, ...)
{
    char text[LOG_TEXT_BYTES];
    va_list args;

    if (!log_on(level))
        return;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    if ((size_t)n >= sizeof text)
        memcpy(text + sizeof text - sizeof "...", "...", sizeof "...");
    /* Names from outside must not be able to forge a line of their own. */
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    if (sink_on(level))
        the_sink(the_ctx, level, module, text);
    if (tap_on(level))
        the_tap(the_tap_ctx, level, module, text);
}
