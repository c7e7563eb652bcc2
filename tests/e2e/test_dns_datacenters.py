# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Names of another datacenter, asked of a server that does not keep them."""

import json

import agents
import dns_client as dns
import muster
import pytest

EDE = 15


class Server(muster.Server):
    def __init__(self, folder, dc, *extra):
        self.dns = muster.free_port()
        super().__init__(folder / dc, "-dns-port", str(self.dns), "-datacenter",
                         dc, *extra, name="node-" + dc)

    def ask(self, name, qtype="A", **kw):
        return dns.ask(self.dns, name, qtype, edns=1232, **kw)


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
