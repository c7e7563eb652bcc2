# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What was, and what happened: ?at, the history of a service, who is gone."""

import contextlib
import datetime
import json
import sqlite3
import subprocess
import threading

import pytest

from muster import BINARY, quote, until

HISTORY = "/v1/muster/history/service/"
EXPLAIN = "/v1/muster/explain/health/service/"


def changes(server, name, query=""):
    answer = server.get(HISTORY + name + query)
    assert answer.status == 200, answer.text
    return answer.json["Changes"]


def whats(server, name, query=""):
    return [(c["Node"], c["ServiceID"], c["What"]) for c in changes(server, name, query)]


def check(server, node, instance, status, output=""):
    answer = server.put("/v1/catalog/register", {
        "Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": True,
        "Check": {"CheckID": f"c-{instance}", "Name": "c", "ServiceID": instance,
                  "Status": status, "Output": output}})
    assert answer.text == "true"


def live(server, name):
    """Registers, changes, fails, heals and removes one instance of name; the
    indexes after each step."""
    steps = []

    def did():
        steps.append(newest(server))

    server.register("n1", name, f"{name}-1", Tags=["a"])
    did()
    check(server, "n1", f"{name}-1", "passing")
    did()
    check(server, "n1", f"{name}-1", "critical", "connection refused")
    did()
    server.register("n1", name, f"{name}-1", port=81, Tags=["a"])
    did()
    check(server, "n1", f"{name}-1", "passing")
    did()
    server.put("/v1/catalog/deregister", {"Node": "n1", "ServiceID": f"{name}-1"})
    did()
    return steps


def newest(server):
    """The newest revision: that of a history up to now."""
    return server.get(HISTORY + "nobody").json["Until"]["Revision"]


def test_a_life_is_told(server):
    start = newest(server)
    live(server, "life")
    told = changes(server, "life")
    assert [c["What"] for c in told] == [
        "registered", "check added", "check status", "changed", "check status",
        "deregistered"]
    assert all(c["Node"] == "n1" and c["ServiceID"] == "life-1" for c in told)
    assert all(c["By"] == "PUT /v1/catalog/register 127.0.0.1" for c in told[:5])
    assert told[5]["By"] == "PUT /v1/catalog/deregister 127.0.0.1"
    assert [c["Revision"] for c in told] == sorted({c["Revision"] for c in told})
    assert told[0]["Revision"] > start
    assert told[0]["Time"] <= told[5]["Time"]
    failed = told[2]
    assert (failed["From"], failed["To"], failed["Output"]) == (
        "passing", "critical", "connection refused")
    assert {"Field": "Port", "From": "80", "To": "81"} in told[3]["Fields"]
    answer = server.get(HISTORY + "life")
    assert answer.index == answer.json["Until"]["Revision"]
    assert answer.json["From"]["Revision"] <= start and answer.json["Left"] == 0


def test_parts_can_be_asked_for(server):
    server.register("n1", "parts", "p1")
    server.register("n2", "parts", "p2")
    middle = newest(server)
    server.put("/v1/catalog/register", {
        "Node": "n2", "Address": "10.0.0.1",
        "Check": {"CheckID": "disk", "Name": "disk", "Status": "warning"}})
    server.register("n2", "parts", "p1")
    everything = [("n1", "p1", "registered"), ("n2", "p2", "registered"),
                  ("n2", "", "check added"), ("n2", "p1", "registered")]
    assert whats(server, "PARTS") == everything
    assert whats(server, "parts", "?node=n2") == everything[1:]
    assert whats(server, "parts", "?node=n1") == everything[:1]
    assert whats(server, "parts", "?id=p2") == everything[1:3]
    assert whats(server, "parts", f"?since={middle}") == everything[2:]
    assert whats(server, "parts", "?limit=1") == everything[3:]
    assert server.get(HISTORY + "parts?limit=1").json["Left"] == 3
    since = changes(server, "parts")[2]["Time"]
    # (Or less, if the next one came within the same millisecond.)
    assert whats(server, "parts", f"?since={quote(since)}") in (everything[3:], [])
    # More than there is: it is said from when on.
    answer = server.get(HISTORY + "parts?since=1000h")
    assert answer.status == 200
    assert answer.json["From"] == server.get(HISTORY + "parts").json["From"]


def names(answer):
    assert answer.status == 200, answer.text
    return sorted(answer.json)


def test_reads_answer_as_of_then(server):
    before = newest(server)
    at = live(server, "then")
    want = {at[0]: [], at[1]: ["passing"], at[2]: ["critical"], at[3]: ["critical"],
            at[4]: ["passing"]}
    for revision, statuses in want.items():
        answer = server.get(f"/v1/health/service/then?at={revision}")
        assert answer.status == 200
        assert answer.index == revision
        assert answer.headers["x-muster-at"].split()[0] == str(revision)
        assert [c["Status"] for c in answer.json[0]["Checks"]] == statuses
        port = answer.json[0]["Service"]["Port"]
        assert port == (80 if revision < at[3] else 81)
        passing = server.get(f"/v1/health/service/then?passing&at={revision}").json
        assert len(passing) == (statuses != ["critical"])
    for revision, is_there in ((before, False), (at[0], True), (at[5], False)):
        q = f"?at={revision}"
        assert ("then" in server.get("/v1/catalog/services" + q).json) == is_there
        assert bool(server.get("/v1/catalog/service/then" + q).json) == is_there
        assert bool(server.get("/v1/health/service/then" + q).json) == is_there
        told = server.get(EXPLAIN + "then" + q).json
        assert told["Known"] == is_there
        assert bool(told["Departed"]) == (revision == at[5])
    failed = server.get(f"/v1/health/state/critical?at={at[2]}").json
    assert "c-then-1" in {c["CheckID"] for c in failed}
    assert server.get(f"/v1/health/checks/then?at={at[2]}").json[0]["Status"] == "critical"
    assert server.get(f"/v1/health/node/n1?at={at[2]}").status == 200
    node = server.get(f"/v1/catalog/node/n1?at={at[2]}").json
    assert "then-1" in node["Services"]
    assert server.get(f"/v1/catalog/node-services/n1?at={at[2]}").status == 200
    assert "n1" in {n["Node"] for n in server.get(f"/v1/catalog/nodes?at={at[2]}").json}
    assert server.get(f"/v1/catalog/connect/then?at={at[2]}").json == []
    assert server.get(f"/v1/health/connect/then?at={at[2]}").json == []
    # And now is as it was.
    assert server.get("/v1/health/service/then").json == []


def test_moments_are_found_by_time(server):
    at = live(server, "times")
    told = changes(server, "times")
    failed = told[2]
    for text in (failed["Time"], failed["Time"].replace("Z", "+00:00")):
        answer = server.get(f"/v1/health/service/times?at={quote(text)}")
        assert answer.status == 200, answer.text
        # The next step may have come within the same millisecond.
        assert at[2] <= answer.index <= at[5]
        shown = answer.headers["x-muster-at"].split()
        assert shown[0] == str(answer.index) and shown[1] >= failed["Time"]
    assert server.get("/v1/catalog/nodes?at=0s").index >= at[5]
    moment = datetime.datetime.fromisoformat(failed["Time"].replace("Z", "+00:00"))
    then = (moment - datetime.timedelta(milliseconds=1)).isoformat()
    answer = server.get(f"/v1/health/service/times?at={quote(then)}")
    assert answer.index < at[2]


def test_what_cannot_be_asked_is_named(server):
    last = newest(server)
    first = server.get(HISTORY + "x").json["From"]
    for at, status, text in (
            ("yesterday", 400, 'Invalid ?at "yesterday": give a revision'),
            ("", 400, "Invalid ?at"),
            (str(last + 1000), 400, f"revision {last + 1000} is in the future"),
            ("99999999999999999999999", 400, "is in the future"),
            ("2999-01-01T00:00:00Z", 400, "2999-01-01T00:00:00.000Z is in the future"),
            ("1000h", 410, f"the oldest revision that can be asked for is "
                           f"{first['Revision']} of {first['Time']}"),
            ("1970-01-01T00:00:00Z", 410, first["Time"]),
            ("0", 410, "revision 0 is before what is kept"),
    ):
        answer = server.get(f"/v1/catalog/nodes?at={at}")
        assert answer.status == status, (at, answer.text)
        assert text in answer.text
    answer = server.get(f"/v1/catalog/nodes?at={last}&index=5")
    assert answer.status == 400 and "?index" in answer.text
    for query, text in (("limit=0", "from 1 to 10000"), ("limit=10001", "10000"),
                        ("limit=x", '?limit "x"'), ("since=x", '?since "x"')):
        answer = server.get(HISTORY + "x?" + query)
        assert answer.status == 400 and text in answer.text, query
    answer = server.get(HISTORY + "x?since=2999-01-01T00:00:00Z")
    assert answer.status == 400 and "future" in answer.text
    assert server.get(HISTORY).text == "Missing service name"
    assert server.put(HISTORY + "x").status == 405
    assert server.get(HISTORY + "x?dc=other").text == "No path to datacenter"


def test_who_is_gone_is_explained(server):
    server.register("n1", "shop", "here")
    server.register("n1", "shop", "left")
    server.register("n1", "shop", "back")
    server.register("n1", "shop", "renamed")
    server.register("n9", "shop", "with-its-node")
    for instance in ("left", "back"):
        server.put("/v1/catalog/deregister?token=s3cret",
                   {"Node": "n1", "ServiceID": instance})
    server.put("/v1/catalog/deregister", {"Node": "n9"})
    server.register("n1", "other", "renamed")
    server.register("n1", "shop", "back")
    told = server.get(EXPLAIN + "shop").json
    assert {i["ServiceID"] for i in told["Instances"]} == {"here", "back"}
    gone = {d["ServiceID"]: d for d in told["Departed"]}
    assert set(gone) == {"left", "with-its-node", "renamed"}
    assert gone["left"]["By"] == "PUT /v1/catalog/deregister 127.0.0.1"
    assert gone["left"]["Address"] == "10.0.0.1" and gone["left"]["Port"] == 80
    assert gone["with-its-node"]["Node"] == "n9"
    assert gone["with-its-node"]["By"] == "PUT /v1/catalog/deregister 127.0.0.1"
    assert gone["renamed"]["As"] == "other"
    assert told["DepartedSince"]["Revision"] >= 1
    waiting = server.get(EXPLAIN + "shop?index=1")
    assert "Departed" not in waiting.json


def test_agents_services_tell_who_asked(server):
    server.put("/v1/agent/service/register", {
        "Name": "local", "Port": 5, "Check": {"TTL": "60s"}})
    server.put("/v1/agent/check/pass/service:local?note=well&token=s3cret")
    server.put("/v1/agent/service/maintenance/local?enable=true&reason=disk")
    server.put("/v1/agent/service/deregister/local")
    until(lambda: "deregistered" in [c["What"] for c in changes(server, "local")])
    told = {c["What"] + c.get("CheckID", ""): c["By"] for c in changes(server, "local")}
    assert told["registered"] == "PUT /v1/agent/service/register 127.0.0.1"
    assert told["check statusservice:local"] == (
        "PUT /v1/agent/check/pass/service:local?note=well 127.0.0.1")
    assert told["check added_service_maintenance:local"] == (
        "PUT /v1/agent/service/maintenance/local?enable=true&reason=disk 127.0.0.1")
    assert told["deregistered"] == "PUT /v1/agent/service/deregister/local 127.0.0.1"


@pytest.mark.parametrize("dev", [False, True], ids=["durable", "dev"])
def test_each_store_tells_it(make_server, dev):
    server = make_server(dev=dev).start()
    at = live(server, "web")
    told = changes(server, "web")
    assert len(told) == 6
    assert server.get(f"/v1/health/service/web?at={at[2]}").json[0]["Checks"][0][
        "Status"] == "critical"
    if dev:
        return
    assert server.stop() == 1
    server.start()
    assert changes(server, "web") == told
    assert server.get(f"/v1/health/service/web?at={at[2]}").json[0]["Checks"][0][
        "Status"] == "critical"
    live(server, "web")
    assert changes(server, "web")[:6] == told
    assert len(changes(server, "web")) == 12


def test_what_is_compacted_is_gone(make_server):
    server = make_server().start()
    at = live(server, "web")
    server.register("n1", "web", "later")
    assert server.stop() == 1
    # As the store itself does it after 72 hours: it finishes what is begun.
    with contextlib.closing(sqlite3.connect(server.folder / "data" / "catalog.db")) as db:
        db.execute("UPDATE meta SET value=? WHERE name='compacted'", (at[3],))
        db.commit()
    server.start()
    answer = server.get(f"/v1/health/service/web?at={at[2]}")
    assert answer.status == 410
    assert f"can be asked for is {at[3]} of 20" in answer.text
    assert server.get(f"/v1/health/service/web?at={at[3]}").status == 200
    told = server.get(HISTORY + "web").json
    assert told["From"]["Revision"] == at[3]
    assert [c["What"] for c in told["Changes"]] == [
        "check status", "deregistered", "registered"]
    assert server.get(HISTORY + f"web?since={at[0]}").json["From"]["Revision"] == at[3]


def test_writers_go_on_while_history_is_read(server):
    stop = threading.Event()
    written = []

    def write():
        connection = server.connect()
        while not stop.is_set():
            i = len(written)
            body = json.dumps({"Node": f"w{i % 5}", "Address": "10.0.0.1", "Service": {
                "ID": f"busy-{i % 50}", "Service": "busy", "Port": i + 1}})
            answer = server.put("/v1/catalog/register", body, connection=connection)
            assert answer.text == "true"
            written.append(i)
        connection.close()
    writers = [threading.Thread(target=write)]
    for w in writers:
        w.start()
    try:
        for _ in range(10):
            least = len(written)
            answer = server.get(HISTORY + "busy?limit=10000").json
            told = answer["Changes"]
            assert len(told) >= least
            ports = [int(c["Port"]) if "Port" in c else
                     int(next(f["To"] for f in c["Fields"] if f["Field"] == "Port"))
                     for c in told]
            assert ports == list(range(1, len(ports) + 1)), "none is missing"
            revision = told[-1]["Revision"] if told else answer["Until"]["Revision"]
            then = server.get(f"/v1/catalog/service/busy?at={revision}")
            assert then.status == 200
            if ports:
                assert max(s["ServicePort"] for s in then.json) == ports[-1]
            until(lambda n=least: len(written) > n + 20, "the writer goes on")
    finally:
        stop.set()
        for w in writers:
            w.join()


def test_who_hangs_up_stops_nobody(server):
    live(server, "hung")
    for _ in range(20):
        c = server.connect()
        c.request("GET", HISTORY + "hung")
        c.sock.close()
        c.close()
    assert len(changes(server, "hung")) == 6
    # Many at once are answered, or told to come later.
    results = []

    def ask():
        results.append(server.get(HISTORY + "hung").status)
    threads = [threading.Thread(target=ask) for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(results) <= {200, 429} and 200 in results


def test_a_server_stops_while_it_is_asked(make_server):
    server = make_server().start()
    live(server, "web")
    open_ones = [server.connect() for _ in range(40)]
    for i, c in enumerate(open_ones):
        c.request("GET", HISTORY + "web" if i % 2 else f"/v1/catalog/nodes?at={1 + i}")
    assert server.stop() == 1
    for c in open_ones:
        c.close()
    server.start()
    assert len(changes(server, "web")) == 6


def test_writers_at_once_are_told_apart(server):
    """Their changes share a group, and with it a revision."""
    def write(who):
        for i in range(30):
            answer = server.put(f"/v1/catalog/register?who={who}", {
                "Node": f"crowd-{who}", "Address": "10.0.0.1",
                "Service": {"ID": f"{who}-{i}", "Service": "crowd"},
                "Check": {"CheckID": f"c-{who}-{i}", "Name": "c",
                          "ServiceID": f"{who}-{i}", "Status": "passing"}})
            assert answer.text == "true"
    writers = [threading.Thread(target=write, args=(w,)) for w in range(8)]
    for w in writers:
        w.start()
    for w in writers:
        w.join()
    told = changes(server, "crowd")
    assert len(told) == 8 * 30 * 2
    for c in told:
        who = c["ServiceID"].split("-")[0]
        assert c["By"] == f"PUT /v1/catalog/register?who={who} 127.0.0.1"
        assert c["Node"] == f"crowd-{who}"


def run(server, *words, check=True):
    return subprocess.run([BINARY, words[0], f"-http-addr=127.0.0.1:{server.port}",
                           *words[1:]], capture_output=True, text=True, check=check)


def test_the_commands_show_it(server):
    live(server, "cmd")
    server.register("n1", "cmd", "stays")
    lines = run(server, "history", "cmd").stdout.splitlines()
    assert lines[0].split() == ["Time", "Revision", "Node", "Instance", "What", "By"]
    assert "registered 10.0.0.1:80" in lines[1]
    assert "check c-cmd-1 added: passing" in lines[2]
    assert "check c-cmd-1 passing -> critical: connection refused" in lines[3]
    assert "changed Port 80 -> 81" in lines[4]
    assert "deregistered 10.0.0.1:81" in lines[6]
    assert lines[6].endswith("PUT /v1/catalog/deregister 127.0.0.1")
    assert lines[-1].startswith("complete since 20")
    lines = run(server, "history", "-limit=1", "-id=cmd-1", "cmd").stdout.splitlines()
    assert len(lines) == 4 and lines[2].startswith("5 older changes are left out")
    told = json.loads(run(server, "history", "-format=json", "cmd").stdout)
    assert len(told["Changes"]) == 7
    assert "nothing happened to absent" in run(server, "history", "absent").stdout
    failed = run(server, "history", "-since=yesterday", "cmd", check=False)
    assert failed.returncode == 1 and "yesterday" in failed.stderr
    explained = run(server, "explain", "cmd").stdout.splitlines()
    assert explained[1].split()[:2] == ["in", "stays"]
    assert explained[2].split()[:4] == ["gone", "cmd-1", "n1", "10.0.0.1:81"]
    assert "deregistered at 20" in explained[2]
