# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Client agents: processes that join servers, on loopback addresses of their own."""

import contextlib
import http.client
import json
import socket
import subprocess

import muster
from muster import until


class Agent(muster.Server):
    def __init__(self, folder, *servers, name="agent-1", bind="127.0.0.2",
                 extra=(), config=None):
        super().__init__(folder, *extra, name=name, config=config)
        self.bind = bind
        self.servers = [s if isinstance(s, str) else peer_address(s)
                        for s in servers]

    def command(self):
        words = [muster.BINARY, "agent", "-bind", self.bind,
                 "-client", "127.0.0.1", "-node", self.name,
                 "-http-port", str(self.port), "-dns-port", "-1",
                 "-serf-lan-port", str(self.other_ports[0]),
                 "-serf-wan-port", "-1", "-server-port", "-1",
                 "-data-dir", str(self.folder / "data")]
        for s in self.servers:
            words += ["-retry-join", s]
        if self.config is not None:
            path = self.folder / "config.json"
            path.write_text(json.dumps(self.config))
            words += ["-config-file", str(path)]
        return words + self.extra

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError("the agent ended:\n" + self.log())
            lives = self.log().rsplit("Starting muster agent", 1)[-1]
            return f"ready: node={self.name}" in lives
        until(ready, "the agent's node in the catalog")

    def wait_serves(self):
        """Its own API answers, whether or not there is a server."""
        def serves():
            if self.process.poll() is not None:
                raise AssertionError("the agent ended:\n" + self.log())
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.get("/v1/agent/services").status == 200
            return False
        until(serves, "the agent's own API")


def peer_address(server):
    return f"{getattr(server, 'bind', '127.0.0.1')}:{server.other_ports[0]}"


def own_check(server, node):
    """serfHealth of a node, as the server has it; None: there is none."""
    for check in server.get(f"/v1/health/node/{node}").json:
        if check["CheckID"] == "serfHealth":
            return check
    return None


def status_of(server, node):
    check = own_check(server, node)
    return check and check["Status"]


class Watchers:
    """Many long polls, each on a connection of its own, without a thread each."""

    def __init__(self, server, path, n):
        self.sockets = []
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for _ in range(n):
            s = socket.create_connection(("127.0.0.1", server.port),
                                         timeout=muster.LIMIT)
            s.sendall(request)
            self.sockets.append(s)

    def answered(self):
        """Waits for all of them; their status lines, each once."""
        lines = set()
        for s in self.sockets:
            lines.add(s.recv(65536).split(b"\r\n", 1)[0].decode())
        return lines

    def close(self):
        for s in self.sockets:
            s.close()


def end(process):
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
