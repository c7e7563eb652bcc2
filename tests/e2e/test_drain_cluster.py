# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Draining with proof where several servers answer: each of them is asked.

The longest wait is set to two seconds, so that a server knows of all who may hold
an answer 2.2 s after its start instead of eleven minutes.
"""

import http.client
import signal
import subprocess
import threading

import pytest

import etcd
import muster
from muster import until
from streams import Stream

pytestmark = pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)

BRIEF = {"max_query_time": "2s"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Three on one etcd."""
    store = etcd.Etcd(1).start()
    made = [muster.Server(tmp_path_factory.mktemp(f"s{i}"), "-store", store.url,
                          name=f"server-{i}", config=BRIEF) for i in range(3)]
    for s in made:
        s.spawn()
    for s in made:
        s.wait_ready()
    yield made
    for s in made:
        if s.process.poll() is None:
            s.process.send_signal(signal.SIGCONT)
            s.stop()
        print(f"--- {s.name}\n{s.log()[-3000:]}")
    store.close()


@pytest.fixture
def web(request, servers):
    """A service of this test alone, with one instance at the first server."""
    name = request.node.name.replace("_", "-").replace("[", "-").strip("]")
    a = servers[0].put("/v1/agent/service/register",
                       {"Name": name, "ID": name + "-1", "Port": 80})
    assert a.status == 200, a.text
    for s in servers:
        until(lambda s=s: s.get(f"/v1/health/service/{name}?look").json,
              f"{s.name} has it")
    knows_all(servers)
    yield name
    servers[0].put(f"/v1/agent/service/deregister/{name}-1")


def knows_all(servers):
    for s in servers:
        until(lambda s=s: s.get("/v1/muster/watchers/none?local")
              .json["Complete"], f"{s.name} knows of all")


def follow(server, name, label, query="?passing"):
    s = Stream(server, f"/v1/health/service/{name}{query}",
               headers=[f"X-Muster-Subscriber: {label}"])
    s.ready()
    return s


def ack(server, s):
    a = server.put("/v1/muster/ack",
                   [{"Subscriber": s.subscriber, "Index": s.last_id}])
    assert a.json["Taken"] == 1, a.text


def drain(server, name, query="wait=1500ms", timeout=muster.LIMIT):
    a = server.put(f"/v1/agent/service/drain/{name}-1?{query}", timeout=timeout)
    assert a.status == 200, a.text
    return a.json


def one_waits(got):
    return got if len(got["Waiting"]) == 1 and all_told(got) else None


def safe(at, name, query="wait=2s"):
    """Asked again: on a busy machine somebody is late once."""
    return until(lambda: is_safe(drain(at, name, query)), "all let go")


def is_safe(got):
    return got if got["Result"] == "safe" else None


def muster_cli(server, *words):
    return subprocess.run(
        [muster.BINARY, words[0], "-http-addr", f"127.0.0.1:{server.port}",
         *words[1:]], capture_output=True, text=True, timeout=muster.LIMIT)


def said(got):
    return {s["Node"]: s["Answered"] for s in got["Servers"]}


def all_told(got):
    return got if all(said(got).values()) else None


def test_safe_once_all_on_all_servers_have_let_go(servers, web):
    streams = [follow(s, web, f"at-{s.name}") for s in servers]

    def let_go(server, stream):
        [e] = stream.change()
        assert (e.name, e.data["Why"]) == ("remove", "drained")
        ack(server, stream)
    threads = [threading.Thread(target=let_go, args=pair)
               for pair in zip(servers, streams)]
    for t in threads:
        t.start()
    got = safe(servers[0], web)
    for t in threads:
        t.join()
    assert said(got) == {s.name: True for s in servers}
    assert got["TableComplete"] and not got["Waiting"]
    for s in streams:
        s.close()


def test_who_refuses_on_another_server_is_named(servers, web):
    stubborn = follow(servers[1], web, "stubborn")
    fine = follow(servers[2], web, "fine")

    def let_go():
        fine.change()
        ack(servers[2], fine)
    t = threading.Thread(target=let_go)
    t.start()
    got = until(lambda: one_waits(drain(
        servers[0], web, "wait=1s&deregister")), "the other has let go")
    t.join()
    assert got["Result"] == "waiting" and not got["Deregistered"], got
    [row] = got["Waiting"]
    assert (row["Server"], row["Label"]) == ("server-1", "stubborn")
    assert row["Subscriber"] == stubborn.subscriber
    # Asked again, without any wait, it is the same: until it has let go.
    for _ in range(3):
        got = drain(servers[0], web, "wait=0s")
        assert [r["Label"] for r in got["Waiting"]] == ["stubborn"], got
    stubborn.change()
    ack(servers[1], stubborn)
    assert drain(servers[0], web, "wait=2s&deregister")["Deregistered"]
    stubborn.close()
    fine.close()


def test_a_poll_on_another_server_counts(servers, web):
    path = f"/v1/health/service/{web}?passing"
    label = {"X-Muster-Subscriber": "poller"}
    first = servers[2].get(path, headers=label)
    label["X-Muster-Subscriber-Id"] = first.headers["x-muster-subscriber-id"]
    got = drain(servers[0], web, "wait=100ms")
    assert [(r["Server"], r["Label"]) for r in got["Waiting"]] == [
        ("server-2", "poller")], got
    second = servers[2].get(f"{path}&index={first.index}&wait=1s", headers=label)
    servers[2].get(f"{path}&index={second.index}&wait=10ms", headers=label)
    safe(servers[0], web)


def test_readers_on_other_servers_are_unproven(servers, web):
    servers[1].get(f"/v1/health/service/{web}")
    got = drain(servers[0], web, "wait=0s")
    assert got["Result"] == "unknown", got
    assert [u["Server"] for u in got["Unproven"]] == ["server-1"]
    safe(servers[0], web, "wait=1s&trust-unproven")


def test_a_stopped_server_is_named_until_it_goes_on(servers, web):
    stopped = servers[1]
    stopped.process.send_signal(signal.SIGSTOP)
    try:
        got = drain(servers[0], web, "wait=10ms")
    finally:
        stopped.process.send_signal(signal.SIGCONT)
    assert got["Result"] == "unknown" and not got["TableComplete"], got
    assert said(got) == {"server-0": True, "server-1": False, "server-2": True}
    assert "server-1" in got["Next"], got["Next"]
    safe(servers[0], web)


def test_a_subscriber_of_a_server_that_goes_on_late_still_counts(servers, web):
    late = servers[1]
    stream = follow(late, web, "late")
    late.process.send_signal(signal.SIGSTOP)
    try:
        assert drain(servers[0], web, "wait=0s")["Result"] == "unknown"
    finally:
        late.process.send_signal(signal.SIGCONT)
    got = drain(servers[0], web, "wait=0s")
    assert [r["Label"] for r in got["Waiting"]] == ["late"], got
    stream.change()
    ack(late, stream)
    safe(servers[0], web)
    stream.close()


def test_after_a_servers_restart_it_is_unknown_for_a_while(servers, web):
    servers[2].kill()
    # For as long as the longest wait: not over before it is asked.
    servers[2].config = {"max_query_time": "10m"}
    servers[2].start()
    got = drain(servers[0], web, "wait=0s")
    assert got["Result"] == "unknown" and not got["TableComplete"], got
    [row] = [s for s in got["Servers"] if s["Node"] == "server-2"]
    assert row["Answered"] and not row["TableComplete"]
    assert "ask again in" in got["Next"]
    servers[2].stop()
    servers[2].config = BRIEF
    servers[2].start()
    knows_all(servers)
    safe(servers[0], web)


def test_a_dead_server_is_named_and_one_that_has_left_is_not_asked(servers, web):
    servers[2].kill()
    got = drain(servers[0], web, "wait=0s")
    assert got["Result"] == "unknown" and not said(got)["server-2"], got
    servers[2].start()
    assert servers[2].put("/v1/agent/leave").status == 200
    until(lambda: "server-2" not in {
        e["Node"] for e in servers[0].get("/v1/catalog/service/consul").json},
        "it has left")
    assert "server-2" not in said(safe(servers[0], web))
    servers[2].process.wait()
    servers[2].start()
    knows_all(servers)


# --- Who watches, everywhere --------------------------------------------------


def watchers(server, name, query=""):
    return server.get(f"/v1/muster/watchers/{name}{query}").json


def test_watchers_of_all_servers_are_listed(servers, web):
    streams = [follow(s, web, f"at-{s.name}") for s in servers]
    servers[1].get(f"/v1/health/service/{web}")
    for s in servers:
        got = until(lambda s=s: all_told(watchers(s, web)), "all told")
        assert {(r["Server"], r["Label"]) for r in got["Subscribers"]} == {
            (x.name, f"at-{x.name}") for x in servers}
        assert [u["Server"] for u in got["Unproven"]] == ["server-1"]
        assert said(got) == {x.name: True for x in servers}
        assert got["Complete"] and got["UnprovenComplete"]
    own = watchers(servers[2], web, "?local")
    assert [r["Label"] for r in own["Subscribers"]] == ["at-server-2"]
    shown = muster_cli(servers[0], "watchers", web)
    assert shown.returncode == 0 and "at-server-2" in shown.stdout
    shown = muster_cli(servers[0], "watchers", "-local", web)
    assert "at-server-0" in shown.stdout and "at-server-2" not in shown.stdout
    for s in streams:
        s.close()


def test_a_server_that_does_not_say_who_watches_there_is_named(servers, web):
    # On a busy machine another one may be late once.
    def only_one_is_silent(ask):
        answer = ask()
        silent = {"server-0": True, "server-1": True, "server-2": False}
        return answer if said(answer) == silent else None
    servers[2].process.send_signal(signal.SIGSTOP)
    try:
        got = until(lambda: only_one_is_silent(
            lambda: watchers(servers[0], web)), "only one is silent")
        until(lambda: only_one_is_silent(
            lambda: servers[0].get("/v1/muster/lag").json), "nor says its lags")
        shown = muster_cli(servers[0], "watchers", web)
    finally:
        servers[2].process.send_signal(signal.SIGCONT)
    assert not got["Complete"] and not got["UnprovenComplete"]
    assert "server server-2 did not answer" in shown.stdout


def test_lags_of_all_servers_are_added_up(servers, web):
    streams = [follow(s, web, f"at-{s.name}") for s in servers]
    for server, s in zip(servers, streams):
        ack(server, s)
    servers[0].put("/v1/agent/service/register",
                   {"Name": web, "ID": web + "-1", "Port": 99})
    for server, s in zip(servers, streams):
        s.change()
        ack(server, s)
    for path in ("/v1/muster/lag", f"/v1/muster/lag?service={web}"):
        # On a busy machine another server may be late once.
        lag = until(lambda: all_told(servers[1].get(path).json), "all told")
        [row] = [r for r in lag["Services"] if r["Service"] == web]
        assert row["Count"] == 3 and sum(row["Buckets"]) == 3, row
        assert {r["Server"] for r in lag["Worst"]} == {s.name for s in servers}
    assert muster_cli(servers[0], "lag", web).stdout.count("#") >= 40
    for s in streams:
        s.close()


# --- What servers ask each other ---------------------------------------------


def ask(server, path, body):
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    c.request("PUT", path, body)
    r = c.getresponse()
    answer = r.status, r.read().decode()
    c.close()
    return answer


def test_bad_questions_of_peers_are_refused(servers):
    s = servers[0]
    for path, body, status, text in (
            ("/v1/peer/drain/", "", 400, "EOF"),
            ("/v1/peer/drain/", "[]", 400, ""),
            ("/v1/peer/drain/", '{"Node":"a","Name":"b"}', 400, "4096"),
            ("/v1/peer/drain/", '{"Node":"a","Name":"%s","ID":"c"}'
             % ("x" * 1000000), 400, "4096"),
            ("/v1/peer/drain/", '{"Node":7,"Name":"b","ID":"c"}', 400, "Node"),
            ("/v1/peer/drain/" + "f" * 32, '{"Need":1}', 404, "f" * 32),
            ("/v1/peer/drain/" + "f" * 5000, '{"Need":1}', 404, "f" * 32),
            ("/v1/peer/drain/x", '{"Need":0}', 400, "above 0"),
            ("/v1/peer/drain/x", '{"Need":-1}', 400, "above 0"),
            ("/v1/peer/drain/x", '{"Need":1e9}', 400, "")):
        got = ask(s, path, body)
        assert got[0] == status and text in got[1], (path[:40], got)
        assert len(got[1]) < 300
    # Users do not ask that.
    assert s.put("/v1/peer/drain/", {"Node": "a"}).status == 404


def test_drains_asked_about_are_bounded(servers):
    body = '{"Node":"server-0","Name":"web","ID":"w1"}'
    got = [ask(servers[2], "/v1/peer/drain/", body) for _ in range(300)]
    assert [g[0] for g in got].count(200) == 256
    assert got[-1][0] == 429 and "256" in got[-1][1], got[-1]
