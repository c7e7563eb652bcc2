# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Three servers that find each other and keep one catalog, whatever dies."""

import contextlib
import signal
import subprocess
import threading

import pytest

import clusters
from muster import BINARY, LIMIT, until
from test_peers import KEY, OTHER
from wires import Wire

pytestmark = pytest.mark.skipif(not clusters.INSTALLED, reason=clusters.WHY)


@pytest.fixture(scope="module")
def three():
    c = clusters.Cluster(3, ["-encrypt", KEY])
    yield c.start()
    c.close()


@pytest.fixture
def fresh():
    made = []

    def make(n=3, **kw):
        made.append(clusters.Cluster(n, **kw))
        return made[-1]
    yield make
    for c in made:
        c.close()


def healthy(s, name):
    """As s sees it. (While nobody leads none of them is.)"""
    servers = s.get("/v1/operator/autopilot/health").json["Servers"]
    return [x["SerfStatus"] for x in servers if x["Name"] == name] == ["alive"]


def nodes_of(s, service="web", query=""):
    """A pause, while another leader is elected, is no answer."""
    answer = until(lambda: settled(s.get(
        f"/v1/catalog/service/{service}{query}")), "an answer")
    assert answer.status == 200, answer.text
    return {e["Node"] for e in answer.json}


class Writers:
    """One for each server, who note what was answered with 200."""

    def __init__(self, servers, name):
        self.acknowledged = []
        self.end = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(s, name, k))
                        for k, s in enumerate(servers)]
        for t in self.threads:
            t.start()

    def _run(self, server, name, k):
        i = 0
        while not self.end.is_set():
            node = f"{name}-{k}-{i}"
            with contextlib.suppress(Exception):
                answer = server.put("/v1/catalog/register", {
                    "Node": node, "Address": "10.0.0.1",
                    "Service": {"Service": name}})
                if answer.status == 200:
                    self.acknowledged.append(node)
            i += 1

    def more(self, n=20):
        want = len(self.acknowledged) + n
        until(lambda: len(self.acknowledged) >= want, "further writes")

    def stop(self):
        self.end.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()
        return set(self.acknowledged)


def test_three_servers_form_a_cluster_by_themselves(three):
    a, b, c = three.servers
    a.register("n1", "web")
    for s in (a, b, c):
        assert nodes_of(s) == {"n1"}
        assert nodes_of(s, "consul") == {"s1", "s2", "s3"}


def test_the_servers_speak_truly_about_themselves(three):
    s = three.servers[0]
    peers = until(lambda: len(s.peers()) == 3 and s.peers(), "three peers")
    assert {n: p["Address"] for n, p in peers.items()} == {
        m.name: m.raft for m in three.servers}
    assert {n: p["ID"] for n, p in peers.items()} == {
        m.name: m.id for m in three.servers}
    assert all(p["Voter"] for p in peers.values())

    def agreed():
        """Asked anew each time: another one may be elected meanwhile."""
        leaders = [p["Address"] for p in s.peers().values() if p["Leader"]]
        assert len(leaders) <= 1
        return leaders and all(m.get("/v1/status/leader").json == leaders[0]
                               for m in three.servers)
    until(agreed, "the same leader everywhere")
    for m in three.servers:
        assert set(m.get("/v1/status/peers").json) == {
            x.raft for x in three.servers}
    health = until(lambda: s.get("/v1/operator/autopilot/health").json["Healthy"]
                   and s.get("/v1/operator/autopilot/health").json, "health")
    assert health["FailureTolerance"] == 1
    assert {x["SerfStatus"] for x in health["Servers"]} == {"alive"}

    def listed():
        shown = subprocess.run(
            [BINARY, "operator", "raft", "list-peers", "-http-addr",
             f"127.0.0.1:{s.port}"], capture_output=True, text=True, timeout=60)
        return (shown.stdout.count("leader"), shown.stdout.count("follower"))
    until(lambda: listed() == (1, 2), "one that leads, two that follow")


def test_what_is_asked_of_nobody_or_of_all_is_refused(three):
    s = three.servers[0]
    answer = s.request("DELETE", "/v1/operator/raft/peer")
    assert answer.status == 400
    answer = s.request("DELETE", "/v1/operator/raft/peer?id=x&address=y")
    assert answer.status == 400
    answer = s.request("DELETE", "/v1/operator/raft/peer?id=nobody")
    assert (answer.status, answer.text) == (
        500, 'id "nobody" was not found in the Raft configuration')
    answer = s.request("DELETE", "/v1/operator/raft/peer?address=1.2.3.4:5")
    assert answer.status == 500 and "was not found" in answer.text


def test_nothing_acknowledged_is_lost_when_processes_are_killed(three):
    writers = Writers(three.servers, "kill")
    writers.more()
    for victim in three.servers:
        old = victim.kill_etcd()
        assert old
        writers.more()
        until(lambda: victim.etcd_pid() not in (None, old), "another etcd")
    writers.more()
    victim = three.servers[1]
    victim.kill()
    writers.more()
    victim.spawn()
    victim.wait_ready()
    writers.more()
    known = writers.stop()
    for s in three.servers:
        until(lambda s=s: s.get("/v1/catalog/service/kill").status == 200,
              "an answer")
        assert known <= nodes_of(s, "kill")
    text = victim.log()
    assert "etcd ended: signal=Killed" in three.servers[0].log(), text[-2000:]


def test_a_stopped_etcd_is_waited_for(three):
    victim = three.servers[2]
    pid = victim.kill_etcd(signal.SIGSTOP)
    try:
        writers = Writers(three.servers[:2], "stop")
        writers.more()
        known = writers.stop()
    finally:
        victim.kill_etcd(signal.SIGCONT)
    assert pid == victim.etcd_pid()
    until(lambda: victim.get("/v1/catalog/service/stop").status == 200,
          "an answer")
    assert known <= nodes_of(victim, "stop")


def test_the_etcd_of_a_killed_server_does_not_outlive_it(three):
    s = three.servers[0]
    old = s.etcd_pid()
    s.kill()
    until(lambda: s.etcd_pid() is None, "its etcd's end")
    s.spawn()
    s.wait_ready()
    assert s.etcd_pid() not in (None, old)


def test_all_of_it_comes_back_after_all_of_it_has_gone(three):
    before = nodes_of(three.servers[0], "kill")
    index = three.servers[0].get("/v1/catalog/service/kill").index
    for s in three.servers:
        s.kill()
    for s in three.servers:
        s.spawn()
    for s in three.servers:
        s.wait_ready()
        assert nodes_of(s, "kill") == before
        assert s.get("/v1/catalog/service/kill").index >= index
    for s in three.servers:
        assert s.stop() == 1
        assert s.etcd_pid() is None
    for s in three.servers:
        s.spawn()
    for s in three.servers:
        s.wait_ready()
        assert nodes_of(s, "kill") == before


def test_a_fourth_server_joins_and_votes(three):
    three.servers[0].register("before", "late")
    d = three.add(4, expect=0)
    d.start()
    assert nodes_of(d, "late") == {"before"}
    until(lambda: three.servers[0].peers().get("s4", {}).get("Voter"), "a vote")
    d.register("by-d", "late")
    assert nodes_of(three.servers[1], "late") == {"before", "by-d"}
    assert len(three.servers[0].get("/v1/status/peers").json) == 4
    # And is taken out again, by its ID.
    done = subprocess.run(
        [BINARY, "operator", "raft", "remove-peer", f"-id={d.id}",
         "-http-addr", f"127.0.0.1:{three.servers[0].port}"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    until(lambda: "s4" not in three.servers[0].peers(), "three again")
    until(lambda: "was removed from the cluster" in d.log(), "a line about it")
    assert d.stop() == 1
    assert len(nodes_of(three.servers[0], "late")) == 2


def test_a_lost_server_is_replaced_by_a_new_one_of_its_name(three):
    lost = three.servers[2]
    three.servers[0].register("kept", "replace")
    old_id = lost.id
    lost.kill()
    new = three.add(5, expect=3, name=lost.name)
    new.spawn()
    new.wait_ready()
    assert nodes_of(new, "replace") == {"kept"}
    peers = until(lambda: three.servers[0].peers().get(lost.name, {}).get(
        "Voter") and three.servers[0].peers(), "a vote")
    assert len(peers) == 3 and peers[lost.name]["ID"] == new.id != old_id
    # The old one comes back from the dead, and is told.
    lost.spawn()
    until(lambda: "was removed from the cluster" in lost.log(), "the truth")
    lost.kill()


def test_a_survivor_goes_on_alone_when_told_to(fresh):
    """docs/clusters.md, Recover when the majority is lost for good."""
    c = fresh(3).start()
    a, b, d = c.servers
    a.register("kept", "web")
    index = a.get("/v1/catalog/service/web").index
    for i in range(3): # etcd gives up what it does not know to be committed
        a.register(f"n{i}", "last")
    for s in (b, d):
        until(lambda s=s: nodes_of(s) == {"kept"}, "it everywhere")
    for s in c.servers:
        s.kill()
    (a.folder / "data" / "etcd" / "recover").touch()
    a.start()
    assert nodes_of(a) == {"kept"}
    until(lambda: set(a.peers()) == {"s1"}, "one member")
    assert not (a.folder / "data" / "etcd" / "recover").exists()
    file = str(a.folder / "before.snap")
    for verb in ("save", "restore"):
        done = subprocess.run(
            [BINARY, "snapshot", verb, "-http-addr", f"127.0.0.1:{a.port}",
             file], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    until(lambda: a.get("/v1/catalog/service/web").index >= index + 2 ** 40,
          "a new epoch")
    new = c.add(4, expect=0, name="s2")
    new.start()
    until(lambda: a.peers().get("s2", {}).get("Voter"), "a second vote")
    assert nodes_of(new) == {"kept"}


def leave(server):
    return subprocess.run(
        [BINARY, "leave", "-http-addr", f"127.0.0.1:{server.port}"],
        capture_output=True, text=True, timeout=60)


def test_a_server_that_leaves_makes_the_majority_smaller(fresh):
    c = fresh(3).start()
    a, b, d = c.servers
    a.register("n1", "web")
    until(lambda: len([p for p in d.peers().values() if p["Voter"]]) == 3,
          "three votes")
    leader = until(lambda: next(
        (s for s in c.servers if s.peers().get(s.name, {}).get("Leader")), None),
        "a leader")
    rest = [s for s in c.servers if s is not leader]
    done = leave(leader)
    assert done.returncode == 0, done.stderr
    assert leader.process.wait(60) == 0
    assert "this server has left the cluster" in leader.log()
    assert leader.etcd_pid() is None
    for s in rest:
        until(lambda s=s: set(s.peers()) == {x.name for x in rest}, "two peers")
        assert leader.name not in nodes_of(s, "consul")
    # With three a second loss would be the end of writes, with two it is: with
    # one that has left it is not.
    done = leave(rest[0])
    assert done.returncode == 0, done.stderr
    assert rest[0].process.wait(60) == 0
    last = rest[1]
    until(lambda: set(last.peers()) == {last.name}, "one peer")
    until(lambda: last.put("/v1/catalog/register", {
        "Node": "n2", "Address": "10.0.0.2",
        "Service": {"Service": "web"}}).status == 200, "a write")
    # The last one keeps the catalog.
    answer = last.put("/v1/agent/leave")
    assert answer.status == 500
    assert "the last server that has the catalog" in answer.text
    # Who left comes back as a new server does.
    leader.spawn()
    leader.wait_ready()
    assert nodes_of(leader) == {"n1", "n2"}
    until(lambda: last.peers().get(leader.name, {}).get("Voter"), "a vote")


def test_whose_etcd_ends_before_the_answer_has_left_too(fresh):
    """The other's answers are held back until then. It comes back as a new server
    does, not with the data of a member that is none any more."""
    c = fresh(3)
    a, b, d = c.servers
    b.command = lambda own=b.command: [
        "127.0.0.1" if before == "-bind" else word
        for before, word in zip([""] + own(), own())] + [
            "-advertise", b.address]
    with contextlib.ExitStack() as stack:
        wires = [Wire(b.address, port) for port in (b.other_ports[0],
                                                    b.other_ports[2])]
        for w in wires:
            stack.callback(w.close)
        c.start()
        a.register("n1", "web")
        until(lambda: len([p for p in a.peers().values() if p["Voter"]]) == 3,
              "three votes")
        # One leaves as usual: then etcd takes part in changes at once.
        assert leave(d).returncode == 0
        until(lambda: set(a.peers()) == {"s1", "s2"}, "two peers")
        wires[0].held = {"back"}
        asked = threading.Thread(target=leave, args=(a,))
        asked.start()
        until(lambda: "was removed from the cluster" in a.log(), "etcd's end")
        wires[0].up()
        assert a.process.wait(LIMIT) == 0
        asked.join()
        assert "this server has left the cluster" in a.log()
        a.start()
        assert nodes_of(a) == {"n1"}
        until(lambda: b.peers().get(a.name, {}).get("Voter"), "a vote")


def test_a_server_that_the_others_need_stays_a_member(fresh):
    c = fresh(3).start()
    a, b, d = c.servers
    until(lambda: len(a.peers()) == 3, "three peers")
    d.kill()
    # By both: who has not seen it lets itself be told by another one in vain, and
    # ends, a member still.
    for s in (a, b):
        until(lambda s=s: not healthy(s, "s3"), "the loss seen")
    answer = until(lambda: refused(b.put("/v1/agent/leave")), "a refusal")
    assert answer.status == 500
    assert "only 1 is there, and no majority could write any more" in answer.text
    a.register("n1", "web")
    assert nodes_of(b) == {"n1"}


# --- Refusals ----------------------------------------------------------------

def started(server):
    """Ends by itself; what it says."""
    server.spawn()
    code = server.process.wait(LIMIT)
    assert code == 1
    return server.log()


def refused(answer):
    """By its majority, not because nobody leads while another is elected."""
    return answer if "majority" in answer.text else None


def settled(answer):
    """The store was there to be asked: not 503, nor an election."""
    waits = answer.status == 503 or answer.text == "No cluster leader"
    return None if waits else answer


def test_what_would_cost_the_majority_is_refused(fresh):
    c = fresh(3).start()
    a, b, d = c.servers
    until(lambda: len(a.peers()) == 3, "three peers")
    d.kill()
    until(lambda: not healthy(a, "s3"), "the loss seen")
    # The one that was killed may have led the store: a pause, then an answer.
    answer = until(lambda: settled(a.request(
        "DELETE", f"/v1/operator/raft/peer?address={b.raft}")), "an answer")
    assert answer.status == 500
    assert "refused: of the 2 servers that would be left only 1 is there" in (
        answer.text)
    # The dead one may go.
    answer = until(lambda: settled(a.request(
        "DELETE", f"/v1/operator/raft/peer?id={d.id}")), "an answer")
    assert answer.status == 200, answer.text
    assert set(a.peers()) == {"s1", "s2"}


def test_an_equal_name_and_another_datacenter_are_refused_by_name(fresh):
    c = fresh(3).start()
    twin = c.add(4, expect=0, name="s2")
    twin.spawn()
    until(lambda: "s2 is the name of a server that is there" in twin.log(),
          "both named")
    far = c.add(5, "-datacenter", "dc9", expect=0)
    far.spawn()
    until(lambda: "belongs to datacenter dc1, this server (s5) to dc9"
          in far.log(), "both named")
    assert len(c.servers[0].peers()) == 3


def test_another_key_is_told_on_both_sides(fresh):
    c = fresh(3, extra=["-encrypt", KEY]).start()
    other = c.add(4, expect=0)
    other.command = lambda own=other.command: [
        OTHER if w == KEY else w for w in own()]
    other.spawn()
    until(lambda: "encrypt is another key there" in other.log(), "its side")
    until(lambda: any("encrypt is another key there" in s.log()
                      for s in c.servers[:3]), "our side")


def test_foreign_folders_are_refused_with_both_sides(fresh):
    c = fresh(3).start()
    a, b, d = c.servers
    b.stop()
    ids = (a.id, b.id)
    node_id = b.folder / "data" / "node-id"
    node_id.write_text(ids[0] + "\n")
    text = started(b)
    assert f"belongs to node s2 ({ids[1]}), this is s2 ({ids[0]})" in text
    node_id.write_text(ids[1] + "\n")
    b.extra = ["-bootstrap"]
    b.expect = 0
    assert "holds a member of a cluster of servers" in started(b)
    b.extra = []
    b.expect = 3
    port, b.other_ports[2] = b.other_ports[2], b.other_ports[1]
    b.other_ports[1] = port
    assert "the other servers reach this one at http://" in started(b)
    b.other_ports[1], b.other_ports[2] = b.other_ports[2], port
    data = b.folder / "data" / "etcd" / "data" / "member"
    data.rename(data.parent / "gone")
    text = started(b)
    assert "the data of this member is gone" in text and "remove-peer" in text
    (data.parent / "gone").rename(data)
    b.start()
    assert len(b.peers()) == 3


def test_different_expectations_wait_and_say_why(fresh):
    c = fresh(2)
    a, b = c.servers
    a.expect, b.expect = 3, 2
    a.spawn()
    b.spawn()
    until(lambda: "has bootstrap_expect = 2, this server 3" in a.log(),
          "both numbers")
    assert a.get("/v1/status/leader").json == ""
    answer = a.get("/v1/catalog/nodes")
    assert (answer.status, answer.text) == (500, "No cluster leader")


def test_servers_that_start_one_after_the_other_still_agree(fresh):
    c = fresh(3)
    for s in c.servers[:2]:
        s.spawn()
    until(lambda: all("2 of 3 servers are here" in s.log()
                      for s in c.servers[:2]), "two wait")
    c.servers[0].kill()
    c.servers[2].spawn()
    c.servers[0].spawn()
    for s in c.servers:
        s.wait_ready()
    assert len({s.get("/v1/status/leader").json for s in c.servers}) == 1
