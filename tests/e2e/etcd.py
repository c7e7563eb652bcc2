# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A real etcd of one or three members on loopback, to be killed and stopped."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.request

import muster

INSTALLED = shutil.which("etcd") is not None
WHY = "etcd is not installed (Debian: etcd-server)"


class Member:
    def __init__(self, cluster, number):
        self.cluster = cluster
        self.name = f"m{number}"
        self.client_port, self.peer_port = muster.free_ports(2)
        self.folder = cluster.folder / self.name
        self.process = None

    @property
    def peer(self):
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def client(self):
        return f"{self.cluster.scheme}://127.0.0.1:{self.client_port}"

    def spawn(self):
        words = ["etcd", "--name", self.name, "--data-dir", str(self.folder),
                 "--listen-client-urls", self.client,
                 "--advertise-client-urls", self.client,
                 "--listen-peer-urls", self.peer,
                 "--initial-advertise-peer-urls", self.peer,
                 "--initial-cluster", self.cluster.initial,
                 "--heartbeat-interval", "50", "--election-timeout", "500",
                 "--max-txn-ops", "1024"] + self.cluster.extra
        with open(f"{self.folder}.log", "ab") as log:
            self.process = subprocess.Popen(words, stdout=log,
                                            stderr=subprocess.STDOUT)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def post(self, path, body):
        request = urllib.request.Request(
            f"{self.client}/v3/{path}", json.dumps(body).encode(),
            {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def status(self):
        return self.post("maintenance/status", {})


class Etcd:
    """members: 1 or 3. scheme https needs extra flags for certificates."""

    def __init__(self, members=3, extra=(), scheme="http"):
        # Its log syncs at each write, and few tests are about disks.
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-etcd-",
                                                    dir=shm))
        self.extra = list(extra)
        self.scheme = scheme
        self.members = [Member(self, i) for i in range(members)]

    @property
    def initial(self):
        return ",".join(f"{m.name}={m.peer}" for m in self.members)

    @property
    def url(self):
        return "etcd://" + ",".join(f"127.0.0.1:{m.client_port}"
                                    for m in self.members)

    def start(self):
        for m in self.members:
            m.spawn()
        if self.scheme == "http":
            self.wait_ready()
        return self

    def wait_ready(self):
        muster.until(self.leader, "an etcd leader")

    def leader(self):
        """The member that leads, if all that run agree; None otherwise."""
        found = set()
        for m in self.members:
            if m.process.poll() is not None:
                continue
            with contextlib.suppress(OSError, http.client.HTTPException):
                s = m.status()
                if s["header"]["member_id"] == s.get("leader"):
                    return m
                found.add(s.get("leader"))
        return None

    def close(self):
        for m in self.members:
            m.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
