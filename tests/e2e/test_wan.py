# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Two and three datacenters: joined, asked for each other's services, failed over
to, cut off and left, each of them one server on loopback."""

import base64
import json
import os

import muster
import pytest


def start(folder, dc, *extra):
    return muster.Server(folder / dc, "-datacenter", dc, *extra,
                         name="node-" + dc).start()


def wan_port(server):
    return server.other_ports[1]


def join(server, other):
    return server.put(f"/v1/agent/join/127.0.0.1:{wan_port(other)}?wan=1")


def datacenters(server):
    return server.get("/v1/catalog/datacenters").json


def register(server, node, service, path="", **more):
    return server.put("/v1/catalog/register" + path, {
        "Node": node, "Address": "10.0.0.1", "Service": {"Service": service},
        **more})


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wan")
    a = start(folder, "dc1")
    # One joins by a setting, one by a request; the rest they tell each other.
    b = start(folder, "dc2", "-retry-join-wan", f"127.0.0.1:{wan_port(a)}")
    c = start(folder, "dc3")
    assert join(c, b).status == 200
    # When a join is answered both know of each other, whoever is asked.
    assert "dc2" in datacenters(c)
    assert "dc3" in datacenters(b)
    for s in (a, b, c):
        muster.until(lambda s=s: len(datacenters(s)) == 3, "three datacenters")
    yield a, b, c
    for s in (a, b, c):
        s.stop()


def test_all_know_all(three):
    for s in three:
        own = s.get("/v1/agent/self").json["Config"]["Datacenter"]
        assert datacenters(s)[0] == own
        assert sorted(datacenters(s)) == ["dc1", "dc2", "dc3"]
        members = s.get("/v1/agent/members?wan=1").json
        assert sorted(m["Name"] for m in members) == \
            ["node-dc1.dc1", "node-dc2.dc2", "node-dc3.dc3"]
        assert {m["Status"] for m in members} == {1}
        assert {m["Tags"]["dc"] for m in members} == {"dc1", "dc2", "dc3"}
        assert len(s.get("/v1/coordinate/datacenters").json) == 3
        assert len(s.get("/v1/agent/members").json) == 1


def test_reads_and_writes_go_where_they_are_meant(three):
    a, b, _ = three
    assert register(b, "there", "far").status == 200
    answer = a.get("/v1/catalog/service/far?dc=dc2")
    assert [r["Node"] for r in answer.json] == ["there"]
    assert answer.json[0]["Datacenter"] == "dc2"
    assert answer.index == b.get("/v1/catalog/service/far").index
    assert answer.headers["x-consul-effective-consistency"] == "leader"
    assert answer.headers["content-type"] == "application/json"
    assert a.get("/v1/catalog/service/far").json == []
    # By the query and by the body.
    assert register(a, "one", "from-a", "?dc=dc2").json is True
    assert register(a, "two", "from-a", Datacenter="dc2").json is True
    assert len(b.get("/v1/catalog/service/from-a").json) == 2
    assert a.get("/v1/catalog/service/from-a").json == []
    assert a.put("/v1/catalog/deregister",
                 {"Node": "two", "Datacenter": "dc2"}).status == 200
    assert len(b.get("/v1/catalog/service/from-a").json) == 1
    # An error is the other's, as it is.
    bad = a.put("/v1/catalog/register?dc=dc2", {"Node": ""})
    assert (bad.status, bad.text) == (500, "Must provide node")
    assert a.get("/v1/health/state/nope?dc=dc2").json == []
    assert a.get("/v1/query/none/execute?dc=dc2").status == 404
    assert a.get("/v1/status/leader?dc=dc2").json == \
        b.get("/v1/status/leader").json


def test_long_polls_wait_there(three):
    a, b, _ = three
    index = a.get("/v1/health/service/polled?dc=dc3").index
    poll = muster.Poll(a, "/v1/health/service/polled?dc=dc3", index)
    muster.until(lambda: muster.parked(three[2]) >= 1, "parked there")
    register(three[2], "x", "polled")
    answer = poll.result()
    assert len(answer.json) == 1 and answer.index > index


def test_an_event_is_fired_where_it_is_meant(three):
    a, b, c = three
    sent = a.put("/v1/event/fire/far?dc=dc2", b"x")
    assert sent.status == 200, sent.text

    def heard(s):
        return [e["ID"] for e in s.get("/v1/event/list?name=far").json]
    assert heard(b) == [sent.json["ID"]]
    assert heard(a) == heard(c) == []
    answer = a.put("/v1/event/fire/far?dc=nope")
    assert (answer.status, answer.text) == (500, "No path to datacenter")


def test_what_nobody_knows_is_refused(three):
    a = three[0]
    answer = a.get("/v1/catalog/nodes?dc=nope")
    assert (answer.status, answer.text) == (500, "No path to datacenter")
    assert answer.headers["x-consul-knownleader"] == "false"
    answer = register(a, "x", "y", "?dc=nope")
    assert (answer.status, answer.text) == (500, "No path to datacenter")
    # The agent's own routes know of no others.
    assert a.get("/v1/agent/services?dc=nope").status == 200


def query(server, name, **service):
    answer = server.request("POST", "/v1/query", body=json.dumps(
        {"Name": name, "Service": service}).encode())
    assert answer.status == 200, answer.text


def test_queries_fail_over(three):
    a, b, c = three
    register(c, "last", "spread")
    query(a, "listed", Service="spread",
          Failover={"Datacenters": ["dc9", "dc1", "dc2", "dc3"]})
    answer = a.get("/v1/query/listed/execute").json
    assert [n["Node"]["Node"] for n in answer["Nodes"]] == ["last"]
    assert (answer["Datacenter"], answer["Failovers"]) == ("dc3", 2)
    query(a, "near", Service="spread", Failover={"NearestN": 2})
    answer = a.get("/v1/query/near/execute").json
    assert answer["Datacenter"] == "dc3" and 1 <= answer["Failovers"] <= 2
    query(a, "targets", Service="spread",
          Failover={"Targets": [{"Datacenter": "dc3"}]})
    answer = a.get("/v1/query/targets/execute").json
    assert (answer["Datacenter"], answer["Failovers"]) == ("dc3", 1)
    # Nobody has it.
    query(a, "nobody", Service="none", Failover={"NearestN": 5})
    answer = a.get("/v1/query/nobody/execute").json
    assert (answer["Nodes"], answer["Datacenter"], answer["Failovers"]) == \
        ([], "dc1", 2)
    # Once it is here, nobody else is asked.
    register(a, "here", "spread")
    answer = a.get("/v1/query/listed/execute").json
    assert (answer["Datacenter"], answer["Failovers"]) == ("dc1", 0)


def test_equal_names_are_refused_by_name(three, tmp_path):
    a = three[0]
    same = muster.Server(tmp_path / "same", "-datacenter", "dc2",
                         name="node-dc2").start()
    other = muster.Server(tmp_path / "other", "-datacenter", "dc1",
                          name="elsewhere").start()
    try:
        answer = join(same, three[1])
        assert answer.status == 500
        assert "two servers call themselves \"node-dc2.dc2\"" in answer.text
        answer = join(other, a)
        assert answer.status == 500
        assert "are both called \"dc1\"" in answer.text
        assert len(datacenters(a)) == 3
    finally:
        same.stop()
        other.stop()


def test_a_datacenter_that_is_gone_stays_known(three):
    a, b, c = three
    muster.until(lambda: "x-muster-mirror" in
                 a.get("/v1/catalog/nodes?dc=dc2&stale").headers, "a mirror")
    b.stop()
    # Until that is noticed the error is the connection's; then it is plain.
    def answer():
        return a.get("/v1/catalog/nodes?dc=dc2&consistent")
    first = answer()
    assert first.status == 500 and ("rpc error" in first.text or
                                    "no server currently" in first.text)
    muster.until(lambda: answer().text ==
                 "Remote DC has no server currently reachable", "it failed")
    # Who does not insist is told what is known.
    known = a.get("/v1/catalog/nodes?dc=dc2")
    assert known.status == 200
    assert known.headers["x-muster-mirror"] == "dc2"
    assert "dc2" in datacenters(a)
    status = {m["Name"]: m["Status"]
              for m in a.get("/v1/agent/members?wan=1").json}
    assert status["node-dc2.dc2"] == 4 and status["node-dc3.dc3"] == 1
    assert a.get("/v1/catalog/nodes").status == 200
    # Failover passes it over.
    query(a, "around", Service="around",
          Failover={"Datacenters": ["dc2", "dc3"]})
    register(c, "x", "around")
    got = a.get("/v1/query/around/execute").json
    assert (got["Datacenter"], got["Failovers"]) == ("dc3", 1)
    # Forced out it is known to nobody; of who lives that is nothing to anybody.
    force = "/v1/agent/force-leave/"
    nobody = a.put(force + "nobody.dc2?wan=1")
    assert (nobody.status, nobody.text) == \
        (500, "agent: No node found with name 'nobody.dc2'")
    assert a.put(force + "node-dc3.dc3?wan=1").status == 200
    assert a.put(force + "node-dc2.dc2?wan=1").status == 200
    for s in a, c:
        muster.until(lambda s=s: sorted(
            m["Name"] for m in s.get("/v1/agent/members?wan=1").json) ==
            ["node-dc1.dc1", "node-dc3.dc3"], "it is forgotten")
        assert sorted(datacenters(s)) == ["dc1", "dc3"]
    assert answer().text == "No path to datacenter"
    # It comes back by itself.
    b.start()
    muster.until(lambda: answer().status == 200, "it is back")


def keygen():
    return base64.b64encode(os.urandom(32)).decode()


def test_with_a_key_strangers_stay_outside(tmp_path):
    key = keygen()
    a = start(tmp_path, "dc1", "-encrypt", key)
    b = start(tmp_path, "dc2", "-encrypt", key, "-retry-join-wan",
              f"127.0.0.1:{wan_port(a)}")
    stranger = start(tmp_path, "dc3", "-encrypt", keygen())
    plain = start(tmp_path, "dc4")
    try:
        muster.until(lambda: len(datacenters(b)) == 2, "joined")
        register(b, "x", "secret")
        assert len(a.get("/v1/catalog/service/secret?dc=dc2").json) == 1
        for s in stranger, plain:
            assert join(s, a).status == 500
            assert len(datacenters(s)) == 1
        assert datacenters(a) == ["dc1", "dc2"]
    finally:
        for s in a, b, stranger, plain:
            s.stop()
