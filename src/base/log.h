/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* log - one line per event worth a human's time, to a sink the program sets.
 *
 * Library code returns errors; programs log. Any thread. A line is
 * "module: text: key=value ..."; the sink adds time and level (or makes JSON).
 * Without a sink lines go nowhere, so tests stay quiet. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERR };

typedef void (*log_sink)(void *ctx, enum log_level level, const char *module,
                         const char *text);

/* Set once, before the threads start. */
void log_set_sink(log_sink sink, void *ctx);

/* Lines below this level are not formatted. Any time, any thread. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
const char *log_level_name(enum log_level level); /* "TRACE" .. "ERROR" */

/* Accepts trace debug info warn err error, any case. */
MUST_USE enum err log_level_parse(const char *name, enum log_level *ret);

/* A second reader beside the sink, for as long as somebody asks: it gets the
 * lines of the levels that are open (a count each), whatever log_set_level
 * says. Set and unset while no other thread logs. */
void log_set_tap(log_sink tap, void *ctx);
void log_tap_open(enum log_level level);
void log_tap_close(enum log_level level);

bool log_on(enum log_level level);
void log_line(enum log_level level, const char *module, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#define log_debug(module, ...) log_if(LOG_DEBUG, module, __VA_ARGS__)
#define log_info(module, ...)  log_if(LOG_INFO, module, __VA_ARGS__)
#define log_warn(module, ...)  log_if(LOG_WARN, module, __VA_ARGS__)
#define log_error(module, ...) log_if(LOG_ERR, module, __VA_ARGS__)
#define log_if(level, module, ...)                                             \
    do {                                                                       \
        if (log_on(level))                                                     \
            log_line(level, module, __VA_ARGS__);                              \
    } while (0)

#endif
