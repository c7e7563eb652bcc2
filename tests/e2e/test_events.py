# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""User events and coordinates: who waits for them is woken, on every thread."""

import muster


def index_of(uuid):
    """As the Go client computes it (IDToIndex)."""
    digits = uuid.replace("-", "")
    return int(digits[:16], 16) ^ int(digits[16:], 16)


def fire(server, name, body=b"", query=""):
    answer = server.put(f"/v1/event/fire/{name}{query}", body)
    assert answer.status == 200, answer.text
    return answer.json


def test_an_event_wakes_who_waits_for_its_name(server):
    path = "/v1/event/list?name=deploy"
    first = server.get(path)
    assert first.json == []
    polls = [muster.Poll(server, path, first.index) for _ in range(8)]
    muster.until(lambda: muster.parked(server) >= len(polls), "all parked")
    fire(server, "other")
    sent = fire(server, "deploy", b"now")
    for p in polls:
        answer = p.result()
        assert [e["ID"] for e in answer.json] == [sent["ID"]]
        assert answer.json[0]["Payload"] == "bm93"
        assert answer.index == index_of(sent["ID"])


def test_events_that_are_for_others_are_not_listed(server):
    body = {"Name": "tagged", "Tags": ["v2"]}
    assert server.put("/v1/agent/service/register", body).status == 200
    fire(server, "for-us", query="?service=tagged&tag=%5Ev")
    fire(server, "for-others", query="?service=tagged&tag=v1")
    fire(server, "for-nobody", query="?node=nowhere")
    names = [e["Name"] for e in server.get("/v1/event/list").json]
    assert "for-us" in names
    assert not {"for-others", "for-nobody"} & set(names)


def test_a_coordinate_wakes_who_waits(server):
    path = f"/v1/coordinate/node/{server.name}"
    before = server.get(path)
    assert before.json[0]["Coord"]["Height"] == 1e-05
    poll = muster.Poll(server, path, before.index)
    muster.until(lambda: muster.parked(server) >= 1, "parked")
    vec = [0.5, 0, 0, 0, 0, 0, 0, -1]
    answer = server.put("/v1/coordinate/update", {
        "Node": server.name, "Coord": {"Vec": vec, "Error": 1, "Height": 0.001}})
    assert answer.status == 200
    after = poll.result()
    assert after.json[0]["Coord"]["Vec"] == vec
    assert after.index != before.index
