/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* ui - the files of the web page, as they stand in this folder, in the binary.
 * Plain modules: what is here is what the browser runs. */
#ifndef UI_UI_H
#define UI_UI_H

#include "base/bytes.h"

struct ui_file {
    const char *name; /* "app.js" */
    const char *type; /* Content-Type */
    struct bytes text;
};

/* name "" is the page itself. False: no such file. */
bool ui_find(struct bytes name, struct ui_file *ret);

/* The names, for tests. */
size_t ui_count(void);
const char *ui_name(size_t i);

#endif
