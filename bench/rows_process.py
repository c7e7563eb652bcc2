# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about long polls and the process itself."""

import socket
import subprocess
import time

from harness import (CORES, OUT, ROUNDS, free_port, peers, request, row, watch)


def row_poll():
    for watchers in (1000, 5000):
        group = peers()
        p50 = {p.kind: [] for p in group}
        p99 = {p.kind: [] for p in group}
        p50["floor"], p99["floor"] = [], []
        sizes = {}
        for p in group:
            request(p.port, "PUT", "/v1/catalog/register", {
                "Node": "watch", "Address": "127.0.0.1",
                "Service": {"ID": "watch-w", "Service": "w", "Port": 1}})
        body = len(request(group[0].port, "GET", "/v1/health/service/w")[1])
        port = free_port()
        floor = subprocess.Popen([str(OUT / "floor"), str(port), str(CORES),
                                  str(body)])
        time.sleep(0.3)
        for _ in range(ROUNDS):
            for p in group:
                before = p.memory_kb("VmRSS")
                out = watch(p.port, "w", watchers)
                sizes.setdefault(p.kind, []).append(
                    (p.memory_kb("VmRSS") - before) * 1024 / watchers)
                p50[p.kind].append(out["p50_ms"])
                p99[p.kind].append(out["p99_ms"])
            out = watch(port, "w", watchers)
            p50["floor"].append(out["p50_ms"])
            p99["floor"].append(out["p99_ms"])
        floor.kill()
        floor.wait()
        row(f"{watchers} long polls, one change: p50", "ms", p50, "floor <= 1.3")
        row(f"{watchers} long polls, one change: p99", "ms", p99, "floor <= 1.3")
        for p in group:
            p.stop()
    poll_memory()


def poll_memory():
    """Resident growth while 5,000 polls wait, per poll."""
    group = peers()
    figures = {}
    for p in group:
        request(p.port, "PUT", "/v1/catalog/register", {
            "Node": "watch", "Address": "127.0.0.1",
            "Service": {"ID": "watch-w", "Service": "w", "Port": 1}})
        index = request(p.port, "GET", "/v1/health/service/w")[2]["X-Consul-Index"]
        text = (f"GET /v1/health/service/w?index={index}&wait=60s HTTP/1.1\r\n"
                "Host: x\r\n\r\n").encode()
        before = p.memory_kb("VmRSS")
        socks = []
        for _ in range(5000):
            s = socket.create_connection(("127.0.0.1", p.port))
            s.sendall(text)
            socks.append(s)
        time.sleep(2)
        figures[p.kind] = [(p.memory_kb("VmRSS") - before) * 1024 / len(socks)]
        for s in socks:
            s.close()
        p.stop()
    row("memory per idle long poll", "bytes", figures, "<= 2,048")


def row_idle():
    group = peers()
    time.sleep(1)
    row("idle server, resident", "MiB",
        {p.kind: [p.memory_kb("VmRSS") / 1024] for p in group}, "<= 16")
    row("idle server, private (RssAnon)", "MiB",
        {p.kind: [p.memory_kb("RssAnon") / 1024] for p in group}, "<= 4")
    for p in group:
        p.stop()


def row_start():
    figures = {}
    for _ in range(ROUNDS):
        for p in peers():
            figures.setdefault(p.kind, []).append(p.ready_ms)
            p.stop()
    row("start to ready, empty", "ms", figures, "<= 100")
