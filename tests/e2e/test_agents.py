# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Client agents: what an application's host gets from servers elsewhere, and what
becomes of it when a server, or the agent, dies."""

import base64
import http.client
import json
import random
import signal
import subprocess
import threading
import time

import pytest

import agents
import etcd
import muster
from muster import until
from streams import Stream

FAILED_WITHIN = 12  # seconds after the last beat (design)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    s = muster.Server(tmp_path_factory.mktemp("server"), name="server-1",
                      config={"limits": {"http_max_conns_per_client": 4000}})
    yield s.start()
    s.stop()


@pytest.fixture(scope="module")
def agent(tmp_path_factory, server):
    a = agents.Agent(tmp_path_factory.mktemp("agent"), server,
                     config={"limits": {"http_max_conns_per_client": 4000}})
    yield a.start()
    assert a.stop() == 0, "an agent leaves, and says 0"
    assert agents.own_check(server, a.name) is None, "it is still registered"


@pytest.fixture
def make(tmp_path):
    made = []

    def one(kind, *args, **kw):
        made.append(kind(tmp_path / f"p{len(made)}", *args, **kw))
        return made[-1]

    yield one
    for p in made:
        if p.process and p.process.poll() is None:
            agents.end(p.process)
        if p.log_path.exists():
            print(f"--- {p.name}\n{p.log()[-3000:]}")


def ids(answer):
    assert answer.status == 200, answer.text
    return sorted(e["Service"]["ID"] for e in answer.json)


def test_the_agents_node_is_in_the_catalog_and_says_where_it_listens(
        server, agent):
    nodes = {n["Node"]: n for n in server.get("/v1/catalog/nodes").json}
    assert nodes[agent.name]["Address"] == "127.0.0.2"
    assert nodes[agent.name]["Meta"]["muster_peer_port"] == \
        str(agent.other_ports[0])
    assert agents.status_of(server, agent.name) == "passing"


def test_what_is_registered_here_is_found_at_the_server_at_once(server, agent):
    assert agent.put("/v1/agent/service/register", {
        "Name": "local", "ID": "l1", "Port": 81,
        "Check": {"TTL": "60s", "Status": "passing"}}).status == 200
    assert ids(server.get("/v1/health/service/local?passing")) == ["l1"]
    assert agent.put("/v1/agent/check/fail/service:l1").status == 200
    until(lambda: ids(server.get("/v1/health/service/local?passing")) == [],
          "a failed check leaves the answers")
    assert agent.put("/v1/agent/service/deregister/l1").status == 200
    assert ids(server.get("/v1/health/service/local")) == []


def test_nodes_find_their_places_by_how_long_answers_take(server, agent):
    def places():
        return {n["Node"]: n["Coord"]
                for n in server.get("/v1/coordinate/nodes").json}

    until(lambda: agent.name in places() and places()[agent.name]["Error"] < 1.5 and
          places()[server.name]["Error"] < 1.5, "both have measured, and told")
    for at in places().values():
        assert len(at["Vec"]) == 8 and 0 < at["Height"] < 10
    # Through the agent, too, and by `muster rtt`.
    assert {n["Node"] for n in agent.get("/v1/coordinate/nodes").json} >= \
        {agent.name, server.name}
    for at in server, agent:
        done = subprocess.run(
            [muster.BINARY, "rtt", f"-http-addr=127.0.0.1:{at.port}",
             agent.name, server.name], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        estimate = float(done.stdout.split(" rtt: ")[1].split()[0])
        assert 0 < estimate < 10000 and "LAN coordinates" in done.stdout


def test_reads_and_writes_of_the_catalog_are_passed_on(server, agent):
    agent.register("far", "passed", "p1")
    mine, theirs = (s.get("/v1/catalog/service/passed") for s in
                    (agent, server))
    assert mine.body == theirs.body and mine.index == theirs.index
    for path in ("/v1/catalog/nodes", "/v1/health/state/any",
                 "/v1/status/leader", "/v1/catalog/services?pretty",
                 "/v1/health/service/passed?filter=Node.Node==far"):
        assert agent.get(path).body == server.get(path).body, path
    assert agent.get("/v1/health/service/passed?filter=(").status == 400
    assert agent.put("/v1/catalog/register", "{").status == 400
    assert agent.put("/v1/catalog/deregister",
                     {"Node": "far"}).text == "true"


def test_a_watch_here_is_answered_when_the_servers_catalog_changes(
        server, agent):
    server.register("far", "watched", "w1")
    first = agent.get("/v1/health/service/watched?cached")
    assert ids(first) == ["w1"]
    poll = muster.Poll(agent, "/v1/health/service/watched", first.index)
    server.register("far", "watched", "w2")
    answer = poll.result()
    assert ids(answer) == ["w1", "w2"]
    plain = server.get("/v1/health/service/watched")
    assert (answer.body, answer.index) == (plain.body, plain.index)


def test_an_index_from_a_server_is_good_here(server, agent):
    server.register("far", "moved", "m1")
    index = server.get("/v1/health/service/moved").index
    server.put("/v1/catalog/deregister", {"Node": "far", "ServiceID": "m1"})
    # Nobody watched it here when that happened.
    answer = agent.get(f"/v1/health/service/moved?index={index}&wait=20s")
    assert ids(answer) == [] and answer.index > index


def test_a_stream_here_is_told_what_changes(server, agent):
    server.register("far", "streamed", "s1")
    stream = Stream(agent, "/v1/health/service/streamed?stream")
    stream.ready()
    server.register("far", "streamed", "s2")
    stream.until(lambda: len(stream.entries) == 2, "the new one")
    server.put("/v1/catalog/deregister", {"Node": "far", "ServiceID": "s1"})
    stream.until(lambda: len(stream.entries) == 1, "the old one goes")
    stream.close()


def test_what_leaves_with_many_others_leaves_every_stream_here(server, agent):
    """They come on one stream, some long before the others: the mirror may not
    take a version for whole before all of it is there."""
    small = [f"beside{i}" for i in range(16)]
    for name in small:
        server.register("wide", name)
    for i in range(400):
        server.register("wide", "vast", f"v{i}")
    streams = [Stream(agent, f"/v1/health/service/{name}?stream")
               for name in ["vast", *small]]
    for s in streams:
        s.ready()
    server.put("/v1/catalog/deregister", {"Node": "wide"})
    for name in ["vast", *small]:
        server.register("last", name)
    for s in streams:
        while not any(e["Node"]["Node"] == "last" for e in s.entries.values()):
            s.change()
        assert len(s.entries) == 1, "some that left before it are still here"
    for s in streams:
        s.close()


def test_a_thousand_watchers_cost_the_server_one_subscription(server, agent):
    server.register("far", "crowd", "c1")
    index = agent.get("/v1/health/service/crowd?cached").index
    before = {m: server.metric(m)
              for m in ("stream.open", "http.parked")}
    crowd = agents.Watchers(
        agent, f"/v1/health/service/crowd?index={index}&wait=60s", 1000)
    try:
        until(lambda: agent.metric("http.parked") >= 1000,
              "all of them wait")
        after = {m: server.metric(m)
                 for m in ("stream.open", "http.parked")}
        assert after == before, "the server has more to do"
        assert after["stream.open"] == 1
        server.register("far", "crowd", "c2")
        assert crowd.answered() == {"HTTP/1.1 200 OK"}
    finally:
        crowd.close()


def test_a_thousand_watchers_of_a_list_cost_a_server_few_polls(server, agent):
    path = "/v1/catalog/services"
    index = agent.get(path).index
    before = server.metric("http.parked")
    crowd = agents.Watchers(agent, f"{path}?index={index}&wait=60s", 1000)
    try:
        until(lambda: agent.metric("http.parked") >= 1000,
              "all of them wait")
        # One for each serving thread of the agent.
        until(lambda: 0 < server.metric("http.parked") - before <= 32,
              "the server has few")
        # Whose wait is over gets the answer as it is; the others wait on.
        late = agent.get(f"{path}?index={index}&wait=1s")
        assert late.status == 200 and late.index == index
        assert late.body == server.get(path).body
        assert agent.metric("http.parked") >= 1000
        server.register("far", "another-list", "al1")
        assert crowd.answered() == {"HTTP/1.1 200 OK"}
    finally:
        crowd.close()


def test_a_snapshot_passes_that_is_larger_than_other_answers(make):
    s = make(muster.Server, name="server-5").start()
    a = make(agents.Agent, s, name="saver", bind="127.0.0.12").start()
    text = random.Random(1)
    for i in range(800):  # hardly to be compressed
        meta = {f"k{k}": base64.b64encode(text.randbytes(380)).decode()
                for k in range(60)}
        assert s.put("/v1/catalog/register", {
            "Node": f"large-{i}", "Address": "10.0.0.1",
            "NodeMeta": meta}).status == 200
    c = http.client.HTTPConnection("127.0.0.1", a.port, timeout=muster.LIMIT)
    c.request("GET", "/v1/snapshot")
    answer = c.getresponse()
    archive = answer.read()
    assert answer.status == 200 and len(archive) > 16 << 20, len(archive)
    c.request("PUT", "/v1/snapshot", archive)
    assert c.getresponse().status == 200
    c.close()


def watched_by(server, service, label):
    """Streams with this label that follow the service now."""
    rows = server.get(f"/v1/muster/watchers/{service}").json["Subscribers"]
    return [w for w in rows if w["Label"] == label and w.get("Connected")]


def test_what_nobody_asks_for_is_dropped_and_comes_back(server, make):
    a = make(agents.Agent, server, name="forgetful", bind="127.0.0.10",
             config={"mirror_idle": "1s"}).start()
    path = "/v1/health/service/{}"
    for name in ("idle", "awaited"):
        server.register("far", name, f"{name}-1")
    stream = Stream(a, path.format("streamed-on") + "?stream")
    stream.ready()
    kept = a.get(path.format("idle?cached")).index
    index = a.get(path.format("awaited?cached")).index
    poll = muster.Poll(a, path.format("awaited"), index)
    assert watched_by(server, "idle", "agent forgetful")
    until(lambda: not watched_by(server, "idle", "agent forgetful"),
          "the idle one is dropped")
    for name in ("awaited", "streamed-on"):
        assert watched_by(server, name, "agent forgetful"), name
    # With the index of before: neither a false removal nor an endless wait.
    again = muster.Poll(a, path.format("idle"), kept)
    until(lambda: watched_by(server, "idle", "agent forgetful"),
          "it is followed again")
    for name in ("idle", "awaited", "streamed-on"):
        server.register("far", name, f"{name}-2")
    answer = again.result()
    while len(answer.json) < 2:  # first as it was, at the index of now
        assert ids(answer) == ["idle-1"] and answer.index > kept
        answer = a.get(path.format(f"idle?index={answer.index}&wait=20s"))
    assert ids(answer) == ["idle-1", "idle-2"]
    assert ids(poll.result()) == ["awaited-1", "awaited-2"]
    stream.until(lambda: len(stream.entries) == 1, "the stream goes on")
    stream.close()


def test_hundreds_of_services_are_kept_while_servers_are_gone(make):
    import dns_client
    s = make(muster.Server, name="server-4").start()
    dns = muster.free_port()
    a = make(agents.Agent, s, name="hoarder", bind="127.0.0.11",
             extra=["-dns-port", str(dns)],
             config={"dns_config": {"max_stale": "3s"}}).start()
    # More, and longer ones, than fit into the line of a request.
    names = [f"{'long' * 14}-{i}" for i in range(200)]
    for name in names:
        s.register("far", name, f"id-{name}", port=7)
        assert ids(a.get(f"/v1/health/service/{name}?cached")) == [f"id-{name}"]
    assert dns_client.ask(dns, f"{names[0]}.service.consul", "SRV").values()
    s.kill()
    until(lambda: "lost server" in a.log(), "the loss is noticed")
    for name in names:
        assert ids(a.get(f"/v1/health/service/{name}?cached")) == [f"id-{name}"]
    until(lambda: dns_client.ask(dns, f"{names[0]}.service.consul",
                                 "SRV").rcode == "SERVFAIL",
          "DNS does not tell what is older than max_stale")


def test_a_killed_agent_is_failed_in_time_and_back_at_once(server, make):
    a = make(agents.Agent, server, name="mortal", bind="127.0.0.3").start()
    a.kill()
    begun = time.monotonic()
    until(lambda: agents.status_of(server, "mortal") == "critical",
          "it is declared failed")
    # The bound (FAILED_WITHIN) is held by tests/sim, on a clock of its own: a
    # server that this machine leaves waiting starts all times anew, rightly.
    print(f"failed after {time.monotonic() - begun:.1f} s")
    a.start()
    until(lambda: agents.status_of(server, "mortal") == "passing",
          "it is back")


def beat_as_many(server, n):
    """So many agents more, as this server sees them."""
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    for i in range(n):
        c.request("PUT", "/v1/peer/beat", json.dumps({"Node": f"host-{i}"}))
        r = c.getresponse()
        every = json.loads(r.read())["BeatMs"]
        assert r.status == 200
    c.close()
    return every


def unheard_ms(server, node):
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    c.request("GET", "/v1/peer/heard?after=0")
    lines = c.getresponse().read().decode().splitlines()
    c.close()
    return next((int(w[0]) for w in map(str.split, lines) if w[1:] == [node]), None)


def test_where_there_are_many_an_agent_is_heard_and_failed_all_the_same(make):
    s = make(muster.Server, name="server-many").start()
    a = make(agents.Agent, s, name="one-of-many", bind="127.0.0.10").start()
    assert beat_as_many(s, 2001) == 3000
    # It beats less often, on a connection that nothing else is sent on.
    for _ in range(2):
        until(lambda: unheard_ms(s, a.name) > 1500, "it beats each three seconds")
        until(lambda: unheard_ms(s, a.name) < 1000, "it beats")
    assert a.put("/v1/agent/service/register",
                 {"Name": "local", "ID": "l1", "Port": 81}).status == 200
    assert ids(s.get("/v1/health/service/local?passing")) == ["l1"]
    assert agents.status_of(s, a.name) == "passing"
    a.kill()
    until(lambda: agents.status_of(s, a.name) == "critical",
          "it is declared failed")


def test_a_stopped_server_makes_nobody_fail(server, agent):
    check = agents.own_check(server, agent.name)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(FAILED_WITHIN)  # sleep: what must not happen takes this long
    server.process.send_signal(signal.SIGCONT)
    until(lambda: agent.get("/v1/catalog/nodes").status == 200,
          "the agent has its server again")
    until(lambda: server.metric("store.revision") > 0, "it goes on")
    now = agents.own_check(server, agent.name)
    assert (now["Status"], now["ModifyIndex"]) == \
        ("passing", check["ModifyIndex"])


def test_registrations_wait_for_a_server_and_get_there(make):
    s = make(muster.Server, name="server-2").start()
    a = make(agents.Agent, s, name="patient", bind="127.0.0.4").start()
    check = agents.own_check(s, "patient")
    s.kill()
    until(lambda: "lost server" in a.log(), "the loss is noticed")
    begun = time.monotonic()
    answer = a.put("/v1/agent/service/register", {"Name": "kept", "Port": 1})
    assert answer.status == 200
    assert answer.headers["x-muster-pending"] == "true"
    assert time.monotonic() - begun < 7, "it waited although all were lost"
    assert set(a.get("/v1/agent/services").json) == {"kept"}
    assert a.get("/v1/catalog/nodes").text == "No cluster leader"
    s.start()
    until(lambda: ids(s.get("/v1/health/service/kept")) == ["kept"],
          "it is synchronised")
    now = agents.own_check(s, "patient")
    assert (now["Status"], now["ModifyIndex"]) == \
        ("passing", check["ModifyIndex"]), "a restart was taken for a death"


def test_an_agent_starts_without_any_server(make):
    a = make(agents.Agent, f"127.0.0.1:{muster.free_port()}", name="alone",
             config={"service": {"name": "configured", "port": 5}})
    a.spawn()
    a.wait_serves()
    until(lambda: "configured" in a.get("/v1/agent/services").json,
          "what its configuration defines")
    answer = a.put("/v1/agent/service/register", {"Name": "early"})
    assert answer.headers["x-muster-pending"] == "true"
    assert "connection refused" in a.log()


@pytest.mark.parametrize("key,value,why", [
    ("datacenter", "dc9", 'it belongs to datacenter "dc1", this agent to "dc9"'),
    ("node_name", "server-1", 'it has the name of this agent, "server-1"'),
])
def test_whom_it_cannot_join_is_named_with_both_sides(server, make, key, value,
                                                      why):
    a = make(agents.Agent, server, name=value if key == "node_name" else "odd",
             config={key: value})
    a.spawn()
    until(lambda: why in a.log(), why)


def ends(process):
    """With Consul's exit code for it."""
    process.spawn()
    assert process.process.wait(60) == 1, process.log()
    return process.log()


def test_who_is_to_be_joined_at_once_and_is_not_there_ends_the_start(make):
    a = make(agents.Agent, extra=["-join", f"127.0.0.1:{muster.free_ports(1)[0]}"])
    assert "with start_join (-join) one has to at the first try" in ends(a)
    s = make(agents.Agent, extra=["-server", "-bootstrap-expect", "3",
                                  "-server-port", "8300", "-join",
                    f"127.0.0.1:{muster.free_ports(1)[0]}"])
    assert "with start_join (-join) one has to at the first try" in ends(s)


def test_rounds_of_joining_come_to_an_end(make):
    a = make(agents.Agent, f"127.0.0.1:{muster.free_ports(1)[0]}",
             config={"retry_interval": "1s", "retry_max": 1})
    assert "has answered in 1 rounds (retry_max) after the first" in ends(a)


def test_a_name_stands_for_all_of_its_addresses(server, make):
    a = make(agents.Agent, f"localhost:{server.other_ports[0]}", name="named")
    a.start()
    assert f"joined server 127.0.0.1:{server.other_ports[0]}" in a.log()


def test_an_agent_is_no_server_to_join(agent, make):
    a = make(agents.Agent, agent, name="second", bind="127.0.0.5")
    a.spawn()
    until(lambda: "it is an agent, not a server" in a.log(), "it says so")


@pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)
def test_a_lost_server_fails_no_request_and_nobody(make):
    store = etcd.Etcd(1).start()
    try:
        two = [make(muster.Server, "-store", store.url, name=f"server-{i}")
               for i in range(2)]
        for s in two:
            s.start()
        a = make(agents.Agent, *two, name="moving", bind="127.0.0.6").start()
        assert a.put("/v1/agent/service/register",
                     {"Name": "here", "Port": 1}).status == 200
        used = next(s for s in two if f"joined server "
                    f"{agents.peer_address(s)}" in a.log())
        other = two[1 - two.index(used)]
        check = agents.own_check(other, "moving")
        wrong, over = [], threading.Event()

        def ask():
            while not over.is_set():
                for path in ("/v1/catalog/nodes", "/v1/health/service/here",
                             "/v1/catalog/nodes?index=1&wait=1s",
                             "/v1/health/service/here?cached"):
                    answer = a.get(path)
                    if answer.status != 200:
                        wrong.append((path, answer.status, answer.text))

        readers = [threading.Thread(target=ask) for _ in range(4)]
        for r in readers:
            r.start()
        lists = "/v1/catalog/services"
        poll = muster.Poll(a, lists, a.get(lists).index)
        used.kill()
        until(lambda: f"joined server {agents.peer_address(other)}" in a.log(),
              "it has moved")
        assert a.put("/v1/agent/service/register",
                     {"Name": "after", "Port": 2}).status == 200
        assert "after" in poll.result().json, "a long poll of a list goes on"
        until(lambda: agents.status_of(other, used.name) == "critical",
              "the dead server's node is failed")
        over.set()
        for r in readers:
            r.join()
        assert not wrong, wrong[:3]
        now = agents.own_check(other, "moving")
        assert (now["Status"], now["ModifyIndex"]) == \
            ("passing", check["ModifyIndex"])
    finally:
        store.close()


def members(s):
    return {m["Name"]: m for m in s.get("/v1/agent/members").json}


def test_members_are_told_alive_and_failed_and_can_be_forced_out(
        server, agent, make):
    a = make(agents.Agent, server, name="forced", bind="127.0.0.7").start()
    for s in (server, agent):
        told = members(s)
        assert told["forced"]["Status"] == 1
        assert told["forced"]["Port"] == a.other_ports[0]
        assert told["forced"]["Tags"]["role"] == "node"
        assert told["server-1"]["Tags"]["role"] == "consul"
    assert agent.put("/v1/agent/force-leave/forced").status == 200
    assert agents.status_of(server, "forced") == "passing", "it lives"
    a.kill()
    until(lambda: members(agent)["forced"]["Status"] == 4, "it has failed")
    assert agent.put("/v1/agent/force-leave/forced").status == 200
    assert "forced" not in members(server)
    answer = agent.put("/v1/agent/force-leave/nobody")
    assert (answer.status, answer.text) == \
        (500, "agent: No node found with name 'nobody'")


def test_a_servers_drain_waits_for_who_watches_here(make):
    s = make(muster.Server, name="server-3").start()
    a = make(agents.Agent, s, name="watchful", bind="127.0.0.9").start()
    s.put("/v1/agent/service/register", {"Name": "drained", "ID": "d1"})
    stream = Stream(a, "/v1/health/service/drained?passing&stream")
    stream.ready()

    def waiting():
        got = s.put("/v1/agent/service/drain/d1?wait=0s").json
        # The agent itself, or by name who reads behind it, once it has said so.
        return {w.get("Agent") or w["Label"].removeprefix("agent ")
                for w in got["Waiting"]}
    assert waiting() == {"watchful"}
    stream.until(lambda: not stream.entries, "it is told")
    assert waiting() == {"watchful"}, "nobody said that he applied it"
    assert a.put("/v1/muster/ack", [{"Subscriber": stream.subscriber,
                                     "Index": stream.last_id}]).status == 200
    until(lambda: waiting() == set(), "the agent says so for him")
    stream.close()


def test_names_are_found_by_dns_here(server, make):
    import dns_client
    server.register("dnsnode", "named", "n1", port=7)
    a = make(agents.Agent, server, name="resolver", bind="127.0.0.8")
    port = muster.free_port()
    a.extra = ["-dns-port", str(port)]
    a.start()
    for _ in range(2):  # from a server, then from here
        reply = dns_client.ask(port, "named.service.consul", "SRV")
        assert [v.split()[2] for v in reply.values("SRV")] == ["7"]
    assert dns_client.ask(port, "dnsnode.node.consul", "A").values()
    assert dns_client.ask(port, "none.service.consul", "A").rcode == "NXDOMAIN"
    server.put("/v1/catalog/deregister", {"Node": "dnsnode"})
    until(lambda: dns_client.ask(port, "named.service.consul", "SRV").rcode
          == "NXDOMAIN", "it is gone here too")


@pytest.mark.parametrize("path,body,why", [
    ("beat", json.dumps({"Node": "n" * 257}), "257 bytes, more than 256"),
    ("beat", "{", "unexpected"),
    ("beat", "{}", "A beat without Node"),
    ("beat", '{"Node":7}', "cannot unmarshal"),
    ("probe", '{"Address":"127.0.0.1","Port":0}', "without Address and Port"),
    ("probe", '{"Address":"","Port":80}', "without Address and Port"),
    ("sync", "[]", "cannot unmarshal"),
    ("sync", '{"Items":[{}]}', "Node is missing"),
    ("sync", '{"Node":"x","Items":[]}', "No Items"),
    ("sync", '{"Node":"x","Items":[{"Wishes":["%"]}]}', "not base64"),
    ("dns", "no packet", "no DNS query"),
])
def test_garbage_from_peers_is_refused_by_name(server, path, body, why):
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    c.request("PUT", f"/v1/peer/{path}", body)
    r = c.getresponse()
    text = r.read().decode()
    c.close()
    assert r.status == 400 and why in text, (r.status, text)


@pytest.mark.parametrize("wish", ["", "AA==", "cgFu", "enh4"])
def test_wishes_that_are_none_are_refused_one_by_one(server, wish):
    c = http.client.HTTPConnection("127.0.0.1", server.other_ports[0],
                                   timeout=muster.LIMIT)
    c.request("PUT", "/v1/peer/sync", json.dumps(
        {"Node": "n", "Items": [{"Wishes": [wish]}, {"Wishes": []}]}))
    outcomes = json.loads(c.getresponse().read())["Outcomes"]
    c.close()
    assert [o["Verdict"] for o in outcomes] == ["refused", "committed"]
    assert "a wish" in outcomes[0]["Text"]


def test_users_have_no_way_to_what_peers_ask(server):
    for path in ("heard", "members"):
        assert server.get(f"/v1/peer/{path}").status == 404
    assert server.put("/v1/peer/sync", {}).status == 404
