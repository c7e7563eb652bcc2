/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* replay - feeds every file of a folder to a fuzz target, once, in order.
 *
 * Linked with a target in libFuzzer's place, so that any compiler and any
 * sanitizer can replay the corpus. Prints TAP; a target that finds its property
 * broken aborts, and the last line names the file. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* What libFuzzer would not feed by default either. */
enum { INPUT_MAX = 1 << 20 };

static int not_hidden(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* The buffer has exactly the input's size, so that AddressSanitizer sees a read
 * of one byte too many. Returns NULL if the file cannot be read. */
static uint8_t *read_file(const char *path, size_t *ret_n)
{
    static uint8_t space[INPUT_MAX];
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    size_t n = fread(space, 1, sizeof space, f);
    int bad = ferror(f);
    fclose(f);
    uint8_t *p = bad ? NULL : malloc(n ? n : 1);
    if (p)
        memcpy(p, space, n);
    *ret_n = n;
    return p;
}

static int replay(const char *folder, const char *name, int number)
{
    char path[4096];
    size_t n = 0;
    int len = snprintf(path, sizeof path, "%s/%s", folder, name);
    uint8_t *p = len < (int)sizeof path ? read_file(path, &n) : NULL;
    if (!p) {
        printf("not ok %d - %s cannot be read\n", number, name);
        return 1;
    }
    printf("# %s\n", path);
    fflush(stdout);
    (void)LLVMFuzzerTestOneInput(p, n);
    printf("ok %d - %s\n", number, name);
    free(p);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent **list = NULL;
    int failed = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    int n = scandir(argv[1], &list, not_hidden, alphasort);
    if (n <= 0) {
        printf("1..0 # SKIP no files in %s\n", argv[1]);
        free(list);
        return 0;
    }
    printf("1..%d\n", n);
    for (int i = 0; i < n; i++) {
        failed |= replay(argv[1], list[i]->d_name, i + 1);
        free(list[i]);
    }
    free(list);
    return failed;
}
