# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Prepared queries on a running server: waited for, kept over a restart, executed
over HTTP and DNS. What each request means is tests/unit and tests/differential."""

import json

import dns_client as dns
import muster


def fill(server):
    for n in range(4):
        assert server.put("/v1/catalog/register", {
            "Node": f"n{n}", "Address": f"10.0.0.{n}",
            "Service": {"Service": "web", "Port": 80 + n}}).status == 200


def make(server, name, /, **more):
    """more: members of Service. The ID."""
    body = {"Name": name, "Service": {"Service": "web", **more}}
    answer = server.request("POST", "/v1/query", body=json.dumps(body).encode())
    assert answer.status == 200, answer.text
    return answer.json["ID"]


def nodes(server, path):
    return [e["Node"]["Node"] for e in server.get(path).json["Nodes"]]


def place(server, node, x):
    assert server.put("/v1/coordinate/update", {
        "Node": node, "Coord": {"Vec": [x, 0, 0, 0, 0, 0, 0, 0]}}).status == 200


def test_who_waits_for_queries_is_woken_by_them_alone(server):
    fill(server)
    make(server, "before")
    index = server.get("/v1/query").index
    poll = muster.Poll(server, "/v1/query", index)
    muster.until(lambda: muster.parked(server) >= 1, "parked")
    assert server.put("/v1/catalog/register", {
        "Node": "other", "Address": "10.1.0.0"}).status == 200
    ident = make(server, "after")
    answer = poll.result()
    assert {q["Name"] for q in answer.json} >= {"before", "after"}
    assert answer.index == next(
        q["ModifyIndex"] for q in answer.json if q["ID"] == ident)


def test_near_sorts_over_http_and_dns(make_server):
    port = muster.free_port()
    s = make_server("-dns-port", str(port)).start()
    fill(s)
    for n in range(4):
        place(s, f"n{n}", 16 - n * n)
    make(s, "near", Near="_agent")
    muster.until(lambda: len(s.get("/v1/coordinate/nodes").json) == 5,
                 "coordinates in the catalog")
    assert nodes(s, "/v1/query/near/execute") == ["n3", "n2", "n1", "n0"]
    assert nodes(s, "/v1/query/near/execute?near=n1&limit=2") == ["n1", "n0"]
    for _ in range(5):
        m = dns.Message(dns.send_udp(port, dns.query("near.query.consul",
                                                     edns=1232)))
        assert [r.data for r in m.answer] == \
            [f"10.0.0.{n}" for n in (3, 2, 1, 0)]
    # They and the query are there after a restart.
    s.stop()
    s.start()
    assert nodes(s, "/v1/query/near/execute") == ["n3", "n2", "n1", "n0"]


def test_instances_of_a_query_come_in_every_order(server):
    fill(server)
    make(server, "any")
    first = {nodes(server, "/v1/query/any/execute?limit=1")[0]
             for _ in range(100)}
    assert first == {"n0", "n1", "n2", "n3"}


def test_a_long_execution_is_shuffled_too(server):
    for i in range(1200):
        server.put("/v1/catalog/register", {
            "Node": f"m{i}", "Address": "10.2.0.1",
            "Service": {"Service": "many"}})
    make(server, "many", Service="many")
    a = nodes(server, "/v1/query/many/execute")
    b = nodes(server, "/v1/query/many/execute")
    assert len(a) == 1200 and a != b and sorted(a) == sorted(b)
