# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The systemd unit and the files of packaging/, by a service manager as small as
can be: what the unit says is what is run, and ready is what the process says."""

import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

import clusters
import muster
from muster import until
from test_operations import Host
from test_peers import KEY

UNIT = muster.ROOT / "packaging" / "muster.service"
SERVER = (muster.ROOT / "packaging" / "server.hcl").read_text()

pytestmark = pytest.mark.skipif(not clusters.INSTALLED, reason=clusters.WHY)


def unit():
    """Its settings; those of [Service] that stand once."""
    lines = [line for line in UNIT.read_text().splitlines()
             if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def exec_of_agents():
    """What the unit's head tells to put into an agent's."""
    return re.findall(r"^#   ExecStart=(\S.*)$", UNIT.read_text(), re.M)[0]


class Service(muster.Server):
    """One host's muster.service: Type=notify, paths of the host's own."""

    def __init__(self, folder, name, address, exec_start):
        super().__init__(folder, name=name)
        self.address = address
        self.binary = muster.BINARY
        self.etc, self.var = self.folder / "etc", self.folder / "var"
        self.etc.mkdir()
        self.var.mkdir(mode=int(unit()["StateDirectoryMode"], 8))
        self.exec_start = exec_start
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.folder / "notify"))
        self.socket.settimeout(0.1)
        http, (lan, wan, server) = self.port, self.other_ports
        (self.etc / "host.hcl").write_text(
            f'node_name = "{name}"\n'
            f"ports {{ http = {http} dns = -1 serf_lan = {lan} "
            f"serf_wan = {wan} server = {server} }}\n")

    @property
    def peer(self):
        return f"{self.address}:{self.other_ports[0]}"

    def configure(self, join, server=True, expect=True):
        text = SERVER.replace('["10.0.0.1", "10.0.0.2", "10.0.0.3"]',
                              json.dumps(join))
        text = text.replace('encrypt = ""', f'encrypt = "{KEY}"')
        text = text.replace('bind_addr = "10.0.0.1"',
                            f'bind_addr = "{self.address}"')
        text = text.replace('"127.0.0.1 10.0.0.1"', '"127.0.0.1"')
        if not expect:
            text = text.replace("bootstrap_expect = 3\n", "")
        if not server:
            text = text.replace("server           = true\n", "")
        assert "10.0.0" not in text
        (self.etc / "server.hcl").write_text(self.here(text))

    def here(self, text):
        return text.replace("/usr/bin/muster", str(self.binary)).replace(
            "/var/lib/muster", str(self.var)).replace("/etc/muster", str(self.etc))

    def command(self):
        return shlex.split(self.here(self.exec_start))

    def spawn(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")})
        log.close()
        return self

    def told(self, word):
        """What it says before it ends can be read afterwards, too."""
        def heard():
            try:
                return word in self.socket.recv(4096).decode().split("\n")
            except TimeoutError:
                code = self.process.poll()
                assert code is None, (
                    f"ended with {code}, and has not said {word}:\n{self.log()}")
                return False
        until(heard, word)

    def wait_ready(self):
        self.told("READY=1")

    def stop(self):
        code = super().stop(getattr(signal, unit()["KillSignal"]))
        self.told("STOPPING=1")
        return code

    def reload(self):
        words = shlex.split(unit()["ExecReload"].replace(
            "$MAINPID", str(self.process.pid)))
        assert subprocess.run(words, timeout=30).returncode == 0
        self.told("RELOADING=1")
        self.told("READY=1")


class Place:
    """Hosts of one installation."""

    def __init__(self, folder):
        self.folder = folder
        self.services, self.hosts = [], []

    def add(self, name, address, exec_start=None):
        s = Service(self.folder / name, name, address,
                    exec_start or unit()["ExecStart"])
        h = Host(s, s.folder)
        h.paths = {"/etc/muster": s.etc, "/var/lib/muster": s.var}
        self.services.append(s)
        self.hosts.append(h)
        return h

    def close(self):
        for s in self.services:
            if s.process and s.process.poll() is None:
                s.process.kill()
                s.process.wait()
            s.socket.close()
            if s.log_path.exists():
                print(f"--- log of {s.name}\n{s.log()[-3000:]}")
        for h in self.hosts:
            h.close()


def all_at_once(hosts, name):
    """As three people would, each on a host."""
    out = [None] * len(hosts)

    def run(i):
        out[i] = hosts[i].do(name)
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(hosts))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(out), "a host's procedure failed"
    return out


@pytest.fixture(scope="module")
def place():
    shm = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="muster-", dir=shm))
    p = Place(folder)
    yield p
    p.close()
    shutil.rmtree(folder, ignore_errors=True)


def peers(service):
    answer = service.get("/v1/operator/raft/configuration")
    if answer.status == 500 and answer.text == "No cluster leader":
        return {}  # it has just started
    return {s["Node"]: s for s in answer.json["Servers"]}


def versions(service):
    answer = service.get("/v1/operator/autopilot/health")
    return {s["Name"]: s["MusterVersion"] for s in answer.json["Servers"]} \
        if answer.status == 200 else {}


def test_systemd_takes_the_unit(tmp_path):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    text = UNIT.read_text().replace("/usr/bin/muster", str(muster.BINARY))
    text = re.sub(r"^Documentation=.*\n", "", text, flags=re.M)
    path = tmp_path / "muster.service"
    path.write_text(text)
    done = subprocess.run([analyze, "verify", str(path)], capture_output=True,
                          text=True, timeout=120)
    ours = [line for line in (done.stdout + done.stderr).splitlines()
            if "muster" in line]
    assert not ours, ours
    assert unit()["Type"] == "notify" and unit()["User"] == "muster"
    assert 'u muster' in (muster.ROOT / "packaging/muster.sysusers").read_text()


def test_three_servers_are_deployed(place):
    hosts = [place.add(f"host-{i}", f"127.0.0.{i}") for i in (1, 2, 3)]
    for s in place.services:
        s.configure([x.peer for x in place.services])
    for out in all_at_once(hosts, "deploy"):
        assert out.count("host-") >= 3
    hosts[0].systemctl("reload")
    assert {p["Voter"] for p in peers(place.services[0]).values()} == {True}


def test_agents_join(place):
    h = place.add("app-1", "127.0.0.4", exec_of_agents())
    h.server.configure([s.peer for s in place.services[:3]], False, False)
    out = h.do("join")
    assert all(name in out for name in ("host-1", "host-2", "host-3", "app-1"))
    assert h.server.stop() == 0
    place.services.remove(h.server)


def newer(folder):
    """The same program, which calls itself by another version."""
    own = (muster.ROOT / "VERSION").read_text().strip().encode() + b"\0"
    data = pathlib.Path(muster.BINARY).read_bytes()
    assert data.count(own) >= 1
    path = folder / "muster-next"
    path.write_bytes(data.replace(own, b"9" + own[1:]))
    path.chmod(0o755)
    return path, "9" + own[1:-1].decode()


def test_an_upgrade_fails_no_request(place):
    servers, hosts = place.services[:3], place.hosts[:3]
    path, version = newer(place.folder)
    failed, done, stop = [], [0, 0], threading.Event()

    def on_any(ask):
        for s in servers:
            try:
                if ask(s).status == 200:
                    return True
            except (OSError, muster.http.client.HTTPException):
                continue
        return False

    def client(which, ask):
        while not stop.is_set():
            done[which] += 1
            if not on_any(ask):
                failed.append((which, done[which]))

    threads = [
        threading.Thread(target=client, args=(0, lambda s: s.put(
            "/v1/catalog/register", {"Node": "n1", "Address": "10.0.0.1",
                                     "Service": {"Service": "busy",
                                                 "Port": done[0]}}))),
        threading.Thread(target=client, args=(1, lambda s: s.get(
            "/v1/health/service/busy")))]
    for t in threads:
        t.start()
    try:
        for h in hosts:
            until(lambda: len(versions(servers[0])) == 3, "all are well")
            h.server.binary = path
            assert "host-3" in h.do("upgrade")
        until(lambda: list(versions(servers[0]).values()) == [version] * 3,
              "all say the new version")
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failed and min(done) > 3
    assert [x["ServicePort"] for x in
            servers[0].get("/v1/catalog/service/busy").json] == [done[0]]


def test_one_is_added_and_removed(place):
    first = place.services[0]
    h = place.add("host-4", "127.0.0.5")
    h.server.configure([s.peer for s in place.services[:3]], expect=False)
    h.do("deploy")
    until(lambda: peers(first).get("host-4", {}).get("Voter"), "a fourth vote")
    node_id = peers(first)["host-4"]["ID"]
    h.server.stop()
    out = place.hosts[0].do("remove", ID=node_id)
    assert out.count("host-4") == 1, "there before, and not after"
    place.services.remove(h.server)


def test_a_lost_majority_is_looked_at_and_given_up(place):
    first, *lost = place.services[:3]
    assert first.put("/v1/catalog/register", {
        "Node": "n2", "Address": "10.0.0.2",
        "Service": {"Service": "kept"}}).status == 200
    index = first.get("/v1/catalog/services").index
    for s in lost:
        s.kill()
    until(lambda: first.get("/v1/catalog/nodes?stale").headers[
        "x-consul-knownleader"] == "false", "the loss is noticed")
    answer = first.get("/v1/snapshot?stale")
    assert (answer.status, answer.headers["x-consul-knownleader"]) == (200, "false")
    assert int(answer.headers["x-consul-lastcontact"]) > 0
    out = place.hosts[0].do("lost-preview")
    assert "kept" in out and "n2" in out
    rows = re.findall(r"^Records +(\d+)$", out, re.M)
    out = place.hosts[0].do("lost-recover")
    assert "host-2" not in out.rsplit("RaftProtocol", 1)[1]
    until(lambda: first.get("/v1/catalog/services").index > index + 2 ** 39,
          "a new epoch")
    assert "kept" in first.get("/v1/catalog/services").json
    # What was saved without a leader is whole: it brings back what was there.
    assert int(rows[-1]) > 0
    assert first.put("/v1/catalog/deregister", {"Node": "n2"}).status == 200
    saved = (place.hosts[0].folder / "before.snap").read_bytes()
    assert first.put("/v1/snapshot", saved).status == 200
    until(lambda: "kept" in first.get("/v1/catalog/services").json, "the snapshot")


def test_other_protocols_are_refused_with_both_sides(make_server):
    """What a server of another time would say."""
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({
                "Node": "older", "ID": "11111111-2222-3333-4444-555555555555",
                "Datacenter": "dc1", "Version": "0.0.1", "Protocol": 99,
                "Server": True, "Ready": True, "BootstrapExpect": 3,
                "Fresh": True, "Address": "127.0.0.1", "PeerPort": 1}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        s = make_server("-bootstrap-expect", "3", "-retry-join",
                        f"127.0.0.1:{other.server_port}")
        s.spawn()
        until(lambda: "speaks protocol 99" in s.log(), "a word about it")
        line = next(x for x in s.log().splitlines() if "speaks protocol 99" in x)
        version = (muster.ROOT / "VERSION").read_text().strip()
        assert "older" in line and "0.0.1" in line and version in line
    finally:
        other.shutdown()
        other.server_close()
