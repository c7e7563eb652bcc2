/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* OSService checks, against a stand-in for the system bus and systemd on it:
 * libsystemd's own server side of D-Bus, which knows three units. */
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>

#include "probe_world.h"

struct stand_in {
    char folder[64], path[96], address[128];
    int listener;
    pthread_t thread;
    atomic_bool mute; /* answers nothing */
};

struct unit_row {
    const char *name, *load, *active, *sub;
};

static const struct unit_row *unit_of(const char *name)
{
    static const struct unit_row rows[] = {
        {"web.service", "loaded", "active", "running"},
        {"slow.service", "loaded", "activating", "start"},
        {"dead.timer", "loaded", "failed", "failed"},
        {"", "not-found", "inactive", "dead"},
    };
    size_t i = 0;
    while (*rows[i].name && strcmp(rows[i].name, name) != 0)
        i++;
    return &rows[i];
}

static int answer_units(sd_bus_message *m)
{
    const char *name;
    sd_bus_message *reply = NULL;

    if (sd_bus_message_enter_container(m, 'a', "s") < 0 ||
        sd_bus_message_read(m, "s", &name) <= 0)
        return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_INVALID_ARGS,
                                          "no name");
    const struct unit_row *u = unit_of(name);
    int e = sd_bus_message_new_method_return(m, &reply);
    if (e >= 0)
        e = sd_bus_message_append(reply, "a(ssssssouso)", 1, name, "text",
                                  u->load, u->active, u->sub, "", "/u", 0, "",
                                  "/");
    if (e >= 0)
        e = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return e;
}

static int on_message(sd_bus_message *m, void *ctx, sd_bus_error *error)
{
    struct stand_in *s = ctx;

    (void)error;
    if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "Hello"))
        return sd_bus_reply_method_return(m, "s", ":1.1");
    if (s->mute)
        return 1;
    if (sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager",
                                      "ListUnitsByNames"))
        return answer_units(m);
    return 0;
}

static void serve(struct stand_in *s, int fd)
{
    sd_bus *bus = NULL;
    sd_id128_t id =
        SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 10);
    int n = 1;

    if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, fd, fd) < 0 ||
        sd_bus_set_server(bus, 1, id) < 0 || sd_bus_set_anonymous(bus, 1) < 0 ||
        sd_bus_start(bus) < 0 ||
        sd_bus_add_filter(bus, NULL, on_message, s) < 0)
        abort();
    while (n >= 0) {
        n = sd_bus_process(bus, NULL);
        if (n == 0)
            n = sd_bus_wait(bus, UINT64_MAX);
    }
    sd_bus_close(bus);
    sd_bus_unref(bus);
}

static void *stand_in_main(void *arg)
{
    struct stand_in *s = arg;
    int fd;

    while ((fd = accept(s->listener, NULL, NULL)) >= 0)
        serve(s, fd);
    return NULL;
}

static void stand_in_start(struct stand_in *s)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    memset(s, 0, sizeof *s);
    strcpy(s->folder, "/tmp/muster-bus-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    (void)snprintf(s->path, sizeof s->path, "%s/bus", s->folder);
    (void)snprintf(s->address, sizeof s->address, "unix:path=%s", s->path);
    assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", s->address, 1), 0);
    memcpy(a.sun_path, s->path, strlen(s->path) + 1);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(pthread_create(&s->thread, NULL, stand_in_main, s), 0);
}

/* Once nobody is connected. */
static void stand_in_stop(struct stand_in *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    unlink(s->path);
    rmdir(s->folder);
}

static struct check_def unit(const char *name)
{
    return (struct check_def){.os_service = bytes_str(name)};
}

static void an_active_unit_passes(void **state)
{
    (void)state;
    struct stand_in s;
    struct world w;
    stand_in_start(&s);
    world_setup(&w, 4096);
    struct check_def d = unit("web");
    world_assert(&w, &d, STATUS_PASSING,
                 "Service \"web\" is healthy: active (running)");
    d = unit("web.service");
    world_assert(&w, &d, STATUS_PASSING,
                 "Service \"web.service\" is healthy: active (running)");
    world_teardown(&w);
    stand_in_stop(&s);
}

static void other_states_do_not(void **state)
{
    (void)state;
    struct stand_in s;
    struct world w;
    stand_in_start(&s);
    world_setup(&w, 4096);
    struct check_def d = unit("slow");
    world_assert(&w, &d, STATUS_WARNING,
                 "Service \"slow\" is unhealthy: activating (start)");
    d = unit("dead.timer");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "Service \"dead.timer\" is unhealthy: failed (failed)");
    d = unit("nobody");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "Service \"nobody\" is unhealthy: inactive (dead), no such "
                 "unit");
    world_teardown(&w);
    stand_in_stop(&s);
}

static void a_bus_that_does_not_answer_is_critical(void **state)
{
    (void)state;
    struct stand_in s;
    struct world w;
    stand_in_start(&s);
    s.mute = true;
    world_setup(&w, 4096);
    struct check_def d = unit("web");
    d.timeout_ns = 50 * 1000000;
    world_assert(&w, &d, STATUS_CRITICAL,
                 "systemd cannot be asked about web: i/o timeout");
    s.mute = false;
    d.timeout_ns = 0;
    world_assert(&w, &d, STATUS_PASSING,
                 "Service \"web\" is healthy: active (running)");
    world_teardown(&w);
    stand_in_stop(&s);
}

static void without_a_bus_it_is_critical(void **state)
{
    (void)state;
    struct world w;
    assert_int_equal(
        setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
    world_setup(&w, 4096);
    struct check_def d = unit("web");
    world_assert(&w, &d, STATUS_CRITICAL,
                 "systemd cannot be asked about web: there is no system bus "
                 "here (no systemd?)");
    world_teardown(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_active_unit_passes),
    cmocka_unit_test(other_states_do_not),
    cmocka_unit_test(a_bus_that_does_not_answer_is_critical),
    cmocka_unit_test(without_a_bus_it_is_critical),
};

RUN_TESTS(tests)
