# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Row of bench/run about clusters: three servers of muster, each with an etcd of its
own, three real Consuls. All on this machine: figures are for comparing."""

import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from harness import (CONSUL, MUSTER, NGINX, OUT, REAL_CONSUL, ROOT, ROUNDS, SECONDS, WRK,
                     free_port, load, request, row, skip, wrk)
from rows_read import Nginx, register_hot

SERVERS = 3
WATCHED = 300
READ = 20  # instances of the service that is read: the same for all


class Group:
    """Processes that end together; ports: HTTP of each server."""

    def __init__(self, kind):
        self.kind = kind
        self.folder = tempfile.mkdtemp(prefix=f"bench-{kind}-")
        self.processes = []
        self.servers = []  # of them, those of muster
        self.ports = [free_port() for _ in range(SERVERS)]

    def spawn(self, name, *words):
        with open(f"{self.folder}/{name}.log", "ab") as log:
            p = subprocess.Popen(words, stdout=log, stderr=log)
        self.processes.append(p)
        return p

    def wait(self):
        deadline = time.monotonic() + 60
        for port in self.ports:
            while True:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    status, body, _ = request(port, "GET", "/v1/status/leader")
                    if status == 200 and len(body) > 4:
                        break
                if time.monotonic() > deadline:
                    sys.exit(f"bench: {self.kind} is not ready: {self.folder}")
                time.sleep(0.01)
        return self

    def stop(self):
        for p in self.processes:
            p.kill()
            p.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def muster():
    """Servers that keep their own store, as docs/clusters.md has it."""
    g = Group("muster")
    g.lan = [free_port() for _ in range(SERVERS)]
    for i in range(SERVERS):
        g.spawn(f"muster{i}", MUSTER, "agent", "-server", "-node", f"bench-{i}",
                "-bootstrap-expect", str(SERVERS), "-bind", "127.0.0.1",
                "-data-dir", f"{g.folder}/muster{i}",
                "-http-port", str(g.ports[i]), "-dns-port", "-1",
                "-serf-lan-port", str(g.lan[i]), "-serf-wan-port", "-1",
                "-server-port", str(free_port()), "-log-level", "warn",
                *(w for p in g.lan for w in ("-retry-join", f"127.0.0.1:{p}")))
    g.servers = list(g.processes)
    return g.wait()


def etcd():
    """Three members with the words that muster gives its own, and nothing else."""
    g = Group("etcd")
    peers = [f"http://127.0.0.1:{free_port()}" for _ in range(SERVERS)]
    for i, peer in enumerate(peers):
        url = f"http://127.0.0.1:{g.ports[i]}"
        g.spawn(f"etcd{i}", "env", "GOGC=200", "etcd", f"--name=e{i}",
                f"--data-dir={g.folder}/etcd{i}", "--max-txn-ops=1024",
                "--max-request-bytes=1572864", "--snapshot-count=10000",
                "--heartbeat-interval=50", "--election-timeout=500", "--pre-vote",
                f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
                f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
                "--initial-cluster=" + ",".join(f"e{k}={p}" for k, p in enumerate(peers)))
    return g


def consul():
    g = Group("consul")
    lan = [free_port() for _ in range(SERVERS)]
    for i in range(SERVERS):
        g.spawn(f"consul{i}", CONSUL, "agent", "-server",
                f"-bootstrap-expect={SERVERS}", f"-node=bench-{i}",
                "-bind=127.0.0.1", f"-data-dir={g.folder}/consul{i}",
                f"-http-port={g.ports[i]}", "-dns-port=-1", "-grpc-port=-1",
                f"-serf-lan-port={lan[i]}", f"-serf-wan-port={free_port()}",
                f"-server-port={free_port()}", "-log-level=err",
                *(f"-retry-join=127.0.0.1:{p}" for p in lan if p != lan[i]),
                "-hcl=limits { http_max_conns_per_client = 19000 }",
                "-hcl=performance { raft_multiplier = 1 }")
    return g.wait()


def cpu_us(process):
    """What it has used so far (its etcd, if it has one, is not counted)."""
    words = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1]
    user, system = words.split()[11:13]
    return (int(user) + int(system)) * 1e6 / os.sysconf("SC_CLK_TCK")


def propagation(g, n=WATCHED):
    """From the request on server A until a long poll at B has it, in ms."""
    seen, ready = {}, threading.Event()
    stop = threading.Event()

    def follow():
        c = http.client.HTTPConnection("127.0.0.1", g.ports[1], timeout=60)
        index = 0
        while not stop.is_set():
            try:
                c.request("GET", f"/v1/catalog/service/watched?index={index}"
                                 "&wait=10s")
                r = c.getresponse()
                body = json.loads(r.read())
            except (OSError, http.client.HTTPException):
                return  # the servers are gone
            now = time.monotonic()
            index = r.headers["X-Consul-Index"]
            for e in body:
                seen.setdefault(e["ServicePort"], now)
            ready.set()

    t = threading.Thread(target=follow, daemon=True)
    t.start()
    ready.wait(30)
    c = http.client.HTTPConnection("127.0.0.1", g.ports[0], timeout=60)
    took = []
    for i in range(1, n + 1):
        body = json.dumps({"Node": "watched", "Address": "10.0.0.1",
                           "Service": {"Service": "watched", "Port": i}})
        at = time.monotonic()
        c.request("PUT", "/v1/catalog/register", body)
        c.getresponse().read()
        while i not in seen and time.monotonic() - at < 10:
            time.sleep(0.0002)
        took.append((seen.get(i, at + 10) - at) * 1e3)
    stop.set()
    took.sort()
    return took[len(took) // 2], took[len(took) * 99 // 100]


def storm(kind, n, ports, **more):
    return subprocess.Popen([str(OUT / "storm"), kind, str(n),
                             *(str(p) for p in ports)],
                            stdout=subprocess.PIPE, text=True, **more)


def parked(ports):
    total = 0
    for p in ports:
        for g in json.loads(request(p, "GET", "/v1/agent/metrics")[1])["Gauges"]:
            total += g["Value"] if g["Name"] == "consul.http.parked" else 0
    return total


def row_clusterstorm(nodes=15000, watchers=10000):
    """All nodes register at once; then one of three servers dies under watchers."""
    g = muster()
    try:
        calm = load(g.ports[0], 8, 2000, prefix="calm")
        out = json.loads(storm("register", nodes, g.ports).communicate()[0])
        status, body, _ = request(g.ports[1], "GET", "/v1/catalog/nodes")
        there = sum(n["Node"].startswith("storm-") for n in json.loads(body))
        print(f"storm: {nodes:,} nodes register at once: all in "
              f"{out['last_ms'] / 1e3:.1f} s (p50 {out['p50_ms'] / 1e3:.1f} s), "
              f"{out['shed']:,} told to come again, {out['failed']} failed, "
              f"{out['lost']} connections lost; {there:,} are there", flush=True)
        index = request(g.ports[0], "GET", "/v1/catalog/nodes")[2]["X-Consul-Index"]
        w = storm("watch", watchers, g.ports, stdin=subprocess.PIPE,
                  env=dict(os.environ, STORM_INDEX=index))
        w.stdout.readline()
        while parked(g.ports) < watchers:
            time.sleep(0.05)
        g.processes[-1].kill()
        began = time.monotonic()
        left = g.ports[:-1]
        while parked(left) < watchers and time.monotonic() - began < 60:
            time.sleep(0.02)
        settled = time.monotonic() - began
        after = load(g.ports[0], 8, 2000, prefix="after")
        out = json.loads(w.communicate("\n")[0])
        print(f"storm: a server of three dies under {watchers:,} watchers: "
              f"{out['moved']:,} moved, all parked again after {settled:.2f} s; "
              f"writes p99 {calm['p99_us'] / 1e3:.1f} ms before, "
              f"{after['p99_us'] / 1e3:.1f} ms after", flush=True)
    finally:
        g.stop()


def outage(g, kill):
    """The longest time without an acknowledged write around a kill, in ms."""
    acks, stop = [], threading.Event()

    def write(k):
        c, i = None, 0
        while not stop.is_set():
            i += 1
            body = json.dumps({"Node": f"out-{k}", "Address": "10.0.0.1",
                               "Service": {"Service": "out", "Port": i % 60000 + 1}})
            try:
                c = c or http.client.HTTPConnection(
                    "127.0.0.1", g.ports[k % SERVERS], timeout=10)
                c.request("PUT", "/v1/catalog/register", body)
                if c.getresponse().read() == b"true":
                    acks.append(time.monotonic())
            except (OSError, http.client.HTTPException):
                c = None
                time.sleep(0.01)
    threads = [threading.Thread(target=write, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    time.sleep(1)
    kill()
    time.sleep(4)
    stop.set()
    for t in threads:
        t.join()
    acks.sort()
    return max(b - a for a, b in zip(acks, acks[1:])) * 1e3


def etcd_of(g, i):
    """The process of server i's own etcd."""
    name = pathlib.Path(f"{g.folder}/muster{i}/node-id").read_text().strip()
    for p in pathlib.Path("/proc").iterdir():
        if p.name.isdigit():
            with contextlib.suppress(OSError):
                words = (p / "cmdline").read_bytes().split(b"\0")
                if words[0] == b"etcd" and f"--name={name}".encode() in words:
                    return int(p.name)
    sys.exit("bench: a server has no etcd")


def muster_leader(g):
    """Which server's etcd leads."""
    body = json.loads(request(g.ports[0], "GET",
                              "/v1/operator/raft/configuration")[1])
    for s in body["Servers"]:
        if s["Leader"]:
            return int(s["Node"].rsplit("-", 1)[1])
    sys.exit("bench: etcd has no leader")


def consul_leader(g):
    for i, p in enumerate(g.ports):
        body = json.loads(request(p, "GET", "/v1/agent/self")[1])
        if body["Stats"]["consul"]["leader"] == "true":
            return i
    sys.exit("bench: consul has no leader")


LEADER = {"muster": muster_leader, "consul": consul_leader}


def leading_process(g):
    i = LEADER[g.kind](g)
    return etcd_of(g, i) if g.kind == "muster" else g.processes[i].pid


def follower(g):
    """A server that does not lead, as two of three are."""
    return (LEADER[g.kind](g) + 1) % SERVERS


def row_clusteroutage():
    kinds = {"muster": muster}
    if CONSUL and REAL_CONSUL:
        kinds["consul"] = consul
    figures = {k: [] for k in kinds}
    for _ in range(ROUNDS):
        for kind, make in kinds.items():
            g = make()
            try:
                pid = leading_process(g)
                figures[kind].append(outage(
                    g, lambda pid=pid: os.kill(pid, signal.SIGKILL)))
            finally:
                g.stop()
    row("cluster: without writes after the leader's kill", "ms", figures, "<= 1000")


def hot(kind="default"):
    return f"/v1/health/service/hot?passing{'&stale' if kind == 'stale' else ''}"


def row_clusterfloor(n=20000):
    """What etcd and the store alone do with the transactions of registrations."""
    program = ROOT / "build/bench/store"
    if not shutil.which("etcd") or not program.exists():
        skip("clusterfloor", "no etcd, or no build/bench/store (make build/bench/store)")
        return
    for clients, changes in ((64, n), (1, 800)) * ROUNDS:
        g = etcd()
        try:
            before = [cpu_us(p) for p in g.processes]
            out = subprocess.run([program, f"etcd://127.0.0.1:{g.ports[0]}",
                                  str(changes), str(clients), "100"],
                                 capture_output=True, text=True)
            if out.returncode:
                sys.exit(f"bench: store: {out.stderr}")
            v = json.loads(out.stdout)
            cost = [(cpu_us(p) - b) / changes for p, b in zip(g.processes, before)]
            print(f"floor: {clients} at once: {v['per_s']:,.0f}/s, p50 "
                  f"{v['p50_us'] / 1e3:.2f} ms, p99 {v['p99_us'] / 1e3:.1f} ms; CPU of "
                  f"etcd {' + '.join(f'{c:.0f}' for c in cost)} us, of the store "
                  f"{v['cpu_us_each']:.0f} us for each", flush=True)
        finally:
            g.stop()


def row_cluster():
    kinds = {"muster": muster}
    if not shutil.which("etcd"):
        skip("cluster", "no etcd (Debian: etcd-server)")
        return
    if CONSUL and REAL_CONSUL:
        kinds["consul"] = consul
    names = ("write p50, serial", "write p99, serial", "write p50, 64 clients",
             "write p99, 64 clients", "propagation A to B, p50",
             "propagation A to B, p99")
    figures = {n: {k: [] for k in kinds} for n in names}
    rates = {n: {k: [] for k in kinds} for n in ("serial", "64 clients")}
    reads = {(n, c): {k: [] for k in kinds} for n in ("stale", "default")
             for c in (32, 512)}
    cost = {k: {kind: [] for kind in kinds} for k in reads}
    groups = {k: make() for k, make in kinds.items()}
    nginx = None
    try:
        for g in groups.values():
            register_hot(g.ports[0], READ, 0)
        if WRK and NGINX:
            nginx = Nginx(request(groups["muster"].ports[0], "GET", hot())[1])
        for r in range(ROUNDS):
            if nginx:
                for (name, c), v in reads.items():
                    v.setdefault("nginx", []).append(wrk(nginx.url, connections=c))
            for kind, g in groups.items():
                one = load(g.ports[0], 1, 500, prefix=f"a{r}")
                n = 20000 if kind == "muster" else 4000
                many = load(g.ports[0], 64, n, prefix=f"b{r}")
                p50, p99 = propagation(g)
                values = (one["p50_us"] / 1e3, one["p99_us"] / 1e3,
                          many["p50_us"] / 1e3, many["p99_us"] / 1e3, p50, p99)
                for name, v in zip(names, values):
                    figures[name][kind].append(v)
                rates["serial"][kind].append(one["per_s"])
                rates["64 clients"][kind].append(many["per_s"])
                asked = follower(g)
                for (name, c), v in reads.items() if WRK else ():
                    before = cpu_us(g.processes[asked])
                    v[kind].append(wrk(
                        f"http://127.0.0.1:{g.ports[asked]}{hot(name)}", connections=c))
                    cost[name, c][kind].append(
                        (cpu_us(g.processes[asked]) - before) / (v[kind][-1] * SECONDS))
    finally:
        for g in [*groups.values(), *([nginx] if nginx else [])]:
            g.stop()
    goals = {"write p50, serial": "<= 3", "propagation A to B, p99": "<= 5"}
    for name in names:
        row(f"cluster: {name}", "ms", figures[name], goals.get(name, ""))
    for name, v in rates.items():
        row(f"cluster: writes, {name}", "req/s", v,
            ">= 10,000/s, >= 5x" if name == "64 clients" else "")
    for (name, c), v in reads.items():
        row(f"cluster: {name} reads, {c} connections", "req/s", v,
            {("stale", 32): ">= 20x", ("default", 32): ">= 5x",
             ("default", 512): ">= 20x"}.get((name, c), ""))
    for (name, c), v in cost.items():
        row(f"cluster: CPU of the server, {name} read, {c} connections", "us", v, "")
