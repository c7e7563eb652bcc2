/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/tls_files.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 4096 };

const char *tls_last_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason ? reason : "";
}

static enum err bad_file(const char *what, const char *path, struct errtext *t)
{
    char system[96];
    /* OpenSSL knows that it was the system, not always what the system said. */
    const char *reason = access(path, R_OK) != 0
                             ? strerror_r(errno, system, sizeof system)
                             : tls_last_reason();

    errtext_set(t, "%s \"%.120s\": %s", what, path,
                *reason ? reason : "cannot be read");
    ERR_clear_error();
    return ERR_BAD;
}

/* --- Every file of a folder ----------------------------------------------- */

typedef enum err (*file_fn)(void *ctx, const char *what, const char *path,
                            struct errtext *t);

/* Folders within are passed over. */
static enum err one_of_folder(const char *folder, const char *name, file_fn fn,
                              void *ctx, struct errtext *t)
{
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);

    if (n < 0 || (size_t)n >= sizeof path) {
        errtext_set(t, "ca_path \"%.120s\": a name in it is too long", folder);
        return ERR_BAD;
    }
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return ERR_OK;
    return fn(ctx, "ca_path", path, t);
}

static int is_entry(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static enum err each_of_folder(const char *folder, file_fn fn, void *ctx,
                               struct errtext *t)
{
    struct dirent **found;
    enum err e = ERR_OK;
    int n = scandir(folder, &found, is_entry, alphasort);

    if (n < 0)
        return bad_file("ca_path", folder, t);
    if (n == 0) {
        errtext_set(t, "ca_path \"%.120s\": no file is in it", folder);
        e = ERR_BAD;
    } else if (n > TLS_CA_PATH_FILES_MAX) {
        errtext_set(t, "ca_path \"%.100s\": more than %d files", folder,
                    TLS_CA_PATH_FILES_MAX);
        e = ERR_LIMIT;
    }
    for (int i = 0; i < n; i++) {
        if (e == ERR_OK)
            e = one_of_folder(folder, found[i]->d_name, fn, ctx, t);
        free(found[i]);
    }
    free(found);
    return e;
}

static enum err each_file(const struct tls_files *f, file_fn fn, void *ctx,
                          struct errtext *t)
{
    enum err e = f->ca_file ? fn(ctx, "ca_file", f->ca_file, t) : ERR_OK;

    return e == ERR_OK && f->ca_path ? each_of_folder(f->ca_path, fn, ctx, t)
                                     : e;
}

/* --- What is done with them ----------------------------------------------- */

static enum err trust_file(void *ctx, const char *what, const char *path,
                           struct errtext *t)
{
    return SSL_CTX_load_verify_file(ctx, path) == 1 ? ERR_OK
                                                    : bad_file(what, path, t);
}

static enum err put_file(void *ctx, const char *what, const char *path,
                         struct errtext *t)
{
    struct buf *out = ctx;
    FILE *f = fopen(path, "re");
    char *p;

    if (!f)
        return bad_file(what, path, t);
    while (!feof(f) && !ferror(f) && (p = buf_room(out, PIECE_BYTES)))
        out->n += fread(p, 1, PIECE_BYTES, f);
    bool bad = ferror(f) != 0;
    (void)fclose(f);
    buf_putc(out, '\n');
    if (bad)
        return bad_file(what, path, t);
    if (out->bad)
        errtext_set(t, "%s \"%.100s\": more than %d bytes in all", what, path,
                    TLS_CA_BYTES_MAX);
    return out->bad ? ERR_LIMIT : ERR_OK;
}

enum err tls_files_pem(const struct tls_files *f, struct buf *ret,
                       struct errtext *t)
{
    buf_init(ret, TLS_CA_BYTES_MAX);
    enum err e = each_file(f, put_file, ret, t);
    if (e != ERR_OK)
        buf_fini(ret);
    return e;
}

enum err tls_files_trust(struct ssl_ctx_st *ctx, const struct tls_files *f,
                         struct errtext *t)
{
    if (!f->ca_file && !f->ca_path)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ? ERR_OK : ERR_NOMEM;
    return each_file(f, trust_file, ctx, t);
}

enum err tls_files_show(struct ssl_ctx_st *ctx, const struct tls_files *f,
                        struct errtext *t)
{
    if (!f->cert_file)
        return ERR_OK;
    if (SSL_CTX_use_certificate_chain_file(ctx, f->cert_file) != 1)
        return bad_file("cert_file", f->cert_file, t);
    if (!f->key_file ||
        SSL_CTX_use_PrivateKey_file(ctx, f->key_file, SSL_FILETYPE_PEM) != 1)
        return bad_file("key_file", f->key_file ? f->key_file : "", t);
    return ERR_OK;
}
