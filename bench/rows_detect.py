# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Row of bench/run: how long a dead target stays in the answers.

Each target is a small HTTP server with a service and an HTTP check of its own;
a long poll on ?passing waits for each. Targets die at moments spread evenly over
two check intervals: the listening socket and all connections close, as when a
process is killed. Measured is the time from there until the long poll answers
without the instance."""

import asyncio
import json
import statistics
import time

from harness import CONSUL, REAL_CONSUL, Peer, request, row, skip

TARGETS = 40
FINE = (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"
        b"Content-Type: text/plain\r\n\r\nfine")


class Target:
    """An HTTP server that can be killed."""

    def __init__(self):
        self.writers = set()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(FINE)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]

    def kill(self):
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()


async def ask(port, path):
    """One GET on a connection of its own: the body and X-Consul-Index."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                 .encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" in head:
        body = body[body.index(b"["):body.rindex(b"]") + 1]
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"x-consul-index:"):
            return json.loads(body), int(line.split(b":")[1])
    raise AssertionError(head)


async def wait_for(port, name, present):
    """Until the instance is in the passing answers, or out of them."""
    index = 0
    while True:
        rows, index = await ask(
            port, f"/v1/health/service/{name}?passing&index={index}&wait=60s")
        if bool(rows) == present:
            return time.monotonic()


async def one(port, i, interval_s):
    target = Target()
    await target.start()
    name = f"d{interval_s}-{i}"
    await asyncio.to_thread(request, port, "PUT", "/v1/agent/service/register", {
        "Name": name, "Port": target.port,
        "Check": {"HTTP": f"http://127.0.0.1:{target.port}/",
                  "Interval": f"{interval_s}s", "Timeout": "1s"}})
    await wait_for(port, name, True)
    gone = asyncio.ensure_future(wait_for(port, name, False))
    await asyncio.sleep(1 + 2 * interval_s * i / TARGETS)
    killed = time.monotonic()
    target.kill()
    return (await gone) - killed


async def all_of(port, interval_s):
    return await asyncio.gather(*[one(port, i, interval_s)
                                  for i in range(TARGETS)])


def row_detect():
    kinds = ["muster"] + (["consul"] if CONSUL and REAL_CONSUL else [])
    if len(kinds) == 1:
        skip("detect, Consul's side", "no real Consul in $CONSUL or PATH")
    for interval_s in (1, 10):
        took = {}
        for kind in kinds:
            p = Peer(kind).start()
            took[kind] = sorted(asyncio.run(all_of(p.port, interval_s)))
            p.stop()
        for name, at in (("p50", TARGETS // 2), ("p90", TARGETS * 9 // 10),
                         ("max", TARGETS - 1)):
            row(f"detection, HTTP check at {interval_s} s, {name}", "s",
                {k: [v[at]] for k, v in took.items()},
                f"<= {interval_s} s and a run" if name == "max" else "")
        mean = {k: [statistics.mean(v)] for k, v in took.items()}
        row(f"detection, HTTP check at {interval_s} s, mean", "s", mean,
            f"{interval_s / 2:g} s if deaths fall anywhere")
