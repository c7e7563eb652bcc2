# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster from outside: lists that outlive the registry, ejection, misuse."""

import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading

import pytest

import muster
from libmuster import (DISK, EBUSY, EINVAL, ENONE, ETIMEOUT, EVOID, REGISTRY, Client,
                       address, deregister, register)


def test_it_spreads_by_weight_and_follows_changes(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 3)
    c = make_client(address(server))
    c.ok("wait 10000")
    assert c.shares(600) == {9001: 100, 9002: 200, 9003: 300}
    register(server, 1, first=4)
    muster.until(lambda: c.status()["instances"] == "4", "four instances")
    assert c.shares(1000)[9004] == 400
    deregister(server, 1)
    muster.until(lambda: c.status()["instances"] == "3", "three instances")
    assert 9001 not in c.shares(90)
    register(server, 1, status="critical", first=3)
    muster.until(lambda: c.status()["healthy"] == "2", "two healthy ones")
    assert 9003 not in c.shares(90)
    status = c.status()
    assert status["source"] == REGISTRY and status["connected"] == "1"
    assert int(status["changes"]) >= 4
    assert status["busy"] == status["changes"]  # no close from a callback
    c.ok("close")


def test_the_list_outlives_the_servers(make_server, make_client, tmp_path):
    server = make_server().start()
    register(server, 3)
    c = make_client(address(server), tmp_path)
    c.ok("wait 10000")
    muster.until(lambda: c.status()["written"] == "1", "a file")
    server.kill()
    muster.until(lambda: c.status()["connected"] == "0", "a lost server")
    assert c.shares(60) == {9001: 10, 9002: 20, 9003: 30}
    assert "does not answer" in c.status()["error"]
    files = list(tmp_path.glob("web-*.list"))
    assert len(files) == 1 and files[0].stat().st_mode & 0o777 == 0o600

    # A program that starts now has the list from the disk, and says so.
    late = make_client(address(server), tmp_path)
    late.ok("wait 10000")
    status = late.status()
    assert status["source"] == DISK and int(status["age"]) > 0
    assert late.shares(60) == {9001: 10, 9002: 20, 9003: 30}

    # Everything converges when the server is back.
    server.start()
    register(server, 1, first=4)
    for one in (c, late):
        muster.until(lambda: one.status()["instances"] == "4", "four")
        muster.until(lambda: one.status()["source"] == REGISTRY, "the registry")
    c.ok("close")
    late.ok("close")


def test_a_registry_that_lost_all_takes_nothing_away(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 3)
    c = make_client(address(server))
    c.ok("wait 10000")
    server.kill()
    server.start()  # its memory is gone
    muster.until(lambda: c.status()["held"] == "3", "three kept ones")
    assert c.shares(60) == {9001: 10, 9002: 20, 9003: 30}
    assert c.ok("each").count(",held") == 3
    # What is only held may be gone: one refused connection is enough.
    c.ok("pick")
    c.ok("report unreachable")
    assert c.status()["unreachable"] == "1"
    assert len(c.shares(60)) == 2
    register(server, 3)
    muster.until(lambda: c.status()["held"] == "0", "all registered again")
    c.ok("close")


def test_who_was_said_to_leave_has_left(make_server, make_client):
    """muster tells of each removal: down to none, nothing is held."""
    server = make_server(dev=True).start()
    register(server, 4)
    c = make_client(address(server))
    c.ok("wait 10000")
    for i in range(1, 5):
        deregister(server, i)
    muster.until(lambda: c.status()["instances"] == "0", "none")
    status = c.status()
    assert status["held"] == "0" and status["failures"] == "0"
    assert c.error("pick") == ENONE
    register(server, 2)
    muster.until(lambda: c.status()["instances"] == "2", "two")
    c.ok("close")


def test_what_is_held_goes_when_its_time_is_over(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 4)
    c = make_client(address(server), hold_ms=1500)
    c.ok("wait 10000")
    server.kill()
    server.start()
    muster.until(lambda: c.status()["held"] == "4", "four kept ones")
    muster.until(lambda: c.status()["instances"] == "0", "none")
    assert c.error("pick") == ENONE
    c.ok("close")


def test_another_server_is_asked(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(f"127.0.0.1:{muster.free_port()},{address(server)}")
    c.ok("wait 10000")
    assert set(c.shares(30)) == {9001, 9002}
    c.ok("close")


def test_dead_instances_are_ejected_and_come_back(make_server, make_client):
    server = make_server(dev=True).start()
    with contextlib.ExitStack() as stack:
        listeners = {}
        # One of them is bound again later: no port that the kernel may give away.
        for port in muster.free_ports(4):
            listeners[port] = stack.enter_context(
                socket.create_server(("127.0.0.1", port)))
        for i, port in enumerate(listeners, 1):
            server.register("n", "web", f"web-{i}", port=port,
                            Address="127.0.0.1")
        c = make_client(address(server), policy="round-robin")
        c.ok("wait 10000")
        dead = next(iter(listeners))
        listeners[dead].close()

        def try_it():
            port = int(c.ok("pick").split()[1])
            alive = port != dead
            c.ok("report ok" if alive else "report unreachable")
            return alive

        while c.status()["unreachable"] == "0":
            try_it()
        assert all(try_it() for _ in range(20))
        stack.enter_context(socket.create_server(("127.0.0.1", dead)))
        muster.until(lambda: dead in c.shares(8), "back again")
        assert c.status()["unreachable"] == "0"
        c.ok("close")


def test_the_callers_loop_has_no_thread(make_server, make_client, tmp_path):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(f"localhost:{server.port}", tmp_path, mode="loop")

    def spun():
        c.ok("spin 50")
        return c.status()["instances"] == "2"

    muster.until(spun, "two instances")
    assert c.ok("threads") == "1"
    assert c.error("wait 10") == EBUSY
    assert set(c.shares(30)) == {9001, 9002}
    server.kill()
    muster.until(lambda: c.ok("spin 50") == "" and
                 c.status()["connected"] == "0", "a lost server")
    assert c.ok("threads") == "1"
    assert set(c.shares(30)) == {9001, 9002}
    c.ok("close")


def test_misuse_gives_an_error(make_server, make_client):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(address(server), policy="maglev")
    assert c.error("watch web fastest") == EINVAL
    c.ok("wait 10000")
    assert c.error("pick") == EINVAL  # a hash policy without key
    c.ok("pick some-key")
    c.ok("report ok")
    assert c.error("report ok") == EVOID
    c.ok("pick some-key")
    c.ok("fork")  # the child's answers are looked at there
    c.ok("report failed")
    assert c.ok("threads") == "2"
    c.ok("close")
    other = Client()
    assert other.error("open http://:x - 0 thread") == EINVAL
    other.ok(f"open {address(server)} - 0 thread")
    other.ok("watch nobody p2c")
    other.ok("wait 10000")  # an empty list is a list
    assert other.error("pick") == ENONE
    other.ok("close")
    other.end()


def test_files_that_are_damaged_or_foreign_are_ignored(make_server, make_client,
                                                       tmp_path):
    server = make_server().start()
    register(server, 2)
    c = make_client(address(server), tmp_path)
    c.ok("wait 10000")
    muster.until(lambda: c.status()["written"] == "1", "a file")
    c.ok("close")
    server.stop()
    path, = tmp_path.glob("web-*.list")
    good = path.read_bytes()
    for bad in (good[:40], b"", good[:-1] + bytes([good[-1] ^ 1]), b"\0" * 99):
        path.write_bytes(bad)
        c = make_client(address(server), tmp_path)
        assert c.error("wait 4000") == ETIMEOUT
        assert c.status()["ignored"] == "1"
        assert c.error("pick") == ENONE
        c.ok("close")


def test_a_folder_that_cannot_be_written_is_a_counter(make_server, make_client,
                                                      tmp_path):
    server = make_server(dev=True).start()
    register(server, 2)
    c = make_client(address(server), tmp_path / "not" / "there")
    c.ok("wait 10000")
    muster.until(lambda: c.status()["cache_failed"] == "1", "a failed file")
    assert set(c.shares(30)) == {9001, 9002}
    c.ok("close")


class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    says = b"[]"
    index = "5"

    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Consul-Index", self.index)
        self.send_header("Content-Length", str(len(self.says)))
        self.end_headers()
        self.wfile.write(self.says)

    def log_message(self, *args):
        pass


def one_entry(dc):
    return (b'[{"Node":{"Node":"n","Address":"127.0.0.1","Datacenter":"%s"},'
            b'"Service":{"ID":"x","Port":7777},"Checks":[]}]' % dc)


def test_garbage_and_other_registries_change_nothing(make_client):
    Liar.says, Liar.index = one_entry(b"dc1"), "5"
    liar = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    try:
        c = make_client(f"127.0.0.1:{liar.server_port}")
        c.ok("wait 10000")
        assert c.shares(9) == {7777: 9}
        for says in (b"<html>", b"[{]", one_entry(b"dc2"), b'{"a":1}'):
            bad = int(c.status()["bad"])
            Liar.says = says
            muster.until(lambda: int(c.status()["bad"]) > bad, "a bad answer")
            assert c.shares(9) == {7777: 9}
        Liar.says, Liar.index = b"[]", "2"  # empty, and the index fell
        muster.until(lambda: c.status()["held"] == "1", "a kept one")
        assert c.shares(9) == {7777: 9}
        c.ok("close")
    finally:
        liar.shutdown()
        liar.server_close()


def test_a_real_consul_is_as_good(make_client, tmp_path):
    consul = os.environ.get("CONSUL") or shutil.which("consul")
    if not consul:
        pytest.skip("no consul in $CONSUL or PATH")
    port, *more = muster.free_ports(6)
    log = open(tmp_path / "log", "wb")
    ports = f"ports {{ dns = -1 grpc = -1 serf_lan = {more[0]} " \
            f"serf_wan = {more[1]} server = {more[2]} http = {port} }}"
    process = subprocess.Popen(
        [consul, "agent", "-dev", "-bind", "127.0.0.1", "-hcl", ports],
        stdout=log, stderr=log)
    try:
        server = muster.Server(tmp_path / "unused")
        server.port, server.process = port, process
        server.wait_ready()
        register(server, 3)
        c = make_client(f"127.0.0.1:{port}", tmp_path)
        c.ok("wait 10000")
        muster.until(lambda: c.status()["instances"] == "3", "three")
        assert c.shares(600) == {9001: 100, 9002: 200, 9003: 300}
        deregister(server, 2)
        muster.until(lambda: c.status()["instances"] == "2", "two")
        process.kill()
        process.wait()
        muster.until(lambda: c.status()["connected"] == "0", "a lost server")
        assert c.shares(40) == {9001: 10, 9003: 30}
        c.ok("close")
    finally:
        process.kill()
        process.wait()
        log.close()


# --- muster pick and muster proxy --------------------------------------------

def test_pick_shows_how_load_spreads(make_server):
    server = make_server(dev=True).start()
    register(server, 3)
    where = f"-http-addr={address(server)}"

    def run(*words, code=0):
        done = subprocess.run([muster.BINARY, "pick", where, *words],
                              capture_output=True, text=True, timeout=30)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    rows = run("-policy=smooth", "-n=600", "web").splitlines()
    assert [r.split()[0] for r in rows[1:]] == ["100", "200", "300"]
    one = run("-policy=maglev", "-key=user/42", "web")
    assert one.startswith("127.0.0.1:900")
    assert all(run("-policy=maglev", "-key=user/42", "web") == one
               for _ in range(3))
    found = json.loads(run("-policy=ketama", "-n=3000", "-format=json", "web"))
    assert sum(r["Picks"] for r in found) == 3000
    assert all(r["Picks"] > 100 for r in found)
    assert "no instance of nobody" in run("nobody", code=1)
    assert 'invalid value "fastest"' in run("-policy=fastest", "web", code=1)


class Echo(threading.Thread):
    """Says its name to whoever connects, then echoes."""

    def __init__(self, name):
        super().__init__(daemon=True, name=name)
        self.named = name.encode()
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                threading.Thread(target=self.serve, args=(client,),
                                 daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            client.sendall(self.named + b"\n")
            while data := client.recv(65536):
                client.sendall(data)

    def stop(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


@contextlib.contextmanager
def proxied(server, *words):
    process = subprocess.Popen(
        [muster.BINARY, "proxy", f"-http-addr={address(server)}",
         "-listen=127.0.0.1:0", *words, "web"],
        stdout=subprocess.PIPE, text=True)
    try:
        yield process, int(process.stdout.readline().strip().rsplit(":", 1)[1])
    finally:
        process.terminate()
        assert process.wait(muster.LIMIT) == 0
        process.stdout.close()


def greeting(port):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        return s.makefile("rb").readline().decode().strip()


def test_the_proxy_forwards_and_goes_round_the_dead(make_server):
    server = make_server(dev=True).start()
    echoes = {f"e{i}": Echo(f"e{i}") for i in range(4)}
    for name, e in echoes.items():
        server.register("n", "web", name, port=e.port, Address="127.0.0.1")
    with proxied(server, "-policy=round-robin") as (process, port):
        # The list may come a moment later than the socket.
        muster.until(lambda: greeting(port) != "", "a first answer")
        assert {greeting(port) for _ in range(8)} == set(echoes)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            f = s.makefile("rb")
            f.readline()
            data = os.urandom(1 << 20)
            sender = threading.Thread(target=lambda: (
                s.sendall(data), s.shutdown(socket.SHUT_WR)))
            sender.start()
            assert f.read() == data  # and the end is passed on
            sender.join()
        echoes["e0"].stop()
        echoes["e1"].stop()
        server.kill()
        assert {greeting(port) for _ in range(40)} == {"e2", "e3"}
    for e in echoes.values():
        e.stop()


def test_the_proxy_sends_nobody_to_who_drains(make_server):
    server = make_server(dev=True).start()
    echoes = {f"e{i}": Echo(f"e{i}") for i in range(2)}
    for name, e in echoes.items():
        server.put("/v1/agent/service/register", {
            "Name": "web", "ID": name, "Port": e.port, "Address": "127.0.0.1"})
    with proxied(server, "-policy=round-robin") as (process, port):
        muster.until(lambda: {greeting(port) for _ in range(4)} == set(echoes), "both")
        with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
            f = s.makefile("rb")
            name = f.readline().decode().strip()
            assert server.put(f"/v1/agent/service/drain/{name}").status == 200
            other = (set(echoes) - {name}).pop()
            muster.until(lambda: {greeting(port) for _ in range(6)} == {other},
                         "the other one alone")
            s.sendall(b"still here")  # what is open stays open
            s.shutdown(socket.SHUT_WR)
            assert f.read() == b"still here"
    for e in echoes.values():
        e.stop()


def test_an_outage_of_everything_fails_no_request(make_server, make_client,
                                                  tmp_path):
    """All servers down, then 3 of 10 instances: three attempts are enough.

    They go one after the other: all in one instant, the next request may meet
    all three of them, once in 120 times."""
    outage_ms = int(os.environ.get("OUTAGE_MS", "3000"))
    server = make_server().start()
    echoes = [Echo(f"e{i}") for i in range(10)]
    for e in echoes:
        server.register("n", "web", e.name, port=e.port, Address="127.0.0.1")

    def load(ms):
        return dict(w.split("=") for w in c.ok(f"load {ms}").split())

    c = make_client(address(server), tmp_path, policy="p2c")
    c.ok("wait 10000")
    assert load(500)["failed"] == "0"
    server.kill()
    for n, e in enumerate(echoes[:3], 1):
        e.stop()
        result = load(500)
        assert result["failed"] == "0" and int(result["retried"]) > 0, result
        assert c.status()["unreachable"] == str(n)
    result = load(outage_ms)
    assert result["failed"] == "0", result
    status = c.status()
    assert status["unreachable"] == "3" and status["connected"] == "0"
    assert load(300)["retried"] == "0"  # nobody picks the dead any more
    print("outage:", result, status)
    server.start()
    for e in echoes[:3]:
        server.put("/v1/catalog/deregister", {"Node": "n", "ServiceID": e.name})
    muster.until(lambda: c.status()["instances"] == "7", "seven instances")
    assert c.status()["connected"] == "1"
    result = load(300)
    assert (result["failed"], result["retried"]) == ("0", "0")
    c.ok("close")
    for e in echoes:
        e.stop()
