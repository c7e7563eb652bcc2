# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about client agents: what 20,000 of them cost three servers on a
three-member etcd while all is well, and when all start at once. They are simulated by
bench/agents.c, as far as their servers can tell."""

import json
import os
import subprocess
import time

from harness import OUT, request, row
from rows_cluster import muster

AGENTS = int(os.environ.get("AGENTS", "19200"))
PROCESSES = 3  # of agents.c: descriptors of one process are limited
CALM_S = 20


def cpu_s(processes):
    """Seconds of CPU that they have had."""
    total = 0
    for p in processes:
        with open(f"/proc/{p.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def memory_mb(processes):
    total = 0
    for p in processes:
        with open(f"/proc/{p.pid}/status") as f:
            total += next(int(line.split()[1]) for line in f
                          if line.startswith("VmRSS:"))
    return total / 1024


class Crowd:
    """All agents, each at one of the servers first."""

    def __init__(self, lan, spread_s, seconds, n=AGENTS):
        self.n = n
        self.parts = [
            subprocess.Popen(
                [str(OUT / "agents"), str(n // PROCESSES), str(spread_s),
                 str(seconds), *(str(p) for p in lan)],
                stdout=subprocess.PIPE, text=True,
                env=dict(os.environ, FIRST=str(i * (n // PROCESSES))))
            for i in range(PROCESSES)]

    def told(self):
        return [json.loads(p.stdout.readline()) for p in self.parts]

    def stop(self):
        for p in self.parts:
            p.kill()
            p.wait()


def critical(g):
    """Nodes that were declared failed."""
    checks = json.loads(request(g.ports[0], "GET", "/v1/health/state/critical")[1])
    return sum(c["CheckID"] == "serfHealth" for c in checks)


def row_beats():
    """CPU of all three servers and their stores while nothing happens but beats."""
    g = muster()
    crowd = None
    try:
        time.sleep(2)
        began, at = cpu_s(g.servers), time.monotonic()
        time.sleep(CALM_S / 2)
        idle = (cpu_s(g.servers) - began) / (time.monotonic() - at)
        before = memory_mb(g.servers)
        crowd = Crowd(g.lan, 20, CALM_S + 10)
        up = crowd.told()
        time.sleep(3)
        began, at = cpu_s(g.servers), time.monotonic()
        each = [cpu_s([p]) for p in g.servers]
        time.sleep(CALM_S)
        took = time.monotonic() - at
        used = (cpu_s(g.servers) - began) / took
        most = max(cpu_s([p]) - b for p, b in zip(g.servers, each)) / took
        memory = memory_mb(g.servers) - before
        beats = crowd.told()
        n = sum(u["up"] for u in up)
        row(f"agents: beats of {n:,}, all three servers", "% core",
            {"muster": [used * 100], "idle": [idle * 100]}, "<= 10")
        row("agents: the same, the busiest server", "% core",
            {"muster": [most * 100]})
        row("agents: memory at three servers, each", "kB",
            {"muster": [memory * 1024 / n]})
        print(f"agents: {sum(b['beats'] for b in beats):,} beats answered, "
              f"{sum(b['late'] for b in beats)} later than 0.5 s, "
              f"{sum(b['lost'] for b in beats)} connections lost, "
              f"{critical(g)} nodes declared failed", flush=True)
    finally:
        if crowd:
            crowd.stop()
        g.stop()


def row_agentstorm():
    """All start in one moment: hello, registration, stream, beats."""
    g = muster()
    crowd = None
    try:
        crowd = Crowd(g.lan, 0, 15)
        up = crowd.told()
        beats = crowd.told()
        nodes = json.loads(request(g.ports[1], "GET", "/v1/catalog/nodes")[1])
        there = sum(n["Node"].startswith("host-") for n in nodes)
        print(f"storm: {AGENTS:,} agents start at once: "
              f"{sum(u['up'] for u in up):,} registered and beating after "
              f"{max(u['last_ms'] for u in up) / 1e3:.1f} s (p50 "
              f"{max(u['p50_ms'] for u in up) / 1e3:.1f} s), "
              f"{sum(u['shed'] for u in up):,} told to come again, "
              f"{sum(u['failed'] for u in up)} other answers, "
              f"{sum(u['lost'] for u in up)} connections lost; "
              f"{there:,} are there; in the 15 s after that "
              f"{sum(b['lost'] for b in beats)} connections lost, "
              f"{critical(g)} nodes declared failed", flush=True)
    finally:
        if crowd:
            crowd.stop()
        g.stop()
