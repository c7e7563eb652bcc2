/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* What other servers, etcd and an earlier run of ours wrote: taken as it is
 * meant, and refused whole when it is not. */
#include "test.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/impl.h"

#define ID_A "11111111-1111-4111-8111-111111111111"
#define ID_B "22222222-2222-4222-8222-222222222222"
#define SERVER_A                                                               \
    "{\"Node\":\"a\",\"ID\":\"" ID_A "\",\"Address\":\"10.0.0.1\","            \
    "\"PeerPort\":8301,\"ServerPort\":8300}"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void a_hello_is_taken(void **state)
{
    struct hello h;
    struct errtext t = {{0}};

    (void)state;
    assert_ok(hello_read(
        bytes_str("{\"Node\":\"b\",\"ID\":\"" ID_B "\",\"Datacenter\":\"dc1\","
                  "\"Phase\":\"fresh\",\"Fresh\":true,\"Server\":true,"
                  "\"Protocol\":1,\"BootstrapExpect\":3,\"New\":[1,{}],"
                  "\"APIVersion\":\"1.8.7\",\"StoreSize\":5000,"
                  "\"StoreUsed\":4000,\"DiskFree\":70,\"DiskFull\":true,"
                  "\"Sees\":[" SERVER_A "]}"),
        &arena, &h, &t));
    assert_bytes(h.node, "b");
    assert_int_equal(h.expect, 3);
    assert_true(h.server && h.fresh);
    assert_bytes(h.api_version, "1.8.7");
    assert_int_equal(h.store_size, 5000);
    assert_int_equal(h.store_used, 4000);
    assert_int_equal(h.disk_free, 70);
    assert_true(h.disk_full);
    assert_int_equal(h.sees_count, 1);
    assert_string_equal(h.sees[0].id, ID_A);
    assert_int_equal(h.sees[0].peer_port, 8301);
}

static void a_hello_of_nobody_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"Node\":\"b\"}",
        "{\"Node\":\"b\",\"ID\":\"x\"}",
        "{\"Node\":\"\",\"ID\":\"" ID_B "\"}",
        "{\"Node\":7,\"ID\":\"" ID_B "\"}",
        "{\"Node\":\"b\",\"ID\":\"" ID_B "\",\"Sees\":[{}]}",
        "{\"Node\":\"b\",\"ID\":\"" ID_B
        "\",\"Sees\":[{\"Node\":\"a\",\"ID\":\"" ID_A
        "\",\"Address\":\"x y\",\"PeerPort\":1,\"ServerPort\":1}]}",
        "{\"Node\":\"b\",\"ID\":\"" ID_B
        "\",\"Sees\":[{\"Node\":\"a\",\"ID\":\"" ID_A
        "\",\"Address\":\"h\",\"PeerPort\":0,\"ServerPort\":1}]}",
        "{\"Node\":\"b\",\"ID\":\"" ID_B
        "\",\"Sees\":[{\"Node\":\"a\",\"ID\":\"" ID_A
        "\",\"Address\":\"h\",\"PeerPort\":1,\"ServerPort\":65536}]}",
    };
    struct hello h;
    struct errtext t = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (hello_read(bytes_str(bad[i]), &arena, &h, &t) == ERR_OK)
            fail_msg("taken: %s", bad[i]);
}

static void a_proposal_has_bounds(void **state)
{
    struct buf b = {0};
    struct proposal p;
    struct errtext t = {{0}};

    (void)state;
    for (int n = 1; n <= GATHER_EXPECT_MAX + 1; n++) {
        buf_reset(&b);
        buf_puts(&b,
                 "{\"Token\":\"" ID_A "\",\"Proposer\":\"" ID_B "\",\"Set\":[");
        for (int i = 0; i < n; i++)
            buf_puts(&b, i ? "," SERVER_A : SERVER_A);
        buf_puts(&b, "]}");
        enum err e = proposal_read(buf_bytes(&b), &arena, &p, &t);
        assert_int_equal(e, n > GATHER_EXPECT_MAX ? ERR_LIMIT : ERR_OK);
    }
    assert_string_equal(t.s, "a list of 10 servers, the limit is 9");
    buf_fini(&b);
    assert_int_equal(
        proposal_read(bytes_str("{\"Token\":\"x\"}"), &arena, &p, &t), ERR_BAD);
}

static void who_joins_must_be_reachable(void **state)
{
    struct joiner j;
    struct errtext t = {{0}};

    (void)state;
    assert_ok(joiner_read(bytes_str(SERVER_A), &arena, &j, &t));
    assert_bytes(j.address, "10.0.0.1");
    assert_int_equal(
        joiner_read(bytes_str("{\"Node\":\"a\",\"ID\":\"" ID_A "\"}"), &arena,
                    &j, &t),
        ERR_BAD);
    assert_string_equal(t.s, "Node, ID, Address, PeerPort or ServerPort is "
                             "missing or wrong");
}

static void etcds_members_and_state_are_taken(void **state)
{
    static struct etcd_state s;

    (void)state;
    assert_ok(members_read(
        bytes_str(
            "{\"header\":{\"cluster_id\":\"77\",\"member_id\":\"5\","
            "\"raft_term\":\"2\"},\"members\":[{\"ID\":\"5\",\"name\":\"" ID_A
            "\",\"peerURLs\":[\"http://10.0.0.1:8300\"],\"clientURLs\":["
            "\"http://10.0.0.1:8301\"]},{\"ID\":\"18446744073709551615\","
            "\"peerURLs\":[\"http://10.0.0.2:8300\"],\"isLearner\":true}]}"),
        &s));
    assert_int_equal(s.cluster, 77);
    assert_int_equal(s.self, 5);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.members[0].id, ID_A);
    assert_string_equal(s.members[0].peer, "10.0.0.1:8301");
    assert_false(s.members[0].learner);
    assert_true(s.members[1].learner);
    assert_string_equal(s.members[1].id, "");
    assert_true(s.members[1].member == UINT64_MAX);
    assert_ok(status_read(bytes_str("{\"header\":{\"cluster_id\":\"77\","
                                    "\"member_id\":\"5\"},\"leader\":\"5\","
                                    "\"raftIndex\":\"9\",\"raftTerm\":\"3\"}"),
                          &s));
    assert_int_equal(s.leader, 5);
    assert_int_equal(s.index, 9);
    assert_int_equal(members_read(bytes_str("{\"members\":7}"), &s), ERR_BAD);
}

/* --- The record ------------------------------------------------------------ */

static struct record some_record(void)
{
    struct record r = {.state = RECORD_MEMBER,
                       .node_id = ID_A,
                       .node = "a \"quoted\" name",
                       .datacenter = "dc1",
                       .token = ID_B,
                       .proposer = ID_A,
                       .url = "https://10.0.0.1:8300",
                       .existing = true,
                       .initial = ID_A "=https://10.0.0.1:8300",
                       .set_count = 1};

    r.set[0] = (struct set_server){.id = ID_A,
                                   .node = "a",
                                   .address = "10.0.0.1",
                                   .peer_port = 8301,
                                   .server_port = 8300};
    return r;
}

static void why_etcd_refused_is_told_whatever_its_release(void **state)
{
    (void)state;
    assert_bytes(etcd_why(bytes_str("{\"error\":\"no\",\"code\":9,"
                                    "\"message\":\"no\"}"), /* to 3.5 */
                          &arena),
                 "no");
    assert_bytes(etcd_why(bytes_str("{\"code\":9,\"message\":\"no\","
                                    "\"details\":[]}"), /* from 3.6 on */
                          &arena),
                 "no");
    assert_bytes(etcd_why(bytes_str("<html>"), &arena), "no reason was given");
}

static void a_record_is_read_as_it_was_written(void **state)
{
    char path[] = "/tmp/muster-record-XXXXXX", file[64];
    struct record r = some_record(), got;
    struct errtext t = {{0}};
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(path));
    (void)snprintf(file, sizeof file, "%s/cluster.json", path);
    assert_ok(record_read(file, &got, &t));
    assert_int_equal(got.state, RECORD_NONE);
    assert_ok(record_write(file, &r, &t));
    assert_ok(record_read(file, &got, &t));
    assert_memory_equal(&r, &got, sizeof r);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    got.state = RECORD_NONE;
    assert_ok(record_write(file, &got, &t));
    assert_ok(record_write(file, &got, &t)); /* it is not there: fine */
    assert_ok(record_read(file, &got, &t));
    assert_int_equal(got.state, RECORD_NONE);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(record_write(file, &r, &t), ERR_IO);
    assert_non_null(strstr(t.s, file));
}

static void a_record_that_was_cut_is_refused(void **state)
{
    struct record r = some_record(), got;
    struct buf b = {0};
    struct errtext t = {{0}};

    (void)state;
    record_put(&b, &r);
    assert_ok(record_from(buf_bytes(&b), &got, &t));
    for (size_t n = 0; n + 2 < b.n; n++)
        if (record_from(bytes_of(b.p, n), &got, &t) == ERR_OK)
            fail_msg("taken: its first %zu bytes", n);
    buf_fini(&b);
    assert_int_equal(record_from(bytes_str("{\"Format\":2}"), &got, &t),
                     ERR_BAD);
    assert_string_equal(t.s, "has format 2, this version knows 1");
}

static const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    T(a_hello_is_taken),
    T(a_hello_of_nobody_is_refused),
    T(a_proposal_has_bounds),
    T(who_joins_must_be_reachable),
    T(etcds_members_and_state_are_taken),
    T(why_etcd_refused_is_told_whatever_its_release),
    T(a_record_is_read_as_it_was_written),
    T(a_record_that_was_cut_is_refused),
};

RUN_TESTS(tests)
