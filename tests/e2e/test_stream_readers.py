# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Who reads event streams: over HTTP/1.0 and HTTPS, slowly, not at all, by the
command line; and what is refused."""

import http.client
import shutil
import signal
import ssl
import subprocess
import threading

import pytest

import check_peers
from muster import BINARY, LIMIT, free_port, until
from streams import (Stream, check, deregister, names, open_ready,
                     watchers)


def test_http_1_0_readers_get_the_stream_until_the_end(server):
    server.register("h1", "old", "a")
    s = Stream(server, "/v1/health/service/old?stream", version="1.0")
    assert "transfer-encoding" not in s.headers
    s.ready()
    server.register("h1", "old", "b")
    assert names(s.change()) == ["put"]
    s.close()


@pytest.mark.skipif(not shutil.which("openssl"),
                    reason="no openssl command (apt: openssl)")
def test_streams_come_by_https(make_server, tmp_path):
    """A snapshot of many pieces to a reader with little room, then changes."""
    certs = check_peers.Certificates(tmp_path)
    port = free_port()
    server = make_server(config={"ports": {"https": port},
                                 "cert_file": certs.cert,
                                 "key_file": certs.key}).start()
    for i in range(300):
        server.register("n", "tls", f"i{i}", i + 1, Meta={"m": "x" * 400})
    context = ssl.create_default_context(cafile=certs.ca)
    s = Stream(server, "/v1/health/service/tls", tls=context, port=port,
               buffer=4096)
    s.ready()
    assert len(s.entries) == 300
    server.register("n", "tls", "i7", 9999)
    assert [e.data["Entry"]["Service"]["Port"] for e in s.change()] == [9999]
    s.close()


def test_the_end_of_the_server_ends_streams(make_server):
    server = make_server().start()
    s = open_ready(server, "/v1/health/service/consul")
    ended = threading.Thread(target=server.stop)
    ended.start()
    assert s.event() is None and s.ended
    ended.join()
    s.close()


def test_an_id_that_finds_no_room_comes_when_there_is_some(make_server):
    """The last change but one that a full connection took, whose id was still owed
    then: that other subscriptions have nothing new came out later."""
    server = make_server().start()
    others = [f"none{i}" for i in range(8)]
    for name in others:
        for i in range(60):
            server.register("n", name, f"{name}-{i}")
            check(server, "n", f"{name}-{i}", "critical", f"{name}-{i}")
    for i in range(5):  # a change of all is one piece
        server.register("n", "big", f"b{i}",
                        Meta={f"m{k}": "x" * 500 for k in range(10)})
    path = ("/v1/muster/stream?passing&service=big&"
            + "&".join(f"service={name}" for name in others))

    def filled(most):
        """A stream whose reader takes nothing; how many changes that took."""
        s = Stream(server, path, buffer=4096)
        s.until(lambda: s.last_id is not None, "an id")
        for n in range(1, most + 1):
            sent = server.metric("stream.sent")
            server.put("/v1/catalog/register", {
                "Node": "n", "Address": f"10.{most % 250}.{n // 250}.{2 + n % 250}"})
            until(lambda sent=sent: server.metric("stream.stalled")
                  or server.metric("stream.sent") > sent, "it is sent, or not")
            if server.metric("stream.stalled"):
                return s, n
        return s, most

    full, n = filled(5000)
    full.close()
    until(lambda: server.metric("stream.open") == 0, "it is forgotten")
    assert 1 < n < 5000, n
    s, _ = filled(n - 1)
    newest = server.metric("store.revision")
    s.until(lambda: s.last_id >= newest, "the id")
    s.close()


def test_a_reader_that_leaves_is_forgotten(make_server):
    server = make_server().start()
    before = server.metric("stream.open")
    some = [open_ready(server, "/v1/health/service/consul") for _ in range(20)]
    assert server.metric("stream.open") == before + 20
    for s in some:
        s.close()
    until(lambda: server.metric("stream.open") == before, "all forgotten")


def test_a_slow_reader_is_taken_to_the_newest_state(make_server):
    """He takes nothing while far more changes than may wait for him."""
    server = make_server().start()
    text = "x" * 400

    def fill(turn):
        for i in range(200):
            server.register("n", "slow", f"i{i}", turn + 1,
                            Meta={"m": text, "t": str(turn)})
    fill(0)
    slow = Stream(server, "/v1/health/service/slow?passing", buffer=4096)
    quick = open_ready(server, "/v1/health/service/slow?passing")
    reader = threading.Thread(
        target=quick.until, daemon=True,
        args=(lambda: all(e["Service"]["Port"] == 999
                          for e in quick.entries.values()), "the last state"))
    reader.start()
    turn = 0
    while server.metric("stream.stalled") == 0:
        turn += 1
        fill(turn)
        assert turn < 120, "he was never slow enough"
    fill(997)
    fill(998)
    reader.join(60)
    assert not reader.is_alive(), "the quick reader waits for the slow one"
    assert server.metric("stream.bytes") < 40 << 20
    slow.until(lambda: len(slow.entries) == 200 and not slow.building
               and all(e["Service"]["Port"] == 999
                       for e in slow.entries.values()), "the last state")
    assert server.metric("stream.collapsed") > 0
    slow.close()
    quick.close()


# --- The command -------------------------------------------------------------


def test_the_command_prints_goes_on_and_says_goodbye(make_server, tmp_path):
    server = make_server().start()
    server.register("n", "web", "w1", Port=80)
    out = tmp_path / "out"
    with out.open("w") as f:
        p = subprocess.Popen([BINARY, "stream", "-http-addr",
                              f"127.0.0.1:{server.port}", "web"],
                             stdout=f, stderr=subprocess.STDOUT)

    def said(text):
        until(lambda: text in out.read_text(), text)
    said("put     web w1 on n, 10.0.0.1:80, passing\n")
    said("that is all there is: 1 instances\n")
    check(server, "n", "c", "critical", "w1")
    said("10.0.0.1:80, critical\n")
    until(lambda: [w["AppliedIndex"] for w in watchers(server, "web")]
          == [server.metric("store.revision")], "it says what it has applied")
    server.kill()
    said("again in")
    server.start()
    deregister(server, "n", ServiceID="w1")
    server.register("n", "web", "w2", Port=81)
    said("put     web w2")
    p.send_signal(signal.SIGINT)
    assert p.wait(LIMIT) == 0
    until(lambda: not watchers(server, "web"), "nobody waits for it")


# --- Bad input ---------------------------------------------------------------


@pytest.mark.parametrize("path, headers, text", [
    ("/v1/muster/stream", [], "Nothing to stream"),
    ("/v1/muster/stream?service=", [], "Nothing to stream"),
    ("/v1/muster/stream?all&passing=perhaps", [], "?passing"),
    ("/v1/health/service/web?stream=perhaps", [], "?stream"),
    ("/v1/health/service/web?stream&near=_agent", [], "?near"),
    ("/v1/health/service/web", ["Last-Event-ID: nonsense"], "Last-Event-ID"),
    ("/v1/health/service/web", ["Last-Event-ID: -1"], "Last-Event-ID"),
    ("/v1/health/service/web?index=x", [], "Invalid index"),
    ("/v1/health/service/web?filter=nonsense", [], "boolean expression"),
    ("/v1/health/service/web", ["X-Muster-Subscriber: " + "x" * 129], "128"),
    ("/v1/health/service/web", ["X-Muster-Zone: " + "x" * 65], "64"),
    ("/v1/muster/stream?all&" + "&".join(f"service=s{i}" for i in range(128)),
     [], "more than 128"),
    ("/v1/health/service/web?stream&callers=x", [], "?callers"),
    ("/v1/catalog/nodes?stream&callers", [], "streams of one service"),
])
def test_bad_streams_are_refused_by_name(server, path, headers, text):
    s = Stream(server, path, headers=headers)
    assert s.status == 400
    assert text in s.error()
    s.close()


def test_thousands_of_subscriptions_never_get_in(server):
    s = Stream(server, "/v1/muster/stream?" + "&".join(["all"] * 5000))
    assert s.status == 414
    assert "8192" in s.error()
    s.close()


def test_a_label_of_a_megabyte_never_gets_in(server):
    s = server.connect()
    s.putrequest("GET", "/v1/health/service/web?stream")
    s.putheader("X-Muster-Subscriber", "x" * (1 << 20))
    try:
        s.endheaders()
        status = s.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 431  # it had been refused before all of it was sent
    assert status == 431
    s.close()


def test_pipelined_requests_wait_for_the_streams_end(server):
    """Nothing is answered on a connection that is a stream."""
    server.register("b1", "pipe", "a")
    s = Stream(server, "/v1/health/service/pipe")
    s.socket.sendall(b"GET /v1/status/leader HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
    s.ready()
    server.register("b1", "pipe", "b")
    assert names(s.change()) == ["put"]
    s.close()


def test_head_and_others_are_refused(server):
    for method in ("HEAD", "POST", "DELETE"):
        c = http.client.HTTPConnection("127.0.0.1", server.port)
        c.request(method, "/v1/muster/stream?all")
        assert c.getresponse().status == 405
        c.close()
