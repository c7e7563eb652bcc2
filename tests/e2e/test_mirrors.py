# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""What a datacenter answers about another one from its mirror: the same bytes, with
the true age, also while the link between them is cut."""

import subprocess

import muster
import pytest
from agents import Agent
from streams import Stream
from wires import Wire

CHECK = {"CheckID": "c", "Name": "c", "Status": "passing"}
PATHS = ["/v1/health/service/web", "/v1/health/service/web?passing",
         "/v1/catalog/service/web", "/v1/catalog/services",
         "/v1/catalog/nodes", "/v1/catalog/node/n0", "/v1/health/node/n1",
         "/v1/health/state/any", "/v1/health/checks/web",
         "/v1/health/service/web?filter=Node.Node==n1",
         "/v1/health/service/none", "/v1/catalog/node/none"]


def server(folder, dc, *extra, **more):
    return muster.Server(folder / dc, "-datacenter", dc, *extra,
                         name="node-" + dc, **more)


def of(path, dc, *more):
    return path + ("&" if "?" in path else "?") + "&".join(
        [f"dc={dc}", *more])


def stale(path):
    return of(path, "dc2", "stale")


def age(answer):
    return int(answer.headers["x-consul-lastcontact"])


def from_mirror(answer):
    return answer.headers.get("x-muster-mirror") == "dc2"


def mirrored(a, path="/v1/catalog/nodes"):
    return from_mirror(a.get(stale(path)))


def told(a, dc="dc2"):
    rows = a.get("/v1/muster/datacenters").json
    return next(r for r in rows if r["Datacenter"] == dc)


def quiet(a, b):
    """Until the mirror has all of it."""
    def done():
        answer = a.get(stale("/v1/health/state/any"))
        return (from_mirror(answer) and answer.body ==
                b.get("/v1/health/state/any").body and
                a.get(stale("/v1/catalog/services")).body ==
                b.get("/v1/catalog/services").body)
    muster.until(done, "the mirror has it all")


def snapshot(stream, count=1):
    """Reads until so many snapshots have come."""
    for _ in range(count):
        muster.until(lambda: (lambda e: e.name == "snapshot" and
                              e.data["Phase"] == "end")(stream.event()),
                     "a snapshot")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirrors")
    a = server(folder, "dc1").start()
    b = server(folder, "dc2", "-advertise-wan", "127.0.0.2")
    wire = Wire("127.0.0.2", b.other_ports[1])
    b.start()
    assert b.put(f"/v1/agent/join/127.0.0.1:{a.other_ports[1]}?wan=1"
                 ).status == 200
    for i in range(3):
        b.register(f"n{i}", "web", f"web{i}", port=80 + i,
                   checks=[{**CHECK, "ServiceID": f"web{i}"}])
    muster.until(lambda: mirrored(a), "dc2 is mirrored")
    yield a, b, wire
    a.stop()
    b.stop()
    wire.close()


@pytest.fixture
def link(pair):
    """The wire, whole before and afterwards."""
    a, b, wire = pair
    wire.up()
    up(a)
    quiet(a, b)
    yield wire
    wire.up()
    up(a)


def up(a):
    def done():
        answer = a.get(stale("/v1/catalog/nodes"))
        return (from_mirror(answer) and age(answer) < 5000 and
                answer.headers["x-consul-knownleader"] == "true")
    muster.until(done, "the link is up", 60)


def down(a):
    muster.until(
        lambda: a.get(stale("/v1/catalog/nodes")
                      ).headers["x-consul-knownleader"] == "false",
        "the link is down", 60)


def test_answers_are_the_others_byte_by_byte(pair, link):
    a, b, _ = pair
    for path in PATHS:
        here, there = a.get(stale(path)), b.get(path)
        assert from_mirror(here), path
        assert here.status == there.status
        assert here.body == there.body, path
        assert here.headers["x-consul-effective-consistency"] == "stale"
        assert here.headers["x-consul-knownleader"] == "true"
        assert age(here) < 30000
        assert here.index >= there.index
    # What is not asked for as stale is asked there, and so is the rest.
    assert not from_mirror(a.get(of(PATHS[0], "dc2")))
    assert not from_mirror(a.get(of(PATHS[0], "dc2", "consistent")))
    assert not from_mirror(a.get(of("/v1/query", "dc2", "stale")))
    assert not from_mirror(
        a.get(of("/v1/muster/explain/health/service/web", "dc2", "stale")))
    assert not from_mirror(a.get(of("/v1/catalog/nodes", "dc1", "stale")))


def test_a_long_poll_waits_here_and_wakes_for_real_changes(pair, link):
    a, b, _ = pair
    b.register("p", "polled")
    quiet(a, b)
    index = a.get(stale("/v1/health/service/polled")).index
    poll = muster.Poll(a, stale("/v1/health/service/polled"), index,
                       wait="110s")
    muster.until(lambda: muster.parked(a) == 1, "it waits here")
    assert muster.parked(b) == 0
    b.register("q", "something-else")
    quiet(a, b)
    assert poll.waiting
    b.register("q", "polled", "second")
    answer = poll.result()
    assert len(answer.json) == 2 and answer.index > index
    assert from_mirror(answer)
    # The index means the same there.
    there = muster.Poll(b, "/v1/health/service/polled", answer.index,
                        wait="110s")
    muster.until(lambda: muster.parked(b) == 1, "it waits there")
    # And one of there here: nothing is missed.
    b.register("r", "polled", "third")
    far = there.result()
    assert len(far.json) == 3
    near = a.get(stale(f"/v1/health/service/polled?index={far.index}"
                       "&wait=1s"))
    assert near.json == far.json


def test_a_stream_is_fed_from_the_mirror(pair, link):
    a, b, _ = pair
    b.register("s", "streamed")
    quiet(a, b)
    stream = Stream(a, "/v1/health/service/streamed?dc=dc2")
    assert stream.status == 200
    assert stream.headers["x-muster-mirror"] == "dc2"
    snapshot(stream)
    b.register("t", "streamed", "second")
    event = stream.event()
    assert event.name == "put" and event.data["Node"] == "t"
    index, last = stream.last_id, event.id
    assert index == last
    stream.close()
    # Goes on there from the id it had here.
    there = Stream(b, "/v1/health/service/streamed", last_id=last)
    b.register("u", "streamed", "third")
    names = []
    muster.until(lambda: names.append(there.event()) or
                 names[-1].name == "put", "what is new")
    assert there.snapshots == 0 and names[-1].data["Node"] == "u"
    there.close()
    many = Stream(a, "/v1/muster/stream?service=streamed&service=web&dc=dc2")
    assert many.headers["x-muster-mirror"] == "dc2"
    snapshot(many, 2)
    many.close()


def test_an_agent_passes_on_what_a_mirror_says(pair, link, tmp_path):
    a = pair[0]
    agent = Agent(tmp_path, a, name="agent-m", bind="127.0.0.3")
    agent.start()
    try:
        assert from_mirror(agent.get(stale("/v1/health/service/web")))
        for path in ("/v1/health/service/web?dc=dc2",
                     "/v1/muster/stream?service=web&dc=dc2"):
            stream = Stream(agent, path)
            assert stream.status == 200
            assert stream.headers["x-muster-mirror"] == "dc2"
            snapshot(stream)
            stream.close()
        own = Stream(agent, "/v1/health/service/web")
        assert own.status == 200 and "x-muster-mirror" not in own.headers
        own.close()
        # A stream that is refused: when to come back is passed on.
        ahead = a.get(stale("/v1/health/service/web")).index + 1000000
        refused = Stream(agent, f"/v1/health/service/web?dc=dc2&index={ahead}")
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) > 0
        refused.close()
    finally:
        agent.stop()


def test_a_cut_changes_ages_and_no_contents(pair, link):
    a, b, wire = pair
    before = {path: b.get(path).body for path in PATHS}
    poll = muster.Poll(a, stale("/v1/health/service/web"),
                       a.get(stale("/v1/health/service/web")).index,
                       wait="110s")
    waits = a.get(of("/v1/health/service/web", "dc2"))
    forwarded = muster.Poll(a, of("/v1/health/service/web", "dc2"),
                            waits.index, wait="110s")
    muster.until(lambda: muster.parked(b) == 1, "it waits there")
    wire.down()
    down(a)
    ages = []
    for path in PATHS:
        for more in ([], ["stale"]):
            answer = a.get(of(path, "dc2", *more))
            assert answer.body == before[path], path
            assert from_mirror(answer)
            head = answer.headers
            assert head["x-consul-knownleader"] == "false"
            assert head["x-consul-effective-consistency"] == "stale"
            ages.append(age(answer))
    assert ages == sorted(ages) and ages[-1] > 0
    grown = ages[-1]
    muster.until(lambda: age(a.get(of(PATHS[0], "dc2"))) > grown + 1000,
                 "the age grows")
    refused = a.get(of(PATHS[0], "dc2", "consistent"))
    assert refused.status == 500 and not from_mirror(refused)
    tight = a.get(of(PATHS[0], "dc2", "max_stale=1ms"))
    assert tight.status == 500
    assert a.get(PATHS[0]).status == 200
    # Meanwhile something changes there. Nobody is woken before it is here.
    b.register("n9", "web", "web9", checks=[{**CHECK, "ServiceID": "web9"}])
    assert poll.waiting and forwarded.waiting
    wire.up()
    for p in (poll, forwarded):
        answer = p.result(60)
        assert {e["Node"]["Node"] for e in answer.json} == \
            {"n0", "n1", "n2", "n9"}
        assert from_mirror(answer)
    up(a)
    quiet(a, b)
    b.put("/v1/catalog/deregister", {"Node": "n9"})
    quiet(a, b)


def test_what_is_held_back_one_way_is_as_old_as_it_is(pair, link):
    a, b, wire = pair
    for way in ("back", "there"):
        before = a.get(stale("/v1/catalog/nodes")).body
        wire.held = {way}
        down(a)
        answer = a.get(of("/v1/catalog/nodes", "dc2"))
        assert answer.body == before and from_mirror(answer)
        if way == "back":
            grown = age(answer)
            muster.until(lambda: age(a.get(stale("/v1/catalog/nodes"))) >
                         grown + 3000, "the age grows")
        else:  # they are heard, but cannot be asked
            b.register("heard", "one-way")
            quiet(a, b)
            assert len(a.get(of("/v1/catalog/service/one-way", "dc2")
                             ).json) == 1
        wire.up()
        up(a)


def test_a_remote_that_sends_garbage_is_refused(pair, link):
    a, b, wire = pair
    before = a.get(stale("/v1/catalog/nodes")).body
    wire.garbage = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
        b"Content-Length: 90\r\n\r\nevent: put\ndata: {\"Of\":\"all\"," \
        b"\"Key\":\"x\",\"Entry\":{\"Rows\":[{\"Key\":1}]}}\nid: 1\n\n"
    lost = told(a)["Reconnects"]
    muster.until(lambda: told(a)["Reconnects"] >= lost + 3, "it is refused")
    assert "datacenter dc2 is not followed" in a.log()
    assert told(a)["Mirror"] == "whole"
    answer = a.get(stale("/v1/catalog/nodes"))
    assert answer.body == before and from_mirror(answer)
    wire.up()
    up(a)
    quiet(a, b)


def test_another_store_takes_the_place_of_the_last_one(tmp_path, pair):
    a = pair[0]
    def start():
        c = muster.Server(tmp_path / "dc3", "-datacenter", "dc3", dev=True,
                          name="node-dc3")
        c.port, c.other_ports = ports
        return c.start()
    ports = (lambda p: (p[0], p[1:]))(muster.free_ports(4))
    c = start()
    try:
        a_wan = a.other_ports[1]
        join = f"/v1/agent/join/127.0.0.1:{a_wan}?wan=1"
        assert c.put(join).status == 200
        for i in range(20):
            c.register(f"old{i}", "store")
        path = of("/v1/catalog/service/store", "dc3", "stale")
        muster.until(lambda: "x-muster-mirror" in a.get(path).headers and
                     len(a.get(path).json) == 20, "mirrored")
        index = a.get(path).index
        poll = muster.Poll(a, path, index, wait="110s")
        stream = Stream(a, "/v1/health/service/store?dc=dc3")
        snapshot(stream)
        c.kill()
        c = start()
        c.register("new", "store")
        # What was there stays until the other store's is here as a whole.
        seen = set()
        def changed():
            rows = a.get(path).json
            seen.add(tuple(sorted(r["Node"] for r in rows)))
            return [r["Node"] for r in rows] == ["new"]
        c.put(join)
        muster.until(changed, "the new one", 60)
        assert () not in seen
        assert all(len(names) in (1, 20) for names in seen)
        answer = poll.result(60)
        assert [r["Node"] for r in answer.json] == ["new"]
        assert answer.index < index
        snapshot(stream)
        stream.close()
    finally:
        c.stop()


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin")
    b = server(folder, "dc2").start()
    for name in ("web", "pay-eu", "pay-us", "other"):
        b.register("n-" + name, name, checks=[{**CHECK, "ServiceID": name}])
    yield b
    b.stop()


def follower(folder, origin, **mirror):
    return muster.Server(
        folder / "follower", "-datacenter", "dc9", "-retry-join-wan",
        f"127.0.0.1:{origin.other_ports[1]}", name="follower",
        config={"mirror": mirror}).start()


def test_some_services_are_mirrored_and_others_passed_on(tmp_path, origin):
    a = follower(tmp_path, origin, services=["web", "pay-*"])
    try:
        path = "/v1/health/service/"
        muster.until(lambda: mirrored(a, path + "pay-eu"), "mirrored")
        for name in ("web", "pay-eu", "pay-us", "pay-none"):
            answer = a.get(stale(path + name))
            assert from_mirror(answer), name
            assert answer.body == origin.get(path + name).body
        for rest in (path + "other", "/v1/catalog/nodes",
                     "/v1/catalog/services", "/v1/health/state/any"):
            answer = a.get(stale(rest))
            assert not from_mirror(answer), rest
            assert answer.body == origin.get(rest).body
        index = a.get(stale(path + "pay-us")).index
        poll = muster.Poll(a, stale(path + "pay-us"), index, wait="110s")
        origin.register("more", "pay-us")
        answer = poll.result()
        assert len(answer.json) == 2 and from_mirror(answer)
    finally:
        a.stop()


def test_services_with_a_tag_are_mirrored_whole(tmp_path):
    b = server(tmp_path, "dc2", "-advertise-wan", "127.0.0.2")
    wire = Wire("127.0.0.2", b.other_ports[1])
    b.start()
    b.register("n1", "shown", Tags=["public", "x"])
    b.register("n2", "shown")  # of the service, though without the tag
    b.register("n3", "later", Tags=["Public", "x"])
    b.register("n4", "hidden", Tags=["x"])
    b.register("n5", "pay-eu")
    a = follower(tmp_path, b, services=["pay-*"], tags=["public"])
    try:
        path = "/v1/health/service/"
        assert b.put(f"/v1/agent/join/127.0.0.1:{a.other_ports[1]}?wan=1"
                     ).status == 200
        for name in ("shown", "pay-eu"):
            muster.until(lambda name=name: mirrored(a, path + name), name)
        assert a.get(stale(path + "shown")).body == b.get(path + "shown").body
        assert len(a.get(stale(path + "shown")).json) == 2
        index = a.get(stale(path + "shown")).index
        for name in ("later", "hidden", "none"):
            assert not mirrored(a, path + name), name
        b.register("n3", "later", Tags=["public"])
        muster.until(lambda: mirrored(a, path + "later"), "it has the tag")
        # Who was there already is followed on.
        poll = muster.Poll(a, stale(path + "shown"), index, wait="110s")
        b.register("n6", "shown")
        assert len(poll.result().json) == 3
        # One that has lost the tag stays as long as somebody follows him, and is
        # told rightly; then he is forgotten, and comes again with the tag.
        poll = muster.Poll(a, stale(path + "later"),
                           a.get(stale(path + "later")).index, wait="110s")
        b.register("n3", "later")
        assert poll.result().json[0]["Service"]["Tags"] == []
        muster.until(lambda: not mirrored(a, path + "later"), "forgotten", 60)
        assert a.get(stale(path + "later")).body == b.get(path + "later").body
        muster.until(lambda: told(a)["Instances"] == 5,
                     "three of shown, pay-eu and consul are left", 60)
        assert mirrored(a, path + "shown")
        b.register("n3", "later", Tags=["public"])
        muster.until(lambda: mirrored(a, path + "later"), "it has the tag again")
        assert a.get(stale(path + "later")).body == b.get(path + "later").body
        shown = b.get(path + "shown").body
        muster.until(lambda: a.get(stale(path + "shown")).body == shown,
                     "all is here")
        wire.down()
        muster.until(lambda: not told(a)["LinkUp"], "the link is down", 60)
        answer = a.get(of(path + "shown", "dc2"))
        assert from_mirror(answer) and answer.body == shown
        assert a.get(of(path + "hidden", "dc2")).status == 500
        assert told(a)["Mirror"] == "part"
    finally:
        a.stop()
        b.stop()
        wire.close()


def test_none_is_mirrored_where_that_is_said(tmp_path, origin):
    a = follower(tmp_path, origin, services=["none"])
    try:
        muster.until(lambda: "dc2" in a.get("/v1/catalog/datacenters").json,
                     "joined")
        answer = a.get(stale("/v1/catalog/nodes"))
        assert not from_mirror(answer)
        assert answer.body == origin.get("/v1/catalog/nodes").body
        # Streams are not passed on; what to do instead is said.
        for path in ("/v1/health/service/web?dc=dc2",
                     "/v1/muster/stream?service=web&dc=dc2"):
            refused = Stream(a, path)
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "x-muster-mirror" not in refused.headers
            text = refused.file.read(
                int(refused.headers["content-length"])).decode()
            assert "mirror.tags" in text and 'datacenter "dc2"' in text
            refused.close()
    finally:
        a.stop()


def test_what_is_over_the_bound_is_not_answered_in_part(tmp_path, origin):
    a = follower(tmp_path, origin, max_bytes=1 << 20)
    try:
        path = "/v1/catalog/service/large"
        muster.until(lambda: mirrored(a), "mirrored")
        index = a.get(stale(path)).index
        for i in range(45):
            origin.register("large", "large", f"i{i}",
                            Meta={f"k{k}": "x" * 500 for k in range(60)})
            seen = a.get(stale(path)).json
            assert len(seen) <= i + 1
        muster.until(lambda: "mirror.max_bytes" in a.log(), "it is cut")
        # Nothing of it is answered from here: whole, or not at all.
        answer = a.get(stale(path))
        assert not from_mirror(answer) and len(answer.json) == 45
        assert answer.index > index
    finally:
        origin.put("/v1/catalog/deregister", {"Node": "large"})
        a.stop()


def test_who_writes_there_reads_it_here(pair, link):
    a, b, _ = pair
    for i in range(20):
        answer = a.put("/v1/catalog/register?dc=dc2", {
            "Node": f"w{i}", "Address": "10.0.0.1",
            "Service": {"Service": "written"}})
        assert answer.status == 200
        if "x-muster-mirror" in answer.headers:  # else it took over a second
            rows = a.get(stale("/v1/catalog/service/written"))
            assert from_mirror(rows) and len(rows.json) == i + 1
            assert rows.index >= int(answer.headers["x-muster-revision"])
    again = a.put("/v1/catalog/register?dc=dc2", {
        "Node": "w1", "Address": "10.0.0.1",
        "Service": {"Service": "written"}})
    assert again.status == 200 and "x-muster-revision" not in again.headers
    # Nobody but peers is told.
    assert "x-muster-revision" not in b.register("w1", "more").headers


def test_people_are_told_of_mirrors(pair, link):
    a, b, wire = pair
    own, other = a.get("/v1/muster/datacenters").json[0], told(a)
    assert own["Datacenter"] == "dc1" and own["Own"]
    assert (other["Mirror"], other["LinkUp"]) == ("whole", True)
    assert other["HeldBytes"] > 0 and other["ReceivedBytes"] > 0
    assert other["Instances"] == len(
        [1 for name in b.get("/v1/catalog/services").json
         for _ in b.get("/v1/catalog/service/" + name).json])
    before = other["Reconnects"]
    wire.down()
    down(a)
    other = told(a)
    assert other["Mirror"] == "whole" and not other["LinkUp"]
    text = a.get("/v1/agent/metrics?format=prometheus").text
    assert 'muster_mirror_link_up{datacenter="dc2"} 0\n' in text
    assert 'muster_mirror_age_seconds{datacenter="dc2"} ' in text
    wire.up()
    up(a)
    assert told(a)["Reconnects"] > before
    shown = subprocess.run(
        [muster.BINARY, "catalog", "datacenters", "-detailed",
         "-http-addr", f"127.0.0.1:{a.port}"],
        capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [line.split() for line in shown.splitlines()]
    assert rows[1][:2] == ["dc1", "own"]
    assert ["dc2", "whole", "up"] in [row[:3] for row in rows]
