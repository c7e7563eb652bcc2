# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A server and an agent on hosts of their own, with wires between that are slow, cut
or lossy."""

import base64

import pytest

import agents
import netlab
from muster import until

WHY = netlab.why_not()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
KEY = base64.b64encode(b"0123456789abcdef").decode()


@pytest.fixture(scope="module")
def net():
    n = netlab.Net(2)
    yield n
    n.close()


@pytest.fixture(scope="module")
def pair(net, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    both = [netlab.Server(net[1], folder / "s", "-bootstrap-expect", "1",
                          "-encrypt", KEY, name="far"),
            netlab.Server(net[2], folder / "a", "-encrypt", KEY, "-retry-join",
                          net[1].address, server=False, name="near")]
    for p in both:
        p.start()
    until(lambda: agents.status_of(both[0], "near") == "passing", "it joined")
    yield both
    for p in both:
        p.kill()
        print(f"--- {p.name}\n{p.log()[-4000:]}")


@pytest.fixture(autouse=True)
def healed(net):
    yield
    net.heal()


def unsent(host):
    """Sockets of the host that have told a peer's listener something that it has
    not acknowledged."""
    lines = host.run("cat", "/proc/net/tcp").stdout.splitlines()[1:]
    sockets = [line.split() for line in lines]
    return [s for s in sockets if s[2].endswith(f":{netlab.LAN:04X}")
            and not s[4].startswith("00000000:")]


def test_what_a_cut_has_held_back_does_not_come_late(net, pair):
    """A beat that arrives after its agent has died would make it alive."""
    agent = pair[1]
    net.both(1, 2, cut=1)
    until(lambda: unsent(net[2]), "a beat is on its way")
    agent.kill()
    until(lambda: not unsent(net[2]), "nothing waits to be sent any more")
    net.heal()
    agent.start()
    until(lambda: agents.status_of(pair[0], "near") == "passing", "it is back")


def test_an_agent_that_is_behind_an_index_answers_none_below_it(net, pair):
    server, agent = pair
    server.register("n", "slow")
    index = server.get("/v1/health/service/slow").index
    assert agent.get(f"/v1/health/service/slow?index={index - 1}").index == index
    net.link(1, 2, delay_ms=500)
    server.register("n", "slow", "another")
    index = server.get("/v1/health/service/slow").index
    answer = agent.get(f"/v1/health/service/slow?index={index}&wait=10ms")
    assert answer.index == index
    assert len(answer.json) == 2
