# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The network that other tests break: it does to packets what it is told, and
counts them."""

import contextlib
import pathlib
import socket
import threading
import time

import pytest

import netlab
from muster import until

WHY = netlab.why_not()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
PORT = 700


@pytest.fixture(scope="module")
def net():
    n = netlab.Net(3, seed=8)
    yield n
    n.close()


@pytest.fixture(autouse=True)
def healed(net):
    yield
    net.heal()


def echo(net, number, port):
    listener = net[number].listen(port)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                c, _ = listener.accept()
                with c:
                    while data := c.recv(65536):
                        c.sendall(data)

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.fixture(scope="module")
def talk(net):
    """A connection of host 1 to an echo on host 2."""
    with echo(net, 2, PORT), net[1].connect(("10.77.0.2", PORT)) as c:
        yield c


def round_trip(c, data=b"x"):
    begun = time.monotonic()
    c.sendall(data)
    got = b""
    while len(got) < len(data):
        got += c.recv(65536)
    assert got == data
    return time.monotonic() - begun


def counts(net, a, b, f):
    before = net.count(a, b)
    f()
    after = net.count(a, b)
    return {k: after[k] - before[k] for k in after}


def test_a_delay_is_that_long_at_least_and_one_way(net, talk):
    net.link(1, 2, delay_ms=60)
    assert round_trip(talk) >= 0.06
    net.link(2, 1, delay_ms=60)
    assert round_trip(talk) >= 0.12


def test_what_is_cut_arrives_when_the_cut_ends(net, talk):
    net.link(1, 2, cut=1)
    talk.sendall(b"later")
    talk.settimeout(0.3)
    with pytest.raises(socket.timeout):
        talk.recv(100)
    talk.settimeout(30)
    until(lambda: net.count(1, 2)["cut"] > 0, "the wire has seen it")
    assert net.count(2, 1)["cut"] == 0
    net.link(1, 2, cut=0)
    assert talk.recv(100) == b"later"


def test_bytes_are_counted_per_direction(net, talk):
    there = counts(net, 1, 2, lambda: round_trip(talk, b"y" * 100000))
    back = counts(net, 2, 1, lambda: None)
    # TCP says some of it twice where this process or the wire comes late.
    assert 100000 <= there["bytes"] < 200000
    assert there["passed_bytes"] == there["bytes"]
    assert back["bytes"] == 0
    assert net.count(1, 3)["bytes"] == 0


def test_tcp_gets_through_loss_doubles_and_reordering(net, talk):
    net.both(1, 2, loss=5, duplicate=5, reorder=5, delay_ms=2, jitter_ms=1)

    before = net.count(1, 2)
    for _ in range(10):
        round_trip(talk, b"z" * 50000)

    def arrived():
        """Acknowledgements may be on their way still."""
        now = net.count(1, 2)
        there = {k: now[k] - before[k] for k in now}
        return there if there["packets"] == there["lost"] + there["passed"] - \
            there["duplicated"] else None
    there = until(arrived, "all that was sent is lost or there")
    assert there["lost"] and there["duplicated"] and there["reordered"]


def test_a_slow_wire_has_a_queue_that_is_full_at_some_time(net, talk):
    net.link(1, 2, rate_kbit=2000, queue_kb=10)
    there = counts(net, 1, 2, lambda: round_trip(talk, b"q" * 100000))
    assert there["full"] > 0


def test_a_refused_port_is_refused_at_once_and_others_are_not(net):
    with echo(net, 3, 701), echo(net, 3, 702):
        net.link(1, 3, refuse=701)
        with pytest.raises(ConnectionRefusedError):
            net[1].connect(("10.77.0.3", 701))
        with net[1].connect(("10.77.0.3", 702)) as c:
            round_trip(c)
        with net[2].connect(("10.77.0.3", 701)) as c:
            round_trip(c)


def test_a_seed_loses_the_same_packets():
    def lost(seed):
        n = netlab.Net(2, seed)
        try:
            n.link(1, 2, loss=30)
            with n[1].here():
                s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with n[2].here():
                r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with s, r:
                r.bind(("10.77.0.2", 9))
                r.settimeout(30)
                for i in range(100):
                    s.sendto(bytes([i]), ("10.77.0.2", 9))
                until(lambda: n.count(1, 2)["packets"] == 100, "all sent")
                n.link(1, 2, loss=0)
                s.sendto(b"end", ("10.77.0.2", 9))
                got = []
                while (one := r.recv(10)) != b"end":
                    got.append(one[0])
                return got
        finally:
            n.close()

    assert lost(5) == lost(5) != lost(6)
    assert 40 < len(lost(5)) < 95


def test_a_wrong_word_is_refused_by_name(net):
    for words, why in ((("link", 1, 9), "1 to 3"), (("list",), "count"),
                       (("link", 1, 2, "loss=x"), "not a number"),
                       (("link", 1, 2, "los=1"), "delay_ms"),
                       (("link", 1, 2, "loss=101"), "range")):
        with pytest.raises(ValueError, match=why):
            net.ask(*words)


def test_nothing_is_left_of_hosts(tmp_path):
    n = netlab.Net(2)
    p = n[1].popen(["sleep", "1000"])
    space = pathlib.Path(n[1].space)
    assert n[1].run("true").returncode == 0
    assert space.exists()
    p.kill()
    p.wait()
    n.close()
    until(lambda: not space.exists(), "the namespace is gone")
