# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""More servers than any cluster has: what is for all servers reaches all, up to a
limit, and who is beyond it is told of."""

import http.server
import json
import threading
import time

import pytest

from muster import until
from test_events import fire

LIMIT = 256


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024  # all of them call at once

    def handle_error(self, request, client_address):
        """The caller waits no longer."""


class Peers:
    """Stands for any number of servers: each that is greeted is given a life of
    its own, by which it is called from then on."""

    def __init__(self):
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                n = int(self.headers.get("Content-Length", 0))
                outer.take(self.path, json.loads(self.rfile.read(n) or b"{}"))
                self.answer(200, {"LTime": 1, "Life": outer.life})

            def do_GET(self):
                self.answer(404, {})

            def answer(self, status, what):
                body = json.dumps(what).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.lock = threading.Lock()
        self.life = 1 << 20
        self.told = {}  # ID of an event -> lives that were told of it
        self.server = Listener(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, body):
        if path != "/v1/peer/event":
            return
        with self.lock:
            self.life += 1
            for e in body.get("Events") or []:
                self.told.setdefault(e["ID"], set()).add(body["To"])

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def peers():
    p = Peers()
    yield p
    p.close()


def add(server, first, end, meta):
    for i in range(first, end):
        assert server.put("/v1/catalog/register", {
            "Node": f"server-{i}", "Address": "127.0.0.1",
            "Service": {"Service": "consul", "Port": 8300,
                        "Meta": meta}}).status == 200


def metric(server, name):
    lines = server.get("/v1/agent/metrics?format=prometheus").text.splitlines()
    return next(int(float(x.split()[1])) for x in lines
                if x.startswith(f"muster_catalog_{name} "))


def test_an_event_is_told_to_a_hundred_servers(make_server, peers):
    s = make_server(dev=True).start()
    add(s, 0, 100, {"muster_peer_port": str(peers.port)})
    sent = []

    def all_were_told():
        # Who was not greeted before one was fired is told of the next.
        if not sent or time.monotonic() > sent[-1][0] + 2:
            sent.append((time.monotonic(), fire(s, "deploy")["ID"]))
        return any(len(peers.told.get(e, ())) == 100 for _, e in sent)
    until(all_were_told, "an event that every server is told of")


def test_who_is_beyond_the_limit_is_told_of_once(make_server):
    s = make_server(dev=True).start()
    add(s, 1, LIMIT, {})
    until(lambda: metric(s, "servers") == LIMIT, "all of them in the catalog")
    assert metric(s, "servers_over") == 0
    assert "MusterWarning" not in s.get("/v1/operator/autopilot/health").json

    add(s, LIMIT, LIMIT + 3, {})
    until(lambda: metric(s, "servers_over") == 3, "the metric")
    warning = s.get("/v1/operator/autopilot/health").json["MusterWarning"]
    assert f"there are {LIMIT + 3} servers, and {LIMIT} is the limit" in warning
    assert "without -server" in warning and "force-leave" in warning
    until(lambda: "servers, and 256 is the limit" in s.log(), "a word of it")
    assert s.log().count("servers, and 256 is the limit") == 1

    for i in range(LIMIT, LIMIT + 3):
        s.put("/v1/catalog/deregister", {"Node": f"server-{i}"})
    until(lambda: metric(s, "servers_over") == 0, "the metric")
    assert "MusterWarning" not in s.get("/v1/operator/autopilot/health").json
    until(lambda: "not too many any more" in s.log(), "a word about it")
