/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "probe_world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/arena.h"

enum { OUTPUT_MAX = 64 };

#define SECOND_NS INT64_C(1000000000)

#define FOREVER       "sleep 100000" /* sleep: is to be killed */
#define OVER_A_SECOND "sleep 1.2"    /* sleep: the run, not the test */

static struct check_def shell(struct bytes args[3], const char *text)
{
    args[0] = bytes_str("/bin/sh");
    args[1] = bytes_str("-c");
    args[2] = bytes_str(text);
    return (struct check_def){.args = args, .arg_count = 3};
}

static void assert_script(struct world *w, const char *text, enum status status,
                          const char *output)
{
    struct bytes args[3];
    struct check_def d = shell(args, text);
    world_assert(w, &d, status, output);
}

/* Gone, or nothing but its exit status. */
static bool is_dead(long pid)
{
    char path[64], state = 'Z';
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return true;
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'Z';
    (void)fclose(f);
    return state == 'Z' || state == 'X';
}

static void assert_dies(long pid)
{
    assert_true(pid > 1);
    for (int i = 0; i < PROBE_GIVE_UP_S * 100 && !is_dead(pid); i++)
        (void)usleep(10 * 1000); /* polling: there is nothing to wait on */
    if (!is_dead(pid))
        fail_msg("process %ld still lives", pid);
}

/* The number at the start of a text. */
static long number_in(struct bytes text)
{
    long n = 0;
    for (size_t i = 0; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++)
        n = n * 10 + (text.p[i] - '0');
    return n;
}

/* --- Results ------------------------------------------------------------- */

static void the_exit_status_decides(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, OUTPUT_MAX);
    assert_script(&w, "echo fine", STATUS_PASSING, "fine\n");
    assert_script(&w, "echo hm; exit 1", STATUS_WARNING, "hm\n");
    assert_script(&w, "echo no; exit 2", STATUS_CRITICAL, "no\n");
    assert_script(&w, "exit 255", STATUS_CRITICAL, "");
    assert_script(&w, "kill -9 $$", STATUS_CRITICAL, "");
    world_teardown(&w);
}

static void both_outputs_are_kept_in_order(void **state)
{
    (void)state;
    struct world w;
    world_setup(&w, OUTPUT_MAX);
    assert_script(&w, "echo a; echo b >&2; echo c", STATUS_PASSING,
                  "a\nb\nc\n");
    assert_script(&w, "printf 'a\\377b'", STATUS_PASSING,
                  "a\xef\xbf\xbd"
                  "b");
    world_teardown(&w);
}

static void the_end_of_long_output_is_kept(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, "seq 10000");
    d.output_max = 10;
    world_assert(&w, &d, STATUS_PASSING,
                 "Captured 10 of 48894 bytes\n...\n999\n10000\n");
    d = shell(args, "printf 0123456789");
    d.output_max = 10;
    world_assert(&w, &d, STATUS_PASSING, "0123456789");
    d.output_max = 9;
    world_assert(&w, &d, STATUS_PASSING,
                 "Captured 9 of 10 bytes\n...\n123456789");
    world_teardown(&w);
}

static void what_cannot_be_started_is_critical(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, "");
    args[0] = bytes_str("/no/such/program");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "fork/exec /no/such/program: no such file or directory");
    args[0] = bytes_str("no-such-program");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "exec: \"no-such-program\": executable file not found in "
                 "$PATH");
    args[0] = bytes_str("/etc/passwd");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "fork/exec /etc/passwd: permission denied");
    world_teardown(&w);
}

static void scripts_have_no_input_and_their_own_session(void **state)
{
    (void)state;
    struct world w;
    /* What this test was started with is not what is tested. */
    for (int fd = 3; fd < 1024; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    world_setup(&w, OUTPUT_MAX);
    assert_script(&w, "cat; echo end", STATUS_PASSING, "end\n");
    assert_script(&w, "set -- $(cat /proc/$$/stat); test $1 = $5 -a $1 = $6",
                  STATUS_PASSING, "");
    assert_script(&w, "ls /proc/self/fd | wc -l", STATUS_PASSING,
                  "4\n"); /* 0 1 2, and that of ls itself */
    world_teardown(&w);
}

/* --- Time ---------------------------------------------------------------- */

static void a_script_out_of_time_is_killed_with_its_children(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, FOREVER " & echo $!; wait");
    d.timeout_ns = 300 * 1000000;
    world_start(&w, &d);
    struct probe_result *r = world_next(&w);
    struct bytes text = result_output(r);
    struct bytes want = bytes_str("Timed out (300ms) running check\n\n");
    assert_int_equal(r->status, STATUS_CRITICAL);
    assert_true(bytes_starts(text, want));
    assert_dies(number_in(bytes_skip(text, want.n)));
    free(r);
    world_teardown(&w);
}

static void a_script_that_ignores_signals_is_killed_too(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d =
        shell(args, "trap '' TERM INT HUP; while :; do " FOREVER "; done");
    d.timeout_ns = 100 * 1000000;
    world_assert(&w, &d, STATUS_CRITICAL, "Timed out (100ms) running check");
    world_teardown(&w);
}

static void endless_output_is_bounded(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, "yes 1234567");
    d.timeout_ns = 300 * 1000000;
    world_start(&w, &d);
    struct probe_result *r = world_next(&w);
    struct bytes want =
        bytes_str("Timed out (300ms) running check\n\nCaptured 64 of ");
    assert_true(bytes_starts(result_output(r), want));
    assert_true(r->output_n < 200);
    free(r);
    world_teardown(&w);
}

static void what_a_script_leaves_running_is_killed(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, FOREVER " & echo $!");
    world_start(&w, &d);
    struct probe_result *r = world_next(&w);
    assert_int_equal(r->status, STATUS_PASSING);
    assert_dies(number_in(result_output(r)));
    free(r);
    world_teardown(&w);
}

static void a_child_that_escaped_does_not_hold_the_result(void **state)
{
    (void)state;
    struct world w;
    struct bytes args[3];
    world_setup(&w, OUTPUT_MAX);
    /* It keeps the pipe open; its parent ends when it has left the group. */
    struct check_def d = shell(
        args, "setsid sh -c 'echo $$; exec " FOREVER "' & "
              "while test $(ps -o sid= -p $! | tr -d ' ') != $!; do :; done");
    world_start(&w, &d);
    struct probe_result *r = world_next(&w);
    long pid = number_in(result_output(r));
    assert_int_equal(r->status, STATUS_PASSING);
    assert_true(pid > 1);
    assert_false(is_dead(pid));
    assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
    free(r);
    world_teardown(&w);
}

static void runs_of_one_check_never_overlap(void **state)
{
    (void)state;
    char folder[] = "/tmp/muster-probe-test-XXXXXX";
    char text[256];
    struct world w;
    struct bytes args[3];
    assert_non_null(mkdtemp(folder));
    (void)snprintf(text, sizeof text,
                   "mkdir %s/x || exit 2; " OVER_A_SECOND "; rmdir %s/x",
                   folder, folder);
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, text);
    d.interval_ns = SECOND_NS;
    world_start(&w, &d);
    for (int i = 0; i < 2; i++) {
        struct probe_result *r = world_next(&w);
        assert_int_equal(r->status, STATUS_PASSING);
        free(r);
    }
    world_teardown(&w);
    (void)snprintf(text, sizeof text, "%s/x", folder);
    (void)rmdir(text);
    assert_int_equal(rmdir(folder), 0);
}

/* --- Many ---------------------------------------------------------------- */

static void more_scripts_than_may_run_take_turns(void **state)
{
    (void)state;
    enum { N = PROBE_SCRIPTS_MAX + 10 };
    struct world w;
    struct arena a;
    struct bytes args[3];
    arena_init(&a, 0);
    world_setup(&w, OUTPUT_MAX);
    for (int i = 0; i < N; i++) {
        struct check_def d = shell(args, "sleep 0.05");
        d.id = bytes_str(arena_printf(&a, "%d", i));
        world_start(&w, &d);
    }
    for (int i = 0; i < N; i++) {
        struct probe_result *r = world_next(&w);
        assert_int_equal(r->status, STATUS_PASSING);
        free(r);
    }
    world_teardown(&w);
    arena_fini(&a);
}

static void a_stopped_check_takes_its_script_along(void **state)
{
    (void)state;
    char folder[] = "/tmp/muster-probe-test-XXXXXX";
    char text[256];
    struct world w;
    struct bytes args[3];
    long pid = 0;
    FILE *f = NULL;
    assert_non_null(mkdtemp(folder));
    (void)snprintf(text, sizeof text,
                   "echo $$ > %s/t && mv %s/t %s/pid; " FOREVER, folder, folder,
                   folder);
    world_setup(&w, OUTPUT_MAX);
    struct check_def d = shell(args, text);
    d.id = bytes_str("long");
    world_start(&w, &d);
    (void)snprintf(text, sizeof text, "%s/pid", folder);
    for (int i = 0; i < PROBE_GIVE_UP_S * 100 && !f; i++) {
        f = fopen(text, "r");
        (void)usleep(10 * 1000); /* polling, as above */
    }
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld", &pid), 1);
    (void)fclose(f);
    probe_stop(w.p, d.id);
    assert_dies(pid);
    /* It was reaped without a word. */
    assert_script(&w, "echo next", STATUS_PASSING, "next\n");
    world_teardown(&w);
    (void)unlink(text);
    assert_int_equal(rmdir(folder), 0);
}

static void at_the_end_nobody_is_left(void **state)
{
    (void)state;
    struct world w;
    struct arena a;
    struct bytes args[3];
    arena_init(&a, 0);
    world_setup(&w, OUTPUT_MAX);
    for (int i = 0; i < 20; i++) {
        struct check_def d = shell(args, FOREVER " | " FOREVER);
        d.id = bytes_str(arena_printf(&a, "%d", i));
        world_start(&w, &d);
    }
    assert_script(&w, "echo last", STATUS_PASSING, "last\n");
    world_teardown(&w);
    errno = 0;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    arena_fini(&a);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_exit_status_decides),
    cmocka_unit_test(both_outputs_are_kept_in_order),
    cmocka_unit_test(the_end_of_long_output_is_kept),
    cmocka_unit_test(what_cannot_be_started_is_critical),
    cmocka_unit_test(scripts_have_no_input_and_their_own_session),
    cmocka_unit_test(a_script_out_of_time_is_killed_with_its_children),
    cmocka_unit_test(a_script_that_ignores_signals_is_killed_too),
    cmocka_unit_test(endless_output_is_bounded),
    cmocka_unit_test(what_a_script_leaves_running_is_killed),
    cmocka_unit_test(a_child_that_escaped_does_not_hold_the_result),
    cmocka_unit_test(runs_of_one_check_never_overlap),
    cmocka_unit_test(more_scripts_than_may_run_take_turns),
    cmocka_unit_test(a_stopped_check_takes_its_script_along),
    cmocka_unit_test(at_the_end_nobody_is_left),
};

RUN_TESTS(tests)
