# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that are network namespaces, with wires between them that lose, delay and
cut what is told (tests/net/wire.c). Nothing is left of them when the test ends,
however it does: the namespaces have no names, and what runs in them dies with this
process."""

import base64
import contextlib
import ctypes
import http.client
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import threading

import muster

WIRE = muster.ROOT / "build" / "tests" / "wire"
HTTP = 8500
LAN = 8301
WAN = 8302
_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def why_not():
    """Why there can be no such hosts here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "no /dev/net/tun"
    if not WIRE.exists():
        raise AssertionError(f"{WIRE} is not built: make binaries")
    tried = subprocess.run([WIRE, "1"], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True)
    return tried.stderr.strip() if tried.returncode else None


class Host:
    def __init__(self, number, address, space):
        self.number, self.address, self.space = number, address, space

    @contextlib.contextmanager
    def here(self):
        """This thread is in the host: sockets that it makes are of there."""
        with open("/proc/thread-self/ns/net") as home, open(self.space) as there:
            _enter(there)
            try:
                yield
            finally:
                _enter(home)

    def command(self, argv):
        """The same, run in there."""
        return [str(WIRE), "run", self.space, *map(str, argv)]

    def popen(self, argv, **kw):
        return subprocess.Popen(self.command(argv), **kw)

    def run(self, *argv):
        return subprocess.run(self.command(argv), capture_output=True, text=True)

    def connect(self, address, timeout=muster.LIMIT):
        with self.here():
            s = socket.socket()
        s.settimeout(timeout)
        try:
            s.connect(address)
        except OSError:
            s.close()
            raise
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def listen(self, port):
        with self.here():
            return socket.create_server((self.address, port))


def _enter(space):
    if _libc.setns(space.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Net:
    """n hosts, numbered from 1: net[1]."""

    def __init__(self, n, seed=1):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [WIRE, str(n), str(seed)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True)
        self.hosts = []
        for line in self.process.stdout:
            word, *rest = line.split()
            if word == "ready":
                return
            self.hosts.append(Host(int(rest[0]), rest[1], rest[2]))
        raise AssertionError("the wire ended")

    def __getitem__(self, number):
        return self.hosts[number - 1]

    def ask(self, *words):
        with self.lock:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
        if answer.split(" ")[0] != "ok":
            raise ValueError(answer or "the wire ended")
        return answer

    def link(self, a, b, **rules):
        """From a to b, numbers or "*"; rules as in tests/net/wire.c."""
        self.ask("link", a, b, *(f"{k}={v}" for k, v in rules.items()))

    def both(self, a, b, **rules):
        self.link(a, b, **rules)
        self.link(b, a, **rules)

    def apart(self, some, others, cut=1):
        """Nothing passes between the two groups; cut=0: again."""
        for a in some:
            for b in others:
                self.both(a, b, cut=cut)

    def heal(self):
        self.ask("heal")

    def count(self, a="*", b="*"):
        told = self.ask("count", a, b)
        return {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", told)}

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Connection(http.client.HTTPConnection):
    """To loopback of a host, past all wires."""

    def __init__(self, host, port, timeout):
        super().__init__("127.0.0.1", port, timeout=timeout)
        self.where = host

    def connect(self):
        self.sock = self.where.connect((self.host, self.port), self.timeout)


class Server(muster.Server):
    """A server or agent that has a host to itself, with the ports that are the
    default. Users ask it on loopback there, so that no wire is in their way."""

    def __init__(self, host, folder, *extra, server=True, **kw):
        super().__init__(folder, *extra, **kw)
        self.host, self.bind, self.server = host, host.address, server
        self.port, self.other_ports = HTTP, [LAN, WAN, 8300]

    def command(self):
        words = [muster.BINARY, "agent", "-node", self.name, "-bind",
                 self.bind, "-data-dir", self.folder / "data", "-dns-port", "-1"]
        if self.server:
            words.append("-server")
        return self.host.command(words + self.extra)

    def connect(self, timeout=muster.LIMIT):
        return Connection(self.host, self.port, timeout)


class Datacenters:
    """One server each, dc1 on host 1 and so on, with wires between that are slow and
    lose packets: delay_ms each way, loss in percent."""

    def __init__(self, n=3, delay_ms=80, loss=1, seed=1, extra=()):
        # Stores sync at each write, and these tests are not about disks.
        shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-", dir=shm))
        self.net = Net(n, seed)
        self.rules = {"delay_ms": delay_ms, "loss": loss}
        self.heal()
        key = base64.b64encode(b"datacenters' key" * 2).decode()
        self.servers = []
        for host in self.net.hosts:
            words = ["-datacenter", f"dc{host.number}", "-bootstrap-expect", "1",
                     "-encrypt", key, *extra]
            if host.number > 1:
                words += ["-retry-join-wan", self.net[1].address,
                          "-retry-interval-wan", "1s"]
            self.servers.append(Server(
                host, self.folder / f"dc{host.number}", *words,
                name=f"server-dc{host.number}"))

    def start(self):
        for s in self.servers:
            s.start()
        for s in self.servers:
            muster.until(lambda s=s: len(s.get("/v1/catalog/datacenters").json)
                         == len(self.servers), "all datacenters")
        return self

    def heal(self):
        """As it was at the beginning."""
        self.net.heal()
        self.net.link("*", "*", **self.rules)

    def close(self, show=True):
        for s in self.servers:
            if s.process and s.process.poll() is None:
                s.kill()
            if show and s.log_path.exists():
                print(f"--- {s.name}\n{s.log()[-4000:]}")
        self.net.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def fill(server, service, n, nodes=20, tag="a", output=None):
    """n instances of one service, passing, over several nodes; many connections
    would be quicker, and this is quick enough."""
    c = server.connect()
    try:
        for i in range(n):
            body = {"Node": f"n{i % nodes}", "Address": "10.0.0.1",
                    "Service": {"ID": f"{service}-{i}", "Service": service,
                                "Port": 1 + i % 60000, "Tags": [tag]}}
            if output:
                body["Check"] = {"CheckID": f"{service}-{i}", "Status": "passing",
                                 "ServiceID": f"{service}-{i}",
                                 "Output": output}
            answer = server.put("/v1/catalog/register", body, connection=c)
            assert answer.status == 200, answer.text
    finally:
        c.close()
