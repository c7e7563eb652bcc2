# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about event streams, beside the floor: the least that waking so
many connections costs here. A registry has made the change durable before it tells
anybody; `durable` is the floor with that one write and fdatasync."""

import contextlib
import json
import os
import socket
import subprocess
import threading
import time

from harness import (CONSUL, CORES, OUT, REAL_CONSUL, ROUNDS, Peer, free_port,
                     request, results, row, skip)

INSTANCES = 1000


def stream(*args, words=()):
    out = subprocess.run([*words, str(OUT / "stream"), *map(str, args)],
                         capture_output=True, text=True)
    if out.returncode:
        raise SystemExit(f"bench: stream: {out.stdout} {out.stderr}")
    return json.loads(out.stdout)


def registry():
    p = Peer("muster").start()
    request(p.port, "PUT", "/v1/catalog/register", {
        "Node": "stream", "Address": "127.0.0.1"})
    return p


def quiet(p):
    for i in range(20):
        request(p.port, "PUT", "/v1/catalog/register", {
            "Node": "stream", "Address": "127.0.0.1", "SkipNodeUpdate": True,
            "Service": {"ID": f"q{i}", "Service": "quiet", "Port": i}})


class Floor:
    """bench/floor; folder: where it makes its writes durable, or None."""

    def __init__(self, body, folder=None):
        self.port = free_port()
        self.process = subprocess.Popen(
            [str(OUT / "floor"), str(self.port), str(CORES), str(body),
             *([folder + "/floor"] if folder else [])], stderr=subprocess.DEVNULL)
        time.sleep(0.3)

    def stop(self):
        self.process.kill()
        self.process.wait()


def wake(streams, polls, consul=False):
    """p50 and p99 of each kind, rounds interleaved."""
    p = registry()
    stream("wake", p.port, "w", 1, 0, 1)
    body = len(request(p.port, "GET", "/v1/health/service/w")[1])
    kinds = {"muster": p, "floor": Floor(body), "durable": Floor(body, p.folder)}
    if consul:
        kinds["consul"] = Peer("consul").start()
        request(kinds["consul"].port, "PUT", "/v1/catalog/register",
                {"Node": "stream", "Address": "127.0.0.1"})
    p50, p99 = ({k: [] for k in kinds} for _ in range(2))
    for _ in range(ROUNDS):
        for kind, at in kinds.items():
            lag = stream("wake", at.port, "w", streams, polls, 3)["lag"]
            p50[kind].append(lag["p50_ms"])
            p99[kind].append(lag["p99_ms"])
    for at in kinds.values():
        at.stop()
    return p50, p99


def row_stream():
    for streams, polls in ((1000, 0), (5000, 0), (8000, 8000)):
        p50, p99 = wake(streams, polls)
        what = f"{streams} streams" + (f", {polls} polls" if polls else "")
        row(f"{what}, one change: p50", "ms", p50, "floor <= 1.3")
        row(f"{what}, one change: p99", "ms", p99, "floor <= 1.3")
    stream_memory()


def row_propagation():
    """From the write until everybody has it: streams, and long polls beside those
    of Consul, in one run."""
    for n in (100, 1000, 5000):
        p50, p99 = wake(n, 0)
        row(f"{n} streams, one change: p50", "ms", p50)
        row(f"{n} streams, one change: p99", "ms", p99)
        p50, p99 = wake(0, n, bool(CONSUL and REAL_CONSUL))
        row(f"{n} long polls, one change: p50", "ms", p50)
        row(f"{n} long polls, one change: p99", "ms", p99)


def stream_memory(streams=8000):
    """Resident growth while streams wait; the same after all came back at once
    to a server just started."""
    p = registry()
    stream("wake", p.port, "w", 1, 0, 1)
    p.stop(keep=True)
    peak, idle, settled = [], [], []
    for _ in range(ROUNDS):
        p.start()
        before = p.memory_kb("VmRSS")
        h = subprocess.Popen([str(OUT / "stream"), "hold", str(p.port), "w",
                              str(streams)], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        settled.append(json.loads(h.stdout.readline())["whole"]["max_ms"])
        time.sleep(1)
        idle.append((p.memory_kb("VmRSS") - before) * 1024 / streams)
        peak.append(p.memory_kb("VmHWM") / p.memory_kb("VmRSS"))
        h.stdin.close()
        h.wait()
        p.stop(keep=True)
    row("memory per idle stream", "bytes", {"muster": idle}, "<= 2,048")
    row(f"{streams} streams at once after a start", "ms", {"muster": settled})
    row("the same, peak over steady memory", "times", {"muster": peak}, "<= 2")


def latency(port, seconds):
    """p99 in ms of one client's queries of a quiet service."""
    ask = b"GET /v1/health/service/quiet?passing HTTP/1.1\r\nHost: x\r\n\r\n"
    took, end = [], time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < end:
            at, got, whole = time.monotonic(), b"", 1
            s.sendall(ask)
            while len(got) < whole:
                got += s.recv(1 << 20)
                head = got.find(b"\r\n\r\n")
                whole = len(got) + 1
                if head > 0:
                    length = got[:head].lower().split(b"content-length: ")[1]
                    whole = head + 4 + int(length.split(b"\r\n")[0])
            took.append((time.monotonic() - at) * 1e3)
            time.sleep(0.003)
    return sorted(took)[len(took) * 99 // 100]


@contextlib.contextmanager
def apart(p):
    """The server before the load generator, this client before both: what is left
    is the server's own delay, not who gets one of the cores. Yields the words that
    start the generator so."""
    for thread in os.listdir(f"/proc/{p.process.pid}/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(5))
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(7))
    try:
        yield ["chrt", "-r", "4"]
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def row_streamstorm():
    storm("storm", lambda p: contextlib.nullcontext([]))
    if os.geteuid() == 0:
        storm("storm, each with its own priority", apart)
    else:
        skip("storm, each with its own priority", "only root may set it")


def storm(what, priorities, streams=1000, rate=1000, seconds=10):
    p = registry()
    with priorities(p) as words:
        one_storm(p, words, what, streams, rate, seconds)
    p.stop()


def one_storm(p, words, what, streams, rate, seconds):
    quiet(p)
    calm = latency(p.port, 5)
    before = p.memory_kb("VmRSS")
    got = {}
    t = threading.Thread(target=lambda: got.update(
        stream("storm", p.port, "w", INSTANCES, streams, rate, seconds,
               words=words)))
    t.start()
    time.sleep(3)  # until the instances are registered and the streams open
    meanwhile = latency(p.port, seconds - 3)
    t.join()
    line = {"row": what, **got, "query_p99_ms": [calm, meanwhile],
            "mib": [before / 1024, p.memory_kb("VmHWM") / 1024]}
    results.append(line)
    print(f"{what}: {got['changes_per_s']:.0f} changes/s, {streams} streams: "
          f"{got['least_kb_s']:.0f} to {got['most_kb_s']:.0f} kB/s each, all "
          f"have the last change after {got['last']['max_ms']:.0f} ms; query "
          f"p99 {calm:.2f} -> {meanwhile:.2f} ms; memory "
          f"{before / 1024:.0f} -> {p.memory_kb('VmHWM') / 1024:.0f} MiB peak",
          flush=True)
