# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster within its bounds: what a turn may do, who may call what, whose answers
and files are taken, and what never ends."""

import http.server
import shutil
import threading

import muster
from libmuster import (EBUSY, ECLOSED, ENONE, ETIMEOUT, EVOID, DISK, REGISTRY,
                       address, deregister, register)
from muster import until


# --- The caller's loop --------------------------------------------------------

def test_a_turn_does_64_events_at_most(make_server, make_client):
    """150 services change at once; each of them is an event or more. (A server lets
    a client have 200 connections.)"""
    server = make_server(dev=True).start()
    c = make_client(address(server), mode="loop", name=None)
    for i in range(150):
        server.register("n", f"s{i}", port=1000 + i)
        c.ok(f"watch s{i} p2c")
    turns = []

    def all_told(n):
        turns.append(int(c.ok("process")))
        return sum(turns) == n

    until(lambda: all_told(150), "150 lists")
    turns.clear()
    for i in range(150):
        server.register("n", f"s{i}", port=2000 + i)
    until(lambda: all_told(150), "150 changes")
    assert max(turns) <= 64, turns
    assert sum(1 for t in turns if t) >= 3
    c.ok("close")


def test_nothing_is_inherited_and_no_thread_is_made(make_server, make_client,
                                                    tmp_path):
    server = make_server(dev=True).start()
    register(server, 2)
    for mode, threads in (("thread", "2"), ("loop", "1")):
        c = make_client(f"localhost:{server.port}", tmp_path, mode=mode)
        c.ok("register web web-9 9009 5000 1")

        def has_list():
            if mode == "loop":
                c.ok("spin 20")
            return c.status()["instances"] >= "3"

        until(has_list, "a list")
        assert c.ok("inherited") == "0"
        assert c.ok("threads") == threads
        c.ok("close")
        assert c.ok("threads") == "1"


# --- Who may call what --------------------------------------------------------

def test_a_callback_may_call_anything_but_close(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    for mode in ("thread", "loop"):
        c = make_client(address(server), mode=mode, inside=1)

        def told():
            if mode == "loop":
                c.ok("spin 20")
            return int(c.status()["changes"]) > 0

        until(told, "a callback")
        assert c.status()["busy"] == "1"
        c.ok("close")


def test_what_was_closed_says_so(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(address(server))
    c.ok("register web web-9 9009 5000 1")
    c.ok("registered 10000")
    c.ok("wait 10000")
    c.ok("close")
    for command in ("close", "pick", "report ok", "status", "wait 1", "token x",
                    "watch web p2c", "registered 1", "health passing",
                    "deregister 1", "process"):
        assert c.error(command) == ECLOSED, command
    # Its memory is used again, and only for its like.
    c.ok(f"open {address(server)} - 0 thread")
    c.ok("watch web p2c")
    c.ok("wait 10000")
    c.ok("pick")
    c.ok("close")


def test_a_copy_of_a_ticket_is_void(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(address(server))
    c.ok("wait 10000")
    c.ok("pick")
    c.ok("copy")
    assert c.error("copy") == EVOID
    assert c.error("report ok") == EVOID
    c.ok("pick")
    c.ok("report failed")
    assert c.error("copy") == EVOID
    c.ok("close")


# --- Options ------------------------------------------------------------------

def test_priorities_come_from_meta(make_server, make_client):
    server = make_server(dev=True).start()
    for i in range(4):
        server.register("n", "web", f"web-{i}", port=9000 + i, Address="127.0.0.1",
                        Meta={"priority": str(i // 2)} if i >= 2 else {})
    c = make_client(address(server))
    c.ok("wait 10000")
    assert set(c.shares(100)) == {9000, 9001}
    for i in range(2):  # 0 % of the first level is healthy
        server.put("/v1/catalog/register", {
            "Node": "n", "Address": "10.0.0.1", "Check": {
                "Name": "c", "CheckID": f"c{i}", "ServiceID": f"web-{i}",
                "Status": "critical"}})
    until(lambda: set(c.shares(100)) == {9002, 9003}, "the second level")
    c.ok("close")


def test_ejection_follows_the_options(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 3)
    c = make_client(address(server), policy="round-robin", outlier_consecutive=2)
    c.ok("wait 10000")
    fails = 0
    while c.status()["ejected"] == "0":
        bad = c.ok("pick").endswith("9001")
        c.ok("report failed" if bad else "report ok")
        fails += bad
    assert fails == 2
    c.ok("close")
    answer = make_client(address(server), name=None, overprovision_percent=20).ask(
        "watch web p2c")
    assert answer.startswith("error") and "overprovisioning" in answer
    assert "20" in answer and "100" in answer


# --- What muster says of instances and callers -----------------------------------

def test_who_drains_is_left_alone(make_server, make_client):
    """Also when all others are sick: panic does not bring it back."""
    server = make_server(dev=True).start()
    for i in (1, 2):
        assert server.put("/v1/agent/service/register", {
            "Name": "web", "ID": f"web-{i}", "Port": 9000 + i,
            "Address": "127.0.0.1"}).status == 200
    c = make_client(address(server), policy="round-robin")
    until(lambda: c.status()["instances"] == "2", "two")
    assert set(c.shares(10)) == {9001, 9002}
    assert server.put("/v1/agent/service/drain/web-1").status == 200
    until(lambda: c.status()["draining"] == "1", "it drains")
    assert set(c.shares(10)) == {9002}
    assert "web-1" in c.ok("each") and ",draining" in c.ok("each")
    server.put("/v1/catalog/register", {
        "Node": "node-a", "SkipNodeUpdate": True, "Check": {
            "CheckID": "c", "Name": "c", "ServiceID": "web-2",
            "Status": "critical"}})
    until(lambda: c.status()["panic"] == "1", "panic")
    assert set(c.shares(10)) == {9002}
    server.put("/v1/agent/service/undrain/web-1")
    until(lambda: set(c.shares(20)) == {9001}, "the one that is well")
    c.ok("close")


def test_newcomers_start_slowly_and_the_first_do_not(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2, first=3)  # of weights 3 and 4
    c = make_client(address(server), slow_start_ms=3600000)
    c.ok("wait 10000")
    assert c.status()["slow"] == "0"
    register(server, 1, first=5)
    until(lambda: c.status()["slow"] == "1", "a newcomer")
    shares = c.shares(750)  # a tenth of its weight at first
    assert shares[9005] == 50 and shares[9003] == 300
    c.ok("close")


def test_callers_know_their_rank_and_zones(make_server, make_client):
    server = make_server(dev=True).start()
    for i in range(12):
        server.register("n", "web", f"web-{i}", port=9000 + i, Address="127.0.0.1",
                        Meta={"zone": "ab"[i % 2]})
    clients = [make_client(address(server), policy="round-robin", subset_size=4)
               for _ in range(3)]
    for c in clients:
        c.ok("wait 10000")
        until(lambda: c.status()["ranked"] == "1", "a rank")
    # Three of three take four of twelve each: nobody twice.
    until(lambda: sorted(p for c in clients for p in c.shares(2000)) ==
          list(range(9000, 9012)), "subsets without overlap")
    for c in clients:
        c.ok("close")
    a = make_client(address(server), policy="round-robin", zone="a")
    until(lambda: a.status()["zoned"] == "1", "the callers' zones")
    # All callers are in a, half of the servers: it keeps half, the rest goes over.
    shares = a.shares(6000)
    local = sum(n for p, n in shares.items() if p % 2 == 0)
    assert 2700 < local < 3300
    a.ok("close")


# --- Whose answers and files ---------------------------------------------------

def test_another_clusters_list_takes_nothing_away(make_server, make_client):
    """The second registry is no copy of the first, and further on."""
    one, two = make_server(dev=True).start(), make_server(dev=True).start()
    register(one, 3)
    for i in range(30):
        two.register("n", "other", f"o{i}")
    register(two, 2)
    c = make_client(f"{address(one)},{address(two)}")
    c.ok("wait 10000")
    first = c.status()["cluster"]
    assert first == one.get("/v1/muster/id").json["Cluster"]
    one.kill()
    until(lambda: c.status()["cluster"] not in ("", first), "the other cluster")
    # One of three is missing: of the same cluster that would be believed.
    until(lambda: c.status()["held"] == "1", "a kept one")
    assert c.status()["instances"] == "3"
    assert set(c.shares(60)) == {9001, 9002, 9003}
    c.ok("close")


def test_held_ones_may_stay_for_ever(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 4)
    c = make_client(address(server), hold_ms=2**64 - 1)
    c.ok("wait 10000")
    server.kill()
    server.start()
    until(lambda: c.status()["held"] == "4", "four kept ones")
    assert set(c.shares(100)) == {9001, 9002, 9003, 9004}
    c.ok("close")


def test_a_file_of_another_cluster_is_foreign(make_server, make_client, tmp_path):
    """Known by what another service of the same program was told."""
    one, two = make_server().start(), make_server().start()
    register(one, 2)
    two.register("n", "db")
    c = make_client(address(one), tmp_path)
    until(lambda: c.status()["written"] == "1", "a file")
    c.ok("close")
    one.stop()
    # It may be used as long as nobody says whose it is.
    c = make_client(address(one), tmp_path)
    c.ok("wait 10000")
    status = c.status()
    assert status["source"] == DISK and status["ignored"] == "0"
    assert status["cluster"] == c.status()["cluster"] != ""
    c.ok("close")
    # A program that has met another cluster does not use it.
    c = make_client(address(two), tmp_path, name="db")
    c.ok("wait 10000")
    assert c.status()["cluster"] == two.get("/v1/muster/id").json["Cluster"]
    two.kill()
    until(lambda: c.status()["connected"] == "0", "a lost server")
    c.ok("watch web p2c")
    until(lambda: c.status()["ignored"] == "1", "a foreign file")
    assert c.error("pick") == ENONE
    c.ok("close")
    two.start()


def test_a_list_that_stays_does_not_grow_old_on_the_disk(make_server, make_client,
                                                         tmp_path):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(address(server), tmp_path, cache_max_age_ms=20000)
    until(lambda: c.status()["written"] == "2", "written again without a change")
    assert c.status()["answers"] == "1"
    c.ok("close")


def test_files_have_names_of_their_own(make_server, make_client, tmp_path):
    server = make_server(dev=True).start()
    server.register("n", "a b", port=1)
    server.register("n", "a_b", port=2)
    clients = [make_client(address(server), tmp_path, name=None) for _ in range(2)]
    for c, name in zip(clients, ("a_b", "a_b")):
        c.ok(f"watch {name} p2c")
        until(lambda: c.status()["written"] == "1", "a file")
        c.ok("close")
    assert len(list(tmp_path.glob("*.list"))) == 1  # the same query, one file
    assert list(tmp_path.glob("*.list.*")) == []  # and nothing beside it
    shutil.rmtree(tmp_path)


# --- What never ends ----------------------------------------------------------

class Endless(http.server.BaseHTTPRequestHandler):
    """Sends its parts again and again until the client has enough."""

    protocol_version = "HTTP/1.1"
    first, again = b"", b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Consul-Index", "5")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(self.first)
            while True:
                self.wfile.write(self.again)
        except OSError:
            self.server.ended.append(True)

    def log_message(self, *args):
        pass


def test_endless_answers_end(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    liar = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    liar.daemon_threads = True
    liar.ended = []
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    item = (b'{"Node":{"Node":"n","Address":"127.0.0.1"},"Service":'
            b'{"ID":"x","Port":7777},"Checks":[]},')
    begin = b'event: snapshot\ndata: {"Phase":"begin"}\n\n'
    puts = b"".join(b'event: put\ndata: {"Key":"k%d","Entry":%s}\n\n'
                    % (i, item[:-1]) for i in range(100))
    bodies = {
        "over 64 MiB": (b"[", item * 10000),
        "over 4194304": (b"event: put\ndata: ", b"x" * 100000),
        "more than 65535": (begin, None),
    }
    try:
        for what, (first, again) in bodies.items():
            Endless.first, Endless.again = first, again or b"".join(
                puts.replace(b'"k', b'"k%d-' % i) for i in range(660))
            liar.ended.clear()
            c = make_client(f"127.0.0.1:{liar.server_port},{address(server)}")
            until(lambda: c.status()["source"] == REGISTRY, what)
            # Its log comes by another pipe than its answers.
            until(lambda: what in "".join(c.lines), f"a line: {what}")
            assert c.status()["bad"] == "1" and set(c.shares(30)) == {9001, 9002}
            until(lambda: liar.ended, "the connection's end")
            c.ok("close")
    finally:
        liar.shutdown()
        liar.server_close()


def test_closing_waits_for_nobody(make_client):
    """A server that accepts and says nothing."""
    import socket
    with socket.create_server(("127.0.0.1", 0)) as s:
        c = make_client(f"127.0.0.1:{s.getsockname()[1]}")
        assert c.error("wait 50") == ETIMEOUT
        c.ok("register web web-9 9009 5000 1")
        c.ok("close")
        assert c.error("wait 50") == ECLOSED


def test_a_thread_waits_and_a_loop_does_not(make_client):
    c = make_client("127.0.0.1:1", mode="loop")
    assert c.error("wait 10") == EBUSY
    c.ok("register web web-9 9009 5000 1")
    assert c.error("registered 10") == EBUSY
    c.ok("close")


def test_deregistered_down_to_none_is_none(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 1)
    c = make_client(address(server))
    c.ok("wait 10000")
    deregister(server, 1)
    until(lambda: c.status()["instances"] == "0", "none")
    assert c.error("pick") == ENONE and c.status()["held"] == "0"
    c.ok("close")
