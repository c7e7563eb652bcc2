# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of bench/run about datacenters: two of muster and two of a real Consul, each a
server on a host of its own (tests/e2e/netlab.py), with 80 ms each way and 1 % of the
packets lost between. What mirrors cost the wire, what they save, and what a link that
is cut does to local answers."""

import json
import os
import re
import sys
import time

from harness import CONSUL, OUT, REAL_CONSUL, ROOT, ROUNDS, SECONDS, WRK, row, skip

sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import muster  # noqa: E402
import netlab  # noqa: E402

INSTANCES = int(os.environ.get("WAN_INSTANCES", "50000"))
SERVICES, NODES = 500, 100
CHANGES = 1000
ARRIVAL_S = 15
SAMPLE = "/v1/health/service/svc-1?passing"


def load(server, n, prefix="i", services=SERVICES, rate=0):
    out = server.host.run(OUT / "load", 8500, 16, n, services, NODES, prefix, rate)
    if out.returncode:
        sys.exit(f"bench: load: {out.stdout} {out.stderr}")


def wrk(server, path, connections=32):
    """Answers a second, and ms of the 50th and 99th percentile."""
    out = server.host.run(WRK, f"-t{min(2, connections)}", f"-c{connections}",
                          f"-d{SECONDS}s", "--latency", "--timeout", "60s",
                          "http://127.0.0.1:8500" + path).stdout
    if "Non-2xx" in out or "Requests/sec" not in out:
        sys.exit(f"bench: wrk {path}:\n{out}")
    ms = {"us": 1e-3, "ms": 1, "s": 1e3}

    def percentile(p):
        n, unit = re.search(rf"{p}%\s+([\d.]+)(us|ms|s)", out).groups()
        return float(n) * ms[unit]

    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            percentile(50), percentile(99))


class Consul(netlab.Server):
    def command(self):
        number = self.host.number
        return self.host.command(
            [CONSUL, "agent", "-server", "-bootstrap-expect=1", "-node=" + self.name,
             f"-datacenter=dc{number}", "-bind=" + self.bind,
             "-client=127.0.0.1", f"-data-dir={self.folder}/data", "-log-level=err",
             "-hcl=performance { raft_multiplier = 1 }",
             "-hcl=limits { http_max_conns_per_client = 19000 }",
             *(["-retry-join-wan=10.77.0.1", "-retry-interval-wan=1s"]
               if number > 1 else [])])


def consuls():
    d = netlab.Datacenters(2)
    d.servers = [Consul(h, d.folder / f"consul{h.number}", name=f"c{h.number}")
                 for h in d.net.hosts]
    d.start()
    load(d.servers[1], INSTANCES // SERVICES, services=1)
    return d


def whole(d):
    """Until the first one's mirror has what the second has."""
    a, b = d.servers

    def there():
        mine = a.get("/v1/catalog/services?stale&dc=dc2")
        return (mine.headers.get("x-muster-mirror") == "dc2"
                and mine.headers["x-consul-knownleader"] == "true"
                and mine.index >= b.get("/v1/catalog/services").index)
    muster.until(there, "the mirror", 300)


def musters():
    """The first one is started when the second has everything, so that the wire
    counts what a whole datacenter costs."""
    d = netlab.Datacenters(2, extra=("-hcl",
                                     "limits { http_max_conns_per_client = 19000 }"))
    a, b = d.servers
    b.start()
    load(b, INSTANCES)
    before, begun = total(d), time.monotonic()
    a.start()
    whole(d)
    return d, total(d) - before, time.monotonic() - begun


def total(d):
    return d.net.count(1, 2)["bytes"] + d.net.count(2, 1)["bytes"]


def quiet(d, seconds):
    before = total(d)
    time.sleep(seconds)
    return (total(d) - before) / seconds


def changed(d, n, prefix):
    before, begun = total(d), time.monotonic()
    load(d.servers[1], n, prefix, rate=500)
    whole(d)
    return total(d) - before, time.monotonic() - begun


def bytes_on_the_wire(d, full, took):
    idle = quiet(d, 10)
    row("WAN, a whole datacenter mirrored", "kB", {"muster": [full / 1e3]},
        f"{INSTANCES} instances, in {took:.1f} s")
    row("WAN, nothing changes, both ways", "B/s", {"muster": [idle]})
    n, t = changed(d, CHANGES, "c")
    row("WAN, one change", "B", {"muster": [(n - idle * t) / CHANGES]},
        f"{CHANGES} at 500/s, {n} B, of it idle {idle * t:.0f}")
    for changes in (0, CHANGES):
        d.net.both(1, 2, cut=1)
        time.sleep(15)
        if changes:
            load(d.servers[1], changes, "s")
        before = total(d)
        d.heal()
        whole(d)
        time.sleep(3)
        row(f"WAN, after a split with {changes} changes", "kB",
            {"muster": [(total(d) - before) / 1e3]},
            f"{(total(d) - before) / full:.2%} of a full transfer")


def reads(d, other):
    a = d.servers[0]
    load(a, 100, "local", services=1)  # svc-0, as many as there
    ways = {"mirrored": (a, SAMPLE + "&stale&dc=dc2"),
            "forwarded": (a, SAMPLE + "&dc=dc2"),
            "local": (a, SAMPLE.replace("svc-1", "svc-0"))}
    if other:
        ways["consul"] = (other.servers[0], SAMPLE.replace("svc-1", "svc-0") + "&dc=dc2")
    for connections in (32, 1):
        got = {k: [] for k in ways}
        for _ in range(ROUNDS):
            for k, (server, path) in ways.items():
                got[k].append(wrk(server, path, connections))
        for i, (what, unit) in enumerate((("rate", "1/s"), ("p50", "ms"), ("p99", "ms"))):
            row(f"WAN, a service of dc2, {connections} connections, {what}", unit,
                {k: [x[i] for x in v] for k, v in got.items()})


def local(d):
    """Local answers while the link is cut, beside before and after, interleaved."""
    a = d.servers[0]
    path, got = SAMPLE.replace("svc-1", "svc-0"), {"whole": [], "cut": []}
    for _ in range(max(3, ROUNDS)):
        got["whole"].append(wrk(a, path))
        d.net.both(1, 2, cut=1)
        time.sleep(4)  # it is noticed
        got["cut"].append(wrk(a, path))
        d.heal()
        whole(d)
    for i, (what, unit) in enumerate((("rate", "1/s"), ("p50", "ms"), ("p99", "ms"))):
        m = {k: sorted(x[i] for x in v) for k, v in got.items()}
        middle = {k: v[len(v) // 2] for k, v in m.items()}
        row(f"local answers, link whole or cut, {what}", unit, m,
            f"cut/whole {middle['cut'] / middle['whole']:.2f}, <= 1.1")


def written(a):
    """Registrations here, one at a time, 200 each second whatever becomes of the ones
    before: ms of the 99th percentile and of the longest."""
    out = a.host.run(OUT / "load", 8500, 16, 200 * ARRIVAL_S, 1, 1, "here", 200)
    if out.returncode:
        sys.exit(f"bench: load: {out.stdout} {out.stderr}")
    took = json.loads(out.stdout)
    return took["p99_us"] / 1e3, took["max_us"] / 1e3


def row_arrival():
    """What those who write here wait while all of another datacenter arrives."""
    why = netlab.why_not()
    if why:
        skip("arrival", why)
        return
    d = netlab.Datacenters(2)
    a, b = d.servers
    try:
        b.start()
        load(b, INSTANCES)
        got = {"arriving": [], "there": []}
        for _ in range(ROUNDS):
            a.start()
            got["arriving"].append(written(a))
            whole(d)
            got["there"].append(written(a))
            a.stop()
        for i, what in enumerate(("p99", "max")):
            row(f"WAN, a local write, {what}", "ms",
                {k: [x[i] for x in v] for k, v in got.items()},
                f"while {INSTANCES} instances of dc2 arrive, and afterwards")
    finally:
        d.close(show=False)


def row_wan():
    why = netlab.why_not()
    if why:
        skip("wan", why)
        return
    other = consuls() if CONSUL and REAL_CONSUL else None
    if not other:
        skip("wan, Consul's side", "no real Consul in $CONSUL or PATH")
    d, full, took = musters()
    try:
        bytes_on_the_wire(d, full, took)
        reads(d, other)
        local(d)
    finally:
        d.close(show=False)
        if other:
            other.close(show=False)
