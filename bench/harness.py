# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What the rows of bench/run share: the processes under test, clients, figures."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "bench"
MUSTER = os.environ.get("MUSTER", str(ROOT / "build" / "muster"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = int(os.environ.get("SECONDS", "3"))
CORES = os.cpu_count()
WRK_CONNECTIONS = 32
results = []


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find(name, variable=None):
    path = os.environ.get(variable or "", "") or shutil.which(name)
    if not path and os.path.exists(f"/usr/sbin/{name}"):
        path = f"/usr/sbin/{name}"
    return path


CONSUL = find("consul", "CONSUL")
NGINX = find("nginx")
WRK = find("wrk")
REAL_CONSUL = False
if CONSUL:
    text = subprocess.run([CONSUL, "version"], capture_output=True,
                          text=True).stdout
    REAL_CONSUL = text.startswith("Consul v")


def request(port, method, path, body=None, timeout=120):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        c.request(method, path, json.dumps(body) if body is not None else None)
        r = c.getresponse()
        return r.status, r.read(), r.headers
    finally:
        c.close()


class Peer:
    """A registry process under test."""

    def __init__(self, kind, dev=False, config=None):
        self.kind = kind
        self.config = ["-config-dir", str(config)] if config else []
        self.folder = tempfile.mkdtemp(prefix=f"bench-{kind}-")
        self.port = free_port()
        self.dev = dev

    def command(self):
        ports = [str(free_port()) for _ in range(4)]
        if self.kind == "muster":
            return [MUSTER, "agent", "-server", "-bootstrap-expect", "1",
                    "-node", "bench", "-bind", "127.0.0.1",
                    "-data-dir", self.folder + "/data",
                    "-http-port", str(self.port), "-dns-port", "-1",
                    "-serf-lan-port", ports[0], "-serf-wan-port", ports[1],
                    "-server-port", ports[2], "-log-level", "warn",
                    "-hcl", "limits { http_max_conns_per_client = 19000 }",
                    *self.config]
        return [CONSUL, "agent", "-server", "-bootstrap-expect=1",
                "-node=bench", "-bind=127.0.0.1",
                "-data-dir=" + self.folder + "/data",
                f"-http-port={self.port}", f"-dns-port={ports[3]}",
                f"-serf-lan-port={ports[0]}", f"-serf-wan-port={ports[1]}",
                f"-server-port={ports[2]}", "-grpc-port=-1", "-log-level=err",
                "-hcl=limits { http_max_conns_per_client = 19000 }",
                "-hcl=performance { raft_multiplier = 1 }", *self.config]

    def start(self):
        self.log = open(self.folder + "/log", "ab")
        began = time.monotonic()
        self.process = subprocess.Popen(self.command(), stdout=self.log,
                                        stderr=self.log)
        while True:
            if self.process.poll() is not None:
                sys.exit(f"bench: {self.kind} ended:\n"
                         + pathlib.Path(self.folder, "log").read_text()[-3000:])
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, body, _ = request(self.port, "GET", "/v1/status/leader")
                if status == 200 and len(body) > 4:
                    break
            if time.monotonic() - began > 120:
                sys.exit(f"bench: {self.kind} is not ready after 120 s")
            time.sleep(0.001)
        self.ready_ms = (time.monotonic() - began) * 1e3
        return self

    def stop(self, keep=False):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def memory_kb(self, field):
        with open(f"/proc/{self.process.pid}/status") as f:
            for line in f:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        return 0

    def wrk(self, path):
        return wrk(f"http://127.0.0.1:{self.port}{path}")


def wrk(url, seconds=None, script=None, connections=WRK_CONNECTIONS):
    out = subprocess.run(
        [WRK, "-t2", f"-c{connections}", f"-d{seconds or SECONDS}s",
         "--timeout", "60s", *(["-s", str(script)] if script else []), url],
        capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        sys.exit(f"bench: wrk {url}:\n{out}")
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def load(port, connections, n, services=500, nodes=100, prefix="i"):
    out = subprocess.run([str(OUT / "load"), str(port), str(connections),
                          str(n), str(services), str(nodes), prefix],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"bench: load: {out.stdout} {out.stderr}")
    return json.loads(out.stdout)


def watch(port, service, watchers, rounds=3):
    out = subprocess.run([str(OUT / "watch"), str(port), service,
                          str(watchers), str(rounds)],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"bench: watch: {out.stdout} {out.stderr}")
    return json.loads(out.stdout)


def build():
    OUT.mkdir(parents=True, exist_ok=True)
    for name in ("load", "watch", "floor", "stream", "storm", "echo", "agents"):
        source, target = ROOT / "bench" / f"{name}.c", OUT / name
        if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-std=c17", "-D_GNU_SOURCE", "-o",
                            str(target), str(source), "-lpthread"], check=True)


def peers():
    kinds = ["muster"]
    if CONSUL and REAL_CONSUL:
        kinds.append("consul")
    return [Peer(k).start() for k in kinds]


def row(name, unit, values, goal=""):
    """values: kind -> list of figures."""
    med = {k: statistics.median(v) for k, v in values.items() if v}
    spread = {k: (min(v), max(v)) for k, v in values.items() if v}
    line = {"row": name, "unit": unit, "median": med, "spread": spread,
            "goal": goal}
    for other in ("consul", "nginx", "floor", "durable", "nsd", "knot", "quiet",
                  "elsewhere", "server"):
        if other in med and "muster" in med and min(med[other], med["muster"]) > 0:
            line[f"muster/{other}"] = round(med["muster"] / med[other], 3)
    results.append(line)
    cells = "  ".join(f"{k} {v:,.6g}" for k, v in med.items())
    ratios = "  ".join(f"{k} {v:g}" for k, v in line.items()
                       if k.startswith("muster/"))
    print(f"{name:44} {unit:7} {cells:44} {ratios:38} {goal}", flush=True)


def skip(name, why):
    print(f"{name:44} skipped: {why}", flush=True)
