# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Several servers on one etcd: what one answers, all know; what is lost is told."""

import concurrent.futures
import contextlib
import http.client
import select
import shutil
import subprocess
import threading

import pytest

import agents
import etcd
from muster import LIMIT, until
from streams import Stream

pytestmark = pytest.mark.skipif(not etcd.INSTALLED, reason=etcd.WHY)


@pytest.fixture
def cluster():
    e = etcd.Etcd(3).start()
    yield e
    e.close()


@pytest.fixture
def single():
    e = etcd.Etcd(1).start()
    yield e
    e.close()


def servers_on(make_server, store, n):
    made = [make_server("-store", store.url, name=f"server-{i}")
            for i in range(n)]
    for s in made:
        s.spawn()
    for s in made:
        s.wait_ready()
    return made


def register(s, node, service="web", port=80, **kw):
    return s.put("/v1/catalog/register",
                 {"Node": node, "Address": "127.0.0.1",
                  "Service": {"Service": service, "Port": port}}, **kw)


def nodes_of(s, service="web", query=""):
    answer = s.get(f"/v1/catalog/service/{service}{query}")
    assert answer.status == 200, answer.text
    return {e["Node"] for e in answer.json}


def test_a_write_on_one_server_is_in_the_next_answer_of_the_other(
        make_server, cluster):
    a, b = servers_on(make_server, cluster, 2)
    for i in range(100):
        writer, reader = (a, b) if i % 2 else (b, a)
        assert register(writer, f"n{i}").status == 200
        assert f"n{i}" in nodes_of(reader), "a default read missed a write"
        gone = {"Node": f"n{i}"}
        assert reader.put("/v1/catalog/deregister", gone).status == 200
        assert f"n{i}" not in nodes_of(writer, query="?consistent")


def test_both_servers_stand_in_the_catalog(make_server, single):
    a, b = servers_on(make_server, single, 2)
    for s in (a, b):
        assert nodes_of(s, "consul") == {"server-0", "server-1"}


def test_a_long_poll_wakes_for_what_another_server_wrote(make_server, single):
    a, b = servers_on(make_server, single, 2)
    register(a, "n0")
    index = b.get("/v1/health/service/web").index
    got = []
    t = threading.Thread(target=lambda: got.append(b.get(
        f"/v1/health/service/web?index={index}&wait=60s", timeout=70)))
    t.start()
    until(lambda: b.get("/v1/agent/metrics").json and any(
        g["Name"] == "consul.http.parked" and g["Value"] == 1
        for g in b.get("/v1/agent/metrics").json["Gauges"]), "a parked poll")
    register(a, "n1")
    t.join(30)
    assert got and got[0].index > index
    assert {e["Node"]["Node"] for e in got[0].json} == {"n0", "n1"}


def test_the_index_that_one_server_sent_parks_at_the_other(make_server, single):
    a, b = servers_on(make_server, single, 2)
    for i in range(20):
        register(a, f"n{i}")
        index = a.get("/v1/catalog/service/web").index
        held = b.get(f"/v1/catalog/service/web?index={index}&wait=1ms")
        assert held.index >= index, "an index fell between servers"
        held = b.get(f"/v1/catalog/service/web?stale&index={index}&wait=1ms")
        assert held.index >= index, "an index fell between servers"


def test_what_nobody_changes_is_answered_after_looking(make_server, single):
    a, b = servers_on(make_server, single, 2)
    for i in range(30):
        register(a, "n0", port=i)
        # The same again commits nothing, but only if it is still so.
        assert register(b, "n0", port=i).status == 200
        assert a.put("/v1/catalog/deregister", {"Node": "n0"}).status == 200
        assert register(b, "n0", port=i).status == 200
        assert nodes_of(a) == {"n0"}


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_loss_of_etcds_leader_costs_a_pause_and_no_write(
        make_server, cluster, how):
    a, b, c = servers_on(make_server, cluster, 3)
    acknowledged = []

    def write(s, name, n):
        for i in range(n):
            answer = register(s, f"{name}-{i}")
            if answer.status == 200:
                acknowledged.append(f"{name}-{i}")

    threads = [threading.Thread(target=write, args=(s, f"w{k}", 60))
               for k, s in enumerate((a, b, c))]
    for t in threads:
        t.start()
    until(lambda: len(acknowledged) > 30, "some writes")
    leader = until(cluster.leader, "a leader")
    getattr(leader, how)()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    # Within the seven seconds that a request is held somebody leads again.
    assert len(acknowledged) == 180
    for s in (a, b, c):
        assert nodes_of(s) == set(acknowledged)
    if how == "stop":
        leader.go_on()
    else:
        leader.spawn()
    for s in (a, b, c):
        assert nodes_of(s) == set(acknowledged)


def test_without_a_majority_stale_reads_go_on_and_say_so(make_server, cluster):
    a, = servers_on(make_server, cluster, 1)
    register(a, "n0")
    assert a.get("/v1/catalog/service/web").headers[
        "x-consul-knownleader"] == "true"
    follower = Stream(a, "/v1/health/service/web")
    for m in cluster.members[:2]:
        m.kill()

    def no_leader():
        answer = a.get("/v1/catalog/service/web?stale")
        assert answer.status == 200 and len(answer.json) == 1
        return (answer.headers["x-consul-knownleader"] == "false"
                and int(answer.headers["x-consul-lastcontact"]) > 1000)
    until(no_leader, "an honest age")
    # As stale as he allows, or as new as there is: then it waits for a leader.
    answer = a.get("/v1/catalog/service/web?max_stale=1h")
    assert answer.status == 200 and len(answer.json) == 1
    answer = a.get("/v1/catalog/service/web?stale&max_stale=1s")
    assert (answer.status, answer.text) == (500, "No cluster leader")
    assert a.get("/v1/status/leader").json == ""
    answer = a.get("/v1/catalog/service/web")
    assert (answer.status, answer.text) == (500, "No cluster leader")
    answer = register(a, "n1")
    assert (answer.status, answer.text) == (500, "No cluster leader")
    until(lambda: follower.beat() > 1000, "a beat that tells it")
    follower.close()
    for m in cluster.members[:2]:
        m.spawn()
    until(lambda: a.get("/v1/catalog/service/web").status == 200, "a leader")
    answer = a.get("/v1/catalog/service/web")
    assert answer.headers["x-consul-knownleader"] == "true"
    # What was refused may be in or not, but it is the same everywhere.
    assert {"n0"} <= nodes_of(a) <= {"n0", "n1"}
    assert register(a, "n2").status == 200


def test_a_server_holds_a_read_of_an_agent_as_long_as_the_agent_has_time(
        make_server, single):
    a, = servers_on(make_server, single, 1)
    peers = ("127.0.0.1", a.other_ports[0])
    single.members[0].kill()

    def begin(**headers):
        c = http.client.HTTPConnection(*peers, timeout=LIMIT)
        c.request("GET", "/v1/catalog/nodes", headers=headers)
        return contextlib.closing(c)

    def comes_before():
        """Two, one after the other, while one that came earlier is held."""
        with begin() as patient:
            for _ in range(2):
                with begin(**{"X-Muster-Hold": "1"}) as hasty:
                    r = hasty.getresponse()
                    assert (r.status, r.read()) == (500, b"No cluster leader")
            return not select.select([patient.sock], [], [], 0)[0]
    until(comes_before, "an answer after the time that was given")
    with begin(**{"X-Muster-Hold": "1s"}) as c:
        r = c.getresponse()
        assert r.status == 400 and b'X-Muster-Hold "1s"' in r.read()


def test_an_agents_clients_are_told_that_no_server_has_a_leader(
        make_server, cluster, tmp_path):
    """Not passed from one server to the next for ever, each holding it."""
    servers = servers_on(make_server, cluster, 2)
    register(servers[0], "n0")
    agent = agents.Agent(tmp_path / "agent", *servers).start()
    try:
        index = agent.get("/v1/catalog/service/web").index
        assert agent.get("/v1/health/service/web?cached").headers[
            "x-consul-knownleader"] == "true"
        for m in cluster.members[:2]:
            m.kill()
        paths = ["/v1/catalog/nodes", f"/v1/catalog/nodes?index={index}&wait=1s",
                 "/v1/health/state/any"]
        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            answers = pool.map(agent.get, paths)  # muster.LIMIT for each
            for path, answer in zip(paths, answers):
                assert answer.status == 500, (path, answer.text)
                assert answer.text.startswith("No cluster leader"), path

        # What it has itself is as old as what its server has.
        def says_so():
            answer = agent.get("/v1/health/service/web?cached")
            assert answer.status == 200 and len(answer.json) == 1
            return (answer.headers["x-consul-knownleader"] == "false"
                    and int(answer.headers["x-consul-lastcontact"]) > 5000)
        until(says_so, "an honest age")
    finally:
        agents.end(agent.process)


def test_what_is_confirmed_at_any_server_does_not_expire(make_server, single):
    """One of the servers removes what expires; others are told of it, too."""
    servers = servers_on(make_server, single, 2)

    def confirm(at, service):
        answer = at.put("/v1/catalog/register", {
            "Node": f"outside-{service}", "Address": "10.1.1.1",
            "Service": {"Service": service, "Meta": {"muster-ttl": "5s"}}})
        assert answer.status == 200, answer.text

    kept = [f"kept-{i}" for i in range(len(servers))]
    for at, service in zip(servers, kept):
        confirm(at, service)

    def expired():
        for at, service in zip(servers, kept):
            assert nodes_of(at, service), f"{service} is confirmed, and gone"
            confirm(at, service)
        return not nodes_of(servers[0], "silent")
    # Three times to live of their own, one after the other.
    for _ in range(3):
        confirm(servers[0], "silent")
        until(expired, "the service that nobody confirms expires")


def test_an_agent_forgets_servers_that_have_left(make_server, single, tmp_path):
    a, b = servers_on(make_server, single, 2)
    agent = agents.Agent(tmp_path / "agent", a).start()

    def knows(n):
        lines = [x for x in agent.log().splitlines() if "joined server" in x]
        return lines and lines[-1].endswith(f"servers={n}")
    try:
        until(lambda: knows(2), "the other server, by the one that it joined")
        assert b.put("/v1/agent/leave").status == 200
        until(lambda: b.process.poll() is not None, "the server has left")
        a.stop()
        a.start()
        until(lambda: knows(1), "the one that has left is forgotten")
    finally:
        agents.end(agent.process)


def test_a_request_that_waits_is_answered_when_etcd_is_back(make_server, single):
    a, = servers_on(make_server, single, 1)
    register(a, "n0")
    single.members[0].kill()
    got = []
    threads = [threading.Thread(target=lambda q=q: got.append(q()))
               for q in (lambda: a.get("/v1/catalog/service/web"),
                         lambda: register(a, "n1"))]
    for t in threads:
        t.start()
    single.members[0].spawn()
    for t in threads:
        t.join(30)
    assert [g.status for g in got] == [200, 200]
    assert nodes_of(a) == {"n0", "n1"}


def test_an_etcd_put_back_to_a_backup_is_followed_by_running_servers(
        make_server, single):
    member = single.members[0]
    a, b = servers_on(make_server, single, 2)
    register(a, "kept")
    member.kill()
    saved = f"{member.folder}.saved"
    shutil.copytree(member.folder, saved)
    member.spawn()
    for i in range(30):
        until(lambda i=i: register(a, f"lost{i}").status == 200, "a write")
    # This load's revision is a floor of its indexes.
    b.kill()
    b.spawn()
    b.wait_ready()
    assert "lost29" in nodes_of(b)
    above = b.get("/v1/catalog/service/web").index
    member.kill()
    shutil.rmtree(member.folder)
    shutil.copytree(saved, member.folder)
    member.spawn()
    for s in (a, b):
        until(lambda s=s: nodes_of(s, query="?stale") == {"kept"}, "the load")
        # Of another life: told at once, and what is told can be waited for.
        index = s.get(f"/v1/catalog/service/web?index={above}&wait=30s").index
        assert index < above
        until(lambda s=s: s.get(
            f"/v1/catalog/service/none?index={index}&wait=1ms").index <= index,
            "an index")
    assert register(a, "new").status == 200
    assert nodes_of(b) == {"kept", "new"}
    assert register(b, "newer").status == 200
    assert nodes_of(a) == {"kept", "new", "newer"}


def test_a_restarted_server_has_what_the_others_wrote(make_server, single):
    a, b = servers_on(make_server, single, 2)
    register(a, "n0")
    b.kill()
    register(a, "n1")
    index = a.get("/v1/catalog/service/web").index
    b.start()
    assert nodes_of(b) == {"n0", "n1"}
    assert b.get("/v1/catalog/service/web").index >= index


def test_a_server_waits_for_its_etcd(make_server):
    e = etcd.Etcd(1)
    try:
        s = make_server("-store", e.url)
        s.spawn()
        until(lambda: "cannot load" in s.log(), "an attempt")

        def refused():
            with contextlib.suppress(OSError, http.client.HTTPException):
                return s.get("/v1/catalog/nodes").status == 500
            return False
        until(refused, "an answer without a store")
        e.start()
        s.wait_ready()
        assert register(s, "n0").status == 200
    finally:
        e.close()


def test_an_etcd_that_does_not_suit_stops_the_start(make_server):
    e = etcd.Etcd(1, extra=["--max-txn-ops", "100"]).start()
    try:
        s = make_server("-store", e.url)
        s.spawn()
        assert s.process.wait(LIMIT) == 1
        assert "--max-txn-ops 1024" in s.log()
    finally:
        e.close()


def certificates(folder):
    """A CA, and one certificate for both sides."""
    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True,
                       capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
            "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem",
            "-out", "req.pem", "-subj", "/CN=etcd")
    (folder / "ext").write_text(
        "subjectAltName=IP:127.0.0.1,DNS:etcd.internal\n"
        "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", "req.pem", "-CA", "ca.pem", "-CAkey",
            "ca.key", "-CAcreateserial", "-out", "cert.pem", "-days", "2",
            "-extfile", "ext")


def test_etcd_over_tls_wants_a_certificate_and_checks_names(
        make_server, tmp_path):
    certificates(tmp_path)
    pem = {k: str(tmp_path / f"{k}.pem") for k in ("ca", "cert", "key")}
    e = etcd.Etcd(1, scheme="https", extra=[
        "--cert-file", pem["cert"], "--key-file", pem["key"],
        "--client-cert-auth", "--trusted-ca-file", pem["ca"]]).start()
    tls = {"store": e.url, "store_ca_file": pem["ca"],
           "store_cert_file": pem["cert"], "store_key_file": pem["key"]}
    try:
        a = make_server(config=tls).start()
        assert register(a, "n0").status == 200
        b = make_server(config={**tls, "store_server_name": "etcd.internal"},
                        name="node-b").start()
        assert nodes_of(b) == {"n0"}
        for wrong, says in (
                ({"store_server_name": "other.internal"},
                 "not valid for other.internal"),
                ({"store_cert_file": "", "store_key_file": ""},
                 "certificate")):
            c = make_server(config={**tls, **wrong}, name="node-c")
            c.spawn()
            until(lambda: "cannot load" in c.log() and says in c.log(), says)
    finally:
        e.close()


@pytest.mark.parametrize("settings, says", [
    ({"store": "http://127.0.0.1:2379"}, "is not etcd://HOST:PORT"),
    ({"store": "etcd://127.0.0.1:1", "store_user": "u"},
     "store_user and store_password belong together"),
    ({"store": "etcd://127.0.0.1:1", "store_key_file": "k"},
     "store_cert_file and store_key_file belong together"),
    ({"store": "etcd://127.0.0.1:1/x"}, "is no host:port"),
])
def test_a_store_that_cannot_be_is_refused_by_name(make_server, settings, says):
    s = make_server(config=settings)
    s.spawn()
    assert s.process.wait(LIMIT) == 1
    assert says in s.log()
