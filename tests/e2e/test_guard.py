# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Many that fall silent at once: who leaves, who is held, where that is shown,
and what ends it."""

import json
import signal
import socket
import subprocess

import pytest

from muster import BINARY, free_port, until
from streams import Stream

TTL = "1500ms"


@pytest.fixture
def held(make_server):
    """A server whose window does not end during a test."""
    return make_server(dev=True, config={"guard": {"window": "1h"}}).start()


@pytest.fixture
def quick(make_server):
    return make_server(dev=True, config={"guard": {"window": "1s"}}).start()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as s:
        yield s.getsockname()[1]


def register(server, name, count, port=0, **more):
    """TTL services that pass, and that nobody will beat for."""
    for i in range(count):
        a = server.put("/v1/agent/service/register", {
            "Name": name, "ID": f"{name}-{i}", "Port": port, **more,
            "Check": {"CheckID": f"ttl-{name}-{i}", "TTL": TTL,
                      "Status": "passing"}})
        assert a.status == 200, a.text


def passing(server, name):
    a = server.get(f"/v1/health/service/{name}?passing")
    assert a.status == 200, a.text
    return a


def critical(server, name):
    """How many are critical by their true status."""
    return sum(c["Status"] == "critical" for c in
               server.get(f"/v1/health/checks/{name}").json)


def silent(server, name, count):
    until(lambda: critical(server, name) == count, f"all of {name} are silent")


def guard(server, name=""):
    return server.get(f"/v1/muster/guard?service={name}").json


def held_of(server, name):
    return len(guard(server, name)["Held"])


def cli(server, *words):
    return subprocess.run(
        [BINARY, *words, f"-http-addr=127.0.0.1:{server.port}"],
        capture_output=True, text=True, timeout=30)


def metric(server, name):
    for line in server.get(
            "/v1/agent/metrics?format=prometheus").text.splitlines():
        if line.startswith(f"muster_{name} "):
            return int(float(line.split()[1]))
    raise AssertionError(f"no metric {name}")


def test_of_ten_half_are_held_and_shown_everywhere(held, listener):
    register(held, "web", 10, port=listener)
    assert len(passing(held, "web").json) == 10
    silent(held, "web", 10)
    a = passing(held, "web")
    assert len(a.json) == 5
    assert a.headers["x-muster-guard"] == "held=5"
    assert {c["Status"] for i in a.json for c in i["Checks"]} == {"passing"}
    assert passing(held, "web").headers["x-muster-guard"] == "held=5"  # cached
    assert all(c["Output"] == "TTL expired" for i in a.json for c in i["Checks"]
               if c["CheckID"].startswith("ttl-"))
    # The plain truth.
    plain = held.get("/v1/health/service/web")
    assert len(plain.json) == 10 and "x-muster-guard" not in plain.headers
    assert len(held.get("/v1/health/state/critical").json) == 10
    # Shown.
    g = guard(held, "web")
    assert len(g["Held"]) == 5
    window, = g["Windows"]
    assert (window["Answered"], window["Left"], window["MayLeave"]) == (10, 5, 5)
    told = held.get("/v1/muster/explain/health/service/web?passing").json
    assert (told["In"], told["Out"]) == (5, 5)
    rules = [i["Rule"] for i in told["Instances"]]
    assert rules.count("held") == 5 and rules.count("critical") == 5
    assert all(i["Check"]["Cause"] == "silence" and i["Check"]["Since"]
               for i in told["Instances"])
    until(lambda: metric(held, "guard_held") == 5, "the metric")
    shown = cli(held, "guard", "-service=web")
    assert shown.stdout.count("TTL expired") == 5, shown.stdout
    assert "held by the guard since" in cli(held, "explain", "web").stdout
    until(lambda: "held in the answers" in held.log(), "a line in the log")


def test_what_a_consumer_sees_with_and_without_guard(held):
    register(held, "with", 10)
    register(held, "without", 10, Meta={"muster-guard": "off"})
    silent(held, "with", 10)
    silent(held, "without", 10)
    assert len(passing(held, "with").json) == 5
    a = passing(held, "without")
    assert a.json == [] and "x-muster-guard" not in a.headers


def test_guard_off_in_the_configuration(make_server):
    server = make_server(dev=True, config={"guard": {"mode": "off"}}).start()
    register(server, "web", 4)
    silent(server, "web", 4)
    assert passing(server, "web").json == []
    assert guard(server)["Mode"] == "off"


def test_few_and_single_instances(held):
    register(held, "one", 1)
    register(held, "two", 2)
    register(held, "three", 3)
    silent(held, "one", 1)
    silent(held, "two", 2)
    silent(held, "three", 3)
    assert [len(passing(held, n).json) for n in ("one", "two", "three")] == [0, 1, 1]
    assert held_of(held, "one") == 0


def test_a_refused_port_is_out_at_once(held):
    register(held, "web", 4, port=free_port())
    silent(held, "web", 4)
    until(lambda: passing(held, "web").json == [], "the refused are out")
    until(lambda: metric(held, "guard_released_refused") == 2, "they are counted")
    told = held.get("/v1/muster/explain/health/service/web?passing").json
    causes = [i["Check"]["Cause"] for i in told["Instances"]]
    assert causes.count("evidence") == 2


def test_one_that_accepts_stays_and_recovery_clears(quick, listener):
    register(quick, "web", 4, port=listener)
    silent(quick, "web", 4)
    until(lambda: "accepts connections" in quick.log(), "it was tried")
    until(lambda: metric(quick, "guard_windows") >= 1, "a window has ended")
    assert held_of(quick, "web") == 2
    for i in range(4):
        assert quick.put(f"/v1/agent/check/pass/ttl-web-{i}").status == 200
    assert "x-muster-guard" not in passing(quick, "web").headers
    assert len(passing(quick, "web").json) == 4


def test_evidence_passes_at_once(held):
    register(held, "web", 4)
    for i in range(4):
        assert held.put(f"/v1/agent/check/fail/ttl-web-{i}").status == 200
    assert passing(held, "web").json == []
    assert guard(held)["Windows"] == []


def test_the_unreachable_go_window_by_window_but_the_last(quick):
    register(quick, "web", 8)  # without a port nobody can try them
    silent(quick, "web", 8)
    until(lambda: held_of(quick, "web") == 1, "all but one have left")
    windows = metric(quick, "guard_windows")
    until(lambda: metric(quick, "guard_windows") > windows or
          held_of(quick, "web") == 1, "one more window")
    assert len(passing(quick, "web").json) == 1


def test_a_deliberate_act_needs_no_leave(held):
    register(held, "web", 2)
    silent(held, "web", 2)
    instance, = guard(held, "web")["Held"]
    a = held.put(f"/v1/agent/service/deregister/{instance['ServiceID']}")
    assert a.status == 200
    assert passing(held, "web").json == []
    assert held_of(held, "web") == 0


def test_an_operators_word(held):
    register(held, "web", 6)
    silent(held, "web", 6)
    first = guard(held, "web")["Held"][0]
    a = held.put(f"/v1/muster/guard/release/web?id={first['ServiceID']}")
    assert a.status == 200 and a.json == {
        "Service": "web", "Released": 1, "Remaining": 0}
    assert held_of(held, "web") == 2
    said = cli(held, "guard", "release", "web")
    assert said.returncode == 0 and "2 of web" in said.stdout, said
    assert passing(held, "web").json == []
    refused = cli(held, "guard", "release", "web")
    assert refused.returncode == 1 and "is held" in refused.stderr
    assert held.put("/v1/muster/guard/release/").status == 400


def test_a_hold_survives_a_kill(make_server):
    server = make_server(config={"guard": {"window": "1h"}}).start()
    register(server, "web", 4)
    silent(server, "web", 4)
    assert len(passing(server, "web").json) == 2
    server.stop(signal.SIGKILL)
    server.start()
    assert len(passing(server, "web").json) == 2


# --- Registered from outside ------------------------------------------------

def outside(server, node, ttl="5s", name="ext", **more):
    return server.put("/v1/catalog/register", {
        "Node": node, "Address": "127.0.0.1", "Service": {
            "ID": name, "Service": name, "Port": 80,
            "Meta": {"muster-ttl": ttl} if ttl else {}}, **more})


def test_beats_keep_what_is_from_outside_and_the_rest_goes(quick):
    assert outside(quick, "kept").status == 200
    assert outside(quick, "gone", name="other").status == 200
    assert outside(quick, "stays", ttl=None, name="third").status == 200
    s = Stream(quick, "/v1/muster/stream?all")
    s.ready()

    def gone():
        assert outside(quick, "kept").status == 200
        return quick.get("/v1/catalog/service/other").json == []
    until(gone, "it has expired")
    assert len(quick.get("/v1/catalog/service/ext").json) == 1
    assert len(quick.get("/v1/catalog/service/third").json) == 1
    assert metric(quick, "guard_expired") == 1
    assert "expired, removed: node=gone" in quick.log()
    told = s.until(lambda: "s/gone/other" not in s.entries, "a remove")[-1]
    assert told.data == {"Key": "s/gone/other", "Node": "gone",
                         "ServiceID": "other", "Service": "other",
                         "Prefix": "", "Why": "reaped"}
    s.close()


def test_of_many_that_expire_half_are_kept(held):
    for i in range(8):
        assert outside(held, f"e{i}").status == 200
    until(lambda: metric(held, "guard_expired") == 4, "half have gone")
    until(lambda: "expired, but kept" in held.log(), "the others are told")
    until(lambda: len(held.get("/v1/catalog/service/ext").json) == 4, "four stay")


@pytest.mark.parametrize("ttl", ["soon", "1s", "-10s", ""])
def test_a_bad_time_to_live_is_refused(server, ttl):
    a = server.put("/v1/catalog/register", {
        "Node": "bad", "Address": "127.0.0.1", "Service": {
            "Service": "bad", "Meta": {"muster-ttl": ttl}}})
    assert a.status == 500 and "muster-ttl" in a.text, a.text  # as Consul


@pytest.mark.parametrize("mode", ["on", "SILENCE", ""])
def test_a_bad_guard_is_refused(server, mode):
    body = {"Name": "bad", "Meta": {"muster-guard": mode}}
    a = server.put("/v1/agent/service/register", body)
    assert a.status == 400 and "muster-guard" in a.text, a.text
    a = server.put("/v1/catalog/register", {
        "Node": "bad", "Address": "127.0.0.1",
        "Service": {"Service": "bad", "Meta": body["Meta"]}})
    assert a.status == 500 and "muster-guard" in a.text, a.text  # as Consul


def test_guard_in_a_definition(server):
    a = server.put("/v1/agent/service/register", {
        "Name": "defined", "Guard": "all", "Meta": {"x": "y"}})
    assert a.status == 200, a.text
    told, = server.get("/v1/catalog/service/defined").json
    assert told["ServiceMeta"] == {"muster-guard": "all", "x": "y"}
    a = server.put("/v1/agent/service/register", {"Name": "defined", "Guard": "no"})
    assert a.status == 400 and "silence, all or off" in a.text
    server.put("/v1/agent/service/deregister/defined")


def test_ghosts_are_those_without_a_living_owner(server):
    assert outside(server, "ghost", name="lost").status == 200
    ghosts = {n["Node"]: n for n in server.get("/v1/muster/ghosts").json["Nodes"]}
    assert server.name not in ghosts
    service, = ghosts["ghost"]["Services"]
    assert (service["ServiceID"], service["TTLMs"]) == ("lost", 5000)
    assert ghosts["ghost"]["Why"] == "no agent"
    for one in (service, ghosts["ghost"]):
        assert one["RegisteredBy"] == "PUT /v1/catalog/register 127.0.0.1"
        assert one["Registered"].startswith("20")
    assert outside(server, "ghost", name="lost").status == 200

    def confirmed():
        nodes = server.get("/v1/muster/ghosts").json["Nodes"]
        return [s["LastConfirmed"] for n in nodes if n["Node"] == "ghost"
                for s in n["Services"] if s["LastConfirmed"]]
    until(confirmed, "the beat is shown")
    shown = cli(server, "ghosts").stdout
    assert "lost" in shown and "PUT /v1/catalog/register 127.0.0.1" in shown
    assert json.loads(cli(server, "ghosts", "-format=json").stdout)["Nodes"]
    server.put("/v1/catalog/register", {
        "Node": "ghost", "Address": "127.0.0.1", "Check": {
            "CheckID": "serfHealth", "Name": "Serf", "Status": "critical"}})
    nodes = {n["Node"]: n for n in server.get("/v1/muster/ghosts").json["Nodes"]}
    assert nodes["ghost"]["Why"] == "agent silent"
    server.put("/v1/catalog/deregister", {"Node": "ghost"})
