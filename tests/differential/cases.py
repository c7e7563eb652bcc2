# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The requests that both get, in order, section by section. After a section both
are swept clean (compare.sweep), so that none needs another to have run."""

from ask import (BAD_BODIES, AGENT_READS, Request, Tried, check, drop_check, drop_service, get,
                 node, put, reads_of, service)
from catalog_cases import (bad_catalog, catalog, events, mesh_and_process,
                           node_identity, order, renamed_service, sidecars)
import query_cases


# --- The way of the request: paths, methods, headers ---

GET_ROUTES = [
    "/v1/agent/self", "/v1/agent/members", "/v1/agent/metrics",
    "/v1/agent/services", "/v1/agent/checks", "/v1/agent/service/x",
    "/v1/agent/health/service/id/x", "/v1/agent/health/service/name/x",
    "/v1/catalog/datacenters", "/v1/catalog/nodes", "/v1/catalog/services",
    "/v1/catalog/service/x", "/v1/catalog/node/x", "/v1/catalog/node-services/x",
    "/v1/health/service/x", "/v1/health/node/x", "/v1/health/checks/x",
    "/v1/health/state/any", "/v1/status/leader", "/v1/status/peers"]
PUT_ROUTES = [
    "/v1/agent/leave", "/v1/agent/maintenance", "/v1/agent/service/register",
    "/v1/agent/service/deregister/x", "/v1/agent/service/maintenance/x",
    "/v1/agent/check/register", "/v1/agent/check/deregister/x",
    "/v1/agent/check/pass/x", "/v1/agent/check/warn/x",
    "/v1/agent/check/fail/x", "/v1/agent/check/update/x",
    "/v1/catalog/register", "/v1/catalog/deregister"]


def transport():
    yield from (get(p) for p in (
        "/", "/v1", "/v1/", "/foo", "/v1/nope", "/v1/agent", "/v1/agent/",
        "/v1/agent/nope", "/v1/agent/services/", "/v1/catalog/services/x",
        "/v1/catalog/nodes/", "/v1/status/leader/", "/v1/health/",
        "//v1/agent/services", "/v1//agent/services", "/v1/./agent/services",
        "/v1/agent/../agent/services", "/v1/agent/services/..",
        "/v1/catalog/service/a%2F%2Fb", "/v1/catalog/service/a//b?x=1",
        "/v1/catalog/service/a%2Fb", "/v1/catalog/service/a/b",
        "/v1/catalog/service/%zz", "/v1/catalog/service/%e2%82%ac",
        "/v1/catalog/service/a%00b", "/v1/catalog/service/a%0ab",
        "/v1/catalog/service/a%20b", "/v1/catalog/service/a+b",
        "/v1/catalog/service/%C3%28", "/v1/catalog/service/a%7fb",
        "/v1/catalog/service/%c2%a0", "/v1/catalog/nodes?a=%zz",
        "/v1/catalog/nodes?;", "/v1/catalog/nodes?unknown=1&also",
        "/v1/catalog/service/x?pretty", "/v1/catalog/node/x?pretty=false",
        "/v1/catalog/nodes?pretty=1", "/v1/catalog/services?pretty",
        "/v1/agent/services?pretty", "/v1/status/peers?pretty",
        "/v1/status/leader?pretty"))
    for path in GET_ROUTES:
        yield from (Request(m, path)
                    for m in ("PUT", "POST", "HEAD", "OPTIONS", "PATCH"))
    for path in PUT_ROUTES:
        yield from (Request(m, path) for m in ("GET", "DELETE", "OPTIONS"))
    for path in ("/v1/catalog/nodes", "/v1/catalog/service/x", "/v1/agent/checks",
                 "/v1/status/leader", "/v1/catalog/node/x", "/foo"):
        yield get(path, Accept_Encoding="gzip")
        yield get(path, Accept_Encoding="identity;q=1, *;q=0")
    yield put("/v1/agent/service/deregister/", Accept_Encoding="gzip")
    yield get("/v1/agent/services", Accept="text/plain")
    yield get("/v1/agent/services", Connection="close")


# --- What the process says of itself ---

def own():
    yield from (get(p) for p in (
        "/v1/agent/self", "/v1/agent/members", "/v1/agent/members?wan=1",
        "/v1/agent/members?wan=", "/v1/agent/members?segment=x",
        "/v1/agent/members?segment=x&wan=1", "/v1/agent/members?segment=_all",
        "/v1/agent/members?segment=_all&wan=1", "/v1/agent/metrics",
        "/v1/status/leader", "/v1/status/peers", "/v1/status/leader?dc=dc1",
        "/v1/status/leader?dc=nope", "/v1/status/peers?dc=nope",
        "/v1/status/leader?index=x", "/v1/status/leader?stale&consistent",
        "/v1/catalog/datacenters", "/v1/catalog/datacenters?dc=nope",
        "/v1/catalog/datacenters?cached", "/v1/catalog/datacenters?index=x",
        "/v1/catalog/datacenters?stale&consistent", "/v1/agent/self?dc=nope",
        "/v1/agent/self?ns=other", "/v1/agent/members?index=x",
        "/v1/agent/metrics?format=prometheus",
        "/v1/agent/services?dc=nope"))
    yield from reads_of("consul")
    yield from AGENT_READS
    yield get("/v1/catalog/service/CONSUL")
    yield get("/v1/health/service/Consul")
    yield get("/v1/catalog/node/NODE-A")
    yield get("/v1/health/node/Node-A")
    yield get("/v1/catalog/node/7a1e0c52-3d3b-4f6e-9d58-0a2b4c6d8e10")
    yield get("/v1/catalog/node/7a1e")
    yield get("/v1/catalog/node/7")
    yield get("/v1/catalog/node-services/7a1e")
    yield get("/v1/health/node/7a1e0c52-3d3b-4f6e-9d58-0a2b4c6d8e10")
    yield get("/v1/agent/health/service/id/consul")
    yield get("/v1/agent/service/consul")


# --- Parameters that many routes share ---

def parameters():
    routes = ["/v1/catalog/nodes", "/v1/catalog/service/consul",
              "/v1/health/state/any", "/v1/agent/services"]
    asks = ["index=-1", "index=x", "index=1.5", "index=18446744073709551616",
            "index=", "index=0", "index=0&wait=10", "wait=zz", "wait=-1s",
            "wait=10", "wait=", "index=+1&wait=1ms",
            "stale&consistent", "stale", "consistent", "stale=0", "consistent=false",
            "cached", "cached&consistent", "cached&stale", "max_stale=zz",
            "max_stale=10s", "max_stale=0s", "max_stale=-1s", "max_stale=",
            "max_stale=5s&consistent", "leader", "stale&leader",
            "leader&consistent",
            "dc=dc1", "dc=nope", "dc=", "dc=DC1", "near=_agent", "near=nope",
            "node-meta=a:b", "node-meta=consul-network-segment",
            "node-meta=consul-network-segment:", "node-meta=:", "node-meta=",
            "index=999999999&wait=20ms", "ns=", "ns=default", "ns=other", "filter=", "token=abc",
            "partition=default", "partition=other", "peer=x",
            "merge-central-config", "filter=Node%20==%20x"]
    for ask in asks:
        for path in routes:
            yield get(f"{path}?{ask}")
    for path in ("/v1/catalog/service/consul", "/v1/health/service/consul",
                 "/v1/catalog/services", "/v1/catalog/node/node-a",
                 "/v1/catalog/datacenters"):
        for value in ("max-age=5", "max-age=x", "no-cache", "bogus",
                      "must-revalidate", "stale-if-error=5",
                      "max-age=5, stale-if-error=x"):
            yield get(path, Cache_Control=value)
    for value in ("1", "true", "false", "0", "t", "x", ""):
        yield get(f"/v1/health/service/consul?passing={value}")
    yield from (get(p) for p in (
        "/v1/health/service/consul?passing&tag=", "/v1/health/service/consul?tag=x",
        "/v1/catalog/service/consul?tag=", "/v1/catalog/service/consul?tag=x&tag=y",
        "/v1/catalog/services?node-meta=a:b", "/v1/health/checks/consul?tag=x",
        "/v1/health/state/any?passing=x", "/v1/catalog/nodes?passing=x",
        "/v1/catalog/service/", "/v1/catalog/node/", "/v1/catalog/node-services/",
        "/v1/health/service/", "/v1/health/node/", "/v1/health/checks/",
        "/v1/health/state/", "/v1/health/state/bogus", "/v1/health/state/PASSING",
        "/v1/health/state/passing", "/v1/health/state/critical",
        "/v1/catalog/service/?index=x", "/v1/health/service/?passing=x",
        "/v1/agent/service/", "/v1/agent/health/service/id/",
        "/v1/agent/health/service/name/"))
    yield get("/v1/catalog/nodes", X_Consul_Token="abc")
    yield get("/v1/catalog/nodes", Authorization="Bearer abc")
    yield get("/v1/catalog/nodes", X_Consul_Namespace="other")
    yield get("/v1/catalog/service/consul", X_Consul_Namespace="other")
    yield get("/v1/catalog/service/consul", X_Consul_Namespace="default")


# --- Agent: services ---

def agent_services():
    yield service("web")
    yield from AGENT_READS
    yield get("/v1/agent/service/web")
    yield from reads_of("web")
    yield service("web", ID="web", Port=80)
    yield get("/v1/agent/service/web")
    yield get("/v1/catalog/service/web")
    yield service("web", ID="web-1", Port=8080, Address="10.1.2.3",
                  Tags=["v1", "eu", "v1", ""], Meta={"z": "1", "a": "<b>&"},
                  Weights={"Passing": 5, "Warning": 2}, EnableTagOverride=True,
                  TaggedAddresses={"lan": {"Address": "a.b", "Port": 1},
                                   "wan": {"Address": "198.18.0.1", "Port": 2}})
    yield service("web", ID="web-6", Port=1, Address="2001:db8::1")
    yield service("web", ID="web-h", Port=1, Address="host.example")
    yield service("web", ID="web-4", Port=1, Address="10.0.0.9",
                  TaggedAddresses={"lan_ipv4": {"Address": "10.9.9.9",
                                                "Port": 9}})
    yield from AGENT_READS
    for i in ("web-1", "web-6", "web-h", "web-4", "WEB-1"):
        yield get(f"/v1/agent/service/{i}")
        yield get(f"/v1/agent/health/service/id/{i}")
    yield from reads_of("web")
    yield get("/v1/agent/health/service/name/web")
    yield get("/v1/agent/health/service/name/WEB")
    yield get("/v1/agent/health/service/name/web?format=text")
    yield get("/v1/agent/health/service/name/nope?format=text")
    yield get("/v1/agent/health/service/id/nope?format=text")
    yield get("/v1/agent/health/service/id/web-1?format=text")
    yield get("/v1/agent/health/service/id/web-1", Accept="text/plain")
    yield get("/v1/agent/health/service/id/nope", Accept="text/plain")
    yield get("/v1/agent/health/service/id/nope")
    yield get("/v1/agent/health/service/name/nope")
    yield get("/v1/agent/service/nope")
    yield get("/v1/agent/service/web-1?hash=abc")
    yield get("/v1/agent/service/web-1?hash=xyz&wait=1ms")
    yield get("/v1/agent/service/nope?hash=abc")
    yield get("/v1/catalog/service/web?tag=v1")
    yield get("/v1/catalog/service/web?tag=V1&tag=eu")
    yield get("/v1/catalog/service/web?tag=v1&tag=nope")
    yield get("/v1/health/service/web?tag=V1&passing")
    yield from drop_service("web", "web-1", "web-6", "web-h", "web-4", "nope")
    yield from drop_service("", "%20")
    yield get("/v1/catalog/service/web")
    # Renamed: the ID stays.
    yield service("one", ID="r1", Check={"TTL": "1h", "Status": "passing"})
    yield service("two", ID="r1", Check={"TTL": "1h"})
    yield from reads_of("one")
    yield from reads_of("two")
    yield from AGENT_READS
    yield from drop_service("r1")
    # Odd names.
    for name in ("a b", "a/b", "\u20acuro", "UPPER", "x" * 300, "a.b_c~d"):
        yield service(name)
        yield get("/v1/agent/services")
        yield put("/v1/agent/service/deregister/"
                  + name.replace(" ", "%20").replace("\u20ac", "%e2%82%ac"))
    yield put("/v1/agent/service/register?token=x", {"Name": "tok", "Token": "y"})
    yield put("/v1/agent/service/register?ns=default", {"Name": "tok"})
    yield put("/v1/agent/service/register?ns=other", {"Name": "tok"})
    yield put("/v1/agent/service/register?dc=nope", {"Name": "tok"})
    yield from drop_service("tok")


def bad_agent_services():
    for body in BAD_BODIES:
        yield Tried(put("/v1/agent/service/register", body),
                    [get("/v1/agent/services")],
                    drop_service("%EF%BF%BD") if "ud800" in body else [])
    yield Tried(service("big", Meta={"k": "v" * 1200000}), AGENT_READS)
    fields = [
        {"Port": "80"}, {"Port": 1.5}, {"Port": 1e3}, {"Port": True},
        {"Port": -1}, {"Port": 70000}, {"Port": 99999999999999999999},
        {"Tags": "a"}, {"Tags": [1]}, {"Tags": {"a": 1}}, {"Tags": None},
        {"Tags": [None]}, {"Meta": []}, {"Meta": {"a": 1}}, {"Meta": None},
        {"Meta": {"": "x"}}, {"Meta": {"a b": "x"}}, {"Meta": {"consul-x": "1"}},
        {"Meta": {"k" * 129: "x"}}, {"Meta": {"k": "v" * 513}},
        {"Meta": {f"k{i}": "v" for i in range(65)}},
        {"Address": "0.0.0.0"}, {"Address": "::"}, {"Address": "[::]"},
        {"Address": 1}, {"Weights": {}}, {"Weights": None},
        {"Weights": {"Passing": 0, "Warning": 1}}, {"Weights": {"Passing": -1}},
        {"Weights": {"Passing": 1, "Warning": -1}}, {"Weights": {"Passing": 5}},
        {"Weights": {"Passing": 65536}}, {"Weights": {"Passing": 1, "Warning": 65536}},
        {"Weights": {"Passing": "1"}}, {"Weights": 1},
        {"TaggedAddresses": {"lan_ipv4": {"Address": "x"}}},
        {"TaggedAddresses": {"wan_ipv4": {"Address": "::1"}}},
        {"TaggedAddresses": {"lan_ipv6": {"Address": "1.2.3.4"}}},
        {"TaggedAddresses": {"lan_ipv4": {}}}, {"TaggedAddresses": {"any": {}}},
        {"TaggedAddresses": {"x": None}}, {"TaggedAddresses": {"x": 1}},
        {"EnableTagOverride": 1}, {"EnableTagOverride": None},
        {"Kind": "bogus"}, {"Kind": "connect-proxy"}, {"Bogus": 1},
        {"SocketPath": "/x"}, {"id": "lower", "tags": ["x"]},
        {"enable_tag_override": True, "tagged_addresses": {}},
        {"Check": {}}, {"Check": None}, {"Checks": []}, {"Checks": None},
        {"Checks": {}}, {"Checks": [None]}, {"Check": 1}, {"Checks": [1]},
        {"Check": [{}]}, {"Connect": {}}, {"Connect": {"Native": True}},
        {"Proxy": None}, {"Proxy": {}}, {"Connect": {"Native": "x"}},
        {"Connect": [1]}, {"Proxy": "x"}, {"Name": None}, {"name": "second"},
    ]
    for f in fields:
        yield Tried(service("bad", **f) if "Name" not in f else
                    put("/v1/agent/service/register", f),
                    AGENT_READS, drop_service(f.get("id", "bad")))
        if "name" in f:
            yield from drop_service("second")


# --- Agent: checks ---

CHECKS = [
    {"TTL": "10s"}, {"TTL": "0s"}, {"TTL": "-1s"}, {"TTL": "10"}, {"TTL": "x"},
    {"TTL": ""}, {"TTL": 10}, {"TTL": 3600000000000}, {"TTL": 3600000000000.5},
    {"TTL": True}, {"TTL": []}, {"TTL": None}, {"TTL": "1h", "Status": "passing"},
    {"TTL": "1h", "Status": "warning"}, {"TTL": "1h", "Status": "bogus"},
    {"TTL": "1h", "Status": ""}, {"TTL": "1h", "Status": 1},
    {"TTL": "1h", "Notes": "n", "Output": "o"}, {},
    {"TTL": "1h", "Interval": "1h"}, {"HTTP": "http://127.0.0.1:1/"},
    {"HTTP": "http://127.0.0.1:1/", "Interval": "1h", "TTL": "1h"},
    {"HTTP": "http://127.0.0.1:1/", "Interval": "x"},
    {"HTTP": "http://127.0.0.1:1/", "Interval": "-1s"},
    {"HTTP": 1, "Interval": "1h"}, {"TCP": "127.0.0.1:1"}, {"TCP": ["x"]},
    {"TCP": "127.0.0.1:1", "Interval": 0}, {"GRPC": "127.0.0.1:1"},
    {"Args": ["/bin/true"], "Interval": "1h"}, {"Args": ["/bin/true"]},
    {"Args": "x", "Interval": "1h"}, {"Args": [1], "Interval": "1h"},
    {"ScriptArgs": ["/bin/true"], "Interval": "1h"}, {"Script": "x", "Interval": "1h"},
    {"DockerContainerID": "x", "Args": ["/bin/true"], "Interval": "1h"},
    {"DockerContainerID": "x", "Interval": "1h"},
    {"AliasService": "nope"},  # an AliasNode alone ends 1.8.7: nil pointer
    {"AliasService": "x", "TTL": "1h"}, {"AliasService": "x", "Interval": "1h"},
    {"TTL": "1h", "OutputMaxSize": -1}, {"TTL": "1h", "OutputMaxSize": "x"},
    {"TTL": "1h", "DeregisterCriticalServiceAfter": "x"},
    {"TTL": "1h", "DeregisterCriticalServiceAfter": "90m"},
    {"TTL": "1h", "SuccessBeforePassing": "x"},
    {"TTL": "1h", "Header": {"X": ["y"]}}, {"TTL": "1h", "Header": {"X": "y"}},
    {"TTL": "1h", "Header": []}, {"TTL": "1h", "TLSSkipVerify": "x"},
    {"TTL": "1h", "Timeout": "x"}, {"TTL": "1h", "Bogus": 1},
    {"TTL": "1h", "Name": None}, {"TTL": "1h", "Definition": {}},
    {"Status": "passing"}, {"Interval": "10s"}, {"Timeout": "10s"},
    {"Status": "bogus"}, {"Notes": "", "HTTP": "", "TTL": "", "Interval": 0},
    {"TTL": "1h", "Interval": [1]}, {"TTL": "1h", "Timeout": True},
    {"TTL": "1h", "Timeout": "-1s"}, {"TTL": "1h", "Method": "a b"},
    {"HTTP": "no url", "Interval": "1h"}, {"TCP": "no port", "Interval": "1h"},
    {"HTTP": "http://127.0.0.1:1/", "TCP": "127.0.0.1:1", "Interval": "1h"},
    {"TTL": "1h", "DeregisterCriticalServiceAfter": "-1s"},
    {"TTL": "1h", "SuccessBeforePassing": -1},
    {"TCP": "127.0.0.1:1", "Interval": "1h", "Timeout": "2h"},
]


def service_checks():
    for c in CHECKS:
        yield Tried(service("sc", Check=c), AGENT_READS, drop_service("sc"))
    yield service("sc", Check={"TTL": "1h"}, Checks=[{"TTL": "1h"}, {}])
    yield service("sc", Check={"TTL": "1h"},
                  Checks=[{"TTL": "1h", "CheckID": "own", "Name": "mine"},
                          {"TTL": "1h", "Notes": "n"}])
    yield from AGENT_READS
    yield from reads_of("sc")
    yield service("sc", Check={"TTL": "1h"})
    yield from AGENT_READS
    yield put("/v1/agent/service/register?replace-existing-checks",
              {"Name": "sc", "Check": {"TTL": "1h", "CheckID": "own"}})
    yield from AGENT_READS
    yield put("/v1/agent/service/register?replace-existing-checks=true",
              {"Name": "sc"})
    yield from AGENT_READS
    yield put("/v1/agent/service/register?replace-existing-checks=false",
              {"Name": "sc", "Check": {"TTL": "1h"}})
    yield put("/v1/agent/service/register?replace-existing-checks=false",
              {"Name": "sc", "Check": {"TTL": "1h", "CheckID": "other"}})
    yield from AGENT_READS
    yield from drop_service("sc")
    yield Tried(service("sc", Check={"TTL": "1h", "ID": "by-id"}),
                AGENT_READS, drop_service("sc"))
    # Two services, one check ID.
    yield service("s1", Check={"TTL": "1h", "CheckID": "shared"})
    yield service("s2", Check={"TTL": "1h", "CheckID": "shared"})
    yield from AGENT_READS
    yield get("/v1/health/service/s1")
    yield get("/v1/health/service/s2")
    yield from drop_service("s1", "s2")
    yield from AGENT_READS


def agent_checks():
    for body in BAD_BODIES:
        yield put("/v1/agent/check/register", body)
    for c in CHECKS:
        yield Tried(put("/v1/agent/check/register", c) if "Name" in c
                    else check("nc", **c), [get("/v1/agent/checks")],
                    drop_check("nc"))
    yield check("a name", TTL="1h", Notes="of the node")
    yield check("with id", ID="wid", TTL="1h", Status="passing")
    yield Tried(check("with check id", CheckID="wcid", TTL="1h"),
                AGENT_READS, drop_check("wcid"))
    yield check("lost", TTL="1h", ServiceID="nope")
    yield check("lost", TTL="1h", service_id="nope")
    yield from AGENT_READS
    yield get("/v1/health/node/node-a")
    yield from drop_check("a%20name", "wid", "nope", "", "%20")
    yield service("cs")
    yield check("of service", ID="c1", ServiceID="cs", TTL="1h", Status="passing")
    yield check("of service", ID="c2", ServiceID="cs", TTL="1h")
    yield from AGENT_READS
    yield from reads_of("cs")
    yield get("/v1/agent/health/service/id/cs")
    yield check("moved", ID="c1", TTL="1h")
    yield from AGENT_READS
    yield from reads_of("cs")
    yield check("again", ID="c2", ServiceID="cs", TTL="2h", Status="passing")
    yield from AGENT_READS
    yield from drop_check("c1")
    yield from drop_service("cs")
    yield from AGENT_READS


def ttl():
    yield service("t", Check={"TTL": "1h"})
    paths = [f"/v1/agent/check/{w}/service:t{n}"
             for w in ("pass", "warn", "fail") for n in ("", "?note=said%20so")]
    for path in paths + paths[:1]:
        yield put(path)
        yield get("/v1/agent/checks")
        yield get("/v1/health/checks/t")
        yield get("/v1/agent/health/service/id/t")
        yield get("/v1/agent/health/service/name/t?format=text")
        yield get("/v1/health/service/t?passing")
    for path in ("/v1/agent/check/pass/", "/v1/agent/check/warn/nope",
                 "/v1/agent/check/fail/serfHealth", "/v1/agent/check/pass/t",
                 "/v1/agent/check/update/", "/v1/agent/check/update/nope"):
        yield put(path, '{"Status":"passing"}')
    for body in BAD_BODIES:
        yield put("/v1/agent/check/update/service:t", body)
    for body in ({"Status": "passing", "Output": "up"}, {"Status": "warning"},
                 {"Status": "critical", "Output": "x" * 5000},
                 {"Status": "Passing"}, {"Status": ""}, {"Status": None},
                 {"Output": "x"}, {"Status": 1}, {"Status": "passing", "Output": 1},
                 {"status": "warning", "output": "lower"},
                 {"Status": "maintenance"}, {"Status": "passing", "Bogus": 1}):
        yield Tried(put("/v1/agent/check/update/service:t", body),
                    [get("/v1/agent/checks")])
    # Registering again keeps the state, whatever the new definition says.
    yield put("/v1/agent/check/warn/service:t?note=kept")
    yield service("t", Check={"TTL": "2h", "Status": "passing", "Notes": "new"})
    yield get("/v1/agent/checks")
    yield get("/v1/health/checks/t")
    yield from drop_service("t")
    # Not a TTL check.
    yield check("tcp", TCP="127.0.0.1:1", Interval="10h")
    yield put("/v1/agent/check/pass/tcp")
    yield put("/v1/agent/check/update/tcp", {"Status": "passing"})
    yield from drop_check("tcp")


def maintenance():
    yield service("m", ID="m1", Check={"TTL": "1h", "Status": "warning"})
    path = "/v1/agent/service/maintenance/"
    yield from (put(path + p) for p in (
        "", "?enable=true", "m1", "m1?enable=", "m1?enable=foo", "m1?reason=x",
        "nope?enable=true", "nope?enable=false", "nope", "m1?enable=false"))
    for ask in ("enable=true", "enable=true&reason=tea%20time", "enable=1",
                "enable=F", "enable=0", "enable=T&reason=", "enable=FALSE"):
        yield put(f"{path}m1?{ask}")
        yield from AGENT_READS
        yield get("/v1/agent/health/service/id/m1")
        yield get("/v1/agent/health/service/name/m?format=text")
        yield from reads_of("m")
    yield from (put("/v1/agent/maintenance" + p) for p in (
        "", "?enable=", "?enable=x", "?reason=x", "?enable=false"))
    for ask in ("enable=true", "enable=true&reason=other", "enable=false",
                "enable=true&reason=r", "enable=false"):
        yield put(f"/v1/agent/maintenance?{ask}")
        yield get("/v1/agent/checks")
        yield get("/v1/agent/health/service/id/m1")
        yield get("/v1/health/service/m?passing")
        yield get("/v1/health/node/node-a")
    yield put("/v1/agent/maintenance?enable=true&enable=false")
    yield put("/v1/agent/maintenance?enable=false")
    # The check under its name can be taken away like any other.
    yield put(path + "m1?enable=true")
    yield from drop_check("_service_maintenance:m1")
    yield from AGENT_READS
    yield put(path + "m1?enable=true&reason=again")
    yield from drop_service("m1")
    yield get("/v1/agent/checks")
    # Does a registration that replaces the checks end it?
    yield service("kept", Check={"TTL": "1h"})
    yield put(path + "kept?enable=true")
    yield put("/v1/agent/service/register?replace-existing-checks",
              {"Name": "kept"})
    yield get("/v1/agent/checks")
    yield get("/v1/health/service/kept")
    yield get("/v1/agent/health/service/id/kept")
    yield from drop_service("kept")


SECTIONS = [sidecars, events, mesh_and_process, transport, own, parameters, agent_services, bad_agent_services,
            service_checks, agent_checks, ttl, maintenance, catalog,
            renamed_service, bad_catalog, node_identity, order,
            *query_cases.SECTIONS]
