# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What an agent does with servers that behave as real ones seldom do, by
stand-ins in front of real ones."""

import concurrent.futures
import contextlib
import http.client
import http.server
import json
import threading
import time

import agents
import muster
import pytest
from muster import until


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self, status, body, index=None):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if index is not None:
            self.send_header("X-Consul-Index", str(index))
        self.end_headers()
        self.wfile.write(body)

    def pass_stream(self, r):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        while piece := r.read1(65536):
            self.wfile.write(piece)
        self.close_connection = True

    def pass_on(self, body):
        c = http.client.HTTPConnection("127.0.0.1", self.server.real)
        with contextlib.closing(c):
            c.request(self.command, self.path, body, {
                k: v for k, v in self.headers.items() if k.startswith("X-")})
            r = c.getresponse()
            if r.getheader("Content-Type") == "text/event-stream":
                self.pass_stream(r)
                return
            text = r.read()
            if self.path == "/v1/peer/hello":  # it is the only one there
                text = json.dumps({**json.loads(text), "Servers": []}).encode()
            self.answer(r.status, text, r.getheader("X-Consul-Index"))

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with contextlib.suppress(OSError, http.client.HTTPException):
            if not self.server.takes(self):
                self.pass_on(body)

    do_GET = do_PUT = handle_any


class StandIn(http.server.ThreadingHTTPServer):
    """In front of a real server; takes: answers some requests itself."""
    daemon_threads = True

    def __init__(self, server, takes):
        super().__init__(("127.0.0.1", muster.free_port()), Handler)
        self.real = server.other_ports[0]
        self.takes = takes
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.server_port}"

    def close(self):
        self.shutdown()
        self.server_close()


def test_a_server_that_lets_go_of_polls_at_once_is_not_asked_on_and_on(tmp_path):
    """As one does that closes: each poll is answered with what its client has."""
    asked = []
    index = [5]

    def takes(handler):
        if not handler.path.startswith("/v1/catalog/services?"):
            return False
        asked.append(time.monotonic())
        handler.answer(200, b"{}", index=index[0])
        return True

    with contextlib.ExitStack() as stack:
        server = muster.Server(tmp_path / "server", name="server-1").start()
        stack.callback(server.stop)
        front = StandIn(server, takes)
        stack.callback(front.close)
        agent = agents.Agent(tmp_path / "agent", front.address)
        stack.callback(lambda: agents.end(agent.process))
        agent.start()
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        poll = pool.submit(agent.get, "/v1/catalog/services?index=5&wait=10m")
        until(lambda: len(asked) >= 6 or poll.done(), "it is asked again")
        index[0] = 6
        answer = poll.result()
    assert (answer.status, answer.index) == (200, 6)
    # A tenth of a second between two, which a slow machine only makes longer.
    assert asked[5] - asked[0] > 0.3, "asked without a pause"


@pytest.mark.parametrize("query", ["", "?index=5&wait=1s"])
def test_servers_without_a_leader_are_told_how_long_they_may_hold_a_read(
        tmp_path, query):
    """The first one half of the seven seconds, later ones at most the rest."""
    told = []

    def takes(handler):
        if not handler.path.startswith("/v1/catalog/nodes"):
            return False
        told.append(handler.headers["X-Muster-Hold"])
        # Until the rest is less than half; an agent that gave up is asked again.
        if told[-1] is not None and int(told[-1]) < 3500:
            return False
        handler.answer(500, b"No cluster leader")
        return True

    with contextlib.ExitStack() as stack:
        server = muster.Server(tmp_path / "server", name="server-1").start()
        stack.callback(server.stop)
        fronts = [StandIn(server, takes) for _ in range(2)]
        for front in fronts:
            stack.callback(front.close)
        agent = agents.Agent(tmp_path / "agent", *[f.address for f in fronts])
        stack.callback(lambda: agents.end(agent.process))
        agent.start()
        until(lambda: agent.get(f"/v1/catalog/nodes{query}").status == 200,
              "a server was told the rest")
    assert told[0] == "3500", told
    assert all(1 <= int(t) <= 3500 for t in told), told


def test_an_agent_whose_servers_have_no_address_knows_that_it_is_alone(tmp_path):
    a = agents.Agent(tmp_path / "agent", "nobody.invalid:8301", name="nameless")
    a.spawn()
    try:
        a.wait_serves()
        # Else each registration would wait for a server that nobody looks for.
        until(lambda: "no server can be reached" in a.log(), "it says so")
        answer = a.put("/v1/agent/service/register", {"Name": "early"})
        assert answer.headers["x-muster-pending"] == "true"
    finally:
        agents.end(a.process)
