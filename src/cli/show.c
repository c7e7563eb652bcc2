/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What commands read and show: JSON, tables, files. */
#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "cli/impl.h"

json_t *cli_reply_json(const struct cli *c)
{
    json_error_t e;
    json_t *j = json_loadb(c->reply, c->reply_n, JSON_DECODE_ANY, &e);
    if (!j)
        (void)cli_fail(c, "the agent's answer cannot be read: %s", e.text);
    return j;
}

const char *cli_str(json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

void cli_print_json(json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(4) | JSON_ENCODE_ANY);
    puts(text ? text : "null");
    free(text);
}

/* --- Columns -------------------------------------------------------------- */

void cli_cell(struct cli_table *t, struct bytes v)
{
    for (size_t i = 0; i < v.n; i++) {
        /* What a hostile name holds must not steer the terminal. */
        unsigned char ch = (unsigned char)v.p[i];
        buf_putc(&t->text, ch < 0x20 || ch == 0x7f ? '?' : v.p[i]);
    }
    buf_putc(&t->text, 0);
    t->cells++;
}

void cli_cell_str(struct cli_table *t, const char *s)
{
    cli_cell(t, bytes_str(s));
}

void cli_heads(struct cli_table *t, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cli_cell_str(t, names[i]);
}

void cli_table_print(struct cli_table *t)
{
    size_t width[CLI_COLUMNS_MAX] = {0};
    const char *p = t->text.p;
    require(t->columns <= CLI_COLUMNS_MAX);
    for (size_t i = 0; i < t->cells; i++) {
        size_t n = strlen(p);
        if (width[i % t->columns] < n)
            width[i % t->columns] = n;
        p += n + 1;
    }
    p = t->text.p;
    for (size_t i = 0; i < t->cells; i++) {
        bool last = i % t->columns == t->columns - 1;
        if (last)
            printf("%s\n", p);
        else
            printf("%-*s  ", (int)width[i % t->columns], p);
        p += strlen(p) + 1;
    }
    buf_fini(&t->text);
}

/* --- Files ---------------------------------------------------------------- */

bool cli_read_file(struct cli *c, const char *path, struct bytes *ret)
{
    FILE *f = fopen(path, "rb");
    char *text = arena_alloc(&c->arena, CLI_FILE_BYTES_MAX + 1);
    if (!f || !text) {
        (void)cli_fail(c, "%s: %s", path, strerror(errno));
        if (f)
            fclose(f);
        return false;
    }
    errno = 0;
    size_t n = fread(text, 1, CLI_FILE_BYTES_MAX + 1, f);
    bool bad = ferror(f) != 0;
    int error = errno;
    fclose(f);
    if (bad || n > CLI_FILE_BYTES_MAX) {
        (void)cli_fail(c, "%s: %s", path,
                       bad ? strerror(error)
                           : "larger than 1 MiB, the most that is read");
        return false;
    }
    *ret = bytes_of(text, n);
    return true;
}
