# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Catalog and health routes: what is registered is found, in Consul's shapes."""

import json

import muster


def test_a_fresh_server_shows_its_own_node_and_service(server):
    nodes = server.get("/v1/catalog/nodes")
    own = [n for n in nodes.json if n["Node"] == "node-a"][0]
    assert nodes.headers["x-consul-knownleader"] == "true"
    assert nodes.headers["x-consul-lastcontact"] == "0"
    assert nodes.index >= 2
    assert own["Address"] == "127.0.0.1"
    assert set(own["TaggedAddresses"]) >= {"lan", "wan"}
    health = server.get("/v1/health/service/consul").json
    assert [e["Service"]["ID"] for e in health] == ["consul"]
    assert "serfHealth" in [c["CheckID"] for c in health[0]["Checks"]]


def test_a_registration_is_found_under_every_route(server):
    server.register("n1", "web", "web-1", port=8080, Tags=["v1", "eu"],
                    Meta={"k": "v"},
                    checks=[{"CheckID": "web-check", "Name": "alive",
                             "ServiceID": "web-1", "Status": "passing",
                             "Output": "ok"}])
    row = server.get("/v1/catalog/service/web").json[0]
    assert row["Node"] == "n1" and row["Address"] == "10.0.0.1"
    assert row["ServiceID"] == "web-1" and row["ServicePort"] == 8080
    assert row["ServiceTags"] == ["v1", "eu"]
    assert row["ServiceMeta"] == {"k": "v"}
    assert row["ServiceWeights"] == {"Passing": 1, "Warning": 1}
    entry = server.get("/v1/health/service/web?passing").json[0]
    assert entry["Node"]["Node"] == "n1"
    assert entry["Service"]["Service"] == "web"
    check = entry["Checks"][0]
    assert check["CheckID"] == "web-check" and check["Output"] == "ok"
    assert check["ServiceName"] == "web" and check["ServiceTags"] == ["v1", "eu"]
    assert server.get("/v1/catalog/services").json["web"] == ["eu", "v1"]
    assert "web-1" in server.get("/v1/catalog/node/n1").json["Services"]
    listed = server.get("/v1/catalog/node-services/n1").json["Services"]
    assert [s["ID"] for s in listed] == ["web-1"]
    assert server.get("/v1/health/node/n1").json[0]["CheckID"] == "web-check"
    assert server.get("/v1/health/checks/web").json[0]["CheckID"] == "web-check"
    states = server.get("/v1/health/state/passing").json
    assert "web-check" in [c["CheckID"] for c in states]
    assert server.get("/v1/health/state/nonsense").json == []


def test_names_are_found_in_any_case(server):
    server.register("Node-Case", "CaseSvc", "CaseSvc-1")
    assert server.get("/v1/catalog/service/casesvc").json[0]["ServiceName"] == "CaseSvc"
    assert server.get("/v1/catalog/node/node-case").json["Node"]["Node"] == "Node-Case"


def test_passing_leaves_out_warning_and_critical_and_sick_nodes(server):
    for i, status in enumerate(["passing", "warning", "critical"]):
        server.register(f"p{i}", "filtered", f"f-{i}", checks=[
            {"CheckID": f"c{i}", "ServiceID": f"f-{i}", "Name": "c",
             "Status": status}])
    server.register("p9", "filtered", "f-9")
    got = server.get("/v1/health/service/filtered?passing").json
    assert [e["Service"]["ID"] for e in got] == ["f-0", "f-9"]
    server.put("/v1/catalog/register", {
        "Node": "p9", "Address": "10.0.0.1",
        "Check": {"CheckID": "node", "Name": "node", "Status": "critical"}})
    got = server.get("/v1/health/service/filtered?passing=1").json
    assert [e["Service"]["ID"] for e in got] == ["f-0"]
    assert len(server.get("/v1/health/service/filtered").json) == 4
    assert server.get("/v1/health/service/filtered?passing=x").status == 400


def test_tags_and_node_meta_are_joined_by_and(server):
    server.put("/v1/catalog/register", {
        "Node": "m1", "Address": "10.0.0.2", "NodeMeta": {"rack": "a"},
        "Service": {"Service": "tagged", "ID": "t1", "Tags": ["x", "y"]}})
    server.put("/v1/catalog/register", {
        "Node": "m2", "Address": "10.0.0.3",
        "Service": {"Service": "tagged", "ID": "t2", "Tags": ["x"]}})

    def ids(query):
        return [r["ServiceID"]
                for r in server.get("/v1/catalog/service/tagged" + query).json]
    assert ids("") == ["t1", "t2"]
    assert ids("?tag=X") == ["t1", "t2"]
    assert ids("?tag=x&tag=y") == ["t1"]
    assert ids("?tag=") == []
    assert ids("?node-meta=rack:a") == ["t1"]
    assert ids("?node-meta=rack:b") == []
    assert list(server.get("/v1/catalog/services?node-meta=rack:a").json) == ["tagged"]


def test_equal_registrations_move_no_index(server):
    server.register("idle", "still", "still-1")
    before = server.get("/v1/health/service/still")
    server.register("idle", "still", "still-1")
    after = server.get("/v1/health/service/still")
    assert before.body == after.body
    assert before.index == after.index


def test_deregistration_by_service_check_and_node(server):
    server.register("d1", "gone", "g1", checks=[
        {"CheckID": "gc", "Name": "gc", "ServiceID": "g1", "Status": "passing"}])
    server.register("d1", "gone", "g2")

    def drop(**body):
        a = server.put("/v1/catalog/deregister", {"Node": "d1", **body})
        assert (a.status, a.text) == (200, "true")
    drop(CheckID="gc")
    assert server.get("/v1/health/node/d1").json == []
    drop(ServiceID="g1")
    assert [r["ServiceID"] for r in server.get("/v1/catalog/service/gone").json] == ["g2"]
    drop()
    assert server.get("/v1/catalog/service/gone").json == []
    assert server.get("/v1/catalog/node/d1").text == "null"
    drop()  # nothing there: still true


def test_what_is_missing_is_empty_or_null_as_in_consul(server):
    assert server.get("/v1/catalog/service/nope").text == "[]"
    assert server.get("/v1/health/service/nope").text == "[]"
    assert server.get("/v1/catalog/node/nope").text == "null"
    assert server.get("/v1/catalog/node-services/nope").json == {
        "Node": None, "Services": None}
    for path, text in [("/v1/catalog/service/", "Missing service name"),
                       ("/v1/catalog/node/", "Missing node name"),
                       ("/v1/health/service/", "Missing service name"),
                       ("/v1/health/node/", "Missing node name"),
                       ("/v1/health/state/", "Missing check state")]:
        a = server.get(path)
        assert (a.status, a.text) == (400, text)


def test_refusals_name_what_is_wrong_and_register_nothing(server):
    before = server.get("/v1/catalog/nodes").index
    cases = [
        ({}, 500, "Must provide node"),
        ({"Node": "x"}, 500, "Must provide address if SkipNodeUpdate is not set"),
        ({"Node": "x", "Address": "1.1.1.1", "ID": "abc"}, 500, "wrong length"),
        ({"Node": "x", "Address": "1.1.1.1", "Service": {"ID": "s"}}, 500,
         "Must provide service name with ID"),
        ({"Node": "x", "Address": "1.1.1.1",
          "Service": {"Service": "s", "Address": "0.0.0.0"}}, 500,
         "Invalid service address"),
        ({"Node": "x", "Address": "1.1.1.1",
          "Check": {"Name": "c", "ServiceID": "none"}}, 500,
         "Missing service registration"),
        ({"Node": "x", "Address": "1.1.1.1",
          "Check": {"Name": "c", "Node": "other"}}, 500,
         'check node "other" does not match node "x"'),
        ({"Node": "x", "Address": "1.1.1.1", "Datacenter": "dc9"}, 500,
         "No path to datacenter"),
        ({"Node": 5}, 400, "cannot unmarshal number"),
    ]
    for body, status, text in cases:
        a = server.put("/v1/catalog/register", body)
        assert a.status == status and text in a.text, (body, a.status, a.text)
    assert server.get("/v1/catalog/node/x").text == "null"
    assert server.get("/v1/catalog/nodes").index == before


def test_pretty_indents_and_means_the_same(server):
    plain = server.get("/v1/catalog/nodes")
    pretty = server.get("/v1/catalog/nodes?pretty")
    assert plain.json == pretty.json
    assert pretty.text == json.dumps(plain.json, indent=4) + "\n"


def test_gzip_on_request_gives_the_same_body(server):
    import gzip
    for i in range(20):
        server.register("zip", "zipped", f"z{i}")
    plain = server.get("/v1/health/service/zipped")
    packed = server.get("/v1/health/service/zipped",
                        headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) * 4 < len(plain.body)


def test_members_of_newer_clients_come_back_under_every_route(server):
    newer = {
        "SocketPath": '/run/a,"Ports":[\\"x/',
        "Ports": [{"Name": "http", "Port": 8080, "Default": True},
                  {"Name": 'a"b', "Port": 9090}],
        "Locality": {"Region": 'eu,"Zone"', "Zone": "1a"},
        "AI": {"Ports": [1, {"Locality": 2}]},
    }
    body = {"Name": "newer", "Tags": ["t"], **newer}
    assert server.put("/v1/agent/service/register", body).status == 200
    own = server.get("/v1/agent/service/newer").json
    found = server.get("/v1/health/service/newer").json[0]["Service"]
    row = server.get("/v1/catalog/service/newer").json[0]
    older = ("ServiceAddress", "ServiceConnect", "ServiceEnableTagOverride",
             "ServiceID", "ServiceKind", "ServiceMeta", "ServiceName",
             "ServicePort", "ServiceProxy", "ServiceTags", "ServiceWeights")
    rows_names = {k for k in row if k.startswith("Service")} - set(older)
    assert rows_names == {"Service" + k for k in newer}
    for name in newer:
        assert own[name] == found[name] == row["Service" + name], name
    assert own["SocketPath"] == newer["SocketPath"]
    assert own["Locality"] == newer["Locality"]
    assert [p["Port"] for p in own["Ports"]] == [8080, 9090]
    assert own["AI"] == newer["AI"]


def test_strange_names_survive(server):
    for name in ["a b", "a/b", "a%b", "ä€", "x'\"<&>", "a+b=c"]:
        server.register("odd", name, name)
        path = "/v1/catalog/service/" + muster.quote(name)
        rows = server.get(path).json
        assert [r["ServiceID"] for r in rows] == [name]
