/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "ui/ui.h"

#define HTML "text/html; charset=utf-8"
#define CSS  "text/css; charset=utf-8"
#define JS   "text/javascript; charset=utf-8"
#define SVG  "image/svg+xml"

/* The assembler takes the file in (the build knows that this object depends on
 * it); src/ui is on its include path. */
#define FILE_TEXT(symbol, path)                                                \
    extern const char ui_##symbol[], ui_##symbol##_end[];                      \
    __asm__(".section .rodata\n"                                               \
            ".balign 1\n"                                                      \
            "ui_" #symbol ":\n"                                                \
            ".incbin \"src/ui/" path "\"\n"                                    \
            "ui_" #symbol "_end:\n"                                            \
            ".byte 0\n"                                                        \
            ".previous\n")

FILE_TEXT(index, "index.html");
FILE_TEXT(style, "style.css");
FILE_TEXT(icon, "icon.svg");
FILE_TEXT(main, "main.js");
FILE_TEXT(dom, "dom.js");
FILE_TEXT(live, "live.js");
FILE_TEXT(list, "list.js");
FILE_TEXT(services, "services.js");
FILE_TEXT(service, "service.js");
FILE_TEXT(nodes, "nodes.js");
FILE_TEXT(changes, "changes.js");

struct entry {
    const char *name, *type, *from, *to;
};

#define ENTRY(name, type, symbol)                                              \
    {                                                                          \
        name, type, ui_##symbol, ui_##symbol##_end                             \
    }

static const struct entry entries[] = {
    ENTRY("", HTML, index),           ENTRY("style.css", CSS, style),
    ENTRY("icon.svg", SVG, icon),     ENTRY("main.js", JS, main),
    ENTRY("dom.js", JS, dom),         ENTRY("live.js", JS, live),
    ENTRY("list.js", JS, list),       ENTRY("services.js", JS, services),
    ENTRY("service.js", JS, service), ENTRY("nodes.js", JS, nodes),
    ENTRY("changes.js", JS, changes),
};

enum { ENTRIES = sizeof entries / sizeof entries[0] };

bool ui_find(struct bytes name, struct ui_file *ret)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        const struct entry *e = &entries[i];
        if (!bytes_is(name, e->name))
            continue;
        *ret = (struct ui_file){e->name, e->type,
                                bytes_of(e->from, (size_t)(e->to - e->from))};
        return true;
    }
    return false;
}

size_t ui_count(void)
{
    return ENTRIES;
}

const char *ui_name(size_t i)
{
    return i < ENTRIES ? entries[i].name : NULL;
}
