# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Reload: by signal, at any moment, as often as somebody likes."""

import json
import os
import random
import signal

import muster


def write(path, config):
    """As an editor does that never leaves half a file."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(config))
    os.replace(part, path)


def services(*names):
    return {"services": [{"name": n, "id": n, "port": 80} for n in names]}


def signals_of(process, field):
    """A mask of /proc/PID/status as a set of numbers."""
    with open(f"/proc/{process.pid}/status") as f:
        mask = next(int(line.split()[1], 16) for line in f
                    if line.startswith(field + ":"))
    return {n + 1 for n in range(64) if mask >> n & 1}


def is_past_its_loader(process):
    """Before main nothing can be done about a signal."""
    return signal.SIGHUP in (signals_of(process, "SigBlk")
                             | signals_of(process, "SigCgt"))


def shown(server):
    """What the catalog has of the node, without the server's own."""
    rows = server.get("/v1/catalog/node/node-a").json["Services"].values()
    checks = server.get("/v1/health/node/node-a").json
    return (sorted((r["ID"], r["Service"], r["Port"], r["Tags"])
                   for r in rows if r["ID"] != "consul"),
            sorted((c["CheckID"], c["Name"], c["ServiceID"], c["Status"])
                   for c in checks if c["CheckID"] != "serfHealth"))


def names(server):
    return [row[0] for row in shown(server)[0]]


def test_a_hangup_at_any_moment_of_the_start_is_a_reload(make_server,
                                                         tmp_path):
    path = tmp_path / "reload.json"
    for round in range(12):
        write(path, services("old", "both"))
        s = make_server("-config-file", str(path)).spawn()
        muster.until(lambda: is_past_its_loader(s.process), "main")
        for _ in range(round * 20):
            s.process.send_signal(signal.SIGHUP)
        write(path, services("both", "new"))
        s.process.send_signal(signal.SIGHUP)
        s.wait_ready()
        muster.until(lambda: names(s) == ["both", "new"],
                     f"round {round}: the new services, not {names(s)}")
        assert s.stop() == 1


def a_configuration(rng):
    """Services that come, go, change their name, their ID's case and their
    checks; checks that move between services and the node."""
    ids = [f"svc-{i}" for i in range(6)]
    config = {"services": [], "checks": []}
    used = set()

    def check(**more):
        free = [f"check-{i}" for i in range(8) if f"check-{i}" not in used]
        used.add(free[0] if rng.random() < .3 else rng.choice(free))
        id = [i for i in free if i in used][0]
        return {"id": id, "name": f"n{rng.randrange(3)}", "ttl": "10m",
                "status": rng.choice(["passing", "warning", "critical"]),
                **more}

    for id in rng.sample(ids, rng.randrange(len(ids) + 1)):
        config["services"].append({
            "name": rng.choice([id, "other"]), "port": rng.randrange(1, 9),
            "id": rng.choice([id, id.upper()]), "tags": rng.choice([[], ["a"]]),
            "checks": [check() for _ in range(rng.randrange(2))]})
    for _ in range(rng.randrange(3)):
        where = rng.choice([{}] + [{"service_id": v["id"]}
                                   for v in config["services"]])
        config["checks"].append(check(**where))
    return config


def wanted(config):
    """What a fresh start with that configuration shows, but for the states:
    those of checks that stay are kept."""
    checks = [(c["id"], c["name"], v["id"]) for v in config["services"]
              for c in v["checks"]]
    checks += [(c["id"], c["name"], c.get("service_id", ""))
               for c in config["checks"]]
    return (sorted((v["id"], v["name"], v["port"], v["tags"])
                   for v in config["services"]), sorted(checks))


def without_status(seen):
    return seen[0], [row[:3] for row in seen[1]]


def test_of_a_storm_of_reloads_the_last_one_holds(make_server, tmp_path):
    path = tmp_path / "reload.json"
    rng = random.Random(8500)
    write(path, {})
    s = make_server("-config-file", str(path)).start()
    for round in range(40):
        for _ in range(rng.randrange(1, 12)):
            last = a_configuration(rng)
            write(path, last)
            s.process.send_signal(signal.SIGHUP)
        muster.until(lambda: without_status(shown(s)) == wanted(last),
                     f"round {round}: {wanted(last)}, not\n"
                     f"{without_status(shown(s))}")
    assert "is refused" not in s.log()


def test_states_and_what_clients_registered_outlive_a_reload(make_server,
                                                             tmp_path):
    path = tmp_path / "reload.json"
    config = {"service": {"name": "web", "check": {"id": "own", "ttl": "10m"}},
              "checks": [{"id": "beside", "name": "b", "service_id": "web",
                          "ttl": "10m"},
                         {"id": "of-node", "name": "n", "ttl": "10m"}]}
    write(path, config)
    s = make_server("-config-file", str(path)).start()
    muster.until(lambda: len(shown(s)[1]) == 3, "the checks")
    for id in ("own", "beside", "of-node"):
        assert s.put(f"/v1/agent/check/pass/{id}").status == 200
    s.put("/v1/agent/service/register", {
        "Name": "client", "Check": {"CheckID": "c", "TTL": "10m",
                                    "Status": "warning"}})
    before = shown(s)
    index = s.get("/v1/health/service/web").index
    log = s.log().count("config: reloaded")
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: s.log().count("config: reloaded") > log, "the reload")
    assert shown(s) == before
    assert {c[0]: c[3] for c in before[1]} == {
        "own": "passing", "beside": "passing", "of-node": "passing",
        "c": "warning"}
    assert s.get("/v1/health/service/web").index == index, "nothing changed"

    # A client took a name over: it is his, and stays when the file forgets it.
    s.put("/v1/agent/service/register", {"Name": "web", "Port": 99})
    write(path, {"checks": config["checks"][1:]})
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: "beside" not in s.get("/v1/agent/checks").json,
                 "the check is gone")
    assert s.get("/v1/agent/services").json["web"]["Port"] == 99
    assert "client" in s.get("/v1/agent/services").json


def test_a_bad_configuration_changes_nothing(make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, services("kept"))
    s = make_server("-config-file", str(path)).start()
    muster.until(lambda: names(s) == ["kept"], "the service")
    path.write_text('{"services": [{"name": "new"}],\n "log_levle": "debug"}')
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: "not reloaded" in s.log(), "the refusal")
    assert "reload.json:2:2" in s.log() and "log_level" in s.log()
    write(path, services("kept", "new"))
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: names(s) == ["kept", "new"], "the new service")


def reloaded(server, path, config):
    """Writes, asks, and waits until it has happened."""
    n = server.log().count("config: reloaded")
    write(path, config)
    server.process.send_signal(signal.SIGHUP)
    muster.until(lambda: server.log().count("config: reloaded") > n,
                 "the reload")


def test_what_can_change_changes_and_the_rest_is_named(make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, {"node_meta": {"rack": "r1"}})
    s = make_server("-config-file", str(path)).start()
    kept = s.connect()  # the same connection, the same cached answers
    nodes = "/v1/catalog/nodes"

    def header(name):
        return s.request("GET", nodes, connection=kept).headers.get(name)

    assert header("x-rack") is None
    reloaded(s, path, {
        "node_meta": {"rack": "r2"},
        "http_config": {"response_headers": {"X-Rack": "two"},
                        "block_endpoints": ["/v1/agent/self"],
                        "allow_write_http_from": ["10.0.0.0/8"]},
        "telemetry": {"prometheus_retention_time": "0s"},
        "limits": {"http_max_body_bytes": 4096}, "datacenter": "dc9"})
    assert header("x-rack") == "two"
    muster.until(lambda: s.get(nodes).json[0]["Meta"]["rack"] == "r2",
                 "the new metadata")
    answer = s.get("/v1/agent/self")
    assert (answer.status, answer.text) == (
        403, "Endpoint is blocked by agent configuration")
    assert answer.headers["x-rack"] == "two"
    answer = s.put("/v1/agent/service/register", {"Name": "x"})
    assert (answer.status, answer.text) == (403, "Access is restricted")
    answer = s.get("/v1/agent/metrics?format=prometheus")
    assert answer.status == 415 and "retention time" in answer.text
    log = s.log()
    assert 'changed: key=node_meta old={"rack":"r1"} new={"rack":"r2"}' in log
    assert ("changes at a restart: key=limits.http_max_body_bytes old=1048576 "
            "new=4096") in log
    assert "changed: key=telemetry.prometheus_retention_time old=24h0m0s new=0s" in log
    assert 'changes at a restart: key=datacenter old="dc1" new="dc9"' in log
    assert "key=data_dir" not in log and "key=node_name" not in log

    reloaded(s, path, {"http_config": {
        "response_headers": {"X-Rack": "three"},
        "allow_write_http_from": ["127.0.0.0/8"]}, "log_level": "debug"})
    assert header("x-rack") == "three"
    assert s.get("/v1/agent/self").json["Meta"].get("rack") is None
    assert s.put("/v1/agent/service/register", {"Name": "x"}).status == 200
    assert s.get("/v1/agent/metrics?format=prometheus").status == 200
    assert 'changed: key=log_level old="info" new="debug"' in s.log()
    kept.close()


def test_the_limit_of_connections_changes(make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, {"limits": {"http_max_conns_per_client": 100}})
    s = make_server("-config-file", str(path)).start()
    reloaded(s, path, {"limits": {"http_max_conns_per_client": 2}})
    held = [s.connect() for _ in range(2)]
    for c in held:
        assert s.request("GET", "/v1/status/leader", connection=c).status == 200
    answer = s.get("/v1/status/leader")
    assert answer.status == 429 and "http_max_conns_per_client = 2" in answer.text
    reloaded(s, path, {"limits": {"http_max_conns_per_client": 100}})
    assert s.get("/v1/status/leader").status == 200
    for c in held:
        c.close()


def test_a_definition_that_the_agent_refuses_stops_the_whole_reload(
        make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, services("kept"))
    s = make_server("-config-file", str(path)).start()
    muster.until(lambda: names(s) == ["kept"], "the service")
    write(path, {**services("new"), "log_level": "trace", "check": {
        "name": "script", "args": ["true"], "interval": "10s"}})
    s.process.send_signal(signal.SIGHUP)
    muster.until(lambda: "not reloaded" in s.log(), "the refusal")
    assert names(s) == ["kept"]
    assert "Scripts are disabled" in s.log() and "changed:" not in s.log()


def test_a_client_may_ask_for_it_and_is_told(make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, services("old"))
    s = make_server("-config-file", str(path)).start()
    muster.until(lambda: names(s) == ["old"], "the service")
    write(path, services("new"))
    answer = s.put("/v1/agent/reload")
    assert (answer.status, answer.text) == (200, "")
    assert names(s) == ["new"], "it is done when it is answered"
    path.write_text('{"nonsense": 1}')
    answer = s.put("/v1/agent/reload")
    assert answer.status == 500 and "reload.json:1:2" in answer.text
    assert names(s) == ["new"]


def test_whether_a_signal_makes_it_leave_changes(make_server, tmp_path):
    path = tmp_path / "reload.json"
    write(path, {})
    s = make_server("-config-file", str(path)).start()
    reloaded(s, path, {"leave_on_terminate": True, "check_output_max_size": 9})
    assert "changes at a restart: key=check_output_max_size old=4096 new=9" in s.log()
    assert s.stop() == 0
    assert "stopping: signal=Terminated leave=true" in s.log()
