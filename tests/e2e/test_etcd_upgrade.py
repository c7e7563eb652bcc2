# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Newer releases of etcd below servers that keep their own store, host by host."""

import os
import pathlib
import signal

import pytest

from clusters import INSTALLED, WHY, Cluster
from muster import until

# Folders with an `etcd` each, one minor release after the other (etcd itself
# takes no two at once): 3.5, 3.6, 3.7.
NEWER = [f for f in os.environ.get("MUSTER_TEST_ETCDS", "").split(":") if f]


def register(server, node):
    """Acknowledged at last: a server that has just started says 500."""
    until(lambda: server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1"}).status == 200)


def nodes(server):
    answer = server.get("/v1/catalog/nodes")
    return {n["Node"] for n in answer.json} if answer.status == 200 else set()


def upgrade(s, folder, monkeypatch):
    s.process.send_signal(signal.SIGTERM)
    assert s.process.wait(60) == 1  # by a signal, without leaving (as Consul)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    s.spawn()
    s.wait_ready()
    assert os.readlink(f"/proc/{s.etcd_pid()}/exe") == str(
        pathlib.Path(folder, "etcd").resolve())


@pytest.mark.skipif(not INSTALLED, reason=WHY)
@pytest.mark.skipif(not NEWER, reason="no newer etcd: MUSTER_TEST_ETCDS names none")
def test_etcd_is_upgraded_release_by_release_host_by_host(monkeypatch):
    c = Cluster().start()
    try:
        for folder in NEWER:
            for s in c.servers:
                before = nodes(c.servers[0]) or nodes(c.servers[1])
                upgrade(s, folder, monkeypatch)
                for other in c.servers:
                    register(other, f"{len(before)}-{s.name}-{other.name}")
                seen = nodes(s)
                assert before <= seen and len(seen) >= len(before) + len(c.servers)
                until(lambda: len(s.peers()) == len(c.servers))
                until(lambda: s.get("/v1/operator/autopilot/health").status == 200)
        final = [nodes(s) for s in c.servers]
        assert final[0] == final[1] == final[2]
    finally:
        c.close()
