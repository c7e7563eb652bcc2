# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""/v1/agent/monitor: the log as an endless answer."""

import http.client
import json
import signal
import socket

import muster


def monitor(server, query="", **headers):
    """Connection and answer; lines come with readline."""
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    c.request("GET", "/v1/agent/monitor" + query, headers=headers)
    answer = c.getresponse()
    return c, answer


def reload(server, connection=None):
    assert server.put("/v1/agent/reload", connection=connection).status == 200


def test_lines_come_as_they_are_written(server):
    c, answer = monitor(server, "?loglevel=debug", **{"Accept-Encoding": "gzip"})
    assert answer.status == 200
    assert answer.getheader("Transfer-Encoding") == "chunked"
    assert answer.getheader("Content-Encoding") is None
    first = answer.readline()
    assert b"[INFO]  agent: the log is read: from=127.0.0.1:" in first
    reload(server)
    assert b"server: reloading the configuration" in answer.readline()
    c.close()


def test_json_lines_are_objects(server):
    c, answer = monitor(server, "?logjson=true&loglevel=info")
    line = json.loads(answer.readline())
    assert set(line) == {"@level", "@message", "@module", "@timestamp"}
    assert line["@level"] == "info"
    c.close()


def test_a_level_leaves_out_what_is_below(server):
    c, answer = monitor(server, "?loglevel=error")
    other, all_lines = monitor(server, "?loglevel=trace")
    reload(server)
    while b"reloaded" not in all_lines.readline():
        pass
    c.sock.setblocking(False)
    try:
        early = c.sock.recv(1000)
    except BlockingIOError:
        early = b""
    assert early == b""
    c.close()
    other.close()


def test_an_unknown_level_is_refused(server):
    answer = server.get("/v1/agent/monitor?loglevel=bogus")
    assert (answer.status, answer.text) == (
        400, "Bad request: Unknown log level: bogus")


def lost(server):
    for counter in server.get("/v1/agent/metrics").json["Counters"]:
        if counter["Name"] == "consul.monitor.lost":
            return counter["Count"]
    raise AssertionError("no counter consul.monitor.lost")


def test_who_reads_too_slowly_is_told_what_he_missed(make_server):
    server = make_server().start()
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(30)
    s.connect(("127.0.0.1", server.port))
    s.sendall(b"GET /v1/agent/monitor?logjson HTTP/1.0\r\n\r\n")
    busy = server.connect()

    def missed():
        for _ in range(500):
            reload(server, busy)
        return lost(server) > 0
    muster.until(missed, "a line left out")

    s.setblocking(False)
    got = bytearray()

    def told():
        try:
            while part := s.recv(1 << 16):
                got.extend(part)
        except BlockingIOError:
            reload(server, busy)  # the next line that he gets tells it
        return b"lines are left out here: read too slowly" in got
    muster.until(told, "the line that tells of others")
    s.close()
    assert server.get("/v1/status/leader").status == 200


def test_the_end_of_the_server_ends_the_log(make_server):
    server = make_server().start()
    c, answer = monitor(server)
    server.stop(signal.SIGTERM)
    text = answer.read()
    assert b"stopping: signal=Terminated" in text
    c.close()


def test_metrics_come_as_lines(server):
    c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    c.request("GET", "/v1/agent/metrics/stream")
    answer = c.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "application/json")
    first = json.loads(answer.readline())
    assert set(first) == set(server.get("/v1/agent/metrics").json)
    assert first["Gauges"]
    c.close()


def test_readers_of_metrics_have_a_limit(server):
    readers, refused = [], None
    while refused is None and len(readers) < 1000:
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        c.request("GET", "/v1/agent/metrics/stream")
        readers.append((c, c.getresponse()))
        if readers[-1][1].status != 200:
            refused = readers[-1][1]
    assert refused and refused.status == 429
    assert b"readers of the metrics are enough" in refused.read()
    for c, _ in readers:
        c.close()
    def heard():
        c = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        c.request("GET", "/v1/agent/metrics/stream")
        status = c.getresponse().status
        c.close()
        return status == 200
    muster.until(heard, "a place for a new reader")
