# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Three datacenters with 80 ms each way and 1 % of the packets lost between them, and
worse: what each knows of the others, how old it says that it is, and what that costs
the wires."""

import http.client
import re
import subprocess
import threading
import time

import pytest

import muster
import netlab
from muster import Poll, until

WHY = netlab.why_not()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
MANY = 1500
STEADY = 5


class Steady:
    """Asks a server over and over for a service of another datacenter, whose healthy
    instances may not be missing, whatever happens to the wires."""

    def __init__(self, server, dc):
        self.server, self.dc = server, dc
        self.looks, self.wrong = 0, []
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        path = f"/v1/health/service/steady?passing&stale&dc={self.dc}"
        while not self.end.is_set():
            try:
                answer = self.server.get(path)
            except (OSError, http.client.HTTPException) as e:
                self.wrong.append(str(e))
                return
            if answer.status != 200 or len(answer.json) != STEADY:
                self.wrong.append((self.dc, answer.status, answer.text[:200]))
            self.looks += 1
            self.end.wait(0.05)

    def stop(self):
        self.end.set()
        self.thread.join()


@pytest.fixture(scope="module")
def dcs():
    d = netlab.Datacenters()
    try:
        yield d.start()
    finally:
        d.close()


@pytest.fixture(scope="module")
def three(dcs):
    a, b, c = dcs.servers
    for s in (b, c):
        netlab.fill(s, "steady", STEADY)
    netlab.fill(b, "many", MANY)
    for dc in ("dc2", "dc3"):
        until(lambda dc=dc: len(mirrored(a, "steady", dc).json) == STEADY, dc)
    watchers = [Steady(a, "dc2"), Steady(a, "dc3")]
    yield a, b, c
    for w in watchers:
        w.stop()
        assert w.looks > 0 and not w.wrong, w.wrong[:3]


@pytest.fixture(autouse=True)
def healed(dcs):
    yield
    dcs.heal()


def mirrored(server, service, dc="dc2"):
    answer = server.get(f"/v1/health/service/{service}?stale&dc={dc}")
    assert answer.status == 200, answer.text
    return answer


def age_ms(answer):
    return int(answer.headers["x-consul-lastcontact"])


def plain(answer):
    """Without what a server that has been restarted does not know any more."""
    assert answer.status == 200, answer.text
    return re.sub(rb',"ReadySince":"[^"]*"', b"", answer.body)


def differences(a, b, dc="dc2", services=("many", "steady")):
    """Between what a has of b and what b has; none: []."""
    found = []
    for path in [f"/v1/health/service/{s}" for s in services] + \
            ["/v1/catalog/nodes", "/v1/catalog/services"]:
        theirs = b.get(path)
        mine = a.get(f"{path}?stale&dc={dc}")
        if plain(mine) != plain(theirs) or \
                mine.headers.get("x-muster-mirror") != dc:
            found.append((path, len(mine.body), len(theirs.body), mine.headers))
    return found


def known(server):
    """As what a server says of itself: the link is up."""
    return mirrored(server, "steady").headers["x-consul-knownleader"] == "true"


def equal(a, b, **kw):
    try:
        until(lambda: known(a) and not differences(a, b, **kw),
              "the mirror is what is there", 120)
    except AssertionError:
        print("differences:", differences(a, b, **kw))
        raise


def register(server, service, n, path=""):
    return server.put("/v1/catalog/register" + path, {
        "Node": "extra", "Address": "10.0.0.2",
        "Service": {"ID": f"{service}-{n}", "Service": service}})


def test_mirrored_answers_are_those_of_there(three):
    a, b, c = three
    equal(a, b)
    equal(c, b)
    answer = mirrored(a, "many")
    assert len(answer.json) == MANY
    assert answer.index == b.get("/v1/health/service/many").index


def test_a_cut_link_changes_ages_and_no_contents(dcs, three):
    a, b, c = three
    equal(a, b)
    kept = mirrored(a, "many")
    dcs.net.both(1, 2, cut=1)
    cut_at = time.monotonic()
    assert register(b, "many", "new").status == 200
    b.put("/v1/catalog/deregister", {"Node": "n0", "ServiceID": "many-0"})
    until(lambda: not known(a), "the cut is noticed")
    for path in ("/v1/health/service/many?dc=dc2",
                 "/v1/health/service/many?dc=dc2&stale"):
        asked_at = time.monotonic()
        answer = a.get(path)
        assert answer.body == kept.body
        assert answer.headers["x-consul-effective-consistency"] == "stale"
        # It cannot be younger than the cut.
        assert age_ms(answer) >= 1000 * (asked_at - cut_at) - 1
    # Who is not cut off has it already, and says so.
    equal(c, b)
    assert a.get("/v1/health/service/many?dc=dc2&consistent").status == 500
    assert a.get("/v1/health/service/many?dc=dc2&stale&max_stale=10ms"
                 ).status == 500
    assert register(a, "local", 1).status == 200
    dcs.heal()
    equal(a, b)
    b.put("/v1/catalog/deregister", {"Node": "extra", "ServiceID": "many-new"})
    netlab.fill(b, "many", 1)


@pytest.mark.parametrize("said_by", [1, 2])
def test_a_link_that_is_cut_one_way_is_cut(dcs, three, said_by):
    a, b, _ = three
    equal(a, b)
    kept = mirrored(a, "steady")
    dcs.net.link(said_by, 3 - said_by, cut=1)
    cut_at = time.monotonic()
    assert register(b, "oneway", said_by).status == 200
    until(lambda: not known(a), "the cut is noticed")
    asked_at = time.monotonic()
    answer = mirrored(a, "steady")
    assert answer.body == kept.body
    if said_by == 2:  # else beats still come, with how old they are
        assert age_ms(answer) >= 1000 * (asked_at - cut_at) - 1
    dcs.heal()
    equal(a, b, services=("many", "steady", "oneway"))


def test_no_acknowledged_write_is_lost_over_links_that_come_and_go(dcs, three):
    a, b, _ = three
    acknowledged, over = [], threading.Event()

    def write():
        n = 0
        while not over.is_set():
            answer = register(a, "ledger", n, "?dc=dc2")
            if answer.status == 200:
                acknowledged.append(f"ledger-{n}")
            n += 1

    t = threading.Thread(target=write)
    t.start()
    try:
        for what in ({"cut": 1}, {"loss": 30}, {"cut": 1}):
            want = len(acknowledged) + 3
            until(lambda: len(acknowledged) >= want, "writes get through", 60)
            dcs.net.both(1, 2, **what)
            dropped = sum(dcs.net.count()[k] for k in ("cut", "lost"))
            until(lambda: sum(dcs.net.count()[k] for k in ("cut", "lost"))
                  > dropped + 3, "the wires lose what was sent")
            dcs.heal()
    finally:
        over.set()
        t.join()
    have = {e["ServiceID"] for e in b.get("/v1/catalog/service/ledger").json}
    assert not set(acknowledged) - have
    equal(a, b, services=("ledger",))


def test_a_slow_link_delivers_everything_and_holds_up_nobody_here(dcs, three):
    a, b, _ = three
    dcs.net.link(2, 1, rate_kbit=512, queue_kb=64)
    netlab.fill(b, "bulk", 300, tag="x" * 200)
    assert len(b.get("/v1/health/service/bulk").json) == 300
    assert register(a, "local", 2).status == 200
    assert len(a.get("/v1/catalog/service/local").json) > 0
    equal(a, b, services=("bulk",))


def test_a_datacenter_that_restarts_whole_is_not_empty_meanwhile(dcs, three):
    a, b, _ = three
    equal(a, b)
    index = mirrored(a, "steady").index
    poll = Poll(a, "/v1/health/service/steady?stale&dc=dc2", index, wait="300s")
    kept = mirrored(a, "many")
    b.kill()
    until(lambda: not known(a), "it is noticed")
    assert mirrored(a, "many").body == kept.body
    b.start()
    equal(a, b)
    netlab.fill(b, "steady", STEADY, tag="changed")
    answer = poll.result(120)
    assert answer.status == 200 and len(answer.json) == STEADY
    assert answer.index >= index


def test_the_wires_carry_changes_and_not_catalogs(dcs, three):
    a, b, _ = three
    equal(a, b)
    net = dcs.net

    def carried(f):
        before = net.count(2, 1)["bytes"]
        f()
        equal(a, b, services=("steady", "few"))
        return net.count(2, 1)["bytes"] - before

    # The same looks and waits, with changes and without; TCP says things twice.
    few = carried(lambda: netlab.fill(b, "few", 200))
    assert few < 200 * 4096, "more than 4 KiB for a change"
    net.both(1, 2, cut=1)
    until(lambda: not known(a), "the cut is noticed")
    netlab.fill(b, "few", 20, tag="b")
    after = carried(dcs.heal)
    # All of it has MANY + 200 instances of some hundred bytes each.
    assert after < 150_000, "the whole catalog was sent again"
    print(f"bytes: {few / 200:.0f} a change, {after} after a split with 20")


def test_a_datacenter_larger_than_what_is_kept_for_slow_readers(dcs, three):
    """Of what a mirror is sent as snapshots (instances; checks) each is more than
    half of STREAM_TEXT_BYTES_MAX, and takes a while."""
    _, b, c = three
    n = 480
    netlab.fill(b, "huge", n, output="o" * 30000)
    c.kill()
    dcs.net.link(2, 3, rate_kbit=100_000, queue_kb=1000)
    c.start()

    def there():
        answer = c.get("/v1/catalog/services?stale&dc=dc2")
        return answer.headers.get("x-muster-mirror") == "dc2"

    until(there, "the mirror is whole", 120)
    assert len(mirrored(c, "huge").json) == n


def test_a_split_is_told_minute_by_minute():
    """The script behind the table in docs/benchmarks.md, with short minutes."""
    out = subprocess.run([muster.ROOT / "bench" / "split", "1", "8"], text=True,
                         capture_output=True, timeout=300)
    assert out.returncode == 0, out.stdout + out.stderr
    lines = out.stdout.splitlines()
    names = [line.split(" | ")[0].strip("| ") for line in lines[2:6]]
    assert names == ["before", "1 s", "1", "after"]
    stale, default, _, consistent = lines[4].split(" | ")[2:6]
    for cell in (stale, default):
        assert cell.startswith("20 from mirror") and "KnownLeader false" in cell
    assert consistent.startswith("500 ")
    assert "0 bytes came through in it" in lines[-1]
