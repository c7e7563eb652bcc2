# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Long polls: woken by a change of their own answer, by nothing else."""

import time

from muster import Poll, parked, until


def park(server, path, index=None):
    held = parked(server)
    p = Poll(server, path, index or server.get(path).index)
    until(lambda: parked(server) > held, "the poll parks")
    return p


def test_a_registration_wakes_the_watchers_of_its_service_only(server):
    server.register("w", "watched", "w1")
    server.register("w", "bystander", "b1")
    polls = [park(server, "/v1/health/service/watched"),
             park(server, "/v1/catalog/service/watched"),
             park(server, "/v1/health/service/watched?passing")]
    other = park(server, "/v1/health/service/bystander")
    before = server.get("/v1/health/service/watched").index
    server.register("w", "watched", "w2")
    for p in polls:
        answer = p.result()
        assert answer.status == 200 and len(answer.json) == 2
        assert answer.index > before
    assert other.waiting
    server.register("w", "bystander", "b2")
    assert len(other.result().json) == 2


def test_a_missing_service_blocks_and_wakes_when_it_comes(server):
    first = server.get("/v1/health/service/later")
    assert first.json == []
    p = park(server, "/v1/health/service/later", first.index)
    server.register("w", "unrelated", "u1")
    assert p.waiting
    server.register("w", "later", "l1")
    assert [e["Service"]["ID"] for e in p.result().json] == ["l1"]


def test_a_removed_service_wakes_once_with_a_higher_index(server):
    server.register("w", "leaving", "x1")
    before = server.get("/v1/health/service/leaving").index
    p = park(server, "/v1/health/service/leaving", before)
    server.put("/v1/catalog/deregister", {"Node": "w", "ServiceID": "x1"})
    answer = p.result()
    assert answer.json == [] and answer.index > before
    again = park(server, "/v1/health/service/leaving", answer.index)
    server.register("w", "unrelated2", "u2")
    assert again.waiting


def check(server, status, output):
    a = server.put("/v1/catalog/register", {
        "Node": "w", "Address": "10.0.0.1",
        "Check": {"CheckID": "oc", "Name": "oc", "ServiceID": "o1",
                  "Status": status, "Output": output}})
    assert a.text == "true"


def test_check_output_alone_wakes_no_health_query(server):
    server.register("w", "outputs", "o1")
    check(server, "passing", "one")
    health = park(server, "/v1/health/service/outputs")
    checks = park(server, "/v1/health/checks/outputs")
    check(server, "passing", "two")
    assert checks.result().json[0]["Output"] == "two"
    assert health.waiting
    # Who asks now sees the new text.
    got = server.get("/v1/health/service/outputs").json[0]["Checks"]
    assert got[0]["Output"] == "two"
    check(server, "critical", "three")
    assert health.result().json[0]["Checks"][0]["Status"] == "critical"


def test_a_change_outside_the_passing_answer_wakes_nobody(server):
    server.register("w", "half", "h1")
    server.register("w", "half", "h2", checks=[
        {"CheckID": "hc", "Name": "hc", "ServiceID": "h2", "Status": "critical"}])
    p = park(server, "/v1/health/service/half?passing")
    plain = park(server, "/v1/health/service/half")
    server.put("/v1/catalog/register", {
        "Node": "w", "Address": "10.0.0.1",
        "Check": {"CheckID": "hc", "Name": "hc", "ServiceID": "h2",
                  "Status": "warning"}})
    assert len(plain.result().json) == 2
    assert p.waiting
    server.register("w", "half", "h3")
    assert [e["Service"]["ID"] for e in p.result().json] == ["h1", "h3"]


def test_a_wait_that_runs_out_answers_with_no_lower_index(server):
    server.register("w", "calm", "c1")
    first = server.get("/v1/health/service/calm")
    began = time.monotonic()
    answer = server.get(f"/v1/health/service/calm?index={first.index}&wait=300ms")
    assert time.monotonic() - began >= 0.29
    assert answer.body == first.body and answer.index == first.index


def test_an_index_of_another_life_is_answered_at_once(server):
    server.register("w", "lives", "v1")
    answer = server.get("/v1/health/service/lives?index=99999999999&wait=60s",
                        timeout=10)
    assert answer.status == 200
    assert answer.index < 99999999999


def test_every_blocking_route_parks_and_wakes(server):
    paths = ["/v1/catalog/nodes", "/v1/catalog/services",
             "/v1/catalog/service/every", "/v1/catalog/node/every",
             "/v1/catalog/node-services/every", "/v1/health/node/every",
             "/v1/health/checks/every", "/v1/health/service/every",
             "/v1/health/state/any", "/v1/health/state/warning",
             "/v1/catalog/services?node-meta=a:b"]
    polls = [park(server, p) for p in paths]
    server.put("/v1/catalog/register", {
        "Node": "every", "Address": "10.0.0.7", "NodeMeta": {"a": "b"},
        "Service": {"Service": "every", "ID": "e1"},
        "Check": {"CheckID": "ec", "Name": "ec", "ServiceID": "e1",
                  "Status": "warning"}})
    for path, p in zip(paths, polls):
        assert p.result().status == 200, path


def test_bad_index_and_wait_are_refused(server):
    assert server.get("/v1/catalog/nodes?index=-1").text == "Invalid index"
    assert server.get("/v1/catalog/nodes?wait=10").text == "Invalid wait time"
    a = server.get("/v1/catalog/nodes?stale&consistent")
    assert a.status == 400 and a.text.startswith("Cannot specify ?stale with")


def test_a_thousand_polls_on_one_service_all_wake(server):
    import socket
    server.register("w", "crowd", "c1")
    index = server.get("/v1/health/service/crowd").index
    held = parked(server)
    request = (f"GET /v1/health/service/crowd?index={index}&wait=60s "
               "HTTP/1.1\r\nHost: x\r\n\r\n").encode()
    socks = []
    for _ in range(1000):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(request)
        socks.append(s)
    until(lambda: parked(server) >= held + 1000, "all park")
    server.register("w", "crowd", "c2")
    for s in socks:
        s.settimeout(30)
        assert s.recv(20).startswith(b"HTTP/1.1 200 OK")
        s.close()
    until(lambda: parked(server) <= held, "none is left parked")
