# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The agent's own routes: services, checks, health, maintenance."""

import os
import signal

from muster import LIMIT, Poll, Server, until


def agent_register(server, **body):
    a = server.put("/v1/agent/service/register", body)
    assert a.status == 200 and a.body == b"", a.text
    return a


def passing(server, name):
    return [e["Service"]["ID"]
            for e in server.get(f"/v1/health/service/{name}?passing").json]


def status_of(server, check_id):
    checks = server.get("/v1/agent/checks").json
    return checks[check_id]["Status"] if check_id in checks else None


def test_a_service_is_in_the_catalog_when_its_put_has_answered(server):
    agent_register(server, Name="now", ID="now-1", Port=1, Address="127.0.0.1",
                   Tags=["t"])
    rows = server.get("/v1/catalog/service/now").json
    assert [(r["Node"], r["ServiceID"]) for r in rows] == [("node-a", "now-1")]
    own = server.get("/v1/agent/services").json["now-1"]
    assert own["Service"] == "now" and own["Tags"] == ["t"]
    assert own["TaggedAddresses"]["lan_ipv4"] == {"Address": "127.0.0.1", "Port": 1}
    assert server.put("/v1/agent/service/deregister/now-1").status == 200
    assert server.get("/v1/catalog/service/now").json == []
    assert "now-1" not in server.get("/v1/agent/services").json


def test_an_http_check_turns_with_its_target(server, provider):
    agent_register(server, Name="http", ID="http-1", Address="127.0.0.1",
                   Port=provider.port,
                   Check={"HTTP": provider.url, "Interval": "1s"})
    until(lambda: passing(server, "http") == ["http-1"], "it passes")
    check = server.get("/v1/agent/checks").json["service:http-1"]
    assert check["Type"] == "http"
    assert check["Output"] == f"HTTP GET {provider.url}: 200 OK Output: fine"
    assert provider.headers[0]["User-Agent"] == "Consul Health Check"
    provider.status = 500
    until(lambda: passing(server, "http") == [], "it leaves")
    assert status_of(server, "service:http-1") == "critical"
    provider.status = 429
    until(lambda: status_of(server, "service:http-1") == "warning", "it warns")
    provider.status = 200
    until(lambda: passing(server, "http") == ["http-1"], "it comes back")
    server.put("/v1/agent/service/deregister/http-1")


def test_a_tcp_check_sees_a_closed_port(server, provider):
    agent_register(server, Name="tcp", ID="tcp-1", Port=1,
                   Check={"TCP": f"127.0.0.1:{provider.port}", "Interval": "1s"})
    until(lambda: status_of(server, "service:tcp-1") == "passing", "it passes")
    out = server.get("/v1/agent/checks").json["service:tcp-1"]["Output"]
    assert out == f"TCP connect 127.0.0.1:{provider.port}: Success"
    provider.close()
    until(lambda: status_of(server, "service:tcp-1") == "critical", "it fails")
    out = server.get("/v1/agent/checks").json["service:tcp-1"]["Output"]
    assert "connection refused" in out
    server.put("/v1/agent/service/deregister/tcp-1")


def test_ttl_checks_are_told_and_run_out(server):
    agent_register(server, Name="ttl", ID="ttl-1", Check={"TTL": "2s"})
    assert status_of(server, "service:ttl-1") == "critical"
    assert server.put("/v1/agent/check/pass/service:ttl-1?note=hello").status == 200
    assert passing(server, "ttl") == ["ttl-1"]
    assert server.get("/v1/agent/checks").json["service:ttl-1"]["Output"] == "hello"
    a = server.put("/v1/agent/check/update/service:ttl-1",
                   {"Status": "warning", "Output": "hm"})
    assert a.status == 200
    assert status_of(server, "service:ttl-1") == "warning"
    until(lambda: status_of(server, "service:ttl-1") == "critical", "it expires")
    out = server.get("/v1/agent/checks").json["service:ttl-1"]["Output"]
    assert out == "TTL expired (last output before timeout follows): hm"
    a = server.put("/v1/agent/check/update/service:ttl-1", {"Status": "bogus"})
    assert (a.status, a.text) == (400, "Invalid check status: 'bogus'")
    server.put("/v1/agent/service/deregister/ttl-1")


def test_several_checks_get_numbers_and_all_count(server):
    agent_register(server, Name="many", ID="m", Checks=[
        {"TTL": "1m", "Status": "passing"}, {"TTL": "1m", "Status": "passing"},
        {"CheckID": "own", "Name": "mine", "TTL": "1m", "Status": "passing"}])
    ids = {c for c, v in server.get("/v1/agent/checks").json.items()
           if v["ServiceID"] == "m"}
    assert ids == {"service:m:1", "service:m:2", "own"}
    assert passing(server, "many") == ["m"]
    server.put("/v1/agent/check/fail/own")
    assert passing(server, "many") == []
    # Re-registering keeps a check's status, and drops others only if asked to.
    agent_register(server, Name="many", ID="m", Check={"CheckID": "own", "TTL": "1m"})
    assert status_of(server, "own") == "critical"
    assert status_of(server, "service:m:1") == "passing"
    a = server.put("/v1/agent/service/register?replace-existing-checks",
                   {"Name": "many", "ID": "m",
                    "Check": {"CheckID": "own", "TTL": "1m"}})
    assert a.status == 200
    assert status_of(server, "service:m:1") is None
    server.put("/v1/agent/service/deregister/m")
    assert status_of(server, "own") is None


def test_node_checks_weigh_on_every_service(server):
    agent_register(server, Name="onnode", ID="on-1")
    a = server.put("/v1/agent/check/register",
                   {"Name": "disk", "TTL": "1m", "Status": "passing"})
    assert a.status == 200
    assert passing(server, "onnode") == ["on-1"]
    server.put("/v1/agent/check/fail/disk")
    assert passing(server, "onnode") == []
    assert server.put("/v1/agent/check/deregister/disk").status == 200
    assert passing(server, "onnode") == ["on-1"]
    server.put("/v1/agent/service/deregister/on-1")


def test_an_alias_check_follows_its_service(server):
    agent_register(server, Name="main", ID="main-1",
                   Check={"TTL": "1m", "Status": "passing"})
    agent_register(server, Name="shadow", ID="shadow-1",
                   Check={"AliasService": "main-1"})
    until(lambda: passing(server, "shadow") == ["shadow-1"], "it follows up")
    server.put("/v1/agent/check/fail/service:main-1")
    until(lambda: passing(server, "shadow") == [], "it follows down")
    for i in ("main-1", "shadow-1"):
        server.put(f"/v1/agent/service/deregister/{i}")


def test_maintenance_takes_a_service_and_the_node_out(server):
    agent_register(server, Name="maint", ID="mt-1")
    path = "/v1/agent/service/maintenance/mt-1"
    assert server.put(path + "?enable=true&reason=tea").status == 200
    assert passing(server, "maint") == []
    check = server.get("/v1/agent/checks").json["_service_maintenance:mt-1"]
    assert check["Status"] == "critical" and check["Notes"] == "tea"
    a = server.get("/v1/agent/health/service/id/mt-1")
    assert a.status == 503 and a.json["AggregatedStatus"] == "maintenance"
    assert a.headers["x-consul-reason"] == "maintenance"
    assert server.put(path + "?enable=false").status == 200
    assert passing(server, "maint") == ["mt-1"]
    assert server.put("/v1/agent/maintenance?enable=true").status == 200
    assert passing(server, "maint") == []
    assert server.put("/v1/agent/maintenance?enable=false").status == 200
    assert passing(server, "maint") == ["mt-1"]
    assert server.put("/v1/agent/maintenance").text == "Missing value for enable"
    assert server.put(path + "?enable=x").status == 400
    server.put("/v1/agent/service/deregister/mt-1")


def test_agent_health_by_id_and_name(server):
    agent_register(server, Name="hn", ID="hn-1",
                   Check={"TTL": "1m", "Status": "passing"})
    agent_register(server, Name="hn", ID="hn-2",
                   Check={"TTL": "1m", "Status": "warning"})
    assert server.get("/v1/agent/health/service/id/hn-1").status == 200
    assert server.get("/v1/agent/health/service/id/hn-2").status == 429
    both = server.get("/v1/agent/health/service/name/hn")
    assert both.status == 429 and len(both.json) == 2
    text = server.get("/v1/agent/health/service/id/hn-2?format=text")
    assert (text.status, text.text) == (429, "warning")
    none = server.get("/v1/agent/health/service/name/nope")
    assert (none.status, none.text) == (404, "[]")
    for i in ("hn-1", "hn-2"):
        server.put(f"/v1/agent/service/deregister/{i}")


def test_one_service_can_be_waited_for_by_hash(server):
    agent_register(server, Name="hash", ID="hash-1", Port=1)
    first = server.get("/v1/agent/service/hash-1")
    h = first.json["ContentHash"]
    assert first.headers["x-consul-contenthash"] == h
    p = Poll(server, f"/v1/agent/service/hash-1?hash={h}", 0)
    from muster import parked
    until(lambda: parked(server) > 0, "it parks")
    agent_register(server, Name="hash", ID="hash-1", Port=1)  # the same again
    assert p.waiting
    agent_register(server, Name="hash", ID="hash-1", Port=2)
    assert p.result().json["Port"] == 2
    server.put("/v1/agent/service/deregister/hash-1")


def test_refusals_in_consuls_words(server):
    put = server.put
    cases = [
        ("/v1/agent/service/register", {}, 400, "Missing service name"),
        ("/v1/agent/service/register", {"Name": "x", "Address": "::"}, 400,
         "Invalid service address"),
        ("/v1/agent/service/register", {"Name": "x", "Check": {"HTTP": "http://a"}},
         400, "Invalid check: Interval must be > 0"),
        ("/v1/agent/service/register", {"Name": "x", "Meta": {"a b": "c"}}, 400,
         "Key contains invalid characters"),
        ("/v1/agent/service/register", {"Name": "x", "Weights": {}}, 400,
         "Passing must be greater than 0"),
        ("/v1/agent/service/register", {"Name": "x", "Port": "x"}, 400,
         "cannot unmarshal string"),
        ("/v1/agent/check/register", {}, 400, "Missing check name"),
        ("/v1/agent/check/register", {"Name": "c", "ServiceID": "no", "TTL": "1m"},
         500, 'ServiceID "no" does not exist'),
        ("/v1/agent/check/register",
         {"Name": "c", "Args": ["/bin/true"], "Interval": "1s"}, 500,
         "Scripts are disabled on this agent"),
        ("/v1/agent/check/pass/nope", None, 404, "Unknown check ID"),
        ("/v1/agent/service/deregister/nope", None, 404, "Unknown service ID"),
        ("/v1/agent/service/maintenance/nope?enable=true", None, 404,
         'No service registered with ID "nope"'),
    ]
    for path, body, status, text in cases:
        a = put(path, body)
        assert a.status == status and text in a.text, (path, a.status, a.text)
    assert "x" not in server.get("/v1/agent/services").json


def test_scripts_run_when_allowed_and_their_group_dies_with_them(make_server, tmp_path):
    s = make_server(config={"enable_script_checks": True}).start()
    pid_file = tmp_path / "pid"
    for code, status in ((0, "passing"), (1, "warning"), (3, "critical")):
        a = s.put("/v1/agent/check/register", {
            "ID": f"x{code}", "Name": "x", "Interval": "1s",
            "Args": ["/bin/sh", "-c", f"echo said {code}; exit {code}"]})
        assert a.status == 200, a.text
        until(lambda: s.get("/v1/agent/checks").json[f"x{code}"]["Output"]
              == f"said {code}\n", "it ran")
        assert status_of(s, f"x{code}") == status
    a = s.put("/v1/agent/check/register", {
        "ID": "slow", "Name": "slow", "Interval": "1s", "Timeout": "1s",
        "Args": ["/bin/sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait"]})
    assert a.status == 200
    until(lambda: "Timed out (1s) running check"
          in s.get("/v1/agent/checks").json["slow"]["Output"], "it times out")
    s.put("/v1/agent/check/deregister/slow")
    child = int(pid_file.read_text())

    def gone():
        try:
            with open(f"/proc/{child}/stat") as f:
                return f.read().split()[2] == "Z"
        except OSError:
            return True
    until(gone, "the grandchild is dead")


def test_services_and_last_states_survive_a_restart(make_server):
    s = make_server().start()
    agent_register(s, Name="kept", ID="kept-1", Port=7,
                   Check={"TTL": "10m"})
    s.put("/v1/agent/check/pass/service:kept-1?note=well")
    assert passing(s, "kept") == ["kept-1"]
    s.kill()
    s.start()
    assert passing(s, "kept") == ["kept-1"]
    assert s.get("/v1/agent/services").json["kept-1"]["Port"] == 7
    until(lambda: status_of(s, "service:kept-1") == "passing", "its state is back")


def test_what_somebody_else_removed_comes_back(server):
    agent_register(server, Name="mine", ID="mine-1")
    server.put("/v1/catalog/deregister", {"Node": "node-a", "ServiceID": "mine-1"})
    until(lambda: passing(server, "mine") == ["mine-1"], "anti-entropy repairs")
    server.register("node-a", "foreign", "foreign-1")
    until(lambda: server.get("/v1/catalog/service/foreign").json == [],
          "what the agent does not know goes")
    server.put("/v1/agent/service/deregister/mine-1")
    assert server.get("/v1/health/service/consul?passing").json != []
