/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* A process that dies at every point of its work, and what the next one finds:
 * everything that was acknowledged, and no change by halves. */
#include "store/store.h"

#include <sys/wait.h>

#include "unit/store_disk.h"
#include "unit/store_kinds.h"

enum {
    CHANGES = 40,
    WIDTH = 4, /* in flight */
    PAYLOAD = 700,
};

static const struct kind sqlite = {"sqlite", STORE_SQLITE, false};

/* --- The one that dies --------------------------------------------------- */

struct author {
    struct store *store;
    int pipe; /* what was acknowledged, one int each */
    struct author_change {
        struct store_change change;
        struct store_op ops[2];
        char key[2][16];
        char value[PAYLOAD];
        int number;
    } slot[WIDTH];
    int next;
    _Atomic int done;
};

static struct author author;

/* Change n writes a/N and b/N, and every fifth deletes what the one before it
 * wrote: both or neither must be found. */
static void write_next(struct author_change *c)
{
    struct errtext t = {{0}};
    bool deletes = author.next % 5 == 4;
    int n = author.next++;

    c->number = n;
    for (int i = 0; i < 2; i++) {
        snprintf(c->key[i], sizeof c->key[i], "%c/%d", 'a' + i,
                 deletes ? n - WIDTH : n);
        c->ops[i] = (struct store_op){deletes ? OP_DELETE : OP_PUT,
                                      bytes_str(c->key[i]),
                                      bytes_of(c->value, sizeof c->value)};
    }
    memset(c->value, 'a' + n % 26, sizeof c->value);
    if (store_submit(author.store, &c->change, &t) != ERR_OK)
        _exit(3);
}

static void written(struct store_change *change, const struct store_outcome *o)
{
    struct author_change *c =
        container_of(change, struct author_change, change);

    if (o->verdict != STORE_COMMITTED)
        _exit(4);
    if (write(author.pipe, &c->number, sizeof c->number) != sizeof c->number)
        _exit(5);
    atomic_fetch_add(&author.done, 1);
    if (author.next < CHANGES)
        write_next(c);
}

static void let_go(void *ctx, struct store_batch *take)
{
    (void)ctx;
    store_batch_free(take);
}

static void begin(struct store_barrier *b, enum err e, uint64_t revision)
{
    (void)b;
    (void)revision;
    if (e != ERR_OK)
        _exit(6);
    for (int i = 0; i < WIDTH; i++)
        write_next(&author.slot[i]);
}

/* Never returns. 0: it came to the end. */
static void write_until_death(const char *path, int pipe_fd, long until,
                              enum disk_end how)
{
    struct store_options o = {.kind = STORE_SQLITE,
                              .path = path,
                              .server_id = "author",
                              .compact_bytes = 16 * 1024,
                              .on_batch = let_go};
    struct store_barrier barrier = {.done = begin};
    struct errtext t = {{0}};

    alarm(PATIENCE_S);
    disk.end = how;
    disk.random = (unsigned)until;
    atomic_store(&disk.until, until);
    author = (struct author){.pipe = pipe_fd};
    for (int i = 0; i < WIDTH; i++)
        author.slot[i].change = (struct store_change){
            .ops = author.slot[i].ops, .op_count = 2, .done = written};
    if (store_open(&o, &author.store, &t) != ERR_OK)
        _exit(2);
    if (store_barrier_begin(author.store, &barrier) != ERR_OK)
        _exit(6);
    while (atomic_load(&author.done) < CHANGES)
        sched_yield();
    store_close(author.store);
    _exit(0);
}

/* --- The one that finds -------------------------------------------------- */

static bool there(struct world *w, char letter, int n)
{
    char key[16];

    snprintf(key, sizeof key, "%c/%d", letter, n);
    return world_get(w, key) != NULL;
}

static void check_found(struct world *w, const bool *acknowledged)
{
    for (int n = 0; n < CHANGES; n++) {
        if (there(w, 'a', n) != there(w, 'b', n))
            fail_msg("change %d is there by half", n);
        if (n % 5 == 4) {
            if (acknowledged[n] && there(w, 'a', n - WIDTH))
                fail_msg("an acknowledged deletion of %d is undone", n - WIDTH);
            continue;
        }
        int deleter = n + WIDTH;
        bool may_be_gone = deleter % 5 == 4 && deleter < CHANGES;
        if (acknowledged[n] && !there(w, 'a', n) && !may_be_gone)
            fail_msg("acknowledged change %d is lost", n);
    }
}

/* Everything was in order for a while: it can also be written again. */
static void check_usable(struct world *w)
{
    uint64_t before = world_revision(w);

    assert_true(world_put(w, "after", "x") > before);
    world_expect(w, "after", "x");
}

/* True: the author was killed; false: he came to the end. */
static bool one_life(long until, enum disk_end how)
{
    struct stage_set x;
    bool acknowledged[CHANGES] = {false};
    int ends[2], number, status;

    set_init(&x, &sqlite);
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        write_until_death(x.path, ends[1], until, how);
    close(ends[1]);
    while (read(ends[0], &number, sizeof number) == sizeof number)
        acknowledged[number] = true;
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        fail_msg("until %ld: the author ended with status %#x", until, status);

    set_open(&x);
    check_found(&x.w, acknowledged);
    check_usable(&x.w);
    world_close(&x.w);
    set_fini(&x);
    return killed;
}

static void die_everywhere(enum disk_end how, long stride)
{
    long at = 0;

    while (one_life(at, how))
        at += stride;
    assert_true(at > CHANGES / WIDTH); /* each group writes more than once */
    print_message("# died at %ld points\n", at / stride);
}

static void killed_at_every_write_nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    die_everywhere(DISK_KILL, 1);
}

static void killed_in_the_middle_of_every_write(void **state)
{
    (void)state;
    die_everywhere(DISK_TEAR, 4);
}

static void the_power_goes_and_unsynced_writes_with_it(void **state)
{
    (void)state;
    die_everywhere(DISK_POWER, 2);
}

static int install(void **state)
{
    (void)state;
    disk_install();
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(killed_at_every_write_nothing_acknowledged_is_lost,
                           install),
    cmocka_unit_test_setup(killed_in_the_middle_of_every_write, install),
    cmocka_unit_test_setup(the_power_goes_and_unsynced_writes_with_it, install),
};

RUN_TESTS(tests)
