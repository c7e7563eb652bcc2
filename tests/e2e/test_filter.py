# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""?filter: what it lets through, whom it wakes, what it refuses. The language
itself is tests/unit/api_filter_test.c and tests/differential."""

import pytest
from muster import Poll, parked, quote, until

PREFIX = "Failed to create boolean expression evaluator: "


def filtered(server, path, expression, **kw):
    mark = "&" if "?" in path else "?"
    return server.get(f"{path}{mark}filter={quote(expression)}", **kw)


def register(server, instance, node="fn", service="f", status="passing",
             meta=None, tags=(), output=""):
    answer = server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1", "NodeMeta": {"rack": node[-1]},
        "Service": {"ID": instance, "Service": service, "Port": 80,
                    "Tags": list(tags), "Meta": meta or {}},
        "Check": {"CheckID": "c-" + instance, "Name": "c", "Status": status,
                  "ServiceID": instance, "Output": output}})
    assert answer.text == "true", answer.text


@pytest.fixture
def web(server):
    register(server, "w1", "fn1", meta={"version": "1"}, tags=["a"])
    register(server, "w2", "fn1", meta={"version": "2"}, tags=["b"])
    register(server, "w3", "fn2", meta={"version": "2"}, status="critical")
    yield server
    for node in ("fn1", "fn2"):
        server.put("/v1/catalog/deregister", {"Node": node})


def test_every_route_chooses_its_rows(web):
    def ids(path, expression, name):
        body = filtered(web, path, expression).json
        rows = body["Services"] if "Services" in body else body
        rows = rows.values() if isinstance(rows, dict) else rows
        return sorted(name(r) for r in rows)

    asked = [
        ("/v1/catalog/nodes", "Meta.rack == 2", lambda r: r["Node"], ["fn2"]),
        ("/v1/catalog/service/f", "ServiceMeta.version == 2 and NodeMeta.rack == 1",
         lambda r: r["ServiceID"], ["w2"]),
        ("/v1/catalog/node/fn1", "a in Tags", lambda r: r["ID"], ["w1"]),
        ("/v1/catalog/node-services/fn1", "Tags contains b",
         lambda r: r["ID"], ["w2"]),
        ("/v1/health/service/f", "not Checks.Status == critical",
         lambda r: r["Service"]["ID"], ["w1", "w2"]),
        ("/v1/health/service/f?passing", "Service.Meta.version == 2",
         lambda r: r["Service"]["ID"], ["w2"]),
        ("/v1/health/node/fn1", "ServiceTags contains a",
         lambda r: r["CheckID"], ["c-w1"]),
        ("/v1/health/checks/f", "Status != passing",
         lambda r: r["CheckID"], ["c-w3"]),
        ("/v1/health/state/any", "Node matches `^fn[12]$` and ServiceID != w1",
         lambda r: r["CheckID"], ["c-w2", "c-w3"]),
    ]
    for path, expression, name, want in asked:
        assert ids(path, expression, name) == want, path


def test_catalog_services_lists_names_with_a_row_and_the_tags_of_those(web):
    got = filtered(web, "/v1/catalog/services", "NodeMeta.rack == 1").json
    assert got == {"f": ["a", "b"]}
    assert filtered(web, "/v1/catalog/services", "ServiceMeta.version == 1").json \
        == {"f": ["a"]}


def test_the_agent_chooses_among_its_own(server):
    for name, tag in (("one", "x"), ("two", "y")):
        server.put("/v1/agent/service/register", {
            "Name": name, "Tags": [tag],
            "Check": {"CheckID": "k-" + name, "TTL": "1h"}})
    assert list(filtered(server, "/v1/agent/services", "x in Tags").json) == ["one"]
    assert list(filtered(server, "/v1/agent/checks",
                         "ServiceTags contains y").json) == ["k-two"]
    members = "/v1/agent/members"
    assert len(filtered(server, members, "Tags.role == consul").json) == 1
    assert filtered(server, members, "Status != 1").json == []
    for name in ("one", "two"):
        server.put("/v1/agent/service/deregister/" + name)


def test_why_an_instance_is_not_there(web):
    told = filtered(web, "/v1/muster/explain/health/service/f",
                    "Service.Meta.version == 1").json
    assert {i["ServiceID"]: i["In"] for i in told["Instances"]} == {
        "w1": True, "w2": False, "w3": False}
    assert [i["Rule"] for i in told["Instances"] if not i["In"]] == ["filter"] * 2


def test_answers_of_different_filters_are_kept_apart(web):
    path = "/v1/health/service/f"
    for _ in range(3):  # from the cache, too
        for version, want in (("1", ["w1"]), ("2", ["w2", "w3"]), ("3", [])):
            got = filtered(web, path, f"Service.Meta.version == {version}").json
            assert [e["Service"]["ID"] for e in got] == want
        assert len(web.get(path).json) == 3
    # An answer that depends on an output is not kept beyond it.
    said = 'Checks.Output matches "tired"'
    assert filtered(web, path, said).json == []
    register(web, "w1", "fn1", meta={"version": "1"}, tags=["a"],
             output="tired today")
    assert [e["Service"]["ID"] for e in filtered(web, path, said).json] == ["w1"]


def park(server, path, expression):
    index = filtered(server, path, expression).index
    held = parked(server)
    poll = Poll(server, f"{path}?filter={quote(expression)}", index)
    until(lambda: parked(server) > held, "the poll parks")
    return poll


@pytest.mark.parametrize("path, one, two", [
    ("/v1/health/service/f", "Service.Meta.version == 1",
     "Service.Meta.version == 2"),
    ("/v1/catalog/service/f", "ServiceMeta.version == 1",
     "ServiceMeta.version == 2"),
    ("/v1/catalog/services", "ServiceMeta.version == 1",
     "ServiceMeta.version == 2 and ServiceID != w9"),
])
def test_a_change_wakes_only_those_whose_filtered_answer_changed(web, path, one,
                                                                 two):
    held, woken = park(web, path, one), park(web, path, two)
    before = filtered(web, path, two).body
    web.put("/v1/catalog/deregister", {"Node": "fn1", "ServiceID": "w2"})
    answer = woken.result()
    assert answer.body != before
    assert held.waiting
    web.put("/v1/catalog/deregister", {"Node": "fn1", "ServiceID": "w1"})
    assert held.result().status == 200


def test_a_status_outside_the_filter_wakes_nobody(web):
    held = park(web, "/v1/health/service/f", "Service.Meta.version == 1")
    seen = park(web, "/v1/health/service/f", "Checks.Status == warning")
    register(web, "w3", "fn2", meta={"version": "2"}, status="warning")
    assert [e["Service"]["ID"] for e in seen.result().json] == ["w3"]
    assert held.waiting
    register(web, "w1", "fn1", meta={"version": "1"}, status="warning")
    assert held.result().json[0]["Checks"][0]["Status"] == "warning"


def test_a_node_that_changes_wakes_a_filter_on_nodes_of_catalog_services(web):
    poll = park(web, "/v1/catalog/services", "NodeMeta.rack == 9")
    web.put("/v1/catalog/register", {"Node": "fn2", "Address": "10.0.0.1",
                                     "NodeMeta": {"rack": "9"}})
    assert list(poll.result().json) == ["f"]


def test_a_bad_filter_is_the_clients_fault(server):
    cases = {
        "Node ~ x": "1:6 (5): no match found, expected: \"!=\"",
        "Nope == 1": "Selector \"Nope\" is not valid",
        "Node == n1 and (Node == n2": "1:27 (26): rule \"grouping\"",
        "Meta == x": "Invalid match operator \"Equal\" for selector \"Meta\"",
        "Node matches `a(?=b)`": "Failed to compile regular expression",
        "(" * 2000: "1:66 (65): more than 64 parentheses",
        "x" * 5000: "5000 bytes are more than 4096",
    }
    for expression, why in cases.items():
        answer = filtered(server, "/v1/catalog/nodes", expression)
        assert answer.status == 400 and answer.text.startswith(PREFIX + why), \
            answer.text
        assert "x-consul-index" not in answer.headers
    assert filtered(server, "/v1/catalog/nodes", "").status == 200
    assert filtered(server, "/v1/status/leader", "Nope == 1").status == 200


def test_a_hostile_pattern_is_given_up(web):
    """Exponential for matchers that step back. What needs too many states for the
    text is an error that says so; nothing takes the server away from others."""
    register(web, "w1", "fn1", output="a" * 4000)
    path = "/v1/health/service/f"
    for pattern in ("(a*)*[bc]", "(a|aa)+[bc]", "(ab?)+[yz]", "a{1,100}[bc]"):
        answer = filtered(web, path, f"Checks.Output matches `{pattern}`")
        assert (answer.status, answer.text) == (200, "[]"), pattern
    for pattern in ("(a{1,9}){1,90}[bc]", "(a+a+)+[bc]"):
        answer = filtered(web, path, f"Checks.Output matches `{pattern}`")
        assert answer.status == 400, pattern
        assert f'The regular expression "{pattern}" needs too many steps' \
            in answer.text
        # Names are short enough for any pattern.
        assert filtered(web, path, f"Node.Node matches `{pattern}`").text == "[]"
    assert web.get(path).status == 200
