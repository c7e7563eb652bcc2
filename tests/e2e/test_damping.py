# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Flap damping, evidence and silence, and what a restart of the agent keeps."""

import os
import signal
import sqlite3
import subprocess
import time

import pytest

import muster
from muster import until


def metric(server, name):
    for line in server.get(
            "/v1/agent/metrics?format=prometheus").text.splitlines():
        if line.startswith(f"muster_{name} "):
            return int(float(line.split()[1]))
    raise AssertionError(f"no metric {name}")


def register(server, instance, name="web", check=None, **more):
    a = server.put("/v1/agent/service/register", {
        "ID": instance, "Name": name, "Port": 80,
        "Check": {"CheckID": f"c-{instance}", **(check or {"TTL": "1h"})},
        **more})
    assert a.status == 200, a.text


def tell(server, instance, verb):
    a = server.put(f"/v1/agent/check/{verb}/c-{instance}?note={verb}")
    assert a.status == 200, a.text


def flap(server, instance, times):
    tell(server, instance, "pass")
    for _ in range(times):
        tell(server, instance, "fail")
        tell(server, instance, "pass")


def passing(server, name="web"):
    return sorted(i["Service"]["ID"] for i in
                  server.get(f"/v1/health/service/{name}?passing").json)


def status(server, instance):
    return server.get("/v1/agent/checks").json[f"c-{instance}"]["Status"]


# --- Damping -----------------------------------------------------------------

def test_what_flaps_is_observed_and_stays_in_the_answers(make_server):
    s = make_server().start()
    for i in "1234":
        register(s, i)
        tell(s, i, "pass")
    flap(s, "1", 5)
    assert metric(s, "agent_flaps") == 5
    assert (metric(s, "agent_flapping"), metric(s, "agent_damped")) == (1, 0)
    until(lambda: passing(s) == ["1", "2", "3", "4"], "all four")
    assert "it would be kept out of the answers" in s.log()
    rows = {i["ServiceID"]: i for i in s.get(
        "/v1/muster/explain/health/service/web?passing").json["Instances"]}
    flaps = rows["1"]["Flaps"]
    assert rows["1"]["In"] and "Flaps" not in rows["2"]
    assert flaps["CheckID"] == "c-1" and flaps["Penalty"] > 2500
    assert not flaps["Damped"] and flaps["Until"] > flaps["Since"]
    shown = subprocess.run(
        [muster.BINARY, "explain", f"-http-addr=127.0.0.1:{s.port}", "web"],
        capture_output=True, text=True, check=True, timeout=60).stdout
    assert (f"passing; c-1 flaps: penalty {flaps['Penalty']}, would be damped "
            f"until {flaps['Until']}") in shown
    s.put("/v1/agent/service/deregister/1")
    assert metric(s, "agent_flapping") == 0


@pytest.mark.parametrize("how", ["check", "meta", "configuration"])
def test_what_flaps_is_damped_where_that_is_asked_for(make_server, how):
    s = make_server(config={"damping": {"mode": "suppress"}}
                    if how == "configuration" else None).start()
    check = {"TTL": "1h"}
    if how == "check":
        check["Damping"] = "suppress"
    meta = {"muster-damping": "suppress"} if how == "meta" else {}
    for i in "1234":
        register(s, i, check=check, Meta=meta)
        tell(s, i, "pass")
    flap(s, "1", 3)
    assert (metric(s, "agent_flapping"), metric(s, "agent_damped")) == (1, 1)
    assert status(s, "1") == "passing"  # the truth
    until(lambda: passing(s) == ["2", "3", "4"], "the answers without it")
    assert len(s.get("/v1/health/service/web").json) == 4
    # No more than a third.
    flap(s, "2", 5)
    until(lambda: metric(s, "agent_damped") == 2, "the second one")
    until(lambda: len(passing(s)) == 3, "one of both")
    assert "it is kept out of the answers" in s.log()


@pytest.mark.parametrize("key, value, words", [
    ("muster-damping", "on", "must be observe, suppress or off"),
    ("muster-guard", "none", "must be silence, all or off"),
])
def test_what_a_service_asks_for_must_exist(make_server, key, value, words):
    s = make_server(dev=True).start()
    service = {"Name": "web", "Meta": {key: value}}
    a = s.put("/v1/agent/service/register", service)
    assert a.status == 400 and words in a.text and key in a.text
    a = s.put("/v1/catalog/register", {
        "Node": "n", "Address": "10.0.0.1",
        "Service": {"Service": "web", "Meta": {key: value}}})
    assert a.status >= 400 and words in a.text
    service["Meta"][key] = "off"
    assert s.put("/v1/agent/service/register", service).status == 200


def test_limits_and_mode_change_with_a_reload(make_server):
    s = make_server(config={"damping": {"mode": "suppress"}}).start()
    register(s, "1")
    flap(s, "1", 4)
    assert metric(s, "agent_damped") == 1
    s.config = {"damping": {"mode": "off"}}
    s.command()  # writes the file
    assert s.put("/v1/agent/reload").status == 200
    until(lambda: metric(s, "agent_damped") == 0, "its release")
    assert metric(s, "agent_flapping") == 0
    s.config = {"damping": {"suppress": 10}}
    s.command()
    a = s.put("/v1/agent/reload")
    assert a.status == 500
    assert "damping.suppress 10 must be over damping.reuse 750" in a.text


def test_time_releases_what_was_damped(make_server):
    s = make_server(config={"damping": {
        "mode": "suppress", "half_life": "200ms", "max": "1s"}}).start()
    register(s, "1")
    # On a slow machine the penalty decays between two words.
    until(lambda: flap(s, "1", 3) or metric(s, "agent_damped"), "damping")
    until(lambda: metric(s, "agent_damped") == 0, "its release")
    assert passing(s) == ["1"]


# --- Restarts ----------------------------------------------------------------

def test_kill_9_changes_no_status_and_moves_no_index(make_server):
    s = make_server(config={"damping": {"mode": "suppress"}}).start()
    register(s, "up")
    register(s, "down")
    register(s, "silent", check={"TTL": "1s", "Status": "passing"})
    register(s, "flaps")
    tell(s, "up", "pass")
    tell(s, "down", "pass")
    tell(s, "down", "fail")
    flap(s, "flaps", 3)
    until(lambda: status(s, "silent") == "critical", "its silence")
    want = s.get("/v1/agent/checks").json
    path = "/v1/health/service/web"
    until(lambda: {c["CheckID"]: c["Status"] for i in s.get(path).json
                   for c in i["Checks"] if c["CheckID"] in want} ==
          {k: c["Status"] for k, c in want.items()}, "the catalog to know")
    before = s.get("/v1/health/state/any").json
    s.kill()
    s.start()
    until(lambda: "states of checks restored: checks=4" in s.log(), "the log")
    assert s.get("/v1/agent/checks").json == want
    assert metric(s, "agent_damped") == 1
    assert s.get("/v1/health/state/any").json == before
    assert metric(s, "agent_flips") == 0


def another_boot(folder):
    """As if the states had been written before the host was restarted."""
    with open("/proc/sys/kernel/random/boot_id") as f:
        boot = f.read().strip().encode()
    db = sqlite3.connect(folder / "data" / "agent.db")
    with db:
        rows = db.execute("select id, value from log").fetchall()
        states = [(value.replace(boot, b"x" * len(boot)), row)
                  for row, value in rows if value and boot in value]
        assert states
        db.executemany("update log set value = ? where id = ?", states)
    db.close()


def test_another_boot_starts_anew_and_looks_soon(make_server, provider):
    s = make_server().start()
    register(s, "probed", check={
        "HTTP": provider.url, "Interval": "60s", "Status": "passing"})
    register(s, "told")
    register(s, "lent", check={"TTL": "1h", "Status": "passing"})
    tell(s, "told", "pass")
    tell(s, "lent", "warn")
    # Critical by definition, so that only a probe can make it pass.
    register(s, "asked", check={"HTTP": provider.url, "Interval": "60s"})
    s.stop()
    another_boot(s.folder)
    s.start()
    assert "the host was restarted" in s.log()
    until(lambda: status(s, "told") == "critical", "silence")
    assert "restarted" in s.get("/v1/agent/checks").json["c-told"]["Output"]
    assert status(s, "lent") == "passing"
    # Within 2 s instead of 60; the test itself waits for a status.
    until(lambda: status(s, "asked") == "passing", "the first look")


# --- A starved agent ---------------------------------------------------------

def test_time_outs_of_a_stopped_process_are_its_own(make_server):
    """A target that never answers is looked at while the process is stopped."""
    import socket
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        s = make_server().start()
        register(s, "1", check={
            "HTTP": f"http://127.0.0.1:{silent.getsockname()[1]}/",
            "Interval": "1s", "Timeout": "1s", "Status": "passing"})

        def stopped():
            os.kill(s.process.pid, signal.SIGSTOP)
            time.sleep(2.2)  # sleep: that it is stopped is what is tested
            os.kill(s.process.pid, signal.SIGCONT)
            return metric(s, "agent_starved")
        until(stopped, "a time-out during a stop")
        assert "the checks' loop was late by" in s.log()
