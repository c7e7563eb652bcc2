# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Draining with proof where agents stand between: those who read there count as
those at a server do, and a drain asked of an agent says safe.

The longest wait is two seconds, for the agents too (see test_drain.py).
"""

import http.client
import json
import threading

import dns_client as dns
import pytest

import agents
import muster
from muster import free_port, until
from streams import Stream

BRIEF = {"max_query_time": "2s"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = muster.Server(tmp_path_factory.mktemp("server"), name="server-1",
                      config=BRIEF).start()
    yield s
    s.stop()


@pytest.fixture(scope="module")
def make_agent(tmp_path_factory, server):
    made = []

    def make(name, **kw):
        config = {**BRIEF, **kw.pop("config", {})}
        a = agents.Agent(tmp_path_factory.mktemp(name), server, name=name,
                         config=config, bind=f"127.0.0.{len(made) + 2}", **kw)
        made.append(a)
        return a.start()

    yield make
    for a in made:
        if a.process.poll() is None:
            assert a.stop() == 0
        print(f"--- {a.name}\n{a.log()[-3000:]}")


@pytest.fixture(scope="module")
def agent(make_agent):
    return make_agent("app-1")


@pytest.fixture(scope="module")
def other(make_agent):
    return make_agent("app-2")


def knows_all(*processes):
    for p in processes:
        until(lambda p=p: p.get("/v1/muster/watchers/none?local")
              .json["Complete"], f"{p.name} knows of all")


@pytest.fixture
def web(request, server, agent):
    """A service of this test alone, with one instance at the agent."""
    name = request.node.name.replace("_", "-")
    a = agent.put("/v1/agent/service/register",
                  {"Name": name, "ID": name + "-1", "Port": 80})
    assert a.status == 200, a.text
    until(lambda: server.get(f"/v1/health/service/{name}?look").json, "it is there")
    knows_all(server, agent)
    yield name
    agent.put(f"/v1/agent/service/deregister/{name}-1")


def follow(at, name, label, query="?passing"):
    s = Stream(at, f"/v1/health/service/{name}{query}",
               headers=[f"X-Muster-Subscriber: {label}"])
    s.ready()
    return s


def ack(at, s):
    a = at.put("/v1/muster/ack",
               [{"Subscriber": s.subscriber, "Index": s.last_id}])
    assert a.json["Taken"] == 1, a.text


def drain(at, name, query="wait=1500ms"):
    a = at.put(f"/v1/agent/service/drain/{name}-1?{query}")
    assert a.status == 200, a.text
    return a.json


def safe(at, name, query="wait=2s"):
    until(lambda: drain(at, name, query)["Result"] == "safe", "all let go")


def test_a_drain_asked_of_an_agent_says_safe(server, agent, web):
    stream = follow(server, web, "front")

    def let_go():
        [e] = stream.change()
        assert (e.name, e.data["Why"]) == ("remove", "drained")
        ack(server, stream)
    t = threading.Thread(target=let_go)
    t.start()
    got = drain(agent, web, "wait=2s")
    t.join()
    assert got["Result"] == "safe", got
    assert [(s["Node"], s["Answered"]) for s in got["Servers"]] == [
        ("server-1", True)]
    stream.close()


def test_who_refuses_behind_another_agent_is_named(server, agent, other, web):
    knows_all(other)
    stubborn = follow(other, web, "stubborn")
    fine = follow(other, web, "fine")

    def let_go():
        fine.change()
        ack(other, fine)
    t = threading.Thread(target=let_go)
    t.start()
    t2 = threading.Thread(target=stubborn.change)
    t2.start()
    until(lambda: [(r.get("Agent"), r["Label"]) for r in
                   drain(agent, web, "wait=1s")["Waiting"]]
          == [("app-2", "stubborn")], "only who has not let go is named")
    t.join()
    t2.join()
    rows = server.get(f"/v1/muster/watchers/{web}").json["Subscribers"]
    [row] = [r for r in rows if r.get("Agent")]
    assert (row["Label"], row["Agent"], row["Server"]) == (
        "stubborn", "app-2", "server-1")
    ack(other, stubborn)
    safe(agent, web)
    stubborn.close()
    fine.close()


def test_a_poll_behind_an_agent_counts(server, agent, other, web):
    path = f"/v1/health/service/{web}?passing"
    label = {"X-Muster-Subscriber": "poller"}
    first = other.get(path + "&index=1&wait=10ms", headers=label)
    label["X-Muster-Subscriber-Id"] = first.headers["x-muster-subscriber-id"]
    until(lambda: ("app-2", "poller") in [
        (r.get("Agent"), r["Label"])
        for r in drain(agent, web, "wait=0s")["Waiting"]], "it is named")
    second = other.get(f"{path}&index={first.index}&wait=1s", headers=label)
    other.get(f"{path}&index={second.index}&wait=10ms", headers=label)
    safe(agent, web)


def test_readers_at_an_agent_are_unproven(server, agent, other, web):
    other.get(f"/v1/health/service/{web}?index=1&wait=10ms")
    got = []

    def named():
        got[:] = [drain(agent, web, "wait=100ms")]
        return got[0]["Result"] == "unknown" and got[0]["Unproven"]
    until(named, "the reader is told of")
    assert [(u["Agent"], u["Server"]) for u in got[0]["Unproven"]] == [
        ("app-2", "server-1")]
    safe(agent, web, "wait=1s&trust-unproven")


def test_a_drain_at_the_server_waits_for_agents_too(server, agent, other):
    name = "of-the-server"
    server.put("/v1/agent/service/register", {"Name": name, "ID": name + "-1"})
    knows_all(server, other)
    stream = follow(other, name, "behind")
    got = drain(server, name, "wait=100ms")
    assert got["Result"] == "waiting", got
    stream.change()
    ack(other, stream)
    safe(server, name)
    stream.close()
    server.put(f"/v1/agent/service/deregister/{name}-1")


def test_dns_answers_of_an_agent_must_have_run_out(
        server, agent, make_agent, web):
    port = free_port()
    named = make_agent("app-3", extra=["-dns-port", str(port)], config={
        "dns_config": {"service_ttl": {web: "1h"}}})
    named.get(f"/v1/health/service/{web}?index=1&wait=10ms",
              headers={"X-Muster-Subscriber": "x"})
    assert len(dns.ask(port, f"{web}.service.consul", "SRV").answer) == 1
    got = drain(agent, web, "wait=0s&trust-unproven")
    until(lambda: drain(agent, web, "wait=0s&trust-unproven")["DnsMs"] > 3500000,
          "its answers count")
    got = drain(agent, web, "wait=0s&trust-unproven")
    assert got["Result"] == "waiting", got


def test_an_agent_started_again_is_not_known_for_a_while(
        server, agent, other, web):
    other.get(f"/v1/health/service/{web}?index=1&wait=10ms",
              headers={"X-Muster-Subscriber": "x"})
    other.kill()
    other.start()
    other.wait_serves()
    other.get(f"/v1/health/service/{web}?index=1&wait=10ms",
              headers={"X-Muster-Subscriber": "y"})
    assert drain(agent, web, "wait=0s")["Result"] != "safe"
    safe(agent, web)


# --- What agents say ---------------------------------------------------------


def tell(server, body):
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    c.request("PUT", "/v1/peer/behind",
              body if isinstance(body, str) else json.dumps(body))
    r = c.getresponse()
    answer = r.status, r.read().decode()
    c.close()
    return answer


def test_what_agents_say_wrongly_is_refused(server):
    s = follow(server, "web", "an agent")
    good = {"Subscriber": s.subscriber, "Agent": "a", "Index": 0}
    row = {"Subscriber": "x", "Service": "web", "Target": "/" + "t" * 900,
           "Stream": True, "Applied": 1}
    assert tell(server, good)[0] == 200
    assert tell(server, {**good, "Behind": [row] * 512})[0] == 200
    for change, status, text in (
            ({"Subscriber": "f" * 32}, 409, "No stream"),
            ({"Subscriber": "x" * 100000}, 409, "No stream"),
            ({"Index": 1 << 60}, 409, "never sent"),
            ({"Agent": ""}, 400, "1 to 512"),
            ({"Agent": "a" * 1000000}, 400, "1 to 512"),
            ({"Behind": [row] * 513}, 413, "512"),
            ({"Behind": [None]}, 400, ""),
            ({"Readers": [{"Service": "w", "Peer": "p"}] * 4097}, 413, "4096"),
            ({"Dns": [{"Service": "w", "TtlMs": 1}] * 129}, 413, "128"),
            ({"Index": "x"}, 400, "Index")):
        got = tell(server, {**good, **change})
        assert got[0] == status and text in got[1], (str(change)[:60], got)
        assert len(got[1]) < 300
    assert tell(server, "nonsense")[0] == 400
    # The table has a bound for all of them together.
    streams = [follow(server, "web", "an agent") for _ in range(130)]
    got = [tell(server, {**good, "Subscriber": x.subscriber,
                         "Behind": [row] * 512}) for x in streams]
    assert got[0][0] == 200 and got[-1][0] == 429, got[-1]
    for x in [s, *streams]:
        x.close()
