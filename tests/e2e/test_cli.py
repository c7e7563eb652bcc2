# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""Commands as an agent sees them: a small one here answers what a test says and
remembers what it was asked. tests/differential compares with Consul's."""

import base64
import json
import signal
import ssl
import subprocess

import pytest

import muster
from cli_agent import Turns, agent, done, member, run, running


# --- Where and who ------------------------------------------------------------

def test_what_a_request_says_of_its_sender(agent, tmp_path):
    a = agent({"GET /v1/catalog/datacenters?dc=dc2&stale": ["dc2"],
               "GET /v1/catalog/datacenters": ["dc1"]})
    words = ["catalog", "datacenters"]
    assert done(*words, "-datacenter=dc2", "--stale", "-token", "t1",
                agent=a) == "dc2\n"
    assert a.requests[-1][1]["X-Consul-Token"] == "t1"
    secret = tmp_path / "token"
    secret.write_text("t2\n")
    done(*words, "-token-file", str(secret), agent=a)
    assert a.requests[-1][1]["X-Consul-Token"] == "t2"
    done(*words, agent=a, env={"CONSUL_HTTP_TOKEN_FILE": str(secret)})
    assert a.requests[-1][1]["X-Consul-Token"] == "t2"
    done(*words, agent=a, env={"CONSUL_HTTP_TOKEN": "t3", "MUSTER_HTTP_TOKEN": "t4"})
    assert a.requests[-1][1]["X-Consul-Token"] == "t4"
    done(*words, agent=a, env={"CONSUL_HTTP_AUTH": "user:pa:ss"})
    assert a.requests[-1][1]["Authorization"] == \
        "Basic " + base64.b64encode(b"user:pa:ss").decode()
    assert a.requests[-1][1]["X-Consul-Token"] is None
    for address in (f"http://{a.address}", f"http://{a.address}/", a.address):
        done(*words, "-http-addr", address, agent=None)
    out = run(*words, "-token-file", "/nope", agent=a)
    assert out.returncode == 1 and "/nope: No such file" in out.stderr
    out = run(*words, agent=a, env={"CONSUL_HTTP_SSL": "perhaps"})
    assert out.returncode == 1 and "HTTP_SSL" in out.stderr


def test_a_unix_socket_is_an_address(agent, tmp_path):
    a = agent({"GET /v1/catalog/datacenters": ["dc1"]},
              unix=str(tmp_path / "s"))
    assert done("catalog", "datacenters", agent=a) == "dc1\n"


def certificate(folder, name, ca=None):
    """A key and a certificate, signed by ca or by itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
             "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    if ca:
        words += ["-CA", f"{folder}/{ca}.pem", "-CAkey", f"{folder}/{ca}.key",
                  "-addext", "basicConstraints=critical,CA:FALSE"]
    subprocess.run(words, check=True, capture_output=True)


def test_tls_both_ways(agent, tmp_path):
    certificate(tmp_path, "ca")
    for name in ("server.dc1.consul", "client"):
        certificate(tmp_path, name, ca="ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.dc1.consul.pem",
                            tmp_path / "server.dc1.consul.key")
    context.load_verify_locations(tmp_path / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    a = agent({"GET /v1/catalog/datacenters": ["dc1"]}, context=context)
    mine = {"CONSUL_CLIENT_CERT": f"{tmp_path}/client.pem",
            "CONSUL_CLIENT_KEY": f"{tmp_path}/client.key"}
    known = {"CONSUL_HTTP_SSL": "true", "CONSUL_CACERT": f"{tmp_path}/ca.pem",
             "CONSUL_TLS_SERVER_NAME": "server.dc1.consul"}
    words = ["catalog", "datacenters"]
    assert done(*words, agent=a, env={**mine, **known}) == "dc1\n"
    assert done(*words, f"-http-addr=https://{a.address}",
                f"-ca-file={tmp_path}/ca.pem",
                f"-client-cert={tmp_path}/client.pem",
                f"-client-key={tmp_path}/client.key",
                "-tls-server-name=server.dc1.consul", agent=None) == "dc1\n"
    assert done(*words, agent=a, env={
        **mine, "CONSUL_HTTP_SSL": "1", "CONSUL_HTTP_SSL_VERIFY": "false"}) == "dc1\n"
    folder = tmp_path / "cas"
    folder.mkdir()
    (folder / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    assert done(*words, agent=a, env={
        **mine, **known, "CONSUL_CACERT": "", "CONSUL_CAPATH": str(folder)}) == "dc1\n"
    for wrong in ({**mine, "CONSUL_HTTP_SSL": "true"},  # who is that
                  known,  # who am I
                  {**mine, **known, "CONSUL_TLS_SERVER_NAME": "other"}):
        out = run(*words, agent=a, env=wrong)
        assert out.returncode == 1 and "cannot reach the agent" in out.stderr


# --- What is refused before anybody is asked ----------------------------------

@pytest.mark.parametrize("words, says", [
    (["members", "-nonsense"], "flag provided but not defined: -nonsense"),
    (["members", "-detailde"], "did you mean -detailed"),
    (["members", "-http-addr"], "flag needs an argument: -http-addr"),
    (["members", "-wan=maybe"], "not true or false"),
    (["catalog", "nodes", "extra"], "too many arguments (expected 0, got 1)"),
    (["catalog", "nodes", "-node-meta=x"], "not KEY=VALUE"),
    (["catalog", "nonsense"], 'no sub-command "nonsense"'),
    (["catalog"], "Usage: muster catalog SUB-COMMAND"),
    (["debug", "-duration=0s"], "invalid value \"0s\" for flag -duration"),
    (["event"], "-name is missing"),
    (["event", "-name=a", "-tag=b"], "-tag needs -service"),
    (["force-leave"], "an argument is missing: NODE"),
    (["join"], "an argument is missing: ADDRESS..."),
    (["maint", "-enable", "-disable"], "not both"),
    (["maint", "-reason=x"], "-enable only"),
    (["maint", "-service=x"], "needs -enable or -disable"),
    (["operator", "raft", "remove-peer"], "-address or -id is missing"),
    (["operator", "autopilot", "set-config", "-max-trailing-logs=x"],
     "not a whole number"),
    (["rtt", "-wan", "node-a"], "NODE.DATACENTER"),
    (["services", "register"], "say -name"),
    (["services", "register", "-name=a", "-port=70000"], "over 65535"),
    (["services", "register", "-name=a", "-tagged-address=lan=[::1]:99999"],
     "-tagged-address"),
    (["services", "register", "/nope.json"], "/nope.json: No such file"),
    (["services", "deregister", "-id=a", "x.json"], "not both"),
    (["watch"], "-type is missing"),
    (["watch", "-type=service"], "-type=service needs -service"),
    (["watch", "-type=nonsense"], "services|nodes|service"),
    (["watch", "-type=checks", "-service=a", "-state=any"], "not both"),
    (["help", "-man=x", "-completion=bash"], "give one"),
])
def test_wrong_use_names_the_thing_and_asks_nobody(words, says, agent):
    a = agent({})
    out = run(*words, agent=a)
    assert out.returncode == 1 and out.stdout == ""
    assert says in out.stderr
    assert a.asked == []


def test_commands_that_are_not_there():
    out = run("memebrs")
    assert out.returncode == 127 and 'did you mean "members"' in out.stderr
    for name in ("kv", "acl", "lock", "exec", "connect"):
        out = run(name, "get", "x")
        assert out.returncode == 127
        assert f'"{name}" is a command of Consul' in out.stderr
    out = run("help", "nonsense")
    assert out.returncode == 127 and "nonsense" in out.stderr


def test_what_the_agent_refuses_is_told(agent):
    a = agent({"PUT /v1/agent/reload": (500, "bad.json:3:1: no such key\n"),
               "PUT /v1/agent/force-leave/x": (403, "Permission denied")})
    out = run("reload", agent=a)
    assert out.returncode == 1
    assert out.stderr == ("muster reload: Unexpected response code: 500 "
                          "(bad.json:3:1: no such key)\n")
    out = run("force-leave", "x", agent=a)
    assert out.returncode == 1 and "403 (Permission denied)" in out.stderr
    assert "-token" in out.stderr
    out = run("operator", "raft", "list-peers", agent=a)
    assert out.returncode == 1 and "does not know this route" in out.stderr
    a.answers["GET /v1/agent/checks"] = "no JSON"
    out = run("maint", agent=a)
    assert out.returncode == 1 and "cannot be read" in out.stderr


def test_output_that_cannot_be_written_is_an_error(agent):
    with open("/dev/full", "w") as full:
        out = subprocess.run([muster.BINARY, "version"], stdout=full,
                             stderr=subprocess.PIPE, text=True, timeout=60)
    assert out.returncode == 1 and "cannot be written" in out.stderr


# --- What is asked, what is shown ---------------------------------------------

def test_members(agent):
    a = agent({"GET /v1/agent/members": [
        member("b", 4, role="node"), member("a"), member("evil\x1b[2J")],
        "GET /v1/agent/members?wan=1": []})
    rows = done("members", agent=a).splitlines()
    assert rows[0].split() == ["Node", "Address", "Status", "Type", "Build",
                               "Protocol", "DC", "Segment"]
    assert rows[1].split() == ["a", "10.0.0.1:8301", "alive", "server", "1.8.7",
                               "2", "dc1", "<all>"]
    assert rows[2].split()[:4] == ["b", "10.0.0.1:8301", "failed", "client"]
    assert rows[3].startswith("evil?[2J")
    only = json.loads(done("members", "-status=^f", "-format=json", agent=a))
    assert [m["Name"] for m in only] == ["b"]
    assert "build=1.8.7:abc,dc=dc1" in done("members", "-detailed", agent=a)
    assert run("members", "-status=left", agent=a).returncode == 2
    assert run("members", "-wan", agent=a).returncode == 2
    out = run("members", "-status=(", agent=a)
    assert out.returncode == 1 and "regular expression" in out.stderr


def test_catalog(agent):
    node = {"ID": "12345678-aaaa", "Node": "n", "Address": "1.2.3.4",
            "Datacenter": "dc1", "TaggedAddresses": {"wan": "5.6.7.8", "lan": "x"},
            "Meta": {"rack": "r1"}}
    a = agent({
        "GET /v1/catalog/services": {"web": ["b", "a", "b"], "api": []},
        "GET /v1/catalog/services?node-meta=rack%3Ar1": {},
        "GET /v1/catalog/node/n%2Fx": {"Services": {
            "w1": {"Service": "web", "Tags": ["t"]},
            "w2": {"Service": "web", "Tags": ["u"]}}},
        "GET /v1/catalog/nodes?near=_agent": [node],
        "GET /v1/catalog/service/web": [node, node],
        "GET /v1/catalog/nodes?filter=Meta.rack%20%3D%3D%20r9": []})
    assert done("catalog", "services", agent=a) == "api\nweb\n"
    assert done("catalog", "services", "-tags", agent=a) == "api  \nweb  a,b\n"
    assert done("catalog", "services", "-node=n/x", "-tags", agent=a) == "web  t,u\n"
    assert list(json.loads(done("catalog", "services", "-format=json",
                                agent=a))) == ["web", "api"]
    out = run("catalog", "services", "-node-meta=rack=r1", agent=a)
    assert out.returncode == 0 and out.stdout == ""
    assert out.stderr.startswith("No services match the given query")
    out = run("catalog", "nodes", "-filter=Meta.rack == r9", agent=a)
    assert out.returncode == 0 and out.stderr.startswith("No nodes match")
    assert done("catalog", "nodes", "-near=_agent", agent=a).splitlines()[1].split() \
        == ["n", "12345678", "1.2.3.4", "dc1"]
    rows = done("catalog", "nodes", "-service=web", "-detailed", agent=a)
    assert len(rows.splitlines()) == 2, "a node once"
    assert "lan=x, wan=5.6.7.8  rack=r1" in rows and "12345678-aaaa" in rows


def test_services_from_flags(agent):
    a = agent({"PUT /v1/agent/service/register": ""})
    assert done("services", "register", "-name=web", "-id=w1", "-port=80",
                "-tag=a", "-tag=b,c", "-meta=k=v=w", "-meta=l=", "-address=::1",
                "-tagged-address=wan=1.2.3.4:99", "-tagged-address=lan=h",
                "-tagged-address=v6=[::2]:1", "-tagged-address=bare=::3",
                "-kind=x", agent=a) == "Registered service: web\n"
    assert json.loads(a.requests[-1][2]) == {
        "Name": "web", "ID": "w1", "Kind": "x", "Address": "::1", "Port": 80,
        "Tags": ["a", "b,c"], "Meta": {"k": "v=w", "l": ""},
        "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 99},
                            "lan": {"Address": "h", "Port": 0},
                            "v6": {"Address": "::2", "Port": 1},
                            "bare": {"Address": "::3", "Port": 0}}}


def test_services_from_files(agent, tmp_path):
    a = agent({"PUT /v1/agent/service/register": "",
               "PUT /v1/agent/service/deregister/db": "",
               "PUT /v1/agent/service/deregister/w%201": ""})
    (tmp_path / "a.hcl").write_text("""
        service { name = "db" port = 5 }
        service { name = "web" id = "w 1" tags = ["x"] }
    """)
    (tmp_path / "bare.json").write_text('{"Name": "bare"}')
    (tmp_path / "bad.json").write_text('{"service": {"port": 1}}')
    (tmp_path / "broken.hcl").write_text("service {\n  name = \n}")
    (tmp_path / "large.json").write_text(" " * (2 << 20))
    assert done("services", "register", "a.hcl", "bare.json", agent=a,
                cwd=tmp_path).splitlines() == [
        "Registered service: db", "Registered service: web",
        "Registered service: bare"]
    assert [json.loads(r[2])["name"] for r in a.requests[:2]] == ["db", "web"]
    assert done("services", "deregister", "a.hcl", agent=a, cwd=tmp_path) == \
        "Deregistered service: db\nDeregistered service: w 1\n"
    for name, says in (("bad.json", "bad.json:1:13: this service has no name"),
                       ("broken.hcl", "broken.hcl:"),
                       ("large.json", "larger than 1 MiB")):
        out = run("services", "register", name, agent=a, cwd=tmp_path)
        assert out.returncode == 1 and says in out.stderr


def test_commands_that_tell_the_agent_something(agent):
    a = agent({
        "PUT /v1/agent/join/1.2.3.4%3A8301?wan=1": "",
        "PUT /v1/agent/join/nope?wan=1": (500, "no such host"),
        "PUT /v1/agent/force-leave/n?prune": "",
        "PUT /v1/agent/maintenance?enable=true&reason=new%20disk": "",
        "PUT /v1/agent/service/maintenance/w%2F1?enable=false": "",
        "PUT /v1/event/fire/deploy?node=%5Ea&service=web&tag=x":
            {"ID": "e1"},
        "DELETE /v1/operator/raft/peer?address=1.2.3.4%3A1": ""})
    out = run("join", "-wan", "nope", "1.2.3.4:8301", agent=a)
    assert out.returncode == 0 and "'nope'" in out.stderr
    assert out.stdout == "Successfully joined cluster by contacting 1 nodes.\n"
    assert run("join", "-wan", "nope", agent=a).returncode == 1
    done("force-leave", "-prune", "n", agent=a)
    assert done("maint", "-enable", "-reason=new disk", agent=a) == \
        "Node maintenance is now enabled\n"
    assert done("maint", "-disable", "-service=w/1", agent=a) == \
        'Service maintenance is now disabled for "w/1"\n'
    assert done("event", "-name=deploy", "-node=^a", "-service=web", "-tag=x",
                "payload", agent=a) == "Event ID: e1\n"
    assert a.requests[-1][2] == b"payload"
    assert done("operator", "raft", "remove-peer", "-address=1.2.3.4:1", agent=a) \
        == 'Removed peer with address "1.2.3.4:1"\n'


def test_autopilot_changes_what_is_named_and_nothing_else(agent):
    route = "/v1/operator/autopilot/configuration"
    config = {"CleanupDeadServers": True, "LastContactThreshold": "200ms",
              "MaxTrailingLogs": 250, "RedundancyZoneTag": "", "New": [1],
              "ModifyIndex": 7}
    a = agent({f"GET {route}": config,
               f"PUT {route}?cas=7": Turns("true", "false")})
    words = ["operator", "autopilot", "set-config", "-cleanup-dead-servers=false",
             "-last-contact-threshold=1s", "-max-trailing-logs=9"]
    assert done(*words, agent=a) == "Configuration updated!\n"
    assert json.loads(a.requests[-1][2]) == {
        **config, "CleanupDeadServers": False, "LastContactThreshold": "1s",
        "MaxTrailingLogs": 9}
    out = run(*words, agent=a)
    assert out.returncode == 1 and "somebody else" in out.stderr


def coordinate(node, *vec, height=0.0, adjustment=0.0):
    return {"Node": node, "Segment": "", "Coord": {
        "Vec": list(vec), "Height": height, "Adjustment": adjustment, "Error": 1}}


def test_rtt(agent):
    a = agent({
        "GET /v1/agent/self": {"Config": {"NodeName": "a", "Datacenter": "dc1"}},
        "GET /v1/coordinate/nodes": [
            coordinate("a", 0.0, 0.0, height=0.001),
            coordinate("b", 0.003, 0.004, height=0.002, adjustment=-0.001),
            coordinate("far", 0.003, 0.004, adjustment=-1.0),
            coordinate("other", 1.0)],
        "GET /v1/coordinate/datacenters": [
            {"Datacenter": "dc1", "Coordinates": [coordinate("a", 0.0)]},
            {"Datacenter": "dc2", "Coordinates": [coordinate("a", 0.1)]}]})
    assert done("rtt", "b", agent=a) == \
        "Estimated b <-> a rtt: 7.000 ms (using LAN coordinates)\n"
    assert "rtt: 6.000 ms" in done("rtt", "a", "far", agent=a)
    assert done("rtt", "-wan", "a.dc1", "a.dc2", agent=a) == \
        "Estimated a.dc1 <-> a.dc2 rtt: 100.000 ms (using WAN coordinates)\n"
    for words, says in ((["nope"], 'node "nope"'), (["a", "other"], "do not fit"),
                        (["-wan", "a.dc1", "a.dc3"], 'node "a.dc3"')):
        out = run("rtt", *words, agent=a)
        assert out.returncode == 1 and says in out.stderr


def test_keygen_makes_32_bytes_each_time_others():
    keys = {run("keygen").stdout for _ in range(3)}
    assert len(keys) == 3
    assert all(len(base64.b64decode(k, validate=True)) == 32
               for k in map(str.strip, keys))


# --- The other commands, against muster itself --------------------------------

def test_maintenance_begins_is_shown_and_ends(server):
    address = f"-http-addr=127.0.0.1:{server.port}"
    server.put("/v1/agent/service/register", {"Name": "kept", "ID": "kept-1"})
    done("maint", address, "-enable", "-reason=tea", agent=None)
    done("maint", address, "-enable", "-service=kept-1", agent=None)
    shown = done("maint", address, agent=None)
    assert "Node:\n  Name:   node-a\n  Reason: tea\n\n" in shown
    assert "Service:\n  ID:     kept-1\n" in shown
    done("maint", address, "-disable", agent=None)
    done("maint", address, "-disable", "-service=kept-1", agent=None)
    assert done("maint", address, agent=None) == ""
    out = run("maint", address, "-enable", "-service=nope")
    assert out.returncode == 1 and "404" in out.stderr


def test_watching_a_real_agent(server):
    address = f"127.0.0.1:{server.port}"
    a = type("Where", (), {"address": address})
    with running("watch", "-type=services", "cat", agent=a) as p:
        assert "consul" in p.stdout.readline()
        server.register("node-b", "appeared")
        assert "appeared" in p.stdout.readline()
        p.send_signal(signal.SIGINT)
        assert p.wait(muster.LIMIT) == 0


def test_health_shows_why(server):
    address = f"-http-addr=127.0.0.1:{server.port}"
    server.register("node-c", "sick", checks=[
        {"Name": "c", "CheckID": "c1", "Status": "critical", "Output": "broken",
         "ServiceID": "sick"}])
    rows = done("health", "sick", address, agent=None).splitlines()
    assert rows[1].split() == ["critical", "sick", "node-c", "10.0.0.1:80", "c1:",
                               "broken"]
    out = run("health", "-passing", "sick", address)
    assert out.returncode == 0 and out.stderr.startswith("No instances match")
