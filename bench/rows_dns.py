# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about DNS: muster, Consul, NSD and Knot tell the same records
with as many threads; dnsperf asks. All are up for the whole row and asked in turns.

The rate is what the whole machine gives, dnsperf on one of its cores included:
`floor` (bench/echo.c) sends each packet back without looking at it, and nobody gets
more than that. What a server itself takes is in the rows of CPU per query."""

import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

from harness import (CONSUL, CORES, MUSTER, OUT, REAL_CONSUL, ROUNDS, SECONDS, Peer,
                     find, free_port, load, request, row, skip, watch)

SERVICES = 50_000  # of one instance each
DNSPERF, NSD, KNOT = find("dnsperf"), find("nsd"), find("knotd")
SERVER = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")
PACED = 5_000  # queries a second, for latencies


class DnsPeer(Peer):
    def command(self):
        self.dns = free_port()
        words = [w for w in super().command()
                 if not w.startswith("-dns-port=")]
        if "-dns-port" in words:
            words[words.index("-dns-port") + 1] = str(self.dns)
        else:
            words.append(f"-dns-port={self.dns}")
        return words


def put(p, node, address, service, port):
    status, body, _ = request(p.port, "PUT", "/v1/catalog/register", {
        "Node": node, "Address": address,
        "Service": {"ID": f"{service}-{port}", "Service": service,
                    "Port": port}})
    assert status == 200, body


def fill(p):
    load(p.port, 64, SERVICES, services=SERVICES, nodes=100, prefix="b")
    for i in range(3):
        put(p, f"web-{i}", f"10.9.0.{i}", "web", 80 + i)
    put(p, "one", "10.9.0.9", "one", 80)


def zone():
    """What `fill` registers (bench/load.c), as a master file."""
    yield "$ORIGIN consul."
    yield "@ 0 IN SOA ns hostmaster 1 3600 600 86400 0"
    yield "@ 0 IN NS ns"
    yield "ns 0 IN A 127.0.0.1"
    for i in range(SERVICES):
        yield f"svc-{i}.service 0 IN A 10.1.{i // 250 % 250}.{i % 250}"
    for i in range(3):
        yield f"web-{i}.node.dc1 0 IN A 10.9.0.{i}"
        yield f"web.service 0 IN SRV 1 1 {80 + i} web-{i}.node.dc1.consul."
    yield "one.service 0 IN A 10.9.0.9"


def answers(port):
    name = b"\3one\7service\6consul\0"
    packet = struct.pack("!HHHHHH", 1, 0, 1, 0, 0, 0) + name + b"\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect((SERVER, port))
        try:
            s.send(packet)
            return s.recv(512)[7] == 1  # one answer
        except OSError:
            return False


class NameServer:
    """An authoritative one, on the same zone."""

    def __init__(self, kind, command, conf):
        self.kind, self.dns = kind, free_port()
        self.folder = tempfile.mkdtemp(prefix=f"bench-{kind}-")
        pathlib.Path(self.folder, "zone").write_text("\n".join(zone()) + "\n")
        path = pathlib.Path(self.folder, "conf")
        path.write_text(conf.format(folder=self.folder, port=self.dns,
                                    threads=CORES))
        with open(self.folder + "/log", "wb") as log:
            self.process = subprocess.Popen([*command, str(path)], stdout=log,
                                            stderr=log)
        until = time.monotonic() + 60
        while not answers(self.dns):
            if time.monotonic() > until or self.process.poll() is not None:
                sys.exit(f"bench: {kind} does not answer:\n"
                         + pathlib.Path(self.folder, "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Echo:
    """What UDP costs without a name server."""

    kind = "floor"

    def __init__(self):
        self.dns = free_port()
        self.process = subprocess.Popen([str(OUT / "echo"), str(self.dns),
                                         str(CORES)])

    def stop(self):
        self.process.terminate()
        self.process.wait()


def family(pid):
    """The process and what it has forked."""
    yield pid
    for path in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            yield from family(int(child))


def cpu_seconds(p):
    spent = 0
    for pid in family(p.process.pid):
        words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
        spent += sum(map(int, words.split()[11:13]))
    return spent / TICKS


NSD_CONF = """server:
  ip-address: 127.0.0.1@{port}
  server-count: {threads}
  reuseport: yes
  zonesdir: "{folder}"
  pidfile: "{folder}/pid"
  xfrdfile: "{folder}/xfrd"
  zonelistfile: "{folder}/list"
  database: ""
  username: ""
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: consul
  zonefile: zone
"""

KNOT_CONF = """server:
  listen: 127.0.0.1@{port}
  udp-workers: {threads}
  tcp-workers: {threads}
  background-workers: 1
  rundir: "{folder}"
  pidfile: "{folder}/pid"
database:
  storage: "{folder}"
control:
  listen: "{folder}/control"
zone:
  - domain: consul
    storage: "{folder}"
    file: zone
    semantic-checks: off
"""


def everybody():
    group = [DnsPeer(k).start() for k in
             ["muster"] + (["consul"] if CONSUL and REAL_CONSUL else [])]
    for p in group:
        fill(p)
    if NSD:
        group.append(NameServer("nsd", [NSD, "-d", "-c"], NSD_CONF))
    if KNOT:
        group.append(NameServer("knot", [KNOT, "-c"], KNOT_CONF))
    group.append(Echo())
    return group


def questions(name, lines):
    path = OUT / f"dns-{name}"
    path.write_text("\n".join(lines) + "\n")
    return path


def dnsperf(port, path, *extra, seconds=None):
    return subprocess.run(
        [DNSPERF, "-s", SERVER, "-p", str(port), "-d", str(path), "-T", "1",
         "-l", str(seconds or SECONDS), *extra],
        capture_output=True, text=True, check=True).stdout


def rate(port, path, *extra):
    return asked(port, path, *extra)[0]


def asked(port, path, *extra):
    """Answers a second, and how many there were."""
    out = dnsperf(port, path, "-c", "16", "-q", "200", *extra)
    return (float(re.search(r"Queries per second:\s+([\d.]+)", out).group(1)),
            int(re.search(r"Queries completed:\s+(\d+)", out).group(1)))


def slow_percent(port, path):
    """Microseconds within which 99 of 100 answers come, at a steady pace."""
    out = dnsperf(port, path, "-c", "4", "-Q", str(PACED), "-v", seconds=2)
    took = sorted(float(line.split()[-1]) for line in out.splitlines()
                  if line.startswith("> "))
    return took[len(took) * 99 // 100] * 1e6 if took else 0


def turns(name, unit, group, measure):
    figures = {p.kind: [] for p in group}
    for _ in range(ROUNDS):
        for p in group:
            figures[p.kind].append(measure(p))
    row(name, unit, figures)


def rates_and_cpu(name, goal, group, path, *extra):
    rates, cpu = {}, {}
    for _ in range(ROUNDS):
        for p in group:
            before = cpu_seconds(p)
            got, count = asked(p.dns, path, *extra)
            spent = cpu_seconds(p) - before
            rates.setdefault(p.kind, []).append(got)
            cpu.setdefault(p.kind, []).append(spent / count * 1e6)
    row(f"DNS {name}", "q/s", rates, goal)
    row(f"DNS {name}: the server's CPU", "us/q", cpu)


def while_it_changes(p, written, path):
    """The rate of one while another, or the same, takes registrations."""
    n = 1000 * SECONDS
    writer = subprocess.Popen(
        [str(OUT / "load"), str(written.port), "8", str(n), str(SERVICES), "100", "c",
         "1000"], stdout=subprocess.PIPE)
    got = rate(p.dns, path)
    writer.communicate()
    return got


def row_dns():
    if not DNSPERF:
        return skip("DNS", "no dnsperf (Debian package dnsperf)")
    for program, kind in (NSD, "nsd"), (KNOT, "knot"):
        if not program:
            skip(f"DNS beside {kind}", f"no {kind} (Debian package {kind})")
    random.seed(1)
    files = {
        "A": questions("a", ["one.service.consul A"]),
        "SRV, 3 instances": questions("srv", ["web.service.consul SRV"]),
        "no such name": questions("nx", ["nosuch.service.consul A"]),
        f"{SERVICES:,} services at random": questions("random", [
            f"svc-{random.randrange(SERVICES)}.service.consul A"
            for _ in range(200_000)]),
    }
    group = everybody()
    for name, path in files.items():
        rates_and_cpu(name, ">= 25x Consul, >= 0.9 NSD", group, path)
    at_random = list(files.values())[-1]
    servers = [p for p in group if p.kind != "floor"]
    rates_and_cpu("over TCP, A", "", servers, files["A"], "-m", "tcp")
    turns(f"DNS p99 at {PACED:,} q/s", "us", group,
          lambda p: slow_percent(p.dns, at_random))
    other = DnsPeer("muster").start()
    fill(other)
    figures = {"muster": [], "quiet": [], "elsewhere": []}
    for _ in range(ROUNDS):
        p = group[0]
        figures["quiet"].append(rate(p.dns, at_random))
        figures["muster"].append(while_it_changes(p, p, at_random))
        figures["elsewhere"].append(while_it_changes(p, other, at_random))
    row("DNS at random, 1,000 registrations/s", "q/s", figures,
        ">= 0.8 of quiet")
    for p in [*group, other]:
        p.stop()


class Server(DnsPeer):
    """One that an agent joins."""

    def command(self):
        words = super().command()
        self.lan = words[words.index("-serf-lan-port") + 1]
        return words


class Agent(DnsPeer):
    def __init__(self, server):
        super().__init__("muster")
        self.server = server

    def command(self):
        self.dns = free_port()
        return [MUSTER, "agent", "-node", "bench-agent", "-bind", "127.0.0.2",
                "-client", "127.0.0.1", "-data-dir", self.folder + "/data",
                "-http-port", str(self.port), "-dns-port", str(self.dns),
                "-serf-lan-port", str(free_port()), "-log-level", "warn",
                "-hcl", "limits { http_max_conns_per_client = 19000 }",
                "-retry-join", f"127.0.0.1:{self.server.lan}"]


AGENT_SERVICES = 3000  # of those that an agent may mirror


def row_dnsagent():
    """An agent's mirror beside its server: the same questions in the same run, and
    from a write at each until a thousand who wait there have it."""
    server = Server("muster").start()
    fill(server)
    agent = Agent(server).start()
    try:
        if DNSPERF:
            random.seed(1)
            files = {
                "A": questions("a", ["one.service.consul A"]),
                "SRV, 3 instances": questions("srv", ["web.service.consul SRV"]),
                "no such name": questions("nx", ["nosuch.service.consul A"]),
                f"{AGENT_SERVICES:,} services at random": questions("few", [
                    f"svc-{random.randrange(AGENT_SERVICES)}.service.consul A"
                    for _ in range(200_000)]),
            }
            for name, path in files.items():
                rate(agent.dns, path)  # so that all are followed
                time.sleep(1)
                rates = {"muster": [], "server": []}
                for _ in range(ROUNDS):
                    rates["muster"].append(rate(agent.dns, path))
                    rates["server"].append(rate(server.dns, path))
                row(f"DNS at an agent: {name}", "q/s", rates)
        else:
            skip("DNS at an agent", "no dnsperf (Debian package dnsperf)")
        put(server, "watch", "127.0.0.1", "told", 1)
        for key in "p50_ms", "p99_ms":
            figures = {"muster": [], "server": []}
            for _ in range(ROUNDS):
                for kind, p in (("muster", agent), ("server", server)):
                    figures[kind].append(watch(p.port, "told", 1000)[key])
            row(f"1,000 long polls at an agent, {key[:3]}", "ms", figures)
    finally:
        agent.stop()
        server.stop()
