# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Who watches, what they have applied, and draining with proof.

The longest wait is set to two seconds, so that a server knows of all who may hold
an answer 2.2 s after its start instead of eleven minutes.
"""

import json
import subprocess
import threading

import dns_client as dns
import pytest

from muster import BINARY, free_port, until
from streams import Stream

WEB = "/v1/health/service/web"


@pytest.fixture
def server(make_server):
    s = make_server(config={"max_query_time": "2s"}).start()
    for i in ("w1", "w2"):
        a = s.put("/v1/agent/service/register",
                  {"Name": "web", "ID": i, "Port": 80})
        assert a.status == 200, a.text
    return s


def ack(server, *streams, index=None):
    return server.put("/v1/muster/ack", [
        {"Subscriber": s.subscriber, "Index": index or s.last_id}
        for s in streams])


def follow(server, path=WEB + "?passing", label=None, **kw):
    s = Stream(server, path,
               headers=[f"X-Muster-Subscriber: {label}"] if label else (), **kw)
    s.ready()
    return s


def watchers(server, name="web"):
    return server.get(f"/v1/muster/watchers/{name}").json


def knows_all(server):
    until(lambda: watchers(server)["Complete"], "the table knows of all")


def drain(server, instance, query="wait=1500ms"):
    a = server.put(f"/v1/agent/service/drain/{instance}?{query}")
    assert a.status == 200, a.text
    return a.json


def muster(server, *words):
    return subprocess.run(
        [BINARY, words[0], "-http-addr", f"127.0.0.1:{server.port}",
         *words[1:]], capture_output=True, text=True, timeout=60)


# --- Subscribers and acknowledgements ----------------------------------------


def test_watchers_are_listed_with_what_they_have_applied(server):
    one = follow(server, label="front")
    two = Stream(server, WEB, headers=["X-Muster-Zone: b"])
    two.ready()
    assert ack(server, one).json == {"Refused": [], "Taken": 1}
    rows = {r["Subscriber"]: r for r in watchers(server)["Subscribers"]}
    assert rows[one.subscriber]["Label"] == "front"
    assert rows[one.subscriber]["AppliedIndex"] == one.last_id
    assert rows[two.subscriber]["Zone"] == "b"
    assert rows[two.subscriber]["AppliedIndex"] == 0
    assert rows[two.subscriber]["SentIndex"] == two.last_id
    two.close()
    until(lambda: not {r["Subscriber"]: r
                       for r in watchers(server)["Subscribers"]}
          .get(two.subscriber, {"Connected": False})["Connected"],
          "it has left")
    one.close()


def test_a_chain_of_polls_with_an_id_acknowledges_by_its_index(server):
    label = {"X-Muster-Subscriber": "poller"}
    first = server.get(WEB, headers=label)
    id_ = first.headers["x-muster-subscriber-id"]
    label["X-Muster-Subscriber-Id"] = id_
    second = server.get(f"{WEB}?index={first.index}&wait=10ms", headers=label)
    assert second.headers["x-muster-subscriber-id"] == id_
    [row] = watchers(server)["Subscribers"]
    assert (row["Subscriber"], row["Kind"], row["AppliedIndex"],
            row["Label"]) == (id_, "poll", first.index, "poller")
    # Without id or label nothing is proven, and no id is given.
    third = server.get(WEB)
    assert "x-muster-subscriber-id" not in third.headers
    assert len(watchers(server)["Unproven"]) == 1


def test_acknowledgements_that_cannot_be_are_refused(server):
    s = follow(server)
    poll = server.get(WEB, headers={"X-Muster-Subscriber": "poller"})
    for index, id_ in ((s.last_id + 1, s.subscriber), (1 << 60, s.subscriber),
                       (1, poll.headers["x-muster-subscriber-id"]),
                       (1, "f" * 32), (1, "x" * (1 << 16))):
        a = server.put("/v1/muster/ack", [{"Subscriber": id_, "Index": index}])
        assert a.status == 409 and len(a.json["Refused"]) == 1, a.text
        assert len(a.text) < 1000
    for body in ("{}", "[{}]", '[{"Subscriber":"a","Index":-1}]', "nonsense",
                 '[{"Subscriber":"a","Index":1.5}]', "[null]"):
        assert server.put("/v1/muster/ack", body).status == 400, body
    many = [{"Subscriber": "a", "Index": 1}] * 1025
    a = server.put("/v1/muster/ack", many)
    assert a.status == 413 and "1024" in a.text
    s.close()


def test_lag_is_measured_from_publishing_to_applying(server):
    s = follow(server)
    ack(server, s)  # of the snapshot: that is no change
    server.put("/v1/agent/service/register",
               {"Name": "web", "ID": "w1", "Port": 99})
    s.change()
    ack(server, s)
    lag = server.get("/v1/muster/lag").json
    [row] = lag["Services"]
    assert (row["Service"], row["Count"]) == ("web", 1)
    assert sum(row["Buckets"]) == 1 and lag["Worst"]
    shown = muster(server, "lag")
    assert shown.returncode == 0 and "web" in shown.stdout
    assert muster(server, "lag", "WEB").stdout.count("#") == 40
    assert server.get("/v1/muster/lag?service=other").json["Services"] == []
    metrics = server.get("/v1/agent/metrics?format=prometheus").text.split("\n")
    web = [line for line in metrics
           if line.startswith("muster_subscriber_lag_seconds")]
    assert web[-1] == 'muster_subscriber_lag_seconds_count{service="web"} 1'
    assert web[-3] == ('muster_subscriber_lag_seconds_bucket{service="web",'
                       'le="+Inf"} 1')
    s.close()


# --- Draining ----------------------------------------------------------------


def test_safe_once_everybody_has_let_go(server):
    s = follow(server, label="front")
    knows_all(server)

    def let_go():
        [e] = s.change()
        assert (e.name, e.data["Why"]) == ("remove", "drained")
        ack(server, s)
    t = threading.Thread(target=let_go)
    t.start()
    got = drain(server, "w1")
    t.join()
    assert got["Result"] == "safe" and got["Waiting"] == []
    # It is out of the answers for every client, and lasts.
    assert [e["Service"]["ID"] for e in server.get(WEB + "?passing").json] == [
        "w2"]
    s.close()


def test_who_refuses_to_let_go_is_named(server):
    stubborn = follow(server, label="stubborn")
    fine = follow(server, label="fine")
    knows_all(server)

    def let_go():
        fine.change()
        ack(server, fine)
    t = threading.Thread(target=let_go)
    t.start()
    got = drain(server, "w1")
    t.join()
    assert got["Result"] == "waiting" and not got["Deregistered"]
    assert [w["Label"] for w in got["Waiting"]] == ["stubborn"]
    shown = muster(server, "drain", "-wait=100ms", "-deregister", "w1")
    assert shown.returncode == 2 and "stubborn" in shown.stdout
    assert "w1" in server.get("/v1/agent/services").json
    # Gone is not the same as having let go.
    stubborn.close()
    assert drain(server, "w1", "wait=0s")["Result"] == "waiting"
    until(lambda: drain(server, "w1", "wait=0s")["Result"] == "safe",
          "what it held has run out")
    fine.close()


def test_who_says_that_he_is_gone_holds_nothing(server):
    def bye(s, index):
        return server.put("/v1/muster/ack", [
            {"Subscriber": s.subscriber, "Index": index, "Gone": True}])
    leaving = follow(server, label="leaving")
    assert bye(leaving, leaving.last_id).json["Taken"] == 1
    leaving.close()
    until(lambda: not watchers(server)["Subscribers"], "it is forgotten")
    left = follow(server, label="left")
    left.close()
    until(lambda: not watchers(server)["Subscribers"][0]["Connected"], "it left")
    assert bye(left, 0).json["Taken"] == 1
    assert not watchers(server)["Subscribers"]
    assert bye(left, 0).json["Refused"][0]["Why"] == "no stream has this id"
    knows_all(server)
    assert drain(server, "w1", "wait=0s")["Result"] == "safe"


def test_after_a_restart_it_is_unknown(server):
    knows_all(server)
    assert drain(server, "w1")["Result"] == "safe"
    server.kill()
    # For as long as the longest wait: not over before it is asked.
    server.config["max_query_time"] = "10m"
    server.start()
    got = drain(server, "w1", "wait=0s")
    assert got["Result"] == "unknown" and not got["TableComplete"]
    shown = muster(server, "drain", "-wait=10ms", "w1")
    assert shown.returncode == 3 and "long enough" in shown.stdout
    assert "ask again in" in shown.stdout


def test_readers_without_id_make_it_unknown_unless_they_are_trusted(server):
    server.get(WEB)
    knows_all(server)
    server.get(WEB)
    got = drain(server, "w1", "wait=10ms")
    assert got["Result"] == "unknown" and len(got["Unproven"]) == 1
    assert "trust-unproven" in got["Next"]
    assert drain(server, "w1", "trust-unproven")["Result"] == "safe"


def test_who_only_looks_is_no_reader(server):
    knows_all(server)
    assert len(server.get(WEB + "?look").json) == 2
    server.get("/v1/muster/explain/health/service/web")
    assert watchers(server)["Unproven"] == []
    assert drain(server, "w1", "wait=0s")["Result"] == "safe"


def test_who_executes_a_prepared_query_is_a_reader(server):
    a = server.request("POST", "/v1/query", {
        "Name": "any-web", "Service": {"Service": "Web"}})
    assert a.status == 200, a.text
    knows_all(server)
    assert len(server.get("/v1/query/any-web/execute").json["Nodes"]) == 2
    got = drain(server, "w1", "wait=0s")
    assert got["Result"] == "unknown" and len(got["Unproven"]) == 1, got


def test_who_never_had_it_need_not_let_go(server):
    other = follow(server, WEB + "?passing&tag=none")
    ack(server, other)
    knows_all(server)
    assert drain(server, "w1")["Result"] == "safe"
    other.close()


def test_subscriptions_to_several_services_count(server):
    s = Stream(server, "/v1/muster/stream?service=web&service=other")
    s.until(lambda: s.last_id, "an id")
    knows_all(server)
    assert [w["Subscriber"] for w in drain(server, "w1", "wait=50ms")
            ["Waiting"]] == [s.subscriber]
    s.until(lambda: any(c["CheckID"] == "_muster_drain:w1"
                        for e in s.entries.values() for c in e["Checks"]),
            "the drain is told")
    s.until(lambda: s.last_id >= server.get(WEB).index, "its id") \
        if s.last_id < server.get(WEB).index else None
    ack(server, s)
    assert drain(server, "w1", "trust-unproven&wait=50ms")["Result"] == "safe"
    s.close()


def test_dns_answers_must_have_run_out(make_server):
    port = free_port()
    s = make_server("-dns-port", str(port), config={
        "max_query_time": "2s",
        "dns_config": {"service_ttl": {"web": "1s", "slow*": "1h"}}}).start()
    for name in ("web", "slower"):
        s.put("/v1/agent/service/register", {"Name": name, "Port": 80})
    knows_all(s)
    assert len(dns.ask(port, "slower.service.consul", "SRV").answer) == 1
    got = drain(s, "slower", "wait=10ms")
    # It leaves DNS first; then the answers given out have to run out.
    assert dns.ask(port, "slower.service.consul", "SRV").rcode == "NXDOMAIN"
    assert got["Result"] == "waiting" and not got["Waiting"]
    assert 3590000 < got["DnsMs"] <= 3600000
    assert drain(s, "web", "wait=2s")["Result"] == "safe"
    # A prepared query may say that its answers are kept for longer.
    assert s.request("POST", "/v1/query", {
        "Name": "w", "Service": {"Service": "web"},
        "DNS": {"TTL": "90m"}}).status == 200
    assert 5390000 < drain(s, "web", "wait=0s")["DnsMs"] <= 5400000
    # As long as answers may be kept at most, not as the next one says.
    path = s.folder / "config.json"
    path.write_text(json.dumps({**s.config, "dns_config": {
        "service_ttl_calm": "2h"}}))
    assert s.put("/v1/agent/reload").status == 200
    assert 7190000 < drain(s, "web", "wait=10ms")["DnsMs"] <= 7200000


def test_deregistered_when_safe_and_asked_for(server):
    knows_all(server)
    shown = muster(server, "drain", "-wait=1s", "-deregister", "w1")
    assert shown.returncode == 0 and "deregistered" in shown.stdout
    assert list(server.get("/v1/agent/services").json) == ["w2"]
    assert [e["Service"]["ID"] for e in server.get(WEB).json] == ["w2"]


def test_the_drain_lasts_until_it_is_ended(server):
    drain(server, "w1", "wait=0s")
    # A registration like at each start of the service does not end it.
    server.put("/v1/agent/service/register?replace-existing-checks=true",
               {"Name": "web", "ID": "w1", "Port": 80})
    server.kill()
    server.start()

    def passing():
        return [e["Service"]["ID"] for e in server.get(WEB + "?passing").json]
    until(lambda: passing() == ["w2"], "w1 is still drained")
    shown = muster(server, "undrain", "w1")
    assert shown.returncode == 0, shown.stderr
    until(lambda: passing() == ["w1", "w2"], "both are back")


def test_the_caller_may_leave_and_the_drain_stays(server):
    c = server.connect()
    follow(server, label="holds")
    c.request("PUT", "/v1/agent/service/drain/w1?wait=2s")
    until(lambda: [e["Service"]["ID"]
                   for e in server.get(WEB + "?passing").json] == ["w2"],
          "it is drained")
    c.close()
    assert json.loads(server.get("/v1/agent/checks").text)["_muster_drain:w1"]


@pytest.mark.parametrize("path, status, text", [
    ("drain/none", 404, "none"), ("undrain/none", 404, "none"),
    ("drain/", 400, "Missing service ID"), ("drain/w1?wait=x", 400, "wait"),
    ("drain/w1?wait=-1s", 400, "wait"), ("drain/w1?wait=3s", 400, "longest"),
    ("drain/w1?deregister=perhaps", 400, "deregister"),
])
def test_bad_drains_are_refused(server, path, status, text):
    a = server.put("/v1/agent/service/" + path)
    assert a.status == status and text in a.text, (a.status, a.text)
