/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* storm - feeds a fuzz target with blind mutations of a corpus, as fast as they come:
 *
 *   storm RUNS SEED FOLDER...
 *
 * libFuzzer finds new paths and pays for it at each run; this walks around on the
 * paths that are known, tens of times as often. Linked with a target in libFuzzer's
 * place, so any compiler and any sanitizer will do. The same seed and folders make the
 * same inputs: a target that aborts does so again, under a debugger. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum {
    INPUT_MAX = 600,
    SEEDS_MAX = 16384,
    CHANGES_MAX = 4,
    INSERT_MAX = 8,
    TELL_EVERY = 10 * 1000 * 1000,
};

struct input {
    size_t n; /* never 0 */
    uint8_t p[INPUT_MAX];
};

static struct input *seeds;
static size_t seed_count;
static uint64_t state;

/* splitmix64 (G. Steele, D. Lea, C. Flood, 2014). */
static uint64_t draw(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(size_t n)
{
    return (size_t)((draw() >> 32) * n >> 32);
}

/* --- Mutations ---------------------------------------------------------------- */

static void flip(struct input *b)
{
    b->p[below(b->n)] ^= (uint8_t)(1u << below(8));
}

/* Bytes at which parsers turn. */
static void put_odd(struct input *b)
{
    static const uint8_t odd[] = {0,    1,    12,   0x3f, 0x40, 0x7f,
                                  0x80, 0xbf, 0xc0, 0xfe, 0xff};
    b->p[below(b->n)] = odd[below(sizeof odd)];
}

static void put_noise(struct input *b)
{
    size_t at = below(b->n), n = 1 + below(INSERT_MAX);

    for (size_t i = at; i < b->n && i < at + n; i++)
        b->p[i] = (uint8_t)draw();
}

static void cut(struct input *b)
{
    b->n = 1 + below(b->n);
}

static void insert(struct input *b)
{
    size_t at = below(b->n), n = 1 + below(INSERT_MAX);

    if (b->n + n > INPUT_MAX)
        return;
    memmove(b->p + at + n, b->p + at, b->n - at);
    b->n += n;
    for (size_t i = 0; i < n; i++)
        b->p[at + i] = (uint8_t)draw();
}

static void take_out(struct input *b)
{
    size_t at = below(b->n), n = below(b->n - at);

    memmove(b->p + at, b->p + at + n, b->n - at - n);
    b->n -= n;
}

static void splice(struct input *b)
{
    const struct input *other = &seeds[below(seed_count)];
    size_t at = below(b->n), from = below(other->n);
    size_t n = below(other->n - from + 1);

    if (n > INPUT_MAX - at)
        n = INPUT_MAX - at;
    memcpy(b->p + at, other->p + from, n);
    if (b->n < at + n)
        b->n = at + n;
}

static void mutate(struct input *b)
{
    static void (*const change[])(struct input *) = {
        flip, put_odd, put_noise, cut, insert, take_out, splice};

    for (size_t i = 1 + below(CHANGES_MAX); i > 0; i--)
        change[below(sizeof change / sizeof change[0])](b);
}

/* --- Running ---------------------------------------------------------------------- */

static void load_file(const char *folder, const char *name)
{
    struct input *to = &seeds[seed_count];
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = name[0] != '.' && seed_count < SEEDS_MAX && n < (int)sizeof path
                  ? fopen(path, "rb")
                  : NULL;

    if (!f)
        return;
    to->n = fread(to->p, 1, sizeof to->p, f);
    seed_count += to->n > 0;
    fclose(f);
}

/* By name: the same inputs on each machine. */
static void load(const char *folder)
{
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        load_file(folder, names[i]->d_name);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

/* The buffer has exactly the input's size, so that AddressSanitizer sees a read of
 * one byte too many. */
static void run_once(const struct input *b)
{
    uint8_t *p = malloc(b->n);

    if (!p)
        abort();
    memcpy(p, b->p, b->n);
    (void)LLVMFuzzerTestOneInput(p, b->n);
    free(p);
}

int main(int argc, char **argv)
{
    uint64_t runs = argc > 3 ? strtoull(argv[1], NULL, 10) : 0;

    seeds = malloc(SEEDS_MAX * sizeof *seeds);
    for (int i = 3; seeds && i < argc; i++)
        load(argv[i]);
    if (seed_count == 0) {
        fputs("storm RUNS SEED FOLDER...: folders with inputs\n", stderr);
        return 2;
    }
    state = strtoull(argv[2], NULL, 10);
    for (uint64_t i = 1; i <= runs; i++) {
        struct input b = seeds[below(seed_count)];
        mutate(&b);
        run_once(&b);
        if (i % TELL_EVERY == 0 || i == runs) {
            printf("%llu executions\n", (unsigned long long)i);
            fflush(stdout);
        }
    }
    free(seeds);
    return 0;
}
