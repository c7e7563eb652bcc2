# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Clients and disks that behave badly. After each of them the server is unharmed:
it has a leader, takes a registration, shows it, and has not grown.

MUSTER_ABUSE_SEED chooses what is random.
"""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import struct
import subprocess
import threading

import pytest

import muster
from muster import parked, until

SEED = int(os.environ.get("MUSTER_ABUSE_SEED", "1"))
# What is allocated may grow by from one round of abuse to the next: leaks of
# thousands of requests or connections are more.
GROWTH_BYTES = 300 * 1000
# Where thousands of changes are written: page caches and the journal fill, and
# memory for as many writes as were ever under way at once is kept. Levels off at
# 10 MB.
GROWTH_WRITING = 8 * 1000 * 1000


def open_socket(server):
    return socket.create_connection(("127.0.0.1", server.port), 30)


def slam(s):
    """Closes with a reset: what is on its way to us is lost."""
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                     struct.pack("ii", 1, 0))
    s.close()


def send(s, data):
    with contextlib.suppress(OSError):
        s.sendall(data)


def request(path, method="GET", body=b"", extra=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def registration(node, service, instance, **more):
    return json.dumps({"Node": node, "Address": "10.0.0.1", "Service": {
        "Service": service, "ID": instance, **more}}).encode()


def quiet(server):
    """Waits until only the asking connection is left."""
    until(lambda: server.metric("http.connections") == 1 and
          server.metric("http.parked") == 0, "all connections end")


def unharmed(server, mark="unharmed"):
    assert server.process.poll() is None, server.log()
    assert server.get("/v1/status/leader").json != ""
    server.register(mark, mark, mark + "-1")
    rows = server.get(f"/v1/health/service/{mark}").json
    assert [e["Service"]["ID"] for e in rows] == [mark + "-1"]
    server.put("/v1/catalog/deregister", {"Node": mark})


def memory(server):
    """Allocated by the server (0 under a sanitizer), and its VmRSS."""
    return server.metric("runtime.alloc_bytes"), server.rss_kb()


def not_grown(server, what, sizes, growth=GROWTH_BYTES):
    """What is under way at this moment is no growth: it goes."""
    def settled():
        sizes.append(memory(server))
        return sizes[-1][0] - sizes[1][0] < growth
    try:
        until(settled, "memory is given back")
    except AssertionError:
        del sizes[4:-1]
        raise AssertionError(f"{what}: {sizes}")
    print(f"{what}: allocated", *(f"{a // 1024} kB," for a, _ in sizes),
          "VmRSS", *(f"{r} kB," for _, r in sizes))


def abuse(server, what, once, growth=GROWTH_BYTES):
    """Runs once(rng) three times: the first warms up, then nothing may grow."""
    sizes = [memory(server)]
    for n in range(3):
        once(random.Random(SEED + n))
        quiet(server)
        sizes.append(memory(server))
    not_grown(server, what, sizes, growth)
    unharmed(server)


def garbage(rng):
    whole = request("/v1/catalog/register", "PUT",
                    registration("g", "g", f"g{rng.randrange(9)}"))
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 3000))
    if kind == 1:  # some bytes of a good one changed
        b = bytearray(whole)
        for _ in range(rng.randrange(1, 5)):
            b[rng.randrange(len(b))] = rng.randrange(256)
        return bytes(b)
    if kind == 2:  # half of it
        return whole[:rng.randrange(len(whole))]
    if kind == 3:
        return request("/v1/" + "x" * rng.randrange(20000))
    if kind == 4:
        return request("/v1/status/leader", extra="A: b\r\n" * rng.randrange(400))
    return (b"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" +
            b"%x\r\n" % rng.randrange(1 << 40) + rng.randbytes(200))


def test_garbage_on_thousands_of_connections(server):
    def once(rng):
        for _ in range(4000):
            s = open_socket(server)
            send(s, garbage(rng))
            if rng.random() < 0.3:
                s.settimeout(0.002)
                with contextlib.suppress(OSError):
                    s.recv(10)
            slam(s) if rng.random() < 0.5 else s.close()
    abuse(server, "garbage", once)


def test_clients_vanish_from_long_polls(server):
    server.register("v", "vanish", "v1")
    index = server.get("/v1/health/service/vanish").index

    def once(rng):
        nonlocal index
        for batch in range(8):
            socks = []
            for n in range(500):
                s = open_socket(server)
                mark = f"&node-meta=k:{n % 50}" if n % 2 else ""
                send(s, request("/v1/health/service/vanish?wait=60s"
                                f"&index={index}{mark}"))
                socks.append(s)
            until(lambda: parked(server) >= 500, "all park")
            rng.shuffle(socks)
            for n, s in enumerate(socks):
                if n == 250:  # the rest goes while it is being answered
                    server.register("v", "vanish", "v1", port=rng.randrange(9999))
                slam(s) if n % 3 else s.close()
            index = server.get("/v1/health/service/vanish").index
    abuse(server, "long polls", once)


def test_clients_vanish_from_their_writes(server):
    def once(rng):
        for n in range(4000):
            s = open_socket(server)
            if n % 2:
                data = request("/v1/catalog/register", "PUT",
                               registration(f"w{n % 7}", "gone", f"i{n % 20}",
                                            Port=rng.randrange(9999)))
            else:
                data = request("/v1/agent/service/register", "PUT", json.dumps(
                    {"Name": "gone", "ID": f"own{n % 20}",
                     "Port": rng.randrange(9999), "Check": {"TTL": "1m"}}).encode())
            send(s, data)
            slam(s) if rng.random() < 0.7 else s.close()
    abuse(server, "writes", once, GROWTH_WRITING)
    # What they wrote is whole, and goes.
    for row in server.get("/v1/health/service/gone").json:
        server.put("/v1/catalog/deregister", {
            "Node": row["Node"]["Node"], "ServiceID": row["Service"]["ID"]})
    for n in range(0, 20, 2):
        server.put(f"/v1/agent/service/deregister/own{n}")
    assert server.get("/v1/health/service/gone").json == []


def test_clients_vanish_from_large_answers(server):
    c = server.connect()
    for n in range(1200):
        server.put("/v1/catalog/register", connection=c,
                   body={"Node": f"big{n % 20}", "Address": "10.0.0.1",
                         "Service": {"Service": "big", "ID": f"b{n}",
                                     "Meta": {"text": "x" * 300}}})
    assert len(server.get("/v1/health/service/big", connection=c).body) > 700000
    c.close()

    def once(rng):
        for _ in range(16):
            socks = []
            for n in range(80):
                s = open_socket(server)
                extra = "Accept-Encoding: gzip\r\n" if n % 5 == 0 else ""
                # Each with an answer of its own, some of them uncached.
                send(s, request(f"/v1/health/service/big?node-meta&x={n}"
                                if n % 7 == 0 else "/v1/health/service/big",
                                extra=extra))
                socks.append(s)
            for s in socks:
                if rng.random() < 0.5:
                    with contextlib.suppress(OSError):
                        s.recv(rng.randrange(1, 100000))
                slam(s) if rng.random() < 0.7 else s.close()
    abuse(server, "large answers", once)
    for n in range(20):
        server.put("/v1/catalog/deregister", {"Node": f"big{n}"})


def statuses(server, n):
    """Opens n connections at once; how many were served, how many refused."""
    socks, got = [], []
    for _ in range(n):
        s = open_socket(server)
        socks.append(s)
        send(s, request("/v1/status/leader"))
    for s in socks:
        try:
            got.append(s.recv(12).decode())
        except OSError:
            got.append("reset")
    return socks, got


def test_floods_up_to_the_limits_leave_no_trace(make_server):
    server = make_server(config={"limits": {
        "http_max_conns_per_client": 100, "http_max_conns": 120}}).start()
    for n in range(30):
        socks, got = statuses(server, 140)
        served = got.count("HTTP/1.1 200")
        assert served == 100, (n, served, set(got))
        assert set(got) <= {"HTTP/1.1 200", "HTTP/1.1 429", "reset"}
        for s in socks:
            slam(s) if n % 2 else s.close()
        # All of them are counted out again, or the next round gets less.
        until(lambda: free_slot(server), "a connection is free")
        quiet(server)
    unharmed(server)


def free_slot(server):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return server.get("/v1/status/leader").status == 200
    return False


def read_answer(f):
    line = f.readline()
    assert line.startswith(b"HTTP/1.1 "), line
    length = 0
    while (h := f.readline()) not in (b"\r\n", b""):
        name, value = h.split(b":", 1)
        if name.lower() == b"content-length":
            length = int(value)
    return int(line.split()[1]), f.read(length)


def test_pipelined_mixes_are_answered_in_order(server):
    """Each read behind a write shows it; long polls hold up what is behind."""
    rng = random.Random(SEED)
    for conn in range(8):
        node, wants, data = f"pipe{conn}", [], b""
        data += request("/v1/catalog/register", "PUT",
                        registration(node, node, "p", Port=0))
        wants.append(lambda body: body == b"true")
        port = 0
        for _ in range(150):
            kind = rng.randrange(5)
            if kind == 0:
                port = rng.randrange(1, 10000)
                data += request("/v1/catalog/register", "PUT",
                                registration(node, node, "p", Port=port))
                wants.append(lambda body: body == b"true")
            elif kind == 1:
                data += request("/v1/agent/check/update/none", "PUT",
                                b'{"Status": "passing"}')
                wants.append(None)
            elif kind == 2:
                data += request(f"/v1/catalog/service/{node}?wait=1ms&index=1")
                wants.append(lambda body, p=port:
                             json.loads(body)[0]["ServicePort"] == p)
            elif kind == 3:
                data += request(f"/v1/health/service/absent{rng.randrange(3)}"
                                "?wait=5ms&index=" + str(rng.randrange(1, 9)))
                wants.append(lambda body: body == b"[]")
            else:
                data += request("/v1/catalog/service/" + node)
                wants.append(lambda body, p=port:
                             json.loads(body)[0]["ServicePort"] == p)
        with open_socket(server) as s:
            sender = threading.Thread(target=send_in_pieces, args=(
                s, data, random.Random(SEED + conn)), daemon=True)
            sender.start()
            with s.makefile("rb") as f:
                for n, want in enumerate(wants):
                    status, body = read_answer(f)
                    if want is None:
                        assert status in (404, 500), (n, status, body)
                    else:
                        assert status == 200 and want(body), (n, status, body)
            sender.join()
        server.put("/v1/catalog/deregister", {"Node": node})
    unharmed(server)


def send_in_pieces(s, data, rng):
    while data:
        n = rng.randrange(1, 3000)
        send(s, data[:n])
        data = data[n:]


def test_a_storm_of_sighup_ends_with_the_last_configuration(make_server):
    server = make_server(config={"services": [{"name": "first", "id": "c0"}]})
    server.start()
    path = server.folder / "config.json"
    sizes = [memory(server)]
    for n in range(1, 301):
        # Replaced at once: the server never reads half a file.
        new = server.folder / "new"
        new.write_text(json.dumps({"services": [
            {"name": f"s{n % 5}", "id": f"c{n % 3}", "port": n,
             "check": {"ttl": "1m", "status": "passing"}}]}))
        os.replace(new, path)
        server.process.send_signal(signal.SIGHUP)
        if n % 10 == 0:
            assert server.get("/v1/catalog/services").status == 200
        if n % 100 == 0:
            sizes.append(memory(server))
    until(lambda: [r["ServicePort"] for r in
                   server.get("/v1/catalog/service/s0").json] == [300],
          "the last configuration")
    until(lambda: list(server.get("/v1/agent/services").json) == ["c0"],
          "what is not in it goes")
    not_grown(server, "SIGHUP", sizes)
    path.write_text("{ this is no JSON")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "not reloaded" in server.log(), "the refusal")
    assert list(server.get("/v1/agent/services").json) == ["c0"]
    unharmed(server)


# --- Disks --------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path, size="3m"):
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none",
                       str(path)], capture_output=True).returncode != 0:
        pytest.skip("this root may not mount a tmpfs")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while os.write(fd, bytes(4096)):
            pass
    os.close(fd)


def until_full(server, put):
    """Free pages inside the files may take a few writes yet."""
    def refused():
        until_full.n += 1
        a = put(until_full.n)
        return a if a.status != 200 else None
    until_full.n = 0
    return until(refused, "the disk is full")


def test_a_full_disk_is_named_and_left_behind(make_server, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        server = make_server("-data-dir", str(disk)).start()
        server.register("full", "kept", "k1")
        server.put("/v1/agent/service/register", {"Name": "mine", "ID": "m1",
                                                  "Check": {"TTL": "1h"}})
        fill(disk / "filler")

        def catalog(n):
            return server.put("/v1/catalog/register", json.loads(registration(
                f"n{n}", "more", "m", Meta={"text": "x" * 500})))

        def agent(n):
            return server.put("/v1/agent/service/register", {
                "Name": "more", "ID": f"a{n}", "Meta": {"text": "x" * 500}})

        for put, name in ((catalog, "catalog.db"), (agent, "agent.db")):
            a = until_full(server, put)
            assert a.status == 500, (a.status, a.text)
            assert str(disk / name) in a.text and "full" in a.text
            last = until_full.n
            assert put(last).status == 500  # again, and at once
        # Reads go on, and nothing is half done.
        assert server.get("/v1/status/leader").json != ""
        assert server.get("/v1/health/service/kept").json != []
        assert "m1" in server.get("/v1/agent/services").json
        assert f"a{last}" not in server.get("/v1/agent/services").json
        # A beat that changes a status is refused too, one that does not is not.
        assert server.put("/v1/agent/check/warn/service:m1").status in (200, 500)
        os.unlink(disk / "filler")
        until(lambda: catalog(1).status == 200, "the catalog takes writes")
        until(lambda: agent(last).status == 200, "the agent takes writes")
        until(lambda: any(r["ServiceID"] == f"a{last}" for r in
                          server.get("/v1/catalog/service/more").json),
              "it is in the catalog")
        unharmed(server)
        assert server.stop() == 1
        server.start()  # and all of it is there again
        assert server.get("/v1/health/service/kept").json != []
        assert f"a{last}" in server.get("/v1/agent/services").json
        assert server.stop() == 1


def test_a_start_on_a_full_disk_is_refused(make_server, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        fill(disk / "filler")
        server = make_server("-data-dir", str(disk)).spawn()
        assert server.process.wait(20) == 1
        assert str(disk) in server.log() and "space" in server.log()


DAMAGES = {
    "garbage": lambda b: random.Random(SEED).randbytes(50000),
    "ten bytes": lambda b: b[:10],
    "half": lambda b: b[:len(b) // 2],
    "a torn end": lambda b: b[:-5000],
    "another head": lambda b: bytes(100) + b[100:],
    "another middle": lambda b: (b[:len(b) // 2] + bytes(range(256)) * 12 +
                                 b[len(b) // 2 + 3072:]),
}


def test_damaged_files_are_refused_with_name_and_way_out(make_server):
    server = make_server().start()
    c = server.connect()
    for n in range(200):
        server.put("/v1/catalog/register", connection=c, body=json.loads(
            registration(f"n{n}", "s", "s", Meta={"t": "y" * 100})))
        server.put("/v1/agent/service/register", connection=c, body={
            "Name": "s", "ID": f"s{n}", "Meta": {"t": "y" * 100}})
    c.close()
    server.stop()
    for name in ("catalog.db", "agent.db"):
        path = server.folder / "data" / name
        whole = path.read_bytes()
        for what, damage in DAMAGES.items():
            path.write_bytes(damage(whole))
            server.log_path = server.folder / f"log {name} {what}"
            server.spawn()
            assert server.process.wait(20) == 1, (name, what)
            assert str(path) in server.log(), (name, what)
            assert "restore a backup" in server.log(), (name, what)
        path.write_bytes(whole)
    server.start()
    assert len(server.get("/v1/catalog/nodes").json) == 201
    unharmed(server)


def test_a_data_dir_that_cannot_be_written_is_refused(make_server, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        server = make_server("-data-dir", str(disk)).start()
        server.register("ro", "ro", "ro")
        server.stop()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        server.spawn()
        assert server.process.wait(20) == 1
        assert f"data_dir {disk}: not writable" in server.log()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        server.start()
        assert server.get("/v1/catalog/service/ro").json != []
        server.stop()


# --- The end ------------------------------------------------------------------


def test_told_to_stop_in_the_middle_of_everything(make_server, provider):
    """Long polls parked, writes under way, checks running: it ends in time, and
    everything that was acknowledged is there again."""
    server = make_server("-enable-script-checks").start()
    for n, check in enumerate([
            {"HTTP": provider.url, "Interval": "10ms"},
            {"TCP": f"127.0.0.1:{provider.port}", "Interval": "10ms"},
            {"Args": ["sleep", "20"], "Interval": "10ms"},
            {"Args": ["true"], "Interval": "10ms"}]):
        server.put("/v1/agent/service/register",
                   {"Name": f"c{n}", "Check": check})
    index = server.get("/v1/catalog/services").index
    polls = [open_socket(server) for _ in range(200)]
    for s in polls:
        send(s, request(f"/v1/health/service/nope?index={index}&wait=60s"))
    until(lambda: parked(server) >= 200, "all park")
    acknowledged = []
    threads = [threading.Thread(target=write_on, daemon=True,
                                args=(server, k, acknowledged))
               for k in range(8)]
    for t in threads:
        t.start()
    until(lambda: len(acknowledged) > 200, "writes are under way")
    assert server.stop() == 1
    for t in threads:
        t.join(30)
        assert not t.is_alive()
    for s in polls:
        assert s.recv(12) in (b"HTTP/1.1 200", b"")
        s.close()
    server.start()
    there = {r["ServiceID"]: r["ServicePort"]
             for r in server.get("/v1/catalog/service/end").json}
    lost = [(i, n) for i, n in acknowledged if there.get(i, -1) < n]
    assert not lost, lost[:5]
    assert set(f"c{n}" for n in range(4)) <= set(
        server.get("/v1/agent/services").json)
    unharmed(server)


def write_on(server, k, acknowledged):
    c = server.connect()
    with contextlib.suppress(OSError, http.client.HTTPException):
        for n in range(1 << 30):
            if k % 2:
                path = "/v1/agent/service/register"
                body = {"Name": "end", "ID": f"e{k}", "Port": n}
            else:
                path = "/v1/catalog/register"
                body = json.loads(registration(f"end{k}", "end", f"e{k}", Port=n))
            a = server.put(path, body, connection=c)
            if a.status != 200:
                return
            if "x-muster-pending" not in a.headers:
                acknowledged.append((f"e{k}", n))
