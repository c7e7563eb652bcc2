# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Sections of cases.py: the catalog, the process, the mesh, events."""

from ask import (BAD_BODIES, Tried, check, drop_node, drop_service, get, node, put,
                 reads_of, service)


# --- Catalog ---

def catalog():
    yield node("n1")
    yield from reads_of("none", "n1")
    yield node("n1")  # nothing changes
    yield get("/v1/catalog/node/n1")
    yield node("n1", "10.0.0.2", NodeMeta={"rack": "a", "zone": ""},
               TaggedAddresses={"lan": "10.0.0.2", "wan": "1.2.3.4"})
    yield from reads_of("none", "n1")
    yield node("n1", "10.0.0.2")
    yield get("/v1/catalog/node/n1")
    yield node("n1", "10.0.0.2", ID="11111111-2222-3333-4444-555555555555",
               NodeMeta={}, TaggedAddresses={})
    yield get("/v1/catalog/node/n1")
    yield get("/v1/catalog/node/1111")
    yield node("n1", "10.0.0.2")
    yield get("/v1/catalog/node/n1")
    yield node("n1", Service={"Service": "api"})
    yield from reads_of("api", "n1")
    yield node("n1", Service={"ID": "api-1", "Service": "api", "Port": 1,
                              "Address": "10.5.0.1", "Tags": ["b", "a"],
                              "Meta": {"k": "v"}, "EnableTagOverride": True,
                              "TaggedAddresses": {"lan": {"Address": "x",
                                                          "Port": 3}},
                              "Weights": {"Passing": 3, "Warning": 0}})
    yield from reads_of("api", "n1")
    yield node("n1", Service={"ID": "api-1", "Service": "api",
                              "Tags": [], "Meta": {}, "Weights": {}})
    yield from reads_of("api", "n1")
    yield node("N1", Service={"ID": "API-1", "Service": "API"})
    yield from reads_of("api", "n1")
    yield node("n1", Check={"Name": "node check"})
    yield node("n1", Check={"CheckID": "c1", "Name": "c", "ServiceID": "api",
                            "Status": "passing", "Output": "o", "Notes": "n",
                            "Definition": {"HTTP": "http://x", "Interval": "10s",
                                           "Timeout": "1.5s", "Method": "GET",
                                           "Header": {"A": ["b"]},
                                           "TLSSkipVerify": True,
                                           "DeregisterCriticalServiceAfter": "1h"}})
    yield from reads_of("api", "n1")
    yield node("n1", Checks=[{"CheckID": "c2", "Name": "d", "Status": "weird",
                              "ServiceID": "api", "Definition": {"TCP": "x:1"}},
                             {"CheckID": "c3", "Status": "warning",
                              "ServiceName": "ignored", "ServiceTags": ["x"]}],
               Check={"CheckID": "c4", "Node": "n1", "ServiceID": "api-1",
                      "Type": "mine"})
    yield from reads_of("api", "n1")
    yield get("/v1/health/state/weird")
    yield get("/v1/health/state/warning")
    yield node("n2", "10.0.0.3", Service={"Service": "api", "Tags": ["c"]},
               NodeMeta={"rack": "a"})
    yield from (get(p) for p in (
        "/v1/catalog/services?node-meta=rack:a", "/v1/catalog/nodes?node-meta=rack:a",
        "/v1/catalog/nodes?node-meta=rack:b", "/v1/catalog/nodes?node-meta=rack",
        "/v1/catalog/service/api?node-meta=rack:a", "/v1/health/service/api?node-meta=rack:a",
        "/v1/health/checks/api?node-meta=rack:a", "/v1/health/state/any?node-meta=rack:a",
        "/v1/catalog/service/api?tag=c", "/v1/catalog/service/api?near=n2"))
    # Taking away.
    dereg = "/v1/catalog/deregister"
    yield put(dereg, {"Node": "n1", "CheckID": "c2"})
    yield put(dereg, {"Node": "n1", "CheckID": "nope"})
    yield put(dereg, {"Node": "n1", "ServiceID": "nope"})
    yield put(dereg, {"Node": "nope"})
    yield from reads_of("api", "n1")
    yield put(dereg, {"Node": "n1", "ServiceID": "API", "CheckID": "c3"})
    yield from reads_of("api", "n1")
    yield put(dereg, {"Node": "N1"})
    yield put(dereg, {"Node": "n2", "Datacenter": "dc1", "Address": "10.0.0.3"})
    yield from reads_of("api", "n1")


def renamed_service():
    """In the catalog a check keeps what it knew of its service."""
    yield node("f1", Service={"ID": "f", "Service": "old", "Tags": ["a"]},
               Check={"CheckID": "fc", "ServiceID": "f", "Name": "c"})
    yield node("f1", Service={"ID": "f", "Service": "new", "Tags": ["b"]})
    yield from reads_of("old", "f1")
    yield from reads_of("new", "f1")
    yield from drop_node("f1")


def bad_catalog():
    for path in ("/v1/catalog/register", "/v1/catalog/deregister"):
        for body in BAD_BODIES:
            yield put(path, body)
    bodies = [
        {"Address": "10.0.0.1"}, {"Node": ""}, {"Node": "b"}, {"Node": 1},
        {"Node": "b", "SkipNodeUpdate": True}, {"Node": "b", "Address": ""},
        {"ID": "x"}, {"ID": "g" * 36}, {"ID": 1}, {"Datacenter": "nope"},
        {"Datacenter": "DC1"},
        {"Datacenter": "dc1"}, {"Bogus": 1}, {"NodeMeta": {"a": 1}},
        {"NodeMeta": {"a b": "x"}}, {"NodeMeta": []}, {"TaggedAddresses": {"a": 1}},
        {"WriteRequest": {"Token": "x"}}, {"SkipNodeUpdate": "x"},
        {"Service": None}, {"Service": {}}, {"Service": 1}, {"Service": []},
        {"Service": {"ID": "x"}}, {"Service": {"Service": "s", "Port": "x"}},
        {"Service": {"Service": "s", "Bogus": 1}},
        {"Service": {"Service": "s", "Address": "0.0.0.0"}},
        {"Service": {"Service": "s", "Meta": {"a b": "x"}}},
        {"Service": {"ID": "i", "Service": "s", "Meta": {"consul-": "x"}}},
        {"Service": {"Service": "s", "Weights": {"Passing": -1}}},
        {"Service": {"Service": "s", "Weights": {"Passing": 0, "Warning": 4}}},
        {"Service": {"Service": "s", "Port": -5}},
        {"Service": {"Service": "s", "TaggedAddresses": {"lan_ipv4": {"Address": "x"}}}},
        {"Service": {"Service": "s", "TaggedAddresses": {"lan_ipv6": {"Address": "1.1.1.1"}}}},
        {"Service": {"Service": "s", "Kind": "bogus"}},
        {"Service": {"Service": "s", "Kind": "connect-proxy"}},
        {"Service": {"Service": "s", "Name": "n"}},
        {"Service": {"Service": "s", "Proxy": {}, "Connect": {}}},
        {"Service": {"Service": "s", "Proxy": {"LocalServicePort": "x"}}},
        {"Service": {"Service": "s", "Connect": {"Native": 1}}},
        {"Check": None}, {"Check": {}}, {"Check": 1}, {"Checks": [None]},
        {"Checks": [{}]}, {"Checks": {}}, {"Check": {"Name": "c", "ServiceID": "nope"}},
        {"Check": {"Name": "c", "Node": "other"}},
        {"Check": {"Name": "c", "Status": 1}}, {"Check": {"Name": "c", "Bogus": 1}},
        {"Check": {"Name": "c", "Definition": {"Bogus": 1}}},
        {"Check": {"Name": "c", "Definition": {"Interval": "x"}}},
        {"Check": {"Name": "c", "Definition": {"Interval": 5000000000}}},
        {"Check": {"Name": "c", "Definition": {"IntervalDuration": "5s"}}},
        {"Check": {"Name": "c", "Definition": {"TTL": "5s"}}},
        {"Check": {"Name": "c", "Definition": None}},
        {"Check": {"Name": "c"}, "Checks": [{"Name": "c", "Status": "passing"}]},
        {"Service": {"Service": "s"}, "Check": {"Name": "c", "ServiceID": "s"}},
    ]
    for b in bodies:
        if "Node" not in b and "Address" not in b:
            b = {"Node": "b", "Address": "10.0.0.1", **b}
        yield Tried(
            put("/v1/catalog/register", b),
            [get("/v1/" + p) for p in (
                "catalog/node/b", "health/node/b", "catalog/service/s",
                "health/checks/s")],
            drop_node("b"))
    yield Tried(node("a\0b"), [], drop_node("a\0b"))
    for b in ({"Node": "x", "Datacenter": "nope"}, {"Node": ""}, {"Node": 1},
              {"Node": "x", "Bogus": 1}, {"ServiceID": "x"},
              {"Node": "x", "Namespace": "default"}, {"Node": "x", "ServiceID": 1}):
        yield put("/v1/catalog/deregister", b)
    yield put("/v1/catalog/register?dc=nope", {"Node": "b", "Address": "x"})
    yield from drop_node("b")
    yield put("/v1/catalog/register?ns=other", {"Node": "b", "Address": "x"})
    yield put("/v1/catalog/deregister?dc=nope", {"Node": "b"})


def node_identity():
    a, b = ("aaaaaaaa-0000-0000-0000-000000000001",
            "bbbbbbbb-0000-0000-0000-000000000002")
    look = [get("/v1/catalog/nodes"), get("/v1/catalog/node/i1"),
            get("/v1/catalog/node/i2"), get("/v1/catalog/service/idsvc"),
            get("/v1/health/node/i1"), get("/v1/health/node/i2")]
    yield node("i1", ID=a, Service={"Service": "idsvc"},
               Check={"CheckID": "serfHealth", "Status": "passing"})
    yield from look
    yield node("i2", ID=a)  # the same ID under a new name
    yield from look
    yield node("i1", ID=b, Service={"Service": "idsvc"})
    yield from look
    yield node("i2", ID=b)  # a name that a living node has
    yield from look
    yield node("I1", ID=b)  # another case
    yield from look
    yield node("i1", ID=b.upper())
    yield from look
    yield node("i2", "10.0.0.9", ID=b, SkipNodeUpdate=True)
    yield from look
    yield node("i1", ID=a)
    yield from look
    yield get("/v1/catalog/node/aaaa")
    yield get("/v1/catalog/node/AAAA")
    yield get("/v1/catalog/node/bbbbbbbb-0000-0000-0000-000000000002")
    yield get("/v1/catalog/node/a")
    yield get("/v1/catalog/node/zz")
    yield from drop_node("i1", "i2")


def order():
    """Rows come by node, then by ID."""
    for n in ("o2", "O1", "o10"):
        for i in ("b", "C", "a"):
            yield node(n, Service={"ID": i, "Service": "ord", "Port": 1},
                       Check={"CheckID": f"chk-{i}", "ServiceID": i,
                              "Name": i, "Status": "passing"})
        yield node(n, Check={"CheckID": "A-node", "Status": "passing"})
    yield from reads_of("ord", "o1")
    yield get("/v1/catalog/node/o2")
    yield get("/v1/health/node/o10")
    yield from drop_node("o2", "o1", "o10")
    yield from reads_of("ord", "o1")


# --- Process, mesh, page, operator ---

CONNECT_PROXY = {"Service": "side", "Kind": "connect-proxy", "Port": 1,
                 "Proxy": {"DestinationServiceName": "Meshed",
                           "LocalServicePort": 9, "Config": {"a": [1]}}}


def mesh_and_process():
    yield from (put(p) for p in (
        "/v1/agent/reload", "/v1/agent/join/", "/v1/agent/join/127.0.0.1:1",
        "/v1/agent/force-leave/nope", "/v1/agent/force-leave/node-a",
        "/v1/agent/force-leave/node-a?prune", "/v1/agent/force-leave/",
        "/v1/agent/token/default", "/v1/agent/token/bogus", "/v1/acl/bootstrap",
        "/v1/acl/token", "/v1/agent/host"))
    yield node("m1", Service=CONNECT_PROXY)
    yield node("m2", Service={"Service": "meshed", "Connect": {"Native": True}})
    yield node("m2", Check={"Name": "c", "ServiceID": "meshed",
                            "Status": "warning"})
    yield from (get(p) for p in (
        "/v1/agent/monitor?loglevel=bogus", "/v1/agent/host", "/v1/agent/version", "/v1/agent/connect/ca/roots",
        "/v1/agent/connect/ca/leaf/x", "/v1/agent/connect/authorize",
        "/v1/connect/ca/roots", "/v1/connect/ca/configuration",
        "/v1/connect/intentions", "/v1/connect/intentions/match",
        "/v1/connect/intentions/match?by=source&name=x",
        "/v1/connect/intentions/match?by=x&name=x",
        "/v1/connect/intentions/match?by=source",
        "/v1/connect/intentions/check?source=a&destination=b",
        "/v1/connect/intentions/check?source=a", "/v1/config/service-defaults",
        "/v1/config/service-defaults/x", "/v1/acl/tokens", "/v1/acl/policies",
        "/v1/acl/token/self", "/v1/acl/roles", "/v1/operator/keyring",
        "/v1/operator/raft/configuration", "/v1/operator/autopilot/configuration",
        "/v1/operator/area",
        "/v1/catalog/gateway-services/", "/v1/catalog/gateway-services/x",
        "/v1/catalog/connect/", "/v1/catalog/connect/meshed",
        "/v1/catalog/connect/MESHED", "/v1/catalog/connect/side",
        "/v1/catalog/connect/meshed?node-meta=a:b",
        "/v1/catalog/connect/meshed?tag=x", "/v1/health/connect/",
        "/v1/health/connect/meshed", "/v1/health/connect/meshed?passing",
        "/v1/health/connect/meshed?passing=x", "/v1/health/connect/nope",
        "/v1/health/ingress/", "/v1/health/ingress/x",
        "/v1/internal/ui/nodes", "/v1/internal/ui/node/",
        "/v1/internal/ui/node/m2", "/v1/internal/ui/node/nope",
        "/v1/internal/ui/services", "/v1/internal/ui/gateway-services-nodes/",
        "/v1/internal/ui/gateway-services-nodes/x"))
    yield from drop_node("m1", "m2")


# --- Sidecars ---

def sidecars():
    look = [get("/v1/agent/services"),
            get("/v1/catalog/service/q-sidecar-proxy"),
            get("/v1/catalog/connect/q")]
    own = {"TTL": "1h", "CheckID": "own"}
    for sidecar in ({"Check": own}, {"Check": own, "Port": 7, "Name": "named"},
                    {"Check": own, "Tags": ["x"], "Meta": {"k": "v"}},
                    {"Check": own, "Address": "10.2.2.2"},
                    {"Check": own, "Proxy": {"LocalServicePort": 9}},
                    {"Check": own, "Weights": {"Passing": 4, "Warning": 1}}):
        yield service("q", ID="q1", Port=81, Address="10.1.1.1", Tags=["t"],
                      Meta={"a": "b"}, EnableTagOverride=True,
                      Weights={"Passing": 3, "Warning": 2},
                      Connect={"SidecarService": sidecar})
        yield from look
        yield from drop_service("q1")
        yield from look
    yield service("q", ID="q1", Port=81, Connect={"SidecarService": {"Check": own}})
    yield service("q", ID="q1", Port=82)
    yield from look
    yield from drop_service("q1")
    yield from look
    for sidecar in ({"ID": "x"}, {"Connect": {"SidecarService": {}}},
                    {"Check": {"TTL": "x"}},
                    {"Check": {"TTL": "1s", "Interval": "1s"}},
                    {"Meta": {"bad key": ""}}):
        yield service("bad", Connect={"SidecarService": sidecar})


# --- Events and coordinates ---

def events():
    large = "a" * 450
    yield from (put(p, "x") for p in (
        "/v1/event/fire/", "/v1/event/fire/x?tag=a", "/v1/event/fire/x?node=%5B",
        "/v1/event/fire/x?service=%28", "/v1/event/fire/x?dc=nope"))
    yield put("/v1/event/fire/x", large)
    yield put("/v1/event/fire/x", large[:414])
    yield put("/v1/event/fire/x?node=real", large[:407])
    yield put("/v1/event/fire/x?service=sss&tag=t", large[:403])
    yield from (get(p) for p in (
        "/v1/event/list?index=x", "/v1/event/list?wait=x",
        "/v1/event/list?name=nobody", "/v1/event/list?name=nobody&index=2",
        "/v1/event/list?name=nobody&index=1&wait=1ms"))
    coord = {"Vec": [1, 2, 3, 4, 5, 6, 7, 8], "Error": 1, "Height": 0.1}
    yield from (put("/v1/coordinate/update", b) for b in (
        {"Node": "nobody", "Coord": coord}, {"Coord": coord},
        {"Node": "node-a", "Coord": {"Vec": [1]}}, "{", {"Node": 1}))
    yield from (get(p) for p in (
        "/v1/coordinate/datacenters", "/v1/coordinate/node/",
        "/v1/coordinate/node/nobody", "/v1/coordinate/nodes?segment=x",
        "/v1/coordinate/nodes?dc=nope"))
