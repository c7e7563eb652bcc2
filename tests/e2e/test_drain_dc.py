# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Draining with proof where another datacenter mirrors this one: those who read the
mirror count as those who read here."""

import muster
import pytest
from muster import until
from streams import Stream

BRIEF = {"max_query_time": "2s"}
WEB = "/v1/health/service/web?passing&dc=dc2&stale"


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drain-dc")
    a, b = (muster.Server(folder / dc, "-datacenter", dc, name="node-" + dc,
                          config=BRIEF).start() for dc in ("dc1", "dc2"))
    join = f"/v1/agent/join/127.0.0.1:{a.other_ports[1]}?wan=1"
    assert b.put(join).status == 200
    b.put("/v1/agent/service/register", {"Name": "web", "ID": "w1", "Port": 80})
    b.put("/v1/agent/service/register", {"Name": "web", "ID": "w2", "Port": 81})
    until(lambda: len(a.get(WEB + "&look").json or ()) == 2, "dc2 is mirrored")
    yield a, b
    for s in (a, b):
        if s.process.poll() is None:
            s.stop()
        print(f"--- {s.name}\n{s.log()[-3000:]}")


def drain(b, query="wait=1500ms"):
    answer = b.put(f"/v1/agent/service/drain/w1?{query}")
    assert answer.status == 200, answer.text
    return answer.json


def safe(b, query="wait=2s"):
    until(lambda: drain(b, query)["Result"] == "safe", "all have let go")


def test_a_stream_of_the_mirror_is_named_until_it_has_let_go(pair):
    a, b = pair
    safe(b, "wait=2s")
    b.put("/v1/agent/service/undrain/w1")
    until(lambda: len(a.get(WEB + "&look").json) == 2, "it is back")
    s = Stream(a, WEB, headers=["X-Muster-Subscriber: far"])
    s.until(lambda: len(s.entries) == 2, "both instances")
    got = []

    def named():
        got[:] = [drain(b, "wait=100ms")]
        return [r["Label"] for r in got[0]["Waiting"]] == ["far"]
    until(named, "only who reads there is waited for")
    [row] = got[0]["Waiting"]
    assert (row["Agent"], row["Server"]) == ("node-dc1 (dc1)", "node-dc2"), row
    s.until(lambda: len(s.entries) == 1, "it is told")
    answer = a.put("/v1/muster/ack", [{"Subscriber": s.subscriber,
                                       "Index": s.last_id}])
    assert answer.json["Taken"] == 1, answer.text
    safe(b)
    s.close()
    b.put("/v1/agent/service/undrain/w1")


def test_a_reader_of_the_mirror_is_unproven(pair):
    a, b = pair
    safe(b)
    a.get(WEB)
    got = []

    def named():
        got[:] = [drain(b, "wait=100ms")]
        return got[0]["Unproven"]
    until(named, "it is told of")
    assert [u["Agent"] for u in got[0]["Unproven"]] == ["node-dc1 (dc1)"]
    # It reads dc2's, and nothing of the service of that name in dc1.
    assert a.get("/v1/muster/watchers/web").json["Unproven"] == []
    safe(b, "wait=2s&trust-unproven")
    b.put("/v1/agent/service/undrain/w1")


def test_a_datacenter_that_cannot_be_asked_is_waited_for(pair):
    a, b = pair
    safe(b)
    b.put("/v1/agent/service/undrain/w1")
    a.kill()
    got = []

    def gone():
        got[:] = drain(b, "wait=0s")["Waiting"]
        return got and not got[0]["Connected"]
    until(gone, "its stream has ended, and counts")
    assert "datacenter dc1" in got[0]["Label"]
    safe(b)  # what it held has run out
