# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Servers that keep their own store together, on loopback, to be killed."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import tempfile

import muster
from muster import until

INSTALLED = shutil.which("etcd") is not None
WHY = "etcd is not installed (Debian: etcd-server)"


class Member(muster.Server):
    """One of several: -bootstrap-expect and -retry-join instead of alone."""

    def __init__(self, cluster, number, *extra, expect=3, name=None):
        super().__init__(cluster.folder / f"s{number}", *extra,
                         name=name or f"s{number}")
        self.cluster = cluster
        self.address = f"127.0.0.{number}"
        self.expect = expect
        self.join = None  # else the addresses to be given

    @property
    def peer(self):
        return f"{self.address}:{self.other_ports[0]}"

    @property
    def raft(self):
        return f"{self.address}:{self.other_ports[2]}"

    def command(self):
        words = [muster.BINARY, "agent", "-server", "-bind", self.address,
                 "-node", self.name, "-http-port", str(self.port),
                 "-dns-port", "-1", "-data-dir", str(self.folder / "data"),
                 "-serf-lan-port", str(self.other_ports[0]),
                 "-serf-wan-port", str(self.other_ports[1]),
                 "-server-port", str(self.other_ports[2])]
        if self.expect:
            words += ["-bootstrap-expect", str(self.expect)]
        for to in self.join or self.cluster.join:
            words += ["-retry-join", to]
        return words + self.cluster.extra + self.extra

    @property
    def id(self):
        return (self.folder / "data" / "node-id").read_text().strip()

    def etcd_pid(self):
        """Of its store's process; None: there is none."""
        for p in pathlib.Path("/proc").iterdir():
            if not p.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (p / "cmdline").read_bytes().split(b"\0")
                if (words[0] == b"etcd"
                        and f"--name={self.id}".encode() in words):
                    return int(p.name)
        return None

    def kill_etcd(self, sig=signal.SIGKILL):
        pid = self.etcd_pid()
        if pid:
            os.kill(pid, sig)
        return pid

    def peers(self):
        answer = self.get("/v1/operator/raft/configuration")
        if answer.status == 500 and answer.text == "No cluster leader":
            return {}  # it has just started
        assert answer.status == 200, answer.text
        return {s["Node"]: s for s in answer.json["Servers"]}


class Cluster:
    def __init__(self, n=3, extra=()):
        # Stores sync at each write, and few tests are about disks.
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-", dir=shm))
        self.extra = list(extra)
        self.servers = []
        self.join = []
        for i in range(1, n + 1):
            self.add(i, expect=n)
        self.join = [s.peer for s in self.servers]

    def add(self, number, *extra, **kw):
        s = Member(self, number, *extra, **kw)
        self.servers.append(s)
        return s

    def start(self):
        for s in self.servers:
            s.spawn()
        for s in self.servers:
            s.wait_ready()
        return self

    def close(self, show=True):
        for s in self.servers:
            if s.process and s.process.poll() is None:
                s.process.send_signal(signal.SIGCONT)
                s.process.kill()
                s.process.wait()
        for s in self.servers:
            if show and s.log_path.exists():
                print(f"--- log of {s.name}\n{s.log()[-6000:]}")
        shutil.rmtree(self.folder, ignore_errors=True)
