# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about writes, and what grows with them."""

import json
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time

from harness import (OUT, Peer, ROOT, ROUNDS, WRK, load, peers, request, results,
                     row)


def row_register():
    group = peers()
    one = {p.kind: [] for p in group}
    many = {p.kind: [] for p in group}
    for r in range(ROUNDS):
        for p in group:
            one[p.kind].append(load(p.port, 1, 1000, prefix=f"a{r}")["per_s"])
            n = 60000 if p.kind == "muster" else 6000
            many[p.kind].append(load(p.port, 64, n, prefix=f"b{r}")["per_s"])
    row("registrations, durable, 1 connection", "req/s", one, "fsync only")
    row("registrations, durable, 64 connections", "req/s", many, ">= 30,000/s")
    for p in group:
        p.stop()


def row_memory():
    group = peers()
    figures = {p.kind: [] for p in group}
    for p in group:
        load(p.port, 64, 50000)
        figures[p.kind].append(p.memory_kb("VmRSS") / 1024)
    row("memory with 50,000 instances", "MiB", figures, "<= 50")
    for p in group:
        p.stop()


def row_growth():
    """10 k, 100 k and 1 M instances: what grows. muster only."""
    print(f"{'instances':>10} {'MiB':>8} {'B/inst':>8} {'reg/s':>9} "
          f"{'health20/s':>11} {'restart s':>10}")
    for n in (10_000, 100_000, 1_000_000):
        p = Peer("muster").start()
        empty = p.memory_kb("VmRSS")
        services = max(n // 20, 1)
        rate = load(p.port, 64, n, services=services, nodes=max(n // 500, 1))
        memory = p.memory_kb("VmRSS")
        query = p.wrk("/v1/health/service/svc-7?passing") if WRK else 0
        p.stop(keep=True)
        p.start()
        got = json.loads(request(p.port, "GET", "/v1/health/service/svc-7")[1])
        assert len(got) == 20, len(got)
        print(f"{n:10} {memory / 1024:8.1f} {(memory - empty) * 1024 / n:8.0f} "
              f"{rate['per_s']:9.0f} {query:11.0f} {p.ready_ms / 1e3:10.2f}",
              flush=True)
        results.append({"row": "growth", "instances": n, "mib": memory / 1024,
                        "per_s": rate["per_s"], "query_per_s": query,
                        "restart_ms": p.ready_ms})
        p.stop()


def row_hot():
    """One service with 10,000 instances changing 100 times a second under 100
    watchers. muster only."""
    p = Peer("muster").start()
    load(p.port, 64, 10000, services=1, nodes=100)
    watchers = subprocess.Popen(
        [sys.executable, str(ROOT / "bench" / "run"), "_follow", str(p.port), "svc-0", "100", "12"],
        stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    before = p.memory_kb("VmRSS")
    out = subprocess.run([str(OUT / "load"), str(p.port), "64", "1000", "1",
                          "100", "hot", "100"], capture_output=True, text=True)
    writes = json.loads(out.stdout)
    got = json.loads(watchers.communicate()[0])["answers"]
    print(f"hot service: writes p50 {writes['p50_us']:.0f} us p99 "
          f"{writes['p99_us']:.0f} us; answers per watcher min {min(got)} "
          f"median {statistics.median(got)} max {max(got)}; memory "
          f"{before / 1024:.0f} -> {p.memory_kb('VmRSS') / 1024:.0f} MiB "
          f"(peak {p.memory_kb('VmHWM') / 1024:.0f})", flush=True)
    p.stop()


def follow(port, service, n, seconds):
    """n watchers in one process: long polls for so many seconds, counts answers."""
    chooser = selectors.DefaultSelector()
    buffer = bytearray(1 << 20)
    answers = [0] * n

    def ask(s, i, index):
        s.sendall(f"GET /v1/health/service/{service}?index={index}&wait=5s "
                  "HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        chooser.modify(s, selectors.EVENT_READ, [i, index, b"", None])

    for i in range(n):
        s = socket.create_connection(("127.0.0.1", port))
        chooser.register(s, selectors.EVENT_READ, None)
        ask(s, i, 0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in chooser.select(0.5):
            s, state = key.fileobj, key.data
            got = s.recv_into(buffer)
            if state[3] is None:
                state[2] += bytes(buffer[:got])
                at = state[2].find(b"\r\n\r\n")
                if at < 0:
                    continue
                head = state[2][:at].decode()
                length = int(re.search(r"Content-Length: (\d+)", head).group(1))
                new = int(re.search(r"X-Consul-Index: (\d+)", head).group(1))
                assert new >= state[1], (new, state[1])
                answers[state[0]] += new > state[1]
                state[1], state[3] = new, length - (len(state[2]) - at - 4)
            else:
                state[3] -= got
            if state[3] == 0:
                ask(s, state[0], state[1])
    print(json.dumps({"answers": answers}))
