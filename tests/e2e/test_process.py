# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""The process: command line, configuration, signals, start and end."""

import json
import os
import re
import signal
import socket
import subprocess

import muster


def run(*words, server=None, **kw):
    env = dict(os.environ)
    if server:
        env["MUSTER_HTTP_ADDR"] = f"127.0.0.1:{server.port}"
    return subprocess.run([muster.BINARY, *words], capture_output=True,
                          text=True, env=env, timeout=60, **kw)


def test_version_is_what_consuls_harness_parses():
    out = run("version", "-format=json")
    assert re.fullmatch(r"\d+\.\d+\.\d+", json.loads(out.stdout)["Version"])
    assert out.returncode == 0
    assert run("version").stdout.startswith("Muster v")


def test_wrong_use_is_told():
    assert run().returncode == 127
    out = run("nonsense")
    assert out.returncode == 127 and "nonsense" in out.stderr
    assert "Usage" in run("--help").stdout
    out = run("agent", "-nonsense")
    assert out.returncode == 1 and "nonsense" in out.stderr + out.stdout


def test_start_fails_fast_with_a_message_that_names_the_thing(tmp_path):
    out = run("agent", "-server")
    assert out.returncode == 1 and "data_dir cannot be empty" in out.stdout + out.stderr
    bad = tmp_path / "bad.json"
    bad.write_text('{\n  "data_dir": "/tmp/x",\n  "foo": 1\n}')
    out = run("agent", "-config-file", str(bad))
    assert out.returncode == 1
    assert re.search(r"bad\.json:3:3.*foo", out.stdout + out.stderr)
    out = run("agent", "-server", "-data-dir", "/proc/nope")
    assert out.returncode == 1 and "/proc/nope" in out.stdout + out.stderr


def test_commands_against_a_server(server):
    server.put("/v1/agent/service/register", {
        "Name": "shown", "ID": "shown-1", "Port": 99, "Address": "127.0.0.1",
        "Check": {"TTL": "1m"}})
    assert "node-a" in run("members", server=server).stdout
    assert "alive" in run("members", server=server).stdout
    assert "shown" in run("catalog", "services", server=server).stdout
    assert "node-a" in run("catalog", "nodes", server=server).stdout
    assert "revision" in run("info", server=server).stdout
    out = run("health", "shown", server=server).stdout
    assert "critical" in out and "shown-1" in out and "127.0.0.1:99" in out
    out = run("services", "register", "-name=cli", "-id=cli-1", "-port=5",
              "-tag=a", "-tag=b", server=server)
    assert out.returncode == 0, out.stderr
    assert server.get("/v1/catalog/service/cli").json[0]["ServiceTags"] == ["a", "b"]
    assert run("services", "deregister", "-id=cli-1", server=server).returncode == 0
    assert server.get("/v1/catalog/service/cli").json == []
    server.put("/v1/agent/service/deregister/shown-1")


def test_services_from_a_file(server, tmp_path):
    path = tmp_path / "web.json"
    path.write_text(json.dumps({"service": {"name": "filed", "port": 3,
                                            "tags": ["x"]}}))
    out = run("services", "register", str(path), server=server)
    assert out.returncode == 0, out.stderr
    assert server.get("/v1/catalog/service/filed").json[0]["ServicePort"] == 3
    assert run("services", "deregister", str(path), server=server).returncode == 0
    assert server.get("/v1/catalog/service/filed").json == []


def test_an_agent_that_is_not_there_is_told():
    out = run("members", "-http-addr", f"127.0.0.1:{muster.free_port()}")
    assert out.returncode == 1 and "cannot reach the agent" in out.stderr


def test_hcl_and_json_files_merge_in_order(make_server, tmp_path):
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "a.hcl").write_text("""
        # comments are fine
        node_name = "from-hcl"
        log_level = "debug"
        service {
          name = "configured"
          port = 81
          tags = ["one"]
          check { ttl = "1m" status = "passing" }
        }
    """)
    (folder / "b.json").write_text(json.dumps({
        "node_meta": {"rack": "r1"},
        "services": [{"name": "second", "id": "s2"}]}))
    (folder / "ignored.txt").write_text("no configuration")
    s = make_server("-config-dir", str(folder), "-hcl", 'datacenter = "dc7"',
                    name="from-flag").start()
    node = s.get("/v1/catalog/nodes").json[0]
    assert node["Node"] == "from-flag" and node["Datacenter"] == "dc7"
    assert node["Meta"]["rack"] == "r1"
    rows = muster.until(lambda: s.get("/v1/catalog/service/configured").json,
                        "the configured service")
    assert rows[0]["ServiceTags"] == ["one"]
    muster.until(lambda: s.get("/v1/health/service/configured?passing").json,
                 "the check passes")
    rows = muster.until(lambda: s.get("/v1/catalog/service/second").json,
                        "the second service")
    assert rows[0]["ServiceID"] == "s2"


def test_known_keys_without_meaning_are_accepted_with_a_line(make_server):
    s = make_server(config={
        "segments": None, "performance": {"raft_multiplier": 1},
        "connect": {"enabled": True}, "peering": {"enabled": True}}).start()
    assert "performance" in s.log()


def test_signals(make_server):
    s = make_server().start()
    s.process.send_signal(signal.SIGHUP)
    assert s.get("/v1/status/leader").status == 200
    assert s.stop(signal.SIGINT) == 1
    s.start()
    assert s.stop(signal.SIGTERM) == 1


def test_the_pid_file_is_the_running_servers(make_server, tmp_path):
    path = tmp_path / "pid"
    s = make_server("-pid-file", str(path)).start()
    assert path.read_text() == str(s.process.pid)
    second = make_server("-pid-file", str(path), "-data-dir",
                         str(s.folder / "data")).spawn()
    assert second.process.wait(muster.LIMIT) == 1
    assert path.read_text() == str(s.process.pid)
    s.stop()
    assert not path.exists()


def test_leave_stops_the_process(make_server):
    s = make_server().start()
    out = run("leave", server=s)
    assert out.returncode == 0, out.stderr
    assert s.process.wait(muster.LIMIT) == 0


def test_the_service_manager_is_told(make_server, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as n:
        n.bind(path)
        n.settimeout(30)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            s = make_server().start()
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert b"READY=1" in n.recv(200)
        s.stop()
        assert b"STOPPING=1" in n.recv(200)


def test_dev_mode_needs_nothing(make_server):
    s = make_server(dev=True).start()
    assert s.get("/v1/catalog/nodes").text.startswith("[\n    {")
    assert s.stop() == 1


def test_self_members_and_metrics(server):
    self = server.get("/v1/agent/self").json
    assert all(v is None or isinstance(v, dict) for v in self.values())
    assert self["Config"]["NodeName"] == "node-a"
    members = server.get("/v1/agent/members").json
    assert members[0]["Status"] == 1 and members[0]["Tags"]["role"] == "consul"
    metrics = server.get("/v1/agent/metrics").json
    names = [g["Name"] for g in metrics["Gauges"]]
    assert "consul.runtime.alloc_bytes" in names
    text = server.get("/v1/agent/metrics?format=prometheus").text
    assert re.search(r"^muster_http_requests \d+$", text, re.M)
    assert server.get("/v1/status/peers").json == [server.get("/v1/status/leader").json]
    assert server.get("/v1/catalog/datacenters").json == ["dc1"]
