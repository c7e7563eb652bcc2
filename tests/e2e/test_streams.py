# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Event streams: a client that applies what it is sent has the answer."""

import contextlib
import random

import pytest

from muster import quote, until
from streams import (Stream, check, deregister, names, open_ready,
                     watchers)


# --- One service -------------------------------------------------------------


def test_a_snapshot_then_deltas_with_one_id_each(server):
    server.register("s1", "one", "a", 1)
    s = Stream(server, "/v1/health/service/one?passing&stream")
    assert s.headers["content-type"] == "text/event-stream"
    assert names(s.ready()) == ["subscriber", "snapshot", "put", "snapshot"]
    assert s.headers["x-muster-subscriber-id"] == s.subscriber
    answer = server.get("/v1/health/service/one?passing")
    assert list(s.entries.values()) == answer.json
    assert s.last_id == answer.index
    server.register("s1", "one", "b", 2)
    assert [(e.name, e.data["ServiceID"]) for e in s.change()] == [("put", "b")]
    check(server, "s1", "c", "critical", "a")
    [e] = s.change()
    assert (e.name, e.data["ServiceID"], e.data["Why"]) == ("remove", "a",
                                                            "critical")
    assert e.id == server.get("/v1/health/service/one?passing").index
    check(server, "s1", "c", "passing", "a")
    assert names(s.change()) == ["put"]
    deregister(server, "s1", ServiceID="b")
    [e] = s.change()
    assert (e.name, e.data["Why"], e.data["Service"]) == ("remove",
                                                          "deregistered", "one")
    s.close()


@pytest.mark.parametrize("check_id, why", [
    ("_muster_drain:a", "drained"), ("_service_maintenance:a", "maintenance"),
    ("any", "critical")])
def test_a_remove_says_why(server, check_id, why):
    name = f"why-{why}"
    server.register("s2", name, "a")
    s = open_ready(server, f"/v1/health/service/{name}?passing")
    check(server, "s2", check_id, "critical", "a")
    assert [e.data["Why"] for e in s.change()] == [why]
    s.close()
    deregister(server, "s2")


def test_what_changes_nothing_in_the_answer_is_not_sent(server):
    server.register("s3", "calm", "a")
    check(server, "s3", "c", "critical", "a", "one")
    s = open_ready(server, "/v1/health/service/calm?passing")
    all_of_it = open_ready(server, "/v1/health/service/calm")
    check(server, "s3", "c", "critical", "a", "two")  # text alone
    check(server, "s3", "c", "warning", "a")
    server.register("s3", "calm", "b")
    # The warning makes no difference to the first: b is the next it hears of.
    assert [e.data["ServiceID"] for e in s.change()] == ["b"]
    assert [e.data["ServiceID"] for e in all_of_it.change()] == ["a"]
    assert [e.data["ServiceID"] for e in all_of_it.change()] == ["b"]
    s.close()
    all_of_it.close()


def test_changes_of_the_node_are_changes_of_its_instances(server):
    for i in "abc":
        server.register("s4", "host", i)
    server.register("s4", "other", "o")
    s = open_ready(server, "/v1/health/service/host?passing")
    server.put("/v1/catalog/register", {"Node": "s4", "Address": "10.9.9.9"})
    events = s.change()
    assert names(events) == ["put"] * 3
    assert [e.id is not None for e in events] == [False, False, True]
    assert {e["Node"]["Address"] for e in s.entries.values()} == {"10.9.9.9"}
    check(server, "s4", "serfHealth", "critical")
    assert [(e.name, e.data["Why"]) for e in s.change()] == [
        ("remove", "critical")] * 3
    check(server, "s4", "serfHealth", "passing")
    assert names(s.change()) == ["put"] * 3
    deregister(server, "s4")
    assert [(e.name, e.data["Why"]) for e in s.change()] == [
        ("remove", "deregistered")] * 3
    s.close()


def test_an_entry_may_leave_by_a_filter_and_come_back(server):
    def tags(*t):
        server.register("s5", "tagged", "a", Tags=list(t), Meta={"v": "1"})
    tags("blue")
    by_tag = open_ready(server, "/v1/health/service/tagged?tag=blue")
    expression = quote('"blue" in Service.Tags')
    by_filter = open_ready(server,
                           f"/v1/catalog/service/tagged?filter="
                           + quote('"blue" in ServiceTags'))
    health = open_ready(server, f"/v1/health/service/tagged?filter={expression}")
    tags("green")
    for s in (by_tag, by_filter, health):
        assert [(e.name, e.data["Why"]) for e in s.change()] == [
            ("remove", "filter")]
        assert not s.entries
    tags("green", "blue")
    for s in (by_tag, by_filter, health):
        assert names(s.change()) == ["put"]
        s.close()


# --- Resuming ----------------------------------------------------------------


def test_a_resumed_stream_gets_only_what_changed(server):
    for i in range(20):
        server.register("r1", "resume", f"i{i}", i + 1)
    s = open_ready(server, "/v1/health/service/resume?passing")
    s.close()
    server.register("r1", "resume", "i3", 4444)
    deregister(server, "r1", ServiceID="i7")
    check(server, "r1", "c", "critical", "i9")
    again = Stream(server, "/v1/health/service/resume?passing",
                   last_id=s.last_id, entries=s.sets)
    events = again.ready()
    assert again.snapshots == 0
    assert sorted((e.name, e.data.get("ServiceID")) for e in events[1:]) == [
        ("current", None), ("put", "i3"), ("remove", "i7"), ("remove", "i9")]
    want = server.get("/v1/health/service/resume?passing").json
    assert sorted(e["Service"]["ID"] for e in again.entries.values()) == \
        sorted(e["Service"]["ID"] for e in want)
    again.close()
    # By parameter too, and with nothing to tell.
    third = Stream(server, "/v1/health/service/resume?passing&stream&index="
                   f"{again.last_id}")
    assert names(third.ready()) == ["subscriber", "current"]
    third.close()


def test_a_cut_in_the_middle_of_a_revision_loses_nothing(server):
    for i in range(50):
        server.register("r2", "middle", f"i{i}")
    s = open_ready(server, "/v1/health/service/middle?passing")
    server.put("/v1/catalog/register", {"Node": "r2", "Address": "10.1.1.1"})
    cut = [s.event() for _ in range(17)]
    assert all(e.id is None for e in cut)
    s.close()
    again = Stream(server, "/v1/health/service/middle?passing",
                   last_id=s.last_id, entries=s.sets)
    again.ready()
    assert again.snapshots == 0 and len(again.entries) == 50
    assert {e["Node"]["Address"] for e in again.entries.values()} == {"10.1.1.1"}
    again.close()


def test_after_a_restart_there_is_one_snapshot(make_server):
    server = make_server().start()
    server.register("n", "web", "a")
    server.register("n", "web", "b")
    s = open_ready(server, "/v1/health/service/web")
    deregister(server, "n", ServiceID="b")
    server.kill()
    server.start()
    again = Stream(server, "/v1/health/service/web", last_id=s.last_id,
                   entries=s.sets)
    again.ready()
    assert again.snapshots == 1
    assert list(again.entries) == ["s/n/a"]
    s.close()
    again.close()


def test_an_index_of_another_life_gets_a_snapshot(server):
    server.register("r3", "future", "a")
    s = Stream(server, "/v1/health/service/future", last_id=1 << 50)
    s.ready()
    assert s.snapshots == 1 and len(s.entries) == 1
    s.close()


# --- Other routes ------------------------------------------------------------


ROUTES = [
    "/v1/catalog/nodes", "/v1/catalog/services", "/v1/catalog/service/m",
    "/v1/catalog/node/m1", "/v1/catalog/node-services/m1",
    "/v1/health/service/m", "/v1/health/service/m?passing",
    "/v1/health/node/m1", "/v1/health/checks/m", "/v1/health/state/any",
    "/v1/health/state/critical", "/v1/catalog/connect/m",
    "/v1/health/connect/m", "/v1/muster/stream?service=m&prefix=q&passing",
    "/v1/muster/stream?all",
]


def expected(server, path):
    """What a client of this stream has in the end, as a sorted list."""
    if path.startswith("/v1/muster/stream"):
        every = path.endswith("all")
        rows = []
        for name in server.get("/v1/catalog/services").json:
            if every or name == "m" or name.startswith("q"):
                rows += server.get(f"/v1/health/service/{name}"
                                   + ("" if every else "?passing")).json
        return rows
    answer = server.get(path).json
    if path == "/v1/catalog/services":
        return list(answer.values())
    if "/catalog/node/" in path or "/node-services/" in path:
        if not answer or not answer["Node"]:
            return []
        services = answer["Services"]
        if isinstance(services, dict):
            services = services.values()
        return [answer["Node"], *services]
    return answer


def sorted_rows(rows):
    return sorted(map(repr, map(stable, rows)))


def stable(x):
    """Without what streams do not tell of: what changes alone and wakes nobody."""
    if isinstance(x, dict):
        return {k: stable(v) for k, v in x.items()
                if k not in ("Output", "ModifyIndex", "ReadySince")}
    return [stable(v) for v in x] if isinstance(x, list) else x


def random_change(server, rng):
    node, i = f"m{rng.randrange(3)}", f"i{rng.randrange(4)}"
    name = rng.choice(["m", "m", "q1"])
    kind = rng.randrange(8)
    if kind < 3:
        more = {}
        if rng.randrange(4) == 0:
            more = {"Kind": "connect-proxy",
                    "Proxy": {"DestinationServiceName": "m"}}
        server.register(node, name, i, rng.randrange(3), **more)
    elif kind < 6:
        server.put("/v1/catalog/register", {
            "Node": node, "Address": "10.0.0.1", "SkipNodeUpdate": True,
            "Check": {"CheckID": f"c{i}", "Name": "c", "ServiceID": i,
                      "Status": rng.choice(["passing", "critical"])}})
    elif kind == 6:
        server.put("/v1/catalog/deregister", {"Node": node, "ServiceID": i})
    else:
        server.put("/v1/catalog/deregister" if rng.randrange(3) == 0
                   else "/v1/catalog/register",
                   {"Node": node, "Address": f"10.0.0.{rng.randrange(3)}"})


def test_whoever_applies_the_events_has_the_answer_on_every_route(make_server):
    server = make_server().start()
    rng = random.Random(7)
    server.register("m1", "m", "i0")
    streams = {p: open_ready(server, p) for p in ROUTES}
    for turn in range(6):
        for _ in range(40):
            random_change(server, rng)
        # Some are cut, wherever they are, and go on.
        for path in rng.sample(ROUTES, 5):
            old = streams[path]
            with contextlib.suppress(TimeoutError):  # there may be fewer
                for _ in range(rng.randrange(40)):
                    old.event(0.2)
            old.close()
            streams[path] = Stream(server, path, last_id=old.last_id,
                                   entries=old.sets)
    server.register("m0", "m", "last", 999)
    server.put("/v1/catalog/register", {
        "Node": "m1", "Address": "10.7.7.7",
        "Check": {"CheckID": "last", "Name": "last", "Status": "critical"}})
    for path, s in streams.items():
        want = sorted_rows(expected(server, path))
        s.until(lambda s=s, want=want: not s.building
                and sorted_rows(s.entries.values()) == want, path)
        s.close()


def test_many_subscriptions_share_one_connection_and_one_id(make_server):
    server = make_server().start()
    names_ = [f"svc{i}" for i in range(30)]
    for name in names_:
        server.register("n", name)
    s = Stream(server, "/v1/muster/stream?"
               + "&".join(f"service={n}" for n in names_))
    s.until(lambda: s.last_id is not None, "an id")
    assert len(s.entries) == 30
    server.register("n", "svc7", "svc7", 77)
    [e] = s.change()
    assert (e.data["Service"], e.data["Entry"]["Service"]["Port"]) == ("svc7",
                                                                       77)
    assert e.id == server.metric("store.revision")
    s.close()
    server.register("n", "svc9", "svc9", 99)
    again = Stream(server, "/v1/muster/stream?"
                   + "&".join(f"service={n}" for n in names_),
                   last_id=s.last_id, entries=s.sets)
    events = again.until(lambda: again.last_id and again.last_id > s.last_id,
                         "an id")
    assert names(events).count("put") == 1 and again.snapshots == 0
    assert again.entries["s/n/svc9"]["Service"]["Port"] == 99
    again.close()


def test_an_id_comes_when_nothing_of_its_version_is_missing(make_server):
    """One change of all, of which one subscription takes many steps to tell:
    whoever is cut off then and goes on from the id has to have been told all."""
    server = make_server().start()
    small = [f"small{i}" for i in range(16)]
    for name in small:
        server.register("n", name)
    for i in range(400):
        server.register("n", "large", f"i{i}")
    s = Stream(server, "/v1/muster/stream?service=large&"
               + "&".join(f"service={n}" for n in small))
    s.until(lambda: s.last_id is not None, "an id")
    for address in ("10.2.2.1", "10.2.2.2", "10.2.2.3"):
        before = s.last_id
        server.put("/v1/catalog/register", {"Node": "n", "Address": address})
        s.until(lambda before=before: s.last_id > before, "an id")
        shown = [e["Node"]["Address"] for e in s.entries.values()]
        assert shown.count(address) == len(shown) == 416
    s.close()


def test_a_prefix_follows_services_that_come_and_go(server):
    s = open_ready(server, "/v1/muster/stream?prefix=pre-")
    assert not s.entries
    server.register("p1", "pre-one")
    server.register("p1", "unlike")
    server.register("p1", "PRE-two")
    s.until(lambda: len(s.entries) == 2, "two instances")
    assert set(s.entries) == {"s/p1/pre-one", "s/p1/pre-two"}
    deregister(server, "p1", ServiceID="pre-one")
    told = s.until(lambda: len(s.entries) == 1, "one instance")[-1]
    assert (told.data["Service"], told.data["Prefix"]) == ("pre-one", "pre-")
    # Under another name it is gone from here, and what it was is told.
    server.register("p1", "renamed", "PRE-two")
    told = s.until(lambda: not s.entries, "the other")[-1]
    assert (told.data["Service"], told.data["Why"]) == ("PRE-two", "filter")
    s.close()


def test_rows_of_a_prefix_are_of_its_services_alone(server):
    server.register("r1", "row-other")
    server.register("r1", "row-a-one")
    of = []
    s = Stream(server, "/v1/muster/stream?rows&nodes&prefix=row-a-")
    until(lambda: of.append(s.event()) or
                 (of[-1].name == "snapshot" and of[-1].id), "a snapshot")
    assert [e.data["ServiceID"] for e in of
            if e.name == "put" and e.data["Of"] == "prefix"] == ["row-a-one"]
    # Under another name it is gone.
    server.register("r1", "row-b", "row-a-one")
    until(lambda: of.append(s.event()) or of[-1].name == "remove",
                 "a removal")
    assert of[-1].data["ServiceID"] == "row-a-one"
    s.close()


# --- Callers -----------------------------------------------------------------


def caller(server, label, zone, rank="", path="/v1/health/service/called"):
    return Stream(server, f"{path}?callers={rank}&subscriber={label}"
                  f"&zone={zone}")


def told_so(s, zones, rank, size):
    s.until(lambda: s.callers and (s.callers["Zones"], s.callers["Rank"],
                                   s.callers["Size"]) == (zones, rank, size),
            f"{zones} {rank}/{size}, last was {s.callers}")


def test_callers_are_told_their_place_among_all(server):
    first = caller(server, "shop", "a")
    told_so(first, {"a": 1}, 0, 1)
    second = caller(server, "shop", "b")
    told_so(second, {"a": 1, "b": 1}, 1, 2)
    other = caller(server, "cron", "b", path="/v1/catalog/service/CALLED")
    told_so(other, {"a": 1, "b": 2}, 0, 1)
    told_so(first, {"a": 1, "b": 2}, 0, 2)  # within some seconds
    watching = open_ready(server, "/v1/health/service/called")  # calls nobody
    second.close()
    until(lambda: [w["Connected"] for w in watchers(server, "called")
                   if w["Subscriber"] == second.subscriber] == [False],
          "the server knows that it left")
    # Its place is kept for it, and for nobody else.
    third = caller(server, "shop", "a")
    told_so(third, {"a": 2, "b": 2}, 2, 3)
    again = caller(server, "shop", "b", rank=1)
    told_so(again, {"a": 2, "b": 2}, 1, 3)
    for s in (first, other, watching, third, again):
        s.close()
