/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* The command line, and the files it names, in their order. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/text.h"
#include "server/setup_impl.h"

static enum err read_file(struct setup *s, const char *path, struct bytes *ret)
{
    FILE *f = fopen(path, "re");
    char *p = f ? arena_alloc(&s->arena, CONFIG_FILE_BYTES_MAX + 1) : NULL;
    if (!f || !p) {
        errtext_set(&s->text, "%s: %s", path, strerror(errno));
        if (f)
            fclose(f);
        return ERR_IO;
    }
    size_t n = fread(p, 1, CONFIG_FILE_BYTES_MAX + 1, f);
    int bad = ferror(f);
    fclose(f);
    if (bad || n > CONFIG_FILE_BYTES_MAX) {
        errtext_set(&s->text, "%s: %s", path,
                    bad ? "cannot be read" : "larger than 1 MiB");
        return bad ? ERR_IO : ERR_LIMIT;
    }
    *ret = bytes_of(p, n);
    return ERR_OK;
}

static void notice(void *ctx, const struct config_notice *n)
{
    struct setup *s = ctx;
    for (size_t i = 0; i < s->notice_count; i++)
        if (strcmp(s->notice_of[i].key, n->key) == 0)
            return;
    if (s->notice_count < CONFIG_KEYS_MAX)
        s->notice_of[s->notice_count++] = *n;
}

static enum err apply_file(struct setup *s, const char *path,
                           enum config_format format)
{
    struct bytes text;
    struct config_value *tree;
    if (format == CONFIG_FORMAT_NONE)
        format = config_format_of(path);
    if (format == CONFIG_FORMAT_NONE) {
        errtext_set(&s->text,
                    "%s: neither .json nor .hcl: rename it, or say "
                    "-config-format",
                    path);
        return ERR_BAD;
    }
    enum err e = read_file(s, path, &text);
    if (e == ERR_OK)
        e = config_text_parse(format, path, text, &s->arena, &tree, &s->text);
    if (e == ERR_OK)
        e = agent_config_apply(&s->config, tree, notice, s, &s->text);
    return e;
}

/* Files of a directory in lexical order; those in another format are passed
 * over, as are sub-directories. */
static enum err apply_dir(struct setup *s, const char *path,
                          enum config_format format)
{
    struct dirent **found;
    int n = scandir(path, &found, NULL, alphasort);
    if (n < 0) {
        errtext_set(&s->text, "%s: %s", path, strerror(errno));
        return ERR_IO;
    }
    enum err e = ERR_OK;
    for (int i = 0; i < n; i++) {
        const char *name = found[i]->d_name;
        struct stat st;
        char *file = arena_printf(&s->arena, "%s/%s", path, name);
        bool ours =
            name[0] != '.' && (format != CONFIG_FORMAT_NONE ||
                               config_format_of(name) != CONFIG_FORMAT_NONE);
        if (e == ERR_OK && !file)
            e = ERR_NOMEM;
        if (e == ERR_OK && ours && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            e = apply_file(s, file, format);
        free(found[i]);
    }
    free(found);
    return e;
}

static enum err apply_path(struct setup *s, const char *path,
                           enum config_format format)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return apply_dir(s, path, format);
    return apply_file(s, path, format);
}

enum err setup_read(struct setup *s, int argc, char **argv)
{
    enum err e = config_flags_parse(argc, argv, &s->arena, &s->flags, &s->text);
    if (e != ERR_OK)
        return e;
    agent_config_init(&s->config, &s->arena, s->flags.dev);
    for (size_t i = 0; i < s->flags.source_count && e == ERR_OK; i++) {
        const struct config_source *from = &s->flags.sources[i];
        e = from->is_dir ? apply_dir(s, from->path, s->flags.format)
                         : apply_path(s, from->path, s->flags.format);
    }
    for (size_t i = 0; i < s->flags.overrides.n && e == ERR_OK; i++)
        e = agent_config_apply(&s->config, s->flags.overrides.v[i], notice, s,
                               &s->text);
    if (e == ERR_OK)
        e = agent_config_validate(&s->config, &s->text);
    return e;
}
