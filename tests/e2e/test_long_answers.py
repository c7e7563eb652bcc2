# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Answers too long to be made between two requests: another thread makes them,
and nobody can tell but by the counter."""

import gzip
import http.client
import json
import threading

import pytest

from muster import Poll, Server, parked, until

INSTANCES = 1500
LONG = "/v1/health/service/crowd"


def drafts(server):
    metrics = server.get("/v1/agent/metrics").json
    return sum(c["Sum"] for c in metrics["Counters"]
               if c["Name"].endswith("cache.drafts"))


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    s = Server(tmp_path_factory.mktemp("crowd"), dev=True,
               config={"limits": {"http_max_conns_per_client": 4000}}).start()
    c = s.connect()
    for i in range(INSTANCES):
        c.request("PUT", "/v1/catalog/register", json.dumps({
            "Node": f"n{i % 2}", "Address": "10.0.0.1",
            "Service": {"ID": f"c{i}", "Service": "crowd", "Port": i + 1,
                        "Tags": ["even" if i % 2 == 0 else "odd"]},
            "Check": {"CheckID": f"k{i}", "Name": "k", "ServiceID": f"c{i}",
                      "Status": "passing", "Output": "x" * 100}}))
        assert c.getresponse().read()
    yield s
    s.stop()


def ids(answer):
    return sorted(e["Service"]["ID"] for e in answer.json)


ALL = sorted(f"c{i}" for i in range(INSTANCES))


def test_it_is_whole_plain_and_compressed_and_for_all_who_ask_at_once(crowd):
    before = drafts(crowd)
    got = []

    def ask(headers):
        c = crowd.connect()
        c.request("GET", LONG + "?pretty", headers=headers)
        r = c.getresponse()
        body = r.read()
        packed = r.headers.get("Content-Encoding") == "gzip"
        assert packed == bool(headers)
        got.append(gzip.decompress(body) if packed else body)
        c.close()

    threads = [threading.Thread(target=ask, args=(
        {"Accept-Encoding": "gzip"} if i % 2 else {},)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == 8 and len(set(got)) == 1
    assert sorted(e["Service"]["ID"] for e in json.loads(got[0])) == ALL
    assert drafts(crowd) > before


@pytest.mark.parametrize("path", [
    "/v1/catalog/service/crowd", "/v1/health/checks/crowd",
    "/v1/health/state/any", "/v1/catalog/node/n1", "/v1/catalog/node-services/n1",
    "/v1/health/node/n1", "/v1/health/service/crowd?tag=even&passing"])
def test_every_route_that_can_be_long_says_the_same_twice(crowd, path):
    first, second = crowd.get(path), crowd.get(path)
    assert first.status == second.status == 200
    assert first.json == second.json and first.index == second.index
    assert len(json.dumps(first.json)) > 100000


def test_a_write_is_seen_by_the_next_read(crowd):
    for round in range(20):
        crowd.register("fresh", "crowd", "fresh", port=20000 + round)
        seen = [e["Service"]["Port"] for e in crowd.get(LONG).json
                if e["Service"]["ID"] == "fresh"]
        assert seen == [20000 + round]
    crowd.put("/v1/catalog/deregister", {"Node": "fresh"})
    assert ids(crowd.get(LONG)) == ALL


def test_its_watchers_wake_for_their_change_and_for_no_other(crowd):
    held = parked(crowd)
    index = crowd.get(LONG + "?passing").index
    polls = [Poll(crowd, LONG + "?passing", index) for _ in range(5)]
    until(lambda: parked(crowd) == held + 5, "all polls park")
    # Critical from the start: no passing answer has it.
    crowd.put("/v1/catalog/register", {
        "Node": "n0", "Address": "10.0.0.1",
        "Service": {"ID": "sick", "Service": "crowd", "Port": 1},
        "Check": {"CheckID": "sick", "Name": "k", "ServiceID": "sick",
                  "Status": "critical"}})
    assert "sick" in ids(crowd.get(LONG))
    before = drafts(crowd)
    crowd.register("n0", "elsewhere", "e1")
    assert drafts(crowd) == before  # not even looked at
    assert all(p.waiting for p in polls)
    crowd.register("n0", "crowd", "well")
    for p in polls:
        answer = p.result()
        assert answer.index > index and "well" in ids(answer)
        assert "sick" not in ids(answer)
    crowd.put("/v1/catalog/deregister", {"Node": "n0", "ServiceID": "well"})
    crowd.put("/v1/catalog/deregister", {"Node": "n0", "ServiceID": "sick"})


def test_a_wait_that_ends_gets_the_long_answer(crowd):
    index = crowd.get(LONG).index
    answer = crowd.get(f"{LONG}?index={index}&wait=100ms")
    assert answer.index == index and ids(answer) == ALL


def test_a_node_that_changes_while_its_list_is_made(crowd):
    done = threading.Event()

    def write():
        for i in range(200):
            crowd.put("/v1/catalog/register", {
                "Node": "n1", "Address": f"10.0.0.{i % 9 + 1}"})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    last = 0
    while not done.is_set():
        answer = crowd.get("/v1/catalog/node/n1")
        assert answer.index >= last and answer.json["Node"]["Node"] == "n1"
        last = answer.index
    writer.join()
    assert crowd.get("/v1/catalog/node/n1").json["Node"]["Address"] == "10.0.0.2"


def test_who_goes_before_it_is_made_harms_nobody(crowd):
    for i in range(50):
        c = crowd.connect()
        crowd.register("n9", "crowd", "moving", port=30000 + i)  # no cached answer
        c.request("GET", LONG, headers={"Accept-Encoding": "gzip"})
        c.close()
    crowd.put("/v1/catalog/deregister", {"Node": "n9", "ServiceID": "moving"})
    assert ids(crowd.get(LONG)) == ALL


def test_requests_behind_it_on_one_connection_are_answered_in_order(crowd):
    c = crowd.connect()
    c.connect()
    c.sock.sendall(b"".join(
        f"GET {p} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        for p in (LONG, "/v1/status/leader", LONG + "?tag=odd")))
    stream = c.sock.makefile("rb")
    sizes = []
    for _ in range(3):
        assert stream.readline().startswith(b"HTTP/1.1 200")
        head = http.client.parse_headers(stream)
        body = json.loads(stream.read(int(head["Content-Length"])))
        sizes.append(len(body) if isinstance(body, list) else body)
    assert sizes[0] == INSTANCES and sizes[2] == INSTANCES // 2
    assert sizes[1] == crowd.get("/v1/status/leader").json
    c.close()


def test_the_server_stops_while_one_is_made(crowd, tmp_path):
    s = Server(tmp_path, dev=True).start()
    for i in range(400):
        s.register("n", "crowd", f"c{i}")
    for _ in range(4):
        c = s.connect()
        c.request("GET", LONG, headers={"Accept-Encoding": "gzip"})
    assert s.stop() == 1
