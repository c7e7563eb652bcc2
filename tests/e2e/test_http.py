# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""HTTP as a protocol, and what hostile clients get."""

import contextlib
import json
import socket
import threading
import time

import pytest

import muster


def raw(server, data, read=True, timeout=20):
    with socket.create_connection(("127.0.0.1", server.port), timeout) as s:
        s.sendall(data)
        got = b""
        while read:
            try:
                chunk = s.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            got += chunk
        return got


def close_request(path, method="GET", extra=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"{extra}\r\n").encode()


def test_methods_paths_and_allow(server):
    a = server.request("POST", "/v1/catalog/nodes")
    assert (a.status, a.text) == (405, "method POST not allowed")
    assert a.headers["allow"] == "OPTIONS,GET"
    assert server.request("HEAD", "/v1/catalog/nodes").status == 405
    a = server.request("OPTIONS", "/v1/agent/service/register")
    assert (a.status, a.body, a.headers["allow"]) == (200, b"", "OPTIONS,PUT")
    for path in ("/v1", "/v1/", "/foo", "/v1/agent/services/", "/v1/catalog/services/x"):
        a = server.get(path)
        assert (a.status, a.body) == (404, b""), path
        assert "content-type" not in a.headers
    a = server.get("/v1//catalog/./nodes")
    assert a.status == 301 and a.headers["location"] == "/v1/catalog/nodes"
    assert server.get("/").text == "Consul Agent"
    assert b"400 Bad Request" in raw(server, close_request("/v1/catalog/service/%zz"))
    assert server.get("/v1/catalog/service/a%01b").status == 400


def test_an_answer_to_head_has_no_body(server):
    head = b"HEAD /v1/catalog/nodes HTTP/1.1\r\nHost: x\r\n\r\n"
    got = raw(server, head + close_request("/v1/status/leader"))
    first, rest = got.split(b"\r\n\r\n", 1)
    assert b"Content-Length: 23" in first
    assert rest.startswith(b"HTTP/1.1 200 OK")


def test_keep_alive_and_pipelining(server):
    one = b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n"
    got = raw(server, one * 50 + close_request("/v1/status/peers"))
    assert got.count(b"HTTP/1.1 200 OK") == 51
    assert got.rstrip().endswith(b"]")


def test_chunked_body_and_expect_continue(server):
    body = json.dumps({"Node": "chunked", "Address": "1.2.3.4"}).encode()
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, c) for c in body) + b"0\r\n\r\n"
    got = raw(server, close_request(
        "/v1/catalog/register", "PUT", "Transfer-Encoding: chunked\r\n") + chunks)
    assert b"200 OK" in got and got.endswith(b"true")
    head = close_request("/v1/catalog/register", "PUT",
                         f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n")
    with socket.create_connection(("127.0.0.1", server.port), 20) as s:
        s.sendall(head)
        assert s.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        got = s.recv(1000)
    assert b"200 OK" in got and got.endswith(b"true")


def test_a_request_in_single_bytes(server):
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in close_request("/v1/status/leader"):
            s.sendall(bytes([b]))
        assert s.recv(100).startswith(b"HTTP/1.1 200 OK")


ABUSE = [
    ("no HTTP at all", b"\x00\xff\x01 nonsense\r\n\r\n", [400]),
    ("version 9", b"GET / HTTP/9.1\r\nHost: x\r\n\r\n", [400, 505]),
    ("10,000 header lines",
     b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 10000 + b"\r\n", [431]),
    ("a header of 1 MB",
     b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (1 << 20) + b"\r\n\r\n", [431]),
    ("a target of 100 kB", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", [414, 431]),
    ("two lengths", close_request(
        "/v1/catalog/register", "PUT", "Content-Length: 2\r\nContent-Length: 3\r\n")
     + b"{}", [400]),
    ("length and chunks", close_request(
        "/v1/catalog/register", "PUT",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + b"{}", [400]),
    ("gzip, chunked", close_request(
        "/v1/catalog/register", "PUT", "Transfer-Encoding: gzip, chunked\r\n"),
     [400, 501]),
    ("a folded header", b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", [400]),
    ("NUL in a header", b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", [400]),
    ("a body said to be 1 GB", close_request(
        "/v1/catalog/register", "PUT", "Content-Length: 1073741824\r\n"), [413]),
]


@pytest.mark.parametrize("data,statuses", [a[1:] for a in ABUSE],
                         ids=[a[0] for a in ABUSE])
def test_malformed_requests_are_refused(server, data, statuses):
    got = raw(server, data)
    assert got.startswith(b"HTTP/1.1 "), got[:60]
    assert int(got[9:12]) in statuses, got[:200]
    assert server.get("/v1/status/leader").status == 200


BODIES = [
    ("empty", b"", "EOF"),
    ("half", b'{"Name":"x"', "unexpected EOF"),
    ("no JSON", b"hello", "invalid character"),
    ("bad UTF-8", b'{"Name":"\xff\xfe"}', ""),
    ("NUL in a string", b'{"Name":"a\\u0000b"}', ""),
    ("same key twice", b'{"Name":"x","name":"y"}', "ame"),
    ("same key by alias", b'{"Name":"x","EnableTagOverride":true,'
                          b'"enable_tag_override":false}', ""),
    ("same map key twice", b'{"Name":"x","Meta":{"a":"b","a":"c"}}', ""),
    ("a huge number", b'{"Name":"x","Port":99999999999999999999999}', ""),
    ("100,000 brackets", b"[" * 100000, "64"),
    ("100,000 brackets inside", b'{"Meta":' + b"[" * 100000, "64"),
    ("a million values", b'{"Tags":[' + b"1," * 500000 + b"1]}", ""),
]


@pytest.mark.parametrize("body,text", [b[1:] for b in BODIES],
                         ids=[b[0] for b in BODIES])
def test_bad_bodies_are_400_and_register_nothing(server, body, text):
    before = server.get("/v1/agent/services").body
    a = server.put("/v1/agent/service/register", body)
    assert a.status in (400, 413), (a.status, a.text[:200])
    assert text in a.text, a.text[:300]
    assert server.get("/v1/agent/services").body == before


def test_null_entries_are_refused_where_consul_panics(server):
    a = server.put("/v1/agent/service/register", b'{"Name":"x","Checks":[null]}')
    assert a.status == 400
    assert server.get("/v1/status/leader").status == 200


def test_a_gigabyte_is_refused_in_bounded_memory(server):
    before = server.rss_kb()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(close_request("/v1/agent/service/register", "PUT",
                                "Transfer-Encoding: chunked\r\n"))
        sent = 0
        chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1 << 30:
                s.sendall(chunk)
                sent += 65536
    assert sent < 1 << 30, "the whole gigabyte was taken"
    assert server.rss_kb() - before < 20000
    assert server.get("/v1/status/leader").status == 200


def test_slow_senders_do_not_slow_others(server):
    slow = []
    for _ in range(200):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(b"PUT /v1/agent/service/register HTTP/1.1\r\nHost: x\r\nContent-Le")
        slow.append(s)
    began = time.monotonic()
    for _ in range(200):
        assert server.get("/v1/status/leader").status == 200
    print(f"200 requests beside 200 slow senders: {time.monotonic() - began:.3f} s")
    for s in slow:
        s.close()


def test_slow_readers_do_not_slow_others(server):
    for i in range(300):
        server.register("big", "biglist", f"b{i}", Meta={"x": "y" * 400})
    slow = []
    for _ in range(50):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET /v1/health/service/biglist HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        slow.append(s)
    for _ in range(100):
        assert server.get("/v1/status/leader").status == 200
    for s in slow:
        s.close()


def test_too_many_connections_of_one_client_are_refused(make_server):
    s = make_server(config={"limits": {"http_max_conns_per_client": 20}}).start()
    held = []
    for _ in range(20):
        c = socket.create_connection(("127.0.0.1", s.port))
        c.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.recv(12) == b"HTTP/1.1 200"
        held.append(c)
    with socket.create_connection(("127.0.0.1", s.port), 10) as c:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            c.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n")
            got = c.recv(200)
            assert got == b"" or got.startswith(b"HTTP/1.1 429"), got
    for c in held:
        c.close()

    def again():
        with contextlib.suppress(OSError):
            return s.get("/v1/status/leader").status == 200
    muster.until(again, "connections are free again")


def test_a_unix_socket_serves_the_api(make_server, tmp_path):
    path = tmp_path / "api.sock"
    s = make_server(config={"addresses": {"http": f"unix://{path} 127.0.0.1"}})
    s.start()
    with socket.socket(socket.AF_UNIX) as c:
        c.connect(str(path))
        c.sendall(close_request("/v1/status/leader"))
        assert c.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_taken_port_is_named(make_server):
    first = make_server().start()
    second = make_server()
    second.port = first.port
    second.spawn()
    assert second.process.wait(muster.LIMIT) == 1
    log = second.log()
    assert str(first.port) in log and "in use" in log.lower()


def test_many_threads_at_once(server):
    failures = []

    def work(n):
        try:
            c = server.connect()
            for i in range(50):
                a = server.put("/v1/catalog/register", {
                    "Node": f"t{n}", "Address": "1.1.1.1",
                    "Service": {"Service": "threads", "ID": f"t{n}-{i}"}},
                    connection=c)
                assert a.text == "true", a.text
                rows = server.get("/v1/catalog/service/threads", connection=c).json
                assert f"t{n}-{i}" in [r["ServiceID"] for r in rows]
        except Exception as e:
            failures.append(e)
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[0]
    assert len(server.get("/v1/catalog/service/threads").json) == 400


def test_cached_answers_are_hits_from_the_second_on(server):
    """Also on another connection, which another thread may serve."""
    path = "/v1/health/service/cached-name?cached"
    first = server.get(path)
    assert first.headers["x-cache"] == "MISS"
    assert "age" not in first.headers
    for _ in range(8):
        again = server.get(path, headers={"Cache-Control": "max-age=60"})
        assert again.headers["x-cache"] == "HIT"
        assert int(again.headers["age"]) < 60
    server.register("cached-node", "cached-name")
    assert len(server.get(path).json) == 1
    for path in (path.removesuffix("?cached"), "/v1/catalog/nodes?cached"):
        assert "x-cache" not in server.get(path).headers
