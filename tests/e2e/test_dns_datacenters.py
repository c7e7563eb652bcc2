# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Names of another datacenter: from its mirror, from its servers, while it is cut
off; and where queries fail over to."""

import contextlib
import json
import signal
import struct

import agents
import dns_client as dns
import muster
import pytest

EDE = 15
STALE, STALE_NXDOMAIN, NO_REACHABLE_AUTHORITY = 3, 19, 22


class Server(muster.Server):
    def __init__(self, folder, dc, *extra):
        self.dns = muster.free_port()
        super().__init__(folder / dc, "-dns-port", str(self.dns), "-datacenter",
                         dc, *extra, name="node-" + dc)

    def ask(self, name, qtype="A", **kw):
        return dns.ask(self.dns, name, qtype, edns=1232, **kw)


def why(message):
    """Code and text of the answer's extended error (RFC 8914), or None."""
    at, data = 0, message.opt[1]
    while at < len(data):
        code, n = struct.unpack_from("!HH", data, at)
        if code == EDE:
            (info,) = struct.unpack_from("!H", data, at + 4)
            return info, data[at + 6:at + 4 + n].decode()
        at += 4 + n
    return None


def code(message):
    return (why(message) or [None])[0]


@contextlib.contextmanager
def cut_off(server):
    """Nothing comes from it, and no connection breaks."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns-dc")
    a = Server(folder, "dc1").start()
    b = Server(folder, "dc2", "-retry-join-wan",
               f"127.0.0.1:{a.other_ports[1]}").start()
    for s in a, b:
        muster.until(lambda s=s: len(s.get("/v1/catalog/datacenters").json)
                     == 2, "two datacenters")
    put(a, "n1", "10.1.0.1", "web", 80)
    put(b, "n2", "10.2.0.1", "web", 82, Tags=["v2"])
    put(b, "n2", "10.2.0.1", "db", 90)
    yield a, b
    for s in a, b:
        s.stop()


def put(server, node, address, service, port, **more):
    body = {"Node": node, "Address": address,
            "Service": {"ID": f"{service}-{port}", "Service": service,
                        "Port": port, **more}}
    assert server.put("/v1/catalog/register", body).text == "true"


def test_a_datacenters_names_are_answered_elsewhere(two):
    a, b = two
    muster.until(lambda: a.ask("web.service.dc2.consul").rcode == "NOERROR",
                 "dc2 is known to DNS")
    for tcp in False, True:
        for name, address in (("web.service.dc2.consul", "10.2.0.1"),
                              ("web.service.dc2.dc.consul", "10.2.0.1"),
                              ("v2.web.passing.dc2.consul", "10.2.0.1"),
                              ("n2.node.dc2.consul", "10.2.0.1"),
                              ("web.service.dc1.consul", "10.1.0.1"),
                              ("web.service.consul", "10.1.0.1")):
            m = a.ask(name, tcp=tcp)
            assert (m.rcode, m.values()) == ("NOERROR", [address]), name
        m = a.ask("_web._v2.service.dc2.consul", "SRV", tcp=tcp)
        assert m.values() == ["1 1 82 n2.node.dc2.consul."]
        assert [r.data for r in m.additional] == ["10.2.0.1"]
        for name in ("n1.node.dc2.consul", "db.service.consul",
                     "web.service.nope.consul"):
            assert a.ask(name, tcp=tcp).rcode == "NXDOMAIN", name


def test_a_query_of_another_datacenter_is_executed_there(two):
    a, b = two
    answer = b.request("POST", "/v1/query", body=json.dumps(
        {"Name": "stored-there", "Service": {"Service": "db"}}).encode())
    assert answer.status == 200, answer.text
    assert a.ask("stored-there.query.consul").rcode == "NXDOMAIN"
    assert a.ask("stored-there.query.dc2.consul").values() == ["10.2.0.1"]
    m = a.ask("stored-there.query.dc2.consul", "SRV")
    assert m.values() == ["1 1 90 n2.node.dc2.consul."]


def test_an_agent_asks_by_way_of_its_server(two, tmp_path):
    a, _ = two
    port = muster.free_port()
    agent = agents.Agent(tmp_path, a, name="agent",
                         extra=["-dns-port", str(port)]).start()
    try:
        for name in "web.service.dc2.consul", "n2.node.dc2.consul":
            for tcp in False, True:
                m = dns.ask(port, name, tcp=tcp)
                assert (m.rcode, m.values()) == ("NOERROR", ["10.2.0.1"])
        assert dns.ask(port, "web.service.dc9.consul").rcode == "NXDOMAIN"
    finally:
        agent.stop()


def mirrored(a):
    muster.until(lambda: "datacenter dc2 is followed" in a.log(), "a mirror")


def test_changes_arrive_in_the_mirror(two):
    a, b = two
    mirrored(a)
    for i in range(3):
        put(b, "n3", f"10.2.0.{3 + i}", "moving", 1)
        muster.until(lambda i=i: a.ask("moving.service.dc2.consul").values()
                     == [f"10.2.0.{3 + i}"], "the change is told")


def store_query(server, name, service, **failover):
    answer = server.request("POST", "/v1/query", body=json.dumps(
        {"Name": name, "Service": {"Service": service, "Failover": failover}}
    ).encode())
    assert answer.status == 200, answer.text


def test_while_it_is_cut_off_answers_are_old_and_say_so(two):
    a, b = two
    mirrored(a)
    muster.until(lambda: a.ask("web.service.dc2.consul").values()
                 == ["10.2.0.1"], "it is mirrored")
    assert why(a.ask("web.service.dc2.consul")) is None
    store_query(a, "over", "db", NearestN=1)
    store_query(a, "nobody", "no-such", Datacenters=["dc2"])
    m = a.ask("over.query.consul", "SRV")
    assert m.values() == ["1 1 90 n2.node.dc2.consul."] and why(m) is None
    live = a.get("/v1/query/over/execute")
    assert (live.json["Datacenter"], live.json["Failovers"]) == ("dc2", 1)
    assert live.json["KnownLeader"] is True
    assert "x-muster-mirror" not in live.headers
    with cut_off(b):
        muster.until(lambda: code(a.ask("web.service.dc2.consul")) == STALE,
                     "answers say that they are old")
        for tcp in False, True:
            m = a.ask("web.service.dc2.consul", tcp=tcp)
            assert (m.rcode, m.values()) == ("NOERROR", ["10.2.0.1"])
            assert code(m) == STALE
            assert "dc2 cannot be reached: as of" in why(m)[1]
        assert code(a.ask("n2.node.dc2.consul")) == STALE
        m = a.ask("none.service.dc2.consul")
        assert (m.rcode, code(m)) == ("NXDOMAIN", STALE_NXDOMAIN)
        assert why(a.ask("web.service.consul")) is None
        # Queries: nobody is here, and there it is as it was.
        m = a.ask("over.query.consul", "SRV")
        assert m.values() == ["1 1 90 n2.node.dc2.consul."]
        assert code(m) == STALE
        assert a.ask("nobody.query.consul").rcode == "NXDOMAIN"
        got = a.get("/v1/query/over/execute")
        assert [n["Node"]["Node"] for n in got.json["Nodes"]] == ["n2"]
        assert got.json["Datacenter"] == "dc2"
        assert got.json["KnownLeader"] is False
        assert got.json["LastContact"] > 0
        assert got.headers["content-type"] == "application/json"
        assert got.headers["x-muster-mirror"] == "dc2"
        assert got.headers["x-consul-effective-consistency"] == "stale"
        assert got.headers["x-consul-knownleader"] == "false"
        assert int(got.headers["x-consul-lastcontact"]) > 0
        none = a.get("/v1/query/nobody/execute").json
        assert (none["Nodes"], none["Datacenter"]) == ([], "dc1")
        # What is not mirrored has nobody to be asked.
        m = a.ask("stored-there.query.dc2.consul")
        assert (m.rcode, code(m)) == ("SERVFAIL", NO_REACHABLE_AUTHORITY)
    muster.until(lambda: why(a.ask("web.service.dc2.consul")) is None,
                 "it is back")
    muster.until(lambda: "x-muster-mirror" not in
                 a.get("/v1/query/over/execute").headers, "it is asked again")


def test_what_was_missed_is_told_without_a_copy(two):
    a, b = two
    mirrored(a)
    for i in range(300):
        put(b, f"many-{i % 10}", "10.3.0.1", "many", 1000 + i)
    muster.until(lambda: len(a.get(
        "/v1/catalog/service/many?dc=dc2&stale").json) == 300, "all of them")
    # It goes on alone; after another start it does not know what it removed.
    b.stop()
    joined, b.extra = b.extra, [
        "-dns-port", "-1", "-datacenter", "dc2", "-serf-wan-port", "-1"]
    b.start()
    put(b, "many-1", "10.3.0.9", "many", 5000)
    for i in range(5):
        assert b.put("/v1/catalog/deregister", {
            "Node": f"many-{i}", "ServiceID": f"many-{1000 + i}"}).text \
            == "true"
    b.stop()
    b.extra = joined
    b.start()

    def same():
        path = "/v1/catalog/service/many"
        return a.get(path + "?dc=dc2&stale").text == b.get(path).text
    muster.until(same, "the same on both sides")
    assert len(a.get("/v1/catalog/service/many?dc=dc2&stale").json) == 296
    told = [line for line in a.log().splitlines()
            if "has told what was missed" in line]
    assert told, a.log()
    assert int(told[-1].rsplit("bytes=", 1)[1]) < 100000
    assert a.ask("many.service.dc2.consul", tcp=True).rcode == "NOERROR"
