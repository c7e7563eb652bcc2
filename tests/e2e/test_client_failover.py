# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""libmuster across datacenters: traffic goes to the next one when the own one's
healthy share falls, comes back by and by, and never to who is only remembered
ahead of who is alive."""

import http.server
import json
import subprocess
import threading
import urllib.parse

import pytest

import muster
from libmuster import EINVAL, address, register
from test_wan import join, start


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("failover")
    a, b = start(folder, "dc1"), start(folder, "dc2")
    assert join(a, b).status == 200
    for s in (a, b):
        muster.until(lambda s=s: len(s.get("/v1/catalog/datacenters").json) == 2,
                     "two datacenters")
    register(a, 2)
    register(b, 2, first=11)
    yield a, b
    for s in (a, b):
        s.stop()


def share(c, name):
    return c.datacenters().get(name, {}).get("share")


def there(c, count=2):
    """The other datacenter's list has come."""
    muster.until(lambda: c.datacenters().get("dc2", {}).get("instances") == count,
                 "the other datacenter's instances")


def test_traffic_leaves_at_once_and_comes_back_by_and_by(two, make_client):
    a, _ = two
    # One that takes a quarter of an hour for the way back, and one that does not.
    c = make_client(address(a), failover="dc2", return_ms=900000)
    hasty = make_client(address(a), failover="dc2", return_ms=0)
    for one in (c, hasty):
        one.ok("wait 20000")
        there(one)
    assert set(c.shares(60)) == {9001, 9002}
    status = c.status()
    assert (status["instances"], status["elsewhere"]) == ("4", "0")
    # Half of it is well: 1.4 x 50 % stays.
    register(a, 1, status="critical")
    muster.until(lambda: c.status()["elsewhere"] == "30", "30 % elsewhere")
    assert {9002, 9011, 9012} == set(c.shares(300))
    register(a, 2, status="critical")
    for one in (c, hasty):
        muster.until(lambda one=one: one.status()["elsewhere"] == "100", "all")
    assert set(c.shares(60)) == {9011, 9012}
    register(a, 2)
    muster.until(lambda: hasty.status()["elsewhere"] == "0", "all of it is back")
    muster.until(lambda: c.status()["returning"] == "1", "it is on its way")
    assert int(c.status()["elsewhere"]) > 50
    assert set(c.shares(300)) >= {9011, 9012}
    each = c.ok("each")
    assert each.count(",dc=dc2") == 2 and "n11/web-11" in each
    for one in (c, hasty):
        one.ok("close")


def test_a_service_that_is_only_elsewhere_is_found_there(two, make_client):
    a, b = two
    b.put("/v1/catalog/register", {
        "Node": "far", "Address": "127.0.0.1",
        "Service": {"Service": "only-there", "Port": 7001}})
    c = make_client(address(a), name="only-there", failover="nearest:1")
    c.ok("wait 20000")
    muster.until(lambda: c.status()["elsewhere"] == "100", "found")
    assert c.shares(10) == {7001: 10}
    assert c.datacenters()["dc2"]["order"] == 1
    # As soon as it is here, traffic begins to come.
    a.put("/v1/catalog/register", {
        "Node": "here", "Address": "127.0.0.1",
        "Service": {"Service": "only-there", "Port": 7002}})
    muster.until(lambda: c.status()["elsewhere"] != "100", "it comes")
    a.put("/v1/catalog/deregister", {"Node": "here"})
    c.ok("close")
    # The other way round, in which dc1 is the other one.
    c = make_client(address(b), failover="nearest:7")
    c.ok("wait 20000")
    muster.until(lambda: share(c, "dc1") == 0, "dc1 is followed")
    assert set(c.shares(60)) == {9011, 9012}
    c.ok("close")


def test_what_is_not_mirrored_is_followed_without_streams(
        tmp_path, two, make_client):
    _, b = two
    c = start(tmp_path, "dc3", "-hcl", 'mirror { services = ["none"] }')
    try:
        assert join(c, b).status == 200
        muster.until(lambda: "dc2" in c.get("/v1/catalog/datacenters").json,
                     "joined")
        # Not here at all: it is found there only by who asks for lists.
        one = make_client(address(c), failover="dc2")
        there(one)
        muster.until(lambda: one.status()["elsewhere"] == "100", "found")
        assert one.datacenters()["dc2"]["reachable"] == 1
        assert set(one.shares(60)) == {9011, 9012}
        one.ok("close")
    finally:
        c.stop()


def test_failover_to_the_own_datacenter_is_none(two, make_client):
    a, _ = two
    c = make_client(address(a), failover="dc1,dc2")
    c.ok("wait 20000")
    there(c)
    assert c.datacenters()["dc1"]["used"] == 0
    assert c.status()["instances"] == "4"
    c.ok("close")


@pytest.mark.parametrize("failover, text", [
    ("dc2,dc2", "dc2, which comes before"), ("dc-1,a.b", "a.b"),
    ("nearest:0", "nearest:1 to 7"), ("nearest:8", "nearest:1 to 7"),
    ("nearest:x", "nearest:x"), (",", "no datacenter's name"),
    ("a,b,c,d,e,f,g,h", "more than 7")])
def test_what_is_no_failover_is_refused(make_client, failover, text):
    c = make_client("127.0.0.1:1", name=None)
    c.ok(f"set watch_failover {failover}")
    answer = c.ask("watch web p2c")
    assert answer.startswith("error") and text in answer


def test_the_datacenter_that_is_asked_for_is_no_failover(make_client):
    c = make_client("127.0.0.1:1", name=None, datacenter="dc2")
    c.ok("set failover dc2")
    assert c.error("open 127.0.0.1:1 - 1000 thread") == EINVAL


# --- A registry that says what the test wants --------------------------------


class Word:
    """What the registry says of one datacenter."""

    def __init__(self, *entries, status=200, **headers):
        self.entries, self.status, self.headers = entries, status, headers


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    words = {}
    streams = []
    polls = []  # of other datacenters

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        dc = query.get("dc", ["dc1"])[0]
        if dc != "dc1" and "event-stream" in self.headers.get("Accept", ""):
            self.streams.append(dc)
            self.answer(400, b"no streams about others", {})
            return
        if dc != "dc1" and "index" in query:
            self.polls.append(dc)
        word = self.words[dc]
        entries = [entry(dc, *e) for e in word.entries]
        body = json.dumps(entries).encode() if word.status == 200 else b"no"
        self.answer(word.status, body,
                    {"X-Consul-Index": "5",
                     **{k.replace("_", "-"): v for k, v in word.headers.items()}})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def entry(dc, port, status="passing", held=False):
    return {"Node": {"Node": f"n{port}", "Address": "127.0.0.1", "Datacenter": dc},
            "Service": {"ID": f"web-{port}", "Port": port,
                        "Meta": {"zone": "a"}},
            "Checks": [{"CheckID": "c", "Status": status}], "Held": held}


@pytest.fixture
def registry():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Registry.words, Registry.streams, Registry.polls = {}, [], []
    yield server
    server.shutdown()
    server.server_close()


def client_of(registry, make_client, **settings):
    c = make_client(f"127.0.0.1:{registry.server_port}",
                    **{"failover": "dc2,dc3", "return_ms": 0, **settings})
    c.ok("wait 20000")
    return c


CUT = {"X_Muster_Mirror": "dc2", "X_Consul_KnownLeader": "false",
       "X_Consul_LastContact": "1500",
       "X_Consul_Effective_Consistency": "stale"}


def ports(c):
    return set(c.shares(60))


def test_who_cannot_be_reached_comes_after_everybody_else(registry, make_client):
    words = Registry.words = {"dc1": Word((1001,)), "dc2": Word((2001,), **CUT),
                              "dc3": Word((3001,))}
    c = client_of(registry, make_client)
    muster.until(lambda: c.datacenters()["dc2"]["reachable"] == 0 and
                 c.datacenters()["dc3"]["instances"] == 1, "all lists")
    assert ports(c) == {1001}
    # dc2 is named first, and stands last.
    words["dc1"] = Word((1001, "critical"))
    muster.until(lambda: ports(c) == {3001}, "dc3")
    words["dc3"] = Word((3001, "critical"))
    muster.until(lambda: ports(c) == {2001}, "dc2, as it was last seen")
    # Once it can be reached again it is what it was named as.
    words["dc3"] = Word((3001,))
    muster.until(lambda: ports(c) == {3001}, "dc3 again")
    words["dc2"] = Word((2001,))
    muster.until(lambda: ports(c) == {2001}, "dc2, alive")
    assert set(Registry.streams) == {"dc2", "dc3"}
    c.ok("close")


def test_what_is_too_old_is_not_used(registry, make_client):
    words = Registry.words = {"dc1": Word((1001, "critical")),
                              "dc2": Word((2001,))}
    c = client_of(registry, make_client, failover="dc2")

    def dc2(field):
        return c.datacenters().get("dc2", {}).get(field)

    muster.until(lambda: ports(c) == {2001}, "dc2")
    # For a while it is all there is; then only panic is left.
    words["dc2"] = Word((2001,), **CUT)
    muster.until(lambda: dc2("reachable") == 0, "lost")
    assert dc2("used") == 1 and ports(c) == {2001}
    words["dc2"] = Word((2001,), **{**CUT, "X_Consul_LastContact": "60000"})
    muster.until(lambda: dc2("used") == 0, "too old")
    assert ports(c) == {1001} and c.status()["panic"] == "1"
    words["dc2"] = Word((2001,))
    muster.until(lambda: ports(c) == {2001}, "dc2, alive")
    # An error about it says that it is out of reach, and no more.
    words["dc2"] = Word(status=500)
    muster.until(lambda: dc2("reachable") == 0, "lost")
    assert dc2("instances") == 1 and ports(c) == {2001}
    c.ok("close")


def test_held_ones_count_only_where_no_other_is(registry, make_client):
    held = [(1001 + i, "critical", True) for i in range(9)]
    words = Registry.words = {"dc1": Word(*held), "dc2": Word((2001,))}
    c = client_of(registry, make_client, failover="dc2")
    muster.until(lambda: c.datacenters().get("dc2", {}).get("instances") == 1,
                 "dc2")
    # Nobody has heard of any of them: they are all there is at home, and in.
    assert share(c, "own") == 1 and 2001 not in ports(c)
    assert c.ok("each").count(",guarded") == 9
    # One that is known to be well makes nine of ten count as failed.
    words["dc1"] = Word(*held, (1010,))
    muster.until(lambda: share(c, "own") == .14, "1.4 x 10 %")
    assert ports(c) == {1010, 2001}
    own = c.datacenters()["own"]
    assert (own["healthy"], own["guarded"]) == (1, 9)
    c.ok("close")


def test_lists_of_others_rest_while_all_is_well(registry, make_client):
    """Without streams of them: no request waits at a server for each of them."""
    words = Registry.words = {"dc1": Word((1001,)), "dc2": Word((2001,))}
    c = client_of(registry, make_client, failover="dc2")
    muster.until(lambda: share(c, "dc2") == 0 and
                 c.datacenters()["dc2"]["instances"] == 1, "dc2")
    polls = len(Registry.polls)
    answers = int(c.status()["answers"])
    muster.until(lambda: int(c.status()["answers"]) > answers + 2, "own answers")
    assert len(Registry.polls) <= polls + 1
    words["dc1"] = Word((1001, "critical"))
    words["dc2"] = Word((2002,))
    # It is asked at once when it is needed, for all that rests.
    muster.until(lambda: 2002 in ports(c), "what is new there")
    c.ok("close")


def test_the_command_line_says_where_they_are(two):
    a, b = two
    b.put("/v1/catalog/register", {
        "Node": "far", "Address": "127.0.0.1",
        "Service": {"Service": "afar", "Port": 7003}})

    def pick(*words):
        done = subprocess.run(
            [muster.BINARY, "pick", f"-http-addr={address(a)}", *words],
            capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    assert pick("afar")[0] == 1
    assert pick("-datacenter=dc2", "afar") == (0, "127.0.0.1:7003\n")
    assert pick("-failover=nearest:1", "afar") == (0, "127.0.0.1:7003\n")
    code, table = pick("-failover=dc2", "-n=50", "web")
    assert code == 0 and "Datacenter" in table
    rows = [line.split() for line in table.splitlines()[1:]]
    assert {(r[-1], r[0] == "0") for r in rows} == {("own", False),
                                                   ("dc2", True)}
    assert "no datacenter's name" in pick("-failover=a.b", "web")[1]
