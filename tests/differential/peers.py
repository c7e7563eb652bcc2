# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The two that are compared: muster and a real Consul, started alike on empty
data, with the same node name and node ID."""

import functools
import os
import shutil
import subprocess

import muster

NODE = "node-a"
NODE_ID = "7a1e0c52-3d3b-4f6e-9d58-0a2b4c6d8e10"


@functools.cache
def find_consul():
    """(path, "") of a real Consul, or (None, why there is none)."""
    path = os.environ.get("CONSUL") or shutil.which("consul")
    if not path:
        return None, "no consul: neither $CONSUL nor one in PATH"
    try:
        text = subprocess.run([path, "version"], capture_output=True,
                              text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired) as e:
        return None, f"{path} does not run: {e}"
    if not text.startswith("Consul v"):
        return None, f"{path} is no Consul: {text.splitlines()[:1]}"
    if not text.startswith("Consul v1.8."):
        return None, f"{path} is {text.splitlines()[0]}, meant.py knows 1.8"
    return path, ""


class Peer(muster.Server):
    """Knows its own ports, so that answers can be told apart from them."""

    def __init__(self, folder, *extra):
        super().__init__(folder, "-node-id", NODE_ID, *extra, name=NODE)
        self.ports = {"http": self.port, "lan": muster.free_port(),
                      "wan": muster.free_port(), "server": muster.free_port()}
        self.connection = None
        self.query_ids = {}  # compare.remember_id

    def port_flags(self):
        return ["-serf-lan-port", str(self.ports["lan"]),
                "-serf-wan-port", str(self.ports["wan"]),
                "-server-port", str(self.ports["server"])]

    def wait_ready(self):
        """Until the node and its own service stand in the catalog as its agent
        wants them there."""
        super().wait_ready()

        def settled():
            own = self.get("/v1/catalog/node/" + NODE)
            checks = self.get("/v1/health/node/" + NODE)
            if own.status != 200 or not own.json:
                return False
            node = own.json["Node"]
            return (node["TaggedAddresses"] and node["ID"] == NODE_ID
                    and "consul" in own.json["Services"]
                    and [c["Status"] for c in checks.json] == ["passing"])
        muster.until(settled, "its own node in the catalog", 60)


class Muster(Peer):
    kind = "muster"

    def command(self):
        return [muster.BINARY, "agent", "-server", "-bootstrap-expect", "1",
                "-bind", "127.0.0.1", "-node", NODE, "-dns-port", "-1",
                "-data-dir", str(self.folder / "data"),
                "-http-port", str(self.port), *self.port_flags(), *self.extra]


class Consul(Peer):
    kind = "consul"

    def command(self):
        return [find_consul()[0], "agent", "-server", "-bootstrap-expect=1",
                "-bind=127.0.0.1", "-node=" + NODE, "-dns-port=-1",
                "-data-dir=" + str(self.folder / "data"),
                f"-http-port={self.port}", *self.port_flags(), *self.extra,
                "-grpc-port=-1", "-log-level=err",
                "-hcl=performance { raft_multiplier = 1 }"]


def start_both(folder):
    """Consul takes seconds to elect itself: both start at once."""
    pair = Muster(folder / "muster"), Consul(folder / "consul")
    try:
        for p in pair:
            p.spawn()
        for p in pair:
            p.wait_ready()
    except BaseException:
        stop_both(pair)
        raise
    return pair


def stop_both(pair):
    for p in pair:
        if p.process and p.process.poll() is None:
            p.kill() if p.kind == "consul" else p.stop()
