# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Every route against every kind of bad request, as a table (pytest -s shows it,
and build/abuse.md keeps it): what was sent, what came back, what the server
allocated before and after, and how a healthy client fared meanwhile.

The routes are read from the route table: a new one is abused with the others.
"""

import collections
import http.client
import json
import re
import socket
import statistics
import threading
import time

import pytest

from muster import ROOT, until

ROW = re.compile(r'\{\s*"(/v1/[^"]+)",\s*((?:METHOD_\w+[\s|]*)+)')
ENDS_THE_SERVER = {"/v1/agent/leave"}
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
# Nothing of the abuse may stay: a leak of one request per route is less.
GROWTH_BYTES = 600 * 1000


def routes():
    """(method, path with something behind a prefix)"""
    found = []
    for source in sorted((ROOT / "src" / "api").glob("*.c")):
        for path, methods in ROW.findall(source.read_text()):
            full = path + "abuse" if path.endswith("/") else path
            found += [(m, full) for m in re.findall(r"METHOD_(\w+)", methods)]
    return found


ROUTES = routes()


def whole(method, path, body, extra=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def body(data):
    return lambda method, path: whole(method, path, data)


def head(extra):
    return lambda method, path: whole(method, path, b"", extra)


def unfinished(method, path):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 90\r\n\r\n{{".encode()


def chunks(data):
    return lambda method, path: (f"{method} {path} HTTP/1.1\r\nHost: x\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n").encode() + data


DEEP = b"[" * 100000
MEMBERS = json.dumps({f"k{i}": i for i in range(60000)}).encode()

# name -> (what is sent, statuses that every route must answer it with; None: what
# a route says is its own affair, as many have no use for a body)
KINDS = {
    "100,000 brackets": (body(DEEP), None),
    "60,000 members": (body(MEMBERS), None),
    "not JSON": (body(b"\x00\xff{]"), None),
    "invalid UTF-8": (body(b'{"Name":"\xc3\x28","Node":"\xff"}'), None),
    "a member twice": (body(b'{"Name":"a","name":"b","Node":"a","Node":"b"}'), None),
    "a huge number": (body(b'{"Port":1e999999,"Name":"a"}'), None),
    "null members": (body(b'{"Name":null,"Checks":[null],"Service":null,'
                          b'"Check":null,"Node":null,"ID":null}'), None),
    "a list, not an object": (body(b'[{"Name":"a"}]'), None),
    "10,000 head lines": (head("A: b\r\n" * 10000), {400, 431}),
    "a head line of 1 MB": (head("A: " + "b" * (1 << 20) + "\r\n"), {400, 431}),
    "two lengths": (head("Content-Length: 7\r\n"), {400}),
    "a body of 1 GB announced": (
        lambda m, p: f"{m} {p} HTTP/1.1\r\nHost: x\r\n"
                     f"Content-Length: {1 << 30}\r\n\r\n".encode(), {413}),
    "a chunk of 2^60 bytes": (chunks(b"1000000000000000\r\nx"), {400, 413}),
    "a chunk that lies": (chunks(b"5\r\nabcdefgh\r\n0\r\n\r\n"), {400}),
    "a path of 100 kB": (lambda m, p: whole(m, p + "x" * 100000, b""), {400, 414, 431}),
    "a NUL in the path": (lambda m, p: whole(m, p + "%00", b""), {400}),
    "bad escapes": (lambda m, p: whole(m, p + "%zz", b""), {400}),
    "no Host": (lambda m, p: f"{m} {p} HTTP/1.1\r\n\r\n".encode(), {400}),
    "no such moment": (lambda m, p: whole(
        m, p + "?at=-&since=9999-99-99T99:99:99Z&limit=" + "9" * 400 + "&node=%00&id=%ff",
        b""), None),
    "index -1": (lambda m, p: whole(m, p + "?index=-1&wait=forever", b""), None),
}


def status_of(server, data):
    """0: the connection ended without an answer."""
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), 30) as s:
        try:
            s.sendall(data)
        except OSError:
            pass  # it answered and closed before it had all
        while b"\r\n" not in got:
            try:
                some = s.recv(4096)
            except ConnectionResetError:
                break
            if not some:
                break
            got += some
    line = STATUS_LINE.match(got)
    return int(line.group(1)) if line else 0


class Healthy:
    """A client that asks for its service all the time."""

    def __init__(self, server):
        self.times, self.stop = [], threading.Event()
        self.server = server
        self.thread = threading.Thread(target=self.run)
        self.failed = None

    def run(self):
        c = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        try:
            while not self.stop.is_set():
                at = time.monotonic()
                c.request("GET", "/v1/health/service/healthy?passing")
                assert len(json.loads(c.getresponse().read())) == 1
                self.times.append((time.monotonic() - at) * 1000)
        except Exception as e:  # raised by __exit__
            self.failed = e
        c.close()

    def __enter__(self):
        self.thread.start()
        until(lambda: self.times or self.failed, "the healthy client has an answer")
        return self

    def __exit__(self, *args):
        self.stop.set()
        self.thread.join()
        if self.failed:
            raise self.failed


def state(server):
    """All that a registration could have left."""
    return [server.get(p).json for p in (
        "/v1/catalog/services", "/v1/catalog/nodes", "/v1/agent/services",
        "/v1/agent/checks")]


table = []


@pytest.fixture(scope="module")
def victim(server):
    server.register("h", "healthy")
    yield server
    lines = ["| sent to every route | came back (times) | allocated before -> after"
             " | a healthy client meanwhile: median, p99, of |", "|---|---|---|---|"]
    text = "\n".join(lines + table) + "\n"
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "abuse.md").write_text(text)
    print("\n" + text)


def send_to_all(server, make):
    got = collections.Counter()
    for method, path in ROUTES:
        if path not in ENDS_THE_SERVER:
            got[status_of(server, make(method, path))] += 1
    return got


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_answers_or_refuses(victim, kind):
    make, must = KINDS[kind]
    send_to_all(victim, make)  # warms up
    before, was = victim.metric("runtime.alloc_bytes"), state(victim)
    with Healthy(victim) as h:
        got = send_to_all(victim, make)
    # What is under way at this moment is no growth: it goes.
    until(lambda: victim.metric("runtime.alloc_bytes") - before < GROWTH_BYTES,
          "what it took is given back")
    after = victim.metric("runtime.alloc_bytes")
    p99 = statistics.quantiles(h.times, n=100)[98] if len(h.times) > 1 else h.times[0]
    table.append(
        f"| {kind} | " + ", ".join(f"{s} ({n})" for s, n in sorted(got.items())) +
        f" | {before // 1024} -> {after // 1024} kB | "
        f"{statistics.median(h.times):.2f} ms, {p99:.2f} ms, {len(h.times)} |")
    assert 0 not in got, "a connection ended without an answer"
    assert must is None or set(got) <= must, got
    assert 503 not in got and 502 not in got
    assert state(victim) == was


def test_half_requests_to_every_route_keep_nobody_waiting(victim):
    open_ones = []
    before = victim.metric("runtime.alloc_bytes")
    with Healthy(victim) as h:
        for method, path in ROUTES:
            s = socket.create_connection(("127.0.0.1", victim.port), 30)
            s.sendall(unfinished(method, path))
            open_ones.append(s)
        many = len(h.times) + 50
        until(lambda: len(h.times) > many or h.failed, "50 more answers")
    for s in open_ones:
        s.close()
    table.append(f"| half a request, left open | - | {before // 1024} -> "
                 f"{victim.metric('runtime.alloc_bytes') // 1024} kB | {statistics.median(h.times):.2f} ms, "
                 f"{statistics.quantiles(h.times, n=100)[98]:.2f} ms, {len(h.times)} |")
    assert victim.get("/v1/status/leader").status == 200


def test_the_route_table_was_found():
    assert len(ROUTES) > 30
    assert ("PUT", "/v1/agent/service/register") in ROUTES
