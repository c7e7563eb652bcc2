# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster's registrations: at an agent, and without one."""

import os
import shutil
import subprocess

import pytest

import muster
from libmuster import (EINVAL, EREFUSED, ETIMEOUT, Client, address)


def instances(server, name="web"):
    answer = server.get(f"/v1/health/service/{name}").json
    return {e["Service"]["ID"]: e for e in answer}


def status_of(server, instance):
    checks = instances(server)[instance]["Checks"]
    return [c["Status"] for c in checks if c["ServiceID"] == instance]


def test_a_registration_beats_and_says_goodbye(make_server, make_client):
    server = make_server(dev=True).start()
    c = make_client(address(server))
    c.ok("register web web-7 7007 2000 3")
    c.ok("registered 10000")
    entry = instances(server)["web-7"]
    assert entry["Service"]["Port"] == 7007
    assert entry["Service"]["Weights"] == {"Passing": 3, "Warning": 1}
    assert status_of(server, "web-7") == ["passing"]
    muster.until(lambda: c.status()["instances"] == "1", "it finds itself")
    c.ok("health warning")
    muster.until(lambda: status_of(server, "web-7") == ["warning"], "a warning")
    c.ok("health passing")
    muster.until(lambda: status_of(server, "web-7") == ["passing"], "well again")
    c.ok("deregister 10000")
    assert instances(server) == {}
    c.ok("close")


def test_an_agent_that_forgets_is_told_again(make_server, make_client):
    server = make_server(dev=True)
    c = make_client(address(server))
    c.ok("register web web-1 7001 1500 1")  # nobody is there yet
    assert c.error("registered 300") == ETIMEOUT
    server.start()
    c.ok("registered 15000")
    server.kill()
    server.start()  # its memory is gone
    muster.until(lambda: "web-1" in instances(server), "registered again")
    c.ok("close")


def test_a_dead_program_is_noticed(make_server, make_client):
    server = make_server(dev=True).start()
    c = Client()
    c.ok(f"open {address(server)} - 0 thread")
    c.ok("register web web-1 7001 1000 1")
    c.ok("registered 10000")
    c.process.kill()
    c.process.wait()
    muster.until(lambda: status_of(server, "web-1") == ["critical"], "its ttl")


def test_a_registration_may_be_refused(make_server, make_client):
    server = make_server(dev=True).start()
    c = make_client(address(server))
    assert c.error("register web web-1 0 0 1") == EINVAL
    assert c.error("register web web-1 80 5 1") == EINVAL
    c.ok("register web web-1 80 0 70000")  # a weight that the agent refuses
    word, number, text = c.ask("registered 10000").split(" ", 2)
    assert (word, int(number)) == ("error", -10) and "400" in text
    c.ok("close")


def test_what_it_says_of_itself_is_found(make_server, make_client):
    server = make_server(dev=True).start()
    c = make_client(address(server), zone="za", priority=3)
    c.ok("register web web-1 7001 0 2")
    c.ok("registered 10000")
    meta = instances(server)["web-1"]["Service"]["Meta"]
    assert meta == {"zone": "za", "priority": "3"}
    muster.until(lambda: "web-1@127.0.0.1:7001,w=2,p=3,z=za" in c.ok("each"),
                 "itself")
    c.ok("close")


@pytest.mark.parametrize("node", [None, "printer"])
def test_health_that_changes_on_the_way_is_told_at_once(make_server, make_client,
                                                        node):
    """Not with the next beat, which is ten minutes away."""
    server = make_server(dev=True).start()
    c = make_client(address(server), **({"node": node} if node else {}))
    c.ok("register web web-1 7001 1800000 1")
    c.ok("health warning")
    c.ok("health critical")
    muster.until(lambda: "web-1" in instances(server) and
                 status_of(server, "web-1") == ["critical"], "critical")
    c.ok("close")


def test_it_never_goes_to_another_agent(make_server, make_client):
    """Two agents would own two copies: `servers` are for reads."""
    agent, other = make_server(dev=True).start(), make_server(dev=True).start()
    c = make_client(f"{address(other)},{address(agent)}", agent=address(agent))
    c.ok("register web web-1 7001 1500 1")
    c.ok("registered 10000")
    agent.kill()
    muster.until(lambda: any("registration of web-1" in x for x in c.lines),
                 "beats that fail")
    assert instances(other) == {}
    agent.start()
    muster.until(lambda: "web-1" in instances(agent), "registered again")
    assert instances(other) == {}
    c.ok("close")


def test_no_beat_comes_from_a_child(make_server, make_client):
    server = make_server(dev=True).start()
    c = make_client(address(server))
    c.ok("register web web-1 7001 10000 1")
    c.ok("registered 10000")
    muster.until(lambda: c.status()["instances"] == "1", "itself")
    c.ok("pick")
    c.ok("fork")  # the child tries health, deregister and more
    assert status_of(server, "web-1") == ["passing"]
    c.ok("close")


# --- Without an agent ---------------------------------------------------------

def ghost(server, instance):
    for node in server.get("/v1/muster/ghosts").json["Nodes"]:
        for s in node["Services"]:
            if s["ServiceID"] == instance:
                return node | s
    return None


def test_without_an_agent_it_stands_on_a_node_of_its_own(make_server, make_client):
    server = make_server(dev=True).start()
    c = make_client(address(server), node="printer")
    c.ok("register web web-1 7001 5000 2")
    c.ok("registered 10000")
    entry = instances(server)["web-1"]
    assert entry["Node"]["Node"] == "printer"
    assert entry["Node"]["Address"] == "127.0.0.1"
    assert entry["Service"]["Meta"]["muster-ttl"] == "5000ms"
    assert status_of(server, "web-1") == ["passing"]
    index = server.get("/v1/health/service/web").index
    before = muster.until(lambda: ghost(server, "web-1")["LastConfirmed"], "a beat")
    muster.until(lambda: ghost(server, "web-1")["LastConfirmed"] > before, "another")
    # A beat changes nothing and wakes nobody.
    assert server.get("/v1/health/service/web").index == index
    c.ok("health critical")
    muster.until(lambda: status_of(server, "web-1") == ["critical"], "critical")
    c.ok("health passing")
    muster.until(lambda: status_of(server, "web-1") == ["passing"], "passing")
    c.ok("deregister 10000")
    assert instances(server) == {}
    c.ok("close")


def test_who_dies_without_an_agent_goes_by_its_time_to_live(make_server):
    server = make_server(dev=True).start()
    c = Client()
    c.ok("set node printer")
    c.ok(f"open {address(server)} - 0 thread")
    c.ok("register web web-1 7001 5000 1")
    c.ok("registered 10000")
    c.process.kill()
    c.process.wait()
    muster.until(lambda: instances(server) == {}, "gone")


def test_any_server_takes_its_beats(make_server, make_client):
    """The first is not there, then is; the other dies."""
    one, two = make_server(dev=True), make_server(dev=True).start()
    c = make_client(f"{address(one)},{address(two)}", node="printer")
    c.ok("register web web-1 7001 5000 1")
    c.ok("registered 10000")
    assert "web-1" in instances(two)
    one.start()
    two.kill()
    muster.until(lambda: "web-1" in instances(one), "the other server has it")
    c.ok("deregister 10000")
    assert instances(one) == {}
    c.ok("close")


def test_without_an_agent_it_must_say_enough(make_client):
    c = make_client("127.0.0.1:1", node="printer")
    assert c.error("register web web-1 7001 4999 1") == EINVAL  # for ever
    assert c.error("register web web-1 7001 0 1") == EINVAL
    c.ok("register web web-1 7001 5000 1")
    assert c.error("registered 300") == ETIMEOUT
    assert c.error("deregister 10000") == ETIMEOUT  # nobody took it
    c.ok("close")


def test_a_consul_is_not_asked_to_keep_it_for_ever(make_client, tmp_path):
    consul = os.environ.get("CONSUL") or shutil.which("consul")
    if not consul:
        pytest.skip("no consul in $CONSUL or PATH")
    port, *more = muster.free_ports(4)
    ports = f"ports {{ dns = -1 grpc = -1 serf_lan = {more[0]} " \
            f"serf_wan = {more[1]} server = {more[2]} http = {port} }}"
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(
            [consul, "agent", "-dev", "-bind", "127.0.0.1", "-hcl", ports],
            stdout=log, stderr=log)
    try:
        server = muster.Server(tmp_path / "unused")
        server.port, server.process = port, process
        server.wait_ready()
        c = make_client(f"127.0.0.1:{port}", node="printer")
        c.ok("register web web-1 7001 5000 1")
        word, number, text = c.ask("registered 10000").split(" ", 2)
        assert (word, int(number)) == ("error", EREFUSED)
        assert "no muster" in text and "agent" in text
        assert instances(server) == {}
        c.ok("close")
    finally:
        process.kill()
        process.wait()
