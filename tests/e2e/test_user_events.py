# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""User events between servers and agents: each is heard at every node that it is
for, once, whatever dies on the way."""

import json
import socket

import pytest

import agents
import clusters
import muster
from muster import until
from test_events import fire
from test_watches import a_recorder, runs

pytestmark = pytest.mark.skipif(not clusters.INSTALLED, reason=clusters.WHY)


class Place:
    """Three servers; an agent at the first of them, and one at the last. The
    agents have a watch of all events, and so has the second server."""

    def __init__(self, folder):
        self.folder = folder
        self.cluster = clusters.Cluster()
        self.servers = self.cluster.servers
        self.out = {}
        self.servers[1].extra += ["-config-file", self.config("s2")]
        self.agents = [self.agent("a1", self.servers[0], "127.0.0.21"),
                       self.agent("a2", self.servers[2], "127.0.0.22")]

    def start(self):
        self.cluster.start()
        for a in self.agents:
            a.start()
        # Who has not met the others yet is told of nothing.
        until(self.warm, "an event that all hear")

    def warm(self):
        sent = fire(self.agents[0], "warm")["ID"]
        return all(sent in ids(heard(n, "warm")) for n in self.nodes)

    @property
    def nodes(self):
        return [*self.servers, *self.agents]

    def config(self, name):
        script, self.out[name] = a_recorder(self.folder, name)
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"watches": [
            {"type": "event", "args": [script]}]}))
        return str(path)

    def agent(self, name, server, bind):
        return agents.Agent(self.folder / f"{name}.d", server.peer, name=name,
                            bind=bind, extra=["-config-file", self.config(name)])

    def close(self):
        for a in self.agents:
            if a.process:
                agents.end(a.process)
        self.cluster.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("events"))
    try:
        p.start()
        yield p
    finally:
        p.close()


def heard(node, name):
    answer = node.get(f"/v1/event/list?name={name}")
    assert answer.status == 200, answer.text
    return answer.json


def ids(events):
    return [e["ID"] for e in events]


def told(out, name):
    """What the watch's program was told of this name, in all its runs."""
    return [e["ID"] for _, events in runs(out) for e in events
            if e["Name"] == name]


def everywhere(place, name, sent, nodes=None):
    for n in nodes or place.nodes:
        until(lambda n=n: ids(heard(n, name)) == sent, f"{name} at {n.name}")


def test_an_event_is_heard_at_every_node_once_and_wakes_who_waits(place):
    polls = [muster.Poll(n, "/v1/event/list?name=deploy",
                         n.get("/v1/event/list?name=deploy").index)
             for n in place.nodes]
    for n in place.nodes:
        until(lambda n=n: muster.parked(n) >= 1, "the poll waits")
    sent = fire(place.agents[0], "deploy", b"now")
    assert sent["LTime"] == 0
    for p in polls:
        answer = p.result()
        assert ids(answer.json) == [sent["ID"]]
        assert answer.json[0]["Payload"] == "bm93"
        assert answer.json[0]["LTime"] > 0
    # Behind it comes another one: whatever was to come twice has come by then.
    last = fire(place.servers[1], "last")["ID"]
    everywhere(place, "last", [last])
    for name, out in place.out.items():
        until(lambda out=out: told(out, "last") == [last], f"the watch of {name}")
        assert told(out, "deploy") == [sent["ID"]], name
    for n in place.nodes:
        assert ids(heard(n, "deploy")) == [sent["ID"]]


def test_later_events_have_later_times_wherever_they_are_fired(place):
    times = []
    for i, n in enumerate(place.nodes):
        sent = fire(n, f"time-{i}")["ID"]
        everywhere(place, f"time-{i}", [sent])
        seen = {heard(m, f"time-{i}")[0]["LTime"] for m in place.nodes}
        assert len(seen) == 1, "all see the same"
        times += seen
    assert times == sorted(set(times))


def test_each_node_sees_whether_it_is_meant(place):
    assert place.agents[1].put("/v1/agent/service/register", {
        "Name": "tagged", "Tags": ["v2"]}).status == 200
    by_node = fire(place.servers[0], "by-node", query="?node=%5Ea2%24")["ID"]
    by_tag = fire(place.agents[0], "by-tag", query="?service=tagged&tag=v2")["ID"]
    other = fire(place.agents[0], "by-tag", query="?service=tagged&tag=v1")["ID"]
    last = fire(place.agents[0], "filtered")["ID"]
    everywhere(place, "by-node", [by_node], [place.agents[1]])
    everywhere(place, "by-tag", [by_tag], [place.agents[1]])
    everywhere(place, "filtered", [last])
    for n in place.nodes:
        if n is not place.agents[1]:
            assert heard(n, "by-node") == heard(n, "by-tag") == []
    assert other not in ids(heard(place.agents[1], "by-tag"))


def test_many_at_once_come_all_and_each_once(place):
    """More than a request carries, fewer than are kept; by two ways, so that their
    order is nobody's promise."""
    sent = [fire(place.agents[0], "many", b"%d" % i)["ID"] for i in range(150)]
    for n in place.nodes:
        until(lambda n=n: sorted(ids(heard(n, "many"))) == sorted(sent), n.name)


def test_what_is_no_batch_is_refused_in_words(place):
    """The route is for peers; users have none."""
    s = place.servers[0]
    assert s.put("/v1/peer/event", {"Events": []}).status == 404

    def say(body):
        with socket.create_connection(s.peer.split(":"), timeout=30) as c:
            c.sendall(b"PUT /v1/peer/event HTTP/1.1\r\nHost: x\r\n"
                      b"Connection: close\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body))
            answer = b"".join(iter(lambda: c.recv(65536), b""))
        return int(answer.split()[1]), answer.split(b"\r\n\r\n", 1)[1].decode()
    one = {"ID": "11111111-2222-3333-4444-555555555555", "Name": "raw"}
    for body, status, word in [
            (b"nothing", 400, ""), ({"Events": [{}]}, 400, "without ID"),
            ({"Events": [dict(one, Payload="!")]}, 400, "base64"),
            ({"Events": [one] * 257}, 413, "more than 256"),
            ({"Events": [dict(one, ServiceFilter="(", LTime=-1)]}, 200, "LTime")]:
        got = say(body if isinstance(body, bytes) else json.dumps(body).encode())
        assert got[0] == status and word in got[1], got
    # That it was for nobody, because its filter cannot be read, is in the log.
    until(lambda: f"user event {one['ID']}" in s.log(), "a word about it")
    assert heard(s, "raw") == []


def test_a_dead_server_in_between_costs_no_event(place):
    dead, agent = place.servers[2], place.agents[1]
    before = heard(dead, "time-4")[0]["LTime"]
    dead.kill()
    sent = fire(place.agents[0], "after-death")["ID"]
    everywhere(place, "after-death", [sent], [*place.servers[:2], *place.agents])
    until(lambda: told(place.out["a2"], "after-death") == [sent], "its watch")
    dead.start()
    # It is told of the time, and not of what was fired before it began.
    until(lambda: fire(agent, "restarted") and heard(dead, "restarted"),
          "one that it hears")
    own = fire(dead, "of-it")["ID"]
    everywhere(place, "of-it", [own])
    assert heard(agent, "of-it")[0]["LTime"] > before
    assert heard(dead, "after-death") == []
    for name, out in place.out.items():
        until(lambda out=out: told(out, "of-it") == [own], f"the watch of {name}")
        assert told(out, "after-death") == [sent], name


def test_an_agent_alone_says_so_and_tells_it_later(tmp_path):
    s = muster.Server(tmp_path / "s", name="server-1").start()
    a = agents.Agent(tmp_path / "a", s).start()
    try:
        assert "x-muster-pending" not in a.put("/v1/event/fire/x").headers
        s.kill()
        until(lambda: a.get("/v1/agent/members").headers, "it still answers")

        def alone():
            answer = a.put("/v1/event/fire/alone")
            assert answer.status == 200
            return answer.headers.get("x-muster-pending") == "true" and answer
        sent = until(alone, "a word that no server is there").json["ID"]
        assert sent in ids(heard(a, "alone")), "it hears it itself"
        assert "no server can be reached" in a.log()
        again = until(alone, "and again").json["ID"]
        s.start()
        until(lambda: {sent, again} <= set(ids(heard(s, "alone"))), "both come")
        all_of_it = ids(heard(s, "alone"))
        assert len(all_of_it) == len(set(all_of_it)), "each once"
    finally:
        agents.end(a.process)
        s.stop()
