# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Why an instance is in the answers, or is not: and that it is the truth."""

import random
import subprocess

from muster import BINARY, Poll, parked, until

PATH = "/v1/muster/explain/health/service/"


def register(server, instance, status, node="n1", tags=(), meta=None,
             check="check", **more):
    answer = server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1", "NodeMeta": meta or {},
        "Service": {"ID": instance, "Service": "shop", "Port": 80,
                    "Tags": list(tags)},
        "Check": {"CheckID": f"{check}-{instance}", "Name": "c",
                  "ServiceID": instance, "Status": status, **more}})
    assert answer.status == 200, answer.text


def rules(answer):
    return {i["ServiceID"]: (i["In"], i["Rule"]) for i in answer.json["Instances"]}


def test_each_rule_is_told(server):
    register(server, "well", "passing", tags=["v2"])
    register(server, "sick", "critical", tags=["v2"], Output="connection refused")
    register(server, "slow", "warning", tags=["v2"])
    register(server, "old", "passing", tags=["v1"])
    server.put("/v1/catalog/register", {
        "Node": "n1", "Address": "10.0.0.1", "Check": {
            "CheckID": "_service_maintenance:slow", "Name": "m", "ServiceID": "slow",
            "Status": "critical", "Notes": "new disk"}})
    answer = server.get(PATH + "shop?passing&tag=v2")
    assert rules(answer) == {
        "well": (True, "passing"), "sick": (False, "critical"),
        "slow": (False, "maintenance"), "old": (False, "tag")}
    by_id = {i["ServiceID"]: i for i in answer.json["Instances"]}
    assert by_id["sick"]["Check"]["Output"] == "connection refused"
    assert by_id["slow"]["Check"]["Notes"] == "new disk"
    assert by_id["old"]["Missing"] == "v2"
    assert (answer.json["In"], answer.json["Out"]) == (1, 3)
    assert rules(server.get(PATH + "shop"))["sick"] == (True, "asked without passing")
    server.put("/v1/catalog/register", {
        "Node": "n1", "Address": "10.0.0.1", "Check": {
            "CheckID": "disk", "Name": "disk", "Status": "warning"}})
    told = server.get(PATH + "shop?passing").json["Instances"]
    assert {i["ServiceID"]: (i["Rule"], i["Check"]["OfNode"]) for i in told}[
        "well"] == ("warning", True)
    server.put("/v1/catalog/deregister", {"Node": "n1"})


def test_it_agrees_with_the_health_route(server):
    rng = random.Random(5)
    for i in range(60):
        register(server, f"i{i}", rng.choice(["passing", "warning", "critical"]),
                 node=f"n{i % 5}", tags=rng.sample(["a", "b", "c"], 2),
                 meta={"rack": str(i % 5 % 2)})
    for query in ("", "?passing", "?tag=a", "?tag=a&tag=b&passing",
                  "?node-meta=rack:1&passing", "?node-meta=rack:0&tag=c"):
        given = {e["Service"]["ID"] for e in
                 server.get("/v1/health/service/shop" + query).json}
        told = rules(server.get(PATH + "shop" + query))
        assert len(told) == 60
        assert {k for k, (is_in, _) in told.items() if is_in} == given
    for n in range(5):
        server.put("/v1/catalog/deregister", {"Node": f"n{n}"})


def test_it_can_be_waited_for_and_names_what_it_does_not_know(server):
    answer = server.get(PATH + "nobody")
    told = answer.json
    since = told.pop("DepartedSince")
    assert since["Revision"] >= 1 and since["Time"] > "2020"
    assert told == {"Service": "nobody", "Known": False, "Instances": [],
                           "Departed": [], "In": 0, "Out": 0}
    assert server.get(PATH).text == "Missing service name"
    register(server, "w", "passing")
    held = parked(server)
    poll = Poll(server, PATH + "shop?passing", server.get(PATH + "shop").index)
    until(lambda: parked(server) > held, "the poll parks")
    register(server, "w", "critical")
    assert rules(poll.result()) == {"w": (False, "critical")}


def test_the_command_shows_it(server):
    register(server, "w", "critical", Output="HTTP GET: 503")

    def run(*words):
        return subprocess.run(
            [BINARY, "explain", f"-http-addr=127.0.0.1:{server.port}", *words],
            capture_output=True, text=True, check=True).stdout
    lines = run("shop").splitlines()
    assert lines[1].split()[:4] == ["out", "w", "n1", "10.0.0.1:80"]
    assert lines[1].endswith("check-w is critical: HTTP GET: 503")
    assert run("-any", "shop").splitlines()[1].startswith("in ")
    assert "has no tag v9" in run("-any", "-tag", "v9", "shop")
    assert run("absent").startswith("no service absent is registered")
