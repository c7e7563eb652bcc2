# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Prepared queries: made, shown, changed, executed, explained, refused."""

import json

from ask import BAD_BODIES, Request, get, node


def post(path, body):
    if not isinstance(body, str):
        body = json.dumps(body)
    return Request("POST", path, body.encode())


def make(name, /, service="web", template=None, **more):
    """more: members of Service."""
    body = {"Name": name, "Service": {"Service": service, **more}}
    if template is not None:
        body["Template"] = {"Type": "name_prefix_match", **template}
    return post("/v1/query", body)


def change(name, body):
    return Request("PUT", f"/v1/query/<id of {name}>",
                   json.dumps(body).encode())


def drop(name):
    return Request("DELETE", f"/v1/query/<id of {name}>")


def instances():
    for n, (status, zone, tags) in enumerate((
            ("passing", "z1", ["v1", "Prod"]), ("warning", "z2", ["v1"]),
            ("critical", "z1", ["v2"]), ("passing", "z2", []))):
        yield node(f"q{n}", f"10.3.0.{n}", NodeMeta={"zone": zone},
                   Service={"Service": "web", "ID": f"web{n}", "Port": 80 + n,
                            "Tags": tags, "Meta": {"n": str(n)}},
                   Check={"Name": "c", "CheckID": "c", "Status": status,
                          "ServiceID": f"web{n}"})


NOBODY = "11111111-2222-3333-4444-555555555555"


def shown(name):
    yield get("/v1/query")
    yield from (get(f"/v1/query/{p}") for p in (
        f"<id of {name}>", f"<id of {name}>/explain", f"{name}/explain",
        f"{name.upper()}/explain", f"<id of {name}>/execute",
        f"{name}/execute", f"{name}/execute?stale",
        f"{name}/execute?consistent"))


def life():
    yield from instances()
    yield make("one")
    yield from shown("one")
    yield change("one", {"Name": "one", "Service": {
        "Service": "web", "Tags": ["v1", "!prod"], "OnlyPassing": True,
        "IgnoreCheckIDs": [], "NodeMeta": {"zone": "z2"}, "ServiceMeta": {},
        "Failover": {"NearestN": 2, "Datacenters": ["dc8", "dc1"]}},
        "DNS": {"TTL": "10s"}, "Token": "t"})
    yield from shown("one")
    yield change("one", {"ID": "x", "Name": "two", "Service": {
        "Service": "web"}})
    yield from shown("two")
    yield drop("one")
    yield drop("one")
    yield get("/v1/query")
    yield get("/v1/query/two/execute")


def chosen():
    """What an execution selects."""
    yield from instances()
    for i, more in enumerate((
            {"OnlyPassing": True}, {"OnlyPassing": True, "IgnoreCheckIDs": ["c"]},
            {"IgnoreCheckIDs": ["x"]}, {"Tags": ["V1"]}, {"Tags": ["!v1"]},
            {"Tags": ["v1", "!PROD"]}, {"Tags": [""]}, {"Tags": ["!"]},
            {"Tags": ["nope"]}, {"NodeMeta": {"zone": "z1"}},
            {"NodeMeta": {"zone": "Z1"}}, {"NodeMeta": {"zone": "z1", "x": ""}},
            {"ServiceMeta": {"n": "1"}}, {"ServiceMeta": {"a b": "c"}},
            {"service": "none"}, {"service": "WEB"})):
        yield make(f"c{i}", **more)
        yield get(f"/v1/query/c{i}/execute")
        yield get(f"/v1/query/c{i}/execute?cached")
    yield from (get("/v1/query/c1/execute" + p) for p in (
        "?limit=x", "?limit=", "?limit=1.5", "?near=nobody", "?dc=nope",
        "?connect=foo", "?connect=false", "?index=5", "?index=x", "?wait=x",
        "?stale&consistent", "?ns=other", "?tag=x"))
    # One instance is left: the order is that of both.
    yield from (get("/v1/query/c9/execute" + p) for p in (
        "?limit=1", "?limit=0", "?limit=-1", "?limit=7", "?near=_agent"))


TEMPLATES = [
    "${name.full}", "${name.prefix}|${name.suffix}", "${ name.full }",
    "$${name.full}", "$$${name.full}", "$$x$", "a}b", "${match(0)}",
    "${match(1)}|${match( 2 )}", "${match (9)}", "${agent.segment}x",
    "${\"x\"}", "${match(one)}", "${name.bogus}", "${", "${name.full",
    "${}", "${NAME.FULL}", "${true}", "${match(match(1))}"]


def templates():
    yield from instances()
    for i, text in enumerate(TEMPLATES):
        yield make(f"t{i}-", text, {"Regexp": "^t[0-9]+-(.*?)-(.*)$"},
                   Tags=["${match(1)}", "", "!${match(2)}"],
                   Near="${name.suffix}", IgnoreCheckIDs=["${match(1)}"],
                   NodeMeta={"k": "v${match(2)}"}, ServiceMeta={"k": "$${"})
        for name in ("a-b", "", "x", "A-B-C"):
            yield get(f"/v1/query/t{i}-{name}/explain")
        yield get(f"/v1/query/<id of t{i}->/explain")
    for i, regexp in enumerate(("(", "(?=x)", "(?P<a>x)", "a**", "[")):
        yield make(f"r{i}", "web", {"Regexp": regexp})
    yield make("e", "web", {"RemoveEmptyTags": True}, Tags=["${match(1)}", "", "x"])
    yield get("/v1/query/e/explain")
    yield make("", "${name.full}", {})
    yield make("", "again", {})
    yield from (get(f"/v1/query/{n}/execute") for n in (
        "web", "none", "<id of >", "a.b"))
    yield make("we", "longer", {})
    yield make("web", "plain")
    yield from (get(f"/v1/query/{n}/explain") for n in ("web", "webs", "we"))
    yield post("/v1/query", {"Name": "b", "Template": {"Type": "bogus"},
                             "Service": {"Service": "web"}})
    yield post("/v1/query", {"Name": "n", "Template": {"Regexp": "("},
                             "Service": {"Service": "${"}})


def bad():
    yield make("one")
    yield make("ONE")
    yield make("<id of one>")
    for body in BAD_BODIES:
        yield post("/v1/query", body)
    web = {"Service": "web"}
    yield from (post("/v1/query", b) for b in (
        {"Name": "a"}, {"Name": "a", "Service": {}}, {"Service": web},
        {"ID": "x", "Name": "a", "Service": web},
        {"Name": "a", "Session": "x", "Service": web},
        {"Name": "a", "Session": NOBODY, "Service": web},
        {"Name": "a", "Service": {**web, "Failover": {"NearestN": -1}}},
        {"Name": "a", "Service": {**web, "NodeMeta": {"": "x"}}},
        {"Name": "a", "Service": {**web, "NodeMeta": {"a b": "x"}}},
        {"Name": "a", "Service": {**web, "Tags": "x"}},
        {"Name": "a", "Service": "web"}, {"Name": 1, "Service": web}))
    for ttl in ("bad", "-1s", "10", "1h1"):
        yield post("/v1/query", {"Name": "a", "Service": web,
                                 "DNS": {"TTL": ttl}})
    for path in (NOBODY, "none", "", "one"):
        yield Request("PUT", "/v1/query/" + path,
                      json.dumps({"Name": "z", "Service": web}).encode())
        yield Request("DELETE", "/v1/query/" + path)
        yield get("/v1/query/" + path)
    yield from (get("/v1/query/" + p) for p in (
        "none/execute", "none/explain", NOBODY + "/execute", "execute",
        "explain", "a/b/execute", "one/other"))
    yield Request("PUT", "/v1/query/one/execute")
    yield Request("OPTIONS", "/v1/query")
    yield from (get("/v1/query" + p) for p in (
        "?index=x", "?dc=nope", "?stale", "?pretty", "?index=1&wait=1ms"))
    yield Request("POST", "/v1/query?dc=nope",
                  json.dumps({"Name": "d", "Service": web}).encode())


SECTIONS = [life, chosen, templates, bad]
