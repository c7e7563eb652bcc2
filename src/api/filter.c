/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* From a text to a filter that can be asked: read, then looked up. */
#include "api/filter.h"

#include "api/filter_impl.h"

/* In the order of the text, so that the first thing wrong is named. */
static enum err resolve(const struct filter *f, struct filter_node *n,
                        struct arena *a, struct errtext *t)
{
    if (n->kind == FILTER_TERM)
        return filter_resolve(n->term, f->rows, a, t);
    for (struct filter_node *o = n->first; o; o = o->next) {
        enum err e = resolve(f, o, a, t);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

enum err filter_parse(struct bytes text, enum filter_rows rows, struct arena *a,
                      struct filter **ret, struct errtext *t)
{
    struct filter *f = arena_zalloc(a, sizeof *f);
    if (!f)
        return ERR_NOMEM;
    if (text.n > FILTER_BYTES_MAX) {
        errtext_set(t, "%zu bytes are more than %d: write it shorter", text.n,
                    FILTER_BYTES_MAX);
        return ERR_LIMIT;
    }
    if (!bytes_utf8(text)) {
        errtext_set(t, "invalid encoding: the text is no UTF-8");
        return ERR_BAD;
    }
    f->rows = rows;
    f->allowance = FILTER_REGEX_STEPS_MAX;
    enum err e = filter_read(text, a, &f->root, t);
    if (e == ERR_OK)
        e = resolve(f, f->root, a, t);
    if (e == ERR_OK)
        *ret = f;
    return e;
}

struct bytes filter_overrun(const struct filter *f)
{
    return f ? f->overrun : (struct bytes){0};
}
