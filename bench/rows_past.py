# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The row of bench/run about questions to the past."""

import json
import socket
import statistics
import subprocess
import threading
import time

from harness import OUT, Peer, load, request, results

INSTANCES = 50_000
REVISIONS = 200_000
RATE = 200  # registrations a second while the past is read
NAME = "svc-7"


def flip(port, n):
    """n changes of status, one after the other: each is a revision of its own."""
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(n):
        at = i * 7919 % INSTANCES
        body = json.dumps({
            "Node": f"node-{at % 100}", "Address": "10.0.0.1", "SkipNodeUpdate": True,
            "Check": {"CheckID": f"check-i-{at}", "Name": "alive",
                      "ServiceID": f"i-{at}", "Output": "ok",
                      "Status": ("critical", "passing")[i // INSTANCES % 2]}})
        s.sendall(f"PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nContent-Length: "
                  f"{len(body)}\r\n\r\n{body}".encode())
        assert s.recv(4096).endswith(b"true"), i
    s.close()


def registrations(port, prefix):
    out = subprocess.run([str(OUT / "load"), str(port), "16", str(RATE * 10), "500",
                          "100", prefix, str(RATE)], capture_output=True, text=True,
                         check=True)
    return json.loads(out.stdout)


def timed(port, path):
    began = time.monotonic()
    status, body, headers = request(port, "GET", path)
    assert status == 200, (status, body[:200])
    return (time.monotonic() - began) * 1e3, body, headers


def meanwhile(port, paths, prefix):
    """Registrations while these are asked over and over."""
    stop = threading.Event()
    took = []

    def ask():
        while not stop.is_set():
            for path in paths():
                took.append(timed(port, path)[0])
    asker = threading.Thread(target=ask)
    asker.start()
    figures = registrations(port, prefix)
    stop.set()
    asker.join()
    return figures, took


def row_past():
    """A history and ?at over 50,000 instances and 200,000 revisions, and what
    registrations take meanwhile. muster only."""
    p = Peer("muster").start()
    load(p.port, 64, INSTANCES)
    flip(p.port, REVISIONS)
    before = p.memory_kb("VmRSS") / 1024
    history = f"/v1/muster/history/service/{NAME}"
    took, body, _ = timed(p.port, history)
    told = json.loads(body)
    first, last = told["From"]["Revision"], told["Until"]["Revision"]
    print(f"past: {INSTANCES} instances, {last} revisions, {len(told['Changes'])} "
          f"changes of {NAME}, memory {before:.0f} MiB", flush=True)
    figures = {"history_ms": [took] + [timed(p.port, history)[0] for _ in range(4)],
               "history_last_1000_revisions_ms": [
                   timed(p.port, history + f"?since={last - 1000}")[0] for _ in range(5)]}
    middles = [first + (last - first) * i // 6 for i in range(1, 6)]
    figures["at_first_ms"] = [timed(p.port, f"/v1/health/service/{NAME}?at={m}")[0]
                              for m in middles]
    figures["at_again_ms"] = [timed(p.port, f"/v1/catalog/service/{NAME}?at={middles[-1]}")[0]
                              for _ in range(20)]
    figures["explain_ms"] = [
        timed(p.port, f"/v1/muster/explain/health/service/{NAME}")[0] for _ in range(3)]
    for name, v in figures.items():
        print(f"  {name:34} median {statistics.median(v):8.1f} of {len(v)}, "
              f"{min(v):.1f} to {max(v):.1f}", flush=True)
    writes = {"alone": (registrations(p.port, "alone"), [])}
    writes["beside histories"] = meanwhile(p.port, lambda: [history], "history")
    moments = iter(range(first + 5, last))
    writes["beside ?at of ever new moments"] = meanwhile(
        p.port, lambda: [f"/v1/health/service/{NAME}?at={next(moments)}"], "moment")
    for name, (w, asked) in writes.items():
        print(f"  {RATE} registrations/s {name:31} p50 {w['p50_us'] / 1e3:6.2f} ms  p99 "
              f"{w['p99_us'] / 1e3:7.2f}  max {w['max_us'] / 1e3:8.2f}  "
              f"({len(asked)} questions answered)", flush=True)
    print(f"  memory {before:.0f} -> {p.memory_kb('VmRSS') / 1024:.0f} MiB (peak "
          f"{p.memory_kb('VmHWM') / 1024:.0f})", flush=True)
    results.append({"row": "past", "instances": INSTANCES, "revisions": last,
                    **{k: statistics.median(v) for k, v in figures.items()},
                    "writes": {k: v[0] for k, v in writes.items()}})
    p.stop()
