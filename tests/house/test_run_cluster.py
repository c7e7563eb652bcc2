# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""make run-cluster: what it shows is what it says, and what is killed comes back."""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MUSTER = os.environ.get("MUSTER", str(ROOT / "build" / "muster"))
LIMIT_S = 180


def free_ports(n):
    """Free on all five addresses; DNS needs UDP, too, which is as good as sure."""
    found = []
    while len(found) < n:
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            port = 0
            for i in range(1, 6):
                s = held.enter_context(socket.socket())
                s.bind((f"127.0.0.{i}", port))
                port = s.getsockname()[1]
            if port not in found:
                found.append(port)
    return found


def until(true, what):
    end = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < end, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.1)  # sleep: between two looks


@pytest.mark.skipif(not shutil.which("etcd"),
                    reason="no etcd (Debian: etcd-server)")
def test_it_serves_and_who_is_killed_comes_back(tmp_path):
    ports = free_ports(4)
    port = ports[0]
    shown = open(tmp_path / "shown", "w+")
    cluster = subprocess.Popen(
        [str(ROOT / "tools" / "run-cluster"), MUSTER, str(tmp_path / "data"),
         *map(str, ports)], stdout=shown, stderr=subprocess.STDOUT)

    def ask(n, method, path, body=None):
        c = http.client.HTTPConnection(f"127.0.0.{n}", port, timeout=30)
        try:
            c.request(method, path, json.dumps(body) if body else None)
            r = c.getresponse()
            text = r.read()
            return json.loads(text) if r.status == 200 and text else r.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            c.close()

    def names():
        nodes = ask(5, "GET", "/v1/catalog/nodes")
        return {n["Node"] for n in nodes} if isinstance(nodes, list) else set()

    def status(node):
        checks = ask(1, "GET", f"/v1/health/node/{node}")
        return {c["CheckID"]: c["Status"] for c in checks}["serfHealth"] \
            if isinstance(checks, list) and checks else None

    try:
        until(lambda: names() >= {"server-1", "server-2", "server-3", "agent-4",
                                  "agent-5"}, "all five are there")
        # The agent answers 200 with an empty body.
        until(lambda: ask(4, "PUT", "/v1/agent/service/register",
                          {"Name": "web", "Port": 80}) == 200, "a registration")
        until(lambda: [s["Node"] for s in
                       ask(3, "GET", "/v1/catalog/service/web") or []]
              == ["agent-4"], "it is at another server")
        c = http.client.HTTPConnection("127.0.0.2", port, timeout=30)
        c.request("GET", "/ui/")
        assert c.getresponse().status == 200, "the page"
        c.close()
        text = (tmp_path / "shown").read_text()
        agent = int(re.search(r"kill -9 (\d+)\s+agent-4", text).group(1))
        server = int(re.search(r"kill -9 (\d+)\s+server-1", text).group(1))
        for pid in agent, server:
            os.kill(pid, signal.SIGKILL)
        for name in "agent-4", "server-1":
            until(lambda name=name: f"{name} has ended" in
                  (tmp_path / "shown").read_text(), f"{name} is missed")
        until(lambda: status("agent-4") == "passing" and
              status("server-1") == "passing", "both are back")
        assert [s["Node"] for s in ask(3, "GET", "/v1/catalog/service/web")] \
            == ["agent-4"]
    finally:
        cluster.send_signal(signal.SIGTERM)
        try:
            cluster.wait(60)
        finally:
            cluster.kill()
            for log in sorted((tmp_path / "data").glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-1500:]}")
